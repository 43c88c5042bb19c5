"""RateLimit: what becomes of the estimate of a call that ends without a report."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import NamedTuple

import pytest

from penstock import (
    BaseProvider,
    Chunk,
    ConnectTimeoutError,
    FirstChunkTimeoutError,
    InvalidRequestError,
    Message,
    NetworkError,
    Options,
    OverloadedError,
    ProviderError,
    RateLimitError,
    ResponseHead,
    ServerError,
    StallTimeoutError,
    StopChunk,
    StreamInterruptedError,
    TextChunk,
    UsageChunk,
)
from penstock.middleware import RateLimit
from playing import ASK, Clock

pytestmark = pytest.mark.anyio

PROMPT = "word " * 800
ESTIMATE = 1000
HI = TextChunk("Hi")


class Ending(NamedTuple):
    """How a call goes: the status of its head if there is one, its chunks, its error; whether the vendor counts it."""

    status: int | None
    chunks: Sequence[Chunk]
    error: ProviderError
    counted: bool


ENDINGS = {
    "refused": Ending(500, [], ServerError("broke", status=500), False),
    "refused for its rate": Ending(429, [], RateLimitError("slow down", status=429), False),
    "refused here": Ending(None, [], InvalidRequestError("bad"), False),
    "not sent": Ending(None, [], NetworkError("refused"), False),
    "no connection": Ending(None, [], ConnectTimeoutError("none"), False),
    "begun, then cut": Ending(200, [HI], StreamInterruptedError("cut"), True),
    "begun, then an error": Ending(200, [HI], OverloadedError("busy"), True),
    "begun without a word": Ending(200, [], OverloadedError("busy"), True),
    "text without a head": Ending(None, [HI], OverloadedError("busy"), True),
    "text that stalls": Ending(200, [HI], StallTimeoutError("slow"), True),
    "no answer in time": Ending(None, [], FirstChunkTimeoutError("slow"), True),
    "a report that says nothing": Ending(200, [UsageChunk()], StreamInterruptedError("cut"), True),
}


class Vendor(BaseProvider):
    """Ends the first call so, and answers all others."""

    def __init__(self, ending: Ending) -> None:
        self._ending: Ending | None = ending

    async def create_message(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """See BaseProvider."""
        ending, self._ending = self._ending, None
        if ending is None:
            yield StopChunk(reason="stop")
            return
        if ending.status is not None and options is not None and options.on_head is not None:
            options.on_head(ResponseHead(status=ending.status))
        for chunk in ending.chunks:
            yield chunk
        raise ending.error


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
async def test_what_the_vendor_has_counted_is_spent(ending: Ending) -> None:
    """So the next call of that size waits for a minute; what was refused or never sent is given back."""
    clock = Clock()
    limit = RateLimit(Vendor(ending), tokens_per_minute=ESTIMATE + 500, clock=clock, sleep=clock.sleep)
    with pytest.raises(type(ending.error)):
        async for _ in limit.create_message(PROMPT, ASK):
            pass
    async for _ in limit.create_message(PROMPT, ASK):
        pass
    assert clock.now == (1060 if ending.counted else 1000)
