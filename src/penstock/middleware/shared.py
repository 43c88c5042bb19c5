"""What `penstock.Providers` gives out: a provider that many use, and that none of them closes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import msgspec

from penstock.core.chunks import Chunk
from penstock.core.closing import aclosing
from penstock.core.messages import Message, Options
from penstock.core.provider import BaseProvider, Send
from penstock.core.tokens import TokenCount
from penstock.middleware.circuit_breaker import CircuitBreaker
from penstock.middleware.wrapper import Wrapper

__all__ = ["ProviderStatus", "SharedProvider"]


class ProviderStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How one of the providers of Providers is at the moment."""

    alias: str
    """The alias that it was opened by, the one of its entry in models.json."""
    key: str | None
    """The fingerprint of its key, as `penstock keys list` shows it; None where the key is fetched or not known."""
    state: Literal["open", "closed"]
    """`open`: it holds connections; `closed`: none yet, or none any more, and the next call opens one."""
    circuit: Literal["closed", "open", "trial"] | None
    """Of its circuit breaker: `closed`: calls pass; `open`: none does; `trial`: one decides. None without a breaker."""
    running: int
    """Requests that run."""
    waiting: int
    """Calls that wait: for a place, for the rate limit, for the next try."""


class SharedProvider(Wrapper):
    """The provider of one alias, with its middleware. Closing it closes nothing, as others use it too."""

    def __init__(
        self,
        inner: BaseProvider,
        fallback: Sequence[str],
        admit: Callable[[SharedProvider], Awaitable[None]],
        clock: Callable[[], float],
        key: str | None,
    ) -> None:
        """admit: awaited before each call and each of its requests; it may raise a ProviderError. key: the key's
        fingerprint, None where there is none.
        """
        super().__init__(inner)
        self.fallback = fallback
        """The aliases that it falls back on."""
        # A set is added to in one step, so that loops of other threads may do it too.
        self.calls: set[object] = set()
        """The calls that have begun and not ended."""
        self._admit = admit
        self._clock = clock
        self._key = key
        self._requests = set[object]() if inner.forwards else self.calls
        if inner.forwards:
            for leaf in inner.leaves():
                leaf.around = (*leaf.around, self._counted)
        self.used = clock()
        """When it was last used."""
        self.forgotten = False
        """Whether nobody gets it any more who asks for its alias."""

    def status(self) -> ProviderStatus:
        """How it is at the moment."""
        running = len(self._requests)
        return ProviderStatus(
            alias=self.alias or "",
            key=self._key,
            state="open" if self.is_open else "closed",
            circuit=next((each.state for each in self.nested() if isinstance(each, CircuitBreaker)), None),
            running=running,
            waiting=max(0, len(self.calls) - running),
        )

    async def create_message(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """See BaseProvider."""
        with self._in_use(self.calls):
            await self._admit(self)
            async with aclosing(self._inner.create_message(system_prompt, messages, options)) as chunks:
                async for chunk in chunks:
                    yield chunk

    async def _counted(
        self, leaf: BaseProvider, send: Send, system_prompt: str, messages: Sequence[Message], options: Options
    ) -> AsyncGenerator[Chunk, None]:
        await self._admit(self)  # again: it may have waited for a place, or its next try, until all was closed
        with self._in_use(self._requests):
            async with aclosing(send(system_prompt, messages, options)) as chunks:
                async for chunk in chunks:
                    yield chunk

    @contextmanager
    def _in_use(self, *counts: set[object]) -> Iterator[None]:
        """Around what runs."""
        call = object()
        for each in counts:
            each.add(call)
        try:
            yield
        finally:
            for each in counts:
                each.discard(call)
            self.used = self._clock()

    async def count_tokens(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> TokenCount:
        """See BaseProvider."""
        with self._in_use(self.calls, self._requests):
            await self._admit(self)
            return await super().count_tokens(system_prompt, messages, options)

    async def aclose(self) -> None:
        """Nothing: `Providers.aclose` and `Providers.forget` close it."""

    async def release(self) -> None:
        """Close the connections that it holds in this event loop."""
        await self._inner.aclose()
