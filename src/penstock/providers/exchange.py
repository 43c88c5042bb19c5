"""One request as the transport sends it, and what of the vendor's SDK client is used for that."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import msgspec

from penstock.core.chunks import Chunk, UsageChunk
from penstock.core.cost import Meter
from penstock.core.errors import (
    MalformedResponseError,
    NotFoundError,
    ProviderError,
    ProviderTimeoutError,
    StreamInterruptedError,
)
from penstock.core.messages import Deadlines, ResponseHead
from penstock.core.retirement import retirement_hint
from penstock.providers.answers import head_of
from penstock.providers.bodies import Body
from penstock.providers.deadlines import Watch
from penstock.providers.redaction import Secrets
from penstock.wire.answer_reader import AnswerReader

if TYPE_CHECKING:
    import httpx2

    from penstock.providers.sending import Sending

__all__ = ["Attempt", "Exchange", "Outgoing", "SDKClient", "address", "keys_of"]


class SDKClient(Protocol):
    """What is used of AsyncAnthropic and AsyncOpenAI."""

    @property
    def base_url(self) -> httpx2.URL: ...

    async def post(self, path: str, **kwargs: Any) -> Any: ...

    async def get(self, path: str, **kwargs: Any) -> Any: ...

    async def close(self) -> None: ...

    def is_closed(self) -> bool: ...


def keys_of(client: SDKClient) -> list[object]:
    """What a client was made with. One that signs its requests, or asks for a token for each, has none of its own."""
    return [key for name in ("api_key", "auth_token") if (key := getattr(client, name, None))]


@lru_cache(64)
def address(base: httpx2.URL, path: str) -> str:
    """The whole URL for a path: an SDK that is given no more than this would parse both anew for each request."""
    found = type(base)(path)
    if found.is_relative_url:
        found = base.copy_with(raw_path=base.raw_path + found.raw_path.lstrip(b"/"))
    return str(found)


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """One request, ready to be sent."""

    path: str
    body: bytes | None
    """None for a GET, else what is posted."""
    headers: Mapping[str, str | None]
    """None for what the SDK would send of itself, and must not."""
    deadlines: Deadlines
    on_head: Callable[[ResponseHead], object] | None = None
    on_resend: Callable[[ProviderError], object] | None = None
    long_body: Body | None = None
    """What is posted in place of `body`."""
    creates: bool = False
    """Whether the server would do it twice if it came twice, as with a batch: then it is never sent once more."""

    def tell_head(self, status: int, headers: Mapping[str, str], secrets: Secrets, reused: bool | None) -> None:
        """Tell who wants to hear that an answer begins."""
        if self.on_head is not None:
            self.on_head(head_of(status, headers, secrets, reused))

    def sdk_options(self, omit: object, timeout: Callable[..., object], more: Mapping[str, str]) -> dict[str, Any]:
        """What an SDK is told beside path and body. omit: its word for a header that it is to leave out.

        timeout: the HTTP client's class. more: headers of this very sending.
        """
        limits, long = self.deadlines, self.long_body
        headers = {name: omit if value is None else value for name, value in self.headers.items()}
        sized = {} if long is None else {"Content-Length": str(long.size)}
        return {
            "headers": {**headers, **sized, **more},
            "timeout": timeout(limits.first_chunk, connect=limits.connect, pool=limits.connect),
            "follow_redirects": False,
            "max_retries": 0,
        }


C = TypeVar("C", bound=Outgoing)


class Exchange(Outgoing, frozen=True, kw_only=True):
    """The request of a call, and what its answer is read with."""

    reader: AnswerReader
    meter: Meter
    on_usage: Callable[[UsageChunk], object] = lambda usage: None
    """Called with the sum of the usage when the message is complete."""
    platform: str | None = None
    """The cloud that is asked, None for the vendor itself."""
    refused: Callable[[bytes], Sequence[Chunk]] = lambda body: ()  # the answer that a refusal's body may be

    def correction(
        self, error: ProviderError, sending: Sending | None, *, began: bool, shown: bool
    ) -> UsageChunk | None:
        """What a failure changes in the bill, if anything: one is open where the whole request was written and nobody
        answered it.

        What was not written whole costs nothing, nor does what the vendor refused: by its status, or before anything
        came. began: a status of success came. shown: so did chunks beside usage.
        """
        if began:
            ours = isinstance(error, MalformedResponseError | StreamInterruptedError | ProviderTimeoutError)
            return None if ours or shown or self.reader.held or self.meter.reported else self.meter.cancel()
        written = error.status is None and sending is not None and sending.whole
        return self.meter.open() if written else None

    def complete(self, error: ProviderError) -> None:
        """Add what only the call knows: its usage, and of a model that is not there what its vendor says of its end."""
        meter, today = self.meter, dt.datetime.now(dt.UTC).date()
        error.usage = meter.total
        if isinstance(error, NotFoundError):
            ended = retirement_hint(meter.model_id, meter.info, meter.find_info, today, self.platform)
            error.hint = f"{ended} {error.hint}" if ended is not None else error.hint


class Attempt(Generic[C]):
    """One request and as much as there is of its way yet; each is None until then."""

    def __init__(self) -> None:
        self.call: C | None = None
        self.watch: Watch | None = None
        self.sending: Sending | None = None
        self.response: httpx2.Response | None = None
        self.began = False
        """Whether an answer with a status of success has begun."""

    @property
    def is_unanswered(self) -> bool:
        """Whether all of it was written, and no answer has begun."""
        return not self.began and self.sending is not None and self.sending.whole

    @property
    def reused(self) -> bool | None:
        """Whether its connection had been used before; None where nobody sees it written, as with a lent client."""
        return None if self.sending is None or math.isinf(self.sending.age) else self.sending.reused
