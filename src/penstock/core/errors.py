"""Every way a call can fail, one class each. All are ProviderError, so one `except` catches them all.

An error carries as attributes what its handler needs to decide; nobody has to read the message. Only the message is
positional: with everything else kept in the instance's dictionary, errors survive pickle and copy.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING

from penstock.core.chunks import UsageChunk

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "AuthenticationError",
    "BatchUnsureError",
    "BudgetExceededError",
    "CircuitOpenError",
    "ConfigError",
    "ConnectTimeoutError",
    "FirstChunkTimeoutError",
    "InvalidRequestError",
    "LedgerError",
    "MalformedResponseError",
    "NetworkError",
    "NotFoundError",
    "OverloadedError",
    "PermissionDeniedError",
    "ProviderError",
    "ProviderTimeoutError",
    "QuotaExceededError",
    "RateLimitError",
    "ServerError",
    "StallTimeoutError",
    "StoreError",
    "StreamInterruptedError",
    "StructuredOutputError",
    "TokenLimitError",
    "TotalTimeoutError",
    "TurnLimitError",
    "first_line",
    "said_by",
]


class ProviderError(Exception):
    """A call to a model failed."""

    retryable: bool = False
    """Whether the same request may succeed later; each class has its own default."""
    hint: str = ""
    """One sentence, what the user can do; `str()` puts it on a line of its own."""
    unsent: bool = False
    """Of a request that creates something, as a batch: it surely did not go out whole, so that there is no such thing.
    """
    partial: object | None = None
    """What came of the answer, a Reply, where a function that reads the whole stream met the error (`collect`,
    `run_tools`, `generate_object`); else None.
    """
    progress: object | None = None
    """How far it was, a Progress, where the error has stopped many jobs (`gather`, `batch`); else None."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        usage: UsageChunk | None = None,
        vendor: str | None = None,
        model: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        """The HTTP status, None where there was no answer or the failure came inside a stream that began well."""
        self.code = code
        """The vendor's own word for the failure, None when it gave none."""
        self.request_id = request_id
        """What the vendor's support asks for, None when it gave none."""
        self.retry_after = retry_after
        """Seconds the vendor asks to wait, None when it did not say."""
        self.usage = usage or UsageChunk()
        """The sum of the usage reported until then: it is billed although the call failed. Empty when the vendor had
        reported nothing.
        """
        self.vendor = vendor
        """Who was asked, None where nobody was."""
        self.model = model
        """Which model was asked, None where none was."""

    @property
    def message(self) -> str:
        """What happened, without the hint and the context that `str()` adds."""
        return str(self.args[0]) if self.args else ""

    def _facts(self) -> list[str]:
        """What `str()` adds to the message, in a few words each."""
        facts = [
            f"{name} {value}"
            for name, value in (
                ("status", self.status),
                ("code", self.code),
                ("model", self.model),
                ("request", self.request_id),
            )
            if value is not None
        ]
        if self.retry_after is not None:
            facts.append(f"retry after {self.retry_after:g} s")
        return facts

    def __str__(self) -> str:
        facts = self._facts()
        head = f"{self.message} ({', '.join(facts)})" if facts else self.message
        return f"{head}\n{self.hint}" if self.hint else head


class AuthenticationError(ProviderError):
    """The key is missing, wrong or withdrawn (HTTP 401), or it could not be fetched, and then there is no status.

    It is `retryable` exactly when the key is fetched, and there is another now than the one that was refused.
    """

    hint = "Check the API key: the vendor's environment variable, or apiKey in models.json."


class PermissionDeniedError(ProviderError):
    """The key is good but may not do this (HTTP 403)."""

    hint = "Check that this key's account or project may use this model from this place, or use another key."


class NotFoundError(ProviderError):
    """There is no such model, or no such endpoint (HTTP 404)."""

    hint = "Check the model's id (the vendor may have retired it) and the host: `penstock models --json` shows both."


class InvalidRequestError(ProviderError):
    """The request is wrong, and sending it again will not help (other HTTP 4xx).

    Without a status it was refused here, before it was sent. A conflict with another request (HTTP 409) is one too, but
    a retryable one.
    """

    hint = "Correct this, then send again."
    option: str | None = None
    """The option of `Options` that this model, wire or vendor cannot take, refused here; None where it is not that."""


class TokenLimitError(ProviderError):
    """The request is too large for the model: too many tokens, or too many bytes (HTTP 413)."""

    hint = "Drop or summarise the oldest turns, or ask for fewer max_tokens."
    tokens: int | None = None
    """How many tokens the request has, None when the vendor did not say."""
    limit: int | None = None
    """How many tokens the model takes, None when the vendor did not say."""

    def _facts(self) -> list[str]:
        numbers = [f"{self.tokens} tokens"] if self.tokens is not None else []
        numbers += [f"limit {self.limit}"] if self.limit is not None else []
        return [*super()._facts(), *numbers]


class RateLimitError(ProviderError):
    """The vendor asks to slow down (HTTP 429)."""

    retryable = True
    hint = "Wait for retry_after and send fewer requests or tokens a minute."
    refused_here: bool = False
    """Whether a RateLimit of yours refused the call, and nothing was sent to the vendor."""


class QuotaExceededError(ProviderError):
    """The credit, quota or spend limit is used up. Waiting does not help, so it is not retryable."""

    hint = "Top up the account or raise its spend limit; waiting does not help."


class OverloadedError(ProviderError):
    """The vendor has too much to do (HTTP 529 and its like)."""

    retryable = True
    hint = "The vendor is overloaded: try again with growing pauses, or use another model for now."


class ServerError(ProviderError):
    """The vendor failed (HTTP 5xx)."""

    retryable = True
    hint = "The vendor failed, not the request: try again."


class ProviderTimeoutError(ProviderError):
    """A deadline passed. Your own deadlines raise one of the four subclasses; the vendor's (HTTP 408, 504) is this."""

    retryable = True
    hint = "The vendor took too long by its own clock: try again, with a shorter request if it happens again."
    deadline: str | None = None
    """Which one it was: `connect`, `first_chunk`, `stall` or `total`; None when it was the vendor's own."""
    seconds: float | None = None
    """How long that deadline is; None when it was the vendor's own."""


class ConnectTimeoutError(ProviderTimeoutError):
    """There was no connection, or no free one, within `Deadlines.connect`. Nothing was sent."""

    hint = "Check baseUrl, network and proxy, or give Deadlines more seconds to connect."
    deadline = "connect"


class FirstChunkTimeoutError(ProviderTimeoutError):
    """No content came within `Deadlines.first_chunk`; pings, comments and headers do not count as content."""

    hint = "Try again, or give Deadlines a longer first_chunk if the model thinks for longer."
    deadline = "first_chunk"


class StallTimeoutError(ProviderTimeoutError):
    """The answer began, and then no content came for `Deadlines.stall`; pings and comments do not count."""

    hint = "Discard the partial answer and try again, or give Deadlines a longer stall if the model pauses for longer."
    deadline = "stall"


class TotalTimeoutError(ProviderTimeoutError):
    """The call did not end within `Deadlines.total`, in which the consumer's own time counts too."""

    hint = "Ask for less in one call, or give Deadlines a longer total."
    deadline = "total"


class NetworkError(ProviderError):
    """No answer came: connection refused or reset, name not found, TLS failed."""

    retryable = True
    hint = "Try again; if it stays, check baseUrl, network, proxy and TLS certificates."


class StreamInterruptedError(ProviderError):
    """The answer began and ended before the vendor said that it was complete. What came until then is not the whole."""

    retryable = True
    hint = "Discard the partial answer (never run its tool calls as if it were whole) and try again."


class MalformedResponseError(ProviderError):
    """The answer is not what this API answers: a page of HTML, an event that is not JSON."""

    hint = "Check that baseUrl is an API endpoint of this vendor and not a proxy's page."


class StructuredOutputError(ProviderError):
    """`generate_object` got no object: the answer did not fit its type, was cut off, or was refused.

    The last answer is in `partial`, a Reply; `usage` is that of all attempts.
    """

    hint = "Look at partial, and give a simpler type, a plainer prompt or more repairs."
    reason: str = "misfit"
    """`misfit`, `length` or `refusal`."""


class CircuitOpenError(ProviderError):
    """A circuit breaker sent nothing, after failures that the message names; it will ask in `retry_after` seconds."""

    retryable = True
    hint = "Wait for retry_after, or ask another model meanwhile: see Fallback."


class TurnLimitError(ProviderError):
    """`run_tools` has made as many calls as it may, and the model wants more. The history is whole and can go on."""

    hint = "Call run_tools again with the same messages to go on, or give it more max_turns."


class BudgetExceededError(ProviderError):
    """A budget of yours does not leave what the call may cost at worst. Nothing was sent."""

    hint = "Give the Budget more dollars, ask for fewer max_tokens, or wait for its next period."
    limit: Decimal | None = None
    """The budget's dollars."""
    spent: Decimal | None = None
    """Dollars that are booked in this period, estimates of unknown bills included."""
    held: Decimal | None = None
    """Dollars that other calls hold at the moment."""
    needed: Decimal | None = None
    """Dollars that the call may cost at worst."""
    bucket: str = ""
    """Whose budget it is where it has `by`, as a user's name."""
    until: dt.datetime | None = None
    """When the period ends, in the budget's time zone; None for a budget that has no end."""


class BatchUnsureError(ProviderError):
    """Whether this job of a batch is done or billed cannot be told: no answer came when the batch was created, or its
    results have none to the job that can be read.

    Nothing is sent again by itself.
    """

    hint = (
        "Run it again with the same journal, which looks once more; with resubmit=True the job is sent anew, and may "
        "be billed twice."
    )


class LedgerError(ProviderError):
    """A ledger cannot be read or written: a server that is away, no ledger, a newer version, a file that is locked for
    long, a full disk. So it is said of a journal, too. Where a later try may succeed, it is `retryable`.
    """

    hint = "Check the file and its folder, or the server and its address."


class StoreError(ProviderError):
    """The store in which many processes count their limits does not answer, or refuses. Nothing was sent.

    It is left alone meanwhile; `retry_after` is when it is asked again.
    """

    retryable = True
    hint = "Check that the store runs and that its address and password are right; the message says what it said."


class ConfigError(ProviderError, ValueError):
    """The configuration is wrong. The message names file, path, what was found and what was expected.

    Also a ValueError, so that msgspec adds the path when a struct of models.json refuses a value.
    """

    hint = "Correct it where the message says; `penstock models --schema` prints what models.json may hold."
    file: Path | None = None
    """The file that is wrong, None when it did not come from a file."""
    path: str | None = None
    """Where in the file, as `$.models.sonnet`; None when it is not one place."""

    def __str__(self) -> str:
        """The message alone: it names everything, and msgspec puts the path behind it."""
        return self.message


def said_by(error: BaseException) -> str:
    """The kind of a stranger's error and what it says; the kind alone of one that fails at that too."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - whatever its __str__ raises
        return type(error).__name__


def first_line(error: BaseException) -> str:
    """The first line of that, at most 200 characters: what a stranger's error may say within one of ours."""
    return said_by(error).partition("\n")[0][:200].rstrip(": ")
