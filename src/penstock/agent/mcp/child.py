"""An MCP server that is a child process: JSON lines on its stdin and stdout, as the SDK's session takes them.

The SDK's own `stdio_client` gives the child more of the environment, logs a traceback for each line that is no message,
and does not see that a child has died whose own child holds the pipe.
"""

from __future__ import annotations

import math
import os
import signal
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import anyio
import msgspec
from anyio.abc import ByteReceiveStream, ByteSendStream, Process
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp_types import PARSE_ERROR, ErrorData, JSONRPCError, JSONRPCMessage, jsonrpc_message_adapter

from penstock.agent.log import warn
from penstock.agent.mcp.session import LONGEST_MESSAGE
from penstock.core.arguments import UNDECODABLE, fixed_strings
from penstock.core.errors import ConfigError

__all__ = ["Child"]

_KEPT: Final = (
    ("PATH", "HOME", "LANG")
    if sys.platform != "win32"
    else (
        *("PATH", "HOME", "LANG", "PATHEXT", "SYSTEMROOT", "SYSTEMDRIVE", "COMSPEC", "TEMP", "TMP"),
        *("USERPROFILE", "USERNAME", "HOMEDRIVE", "HOMEPATH", "APPDATA", "LOCALAPPDATA", "PROGRAMFILES"),
    )
)
_TAIL: Final = 2000  # bytes of stderr that are kept for an error
_TO_LEAVE: Final = 1.0  # seconds that it has after the end of its stdin, before it gets a signal
_TO_DIE: Final = 2.0  # seconds between SIGTERM and SIGKILL, and to be taken away after that
_TO_DRAIN: Final = 0.5  # seconds for what a dead one has written to come through its pipes
_GONE: Final = (
    *(anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError),
    *(anyio.IncompleteRead, OSError),
)


class Child:
    """One server's process, to be entered and left by one task."""

    def __init__(self, name: str, command: Sequence[str], env: Mapping[str, str], cwd: str | None) -> None:
        self.how = ""
        self._name = name
        self._command = list(command)
        self._env = {key: os.environ[key] for key in _KEPT if key in os.environ} | dict(env)
        self._cwd = cwd
        self._said = b""
        self._skipped = self._too_long = False
        self.known = anyio.Event()
        self._heard_all = anyio.Event()
        self._kept_all = anyio.Event()

    @property
    def said(self) -> str:
        """The last that it wrote to stderr, in one line."""
        lines = self._said.decode(errors="replace").split("\n")
        if len(self._said) == _TAIL and len(lines) > 1:
            del lines[0]  # it may be a part of one, and so of a secret, which nobody would know again
        said = " | ".join(filter(None, map(str.strip, lines)))
        return f"; stderr: {said}" if said else ""

    @asynccontextmanager
    async def streams(self, over: anyio.Event) -> AsyncGenerator[tuple[Any, Any], None]:
        """What the session reads and writes. over: set when it has died, or closed its stdout.

        Raises ConfigError for a program that cannot be started.
        """
        heard, read = anyio.create_memory_object_stream[Any](0)
        # Writing never waits: else a server that does not read would hold up the one who cancels a call.
        write, sent = anyio.create_memory_object_stream[Any](math.inf)
        with heard, read, write, sent:
            process: Any = await self._start()  # all three pipes are there
            try:
                async with anyio.create_task_group() as group:
                    group.start_soon(self._read, process.stdout, heard, over)
                    group.start_soon(self._write, process.stdin, sent)
                    group.start_soon(self._keep, process.stderr)
                    group.start_soon(self._watch, process, over)
                    try:
                        yield read, write
                    finally:
                        with anyio.CancelScope(shield=True):
                            await self._end(process)
                        group.cancel_scope.cancel()
            finally:
                with anyio.move_on_after(_TO_DIE, shield=True):
                    await process.aclose()

    async def _start(self) -> Process:
        command = self._command
        if sys.platform == "win32":
            import shutil

            command = [shutil.which(command[0], path=self._env.get("PATH")) or command[0], *command[1:]]  # npx.cmd
        try:
            # A group of its own: all of it can be killed, and Ctrl-C at the terminal does not reach it.
            return await anyio.open_process(command, env=self._env, cwd=self._cwd, start_new_session=True)
        except (OSError, ValueError) as error:
            raise ConfigError(f"it cannot be started: {error}") from None

    async def _read(
        self, stdout: ByteReceiveStream, heard: MemoryObjectSendStream[SessionMessage], over: anyio.Event
    ) -> None:
        lines = BufferedByteReceiveStream(stdout)
        with heard, suppress(*_GONE):
            while True:
                try:
                    line = await lines.receive_until(b"\n", LONGEST_MESSAGE)
                except anyio.DelimiterNotFound:
                    self._too_long = True
                    break
                message: JSONRPCMessage | None
                try:
                    message = _message(line)
                except ValueError:
                    message = _unreadable(line)
                if message is None:
                    self._skip(line)
                else:
                    await heard.send(SessionMessage(message))
        self._heard_all.set()
        over.set()

    def _skip(self, line: bytes) -> None:
        if self._skipped or not line.strip():
            return
        self._skipped = True
        first = line.decode(errors="replace").strip()[:200]
        warn("MCP server `%s` writes more to stdout than messages, which is skipped; the first: %s", self._name, first)

    async def _write(self, stdin: ByteSendStream, sent: MemoryObjectReceiveStream[SessionMessage]) -> None:
        with sent, suppress(*_GONE):
            async for each in sent:
                await stdin.send(each.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")

    async def _keep(self, stderr: ByteReceiveStream) -> None:
        with suppress(*_GONE):
            async for some in stderr:
                self._said = (self._said + some)[-_TAIL:]
        self._kept_all.set()

    async def _watch(self, process: Process, over: anyio.Event) -> None:
        await process.wait()
        # What it wrote last is read first; but its pipes stay open where its own child has them.
        with anyio.move_on_after(_TO_DRAIN):
            await self._heard_all.wait()
            await self._kept_all.wait()
        self._kept_all.set()
        over.set()

    async def _end(self, process: Process) -> None:
        """Close its stdin, wait, and kill all that is left of its group: in three seconds at most."""
        is_asked = process.returncode is None and not self._heard_all.is_set()
        with anyio.move_on_after(_TO_LEAVE), suppress(*_GONE):
            if process.stdin is not None:
                await process.stdin.aclose()
            await process.wait()
        if not is_asked:
            with anyio.move_on_after(_TO_DRAIN):
                await self._kept_all.wait()
            self.how = (
                f"it wrote a line of over {LONGEST_MESSAGE:,} bytes" if self._too_long else _how(process.returncode)
            )
        self.known.set()
        if _signal(process, signal.SIGTERM):
            with anyio.move_on_after(_TO_DIE):
                while _signal(process, 0):  # noqa: ASYNC110 - nobody tells of the end of a group
                    await anyio.sleep(0.01)
            _signal(process, getattr(signal, "SIGKILL", signal.SIGTERM))  # Windows has one way only


def _message(line: bytes) -> JSONRPCMessage:
    """Raises ValueError for a line that is none."""
    try:
        return jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValueError:
        # Half of a surrogate pair, as JavaScript writes a text that it has cut, is no JSON to pydantic.
        return jsonrpc_message_adapter.validate_json(fixed_strings(line.decode()), by_name=False)


def _unreadable(line: bytes) -> JSONRPCError | None:
    """In place of an answer that is none, an error for the call that waits for it; None for what answers nothing."""
    try:
        said = msgspec.json.decode(line)
    except UNDECODABLE:
        return None
    if not isinstance(said, dict) or "method" in said or type(said.get("id")) is not int:
        return None
    error = ErrorData(code=PARSE_ERROR, message="")
    return JSONRPCError(jsonrpc="2.0", id=said["id"], error=error)


def _how(status: int | None) -> str:
    if status is None:
        return "it closed its stdout"
    return f"it was killed by signal {-status}" if status < 0 else f"it ended with status {status}"


def _signal(process: Process, number: int) -> bool:
    """Send a signal to all of its group, on Windows to the process alone; whether any was there. 0 only asks."""
    is_leader_there = process.returncode is None  # to ask is what takes a dead one away, on trio
    if sys.platform == "win32":
        if number and is_leader_there:
            process.send_signal(number)
        return is_leader_there
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # some of them have changed their user
    return True
