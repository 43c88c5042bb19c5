"""MCP servers that do something wrong behind a URL: each failure costs one call, and headers go nowhere else."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

import anyio
import msgspec
import pytest

from leftovers import nothing_left, tasks
from mcp_servers import JSON, bad_http
from patience import PATIENCE, SHORT
from penstock import ConfigError, McpTool, TextPart, ToolResult, mcp_tools
from penstock.agent.mcp import http as mcp_http
from penstock.testing import Cut, Emulator, Hang, Request, Reset, ServerReply

pytestmark = pytest.mark.anyio

SECRET: Final = "sk-secret-1234567"
HEADERS: Final = {"Authorization": f"Bearer {SECRET}"}
FINE: Final = ToolResult(content=[TextPart("fine")])
TEXT: Final = {"content-type": "text/html"}
STREAM: Final = {"content-type": "text/event-stream"}
REFUSED: Final = b'{"jsonrpc": "2.0", "id": null, "error": {"code": -32602, "message": "no such sk-secret-1234567"}}'


async def in_time(tool: McpTool) -> ToolResult:
    """The result of a call, repeated where it comes too late on a machine that has much else to do."""
    with anyio.fail_after(PATIENCE):
        while "within" in str((result := await tool.run("{}")).content):
            pass
    return result


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        pytest.param(ServerReply([b'{"error": "token"}'], 401, JSON, whole=True), "HTTP 401", id="401"),
        pytest.param(
            ServerReply([b"gone"], 404, TEXT, whole=True),
            "HTTP 404: its session has ended; open the server again",
            id="a session that has ended",
        ),
        pytest.param(ServerReply([b"<html>"], 500, TEXT, whole=True), "HTTP 500", id="500"),
        pytest.param(ServerReply([REFUSED], 400, JSON, whole=True), "no such ***", id="an error of the protocol"),
        pytest.param(ServerReply([b"<html>"], 200, TEXT, whole=True), "content type: text/html", id="a page"),
        pytest.param(ServerReply([], 202, JSON, whole=True), "202 Accepted", id="accepted"),
        pytest.param(ServerReply([b'{"json'], 200, JSON, whole=True), "the answer cannot be read", id="broken JSON"),
        pytest.param(ServerReply([b"data: {a\n\n"], 200, STREAM), "the answer cannot be read", id="a broken event"),
        pytest.param(ServerReply([b": ping\n\n", Cut()], 200, STREAM), "ended without a response", id="a cut stream"),
        pytest.param(ServerReply([b'{"js', Cut()], 200, JSON), "no whole answer: RemoteProtocolError", id="a cut body"),
        pytest.param(ServerReply(before=[Reset()]), "no whole answer: ReadError", id="a reset"),
        pytest.param(ServerReply(before=[Hang()]), "did not finish within 0.3 seconds", id="no head"),
        pytest.param(ServerReply([Hang()], 200, STREAM), "did not finish within 0.3 seconds", id="no event"),
    ],
)
async def test_a_failure_is_the_error_of_its_call(reply: ServerReply, said: str) -> None:
    """The next call goes well, over the same session."""
    deadline = SHORT if "within" in said else PATIENCE
    before = tasks()
    async with (
        Emulator(bad_http(lambda message: reply)) as emulator,
        mcp_tools(url=f"{emulator.url}/mcp", headers=HEADERS, deadline=deadline) as [good, bad],
    ):
        result = await bad.run("{}")
        assert (result.is_error, said in str(result.content)) == (True, True)
        assert await in_time(good) == FINE
    assert tasks() == before


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        pytest.param(ServerReply([b"{}"], 401, JSON, whole=True), "HTTP 401", id="401"),
        pytest.param(ServerReply([b"x"], 404, TEXT, whole=True), "HTTP 404", id="404"),
        pytest.param(ServerReply([b"<html>"], 200, TEXT, whole=True), "content type: text/html", id="a page"),
        pytest.param(ServerReply(before=[Hang()]), "it did not open within 0.3 seconds", id="no answer"),
    ],
)
async def test_a_server_that_does_not_open_is_said(reply: ServerReply, said: str) -> None:
    """Without what the URL hides."""
    connect = SHORT if "within" in said else PATIENCE
    async with Emulator(then=reply) as emulator:
        with pytest.raises(ConfigError) as caught:
            async with mcp_tools(url=f"{emulator.url}/mcp?key={SECRET}", connect=connect):
                pass
    assert caught.value.message.startswith(f"MCP server `{emulator.url}/mcp`: ")
    assert said in caught.value.message


async def test_nobody_is_there() -> None:
    """At the port, or at all."""
    async with Emulator(refusing=True) as emulator:
        for url, said in ((emulator.url, "no whole answer: ConnectError"), ("mcp", "missing an 'http://'")):
            with pytest.raises(ConfigError, match=said):
                async with mcp_tools(url=url):
                    pass


async def test_headers_go_to_no_other_host_and_into_no_log(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the server says, and however much is logged."""
    caplog.set_level(logging.DEBUG)
    async with Emulator() as other:
        there = ServerReply([], 307, {"location": f"{other.url}/mcp"}, whole=True)
        async with Emulator(bad_http(lambda message: there)) as emulator:
            opening = mcp_tools(url=f"{emulator.url}/mcp", headers=HEADERS)
            async with opening as tools:
                assert "not followed" in str((await tools[1].run("{}")).content)
                assert SECRET not in f"{tools!r} {vars(tools[1])} {opening!r}"
    assert other.requests == []
    assert {request.headers["authorization"] for request in emulator.requests} == {f"Bearer {SECRET}"}
    assert "redirect" in caplog.text.lower()
    assert SECRET not in caplog.text


async def test_what_is_large_or_elsewhere_at_the_same_host_comes_too() -> None:
    """A screenshot in an event, and a path that the server would rather have with a slash."""
    text = "x" * 3_000_000

    def then(message: Any) -> ServerReply:
        result = {"content": [{"type": "text", "text": text}]}
        answer = msgspec.json.encode({"jsonrpc": "2.0", "id": message["id"], "result": result})
        return ServerReply([b"data: ", answer, b"\n\n"], 200, STREAM)

    right = bad_http(then)

    def reply(request: Request) -> ServerReply:
        return right(request) if request.path.endswith("/") else ServerReply([], 307, {"location": "/mcp/"}, whole=True)

    async with nothing_left(), Emulator(reply) as emulator, mcp_tools(url=f"{emulator.url}/mcp") as [good, bad]:
        assert await good.run("{}") == FINE
        assert await bad.run("{}") == ToolResult(content=[TextPart(text)])


async def test_a_notice_that_is_not_answered_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """As that a call is cancelled, at a server that hangs: the next request waits for it, but not long."""
    monkeypatch.setattr(mcp_http, "_NOTICE", SHORT / 10)
    right: Callable[[Request], Any] = bad_http(lambda message: ServerReply(before=[Hang()]))

    def reply(request: Request) -> Any:
        return right(request) if b'"id"' in request.body or not request.body else ServerReply(before=[Hang()])

    async with nothing_left(), Emulator(reply) as emulator, mcp_tools(url=emulator.url, deadline=SHORT) as [good, bad]:
        assert (await bad.run("{}")).is_error
        assert await in_time(good) == FINE
