"""How a thread wakes a task of whatever event loop, and whether a loop has ended."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import anyio
    from anyio.lowlevel import EventLoopToken

__all__ = ["is_over", "running_loop", "waker"]


def running_loop() -> EventLoopToken:
    """The event loop that runs, to be told from others by `==`. It is no longer held than what is returned."""
    from anyio.lowlevel import current_token  # here and not above: a tenth of what `import penstock` would cost

    return current_token()


def waker(event: anyio.Event) -> Callable[[], None]:
    """What sets *event*, which belongs to the running loop, from any thread. Once the loop is over it does nothing."""
    loop: Any = running_loop().native_token
    later = getattr(loop, "call_soon_threadsafe", None) or loop.run_sync_soon  # asyncio's, else trio's

    def wake() -> None:
        with suppress(RuntimeError):  # the loop is over, and nobody waits any more
            later(event.set)

    return wake


def is_over(token: EventLoopToken) -> bool:
    """Whether a loop has ended in whose thread another runs now."""
    is_closed = getattr(token.native_token, "is_closed", lambda: True)  # trio's ends before another begins
    return bool(is_closed())
