"""Lets so many streams run at once, and no more."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncGenerator, Callable, Sequence

import anyio

from penstock.core.chunks import Chunk
from penstock.core.closing import aclosing
from penstock.core.errors import StoreError
from penstock.core.messages import Message, Options
from penstock.core.provider import BaseProvider
from penstock.core.scope import in_scope
from penstock.core.validation import check_count
from penstock.middleware.events import Listener, Refused, Waiting
from penstock.middleware.limit_store import LimitStore, Verdict, account_name, check_store
from penstock.middleware.listeners import Telling, check_listener
from penstock.middleware.per_loop import PerLoop
from penstock.middleware.wrapper import Wrapper

__all__ = ["Concurrency"]


class Concurrency(Wrapper):
    """At most *limit* streams at once in each event loop; the others wait, and the first to come is the first served.

    A stream holds its place until it ends or is closed. Who makes a call through the same one while reading a stream of
    it takes a second place, and with a limit of 1 waits for ever.

    store: counts the places for all processes that share it, event loops of one included; None: each loop has its own.
    name: what is counted together in the store; None for all with the same host, key and limit. Where processes give
    one name other limits, the smallest holds.

    listener: told of Waiting and Refused, and of StoreLost and StoreBack.
    """

    def __init__(
        self,
        inner: BaseProvider,
        limit: int,
        *,
        store: LimitStore | None = None,
        name: str | None = None,
        listener: Listener | None = None,
    ) -> None:
        super().__init__(inner, limit=limit, store=store, name=name)
        self._limit = check_count("limit", limit)
        self._store = check_store(store, name)
        self._name = name or (account_name(inner, str(limit)) if self._store is not None else "")
        self._lines = PerLoop(anyio.Lock)
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
        place = None
        try:
            if not places.value:
                self._waiting.add(call)
                Telling(self._listener, scope, self).tell(Waiting, on="concurrency")
            await places.acquire()
            try:
                if self._store is not None:
                    place = await self._place(self._store, call, Telling(self._listener, scope, self).tell)
            except BaseException:
                places.release()
                raise
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
            if self._store is not None:
                self._store.give_back(place)

    async def _place(self, store: LimitStore, call: object, tell: Callable[..., object]) -> object:
        """Wait for a place in the store; the first in the line of each loop asks for one."""
        begun = time.monotonic()
        async with self._lines.get():
            while True:
                found = await self._asked(store, time.monotonic() - begun, tell)
                if found.ticket is not None:
                    return found.ticket
                if call not in self._waiting:
                    self._waiting.add(call)
                    tell(Waiting, on="concurrency")
                await anyio.sleep(found.seconds * random.uniform(0.5, 1.0))  # noqa: S311 - no secret

    async def _asked(self, store: LimitStore, waited: float, tell: Callable[..., object]) -> Verdict:
        try:
            try:
                return await store.take(self._name, self._limit, waited)
            finally:
                for kind, facts in store.news():
                    tell(kind, **facts)
        except StoreError as error:
            tell(Refused, error=error)
            raise
