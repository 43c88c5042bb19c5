"""JSON text that is still coming, as the value which it is until now. Pure, and linear in the text.

Nothing is invented: a string may be the beginning of one, but a number or a word that may go on is not there yet, and
neither is a key without the beginning of its value. So what is there only grows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

__all__ = ["PartialJSON"]

_BLANK: Final = re.compile(r"[ \t\n\r]*")
_PLAIN: Final = re.compile(r'[^"\\\x00-\x1f]*')
_WORD: Final = re.compile(r"[-+.0-9A-Za-z]*")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_LITERALS: Final[Mapping[str, object]] = {"true": True, "false": False, "null": None}
# One escape, or the two of a surrogate pair, whole or begun; half a pair alone is no text.
_ESCAPE: Final = re.compile(
    r'\\(?:["\\/bfnrt]|u(?![dD][89a-fA-F])[0-9a-fA-F]{4}'
    r"|u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
)
_ESCAPE_BEGUN: Final = re.compile(
    r"\\(?:u[0-9a-fA-F]{0,3}|u[dD][89abAB][0-9a-fA-F]{2}(?:\\(?:u(?:[dD](?:[c-fC-F][0-9a-fA-F]?)?)?)?)?)?"
)


class PartialJSON:
    """Reads a JSON document in pieces. It holds the state of that document and of no other.

    broken: what came is no JSON; what was there before stays, and the rest is not read.
    changes: grows whenever `value()` has changed.
    size: how much a `value()` copies, in items and characters.
    """

    def __init__(self) -> None:
        self.broken = False
        self.changes = 0
        self.size = 0
        self._root: object = msgspec.UNSET
        self._open: list[dict[str, Any] | list[Any]] = []  # containers, the outermost first
        self._keys: list[str] = []  # under which the next value goes, of each open object
        self._expected = "value"
        self._read: Callable[[str, int], int] = self._structure
        self._string: list[str] | None = None  # of the one that is coming
        self._is_key = False
        self._token = ""  # the beginning of an escape or of a word

    def feed(self, text: str) -> None:
        """Read the next piece."""
        place = 0
        while place < len(text) and not self.broken:
            place = self._read(text, place)

    def close(self) -> None:
        """Say that nothing more comes: a number at the very end is whole then."""
        if self._token and self._string is None and not self.broken:
            self._end_word()

    def value(self) -> object:
        """What is there; msgspec.UNSET while nothing is. Its finished parts are those of the next value: leave them."""
        shown: object = self._root
        if self._string is not None and not self._is_key:
            self._string = ["".join(self._string)]
            (shown,) = self._string
        keys = list(self._keys)
        for container in reversed(self._open):
            copy: Any = container.copy()
            key = keys.pop() if isinstance(copy, dict) else None
            if shown is not msgspec.UNSET:
                if key is None:
                    copy.append(shown)
                else:
                    copy[key] = shown
            shown = copy
        return shown

    def _structure(self, text: str, place: int) -> int:
        blank = _BLANK.match(text, place)
        place = blank.end() if blank else place
        if place == len(text):
            return place
        char = text[place]
        action = _ACTIONS.get((self._expected, char if char in '{}[]",:' else "word"))
        if action is None:
            self.broken = True
            return place
        action(self)
        return place if self._read == self._word else place + 1

    def _open_object(self) -> None:
        self._keys.append("")
        self._begin({}, "first key")

    def _open_list(self) -> None:
        self._begin([], "first item")

    def _begin(self, container: dict[str, Any] | list[Any], expected: str) -> None:
        self._open.append(container)
        self._expected = expected
        self.size += 1
        self.changes += 1

    def _close(self) -> None:
        container = self._open.pop()
        self.size -= len(container) + 1
        if isinstance(container, dict):
            self._keys.pop()
        self._put(container)

    def _put(self, value: object) -> None:
        if not self._open:
            self._root = value
            self._expected = "end"
            return
        container = self._open[-1]
        if isinstance(container, dict):
            self.size += self._keys[-1] not in container
            container[self._keys[-1]] = value
        else:
            self.size += 1
            container.append(value)
        self._expected = "next pair" if isinstance(container, dict) else "next item"

    def _next_key(self) -> None:
        self._expected = "key"

    def _next_value(self) -> None:
        self._expected = "value"

    def _begin_key(self) -> None:
        self._is_key = True
        self._string, self._read = [], self._in_string

    def _begin_string(self) -> None:
        self._is_key = False
        self._string, self._read = [], self._in_string
        self.changes += 1

    def _in_string(self, text: str, place: int) -> int:
        plain = _PLAIN.match(text, place)
        end = plain.end() if plain else place
        self._add(text[place:end])
        if end == len(text):
            return end
        if text[end] == '"':
            self._end_string()
        elif text[end] == "\\":
            self._token, self._read = "\\", self._in_escape
        else:
            self.broken = True
        return end + 1

    def _add(self, text: str) -> None:
        if text and self._string is not None:
            self._string.append(text)
            self.size += len(text)
            self.changes += not self._is_key

    def _end_string(self) -> None:
        text = "".join(self._string or ())
        self._string, self._read = None, self._structure
        self.size -= len(text)
        if self._is_key:
            self._keys[-1] = text
            self._expected = "colon"
        else:
            self._put(text)

    def _in_escape(self, text: str, place: int) -> int:
        self._token += text[place]
        if _ESCAPE.fullmatch(self._token):
            self._add(msgspec.json.decode(f'"{self._token}"', type=str))
            self._token, self._read = "", self._in_string
        elif not _ESCAPE_BEGUN.fullmatch(self._token):
            self.broken = True
        return place + 1

    def _begin_word(self) -> None:
        self._read = self._word

    def _word(self, text: str, place: int) -> int:
        more = _WORD.match(text, place)
        end = more.end() if more else place
        self._token += text[place:end]
        if end < len(text):
            self._end_word()
        return end

    def _end_word(self) -> None:
        word, self._token = self._token, ""
        self._read = self._structure
        self.changes += 1
        number = _NUMBER.fullmatch(word)
        try:
            if number is None:
                self._put(_LITERALS[word])
            else:
                self._put(float(word) if number[1] or number[2] else int(word))
        except (KeyError, ValueError):  # more digits than Python reads are a ValueError
            self.broken = True


_VALUES: Final[Mapping[str, Callable[[PartialJSON], None]]] = {
    "{": PartialJSON._open_object,
    "[": PartialJSON._open_list,
    '"': PartialJSON._begin_string,
    "word": PartialJSON._begin_word,
}
_ACTIONS: Final[Mapping[tuple[str, str], Callable[[PartialJSON], None]]] = {
    **{("value", char): action for char, action in _VALUES.items()},
    **{("first item", char): action for char, action in _VALUES.items()},
    ("first item", "]"): PartialJSON._close,
    ("first key", '"'): PartialJSON._begin_key,
    ("first key", "}"): PartialJSON._close,
    ("key", '"'): PartialJSON._begin_key,
    ("colon", ":"): PartialJSON._next_value,
    ("next pair", ","): PartialJSON._next_key,
    ("next pair", "}"): PartialJSON._close,
    ("next item", ","): PartialJSON._next_value,
    ("next item", "]"): PartialJSON._close,
}
