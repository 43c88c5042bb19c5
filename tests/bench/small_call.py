"""Rows of a whole small call, of twenty events that come together, from the question to the end of the answer.

What the HTTP client alone takes is to post a body that is ready and to read the same bytes, without looking into them.
One call alone is too short for the clock, so a round has many.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Final

from contenders import CONTENDERS, alone, sides
from measuring import Bar, Bench, Row, Spent, Work, by_turns
from server import PLANS
from streaming import asking, opened

__all__ = ["ROWS"]

CALLS: Final = 50
"""In a round."""


def often(work: Work) -> Work:
    """The same so many times."""

    async def repeated() -> None:
        for _ in range(CALLS):
            await work()

    return repeated


async def small(bench: Bench, name: str) -> Mapping[str, Spent]:
    """One call, with whoever makes it."""
    bare = alone(name, "small")
    async with opened(bench, name, "small", {**sides(name), **bare}) as calls:
        works = {who: often(asking(call, 1 if who in bare else PLANS["small"].deltas)) for who, call in calls.items()}
        return await by_turns(works, bench.rounds, CALLS)


ROWS: Final = [
    Row(
        f"a call of 20 events: {name}",
        "ms",
        functools.partial(small, name=name),
        [Bar(1.6, "httpx2")],
        page=True,
        wall=True,
    )
    for name in CONTENDERS
]
