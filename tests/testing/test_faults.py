"""Every fault on every wire and both event loops: what comes out, how soon, and that the next call works."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

import anyio
import pytest

from patience import PATIENCE, PATIENT, all_but, drain_patiently, until
from penstock import (
    BaseProvider,
    Chunk,
    Deadlines,
    Message,
    ModelInfo,
    Options,
    OverloadedError,
    ProviderError,
    StallTimeoutError,
    StopChunk,
    StreamInterruptedError,
    UsageChunk,
)
from penstock.core.cost import Meter
from penstock.testing import (
    FAULTS,
    TEXT,
    WIRES,
    Cut,
    Emulator,
    Fault,
    Hang,
    Outcome,
    Reset,
    ServerReply,
    WireName,
    cut_at_bytes,
    cut_at_events,
    emulated,
    events_of,
    provider_on,
    stalled,
    with_error_event,
)
from penstock.testing.answers import ERROR_EVENT, answer
from penstock.testing.emulator import Exchange, Request, Step, _Playing
from penstock.wire.answer_reader import AnswerReader
from penstock.wire.anthropic.answer import AnthropicDecoder
from penstock.wire.openai.chat_answer import ChatDecoder
from penstock.wire.openai.responses_answer import ResponsesDecoder
from penstock.wire.vendors import DIALECTS
from reading import DAY, calls_of, text_of, usage_of
from transports import OVER_AIOHTTP

pytestmark = pytest.mark.both_transports

ROWS = [
    pytest.param(fault, wire, id=f"{fault.name}, {wire}")
    for fault in FAULTS.values()
    for wire in fault.wires
    if fault.seconds <= 1
]
LONG = [pytest.param(fault, id=fault.name) for fault in FAULTS.values() if fault.seconds > 1]
ON_EACH_WIRE = dict(zip(("asyncio", "trio", OVER_AIOHTTP), WIRES, strict=True))
ENDPOINTS: dict[WireName, str] = {"messages": "/v1/messages", "chat": "/chat/completions", "responses": "/responses"}


@pytest.fixture(scope="module", autouse=True)
def _imported() -> None:
    """The SDKs, which else the first call of the process would import: that is no part of what a fault takes."""
    for name in ("anthropic", "openai", "aiohttp"):
        import_module(name)


@asynccontextmanager
async def served(emulator: Emulator, wire: WireName) -> AsyncIterator[BaseProvider]:
    async with emulator, provider_on(wire, emulator.url, deadlines=PATIENT) as provider:
        yield provider


async def outcome(
    provider: BaseProvider, deadlines: Deadlines = PATIENT
) -> tuple[list[Chunk], ProviderError | None, float]:
    """The chunks of a call, the error that ended it if one did, and what time of the processor it took, in seconds.

    It never waits for a deadline that is none of these: that one is far away.
    """
    chunks: list[Chunk] = []
    error = None
    before = time.process_time()
    try:
        with anyio.fail_after(PATIENCE / 2):
            async with provider.stream("", [Message("user", "Hi")], Options(deadlines=deadlines)) as stream:
                async for chunk in stream:
                    chunks.append(chunk)  # noqa: PERF401 - what came before an error is kept
    except ProviderError as raised:
        error = raised
    return chunks, error, time.process_time() - before


def check(expected: Outcome, chunks: list[Chunk], error: ProviderError | None, began: float) -> None:
    """Compare what came with what must come of a reply that was made when the clock showed *began*."""
    assert type(error) is (expected.error or type(None)), repr(error)
    assert text_of(chunks) == expected.text
    assert [(call.name, call.arguments) for call in calls_of(chunks)] == list(expected.calls)
    stops = [chunk for chunk in chunks if isinstance(chunk, StopChunk)]
    usage = [chunk for chunk in chunks if isinstance(chunk, UsageChunk)]
    if error is None:
        assert [stop.reason for stop in stops] == [expected.reason]
        assert chunks[-1] is stops[0]
        total = sum(usage, UsageChunk())
        assert any(chunk.prompt_tokens or chunk.output_tokens for chunk in usage) is (expected.usage is not None)
        assert (total.input_tokens, total.output_tokens) == (expected.usage or (0, 0))
    else:
        assert not stops
        assert error.retryable is expected.retryable
        assert (error.retry_after is None) is (expected.retry_after is None)
        if expected.retry_after is not None and error.retry_after is not None:
            # A date is in whole seconds, and comes nearer.
            passed = time.time() - began
            assert expected.retry_after - passed - 1 <= error.retry_after <= expected.retry_after + 1
        assert error.usage == usage_of(chunks)
        assert error.vendor
        assert error.model == "emulated"


@pytest.mark.anyio
@pytest.mark.parametrize(("fault", "wire"), ROWS)
async def test_every_fault_has_its_outcome(fault: Fault, wire: WireName) -> None:
    """In time; then the connection is closed or used again, and the same provider gets an answer that is whole.

    In time is: by the deadline that it must be, while all others are far away, and without much work.
    """
    began = time.time()
    emulator = emulated(fault, wire)
    async with served(emulator, wire) as provider:
        chunks, error, seconds = await outcome(provider, all_but(getattr(fault.outcome.error, "deadline", None)))
        check(fault.outcome, chunks, error, began)
        assert seconds < fault.seconds
        if fault.refused:
            await emulator.listen()
        emulator.then = ServerReply(answer(wire, TEXT))
        chunks, error, _ = await outcome(provider)
        assert (text_of(chunks), error) == (TEXT, None)
        await until(lambda: emulator.open_connections <= 1)


@pytest.mark.anyio
@pytest.mark.parametrize("fault", LONG)
async def test_what_is_only_long(fault: Fault, request: pytest.FixtureRequest) -> None:
    """It is read on each wire and over each transport, but not on each over each: that takes long."""
    wire = ON_EACH_WIRE[request.node.callspec.params["anyio_backend"]]
    async with served(emulated(fault, wire), wire) as provider:
        chunks, error, seconds = await outcome(provider)
    check(fault.outcome, chunks, error, time.time())
    assert seconds < fault.seconds


def test_the_table_is_whole() -> None:
    """Each fault is on all wires, but for those that one wire alone can have."""
    partial = {fault.name: tuple(fault.wires) for fault in FAULTS.values() if set(fault.wires) != set(WIRES)}
    assert partial == {
        "a response that failed": ("responses",),
        "a finish reason without [DONE]": ("chat",),
        "usage in two events": ("messages", "chat"),
    }


@pytest.mark.anyio
@pytest.mark.parametrize("step", [Reset(), Cut()], ids=lambda step: type(step).__name__)
async def test_a_connection_that_the_client_has_closed_is_no_fault_of_the_script(step: Step) -> None:
    """Its end in the script may come a moment later than the client's."""
    async with Emulator() as emulator:
        stream = await anyio.connect_tcp("127.0.0.1", int(emulator.url.rpartition(":")[2]))
        playing = _Playing(stream, Exchange(Request("", "", {}, b""), 1))
        await stream.aclose()
        await playing.run(ServerReply(before=[step]))
    assert not playing.alive


@pytest.mark.anyio
@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("name", ["text after the last event", "gzip", "CRLF", "200 with an error", "500 once"])
async def test_what_is_whole_gives_its_connection_back(
    name: str, wire: WireName, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer or an error, whatever came after its last event."""
    drain_patiently(monkeypatch)
    emulator = emulated(FAULTS[name], wire)
    async with served(emulator, wire) as provider:
        errors = [(await outcome(provider))[1] for _ in range(2)]
    assert [error and type(error) for error in errors] == [FAULTS[name].outcome.error, None]
    assert emulator.connections == 1


@pytest.mark.anyio
@pytest.mark.parametrize("wire", WIRES)
async def test_the_last_event_ends_the_stream(wire: WireName) -> None:
    """A connection that is left open does not delay the end, and is closed, as the rest of it may never come."""
    emulator = Emulator(ServerReply([*answer(wire, TEXT), Hang()]), then=ServerReply(answer(wire, TEXT)))
    async with served(emulator, wire) as provider:
        chunks, error, _ = await outcome(provider)
        assert (text_of(chunks), error) == (TEXT, None)
        with anyio.fail_after(PATIENCE / 2):
            await emulator.exchanges[0].hung_up.wait()


def sample(corpus: list[dict[str, Any]], wire: WireName, count: int = 5) -> list[bytes]:
    """Recorded streams of every length, those with tool calls first."""
    rows = [
        row
        for row in corpus
        if row["status"] == 200
        and row["sse"]
        and row["endpoint"].endswith(ENDPOINTS[wire])
        and row["expect"]["stop_reason"]
    ]
    rows.sort(key=lambda row: (not row["expect"]["tool_calls"], len(row["response_body"])))
    return [rows[place * (len(rows) - 1) // (count - 1)]["response_body"].encode() for place in range(count)]


def read(reply: ServerReply, wire: WireName) -> tuple[list[Chunk], ProviderError | None]:
    """What a provider reads of a reply, without a network."""
    meter = Meter(ModelInfo(), DAY)
    reader = AnswerReader(
        AnthropicDecoder(meter)
        if wire == "messages"
        else (ChatDecoder if wire == "chat" else ResponsesDecoder)(meter, DIALECTS["openai"])
    )
    opening = meter.open()
    chunks: list[Chunk] = [] if opening is None else [opening]
    try:
        for step in reply.body:
            assert isinstance(step, bytes)
            chunks += reader.feed(step)
        chunks += () if reader.done else reader.close()
    except ProviderError as error:
        return chunks, error
    return chunks, None


def cuts(body: bytes) -> Iterator[ServerReply]:
    """The body cut at each event and at some 200 bytes."""
    yield from cut_at_events(body)
    yield from cut_at_bytes(body, max(1, len(body) // 200))


@pytest.mark.parametrize("wire", WIRES)
def test_a_recorded_stream_that_is_cut_never_ends_well(corpus: list[dict[str, Any]], wire: WireName) -> None:
    """Wherever it is cut: an error, no stop, and no call but those of the whole stream, word for word."""
    for body in sample(corpus, wire):
        whole, error = read(ServerReply([body]), wire)
        assert error is None
        assert isinstance(whole[-1], StopChunk)
        for reply in cuts(body):
            chunks, error = read(reply, wire)
            assert isinstance(error, ProviderError), reply.body
            assert not any(isinstance(chunk, StopChunk) for chunk in chunks)
            assert calls_of(chunks) == calls_of(whole)[: len(calls_of(chunks))]
            assert text_of(whole).startswith(text_of(chunks).rstrip("\ufffd"))


@pytest.mark.anyio
@pytest.mark.parametrize("wire", WIRES)
async def test_it_does_not_over_a_network_either(corpus: list[dict[str, Any]], wire: WireName) -> None:
    """The shortest of them, each cut ended in order and by a broken connection; then it is asked for the whole one."""
    body = sample(corpus, wire)[0]
    replies = list(cut_at_events(body))
    replies += [ServerReply([*reply.body, Cut()]) for reply in replies]
    async with served(Emulator(*replies, then=ServerReply([body])), wire) as provider:
        for _ in replies:
            chunks, error, _ = await outcome(provider)
            assert type(error) is StreamInterruptedError
            assert not any(isinstance(chunk, StopChunk) for chunk in chunks)
        chunks, error, _ = await outcome(provider)
        assert error is None
        assert chunks == read(ServerReply([body]), wire)[0]


@pytest.mark.anyio
@pytest.mark.parametrize("wire", WIRES)
async def test_a_recorded_stream_that_stalls_or_has_an_error_in_it(
    corpus: list[dict[str, Any]], wire: WireName
) -> None:
    """Anywhere before its end: a typed error. Anthropic's last event says nothing that is not known before it."""
    body = sample(corpus, wire)[1]
    last = len(list(cut_at_events(body))) - 1
    silent = last - (wire == "messages")
    async with served(Emulator(stalled(body, silent), with_error_event(body, wire, last)), wire) as provider:
        _, error, _ = await outcome(provider, all_but("stall"))
        assert type(error) is StallTimeoutError
        assert type((await outcome(provider))[1]) is OverloadedError


LINE_ENDS = [b"\n", b"\r\n", b"\r"]


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("end", LINE_ENDS)
def test_the_variants_of_a_body(end: bytes, wire: WireName) -> None:
    """Its events are the body again; a cut is a true beginning of it, from nothing to all but the last word."""
    events = [event.replace(b"\n", end) for event in answer(wire, TEXT)]
    body = b"".join(events)
    assert events_of(body) == events_of(events) == events
    assert stalled(body, 2).body == [*events[:2], Hang()]
    assert with_error_event(body, wire, 2).body == [*events[:2], ERROR_EVENT[wire]]
    sizes = [sum(len(step) for step in reply.body if isinstance(step, bytes)) for reply in cut_at_bytes(body)]
    assert sizes == list(range(len(sizes)))
    assert read(ServerReply([body[: len(sizes)]]), wire)[1] is None
    for reply in (*cut_at_events(body), *cut_at_bytes(body)):
        chunks, error = read(reply, wire)
        assert type(error) is StreamInterruptedError
        assert not any(isinstance(chunk, StopChunk) for chunk in chunks)
    with pytest.raises(ValueError, match="no whole stream"):
        next(cut_at_events(events[:2]))
