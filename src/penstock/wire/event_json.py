"""JSON out of vendors' events: tolerant of broken text and wrong types, and an error that shows what came."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any, Final, NoReturn, TypeVar, get_args, get_origin

import msgspec

from penstock.core.arguments import UNDECODABLE, is_object
from penstock.core.errors import MalformedResponseError
from penstock.core.validation import unicode_fault

__all__ = [
    "NOTHING",
    "UNDECODABLE",
    "Halves",
    "decode",
    "event_type",
    "is_object",
    "json_text",
    "repaired",
    "salvaged",
    "shown",
    "type_of",
]

T = TypeVar("T")


class _Typed(msgspec.Struct):
    type: str | None = None
    error: msgspec.Raw = msgspec.Raw()


_CONTENT: Final = (
    *("content", "text", "thinking", "reasoning", "reasoning_content"),
    *("refusal", "arguments", "partial_json", "delta", "summary"),
)
NOTHING: Final = (b"", b"null", b"false", b'""', b"{}", b"[]")
"""What says nothing where an object, a list or an error may stand."""
_EMPTY: Final = (b"null", b"false", b"true", b"0", b"{}", b"[]")
# What is nothing where text should be, by the field's name: of content, and of the words that an answer ends with.
_NOTHING: Final[dict[str, tuple[bytes, ...]]] = {
    **dict.fromkeys(_CONTENT, (b"null", b"false")),
    **dict.fromkeys(("finish_reason", "native_finish_reason", "stop_reason"), _EMPTY),
}
_PLACES: Final = ("type", "output_index", "item_id", "content_index", "index")  # tell the texts of two events apart

_struct_fields: Final = cache(msgspec.structs.fields)  # msgspec's own reads the annotations anew at each call
_array = msgspec.json.Decoder(list[msgspec.Raw])
_typed = msgspec.json.Decoder(_Typed)
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


def decode(decoder: msgspec.json.Decoder[T], name: bytes, data: bytes) -> T:
    """*data* of an event called *name*. A field of a wrong type is unknown. Raises MalformedResponseError."""
    try:
        return decoder.decode(data)
    except UNDECODABLE as error:
        return repaired(decoder, name, data, error)


def repaired(
    decoder: msgspec.json.Decoder[T], name: bytes, data: bytes, error: Exception, halves: Halves | None = None
) -> T:
    """*data* decoded once more: without the fields of a wrong type, and with U+FFFD for what is no Unicode.

    halves: joins what was cut between events. Raises MalformedResponseError, because of *error*, for what is no JSON.
    """
    try:
        if halves is None and isinstance(error, msgspec.ValidationError):
            found: T = salvaged(decoder.type, data)[0]
            return found
    except UNDECODABLE:
        pass
    try:
        import json  # for those whose vendor writes no JSON

        text = data.decode("utf-8", "replace")
        # Python's own `json` writes NaN and Infinity: the log probability of what cannot come, say.
        document = json.loads(text, parse_float=_finite, parse_constant=lambda name: None)
        if halves is not None:
            document = halves.joined(document)
        text = json.dumps(document, ensure_ascii=False).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        try:
            return decoder.decode(text)
        except msgspec.ValidationError:
            rest: T = salvaged(decoder.type, text.encode())[0]
            return rest
    except (ValueError, *UNDECODABLE):
        pass  # raised below and not here: the error of `json` holds the whole text, and there may be a key in it
    shown_name = name.decode("utf-8", "replace")
    why = unicode_fault(data, error)
    raise MalformedResponseError(f"the event `{shown_name}` is malformed ({why}): {shown(data)}") from error


def _finite(number: str) -> float | None:
    value = float(number)
    return value if abs(value) < float("inf") else None


def salvaged(type_: Any, data: bytes) -> tuple[Any, frozenset[str]]:
    """A struct out of an object of which some fields are of a wrong type, and their names.

    Those stay as if they had not been sent, but for what can be read in them: objects in their turn, and 100.0 where a
    whole number should be. Nothing that is content is lost: where text should be, any other value is its JSON text.
    """
    if not (isinstance(type_, type) and issubclass(type_, msgspec.Struct)):
        raise msgspec.ValidationError("no object with known fields")
    raws = _object.decode(data)
    found: dict[str, Any] = {}
    wrong = set()
    for field in _struct_fields(type_):
        raw = raws.get(field.encode_name)
        if raw is None:
            continue
        value, is_right = _value(field.name, field.type, bytes(raw))
        if value is not None:
            found[field.name] = value
        if not is_right:
            wrong.add(field.name)
    try:
        return type_(**found), frozenset(wrong)
    except TypeError as error:
        raise msgspec.ValidationError(str(error)) from error


def _value(name: str, type_: Any, raw: bytes) -> tuple[Any, bool]:
    """None for what says nothing; and whether it is what it should be."""
    try:
        return msgspec.json.decode(raw, type=type_), True
    except UNDECODABLE:
        members = get_args(type_) or (type_,)
    for member in members:
        if raw[:1] == b"{" and isinstance(member, type) and issubclass(member, msgspec.Struct):
            return salvaged(member, raw)[0], False
        if raw[:1] == b"[" and get_origin(member) is list:
            values = (_value("", get_args(member)[0], bytes(one))[0] for one in _array.decode(raw))
            return [value for value in values if value is not None], False
    if int in members:
        with suppress(ValueError):
            number = float(raw)
            if number.is_integer() and abs(number) < 2**53:
                return int(number), True
    if str in members and raw not in _NOTHING.get(name, (raw,)):
        return raw.decode("utf-8", "replace"), False
    return None, False


def _refused(data: bytes) -> NoReturn:
    raise msgspec.DecodeError("half a character is held back")


class Halves:
    """Joins the halves of surrogate pairs, an emoji's say, that a server has put into two events.

    The first half is held back until the next event with the same text. Only events that are no Unicode need this, and
    those that come while a half is held.
    """

    def __init__(self) -> None:
        self.held: dict[str, str] = {}
        """By the place of the text in its events."""

    def decoding(self, decoder: msgspec.json.Decoder[T]) -> Callable[[bytes], T]:
        """How the next event is decoded: while a half is held it has to be `repaired`, whatever it is."""
        return _refused if self.held else decoder.decode

    def joined(self, document: Any) -> Any:
        """The decoded *document* with the half before its texts, and without the half behind them."""
        place = [str(document.get(name)) for name in _PLACES] if isinstance(document, dict) else []
        return self._walked(document, ".".join(place))

    def rest(self, name: str) -> str:
        """What is held of the text called *name*, which has ended: a character that is none."""
        place = next((place for place in self.held if place.endswith(f".{name}")), None)
        return "" if place is None else self.held.pop(place) and "\ufffd"

    def _walked(self, value: Any, place: str) -> Any:
        if isinstance(value, dict):
            return {name: self._walked(inner, f"{place}.{name}") for name, inner in value.items()}
        if isinstance(value, list):
            return [
                self._walked(inner, f"{place}[{inner.get('index', number) if isinstance(inner, dict) else number}]")
                for number, inner in enumerate(value)
            ]
        if not isinstance(value, str) or not value or not place.endswith(_CONTENT):
            return value
        # What is held stands before the text whatever it is: if it is no second half, both are broken.
        value = self.held.pop(place, "") + value
        if "\ud800" <= value[-1] <= "\udbff":
            self.held[place] = value[-1]
            value = value[:-1]
        return value


def json_text(value: object) -> str:
    """The JSON text of what came as JSON, whatever bytes stood in its texts."""
    return msgspec.json.encode(value).decode("utf-8", "replace")


def type_of(data: bytes | str) -> str:
    """The `type` of an object, empty for anything else."""
    try:
        return _typed.decode(data).type or ""
    except UNDECODABLE:
        return ""


def event_type(name: bytes, data: bytes) -> bytes:
    """What the data of an event of an unknown name says it is, empty when it does not say.

    Raises MalformedResponseError only for an event without a name: what an unknown one holds is its own business.
    """
    try:
        typed = _typed.decode(data)
    except UNDECODABLE as error:
        if name or data.strip() in (b"", b"[DONE]"):
            return b""
        typed = repaired(_typed, name, data, error)
    if typed.type is None and bytes(typed.error) not in (b"", b"null"):
        return b"error"
    return (typed.type or "").encode()


def shown(data: bytes | str, most: int = 200) -> str:
    """The first *most* characters, for an error message."""
    piece = data[: 4 * most] if isinstance(data, bytes) else data[: most + 1].encode("utf-8", "replace")
    text = piece.decode("utf-8", "replace")
    return text if len(text) <= most else f"{text[:most]}…"
