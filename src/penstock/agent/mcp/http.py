"""An MCP server behind a URL: the SDK's streamable HTTP, over a client whose failures are answers that say why.

With a usual client a connection that fails once ends the whole session, and any status is "an error response".
"""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any, Final

import anyio
import httpx2
import msgspec
from mcp.client.streamable_http import streamable_http_client

from penstock.agent.mcp.session import LONGEST_MESSAGE
from penstock.core.arguments import UNDECODABLE

__all__ = ["Http"]

_FAILED: Final = -32000  # the first of JSON-RPC's codes that a server may define
_TIMEOUT: Final = httpx2.Timeout(30.0, read=300.0)  # seconds; each call has its own deadline
_LIMITS: Final = httpx2.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=60.0)
"""The HTTP client's own, but that connections are kept for longer than most models think between two calls."""
_NOTICE: Final = 2.0  # seconds for a message that has no answer, as that a call is cancelled: the next one waits for it


class Http:
    """One server, to be entered and left by one task. Its headers go to this origin only; the SDK sees to that."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self.how = self.said = ""  # it does not end: each call fails by itself
        self.known = anyio.Event()
        self.known.set()
        self._url = url
        self._headers = headers

    @asynccontextmanager
    async def streams(self, over: anyio.Event) -> AsyncGenerator[tuple[Any, Any], None]:
        """What the session reads and writes."""
        verify = _certificates(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
        async with (
            _Client(headers=self._headers, timeout=_TIMEOUT, limits=_LIMITS, verify=verify) as client,
            streamable_http_client(self._url, http_client=client, max_sse_event_size=LONGEST_MESSAGE) as streams,
        ):
            yield streams


class _Client(httpx2.AsyncClient):
    """Answers whatever fails with an error of JSON-RPC, which ends the one call and no other."""

    async def send(self, request: httpx2.Request, **how: Any) -> httpx2.Response:
        """As the class does it; the body is read already where it is not a stream."""
        is_notice = request.method == "POST" and "id" not in _object(await request.aread())
        try:
            with anyio.fail_after(_NOTICE if is_notice else None):
                response = await super().send(request, **how)
                is_json = response.headers.get("content-type", "").startswith("application/json")
                if response.next_request is not None or (response.status_code < 400 and not is_json):
                    return response
                try:
                    body = await response.aread()
                finally:
                    await response.aclose()
        except (httpx2.HTTPError, TimeoutError) as error:
            return _failure(request, 503, f"no whole answer: {type(error).__name__}: {error}".rstrip(": "))
        if response.status_code < 400 or "error" in _object(body):
            return response
        said = f"HTTP {response.status_code}"
        if response.status_code == 404 and "mcp-session-id" in request.headers:
            said += ": its session has ended; open the server again"
        return _failure(request, response.status_code, said)


@lru_cache(maxsize=4)
def _certificates(file: str | None, folder: str | None) -> ssl.SSLContext:
    """Those that are trusted: read once for all servers. The HTTP client reads the two variables itself."""
    return httpx2.create_ssl_context()


def _object(body: bytes) -> dict[str, Any]:
    """A message of JSON-RPC; what is none has nothing in it."""
    try:
        said = msgspec.json.decode(body)
    except UNDECODABLE:
        return {}
    return said if isinstance(said, dict) and "jsonrpc" in said else {}


def _failure(request: httpx2.Request, status: int, said: str) -> httpx2.Response:
    error = {"jsonrpc": "2.0", "id": None, "error": {"code": _FAILED, "message": said}}
    kind = {"content-type": "application/json"}
    return httpx2.Response(status, headers=kind, content=msgspec.json.encode(error), request=request)
