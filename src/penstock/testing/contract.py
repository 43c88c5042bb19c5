"""The contract of `create_message` as a suite, for providers of one's own: each point by itself, or all at once.

@pytest.mark.parametrize("point", CONTRACT)
async def test_contract(point):
    await check_provider(MyProvider, point)
"""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import traceback
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import anyio
import anyio.lowlevel

from penstock.core.chunks import Chunk, StopChunk, TextChunk, UsageChunk
from penstock.core.cost import calculate_cost
from penstock.core.errors import ConfigError, ProviderError
from penstock.core.messages import Message
from penstock.core.provider import BaseProvider
from penstock.core.validation import near
from penstock.testing.scrubbing import Scrubber, key_variables

__all__ = ["CONTRACT", "check_provider"]

_ASK: Final = (Message("user", "Say hello, in a few words."),)
_HANGS: Final = 30


class _HangError(AssertionError):
    """A call does not end. Neither would the next, and each would be waited for."""


class _Made(NamedTuple):
    """How to make the provider, and how many seconds it may take to close what it has begun."""

    make: Callable[[], BaseProvider]
    within: float

    @asynccontextmanager
    async def provider(self) -> AsyncIterator[BaseProvider]:
        """One that is closed afterwards."""
        provider = self.make()
        _must(isinstance(provider, BaseProvider), f"`make` returned a {type(provider).__name__}, not a BaseProvider")
        async with provider:
            yield provider

    async def answer(self, provider: BaseProvider) -> list[Chunk]:
        """A whole answer; it must come."""
        chunks: list[Chunk] = []
        with anyio.move_on_after(_HANGS * self.within) as scope:
            async with provider.stream("", _ASK) as stream:
                async for chunk in stream:
                    chunks.append(chunk)  # noqa: PERF401 - a list of what came until it hung
        if scope.cancelled_caught:
            raise _HangError(f"a call does not end within {_HANGS * self.within:g} s; what is left is not checked")
        return chunks

    @asynccontextmanager
    async def leaving(self, how: str) -> AsyncIterator[tuple[BaseProvider, AsyncGenerator[Chunk, None]]]:
        """A call of which something has come. Leaving it must be quick, and the next call must work."""
        async with self.provider() as provider:
            stream = provider.create_message("", _ASK)
            with anyio.move_on_after(_HANGS * self.within):
                async for chunk in stream:
                    if not isinstance(chunk, UsageChunk):
                        break
            begun = anyio.current_time()
            with anyio.move_on_after(_HANGS * self.within):
                yield provider, stream
            took = anyio.current_time() - begun
            _must(took <= self.within, f"it took {took:.1f} s to end after {how}: at most {self.within:g} s")
            try:
                await self.answer(provider)
            except AssertionError as error:
                raise AssertionError(f"after {how} the next call fails: {error}") from error


async def check_provider(make: Callable[[], BaseProvider], *points: str, within: float = 1.0) -> None:
    """Check that what *make* makes keeps the contract of `create_message`: these *points* of CONTRACT, or all.

    Each point makes a provider, asks it for a short answer a few times, and closes it. All that is broken is said in
    one AssertionError. within: the seconds that the contract gives for closing a call; more for a slow machine.

    What cannot be told from outside is left to you: that calling sends nothing before the first `__anext__`, that a
    connection is really closed, that nothing is sent twice, and that no option is dropped in silence.
    """
    for point in points:
        if point not in CONTRACT:
            raise ConfigError(f"the contract has no point {point!r}{near(point, CONTRACT)}")
    broken: list[tuple[str, Exception]] = []
    for point in points or CONTRACT:
        try:
            await CONTRACT[point](_Made(make, within))
        except Exception as error:  # noqa: BLE001 - whatever a provider may raise is what is looked for
            while isinstance(error, ExceptionGroup):
                error = error.exceptions[0]
            said = "" if isinstance(error, AssertionError) else f"{type(error).__name__} came out of it: "
            broken.append((f"{point}: {said}{error}", error))
            if isinstance(error, _HangError):
                break
    if broken:
        raise AssertionError("\n".join(said for said, _ in broken)) from broken[0][1]


def _must(holds: object, said: str) -> None:
    if not holds:
        raise AssertionError(said)


async def _is_a_generator(made: _Made) -> None:
    async with made.provider() as provider:
        stream: Any = provider.create_message("", _ASK)
        if not hasattr(stream, "__anext__"):
            getattr(stream, "close", lambda: None)()
            raise AssertionError(f"create_message returned a {type(stream).__name__}: write `async def` with `yield`")
        await stream.aclose()
        _must([chunk async for chunk in stream] == [], "a call that was closed before it began yields all the same")


async def _text_and_end(made: _Made) -> None:
    async with made.provider() as provider:
        chunks = await made.answer(provider)
    for chunk in chunks:
        _must(isinstance(chunk, Chunk), f"it yields a {type(chunk).__name__}, which is no chunk")
        _must(not isinstance(chunk, TextChunk) or chunk.text, "it yields an empty TextChunk: leave it out")
    ends = [place for place, chunk in enumerate(chunks, 1) if isinstance(chunk, StopChunk)]
    _must(ends, "the answer ends without a StopChunk: raise StreamInterruptedError if it was cut")
    _must(ends == [len(chunks)], f"StopChunk is chunk {ends} of {len(chunks)}: it comes once and last")


async def _usage_adds_up(made: _Made) -> None:
    async with made.provider() as provider:
        chunks = await made.answer(provider)
    usages = [chunk for chunk in chunks if isinstance(chunk, UsageChunk)]
    if not usages:
        return  # nothing is known of it, which is no lie
    _must(
        chunks[0] == UsageChunk(unsettled=1),
        "yield UsageChunk(unsettled=1) first and add unsettled=-1 to the last usage chunk, so that a call that is left "
        "early is not counted as free",
    )
    prompts = [usage.prompt_tokens for usage in usages if usage.prompt_tokens > 0]
    _must(
        len(prompts) == len(set(prompts)),
        f"two usage chunks report {max(prompts, default=0)} prompt tokens: yield increments, as a sum is made of them",
    )
    total = sum(usages, UsageChunk())
    left = {
        name: value for name in ("input_tokens", "output_tokens", "unsettled") if (value := getattr(total, name)) < 0
    }
    _must(not left, f"the sum of all usage has {left}: a correction takes back no more than there was")


async def _aclose(made: _Made) -> None:
    async with made.leaving("aclose()") as (_, stream):
        await stream.aclose()


async def _cancel(made: _Made) -> None:
    async with made.leaving("a cancellation") as (_, stream):
        with anyio.CancelScope() as scope:
            scope.cancel()
            async for _ in stream:
                pass


async def _another_task(made: _Made) -> None:
    reading = anyio.Event()

    async def read(stream: AsyncGenerator[Chunk, None]) -> None:
        reading.set()
        try:
            async for _ in stream:
                pass
        except ProviderError:
            return  # it was closed under its hands

    async with made.leaving("aclose() in another task") as (_, stream), anyio.create_task_group() as group:
        group.start_soon(read, stream)
        await reading.wait()
        await stream.aclose()


@contextmanager
def _leftovers() -> Iterator[None]:
    """Nobody is warned of what the check itself leaves to the garbage collector."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


async def _drop(made: _Made) -> None:
    with _leftovers():
        async with made.provider() as provider:
            stream = provider.create_message("", _ASK)
            await anext(stream)
            del stream
            gc.collect()
            await made.answer(provider)


async def _errors(made: _Made) -> None:
    async with made.provider() as provider:
        odd: Mapping[str, Sequence[Message]] = {
            "the empty list": [],
            "a message without parts": [Message("user", [])],
            "an answer without text": [Message("assistant", "")],
        }
        for name, messages in odd.items():
            try:
                async with provider.stream("", messages) as stream:
                    async for _ in stream:
                        pass
            except ProviderError as error:
                _check_error(error)
            except Exception as error:
                raise AssertionError(
                    f"{type(error).__name__} came out for an odd history, {name}: raise a ProviderError, `from` it"
                ) from error


def _check_error(error: ProviderError) -> None:
    name = type(error).__name__
    for how in ("copied", "pickled"):
        try:
            twin = copy.copy(error) if how == "copied" else pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
        except Exception as broken:
            raise AssertionError(f"{name} cannot be {how}: give what its __init__ takes defaults") from broken
        same = type(twin) is type(error) and vars(twin) == vars(error)
        _must(same, f"{name} is not the same after it was {how}")
    said = "".join(traceback.format_exception(error))
    _must(not (what := _secrets().found(said)), f"{name} shows {what}")


async def _no_key(made: _Made) -> None:
    async with made.provider() as provider:
        await made.answer(provider)
        _must(not (what := _secrets().found(repr(provider))), f"its repr shows {what}")


def _secrets() -> Scrubber:
    return Scrubber((), key_variables(), hide_hosts=False)


async def _two_loops(made: _Made) -> None:
    backend = _running()
    with _leftovers():
        async with made.provider() as one:
            for number in ("first", "second"):
                try:
                    await anyio.to_thread.run_sync(partial(anyio.run, made.answer, one, backend=backend))
                except Exception as error:
                    raise AssertionError(f"on the {number} loop: {type(error).__name__}: {error}") from error
        del one


def _running() -> str:
    """The event loop's library, as anyio calls it."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return "trio"
    return "asyncio"


async def _at_once(made: _Made) -> None:
    async with made.provider() as provider:
        alone = [_said(await made.answer(provider)) for _ in range(2)]
        together: list[tuple[str, int]] = []

        async def ask() -> None:
            together.append(_said(await made.answer(provider)))

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(ask)
    ends = {end for _, end in together}
    _must(ends == {1}, f"of three calls at once there are some with {max(ends)} StopChunks: each has one")
    if alone[0] == alone[1]:  # else it says something new each time
        _must(set(together) == {alone[0]}, "of three calls at once one has said what it does not say alone")


def _said(chunks: list[Chunk]) -> tuple[str, int]:
    """The text, and how many times the answer stopped."""
    text = "".join(chunk.text for chunk in chunks if isinstance(chunk, TextChunk))
    return text, sum(isinstance(chunk, StopChunk) for chunk in chunks)


async def _facts(made: _Made) -> None:
    async with made.provider() as provider:
        model = provider.get_model()
        _must(isinstance(model.id, str), f"get_model() has an id of type {type(model.id).__name__}")
        _must(isinstance(provider.vendor, str), f"vendor is of type {type(provider.vendor).__name__}")
        usage = UsageChunk(input_tokens=1000, output_tokens=1000)
        mine, theirs = provider.calculate_cost(usage), calculate_cost(usage, model.info)
        _must(mine == theirs, f"calculate_cost says {mine}, by the prices of get_model() it is {theirs}")
        _must(provider in list(provider.nested()), "nested() leaves out the provider itself")


async def _closed_twice(made: _Made) -> None:
    async with made.provider() as provider:
        await made.answer(provider)
        await provider.aclose()


CONTRACT: Final[Mapping[str, Callable[[_Made], Awaitable[None]]]] = MappingProxyType(
    {
        "a call is an async generator": _is_a_generator,
        "text is never empty, and StopChunk comes once and last": _text_and_end,
        "usage adds up to the bill": _usage_adds_up,
        "break and aclose() close a call": _aclose,
        "another task closes a call": _another_task,
        "cancellation closes a call": _cancel,
        "a dropped call closes itself": _drop,
        "only ProviderErrors come out": _errors,
        "no key is shown": _no_key,
        "it works on two event loops, one after the other": _two_loops,
        "calls at once do not mix": _at_once,
        "model, vendor and prices agree": _facts,
        "it can be closed twice": _closed_twice,
    }
)
"""The points that `check_provider` checks, by name."""
