"""Rows of memory: what a process grows by over one long stream."""

from __future__ import annotations

import asyncio
import functools
import gc
import os
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Final

from contenders import CONTENDERS, QUESTION, ours
from measuring import OURS, Bar, Bench, NotMeasuredError, Row, Spent, Spread
from server import PLANS, SPAWN

__all__ = ["ROWS"]


async def remembering(bench: Bench, name: str) -> Mapping[str, Spent]:
    """Once, in a fresh process: in this one it could hide in memory that was freed before."""
    with ProcessPoolExecutor(1, mp_context=SPAWN) as pool:
        grown = await asyncio.wrap_future(pool.submit(growth, name, bench.url))
    return {OURS: Spent(Spread.of([grown]))}


def growth(name: str, url: str) -> float:
    """Most megabytes that this process held during the long stream above what it held after a warm-up."""

    def resident() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    async def most(key: str) -> float:
        peak, left = 0.0, PLANS[key].deltas
        async with ours(name)(f"{url}/{name}/{key}", QUESTION) as call:
            async for _ in await call():
                left -= 1
                if left % 10_000 == 0:
                    peak = max(peak, resident())
        if left > 0:
            raise NotMeasuredError(f"{left} chunks of {PLANS[key].deltas} did not come")
        return peak

    asyncio.run(most("warm"))
    gc.collect()
    before = resident()
    return asyncio.run(most("long")) - before


ROWS: Final = [
    Row(
        f"growth of memory over 1,000,000 events: {name}",
        "MB",
        functools.partial(remembering, name=name),
        [Bar(5)],
        page=True,
    )
    for name in CONTENDERS
]
