"""What is read of an answer beside a call's events: a refusal, the body of a plain one, and the end."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

import anyio

from penstock.core.errors import MalformedResponseError
from penstock.core.messages import ResponseHead
from penstock.providers.failures import RefusedError
from penstock.providers.redaction import Secrets
from penstock.wire.errors import request_id_of
from penstock.wire.retry_after import wait_of_buckets

if TYPE_CHECKING:
    import httpx2

__all__ = [
    "CLOSE",
    "ERROR_BODY",
    "SOURCE",
    "Lines",
    "Pieces",
    "Sink",
    "Source",
    "Whole",
    "close",
    "decoded",
    "head_of",
    "refuse",
]

R = TypeVar("R")
S = TypeVar("S", covariant=True)

SOURCE: Final = "penstock_source"
"""The extension of a response under which a transport of ours says where its body is read."""
CLOSE: Final = 1.0
"""Seconds that closing may take, cancelled or not."""
_DRAIN: Final = 0.1
"""Seconds to wait, after the message is complete, for the end of the body: only then is the connection used again."""
ERROR_BODY: Final = 64 * 1024
"""Most bytes of an error that are read, and below it the seconds, or half of those left. Its status tells enough."""
_ERROR_SECONDS: Final = 2.0
_PLAIN_BODY: Final = 5_000_000
"""Most bytes of an answer that is none of a call's."""
_LINE: Final = 64 * 1024 * 1024
"""Most bytes of one line of a body that is read by lines: as much as of an answer, which such a line may hold."""


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


def head_of(status: int, headers: Mapping[str, str], secrets: Secrets, reused: bool | None) -> ResponseHead:
    """What is told of an answer as it begins. reused: whether its connection had been used before."""
    said = request_id_of(headers)
    request_id = None if said is None else secrets.cleaned(said)  # a server may echo the key in it
    wait = wait_of_buckets(headers, dt.datetime.now(dt.UTC))
    return ResponseHead(status=status, request_id=request_id, wait=wait, reused=reused)


class Source(Protocol):
    """The body of an answer, where the transport has it."""

    @property
    def interrupt(self) -> Callable[[BaseException], object] | None:
        """Lets the read that waits raise an error now; only while one waits. None where a read cannot be ended from
        outside: then each has the HTTP client's read timeout, and elsewhere none has.
        """

    async def read(self) -> bytes:
        """The next bytes, none at the end. Raises the HTTP client's errors, which are httpx2's on every transport."""

    async def aclose(self) -> None:
        """Nobody reads any more."""


class Pieces:
    """A Source of the HTTP client's own."""

    def __init__(
        self, pieces: AsyncIterator[bytes], interrupt: Callable[[BaseException], object] | None = None
    ) -> None:
        self._pieces = pieces
        self.interrupt = interrupt

    async def read(self) -> bytes:
        """See Source."""
        async for piece in self._pieces:
            return piece
        return b""

    async def aclose(self) -> None:
        """See Source."""
        if isinstance(self._pieces, AsyncGenerator):
            await self._pieces.aclose()


def decoded(response: httpx2.Response) -> Source:
    """Where the bytes of a body are read. Without compression the raw ones are the same, and cheaper."""
    source: Source | None = response.extensions.get(SOURCE)
    if "content-encoding" in response.headers:
        return Pieces(response.aiter_bytes(), None if source is None else source.interrupt)
    return source or Pieces(response.aiter_raw())


class Sink(Protocol[S]):
    """What a body that is none of a call's is fed to."""

    def feed(self, data: bytes) -> Iterable[S]: ...

    def close(self) -> Iterable[S]: ...


class Whole(Generic[R]):
    """Makes one thing of a body. Raises MalformedResponseError for one of more than 5 MB."""

    def __init__(self, read: Callable[[bytes], R]) -> None:
        self._read = read
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterable[R]:
        """Nothing yet."""
        self._held += data
        if len(self._held) > _PLAIN_BODY:
            raise MalformedResponseError(f"the answer has more than {_PLAIN_BODY:,} bytes")
        return ()

    def close(self) -> Iterable[R]:
        """What was read."""
        return [self._read(bytes(self._held))]


class Lines:
    """Cuts a body into its lines."""

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that *data* completes, but for blank ones. Raises MalformedResponseError for one above 64 MB."""
        *ends, rest = data.split(b"\n")
        for end in ends:
            self._held.append(end)
            yield from self.close()
        self._held.append(rest)
        self._size += len(rest)
        if self._size > _LINE:
            raise MalformedResponseError(f"a line of the answer has more than {_LINE:,} bytes")

    def close(self) -> Iterator[bytes]:
        """The last line, which need not have an end."""
        line = b"".join(self._held).strip()
        self._held.clear()
        self._size = 0
        if line:
            yield line


async def close(
    failures: tuple[type[Exception], ...],
    response: httpx2.Response | None,
    source: Source | None,
    *,
    drain: bool = False,
) -> None:
    """Give the connection back if the answer is complete, else close it; what fails here matters no more.

    response: None where none came. source: None where nobody has begun to read it.
    """
    if response is None:
        return
    with suppress(*failures), anyio.move_on_after(_DRAIN if drain else CLOSE, shield=True) as scope:
        if drain and source is not None:  # a scope costs as much as reading an event
            while await source.read():
                pass
            scope.deadline += CLOSE
            drain = False
        await _let_go(response, source)
    if drain:  # in vain
        with suppress(*failures), anyio.move_on_after(CLOSE, shield=True):
            await _let_go(response, source)


async def _let_go(response: httpx2.Response, source: Source | None) -> None:
    if source is not None:
        await source.aclose()
    await response.aclose()
