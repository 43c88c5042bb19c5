"""A thread with an event loop of its own, which lives as long as the process: of a forked one it is not there."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Coroutine
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    import asyncio

__all__ = ["Background", "OfProcess"]

T = TypeVar("T")


class Background:
    """Runs *serve* in a thread, and tells it by an event that Python ends; that waits *leaving* seconds at most."""

    def __init__(self, name: str, serve: Callable[[asyncio.Event], Coroutine[object, object, None]], leaving: float):
        import asyncio  # here and not above: a fifth of what `import penstock` would cost

        self._leaving = leaving
        self.loop = asyncio.new_event_loop()
        self.ending = asyncio.Event()
        self.thread = threading.Thread(target=self._run, args=(serve,), name=name, daemon=True)
        self.thread.start()
        # A thread that still runs when Python takes itself apart would leave its sockets to complain.
        atexit.register(self.stop)

    def _run(self, serve: Callable[[asyncio.Event], Coroutine[object, object, None]]) -> None:
        with suppress(ImportError):  # where trio is, so is this, and a caller's context may say that we are in trio
            import sniffio

            sniffio.thread_local.name = "asyncio"
        # Not asyncio.run: at its end it starts a thread, which Python 3.12 refuses while it ends itself.
        with closing(self.loop) as loop:
            loop.run_until_complete(serve(self.ending))

    def stop(self) -> None:
        """End it, and wait for that."""
        atexit.unregister(self.stop)
        if self.thread.is_alive():  # not so in a process that was forked
            with suppress(RuntimeError):  # it has ended meanwhile
                self.loop.call_soon_threadsafe(self.ending.set)
            self.thread.join(self._leaving)

    def is_here(self) -> bool:
        """Whether the caller runs in this very thread, in which nothing may wait for it."""
        return threading.current_thread() is self.thread


class OfProcess(Generic[T]):
    """What *make* gives, once in each process. made: None until it is asked for, and again in a forked process."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._forget()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self.made: T | None = None
        self._lock = threading.Lock()

    def get(self) -> T:
        """That of this process, made now if there is none yet."""
        with self._lock:
            if self.made is None:
                self.made = self._make()
            return self.made
