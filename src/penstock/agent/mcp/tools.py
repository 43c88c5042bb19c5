"""The tools of an MCP server (Model Context Protocol) as tools of ours. What it needs comes with the extra `mcp`."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from itertools import takewhile
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from penstock.agent.schema.legal_parameters import legal_parameters
from penstock.agent.tools import FunctionTool, ToolResult
from penstock.core.arguments import whole_text
from penstock.core.dialect import without_userinfo
from penstock.core.errors import ConfigError
from penstock.core.messages import Tool
from penstock.core.tool_definition import LONGEST_TOOL_NAME, own_tool_name
from penstock.core.validation import check_seconds, near

if TYPE_CHECKING:
    from penstock.agent.mcp.session import Link, Server

__all__ = ["McpTool", "mcp_tools"]

_MAY_BE_KEY: Final = r"(?i)auth|key|token|secret|cookie|credential|passw"
_SHORTEST_SECRET: Final = 8  # characters: a shorter one would be found in ordinary words
_HASH: Final = 8  # characters of it in a name


class McpTool(FunctionTool):
    """A tool of an MCP server."""

    _tries_patterns = False  # a stranger's could stop the whole program; the server tries them itself

    def __init__(self, definition: Tool, server_name: str, annotations: Mapping[str, object], call: _Call) -> None:
        super().__init__(definition, partial(call, server_name))
        self.server_name = server_name
        """What the server calls it. `name`, by which the model knows it, may differ."""
        self.annotations = annotations
        """What the server claims of it, as `readOnlyHint` and `destructiveHint`; nobody has checked that."""


_Call = Callable[[str, dict[str, object]], Awaitable[ToolResult]]


def mcp_tools(
    *,
    command: Sequence[str] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | PathLike[str] | None = None,
    url: str | None = None,
    headers: Mapping[str, str] | None = None,
    only: Iterable[str] | None = None,
    prefix: str = "",
    connect: float = 30.0,
    deadline: float = 60.0,
) -> AbstractAsyncContextManager[list[McpTool]]:
    """The tools of one MCP server, while the context lasts: of a program that is started, or of a server behind a URL.

    The list is that of the opening, in the server's order. Whatever goes wrong in a call is an error result, which the
    model gets to see; a server that has died fails every call at once. A tool whose schema vendors would refuse is left
    out; the log says so, under the name `penstock`. Any task may call the tools and leave the context.

    command: the program and its arguments. Of our environment it gets PATH, HOME and LANG, and no key.
    env: what it gets beside that.
    cwd: the folder in which it runs; None for ours.
    url: in place of a command, where a server of the "streamable HTTP" kind is.
    headers: what each request to the URL carries. They are shown nowhere, and go to no other host.
    only: the tools wanted, by the server's own names; None for all.
    prefix: what each name is to begin with, where two servers have a tool of the same name.
    connect: seconds for all of the opening; some programs are downloaded when they start.
    deadline: seconds for each call.

    Raises ConfigError: at once for what is wrong with the arguments; when it is entered, for a server that does not
    open, with the last that it wrote to stderr.
    """
    _check(command, env, cwd, url, headers, only)
    check_seconds("connect", connect)
    check_seconds("deadline", deadline)
    try:
        from penstock.agent.mcp.child import Child
        from penstock.agent.mcp.http import Http
        from penstock.agent.mcp.session import Server
    except ImportError as error:
        raise ConfigError(f"MCP servers need {error.name}: pip install 'penstock[mcp]'") from error
    shown = _shown(command, url)
    link: Callable[[], Link] = partial(Child, shown, command or (), env or {}, None if cwd is None else fspath(cwd))
    if url is not None:
        link = partial(Http, url, headers or {})
    choice = None if only is None else list(only)
    return _opened(lambda: Server(shown, link(), deadline, _cleaner(env, headers)), connect, choice, prefix)


@asynccontextmanager
async def _opened(
    make: Callable[[], Server], connect: float, only: Sequence[str] | None, prefix: str
) -> AsyncGenerator[list[McpTool], None]:
    # No cancel scope is open at the yield, so that any task may go on from there.
    server = make()
    try:
        yield _tools(server, await server.open(connect), only, prefix)
    finally:
        await server.aclose()


def _check(
    command: Sequence[str] | None,
    env: object,
    cwd: object,
    url: str | None,
    headers: Mapping[str, object] | None,
    only: object,
) -> None:
    if (command is None) == (url is None):
        raise ConfigError("mcp_tools takes either a `command` or a `url`")
    for name, value, goes in (("env", env, command), ("cwd", cwd, command), ("headers", headers, url)):
        if value is not None and goes is None:
            raise ConfigError(f"`{name}` goes with a {'`url`' if url is None else '`command`'}")
    if command is not None and (isinstance(command, str) or not command):
        raise ConfigError(f'`command` is {command!r}, expected a list, as ["python", "server.py"]')
    if isinstance(only, str):
        raise ConfigError(f"`only` is {only!r}, expected a list of names")
    for name, value in (headers or {}).items():
        if not (isinstance(value, str) and value.isascii() and value.isprintable() and value == value.strip()):
            raise ConfigError(f"the value of `{name}` in `headers` is none that a header can have")


def _shown(command: Sequence[str] | None, url: str | None) -> str:
    """The server in an error: a URL without password and query, or a command until its first option, without too."""
    if url is not None:
        return re.split("[?#]", str(without_userinfo(url)), maxsplit=1)[0]
    program, *rest = [str(word) for word in command or ()]
    shown = takewhile(lambda word: not word.startswith("-"), rest)
    return " ".join([Path(program).name, *(str(without_userinfo(word)) for word in shown)])


def _cleaner(env: Mapping[str, str] | None, headers: Mapping[str, str] | None) -> Callable[[str], str]:
    """What takes the keys that the server was given out of a text."""
    values = [value for name, value in (env or {}).items() if re.search(_MAY_BE_KEY, name)]
    for value in (headers or {}).values():
        values += [value, value.partition(" ")[2]]  # without `Bearer` too
    secrets = sorted((value for value in values if len(value) >= _SHORTEST_SECRET), key=len, reverse=True)

    def clean(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, "***")
        return text

    return clean


def _tools(
    server: Server, listed: Sequence[Mapping[str, Any]], only: Sequence[str] | None, prefix: str
) -> list[McpTool]:
    known = [each["name"] for each in listed]
    for name in only or ():
        if name not in known:
            raise ConfigError(f"MCP server `{server.name}` has no tool {name!r}{near(name, known)}")
    tools: dict[str, McpTool] = {}
    for each in listed:
        if only is not None and each["name"] not in only:
            continue
        try:
            made = _tool(each, prefix, server)
            if made.name in tools:
                raise ConfigError(f"another is called {made.name!r}")
        except Exception as error:  # noqa: BLE001 - whatever a server says of one tool, the others are there
            server.tell("is used without its tool %r: %s", each["name"], error)
        else:
            tools[made.name] = made
    return list(tools.values())


def _tool(listed: Mapping[str, Any], prefix: str, server: Server) -> McpTool:
    name, hints = listed["name"], listed.get("annotations")
    said = listed.get("description") or listed.get("title") or ""
    definition = Tool(
        name=_name(prefix, name, server.identity),
        description=whole_text(said if isinstance(said, str) else ""),
        parameters=legal_parameters(listed.get("inputSchema")),
    )
    return McpTool(definition, name, hints if isinstance(hints, dict) else {}, server.call)


def _name(prefix: str, name: str, identity: str) -> str:
    """A name that vendors take, and always the same for a tool of a server, whatever others there are."""
    whole = prefix + name
    if own_tool_name(whole) == whole:
        return whole
    from hashlib import sha256  # here and not above: for a name that is too long

    mark = sha256(f"{identity}\n{name}".encode(errors="replace")).hexdigest()[:_HASH]
    return f"{own_tool_name(whole, LONGEST_TOOL_NAME - _HASH - 1)}_{mark}"
