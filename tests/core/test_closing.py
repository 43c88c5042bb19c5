"""A stream that another task closes: the reader is told, all inside is closed, and nobody is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from leftovers import nothing_left
from penstock import (
    BaseProvider,
    Chunk,
    Message,
    NetworkError,
    Options,
    ProviderError,
    RateLimitError,
    StopChunk,
    StreamInterruptedError,
    TextChunk,
    UsageChunk,
    coalesce,
    run_tools,
    stream_object,
    text_of,
    tool,
)
from penstock.core.closing import Stream
from penstock.middleware import CacheWatch, CircuitBreaker, Concurrency, Fallback, Observe, RateLimit, Retry
from penstock.testing import Emulator, Hang, ScriptedProvider, ScriptedStep, ServerReply
from three_wires import ASK, ThreeWire, each_wire

pytestmark = pytest.mark.anyio

SPENT = UsageChunk(input_tokens=7)
HANGING: list[ScriptedStep] = [SPENT, TextChunk("Hi"), Hang()]


def ignore(event: object) -> None:
    """Listens to nothing."""


def nest(inner: BaseProvider) -> BaseProvider:
    """All middlewares, as an application has them."""
    limited = RateLimit(Concurrency(CacheWatch(inner), 5), requests_per_minute=100, tokens_per_minute=10**6)
    return Observe(Fallback(CircuitBreaker(Retry(limited)), ScriptedProvider()), ignore)


class Own(BaseProvider):
    """Somebody's own, in ten lines."""

    def __init__(self, inner: BaseProvider) -> None:
        self._inner = inner

    async def create_message(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """See BaseProvider."""
        async with self._inner.stream(system_prompt, messages, options) as chunks:
            async for chunk in chunks:
                yield chunk


class Reader:
    """Reads a stream in a task of its own, and goes on to live afterwards."""

    def __init__(self, stream: AsyncGenerator[Any, None]) -> None:
        self.stream = stream
        self.chunks: list[Any] = []
        self.error: ProviderError | None = None
        self.got = anyio.Event()
        self.went_on = False

    async def run(self) -> None:
        try:
            async for chunk in self.stream:
                self.chunks.append(chunk)
                if isinstance(chunk, TextChunk):
                    self.got.set()
        except ProviderError as error:
            self.error = error
        await anyio.lowlevel.checkpoint()  # where a cancellation that was left over would come out
        assert asyncio_cancels() == 0
        self.went_on = True


def asyncio_cancels() -> int:
    """How many cancellations the running task has open; 0 where there is no such count."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return 0
    return 0 if task is None else task.cancelling()


STACKS: dict[str, Callable[[ScriptedProvider], BaseProvider]] = {
    "a provider": lambda inner: inner,
    "all middlewares": nest,
    "one's own": Own,
    "one's own around all": lambda inner: Own(nest(inner)),
}


@pytest.mark.parametrize("stack", STACKS.values(), ids=STACKS)
async def test_another_task_closes(stack: Callable[[ScriptedProvider], BaseProvider]) -> None:
    """When that returns, all inside is closed; the reader has what came, and is told that it is not the whole."""
    inner = ScriptedProvider(HANGING)
    reader = Reader(stack(inner).create_message("", ASK))
    async with nothing_left(), anyio.create_task_group() as group:
        group.start_soon(reader.run)
        await reader.got.wait()
        assert inner.running == 1
        await reader.stream.aclose()
        assert inner.running == 0
    assert type(reader.error) is StreamInterruptedError
    assert not reader.error.retryable
    assert reader.error.usage == SPENT
    assert "closed by another task" in str(reader.error)
    assert reader.chunks == HANGING[:2]
    assert reader.went_on
    assert len(inner.calls) == 1
    with pytest.raises(StopAsyncIteration):
        await anext(reader.stream)


READERS: dict[str, Callable[[BaseProvider], AsyncGenerator[Any, None]]] = {
    "text_of": lambda provider: text_of(provider.create_message("", ASK)),
    "coalesce": lambda provider: coalesce(provider.create_message("", ASK)),
    "run_tools": lambda provider: run_tools(provider, "", list(ASK), []),
    "stream_object": lambda provider: stream_object(provider, dict[str, int], "Hi"),
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
async def test_whatever_reads_it_can_be_closed_too(read: Callable[[BaseProvider], AsyncGenerator[Any, None]]) -> None:
    """And says what has been used, also where its items do not."""
    inner = ScriptedProvider(HANGING)
    reader = Reader(read(inner))
    async with nothing_left(), anyio.create_task_group() as group:
        group.start_soon(reader.run)
        await anyio.wait_all_tasks_blocked()
        await reader.stream.aclose()
        assert inner.running == 0
    assert type(reader.error) is StreamInterruptedError
    assert reader.error.usage == SPENT


WAITING: dict[str, Callable[[], BaseProvider]] = {
    "between two tries": lambda: Retry(ScriptedProvider([NetworkError("refused")], repeat=True), random=lambda: 99.0),
    "for the vendor's pause": lambda: Retry(
        ScriptedProvider([RateLimitError("slow", retry_after=50)], repeat=True), attempts=9
    ),
    "for the first chunk": lambda: nest(ScriptedProvider([Hang()])),
}


@pytest.mark.parametrize("make", WAITING.values(), ids=WAITING)
async def test_whatever_is_waited_for(make: Callable[[], BaseProvider]) -> None:
    """A pause is left at once."""
    reader = Reader(make().create_message("", ASK))
    async with anyio.create_task_group() as group:
        group.start_soon(reader.run)
        await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(5):
            await reader.stream.aclose()
    assert type(reader.error) is StreamInterruptedError


async def test_who_waits_for_a_place() -> None:
    """Gives it up, and the next one gets it."""
    crowded = Concurrency(ScriptedProvider(HANGING, repeat=True), 1)
    first, second = Reader(crowded.create_message("", ASK)), Reader(crowded.create_message("", ASK))
    async with anyio.create_task_group() as group:
        group.start_soon(first.run)
        await first.got.wait()
        group.start_soon(second.run)
        await anyio.wait_all_tasks_blocked()
        await second.stream.aclose()
        await first.stream.aclose()
        third = Reader(crowded.create_message("", ASK))
        group.start_soon(third.run)
        await third.got.wait()
        await third.stream.aclose()
    assert second.chunks == []
    assert all(type(reader.error) is StreamInterruptedError for reader in (first, second, third))


async def test_a_run_with_tools() -> None:
    """The tool that runs is cancelled with it."""
    ended: list[str] = []

    @tool
    async def wait() -> str:
        """Waits."""
        reader.got.set()
        try:
            await anyio.sleep(100)
        finally:
            ended.append("tool")
        return "never"

    from penstock import ToolCallChunk

    call = ToolCallChunk(id="c", name="wait", arguments="{}")
    provider = ScriptedProvider([SPENT, call, StopChunk(reason="tool_calls")])
    reader = Reader(run_tools(provider, "", [*ASK], [wait]))
    async with anyio.create_task_group() as group:
        group.start_soon(reader.run)
        await reader.got.wait()
        await reader.stream.aclose()
        assert ended == ["tool"]
    assert type(reader.error) is StreamInterruptedError
    assert reader.error.usage == SPENT


async def test_several_close_at_the_same_time() -> None:
    """Each of them returns when it is closed."""
    inner = ScriptedProvider(HANGING)
    reader = Reader(nest(inner).create_message("", ASK))
    async with anyio.create_task_group() as group:
        group.start_soon(reader.run)
        await reader.got.wait()
        async with anyio.create_task_group() as closing:
            for _ in range(5):
                closing.start_soon(reader.stream.aclose)
        assert inner.running == 0
        await reader.stream.aclose()
    assert type(reader.error) is StreamInterruptedError
    assert reader.went_on


class Slow(BaseProvider):
    """Takes its time to close. closing: set when that has begun; may_end: what it waits for."""

    def __init__(self) -> None:
        self.closing, self.may_end = anyio.Event(), anyio.Event()
        self.closed = 0

    async def create_message(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """See BaseProvider."""
        try:
            yield SPENT
            yield TextChunk("Hi")
            yield TextChunk("there")
        finally:
            self.closing.set()
            with anyio.CancelScope(shield=True):
                await self.may_end.wait()
            self.closed += 1


SLOW_READERS: dict[str, Callable[[BaseProvider], AsyncGenerator[Any, None]]] = {
    "a provider": lambda provider: provider.create_message("", ASK),
    "all middlewares": lambda provider: nest(provider).create_message("", ASK),
    **{name: read for name, read in READERS.items() if name != "stream_object"},  # there is no JSON to show
}


@pytest.mark.parametrize("read", SLOW_READERS.values(), ids=SLOW_READERS)
async def test_who_reads_on_while_it_is_closed(read: Callable[[BaseProvider], AsyncGenerator[Any, None]]) -> None:
    """Is told so at once; all who close it come back when it is closed, and the usage is what had come."""
    inner = Slow()
    stream = read(inner)
    closed: list[int] = []

    async def close() -> None:
        await stream.aclose()
        closed.append(inner.closed)

    async with nothing_left(), anyio.create_task_group() as group:
        async for item in stream:
            if item == "Hi" or isinstance(item, TextChunk):
                break
        group.start_soon(close)
        await inner.closing.wait()
        try:
            with pytest.raises(StreamInterruptedError, match="closed by another task") as caught:
                await anext(stream)
            group.start_soon(close)
            await anyio.wait_all_tasks_blocked()
            assert closed == []
        finally:
            inner.may_end.set()
    assert closed == [1, 1]
    assert caught.value.usage == SPENT
    assert not caught.value.retryable
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_a_cancellation_at_the_same_time_is_not_swallowed() -> None:
    """Whoever cancelled the reader gets that."""
    inner = ScriptedProvider(HANGING)
    reader = Reader(inner.create_message("", ASK))
    async with anyio.create_task_group() as group:
        group.start_soon(reader.run)
        await reader.got.wait()
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await reader.stream.aclose()
    assert not reader.went_on
    assert inner.running == 0


async def test_a_task_of_asyncio_that_was_cancelled_stays_so(anyio_backend_name: str) -> None:
    """By its own count of cancellations."""
    if anyio_backend_name != "asyncio":
        pytest.skip("asyncio alone cancels tasks one by one")
    inner = ScriptedProvider(HANGING)
    reader = Reader(inner.create_message("", ASK))
    task = asyncio.create_task(reader.run())
    await reader.got.wait()
    await anyio.wait_all_tasks_blocked()
    task.cancel()
    await reader.stream.aclose()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not reader.went_on
    assert inner.running == 0


async def test_who_reads_it_may_close_it() -> None:
    """As always, and so may anybody while the reader does something else."""
    inner = ScriptedProvider(HANGING, HANGING)
    for _ in range(2):
        stream = nest(inner).create_message("", ASK)
        async for chunk in stream:
            if isinstance(chunk, TextChunk):
                async with anyio.create_task_group() as group:
                    group.start_soon(stream.aclose)
        assert inner.running == 0


async def test_two_readers_are_refused_as_python_does() -> None:
    """And the first one does not notice."""
    reader = Reader(ScriptedProvider(HANGING).create_message("", ASK))
    async with anyio.create_task_group() as group:
        group.start_soon(reader.run)
        await reader.got.wait()
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(RuntimeError, match="already running"):
            await anext(reader.stream)
        await reader.stream.aclose()
    assert type(reader.error) is StreamInterruptedError


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
async def test_another_threads_loop_is_refused_as_python_does(backend: str) -> None:
    """And the reader does not notice: a loop is no place for what another one waits for."""
    reader = Reader(ScriptedProvider(HANGING).create_message("", ASK))
    async with anyio.create_task_group() as group:
        group.start_soon(reader.run)
        await reader.got.wait()
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(RuntimeError, match="already running"):
            await anyio.to_thread.run_sync(partial(anyio.run, reader.stream.aclose, backend=backend))
        assert reader.error is None
        await reader.stream.aclose()
    assert type(reader.error) is StreamInterruptedError


async def test_a_layer_reads_what_is_inside_without_a_layer_between() -> None:
    """For each costs as much as a middleware."""
    stream = Retry(ScriptedProvider(HANGING)).create_message("", ASK)
    assert isinstance(stream, Stream)
    assert not isinstance(stream.bare(), Stream)
    await stream.aclose()


@each_wire
async def test_the_server_sees_it(wire: ThreeWire) -> None:
    """The connection is closed when aclose returns, and nothing is sent again."""
    endless = ServerReply([*wire.answer("Hello")[: wire.begun + 1], Hang()])
    async with Emulator(lambda request: endless) as emulator, wire.provider(emulator.url) as provider:
        reader = Reader(nest(provider).create_message("", ASK))
        async with anyio.create_task_group() as group:
            group.start_soon(reader.run)
            await reader.got.wait()
            await reader.stream.aclose()
            with anyio.fail_after(5):
                await emulator.exchanges[0].hung_up.wait()
        assert len(emulator.requests) == 1
    assert type(reader.error) is StreamInterruptedError
