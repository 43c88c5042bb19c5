"""The one verb: `BaseProvider.create_message`. Everything else feeds it, wraps it, or folds what it yields."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from types import TracebackType
from typing import Final, NoReturn, Self

from penstock.core.chunks import Chunk, UsageChunk
from penstock.core.closing import closable
from penstock.core.cost import calculate_cost
from penstock.core.errors import ConfigError
from penstock.core.messages import Message, Options
from penstock.core.models import Model, ModelInfo

__all__ = ["ENTER_IT", "BaseProvider", "check_provider"]

ENTER_IT: Final = (
    "the context manager of provider.stream(...): write `async with provider.stream(...) as chunks`, "
    "or use provider.create_message(...)"
)
"""What to do with a stream that has not been entered."""


class BaseProvider(ABC):
    """A pipe to one model. Only `create_message` must be written; a wrapper forwards the rest as it likes."""

    alias: str | None = None
    """The name under which `open_provider` opened it, as events say it; None for a provider that was built by hand."""

    def __init_subclass__(cls) -> None:
        """Every provider's stream can be closed by any task, whoever wrote it."""
        super().__init_subclass__()
        if "create_message" in vars(cls):
            cls.create_message = closable(cls.create_message)  # type: ignore[method-assign]

    @abstractmethod
    def create_message(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """Send the history and yield the answer as typed chunks. An empty system_prompt sends none.

        1. Calling it sends nothing; the first `__anext__` sends.
        2. Text chunks come in order and are never empty.
        3. Usage chunks are increments: add them all up, over a call or over a month, and the sum is the bill. Unknown
           is never zero: an answer begins with an increment that has only `unsettled=1`, and the last one before the
           StopChunk takes it back if all that is billed is known.
        4. StopChunk comes exactly once, last, and only if the vendor said that the message is complete. A stream that
           ends without it raises StreamInterruptedError.
        5. Failures are raised, never yielded, and always as a ProviderError, which carries the usage so far.
        6. `aclose()` in any task, cancellation and a dropped generator close the connection, within a second, on
           asyncio and trio. Who waits for a chunk while another task closes gets a StreamInterruptedError.
        7. It does not retry: that is a middleware's work. But a request that finds the kept connection closed, within a
           second and without an answer, is sent once more on a new one.
        8. An unknown event, field, block or stop reason is tolerated; what can be kept for the next turn is kept.
        9. The API key appears in no repr, error or log line, and is not sent to another host.
        """

    def stream(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> AbstractAsyncContextManager[AsyncGenerator[Chunk, None]]:
        """`create_message` for those who `break`: leaving the `async with` closes the connection at once."""
        return _Stream(lambda: self.create_message(system_prompt, messages, options))

    def __repr__(self) -> str:
        """What it is, around what, for which model; never a key, a header, or what stands before a URL's host."""
        try:
            shown = ", ".join(self._repr_parts())
        except AttributeError:  # a traceback shows it while it is being built
            shown = "..."
        return f"{type(self).__name__}({shown})"

    def _repr_parts(self) -> Iterator[str]:
        """What repr shows between the brackets."""
        if model := self.get_model().id:
            yield repr(model)

    def get_model(self) -> Model:
        """The model that is asked, and what is known of it; a provider that does not say has an empty id."""
        return Model("", ModelInfo())

    @property
    def vendor(self) -> str:
        """Who is asked: the name of a dialect; empty where a provider does not say."""
        return ""

    def calculate_cost(self, usage: UsageChunk) -> Decimal | None:
        """What one call's usage costs in US dollars at this model's standard prices; None when a price is not known.

        `UsageChunk.cost` knows more: the service tier and the day of the call.
        """
        return calculate_cost(usage, self.get_model().info)

    async def aclose(self) -> None:  # noqa: B027 - most wrappers and test doubles hold nothing
        """Close what the provider holds. Safe to call twice; a stream that still runs breaks."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


def check_provider(name: str, value: object) -> BaseProvider:
    """*value*, a provider, or ConfigError. The value is not shown: it may be a key in the wrong place."""
    if not isinstance(value, BaseProvider):
        raise ConfigError(
            f"`{name}` is of type {type(value).__name__}, expected a provider: what open_provider(ALIAS) returns"
        )
    return value


class _Stream(AbstractAsyncContextManager[AsyncGenerator[Chunk, None]]):
    """Closes the chunks of one call when it is left. Who reads it without entering it is told what to write."""

    def __init__(self, begin: Callable[[], AsyncGenerator[Chunk, None]]) -> None:
        self._begin = begin

    async def __aenter__(self) -> AsyncGenerator[Chunk, None]:
        self._chunks = self._begin()
        return self._chunks

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._chunks.aclose()

    def __aiter__(self) -> NoReturn:
        raise ConfigError(f"this is {ENTER_IT}")

    __await__ = __aiter__
