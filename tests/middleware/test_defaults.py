"""Defaults: what a call leaves is filled in, and what it says stays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from penstock import (
    BaseProvider,
    ConfigError,
    InvalidRequestError,
    Message,
    OpenAIProvider,
    Options,
    ProviderConfig,
    Tool,
    collect,
    open_provider,
)
from penstock.config.entries import OptionsTable
from penstock.middleware import Defaults, Fallback, Retry
from penstock.testing import ScriptedProvider
from playing import ASK, HI

GREP, FIND = Tool(name="grep"), Tool(name="find")
MORE: dict[str, Any] = {
    "max_tokens": 9, "temperature": 0.5, "top_p": 0.5, "top_k": 9, "presence_penalty": 1, "frequency_penalty": 1,
    "stop": "END", "seed": 1, "tools": [GREP], "tool_choice": "auto", "parallel_tool_calls": True, "reasoning": "low",
    "response_schema": {"type": "object"}, "cache": "off", "user": "u", "service_tier": "flex", "deadlines": None,
    "on_head": print, "on_resend": print, "on_drop": print, "lenient": True, "extra": {"a": 1}, "tags": {"b": "c"},
    "scope": None,
}  # fmt: skip
FALSE: dict[str, Any] = {
    "temperature": 0, "top_p": 0.0, "presence_penalty": 0, "seed": 0, "parallel_tool_calls": False, "reasoning": "off",
    "user": "", "stop": [], "response_schema": {}, "max_tokens": 0,
}  # fmt: skip


def test_every_option_is_here() -> None:
    """A new one fails here until somebody has decided how it is filled in."""
    assert set(MORE) == set(Options.__struct_fields__)


class Asked(ScriptedProvider):
    """Keeps what it is asked for."""

    options: Options | None = None

    def request_body(self, system_prompt: str, messages: Sequence[Message], options: Options | None = None) -> bytes:
        self.options = options
        return b""


def filled(defaults: Options, options: Options | None) -> Options:
    """What the provider inside is asked."""
    inner = Asked()
    Defaults(inner, defaults).request_body("", ASK, options)
    assert inner.options is not None
    return inner.options


@pytest.mark.anyio
async def test_a_call_gets_them_as_a_body_does() -> None:
    """What the call says is laid over them there too."""
    inner = Asked(HI)
    await collect(Defaults(inner, Options(seed=5)).create_message("", ASK, Options(top_k=1)))
    sent = inner.calls[0].options
    assert sent is not None
    assert (sent.seed, sent.top_k) == (5, 1)


@pytest.mark.parametrize("name", MORE)
def test_what_a_call_leaves_is_filled_in(name: str) -> None:
    """Whether it gives other options or none at all."""
    defaults = Options(**{"tools": [GREP], name: MORE[name]})
    assert filled(defaults, None) == filled(defaults, Options()) == defaults


@pytest.mark.parametrize("name", FALSE)
def test_what_a_call_says_stays(name: str) -> None:
    """Also where it is nothing, or false."""
    said = Options(**{"tools": [FIND], name: FALSE[name]})
    assert filled(Options(**{"tools": [GREP], name: MORE[name]}), said) == said


CASES: dict[str, tuple[Options, Options, Options]] = {
    "raw fields are merged": (
        Options(extra={"a": {"x": 1, "y": 1}, "b": 1}),
        Options(extra={"a": {"y": 2}, "c": [3]}),
        Options(extra={"a": {"x": 1, "y": 2}, "b": 1, "c": [3]}),
    ),
    "tags are merged": (
        Options(tags={"team": "blue", "user": "-"}),
        Options(tags={"user": "ann"}),
        Options(tags={"team": "blue", "user": "ann"}),
    ),
    "tools are the call's": (Options(tools=[GREP]), Options(tools=[FIND]), Options(tools=[FIND])),
    "an empty list of tools is none": (Options(tools=[GREP]), Options(tools=[]), Options(tools=[GREP])),
    "what needs tools waits for them": (
        Options(parallel_tool_calls=False, tool_choice="auto", seed=1),
        Options(),
        Options(seed=1),
    ),
    "and comes with them": (
        Options(parallel_tool_calls=False),
        Options(tools=[FIND]),
        Options(tools=[FIND], parallel_tool_calls=False),
    ),
    "a call cannot go back to auto": (Options(cache="off"), Options(cache="auto"), Options(cache="off")),
}


@pytest.mark.parametrize(("defaults", "said", "found"), CASES.values(), ids=CASES)
def test_how_they_are_laid_together(defaults: Options, said: Options, found: Options) -> None:
    """Neither of the two is changed by it."""
    before = repr((defaults, said))
    assert filled(defaults, said) == found
    assert repr((defaults, said)) == before


def provider(**config: Any) -> OpenAIProvider:
    return OpenAIProvider(ProviderConfig(model_id="m", api_key="sk-none-at-all", wire="chat", **config))


def body(provider: BaseProvider, options: Options | None = None) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(provider.request_body("", [Message("user", "Hi")], options))
    return found


def test_the_innermost_comes_last() -> None:
    """The call, then the outer one, then the inner one."""
    inner = Defaults(provider(), Options(temperature=0.1, seed=1, max_tokens=1))
    outer = Defaults(inner, Options(temperature=0.2, seed=2))
    asked = body(outer, Options(temperature=0.3))
    assert (asked["temperature"], asked["seed"], asked["max_completion_tokens"]) == (0.3, 2, 1)


@pytest.mark.anyio
async def test_tokens_are_counted_with_them() -> None:
    """Tools are a part of the prompt."""
    inner = provider()
    tools = Options(tools=[Tool(name="grep", description="word " * 500)])
    plain, more = await inner.count_tokens("", ASK), await Defaults(inner, tools).count_tokens("", ASK)
    assert more.tokens > plain.tokens + 400


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("options", "said"),
    [
        pytest.param({"seed": 1}, "`options` is of type dict", id="no options"),
        pytest.param(Options(extra=None), "wrong type", id="no raw fields"),  # type: ignore[arg-type]
        pytest.param(Options(extra={"model": "x"}), "open another provider", id="another model"),
    ],
)
async def test_what_is_wrong_is_said_when_the_first_chunk_is_asked_for(options: Any, said: str) -> None:
    """As without Defaults."""
    for outer in (Defaults(provider(), Options(extra={"a": 1})), provider()):
        stream = outer.create_message("", ASK, options)
        with pytest.raises(InvalidRequestError, match=said):
            await anext(stream)


def test_defaults_are_options() -> None:
    """Told when it is built."""
    with pytest.raises(ConfigError, match="`options` is of type dict"):
        Defaults(provider(), {"seed": 1})  # type: ignore[arg-type]


# In models.json.


def written(folder: Path, **entries: Any) -> Path:
    config = {"modelId": "m", "apiKey": "sk-none-at-all", "wire": "chat"}
    models = {alias: {"provider": "openai", "providerConfig": config, **more} for alias, more in entries.items()}
    file = folder / "models.json"
    file.write_bytes(msgspec.json.encode({"active": "a", "models": models}))
    return file


def test_an_alias_has_its_own_also_where_it_is_fallen_back_on(tmp_path: Path) -> None:
    """Outside of all other middleware, and inside of Fallback: the second does not get the first one's."""
    first = {"options": {"temperature": 0.1, "parallelToolCalls": False}, "retry": {}, "fallback": ["b"]}
    file = written(tmp_path, a=first, b={"options": {"seed": 5}}, c={})
    opened = open_provider("a", models=file)
    assert isinstance(opened, Fallback)
    one, two = opened._providers
    assert isinstance(one, Defaults)
    assert isinstance(one._inner, Retry)
    assert {name: body(one).get(name) for name in ("temperature", "seed")} == {"temperature": 0.1, "seed": None}
    assert {name: body(two).get(name) for name in ("temperature", "seed")} == {"temperature": None, "seed": 5}
    assert body(opened, Options(temperature=0.9))["temperature"] == 0.9
    assert (one.alias, two.alias) == ("a", "b")
    assert isinstance(open_provider("c", models=file), OpenAIProvider)


def test_each_field_of_the_table_is_the_option_of_its_name(tmp_path: Path) -> None:
    """With the same types and the same defaults."""
    ours = {field.name: field for field in msgspec.structs.fields(Options)}
    for field in msgspec.structs.fields(OptionsTable):
        theirs = ours[field.name]
        assert field.default == theirs.default
        assert field.name in ("tools", "extra") or field.type == theirs.type
    table = {"maxTokens": 9, "reasoning": 2048, "stop": ["a"], "tools": [{"type": "x"}], "extra": {"y": {"z": None}}}
    assert msgspec.convert(table, OptionsTable).max_tokens == 9


@pytest.mark.parametrize(
    ("table", "where", "said"),
    [
        pytest.param({"max_tokens": 5}, "$.models.a.options", "did you mean 'maxTokens'?", id="a name in Python's way"),
        pytest.param({"temperature": "hot"}, "$.models.a.options.temperature", "Expected `float | null`", id="a word"),
        pytest.param(
            {"reasoning": "hard"},
            "$.models.a.options.reasoning",
            'xhigh, or a whole number; found "hard"',
            id="no effort",
        ),
        pytest.param({"cache": "on"}, "$.models.a.options.cache", "on", id="no way to cache"),
        pytest.param({"tools": [5]}, "$.models.a.options.tools[0]", "Expected `object`", id="no tool"),
        pytest.param({"toolChoice": "auto"}, "$.models.a.options", "toolChoice", id="what belongs to a call"),
    ],
)
def test_a_wrong_table_is_named(tmp_path: Path, table: Any, where: str, said: str) -> None:
    """With its place."""
    with pytest.raises(ConfigError) as caught:
        open_provider("a", models=written(tmp_path, a={"options": table}))
    assert caught.value.path == where
    assert said in str(caught.value)
