"""What `penstock chat` keeps between sessions: each conversation in a file, and what was typed in another.

They lie in the user's data folder, beside the trust store, and only their owner can read them. A file is lines of JSON
to which is only appended. Lines end at a line feed and at nothing else; a line that is damaged costs only itself.
"""

from __future__ import annotations

import datetime as dt
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

import msgspec

from penstock.config.replacing import replace_file
from penstock.config.trust_store import store_path
from penstock.core.messages import Message, TextPart
from penstock.histories.repair import repair
from penstock.histories.serialization import dump_messages, load_messages

__all__ = ["Resumed", "Session", "Typed", "title_of"]

_MOST: Final = 1_000
"""The most prompts that are remembered."""
_LONGEST: Final = 10_000
"""Characters of a prompt above which it is not: it was pasted."""


class _Turn(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a session. at: how many messages come before those of this turn; what followed them is taken back."""

    at: int
    model: str
    system: str
    history: msgspec.Raw


class Resumed(msgspec.Struct, frozen=True, kw_only=True):
    """What a session holds. damaged: the numbers of the lines that cannot be read, from 1."""

    messages: list[Message]
    model: str | None
    system: str
    damaged: list[int]


_decode_turn = msgspec.json.Decoder(_Turn).decode
_decode_text = msgspec.json.Decoder(str).decode
_FAULTS: Final = (ValueError, RecursionError)  # msgspec's own and ConfigError are ValueErrors


class Session:
    """The file of one conversation."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def new(cls) -> Self:
        """One that has no file until something is said. Raises ConfigError when there is no data folder."""
        now = dt.datetime.now(dt.UTC)
        return cls(_folder() / f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}.jsonl")

    @classmethod
    def last(cls) -> Self | None:
        """The one in which something was said last; None if there is none."""
        found = [(path.stat().st_mtime_ns, path) for path in _folder().glob("*.jsonl")]
        return cls(max(found)[1]) if found else None

    def load(self) -> Resumed:
        """What was said in it, without what is damaged."""
        messages: list[Message] = []
        model, system, damaged = None, "", []
        for number, line in enumerate(self.path.read_bytes().split(b"\n"), 1):
            if not line:
                continue
            try:
                turn = _decode_turn(line)
                messages[turn.at :] = load_messages(bytes(turn.history))
            except _FAULTS:
                damaged.append(number)
                continue
            model, system = turn.model, turn.system
        return Resumed(messages=repair(messages).messages, model=model, system=system, damaged=damaged)

    def set_aside(self, damaged: Sequence[int]) -> Path:
        """Leave the damaged lines out of it from now on. The whole file is kept under the path that is returned."""
        data = self.path.read_bytes()
        aside = self.path.with_suffix(".damaged")
        replace_file(aside, data, mode=0o600)
        good = [line for number, line in enumerate(data.split(b"\n"), 1) if line and number not in damaged]
        replace_file(self.path, b"".join(line + b"\n" for line in good), mode=0o600)
        return aside

    def append(self, at: int, messages: Sequence[Message], *, model: str, system: str) -> None:
        """Write a turn. Raises OSError, and ConfigError for what no file can hold."""
        history = msgspec.Raw(dump_messages(messages))
        _append(self.path, msgspec.json.encode(_Turn(at=at, model=model, system=system, history=history)))


class Typed:
    """The prompts that were typed, the oldest first. path: where they are kept; None for nowhere."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    @classmethod
    def kept(cls) -> Self:
        """Those of all sessions. Raises ConfigError when there is no data folder."""
        return cls(store_path().with_name("typed.jsonl"))

    def load(self) -> list[str]:
        """All that can be read."""
        try:
            lines = self._path.read_bytes().split(b"\n") if self._path is not None else []
        except OSError:
            return []
        found = []
        for line in lines:
            try:
                found.append(_decode_text(line))
            except _FAULTS:
                continue
        if self._path is not None and len(found) > 2 * _MOST:
            data = b"".join(msgspec.json.encode(text) + b"\n" for text in found[-_MOST:])
            replace_file(self._path, data, mode=0o600)
        return found[-_MOST:]

    def add(self, text: str) -> None:
        """Remember a prompt, as well as that can be done."""
        if self._path is None or not text.strip() or len(text) > _LONGEST:
            return
        try:
            _append(self._path, msgspec.json.encode(text))
        except OSError:
            return  # a full disk costs no answer


def title_of(messages: Sequence[Message]) -> str:
    """How a conversation begins, in one short line."""
    parts = (part for message in messages if message.role == "user" for part in message.parts)
    first = next((part.text for part in parts if isinstance(part, TextPart)), "")
    line = " ".join(first.split())
    return line if len(line) <= 40 else f"{line[:40]}..."


def _folder() -> Path:
    return store_path().with_name("sessions")


def _append(path: Path, line: bytes) -> None:
    """Add a line. A broken one before it, as of a process that was killed, is ended first."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(handle, "a+b") as file:
        broken = False
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            broken = file.read(1) != b"\n"
        file.write(b"\n" * broken + line + b"\n")
