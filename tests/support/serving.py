"""An emulator for tests that have no event loop: it runs in a thread of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from anyio.from_thread import BlockingPortal, start_blocking_portal

from patience import until
from penstock.testing import Emulator, Request, ServerReply

__all__ = ["Served", "serving"]


class Served:
    """An emulator. url: as its own. Each wait ends with a TimeoutError."""

    def __init__(self, portal: BlockingPortal, emulator: Emulator) -> None:
        self._portal = portal
        self.emulator = emulator
        self.url = emulator.url

    def until(self, holds: Callable[[], object]) -> None:
        """Wait for what other threads bring about."""
        self._portal.call(until, holds)

    def asked(self) -> None:
        """Wait for the first request."""
        self.until(lambda: self.emulator.exchanges)

    def hung_up(self) -> None:
        """Wait until the client has closed the connection of the last request before the reply ended."""
        self.asked()
        self.until(self.emulator.exchanges[-1].hung_up.is_set)


@contextmanager
def serving(*replies: ServerReply | Callable[[Request], ServerReply]) -> Iterator[Served]:
    """An emulator that plays *replies* until it is left."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(Emulator(*replies)) as emulator:
        yield Served(portal, emulator)
