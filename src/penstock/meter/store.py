"""What is done to the tables of a ledger, each within a transaction of the thread that writes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, TypeAlias

import msgspec

from penstock.core.bounds import Worst
from penstock.core.chunks import EXACT, UsageChunk
from penstock.core.errors import BudgetExceededError
from penstock.meter.budget import LONGEST_TAG, Budget, BudgetStatus, bucket_of, end_of, period_of
from penstock.meter.entries import COUNTS, TAG, State, column, counts_of, joined, split

__all__ = ["Call", "Outcome", "Store"]

_LEASE: Final = 60 * 1_000_000
"""Microseconds after which a process that says nothing is dead."""
_MOST_TAGS: Final = 16
_NONE: Final = Decimal(0)
# DISTINCT would read each hour that ever was.
_FAMILIES: Final = (
    "WITH each (family) AS (SELECT min(family) FROM periods UNION ALL SELECT (SELECT min(family) FROM periods "
    "WHERE family > each.family) FROM each WHERE family IS NOT NULL) SELECT family FROM each WHERE family IS NOT NULL"
)


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How an attempt ended. Dollars are US dollars, and times seconds."""

    state: State
    usage: UsageChunk
    estimated: Decimal | None
    saved: Decimal | None = None
    answered: str | None = None
    reason: str | None = None
    error: str | None = None
    request_id: str | None = None
    first_chunk: float | None = None
    seconds: float | None = None


class Call(msgspec.Struct, kw_only=True, eq=False):
    """An attempt that wants to begin: what is written of it, what it must be able to pay, and where it stands."""

    call: str
    attempt: int
    run: str | None
    alias: str | None
    vendor: str
    model: str
    tags: Mapping[str, str]
    """As `tidy` leaves them."""
    estimated: Decimal | None = None
    """Dollars that are booked if nobody hears of it again; with budgets, its worst case."""
    budgets: Sequence[Budget] = ()
    worst: Worst = Worst(prompt_tokens=0, fixed=_NONE, per_output_token=_NONE, reserve_tokens=0, most_output=None)
    """What it may cost, its prices known."""
    max_tokens: int = 0
    """What is sent; a budget may lower it. Without budgets it is not looked at."""
    least: int = 0
    """Tokens below which `max_tokens` is not lowered."""
    at: int | None = None
    """When it was opened, in microseconds since 1970."""
    row: int | None = None
    """Its row, once it is there."""
    ticket: int | None = None
    """Its place among those who wait, or waited."""

    def __post_init__(self) -> None:
        # What a row has and what its budgets count by must be the same.
        self.run, self.alias = text(self.run), text(self.alias)
        self.vendor, self.model = text(self.vendor) or "", text(self.model) or ""

    @property
    def needed(self) -> Decimal:
        """US dollars that it may cost at worst."""
        return self.worst.cost(self.max_tokens) or _NONE

    @property
    def facts(self) -> dict[str, Any]:
        """What a budget's bucket is made of."""
        return {name: getattr(self, name) for name in ("alias", "vendor", "model", "run", "tags")}


def text(value: str | None) -> str | None:
    """What SQLite takes: text without halves of characters."""
    return None if value is None else value.encode("utf-8", "replace").decode().replace("\0", "")


def tidy(tags: Mapping[str, str], wanted: Sequence[Budget] = ()) -> dict[str, str]:
    """At most 16 tags of 200 bytes each: a longer one is cut, and a hash keeps it apart from others.

    wanted: budgets whose tags are among them in any case.
    """
    first = {each.by for each in wanted}
    names = sorted(tags, key=lambda name: (f"{TAG}{name}" not in first, name))[:_MOST_TAGS]
    return {_cut(name): _cut(tags[name]) for name in sorted(names)}


def _cut(value: str) -> str:
    data = value.replace("\0", "").encode("utf-8", "replace")
    if len(data) <= LONGEST_TAG:
        return data.decode()
    from hashlib import sha256  # for the few

    return f"{data[: LONGEST_TAG - 20].decode('utf-8', 'ignore')}…{sha256(data).hexdigest()[:16]}"


def _guess(dollars: Decimal | None) -> tuple[int, int] | tuple[None, None]:
    """What need not be exact beyond 10^-18 dollars."""
    return (None, None) if dollars is None else split(dollars)[:2]


def _values(outcome: Outcome) -> list[Any]:
    """What `settle` writes. Raises whatever a value that is none of its type leads to."""
    return [
        *counts_of(outcome.usage), *split(outcome.usage.known_cost), *_guess(outcome.estimated), *_guess(outcome.saved),
        outcome.state,
        text(outcome.answered), text(outcome.reason), outcome.error, text(outcome.request_id), outcome.first_chunk,
        outcome.seconds,
    ]  # fmt: skip


class _Booked(msgspec.Struct, frozen=True):
    """Of a budget, in US dollars. left: what is not spent, held or not."""

    left: Decimal
    spent: Decimal
    held: Decimal


_Place: TypeAlias = tuple[Budget, tuple[str, int, str]]
"""A budget, and which sum it is of: family, period and bucket."""


class Store:
    """The tables, for one process. owner: its name. now: microseconds since 1970."""

    def __init__(self, connection: sqlite3.Connection, owner: str, now: Callable[[], int]) -> None:
        self._do = connection.execute
        self._owner = owner
        self._now = now
        self.has_space = False
        """Rows were deleted, whose pages can be given back to the file system."""

    def renew(self) -> None:
        """Say that this process lives, and book what dead ones have left."""
        self._do("INSERT OR REPLACE INTO owners VALUES (?, ?)", (self._owner, self._now() + _LEASE))
        self.recover()

    def leave(self) -> None:
        """Say that this process is gone."""
        for table in ("owners", "waiting"):
            self._do(f"DELETE FROM {table} WHERE owner = ?", (self._owner,))

    def recover(self) -> int:
        """Book the open calls of dead processes at their estimates; how many there were."""
        now = self._now()
        self._do("UPDATE owners SET until = ? WHERE until > ?", (now + _LEASE, now + _LEASE))  # the clock was put back
        self._do("DELETE FROM owners WHERE until < ? AND owner <> ?", (now, self._owner))
        gone = "owner NOT IN (SELECT owner FROM owners)"
        rows = self._do(f"SELECT id FROM calls WHERE state = 'open' AND {gone}").fetchall()
        for (row,) in rows:
            self._do("UPDATE calls SET state = 'lost' WHERE id = ?", (row,))
            self._book(row, 1)
            self._do("DELETE FROM holds WHERE call = ?", (row,))
        self._do(f"DELETE FROM waiting WHERE {gone}")
        return len(rows)

    def open(self, call: Call, *, last: bool) -> bool:
        """Write the row of a call, if its budgets allow it; False if it has to wait. Raises BudgetExceededError.

        last: it has waited for long enough, and is refused as well if it would have to wait.
        """
        if last and call.ticket is not None:
            self.recover()  # what is in the way may be a dead process's
        call.at = at = self._now() if call.budgets or call.at is None else call.at
        places = []
        for budget in call.budgets:
            if budget.per != "call":
                period, _ = period_of(budget.per, budget.tz, at)
                bucket = bucket_of(budget.per, budget.by, call.facts)
                places.append((budget, (budget.family, period, bucket or "")))
        if not self._fits(call, places, at, last):
            self._queue(call, places)
            return False
        self.forgo(call)
        if call.budgets:
            call.estimated = call.needed  # `max_tokens` may have been lowered
        cursor = self._do(
            "INSERT INTO calls (at, state, unsettled, owner, call, attempt, run, alias, vendor, model, tags, "
            "estimated_nano, estimated_atto) VALUES (?, 'open', 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (at, self._owner, call.call, call.attempt, call.run, call.alias, call.vendor, call.model,
             json.dumps(call.tags), *_guess(call.estimated)),
        )  # fmt: skip
        call.row = cursor.lastrowid
        held = split(call.needed)[:2]
        for place in {place for _, place in places}:  # budgets of one family count the same dollars
            self._do("INSERT INTO holds VALUES (?, ?, ?, ?, ?, ?)", (call.row, *place, *held))
        return True

    def _fits(self, call: Call, places: Sequence[_Place], at: int, last: bool) -> bool:
        """Whether a call can be paid now; if what others hold is in the way, it has to wait."""
        for budget in call.budgets:
            if budget.per == "call":
                self._lower(call, budget, _Booked(budget.limit, _NONE, _NONE), at)
        waits = False
        for budget, place in places:
            spent, held = self._spent(*place, budget), self._held(*place)
            booked = _Booked(EXACT.subtract(budget.limit, spent), spent, held)
            self._lower(call, budget, booked, at)
            if call.needed > EXACT.subtract(booked.left, held) or self._is_behind(call, place):
                if last:
                    raise _exceeded(call, budget, booked, at, waited=True)
                waits = True
        return not waits

    @staticmethod
    def _lower(call: Call, budget: Budget, booked: _Booked, at: int) -> None:
        """Lower `max_tokens` to what is left, where that is allowed. Raises BudgetExceededError if it is not enough."""
        if call.needed <= booked.left:
            return
        fewer = call.worst.most_tokens(booked.left)
        if not budget.lower or fewer is None or fewer < call.least:
            raise _exceeded(call, budget, booked, at)
        call.max_tokens = min(call.max_tokens, fewer)

    def _is_behind(self, call: Call, place: tuple[str, int, str]) -> bool:
        family, _, bucket = place
        before = "" if call.ticket is None else f" AND ticket < {call.ticket:d}"
        found = self._do(f"SELECT 1 FROM waiting WHERE family = ? AND bucket = ?{before} LIMIT 1", (family, bucket))
        return found.fetchone() is not None

    def _queue(self, call: Call, places: Sequence[_Place]) -> None:
        if call.ticket is None:
            # By the clock, so that no two are alike: a call may take itself out of the line more than once.
            newest = self._do("SELECT coalesce(max(ticket), 0) + 1 FROM waiting").fetchone()[0]
            call.ticket = max(newest, self._now())
            for _, (family, _, bucket) in places:
                self._do("INSERT INTO waiting VALUES (?, ?, ?, ?)", (call.ticket, self._owner, family, bucket))

    def forgo(self, call: Call) -> None:
        """Take a call out of the line."""
        if call.ticket is not None:
            self._do("DELETE FROM waiting WHERE ticket = ? AND owner = ?", (call.ticket, self._owner))

    def withdraw(self, call: Call) -> None:
        """Undo `open`: nothing was sent."""
        self.forgo(call)
        if call.row is not None:
            self.settle(call, Outcome(state="left", usage=UsageChunk(), estimated=None))  # it may be booked as lost
            self._do("DELETE FROM calls WHERE id = ?", (call.row,))

    def settle(self, call: Call, outcome: Outcome) -> None:
        """Book what became of a call; a row that was thought lost is corrected."""
        if call.row is None:
            return
        try:
            values = _values(outcome)
        except (ArithmeticError, AttributeError, TypeError, ValueError):  # of a provider that somebody wrote
            values = _values(
                Outcome(
                    state=outcome.state, usage=UsageChunk(unsettled=1), estimated=call.estimated, error=outcome.error
                )
            )
        state = self._do("SELECT state FROM calls WHERE id = ?", (call.row,)).fetchone()
        if state is not None and state[0] != "open":
            self._book(call.row, -1)
        self._do(
            f"UPDATE calls SET owner = NULL, {', '.join(f'{name} = ?' for name in COUNTS)}, cost_nano = ?, "
            "cost_atto = ?, cost_more = ?, estimated_nano = ?, estimated_atto = ?, saved_nano = ?, saved_atto = ?, "
            "state = ?, answered = ?, reason = ?, error = ?, request_id = ?, first_chunk = ?, seconds = ? WHERE id = ?",
            (*values, call.row),
        )
        self._book(call.row, 1)
        self._do("DELETE FROM holds WHERE call = ?", (call.row,))

    def _book(self, row: int, sign: int) -> None:
        """Add what a call costs to all budgets that there are, or take it away."""
        families = self._do(_FAMILIES).fetchall()
        if not families:
            return
        found = self._do(
            "SELECT at, alias, vendor, model, run, tags, cost_nano, cost_atto, cost_more, estimated_nano, "
            "estimated_atto FROM calls WHERE id = ?",
            (row,),
        ).fetchone()
        if found is None:
            return
        at, alias, vendor, model, run, tags, nano, atto, more, estimated, estimated_rest = found
        cost = EXACT.multiply(sign, EXACT.add(joined(nano, atto, more), joined(estimated, estimated_rest)))
        if not cost:
            return
        facts = {"alias": alias, "vendor": vendor, "model": model, "run": run, "tags": json.loads(tags)}
        for (family,) in families:
            per, by, tz = json.loads(family)
            period, _ = period_of(per, tz, at)
            if self._has_begun(family, period):
                self._add(family, period, bucket_of(per, by, facts) or "", cost)

    def _add(self, family: str, period: int, bucket: str, dollars: Decimal) -> None:
        self._do(
            "INSERT INTO spent VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET nano = nano + excluded.nano, "
            "atto = atto + excluded.atto",
            (family, period, bucket, *split(dollars)[:2]),
        )

    def _spent(self, family: str, period: int, bucket: str, budget: Budget) -> Decimal:
        """What is booked. A period that is asked for first begins with what the ledger has of it already."""
        if not self._has_begun(family, period):
            self._begin(family, period, budget)
        key = (family, period, bucket)
        found = self._do("SELECT nano, atto FROM spent WHERE family = ? AND period = ? AND bucket = ?", key).fetchone()
        return _NONE if found is None else joined(*found)

    def _has_begun(self, family: str, period: int) -> bool:
        found = self._do("SELECT 1 FROM periods WHERE family = ? AND period = ?", (family, period))
        return found.fetchone() is not None

    def _begin(self, family: str, period: int, budget: Budget) -> None:
        self._do("INSERT INTO periods VALUES (?, ?)", (family, period))
        fields = (["run"] if budget.per == "run" else []) + ([] if budget.by is None else [budget.by])
        columns, parameters = [], list[Any]()
        for sql, more in map(column, fields):
            columns.append(sql)
            parameters += more
        bucket = " || char(10) || ".join(columns) or "''"
        _, end = period_of(budget.per, budget.tz, period)
        rows = self._do(
            f"SELECT {bucket} AS bucket, sum(cost_nano), sum(cost_atto), group_concat(cost_more, ' '), "
            "sum(estimated_nano), sum(estimated_atto) FROM calls WHERE at >= ? AND at < ? AND state <> 'open' "
            "GROUP BY bucket",
            (*parameters, period, end or 2**62),
        ).fetchall()
        for bucket, nano, atto, more, estimated, rest in rows:
            self._add(family, period, bucket or "", EXACT.add(joined(nano, atto, more), joined(estimated, rest)))

    def _held(self, family: str, period: int, bucket: str) -> Decimal:
        found = self._do(
            "SELECT sum(nano), sum(atto) FROM holds WHERE family = ? AND bucket = ? AND period = ?",
            (family, bucket, period),
        )
        return joined(*found.fetchone())

    def status(self, budget: Budget, bucket: str) -> BudgetStatus:
        """Where a budget stands in its present period, for one bucket."""
        now = self._now()
        period, _ = period_of(budget.per, budget.tz, now)
        spent, held = self._spent(budget.family, period, bucket, budget), self._held(budget.family, period, bucket)
        return BudgetStatus(limit=budget.limit, spent=spent, held=held, until=end_of(budget, now))

    def forget(self, chosen: tuple[str, Sequence[Any]], most: int) -> int:
        """Delete chosen rows, at most so many; how many there were."""
        where, values = chosen
        self.has_space = True
        return self._do(
            f"DELETE FROM calls WHERE id IN (SELECT id FROM calls{where} LIMIT ?)", (*values, most)
        ).rowcount

    def forget_periods(self, before: int) -> None:
        """Delete the sums of budgets' periods that have ended before."""
        for family, period in self._do("SELECT family, period FROM periods").fetchall():
            per, _, tz = json.loads(family)
            _, end = period_of(per, tz, period)
            if end is not None and end <= min(before, self._now()):  # what runs is still spent
                for table in ("periods", "spent"):
                    self._do(f"DELETE FROM {table} WHERE family = ? AND period = ?", (family, period))


def _exceeded(call: Call, budget: Budget, booked: _Booked, at: int, *, waited: bool = False) -> BudgetExceededError:
    needed, bucket = call.needed, bucket_of(budget.per, budget.by, call.facts) or ""
    whose = " of " + " and ".join(map(repr, bucket.split("\n"))) if bucket else ""
    held = f", of which ${booked.held:f} were held by running calls for {budget.max_wait:g} s" if waited else ""
    prompt = call.worst.fixed or _NONE
    answer = EXACT.subtract(needed, prompt)
    parts = f" (${prompt.normalize(EXACT):f} of it the prompt)" if prompt and answer else ""
    error = BudgetExceededError(
        f"the budget of ${budget.limit:f} per {budget.per}{whose} has ${booked.left:f} left{held}, "
        f"and the call may cost ${needed.normalize(EXACT):f}{parts}",
        model=call.model,
    )
    error.until = end_of(budget, at)
    error.limit, error.spent, error.held, error.needed = budget.limit, booked.spent, booked.held, needed
    error.bucket, error.retryable = bucket, waited
    if waited:
        error.hint = "Only running calls are in the way: try again, or give the Budget a longer max_wait."
    elif needed > budget.limit:
        error.hint = (
            "No budget of this size can pay such a call: ask for fewer max_tokens, or give the Budget more dollars."
        )
    elif error.until is None:
        error.hint = "Give the Budget more dollars, or ask for fewer max_tokens."
    return error
