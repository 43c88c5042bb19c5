"""What a vendor lists, joined with what is known, and whether a model can be called: asked of an emulated server."""

from __future__ import annotations

import datetime as dt
import inspect
import logging
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import anyio
import msgspec
import pytest

from patience import PATIENT, SHORT
from penstock import (
    AnthropicProvider,
    AuthenticationError,
    BaseProvider,
    ConfigError,
    MalformedResponseError,
    ModelInfo,
    NetworkError,
    NotFoundError,
    OpenAIProvider,
    ProviderConfig,
    ProviderError,
    ServerError,
    TotalTimeoutError,
    is_available,
    list_models,
    open_provider,
)
from penstock.config.catalog import catalog
from penstock.config.finding import info_of
from penstock.core.keys import FETCH_SECONDS
from penstock.core.provider_config import Platform
from penstock.middleware import Fallback, Retry
from penstock.testing import (
    Emulator,
    Hang,
    Request,
    ScriptedProvider,
    ServerReply,
    anthropic_count,
    anthropic_error,
    anthropic_models,
    openai_error,
    openai_models,
)
from penstock.wire.listing import MOST
from playing import Clock

pytestmark = pytest.mark.anyio

KEY = "sk-none-0123456789"
MISSING = openai_error(404, "no such endpoint")
WRONG = openai_error(401, f"Incorrect API key provided: {KEY}", code="invalid_api_key")


def chat(url: str, dialect: str = "openai-compatible", model: str = "m", **more: Any) -> OpenAIProvider:
    return OpenAIProvider(ProviderConfig(model_id=model, api_key=KEY, base_url=f"{url}/v1", **more), dialect)


def anthropic(url: str, model: str = "claude-sonnet-5-5") -> AnthropicProvider:
    return AnthropicProvider(ProviderConfig(model_id=model, api_key=KEY, base_url=url))


def by_path(replies: Mapping[str, ServerReply]) -> Callable[[Request], ServerReply]:
    """A server that has only these paths."""
    return lambda request: replies.get(request.path, MISSING)


async def ids(provider: BaseProvider, **how: Any) -> list[str]:
    return [model.id for model in await list_models(provider, **how)]


async def test_all_pages_are_read() -> None:
    """Each after the last id of the one before."""
    names = [f"claude-{number}" for number in range(1_500)]
    emulator = Emulator(lambda request: anthropic_models(*names, path=request.path))
    async with emulator, anthropic(emulator.url) as provider:
        assert await ids(provider) == names
    assert [request.path for request in emulator.requests] == [
        "/v1/models?limit=1000",
        "/v1/models?limit=1000&after_id=claude-999",
    ]
    assert {request.method for request in emulator.requests} == {"GET"}


@pytest.mark.parametrize(("page", "said", "requests"), [
    pytest.param(lambda number: ["a"], "never ends", 2, id="pages that repeat"),
    pytest.param(lambda number: [f"{number}-{each}" for each in range(6_000)], f"more than {MOST}", 2, id="too many"),
])  # fmt: skip
async def test_pages_without_an_end_are_named(page: Callable[[int], list[str]], said: str, requests: int) -> None:
    """As soon as it can be seen."""

    def reply(request: Request) -> ServerReply:
        models = [{"id": each} for each in page(len(emulator.requests))]
        document = {"data": models, "has_more": True, "last_id": models[-1]["id"]}
        return ServerReply([msgspec.json.encode(document)], headers={"content-type": "application/json"})

    async with Emulator(reply) as emulator, anthropic(emulator.url) as provider:
        with pytest.raises(MalformedResponseError, match=said):
            await list_models(provider)
    assert len(emulator.requests) == requests


@pytest.mark.parametrize(("reply", "said"), [
    pytest.param(ServerReply([b"<html>Sign in</html>"]), "a web page", id="a web page"),
    pytest.param(ServerReply([]), "no JSON", id="nothing"),
    pytest.param(ServerReply([b'{"data": [{}]}']), "none of which has an id", id="without ids"),
    pytest.param(ServerReply([b'"' + b"a" * 5_000_001 + b'"']), "more than 5,000,000 bytes", id="enormous"),
    pytest.param(ServerReply([b'{"' + KEY.encode() + b'": 1}']), r"an object with '\*\*\*'", id="with the key in it"),
])  # fmt: skip
async def test_what_is_no_list_is_named_and_never_replaced(reply: ServerReply, said: str) -> None:
    """The catalogue would hide a wrong address. The error says who was asked, and holds no key."""
    async with Emulator(then=reply) as emulator, chat(emulator.url, "groq") as provider:
        with pytest.raises(MalformedResponseError, match=said) as caught:
            await list_models(provider)
    assert caught.value.vendor == "groq"
    assert KEY not in f"{caught.value}{caught.value!r}"


async def test_what_does_not_come_is_given_up() -> None:
    """After so many seconds in all, however patient the deadlines of a request are."""
    silent = ServerReply([b'{"data": [', Hang()])
    async with Emulator(then=silent) as emulator, chat(emulator.url, deadlines=PATIENT) as provider:
        with pytest.raises(TotalTimeoutError, match="no complete answer within"):
            await list_models(provider, seconds=SHORT)
        seen = await is_available(provider, seconds=SHORT)
    assert (seen.reachable, type(seen.error)) == (False, TotalTimeoutError)


async def test_a_key_that_has_expired_is_fetched_anew() -> None:
    """And asked with once more; the catalogue is not in question."""
    keys = iter(["sk-old-0123456789", "sk-new-0123456789", "sk-new-0123456789"])

    def reply(request: Request) -> ServerReply:
        return openai_models("m") if "sk-new" in request.headers["authorization"] else WRONG

    async with Emulator(reply) as emulator:
        config = ProviderConfig(model_id="m", api_key=lambda: next(keys), base_url=f"{emulator.url}/v1")
        async with OpenAIProvider(config, "deepseek") as provider:
            assert await ids(provider) == ["m"]
    assert len(emulator.requests) == 2


async def test_the_next_path_is_asked_where_there_is_none() -> None:
    """By which an older server is served too; and `..` leads out of the version in the base URL."""
    paths = {"/api/v0/models": openai_models({"id": "m", "state": "loaded"})}
    async with Emulator(by_path(paths)) as emulator, chat(emulator.url, "lmstudio") as provider:
        [model] = await list_models(provider)
    assert (model.id, model.loaded) == ("m", True)
    assert [request.path for request in emulator.requests] == ["/api/v1/models", "/api/v0/models"]


async def test_what_is_loaded_is_asked_too() -> None:
    """Of a server that tells it elsewhere; where it does not, nothing is known."""
    paths = {"/api/tags": openai_models("a", "b"), "/api/ps": openai_models({"id": "b", "context_length": 8_192})}
    async with Emulator(by_path(paths)) as emulator, chat(emulator.url, "ollama") as provider:
        found = await list_models(provider)
        del paths["/api/ps"]
        silent = await list_models(provider, ttl=0)
    assert [(model.id, model.loaded, model.info.context_window) for model in found] == [
        ("a", False, None),
        ("b", True, 8_192),
    ]
    assert [model.loaded for model in silent] == [None, None]
    assert all(model.info.input_price == 0 for model in found)  # a server of one's own


LISTED = {"id": "mine", "context_length": 100, "pricing": {"prompt": "0.000003", "completion": "0.000015"}}
SAID = (Decimal(3), 100, "vendor")


@pytest.mark.parametrize(("own", "found"), [
    pytest.param(None, SAID, id="nothing is known here"),
    pytest.param(ModelInfo(supports_images=True), SAID, id="only a trait is known"),
    pytest.param(ModelInfo(input_price=Decimal(9)), (Decimal(9), 100, "local"), id="a price is known"),
    pytest.param(ModelInfo(output_price=Decimal(9)), (None, 100, "local"), id="half the prices are known"),
    pytest.param(ModelInfo(context_window=50), (Decimal(3), 50, "vendor"), id="a limit is known"),
])  # fmt: skip
async def test_what_is_known_here_holds(own: ModelInfo | None, found: tuple[object, ...]) -> None:
    """And the vendor's word fills the gaps; prices are one thing, of which no half is taken."""
    emulator = Emulator(openai_models(LISTED))
    async with emulator, chat(emulator.url, "openrouter", "mine", model_info=own) as provider:
        [model] = await list_models(provider)
    assert (model.info.input_price, model.info.context_window, model.prices_from) == found
    assert (model.info.prices_as_of == dt.datetime.now(dt.UTC).date()) is (model.prices_from == "vendor")


async def test_the_catalogue_knows_a_listed_model_by_its_day_too() -> None:
    """Which is how Anthropic lists them; a model that nobody knows has no price."""
    listed = anthropic_models("claude-sonnet-4-5-20250929", "claude-nobody-knows")
    async with Emulator(listed) as emulator, anthropic(emulator.url) as provider:
        old, unknown = await list_models(provider)
    assert (old.info.input_price, old.prices_from, old.listed) == (Decimal(3), "local", "live")
    assert (unknown.info.input_price, unknown.prices_from) == (None, None)
    assert unknown.info.display_name == "Claude-Nobody-Knows"


async def test_a_cloud_has_neither_the_vendors_prices_nor_its_names() -> None:
    """A model that a platform lists costs what the platform says, and what it does not list may be a deployment."""
    async with Emulator(by_path({"/v1/models?limit=1000": openai_models("claude-haiku-5-5")})) as emulator:
        config = ProviderConfig(
            model_id="my-deployment",
            api_key=KEY,
            base_url=emulator.url,
            platform=Platform(name="foundry", resource="mine"),
        )
        async with AnthropicProvider(config) as provider:
            [model] = await list_models(provider)
            seen = await is_available(provider)
            emulator.then = anthropic_error(500, "api_error", "broken")
            with pytest.raises(ServerError):
                await list_models(provider, ttl=0)
    assert (model.id, model.info.input_price, model.prices_from) == ("claude-haiku-5-5", None, None)
    assert (seen.reachable, seen.key_accepted, seen.model_known, seen.error) == (True, True, None, None)


async def test_an_answer_is_kept_for_a_while() -> None:
    """For the provider, whatever is around it; the caller's list is the caller's own."""
    clock = Clock()
    emulator = Emulator(lambda request: openai_models(f"m{len(emulator.requests)}"))
    async with emulator, chat(emulator.url) as provider:
        first = await list_models(provider, clock=clock)
        first.clear()
        clock.now += 599
        assert await ids(Retry(provider), clock=clock) == ["m1"]
        clock.now += 1
        assert await ids(provider, clock=clock) == ["m2"]
        assert await ids(provider, clock=clock, ttl=0) == ["m3"]


async def test_many_at_once_make_one_request() -> None:
    """Who comes while it is asked gets the same answer; after a failure each asks for itself."""
    found: list[list[str]] = []
    replies = [openai_models("m"), openai_error(401, "no")]
    async with Emulator(then=lambda request: replies[len(emulator.requests) > 1]) as emulator:

        async def ask(provider: BaseProvider) -> None:
            try:
                found.append(await ids(provider))
            except AuthenticationError:
                found.append([])

        for provider in (chat(emulator.url), chat(emulator.url)):
            async with provider, anyio.create_task_group() as group:
                for _ in range(20):
                    group.start_soon(ask, provider)
    assert found == [["m"]] * 20 + [[]] * 20
    assert len(emulator.requests) == 1 + 20


@pytest.mark.parametrize("reply", [
    pytest.param(openai_error(500, "broken"), id="broken"),
    pytest.param(openai_error(429, "slower"), id="busy"),
    pytest.param(MISSING, id="no list"),
    pytest.param(None, id="nobody there"),
])  # fmt: skip
async def test_the_catalogue_serves_where_the_vendor_does_not(
    reply: ServerReply | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Marked as such, with the reason in the log, and not kept: the next one asks the vendor again."""
    caplog.set_level(logging.WARNING, "penstock")
    async with Emulator(then=reply, refusing=reply is None) as emulator, chat(emulator.url, "deepseek") as provider:
        found = await list_models(provider)
        assert {model.listed for model in found} == {"catalogue"}
        [said] = caplog.messages
        assert said.startswith("deepseek: no list of its models, so these are the catalogue's: ")
        assert not said.endswith(": ")
        assert any(model.prices_from == "local" for model in found)
        if reply is None:
            await emulator.listen()
        emulator.then = openai_models("m")
        assert await ids(provider) == ["m"]


async def test_the_catalogue_does_not_list_what_has_retired() -> None:
    """A vendor that answers would not either."""
    today = dt.datetime.now(dt.UTC).date()
    gone = {entry.provider_config.model_id for entry in catalog().models.values()
            if entry.provider == "anthropic" and info_of(entry).is_retired(today)}  # fmt: skip
    assert gone
    async with Emulator(then=MISSING) as emulator, anthropic(emulator.url) as provider:
        assert not gone & set(await ids(provider))


@pytest.mark.parametrize(("dialect", "reply", "error"), [
    pytest.param("groq", WRONG, AuthenticationError, id="a wrong key"),
    pytest.param("ollama", openai_error(500, "broken"), ServerError, id="a server of one's own has no catalogue"),
    pytest.param("openai-compatible", MISSING, NotFoundError, id="nor has one that nobody knows"),
])  # fmt: skip
async def test_what_the_catalogue_cannot_stand_for_is_raised(
    dialect: str, reply: ServerReply, error: type[ProviderError]
) -> None:
    """Nothing of the key is in it."""
    async with Emulator(then=reply) as emulator, chat(emulator.url, dialect) as provider:
        with pytest.raises(error) as caught:
            await list_models(provider)
    assert KEY not in str(caught.value)


async def test_a_provider_without_a_server_lists_nothing() -> None:
    """And whether its model can be called, only a call shows."""
    with pytest.raises(ConfigError, match="no server that could be asked"):
        await list_models(ScriptedProvider())
    seen = await is_available(ScriptedProvider())
    assert (seen.reachable, seen.key_accepted, seen.model_known, bool(seen)) == (None, None, None, True)


ALL = (True, True, True)
SEEN: dict[str, tuple[str, Mapping[str, ServerReply], tuple[bool | None, ...], type[ProviderError] | None]] = {
    "it is listed": ("groq", {"/v1/models": openai_models("m")}, ALL, None),
    "it is listed with its day": ("groq", {"/v1/models": openai_models("m-2026-11-30")}, ALL, None),
    "it is listed with its usual tag": ("ollama", {"/api/tags": openai_models("m:latest")}, ALL, None),
    "it is another's alias": ("mistral", {"/v1/models": openai_models({"id": "n", "aliases": ["m"]})}, ALL, None),
    "it is not listed": ("groq", {"/v1/models": openai_models("n")}, (True, True, False), NotFoundError),
    "its name before a suffix is listed": ("openrouter", {
        "/v1/models": openai_models("m:free", "m"), "/v1/key": openai_models()}, ALL, None),
    "calls may name what is not listed": ("azure", {"/v1/models": openai_models("n")}, (True, True, None), None),
    "there is no list": ("groq", {}, (True, None, None), None),
    "a wrong key": ("groq", {"/v1/models": WRONG}, (True, False, None), AuthenticationError),
    "a key for other things": (
        "groq", {"/v1/models": openai_error(403, "not yours")}, (True, True, None), ProviderError),
    "the server is broken": ("groq", {"/v1/models": openai_error(500, "broken")}, (True, None, None), ServerError),
    "the list is a web page": (
        "groq", {"/v1/models": ServerReply([b"<html>"])}, (True, None, None), MalformedResponseError),
    "everybody may read the list": ("venice", {"/v1/models": openai_models("m")}, (True, None, True), None),
    "everybody may read the list, and the key is good": (
        "openrouter", {"/v1/models": openai_models("m"), "/v1/key": openai_models()}, ALL, None),
    "everybody may read the list, and the key is wrong": (
        "openrouter", {"/v1/models": openai_models("m"), "/v1/key": WRONG}, (True, False, None), AuthenticationError),
    "the vendor counts": ("llamacpp", {"/v1/chat/completions/input_tokens": anthropic_count(3)}, ALL, None),
    "the vendor lists, and does not count": (
        "llamacpp",
        {"/v1/models": openai_models("m"), "/v1/chat/completions/input_tokens": openai_error(400, "not supported yet")},
        ALL, None),
    "the vendor lists, and refuses to count": (
        "llamacpp",
        {"/v1/models": openai_models("m"), "/v1/chat/completions/input_tokens": openai_error(403, "not yours")},
        (True, True, False), ProviderError),
}  # fmt: skip


@pytest.mark.parametrize(("dialect", "paths", "seen", "error"), SEEN.values(), ids=SEEN)
async def test_a_model_is_looked_at_without_asking_it(
    dialect: str,
    paths: Mapping[str, ServerReply],
    seen: tuple[bool | None, ...],
    error: type[ProviderError] | None,
) -> None:
    """Each of three things, the error with its hint, and no key in it; no request is one that generates."""
    async with Emulator(by_path(paths)) as emulator, chat(emulator.url, dialect, wire="chat") as provider:
        found = await is_available(provider)
    assert (found.reachable, found.key_accepted, found.model_known) == seen
    assert bool(found) is (error is None)
    if error is not None:
        assert isinstance(found.error, error)
        assert found.error.hint
        assert KEY not in str(found.error)
    assert not any(request.path.endswith("/chat/completions") for request in emulator.requests)


async def test_anthropic_counts_to_tell() -> None:
    """One request, which asks for the key and the model and bills nothing."""
    refused = anthropic_error(404, "not_found_error", "model: claude-sonnet-5-5")
    async with Emulator(anthropic_count(3)) as emulator, anthropic(emulator.url) as provider:
        assert await is_available(provider)
        emulator.then = refused
        gone = await is_available(provider)
    assert (gone.reachable, gone.model_known) == (True, None)
    assert emulator.requests[0].path == "/v1/messages/count_tokens"


async def test_a_dead_port_is_not_reachable() -> None:
    """And of several, the first is looked at."""
    async with Emulator(refusing=True) as emulator, chat(emulator.url) as provider:
        found = await is_available(Fallback(provider, ScriptedProvider()))
    assert (found.reachable, found.key_accepted, found.model_known) == (False, None, None)
    assert isinstance(found.error, NetworkError)


@pytest.mark.parametrize("alias", ["demo", "demo/chat", "demo/responses"])
async def test_the_demo_lists_itself(alias: str) -> None:
    """On each of its wires, at the prices that it pretends."""
    async with open_provider(alias) as provider:
        [model] = await list_models(provider)
        assert await is_available(provider)
    assert (model.id, model.listed, model.prices_from) == ("demo", "live", "local")


@pytest.mark.parametrize("function", [list_models, is_available])
def test_the_bound_leaves_a_key_its_time(function: Callable[..., object]) -> None:
    """A command that gives none is named then, and not the vendor, whom nobody has asked yet."""
    assert inspect.signature(function).parameters["seconds"].default > FETCH_SECONDS
