"""Watches one call's deadlines without a cancel scope for each read, which would cost as much as the whole event.

A read that can be interrupted is, by one timer a call, which is set anew only when it fires. Elsewhere silence is left
to the HTTP client's read timeout, which is fixed when the body begins; a scope is made only for the reads that have
less time than that: after pings, near the total, and always where `stall` is the shorter one. What we do ourselves
counts too: a server that floods us with what is no content is no faster for our reading it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import anyio

from penstock.core.errors import (
    ConnectTimeoutError,
    FirstChunkTimeoutError,
    ProviderTimeoutError,
    StallTimeoutError,
    TotalTimeoutError,
)
from penstock.core.messages import Deadlines
from penstock.providers.answers import Source

if TYPE_CHECKING:
    import asyncio

__all__ = ["Watch"]

_GRACE: Final = 2.0
"""Seconds for the rest of an answer that may end: the vendor's last word, which some never say, or the end of bytes."""
_SLACK: Final = 0.01
"""Seconds that a deadline may be late: as much of a wait has begun when the HTTP client begins to count anew."""
_EXPIRED: Final[dict[str, tuple[type[ProviderTimeoutError], str]]] = {
    "connect": (ConnectTimeoutError, "no connection"),
    "first_chunk": (FirstChunkTimeoutError, "no content"),
    "stall": (StallTimeoutError, "no further content"),
    "total": (TotalTimeoutError, "no end of the answer"),
}


class Watch:
    """The deadlines of one call. The time that the consumer takes does not count, but for the total."""

    def __init__(
        self, deadlines: Deadlines, clock: Callable[[], float] = time.monotonic, grace: float = _GRACE
    ) -> None:
        """grace: seconds that an answer is waited for that may end."""
        self._deadlines = deadlines
        self._grace = grace
        self._clock = clock
        self._start = clock()
        self._since = self._start  # the last content, moved on by what the consumer took
        self._left = 0.0
        self._name = "first_chunk"
        self._limit = deadlines.first_chunk
        self._silence = 0.0
        self._awaited = ""  # the deadline that a long body moves on
        self._scope: anyio.CancelScope | None = None  # around the sending
        self._ending: float | None = None  # since when the answer may end, moved on likewise; None: it may not
        self._interrupt: Callable[[BaseException], object] | None = None  # the read that waits
        self._timer: asyncio.TimerHandle | None = None
        self._is_watched = False  # for silence after content, which is all that is to be watched of this call
        self._is_plain = False  # so that the next read needs no other watching
        self._waits = False  # a read does
        self.waited = False
        """No content came any more within the grace of an answer that may end."""

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Bounds the step until the headers are there; the client's timeouts are per read, and headers can drip."""
        name, left = self._nearest(self._clock())
        try:
            with anyio.fail_after(left) as self._scope:
                yield
        except TimeoutError:
            raise self.expired(self._awaited or name) from None

    def wrote(self) -> None:
        """A piece of a long body is on its way: what is waited for then counts from here."""
        self._since = self._clock()
        self._awaited, left = self._nearest(self._since)
        if self._scope is not None:
            self._scope.deadline = anyio.current_time() + left

    @property
    def left(self) -> float:
        """Seconds until the next deadline."""
        return self._nearest(self._clock())[1]

    def body_timeout(self) -> float:
        """The read timeout for the body, in seconds: the longest silence that can be right."""
        self._silence = max(self._deadlines.stall, self._deadlines.first_chunk - (self._clock() - self._start))
        return self._silence

    @contextmanager
    def following(self, source: Source) -> Iterator[None]:
        """The body is read from *source* inside."""
        self._interrupt = source.interrupt
        try:
            yield
        finally:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    async def read(self, source: Source, *, may_end: bool = False) -> bytes:
        """The next bytes, none at the end. Raises ProviderTimeoutError.

        may_end: nothing more need come, so content is waited for no longer than some seconds, and by no deadline: then
        this is the end too.
        """
        is_plain, self._is_plain = self._is_plain, False
        if is_plain and not may_end:  # as nearly all are
            self._waits = True
            data = await source.read()
            self._waits = False
            return data
        if not may_end:
            return await self._read(source)
        now = self._clock()
        self._ending = now if self._ending is None else self._ending
        left = min(self._ending + self._grace - now, self._nearest(now)[1] / 2)
        if left > 0:
            with anyio.move_on_after(left):
                return await self._read(source)
        self.waited = True
        return b""

    async def _read(self, source: Source) -> bytes:
        name, left = self._nearest(self._clock())
        if left <= 0:
            raise self.expired(name)
        if self._interrupt is not None:
            self._set_timer(left)
            self._waits = True
            try:
                return await source.read()
            finally:
                self._waits = False
        if left >= self._silence - _SLACK:
            return await source.read()
        try:
            with anyio.fail_after(left):
                return await source.read()
        except TimeoutError:
            raise self.expired(name) from None

    def _set_timer(self, left: float) -> None:
        """Look again in *left* seconds at the latest."""
        import asyncio  # here and not above: only what runs on asyncio can be interrupted

        loop = asyncio.get_running_loop()
        if self._timer is None or self._timer.when() > loop.time() + left:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_later(left, self._look)

    def _look(self) -> None:
        """The timer has fired: see whether what it was set for still holds."""
        self._timer = None
        name, left = self._nearest(self._clock())
        if self._waits and left <= 0 and self._interrupt is not None:
            self._interrupt(self.expired(name))  # unless something has come at this very moment
        # Who begins to wait later waits no less than that after content; else `read` sets it anew.
        self._set_timer(left if self._waits and left > 0 else self._limit)

    def got_content(self) -> None:
        """Content came: from the next read on it is a stall that is waited for."""
        self._since = self._clock()
        self._ending = None
        self._is_plain = self._is_watched  # from the second on: the read after the first sets the timer
        if self._name != "stall":
            self._name, self._limit = "stall", self._deadlines.stall
            is_bounded = self._interrupt is not None or self._limit >= self._silence
            self._is_watched = is_bounded and self._deadlines.total is None

    def leave(self) -> None:
        """The consumer has the word. Not told of content, after which all begins anew."""
        self._left = self._clock()

    def come_back(self) -> None:
        """The consumer wants more."""
        away = self._clock() - self._left
        self._since += away
        if self._ending is not None:
            self._ending += away

    def expired(self, name: str | None = None) -> ProviderTimeoutError:
        """The error for the deadline called *name*, None for the one that a silent body runs into."""
        name = name or self._name
        seconds = getattr(self._deadlines, name)
        kind, what = _EXPIRED[name]
        error = kind(f"{what} within {seconds:g} s (deadline `{name}`)")
        error.seconds = seconds
        return error

    def _nearest(self, now: float) -> tuple[str, float]:
        left = self._limit - (now - self._since)
        if self._deadlines.total is not None:
            total_left = self._start + self._deadlines.total - now
            if total_left < left:
                return "total", total_left
        return self._name, left
