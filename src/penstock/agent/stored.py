"""A Reply as JSON: `{"version": 2, "reply": {...}}`, with the version of stored histories, as it holds a message."""

from __future__ import annotations

from typing import Final

import msgspec

from penstock.agent.collect import Reply
from penstock.histories.serialization import Stored

__all__ = ["dump_reply", "load_reply"]

_DIGITS: Final = 1_000
"""Before or behind the point of a cost: it could not be added to another exactly if it had many more."""


class _Stored(Stored[Reply]):
    def _read(self, written: bytes | msgspec.Raw) -> Reply:
        reply = super()._read(written)
        cost = reply.usage.known_cost
        if not cost.is_finite() or len(cost.as_tuple().digits) > _DIGITS or abs(cost.adjusted()) > _DIGITS:
            raise self._fault("expected dollars", "$.reply.usage.known_cost")
        return reply


_reply: Final = _Stored("reply", "reply", Reply)


def dump_reply(reply: Reply) -> bytes:
    """The reply as JSON, without loss: costs are exact, proofs and vendors' own blocks as they are.

    Raises ConfigError with `path` for what `load_reply` would not read again.
    """
    return _reply.dump(reply)


def load_reply(data: bytes | str) -> Reply:
    """The reply that `dump_reply` was given. Raises ConfigError, which is a ValueError too, with `path`, for anything
    else, and for a version that this Penstock does not know.
    """
    return _reply.load(data)
