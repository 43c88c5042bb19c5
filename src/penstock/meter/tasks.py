"""What is put into the queue of the thread that writes to a ledger."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, TypeVar

from penstock.core.errors import ProviderError
from penstock.meter.budget import bucket_of
from penstock.meter.store import Call, Store

__all__ = ["Opening", "Stop", "Task"]

T = TypeVar("T")


class Task(Generic[T]):
    """Something to be done in a transaction. wake: called once it is; `result` gives what came of it."""

    def __init__(self, run: Callable[[Store], T], *, keep: bool = False) -> None:
        """keep: whether it is kept until the file can be written; otherwise it fails then."""
        self._run = run
        self.keep = keep
        self.wake: Callable[[], None] | None = None
        self.error: Exception | None = None
        self.value: T | None = None
        self.is_over = False
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
        self.until = time.monotonic() + max_wait
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
        try:
            return store.open(self.call, last=time.monotonic() >= self.until)
        except ProviderError:
            store.forgo(self.call)
            raise

    def undo(self) -> None:
        """See Task."""
        self.call.row, self.call.ticket, self.call.max_tokens = self._before


class Stop(Task[None]):
    """The word to end."""
