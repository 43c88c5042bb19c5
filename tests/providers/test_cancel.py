"""A stream cancelled at every point at which it waits, one after the other: nothing is left, nothing swallowed."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from leaving import by_a_break, by_a_timeout, by_completing
from leftovers import nothing_left
from patience import PATIENCE, PATIENT, all_but, until
from penstock import BaseProvider, Chunk, StopChunk, TextChunk, UsageChunk
from penstock.middleware import (
    Abandoned,
    CircuitBreaker,
    Completed,
    Concurrency,
    Event,
    Failed,
    Fallback,
    Observe,
    RateLimit,
    Retry,
    UsageReported,
)
from penstock.testing import Cut, Emulator, Hang, Pause, Request, ServerReply, Step
from playing import OPEN
from reading import text_of, usage_of
from three_wires import ASK, WIRES, ThreeWire, each_wire, failure, read

pytestmark = [pytest.mark.anyio, pytest.mark.both_transports]

TEXT = "Hello there"
MANY = 1000
LAST = (Completed, Failed, Abandoned)


class Until:
    """Awaits a coroutine, and calls *then* when it is about to wait for the n-th time; counts how often it waits."""

    def __init__(self, coroutine: Coroutine[Any, Any, None], turn: int, then: Callable[[], object]) -> None:
        self._coroutine = coroutine
        self._turn = turn
        self._then = then
        self.waits = 0

    def __await__(self) -> Generator[Any, Any, None]:
        inner = self._coroutine.__await__()
        sent: Any = None
        thrown: BaseException | None = None
        while True:
            try:
                waited_for = inner.send(sent) if thrown is None else inner.throw(thrown)
            except StopIteration:
                return
            self.waits += 1
            if self.waits == self._turn:
                self._then()
            sent = thrown = None
            try:
                sent = yield waited_for
            except BaseException as error:  # noqa: BLE001 - whatever is thrown in goes to the coroutine
                thrown = error


async def cancelled_at(turn: int, run: Callable[[], Coroutine[Any, Any, None]]) -> bool:
    """Run it and cancel it where it waits for the n-th time. Returns whether it waits so often at all."""
    with anyio.CancelScope() as scope:
        until = Until(run(), turn, scope.cancel)
        await until
        # Where it ends in spite of the cancellation, that is still pending.
        await anyio.lowlevel.checkpoint()
        assert until.waits < turn, "the cancellation was swallowed"
    assert scope.cancelled_caught is (until.waits >= turn)
    return until.waits >= turn


def paced(events: list[bytes]) -> list[Step]:
    return [step for event in events for step in (event, Pause(0.001))]


WRAPS: list[Any] = [
    pytest.param(lambda inner: Retry(inner, base=0.001), id="Retry"),
    pytest.param(lambda inner: Concurrency(inner, 1), id="Concurrency"),
    pytest.param(lambda inner: RateLimit(inner, requests_per_minute=10**6, tokens_per_minute=10**9), id="RateLimit"),
    pytest.param(lambda inner: CircuitBreaker(inner, failures=1), id="CircuitBreaker"),
    pytest.param(
        lambda inner: Fallback(
            Retry(RateLimit(Concurrency(inner, 1), requests_per_minute=10**6)), Concurrency(inner, 1)
        ),
        id="all",
    ),
]


@pytest.mark.parametrize("wrap", WRAPS)
async def test_cancelled_at_every_await_of_a_middleware(wrap: Callable[[BaseProvider], BaseProvider]) -> None:
    """No place is lost: with one place only, the next call would wait for ever."""
    await cancel_everywhere(WIRES[0], wrap)


@each_wire
async def test_cancelled_at_every_await(wire: ThreeWire) -> None:
    """From before the connection until after the last chunk."""
    await cancel_everywhere(wire, lambda inner: inner)


async def cancel_everywhere(wire: ThreeWire, wrap: Callable[[BaseProvider], BaseProvider]) -> None:
    events: list[Event] = []
    chunks: list[Chunk] = []

    async def run() -> None:
        await read(provider, chunks)

    reply = ServerReply(paced(wire.answer(TEXT)))
    async with nothing_left(), Emulator(lambda request: reply) as emulator, wire.provider(emulator.url) as bare:
        provider = Observe(wrap(bare), events.append)
        await read(provider)
        turn = owing = 0
        for turn in range(1, MANY):
            events.clear()
            chunks.clear()
            with anyio.fail_after(PATIENCE):
                cancelled = await cancelled_at(turn, run)
            ends = [event for event in events if isinstance(event, LAST)]
            assert [type(event) for event in ends] == [Completed if stopped(chunks) else Abandoned], turn
            # Sent, and cancelled before an answer came: it may be billed, which no chunk can say any more.
            sent = [OPEN] if told(events) == UsageChunk() and type(ends[0]) is Abandoned else []
            assert ends[0].usage in (told(events), *sent)
            assert ends[0].usage in (usage_of(chunks), told(events), *sent)
            owing += ends[0].usage == OPEN and not chunks
            if not cancelled:
                break
        assert turn > 10
        assert owing > 0
        assert stopped(chunks)
        with anyio.fail_after(PATIENCE):
            for exchange in emulator.exchanges:
                await exchange.ended.wait()
            assert text_of(await read(provider)) == TEXT


def stopped(chunks: list[Chunk]) -> bool:
    return any(isinstance(chunk, StopChunk) for chunk in chunks)


def told(events: list[Event]) -> UsageChunk:
    return sum((event.usage for event in events if isinstance(event, UsageReported)), UsageChunk())


async def test_cancelled_at_every_await_of_a_retry(anyio_backend: str) -> None:
    """While the first try fails, while it waits, and while the second one streams."""
    wire = WIRES[0]

    asked = 0

    def reply(request: Request) -> ServerReply:
        nonlocal asked
        asked += 1
        return wire.error(529, "busy") if asked % 2 else ServerReply(paced(wire.answer(TEXT)))

    async def run() -> None:
        await read(provider, chunks)

    chunks: list[Chunk] = []
    async with nothing_left(), Emulator(reply) as emulator, wire.provider(emulator.url) as bare:
        provider = Retry(Concurrency(bare, 1), base=0.002)
        for turn in range(1, MANY):
            asked = 0
            chunks.clear()
            with anyio.fail_after(PATIENCE):
                if not await cancelled_at(turn, run):
                    break
        assert (asked, text_of(chunks)) == (2, TEXT)


async def by_an_error(provider: BaseProvider) -> None:
    await failure(provider)


async def by_cancelling(provider: BaseProvider) -> None:
    chunks: list[Chunk] = []
    async with anyio.create_task_group() as group:
        group.start_soon(read, provider, chunks)
        await until(lambda: text_of(chunks))
        group.cancel_scope.cancel()


async def by_dropping_it(provider: BaseProvider) -> None:
    stream = provider.create_message("", ASK)
    async for chunk in stream:
        if isinstance(chunk, TextChunk):
            break
    del stream, chunk
    gc.collect()


def begun(wire: ThreeWire, *more: Step) -> ServerReply:
    return ServerReply([*wire.answer(TEXT)[: wire.begun + 1], *more])


OUTS: list[Any] = [
    pytest.param(by_completing, lambda wire: ServerReply(wire.answer(TEXT)), Completed, id="complete"),
    pytest.param(by_an_error, lambda wire: begun(wire, Cut()), Failed, id="error"),
    pytest.param(by_an_error, lambda wire: begun(wire, Hang()), Failed, id="deadline"),
    pytest.param(by_a_break, lambda wire: begun(wire, Hang()), Abandoned, id="break"),
    pytest.param(by_cancelling, lambda wire: begun(wire, Hang()), Abandoned, id="cancel"),
    pytest.param(by_a_timeout, lambda wire: begun(wire, Hang()), Abandoned, id="timeout"),
    pytest.param(by_dropping_it, lambda wire: begun(wire, Hang()), Abandoned, id="garbage collection"),
]


# Dropping a generator without closing it is what trio warns of; that is the point here.
@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")
@pytest.mark.parametrize(("leave", "reply", "last"), OUTS)
@each_wire
async def test_usage_is_told_once_on_every_way_out(
    wire: ThreeWire,
    leave: Callable[[BaseProvider], Awaitable[None]],
    reply: Callable[[ThreeWire], ServerReply],
    last: Any,
) -> None:
    """Of a real stream: whoever adds up the last events has the bill."""
    events: list[Event] = []
    limits = all_but("stall") if leave is by_an_error else PATIENT
    async with Emulator(reply(wire)) as emulator, wire.provider(emulator.url, deadlines=limits) as bare:
        await leave(Observe(Retry(bare, attempts=1), events.append))
        await until(lambda: any(isinstance(event, LAST) for event in events))
        await until(emulator.exchanges[0].ended.is_set)
        ends = [event for event in events if isinstance(event, LAST)]
        assert [type(event) for event in ends] == [last]
        assert ends[0].usage == told(events)
        if wire.name == "anthropic" or last is Completed:
            assert ends[0].usage.input_tokens > 0
