"""Anthropic's wire spoken by others: whose reasoning goes back, which options are refused, which key goes where."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from models_files import written
from penstock import (
    AnthropicProvider,
    AuthenticationError,
    Collector,
    ConfigError,
    DocumentPart,
    InvalidRequestError,
    Message,
    ModelInfo,
    OpenAIProvider,
    Options,
    ProviderConfig,
    ReasoningPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
    load_models,
    open_provider,
)
from penstock.config.catalog import catalog, known_info, needs_key, own_url, own_variables
from penstock.core.cost import Meter
from penstock.core.dialect import Dialect
from penstock.testing import Emulator, Request, ServerReply, anthropic_message, responses_message
from penstock.wire.answer_reader import AnswerReader
from penstock.wire.anthropic.answer import AnthropicDecoder
from penstock.wire.anthropic.options import option_headers
from penstock.wire.errors import response_error
from penstock.wire.vendors import ANTHROPIC, DIALECTS, rows_of
from writing import PLAIN, closed, encode

ROWS = rows_of("messages")
OTHERS = [row for row in ROWS if row is not ANTHROPIC]
each_row = pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in ROWS])
each_other = pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in OTHERS])
HELLO = Message("user", "Hi")
SECRET = "sk-test-0123456789abcdef"
ANTHROPICS = {
    "ANTHROPIC_API_KEY": "sk-ant-mine-0123456789",
    "ANTHROPIC_AUTH_TOKEN": "token-mine-0123456789",
    "ANTHROPIC_BASE_URL": "http://127.0.0.1:9/never",
    "ANTHROPIC_CUSTOM_HEADERS": "X-Team: mine\nAuthorization: Bearer custom-mine-0123456789",
}
TOOLS = [Tool(name="f")]


def test_the_rows_say_where_they_come_from() -> None:
    """And of Anthropic's own wire they say messages alone, with an address that has no /v1."""
    for row in ROWS:
        assert DIALECTS[row.name] is row
        assert row.wires == ("messages",)
        assert len(row.source) > 15
        assert not (row.base_url or "").rstrip("/").endswith("/v1")
    assert own_url("anthropic") == "https://api.anthropic.com"
    assert own_variables("anthropic") == ("ANTHROPIC_API_KEY",)
    assert needs_key("anthropic")
    assert not needs_key("llamacpp-anthropic")


# Reasoning


def answer(row: Dialect, account: str, *signatures: str | None) -> Message:
    """The message of an answer that thinks, once with each signature, and then calls a tool."""
    blocks: list[Any] = [
        {"type": "thinking", "thinking": f"hm {place}", **({} if signature is None else {"signature": signature})}
        for place, signature in enumerate(signatures)
    ]
    call = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
    reader = AnswerReader(AnthropicDecoder(Meter(ModelInfo(), msgspec.UNSET), row, account))  # type: ignore[arg-type]
    collector = Collector()
    for event in anthropic_message(*blocks, call, stop_reason="tool_use"):
        for chunk in reader.feed(event):
            collector.feed(chunk)
    message = collector.reply().message
    assert message is not None
    return message


def thoughts(message: Message, vendor: str, wire: str = "messages", account: str = "") -> list[tuple[str, str]]:
    """What of its reasoning is sent to a vendor, with the signatures."""
    request = msgspec.json.decode(encode(closed([HELLO, message]), vendor, wire, account=account))
    turns = request["messages"]
    blocks = [block for turn in turns if turn["role"] == "assistant" for block in turn["content"] or ()]
    return [(block["thinking"], block["signature"]) for block in blocks if block.get("type") == "thinking"]


@each_row
@pytest.mark.parametrize("signature", ["c2ln", "", None], ids=["signed", "an empty signature", "none"])
def test_reasoning_goes_back_to_the_server_that_made_it(row: Dialect, signature: str | None) -> None:
    """Signed or not, as it came; Anthropic alone signs all, so what is unsigned there is no whole block."""
    message = answer(row, "", signature)
    back = thoughts(message, row.name)
    assert back == ([] if row is ANTHROPIC and not signature else [("hm 0", signature or "")])
    for other in ROWS:
        if other is not row:
            assert thoughts(message, other.name) == []


@each_row
def test_several_blocks_keep_their_signatures(row: Dialect) -> None:
    """In order, each its own."""
    assert thoughts(answer(row, "", "YQ", "Yg"), row.name) == [("hm 0", "YQ"), ("hm 1", "Yg")]


@pytest.mark.parametrize(
    ("account", "gets"),
    [
        pytest.param("host-a", True, id="the host that made it"),
        pytest.param("host-b", False, id="another host"),
        pytest.param("", False, id="Anthropic itself"),
    ],
)
def test_what_anthropic_has_not_signed_goes_to_the_host_that_made_it(account: str, gets: bool) -> None:
    """A server behind a `base_url` may not be Anthropic. A signature is the same at all of Anthropic's hosts."""
    unsigned, signed = answer(ANTHROPIC, "host-a", None), answer(ANTHROPIC, "host-a", "c2ln")
    assert thoughts(unsigned, "anthropic", account=account) == [("hm 0", "")] * gets
    assert thoughts(signed, "anthropic", account=account) == [("hm 0", "c2ln")]


@pytest.mark.parametrize("vendor", ["deepseek", "llamacpp"])
def test_two_dialects_of_one_vendor_share_no_reasoning(vendor: str) -> None:
    """What one of its servers has thought means nothing to the other."""
    text = ReasoningPart(text="«thought»", vendor=vendor)
    call, result = ToolCallPart(id="a", name="f"), ToolResultPart(id="a", content="r")
    own, other = (
        [HELLO, Message("assistant", [msgspec.structs.replace(text, vendor=name), call]), Message("user", [result])]
        for name in (vendor, f"{vendor}-anthropic")
    )
    assert b"thought" in encode(own, vendor, "chat")
    assert b"thought" in encode(other, f"{vendor}-anthropic", "messages")
    assert "«thought»".encode() not in encode(other, vendor, "chat")
    assert "«thought»".encode() not in encode(own, f"{vendor}-anthropic", "messages")


ITEM: dict[str, Any] = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}
SAID: dict[str, Any] = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "ok"}]}


async def asked(provider: Any, history: list[Message]) -> Message:
    """The answer's message."""
    collector = Collector()
    async with provider, provider.stream("", history, PLAIN) as chunks:
        async for chunk in chunks:
            collector.feed(chunk)
    message = collector.reply().message
    assert message is not None
    return message


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("dialect", "same", "other"),
    [pytest.param("azure", True, False, id="a resource at Azure"), pytest.param("openai", True, True, id="OpenAI")],
)
async def test_a_proof_that_is_bound_to_a_host_goes_to_no_other(dialect: str, same: bool, other: bool) -> None:
    """Another answers `invalid_encrypted_content`, and to each later request again."""
    reply = ServerReply(responses_message(ITEM, SAID))
    async with Emulator(then=reply) as first, Emulator(then=reply) as second:
        urls = [f"{first.url}/v1", f"{second.url}/v1"]
        config = ProviderConfig(model_id="m", api_key=SECRET, base_url=urls[0], wire="responses")
        message = await asked(OpenAIProvider(config, dialect), [HELLO])
        for url in urls:
            moved = msgspec.structs.replace(config, base_url=url)
            await asked(OpenAIProvider(moved, dialect), [HELLO, message, HELLO])
        assert (b"gAAA" in first.requests[-1].body, b"gAAA" in second.requests[-1].body) == (same, other)


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(
            {"message": "The encrypted content gAAA... could not be verified.", "code": "invalid_encrypted_content"},
            id="OpenAI",
        ),
        pytest.param({"message": "The encrypted content for item rs_1 could not be decrypted."}, id="Azure"),
        pytest.param(
            {
                "type": "invalid_request_error",
                "message": "messages.1.content.0: Invalid `signature` in `thinking` block",
            },
            id="Anthropic",
        ),
    ],
)
def test_a_refused_proof_is_told_as_what_it_is(said: dict[str, str]) -> None:
    """With what to do about it; another refusal is not."""
    error = response_error(400, {}, json.dumps({"error": said}).encode())
    assert type(error) is InvalidRequestError
    assert "ReasoningParts" in error.hint
    other = response_error(400, {}, json.dumps({"error": {"message": "no such field"}}).encode())
    assert "ReasoningParts" not in other.hint


# Options

REFUSED: list[Any] = [
    ("deepseek-anthropic", Options(top_k=5), "top_k"),
    ("deepseek-anthropic", Options(reasoning=2048), "reasoning"),
    ("minimax-anthropic", Options(stop="x"), "stop"),
    ("minimax-anthropic", Options(reasoning="high"), "reasoning"),
    ("zai-anthropic", Options(reasoning="high"), "reasoning"),
    ("llamacpp-anthropic", Options(reasoning="high"), "reasoning"),
    ("llamacpp-anthropic", Options(tools=TOOLS, tool_choice="f"), "tool_choice"),
    ("llamacpp-anthropic", Options(tools=TOOLS, tool_choice="none"), "tool_choice"),
    *(
        (row.name, options, name)
        for row in OTHERS
        if row.name != "anthropic-compatible"
        for name, options in (
            ("response_schema", Options(response_schema={"type": "object"})),
            ("parallel_tool_calls", Options(tools=TOOLS, parallel_tool_calls=False)),
            ("service_tier", Options(service_tier="auto")),
            ("cache", Options(cache="extended")),
        )
    ),
    *((row.name, Options(seed=1), "seed") for row in ROWS),
]


@pytest.mark.parametrize(("vendor", "options", "name"), REFUSED, ids=lambda value: str(value)[:30])
def test_what_a_server_ignores_is_refused_by_name(vendor: str, options: Options, name: str) -> None:
    """Before anything is sent, with its own name."""
    with pytest.raises(InvalidRequestError) as refused:
        encode([HELLO], vendor, "messages", options=options)
    assert refused.value.message.startswith(f"option `{name}`: ")
    assert ("Anthropic's Messages API" if vendor == "anthropic" else vendor) in refused.value.message


FIELDS: list[Any] = [
    (
        "deepseek-anthropic",
        Options(reasoning="high"),
        {"thinking": {"type": "enabled"}, "output_config": {"effort": "high"}},
    ),
    ("deepseek-anthropic", Options(temperature=1.5), {"temperature": 1.5}),
    ("deepseek-anthropic", Options(reasoning="off"), {"thinking": {"type": "disabled"}}),
    (
        "kimi-anthropic",
        Options(reasoning="low"),
        {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}},
    ),
    ("llamacpp-anthropic", Options(reasoning="off"), {"chat_template_kwargs": {"enable_thinking": False}}),
    ("llamacpp-anthropic", Options(reasoning=2048), {"thinking": {"type": "enabled", "budget_tokens": 2048}}),
    ("minimax-anthropic", Options(user="u"), {"metadata": {"user_id": "u"}}),
    ("anthropic-compatible", Options(stop="x", top_k=3), {"stop_sequences": ["x"], "top_k": 3}),
]


@pytest.mark.parametrize(("vendor", "options", "fields"), FIELDS, ids=lambda value: str(value)[:30])
def test_what_an_option_becomes(vendor: str, options: Options, fields: dict[str, Any]) -> None:
    """Beside the fields of any request, and without a mark where marks are ignored."""
    body = msgspec.json.decode(encode([HELLO], vendor, "messages", options=options))
    assert {
        name: value for name, value in body.items() if name not in ("model", "max_tokens", "stream", "messages")
    } == fields
    assert ("cache_control" in str(body)) == (vendor == "anthropic-compatible")


def test_the_version_of_the_api() -> None:
    """The newest at Anthropic alone, and the old one for sampling; others know the old one."""
    assert option_headers(Options()) == {"anthropic-version": "2026-10-21"}
    assert option_headers(Options(temperature=0.5)) == {"anthropic-version": "2023-06-01"}
    assert {row.name for row in ROWS if option_headers(Options(), row)["anthropic-version"] != "2023-06-01"} == {
        "anthropic"
    }


@each_other
def test_documents(row: Dialect) -> None:
    """Where they vanish without a word they are refused."""
    document = Message("user", [DocumentPart(data=b"%PDF", media_type="application/pdf")])
    plain = Message("user", [DocumentPart(data=b"so it is", media_type="text/plain", title="Notes")])
    assert b"so it is" in encode([plain], row.name, "messages")
    if row.chat_documents:
        assert encode([document], row.name, "messages")
    else:
        with pytest.raises(InvalidRequestError, match=rf"{row.name} takes no documents; send its text"):
            encode([document], row.name, "messages")


RANGES: list[Any] = [
    *((wire, {"temperature": value}, False) for wire in ("messages", "chat", "responses") for value in (-1, 5, -0.01)),
    *((wire, {"top_p": value}, False) for wire in ("messages", "chat", "responses") for value in (-3, 1.5)),
    *(("chat", {name: value}, False) for name in ("presence_penalty", "frequency_penalty") for value in (99, -99)),
    ("messages", {"temperature": 1.5}, False),
    ("messages", {"top_k": -1}, False),
    ("messages", {"temperature": 1, "top_p": 0, "top_k": 0}, True),
    ("chat", {"temperature": 2, "top_p": 1, "presence_penalty": -2, "frequency_penalty": 2}, True),
    ("responses", {"temperature": 0, "top_p": 0.5}, True),
]


@pytest.mark.parametrize(("wire", "given", "taken"), RANGES, ids=lambda value: str(value))
def test_what_cannot_be_right_is_not_sent(wire: str, given: dict[str, Any], taken: bool) -> None:
    """Each wire has limits of its own, and `extra` goes around them."""
    vendor = "anthropic" if wire == "messages" else "openai"
    if taken:
        assert msgspec.json.decode(encode([HELLO], vendor, wire, options=Options(**given))).items() >= given.items()
        return
    (name,) = given
    with pytest.raises(InvalidRequestError, match=rf"option `{name}`: {given[name]}, expected "):
        encode([HELLO], vendor, wire, options=Options(**given))
    assert msgspec.json.decode(encode([HELLO], vendor, wire, options=Options(extra=given))).items() >= given.items()


# Schemas

NODE: dict[str, Any] = {
    "type": "object",
    "properties": {"kids": {"type": "array", "items": {"$ref": "#/$defs/Node"}}},
    "required": ["kids"],
    "additionalProperties": False,
}


def flat(optional: int = 0, unions: int = 0) -> dict[str, Any]:
    union = {"anyOf": [{"type": "string"}, {"type": "null"}]}
    names = [*(f"o{n}" for n in range(optional)), *(f"u{n}" for n in range(unions))]
    properties = {name: union if name.startswith("u") else {"type": "string"} for name in names}
    return {"type": "object", "properties": properties, "required": names[optional:], "additionalProperties": False}


SCHEMAS: list[Any] = [
    pytest.param({**NODE, "$defs": {"Node": NODE}}, "it holds itself", id="one that holds itself"),
    pytest.param(
        {"$defs": {"A": {"items": {"$ref": "#/$defs/B"}}, "B": {"items": {"$ref": "#/$defs/A"}}}},
        "it holds itself",
        id="two that do",
    ),
    pytest.param({"$ref": "#"}, "it holds itself", id="by its root"),
    pytest.param({"$defs": {"A": {"type": "string"}}, "items": {"$ref": "#/$defs/A"}}, None, id="a reference"),
    pytest.param(flat(unions=16), None, id="as many unions as there may be"),
    pytest.param(flat(unions=17), "it has 17 places where one of several types may stand", id="one more"),
    pytest.param(flat(optional=24), None, id="as many optional ones as there may be"),
    pytest.param(flat(optional=25), "it has 25 properties that are not required", id="one more of these"),
    pytest.param(
        {"properties": {"anyOf": {"type": "string"}, "type": {"type": "string"}}, "required": ["anyOf", "type"]},
        None,
        id="names",
    ),
]


@pytest.mark.parametrize(("schema", "said"), SCHEMAS)
def test_schemas_that_anthropic_makes_no_grammar_of(schema: dict[str, Any], said: str | None) -> None:
    """They are refused by name before sending, so that generate_object asks by a tool; OpenAI takes them."""
    options = Options(response_schema=schema, cache="off")
    assert encode([HELLO], "openai", "chat", options=options)
    if said is None:
        assert encode([HELLO], "anthropic", "messages", options=options)
        return
    with pytest.raises(InvalidRequestError) as refused:
        encode([HELLO], "anthropic", "messages", options=options)
    assert refused.value.message.startswith(f"option `response_schema`: {said}")


# Blanks before what is to be continued


@pytest.mark.parametrize(("text", "sent"), [("{\n ", "{"), ("a b", "a b"), (" a", " a")])
def test_a_beginning_ends_without_blanks(text: str, sent: str) -> None:
    """Anthropic refuses them at the end of words to be continued; elsewhere they stay."""
    (_, turn) = msgspec.json.decode(encode([HELLO, Message("assistant", text)], "anthropic", "messages"))["messages"]
    assert turn["content"] == [{"type": "text", "text": sent}]
    later = msgspec.json.decode(encode([HELLO, Message("assistant", text), HELLO], "anthropic", "messages"))["messages"]
    assert later[1]["content"] == [{"type": "text", "text": text}]


# Addresses and keys


@pytest.fixture(autouse=True)
def _nobodys_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*ANTHROPICS, *(variable for row in ROWS for variable in row.key_variables)):
        monkeypatch.delenv(name, raising=False)


async def sent_by(row: str | Dialect, **config: Any) -> Request:
    """The request that a provider of this row makes."""
    async with Emulator(then=ServerReply(anthropic_message({"type": "text", "text": "ok"}))) as emulator:
        path = config.pop("path", "")
        settings: dict[str, Any] = {"model_id": "m", "base_url": f"{emulator.url}{path}", **config}
        await asked(AnthropicProvider(ProviderConfig(**settings), row), [HELLO])
    (request,) = emulator.requests
    return request


def carried(request: Request) -> dict[str, str]:
    known = ("authorization", "x-api-key", "x-team")
    return {name: value for name, value in request.headers.items() if name in known}


@pytest.mark.anyio
@each_other
async def test_nothing_of_anthropics_environment_goes_to_others(row: Dialect, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a key, nor a token, a header or an address: its own key goes where its row says, or none."""
    for name, value in ANTHROPICS.items():
        monkeypatch.setenv(name, value)
    key = SECRET if row.key_variables else "none"
    if row.key_variables:
        monkeypatch.setenv(row.key_variables[0], SECRET)
    request = await sent_by(row.name)
    assert carried(request) == ({row.key_header: key} if row.key_header else {"authorization": f"Bearer {key}"})
    assert not [value for value in (*request.headers.values(), request.body.decode()) if "mine" in value]
    assert carried(await sent_by(row.name, headers={"authorization": "Bearer t"})) == {"authorization": "Bearer t"}


@pytest.mark.anyio
@each_other
async def test_a_missing_key_is_named(row: Dialect, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is sent, though there is one of Anthropic's; a server of one's own needs none."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", ANTHROPICS["ANTHROPIC_API_KEY"])
    if not needs_key(row.name):
        assert carried(await sent_by(row.name)) == {"authorization": "Bearer none"}
        return
    with pytest.raises(AuthenticationError) as caught:
        await sent_by(row.name)
    assert caught.value.message == f"there is no API key: set {row.key_variables[0]}, or give one in the config"
    assert caught.value.vendor == row.name


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("path", "asked"),
    [("", "/v1/messages"), ("/v1", "/v1/messages"), ("/a/v1/", "/a/v1/messages"), ("/a", "/a/v1/messages")],
)
async def test_the_path(path: str, asked: str) -> None:
    """The version stands in it once, whether or not the base URL has it."""
    assert (await sent_by("anthropic", api_key=SECRET, path=path)).path == asked
    assert (await sent_by("anthropic-compatible", path=path)).path == asked


@pytest.mark.parametrize(
    ("make", "url", "said"),
    [
        pytest.param(AnthropicProvider, "http://h/v1/messages", "/v1/messages is appended to it", id="the whole path"),
        pytest.param(AnthropicProvider, "http://h/v1/v1", "/v1 stands twice", id="its version twice"),
        pytest.param(OpenAIProvider, "http://h/v1/v1/", "/v1 stands twice", id="on OpenAI's wires"),
        pytest.param(
            OpenAIProvider, "http://h/v1/chat/completions", "/chat/completions is appended", id="the chat's path"
        ),
        pytest.param(OpenAIProvider, "http://u:p@h/v1/responses", "/responses is appended", id="the other's"),
    ],
)
def test_an_address_with_too_much_is_named(make: Any, url: str, said: str) -> None:
    """It would be a 404 that says nothing."""
    with pytest.raises(ConfigError, match=said) as caught:
        make(ProviderConfig(model_id="m", api_key=SECRET, base_url=url))
    assert "u:p" not in caught.value.message


def test_no_model_is_refused() -> None:
    """In Python as in models.json."""
    with pytest.raises(ConfigError, match="`model_id` is ''"):
        ProviderConfig(model_id="")


# models.json and rows of one's own


@each_row
def test_each_opens_by_its_name(row: Dialect) -> None:
    """As `PROVIDER/MODEL`, with its own dialect; one without an address needs one."""
    if row.base_url is None:
        with pytest.raises(ConfigError, match=r"`base_url` is not set|give it"):
            open_provider(f"{row.name}/m")
        return
    provider = open_provider(f"{row.name}/m")
    assert isinstance(provider, AnthropicProvider)
    assert provider._dialect is row


@pytest.mark.parametrize(
    ("on_this", "on_openais", "model_id"),
    [
        pytest.param("deepseek-anthropic", "deepseek", "deepseek-v4-pro", id="DeepSeek"),
        pytest.param("kimi-anthropic", "moonshot", "kimi-k3", id="Moonshot"),
        pytest.param("minimax-anthropic", "minimax", "MiniMax-M3", id="MiniMax"),
        pytest.param("zai-anthropic", "zai", "glm-5.3", id="Z.ai"),
    ],
)
def test_the_prices_of_a_vendors_models_are_the_same_on_both_wires(
    on_this: str, on_openais: str, model_id: str
) -> None:
    """They are looked up under the name that its row gives."""
    models = catalog()
    info = known_info(on_this, model_id, models)
    assert info is not None
    assert info == known_info(on_openais, model_id, models)
    assert known_info("llamacpp-anthropic", model_id, models) is None


def entry(provider: str, **more: Any) -> dict[str, Any]:
    config = {"modelId": "m", "baseUrl": "http://127.0.0.1:9"}
    return {"active": "mine", "models": {"mine": {"provider": provider, "providerConfig": config, **more}}}


def test_a_row_of_ones_own() -> None:
    """What it leaves out is as at an unknown server of this API."""
    dialect = {
        "name": "mine",
        "keyVariables": ["MY_KEY"],
        "optionFields": {"top_k": None},
        "ranges": {"temperature": [0, 2]},
    }
    written(entry("anthropic-compatible", dialect=dialect))
    provider = open_provider()
    assert isinstance(provider, AnthropicProvider)
    row = provider._dialect
    assert (row.name, row.wires, row.reasoning_echo, row.cache) == ("mine", ("messages",), "thinking", "marks")
    with pytest.raises(InvalidRequestError, match="option `top_k`: the Messages API of mine has none"):
        encode([HELLO], row, "messages", options=Options(top_k=1))
    assert b'"temperature":1.5' in encode([HELLO], row, "messages", options=Options(temperature=1.5))


@pytest.mark.parametrize(
    ("provider", "dialect", "said"),
    [
        pytest.param(
            "anthropic-compatible",
            {"wires": ["chat"]},
            "anthropic-compatible has messages, found chat",
            id="another wire",
        ),
        pytest.param(
            "openai-compatible", {"wires": ["messages"]}, "has chat, responses, found messages", id="Anthropic's"
        ),
        pytest.param("openai-compatible", {"wires": ["messages", "chat"]}, "expected messages alone", id="both"),
        pytest.param("anthropic-compatible", {"ranges": {"seed": [0, 1]}}, "a mapping with 'seed'", id="no range"),
    ],
)
def test_a_wrong_row_is_explained(provider: str, dialect: dict[str, Any], said: str) -> None:
    """With what was expected."""
    written(entry(provider, dialect=dialect))
    with pytest.raises(ConfigError, match=said):
        load_models()


@pytest.mark.parametrize(
    ("make", "dialect", "said"),
    [
        pytest.param(AnthropicProvider, "openai", "it speaks another API", id="a name of the other wires"),
        pytest.param(AnthropicProvider, "deepsek-anthropic", "did you mean 'deepseek-anthropic'", id="a slip"),
        pytest.param(OpenAIProvider, "kimi-anthropic", "it speaks another API", id="a name of this wire"),
        pytest.param(OpenAIProvider, Dialect(name="mine", wires=["messages"]), "has messages, expected", id="a row"),
        pytest.param(
            AnthropicProvider, Dialect(name="mine", wires=["chat"]), "has chat, expected messages", id="its row"
        ),
    ],
)
def test_a_dialect_of_another_wire_is_refused(make: Any, dialect: Any, said: str) -> None:
    """Each provider speaks its own."""
    with pytest.raises(ConfigError, match=said):
        make(ProviderConfig(model_id="m", api_key=SECRET, base_url="http://127.0.0.1:9"), dialect)
