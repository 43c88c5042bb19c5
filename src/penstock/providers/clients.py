"""An SDK's clients, of which there is one for each event loop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from weakref import WeakSet

import anyio

from penstock.core.waking import is_over, running_loop
from penstock.providers.answers import CLOSE
from penstock.providers.exchange import SDKClient

__all__ = ["Clients"]


class Clients:
    """Makes the client of an event loop when it is needed, and closes it."""

    failures: tuple[type[Exception], ...] = ()
    """What the HTTP client raises, once that is known; before it there is no client."""

    def __init__(self, make: Callable[[], SDKClient], *, lent: bool) -> None:
        """lent: they are the caller's, and stay open."""
        self._make = make
        self._lent = lent
        # The client of the loop that ran last in this thread. It is let go of with its loop's successor: a table of
        # loops would keep each loop alive, as its client knows it.
        self._local = threading.local()
        # Those of all loops: a thread that ends drops its own.
        self._open: WeakSet[SDKClient] = WeakSet()

    @property
    def are_open(self) -> bool:
        """Whether there is one, in whatever event loop. Any thread may ask."""
        return bool(self._open)

    @property
    def held(self) -> SDKClient | None:
        """This event loop's client, if it has one already."""
        token, client = getattr(self._local, "held", (None, None))
        return client if token == running_loop() else None

    async def get(self) -> SDKClient:
        """This event loop's client."""
        if (client := self.held) is not None:
            return client
        await self._let_go()
        if (client := self.held) is None:  # another call may have made it meanwhile
            client = self._make()
            self._local.held = (running_loop(), client)
            self._open.add(client)
        return client

    async def aclose(self) -> None:
        """Close this event loop's client, or what an ended one of this thread has left."""
        token, _ = getattr(self._local, "held", (None, None))
        if token == running_loop() or (token is not None and is_over(token)):
            await self._let_go()

    async def _let_go(self) -> None:
        """Close the client that is held, as far as that is possible.

        The sockets of an earlier loop's cannot be closed in order any more. But left to itself the SDK's client would
        try to in this loop, when it is collected, and asyncio would print what comes of it.
        """
        _, client = getattr(self._local, "held", (None, None))
        if client is not None:
            del self._local.held
            self._open.discard(client)
            if self._lent:
                return
            with suppress(RuntimeError, TypeError, AttributeError, *self.failures):
                with anyio.move_on_after(CLOSE, shield=True):
                    await client.close()
