"""Streams that any task may close: Python's own generators refuse that while another task waits for their next value.

The one file of the core that knows event loops. On asyncio the reading task is cancelled and the cancellation taken
back, as asyncio's own timeouts do: a scope around each step would cost as much as the step.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from functools import wraps
from types import AsyncGeneratorType, TracebackType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from penstock.core.chunks import UsageChunk
from penstock.core.errors import StreamInterruptedError

if TYPE_CHECKING:
    import asyncio

    import anyio

__all__ = ["Stream", "aclosing", "closable"]

P = ParamSpec("P")
T = TypeVar("T")


class Stream(AsyncGenerator[T, None], Generic[T]):
    """A generator of chunks, which `aclose()` also closes from another task than the one that reads it.

    That one gets a StreamInterruptedError, which is not retryable and has the usage of all chunks until then.
    """

    __slots__ = ("__weakref__", "_cancelled", "_closed", "_generator", "_on_asyncio", "_reader", "_usage")

    def __init__(self, generator: AsyncGenerator[T, None]) -> None:
        self._generator = generator
        self._usage = UsageChunk()
        self._on_asyncio: bool | None = None
        # Who waits for the next chunk: a task of asyncio, elsewhere a scope around the wait.
        self._reader: asyncio.Task[Any] | anyio.CancelScope | None = None
        self._closed: anyio.Event | None = None  # set once the reader has left, after somebody else wanted it to
        self._cancelled = 0  # how often that task had been cancelled before it waited

    async def __anext__(self) -> T:
        if self._reader is not None:
            return await self._generator.__anext__()  # which says that it is running already
        if self._on_asyncio is None:
            self._on_asyncio = _current_task() is not None
        if not self._on_asyncio:
            return await self._scoped_step()
        self._reader = task = _current_task()
        if task is not None:
            self._cancelled = task.cancelling()
        try:
            chunk = await self._generator.__anext__()
        except BaseException as error:
            if self._closed is not None and self._is_ours(error):
                raise self._interrupted() from None
            raise
        finally:
            self._reader = None
        if type(chunk) is UsageChunk:
            self._usage += chunk  # type: ignore[operator]
        if self._closed is not None and self._is_ours(None):
            await self._generator.aclose()
            raise self._interrupted()
        return chunk

    async def _scoped_step(self) -> T:
        import anyio

        with anyio.CancelScope() as scope:
            self._reader = scope
            left = False
            try:
                chunk = await self._generator.__anext__()
            finally:
                self._reader = None
                left = self._leave()
            if type(chunk) is UsageChunk:
                self._usage += chunk  # type: ignore[operator]
            if not left:
                return chunk
        with anyio.CancelScope(shield=True):
            await self._generator.aclose()
        raise self._interrupted()

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

    def _interrupted(self) -> StreamInterruptedError:
        error = StreamInterruptedError("the stream was closed by another task", usage=self._usage)
        error.retryable = False
        error.hint = "Whoever called `aclose()` did not want the rest: what came until then is not the whole."
        return error

    async def aclose(self) -> None:
        """Close it, whoever reads it: when this returns, its connection is closed."""
        reader = self._reader
        if reader is None or (self._on_asyncio and not _may_cancel(reader)):
            await self._generator.aclose()
            return
        closed = self._closed
        if closed is None:
            import anyio

            closed = self._closed = anyio.Event()
            reader.cancel()
        await closed.wait()

    async def asend(self, value: None) -> T:
        """As with any generator; nothing is made of the value."""
        return await self._generator.asend(value)

    async def athrow(self, *error: Any) -> T:
        """As with any generator."""
        return await self._generator.athrow(*error)

    def bare(self) -> AsyncGenerator[T, None]:
        """The generator itself, for a middleware that reads it: closing the outermost reaches all inside."""
        return self._generator


def _current_task() -> asyncio.Task[Any] | None:
    import asyncio

    try:
        return asyncio.current_task()
    except RuntimeError:  # another library's loop
        return None


def _may_cancel(reader: Any) -> bool:
    """Whether the reader is another task of this very loop."""
    import asyncio

    return reader is not asyncio.current_task() and reader.get_loop() is asyncio.get_running_loop()


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

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._chunks.aclose()
