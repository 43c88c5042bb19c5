"""Sums over a ledger's rows: its database adds up, so that a million rows take about a second."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from functools import reduce
from typing import Any, Final

import msgspec

from penstock.core.chunks import EXACT, UsageChunk
from penstock.meter.entries import COUNTS, TIMES, Total, column, joined, shown, usage_of, written
from penstock.meter.place import Database

__all__ = ["BILLS", "SUMS", "Chosen", "added", "format_count", "summed", "totals"]

_MONEY: Final = ("sum(cost_nano)", "sum(cost_atto)", "group_concat(cost_more, ' ')")
_GUESSED: Final = ("estimated_nano", "estimated_atto", "saved_nano", "saved_atto")
SUMS: Final = ", ".join(("count(*)", *(f"sum({name})" for name in (*COUNTS, *_GUESSED)), *_MONEY))
"""The columns out of which `added` makes a Total."""
BILLS: Final = ", ".join(
    ("count(*)", *["NULL"] * (len(COUNTS) - 1), "sum(unsettled)", *["NULL"] * len(_GUESSED), *_MONEY)
)
"""The same without tokens and guesses, in about half of the time."""


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows of a ledger: those from *since* on and before *until* for which all of *where* hold."""

    since: int | None = None
    """Microseconds since 1970-01-01 UTC; None for the first row."""
    until: int | None = None
    """Microseconds since 1970-01-01 UTC; None for the last row."""
    where: Mapping[str, Sequence[str | None]] = {}
    """The values of a field, of which a row must have one; None for rows that have none."""

    def sql(self, *more: str) -> tuple[str, list[Any]]:
        """The WHERE clause with its parameters; *more* are conditions without any. Raises ConfigError as `column`."""
        parts, values = ["1 = 1"], list[Any]()
        for sign, bound in ((">=", self.since), ("<", self.until)):
            if bound is not None:
                parts.append(f"at {sign} ?")
                values.append(bound)
        for name, wanted in self.where.items():
            sql, parameters = column(name)
            text = written(name) if name in TIMES else f"CAST({sql} AS TEXT)"
            parts.append(f"({' OR '.join([f'{text} IS ?'] * len(wanted)) or '1 = 0'})")
            for value in wanted:
                values += [*parameters, value]
        return " WHERE " + " AND ".join((*parts, *more)), values


def totals(connection: Database, by: Sequence[str], chosen: Chosen) -> list[Total]:
    """The sums of the chosen calls for each group: by time where it is grouped by, and the dearest first."""
    columns = [column(name) for name in by]
    where, parameters = chosen.sql()
    groups = ", ".join(str(place + 1) for place in range(len(by)))
    rows = connection.execute(
        f"SELECT {''.join(f'{sql}, ' for sql, _ in columns)}{SUMS} FROM calls{where}{groups and ' GROUP BY '}{groups}",
        [*(each for _, needed in columns for each in needed), *parameters],
    )
    found = [added(dict(zip(by, map(shown, by, row), strict=True)), row[len(by) :]) for row in rows if row[len(by)]]
    times = [name for name in by if name in TIMES]
    return sorted(
        found, key=lambda total: ([total.by[name] or "" for name in times], total.usage.known_cost.copy_negate())
    )


def added(by: Mapping[str, str | None], sums: Sequence[Any]) -> Total:
    """The Total of a row with the columns SUMS, or BILLS."""
    calls, *counts = sums
    estimated, estimated_rest, saved, saved_rest, *money = counts[len(COUNTS) :]
    return Total(
        by=by,
        calls=calls,
        usage=usage_of(counts[: len(COUNTS)], joined(*money)),
        estimated_cost=joined(estimated, estimated_rest),
        saved=joined(saved, saved_rest),
    )


def summed(totals: Iterable[Total]) -> Total:
    """The sum of sums."""
    each = list(totals)
    return Total(
        by={},
        calls=sum(total.calls for total in each),
        usage=sum((total.usage for total in each), UsageChunk()),
        estimated_cost=reduce(EXACT.add, (total.estimated_cost for total in each), Decimal(0)),
        saved=reduce(EXACT.add, (total.saved for total in each), Decimal(0)),
    )


def format_count(number: int) -> str:
    """A number for people: all digits up to four, else three with k, M, G or T."""
    if number < 10_000:
        return f"{number:,}"
    power = 1 if number < 999_500 else 2 if number < 999_500_000 else 3 if number < 999_500_000_000 else 4
    scaled = number / 1000**power
    return f"{scaled:.{2 if scaled < 9.995 else 1 if scaled < 99.95 else 0}f}{' kMGT'[power]}"
