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
    them, so the bytes of one turn begin those of the next.
    """

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._attempts: dict[str, int] = {}  # by the id that came; there is none for an id that has not
        self.waiting: dict[str, list[tuple[str, int]]] = {}
        """By the id that came, the calls that have no result yet: as they are sent, and their messages' numbers."""

    def call(self, came: str, place: int, own_id: Callable[[str, int], str]) -> str:
        """The id of the next call, which came with the id *came*.

        place: the number of its message. own_id: what the API could take for an id; another one at each attempt.
        """
        attempt = self._attempts.get(came, 0)
        id_ = own_id(came, attempt)
        while id_ in self._taken:
            attempt += 1
            id_ = own_id(came, attempt)
        self._attempts[came] = attempt + 1
        self._taken.add(id_)
        if came in self.waiting:
            self.waiting[came].append((id_, place))
        else:
            self.waiting[came] = [(id_, place)]
        return id_

    def result(self, came: str) -> str | None:
        """The id of the first call that waits for a result under the id *came*; None if none does."""
        waiting = self.waiting.pop(came, None)
        if waiting is None:
            return None
        if len(waiting) > 1:
            self.waiting[came] = waiting[1:]
        return waiting[0][0]

    def has(self, came: str) -> bool:
        """Whether a call came with this id."""
        return came in self._attempts
