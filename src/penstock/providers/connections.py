"""The connections below an SDK's client: how long they are kept, how many there are, and what became of a request.

This module imports the HTTP client; whoever wants `import penstock` to stay light imports it late.
"""

from __future__ import annotations

import math
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Final

import anyio
import h11
import httpx2

from penstock.core.dialect import without_userinfo
from penstock.core.keys import Hidden
from penstock.providers.environment import proxies, tls_context

__all__ = ["Sending", "caused_by", "followed", "http_client", "hung_up"]

_KEPT: Final = 60.0
"""Seconds that a connection is kept without a request: the HTTP client's own 5 are shorter than most tools run."""
_KEPT_MOST: Final = 100
"""Connections that are kept at the same time."""
_DIED: Final = 1.0
"""Seconds after the last byte was written within which a kept connection that breaks had been closed before."""
_KEEP_ALIVE: Final = re.compile(r"(?:^|[,\s])timeout\s*=\s*(\d+)", re.IGNORECASE)

# A model may think for minutes without a byte, and what stands between forgets a silent connection before that.
_SOCKET_OPTIONS: Final = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in {"TCP_KEEPIDLE": 60, "TCP_KEEPALIVE": 60, "TCP_KEEPINTVL": 60, "TCP_KEEPCNT": 5}.items()
        if hasattr(socket, name)
    ),
]


class Sending:
    """One request on its way. It learns from the HTTP client's trace how that goes, and nothing of what is sent."""

    def __init__(self, connect: float, clock: Callable[[], float] = time.monotonic) -> None:
        """connect: most seconds until a connection can carry the request, what a proxy takes for it included."""
        self._connect = connect
        self._clock = clock
        self.begin()

    def begin(self, *, again: bool = False) -> None:
        """Nothing of it has been sent yet. again: it has once, and this is over a connection of its own."""
        self._written = -math.inf
        self.scope: anyio.CancelScope | None = None
        """Around the request until its answer begins."""
        self.key: Hidden | None = None
        """The key that it carries, where that was fetched for it."""
        self.renewed = False
        """Whether it was refused with that, and there is another now."""
        self.resting: _Resting | None = None
        """The connection that it came on, if the server said how long it waits for the next request."""
        self.stream: Any = None
        """The same as the HTTP client has it."""
        self.heard = False
        """Whether anything came on a connection that had been used before: then it had not been closed."""
        self.again = again
        self.proxy: str | None = None
        """The proxy in use, as it may be shown; None for none."""
        self.opened = False
        """Whether a connection was opened for it; one that it was sent on without that had been used before."""
        self.begun = False
        """Whether anything of it may have been written."""
        self.whole = False
        """Whether it was written to its end: the server may have done the work then, whatever became of the answer."""

    @property
    def age(self) -> float:
        """Seconds since the last byte was written."""
        return self._clock() - self._written

    @property
    def reused(self) -> bool:
        """Whether it was sent on a connection that had been used before."""
        return self.begun and not self.opened

    def found_closed(self, error: BaseException | None) -> bool:
        """Whether *error* says that the server had closed the connection before the request came.

        That is a connection that had been used before, and broke without a byte within a second of the last one sent.
        Later the server may have done the work: a gateway that gives up after a minute has.
        """
        return self.reused and not self.again and not self.heard and self.age < _DIED and hung_up(error)

    async def trace(self, name: str, info: Mapping[str, Any]) -> None:
        """Called by the HTTP client at each step. *info* holds the request with its key: nothing of it is kept."""
        step = name.partition(".")[2]
        if step in ("connect_tcp.started", "connect_unix_socket.started"):
            self.opened = True
            if self.scope is not None:
                self.scope.deadline = anyio.current_time() + self._connect
        elif step == "send_request_headers.started":
            # What is asked of a proxy first is no request of ours: its answer belongs to connecting.
            if info["request"].method != b"CONNECT":
                self.begun = True
                if self.scope is not None:
                    self.scope.deadline = math.inf
        elif self.begun and step.startswith("send_request_"):
            self._written = self._clock()
            self.whole = self.whole or step == "send_request_body.complete"
        elif step == "response_closed.complete":
            _listen(self.stream)
            if self.resting is not None:
                self.resting.begin()


_sending: Final[ContextVar[Sending | None]] = ContextVar("penstock_sending", default=None)


@contextmanager
def followed(sending: Sending) -> Iterator[None]:
    """What is sent inside tells *sending* how it goes. Only around an await, never around a yield to a caller."""
    token = _sending.set(sending)
    try:
        yield
    finally:
        with suppress(ValueError):  # of a loop that was dropped: it is collected elsewhere
            _sending.reset(token)


def caused_by(error: BaseException | None, kind: type[BaseException]) -> BaseException | None:
    """*error*, or what it was raised from, that is of this kind; None if nothing is."""
    seen: set[int] = set()
    left = [error]
    while left:
        one = left.pop()
        if one is None or id(one) in seen:
            continue
        if isinstance(one, kind):
            return one
        seen.add(id(one))
        left += [one.__cause__, one.__context__]
    return None


def hung_up(error: BaseException | None) -> bool:
    """Whether the server closed or reset the connection; something that is no HTTP is another matter."""
    if isinstance(error, httpx2.RemoteProtocolError):
        return caused_by(error, h11.RemoteProtocolError) is None
    return isinstance(error, httpx2.ReadError)


def _listen(stream: Any) -> None:
    """Tell the next request on a connection whether anything came, by the first read: the others cost nothing more."""
    held = getattr(stream, "__dict__", None)
    if held is None or "read" in held:
        return
    plain = stream.read

    async def read(*args: Any, **kwargs: Any) -> Any:
        data = await plain(*args, **kwargs)
        held.pop("read", None)
        if (sending := _sending.get()) is not None:
            sending.heard = bool(data)
        return data

    held["read"] = read


class _Resting:
    """Stands for a connection's `get_extra_info`.

    The pool asks each connection that rests whether there is something to read, which can only be the server's
    closing it. Past its time the answer is yes, so that the pool closes it, as the server is about to.
    """

    def __init__(self, ask: Callable[[str], Any]) -> None:
        self._ask = ask
        self._until = math.inf
        self.seconds = math.inf

    def __call__(self, info: str) -> Any:
        return True if info == "is_readable" and time.monotonic() >= self._until else self._ask(info)

    def begin(self) -> None:
        """The answer has ended: the server counts from here."""
        self._until = time.monotonic() + self.seconds


def _resting(response: httpx2.Response) -> _Resting | None:
    """What makes the pool keep the connection a second less than the server says, where it says so."""
    stream: Any = response.extensions.get("network_stream")
    said = _KEEP_ALIVE.search(response.headers.get("keep-alive", ""))
    held = getattr(stream, "__dict__", None)
    if held is None or (said is None and "get_extra_info" not in held):
        return None
    resting: _Resting = held.get("get_extra_info") or _Resting(stream.get_extra_info)
    held["get_extra_info"] = resting
    resting.seconds = math.inf if said is None else max(0.0, int(said[1][:9]) - 1.0)
    return resting


class _Connections(httpx2.AsyncHTTPTransport):
    """The HTTP client's pool, with a Sending that follows each request."""

    def __init__(self, most: int, proxy: str | None, *, kept: bool) -> None:
        super().__init__(
            verify=tls_context(),
            limits=httpx2.Limits(
                max_connections=most,
                max_keepalive_connections=_KEPT_MOST if kept else 0,
                keepalive_expiry=_KEPT,
            ),
            proxy=proxy,
            socket_options=_SOCKET_OPTIONS,
        )
        self._most = most
        self._proxy = proxy
        self._kept = kept
        self._fresh: _Connections | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Called by the HTTP client."""
        sending = _sending.get()
        if sending is None:  # a request of the SDK's own, for a token say
            return await super().handle_async_request(request)
        if sending.again and self._kept:
            self._fresh = self._fresh or _Connections(self._most, self._proxy, kept=False)
            return await self._fresh.handle_async_request(request)
        request.extensions["trace"] = sending.trace
        sending.proxy = without_userinfo(self._proxy)
        with anyio.CancelScope() as sending.scope:
            response = await super().handle_async_request(request)
            sending.resting, sending.stream = _resting(response), response.extensions.get("network_stream")
            return response
        # Only past its deadline does the scope end without an answer.
        raise httpx2.ConnectTimeout("")

    async def aclose(self) -> None:
        """Called by the HTTP client when it is closed."""
        await super().aclose()
        if self._fresh is not None:
            await self._fresh.aclose()


def http_client(
    most: int, on_request: Callable[..., Any], on_response: Callable[..., Any], *, direct: bool = False
) -> httpx2.AsyncClient:
    """The client for an SDK. most: connections at the same time. on_request, on_response: its hooks.

    direct: past every proxy of the environment.

    Raises ConfigError for what the environment says wrongly.
    """
    found = {} if direct else proxies()
    mounts = {
        pattern: None if proxy is None else _Connections(most, proxy, kept=True) for pattern, proxy in found.items()
    }
    hooks = {"request": [on_request], "response": [on_response]}
    return httpx2.AsyncClient(
        transport=_Connections(most, None, kept=True), mounts=mounts, event_hooks=hooks, follow_redirects=False
    )
