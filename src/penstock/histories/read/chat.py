"""Reads a history as the Chat Completions API writes it: messages, whose results stand in messages of their own.

Many servers speak this API, each with fields of its own for reasoning; a part of the user's that only some take is
kept as it came.
Sources: the types of the openai SDK 3.57 and of litellm 1.110, and recorded requests; read 2026-11-30.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec

from penstock.core.messages import (
    CHAT_PARTS,
    DocumentPart,
    ImagePart,
    Part,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from penstock.histories.read.blocks import thought_of
from penstock.histories.read.parts import Fields, Reading, decoded, file_of, image_of, json_of, wrong

__all__ = ["PROOFS", "read_chat"]

PROOFS: Final[Mapping[str, str]] = {
    "reasoning_details": "openrouter",
    "extra_content": "google",
    "thinking_blocks": "anthropic",
}
"""Whose the proofs in a field are, where nobody says it; text alone could be anybody's."""

T = TypeVar("T")
_NOTHING: Final = msgspec.Raw(b'""')
_ROLES: Final = ("system", "developer", "user", "assistant", "tool", "function")
_KEPT: Final = ("annotations", "citations", "search_results")  # lists beside an answer, as `wire.openai.kept` has them
_CUSTOM: Final = '{"type":"custom_tool_call"}'  # what is beside a call with free text, by the name of Responses


class _Url(msgspec.Struct):
    url: str


class _Function(msgspec.Struct):
    name: str
    arguments: str | dict[str, msgspec.Raw] = "{}"


class _Custom(msgspec.Struct):
    name: str
    input: str


class _Call(msgspec.Struct):
    id: str = ""
    type: str = "function"
    index: int | None = None
    function: msgspec.Raw = msgspec.Raw()
    custom: msgspec.Raw = msgspec.Raw()
    extra_content: msgspec.Raw = msgspec.Raw()


class _Said(msgspec.Struct):
    """A message of the assistant's."""

    role: str
    content: str | list[msgspec.Raw] = ""
    refusal: str = ""
    tool_calls: list[msgspec.Raw] = []
    function_call: msgspec.Raw = msgspec.Raw()
    reasoning_content: str = ""
    reasoning: str = ""
    reasoning_details: list[msgspec.Raw] = []
    thinking_blocks: list[msgspec.Raw] = []
    extra_content: msgspec.Raw = msgspec.Raw()
    audio: dict[str, msgspec.Raw] = {}
    images: list[msgspec.Raw] = []
    annotations: list[msgspec.Raw] = []
    citations: list[msgspec.Raw] = []
    search_results: list[msgspec.Raw] = []


class _Result(msgspec.Struct):
    role: str
    content: str | list[msgspec.Raw] = ""
    tool_call_id: str | None = None
    name: str | None = None


def read_chat(reading: Reading, turns: Sequence[msgspec.Raw], name: str, vendor: str | None) -> None:
    """Read the messages; *name* is the field that holds them. vendor: whose the reasoning is, None if nobody says."""
    reader = _Chat(reading, vendor)
    for number, turn in enumerate(turns):
        reader.turn(turn, f"{name}[{number}]")


class _Chat:
    """Reads the messages of one history, in order: a result may not say of which call it is."""

    def __init__(self, reading: Reading, vendor: str | None) -> None:
        self._reading = reading
        self._vendor = vendor
        self._begun = False  # somebody but the system has spoken
        self._waiting: list[tuple[str, str]] = []  # id and name of the calls without a result
        self._made = 0  # ids

    def turn(self, turn: msgspec.Raw, place: str) -> None:
        """Read the next message."""
        reading = self._reading
        fields = reading.fields(turn, place)
        role = reading.role(fields, _ROLES, place)
        if role in ("system", "developer"):
            reading.left_out(fields, ("role", "content"), place)
            add = reading.system_within if self._begun else reading.system_texts
            add([self._text(piece, where) for piece, where in self._pieces(fields, place)], place)
            return
        self._begun = True
        if role == "user":
            reading.left_out(fields, ("role", "content"), place)
            reading.add("user", self._shown(fields, place), place)
        elif role == "assistant":
            reading.add("assistant", self._said(reading.read(fields, _Said, place), fields, place), place)
        else:
            result = self._result(reading.read(fields, _Result, place), fields, place)
            reading.add("user", [result], place, piece=True)

    # What each says.

    def _pieces(self, fields: Fields, place: str) -> list[tuple[Fields, str]]:
        return self._reading.pieces(fields.get("content", _NOTHING), f"{place}.content")

    def _text(self, piece: Fields, place: str, name: str = "text") -> str:
        """What stands in a piece under the name of its type."""
        kind = self._reading.kind(piece, place)
        if kind != name:
            wrong(place, f"a part of the type {kind!r} has no form here")
        self._reading.left_out(piece, ("type", name), place)
        return decoded(piece.get(name, _NOTHING), str, f"{place}.{name}")

    def _shown(self, fields: Fields, place: str) -> list[Part]:
        """What a user or a tool shows."""
        parts: list[Part] = []
        for piece, where in self._pieces(fields, place):
            kind = self._reading.kind(piece, where)
            if kind == "image_url":
                parts.append(self._image(piece, where))
                continue
            document = file_of(piece["file"], f"{where}.file") if kind == "file" and "file" in piece else None
            if document is not None:
                parts.append(document)
            elif kind in CHAT_PARTS:
                parts.append(self._reading.own(piece.text))
            else:
                parts.append(TextPart(self._text(piece, where)))
        return parts

    def _image(self, piece: Fields, place: str) -> ImagePart:
        self._reading.left_out(piece, ("type", "image_url"), place)
        given = piece.get("image_url", _NOTHING)
        where = f"{place}.image_url"
        if bytes(given).startswith(b"{"):
            return image_of(self._reading.read(self._reading.fields(given, where), _Url, where).url)
        return image_of(decoded(given, str, where))

    def _said(self, said: _Said, fields: Fields, place: str) -> list[Part]:
        """What the model says: its thoughts, its words, what stands beside them, and its calls."""
        parts = self._thoughts(said, place)
        for piece, where in self._pieces(fields, place):
            kind = self._reading.kind(piece, where)
            if kind == "thinking":
                pieces = self._reading.pieces(piece.get(kind, _NOTHING), f"{where}.{kind}")
                thought = "".join(self._text(*each) for each in pieces)
                parts.append(ReasoningPart(text=thought, vendor=self._reading.vendor))
            else:
                text = self._text(piece, where, "refusal" if kind == "refusal" else "text")
                parts += [TextPart(text)] if text else []
        parts += [TextPart(said.refusal)] if said.refusal else []
        if said.audio:
            transcript = decoded(said.audio.get("transcript", _NOTHING), str, f"{place}.audio.transcript")
            parts.append(self._reading.own(json_of({"type": "audio", "audio": said.audio}), transcript))
        kept = [{"type": name, name: values} for name in _KEPT if (values := getattr(said, name))]
        parts += [self._reading.own(json_of(block)) for block in (*said.images, *kept)]
        return parts + self._calls(said, place)

    def _thoughts(self, said: _Said, place: str) -> list[Part]:
        """Reasoning: with proofs if there are some, else as text, which some vendors want back."""
        blocks = [
            thought_of(self._reading, block, f"{place}.thinking_blocks[{number}]")
            for number, block in enumerate(said.thinking_blocks)
        ]
        text = said.reasoning_content or said.reasoning
        if blocks:
            self._twice(said, text, blocks, place)
            return [
                msgspec.structs.replace(block, vendor=self._whose("thinking_blocks"))
                if isinstance(block, ReasoningPart)
                else block
                for block in blocks
            ]
        if said.reasoning_details:
            proof = json_of(said.reasoning_details)
            return [ReasoningPart(text=text, proof=proof, vendor=self._whose("reasoning_details"))]
        if text and self._vendor is None:
            self._reading.note(
                "reasoning", place, "whose reasoning it is cannot be seen, so it goes back to nobody: say `vendor`"
            )
        return [ReasoningPart(text=text, vendor=self._vendor or "")] if text else []

    def _twice(self, said: _Said, text: str, blocks: Sequence[Part], place: str) -> None:
        """Note what is said beside the blocks, and not by them."""
        thought = "".join(block.text for block in blocks if isinstance(block, ReasoningPart))
        names = [
            *(["reasoning"] if text not in thought else []),
            *(["reasoning_details"] if said.reasoning_details else []),
        ]
        if names:
            self._reading.note("reasoning", place, f"left out, as `thinking_blocks` go before: {', '.join(names)}")

    def _whose(self, field: str) -> str:
        return self._vendor or PROOFS[field]

    def _calls(self, said: _Said, place: str) -> list[Part]:
        """The calls, each with its proof before it; that of the message stands behind them."""
        self._waiting = []
        parts: list[Part] = []
        for number, raw in enumerate(said.tool_calls):
            parts += self._call(raw, f"{place}.tool_calls[{number}]")
        if bytes(said.function_call):
            where = f"{place}.function_call"
            parts.append(self._made_call("", self._inside(said.function_call, _Function, where), where))
        if bytes(said.extra_content):
            parts.append(self._proof(said.extra_content))
        return parts

    def _proof(self, extra: msgspec.Raw) -> ReasoningPart:
        return ReasoningPart(proof=json_of(extra), vendor=self._whose("extra_content"))

    def _call(self, raw: msgspec.Raw, place: str) -> list[Part]:
        call = self._reading.read(self._reading.fields(raw, place), _Call, place)
        before: list[Part] = [self._proof(call.extra_content)] if bytes(call.extra_content) else []
        if bytes(call.custom):
            custom = self._inside(call.custom, _Custom, f"{place}.custom")
            made = self._made_call(call.id, _Function(custom.name, json_of({"input": custom.input})), place)
            return [*before, msgspec.structs.replace(made, extra=_CUSTOM, vendor=self._reading.vendor)]
        if not bytes(call.function):
            wrong(place, f"a call of the type {call.type!r} has no form here, only of a function")
        return [*before, self._made_call(call.id, self._inside(call.function, _Function, f"{place}.function"), place)]

    def _inside(self, raw: msgspec.Raw, kind: type[T], place: str) -> T:
        return self._reading.read(self._reading.fields(raw, place), kind, place)

    def _made_call(self, id_: str, function: _Function, place: str) -> ToolCallPart:
        if not id_:
            self._made += 1
            id_ = f"call_{self._made}"
            self._reading.note("call_id", place, f"the call has no id, and got {id_!r}")
        self._waiting.append((id_, function.name))
        arguments = function.arguments if isinstance(function.arguments, str) else json_of(function.arguments)
        return ToolCallPart(id=id_, name=function.name, arguments=arguments)

    def _result(self, result: _Result, fields: Fields, place: str) -> ToolResultPart:
        shown = self._shown(fields, place) if isinstance(result.content, list) else []
        content: list[Any] = []
        for number, part in enumerate(shown):
            if not isinstance(part, TextPart | ImagePart | DocumentPart):
                wrong(f"{place}.content[{number}]", "a part of this type has no form here in a tool's result")
            content.append(part)
        id_ = self._id_of(result, place)
        return ToolResultPart(id=id_, content=result.content if isinstance(result.content, str) else content)

    def _id_of(self, result: _Result, place: str) -> str:
        """The id of the call; of a result that does not say it, the first that waits, of that name if it has one."""
        waiting = self._waiting
        id_ = result.tool_call_id
        if id_ is None:
            named = [id_ for id_, name in waiting if result.name in (None, name)] or [id_ for id_, _ in waiting]
            if not named:
                wrong(place, "a result that does not say of which call it is, and no call waits for one")
            id_ = named[0]
            self._reading.note(
                "call_id", place, f"the result does not say of which call it is, and was taken for {id_!r}"
            )
        self._waiting = [call for call in waiting if call[0] != id_]
        return id_
