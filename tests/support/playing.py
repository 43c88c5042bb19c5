"""What the tests of the middlewares share: a clock that takes no time, and ways to read and to leave a stream."""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable, Coroutine
from decimal import Decimal
from typing import Any, Final

import anyio
import anyio.lowlevel
import msgspec

from penstock import AuthenticationError, BaseProvider, Chunk, Message, ProviderError, StopChunk, TextChunk, UsageChunk
from penstock.middleware import Event

ASK = [Message("user", "Hi")]
STOP = StopChunk(reason="stop")
HI: list[Chunk] = [TextChunk("Hi"), STOP]
NOON: Final = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)
OPEN: Final = UsageChunk(unsettled=1)
"""How an answer begins, whose bill is not known yet."""
SETTLED: Final = UsageChunk(unsettled=-1)
"""How it ends, once it is."""


def renewed() -> AuthenticationError:
    """A key was refused and is another by now, as the transport says of one that is fetched."""
    error = AuthenticationError("expired", status=401)
    error.retryable = True
    return error


class Clock:
    """Stands still but for its own sleep, which takes no time."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        """The time, in seconds."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Be later at once."""
        self.slept.append(seconds)
        self.now += seconds
        await anyio.lowlevel.checkpoint()


def at_noon(event: Event) -> Event:
    """The event without what is another in each run of a test."""
    assert event.at.tzinfo is dt.UTC
    return msgspec.structs.replace(event, call="c", at=NOON)


def used(tokens: int) -> UsageChunk:
    """Usage that can be told from other usage, and costs something."""
    return UsageChunk(input_tokens=tokens, output_tokens=1, known_cost=Decimal(tokens) / 1000)


def bill(chunks: list[Chunk]) -> UsageChunk:
    """The sum of all usage, which is the bill."""
    return sum((chunk for chunk in chunks if isinstance(chunk, UsageChunk)), UsageChunk())


async def collect(provider: BaseProvider) -> list[Chunk]:
    """All chunks of a call that ends well."""
    async with provider.stream("system", ASK) as stream:
        return [chunk async for chunk in stream]


async def outcome(provider: BaseProvider) -> tuple[list[Chunk], ProviderError | None]:
    """The chunks of a call, and the error that ended it if one did."""
    chunks: list[Chunk] = []
    try:
        async with provider.stream("system", ASK) as stream:
            async for chunk in stream:
                chunks.append(chunk)  # noqa: PERF401 - what came before an error is kept
    except ProviderError as error:
        return chunks, error
    return chunks, None


async def cancelled_while_waiting(run: Callable[[], Coroutine[Any, Any, object]]) -> None:
    """Run it and cancel it once it waits for what takes long."""
    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert group.cancel_scope.cancelled_caught


async def cancelled_after(turns: int, run: Callable[[], Awaitable[object]]) -> bool:
    """Run it and cancel it after so many turns of the event loop. Returns whether it had ended before that."""
    ended = False

    async def body() -> None:
        nonlocal ended
        await run()
        ended = True

    async with anyio.create_task_group() as group:
        group.start_soon(body)
        for _ in range(turns):
            await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
    return ended
