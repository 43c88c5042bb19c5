"""MCP servers that do something wrong, as child processes: one clear line for each, nothing hangs, nothing stays."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from typing import Any, Final

import anyio
import pytest

from leftovers import nothing_left, tasks
from mcp_servers import bad_command
from patience import PATIENCE, SHORT, until
from penstock import (
    ConfigError,
    McpTool,
    Message,
    StopChunk,
    TextChunk,
    TextPart,
    ToolCallChunk,
    ToolResult,
    ToolResultChunk,
    mcp_tools,
    run_tools,
)
from penstock.testing import ScriptedProvider

pytestmark = pytest.mark.anyio

FINE: Final = ToolResult(content=[TextPart("fine")])


def server(
    folder: Path, kind: str = "is right", *only: str, **options: Any
) -> AbstractAsyncContextManager[list[McpTool]]:
    """The tools of a server that does *kind*, or some of them."""
    patient = {"connect": PATIENCE, "deadline": PATIENCE, "only": only or None, **options}
    return mcp_tools(command=bad_command(folder, kind), **patient)


def state_of(pid: int) -> list[str]:
    """The fields of a process's state in /proc, from the letter on; empty if there is none, or a dead one."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return fields if fields[0] != "Z" else []


def children() -> list[int]:
    """The processes that this one has started and not waited for."""
    found: list[int] = []
    for thread in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError):  # a thread that has just ended
            found += map(int, (thread / "children").read_text().split())
    return found


def started(before: list[int]) -> list[int]:
    """Those that have come since: other tests of this process may have left some."""
    return [pid for pid in children() if pid not in before]


def group_of(leader: int) -> list[int]:
    """The processes of a group."""
    pids = [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]
    return [pid for pid in pids if state_of(pid)[2:3] == [str(leader)]]


@pytest.fixture(autouse=True)
def _no_child_stays() -> Iterator[None]:
    """Of any test."""
    before = children()
    yield
    assert started(before) == []


@pytest.mark.parametrize(
    ("kind", "connect", "said"),
    [
        ("crashes", PATIENCE, "it ended with status 1; stderr: no database; the token is ***"),
        ("says something else", PATIENCE, "it ended with status 0"),
        ("is mute", 1.0, "it did not open within 1 seconds"),
        ("refuses", PATIENCE, "no licence"),
        ("is of 1999", PATIENCE, "Unsupported protocol version from the server: 1999"),
        ("answers in part", PATIENCE, "its answer does not fit the protocol: capabilities: Field required"),
    ],
)
async def test_a_server_that_does_not_open_is_said_with_its_last_words(
    kind: str, connect: float, said: str, tmp_path: Path
) -> None:
    """In one line, without its secrets."""
    before = tasks()
    with pytest.raises(ConfigError) as caught:
        async with server(tmp_path, kind, connect=connect, env={"TOKEN": "secret-1234567"}):
            pass
    assert caught.value.message.startswith(f"MCP server `{Path(sys.executable).name} {tmp_path}/bad.py {kind}`: ")
    assert said in caught.value.message
    assert "secret" not in caught.value.message
    assert tasks() == before


@pytest.mark.parametrize(
    ("command", "cwd", "said"),
    [
        pytest.param(["no-such-program"], None, "`no-such-program`: it cannot be started: .*No such", id="no program"),
        pytest.param([sys.executable], "/no/such", "cannot be started: .*/no/such", id="no folder"),
        pytest.param([sys.executable, "a\0b"], None, "cannot be started: embedded null byte", id="a zero byte"),
    ],
)
async def test_a_program_that_cannot_be_started(command: list[str], cwd: str | None, said: str) -> None:
    """It is said, with what is not there."""
    with pytest.raises(ConfigError, match=said):
        async with mcp_tools(command=command, cwd=cwd):
            pass


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "either a `command` or a `url`"),
        ({"command": ["a"], "url": "http://x"}, "either a `command` or a `url`"),
        ({"command": "npx server"}, r'expected a list, as \["python", "server.py"\]'),
        ({"command": []}, "expected a list"),
        ({"command": ["a"], "headers": {}}, "`headers` goes with a `url`"),
        ({"url": "http://x", "env": {}}, "`env` goes with a `command`"),
        ({"url": "http://x", "cwd": "."}, "`cwd` goes with a `command`"),
        ({"url": "http://x", "headers": {"X-Key": "secret\n"}}, "^the value of `X-Key` in `headers`[^\n]*$"),
        ({"command": ["a"], "only": "add"}, "`only` is 'add', expected a list of names"),
        ({"command": ["a"], "connect": 0}, "`connect` is 0"),
        ({"command": ["a"], "deadline": None}, "`deadline` is None"),
    ],
)
def test_wrong_arguments_are_said_at_once(arguments: dict[str, Any], said: str) -> None:
    """Before anything is started."""
    with pytest.raises(ConfigError, match=said):
        mcp_tools(**arguments)


def test_the_extra_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that brings it."""
    monkeypatch.delitem(sys.modules, "penstock.agent.mcp.session", raising=False)
    monkeypatch.setitem(sys.modules, "mcp.client.session", None)
    with pytest.raises(ConfigError, match=r"pip install 'penstock\[mcp\]'"):
        mcp_tools(command=["a"])


@pytest.mark.parametrize(
    ("kind", "names", "logged"),
    [
        ("has pages", ["go0", "go1", "go2"], []),
        ("lists without end", ["go"], ["without its tool 'go': another is called 'go'"]),
        ("has no list", [], []),
        (
            "lists nonsense",
            ["bare", "no_type_febc8ca6", "go"],
            [
                "without its tool 'a list': its schema is a list, expected an object",
                "without its tool 'number': its schema is that of a number, expected an object's",
                "without its tool 'typo': tool `typo`: `$.a` has the type 'strng'",
                "without its tool 'go': another is called 'go'",
            ],
        ),
    ],
)
async def test_a_list_that_is_wrong_in_parts_is_right_in_the_others(
    kind: str, names: list[str], logged: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What is left out is said, once."""
    async with server(tmp_path, kind) as tools:
        assert [each.name for each in tools] == names
        for each in tools:
            assert await each.run("{}") == FINE
    lines = [each.getMessage() for each in caplog.records if each.name == "penstock"]
    assert [words in line for words, line in zip(logged, lines, strict=True)] == [True] * len(logged)


CALLS: Final[dict[str, ToolResult | str]] = {
    "go": FINE,
    "changes": FINE,
    "refuses": "Unknown tool",
    "refuses_silently": "error -5",
    "gives_no_object": "the answer cannot be read",
    "gives_nothing": ToolResult(content=""),
    "gives_half_a_character": ToolResult(content=[TextPart("a\ufffd")]),
    "gives_nonsense": ToolResult(
        content=[
            TextPart("[content of the kind None, which is not known]"),
            TextPart("[content of the kind 'hologram', which is not known]"),
            TextPart("fine"),
        ]
    ),
    "asks_for_more": "The server asks for more (`input_required`), which is not supported.",
}


async def test_what_a_call_does_wrong_is_its_own_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The server lives, and the next call goes well; log lines between its messages are said once."""
    async with nothing_left(), server(tmp_path, "logs to stdout", *CALLS) as tools:
        found = {tool.name: await tool.run("{}") for tool in tools}
        assert await tools[0].run("{}") == FINE
    assert found == {
        name: ToolResult(content=each, is_error=True) if isinstance(each, str) else each for name, each in CALLS.items()
    }
    lines = [each.getMessage() for each in caplog.records if each.name == "penstock"]
    assert ["stdout" in lines[0], "now has other tools" in lines[1], len(lines)] == [True, True, 2]


async def test_a_call_that_takes_too_long_ends(tmp_path: Path) -> None:
    """As an error that the model reads; those that follow go well."""
    async with nothing_left(), server(tmp_path, "is right", "go", "hangs", deadline=SHORT) as [go, hangs]:
        late = ToolResult(content="it did not finish within 0.3 seconds", is_error=True)
        assert await hangs.run("{}") == late
        with anyio.fail_after(PATIENCE):
            while (result := await go.run("{}")) == late:  # on a machine that has much else to do
                pass
        assert result == FINE


@pytest.mark.parametrize(
    ("name", "first", "then"),
    [
        ("dies", "it ended with status 3; stderr: Segmentation ]0;x fault", "it ended with status 3; stderr: Segm"),
        ("dies_and_leaves_a_child", "it ended with status 3", "it ended with status 3"),
        ("closes_its_stdout", "it closed its stdout", "it closed its stdout"),
        ("writes_without_end", "it wrote a line of over 67,108,864 bytes", "it wrote a line of over"),
        ("answers_and_dies", "fine", "it ended with status 0"),
    ],
)
async def test_a_server_that_ends_in_a_call_ends_the_call(name: str, first: str, then: str, tmp_path: Path) -> None:
    """And all that follow, at once; what it answered before is not lost."""
    async with server(tmp_path, "is right", name) as [tool]:
        for words in (first, then):
            result = await tool.run("{}")
            assert words in str(result.content)
            assert result.is_error == (words != "fine")


async def test_a_server_that_is_killed_ends_all_calls(tmp_path: Path) -> None:
    """As by the kernel, for want of memory."""
    results: list[ToolResult] = []
    before = children()

    async def call(tool: McpTool) -> None:
        results.append(await tool.run("{}"))

    async with nothing_left(), server(tmp_path, "is right", "hangs") as [tool], anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(call, tool)
        await anyio.wait_all_tasks_blocked()
        [pid] = started(before)
        os.kill(pid, signal.SIGKILL)
    assert ["it was killed by signal 9" in str(each.content) for each in results] == [True] * 3


async def test_servers_are_closed_in_any_order_by_any_task(tmp_path: Path) -> None:
    """Also while one of them is called by another."""
    async with nothing_left():
        contexts = [server(tmp_path, "is right", name) for name in ("go", "hangs", "go")]
        [one], [hanging], [other] = [await each.__aenter__() for each in contexts]
        async with anyio.create_task_group() as group:
            group.start_soon(contexts[0].__aexit__, None, None, None)
        assert "it is closed" in str((await one.run("{}")).content)
        results: list[ToolResult] = []

        async def call() -> None:
            results.append(await hanging.run("{}"))

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            await anyio.wait_all_tasks_blocked()
            await contexts[1].__aexit__(None, None, None)
        assert ["it is closed" in str(each.content) for each in results] == [True]
        assert await other.run("{}") == FINE
        await contexts[2].__aexit__(None, None, None)


async def test_cancelling_leaves_nothing(tmp_path: Path) -> None:
    """While it opens and while it is open; what the body raises comes out as it is."""
    before = children()
    async with nothing_left():
        with anyio.CancelScope() as scope:
            async with server(tmp_path):
                scope.cancel()
                await anyio.sleep_forever()
        with anyio.move_on_after(SHORT):
            async with server(tmp_path, "is mute"):
                pass
        with pytest.raises(ZeroDivisionError):
            async with server(tmp_path):
                _ = 1 / 0
        assert started(before) == []


async def test_all_that_a_server_has_started_is_killed(tmp_path: Path) -> None:
    """Its own children too, which would hold its pipes."""
    before = children()
    async with server(tmp_path, "is right", "has_a_child") as [tool]:
        [leader] = started(before)
        await tool.run("{}")
        theirs = group_of(leader)
        assert len(theirs) == 2
    await until(lambda: not any(map(state_of, theirs)))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_server_ends_with_the_loop_that_forgot_it(backend: str, tmp_path: Path) -> None:
    """Which cancels the task that owns it."""
    kept = server(tmp_path)
    before = children()

    async def forget() -> list[int]:
        await kept.__aenter__()
        return started(before)

    [pid] = anyio.run(forget, backend=backend)
    assert state_of(pid) == []


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_server_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    """As far as the end of its stdin tells it."""
    program = f"""
import anyio
from penstock import mcp_tools

async def main():
    async with mcp_tools(command={bad_command(tmp_path, "is right")!r}, only=["says_where"]) as [tool]:
        print((await tool.run("{{}}")).content[0].text, flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""
    async with await anyio.open_process([sys.executable, "-c", program]) as parent:
        said = await parent.stdout.receive()  # type: ignore[union-attr]
        pid = int(said.split()[0])
        assert state_of(pid)
        parent.kill()
        await until(lambda: not state_of(pid))


async def test_an_agent_uses_it(tmp_path: Path) -> None:
    """In its folder; `only` and `prefix` choose and name, and a failure is a result that the model gets."""
    folder = tmp_path / "here"
    folder.mkdir()
    with pytest.raises(ConfigError, match=r"has no tool 'gow'; did you mean 'go'\?"):
        async with server(tmp_path, "is right", "gow"):
            pass
    calls = [ToolCallChunk(id=name, name=f"it_{name}", arguments="{}") for name in ("says_where", "refuses")]
    provider = ScriptedProvider(
        [*calls, StopChunk(reason="tool_calls")], [TextChunk("Done."), StopChunk(reason="stop")]
    )
    async with server(tmp_path, "is right", "says_where", "refuses", cwd=folder, prefix="it_") as tools:
        stream = run_tools(provider, "", [Message("user", "go")], tools)
        where, refused = [chunk async for chunk in stream if isinstance(chunk, ToolResultChunk)]
    part = where.content[0]
    assert isinstance(part, TextPart)
    assert part.text.endswith(f" {folder}")
    assert (refused.content, refused.is_error) == ("Unknown tool", True)
