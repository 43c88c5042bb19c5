"""Concurrency and RateLimit: first come, first served, and no place is ever lost."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patience import PATIENCE
from penstock import (
    BaseProvider,
    Chunk,
    ConfigError,
    Message,
    Model,
    ModelInfo,
    Options,
    RateLimitError,
    ServerError,
    TextChunk,
    TokenLimitError,
    UsageChunk,
)
from penstock.middleware import Concurrency, RateLimit
from penstock.middleware.per_loop import PerLoop
from penstock.middleware.rate_window import Window
from penstock.testing import Hang, ScriptedProvider, ScriptedStep
from playing import ASK, HI, STOP, Clock, cancelled_after, collect, outcome

pytestmark = pytest.mark.anyio

HANGING: list[ScriptedStep] = [TextChunk("a"), Hang()]

LONG = "word " * 800
"""A text of more than 900 tokens, and fewer than 1,000."""


class Turnstile(BaseProvider):
    """Counts who is inside, and keeps the order in which they came."""

    def __init__(self, chunks: int = 3) -> None:
        self._chunks = chunks
        self.inside = 0
        self.most = 0
        self.order: list[str] = []

    async def create_message(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """Is inside from the first chunk to the end."""
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.order.append(system_prompt)
        try:
            for _ in range(self._chunks):
                await anyio.lowlevel.checkpoint()
                yield TextChunk("a")
            yield STOP
        finally:
            self.inside -= 1


async def pass_through(provider: BaseProvider, name: str) -> None:
    async with provider.stream(name, ASK) as stream:
        async for _ in stream:
            pass


async def in_order(provider: BaseProvider, names: Sequence[str]) -> None:
    """One task a name, each begun when the one before it waits or is inside."""
    async with anyio.create_task_group() as group:
        for name in names:
            group.start_soon(pass_through, provider, name)
            await anyio.lowlevel.checkpoint()
            await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("limit", [1, 2, 7])
async def test_at_most_so_many_at_once_in_the_order_of_arrival(limit: int) -> None:
    """And so many in fact."""
    turnstile = Turnstile(chunks=40)
    names = [f"{number:02}" for number in range(30)]
    await in_order(Concurrency(turnstile, limit), names)
    assert turnstile.most == limit
    assert turnstile.order == names
    assert turnstile.inside == 0


async def test_who_comes_late_does_not_overtake() -> None:
    """A place that becomes free belongs to the first that waits, not to a call that is made at that moment."""
    turnstile = Turnstile()
    provider = Concurrency(turnstile, 1)
    first = provider.create_message("first", ASK)
    await anext(first)
    async with anyio.create_task_group() as group:
        group.start_soon(pass_through, provider, "second")
        await anyio.wait_all_tasks_blocked()
        await first.aclose()
        await pass_through(provider, "third")
    assert turnstile.order == ["first", "second", "third"]


@pytest.mark.parametrize("holders", [0, 1], ids=["with a free place", "in the line"])
@pytest.mark.parametrize("turns", range(14))
async def test_no_place_is_lost_wherever_it_is_cancelled(turns: int, holders: int) -> None:
    """Waiting, getting the place, reading, closing: afterwards there are as many places as before."""
    turnstile = Turnstile()
    provider = Concurrency(turnstile, 1)
    async with anyio.create_task_group() as group:
        for _ in range(holders):
            group.start_soon(pass_through, provider, "holder")
        await cancelled_after(turns, lambda: pass_through(provider, "cancelled"))
    with anyio.fail_after(PATIENCE):
        await in_order(provider, ["a", "b", "c"])
    assert turnstile.order[-3:] == ["a", "b", "c"]
    assert (turnstile.most, turnstile.inside) == (1, 0)


async def test_no_place_is_lost_by_a_cancel_of_asyncio(anyio_backend_name: str) -> None:
    """`task.cancel()` in the very turn in which the place is handed over."""
    if anyio_backend_name != "asyncio":
        pytest.skip("a cancellation of asyncio's own")
    for turns in range(14):
        turnstile = Turnstile()
        provider = Concurrency(turnstile, 1)
        tasks = [asyncio.create_task(pass_through(provider, str(number))) for number in range(3)]
        for _ in range(turns):
            await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with anyio.fail_after(PATIENCE):
            await pass_through(provider, "last")
        assert (turnstile.most, turnstile.inside) == (1, 0)


# Dropping a generator without closing it is what trio warns of; that is the point here.
@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")
async def test_a_stream_gives_its_place_back_however_it_ends() -> None:
    """By an error, by `aclose` in another task, by being dropped."""
    provider = Concurrency(ScriptedProvider([ServerError("broke")], HANGING, HANGING, HI), 1)
    await outcome(provider)

    stream = provider.create_message("", ASK)
    await anext(stream)

    async def close(stream: AsyncGenerator[Chunk, None]) -> None:
        await stream.aclose()

    async with anyio.create_task_group() as group:
        group.start_soon(close, stream)

    stream = provider.create_message("", ASK)
    await anext(stream)
    del stream
    gc.collect()
    with anyio.fail_after(PATIENCE):
        assert await collect(provider) == HI


async def test_nothing_is_taken_before_the_first_chunk_is_asked_for() -> None:
    """A call that is never read holds no place."""
    provider = Concurrency(ScriptedProvider(HI), 1)
    waiting = provider.create_message("", ASK)
    with anyio.fail_after(PATIENCE):
        assert await collect(provider) == HI
    await waiting.aclose()


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda inner: Concurrency(inner, 1), id="Concurrency"),
        pytest.param(lambda inner: RateLimit(inner, requests_per_minute=900), id="RateLimit"),
    ],
)
def test_one_event_loop_after_the_other(make: Callable[[BaseProvider], BaseProvider], anyio_backend: str) -> None:
    """Of either kind, and even if the one before ended with streams open and waiting."""
    turnstile = Turnstile()
    provider = make(turnstile)

    async def break_off() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(pass_through, provider, "broken off")
            await anyio.lowlevel.checkpoint()
            await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()

    async def read() -> None:
        with anyio.fail_after(PATIENCE):
            await in_order(provider, ["a", "b", "c"])

    for backend in (anyio_backend, "asyncio", "trio", "asyncio"):
        anyio.run(break_off, backend=backend)
        anyio.run(read, backend=backend)
        assert turnstile.order[-3:] == ["a", "b", "c"]
        assert turnstile.inside == 0


def test_loops_in_two_threads_do_not_meet() -> None:
    """Each has its own places: what waits in one loop cannot be woken from another."""
    places: PerLoop[object] = PerLoop(object)
    seen: list[object] = []
    both = threading.Barrier(2)

    async def look() -> None:
        seen.append(places.get())
        both.wait(5)
        assert places.get() is seen[0] or places.get() is seen[1]
        assert places.get() is places.get()
        both.wait(5)

    threads = [threading.Thread(target=anyio.run, args=[look]) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(value) for value in seen}) == 2


# ---- RateLimit


def limited(provider: BaseProvider, clock: Clock, **settings: Any) -> RateLimit:
    """A RateLimit that takes no time."""
    return RateLimit(provider, clock=clock, sleep=clock.sleep, **settings)


class Windowed(ScriptedProvider):
    """A model with a small window."""

    def get_model(self) -> Model:
        """See BaseProvider."""
        return Model("small", ModelInfo(context_window=1000))


async def test_requests_are_counted_over_any_minute() -> None:
    """So many at once, then nothing until the first is a minute old."""
    clock = Clock()
    provider = limited(ScriptedProvider(HI, repeat=True), clock, requests_per_minute=3)
    times = []
    for _ in range(7):
        await collect(provider)
        times.append(clock.now - 1000)
        clock.now += 1
    assert times == [0, 1, 2, 60, 61, 62, 120]


async def test_failed_requests_count_too() -> None:
    """They were sent."""
    clock = Clock()
    provider = limited(ScriptedProvider([ServerError("broke")], HI), clock, requests_per_minute=1)
    await outcome(provider)
    await collect(provider)
    assert clock.now == 1060


async def test_waiting_is_first_come_first_served() -> None:
    """Also where a later one would fit."""
    clock, turnstile = Clock(), Turnstile()
    names = [f"{number:02}" for number in range(12)]
    await in_order(limited(turnstile, clock, requests_per_minute=2), names)
    assert turnstile.order == names
    assert clock.now == 1300


async def test_a_big_one_in_front_is_not_overtaken_by_small_ones() -> None:
    """Else it might wait for ever."""
    clock, turnstile = Clock(), Turnstile()
    provider = limited(turnstile, clock, tokens_per_minute=1000)
    big, small = LONG, "s" * 40
    await in_order(provider, [big, big, small])
    assert turnstile.order == [big, big, small]


@pytest.mark.parametrize("turns", range(16))
async def test_no_turn_is_lost_wherever_it_is_cancelled(turns: int) -> None:
    """In the line, at its head, in the pause: the others go on, and who was never sent is not charged."""
    clock, turnstile = Clock(), Turnstile()
    provider = limited(turnstile, clock, requests_per_minute=2)
    await in_order(provider, ["1", "2"])
    async with anyio.create_task_group() as group:
        group.start_soon(cancelled_after, turns, lambda: pass_through(provider, "cancelled"))
        await anyio.lowlevel.checkpoint()
        group.start_soon(pass_through, provider, "3")
    await in_order(provider, ["4"])
    assert [name for name in turnstile.order if name != "cancelled"] == ["1", "2", "3", "4"]
    assert clock.now == (1120 if "cancelled" in turnstile.order else 1060)
    assert turnstile.inside == 0


async def test_tokens_are_charged_as_they_are_reported() -> None:
    """First the estimate, then the truth; output is charged when it comes."""
    clock = Clock()
    usage = UsageChunk(input_tokens=400, output_tokens=1), UsageChunk(output_tokens=299)
    provider = limited(ScriptedProvider([*usage, *HI], repeat=True), clock, tokens_per_minute=1000)
    await collect(provider)
    clock.now += 30
    await collect(provider)
    assert clock.now == 1030, "700 of 1000 are spent"
    await collect(provider)
    assert clock.now == 1060, "1400 of 1000 are spent, until the first 700 are a minute old"


async def test_an_estimate_that_was_too_high_is_given_back() -> None:
    """A prompt that is mostly in the cache, or short words; and at once, not when the stream ends."""
    clock = Clock()
    cached = UsageChunk(input_tokens=20, cache_read_tokens=900, output_tokens=5)
    provider = limited(ScriptedProvider([cached, Hang()], HI), clock, tokens_per_minute=1000, count_cache_reads=False)
    long = LONG
    stream = provider.create_message(long, ASK)
    await anext(stream)
    assert [chunk async for chunk in provider.create_message(long, ASK)] == HI
    assert clock.now == 1000
    await stream.aclose()


async def test_cache_reads_count_unless_told_otherwise() -> None:
    """Vendors differ; the careful way is the default."""
    clock = Clock()
    cached = UsageChunk(input_tokens=20, cache_read_tokens=979, output_tokens=1)
    provider = limited(ScriptedProvider([cached, *HI], HI), clock, tokens_per_minute=1000)
    await collect(provider)
    await collect(provider)
    assert clock.now == 1060


async def test_a_call_that_fails_without_usage_gives_its_estimate_back() -> None:
    """Nothing was reported, so nothing is billed."""
    clock = Clock()
    provider = limited(ScriptedProvider([ServerError("broke")], HI), clock, tokens_per_minute=1000)
    with pytest.raises(ServerError):
        await anext(provider.create_message(LONG, ASK))
    assert [chunk async for chunk in provider.create_message(LONG, ASK)] == HI
    assert clock.now == 1000


async def test_a_call_larger_than_the_limit_is_sent_all_the_same() -> None:
    """When nothing else is spent: the estimate may be wrong, and to wait for ever helps nobody."""
    clock = Clock()
    provider = limited(ScriptedProvider(HI, repeat=True), clock, tokens_per_minute=10)
    for _ in range(2):
        assert [chunk async for chunk in provider.create_message(LONG, ASK)] == HI
    assert clock.now == 1060


async def test_a_prompt_that_surely_does_not_fit_is_not_sent() -> None:
    """It neither waits nor is charged."""
    clock = Clock()
    inner = Windowed(HI, repeat=True)
    provider = limited(inner, clock, requests_per_minute=1)
    with pytest.raises(TokenLimitError) as raised:
        await anext(provider.create_message(LONG * 5, ASK))
    assert raised.value.limit == 1000
    assert inner.calls == []
    assert [chunk async for chunk in provider.create_message("", ASK)] == HI
    assert clock.now == 1000


async def test_after_a_rate_limit_nobody_is_sent_before_the_vendor_said() -> None:
    """Not the others either."""
    clock = Clock()
    inner = ScriptedProvider([RateLimitError("slow down", retry_after=7.5)], HI, HI)
    provider = limited(inner, clock)
    _, error = await outcome(provider)
    assert error is not None
    assert error.retry_after == 7.5
    clock.now += 2
    assert await collect(provider) == HI
    assert clock.now == 1007.5
    assert await collect(provider) == HI
    assert clock.now == 1007.5


async def test_a_pause_above_max_wait_is_an_error_at_once() -> None:
    """With what is left of it, for all who come meanwhile; then it goes on."""
    clock = Clock()
    inner = ScriptedProvider([RateLimitError("slow down", retry_after=3600)], HI, model="m")
    provider = limited(inner, clock, max_wait=60)
    await outcome(provider)
    clock.now += 600
    _, error = await outcome(provider)
    assert isinstance(error, RateLimitError)
    assert (error.retry_after, error.model, error.usage) == (3000, "m", UsageChunk())
    assert "3000 s are left" in str(error)
    assert len(inner.calls) == 1
    clock.now += 2950
    assert await collect(provider) == HI
    assert clock.now == 4600


async def test_a_pause_can_be_told_from_outside() -> None:
    """By whoever reads the vendor's headers; a shorter one does not end a longer one."""
    clock = Clock()
    provider = limited(ScriptedProvider(HI), clock)
    provider.hold(30)
    provider.hold(10)
    assert await collect(provider) == HI
    assert clock.now == 1030


async def test_the_first_in_the_line_looks_again() -> None:
    """A pause that comes while it waits holds it as well."""
    clock = Clock()
    inner = ScriptedProvider(HI, repeat=True)
    provider = limited(inner, clock, requests_per_minute=1)
    await collect(provider)

    async def sleep(seconds: float) -> None:
        if not clock.slept:
            provider.hold(50)
            clock.now += 30
        await clock.sleep(seconds)

    provider._sleep = sleep
    await collect(provider)
    assert clock.now == 1060
    assert max(clock.slept) <= 1


@given(
    limit=st.integers(1, 50),
    amounts=st.lists(st.tuples(st.integers(0, 60), st.floats(0, 30), st.integers(0, 60)), max_size=60),
)
def test_over_any_minute_no_more_than_the_limit(limit: int, amounts: list[tuple[int, float, int]]) -> None:
    """Whatever is asked for, and whatever is corrected downwards: but for one amount that is larger by itself."""
    window = Window(limit)
    now = 0.0
    spent: list[tuple[float, int]] = []
    for amount, pause, truth in amounts:
        now += pause
        while (wait := window.wait(amount, now)) > 0:
            assert wait < 60.001
            now += wait
        charge = window.charge(amount, now)
        window.correct(charge, min(amount, truth), now)
        spent.append((now, min(amount, truth)))
        recent = [amount for time, amount in spent if time + 60 > now]
        assert sum(recent) <= limit or amount > limit
    assert window.wait(0, now + 61) == 0


def test_what_is_spent_later_counts_from_then() -> None:
    """A correction upwards is no back-dating; one downwards after the minute gives nothing back."""
    window = Window(100)
    charge = window.charge(50, 0)
    window.correct(charge, 100, 30)
    assert window.wait(1, 30) == 30
    assert window.wait(1, 60) == 0
    assert window.wait(51, 60) == 30
    window.correct(charge, 0, 60)
    assert window.wait(51, 60) == 30


@pytest.mark.parametrize(
    ("class_", "wrong", "said"),
    [
        pytest.param(Concurrency, {"limit": 0}, "`limit` is 0, expected a whole number of 1 or more", id="none"),
        pytest.param(Concurrency, {"limit": -1}, "`limit` is -1", id="fewer than none"),
        pytest.param(Concurrency, {"limit": True}, "`limit` is True", id="a bool"),
        pytest.param(Concurrency, {"limit": 1.0}, "`limit` is 1.0", id="a float"),
        pytest.param(Concurrency, {"limit": float("inf")}, "`limit` is inf", id="all"),
        pytest.param(Concurrency, {"limit": "5"}, "`limit` is '5'", id="a text"),
        pytest.param(Concurrency, {"limit": 5, "inner": 5}, "`inner` is of type int", id="no provider"),
        pytest.param(RateLimit, {"requests_per_minute": 0}, "`requests_per_minute` is 0", id="no request"),
        pytest.param(RateLimit, {"requests_per_minute": 0.5}, "`requests_per_minute` is 0.5", id="half a request"),
        pytest.param(RateLimit, {"tokens_per_minute": -5}, "`tokens_per_minute` is -5", id="negative tokens"),
        pytest.param(RateLimit, {"tokens_per_minute": False}, "`tokens_per_minute` is False", id="another bool"),
        pytest.param(RateLimit, {"max_wait": 0}, "`max_wait` is 0, expected a number of seconds", id="no wait"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(class_: Any, wrong: dict[str, Any], said: str) -> None:
    """When it is built."""
    with pytest.raises(ConfigError) as raised:
        class_(**({"inner": ScriptedProvider()} | wrong))
    assert said in str(raised.value)
