"""CircuitBreaker: when it opens, who may try, and that nothing leaves it stuck."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from penstock import (
    AuthenticationError,
    CircuitOpenError,
    ConfigError,
    InvalidRequestError,
    MalformedResponseError,
    NetworkError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    ProviderError,
    ProviderTimeoutError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
    TextChunk,
    TokenLimitError,
)
from penstock.middleware import CircuitBreaker
from penstock.testing import Hang, ScriptedProvider
from playing import ASK, HI, Clock, cancelled_after, collect, outcome, renewed, used

pytestmark = pytest.mark.anyio

BROKE = [ServerError("broke")]


async def opened(clock: Clock, *later: Any, **settings: Any) -> tuple[CircuitBreaker, ScriptedProvider]:
    """A breaker that two failures have just opened, and what it will ask."""
    provider = ScriptedProvider(BROKE, BROKE, *later, model="m")
    breaker = CircuitBreaker(provider, failures=2, clock=clock, **settings)
    for _ in range(2):
        assert isinstance((await outcome(breaker))[1], ServerError)
    return breaker, provider


async def left(breaker: CircuitBreaker) -> float | None:
    """Seconds until the trial, None if the circuit let a call through."""
    _, error = await outcome(breaker)
    return error.retry_after if isinstance(error, CircuitOpenError) else None


async def test_it_opens_after_n_failures_and_says_when() -> None:
    """A call is refused without being sent, and the error is one that Retry and Fallback understand."""
    clock = Clock()
    breaker, provider = await opened(clock)
    clock.now += 10
    _, error = await outcome(breaker)
    assert isinstance(error, CircuitOpenError)
    assert (error.retry_after, error.retryable, error.model) == (20, True, "m")
    assert "2 failures within 60 s, the last with ServerError: broke" in str(error)
    assert len(provider.calls) == 2


async def test_failures_count_only_within_the_window() -> None:
    """Successes in between do not lower the count, time does."""
    clock = Clock()
    provider = ScriptedProvider(BROKE, HI, BROKE, BROKE, BROKE, repeat=False)
    breaker = CircuitBreaker(provider, failures=3, window=60, clock=clock)
    for pause in (0, 30, 30, 1):
        clock.now += pause
        assert await left(breaker) is None
    clock.now += 1  # the first failure is more than 60 s ago, the second 2 s
    assert await left(breaker) is None
    assert await left(breaker) == 30
    assert len(provider.calls) == 5


@pytest.mark.parametrize(
    ("error", "calls"),
    [
        pytest.param(QuotaExceededError("no money"), 1, id="quota opens at once"),
        pytest.param(AuthenticationError("who"), 1, id="authentication opens at once"),
        pytest.param(PermissionDeniedError("no"), 1, id="permission opens at once"),
        pytest.param(ServerError("broke"), 2, id="500 counts"),
        pytest.param(OverloadedError("busy"), 2, id="overload counts"),
        pytest.param(RateLimitError("slow down"), 2, id="rate limit counts"),
        pytest.param(ProviderTimeoutError("slow"), 2, id="a deadline counts"),
        pytest.param(NetworkError("refused"), 2, id="network counts"),
        pytest.param(StreamInterruptedError("cut"), 2, id="a cut counts"),
        pytest.param(MalformedResponseError("html"), 2, id="a web page counts"),
        pytest.param(InvalidRequestError("bad", status=400), 4, id="a bad request is the caller's fault"),
        pytest.param(InvalidRequestError("bad"), 4, id="so is one that is refused here"),
        pytest.param(TokenLimitError("big"), 4, id="so is an overflow"),
        pytest.param(NotFoundError("no such file"), 4, id="404 may be a file that a message names"),
        pytest.param(ConfigError("wrong"), 4, id="so is the configuration"),
        pytest.param(CircuitOpenError("open"), 4, id="a breaker inside has not even asked"),
        pytest.param(renewed(), 4, id="a key that ended is nobody's fault"),
        pytest.param(LookupError("a bug"), 4, id="a bug says nothing about the vendor"),
    ],
)
async def test_what_counts(error: Exception, calls: int) -> None:
    """Of four calls, so many are sent when two failures open it."""
    provider = ScriptedProvider([error], repeat=True)
    breaker = CircuitBreaker(provider, failures=2, clock=Clock())
    for _ in range(4):
        with pytest.raises((ProviderError, LookupError)):
            await collect(breaker)
    assert len(provider.calls) == calls


async def test_a_pause_that_the_vendor_asks_for_is_kept() -> None:
    """A trial before it could only fail."""
    provider = ScriptedProvider([RateLimitError("slow down", retry_after=90)])
    breaker = CircuitBreaker(provider, failures=1, pause=30, clock=Clock())
    await outcome(breaker)
    assert await left(breaker) == 90


async def test_a_failure_in_mid_stream_counts() -> None:
    """Also after something was shown."""
    provider = ScriptedProvider([TextChunk("H"), *BROKE], repeat=True)
    breaker = CircuitBreaker(provider, failures=2, clock=Clock())
    for _ in range(2):
        await outcome(breaker)
    assert await left(breaker) == 30


async def test_a_good_trial_closes_it() -> None:
    """And the count begins at nothing."""
    clock = Clock()
    breaker, provider = await opened(clock, HI, HI, BROKE, HI)
    clock.now += 30
    for _ in range(2):
        assert await collect(breaker) == HI
    assert await left(breaker) is None, "one failure of two"
    assert await collect(breaker) == HI
    assert len(provider.calls) == 6


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(BROKE, id="at once"),
        pytest.param([used(3), *BROKE], id="after its usage"),
        pytest.param([TextChunk("H"), *BROKE], id="after its first words"),
        pytest.param([TextChunk("H")], id="because it is cut"),
    ],
)
async def test_a_trial_that_fails_opens_it_again(script: Any) -> None:
    """One failure is enough then."""
    clock = Clock()
    breaker, provider = await opened(clock, script, HI)
    clock.now += 31
    await outcome(breaker)
    assert await left(breaker) == 30
    clock.now += 30
    assert await collect(breaker) == HI
    assert len(provider.calls) == 4


async def test_others_wait_for_the_trial_until_it_shows_something() -> None:
    """Its first chunk is proof enough: they need not wait until a long answer ends."""
    clock = Clock()
    breaker, provider = await opened(clock, [used(3), *HI], HI)
    clock.now += 30
    trial = breaker.create_message("", ASK)
    assert await anext(trial) == used(3)
    clock.now += 1
    assert await left(breaker) == 29, "usage is no proof: overload often comes right after it"
    assert await anext(trial) == TextChunk("Hi")
    assert await collect(breaker) == HI
    await trial.aclose()
    assert await left(breaker) is None
    assert len(provider.calls) == 5


async def test_a_trial_that_is_left_early_decides_nothing() -> None:
    """Closed before it showed anything: the next call is the trial, at once."""
    clock = Clock()
    breaker, _ = await opened(clock, [used(3), *HI], HI)
    clock.now += 30
    trial = breaker.create_message("", ASK)
    await anext(trial)
    await trial.aclose()
    assert await collect(breaker) == HI


async def test_a_trial_that_is_left_after_its_first_words_is_a_success() -> None:
    """Who has read enough does not blame the vendor."""
    clock = Clock()
    breaker, _ = await opened(clock, HI, BROKE, HI)
    clock.now += 30
    trial = breaker.create_message("", ASK)
    await anext(trial)
    await trial.aclose()
    assert await left(breaker) is None, "one failure of two"
    assert await collect(breaker) == HI


async def test_a_trial_with_a_bad_request_decides_nothing() -> None:
    """It never says whether the vendor is well."""
    clock = Clock()
    breaker, _ = await opened(clock, [InvalidRequestError("bad")], HI)
    clock.now += 30
    assert await left(breaker) is None
    assert await collect(breaker) == HI


@pytest.mark.parametrize("turns", range(12))
async def test_a_cancelled_trial_does_not_leave_it_stuck(turns: int) -> None:
    """Wherever it is cancelled: the next call is let through, and closes it."""
    clock = Clock()
    breaker, provider = await opened(clock, [used(1), used(2), *HI], HI, HI)
    clock.now += 30
    await cancelled_after(turns, lambda: collect(breaker))
    assert await collect(breaker) in (HI, [used(1), used(2), *HI])
    assert provider.running == 0


async def test_a_trial_that_hangs_lets_the_next_one_through_after_the_pause() -> None:
    """A vendor that never answers must not keep it open for as long as the deadline is."""
    clock = Clock()
    breaker, _ = await opened(clock, [Hang(), *HI], HI, HI)
    clock.now += 30
    async with anyio.create_task_group() as group:
        group.start_soon(outcome, breaker)
        await anyio.wait_all_tasks_blocked()
        clock.now += 29
        assert await left(breaker) == 1
        clock.now += 1
        assert await collect(breaker) == HI
        group.cancel_scope.cancel()
    assert await collect(breaker) == HI, "the one that hung decides nothing any more"


async def test_calls_from_before_it_opened_change_nothing() -> None:
    """A failure that comes late does not prolong the pause, a late success does not end it."""
    clock = Clock()
    provider = ScriptedProvider([TextChunk("H"), *BROKE], HI, BROKE, HI)
    breaker = CircuitBreaker(provider, failures=1, clock=clock)
    failing, good = breaker.create_message("", ASK), breaker.create_message("", ASK)
    await anext(failing)
    await anext(good)
    await outcome(breaker)
    clock.now += 10
    with pytest.raises(ServerError):
        await anext(failing)
    assert [chunk async for chunk in good] == HI[1:]
    assert await left(breaker) == 20


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        pytest.param({"failures": 0}, "`failures` is 0, expected a whole number", id="no failure"),
        pytest.param({"failures": True}, "`failures` is True", id="a bool"),
        pytest.param({"failures": 1.5}, "`failures` is 1.5", id="a float"),
        pytest.param({"window": 0}, "`window` is 0, expected a number of seconds", id="no window"),
        pytest.param({"window": "60"}, "`window` is '60'", id="a text"),
        pytest.param({"pause": -1}, "`pause` is -1", id="back in time"),
        pytest.param({"pause": float("inf")}, "`pause` is inf", id="for ever"),
        pytest.param({"inner": None}, "`inner` is of type NoneType", id="nothing inside"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(wrong: dict[str, Any], said: str) -> None:
    """When it is built."""
    with pytest.raises(ConfigError) as raised:
        CircuitBreaker(**({"inner": ScriptedProvider()} | wrong))
    assert said in str(raised.value)
