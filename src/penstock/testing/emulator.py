"""A loopback HTTP server that plays scripts: bytes, chunk borders, pauses, cuts and resets, on asyncio and trio.

async with Emulator(ServerReply(anthropic_message({"type": "text", "text": "Hi"}))) as emulator:
    provider = AnthropicProvider(ProviderConfig(model_id="m", api_key="k", base_url=emulator.url))
"""

from __future__ import annotations

import math
import socket
import struct
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Final, Self, TypeAlias

import anyio
import anyio.abc
import h11
import msgspec

from penstock.core.errors import ConfigError

__all__ = ["Cut", "Emulator", "Exchange", "Hang", "Pause", "Request", "Reset", "ServerReply", "Step", "pieces"]

_STREAM: Final = {"content-type": "text/event-stream; charset=utf-8"}


class Pause(msgspec.Struct, frozen=True):
    """Nothing for so many seconds."""

    seconds: float


class Cut(msgspec.Struct, frozen=True):
    """The connection is closed here, as by a proxy that gives up: no end of the body, no error."""


class Reset(msgspec.Struct, frozen=True):
    """The connection is reset here (TCP RST)."""


class Hang(msgspec.Struct, frozen=True):
    """Nothing more, and the connection stays open until the client hangs up."""


Step: TypeAlias = bytes | Pause | Cut | Reset | Hang


class ServerReply(msgspec.Struct, frozen=True):
    """What one request gets. body: each piece of bytes is sent by itself, as one HTTP chunk.

    before: steps in front of the status line. whole: the body is sent with its length and not in chunks.
    raw: the body is all that is sent, status line included. unread: played as soon as a connection is there, before
    any request is read, if it is next; it has no exchange.
    """

    body: Sequence[Step] = ()
    status: int = 200
    headers: Mapping[str, str] = msgspec.field(default_factory=lambda: dict(_STREAM))
    before: Sequence[Step] = ()
    whole: bool = False
    raw: bool = False
    unread: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.body, ServerReply):
            raise ConfigError("`body` is a ServerReply, expected pieces of bytes: leave out the ServerReply around it")


class Request(msgspec.Struct, frozen=True):
    """A request as it arrived. headers: names in lower case. body: not decoded."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


_NOT_READ: Final = Request("", "", {}, b"")


class Exchange:
    """A request and what became of it. connection: the number of the connection it came on, from 1."""

    def __init__(self, request: Request, connection: int) -> None:
        self.request = request
        self.connection = connection
        self.hung_up = anyio.Event()
        """Set when the client closes the connection before the reply has ended."""
        self.ended = anyio.Event()
        """Set when the reply has been sent to its end, or cannot be."""


def pieces(body: bytes, size: int, *, pause: float = 0.0) -> list[Step]:
    """A recorded body in pieces of *size* bytes, with a pause of so many seconds after each if there is one."""
    steps: list[Step] = []
    for start in range(0, len(body), size):
        steps.append(body[start : start + size])
        if pause:
            steps.append(Pause(pause))
    return steps


class Emulator:
    """Serves its replies one after the other, or what a function makes of each request, until it is left.

    then: what each request gets when there are no more replies; by default the only one if that is a function, else an
    error. It can be changed at any time. refusing: connections are refused until `listen` is called.

    What a function raises answers its request with 500 and is raised again when the emulator is left; what leaves it
    already has it as a note.

    url: `http://127.0.0.1:PORT`, without a path. exchanges: all that has happened, in the order of arrival.
    """

    def __init__(
        self,
        *replies: ServerReply | Callable[[Request], ServerReply],
        then: ServerReply | Callable[[Request], ServerReply] | None = None,
        port: int = 0,
        refusing: bool = False,
    ) -> None:
        self.url = ""
        self.exchanges: list[Exchange] = []
        self.connections = 0
        """How many have been opened until now."""
        self.open_connections = 0
        """How many are open."""
        self.then = then
        if then is None and len(replies) == 1 and callable(replies[0]):
            self.then = replies[0]
            replies = ()
        self._replies = deque(replies)
        self._port = port
        self._refusing = refusing
        self._bound: socket.socket | None = None
        self._stack = AsyncExitStack()
        self._group: anyio.abc.TaskGroup | None = None
        self._raised: list[BaseException] = []

    @property
    def requests(self) -> list[Request]:
        """All requests so far."""
        return [exchange.request for exchange in self.exchanges]

    async def __aenter__(self) -> Self:
        self._group = group = await self._stack.enter_async_context(anyio.create_task_group())
        self._stack.callback(group.cancel_scope.cancel)
        if not self._refusing:
            await self.listen()
            return self
        # A port that is taken and not listened at refuses, and is nobody else's.
        self._bound = self._stack.enter_context(socket.socket())
        self._bound.bind(("127.0.0.1", self._port))
        self._port = self._bound.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()
        # The same mistake at each try is one mistake.
        raised = list({(type(error), str(error)): error for error in self._raised}.values())
        if exc is not None:
            for error in raised:
                exc.add_note(f"The emulator's script raised {type(error).__name__}: {error}")
        elif len(raised) == 1:
            raise raised[0]
        elif raised:
            raise BaseExceptionGroup("the emulator's script raised several exceptions", raised)

    async def listen(self) -> None:
        """Take connections from now on, at the same port: only for one that was made to refuse them."""
        if self._bound is not None:
            self._bound.close()
        if self._group is not None:
            await self._group.start(self._listen)

    async def _listen(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=self._port)
        async with listener:
            self.url = f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
            task_status.started()
            await listener.serve(self._serve)

    async def _serve(self, stream: anyio.abc.SocketStream) -> None:
        self.connections += 1
        self.open_connections += 1
        try:
            async with stream:
                await self._converse(stream, self.connections)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, h11.RemoteProtocolError):
            return
        finally:
            self.open_connections -= 1

    async def _converse(self, stream: anyio.abc.SocketStream, number: int) -> None:
        unread = self._replies[0] if self._replies else self.then
        if isinstance(unread, ServerReply) and unread.unread:
            await _Playing(stream, Exchange(_NOT_READ, number)).run(self._reply(_NOT_READ))
            return
        early = b""
        while (request := await _received(stream, early)) is not None:
            exchange = Exchange(request, number)
            self.exchanges.append(exchange)
            playing = _Playing(stream, exchange)
            await playing.run(self._reply(request))
            if not playing.alive:
                return
            early = playing.early

    def _reply(self, request: Request) -> ServerReply:
        reply = self._replies.popleft() if self._replies else self.then
        if reply is None:
            return _plain_500("the emulator has no reply left")
        try:
            made = reply if isinstance(reply, ServerReply) else reply(request)
            _check(made)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - also pytest.fail's; raised again when the emulator is left
            self._raised.append(error)
            return _plain_500(f"the emulator's script raised {type(error).__name__}: {error}")
        return made


class _Playing:
    """One reply being sent, with an ear on the client."""

    def __init__(self, stream: anyio.abc.SocketStream, exchange: Exchange) -> None:
        self._stream = stream
        self._exchange = exchange
        self.alive = True
        self.early = b""  # what the client sent while it was being answered

    async def run(self, reply: ServerReply) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self._listen, group.cancel_scope)
            try:
                await self._play(reply)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                self._lost()
            finally:
                self._exchange.ended.set()
            group.cancel_scope.cancel()

    async def _listen(self, scope: anyio.CancelScope) -> None:
        while True:
            try:
                self.early += await self._stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                self._lost()
                scope.cancel()
                return

    def _lost(self) -> None:
        if self.alive:
            self._exchange.hung_up.set()
        self.alive = False

    async def _play(self, reply: ServerReply) -> None:
        chunked = not (reply.whole or reply.raw)
        for step in reply.before:
            await self._step(step, chunked=False)
        if self.alive and not reply.raw:
            await self._stream.send(_head(reply))
        for step in reply.body:
            if not self.alive:
                return
            await self._step(step, chunked=chunked)
        if self.alive and chunked:
            await self._stream.send(b"0\r\n\r\n")

    async def _step(self, step: Step, *, chunked: bool) -> None:
        if isinstance(step, bytes):
            await self._stream.send(b"%x\r\n%b\r\n" % (len(step), step) if chunked else step)
        elif isinstance(step, Pause):
            await anyio.sleep(step.seconds)
        elif isinstance(step, Hang):
            await anyio.sleep(math.inf)
        else:
            if isinstance(step, Reset):
                # With no time to linger, closing a socket resets its connection.
                with suppress(OSError, AttributeError):  # the client may have been faster; uvloop has no socket then
                    raw = self._stream.extra(anyio.abc.SocketAttribute.raw_socket)
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.alive = False
            await self._stream.aclose()


def _plain_500(said: str) -> ServerReply:
    return ServerReply([said.encode()], 500, {"content-type": "text/plain"}, whole=True)


def _check(reply: object) -> None:
    """Raise ConfigError for what cannot be played."""
    if not isinstance(reply, ServerReply):
        raise ConfigError(f"a script returned {type(reply).__name__}, expected a ServerReply")
    for step in (*reply.before, *reply.body):
        if not isinstance(step, Step):
            raise ConfigError(f"a step is of type {type(step).__name__}, expected bytes, Pause, Cut, Reset or Hang")


def _head(reply: ServerReply) -> bytes:
    headers = dict(reply.headers)
    if reply.whole:
        headers["content-length"] = str(sum(len(step) for step in reply.body if isinstance(step, bytes)))
    else:
        headers["transfer-encoding"] = "chunked"
    lines = [f"HTTP/1.1 {reply.status} ", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join((*lines, "", "")).encode("latin-1")


async def _received(stream: anyio.abc.SocketStream, early: bytes) -> Request | None:
    """The next request of a connection; None when the client has closed it."""
    connection = h11.Connection(h11.SERVER)
    head: h11.Request | None = None
    body = bytearray()
    if early:
        connection.receive_data(early)
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            try:
                connection.receive_data(await stream.receive())
            except anyio.EndOfStream:
                return None
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
            return Request(head.method.decode(), head.target.decode(), headers, bytes(body))
        else:
            return None
