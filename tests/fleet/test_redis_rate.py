"""What a process thinks that it has charged, and what Redis has: the same, whatever is asked while a question is away.

In Redis itself, and in a model of its script in Python, of which schedules by the hundred cost little.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import msgspec
import pytest

from penstock.fleet import redis_rate
from penstock.fleet.redis_link import Link
from penstock.fleet.redis_rate import Rate, Spent
from penstock.fleet.redis_scripts import RATE, State
from penstock.middleware.limit_store import Limits
from redis_server import needs_redis, redis_server

Script = Callable[[dict[str, Any]], list[int]]
LIMIT = 1_000_000
LIMITS = Limits(LIMIT, LIMIT)
NOW = 1_764_000_000_123


class Model:
    """The script of rates for one process with limits far away, within one moment."""

    def __init__(self) -> None:
        self.known = 0
        self.cells: Counter[str] = Counter()

    def __call__(self, said: dict[str, Any]) -> list[int]:
        """As the script."""
        if said["seq"] != self.known:
            return [State.APART, self.known, NOW]
        for cell, amount in said["fix"]:
            self.cells[f"t{cell}"] -= amount
        charges = [(age, *amounts) for age, *amounts in said["post"]] + ([(0, 1, said["ask"])] if "ask" in said else [])
        for age, requests, tokens in charges:
            self.cells[f"r{(NOW - age) // 1000}"] += requests
            self.cells[f"t{(NOW - age) // 1000}"] += tokens
        self.known = said["upto"] + ("ask" in said)
        spent = [sum(value for cell, value in self.cells.items() if cell[0] == kind) for kind in "rt"]
        return [State.DONE, self.known, NOW, NOW // 1000, 0, 0, 1, LIMIT, LIMIT, *spent]


class Between:
    """A link whose questions and answers take their time; some are put twice, and some find everything forgotten."""

    away = settle = 0.0
    is_local = True

    def __init__(self, script: Script, chance: random.Random, *, twice: float = 0.0) -> None:
        self.script = script
        self.forgets = False
        self.told_to_settle = 0
        self.spent: list[int] = []
        self._chance = chance
        self._twice = twice

    async def ask(self, script: str, keys: Sequence[str], **said: object) -> list[int]:
        """See Link."""
        whole = {"limits": LIMITS, **said, "me": "a", "now": NOW}
        await self._time()
        found = self.script(whole)
        if self._chance.random() < self._twice:
            found = self.script(whole)
        await self._time()
        self.spent = found[9:]
        return found

    def forgot(self) -> None:
        """See Link."""
        self.told_to_settle += 1

    def compare(self, *_: object) -> None:
        """See Link."""

    async def _time(self) -> None:
        for _ in range(self._chance.randrange(4)):
            await asyncio.sleep(0)


class Truth:
    """What one call is to stand for: more is charged at once, less is given back of what was charged first."""

    def __init__(self, tokens: int) -> None:
        self.first, self.later = tokens, 0

    def correct(self, tokens: int) -> None:
        """It is so much now."""
        more = tokens - self.first - self.later
        self.later += max(0, more)
        self.first = max(0, self.first + min(0, more))


async def many_calls(link: Between, chance: random.Random, forget: Callable[[], object] | None) -> None:
    """Twelve tasks with calls that are corrected up and down; at the end Redis is told the last."""
    rate = Rate(cast("Link", link), "n", ("{t}", "{t}:who", "{t}:first"))
    truths: list[Truth] = []

    async def call() -> None:
        truth = Truth(chance.randrange(1, 500))
        truths.append(truth)
        ticket = (await rate.charge(LIMITS, truth.first, 0.0)).ticket
        assert isinstance(ticket, Spent)
        for _ in range(chance.randrange(4)):
            await link._time()
            tokens = chance.randrange(1000)
            rate.correct(ticket, tokens)
            truth.correct(tokens)
            if forget is not None and chance.random() < 0.1:
                forget()

    async def task() -> None:
        for _ in range(5):
            await call()

    async with asyncio.TaskGroup() as group:
        for _ in range(12):
            group.create_task(task())
    for _ in range(2):  # the first takes corrections along, and may bring some about
        await rate.flush()
    link.spent.append(sum(truth.first + truth.later for truth in truths))


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Corrections wait for nobody, so that they go between the calls."""
    monkeypatch.setattr(redis_rate, "_SOON", 0.0)


@pytest.fixture(scope="module")
def in_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Script]]:
    """Makes the script of a Redis that is empty."""
    with redis_server(tmp_path_factory.mktemp("redis")) as server:

        def script(said: dict[str, Any]) -> list[int]:
            keys = "{t}", "{t}:who", "{t}:first"
            found = server.say("EVAL", RATE, "3", *keys, msgspec.json.encode(said).decode())
            assert found.startswith("*"), found
            return [int(line[1:]) for line in found.split("\r\n")[1:] if line]

        def empty() -> Script:
            server.say("FLUSHALL")
            return script

        yield empty


@pytest.mark.parametrize("seed", range(40))
def test_redis_has_what_was_charged_and_corrected(seed: int) -> None:
    """To the token, and nobody is told to settle, as nothing was forgotten."""
    chance = random.Random(seed)
    link = Between(Model(), chance)
    asyncio.run(many_calls(link, chance, None))
    requests, tokens, truth = link.spent
    assert (requests, tokens, link.told_to_settle) == (60, truth, 0)


@needs_redis
@pytest.mark.parametrize("seed", range(3))
def test_so_has_redis_itself(in_redis: Callable[[], Script], seed: int) -> None:
    """As its model."""
    chance = random.Random(seed)
    link = Between(in_redis(), chance)
    asyncio.run(many_calls(link, chance, None))
    requests, tokens, truth = link.spent
    assert (requests, tokens, link.told_to_settle) == (60, truth, 0)


@pytest.mark.parametrize("seed", range(20))
def test_a_question_that_is_put_twice_is_done_once(seed: int) -> None:
    """The connection breaks before its answer is heard. Of tokens more may stay charged, as it is not known where."""
    chance = random.Random(seed)
    link = Between(Model(), chance, twice=0.3)
    asyncio.run(many_calls(link, chance, None))
    requests, tokens, truth = link.spent
    assert (requests, link.told_to_settle) == (60, 0)
    assert tokens >= truth


@pytest.mark.parametrize("seed", range(20))
def test_what_was_forgotten_is_told_as_it_is_by_then(seed: int) -> None:
    """Each charge once, whatever was in flight; and it is seen that something was forgotten."""
    chance = random.Random(seed)
    model = Model()
    link = Between(model, chance)
    asyncio.run(many_calls(link, chance, lambda: model.__init__()))  # type: ignore[misc]
    requests, tokens, truth = link.spent
    assert (requests, tokens) == (60, truth)
    assert link.told_to_settle
