"""The arguments of tool calls as models write them: what their JSON text means, and what is kept of text that is none.

Only what can mean one thing is read as that. Everything else is the model's to fix, so it is told what was wrong.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

__all__ = [
    "UNDECODABLE",
    "UNNAMED",
    "fixed_strings",
    "is_object",
    "kept_arguments",
    "problem_of",
    "read_arguments",
    "whole_text",
]

# Text that is not Unicode was no DecodeError to msgspec before 0.23, and what is nested too deep is neither.
UNDECODABLE: Final = (msgspec.DecodeError, UnicodeError, RecursionError)

UNNAMED: Final = "unknown"
"""The tool of a call that names none."""

_INVALID: Final = "INVALID_JSON"  # the field of the object that stands in a history for arguments that were none

_MOST_QUOTED: Final = 3  # how often an object may have been put into a string


class _Object(msgspec.Struct):
    """Any object: what it holds is looked at and not kept."""


_object = msgspec.json.Decoder(_Object)
_any = msgspec.json.Decoder(msgspec.Raw)
# One that has no end is one as well: it would be looked for again from each quote inside of it.
_STRING: Final = r'(?s)"(?:[^"\\]++|\\.)*+"?'
# Of a string: a whole surrogate pair, half of one, any other escape, a character that should have been escaped.
_PIECE: Final = (
    r"(?s)(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
    r"|(\\.)|([\x00-\x1f\ud800-\udfff])"
)


def is_object(text: str) -> bool:
    """Whether *text* is the JSON text of an object."""
    try:
        _object.decode(text)
    except UNDECODABLE:
        return False
    return True


def read_arguments(text: str) -> tuple[str, str | None]:
    """The JSON text of the object that whole arguments mean, and None; or the text as it came, and what is wrong.

    Nothing, and `null`, are the empty object. Characters in strings that should have been escaped, halves of surrogate
    pairs and an object inside of a string are read as what they can only mean.
    """
    found = text.strip()
    if is_object(found):  # nearly always
        return found, None
    for _ in range(_MOST_QUOTED):
        if found in ("", "null"):
            return "{}", None
        found = fixed_strings(found)
        if is_object(found):
            return found, None
        if not found.startswith('"'):
            break
        try:
            found = msgspec.json.decode(found, type=str).strip()
        except UNDECODABLE:
            break
    return text, f"The arguments are not the JSON text of one object: {_why(text)}."


def fixed_strings(text: str) -> str:
    """JSON text whose strings hold no bare control characters and no halves of surrogate pairs."""
    return re.sub(_STRING, lambda string: re.sub(_PIECE, _fixed, string[0]), text)


def _fixed(piece: re.Match[str]) -> str:
    pair, half, escape, bare = piece.groups()
    if half:
        return r"\ufffd"
    if not bare:
        return str(pair or escape)
    return r"\ufffd" if bare >= "\ud800" else f"\\u{ord(bare):04x}"


def whole_text(text: str) -> str:
    """Unicode that can be sent: halves of surrogate pairs are joined, and those without another are U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def kept_arguments(text: str) -> str:
    """What stands in a history for the arguments of a call: the JSON text of an object, whatever came.

    An object stays as it is, byte for byte. Of what can mean no object the model sees what it wrote.
    """
    if is_object(text):
        return text
    read, problem = read_arguments(text)
    return read if problem is None else msgspec.json.encode({_INVALID: whole_text(text)}).decode()


def problem_of(text: str) -> str | None:
    """Why the arguments of a call in a history cannot be used; None if they can."""
    kept = kept_arguments(text)
    try:
        invalid = _kept.decode(kept).INVALID_JSON
    except UNDECODABLE:
        return None
    return read_arguments(invalid)[1]


class _Kept(msgspec.Struct, forbid_unknown_fields=True):
    INVALID_JSON: str


_kept = msgspec.json.Decoder(_Kept)


def _why(text: str) -> str:
    try:
        _any.decode(text)
    except UNDECODABLE as error:
        return str(error)
    kind = {"[": "an array", '"': "a string"}.get(text.strip()[:1], "a number, true or false")
    return f"they are {kind}"
