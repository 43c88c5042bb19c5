"""Fallback: which errors lead on, that nothing is repeated, and that no error is lost on the way."""

from __future__ import annotations

import gc
import traceback
import weakref
from typing import Any

import pytest

from penstock import (
    AuthenticationError,
    BaseProvider,
    CircuitOpenError,
    ConfigError,
    InvalidRequestError,
    MalformedResponseError,
    Model,
    ModelInfo,
    NetworkError,
    NotFoundError,
    Options,
    OverloadedError,
    PermissionDeniedError,
    ProviderError,
    ProviderTimeoutError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
    StopChunk,
    StreamInterruptedError,
    TextChunk,
    TokenLimitError,
)
from penstock.middleware import CircuitBreaker, Completed, Event, Fallback, FallbackTo, FirstChunk, Observe, Started
from penstock.testing import ScriptedProvider
from playing import ASK, HI, Clock, bill, cancelled_while_waiting, collect, outcome, renewed, used

pytestmark = pytest.mark.anyio


def locked() -> ProviderError:
    error = InvalidRequestError("locked", status=409)
    error.retryable = True
    return error


@pytest.mark.parametrize(
    ("error", "leads_on"),
    [
        pytest.param(AuthenticationError("who", status=401), True, id="a withdrawn key"),
        pytest.param(PermissionDeniedError("no", status=403), True, id="not for this key"),
        pytest.param(NotFoundError("what", status=404), True, id="a withdrawn model"),
        pytest.param(QuotaExceededError("no money", status=402), True, id="quota"),
        pytest.param(RateLimitError("slow down", status=429), True, id="rate limit"),
        pytest.param(RateLimitError("slow down", retry_after=3600), True, id="rate limit for an hour"),
        pytest.param(OverloadedError("busy", status=529), True, id="overload"),
        pytest.param(ServerError("broke", status=500), True, id="500"),
        pytest.param(ProviderTimeoutError("slow"), True, id="a deadline"),
        pytest.param(NetworkError("refused"), True, id="network"),
        pytest.param(StreamInterruptedError("cut"), True, id="cut before anything was shown"),
        pytest.param(MalformedResponseError("html"), True, id="a web page"),
        pytest.param(CircuitOpenError("open"), True, id="a provider that is cooling down"),
        pytest.param(TokenLimitError("big", status=413), True, id="a history too long for this model"),
        pytest.param(InvalidRequestError("no such option"), True, id="what this wire cannot do"),
        pytest.param(locked(), True, id="409"),
        pytest.param(InvalidRequestError("bad", status=400), False, id="400 would be refused by all"),
        pytest.param(InvalidRequestError("bad", status=422), False, id="422 as well"),
        pytest.param(ConfigError("wrong"), False, id="a mistake in the configuration must show"),
    ],
)
async def test_what_leads_to_the_next(error: ProviderError, leads_on: bool) -> None:
    """What another model or vendor may do better."""
    first, second = ScriptedProvider([error]), ScriptedProvider(HI)
    chunks, raised = await outcome(Fallback(first, second))
    assert len(second.calls) == (1 if leads_on else 0)
    assert (chunks, type(raised)) == ((HI, type(None)) if leads_on else ([], type(error)))


@pytest.mark.parametrize(
    ("scripts", "firsts", "seconds"),
    [
        pytest.param([[renewed()], HI], 2, 0, id="it is right now"),
        pytest.param([[renewed()], [renewed()]], 2, 1, id="once, and no more often"),
        pytest.param([[renewed()], [ServerError("broke")]], 2, 1, id="whatever comes then leads on"),
        pytest.param([[TextChunk("H"), renewed()]], 1, 0, id="after the first text nothing is repeated"),
    ],
)
async def test_who_refused_a_key_that_is_another_now_is_asked_again(
    scripts: list[Any], firsts: int, seconds: int
) -> None:
    """A key that ended is no reason to move to another model; nobody is told that one did."""
    events: list[Event] = []
    first, second = ScriptedProvider(*scripts), ScriptedProvider(HI)
    await outcome(Fallback(first, second, listener=events.append))
    assert (len(first.calls), len(second.calls)) == (firsts, seconds)
    assert [event.attempt for event in events if isinstance(event, FallbackTo)] == [2] * seconds


async def test_a_good_primary_is_all_that_is_asked() -> None:
    """The others cost nothing."""
    first, second = ScriptedProvider(HI), ScriptedProvider(HI)
    assert await collect(Fallback(first, second)) == HI
    assert (len(first.calls), len(second.calls)) == (1, 0)


async def test_each_gets_the_same_in_turn() -> None:
    """What a wire makes of it is its own affair."""
    providers = [ScriptedProvider([ServerError("broke")]) for _ in range(3)]
    with pytest.raises(ServerError):
        async with Fallback(*providers).stream("Be brief.", ASK, Options(seed=1)) as stream:
            await anext(stream)
    for provider in providers:
        (call,) = provider.calls
        assert (call.system_prompt, call.messages, call.options) == ("Be brief.", ASK, Options(seed=1))
        assert call.closed


async def test_no_fallback_after_a_visible_chunk() -> None:
    """Half an answer of one model is not continued by another."""
    first, second = ScriptedProvider([used(5), TextChunk("H"), used(1), ServerError("broke")]), ScriptedProvider(HI)
    chunks, raised = await outcome(Fallback(first, second))
    assert chunks == [used(5), TextChunk("H"), used(1)]
    assert raised is not None
    assert raised.usage == used(5) + used(1)
    assert not second.calls


async def test_the_sum_is_the_bill_of_all() -> None:
    """In the stream, and in the error if there is one."""
    failing = [ScriptedProvider([used(number), ServerError("broke")], repeat=True) for number in (3, 5)]
    chunks, raised = await outcome(Fallback(*failing, ScriptedProvider([used(7), *HI])))
    assert (bill(chunks), raised) == (used(3) + used(5) + used(7), None)
    chunks, raised = await outcome(Fallback(*failing, ScriptedProvider([used(7), TextChunk("H")])))
    assert raised is not None
    assert raised.usage == bill(chunks) == used(3) + used(5) + used(7)


def causes(error: BaseException | None) -> list[BaseException]:
    return [] if error is None else [error, *causes(error.__cause__)]


async def test_all_errors_can_be_reached_from_the_last() -> None:
    """Each with what it was raised from itself; a traceback prints them all."""
    theirs = [LookupError(f"theirs {number}") for number in range(3)]
    ours = [ServerError("first"), NetworkError("second"), OverloadedError("third")]
    for error, cause in zip(ours, theirs, strict=True):
        error.__cause__ = cause
    _, raised = await outcome(Fallback(*(ScriptedProvider([error]) for error in ours)))
    assert [str(cause).split("\n")[0] for cause in causes(raised)] == [
        "third (model scripted)",
        "theirs 2",
        "second (model scripted)",
        "theirs 1",
        "first (model scripted)",
        "theirs 0",
    ]
    assert raised is not None
    assert all(str(error) in "".join(traceback.format_exception(raised)) for error in theirs)


async def test_one_error_raised_by_all_makes_no_ring() -> None:
    """A chain of causes that never ends would hang whoever walks along it."""

    class Rigid(ScriptedProvider):
        async def create_message(self, system_prompt: Any, messages: Any, options: Any = None) -> Any:
            raise error
            yield

    error = ServerError("the very same")
    error.__cause__ = LookupError("deep")
    _, raised = await outcome(Fallback(Rigid(), Rigid(), Rigid()))
    assert raised is error
    assert causes(raised) == [error, error.__cause__]


async def test_errors_are_not_kept_alive_by_a_ring() -> None:
    """An error holds its frames, and they the response: they go with the last reference, without the collector."""
    first = ScriptedProvider([ServerError("broke")])
    gc.collect()
    gc.disable()
    try:
        _, raised = await outcome(Fallback(first, ScriptedProvider([ServerError("too")])))
        gone = weakref.ref(causes(raised)[-1])
        assert gone() is not None
        del raised
        assert gone() is None
    finally:
        gc.enable()


async def test_a_bug_does_not_lead_on() -> None:
    """It must show."""
    second = ScriptedProvider(HI)
    with pytest.raises(LookupError):
        await collect(Fallback(ScriptedProvider([LookupError("a bug")]), second))
    assert not second.calls


async def test_a_breaker_inside_spares_the_failing_one() -> None:
    """Once it is open the first is not even asked, and the answer comes from the second."""
    clock = Clock()
    first, second = ScriptedProvider([ServerError("broke")], repeat=True), ScriptedProvider(HI, repeat=True)
    provider = Fallback(CircuitBreaker(first, failures=2, clock=clock), second)
    for _ in range(5):
        assert await collect(provider) == HI
    assert (len(first.calls), len(second.calls)) == (2, 5)


async def test_a_listener_is_told_who_is_asked_next() -> None:
    """And why."""
    events: list[Event] = []
    first = ScriptedProvider([used(3), ServerError("broke", request_id="req_1")], repeat=True, model="a")
    provider = Fallback(first, ScriptedProvider(HI, model="b"), listener=events.append, clock=Clock())
    await collect(provider)
    (to,) = events
    assert isinstance(to, FallbackTo)
    assert (to.time, to.model, to.attempt) == (0, "b", 2)
    assert (str(to.error.message), to.usage, to.request_id) == ("broke", used(3), "req_1")
    await outcome(provider)
    assert len(events) == 2, "the last one's failure is the call's, and Observe's to tell of"


async def test_who_observes_it_is_told_who_answered() -> None:
    """Not only who was asked first; and that it is one call."""
    events: list[Event] = []
    second = ScriptedProvider([TextChunk("Hi"), StopChunk(reason="stop", model="b-2026")], model="b")
    inner = Fallback(ScriptedProvider([ServerError("broke")], model="a"), second, listener=events.append, clock=Clock())
    await collect(Observe(inner, events.append))
    told = [(type(event), event.model, event.answered) for event in (events[0], *events[-3:])]
    assert told == [
        (Started, "a", None), (FallbackTo, "b", None), (FirstChunk, "a", None), (Completed, "a", "b-2026")
    ]  # fmt: skip
    assert len({event.call for event in events}) == 1


class Priced(ScriptedProvider):
    """Has a model of its own, and fails to close."""

    def get_model(self) -> Model:
        return Model("priced", ModelInfo(input_price=1))  # type: ignore[arg-type]  # an int is taken too

    async def aclose(self) -> None:
        await super().aclose()
        raise OSError("cannot close")


async def test_model_and_price_are_the_primarys_and_all_are_closed() -> None:
    """Even those after one that fails to close."""
    first, second, third = Priced(), Priced(), ScriptedProvider()
    provider = Fallback(first, second, third)
    assert provider.get_model() == first.get_model()
    assert provider.calculate_cost(used(1_000_000)) == first.calculate_cost(used(1_000_000))
    with pytest.raises(OSError, match="cannot close"):
        await provider.aclose()
    assert (first.closed, second.closed, third.closed) == (1, 1, 1)


async def test_it_can_be_left_while_it_asks() -> None:
    """A cancellation is not a failure that leads on."""
    from penstock.testing import Hang

    first, second = ScriptedProvider([Hang()]), ScriptedProvider(HI)
    await cancelled_while_waiting(lambda: collect(Fallback(first, second)))
    assert (first.running, len(second.calls)) == (0, 0)


ONE: BaseProvider = ScriptedProvider()


@pytest.mark.parametrize(
    ("providers", "said"),
    [
        pytest.param([ONE], "`others` is empty", id="nothing to fall back on"),
        pytest.param([ONE, ONE], "`others` names a provider twice", id="on itself"),
        pytest.param([ONE, ScriptedProvider(), ONE], "`others` names a provider twice", id="in a circle"),
        pytest.param(["sk-secret", ONE], "`primary` is of type str, expected a provider", id="a word first"),
        pytest.param([ONE, "sk-secret"], "`others` is of type str, expected a provider", id="a word later"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(providers: list[Any], said: str) -> None:
    """When it is built."""
    with pytest.raises(ConfigError) as raised:
        Fallback(*providers)
    assert said in str(raised.value)
    assert "secret" not in str(raised.value)
