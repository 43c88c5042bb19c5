"""The chunks of an answer as server-sent events, for a browser: bytes that any web framework can send as they come.

The format is that of https://html.spec.whatwg.org/multipage/server-sent-events.html, read 2026-11-30.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import anyio
import msgspec

from penstock.agent.log import warn
from penstock.agent.run_tools import LoopChunk
from penstock.core.errors import ProviderError
from penstock.core.validation import check_seconds

if TYPE_CHECKING:
    import asyncio

__all__ = ["to_sse"]

_COMMENT: Final = b":\n\n"
_CLOSE: Final = 1.0
"""Most seconds that leaving waits until the connection to the model is closed."""


async def to_sse(stream: AsyncGenerator[LoopChunk, None], *, comments: float = 15.0) -> AsyncGenerator[bytes, None]:
    """An event for each chunk, whose name is the chunk's type and whose data is its JSON; then `end`, or `error`.

    A ProviderError is an event `error` and goes to the log of `penstock`. The browser is told its class, what that
    class means, and whether trying again may help, but not the message, which may name hosts, files and accounts.
    Whatever else is raised gets out.

    comments: seconds of silence after which a comment is sent, from the beginning on: what stands between drops a
        silent connection, and some servers notice only when they send something that the browser has left. The
        specification advises 15. There are none on trio.

    The connection to the model is closed when the result is closed, cancelled or dropped. At most two chunks are read
    ahead of the browser.
    """
    import asyncio  # here and not above: a fifth of what `import penstock` would cost

    check_seconds("comments", comments)
    yield _COMMENT  # before the model is asked: with it the browser has the headers, and may leave
    events = _events(stream)
    if not _on_asyncio():
        async with aclosing(events):
            async for event in events:
                yield event
        return
    queue: asyncio.Queue[bytes | Exception | None] = asyncio.Queue(1)
    # All of the stream in one task, as it may hold what belongs to a task; a wait that is given up must not end it.
    reader = asyncio.create_task(_read(events, queue))
    try:
        while (found := await _next(queue, comments)) is not None:
            if isinstance(found, Exception):
                raise found
            yield found
    finally:
        reader.cancel()
        with anyio.CancelScope(shield=True):
            await asyncio.wait([reader], timeout=_CLOSE)


def _on_asyncio() -> bool:
    import asyncio

    try:
        return asyncio.current_task() is not None
    except RuntimeError:
        return False


async def _read(events: AsyncGenerator[bytes, None], queue: asyncio.Queue[bytes | Exception | None]) -> None:
    try:
        async with aclosing(events):
            async for event in events:
                await queue.put(event)
    except Exception as error:  # noqa: BLE001 - it is raised where the events are read
        await queue.put(error)
    else:
        await queue.put(None)


async def _next(queue: asyncio.Queue[bytes | Exception | None], seconds: float) -> bytes | Exception | None:
    import asyncio

    try:
        async with asyncio.timeout(seconds):
            return await queue.get()
    except TimeoutError:
        return _COMMENT


async def _events(stream: AsyncGenerator[LoopChunk, None]) -> AsyncGenerator[bytes, None]:
    try:
        async with aclosing(stream):
            async for chunk in stream:
                yield _event(str(chunk.__struct_config__.tag), chunk)
    except ProviderError as error:
        warn("a stream to a browser failed: %s", error)
        shown = {"error": type(error).__name__, "message": _meaning(type(error)), "retryable": error.retryable}
        yield _event("error", {"type": "error", **shown})
    else:
        yield _event("end", {"type": "end"})


def _event(name: str, data: object) -> bytes:
    # JSON has no line breaks, so its line needs no splitting.
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(data))


def _meaning(kind: type[ProviderError]) -> str:
    """The first sentence of its docstring; a class of the user's own may have only its parent's."""
    said = next((parent.__doc__ for parent in kind.__mro__ if parent.__doc__), "")
    return " ".join(said.split()).partition(". ")[0].rstrip(".") + "."
