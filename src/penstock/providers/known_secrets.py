"""The keys that the clients of this process know by now, and the log records that they are kept out of."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from penstock.providers.redaction import Secrets

if TYPE_CHECKING:
    import logging

__all__ = ["KnownSecrets", "live_secrets", "watch_logs"]

_LEARNED: Final = 16
"""Keys of earlier requests that are remembered: a server echoes what it has just been sent."""
_LOGGERS: Final = ("httpx2", "httpcore2", "aiohttp", "anthropic", "openai")
# These loggers may not be there yet when a client is made: their modules are imported when they are needed.
_LATER: Final = ("http11", "http2", "connection", "proxy", "socks")


class _LogFilter:
    """Cleans what the libraries log of requests and answers; at DEBUG that is headers, which a server may fill.

    There is one for the process, as loggers are the process's; it knows the keys of the clients that live. It costs
    nothing where such records are not made.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._live: weakref.WeakSet[Secrets] = weakref.WeakSet()

    def watch(self, secrets: Secrets) -> None:
        """Keep *secrets* out of what the SDKs and the HTTP library log, as long as they live."""
        import logging  # the SDKs load it anyway, and `import penstock` need not

        with self._lock:
            self._live.add(secrets)
        names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] in _LOGGERS]
        for name in (*names, *(f"httpcore2.{name}" for name in _LATER)):
            logging.getLogger(name).addFilter(self)  # once: it looks whether it is there

    def live(self) -> list[Secrets]:
        """Those of the clients that live."""
        with self._lock:
            return list(self._live)

    def filter(self, record: logging.LogRecord) -> bool:
        """Called by the logger, before any handler."""
        live = self.live()
        try:
            text = clean = record.getMessage()
        except (TypeError, ValueError):
            return True  # broken, which the handler says better
        if record.exc_info and record.exc_info[1] is not None:
            # Its frames hold headers.
            error, record.exc_info = record.exc_info[1], None
            clean = f"{text} ({type(error).__name__}: {error})"
        for secrets in live:
            clean = secrets.cleaned(clean)
        if clean != text:
            record.msg, record.args = clean, None
        return True


class KnownSecrets:
    """What a transport knows of keys: what it was given, and what requests have carried beside that."""

    def __init__(self, given: Secrets) -> None:
        self.now = self._given = given
        """All of them."""
        # The newest last: a token is refreshed every hour, say.
        self._learned: deque[str] = deque(maxlen=_LEARNED)
        self._lock = threading.Lock()

    def give(self, keys: Iterable[object]) -> None:
        """Keep these out of errors and logs from now on."""
        self._know(keys, ())

    def learn(self, keys: Iterable[str]) -> None:
        """The same for those that a request carries, before it is sent."""
        new = self.now.unknown(keys)
        if new:
            self._know((), new)

    def _know(self, given: Iterable[object], learned: Iterable[str]) -> None:
        with self._lock:
            self._given = self._given.plus(given)
            self._learned.extend(learned)
            self.now = self._given.plus(self._learned)
        watch_logs(self.now)


_FILTER: Final = _LogFilter()
watch_logs: Final = _FILTER.watch
live_secrets: Final = _FILTER.live
