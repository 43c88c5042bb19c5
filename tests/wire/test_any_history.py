"""Histories that no vendor refuses: ids that repeat, calls without results, reasoning that nothing follows, names.

Each law holds on all three wires. What vendors refuse is in `strict.faults`.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import strict
from penstock import (
    InvalidRequestError,
    Message,
    OpaquePart,
    Options,
    Part,
    ReasoningPart,
    TextPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
    repair,
)
from writing import PLAIN, encode

WIRES = [("anthropic", "messages"), ("openai", "chat"), ("openai", "responses"), ("mistral", "chat"), ("vllm", "chat")]
each_wire = pytest.mark.parametrize(("vendor", "wire"), WIRES, ids=[" ".join(place) for place in WIRES])
HELLO = Message("user", "Hi")


def call(id_: str, name: str = "f") -> ToolCallPart:
    return ToolCallPart(id=id_, name=name)


def result(id_: str, content: str = "r") -> ToolResultPart:
    return ToolResultPart(id=id_, content=content)


def said(*parts: Part) -> Message:
    return Message("assistant", list(parts))


def shown(*parts: Part) -> Message:
    return Message("user", list(parts))


def turns_of(body: bytes) -> list[Any]:
    request = msgspec.json.decode(body)
    turns: list[Any] = request["input"] if "input" in request else request["messages"]
    return turns


def pairs(body: bytes) -> Iterator[tuple[str, str]]:
    """For each result, in order, the id of its call and its text."""
    for turn in turns_of(body):
        blocks = turn["content"] if isinstance(turn.get("content"), list) else [turn]
        for block in blocks:
            id_ = block.get("tool_use_id") or block.get("tool_call_id") or block.get("call_id")
            text = block.get("output", block.get("content"))
            if id_ and isinstance(text, str):
                yield id_, text


def calls(body: bytes) -> list[tuple[str, str]]:
    """The ids and names of the calls, in order."""
    blocks = (
        block
        for turn in turns_of(body)
        for block in (
            *(turn["content"] if isinstance(turn.get("content"), list) else ()),
            *turn.get("tool_calls", ()),
            turn,
        )
    )
    return [
        (block.get("call_id") or block["id"], block.get("function", block)["name"])
        for block in blocks
        if block.get("type") in ("tool_use", "function", "function_call")
    ]


# Ids


def answered(*turns: Sequence[str]) -> list[Message]:
    """A turn with a call of each id, and its results in order, whose texts count the calls."""
    history = [HELLO]
    number = 0
    for ids in turns:
        history.append(said(*(call(id_) for id_ in ids)))
        history.append(shown(*(result(id_, str(number + place)) for place, id_ in enumerate(ids))))
        number += len(ids)
    return history


REPEATED = [
    pytest.param([["dup", "dup"]], id="twice in one answer"),
    pytest.param([["call_0"], ["call_0"], ["call_0"]], id="numbered anew in each answer"),
    pytest.param([["call_0", "call_1"], ["call_0", "call_1"]], id="numbered anew, two at a time"),
    pytest.param([["", ""], [""]], id="no id at all"),
    pytest.param([["a", "a_2"], ["a"]], id="the id that would be made is another call's"),
    pytest.param([["a"], ["a"], ["a_2"]], id="the id that was made is another call's later"),
    pytest.param([["functions.f:0"], ["functions.f:0"]], id="of a form that some models look at"),
    pytest.param([["x" * 64, "x" * 64]], id="as long as may be"),
]


@each_wire
@pytest.mark.parametrize("turns", REPEATED)
def test_ids_are_unique_and_results_find_their_calls(vendor: str, wire: str, turns: list[list[str]]) -> None:
    """In order, in each turn for itself; and a vendor finds no fault."""
    body = encode(answered(*turns), vendor, wire)
    ids = [id_ for id_, _ in calls(body)]
    assert len(set(ids)) == len(ids) == sum(map(len, turns))
    assert list(pairs(body)) == [(id_, str(number)) for number, id_ in enumerate(ids)]
    assert strict.faults(f"{vendor}, {wire}", body, begins=True) == []


@each_wire
@pytest.mark.parametrize("turns", REPEATED)
def test_later_calls_change_none_before_them(vendor: str, wire: str, turns: list[list[str]]) -> None:
    """So that the bytes of one turn begin those of the next, whatever ids come."""
    whole = encode(answered(*turns), vendor, wire)
    for length in range(1, len(turns)):
        assert whole.startswith(encode(answered(*turns[:length]), vendor, wire).removesuffix(b"]}"))


class Text(str):
    """Text of a library's own class, which is no JSON."""


@pytest.mark.parametrize(("vendor", "wire"), WIRES[:3])
def test_an_id_of_a_class_of_its_own(vendor: str, wire: str) -> None:
    """It is sent as the text that it is."""
    assert encode(answered([Text("call_a")]), vendor, wire) == encode(answered(["call_a"]), vendor, wire)


@each_wire
def test_results_in_another_order(vendor: str, wire: str) -> None:
    """Those of one id are taken in order, others by their id."""
    history = [
        HELLO,
        said(call("a"), call("b"), call("a")),
        shown(result("b", "1"), result("a", "0"), result("a", "2")),
    ]
    body = encode(history, vendor, wire)
    first, second, third = (id_ for id_, _ in calls(body))
    assert dict(pairs(body)) == {first: "0", second: "1", third: "2"}


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.sampled_from(["a", "b", "", "a_2", "é"]), min_size=1, max_size=4), min_size=1, max_size=5))
def test_any_ids_are_made_unique(turns: list[list[str]]) -> None:
    """On each wire."""
    for vendor, wire in WIRES:
        body = encode(answered(*turns), vendor, wire)
        assert [text for _, text in pairs(body)] == [str(number) for number in range(sum(map(len, turns)))]
        assert [id_ for id_, _ in pairs(body)] == [id_ for id_, _ in calls(body)]
        assert strict.faults(f"{vendor}, {wire}", body, begins=True) == []


# Calls without results

NO_RESULT = "has no result in the message after it"
UNANSWERED = [
    pytest.param([HELLO, said(call("a"))], "messages[1]: the tool call 'a'", id="at the end"),
    pytest.param([HELLO, said(call("a")), HELLO], "messages[1]: the tool call 'a'", id="the user speaks instead"),
    pytest.param(
        [HELLO, said(call("a"), call("b")), shown(result("a")), said(TextPart("ok")), HELLO],
        "messages[1]: the tool call 'b'",
        id="one of two",
    ),
    pytest.param(
        [HELLO, said(call("a")), HELLO, said(TextPart("ok")), shown(result("a"))],
        "messages[1]: the tool call 'a'",
        id="too late",
    ),
    pytest.param(
        [HELLO, said(call("a")), shown(result("a")), said(call("a")), HELLO],
        "messages[3]: the tool call 'a'",
        id="the second of an id",
    ),
]


@each_wire
@pytest.mark.parametrize(("history", "said"), UNANSWERED)
def test_a_call_without_its_result_is_refused(vendor: str, wire: str, history: list[Message], said: str) -> None:
    """Before anything is sent, with the place and what helps; repaired it is taken."""
    with pytest.raises(InvalidRequestError) as refused:
        encode(history, vendor, wire)
    assert refused.value.message.startswith(f"{said} {NO_RESULT}")
    assert "run_tools" in refused.value.message
    assert "repair(messages)" in refused.value.message
    body = encode(repair(history).messages, vendor, wire)
    assert strict.faults(f"{vendor}, {wire}", body, begins=True) == []


@each_wire
@pytest.mark.parametrize(
    "history",
    [
        pytest.param(
            [HELLO, said(call("a")), said(call("b")), shown(result("a"), result("b"))], id="two answers in a row"
        ),
        pytest.param([HELLO, said(call("a"), call("b")), shown(result("b")), shown(result("a"))], id="two messages"),
    ],
)
def test_results_may_come_in_several_messages(vendor: str, wire: str, history: list[Message]) -> None:
    """As vendors read it: messages of one role in a row are one turn."""
    assert len(list(pairs(encode(history, vendor, wire)))) == 2


@each_wire
def test_what_the_user_says_before_a_result(vendor: str, wire: str) -> None:
    """It may stand anywhere in the message, and vendors find no fault."""
    history = [HELLO, said(call("a"), call("b")), shown(TextPart("So:"), result("a"), TextPart("and"), result("b"))]
    body = encode(history, vendor, wire)
    assert [text for _, text in pairs(body)] == ["r", "r"]
    assert body.index(b"So:") < body.index(b"and", body.index(b"So:"))
    assert strict.faults(f"{vendor}, {wire}", body, begins=True) == []


@each_wire
def test_a_second_result_is_refused(vendor: str, wire: str) -> None:
    """With its place."""
    with pytest.raises(InvalidRequestError, match=r"messages\[2\].content\[1\]: a second result for the tool call 'a'"):
        encode([HELLO, said(call("a")), shown(result("a"), result("a"))], vendor, wire)


@pytest.mark.parametrize(
    ("vendor", "wire", "block"),
    [
        pytest.param("anthropic", "messages", '{"type":"tool_result","tool_use_id":"a","content":[]}', id="Anthropic"),
        pytest.param("openai", "responses", '{"type":"function_call_output","call_id":"a","output":[]}', id="OpenAI"),
    ],
)
def test_a_block_of_the_vendors_own_may_be_the_result(vendor: str, wire: str, block: str) -> None:
    """As of a tool's references, for which there is no part; another vendor's answers nothing."""
    history = [HELLO, said(call("a")), shown(OpaquePart(vendor=vendor, data=block))]
    assert block.encode() in encode(history, vendor, wire)
    with pytest.raises(InvalidRequestError, match=NO_RESULT):
        encode([*history[:2], shown(OpaquePart(vendor="elsewhere", data=block, text="t"))], vendor, wire)


# Reasoning

SIGNED = ReasoningPart(text="hm", proof="c2ln", vendor="anthropic")
REDACTED = ReasoningPart(proof="cmVk", redacted=True, vendor="anthropic")
ITEM = ReasoningPart(proof='{"type":"reasoning","encrypted_content":"gAAA"}', vendor="openai")
THOUGHTS = [
    pytest.param("anthropic", "messages", [SIGNED, REDACTED], id="Anthropic"),
    pytest.param("openai", "responses", [ITEM, ITEM], id="OpenAI"),
]
WORD = TextPart("a")
KEPT = [
    pytest.param(lambda t, u: [HELLO, said(t, u)], 0, id="at the end"),
    pytest.param(lambda t, u: [HELLO, said(t, u), HELLO], 0, id="of an answer that was cut"),
    pytest.param(lambda t, u: [HELLO, said(t), said(u), HELLO], 0, id="in two messages"),
    pytest.param(lambda t, u: [HELLO, said(t, TextPart(" ")), HELLO], 0, id="before a blank text"),
    pytest.param(lambda t, u: [HELLO, said(t, WORD, u), HELLO], 1, id="what stands after the words"),
    pytest.param(lambda t, u: [HELLO, said(t, u, WORD), HELLO], 2, id="before the words"),
    pytest.param(lambda t, u: [HELLO, said(t), said(u), said(WORD), HELLO], 2, id="in messages before them"),
    pytest.param(lambda t, u: [HELLO, said(t, call("a"), u), shown(result("a"))], 1, id="around a call"),
    pytest.param(lambda t, u: [HELLO, said(t, OpaquePart(vendor="x", data="{}", text="b"))], 1, id="before a block"),
]


@pytest.mark.parametrize(("vendor", "wire", "thoughts"), THOUGHTS)
@pytest.mark.parametrize(("history", "kept"), KEPT)
def test_reasoning_that_nothing_follows_is_left_out(
    vendor: str, wire: str, thoughts: list[Part], history: Any, kept: int
) -> None:
    """Vendors refuse it, and with it each later request; all other reasoning goes back, and what follows it."""
    body = encode(history(*thoughts), vendor, wire)
    blocks = [block for turn in turns_of(body) for block in (turn["content"] if wire == "messages" else [turn])]
    assert (
        sum("reasoning" in str(block.get("type")) or "thinking" in str(block.get("type")) for block in blocks) == kept
    )
    assert strict.faults(f"{vendor}, {wire}", body, begins=True) == []


@pytest.mark.parametrize(("vendor", "wire", "thoughts"), THOUGHTS)
def test_nothing_but_reasoning_is_an_empty_history(vendor: str, wire: str, thoughts: list[Part]) -> None:
    """It has nothing to ask."""
    with pytest.raises(InvalidRequestError, match="the history is empty"):
        encode([said(*thoughts)], vendor, wire)


# Names and definitions


@each_wire
@pytest.mark.parametrize(
    ("name", "sent"),
    [
        pytest.param("fs.read", "fs_read", id="a dot"),
        pytest.param("a b", "a_b", id="a space"),
        pytest.param("", "unknown", id="none"),
        pytest.param("ü", "_", id="not ASCII"),
        pytest.param("n" * 200, None, id="too long"),
        pytest.param("read-file_2", "read-file_2", id="one that is taken"),
    ],
)
def test_the_name_of_a_call_is_one_that_is_taken(vendor: str, wire: str, name: str, sent: str | None) -> None:
    """Another vendor's model may have called a tool by any name."""
    body = encode([HELLO, said(call("aaaaaaaaa", name)), shown(result("aaaaaaaaa"))], vendor, wire)
    ((_, written),) = calls(body)
    assert written == (sent if sent is not None else name[: 128 if wire == "messages" else 64])
    assert strict.faults(f"{vendor}, {wire}", body, begins=True) == []


@each_wire
def test_the_name_of_a_tool_that_is_given_stays(vendor: str, wire: str) -> None:
    """A server that takes a tool of its own form by a dotted name knows its calls by it."""
    own = {"type": "function", "function": {"name": "fs.read"}, "name": "fs.read"}
    options = msgspec.structs.replace(PLAIN, tools=[own])
    body = encode([HELLO, said(call("a", "fs.read")), shown(result("a"))], vendor, wire, options=options)
    assert [name for _, name in calls(body)] == ["fs.read"]


def of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


WRONG_TOOLS: list[Any] = [
    pytest.param(Tool(name="a b"), "tool `a b`: the name may have 1 to", id="a space in the name"),
    pytest.param(Tool(name="fs.read"), "tool `fs.read`: the name may have 1 to", id="a dot in the name"),
    pytest.param(Tool(name=""), "tool ``: the name may have 1 to", id="no name"),
    pytest.param(Tool(name="n" * 129), "the name may have 1 to", id="too long a name"),
    pytest.param(Tool(name="f", parameters={"type": "strng"}), "its `type` must be 'object'", id="no object"),
    pytest.param(Tool(name="f", parameters={"type": "objct"}), "did you mean 'object'?", id="nearly an object"),
    pytest.param(Tool(name="f", parameters={}), "its `type` must be 'object'", id="no type"),
    pytest.param(
        Tool(name="f", parameters=of(x={"type": "strng"})),
        "`$.x` has the type 'strng', expected one of: object, array, string, number, integer, boolean, null; "
        "did you mean 'string'?",
        id="an unknown type inside",
    ),
    pytest.param(
        Tool(name="f", parameters=of(x={"type": ["string", "none"]})), "`$.x` has the type 'none'", id="of two"
    ),
    pytest.param(
        Tool(name="f", parameters=of(x={"type": "array", "items": {"type": "dict"}})),
        "`$.x[]` has the type 'dict'",
        id="of items",
    ),
    pytest.param(Tool(name="f", parameters=of(x={"anyOf": [{"type": 5}]})), "`$.x` has the type 5", id="a number"),
    pytest.param(
        Tool(name="f", parameters={**of(), "required": ["x"]}), "`x` is required but is not among", id="required"
    ),
]


@each_wire
@pytest.mark.parametrize(("tool", "said"), WRONG_TOOLS)
def test_a_tool_that_no_vendor_takes_is_refused(vendor: str, wire: str, tool: Tool, said: str) -> None:
    """By name, before anything is sent, also one that nothing of ours runs."""
    with pytest.raises(InvalidRequestError) as refused:
        encode([HELLO], vendor, wire, options=Options(tools=[tool]))
    assert refused.value.message.startswith("option `tools`: tool ")
    assert said in refused.value.message


@each_wire
def test_other_schemas_are_taken(vendor: str, wire: str) -> None:
    """Types in capitals, a property called `type`, a schema that holds itself, a longer name at Anthropic."""
    nested: dict[str, Any] = of(type={"type": "STRING"}, enum={"type": ["null", "integer"]})
    name = "n" * (128 if wire == "messages" else 64)
    assert encode([HELLO], vendor, wire, options=Options(tools=[Tool(name=name, parameters=nested)], cache="off"))


@each_wire
def test_a_request_leaves_nothing_to_the_garbage_collector(vendor: str, wire: str) -> None:
    """A long history's ids would be held until it runs, and its running is what a stream would wait for."""
    history = [HELLO, said(TextPart("a"), call("x")), shown(result("x"), TextPart("b"))]
    encode(history, vendor, wire)
    gc.collect()
    gc.disable()
    try:
        encode(history, vendor, wire)
        assert gc.collect() == 0
    finally:
        gc.enable()
