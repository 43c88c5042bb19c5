"""Rows of a program's start: in fresh interpreters, whose own start does not count, with all bytecode compiled before.

The names come when they are asked for, so beside the import alone stands what a program asks for, and all of them. The
first call imports the SDK: how long that takes, and for how long the event loop stands still meanwhile.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Final

from measuring import OURS, SDK, Bar, Bench, NotMeasuredError, Row, Spent, Taken, Work, by_turns, plainly
from server import GPT, MODEL

__all__ = ["ROWS"]

FLOOR: Final = "import msgspec, anyio"
LEAST: Final = "both packages"
IMPORTS: Final = {
    "import penstock": 2.0,
    "from penstock import AnthropicProvider, run_tools, tool": 2.0,
    "from penstock import *": 2.5,
}
HEAVY: Final = {"aiohttp", "anthropic", "httpcore2", "httpx", "httpx2", "openai", "pydantic"}
"""What may not come with it."""

BUSY: Final = 2.0
"""Times of its CPU that a first call may take at most: beyond, it waited for other processes."""
ATTEMPTS: Final = 5
"""For each round."""

FIRST: Final = """
import asyncio, sys, time

wall, cpu, longest = time.perf_counter(), time.process_time(), 0.0

async def tick():
    global longest
    while True:
        before = time.perf_counter()
        await asyncio.sleep(0.005)
        longest = max(longest, time.perf_counter() - before - 0.005)

async def ours(name, url):
    import penstock
    own = {"wire": "chat"} if name == "OpenAI" else {}
    config = penstock.ProviderConfig(model_id=MODEL, api_key="no-key-is-needed", base_url=url, **own)
    async with getattr(penstock, f"{name}Provider")(config) as provider:
        async for _ in provider.create_message("", [penstock.Message("user", "Hi")]):
            pass

async def sdk(name, url):
    from importlib import import_module
    made = getattr(import_module(name.lower()), f"Async{name}")
    asked = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 100, "stream": True}
    async with made(api_key="no-key-is-needed", base_url=url, max_retries=0) as client:
        ask = client.messages if name == "Anthropic" else client.chat.completions
        async for _ in await ask.create(**asked):
            pass

async def main(side, name, url):
    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0)
    await {"ours": ours, "sdk": sdk}[side](name, url)
    await asyncio.sleep(0)
    print(time.process_time() - cpu, time.perf_counter() - wall, longest)

asyncio.run(main(*sys.argv[1:]))
"""
"""Prints the CPU and the wall time of a small call with all imports, and the loop's longest silence meanwhile."""


def fresh(statement: str, cache: str) -> Work:
    """Runs a statement in an interpreter of its own, which says what it took. cache: the folder of bytecode."""
    code = (
        "import sys, time; wall, cpu = time.perf_counter(), time.process_time(); "
        f"{statement}; cpu, wall = time.process_time() - cpu, time.perf_counter() - wall; "
        f"print(cpu, wall, *sorted({HEAVY} & sys.modules.keys()))"
    )

    def work() -> Taken:
        cpu, wall, *loaded = said(cache, code)
        if loaded:
            raise NotMeasuredError(f"{statement} loads {', '.join(loaded)}")
        return Taken(float(cpu), float(wall))

    return plainly(work)


def said(cache: str, *arguments: str) -> list[str]:
    """What a program prints in an interpreter of its own, in words."""
    # An environment may forbid bytecode, and the cost would then be that of the compiler.
    env = {**os.environ, "PYTHONPYCACHEPREFIX": cache, "PYTHONDONTWRITEBYTECODE": ""}
    command = [sys.executable, "-c", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout.split()


async def first(bench: Bench, name: str, model: str, *, silence: bool) -> Mapping[str, Spent]:
    """The first call of a process, with what it imports; or the loop's longest silence in it, with all wall time.

    A process that waits for others on a busy machine says nothing of either.
    """

    def asking(side: str, cache: str) -> Work:
        url = f"{bench.url}/{'anthropic' if name == 'Anthropic' else 'chat'}/small"

        def work() -> Taken:
            for _ in range(ATTEMPTS):
                cpu, wall, longest = map(float, said(cache, FIRST.replace("MODEL", repr(model)), side, name, url))
                if wall <= BUSY * cpu:
                    return Taken(longest if silence else cpu, wall)
            raise NotMeasuredError(f"the machine is busy: {wall:.1f} s for {cpu:.1f} s of CPU")

        return plainly(work)

    with tempfile.TemporaryDirectory() as cache:
        # Whoever uses an SDK alone has it imported before there is a loop: what its import stops there says nothing.
        asked = {OURS: asking("ours", cache)} | ({} if silence else {SDK: asking("sdk", cache)})
        return await by_turns(asked, min(bench.rounds, 3))


async def imported(bench: Bench, statement: str) -> Mapping[str, Spent]:
    """Against the packages that no import of ours could do without."""
    with tempfile.TemporaryDirectory() as cache:
        return await by_turns({OURS: fresh(statement, cache), LEAST: fresh(FLOOR, cache)}, bench.rounds)


def row(what: str, name: str, model: str, *, silence: bool = False) -> Row:
    """One of a first call."""
    measure = functools.partial(first, name=name, model=model, silence=silence)
    return Row(what, "ms", measure, page=True, wall=True)


ROWS: Final = [
    Row(f"`{statement}`", "ms", functools.partial(imported, statement=statement), [Bar(most, LEAST)], page=True)
    for statement, most in IMPORTS.items()
] + [
    row("the first call of a process: Anthropic", "Anthropic", MODEL),
    row("the first call of a process: OpenAI", "OpenAI", GPT),
    row("the event loop's longest silence in the first call: Anthropic", "Anthropic", MODEL, silence=True),
    row("the event loop's longest silence in the first call: OpenAI", "OpenAI", GPT, silence=True),
]
