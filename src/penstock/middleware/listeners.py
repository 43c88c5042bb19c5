"""How a listener is told."""

from __future__ import annotations

import datetime as dt
import inspect
import time
from collections.abc import Callable
from typing import Any

from penstock.core.errors import ConfigError, ProviderError
from penstock.core.provider import BaseProvider
from penstock.core.scope import Scope
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
    """Tells listeners, if there are any, of one call. What a listener raises is logged, and breaks no stream."""

    def __init__(
        self,
        listener: Listener | None,
        scope: Scope,
        provider: BaseProvider,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        own = () if listener is None else (listener,)
        self._listeners: tuple[Listener, ...] = (*own, *scope.listeners)
        self._scope = scope
        self._provider = provider
        self._clock = clock
        self._start = clock()

    def tell(
        self,
        kind: Callable[..., Event],
        *,
        about: BaseProvider | None = None,
        attempt: int | None = None,
        **more: object,
    ) -> None:
        """Make the event and hand it over. Only what is no Exception gets out: a cancellation, an interrupt.

        about: the provider that is asked, None for the usual one. attempt: None for that of the scope.
        """
        if not self._listeners:
            return
        asked, scope = about or self._provider, self._scope
        event = kind(
            call=scope.call,
            attempt=scope.attempt if attempt is None else attempt,
            run=scope.run,
            alias=asked.alias,
            tags=scope.tags,
            at=dt.datetime.now(dt.UTC),
            time=self._clock() - self._start,
            vendor=asked.vendor,
            model=asked.get_model().id,
            **more,
        )
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:
                import logging  # for the few whose listener fails

                logging.getLogger("penstock").exception("a listener failed at %s", type(event).__name__)


def facts(error: ProviderError) -> dict[str, Any]:
    """What an event of a failure says of its error."""
    return {"error": error, "usage": error.usage, "request_id": error.request_id}
