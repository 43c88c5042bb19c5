"""A history as JSON, with the version of its form inside: `{"version": 2, "messages": [...]}`.

The version is raised whenever a part or a field is added, so that an older Penstock says so instead of losing it. Older
versions are read: what they lack has a default. 2 added a call's `extra` and `vendor`, and
the `account` of reasoning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from penstock.core.errors import ConfigError
from penstock.core.messages import Message
from penstock.core.validation import unicode_fault

__all__ = ["UNWRITABLE", "dump_messages", "first_unwritable", "load_messages"]

VERSION: Final = 2
UNWRITABLE: Final = (TypeError, ValueError, RecursionError)
"""What an encoder raises for what is no JSON, and a decoder for what does not fit: msgspec's own are ValueErrors."""


class _Envelope(msgspec.Struct):
    version: int
    messages: msgspec.Raw = msgspec.Raw()


def _as_list(value: object) -> list[Any]:
    # msgspec knows list and tuple; a content may be any Sequence.
    if isinstance(value, Sequence):
        return list(value)
    raise TypeError(f"a {type(value).__name__} has no place in a message")


_encode = msgspec.json.Encoder(enc_hook=_as_list).encode
_envelope = msgspec.json.Decoder(_Envelope)
_messages = msgspec.json.Decoder(list[Message])


def dump_messages(messages: Sequence[Message]) -> bytes:
    """The history as JSON, without loss: bytes as base64, proofs and vendors' own blocks as they are.

    Raises ConfigError with `path` for what `load_messages` would not read again, as a wrong type, and for text that is
    not Unicode, which no vendor takes either: `repair` fixes it.
    """
    try:
        written = _encode(messages)
    except UNWRITABLE as error:
        raise _fault(error, f"$.messages{first_unwritable(messages, _encode)}") from error
    _read(written)  # a history that is saved and cannot be read is lost, and it is found too late
    return _encode(_Envelope(VERSION, msgspec.Raw(written)))


def load_messages(data: bytes | str) -> list[Message]:
    """The messages that `dump_messages` was given; contents that were other sequences are lists.

    Raises ConfigError, which is a ValueError too, with `path`, for anything else, and for a version that this Penstock
    does not know.
    """
    try:
        envelope = _envelope.decode(data)
    except UNWRITABLE as error:
        raise _fault(error) from error
    if not 1 <= envelope.version <= VERSION:
        newer = "; a newer Penstock has written it" if envelope.version > VERSION else ""
        raise _fault(f"the version is {envelope.version}, expected 1 to {VERSION}{newer}", "$.version")
    if not envelope.messages:
        raise _fault("Object missing required field `messages`")
    return _read(envelope.messages)


def _read(written: bytes | msgspec.Raw) -> list[Message]:
    try:
        return _messages.decode(written)
    except UNWRITABLE as error:
        raise _fault(unicode_fault(bytes(written), error), "$.messages") from error


def first_unwritable(items: Iterable[object], encode: Callable[[object], bytes]) -> str:
    """The place of the first item that *encode* cannot write, as `[3]`; empty if there is none."""
    for place, item in enumerate(items):
        try:
            encode(item)
        except UNWRITABLE:
            return f"[{place}]"
    return ""


def _fault(why: object, path: str = "$") -> ConfigError:
    what, _, inner = str(why).partition(" - at `$")
    path += inner.removesuffix("`")
    error = ConfigError(f"a stored history is wrong at {path}: {what}")
    error.path = path
    return error
