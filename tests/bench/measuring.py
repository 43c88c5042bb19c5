"""What the rows of the bench are made of: work that is done by turns, its medians and quartiles, and their printing.

A number means little without the one beside it, so all sides of a row are measured in the same run, by turns. CPU is
that of this process alone, kernel included; the server is another one. Of each side the table tells the median of the
rounds, and in brackets their first and third quartile.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

__all__ = [
    "FAST",
    "OURS",
    "SDK",
    "WITHOUT",
    "Bar",
    "Bench",
    "NotMeasuredError",
    "Row",
    "Spent",
    "Spread",
    "Taken",
    "by_turns",
    "figure",
    "plainly",
]

OURS: Final = "Penstock"
FAST: Final = "Penstock on aiohttp"
SDK: Final = "the SDK"
"""The one underneath Penstock, as its users have it."""
WITHOUT: Final = "without it"
"""What a layer is compared with."""

_SCALES: Final = {"µs": 1e6, "ms": 1e3, "s": 1.0, "MB": 1.0}

_ENOUGH: Final = 0.25
"""Seconds for each round that is asked for, of all sides together: the whole bench takes less than five minutes."""
_LEAST: Final = 3
"""Rounds in any case."""


class NotMeasuredError(Exception):
    """A row measures something else than it says."""


class Taken(NamedTuple):
    """What one round took, in seconds. Where a row's unit is MB, cpu is that."""

    cpu: float
    wall: float


class Spread(NamedTuple):
    """The first quartile, the median and the third quartile of the rounds."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, rounds: Sequence[float]) -> Spread:
        """A single round is all three of them."""
        if len(rounds) == 1:
            return cls(rounds[0], rounds[0], rounds[0])
        return cls(*statistics.quantiles(rounds, n=4, method="inclusive"))

    def shown(self, unit: str) -> str:
        """In a unit, with three digits at least."""
        low, median, high = (figure(number, unit) for number in self)
        return f"{median:>9} {unit} [{low}, {high}]"


class Spent(NamedTuple):
    """What one side took for each event, call or whatever its row counts. wall: None where that says nothing."""

    cpu: Spread
    wall: Spread | None = None

    @classmethod
    def of(cls, rounds: Sequence[Taken], per: float = 1) -> Spent:
        """per: events, or what is counted, in a round."""
        cpu, wall = zip(*rounds, strict=True)
        return cls(*(Spread.of([seconds / per for seconds in column]) for column in (cpu, wall)))


Work: TypeAlias = Callable[[], Awaitable[Taken | None]]
"""One round of one side; it says itself what it took, or None if all of it counts."""


class Bench(NamedTuple):
    """What a row gets. connections: how many the server has accepted so far."""

    url: str
    rounds: int
    connections: Callable[[], int]


class Bar(NamedTuple):
    """The most that a side may take. than: the side it is compared with; None for an amount in the row's unit.

    more: the bar is what it may take more than that, in the row's unit, and not a ratio.
    """

    most: float
    than: str | None = None
    who: str = OURS
    more: bool = False

    def measured(self, sides: Mapping[str, Spent], unit: str) -> float:
        """What is held against it, of the medians."""
        own = sides[self.who].cpu.median * _SCALES[unit]
        if self.than is None:
            return own
        other = sides[self.than].cpu.median * _SCALES[unit]
        return own - other if self.more else own / other

    def target(self, unit: str) -> str:
        """As the table has it."""
        return f"{self.most:g} {unit}" if self.than is None or self.more else f"{self.most:g}"

    def found(self, sides: Mapping[str, Spent], unit: str) -> str:
        """What was measured, as the table has it."""
        number = self.measured(sides, unit)
        if self.than is None or self.more:
            sign = "+" if self.more and number >= 0 else ""
            return f"{sign}{plain(number)} {unit}"
        return f"{number:.2f}" if self.most >= 0.1 else f"{number:.3f}"


class Row(NamedTuple):
    """One line of the table. what: unlike that of any other. measure: asked once, gives what each side took.

    A row without a bar is told for comparison. page: whether the guide has it. wall: whether it tells wall time there.
    """

    what: str
    unit: str
    measure: Callable[[Bench], Awaitable[Mapping[str, Spent]]]
    bars: Sequence[Bar] = ()
    page: bool = False
    wall: bool = False

    def printed(self, sides: Mapping[str, Spent]) -> str:
        """For a terminal: each side in a line, then the bars."""
        lines = [self.what]
        for who, (cpu, wall) in sides.items():
            told = f"  wall {wall.shown(self.unit)}" if wall is not None else ""
            lines.append(f"    {who:<28}{cpu.shown(self.unit):<36}{told}".rstrip())
        for bar in self.bars:
            met = "ok" if bar.measured(sides, self.unit) <= bar.most else "MISSED"
            than = f" {'over' if bar.more else 'of'} {bar.than}" if bar.than is not None else ""
            lines.append(f"    {bar.who}: {bar.found(sides, self.unit)}{than}, at most {bar.target(self.unit)}: {met}")
        return "\n".join(lines)


def figure(number: float, unit: str) -> str:
    """A number of seconds, or of MB, in the unit."""
    return plain(number * _SCALES[unit])


def plain(number: float) -> str:
    """With two digits after the point, or fewer where there are many before it."""
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.1f}" if abs(number) >= 10 else f"{number:.2f}"


async def by_turns(works: Mapping[str, Work], rounds: int, per: float = 1) -> dict[str, Spent]:
    """What each side takes. One round before them does not count: it imports, opens connections, fills caches.

    Fewer rounds than are asked for, but three, where they take long.
    """
    taken: dict[str, list[Taken]] = {who: [] for who in works}
    began = time.perf_counter()
    for number in range(rounds + 1):
        for who, work in works.items():
            gc.collect()
            wall, cpu = time.perf_counter(), time.process_time()
            own = await work()
            whole = Taken(time.process_time() - cpu, time.perf_counter() - wall)
            if number:
                taken[who].append(own or whole)
        if number >= _LEAST and time.perf_counter() - began > _ENOUGH * rounds:
            break
    return {who: Spent.of(each, per) for who, each in taken.items()}


def plainly(work: Callable[[], Taken | None]) -> Work:
    """Work that needs no event loop, for `by_turns`."""

    async def called() -> Taken | None:
        return work()

    return called
