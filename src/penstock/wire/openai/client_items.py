"""Items of the Responses API that wait for the client, as calls. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from penstock.core.client_calls import CLIENT_CALLS, FUNCTION_BESIDE
from penstock.wire.event_json import UNDECODABLE, decode, json_text, type_of
from penstock.wire.openai.tool_calls import ItemCall

__all__ = ["beside_function", "client_call"]

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_string = msgspec.json.Decoder(str)


def client_call(kind: str, raw: bytes) -> ItemCall | None:
    """The call that an item of this type is; None for one that is none of the client's."""
    row = CLIENT_CALLS.get(kind)
    if row is None:
        return None
    fields = decode(_fields, b"response.output_item.done", raw)
    if type_of(fields.get("environment", b"")).startswith("container"):
        return None  # the vendor's own: its result comes with the answer
    id_, named, status = (_text(fields.get(name)) for name in (row.id_field, row.named_by, "status"))
    is_text = row.arguments == ("input",)
    given = {name: fields[name] for name in row.arguments if name in fields}
    arguments = _text(given.get("input")) if is_text else json_text(given)
    return ItemCall(
        id_, named or row.name, arguments, json_text({"type": kind, **_beside(fields, row.beside)}), is_text, status
    )


def beside_function(raw: bytes) -> str:
    """What goes back with a call of a function; empty for nothing."""
    beside = _beside(decode(_fields, b"response.output_item.done", raw), FUNCTION_BESIDE)
    return json_text(beside) if beside else ""


def _beside(fields: dict[str, msgspec.Raw], names: Iterable[str]) -> dict[str, msgspec.Raw]:
    """Not that the model itself has made a call, as that is so without a word."""
    found = {name: fields[name] for name in names if bytes(fields.get(name, b"null")) != b"null"}
    if type_of(found.get("caller", b"")) == "direct":
        del found["caller"]
    return found


def _text(raw: msgspec.Raw | None) -> str:
    """The text that a field is, empty where it is none."""
    try:
        return "" if raw is None else _string.decode(raw)
    except UNDECODABLE:
        return ""
