"""Sends no faster than an account may.

Written here because the libraries that do it (aiolimiter, pyrate-limiter, limits and their like, seen 2026-11-21) wait
with asyncio's own primitives, and none of them can correct afterwards what a call was charged with.
"""

from __future__ import annotations

import math
import random
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
    StoreError,
    StreamInterruptedError,
    TotalTimeoutError,
)
from penstock.core.messages import Message, Options, ResponseHead
from penstock.core.provider import BaseProvider
from penstock.core.scope import in_scope
from penstock.core.validation import check_count, check_seconds
from penstock.middleware.events import Listener, Refused, Waiting
from penstock.middleware.limit_store import Limits, LimitStore, account_name, check_store
from penstock.middleware.listeners import Telling, check_listener
from penstock.middleware.per_loop import PerLoop
from penstock.middleware.rate_window import Charge, Window
from penstock.middleware.wrapper import Wrapper, hearing

__all__ = ["RateLimit", "Remaining"]

_LOOK_AGAIN: Final = 1.0
"""Seconds after which the first in the line looks again: a call may have used less than was thought."""

_SPREAD: Final = 0.1
"""Seconds at most by which those who ask one store stand apart."""
_PAUSED: Final = "the vendor asked for a pause, of which {:.0f} s are left"
_FULL: Final = "others have used up the limit, and there may be room in {:.0f} s"

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

    store: counts for all processes that share it; None for this one alone. Then a pause that the vendor asks for holds
    for all of them, the order of arrival holds within a process, and nobody waits longer than *max_wait*: whoever would
    gets a RateLimitError with the seconds until there is room. name: what is counted together in the store; None for
    all with the same host, key and numbers. Where processes give one name other numbers, the smaller hold.

    listener: told of Waiting and Refused, and of StoreLost and StoreBack.
    """

    def __init__(
        self,
        inner: BaseProvider,
        *,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        count_cache_reads: bool = True,
        max_wait: float = 60.0,
        store: LimitStore | None = None,
        name: str | None = None,
        listener: Listener | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = anyio.sleep,
    ) -> None:
        settings = {"requests_per_minute": requests_per_minute, "tokens_per_minute": tokens_per_minute}
        super().__init__(inner, **settings, store=store, name=name)
        self._requests = _window("requests_per_minute", requests_per_minute)
        self._tokens = _window("tokens_per_minute", tokens_per_minute)
        self._count_cache_reads = count_cache_reads
        self._max_wait = check_seconds("max_wait", max_wait)
        self._listener = None if listener is None else check_listener(listener)
        self._store = check_store(store, name)
        self._limits = Limits(requests_per_minute, tokens_per_minute)
        self._name = name or (account_name(inner, _kind(self._limits)) if self._store is not None else "")
        self._clock = clock
        self._sleep = sleep
        self._hold = _Hold()
        self._room = -math.inf  # when there may be room, as the store said last
        self._lines = PerLoop(anyio.Lock)
        self._lock = threading.Lock()  # around the windows, never around an await: loops of other threads use them too

    def hold(self, seconds: float) -> None:
        """Send nothing for so many seconds, as the vendor asks; a longer pause that is under way stays."""
        if self._store is not None:
            self._store.hold(self._name, seconds)
            return
        with self._lock:
            self._hold.until = max(self._hold.until, self._clock() + seconds)

    def remaining(self) -> Remaining:
        """What may be sent at once; with a store, by its last answer. Any thread may ask."""
        if self._store is not None:
            left, held = self._store.left(self._name, self._limits)
            return Remaining(requests=left.requests, tokens=left.tokens, held=held)
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
        options, scope = in_scope(options or Options())
        check_window(self._inner, system_prompt, messages, options)
        tell = Telling(self._listener, scope, self, self._clock).tell
        by_tokens = self._tokens is not None
        estimate = self.tokens.estimate(system_prompt, messages, options) if by_tokens else 0
        store = self._store
        charge: object
        if store is None:
            charge = await self._admitted(estimate, tell)
        else:
            charge = await self._admitted_by_store(store, estimate, tell)
        counted = False
        reported: int | None = None

        def heard(head: ResponseHead) -> None:
            nonlocal counted
            counted = 200 <= head.status < 300
            self._heard(head)

        try:
            async with aclosing(self._inner.create_message(system_prompt, messages, hearing(options, heard))) as chunks:
                async for chunk in chunks:
                    if type(chunk) is UsageChunk and by_tokens:
                        reported = self._report(charge, chunk, reported)
                    counted = True
                    yield chunk
        except ProviderError as error:
            if isinstance(error, RateLimitError) and error.retry_after is not None:
                self.hold(error.retry_after)
            # What the vendor refused, or never got, it has not counted. An answer that it began it has.
            if by_tokens and reported is None and not counted and not isinstance(error, _SENT):
                self._correct(charge, 0, 0)
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
            raise self._refused(_PAUSED, held)
        return max(
            held,
            0.0 if self._requests is None else self._requests.wait(1, now),
            0.0 if self._tokens is None else self._tokens.wait(tokens, now),
        )

    def _report(self, charge: object, usage: UsageChunk, before: int | None) -> int | None:
        """Count an increment; how much the vendor has reported by now, None for nothing."""
        if not (usage.prompt_tokens or usage.output_tokens):
            return before
        counted = usage.prompt_tokens + usage.output_tokens
        if not self._count_cache_reads:
            counted -= usage.cache_read_tokens
        total = counted + (before or 0)
        self._correct(charge, total, counted, is_first=before is None)
        return total

    def _correct(self, charge: object, total: int, counted: int, *, is_first: bool = True) -> None:
        """It was *total* in truth, of which *counted* is new."""
        if self._store is not None:
            self._store.correct(charge, total)
        elif self._tokens is not None and isinstance(charge, Charge):
            with self._lock:
                now = self._clock()
                if is_first:
                    self._tokens.correct(charge, total, now)
                else:
                    self._tokens.charge(counted, now)

    async def _admitted_by_store(self, store: LimitStore, tokens: int, tell: Callable[..., object]) -> object:
        """Wait in the line and then for the store, *max_wait* seconds at most; what stands for the charge."""
        line, begun = self._lines.get(), self._clock()
        told = line.locked()
        if told:
            tell(Waiting, on="rate_limit")
        try:
            with anyio.move_on_after(self._max_wait):
                async with line:
                    return await self._charged(store, tokens, begun, tell, told=told)
            raise self._refused(_FULL, max(0.0, self._room - self._clock()))
        except (RateLimitError, StoreError) as error:
            tell(Refused, error=error)
            raise

    async def _charged(
        self, store: LimitStore, tokens: int, begun: float, tell: Callable[..., object], *, told: bool
    ) -> object:
        while True:
            waited = self._clock() - begun
            try:
                found = await store.charge(self._name, self._limits, tokens, waited)
            finally:
                for kind, facts in store.news():
                    tell(kind, **facts)
            if found.ticket is not None:
                return found.ticket
            self._room = self._clock() + found.seconds
            if found.held > self._max_wait - waited:
                raise self._refused(_PAUSED, found.held)
            if found.seconds > self._max_wait - waited:
                raise self._refused(_FULL, found.seconds)
            if not told:
                told = True
                tell(Waiting, on="rate_limit", seconds=found.seconds)
            # Others wait for the same room: not all are to ask at once.
            await self._sleep(min(found.seconds, _LOOK_AGAIN) + random.random() * _SPREAD)  # noqa: S311 - no secret

    def _refused(self, why: str, seconds: float) -> RateLimitError:
        said = f"not sent: {why.format(seconds)}"
        error = RateLimitError(said, retry_after=seconds, model=self.get_model().id or None)
        error.refused_here = True
        return error


def _window(name: str, limit: int | None) -> Window | None:
    return None if limit is None else Window(check_count(name, limit))


def _kind(limits: Limits) -> str:
    return "/".join("" if limit is None else str(limit) for limit in limits)
