"""The connections below an SDK's client: how long they are kept, how many there are, and what became of a request.

This module imports the HTTP client; whoever wants `import penstock` to stay light imports it late.
"""

from __future__ import annotations

import asyncio
import math
import socket
import time
from collections.abc import Callable
from typing import Any, Final

import anyio
import h11
import httpx2

from penstock.core.dialect import without_userinfo
from penstock.core.provider_config import ProviderConfig
from penstock.core.provider_config import Transport as Carrier
from penstock.providers.answers import SOURCE, Pieces
from penstock.providers.environment import proxies, said_once, tls_context
from penstock.providers.sending import Sending, followed, kept_for, nothing_read, sending_now

__all__ = ["Sending", "carrier", "followed", "http_client"]

_KEPT: Final = 60.0
"""Seconds that a connection is kept without a request: the HTTP client's own 5 are shorter than most tools run."""
_KEPT_MOST: Final = 100
"""Connections that are kept at the same time."""
_EARLY: Final = "what came was there before the request: it belongs to an earlier one"

# A model may think for minutes without a byte, and what stands between forgets a silent connection before that.
_SOCKET_OPTIONS: Final = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in {"TCP_KEEPIDLE": 60, "TCP_KEEPALIVE": 60, "TCP_KEEPINTVL": 60, "TCP_KEEPCNT": 5}.items()
        if hasattr(socket, name)
    ),
]


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


def _rests(response: httpx2.Response) -> Callable[[], object] | None:
    """What makes the pool keep the connection no longer than the server does, where that says so."""
    stream: Any = response.extensions.get("network_stream")
    seconds = kept_for(response.headers)
    held = getattr(stream, "__dict__", None)
    if held is None or (seconds == math.inf and "get_extra_info" not in held):
        return None
    resting: _Resting = held.get("get_extra_info") or _Resting(stream.get_extra_info)
    held["get_extra_info"] = resting
    resting.seconds = seconds
    return resting.begin


class _Connections(httpx2.AsyncHTTPTransport):
    """The HTTP client's pool, with a Sending that follows each request."""

    def __init__(self, most: int, proxy: str | None, *, kept: bool, wanted: Carrier = "httpx2") -> None:
        """wanted: what carries the requests that go through no proxy."""
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
        self._wanted = wanted
        self._fresh: _Connections | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Called by the HTTP client."""
        sending = sending_now()
        if sending is None:  # a request of the SDK's own, for a token say
            return await super().handle_async_request(request)
        if sending.again and self._kept:
            self._fresh = self._fresh or _Connections(self._most, self._proxy, kept=False)
            return await self._fresh.handle_async_request(request)
        if self._wanted == "aiohttp" and self._proxy is not None:
            said_once("proxy", request.url.host)
        request.extensions["trace"] = sending.trace
        sending.proxy = without_userinfo(self._proxy)
        with anyio.CancelScope() as sending.scope:
            response = await super().handle_async_request(request)
            sending.rests, sending.stream = _rests(response), response.extensions.get("network_stream")
            if sending.reused and nothing_read(sending.stream):
                await response.aclose()
                raise httpx2.RemoteProtocolError(_EARLY) from h11.RemoteProtocolError(_EARLY)
            if isinstance(response.stream, httpx2.AsyncByteStream):
                # Here and not above, where each piece comes through two generators more.
                response.extensions[SOURCE] = Pieces(aiter(response.stream))
            return response
        # Only past its deadline does the scope end without an answer.
        raise httpx2.ConnectTimeout("")

    async def aclose(self) -> None:
        """Called by the HTTP client when it is closed."""
        await super().aclose()
        if self._fresh is not None:
            await self._fresh.aclose()


def http_client(
    config: ProviderConfig, on_request: Callable[..., Any], on_response: Callable[..., Any], *, direct: bool = False
) -> httpx2.AsyncClient:
    """The client for an SDK. on_request, on_response: its hooks. direct: past every proxy of the environment.

    Raises ConfigError for what the environment says wrongly.
    """
    most, wanted = config.max_connections, carrier(config)
    found = {} if direct else proxies()
    mounts = {
        pattern: None if proxy is None else _Connections(most, proxy, kept=True, wanted=wanted)
        for pattern, proxy in found.items()
    }
    hooks = {"request": [on_request], "response": [on_response]}
    return httpx2.AsyncClient(
        transport=_fast(most) if wanted == "aiohttp" else _Connections(most, None, kept=True),
        mounts=mounts,
        event_hooks=hooks,
        follow_redirects=False,
    )


def carrier(config: ProviderConfig) -> Carrier:
    """What carries requests in this event loop, but for those through a proxy, which are httpx2's."""
    if config.transport == "aiohttp" and not issubclass(anyio.get_cancelled_exc_class(), asyncio.CancelledError):
        said_once("loop")
        return "httpx2"
    return config.transport


def _fast(most: int) -> httpx2.AsyncBaseTransport:
    from penstock.providers.aiohttp_transport import AiohttpTransport  # here: it needs an extra

    return AiohttpTransport(most, _KEPT_MOST, _KEPT, tls_context(), _SOCKET_OPTIONS)
