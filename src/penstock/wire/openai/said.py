"""What an answer of the Responses API has said of a text, of which it gives up to four accounts. Pure."""

from __future__ import annotations

import io
from typing import Final

__all__ = ["Said"]

_MOST_KEPT: Final = 2**18  # characters of a text that has been said, so that a stream without end stays small
_LEAST_KEPT: Final = 2**15


class Said:
    """What has been said of a text, so that a fuller account of it is said only from there on.

    Only what begins with it is a fuller account: one that was repaired in another way has other characters.
    """

    __slots__ = ("_before", "_io", "_parts", "write")

    def __init__(self) -> None:
        self._begin("", 0)

    def _begin(self, text: str, parts: int, before: int = 0) -> None:
        self._io = io.StringIO()
        self.write = self._io.write
        """Note a piece of an item that has not ended."""
        self.write(text)
        self._parts = parts  # how much of it is in parts that have ended
        self._before = before  # characters that came first and are not kept any more

    @property
    def size(self) -> int:
        """How much has been said of the items that have not ended."""
        return self._before + self._io.tell()

    def forget(self) -> None:
        """Keep no more than the bound of the text that has been said."""
        if self._io.tell() > _MOST_KEPT:
            text = self._io.getvalue()
            self._begin(text[-_LEAST_KEPT:], self._parts, self._before + len(text) - _LEAST_KEPT)

    def part(self, text: str) -> str:
        """What is missing of a part that has ended."""
        missing = self._missing(text, self._parts)
        self.write(missing)
        self._parts = self.size
        return missing

    def item(self, text: str, *, last: bool) -> str:
        """What is missing of an item that has ended. last: every item that has begun has now ended."""
        missing = self._missing(text, 0)
        said = self._io.getvalue()
        # A delta may have had more than the item: a line's end.
        rest = "" if last else said[max(0, len(text) - self._before) :]
        self._begin(rest, max(0, self._parts - len(text)))
        return missing

    def _missing(self, text: str, start: int) -> str:
        said, skipped = self._io.getvalue(), max(0, self._before - start)
        said = said[max(0, start - self._before) :]
        return text[skipped + len(said) :] if text.startswith(said, skipped) else ""
