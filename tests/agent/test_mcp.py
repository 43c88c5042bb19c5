"""The tools of a real MCP server, as a child and behind a URL: what they give, and that nothing stays behind."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from mcp.client import session

from leftovers import nothing_left
from mcp_servers import good_command, serving
from patience import PATIENCE, SHORT, until
from penstock import (
    DocumentPart,
    ImagePart,
    McpTool,
    Options,
    TextPart,
    Tool,
    ToolResult,
    estimate_tokens,
    mcp_tools,
)

Open = Callable[..., AbstractAsyncContextManager[dict[str, McpTool]]]


@pytest.fixture(params=["a child", "behind a URL"])
def opening(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """How the calculator's tools come: by the server's own names."""

    @asynccontextmanager
    async def opened(**options: Any) -> AsyncIterator[dict[str, McpTool]]:
        async with nothing_left(), mcp_tools(**where, connect=PATIENCE, **options) as tools:
            yield {each.server_name: each for each in tools}

    where: dict[str, Any] = {}
    if request.param == "a child":
        where = {"command": good_command(tmp_path), "env": {"CITY": "Delft"}}
        yield opened
    else:
        with serving(tmp_path) as url:
            where = {"url": url, "headers": {"X-City": "Delft"}}
            yield opened


async def text_of(tool: McpTool, **arguments: object) -> str:
    """The text of a call's result, which must be right."""
    result = await tool.run(msgspec.json.encode(arguments).decode())
    assert not result.is_error
    part = result.content[0]
    assert isinstance(part, TextPart)
    return part.text


@pytest.mark.anyio
async def test_all_that_a_server_does(
    opening: Open, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One server for all of it, as each takes seconds to start."""
    monkeypatch.setenv("MY_API_KEY", "sk-1234567890")
    async with opening(deadline=PATIENCE) as tools:
        await _it_lists_them(tools)
        await _results_are_ours(tools)
        await _it_has_its_own_environment(tools)
        await _many_at_a_time(tools)
        await _a_cancelled_call_is_told_to_the_server(tools)
        await _a_change_is_told(tools, caplog)
    late = await tools["add"].run('{"a": 1, "b": 2}')
    assert late.is_error
    assert "it is closed" in str(late.content)


async def _it_lists_them(tools: Mapping[str, McpTool]) -> None:
    add, odd = tools["add"], tools["show all"]
    assert (add.name, odd.name) == ("add", "show_all_adfc9a39")
    assert add.definition.description == "Add two numbers."  # type: ignore[union-attr]
    assert add.annotations["readOnlyHint"] is True
    assert odd.annotations["destructiveHint"] is True
    cost = estimate_tokens("", [], Options(tools=[each.definition for each in tools.values()])).tokens
    assert 50 < cost < 5000


async def _results_are_ours(tools: Mapping[str, McpTool]) -> None:
    assert await text_of(tools["add"], a=2, b=3) == "5"
    refused = await tools["add"].run('{"a": 2}')
    assert (refused.is_error, "`b`" in str(refused.content)) == (True, True)
    failed = await tools["fail"].run("{}")
    assert (failed.is_error, "fail" in str(failed.content)) == (True, True)
    assert await tools["show all"].run("{}") == ToolResult(
        content=[
            TextPart("text"),
            ImagePart(data=b"x", media_type="image/png"),
            TextPart("[audio, audio/wav, 1 bytes: it cannot be shown]"),
            DocumentPart(data=b"inside", media_type="text/plain", title="file:///a.txt"),
        ]
    )


async def _it_has_its_own_environment(tools: Mapping[str, McpTool]) -> None:
    said = await tools["header"].run('{"name": "x-city"}')  # which fails where there is no request with headers
    there = {"CITY": "Delft"} if said.content == [TextPart("Delft")] else {}
    if not there:  # it is a process of its own
        there = msgspec.json.decode(await text_of(tools["environment"]), type=dict[str, str])
        assert there.keys() <= {"PATH", "HOME", "LANG", "CITY", "LC_CTYPE"}  # the last is Python's own
    assert there["CITY"] == "Delft"


async def _many_at_a_time(tools: Mapping[str, McpTool]) -> None:
    sums: dict[int, str] = {}

    async def one(number: int) -> None:
        sums[number] = await text_of(tools["add"], a=number, b=number)

    async with anyio.create_task_group() as group:
        for number in range(50):
            group.start_soon(one, number)
    assert sums == {number: str(2 * number) for number in range(50)}


async def _a_cancelled_call_is_told_to_the_server(tools: Mapping[str, McpTool]) -> None:
    with anyio.fail_after(PATIENCE):
        while "waiting" not in str((await tools["was_stopped"].run("{}")).content):
            with anyio.move_on_after(SHORT):  # again, if that was too short for it to begin
                await tools["wait"].run('{"seconds": 1000}')


async def _a_change_is_told(tools: Mapping[str, McpTool], caplog: pytest.LogCaptureFixture) -> None:
    before = set(tools)
    assert await text_of(tools["change"]) == "changed"
    await until(lambda: "now has other tools" in caplog.text)
    assert set(tools) == before


def test_logging_is_quiet_by_itself() -> None:
    """The SDK's tracebacks are for those who have set up logging."""
    assert logging.getLogger("mcp").handlers
    assert session.logger.handlers


@pytest.mark.anyio
async def test_a_schema_that_would_take_for_ever_is_looked_at_quickly() -> None:
    """A server is a stranger: neither its regular expressions nor its references stop the program."""

    async def fine(name: str, arguments: dict[str, object]) -> ToolResult:
        return ToolResult(content="fine")

    both = {f"a{level}": {"anyOf": [{"$ref": f"#/$defs/a{level + 1}"}] * 2} for level in range(60)}
    end = {"type": "array", "items": {"$ref": "#/$defs/a0"}}
    properties = {"text": {"type": "string", "pattern": "^(a+)+$"}, "list": {"$ref": "#/$defs/a0"}}
    parameters = {"type": "object", "properties": properties, "$defs": {**both, "a60": end}}
    tool = McpTool(Tool(name="t", parameters=parameters), "t", {}, fine)
    assert await tool.run(f'{{"text": "{"a" * 60}b", "list": "[]"}}') == ToolResult(content="fine")
    assert "Expected `array`, got `integer`" in str((await tool.run('{"list": 1}')).content)
