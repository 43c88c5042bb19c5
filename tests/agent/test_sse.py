"""An answer on its way to a browser: what is sent, and that the model stops when the browser leaves."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, MutableMapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse

import anyio
import msgspec
import pytest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from patience import until
from penstock import (
    BaseProvider,
    BlockingStream,
    ConfigError,
    LoopChunk,
    ProviderError,
    RateLimitError,
    StopChunk,
    TextChunk,
    ToolCallChunk,
    blocking,
    run_tools,
    to_sse,
    tool,
)
from penstock.middleware import Abandoned, Ended, Event, Observe
from penstock.testing import Hang, Pause, ScriptedProvider, ScriptedStep, ServerReply, anthropic_message
from playing import HI, STOP
from serving import serving
from three_wires import ASK, KEY, WIRES, ThreeWire, read
from web import Browser, uvicorn_serving

TEXT: Final = "Hello there"
WIRE: Final = WIRES[0]
COMMENT: Final = b":\n\n"


async def sent(stream: AsyncGenerator[LoopChunk, None]) -> list[bytes]:
    """What a browser gets of a stream."""
    return [event async for event in to_sse(stream)]


def parsed(body: bytes) -> list[tuple[str, Any]]:
    """Name and data of each event, without the comments."""
    events = re.findall(rb"event: (.*)\ndata: (.*)\n\n", body.replace(COMMENT, b""))
    assert body.replace(COMMENT, b"") == b"".join(b"event: %b\ndata: %b\n\n" % event for event in events)
    return [(name.decode(), msgspec.json.decode(data)) for name, data in events]


@tool
def add(a: int, b: int) -> int:
    """Add."""
    return a + b


CALL: Final = ToolCallChunk(id="c", name="add", arguments='{"a": 2,\n"b": 3}')


@pytest.mark.anyio
async def test_each_chunk_is_an_event() -> None:
    """Its type is the name and its JSON the data: a chunk can be read from it. No line in it is broken."""
    provider = ScriptedProvider([CALL, StopChunk(reason="tool_calls")], [TextChunk("5\n\nevent: x\n\r\n"), STOP])
    chunks = [chunk async for chunk in run_tools(provider, "", list(ASK), [add])]
    provider = ScriptedProvider([CALL, StopChunk(reason="tool_calls")], [TextChunk("5\n\nevent: x\n\r\n"), STOP])
    first, *events = await sent(run_tools(provider, "", list(ASK), [add]))
    assert first == COMMENT
    *read_back, last = parsed(b"".join(events))
    assert [msgspec.convert(data, LoopChunk) for _, data in read_back] == chunks
    assert [name for name, _ in read_back] == ["tool_call", "stop", "tool_result", "text", "stop"]
    assert last == ("end", {"type": "end"})


class OurOwnError(RateLimitError):
    __doc__ = None


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (
            RateLimitError("org-secret, see http://10.0.0.7/"),
            {"error": "RateLimitError", "message": "The vendor asks to slow down (HTTP 429).", "retryable": True},
        ),
        (
            ConfigError("there is no key in /home/ann/models.json"),
            {"error": "ConfigError", "message": "The configuration is wrong.", "retryable": False},
        ),
        (
            OurOwnError("secret"),
            {"error": "OurOwnError", "message": "The vendor asks to slow down (HTTP 429).", "retryable": True},
        ),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_an_error_is_an_event_that_a_browser_may_see(
    error: ProviderError, shown: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    """It comes last, in place of the end; what it says goes to the log."""
    events = await sent(ScriptedProvider([TextChunk("H"), error]).create_message("", ASK))
    assert parsed(b"".join(events))[1:] == [("error", {"type": "error", **shown})]
    assert b"secret" not in events[-1]
    assert error.message in caplog.text


@pytest.mark.anyio
async def test_what_is_no_error_of_a_provider_gets_out() -> None:
    """It is a mistake in the program, which the server writes down; the browser gets no end."""

    async def broken() -> AsyncGenerator[LoopChunk, None]:
        yield TextChunk("H")
        raise LookupError("ours")

    events = to_sse(broken())
    assert [await anext(events), *parsed(await anext(events))] == [COMMENT, ("text", {"type": "text", "text": "H"})]
    with pytest.raises(LookupError, match="ours"):
        await anext(events)


@pytest.mark.anyio
async def test_nothing_is_asked_before_the_first_comment_is_out() -> None:
    """The browser has the headers then, and may have left."""
    provider = ScriptedProvider(HI)
    events = to_sse(provider.create_message("", ASK))
    assert await anext(events) == COMMENT
    assert provider.calls == []
    await events.aclose()


@pytest.mark.anyio
@pytest.mark.parametrize("seconds", [0, -1, True, "15"])
async def test_seconds_that_are_none_are_refused(seconds: Any) -> None:
    """As everywhere."""
    with pytest.raises(ConfigError, match="`comments` is"):
        await anext(to_sse(ScriptedProvider(HI).create_message("", ASK), comments=seconds))


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_silence_is_filled_with_comments() -> None:
    """And ends none of it: the answer comes whole."""
    script: list[ScriptedStep] = [TextChunk("H"), Pause(0.1), TextChunk("i"), STOP]
    events = [e async for e in to_sse(ScriptedProvider(script).create_message("", ASK), comments=0.01)]
    assert events.count(COMMENT) > 2
    assert [name for name, _ in parsed(b"".join(events))] == ["text", "text", "stop", "end"]


@pytest.mark.anyio
@pytest.mark.parametrize("script", [[Hang()], [TextChunk("H"), Hang()], [TextChunk("H")] * 99], ids=len)
async def test_leaving_closes_the_stream(script: list[ScriptedStep]) -> None:
    """By closing it, by cancelling who waits, and in the middle of what is there already."""
    provider = ScriptedProvider(script, repeat=True)
    events = to_sse(provider.create_message("", ASK))
    for _ in range(len(script)):
        await anext(events)
    await events.aclose()
    assert provider.running == 0

    async def read_all() -> None:
        with suppress(ProviderError):
            await sent(provider.create_message("", ASK))

    async with anyio.create_task_group() as group:
        group.start_soon(read_all)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert provider.running == 0


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # on trio nothing closes a generator that is dropped
async def test_a_server_that_does_not_listen_notices_at_the_next_comment() -> None:
    """By ASGI 2.4 only sending says that the browser has left; Starlette listens to nothing else then."""
    provider = ScriptedProvider([TextChunk("H"), Hang()])

    async def send(message: MutableMapping[str, Any]) -> None:
        if len(provider.calls) and provider.calls[0].yielded:
            raise OSError("the browser has left")

    async def receive() -> MutableMapping[str, Any]:
        raise AssertionError("nobody asks")

    try:
        response = StreamingResponse(to_sse(provider.create_message("", ASK), comments=0.01))
        await response({"type": "http", "asgi": {"spec_version": "2.4"}}, receive, send)
    except ClientDisconnect:
        del response  # Starlette closes nothing, and the server that called it lets it go
    await until(lambda: provider.running == 0)


class Site:
    """An endpoint of Starlette that streams what *make* gives, and what becomes of it.

    ended: how many answers to browsers have ended, in whatever way.
    """

    def __init__(self, provider: BaseProvider, make: Callable[[BaseProvider], AsyncGenerator[LoopChunk, None]]) -> None:
        self.events: list[Event] = []
        self.ended = 0
        self._provider = Observe(provider, self.events.append)
        self._make = make
        self._app = Starlette(routes=[Route("/chat", self._chat, methods=["POST"])], lifespan=self._lifespan)

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        async with self._provider:
            yield

    async def _chat(self, request: Request) -> StreamingResponse:
        return StreamingResponse(to_sse(self._make(self._provider)), media_type="text/event-stream")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await self._app(scope, receive, send)
        finally:
            self.ended += scope["type"] == "http"

    @property
    def last(self) -> Event:
        """How the call of the model ended."""
        return next(event for event in reversed(self.events) if isinstance(event, Ended))


def one_call(provider: BaseProvider) -> AsyncGenerator[LoopChunk, None]:
    return provider.create_message("", ASK)


def a_loop_of_tools(provider: BaseProvider) -> AsyncGenerator[LoopChunk, None]:
    return run_tools(provider, "", list(ASK), [add])


streams = pytest.mark.parametrize(
    ("make", "wire"),
    [
        *(pytest.param(one_call, wire, id=wire.name) for wire in WIRES),
        pytest.param(a_loop_of_tools, WIRE, id="a loop of tools"),
    ],
)


@streams
def test_a_browser_that_reads_all_has_all(
    make: Callable[[BaseProvider], AsyncGenerator[LoopChunk, None]], wire: ThreeWire
) -> None:
    """The chunks of the call, and the end."""
    with serving(lambda request: ServerReply(wire.answer(TEXT))) as served:
        provider = wire.provider(served.url)
        with uvicorn_serving(Site(provider, make)) as port, Browser(port) as browser:
            *events, end = parsed(browser.to_the_end())

        async def read_here() -> list[LoopChunk]:
            async with provider:
                return list(await read(provider))

        assert [msgspec.convert(data, LoopChunk) for _, data in events] == asyncio.run(read_here())
        assert end == ("end", {"type": "end"})


def silent(wire: ThreeWire) -> ServerReply:
    return ServerReply(before=[Hang()])


def thinking(wire: ThreeWire) -> ServerReply:
    return ServerReply([*wire.answer(TEXT)[: wire.begun], Hang()])


def speaking(wire: ThreeWire) -> ServerReply:
    return ServerReply([*wire.answer(TEXT)[: wire.begun + 2], Hang()])


@streams
@pytest.mark.parametrize(
    ("reply", "seen"),
    [
        pytest.param(silent, COMMENT, id="before the model's headers"),
        pytest.param(thinking, b"event: usage", id="while it thinks"),
        pytest.param(speaking, b"event: text", id="in the middle"),
    ],
)
def test_a_browser_that_leaves_stops_the_model(
    make: Callable[[BaseProvider], AsyncGenerator[LoopChunk, None]],
    reply: Callable[[ThreeWire], ServerReply],
    seen: bytes,
    wire: ThreeWire,
) -> None:
    """Its connection is closed, and listeners are told what is known of the bill."""
    with serving(reply(wire)) as served:
        site = Site(wire.provider(served.url), make)
        with uvicorn_serving(site) as port:
            with Browser(port) as browser:
                browser.until(seen)
                served.asked()
            served.hung_up()
            served.until(lambda: site.ended)
            assert isinstance(site.last, Abandoned)
            assert site.last.usage.unsettled == 1


def test_a_browser_that_leaves_at_once_leaves_no_call_behind() -> None:
    """While it gets the headers: the model was not asked yet, or its connection is closed."""
    with serving(lambda request: speaking(WIRE)) as served:
        site = Site(WIRE.provider(served.url), one_call)
        with uvicorn_serving(site) as port:
            for number in range(1, 21):
                Browser(port).leave()
                served.until(lambda number=number: site.ended == number)  # type: ignore[misc]
            served.until(lambda: all(exchange.hung_up.is_set() for exchange in served.emulator.exchanges))
            served.until(lambda: not served.emulator.open_connections)


def test_a_slow_browser_slows_the_model() -> None:
    """What it has not read is not read from the model either, but for what the sockets between hold."""
    event = anthropic_message({"type": "text", "text": "a" * 60_000}, piece=60_000)[WIRE.begun]
    whole = 4000  # of them, 240 MB
    pulled = 0

    async def counted(provider: BaseProvider) -> AsyncGenerator[LoopChunk, None]:
        nonlocal pulled
        async with provider.stream("", ASK) as chunks:
            async for chunk in chunks:
                pulled += 1
                yield chunk

    with serving(ServerReply([*WIRE.answer("Hi")[: WIRE.begun], *[event] * whole])) as served:
        with uvicorn_serving(Site(WIRE.provider(served.url), counted)) as port, Browser(port) as browser:
            browser.until(b"event: text")
            before = -1
            while pulled != before:
                before = pulled
                time.sleep(0.2)
            assert pulled < whole / 4
        served.hung_up()


def test_an_error_of_the_model_reaches_the_browser_without_its_host() -> None:
    """Nor its key."""
    with serving(WIRE.error(401, f"wrong key {KEY}")) as served:
        with uvicorn_serving(Site(WIRE.provider(served.url), one_call)) as port, Browser(port) as browser:
            body = browser.to_the_end()
        assert [name for name, _ in parsed(body)] == ["error"]
        assert served.url.removeprefix("http://").encode() not in body
        assert KEY.encode() not in body


class Quiet(WSGIRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


def test_a_framework_without_a_loop_closes_it_too() -> None:
    """It closes the body of its response when it cannot send any more, which is after a comment at the latest."""
    with serving(speaking(WIRE)) as served, blocking(WIRE.provider(served.url)) as model:

        def app(environ: dict[str, Any], start_response: StartResponse) -> BlockingStream[bytes]:
            start_response("200 OK", [("content-type", "text/event-stream")])
            return blocking(to_sse(one_call(model.provider), comments=0.01))

        with WSGIServer(("127.0.0.1", 0), Quiet) as server:
            server.set_app(app)
            thread = threading.Thread(target=server.handle_request)
            thread.start()
            with Browser(server.server_port) as browser:
                browser.until(b"event: text")
            served.hung_up()
            thread.join()
