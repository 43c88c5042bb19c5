"""What is read of an answer beside a call's events: a refusal, the body of a plain one, and the end."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Final

import anyio

from penstock.core.errors import MalformedResponseError
from penstock.core.messages import ResponseHead
from penstock.providers.deadlines import Watch
from penstock.providers.failures import RefusedError
from penstock.providers.redaction import Secrets
from penstock.wire.errors import request_id_of
from penstock.wire.retry_after import wait_of_buckets

if TYPE_CHECKING:
    import httpx2

__all__ = ["CLOSE", "ERROR_BODY", "close", "decoded", "head_of", "refuse", "whole"]

CLOSE: Final = 1.0
"""Seconds that closing may take, cancelled or not."""
_DRAIN: Final = 0.1
"""Seconds to wait, after the message is complete, for the end of the body: only then is the connection used again."""
ERROR_BODY: Final = 64 * 1024
"""Most bytes of an error that are read, and below it the seconds, or half of those left. Its status tells enough."""
_ERROR_SECONDS: Final = 2.0
_PLAIN_BODY: Final = 5_000_000
"""Most bytes of an answer that is none of a call's."""


async def refuse(failures: tuple[type[Exception], ...], response: httpx2.Response) -> None:
    """Called by the HTTP client for each answer, before its body: a body that breaks must not hide the status.

    failures: what the HTTP client raises.
    """
    if response.is_success:
        return
    body = b""
    left = anyio.current_effective_deadline() - anyio.current_time()
    with suppress(*failures), anyio.move_on_after(min(_ERROR_SECONDS, left / 2)):
        async for piece in response.aiter_bytes():
            body += piece
            if len(body) > ERROR_BODY:
                break
    raise RefusedError(response.status_code, response.headers, body[:ERROR_BODY])


def head_of(status: int, headers: Mapping[str, str], secrets: Secrets) -> ResponseHead:
    """What is told of an answer as it begins."""
    said = request_id_of(headers)
    request_id = None if said is None else secrets.cleaned(said)  # a server may echo the key in it
    return ResponseHead(status=status, request_id=request_id, wait=wait_of_buckets(headers, dt.datetime.now(dt.UTC)))


def decoded(response: httpx2.Response) -> AsyncGenerator[bytes, None]:
    """The bytes of a body. Without compression the raw ones are the same, and one generator cheaper for each read."""
    return response.aiter_bytes() if "content-encoding" in response.headers else response.aiter_raw()


async def whole(response: httpx2.Response, watch: Watch) -> bytes:
    """The body of an answer that is none of a call's. Raises MalformedResponseError for one of more than 5 MB."""
    pieces = bytearray()
    async with aclosing(decoded(response)) as body:
        while (data := await watch.read(body)) is not None:
            watch.got_content()
            pieces += data
            if len(pieces) > _PLAIN_BODY:
                raise MalformedResponseError(f"the answer has more than {_PLAIN_BODY:,} bytes")
    return bytes(pieces)


async def close(
    failures: tuple[type[Exception], ...],
    response: httpx2.Response | None,
    body: AsyncGenerator[bytes, None] | None,
    *,
    drain: bool = False,
) -> None:
    """Give the connection back if the answer is complete, else close it; what fails here matters no more.

    response: None where none came. body: None where nobody has begun to read it.
    """
    if response is None:
        return
    with suppress(*failures):
        if drain and body is not None:
            with anyio.move_on_after(_DRAIN, shield=True):
                async for _ in body:
                    pass
    with suppress(*failures), anyio.move_on_after(CLOSE, shield=True):
        if body is not None:
            await body.aclose()
        await response.aclose()
