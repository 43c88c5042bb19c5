"""Places for streams that many processes share: a lease for each, renewed as long as its stream runs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from penstock.fleet.redis_link import AwayError, Link
from penstock.fleet.redis_scripts import PLACES, State
from penstock.middleware.limit_store import Verdict

__all__ = ["Place", "Places"]

_SOON: Final = 0.02
"""Seconds for which places that are free wait for each other; who waits elsewhere waits for them."""
_LOOK_AGAIN: Final = 0.25
"""Seconds after which who found no place asks again, while Redis is away."""


class Place(NamedTuple):
    """A place that a stream has."""

    places: Places
    name: str

    def __del__(self) -> None:
        # A stream that outlives its event loop is never closed: this is all that is left of it.
        self.places.release(self.name)


class Places:
    """One name. All of it runs in the thread of the link."""

    lease = 30.0
    """Seconds after which a place is free whose process has not been heard of."""
    renewal = 10.0
    """Seconds after which it is heard of again."""

    def __init__(self, link: Link, name: str, keys: Sequence[str]) -> None:
        self.link = link
        self._name = name
        self._keys = keys
        self._limit = 1
        self._held: set[str] = set()
        self._freed: list[str] = []
        self._count = 0
        self._bound = 1  # of this process and others, the smallest
        self._processes: int | None = None
        self._due: asyncio.TimerHandle | None = None
        self._renewal: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    async def take(self, limit: int, waited: float) -> Verdict:
        """See LimitStore. Raises StoreError."""
        self._limit = min(limit, self._limit) if self._held else limit
        self._count += 1
        name = f"{self.link.me}:{self._count}"
        try:
            found = await self._ask({"take": name, "waited": int(waited * 1000)})
        except AwayError:
            if not self.link.is_local or self._processes is None:
                raise self.link.error() from None
            if len(self._held) >= max(1, self._bound // self._processes):
                return Verdict(None, _LOOK_AGAIN)
        else:
            if found[0] != State.DONE:
                return Verdict(None, found[4] / 1000)
        self._held.add(name)
        self._renew_later()
        return Verdict(Place(self, name))

    def release(self, name: str) -> None:
        """See LimitStore. From any thread, and from a finaliser."""
        self.link.soon(lambda: self._free(name))

    def _free(self, name: str) -> None:
        if name not in self._held:
            return
        self._held.remove(name)
        self._freed.append(name)
        if not self._held and self._renewal is not None:
            self._renewal.cancel()
            self._renewal = None
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(_SOON, self._tell_freed)

    async def close(self) -> None:
        """Free all places."""
        self._freed += self._held
        self._held.clear()
        if self._freed:
            await self._tell()

    def _tell_freed(self) -> None:
        self._due = None
        if self._freed:  # else another call has taken them along
            self._task = asyncio.create_task(self._tell())

    def _renew_later(self) -> None:
        if self._renewal is None:
            self._renewal = asyncio.get_running_loop().call_later(self.renewal, self._begin_renewal)

    def _begin_renewal(self) -> None:
        self._renewal = None
        if self._held:
            self._renew_later()
            self._task = asyncio.create_task(self._tell())

    async def _tell(self) -> None:
        with suppress(AwayError):  # what is not freed is not renewed either
            await self._ask({})

    async def _ask(self, more: dict[str, object]) -> list[int]:
        if self.link.away > 0:
            raise AwayError
        free, self._freed = self._freed, []
        keep = list(self._held)
        found = await self.link.ask(
            PLACES,
            self._keys,
            limits=[self._limit, -1],
            seq=0,
            lease=int(self.lease * 1000),
            keep=keep,
            free=free,
            **more,
        )
        self._processes, self._bound = found[6], found[7]
        self.link.compare(self._name, self._limit, self._bound)
        # One that was freed while its lease was renewed would stay until that ends.
        self._freed += [name for name in keep if name not in self._held and name not in self._freed]
        return found
