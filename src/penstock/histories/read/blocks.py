"""Reads a history as Anthropic's Messages API writes it: messages of blocks.

A block that has no form of ours, or more to it than ours has, is kept as it came.
Source: the types of the anthropic SDK 2.14, read 2026-11-30.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from penstock.core.arguments import is_object
from penstock.core.messages import (
    MEDIA_TYPES,
    DocumentPart,
    ImagePart,
    Part,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from penstock.histories.read.parts import Fields, Reading, decoded, json_of, whole, wrong

__all__ = ["read_blocks", "read_system", "thought_of"]

_DIRECT: Final = {"type": "direct"}  # the model itself has made the call, which is so without a word


class _Text(msgspec.Struct):
    text: str
    citations: list[msgspec.Raw] | None = None


class _Thinking(msgspec.Struct):
    thinking: str
    signature: str | None = None


class _Redacted(msgspec.Struct):
    data: str


class _Use(msgspec.Struct):
    id: str
    name: str
    input: msgspec.Raw
    caller: dict[str, Any] | None = None
    toolset_name: str | None = None


class _Result(msgspec.Struct):
    tool_use_id: str
    content: str | list[msgspec.Raw] = ""
    is_error: bool = False


class _Source(msgspec.Struct):
    type: str
    media_type: str | None = None
    data: str | None = None
    url: str | None = None


class _Image(msgspec.Struct):
    source: dict[str, Any]


class _Document(msgspec.Struct):
    source: dict[str, Any]
    title: str | None = None
    citations: dict[str, bool] = {}


def read_blocks(reading: Reading, turns: Sequence[msgspec.Raw], name: str) -> None:
    """Read the messages; *name* is the field that holds them."""
    for number, turn in enumerate(turns):
        place = f"{name}[{number}]"
        fields = reading.fields(turn, place)
        role = reading.role(fields, ("user", "assistant", "system"), place)
        blocks = reading.pieces(fields.get("content", msgspec.Raw(b"[]")), f"{place}.content")
        reading.left_out(fields, ("role", "content"), place)
        if role == "system":
            _within(reading, blocks, place)
            continue
        parts = [_part(reading, block, where, said=role == "assistant") for block, where in blocks]
        reading.add("assistant" if role == "assistant" else "user", parts, place)


def read_system(reading: Reading, system: msgspec.Raw) -> None:
    """The system prompt: a text, or blocks of text."""
    texts = []
    for block, where in reading.pieces(system, "system"):
        if reading.kind(block, where) != "text":
            wrong(where, f"a system prompt of the type {reading.kind(block, where)!r} has no form here, only of text")
        texts.append(reading.read(block, _Text, where, "type").text)
    reading.system_texts(texts, "system")


def _within(reading: Reading, blocks: Sequence[tuple[Fields, str]], place: str) -> None:
    """A message of the system's after others have spoken, which may hold more than text."""
    texts = [decoded(block["text"], str, f"{where}.text") for block, where in blocks if "text" in block]
    if all(reading.kind(block, where) == "text" for block, where in blocks):
        reading.system_within(texts, place)
        return
    message = {"role": "system", "content": [block for block, _ in blocks]}
    reading.add("user", [reading.own(json_of(message), "\n\n".join(texts))], place)


def _part(reading: Reading, block: Fields, place: str, *, said: bool) -> Part:
    """What says the same as a block, which is opaque where there is no other."""
    kind = reading.kind(block, place)
    row = _FORMS.get(kind)
    part = None
    if row is not None and block.keys() <= {"type", *row[0].__struct_fields__}:
        part = row[1](reading, decoded(json_of(block), row[0], place), place)
    if part is None or (said and isinstance(part, ImagePart | DocumentPart)):
        return reading.own(block.text, decoded(block["text"], str, f"{place}.text") if "text" in block else "")
    return part


def _text(reading: Reading, block: _Text, place: str) -> TextPart | None:
    return None if block.citations else TextPart(block.text)


def thought_of(reading: Reading, block: msgspec.Raw, place: str) -> Part:
    """What says the same as a block of thinking."""
    return _part(reading, reading.fields(block, place), place, said=True)


def _thinking(reading: Reading, block: _Thinking, place: str) -> ReasoningPart:
    return ReasoningPart(text=block.thinking, proof=block.signature or None, vendor=reading.vendor)


def _redacted(reading: Reading, block: _Redacted, place: str) -> ReasoningPart:
    return ReasoningPart(proof=block.data, redacted=True, vendor=reading.vendor)


def _call(reading: Reading, block: _Use, place: str) -> ToolCallPart:
    beside: dict[str, object] = {} if block.caller in (None, _DIRECT) else {"caller": block.caller}
    if block.toolset_name:
        beside["toolset_name"] = block.toolset_name
    arguments = bytes(block.input).decode("utf-8", "replace")
    if not is_object(arguments):
        wrong(f"{place}.input", "the arguments are no object")
    return reading.call(block.id, block.name, arguments, beside)


def _result(reading: Reading, block: _Result, place: str) -> ToolResultPart | None:
    if isinstance(block.content, str):
        return ToolResultPart(id=block.tool_use_id, content=block.content, is_error=block.is_error)
    shown = []
    for number, piece in enumerate(block.content):
        where = f"{place}.content[{number}]"
        part = _part(reading, reading.fields(piece, where), where, said=False)
        if not isinstance(part, TextPart | ImagePart | DocumentPart):
            return None
        shown.append(part)
    return ToolResultPart(id=block.tool_use_id, content=shown, is_error=block.is_error)


def _image(reading: Reading, block: _Image, place: str) -> ImagePart | None:
    given = _given(block.source, ImagePart, place)
    return None if given is None else ImagePart(**given)


def _document(reading: Reading, block: _Document, place: str) -> DocumentPart | None:
    given = _given(block.source, DocumentPart, place)
    if given is None or not block.citations.keys() <= {"enabled"}:
        return None
    return DocumentPart(**given, title=block.title, citations=block.citations.get("enabled", False))


def _given(given: dict[str, Any], part: type, place: str) -> dict[str, Any] | None:
    """The data or the URL of a file; None for one by an id, with more to it, or of a type that others do not take."""
    source = decoded(json_of(given), _Source, f"{place}.source")
    if not given.keys() <= set(_Source.__struct_fields__):
        return None
    if source.type == "url" and source.url is not None:
        return {"url": source.url}
    if source.data is None or source.media_type not in MEDIA_TYPES[part]:
        return None
    data = source.data.encode() if source.type == "text" else whole(source.data)
    return None if data is None else {"data": data, "media_type": source.media_type}


_FORMS: Final[Mapping[str, tuple[Any, Callable[[Reading, Any, str], Part | None]]]] = {
    "text": (_Text, _text),
    "thinking": (_Thinking, _thinking),
    "redacted_thinking": (_Redacted, _redacted),
    "tool_use": (_Use, _call),
    "tool_result": (_Result, _result),
    "image": (_Image, _image),
    "document": (_Document, _document),
}
"""The blocks that have a form of ours, by type: their fields, and what makes the part, or None for more than that."""
