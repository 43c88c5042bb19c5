"""Reads a history as one of the three APIs writes it: nobody begins with an empty one.

Which API it is, is found from what is there; whoever knows better says it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, get_args

import msgspec

from penstock.core.arguments import UNDECODABLE
from penstock.core.dialect import Wire
from penstock.core.errors import ConfigError
from penstock.core.messages import Message, Tool
from penstock.core.validation import near, unicode_fault
from penstock.histories.clean import Note
from penstock.histories.read.blocks import read_blocks, read_system
from penstock.histories.read.chat import read_chat
from penstock.histories.read.items import read_items
from penstock.histories.read.parts import Reading, decoded, wrong
from penstock.histories.read.tools import read_tools
from penstock.histories.read.wire import find_wire
from penstock.histories.serialization import UNWRITABLE, first_unwritable

__all__ = ["ReadHistory", "read_messages"]

_VENDORS: Final[Mapping[Wire, str]] = {"messages": "anthropic", "responses": "openai", "chat": "openai"}
"""Whose an API is, where nobody says it."""

_SYSTEM: Final[Mapping[str, Wire]] = {"system": "messages", "instructions": "responses"}
_STORED: Final = ("previous_response_id", "conversation", "prompt", "container")


class ReadHistory(msgspec.Struct, frozen=True):
    """A history that others have written, in our messages."""

    system_prompt: str
    """For `create_message`; empty for none."""
    messages: list[Message]
    """The history."""
    tools: list[Tool | Mapping[str, object]]
    """For Options: functions as a Tool, a vendor's own as its JSON object. Empty if the document has none."""
    wire: Wire
    """Which API has written it; `chat` where two of them would have written the same."""
    notes: list[Note]
    """What was not taken as it is; none if everything was."""


def read_messages(
    document: Mapping[str, object] | Sequence[object] | str | bytes,
    *,
    wire: Wire | None = None,
    vendor: str | None = None,
) -> ReadHistory:
    """Make our messages of a history as Anthropic's Messages API, Chat Completions or the Responses API writes it.

    document: the body of a request, or its list of messages or items alone; as objects, in which the SDKs' own may
        stand, or as JSON text. The other options of a body are not looked at.
    wire: which API has written it; None to find out.
    vendor: whose reasoning, blocks and calls these are, a name of `penstock guide vendors`: they go back to nobody
        else. None for the vendor that the API and its fields are known for.

    What has no form of ours is kept as an OpaquePart if its vendor can be sent one. Where something else was left out
    or changed, a Note says so. Raises ConfigError, which is a ValueError too, for what cannot be said in our messages,
    with its place: `messages[3].content[1]`. It repairs nothing: `repair` does.
    """
    if wire is not None and wire not in get_args(Wire):
        raise ConfigError(f"`wire` is {wire!r}, expected {', '.join(get_args(Wire))}{near(wire, get_args(Wire))}")
    body, name, turns = _body(_json(document))
    wire = wire or find_wire(body, turns, name)
    reading = Reading(vendor or _VENDORS[wire])
    for field in _STORED:
        if bytes(body.get(field, b"")).startswith((b'"', b'{"id"')):
            reading.note("stored", field, "a part of the history is kept at the vendor, and is not here")
    tools = [tool for field in ("tools", "functions") for tool in read_tools(reading, _list(body, field), field)]
    for field, only in _SYSTEM.items():
        if field in body and wire != only:
            reading.note("field", field, "left out: this API has no such field")
    name = name or ("input" if wire == "responses" else "messages")
    if wire == "messages":
        read_system(reading, body.get("system", msgspec.Raw(b'""')))
        read_blocks(reading, turns, name)
    elif wire == "responses":
        instructions = decoded(body.get("instructions", b'""'), str, "instructions")
        reading.system_texts([instructions] if instructions else [], "instructions")
        read_items(reading, turns, name)
    else:
        read_chat(reading, turns, name, vendor)
    return ReadHistory("\n\n".join(reading.system), reading.messages, tools, wire, reading.notes)


def _body(data: bytes) -> tuple[dict[str, msgspec.Raw], str, list[msgspec.Raw]]:
    """The fields of a request, the name of the one that holds the history, and what that holds; or that alone."""
    if not data.lstrip().startswith(b"{"):
        return {}, "", decoded(data, list[msgspec.Raw], "the document")
    fields = decoded(data, dict[str, msgspec.Raw], "the document")
    body = {name: value for name, value in fields.items() if bytes(value) != b"null"}
    name = _name_in(body)
    if name == "input" and bytes(body[name]).startswith(b'"'):
        question = {"role": "user", "content": body[name]}
        return body, name, [msgspec.Raw(msgspec.json.encode(question))]
    return body, name, _list(body, name)


def _list(body: Mapping[str, msgspec.Raw], name: str) -> list[msgspec.Raw]:
    return decoded(body.get(name, b"[]"), list[msgspec.Raw], name)


def _name_in(body: Mapping[str, msgspec.Raw]) -> str:
    """The field of the history."""
    name = next((name for name in ("messages", "input") if name in body), None)
    if name is None:
        found = ", ".join(map(repr, list(body)[:5])) or "nothing"
        wrong("the document", f"it has neither `messages` nor `input`, but {found}: give the body of a request")
    if name == "messages" and "version" in body and "model" not in body:
        wrong("the document", "`dump_messages` has written it: `load_messages` reads it")
    return name


def _json(document: object) -> bytes:
    """The document as its JSON text."""
    if isinstance(document, bytes | str):
        data = document if isinstance(document, bytes) else document.encode("utf-8", "surrogatepass")
        try:
            msgspec.json.decode(data)
        except UNDECODABLE as error:
            wrong("the document", unicode_fault(data, error))
        return data
    try:
        return _encode(document)
    except UNWRITABLE as error:
        wrong(_place_in(document), error)


def _place_in(document: object) -> str:
    """Where in it something cannot be written as JSON."""
    name = "messages"
    if isinstance(document, Mapping):
        name = "input" if "input" in document else name
        document = document.get(name)
    place = first_unwritable(document, _encode) if isinstance(document, list | tuple) else ""
    return f"{name}{place}" if place else "the document"


def _plain(value: object) -> object:
    """What msgspec does not know: the SDKs' own objects, as they send them themselves, and other mappings."""
    if callable(dump := getattr(value, "model_dump", None)):
        return dump(mode="json", by_alias=True, exclude_unset=True)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence):
        return list(value)
    raise TypeError(f"a {type(value).__name__} has no place in a history")


_encode = msgspec.json.Encoder(enc_hook=_plain).encode
