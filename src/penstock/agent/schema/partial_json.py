"""JSON text that is still coming, as the value which it is until now. Pure, and linear in the text.

Nothing is invented: a string may be the beginning of one, but a number or a word that may go on is not there yet, and
neither is a key without the beginning of its value. So what is there only grows.
"""

from __future__ import annotations

from typing import Final

import jiter
import msgspec

__all__ = ["PartialJSON"]

_AT_FIRST: Final = 2**23
"""Bytes that may be read in all before it counts how often: of a short text, every piece shows what it brings."""
_AGAIN: Final = 64
"""For each byte that comes, so many may be read once more: all is read again for each 64th part of it that comes."""


class PartialJSON:
    """Reads a JSON object or array in pieces, from its bracket on. It holds the state of that one and of no other.

    What is no JSON, or nests deeper than jiter reads (200 levels), is the end: nothing more is shown.
    """

    def __init__(self) -> None:
        self._text = bytearray()
        self._credit = _AT_FIRST
        self._shown: object = msgspec.UNSET
        self._broken = False

    def feed(self, text: str) -> object:
        """Read the next piece: the value as it is now, msgspec.UNSET when that is nothing new or not worth its time."""
        piece = text.encode("utf-8", "replace")
        self._text += piece
        self._credit += _AGAIN * len(piece)
        if self._broken or len(self._text) > self._credit:
            return msgspec.UNSET
        self._credit -= len(self._text)
        try:
            value = jiter.from_json(self._whole(), allow_inf_nan=False, partial_mode="trailing-strings")
        except ValueError:
            self._broken = True
            return msgspec.UNSET
        if value == self._shown:
            return msgspec.UNSET
        self._shown = value
        return value

    def _whole(self) -> bytes:
        """The text without a number that may go on; what looks like one in a string is seen with the next piece."""
        text = bytes(self._text)
        before = text.rstrip(b"+-.eE0123456789")
        return before if before.rstrip().endswith((b",", b":", b"[")) else text
