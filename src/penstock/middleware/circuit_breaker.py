"""Leaves a provider alone for a while after it has failed too often."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Final, Literal

from penstock.core.chunks import Chunk
from penstock.core.closing import aclosing
from penstock.core.errors import (
    AuthenticationError,
    BudgetExceededError,
    CircuitOpenError,
    ConfigError,
    InvalidRequestError,
    LedgerError,
    NotFoundError,
    PermissionDeniedError,
    ProviderError,
    QuotaExceededError,
    RateLimitError,
    StoreError,
    TokenLimitError,
)
from penstock.core.messages import Message, Options
from penstock.core.provider import BaseProvider
from penstock.core.scope import in_scope
from penstock.core.validation import check_count, check_seconds
from penstock.middleware.events import CircuitClosed, CircuitOpened, Listener, Refused
from penstock.middleware.listeners import Telling, check_listener
from penstock.middleware.wrapper import Wrapper, is_visible

__all__ = ["CircuitBreaker"]

# Every call would fail in the same way, until somebody has done something about it.
_AT_ONCE: Final = (AuthenticationError, PermissionDeniedError, QuotaExceededError)
# They say something about one request, or about the one who made it. (A 404 may be a file that a message names.)
_NOT_COUNTED: Final = (
    BudgetExceededError,
    CircuitOpenError,
    ConfigError,
    InvalidRequestError,
    LedgerError,
    NotFoundError,
    StoreError,
    TokenLimitError,
)


class _Circuit:
    """What changes from call to call; one for all providers that the breaker is around."""

    def __init__(self) -> None:
        # None while the circuit is closed; else when the next trial is let through.
        self.until: float | None = None
        self.trial: object = None
        self.why = ""


class CircuitBreaker(Wrapper):
    """Raises CircuitOpenError instead of asking a provider that has failed *failures* times within *window* seconds.

    After *pause* seconds, or what the last error's `retry_after` says if that is more, one call is let through as a
    trial. Its first chunk that is not usage closes the circuit, for the others need not wait until a long answer ends;
    but if the trial fails, before or after that, the circuit opens again. A trial that is left before such a chunk
    decides nothing, and the next call is one; so is one that comes *pause* seconds after a trial that still hangs.

    Exhausted quota, and failures of authentication and permission, open it at once. Errors that are the request's own
    do not count: invalid requests, overflows, 404, configuration, budgets, ledgers, stores, a RateLimit's own
    refusals, a key that ended and has been replaced. Successes in between do not lower the count.

    listener: told of CircuitOpened, CircuitClosed and Refused.
    """

    def __init__(
        self,
        inner: BaseProvider,
        *,
        failures: int = 5,
        window: float = 60.0,
        pause: float = 30.0,
        listener: Listener | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(inner, failures=failures, window=window, pause=pause)
        self._failures: deque[float] = deque(maxlen=check_count("failures", failures))
        self._window = check_seconds("window", window)
        self._pause = check_seconds("pause", pause)
        self._listener = None if listener is None else check_listener(listener)
        self._clock = clock
        self._circuit = _Circuit()
        self._lock = threading.Lock()  # calls may run in several threads; never around an await

    @property
    def state(self) -> Literal["closed", "open", "trial"]:
        """`closed`: calls pass; `open`: none does; `trial`: one does, and decides. Any thread may ask."""
        with self._lock:
            return self._state

    @property
    def _state(self) -> Literal["closed", "open", "trial"]:
        if self._circuit.until is None:
            return "closed"
        return "open" if self._circuit.trial is None else "trial"

    async def create_message(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """See BaseProvider."""
        options, scope = in_scope(options or Options())
        tell = Telling(self._listener, scope, self, self._clock).tell
        call = object()
        try:
            with self._lock:
                self._admit(call)
        except CircuitOpenError as error:
            tell(Refused, error=error)
            raise
        shown = False
        try:
            async with aclosing(self._inner.create_message(system_prompt, messages, options)) as chunks:
                async for chunk in chunks:
                    shown = is_visible(chunk)
                    if shown and self._closed_by(call):
                        tell(CircuitClosed)
                    yield chunk
                    if shown:
                        break
                async for chunk in chunks:
                    yield chunk
        except ProviderError as error:
            with self._lock:
                before = self._state
                self._count(call, error)
                opened = self._state == "open" != before
                seconds = (self._circuit.until or 0.0) - self._clock()
            if opened:
                tell(CircuitOpened, seconds=seconds, why=self._circuit.why)
            raise
        finally:
            with self._lock:
                if call is self._circuit.trial:
                    self._circuit.trial = None
                    if not shown:
                        self._circuit.until = self._clock()

    def _admit(self, call: object) -> None:
        if self._circuit.until is None:
            return
        now = self._clock()
        if now < self._circuit.until:
            left = self._circuit.until - now
            raise CircuitOpenError(
                f"not asked: {self._circuit.why}", retry_after=left, model=self.get_model().id or None
            )
        self._circuit.trial = call
        self._circuit.until = now + self._pause

    def _closed_by(self, call: object) -> bool:
        """Close the circuit if this call is the trial."""
        if call is not self._circuit.trial:  # looked at without the lock, as all but one are none
            return False
        with self._lock:
            is_trial = call is self._circuit.trial
            if is_trial:
                self._circuit.until = None
        return is_trial

    def _count(self, call: object, error: ProviderError) -> None:
        # A key that has been replaced since it was refused says nothing of the vendor, nor does a limit of one's own.
        replaced = isinstance(error, AuthenticationError) and error.retryable
        if isinstance(error, _NOT_COUNTED) or replaced or (isinstance(error, RateLimitError) and error.refused_here):
            return
        now = self._clock()
        if isinstance(error, _AT_ONCE):
            self._open(now, error, "every call would fail")
        elif call is self._circuit.trial:
            self._open(now, error, "the trial failed")
        elif self._circuit.until is None:
            self._failures.append(now)
            if len(self._failures) == self._failures.maxlen and now - self._failures[0] <= self._window:
                self._open(now, error, f"{self._failures.maxlen} failures within {self._window:g} s")

    def _open(self, now: float, error: ProviderError, why: str) -> None:
        self._failures.clear()
        self._circuit.trial = None
        self._circuit.until = now + max(self._pause, error.retry_after or 0.0)
        self._circuit.why = f"{why}, the last with {type(error).__name__}: {error.message}"
