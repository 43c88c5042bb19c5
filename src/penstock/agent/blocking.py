"""For programs without an event loop: `blocking(...)` gives a provider, a stream or a coroutine its plain form.

All of it runs in one thread with one event loop, which begins with the first use and lives as long as the process; a
process that was forked begins its own. No loop of the caller's is used, so it works in a notebook, in a thread and in
a web server's worker.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Coroutine, Iterator, Sequence
from contextlib import aclosing, suppress
from functools import partial
from queue import SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar, overload
from weakref import WeakValueDictionary

from penstock.agent.background import Background, OfProcess
from penstock.core.chunks import Chunk, UsageChunk
from penstock.core.closing import Stream, owed
from penstock.core.errors import ConfigError, StreamInterruptedError
from penstock.core.messages import Message, Options
from penstock.core.provider import ENTER_IT, BaseProvider
from penstock.core.tokens import TokenCount

if TYPE_CHECKING:
    import asyncio

__all__ = ["BlockingProvider", "BlockingStream", "blocking"]

T = TypeVar("T")

_CLOSE: Final = 1.0
"""Most seconds that leaving a stream waits until its connection is closed."""
_AHEAD: Final = 64
"""Most chunks of a provider that are read at once, if they are there: it costs more when the two threads take turns."""

_ENDING: Final = "`blocking` cannot begin as Python ends: call it before the main thread is through, not in `atexit`"


# Who writes `for chunk in blocking(provider).create_message(...)` closes none of them.
_providers: WeakValueDictionary[int, BaseProvider] = WeakValueDictionary()


async def _serve(ending: asyncio.Event) -> None:
    import asyncio  # here and not above: a fifth of what `import penstock` would cost

    await ending.wait()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    for provider in list(_providers.values()):
        for each in provider.nested():  # one that is shared leaves what is inside it open
            with suppress(Exception):
                await each.aclose()
    await asyncio.get_running_loop().shutdown_asyncgens()


_background: Final = OfProcess(partial(Background, "penstock blocking", _serve, _CLOSE))


def _from_outside() -> Background:
    """That of this process, begun if there is none yet. Raises ConfigError in its own thread."""
    # As Python ends it starts no thread, or nothing that looks up a host.
    running = _background.get() if threading.main_thread().is_alive() else _background.made
    if running is None or not running.thread.is_alive():
        raise ConfigError(_ENDING)
    if running.is_here():
        raise ConfigError(
            "`blocking` was called by something that runs in its own event loop, and would wait for itself for ever:"
            " `await` it there, or use `async for`"
        )
    return running


class _End:
    """Stands behind the last item. error: what the stream raised, None when it came to its end."""

    error: BaseException | None = None


class _Reading(Generic[T]):
    """What the loop does for one stream. It knows nothing of the BlockingStream, so that this can be dropped."""

    def __init__(self, generator: AsyncGenerator[T, None], most: int) -> None:
        import asyncio

        self.items: SimpleQueue[T | _End] = SimpleQueue()
        self._generator = generator
        self._most = most
        self._asked = asyncio.Event()
        self._ended = threading.Event()
        self._in: Background | None = None
        self._task: asyncio.Task[None] | None = None
        self._left = False

    def ask(self) -> None:
        """Let the loop read on: until there is one more item, or at most *most* if they are there."""
        if self._in is None:
            self._in = _from_outside()
            self._in.loop.call_soon_threadsafe(self._begin)  # in the context of this thread
        elif not self._in.thread.is_alive():
            raise StreamInterruptedError("the process that began the stream has ended, or this one was forked from it")
        self._in.loop.call_soon_threadsafe(self._asked.set)

    def _begin(self) -> None:
        import asyncio

        self._task = asyncio.get_running_loop().create_task(self._read())

    async def _read(self) -> None:
        end = _End()
        try:
            async with aclosing(self._generator) as items:
                while True:
                    await self._asked.wait()
                    self._asked.clear()
                    for _ in range(self._most):
                        self.items.put(await anext(items))
        except StopAsyncIteration:
            pass
        except BaseException as error:  # noqa: BLE001 - it is raised where the stream is read
            end.error = self._interrupted(error) if self._left else error
        finally:
            # As the process ends only daemon threads are left to read: they end with it, and without a traceback.
            if self._in is None or not self._in.ending.is_set():
                self.items.put(end)
            self._ended.set()

    def _interrupted(self, error: BaseException) -> BaseException:
        """What another thread gets that waits for the next item."""
        import asyncio

        if not isinstance(error, asyncio.CancelledError):
            return error
        usage = self._generator.usage if isinstance(self._generator, Stream) else UsageChunk()
        interrupted = StreamInterruptedError("the stream was closed by another thread", usage=usage + owed(error))
        interrupted.retryable = False
        interrupted.hint = "Whoever called `close()` did not want the rest: what came until then is not the whole."
        return interrupted

    def leave(self) -> None:
        """Close the generator, and wait for that a second at most; the next time not at all."""
        if self._left or self._in is None or not self._in.thread.is_alive():
            return
        self._left = True
        with suppress(RuntimeError):  # the loop has just been closed
            self._in.loop.call_soon_threadsafe(self._cancel)
        if not self._in.is_here():  # as when a stream is collected there
            self._ended.wait(_CLOSE)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()


class BlockingStream(Iterator[T]):
    """The items of a stream, for a plain `for`. Nothing is sent before the first is asked for.

    Leaving the `for`, the `with` or the last reference behind closes the connection at once, and so does an exception
    while it waits, Ctrl-C too. Any thread may read it, and any may close it: who waits for an item then gets a
    StreamInterruptedError.
    """

    def __init__(self, generator: AsyncGenerator[T, None], most: int = 1) -> None:
        self._reading = _Reading(generator, most)
        self._over = False
        self._turn = threading.Lock()

    def __next__(self) -> T:
        with self._turn:
            if self._over:
                raise StopIteration
            try:
                if self._reading.items.empty():
                    self._reading.ask()
                item = self._reading.items.get()
            except BaseException:
                self.close()
                raise
            if not isinstance(item, _End):
                return item
            self._over = True
            try:
                raise item.error or StopIteration
            finally:
                del item  # or the error would hold itself, by its traceback

    def close(self) -> None:
        """Close the connection, and wait for that a second at most. Safe to call twice, and from any thread."""
        self._over = True
        self._reading.leave()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


class BlockingProvider:
    """A provider whose methods are called without `await`. provider: that one, for what takes a provider."""

    def __init__(self, provider: BaseProvider) -> None:
        self.provider = provider
        _providers[id(provider)] = provider

    def create_message(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> BlockingStream[Chunk]:
        """The chunks of BaseProvider.create_message. The result can be entered by `with`, too."""
        return BlockingStream(self.provider.create_message(system_prompt, messages, options), _AHEAD)

    stream = create_message

    def count_tokens(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> TokenCount:
        """See BaseProvider."""
        return blocking(self.provider.count_tokens(system_prompt, messages, options))

    def close(self) -> None:
        """Close what the provider holds for `blocking`."""
        running = _background.made
        if running is None or running.thread.is_alive():  # else it is closed, by what ends with Python
            blocking(self.provider.aclose())

    def __repr__(self) -> str:
        return f"blocking({self.provider!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


@overload
def blocking(work: BaseProvider, /) -> BlockingProvider: ...
@overload
def blocking(work: AsyncGenerator[T, None], /) -> BlockingStream[T]: ...
@overload
def blocking(work: Coroutine[Any, Any, T], /) -> T: ...
def blocking(work: Any, /) -> Any:
    """Whatever is async, for a program without an event loop.

    A provider: one whose `create_message` gives the chunks to a plain `for`, and which is closed by a plain `with`.
    What gives a stream, as `run_tools(...)`: its items, to a plain `for`.
    A coroutine, as `collect(...)`: its result.

    Ctrl-C closes what is waited for, and waits for that a second at most. The context variables are those of the
    caller. Raises ConfigError where it would wait for itself: in a function that runs in the loop of `blocking`.
    """
    if isinstance(work, BaseProvider):
        return BlockingProvider(work)
    if isinstance(work, AsyncGenerator):
        return BlockingStream(work)
    if not isinstance(work, Coroutine):
        found = ENTER_IT if hasattr(work, "__aenter__") else f"a {type(work).__name__}"
        raise ConfigError(
            f"`blocking` was given {found}; it takes a provider, what an async generator gives, or a coroutine"
        )
    try:
        _from_outside()
    except ConfigError:
        work.close()  # or Python would warn that nobody awaits it
        raise
    with BlockingStream(_result(work)) as results:
        return next(results)


async def _result(coroutine: Coroutine[Any, Any, T]) -> AsyncGenerator[T, None]:
    yield await coroutine
