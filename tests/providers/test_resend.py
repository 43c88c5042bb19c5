"""A request that finds its kept connection closed is sent once more; any other way of failing is asked once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import anyio
import httpx2
import msgspec
import pytest
from aiohttp import connector

from leftovers import nothing_left
from patience import SHORT
from penstock import (
    AnthropicProvider,
    Deadlines,
    FirstChunkTimeoutError,
    NetworkError,
    Options,
    ProviderConfig,
    ProviderError,
    ServerError,
    StreamInterruptedError,
)
from penstock.middleware import Event, Observe, Resent, Started
from penstock.providers.sending import Sending
from penstock.testing import Cut, Emulator, Hang, Pause, Request, Reset, ServerReply
from reading import text_of
from three_wires import ASK, KEY, WIRES, ThreeWire, each_wire, failure, read

pytestmark = [pytest.mark.anyio, pytest.mark.both_transports]

CLOSED = [pytest.param(Cut(), id="closed"), pytest.param(Reset(), id="reset")]


def hello(wire: ThreeWire, **headers: str) -> ServerReply:
    return ServerReply(wire.answer("Hello"), headers={"content-type": "text/event-stream", **headers})


@pytest.mark.parametrize("end", CLOSED)
@each_wire
async def test_a_kept_connection_that_had_been_closed(wire: ThreeWire, end: Cut | Reset) -> None:
    """The same request once more, on a connection of its own that is not kept; whoever listens is told."""
    events: list[Event] = []
    replies = [hello(wire), ServerReply(before=[end]), hello(wire), hello(wire)]
    async with nothing_left(), Emulator(*replies) as emulator, wire.provider(emulator.url) as provider:
        observed = Observe(provider, events.append)
        for _ in range(3):
            assert text_of(await read(observed)) == "Hello"
        assert [exchange.connection for exchange in emulator.exchanges] == [1, 1, 2, 3]
    bodies = [request.body for request in emulator.requests]
    assert bodies == bodies[:1] * 4
    (told,) = [event for event in events if isinstance(event, Resent)]
    assert told.model == "m"
    assert told.call == [event for event in events if isinstance(event, Started)][1].call, "the second one's"
    assert isinstance(told.error, NetworkError)
    assert KEY not in repr(told.error)


class Once(NamedTuple):
    """What comes on a kept connection, and what must come of it."""

    reply: Callable[[ThreeWire], ServerReply]
    error: type[ProviderError]
    said: str


ONCE = {
    "the answer had begun": Once(
        lambda wire: ServerReply([*wire.answer("Hello")[:2], Cut()]), StreamInterruptedError, "before the message"
    ),
    "half of its head came": Once(
        lambda wire: ServerReply([b"HTTP/1.1 200 OK\r\ncontent-", Cut()], raw=True), NetworkError, "no answer"
    ),
    "the server had said that it works": Once(
        lambda wire: ServerReply([b"HTTP/1.1 102 Processing\r\n\r\n", Cut()], raw=True), NetworkError, "no answer"
    ),
    "no HTTP came": Once(lambda wire: ServerReply([b"what\r\n\r\n", Cut()], raw=True), NetworkError, "no answer"),
    "nothing came in time": Once(lambda wire: ServerReply(before=[Hang()]), FirstChunkTimeoutError, "first_chunk"),
    "it was refused": Once(lambda wire: wire.error(500, "broken"), ServerError, "broken"),
    "the server had worked before it hung up": Once(
        lambda wire: ServerReply(before=[Pause(1.1), Cut()]), NetworkError, "which had been used before, was closed 1."
    ),
}


@pytest.mark.parametrize("case", ONCE.values(), ids=ONCE)
@each_wire
async def test_what_is_asked_once(wire: ThreeWire, case: Once) -> None:
    """The server may have done the work."""
    hangs = case.error is FirstChunkTimeoutError
    async with (
        Emulator(hello(wire), case.reply(wire), hello(wire)) as emulator,
        wire.provider(emulator.url) as provider,
    ):
        await read(provider)
        error = await failure(provider, options=Options(deadlines=Deadlines(first_chunk=SHORT)) if hangs else None)
        assert len(emulator.requests) == 2
    assert type(error) is case.error
    assert case.said in str(error)


@each_wire
async def test_only_a_used_connection_can_have_been_closed(wire: ThreeWire) -> None:
    """On a new one the server has read the request, whatever it did then; and once more is once."""
    async with Emulator(ServerReply(before=[Cut()]), hello(wire)) as emulator, wire.provider(emulator.url) as provider:
        error = await failure(provider)
        assert type(error) is NetworkError
        assert "used before" not in str(error)
        assert len(emulator.requests) == 1
    cut = ServerReply(before=[Cut()])
    async with Emulator(hello(wire), cut, cut, hello(wire)) as emulator, wire.provider(emulator.url) as provider:
        await read(provider)
        assert type(await failure(provider)) is NetworkError
        assert len(emulator.requests) == 3


async def test_what_creates_something_is_never_sent_twice() -> None:
    """A batch would run twice."""
    wire = WIRES[0]
    async with Emulator(hello(wire), ServerReply(before=[Cut()]), hello(wire)) as emulator:
        config = ProviderConfig(model_id="m", api_key=KEY, base_url=emulator.url)
        async with AnthropicProvider(config) as provider:
            await read(provider)
            prepared = msgspec.structs.replace(provider._prepare("", ASK, Options()), creates=True)
            with pytest.raises(NetworkError):
                _ = [chunk async for chunk in provider._transport.exchange(lambda: prepared)]
        assert len(emulator.requests) == 2


async def test_closing_the_provider_is_not_the_servers_doing() -> None:
    """Whoever closes it while a call waits wants nothing sent any more."""
    wire = WIRES[0]
    arrived = anyio.Event()

    def silent(request: Request) -> ServerReply:
        arrived.set()
        return ServerReply(before=[Hang()])

    async with Emulator(hello(wire), then=silent) as emulator:
        provider = wire.provider(emulator.url)
        await read(provider)
        async with anyio.create_task_group() as group:
            group.start_soon(failure, provider)
            await arrived.wait()
            await provider.aclose()
        assert len(emulator.requests) == 2


async def test_what_the_hook_raises_ends_the_call() -> None:
    """As with the other hook, and nothing is sent then."""
    wire = WIRES[0]

    def refuse(error: ProviderError) -> None:
        raise LookupError("not again")

    async with (
        Emulator(hello(wire), ServerReply(before=[Cut()]), hello(wire)) as emulator,
        wire.provider(emulator.url) as provider,
    ):
        await read(provider)
        with pytest.raises(LookupError, match="not again"):
            await anext(provider.create_message("", ASK, Options(on_resend=refuse)))
        assert len(emulator.requests) == 2


# What the HTTP client says while it sends. A proxy is asked to connect first, by a request of its own.
OPENED = ["connection.connect_tcp.started", "connection.connect_tcp.complete"]
HEADERS = ["http11.send_request_headers.started", "http11.send_request_headers.complete"]
BODY = ["http11.send_request_body.started", "http11.send_request_body.complete"]
FAILED = ["http11.send_request_body.started", "http11.send_request_body.failed"]
ANSWER = ["http11.receive_response_headers.started"]
GONE = httpx2.RemoteProtocolError("Server disconnected without sending a response.")
RESET = httpx2.ReadError("")
TRACES: dict[str, tuple[list[str], float, Exception, bool]] = {
    "closed at once": ([*HEADERS, *BODY, *ANSWER], 0.0, GONE, True),
    "reset at once": ([*HEADERS, *BODY, *ANSWER], 0.0, RESET, True),
    "closed while it was written": ([*HEADERS, *FAILED, *ANSWER], 0.0, GONE, True),
    "just within a second": ([*HEADERS, *BODY, *ANSWER], 0.99, GONE, True),
    "a second later": ([*HEADERS, *BODY, *ANSWER], 1.0, GONE, False),
    "a new connection": ([*OPENED, *HEADERS, *BODY, *ANSWER], 0.0, GONE, False),
    "a deadline": ([*HEADERS, *BODY, *ANSWER], 0.0, httpx2.ReadTimeout(""), False),
    "no connection": (OPENED, 0.0, httpx2.ConnectError(""), False),
    "no free connection": ([], 0.0, httpx2.PoolTimeout(""), False),
}


class _Asked(NamedTuple):
    method: bytes


@pytest.mark.httpx2_only("it is about what that traces")
@pytest.mark.parametrize(("steps", "seconds", "error", "again"), TRACES.values(), ids=TRACES)
async def test_what_the_trace_tells(steps: list[str], seconds: float, error: Exception, again: bool) -> None:
    """Of the time since the last byte, and of the connection."""
    now = [100.0]
    sending = Sending(5, clock=lambda: now[0])
    for step in steps:
        await sending.trace(step, {"request": _Asked(b"POST")})
    now[0] += seconds
    assert sending.found_closed(error) is again
    assert sending.whole is (BODY[-1] in steps)
    sending.begin(again=True)
    assert (sending.begun, sending.whole, sending.found_closed(error)) == (False, False, False)


KEEPING: dict[str, tuple[str | None, int]] = {
    "nothing said": (None, 1),
    "longer than we keep": ("timeout=100", 1),
    "some seconds": ("timeout=9, max=100", 1),
    "one second, of which nothing is left": ("timeout=1", 3),
    "none at all": ("max=5, timeout=0", 3),
    "no number": ("timeout=soon", 1),
}


@pytest.mark.parametrize(("said", "connections"), KEEPING.values(), ids=KEEPING)
@each_wire
async def test_a_server_says_how_long_it_keeps(wire: ThreeWire, said: str | None, connections: int) -> None:
    """A second less is ours, so that no request meets the server's closing."""
    headers = {} if said is None else {"keep-alive": said}
    async with Emulator(lambda request: hello(wire, **headers)) as emulator, wire.provider(emulator.url) as provider:
        for _ in range(3):
            await read(provider)
        assert emulator.connections == connections


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the clock on, which the HTTP client reads for itself."""
    real, ahead = time.monotonic, [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: real() + ahead[0])
    monkeypatch.setattr(connector, "monotonic", lambda: real() + ahead[0])

    def move(seconds: float) -> None:
        ahead[0] += seconds

    return move


@pytest.mark.parametrize(
    ("seconds", "said", "connections"), [(50, "", 1), (70, "", 2), (20, "timeout=30", 1), (29.5, "timeout=30", 2)]
)
async def test_how_long_a_connection_is_kept(
    seconds: float, said: str, connections: int, later: Callable[[float], None]
) -> None:
    """A minute: most tools take no longer, and the next turn pays for no new connection."""
    wire = WIRES[0]
    headers: dict[str, Any] = {"keep-alive": said} if said else {}
    async with Emulator(lambda request: hello(wire, **headers)) as emulator, wire.provider(emulator.url) as provider:
        await read(provider)
        later(seconds)
        await read(provider)
        assert emulator.connections == connections
