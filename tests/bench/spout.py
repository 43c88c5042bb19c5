"""A provider that does nothing but yield, so that all else that a stream takes is a layer's above it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from decimal import Decimal
from typing import Final

from penstock.core.chunks import Chunk, StopChunk, TextChunk, UsageChunk
from penstock.core.messages import Message, Options
from penstock.core.models import Model, ModelInfo
from penstock.core.provider import BaseProvider

__all__ = ["Spout", "exhaust"]

INFO: Final = ModelInfo(input_price=Decimal(3), output_price=Decimal(15), max_tokens=1_000)


class Spout(BaseProvider):
    """Yields so many pieces of text, between a bill that is open and one that is settled."""

    def __init__(self, pieces: int) -> None:
        self._pieces = pieces

    def get_model(self) -> Model:
        """See BaseProvider."""
        return Model("m", INFO)

    async def create_message(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """See BaseProvider."""
        chunk = TextChunk("a")
        yield UsageChunk(unsettled=1)
        for _ in range(self._pieces):
            yield chunk
        yield UsageChunk(input_tokens=300, output_tokens=20, known_cost=Decimal("0.0012"), unsettled=-1)
        yield StopChunk(reason="stop")


async def exhaust(provider: BaseProvider, messages: Sequence[Message] = ()) -> None:
    """One call, to its end."""
    async for _ in provider.create_message("", messages):
        pass
