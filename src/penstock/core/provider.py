"""The one verb: `BaseProvider.create_message`. Everything else feeds it, wraps it, or folds what it yields."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn, Protocol, Self

import msgspec

from penstock.core.chunks import Chunk, UsageChunk
from penstock.core.closing import closable
from penstock.core.cost import calculate_cost
from penstock.core.errors import ConfigError
from penstock.core.messages import Message, Options
from penstock.core.models import Model, ModelInfo
from penstock.core.provider_config import ProviderConfig
from penstock.core.scope import EVERYWHERE, in_scope
from penstock.core.tokens import TokenCount, TokenMemory

__all__ = ["ENTER_IT", "Around", "BaseProvider", "Send", "check_provider"]

ENTER_IT: Final = (
    "the context manager of provider.stream(...): write `async with provider.stream(...) as chunks`, "
    "or use provider.create_message(...)"
)
"""What to do with a stream that has not been entered."""


class Send(Protocol):
    """A leaf's `create_message`, or what is around it further inside."""

    def __call__(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None, /
    ) -> AsyncGenerator[Chunk, None]: ...


class Around(Protocol):
    """What goes around each request to a leaf, wherever Retry, Fallback and the others stand: it calls *send*."""

    def __call__(
        self, leaf: BaseProvider, send: Send, system_prompt: str, messages: Sequence[Message], options: Options, /
    ) -> AsyncGenerator[Chunk, None]: ...


class BaseProvider(ABC):
    """A pipe to one model. Only `create_message` must be written; a wrapper forwards the rest as it likes."""

    alias: str | None = None
    """The name under which `open_provider` opened it, as events say it; None for a provider that was built by hand."""
    around: tuple[Around, ...] = ()
    """Of a leaf: what goes around each of its requests, inside that of the call's scope."""
    listeners: tuple[Callable[[Any], object], ...] = ()
    """Who is told of its calls, by it and by the middlewares around it."""
    forwards: ClassVar[bool] = False
    """Whether it hands the call on to other providers, and so is no leaf."""

    def __init_subclass__(cls) -> None:
        """Every provider's stream can be closed by any task, whoever wrote it; every leaf calls what is around it."""
        super().__init_subclass__()
        if "create_message" in vars(cls):
            make = cls.create_message if cls.forwards else _at_the_leaf(cls.create_message)
            cls.create_message = closable(make)  # type: ignore[method-assign]

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

    def nested(self) -> Iterator[BaseProvider]:
        """The provider itself, and all that it hands calls on to."""
        yield self

    def leaves(self) -> Iterator[BaseProvider]:
        """The providers that a call may reach in the end: those that send requests. A wrapper has its inner's."""
        return (each for each in self.nested() if not each.forwards)

    def get_model(self) -> Model:
        """The model that is asked, and what is known of it; a provider that does not say has an empty id."""
        return Model("", ModelInfo())

    @property
    def vendor(self) -> str:
        """Who is asked: the name of a dialect; empty where a provider does not say."""
        return ""

    @property
    def server(self) -> tuple[str, int | None]:
        """The host that is asked, and the port if its address names one; no host where a provider does not say."""
        return "", None

    @property
    def account(self) -> str:
        """The fingerprint of the key that is sent; empty where that is fetched or not known. A wrapper's is that of its
        inner provider.
        """
        return ""

    @property
    def is_open(self) -> bool:
        """Whether it holds connections, in whatever event loop; False where a provider does not say."""
        return any(leaf.is_open for leaf in self.leaves() if leaf is not self)

    @property
    def config(self) -> ProviderConfig | None:
        """What it was built with, to look at: keys are `•••`, and an address is without password and query. A
        wrapper's is that of its inner provider; None where a provider does not say.
        """
        return None

    def request_body(self, system_prompt: str, messages: Sequence[Message], options: Options | None = None) -> bytes:
        """The body that the call would send, byte for byte; nothing is sent, and no key is in it but what `extra` may
        hold. Raises what the call would raise before sending, and ConfigError where a provider sends none.
        """
        raise ConfigError(f"{type(self).__name__} sends no request whose body could be shown")

    @property
    def tokens(self) -> TokenMemory:
        """What is known here of the tokens of this model's prompts; a wrapper's is that of its inner provider."""
        found: TokenMemory | None = vars(self).get("_tokens")
        # Of two threads that come first at once, both get that of one.
        return found if found is not None else vars(self).setdefault("_tokens", self._new_tokens())

    def _new_tokens(self) -> TokenMemory:
        """An empty memory; a leaf that knows its vendor's row says so."""
        return TokenMemory(self.get_model().id)

    async def count_tokens(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> TokenCount:
        """How many tokens a call's prompt has: the vendor is asked where it counts for nothing, else it is a guess."""
        tokens = self.tokens.estimate(system_prompt, messages, options)
        return TokenCount(tokens=tokens, exact=False, source="estimate")

    def calculate_cost(self, usage: UsageChunk) -> Decimal | None:
        """What one call's usage costs in US dollars at this model's standard prices; None when a price is not known.

        `UsageChunk.cost` knows more: the service tier and the day of the call.
        """
        return calculate_cost(usage, self.get_model().info)

    async def aclose(self) -> None:  # noqa: B027 - most wrappers and test doubles hold nothing
        """Close what the provider holds. Safe to call twice; a stream that still runs breaks."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    if not TYPE_CHECKING:  # to a type checker there is no `with provider`

        def __enter__(self):
            raise ConfigError(
                "a provider is entered with `async with`; with a plain `with`, write `blocking(provider)`"
            )

        __exit__ = __enter__


def _at_the_leaf(make: Callable[..., AsyncGenerator[Chunk, None]]) -> Callable[..., AsyncGenerator[Chunk, None]]:
    @wraps(make)
    def make_with_all_around(
        self: BaseProvider, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> AsyncGenerator[Chunk, None]:
        scope = getattr(options, "scope", None)
        # A class may call its parent's: what is around it is around it once.
        own = () if scope is not None and scope.leaf is self else self.around
        around: tuple[Around, ...] = (*(EVERYWHERE if scope is None else scope).around, *own)
        if not around:
            return make(self, system_prompt, messages, options)
        send: Any = partial(_reach, make, self)
        for each in reversed(around):
            send = partial(each, self, send)
        stream: AsyncGenerator[Chunk, None] = send(system_prompt, messages, Options() if options is None else options)
        return stream

    return make_with_all_around


def _reach(
    make: Callable[..., AsyncGenerator[Chunk, None]],
    leaf: BaseProvider,
    system_prompt: str,
    messages: Sequence[Message],
    options: Options | None = None,
) -> AsyncGenerator[Chunk, None]:
    """The leaf's own, inside of all that is around it."""
    options, scope = in_scope(options or Options())
    reached = msgspec.structs.replace(scope, leaf=leaf, around=())
    return make(leaf, system_prompt, messages, msgspec.structs.replace(options, scope=reached))


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

    async def __aexit__(self, *exc: object) -> None:
        await self._chunks.aclose()

    def __aiter__(self) -> NoReturn:
        raise ConfigError(f"this is {ENTER_IT}")

    __await__ = __aiter__
    if not TYPE_CHECKING:  # which refuses these
        __iter__ = __enter__ = __exit__ = __aiter__
