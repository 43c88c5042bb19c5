"""What was found out about texts and histories that were seen before, known by their hashes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Generic, TypeVar

__all__ = ["Recent"]

_MOST: Final = 4_096
"""The most entries, twice: the newest, and the newest before those."""

V = TypeVar("V")


class Recent(Generic[V]):
    """The newest entries, a bounded number of them. Safe for threads without a lock: each step is one of a dict's."""

    def __init__(self) -> None:
        self._young: dict[int, V] = {}
        self._old: dict[int, V] = {}

    def get(self, key: int) -> V | None:
        """The entry of a hash, None if there is none any more. One that is asked for is new again."""
        found = self._young.get(key)
        if found is None and (found := self._old.get(key)) is not None:
            self.put(key, found)
        return found

    def nearest(self, keys: Sequence[int]) -> tuple[int, V | None]:
        """The entry of the longest beginning, with its length; 0 and None if there is none.

        keys: a hash of each beginning, the shortest first.
        """
        young, old = self._young, self._old
        for number in range(len(keys), 0, -1):
            key = keys[number - 1]
            if (key in young or key in old) and (found := self.get(key)) is not None:
                return number, found
        return 0, None

    def put(self, key: int, value: V) -> None:
        """Remember it, and forget the oldest ones."""
        if len(self._young) >= _MOST:
            self._old, self._young = self._young, {}
        self._young[key] = value
