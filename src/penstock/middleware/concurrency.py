"""Lets so many streams run at once, and no more."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

import anyio

from penstock.core.chunks import Chunk
from penstock.core.closing import aclosing
from penstock.core.messages import Message, Options
from penstock.core.provider import BaseProvider
from penstock.core.scope import in_scope
from penstock.core.validation import check_count
from penstock.middleware.events import Listener, Waiting
from penstock.middleware.listeners import Telling, check_listener
from penstock.middleware.per_loop import PerLoop
from penstock.middleware.wrapper import Wrapper

__all__ = ["Concurrency"]


class Concurrency(Wrapper):
    """At most *limit* streams at once in each event loop; the others wait, and the first to come is the first served.

    A stream holds its place until it ends or is closed. Who makes a call through the same one while reading a stream of
    it takes a second place, and with a limit of 1 waits for ever.

    listener: told of Waiting.
    """

    def __init__(self, inner: BaseProvider, limit: int, *, listener: Listener | None = None) -> None:
        super().__init__(inner, limit=limit)
        check_count("limit", limit)
        self._listener = None if listener is None else check_listener(listener)
        # A semaphore, as a generator may be closed by another task than the one that began it.
        self._places = PerLoop(lambda: anyio.Semaphore(limit))
        # A set is added to in one step, so that loops of other threads may do it too.
        self._running: set[object] = set()
        self._waiting: set[object] = set()

    @property
    def running(self) -> int:
        """How many streams run, in all event loops. Any thread may ask."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """How many wait for a place, in all event loops. Any thread may ask."""
        return len(self._waiting)

    async def create_message(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """See BaseProvider."""
        options, scope = in_scope(options or Options())
        places = self._places.get()
        call = object()
        try:
            if not places.value:
                self._waiting.add(call)
                Telling(self._listener, scope, self).tell(Waiting, on="concurrency")
            await places.acquire()
        finally:
            self._waiting.discard(call)
        self._running.add(call)
        try:
            async with aclosing(self._inner.create_message(system_prompt, messages, options)) as chunks:
                async for chunk in chunks:
                    yield chunk
        finally:
            self._running.discard(call)
            places.release()
