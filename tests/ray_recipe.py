"""Run the programs of the guide's page beyond-one-machine, kill each on its way, and count what was asked and paid.

python tests/ray_recipe.py [PROMPTS]

Ray Data: 10,000 prompts to Parquet, killed at a half and started anew, then once more when all is done. DBOS: an agent
that is killed inside the tool of its second turn. `nox -s ray` installs what it needs.
"""

from __future__ import annotations

import os
import select
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import anyio
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parent / "support"))

from anyio.abc import Process

from examples import blocks
from penstock.meter import Ledger
from penstock.testing import Emulator, Request, ServerReply, anthropic_error, anthropic_message
from tables import GUIDE

PAGE: Final = GUIDE / "beyond-one-machine.md"
INPUT_PRICE, OUTPUT_PRICE = Decimal(3), Decimal(15)
TOO_LONG: Final = 7
"""Of a thousand prompts, the one that its model refuses."""
PATIENCE: Final = 600
"""Seconds for one run of a program."""
ENVIRONMENT: Final = {
    **os.environ,
    "ASK_KEY": "sk-of-the-company",
    "PYTHONWARNINGS": "ignore",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_OVERRIDE_RESOURCES": '{"CPU": 4}',  # places, not cores: actors that wait leave room for what reads and writes
}


def priced(tokens_in: int, tokens_out: int) -> Decimal:
    """US dollars."""
    return (tokens_in * INPUT_PRICE + tokens_out * OUTPUT_PRICE) / 1_000_000


def said(request: Request) -> str:
    """The text of the first message of a request."""
    content = msgspec.json.decode(request.body)["messages"][0]["content"]
    return str(content if isinstance(content, str) else content[0]["text"])


class Answers:
    """Answers `Question 17`, each at a price of its own, and counts."""

    def __init__(self) -> None:
        self.asked: Counter[int] = Counter()

    def cost(self, number: int) -> Decimal:
        """What one answer costs, in US dollars."""
        return Decimal(0) if number % 1000 == TOO_LONG else priced(number % 97 + 1, number % 89 + 1)

    def __call__(self, request: Request) -> ServerReply:
        """One request's answer."""
        number = int(said(request).split()[1])
        self.asked[number] += 1
        if number % 1000 == TOO_LONG:
            return anthropic_error(400, "invalid_request_error", "prompt is too long: 300000 tokens > 200000 maximum")
        usage = {"input_tokens": number % 97 + 1, "output_tokens": 1}
        text = {"type": "text", "text": f"Answer {number}"}
        return ServerReply(anthropic_message(text, usage=usage, final_usage={"output_tokens": number % 89 + 1}))


def turns(asked: list[int]) -> Callable[[Request], ServerReply]:
    """A model that calls the tool in its first two turns. asked: gets how many messages each request has."""

    def answer(request: Request) -> ServerReply:
        count = len(msgspec.json.decode(request.body)["messages"])
        asked.append(count)
        given = {"file": f"{count}.txt", "line": f"line {count}"}
        call = {"type": "tool_use", "id": f"toolu_{count}", "name": "note", "input": given}
        block, reason = (call, "tool_use") if count < 5 else ({"type": "text", "text": "Both are noted."}, "end_turn")
        usage = {"input_tokens": count, "output_tokens": 1}
        final = {"output_tokens": 1}
        return ServerReply(anthropic_message(block, usage=usage, final_usage=final, stop_reason=reason))

    return answer


def prepare(folder: Path, program: str, url: str) -> Sequence[str]:
    """Write a program of the page and its models.json; how it is started."""
    code = next(block.code for block in blocks(PAGE.read_text("utf-8")) if block.file == program)
    (folder / program).write_text(code)
    prices = {"inputPrice": INPUT_PRICE, "outputPrice": OUTPUT_PRICE}
    settings = {"modelId": "m", "apiKey": "${ASK_KEY}", "baseUrl": url, "modelInfo": prices}
    models = {"active": "small", "models": {"small": {"provider": "anthropic", "providerConfig": settings}}}
    (folder / "models.json").write_bytes(msgspec.json.encode(models))
    return [sys.executable, program]


def family(pid: int) -> Iterator[int]:
    """A process and all that it has started, and those have."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(entry.read_text("utf-8").rpartition(")")[2].split()[1])
        except OSError:  # it has ended meanwhile
            continue
        parents.setdefault(parent, []).append(int(entry.parent.name))
    left = [pid]
    while left:
        left += parents.get(one := left.pop(), ())
        yield one


def megabytes(pids: Iterator[int]) -> int:
    """What they take together; memory that they share is counted once."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text("utf-8").splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total // 1024


def kill(pid: int) -> None:
    """All of a program at once, as when the machine dies."""
    for one in list(family(pid)):
        with suppress(ProcessLookupError):
            os.kill(one, 9)


async def until(process: Process, ready: Callable[[], bool]) -> int:
    """Wait until *ready* or until the program has ended; the most memory that it took, in MB."""
    most = 0
    with anyio.fail_after(PATIENCE):
        while process.returncode is None and not ready():
            most = max(most, await anyio.to_thread.run_sync(lambda: megabytes(family(process.pid))))
            await anyio.sleep(0.2)
    return most


def check(holds: bool, what: str) -> None:
    """Say what does not hold, and end."""
    if not holds:
        raise SystemExit(f"wrong: {what}")


async def run(command: Sequence[str], folder: Path, ready: Callable[[], bool] = lambda: False) -> tuple[float, int]:
    """Run a program until it ends, or kill it when it is *ready*; seconds, and the most megabytes."""
    begin = time.perf_counter()
    with (folder / "log.txt").open("wb") as log:
        process = await anyio.open_process(command, cwd=folder, env=ENVIRONMENT, stdout=log, stderr=log)
        try:
            most = await until(process, ready)
            ended = process.returncode
        finally:
            kill(process.pid)
            await process.wait()
    if ended is not None:
        check(ended == 0, (folder / "log.txt").read_text("utf-8")[-4000:])
    return time.perf_counter() - begin, most


async def ray(folder: Path, prompts: int) -> None:
    """Three runs of the same job, and what came of them."""
    answers, out = Answers(), folder / "out"
    table = {"id": list(map(str, range(prompts))), "prompt": [f"Question {number}" for number in range(prompts)]}
    pq.write_table(pa.table(table), folder / "prompts.parquet")
    async with Emulator(then=answers) as emulator:
        command = [*prepare(folder, "ask.py", emulator.url), str(folder / "prompts.parquet"), str(out)]
        print("run               seconds  prompts asked  a second  asked again  files   MB")
        half = [lambda: answers.asked.total() >= prompts // 2, lambda: False, lambda: False]
        for name, ready in zip(("killed at a half", "started anew", "and once more"), half, strict=True):
            before, again = answers.asked.total(), again_of(answers)
            seconds, most = await run(command, folder, ready)
            asked = answers.asked.total() - before
            print(
                f"{name:<16}  {seconds:>7.1f}  {asked:>13,}  {asked / seconds:>8.0f}  {again_of(answers) - again:>11,}"
                f"  {len(list(out.glob('*'))):>5}  {most:>3}",
                flush=True,
            )
            emulator.exchanges.clear()
        check(asked == 0, f"{asked} prompts were asked again by a job that had done all")
    rows = pq.read_table(out).to_pylist()
    check(sorted(int(row["id"]) for row in rows) == list(range(prompts)), "a prompt is missing, or there twice")
    check(answers.asked.keys() == set(range(prompts)), "not all were asked")
    for row in rows:
        number = int(row["id"])
        refused = number % 1000 == TOO_LONG
        check(Decimal(row["cost"]) == answers.cost(number), f"{row}: the cost is {answers.cost(number)}")
        check(row["answer"] == (None if refused else f"Answer {number}"), f"{row}: another's answer")
        check((row["error"] or "").startswith("TokenLimitError: ") == refused, f"{row}: the error")
    bill = sum(Decimal(row["cost"]) for row in rows)
    lost = sum(answers.cost(number) * (count - 1) for number, count in answers.asked.items())
    served = sum(answers.cost(number) * count for number, count in answers.asked.items())
    check(bill + lost == served, f"{bill} and {lost} are not {served}")
    errors = sum(row["error"] is not None for row in rows)
    print(f"{len(rows):,} rows, {errors} of them errors: ${bill}, and ${lost} for the kill: ${served} were served")


def again_of(answers: Answers) -> int:
    """How many requests were for a prompt that had been asked before."""
    return answers.asked.total() - len(answers.asked)


async def dbos(folder: Path) -> None:
    """An agent of three turns whose second tool never returns, and the same run in another process."""
    asked: list[int] = []
    async with Emulator(then=turns(asked)) as emulator:
        command = [*prepare(folder, "agent.py", emulator.url), "run-1", "Note two lines."]
        with full_pipe(folder / "3.txt") as opened:  # by the tool, the second time
            seconds, _ = await run(command, folder, opened)
        check(asked == [1, 3], f"{asked}: requests before the kill")
        anew, _ = await run(command, folder)
    check(asked == [1, 3, 5], f"{asked}: requests of three turns")
    lines = [(folder / name).read_text("utf-8") for name in ("1.txt", "3.txt")]
    check(lines == ["line 1\n", "line 3\n"], f"{lines}: the first tool ran once, and the second again")
    async with Ledger(folder / "spend.db") as ledger:
        costs = [entry.usage.cost async for entry in ledger.entries()]
    check(costs == [priced(count, 1) for count in asked], f"{costs}: booked")
    check("Both are noted." in (folder / "log.txt").read_text("utf-8"), "what it answered")
    print(
        f"DBOS: killed in turn 2 after {seconds:.1f} s, done {anew:.1f} s after its start: 3 turns, 3 requests, 3 rows"
    )


@contextmanager
def full_pipe(path: Path) -> Iterator[Callable[[], bool]]:
    """A file that can be opened, and to write to it takes for ever; gives whether somebody has opened it."""
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(4096))
    os.close(writer)
    look = select.poll()
    look.register(reader)
    try:
        yield lambda: not look.poll(0)[0][1] & select.POLLHUP  # which says that nobody writes
    finally:
        os.close(reader)
        path.unlink()


async def main(prompts: int) -> None:
    """Both, each in a folder of its own; in /tmp, as the sockets of Ray want short names."""
    with TemporaryDirectory(prefix="ray", dir="/tmp") as name:
        folder = Path(name)
        ENVIRONMENT["RAY_TMPDIR"] = name
        for part in ("dbos", "data"):
            (folder / part).mkdir()
        await dbos(folder / "dbos")
        await ray(folder / "data", prompts)


if __name__ == "__main__":
    anyio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
