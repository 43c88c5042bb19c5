"""What is typed while an answer comes: the prompts that come next.

They are read as they come, as only then it can be told what was typed line by line, and what was pasted and is one.
"""

from __future__ import annotations

import codecs
import select
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from penstock.cli.composer import GAP, MORE, PROMPT, SEQUENCE, Composer, arrived, lines_of
from penstock.cli.terminal import printable

__all__ = ["TypedAhead"]


class TypedAhead:
    """The prompts that wait, and a line that is not ended yet."""

    def __init__(self, composer: Composer) -> None:
        self._composer = composer
        self._waiting: deque[str | None] = deque()  # None is Ctrl-D
        self._begun = ""

    async def read(self) -> str | None:
        """The next prompt: one that waits, else what is typed now. As `Composer.read`."""
        if not self._waiting:
            begun, self._begun = self._begun, ""
            return await self._composer.read(begun)
        text = self._waiting.popleft()
        if text is None:
            return None
        print(PROMPT + printable(text).replace("\n", f"\n{MORE}"), file=sys.stderr)
        self._composer.remember(text)
        return text

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Within it, keys are read as they come. On Windows they wait for the next prompt."""
        if sys.platform == "win32":
            yield
            return
        over = threading.Event()
        thread = threading.Thread(target=self._listen, args=(sys.stdin.fileno(), over))
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def forget(self) -> bool:
        """Drop what waits; whether there was any."""
        found = bool(self._waiting or self._begun)
        self._waiting.clear()
        self._begun = ""
        return found

    def _listen(self, handle: int, over: threading.Event) -> None:
        decoder = codecs.getincrementaldecoder(sys.stdin.encoding)("surrogateescape")
        while not over.is_set():
            if not select.select([handle], [], [], GAP)[0]:
                continue
            try:
                data = arrived(handle)
            except OSError:
                data = b""
            if not data:  # the terminal is gone
                return
            if b"\x03" in data:  # Ctrl-C in the moment in which it is a key and no signal
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            self._take(SEQUENCE.sub("", lines_of(decoder.decode(data))))

    def _take(self, new: str) -> None:
        """Add what came at once."""
        text = self._begun
        if new.startswith("\x04") and not text:
            self._waiting.append(None)
        for character in new:
            if character in "\x7f\b":
                text = text[:-1]
            elif character == "\x15":
                text = text[: text.rfind("\n") + 1]
            elif character >= " " or character in "\n\t":
                text += character
        if text.endswith("\n"):
            self._waiting.append(text.rstrip("\n"))
            text = ""
        self._begun = text
