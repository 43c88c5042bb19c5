"""Asks the next provider when one fails, while nothing has been shown to the caller yet."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack

from penstock.core.chunks import Chunk, UsageChunk
from penstock.core.closing import aclosing
from penstock.core.errors import (
    AuthenticationError,
    BudgetExceededError,
    ConfigError,
    InvalidRequestError,
    LedgerError,
    ProviderError,
    StoreError,
)
from penstock.core.messages import Message, Options
from penstock.core.provider import BaseProvider, check_provider
from penstock.core.scope import in_scope
from penstock.middleware.events import FallbackTo, Listener
from penstock.middleware.listeners import Telling, check_listener, each_once, facts
from penstock.middleware.wrapper import Wrapper, is_visible

__all__ = ["Fallback"]


class Fallback(Wrapper):
    """Asks *primary*, and if that fails before the first chunk that is not usage, each of *others* in turn.

    Each gets the same system prompt, messages and options; foreign proofs of reasoning are left out by each wire.
    Any error leads to the next provider but these: a ConfigError, a budget that is spent, a ledger that cannot be
    written, a store that is lost, and a request that the vendor itself calls invalid (400, 422), as most such requests
    are broken for all of them, and a mistake must not quietly move to another model.
    An option that the wire or the model cannot do (no status), and a history that is too long for it, do lead on.
    Whoever refused a key that has been replaced since is asked once more, before anybody else.

    The last one's error gets out, with the usage of all; its `__cause__`s lead to those before it, down to the first.
    Model and prices are those of *primary*; `StopChunk.model` says who answered. Closing it closes all.
    """

    def __init__(
        self,
        primary: BaseProvider,
        *others: BaseProvider,
        listener: Listener | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(check_provider("primary", primary))
        self._providers = (primary, *(check_provider("others", other) for other in others))
        if not others:
            raise ConfigError("`others` is empty, expected at least one provider to fall back on")
        if len({id(provider) for provider in self._providers}) < len(self._providers):
            raise ConfigError("`others` names a provider twice, expected a different one each time")
        self.listeners = each_once(*(provider.listeners for provider in self._providers))
        self._listener = None if listener is None else check_listener(listener)
        self._clock = clock

    def _repr_parts(self) -> Iterator[str]:
        return map(repr, self._providers)

    def nested(self) -> Iterator[BaseProvider]:
        """See BaseProvider."""
        yield self
        for provider in self._providers:
            yield from provider.nested()

    async def create_message(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """See BaseProvider."""
        options, scope = in_scope(options or Options())
        tell = Telling(self._listener, scope, self, self._clock).tell
        spent = UsageChunk()
        earlier: ProviderError | None = None
        left = deque(self._providers)
        twice: BaseProvider | None = None  # who was asked once more
        try:
            while left:
                provider, shown = left.popleft(), False
                try:
                    async with aclosing(provider.create_message(system_prompt, messages, options)) as chunks:
                        async for chunk in chunks:
                            shown = is_visible(chunk)
                            yield chunk
                            if shown:
                                break
                        async for chunk in chunks:
                            yield chunk
                    return
                except ProviderError as error:
                    spent += error.usage
                    _chain(error, earlier)
                    renewed = isinstance(error, AuthenticationError) and error.retryable and not shown
                    if renewed and twice is not provider:
                        twice = provider
                        left.appendleft(provider)
                    elif shown or not left or not _another_may_do(error):
                        error.usage = spent
                        raise
                    else:
                        attempt = len(self._providers) - len(left) + 1
                        tell(FallbackTo, about=left[0], attempt=attempt, **facts(error))
                    earlier = error
        finally:
            earlier = None  # its traceback knows this frame: a cycle that only the garbage collector would find

    async def aclose(self) -> None:
        """Close all providers, also when one of them fails to close."""
        async with AsyncExitStack() as stack:
            for provider in self._providers:
                stack.push_async_callback(provider.aclose)


def _another_may_do(error: ProviderError) -> bool:
    if isinstance(error, InvalidRequestError):
        return error.status is None or error.retryable
    return not isinstance(error, BudgetExceededError | ConfigError | LedgerError | StoreError)


def _chain(error: ProviderError, earlier: ProviderError | None) -> None:
    """Attach *earlier* to the end of what *error* was raised from: nothing that is there already is lost."""
    if earlier is None:
        return
    before = {id(cause) for cause in _causes(earlier)}
    own = list(_causes(error))
    if not before & {id(cause) for cause in own}:
        own[-1].__cause__ = earlier


def _causes(error: BaseException) -> Iterator[BaseException]:
    """*error*, what it was raised from, and so on."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__
