"""The four deadlines on each wire: which one it was, how long it is, and that nothing but content puts it off."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from math import isfinite

import anyio
import msgspec
import pytest

from patience import PATIENCE, PATIENT, SHORT, all_but, watch_by
from penstock import (
    Chunk,
    ConnectTimeoutError,
    Deadlines,
    FirstChunkTimeoutError,
    ProviderConfig,
    ProviderTimeoutError,
    StallTimeoutError,
    TextChunk,
    TotalTimeoutError,
)
from penstock.providers.answers import Pieces
from penstock.providers.deadlines import Watch
from penstock.testing import Emulator, Hang, Pause, ServerReply, Step, pieces
from playing import Clock
from reading import stop_of, text_of, usage_of
from three_wires import ASK, WIRES, ThreeWire, each_wire, failure, read

pytestmark = [pytest.mark.anyio, pytest.mark.both_transports]

TEXT = "Hello there, world!"
COMMENT = b": keep-alive\n\n"
LINES = b"\n\n"
DRIPPING = b"HTTP/1.1 200 OK\r\n" + b"".join(b"x-%d: b\r\n" % number for number in range(99))


def paced(*events: bytes, seconds: float = 0.05) -> list[Step]:
    """Each event by itself, with a pause after it."""
    return [step for event in events for step in (event, Pause(seconds))]


def begun(wire: ThreeWire) -> list[bytes]:
    """What comes before the first text."""
    return wire.answer(TEXT)[: wire.begun]


def said(wire: ThreeWire) -> list[bytes]:
    """The first text, and what comes before it."""
    return wire.answer(TEXT)[: wire.begun + 1]


FIRST = [
    pytest.param(lambda wire: ServerReply(before=[Hang()]), id="no headers"),
    pytest.param(lambda wire: ServerReply(pieces(DRIPPING, 3, pause=0.05), raw=True), id="headers that drip"),
    pytest.param(lambda wire: ServerReply([Hang()]), id="headers, then silence"),
    pytest.param(lambda wire: ServerReply([*begun(wire), Hang()]), id="silence before the first text"),
    pytest.param(
        lambda wire: ServerReply([*begun(wire), *paced(*[COMMENT] * 99)]), id="comments before the first text"
    ),
    pytest.param(lambda wire: ServerReply(paced(*[wire.no_content] * 99)), id="empty events"),
    pytest.param(lambda wire: ServerReply(paced(*[LINES] * 99)), id="line ends"),
]
STALLS = [
    pytest.param(lambda wire: ServerReply([*said(wire), Hang()]), id="silence"),
    pytest.param(lambda wire: ServerReply([*said(wire), *paced(*[COMMENT] * 99)]), id="comments"),
    pytest.param(lambda wire: ServerReply([*said(wire), *paced(*[wire.no_content] * 99)]), id="empty events"),
    pytest.param(
        lambda wire: ServerReply([*said(wire), *pieces(b": " + b"x" * 99, 1, pause=0.05)]), id="a line that drips"
    ),
]


@contextmanager
def not_before(seconds: float) -> Iterator[None]:
    """It takes so long. That it takes no longer is told by which deadline it was: all others are far away.

    What a reply holds beside silence takes several times as long, and then ends in another error.
    """
    before = time.monotonic()
    yield
    assert seconds - 0.05 <= time.monotonic() - before < PATIENCE


@pytest.mark.parametrize("reply", FIRST)
@each_wire
async def test_no_first_content(wire: ThreeWire, reply: Callable[[ThreeWire], ServerReply]) -> None:
    """Headers, pings, comments and events without content are no content, and no stall counts before there is any."""
    limits = msgspec.structs.replace(PATIENT, first_chunk=SHORT, stall=SHORT / 3)
    async with Emulator(reply(wire)) as emulator, wire.provider(emulator.url, deadlines=limits) as provider:
        chunks: list[Chunk] = []
        with not_before(SHORT):
            error = await failure(provider, chunks)
    assert type(error) is FirstChunkTimeoutError
    assert (error.deadline, error.seconds, error.retryable) == ("first_chunk", SHORT, True)
    assert "0.3 s" in str(error)
    assert text_of(chunks) == ""


@pytest.mark.parametrize("reply", STALLS)
@each_wire
async def test_a_stall(wire: ThreeWire, reply: Callable[[ThreeWire], ServerReply]) -> None:
    """As above, once the answer has begun; what came is there."""
    async with (
        Emulator(reply(wire)) as emulator,
        wire.provider(emulator.url, deadlines=all_but("stall")) as provider,
    ):
        chunks: list[Chunk] = []
        with not_before(SHORT):
            error = await failure(provider, chunks)
    assert type(error) is StallTimeoutError
    assert (error.deadline, error.seconds, error.retryable) == ("stall", SHORT, True)
    assert text_of(chunks) == "Hell"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(lambda wire: paced(*wire.answer(TEXT * 9), seconds=0.05), id="content that flows"),
        pytest.param(lambda wire: [*said(wire), *paced(*[COMMENT] * 99)], id="comments"),
        pytest.param(lambda wire: [Hang()], id="silence"),
    ],
)
@each_wire
async def test_the_total(wire: ThreeWire, body: Callable[[ThreeWire], Sequence[Step]]) -> None:
    """Whatever comes meanwhile."""
    async with (
        Emulator(ServerReply(body(wire))) as emulator,
        wire.provider(emulator.url, deadlines=all_but("total")) as provider,
    ):
        with not_before(SHORT):
            error = await failure(provider)
    assert type(error) is TotalTimeoutError
    assert (error.deadline, error.seconds) == ("total", SHORT)


@each_wire
async def test_no_connection(wire: ThreeWire) -> None:
    """A host that neither takes nor refuses: here, one whose queue of connections is full."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        for other in waiting:
            other.setblocking(False)
            other.connect_ex(deaf.getsockname())
        try:
            url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
            async with wire.provider(url, deadlines=all_but("connect")) as provider:
                with not_before(SHORT):
                    error = await failure(provider)
        finally:
            for other in waiting:
                other.close()
    assert type(error) is ConnectTimeoutError
    assert (error.deadline, error.seconds) == ("connect", SHORT)


@each_wire
async def test_a_slow_consumer_is_not_a_stalling_vendor(wire: ThreeWire, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the time spent waiting for the vendor counts."""
    clock = Clock()
    watch_by(clock, monkeypatch)
    reply = ServerReply(paced(*wire.answer(TEXT), seconds=0.005))
    async with Emulator(reply) as emulator, wire.provider(emulator.url, deadlines=PATIENT) as provider:
        text = ""
        async with provider.stream("", ASK) as stream:
            async for chunk in stream:
                if isinstance(chunk, TextChunk):
                    text += chunk.text
                    clock.now += 2 * PATIENCE
    assert text == TEXT


@pytest.mark.parametrize("wire", WIRES[:2], ids=lambda wire: wire.name)
async def test_an_answer_that_may_end_is_not_waited_for(wire: ThreeWire) -> None:
    """It has said why it ends and what it has cost, and then the vendor's last word never comes: some seconds do."""
    events = wire.answer(TEXT)
    assert len(events) > 4
    reply = ServerReply([*events[:-1], Hang()])
    limits = Deadlines(first_chunk=60, stall=60)
    async with Emulator(reply) as emulator, wire.provider(emulator.url, deadlines=limits) as provider:
        chunks = await read(provider)
        await emulator.exchanges[0].hung_up.wait()
    assert (text_of(chunks), stop_of(chunks).reason) == (TEXT, "stop")
    assert usage_of(chunks).output_tokens


@pytest.mark.parametrize("wire", WIRES[:2], ids=lambda wire: wire.name)
async def test_without_its_usage_it_is(wire: ThreeWire) -> None:
    """The bill may still come."""
    last = b"message_delta" if wire.name == "anthropic" else b'"usage":{'
    events = [event for event in wire.answer(TEXT)[:-1] if last not in event]
    limits = Deadlines(first_chunk=5, stall=SHORT)
    reply = ServerReply([*events, Hang()])
    async with Emulator(reply) as emulator, wire.provider(emulator.url, deadlines=limits) as provider:
        assert type(await failure(provider)) is StallTimeoutError


@pytest.mark.parametrize(
    ("more", "limits"),
    [
        pytest.param(paced(*[COMMENT] * 999), all_but(None), id="pings"),
        pytest.param([Hang()], all_but("stall", 1), id="a short stall"),
        pytest.param([Hang()], all_but("total", 1), id="a short total"),
    ],
)
@pytest.mark.parametrize("wire", WIRES[:2], ids=lambda wire: wire.name)
async def test_no_deadline_breaks_an_answer_that_may_end(wire: ThreeWire, more: list[Step], limits: Deadlines) -> None:
    """Nor do pings put its end off."""
    reply = ServerReply([*wire.answer(TEXT)[:-1], *more])
    async with Emulator(reply) as emulator, wire.provider(emulator.url, deadlines=limits) as provider:
        chunks = await read(provider)
        await emulator.exchanges[0].hung_up.wait()
    assert (text_of(chunks), stop_of(chunks).reason, usage_of(chunks).unsettled) == (TEXT, "stop", 0)


async def test_what_may_end_is_read_as_long_as_it_comes() -> None:
    """Or ends by itself: only without content is it the end of what may end."""

    async def body(*pieces: bytes) -> AsyncGenerator[bytes, None]:
        for piece in pieces:
            yield piece
        await anyio.sleep_forever()

    watch = Watch(Deadlines(), Clock(), grace=0.01)
    watch.body_timeout()
    flow = Pieces(body(b"a", b"b"))
    assert [await watch.read(flow, may_end=True) for _ in range(2)] == [b"a", b"b"]
    assert not watch.waited
    assert await watch.read(flow, may_end=True) == b""
    assert watch.waited


@pytest.mark.parametrize(("late", "scopes"), [(0.009, 0), (0.011, 1)])
async def test_some_milliseconds_before_the_first_content_need_no_scope(
    late: float, scopes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the head has taken since is left to the HTTP client's timeout; longer waits, as for a ping, are not."""

    async def body() -> AsyncGenerator[bytes, None]:
        yield b"a"

    made: list[float] = []

    def fail_after(left: float) -> AbstractContextManager[object]:
        made.append(left)
        return nullcontext()

    clock = Clock()
    watch = Watch(Deadlines(), clock)
    watch.body_timeout()
    clock.now += late
    monkeypatch.setattr("penstock.providers.deadlines.anyio.fail_after", fail_after)
    flow = Pieces(body())
    assert await watch.read(flow) == b"a"
    assert len(made) == scopes
    await flow.aclose()


def test_the_default_never_waits_for_ever() -> None:
    """Of a provider that was given none; the total alone is open, as an answer that flows may be long."""
    limits = ProviderConfig(model_id="m").deadlines
    assert all(isfinite(seconds) for seconds in (limits.connect, limits.first_chunk, limits.stall))
    assert limits.total is None


def test_one_except_is_enough() -> None:
    """For whoever does not care which one it was."""
    for kind in (ConnectTimeoutError, FirstChunkTimeoutError, StallTimeoutError, TotalTimeoutError):
        assert issubclass(kind, ProviderTimeoutError)
