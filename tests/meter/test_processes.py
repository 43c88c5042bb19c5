"""What holds among processes: each is a program of tests/support/metering.py, on asyncio or on trio."""

from __future__ import annotations

import sys
from decimal import Decimal
from pathlib import Path

import anyio
import msgspec
import pytest

import metering
from ledger_places import LedgerPlace
from metering import LIMIT, Server
from patience import PATIENCE, until
from penstock import AnthropicProvider, BudgetExceededError, UsageChunk
from penstock.meter import Budget, BudgetOverrun, Ledger, MaxTokensSet, Metered
from penstock.middleware import Event, Refused
from penstock.testing import Emulator

pytestmark = pytest.mark.anyio

COUNTS = ("input_tokens", "output_tokens", "cache_write_tokens", "cache_read_tokens")


@pytest.fixture
def anyio_backend() -> str:
    """The programs run on both loops; that of the test does not matter."""
    return "asyncio"


async def started(
    program: str, url: str, place: LedgerPlace, folder: Path, number: int, tasks: int, calls: int
) -> anyio.abc.Process:
    """One of the programs."""
    backend = ("asyncio", "trio")[number % 2]
    arguments = [program, backend, url, str(place.address), str(folder), f"p{number}", str(tasks), str(calls)]
    command = [sys.executable, "-m", "metering", *arguments]
    return await anyio.open_process(command, cwd=Path(metering.__file__).parent, stderr=None)


async def printed(process: anyio.abc.Process) -> dict[str, int]:
    """What it printed at its end."""
    assert process.stdout is not None
    data = b"".join([piece async for piece in process.stdout])
    assert await process.wait() == 0
    return msgspec.json.decode(data, type=dict[str, int]) if data else {}


async def test_a_budget_holds_among_processes(place: LedgerPlace, tmp_path: Path) -> None:
    """Two of them are killed in the middle: what the server has billed is never above the budget, and nobody is refused
    while others merely hold."""
    server = Server(pause=0.05)
    budget = Budget(LIMIT, per="day")
    with anyio.fail_after(3 * PATIENCE):
        async with Emulator(then=server) as emulator, Ledger(place.address) as ledger:
            processes = [await started("spend", emulator.url, place, tmp_path, number, 25, 20) for number in range(4)]
            await until(lambda: all((tmp_path / f"p{number}").exists() for number in range(4)))
            (tmp_path / "go").touch()
            await until(lambda: len(emulator.requests) >= 60)
            for process in processes[2:]:
                process.kill()
                await process.wait()
            place.run("UPDATE owners SET until = 0")  # a minute later
            told = [await printed(process) for process in processes[:2]]
            await ledger.recover()
            status = await ledger.status(budget)
            states = {total.by["state"]: total for total in await ledger.totals("state")}
    assert all("refused for holds" not in happened for happened in told)
    assert sum(happened.get("refused", 0) for happened in told) > 0
    assert server.dollars <= LIMIT
    assert LIMIT * Decimal("0.95") <= status.spent <= LIMIT
    assert status.held == 0
    assert set(states) <= {"done", "lost"}
    assert states["done"].usage.known_cost + states["lost"].estimated_cost == status.spent
    assert len(emulator.requests) <= sum(total.calls for total in states.values())


async def test_every_attempt_is_one_row(tmp_path: Path) -> None:
    """Of calls of every kind, from three processes: the sums are the server's own, to the last digit."""
    server = Server()
    place = LedgerPlace(tmp_path, None)
    with anyio.fail_after(3 * PATIENCE):
        async with Emulator(then=server) as emulator, Ledger(place.address) as ledger:
            processes = [await started("mix", emulator.url, place, tmp_path, number, 20, 4) for number in range(3)]
            for process in processes:
                await printed(process)
            rows = [row async for row in ledger.entries()]
    total = sum((row.usage for row in rows), UsageChunk())
    assert len(rows) == len(emulator.requests) == len({(row.call, row.attempt) for row in rows})
    assert {name: getattr(total, name) for name in COUNTS} == {name: server.counts[name] for name in COUNTS}
    assert total.known_cost == server.dollars
    assert {row.state for row in rows} == {"done", "failed", "left"}
    assert all((row.estimated_cost is not None) == (row.usage.cost is None) for row in rows)


async def test_a_server_that_overshoots(tmp_path: Path) -> None:
    """What it bills is booked as it is, and told; the next call is refused. The server keeps to its own books."""
    server = Server()
    told: list[Event] = []
    budget = Budget("0.04", per="day")
    async with Emulator(then=server) as emulator, Ledger(tmp_path / "spend.db") as ledger:
        async with AnthropicProvider(metering.config(emulator.url)) as leaf:
            provider = Metered(leaf, ledger, budgets=[budget], listener=told.append)
            await metering.ask(provider, "over 1")
            with pytest.raises(BudgetExceededError):
                await metering.ask(provider, "over 2")
        status = await ledger.status(budget)
    assert status.spent == server.dollars > budget.limit
    assert [type(event) for event in told] == [MaxTokensSet, BudgetOverrun, Refused]
