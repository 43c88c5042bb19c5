"""Where prompts are typed: with `prompt_toolkit`, else with the standard library's readline, else without either.

Whichever it is, a line may have any length, and lines that arrive together are one prompt: what was pasted is not sent
line by line. For that the terminal is kept out of the kernel's line editing for the whole session: that one drops what
is longer than 4,095 bytes, also of what is typed while an answer comes.
"""

from __future__ import annotations

import codecs
import os
import re
import select
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, Protocol

from penstock.cli.sessions import Typed
from penstock.cli.terminal import columns, is_styled, is_utf8, printable, raw
from penstock.core.arguments import whole_text

if TYPE_CHECKING:
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
    from prompt_toolkit.key_binding.key_processor import KeyPress

__all__ = ["GAP", "MORE", "PROMPT", "SEQUENCE", "Composer", "arrived", "composer_for", "lines_of", "session_terminal"]

PROMPT: Final = "> "
"""What stands before a prompt."""
MORE: Final = ". "
"""What stands before its other lines."""
GAP: Final = 0.02
"""Seconds in which what is pasted goes on: a terminal hands over a few thousand bytes at a time."""
SEQUENCE: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O.)?")
"""What a key that is no letter sends."""


class Composer(Protocol):
    """Reads prompts."""

    async def read(self, text: str = "") -> str | None:
        """The next prompt, which begins with *text*; None when there is none any more.

        Raises KeyboardInterrupt for Ctrl-C.
        """

    def remember(self, text: str) -> None:
        """Keep a prompt among those that were typed."""


@contextmanager
def session_terminal() -> Iterator[None]:
    """Within it, keys are kept as they come until somebody reads them, and are not shown; Ctrl-C still interrupts."""
    try:
        import termios
    except ImportError:  # on Windows, where lines have no such limit
        yield
        return
    handle = sys.stdin.fileno()
    before = termios.tcgetattr(handle)
    _set_modes(handle, echo=False)
    try:
        yield
    finally:
        termios.tcsetattr(handle, termios.TCSADRAIN, before)


def _set_modes(handle: int, *, echo: bool) -> None:
    import termios

    modes = termios.tcgetattr(handle)
    modes[0] &= ~termios.ICRNL
    modes[3] &= ~(termios.ICANON | termios.ECHO)
    modes[3] |= termios.ECHO if echo else 0
    termios.tcsetattr(handle, termios.TCSADRAIN, modes)


def arrived(handle: int) -> bytes:
    """What is there to be read already, without waiting for more."""
    found = b""
    while _comes(handle) and (piece := os.read(handle, 65_536)):
        found += piece
    return found


def _comes(handle: int) -> bool:
    # On Windows only sockets can be asked; its terminals mark what is pasted.
    return sys.platform != "win32" and bool(select.select([handle], [], [], GAP)[0])


def lines_of(text: str) -> str:
    """With line feeds for the line ends of any system, and what can be sent for halves of characters."""
    return whole_text(text.replace("\r\n", "\n").replace("\r", "\n"))


class _Readline:
    """Python's own `input`, which readline edits. It returns at the first line end: what came with it is asked for."""

    def __init__(self, typed: Typed) -> None:
        import readline

        self._readline = readline
        self._typed = typed
        self._handle = sys.stdin.fileno()
        readline.set_auto_history(False)
        for text in typed.load():
            readline.add_history(text)
        readline.parse_and_bind(r'"\e\C-m": "\C-v\C-j"')  # Alt-Enter begins a new line

    async def read(self, text: str = "") -> str | None:
        """The next prompt, of one line or of all that arrived together."""
        while True:
            *lines, rest = text.split("\n")
            try:
                line = self._edited(MORE if lines else PROMPT, rest)
            except (EOFError, KeyboardInterrupt) as end:
                print(file=sys.stderr)
                if isinstance(end, KeyboardInterrupt):
                    raise
                return None
            more = arrived(self._handle).decode(sys.stdin.encoding, "surrogateescape")
            if more.startswith("\n") and (more == "\n" or "\r\n" in more):  # the other half of the line's end
                more = more[1:]
            text = "\n".join([*lines, line, *([lines_of(more)] if more else [])])
            for other in text.split("\n")[len(lines) + 1 : -1]:  # readline has shown the first alone
                print(f"{MORE}{other}", file=sys.stderr)
            if not more or text.endswith("\n"):
                break
        text = lines_of(text.removesuffix("\n"))
        self.remember(text)
        return text

    def remember(self, text: str) -> None:
        """Keep a prompt for the arrow keys."""
        if text.strip():
            self._readline.add_history(text)
            self._typed.add(text)

    def _edited(self, prompt: str, text: str) -> str:
        self._readline.set_startup_hook((lambda: self._readline.insert_text(text)) if text else None)
        _set_modes(self._handle, echo=True)  # or readline would not show what it reads
        try:
            return input(prompt)
        finally:
            _set_modes(self._handle, echo=False)


class _Bare:
    """Without readline, or when the answer does not go to the terminal: only what is typed, and how to take it back."""

    def __init__(self, typed: Typed) -> None:
        self._typed = typed
        self._handle = sys.stdin.fileno()
        self._decoder = codecs.getincrementaldecoder(sys.stdin.encoding)("surrogateescape")

    async def read(self, text: str = "") -> str | None:
        """The next prompt, of one line or of all that arrived together."""
        if not find_spec("termios"):
            return input(PROMPT)  # noqa: ASYNC250 - nothing else runs while a prompt is typed
        print(f"{PROMPT}{text}", end="", file=sys.stderr, flush=True)
        while True:
            try:
                data = os.read(self._handle, 65_536)
            except KeyboardInterrupt:
                print(file=sys.stderr)
                raise
            new = SEQUENCE.sub("", lines_of(self._decoder.decode(data + arrived(self._handle), not data)))
            if not data or (new.startswith("\x04") and not text):
                print(file=sys.stderr)
                return text or None
            text = self._typed_on(text, new)
            if new.endswith("\n"):
                self.remember(text.strip())
                return text.removesuffix("\n")

    def remember(self, text: str) -> None:
        """Keep a prompt for a session with arrow keys."""
        self._typed.add(text)

    def _typed_on(self, text: str, new: str) -> str:
        """The text with more of it, which is shown."""
        for character in new:
            if character in "\x7f\b\x15":
                gone = text[text.rfind("\n") + 1 :][0 if character == "\x15" else -1 :]
                text = text[: len(text) - len(gone)]
                print("\b \b" * columns(gone), end="", file=raw(sys.stderr))
            elif character >= " " or character in "\n\t":
                text += character
                print(printable(character), end="", file=sys.stderr)
        sys.stderr.flush()
        return text


class _Toolkit:
    """`prompt_toolkit`: several lines, history, and pasting as the terminal marks it."""

    def __init__(self, typed: Typed) -> None:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.history import InMemoryHistory
        from prompt_toolkit.output import create_output
        from prompt_toolkit.output.vt100 import Vt100_Output

        output = create_output(raw(sys.stderr))
        if isinstance(output, Vt100_Output):
            output.enable_cpr = False  # an answer that comes late would be taken for keys
        self._typed = typed
        self._session: PromptSession[str] = PromptSession(
            PROMPT, multiline=True, prompt_continuation=MORE, output=output, key_bindings=_keys(),
            history=InMemoryHistory(typed.load()), reserve_space_for_menu=0,
        )  # fmt: skip

    async def read(self, text: str = "") -> str | None:
        """The next prompt."""
        try:
            text = lines_of(await self._session.prompt_async(default=text)).rstrip("\n")
        except EOFError:
            return None
        self._typed.add(text)
        return text

    def remember(self, text: str) -> None:
        """Keep a prompt for the arrow keys."""
        self._session.history.append_string(text)
        self._typed.add(text)


def _keys() -> KeyBindings:
    """Enter sends, but not in the middle of what has come at once; Alt-Enter and Ctrl-J begin a new line."""
    from prompt_toolkit.key_binding import KeyBindings
    from prompt_toolkit.keys import Keys

    keys = KeyBindings()

    @keys.add("enter")
    def _enter(event: KeyPressEvent) -> None:
        waiting = event.key_processor.input_queue
        if waiting and waiting[0].key == Keys.ControlJ:  # the other half of the line's end
            waiting.popleft()
        if waiting or _comes(sys.stdin.fileno()):
            event.current_buffer.insert_text("\n")
        else:
            event.current_buffer.validate_and_handle()

    @keys.add("escape", "enter")
    @keys.add("c-j")
    def _new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add(Keys.Any)
    def _text(event: KeyPressEvent) -> None:
        # All that has come: one after the other they would take a second for some thousand.
        event.current_buffer.insert_text(event.data + "".join(_plain(event.key_processor.input_queue)))

    return keys


def _plain(waiting: deque[KeyPress]) -> Iterator[str]:
    """Take the letters at the beginning of what waits."""
    while waiting and len(waiting[0].key) == 1:
        yield waiting.popleft().data


def composer_for(typed: Typed) -> Composer:
    """The best there is here."""
    if is_styled(sys.stderr) and is_utf8(sys.stdin) and find_spec("prompt_toolkit"):
        return _Toolkit(typed)
    if sys.stdout is not None and sys.stdout.isatty() and find_spec("readline"):
        return _Readline(typed)
    return _Bare(typed)
