"""All middlewares around each other: nothing is lost, left open or swallowed, whatever the order and the way out."""

from __future__ import annotations

import gc
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import penstock.middleware
from patience import PATIENCE
from penstock import (
    AnthropicProvider,
    BaseProvider,
    Model,
    ModelInfo,
    Options,
    OverloadedError,
    ProviderConfig,
    ProviderError,
    ServerError,
    TextChunk,
    UsageChunk,
)
from penstock.middleware import (
    Abandoned,
    CacheWatch,
    CircuitBreaker,
    Completed,
    Concurrency,
    Defaults,
    Event,
    Failed,
    Fallback,
    Observe,
    RateLimit,
    Retry,
    Started,
    Wrapper,
)
from penstock.testing import Cut, Emulator, Hang, ScriptedProvider, ServerReply, anthropic_error, anthropic_message
from playing import ASK, HI, STOP, Clock, bill, cancelled_after, collect, outcome, used

pytestmark = pytest.mark.anyio

INFO = ModelInfo(input_price=Decimal(3), output_price=Decimal(15))
WRAPPERS: dict[str, Callable[[BaseProvider], BaseProvider]] = {
    "Retry": Retry,
    "Fallback": lambda inner: Fallback(inner, ScriptedProvider(repeat=True)),
    "CircuitBreaker": CircuitBreaker,
    "Concurrency": lambda inner: Concurrency(inner, 1),
    "RateLimit": lambda inner: RateLimit(inner, requests_per_minute=1000, tokens_per_minute=10**9),
    "Observe": lambda inner: Observe(inner, lambda event: None),
    "CacheWatch": CacheWatch,
    "Defaults": lambda inner: Defaults(inner, Options(seed=1)),
}
each = pytest.mark.parametrize("wrap", [pytest.param(wrap, id=name) for name, wrap in WRAPPERS.items()])


def test_the_table_of_middlewares_is_whole() -> None:
    """A new one is not in the package without these tests."""
    public = {name: getattr(penstock.middleware, name) for name in dir(penstock.middleware)}
    wrappers = {name for name, thing in public.items() if isinstance(thing, type) and issubclass(thing, Wrapper)}
    assert wrappers == set(WRAPPERS) | {"Wrapper"}


class Priced(ScriptedProvider):
    """Knows its price."""

    def get_model(self) -> Model:
        return Model("priced", INFO)

    def calculate_cost(self, usage: UsageChunk) -> Decimal | None:
        return Decimal(42)


@each
async def test_each_refuses_what_are_no_options(wrap: Callable[[BaseProvider], BaseProvider]) -> None:
    """With an error of ours, as a provider does."""
    wrong: Any = {"max_tokens": 5}
    provider = AnthropicProvider(ProviderConfig(model_id="m", api_key="k"))
    with pytest.raises(ProviderError, match=r"Options|wrong type"):
        await anext(wrap(provider).create_message("", ASK, wrong))


@each
async def test_each_is_what_it_wraps(wrap: Callable[[BaseProvider], BaseProvider]) -> None:
    """The same chunks, model, price; nothing is sent before the first chunk; closing it closes what is inside."""
    inner = Priced([used(5), *HI])
    async with wrap(inner) as provider:
        assert provider.get_model() == Model("priced", INFO)
        assert provider.calculate_cost(used(1)) == 42
        stream = provider.create_message("system", ASK)
        await anyio.lowlevel.checkpoint()
        assert not inner.calls
        assert [chunk async for chunk in stream] == [used(5), *HI]
    assert inner.closed == 1
    assert inner.calls[0].messages is ASK


@each
async def test_each_closes_what_it_opens(wrap: Callable[[BaseProvider], BaseProvider]) -> None:
    """At once when it is closed, and the error of the provider inside passes through unchanged."""
    inner = ScriptedProvider([TextChunk("H"), Hang()], [TextChunk("H"), ServerError("broke")])
    provider = wrap(inner)
    async with provider.stream("", ASK) as stream:
        await anext(stream)
        assert inner.running == 1
    assert inner.running == 0
    _, error = await outcome(provider)
    assert isinstance(error, ServerError)


# Dropping a generator without closing it is what trio warns of; that is the point here.
@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")
@each
async def test_each_may_be_dropped(wrap: Callable[[BaseProvider], BaseProvider]) -> None:
    """The garbage collector closes it, and the next call works."""
    inner = ScriptedProvider([TextChunk("H"), Hang()], HI)
    provider = wrap(inner)
    stream = provider.create_message("", ASK)
    await anext(stream)
    del stream
    gc.collect()
    with anyio.fail_after(PATIENCE):
        while inner.running:
            await anyio.lowlevel.checkpoint()
        assert await collect(provider) == HI


@each
@pytest.mark.parametrize("turns", range(10))
async def test_each_may_be_cancelled_anywhere(wrap: Callable[[BaseProvider], BaseProvider], turns: int) -> None:
    """Nothing stays open, and the next call works."""
    inner = ScriptedProvider([used(1), *HI], repeat=True)
    provider = wrap(inner)
    await cancelled_after(turns, lambda: collect(provider))
    assert inner.running == 0
    with anyio.fail_after(PATIENCE):
        assert await collect(provider) == [used(1), *HI]


def nest(first: BaseProvider, second: BaseProvider, listener: Callable[[Event], object], clock: Clock) -> BaseProvider:
    """One of each kind, in the order that the package recommends."""
    times: Any = {"clock": clock, "sleep": clock.sleep}
    limits = RateLimit(Concurrency(first, 1), requests_per_minute=100, tokens_per_minute=10**6, **times)
    retry = Retry(limits, attempts=3, listener=listener, **times)
    breaker = CircuitBreaker(retry, failures=50, clock=clock)
    return Observe(Fallback(breaker, second, listener=listener, clock=clock), listener, clock=clock)


@pytest.mark.parametrize("turns", range(60))
async def test_a_nest_may_be_cancelled_anywhere(turns: int) -> None:
    """At every await point of a call that waits, fails, pauses, tries again and falls back, while another one runs."""
    events: list[Event] = []
    scripts: list[Any] = [[used(1), OverloadedError("busy")], [used(2), ServerError("broke")]]
    first, second = ScriptedProvider(*scripts * 3, HI, HI, HI), ScriptedProvider([used(4), *HI], repeat=True)
    provider = nest(first, second, events.append, Clock())
    async with anyio.create_task_group() as group:
        group.start_soon(outcome, provider)
        await cancelled_after(turns, lambda: outcome(provider))
    assert (first.running, second.running) == (0, 0)
    with anyio.fail_after(PATIENCE):
        assert bill(await collect(provider)) is not None
    started = [event for event in events if isinstance(event, Started)]
    ended = [event for event in events if isinstance(event, Completed | Failed | Abandoned)]
    assert sorted(event.call for event in started) == sorted(event.call for event in ended)
    yielded = [chunk for inner in (first, second) for call in inner.calls for chunk in call.yielded]
    assert sum((event.usage for event in ended), UsageChunk()) == bill(yielded)


async def test_a_nest_tells_the_bill_of_everything() -> None:
    """Three tries of the first, one of the second: the sum of the chunks, the last event and the truth are one."""
    events: list[Event] = []
    busy: Any = [used(3), OverloadedError("busy")]
    provider = nest(ScriptedProvider(busy, busy, busy), ScriptedProvider([used(4), *HI]), events.append, Clock())
    chunks = await collect(provider)
    assert bill(chunks) == used(3) + used(3) + used(3) + used(4)
    last = events[-1]
    assert isinstance(last, Completed)
    assert last.usage == bill(chunks)
    assert chunks[-1] == STOP


async def test_a_retry_inside_a_retry_multiplies() -> None:
    """Nothing global knows of the other; usage still adds up."""
    clock = Clock()
    inner = ScriptedProvider([used(1), ServerError("broke")], repeat=True)
    provider = Retry(Retry(inner, attempts=2, sleep=clock.sleep), attempts=3, sleep=clock.sleep)
    chunks, error = await outcome(provider)
    assert error is not None
    assert len(inner.calls) == 6
    assert error.usage == bill(chunks) == sum([used(1)] * 6, UsageChunk())


async def test_over_a_real_provider() -> None:
    """A 529 is retried, a cut after the first words is not, and the connection is closed."""
    events = list(anthropic_message({"type": "text", "text": "Hello there!"}, piece=4))
    busy, cut = anthropic_error(529, "overloaded_error", "busy"), ServerReply([*events[:3], Cut()])
    async with Emulator(busy, ServerReply(events), cut) as emulator:
        config = ProviderConfig(model_id="m", api_key="none", base_url=emulator.url)
        seen: list[Event] = []
        async with Observe(Retry(Concurrency(AnthropicProvider(config), 2), base=0.001), seen.append) as provider:
            chunks = await collect(provider)
            assert "".join(chunk.text for chunk in chunks if isinstance(chunk, TextChunk)) == "Hello there!"
            _, error = await outcome(provider)
            assert error is not None
            assert type(error).__name__ == "StreamInterruptedError"
        assert len(emulator.requests) == 3
    ends = [event for event in seen if isinstance(event, Completed | Failed)]
    assert [type(event) for event in ends] == [Completed, Failed]
    assert ends[0].usage == bill(chunks)
