"""Where a key is fetched from, the key that was fetched, and something that holds a key without showing it."""

from __future__ import annotations

from abc import abstractmethod
from typing import Final

import msgspec

__all__ = ["FETCH_SECONDS", "FetchedKey", "Hidden", "KeySource", "fingerprint"]

FETCH_SECONDS: Final = 10.0
"""How long a key is waited for."""


class FetchedKey(msgspec.Struct, frozen=True):
    """What a function for a key may return in place of text, so that it is not asked for each request. It is not shown.

    ends: when the key ends, in seconds since 1970: it is used until a minute before, or for four fifths of its life if
    it lives under five minutes. None where nobody said, and then it is used for *keep* seconds.
    """

    value: str
    ends: float | None = None
    keep: float = 0.0

    def __repr__(self) -> str:
        return "FetchedKey(***)"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """What `rich` prints: as above."""
        return [("", "***")]


class KeySource(msgspec.Struct, frozen=True):
    """A function for a key that can say what it is."""

    hint = ""
    """What to do when it fails."""

    @property
    @abstractmethod
    def what(self) -> str:
        """What it is, for an error: `the command ...`."""

    @abstractmethod
    def __call__(self) -> FetchedKey:
        """The key. It may block."""


class Hidden:
    """Holds a key, or what gives one. It compares and hashes as that does, and shows nothing of it."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "Hidden(***)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hidden) and bool(self.value == other.value)

    def __hash__(self) -> int:
        try:
            return hash(self.value)
        except TypeError:  # an object of the user's own that gives keys, say; those that are equal are of one type
            return hash(type(self.value))


def fingerprint(key: str) -> str:
    """What a key may be known by where it must not be shown: the first 8 digits of its SHA-256."""
    import hashlib  # for those who look at a key

    return hashlib.sha256(key.encode()).hexdigest()[:8]
