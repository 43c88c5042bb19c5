"""What every call has cost, in one file or on one server: written before it is sent, settled whatever becomes of it."""

from __future__ import annotations

import csv
import os
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import anyio
import msgspec

from penstock.core.errors import ConfigError, LedgerError
from penstock.core.validation import near
from penstock.core.waking import waker
from penstock.meter.budget import Budget, BudgetStatus
from penstock.meter.entries import COUNTS, ENTRY_COLUMNS, Entry, Instant, Total, Where, cell, entry_of, instant
from penstock.meter.place import Database, place_of
from penstock.meter.store import Call, Outcome, Store
from penstock.meter.sums import Chosen, totals
from penstock.meter.tasks import Opening, Task
from penstock.meter.writer import Writer, let_go, use, writer_of

__all__ = ["Ledger"]

T = TypeVar("T")

_PAGE: Final = 1_000
"""Rows that are read at once."""
_STEP: Final = 1_000
"""Rows that are deleted at once: between, others may write."""


class Ledger:
    """A row for each attempt of each call that goes through `Metered`, in an SQLite file, or in memory without *path*.

    path: the file, or a PostgreSQL server's address: postgresql://USER:PASSWORD@HOST/DATABASE?schema=NAME, which is
        first asked at the first call. clock: seconds since 1970; None for this host's, or the server's own.

    Processes of one host share a file, those of all hosts a server, and so do threads and event loops. A row is written
    before the call is sent, and settled however it ends. A process that is killed leaves its rows open; a minute later
    they are `lost`, with the estimates that they were opened with. What is written survives a kill, and in a file not
    always a power cut.

    While it cannot be written, calls without a budget go on: their rows are kept in memory, those of the last
    10,000 calls, and written later (`behind`, `given_up`). Budgets refuse then. strict: so does all else.

    Raises LedgerError for a file that is no ledger, of a newer version, locked or not to be written, and ConfigError
    for one on a network's file system and for a bad address.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        strict: bool = False,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._place = place_of(path)
        self.path = None if path is None or self._place.is_late else Path(self._place.name)
        """The file, None for one in memory or on a server."""
        self.strict = strict
        self._clock = clock
        self._writer()
        use(self._place.key)
        self._release = weakref.finalize(self, let_go, self._place.key)

    def __repr__(self) -> str:
        return f"Ledger({'' if self._place.is_memory else repr(self._place.name)})"

    def is_same(self, other: Ledger) -> bool:
        """Whether the other books in the same place."""
        return self._place.key == other._place.key

    @property
    def behind(self) -> int:
        """How many openings and settlements are kept in memory until the ledger can be written again."""
        return self._writer().behind

    @property
    def given_up(self) -> int:
        """How many could not be kept either, and are lost."""
        return self._writer().given_up

    @property
    def fault(self) -> LedgerError | None:
        """Why the ledger cannot be written at the moment; None if it can."""
        return self._writer().fault

    async def open(self, call: Call, max_wait: float, waits: Callable[[], object] = lambda: None) -> None:
        """Write the row of a call, once its budgets allow it. For Metered. max_wait: seconds, see Budget.

        waits: called if it has to wait. Raises BudgetExceededError, and LedgerError if the ledger cannot be written,
        and the call has budgets or the ledger is strict.
        """
        opening = Opening(call, max_wait, keep=not self.strict and not call.budgets)
        writer = self._writer()
        try:
            writer.put(opening)
            if opening.keep and writer.goes_on:
                return  # it is kept, until whoever tries again every second succeeds
            await _done(opening)
            if opening.waits and not opening.is_over:
                waits()
                await _done(opening)
            opening.result()
        except BaseException:
            opening.gone = True
            if opening.error is None or call.ticket is not None or call.row is not None:
                writer.put(Task(lambda store: store.withdraw(call), keep=True))
            raise

    def settle(self, call: Call, outcome: Outcome) -> None:
        """Say how a call ended. For Metered; legal in a finaliser, in any thread and after its event loop."""
        self._writer().put(Task(lambda store: store.settle(call, outcome), keep=True))

    async def entries(
        self, *, since: Instant = None, until: Instant = None, where: Where | None = None
    ) -> AsyncIterator[Entry]:
        """All rows in the order in which they were opened: from *since* on, before *until*. Raises ConfigError."""
        seen = 0
        where_sql, values = self._chosen(since, until, where).sql("id > ?")
        query = f"SELECT {ENTRY_COLUMNS} FROM calls{where_sql} ORDER BY id LIMIT {_PAGE}"
        while True:
            rows = await self._read(partial(_rows, query, (*values, seen)))
            for row in rows:
                yield entry_of(row)
            if len(rows) < _PAGE:
                return
            seen = rows[-1][0]

    async def totals(
        self,
        by: str | Sequence[str] = (),
        *,
        since: Instant = None,
        until: Instant = None,
        where: Where | None = None,
    ) -> list[Total]:
        """The sum of each group: in order of time where that is grouped by, then the dearest first. `()` gives one sum
        of all rows; where there is no row the list is empty.

        by: `hour`, `day`, `month` (all in UTC), `alias`, `vendor`, `model`, `answered`, `state`, `reason`, `error`,
            `run`, `call`, `attempt`, or a tag as `tags.user`. Raises ConfigError for anything else.
        """
        names = [by] if isinstance(by, str) else list(by)
        chosen = self._chosen(since, until, where)
        return await self._read(lambda db: totals(db, names, chosen))

    async def status(self, budget: Budget, *bucket: str) -> BudgetStatus:
        """Where a budget stands in its present period.

        bucket: whose, where it has `by`; of a budget per run the run's id, before that.
        """
        return await self._ask(Task(lambda store: store.status(budget, "\n".join(bucket))))

    async def export(
        self,
        path: str | os.PathLike[str],
        *,
        since: Instant = None,
        until: Instant = None,
        where: Where | None = None,
    ) -> int:
        """Write the rows to a file, as CSV or as a JSON object a line, by its ending `.csv` or `.jsonl`; how many.

        A cell that a spreadsheet would take for a formula has an apostrophe before it. Raises ConfigError for another
        ending, and LedgerError if the file cannot be written.
        """
        file = Path(path)
        writes = _EXPORTS.get(file.suffix.lower())
        if writes is None:
            known = ", ".join(_EXPORTS)
            raise ConfigError(f"`path` ends in {file.suffix!r}, expected {known}{near(file.suffix, _EXPORTS)}")
        where_sql, values = self._chosen(since, until, where).sql()

        def write(db: Database) -> int:
            rows = db.execute(f"SELECT {ENTRY_COLUMNS} FROM calls{where_sql} ORDER BY id", values)
            try:
                return writes(file, map(entry_of, rows))
            except OSError as error:
                raise LedgerError(f"{file} cannot be written: {error.strerror or error}") from error

        return await self._read(write)

    async def recover(self) -> int:
        """Turn open rows of dead processes into `lost` ones, at their estimates; how many there were.

        Each process does that too when it first writes, and then every 10 s.
        """
        return await self._ask(Task(Store.recover))

    async def forget(self, *, before: Instant = None, where: Where | None = None) -> int:
        """Delete the rows that were opened before that and are as *where* says, and give back their space; how many.

        It goes in small steps. Rows of running calls stay. What budgets have counted stays counted, but for periods
        that ended before. Raises ConfigError without either.
        """
        chosen = self._chosen(None, before, where)
        if chosen.until is None and not chosen.where:
            raise ConfigError("neither `before` nor `where` says what is to be forgotten")
        gone, step = 0, _STEP
        while step == _STEP:
            step = await self._ask(Task(lambda store: store.forget(chosen.sql("state <> 'open'"), _STEP)))
            gone += step
        if chosen.until is not None and not chosen.where:
            until = chosen.until
            await self._ask(Task(lambda store: store.forget_periods(until)))
        return gone

    async def flush(self) -> None:
        """Wait until all that was settled is written. Raises LedgerError if it cannot be."""
        await self._ask(Task(lambda store: None))

    async def aclose(self) -> None:
        """Write what is left, and close what nobody else in this process uses. Safe to call twice.

        It waits 5 s at most for a ledger that cannot be written.
        """
        if self._release.detach() is None:
            return
        try:
            with suppress(LedgerError):
                await self.flush()
        finally:
            stop = let_go(self._place.key)
        if stop is not None:
            await _done(stop)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    def _writer(self) -> Writer:
        # Asked for each time: a process that was forked has one of its own.
        return writer_of(self._place, self._clock)

    def _chosen(self, since: Instant, until: Instant, where: Where | None) -> Chosen:
        now = (self._clock or time.time)()
        found = {
            name: [wanted] if wanted is None or isinstance(wanted, str) else list(wanted)
            for name, wanted in (where or {}).items()
        }
        return Chosen(since=instant("since", since, now), until=instant("until", until, now), where=found)

    async def _read(self, run: Callable[[Database], T]) -> T:
        await self.flush()  # whoever has settled a call wants to see it
        task = self._writer().read(run)
        await _done(task)
        return task.result()

    async def _ask(self, task: Task[T]) -> T:
        self._writer().put(task)
        await _done(task)
        return task.result()


async def _done(task: Task[Any]) -> None:
    """Wait until a thread has done it, in whatever event loop this is; it may be over already."""
    done = anyio.Event()
    task.wake = waker(done)  # before the look: whoever is over in between wakes
    if not task.is_over:
        await done.wait()


def _rows(query: str, values: Sequence[Any], db: Database) -> list[Any]:
    return list(db.execute(query, values))


def _flat(entry: Entry) -> dict[str, Any]:
    """An entry without structs inside: its usage is among its own fields."""
    usage = {name: getattr(entry.usage, name) for name in COUNTS}
    rest = {name: getattr(entry, name) for name in Entry.__struct_fields__ if name not in ("usage", "tags")}
    return {**rest, **usage, "known_cost": entry.usage.known_cost, "cost": entry.usage.cost, "tags": dict(entry.tags)}


def _write_lines(file: Path, entries: Iterator[Entry]) -> int:
    count = 0
    encode = msgspec.json.Encoder(decimal_format="string").encode
    with file.open("wb") as lines:
        for entry in entries:
            lines.write(encode(_flat(entry)) + b"\n")
            count += 1
    return count


def _write_table(file: Path, entries: Iterator[Entry]) -> int:
    count = 0
    with file.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines, lineterminator="\r\n")
        for entry in entries:
            flat = _flat(entry)
            if not count:
                writer.writerow(flat)
            writer.writerow(map(_cell, flat.values()))
            count += 1
    return count


def _cell(value: object) -> str:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, dict):
        return msgspec.json.encode(value).decode()
    return cell(value) if isinstance(value, str) else "" if value is None else str(value)


_EXPORTS: Final[Mapping[str, Callable[[Path, Iterator[Entry]], int]]] = {".csv": _write_table, ".jsonl": _write_lines}
