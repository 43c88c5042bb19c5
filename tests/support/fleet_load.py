"""Six processes on one limit, two killed, Redis restarted: prints what the fleet was allowed, and what it took.

python tests/support/fleet_load.py [MINUTES] [stays|kept|lost|away] [TASKS]: what becomes of Redis' data at its restart
after 40 % of the time; `away`: it stays away for 20 s and keeps its data. TASKS: how many each process has; the more,
the smaller their calls. Three minutes, no restart and three tasks if nothing is said.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Final, TextIO

import anyio

sys.path.insert(0, str(Path(__file__).parent))

from penstock import BaseProvider, Chunk, Message, Options, RateLimitError, StopChunk, StoreError, UsageChunk
from penstock.fleet import RedisStore
from penstock.fleet.redis_link import Link
from penstock.fleet.redis_rate import Rate, Spent
from penstock.middleware import RateLimit
from penstock.middleware.limit_store import Limits, Verdict
from redis_server import redis_server

LIMIT: Final = 50_000
WINDOW: Final = 60.0
PROCESSES: Final = 6
TASKS: Final = 3
WORDS: Final = 750
"""Of all tasks of a process together."""


class Vendor(BaseProvider):
    """Answers after a while, and has read less than was thought."""

    def __init__(self, words: int) -> None:
        self.words = words

    async def create_message(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """See BaseProvider."""
        await anyio.sleep(random.uniform(0.05, 0.4))
        yield UsageChunk(input_tokens=random.randint(self.words * 6 // 10, self.words))
        yield StopChunk(reason="stop")


class Logged:
    """Writes down what a process was allowed, by Redis' clock, and how long Redis took."""

    def __init__(self, out: TextIO) -> None:
        self.out = out
        charge, correct, ask, alone = Rate.charge, Rate.correct, Link.ask, Rate._alone
        log = self.log
        redis_time = [0]

        async def asked(link: Link, *rest: object, **said: object) -> list[int]:
            begun = time.perf_counter()
            found = await ask(link, *rest, **said)  # type: ignore[arg-type]
            log("asked", ms=(time.perf_counter() - begun) * 1e3)
            redis_time[0] = found[2]
            return found

        async def charged(rate: Rate, limits: Limits, tokens: int, waited: float) -> Verdict:
            local = time.time_ns() // 1_000_000
            redis_time[0] = 0
            verdict = await charge(rate, limits, tokens, waited)
            if isinstance(verdict.ticket, Spent):
                log("sent", at=redis_time[0] or local, n=verdict.ticket.number, tokens=tokens)
            return verdict

        def corrected(rate: Rate, spent: Spent, tokens: int) -> None:
            log("truth", n=spent.number, tokens=tokens)
            correct(rate, spent, tokens)

        def on_its_own(rate: Rate, tokens: int) -> Verdict:
            log("alone")
            return alone(rate, tokens)

        Link.ask, Rate.charge, Rate.correct, Rate._alone = asked, charged, corrected, on_its_own  # type: ignore[method-assign,assignment]

    def log(self, what: str, **facts: float) -> None:
        """One line, there even if the process is killed at this moment."""
        self.out.write(json.dumps({"what": what, **facts}) + "\n")
        self.out.flush()


async def work(url: str, seconds: float, out: TextIO, tasks: int) -> None:
    """One process."""
    end = time.monotonic() + seconds
    logged = Logged(out)
    words = WORDS // tasks
    messages = [Message("user", "word " * words)]
    async with RedisStore(url) as store:
        provider = RateLimit(Vendor(words), tokens_per_minute=LIMIT, store=store, name="account")

        async def ask() -> None:
            while time.monotonic() < end:
                begun = time.monotonic()
                try:
                    async with provider.stream("", messages) as chunks:
                        async for chunk in chunks:
                            if isinstance(chunk, UsageChunk):
                                logged.log("waited", seconds=time.monotonic() - begun)
                except (RateLimitError, StoreError) as error:
                    logged.log("refused", seconds=error.retry_after or 0.0)
                    await anyio.sleep(1)

        async with anyio.create_task_group() as group:
            for _ in range(tasks):
                group.start_soon(ask)


def start(url: str, seconds: float, number: int, folder: Path, tasks: int) -> subprocess.Popen[bytes]:
    """Half of them on asyncio, half on trio."""
    backend = ("asyncio", "trio")[number % 2]
    command = [
        sys.executable,
        __file__,
        "--child",
        url,
        str(seconds),
        str(folder / f"{number}.log"),
        backend,
        str(tasks),
    ]
    return subprocess.Popen(command)


def quantile(values: Sequence[float], part: float) -> float:
    """A value that this part of them does not exceed."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))] if values else 0.0


def within(sent: Sequence[tuple[float, int]], at: float) -> int:
    """Tokens of the window that ends at this moment."""
    return sum(tokens for time, tokens in sent if at - WINDOW < time <= at)


def report(folder: Path, took: float) -> None:
    """The table."""
    sent: list[tuple[float, int]] = []
    asked, waited = [], []
    refused = alone = 0
    for path in sorted(folder.glob("*.log")):
        mine: dict[int, tuple[float, int]] = {}
        for line in path.read_text("utf-8").splitlines():
            one = json.loads(line)
            match one["what"]:
                case "sent":
                    mine[one["n"]] = one["at"] / 1e3, one["tokens"]
                case "truth":
                    mine[one["n"]] = mine[one["n"]][0], min(mine[one["n"]][1], one["tokens"])
                case "asked":
                    asked.append(one["ms"])
                case "waited":
                    waited.append(one["seconds"])
                case "refused":
                    refused += 1
                case "alone":
                    alone += 1
        sent += mine.values()
    sent.sort()
    most = max(within(sent, at) for at, _ in sent)
    looks = [sent[0][0] + WINDOW + second for second in range(int(sent[-1][0] - sent[0][0] - WINDOW))]
    used = sum(within(sent, at) for at in looks) / len(looks) / LIMIT
    print(f"most in any {WINDOW:g} s: {most:,} of {LIMIT:,} tokens; used after the first: {used:.1%} on average")
    print(f"calls: {len(sent)}, asked {alone} times without Redis, refused {refused}")
    print(f"waited: p50 {quantile(waited, 0.5):.1f} s, p99 {quantile(waited, 0.99):.1f} s")
    rate = len(asked) / took / PROCESSES
    print(f"asked Redis: {rate:.1f} times a second and process, p50 {quantile(asked, 0.5):.2f} ms,", end=" ")
    print(f"p99 {quantile(asked, 0.99):.2f} ms, {len(asked) / len(sent):.1f} times a call")


def main(minutes: float, restart: str, tasks: int) -> None:
    """Start all, kill two, restart Redis, and read what they wrote."""
    seconds = minutes * 60
    settings = () if restart == "lost" else ("--appendonly", "yes")
    with tempfile.TemporaryDirectory() as name, redis_server(Path(name), *settings) as server:
        folder = Path(name)
        begun = time.monotonic()
        children = [start(server.url, seconds, number, folder, tasks) for number in range(PROCESSES)]
        time.sleep(seconds * 0.3)
        for child in children[:2]:
            child.kill()
        time.sleep(seconds * 0.1)
        if restart != "stays":
            server.stop(signal.SIGKILL if restart == "lost" else signal.SIGTERM)
            time.sleep(20 if restart == "away" else 0.5)
            server.start()
        for child in children:
            child.wait()
        report(folder, time.monotonic() - begun)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        with Path(sys.argv[4]).open("w", encoding="utf-8") as file:
            anyio.run(work, sys.argv[2], float(sys.argv[3]), file, int(sys.argv[6]), backend=sys.argv[5])
    else:
        minutes, restart, tasks = (*sys.argv[1:], *("3", "stays", str(TASKS))[len(sys.argv) - 1 :])
        main(float(minutes), restart, int(tasks))
