"""Retry: which errors, how long it waits, and that nothing the user has read is ever repeated."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock import (
    AuthenticationError,
    Chunk,
    CircuitOpenError,
    ConfigError,
    InvalidRequestError,
    MalformedResponseError,
    NetworkError,
    NotFoundError,
    OpaqueChunk,
    Options,
    OverloadedError,
    PermissionDeniedError,
    ProviderError,
    ProviderTimeoutError,
    QuotaExceededError,
    RateLimitError,
    ReasoningChunk,
    ServerError,
    StopChunk,
    StreamInterruptedError,
    TextChunk,
    TokenLimitError,
    ToolCallChunk,
    ToolCallDeltaChunk,
)
from penstock.middleware import AttemptFailed, Event, Retry, RetryScheduled, is_visible
from penstock.testing import ScriptedProvider, ScriptedStep
from playing import (
    ASK,
    HI,
    NOON,
    OPEN,
    SETTLED,
    STOP,
    Clock,
    at_noon,
    bill,
    cancelled_while_waiting,
    collect,
    outcome,
    renewed,
    used,
)

pytestmark = pytest.mark.anyio


def patient(provider: ScriptedProvider, clock: Clock | None = None, **settings: Any) -> Retry:
    """A Retry that takes no time, and waits the longest that it may."""
    clock = clock or Clock()
    settings = {"random": lambda: 1.0} | settings
    return Retry(provider, clock=clock, sleep=clock.sleep, **settings)


def conflict() -> ProviderError:
    error = InvalidRequestError("locked", status=409)
    error.retryable = True  # as the transport says of this status
    return error


@pytest.mark.parametrize(
    ("error", "again"),
    [
        pytest.param(ProviderTimeoutError("slow", status=408), True, id="408"),
        pytest.param(conflict(), True, id="409"),
        pytest.param(RateLimitError("slow down", status=429), True, id="429"),
        pytest.param(ServerError("broke", status=500), True, id="500"),
        pytest.param(OverloadedError("busy", status=529), True, id="529"),
        pytest.param(OverloadedError("busy"), True, id="overload inside a stream"),
        pytest.param(NetworkError("refused"), True, id="network"),
        pytest.param(ProviderTimeoutError("no content"), True, id="a deadline"),
        pytest.param(StreamInterruptedError("cut"), True, id="cut before anything was shown"),
        pytest.param(CircuitOpenError("open"), True, id="an open circuit"),
        pytest.param(QuotaExceededError("no money", status=429), False, id="an exhausted quota is never retried"),
        pytest.param(QuotaExceededError("no money", retry_after=1), False, id="not even if it says when"),
        pytest.param(InvalidRequestError("bad", status=400), False, id="400"),
        pytest.param(AuthenticationError("who", status=401), False, id="401"),
        pytest.param(PermissionDeniedError("no", status=403), False, id="403"),
        pytest.param(NotFoundError("what", status=404), False, id="404"),
        pytest.param(TokenLimitError("big", status=413), False, id="413"),
        pytest.param(InvalidRequestError("bad", status=422), False, id="422"),
        pytest.param(InvalidRequestError("refused here"), False, id="refused here"),
        pytest.param(MalformedResponseError("html"), False, id="a web page"),
        pytest.param(ConfigError("wrong"), False, id="the configuration"),
    ],
)
async def test_what_is_tried_again(error: ProviderError, again: bool) -> None:
    """What may go better, and nothing else."""
    provider = ScriptedProvider([error], HI)
    chunks, raised = await outcome(patient(provider))
    assert len(provider.calls) == (2 if again else 1)
    assert (chunks, type(raised)) == ((HI, type(None)) if again else ([], type(error)))


async def test_each_try_gets_the_same_and_the_last_error_gets_out() -> None:
    """After as many tries as were asked for, the first one included."""
    provider = ScriptedProvider(*([ServerError(f"number {number}")] for number in range(1, 9)))
    with pytest.raises(ServerError, match="number 4"):
        async with patient(provider, attempts=4).stream("Be brief.", ASK, Options(seed=1)) as stream:
            await anext(stream)
    assert [(call.system_prompt, call.messages, call.options) for call in provider.calls] == [
        ("Be brief.", ASK, Options(seed=1))
    ] * 4
    assert provider.running == 0


@pytest.mark.parametrize(
    ("settings", "slept"),
    [
        pytest.param({}, [0.5, 1.0], id="it doubles"),
        pytest.param({"base": 2, "attempts": 4}, [2.0, 4.0, 8.0], id="from base on"),
        pytest.param({"max_wait": 3, "base": 2, "attempts": 4}, [2.0, 3.0, 3.0], id="up to max_wait"),
        pytest.param({"random": lambda: 0.25}, [0.125, 0.25], id="a random part of it"),
        pytest.param({"random": lambda: 0.0}, [0.0, 0.0], id="down to nothing"),
        pytest.param({"attempts": 1}, [], id="one attempt is no retry"),
    ],
)
async def test_the_pause_grows_with_full_jitter(settings: dict[str, Any], slept: list[float]) -> None:
    """A random part of base, 2 base, 4 base."""
    clock = Clock()
    await outcome(patient(ScriptedProvider([ServerError("broke")], repeat=True), clock, **settings))
    assert clock.slept == slept


async def test_many_attempts_do_not_overflow() -> None:
    """2 to the power of a thousand is no float."""
    clock = Clock()
    await outcome(patient(ScriptedProvider([ServerError("broke")], repeat=True), clock, attempts=1500, max_wait=5))
    assert len(clock.slept) == 1499
    assert max(clock.slept) == 5


@pytest.mark.parametrize(
    ("retry_after", "slept"),
    [
        pytest.param(7.0, [7.0], id="obeyed"),
        pytest.param(60.0, [60.0], id="up to max_wait"),
        pytest.param(0.1, [0.5], id="a short one does not shorten the pause"),
        pytest.param(0.0, [0.5], id="nor does none at all"),
        pytest.param(60.5, None, id="above max_wait the error comes at once"),
        pytest.param(3600.0, None, id="nobody sleeps for an hour"),
        pytest.param(float("nan"), None, id="no number"),
    ],
)
async def test_retry_after_is_obeyed_up_to_a_cap(retry_after: float, slept: list[float] | None) -> None:
    """Above the cap the caller decides, and has the value to decide with."""
    clock = Clock()
    provider = ScriptedProvider([RateLimitError("slow down", retry_after=retry_after)], HI)
    _, raised = await outcome(patient(provider, clock))
    assert clock.slept == (slept or [])
    assert len(provider.calls) == (1 if slept is None else 2)
    if slept is None:
        assert raised is not None
        assert repr(raised.retry_after) == repr(retry_after)


@pytest.mark.parametrize(
    "chunk",
    [
        pytest.param(TextChunk("Hi"), id="text"),
        pytest.param(ReasoningChunk(text="Hm"), id="reasoning"),
        pytest.param(ToolCallDeltaChunk(id="1", name="f", arguments=""), id="a piece of a call"),
        pytest.param(ToolCallChunk(id="1", name="f", arguments="{}"), id="a call"),
        pytest.param(OpaqueChunk(vendor="anthropic", data="{}"), id="a block without a neutral form"),
    ],
)
async def test_no_retry_after_a_visible_chunk(chunk: Chunk) -> None:
    """Text twice, a tool run twice, paid twice: the second try would repeat what the caller has acted on."""
    assert is_visible(chunk)
    provider = ScriptedProvider([used(5), chunk, used(2), OverloadedError("busy")], HI)
    chunks, raised = await outcome(patient(provider))
    assert chunks == [used(5), chunk, used(2)]
    assert isinstance(raised, OverloadedError)
    assert len(provider.calls) == 1


async def test_usage_of_failed_tries_stays_in_the_stream() -> None:
    """They are billed, so the sum is still the bill; and an error at the end carries that sum."""
    tries: list[list[ScriptedStep]] = [[used(5), OverloadedError("busy")], [used(7), ServerError("broke")]]
    chunks, raised = await outcome(patient(ScriptedProvider(*tries, [used(9), *HI, STOP])))
    assert raised is None
    assert chunks == [used(5), used(7), used(9), *HI]
    chunks, raised = await outcome(patient(ScriptedProvider(*tries, [used(9), TextChunk("H"), used(1)])))
    assert isinstance(raised, StreamInterruptedError)
    assert raised.usage == bill(chunks) == used(5) + used(7) + used(9) + used(1)


STEPS = st.lists(
    st.one_of(
        st.integers(0, 9).map(used),
        st.sampled_from([OPEN, SETTLED]),
        st.just(TextChunk("a")),
        st.just(STOP),
        st.sampled_from([ServerError, QuotaExceededError, RateLimitError]).map(lambda kind: kind("broke")),
    ),
    max_size=6,
)


@given(scripts=st.lists(STEPS, min_size=1, max_size=5))
@settings(deadline=None, max_examples=150)
def test_whatever_is_played_the_laws_hold(scripts: list[list[Any]]) -> None:
    """The sum is the bill, one StopChunk at most and last, and only the last try shows anything."""

    async def run() -> None:
        provider = ScriptedProvider(*scripts)
        chunks, raised = await outcome(patient(provider, attempts=len(scripts)))
        yielded = [chunk for call in provider.calls for chunk in call.yielded]
        assert chunks == yielded
        assert raised is None or raised.usage == bill(chunks)
        assert [isinstance(chunk, StopChunk) for chunk in chunks] == [False] * (len(chunks) - 1) + [raised is None] * (
            len(chunks) > 0
        )
        assert not any(is_visible(chunk) for call in provider.calls[:-1] for chunk in call.yielded)
        assert provider.running == 0

    anyio.run(run)


async def test_a_bug_is_not_retried() -> None:
    """Only a ProviderError is a failure of the call."""
    provider = ScriptedProvider([LookupError("a bug")], HI)
    with pytest.raises(LookupError):
        await collect(patient(provider))
    assert len(provider.calls) == 1


async def test_a_cancelled_pause_is_not_swallowed() -> None:
    """Cancelling works while it waits."""
    provider = ScriptedProvider([ServerError("broke", retry_after=50)], HI)
    await cancelled_while_waiting(lambda: collect(Retry(provider)))
    assert len(provider.calls) == 1


async def test_the_pause_is_real_without_a_clock_of_ones_own() -> None:
    """With the defaults it sleeps in earnest."""
    assert await collect(Retry(ScriptedProvider([ServerError("broke")], HI), base=0.001)) == HI


async def test_a_listener_is_told_of_tries_and_pauses() -> None:
    """Which failed with what and what it used, and when the next one comes."""
    events: list[Event] = []
    error = RateLimitError("slow down", retry_after=2, request_id="req_1")
    provider = ScriptedProvider([used(5), error], [used(7), QuotaExceededError("no money")], HI, model="m")
    retry = patient(provider, listener=events.append)
    await outcome(retry)
    failed, scheduled, failed_again = events
    assert isinstance(failed, AttemptFailed)
    assert (failed.call, failed.model, failed.attempt, failed.usage) == (scheduled.call, "m", 1, used(5))
    assert (type(failed.error), failed.request_id, failed.time) == (RateLimitError, "req_1", 0)
    assert at_noon(scheduled) == RetryScheduled(call="c", at=NOON, time=0, model="m", attempt=2, seconds=2)
    assert isinstance(failed_again, AttemptFailed)
    assert (failed_again.attempt, failed_again.usage, failed_again.time) == (2, used(7), 2)
    await outcome(retry)
    assert len(events) == 3, "a call that goes well is Observe's to tell of"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        pytest.param({"attempts": 0}, "`attempts` is 0, expected a whole number of 1 or more", id="no attempt"),
        pytest.param({"attempts": -1}, "`attempts` is -1", id="fewer than none"),
        pytest.param({"attempts": True}, "`attempts` is True", id="a bool"),
        pytest.param({"attempts": 2.0}, "`attempts` is 2.0", id="a float"),
        pytest.param({"attempts": "3"}, "`attempts` is '3'", id="a text"),
        pytest.param({"attempts": None}, "`attempts` is None", id="nothing"),
        pytest.param({"max_wait": 0}, "`max_wait` is 0, expected a number of seconds above 0", id="no time"),
        pytest.param({"max_wait": float("inf")}, "`max_wait` is inf", id="for ever"),
        pytest.param({"max_wait": float("nan")}, "`max_wait` is nan", id="not a number"),
        pytest.param({"base": -0.5}, "`base` is -0.5", id="back in time"),
        pytest.param({"base": False}, "`base` is False", id="another bool"),
        pytest.param({"listener": "print"}, "`listener` is of type str, expected a plain function", id="a word"),
        pytest.param({"listener": collect}, "`listener` is an async function", id="a listener that would wait"),
        pytest.param({"inner": "sk-secret"}, "`inner` is of type str, expected a provider", id="no provider"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(wrong: dict[str, Any], said: str) -> None:
    """When it is built, with what was found and what was expected."""
    with pytest.raises(ConfigError) as raised:
        Retry(**({"inner": ScriptedProvider()} | wrong))
    assert said in str(raised.value)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("scripts", "calls"),
    [
        pytest.param([[renewed()], HI], 2, id="it is right now"),
        pytest.param([[renewed()], [renewed()], HI], 2, id="once, and no more often"),
        pytest.param([[ServerError("broke")], [renewed()], HI], 3, id="whatever came before"),
        pytest.param([[renewed()], [ServerError("broke")], HI], 3, id="another error is tried again as ever"),
        pytest.param([[TextChunk("H"), renewed()], HI], 1, id="after the first text nothing is repeated"),
    ],
)
async def test_a_key_that_is_another_now_is_tried_once(scripts: list[Any], calls: int) -> None:
    """It ended; a second one that is refused as well is no matter of time."""
    provider = ScriptedProvider(*scripts)
    await outcome(patient(provider, attempts=9))
    assert len(provider.calls) == calls
