"""A store in Redis for what many processes may send together."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import Literal, Self
from urllib.parse import quote

import anyio
import anyio.to_thread

from penstock.core.errors import ConfigError
from penstock.fleet.redis_link import CLOSED, Link, address_of, check_url
from penstock.fleet.redis_places import Place, Places
from penstock.fleet.redis_rate import Rate, Spent
from penstock.middleware.limit_store import Limits, News, Verdict

__all__ = ["RedisStore"]

_FORM = 1
"""Stands in the name of each key: another version of Penstock that keeps something else there has other keys."""


class RedisStore:
    """What many processes may send together, counted in Redis. For RateLimit and Concurrency: `store=RedisStore(url)`.

    url: `redis://[:PASSWORD@]HOST[:PORT][/DATABASE]`, `rediss://` with TLS, or `unix://PATH`; a node of a cluster will
    do. prefix: stands before all keys. on_loss: what a process does while Redis does not answer: with `local` it goes
    on with its share, the limit divided by the processes that were seen within the last minute, and with `stop`, or as
    long as it does not know how many there are, calls raise StoreError. Redis has 250 ms for an answer, and is left
    alone for 5 s when it has failed.

    It connects when it is first used, from a thread of its own, and is for all event loops and threads of a process.
    A process that is killed frees its places within 30 s. `async with RedisStore(url) as store` closes it. Raises
    ConfigError.
    """

    def __init__(self, url: str, *, prefix: str = "penstock", on_loss: Literal["local", "stop"] = "local") -> None:
        self._url = check_url(url)
        given: object = prefix
        if not (isinstance(given, str) and given and not set("{}") & set(given)):
            raise ConfigError(f"`prefix` is {given!r}, expected a text without braces")
        if on_loss not in ("local", "stop"):
            raise ConfigError(f"`on_loss` is {on_loss!r}, expected 'local' or 'stop'")
        self._prefix = prefix
        self._is_local = on_loss == "local"
        self._closed = False
        self._pid = 0
        self._link: Link | None = None
        self._rates: dict[str, Rate] = {}
        self._places: dict[str, Places] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"RedisStore({address_of(self._url)!r}, on_loss={'local' if self._is_local else 'stop'!r})"

    async def charge(self, name: str, limits: Limits, tokens: int, waited: float) -> Verdict:
        """See LimitStore."""
        rate = self._rate(name)
        return await rate.link.run(
            lambda: rate.charge(limits, tokens, waited), lambda found: self.correct(found.ticket, 0)
        )

    def correct(self, ticket: object, tokens: int) -> None:
        """See LimitStore."""
        if isinstance(ticket, Spent):
            ticket.rate.link.soon(lambda: ticket.rate.correct(ticket, tokens))

    def hold(self, name: str, seconds: float) -> None:
        """See LimitStore."""
        rate = self._rate(name)
        rate.link.soon(lambda: rate.hold(seconds))

    def left(self, name: str, limits: Limits) -> tuple[Limits, float]:
        """See LimitStore."""
        return self._rate(name).left(limits)

    async def take(self, name: str, limit: int, waited: float) -> Verdict:
        """See LimitStore."""
        link = self._linked()
        places = self._places.get(name) or self._places.setdefault(name, Places(link, name, self._keys("places", name)))
        return await link.run(lambda: places.take(limit, waited), lambda found: self.give_back(found.ticket))

    def give_back(self, ticket: object) -> None:
        """See LimitStore."""
        if isinstance(ticket, Place):
            ticket.places.release(ticket.name)

    def news(self) -> Sequence[News]:
        """See LimitStore."""
        link = self._link
        found = []
        while link is not None and link.news:
            found.append(link.news.popleft())
        return found

    async def aclose(self) -> None:
        """See LimitStore. What was to be told to Redis still is, if that answers."""
        self._closed = True
        if self._link is not None:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._link.stop)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    def _rate(self, name: str) -> Rate:
        link = self._linked()
        return self._rates.get(name) or self._rates.setdefault(name, Rate(link, name, self._keys("rate", name)))

    def _keys(self, kind: str, name: str) -> Sequence[str]:
        tag = f"{self._prefix}:{_FORM}:{{{kind}:{quote(name, safe=':/@')}}}"
        return tag, f"{tag}:who", f"{tag}:first"

    def _linked(self) -> Link:
        """The link of this process; of one that was forked, a new one, which knows nothing of the other's charges."""
        if self._closed:
            raise ConfigError(CLOSED)
        if self._link is None or self._pid != os.getpid():
            with self._lock:
                if self._link is None or self._pid != os.getpid():
                    self._rates, self._places = {}, {}
                    self._link = Link(self._url, self._end, is_local=self._is_local)
                    self._pid = os.getpid()
        return self._link

    async def _end(self) -> None:
        for rate in self._rates.values():
            await rate.flush()
        for places in self._places.values():
            await places.close()
