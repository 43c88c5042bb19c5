"""Dollars that calls may cost together, and how long a period of them lasts."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Final, Literal, TypeAlias, get_args
from zoneinfo import ZoneInfo

import msgspec

from penstock.core.chunks import EXACT
from penstock.core.errors import ConfigError
from penstock.core.validation import check_count, check_seconds, near
from penstock.meter.entries import TAG, micros, moment

__all__ = ["Budget", "BudgetStatus", "Per", "bucket_of", "cut", "end_of", "period_of", "tidy"]

Per: TypeAlias = Literal["call", "run", "hour", "day", "month", "total"]

LONGEST_TAG: Final = 200
"""Bytes of a tag's name, and of its value."""
_MOST_TAGS: Final = 16
BY: Final = ("alias", "vendor", "model")
_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "per": get_args(Per),
    "unpriced": ("refuse", "allow"),
    "missing": ("share", "refuse"),
}


class Budget:
    """At most so many US dollars a period: no call begins that these dollars could not pay at its worst.

    What counts is all that the ledger books in the period, by whatever provider and process. A call that finds the rest
    held by others waits for them, in order.

    limit: US dollars, exact as text. per: `call`; `run`, that of `with run()` or of one `run_tools`; `hour`, `day` or
        `month` of the calendar; or `total`.
    by: gives each value dollars of its own: `alias`, `vendor`, `model`, or a tag as `tags.user`. None: all share them.
    tz: the zone in which a day begins, as `Europe/Amsterdam`.
    missing: calls without the tag of *by*, or without a run, share dollars of their own, or are refused.
    max_wait: seconds to wait, at most, for dollars that others hold.
    max_output: tokens of an answer, at most, of a call that sets no `max_tokens`.
    lower: whether a call's `max_tokens` may be lowered to what is left, and then not below *least* tokens, on top of
        a budget of reasoning.
    unbounded: US dollars to hold for a call whose cost has no bound, as with tools that the vendor runs. None: it is
        refused.
    unpriced: what becomes of a call whose price is not known; allowed, it counts for nothing.

    Raises ConfigError for a limit that is not above 0, and for an unknown word.
    """

    def __init__(
        self,
        limit: Decimal | str | float,
        *,
        per: Per,
        by: str | None = None,
        tz: str = "UTC",
        missing: Literal["share", "refuse"] = "share",
        max_wait: float = 60.0,
        max_output: int = 16_384,
        lower: bool = False,
        least: int = 1_024,
        unbounded: Decimal | str | float | None = None,
        unpriced: Literal["refuse", "allow"] = "refuse",
    ) -> None:
        self.limit = _dollars("limit", limit)
        self.per, self.by, self.tz = per, by, tz
        self.missing, self.unpriced = missing, unpriced
        self.max_wait = check_seconds("max_wait", max_wait)
        self.max_output = check_count("max_output", max_output)
        self.lower = lower
        self.least = check_count("least", least)
        self.unbounded = None if unbounded is None else _dollars("unbounded", unbounded)
        for name, known in _WORDS.items():
            if (word := getattr(self, name)) not in known:
                raise ConfigError(f"`{name}` is {word!r}, expected {', '.join(known)}{near(word, known)}")
        tag = len(str(by).encode("utf-8", "replace")) - len(TAG) if str(by).startswith(TAG) else 0
        if by is not None and by not in BY and not 0 < tag <= LONGEST_TAG:
            likely = near(by, (*BY, f"{TAG}{by}"))
            raise ConfigError(f"`by` is {by!r}, expected {', '.join(BY)}, or a tag as tags.user{likely}")
        zone(tz)

    @property
    def family(self) -> str:
        """What budgets must have in common to count the same dollars, whatever their limits."""
        return msgspec.json.encode([self.per, self.by, self.tz]).decode()

    def __repr__(self) -> str:
        by = "" if self.by is None else f", by={self.by!r}"
        return f"Budget('{self.limit}', per={self.per!r}{by})"


class BudgetStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Where a budget stands. Dollars are US dollars."""

    limit: Decimal
    """The most that may be spent in this period."""
    spent: Decimal
    """What is booked in this period, estimates of unknown bills included."""
    held: Decimal
    """What running calls hold, their worst cases."""
    until: dt.datetime | None
    """When the period ends, in the budget's time zone; None for one without an end."""

    @property
    def left(self) -> Decimal:
        """What is neither spent nor held; below 0 where more was billed than it allows."""
        return EXACT.subtract(EXACT.subtract(self.limit, self.spent), self.held)


def _dollars(name: str, value: object) -> Decimal:
    try:
        dollars = value if isinstance(value, Decimal) else Decimal(str(value))
    except InvalidOperation:
        raise ConfigError(f"`{name}` is {value!r}, expected a number of dollars") from None
    if isinstance(value, bool) or not dollars.is_finite() or not 0 < dollars < 10**12:
        raise ConfigError(f"`{name}` is {value!r}, expected dollars above 0")
    return dollars


def zone(name: str) -> dt.tzinfo:
    """A time zone by its name, or ConfigError."""
    try:
        return dt.UTC if name == "UTC" else ZoneInfo(name)
    except (LookupError, OSError, ValueError, TypeError, AttributeError):  # not found, no name, no text
        raise ConfigError(f"`tz` is {name!r}, expected a time zone such as Europe/Amsterdam") from None


def period_of(per: str, tz: str, at: int) -> tuple[int, int | None]:
    """The beginning and the end of the period in which *at* lies, in microseconds since 1970; 0 and None for always.

    An hour that the clocks repeat is two; a day has 23 to 25 hours.
    """
    if per not in ("hour", "day", "month"):
        return 0, None
    local = moment(at).astimezone(zone(tz)).replace(minute=0, second=0, microsecond=0)
    if per == "hour":
        begin = micros(local)
        return begin, begin + 3_600_000_000
    day = local.replace(hour=0, fold=0)
    if per == "day":
        after = day + dt.timedelta(days=1)
    else:
        day = day.replace(day=1)
        after = (day + dt.timedelta(days=31)).replace(day=1)
    return micros(day), micros(after)


def end_of(budget: Budget, at: int) -> dt.datetime | None:
    """When the period ends in which *at* lies (microseconds since 1970), in the budget's zone; None for always."""
    _, end = period_of(budget.per, budget.tz, at)
    return None if end is None else moment(end).astimezone(zone(budget.tz))


def bucket_of(per: str, by: str | None, facts: Mapping[str, object]) -> str | None:
    """Whose dollars a call spends: the value of *by*, for `run` the run before it; None where it is missing.

    facts: a call's alias, vendor, model, run, and its tags.
    """
    parts = [facts["run"]] if per == "run" else []
    if by is not None and by.startswith(TAG):
        tags = facts["tags"]
        parts.append(tags.get(by.removeprefix(TAG)) if isinstance(tags, Mapping) else None)
    elif by is not None:
        parts.append(facts[by])
    if None in parts:
        return None
    return "\n".join(map(str, parts))


def tidy(tags: Mapping[str, str], wanted: Sequence[Budget] = ()) -> dict[str, str]:
    """At most 16 tags of 200 bytes each: a longer one is cut, and a hash keeps it apart from others.

    wanted: budgets whose tags are among them in any case.
    """
    first = {each.by for each in wanted}
    names = sorted(tags, key=lambda name: (f"{TAG}{name}" not in first, name))[:_MOST_TAGS]
    return {cut(name): cut(tags[name]) for name in sorted(names)}


def cut(value: str, most: int = LONGEST_TAG) -> str:
    """What a database takes, at most so many bytes of UTF-8: a hash keeps a longer text apart from others."""
    data = value.replace("\0", "").encode("utf-8", "replace")
    if len(data) <= most:
        return data.decode()
    from hashlib import sha256  # for the few

    return f"{data[: most - 20].decode('utf-8', 'ignore')}…{sha256(data).hexdigest()[:16]}"
