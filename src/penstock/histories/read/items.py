"""Reads a history as the Responses API writes it: items, of which messages are some.

An item that has no form of ours, or more to it than ours has, is kept as it came. The ids of items, and their status,
are bookkeeping: they do not go back.
Source: the types of the openai SDK 3.57, and recorded requests; read 2026-11-30.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from penstock.core.client_calls import FUNCTION_BESIDE
from penstock.core.messages import ImagePart, Part, ReasoningPart, TextPart, ToolCallPart, ToolResultPart
from penstock.histories.read.parts import Fields, Reading, decoded, file_of, image_of, json_of

__all__ = ["is_item", "read_items"]

_BOOKKEEPING: Final = ("type", "id", "status")
_DIRECT: Final = b'{"type":"direct"}'  # the caller is the model itself, which is so without a word
_NOTHING: Final = msgspec.Raw(b'""')
_ROLES: Final = ("system", "developer", "user", "assistant")
_USERS: Final = ("_output", "_response")  # how the types of items end that the client sends
_MODELS: Final = ("_call", "_request", "_tools", "reasoning", "compaction", "program", "item_reference")
_TEXTS: Final = ("input_text", "output_text", "text", "refusal")
_FREE: Final = "custom_tool_call"


def is_item(kind: str) -> bool:
    """Whether it is the type of an item that is known."""
    return kind.endswith((*_USERS, *_MODELS))


class _Call(msgspec.Struct):
    call_id: str
    name: str
    arguments: str = "{}"
    input: str = ""


class _Output(msgspec.Struct):
    call_id: str
    output: msgspec.Raw


class _Texts(msgspec.Struct):
    text: str = ""


class _Reasoning(msgspec.Struct):
    summary: list[_Texts] = []
    content: list[_Texts] = []


def read_items(reading: Reading, items: Sequence[msgspec.Raw], name: str) -> None:
    """Read the items; *name* is the field that holds them."""
    given = [(reading.fields(item, f"{name}[{number}]"), f"{name}[{number}]") for number, item in enumerate(items)]
    answered = {bytes(fields["call_id"]) for fields, _ in given if _ends(fields, "custom_tool_call_output")}
    reader = _Items(reading, answered)
    for fields, place in given:
        reader.item(fields, place)


def _ends(fields: Fields, kind: str) -> bool:
    return bytes(fields.get("type", b"")) == msgspec.json.encode(kind) and "call_id" in fields


class _Items:
    """Reads the items of one history, in order. answered: ids of free calls that the client has answered, as JSON."""

    def __init__(self, reading: Reading, answered: set[bytes]) -> None:
        self._reading = reading
        self._answered = answered
        self._begun = False

    def item(self, fields: Fields, place: str) -> None:
        """Read the next one."""
        reading = self._reading
        kind = "message" if "type" not in fields and "role" in fields else reading.kind(fields, place)
        if kind == "message":
            self._message(fields, place)
            return
        self._begun = True
        free = bytes(fields.get("call_id", b"")) in self._answered
        if kind == "function_call" or (kind == _FREE and free):
            reading.add("assistant", [self._call(kind, fields, place)], place, piece=True)
            return
        result = None
        if kind == "function_call_output" or (kind == f"{_FREE}_output" and free):
            result = self._result(fields, place)
        if result is not None:
            reading.add("user", [result], place, piece=True)
        elif kind == "reasoning":
            reading.add("assistant", [self._reasoning(fields, place)], place, piece=True)
        elif is_item(kind):
            reading.add("user" if kind.endswith(_USERS) else "assistant", [reading.own(fields.text)], place, piece=True)
        else:
            reading.note("unknown", place, f"an item of the type {kind!r} is not known, and goes back as it came")
            reading.add(reading.last_role, [reading.own(fields.text)], place, piece=True)

    def _message(self, fields: Fields, place: str) -> None:
        reading = self._reading
        role = reading.role(fields, _ROLES, place)
        begun, self._begun = self._begun, self._begun or role in ("user", "assistant")
        pieces = reading.pieces(fields.get("content", _NOTHING), f"{place}.content")
        texts = [_text_of(piece, where) for piece, where in pieces]
        parts = self._shown(pieces) if role == "user" else None
        if parts is None and not (role != "user" and self._is_plain(fields, pieces)):
            part = reading.own(fields.text, "".join(texts))
            reading.add("assistant" if role == "assistant" else "user", [part], place, piece=role == "assistant")
            return
        for piece, where in pieces if parts is None else ():
            reading.left_out(piece, ("type", "text", "refusal"), where)
        reading.left_out(fields, (*_BOOKKEEPING, "role", "content"), place)
        if parts is not None:
            reading.add("user", parts, place)
        elif role == "assistant":
            reading.add("assistant", [TextPart(text) for text in ["".join(texts)] if text], place, piece=True)
        else:
            (reading.system_within if begun else reading.system_texts)(texts, place)

    def _is_plain(self, fields: Fields, pieces: Sequence[tuple[Fields, str]]) -> bool:
        """Whether a message is text alone. The vendor wants its phase back, and what it has cited is part of it."""
        return "phase" not in fields and all(
            self._reading.kind(piece, place) in _TEXTS and bytes(piece.get("annotations", b"[]")) == b"[]"
            for piece, place in pieces
        )

    def _shown(self, pieces: Sequence[tuple[Fields, str]]) -> list[Part] | None:
        """What a user or a tool shows; None if there is something without a form of ours in it."""
        parts: list[Part] = []
        before = len(self._reading.notes)
        for piece, place in pieces:
            kind = self._reading.kind(piece, place)
            part: Part | None = None
            if kind in _TEXTS:
                self._reading.left_out(piece, ("type", "text"), place)
                part = TextPart(_text_of(piece, place))
            elif kind == "input_image" and "image_url" in piece:
                part = self._image(piece, place)
            elif kind == "input_file":
                part = file_of(json_of(piece), place)
            if part is None:
                del self._reading.notes[before:]
                return None
            parts.append(part)
        return parts

    def _image(self, piece: Fields, place: str) -> ImagePart:
        known = ("type", "image_url", *(("detail",) if bytes(piece.get("detail", b"")) == b'"auto"' else ()))
        self._reading.left_out(piece, known, place)
        return image_of(decoded(piece["image_url"], str, f"{place}.image_url"))

    def _call(self, kind: str, fields: Fields, place: str) -> ToolCallPart:
        call = self._reading.read(fields, _Call, place, *_BOOKKEEPING, *FUNCTION_BESIDE)
        beside: dict[str, Any] = {"type": kind} if kind == _FREE else {}
        beside |= {name: fields[name] for name in FUNCTION_BESIDE if name in fields and bytes(fields[name]) != _DIRECT}
        arguments = json_of({"input": call.input}) if kind == _FREE else call.arguments
        return self._reading.call(call.call_id, call.name, arguments, beside)

    def _result(self, fields: Fields, place: str) -> ToolResultPart | None:
        result = self._reading.read(fields, _Output, place, *_BOOKKEEPING, *FUNCTION_BESIDE)
        where = f"{place}.output"
        if not bytes(result.output).startswith(b"["):
            return ToolResultPart(id=result.call_id, content=decoded(result.output, str, where))
        shown: Any = self._shown(self._reading.pieces(result.output, where))
        return None if shown is None else ToolResultPart(id=result.call_id, content=shown)

    def _reasoning(self, fields: Fields, place: str) -> ReasoningPart:
        read = decoded(json_of(fields), _Reasoning, place)
        text = "".join(piece.text for piece in (*read.summary, *read.content))
        return ReasoningPart(text=text, proof=fields.text, vendor=self._reading.vendor)


def _text_of(piece: Fields, place: str) -> str:
    """The text of a piece, or its refusal; empty if it has neither."""
    name = "text" if "text" in piece else "refusal"
    return decoded(piece.get(name, _NOTHING), str, f"{place}.{name}")
