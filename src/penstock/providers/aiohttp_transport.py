"""The fast transport: what an SDK's HTTP client sends goes over a session of aiohttp's, on asyncio.

It is httpx2's to everyone above: requests, answers, errors and their words. Only where an answer's body is read does
whoever can do so read it from aiohttp directly. Importing this needs the extra `aiohttp`.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
import socket
import ssl
import weakref
from collections.abc import AsyncIterator, Iterable
from functools import partial
from typing import Any, Final

import aiohttp
import anyio
import h11
import httpx2
from aiohttp.abc import AbstractStreamWriter
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.payload import Payload
from yarl import URL

from penstock.core.errors import ProviderError
from penstock.providers.aiohttp_pool import HEAD, Connector, tracing
from penstock.providers.answers import SOURCE
from penstock.providers.sending import Sending, followed, kept_for, sending_now

__all__ = ["AiohttpTransport"]

_LINES: Final = 1000
"""Most lines of an answer's head."""
_AUTO: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
"""Headers that aiohttp would add where a request has none."""
_SOUND: Final = re.compile(rb"(?:[-!#$%&'*+.^_`|~0-9a-zA-Z]+: (?:[^\x00\s](?:[^\x00\r\n\v\f]*[^\x00\s])?)?\r\n)*")
"""Headers as h11 takes them, which says what is wrong with others."""
_FAILURES: Final = (aiohttp.ClientError, HttpProcessingError, OSError, RuntimeError)


class AiohttpTransport(httpx2.AsyncBaseTransport):
    """Sends requests over a session of its own, which belongs to the running event loop."""

    def __init__(
        self, most: int, resting: int, kept: float, tls: ssl.SSLContext, options: Iterable[tuple[int, int, int]]
    ) -> None:
        """most: connections at the same time. resting: as many of them are kept without a request, for *kept* seconds.
        options: of sockets.
        """
        self._loop = asyncio.get_running_loop()
        self._connector = Connector(options, resting, ssl=tls, limit=most, keepalive_timeout=kept)
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            skip_auto_headers=_AUTO,
            max_line_size=HEAD,
            max_field_size=HEAD,
            max_headers=_LINES,
            middlewares=(_told,),
            trace_configs=[tracing()],
        )
        # A session that is forgotten complains; ours, forgotten with a provider, is closed as well as that can be.
        self._forgotten = weakref.finalize(self, _abandon, self._session, self._connector, self._loop)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Called by the HTTP client. Raises what httpx2's own transport does."""
        sending = sending_now()
        if sending is not None:
            return await self._send(request, sending, None)
        # One of the SDK's own, for a token say.
        limits = request.extensions["timeout"]
        with followed(sending := Sending(math.inf if limits["connect"] is None else limits["connect"])):
            return await self._send(request, sending, limits["read"])

    async def _send(self, request: httpx2.Request, sending: Sending, silence: float | None) -> httpx2.Response:
        """silence: most seconds without a byte of the answer; None where the caller watches it."""
        if not request.url.host:
            raise httpx2.UnsupportedProtocol("Request URL is missing an 'http://' or 'https://' protocol.")
        with anyio.CancelScope() as sending.scope:
            return await self._answered(request, sending, aiohttp.ClientTimeout(total=None, sock_read=silence))
        # Only past its deadline does the scope end without an answer.
        raise httpx2.PoolTimeout("") if sending.queued else httpx2.ConnectTimeout("")

    async def _answered(
        self, request: httpx2.Request, sending: Sending, timeout: aiohttp.ClientTimeout
    ) -> httpx2.Response:
        _check(request)
        body = _Body(request, sending) if "content-length" in request.headers else None
        answer = None
        try:
            response = await self._requested(request, body, timeout)
            answer = _Answer(response, self._connector, sending)
            if body is not None:
                await body.end(refused=response.status >= 400)
        except BaseException:
            if answer is not None:
                await answer.aclose()
            if body is not None:
                await body.end(refused=True)
            raise
        return httpx2.Response(
            response.status,
            headers=response.raw_headers,
            stream=answer,
            extensions={
                "http_version": b"HTTP/1.1",
                "reason_phrase": (response.reason or "").encode("latin-1", "replace"),
                SOURCE: answer,
            },
        )

    async def _requested(
        self, request: httpx2.Request, body: _Body | None, timeout: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        url = f"{request.url.scheme}://{_place(request.url)}{request.url.raw_path.decode()}"
        try:
            return await self._session.request(
                request.method,
                URL(url, encoded=True),
                headers=[(name.decode(), value.decode()) for name, value in request.headers.raw],
                data=body,
                allow_redirects=False,
                timeout=timeout,
            )
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._connector.closed or (task is not None and task.cancelling()):
                raise
        # Nobody has cancelled it: aiohttp so ends what waits for a connection.
        raise httpx2.ConnectError("the client was closed")

    async def aclose(self) -> None:
        """Called by the HTTP client when it is closed."""
        if asyncio.get_running_loop() is not self._loop:
            self._forgotten()
            return
        self._forgotten.detach()
        for answer in list(self._connector.reading.values()):
            answer.interrupt(httpx2.ReadError(""))
        await self._session.close()


class _Body(Payload):
    """What is posted. It tells how far it came."""

    def __init__(self, request: httpx2.Request, sending: Sending) -> None:
        super().__init__(request.stream)
        self._sending = sending
        self._writer: asyncio.Task[Any] | None = None
        self._ended = asyncio.Event()
        self._stopped = False
        self.error: ProviderError | None = None
        """Why it could not be read."""

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """It is read once, and then it is gone. Raises TypeError."""
        raise TypeError("a body that is being sent is no text")

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Called in a task of its own."""
        self._writer = asyncio.current_task()
        try:
            async for piece in self._value:
                await writer.write(piece)
                await writer.drain()
                self._sending.wrote(whole=False)
            self._sending.wrote(whole=True)
        except asyncio.CancelledError:
            if not self._stopped or self._writer is None:
                raise
            self._writer.uncancel()
        except ProviderError as error:
            self.error = error
            raise
        finally:
            self._ended.set()

    async def end(self, *, refused: bool) -> None:
        """Wait until it is written, or is given up: who has been refused need not hear it to its end."""
        if self._writer is None or self._ended.is_set():
            return
        if refused and not self._stopped:
            self._stopped = True
            self._sending.stream.protocol.force_close()  # half a request stands on it
            self._writer.cancel()
        with anyio.CancelScope(shield=refused):
            await self._ended.wait()


class _Answer(httpx2.AsyncByteStream):
    """The body of an answer, for the HTTP client, and for who reads it from aiohttp directly."""

    def __init__(self, response: aiohttp.ClientResponse, connector: Connector, sending: Sending) -> None:
        self._response = response
        self._content = response.content
        self._connector = connector
        self._interrupted: BaseException | None = None
        # One that came at once has given its connection back already.
        self._protocol: ResponseHandler = sending.stream.protocol
        self._closed = self._protocol.closed
        connector.reading[self._protocol] = self
        response.content.on_eof(partial(connector.rest, self._protocol, kept_for(response.headers)))
        if self._closed is not None and self._closed.done():
            self.lost(self._protocol.exception())

    async def read(self) -> bytes:
        """The next bytes, none at the end. Raises httpx2's errors."""
        content = self._content
        try:
            if (why := content.exception()) is not None:
                return self._left(why)
            data = await content.readany()
        except _FAILURES as error:
            if error is self._interrupted:
                raise
            broken = self._broken(error)
        else:
            if self._interrupted is not None:  # too late
                self._interrupted = None
                content.set_exception(None)  # type: ignore[arg-type]
            return data
        raise broken

    def _left(self, why: BaseException) -> bytes:
        """What came before it broke. Raises why it did, if there is nothing."""
        self._content.set_exception(None)  # type: ignore[arg-type]
        data = self._content.read_nowait()
        self._content.set_exception(why)
        if not data:
            raise why
        return data

    def interrupt(self, error: BaseException) -> None:
        """See `answers.Source`."""
        self._interrupted = error
        self._content.set_exception(error)

    def lost(self, why: BaseException | None) -> None:
        """Its connection is. why: what aiohttp found wrong, if that closed it."""
        if not self._content.is_eof() and self._content.exception() is None:
            self._content.set_exception(why or aiohttp.ClientConnectionError("Connection closed"))

    def _broken(self, error: Exception) -> httpx2.TransportError:
        if isinstance(error, HttpProcessingError):
            return _no_http(error.message)
        if isinstance(error, aiohttp.SocketTimeoutError):
            return httpx2.ReadTimeout("")
        lost = self._closed is not None and self._closed.done() and self._closed.exception() is not None
        if lost or not isinstance(error, aiohttp.ClientPayloadError):
            return httpx2.ReadError("")
        length = self._response.headers.get("Content-Length")
        how = (
            "incomplete chunked read"
            if length is None
            else f"received {self._content.total_bytes} bytes, expected {length}"
        )
        return httpx2.RemoteProtocolError(f"peer closed connection without sending complete message body ({how})")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Called by the HTTP client."""
        while data := await self.read():
            yield data

    async def aclose(self) -> None:
        """The connection has been given back if the body was read to its end, else it is closed."""
        if self._response.closed:
            return
        self._connector.reading.pop(self._protocol, None)
        self._protocol.abort()  # an orderly end over TLS would wait for the server's
        self._response.close()


def _place(url: httpx2.URL) -> str:
    """Host and port. Of an address of version 4 aiohttp takes all four numbers, and not 127.1 as the system does."""
    place = url.netloc.decode()
    if url.host[-1].isdigit():
        with contextlib.suppress(OSError):  # it is a name, or of version 6
            return place.replace(url.host, socket.inet_ntoa(socket.inet_aton(url.host)), 1)
    return place


def _check(request: httpx2.Request) -> None:
    """Raise what httpx2's own transport does for a header that cannot be sent."""
    if _SOUND.fullmatch(b"".join([b"%b: %b\r\n" % each for each in request.headers.raw])):
        return
    try:
        h11.Request(method=request.method, target=request.url.raw_path, headers=request.headers.raw)
    except h11.LocalProtocolError as error:
        raise httpx2.LocalProtocolError(str(error)) from error


async def _told(request: aiohttp.ClientRequest, send: Any) -> aiohttp.ClientResponse:
    """Called by the session: sends a request, and once only. Raises httpx2's errors, which aiohttp lets through."""
    sending = sending_now()
    try:
        response: aiohttp.ClientResponse = await send(request)
    except (aiohttp.ClientError, OSError, RuntimeError, ValueError) as error:
        body = request.body
        broken = (body.error if isinstance(body, _Body) else None) or _unanswered(error)
    except BaseException:
        if sending is not None and sending.begun:
            sending.stream.transport.abort()  # aiohttp has closed it, and over TLS the server would have to agree
        raise
    else:
        if response.status != 101:
            return response
        response.close()
        broken = _no_http("the server switches to another protocol, for which nobody has asked")
    # Outside, so that nothing hangs on it that holds the request.
    raise broken


def _unanswered(error: Exception) -> Exception:
    """What httpx2 says where aiohttp says *error*, which holds the request and with it the key."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return httpx2.ConnectError(str(error.os_error))
    if isinstance(error, aiohttp.ClientSSLError):
        found = getattr(error, "certificate_error", error.os_error)
        broken = httpx2.ConnectError(str(found))
        broken.__cause__ = type(found)(*found.args) if isinstance(found, ssl.SSLCertVerificationError) else None
        return broken
    if isinstance(error, aiohttp.ClientConnectorError):
        refused = isinstance(error.os_error, ConnectionRefusedError)
        lost = isinstance(error.os_error, ConnectionError) and not refused
        broken = httpx2.ConnectError("" if lost else "All connection attempts failed")
        broken.__cause__ = ConnectionRefusedError() if refused else None
        return broken
    if isinstance(error, aiohttp.ClientResponseError):
        return _no_http(error.message)
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return httpx2.ConnectTimeout("")
    if isinstance(error, aiohttp.SocketTimeoutError):
        return httpx2.ReadTimeout("")
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return httpx2.RemoteProtocolError("Server disconnected without sending a response.")
    if isinstance(error, aiohttp.InvalidURL):
        return httpx2.InvalidURL(str(error))
    if isinstance(error, UnicodeError):  # a name with a label that is empty or too long
        return httpx2.ConnectError(str(error))
    if isinstance(error, ValueError):  # a control character in a header, which it does not show
        return httpx2.LocalProtocolError(str(error))
    return httpx2.ReadError("")


def _no_http(message: str) -> httpx2.RemoteProtocolError:
    """For what is no HTTP, in one line."""
    said = " ".join(message.split()).rstrip("^ ")
    if said.startswith(("Got more than", "Too many headers")):  # the first shows a part of it
        said = "Receive buffer too long"
    broken = httpx2.RemoteProtocolError(said)
    broken.__cause__ = h11.RemoteProtocolError(said)
    return broken


def _abandon(session: aiohttp.ClientSession, connector: Connector, loop: asyncio.AbstractEventLoop) -> None:
    """Close what nobody has closed, as far as its loop can still do that."""
    session.detach()
    running = None
    with contextlib.suppress(RuntimeError):  # there is none in this thread
        running = asyncio.get_running_loop()
    if loop is running or loop.is_closed():
        connector.abandon()
        return
    with contextlib.suppress(RuntimeError):  # closed meanwhile
        loop.call_soon_threadsafe(connector.abandon)
