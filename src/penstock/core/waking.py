"""How a thread wakes a task of whatever event loop, and whether a loop has ended."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import anyio
import anyio.lowlevel

__all__ = ["is_over", "waker"]


def waker(event: anyio.Event) -> Callable[[], None]:
    """What sets *event*, which belongs to the running loop, from any thread. Once the loop is over it does nothing."""
    loop: Any = anyio.lowlevel.current_token().native_token
    later = getattr(loop, "call_soon_threadsafe", None) or loop.run_sync_soon  # asyncio's, else trio's

    def wake() -> None:
        with suppress(RuntimeError):  # the loop is over, and nobody waits any more
            later(event.set)

    return wake


def is_over(token: anyio.lowlevel.EventLoopToken) -> bool:
    """Whether a loop has ended in whose thread another runs now."""
    is_closed = getattr(token.native_token, "is_closed", lambda: True)  # trio's ends before another begins
    return bool(is_closed())
