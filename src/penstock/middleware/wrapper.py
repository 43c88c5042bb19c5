"""What all middlewares share: a provider around a provider."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import TypeVar

import msgspec

from penstock.core.chunks import Chunk, UsageChunk
from penstock.core.errors import ProviderError
from penstock.core.messages import Options, ResponseHead
from penstock.core.models import Model
from penstock.core.provider import BaseProvider, check_provider
from penstock.core.scope import in_scope

__all__ = ["Wrapper", "hearing", "is_visible"]

T = TypeVar("T")


def is_visible(chunk: Chunk) -> bool:
    """Whether the caller may have acted on *chunk*, so that a second try would repeat it: all but usage."""
    return type(chunk) is not UsageChunk


class Wrapper(BaseProvider):
    """Owns the provider inside, and forwards to it all but `create_message`, which a middleware writes.

    settings: what its repr says of it, beside what is inside; None is left out.
    """

    def __init__(self, inner: BaseProvider, **settings: object) -> None:
        self._inner = check_provider("inner", inner)
        self.alias = self._inner.alias
        self._repr_settings = settings

    def _repr_parts(self) -> Iterator[str]:
        yield repr(self._inner)
        yield from (f"{name}={value!r}" for name, value in self._repr_settings.items() if value is not None)

    def get_model(self) -> Model:
        """See BaseProvider."""
        return self._inner.get_model()

    @property
    def vendor(self) -> str:
        """See BaseProvider."""
        return self._inner.vendor

    def calculate_cost(self, usage: UsageChunk) -> Decimal | None:
        """See BaseProvider."""
        return self._inner.calculate_cost(usage)

    async def aclose(self) -> None:
        """Close the provider inside."""
        await self._inner.aclose()


def hearing(
    options: Options | None,
    listener: Callable[[ResponseHead], object],
    resent: Callable[[ProviderError], object] | None = None,
) -> Options:
    """*options* with *listener* told of each answer's head, before whoever was told of it already.

    resent: told likewise of each request that is sent once more.
    """
    options, _ = in_scope(Options() if options is None else options)
    heard = {"on_head": _both(listener, options.on_head)}
    return msgspec.structs.replace(
        options, **heard if resent is None else {**heard, "on_resend": _both(resent, options.on_resend)}
    )


def _both(first: Callable[[T], object], then: Callable[[T], object] | None) -> Callable[[T], object]:
    def both(said: T) -> None:
        first(said)
        if then is not None:
            then(said)

    return both
