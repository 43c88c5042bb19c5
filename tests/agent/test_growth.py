"""What a turn costs does not grow with what was there before it, counted in calls of functions: no clock is asked."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from types import FrameType

import pytest

from looping import DONE, HI, call, calling, echo
from penstock import BaseProvider, Message, TextPart, ToolCallPart, ToolResultPart, run_tools, tool
from penstock.meter import Ledger, Metered
from penstock.middleware import CacheWatch, Observe, RateLimit, Retry
from penstock.testing import ScriptedProvider

MANY = 1_000


def steps(work: Callable[[], Awaitable[object]]) -> int:
    """How many functions are called, of Python's and of C's, when it is done a second time."""
    called = 0

    def seen(frame: FrameType, event: str, argument: object) -> None:
        nonlocal called
        called += event in ("call", "c_call")

    async def twice() -> None:
        await work()  # it imports, and remembers
        sys.setprofile(seen)
        try:
            await work()
        finally:
            sys.setprofile(None)

    asyncio.run(twice())
    return called


async def read(stream: AsyncGenerator[object, None]) -> None:
    """To its end."""
    async for _ in stream:
        pass


ECHO = tool(echo)


def test_a_call_costs_the_same_among_many() -> None:
    """Each result goes into the history at once, and with its turn's others into one message."""

    def turn_of(calls: int) -> int:
        answer = calling(*(call(f"c{number}") for number in range(calls)))
        provider = ScriptedProvider(answer, DONE, repeat=True)
        return steps(lambda: read(run_tools(provider, "", [HI], [ECHO])))

    assert turn_of(150) - turn_of(100) < 1.03 * (turn_of(100) - turn_of(50))


def test_a_turn_that_was_left_is_looked_at_once() -> None:
    """Half of its calls have their results."""

    def reopened(calls: int) -> int:
        asked = [ToolCallPart(id=f"c{number}", name="echo", arguments='{"text": "a"}') for number in range(calls)]
        given = [ToolResultPart(id=each.id, content="a") for each in asked[::2]]
        history = [HI, Message("assistant", asked), Message("user", given)]
        return steps(lambda: read(run_tools(ScriptedProvider(DONE, repeat=True), "", [*history], [ECHO])))

    assert reopened(150) - reopened(100) < 1.03 * (reopened(100) - reopened(50))


def long_history() -> list[Message]:
    """Of an agent."""
    history = [Message("user", "Begin.")]
    for number in range(MANY // 2):
        asked = ToolCallPart(id=f"c{number}", name="echo", arguments=f'{{"text": "{number}"}}')
        history.append(Message("assistant", [TextPart(f"Now {number}."), asked]))
        history.append(Message("user", [ToolResultPart(id=asked.id, content=str(number))]))
    return history


@pytest.mark.parametrize(
    ("layer", "most"),
    [
        pytest.param(lambda leaf: leaf, 0, id="nothing"),
        pytest.param(Retry, 0, id="Retry"),
        pytest.param(lambda leaf: Observe(leaf, lambda event: None), 0, id="Observe"),
        pytest.param(lambda leaf: RateLimit(leaf, tokens_per_minute=10**9), 3, id="RateLimit"),
        pytest.param(CacheWatch, 3, id="CacheWatch"),
        pytest.param(lambda leaf: Metered(leaf, Ledger()), 3, id="Metered"),
    ],
)
def test_a_history_is_looked_at_once(layer: Callable[[BaseProvider], BaseProvider], most: int) -> None:
    """Or not at all. most: functions that are called for each message that was there before."""

    def turn(history: Sequence[Message]) -> int:
        provider = layer(ScriptedProvider(DONE, repeat=True))
        return steps(lambda: read(run_tools(provider, "", [*history], [ECHO])))

    assert turn(long_history()) - turn([Message("user", "Begin.")]) <= most * MANY + 100
