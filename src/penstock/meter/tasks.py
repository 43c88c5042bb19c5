"""What is put into the queue of the thread that writes to a ledger."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, TypeVar

from penstock.core.errors import ProviderError
from penstock.meter.budget import bucket_of
from penstock.meter.store import Call, Store

__all__ = ["Opening", "Stop", "Task", "go_on"]

T = TypeVar("T")


class Task(Generic[T]):
    """Something to be done in a transaction. wake: called once it is; `result` gives what came of it."""

    def __init__(self, run: Callable[[Store], T], *, keep: bool = False) -> None:
        """keep: whether it is kept until the ledger can be written; otherwise it fails while it cannot."""
        self._run = run
        self.keep = keep
        self.wake: Callable[[], None] | None = None
        self.error: Exception | None = None
        self.value: T | None = None
        self.is_over = False
        self.is_bad = False
        """It cannot be done, and the database said so."""
        self.waits = False
        """Whether it has to wait for others; who waits for it is woken once for that."""

    def run(self, store: Store) -> bool:
        """Do it; whether it is over."""
        self.value = self._run(store)
        return True

    def mark(self) -> None:
        """A transaction begins."""

    def undo(self) -> None:
        """It was rolled back."""
        self.error = self.error if self.is_bad else None

    def finish(self, error: Exception | None = None) -> None:
        """Wake whoever waits."""
        self.error = self.error or error
        if not self.is_over:
            self.is_over = True
            if self.wake is not None:
                self.wake()

    def result(self) -> T:
        """What came of it, or the error raised."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]


class Opening(Task[None]):
    """A call that wants to begin. max_wait: seconds that it waits, at most, for dollars that others hold."""

    def __init__(self, call: Call, max_wait: float, *, keep: bool) -> None:
        super().__init__(lambda store: None, keep=keep)
        self.call = call
        self._since = time.monotonic()
        self.until = self._since + max_wait
        self.gone = False
        self.lanes = {
            (each.family, bucket_of(each.per, each.by, call.facts)) for each in call.budgets if each.per != "call"
        }
        """Where it stands in a line, if it has to wait."""
        self.mark()

    def mark(self) -> None:
        """See Task."""
        self._before = self.call.row, self.call.ticket, self.call.max_tokens

    def run(self, store: Store) -> bool:
        """See Task; False while it has to wait."""
        if self.gone:
            store.withdraw(self.call)
            return True
        now = time.monotonic()
        try:
            return store.open(self.call, now - self._since, last=now >= self.until)
        except ProviderError:
            store.forgo(self.call)
            raise

    def undo(self) -> None:
        """See Task."""
        super().undo()
        self.call.row, self.call.ticket, self.call.max_tokens = self._before


def go_on(line: list[Opening], now: float, run: Callable[[Opening], bool]) -> list[bool]:
    """Which of those who wait are over. Who stands behind one that has to wait is not asked: there may be many."""
    before = set[tuple[str, str | None]]()
    ends = []
    for task in line:
        asked = task.gone or task.until <= now or before.isdisjoint(task.lanes)
        ends.append(asked and run(task))
        if not ends[-1]:
            before |= task.lanes
    return ends


class Stop(Task[None]):
    """The word to end."""
