"""The one thread of a process that writes to a ledger.

Calls of any thread and event loop put what is to be done into its queue; what lies there is done in one transaction.
The queue may be put into from a finaliser. Who waits for an answer is woken in its own event loop. anyio's threads
would not do: forty tools in threads that each make a metered call would wait for a forty-first.
"""

from __future__ import annotations

import atexit
import logging
import os
import queue
import sqlite3
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from penstock.core.errors import LedgerError, ProviderError
from penstock.core.scope import new_id
from penstock.meter.schema import connect, failed, open_file
from penstock.meter.store import Store
from penstock.meter.tasks import Opening, Stop, Task

__all__ = ["Writer", "let_go", "use", "writer_of"]

T = TypeVar("T")

# Of one row, and not of the file.
_ALONE: Final = (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError, sqlite3.DataError)
_RENEW: Final = 10.0
"""Seconds between two words that this process lives, a sixth of what it takes to be thought dead."""
_LOOK: Final = 0.05
"""Seconds after which those who wait look again, as another process may have spent less than it held."""
_AGAIN: Final = 1.0
"""Seconds after which a file that could not be written is tried again."""
_BATCH: Final = 500
"""Tasks of one transaction."""
_KEPT: Final = 20_000
"""Tasks that are kept while the file cannot be written, two a call; after that the oldest are given up."""
_EXIT: Final = 5.0
"""Seconds that a program's end waits for what is left to write."""


class Writer:
    """Writes to one file, or to a database in memory (None), as long as the process lives."""

    def __init__(self, path: str | None, clock: Callable[[], float]) -> None:
        """Raises LedgerError and ConfigError for a file that cannot be a ledger."""
        self.path = path
        self._owner = new_id()
        self._now = lambda: int(clock() * 1_000_000)
        self._open()
        self._tasks: queue.SimpleQueue[Task[Any]] = queue.SimpleQueue()
        self._kept: deque[Task[Any]] = deque()
        self._waiting: list[Opening] = []
        self.thread: threading.Thread | None = None
        """The thread, while it runs."""
        self._starting = threading.RLock()
        self.busy = threading.Lock()
        """Held while the file is written, and while the process forks: the child would inherit SQLite's locks."""
        self._renewed = -_RENEW
        self._version: tuple[int] | None = None
        self.fault: LedgerError | None = None
        """Why the file could not be written the last time, None while it can."""
        self.given_up = 0
        """How many tasks could not be kept any more."""

    @property
    def behind(self) -> int:
        """How many tasks are kept until the file can be written."""
        return len(self._kept) + (0 if self.fault is None else self._tasks.qsize())

    def put(self, task: Task[Any]) -> None:
        """Have it done. From any thread, and from a finaliser."""
        self._tasks.put(task)
        if task.keep and self.fault is not None:
            task.finish()  # it is kept, and who waited for the file once need not again
        if self.thread is None:
            self._start()

    def read(self, run: Callable[[sqlite3.Connection], T]) -> Task[T]:
        """A task that reads: from a file while others write, from a database in memory in its turn."""
        task: Task[T] = Task(lambda store: run(self._connection))
        if self.path is None:
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
        if not self._closed:
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

    def _open(self) -> None:
        self._connection = open_file(self.path)
        self._store = Store(self._connection, self._owner, self._now)
        self._file = self._identity()
        self._closed = False

    def _identity(self) -> tuple[int, int] | None:
        found = None if self.path is None else Path(self.path).stat()
        return None if found is None else (found.st_dev, found.st_ino)

    def _read(self, task: Task[T], run: Callable[[sqlite3.Connection], T]) -> None:
        try:
            connection = connect(self.path)
            try:
                task.value = run(connection)
            finally:
                connection.close()
        except sqlite3.Error as error:
            task.error = failed(self.path, error)
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
            self._end()
        finally:
            with self._starting:
                self.thread = None
                _running.discard(self)
            if stop is not None:
                stop.finish()
            if self._waiting or not self._tasks.empty():
                self._start()

    def _end(self) -> None:
        with suppress(sqlite3.Error):
            self._store.leave()
        self._connection.close()
        self._closed = True
        waiting, self._waiting = self._waiting, []
        for task in waiting:
            task.call.ticket = None  # it has left with the process
            task.finish(LedgerError("the ledger was closed while the call waited for its budget"))

    def _next(self) -> tuple[list[Task[Any]], Stop | None]:
        """What came, and the word to end if that came too; nothing if it is time to look at what is there."""
        pause = _LOOK if self._waiting else _AGAIN if self._kept else _RENEW
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
        todo = [*self._kept, *tasks, *line]
        for task in todo:
            task.mark()
        try:
            if not (tasks or self._kept or renews or self._may_go_on()):
                return
            if self._closed:  # something came after the end
                self._open()
            if self._identity() != self._file:
                raise OSError("another file is in its place")
            self._connection.execute("BEGIN IMMEDIATE")
            if renews:
                self._store.renew()
            ends = [self._run(task) for task in (*self._kept, *tasks)] + self._go_on(line, now)
            self._connection.execute("COMMIT")
        except BaseException as error:  # noqa: BLE001 - nobody may wait for ever because of it
            self._failed(error, [*self._kept, *tasks])
            return
        if self._store.has_space:
            with suppress(sqlite3.Error):  # another time
                self._connection.executescript(f"PRAGMA incremental_vacuum({_BATCH})")
            self._store.has_space = False
        self._renewed = now if renews else self._renewed
        self._kept.clear()
        self.fault = None
        self._waiting = [task for task, over in zip(todo, ends, strict=True) if not over and isinstance(task, Opening)]
        for task, over in zip(todo, ends, strict=True):
            if over:
                task.finish()
            elif not task.waits and task.wake is not None:
                task.waits = True
                task.wake()

    def _go_on(self, line: list[Opening], now: float) -> list[bool]:
        """Which of those who wait are over. Who stands behind one that has to wait is not asked: there may be many."""
        before = set[tuple[str, str | None]]()
        ends = []
        for task in line:
            asked = task.gone or task.until <= now or before.isdisjoint(task.lanes)
            ends.append(asked and self._run(task))
            if not ends[-1]:
                before |= task.lanes
        return ends

    def _run(self, task: Task[Any]) -> bool:
        """Do one; whether it is over. What is wrong with it alone stops no other."""
        try:
            return task.run(self._store)
        except ProviderError as error:
            task.error = error
        except Exception as error:
            if isinstance(error, sqlite3.Error) and not isinstance(error, _ALONE):
                raise
            task.error = error
            logging.getLogger("penstock").exception("a ledger could not book a call")
        return True

    def _may_go_on(self) -> bool:
        """Whether somebody who waits has waited for long enough, or another process has written."""
        if not self._waiting:
            return False
        version = self._connection.execute("PRAGMA data_version").fetchone()
        changed, self._version = version != self._version, version
        return changed or any(task.until <= time.monotonic() for task in self._waiting)

    def _failed(self, error: BaseException, todo: list[Task[Any]]) -> None:
        """Nothing was written. What can be kept is, and its callers go on; the others are told."""
        if not isinstance(error, sqlite3.Error | OSError):
            logging.getLogger("penstock").error("a ledger could not be written", exc_info=error)
        with suppress(sqlite3.Error):
            self._connection.execute("ROLLBACK")
        self.fault = failed(self.path, error)
        self._kept.clear()
        for task in [*todo, *self._waiting]:
            task.undo()
        now = time.monotonic()
        late = [task for task in self._waiting if task.until <= now]
        self._waiting = [task for task in self._waiting if task.until > now]
        for task in [*todo, *late]:
            if task.keep:
                self._kept.append(task)
                task.finish()
            else:
                task.finish(self.fault)
        while len(self._kept) > _KEPT:
            self._kept.popleft()
            self.given_up += 1


_writers: dict[str, Writer] = {}
# Those with a thread: also the ones that nobody uses any more, and that write what is left.
_running: set[Writer] = set()
_ended: list[bool] = []
"""Not empty once Python ends."""
_users: Counter[str] = Counter()
_registry = threading.RLock()
# Of the process that this one was forked from. Closing its connections here would spoil its files.
_inherited: list[object] = []


def writer_of(key: str, path: str | None, clock: Callable[[], float]) -> Writer:
    """The process's writer for a ledger, whose *key* is the file or, in memory, its own. Raises as Writer does."""
    with _registry:
        found = _writers.get(key)
        if found is None:
            found = _writers[key] = Writer(path, clock)
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
