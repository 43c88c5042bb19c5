"""The scripted provider keeps the contract that it stands in for."""

from __future__ import annotations

import pytest

from penstock import (
    ConfigError,
    Options,
    OverloadedError,
    ServerError,
    StreamInterruptedError,
    TextChunk,
    UsageChunk,
)
from penstock.testing import Hang, Pause, ScriptedProvider
from playing import ASK, HI, STOP, cancelled_while_waiting, collect, outcome, used

pytestmark = pytest.mark.anyio


async def test_it_plays_one_script_a_call_and_keeps_what_it_was_asked() -> None:
    """In order; a call exists from its first chunk on."""
    provider = ScriptedProvider(HI, [TextChunk("Bye"), STOP])
    assert await collect(provider) == HI
    stream = provider.create_message("Be brief.", ASK, Options(max_tokens=5))
    assert len(provider.calls) == 1
    assert await anext(stream) == TextChunk("Bye")
    call = provider.calls[1]
    assert (call.system_prompt, call.messages, call.options) == ("Be brief.", ASK, Options(max_tokens=5))
    assert (call.yielded, call.closed, provider.running) == ([TextChunk("Bye")], False, 1)
    await stream.aclose()
    assert (call.closed, provider.running) == (True, 0)


async def test_it_repeats_when_it_is_told_to() -> None:
    """Else a call for which there is no script is refused, and not worth a retry."""
    again = ScriptedProvider(HI, repeat=True)
    assert [await collect(again) for _ in range(3)] == [HI] * 3
    once = ScriptedProvider(HI)
    await collect(once)
    _, error = await outcome(once)
    assert isinstance(error, ConfigError)
    assert str(error) == "ScriptedProvider has 1 script and this is call 2: give another script, or `repeat=True`"
    assert not error.retryable


def test_a_chunk_in_place_of_a_script_is_refused() -> None:
    """When it is built, with what to write."""
    with pytest.raises(ConfigError, match=r"a script is of type TextChunk, expected a list of steps for each call"):
        ScriptedProvider(TextChunk("Hi"), STOP)  # type: ignore[arg-type]


async def test_errors_are_copies_with_the_usage_so_far() -> None:
    """So that a script can be played again; the one in the script stays as it is."""
    error = OverloadedError("busy", request_id="req_1")
    error.__cause__ = LookupError("deep")
    provider = ScriptedProvider([used(3), used(4), error], repeat=True, model="m")
    for _ in range(2):
        _, raised = await outcome(provider)
        assert isinstance(raised, OverloadedError)
        assert raised is not error
        assert (raised.usage, raised.request_id, raised.model) == (used(3) + used(4), "req_1", "m")
        assert raised.__cause__ is error.__cause__
    assert error.usage == UsageChunk()


async def test_an_error_may_bring_its_own_usage() -> None:
    """For a provider whose last report came with the failure."""
    _, raised = await outcome(ScriptedProvider([used(3), ServerError("broke", usage=used(9))]))
    assert raised is not None
    assert raised.usage == used(9)


async def test_a_script_that_just_ends_is_a_cut_stream() -> None:
    """As with a real provider: no stream ends normally without its StopChunk. After it, nothing matters."""
    chunks, error = await outcome(ScriptedProvider([TextChunk("Hi")]))
    assert chunks == [TextChunk("Hi")]
    assert isinstance(error, StreamInterruptedError)
    assert await collect(ScriptedProvider([STOP, TextChunk("late")])) == [STOP]


async def test_what_is_no_provider_error_is_raised_as_it_is() -> None:
    """A bug in a provider, say."""
    bug = LookupError("a bug")
    with pytest.raises(LookupError) as raised:
        await collect(ScriptedProvider([bug]))
    assert raised.value is bug


async def test_it_pauses_and_hangs() -> None:
    """A hang ends when it is cancelled."""
    provider = ScriptedProvider([Pause(0.01), *HI], [TextChunk("Hi"), Hang()])
    assert await collect(provider) == HI
    await cancelled_while_waiting(lambda: collect(provider))
    assert provider.running == 0


async def test_it_counts_how_often_it_was_closed() -> None:
    """And knows its model."""
    async with ScriptedProvider(model="m") as provider:
        assert provider.get_model().id == "m"
        assert provider.closed == 0
    assert provider.closed == 1
