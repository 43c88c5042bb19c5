"""Reads bytes as a provider does, without a network: for the tests of the pure parts."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from decimal import Decimal

from penstock import Chunk, ModelInfo, ProviderError, ReasoningChunk, StopChunk, TextChunk, ToolCallChunk, UsageChunk
from penstock.cost import Meter
from penstock.wire.anthropic_messages import AnthropicDecoder
from penstock.wire.reader import AnswerReader

PRICED = ModelInfo(
    input_price=Decimal(3),
    output_price=Decimal(15),
    cache_writes_price=Decimal("3.75"),
    cache_writes_extended_price=Decimal(6),
    cache_reads_price=Decimal("0.3"),
    web_search_price=Decimal(10),
)
DAY = dt.date(2026, 11, 21)


def read(pieces: Iterable[bytes], info: ModelInfo = PRICED) -> list[Chunk]:
    """The chunks of one Anthropic answer that came in these pieces."""
    chunks, error = attempt(pieces, info)
    if error is not None:
        raise error
    return chunks


def attempt(pieces: Iterable[bytes], info: ModelInfo = PRICED) -> tuple[list[Chunk], ProviderError | None]:
    """The chunks until the end or until the error, and the error if there is one."""
    reader = AnswerReader(AnthropicDecoder(Meter(info, DAY)))
    chunks: list[Chunk] = []
    try:
        for piece in pieces:
            for chunk in reader.feed(piece):
                chunks.append(chunk)  # noqa: PERF402 - what came before an error is kept
            if reader.done:
                return chunks, None
        for chunk in reader.close():
            chunks.append(chunk)  # noqa: PERF402
    except ProviderError as error:
        return chunks, error
    return chunks, None


def cut(body: bytes, size: int) -> list[bytes]:
    """The body in pieces of *size* bytes."""
    return [body[start : start + size] for start in range(0, len(body), size)]


def text_of(chunks: Sequence[Chunk]) -> str:
    """The visible text."""
    return "".join(chunk.text for chunk in chunks if isinstance(chunk, TextChunk))


def reasoning_of(chunks: Sequence[Chunk]) -> str:
    """The text of the reasoning."""
    return "".join(chunk.text for chunk in chunks if isinstance(chunk, ReasoningChunk))


def calls_of(chunks: Sequence[Chunk]) -> list[ToolCallChunk]:
    """The whole tool calls."""
    return [chunk for chunk in chunks if isinstance(chunk, ToolCallChunk)]


def usage_of(chunks: Sequence[Chunk]) -> UsageChunk:
    """The bill."""
    return sum((chunk for chunk in chunks if isinstance(chunk, UsageChunk)), UsageChunk())


def stop_of(chunks: Sequence[Chunk]) -> StopChunk:
    """The stop chunk, which must be the only one and the last."""
    assert [isinstance(chunk, StopChunk) for chunk in chunks].index(True) == len(chunks) - 1
    last = chunks[-1]
    assert isinstance(last, StopChunk)
    return last
