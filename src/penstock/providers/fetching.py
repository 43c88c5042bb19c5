"""Fetches a key from whatever gives one: never on the event loop if it may block, and once for all who wait."""

from __future__ import annotations

import contextvars
import copy
import functools
import inspect
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

import anyio

from penstock.core.dialect import Dialect
from penstock.core.errors import AuthenticationError, ProviderError, first_line
from penstock.core.keys import FETCH_SECONDS, FetchedKey, Hidden, KeySource
from penstock.core.provider_config import ProviderConfig
from penstock.core.waking import waker
from penstock.providers.credentials import BEARER, fetched_header
from penstock.providers.known_secrets import KnownSecrets
from penstock.providers.redaction import Secrets, check_secrets, strip_tracebacks

if TYPE_CHECKING:
    from penstock.providers.sending import Sending

__all__ = ["Credential", "RequestKeys", "request_keys", "resolve_key"]

_JWT: Final = r"eyJ[\w-]+\.[\w-]+\.[\w-]*"
"""A JSON Web Token: no key but an identity, which goes as a bearer also where keys have a header of their own."""
_EARLY: Final = 60.0
"""Seconds before its end from which a key is no longer used: a request takes a while to arrive."""
_EARLY_PART: Final = 0.2
"""That, as a part of its life from when it came, for a key that lives so short that it would never be used again."""
_LASTING: Final = 128
"""Sources whose keys are kept for providers of the user's own."""


class Credential:
    """A key that is had from a function: asked for each request, or as seldom as what it gives allows.

    One fetch runs at a time, and all who need the key wait for it, in whatever event loop. A function that is not async
    runs in a thread of its own, which does not keep the process from ending.
    """

    def __init__(self, source: Callable[[], object], *, clock: Callable[[], float] = time.time) -> None:
        self._source: Callable[[], Any] = source
        self._what, self._hint = "the function for the API key", ""
        if isinstance(source, KeySource):
            self._what, self._hint = source.what, source.hint
        self._clock = clock
        self._is_async = _is_async(source)
        self._lock = threading.Lock()  # never around an await
        self._kept: FetchedKey | None = None
        self._until = 0.0
        self._fetch: _Fetch | None = None

    async def key(self) -> str:
        """The key. Raises AuthenticationError, without a status, when it cannot be had within 10 s."""
        while True:
            with self._lock:
                if self._kept is not None and self._clock() < self._until:
                    return self._kept.value
                fetch, begins = self._fetch, self._fetch is None
                if fetch is None:
                    fetch = self._fetch = _Fetch()
            if begins:
                await self._begin(fetch)
            await self._over_or_late(fetch)
            if isinstance(fetch.outcome, ProviderError):
                # One each, as each gets facts of its own call.
                raise copy.copy(fetch.outcome) from fetch.outcome.__cause__
            if fetch.outcome is not None:
                return fetch.outcome.value

    async def another(self, refused: Hidden) -> str | None:
        """The key, if there is another now than the one that was refused. Where it cannot be had there is none."""
        with self._lock:
            if self._kept is not None and self._kept.value == refused.value:
                self._kept = None
        try:
            key = await self.key()
        except ProviderError:
            return None
        return None if key == refused.value else key

    async def _begin(self, fetch: _Fetch) -> None:
        if self._is_async:
            await self._ask(fetch)
            return
        run = functools.partial(contextvars.copy_context().run, self._ask_in_thread, fetch)
        try:
            threading.Thread(target=run, name="penstock key", daemon=True).start()
        except RuntimeError as error:  # the system has no threads left, or Python ends
            self._end(fetch, self._failure(error))

    async def _ask(self, fetch: _Fetch) -> None:
        import asyncio  # here and not above: a fifth of what `import penstock` would cost

        try:
            with anyio.move_on_after(FETCH_SECONDS) as scope:
                self._end(fetch, self._checked(await self._source()))
            if scope.cancelled_caught:
                self._end(fetch, self._late())
        except Exception as error:  # noqa: BLE001 - whatever it raises, there is no key
            self._end(fetch, self._failure(error))
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            self._end(fetch, self._failure(error))  # a task that the function awaited was cancelled, not this one
        finally:
            self._end(fetch, None)  # whoever asked has left: the next one asks anew

    def _ask_in_thread(self, fetch: _Fetch) -> None:
        try:
            found = self._source()
            if inspect.isawaitable(found):  # of a lambda, say: it is asked again, in the loop
                self._is_async = True
                getattr(found, "close", lambda: None)()
                self._end(fetch, None)
            else:
                self._end(fetch, self._checked(found))
        except BaseException as error:  # noqa: BLE001 - whatever it raises, those who wait have to hear
            self._end(fetch, self._failure(error))

    async def _over_or_late(self, fetch: _Fetch) -> None:
        done = anyio.Event()
        with self._lock:
            if fetch.is_over:
                return
            fetch.wakers.append(waker(done))
        with anyio.move_on_after(FETCH_SECONDS):
            await done.wait()
        self._end(fetch, self._late())

    def _end(self, fetch: _Fetch, outcome: FetchedKey | ProviderError | None) -> None:
        """What has come of a fetch, told to all who wait for it, the first time; a key that comes later is kept too."""
        with self._lock:
            if isinstance(outcome, FetchedKey):
                now, end = self._clock(), outcome.ends
                self._kept = outcome
                self._until = now + outcome.keep if end is None else end - min(_EARLY, (end - now) * _EARLY_PART)
            if fetch.is_over:
                return
            fetch.is_over, fetch.outcome, self._fetch = True, outcome, None
        for wake in fetch.wakers:
            wake()

    def _checked(self, found: object) -> FetchedKey:
        fetched = FetchedKey(found) if isinstance(found, str) else found
        if not isinstance(fetched, FetchedKey):
            raise AuthenticationError(f"{self._what} gave {type(found).__name__}, expected text")
        check_secrets([fetched.value], Secrets())
        return fetched

    def _late(self) -> ProviderError:
        return self._hinted(AuthenticationError(f"{self._what} gave none within {FETCH_SECONDS:g} s"))

    def _failure(self, error: BaseException) -> ProviderError:
        # Without its frames, which hold the fetch, and perhaps the key.
        bare = error.with_traceback(None)
        if isinstance(bare, ProviderError):
            return self._hinted(bare)
        failure = AuthenticationError(f"{self._what} failed ({first_line(error)})")
        failure.__cause__ = bare
        return self._hinted(failure)

    def _hinted(self, error: ProviderError) -> ProviderError:
        if "hint" not in vars(error):  # one that the source gave it fits better
            error.hint = self._hint or error.hint
        return error


class RequestKeys:
    """The key of each request of a transport, in the header that carries it; None where the key only signs."""

    def __init__(self, credential: Credential, header: str | None, secrets: KnownSecrets) -> None:
        self._credential = credential
        self._header = header
        self._secrets = secrets

    async def header(self, sending: Sending) -> Mapping[str, str]:
        """The header for this request. Raises AuthenticationError."""
        key = await self._credential.key()
        self._secrets.learn([key])
        sending.key = Hidden(key)
        if self._header is None:
            return {}
        bearer = self._header == BEARER or re.fullmatch(_JWT, key) is not None
        return {BEARER: f"Bearer {key}"} if bearer else {self._header: key}

    async def renew(self, sending: Sending) -> None:
        """Find out whether there is another key now than the one that a request was refused with."""
        try:
            other = None if sending.key is None else await self._credential.another(sending.key)
        except anyio.get_cancelled_exc_class() as cancelled:
            strip_tracebacks(cancelled)
            raise
        if other is not None:
            self._secrets.learn([other])
            sending.renewed = True


_credentials: Final[WeakValueDictionary[Hidden, Credential]] = WeakValueDictionary()
"""By what they come from: a program is run once, however many providers need its key."""


def request_keys(config: ProviderConfig, row: Dialect, secrets: KnownSecrets) -> RequestKeys | None:
    """What fetches the key for each request; None where that is text, or a header of the caller's own stands for it."""
    header, source = fetched_header(config, row), config.api_key
    if header is None or source is None or isinstance(source, str):
        return None
    credential = _credentials.setdefault(Hidden(source), Credential(source))
    return RequestKeys(credential, header, secrets)


async def resolve_key(config: ProviderConfig) -> str | None:
    """The key of a config as it is now, for a provider of your own; None where the config has none.

    Ask for each request: text is given as it is, and a function, a program or the keyring is asked as seldom as it
    allows, never on the event loop if it may block. Raises AuthenticationError when the key cannot be had within 10 s.
    """
    source = config.api_key
    return source if source is None or isinstance(source, str) else await _lasting(Hidden(source)).key()


@functools.lru_cache(_LASTING)
def _lasting(held: Hidden) -> Credential:
    """That of a source which no transport of ours holds: what it fetched is there for the next request."""
    source: Any = held.value
    return _credentials.setdefault(held, Credential(source))


class _Fetch:
    """One fetch. outcome: None as long as it runs, and if it was given up: then somebody else begins another."""

    def __init__(self) -> None:
        self.is_over = False
        self.outcome: FetchedKey | ProviderError | None = None
        self.wakers: list[Callable[[], None]] = []

    def __repr__(self) -> str:
        return "_Fetch(***)"


def _is_async(source: object) -> bool:
    while isinstance(source, functools.partial):
        source = source.func
    return any(map(inspect.iscoroutinefunction, (source, getattr(source, "__call__", None))))  # noqa: B004 - its method
