"""The one thread of a process that writes to a ledger.

Calls of any thread and event loop put what is to be done into its queue; what lies there is done in one transaction.
The queue may be put into from a finaliser. Who waits for an answer is woken in its own event loop. anyio's threads
would not do: forty tools in threads that each make a metered call would wait for a forty-first.
"""

from __future__ import annotations

import atexit
import copy
import logging
import os
import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

from penstock.core.errors import LedgerError, ProviderError
from penstock.core.scope import new_id
from penstock.meter.place import Database, Place
from penstock.meter.store import Store
from penstock.meter.tasks import Opening, Stop, Task, go_on

__all__ = ["Writer", "let_go", "use", "writer_of"]

T = TypeVar("T")

_RENEW: Final = 10.0
"""Seconds between two words that this process lives, a sixth of what it takes to be thought dead."""
_AGAIN: Final = 1.0
"""Seconds after which a place that could not be written is tried again."""
_BATCH: Final = 500
"""Tasks of one transaction."""
_PORTION: Final = 500
"""Kept tasks of one transaction."""
_KEPT: Final = 20_000
"""Tasks that are kept while the place cannot be written, two a call; after that the oldest are given up."""
_EXIT: Final = 5.0
"""Seconds that a program's end, or whoever closes a ledger, waits for what is left to write."""


class _SpoiltError(Exception):
    """One task has spoilt the transaction of all."""


class Writer:
    """Writes to one place, a file or a server's schema or memory, as long as the process lives."""

    def __init__(self, place: Place, clock: Callable[[], float] | None) -> None:
        """clock: seconds since 1970; None for the place's own. Raises as Place does, unless that is opened late."""
        self.place = place
        self._owner = new_id()
        self._clock = clock
        self._connection: Database | None = None
        if not place.is_late:
            self._open()
        self._tasks: queue.SimpleQueue[Task[Any]] = queue.SimpleQueue()
        self._kept: deque[Task[Any]] = deque()
        self._pause = _AGAIN
        """Seconds until what is kept is tried again."""
        self._waiting: list[Opening] = []
        self.thread: threading.Thread | None = None
        """The thread, while it runs."""
        self._starting = threading.RLock()
        self.busy = threading.Lock()
        """Held while the ledger is written, and while the process forks: the child would inherit SQLite's locks."""
        self._renewed = -_RENEW
        self.fault: LedgerError | None = None
        """Why the place could not be written the last time, None while it can."""
        self._has_written = False
        self.is_mistaken = False
        """It is a fault that does not pass by itself, in a place that was never written: nothing is kept for it."""
        self.given_up = 0
        """How many tasks could not be kept any more."""

    @property
    def behind(self) -> int:
        """How many tasks are kept until the place can be written."""
        return len(self._kept) + (0 if self.fault is None else self._tasks.qsize())

    @property
    def goes_on(self) -> bool:
        """Whether who writes need not wait: what cannot be written now is kept."""
        return self.fault is not None and not self.is_mistaken

    def put(self, task: Task[Any]) -> None:
        """Have it done. From any thread, and from a finaliser."""
        self._tasks.put(task)
        if task.keep and self.goes_on:
            task.finish()  # it is kept, and who waited for the place once need not again
        if self.thread is None:
            self._start()

    def read(self, run: Callable[[Database], T]) -> Task[T]:
        """A task that reads: beside those who write, but from memory in its turn."""
        task: Task[T] = Task(lambda store: run(self._opened()))
        if self.place.is_memory:
            self.put(task)
        else:
            threading.Thread(target=self._read, args=(task, run), name="penstock ledger reader", daemon=True).start()
        return task

    def close(self) -> Task[None]:
        """Have what is left written, and then end; what comes later begins again."""
        stop = Stop(lambda store: None)
        if self.thread is not None:
            self._tasks.put(stop)
            return stop
        self._end()
        stop.finish()
        return stop

    def _start(self) -> None:
        # Made before the look: the garbage collector may come in between, and a finaliser start one.
        thread = threading.Thread(target=self._work, name="penstock ledger", daemon=True)
        with self._starting:
            if self.thread is not None:
                return
            if _ended:  # a thread that is started now never begins, and whoever starts it waits for that
                self._do(self._all())
                return
            self.thread = thread
            _running.add(self)
            try:
                thread.start()
            except RuntimeError as error:
                self.thread = None
                _running.discard(self)
                if "shutdown" in str(error):  # as above, but Python 3.12 says so sooner
                    self._do(self._all())
                else:  # the system has no threads left
                    self._failed(error, [*self._kept, *self._all()])

    def _all(self) -> list[Task[Any]]:
        return [self._tasks.get() for _ in range(self._tasks.qsize())]

    def _open(self) -> Database:
        connection = self._connection = self.place.open()
        clock = self._clock
        now = connection.now if clock is None else lambda: int(clock() * 1_000_000)
        self._store = Store(connection, self._owner, now)
        return connection

    def _opened(self) -> Database:
        """The connection; a new one after a fault, and when something comes after the end."""
        return self._open() if self._connection is None or self._connection.closed else self._connection

    def _read(self, task: Task[T], run: Callable[[Database], T]) -> None:
        try:
            with self.place.reading() as connection:
                task.value = run(connection)
        except Exception as error:  # noqa: BLE001 - whoever waits for it raises it
            task.error = error
        task.finish()

    def _work(self) -> None:
        stop = None
        try:
            while stop is None:
                tasks, stop = self._next()
                with self.busy:
                    self._do(tasks)
            self._linger(time.monotonic() + _EXIT)
            self._end()
        finally:
            with self._starting:
                self.thread = None
                _running.discard(self)
            if stop is not None:
                stop.finish()
            if self._waiting or not self._tasks.empty():
                self._start()

    def _linger(self, end: float) -> None:
        """Try again for what is kept, for some seconds: nobody will later."""
        while self._kept and time.monotonic() < end:
            time.sleep(self._pause)
            with self.busy:
                self._do([])
        if self._kept:
            logging.getLogger("penstock").error("%d entries of %s are lost", len(self._kept), self.place.name)

    def _end(self) -> None:
        connection = self._connection
        if connection is not None and not connection.closed:
            with suppress(OSError, *self.place.errors):
                connection.begin()
                self._store.leave()
                connection.commit()
            connection.close()
        waiting, self._waiting = self._waiting, []
        for task in waiting:
            task.call.ticket = None  # it has left with the process
            task.finish(LedgerError("the ledger was closed while the call waited for its budget"))

    def _next(self) -> tuple[list[Task[Any]], Stop | None]:
        """What came, and the word to end if that came too; nothing if it is time to look at what is there."""
        pause = min(self._pause if self._kept else _RENEW, self.place.look if self._waiting else _RENEW)
        tasks: list[Task[Any]] = []
        with suppress(queue.Empty):
            task = self._tasks.get(timeout=pause)
            while not isinstance(task, Stop):
                tasks.append(task)
                if len(tasks) == _BATCH:
                    return tasks, None
                task = self._tasks.get_nowait()
            return tasks, task
        return tasks, None

    def _do(self, tasks: list[Task[Any]]) -> None:
        now = time.monotonic()
        renews = now - self._renewed >= _RENEW
        line = sorted(self._waiting, key=lambda each: each.call.ticket or 0)
        tasks = [*self._kept, *tasks]
        # In portions, so that others have their turn between.
        tasks, later = tasks[:_PORTION], tasks[_PORTION:]
        todo = [*tasks, *line]
        for task in todo:
            task.mark()
        ending = False
        try:
            if not (tasks or renews or self._may_go_on()):
                return
            connection = self._opened()
            ends = None
            while ends is None:
                connection.begin()
                self._store.families = None
                if renews:
                    self._store.renew()
                try:
                    ends = [self._run(task) for task in tasks] + go_on(line, now, self._run)
                except _SpoiltError:
                    connection.rollback()
                    for task in todo:
                        task.undo()
            ending = True
            connection.commit()
        except BaseException as error:  # noqa: BLE001 - nobody may wait for ever because of it
            self._pause = _AGAIN
            self._failed(error, [*tasks, *later], undo=not ending)
            return
        if self._store.has_space:
            with suppress(*self.place.errors):  # another time
                connection.shrink(_BATCH)
            self._store.has_space = False
        self._renewed = now if renews else self._renewed
        self._kept, self._pause = deque(later), 0.0
        self._well()
        self._waiting = [task for task, over in zip(todo, ends, strict=True) if not over and isinstance(task, Opening)]
        for task, over in zip(todo, ends, strict=True):
            if over:
                task.finish()
            elif not task.waits and task.wake is not None:
                task.waits = True
                task.wake()

    def _well(self) -> None:
        if self.goes_on and not self._kept:
            logging.getLogger("penstock").warning("the ledger %s is back", self.place.name)
        self.fault, self.is_mistaken, self._has_written = self.fault if self._kept else None, False, True

    def _run(self, task: Task[Any]) -> bool:
        """Do one; whether it is over. What is wrong with it alone stops no other."""
        if task.is_bad:
            return True
        try:
            return task.run(self._store)
        except ProviderError as error:
            task.error = error
        except Exception as error:
            if isinstance(error, self.place.errors) and not isinstance(error, self.place.alone):
                raise
            task.error = self.place.failed(error) if isinstance(error, self.place.errors) else error
            task.is_bad = True
            logging.getLogger("penstock").exception("a ledger could not book a call")
            if isinstance(error, self.place.errors):
                raise _SpoiltError from None
        return True

    def _may_go_on(self) -> bool:
        """Whether somebody who waits has waited for long enough, or another process has written."""
        if not self._waiting:
            return False
        return self._opened().changed() or any(task.until <= time.monotonic() for task in self._waiting)

    def _failed(self, error: BaseException, todo: list[Task[Any]], *, undo: bool = True) -> None:
        """It was not written. What can be kept is, and its callers go on; the others are told.

        undo: False where it may be written all the same. Who comes again then looks for the row.
        """
        if self.fault is None and not isinstance(error, (LedgerError, OSError, *self.place.errors)):
            logging.getLogger("penstock").error("a ledger could not be written", exc_info=error)
        connection, before = self._connection, self.fault
        if connection is not None and not connection.closed:
            with suppress(*self.place.errors):
                connection.rollback(failed=True)
        self.fault = error if isinstance(error, LedgerError) else self.place.failed(error)
        self.is_mistaken = not self._has_written and self.place.is_mistake(error)
        self._kept.clear()
        for task in [*todo, *self._waiting] if undo else ():
            task.undo()
        now = time.monotonic()
        late = [task for task in self._waiting if task.until <= now]
        self._waiting = [task for task in self._waiting if task.until > now]
        for task in [*todo, *late]:
            if task.keep and not self.is_mistaken:
                self._kept.append(task)
                task.finish()
            else:
                task.finish(copy.copy(self.fault))  # who gets it adds to it what its call has used
        while len(self._kept) > _KEPT:
            self._kept.popleft()
            self.given_up += 1
        if before is None and not self.is_mistaken:
            text = "%s; calls go on, and their rows are kept; those with a budget are refused"
            logging.getLogger("penstock").warning(text, self.fault.message)


_writers: dict[str, Writer] = {}
# Those with a thread: also the ones that nobody uses any more, and that write what is left.
_running: set[Writer] = set()
_ended: list[bool] = []
"""Not empty once Python ends."""
_users: Counter[str] = Counter()
_registry = threading.RLock()
# Of the process that this one was forked from. Closing its connections here would spoil its files.
_inherited: list[object] = []


def writer_of(place: Place, clock: Callable[[], float] | None) -> Writer:
    """The process's writer for a place. Raises as Writer does."""
    with _registry:
        found = _writers.get(place.key)
        if found is None:
            found = _writers[place.key] = Writer(place, clock)
        return found


def use(key: str) -> None:
    """Somebody has a ledger with this key."""
    with _registry:
        _users[key] += 1


def let_go(key: str) -> Task[None] | None:
    """Somebody has no more use for it; with the last, its writer ends."""
    with _registry:
        _users[key] -= 1
        if _users[key] > 0:
            return None
        del _users[key]
        writer = _writers.pop(key, None)
    return None if writer is None else writer.close()


_held: list[Writer] = []


def _hold() -> None:
    _held.extend(writer for writer in list(_running) if writer.busy.acquire(timeout=_EXIT))


def _release() -> None:
    while _held:
        _held.pop().busy.release()


def _forget() -> None:
    global _registry
    _inherited.extend([*_writers.values(), *_running])
    _held.clear()
    _writers.clear()
    _running.clear()
    _registry = threading.RLock()


def _close_all() -> None:
    """Write what is left, for a few seconds at most."""
    end = time.monotonic() + _EXIT
    for writer in list(_running):
        thread = writer.thread
        writer.close()
        if thread is not None:
            thread.join(max(0.0, end - time.monotonic()))
    _ended.append(True)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=_forget)
atexit.register(_close_all)
