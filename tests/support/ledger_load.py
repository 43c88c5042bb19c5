"""Prints what one ledger of many processes costs, in a file and on a server: `python tests/support/ledger_load.py`.

Four processes make 300 calls each under one budget, then 5,000 each without one. Then one of four is killed, and the
server is stopped and started again in the middle.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import anyio
import msgspec

from ledger_places import LedgerPlace
from metering import Priced, cost
from penstock import BaseProvider, BudgetExceededError
from penstock.meter import Budget, Ledger, Metered
from playing import HI, OPEN, SETTLED, collect
from postgres_server import PostgresServer, postgres_server

BUDGET: Final = Budget("5.00", per="day", max_wait=300)
PROCESSES: Final = 4


async def work(address: str, calls: int, together: int, held: bool) -> None:
    """So many calls of random cost, below what is held; prints milliseconds of each, and what is billed."""
    chance = random.Random()
    spent: list[Decimal] = []
    times: list[float] = []
    refused = 0

    async def some(provider: BaseProvider, leaf: Priced, number: int) -> None:
        nonlocal refused
        for _ in range(number):
            start = time.perf_counter()
            try:
                await collect(provider)
            except BudgetExceededError:
                refused += 1
            times.append((time.perf_counter() - start) * 1000)

    async with Ledger(address) as ledger, anyio.create_task_group() as group:
        for _ in range(together):
            dollars = [Decimal(chance.randint(1_000_000, 15_000_000)).scaleb(-9) for _ in range(calls // together)]
            leaf = Priced(*([OPEN, cost(str(each)), SETTLED, *HI] for each in dollars))
            spent += dollars
            provider = Metered(leaf, ledger, budgets=[BUDGET] if held else [])
            group.start_soon(some, provider, leaf, calls // together)
    if not held:
        assert refused == 0
    print(msgspec.json.encode({"times": times, "refused": refused, "sum": str(sum(spent))}).decode())


def start(address: object, calls: int, together: int, held: bool) -> subprocess.Popen[bytes]:
    """A process of them."""
    command = [sys.executable, __file__, str(address), str(calls), str(together), "held" if held else ""]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def told(processes: Sequence[subprocess.Popen[bytes]]) -> list[dict[str, Any]]:
    """What they printed."""
    return [msgspec.json.decode(process.communicate()[0]) for process in processes]


def show(name: str, place: LedgerPlace, calls: int, together: int, held: bool) -> None:
    """A row of the table."""
    begun = time.perf_counter()
    found = told([start(place.address, calls, together, held) for _ in range(PROCESSES)])
    seconds = time.perf_counter() - begun
    times = sorted(each for one in found for each in one["times"])
    rows, nano, atto = place.run("SELECT count(*), sum(cost_nano), sum(cost_atto) FROM calls")[0]
    booked = Decimal(int(nano)).scaleb(-9) + Decimal(int(atto)).scaleb(-18)
    ((open_,),) = place.run("SELECT count(*) FROM calls WHERE state = 'open'")
    refused = sum(one["refused"] for one in found)
    exact = "" if held else f", {'exact' if booked == sum(Decimal(one['sum']) for one in found) else 'WRONG'}"
    figures = " | ".join(f"{times[int(len(times) * share)]:.1f}" for share in (0.5, 0.99))
    told_of = f"{rows} | {refused} | ${booked:f}{exact} | {open_}"
    print(f"| {name} | {PROCESSES} x {calls} | {told_of} | {figures} | {seconds:.0f} |")


def killed(place: LedgerPlace) -> None:
    """One of them is killed with calls open."""
    processes = _running(place)
    os.kill(processes[0].pid, signal.SIGKILL)
    begun = time.perf_counter()
    found = told(processes[1:])
    processes[0].communicate()

    async def wait() -> None:
        async with Ledger(place.address) as ledger:
            await ledger.flush()  # who writes looks every 10 s for who is dead
            while place.run("SELECT 1 FROM calls WHERE state = 'open'"):  # noqa: ASYNC110 - nobody tells of it
                await anyio.sleep(1)

    anyio.run(wait)
    states = dict(place.run("SELECT state, count(*) FROM calls GROUP BY state"))
    others = sum(len(one["times"]) for one in found)
    print(f"\nkilled: {states}, {others} of others, recovered after {time.perf_counter() - begun:.0f} s")


def restarted(place: LedgerPlace, server: PostgresServer) -> None:
    """The server is stopped as by a crash, with calls of all of them open."""
    processes = _running(place)
    server.stop()
    time.sleep(1)
    server.start()
    found = told(processes)
    rows, nano = place.run("SELECT count(*), sum(cost_nano) FROM calls")[0]
    right = Decimal(int(nano)).scaleb(-9) == sum(Decimal(one["sum"]) for one in found)
    print(f"restarted: {rows} rows of {PROCESSES * 1_000}, sum {'exact' if right else 'WRONG'}")


def _running(place: LedgerPlace) -> list[subprocess.Popen[bytes]]:
    """They all have begun."""
    processes = [start(place.address, 1_000, 50, False) for _ in range(PROCESSES)]
    while not (place.exists() and place.run("SELECT count(*) FROM calls")[0][0] > 500):
        time.sleep(0.05)
    return processes


def main() -> None:
    print("| ledger | calls | rows | refused | booked | open | ms p50 | ms p99 | seconds |")
    print("|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, postgres_server(fsync="on", full_page_writes="on") as server:
        for name, address in (("SQLite", None), ("PostgreSQL", server.address)):
            for held in (True, False):
                (Path(folder) / "spend.db").unlink(missing_ok=True)
                show(name, LedgerPlace(Path(folder), address), 300 if held else 5_000, 1 if held else 50, held)
        killed(LedgerPlace(Path(folder), server.address))
        restarted(LedgerPlace(Path(folder), server.address), server)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        anyio.run(work, sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), bool(sys.argv[4]))
    else:
        main()
