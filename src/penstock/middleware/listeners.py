"""How a listener is told."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable

from penstock.core.errors import ConfigError, ProviderError
from penstock.middleware.events import Event, Listener

__all__ = ["Telling", "check_listener", "facts"]


def check_listener(listener: Listener) -> Listener:
    """*listener*, a plain function of one argument, or ConfigError."""
    expected = "expected a plain function that takes one event"
    if not callable(listener):
        raise ConfigError(f"`listener` is of type {type(listener).__name__}, {expected}")
    if inspect.iscoroutinefunction(listener) or inspect.iscoroutinefunction(type(listener).__call__):
        raise ConfigError(f"`listener` is an async function, {expected}")
    return listener


class Telling:
    """Tells a listener, if there is one, of one call. What the listener raises is logged, and breaks no stream."""

    def __init__(self, listener: Listener | None, call: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._listener = listener
        self._call = call
        self._clock = clock
        self._start = clock()

    def tell(self, kind: Callable[..., Event], model: str, **more: object) -> None:
        """Make the event and hand it over. Only what is no Exception gets out: a cancellation, an interrupt."""
        if self._listener is None:
            return
        event = kind(call=self._call, time=self._clock() - self._start, model=model, **more)
        try:
            self._listener(event)
        except Exception:
            import logging  # for the few whose listener fails

            logging.getLogger("penstock").exception("a listener failed at %s", type(event).__name__)


def facts(error: ProviderError) -> dict[str, object]:
    """What an event of a failure says of its error."""
    return {"error": error, "usage": error.usage, "request_id": error.request_id}
