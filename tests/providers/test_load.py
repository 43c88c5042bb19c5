"""Hundreds of streams at once, a fifth of them broken in random ways: nothing crosses over, and nothing is left."""

from __future__ import annotations

import gc
import random
import re
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import anyio
import anyio.to_thread
import msgspec
import pytest

from leftovers import nothing_left
from patience import PATIENCE
from penstock import BaseProvider, Deadlines, Message, Options, ProviderError, StopChunk, UsageChunk
from penstock.testing import Cut, Emulator, Hang, Pause, Request, Reset, ServerReply, Step
from reading import text_of, usage_of
from three_wires import WIRES, ThreeWire, each_wire, read

pytestmark = [pytest.mark.anyio, pytest.mark.both_transports]

MOST = ("anthropic", "asyncio")
"""Where 300 run at once; elsewhere, for the time it takes, 100."""
KINDS = 7  # of errors, at least
# All of them begin at once, so the last is served when the others have been: on a busy machine that is minutes.
STORM = Deadlines(connect=10 * PATIENCE, first_chunk=10 * PATIENCE, stall=10 * PATIENCE)


def said(number: int) -> str:
    """The answer to one question, like no other."""
    return f"You said {number}. " * (1 + number % 7)


def broken(wire: ThreeWire, number: int, dice: random.Random) -> ServerReply:
    """One of many ways not to answer."""
    events = wire.answer(said(number))
    begin: list[Step] = [*events[: dice.randrange(1, len(events) - 2)]]
    text: list[Step] = [*events[: dice.randrange(wire.begun + 1, len(events) - 2)]]
    pause = Pause(dice.random() / 20)
    return dice.choice([
        ServerReply([*begin, pause, Reset()]),
        ServerReply([*begin, Cut()]),
        ServerReply(begin),
        ServerReply([*begin, pause, b'event: error\ndata: {"error":{"type":"overloaded_error","message":"busy"}}\n\n']),
        ServerReply([*begin, b"event: response.output_text.delta\ndata: {]\n\n", b"data: {]\n\n", Hang()]),
        ServerReply([*text, Hang()]),
        ServerReply(before=[pause, Cut()]),
        ServerReply(before=[Reset()]),
        wire.error(dice.choice([400, 401, 404, 429, 500, 529]), f"no answer to {number}"),
        ServerReply([b"<html>busy</html>"], 503, {"content-type": "text/html"}, whole=True),
    ])  # fmt: skip


def script(wire: ThreeWire) -> tuple[Callable[[Request], ServerReply], Callable[[int], bool], Callable[[int], bool]]:
    """A server that answers each question by its number; which of them it does not answer, and which for ever."""

    def breaks(number: int) -> bool:
        return number % 5 == 0

    def hangs(number: int) -> bool:
        return breaks(number) and Hang() in broken(wire, number, thrown(number)).body

    def thrown(number: int) -> random.Random:
        return random.Random(f"{wire.name} {number}")

    def reply(request: Request) -> ServerReply:
        found = re.search(rb"number (\d+)!", request.body)
        assert found is not None
        number = int(found[1])
        dice = thrown(number)
        if breaks(number):
            return broken(wire, number, dice)
        body, steps = b"".join(wire.answer(said(number))), list[Step]()
        while body:
            size = dice.randrange(1, 400)
            steps += [body[:size], Pause(dice.random() / 50)]
            body = body[size:]
        return ServerReply(steps)

    return reply, breaks, hangs


@each_wire
async def test_many_streams_at_once(wire: ThreeWire, anyio_backend: str) -> None:
    """Each ends in a StopChunk or in an error of ours; texts and usage are exact; and one more call works."""
    count = 300 if (wire.name, anyio_backend) == MOST else 100
    reply, breaks, hangs = script(wire)
    texts: dict[int, str] = {}
    errors: dict[int, ProviderError] = {}
    usages: dict[int, tuple[UsageChunk, UsageChunk]] = {}

    async def one(provider: BaseProvider, number: int) -> None:
        chunks = []
        try:
            # Only what ends in silence is not waited for.
            limits = msgspec.structs.replace(STORM, stall=1) if hangs(number) else STORM
            asked = provider.stream("", [Message("user", f"number {number}!")], Options(deadlines=limits))
            async with asked as stream:
                async for chunk in stream:
                    chunks.append(chunk)  # noqa: PERF401 - what came before an error is looked at
        except ProviderError as error:
            errors[number] = error
            usages[number] = error.usage, usage_of(chunks)
            assert said(number).startswith(text_of(chunks))
            return
        assert isinstance(chunks[-1], StopChunk)
        texts[number] = text_of(chunks)

    async with (
        nothing_left(),
        Emulator(reply) as emulator,
        wire.provider(emulator.url, deadlines=STORM) as provider,
    ):
        await one(provider, 1)
        async with anyio.create_task_group() as group:
            for number in range(count):
                group.start_soon(one, provider, number)
        await one(provider, count + 1)
        with anyio.fail_after(10 * PATIENCE):
            for exchange in emulator.exchanges:
                await exchange.ended.wait()
    assert sorted(errors) == [number for number in range(count) if breaks(number)]
    assert texts == {number: said(number) for number in (*range(count), count + 1) if not breaks(number)}
    assert all(told == counted for told, counted in usages.values())
    assert len({(type(error), error.status) for error in errors.values()}) >= KINDS


def ways(wire: ThreeWire) -> list[ServerReply]:
    """An answer, and some of the ways not to have one."""
    events = wire.answer(said(1))
    return [
        ServerReply(events),
        ServerReply([*events[: wire.begun + 1], Cut()]),
        ServerReply(before=[Cut()]),
        wire.error(500, "broken"),
        ServerReply([b"<html>busy</html>"], 503, {"content-type": "text/html"}, whole=True),
    ]


async def test_calls_leave_nothing_in_memory() -> None:
    """Nor sockets, nor tasks: a hundred more leave no objects."""
    wire, asked = WIRES[0], 0

    def reply(request: Request) -> ServerReply:
        nonlocal asked
        asked += 1
        return replies[asked % len(replies)]

    async def some(provider: BaseProvider) -> int:
        for _ in range(20 * len(replies)):
            with suppress(ProviderError):
                await read(provider)
        for exchange in emulator.exchanges:
            await exchange.ended.wait()
        emulator.exchanges.clear()
        gc.collect()
        return len(gc.get_objects())

    replies = ways(wire)
    async with nothing_left(), Emulator(reply) as emulator, wire.provider(emulator.url, deadlines=STORM) as provider:
        for _ in range(2):  # what is made once is there then
            before = await some(provider)
        assert await some(provider) - before < 100, "a call leaves less than one"


def test_each_thread_has_its_own_loop_and_client(anyio_backend: str) -> None:
    """And all share one provider."""
    wire, texts, shared = WIRES[0], list[str](), list[BaseProvider]()

    async def ask() -> None:
        for _ in range(5):
            texts.append(text_of(await read(shared[0])))
        await shared[0].aclose()

    async def serve() -> None:
        async with Emulator(lambda request: ServerReply(wire.answer("Hello"))) as emulator, nothing_left():
            shared.append(wire.provider(emulator.url, deadlines=STORM))
            async with anyio.create_task_group() as group:
                for _ in range(4):
                    group.start_soon(anyio.to_thread.run_sync, partial(anyio.run, ask, backend=anyio_backend))

    anyio.run(serve, backend=anyio_backend)
    assert texts == ["Hello"] * 20
    assert not shared[0].is_open
