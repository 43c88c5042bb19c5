"""Options on OpenAI's two wires: what each becomes at each vendor, what is refused; none is dropped silently."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock import ConfigError, Deadlines, InvalidRequestError, Message, Model, ModelInfo, Options, Tool, catalog
from penstock.core.dialect import Dialect, Wire
from penstock.wire.anthropic import request as anthropic_request
from penstock.wire.openai import chat_request, responses_request
from penstock.wire.vendors import DIALECTS, completed, rows_of

UNKNOWN = Model("m-1", ModelInfo())
TOOLS: list[Any] = [Tool(name="grep"), Tool(name="read_file")]
SCHEMA = {"type": "object", "properties": {"é": {"type": "string"}}}
OPENAI = rows_of("chat", "responses")
WIRES: list[tuple[str, Wire]] = [(row.name, wire) for row in OPENAI for wire in row.wires]
each_wire = pytest.mark.parametrize(("vendor", "wire"), WIRES, ids=[f"{vendor} {wire}" for vendor, wire in WIRES])


def known(alias: str) -> Model:
    config = catalog().models[alias].provider_config
    return Model(config.model_id, config.model_info or ModelInfo())


def body(options: Options, vendor: str | Dialect, wire: Wire, model: Model = UNKNOWN) -> dict[str, Any]:
    """The whole request but the history."""
    dialect = DIALECTS[vendor] if isinstance(vendor, str) else vendor
    encode = chat_request.encode if wire == "chat" else responses_request.encode
    decoded: dict[str, Any] = msgspec.json.decode(encode("", [Message("user", "hi")], options, model, dialect))
    del decoded["messages" if wire == "chat" else "input"]
    return decoded


def added(options: Options, vendor: str | Dialect, wire: Wire, model: Model = UNKNOWN) -> dict[str, Any]:
    """What the options add to, or change of, the request that says nothing."""
    plain = body(Options(cache="off"), vendor, wire, model)
    now = body(options, vendor, wire, model)
    assert plain.keys() <= now.keys()
    return {name: value for name, value in now.items() if name not in plain or plain[name] != value}


def refusal(options: Options, vendor: str | Dialect, wire: Wire, model: Model = UNKNOWN) -> str:
    """Why the options are refused; always before sending, and by name."""
    with pytest.raises(InvalidRequestError) as refused:
        body(options, vendor, wire, model)
    assert refused.value.status is None
    assert re.match(r"option `\w+`(:| or | is)", refused.value.message)
    return refused.value.message


def _works(options: Options, vendor: str | Dialect, wire: Any, model: Model = UNKNOWN) -> bool:
    try:
        body(options, vendor, wire, model)
    except InvalidRequestError:
        return False
    return True


def asked(name: str, value: Any, **more: Any) -> Options:
    return msgspec.structs.replace(Options(cache="off", **more), **{name: value})


@pytest.mark.parametrize(
    ("vendor", "wire", "plain"),
    [
        pytest.param("openai", "chat", {"stream_options": {"include_usage": True}}, id="usage is asked for"),
        pytest.param("mistral", "chat", {}, id="Mistral refuses to be asked for usage"),
        pytest.param("openai", "responses", {"store": False}, id="nothing is to be kept"),
        *(
            pytest.param(
                vendor,
                "responses",
                {"store": False, "include": ["reasoning.encrypted_content"]},
                id=f"{vendor} has to be asked for its reasoning",
            )
            for vendor in ("xai", "openrouter")
        ),
    ],
)
def test_what_is_always_there(vendor: str, wire: Wire, plain: dict[str, Any]) -> None:
    """Only what is needed for a stream whose tokens are counted and whose reasoning can go back."""
    assert body(Options(cache="off"), vendor, wire) == {"model": "m-1", "stream": True, **plain}


@pytest.mark.parametrize(
    ("vendor", "modes", "asks"),
    [
        pytest.param("openai", ("adaptive",), True, id="a model that reasons"),
        pytest.param("openai", (), False, id="one that does not"),
        pytest.param("openai", None, False, id="one of which nothing is known: the vendor sends it unasked"),
        pytest.param("xai", (), False, id="one that does not, where one has to ask"),
        pytest.param("xai", None, True, id="one of which nothing is known, where one has to ask"),
    ],
)
def test_reasoning_comes_back_encrypted(vendor: str, modes: Any, asks: bool) -> None:
    """Nothing is kept at the vendor, so what the model has thought has to come along."""
    fields = body(Options(), vendor, "responses", Model("m-1", ModelInfo(reasoning_modes=modes)))
    assert ("include" in fields) == asks


# An example of each option that is a field of its own. Where a name stands for itself it is not in the table below.
EXAMPLES: dict[str, Any] = {
    "max_tokens": 7,
    "temperature": 0.0,
    "top_p": 1.0,
    "top_k": 1,
    "presence_penalty": 0.0,
    "frequency_penalty": -1,
    "stop": "END",
    "seed": 0,
    "parallel_tool_calls": False,
    "user": "",
    "service_tier": "auto",
}
SAMPLES = {"max_tokens": "max_tokens", "user": "user"}
NO_K = {"top_k": None}
NOBODY = {"user": None, "service_tier": None}
UNSAID = {"seed": None, "parallel_tool_calls": None}
CHAT: dict[str, Mapping[str, str | None]] = {
    "openai": {"max_tokens": "max_completion_tokens", "user": "safety_identifier", **NO_K},
    "azure": {"max_tokens": "max_completion_tokens", "user": "safety_identifier", **NO_K},
    "deepseek": {**SAMPLES, **NO_K, **NOBODY, "seed": None, "parallel_tool_calls": None},
    "xai": {**SAMPLES, **NO_K},
    "google": {**SAMPLES, **NO_K, **NOBODY, "parallel_tool_calls": None},
    "mistral": {**SAMPLES, "seed": "random_seed", "user": None},
    "groq": {"max_tokens": "max_completion_tokens", "user": "user", **NO_K},
    "openrouter": SAMPLES,
    "together": {**SAMPLES, **NOBODY, "parallel_tool_calls": None},
    "fireworks": SAMPLES,
    "cerebras": {
        "max_tokens": "max_completion_tokens",
        "user": "user",
        **NO_K,
        "presence_penalty": None,
        "frequency_penalty": None,
    },
    "perplexity": {**SAMPLES, **NOBODY, "seed": None, "parallel_tool_calls": None},
    "vercel": SAMPLES,
    "venice": SAMPLES,
    "inception": {**SAMPLES, **NO_K, "user": None},
    "moonshot": {"max_tokens": "max_completion_tokens", "user": "safety_identifier", **NO_K, "service_tier": None},
    "zai": {**SAMPLES, **NO_K, **NOBODY, **UNSAID, "presence_penalty": None, "frequency_penalty": None},
    "alibaba": {**SAMPLES, **NOBODY, "frequency_penalty": None},
    "minimax": {
        "max_tokens": "max_completion_tokens",
        **NO_K,
        **NOBODY,
        **UNSAID,
        "presence_penalty": None,
        "frequency_penalty": None,
    },
    "xiaomi": {"max_tokens": "max_completion_tokens", **NO_K, **NOBODY, **UNSAID},
    "sambanova": {**SAMPLES, **NOBODY, "seed": None, "presence_penalty": None, "frequency_penalty": None},
    "nvidia": {**SAMPLES, **NO_K, **NOBODY},
    "baseten": {**SAMPLES, **NO_K, "service_tier": None},
    "deepinfra": {**SAMPLES, **NO_K, **NOBODY, **UNSAID},
    "novita": {**SAMPLES, **NOBODY, "parallel_tool_calls": None},
    "nebius": {**SAMPLES, "service_tier": None},
    "cloudflare": {**SAMPLES, **NOBODY, "parallel_tool_calls": None},
    "huggingface": {**SAMPLES, **NO_K, **NOBODY},
    "github-models": {**SAMPLES, **NO_K, **NOBODY, "parallel_tool_calls": None},
    "copilot": {**SAMPLES, **NO_K, **NOBODY},
    "ollama": {**SAMPLES, **NO_K, **NOBODY, "parallel_tool_calls": None},
    "vllm": {"max_tokens": "max_completion_tokens", "user": "user", "service_tier": None},
    "llamacpp": {**SAMPLES, **NOBODY},
    "lmstudio": {**SAMPLES, **NOBODY, "parallel_tool_calls": None},
    "openai-compatible": SAMPLES,
}
# The Responses API has none of these, whoever serves it; the rest is as on the chat wire.
NOT_THERE = dict.fromkeys(("top_k", "presence_penalty", "frequency_penalty", "stop", "seed"))


def test_the_table_is_whole() -> None:
    """A new row of the dialects fails here until somebody has written down what its fields are called."""
    assert set(CHAT) == {row.name for row in OPENAI}


@each_wire
def test_each_option_has_its_vendors_name(vendor: str, wire: Wire) -> None:
    """One field, under the vendor's name and with the very value; or none, and then it is refused."""
    names: Mapping[str, str | None] = CHAT[vendor]
    if wire == "responses":
        names = {**names, **NOT_THERE, "max_tokens": "max_output_tokens"}
    plain = Options(cache="off", tools=TOOLS)
    before = body(plain, vendor, wire)
    for option, value in EXAMPLES.items():
        options, field = msgspec.structs.replace(plain, **{option: value}), names.get(option, option)
        if field is None:
            assert f"option `{option}`: " in refusal(options, vendor, wire)
        else:
            assert body(options, vendor, wire) == {**before, field: ["END"] if option == "stop" else value}, option


REASONING_OFF = {
    **{key: {"thinking": {"type": "disabled"}} for key in ("deepseek", "moonshot", "zai", "minimax", "xiaomi")},
    **{key: {"reasoning": {"enabled": False}} for key in ("openrouter", "together")},
    **{key: {"chat_template_kwargs": {"enable_thinking": False}} for key in ("vllm", "llamacpp", "nvidia")},
    **{key: {"enable_thinking": False} for key in ("alibaba", "novita")},
    "baseten": {"chat_template_args": {"enable_thinking": False}},
}
NO_OFF = ("sambanova", "nebius", "cloudflare", "huggingface")


@each_wire
def test_reasoning_at_each_vendor(vendor: str, wire: Wire) -> None:
    """An effort is a word, at OpenRouter in an object; off is a word, a switch or not to be had; few have budgets."""
    inside = wire == "responses" or vendor == "openrouter"
    effort: dict[str, Any] = {"reasoning": {"effort": "low"}} if inside else {"reasoning_effort": "low"}
    if vendor == "minimax":
        assert "option `reasoning`: " in refusal(Options(cache="off", reasoning="low"), vendor, wire)
    else:
        assert added(Options(cache="off", reasoning="low"), vendor, wire) == effort
    none: dict[str, Any] = {"reasoning": {"effort": "none"}} if wire == "responses" else {"reasoning_effort": "none"}
    off = REASONING_OFF.get(vendor, none) if wire == "chat" else none
    if wire == "chat" and vendor in NO_OFF:
        assert f"{vendor} has no way to turn it off" in refusal(Options(cache="off", reasoning="off"), vendor, wire)
    else:
        assert added(Options(cache="off", reasoning="off"), vendor, wire) == off
    budgets: dict[str, dict[str, Any]] = {
        "openrouter": {"reasoning": {"max_tokens": 2048}},
        "google": {"extra_body": {"google": {"thinking_config": {"thinking_budget": 2048}}}},
        "alibaba": {"thinking_budget": 2048},
    }
    if wire == "chat" and vendor in budgets:
        assert added(Options(cache="off", reasoning=2048), vendor, wire) == budgets[vendor]
    else:
        assert "has no budget of it; it works with" in refusal(Options(reasoning=2048), vendor, wire)


NO_SCHEMA = {
    *((vendor, wire) for vendor in ("deepseek", "minimax") for wire in ("chat", "responses")),
    ("zai", "chat"),
    ("xiaomi", "chat"),
    ("llamacpp", "responses"),
}


@each_wire
def test_the_schema_of_an_answer(vendor: str, wire: Wire) -> None:
    """It stands in the wire's own place, and is strict; some vendors have none, and llama.cpp ignores one of two."""
    options = Options(cache="off", response_schema=MappingProxyType(SCHEMA))
    inner = {"name": "response", "schema": SCHEMA, "strict": True}
    if (vendor, wire) in NO_SCHEMA:
        assert "option `response_schema`" in refusal(options, vendor, wire)
    elif wire == "responses":
        assert added(options, vendor, wire) == {"text": {"format": {"type": "json_schema", **inner}}}
    else:
        assert added(options, vendor, wire) == {"response_format": {"type": "json_schema", "json_schema": inner}}


CHOICES = {
    **{key: {"auto"} for key in ("ollama", "zai", "minimax", "xiaomi")},
    **{key: {"auto", "none"} for key in ("moonshot", "deepinfra")},
    **{key: {"auto", "none", "required"} for key in ("llamacpp", "github-models")},
}


@each_wire
def test_a_choice_of_tools(vendor: str, wire: Wire) -> None:
    """A word, or the tool's name in the wire's own form; what a server would ignore without a word is refused."""
    plain = Options(cache="off", tools=TOOLS)
    before = body(plain, vendor, wire)
    name = {"name": "read_file"}
    named = {"type": "function", **(name if wire == "responses" else {"function": name})}
    required = "any" if vendor == "mistral" else "required"
    written: dict[str, Any] = {"auto": "auto", "none": "none", "required": required, "read_file": named}
    for choice, sent in written.items():
        options = msgspec.structs.replace(plain, tool_choice=choice)
        if choice in CHOICES.get(vendor, written):
            assert body(options, vendor, wire) == {**before, "tool_choice": sent}, choice
        else:
            said = refusal(options, vendor, wire)
            assert f"option `tool_choice`: {vendor} would ignore {choice!r}; it takes auto" in said


NEEDED: dict[str, object] = {"type": "object", "properties": {"b": {}, "a": {}}, "required": ["b", "a"]}
READ = Tool(name="read", description="Reads.", parameters=NEEDED, strict=True)
IN_FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {}}}
FLAT = {"type": "function", "name": "f", "parameters": {}}


@pytest.mark.parametrize(
    ("wire", "tool", "written"),
    [
        pytest.param(
            "chat",
            Tool(name="now"),
            {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}},
            id="chat: no description is none, and nothing is said of strictness",
        ),
        pytest.param(
            "chat",
            READ,
            {
                "type": "function",
                "function": {
                    "name": "read",
                    "description": "Reads.",
                    "parameters": NEEDED,
                    "strict": True,
                },
            },
            id="chat: strict with its schema",
        ),
        pytest.param(
            "responses",
            Tool(name="now"),
            {
                "type": "function",
                "name": "now",
                "parameters": {"type": "object", "properties": {}},
                "strict": False,
            },
            id="responses: not strict has to be said",
        ),
        pytest.param(
            "responses",
            READ,
            {
                "type": "function",
                "name": "read",
                "description": "Reads.",
                "parameters": NEEDED,
                "strict": True,
            },
            id="responses: strict, and flat",
        ),
        pytest.param("chat", IN_FUNCTION, IN_FUNCTION, id="chat: a tool of the API's own form as it is"),
        pytest.param("responses", {"type": "web_search"}, {"type": "web_search"}, id="a vendor's own tool as it is"),
        pytest.param("responses", MappingProxyType(FLAT), FLAT, id="any mapping is as good as a dictionary"),
    ],
)
def test_tools(wire: Wire, tool: Any, written: dict[str, Any]) -> None:
    """A tool is written as the API has it, in the order in which its schema was given."""
    (sent,) = body(Options(tools=[tool]), "openai", wire)["tools"]
    assert msgspec.json.encode(sent) == msgspec.json.encode(written)


class Frozen(Mapping[str, object]):
    """A mapping that is no dictionary, of mappings that are none."""

    def __init__(self, inner: Mapping[str, object]) -> None:
        self.inner = {key: Frozen(value) if isinstance(value, Mapping) else value for key, value in inner.items()}

    def __getitem__(self, key: str) -> object:
        return self.inner[key]

    def __iter__(self) -> Any:
        return iter(self.inner)

    def __len__(self) -> int:
        return len(self.inner)


@each_wire
def test_any_mapping_will_do(vendor: str, wire: Wire) -> None:
    """As a tool's parameters, as a tool, as a schema, as raw fields, however deep."""
    tool = {"type": "function", "name": "f", "function": {"name": "f"}}
    given: dict[str, Any] = {"extra": {"metadata": {"a": {"b": 1}}}}
    if (vendor, wire) not in NO_SCHEMA:
        given["response_schema"] = SCHEMA
    plain = body(Options(tools=[Tool(name="t", parameters=SCHEMA), tool], **given), vendor, wire)
    wraps: list[Any] = [Frozen, MappingProxyType]  # a class of one's own, and a read-only view
    for wrap in wraps:
        wrapped = Options(
            tools=[Tool(name="t", parameters=wrap(SCHEMA)), wrap(tool)],
            **{name: wrap(value) for name, value in given.items()},
        )
        assert body(wrapped, vendor, wire) == plain, wrap


RAW: list[Any] = [
    pytest.param([IN_FUNCTION], "f", True, id="the name of a raw tool of the chat wire"),
    pytest.param([FLAT], "f", True, id="the name of a raw tool"),
    pytest.param([{"type": "web_search"}], "required", True, id="a tool without a name can be required"),
    pytest.param([{"type": "web_search"}], "auto", True, id="a tool without a name can be offered"),
    pytest.param([{"type": "web_search"}], "None", False, id="it has no name to be chosen by"),
    pytest.param([IN_FUNCTION], "g", False, id="a name that no raw tool has"),
]


@pytest.mark.parametrize(("tools", "choice", "works"), RAW)
@pytest.mark.parametrize("wire", ["chat", "responses"])
def test_a_choice_among_raw_tools(tools: Any, choice: str, works: bool, wire: Wire) -> None:
    """Raw tools can be chosen as ours can, by the name that stands in them."""
    options = Options(tools=tools, tool_choice=choice)
    if works:
        assert "tool_choice" in body(options, "openai", wire)
    else:
        assert f"no tool is called {choice!r}" in refusal(options, "openai", wire)


CACHED = Model("gpt-x", ModelInfo(supports_cache_options=True))
OLDER = Model("gpt-x", ModelInfo(supports_cache_options=False))
EXPLICIT = {"mode": "explicit"}
DAY = {"prompt_cache_retention": "24h"}
ONE_HOUR = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}


@pytest.mark.parametrize(
    ("vendor", "wire", "model", "cache", "written"),
    [
        *(
            pytest.param(vendor, wire, model, "auto", {}, id=f"{vendor} {wire} caches by itself, {of}")
            for vendor, wire in (("openai", "chat"), ("openai", "responses"), ("deepseek", "chat"))
            for model, of in ((CACHED, "a new model"), (OLDER, "an older one"), (UNKNOWN, "an unknown one"))
        ),
        *(
            pytest.param(vendor, wire, CACHED, "off", {"prompt_cache_options": EXPLICIT}, id=f"{vendor} {wire} off")
            for vendor in ("openai", "azure")
            for wire in ("chat", "responses")
        ),
        pytest.param("openai", "chat", OLDER, "off", {}, id="an older model caches all the same"),
        pytest.param("openai", "responses", OLDER, "extended", DAY, id="an older one's day"),
        pytest.param("openai", "chat", UNKNOWN, "extended", DAY, id="an unknown one's day"),
        pytest.param("openai", "responses", CACHED, "extended", {"prompt_cache_options": {"ttl": "12h"}}, id="12 h"),
        pytest.param("openrouter", "chat", UNKNOWN, "auto", {"cache_control": {"type": "ephemeral"}}, id="a mark"),
        pytest.param("openrouter", "chat", UNKNOWN, "extended", ONE_HOUR, id="a mark for an hour"),
        pytest.param("openrouter", "chat", UNKNOWN, "off", {}, id="no mark"),
        pytest.param("openrouter", "responses", UNKNOWN, "auto", {}, id="no marks on the Responses API"),
    ],
)
def test_cache(vendor: str, wire: Wire, model: Model, cache: Any, written: dict[str, Any]) -> None:
    """What can be said about a cache that vendors keep by themselves."""
    names = {"prompt_cache_options", "prompt_cache_retention", "cache_control"}
    fields = body(Options(cache=cache), vendor, wire, model)
    assert {name: value for name, value in fields.items() if name in names} == written


@each_wire
def test_a_longer_lifetime_is_refused_where_there_is_none(vendor: str, wire: Wire) -> None:
    """Silently keeping it for less would cost the caller more than they think."""
    options = Options(cache="extended")
    if vendor in ("openai", "azure"):
        if wire == "chat":
            assert refusal(options, vendor, wire, CACHED).endswith('works for this model with wire="responses"')
        assert body(options, vendor, wire, OLDER)["prompt_cache_retention"] == "24h"
    elif vendor != "openrouter" or wire == "responses":
        said = refusal(options, vendor, wire)
        assert f"option `cache`: the lifetime of {vendor}'s cache cannot be chosen; use auto" in said
        assert ('wire="chat"' in said) == (vendor == "openrouter")


def model(**info: Any) -> Model:
    return Model("m-1", ModelInfo(**info))


FORCED = 'm-1 cannot be forced to call a tool while it reasons (`reasoning="off"`); use `auto`'
REFUSED: list[Any] = [
    *(
        pytest.param(
            "openai",
            "responses",
            asked(name, 0),
            UNKNOWN,
            f'option `{name}`: the Responses API of openai has none; it works with wire="chat"',
            id=f"{name} on the Responses API",
        )
        for name in ("presence_penalty", "frequency_penalty", "seed")
    ),
    pytest.param("openai", "responses", Options(stop=["a"]), UNKNOWN, 'works with wire="chat"', id="stop as well"),
    pytest.param("deepseek", "responses", Options(seed=1), UNKNOWN, 'with openai and wire="chat"', id="seed nowhere"),
    pytest.param("vllm", "responses", Options(top_k=1), UNKNOWN, 'works with wire="chat"', id="top_k on Responses"),
    pytest.param("openai", "chat", Options(top_k=1), UNKNOWN, "works with older Claude models", id="top_k at OpenAI"),
    pytest.param("openai", "chat", Options(reasoning=9000), UNKNOWN, "give an effort here", id="a budget at OpenAI"),
    pytest.param(
        "openrouter", "responses", Options(reasoning=900), UNKNOWN, 'works with wire="chat"', id="a budget on Responses"
    ),
    *(
        pytest.param(
            "deepseek", wire, Options(response_schema={}), UNKNOWN, "openai, google and mistral", id=f"schema, {wire}"
        )
        for wire in ("chat", "responses")
    ),
    pytest.param("deepseek", "chat", Options(user="u"), UNKNOWN, "works with openai", id="a user at DeepSeek"),
    pytest.param(
        "openai",
        "chat",
        Options(reasoning="max"),
        UNKNOWN,
        "option `reasoning`: no 'max' on the chat wire of openai; it works with wire=\"responses\"",
        id="the highest effort on OpenAI's chat wire",
    ),
    pytest.param(
        completed(Dialect(name="mine", wires=["chat"], chat_efforts=["low", "high"])),
        "chat",
        Options(reasoning="medium"),
        UNKNOWN,
        "no 'medium' on the chat wire of mine; it takes low, high",
        id="an effort that a user's row does not name",
    ),
    *(
        pytest.param("openai", "chat", Options(max_tokens=most), info, said, id=f"{most} tokens, {said}")
        for most, info, said in (
            (0, UNKNOWN, "option `max_tokens`: 0, expected 1 to as many as the model can"),
            (-1, UNKNOWN, "option `max_tokens`: -1"),
            (101, model(max_tokens=100), "option `max_tokens`: 101, expected 1 to 100"),
            (0, model(max_tokens=100), "option `max_tokens`: 0, expected 1 to 100"),
        )
    ),
    *(
        pytest.param("openai", "chat", asked(name, 1), model(supports_sampling=False), said, id=f"{name}, {said}")
        for name in ("temperature", "top_p", "presence_penalty", "frequency_penalty")
        for said in (f"option `{name}`: m-1 takes no sampling parameters",)
    ),
    *(
        pytest.param(
            "openai",
            "chat",
            asked(name, 1, reasoning="low"),
            model(supports_sampling="unless_reasoning"),
            f"option `{name}`: m-1 takes no sampling parameters while it reasons",
            id=f"{name} beside reasoning",
        )
        for name in ("temperature", "top_p", "presence_penalty", "frequency_penalty")
    ),
    *(
        pytest.param(
            "openai", "chat", asked(name, value), UNKNOWN, f"`{name}`: {shown}, expected a finite", id=f"{name} {shown}"
        )
        for name in ("temperature", "top_p", "presence_penalty", "frequency_penalty", "seed")
        for value, shown in ((float("nan"), "nan"), (float("inf"), "inf"), ("hot", "hot"), ([], r"[]"))
    ),
    *(
        pytest.param(
            "openai",
            wire,
            asked("reasoning", reasoning, tools=TOOLS, tool_choice=choice),
            model(supports_forced_tools=forced),
            said,
            id=f"{choice} with {reasoning}, where that is {forced}, on {wire}",
        )
        for wire in ("chat", "responses")
        for choice in ("required", "grep")
        for forced, reasoning, said in (
            (False, None, "m-1 cannot be forced to call a tool; use `auto`"),
            (False, "off", "m-1 cannot be forced to call a tool; use `auto`"),
            ("unless_reasoning", None, FORCED),
            ("unless_reasoning", "low", FORCED),
            ("unless_budget", 2048, "with a budget of reasoning; use `auto`"),
        )
    ),
    pytest.param("openai", "chat", Options(tool_choice="auto"), UNKNOWN, "there are no tools", id="nothing to choose"),
    pytest.param("openai", "chat", Options(parallel_tool_calls=True), UNKNOWN, "there are no tools", id="nor several"),
    pytest.param(
        "openai",
        "chat",
        Options(tools=TOOLS, tool_choice="read_fil"),
        UNKNOWN,
        "option `tool_choice`: no tool is called 'read_fil'; did you mean 'read_file'?",
        id="a tool that is not there, with the nearest",
    ),
    pytest.param(
        "openai", "chat", Options(tools=[Tool(name="f"), IN_FUNCTION]), UNKNOWN, "two tools are called 'f'", id="twice"
    ),
    pytest.param(
        "openai", "chat", asked("tools", ["f"]), UNKNOWN, "`tools`: a str, expected a Tool or a mapping", id="a name"
    ),
    pytest.param(
        "openai",
        "responses",
        Options(reasoning="off"),
        model(reasoning_modes=["adaptive"], efforts=["low", "high"]),
        "option `reasoning`: m-1 always reasons; 'low' is the least",
        id="no reasoning where there is always some",
    ),
    pytest.param(
        "openai",
        "responses",
        Options(reasoning="off"),
        model(reasoning_modes=["adaptive"]),
        "option `reasoning`: m-1 always reasons",
        id="the same without known efforts",
    ),
    pytest.param(
        completed(Dialect(name="mine", reasoning_off=None)),
        "chat",
        Options(reasoning="off"),
        UNKNOWN,
        "option `reasoning`: mine has no way to turn it off",
        id="no reasoning where there is no switch",
    ),
    *(
        pytest.param("openrouter", "chat", asked("reasoning", wanted), model(**info), said, id=f"{wanted} with {info}")
        for wanted, info, said in (
            ("xhigh", {"efforts": ["low"]}, "option `reasoning`: 'xhigh', but m-1 takes one of low"),
            ("low", {"reasoning_modes": []}, "m-1 does not reason, so it takes neither an effort nor a budget (low)"),
            (2048, {"reasoning_modes": []}, "m-1 does not reason, so it takes neither an effort nor a budget (2048)"),
            (2048, {"reasoning_modes": ["adaptive"]}, "option `reasoning`: 2048, but m-1 takes an effort"),
            (
                2048,
                {"reasoning_modes": ["adaptive"], "efforts": ["low", "high"]},
                "option `reasoning`: 2048, but m-1 takes one of low, high",
            ),
            (0, {}, "option `reasoning`: 0, expected an effort, `off`, or a number of tokens"),
            (-5, {}, "option `reasoning`: -5, expected"),
            (True, {}, "option `reasoning`: True, expected"),
            (0.5, {}, "option `reasoning`: 0.5, expected"),
        )
    ),
    pytest.param("openai", "chat", asked("cache", "on"), UNKNOWN, "option `cache`: 'on', expected auto", id="a word"),
]


@pytest.mark.parametrize(("vendor", "wire", "options", "model", "said"), REFUSED)
def test_what_cannot_be_expressed_is_refused(
    vendor: str | Dialect, wire: Wire, options: Options, model: Model, said: str
) -> None:
    """The message names the option, and where it would work or what would."""
    assert said in refusal(options, vendor, wire, model)


@pytest.mark.parametrize(
    ("options", "model", "written"),
    [
        pytest.param(Options(reasoning="off"), model(reasoning_modes=[]), {}, id="what never reasons is off already"),
        pytest.param(Options(stop=[]), UNKNOWN, {}, id="no stops"),
        pytest.param(Options(stop=("a", "b")), UNKNOWN, {"stop": ["a", "b"]}, id="several stops"),
        pytest.param(Options(max_tokens=100), model(max_tokens=100), {"max_completion_tokens": 100}, id="the most"),
        pytest.param(
            Options(temperature=0.5, reasoning="off"),
            model(supports_sampling="unless_reasoning"),
            {"temperature": 0.5, "reasoning_effort": "none"},
            id="sampling without reasoning",
        ),
        pytest.param(
            Options(top_p=0.5), model(supports_sampling="unless_reasoning"), {"top_p": 0.5}, id="or with no word of it"
        ),
        pytest.param(Options(seed=2**60), model(supports_sampling=False), {"seed": 2**60}, id="a seed is no parameter"),
        pytest.param(Options(deadlines=Deadlines(), cache="off"), UNKNOWN, {}, id="what is not for this place"),
    ],
)
def test_fields_on_the_chat_wire(options: Options, model: Model, written: dict[str, Any]) -> None:
    """What is possible is written, and nothing else."""
    assert added(options, "openai", "chat", model) == written


def test_tools_may_be_forced_without_reasoning() -> None:
    """DeepSeek's models take it once they are told not to think."""
    options = Options(tools=TOOLS, tool_choice="required", reasoning="off", cache="off")
    fields = body(options, "deepseek", "chat", known("deepseek"))
    assert (fields["tool_choice"], fields["thinking"]) == ("required", {"type": "disabled"})
    assert "while it reasons" in refusal(
        Options(tools=TOOLS, tool_choice="required"), "deepseek", "chat", known("deepseek")
    )


@pytest.mark.parametrize(
    ("vendor", "options", "fields"),
    [
        pytest.param("openai", Options(extra={"store": True}), {"store": True}, id="a value is replaced"),
        pytest.param("openai", Options(extra={"truncation": "auto"}), {"truncation": "auto"}, id="a field is added"),
        pytest.param(
            "openai",
            Options(reasoning="low", extra={"reasoning": {"summary": "auto"}}),
            {"reasoning": {"effort": "low", "summary": "auto"}},
            id="objects are merged",
        ),
        pytest.param(
            "openai",
            Options(response_schema=SCHEMA, extra={"text": {"verbosity": "low", "format": {"strict": False}}}),
            {
                "text": {
                    "format": {"type": "json_schema", "name": "response", "schema": SCHEMA, "strict": False},
                    "verbosity": "low",
                }
            },
            id="however deep",
        ),
        pytest.param(
            "xai", Options(extra={"include": ["x"]}), {"include": ["x"]}, id="a list is replaced: who knows its order"
        ),
        pytest.param("xai", Options(extra={"include": None}), {"include": None}, id="a field may be taken away"),
    ],
)
def test_extra_is_laid_over_the_body(vendor: str, options: Options, fields: dict[str, Any]) -> None:
    """Raw fields win, and all others stay."""
    plain = body(msgspec.structs.replace(options, extra={}), vendor, "responses")
    assert body(options, vendor, "responses") == {**plain, **fields}


@pytest.mark.parametrize(
    ("vendor", "options", "fields"),
    [
        pytest.param(
            "openai", {}, {"stream_options": {"include_usage": True, "include_obfuscation": False}}, id="usage"
        ),
        pytest.param("mistral", {}, {"stream_options": {"include_obfuscation": False}}, id="what one asks for oneself"),
        pytest.param(
            "openrouter",
            {"reasoning": "low"},
            {"stream_options": {"include_usage": True, "include_obfuscation": False}, "reasoning": {"effort": "low"}},
            id="beside an effort",
        ),
    ],
)
def test_extra_is_merged_into_what_the_row_says(vendor: str, options: dict[str, Any], fields: dict[str, Any]) -> None:
    """On the chat wire as well; and the row stays as it was, whatever is merged into it."""
    before = copy.deepcopy(DIALECTS[vendor])
    extra = {"stream_options": {"include_obfuscation": False}}
    sent = body(Options(**options, extra=extra), vendor, "chat")
    assert {name: sent[name] for name in fields} == fields
    off = body(Options(reasoning="off", extra={"thinking": {"a": 1}, "reasoning": {"b": 2}}), vendor, "chat")
    assert off["reasoning"]["b"] == 2
    assert DIALECTS[vendor] == before


# What each option may be when nothing is known of the model; those of the second set are no part of the body.
VALID: dict[str, Any] = {
    **EXAMPLES,
    "tools": [Tool(name="other")],
    "tool_choice": "auto",
    "reasoning": "off",
    "response_schema": {},
    "cache": "extended",
    "extra": {"x": 1},
}
NOT_SENT = {"deadlines", "on_head", "on_resend", "lenient", "on_drop", "tags", "scope"}


def test_every_option_is_looked_at() -> None:
    """A new option fails here until somebody has decided what becomes of it."""
    assert {*VALID, *NOT_SENT} == set(Options.__struct_fields__)


@each_wire
def test_no_option_is_dropped_silently(vendor: str, wire: Wire) -> None:
    """Each one, at a value that is false or a default too, changes the request or is refused by name."""
    plain = Options(tools=TOOLS)
    before = body(plain, vendor, wire)
    for name, value in VALID.items():
        options = msgspec.structs.replace(plain, **{name: value})
        if _works(options, vendor, wire):
            assert body(options, vendor, wire) != before, name
        else:
            said = refusal(options, vendor, wire)
            assert said.startswith(f"option `{name}`: ")
            assert re.search(r"works with|it takes|use auto", said)


BY_NAME = re.compile(r'works with (?:(\w+) and )?wire="(\w+)"|works with ([\w, -]+)')


@each_wire
def test_where_it_is_said_to_work_it_works(vendor: str, wire: Wire) -> None:
    """A refusal's hint is tried out: the other wire, or each of the vendors, does take the option."""
    for name, value in {**EXAMPLES, "response_schema": {}, "reasoning": 2048}.items():
        options = msgspec.structs.replace(Options(tools=TOOLS, cache="off"), **{name: value})
        if not _works(options, vendor, wire):
            _try_out(refusal(options, vendor, wire), options, vendor)


def _try_out(said: str, options: Options, vendor: str) -> None:
    found = BY_NAME.search(said)
    assert found is not None, said
    other, other_wire, named = found.groups()
    if other_wire is not None:
        assert _works(options, other or vendor, other_wire), said
        return
    names = [word for word in re.split(r"\W+", named) if word in DIALECTS or word == "Anthropic"]
    assert names
    for one in names:
        if one == "Anthropic":
            assert anthropic_request.encode("", [Message("user", "hi")], options, UNKNOWN)
        else:
            assert any(_works(options, one, way) for way in DIALECTS[one].wires), one


numbers = st.none() | st.floats() | st.integers() | st.sampled_from([10**400, -(10**400), True])
words = st.none() | st.sampled_from(["auto", "none", "required", "grep", "off", "low", "max", "", "é", "\ud800"])
anything = {
    **dict.fromkeys(("temperature", "top_p", "presence_penalty", "frequency_penalty"), numbers),
    **dict.fromkeys(("max_tokens", "top_k", "seed"), st.none() | st.integers() | st.just(10**400)),
    **dict.fromkeys(("tool_choice", "user", "service_tier"), words),
    "reasoning": words | numbers,
    "stop": words | st.lists(st.text(max_size=3), max_size=2),
    "parallel_tool_calls": st.none() | st.booleans(),
    "cache": st.sampled_from(["auto", "extended", "off", "?"]),
    "tools": st.sampled_from([(), TOOLS, [IN_FUNCTION], [{}], [{"function": 5}], [{"name": ["x"]}]]),
    "extra": st.sampled_from([{}, {"a": {1: 2}}, {"messages": []}, {"x": object()}, {"tools": None}, {"reasoning": 5}]),
}


@settings(max_examples=200, deadline=None)
@given(st.builds(Options, **anything), st.sampled_from(WIRES))
def test_no_value_makes_it_crash(options: Options, place: tuple[str, Wire]) -> None:
    """Whatever is asked for, the body is JSON or the refusal is ours."""
    vendor, wire = place
    encode = chat_request.encode if wire == "chat" else responses_request.encode
    try:
        sent = encode("", [Message("user", "hi")], options, UNKNOWN, DIALECTS[vendor])
    except InvalidRequestError:
        return
    decoded = msgspec.json.decode(sent)
    assert [*decoded][-1] == ("messages" if wire == "chat" else "input")


def test_the_options_never_change_the_rows() -> None:
    """All of them are read, and none is written to."""
    before = copy.deepcopy(dict(DIALECTS))
    for vendor, wire in WIRES:
        for name, value in VALID.items():
            _works(Options(tools=TOOLS, **({} if name == "tools" else {name: value})), vendor, wire)
        _works(Options(reasoning="off", extra={"a": 1}), vendor, wire)
    assert dict(DIALECTS) == before


class Traits(NamedTuple):
    """What a model of OpenAI's takes: whether reasoning can be off, its efforts, and whether it can be sampled."""

    off: bool
    efforts: str
    sampling: bool | None


NEW = Traits(off=True, efforts="low medium high xhigh max", sampling=None)
ALWAYS = Traits(off=False, efforts="low medium high xhigh max", sampling=False)
MIDDLE = Traits(off=True, efforts="low medium high xhigh", sampling=None)
PRO = Traits(off=False, efforts="medium high xhigh", sampling=False)
FIVE = Traits(off=False, efforts="minimal low medium high", sampling=False)
PLAIN = Traits(off=True, efforts="", sampling=True)
O_SERIES = Traits(off=False, efforts="low medium high", sampling=False)
# ../shared/prices.md, the last table, 2026-11-21. sampling: None is only while reasoning is off.
TRAITS = {
    **dict.fromkeys(("gpt-6-astra", "gpt-6.1-sol", "gpt-6-rosalind"), ALWAYS),
    **dict.fromkeys(("gpt-6-sol", "gpt-6-luna", "gpt-6.1-terra", "gpt-5.6-sol", "gpt-5.6-terra", "gpt-5.6-luna"), NEW),
    **dict.fromkeys(("gpt-5.5", "gpt-5.4", "gpt-5.4-mini", "gpt-5.4-nano"), MIDDLE),
    **dict.fromkeys(("gpt-5.3-codex", "gpt-5.2", "gpt-5.1"), MIDDLE),
    **dict.fromkeys(("gpt-5.5-pro", "gpt-5.4-pro", "gpt-5.2-pro"), PRO),
    "gpt-5-pro": PRO._replace(efforts="high"),
    **dict.fromkeys(("gpt-5", "gpt-5-mini", "gpt-5-nano"), FIVE),
    **dict.fromkeys(("gpt-4.1", "gpt-4.1-mini", "gpt-4o", "gpt-4o-2024-05-13", "gpt-4o-mini"), PLAIN),
    **dict.fromkeys(("o3", "o3-pro"), O_SERIES),
}


def test_the_table_of_traits_is_whole() -> None:
    """Every model of OpenAI's in the catalogue stands in it."""
    models = {entry.provider_config.model_id for entry in catalog().models.values() if entry.provider == "openai"}
    assert models == set(TRAITS)


@pytest.mark.parametrize("alias", TRAITS)
@pytest.mark.parametrize("wire", ["chat", "responses"])
def test_what_each_model_takes(alias: str, wire: Wire) -> None:
    """The catalogue's models get what they take, and are spared what they would refuse."""
    model, traits = known(alias), TRAITS[alias]

    def effort(word: str) -> dict[str, Any]:
        return {"reasoning": {"effort": word}} if wire == "responses" else {"reasoning_effort": word}

    def taken(**options: Any) -> dict[str, Any] | None:
        asked_for = Options(cache="off", **options)
        return added(asked_for, "openai", wire, model) if _works(asked_for, "openai", wire, model) else None

    off = {} if not traits.efforts else effort("none") if traits.off else None
    assert taken(reasoning="off") == off
    for word in ("minimal", "low", "medium", "high", "xhigh", "max"):
        takes = word in traits.efforts.split() and (wire == "responses" or word != "max")
        assert taken(reasoning=word) == (effort(word) if takes else None)
    assert taken(reasoning=2048) is None
    # Where reasoning can be on or off, that decides; what is the default, only the vendor knows.
    assert (taken(temperature=0.5) is not None) == (traits.sampling is not False)
    if traits.sampling is None:
        assert taken(temperature=0.5, reasoning="off") == {"temperature": 0.5, **effort("none")}
        assert taken(temperature=0.5, reasoning="low") is None


@each_wire
def test_an_effort_that_there_is_not(vendor: str, wire: Wire) -> None:
    """A word of one's own is refused, with the nearest known one."""
    assert "did you mean 'low'?" in refusal(Options(reasoning="lows"), vendor, wire)  # type: ignore[arg-type]


def test_deadlines_of_another_type() -> None:
    """At once, and not when a call is under way."""
    with pytest.raises(ConfigError, match="expected Deadlines"):
        Options(deadlines=30)  # type: ignore[arg-type]
