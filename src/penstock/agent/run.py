"""One run of tools: what its calls have in common, and what its listeners are told."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from penstock.core.chunks import StopChunk, ToolCallChunk
from penstock.core.messages import Options
from penstock.core.provider import BaseProvider
from penstock.core.scope import in_run, next_call

__all__ = ["Run"]


class Run:
    """Tells RunStarted when it is entered and RunEnded when it is left; without a listener it loads nothing."""

    def __init__(self, provider: BaseProvider, options: Options) -> None:
        self.scope = in_run(options)
        self._turns = 0
        self._is_pending = False
        self._tell: Callable[..., object] | None = None
        if provider.listeners or self.scope.listeners:
            from penstock.middleware import events
            from penstock.middleware.listeners import Telling

            self._tell, self._events = Telling(None, self.scope, provider).tell, events

    def __enter__(self) -> Self:
        if self._tell is not None:
            self._tell(self._events.RunStarted)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._tell is None:
            return
        failed = error if isinstance(error, Exception) else None
        state = "failed" if failed is not None else "pending" if self._is_pending else "left" if error else "done"
        self._tell(self._events.RunEnded, state=state, turns=self._turns, error=failed)

    def pending(self) -> StopChunk:
        """How the run ends whose calls wait for their approval."""
        self._is_pending = True
        return StopChunk(reason="pending")

    def next_turn(self, options: Options) -> Options:
        """The options for the model's next call."""
        self._turns += 1
        options = next_call(options, self.scope)
        if self._tell is not None and options.scope is not None:
            self._tell(self._events.TurnStarted, call=options.scope.call, turn=self._turns)
        return options

    @contextmanager
    def tool(self, call: ToolCallChunk, is_error: Callable[[], bool]) -> Iterator[None]:
        """While the tool of *call* runs. is_error: asked when it is over."""
        if self._tell is None:
            yield
            return
        begun = time.monotonic()
        self._tell(self._events.ToolStarted, id=call.id, name=call.name)
        try:
            yield
        finally:
            seconds = time.monotonic() - begun
            self._tell(self._events.ToolEnded, id=call.id, name=call.name, is_error=is_error(), seconds=seconds)
