"""RateLimit and Concurrency with a store: what they ask of it, and what becomes of what it says."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from patience import PATIENCE
from penstock import (
    BaseProvider,
    ConfigError,
    ProviderConfig,
    RateLimitError,
    ServerError,
    StoreError,
    TextChunk,
    UsageChunk,
)
from penstock.core.keys import fingerprint
from penstock.core.messages import ResponseHead
from penstock.middleware import CircuitBreaker, Concurrency, Event, Fallback, RateLimit, Remaining, Retry, StoreLost
from penstock.middleware.limit_store import Limits, News, Verdict, account_name
from penstock.providers.anthropic import AnthropicProvider
from penstock.testing import Hang, ScriptedProvider
from playing import ASK, HI, Clock, collect, outcome

pytestmark = pytest.mark.anyio


class Store:
    """Says what it is told to say, then yes; it keeps what it was asked."""

    def __init__(self, *said: Verdict | StoreError) -> None:
        self._said = deque(said)
        self.asked: list[tuple[Any, ...]] = []
        self.told: list[tuple[Any, ...]] = []
        self.happened: list[News] = []

    def _answer(self) -> Verdict:
        said = self._said.popleft() if self._said else Verdict(f"ticket {len(self.asked)}")
        if isinstance(said, StoreError):
            raise said
        return said

    async def charge(self, name: str, limits: Limits, tokens: int, waited: float) -> Verdict:
        """See LimitStore."""
        self.asked.append((name, limits, tokens > 0, waited))
        return self._answer()

    def correct(self, ticket: object, tokens: int) -> None:
        """See LimitStore."""
        self.told.append((ticket, tokens))

    def hold(self, name: str, seconds: float) -> None:
        """See LimitStore."""
        self.told.append((name, seconds))

    def left(self, name: str, limits: Limits) -> tuple[Limits, float]:
        """See LimitStore."""
        return Limits(7, None), 2.5

    async def take(self, name: str, limit: int, waited: float) -> Verdict:
        """See LimitStore."""
        self.asked.append((name, limit, waited >= 0))
        return self._answer()

    def give_back(self, ticket: object) -> None:
        """See LimitStore."""
        self.told.append((ticket,))

    def news(self) -> Sequence[News]:
        """See LimitStore."""
        found, self.happened = self.happened, []
        return found

    async def aclose(self) -> None:
        """See LimitStore."""


def limited(inner: BaseProvider, store: Store, clock: Clock, **more: Any) -> RateLimit:
    """A RateLimit that takes no time."""
    settings = {"tokens_per_minute": 1000, "name": "n", **more}
    return RateLimit(inner, store=store, clock=clock, sleep=clock.sleep, **settings)


async def test_the_store_is_asked_and_told_the_truth() -> None:
    """An estimate when it is sent, and all that is reported until then with each report."""
    store = Store()
    usage = UsageChunk(input_tokens=400, output_tokens=1), UsageChunk(output_tokens=299)
    await collect(limited(ScriptedProvider([*usage, *HI]), store, Clock(), requests_per_minute=5))
    assert store.asked == [("n", Limits(5, 1000), True, 0.0)]
    assert store.told == [("ticket 1", 401), ("ticket 1", 700)]


async def test_what_the_vendor_refused_is_given_back() -> None:
    """It has counted nothing."""
    store = Store()
    await outcome(limited(ScriptedProvider([ServerError("broke")]), store, Clock()))
    assert store.told == [("ticket 1", 0)]


async def test_it_waits_as_long_as_the_store_says_and_looks_again() -> None:
    """A second at most: others may have used less than they thought."""
    clock = Clock()
    store = Store(Verdict(None, 30.0), Verdict(None, 0.25))
    assert await collect(limited(ScriptedProvider(HI), store, clock)) == HI
    first, second = clock.slept
    assert 1.0 <= first <= 1.1
    assert 0.25 <= second <= 0.35
    assert [asked[3] for asked in store.asked] == pytest.approx([0.0, first, first + second])


@pytest.mark.parametrize(
    ("said", "waits", "why"),
    [
        (Verdict(None, 61.0), 0.0, "others have used up the limit, and there may be room in 61 s"),
        (Verdict(None, 600.0, 600.0), 0.0, "the vendor asked for a pause, of which 600 s are left"),
        (Verdict(None, 59.5), 1.0, "there may be room in 60 s"),
    ],
    ids=["no room within max_wait", "a pause above max_wait", "no room after it has waited"],
)
async def test_nobody_waits_longer_than_max_wait(said: Verdict, waits: float, why: str) -> None:
    """A refusal comes as soon as that is known, and says the seconds until there is room."""
    clock, inner = Clock(), ScriptedProvider(HI)
    provider = limited(inner, Store(*[said] * 3), clock, max_wait=60)
    _, error = await outcome(provider)
    assert isinstance(error, RateLimitError)
    assert why in str(error)
    assert error.retry_after == said.seconds
    assert len(clock.slept) == waits
    assert inner.calls == []


async def test_who_stands_in_the_line_waits_no_longer_either() -> None:
    """Behind one of its own process; and is told what the store said to that one."""
    store = Store(*[Verdict(None, 0.1)] * 1000)
    provider = RateLimit(ScriptedProvider(HI, repeat=True), requests_per_minute=1, max_wait=0.2, store=store, name="n")
    errors = []

    async def ask() -> None:
        errors.append((await outcome(provider))[1])

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(ask)
    assert all(isinstance(error, RateLimitError) and (error.retry_after or 0) <= 0.1 for error in errors)


async def test_a_pause_is_told_to_the_store_by_error_and_by_head() -> None:
    """And by whoever reads the vendor's headers."""
    store, clock = Store(), Clock()
    inner = ScriptedProvider([RateLimitError("slow down", retry_after=7.5)])
    provider = limited(inner, store, clock)
    await outcome(provider)
    provider.hold(3)
    provider._heard(ResponseHead(status=200, wait=9))
    assert store.told == [("n", 7.5), ("ticket 1", 0), ("n", 3), ("n", 9)]
    assert provider.remaining() == Remaining(requests=7, tokens=None, held=2.5)


@pytest.mark.parametrize("kind", [RateLimit, Concurrency])
async def test_a_store_that_is_lost_is_told_once_and_never_as_a_rate_limit(kind: type) -> None:
    """The call fails before anything is sent."""
    heard: list[Event] = []
    store = Store(StoreError("not sent: lost", retry_after=5.0))
    store.happened = [(StoreLost, {"store": "redis://h", "why": "gone", "local": False})]
    inner = ScriptedProvider(HI, repeat=True)
    more: dict[str, Any] = {"limit": 3} if kind is Concurrency else {"requests_per_minute": 3}
    provider = kind(inner, store=store, listener=heard.append, **more)
    _, error = await outcome(provider)
    assert isinstance(error, StoreError)
    assert not isinstance(error, RateLimitError)
    assert inner.calls == []
    assert [type(event).__name__ for event in heard if type(event).__name__ != "Waiting"] == ["StoreLost", "Refused"]
    assert await collect(provider) == HI


async def test_a_place_is_taken_kept_and_given_back() -> None:
    """However the stream ends; and one that was never got is not."""
    store = Store(Verdict(None, 0.01), Verdict("a place"), Verdict("another"), StoreError("lost"))
    provider = Concurrency(ScriptedProvider(HI, [TextChunk("a"), Hang()], HI), 2, store=store, name="n")
    assert await collect(provider) == HI
    assert store.asked == [("n", 2, True)] * 2
    assert store.told == [("a place",)]
    stream = provider.create_message("", ASK)
    await anext(stream)
    assert provider.running == 1
    await stream.aclose()
    assert store.told == [("a place",), ("another",)]
    _, error = await outcome(provider)
    assert isinstance(error, StoreError)
    assert len(store.told) == 2
    assert (provider.running, provider.waiting) == (0, 0)
    assert await collect(provider) == HI


async def test_who_leaves_while_it_waits_for_a_place_leaves_nothing() -> None:
    """Neither here nor there."""
    store = Store(*[Verdict(None, 0.01)] * 1000)
    provider = Concurrency(ScriptedProvider(HI, repeat=True), 1, store=store)
    with anyio.move_on_after(0.05):
        await collect(provider)
    assert (provider.running, provider.waiting, store.told) == (0, 0, [])
    store._said.clear()
    assert await collect(provider) == HI


@pytest.mark.parametrize(
    ("around", "calls", "state"),
    [
        (lambda inner, other: CircuitBreaker(inner, failures=1), 0, StoreError),
        (lambda inner, other: Fallback(inner, other), 0, StoreError),
        (lambda inner, other: Retry(inner, attempts=2, base=0.001), 1, None),
    ],
    ids=["opens no circuit", "leads to no other model", "is worth another try"],
)
async def test_a_store_that_is_lost_is_no_fault_of_the_vendor(around: Any, calls: int, state: Any) -> None:
    """Nor of the model."""
    inner = ScriptedProvider(HI, repeat=True)
    provider = around(RateLimit(inner, store=Store(StoreError("lost"))), ScriptedProvider(HI))
    _, error = await outcome(provider)
    assert (type(error) if error else None, len(inner.calls)) == (state, calls)
    assert await collect(provider) == HI


async def test_what_a_limit_of_ones_own_refuses_opens_no_circuit() -> None:
    """The vendor has not even been asked."""
    limit = RateLimit(ScriptedProvider(HI), store=Store(Verdict(None, 90.0)), requests_per_minute=1)
    provider = CircuitBreaker(limit, failures=1)
    _, error = await outcome(provider)
    assert isinstance(error, RateLimitError)
    assert error.refused_here
    assert provider.state == "closed"
    assert await collect(provider) == HI


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"api_key": "sk-one"}, f"api.anthropic.com:{fingerprint('sk-one')}:/1000"),
        ({"api_key": "sk-two"}, f"api.anthropic.com:{fingerprint('sk-two')}:/1000"),
        ({"api_key": lambda: "sk-one"}, "api.anthropic.com:/1000"),
        ({"api_key": "sk-one", "base_url": "http://localhost:8080"}, f"localhost:8080:{fingerprint('sk-one')}:/1000"),
    ],
    ids=["a key", "another", "one that is fetched", "another server"],
)
def test_what_is_counted_together_has_one_host_key_and_number(config: dict[str, Any], name: str) -> None:
    """The key is not shown."""
    inner = AnthropicProvider(ProviderConfig(model_id="m", **config))
    assert account_name(Retry(inner), "/1000") == name
    assert RateLimit(inner, tokens_per_minute=1000, store=Store())._name == name


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"name": "n"}, "`name` says what is counted as one in a store: give `store` too"),
        ({"name": "", "store": Store()}, "`name` is '', expected a text"),
        ({"store": "redis://h"}, "`store` is of type str, expected a store, as RedisStore(url)"),
    ],
)
@pytest.mark.parametrize("kind", [RateLimit, Concurrency])
def test_a_store_that_makes_no_sense_is_refused(kind: type, more: dict[str, Any], said: str) -> None:
    """When it is built."""
    with pytest.raises(ConfigError) as raised:
        kind(ScriptedProvider(), **({"limit": 1} if kind is Concurrency else {}), **more)
    assert said in str(raised.value)
