"""Tells a listener how each call goes."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, Final

from penstock.core.chunks import Chunk, StopChunk, UsageChunk
from penstock.core.closing import aclosing, owed
from penstock.core.errors import InvalidRequestError
from penstock.core.messages import Message, Options, ResponseHead
from penstock.core.provider import BaseProvider, Send
from penstock.core.scope import Scope, in_scope
from penstock.middleware.events import (
    Abandoned,
    Completed,
    DroppedOption,
    Ended,
    Failed,
    FirstChunk,
    HeadersSeen,
    Listener,
    Resent,
    Started,
    UsageReported,
)
from penstock.middleware.listeners import Telling, check_listener
from penstock.middleware.wrapper import Wrapper, hearing

__all__ = ["Observe", "listen", "observed"]

_LONGEST: Final = 40
"""Characters that are shown of an option's value."""


class Observe(Wrapper):
    """Calls *listener* with Started, DroppedOption, Resent, HeadersSeen, FirstChunk, UsageReported, and then Completed,
    Failed or Abandoned.

    The last comes exactly once for each call that began, whatever way it ends, with all the usage seen. Around Retry or
    Fallback it tells of the call as the caller sees it; inside, of each try. The listener of an `open_provider` inside
    hears of each try from the provider itself, and nothing from here.
    """

    def __init__(self, inner: BaseProvider, listener: Listener, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(inner)
        self._listener = check_listener(listener)
        self._clock = clock

    def create_message(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """See BaseProvider."""
        return observed(self._inner.create_message, self._telling, system_prompt, messages, options)

    def _telling(self, scope: Scope) -> Telling:
        inside = [(*leaf.listeners, *(scope.listeners if leaf.listeners else ())) for leaf in self.leaves()]
        told = [each for each in (self._listener, *scope.listeners) if not all(each in those for those in inside)]
        return Telling(None, scope, self, self._clock, told)


def listen(leaf: BaseProvider, listener: Listener) -> None:
    """Let *listener* hear of each request to *leaf*, and of what the middlewares that are put around it do."""
    leaf.listeners = (*leaf.listeners, check_listener(listener))
    if _leaf_observed not in leaf.around:
        leaf.around = (*leaf.around, _leaf_observed)


def _leaf_observed(
    leaf: BaseProvider, send: Send, system_prompt: str, messages: Sequence[Message], options: Options
) -> AsyncGenerator[Chunk, None]:
    return observed(send, lambda scope: Telling(None, scope, leaf), system_prompt, messages, options)


class _Request:
    """What is known of a call until now, for its last event."""

    def __init__(self, telling: Telling) -> None:
        self.tell = telling.tell
        self.usage = UsageChunk()
        self.first: float | None = None
        self._id: str | None = None
        self._over = False

    def used(self, more: UsageChunk) -> None:
        """Count an increment, and tell of it."""
        self.usage += more
        self.tell(UsageReported, usage=more)

    def hearing(self, options: Options) -> Options:
        """*options* with which it is told of heads, of what is sent once more, and of what is left out."""

        def dropped(error: InvalidRequestError) -> None:
            option, why = str(error.option), error.message.partition(": ")[2]
            self.tell(DroppedOption, option=option, value=str(getattr(options, option))[:_LONGEST], why=why)

        return hearing(options, self._head, lambda error: self.tell(Resent, error=error), dropped)

    def _head(self, seen: ResponseHead) -> None:
        self._id = seen.request_id
        self.tell(HeadersSeen, status=seen.status, request_id=seen.request_id, wait=seen.wait, reused=seen.reused)

    def end(self, kind: type[Ended], request_id: str | None = None, **more: Any) -> None:
        """Tell the last event, once."""
        if not self._over:
            self._over = True
            request_id = request_id or self._id
            self.tell(kind, usage=self.usage, request_id=request_id, first_chunk=self.first, **more)


async def observed(
    send: Send,
    begin: Callable[[Scope], Telling],
    system_prompt: str,
    messages: Sequence[Message],
    options: Options | None,
) -> AsyncGenerator[Chunk, None]:
    """What *send* yields, told of by the Telling that *begin* makes when the first chunk is asked for."""
    options, scope = in_scope(options or Options())
    request = _Request(begin(scope))
    waiting = True
    try:
        request.tell(Started)
        async with aclosing(send(system_prompt, messages, request.hearing(options))) as chunks:
            async for chunk in chunks:
                if type(chunk) is UsageChunk:
                    request.used(chunk)
                elif waiting:
                    waiting = False
                    request.first = request.tell(FirstChunk)
                if type(chunk) is StopChunk:
                    request.end(Completed, stop=chunk, answered=chunk.model)
                yield chunk
    except Exception as error:
        request.end(Failed, getattr(error, "request_id", None), error=error)
        raise
    except BaseException as gone:
        if (more := owed(gone)) != UsageChunk():
            request.used(more)
        raise
    finally:
        # Without an await: it runs also where nothing can wait any more.
        request.end(Abandoned)
