"""A server that keeps books of its own, and the programs that call it through a ledger: run by tests, in processes."""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import anyio
import msgspec

from penstock import (
    AnthropicProvider,
    BaseProvider,
    BudgetExceededError,
    Deadlines,
    Message,
    Model,
    ModelInfo,
    Options,
    ProviderConfig,
    ProviderError,
    TextChunk,
    UsageChunk,
    collect,
)
from penstock.meter import Budget, Entry, Ledger, Metered
from penstock.middleware import Retry
from penstock.testing import Cut, Hang, Pause, Request, ScriptedProvider, ServerReply
from penstock.testing.anthropic import anthropic_error, anthropic_events
from playing import HI, OPEN, SETTLED

__all__ = ["INFO", "Priced", "Server", "ask", "booked", "config", "cost", "whole"]

INFO: Final = ModelInfo(
    input_price=Decimal(3), output_price=Decimal(15), cache_writes_price=Decimal("3.75"),
    cache_reads_price=Decimal("0.3"), max_tokens=1_000, context_window=200_000,
)  # fmt: skip
LIMIT: Final = Decimal("2.00")


class Priced(ScriptedProvider):
    """A script of a model that has prices."""

    def get_model(self) -> Model:
        """See BaseProvider."""
        return Model("m", INFO)


def cost(dollars: str, **counts: Any) -> UsageChunk:
    """Usage that costs so much."""
    return UsageChunk(known_cost=Decimal(dollars), **counts)


def whole(dollars: str, **counts: int) -> list[Any]:
    """An answer that costs so much."""
    return [OPEN, cost(dollars, **counts), SETTLED, *HI]


async def booked(ledger: Ledger, **where: str) -> list[Entry]:
    """All rows."""
    return [entry async for entry in ledger.entries(where=where)]


def config(url: str) -> ProviderConfig:
    """The server's model."""
    deadlines = Deadlines(connect=60, first_chunk=60, stall=60, total=600)
    return ProviderConfig(model_id="claude-sonnet-4-5", api_key="k", base_url=url, model_info=INFO, deadlines=deadlines)


class Server:
    """Answers by what the prompt begins with, and counts all that it reports.

    whole: an answer of any length that `max_tokens` allows. over: one that is longer. left: one that never ends.
    cut: one that breaks off. refused: always. retried: refused when it is asked the first time.
    """

    def __init__(self, *, pause: float = 0.0) -> None:
        self.counts: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self._pause = pause

    @property
    def dollars(self) -> Decimal:
        """What all that is reported costs."""
        prices = {"input_tokens": INFO.input_price, "output_tokens": INFO.output_price}
        prices |= {"cache_write_tokens": INFO.cache_writes_price, "cache_read_tokens": INFO.cache_reads_price}
        return sum(
            (self.counts[name] * (price or Decimal(0)) / 1_000_000 for name, price in prices.items()), Decimal(0)
        )

    def __call__(self, request: Request) -> ServerReply:
        body = msgspec.json.decode(request.body)
        text = _text(body)
        kind = text.split()[0]
        self.asked[text] += 1
        chance = random.Random(text)
        if kind == "refused" or (kind == "retried" and self.asked[text] == 1):
            return anthropic_error(529, "overloaded_error", "busy")
        usage = {
            "input_tokens": chance.randint(5, 60),
            "cache_creation_input_tokens": chance.choice([0, 0, 7]),
            "cache_read_input_tokens": chance.choice([0, 30]),
            "output_tokens": 1,
        }
        most = body["max_tokens"]
        written = chance.randint(1, most) if kind != "over" else 3 * most
        events: list[Any] = list(
            anthropic_events({"type": "text", "text": "word " * 4}, usage=usage, final_usage={"output_tokens": written})
        )
        ends = kind in ("whole", "over", "retried")
        self._count(usage, written if ends else 1)
        if not ends:
            events = [*events[:4], Hang() if kind == "left" else Cut()]
        events.insert(2, Pause(self._pause * chance.random()))
        return ServerReply(events)

    def _count(self, usage: dict[str, int], written: int) -> None:
        self.counts["input_tokens"] += usage["input_tokens"]
        self.counts["cache_write_tokens"] += usage["cache_creation_input_tokens"]
        self.counts["cache_read_tokens"] += usage["cache_read_input_tokens"]
        self.counts["output_tokens"] += written


def _text(body: dict[str, Any]) -> str:
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else str(content[-1]["text"])


async def ask(provider: BaseProvider, text: str, options: Options | None = None) -> None:
    """One call; what begins with `left` is left after its first words."""
    stream = provider.stream("", [Message("user", text)], options)
    async with stream as chunks:
        if not text.startswith("left"):
            await collect(chunks)
            return
        async for chunk in chunks:
            if isinstance(chunk, TextChunk):
                return


async def spend(url: str, path: str, folder: str, name: str, tasks: int, calls: int) -> None:
    """So many tasks that call one after the other until the budget is spent; prints how often each thing happened."""
    happened: Counter[str] = Counter()
    async with Ledger(path) as ledger, AnthropicProvider(config(url)) as leaf:
        provider = Metered(leaf, ledger, budgets=[Budget(LIMIT, per="day", max_wait=300)])
        await _together(Path(folder), name)

        async def work(task: int) -> None:
            for call in range(calls):
                try:
                    await ask(provider, f"whole {name} {task} {call}")
                    happened["done"] += 1
                except BudgetExceededError as error:
                    happened["refused for holds" if error.retryable else "refused"] += 1
                    return

        async with anyio.create_task_group() as group:
            for task in range(tasks):
                group.start_soon(work, task)
    print(msgspec.json.encode(dict(happened)).decode())


async def _together(folder: Path, name: str) -> None:
    """Wait until the test has seen that all are here: one may be slow to begin."""
    (folder / name).touch()
    while not (folder / "go").exists():  # noqa: ASYNC110
        await anyio.sleep(0.01)


async def mix(url: str, path: str, folder: str, name: str, tasks: int, calls: int) -> None:
    """Calls of every kind."""
    kinds = ["whole"] * 16 + ["left", "cut", "refused", "retried"]
    async with Ledger(path) as ledger, AnthropicProvider(config(url)) as leaf:
        provider = Metered(Retry(leaf, attempts=2, base=0.001), ledger)

        async def work(task: int) -> None:
            for call in range(calls):
                with suppress(ProviderError):
                    await ask(provider, f"{kinds[(call + task) % len(kinds)]} {name} {task} {call}")

        async with anyio.create_task_group() as group:
            for task in range(tasks):
                group.start_soon(work, task)


PROGRAMS: Final = {"spend": spend, "mix": mix}


def main(arguments: Sequence[str]) -> None:
    """PROGRAM BACKEND URL LEDGER FOLDER NAME TASKS CALLS."""
    program, backend, url, path, folder, name, tasks, calls = arguments
    anyio.run(PROGRAMS[program], url, path, folder, name, int(tasks), int(calls), backend=backend)


if __name__ == "__main__":
    main(sys.argv[1:])
