"""What a call could leave behind: tasks, sockets, file descriptors."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import trio

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
    await anyio.sleep(0.01)
    before = tasks(), descriptors()
    yield
    gc.collect()
    await anyio.sleep(0.05)
    assert (tasks(), descriptors()) == before
