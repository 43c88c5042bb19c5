"""Tasks that belong to no group: what stands between two steps of a generator cannot hold one open."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from contextvars import copy_context
from typing import Any, Final

import anyio

__all__ = ["Beside", "start_alone"]

_TO_STOP: Final = 1.0  # seconds that what is cancelled has to end


def start_alone(work: Callable[[], Coroutine[Any, Any, None]]) -> object:
    """Start a task that ends with the event loop, in a copy of the caller's context; on trio nothing may get out of it.

    What is returned is to be kept, as asyncio forgets the task else.
    """
    import asyncio  # here and not above: a fifth of what `import penstock` would cost

    try:
        return asyncio.get_running_loop().create_task(work())
    except RuntimeError:
        import trio

        return trio.lowlevel.spawn_system_task(work, context=copy_context())


class Beside:
    """A task beside a generator, which works on what comes one by one; of it nothing may get out."""

    def __init__(self, work: Callable[[Beside], Awaitable[None]]) -> None:
        self._work = work
        self._scope = anyio.CancelScope()
        self._task: object = None  # None until there is something to do
        self._there = 0  # how much has come
        self._is_all = False
        self._news = anyio.Event()
        self._done = anyio.Event()

    def more(self) -> None:
        """One more has come."""
        self._there += 1
        if self._task is None:
            self._task = start_alone(self._own)
        self._news.set()

    async def has(self, number: int) -> bool:
        """Wait for the one of that number; False if it does not come any more."""
        from anyio.lowlevel import checkpoint  # here and not above: a tenth of what `import penstock` would cost

        while number >= self._there:
            if self._is_all:
                return False
            self._news = anyio.Event()
            await self._news.wait()
        await checkpoint()  # it may have been stopped since it came: then nothing begins any more
        return True

    async def finish(self) -> None:
        """Wait until all that has come is done."""
        self._is_all = True
        self._news.set()
        if self._task is not None:
            await self._done.wait()

    async def stop(self) -> None:
        """Cancel what is not done."""
        if self._task is not None and not self._done.is_set():
            self._scope.cancel()
            with anyio.move_on_after(_TO_STOP, shield=True):
                await self._done.wait()

    async def _own(self) -> None:
        try:
            with self._scope:
                await self._work(self)
        finally:
            self._done.set()
