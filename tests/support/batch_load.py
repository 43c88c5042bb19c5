"""5,000 jobs through each batch API of the emulator, in a process that is killed -9 at every point. Prints a table.

python tests/support/batch_load.py [JOBS]
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import aclosing
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.lowlevel
import msgspec
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from batching import LIMIT, Deaths, bill_of, made
from penstock import BatchUnsureError
from penstock.core.dialect import Batches
from penstock.fleet import batch
from penstock.meter import Ledger, Metered
from penstock.testing import BatchServer, Emulator
from penstock.wire.vendors import DIALECTS

RULES: Final = Batches(most_jobs=500, wires=("messages", "chat"))
"""Of a batch: what dies while one is created cannot be told apart, and that is one of ten."""


class Kills(Deaths):
    """Kills this process at the first place where none has died yet. file: where each writes its place."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file
        self._died = set(file.read_text().splitlines())

    def point(self) -> None:
        """See Deaths."""
        frames = []
        frame = sys._getframe(2)
        while frame is not None:
            if "/fleet/batch" in frame.f_code.co_filename:
                frames.append(f"{frame.f_code.co_name}:{frame.f_lineno}")
            frame = frame.f_back  # type: ignore[assignment]
        place = " < ".join(frames[:2])
        if place not in self._died:
            with self._file.open("a") as file:
                file.write(f"{place}\n")
            os.kill(os.getpid(), signal.SIGKILL)


def prompts(jobs: int) -> list[str]:
    """So many, each unlike the others."""
    return [f"job {number}" for number in range(jobs)]


async def at_once(seconds: float) -> None:
    """A sleep that takes none."""
    await anyio.lowlevel.checkpoint()


async def child(form: str, url: str, folder: Path, jobs: int) -> None:
    """One process of the campaign: it ends the work, or is killed."""
    Kills(folder / "places").everywhere(pytest.MonkeyPatch())
    ended: Counter[str] = Counter()
    cost = Decimal(0)
    row = msgspec.structs.replace(DIALECTS["anthropic" if form == "messages" else "openai"], batches=RULES)
    async with Metered(made(form, url, row=row), Ledger(folder / "ledger")) as provider:
        settings: dict[str, Any] = {"journal": folder / "journal", "options": LIMIT, "sleep": at_once}
        async with aclosing(batch(provider, prompts(jobs), **settings)) as results:
            async for result in results:
                unsure = isinstance(result.error, BatchUnsureError)
                ended["answered" if result.ok else "unsure" if unsure else "failed"] += 1
                cost += result.usage.known_cost
    print(ended["answered"], ended["failed"], ended["unsure"], cost)


async def campaign(form: str, jobs: int) -> None:
    """Processes one after the other, until one ends the work."""
    start, server = time.monotonic(), BatchServer(failure="some jobs fail")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "places").touch()
        async with Emulator(server) as emulator, Ledger(folder / "ledger") as ledger:
            while True:
                command = [sys.executable, __file__, form, emulator.url, name, str(jobs)]
                ended = await anyio.run_process(command, check=False, stderr=None)
                if ended.returncode != -signal.SIGKILL:
                    break
            await ledger.recover()
            [total] = await ledger.totals()
        killed = len((folder / "places").read_text().splitlines())
    answered, failed, unsure, cost = ended.stdout.split()
    paid = Counter(
        msgspec.json.encode(each.job.body, order="sorted")
        for one in server.batches
        for each in one.results or ()
        if not each.outcome
    )
    twice = sum(count > 1 for count in paid.values())  # failed jobs are sent again by the next process
    print(
        f"{form:9} {jobs:6} {killed:6} {int(answered):9} {int(failed):7} {int(unsure):7} {twice:6} "
        f"{Decimal(cost.decode()):>10} {total.usage.known_cost:>10} {bill_of(server):>10} "
        f"{time.monotonic() - start:8.0f}",
        flush=True,
    )


async def main(jobs: int) -> None:
    """Print a row for each API."""
    print("API         jobs  killed  answered  failed  unsure  twice    journal     ledger     vendor  seconds")
    for form in ("messages", "chat"):
        await campaign(form, jobs)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        anyio.run(child, sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
    else:
        anyio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 5_000)
