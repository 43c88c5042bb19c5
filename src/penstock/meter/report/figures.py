"""What the page shows, as numbers: few queries, and never more rows than a person reads."""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from itertools import accumulate
from typing import Final

import msgspec

from penstock.core.chunks import EXACT, UsageChunk
from penstock.meter.entries import ENTRY_COLUMNS, Entry, Total, entry_of, moment
from penstock.meter.place import Database
from penstock.meter.sums import BILLS, Chosen, added, summed, totals

__all__ = ["OTHERS", "Figures", "Speed", "Tagged", "figures"]

OTHERS: Final = "others"
"""The name of the sum of those for which there is no room."""
_MODELS: Final = 8
_VALUES: Final = 10
_KEYS: Final = 4
_ERRORS: Final = 10
_DEAREST: Final = 20
_STEPS: Final[tuple[tuple[int, Callable[[dt.date], dt.date], str], ...]] = (
    (62, lambda day: day, "day"),
    (434, lambda day: day - dt.timedelta(day.weekday()), "week"),
    (10**9, lambda day: day.replace(day=1), "month"),
)
"""Up to how many days one column stands for what, by its first day."""


class Speed(msgspec.Struct, frozen=True, kw_only=True):
    """How long a model's finished calls took, in seconds; None where none says."""

    model: str
    calls: int
    first_chunk: tuple[float, float] | None
    """The median and the 95th percentile."""
    seconds: tuple[float, float] | None
    """The same, to the end."""


class Tagged(msgspec.Struct, frozen=True, kw_only=True):
    """What calls with a tag have cost, without tokens."""

    name: str
    values: list[tuple[str, Total]]
    """The dearest values of the tag, each with its sum."""
    rest: list[tuple[str, Total]]
    """The sum of the other values, and of the calls that have no such tag; only what there is."""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Everything on the page."""

    total: Total
    step: str
    """What a column of the charts over time stands for: day, week or month."""
    starts: list[dt.date]
    """The first day of each such column, without a gap."""
    models: list[tuple[str, list[Total], Total]]
    """Each model's name, its sums over time (one for each of `starts`), and all of it. The dearest first."""
    tags: list[Tagged]
    states: dict[str, int]
    """How many attempts ended how."""
    errors: list[tuple[str, Total]]
    speeds: list[Speed]
    dearest: list[Entry]


def figures(connection: Database, chosen: Chosen) -> Figures:
    """The sums of the chosen calls."""
    # One way through all rows takes longer than all that is done with its sums.
    cube = totals(connection, ("day", "model", "state", "error"), chosen)
    total = summed(cube)
    step, starts, models = _over_time(cube, chosen.since)
    states = Counter[str]()
    for each in cube:
        states[each.by["state"] or ""] += each.calls
    errors = _grouped((each.by["error"], each) for each in cube)
    errors.pop(None, None)
    return Figures(
        total=total,
        step=step,
        starts=starts,
        models=models,
        tags=_tagged(connection, chosen, total),
        states=dict(states.most_common()),
        errors=_best(errors, _ERRORS, lambda each: Decimal(each.calls)),
        speeds=_speeds(connection, chosen, [name for name, _, _ in models]),
        dearest=_dearest(connection, chosen),
    )


def _grouped(pairs: Iterable[tuple[str | None, Total]]) -> dict[str | None, Total]:
    groups = defaultdict(list)
    for name, total in pairs:
        groups[name].append(total)
    return {name: summed(each) for name, each in groups.items()}


def _cost(total: Total) -> Decimal:
    return total.usage.known_cost


def _best(groups: dict[str | None, Total], most: int, rank: Callable[[Total], Decimal]) -> list[tuple[str, Total]]:
    """The groups that rank highest, and the sum of the others if there are any."""
    ranked = sorted(((name or "", total) for name, total in groups.items()), key=lambda each: -rank(each[1]))
    rest = [total for _, total in ranked[most:]]
    return [*ranked[:most], *([(f"{len(rest)} {OTHERS}", summed(rest))] if rest else [])]


def _over_time(
    cube: Sequence[Total], since: int | None
) -> tuple[str, list[dt.date], list[tuple[str, list[Total], Total]]]:
    """The step, the first days of the columns, and each model's row."""
    days = [dt.date.fromisoformat(total.by["day"] or "") for total in cube]
    if not days:
        return "day", [], []
    # A single column would fill the chart: at least a week, as far as it was asked for.
    asked = dt.date.min if since is None else moment(max(0, since)).date()
    first = min(days[0], max(asked, days[-1] - dt.timedelta(6)))
    span = (days[-1] - first).days + 1
    start_of, step = next((start_of, step) for most, start_of, step in _STEPS if span <= most)
    starts = list(dict.fromkeys(start_of(first + dt.timedelta(each)) for each in range(span)))
    named = _best(_grouped((total.by["model"], total) for total in cube), _MODELS, _cost)
    places = {name: place for place, (name, _) in enumerate(named[:_MODELS])}
    rows: list[dict[dt.date, list[Total]]] = [defaultdict(list) for _ in named]
    for day, total in zip(days, cube, strict=True):
        rows[places.get(total.by["model"] or "", -1)][start_of(day)].append(total)
    filled = [[summed(row[start]) for start in starts] for row in rows]
    return step, starts, [(name, row, whole) for (name, whole), row in zip(named, filled, strict=True)]


def _tagged(connection: Database, chosen: Chosen, total: Total) -> list[Tagged]:
    where, parameters = chosen.sql()
    query = f"SELECT key, value, {BILLS} FROM calls, json_each(tags){where} GROUP BY 1, 2"
    tags: dict[str, dict[str | None, Total]] = defaultdict(dict)
    for key, value, *sums in connection.execute(query, parameters):
        tags[key][value] = added({}, sums)
    whole = {key: summed(values.values()) for key, values in tags.items()}
    found = []
    # What most calls have says most, and a user more than a session.
    for key in sorted(tags, key=lambda key: (-whole[key].calls, len(tags[key])))[:_KEYS]:
        values = _best(tags[key], _VALUES, _cost)
        without = [(f"without {key}", _less(total, whole[key]))] if whole[key].calls < total.calls else []
        found.append(Tagged(name=key, values=values[:_VALUES], rest=values[_VALUES:] + without))
    return found


def _less(total: Total, part: Total) -> Total:
    """The known cost of what is not in *part*."""
    known = EXACT.subtract(total.usage.known_cost, part.usage.known_cost)
    rest = UsageChunk(known_cost=known, unsettled=total.usage.unsettled - part.usage.unsettled)
    return Total(by={}, calls=total.calls - part.calls, usage=rest, estimated_cost=Decimal(0), saved=Decimal(0))


def _speeds(connection: Database, chosen: Chosen, models: Sequence[str]) -> list[Speed]:
    """Of the models that are shown by name, where there is something to say."""
    where, parameters = chosen.sql("state = 'done'")
    counted: dict[str, dict[str, list[tuple[float, int]]]] = {}
    for column in ("first_chunk", "seconds"):
        found = counted[column] = defaultdict(list)
        # In hundredths SQLite can count them: no list of a million numbers.
        query = (
            f"SELECT model, CAST(round({column} * 100) AS INTEGER), count(*) FROM calls{where}"
            f" AND {column} IS NOT NULL GROUP BY 1, 2"
        )
        for model, hundredths, calls in connection.execute(query, parameters):
            found[model].append((hundredths / 100, calls))
    return [
        Speed(
            model=model,
            calls=sum(calls for _, calls in counted["seconds"][model]),
            first_chunk=_percentiles(counted["first_chunk"][model]),
            seconds=_percentiles(counted["seconds"][model]),
        )
        for model in models
        if counted["seconds"][model]
    ]


def _percentiles(counted: Sequence[tuple[float, int]]) -> tuple[float, float] | None:
    """The median and the 95th percentile of values in order, each with how often it comes: nearest ranks."""
    if not counted:
        return None
    seen = list(accumulate(calls for _, calls in counted))
    median, slow = (counted[bisect_left(seen, -(-seen[-1] * percent // 100))][0] for percent in (50, 95))
    return median, slow


def _dearest(connection: Database, chosen: Chosen) -> list[Entry]:
    where, parameters = chosen.sql()
    order = f"ORDER BY cost_nano DESC, cost_atto DESC, id LIMIT {_DEAREST}"
    return list(map(entry_of, connection.execute(f"SELECT {ENTRY_COLUMNS} FROM calls{where} {order}", parameters)))
