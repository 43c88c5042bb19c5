"""What a caller gives `open_provider` in place of what an entry says: key, address, wire, options, a client."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Final

import anthropic
import anyio
import httpx2
import msgspec
import openai
import pytest

from patience import SHORT, until
from penstock import (
    AnthropicProvider,
    AuthenticationError,
    BaseProvider,
    ConfigError,
    Deadlines,
    Message,
    ModelsConfig,
    NetworkError,
    Options,
    ProviderError,
    Providers,
    ProviderTimeoutError,
    UsageChunk,
    blocking,
    collect,
    open_provider,
)
from penstock.providers import environment
from penstock.testing import Cut, DemoModel, Emulator, Hang, Pause, ServerReply, anthropic_error

pytestmark = pytest.mark.anyio

ASK: Final = [Message("user", "Hi")]
OF_FILE: Final = "sk-of-the-file"
OWN: Final = "sk-of-my-own-client"
WIRES: Final = ("messages", "chat", "responses")
each_wire: Final = pytest.mark.parametrize("wire", WIRES)


def models(url: str, **more: Any) -> ModelsConfig:
    """A file with an alias for each wire, over *url*."""
    entries = {}
    for wire in WIRES:
        vendor, path, model = (
            ("anthropic", "", "claude-haiku-5-5") if wire == "messages" else ("openai", "/v1", "gpt-5.5")
        )
        config = {"modelId": model, "apiKey": OF_FILE, "baseUrl": url + path, "wire": wire, "headers": {"x-team": "a"}}
        entries[wire] = {"provider": vendor, "providerConfig": config, **more.get(wire, {})}
    return msgspec.convert({"active": "messages", "models": entries}, ModelsConfig)


def sdk_client(wire: str, url: str, **more: Any) -> Any:
    """A client of the caller's own."""
    if wire == "messages":
        return anthropic.AsyncAnthropic(api_key=OWN, base_url=url, **more)
    return openai.AsyncOpenAI(api_key=OWN, base_url=f"{url}/v1", **more)


async def asks(provider: BaseProvider, **options: Any) -> Any:
    """What a call comes to."""
    return await collect(provider.create_message("", ASK, Options(**options)))


def keys(emulator: Emulator) -> list[str]:
    """With which key each request came."""
    return [request.headers["authorization"].removeprefix("Bearer ") for request in emulator.requests]


@each_wire
async def test_an_address_stands_for_the_alias_and_not_for_those_behind(wire: str) -> None:
    """What it falls back on keeps its own; prices stay those of the entry."""
    busy = anthropic_error(529, "overloaded_error", "busy")
    behind = "chat" if wire == "messages" else "messages"
    async with Emulator(busy) as mine, Emulator(then=DemoModel()) as theirs:
        config = models(theirs.url, **{wire: {"fallback": [behind]}})
        url = mine.url if wire == "messages" else f"{mine.url}/v1"
        async with open_provider(wire, models=config, base_url=url) as provider:
            assert (await asks(provider)).text
            plain = open_provider(wire, models=config)
            usage = UsageChunk(input_tokens=10**6)
            assert provider.calculate_cost(usage) == plain.calculate_cost(usage) != Decimal(0)
        assert (keys(mine), keys(theirs)) == ([OF_FILE], [OF_FILE])
        assert [request.headers.get("x-team") for request in mine.requests] == ["a"]


@pytest.mark.parametrize("shared", [False, True], ids=["open_provider", "Providers"])
@pytest.mark.parametrize("given", ["a key", "an HTTP client", "an SDK's client"])
async def test_a_key_or_client_of_ones_own_never_leads_to_another_key(given: str, shared: bool) -> None:
    """Though the entry has a fallback: a customer's refused key would be paid for by the company, in silence."""
    refused = anthropic_error(401, "authentication_error", "no such key")
    async with (
        Emulator(then=refused) as mine,
        Emulator(then=DemoModel()) as theirs,
        httpx2.AsyncClient() as http,
        sdk_client("messages", mine.url) as sdk,
    ):
        config = models(theirs.url, messages={"fallback": ["chat"]})
        entry = msgspec.structs.replace(
            config.models["messages"],
            provider_config=msgspec.structs.replace(config.models["messages"].provider_config, base_url=mine.url),
        )
        config = msgspec.structs.replace(config, models={**config.models, "messages": entry})
        more: Any = {"a key": {"api_key": OWN}, "an HTTP client": {"client": http}}.get(given, {"client": sdk})
        async with Providers(config) as providers:
            open_one = providers.get if shared else partial(open_provider, models=config)
            async with open_one("messages", **more) as provider:
                with pytest.raises(AuthenticationError):
                    await asks(provider)
            assert (len(mine.requests), len(theirs.requests)) == (1, 0)
            async with open_one("messages") as provider:
                assert (await asks(provider)).text, "without them it falls back as ever"


async def test_the_prices_of_a_regional_host_are_its_own() -> None:
    """As for an address that the entry names."""
    usage = UsageChunk(input_tokens=10**6)
    near, far = open_provider("gpt"), open_provider("gpt", base_url="https://eu.api.openai.com/v1")
    cost = near.calculate_cost(usage)
    assert cost is not None
    assert far.calculate_cost(usage) == cost * Decimal("1.1")


async def test_a_wire_and_options_are_those_of_the_calls() -> None:
    """The options are also those of the model behind."""
    async with Emulator(then=DemoModel()) as emulator:
        config = models(emulator.url)
        given = Options(max_tokens=5)
        async with open_provider("responses", models=config, wire="chat", options=given) as provider:
            await asks(provider)
            await asks(provider, max_tokens=9)
        assert [request.path for request in emulator.requests] == ["/v1/chat/completions"] * 2
        assert [b":5" in request.body for request in emulator.requests] == [True, False]


def test_a_key_that_is_replaced_is_not_looked_up() -> None:
    """So that a file can be shared by those who have its variables and those who bring a key."""
    entry = {"provider": "openai", "providerConfig": {"modelId": "m", "apiKey": "${PENSTOCK_NOT_SET}"}}
    config = msgspec.convert({"active": "a", "models": {"a": entry}}, ModelsConfig)
    with pytest.raises(ConfigError, match="PENSTOCK_NOT_SET"):
        open_provider(models=config)
    for given in ({"api_key": OWN}, {"client": sdk_client("chat", "http://127.0.0.1:9")}):
        assert open_provider(models=config, **given).get_model().id == "m"


def test_a_provider_without_a_usual_address_takes_the_one_that_is_given() -> None:
    """By the name of a model, without any file."""
    assert open_provider("openai-compatible/m", base_url="http://127.0.0.1:9/v1").server == ("127.0.0.1", 9)


GIVEN: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "no key": ({"api_key": ""}, "`api_key` is empty, expected a key, or a function that gives one"),
    "no key of another type": ({"api_key": {}}, "`api_key` is of type dict"),
    "a key of bytes": ({"api_key": OWN.encode()}, "`api_key` is of type bytes"),
    "an address without a scheme": ({"base_url": "localhost"}, "`base_url` is 'localhost'"),
    "a wire that it has not": ({"wire": "chat"}, "`wire` is 'chat', but anthropic has only its own"),
    "a transport that is mistyped": ({"transport": "aiohtp"}, "expected httpx2 or aiohttp; did you mean 'aiohttp'?"),
    "options of another type": ({"options": {"max_tokens": 5}}, "`options` is of type dict, expected Options"),
    "a key as a client": (
        {"client": OWN},
        "`client` is of type builtins.str, expected httpx2.AsyncClient or anthropic.",
    ),
    "a client that is not async": ({"client": httpx2.Client()}, "`client` is of type httpx2.Client, expected"),
    "the client of another": (
        {"client": openai.AsyncOpenAI(api_key=OWN)},
        "expected httpx2.AsyncClient or anthropic.Async",
    ),
    "two keys": ({"client": sdk_client("messages", "http://a"), "api_key": "sk-given"}, "leave out `api_key`"),
    "two addresses": (
        {"client": sdk_client("messages", "http://a"), "base_url": "http://b"},
        "leave out `api_key` and",
    ),
}


@pytest.mark.parametrize("name", GIVEN)
def test_what_cannot_be_meant_is_told_at_once(name: str) -> None:
    """In one line that says what to write, with no key in it."""
    given, said = GIVEN[name]
    with pytest.raises(ConfigError) as wrong:
        open_provider("haiku", **given)
    assert said in str(wrong.value)
    assert not [key for key in (OWN, "sk-given") if key in "".join(traceback.format_exception(wrong.value))]


def test_what_makes_its_own_client_takes_none() -> None:
    """As the demo and plug-ins do."""
    with pytest.raises(ConfigError, match="the provider 'demo' makes its own: leave it out"):
        open_provider("demo", client=httpx2.AsyncClient())


@each_wire
async def test_an_http_client_sends_our_key_and_stays_open(wire: str) -> None:
    """Its own headers, hooks and transport go along: as for a proxy that wants to know who asks."""
    seen: list[str] = []

    async def hook(request: httpx2.Request) -> None:
        seen.append(request.url.path)

    async with (
        Emulator(then=DemoModel()) as emulator,
        httpx2.AsyncClient(headers={"x-proxy": "b"}, event_hooks={"request": [hook]}) as client,
    ):
        config = models(emulator.url)
        async with open_provider(wire, models=config, client=client) as provider:
            reply = await asks(provider)
            assert reply.text
            assert reply.cost is not None
        assert not client.is_closed
        assert len(seen) == 1
        assert keys(emulator) == [OF_FILE]
        assert [emulator.requests[0].headers.get(name) for name in ("x-team", "x-proxy")] == ["a", "b"]


@each_wire
async def test_a_client_of_the_sdk_has_its_own_key_and_address(wire: str) -> None:
    """Those of the entry are not used; it sends nothing twice; and it stays open."""
    busy = anthropic_error(529, "overloaded_error", "busy")
    async with Emulator(busy, then=DemoModel()) as emulator, sdk_client(wire, emulator.url, max_retries=5) as client:
        config = models("http://127.0.0.1:9")
        async with open_provider(wire, models=config, client=client) as provider:
            with pytest.raises(ProviderError) as refused:
                await asks(provider)
            assert (refused.value.status, len(emulator.requests)) == (529, 1)
            assert (await asks(provider)).text
            assert provider.server == ("127.0.0.1", int(emulator.url.rpartition(":")[2]))
        assert not client.is_closed()
        assert keys(emulator) == [OWN] * 2
        assert {request.headers.get("x-team") for request in emulator.requests} == {None}


async def own(wire: str, url: str, reply: Callable[[BaseProvider], Any]) -> list[Any]:
    """What comes of *reply* with an HTTP client and with an SDK's."""
    async with httpx2.AsyncClient() as http, sdk_client(wire, url) as sdk:
        opened = [open_provider(wire, models=models(url), client=client) for client in (http, sdk)]
        return [await reply(provider) for provider in opened]


@each_wire
async def test_no_key_of_a_client_is_in_its_errors_or_logs(wire: str, caplog: pytest.LogCaptureFixture) -> None:
    """Though the server echoes it, in a refusal, a header and an event."""
    caplog.set_level(logging.DEBUG)

    def echo(request: Any) -> ServerReply:
        key = request.headers["authorization"]
        body = msgspec.json.encode({"error": {"message": f"the key {key} is wrong", "type": "no"}})
        return ServerReply([body], 401, {"content-type": "application/json", "request-id": key}, whole=True)

    async def refused(provider: BaseProvider) -> str:
        with pytest.raises(AuthenticationError) as raised:
            await asks(provider)
        assert raised.value.status == 401
        return "".join(traceback.format_exception(raised.value)) + repr(vars(raised.value))

    async with Emulator(then=echo) as emulator:
        texts = await own(wire, emulator.url, refused)
    assert [len(text) > 0 for text in texts] == [True, True]
    assert not [key for key in (OWN, OF_FILE) if key in "".join(texts) + caplog.text]


async def test_a_token_that_a_client_fetches_itself_is_kept_out_of_errors() -> None:
    """It is known only once the request has been sent."""

    def sign(request: httpx2.Request) -> httpx2.Request:
        request.headers["authorization"] = "Bearer fresh-of-my-own-vault"
        return request

    def echo(request: Any) -> ServerReply:
        return anthropic_error(401, "authentication_error", f"{request.headers['authorization']} has ended")

    async with Emulator(then=echo) as emulator, httpx2.AsyncClient(auth=sign) as client:
        with pytest.raises(AuthenticationError) as raised:
            await asks(open_provider(models=models(emulator.url), client=client))
        assert keys(emulator) == ["fresh-of-my-own-vault"]
    assert "has ended" in str(raised.value)
    assert "fresh" not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize("wire", ["messages", "chat"])  # one of each SDK, as each call waits for a deadline
async def test_what_may_be_billed_is_not_told_as_nothing(wire: str) -> None:
    """A call that is left before it is answered, though nobody sees whether it was sent; no server is no bill."""

    async def left(provider: BaseProvider) -> bool:
        spent = UsageChunk()
        try:
            await asks(provider, deadlines=Deadlines(connect=60, first_chunk=SHORT, stall=60))
        except ProviderTimeoutError as error:
            spent = error.usage
        return spent.unsettled == 1

    async def unreached(provider: BaseProvider) -> bool:
        with pytest.raises(NetworkError) as raised:
            await asks(provider)
        return raised.value.usage == UsageChunk()

    async with Emulator(then=ServerReply(before=[Hang()])) as emulator:
        assert await own(wire, emulator.url, left) == [True, True]
    async with Emulator(refusing=True) as nobody:
        assert await own(wire, nobody.url, unreached) == [True, True]


@each_wire
async def test_a_server_that_hangs_up_on_a_client_is_told_as_that(wire: str) -> None:
    """As one does that wants another certificate: nobody sees when the request was sent, nor over what."""

    async def said(provider: BaseProvider) -> bool:
        with pytest.raises(NetworkError, match="closed the connection without an answer; ") as raised:
            await asks(provider)
        assert "certificate, check the one that your `client` sends" in raised.value.hint
        return "inf" in str(raised.value) or "before" in str(raised.value)

    async with Emulator(then=ServerReply(before=[Cut()])) as emulator:
        assert await own(wire, emulator.url, said) == [False, False]


async def test_a_call_over_a_client_of_ones_own_can_be_left() -> None:
    """Its connection is closed at once, and the next call works."""
    slow = ServerReply([b"event: ping\ndata: {}\n\n", Pause(60)])
    async with Emulator(slow, then=DemoModel()) as emulator, httpx2.AsyncClient() as client:
        provider = open_provider(models=models(emulator.url), client=client)
        async with anyio.create_task_group() as group:
            group.start_soon(asks, provider)
            await until(lambda: emulator.exchanges)
            group.cancel_scope.cancel()
        await until(emulator.exchanges[0].hung_up.is_set)
        assert (await asks(provider)).text


async def test_a_full_client_is_told_as_that() -> None:
    """The hint is no field of ours, which has no say there."""
    async with (
        Emulator(then=ServerReply([b"event: ping\ndata: {}\n\n", Hang()])) as emulator,
        httpx2.AsyncClient(limits=httpx2.Limits(max_connections=1)) as client,
    ):
        provider = open_provider(models=models(emulator.url), client=client)
        async with anyio.create_task_group() as group:
            group.start_soon(asks, provider)
            await until(lambda: emulator.exchanges)
            with pytest.raises(ProviderTimeoutError, match="the client given as `client` has no more"):
                await asks(provider, deadlines=Deadlines(connect=SHORT))
            group.cancel_scope.cancel()


async def test_a_client_that_is_closed_or_of_another_loop_is_named() -> None:
    """Before anything is sent: such calls can hang, or break in the middle."""
    async with Emulator(then=DemoModel()) as emulator:
        async with httpx2.AsyncClient() as client:
            provider = open_provider(models=models(emulator.url), client=client)
            await asks(provider)

            def elsewhere() -> None:
                blocking(asks(provider))

            with pytest.raises(ConfigError, match="used in another event loop: give each loop one of its own"):
                await anyio.to_thread.run_sync(elsewhere)
        with pytest.raises(ConfigError, match="the client given as `client` is closed"):
            await asks(provider)


async def test_two_clients_never_meet() -> None:
    """Each makes a provider of its own, and each stays open when that is forgotten."""
    async with Emulator(then=DemoModel()) as emulator, Providers(models(emulator.url)) as providers:
        clients = [sdk_client("messages", emulator.url) for _ in range(2)]
        one, other = (providers.get("messages", client=client) for client in clients)
        assert providers.get("messages", client=clients[0]) is one is not other
        await asks(one)
        await providers.forget("messages")
        assert [client.is_closed() for client in clients] == [False, False]
        for client in clients:
            await client.close()


def test_a_provider_that_is_built_by_hand_takes_a_client_too() -> None:
    """As `open_provider` hands it on."""
    config = open_provider("haiku").config
    assert config is not None
    with pytest.raises(ConfigError, match=r"`client` is of type builtins\.int"):
        AnthropicProvider(config, client=5)


@pytest.mark.parametrize(
    ("alias", "provider", "config", "is_refused"),
    [
        ("sonnet", "deepseek", {}, True),
        ("mine", "vllm", {"baseUrl": "http://localhost:9999/v1"}, True),
        ("sonnet", "anthropic", {"baseUrl": "https://api.anthropic.com"}, False),
        ("mine", "deepseek", {}, False),
    ],
    ids=[
        "a known alias at another vendor",
        "a server that is not the row's",
        "its own vendor",
        "an alias of the file's own",
    ],
)
def test_a_file_that_was_only_found_does_not_choose_who_gets_a_callers_key(
    alias: str, provider: str, config: dict[str, str], is_refused: bool
) -> None:
    """It may lie in anybody's repository; without a key of the caller's it may be opened all the same."""
    entry = {"provider": provider, "providerConfig": {"modelId": "m", **config}}
    file = Path("models.json")
    file.write_text(json.dumps({"active": alias, "models": {alias: entry}}))
    assert open_provider(alias).get_model().id == "m"
    assert open_provider(alias, api_key=OWN, models=file).get_model().id == "m"
    with pytest.raises(ConfigError, match="says who gets it: name the file") if is_refused else nullcontext():
        open_provider(alias, api_key=OWN)


@pytest.mark.parametrize("given", ["aiohttp", "httpx2"])
def test_a_transport_is_that_of_the_alias(given: Any) -> None:
    """In place of the entry's, and with its prices; each is a provider of its own. It needs no trust."""
    for alias, said in {"plain": "httpx2", "fast": "aiohttp"}.items():
        config = {"modelId": "claude-haiku-5-5", "transport": said}
        Path("models.json").write_text(
            json.dumps({"active": alias, "models": {alias: {"provider": "anthropic", "providerConfig": config}}})
        )
        providers = Providers()
        shared = providers.get(alias, transport=given)
        assert shared is providers.get(alias, transport=given) is not providers.get(alias)
        for provider in (shared, open_provider(alias, transport=given)):
            assert provider.config is not None
            assert provider.config.transport == given
            assert provider.calculate_cost(UsageChunk(input_tokens=10**6))
        left = open_provider(alias).config
        assert left is not None
        assert left.transport == said


def test_a_transport_that_is_not_installed_is_named_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the caller chooses another, or brings a client; what the caller chooses stands in no file."""
    monkeypatch.setattr(environment, "find_spec", lambda name: None)
    config = {"modelId": "m", "apiKey": OF_FILE, "transport": "aiohttp"}
    file = Path("mine.json")
    file.write_text(json.dumps({"active": "a", "models": {"a": {"provider": "openai", "providerConfig": config}}}))
    missing = r"`transport` is 'aiohttp', which is not installed: pip install 'penstock\[aiohttp\]'"
    with pytest.raises(ConfigError, match=r"mine\.json, at \$\.models\.a\.providerConfig\.transport: " + missing):
        open_provider(models=file)
    with pytest.raises(ConfigError, match="^" + missing):
        open_provider("haiku", transport="aiohttp", api_key=OWN)
    open_provider(models=file, transport="httpx2")
    open_provider(models=file, client=httpx2.AsyncClient())
