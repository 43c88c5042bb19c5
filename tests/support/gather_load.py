"""Many prompts through `penstock batch` against the demo, killed three times, and what came of it. Prints tables.

python tests/support/gather_load.py [PROMPTS]
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Final

import anyio
import anyio.abc
import msgspec

from penstock import Message, StopChunk, TextChunk, UsageChunk, collect
from penstock.fleet import gather
from penstock.testing import DemoModel, Emulator, Request, ScriptedProvider, ServerReply

AT_ONCE: Final = 100
KILLS: Final = 3


class Counted(DemoModel):
    """The demo, with its own count of what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = Counter[str]()

    def __call__(self, request: Request) -> ServerReply:
        """Answer one request."""
        (block,) = json.loads(request.body)["messages"][0]["content"]
        self.asked[block["text"]] += 1
        return super().__call__(request)


def megabytes(pid: int) -> int:
    """MiB that a process takes."""
    return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * 4 // 1024


async def command(folder: Path) -> anyio.abc.Process:
    """`penstock batch`, on its way."""
    words = ("batch", "in.jsonl", "--out", "out.jsonl", "-m", "small", "--concurrency", str(AT_ONCE))
    env = {**os.environ, "PENSTOCK_MODELS": str(folder / "models.json")}
    program = (sys.executable, "-m", "penstock")
    return await anyio.open_process((*program, *words), cwd=folder, env=env, stdout=None, stderr=None)


async def run(folder: Path, prompts: int, kills: int) -> None:
    """One list of prompts, to its end."""
    model = Counted()
    async with Emulator(model) as emulator:
        settings = {"modelId": "claude-haiku-5-5", "apiKey": "k", "baseUrl": emulator.url}
        entry = {"provider": "anthropic", "providerConfig": settings}
        (folder / "models.json").write_text(json.dumps({"active": "small", "models": {"small": entry}}), "utf-8")
        lines = (json.dumps(f"prompt {number}") for number in range(prompts))
        (folder / "in.jsonl").write_text("\n".join(lines), "utf-8")
        marks = [prompts * (each + 1) // (kills + 1) for each in range(kills)]
        sampled = [prompts // 20, prompts // 2, prompts * 19 // 20]
        memory: dict[int, int] = {}
        begin, open_at_kills = time.perf_counter(), 0
        while True:
            process = await command(folder)
            while process.returncode is None:
                await anyio.sleep(0.02)
                seen = len(model.asked)
                emulator.exchanges[:-AT_ONCE] = []
                if sampled and seen >= sampled[0] and not kills:
                    memory[sampled.pop(0)] = megabytes(process.pid)
                if marks and seen >= marks[0]:
                    marks.pop(0)
                    process.kill()
                    await process.wait()
                    await anyio.sleep(0.2)
                    written = sqlite3.connect(folder / "out.jsonl.journal")
                    (done,) = written.execute("SELECT count(*) FROM finished").fetchone()
                    written.close()
                    open_at_kills += len(model.asked) - done
            if process.returncode != -signal.SIGKILL:
                break
        report(folder, model, memory, open_at_kills, time.perf_counter() - begin, process.returncode or 0)


def report(folder: Path, model: Counted, memory: dict[int, int], still_open: int, seconds: float, status: int) -> None:
    """What is in the file of answers, in the journal, and at the server."""
    answers = [json.loads(line) for line in (folder / "out.jsonl").read_text("utf-8").splitlines()]
    each = Counter(answer["id"] for answer in answers)
    with sqlite3.connect(folder / "out.jsonl.journal") as db:
        (usage,) = db.execute("SELECT usage FROM journal").fetchone()
    db.close()
    bill = msgspec.json.decode(usage, type=UsageChunk)
    costs = {f"prompt {answer['id']}": Decimal(answer["cost"]) for answer in answers}
    twice = {prompt: count - 1 for prompt, count in model.asked.items() if count > 1}
    print(f"exit status                       {status}")
    print(f"seconds                           {seconds:.1f}")
    print(f"prompts asked, answers            {len(model.asked)}, {len(answers)}")
    print(
        f"answers without text, doubles     {sum(not answer['text'] for answer in answers)}, {len(answers) - len(each)}"
    )
    print(f"journal's bill                    ${bill.known_cost}, {bill.unsettled} unsettled")
    print(f"sum of the answers' costs         ${sum(costs.values())}")
    print(f"requests, asked more than once    {sum(model.asked.values())}, {sum(twice.values())}")
    print(f"open at the kills                 {still_open}")
    print(f"paid twice, at most               ${sum(costs[prompt] * count for prompt, count in twice.items())}")
    if memory:
        print("MiB at so many prompts            ", ", ".join(f"{count}: {size}" for count, size in memory.items()))


async def overhead(jobs: int) -> None:
    """CPU of a job beside that of its call, in µs."""
    provider = ScriptedProvider([TextChunk("Hi"), UsageChunk(output_tokens=1), StopChunk(reason="stop")], repeat=True)

    async def bare() -> None:
        places = anyio.Semaphore(AT_ONCE)

        async def one(number: int) -> None:
            async with places:
                await collect(provider.create_message("", [Message("user", f"prompt {number}")]))

        async with anyio.create_task_group() as group:
            for number in range(jobs):
                group.start_soon(one, number)

    async def gathered(journal: str | None) -> None:
        async for _ in gather(provider, (f"prompt {n}" for n in range(jobs)), concurrency=AT_ONCE, journal=journal):
            provider.calls.clear()

    with tempfile.TemporaryDirectory() as folder:
        ways: dict[str, Callable[[], Awaitable[None]]] = {
            "bare calls": bare,
            "gather": lambda: gathered(None),
            "gather with a journal": lambda: gathered(f"{folder}/jobs.db"),
            "gather, all resumed": lambda: gathered(f"{folder}/jobs.db"),
        }
        for name, way in ways.items():
            begin = time.process_time()
            await way()
            print(f"{name:<34}{(time.process_time() - begin) / jobs * 1e6:.0f} µs of CPU a job")


async def main(prompts: int) -> None:
    """All three tables."""
    await overhead(prompts // 4)
    for kills in (0, KILLS):
        print(f"\n{prompts} prompts, {AT_ONCE} at once, killed {kills} times")
        with tempfile.TemporaryDirectory() as folder, suppress(KeyboardInterrupt):
            await run(Path(folder), prompts, kills)


if __name__ == "__main__":
    anyio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
