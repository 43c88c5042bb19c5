"""What an answer says before its body: its status, its id, and whether a limit of the vendor's is used up."""

from __future__ import annotations

import httpx2
import pytest

from penstock import (
    AnthropicProvider,
    BaseProvider,
    Message,
    Options,
    ProviderConfig,
    ProviderError,
    ResponseHead,
)
from penstock.middleware import AttemptFailed, HeadersSeen, Observe, RateLimit, Retry
from penstock.testing import WIRES, Cut, Emulator, ScriptedProvider, ServerReply, WireName, provider_on
from penstock.testing.answers import answer

pytestmark = [pytest.mark.anyio, pytest.mark.both_transports]

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


@pytest.mark.parametrize("wire", WIRES)
async def test_it_is_seen_whether_a_connection_is_used_again(wire: WireName) -> None:
    """Of an answer and of a refusal. What is sent once more has a new one."""
    events: list[object] = []
    ok = ServerReply(answer(wire, "Hello!"))
    busy = ServerReply([b"busy"], 503, {"content-type": "text/plain"}, whole=True)
    async with Emulator(ok, ok, busy, ServerReply(before=[Cut()]), ok) as emulator:
        async with provider_on(wire, emulator.url) as provider:
            observed = Observe(provider, events.append)
            await ask(observed)
            await ask(observed)
            with pytest.raises(ProviderError):
                await ask(observed)
            await ask(observed)
        assert emulator.connections == 2
    seen = [event.reused for event in events if isinstance(event, HeadersSeen)]
    assert seen == [False, True, True, False]


async def test_of_an_answer_over_a_client_of_ones_own_it_is_not_seen() -> None:
    """None, and not a guess."""
    heads: list[ResponseHead] = []
    async with Emulator(ServerReply(answer("messages", "Hello!"))) as emulator, httpx2.AsyncClient() as client:
        config = ProviderConfig(model_id="m", api_key="k", base_url=emulator.url)
        await ask(AnthropicProvider(config, client=client), Options(on_head=heads.append))
    assert [head.reused for head in heads] == [None]


async def test_a_provider_without_heads_is_none_the_worse() -> None:
    """A double has none to tell of."""
    heard: list[object] = []
    with pytest.raises(ProviderError):
        await ask(Observe(ScriptedProvider([]), heard.append))
    assert heard
