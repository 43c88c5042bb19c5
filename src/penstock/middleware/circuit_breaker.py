"""Leaves a provider alone for a while after it has failed too often."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Final

from penstock.core.chunks import Chunk
from penstock.core.closing import aclosing
from penstock.core.errors import (
    AuthenticationError,
    CircuitOpenError,
    ConfigError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    ProviderError,
    QuotaExceededError,
    TokenLimitError,
)
from penstock.core.messages import Message, Options
from penstock.core.provider import BaseProvider
from penstock.core.validation import check_count, check_seconds
from penstock.middleware.wrapper import Wrapper, is_visible

__all__ = ["CircuitBreaker"]

# Every call would fail in the same way, until somebody has done something about it.
_AT_ONCE: Final = (AuthenticationError, PermissionDeniedError, QuotaExceededError)
# They say something about one request, or about the one who made it. (A 404 may be a file that a message names.)
_NOT_COUNTED: Final = (CircuitOpenError, ConfigError, InvalidRequestError, NotFoundError, TokenLimitError)


class CircuitBreaker(Wrapper):
    """Raises CircuitOpenError instead of asking a provider that has failed *failures* times within *window* seconds.

    After *pause* seconds, or what the last error's `retry_after` says if that is more, one call is let through as a
    trial. Its first chunk that is not usage closes the circuit, for the others need not wait until a long answer ends;
    but if the trial fails, before or after that, the circuit opens again. A trial that is left before such a chunk
    decides nothing, and the next call is one; so is one that comes *pause* seconds after a trial that still hangs.

    Exhausted quota, and failures of authentication and permission, open it at once. Errors that are the request's own
    do not count: invalid requests, overflows, 404, configuration. Successes in between do not lower the count.
    """

    def __init__(
        self,
        inner: BaseProvider,
        *,
        failures: int = 5,
        window: float = 60.0,
        pause: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(inner, failures=failures, window=window, pause=pause)
        self._failures: deque[float] = deque(maxlen=check_count("failures", failures))
        self._window = check_seconds("window", window)
        self._pause = check_seconds("pause", pause)
        self._clock = clock
        # None while the circuit is closed; else when the next trial is let through.
        self._until: float | None = None
        self._trial: object = None
        self._why = ""
        self._lock = threading.Lock()  # calls may run in several threads; never around an await

    async def create_message(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """See BaseProvider."""
        call = object()
        with self._lock:
            self._admit(call)
        shown = False
        try:
            async with aclosing(self._inner.create_message(system_prompt, messages, options)) as chunks:
                async for chunk in chunks:
                    shown = is_visible(chunk)
                    if shown and call is self._trial:
                        with self._lock:
                            self._until = None
                    yield chunk
                    if shown:
                        break
                async for chunk in chunks:
                    yield chunk
        except ProviderError as error:
            with self._lock:
                self._count(call, error)
            raise
        finally:
            with self._lock:
                if call is self._trial:
                    self._trial = None
                    if not shown:
                        self._until = self._clock()

    def _admit(self, call: object) -> None:
        if self._until is None:
            return
        now = self._clock()
        if now < self._until:
            left = self._until - now
            raise CircuitOpenError(f"not asked: {self._why}", retry_after=left, model=self.get_model().id or None)
        self._trial = call
        self._until = now + self._pause

    def _count(self, call: object, error: ProviderError) -> None:
        if isinstance(error, _NOT_COUNTED):
            return
        now = self._clock()
        if isinstance(error, _AT_ONCE):
            self._open(now, error, "every call would fail")
        elif call is self._trial:
            self._open(now, error, "the trial failed")
        elif self._until is None:
            self._failures.append(now)
            if len(self._failures) == self._failures.maxlen and now - self._failures[0] <= self._window:
                self._open(now, error, f"{self._failures.maxlen} failures within {self._window:g} s")

    def _open(self, now: float, error: ProviderError, why: str) -> None:
        self._failures.clear()
        self._trial = None
        self._until = now + max(self._pause, error.retry_after or 0.0)
        self._why = f"{why}, the last with {type(error).__name__}: {error.message}"
