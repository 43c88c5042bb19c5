"""States that can be asked at any time, and what is told when they change or a call has to wait."""

from __future__ import annotations

import threading
from typing import Any

import anyio
import pytest

from penstock import AuthenticationError, CircuitOpenError, OverloadedError, RateLimitError, ServerError, TextChunk
from penstock.middleware import (
    CircuitBreaker,
    CircuitClosed,
    CircuitOpened,
    Concurrency,
    Event,
    RateLimit,
    Refused,
    Remaining,
    Waiting,
)
from penstock.middleware.observe import listen
from penstock.testing import Hang, ScriptedProvider
from playing import ASK, HI, Clock, cancelled_while_waiting, collect, outcome, used

pytestmark = pytest.mark.anyio

BROKE = [ServerError("broke")]
CUT = [TextChunk("H"), ServerError("broke")]


class Breaker:
    """A breaker that opens at the second failure, what it tells, and its state at that moment."""

    def __init__(self, *scripts: Any) -> None:
        self.clock = Clock()
        self.told: list[tuple[Event, str]] = []
        leaf = ScriptedProvider(*scripts, model="m")
        self.breaker = CircuitBreaker(leaf, failures=2, listener=self.hear, clock=self.clock)

    def hear(self, event: Event) -> None:
        self.told.append((event, self.breaker.state))

    async def ask(self) -> list[tuple[type[Event], str]]:
        """One call; what it made the breaker tell."""
        self.told.clear()
        await outcome(self.breaker)
        return [(type(event), state) for event, state in self.told]


async def test_a_circuit_that_opens_and_closes() -> None:
    """Each change is told once, when the new state can be asked; a listener that asks blocks nobody."""
    breaker = Breaker(BROKE, BROKE, CUT, HI, HI)
    assert breaker.breaker.state == "closed"
    assert await breaker.ask() == []
    assert await breaker.ask() == [(CircuitOpened, "open")]
    opened = breaker.told[0][0]
    assert isinstance(opened, CircuitOpened)
    assert (opened.seconds, opened.model) == (30, "m")
    assert opened.why == "2 failures within 60 s, the last with ServerError: broke"
    assert await breaker.ask() == [(Refused, "open")]
    refused = breaker.told[0][0]
    assert isinstance(refused, Refused)
    assert isinstance(refused.error, CircuitOpenError)
    breaker.clock.now += 30
    assert await breaker.ask() == [(CircuitClosed, "closed"), (CircuitOpened, "open")]
    breaker.clock.now += 30
    assert await breaker.ask() == [(CircuitClosed, "closed")]
    assert await breaker.ask() == []
    assert breaker.breaker.state == "closed"


async def test_a_trial_is_a_state() -> None:
    """While it runs; one that is left decides nothing."""
    breaker = Breaker(BROKE, BROKE, [Hang()], HI)
    for _ in range(2):
        await breaker.ask()
    breaker.clock.now += 30
    states: list[str] = []

    async def trial() -> None:
        await outcome(breaker.breaker)

    async with anyio.create_task_group() as group:
        group.start_soon(trial)
        await anyio.wait_all_tasks_blocked()
        states.append(breaker.breaker.state)
        group.cancel_scope.cancel()
    assert [*states, breaker.breaker.state] == ["trial", "open"]
    assert await breaker.ask() == [(CircuitClosed, "closed")]


async def test_a_circuit_that_is_open_already_is_not_told_of_again() -> None:
    """A call from before fails in a way that would open it."""
    clock = Clock()
    told: list[Event] = []
    leaf = ScriptedProvider([TextChunk("H"), AuthenticationError("no")], BROKE)
    breaker = CircuitBreaker(leaf, failures=1, listener=told.append, clock=clock)
    async with breaker.stream("", ASK) as early:
        await anext(early)
        await outcome(breaker)
        with pytest.raises(AuthenticationError):
            await anext(early)
    assert [type(event) for event in told] == [CircuitOpened]


async def test_what_a_rate_limit_has_left() -> None:
    """It falls with each call and comes back after a minute; a pause that the vendor wants counts down."""
    clock = Clock()
    leaf = ScriptedProvider([used(9), *HI], [RateLimitError("slow", retry_after=20)], model="m")
    limit = RateLimit(leaf, requests_per_minute=3, tokens_per_minute=100, clock=clock, sleep=clock.sleep)
    assert limit.remaining() == Remaining(requests=3, tokens=100, held=0)
    await collect(limit)
    assert limit.remaining() == Remaining(requests=2, tokens=90, held=0)
    await outcome(limit)
    clock.now += 5
    assert limit.remaining() == Remaining(requests=1, tokens=90, held=15)
    clock.now += 60
    assert limit.remaining() == Remaining(requests=3, tokens=100, held=0)
    only = RateLimit(ScriptedProvider([used(200), *HI]), tokens_per_minute=100, clock=clock)
    await collect(only)
    assert only.remaining() == Remaining(requests=None, tokens=0, held=0)


async def test_a_call_that_waits_for_the_rate_limit_is_told_of_once() -> None:
    """The first in the line knows how long, who stands behind it does not."""
    clock = Clock()
    told: list[Event] = []
    leaf = ScriptedProvider(HI, repeat=True)
    listen(leaf, lambda event: told.append(event) if isinstance(event, Waiting) else None)
    limit = RateLimit(leaf, requests_per_minute=1, clock=clock, sleep=clock.sleep)
    await collect(limit)
    assert told == []
    async with anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(collect, limit)
    assert {(event.on, event.seconds) for event in told if isinstance(event, Waiting)} == {
        ("rate_limit", 60.0),
        ("rate_limit", None),
    }
    assert len(told) == 2
    assert len({event.call for event in told}) == 2


async def test_a_pause_that_is_too_long_is_refused_and_told() -> None:
    """No request is made, so nobody else would say so."""
    told: list[Event] = []
    limit = RateLimit(ScriptedProvider(HI), requests_per_minute=9, listener=told.append)
    limit.hold(1000)
    _, error = await outcome(limit)
    assert [(type(event), getattr(event, "error", None)) for event in told] == [(Refused, error)]
    assert isinstance(error, RateLimitError)


async def test_who_runs_and_who_waits() -> None:
    """The counts follow every way out, and a call that waits is told of."""
    told: list[Event] = []
    places = Concurrency(ScriptedProvider([TextChunk("H"), Hang()], repeat=True), 1, listener=told.append)
    assert (places.running, places.waiting) == (0, 0)
    async with places.stream("", ASK) as stream:
        await anext(stream)
        assert (places.running, places.waiting) == (1, 0)
        assert told == []

        async def second() -> None:
            async with places.stream("", ASK) as waiting:
                await anext(waiting)

        seen = []
        async with anyio.create_task_group() as group:
            group.start_soon(second)
            await anyio.wait_all_tasks_blocked()
            seen.append((places.running, places.waiting))
            group.cancel_scope.cancel()
        assert [*seen, (places.running, places.waiting)] == [(1, 1), (1, 0)]
    assert (places.running, places.waiting) == (0, 0)
    assert [(type(event), getattr(event, "on", None)) for event in told] == [(Waiting, "concurrency")]
    await cancelled_while_waiting(lambda: collect(places))
    failing = Concurrency(ScriptedProvider([OverloadedError("busy")]), 1)
    await outcome(failing)
    assert (places.running, failing.running) == (0, 0)


def test_the_counts_of_many_threads_come_back_to_nothing() -> None:
    """Each has a loop of its own; the limit is for each loop, the counts are of all."""
    places = Concurrency(ScriptedProvider(HI, repeat=True), 1)
    most: list[int] = []

    async def calls() -> None:
        for _ in range(50):
            async with places.stream("", ASK) as stream:
                most.extend([places.running async for _ in stream])

    threads = [threading.Thread(target=anyio.run, args=(calls,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (places.running, places.waiting) == (0, 0)
    assert 1 <= min(most) <= max(most) <= 4
