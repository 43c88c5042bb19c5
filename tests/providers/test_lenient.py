"""Options(lenient=True): what a model cannot take is left out and told, and nothing else is; and what would be sent."""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

import msgspec
import pytest

from penstock import (
    AnthropicProvider,
    AuthenticationError,
    BaseProvider,
    ConfigError,
    InvalidRequestError,
    Message,
    ModelInfo,
    OpenAIProvider,
    Options,
    ProviderConfig,
    Tool,
    generate_object,
    run_tools,
    tool,
)
from penstock.core.dialect import SAMPLING, Wire
from penstock.middleware import Defaults, DroppedOption, Event, Fallback, Observe, Retry, Started
from penstock.middleware.observe import listen
from penstock.testing import Emulator, ScriptedProvider, ServerReply, chat_completion
from penstock.wire.checks import DROPPED
from penstock.wire.vendors import DIALECTS
from playing import HI
from three_wires import ASK, KEY, WIRES, ThreeWire, each_wire, read

TOOLS = [Tool(name="grep")]
MODELS = {
    "unknown": ModelInfo(),
    "takes nothing": ModelInfo(
        max_tokens=100, supports_sampling=False, reasoning_modes=[], efforts=[], supports_forced_tools=False
    ),
    "always reasons": ModelInfo(
        max_tokens=64_000, supports_sampling="unless_reasoning", reasoning_modes=["adaptive"], efforts=["low", "high"]
    ),
}
PLACES: list[tuple[str, Wire]] = [(row.name, wire) for row in DIALECTS.values() for wire in row.wires]
RECURSIVE = {"$defs": {"a": {"properties": {"b": {"$ref": "#/$defs/a"}}}}, "$ref": "#/$defs/a"}
VALUES: dict[str, list[Any]] = {
    **{name: [0, 1, 1.5, -3] for name in SAMPLING},
    "max_tokens": [1, 50, 1_000_000],
    "stop": ["END"],
    "seed": [0],
    "tools": [[{"type": "web_search"}]],
    "tool_choice": ["auto", "none", "required", "grep"],
    "parallel_tool_calls": [False, True],
    "reasoning": ["off", "minimal", "low", "max", 5, 2048, 40_000],
    "response_schema": [{}, RECURSIVE],
    "cache": ["extended", "off"],
    "user": ["u"],
    "service_tier": ["auto", "priority"],
    "extra": [{"x": 1}],
}


@cache
def provider_of(vendor: str, wire: Wire, model: str) -> BaseProvider:
    make = AnthropicProvider if wire == "messages" else OpenAIProvider
    url = DIALECTS[vendor].base_url or "http://127.0.0.1:9/v1"
    return make(ProviderConfig(model_id="m", model_info=MODELS[model], api_key=KEY, base_url=url, wire=wire), vendor)


def body(provider: BaseProvider, options: Options) -> bytes | InvalidRequestError:
    try:
        return provider.request_body("", ASK, options)
    except InvalidRequestError as error:
        return error


def test_every_option_of_the_body_is_tried() -> None:
    """A new option fails here until somebody has decided whether it may be left out."""
    beside = {"deadlines", "on_head", "on_resend", "on_drop", "lenient", "tags", "scope"}
    assert {*VALUES, *beside} == set(Options.__struct_fields__)
    assert set(VALUES) - set(DROPPED) == {"stop", "tools", "tool_choice", "response_schema", "extra"}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("vendor", "wire"), PLACES, ids=[f"{vendor} {wire}" for vendor, wire in PLACES])
def test_what_strict_refuses_is_what_lenient_leaves_out(vendor: str, wire: Wire, model: str) -> None:
    """Byte for byte the request without the option; what may not be left out is refused in the same words."""
    provider = provider_of(vendor, wire, model)
    plain = Options(tools=TOOLS)
    without = body(provider, plain)
    for name, values in VALUES.items():
        for value in values:
            asked = msgspec.structs.replace(plain, **{name: value})
            strict = body(provider, asked)
            lenient = body(provider, msgspec.structs.replace(asked, lenient=True))
            if isinstance(strict, bytes):
                assert lenient == strict, (name, value)
                continue
            assert strict.option == name
            assert ("lenient=True" in strict.hint) == (name in DROPPED), (name, value)
            assert (lenient == without) == (name in DROPPED), (name, value)
            if name not in DROPPED:
                assert isinstance(lenient, InvalidRequestError)
                assert lenient.message == strict.message


MISTAKES: dict[str, Options] = {
    "no word for a cache": Options(cache="on"),  # type: ignore[arg-type]
    "no word for an effort": Options(reasoning="hard"),  # type: ignore[arg-type]
    "a budget of nothing": Options(reasoning=0),
    "tokens below none": Options(max_tokens=-1),
    "a number in quotes": Options(temperature="1"),  # type: ignore[arg-type]
    "no number": Options(temperature=float("nan")),
    "a tool that is not there": Options(tools=TOOLS, tool_choice="grab"),
    "parallel calls of no tools": Options(parallel_tool_calls=True),
    "another model": Options(extra={"model": "x"}),
}


@pytest.mark.parametrize("place", [("openai", "chat"), ("openai", "responses"), ("anthropic", "messages")])
@pytest.mark.parametrize("options", MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_refused_all_the_same(options: Options, place: tuple[str, Wire]) -> None:
    """No model takes them, so somebody has to look."""
    said = body(provider_of(*place, "unknown"), msgspec.structs.replace(options, lenient=True))
    assert isinstance(said, InvalidRequestError)
    assert said.option is None


MUCH = Options(temperature=7, top_p=0.5, reasoning="max", max_tokens=1_000_000)


@each_wire
def test_all_that_does_not_fit_goes_at_once(wire: ThreeWire) -> None:
    """However much it is; and a row of one's own that has no field for what the API needs ends in a refusal."""
    provider = wire.provider("http://127.0.0.1:9/v1", model_info=MODELS["takes nothing"])
    assert isinstance(body(provider, MUCH), InvalidRequestError)
    assert body(provider, msgspec.structs.replace(MUCH, lenient=True)) == body(provider, Options())
    row = msgspec.structs.replace(DIALECTS["anthropic"], name="mine", option_fields={"max_tokens": None})
    mine = AnthropicProvider(ProviderConfig(model_id="m", api_key=KEY), row)
    assert isinstance(body(mine, Options(max_tokens=5, lenient=True)), InvalidRequestError)


def dropped(events: list[Event]) -> list[tuple[str, str, str, int]]:
    return [(each.model, each.option, each.value, each.attempt) for each in events if isinstance(each, DroppedOption)]


@pytest.mark.anyio
@each_wire
async def test_it_is_told_once_in_a_call(wire: ThreeWire) -> None:
    """To the listener of the provider, of whoever is around it, and of the options; not again at the next try."""
    whole, busy = ServerReply(wire.answer("Hi")), wire.error(529, "busy")
    inside: list[Event] = []
    outside: list[Event] = []
    own: list[InvalidRequestError] = []
    options = Options(temperature=7, reasoning="max", lenient=True, on_drop=own.append)
    async with Emulator(busy, whole, whole) as emulator:
        leaf = wire.provider(f"{emulator.url}/v1", model_info=MODELS["takes nothing"])
        listen(leaf, inside.append)
        async with Observe(Retry(leaf, base=0.001), outside.append) as provider:
            await read(provider, options=options)
            assert len([each for each in inside if isinstance(each, Started)]) == 2
            told = [("m", "temperature", "7", 1), ("m", "reasoning", "max", 1)]
            assert dropped(inside) == dropped(outside) == told
            assert [(error.model, error.vendor, error.option) for error in own] == [
                ("m", leaf.vendor, "temperature"),
                ("m", leaf.vendor, "reasoning"),
            ]
            await read(provider, options=options)
            assert dropped(inside) == told * 2
    assert len({exchange.request.body for exchange in emulator.exchanges}) == 1
    (first, *_) = (each for each in inside if isinstance(each, DroppedOption))
    assert first.why.startswith("7, expected 0 to ")


@pytest.mark.anyio
@each_wire
async def test_each_model_that_is_fallen_back_on_drops_by_itself(wire: ThreeWire) -> None:
    """What the first cannot take the second may."""
    events: list[Event] = []
    async with Emulator(wire.error(529, "busy"), ServerReply(wire.answer("Hi"))) as emulator:
        url = f"{emulator.url}/v1"
        first = wire.provider(url, model_id="first", model_info=MODELS["takes nothing"])
        async with Observe(Fallback(first, wire.provider(url, model_id="second")), events.append) as provider:
            await read(provider, options=Options(temperature=0.5, lenient=True))
    assert [option for _, option, _, _ in dropped(events)] == ["temperature"]
    bodies = [msgspec.json.decode(exchange.request.body) for exchange in emulator.exchanges]
    assert [(each["model"], each.get("temperature")) for each in bodies] == [("first", None), ("second", 0.5)]


@pytest.mark.anyio
async def test_a_loop_goes_on_with_another_model_and_the_same_options() -> None:
    """As the guide says: ended by `on_turn`, then run again with another vendor's provider and the same history."""
    call = {"id": "call_1", "name": "noon", "arguments": "{}"}
    second, first, _ = WIRES
    answers = ServerReply(chat_completion(tool_calls=[call])), ServerReply(second.answer("At 12."))
    history = [*ASK]
    options = Options(top_k=5, reasoning=9_000, lenient=True)

    @tool
    def noon() -> str:
        """When it is noon."""
        return "at 12"

    async with Emulator(*answers) as emulator:
        for wire in (first, second):
            async with wire.provider(f"{emulator.url}/v1") as provider:
                loop = run_tools(provider, "", history, [noon], options, on_turn=lambda reply: bool(reply.tool_calls))
                assert [chunk async for chunk in loop]
    assert [message.role for message in history] == ["user", "assistant", "user", "assistant"]


@pytest.mark.anyio
async def test_without_a_listener_it_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """For each option of a provider, however many calls there are; a look at the body says nothing."""
    wire = next(each for each in WIRES if each.name == "chat")
    options = Options(temperature=7, lenient=True)
    answer = ServerReply(wire.answer("Hi"))
    caplog.set_level(logging.WARNING, "penstock")
    async with Emulator(answer, answer) as emulator, wire.provider(f"{emulator.url}/v1") as provider:
        provider.request_body("", ASK, options)
        assert caplog.messages == []
        await read(provider, options=options)
        await read(provider, options=options)
    assert caplog.messages == ["left out for m: option `temperature`: 7, expected 0 to 2"]


@pytest.mark.anyio
@each_wire
async def test_what_a_listener_raises_at_it_ends_the_call(wire: ThreeWire) -> None:
    """Nothing has been sent then."""

    def refuse(error: InvalidRequestError) -> None:
        raise error

    async with Emulator() as emulator, wire.provider(f"{emulator.url}/v1") as provider:
        with pytest.raises(InvalidRequestError, match="temperature"):
            await read(provider, options=Options(temperature=7, lenient=True, on_drop=refuse))
        assert emulator.exchanges == []


class City(msgspec.Struct):
    name: str = ""


PLAINEST = msgspec.structs.replace(DIALECTS["deepseek"], name="mine", tool_choices=("auto",))


@pytest.mark.anyio
async def test_a_structured_answer_is_asked_for_as_by_a_strict_call() -> None:
    """A schema, and the call of a tool, are never left out: the next way is taken, where there is one."""
    answer = ServerReply(chat_completion(text="{}"))
    for options in (Options(), Options(lenient=True)):
        async with Emulator(then=answer) as emulator:
            for vendor, mode in (("openai", "schema"), ("deepseek", "tool"), (PLAINEST, "text")):
                config = ProviderConfig(model_id="m", api_key=KEY, base_url=f"{emulator.url}/v1", wire="chat")
                async with OpenAIProvider(config, vendor) as provider:
                    assert (await generate_object(provider, City, "Hi", options=options)).mode == mode


SENT = [
    Options(),
    Options(max_tokens=50, temperature=0.5, tools=TOOLS, tool_choice="auto", parallel_tool_calls=False),
    Options(reasoning="low", cache="extended", user="é", extra={"x": {"y": [1]}}),
    Options(response_schema={"type": "object", "properties": {}}, service_tier="auto"),
    Options(temperature=7, lenient=True),
]


@pytest.mark.anyio
@each_wire
async def test_the_body_that_is_shown_is_the_one_that_is_sent(wire: ThreeWire) -> None:
    """Byte for byte, through middlewares too, and with no key in it."""
    history = [*ASK, Message("assistant", "Hallo é"), Message("user", "Go on")]
    defaults = Options(max_tokens=99, extra={"x": {"z": 2}})
    async with Emulator(then=ServerReply(wire.answer("Hi"))) as emulator:
        leaf = wire.provider(f"{emulator.url}/v1")
        async with Observe(Retry(Defaults(leaf, defaults)), lambda event: None) as provider:
            for options in SENT:
                shown = provider.request_body("Be brief.", history, options)
                async with provider.stream("Be brief.", history, options) as chunks:
                    async for _ in chunks:
                        pass
                assert emulator.exchanges[-1].request.body == shown
                assert KEY.encode() not in shown
    assert len(emulator.exchanges) == len(SENT)


@each_wire
def test_a_body_is_shown_without_a_key_or_a_loop(wire: ThreeWire, monkeypatch: pytest.MonkeyPatch) -> None:
    """No client is made for it. What could not be sent is refused as it would be."""
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    provider = wire.provider("http://127.0.0.1:9/v1", api_key=None)
    assert b'"Hi"' in provider.request_body("", ASK)
    with pytest.raises(InvalidRequestError, match="history is empty"):
        provider.request_body("", [])
    with pytest.raises(InvalidRequestError, match="`options` is of type dict"):
        provider.request_body("", ASK, {"a": 1})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"^ScriptedProvider sends no request"):
        Fallback(ScriptedProvider(HI), provider).request_body("", ASK)


SECRETS = {"key": "sk-canary-1234567", "header": "tok-canary-7654321", "password": "pw-canary-1122334"}


@pytest.mark.anyio
@each_wire
async def test_a_config_is_shown_without_its_keys_and_sends_nothing(wire: ThreeWire) -> None:
    """Whoever builds a provider of it is refused before sending, and not met by another key or another address."""
    async with Emulator() as emulator:
        host = emulator.url.removeprefix("http://")
        url = f"http://me:{SECRETS['password']}@{host}/v1?token={SECRETS['header']}"
        headers = {"X-Auth-Token": SECRETS["header"], "X-Team": "blue"}
        async with Retry(wire.provider(url, api_key=SECRETS["key"], headers=headers)) as provider:
            shown = provider.config
        assert shown is not None
        said = msgspec.json.encode(shown).decode() + repr(shown)
        assert not [secret for secret in SECRETS.values() if secret in said]
        assert (shown.model_id, shown.headers["X-Team"], shown.base_url) == ("m", "blue", f"http://***@{host}/v1")
        for config in (shown, msgspec.structs.replace(shown, headers={}), msgspec.structs.replace(shown, api_key="k")):
            async with wire.make(config) as built:
                with pytest.raises(AuthenticationError, match="no header can carry"):
                    await read(built)
        assert emulator.exchanges == []


def test_a_config_without_keys_is_shown_as_it_is() -> None:
    """And a provider that has none says so."""
    config = ProviderConfig(model_id="m", max_connections=5)
    assert AnthropicProvider(config).config == config
    assert ScriptedProvider(HI).config is None
