"""The demo model: it calls tools, fits schemas, thinks, looks at attachments, and always says the same."""

from __future__ import annotations

import datetime as dt
import enum
import struct
import uuid
from collections.abc import Mapping
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, TypedDict

import msgspec
import pytest

from agent import agent
from penstock import (
    ConfigError,
    DocumentPart,
    ImagePart,
    Message,
    Options,
    Reply,
    TextPart,
    ToolCallPart,
    collect,
    generate_object,
    open_provider,
    run_tools,
    tool,
)
from penstock.agent.schema.answer_type import AnswerType
from penstock.agent.schema.fits import misfit
from penstock.meter import Metered
from penstock.testing import DemoModel, Request
from penstock.testing.demo.filling import Filler
from penstock.testing.demo.words import Words

pytestmark = pytest.mark.anyio

WHO: Final = "This is Penstock's emulator, not a model, and nothing is billed."
ALIASES: Final = ("demo", "demo/chat", "demo/responses")


@pytest.fixture
def anyio_backend() -> str:
    """What it says does not depend on the caller's loop: `test_demo_provider` asks on both."""
    return "asyncio"


def filled(schema: Mapping[str, Any], words: str = "") -> Any:
    """What fits *schema*."""
    return Filler(Words(words), schema, whole=True).fill()


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Person(msgspec.Struct):
    name: str
    age: Annotated[int, msgspec.Meta(ge=0, le=150)]
    email: str | None = None
    born: dt.date | None = None


class City(msgspec.Struct):
    name: str
    people: Annotated[int, msgspec.Meta(ge=0)]
    sights: list[str] = []


class Tree(msgspec.Struct):
    value: int
    children: list[Tree] = []
    parent: Tree | None = None


class Circle(msgspec.Struct, tag=True):
    radius: Annotated[float, msgspec.Meta(gt=0)]


class Square(msgspec.Struct, tag=True):
    side: float


class Point(NamedTuple):
    x: float
    y: float


class Row(TypedDict):
    colour: Colour
    counts: dict[str, int]


class Order(msgspec.Struct):
    id: uuid.UUID
    customer: Person
    shapes: list[Circle | Square]
    at: dt.datetime
    time: dt.time
    price: Decimal
    size: Literal["small", "large"]
    codes: Annotated[list[Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{2}-\d{4}$")]], msgspec.Meta(min_length=2)]
    place: Point
    row: Row
    open: bool
    tags: set[str]


@pytest.mark.parametrize(
    "type_",
    [Person, City, Tree, Order, Colour, Point, Circle | Square, list[Person], dict[str, int], str, int, bool, float,
     int | None, Literal["a", "b"], tuple[int, str], set[int], dt.date],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize(
    "words", ["", "Ann is 31 and lives in Rome, since 2020-01-02: 200 large ones.", "\0\ud83d"[:1]]
)
def test_an_answer_of_any_type_decodes(type_: Any, words: str) -> None:
    """Whatever the words, in the plain schema and in the strict one."""
    wanted = AnswerType(type_)
    schemas: list[Any] = [wanted.schema]
    with suppress(ConfigError):  # not every type has one
        schemas.append(wanted.strict())
    for schema in schemas:
        value = filled(schema, words)
        assert misfit(value, schema) is None
        assert value == filled(schema, words)
        wanted.decode(msgspec.json.encode(value).decode())


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param({"type": "integer", "minimum": 5, "maximum": 7, "multipleOf": 3}, id="a multiple"),
        pytest.param({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, id="between two"),
        pytest.param({"type": "integer", "exclusiveMaximum": -3}, id="below zero"),
        pytest.param({"type": "number", "maximum": 0.25}, id="a small one"),
        pytest.param({"type": "string", "minLength": 20, "maxLength": 21}, id="a long text"),
        pytest.param({"type": "string", "maxLength": 2}, id="a short text"),
        pytest.param({"const": {"a": [1]}}, id="a constant"),
        pytest.param({"enum": [None, 3, "x"]}, id="some values"),
        pytest.param({"type": ["null", "string"]}, id="two types"),
        pytest.param({"type": "array", "items": {"type": "integer"}, "minItems": 4, "uniqueItems": True}, id="a set"),
        pytest.param({"type": "array", "items": {"enum": [1, 2]}, "minItems": 2, "uniqueItems": True},
                     id="all of some"),
        pytest.param({"type": "array", "prefixItems": [{"const": 1}, {"type": "string"}], "items": False},
                     id="a tuple"),
        pytest.param({"type": "array", "maxItems": 0}, id="nothing in it"),
        pytest.param({"type": "object", "minProperties": 2, "additionalProperties": {"type": "integer"}},
                     id="a mapping"),
        pytest.param({"allOf": [{"type": "object", "properties": {"a": {"type": "null"}}, "required": ["a"]},
                                {"properties": {"b": {"type": "string"}}, "required": ["b"]}]}, id="two at once"),
        pytest.param({"oneOf": [{"type": "null"}, {"type": "boolean"}]}, id="one of two"),
        pytest.param({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "integer"}}}, id="a reference"),
        pytest.param({"$defs": {"n": {"type": "object", "properties": {"n": {"anyOf": [{"$ref": "#/$defs/n"},
                      {"type": "null"}]}}, "required": ["n"]}}, "$ref": "#/$defs/n"}, id="one that holds itself"),
        pytest.param({}, id="anything"),
        *(pytest.param({"type": "string", "pattern": pattern}, id=pattern)
          for pattern in (r"^\d{3}-\d\d$", r"^(?:GET|POST) /\w+$", r"[^a-z]+", r"^([ab])\1$", "a|b", r"^\S@\S+\.com$")),
    ],
)  # fmt: skip
@pytest.mark.parametrize("words", ["", 'Give me 3, 6, 0.5 or -4 of "plan.md".'])
def test_any_schema_is_fitted(schema: dict[str, Any], words: str) -> None:
    """By the same value each time."""
    assert misfit(filled(schema, words), schema) is None
    assert filled(schema, words) == filled(schema, words)


@pytest.mark.parametrize(
    ("type_", "words", "value"),
    [
        (Person, "Ann is 31; write to ann@example.org.", Person(name="Ann", age=31, email="email")),
        (City, "The capital of France?", City(name="France", people=1, sights=["France"])),
        (Literal["spam", "ham"], "Is that ham?", "ham"),
        (list[int], "Sort 3, 1 and 2.", [3, 1, 2]),
    ],
    ids=["a person", "a city", "a word", "numbers"],
)
def test_what_the_words_offer_is_taken(type_: Any, words: str, value: Any) -> None:
    """Names for names, and numbers that fit."""
    found = AnswerType(type_).decode(msgspec.json.encode(filled(AnswerType(type_).schema, words)).decode())
    if isinstance(value, Person):
        assert (found.name, found.age) == (value.name, value.age)
    else:
        assert found == value


@pytest.mark.parametrize("alias", ALIASES)
@pytest.mark.parametrize("mode", ["schema", "tool", "text"])
async def test_an_object_is_generated(alias: str, mode: Any) -> None:
    """In the vendors' own way, by a tool that must be called, and at the first try of both."""
    async with open_provider(alias) as provider:
        if mode == "text":
            answer = await generate_object(provider, City, "The capital of France?")
        else:
            answer = await generate_object(provider, City, "The capital of France?", mode=mode)
    assert (answer.value, answer.attempts) == (City("France", 1, ["France"]), 1)


@pytest.mark.parametrize("alias", ALIASES)
async def test_the_agent_of_the_readme_works(alias: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It looks, reads, then edits without a change, edits with one, and says what has failed."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "plan.md").write_text("# Plan\nBy teh end of May.\n")
    requests = [
        "What is in this folder?",
        "Fix the typos in plan.md.",
        'Replace "teh" with "the" in plan.md, then read all files.',
        "Read ../secret.txt.",
    ]
    history: list[Message] = []
    await agent(Metered(open_provider(alias), tmp_path / "spend.db"), folder, history, requests)
    _, *said = capsys.readouterr().out.split("\n> ")
    assert [f'{WHO} list_files answered: ["plan.md"]' in said[0], "failed" in said[3]] == [True, True]
    assert "edit_file answered: Wrote 26 characters." in said[1]
    assert said[2].rpartition("\nread_file answered: ")[2].startswith("# Plan\nBy the end of May.")
    assert (folder / "plan.md").read_text() == "# Plan\nBy the end of May.\n"
    parts = [part for message in history if not isinstance(message.content, str) for part in message.content]
    calls = [part.name for part in parts if isinstance(part, ToolCallPart)]
    asked = (["list_files"], ["read_file", "edit_file"], ["edit_file", "list_files", "read_file"], ["read_file"])
    assert calls == [name for names in asked for name in names]


@tool
def get_weather(city: str, unit: Literal["celsius", "fahrenheit"] = "celsius") -> str:
    """The weather in a city."""
    return f"Sunny, 21 degrees {unit}, in {city}."


@tool
def now(zone: str = "UTC") -> str:
    """The time."""
    return f"12:00 {zone}"


@tool
def add(a: float, b: float) -> float:
    """Adds two numbers."""
    return a + b


@tool
def delete(path: str) -> str:
    """Deletes a file."""
    return f"{path} is deleted"


@tool
def search_notes(query: str, limit: Annotated[int, msgspec.Meta(ge=1, le=20)] = 5) -> list[str]:
    """Notes that contain all words of the query."""
    return [query] * limit


TOOLS: Final = [get_weather, now, add, delete, search_notes]


@pytest.mark.parametrize(
    ("words", "calls"),
    [
        ("What is the weather in Paris?", [("get_weather", {"city": "Paris"})]),
        ("The weather in Paris in fahrenheit?", [("get_weather", {"city": "Paris", "unit": "fahrenheit"})]),
        ("The weather in Paris and Rome?", [("get_weather", {"city": "Paris"}), ("get_weather", {"city": "Rome"})]),
        ("What time is it, and how is the weather in New York?", [("now", {}), ("get_weather", {"city": "New York"})]),
        ("weather in paris", [("get_weather", {"city": "paris"})]),
        ("Add 2 and 3.5.", [("add", {"a": 2, "b": 3.5})]),
        ("What is 2 + 3?", [("add", {"a": 2, "b": 3})]),
        ("Add something.", [("add", {"a": 1, "b": 1})]),
        ("Delete a.txt.", [("delete", {"path": "a.txt"})]),
        ("Remove `x/y.md`; then search my notes for turbines, at most 3!",
         [("delete", {"path": "x/y.md"}), ("search_notes", {"query": "turbines", "limit": 3})]),
        ('Search for "a and b"', [("search_notes", {"query": "a and b"})]),
        ("Hello!", []),
        ("Is it warm?", []),
        ("Delete it.", []),
        ("", []),
    ],
)  # fmt: skip
def test_the_words_say_what_is_called(words: str, calls: list[tuple[str, Any]]) -> None:
    """And with what."""
    assert called(words) == calls


def called(words: str, **fields: Any) -> list[tuple[str, Any]]:
    """The calls that the demo answers with."""
    tools = [{"name": each.definition.name, "description": each.definition.description,
              "input_schema": each.definition.parameters} for each in TOOLS]  # fmt: skip
    body = {"model": "m", "messages": [{"role": "user", "content": words}], "tools": tools, **fields}
    blocks = asking(body)["content"]
    return [(block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"]


def asking(body: Mapping[str, Any]) -> dict[str, Any]:
    (answer,) = DemoModel()(Request("POST", "/v1/messages", {}, msgspec.json.encode(body))).body
    assert isinstance(answer, bytes)
    decoded: dict[str, Any] = msgspec.json.decode(answer)
    return decoded


def test_the_choice_of_a_tool_is_obeyed() -> None:
    """None at all, one of them, a certain one, and only one at a time."""
    two = "The weather in Paris and Rome?"
    assert called(two, tool_choice={"type": "none"}) == []
    assert len(called("Hello!", tool_choice={"type": "any"})) == 1
    assert [name for name, _ in called("Hello!", tool_choice={"type": "tool", "name": "add"})] == ["add"]
    assert len(called(two, tool_choice={"type": "auto", "disable_parallel_tool_use": True})) == 1


@pytest.mark.parametrize(
    "schema",
    [
        {"$defs": {"n": {"type": "object", "properties": {"n": {"$ref": "#/$defs/n"}}, "required": ["n"]}},
         "$ref": "#/$defs/n"},
        {"$ref": "#/nowhere"},
        {"type": "string", "pattern": "("},
        {"type": "integer", "description": "See (minimum: what is least)"},
        {"type": "object", "properties": {"a": True}, "required": ["a"]},
        {"type": "string", "minLength": 10**12},
        {"type": "string", "pattern": "(a{4000000000}){4}"},
        {"type": "array", "minItems": 10**12},
        {"type": "object", "minProperties": 10**12},
    ],
    ids=[
        "nothing fits",
        "a reference to nothing",
        "no expression",
        "words that look like limits",
        "anything at all",
        "an endless text",
        "an endless expression",
        "an endless list",
        "endless fields",
    ],
)  # fmt: skip
def test_a_schema_that_is_none_is_answered_too(schema: dict[str, Any]) -> None:
    """With something, and the server lives."""
    body = {"model": "m", "messages": [{"role": "user", "content": "Go on."}]}
    form = {"format": {"type": "json_schema", "schema": schema}}
    answer = asking({**body, "output_config": form})
    assert answer["content"] == asking({**body, "output_config": form})["content"]
    msgspec.json.decode(answer["content"][0]["text"])


def test_a_word_without_end_is_looked_at_from_its_beginning() -> None:
    """Whoever has pasted it, or whichever tool has given it: all of it would take minutes."""
    word = "x" * 3_000_000
    call = {"type": "tool_use", "id": "a", "name": "now", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "a", "content": word}
    said = [("user", f"What time is it now? {word}"), ("assistant", [call]), ("user", [result])]
    body = {"model": "m", "messages": [{"role": role, "content": content} for role, content in said]}
    tools = [{"name": "now", "description": "The time.", "input_schema": {"type": "object", "properties": {}}}]
    assert "now answered: xxx" in asking({**body, "tools": tools})["content"][0]["text"]


def test_what_is_no_schema_is_refused_as_a_vendor_does() -> None:
    """And no fault of the server's, which one would try again."""
    body = {"model": "m", "messages": [], "output_config": {"format": {"type": "json_schema", "schema": {"$ref": 5}}}}
    reply = DemoModel()(Request("POST", "/v1/messages", {}, msgspec.json.encode(body)))
    assert reply.status == 400


@pytest.mark.parametrize("alias", ALIASES)
async def test_a_loop_ends(alias: str) -> None:
    """What has been called is not called again, and is asked anew when the user asks again."""
    history: list[Message] = []
    replies: list[Reply] = []
    async with open_provider(alias) as provider:
        for _ in range(2):
            history.append(Message("user", "The weather in Paris and Rome?"))
            async for _ in run_tools(provider, "", history, TOOLS, on_turn=replies.append):
                pass
    names = [[call.name for call in reply.tool_calls] for reply in replies]
    assert names == [["get_weather", "get_weather"], []] * 2
    rome = "get_weather answered: Sunny, 21 degrees celsius, in Rome."
    assert replies[1].text == replies[3].text == f"{WHO} {rome.replace('Rome', 'Paris')}\n{rome}"
    ids = [call.id for reply in replies for call in reply.tool_calls]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("alias", ALIASES)
async def test_it_thinks_when_it_is_asked_to(alias: str) -> None:
    """With a proof where the wire has one, and counted; not when it is not."""
    async with open_provider(alias) as provider:
        told = [Message("user", "Hello!")]
        thinking = await collect(provider.create_message("", told, Options(reasoning="low")))
        plain = await collect(provider.create_message("", told))
        off = await collect(provider.create_message("", told, Options(reasoning="off")))
        assert thinking.message is not None
        again = [*told, thinking.message, Message("user", "And now?")]
        after = await collect(provider.create_message("", again, Options(reasoning="low")))
    assert thinking.reasoning.startswith("I am asked: Hello!")
    assert thinking.text == plain.text == off.text == f"{WHO} You said: Hello!"
    assert after.text == f"{WHO} You said: And now?"
    assert plain.usage.reasoning_tokens == off.usage.reasoning_tokens == 0
    assert thinking.usage.reasoning_tokens == len(thinking.reasoning.split(" "))
    assert thinking.usage.output_tokens == plain.usage.output_tokens + thinking.usage.reasoning_tokens
    proofs = [getattr(part, "proof", None) for part in thinking.message.content]
    assert any(proofs) is (alias != "demo/chat")


PNG: Final = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 640, 480) + bytes(9)
GIF: Final = b"GIF89a" + struct.pack("<HH", 3, 2) + bytes(3)
JPEG: Final = b"\xff\xd8\xff\xe0\0\4ab\xff\xc0\0\x0b\x08" + struct.pack(">HH", 7, 9) + bytes(8)


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (ImagePart(data=PNG, media_type="image/png"), f"an image (image/png, {len(PNG)} bytes, 640 x 480 pixels)"),
        (ImagePart(data=GIF, media_type="image/gif"), f"an image (image/gif, {len(GIF)} bytes, 3 x 2 pixels)"),
        (ImagePart(data=JPEG, media_type="image/jpeg"), f"an image (image/jpeg, {len(JPEG)} bytes, 9 x 7 pixels)"),
        (ImagePart(data=b"\xff\xd8", media_type="image/jpeg"), "an image (image/jpeg, 2 bytes)"),
        (ImagePart(data=b"RIFF", media_type="image/webp"), "an image (image/webp, 4 bytes)"),
        (DocumentPart(data=b"%PDF-1.7", media_type="application/pdf"), "a document (application/pdf, 8 bytes)"),
    ],
    ids=["png", "gif", "jpeg", "half a jpeg", "another image", "pdf"],
)
@pytest.mark.parametrize("alias", ALIASES)
async def test_it_says_what_is_attached(alias: str, part: Any, said: str) -> None:
    """By kind, type and size."""
    async with open_provider(alias) as provider:
        reply = await collect(provider.create_message("", [Message("user", [part, TextPart("What is this?")])]))
    shown = reply.text if "document.pdf" not in reply.text else reply.text.replace("document.pdf, ", "")
    assert shown == f"{WHO} You attached {said}. You said: What is this?"


@pytest.mark.parametrize("alias", ALIASES)
async def test_a_limit_cuts(alias: str) -> None:
    """Thoughts first; a call is whole or not there."""
    options = Options(max_tokens=4, tools=[get_weather.definition])
    async with open_provider(alias) as provider:
        call = await collect(provider.create_message("", [Message("user", "The weather in Paris?")], options))
        text = await collect(provider.create_message("", [Message("user", "Hello!")], options))
        thought = await collect(
            provider.create_message("", [Message("user", "Hello!")], Options(max_tokens=4, reasoning="low"))
        )
    assert (call.stop_reason, call.tool_calls) == ("length", ())
    assert (text.stop_reason, text.text) == ("length", "This is Penstock's emulator,")
    assert (thought.stop_reason, thought.reasoning, thought.text) == ("length", "I am asked: Hello!", "")
    assert [each.usage.output_tokens for each in (text, thought)] == [4, 4]


@pytest.mark.parametrize("alias", ["demo", "demo/responses"])
async def test_it_counts_a_prompt(alias: str) -> None:
    """As it counts that of a call."""
    async with open_provider(alias) as provider:
        options = Options(tools=[get_weather.definition], cache="off" if alias == "demo" else "auto")
        count = await provider.count_tokens("Be brief.", [Message("user", "Hello!")], options)
        reply = await collect(provider.create_message("Be brief.", [Message("user", "Hello!")], options))
    assert (count.exact, count.source, count.tokens) == (True, "demo", reply.usage.prompt_tokens)
