"""Ledger: what is written is there, sums are exact, and a file that cannot be a ledger is told at once."""

from __future__ import annotations

import csv
import datetime as dt
import os
import sqlite3
import stat
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_places import LedgerPlace
from metering import Priced, ask, booked, whole
from penstock import ConfigError, LedgerError, Options, UsageChunk
from penstock.meter import Budget, Ledger, Metered, schema
from penstock.meter.entries import counts_of, instant, joined, split, usage_of
from playing import collect

pytestmark = pytest.mark.anyio

NOW = 1_795_000_000.0  # 2026-11-18T11:06:40Z
HOSTILE = {
    "quotes": "'; DROP TABLE calls; --\"`",
    "lines": "a\nb\r\n\x00\x1b[31mc\u2028",
    "html": "<script>alert(1)</script>",
    "formula": "=cmd()",
    "half": "\ud800",
    "long": "x" * 10_000,
    "a name with 'quotes\" and $.paths[0]": "v",
}


@given(st.decimals(allow_nan=False, allow_infinity=False, places=24, min_value=-(10**9), max_value=10**9))
def test_money_is_exact(dollars: Decimal) -> None:
    """Whatever digits a price has."""
    nano, atto, more = split(dollars)
    assert 0 <= atto < 10**9
    assert joined(nano, atto, more) == dollars


def test_a_row_takes_any_counts() -> None:
    """A gateway's mistake must not spoil the sums."""
    usage = UsageChunk(input_tokens=10**30, output_tokens=-(10**30))
    assert usage_of(counts_of(usage), Decimal(0)) == UsageChunk(input_tokens=10**12, output_tokens=-(10**12))


INSTANTS: dict[str, Any] = {
    "an age in days": ("7d", NOW - 7 * 86_400),
    "an age in weeks": ("2 W", NOW - 14 * 86_400),
    "minutes": ("90m", NOW - 5_400),
    "a date": (dt.date(2026, 11, 18), 1_794_960_000),
    "a date as text": ("2026-11-18", 1_794_960_000),
    "a moment as text": ("2026-11-18T01:00:00+01:00", 1_794_960_000),
    "a naive moment": (dt.datetime(2026, 11, 18), 1_794_960_000),  # noqa: DTZ001 - it is taken for UTC
    "an offset": (dt.datetime(2026, 11, 18, 1, tzinfo=dt.timezone(dt.timedelta(hours=1))), 1_794_960_000),
}


@pytest.mark.parametrize("kind", INSTANTS)
def test_moments(kind: str) -> None:
    """Ages, dates, datetimes and text."""
    value, seconds = INSTANTS[kind]
    assert instant("since", value, NOW) == int(seconds * 1_000_000)


@pytest.mark.parametrize("value", ["yesterday", "7 parsecs", "", 5, "d"])
def test_what_is_no_moment(value: Any) -> None:
    """Is told by the argument's name."""
    with pytest.raises(ConfigError, match="which is no moment"):
        instant("since", value, NOW)


async def test_sums_are_the_rows(place: LedgerPlace) -> None:
    """Exact to the last digit, by whatever is grouped, between whatever moments."""
    now = NOW
    async with Ledger(place.address, clock=lambda: now) as ledger:
        dollars = ["0.0000000075", "1.5", "0.1000000000000000000001", "0.2"]
        for number, each in enumerate(dollars * 3):
            leaf = Priced(whole(each, input_tokens=number))
            leaf.alias = f"a{number % 2}"
            await ask(Metered(leaf, ledger), "Hi", Options(tags={"user": f"u{number % 3}"}))
            now += 43_200
        rows = await booked(ledger)
        for by in ("alias", "day", "hour", "month", "tags.user", ("day", "alias"), (), "state", "tags.nobody"):
            totals = await ledger.totals(by)
            assert sum(total.calls for total in totals) == len(rows)
            assert sum((total.usage for total in totals), UsageChunk()) == sum(
                (row.usage for row in rows), UsageChunk()
            )
        [one] = await ledger.totals(since="2026-11-19", until="2026-11-20", where={"alias": "a1"})
        assert one.calls == len([row for row in rows if row.at.day == 19 and row.alias == "a1"]) == 1
        [one] = await ledger.totals(where={"tags.user": ["u1", "u2"], "day": "2026-11-19"})
        assert one.by == {}
        assert await ledger.totals(where={"tags.user": None}) == []
        assert [total.by for total in await ledger.totals(("month", "tags.user"))] == [
            {"month": "2026-11", "tags.user": f"u{number}"} for number in range(3)
        ]
        for wrong, said in (("modle", "did you mean 'model'"), ("tags.", "no field"), ("user", "no field")):
            with pytest.raises(ConfigError, match=said):
                await ledger.totals(wrong)
            with pytest.raises(ConfigError, match=said):
                await booked(ledger, **{wrong: "x"})


async def test_hostile_tags(place: LedgerPlace, tmp_path: Path) -> None:
    """Nothing breaks, nothing is executed, and every row is found by its tag."""
    async with Ledger(place.address) as ledger:
        budgets = [Budget(5, per="day", by=f"tags.{name}") for name in HOSTILE]
        provider = Metered(Priced(whole("0.001"), repeat=True), ledger, budgets=budgets)
        await ask(provider, "Hi", Options(tags=HOSTILE))
        await ask(provider, "Hi", Options(tags={f"t{number}": "v" for number in range(50)}))
        first, second = await booked(ledger)
        assert len(second.tags) == 16
        assert set(first.tags) == set(HOSTILE)
        assert len(first.tags["long"].encode()) <= 200
        for name, value in first.tags.items():
            [one] = await ledger.totals(where={f"tags.{name}": value})
            assert one.calls == 1
            status = await ledger.status(Budget(5, per="day", by=f"tags.{name}"), value)
            assert status.spent == Decimal("0.001")
        for ending in ("csv", "jsonl"):
            assert await ledger.export(tmp_path / f"out.{ending}") == 2
        with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as lines:
            table = list(csv.DictReader(lines))
        assert msgspec.json.decode(table[0]["tags"]) == dict(first.tags)
        assert not any(cell.startswith(("=", "+", "-", "@")) for row in table for cell in row.values())
        first_line = msgspec.json.decode((tmp_path / "out.jsonl").read_bytes().splitlines()[0])
        assert (first_line["tags"], first_line["known_cost"]) == (dict(first.tags), "0.001")


async def test_an_export_has_no_formulas(tmp_path: Path) -> None:
    """Also where a model's own name is one."""
    leaf = Priced(whole("0.001"))
    leaf.alias = '=HYPERLINK("x")'
    async with Ledger() as ledger:
        await collect(Metered(leaf, ledger))
        await ledger.export(tmp_path / "out.csv")
        assert "'=HYPERLINK" in (tmp_path / "out.csv").read_text()
        with pytest.raises(ConfigError, match=r"expected \.csv, \.jsonl"):
            await ledger.export(tmp_path / "out.xlsx")
        with pytest.raises(LedgerError, match="cannot be written"):
            await ledger.export(tmp_path / "nowhere" / "out.csv")


async def test_forgetting_gives_space_back(place: LedgerPlace) -> None:
    """What is older goes, the rest stays, and sums of periods that are over go with it."""
    now = NOW
    async with Ledger(place.address, clock=lambda: now) as ledger:
        budgets = [Budget(50, per="day"), Budget(500, per="total")]
        provider = Metered(Priced(whole("0.001"), repeat=True), ledger, budgets=budgets)
        await ask(provider, "Hi")
        await ledger.flush()
        columns = "at, state, call, attempt, vendor, model, tags, unsettled, cost_nano, request_id, seconds"
        for _ in range(12):
            place.run(f"INSERT INTO calls ({columns}) SELECT {columns} FROM calls")
        pages = _pages(place)
        now += 2 * 86_400
        await ask(provider, "Hi")
        assert await ledger.forget(before="1d") == 4_096
        assert len(await booked(ledger)) == 1
        assert (await ledger.status(budgets[0])).spent == Decimal("0.001")
        assert (await ledger.status(budgets[1])).spent == Decimal("0.002")
        assert _pages(place) < pages / 2 or not place.is_file  # a server does it later
        assert await ledger.forget(where={"model": "another"}) == 0
        assert await ledger.forget(where={"model": "m"}) == 1
        assert (await ledger.status(budgets[1])).spent == Decimal("0.002")
        with pytest.raises(ConfigError, match="neither `before` nor `where`"):
            await ledger.forget()


def _pages(place: LedgerPlace) -> int:
    return int(place.run("PRAGMA page_count")[0][0]) if place.is_file else 0


async def test_a_dead_process_leaves_lost_rows(place: LedgerPlace) -> None:
    """At their worst case, which budgets count; a settlement that comes late corrects both."""
    budget = Budget(5, per="day")
    async with Ledger(place.address) as ledger:
        provider = Metered(Priced(whole("0.001"), repeat=True), ledger, budgets=[budget])
        stream = provider.create_message("", [])
        await anext(stream)
        held = (await ledger.status(budget)).held
        assert held >= Decimal("0.015")
        place.run("UPDATE owners SET owner = 'another', until = 0")
        place.run("UPDATE calls SET owner = 'another'")
        assert await ledger.recover() == 1
        [row] = await booked(ledger)
        assert (row.state, row.usage.cost, row.estimated_cost) == ("lost", None, held)
        assert (await ledger.status(budget)).spent == held
        async for _ in stream:
            pass
        [row] = await booked(ledger)
        assert (row.state, row.usage.cost, row.estimated_cost) == ("done", Decimal("0.001"), None)
        assert (await ledger.status(budget)).spent == Decimal("0.001")


def broken(path: Path, kind: str) -> None:
    """A file that cannot be a ledger."""
    if kind == "a text":
        path.write_text("Dear diary, " * 100)
    elif kind == "a folder":
        path.mkdir()
    elif kind == "in no folder":
        path.parent.rmdir()
    elif kind == "somebody else's":
        with sqlite3.connect(path) as db:
            db.execute("CREATE TABLE notes (text TEXT)")
        db.close()
    elif kind == "newer":
        anyio.run(Ledger(path).aclose)
        with sqlite3.connect(path) as db:
            db.execute("PRAGMA user_version = 99")
        db.close()


BROKEN = {
    "a text": "not a database",
    "a folder": "cannot be opened",
    "in no folder": "cannot be opened",
    "somebody else's": "no ledger of Penstock's",
    "newer": "is of version 99, and this Penstock knows 1",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_file_that_is_no_ledger(kind: str, tmp_path: Path) -> None:
    """Is told when it is opened."""
    path = tmp_path / "folder" / "spend.db"
    path.parent.mkdir()
    broken(path, kind)
    with pytest.raises(LedgerError, match=BROKEN[kind]):
        Ledger(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_file_that_may_not_be_written(tmp_path: Path) -> None:
    """By its rights."""
    (tmp_path / "spend.db").touch(0o400)
    with pytest.raises(LedgerError, match="Permission denied"):
        Ledger(tmp_path / "spend.db")


def test_a_file_that_is_locked_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By another process that is making it."""
    monkeypatch.setattr(schema, "_BUSY", 0.05)
    other = sqlite3.connect(tmp_path / "spend.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(LedgerError, match="locked") as caught:
        Ledger(tmp_path / "spend.db")
    assert (caught.value.retryable, caught.value.retry_after) == (True, 1.0)
    other.close()


def test_a_file_system_of_several_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is refused, with what to use instead."""
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/vda / ext4 rw 0 0\nserver:/home {tmp_path} nfs4 rw 0 0\n")
    monkeypatch.setattr(schema, "_MOUNTS", mounts)
    with pytest.raises(ConfigError, match=r"\(nfs4\).*PostgreSQL"):
        Ledger(tmp_path / "spend.db")
    mounts.unlink()  # where nobody says
    anyio.run(Ledger(tmp_path / "spend.db").aclose)


@pytest.mark.parametrize("path", ["", 5, b"x"])
def test_what_is_no_path(path: Any) -> None:
    """Is told."""
    with pytest.raises(ConfigError, match="`path` is"):
        Ledger(path)


async def test_only_its_owner_reads_it(tmp_path: Path) -> None:
    """Who spent what is nobody else's."""
    async with Ledger(tmp_path / "spend.db") as ledger:
        await collect(Metered(Priced(whole("0.001")), ledger))
        assert set(_files(tmp_path).values()) == {0o600}
    assert list(_files(tmp_path)) == ["spend.db"]


def _files(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


async def test_an_older_file_is_brought_up_to_date(place: LedgerPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """In steps, each from one version to the next."""
    async with Ledger(place.address) as ledger:
        await collect(Metered(Priced(whole("0.001")), ledger))
    newer = (*schema.MIGRATIONS, "ALTER TABLE calls ADD COLUMN host TEXT;\nCREATE INDEX calls_host ON calls (host)")
    monkeypatch.setattr(schema, "MIGRATIONS", newer)
    monkeypatch.setattr("penstock.meter.postgres.MIGRATIONS", newer)
    async with Ledger(place.address) as ledger:
        await collect(Metered(Priced(whole("0.002")), ledger))
        assert [row.usage.cost for row in await booked(ledger)] == [Decimal("0.001"), Decimal("0.002")]
    version = "PRAGMA user_version" if place.is_file else "SELECT version FROM ledger_version"
    assert place.run(version) == [(2,)]
    assert place.run("SELECT count(host) FROM calls") == [(0,)]


async def test_two_ledgers_of_one_file_share_a_writer(place: LedgerPlace, tmp_path: Path) -> None:
    """And it is closed with the last; what comes later opens it again."""
    file = place.address
    first, second = Ledger(file), Ledger(tmp_path / "." / "spend.db" if place.is_file else file)
    await collect(Metered(Priced(whole("0.001")), first))
    await first.aclose()
    await first.aclose()
    await collect(Metered(Priced(whole("0.001")), second))
    stream = Metered(Priced(whole("0.001")), second).create_message("", [])
    await anext(stream)
    await second.aclose()
    async for _ in stream:
        pass
    async with Ledger(file) as third:
        assert [row.state for row in await booked(third)] == ["done"] * 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fork_has_a_writer_of_its_own(place: LedgerPlace) -> None:
    """What the parent has open, the child does not touch."""
    ledger = Ledger(place.address)
    provider = Metered(Priced(whole("0.001"), repeat=True), ledger)
    anyio.run(collect, provider)
    child = os.fork()
    if not child:
        try:
            anyio.run(collect, provider)
            anyio.run(ledger.flush)
        except BaseException as error:  # noqa: BLE001 - the child must not run the other tests
            print(repr(error), file=sys.stderr)
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    anyio.run(collect, provider)

    async def rows() -> int:
        async with ledger:
            return len(await booked(ledger))

    assert anyio.run(rows) == 3


async def test_its_repr(tmp_path: Path) -> None:
    """A file, or none."""
    async with Ledger() as memory, Ledger(tmp_path / "spend.db") as file:
        assert (repr(memory), repr(file)) == ("Ledger()", f"Ledger({str(tmp_path / 'spend.db')!r})")
