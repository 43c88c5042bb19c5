"""The journal's file: whose it is, what is wrong with it, and what a transaction holds."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from gathering import PRICE, Answering, read
from penstock import ConfigError, LedgerError, UsageChunk
from penstock.fleet import journal as journal_file
from penstock.fleet.journal import Journal

pytestmark = pytest.mark.anyio
TEN = [f"prompt {number}" for number in range(10)]
FILE = Path("jobs.db")
connect = journal_file._connect


def opened(**change: str) -> Journal:
    """That of the tests' provider."""
    return Journal(FILE, **({"kind": "gather", "vendor": "", "model": "answering"} | change))


def other_program() -> None:
    """Somebody else's tables."""
    FILE.unlink()
    with sqlite3.connect(FILE) as db:
        db.execute("CREATE TABLE recipes (name)")
    db.close()


def changed(statement: str) -> Callable[[], None]:
    """By hand, or by another Penstock."""

    def change() -> None:
        with sqlite3.connect(FILE) as db:
            db.execute(statement)
        db.close()

    return change


def cut() -> None:
    """A copy that did not come to its end."""
    os.truncate(FILE, FILE.stat().st_size // 2)


def folder() -> None:
    """In its place."""
    FILE.unlink()
    FILE.mkdir()


BROKEN: list[Any] = [
    pytest.param(lambda: FILE.write_text("no database" * 200), LedgerError, "not a database", id="another file"),
    pytest.param(other_program, ConfigError, "no journal of Penstock's", id="a database"),
    pytest.param(
        changed("UPDATE journal SET version = 9"), ConfigError, "is of version 9, and this", id="a newer version's"
    ),
    pytest.param(cut, LedgerError, "malformed", id="one that was cut in the middle"),
    pytest.param(
        changed("UPDATE finished SET reply = '{}'"),
        LedgerError,
        "a stored reply is wrong",
        id="one with a row that is no reply",
    ),
    pytest.param(changed("UPDATE journal SET usage = '{'"), LedgerError, "truncated", id="one whose sum is damaged"),
    pytest.param(changed("DELETE FROM journal"), LedgerError, "cannot be used", id="one that does not say whose it is"),
    pytest.param(folder, LedgerError, "Is a directory", id="a folder"),
]


@pytest.mark.parametrize(("spoil", "kind", "said"), BROKEN)
async def test_a_journal_that_is_none_is_refused_in_one_line(
    tmp_path: Path, spoil: Callable[[], object], kind: type[Exception], said: str
) -> None:
    """Before anything is sent."""
    await read(Answering(), TEN, journal=FILE)
    spoil()
    provider = Answering()
    results, error = await read(provider, TEN, journal=FILE)
    assert (results, type(error), provider.asked) == ([], kind, [])
    message = str(error).partition("\n")[0]
    assert said in message
    assert "jobs.db" in message


OTHERS = [
    pytest.param({"kind": "batch"}, "for batch answering, and this is gather answering", id="another kind's"),
    pytest.param({"vendor": "anthropic"}, "for gather anthropic answering, and this", id="another vendor's"),
    pytest.param({"model": "small"}, "for gather small, and this is gather answering", id="another model's"),
]


@pytest.mark.parametrize(("made_for", "said"), OTHERS)
async def test_the_journal_of_other_jobs_is_refused(tmp_path: Path, made_for: dict[str, str], said: str) -> None:
    """By what it is for."""
    async with opened(**made_for):
        pass
    _, error = await read(Answering(), TEN, journal=FILE)
    assert isinstance(error, ConfigError)
    assert said in str(error)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_journal_in_use_is_refused_with_the_process_that_has_it(tmp_path: Path) -> None:
    """In the same process, by whatever path, and in another; and a look from here does not unlock it."""
    async with opened():
        for path in (FILE, Path("sub", "..", FILE), tmp_path / FILE):
            _, error = await read(Answering(), TEN, journal=path)
            assert str(error).endswith("is in use by this process")
        command = (sys.executable, "-c", _OPEN)
        found = await anyio.run_process(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert found.stdout.decode().strip().endswith(f"is in use by process {os.getpid()}")
    _, error = await read(Answering(), TEN, journal=FILE)
    assert error is None


_OPEN = """
import anyio
from penstock import ConfigError
from penstock.fleet.journal import Journal

async def main():
    try:
        async with Journal("jobs.db", kind="gather", vendor="", model="answering"):
            print("open")
    except ConfigError as error:
        print(error)

anyio.run(main)
"""


async def test_a_full_disk_ends_the_run_and_loses_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was paid is yielded, and paid again by the next run."""
    long = [f"{each} {'.' * 5000}" for each in TEN]
    provider = Answering()
    with monkeypatch.context() as patch:
        patch.setattr(journal_file, "_connect", full_after_20_pages)
        results, error = await read(provider, long, concurrency=1, journal=FILE)
    assert isinstance(error, LedgerError)
    assert error.hint.startswith("Make room")
    assert [result.job.prompt for result in results] == provider.asked
    again, error = await read(Answering(), long, journal=FILE)
    assert (len(again), error) == (10, None)
    assert 0 < sum(result.resumed for result in again) == len(provider.asked) - 1


def full_after_20_pages(path: Path) -> sqlite3.Connection:
    """A small disk."""
    db = connect(path)
    db.execute("PRAGMA max_page_count = 20")
    return db


async def test_what_fails_in_a_transaction_is_undone_and_disturbs_no_other(tmp_path: Path) -> None:
    """They share the one that goes to the disk."""

    def wrong(db: sqlite3.Connection) -> None:
        db.execute("CREATE TABLE half (name)")
        raise LookupError("in the middle")

    async with opened() as journal:
        told: list[str] = []

        async def run(number: int) -> None:
            try:
                await journal.run(wrong) if number % 3 == 0 else await journal.finish(bytes(35) + bytes([number]), ONE)
            except LookupError as error:
                told.append(str(error))

        async with anyio.create_task_group() as group:
            for number in range(9):
                group.start_soon(run, number)
        assert told == ["in the middle"] * 3
        assert journal.usage.known_cost == 6 * PRICE
        assert await journal.run(lambda db: db.execute("SELECT count(*) FROM finished").fetchone()) == (6,)
        assert (
            await journal.run(lambda db: db.execute("SELECT 1 FROM sqlite_master WHERE name = 'half'").fetchall()) == []
        )


ONE = UsageChunk(known_cost=PRICE)


async def test_what_is_in_the_journal_is_nobody_elses_to_read(tmp_path: Path) -> None:
    """Answers may hold what is private."""
    async with opened():
        assert {path.stat().st_mode & 0o777 for path in (FILE, Path("jobs.db-wal"))} == {0o600}


async def test_a_forked_process_leaves_the_journal_alone(tmp_path: Path) -> None:
    """Its end must not take the locks away, or write into the file."""
    async with opened() as journal:
        found = journal._release.peek()
        assert found is not None
        _, let_go, (db, key, pid), _ = found
        let_go(db, key, pid + 1)  # as there
        await journal.finish(bytes(36), ONE)
    assert subprocess.run((sys.executable, "-c", _OPEN), capture_output=True, check=True).stdout == b"open\n"  # noqa: ASYNC221
