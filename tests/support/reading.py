"""Reads bytes as a provider does, without a network: for the tests of the pure parts."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

import msgspec

from dialects import Script
from penstock import (
    Chunk,
    ModelInfo,
    ProviderError,
    ReasoningChunk,
    StopChunk,
    TextChunk,
    ToolCallChunk,
    ToolCallDeltaChunk,
    UsageChunk,
)
from penstock.core.cost import Meter
from penstock.core.dialect import Dialect, Wire
from penstock.wire.answer_reader import AnswerReader
from penstock.wire.anthropic.answer import AnthropicDecoder
from penstock.wire.openai.chat_answer import ChatDecoder
from penstock.wire.openai.responses_answer import ResponsesDecoder
from penstock.wire.vendors import DIALECTS

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
    return _attempt(AnswerReader(AnthropicDecoder(Meter(info, DAY))), pieces)


DECODERS: Final[dict[Wire, type[ChatDecoder | ResponsesDecoder]]] = {"chat": ChatDecoder, "responses": ResponsesDecoder}


def openai_reader(dialect: str | Dialect = "openai", wire: Wire = "chat", info: ModelInfo = PRICED) -> AnswerReader:
    """What reads one answer of this vendor on one of OpenAI's wires."""
    row = DIALECTS[dialect] if isinstance(dialect, str) else dialect
    return AnswerReader(DECODERS[wire](Meter(info, DAY), row))


def read_openai(
    pieces: Iterable[bytes], dialect: str | Dialect = "openai", wire: Wire = "chat", info: ModelInfo = PRICED
) -> list[Chunk]:
    """The chunks of one answer on OpenAI's wires that came in these pieces."""
    chunks, error = attempt_openai(pieces, dialect, wire, info)
    if error is not None:
        raise error
    return chunks


def attempt_openai(
    pieces: Iterable[bytes], dialect: str | Dialect = "openai", wire: Wire = "chat", info: ModelInfo = PRICED
) -> tuple[list[Chunk], ProviderError | None]:
    """The chunks until the end or until the error, and the error if there is one."""
    return _attempt(openai_reader(dialect, wire, info), pieces)


def _attempt(reader: AnswerReader, pieces: Iterable[bytes]) -> tuple[list[Chunk], ProviderError | None]:
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


def follows(script: Script, pieces: Iterable[bytes]) -> list[Chunk]:
    """The chunks of a script's answer that came in these pieces, after a check that they say what it expects."""
    chunks, error = attempt_openai(pieces, script.dialect, script.wire)
    assert (type(error).__name__ if error else "") == script.error
    assert (text_of(chunks), reasoning_of(chunks)) == (script.text, script.reasoning)
    calls = calls_of(chunks)
    assert [(call.name, call.arguments) for call in calls] == [(call.name, call.arguments) for call in script.calls]
    assert all(call.id == (wanted.id or call.id) for call, wanted in zip(calls, script.calls, strict=True))
    assert len({call.id for call in calls} - {""}) == len(calls)
    if not script.error:
        assert stop_of(chunks).reason == script.reason
    reports = [chunk for chunk in chunks if isinstance(chunk, UsageChunk)]
    usage = sum(reports, UsageChunk())
    assert any(msgspec.structs.replace(report, unsettled=0) != UsageChunk() for report in reports) == (
        script.usage is not None
    )
    counts = usage.input_tokens, usage.output_tokens, usage.cache_read_tokens, usage.cache_write_tokens
    assert (*counts, usage.reasoning_tokens) == (script.usage or (0, 0, 0, 0, 0))
    assert script.cost is None or usage.cost == script.cost
    keeps_the_contract(chunks)
    return chunks


def keeps_the_contract(chunks: Sequence[Chunk]) -> None:
    """What holds for the chunks of every answer, complete or not."""
    assert all(not isinstance(chunk, StopChunk) for chunk in chunks[:-1])
    total = UsageChunk()
    shown: dict[str, str] = {}
    for chunk in chunks:
        if isinstance(chunk, TextChunk):
            assert chunk.text
        elif isinstance(chunk, ReasoningChunk):
            assert chunk.text or chunk.proof
        elif isinstance(chunk, ToolCallDeltaChunk):
            shown[chunk.id] = shown.get(chunk.id, "") + chunk.arguments
        elif isinstance(chunk, ToolCallChunk):
            assert chunk.id in shown
            assert chunk.problem is not None or isinstance(msgspec.json.decode(chunk.arguments), dict)
        elif isinstance(chunk, UsageChunk):
            total += chunk
            assert min(msgspec.structs.asdict(total).values()) >= 0
            assert total.unsettled <= 1


def variants(script: Script) -> dict[str, bytes]:
    """The same answer as other servers and proxies would send it."""
    body = script.body
    if not body.lstrip()[:1].isalpha() and not body.startswith(b":"):
        return {}  # one document, a web page, or nothing
    unknown = b'event: weather\ndata: {"type":"weather","sky":"blue"}\n\n'
    field = b'data: {"sky":{"is":["blue",null]},'
    found = {
        "pings between the events": body.replace(b"\n\n", b"\n\n: ping\n\n"),
        "unknown events": body.replace(b"\n\n", b"\n\n" + unknown),
        "unknown fields": body.replace(b'data: {"', field + b'"').replace(b'data:{"', field + b'"'),
        "empty data between the events": body.replace(b"\n\n", b"\n\ndata:\n\n"),
    }
    if b"\r" not in body:
        found["CRLF"] = body.replace(b"\n", b"\r\n")
        found["CR"] = body.replace(b"\n", b"\r")
    if b"data: upstream" not in body:  # half an event that is no JSON is not looked at
        found["no last blank line"] = body.rstrip(b"\r\n")
        found["no last line end"] = body.rstrip(b"\n") + b"\n"
    if script.reason and (body.endswith(b"[DONE]\n\n") or script.wire == "responses"):
        found["more after the end"] = body + b'data: {"choices":[{"delta":{"content":"no"}}]}\n\ndata: {oops\n\n'
    return found
