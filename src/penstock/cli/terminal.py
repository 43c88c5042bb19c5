"""What the command line writes to a terminal: printable text, line ends and tabs, and nothing else.

A model, a server's error, a tool or a file may hold escape sequences, which a terminal obeys: they set its title, write
to the clipboard, hide text. Everything that is written goes through here, so no command has to think of it. A pipe or
a file gets what was written, unchanged.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TextIO

__all__ = ["PrintableStream", "json_line", "printable", "safe_terminal"]

# Controls but for tab and line feed, line and paragraph separators, overrides of the direction of text, marks and
# blanks that cannot be seen, tags, halves of surrogate pairs. Joiners and the marks of Hebrew and Arabic stay: words
# need them.
_UNPRINTABLE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u180e\u200b\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0"
    "\ufff9-\ufffb\ufffe\uffff\ud800-\udfff\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def printable(text: str) -> str:
    """*text* with U+FFFD for each character that is no printable text, line feed or tab."""
    return _UNPRINTABLE.sub("\ufffd", text.replace("\r\n", "\n"))


class PrintableStream:
    """A text stream that passes on printable text; in all else it is the stream around which it is made."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._held = ""  # half of a line end, which may be whole with what comes next

    def write(self, text: str) -> int:
        """Write *text* without what a terminal would obey; the length is that of all of it."""
        whole = self._held + text
        self._held = "\r" if whole.endswith("\r") else ""
        self._stream.write(printable(whole.removesuffix("\r")))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each of *lines* in the same way."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def safe_terminal() -> Iterator[None]:
    """Within it, what goes to standard output and standard error is printable wherever that is a terminal.

    What an encoding cannot write is written as an escape sequence of Python's, and is no error.
    """
    before = sys.stdout, sys.stderr
    for stream in before:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.stdout, sys.stderr = map(_safe, before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _safe(stream: TextIO | None) -> Any:
    # None where a shell has closed it: print then writes nothing.
    return PrintableStream(stream) if stream is not None and stream.isatty() else stream


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
