"""What `run_tools` tells: the run, its turns, its tools; in the right task, and whatever way it ends."""

from __future__ import annotations

import subprocess
import sys
from contextvars import ContextVar
from typing import Any

import anyio
import pytest

from penstock import (
    BaseProvider,
    Message,
    Options,
    ServerError,
    StopChunk,
    TextChunk,
    ToolCallChunk,
    TurnLimitError,
    run_tools,
    tool,
)
from penstock.core.scope import Scope
from penstock.middleware import (
    Completed,
    Event,
    RunEnded,
    RunStarted,
    Started,
    ToolEnded,
    ToolStarted,
    TurnStarted,
)
from penstock.middleware.observe import listen
from penstock.testing import Hang, ScriptedProvider, ScriptedStep
from places import unmeasured
from playing import HI

pytestmark = pytest.mark.anyio

STORY = (RunStarted, TurnStarted, ToolStarted, ToolEnded, RunEnded)


def call(*names: str) -> list[ScriptedStep]:
    calls: list[ScriptedStep] = [ToolCallChunk(id=f"id {name}", name=name, arguments="{}") for name in names]
    return [*calls, StopChunk(reason="tool_calls")]


def told(events: list[Event]) -> list[Any]:
    """What is told of the run, in a few words."""
    words = []
    for event in events:
        match event:
            case RunStarted():
                words.append("run")
            case TurnStarted(turn=turn):
                words.append(f"turn {turn}")
            case ToolStarted(id=id, name=name):
                words.append(f"{name} ({id})")
            case ToolEnded(name=name, is_error=is_error):
                words.append(f"{name} {'failed' if is_error else 'did'}")
            case RunEnded(state=state, turns=turns, error=error):
                words.append(f"{state} {turns} {type(error).__name__ if error else ''}".rstrip())
    return words


def heard(*scripts: Any, repeat: bool = False) -> tuple[BaseProvider, list[Event]]:
    events: list[Event] = []
    provider = ScriptedProvider(*scripts, repeat=repeat, model="m")
    listen(provider, events.append)
    return provider, events


@tool
async def work() -> str:
    """Works."""
    return "done"


@tool
async def broken() -> str:
    """Breaks."""
    raise LookupError("secret result")


@tool
async def hang() -> str:
    """Never ends."""
    await anyio.sleep_forever()
    return "never"


async def go(provider: BaseProvider, *, leave_at: type | None = None, **more: Any) -> None:
    stream = run_tools(provider, "secret system", [Message("user", "secret prompt")], [work, broken, hang], **more)
    async for chunk in stream:
        if leave_at is not None and isinstance(chunk, leave_at):
            break
    await stream.aclose()


async def test_a_run_that_ends() -> None:
    """Each thing once and in order; a tool that fails says so, one that is not run is not told of."""
    provider, events = heard(call("work"), call("broken", "nothing"), HI)
    await go(provider)
    assert told(events) == [
        *("run", "turn 1", "work (id work)", "work did"),
        *("turn 2", "broken (id broken)", "broken failed", "turn 3", "done 3"),
    ]
    runs = {event.call for event in events if isinstance(event, RunStarted | ToolStarted | ToolEnded | RunEnded)}
    turns = [event.call for event in events if isinstance(event, TurnStarted)]
    assert len(runs) == 1
    assert turns == [event.call for event in events if isinstance(event, Started)]
    assert len({event.run for event in events}) == 1
    assert "secret" not in repr(events)
    assert all(event.seconds >= 0 for event in events if isinstance(event, ToolEnded))


async def test_a_run_that_fails() -> None:
    """With its error."""
    provider, events = heard(call("work"), [ServerError("broke")])
    with pytest.raises(ServerError):
        await go(provider)
    assert told(events)[-2:] == ["turn 2", "failed 2 ServerError"]
    provider, events = heard(call("work"), repeat=True)
    with pytest.raises(TurnLimitError):
        await go(provider, max_turns=2)
    assert told(events)[-1] == "failed 2 TurnLimitError"


async def test_a_run_that_is_left() -> None:
    """By its reader, or cancelled while a tool runs."""
    provider, events = heard([TextChunk("H"), Hang()])
    await go(provider, leave_at=TextChunk)
    assert told(events) == ["run", "turn 1", "left 1"]
    provider, events = heard(call("hang"))
    async with anyio.create_task_group() as group:
        group.start_soon(go, provider)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert told(events) == ["run", "turn 1", "hang (id hang)", "hang failed", "left 1"]


async def test_a_tool_that_is_too_late_has_failed() -> None:
    """It is told when the loop stops waiting for it."""
    provider, events = heard(call("hang"), HI)
    await go(provider, tool_timeout=0.001)
    assert told(events)[2:4] == ["hang (id hang)", "hang failed"]


async def test_a_listener_is_told_of_a_tool_in_its_own_task() -> None:
    """So what it sets there the tool finds, a tool in a thread too, and nobody else."""
    current: ContextVar[str] = ContextVar("current", default="nobody")
    seen: dict[str, str] = {}

    @tool
    async def here() -> str:
        """In the loop."""
        await anyio.wait_all_tasks_blocked()
        seen["here"] = current.get()
        return ""

    @tool
    def there() -> str:
        """In a thread."""
        seen["there"] = current.get()
        return ""

    def listener(event: Event) -> None:
        if isinstance(event, ToolStarted):
            current.set(event.name)
        elif isinstance(event, ToolEnded):
            seen[f"{event.name} ended"] = current.get()

    provider = ScriptedProvider(call("here", "there"), HI)
    listen(provider, listener)
    async for _ in run_tools(provider, "", [Message("user", "Hi")], [here, there]):
        assert current.get() == "nobody"
    assert seen == {"here": "here", "there": "there", "here ended": "here", "there ended": "there"}


async def test_the_listeners_of_a_scope_hear_of_the_run_too() -> None:
    """And of each call in it."""
    events: list[Event] = []
    provider, own = heard(call("work"), HI)
    await go(provider, options=Options(scope=Scope(call="c", listeners=(events.append,))))
    assert events == own
    assert [type(event) for event in events if isinstance(event, Completed | RunEnded)] == [
        Completed,
        Completed,
        RunEnded,
    ]


def test_who_does_not_listen_pays_nothing() -> None:
    """No middleware is loaded for a run that nobody hears of."""
    code = """
import sys, anyio
from penstock import Message, StopChunk, TextChunk, run_tools
from penstock.testing import ScriptedProvider
async def main():
    provider = ScriptedProvider([TextChunk("Hi"), StopChunk(reason="stop")])
    print(len([chunk async for chunk in run_tools(provider, "", [Message("user", "Hi")], [])]))
anyio.run(main)
print(*[name for name in sys.modules if name.startswith("penstock.middleware")])
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=unmeasured(), check=True)
    assert said.stdout == "2\n\n"
