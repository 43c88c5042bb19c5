"""Without an event loop: the same chunks, the same errors and the same closing as with one."""

from __future__ import annotations

import asyncio
import gc
import re
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, Final, assert_type

import pytest

from leftovers import descriptors
from patience import PATIENCE, all_but
from penstock import (
    Answer,
    BlockingProvider,
    BlockingStream,
    Chunk,
    ConfigError,
    LoopChunk,
    ProviderError,
    Reply,
    ServerError,
    StopChunk,
    StreamInterruptedError,
    TextChunk,
    TokenCount,
    ToolCallChunk,
    ToolResultChunk,
    UsageChunk,
    blocking,
    collect,
    generate_object,
    generate_text,
    run,
    run_tools,
    tags,
    text_of,
    tool,
)
from penstock.middleware import Event, Observe, Started
from penstock.testing import Cut, Hang, Request, Reset, ScriptedProvider, ServerReply
from playing import HI, STOP
from serving import serving
from three_wires import ASK, WIRES, ThreeWire, read

TEXT = "Hello there, this is a longer answer."
WIRE: Final = WIRES[0]


def begun(wire: ThreeWire = WIRE) -> ServerReply:
    """The beginning of an answer, and then silence."""
    return ServerReply([*wire.answer(TEXT)[: wire.begun + 2], Hang()])


def answers(wire: ThreeWire) -> dict[str, ServerReply]:
    some = wire.answer(TEXT)[: wire.begun + 2]
    return {
        "whole": ServerReply(wire.answer(TEXT)),
        "in one piece": ServerReply([b"".join(wire.answer(TEXT))]),
        "a refusal that may be tried again": wire.error(429, "slow down"),
        "a wrong key": wire.error(401, "wrong key"),
        "cut": ServerReply([*some, Cut()]),
        "reset": ServerReply([*some, Reset()]),
        "malformed": ServerReply([*some, b"data: {nonsense\n\n"]),
        "stalled": begun(wire),
        "silent": ServerReply(before=[Hang()]),
    }


DEADLINES = {"stalled": all_but("stall"), "silent": all_but("first_chunk")}


def told(reading: Callable[[list[Chunk]], None]) -> tuple[list[Chunk], object]:
    """The chunks of a call, and what is known of the error that ended it."""
    chunks: list[Chunk] = []
    try:
        reading(chunks)
    except ProviderError as error:
        return chunks, (type(error), str(error), error.usage, error.retryable, error.status)
    return chunks, None


def called(value: Any) -> str:
    """What a wire, a function or a reply is called in a test's id."""
    return str(getattr(value, "__name__", getattr(value, "name", value)))


@pytest.mark.parametrize(
    ("wire", "name"),
    [*((wire, "whole") for wire in WIRES), *((WIRE, name) for name in answers(WIRE) if name != "whole")],
    ids=called,
)
def test_chunks_and_errors_are_those_of_the_async_call(wire: ThreeWire, name: str) -> None:
    """Also what came before an error."""
    reply = answers(wire)[name]
    with serving(lambda request: reply) as served:
        provider = wire.provider(served.url, deadlines=DEADLINES.get(name, all_but(None)))

        async def read_async(chunks: list[Chunk]) -> None:
            async with provider:
                await read(provider, chunks)

        def read_plainly(chunks: list[Chunk]) -> None:
            with blocking(provider) as model:
                for chunk in model.create_message("", ASK):
                    chunks.append(chunk)  # noqa: PERF402 - those before an error too

        assert told(read_plainly) == told(lambda chunks: asyncio.run(read_async(chunks)))


def by_a_break(model: BlockingProvider) -> None:
    for chunk in model.create_message("", ASK):
        if isinstance(chunk, TextChunk):
            break


def by_leaving_the_with(model: BlockingProvider) -> None:
    with model.stream("", ASK) as chunks:
        next(chunks)


def by_an_exception_in_the_body(model: BlockingProvider) -> None:
    with suppress(LookupError):
        for _ in model.create_message("", ASK):
            raise LookupError


def by_dropping_it(model: BlockingProvider) -> None:
    chunks = model.create_message("", ASK)
    next(chunks)
    del chunks


def by_dropping_it_in_a_circle(model: BlockingProvider) -> None:
    chunks = model.create_message("", ASK)
    next(chunks)
    circle: list[object] = [chunks]
    circle.append(circle)
    del circle, chunks
    gc.collect()


def by_closing_it_twice(model: BlockingProvider) -> None:
    chunks = model.create_message("", ASK)
    next(chunks)
    chunks.close()
    chunks.close()
    assert list(chunks) == []


def by_closing_it_in_another_thread(model: BlockingProvider) -> None:
    """Who waits for a chunk gets an error with the usage until then, as when another task closes."""
    chunks = model.create_message("", ASK)
    usage = UsageChunk()

    def read_on() -> None:
        nonlocal usage
        for chunk in chunks:
            if isinstance(chunk, UsageChunk):
                usage += chunk
            elif isinstance(chunk, TextChunk):
                threading.Timer(0.05, chunks.close).start()

    with pytest.raises(StreamInterruptedError, match="closed by another thread") as raised:
        read_on()
    assert (raised.value.retryable, raised.value.usage) == (False, usage)
    assert usage.unsettled == 1
    assert list(chunks) == []


def by_leaving_a_loop_of_tools(model: BlockingProvider) -> None:
    for chunk in blocking(run_tools(model.provider, "", list(ASK), [])):
        if isinstance(chunk, TextChunk):
            break


def by_closing_the_provider(model: BlockingProvider) -> None:
    chunks = model.create_message("", ASK)
    next(chunks)
    model.close()
    with pytest.raises(StreamInterruptedError):
        list(chunks)


WAYS_OUT = [
    by_leaving_the_with,
    by_an_exception_in_the_body,
    by_dropping_it,
    by_dropping_it_in_a_circle,
    by_closing_it_twice,
    by_closing_it_in_another_thread,
    by_leaving_a_loop_of_tools,
    by_closing_the_provider,
]


@pytest.mark.parametrize(
    ("leave", "wire"),
    [*((by_a_break, wire) for wire in WIRES), *((leave, WIRE) for leave in WAYS_OUT)],
    ids=called,
)
def test_each_way_out_closes_the_connection(leave: Callable[[BlockingProvider], None], wire: ThreeWire) -> None:
    """While the model is silent."""
    with serving(begun(wire)) as served, blocking(wire.provider(served.url)) as model:
        leave(model)
        served.hung_up()


def test_what_was_not_begun_is_left_without_a_request() -> None:
    """Calling it sends nothing."""
    with serving(begun()) as served, blocking(WIRE.provider(served.url)) as model:
        model.create_message("", ASK).close()
        with model.stream("", ASK):
            pass
        assert served.emulator.exchanges == []


def test_what_does_not_close_in_a_second_is_left_behind() -> None:
    """It goes on closing."""
    may_end = threading.Event()
    ended = threading.Event()

    async def slow() -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            await asyncio.to_thread(may_end.wait, PATIENCE)
            ended.set()

    def use() -> None:
        with blocking(slow()) as numbers:
            for _ in numbers:
                break
            numbers.close()

    use()
    assert not ended.is_set()
    may_end.set()
    assert ended.wait(PATIENCE)


@tool
def add(a: int, b: int) -> int:
    """Add."""
    return a + b


CALL = ToolCallChunk(id="c", name="add", arguments='{"a": 2, "b": 3}')


def test_a_stream_is_advanced_only_when_it_is_asked() -> None:
    """Its next step may run a tool. A provider's chunks are read ahead, as nothing but reading is done for them."""
    done: list[int] = []

    async def steps() -> AsyncGenerator[int, None]:
        for number in range(200):
            done.append(number)
            yield number

    with blocking(steps()) as numbers:
        for number in numbers:
            assert done[-1] == number
    assert len(done) == 200

    provider = ScriptedProvider([*[TextChunk("a")] * 1000, STOP])
    with blocking(provider).stream("", ASK) as chunks:
        next(chunks)
    assert len(provider.calls[0].yielded) <= 64


def test_the_other_functions_give_their_results() -> None:
    """And type checkers know of which type they are."""
    whole: list[Chunk] = [TextChunk('{"n": 5}'), STOP]
    provider = ScriptedProvider(HI, whole, [CALL, StopChunk(reason="tool_calls")], HI, HI, HI, HI)
    model = blocking(provider)
    assert_type(model, BlockingProvider)
    assert assert_type(blocking(generate_text(provider, "Hi")), str) == "Hi"
    answer = blocking(generate_object(provider, dict[str, int], "Hi"))
    assert assert_type(answer, Answer[dict[str, int]]).value == {"n": 5}
    loop = blocking(run_tools(provider, "", list(ASK), [add]))
    assert_type(loop, BlockingStream[LoopChunk])
    assert [chunk.content for chunk in loop if isinstance(chunk, ToolResultChunk)] == ["5"]
    reply = blocking(collect(provider.create_message("", ASK)))
    assert assert_type(reply, Reply).text == "Hi"
    texts = blocking(text_of(provider.create_message("", ASK)))
    assert "".join(assert_type(texts, BlockingStream[str])) == "Hi"
    assert assert_type(model.count_tokens("", ASK), TokenCount).tokens > 0
    assert [assert_type(chunk, Chunk) for chunk in model.create_message("", ASK)] == HI
    assert repr(model) == "blocking(ScriptedProvider('scripted'))"


def test_an_error_of_a_coroutine_is_raised_where_it_is_called() -> None:
    """As it is, with what is known of it."""
    with pytest.raises(ServerError, match="it fell over") as raised:
        blocking(generate_text(ScriptedProvider([TextChunk("H"), ServerError("it fell over")]), "Hi"))
    assert isinstance(raised.value.partial, Reply)
    assert raised.value.partial.text == "H"


async def waits_for_itself() -> str:
    return blocking(generate_text(ScriptedProvider(HI), "Hi"))


async def reads_in_itself() -> list[Chunk]:
    return list(blocking(ScriptedProvider(HI)).create_message("", ASK))


@pytest.mark.parametrize("work", [waits_for_itself, reads_in_itself], ids=lambda work: work.__name__)
def test_what_would_wait_for_itself_is_refused(work: Callable[[], Coroutine[Any, Any, object]]) -> None:
    """An async tool, say, that runs in the loop of `blocking`."""
    with pytest.raises(ConfigError, match="would wait for itself for ever"):
        blocking(work())


def test_a_tool_in_a_thread_may_call_it() -> None:
    """A plain function as a tool runs in one, while the loop waits."""

    @tool
    def ask_another() -> str:
        """Ask another model."""
        return blocking(generate_text(ScriptedProvider(HI), "Hi"))

    call = ToolCallChunk(id="c", name="ask_another", arguments="{}")
    provider = ScriptedProvider([call, StopChunk(reason="tool_calls")], HI)
    results = blocking(run_tools(provider, "", list(ASK), [ask_another]))
    assert [chunk.content for chunk in results if isinstance(chunk, ToolResultChunk)] == ["Hi"]


@pytest.mark.parametrize(
    ("work", "said"),
    [
        (generate_text, "`blocking` was given a function; it takes a provider, what an async generator gives, or"),
        ([TextChunk("Hi")], "`blocking` was given a list; it takes"),
        (ScriptedProvider(HI).stream("", ASK), "`blocking` was given the context manager of provider.stream"),
    ],
    ids=["a function", "a list", "a stream that was not entered"],
)
def test_what_is_none_of_these_is_refused(work: Any, said: str) -> None:
    """It says what to write."""
    with pytest.raises(ConfigError, match=re.escape(said)):
        blocking(work)


def test_the_context_is_that_of_the_caller() -> None:
    """Tags, runs and variables of one's own; what is set there does not come back."""
    mine = ContextVar("mine", default="nobody's")
    heard: list[tuple[str | None, object, str]] = []

    def listener(event: Event) -> None:
        if isinstance(event, Started):
            heard.append((event.run, event.tags, mine.get()))

    mine.set("the caller's")
    provider = Observe(ScriptedProvider(HI, repeat=True), listener)
    with run("nightly"), tags(user="ann"):
        list(blocking(provider).create_message("", ASK))
        blocking(generate_text(provider, "Hi"))
    list(blocking(provider).create_message("", ASK))
    nightly = ("nightly", {"user": "ann"}, "the caller's")
    assert heard == [nightly, nightly, (None, {}, "the caller's")]


def test_many_threads_call_one_provider() -> None:
    """In one loop, which all share."""
    with (
        serving(lambda request: ServerReply(WIRE.answer(TEXT))) as served,
        blocking(WIRE.provider(served.url)) as model,
    ):

        def ask(_: int) -> str:
            return "".join(chunk.text for chunk in model.create_message("", ASK) if isinstance(chunk, TextChunk))

        with ThreadPoolExecutor(8) as threads:
            assert set(threads.map(ask, range(80))) == {TEXT}
    assert [thread.name for thread in threading.enumerate()].count("penstock blocking") == 1


def test_two_threads_read_one_stream() -> None:
    """Each item goes to one of them, and both come to the end."""

    async def numbers() -> AsyncGenerator[int, None]:
        for number in range(500):
            yield number

    stream = blocking(numbers())
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(lambda _: list(stream), range(2))
    assert sorted(first + second) == list(range(500))


@pytest.mark.anyio
async def test_it_works_where_a_loop_runs() -> None:
    """As in the cell of a notebook: that loop is not used, and waits."""
    with serving(lambda request: ServerReply(WIRE.answer(TEXT))) as served:
        provider = WIRE.provider(served.url)
        with blocking(provider) as model:
            first = list(model.create_message("", ASK))
            assert first == await read(provider) == list(model.create_message("", ASK))
        await provider.aclose()


async def tasks() -> int:
    return len(asyncio.all_tasks())


def test_hundreds_of_calls_leave_nothing_behind() -> None:
    """No thread, no task, no socket, no memory: of those that end, are left, fail and are never begun."""
    wrong = iter(range(10**9))

    def reply(request: Request) -> ServerReply:
        return WIRE.error(500, "it fell over") if next(wrong) % 4 == 3 else ServerReply(WIRE.answer("Hi"))

    def call(model: BlockingProvider, number: int) -> None:
        with suppress(ServerError):
            for chunk in model.create_message("", ASK):
                if number % 3 == 0 and isinstance(chunk, TextChunk):
                    break
        model.create_message("", ASK)

    def left() -> tuple[int, int, int]:
        gc.collect()
        return threading.active_count(), blocking(tasks()), descriptors()

    with serving(reply) as served, blocking(WIRE.provider(served.url)) as model:
        counts = []
        for calls in (50, 300):
            for number in range(calls):
                call(model, number)
            model.close()  # the last call may have left a connection for the next, or not
            # The other side of a connection learns a little later that it is closed.
            served.until(lambda: served.emulator.open_connections == 0)
            served.emulator.exchanges.clear()
            counts.append((*left(), len(gc.get_objects())))
    (*before, objects), (*after, objects_then) = counts
    # Fewer, if a thread of an earlier test has ended meanwhile.
    assert all(then <= now for now, then in zip(before, after, strict=True)), (before, after)
    assert objects_then < objects + 50
