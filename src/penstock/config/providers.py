"""One provider for each alias of a models.json, which all that run in a program share."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final, Self, TypeAlias
from weakref import WeakValueDictionary

from penstock.config.entries import CircuitBreakerTable, ModelEntry, ModelsConfig
from penstock.config.models_file import ledger_of, read_models
from penstock.config.open import (
    NOTHING,
    Given,
    alone,
    composed,
    metered,
    resolve,
    with_options,
)
from penstock.config.platforms import variables_of
from penstock.config.stores import FileStore
from penstock.core.dialect import Wire
from penstock.core.errors import ConfigError
from penstock.core.keys import Hidden, fingerprint
from penstock.core.messages import Options
from penstock.core.provider import BaseProvider
from penstock.core.provider_config import Key, Transport
from penstock.core.validation import check_seconds
from penstock.middleware.events import Listener
from penstock.middleware.listeners import check_listener
from penstock.middleware.shared import ProviderStatus, SharedProvider
from penstock.middleware.wrapper import Wrapper
from penstock.providers.redaction import request_secrets

if TYPE_CHECKING:
    from penstock.meter.ledger import Ledger
    from penstock.providers.lent import Client

__all__ = ["Providers"]

_REMEMBERED: Final = 3600.0
"""Seconds without a call after which what was opened with a caller's own key, client or address is dropped."""
_LOOKS: Final = 10
"""How often in a `ttl` it is looked for what is idle."""
_CLOSED: Final = "these Providers are closed: make them where the program begins, and close them where it ends"
_Key: TypeAlias = tuple[str, object]


class Providers:
    """The providers of a models.json, one for each alias: whoever asks for an alias gets the same one.

    So the connections are used again, and `rateLimit`, `concurrency` and `circuitBreaker` hold for the whole program,
    also where an alias is another's fallback. A rate limit and a concurrency are those of a host and a key: aliases
    that ask one host with one key and have equal tables share them. A circuit breaker is that of a host, a key and a
    model. Unlike with `open_provider`, closing a provider closes nothing: `async with Providers() as providers` closes
    all.

    models: a config, or the path of a file; None for what `load_models` finds. It is read once.
    ttl: seconds after its last use after which a provider's connections are closed, None for never; one whose stream
    still runs is left alone. No task does this: `get` looks, ten times in a ttl at most, and the next call in the
    event loop that a connection belongs to closes it before it sends. What was opened with a key, client or address of
    a caller's own is dropped after an hour without use, where there is a ttl; without one it is kept.
    listener: called with each event of `penstock.middleware`, of all of them; None for nobody.

    Threads and event loops may share it: each event loop has connections of its own. Raises ConfigError.
    """

    def __init__(
        self,
        models: ModelsConfig | str | os.PathLike[str] | None = None,
        *,
        ttl: float | None = None,
        listener: Listener | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = read_models(models)
        self._ttl = None if ttl is None else check_seconds("ttl", ttl)
        self._listener = None if listener is None else check_listener(listener)
        self._clock = clock
        self._ledger: Ledger | None = None
        self._store = FileStore(self._config)
        # By alias and what was given in place of what its entry says.
        self._shared: dict[_Key, SharedProvider] = {}
        self._whole: dict[_Key, tuple[BaseProvider, SharedProvider]] = {}  # with fallbacks and ledger around it
        self._limits: WeakValueDictionary[object, Wrapper] = WeakValueDictionary()
        self._due: set[SharedProvider] = set()  # to be closed, each in the loops in which it holds connections
        self._look_at = clock() + (ttl or 0.0)
        self._closed = False
        self._lock = threading.RLock()  # never around an await

    def get(
        self,
        alias: str | None = None,
        *,
        api_key: Key | None = None,
        base_url: str | None = None,
        wire: Wire | None = None,
        client: Client | None = None,
        transport: Transport | None = None,
        options: Options | None = None,
    ) -> BaseProvider:
        """The provider of *alias*, None for the active one: always the same, also for those that fall back on it.

        api_key, base_url, wire, client, transport: as in `open_provider`; each combination is a provider of its own, so
        two keys never meet in one. options: what each call leaves out; they make no other provider, only a wrapper
        around it.

        It costs about a microsecond, so ask for each request. Raises ConfigError.
        """
        name = self._config.active if alias is None else alias
        given = Given(api_key, base_url, wire, client, transport)
        key = (name, _identity(given))
        found = self._whole.get(key)
        if found is None:
            with self._lock:
                found = self._whole.get(key) or self._opened(key, given)
        provider, shared = found
        shared.used = now = self._clock()
        if self._ttl is not None and now >= self._look_at:
            with self._lock:
                self._look(now, self._ttl)
        return with_options(provider, options)

    def _opened(self, key: _Key, given: Given) -> tuple[BaseProvider, SharedProvider]:
        if self._closed:
            raise ConfigError(_CLOSED)
        whole = composed(self._config, key[0], given, self._one)
        if self._config.ledger is not None and self._ledger is None:
            from penstock.meter import Ledger

            self._ledger = Ledger(ledger_of(self._config))
        found = metered(self._config, whole, self._ledger), self._shared[key]
        self._whole[key] = found
        return found

    def _one(self, alias: str, given: Given) -> tuple[BaseProvider, Sequence[str]]:
        """The provider of an alias without those that it falls back on: the one that is there, or a new one."""
        key = alias, _identity(given)
        shared = self._shared.get(key)
        if shared is None:
            entry = resolve(alias, models=self._config, given=given)

            def share(inner: BaseProvider, table: object, made: Wrapper) -> Wrapper:
                model = inner.get_model().id if isinstance(table, CircuitBreakerTable) else None
                account = inner.server if inner.server[0] else alias, _credential(entry, given)
                first = self._limits.setdefault((account, model, type(made), table), made)
                return made if first is made else first.also_around(inner)

            inner = alone(self._config, alias, entry, given.client, self._listener, self._store, share)
            shared = SharedProvider(inner, entry.fallback, self._admit, self._clock, _fingerprint(entry, given))
            self._shared[key] = shared
        return shared, shared.fallback

    def _look(self, now: float, ttl: float) -> None:
        """Mark what has been idle for *ttl*, and drop what nobody will ask for again."""
        self._look_at = now + ttl / _LOOKS  # there may be thousands, of which one is due at each moment
        for key, shared in list(self._shared.items()):
            idle = 0.0 if shared.calls else now - shared.used
            if idle < ttl:
                continue
            if shared.is_open:
                self._due.add(shared)
            elif key[1] is not None and idle >= _REMEMBERED:
                shared.forgotten = True
                del self._shared[key]
                self._whole.pop(key, None)

    async def _admit(self, shared: SharedProvider) -> None:
        """Called by each provider before a call. Raises ConfigError once all is closed."""
        if self._closed:
            await shared.release()
            raise ConfigError(_CLOSED)
        if shared.forgotten:
            self._due.add(shared)  # nobody else will close it after this call
        else:
            self._due.discard(shared)
        for due in tuple(self._due):  # mostly none
            await self._close(due)

    async def _close(self, shared: SharedProvider) -> None:
        """Close what is due, as far as it is this event loop's, unless it runs."""
        if not shared.calls:
            await shared.release()
            if not shared.is_open:
                self._due.discard(shared)

    async def forget(self, alias: str) -> None:
        """Drop the providers of *alias*, so that the next `get` opens a new one, with the key of that day.

        Their connections in this event loop are closed, unless a stream of theirs runs; what is left is closed by a
        later call in its own loop. Their limits go on as long as anybody holds one of them, or shares them.
        """
        with self._lock:
            gone = {self._shared.pop(key) for key in list(self._shared) if key[0] == alias}
            for key, (whole, _) in list(self._whole.items()):
                if not gone.isdisjoint(whole.nested()):
                    del self._whole[key]
            for shared in gone:
                shared.forgotten = True
                self._due.add(shared)
        for shared in gone:
            await self._close(shared)

    def __iter__(self) -> Iterator[ProviderStatus]:
        """How each of them is, in the order in which they were opened. Any thread may ask."""
        return (shared.status() for shared in list(self._shared.values()))

    async def aclose(self) -> None:
        """Close all of them in this event loop; a stream that still runs breaks. A later call is a ConfigError.

        What another event loop holds is closed by the next call there, or else dropped with that loop.
        """
        self._closed = True
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._store.aclose)
            if self._ledger is not None:
                stack.push_async_callback(self._ledger.aclose)
            for shared in {*self._shared.values(), *self._due}:
                stack.push_async_callback(shared.release)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()


def _identity(given: Given) -> object:
    """What tells apart what callers give, without a key in it; None for nothing given."""
    if given == NOTHING:
        return None
    return (
        Hidden(given.api_key),
        given.base_url,
        given.wire,
        given.transport,
        None if given.client is None else id(given.client),
    )


def _credential(entry: ModelEntry, given: Given) -> object:
    """What tells apart whom a host takes the caller for, without a key in it."""
    if given.brings_key:
        return id(given.client)
    config = entry.provider_config
    return Hidden(_key(entry)), config.platform, *map(Hidden, request_secrets("", config.headers))


def _key(entry: ModelEntry) -> Key | None:
    return entry.provider_config.api_key or next(filter(None, map(os.environ.get, variables_of(entry))), None)


def _fingerprint(entry: ModelEntry, given: Given) -> str | None:
    """Of the key that requests carry; None where that is fetched, is not known, or may be a header's or a client's."""
    key = _key(entry)
    known = (
        isinstance(key, str) and given.client is None and not any(request_secrets("", entry.provider_config.headers))
    )
    return fingerprint(str(key)) if known else None
