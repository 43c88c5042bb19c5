"""The SDKs, and the HTTP client below them: imported by the first call of a process, in a thread.

That takes a second of Python, and the event loop goes on meanwhile. One runs at a time, and all who need it wait.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import anyio
import msgspec

from penstock.core.errors import ConfigError
from penstock.core.waking import waker
from penstock.providers.environment import tls_context
from penstock.providers.failures import RefusedError

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["Loaded", "load"]

_LONGEST: Final = 10.0
"""Seconds that a fork waits for an import: a child would find it half done, and nobody to end it."""

_HALF_DONE: Final = "partially initialized"
"""Python's words for a module that another thread is still importing."""

_lock: Final = threading.Lock()  # never around an import, nor around an await
_turn: Final = threading.Lock()  # around one: two SDKs share packages whose modules import each other
_imports: Final[dict[str, _Import]] = {}


class Loaded(msgspec.Struct, frozen=True):
    """An SDK that is there. error: the class of all its own. failures: what it and the HTTP client below raise."""

    sdk: Any
    httpx: Any
    connections: Any
    error: type[Exception]
    failures: tuple[type[Exception], ...]


class _Import:
    """One import. The process waits for it at its end: what is built on the way must not be taken down."""

    def __init__(self, name: str) -> None:
        from concurrent.futures import Future  # here and not above: an event loop has it anyway

        self.name = name
        self.outcome: Future[Loaded] = Future()
        self.thread = threading.Thread(target=self.run, name=f"penstock import of {name}")

    def run(self) -> None:
        """Import it, and tell all who wait."""
        try:
            with _turn:
                try:
                    loaded = _loaded(self.name)
                except (ImportError, AttributeError) as error:
                    # The program imports some of it at this moment, the other way round: Python let both go on.
                    if _HALF_DONE not in str(error):
                        raise
                    loaded = _loaded(self.name)
        except BaseException as error:  # noqa: BLE001 - whatever it raises, those who wait have to hear
            _imports.pop(self.name, None)  # it may be there the next time
            self.outcome.set_exception(error.with_traceback(None))
        else:
            self.outcome.set_result(loaded)

    @property
    def is_lost(self) -> bool:
        """Whether nobody is about to end it: its thread could not begin, or did not come along through a fork."""
        return not self.thread.is_alive() and not self.outcome.done()  # in this order, as it may end between


async def load(name: str) -> Loaded:
    """The SDK of this name, and the HTTP client with it. Raises ConfigError for one that cannot be imported."""
    done = anyio.Event()  # before all else, as the first one of a loop imports what it is made of
    wake, outcome = waker(done), _begun(name).outcome
    outcome.add_done_callback(lambda _: wake())
    await done.wait()
    if (error := outcome.exception()) is not None:
        raise ConfigError(f"the package {name} cannot be imported ({type(error).__name__}: {error})") from error
    return outcome.result()


def _begun(name: str) -> _Import:
    with _lock:
        found = _imports.get(name)
        if found is None or found.is_lost:
            found = _imports[name] = _Import(name)
            with suppress(RuntimeError):
                found.thread.start()
    if found.is_lost:  # the system has no threads left, or Python ends
        found.run()
    return found


def _loaded(name: str) -> Loaded:
    import httpx2  # here and not above: `import penstock` loads no HTTP client

    from penstock.providers import connections

    with suppress(ConfigError):  # whoever makes a client hears of it
        tls_context()  # once a process; it imports most of the HTTP client
    sdk: Any = import_module(name)
    error: type[Exception] = getattr(sdk, "AnthropicError", None) or sdk.OpenAIError
    theirs = httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL, error
    return Loaded(sdk, httpx2, connections, error, (RefusedError, *theirs, OSError))


def _hold() -> None:
    """Before a fork: let what is being imported end, and let nothing begin."""
    _lock.acquire()
    for each in list(_imports.values()):
        if each.thread is not threading.current_thread() and not each.outcome.done():
            each.thread.join(_LONGEST)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold, after_in_parent=_lock.release, after_in_child=_lock.release)
