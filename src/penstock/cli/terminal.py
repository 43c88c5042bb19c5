"""What the command line writes to a terminal: printable text, line ends and tabs, and nothing else.

A model, a server's error, a tool or a file may hold escape sequences, which a terminal obeys: they set its title, write
to the clipboard, hide text. Everything that is written goes through here, so no command has to think of it. A pipe or
a file gets what was written, unchanged.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, TextIO

__all__ = ["PrintableStream", "json_line", "printable", "safe_terminal"]

# Controls but for tab and line feed, line and paragraph separators, overrides of the direction of text, invisible marks
# and tags, halves of surrogate pairs. Joiners and the marks of Hebrew and Arabic stay: words and emoji need them.
_UNPRINTABLE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)


def printable(text: str) -> str:
    """*text* with U+FFFD for each character that is no printable text, line feed or tab."""
    return _UNPRINTABLE.sub("\ufffd", text.replace("\r\n", "\n"))


class PrintableStream:
    """A text stream that passes on printable text; in all else it is the stream around which it is made."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write *text* without what a terminal would obey; the length is that of all of it."""
        self._stream.write(printable(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write each of *lines* in the same way."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def safe_terminal() -> Iterator[None]:
    """Within it, what goes to standard output and standard error is printable wherever that is a terminal."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(_safe, before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _safe(stream: TextIO) -> Any:
    return PrintableStream(stream) if stream.isatty() else stream


def json_line(text: str) -> str:
    """JSON *text* for standard output: to a terminal the same document with what is unprintable escaped."""
    if not isinstance(sys.stdout, PrintableStream):
        return text
    return _UNPRINTABLE.sub(lambda found: "".join(map(_escaped, _units(found[0]))), text)


def _units(character: str) -> list[int]:
    encoded = character.encode("utf-16-be", "surrogatepass")
    return [int.from_bytes(encoded[place : place + 2]) for place in range(0, len(encoded), 2)]


def _escaped(unit: int) -> str:
    return f"\\u{unit:04x}"
