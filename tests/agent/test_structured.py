"""Structured answers: how they are asked for, what becomes of what comes, and what is told to the model."""

from __future__ import annotations

import enum
import pickle
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

import anyio
import msgspec
import pydantic
import pytest

from penstock import (
    Answer,
    AnthropicProvider,
    BaseProvider,
    Chunk,
    ConfigError,
    Dialect,
    InvalidRequestError,
    Message,
    OpaqueChunk,
    OpenAIProvider,
    Options,
    OverloadedError,
    Partial,
    ProviderConfig,
    ReasoningChunk,
    ReasoningPart,
    StopChunk,
    StopReason,
    StructuredOutputError,
    TextChunk,
    TextPart,
    Tool,
    ToolCallChunk,
    ToolCallDeltaChunk,
    ToolCallPart,
    ToolResultPart,
    UsageChunk,
    generate_object,
    stream_object,
)
from penstock.agent.schema.answer_type import AnswerType, MisfitError, objects_in
from penstock.agent.structured import Mode
from penstock.core.models import ModelInfo
from penstock.middleware import Retry
from penstock.testing import (
    Emulator,
    ScriptedProvider,
    ServerReply,
    anthropic_error,
    anthropic_message,
    chat_completion,
    openai_error,
    responses_message,
)
from playing import cancelled_while_waiting

pytestmark = pytest.mark.anyio


class City(msgspec.Struct):
    """A city."""

    name: str
    people: Annotated[int, msgspec.Meta(ge=0)] = 0
    tags: list[str] = []


class Model(pydantic.BaseModel):
    """A city by pydantic."""

    name: str
    people: int = pydantic.Field(default=0, ge=0)


class Tree(pydantic.BaseModel):
    """It holds itself."""

    name: str
    inner: list[Tree] = []


class Numbers(pydantic.RootModel[list[int]]):
    """No object."""


@dataclass
class Point:
    """Where."""

    x: int
    y: int = 0


class Typed(TypedDict):
    """A mapping with known keys."""

    a: int


class Pair(NamedTuple):
    """A list, in JSON."""

    a: int
    b: str


class Colour(enum.Enum):
    """One of two."""

    RED = "red"
    BLUE = "blue"


class Leaf(msgspec.Struct, tag="leaf"):
    """An end."""

    value: int


class Branch(msgspec.Struct, tag="branch"):
    """It holds itself."""

    left: Leaf | Branch
    right: Leaf | Branch


DEEP = 20_000
"""Levels that no Python goes down: 3.13 takes some thousands, where others take one."""

PARIS = City(name="Paris", people=2_000_000)
JSON = '{"name": "Paris", "people": 2000000, "tags": null}'
WRONG = '{"name": "Paris", "people": -1, "tags": null}'
WHY = "Expected `int` >= 0 - at `$.people`"
USAGE = UsageChunk(input_tokens=10, output_tokens=3, known_cost=Decimal("0.000075"))
NO_SCHEMA = InvalidRequestError("option `response_schema`: the chat wire of x has none; it works with y")
NO_CHOICE = InvalidRequestError("option `tool_choice`: x would ignore 'answer'; it takes auto")


def said(text: str, reason: StopReason = "stop", piece: int = 7) -> list[Chunk]:
    """An answer in text."""
    return [*(TextChunk(text[i : i + piece]) for i in range(0, len(text), piece)), USAGE, StopChunk(reason=reason)]


def called(*arguments: str, name: str = "answer", piece: int = 7) -> list[Chunk]:
    """An answer in calls of a tool."""
    chunks: list[Chunk] = []
    for place, text in enumerate(arguments):
        pieces = ("", *(text[i : i + piece] for i in range(0, len(text), piece)))
        chunks += (ToolCallDeltaChunk(id=f"c{place}", name=name, arguments=each) for each in pieces)
        chunks.append(ToolCallChunk(id=f"c{place}", name=name, arguments=text))
    return [*chunks, USAGE, StopChunk(reason="tool_calls")]


def user(text: str) -> Message:
    return Message("user", text)


def repair(why: str) -> str:
    return f"The answer does not fit: {why}. Give the whole answer again, corrected."


def total(calls: int) -> UsageChunk:
    return sum([USAGE] * calls, UsageChunk())


async def partials(provider: BaseProvider, type_: Any, **more: Any) -> tuple[list[Partial], Answer[Any]]:
    """All that is streamed: what was partial, and the answer at the end."""
    items = [item async for item in stream_object(provider, type_, "Which?", **more)]
    *before, last = items
    assert isinstance(last, Answer)
    assert all(isinstance(item, Partial) for item in before)
    return [item for item in before if isinstance(item, Partial)], last


@pytest.mark.parametrize(
    ("type_", "text", "value"),
    [
        pytest.param(City, JSON, PARIS, id="a struct"),
        pytest.param(Point, '{"x": 1, "y": null}', Point(1), id="a dataclass"),
        pytest.param(Typed, '{"a": 1}', {"a": 1}, id="a typed dictionary"),
        pytest.param(Pair, '{"value": [1, "b"]}', Pair(1, "b"), id="a named tuple"),
        pytest.param(int, '{"value": 3}', 3, id="a number"),
        pytest.param(str, '{"value": "a"}', "a", id="text"),
        pytest.param(Literal["a", "b"], '{"value": "b"}', "b", id="a literal"),
        pytest.param(Colour, '{"value": "red"}', Colour.RED, id="an enum"),
        pytest.param(int | None, '{"value": null}', None, id="or nothing"),
        pytest.param(int | str, '{"value": "a"}', "a", id="a union"),
        pytest.param(list[City], '{"value": [{"name": "Paris", "people": 2000000}]}', [PARIS], id="a list"),
        pytest.param(Annotated[int, msgspec.Meta(ge=1)], '{"value": 1}', 1, id="a number with a bound"),
        pytest.param(Leaf | Branch, '{"value": {"type": "leaf", "value": 1}}', Leaf(1), id="a union of structs"),
        pytest.param(
            Branch,
            '{"type": "branch", "left": {"type": "leaf", "value": 1}, "right": {"type": "leaf", "value": 2}}',
            Branch(Leaf(1), Leaf(2)),
            id="recursive",
        ),
        pytest.param(dict[str, int], '{"a": 1}', {"a": 1}, id="a mapping"),
        pytest.param(Model, '{"name": "Paris", "people": null}', Model(name="Paris"), id="pydantic"),
        pytest.param(
            Tree, '{"name": "a", "inner": [{"name": "b", "inner": []}]}',
            Tree(name="a", inner=[Tree(name="b")]), id="pydantic, recursive",
        ),
        pytest.param(Numbers, '{"value": [1, 2]}', Numbers([1, 2]), id="pydantic, no object"),
        pytest.param(list[Model], '{"value": [{"name": "Paris"}]}', [Model(name="Paris")], id="pydantic, in a list"),
        pytest.param(list[Path], '{"value": ["a/b"]}', [Path("a/b")], id="paths"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("mode", ["schema", "tool", "text"])
async def test_every_type_in_every_way(type_: Any, text: str, value: object, mode: Mode) -> None:
    """The same value; an object is asked for whatever the type is."""
    provider = ScriptedProvider(called(text) if mode == "tool" else said(text))
    if mode == "schema" and type_ == dict[str, int]:
        with pytest.raises(ConfigError, match=r"type `dict.*`: `\$` may be a mapping with any keys"):
            await generate_object(provider, type_, "Which?", mode=mode)
        return
    answer = await generate_object(provider, type_, "Which?", mode=mode)
    assert answer.value == value
    assert type(answer.value) is type(value)
    assert (answer.usage, answer.cost, answer.attempts, answer.mode) == (USAGE, USAGE.cost, 1, mode)
    (call,) = provider.calls
    assert call.options is not None
    asked = {
        "schema": call.options.response_schema,
        "tool": next((tool.parameters for tool in call.options.tools if isinstance(tool, Tool)), None),
        "text": msgspec.json.decode(call.system_prompt.rpartition("\n")[2] or "null"),
    }
    assert [way for way, schema in asked.items() if schema] == [mode]
    schema: Any = asked[mode]
    assert schema["type"] == "object"
    assert call.options.tool_choice == ("answer" if mode == "tool" else None)
    assert call.messages == [user("Which?")]


@pytest.mark.parametrize(
    ("refusals", "mode"),
    [
        pytest.param([], "schema", id="the vendor's own way"),
        pytest.param([NO_SCHEMA], "tool", id="a tool"),
        pytest.param([NO_SCHEMA, NO_CHOICE], "text", id="plain JSON"),
    ],
)
async def test_the_first_way_that_is_not_refused(refusals: list[Exception], mode: Mode) -> None:
    """A refusal before sending is no attempt."""
    provider = ScriptedProvider(*([error] for error in refusals), said(JSON))
    answer = await generate_object(provider, City, "Which?", system_prompt="Be brief.")
    assert (answer.value, answer.mode, answer.attempts) == (PARIS, mode, 1)
    prompts = [call.system_prompt for call in provider.calls]
    assert all(prompt.startswith("Be brief.") for prompt in prompts)
    assert [prompt == "Be brief." for prompt in prompts] == [True] * len(refusals) + [mode != "text"]


async def test_a_mapping_is_asked_for_by_a_tool() -> None:
    """As no strict schema has a word for it."""

    class Counts(msgspec.Struct):
        counts: dict[str, int]

    provider = ScriptedProvider(called('{"counts": {"a": 1}}'))
    answer = await generate_object(provider, Counts, "Count.")
    assert (answer.value, answer.mode) == (Counts({"a": 1}), "tool")


@pytest.mark.parametrize(
    ("mode", "error"),
    [pytest.param("schema", NO_SCHEMA, id="no schema"), pytest.param("tool", NO_CHOICE, id="no forced tool")],
)
async def test_a_way_that_was_asked_for_is_the_only_one(mode: Mode, error: InvalidRequestError) -> None:
    """Its refusal gets out."""
    with pytest.raises(InvalidRequestError, match="option `"):
        await generate_object(ScriptedProvider([error]), City, "Which?", mode=mode)


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(InvalidRequestError("option `max_tokens`: 0, expected 1"), id="another option"),
        pytest.param(InvalidRequestError("option `response_schema`: no", status=400), id="by the vendor"),
        pytest.param(OverloadedError("busy", status=529), id="busy"),
    ],
)
async def test_any_other_failure_gets_out(error: Exception) -> None:
    """At once."""
    provider = ScriptedProvider([error], said(JSON))
    with pytest.raises(type(error), match=str(error.args[0])):
        await generate_object(provider, City, "Which?")
    assert len(provider.calls) == 1


@pytest.mark.parametrize(
    ("mode", "hint"),
    [
        pytest.param("schema", 'ask with mode="tool" or mode="text"', id="schema"),
        pytest.param("tool", 'ask with mode="text"', id="tool"),
        pytest.param("text", None, id="text"),
    ],
)
async def test_a_schema_that_the_vendor_refuses(mode: Mode, hint: str | None) -> None:
    """Says what else there is."""
    error = InvalidRequestError("Invalid schema for response_format 'response'", status=400)
    with pytest.raises(InvalidRequestError) as caught:
        await generate_object(ScriptedProvider([error]), City, "Which?", mode=mode)
    assert (hint or "") in caught.value.hint
    assert bool(caught.value.hint) is (hint is not None)


async def test_what_does_not_fit_goes_back_as_text() -> None:
    """With the whole answer and the reason, and it is all paid for."""
    thought = ReasoningChunk(text="hm", proof="sig", vendor="v")
    provider = ScriptedProvider([thought, *said(WRONG)], said("Sorry!"), said(JSON))
    history = [user("Which?"), Message("assistant", "Where?"), user("In France.")]
    answer = await generate_object(provider, City, history)
    assert answer.value == PARIS
    assert (answer.usage, answer.cost, answer.attempts) == (total(3), Decimal("0.000225"), 3)
    assert [reply.text for reply in answer.replies] == [WRONG, "Sorry!", JSON]
    assert provider.calls[2].messages == [
        *history,
        Message("assistant", [ReasoningPart(text="hm", proof="sig", vendor="v"), TextPart(WRONG)]),
        user(repair(WHY)),
        Message("assistant", [TextPart("Sorry!")]),
        user(repair("JSON is malformed: invalid character (byte 0) - at `$`")),
    ]
    assert len(history) == 3


async def test_what_does_not_fit_goes_back_as_results() -> None:
    """One for each call, also of a tool that is not there."""
    both = called(WRONG, JSON)
    provider = ScriptedProvider(both, called("{}", name="other"), called(JSON))
    answer = await generate_object(provider, City, "Which?", mode="tool")
    assert answer.value == PARIS
    missing = repair("the tool `answer` was not called")
    assert provider.calls[2].messages == [
        user("Which?"),
        Message(
            "assistant",
            [
                ToolCallPart(id="c0", name="answer", arguments=WRONG),
                ToolCallPart(id="c1", name="answer", arguments=JSON),
            ],
        ),
        Message("user", [ToolResultPart(id=id_, content=repair(WHY), is_error=True) for id_ in ("c0", "c1")]),
        Message("assistant", [ToolCallPart(id="c0", name="other", arguments="{}")]),
        Message("user", [ToolResultPart(id="c0", content=missing, is_error=True)]),
    ]


async def test_an_answer_of_nothing_goes_back_as_well() -> None:
    """There is no message to send then."""
    provider = ScriptedProvider(said(""), said(JSON))
    await generate_object(provider, City, "Which?")
    assert provider.calls[1].messages == [user("Which?"), user(repair("there is no text in it"))]


async def test_a_server_that_ignores_the_choice_of_tools() -> None:
    """Its text is as good."""
    answer = await generate_object(ScriptedProvider(said(f"```json\n{JSON}\n```")), City, "Which?", mode="tool")
    assert answer.value == PARIS


@pytest.mark.parametrize(
    ("type_", "text", "why"),
    [
        pytest.param(City, "{}", "Object missing required field `name` - at `$`", id="nothing in it"),
        pytest.param(City, '{"name": 1}', "Expected `str`, got `int` - at `$.name`", id="another type"),
        pytest.param(
            list[City], '{"value": [{"name": 1}]}', "Expected `str`, got `int` - at `$.value[0].name`", id="in a list"
        ),
        pytest.param(
            Model,
            '{"name": 1, "people": -1}',
            "Input should be a valid string - at `$.name`; "
            "Input should be greater than or equal to 0 - at `$.people`",
            id="pydantic says all of it",
        ),
        pytest.param(
            Numbers,
            '{"value": ["a"]}',
            "Input should be a valid integer, unable to parse string as an integer - at `$[0]`",
            id="pydantic, no object",
        ),
        pytest.param(
            Tree,
            '{"name": "a", "inner": [{}]}',
            "Field required - at `$.inner[0].name`",
            id="pydantic, deep",
        ),
        pytest.param(City, '{"name": "' + "[" * 9, "the JSON is malformed", id="half of it"),
        pytest.param(Branch, '{"type": "branch", "left": ' * DEEP + "{}" + "}" * DEEP, "recursion", id="too deep"),
    ],
)  # fmt: skip
async def test_what_the_model_is_told(type_: Any, text: str, why: str) -> None:
    """With the path, after the last attempt too."""
    answer = said(text, piece=1000)  # the deep one in pieces of seven takes ten seconds
    provider = ScriptedProvider(answer, answer)
    with pytest.raises(StructuredOutputError) as caught:
        await generate_object(provider, type_, "Which?", repairs=1)
    told = provider.calls[1].messages[-1].content
    if why == "the JSON is malformed":
        assert "at `$`" in str(told)
    elif why == "recursion":
        assert why in str(told)
    else:
        assert told == repair(why)
        assert caught.value.message == f"the answer does not fit: {why} (attempt 2)"


@pytest.mark.parametrize("repairs", [0, 1, 3])
async def test_so_many_repairs_and_no_more(repairs: int) -> None:
    """Then it is an error, with all that was used, the last answer, and its class after a pickle."""
    provider = ScriptedProvider(said(WRONG), repeat=True)
    with pytest.raises(StructuredOutputError) as caught:
        await generate_object(provider, City, "Which?", repairs=repairs)
    error: Any = pickle.loads(pickle.dumps(caught.value))
    assert len(provider.calls) == repairs + 1
    assert error.reason == "misfit"
    assert error.usage == total(repairs + 1)
    assert error.partial.text == WRONG
    assert error.model == "scripted"
    assert not error.retryable


@pytest.mark.parametrize(
    ("reason", "message", "hint"),
    [
        pytest.param("length", "the answer was cut off by max_tokens", "Raise max_tokens", id="cut off"),
        pytest.param("refusal", "the model refused to answer", "The model declines", id="refused"),
    ],
)
@pytest.mark.parametrize("before", [0, 1])
async def test_what_no_repair_helps(reason: StopReason, message: str, hint: str, before: int) -> None:
    """An error at once, whatever came."""
    scripts = [said(WRONG)] * before
    provider = ScriptedProvider(*scripts, said(JSON, reason), said(JSON))
    with pytest.raises(StructuredOutputError, match=message) as caught:
        await generate_object(provider, City, "Which?")
    assert (caught.value.reason, caught.value.usage) == (reason, total(before + 1))
    assert hint in caught.value.hint
    assert len(provider.calls) == before + 1


async def test_a_failure_between_has_the_usage_of_all() -> None:
    """And what came of the last answer."""
    provider = ScriptedProvider(said(WRONG), [TextChunk("{"), USAGE, OverloadedError("busy")])
    with pytest.raises(OverloadedError) as caught:
        await generate_object(provider, City, "Which?")
    partial: Any = caught.value.partial
    assert caught.value.usage == total(2)
    assert partial.text == "{"


async def test_a_pause_goes_on() -> None:
    """With the vendor's own tools, which are let through; it is no repair."""
    block = OpaqueChunk(vendor="v", data='{"type": "search"}')
    search = {"type": "web_search_20260318", "name": "web_search"}
    provider = ScriptedProvider([block, USAGE, StopChunk(reason="pause")], said(JSON))
    answer = await generate_object(provider, City, "Which?", options=Options(tools=[search], seed=3), repairs=0)
    assert (answer.value, answer.attempts, answer.usage) == (PARIS, 2, total(2))
    assert [message.role for message in provider.calls[1].messages] == ["user", "assistant"]
    options = provider.calls[1].options
    assert options is not None
    assert (options.tools, options.seed) == ([search], 3)


async def test_a_model_that_pauses_for_ever_ends() -> None:
    """As a misfit."""
    block = OpaqueChunk(vendor="v", data="{}")
    provider = ScriptedProvider([block, StopChunk(reason="pause")], repeat=True)
    with pytest.raises(StructuredOutputError):
        await generate_object(provider, City, "Which?", repairs=0)
    assert len(provider.calls) == 51


class NoSchema:
    """Nobody knows it."""


class Holds(msgspec.Struct):
    """Something that has no schema."""

    inner: list[NoSchema]


class HoldsAny(msgspec.Struct):
    """Something that is anything."""

    anything: Any


class Deep(msgspec.Struct):
    """The same, further in."""

    name: str
    holds: HoldsAny | None


class Untagged(msgspec.Struct):
    """A union that cannot be told apart."""

    name: str
    either: City | HoldsAny


class Around(msgspec.Struct):
    """The same, further in."""

    inner: list[Untagged]


@dataclass
class Unread:
    """An annotation that means nothing."""

    a: int
    b: Nowhere  # type: ignore[name-defined]  # noqa: F821


class NoModel(pydantic.BaseModel):
    """One without a schema."""

    function: Callable[[], int]


@pytest.mark.parametrize(
    ("type_", "why"),
    [
        pytest.param(NoSchema, "type `NoSchema`: no schema can be made of it: msgspec does not know", id="a class"),
        pytest.param(Holds, "type `Holds`: field `inner`: no schema can be made of it: .*NoSchema", id="in a field"),
        pytest.param(object, "type `object`: its type takes any value", id="object"),
        pytest.param(Any, "type `Any`: its type takes any value", id="Any"),
        pytest.param(HoldsAny, "type `HoldsAny`: field `anything`: its type takes any value", id="a field of any"),
        pytest.param(Deep, "type `Deep`: field `holds`: field `anything`: its type takes any", id="deeper"),
        pytest.param(Untagged, "type `Untagged`: field `either`: no schema .*multiple Struct types", id="a union"),
        pytest.param(Around, "type `Around`: field `inner`: field `either`: no schema", id="a union, deeper"),
        pytest.param(City | Deep, "type `.*`: no schema can be made of it: .*multiple Struct types", id="no field"),
        pytest.param(Unread, "type `Unread`: field `b`: its annotation cannot be read", id="an annotation"),
        pytest.param(NoModel, "type `NoModel`: no schema can be made of it: Cannot generate", id="pydantic"),
        pytest.param("City", "type `City`: no schema can be made", id="a name"),
    ],
)
async def test_a_type_without_a_schema(type_: Any, why: str) -> None:
    """An error that names the field, before anything is sent."""
    provider = ScriptedProvider()
    with pytest.raises(ConfigError, match=why):
        await generate_object(provider, type_, "Which?")
    assert not provider.calls


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        pytest.param({"provider": City}, "`provider` is of type StructMeta, expected a provider", id="the type first"),
        pytest.param({"repairs": -1}, "`repairs` is -1, expected 0 or more", id="less than no repairs"),
        pytest.param({"mode": "json"}, "`mode` is 'json', expected one of schema, tool, text", id="no way"),
        pytest.param({"name": "an answer"}, "tool `an answer`: the name may have", id="a name that no vendor takes"),
        pytest.param({"options": Options(response_schema={})}, "option `response_schema` is set", id="a schema"),
        pytest.param({"options": Options(tool_choice="none")}, "option `tool_choice` is set", id="a choice"),
        pytest.param({"options": Options(tools=[Tool(name="f")])}, "nothing runs the tool 'f'", id="a tool"),
    ],
)
async def test_what_is_refused_before_anything_is_sent(arguments: dict[str, Any], why: str) -> None:
    """When it is called."""
    options = dict(arguments)
    provider = options.pop("provider", ScriptedProvider())
    with pytest.raises(ConfigError, match=why):
        await generate_object(provider, City, "Which?", **options)
    with pytest.raises(ConfigError, match=why):
        stream_object(provider, City, "Which?", **options)


@pytest.mark.parametrize("mode", ["schema", "tool", "text"])
async def test_what_is_seen_while_it_comes(mode: Mode) -> None:
    """What is complete, no item twice, and the beginning of text."""
    text = '{"name": "Paris", "people": 2000000, "tags": ["big"]}'
    script = called(text, piece=6) if mode == "tool" else said(text, piece=6)
    seen, answer = await partials(ScriptedProvider(script), City, mode=mode)
    assert [partial.value for partial in seen] == [
        {},
        {"name": "Pa"},
        {"name": "Paris"},
        {"name": "Paris", "people": 2_000_000},
        {"name": "Paris", "people": 2_000_000, "tags": ["b"]},
        {"name": "Paris", "people": 2_000_000, "tags": ["big"]},
    ]
    assert {partial.attempt for partial in seen} == {1}
    assert answer.value == City("Paris", 2_000_000, ["big"])


async def test_what_is_seen_of_what_is_no_object() -> None:
    """The value itself; what stands around the object is not."""
    seen, answer = await partials(ScriptedProvider(said('So: ```json\n{"value": [1, 2, 3]}\n```', piece=1)), list[int])
    assert [partial.value for partial in seen] == [[], [1], [1, 2], [1, 2, 3]]
    assert answer.value == [1, 2, 3]


async def test_the_next_attempt_is_seen_from_its_beginning() -> None:
    """And says which it is."""
    provider = ScriptedProvider(said('{"value": "a"}'), said("no {"), said('{"value": 1}'))
    seen, answer = await partials(provider, int)
    assert [(partial.value, partial.attempt) for partial in seen] == [("a", 1), (1, 3)]
    assert answer.attempts == 3


async def test_only_the_first_call_is_seen() -> None:
    """It is the one that counts."""
    seen, answer = await partials(ScriptedProvider(called('{"value": 1}', '{"value": 2}')), int, mode="tool")
    assert [partial.value for partial in seen] == [1]
    assert answer.value == 1


async def test_a_long_answer_is_seen_in_fewer_steps() -> None:
    """What is copied for all of them is linear in the text."""
    numbers = list(range(20_000))
    text = msgspec.json.encode({"value": numbers}).decode()
    seen, answer = await partials(ScriptedProvider(said(text)), list[int])
    copied = sum(len(partial.value) for partial in seen if isinstance(partial.value, list))
    assert answer.value == numbers
    assert len(seen) > 300
    assert copied < 64 * len(text)


async def test_leaving_a_stream_closes_it() -> None:
    """As everywhere."""
    provider = ScriptedProvider(said(JSON))
    async with aclosing(stream_object(provider, City, "Which?")) as stream:
        async for _ in stream:
            assert provider.running == 1
            break
    assert provider.running == 0


async def test_cancelled_in_the_middle() -> None:
    """Nothing but the cancellation comes out, and the stream is closed."""

    class Slow(BaseProvider):
        running = 0

        async def create_message(
            self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
        ) -> AsyncGenerator[Chunk, None]:
            """See BaseProvider."""
            self.running += 1
            try:
                yield TextChunk("{")
                await anyio.sleep_forever()
            finally:
                self.running -= 1

    provider = Slow()
    await cancelled_while_waiting(lambda: generate_object(provider, City, "Which?"))
    assert provider.running == 0


async def test_around_a_middleware() -> None:
    """A refusal by name goes through it, and what it retries is no attempt."""

    async def sleep(seconds: float) -> None:
        await anyio.lowlevel.checkpoint()

    inner = ScriptedProvider([NO_SCHEMA], [USAGE, OverloadedError("busy")], called(JSON))
    answer = await generate_object(Retry(inner, sleep=sleep), City, "Which?")
    assert (answer.value, answer.mode, answer.attempts, answer.usage) == (PARIS, "tool", 1, total(2))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param('{"a": 1}', ['{"a": 1}'], id="alone"),
        pytest.param('\n {"a": 1}\n', ['{"a": 1}'], id="between blanks"),
        pytest.param('```json\n{"a": 1}\n```', ['{"a": 1}'], id="in a fence"),
        pytest.param('Here:\n```json\n{"a": 1}\n```\nGood?', ['{"a": 1}'], id="in a fence between prose"),
        pytest.param('```\n{"a": 1}\n```\nBetter:\n```\n{"a": 2}\n```', ['{"a": 1}', '{"a": 2}'], id="two fences"),
        pytest.param('Here: {"a": {"b": 1}}. Good?', ['{"a": {"b": 1}}'], id="between prose"),
        pytest.param('As {x} says: {"a": 1}', ['{"a": 1}'], id="after a brace that is none"),
        pytest.param("As {x} says. " * 500 + '{"a": 1}', ['{"a": 1}'], id="after many braces that are none"),
        pytest.param('{"a": "```json\\n{}\\n```"}', ['{"a": "```json\\n{}\\n```"}'], id="a fence in it"),
        pytest.param('{"a": "1\n2"}', ['{"a": "1\n2"}'], id="a line end in a string"),
        pytest.param('{"a": 1} No: {"a": 2}', ['{"a": 1}', '{"a": 2}'], id="a draft before it"),
        pytest.param('{"a": 1', [], id="half of it"),
        pytest.param('{"a": {"b": 1}, oops}', [], id="what stands inside of a broken one is none"),
        pytest.param("{" * 100_000, [], id="nothing but braces"),
        pytest.param("Sorry.", [], id="none"),
        pytest.param("", [], id="nothing"),
    ],
)
async def test_the_objects_in_a_text(text: str, found: list[str]) -> None:
    """Whole ones, in order."""
    assert list(objects_in(text)) == found


class Town(msgspec.Struct):
    """With a list, for models that write it as a text."""

    name: str
    streets: list[int] = []
    mayor: str | list[str] = ""


LONG = '{"name": "A first and longer guess", "why": {"a": 2}, "streets": [1, 2, 3]}'


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        pytest.param(
            f'First {LONG}, but the answer is {{"name": "Paris"}}', Town("Paris"), id="a longer draft before it"
        ),
        pytest.param(f'<think>{LONG}? No.</think>{{"name": "Paris"}}', Town("Paris"), id="a draft in thoughts"),
        pytest.param('{"name": "Paris"} is in {"country": "France"}', Town("Paris"), id="the last that fits"),
        pytest.param('{"name": "a\nb"}', Town("a\nb"), id="a line end in a string"),
        pytest.param('{"name": "\\ud83d"}', Town("\ufffd"), id="half of a surrogate pair"),
        pytest.param('{"name": "A", "streets": "[1, 2]"}', Town("A", [1, 2]), id="a list as a text"),
        pytest.param('{"name": "[1]", "mayor": "[2]"}', Town("[1]", mayor="[2]"), id="a text that looks like a list"),
    ],
)
async def test_what_an_answer_means(text: str, wanted: Town) -> None:
    """The last object that fits, read as what it can only mean."""
    assert AnswerType(Town).decode_one(list(objects_in(text))) == wanted


async def test_what_does_not_fit_is_said_of_the_longest() -> None:
    """Of several that do not fit it is the likeliest to have been meant."""
    with pytest.raises(MisfitError, match="required field `name`"):
        AnswerType(Town).decode_one(['{"streets": []}', '{"name": 1}'])


@pytest.mark.parametrize(
    ("call", "attempts"),
    [
        pytest.param(ToolCallChunk(id="a", name="answer", arguments='{"name": ', problem="It is cut."), 2, id="broken"),
        pytest.param(ToolCallChunk(id="a", name="answer", arguments="<answer>", problem="No JSON."), 2, id="markup"),
        pytest.param(ToolCallChunk(id="a", name="unknown", arguments="{}", problem="No name."), 2, id="no name"),
        pytest.param(
            ToolCallChunk(id="a", name="answer", arguments='{"name": "Ulm"}', problem="Refused."), 1, id="it does fit"
        ),
    ],
)
async def test_a_call_with_a_problem_is_repaired(call: ToolCallChunk, attempts: int) -> None:
    """The model is told what was wrong, as of any answer that does not fit."""
    good = ToolCallChunk(id="b", name="answer", arguments='{"name": "Ulm"}')
    stop = StopChunk(reason="tool_calls")
    provider = ScriptedProvider([USAGE, call, stop], [USAGE, good, stop])
    answer = await generate_object(provider, Town, "Which?", mode="tool")
    assert (answer.value, answer.attempts) == (Town("Ulm"), attempts)
    if attempts == 2:
        said, told = provider.calls[1].messages[-2:]
        assert [part.id for part in told.content if isinstance(part, ToolResultPart)] == ["a"]
        (kept,) = [part for part in said.content if isinstance(part, ToolCallPart)]
        assert isinstance(msgspec.json.decode(kept.arguments), dict)


ROW = Dialect(name="plain", option_fields={"response_schema": None}, tool_choices=("auto",), wires=("chat",))
FORCED = {"type": "function", "function": {"name": "answer"}}


def anthropic_reply(text: str) -> ServerReply:
    return ServerReply(anthropic_message({"type": "text", "text": text}))


def anthropic_call(text: str) -> ServerReply:
    block = {"type": "tool_use", "id": "toolu_1", "name": "answer", "input": text}
    return ServerReply(anthropic_message(block, stop_reason="tool_use"))


def chat_reply(text: str) -> ServerReply:
    return ServerReply(chat_completion(text=text))


def chat_call(text: str) -> ServerReply:
    return ServerReply(chat_completion(tool_calls=[{"id": "call_1", "name": "answer", "arguments": text}]))


def responses_reply(text: str) -> ServerReply:
    return ServerReply(responses_message({"type": "message", "content": [{"type": "output_text", "text": text}]}))


def responses_call(text: str) -> ServerReply:
    call = {"type": "function_call", "call_id": "call_1", "name": "answer", "arguments": text}
    return ServerReply(responses_message(call))


def provider_at(url: str, wire: str, dialect: str | Dialect) -> BaseProvider:
    info = ModelInfo(input_price=Decimal(3), output_price=Decimal(15))
    config = ProviderConfig(model_id="m", model_info=info, api_key="none", base_url=url)
    if wire == "anthropic":
        return AnthropicProvider(config)
    return OpenAIProvider(msgspec.structs.replace(config, wire=wire), dialect)


STRICT = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "people": {
            "anyOf": [{"type": "integer"}, {"type": "null"}],
            "description": "(minimum: 0; default: 0; null: left out)",
        },
        "tags": {
            "anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}],
            "description": "(default: []; null: left out)",
        },
    },
    "required": ["name", "people", "tags"],
    "additionalProperties": False,
    "description": "A city.",
}
FORMAT = {"type": "json_schema", "name": "response", "schema": STRICT, "strict": True}


@pytest.mark.parametrize(
    ("wire", "dialect", "mode", "reply", "fields"),
    [
        pytest.param(
            "anthropic", "", "schema", anthropic_reply,
            {"output_config": {"format": {"type": "json_schema", "schema": STRICT}}}, id="anthropic",
        ),
        pytest.param(
            "chat", "openai", "schema", chat_reply,
            {"response_format": {"type": "json_schema", "json_schema": {**FORMAT, "type": None}}}, id="chat",
        ),
        pytest.param(
            "responses", "openai", "schema", responses_reply, {"text": {"format": FORMAT}}, id="responses"
        ),
        pytest.param("anthropic", "", "tool", anthropic_call,
                     {"tool_choice": {"type": "tool", "name": "answer"}}, id="anthropic, by a tool"),
        pytest.param("chat", "deepseek", "tool", chat_call, {"tool_choice": FORCED}, id="deepseek, by a tool"),
        pytest.param("responses", "openai", "tool", responses_call,
                     {"tool_choice": {"type": "function", "name": "answer"}}, id="responses, by a tool"),
        pytest.param("chat", ROW, "text", chat_reply, {}, id="a server that has nothing"),
        pytest.param("anthropic", "", "text", anthropic_reply, {}, id="anthropic, in text"),
    ],
)  # fmt: skip
async def test_over_the_wires(wire: str, dialect: Any, mode: Mode, reply: Any, fields: dict[str, Any]) -> None:
    """The bodies, a repair turn, what is seen, and the bill to the last digit."""
    alone = mode if (wire, mode) in {("anthropic", "tool"), ("anthropic", "text"), ("responses", "tool")} else None
    async with Emulator(reply(WRONG), reply(JSON)) as emulator, provider_at(emulator.url, wire, dialect) as provider:
        seen, answer = await partials(provider, City, mode=alone)
    assert (answer.value, answer.mode, answer.attempts) == (PARIS, mode, 2)
    assert answer.usage == sum((each.usage for each in answer.replies), UsageChunk())
    assert answer.cost == 2 * Decimal("0.00018")
    assert seen[-1] == Partial(value={"name": "Paris", "people": 2_000_000, "tags": None}, attempt=2)
    first, second = (msgspec.json.decode(request.body) for request in emulator.requests)
    for body in (first, second):
        shown = {key: body.get(key) for key in ("output_config", "response_format", "text", "tool_choice")}
        if shown["response_format"]:
            shown["response_format"]["json_schema"]["type"] = None
        assert {key: value for key, value in shown.items() if value} == fields
        assert ("tools" in body) is (mode == "tool")
        assert ("JSON Schema" in str(body)) is (mode == "text")
    history = "input" if wire == "responses" else "messages"
    assert len(second[history]) == len(first[history]) + 2
    assert WHY in str(second[history][-1])
    assert ("is_error" in str(second[history][-1])) is (wire == "anthropic" and mode == "tool")


@pytest.mark.parametrize(
    ("reasoning", "mode"),
    [pytest.param(None, "text", id="while it reasons"), pytest.param("off", "tool", id="when it does not")],
)
async def test_a_model_that_cannot_be_forced(reasoning: Literal["off"] | None, mode: Mode) -> None:
    """The model's own entry says so, as that of DeepSeek's models does."""
    info = ModelInfo(supports_forced_tools="unless_reasoning")
    async with Emulator(chat_call(JSON) if mode == "tool" else chat_reply(JSON)) as emulator:
        config = ProviderConfig(model_id="m", model_info=info, api_key="none", base_url=emulator.url)
        async with OpenAIProvider(config, "deepseek") as provider:
            answer = await generate_object(provider, City, "Which?", options=Options(reasoning=reasoning))
    assert (answer.value, answer.mode) == (PARIS, mode)


class Node(msgspec.Struct):
    """One of a tree."""

    name: str
    kids: list[Node] = []


Wide: Any = msgspec.defstruct("Wide", [(f"field{n}", int | None, None) for n in range(17)])
TREE = '{"name":"a","kids":[{"name":"b","kids":[]}]}'


@pytest.mark.parametrize(
    ("type_", "text", "value"),
    [
        pytest.param(Node, TREE, Node("a", [Node("b")]), id="a type that holds itself"),
        pytest.param(Wide, '{"field3":1}', Wide(field3=1), id="more optional fields than there may be"),
    ],
)
@pytest.mark.parametrize(
    ("wire", "mode", "reply"),
    [
        pytest.param("anthropic", "tool", anthropic_call, id="Anthropic"),
        pytest.param("chat", "schema", chat_reply, id="OpenAI"),
    ],
)
async def test_types_that_a_vendor_makes_no_grammar_of(
    wire: str, mode: Mode, reply: Any, type_: Any, text: str, value: object
) -> None:
    """They are asked for by a tool there, without a request that is refused first."""
    async with Emulator(reply(text)) as emulator, provider_at(emulator.url, wire, "openai") as provider:
        answer = await generate_object(provider, type_, "Which?")
    assert (answer.value, answer.mode, len(emulator.requests)) == (value, mode, 1)
    body = msgspec.json.decode(emulator.requests[0].body)
    assert ("output_config" in body or "response_format" in body) is (mode == "schema")
    assert ("tools" in body) is (mode == "tool")


async def test_a_schema_refused_by_a_vendor() -> None:
    """On the wires: the status, and what else there is."""
    refusals = [
        ("anthropic", "", anthropic_error(400, "invalid_request_error", "output_config.format.schema: too complex")),
        ("chat", "openai", openai_error(400, "Invalid schema for response_format 'response'")),
    ]
    for wire, dialect, reply in refusals:
        async with Emulator(reply) as emulator, provider_at(emulator.url, wire, dialect) as provider:
            with pytest.raises(InvalidRequestError) as caught:
                await generate_object(provider, City, "Which?")
        assert caught.value.status == 400
        assert 'mode="tool"' in caught.value.hint


async def test_refused_and_cut_off_on_the_wires() -> None:
    """Each in its vendor's words."""
    replies = [
        ("refusal", ServerReply(chat_completion(refusal="I cannot."))),
        ("length", ServerReply(chat_completion(text=JSON[:20], finish_reason="length"))),
    ]
    for reason, reply in replies:
        async with Emulator(reply) as emulator, provider_at(emulator.url, "chat", "openai") as provider:
            with pytest.raises(StructuredOutputError) as caught:
                await generate_object(provider, City, "Which?")
        assert caught.value.reason == reason
        assert caught.value.usage.output_tokens > 0


async def types_are_known(provider: BaseProvider) -> None:
    """Never run: mypy reads it."""
    city: Answer[City] = await generate_object(provider, City, "Which?")
    name: str = city.value.name
    number: int = (await generate_object(provider, Annotated[int, msgspec.Meta(ge=0)], name)).value
    async for item in stream_object(provider, Model, "Which?"):
        if isinstance(item, Answer):
            number += item.value.people
