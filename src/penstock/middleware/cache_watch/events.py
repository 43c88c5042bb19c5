"""What CacheWatch tells: why a call read less from the cache than it could have."""

from __future__ import annotations

from decimal import Decimal
from typing import Final, Literal, TypeAlias

import msgspec

from penstock.core.cost import format_dollars
from penstock.middleware.cache_watch.blocks import Block, BlockKind, Chain
from penstock.middleware.events import Event

__all__ = ["BlockChange", "CacheMiss", "MissCause", "find_change"]

MissCause: TypeAlias = Literal["model", "off", "changed", "expired", "minimum", "evicted"]

_BEFORE: Final = 20
_AFTER: Final = 60
"""Characters that are shown in front of the first difference, and from it on."""


class BlockChange(msgspec.Struct, frozen=True, kw_only=True):
    """The first block that differs from the call before."""

    kind: BlockKind
    """`tool`, `system`, `options` (those that caches depend on: tool choice, reasoning and their like) or `message`."""
    what: Literal["changed", "added", "removed", "moved"]
    """`changed`, `added`, `removed` or `moved`. With `added` and `removed`, the blocks after it are the same."""
    place: str
    """Where it is, or was: `tools[2] (get_weather)`, `system`, `options`, `messages[7].content[0]`."""
    before: str = ""
    """Some text around the first difference, as it was. Empty like `after` when the difference is beyond the part that
    is kept: 20,000 characters of a tool or a system prompt, 300 of a part of a message.
    """
    after: str = ""
    """The same text as it is now."""

    def __str__(self) -> str:
        if not self.before and not self.after:
            return f"{self.place} was {self.what}, beyond the part of its text that is kept"
        if self.what == "changed":
            return f"{self.place} was changed from {self.before!r} to {self.after!r}"
        return f"{self.place} was {self.what}: {self.after or self.before!r}"


class CacheMiss(Event, frozen=True, kw_only=True, tag="cache_miss"):
    """A call read less from the vendor's cache than it could have."""

    causes: tuple[MissCause, ...]
    """Why, all that can be seen, in this order: `model` (another one was asked or has answered), `off` (caching is off
    in this call), `changed` (see `change`), `expired` (the lifetime ran out), `minimum` (the prompt is too short to be
    cached), `evicted` (none of these: the vendor evicted the entry, or another of its servers answered).
    """
    expected_tokens: int
    """How many tokens could be read."""
    read_tokens: int
    """How many were."""
    missed_tokens: int
    """The difference, which was billed as input or as a write."""
    cost: Decimal | None
    """What the missed tokens cost more than reading them, in US dollars at standard prices, exact; None when a price is
    not known.
    """
    seconds: float
    """How long ago the entry was last written or read."""
    lifetime: float | None
    """How long the cache keeps an entry, in seconds; None where the vendor does not say, and then `expired` is only
    probable.
    """
    change: BlockChange | None = None
    """The first block that differs; None if none does."""
    estimated: bool = False
    """Whether `expected_tokens` is a guess: after a change it is the share of text that is still there, and where a
    vendor reports no writes it is the prompt of the call before.
    """

    def __str__(self) -> str:
        why = {
            "model": "another model answers",
            "off": "caching is off in this call",
            "changed": str(self.change),
            "expired": f"{self.seconds:.0f} s have passed and the cache lives "
            + (f"{self.lifetime:.0f} s" if self.lifetime is not None else "probably not so long"),
            "minimum": f"the prompt is shorter than what {self.model or 'the model'} caches",
            "evicted": "nothing that can be seen from here: the vendor evicted it, or another server answered",
        }
        about = "about " if self.estimated else ""
        cost = "the extra cost is unknown" if self.cost is None else f"for {format_dollars(self.cost)} more"
        reasons = "; ".join(why[cause] for cause in self.causes)
        return (
            f"{about}{self.missed_tokens} of {self.expected_tokens} tokens were not read from the cache, "
            f"{cost}: {reasons}"
        )


def find_change(old: Chain, before: Block, new: Chain, after: Block, shared: int) -> BlockChange:
    """What differs first, when both begin with *shared* blocks and go on with *before* and *after*."""
    stays = old.hashes[shared] in new.hashes[shared:]
    was_there = new.hashes[shared] in old.hashes[shared:]
    if stays and was_there:
        return _change("moved", new, shared, "", _start(after))
    if stays:
        return _change("added", new, shared, "", _start(after))
    if was_there or (old.kind(shared) != new.kind(shared) and old.kind(shared) == "tool"):
        return _change("removed", old, shared, _start(before), "")
    return _change("changed", new, shared, *_around(before.text, after.text))


def _change(
    what: Literal["changed", "added", "removed", "moved"], chain: Chain, number: int, before: str, after: str
) -> BlockChange:
    return BlockChange(kind=chain.kind(number), what=what, place=chain.place(number), before=before, after=after)


def _start(block: Block) -> str:
    return _cut(block.text, 0, _AFTER)


def _around(before: str, after: str) -> tuple[str, str]:
    """A piece of each, from a little before the first difference on; nothing if there is none."""
    if before == after:
        return "", ""
    same = next(
        (number for number, (one, other) in enumerate(zip(before, after, strict=False)) if one != other),
        min(len(before), len(after)),
    )
    start = max(0, same - _BEFORE)
    return _cut(before, start, same + _AFTER), _cut(after, start, same + _AFTER)


def _cut(text: str, start: int, end: int) -> str:
    return ("…" if start else "") + text[start:end] + ("…" if end < len(text) else "")
