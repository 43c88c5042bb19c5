"""MCP servers for tests: a good one, written with the SDK's own package, and bad ones that are a few lines of JSON."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import uvicorn

from patience import PATIENCE
from penstock.testing import Request, ServerReply

__all__ = ["BAD", "GOOD", "bad_command", "bad_http", "good_command", "serving"]

GOOD: Final = '''\
"""A calculator, and some tools that show what goes on."""

import base64
import os
import subprocess
import sys

import anyio
from mcp.server.mcpserver import Context, Image, MCPServer
from mcp_types import AudioContent, EmbeddedResource, TextContent, TextResourceContents, ToolAnnotations

server = MCPServer("calculator")
stopped = []


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool(name="show all", annotations=ToolAnnotations(destructive_hint=True))
def show_all() -> list:
    """One content of each kind."""
    data = base64.b64encode(b"x").decode()
    resource = TextResourceContents(uri="file:///a.txt", mime_type="text/plain", text="inside")
    return [
        TextContent(text="text"),
        Image(data=b"x", format="png"),
        AudioContent(data=data, mime_type="audio/wav"),
        EmbeddedResource(resource=resource),
    ]


@server.tool()
def fail() -> str:
    raise ValueError("no luck")


@server.tool()
def environment() -> dict[str, str]:
    return dict(os.environ)


@server.tool()
async def wait(seconds: float) -> str:
    try:
        await anyio.sleep(seconds)
    except anyio.get_cancelled_exc_class():
        stopped.append("waiting")
        raise
    return "waited"


@server.tool()
def was_stopped() -> list[str]:
    return stopped


@server.tool()
def header(name: str, context: Context) -> str:
    return context.request_context.request.headers.get(name, "none")


@server.tool()
async def change(context: Context) -> str:
    server.add_tool(lambda: "new", name="new")
    await context.notify_tools_changed()
    return "changed"


if __name__ == "__main__":
    server.run()
'''

# What it does wrong is its first argument; all it says is of the protocol of 2025.
BAD: Final = """\
import json, os, subprocess, sys, time

kind = sys.argv[1]


def send(**message):
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


if kind == "crashes":
    sys.exit(f"no database; the token is {os.environ.get('TOKEN')}")
if kind == "says something else":
    print("hello", flush=True)
    sys.exit(0)
if kind == "is mute":
    print("waiting for a licence", file=sys.stderr, flush=True)
    time.sleep(1000)
INFO = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "bad", "version": "1"}}
OPENING = {
    "refuses": {"error": {"code": -1, "message": "no licence"}},
    "is of 1999": {"result": {**INFO, "protocolVersion": "1999"}},
    "answers in part": {"result": {"protocolVersion": "2025-06-18"}},
}
TOOL = {"name": "go", "inputSchema": {"type": "object"}}
TEXT = {"content": [{"type": "text", "text": "fine"}]}
LISTS = {
    "lists without end": [TOOL],
    "has no list": None,
    "lists nonsense": [
        *("x", {"description": "no name"}, {"name": "a list", "inputSchema": []}),
        {"name": "number", "inputSchema": {"type": "number"}},
        {"name": "typo", "inputSchema": {"type": "object", "properties": {"a": {"type": "strng"}}}},
        {"name": "bare", "annotations": 7, "description": 7},
        {"name": "no type", "inputSchema": {"properties": {"q": {"type": "string"}}}},
        {**TOOL, "description": "the first"},
        {**TOOL, "description": "the second"},
    ],
}
# What a tool of the name does.
ANSWERS = {
    "go": {"result": TEXT},
    "changes": {"result": TEXT},
    "refuses": {"error": {"code": -32602, "message": "Unknown tool"}},
    "refuses_silently": {"error": {"code": -5, "message": ""}},
    "gives_no_object": {"result": [1]},
    "gives_nothing": {"result": {}},
    "gives_half_a_character": {"result": {"content": [{"type": "text", "text": "a\\ud83d"}]}},
    "gives_nonsense": {"result": {"content": ["x", {"type": "hologram"}, *TEXT["content"]], "structuredContent": 7}},
    "asks_for_more": {"result": {"resultType": "input_required", "inputRequests": {}}},
    "says_where": {"result": {"content": [{"type": "text", "text": f"{os.getpid()} {os.getcwd()}"}]}},
    "hangs": {},
    "dies": {},
    "dies_and_leaves_a_child": {},
    "answers_and_dies": {"result": TEXT},
    "closes_its_stdout": {},
    "writes_without_end": {},
    "has_a_child": {"result": TEXT},
}
for line in sys.stdin:
    message = json.loads(line)
    number, method, parameters = message.get("id"), message["method"], message.get("params") or {}
    if kind == "logs to stdout":
        print(f"INFO {method}", flush=True)
        print(json.dumps({"level": "info"}), flush=True)
    if method == "server/discover":
        send(id=number, error={"code": -32601, "message": "Method not found"})
    elif method == "initialize":
        send(id=number, **OPENING.get(kind, {"result": INFO}))
    elif method == "tools/list" and kind == "has pages":
        page = int(parameters.get("cursor") or 0)
        more = {"nextCursor": str(page + 1)} if page < 2 else {}
        send(id=number, result={"tools": [{**TOOL, "name": f"go{page}"}], **more})
    elif method == "tools/list":
        more = {"nextCursor": "1"} if kind == "lists without end" else {}
        send(id=number, result={"tools": LISTS.get(kind, [{**TOOL, "name": name} for name in ANSWERS]), **more})
    elif method == "tools/call":
        name = parameters["name"]
        if name in ("has_a_child", "dies_and_leaves_a_child"):
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
        if name in ("dies", "dies_and_leaves_a_child"):
            print("\\033[31mSegmentation\\033]0;x\\007 fault", file=sys.stderr, flush=True)
            os._exit(3)
        if name == "writes_without_end":
            while True:
                sys.stdout.write("x" * 1_000_000)
        if name == "closes_its_stdout":
            os.close(1)
            time.sleep(1000)
        if name == "changes":
            send(method="notifications/tools/list_changed")
            send(method="notifications/tools/list_changed")
        if answer := ANSWERS.get(name, {"result": TEXT}):
            send(id=number, **answer)
        if name == "answers_and_dies":
            os._exit(0)
"""


def bad_command(folder: Path, kind: str) -> list[str]:
    """The command of a server that does *kind*."""
    file = folder / "bad.py"
    file.write_text(BAD)
    return [sys.executable, str(file), kind]


def good_command(folder: Path) -> list[str]:
    """The command of a server that does all right."""
    file = folder / "good.py"
    file.write_text(GOOD)
    return [sys.executable, str(file)]


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The good server over HTTP, in a thread of its own: its URL."""
    names: dict[str, Any] = {"__name__": "good"}
    exec(compile(GOOD, str(folder / "good.py"), "exec", dont_inherit=True), names)
    config = uvicorn.Config(names["server"].streamable_http_app(), port=0, log_level="error", lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    end = time.monotonic() + PATIENCE
    while not server.started and time.monotonic() < end:
        time.sleep(0.01)
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        server.should_exit = True
        thread.join()


JSON: Final = {"content-type": "application/json", "mcp-session-id": "1"}


def bad_http(then: Callable[[Any], ServerReply]) -> Callable[[Request], ServerReply]:
    """A server over HTTP whose tool `bad` gives what *then* makes of the message; its tool `good` is right."""
    tools = [{"name": name, "inputSchema": {"type": "object"}} for name in ("good", "bad")]
    info = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "x", "version": "1"}}
    results = {
        "initialize": info,
        "tools/list": {"tools": tools},
        "tools/call": {"content": [{"type": "text", "text": "fine"}]},
    }

    def reply(request: Request) -> ServerReply:
        if request.method != "POST":
            return ServerReply([], 405, JSON, whole=True)
        message = msgspec.json.decode(request.body)
        if "id" not in message:
            return ServerReply([], 202, JSON, whole=True)
        method = message["method"]
        if method == "tools/call" and message["params"]["name"] == "bad":
            return then(message)
        answer = {"jsonrpc": "2.0", "id": message["id"]}
        answer |= {"result": results[method]} if method in results else {"error": {"code": -32601, "message": "no"}}
        return ServerReply([msgspec.json.encode(answer)], 200, JSON, whole=True)

    return reply
