"""What the caller fills: parameters that the model does not see, and the checks of a tool's author."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import anyio
import fastjsonschema
import jsonschema  # type: ignore[import-untyped]
import pytest

from penstock import (
    Chunk,
    ConfigError,
    FunctionTool,
    LoopChunk,
    Message,
    StopChunk,
    TextChunk,
    Tool,
    ToolCallChunk,
    ToolResult,
    ToolResultChunk,
    run_tools,
    tool,
)
from penstock.testing import ScriptedProvider

pytestmark = pytest.mark.anyio

DONE: list[Chunk] = [TextChunk("Done."), StopChunk(reason="stop")]


class Database:
    """Of no kind that has a schema."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def said(self, word: str, who: str) -> str:
        """A method."""
        self.asked.append(word)
        return f"{word} for {who}"


@tool(context=("db", "user"))
def look_up(word: str, db: Database, user: str = "nobody") -> str:
    """Look it up.

    Args:
        word: What to look up.
        db: Not for the model.
    """
    db.asked.append(word)
    return f"{word} for {user}"


@tool(name="look_up", context=["db", "user", "db"], strict=True)
async def look_up_later(word: str, times: int = 1, *, db: Database, user="nobody") -> str:  # type: ignore[no-untyped-def]
    """Look it up."""
    return look_up(word * times, db, user)


def calling(*arguments: str, name: str = "look_up") -> ScriptedProvider:
    """A model that makes these calls, all in one turn, and is done."""
    calls: list[Chunk] = [ToolCallChunk(id=f"c{n}", name=name, arguments=each) for n, each in enumerate(arguments)]
    return ScriptedProvider([*calls, StopChunk(reason="tool_calls")], DONE)


async def results(
    provider: ScriptedProvider, tools: Sequence[FunctionTool] | Mapping[str, FunctionTool], **more: Any
) -> list[object]:
    """What the tools said."""
    chunks: list[LoopChunk] = [chunk async for chunk in run_tools(provider, "", [Message("user", "Go")], tools, **more)]
    return [chunk.content for chunk in chunks if isinstance(chunk, ToolResultChunk)]


@pytest.mark.parametrize("made", [look_up, look_up_later], ids=["sync", "async and strict"])
@pytest.mark.parametrize("mapped", [False, True], ids=["a list", "a mapping"])
async def test_the_caller_fills_what_the_model_does_not_see(made: FunctionTool, mapped: bool) -> None:
    """The same object for every call; what is there and nobody names is left alone."""
    db = Database()
    provider = calling('{"word": "a"}', '{"word": "b"}')
    tools: Any = {"look_up": made} if mapped else [made]
    assert await results(provider, tools, context={"db": db, "user": "Ann", "more": 1}) == ["a for Ann", "b for Ann"]
    assert sorted(db.asked) == ["a", "b"]
    options = provider.calls[0].options
    assert options is not None
    (sent,) = options.tools
    assert isinstance(sent, Tool)
    assert set(sent.parameters["properties"]) <= {"word", "times"}  # type: ignore[call-overload]
    assert "db" not in sent.description


async def test_a_default_is_the_functions_own() -> None:
    """What has one may be missing; the function itself is called as ever."""
    db = Database()
    assert await results(calling('{"word": "a"}'), [look_up], context={"db": db}) == ["a for nobody"]
    assert look_up("b", db, "Bo") == "b for Bo"
    assert await look_up.run('{"word": "c"}', {"db": db}) == ToolResult(content="c for nobody")


async def test_a_method_has_a_context_too() -> None:
    """Also one of no object yet, whose `self` is the caller's."""
    made = tool(Database().said, context="who")
    assert await results(calling('{"word": "a"}', name="said"), [made], context={"who": "Al"}) == ["a for Al"]
    later = tool(Database.said, context=("self", "who"))
    assert (await later.run('{"word": "a"}', {"self": Database(), "who": "Bo"})).content == "a for Bo"


async def test_the_model_cannot_fill_it() -> None:
    """It is an argument that there is none of."""
    (said,) = await results(calling('{"word": "a", "user": "root"}'), [look_up], context={"db": Database()})
    assert said == "The arguments do not fit: Object contains unknown field `user` - at `$`"


@pytest.mark.parametrize(
    ("context", "why"),
    [
        pytest.param(None, "tool `look_up` needs `db` in the context$", id="none"),
        pytest.param({"user": "Ann"}, "tool `look_up` needs `db` in the context", id="another"),
        pytest.param({"dbs": 1}, "needs `db` in the context; did you mean 'dbs'", id="a near one"),
        pytest.param(["db"], "`context` is a list, expected a mapping", id="a list"),
    ],
)
async def test_what_is_missing_is_said_before_anything_is_sent(context: Any, why: str) -> None:
    """By the tool and the name."""
    provider = calling()
    with pytest.raises(ConfigError, match=why):
        run_tools(provider, "", [], [look_up], context=context)
    with pytest.raises(ConfigError, match=why):
        await look_up.run('{"word": "a"}', context)
    assert not provider.calls


@pytest.mark.parametrize(
    ("make", "why"),
    [
        pytest.param(
            lambda: tool(look_up, context="usr"), "it has no parameter `usr` for the context; .*'user'", id="none"
        ),
        pytest.param(lambda: tool(look_up), "`db`: no schema", id="not hidden"),
        pytest.param(lambda: tool(isinstance, context="obj"), "`obj` is positional-only", id="positional-only"),
    ],
)
def test_a_context_that_cannot_be_filled(make: Callable[[], object], why: str) -> None:
    """Refused when the tool is made."""
    with pytest.raises(ConfigError, match=why):
        make()


# A validator of one's own.

SCHEMA = {
    "type": "object",
    "properties": {"low": {"type": "integer", "multipleOf": 5}, "high": {"type": "integer"}},
    "if": {"required": ["low"]},
    "then": {"required": ["high"]},
}


def ordered(arguments: dict[str, object]) -> None:
    """What no schema can say."""
    if str(arguments.get("low")) > str(arguments.get("high")):
        raise ValueError("low is above high")


async def ordered_later(arguments: dict[str, object]) -> None:
    await anyio.lowlevel.checkpoint()
    ordered(arguments)


def pages(arguments: dict[str, object]) -> None:
    raise LookupError("a" * 5000 + "the end")


class OtherError(Exception):
    """Of a library whose errors have a part of the same name."""

    def errors(self) -> dict[str, object]:
        """Not pydantic's."""
        return {}


def other(arguments: dict[str, object]) -> None:
    raise OtherError("one\ntwo")


def silent(arguments: dict[str, object]) -> None:
    raise LookupError


JSONSCHEMA: Any = jsonschema.Draft202012Validator(SCHEMA).validate
FASTJSONSCHEMA: Any = fastjsonschema.compile(SCHEMA)


@pytest.mark.parametrize(
    ("validate", "arguments", "said"),
    [
        pytest.param(ordered, '{"low": 5, "high": 6}', None, id="it fits"),
        pytest.param(ordered, '{"low": 5, "high": 3}', "low is above high - at `$`", id="sync"),
        pytest.param(ordered_later, '{"low": 5, "high": 3}', "low is above high - at `$`", id="async"),
        pytest.param(ordered, '{"low": "5"}', "Expected `integer`, got `string` - at `$.low`", id="ours come first"),
        pytest.param(JSONSCHEMA, '{"low": 5, "high": 6}', None, id="jsonschema, it fits"),
        pytest.param(JSONSCHEMA, '{"low": 3, "high": 6}', "3 is not a multiple of 5 - at `$.low`", id="jsonschema"),
        pytest.param(JSONSCHEMA, '{"low": 5}', "'high' is a required property - at `$`", id="jsonschema, if and then"),
        pytest.param(
            FASTJSONSCHEMA, '{"low": 3, "high": 6}', "data.low must be multiple of 5 - at `$`", id="fastjsonschema"
        ),
        pytest.param(other, "{}", "one - at `$`", id="an error of its own, with more than a line"),
        pytest.param(silent, "{}", "LookupError - at `$`", id="it says nothing"),
        pytest.param(pages, "{}", f"{'a' * 500} … {'a' * 493}the end - at `$`", id="it quotes too much"),
    ],
)
async def test_a_validator(
    validate: Callable[[dict[str, object]], object],
    arguments: str,
    said: str | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It sees arguments that fit; whatever it raises is told to the model, and the function is not called."""
    made = FunctionTool(Tool(name="f", parameters=SCHEMA), lambda given: "ran", validate=validate)
    wanted = "ran" if said is None else f"The arguments do not fit: {said}"
    assert await made.run(arguments) == ToolResult(content=wanted, is_error=said is not None)
    assert not caplog.records


async def test_a_validator_of_a_vendors_own_tool() -> None:
    """Whose arguments the vendor knows and nobody else checks; those of a strict one are without its nulls."""
    shell = FunctionTool({"type": "bash_20250124", "name": "bash"}, lambda given: "ran", validate=pages)
    assert (await shell.run('{"command": "rm"}')).is_error
    seen: list[object] = []
    closed = {"type": "object", "properties": {"low": {"type": "integer"}}}
    strict = FunctionTool(Tool(name="f", parameters=closed, strict=True), str, validate=seen.append)
    assert await strict.run('{"low": null}') == ToolResult(content="{}")
    assert seen == [{}]
