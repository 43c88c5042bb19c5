"""What a listener is told: one frozen struct for each thing that happens to a call.

Observe tells how a call goes, and so does each provider that was opened with a listener, of each request; the other
middlewares and `run_tools` tell what they do. No event has a whole prompt, an answer, arguments or a result in it.
A listener is called in the task that reads the stream, so a caller's context variables are there; of a stream that was
dropped, where it is finalised.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

import msgspec

from penstock.core.chunks import StopChunk, UsageChunk
from penstock.core.errors import ProviderError

__all__ = [
    "Abandoned",
    "AttemptFailed",
    "CircuitClosed",
    "CircuitOpened",
    "Completed",
    "DroppedOption",
    "Ended",
    "Event",
    "Failed",
    "FallbackTo",
    "FirstChunk",
    "HeadersSeen",
    "Listener",
    "Refused",
    "Resent",
    "RetryScheduled",
    "RunEnded",
    "RunStarted",
    "Started",
    "StoreBack",
    "StoreLost",
    "ToolEnded",
    "ToolStarted",
    "TurnStarted",
    "UsageReported",
    "Waiting",
]


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """One thing that happened to one call."""

    call: str
    """The call's id: the same in all middlewares that it goes through, and in all its tries."""
    attempt: int = 1
    """The number of the try that Retry makes, from 1."""
    run: str | None = None
    """The run of an agent that the call is a part of, and `/` before each run inside another's tools; None for none."""
    alias: str | None = None
    """The name under which the provider was opened, None where nobody knows."""
    tags: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Whom or what the call is booked on, from `Options.tags` and `penstock.tags`."""
    at: dt.datetime
    """When it happened, in UTC."""
    time: float
    """Seconds since the middleware that tells it began the call, of a monotonic clock."""
    vendor: str = ""
    """Who was asked, the name of a dialect; of FallbackTo, who is asked next. Empty where a provider does not say."""
    model: str
    """The id of the model that was asked; of FallbackTo, of the one that is asked next."""
    answered: str | None = None
    """The id of the model that answered, None as long as the vendor has not said so."""


class Started(Event, frozen=True, kw_only=True, tag="started"):
    """The first chunk was asked for. What is inside may wait before it sends."""


class Resent(Event, frozen=True, kw_only=True, tag="resent"):
    """The server had closed the connection that the request was sent on, so it is sent once more on a new one."""

    error: ProviderError
    """What would have been raised."""


class DroppedOption(Event, frozen=True, kw_only=True, tag="dropped_option"):
    """A call that is `lenient` leaves out an option that this model cannot take; told once in a call."""

    option: str
    """Its name."""
    value: str
    """What was asked for, as text of at most 40 characters."""
    why: str
    """Why it cannot be taken, and what can."""


class HeadersSeen(Event, frozen=True, kw_only=True, tag="headers_seen"):
    """An answer began, or a refusal."""

    status: int
    """The HTTP status."""
    request_id: str | None = None
    """What the vendor's support asks for, None when the vendor gave none."""
    wait: float | None = None
    """Seconds until every rate limit of which nothing remains is full again, by the vendor's headers; None when they
    name no such limit.
    """
    reused: bool | None = None
    """Whether the connection had been used before; None where that is not seen, as with a `client` of your own."""


class FirstChunk(Event, frozen=True, kw_only=True, tag="first_chunk"):
    """The first chunk came that is not usage."""


class UsageReported(Event, frozen=True, kw_only=True, tag="usage"):
    """An increment of usage came. The sum is in the call's last event too: count one or the other."""

    usage: UsageChunk
    """The increment."""


class AttemptFailed(Event, frozen=True, kw_only=True, tag="attempt_failed"):
    """A try of Retry failed; a RetryScheduled follows if there is another."""

    attempt: int
    """The number of the try, from 1."""
    error: ProviderError
    """Why it failed."""
    usage: UsageChunk
    """What this try alone has used; it stays in the stream and in the bill."""
    request_id: str | None
    """What the vendor's support asks for, None when the vendor gave none."""


class RetryScheduled(Event, frozen=True, kw_only=True, tag="retry_scheduled"):
    """Retry waits before it tries again."""

    attempt: int
    """The number of the next try."""
    seconds: float
    """How long it waits."""


class FallbackTo(Event, frozen=True, kw_only=True, tag="fallback_to"):
    """A provider of Fallback failed, and the next one, `model`, is asked. When the last one fails, so does the call."""

    attempt: int
    """The number of the provider that is asked next, from 1."""
    error: ProviderError
    """Why the one before failed."""
    usage: UsageChunk
    """What the one before has used; it stays in the stream and in the bill."""
    request_id: str | None
    """Of the one before: what the vendor's support asks for, None when the vendor gave none."""


class Waiting(Event, frozen=True, kw_only=True, tag="waiting"):
    """A call has to wait before it is sent; told once by each middleware where it does."""

    on: Literal["rate_limit", "concurrency", "budget"]
    """What it waits for: RateLimit, a place in Concurrency, or dollars that others hold."""
    seconds: float | None = None
    """How long, if no other call is faster; None where it stands behind others."""


class Refused(Event, frozen=True, kw_only=True, tag="refused"):
    """Nothing was sent: the circuit is open, the vendor wants a longer pause than RateLimit may wait, or a budget or
    its ledger refuses.
    """

    error: ProviderError
    """What the call raises."""


class CircuitOpened(Event, frozen=True, kw_only=True, tag="circuit_opened"):
    """A CircuitBreaker leaves its provider alone from now on; this call's failure was the last straw."""

    seconds: float
    """After how many a call is let through as a trial."""
    why: str
    """In a few words, with the error."""


class CircuitClosed(Event, frozen=True, kw_only=True, tag="circuit_closed"):
    """A trial went well, and the provider is asked again as before."""


class StoreLost(Event, frozen=True, kw_only=True, tag="store_lost"):
    """The store in which many processes count does not answer, or refuses. Told once, by whichever call comes next."""

    store: str
    """Its address, without a password."""
    why: str
    """In a few words, what it said."""
    local: bool
    """Whether this process goes on with its own share; if not, calls are refused."""


class StoreBack(Event, frozen=True, kw_only=True, tag="store_back"):
    """The store answers again, and knows what was sent meanwhile."""

    store: str
    """Its address, without a password."""


class Ended(Event, frozen=True, kw_only=True):
    """The last event of a call, one for each Started: Completed, Failed or Abandoned. Its `time` is that to the end."""

    usage: UsageChunk
    """What the call has used, tries that failed included if it is told from around Retry or Fallback."""
    request_id: str | None = None
    """What the vendor's support asks for, None when the vendor gave none."""
    first_chunk: float | None = None
    """Seconds to the first chunk that is not usage, None when none came."""


class Completed(Ended, frozen=True, kw_only=True, tag="completed"):
    """The vendor said that the message is complete; told before the caller gets that chunk."""

    stop: StopChunk
    """The reason, the answer's id, and the model that answered."""


class Failed(Ended, frozen=True, kw_only=True, tag="failed"):
    """The call raised an error."""

    error: Exception
    """A ProviderError, unless the provider inside breaks its contract."""


class Abandoned(Ended, frozen=True, kw_only=True, tag="abandoned"):
    """The caller left before the end: break, `aclose`, cancellation, a timeout of its own, a dropped generator.

    Its usage is what had been reported until then. The vendor may bill more: it goes on until it notices.
    """


class RunStarted(Event, frozen=True, kw_only=True, tag="run_started"):
    """The first chunk of `run_tools` was asked for. `call` is an id of its own, as in ToolStarted and RunEnded."""


class TurnStarted(Event, frozen=True, kw_only=True, tag="turn_started"):
    """`run_tools` asks the model; `call` is the id of that call."""

    turn: int
    """How many times it has done so in this run, from 1."""


class ToolStarted(Event, frozen=True, kw_only=True, tag="tool_started"):
    """A tool runs; told in its own task, so that a context variable that is set here is there."""

    id: str
    """The id of the model's call."""
    name: str
    """The tool's name."""


class ToolEnded(Event, frozen=True, kw_only=True, tag="tool_ended"):
    """A tool has its result, or is left; told in its own task."""

    id: str
    """The id of the model's call."""
    name: str
    """The tool's name."""
    is_error: bool
    """Whether it failed, was too late or was left."""
    seconds: float
    """How long it ran."""


class RunEnded(Event, frozen=True, kw_only=True, tag="run_ended"):
    """`run_tools` is over; what it has used, the last events of its calls say."""

    state: Literal["done", "pending", "failed", "left"]
    """`done`: it came to its end; `pending`: calls wait for their approval; `failed`: it raised `error`; `left`: its
    caller left it or was cancelled.
    """
    turns: int
    """How often the model was asked."""
    error: Exception | None = None
    """Why it failed; None if it did not."""


Listener: TypeAlias = Callable[[Event], object]
"""Called with each event, at once and in order. It must not wait: the stream waits for it."""
