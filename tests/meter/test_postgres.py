"""A ledger on a server: addresses, who may write, and a server that is away, slow, restarted or another's."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import psycopg
import pytest

from ledger_places import LedgerPlace
from metering import Priced, booked, whole
from patience import until
from penstock import ConfigError, LedgerError
from penstock.meter import Budget, Ledger, Metered
from penstock.meter.place import place_of
from penstock.meter.tasks import Task
from penstock.middleware import CircuitBreaker, Fallback, Retry
from playing import collect, outcome
from postgres_server import PostgresServer

pytestmark = pytest.mark.anyio

PASSWORD = "hunter2hunter2"
NOBODY = f"postgresql://ann:{PASSWORD}@127.0.0.1:1/spend"
"""Where no server is."""


@pytest.fixture
def anyio_backend() -> str:
    """The thread that writes is in no loop."""
    return "asyncio"


@pytest.fixture
def place(postgres: PostgresServer, tmp_path: Path) -> LedgerPlace:
    """A schema of its own."""
    return LedgerPlace(tmp_path, postgres.address)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for long."""
    monkeypatch.setattr("penstock.meter.writer._AGAIN", 0.05)
    monkeypatch.setattr("penstock.meter.writer._EXIT", 0.1)


SHOWN = {
    "postgresql://ann:hunter2hunter2@db.example:5433/spend": "postgresql://ann@db.example:5433/spend",
    "postgres://ann:hunter2hunter2@db/spend?sslmode=require": "postgresql://ann@db/spend",
    "POSTGRESQL://db/spend?user=ann&password=hunter2hunter2": "postgresql://ann@db/spend",
    "postgresql:///spend?host=/run/postgresql&schema=team_a": "postgresql:///spend?host=/run/postgresql&schema=team_a",
    "postgresql://a,b/spend?target_session_attrs=read-write": "postgresql://a,b/spend",
}


@pytest.mark.parametrize("address", SHOWN)
def test_an_address_is_shown_without_its_password(address: str) -> None:
    """Wherever that stands; nothing is asked for before the first call."""
    ledger = Ledger(address)
    assert repr(ledger) == f"Ledger({SHOWN[address]!r})"
    assert ledger.path is None


BAD = {
    "another database": (f"mysql://ann:{PASSWORD}@db/spend", "begins with 'mysql', expected the path of a file, or"),
    "SQLAlchemy's": (f"postgresql+psycopg://ann:{PASSWORD}@db/spend", "postgresql://USER:PASSWORD@HOST/DATABASE"),
    "an @ in the password": (f"postgresql://ann:{PASSWORD}@x:y@db/spend", "%40 for @"),
    "an unknown setting": (f"postgresql://ann:{PASSWORD}@db/spend?shema=a", "schema=NAME"),
    "no schema": (f"postgresql://ann:{PASSWORD}@db/spend?schema=", "schema=NAME"),
    "a schema that is SQL": (f'postgresql://ann:{PASSWORD}@db/spend?schema=a";DROP', "schema=NAME"),
    "no port": (f"postgresql://ann:{PASSWORD}@db:{PASSWORD}/spend", "HOST:5432"),
    "a bracket": (f"postgresql://ann:{PASSWORD}@[db/spend", "HOST:5432"),
}


@pytest.mark.parametrize("mistake", BAD)
def test_a_bad_address(mistake: str) -> None:
    """Is told at once, with what to write, and without what stands in it."""
    address, said = BAD[mistake]
    with pytest.raises(ConfigError) as caught:
        Ledger(address)
    assert said in caught.value.message
    assert PASSWORD not in str(caught.value)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what to install."""
    monkeypatch.setitem(sys.modules, "penstock.meter.postgres", None)
    with pytest.raises(ConfigError, match=r"pip install 'penstock\[postgres\]'"):
        Ledger(NOBODY)


@pytest.mark.usefixtures("quick")
async def test_a_server_that_is_away_stops_no_program(caplog: pytest.LogCaptureFixture) -> None:
    """Calls go on, and it is said once; budgets and strict ledgers refuse, for now, and nobody shows the password."""
    errors: list[Any] = []
    async with Ledger(NOBODY) as ledger, Ledger(NOBODY, strict=True) as strict:
        provider = Metered(Priced(whole("0.001"), repeat=True), ledger)
        for _ in range(3):
            await collect(provider)
        await until(lambda: ledger.behind == 6)
        assert "Connection refused" in str(ledger.fault)
        refused = Metered(Priced([]), ledger, budgets=[Budget(1, per="day")])
        errors += [(await outcome(other))[1] for other in (Metered(Priced(whole("0.001")), strict), refused)]
    assert [(type(error), error.retryable, error.retry_after) for error in errors] == [(LedgerError, True, 5.0)] * 2
    assert errors[0].hint == "Check that the server runs and can be reached from here."
    said = [
        record for record in caplog.records if record.levelno >= logging.WARNING and "calls go on" in record.message
    ]
    assert len(said) == 1
    assert "6 entries of postgresql://ann@127.0.0.1:1/spend are lost" in caplog.text
    assert PASSWORD not in f"{errors} {ledger.fault!r} {caplog.text}"


@pytest.mark.usefixtures("quick")
async def test_a_call_with_a_budget_is_tried_again_until_the_server_is_back(
    place: LedgerPlace, postgres: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The outage is said once, and its end once; no circuit opens, and no other model is asked."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            await anyio.to_thread.run_sync(postgres.start)

    async with Ledger(place.address) as ledger:
        metered = Metered(Priced(whole("0.001"), repeat=True), ledger, budgets=[Budget(5, per="day")])
        other = Priced(whole("0.001"), repeat=True)
        provider = Retry(Fallback(CircuitBreaker(metered, failures=1), other), attempts=4, sleep=sleep)
        await collect(provider)
        postgres.stop()
        _, error = await outcome(provider)
        assert (error, other.calls) == (None, [])
        assert [row.state for row in await booked(ledger)] == ["done"] * 2
    assert [seconds >= 5 for seconds in slept] == [True, True]
    said = [record.getMessage() for record in caplog.records if record.name == "penstock"]
    assert ["are refused" in each or each.endswith("is back") for each in said] == [True, True], said


@pytest.mark.usefixtures("quick")
async def test_a_server_that_is_restarted_loses_nothing(place: LedgerPlace, postgres: PostgresServer) -> None:
    """What comes meanwhile is written when it is back; a call that was held for is settled."""
    budget = Budget(5, per="day")
    async with Ledger(place.address) as ledger:
        leaf = Priced(whole("0.001"), repeat=True)
        running = Metered(leaf, ledger, budgets=[budget]).create_message("", [])
        await anext(running)
        postgres.stop()
        async for _ in running:
            pass
        for _ in range(20):
            await collect(Metered(leaf, ledger))
        assert isinstance((await outcome(Metered(leaf, ledger, budgets=[budget])))[1], LedgerError)
        postgres.start()
        await until(lambda: ledger.behind == 0)
        status = await ledger.status(budget)
        assert (status.spent, status.held) == (Decimal("0.021"), Decimal(0))
        assert [row.state for row in await booked(ledger)] == ["done"] * 21


async def test_who_closes_it_waits_for_a_server_that_comes_back(place: LedgerPlace, postgres: PostgresServer) -> None:
    """For some seconds."""
    async with Ledger(place.address) as ledger:
        await ledger.flush()
        postgres.stop()
        await collect(Metered(Priced(whole("0.001")), ledger))
        await until(lambda: ledger.behind == 2)
        async with anyio.create_task_group() as group:
            group.start_soon(ledger.aclose)
            await anyio.to_thread.run_sync(postgres.start)
    assert place.run("SELECT state FROM calls") == [("done",)]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("held", [False, True], ids=["kept", "refused"])
async def test_a_commit_that_nobody_heard_of(place: LedgerPlace, monkeypatch: pytest.MonkeyPatch, held: bool) -> None:
    """The connection broke after it was done: no row is there twice, and no dollar is held for who was refused."""
    budget = Budget(5, per="day")
    async with Ledger(place.address) as ledger:
        await ledger.status(budget)
        commit = type(ledger._writer()._opened()).commit

        def broken(database: Any) -> None:
            commit(database)
            monkeypatch.undo()
            raise psycopg.OperationalError("server closed the connection unexpectedly")

        monkeypatch.setattr(type(ledger._writer()._opened()), "commit", broken)
        provider = Metered(Priced(whole("0.001")), ledger, budgets=[budget] if held else [])
        _, error = await outcome(provider)
        assert isinstance(error, LedgerError) == held
        await until(lambda: ledger.behind == 0)
        assert [row.state for row in await booked(ledger)] == ([] if held else ["done"])
        assert (await ledger.status(budget)).held == 0
    assert place.run("SELECT count(*) FROM holds") == [(0,)]


STRANGE = {
    "a version without a row": "TABLE {}.ledger_version (version INT)",
    "a version that is text": "TABLE {}.ledger_version AS SELECT 'x' AS version",
    "a version of other columns": "TABLE {}.ledger_version (x INT)",
    "a version without tables": "TABLE {}.ledger_version AS SELECT 1 AS version",
    "a view of our name": "VIEW {}.calls AS SELECT 1",
}


def refusing(place: LedgerPlace, server: PostgresServer, kind: str) -> str:
    """The address of a ledger that cannot be opened."""
    address = str(place.address)
    admin = psycopg.connect(server.address, autocommit=True)
    with admin:
        if kind == "a wrong password":
            return address.replace(PASSWORD, "wrongwrongwrong")
        if kind == "no database":
            return address.replace("/postgres?", "/nowhere?")
        if kind == "somebody else's":
            admin.execute(f"CREATE SCHEMA {place.schema}")
            admin.execute(f"CREATE TABLE {place.schema}.notes (text TEXT)")
        elif kind in STRANGE:
            admin.execute(f"CREATE SCHEMA {place.schema}")
            admin.execute(f"CREATE {STRANGE[kind].format(place.schema)}")
        elif kind == "no rights":
            admin.execute(f"CREATE USER {place.schema} PASSWORD '{PASSWORD}'")
            return address.replace("//postgres:", f"//{place.schema}:")
        elif kind == "another encoding":
            admin.execute(f"CREATE DATABASE {place.schema} ENCODING 'LATIN1' TEMPLATE template0")
            return address.replace("/postgres?", f"/{place.schema}?")
        else:
            place_of(address).open().close()
            place.run("UPDATE ledger_version SET version = 99")
    return address


REFUSED = {
    "a wrong password": ("password authentication failed", "the password"),
    "no database": ('"nowhere" does not exist', "createdb"),
    "somebody else's": ("has tables, but is no ledger of Penstock's", ""),
    "a version without a row": ("has tables, but is no ledger of Penstock's", ""),
    "a version that is text": ("has tables, but is no ledger of Penstock's", ""),
    "a version of other columns": ('column "version" does not exist', "name another, as ?schema=penstock"),
    "a version without tables": ('"owners" does not exist', "name another, as ?schema=penstock"),
    "a view of our name": ('"calls" already exists', "name another, as ?schema=penstock"),
    "no rights": ("permission denied", "needs CREATE"),
    "another encoding": ("is encoded in LATIN1", ""),
    "newer": ("is of version 99, and this Penstock knows 1", ""),
}


@pytest.mark.parametrize("kind", REFUSED)
async def test_what_does_not_pass_by_itself(kind: str, place: LedgerPlace, postgres: PostgresServer) -> None:
    """Each call is told of it, with a budget or without: rows would be kept for nothing."""
    said, hint = REFUSED[kind]
    async with Ledger(refusing(place, postgres, kind)) as ledger:
        for _ in range(2):
            _, error = await outcome(Metered(Priced(whole("0.001")), ledger))
            assert isinstance(error, LedgerError)
            assert said in error.message
            assert hint in (error.hint or "")
            assert (error.retryable, error.retry_after) == (False, None)
            assert PASSWORD not in str(error)
        assert ledger.behind == 0


def test_many_that_start_at_once_make_one_ledger(place: LedgerPlace) -> None:
    """One makes the tables, the others find them."""
    with ThreadPoolExecutor(8) as threads:
        for database in threads.map(lambda _: place_of(str(place.address)).open(), range(8)):
            database.close()
    assert place.run("SELECT version FROM ledger_version") == [(1,)]


def test_who_reads_makes_nothing(place: LedgerPlace) -> None:
    """And writes nothing."""
    there = place_of(place.address)
    with pytest.raises(ConfigError, match="there is no ledger 'postgresql://postgres@127"), there.reading():
        pass
    there.open().close()
    with pytest.raises(LedgerError, match="cannot be used"), there.reading() as database:
        database.execute("DELETE FROM calls")


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
async def test_a_budget_holds_whatever_the_server_isolates_by_itself(
    place: LedgerPlace, postgres: PostgresServer, level: str
) -> None:
    """Whoever has waited for another sees what that has written."""
    user = f"user_{place.schema}"
    with psycopg.connect(postgres.address, autocommit=True) as admin:
        admin.execute(f"CREATE USER {user} SUPERUSER PASSWORD '{PASSWORD}'")
        admin.execute(f"ALTER USER {user} SET default_transaction_isolation = '{level}'")
    address = str(place.address).replace("//postgres:", f"//{user}:")
    first, other = place_of(address).open(), place_of(address).open()
    first.begin()
    first.execute("INSERT INTO periods VALUES ('a', 1)")
    with ThreadPoolExecutor(1) as thread:
        waits = thread.submit(other.begin)
        await until(lambda: place.run("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") != [])
        first.commit()
        await anyio.to_thread.run_sync(waits.result)
    assert other.execute("SELECT count(*) FROM periods").fetchone() == (1,)
    first.close()
    other.close()


@pytest.mark.parametrize("value", [None, "x", 10**30, True, object()])
async def test_what_is_wrong_with_one_stops_no_other(place: LedgerPlace, value: object) -> None:
    """It is told, and all that was to be done beside it is done."""
    async with Ledger(place.address) as ledger:
        await collect(Metered(Priced(whole("0.001")), ledger))
        sql = "INSERT INTO holds VALUES (1, 'a', 1, 'b', ?, 1)"
        tasks: list[Task[Any]] = [
            Task(lambda store, each=each: store._do(sql, (each,)), keep=True)  # type: ignore[misc]
            for each in (1, value, 2)
        ]
        for task in tasks:
            ledger._writer().put(task)
        await ledger.flush()
        assert [type(task.error) in (type(None), LedgerError, TypeError) for task in tasks] == [True, True, True]
        assert [task.error is None for task in tasks] == [True, False, True]
        assert ledger.fault is None
    assert place.run("SELECT nano FROM holds ORDER BY 1") == [(1,), (2,)]


@pytest.fixture
def locked(place: LedgerPlace) -> Iterator[LedgerPlace]:
    """One that another process holds."""
    database = place_of(place.address).open()
    database.begin()
    yield place
    database.close()


async def test_a_server_that_does_not_answer_is_given_up(locked: LedgerPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while, by whoever waits for it."""
    monkeypatch.setattr("penstock.meter.postgres._SILENT", 0.05)
    async with Ledger(locked.address) as ledger:
        _, error = await outcome(Metered(Priced([]), ledger, budgets=[Budget(1, per="day")]))
        assert isinstance(error, LedgerError)
        assert "has not answered for 0.05 s" in error.message
        assert error.retryable


async def test_the_servers_clock_decides(place: LedgerPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host whose clock is a year late takes nobody for dead, and books today."""
    monkeypatch.setattr("time.time", lambda: 1_700_000_000.0)
    async with Ledger(place.address) as ledger:
        await collect(Metered(Priced(whole("0.001")), ledger))
        assert [row.at.year for row in await booked(ledger)] > [2025]
        ((late,),) = place.run("SELECT min(until) / 1000000 - extract(epoch FROM now())::bigint FROM owners")
    assert 50 <= late <= 61
