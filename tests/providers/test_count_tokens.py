"""Counting the tokens of a prompt at the vendor, and plain requests, over the same border as calls."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from penstock import (
    AnthropicProvider,
    AuthenticationError,
    BaseProvider,
    ConfigError,
    InvalidRequestError,
    MalformedResponseError,
    Message,
    NetworkError,
    OpenAIProvider,
    Options,
    ProviderConfig,
    ProviderError,
    ServerError,
    StreamInterruptedError,
    TokenCount,
    Tool,
)
from penstock.middleware import Fallback, Retry
from penstock.providers.leaf import Leaf
from penstock.testing import (
    Cut,
    Emulator,
    ServerReply,
    anthropic_count,
    anthropic_error,
    anthropic_message,
    openai_count,
    openai_error,
)
from three_wires import KEY

pytestmark = pytest.mark.anyio

ASK = [Message("user", "Hi")]
TOOL = Tool(name="f", description="Does it.")
OPTIONS = Options(max_tokens=100, tools=[TOOL])


def anthropic(url: str, dialect: str = "anthropic") -> Leaf:
    return AnthropicProvider(ProviderConfig(model_id="claude-sonnet-5-5", api_key=KEY, base_url=url), dialect)


def responses(url: str) -> Leaf:
    return OpenAIProvider(ProviderConfig(model_id="gpt-6.1-sol", api_key=KEY, base_url=url))


def chat(url: str) -> Leaf:
    return OpenAIProvider(ProviderConfig(model_id="tiny", api_key=KEY, base_url=url, wire="chat"), "llamacpp")


WIRES = {
    "anthropic": (anthropic, anthropic_count, "/v1/messages/count_tokens", {"model", "messages", "system", "tools"}),
    "a version in the base URL": (
        lambda url: anthropic(f"{url}/v1"),
        anthropic_count,
        "/v1/messages/count_tokens",
        {"model", "messages", "system", "tools"},
    ),
    "responses": (responses, openai_count, "/responses/input_tokens", {"model", "input", "instructions", "tools"}),
    "chat": (chat, openai_count, "/chat/completions/input_tokens", {"model", "messages", "tools"}),
}
Make = Callable[[str], Leaf]
Reply = Callable[[int], ServerReply]


@pytest.mark.parametrize(("make", "reply", "path", "fields"), WIRES.values(), ids=WIRES)
async def test_the_vendor_counts_what_the_call_would_send(
    make: Make, reply: Reply, path: str, fields: set[str]
) -> None:
    """Less what the counting refuses; and what it has counted is known from then on."""
    async with Emulator(reply(1234)) as emulator, make(emulator.url) as provider:
        count = await provider.count_tokens("Be brief.", ASK, OPTIONS)
        assert count == TokenCount(tokens=1234, exact=True, source=provider.vendor)
        (request,) = emulator.requests
        assert request.path == path
        assert set(msgspec.json.decode(request.body)) == fields
        assert provider.tokens.estimate("Be brief.", ASK, OPTIONS) == 1234
        assert provider.tokens.lower_bound("Be brief.", ASK, OPTIONS) == 1234


@pytest.mark.parametrize("status", [404, 405, 501])
async def test_a_server_that_does_not_count_leaves_the_estimate(status: int) -> None:
    """And the source says why."""
    server = Emulator(anthropic_error(status, "not_found_error", "no such path"))
    async with server as emulator, anthropic(emulator.url) as provider:
        count = await provider.count_tokens("", ASK)
        assert count.tokens == provider.tokens.estimate("", ASK)
        assert not count.exact
        assert str(status) in count.source


FAILURES: dict[str, tuple[ServerReply, type[ProviderError]]] = {
    "a wrong key": (anthropic_error(401, "authentication_error", "invalid x-api-key"), AuthenticationError),
    "a broken server": (anthropic_error(500, "api_error", "broken"), ServerError),
    "no count": (ServerReply([b'{"tokens": 3}'], whole=True), MalformedResponseError),
    "no JSON": (ServerReply([b"<html>"], whole=True), MalformedResponseError),
    "a cut": (ServerReply([b'{"input_', Cut()]), StreamInterruptedError),
    "more than anybody asked for": (ServerReply([b" " * 1_000_000] * 6, whole=True), MalformedResponseError),
    "a redirect": (
        ServerReply(status=307, headers={"location": "http://127.0.0.1:9/"}, whole=True),
        ProviderError,
    ),
}


@pytest.mark.parametrize(("reply", "error"), FAILURES.values(), ids=FAILURES)
async def test_other_failures_are_raised_as_those_of_a_call(reply: ServerReply, error: type[ProviderError]) -> None:
    """Without the key."""
    async with Emulator(reply) as emulator, anthropic(emulator.url) as provider:
        with pytest.raises(error) as raised:
            await provider.count_tokens("", ASK)
        assert KEY not in repr(raised.value)
        assert raised.value.vendor == "anthropic"
        assert len(emulator.requests) == 1


async def test_a_request_that_cannot_be_sent_is_refused() -> None:
    """As the call would be."""
    async with Emulator(anthropic_count(1)) as emulator, anthropic(emulator.url) as provider:
        with pytest.raises(InvalidRequestError):
            await provider.count_tokens("", [])
        assert emulator.requests == []


async def test_wrappers_ask_the_provider_inside_and_fallback_its_primary() -> None:
    """With all that is known there."""
    async with Emulator(then=anthropic_count(7)) as emulator, anthropic(emulator.url) as inner:
        for provider in (Retry(inner), Fallback(inner, responses(emulator.url))):
            assert (await provider.count_tokens("", ASK)).tokens == 7
            assert provider.tokens is inner.tokens


async def test_a_provider_that_cannot_ask_guesses() -> None:
    """A vendor whose row names no place to count."""
    provider: BaseProvider = OpenAIProvider(ProviderConfig(model_id="m", api_key=KEY), "groq")
    count = await provider.count_tokens("", ASK)
    assert count == TokenCount(tokens=provider.tokens.estimate("", ASK), exact=False, source="estimate")


async def test_what_a_call_reports_is_remembered_once_somebody_has_asked() -> None:
    """The prompt of the same call is then known, and of the next one all but the rest."""
    reply = ServerReply(anthropic_message({"type": "text", "text": "Hi"}, usage={"input_tokens": 4321}))
    async with Emulator(then=reply) as emulator, anthropic(emulator.url) as provider:
        _ = [chunk async for chunk in provider.create_message("", ASK)]
        assert provider.tokens.estimate("", ASK) < 100
        _ = [chunk async for chunk in provider.create_message("", ASK)]
        assert provider.tokens.estimate("", ASK) == 4321


async def test_a_plain_request() -> None:
    """A GET without a body, a POST with one."""
    answer = ServerReply([b'{"data": []}'], headers={"content-type": "application/json"}, whole=True)
    async with Emulator(then=answer) as emulator, responses(emulator.url) as provider:
        assert await provider.request("GET", "/models", None) == b'{"data": []}'
        assert await provider.request("POST", "/batches", b"{}") == b'{"data": []}'
        assert [(one.method, one.path, one.body) for one in emulator.requests] == [
            ("GET", "/models", b""),
            ("POST", "/batches", b"{}"),
        ]
        assert all(one.headers["authorization"] == f"Bearer {KEY}" for one in emulator.requests)
        with pytest.raises(ConfigError):
            await provider.request("DELETE", "/models", None)


@pytest.mark.parametrize("creates", [False, True])
async def test_what_creates_is_never_sent_twice(*, creates: bool) -> None:
    """The server may have begun, though the connection was closed."""
    answer = ServerReply([b"{}"], headers={"content-type": "application/json"}, whole=True)
    server = Emulator(answer, ServerReply([Cut()], raw=True), then=answer)
    async with server as emulator, responses(emulator.url) as provider:
        await provider.request("POST", "/batches", b"{}", creates=creates)
        if not creates:
            assert await provider.request("POST", "/batches", b"{}", creates=creates) == b"{}"
        else:
            with pytest.raises(NetworkError):
                await provider.request("POST", "/batches", b"{}", creates=creates)
        assert len(emulator.requests) == (2 if creates else 3)


async def test_openai_errors_are_read_too() -> None:
    """The border is the same on both SDKs."""
    server = Emulator(openai_error(401, "no key", code="invalid_api_key"))
    async with server as emulator, responses(emulator.url) as provider:
        with pytest.raises(AuthenticationError):
            await provider.request("GET", "/models", None)
