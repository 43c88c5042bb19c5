"""Options for Anthropic's Messages API: what each becomes, what each model takes, and that none is dropped silently."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import pytest

from penstock import Deadlines, InvalidRequestError, Model, ModelInfo, Options, Tool, catalog
from penstock.wire.anthropic.options import option_fields, option_headers

UNKNOWN = Model("claude-x", ModelInfo())
NAMES = ["grep", "read_file"]
TOOLS: list[Any] = [Tool(name="grep"), {"type": "text_editor_20250728", "name": "read_file"}]


def known(alias: str) -> Model:
    config = catalog().models[alias].provider_config
    return Model(config.model_id, config.model_info or ModelInfo())


def fields(options: Options, model: Model = UNKNOWN) -> dict[str, Any]:
    """What the options add to the fields that are always there."""
    body = option_fields(options, model)
    assert body.pop("model") == model.id
    assert body.pop("stream") is True
    assert body.pop("max_tokens") > 0
    return body


@pytest.mark.parametrize(
    ("options", "written"),
    [
        pytest.param(Options(), {}, id="nothing asked is nothing said"),
        pytest.param(Options(stop="END"), {"stop_sequences": ["END"]}, id="one stop"),
        pytest.param(Options(stop=["a", "b"]), {"stop_sequences": ["a", "b"]}, id="several stops"),
        pytest.param(Options(stop=[]), {}, id="no stops"),
        pytest.param(
            Options(temperature=0, top_p=0.5, top_k=3), {"temperature": 0, "top_p": 0.5, "top_k": 3}, id="sampling"
        ),
        pytest.param(Options(user="u"), {"metadata": {"user_id": "u"}}, id="a user"),
        pytest.param(Options(service_tier="auto"), {"service_tier": "auto"}, id="any tier"),
        pytest.param(Options(service_tier="standard_only"), {"service_tier": "standard_only"}, id="the standard tier"),
        pytest.param(Options(service_tier="fast"), {"speed": "fast"}, id="fast is a speed"),
        pytest.param(
            Options(response_schema={"type": "object"}),
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
            id="a schema of the answer",
        ),
        pytest.param(
            Options(response_schema={"type": "object"}, reasoning="low"),
            {
                "thinking": {"type": "adaptive"},
                "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}},
            },
            id="a schema beside an effort",
        ),
        pytest.param(Options(reasoning="off"), {"thinking": {"type": "disabled"}}, id="no reasoning"),
        pytest.param(
            Options(reasoning=1024, max_tokens=1025),
            {"thinking": {"type": "enabled", "budget_tokens": 1024}},
            id="the least budget under the least max_tokens",
        ),
        pytest.param(Options(tools=TOOLS), {}, id="tools are not an option field"),
        pytest.param(Options(tools=TOOLS, tool_choice="auto"), {"tool_choice": {"type": "auto"}}, id="auto"),
        pytest.param(Options(tools=TOOLS, tool_choice="none"), {"tool_choice": {"type": "none"}}, id="no tool"),
        pytest.param(Options(tools=TOOLS, tool_choice="required"), {"tool_choice": {"type": "any"}}, id="any tool"),
        *(
            pytest.param(
                Options(tools=TOOLS, tool_choice=name),
                {"tool_choice": {"type": "tool", "name": name}},
                id=f"only {name}",
            )
            for name in NAMES
        ),
        pytest.param(
            Options(tools=TOOLS, parallel_tool_calls=True), {"tool_choice": {"type": "auto"}}, id="calls may be several"
        ),
        pytest.param(
            Options(tools=TOOLS, parallel_tool_calls=False),
            {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
            id="one call at a time",
        ),
        pytest.param(
            Options(tools=TOOLS, parallel_tool_calls=False, tool_choice="grep"),
            {"tool_choice": {"type": "tool", "name": "grep", "disable_parallel_tool_use": True}},
            id="one call of one tool",
        ),
        pytest.param(
            Options(tools=TOOLS, parallel_tool_calls=False, tool_choice="none"),
            {"tool_choice": {"type": "none"}},
            id="no call is not several",
        ),
        pytest.param(Options(cache="off", deadlines=Deadlines(), extra={"a": 1}), {}, id="what is not for this place"),
    ],
)
def test_fields(options: Options, written: dict[str, Any]) -> None:
    """A model of which nothing is known gets whatever the API can express."""
    assert fields(options) == written


@pytest.mark.parametrize(
    ("options", "model", "most"),
    [
        pytest.param(Options(max_tokens=7), known("claude-opus-5-5"), 7, id="what the options say"),
        pytest.param(Options(max_tokens=0), known("claude-opus-5-5"), 0, id="none, to warm the cache"),
        pytest.param(Options(), known("claude-opus-5-5"), 128_000, id="else the most of the model"),
        pytest.param(Options(), UNKNOWN, 32_000, id="else what any model takes"),
    ],
)
def test_max_tokens(options: Options, model: Model, most: int) -> None:
    """The API always wants a number."""
    assert option_fields(options, model)["max_tokens"] == most


@pytest.mark.parametrize(
    ("options", "version"),
    [
        pytest.param(Options(), "2026-10-21", id="the new version"),
        pytest.param(
            Options(reasoning="high", max_tokens=5, user="u"), "2026-10-21", id="the new one for most options"
        ),
        pytest.param(Options(temperature=0.0), "2023-06-01", id="the old one for a temperature, of 0 too"),
        pytest.param(Options(top_p=1.0), "2023-06-01", id="the old one for top_p, at its default too"),
        pytest.param(Options(top_k=1), "2023-06-01", id="the old one for top_k"),
        *(
            pytest.param(Options(extra={name: 1}), "2023-06-01", id=f"the old one for a raw {name}")
            for name in ("temperature", "top_p", "top_k")
        ),
        pytest.param(Options(extra={"container": "c"}), "2026-10-21", id="the new one for other raw fields"),
    ],
)
@pytest.mark.parametrize("fast", [False, True], ids=["standard speed", "fast"])
def test_headers(options: Options, version: str, fast: bool) -> None:
    """Sampling parameters belong to the old version of the API, and the fast speed is a beta."""
    asked = msgspec.structs.replace(options, service_tier="fast") if fast else options
    beta = {"anthropic-beta": "fast-mode-2026-02-01"} if fast else {}
    assert option_headers(asked) == {"anthropic-version": version, **beta}


OPUS, SONNET_4_6, OPUS_4_5, HAIKU_4_5 = map(
    known, ("claude-opus-5-5", "claude-sonnet-4-6", "claude-opus-4-5", "claude-haiku-4-5")
)
REFUSED = [
    pytest.param(Options(seed=0), UNKNOWN, "option `seed`: Anthropic's Messages API has none", id="a seed"),
    pytest.param(Options(presence_penalty=0), UNKNOWN, "option `presence_penalty`", id="a presence penalty"),
    pytest.param(Options(frequency_penalty=1), UNKNOWN, "option `frequency_penalty`", id="a frequency penalty"),
    pytest.param(
        Options(service_tier="flex"),
        UNKNOWN,
        "option `service_tier`: 'flex', expected auto, standard_only or fast",
        id="another vendor's tier",
    ),
    pytest.param(
        Options(tools=TOOLS, tool_choice="read_fil"),
        UNKNOWN,
        "option `tool_choice`: no tool is called 'read_fil'; did you mean 'read_file'?",
        id="an unknown tool with its nearest name",
    ),
    pytest.param(
        Options(tools=TOOLS, tool_choice="xyz"),
        UNKNOWN,
        "no tool is called 'xyz'; there are grep, read_file",
        id="an unknown tool with no name near",
    ),
    *(
        pytest.param(Options(tool_choice=choice), UNKNOWN, "there are no tools", id=f"{choice} without tools")
        for choice in ("auto", "none", "required", "grep")
    ),
    pytest.param(Options(parallel_tool_calls=True), UNKNOWN, "there are no tools", id="parallel calls without tools"),
    pytest.param(
        Options(reasoning=1023, max_tokens=4096),
        UNKNOWN,
        "option `reasoning`: a budget of 1023 tokens, expected 1024 or more and less than max_tokens, which is 4096",
        id="a budget that is too small",
    ),
    pytest.param(Options(reasoning=4096, max_tokens=4096), UNKNOWN, "which is 4096", id="a budget of all the tokens"),
    pytest.param(Options(reasoning=64_000), OPUS_4_5, "which is 64000", id="a budget of all that the model can"),
    pytest.param(
        Options(reasoning=2048),
        OPUS,
        "option `reasoning`: 2048, but claude-opus-5-5 takes one of low, medium, high, xhigh, max",
        id="a budget where there are efforts only",
    ),
    pytest.param(
        Options(reasoning="xhigh"),
        SONNET_4_6,
        "'xhigh', but claude-sonnet-4-6 takes one of low, medium, high, max",
        id="an effort that the model does not take",
    ),
    pytest.param(Options(reasoning="minimal"), OPUS, "'minimal', but", id="an effort of other vendors"),
    pytest.param(
        Options(reasoning="high"),
        HAIKU_4_5,
        "'high', but claude-haiku-4-5 takes a budget of 1024 tokens or more",
        id="an effort where there are budgets only",
    ),
    pytest.param(
        Options(reasoning="xhigh"),
        OPUS_4_5,
        "'xhigh', but claude-opus-4-5 takes one of low, medium, high or a budget of 1024 tokens or more",
        id="an effort that is not one of those beside a budget",
    ),
    *(
        pytest.param(
            options,
            Model("plain-1", ModelInfo(reasoning_modes=modes, efforts=efforts)),
            f"plain-1 does not reason, so it takes neither an effort nor a budget ({options.reasoning})",
            id=f"{options.reasoning} on a model that does not reason, {modes}",
        )
        for modes, efforts in (((), ()), ([], []))
        for options in (Options(reasoning=2048), Options(reasoning="high"))
    ),
    pytest.param(
        Options(reasoning="off"),
        OPUS,
        "option `reasoning`: claude-opus-5-5 always reasons; `low` is the least",
        id="no reasoning where there is always some",
    ),
    *(
        pytest.param(
            msgspec.structs.replace(Options(), **{name: 1}),
            OPUS,
            f"option `{name}`: claude-opus-5-5 takes no sampling parameters",
            id=f"{name} on a model that refuses it",
        )
        for name in ("temperature", "top_p", "top_k")
    ),
    pytest.param(
        Options(tools=TOOLS, tool_choice="required"),
        OPUS,
        "option `tool_choice`: claude-opus-5-5 cannot be forced to call a tool; use `auto`",
        id="a call forced on a model that refuses it",
    ),
    pytest.param(
        Options(tools=TOOLS, tool_choice="grep", reasoning=2048),
        SONNET_4_6,
        "claude-sonnet-4-6 cannot be forced to call a tool with a budget of reasoning",
        id="a call forced beside a budget",
    ),
]


@pytest.mark.parametrize(("options", "model", "said"), REFUSED)
def test_what_cannot_be_expressed_is_refused(options: Options, model: Model, said: str) -> None:
    """The message names the option, and what is possible in its place."""
    with pytest.raises(InvalidRequestError) as refused:
        option_fields(options, model)
    assert said in refused.value.message
    assert refused.value.message.startswith("option `")
    assert refused.value.status is None


@pytest.mark.parametrize("modes", [(), []], ids=["a tuple", "a list"])
def test_what_never_reasons_is_not_told_to_stop(modes: Any) -> None:
    """A model of no modes of reasoning is off already, and may not know the word."""
    assert fields(Options(reasoning="off"), Model("plain-1", ModelInfo(reasoning_modes=modes))) == {}


# An example of each option; those of the second set are not this function's.
GIVEN: dict[str, Any] = {
    "max_tokens": 7,
    "temperature": 0.0,
    "top_p": 1.0,
    "top_k": 1,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "stop": "END",
    "seed": 0,
    "tool_choice": "auto",
    "parallel_tool_calls": False,
    "reasoning": "off",
    "response_schema": {},
    "user": "",
    "service_tier": "auto",
}
ELSEWHERE = {"tools", "cache", "deadlines", "on_head", "on_resend", "lenient", "on_drop", "extra", "tags", "scope"}


def test_every_option_is_looked_at() -> None:
    """A new option fails here until somebody has decided what becomes of it."""
    assert {*GIVEN, *ELSEWHERE} == set(Options.__struct_fields__)


@pytest.mark.parametrize("name", GIVEN)
def test_no_option_is_dropped_silently(name: str) -> None:
    """Each one, at a value that is false or a default too, changes the request or is refused by name."""
    plain = Options(tools=TOOLS)
    options = msgspec.structs.replace(plain, **{name: GIVEN[name]})
    if name in ("presence_penalty", "frequency_penalty", "seed"):
        with pytest.raises(InvalidRequestError, match=f"option `{name}`"):
            option_fields(options, UNKNOWN)
    else:
        assert option_fields(options, UNKNOWN) != option_fields(plain, UNKNOWN)


class Traits(NamedTuple):
    """What a model takes. off: the word that turns its reasoning off. forced: whether a call may be forced."""

    off: str | None
    adaptive: bool
    budget: bool
    efforts: str
    forced: bool
    sampling: bool


ALL = "low medium high xhigh max"
BOUND = Traits(None, adaptive=True, budget=False, efforts=ALL, forced=False, sampling=False)
ALWAYS = BOUND._replace(forced=True)
EASY = ALWAYS._replace(off="disabled")
OLDER = Traits("disabled", adaptive=True, budget=True, efforts="low medium high max", forced=True, sampling=True)
OLD = OLDER._replace(adaptive=False, efforts="")
# From the vendors' documentation and two live-verified libraries, 2026-11-21: ../shared/prices.md, the last table.
TRAITS = {
    "claude-fable-5-2": BOUND,
    "claude-mythos-5-2": BOUND,
    "claude-fable-5-1": BOUND,
    "claude-mythos-5-1": BOUND,
    "claude-opus-5-5": BOUND,
    "claude-sonnet-5-5": BOUND._replace(off="between_tools"),
    "claude-fable-5": ALWAYS,
    "claude-mythos-5": ALWAYS,
    "claude-mythos-preview": ALWAYS,
    "claude-opus-5": EASY,
    "claude-sonnet-5": EASY,
    "claude-haiku-5-5": EASY,
    "claude-opus-4-8": EASY,
    "claude-opus-4-7": EASY,
    "claude-opus-4-6": OLDER,
    "claude-sonnet-4-6": OLDER,
    "claude-opus-4-5": OLD._replace(efforts="low medium high"),
    "claude-sonnet-4-5": OLD,
    "claude-haiku-4-5": OLD,
}


def taken(options: Options, model: Model) -> dict[str, Any] | None:
    """The fields, None when they are refused."""
    try:
        return fields(options, model)
    except InvalidRequestError:
        return None


def test_the_table_of_traits_is_whole() -> None:
    """Every model of the catalogue of which it is known how it reasons stands in the table."""
    entries = [entry.provider_config for entry in catalog().models.values() if entry.provider == "anthropic"]
    reasoning = [config for config in entries if config.model_info and config.model_info.reasoning_modes is not None]
    assert {config.model_id for config in reasoning} == set(TRAITS)


@pytest.mark.parametrize("alias", TRAITS)
def test_what_each_model_takes(alias: str) -> None:
    """The catalogue's models get what they take, in their own words, and are spared what they would refuse."""
    model, traits = known(alias), TRAITS[alias]
    off = {"thinking": {"type": traits.off}} if traits.off else None
    assert taken(Options(reasoning="off"), model) == off
    budget = {"thinking": {"type": "enabled", "budget_tokens": 2048}} if traits.budget else None
    assert taken(Options(reasoning=2048), model) == budget
    adaptive = {"thinking": {"type": "adaptive"}} if traits.adaptive else {}
    for effort in ("minimal", *ALL.split()):
        written = {**adaptive, "output_config": {"effort": effort}} if effort in traits.efforts.split() else None
        assert taken(msgspec.structs.replace(Options(), reasoning=effort), model) == written
    for choice in ("required", "grep"):
        assert (taken(Options(tools=TOOLS, tool_choice=choice), model) is not None) == traits.forced
        assert taken(Options(tools=TOOLS, tool_choice=choice, reasoning=2048), model) is None
    assert taken(Options(temperature=0.5), model) == ({"temperature": 0.5} if traits.sampling else None)
