"""Finds which API has written a history: the first thing tells that only one of them has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeVar

import msgspec

from penstock.core.arguments import UNDECODABLE
from penstock.core.dialect import Wire
from penstock.histories.read.items import is_item

__all__ = ["find_wire"]

T = TypeVar("T")

# Of bodies, of tools, of messages: the fields; and the types of parts.
_OF_BODIES: Final[Mapping[str, Wire]] = {"system": "messages", "functions": "chat"}
_OF_TOOLS: Final[Mapping[str, Wire]] = {"input_schema": "messages", "function": "chat"}
_OF_MESSAGES: Final[Mapping[str, Wire]] = dict.fromkeys(
    (
        *("tool_calls", "tool_call_id", "function_call", "refusal", "audio", "reasoning_content", "reasoning"),
        *("reasoning_details", "thinking_blocks", "extra_content"),
    ),
    "chat",
)
_ROLES: Final[Mapping[str, Wire]] = {"developer": "chat", "tool": "chat", "function": "chat"}
_PARTS: Final[Mapping[str, Wire]] = {
    **dict.fromkeys(("image_url", "input_audio", "file", "video_url", "audio_url", "document_url"), "chat"),
    **dict.fromkeys(("input_text", "output_text", "input_image", "input_file"), "responses"),
    **dict.fromkeys(("image", "document", "redacted_thinking", "search_result", "container_upload"), "messages"),
}
_BLOCKS: Final = ("tool_use", "tool_result")  # how the types of blocks end


def find_wire(body: Mapping[str, msgspec.Raw], turns: Sequence[msgspec.Raw], name: str) -> Wire:
    """Which API it is; `chat` where nothing tells, as then two of them would have written the same.

    body: the fields of the request, as far as there is one. name: the field that holds the history, empty for none.
    """
    if name == "input":
        return "responses"
    found = [
        *_known(body, _OF_BODIES),
        *(wire for tool in _list(body.get("tools")) for wire in _known(tool, _OF_TOOLS)),
    ]
    if found:
        return found[0]
    return next((wire for number, turn in enumerate(turns) for wire in _of_turn(_fields(turn), number)), "chat")


def _of_turn(turn: Mapping[str, msgspec.Raw], number: int) -> Iterator[Wire]:
    """What tells in a message, or an item."""
    role, kind = _text(turn.get("role")), _text(turn.get("type"))
    if "role" not in turn and is_item(kind):
        yield "responses"
    yield from _known(turn, _OF_MESSAGES)
    if role in _ROLES or (role == "system" and not number):
        yield _ROLES.get(role, "chat")
    for part in _list(turn.get("content")):
        kind = _text(part.get("type"))
        if kind in _PARTS:
            yield _PARTS[kind]
        elif kind.endswith(_BLOCKS) or (kind == "thinking" and _text(part.get(kind))):
            yield "messages"


def _known(fields: Mapping[str, msgspec.Raw], table: Mapping[str, Wire]) -> list[Wire]:
    return [wire for name, wire in table.items() if bytes(fields.get(name, b"null")) != b"null"]


# What is of a wrong type tells nothing here: the reader names it.


def _decoded(data: msgspec.Raw | None, kind: type[T]) -> T:
    """The value; an empty one where it is not there, or of another type."""
    try:
        return kind() if data is None else msgspec.json.decode(data, type=kind)
    except UNDECODABLE:
        return kind()


def _fields(data: msgspec.Raw) -> dict[str, msgspec.Raw]:
    return _decoded(data, dict[str, msgspec.Raw])


def _list(data: msgspec.Raw | None) -> list[dict[str, msgspec.Raw]]:
    return [_fields(one) for one in _decoded(data, list[msgspec.Raw])]


def _text(data: msgspec.Raw | None) -> str:
    return _decoded(data, str)
