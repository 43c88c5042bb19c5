"""What an answer says before its body: its status, its id, and whether a limit of the vendor's is used up."""

from __future__ import annotations

import pytest

from penstock import BaseProvider, Message, Options, ProviderError, ResponseHead
from penstock.middleware import AttemptFailed, HeadersSeen, Observe, RateLimit, Retry
from penstock.testing import WIRES, Emulator, ScriptedProvider, ServerReply, WireName, provider_on
from penstock.testing.answers import answer

pytestmark = pytest.mark.anyio

BUCKET = "anthropic-ratelimit-requests"
LAST = {
    "messages": {f"{BUCKET}-remaining": "0", f"{BUCKET}-reset": "2999-01-01T00:00:00Z"},
    "chat": {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1h30m0s"},
    "responses": {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "5400s"},
}


def replies(wire: WireName) -> list[ServerReply]:
    """An overload, then an answer which says that it is the last one allowed."""
    ids = {"request-id": "req_1", "x-request-id": "of_a_gateway"}
    busy = ServerReply([b"busy"], 503, {"content-type": "text/plain", **ids}, whole=True)
    headers = {"content-type": "text/event-stream", "x-request-id": "req_2", **LAST[wire]}
    return [busy, ServerReply(answer(wire, "Hello!"), headers=headers)]


async def ask(provider: BaseProvider, options: Options | None = None) -> None:
    async with provider.stream("", [Message("user", "Hi")], options) as stream:
        async for _ in stream:
            pass


@pytest.mark.parametrize("wire", WIRES)
async def test_each_answers_head_is_heard(wire: WireName) -> None:
    """Of a refusal and of an answer, by the caller and by Observe, on each wire."""
    heads: list[ResponseHead] = []
    events: list[object] = []
    async with Emulator(*replies(wire)) as emulator, provider_on(wire, emulator.url) as inner:
        retry = Retry(inner, base=0.001, listener=events.append)
        await ask(Observe(retry, events.append), Options(on_head=heads.append))
    assert [(head.status, head.request_id) for head in heads] == [(503, "req_1"), (200, "req_2")]
    assert heads[0].wait is None
    assert heads[1].wait is not None
    assert heads[1].wait >= 5400
    seen = [(event.status, event.wait) for event in events if isinstance(event, HeadersSeen)]
    assert seen == [(head.status, head.wait) for head in heads]
    assert [event.request_id for event in events if isinstance(event, AttemptFailed)] == ["req_1"]


@pytest.mark.parametrize("wire", WIRES)
async def test_nothing_is_sent_while_a_limit_of_the_vendor_is_used_up(wire: WireName) -> None:
    """The answer said so itself: no request is needed to learn it from a 429."""
    async with Emulator(replies(wire)[1]) as emulator, provider_on(wire, emulator.url) as inner:
        limited = RateLimit(inner, requests_per_minute=100)
        await ask(limited)
        with pytest.raises(ProviderError, match="the vendor asked for a pause"):
            await ask(limited)
        assert len(emulator.requests) == 1


async def test_a_provider_without_heads_is_none_the_worse() -> None:
    """A double has none to tell of."""
    heard: list[object] = []
    with pytest.raises(ProviderError):
        await ask(Observe(ScriptedProvider([]), heard.append))
    assert heard
