"""Tries again while nothing has been shown to anybody yet."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from itertools import count
from typing import Final

import anyio

from penstock.core.chunks import Chunk, UsageChunk
from penstock.core.closing import aclosing
from penstock.core.errors import AuthenticationError, ProviderError
from penstock.core.messages import Message, Options
from penstock.core.provider import BaseProvider
from penstock.core.scope import in_attempt, in_scope
from penstock.core.validation import check_count, check_seconds
from penstock.middleware.events import AttemptFailed, Listener, RetryScheduled
from penstock.middleware.listeners import Telling, check_listener, facts
from penstock.middleware.wrapper import Wrapper, is_visible

__all__ = ["Retry"]

_REFUSED_AGAIN: Final = "The key was refused, and so was its replacement. Check what issues the keys."


class Retry(Wrapper):
    """Tries again after an error that is `retryable`, until the first chunk that is not usage.

    shown: whether somebody is shown the chunks as they come. If not, as with `collect` or `run_tools`, the chunks of a
    try are held back until it has ended, but for its usage, so that a whole call is tried again also after its first
    text. The chunks of the last try come whatever becomes of it.

    attempts: the most tries, the first one included. max_wait: the longest pause, in seconds. base: the longest pause
    before the second try; it doubles with each, and a random part of it is waited ("full jitter"). An error's
    `retry_after` is waited at least; if it is above max_wait, the error comes at once. Deadlines are those of each try.
    For a key that was refused, and has been replaced since, there is one more try and no other.

    The usage of a try that failed stays in the stream. An error that gets out carries the usage of all tries.
    """

    def __init__(
        self,
        inner: BaseProvider,
        *,
        attempts: int = 3,
        max_wait: float = 60.0,
        base: float = 0.5,
        shown: bool = True,
        listener: Listener | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = anyio.sleep,
        random: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(inner, attempts=attempts)
        self._attempts = check_count("attempts", attempts)
        self._max_wait = check_seconds("max_wait", max_wait)
        self._base = check_seconds("base", base)
        self._shown = shown
        self._listener = None if listener is None else check_listener(listener)
        self._clock = clock
        self._sleep = sleep
        self._random = random

    async def create_message(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """See BaseProvider."""
        options, scope = in_scope(options or Options())
        tell = Telling(self._listener, scope, self, self._clock).tell
        spent, refused = UsageChunk(), 0
        for attempt in count(1):
            shown = False
            options = in_attempt(options, attempt)
            held: list[Chunk] = []
            try:
                async with aclosing(self._inner.create_message(system_prompt, messages, options)) as chunks:
                    async for chunk in chunks:
                        if not self._shown and is_visible(chunk):
                            held.append(chunk)
                            continue
                        shown = is_visible(chunk)
                        yield chunk
                        if shown:
                            break
                    async for chunk in chunks:
                        yield chunk
                for chunk in held:
                    yield chunk
                return
            except ProviderError as error:
                tell(AttemptFailed, attempt=attempt, **facts(error))
                spent += error.usage
                # After the first visible chunk a second try would repeat what the user has already read.
                refused += isinstance(error, AuthenticationError)
                if refused > 1:  # a source that always has another key would have everybody try again for ever
                    error.retryable, error.hint = False, _REFUSED_AGAIN
                pause = None if shown else self._pause(attempt, error)
                if pause is None:
                    for chunk in held:
                        yield chunk
                    error.usage = spent
                    raise
                tell(RetryScheduled, attempt=attempt + 1, seconds=pause)
            await self._sleep(pause)

    def _pause(self, attempt: int, error: ProviderError) -> float | None:
        """Seconds to wait after this try; None when there is no other."""
        if not error.retryable or attempt >= self._attempts:
            return None
        pause = self._random() * min(self._max_wait, self._base * 2.0 ** min(attempt - 1, 100))
        if error.retry_after is None:
            return pause
        # Written so that a NaN is no pause either.
        return max(pause, error.retry_after) if error.retry_after <= self._max_wait else None
