"""A listener of a leaf: every request has one beginning and one end, however the leaf is nested and the call ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from itertools import groupby
from typing import Any

import pytest

from leaving import (
    by_a_break,
    by_a_timeout,
    by_aclose,
    by_an_error,
    by_an_exception_in_the_loop,
    by_cancelling,
    by_completing,
    by_dropping_it,
)
from penstock import BaseProvider, Options, ResponseHead, ServerError, StopChunk, TextChunk, UsageChunk
from penstock.core.closing import owe
from penstock.core.scope import EVERYWHERE, Scope
from penstock.middleware import (
    Abandoned,
    AttemptFailed,
    CacheMiss,
    CacheWatch,
    CircuitBreaker,
    Completed,
    Concurrency,
    Ended,
    Event,
    Failed,
    Fallback,
    FallbackTo,
    FirstChunk,
    HeadersSeen,
    Listener,
    Observe,
    RateLimit,
    Retry,
    RetryScheduled,
    Started,
    UsageReported,
)
from penstock.middleware.observe import listen
from penstock.testing import Hang, ScriptedProvider, ScriptedStep
from playing import ASK, HI, OPEN, Clock, bill, cancelled_after, cancelled_while_waiting, collect, outcome, used

pytestmark = pytest.mark.anyio

BUSY: list[ScriptedStep] = [used(5), ServerError("broke", request_id="req_busy")]
CUT: list[ScriptedStep] = [used(3), TextChunk("H"), ServerError("broke")]
HANGING: list[ScriptedStep] = [used(5), TextChunk("H"), Hang()]
WELL: list[ScriptedStep] = [used(7), *HI]


def heard_by(listener: Listener, *scripts: Any, model: str = "a") -> ScriptedProvider:
    leaf = ScriptedProvider(*scripts, model=model, repeat=True)
    leaf.alias = f"the {model}"
    listen(leaf, listener)
    return leaf


def nest(listener: Listener, first: Sequence[Any], second: Sequence[Any], *, failures: int = 5) -> BaseProvider:
    """As models.json builds it, with two tries of each."""
    clock = Clock()

    def around(leaf: BaseProvider) -> BaseProvider:
        limited = RateLimit(Concurrency(leaf, 2), requests_per_minute=100, clock=clock, sleep=clock.sleep)
        return CircuitBreaker(Retry(limited, attempts=2, clock=clock, sleep=clock.sleep), failures=failures)

    return Fallback(around(heard_by(listener, *first)), around(heard_by(listener, *second, model="b")), clock=clock)


def requests(events: Sequence[Event]) -> list[tuple[str, int, type[Event]]]:
    """Model, try and end of each request. The law: one beginning, one end, one sum, one call."""
    own = [event for event in events if isinstance(event, Started | FirstChunk | UsageReported | Ended)]
    found: list[tuple[str, int, type[Event]]] = []
    for (model, attempt), told in groupby(own, lambda event: (event.model, event.attempt)):
        first, *between, last = told
        assert isinstance(first, Started)
        assert isinstance(last, Ended)
        assert not any(isinstance(event, Started | Ended) for event in between)
        assert last.usage == sum((each.usage for each in between if isinstance(each, UsageReported)), UsageChunk())
        assert last.first_chunk == next((each.time for each in between if isinstance(each, FirstChunk)), None)
        assert last.time >= max(event.time for event in (first, *between)) >= first.time >= 0
        found.append((model, attempt, type(last)))
    assert len({event.call for event in events}) <= 1
    assert {event.alias for event in events} <= {"the a", "the b"}
    return found


A1, A2, B1 = ("a", 1), ("a", 2), ("b", 1)
LAWS: list[Any] = [
    pytest.param(by_completing, [WELL], [WELL], [(*A1, Completed)], id="it ends"),
    pytest.param(by_completing, [BUSY, WELL], [WELL], [(*A1, Failed), (*A2, Completed)], id="it is tried again"),
    pytest.param(
        by_completing, [BUSY], [WELL], [(*A1, Failed), (*A2, Failed), (*B1, Completed)], id="another is asked"
    ),
    pytest.param(by_an_error, [CUT], [WELL], [(*A1, Failed)], id="it breaks after a text"),
    pytest.param(
        by_an_error, [BUSY], [BUSY], [(*A1, Failed), (*A2, Failed), (*B1, Failed), ("b", 2, Failed)], id="all fail"
    ),
    pytest.param(by_a_break, [HANGING], [WELL], [(*A1, Abandoned)], id="break"),
    pytest.param(by_a_break, [BUSY, HANGING], [WELL], [(*A1, Failed), (*A2, Abandoned)], id="break in the second try"),
    pytest.param(by_aclose, [HANGING], [WELL], [(*A1, Abandoned)], id="aclose"),
    pytest.param(by_an_exception_in_the_loop, [HANGING], [WELL], [(*A1, Abandoned)], id="an exception in the loop"),
    pytest.param(by_a_timeout, [HANGING], [WELL], [(*A1, Abandoned)], id="timeout"),
    pytest.param(by_cancelling, [HANGING], [WELL], [(*A1, Abandoned)], id="cancelled"),
    pytest.param(by_dropping_it, [HANGING], [WELL], [(*A1, Abandoned)], id="garbage collection"),
]


# Dropping a generator without closing it is what trio warns of; that is the point here.
@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")
@pytest.mark.parametrize(("leave", "first", "second", "told"), LAWS)
async def test_each_request_is_told_of_once(
    leave: Callable[[BaseProvider], Awaitable[None]], first: Any, second: Any, told: list[tuple[str, int, type[Event]]]
) -> None:
    """Whoever adds up the last events has the bill of every request."""
    events: list[Event] = []
    await leave(nest(events.append, first, second))
    assert requests(events) == told


async def test_the_middlewares_tell_what_they_do() -> None:
    """Each thing once, though the listener stands at three providers; and in order."""
    events: list[Event] = []
    provider = Observe(nest(events.append, [BUSY], [WELL]), events.append)
    chunks = await collect(provider)
    kinds = (Started, AttemptFailed, RetryScheduled, FallbackTo, Ended)
    assert [(type(event), event.model, event.attempt) for event in events if isinstance(event, kinds)] == [
        (Started, "a", 1),
        (Failed, "a", 1),
        (AttemptFailed, "a", 1),
        (RetryScheduled, "a", 2),
        (Started, "a", 2),
        (Failed, "a", 2),
        (AttemptFailed, "a", 2),
        (FallbackTo, "b", 2),
        (Started, "b", 1),
        (Completed, "b", 1),
    ]
    assert sum((event.usage for event in events if isinstance(event, Ended)), UsageChunk()) == bill(chunks)
    assert [event.request_id for event in events if isinstance(event, Failed)] == ["req_busy"] * 2


async def test_an_open_circuit_asks_nobody() -> None:
    """So there is no request to tell of, but the other's."""
    events: list[Event] = []
    provider = nest(events.append, [BUSY], [WELL], failures=1)
    await collect(provider)
    events.clear()
    await collect(provider)
    assert requests(events) == [(*B1, Completed)]


async def test_another_listener_hears_of_the_whole_call() -> None:
    """Observe around an opened provider is for those who want one end for all tries."""
    own: list[Event] = []
    each: list[Event] = []
    chunks = await collect(Observe(nest(each.append, [BUSY, WELL], [WELL]), own.append))
    assert [type(event) for event in own if isinstance(event, Started | Ended)] == [Started, Completed]
    assert [type(event) for event in each if isinstance(event, Started | Ended)] == [
        Started,
        Failed,
        Started,
        Completed,
    ]
    assert [event.usage for event in own if isinstance(event, Ended)] == [bill(chunks)]
    assert own[0].call == each[0].call


async def test_a_provider_that_one_of_two_hears_of() -> None:
    """Observe tells what the leaves do not: here the listener hears of the second provider from nobody else."""
    events: list[Event] = []
    provider = Fallback(heard_by(events.append, BUSY), ScriptedProvider(WELL, model="b"))
    await collect(Observe(provider, events.append))
    assert [type(event) for event in events if isinstance(event, Ended)] == [Failed, Completed]


async def test_the_head_of_an_answer_has_its_request_id() -> None:
    """Also an answer that ends well or is left has it, in its last event."""

    class Headed(ScriptedProvider):
        async def create_message(self, system_prompt: Any, messages: Any, options: Any = None) -> Any:
            options.on_head(ResponseHead(status=200, request_id="req_1"))
            async with aclosing(super().create_message(system_prompt, messages, options)) as chunks:
                async for chunk in chunks:
                    yield chunk

    events: list[Event] = []
    leaf = Headed(WELL, HANGING)
    listen(leaf, events.append)
    await collect(leaf)
    await by_a_break(leaf)
    assert [
        (type(event), getattr(event, "request_id", None)) for event in events if type(event) is not UsageReported
    ] == [
        (kind, request)
        for last in (Completed, Abandoned)
        for kind, request in ((Started, None), (HeadersSeen, "req_1"), (FirstChunk, None), (last, "req_1"))
    ]


async def test_a_class_that_calls_its_parents_is_one_leaf() -> None:
    """What is around it is around it once, whoever put it there."""

    class Child(ScriptedProvider):
        async def create_message(self, system_prompt: Any, messages: Any, options: Any = None) -> Any:
            async for chunk in super().create_message(system_prompt, messages, options):
                yield chunk

    passed: list[str] = []

    def around(name: str) -> Any:
        async def passing(leaf: Any, send: Any, *asked: Any) -> Any:
            passed.append(name)
            async for chunk in send(*asked):
                yield chunk

        return passing

    leaf = Child(HI, repeat=True)
    leaf.around = (around("leaf"),)
    remove = EVERYWHERE.add(lambda event: None, around("everywhere"))
    try:
        assert await collect(leaf) == HI
        assert passed == ["everywhere", "leaf"]
        async with leaf.stream("", ASK, Options(scope=Scope(call="c", around=(around("scope"),)))) as stream:
            assert [chunk async for chunk in stream] == HI
        assert passed[2:] == ["scope", "leaf"]
        await collect(Retry(leaf))
        assert passed[4:] == ["everywhere", "leaf"]
    finally:
        remove()
        remove()
    await collect(leaf)
    assert passed[6:] == ["leaf"]


async def test_two_listeners_of_one_leaf() -> None:
    """Each hears all, and one that is there twice once."""
    one: list[Event] = []
    other: list[Event] = []
    leaf = heard_by(one.append, WELL)
    listen(leaf, other.append)
    listen(leaf, one.append)
    _, error = await outcome(leaf)
    assert error is None
    assert one == other
    assert [type(event) for event in one] == [Started, UsageReported, FirstChunk, Completed]
    last = one[-1]
    assert isinstance(last, Completed)
    assert isinstance(last.stop, StopChunk)


async def test_what_a_cancelled_request_may_be_billed_is_told_too() -> None:
    """No chunk can say it any more; the increments and the last event say the same."""

    class Owing(ScriptedProvider):
        async def create_message(self, system_prompt: Any, messages: Any, options: Any = None) -> Any:
            try:
                async with aclosing(super().create_message(system_prompt, messages, options)) as chunks:
                    async for chunk in chunks:
                        yield chunk
            except BaseException as gone:
                owe(gone, OPEN)
                raise

    events: list[Event] = []
    leaf = Owing([used(5), Hang()], model="a")
    leaf.alias = "the a"
    listen(leaf, events.append)
    await cancelled_while_waiting(lambda: collect(leaf))
    assert requests(events) == [(*A1, Abandoned)]
    last = events[-1]
    assert isinstance(last, Ended)
    assert last.usage == used(5) + OPEN


@pytest.mark.parametrize("turns", range(40))
async def test_a_nest_that_is_cancelled_anywhere_ends_each_request(turns: int) -> None:
    """Whatever it does at that moment."""
    events: list[Event] = []
    provider = nest(events.append, [BUSY], [WELL])
    ended = await cancelled_after(turns, lambda: collect(provider))
    told = requests(events)
    assert [each[:2] for each in told] == [A1, A2, B1][: len(told)]
    assert all(kind is not Completed for *_, kind in told) or told[-1] == (*B1, Completed)
    assert not ended or told[-1] == (*B1, Completed)


async def test_a_cache_watch_tells_the_listener_of_its_leaf() -> None:
    """Beside its own."""
    own: list[CacheMiss] = []
    events: list[Event] = []
    first, second = UsageChunk(input_tokens=9, cache_write_tokens=2000), UsageChunk(input_tokens=2009)
    watch = CacheWatch(heard_by(events.append, [first, *HI], [second, *HI]), own.append)
    for _ in range(2):
        await collect(watch)
    assert [event for event in events if isinstance(event, CacheMiss)] == own
    assert len(own) == 1
