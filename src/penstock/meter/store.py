"""What is done to the tables of a ledger, each within a transaction of the thread that writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, TypeAlias

import msgspec

from penstock.core.bounds import Worst
from penstock.core.chunks import EXACT, UsageChunk
from penstock.core.errors import BudgetExceededError
from penstock.meter.budget import Budget, BudgetStatus, bucket_of, cut, end_of, period_of
from penstock.meter.entries import COUNTS, State, column, counts_of, joined, split, text
from penstock.meter.place import Database

__all__ = ["Call", "Outcome", "Store"]

_LEASE: Final = 60 * 1_000_000
"""Microseconds after which a process that says nothing is dead."""
_LONGEST_NAME: Final = 1_000
"""Bytes of a run, an alias or a model: the index of a server takes 2,704 of all that a budget counts by."""
_NONE: Final = Decimal(0)
# DISTINCT would read each hour that ever was.
_FAMILIES: Final = (
    "WITH RECURSIVE each (family) AS (SELECT min(family) FROM periods UNION ALL "
    "SELECT (SELECT min(family) FROM periods WHERE family > each.family) FROM each WHERE family IS NOT NULL) "
    "SELECT family FROM each WHERE family IS NOT NULL"
)


_STANDING: Final = (
    "WITH k (family, period, bucket) AS (VALUES (?, ?, ?)) SELECT "
    "(SELECT 1 FROM periods p WHERE p.family = k.family AND p.period = k.period), "
    "(SELECT nano FROM spent s WHERE s.family = k.family AND s.period = k.period AND s.bucket = k.bucket), "
    "(SELECT atto FROM spent s WHERE s.family = k.family AND s.period = k.period AND s.bucket = k.bucket), "
    "(SELECT sum(nano) FROM holds h WHERE h.family = k.family AND h.bucket = k.bucket AND h.period = k.period), "
    "(SELECT sum(atto) FROM holds h WHERE h.family = k.family AND h.bucket = k.bucket AND h.period = k.period), "
    "(SELECT 1 FROM waiting w WHERE w.family = k.family AND w.bucket = k.bucket AND w.ticket < ? LIMIT 1) FROM k"
)
"""All that there is to know of a budget's place, in one question: a server may be far away."""


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
    row: int | None = None
    """Its row, once it is there."""
    ticket: int | None = None
    """Its place among those who wait, or waited."""

    def __post_init__(self) -> None:
        # What a row has and what its budgets count by must be the same.
        self.run, self.alias = (each and cut(each, _LONGEST_NAME) for each in (self.run, self.alias))
        self.vendor, self.model = cut(self.vendor, _LONGEST_NAME), cut(self.model, _LONGEST_NAME)

    @property
    def needed(self) -> Decimal:
        """US dollars that it may cost at worst."""
        return self.worst.cost(self.max_tokens) or _NONE

    @property
    def facts(self) -> dict[str, Any]:
        """What a budget's bucket is made of."""
        return {name: getattr(self, name) for name in ("alias", "vendor", "model", "run", "tags")}


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

    def __init__(self, connection: Database, owner: str, now: Callable[[], int]) -> None:
        self._do = connection.execute
        self._put = connection.put
        self._owner = owner
        self._now = now
        self.families: list[str] | None = None
        """What kinds of budgets there are; None if it is not known in this transaction."""
        self.has_space = False
        """Rows were deleted, whose pages can be given back to the file system."""

    def renew(self) -> None:
        """Say that this process lives, and book what dead ones have left."""
        self._do(
            "INSERT INTO owners VALUES (?, ?) ON CONFLICT (owner) DO UPDATE SET until = excluded.until",
            (self._owner, self._now() + _LEASE),
        )
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
            self._put("DELETE FROM holds WHERE call = ?", (row,))
        self._do(f"DELETE FROM waiting WHERE {gone}")
        return len(rows)

    def open(self, call: Call, age: float, *, last: bool) -> bool:
        """Write the row of a call, if its budgets allow it; False if it has to wait. Raises BudgetExceededError.

        age: seconds since the call was made. Its row has that time, however long it was kept; but with budgets it has
            the time from which they pay for it, which is now.
        last: it has waited for long enough, and is refused as well if it would have to wait.
        """
        if call.row is not None and self._state(call) is not None:
            return True  # it was written, although nobody could say so
        if last and call.ticket is not None:
            self.recover()  # what is in the way may be a dead process's
        at = self._now() - (0 if call.budgets else int(age * 1_000_000))
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
        (call.row,) = self._do(
            "INSERT INTO calls (at, state, unsettled, owner, call, attempt, run, alias, vendor, model, tags, "
            "estimated_nano, estimated_atto) VALUES (?, 'open', 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
            (at, self._owner, call.call, call.attempt, call.run, call.alias, call.vendor, call.model,
             json.dumps(call.tags), *_guess(call.estimated)),
        ).fetchone()  # fmt: skip
        held = split(call.needed)[:2]
        for place in {place for _, place in places}:  # budgets of one family count the same dollars
            self._put("INSERT INTO holds VALUES (?, ?, ?, ?, ?, ?)", (call.row, *place, *held))
        return True

    def _fits(self, call: Call, places: Sequence[_Place], at: int, last: bool) -> bool:
        """Whether a call can be paid now; if what others hold is in the way, it has to wait."""
        for budget in call.budgets:
            if budget.per == "call":
                self._lower(call, budget, _Booked(budget.limit, _NONE, _NONE), at)
        waits = False
        for budget, place in places:
            spent, held, is_behind = self._standing(place, budget, call.ticket)
            booked = _Booked(EXACT.subtract(budget.limit, spent), spent, held)
            self._lower(call, budget, booked, at)
            if call.needed > EXACT.subtract(booked.left, held) or is_behind:
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

    def _queue(self, call: Call, places: Sequence[_Place]) -> None:
        if call.ticket is None:
            # By the clock, so that no two are alike: a call may take itself out of the line more than once.
            newest = self._do("SELECT coalesce(max(ticket), 0) + 1 FROM waiting").fetchone()[0]
            call.ticket = max(newest, self._now())
            for _, (family, _, bucket) in places:
                self._put("INSERT INTO waiting VALUES (?, ?, ?, ?)", (call.ticket, self._owner, family, bucket))

    def forgo(self, call: Call) -> None:
        """Take a call out of the line."""
        if call.ticket is not None:
            self._put("DELETE FROM waiting WHERE ticket = ? AND owner = ?", (call.ticket, self._owner))

    def withdraw(self, call: Call) -> None:
        """Undo `open`: nothing was sent."""
        self.forgo(call)
        if call.row is not None:
            self.settle(call, Outcome(state="left", usage=UsageChunk(), estimated=None))  # it may be booked as lost
            self._do("DELETE FROM calls WHERE id = ? AND call = ?", (call.row, call.call))

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
        state = self._state(call)
        if state is None:
            return
        if state != "open":
            self._book(call.row, -1)
        self._do(
            f"UPDATE calls SET owner = NULL, {', '.join(f'{name} = ?' for name in COUNTS)}, cost_nano = ?, "
            "cost_atto = ?, cost_more = ?, estimated_nano = ?, estimated_atto = ?, saved_nano = ?, saved_atto = ?, "
            "state = ?, answered = ?, reason = ?, error = ?, request_id = ?, first_chunk = ?, seconds = ? WHERE id = ?",
            (*values, call.row),
        )
        self._book(call.row, 1)
        self._put("DELETE FROM holds WHERE call = ?", (call.row,))

    def _state(self, call: Call) -> str | None:
        """Of a call's row; None where that is not there: its number may be another's by now."""
        found = self._do("SELECT state FROM calls WHERE id = ? AND call = ?", (call.row, call.call)).fetchone()
        return None if found is None else found[0]

    def _book(self, row: int, sign: int) -> None:
        """Add what a call costs to all budgets that there are, or take it away."""
        if self.families is None:
            self.families = [family for (family,) in self._do(_FAMILIES).fetchall()]
        if not self.families:
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
        for family in self.families:
            per, by, tz = json.loads(family)
            period, _ = period_of(per, tz, at)
            self._add(family, period, bucket_of(per, by, facts) or "", cost)

    def _add(self, family: str, period: int, bucket: str, dollars: Decimal) -> None:
        """Book it, if that period is counted."""
        self._put(
            "INSERT INTO spent SELECT ?, ?, ?, ?, ? WHERE EXISTS (SELECT 1 FROM periods WHERE family = ? AND "
            "period = ?) ON CONFLICT (family, period, bucket) "
            "DO UPDATE SET nano = spent.nano + excluded.nano, atto = spent.atto + excluded.atto",
            (family, period, bucket, *split(dollars)[:2], family, period),
        )

    def _standing(
        self, place: tuple[str, int, str], budget: Budget, ticket: int | None = None
    ) -> tuple[Decimal, Decimal, bool]:
        """What is spent and held, and whether somebody stands in line before the ticket, or at all.

        A period that is asked for first begins with what the ledger has of it already.
        """
        begun, nano, atto, held, held_rest, before = self._do(_STANDING, (*place, ticket or 2**62)).fetchone()
        if begun is None:
            self._begin(*place[:2], budget)
            return self._standing(place, budget, ticket)
        return joined(nano, atto), joined(held, held_rest), before is not None

    def _begin(self, family: str, period: int, budget: Budget) -> None:
        self.families = None
        self._put("INSERT INTO periods VALUES (?, ?)", (family, period))
        fields = (["run"] if budget.per == "run" else []) + ([] if budget.by is None else [budget.by])
        columns, parameters = [], list[Any]()
        for sql, more in map(column, fields):
            columns.append(sql)
            parameters += more
        bucket = " || '\n' || ".join(columns) or "''"
        _, end = period_of(budget.per, budget.tz, period)
        rows = self._do(
            f"SELECT {bucket} AS bucket, sum(cost_nano), sum(cost_atto), group_concat(cost_more, ' '), "
            "sum(estimated_nano), sum(estimated_atto) FROM calls WHERE at >= ? AND at < ? AND state <> 'open' "
            "GROUP BY bucket",
            (*parameters, period, end or 2**62),
        ).fetchall()
        for bucket, nano, atto, more, estimated, rest in rows:
            self._add(family, period, bucket or "", EXACT.add(joined(nano, atto, more), joined(estimated, rest)))

    def status(self, budget: Budget, bucket: str) -> BudgetStatus:
        """Where a budget stands in its present period, for one bucket."""
        now = self._now()
        period, _ = period_of(budget.per, budget.tz, now)
        spent, held, _ = self._standing((budget.family, period, bucket), budget)
        return BudgetStatus(limit=budget.limit, spent=spent, held=held, until=end_of(budget, now))

    def forget(self, chosen: tuple[str, Sequence[Any]], most: int) -> int:
        """Delete chosen rows, at most so many; how many there were."""
        where, values = chosen
        self.has_space = True
        sql = f"DELETE FROM calls WHERE id IN (SELECT id FROM calls{where} LIMIT ?)"
        return int(self._do(sql, (*values, most)).rowcount)

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
    left = f"has ${booked.left:f} left" if booked.left >= 0 else f"is overspent by ${-booked.left:f}"
    error = BudgetExceededError(
        f"the budget of ${budget.limit:f} per {budget.per}{whose} {left}{held}, "
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
