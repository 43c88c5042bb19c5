"""The connections of the fast transport: when one may be used again, and who is told what becomes of it."""

from __future__ import annotations

import asyncio
import math
import re
import socket
import time
from collections.abc import Callable, Iterable
from functools import partial
from types import SimpleNamespace
from typing import Any, Final, NamedTuple, Protocol

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http_exceptions import LineTooLong

from penstock.providers.sending import Sending, sending_now

__all__ = ["HEAD", "Connector", "tracing"]

HEAD: Final = 100 * 1024
"""Most bytes of an answer's head: as many as httpx2 takes."""
_END: Final = re.compile(rb"\n\r?\n")
_INTERIM: Final = re.compile(rb"HTTP/1\.\d 1(?!01)")
_DNS: Final = 300
"""Seconds that a name's addresses are remembered."""


class Reading(Protocol):
    """The answer that comes on a connection."""

    def lost(self, why: BaseException | None) -> None: ...

    def interrupt(self, error: BaseException) -> None: ...


class Carrying(NamedTuple):
    """What carries a request. The protocol forgets its transport as it is closed."""

    protocol: ResponseHandler
    transport: asyncio.Transport


class Connector(aiohttp.TCPConnector):
    """The pool, which closes a connection before its server does, and tells whoever reads of one that is lost."""

    def __init__(self, options: Iterable[tuple[int, int, int]], resting: int, **settings: Any) -> None:
        """options: of sockets. resting: most connections that are kept without a request. settings: aiohttp's own."""
        super().__init__(
            # The system's own, and not another library's where that happens to be installed.
            resolver=aiohttp.ThreadedResolver(),
            ttl_dns_cache=_DNS,
            socket_factory=partial(_socket, tuple(options)),
            **settings,
        )
        self.reading: dict[ResponseHandler, Reading] = {}
        """Who reads what comes on a connection."""
        self._resting: dict[ResponseHandler, _Head] = {}
        self._most = resting

    def __del__(self, *_: object) -> None:
        """One that is forgotten says nothing beside what asyncio says of its sockets."""

    def abandon(self) -> None:
        """Close it without waiting for that."""
        aiohttp.BaseConnector.close(self, abort_ssl=True).__await__()  # which only waits: the rest is done by now

    async def connect(self, req: aiohttp.ClientRequest, traces: Any, timeout: Any) -> Connection:
        """Called by the session for each request."""
        sending = sending_now()
        while True:
            try:
                connection = await super().connect(req, traces, timeout)
            except BaseException:  # a deadline is among them
                self.clear_dns_cache()  # the host may have moved
                raise
            protocol, transport = connection.protocol, connection.transport
            if protocol is None or transport is None or sending is None:
                return connection
            head = self._resting.pop(protocol, None)
            if head is None:
                head = self._opened(protocol, transport)
            elif sending.again or protocol.should_close or head.until <= time.monotonic():
                protocol.abort()
                connection.close()
                continue
            head.sending = sending
            sending.stream = Carrying(protocol, transport)
            sending.begins()
            if sending.again:
                protocol.force_close()
            return connection

    def rest(self, protocol: ResponseHandler, seconds: float) -> None:
        """The answer has ended. seconds: how long the connection may be used again."""
        self.reading.pop(protocol, None)
        if len(self._resting) >= self._most:
            protocol.abort()
        elif protocol.transport is not None:
            self._resting[protocol] = _Head(protocol, protocol.transport, time.monotonic() + seconds)

    def _opened(self, protocol: ResponseHandler, transport: asyncio.Transport) -> _Head:
        # What is written is with the system then, and not still here. At 0 a transport over TLS takes nothing for much.
        transport.set_write_buffer_limits(1)
        if protocol.closed is not None:
            protocol.closed.add_done_callback(partial(self._lost, protocol))
        return _Head(protocol, transport, math.inf)

    def _lost(self, protocol: ResponseHandler, closed: asyncio.Future[None]) -> None:
        if not closed.cancelled():
            closed.exception()  # else asyncio complains that nobody asked
        self._resting.pop(protocol, None)
        if (reading := self.reading.pop(protocol, None)) is not None:
            reading.lost(protocol.exception())


class _Head(asyncio.Protocol):
    """Stands before the protocol of a connection until the head of the next answer has come. It gives that the head
    alone, as a fault in what comes with it would else take the head along.

    Before there is a request nothing may come.
    """

    def __init__(self, inner: ResponseHandler, transport: asyncio.Transport, until: float) -> None:
        self._inner = inner
        self._transport = transport
        self._come = bytearray()
        self.until = until
        """When it may not be used any more."""
        self.sending: Sending | None = None
        """The next request."""
        transport.set_protocol(self)

    def data_received(self, data: bytes) -> None:
        """Called by the event loop, as all below."""
        if self.sending is None:
            self._transport.abort()
            return
        self.sending.heard = True
        ended = False
        while data and not ended and not self._transport.is_closing():
            before = len(self._come)
            self._come += data
            end = _END.search(self._come, max(0, before - 2))
            size = len(data) if end is None else end.end() - before
            if before + size > HEAD:
                self._inner.set_exception(LineTooLong(b"", HEAD))
                self._transport.abort()
                return
            if end is not None:
                ended = _INTERIM.match(self._come) is None
                self._come.clear()
            self._inner.data_received(data[:size])
            data = data[size:]
        if ended:
            self._transport.set_protocol(self._inner)
            if data and not self._transport.is_closing():
                self._inner.data_received(data)

    def eof_received(self) -> None:
        """The server closes it."""
        self._inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        """Too much is written."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """No more."""
        self._inner.resume_writing()


def tracing() -> aiohttp.TraceConfig:
    """Tells the Sending of each request when it waits for a connection, and when one is opened for it."""

    def telling(tell: Callable[[Sending], None]) -> Any:
        async def told(session: aiohttp.ClientSession, context: SimpleNamespace, params: object) -> None:
            if (sending := sending_now()) is not None:
                tell(sending)

        return told

    trace = aiohttp.TraceConfig()
    trace.on_connection_queued_start.append(telling(Sending.queues))
    trace.on_connection_create_start.append(telling(Sending.opens))
    return trace


def _socket(options: tuple[tuple[int, int, int], ...], address: Any) -> socket.socket:
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    for option in options:
        made.setsockopt(*option)
    return made
