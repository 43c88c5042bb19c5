"""A provider that owns more than the one inside."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

from penstock.core.chunks import Chunk
from penstock.core.messages import Message, Options
from penstock.core.provider import BaseProvider
from penstock.middleware.wrapper import Wrapper

__all__ = ["Owner"]


class Owner(Wrapper):
    """Closes something else with itself. close: awaited once the provider inside is closed."""

    def __init__(self, inner: BaseProvider, close: Callable[[], Awaitable[object]]) -> None:
        super().__init__(inner)
        self._close = close

    def __repr__(self) -> str:
        """That of what is inside."""
        return repr(self._inner)

    def create_message(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """See BaseProvider."""
        return self._inner.create_message(system_prompt, messages, options)

    async def aclose(self) -> None:
        """Close both, the second also where the first fails to close."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._close)
            stack.push_async_callback(self._inner.aclose)
