"""A history as JSON, with the version of its form inside: `{"version": 2, "messages": [...]}`.

The version is raised whenever a part or a field is added, so that an older Penstock says so instead of losing it. Older
versions are read: what they lack has a default. 2 added a call's `extra` and `vendor`, and
the `account` of reasoning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, Final, Generic, Literal, TypeVar

import msgspec

from penstock.core.errors import ConfigError
from penstock.core.messages import Message
from penstock.core.validation import unicode_fault

__all__ = ["UNWRITABLE", "Stored", "dump_messages", "first_unwritable", "load_messages"]

T = TypeVar("T")

VERSION: Final = 2
UNWRITABLE: Final = (TypeError, ValueError, RecursionError)
"""What an encoder raises for what is no JSON, and a decoder for what does not fit: msgspec's own are ValueErrors."""

_NOTHING: Final = msgspec.Raw()


class _Envelope(msgspec.Struct, omit_defaults=True):
    version: int
    messages: msgspec.Raw = _NOTHING
    reply: msgspec.Raw = _NOTHING


def _as_list(value: object) -> list[Any]:
    # msgspec knows list and tuple; a content may be any Sequence.
    if isinstance(value, Sequence):
        return list(value)
    raise TypeError(f"a {type(value).__name__} has no place in a message")


_KINDS: Final = {
    "messages": "this is a history: use `load_messages`",
    "reply": "this is a reply: use `load_reply`",
}
"""What to do with a kind that another function reads, by its field."""
_encode = msgspec.json.Encoder(enc_hook=_as_list).encode
_envelope = msgspec.json.Decoder(_Envelope)


class Stored(Generic[T]):
    """One kind of thing as JSON. name: of the field beside the version. what: its name in errors. kind: its type."""

    def __init__(self, name: Literal["messages", "reply"], what: str, kind: type[T]) -> None:
        self._name = name
        self._what = what
        self._kind = kind

    def dump(self, value: object, items: Iterable[object] = ()) -> bytes:
        """The JSON. items: what it consists of, for the place in an error. Raises ConfigError, as `load` would."""
        try:
            written = _encode(value)
        except UNWRITABLE as error:
            raise self._fault(error, f"$.{self._name}{first_unwritable(items, _encode)}") from error
        self._read(written)  # what is saved and cannot be read is lost, and it is found too late
        return _encode(_Envelope(VERSION, **{self._name: msgspec.Raw(written)}))

    def load(self, data: bytes | str) -> T:
        """What `dump` was given. Raises ConfigError with `path`."""
        try:
            envelope = _envelope.decode(data)
        except UNWRITABLE as error:
            raise self._fault(error) from error
        if not 1 <= envelope.version <= VERSION:
            newer = "; a newer Penstock has written it" if envelope.version > VERSION else ""
            raise self._fault(f"the version is {envelope.version}, expected 1 to {VERSION}{newer}", "$.version")
        written: msgspec.Raw = getattr(envelope, self._name)
        if not written:
            other = next((said for name, said in _KINDS.items() if getattr(envelope, name)), None)
            raise self._fault(other or f"Object missing required field `{self._name}`")
        return self._read(written)

    @cached_property
    def _decode(self) -> Callable[[bytes | msgspec.Raw], T]:
        return msgspec.json.Decoder(self._kind).decode  # made when it is needed: it looks through all parts

    def _read(self, written: bytes | msgspec.Raw) -> T:
        try:
            return self._decode(written)
        except UNWRITABLE as error:
            raise self._fault(unicode_fault(bytes(written), error), f"$.{self._name}") from error

    def _fault(self, why: object, path: str = "$") -> ConfigError:
        said, _, inner = str(why).partition(" - at `$")
        path += inner.removesuffix("`")
        error = ConfigError(f"a stored {self._what} is wrong at {path}: {said}")
        error.path = path
        return error


_messages: Final = Stored("messages", "history", list[Message])


def dump_messages(messages: Sequence[Message]) -> bytes:
    """The history as JSON, without loss: bytes as base64, proofs and vendors' own blocks as they are.

    Raises ConfigError with `path` for what `load_messages` would not read again, as a wrong type, and for text that is
    not Unicode, which no vendor takes either: `repair` fixes it.
    """
    return _messages.dump(messages, messages)


def load_messages(data: bytes | str) -> list[Message]:
    """The messages that `dump_messages` was given; contents that were other sequences are lists.

    Raises ConfigError, which is a ValueError too, with `path`, for anything else, and for a version that this Penstock
    does not know.
    """
    return _messages.load(data)


def first_unwritable(items: Iterable[object], encode: Callable[[object], bytes]) -> str:
    """The place of the first item that *encode* cannot write, as `[3]`; empty if there is none."""
    for place, item in enumerate(items):
        try:
            encode(item)
        except UNWRITABLE:
            return f"[{place}]"
    return ""
