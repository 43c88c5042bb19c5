"""Counts what becomes of jobs, and tells whoever wants to see it."""

from __future__ import annotations

import inspect
import logging
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

from penstock.core.chunks import UsageChunk
from penstock.core.errors import ConfigError
from penstock.fleet.jobs import JobResult, Progress

__all__ = ["Tally"]

_OFTEN: Final = 0.1
"""Seconds between two words, but for the last one."""
_LATELY: Final = 200
"""Jobs that the rate is taken of."""


class Tally:
    """Counts one run. progress: told when something has changed, at most ten times a second, and at the end."""

    def __init__(
        self,
        total: int | None,
        progress: Callable[[Progress], object] | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        given: object = progress
        if given is not None and (not callable(given) or inspect.iscoroutinefunction(given)):
            raise ConfigError("`progress` is no plain function, expected one that takes a Progress")
        self.usage = UsageChunk()
        self.running = self.waiting = 0
        self._done = self._failed = self._resumed = 0
        self._total = total
        self._tell = progress
        self._clock = clock
        self._start = clock()
        self._told = float("-inf")
        self._ends = deque[float](maxlen=_LATELY)

    def count(self, result: JobResult) -> None:
        """One more has ended."""
        if result.ok:
            self._done += 1
        else:
            self._failed += 1
        if result.resumed:
            self._resumed += 1
        else:
            self._ends.append(self._clock())

    def now(self, unmatched: int = 0) -> Progress:
        """How far it is."""
        now = self._clock()
        # The first of those that are remembered began before it ended: with few, the time since the start counts.
        since = self._ends[0] if len(self._ends) == _LATELY else self._start
        return Progress(
            done=self._done,
            failed=self._failed,
            running=self.running,
            waiting=self.waiting,
            resumed=self._resumed,
            total=self._total,
            seconds=now - self._start,
            rate=len(self._ends) / (now - since) if now > since else 0.0,
            usage=self.usage,
            unmatched=unmatched,
        )

    def end(self, journal: Path | None, unmatched: int) -> Progress:
        """Tell the last, which is given back, and warn of jobs that only the journal has. unmatched: how many."""
        if unmatched:
            logging.getLogger("penstock").warning(
                "the journal %s has %d jobs that this run did not have: if prompts or options were changed, those jobs "
                "have been paid again",
                journal,
                unmatched,
            )
        last = self.now(unmatched)
        self.tell(last)
        return last

    def tell(self, last: Progress | None = None) -> None:
        """Tell how far it is, unless that was told just now. last: what is told in any case."""
        if self._tell is None or (last is None and self._clock() - self._told < _OFTEN):
            return
        self._told = self._clock()
        try:
            self._tell(last or self.now())
        except Exception:
            self._tell = None  # it would fail for each of a million
            logging.getLogger("penstock").exception("`progress` failed, and is not called again")
