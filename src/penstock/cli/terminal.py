"""What the command line writes to a terminal: printable text, line ends and tabs, and nothing else.

A model, a server's error, a tool or a file may hold escape sequences, which a terminal obeys: they set its title, write
to the clipboard, hide text. Everything that is written goes through here, so no command has to think of it. A pipe or
a file gets what was written, unchanged.
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TextIO

import msgspec

from penstock.core.errors import ProviderError

__all__ = [
    "PrintableStream", "columns", "failure_fields", "is_styled", "is_terminal", "is_utf8", "json_line", "notice",
    "printable", "raw", "safe_terminal", "width_of", "wrapped",
]  # fmt: skip

_to_json: Final = msgspec.json.Encoder(decimal_format="number").encode

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


def columns(text: str) -> int:
    """How many columns of a terminal *text* takes."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


class PrintableStream:
    """A text stream that passes on printable text; in all else it is the stream around which it is made.

    raw: that stream, for styles of our own and for a line editor: never for what others have written.
    """

    def __init__(self, stream: TextIO) -> None:
        self.raw = stream
        self._held = ""  # half of a line end, which may be whole with what comes next

    def write(self, text: str) -> int:
        """Write *text* without what a terminal would obey; the length is that of all of it."""
        whole = self._held + text
        self._held = "\r" if whole.endswith("\r") else ""
        self.raw.write(printable(whole.removesuffix("\r")))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each of *lines* in the same way."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


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


def json_line(value: object) -> str:
    """*value* as JSON for standard output: to a terminal the same document with what is unprintable escaped."""
    text = _to_json(value).decode()
    if not isinstance(sys.stdout, PrintableStream):
        return text
    return _UNPRINTABLE.sub(lambda found: json.dumps(found[0])[1:-1], text)


def failure_fields(error: ProviderError) -> dict[str, object]:
    """What a line of JSON says of a failure, whichever command writes it."""
    return {
        "class": type(error).__name__,
        "message": error.message,
        "status": error.status,
        "code": error.code,
        "request_id": error.request_id,
        "retryable": error.retryable,
    }


def is_terminal(stream: TextIO | None) -> bool:
    """Whether somebody looks at it."""
    return stream is not None and not stream.closed and stream.isatty()


def is_styled(stream: TextIO | None) -> bool:
    """Whether it is a terminal that knows escape sequences."""
    return is_terminal(stream) and os.environ.get("TERM") not in (None, "", "dumb")


def is_utf8(stream: TextIO) -> bool:
    """Whether any character can go through it."""
    return (stream.encoding or "").lower().replace("-", "") == "utf8"


def raw(stream: TextIO) -> TextIO:
    """The stream without the guard around it."""
    return stream.raw if isinstance(stream, PrintableStream) else stream


def width_of(terminal: TextIO) -> int:
    """How many columns it has; 80 where that is not known."""
    try:
        return os.get_terminal_size(raw(terminal).fileno()).columns or 80  # 0 is a terminal that does not say
    except OSError:
        return 80


def wrapped(text: str, *, indent: int = 0) -> str:
    """*text* for standard error: at a terminal broken between words; lines after the first are indented by so much."""
    if not is_terminal(sys.stderr):
        return text
    width = width_of(sys.stderr)
    lines: list[str] = []
    for word in text.split(" "):
        if lines and columns(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(" " * (indent if lines else 0) + word)
    return "\n".join(lines)


def notice(text: str, *, end: str = "\n") -> None:
    """Say *text* beside the answer, on standard error: dimmed at a terminal. end: empty for a piece of a stream."""
    if sys.stderr is None:
        return
    text = wrapped(text) if end else text
    styled = is_styled(sys.stderr)
    if styled:
        raw(sys.stderr).write("\x1b[2m")
    sys.stderr.write(text)
    if styled:
        raw(sys.stderr).write("\x1b[22m")
    print(end=end, file=sys.stderr, flush=True)
