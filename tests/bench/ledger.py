"""Rows of metering: a call through `Metered`, how long the event loop stands still, and a ledger of a million rows."""

from __future__ import annotations

import asyncio
import functools
import gc
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Final
from unittest.mock import patch

from measuring import OURS, WITHOUT, Bar, Bench, Row, Spent, Spread, Work, by_turns
from penstock.core.messages import Message
from penstock.core.provider import BaseProvider
from penstock.meter import Budget, Ledger, Metered
from spout import Spout, exhaust

sys.path.append(str(Path(__file__).parents[1] / "support"))
from postgres_server import MISSING, postgres_server

__all__ = ["ROWS"]

CALLS: Final = 100
TOGETHER: Final = 200
MANY: Final = 1_000_000
TURN: Final = [Message("user", "word " * 200), Message("assistant", "word " * 50)]
BUDGETS: Final = [Budget(10**6, per="day"), Budget(10**6, per="month", by="tags.user")]


def calling(provider: BaseProvider, messages: Sequence[Message]) -> Work:
    """So many calls, one after the other; that the rows are written is a part of it."""

    async def work() -> None:
        for _ in range(CALLS):
            await exhaust(provider, messages)
        if isinstance(provider, Metered):
            await provider.ledger.flush()

    return work


async def metered(bench: Bench, place: str, turns: int, budgets: Sequence[Budget] = ()) -> Mapping[str, Spent]:
    """A call of 20 chunks with and without a meter. place: `memory`, `file` or `server`."""
    messages = [*TURN * turns, Message("user", "Hi")]
    with (
        tempfile.TemporaryDirectory() as folder,
        postgres_server(fsync="on") if place == "server" else nullcontext() as server,
    ):
        where = server.address if server is not None else None if place == "memory" else Path(folder) / "calls.db"
        async with Ledger(where) as ledger:
            works = {
                OURS: calling(Metered(Spout(20), ledger, budgets=budgets), messages),
                WITHOUT: calling(Spout(20), messages),
            }
            return await by_turns(works, bench.rounds, CALLS)


async def standstill(bench: Bench) -> Mapping[str, Spent]:
    """The longest step of the event loop, waiting for Python's lock included, while many tasks make calls."""
    steps: list[float] = []
    run = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        start = time.perf_counter()
        run(handle)
        steps.append(time.perf_counter() - start)

    async def work(provider: BaseProvider) -> None:
        for _ in range(5):
            await exhaust(provider, [*TURN * 250, Message("user", "Hi")])

    longest = []
    with tempfile.TemporaryDirectory() as folder:
        async with Ledger(Path(folder) / "calls.db") as ledger:
            provider = Metered(Spout(20), ledger, budgets=BUDGETS[:1])
            await work(provider)
            gc.disable()  # its pauses, of some 10 ms with so many histories, are there without a meter too
            try:
                for _ in range(3):
                    steps.clear()
                    with patch.object(asyncio.Handle, "_run", timed):
                        await asyncio.gather(*(work(provider) for _ in range(TOGETHER)))
                    longest.append(max(steps))
            finally:
                gc.enable()
    return {OURS: Spent(Spread.of(longest))}


async def million(bench: Bench) -> Mapping[str, Spent]:
    """How long it takes to sum them."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "many.db"
        async with Ledger(file) as ledger:
            await exhaust(Metered(Spout(20), ledger), TURN)
            await ledger.flush()
            fill(file)
            seconds = []
            for _ in range(2):  # more would take as long as all that is measured of streams
                start = time.perf_counter()
                await ledger.totals(("day", "model"))
                seconds.append(time.perf_counter() - start)
    return {OURS: Spent(Spread.of(seconds))}


def fill(file: Path) -> None:
    """With the calls of some weeks."""
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
                for number in range(MANY)
            ),
        )  # fmt: skip
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


def row(what: str, place: str, turns: int = 0, budgets: Sequence[Budget] = ()) -> Row:
    """One of metered calls. Those on a server are not on the page: it is not everywhere."""
    measure = functools.partial(metered, place=place, turns=turns, budgets=budgets)
    return Row(f"a metered call of 20 chunks, {what}", "µs", measure, page=place != "server")


ROWS: Final = [
    row("in memory", "memory"),
    row("in memory, two budgets", "memory", budgets=BUDGETS),
    row("in a file", "file"),
    row("in a file, two budgets", "file", budgets=BUDGETS),
    row("in a file, 2,000 messages", "file", turns=1_000),
    *([] if MISSING else [row("on a server", "server"), row("on a server, two budgets", "server", budgets=BUDGETS)]),
    Row("the longest step of the loop, 200 metered tasks", "ms", standstill, [Bar(5)], page=True),
    Row("summing a ledger of 1,000,000 calls", "s", million, page=True),
]
