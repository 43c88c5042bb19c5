"""Rows of a stream: what one event costs, and whether it costs more in a long stream than in a short one."""

from __future__ import annotations

import asyncio
import functools
import resource
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from contenders import CONTENDERS, QUESTION, Call, Side, alone, ours, sides
from measuring import FAST, OURS, SDK, Bar, Bench, NotMeasuredError, Row, Spent, Taken, Work, by_turns
from penstock.core.messages import Message
from server import PLANS, events

__all__ = ["KINDS", "LENGTH", "ROWS", "UVLOOP", "asking", "opened", "waiting"]

KINDS: Final = {
    "one": "an event read alone",
    "ones": "an event in bulk, one a chunk",
    "twenties": "an event in bulk, twenty a chunk",
}
ALONE: Final = [Bar(1.5, "aiohttp", FAST), Bar(9, "aiohttp", FAST, more=True), Bar(9, "httpx2", OURS, more=True)]
"""A ratio, and microseconds: what is above the transport is ours."""
BARS: Final[dict[str, dict[str, Sequence[Bar]]]] = {
    "one": {
        name: [Bar(most, SDK, FAST), *ALONE]
        for name, most in {"anthropic": 0.42, "chat": 0.3, "responses": 0.3}.items()
    },
    "ones": {name: [Bar(most, SDK)] for name, most in {"anthropic": 0.5, "chat": 0.12, "responses": 0.16}.items()},
    "twenties": {name: [Bar(most, SDK)] for name, most in {"anthropic": 0.15, "chat": 0.04, "responses": 0.05}.items()},
}


def waits() -> int:
    """How often this process has waited."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw


def asking(call: Call, least: int) -> Work:
    """Reads one answer to its end. least: of what comes, or this measures something else."""

    async def work() -> None:
        came = 0
        async for _ in await call():
            came += 1
        if came < least:
            raise NotMeasuredError(f"{came} chunks came, expected {least} or more")

    return work


def waiting(work: Work, least: int) -> Work:
    """The same; this process must have waited so often meanwhile: once for each piece that is to be read alone.

    On a machine that has much else to do pieces come together, so a round has a few attempts.
    """

    async def watched() -> Taken:
        for _ in range(10):
            before, wall, cpu = waits(), time.perf_counter(), time.process_time()
            await work()
            taken = Taken(time.process_time() - cpu, time.perf_counter() - wall)
            if (waited := waits() - before) >= 0.95 * least:
                return taken
        raise NotMeasuredError(f"only {waited} waits for {least} HTTP chunks")

    return watched


@asynccontextmanager
async def opened(
    bench: Bench,
    name: str,
    key: str,
    found: Mapping[str, Side],
    history: Sequence[Message] = QUESTION,
    *,
    kept: bool = True,
) -> AsyncIterator[dict[str, Call]]:
    """All sides of a row. kept: each is to have made one connection in the end, and kept it from call to call."""
    before = bench.connections()
    async with AsyncExitStack() as stack:
        url = f"{bench.url}/{name}/{key}"
        yield {who: await stack.enter_async_context(side(url, history)) for who, side in found.items()}
    if (made := bench.connections() - before) != len(found) and kept:
        raise NotMeasuredError(f"{made} connections for {len(found)} sides")


async def stream(bench: Bench, name: str, key: str) -> Mapping[str, Spent]:
    """Each event of a plan, with whoever reads it."""
    plan, count, bare = PLANS[key], events(name, key), alone(name, key)
    async with opened(bench, name, key, {**sides(name), **bare}) as calls:
        works = {who: asking(call, 1 if who in bare else plan.deltas) for who, call in calls.items()}
        if plan.pause:
            works = {who: waiting(work, count // plan.per_chunk) for who, work in works.items()}
        return await by_turns(works, bench.rounds, count)


async def faster_loop(bench: Bench, name: str) -> Mapping[str, Spent]:
    """Each event read alone, on uvloop: in a thread, as this one has its own loop, which only waits meanwhile."""
    import uvloop  # here and not above: the rows without it do not need it

    return await asyncio.to_thread(uvloop.run, stream(bench, name, "one"))


async def lengthening(bench: Bench, name: str) -> Mapping[str, Spent]:
    """An event of a long stream, and one of a stream a tenth as long: a cost that grows shows here."""
    taken: dict[str, Spent] = {}
    for key, who in (("many", OURS), ("some", SHORT)):
        async with opened(bench, name, key, {who: ours(name)}) as calls:
            work = asking(calls[who], PLANS[key].deltas)
            taken |= await by_turns({who: work}, max(bench.rounds // 4, 1), PLANS[key].deltas)
    return taken


SHORT: Final = "a stream of 20,000"
ROWS: Final = [
    Row(
        f"{kind}: {name}",
        "µs",
        functools.partial(stream, name=name, key=key),
        BARS.get(key, {}).get(name, ()),
        page=True,
    )
    for key, kind in KINDS.items()
    for name in CONTENDERS
]
UVLOOP: Final = [
    Row(f"an event read alone, on uvloop: {name}", "µs", functools.partial(faster_loop, name=name), page=True)
    for name in CONTENDERS
]
LENGTH: Final = [
    Row(
        f"an event, in a stream of 200,000: {name}",
        "µs",
        functools.partial(lengthening, name=name),
        [Bar(1.2, SHORT)],
        page=True,
    )
    for name in CONTENDERS
]
