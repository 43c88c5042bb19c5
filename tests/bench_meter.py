"""Prints what metering costs: `python tests/bench_meter.py`. It always exits with 0.

A call of twenty chunks through a provider that does nothing else, bare and metered; the longest that a metered loop
stands still; and a ledger of a million rows.
"""

from __future__ import annotations

import asyncio
import gc
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import nullcontext
from decimal import Decimal
from pathlib import Path
from typing import Final
from unittest.mock import patch

from penstock.core.chunks import Chunk, StopChunk, TextChunk, UsageChunk
from penstock.core.messages import Message, Options
from penstock.core.models import Model, ModelInfo
from penstock.core.provider import BaseProvider
from penstock.meter import Budget, Ledger, Metered

sys.path.append(str(Path(__file__).parent / "support"))
from postgres_server import MISSING, postgres_server

CALLS: Final = 500
ROUNDS: Final = 5
TOGETHER: Final = 200
ROWS: Final = 1_000_000
STILL: Final = 5.0
"""Milliseconds that an event loop may stand still, of issue 11."""

INFO: Final = ModelInfo(input_price=Decimal(3), output_price=Decimal(15), max_tokens=1_000)
TURN: Final = [Message("user", "word " * 200), Message("assistant", "word " * 50)]


class Spout(BaseProvider):
    """Yields twenty chunks with their bill, and does nothing else."""

    def get_model(self) -> Model:
        """See BaseProvider."""
        return Model("m", INFO)

    async def create_message(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """See BaseProvider."""
        chunk = TextChunk("a")
        yield UsageChunk(unsettled=1)
        for _ in range(20):
            yield chunk
        yield UsageChunk(input_tokens=300, output_tokens=20, known_cost=Decimal("0.0012"), unsettled=-1)
        yield StopChunk(reason="stop")


async def call(provider: BaseProvider, messages: Sequence[Message]) -> None:
    """One."""
    async for _ in provider.create_message("", messages):
        pass


async def spent(provider: BaseProvider, messages: Sequence[Message], calls: int) -> tuple[float, float]:
    """Microseconds of CPU and of wall time for a call; that the rows are written is a part of it."""
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(calls):
        await call(provider, messages)
    if isinstance(provider, Metered):
        await provider.ledger.flush()
    return (time.process_time() - cpu) / calls * 1e6, (time.perf_counter() - wall) / calls * 1e6


async def overhead(folder: Path, server: str | None) -> None:
    """A call after the other. server: its address, where there is one."""
    budgets = [Budget(10**6, per="day"), Budget(10**6, per="month", by="tags.user")]
    kinds: dict[str, Callable[[], BaseProvider]] = {
        "bare": Spout,
        "in memory": lambda: Metered(Spout(), Ledger()),
        "in a file": lambda: Metered(Spout(), Ledger(folder / "calls.db")),
        "in a file, two budgets": lambda: Metered(Spout(), Ledger(folder / "calls.db"), budgets=budgets),
    }
    if server is not None:
        kinds["on a server"] = lambda: Metered(Spout(), Ledger(server))
        kinds["on a server, two budgets"] = lambda: Metered(Spout(), Ledger(server), budgets=budgets)
    print("| a call of 20 chunks | messages | CPU µs | more | wall µs | more |\n|---|---|---|---|---|---|")
    for turns in (0, 250, 1_000):
        messages = [*TURN * turns, Message("user", "Hi")]
        best: dict[str, tuple[float, float]] = {}
        for _ in range(ROUNDS):
            for name, make in kinds.items():
                found = await spent(make(), messages, CALLS if len(messages) < 10 else CALLS // 10)
                best[name] = min(found, best.get(name, found))
        for name, (cpu, wall) in best.items():
            more, later = cpu - best["bare"][0], wall - best["bare"][1]
            print(f"| {name} | {len(messages)} | {cpu:.0f} | {more:.0f} | {wall:.0f} | {later:.0f} |")


async def standstill(folder: Path) -> None:
    """Many tasks at once; how long one step of the event loop takes, waiting for Python's lock included."""
    steps: list[float] = []
    run = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        start = time.perf_counter()
        run(handle)
        steps.append((time.perf_counter() - start) * 1000)

    async def work(provider: BaseProvider) -> None:
        for _ in range(20):
            await call(provider, [*TURN * 250, Message("user", "Hi")])

    print(f"\n| tasks at once | steps | median ms | 99.9 % | longest (aim {STILL:.0f}) |\n|---|---|---|---|---|")
    async with Ledger(folder / "watch.db") as ledger:
        provider = Metered(Spout(), ledger, budgets=[Budget(10**6, per="day")])
        await work(provider)
        gc.disable()  # its pauses, of some 10 ms with so many histories, are there without a meter too
        with patch.object(asyncio.Handle, "_run", timed):
            for together in (1, 10, TOGETHER):
                steps.clear()
                await asyncio.gather(*(work(provider) for _ in range(together)))
                found = sorted(steps)
                figures = statistics.median(found), found[-1 - len(found) // 1000], found[-1]
                print(f"| {together} | {len(found)} | {' | '.join(f'{each:.3f}' for each in figures)} |")
        gc.enable()


async def many(folder: Path) -> None:
    """A million rows."""
    file = folder / "many.db"
    async with Ledger(file) as ledger:
        await call(Metered(Spout(), ledger), TURN)
        await ledger.flush()
        _fill(file)
        print(f"\n| {ROWS:,} rows, {file.stat().st_size / 1e6:.0f} MB | seconds |\n|---|---|")
        for by in (("day", "model"), ("day", "model", "tags.user"), "model", "month"):
            start = time.perf_counter()
            found = await ledger.totals(by)
            print(f"| totals by {by}: {len(found)} groups | {time.perf_counter() - start:.2f} |")
        start = time.perf_counter()
        await call(Metered(Spout(), ledger, budgets=[Budget(10**9, per="total", by="tags.user")]), TURN)
        print(f"| the first call under a budget that sums all of them | {time.perf_counter() - start:.2f} |")


def _fill(file: Path) -> None:
    chance = random.Random(1)
    models = ["claude-sonnet-4-5", "gpt-5.2", "deepseek-chat", "qwen3:8b"]
    with sqlite3.connect(file) as db:
        db.executemany(
            "INSERT INTO calls (at, state, call, attempt, run, alias, vendor, model, answered, tags, input_tokens, "
            "output_tokens, cache_read_tokens, cost_nano, cost_atto, reason, request_id, first_chunk, seconds) "
            "VALUES (?, 'done', ?, 1, ?, 'sonnet', 'anthropic', ?, ?, ?, ?, ?, ?, ?, ?, 'stop', ?, 0.7, 3.5)",
            (
                (
                    1_764_000_000_000_000 + number * 2_000_000, f"{chance.getrandbits(64):016x}",
                    f"{number // 20:016x}",
                    (model := chance.choice(models)), model,
                    f'{{"session": "s{number // 200}", "user": "u{number % 500}"}}', chance.randrange(5_000),
                    chance.randrange(2_000), chance.randrange(50_000), chance.randrange(10**7), chance.randrange(10**9),
                    f"req_011CQ{chance.getrandbits(64):016x}",
                )
                for number in range(ROWS)
            ),
        )  # fmt: skip
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


async def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with nullcontext() if MISSING else postgres_server(fsync="on") as server:
            await overhead(folder, getattr(server, "address", None))
        await standstill(folder)
        await many(folder)


if __name__ == "__main__":
    asyncio.run(main())
