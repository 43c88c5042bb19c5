"""Observe: what a listener is told, in order, and that the usage reaches it exactly once on every way out."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio
import anyio.lowlevel
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
from penstock import BaseProvider, ConfigError, OverloadedError, ProviderError, StopChunk, TextChunk, UsageChunk
from penstock.middleware import (
    Abandoned,
    AttemptFailed,
    Completed,
    Event,
    Failed,
    Fallback,
    FallbackTo,
    FirstChunk,
    Observe,
    Retry,
    RetryScheduled,
    Started,
    UsageReported,
)
from penstock.testing import Hang, ScriptedProvider, ScriptedStep
from playing import ASK, HI, NOON, STOP, Clock, at_noon, cancelled_after, collect, outcome, used

pytestmark = pytest.mark.anyio

LAST = (Completed, Failed, Abandoned)


def kinds(events: Sequence[Event]) -> list[type[Event]]:
    return [type(event) for event in events]


async def test_a_call_that_ends_well() -> None:
    """Every event has the call, the model and the time; the last one who answered."""
    clock = Clock()
    events: list[Event] = []

    class Slow(ScriptedProvider):
        async def create_message(self, system_prompt: Any, messages: Any, options: Any = None) -> Any:
            async for chunk in super().create_message(system_prompt, messages, options):
                clock.now += 0.5
                yield chunk

    stop = StopChunk(reason="stop", model="m-2026")
    provider = Observe(Slow([used(5), *HI[:1], used(2), stop], repeat=True, model="m"), events.append, clock=clock)
    await collect(provider)
    assert [at_noon(event) for event in events] == [
        Started(call="c", at=NOON, time=0, model="m"),
        UsageReported(call="c", at=NOON, time=0.5, model="m", usage=used(5)),
        FirstChunk(call="c", at=NOON, time=1, model="m"),
        UsageReported(call="c", at=NOON, time=1.5, model="m", usage=used(2)),
        Completed(
            call="c", at=NOON, time=2, model="m", answered="m-2026", usage=used(5) + used(2), first_chunk=1, stop=stop
        ),
    ]
    await collect(provider)
    first, second = {event.call for event in events[:5]}, {event.call for event in events[5:]}
    assert len(first) == len(second) == 1
    assert first != second


async def test_a_call_that_fails() -> None:
    """With its error, whose request id stands by itself, and its usage."""
    events: list[Event] = []
    script: list[ScriptedStep] = [used(5), OverloadedError("busy", request_id="req_1")]
    _, error = await outcome(Observe(ScriptedProvider(script), events.append))
    assert kinds(events) == [Started, UsageReported, Failed]
    failed = events[-1]
    assert isinstance(failed, Failed)
    assert (failed.error, failed.request_id, failed.usage) == (error, "req_1", used(5))


async def test_a_bug_inside_is_told_of_too() -> None:
    """It is not one of ours, but the call has failed all the same."""
    events: list[Event] = []
    with pytest.raises(LookupError):
        await collect(Observe(ScriptedProvider([used(5), LookupError("a bug")]), events.append))
    failed = events[-1]
    assert isinstance(failed, Failed)
    assert (type(failed.error), failed.request_id, failed.usage) == (LookupError, None, used(5))


async def test_who_has_the_stop_chunk_has_been_told_of() -> None:
    """A loop that breaks there finds its books in order, and nothing is told twice."""
    events: list[Event] = []
    provider = Observe(ScriptedProvider([used(5), STOP]), events.append)
    async with provider.stream("", ASK) as stream:
        async for chunk in stream:
            if chunk == STOP:
                break
        assert kinds(events) == [Started, UsageReported, FirstChunk, Completed]
    assert len(events) == 4


async def test_a_call_that_is_never_read_is_not_told_of() -> None:
    """Nothing was sent."""
    events: list[Event] = []
    stream = Observe(ScriptedProvider(HI), events.append).create_message("", ASK)
    await stream.aclose()
    assert events == []


HANGING = [used(5), TextChunk("H"), Hang()]
WAYS: list[Any] = [
    pytest.param(by_completing, [used(5), *HI], Completed, id="complete"),
    pytest.param(by_an_error, [used(5), OverloadedError("busy")], Failed, id="error"),
    pytest.param(by_an_error, [used(5), TextChunk("H")], Failed, id="cut"),
    pytest.param(by_a_break, HANGING, Abandoned, id="break"),
    pytest.param(by_aclose, HANGING, Abandoned, id="aclose"),
    pytest.param(by_an_exception_in_the_loop, HANGING, Abandoned, id="an exception in the loop"),
    pytest.param(by_a_timeout, HANGING, Abandoned, id="timeout"),
    pytest.param(by_cancelling, HANGING, Abandoned, id="cancel"),
    pytest.param(by_dropping_it, HANGING, Abandoned, id="garbage collection"),
]


# Dropping a generator without closing it is what trio warns of; that is the point here.
@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")
@pytest.mark.parametrize("wrap", [lambda inner: inner, Retry], ids=["alone", "around another"])
@pytest.mark.parametrize(("leave", "script", "last"), WAYS)
async def test_usage_is_told_exactly_once_on_every_way_out(
    leave: Callable[[BaseProvider], Awaitable[None]], script: Any, last: type[Event], wrap: Any
) -> None:
    """Promise 12: whoever adds up the last events has the bill."""
    events: list[Event] = []
    inner = ScriptedProvider(script, repeat=True)
    await leave(Observe(Retry(inner, attempts=1) if wrap is Retry else inner, events.append))
    ends = [event for event in events if isinstance(event, LAST)]
    assert kinds(ends) == [last]
    assert ends[0].usage == used(5)
    assert events[-1] is ends[0]
    assert inner.running == 0


@pytest.mark.parametrize("turns", range(12))
async def test_a_call_cancelled_anywhere_is_told_of_once(turns: int) -> None:
    """From before its first chunk until after its last."""
    events: list[Event] = []
    provider = Observe(ScriptedProvider([used(1), used(2), *HI]), events.append)
    ended = await cancelled_after(turns, lambda: collect(provider))
    ends = [event for event in events if isinstance(event, LAST)]
    assert len(ends) == (1 if events else 0)
    if ends:
        assert isinstance(ends[0], Completed) or not ended
        reports = [event.usage for event in events if isinstance(event, UsageReported)]
        assert ends[0].usage == sum(reports, UsageChunk())


async def test_a_listener_that_raises_does_not_break_the_stream(caplog: pytest.LogCaptureFixture) -> None:
    """Each failure is logged once, with its traceback."""

    def listener(event: Event) -> None:
        raise LookupError(f"no such metric: {type(event).__name__}")

    with caplog.at_level(logging.DEBUG):
        assert await collect(Observe(ScriptedProvider(HI), listener)) == HI
    assert [(record.name, record.levelname, record.getMessage()) for record in caplog.records] == [
        ("penstock", "ERROR", f"a listener failed at {name}") for name in ("Started", "FirstChunk", "Completed")
    ]
    assert "no such metric: Started" in caplog.text


async def test_a_listener_that_raises_does_not_hide_the_error(caplog: pytest.LogCaptureFixture) -> None:
    """Nor a retry."""

    def listener(event: Event) -> None:
        raise LookupError("broken")

    provider = ScriptedProvider([OverloadedError("busy")], repeat=True)
    clock = Clock()
    _, error = await outcome(Observe(Retry(provider, listener=listener, sleep=clock.sleep), listener))
    assert isinstance(error, OverloadedError)
    assert len(provider.calls) == 3
    assert len(caplog.records) == 2 + 3 + 2


async def test_a_cancellation_passes_through_the_listener() -> None:
    """What is no Exception is not ours to hold."""

    class Stop(BaseException):
        pass

    def listener(event: Event) -> None:
        seen.append(event)
        if isinstance(event, FirstChunk):
            raise Stop

    seen: list[Event] = []
    inner = ScriptedProvider(HI)
    with pytest.raises(Stop):
        await collect(Observe(inner, listener))
    assert kinds(seen) == [Started, FirstChunk, Abandoned]
    assert inner.running == 0


async def test_one_listener_for_the_whole_nest() -> None:
    """Started, what Retry and Fallback do, and the end with the usage of all tries."""
    events: list[Event] = []
    clock = Clock()
    busy = ScriptedProvider([used(5), OverloadedError("busy")], repeat=True, model="a")
    retry = Retry(busy, attempts=2, listener=events.append, clock=clock, sleep=clock.sleep)
    fallback = Fallback(retry, ScriptedProvider([used(7), *HI], model="b"), listener=events.append, clock=clock)
    await collect(Observe(fallback, events.append, clock=clock))
    assert [(type(event), event.model) for event in events] == [
        (Started, "a"),
        (UsageReported, "a"),
        (AttemptFailed, "a"),
        (RetryScheduled, "a"),
        (UsageReported, "a"),
        (AttemptFailed, "a"),
        (FallbackTo, "b"),
        (UsageReported, "a"),
        (FirstChunk, "a"),
        (Completed, "a"),
    ]
    last = events[-1]
    assert isinstance(last, Completed)
    assert last.usage == used(5) + used(5) + used(7)
    failed = [(type(event), event.usage) for event in events if isinstance(event, AttemptFailed | FallbackTo)]
    assert failed == [(AttemptFailed, used(5)), (AttemptFailed, used(5)), (FallbackTo, used(5) + used(5))]


async def test_a_listener_sees_the_callers_context() -> None:
    """It is called in the task that reads, so a trace id set there is there."""
    from contextvars import ContextVar

    trace: ContextVar[str] = ContextVar("trace", default="")
    seen: list[str] = []
    provider = Observe(ScriptedProvider(HI, repeat=True), lambda event: seen.append(trace.get()))

    async def reader(name: str) -> None:
        trace.set(name)
        await collect(provider)

    async with anyio.create_task_group() as group:
        for name in "ab":
            group.start_soon(reader, name)
    assert sorted(seen) == ["a"] * 3 + ["b"] * 3


@pytest.mark.parametrize(
    ("listener", "said"),
    [
        pytest.param(None, "`listener` is of type NoneType, expected a plain function", id="none"),
        pytest.param([], "`listener` is of type list", id="a list and not its append"),
        pytest.param(collect, "`listener` is an async function", id="an async function"),
        pytest.param(type("L", (), {"__call__": collect})(), "`listener` is an async function", id="an async object"),
    ],
)
def test_what_cannot_listen_is_refused(listener: Any, said: str) -> None:
    """When it is built."""
    with pytest.raises(ConfigError, match=said):
        Observe(ScriptedProvider(), listener)


def test_an_error_is_a_provider_error() -> None:
    """ConfigError too, so that one `except` is enough."""
    assert issubclass(ConfigError, ProviderError)
