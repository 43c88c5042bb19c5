"""Rows of a turn that comes after a pause, as one does whose tool takes a while: over TLS, on this machine.

Whoever has let go of the connection opens another. That costs CPU here, and over a network a round trip for TCP, one or
two for TLS, and the look-up of the name beside it.
"""

from __future__ import annotations

import asyncio
import functools
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from contenders import CONTENDERS, KEY, QUESTION, SYSTEM, Call, ours
from measuring import FAST, OURS, SDK, Bar, Bench, NotMeasuredError, Row, Spent, Taken
from server import GPT, MODEL, server

sys.path.append(str(Path(__file__).parents[1] / "support"))
from certificates import certificate

__all__ = ["ROWS"]

PAUSE: Final = 6.0
"""Seconds of the tool: more than the 5 that the HTTP client keeps a connection by itself."""
ALONE: Final = "httpx2"
KEPT: Final = {OURS, FAST}
"""Who must not open another connection; the others do, or the row says nothing."""


async def anthropic_sdk(url: str, stack: AsyncExitStack) -> Call:
    """The SDK's typed stream of messages, from a client as its users have it by default."""
    import anthropic  # here and not above: the rows without it do not pay for it

    sdk = await stack.enter_async_context(anthropic.AsyncAnthropic(api_key=KEY, base_url=url, max_retries=0))

    async def typed() -> AsyncIterator[object]:
        return await sdk.messages.create(model=MODEL, max_tokens=8192, system=SYSTEM, messages=asked(), stream=True)

    return typed


async def openai_sdk(url: str, stack: AsyncExitStack) -> Call:
    """The same of chat completions."""
    import openai  # here and not above: the rows without it do not pay for it

    sdk = await stack.enter_async_context(openai.AsyncOpenAI(api_key=KEY, base_url=url, max_retries=0))

    async def typed() -> AsyncIterator[object]:
        return await sdk.chat.completions.create(model=GPT, messages=asked(), stream=True)

    return typed


def asked() -> Any:
    """The question, as both APIs have it."""
    return [{"role": "user", "content": QUESTION[0].content}]


SDKS: Final = {"anthropic": anthropic_sdk, "chat": openai_sdk}


async def sides(name: str, url: str, stack: AsyncExitStack) -> dict[str, Call]:
    """Each with a client of its own."""
    import httpx2  # here and not above: the rows without it do not pay for it

    client = await stack.enter_async_context(httpx2.AsyncClient())
    body = CONTENDERS[name].encode(QUESTION)

    async def bytes_alone() -> AsyncIterator[object]:
        response = await client.post(f"{url}/call", content=body)
        return response.aiter_bytes()

    own = {OURS: ours(name, "httpx2"), FAST: ours(name, "aiohttp")}
    return {
        **{who: await stack.enter_async_context(side(url, QUESTION)) for who, side in own.items()},
        SDK: await SDKS[name](url, stack),
        ALONE: bytes_alone,
    }


async def turn(call: Callable[[], Awaitable[AsyncIterator[object]]]) -> Taken:
    """One answer, read to its end."""
    wall, cpu = time.perf_counter(), time.process_time()
    async for _ in await call():
        pass
    return Taken(time.process_time() - cpu, time.perf_counter() - wall)


async def rested(bench: Bench, name: str) -> Mapping[str, Spent]:
    """The second turn of so many clients of each side; all of them rest at the same time."""
    with tempfile.TemporaryDirectory() as folder:
        files = certificate(Path(folder))
        with server(files) as (url, connections), patch.dict("os.environ", SSL_CERT_FILE=str(files.certificate)):
            async with AsyncExitStack() as stack:
                clients = [await sides(name, f"{url}/{name}/thought", stack) for _ in range(bench.rounds)]
                for calls in clients:
                    for call in calls.values():
                        await turn(call)
                await asyncio.sleep(PAUSE)
                taken: dict[str, list[Taken]] = {who: [] for who in clients[0]}
                for calls in clients:
                    for who, call in calls.items():
                        before = connections()
                        taken[who].append(await turn(call))
                        if (connections() == before) != (who in KEPT):
                            raise NotMeasuredError(f"{who} opened {connections() - before} connections after the pause")
    return {who: Spent.of(rounds) for who, rounds in taken.items()}


ROWS: Final = [
    Row(
        f"a turn after a tool of {PAUSE:g} s, over TLS: {vendor}",
        "ms",
        functools.partial(rested, name=name),
        [Bar(1.0, SDK)],
        page=True,
        wall=True,
    )
    for name, vendor in (("anthropic", "Anthropic"), ("chat", "OpenAI"))
]
