"""The contract as a suite: what is ours keeps it, and what breaks it is found out at its point."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import anyio
import pytest

from patience import PATIENCE
from penstock import (
    BaseProvider,
    Chunk,
    ConfigError,
    InvalidRequestError,
    Message,
    Model,
    ModelInfo,
    Options,
    ProviderError,
    StopChunk,
    TextChunk,
    UsageChunk,
)
from penstock.meter import Metered
from penstock.middleware import CacheWatch, CircuitBreaker, Concurrency, Fallback, Observe, RateLimit, Retry
from penstock.testing import (
    CONTRACT,
    WIRES,
    DemoModel,
    Emulator,
    ScriptedProvider,
    WireName,
    check_provider,
    provider_on,
)

pytestmark = pytest.mark.anyio

OPEN, STOP = UsageChunk(unsettled=1), StopChunk(reason="stop")
TEXT, BILL = TextChunk("Hel"), UsageChunk(input_tokens=5, output_tokens=2, unsettled=-1)
SAID: list[Chunk] = [OPEN, TEXT, TextChunk("lo"), BILL, STOP]


def scripted() -> ScriptedProvider:
    return ScriptedProvider(SAID, repeat=True)


OURS: dict[str, Callable[[], BaseProvider]] = {
    "ScriptedProvider": scripted,
    "Retry": lambda: Retry(scripted()),
    "Fallback": lambda: Fallback(scripted(), scripted()),
    "CircuitBreaker": lambda: CircuitBreaker(scripted()),
    "Concurrency": lambda: Concurrency(scripted(), 2),
    "RateLimit": lambda: RateLimit(scripted(), requests_per_minute=1000),
    "Observe": lambda: Observe(scripted(), listener=lambda event: None),
    "CacheWatch": lambda: CacheWatch(scripted(), listener=lambda event: None),
    "Metered": lambda: Metered(scripted(), "ledger.db"),
}


@pytest.mark.parametrize("name", OURS)
async def test_ours_keep_it(name: str, tmp_path: Path) -> None:
    """All points at once."""
    await check_provider(OURS[name], within=PATIENCE)


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("point", CONTRACT)
async def test_the_three_wires_keep_it(wire: WireName, point: str) -> None:
    """Over HTTP, from a server that takes its time."""
    async with Emulator(DemoModel(pause=0.001)) as emulator:
        await check_provider(lambda: provider_on(wire, emulator.url), point, within=PATIENCE)


class Own(BaseProvider):
    """One that somebody has written, right but for what is laid over it."""

    chunks: ClassVar[Sequence[Any]] = SAID

    async def create_message(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """See BaseProvider."""
        self.check(messages)
        async with self.held():
            for chunk in self.chunks:
                await anyio.lowlevel.checkpoint()
                yield chunk

    def check(self, messages: Sequence[Message]) -> None:
        """What is said of the history."""
        if not messages:
            raise InvalidRequestError("there is no message")

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """What a call holds as long as it runs."""
        yield


def used(output: int) -> UsageChunk:
    return UsageChunk(input_tokens=5, output_tokens=output)


def saying(*chunks: Any) -> type[Own]:
    return type("Own", (Own,), {"chunks": chunks})


class ReturnsAList(Own):
    async def create_message(self, *_: Any) -> Any:  # type: ignore[override]
        return SAID


class RaisesItsOwn(Own):
    def check(self, messages: Sequence[Message]) -> None:
        messages[0].content[0]


class NotPickledError(ProviderError):
    def __init__(self, message: str, place: int) -> None:
        super().__init__(message)
        self.place = place


class RaisesWhatIsNotPickled(Own):
    def check(self, messages: Sequence[Message]) -> None:
        if not messages:
            raise NotPickledError("no message", 0)


class ShowsAKey(Own):
    def __repr__(self) -> str:
        return "ShowsAKey('sk-canary-0123456789abcdef')"


class RaisesAKey(Own):
    def check(self, messages: Sequence[Message]) -> None:
        if not messages:
            raise InvalidRequestError("sk-canary-0123456789abcdef is not good")


class Slow(Own):
    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        try:
            yield
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.2)


class Leaks(Own):
    def __init__(self) -> None:
        self.free = 1

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        if not self.free:
            await anyio.sleep(math.inf)
        self.free -= 1
        yield
        self.free += 1


class OneLoop(Own):
    token: object = None

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        self.token = self.token or anyio.lowlevel.current_token()
        if self.token != anyio.lowlevel.current_token():
            raise RuntimeError("attached to a different loop")
        yield


class Mixes(Own):
    def __init__(self) -> None:
        self.left: list[Chunk] = []

    async def create_message(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> AsyncGenerator[Chunk, None]:
        self.left = [*SAID]
        while self.left:
            await anyio.lowlevel.checkpoint()
            if self.left:
                yield self.left.pop(0)


class OtherPrices(Own):
    def get_model(self) -> Model:
        return Model("m", ModelInfo(input_price=Decimal(1), output_price=Decimal(1)))

    def calculate_cost(self, usage: UsageChunk) -> Decimal | None:
        return Decimal(0)


class ClosesOnce(Own):
    closed = False

    async def aclose(self) -> None:
        if self.closed:
            raise RuntimeError("closed already")
        self.closed = True


BROKEN: list[Any] = [
    (ReturnsAList, "a call is an async generator", "create_message returned a coroutine: write `async def`"),
    (saying(OPEN, TextChunk(""), STOP), "text is never empty", "it yields an empty TextChunk: leave it out"),
    (saying(OPEN, "Hello", STOP), "text is never empty", "it yields a str, which is no chunk"),
    (saying(OPEN, TEXT, STOP, STOP), "text is never empty", "StopChunk is chunk [3, 4] of 4: it comes once and last"),
    (saying(OPEN, TEXT), "text is never empty", "the answer ends without a StopChunk: raise StreamInterruptedError"),
    (saying(TEXT, used(2), STOP), "usage adds up", "yield UsageChunk(unsettled=1) first and add unsettled=-1 to"),
    (saying(OPEN, used(1), used(2), STOP), "usage adds up", "two usage chunks report 5 prompt"),
    (saying(OPEN, BILL, BILL, STOP), "usage adds up", "prompt tokens: yield increments, as a sum is made of them"),
    (saying(OPEN, used(-2), STOP), "usage adds up", "the sum of all usage has {'output_tokens': -2}"),
    (RaisesItsOwn, "only ProviderErrors", "IndexError came out for an odd history, the empty list: raise a"),
    (RaisesWhatIsNotPickled, "only ProviderErrors", "NotPickledError cannot be copied: give what its __init__ takes"),
    (RaisesAKey, "only ProviderErrors", "InvalidRequestError shows what looks like a key of Anthropic"),
    (ShowsAKey, "no key is shown", "its repr shows what looks like a key of Anthropic"),
    (Slow, "break and aclose()", "s to end after aclose(): at most 0.1 s"),
    (Slow, "cancellation closes", "s to end after a cancellation: at most 0.1 s"),
    (Slow, "another task closes", "s to end after aclose() in another task: at most 0.1 s"),
    (Leaks, "break and aclose()", "after aclose() the next call fails: a call does not end within 3 s"),
    (Leaks, "a dropped call", "a call does not end within 3 s"),
    (OneLoop, "it works on two event loops", "on the second loop: RuntimeError: attached to a different loop"),
    (Mixes, "calls at once", "of three calls at once"),
    (OtherPrices, "model, vendor and prices", "calculate_cost says 0, by the prices of get_model() it is 0.002"),
    (ClosesOnce, "it can be closed twice", "RuntimeError came out of it: closed already"),
]  # fmt: skip


class Silent(Own):
    """Says nothing for ever."""

    async def create_message(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """Never yields."""
        await anyio.sleep_forever()
        yield TextChunk("never")


async def test_a_call_that_does_not_end_is_waited_for_once() -> None:
    """The points behind would hang as well."""
    with pytest.raises(AssertionError) as found:
        await check_provider(Silent, within=0.01)
    assert str(found.value) == (
        "text is never empty, and StopChunk comes once and last: a call does not end within 0.3 s;"
        " what is left is not checked"
    )


@pytest.mark.parametrize(
    ("make", "point", "said"), [pytest.param(*row, id=f"{row[0].__name__}: {row[2][:50]}") for row in BROKEN]
)
async def test_what_breaks_it_is_found_at_its_point(make: Callable[[], BaseProvider], point: str, said: str) -> None:
    """And at no other, of those that are about something else."""
    name = next(name for name in CONTRACT if name.startswith(point))
    with pytest.raises(AssertionError) as raised:
        await check_provider(make, name, within=0.1)
    assert str(raised.value).startswith(f"{name}: ")
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


async def test_what_is_right_passes_and_all_that_is_broken_is_said() -> None:
    """In one error, a line each."""
    await check_provider(Own, within=PATIENCE)
    with pytest.raises(AssertionError) as raised:
        await check_provider(type("Both", (ShowsAKey, ClosesOnce), {}), within=PATIENCE)
    assert [line.partition(":")[0] for line in str(raised.value).splitlines()].count("no key is shown") == 1
    assert "it can be closed twice: " in str(raised.value)


async def test_it_needs_a_provider_and_a_point_that_there_is() -> None:
    """Each is said with what is expected."""
    with pytest.raises(
        ConfigError, match="the contract has no point 'no key is shwon'; did you mean 'no key is shown'"
    ):
        await check_provider(Own, "no key is shwon")
    with pytest.raises(AssertionError, match="`make` returned a dict, not a BaseProvider"):
        await check_provider(dict, "no key is shown")  # type: ignore[arg-type]
