"""JSON out of vendors' events: strict where it can be, tolerant of broken text, and an error that shows what came."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from penstock.core.arguments import UNDECODABLE, is_object
from penstock.core.errors import MalformedResponseError

__all__ = ["UNDECODABLE", "decode", "event_type", "is_object", "repaired", "shown"]

T = TypeVar("T")


class _Typed(msgspec.Struct):
    type: str | None = None
    error: msgspec.Raw = msgspec.Raw()


_typed = msgspec.json.Decoder(_Typed)


def decode(decoder: msgspec.json.Decoder[T], name: bytes, data: bytes) -> T:
    """*data* of an event called *name*. Raises MalformedResponseError."""
    try:
        return decoder.decode(data)
    except UNDECODABLE as error:
        return repaired(decoder.decode, name, data, error)


def repaired(decode: Callable[[bytes], T], name: bytes, data: bytes, error: Exception) -> T:
    """*data* decoded once more, with U+FFFD for bytes that are not UTF-8 and for halves of surrogate pairs.

    Raises MalformedResponseError, because of *error*, when that was not what was wrong.
    """
    try:
        import json  # for those whose vendor writes no JSON

        document = json.loads(data.decode("utf-8", "replace"))
        text = json.dumps(document, ensure_ascii=False).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return decode(text.encode())
    except (ValueError, RecursionError):
        pass  # raised below and not here: the error of `json` holds the whole text, and there may be a key in it
    shown_name = name.decode("utf-8", "replace")
    raise MalformedResponseError(f"the event `{shown_name}` is malformed ({error}): {shown(data)}") from error


def event_type(name: bytes, data: bytes) -> bytes:
    """What the data of an event of an unknown name says it is, empty when it does not say.

    Raises MalformedResponseError only for an event without a name: what an unknown one holds is its own business.
    """
    try:
        typed = _typed.decode(data)
    except UNDECODABLE as error:
        if name or data.strip() in (b"", b"[DONE]"):
            return b""
        typed = repaired(_typed.decode, name, data, error)
    if typed.type is None and bytes(typed.error) not in (b"", b"null"):
        return b"error"
    return (typed.type or "").encode()


def shown(data: bytes | str, most: int = 200) -> str:
    """The first *most* characters, for an error message."""
    piece = data[: 4 * most] if isinstance(data, bytes) else data[: most + 1].encode("utf-8", "replace")
    text = piece.decode("utf-8", "replace")
    return text if len(text) <= most else f"{text[:most]}…"
