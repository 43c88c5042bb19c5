"""Retry(shown=False): nobody is shown the chunks as they come, so that a whole call can be tried again."""

from __future__ import annotations

from typing import Any

import pytest

from penstock import (
    InvalidRequestError,
    ReasoningChunk,
    ServerError,
    StopChunk,
    StreamInterruptedError,
    TextChunk,
    ToolCallChunk,
    UsageChunk,
    collect,
    run_tools,
    tool,
)
from penstock.middleware import AttemptFailed, Event, Retry, RetryScheduled
from penstock.testing import ScriptedProvider, ScriptedStep
from playing import ASK, HI, STOP, Clock, bill, outcome, used

pytestmark = pytest.mark.anyio

CUT = StreamInterruptedError("cut")
CALL = ToolCallChunk(id="c", name="count", arguments="{}")


def unshown(provider: ScriptedProvider, **settings: Any) -> Retry:
    clock = Clock()
    return Retry(provider, clock=clock, sleep=clock.sleep, shown=False, **settings)


TRIES: dict[str, list[list[ScriptedStep]]] = {
    "text, then a cut": [[used(5), TextChunk("Hel"), CUT], [used(7), *HI]],
    "thoughts, then a failure": [[ReasoningChunk(text="Hm"), used(5), ServerError("broke")], [*HI[:1], used(7), STOP]],
    "a call, then a cut": [[used(5), CALL, CUT], [used(7), *HI]],
    "two tries that broke": [[TextChunk("H"), used(2), CUT], [used(3), TextChunk("He"), CUT], [used(7), *HI]],
    "nothing, then a cut": [[used(5), CUT], [used(7), *HI]],
    "no failure": [[used(12), *HI]],
}


@pytest.mark.parametrize("tries", TRIES.values(), ids=TRIES)
async def test_the_whole_call_is_tried_again(tries: list[list[ScriptedStep]]) -> None:
    """The last answer alone comes, and the usage of all tries is the bill."""
    chunks, error = await outcome(unshown(ScriptedProvider(*tries)))
    assert error is None
    assert [chunk for chunk in chunks if not isinstance(chunk, UsageChunk)] == HI
    assert bill(chunks).input_tokens == 12


@pytest.mark.parametrize("last", [CUT, InvalidRequestError("bad")], ids=["no try is left", "not to be retried"])
async def test_what_the_last_try_said_comes_before_its_error(last: ScriptedStep) -> None:
    """So that whoever reads the whole has the part that came; the error carries the usage of all tries."""
    provider = ScriptedProvider([used(5), TextChunk("H"), CUT], [used(7), TextChunk("He"), last])
    chunks, error = await outcome(unshown(provider, attempts=2))
    assert [chunk for chunk in chunks if not isinstance(chunk, UsageChunk)] == [TextChunk("He")]
    assert error is not None
    assert error.usage.input_tokens == 12
    assert bill(chunks) == error.usage


async def test_usage_is_not_held_back() -> None:
    """What is spent is known at once; the text waits until it is whole."""
    provider = ScriptedProvider([used(5), TextChunk("Hi"), used(1), STOP])
    chunks, error = await outcome(unshown(provider))
    assert error is None
    assert [type(chunk) for chunk in chunks] == [UsageChunk, UsageChunk, TextChunk, StopChunk]


async def test_events_tell_of_each_try() -> None:
    """As always."""
    events: list[Event] = []
    await outcome(unshown(ScriptedProvider([TextChunk("H"), CUT], HI), listener=events.append))
    assert [type(event) for event in events] == [AttemptFailed, RetryScheduled]


async def test_collect_has_one_answer() -> None:
    """And not the pieces of several."""
    reply = await collect(unshown(ScriptedProvider([TextChunk("Hel"), CUT], HI)).create_message("", ASK))
    assert reply.text == "Hi"


async def test_no_tool_runs_twice() -> None:
    """A call of a try that broke is never run."""
    ran: list[int] = []

    @tool
    def count() -> str:
        """Counts."""
        ran.append(1)
        return "one"

    done = StopChunk(reason="tool_calls")
    provider = ScriptedProvider([CALL, CUT], [CALL, done], [TextChunk("H"), CUT], HI)
    async for _ in run_tools(unshown(provider), "", [*ASK], [count]):
        pass
    assert ran == [1]
    assert len(provider.calls) == 4
