"""The task that owns an MCP server: it starts it, enters the session, and leaves both."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Final, Protocol

import anyio
import mcp_types as types
import msgspec
from mcp.client.session import ClientSession
from mcp.client.subscriptions import SubscriptionLost, listen
from mcp.shared.exceptions import MCPError
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from penstock.agent.alone import start_alone
from penstock.agent.log import warn
from penstock.agent.mcp.results import tool_result
from penstock.agent.tools import ToolResult
from penstock.core.errors import ConfigError

__all__ = ["LONGEST_MESSAGE", "Link", "Server"]

LONGEST_MESSAGE: Final = 64 * 1024 * 1024
"""Bytes of a server's message, as of a whole document from a vendor."""

# Whatever the SDK says of a server, with tracebacks, is in our own errors; whoever has set up logging gets both.
for _name in ("mcp", "client"):  # its session calls itself the latter
    logging.getLogger(_name).addHandler(logging.NullHandler())

_TO_LEAVE: Final = 2.0  # seconds that a server behind a URL has to hear that its session ends
_TO_END: Final = 2.0  # seconds that a call waits to learn how its dead server ended
_MOST_PAGES: Final = 100
_LONGEST: Final = 2000  # characters of a reason
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
_RAW: Final = "penstock"  # the field of `_meta` in which an answer comes through the SDK as it is


class Link(Protocol):
    """The way to a server."""

    how: str
    """How it ended; empty if it did not end by itself."""
    known: anyio.Event
    """Set when no more will be known of that."""

    @property
    def said(self) -> str:
        """What it said last to nobody in particular, to be put behind an error; or nothing."""
        ...

    def streams(self, over: anyio.Event) -> AbstractAsyncContextManager[tuple[Any, Any]]:
        """What the session reads and writes. over: set when the server has ended."""
        ...


class Server:
    """One server: any task may call its tools, and close it."""

    def __init__(self, name: str, link: Link, deadline: float, clean: Callable[[str], str]) -> None:
        """name: shown in errors. deadline: seconds a call. clean: takes secrets out of a text."""
        self.name = name
        self.identity = name
        """What the server calls itself, or its name here: the same on every machine."""
        self._link = link
        self._deadline = deadline
        self._clean = clean
        self._session: ClientSession | None = None
        self._listed: list[dict[str, Any]] | None = None
        self._failed: BaseException | None = None
        self._scope = anyio.CancelScope()
        self._opened = anyio.Event()  # or it has failed
        self._over = anyio.Event()  # the server has ended, or somebody wants it to
        self._done = anyio.Event()
        self._task: object = None
        self._changed = False  # whether that was said

    async def open(self, seconds: float) -> list[dict[str, Any]]:
        """What it says of its tools. Raises ConfigError; it is to be closed then too."""
        self._task = start_alone(self._own)
        with anyio.move_on_after(seconds):
            await self._opened.wait()
        if self._listed is None:
            why = self._why() or f"it did not open within {seconds:g} seconds{self._link.said}"
            raise ConfigError(self._line(f"MCP server `{self.name}`: {why}"))
        return self._listed

    async def aclose(self) -> None:
        """Close it, once it is opened or not; when this returns, its processes and connections are gone."""
        if self._session is None:
            self._scope.cancel()
        self._over.set()
        with anyio.CancelScope(shield=True):
            with anyio.move_on_after(_TO_LEAVE):
                await self._done.wait()
            self._scope.cancel()
            await self._done.wait()

    async def call(self, tool: str, arguments: dict[str, object]) -> ToolResult:
        """What a tool gives; any failure is an error result."""
        request = types.CallToolRequest(params=types.CallToolRequestParams(name=tool, arguments=arguments))
        try:
            if self._session is None:
                raise MCPError(code=types.CONNECTION_CLOSED, message="")
            with anyio.fail_after(self._deadline):
                answer = await self._session.send_request(request, types.CallToolResult)
            return tool_result((answer.meta or {})[_RAW])
        except TimeoutError:
            why = f"it did not finish within {self._deadline:g} seconds"
        except MCPError as error:
            why = _said(error)
            if self._over.is_set():
                with anyio.move_on_after(_TO_END):
                    await self._link.known.wait()
                why = f"MCP server `{self.name}`: {self._why() or 'it is closed'}"
        return ToolResult(content=self._line(why), is_error=True)

    async def _own(self) -> None:
        try:
            with self._scope:
                async with (
                    self._link.streams(self._over) as (read, write),
                    ClientSession(dispatcher=_Dispatcher(read, write), message_handler=self._hear) as session,
                ):
                    await _agree(session)
                    self._listed = await _all_tools(session)
                    if session.server_info is not None:
                        self.identity = session.server_info.name
                    self._session = session
                    self._opened.set()
                    await self._stay(session)
        except Exception as error:  # noqa: BLE001 - it is told to whoever opens, and to each call
            self._failed = error
        finally:
            self._session = None
            self._opened.set()
            self._done.set()

    async def _stay(self, session: ClientSession) -> None:
        async with anyio.create_task_group() as group:
            if session.protocol_version in MODERN_PROTOCOL_VERSIONS:  # older servers tell of changes unasked
                group.start_soon(self._listen, session)
            await self._over.wait()
            self._session = None
            group.cancel_scope.cancel()

    async def _listen(self, session: ClientSession) -> None:
        with suppress(MCPError, SubscriptionLost):
            async with listen(session, tools_list_changed=True) as changes:
                async for _ in changes:
                    pass  # each comes to `_hear` as well

    async def _hear(self, message: object) -> None:
        if isinstance(message, types.ToolListChangedNotification) and not self._changed:
            self._changed = True
            self.tell("now has other tools; those of the opening stay")

    def tell(self, text: str, *facts: object) -> None:
        """Log a line about it."""
        warn(f"MCP server `%s` {text}", self.name, *facts)

    def _why(self) -> str:
        """Why it is there no more; empty if it was closed."""
        why = self._link.how or _reason(self._failed)
        return f"{why}{self._link.said}" if why else ""

    def _line(self, text: str) -> str:
        # A terminal would obey what cannot be printed.
        shown = "".join(each if each.isprintable() else " " for each in _COLOUR.sub("", text))
        return self._clean(" ".join(shown.split()))[:_LONGEST]


class _Dispatcher(JSONRPCDispatcher):
    """Brings answers about tools through the SDK as they are: it refuses all tools for one, all content for a part."""

    async def send_raw_request(self, method: str, *rest: Any, **more: Any) -> dict[str, Any]:
        """As the class does it; the answer itself is in its `_meta`."""
        answer = await super().send_raw_request(method, *rest, **more)
        envelope = {"resultType": "complete", "_meta": {_RAW: answer}}
        if method == "tools/call":
            return {"content": [], **envelope}
        if method == "tools/list":
            tools = [{"name": each["name"], "inputSchema": _known_schema(each)} for each in _named(answer)]
            cursor = answer.get("nextCursor")
            more_pages = {"nextCursor": cursor} if isinstance(cursor, str) else {}
            return {"tools": tools, "ttlMs": 0, "cacheScope": "private", **more_pages, **envelope}
        return answer


def _known_schema(listed: Mapping[str, Any]) -> dict[str, Any]:
    """As much of a schema as the SDK must see: which arguments become headers too."""
    schema: Any = listed.get("inputSchema")
    has_headers = isinstance(schema, dict) and b"x-mcp-header" in msgspec.json.encode(schema)
    return schema | {"type": "object"} if has_headers else {"type": "object"}


def _named(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    tools = answer.get("tools")
    tools = tools if isinstance(tools, list) else []
    return [each for each in tools if isinstance(each, dict) and isinstance(each.get("name"), str)]


async def _agree(session: ClientSession) -> None:
    """On a version of the protocol: today's servers are asked what they can, older ones are told to begin."""
    try:
        await session.discover()
    except (MCPError, ValidationError, RuntimeError):
        await session.initialize()


async def _all_tools(session: ClientSession) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    seen: set[str] = set()
    for _ in range(_MOST_PAGES):
        page = await session.list_tools(params=types.PaginatedRequestParams(cursor=cursor))
        kept = {tool.name for tool in page.tools}  # the SDK leaves out those whose headers would be wrong
        found += [each for each in _named((page.meta or {})[_RAW]) if each["name"] in kept]
        cursor = page.next_cursor
        if not cursor or cursor in seen:
            break
        seen.add(cursor)
    return found


def _said(error: MCPError) -> str:
    """What an error of JSON-RPC says: the server's own, or one of ours or the SDK's about its answer."""
    return "the answer cannot be read" if error.code == types.PARSE_ERROR else error.message or f"error {error.code}"


def _reason(error: BaseException | None) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, MCPError):
        return _said(error)
    if isinstance(error, ValidationError):
        fault = error.errors()[0]
        return f"its answer does not fit the protocol: {'.'.join(map(str, fault['loc']))}: {fault['msg']}"
    if error is None:
        return ""
    return str(error) if isinstance(error, ConfigError) else f"{type(error).__name__}: {error}"
