"""A process's link to Redis: a thread with one connection, and a breaker that leaves Redis alone once it has failed.

A thread, as the 250 ms that Redis has are then Redis' own: an event loop that is busy for longer would find it lost
each time, and places would not be renewed. So one connection serves all event loops and threads of the process.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

import anyio
import msgspec

from penstock.agent.background import Background
from penstock.core.dialect import without_userinfo
from penstock.core.errors import ConfigError, StoreError, said_by
from penstock.core.waking import waker
from penstock.fleet.redis_scripts import State
from penstock.middleware.events import StoreBack, StoreLost
from penstock.middleware.limit_store import News

__all__ = ["CLOSED", "AwayError", "Link", "address_of", "check_url"]

CLOSED: Final = "this store is closed: make it where the program begins, and close it where it ends"

_PATIENCE: Final = 0.2
"""Seconds that a call of Redis may take."""
_GRACE: Final = 0.05
"""Seconds more, in which a thread that has waited for its turn finds an answer that has come meanwhile."""
_CONNECTING: Final = 5.0
"""Seconds that a connection may take, while calls go on without it."""
_AWAY: Final = 5.0
"""Seconds for which Redis is left alone after it has failed."""
_SETTLING: Final = 6.0
"""Seconds after Redis' start until which nobody sends: within them all have told it what it may have forgotten."""
_LEAVING: Final = 2.0
"""Seconds that the end of the thread may take, in which Redis is told the last."""
_SCHEMES: Final = ("redis", "rediss", "unix")
_LONGEST: Final = 200
"""Characters of what Redis says of its failure."""

T = TypeVar("T")
_log = logging.getLogger("penstock")
# What its client says of failures is said here, once.
logging.getLogger("coredis").addHandler(logging.NullHandler())


class AwayError(Exception):
    """Redis is not to be had now."""


def check_url(url: str) -> str:
    """*url*, or ConfigError. It is not shown: it may hold a password."""
    expected = "expected redis://[:PASSWORD@]HOST[:PORT][/DATABASE], rediss://... or unix://PATH"
    try:
        parts = urlsplit(url)
        good = parts.scheme in _SCHEMES and bool(parts.path if parts.scheme == "unix" else parts.hostname)
        good = good and parts.port != 0
        database = parts.path.strip("/")
        good = good and (parts.scheme == "unix" or not database or database.isdecimal())
    except (ValueError, TypeError, AttributeError):
        good = False
    if not good:
        raise ConfigError(f"`url` is no address of a Redis, {expected}")
    try:
        import coredis  # noqa: F401 - only to see whether it is there
    except ImportError:
        raise ConfigError("a store in Redis needs the extra: pip install 'penstock[redis]'") from None
    return url


def address_of(url: str) -> str:
    """*url* as it may be shown: no user, no password, no query."""
    return str(without_userinfo(url)).partition("?")[0]


class Link:
    """All that is awaited here runs in the thread of the link, but for `run`, which brings it there."""

    def __init__(self, url: str, close: Callable[[], Coroutine[object, object, None]], *, is_local: bool) -> None:
        """close: awaited in the thread before it ends. is_local: whether this process goes on without Redis."""
        self.me = uuid4().hex[:16]
        self.address = address_of(url)
        self.is_local = is_local
        self.news: deque[News] = deque(maxlen=10)
        self.why = ""
        """What was last wrong; empty while all is well."""
        self.processes: int | None = None
        """How many there were when it answered last; None if it never has."""
        self._url = url
        self._close = close
        self._unequal: set[str] = set()
        self._until = 0.0
        self._settled = 0.0
        self._session: _Session | None = None
        self._is_cluster = self._has_own_clock = self._was_connected = False
        self._background = Background("penstock-redis", self._serve, _LEAVING)

    async def run(self, work: Callable[[], Coroutine[object, object, T]], undo: Callable[[T], object]) -> T:
        """What *work* gives in the thread. Who is cancelled here while it runs has the result undone."""
        future = asyncio.run_coroutine_threadsafe(work(), self._background.loop)
        done = anyio.Event()
        wake = waker(done)
        future.add_done_callback(lambda _: wake())
        try:
            await done.wait()
        except BaseException:
            future.add_done_callback(lambda ended: undo(ended.result()) if _has_result(ended) else None)
            raise
        if future.cancelled():
            raise ConfigError(CLOSED)
        return future.result()

    def soon(self, work: Callable[[], object]) -> None:
        """Call *work* in the thread, some time later. Once that has ended, do nothing."""
        try:  # a finaliser may come here when `suppress` is gone
            self._background.loop.call_soon_threadsafe(work)
        except RuntimeError:
            return

    def stop(self) -> None:
        """End the thread. It blocks, for two seconds at most."""
        self._background.stop()

    @property
    def away(self) -> float:
        """For how many seconds Redis is left alone; 0 or less for not at all."""
        return self._until - time.monotonic()

    @property
    def settle(self) -> float:
        """For how many seconds nobody may send, as Redis has just been started and may have forgotten something."""
        return max(0.0, self._settled - time.monotonic())

    def compare(self, name: str, mine: object, bound: object) -> None:
        """Say once that other processes give a name other numbers than this one, of which the smaller hold."""
        if mine != bound and name not in self._unequal:
            text = "limit %s: with those of others it is %s, and this process says %s: the smaller numbers hold"
            _log.warning(text, name, bound, mine)
        (self._unequal.add if mine != bound else self._unequal.discard)(name)

    def error(self) -> StoreError:
        """What a call raises that may not go on alone."""
        why = self.why or "it is left alone for now"
        if self.is_local:
            never = "never reached the store" if self.processes is None else "never asked it about this limit"
            why += f"; this process has {never}, so it does not know its share"
        return StoreError(f"not sent: the store {self.address} is lost: {why}", retry_after=max(0.0, self.away))

    async def ask(self, script: str, keys: Sequence[str], **said: object) -> list[int]:
        """What a script says. Raises AwayError."""
        if self.away > 0:
            raise AwayError
        task = asyncio.create_task(self._asked_twice(script, keys, said))
        try:
            for seconds in (_PATIENCE, _GRACE):
                await asyncio.wait({task}, timeout=seconds)
            if not task.done():
                raise TimeoutError
            found = task.result()
        except Exception as error:  # noqa: BLE001 - whatever the client, the script or the network raises
            raise self._lost(error) from None
        finally:
            task.cancel()
        if self.why:
            self.why = ""
            self.news.append((StoreBack, {"store": self.address}))
            _log.warning("the store %s is back%s", self.address, self._without(found, said.get("seq")))
        if found[0] != State.APART:
            self.processes = found[6]
        return found

    def _without(self, found: Sequence[int], seq: object) -> str:
        """What is missing of it. seq: how many charges it should know."""
        has_lost = found[0] == State.APART and found[1] < seq  # type: ignore[operator]
        seconds = _SETTLING if has_lost else self.settle
        pause = f": no call is sent for {seconds:.0f} s" if seconds > 0 else ""
        return (" without its data" if has_lost else "") + pause

    async def _asked_twice(self, script: str, keys: Sequence[str], said: dict[str, object]) -> list[int]:
        import coredis.exceptions as faults

        try:
            return await self._told(script, keys, said)
        except faults.MovedError:  # this is one node of many
            self._is_cluster = True
        except faults.ConnectionError:  # perhaps only the one that was kept; what is charged twice, both sides count
            pass
        self._drop()
        return await self._told(script, keys, said)

    async def _told(self, script: str, keys: Sequence[str], said: dict[str, object]) -> list[int]:
        if self._session is None or self._session.failed is not None:
            self._session = _Session(self._url, is_cluster=self._is_cluster, connected=self._connected)
        client = await self._session.client()
        run = client.register_script(script)
        for _ in range(2):
            now = {"now": time.time_ns() // 1_000_000} if self._has_own_clock else {}
            argument = msgspec.json.encode({**said, **now, "me": self.me})
            found: Any = await run(keys, [argument])
            if found[0] != State.NO_CLOCK:
                break
            self._has_own_clock = True
            text = "the store %s does not say the time in scripts: this machine's clock is used, keep it right"
            _log.warning(text, self.address)
        return list(map(int, found))

    def forgot(self) -> None:
        """It knows less than it did: the others are to have time to tell it what they know."""
        self._settled = time.monotonic() + _SETTLING

    def _connected(self, uptime: float) -> None:
        """Called when a connection stands; one that took too long is good for what comes now."""
        self._until = 0.0
        if self._was_connected:
            self._settled = time.monotonic() + _SETTLING - uptime
        self._was_connected = True

    def _drop(self) -> None:
        if self._session is not None:
            self._session.end()
            self._session = None

    def _lost(self, error: Exception) -> AwayError:
        is_slow = isinstance(error, TimeoutError)
        said = f"no answer within {(_PATIENCE + _GRACE) * 1000:g} ms" if is_slow else said_by(_root(error))
        password = urlsplit(self._url).password
        said = (said.replace(password, "***") if password else said)[:_LONGEST]
        self._until = time.monotonic() + _AWAY
        if self._session is not None and self._session.is_connected:
            self._drop()
        if not self.why:
            self.news.append((StoreLost, {"store": self.address, "why": said, "local": self.is_local}))
            goes_on = self.is_local and self.processes is not None
            then = f"going on with 1/{self.processes} of each limit" if goes_on else "calls are refused"
            _log.warning("the store %s is lost: %s; %s, asking again every %g s", self.address, said, then, _AWAY)
        self.why = said
        return AwayError(said)

    async def _serve(self, ending: asyncio.Event) -> None:
        await ending.wait()
        await self._close()
        self._drop()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)


class _Session:
    """A client, with a task that enters and leaves it."""

    def __init__(self, url: str, *, is_cluster: bool, connected: Callable[[float], object]) -> None:
        self.failed: Exception | None = None
        self.is_connected = False
        self._known = asyncio.Event()
        self._ending = asyncio.Event()
        self._task = asyncio.create_task(self._own(url, connected, is_cluster=is_cluster))

    async def client(self) -> Any:
        """The client, one of coredis', once it is connected. Raises what failed."""
        await self._known.wait()
        if self.failed is not None:
            raise self.failed
        return self._client

    def end(self) -> None:
        """Close it, some time later."""
        self._ending.set()

    async def _own(self, url: str, connected: Callable[[float], object], *, is_cluster: bool) -> None:
        import coredis
        from coredis.retry import NoRetryPolicy

        try:
            policy: Any = NoRetryPolicy()
            plain: Any = coredis.Redis.from_url(
                url, retry_policy=policy, decode_components=True, connect_timeout=_CONNECTING
            )
            self._client = _of_cluster(plain, policy) if is_cluster else plain
            async with self._client:
                async with asyncio.timeout(_CONNECTING):
                    await self._client.ping()
                    uptime = await _uptime(self._client)
                self.is_connected = True
                connected(uptime)
                self._known.set()
                await self._ending.wait()
        except Exception as error:  # noqa: BLE001 - it is raised where the client is wanted
            self.failed = error
        finally:
            self._known.set()


def _of_cluster(plain: Any, policy: Any) -> Any:
    """The client of a cluster, by one of its nodes. It takes no database but 0."""
    import coredis

    pool = plain.connection_pool
    same = ("username", "password", "ssl_context", "connect_timeout")
    given = {name: pool.connection_kwargs[name] for name in same if name in pool.connection_kwargs}
    return coredis.RedisCluster(startup_nodes=[pool.location], retry_policy=policy, **given)


async def _uptime(client: Any) -> float:
    """Seconds for which a server has run; very many where it may not say so."""
    with suppress(Exception):
        return float((await client.info("server"))["uptime_in_seconds"])
    return float("inf")


def _has_result(future: Any) -> bool:
    return not future.cancelled() and future.exception() is None


def _root(error: BaseException) -> BaseException:
    """What was wrong in the end: the client says no more than that it could not connect."""
    inner = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error.__cause__
    return error if inner is None else _root(inner)
