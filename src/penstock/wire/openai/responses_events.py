"""OpenAI's Responses API, the events of an answer: the fields that are read of them."""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.wire.openai.tool_calls import Arguments

__all__ = [
    "Delta",
    "Incomplete",
    "Item",
    "ItemDelta",
    "ItemEvent",
    "ItemType",
    "Response",
    "ResponseEvent",
]


class Delta(msgspec.Struct, gc=False):
    """A piece of the text."""

    delta: str | None = None


class ItemDelta(msgspec.Struct, gc=False):
    """A piece, or in the events called `done` the whole."""

    delta: str | None = None
    text: str | None = None
    refusal: str | None = None
    arguments: Arguments = None
    input: str | None = None
    item_id: str | None = None
    output_index: int | None = None


class TextPiece(msgspec.Struct):
    """A part of a message, or of reasoning."""

    text: str | None = None
    refusal: str | None = None
    annotations: list[msgspec.Raw] | None = None


class Item(msgspec.Struct):
    """The fields of the items that have a neutral form; other items may use their names for other things."""

    content: list[TextPiece] | None = None
    summary: list[TextPiece] | None = None
    encrypted_content: str | None = None
    phase: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: Arguments = None


class ItemType(msgspec.Struct):
    """What an item is."""

    type: str | None = None
    id: str | None = None
    action: Any = None  # of a web search


class ItemEvent(msgspec.Struct):
    """An item begins, or has ended."""

    item: msgspec.Raw = msgspec.Raw(b"null")
    output_index: int | None = None


class Incomplete(msgspec.Struct):
    """Why it is not complete."""

    reason: str | None = None


class Response(msgspec.Struct):
    """The answer, as its first and its last event have it."""

    id: str | None = None
    model: str | None = None
    status: str | None = None
    output: list[msgspec.Raw] | None = None
    usage: msgspec.Raw = msgspec.Raw()
    cost: msgspec.Raw = msgspec.Raw()
    service_tier: str | None = None
    incomplete_details: Incomplete | None = None
    error: msgspec.Raw = msgspec.Raw()
    object: str | None = None


class ResponseEvent(msgspec.Struct):
    """An event with the answer."""

    response: Response | None = None  # of one that failed Perplexity says only the error
