"""Tells a listener how each call goes."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial

from penstock.core.chunks import Chunk, StopChunk, UsageChunk
from penstock.core.closing import aclosing, owed
from penstock.core.errors import ProviderError
from penstock.core.messages import Message, Options, ResponseHead
from penstock.core.provider import BaseProvider
from penstock.core.scope import in_scope
from penstock.middleware.events import (
    Abandoned,
    Completed,
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

__all__ = ["Observe"]


class Observe(Wrapper):
    """Calls *listener* with Started, Resent, HeadersSeen, FirstChunk, UsageReported, and then Completed, Failed or
    Abandoned.

    The last comes exactly once for each call that began, whatever way it ends, with all the usage seen. Around Retry or
    Fallback it tells of the call as the caller sees it; inside, of each try.
    """

    def __init__(self, inner: BaseProvider, listener: Listener, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(inner)
        self._listener = check_listener(listener)
        self._clock = clock

    async def create_message(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """See BaseProvider."""
        options, scope = in_scope(options or Options())
        tell = Telling(self._listener, scope, self._inner, self._clock).tell
        usage = UsageChunk()
        waiting, over = True, False
        try:
            tell(Started)
            hears = hearing(options, partial(_tell_head, tell), partial(_tell_resent, tell))
            async with aclosing(self._inner.create_message(system_prompt, messages, hears)) as chunks:
                async for chunk in chunks:
                    if type(chunk) is UsageChunk:
                        usage += chunk
                        tell(UsageReported, usage=chunk)
                    elif waiting:
                        waiting = False
                        tell(FirstChunk)
                    if type(chunk) is StopChunk:
                        over = True
                        tell(Completed, usage=usage, stop=chunk, answered=chunk.model)
                    yield chunk
        except Exception as error:
            if not over:
                over = True
                tell(Failed, usage=usage, error=error, request_id=getattr(error, "request_id", None))
            raise
        except BaseException as gone:
            usage += owed(gone)
            raise
        finally:
            # Without an await: it runs also where nothing can wait any more.
            if not over:
                tell(Abandoned, usage=usage)


def _tell_head(tell: Callable[..., None], head: ResponseHead) -> None:
    tell(HeadersSeen, status=head.status, request_id=head.request_id, wait=head.wait)


def _tell_resent(tell: Callable[..., None], error: ProviderError) -> None:
    tell(Resent, error=error)
