"""What all middlewares share: a provider around a provider."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from decimal import Decimal
from typing import Self, TypeVar

import msgspec

from penstock.core.chunks import Chunk, UsageChunk
from penstock.core.errors import InvalidRequestError, ProviderError
from penstock.core.messages import Message, Options, ResponseHead
from penstock.core.models import Model
from penstock.core.provider import BaseProvider, check_provider
from penstock.core.provider_config import ProviderConfig
from penstock.core.tokens import TokenCount, TokenMemory

__all__ = ["Wrapper", "hearing", "is_visible"]

T = TypeVar("T")


def is_visible(chunk: Chunk) -> bool:
    """Whether the caller may have acted on *chunk*, so that a second try would repeat it: all but usage."""
    return type(chunk) is not UsageChunk


class Wrapper(BaseProvider):
    """Owns the provider inside, and forwards to it all but `create_message`, which a middleware writes.

    settings: what its repr says of it, beside what is inside; None is left out.
    """

    forwards = True
    _first: Wrapper | None = None

    def __init__(self, inner: BaseProvider, **settings: object) -> None:
        self._inner = check_provider("inner", inner)
        self.alias = self._inner.alias
        self.listeners = self._inner.listeners
        self._repr_settings = settings

    def also_around(self, inner: BaseProvider) -> Self:
        """The same around another provider: what it counts, it counts for both together."""
        again = copy(self)
        Wrapper.__init__(again, inner, **self._repr_settings)
        again._first = self  # so that who remembers it weakly has it as long as one of them is used
        return again

    def _repr_parts(self) -> Iterator[str]:
        yield repr(self._inner)
        yield from (f"{name}={value!r}" for name, value in self._repr_settings.items() if value is not None)

    def nested(self) -> Iterator[BaseProvider]:
        """See BaseProvider."""
        yield self
        yield from self._inner.nested()

    def get_model(self) -> Model:
        """See BaseProvider."""
        return self._inner.get_model()

    @property
    def server(self) -> tuple[str, int | None]:
        """See BaseProvider."""
        return self._inner.server

    @property
    def account(self) -> str:
        """See BaseProvider."""
        return self._inner.account

    @property
    def vendor(self) -> str:
        """See BaseProvider."""
        return self._inner.vendor

    @property
    def config(self) -> ProviderConfig | None:
        """See BaseProvider."""
        return self._inner.config

    def request_body(self, system_prompt: str, messages: Sequence[Message], options: Options | None = None) -> bytes:
        """See BaseProvider."""
        return self._inner.request_body(system_prompt, messages, options)

    @property
    def tokens(self) -> TokenMemory:
        """See BaseProvider."""
        return self._inner.tokens

    async def count_tokens(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> TokenCount:
        """See BaseProvider."""
        return await self._inner.count_tokens(system_prompt, messages, options)

    def calculate_cost(self, usage: UsageChunk) -> Decimal | None:
        """See BaseProvider."""
        return self._inner.calculate_cost(usage)

    async def aclose(self) -> None:
        """Close the provider inside."""
        await self._inner.aclose()


def hearing(
    options: Options,
    listener: Callable[[ResponseHead], object],
    resent: Callable[[ProviderError], object] | None = None,
    dropped: Callable[[InvalidRequestError], object] | None = None,
) -> Options:
    """*options* with *listener* told of each answer's head, before whoever was told of it already.

    resent, dropped: told likewise of each request that is sent once more, and of each option that is left out.
    """
    resend = options.on_resend if resent is None else _both(resent, options.on_resend)
    drop = options.on_drop if dropped is None else _both(dropped, options.on_drop)
    return msgspec.structs.replace(options, on_head=_both(listener, options.on_head), on_resend=resend, on_drop=drop)


def _both(first: Callable[[T], object], then: Callable[[T], object] | None) -> Callable[[T], object]:
    def both(said: T) -> None:
        first(said)
        if then is not None:
            then(said)

    return both
