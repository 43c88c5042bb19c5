"""What all middlewares share: a provider around a provider."""

from __future__ import annotations

from decimal import Decimal

from penstock.chunks import Chunk, UsageChunk
from penstock.middleware.checking import check_provider
from penstock.models import Model
from penstock.provider import BaseProvider

__all__ = ["Wrapper", "is_visible"]


def is_visible(chunk: Chunk) -> bool:
    """Whether the caller may have acted on *chunk*, so that a second try would repeat it: all but usage."""
    return type(chunk) is not UsageChunk


class Wrapper(BaseProvider):
    """Owns the provider inside, and forwards to it all but `create_message`, which a middleware writes."""

    def __init__(self, inner: BaseProvider) -> None:
        self._inner = check_provider("inner", inner)

    def get_model(self) -> Model:
        """See BaseProvider."""
        return self._inner.get_model()

    def calculate_cost(self, usage: UsageChunk) -> Decimal | None:
        """See BaseProvider."""
        return self._inner.calculate_cost(usage)

    async def aclose(self) -> None:
        """Close the provider inside."""
        await self._inner.aclose()
