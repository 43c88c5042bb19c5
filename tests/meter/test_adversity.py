"""What goes wrong around a ledger: files that vanish, threads that cannot start, forks, programs that just end."""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import anyio
import pytest

import metering
from metering import booked, cost
from patience import PATIENCE, until
from penstock import LedgerError, Model, ModelInfo, TextChunk
from penstock.meter import Budget, Ledger, Metered
from penstock.testing import Hang, ScriptedStep
from playing import ASK, HI, OPEN, SETTLED, collect

pytestmark = pytest.mark.anyio

WORST = Decimal("0.015")
"""Of a thousand tokens, whose prompt costs nothing."""


class Out(metering.Priced):
    """A model of which only the answer costs something."""

    def get_model(self) -> Model:
        """See BaseProvider."""
        return Model("m", ModelInfo(input_price=Decimal(0), output_price=Decimal(15), max_tokens=1_000))


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ledger's, for which nobody waits for long."""
    monkeypatch.setattr("penstock.meter.schema._BUSY", 0.01)
    monkeypatch.setattr("penstock.meter.writer._AGAIN", 0.01)
    return tmp_path / "spend.db"


def whole(dollars: str) -> list[ScriptedStep]:
    """An answer that costs so much."""
    return [OPEN, cost(dollars), SETTLED, *HI]


def count(file: Path, table: str) -> int:
    """The rows of a table."""
    connection = sqlite3.connect(file)
    found: int = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    connection.close()
    return found


async def test_who_waits_for_a_budget_is_told_when_the_file_is_bad(file: Path) -> None:
    """After `max_wait`, and nothing of it stays in the line."""
    budget = Budget(WORST, per="day", max_wait=0.3)
    async with Ledger(file) as ledger, anyio.create_task_group() as group:
        leaf = Out([OPEN, Hang()], repeat=True)
        provider = Metered(leaf, ledger, budgets=[budget])
        group.start_soon(collect, provider)
        await until(lambda: leaf.calls)
        waits = anyio.Event()

        async def wait() -> None:
            with pytest.raises(LedgerError, match="locked"):
                await collect(provider)
            waits.set()

        group.start_soon(wait)
        await until(lambda: count(file, "waiting"))
        other = sqlite3.connect(file, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        with anyio.fail_after(PATIENCE):
            await waits.wait()
        other.execute("ROLLBACK")
        other.close()
        await until(lambda: not count(file, "waiting"))
        group.cancel_scope.cancel()


async def test_a_ledger_that_is_closed_tells_who_waits(file: Path) -> None:
    """Nobody would wake it."""
    ledger = Ledger(file)
    leaf = Out([OPEN, Hang()], repeat=True)
    provider = Metered(leaf, ledger, budgets=[Budget(WORST, per="day")])
    async with anyio.create_task_group() as group:
        group.start_soon(collect, provider)
        await until(lambda: leaf.calls)

        async def wait() -> None:
            with pytest.raises(LedgerError, match="closed while"):
                await collect(provider)
            group.cancel_scope.cancel()

        group.start_soon(wait)
        await until(lambda: count(file, "waiting"))
        await ledger.aclose()
    assert count(file, "waiting") == 0


async def test_a_file_that_is_moved_is_a_fault_until_it_is_back(file: Path) -> None:
    """What is written to it would be lost; rows are kept, and budgets refuse."""
    async with Ledger(file) as ledger:
        leaf = Out(whole("0.01"), repeat=True)
        await collect(Metered(leaf, ledger))
        await ledger.flush()
        os.rename(file, f"{file}.old")  # noqa: PTH104
        with pytest.raises(LedgerError):
            await collect(Metered(leaf, ledger, budgets=[Budget(1, per="day")]))
        sqlite3.connect(file).close()
        await collect(Metered(leaf, ledger))
        with pytest.raises(LedgerError, match="another file"):
            await ledger.totals()
        os.rename(f"{file}.old", file)  # noqa: PTH104
        await until(lambda: ledger.behind == 0)
        assert [row.state for row in await booked(ledger)] == ["done", "done"]


async def test_no_reader_makes_a_file(tmp_path: Path) -> None:
    """Where the ledger was deleted."""
    async with Ledger(tmp_path / "spend.db") as ledger:
        await ledger.flush()
        (tmp_path / "spend.db").unlink()
        with pytest.raises(LedgerError):
            await ledger.totals()
    assert not (tmp_path / "spend.db").exists()


async def test_a_space_that_cannot_be_given_back_now_stops_nobody(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As another process writes."""
    async with Ledger(file) as ledger:
        await collect(Metered(Out(whole("0.01")), ledger))
        await ledger.flush()
        monkeypatch.setattr("penstock.meter.writer._BATCH", "no number")
        assert await ledger.forget(before="2999-01-01") == 1


async def test_a_system_without_threads_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no wait for ever; what was kept is written as soon as there is one."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async with Ledger() as ledger:
        leaf = Out(whole("0.01"), repeat=True)
        with monkeypatch.context() as changed, anyio.fail_after(PATIENCE):
            changed.setattr(threading.Thread, "start", refuse)
            await collect(Metered(leaf, ledger))
            with pytest.raises(LedgerError, match="thread"):
                await collect(Metered(leaf, ledger, budgets=[Budget(1, per="day")]))
        assert [row.state for row in await booked(ledger)] == ["done"]


async def test_a_finaliser_starts_no_second_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may run while the first is being made."""
    ledger = Ledger()
    writer = ledger._writer()
    made = threading.Thread.__init__

    def make(thread: threading.Thread, *args: object, **kwargs: object) -> None:
        monkeypatch.undo()
        ledger.settle(None, None)  # type: ignore[arg-type] # it fails, and is logged
        made(thread, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(threading.Thread, "__init__", make)
    await ledger.flush()
    assert [getattr(each, "_target", None) for each in threading.enumerate()].count(writer._work) == 1
    assert writer.thread is not None
    await ledger.aclose()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
async def test_a_fork_settles_nothing_of_its_parent(file: Path) -> None:
    """Although it closes the parent's streams."""
    budget = Budget(1, per="day")
    async with Ledger(file) as ledger:
        provider = Metered(Out([OPEN, TextChunk("a"), Hang()]), ledger, budgets=[budget])
        stream = provider.create_message("", ASK)
        await anext(stream)
        child = os.fork()
        if child == 0:
            try:
                with suppress(StopIteration):
                    stream.aclose().send(None)
                writer = ledger._writer()
                if (thread := writer.thread) is not None:
                    writer.close()
                    thread.join()
            finally:
                os._exit(0)
        os.waitpid(child, 0)  # noqa: ASYNC222 - it ends at once
        assert (await ledger.status(budget)).held == WORST
        await stream.aclose()


PROGRAM = """
import asyncio, sys, anyio
from metering import Priced
from penstock import Message, TextChunk, UsageChunk
from penstock.meter import Ledger, Metered
from penstock.testing import Hang, ScriptedStep
from playing import ASK, HI, collect

ledger = Ledger(sys.argv[1])
left = Metered(Priced([TextChunk("a"), Hang()], repeat=True), ledger)
whole = Metered(Priced(HI, repeat=True), ledger)
streams = []

async def many():
    async with anyio.create_task_group() as group:
        for _ in range(200):
            group.start_soon(collect, whole)
    for _ in range(3):
        streams.append(left.create_message("", ASK))
        await anext(streams[-1])

asyncio.new_event_loop().run_until_complete(many())
if sys.argv[2] == "dropped":
    del ledger, left.ledger, whole.ledger
"""


@pytest.mark.parametrize("way", ["held", "dropped"])
async def test_a_program_that_just_ends_has_settled_all(file: Path, way: str) -> None:
    """Nobody closed the ledger, the event loop or the streams."""
    path = os.pathsep.join(sys.path)
    done = await anyio.run_process(
        [sys.executable, "-c", PROGRAM, str(file), way], env={**os.environ, "PYTHONPATH": path}
    )
    assert b"Traceback" not in done.stderr  # from 3.13 on asyncio itself warns of a stream that nobody closes
    async with Ledger(file) as ledger:
        states = {total.by["state"]: total.calls for total in await ledger.totals("state")}
    assert states == {"done": 200, "left": 3}
