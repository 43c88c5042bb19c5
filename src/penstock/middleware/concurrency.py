"""Lets so many streams run at once, and no more."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

import anyio

from penstock.core.chunks import Chunk
from penstock.core.closing import aclosing
from penstock.core.messages import Message, Options
from penstock.core.provider import BaseProvider
from penstock.core.validation import check_count
from penstock.middleware.per_loop import PerLoop
from penstock.middleware.wrapper import Wrapper

__all__ = ["Concurrency"]


class Concurrency(Wrapper):
    """At most *limit* streams at once in each event loop; the others wait, and the first to come is the first served.

    A stream holds its place until it ends or is closed. Who makes a call through the same one while reading a stream of
    it takes a second place, and with a limit of 1 waits for ever.
    """

    def __init__(self, inner: BaseProvider, limit: int) -> None:
        super().__init__(inner, limit=limit)
        check_count("limit", limit)
        # A semaphore, as a generator may be closed by another task than the one that began it.
        self._places = PerLoop(lambda: anyio.Semaphore(limit))

    async def create_message(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """See BaseProvider."""
        places = self._places.get()
        await places.acquire()
        try:
            async with aclosing(self._inner.create_message(system_prompt, messages, options)) as chunks:
                async for chunk in chunks:
                    yield chunk
        finally:
            places.release()
