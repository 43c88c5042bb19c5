"""The ids of tool calls in one request: each is unique, and each result finds its call. Pure.

Vendors, gateways and local servers make ids that repeat: `call_0` in each answer, twice the same in one answer, none at
all. The APIs take no id twice, and no call without a result right after it.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["CallIds"]


class CallIds:
    """Gives each call the id that it is sent with, and each result that of its call, in order.

    The first call of an id keeps it and only later ones get another. That depends on nothing but what stands before
    them, so the bytes of one turn begin those of the next. own_id: what the API could take for an id; another one at
    each attempt.
    """

    def __init__(self, own_id: Callable[[str, int], str]) -> None:
        self._own_id = own_id
        self._taken: set[str] = set()
        self._attempts: dict[str, int] = {}  # by the id that came; there is none for an id that has not
        self._waiting: dict[str, list[tuple[str, str]]] = {}  # calls without a result: as sent, and where they stand

    def call(self, came: str, place: str) -> str:
        """The id of the next call, which came with the id *came*. place: where it stands, for `unanswered`."""
        attempt = self._attempts.get(came, 0)
        while (id_ := self._own_id(came, attempt)) in self._taken:
            attempt += 1
        self._attempts[came] = attempt + 1
        self._taken.add(id_)
        self._waiting.setdefault(came, []).append((id_, place))
        return id_

    def result(self, came: str) -> str | None:
        """The id of the first call that waits for a result under the id *came*; None if none does."""
        waiting = self._waiting.get(came)
        if waiting is None:
            return None
        id_, _ = waiting.pop(0)
        if not waiting:
            del self._waiting[came]
        return id_

    def has(self, came: str) -> bool:
        """Whether a call came with this id."""
        return came in self._attempts

    def unanswered(self) -> tuple[str, str] | None:
        """A call that has no result yet: the id it came with, and where it stands. None when all have."""
        for came, waiting in self._waiting.items():
            return came, waiting[0][1]
        return None
