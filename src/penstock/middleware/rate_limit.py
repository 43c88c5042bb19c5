"""Sends no faster than an account may.

Written here because the libraries that do it (aiolimiter, pyrate-limiter, limits and their like, seen 2026-11-21) wait
with asyncio's own primitives, and none of them can correct afterwards what a call was charged with.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Final

import anyio
import msgspec

from penstock.core.bounds import check_window
from penstock.core.chunks import Chunk, UsageChunk
from penstock.core.closing import aclosing
from penstock.core.errors import (
    FirstChunkTimeoutError,
    ProviderError,
    RateLimitError,
    StallTimeoutError,
    StreamInterruptedError,
    TotalTimeoutError,
)
from penstock.core.messages import Message, Options, ResponseHead
from penstock.core.provider import BaseProvider
from penstock.core.scope import in_scope
from penstock.core.validation import check_count, check_seconds
from penstock.middleware.events import Listener, Refused, Waiting
from penstock.middleware.listeners import Telling, check_listener
from penstock.middleware.per_loop import PerLoop
from penstock.middleware.rate_window import Charge, Window
from penstock.middleware.wrapper import Wrapper, hearing

__all__ = ["RateLimit", "Remaining"]

_LOOK_AGAIN: Final = 1.0
"""Seconds after which the first in the line looks again: a call may have used less than was thought."""


_SENT: Final = (FirstChunkTimeoutError, StallTimeoutError, TotalTimeoutError, StreamInterruptedError)
"""Errors of requests that the vendor had got, or very likely."""


class Remaining(msgspec.Struct, frozen=True, kw_only=True):
    """What a RateLimit would let through at once."""

    requests: int | None
    """How many requests; None without a limit of them."""
    tokens: int | None
    """How many tokens; None without a limit of them."""
    held: float
    """Seconds for which nothing at all is sent, as the vendor asked for a pause; 0 for none."""


class _Hold:
    """Until when nothing is sent; one for all providers that the limit is around."""

    until = -math.inf


class RateLimit(Wrapper):
    """Over any minute at most so many requests and tokens, None for no such limit; first come, first served.

    A call is charged with an estimate of its prompt when it is sent, and with what the vendor reports as soon as that
    comes. One that was refused or could not be sent is charged with nothing; one that broke or was too slow without a
    report keeps the estimate, as the vendor has counted it. count_cache_reads: whether tokens read from a cache count;
    at OpenAI they do, at Anthropic they do not. A prompt that surely fits into no model's window is a TokenLimitError
    at once, which neither waits nor is charged.

    After a RateLimitError with a `retry_after`, and after an answer whose headers say that nothing remains of one of
    the vendor's limits, nothing is sent before that has passed. If more than *max_wait* seconds of it are left, calls
    do not wait but fail at once, with what is left as their own `retry_after`.

    Inside Retry each try is charged; outside, each call. All event loops share what has been spent.

    listener: told of Waiting and Refused.
    """

    def __init__(
        self,
        inner: BaseProvider,
        *,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        count_cache_reads: bool = True,
        max_wait: float = 60.0,
        listener: Listener | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = anyio.sleep,
    ) -> None:
        super().__init__(inner, requests_per_minute=requests_per_minute, tokens_per_minute=tokens_per_minute)
        self._requests = _window("requests_per_minute", requests_per_minute)
        self._tokens = _window("tokens_per_minute", tokens_per_minute)
        self._count_cache_reads = count_cache_reads
        self._max_wait = check_seconds("max_wait", max_wait)
        self._listener = None if listener is None else check_listener(listener)
        self._clock = clock
        self._sleep = sleep
        self._hold = _Hold()
        self._lines = PerLoop(anyio.Lock)
        self._lock = threading.Lock()  # around the windows, never around an await: loops of other threads use them too

    def hold(self, seconds: float) -> None:
        """Send nothing for so many seconds, as the vendor asks; a longer pause that is under way stays."""
        with self._lock:
            self._hold.until = max(self._hold.until, self._clock() + seconds)

    def remaining(self) -> Remaining:
        """What may be sent at once. Any thread may ask."""
        with self._lock:
            now = self._clock()
            return Remaining(
                requests=None if self._requests is None else self._requests.left(now),
                tokens=None if self._tokens is None else self._tokens.left(now),
                held=max(0.0, self._hold.until - now),
            )

    async def create_message(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """See BaseProvider."""
        tokens = self._tokens
        options, scope = in_scope(options or Options())
        check_window(self._inner, system_prompt, messages, options)
        tell = Telling(self._listener, scope, self, self._clock).tell
        charge = await self._admitted(self.tokens.estimate(system_prompt, messages, options) if tokens else 0, tell)
        counted = reported = False

        def heard(head: ResponseHead) -> None:
            nonlocal counted
            counted = 200 <= head.status < 300
            self._heard(head)

        try:
            async with aclosing(self._inner.create_message(system_prompt, messages, hearing(options, heard))) as chunks:
                async for chunk in chunks:
                    if type(chunk) is UsageChunk and tokens is not None:
                        reported = self._report(tokens, charge, chunk, before=reported)
                    counted = True
                    yield chunk
        except ProviderError as error:
            if isinstance(error, RateLimitError) and error.retry_after is not None:
                self.hold(error.retry_after)
            # What the vendor refused, or never got, it has not counted. An answer that it began it has.
            if tokens is not None and not reported and not counted and not isinstance(error, _SENT):
                with self._lock:
                    tokens.correct(charge, 0, self._clock())
            raise

    def _heard(self, head: ResponseHead) -> None:
        """An answer may say that it was the last that the vendor allows for now."""
        if head.wait is not None:
            self.hold(head.wait)

    async def _admitted(self, tokens: int, tell: Callable[..., object]) -> Charge:
        """Wait in the line, then spend a request and *tokens*."""
        line = self._lines.get()
        told = line.locked()
        if told:
            tell(Waiting, on="rate_limit")
        async with line:  # only the first in the line of each loop looks at the windows
            while True:
                try:
                    with self._lock:
                        seconds = self._wait(tokens)
                        if seconds <= 0:
                            return self._spend(tokens)
                except RateLimitError as error:
                    tell(Refused, error=error)
                    raise
                if not told:
                    told = True
                    tell(Waiting, on="rate_limit", seconds=seconds)
                await self._sleep(min(seconds, _LOOK_AGAIN))

    def _spend(self, tokens: int) -> Charge:
        now = self._clock()
        if self._requests is not None:
            self._requests.charge(1, now)
        return Charge(0, now) if self._tokens is None else self._tokens.charge(tokens, now)

    def _wait(self, tokens: int) -> float:
        now = self._clock()
        held = self._hold.until - now
        if held > self._max_wait:
            message = f"not sent: the vendor asked for a pause, of which {held:.0f} s are left"
            raise RateLimitError(message, retry_after=held, model=self.get_model().id or None)
        return max(
            held,
            0.0 if self._requests is None else self._requests.wait(1, now),
            0.0 if self._tokens is None else self._tokens.wait(tokens, now),
        )

    def _report(self, tokens: Window, charge: Charge, usage: UsageChunk, *, before: bool) -> bool:
        """Count an increment; whether the vendor has reported anything by now."""
        if not (usage.prompt_tokens or usage.output_tokens):
            return before
        counted = usage.prompt_tokens + usage.output_tokens
        if not self._count_cache_reads:
            counted -= usage.cache_read_tokens
        with self._lock:
            now = self._clock()
            if before:
                tokens.charge(counted, now)
            else:
                tokens.correct(charge, counted, now)
        return True


def _window(name: str, limit: int | None) -> Window | None:
    return None if limit is None else Window(check_count(name, limit))
