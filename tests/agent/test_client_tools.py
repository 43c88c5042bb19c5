"""The loop with what is no plain function: the model's mistakes, vendors' own tools, calls left open by a history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import anyio
import msgspec
import pytest

from penstock import (
    Chunk,
    ConfigError,
    FunctionTool,
    LoopChunk,
    Message,
    OpenAIProvider,
    Options,
    ProviderConfig,
    StopChunk,
    TextChunk,
    TextPart,
    Tool,
    ToolCallChunk,
    ToolCallPart,
    ToolResult,
    ToolResultChunk,
    ToolResultPart,
    run_tools,
    tool,
)
from penstock.agent.schema.fits import misfit
from penstock.testing import Emulator, ScriptedProvider, ServerReply, chat_completion, responses_message
from penstock.testing.answers import WIRES, WireName, answer
from three_wires import WIRES as THREE_WIRES

GO: Final = Message("user", "go")
DONE: Final[list[Chunk]] = [TextChunk("Done."), StopChunk(reason="stop")]
ran: list[str] = []


@tool
def echo(text: str = "") -> str:
    """Say it again."""
    ran.append(text)
    return text


@pytest.fixture(autouse=True)
def nothing_has_run() -> None:
    """Each test sees its own calls only."""
    ran.clear()


async def loop(
    provider: Any, history: list[Message], tools: Sequence[FunctionTool] = (echo,), **more: Any
) -> list[LoopChunk]:
    """All chunks of a run."""
    return [chunk async for chunk in run_tools(provider, "", history, tools, **more)]


def results_of(chunks: Sequence[LoopChunk]) -> list[tuple[str, str, bool]]:
    """Of each result the id, the beginning of its text, and whether it is an error."""
    return [(each.id, str(each.content), each.is_error) for each in chunks if isinstance(each, ToolResultChunk)]


@pytest.mark.anyio
@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(
    ("arguments", "goes"),
    [
        pytest.param('{"text": "a\nb"}', True, id="a line end in a string"),
        pytest.param('"{\\"text\\": \\"a\\"}"', True, id="an object in a string"),
        pytest.param("null", True, id="null"),
        pytest.param('{"{"text": 1}', False, id="a brace too many"),
        pytest.param('{"text": "a"}</tool_call>', False, id="markup behind it"),
        pytest.param("[]", False, id="a list"),
    ],
)
async def test_a_mistake_of_the_models_ends_no_run(wire: WireName, arguments: str, goes: bool) -> None:
    """On each wire, over HTTP: it runs, or the model is told and gets back what it wrote, and nobody is asked."""
    asked: list[str] = []

    def approve(call: ToolCallChunk) -> bool:
        asked.append(call.id)
        return True

    replies = [answer(wire, calls=[("echo", arguments)]), answer(wire, "Done.")]
    row = next(each for each in THREE_WIRES if each.name == {"messages": "anthropic"}.get(wire, wire))
    async with Emulator(*(ServerReply(each) for each in replies)) as emulator:
        url = emulator.url if wire == "messages" else f"{emulator.url}/v1"
        async with row.provider(url) as provider:
            history = [GO]
            chunks = await loop(provider, history, approve=approve)
        body = emulator.requests[1].body or b""
    ((_, said, is_error),) = results_of(chunks)
    assert is_error is not goes
    assert (len(ran), len(asked)) == (goes, goes)
    assert goes or said.startswith("Not run: The arguments are not the JSON text of one object: ")
    assert (b"INVALID_JSON" in body) is not goes
    assert isinstance(chunks[-1], StopChunk)
    assert len(history) == 4


SHELL: Final = {"type": "shell"}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("tools", "options"),
    [
        pytest.param([FunctionTool(SHELL, lambda given: f"ran {given['action']}")], None, id="of its definition"),
        pytest.param(
            [FunctionTool(Tool(name="shell"), lambda given: f"ran {given['action']}")],
            Options(tools=[SHELL]),
            id="of its name, with the definition in the options",
        ),
    ],
)
async def test_a_vendors_own_tool_is_run(tools: list[FunctionTool], options: Options | None) -> None:
    """The vendor gets its definition, the function the arguments, and the vendor the result in its form."""
    item = {"type": "shell_call", "call_id": "c", "status": "completed", "action": {"commands": ["ls"]}}
    said = {"type": "message", "content": [{"type": "output_text", "text": "Done."}]}
    async with Emulator(ServerReply(responses_message(item)), ServerReply(responses_message(said))) as emulator:
        config = ProviderConfig(
            model_id="m", api_key="no-key-is-needed", base_url=f"{emulator.url}/v1", wire="responses"
        )
        async with OpenAIProvider(config) as provider:
            chunks = await loop(provider, [GO], tools, options=options)
        first, second = [msgspec.json.decode(request.body or b"") for request in emulator.requests]
    assert results_of(chunks) == [("c", "ran {'commands': ['ls']}", False)]
    assert first["tools"] == [SHELL]
    assert [each["type"] for each in second["input"][1:]] == ["shell_call", "shell_call_output"]
    assert second["input"][2]["output"][0]["stdout"] == "ran {'commands': ['ls']}"


@pytest.mark.anyio
async def test_nothing_is_approved_by_itself() -> None:
    """A vendor's question for an approval that no function answers is denied."""
    item = {"type": "mcp_approval_request", "id": "c", "server_label": "dice", "name": "roll", "arguments": "{}"}
    said = {"type": "message", "content": [{"type": "output_text", "text": "Done."}]}
    async with Emulator(ServerReply(responses_message(item)), ServerReply(responses_message(said))) as emulator:
        config = ProviderConfig(
            model_id="m", api_key="no-key-is-needed", base_url=f"{emulator.url}/v1", wire="responses"
        )
        async with OpenAIProvider(config) as provider:
            await loop(provider, [GO])
        sent = msgspec.json.decode(emulator.requests[1].body or b"")["input"][-1]
    assert (sent["type"], sent["approve"], sent["approval_request_id"]) == ("mcp_approval_response", False, "c")


@pytest.mark.anyio
async def test_a_refused_call_is_told_to_the_model() -> None:
    """A vendor's refusal of what its own model wrote is a turn like others, not the end of the run."""
    error = {"message": "did not match schema", "code": "tool_use_failed", "failed_generation": '<function=echo>{"te'}
    refused = ServerReply(
        [msgspec.json.encode({"error": error})], 400, {"content-type": "application/json"}, whole=True
    )
    async with Emulator(refused, ServerReply(chat_completion(text="Done."))) as emulator:
        config = ProviderConfig(model_id="m", api_key="no-key-is-needed", base_url=f"{emulator.url}/v1")
        async with OpenAIProvider(config, "groq") as provider:
            chunks = await loop(provider, [GO])
        sent = msgspec.json.decode(emulator.requests[1].body or b"")["messages"]
    ((_, said, is_error),) = results_of(chunks)
    assert is_error
    assert "did not match schema" in said
    assert sent[1]["tool_calls"][0]["function"] == {
        "name": "echo", "arguments": '{"INVALID_JSON":"<function=echo>{\\"te"}',
    }  # fmt: skip
    assert ran == []


def test_a_tool_is_made_of_what_has_a_name() -> None:
    """And of nothing else."""
    assert FunctionTool({"type": "bash_20250124", "name": "bash"}, print).name == "bash"
    assert repr(FunctionTool(SHELL, print)) == "<FunctionTool shell>"
    for definition in ({"type": "web_search"}, {}, "shell", None):
        with pytest.raises(ConfigError, match="is no Tool, and no vendor's tool"):
            FunctionTool(definition, print)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="did you mean 'local_shell'"):
        FunctionTool({"type": "local_shel"}, print)


# Calls that the history leaves open.

CALLS: Final = [ToolCallPart(id=id_, name="echo", arguments=f'{{"text": "{id_}"}}') for id_ in ("a", "b")]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("after", "runs", "kept"),
    [
        pytest.param([], ["a", "b"], [], id="none is answered"),
        pytest.param([ToolResultPart(id="a", content="x")], ["b"], [ToolResultPart(id="a", content="x")], id="one is"),
        pytest.param([TextPart("Well?")], ["a", "b"], [TextPart("Well?")], id="the user has said something since"),
        pytest.param("Well?", ["a", "b"], [TextPart("Well?")], id="as a text"),
        pytest.param([ToolResultPart(id=id_, content="x") for id_ in "ab"], [], None, id="all are answered"),
    ],
)
async def test_open_calls_are_run_first(after: Any, runs: list[str], kept: Any) -> None:
    """Their results come before the model is asked, and stand with the others before all that the user says."""
    history = [GO, Message("assistant", CALLS), *([Message("user", after)] if after else [])]
    before = list(history)
    provider = ScriptedProvider(DONE)
    chunks = await loop(provider, history)
    assert sorted(ran) == runs
    assert [each.id for each in chunks[: len(runs)] if isinstance(each, ToolResultChunk)] == runs
    results = [ToolResultPart(id=id_, content=id_) for id_ in runs]
    there = [part for part in kept or () if isinstance(part, ToolResultPart)]
    said = [part for part in kept or () if not isinstance(part, ToolResultPart)]
    expected = before if kept is None else [*before[:2], Message("user", [*there, *results, *said])]
    assert history[:-1] == expected == list(provider.calls[0].messages)


@pytest.mark.anyio
async def test_of_two_open_calls_of_one_id_the_first_has_the_result() -> None:
    """Some servers number the calls of each answer from 0, and some call all of them by one name."""
    calls = [ToolCallPart(id="0", name="echo", arguments=f'{{"text": "{text}"}}') for text in ("first", "second")]
    first = ToolResultPart(id="0", content="first")
    history = [GO, Message("assistant", calls), Message("user", [TextPart("Well?"), first])]
    await loop(ScriptedProvider(DONE), history)
    assert ran == ["second"]
    assert history[2] == Message("user", [first, ToolResultPart(id="0", content="second"), TextPart("Well?")])


@pytest.mark.anyio
async def test_an_open_call_is_approved_anew_and_its_mistake_is_told() -> None:
    """As any other call."""
    parts = [CALLS[0], ToolCallPart(id="c", name="echo", arguments='{"INVALID_JSON":"{"}')]
    history = [GO, Message("assistant", parts)]
    chunks = await loop(ScriptedProvider(DONE), history, approve=lambda call: "no")
    refused, told = results_of(chunks)
    assert refused[1] == "Not run: no"
    assert "Not run: The arguments are not" in told[1]
    assert ran == []


@pytest.mark.anyio
async def test_a_cancelled_resumption_leaves_a_legal_history() -> None:
    """What did not finish has a result that says so."""

    async def forever(given: dict[str, object]) -> None:
        await anyio.sleep_forever()

    history = [GO, Message("assistant", CALLS[:1])]
    with anyio.move_on_after(0.05) as scope:
        await loop(ScriptedProvider(DONE), history, [FunctionTool(Tool(name="echo"), forever)])
    assert scope.cancelled_caught
    content = history[2].content
    assert isinstance(content, list)
    assert [part.is_error for part in content] == [True]


# Arguments against the schema.

DEEP: Final = {
    "type": "object",
    "properties": {
        "n": {"type": "integer", "minimum": 1},
        "x": {"type": "number", "exclusiveMaximum": 2},
        "word": {"type": "string", "enum": ["a", "b"]},
        "id": {"type": "string", "pattern": "^[0-9]+$", "maxLength": 3},
        "list": {"type": "array", "items": {"type": ["integer", "null"]}, "minItems": 1},
        "pair": {"prefixItems": [{"type": "string"}], "items": False},
        "either": {"anyOf": [{"type": "string"}, {"type": "object", "properties": {"k": {"const": 1}}}]},
        "tree": {"$ref": "#/$defs/node"},
        "flag": {"type": "boolean"},
        "old": {"type": "string", "nullable": True},
        "LOUD": {"type": "STRING"},
    },
    "patternProperties": {"^x-": {"type": "string"}},
    "required": ["n"],
    "additionalProperties": False,
    "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}, "required": ["v"]}},
}


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        pytest.param({"n": 1}, None, id="the least"),
        pytest.param(
            {"n": 2.0, "x": -1, "word": "b", "id": "12", "list": [1, None], "flag": False}, None, id="all kinds"
        ),
        pytest.param(
            {"n": 1, "pair": ["a"], "either": {"k": 1}, "tree": {"v": 1, "next": {"v": 2}}}, None, id="nested"
        ),
        pytest.param({}, "missing required field `n` - at `$`", id="a missing one"),
        pytest.param({"n": "1"}, "Expected `integer`, got `string` - at `$.n`", id="a text for a number"),
        pytest.param({"n": True}, "Expected `integer`, got `boolean` - at `$.n`", id="true is no number"),
        pytest.param({"n": 1.5}, "got `number` - at `$.n`", id="no whole number"),
        pytest.param({"n": 0}, "at least 1 - at `$.n`", id="too small"),
        pytest.param({"n": 1, "x": 2}, "below 2 - at `$.x`", id="not below"),
        pytest.param({"n": 1, "word": "c"}, 'expected "a", "b" - at `$.word`', id="none of the words"),
        pytest.param({"n": 1, "id": "x"}, "matches '^[0-9]+$' - at `$.id`", id="another form"),
        pytest.param({"n": 1, "id": "1234"}, "length of at most 3 - at `$.id`", id="too long"),
        pytest.param(
            {"n": 1, "list": [1, "2"]}, "Expected `integer | null`, got `string` - at `$.list[1]`", id="an item"
        ),
        pytest.param({"n": 1, "list": []}, "length of at least 1 - at `$.list`", id="too few"),
        pytest.param({"n": 1, "pair": ["a", "b"]}, "must not be there - at `$.pair[1]`", id="one too many"),
        pytest.param({"n": 1, "either": {"k": 2}}, "Invalid value 2, expected 1 - at `$.either.k`", id="neither"),
        pytest.param({"n": 1, "tree": {"v": 1, "next": {}}}, "required field `v` - at `$.tree.next`", id="far inside"),
        pytest.param({"n": 1, "m": 1}, "unknown field `m`; it has `n`, `x`", id="an unknown one"),
        pytest.param({"n": 1, "x-1": "a", "old": None, "LOUD": "a"}, None, id="a pattern's name, and dialects"),
        pytest.param({"n": 1, "x-1": 1}, "got `integer` - at `$.x-1`", id="a pattern's value"),
        pytest.param({"n": 1, "old": 1}, "Expected `string`, got `integer` - at `$.old`", id="nullable"),
        pytest.param({"n": 1, "LOUD": 1}, "Expected `string`, got `integer` - at `$.LOUD`", id="a type in capitals"),
    ],
)
def test_what_does_not_fit_is_said_with_its_path(value: object, fault: str | None) -> None:
    """The first fault, in a sentence for the model; what the schema leaves open fits."""
    found = misfit(value, DEEP)
    assert (found is None) if fault is None else (found is not None and fault in found)
    assert misfit(value, {}) is None


def test_a_schema_that_refers_to_itself_without_end() -> None:
    """Nothing is wrong with a value that no keyword speaks of."""
    assert misfit(1, {"$ref": "#"}) is None
    assert misfit(1, {"$ref": "#/nowhere"}) is None
    assert misfit(1, {"$ref": "https://x.test/schema"}) is None
    itself = {"$ref": "#/$defs/a"}
    for keyword in ("anyOf", "allOf"):
        assert misfit({"a": [1]}, {**itself, "$defs": {"a": {keyword: [itself, itself, {"items": itself}]}}}) is None


def test_a_deep_value_is_looked_at_once_for_each_schema() -> None:
    """Three ways at each of its levels would be 3^50 looks."""
    ways = [{"type": "object", "properties": {"next": {"$ref": "#"}}, "required": [name]} for name in "abc"]
    value: object = "the end"
    for _ in range(50):
        value = {"next": value}
    assert misfit(value, {"anyOf": ways}) == f"Expected `object`, got `string` - at `${'.next' * 50}`"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("arguments", "result"),
    [
        pytest.param('{"n": 1, "list": [2]}', ToolResult(content='{"n":1,"list":[2]}'), id="it fits"),
        pytest.param('{"n": 1, "list": "[2]"}', ToolResult(content='{"n":1,"list":[2]}'), id="a list as a text"),
        pytest.param(
            '{"n": 1, "tree": "{\\"v\\": \\"a\\\\nb\\"}"}',
            ToolResult(content='{"n":1,"tree":{"v":"a\\nb"}}'),
            id="an object as a text",
        ),
        pytest.param(
            '{"n": 1, "list": "[oops"}',
            ToolResult(content="The arguments do not fit: Expected `array`, got `string` - at `$.list`", is_error=True),
            id="a text that is no list",
        ),
        pytest.param(
            '{"n": 1, "either": "[1]"}', ToolResult(content='{"n":1,"either":"[1]"}'), id="a text may be a text"
        ),
    ],
)
async def test_a_tool_by_hand_checks_its_arguments(arguments: str, result: ToolResult) -> None:
    """Its function runs with nothing that its schema refuses."""
    assert await FunctionTool(Tool(name="f", parameters=DEEP), lambda given: given).run(arguments) == result


@pytest.mark.anyio
async def test_what_is_nested_deeper_than_anybody_looks_is_refused() -> None:
    """And told like the rest."""
    arguments = '{"n": 1, "tree": ' + '{"v": 1, "next": ' * 500 + "1" + "}" * 501
    result = await FunctionTool(Tool(name="f", parameters=DEEP), lambda given: given).run(arguments)
    assert result.is_error
    assert "recursion" in str(result.content)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("given", "content"),
    [
        pytest.param({"file": "a\udce9"}, '{"file":"a\ufffd"}', id="a value"),
        pytest.param(
            {"a\udce9": [{"b": ("\ud83d\ude00", 1, None)}]}, '{"a\ufffd":[{"b":["\U0001f600",1,null]}]}', id="inside"
        ),
        pytest.param(["\ud83d"], '["\ufffd"]', id="in a list"),
        pytest.param("a\udce9", "a\ufffd", id="a text"),
    ],
)
async def test_a_result_with_half_a_surrogate_keeps_the_rest(given: object, content: str) -> None:
    """A file's name may hold one; the tool has done its work all the same."""
    assert await FunctionTool(Tool(name="f"), lambda _: given).run("{}") == ToolResult(content=content)
