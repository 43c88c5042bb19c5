"""What a call could leave behind: tasks, sockets, file descriptors."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import trio

from patience import PATIENCE

__all__ = ["descriptors", "nothing_left", "tasks"]


def descriptors() -> int:
    """How many file descriptors are open, sockets among them; 0 where nobody says."""
    folder = Path("/proc/self/fd")
    gc.collect()
    return len(list(folder.iterdir())) if folder.is_dir() else 0


def tasks() -> int:
    """How many tasks run in this event loop."""
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:
        return trio.lowlevel.current_statistics().tasks_living


@asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """As many tasks and file descriptors afterwards as before."""
    gc.collect()
    gc.freeze()  # or each of the looks below would go through all that was there before
    await anyio.lowlevel.checkpoint()
    before = tasks(), descriptors()
    yield
    # The other side of a connection learns a little later that it is closed.
    with anyio.move_on_after(PATIENCE):
        while (tasks(), descriptors()) != before:  # noqa: ASYNC110 - nobody tells of it
            await anyio.sleep(0.01)
    assert (tasks(), descriptors()) == before
