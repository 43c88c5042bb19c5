"""How a listener is told."""

from __future__ import annotations

import datetime as dt
import inspect
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any

from penstock.core.errors import ConfigError, ProviderError
from penstock.core.provider import BaseProvider
from penstock.core.scope import Scope
from penstock.middleware.events import Event, Listener

__all__ = ["Telling", "check_listener", "each_once", "facts"]


def check_listener(listener: Listener) -> Listener:
    """*listener*, a plain function of one argument, or ConfigError."""
    expected = "expected a plain function that takes one event"
    if not callable(listener):
        raise ConfigError(f"`listener` is of type {type(listener).__name__}, {expected}")
    if inspect.iscoroutinefunction(listener) or inspect.iscoroutinefunction(type(listener).__call__):
        raise ConfigError(f"`listener` is an async function, {expected}")
    return listener


def each_once(*groups: Iterable[Listener]) -> tuple[Listener, ...]:
    """The listeners of all groups: who is in two of them hears each thing once."""
    found: list[Listener] = []
    for listener in chain(*groups):
        if listener not in found:
            found.append(listener)
    return tuple(found)


class Telling:
    """Tells listeners, if there are any, of one call. What a listener raises is logged, and breaks no stream.

    listener: a middleware's own, None for none. others: who is told beside it; None for those of the provider and of
    the scope.
    """

    def __init__(
        self,
        listener: Listener | None,
        scope: Scope,
        provider: BaseProvider,
        clock: Callable[[], float] = time.monotonic,
        others: Sequence[Listener] | None = None,
    ) -> None:
        own = () if listener is None else (listener,)
        self._listeners = each_once(own, *((provider.listeners, scope.listeners) if others is None else (others,)))
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
        call: str | None = None,
        **more: object,
    ) -> float | None:
        """Make the event and hand it over; its `time`, None where nobody listens.

        Only what is no Exception gets out: a cancellation, an interrupt.

        about: the provider that is asked, None for the usual one. attempt, call: None for that of the scope.
        """
        if not self._listeners:
            return None
        asked, scope = about or self._provider, self._scope
        event = kind(
            call=scope.call if call is None else call,
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
        return event.time


def facts(error: ProviderError) -> dict[str, Any]:
    """What an event of a failure says of its error."""
    return {"error": error, "usage": error.usage, "request_id": error.request_id}
