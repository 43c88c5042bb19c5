"""Streams that any task may close: Python's own generators refuse that while another task waits for their next value.

The one file of the core that knows event loops. On asyncio the reading task is cancelled and the cancellation taken
back, as asyncio's own timeouts do: a scope around each step would cost as much as the step.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from functools import wraps
from types import AsyncGeneratorType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from penstock.core.chunks import UsageChunk
from penstock.core.errors import ConfigError, StreamInterruptedError

if TYPE_CHECKING:
    import asyncio

    import anyio

__all__ = ["Stream", "aclosing", "closable", "owe", "owed"]

P = ParamSpec("P")
T = TypeVar("T")


def owe(cancelled: BaseException, usage: UsageChunk | None) -> None:
    """Say on a cancellation what no chunk can say any more: that a request was sent, and may be billed."""
    if usage is not None:
        cancelled.__dict__["penstock_owed"] = usage


def owed(error: BaseException) -> UsageChunk:
    """What a cancelled call may be billed beside the usage that has come."""
    usage: UsageChunk = error.__dict__.get("penstock_owed") or UsageChunk()
    return usage


class Stream(AsyncGenerator[T, None], Generic[T]):
    """A generator of chunks, which `aclose()` also closes from another task than the one that reads it.

    That one gets a StreamInterruptedError, which is not retryable and has the usage of all chunks until then; so does
    who asks for a chunk while it is being closed.
    """

    __slots__ = (
        "__weakref__",
        "_ask",
        "_cancelled",
        "_closed",
        "_generator",
        "_loop",
        "_next",
        "_reader",
        "_scoped",
        "_spent",
        "_usage",
    )

    def __init__(self, generator: AsyncGenerator[T, None], spent: Callable[[], UsageChunk] | None = None) -> None:
        """spent: the usage until now, where not all of it is among the items; None where it is."""
        self._spent = spent
        self._generator = generator
        self._next = generator.__anext__
        self._usage = UsageChunk()
        # asyncio's own function for the task that runs in a loop; None before the first step and elsewhere.
        self._ask: Callable[[Any], asyncio.Task[Any] | None] | None = None
        self._loop: Any = None  # that it is read in, as asyncio has it, elsewhere anyio's token for it
        self._scoped = False  # whether it is read elsewhere
        self._cancelled = 0  # how often the task that began had been cancelled before
        # Who waits for the next chunk: a task of asyncio, elsewhere a scope around the wait. While it is being closed
        # and nobody waits, what is set once it is closed.
        self._reader: asyncio.Task[Any] | anyio.CancelScope | anyio.Event | None = None
        self._closed: anyio.Event | None = None  # set once the reader has left, after somebody else wanted it to

    async def __anext__(self) -> T:
        """The next chunk. All is written out here, as every chunk pays for it."""
        if self._ask is None and (self._scoped or not self._begin()):
            return await self._scoped_step()
        if self._reader is not None:
            return await self._busy_step()
        self._reader = self._ask(self._loop)  # type: ignore[misc]
        try:
            chunk = await self._next()
        except BaseException as error:
            self._reader = None
            if self._closed is not None and self._is_ours(error):
                raise self._interrupted(owed(error)) from None
            raise
        self._reader = None
        if type(chunk) is UsageChunk:
            self._usage += chunk  # type: ignore[operator]
        if self._closed is not None and self._is_ours(None):
            await self.aclose()
            raise self._interrupted(UsageChunk())
        return chunk

    def _begin(self) -> bool:
        """Look where we are; whether that is asyncio."""
        import asyncio

        try:
            task = asyncio.current_task()
        except RuntimeError:  # another library's loop
            task = None
        if task is None:
            import anyio.lowlevel

            self._scoped, self._loop = True, anyio.lowlevel.current_token()
            return False
        self._loop, self._cancelled = task.get_loop(), task.cancelling()
        # Until 3.12 the function is not written in C, and the table that it looks into is five times as fast.
        table = getattr(asyncio.tasks, "_current_tasks", None)
        self._ask = table.get if isinstance(table, dict) and table.get(self._loop) is task else asyncio.current_task
        return True

    async def _scoped_step(self) -> T:
        if self._reader is not None:
            return await self._busy_step()
        import anyio

        with anyio.CancelScope() as scope:
            self._reader = scope
            left, more = False, UsageChunk()
            try:
                chunk = await self._next()
            except BaseException as error:
                more = owed(error)
                raise
            finally:
                self._reader = None
                left = self._leave()
            if type(chunk) is UsageChunk:
                self._usage += chunk  # type: ignore[operator]
            if not left:
                return chunk
        with anyio.CancelScope(shield=True):
            await self.aclose()
        raise self._interrupted(more)

    async def _busy_step(self) -> T:
        import anyio

        if isinstance(self._reader, anyio.Event) and self._may_wait(self._reader):
            raise self._interrupted(UsageChunk())
        return await self._next()  # which says that it is running already

    def _is_ours(self, error: BaseException | None) -> bool:
        """Take the cancellation back; whether the reader ends because of it, and of no other."""
        import asyncio

        self._leave()
        task = asyncio.current_task()
        left = 0 if task is None else task.uncancel()
        return not isinstance(error, asyncio.CancelledError) or left <= self._cancelled

    def _leave(self) -> bool:
        """The reader has left; whether somebody waits for that."""
        closed, self._closed = self._closed, None
        if closed is not None:
            closed.set()
        return closed is not None

    @property
    def usage(self) -> UsageChunk:
        """The sum of the usage that has come."""
        return self._usage if self._spent is None else self._spent()

    def _interrupted(self, more: UsageChunk) -> StreamInterruptedError:
        error = StreamInterruptedError("the stream was closed by another task", usage=self.usage + more)
        error.retryable = False
        error.hint = "Whoever called `aclose()` did not want the rest: what came until then is not the whole."
        return error

    async def aclose(self) -> None:
        """Close it, whoever reads it: when this returns, its connection is closed."""
        import anyio

        reader = self._reader
        if reader is None:
            self._reader = closing = anyio.Event()
            try:
                await self._generator.aclose()
            finally:
                self._reader = None
                closing.set()
        elif not self._may_wait(reader):
            await self._generator.aclose()  # which says that it is running already
        elif isinstance(reader, anyio.Event):
            await reader.wait()
        else:
            closed = self._closed
            if closed is None:
                closed = self._closed = anyio.Event()
                reader.cancel()
            await closed.wait()
            await self.aclose()  # a chunk that came in the last moment has left it open

    def _may_wait(self, reader: Any) -> bool:
        """Whether the reader, or who closes it, is another task of this very loop."""
        if self._scoped:
            import anyio.lowlevel

            return bool(anyio.lowlevel.current_token() == self._loop)
        import asyncio

        return asyncio._get_running_loop() is self._loop and reader is not asyncio.current_task()

    async def asend(self, value: None) -> T:
        """As with any generator; nothing is made of the value."""
        return await self._generator.asend(value)

    async def athrow(self, *error: Any) -> T:
        """As with any generator."""
        return await self._generator.athrow(*error)

    if not TYPE_CHECKING:  # to a type checker there is no plain `for` over it

        def __iter__(self):
            raise ConfigError("a stream is read with `async for`; for a plain `for`, write `blocking(provider)`")

    def bare(self) -> AsyncGenerator[T, None]:
        """The generator itself, for a middleware that reads it: closing the outermost reaches all inside."""
        return self._generator


def closable(make: Callable[P, AsyncGenerator[T, None]]) -> Callable[P, AsyncGenerator[T, None]]:
    """*make*, with the generator that it makes as a Stream."""

    @wraps(make)
    def closable_make(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[T, None]:
        made = make(*args, **kwargs)
        return Stream(made) if isinstance(made, AsyncGeneratorType) else made

    return closable_make


class aclosing(Generic[T]):  # noqa: N801 - contextlib's own, by its name
    """contextlib's `aclosing` for what a middleware reads: it is closed with the middleware, and needs no Stream."""

    def __init__(self, chunks: AsyncGenerator[T, None]) -> None:
        self._chunks = chunks.bare() if isinstance(chunks, Stream) else chunks

    async def __aenter__(self) -> AsyncGenerator[T, None]:
        return self._chunks

    async def __aexit__(self, *exc: object) -> None:
        await self._chunks.aclose()
