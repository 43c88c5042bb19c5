"""Rows of a request: a history of 2,000 messages, from the call until the server has it and begins its answer."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping
from typing import Final

from contenders import Call, alone, mixed_history, sides
from measuring import SDK, Bar, Bench, NotMeasuredError, Row, Spent, Taken, Work, by_turns
from penstock.core.chunks import UsageChunk
from streaming import opened

__all__ = ["ROWS"]

BARS: Final = {"anthropic": 0.25, "chat": 0.01, "responses": 0.01}


def beginning(call: Call) -> Work:
    """Until the first event, or the first bytes, of the answer: the server begins it when it has read it all.

    That there will be a bill is told as soon as the head is there, and is no event.
    """

    async def work() -> Taken:
        wall, cpu = time.perf_counter(), time.process_time()
        taken = None
        async for each in await call():
            if type(each) is not UsageChunk:
                taken = taken or Taken(time.process_time() - cpu, time.perf_counter() - wall)
        if taken is None:
            raise NotMeasuredError("nothing came")
        return taken

    return work


async def request(bench: Bench, name: str) -> Mapping[str, Spent]:
    """The whole way down: what the transport alone takes is to move the bytes."""
    history = mixed_history(2_000, "anthropic" if name == "anthropic" else "openai")
    bare = {who: side for who, side in alone(name, "least").items() if who in ("httpx2", "aiohttp")}
    async with opened(bench, name, "least", {**sides(name), **bare}, history) as calls:
        return await by_turns({who: beginning(call) for who, call in calls.items()}, bench.rounds)


ROWS: Final = [
    Row(
        f"sending 2,000 messages (0.9 MB): {name}",
        "ms",
        functools.partial(request, name=name),
        [Bar(most, SDK)],
        page=True,
        wall=True,
    )
    for name, most in BARS.items()
]
