"""The ways out of a call whose script is some usage, a text, and then nothing for ever, or its end."""

from __future__ import annotations

import gc
from contextlib import suppress

import anyio
import anyio.lowlevel
import pytest

from patience import PATIENCE
from penstock import BaseProvider, TextChunk
from playing import ASK, collect, outcome


async def by_completing(provider: BaseProvider) -> None:
    await collect(provider)


async def by_an_error(provider: BaseProvider) -> None:
    await outcome(provider)


async def by_a_break(provider: BaseProvider) -> None:
    async with provider.stream("", ASK) as stream:
        async for chunk in stream:
            if isinstance(chunk, TextChunk):
                break


async def by_aclose(provider: BaseProvider) -> None:
    stream = provider.create_message("", ASK)
    for _ in range(2):
        await anext(stream)
    await stream.aclose()


async def by_an_exception_in_the_loop(provider: BaseProvider) -> None:
    with suppress(LookupError):
        async with provider.stream("", ASK) as stream:
            async for chunk in stream:
                if isinstance(chunk, TextChunk):
                    raise LookupError("the caller's own")


async def by_a_timeout(provider: BaseProvider) -> None:
    async def read_until_it_hangs() -> None:
        with anyio.fail_after(PATIENCE) as scope:
            async with provider.stream("", ASK) as stream:
                async for chunk in stream:
                    if isinstance(chunk, TextChunk):
                        scope.deadline = anyio.current_time()

    with pytest.raises(TimeoutError):
        await read_until_it_hangs()


async def by_cancelling(provider: BaseProvider) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(collect, provider)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()


async def by_dropping_it(provider: BaseProvider) -> None:
    stream = provider.create_message("", ASK)
    for _ in range(2):
        await anext(stream)
    del stream
    gc.collect()
    for _ in range(10):
        await anyio.lowlevel.checkpoint()
