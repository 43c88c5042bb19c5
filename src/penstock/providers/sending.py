"""What became of a request: the HTTP client's trace tells, whichever client that is.

This module imports the HTTP client; whoever wants `import penstock` to stay light imports it late.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Final

import anyio
import h11
import httpx2

from penstock.core.keys import Hidden

__all__ = ["Sending", "caused_by", "followed", "hung_up", "kept_for", "nothing_read", "sending_now"]

_DIED: Final = 1.0
"""Seconds after the last byte was written within which a kept connection that breaks had been closed before."""
_KEEP_ALIVE: Final = re.compile(r"(?:^|[,\s])timeout\s*=\s*(\d+)", re.IGNORECASE)


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
        self.rests: Callable[[], object] | None = None
        """Called when the answer has ended, if the server said how long it waits for the next request."""
        self.stream: Any = None
        """What carries it, as the HTTP client has that; None as long as that is not known."""
        self.queued = False
        """Whether it waits for a connection, as all are in use."""
        self.heard = False
        """Whether anything came on a connection that had been used before: then it had not been closed."""
        self.again = again
        self.proxy: str | None = None
        """The proxy in use, as it may be shown; None for none."""
        self._opening: Any = None
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
            self.opens()
        elif step == "connect_tcp.complete":
            self._opening = info.get("return_value")
        elif step == "start_tls.failed" and self._opening is not None:
            # The HTTP client does so only for an error, and not where the handshake is cancelled.
            with anyio.CancelScope(shield=True):
                await self._opening.aclose()
        elif step == "send_request_headers.started":
            # What is asked of a proxy first is no request of ours: its answer belongs to connecting.
            if info["request"].method != b"CONNECT":
                self.begins()
        elif self.begun and step.startswith("send_request_"):
            # A write that fails at once is complete too for the HTTP client.
            self.wrote(whole=step == "send_request_body.complete" and not _closed(self._opening))
        elif step == "response_closed.complete":
            _listen(self.stream)
            if self.rests is not None:
                self.rests()

    def queues(self) -> None:
        """All connections are in use."""
        self.queued = True
        self.wait(self._connect)

    def opens(self) -> None:
        """A connection is being opened for it."""
        self.opened, self.queued = True, False
        self.wait(self._connect)

    def begins(self) -> None:
        """There is a connection, and it is written now."""
        self.begun, self.queued, self._written = True, False, self._clock()
        self.wait(math.inf)

    def wrote(self, *, whole: bool) -> None:
        """Bytes of it are written. whole: these were the last."""
        self._written = self._clock()
        self.whole = self.whole or whole

    def wait(self, seconds: float) -> None:
        """Give up that many seconds from now."""
        if self.scope is not None:
            self.scope.deadline = anyio.current_time() + seconds


_sending: Final[ContextVar[Sending | None]] = ContextVar("penstock_sending", default=None)


def kept_for(headers: Mapping[str, str]) -> float:
    """Seconds that a connection may rest after this answer: one less than the server says, infinite if it does not."""
    said = _KEEP_ALIVE.search(headers.get("keep-alive", ""))
    return math.inf if said is None else max(0.0, int(said[1][:9]) - 1.0)


def sending_now() -> Sending | None:
    """The one that is followed; None for a request of the SDK's own, for a token say."""
    return _sending.get()


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
        left += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
    return None


def hung_up(error: BaseException | None) -> bool:
    """Whether the server closed or reset the connection; something that is no HTTP is another matter."""
    if isinstance(error, httpx2.RemoteProtocolError):
        return caused_by(error, h11.RemoteProtocolError) is None
    return isinstance(error, httpx2.ReadError)


def _closed(stream: Any) -> bool:
    """Whether the connection is. stream: None for one that had been used before."""
    found = None if stream is None else stream.get_extra_info("socket")
    return found is not None and found.fileno() < 0


def nothing_read(stream: Any) -> bool:
    """Whether nothing was read from a connection since its last answer."""
    return "read" in getattr(stream, "__dict__", ())


def _listen(stream: Any) -> None:
    """Tell the next request on a connection whether anything came, by the first read: the others cost nothing more."""
    held = getattr(stream, "__dict__", None)
    if held is None or "read" in held:
        return
    plain = stream.read

    async def read(*args: Any, **kwargs: Any) -> Any:
        data = await plain(*args, **kwargs)
        held.pop("read", None)  # as `nothing_read` sees
        if (sending := _sending.get()) is not None:
            sending.heard = bool(data)
        return data

    held["read"] = read
