"""How an answer is shown: its text on standard output, all else on standard error.

At a terminal, and with `rich`, its Markdown is rendered, and that is append only: a block that has ended is printed
once and never touched again. Only the last one, to which more may come, is drawn anew, and of that no more than the
screen holds. What a model, a tool or a server has written is cleaned before it is rendered and after it, as an entity
of Markdown may stand for any character; the styles between go to the terminal as they are.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
import time
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from math import ceil
from typing import TYPE_CHECKING, Final, Protocol, TextIO

from penstock.agent.caller import ToolResultChunk
from penstock.cli.terminal import columns, is_styled, is_terminal, is_utf8, json_line, notice, printable, raw
from penstock.core.chunks import ReasoningChunk, TextChunk, ToolCallChunk
from penstock.core.messages import TextPart

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.markdown import Markdown

__all__ = ["JSONLines", "Output", "Plain", "Rendered", "output_for"]

_PAUSE: Final = 0.04
"""Seconds between two drawings at least; or ten times what the last one took, up to a second."""
_STYLE: Final = re.compile(r"\x1b\[[0-9;]*m")
_UNWRAPPED, _WRAPPED = "\x1b[?7l", "\x1b[?7h"


class Output(Protocol):
    """Where the chunks of an answer go."""

    def show(self, chunk: object) -> None:
        """Show one of `run_tools`' chunks; what is not for people is passed over."""

    def close(self) -> None:
        """End the answer, also one that broke off."""


class JSONLines:
    """Each chunk as a line of JSON."""

    def show(self, chunk: object) -> None:
        """Print it."""
        print(json_line(chunk), flush=True)

    def close(self) -> None:
        """Nothing is left open."""


class Plain:
    """Text as it streams; at a terminal reasoning dimmed, and calls of tools in a line each."""

    def __init__(self) -> None:
        self._open = ""  # what the unfinished line holds: an answer's `text`, or `reasoning`
        self._calls: dict[str, ToolCallChunk] = {}

    def show(self, chunk: object) -> None:
        """Show text, reasoning and the results of tools."""
        if isinstance(chunk, TextChunk):
            self._turn_to("text")
            self.text(chunk.text)
        elif isinstance(chunk, ReasoningChunk) and chunk.text and is_terminal(sys.stderr):
            self._turn_to("reasoning")
            notice(chunk.text, end="")
        elif isinstance(chunk, ToolCallChunk):
            self._calls[chunk.id] = chunk
        elif isinstance(chunk, ToolResultChunk):
            self.close()
            call = self._calls.get(chunk.id)
            notice(_in_a_line(chunk, "" if call is None else call.arguments))

    def text(self, text: str) -> None:
        """Write a piece of the answer."""
        print(text, end="", flush=True)

    def close(self) -> None:
        """End the line."""
        self._turn_to("")

    def _turn_to(self, kind: str) -> None:
        if self._open not in ("", kind):
            self.end_text() if self._open == "text" else print(file=sys.stderr, flush=True)
        self._open = kind

    def end_text(self) -> None:
        """End a text that something else follows."""
        print(flush=True)


class Rendered(Plain):
    """Markdown at a terminal: finished blocks once, the last one live."""

    def __init__(self) -> None:
        super().__init__()
        self._screen = raw(sys.stdout)
        self._source = ""  # of the blocks that are not printed yet
        self._held = ""  # half of a line end
        self._live: list[int] = []  # the columns of each line that is drawn and not printed
        self._width = 0  # of the terminal when they were drawn
        self._is_first = True  # block of this text
        self._due = 0.0
        self._later: asyncio.TimerHandle | None = None

    def text(self, text: str) -> None:
        """Take a piece of the answer. It is drawn in a moment, with what comes meanwhile."""
        whole = self._held + text
        self._held = "\r" if whole.endswith("\r") else ""
        self._source += printable(whole.removesuffix("\r"))
        if self._later is None:
            self._later = asyncio.get_running_loop().call_later(self._due - time.monotonic(), self._draw)

    def _draw(self) -> None:
        """Print the blocks that have ended, and draw the rest."""
        self._later = None
        _load(self._screen)
        begun = time.monotonic()
        width, height = self._size()
        *finished, last = _blocks(self._source)
        lines = self._lines([last], width)[-max(1, height - 2) :]
        with suppress(OSError):  # the next one who writes learns of it, where it can be told
            self._write(self._lines(finished, width), lines, width)
        self._source = last
        self._due = time.monotonic() + min(max(_PAUSE, 10 * (time.monotonic() - begun)), 1.0)

    def end_text(self) -> None:
        """Print what is left."""
        if self._later is not None:
            self._later.cancel()
        width, _ = self._size()
        self._write(self._lines([self._source], width), [], width)
        self._source, self._held, self._is_first, self._later = "", "", True, None

    def _write(self, finished: list[str], live: list[str], width: int) -> None:
        """In one piece, so that nobody sees what is between."""
        out = self._to_the_top(width)
        if finished:
            out += "\n" * (not self._is_first) + "\n".join(finished) + "\n"
            self._is_first = False
        if live:
            # A line that is wider than this counts, as a terminal may draw an emoji, is cut and no second one.
            out += "\n" * (not self._is_first) + _UNWRAPPED + "\n".join(live) + _WRAPPED
        self._live = [0] * (bool(live) and not self._is_first) + [columns(line) for line in map(_bare, live)]
        self._width = width
        self._screen.write(out)
        self._screen.flush()

    def _to_the_top(self, width: int) -> str:
        """The sequence that removes what is live. A terminal that has become narrower has broken its lines anew."""
        rows = sum(max(1, ceil(line / width)) if width < self._width else 1 for line in self._live)
        if not rows:
            return ""
        up = f"\x1b[{rows - 1}A" if rows > 1 else ""
        return f"\r{up}\x1b[J"

    def _size(self) -> os.terminal_size:
        try:
            found = os.get_terminal_size(self._screen.fileno())
        except OSError:
            found = os.terminal_size((80, 24))
        return os.terminal_size((found.columns or 80, found.lines or 24))  # 0 is a terminal that does not say

    def _lines(self, sources: list[str], width: int) -> list[str]:
        """The rendered lines of some Markdown, with their styles, and an empty one between blocks."""
        lines: list[str] = []
        for block in (block for source in sources for block in _blocks(f"{source}\n")):
            rendered = _rendered(block, self._screen, width)
            lines += [""] * bool(lines and rendered) + rendered
        return lines


def _rendered(block: str, screen: TextIO, width: int) -> list[str]:
    """The lines of one block, without those at its ends that hold nothing."""
    if not block.strip():
        return []
    from rich.segment import Segment, Segments
    from rich.text import Text

    console = _console(screen)
    console.width = width
    shown = _markdown(block)
    # The parser leaves out what is deeper.
    deep = any(token.level >= _parser().options.maxNesting - 1 for token in shown.parsed)
    pieces = console.render(Text(block) if deep else shown, console.options)
    clean = [Segment(printable(text), style) for text, style, control in pieces if not control]
    with console.capture() as captured:
        console.print(Segments(clean), end="")
    lines = [line.rstrip() for line in captured.get().split("\n")]
    there = [place for place, line in enumerate(lines) if _bare(line).strip()]
    return lines[there[0] : there[-1] + 1] if there else []


@cache
def _parser() -> MarkdownIt:
    """HTML is text: rich would pass over it, and so would whoever reads."""
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"])


@cache
def _console(screen: TextIO) -> Console:
    from rich.console import Console

    return Console(file=screen, force_terminal=True, highlight=False, emoji=False)


def _load(screen: TextIO) -> None:
    """Import what is needed, which takes longer than any drawing and counts for none."""
    _parser(), _console(screen), _markdown_type()


@cache
def _markdown_type() -> type[Markdown]:
    from rich.markdown import Heading, Markdown

    class Left(Heading):
        """A heading that stands where reading begins."""

        def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
            yield self.text

    class Shown(Markdown):
        """With our own headings."""

        elements = {**Markdown.elements, "heading_open": Left}  # noqa: RUF012

    return Shown


def _markdown(source: str) -> Markdown:
    markdown = _markdown_type()("", code_theme="ansi_dark", hyperlinks=False)  # a link shows where it leads
    markdown.parsed = _parser().parse(source)
    for token in markdown.parsed:
        for child in token.children or ():
            if child.type == "softbreak":  # what was written in lines is shown in lines
                child.type = "hardbreak"
    return markdown


def _blocks(source: str) -> list[str]:
    """The blocks of some Markdown, as far as they are told by whole lines: to the last, more may come."""
    lines = source.splitlines(keepends=True)
    whole = lines if source.endswith("\n") else lines[:-1]
    parsed = _parser().parse("".join(whole))
    starts = [token.map[0] for token in parsed if token.level == 0 and token.map and token.nesting >= 0]
    return ["".join(lines[begin:end]) for begin, end in pairwise([0, *starts[1:], len(lines)])]


def _bare(line: str) -> str:
    return _STYLE.sub("", line)


def _in_a_line(result: ToolResultChunk, arguments: str) -> str:
    """A call and the head of what came of it, in the width of the terminal."""
    content = result.content
    if not isinstance(content, str):
        content = " ".join(part.text if isinstance(part, TextPart) else f"[{type(part).__name__}]" for part in content)
    line = f"{result.name}({arguments}) {'failed' if result.is_error else '->'} {content[:1000]}"
    line = printable(" ".join(line.split()))
    width = shutil.get_terminal_size().columns - 1
    if columns(line) <= width:
        return line
    line = line[: width - 3]
    while columns(line) > width - 3:
        line = line[:-1]
    return f"{line}..."


def output_for(*, json: bool) -> Output:
    """How to show an answer here."""
    if json:
        return JSONLines()
    return Rendered() if is_styled(sys.stdout) and is_utf8(sys.stdout) and find_spec("rich") else Plain()
