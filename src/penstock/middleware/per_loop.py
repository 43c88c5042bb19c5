"""Locks and semaphores belong to the event loop in which they wait; a middleware may outlive several."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from penstock.core.waking import running_loop

__all__ = ["PerLoop"]

T = TypeVar("T")


class PerLoop(Generic[T]):
    """One value for the event loop that runs; a new one for the next."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        # That of the loop that ran last in this thread: a table of loops would keep each of them alive.
        self._local = threading.local()

    def get(self) -> T:
        """The value of the running loop."""
        token = running_loop()
        held: tuple[object, T] | None = getattr(self._local, "held", None)
        if held is None or held[0] != token:
            held = self._local.held = (token, self._make())
        return held[1]
