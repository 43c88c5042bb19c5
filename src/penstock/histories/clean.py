"""The parts of a history, each cleaned by itself: `repair` puts them in order."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import msgspec

from penstock.core.arguments import UNNAMED, is_object, kept_arguments, whole_text
from penstock.core.messages import (
    DocumentPart,
    ImagePart,
    OpaquePart,
    Part,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)

__all__ = ["Note", "NoteKind", "Notes", "clean"]

NoteKind: TypeAlias = Literal[
    "empty",
    "unicode",
    "source",
    "block",
    "arguments",
    "tool_name",
    "role",
    "joined",
    "reasoning",
    "call_id",
    "orphan_result",
    "duplicate_result",
    "moved_result",
    "missing_result",
    "beginning",
    "cache_mark",
    "field",
    "stored",
    "system",
    "unknown",
]


class Note(msgspec.Struct, frozen=True):
    """One thing that `repair` or `read_messages` did.

    kind: `empty`: an empty text or message was dropped. `unicode`: halves of surrogate pairs became U+FFFD.
        `source`: an image or a document without data and without a URL was dropped, or the URL of one that has both.
        `block`: a vendor's block that is no JSON object became its text. `arguments`: those of a call were no JSON
        object and became one. `tool_name`: a call's name held what no vendor takes. `role`: a part stood in a message
        of the wrong role and got one of its own. `joined`: a message became a part of the one before it.
        `reasoning`: a block with a proof that nothing follows, as of an answer that was cut off, was dropped.
        `call_id`: the id of a call was taken, or empty, and it got a new one. `orphan_result`, `duplicate_result`: a
        result without a call, or a second one, was dropped. `moved_result`: a result was moved to its call.
        `missing_result`: a call without a result got one that says so. `beginning`: the history began with the
        assistant, and got a user's message in front.
        Of `read_messages`: `cache_mark`, `field`: a mark for the cache, or fields that have no form here, were left
        out. `stored`: a part of the history is kept at the vendor. `system`: several texts of the system prompt became
        one. `unknown`: an item of a type that is not known goes back as it came. `reasoning`: nobody says whose it is.
        `call_id`: a call had no id, or a result did not say of which call it is.
    place: where, in the history that was given: `messages[3].content[0]`. what: a sentence.
    """

    kind: NoteKind
    place: str
    what: str


Notes: TypeAlias = Callable[[NoteKind, str], None]
"""Takes a note on the part that is being cleaned."""

_HALVES: Final = re.compile("[\ud800-\udfff]")
_NO_NAME: Final = re.compile(r"[^a-zA-Z0-9_-]")
_LONGEST_NAME: Final = 64  # characters; OpenAI's limit, Anthropic takes 128


def clean(part: Part, note: Notes) -> Part | None:
    """The part as a vendor can take it, the same object if it could; None if nothing of it is left."""
    halves = [
        name
        for name in part.__struct_fields__
        if isinstance(value := getattr(part, name), str) and not value.isascii() and _HALVES.search(value)
    ]
    if halves:
        note("unicode", f"text of its {', '.join(halves)} was no Unicode: halves of surrogate pairs")
        part = msgspec.structs.replace(part, **{name: whole_text(getattr(part, name)) for name in halves})
    cleaned = _CLEANERS.get(type(part))
    return part if cleaned is None else cleaned(part, note)


def _text(part: TextPart, note: Notes) -> Part | None:
    if part.text and not part.text.isspace():
        return part
    note("empty", "an empty text was dropped")
    return None


def _source(part: ImagePart | DocumentPart, note: Notes) -> Part | None:
    if part.data is None and part.url is None:
        note("source", "it has neither data nor a URL and was dropped")
        return None
    if part.data is not None and part.url is not None:
        note("source", "it has data and a URL: the URL was dropped")
        return msgspec.structs.replace(part, url=None)
    return part


def _call(part: ToolCallPart, note: Notes) -> Part:
    if not is_object(part.arguments):
        note("arguments", f"the arguments of the call {part.id!r} were no JSON object")
        part = msgspec.structs.replace(part, arguments=kept_arguments(part.arguments))
    name = _NO_NAME.sub("_", part.name)[:_LONGEST_NAME] or UNNAMED
    if name != part.name:
        note("tool_name", f"the tool's name {part.name!r} became {name!r}")
        part = msgspec.structs.replace(part, name=name)
    return part


def _result(part: ToolResultPart, note: Notes) -> Part:
    if isinstance(part.content, str):
        return part
    given: Sequence[TextPart | ImagePart | DocumentPart] = part.content
    content: list[Any] = [cleaned for each in given if (cleaned := clean(each, note)) is not None]
    if len(content) == len(given) and all(new is old for new, old in zip(content, given, strict=True)) and content:
        return part
    return msgspec.structs.replace(part, content=content or "")


def _reasoning(part: ReasoningPart, note: Notes) -> Part | None:
    if part.text or part.proof:
        return part
    note("empty", "empty reasoning was dropped")
    return None


def _opaque(part: OpaquePart, note: Notes) -> Part | None:
    if is_object(part.data):
        return part
    note("block", f"the block of {part.vendor} is no JSON object: only its text was kept")
    return TextPart(part.text) if part.text and not part.text.isspace() else None


_CLEANERS: Final[Mapping[type, Callable[[Any, Notes], Part | None]]] = {
    TextPart: _text,
    ImagePart: _source,
    DocumentPart: _source,
    ToolCallPart: _call,
    ToolResultPart: _result,
    ReasoningPart: _reasoning,
    OpaquePart: _opaque,
}
