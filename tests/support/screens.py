"""A terminal that a test looks at: a command at a pseudo-terminal, driven by keys, and what stands on its screen.

It waits for what the screen shows and for nothing else.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

import pyte
from anyio.from_thread import start_blocking_portal

from patience import PATIENCE
from penstock.testing import Emulator, Request, ServerReply

__all__ = ["CTRL_C", "CTRL_D", "ENTER", "OUR_OWN", "UP", "Screen", "serving"]

ENTER: Final = "\r"
CTRL_C: Final = "\x03"
CTRL_D: Final = "\x04"
UP: Final = "\x1b[A"
OUR_OWN: Final = re.compile(r"\x1b\[(?:[0-9;]*m|\d+A|J|\?7[lh])")
"""The sequences with which an answer is shown: styles, and those that draw a block anew."""
_HIDING: Final = (
    "import sys; sys.modules |= dict.fromkeys({names!r}); from penstock.cli.main import main; sys.exit(main())"
)


class Screen:
    """`penstock` at a terminal of so many columns and lines.

    without: modules that are not installed there. into: a file for standard output. sent: all that has come, undone.
    Leave it with `with`: a command that still runs is killed.
    """

    def __init__(
        self,
        *arguments: str,
        columns: int = 80,
        lines: int = 24,
        without: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        into: Path | None = None,
    ) -> None:
        self._parent, child = pty.openpty()
        self._screen = pyte.HistoryScreen(columns, lines, history=10_000, ratio=1.0)
        self._stream = pyte.ByteStream(self._screen)
        self.sent = b""
        self._child = child  # kept open, as the modes of a terminal are gone with its last user
        self._modes = termios.tcgetattr(child)
        fcntl.ioctl(self._parent, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        started = ["-c", _HIDING.format(names=list(without))] if without else ["-m", "penstock"]
        variables = {"TERM": "xterm-256color", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", **(environment or {})}
        out = child if into is None else os.open(into, os.O_WRONLY | os.O_CREAT)
        self._process = subprocess.Popen(
            [sys.executable, *started, *arguments],
            stdin=child, stdout=out, stderr=child, close_fds=True, start_new_session=True,
            env={**{name: value for name, value in os.environ.items() if name != "NO_COLOR"}, **variables},
            preexec_fn=_take_terminal,
        )  # fmt: skip
        if into is not None:
            os.close(out)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(PATIENCE)
        os.close(self._parent)
        os.close(self._child)

    def is_as_it_was(self) -> bool:
        """Whether the modes of the terminal are those with which the command was started."""
        return termios.tcgetattr(self._child) == self._modes

    def type(self, keys: str) -> None:
        """Press keys; a long text is read by the command as it is written."""
        data = keys.encode()
        while data:
            readable, writable, _ = select.select([self._parent], [self._parent], [], PATIENCE)
            assert readable or writable, self._failed("did not read what was typed")
            if readable:
                self._read()
            elif writable:
                data = data[os.write(self._parent, data[:1024]) :]

    def until(self, *texts: str) -> None:
        """Wait until all of the texts are shown, in the history of the screen too."""
        self._wait(lambda: all(text in self.text for text in texts), texts)

    def insist(self, keys: str, text: str) -> None:
        """Press keys, again each second, until a text is shown: a signal may come just before Python waits for keys."""
        begun = time.monotonic()
        pressed = 0
        while text not in self.text:
            waited = time.monotonic() - begun
            assert waited < PATIENCE, self._failed(f"did not show {text!r}")
            if waited >= pressed:
                self.type(keys)
                pressed += 1
            self._read()

    def until_there(self, holds: Callable[[], object]) -> None:
        """Wait for what is not on the screen."""
        self._wait(lambda: bool(holds()), holds)

    def ask(self, text: str, *answers: str) -> None:
        """Type a line, and wait until it has led to each of the answers, once more than before, and to a prompt."""
        before = [self.text.count(answer) for answer in answers]
        self.type(f"{text}{ENTER}")
        self._wait(
            lambda: (
                self._is_asking()
                and all(self.text.count(answer) > count for answer, count in zip(answers, before, strict=True))
            ),
            answers,
        )

    def at_prompt(self) -> None:
        """Wait for an empty prompt."""
        self._wait(self._is_asking, ["a prompt"])

    def _is_asking(self) -> bool:
        return self._screen.display[self._screen.cursor.y].rstrip() == ">"

    def end(self) -> int:
        """Wait for the end of the command, and give its status."""
        end = time.monotonic() + PATIENCE
        while self._process.poll() is None:
            assert time.monotonic() < end, self._failed("did not end")
            self._read()
        while select.select([self._parent], [], [], 0)[0]:
            self._read()
        return self._process.returncode

    @property
    def text(self) -> str:
        """All lines of the screen, and those that have left it at the top."""
        left = ["".join(line[place].data for place in range(self._screen.columns)) for line in self._screen.history.top]
        return "\n".join(line.rstrip() for line in ["", *left, *self._screen.display])

    def _wait(self, holds: Callable[[], bool], wanted: object) -> None:
        end = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < end, self._failed(f"did not show {wanted!r}")
            assert self._read() or holds(), self._failed(f"ended without {wanted!r}")

    def _read(self) -> bool:
        """Take what has come, or wait for a moment; False when there will be no more."""
        if select.select([self._parent], [], [], 0.1)[0]:
            data = os.read(self._parent, 65_536)
            self.sent += data
            self._stream.feed(data)
            return True
        return self._process.poll() is None

    def _failed(self, what: str) -> str:
        return f"the terminal {what}; it shows:\n{self.text.strip()}"


def _take_terminal() -> None:
    """Ctrl-C goes to whoever has the terminal; a test run in the background ignores it, and so would its children."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def serving(
    *replies: ServerReply | Callable[[Request], ServerReply], then: ServerReply | None = None
) -> Iterator[tuple[Emulator, dict[str, str]]]:
    """An emulator in a thread of its own, and the environment of a command that is to ask it."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(Emulator(*replies, then=then)) as emulator,
    ):
        yield emulator, {"ANTHROPIC_API_KEY": "sk-none-0123456789", "ANTHROPIC_BASE_URL": emulator.url}
