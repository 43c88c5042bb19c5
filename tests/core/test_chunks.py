"""Chunks and parts as values: they travel through JSON unchanged, cannot be changed, and usage adds up."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, localcontext
from inspect import signature
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock import (
    Chunk,
    Deadlines,
    DocumentPart,
    ImagePart,
    Message,
    OpaqueChunk,
    OpaquePart,
    Options,
    Part,
    ReasoningChunk,
    ReasoningPart,
    StopChunk,
    StopReason,
    TextChunk,
    TextPart,
    Tool,
    ToolCallChunk,
    ToolCallDeltaChunk,
    ToolCallPart,
    ToolResultPart,
    UsageChunk,
)

CHUNKS = [
    pytest.param(TextChunk("héllo\n\0"), "text", id="text"),
    pytest.param(ReasoningChunk(text="so"), "reasoning", id="reasoning goes on"),
    pytest.param(ReasoningChunk(text="so", proof="sig==", vendor="anthropic"), "reasoning", id="reasoning is signed"),
    pytest.param(ReasoningChunk(proof="x", redacted=True, vendor="anthropic"), "reasoning", id="reasoning is redacted"),
    pytest.param(ToolCallDeltaChunk(id="c1", name="f", arguments='{"a'), "tool_call_delta", id="a piece of a call"),
    pytest.param(ToolCallChunk(id="c1", name="f", arguments='{"a":"\\""}'), "tool_call", id="a whole call"),
    pytest.param(OpaqueChunk(vendor="anthropic", data='{"type":"x"}', text="t"), "opaque", id="a vendor's own block"),
    pytest.param(UsageChunk(), "usage", id="empty usage"),
    pytest.param(UsageChunk(input_tokens=-1, known_cost=Decimal("-0.00000012")), "usage", id="a correction downwards"),
    pytest.param(UsageChunk(output_tokens=2**80, unsettled=1), "usage", id="usage of unknown cost"),
    pytest.param(
        UsageChunk(
            input_tokens=1,
            output_tokens=2,
            cache_write_tokens=3,
            cache_read_tokens=4,
            cache_write_extended_tokens=2,
            reasoning_tokens=1,
            web_searches=5,
            known_cost=Decimal("123456789012345678901234567890.000000001"),
            unsettled=-1,
        ),
        "usage",
        id="every count of usage",
    ),
    pytest.param(
        StopChunk(reason="other", raw_reason="new", stop_sequence="END", response_id="msg_1", model="m"),
        "stop",
        id="a stop with all that is known",
    ),
    *(pytest.param(StopChunk(reason=reason), "stop", id=f"stop for {reason}") for reason in get_args(StopReason)),
]
PARTS = [
    pytest.param(TextPart("hi"), "text", id="a text part"),
    pytest.param(ImagePart(data=b"\x89PNG\0\xff", media_type="image/png"), "image", id="image bytes"),
    pytest.param(ImagePart(url="https://example.org/a.png"), "image", id="an image's address"),
    pytest.param(
        DocumentPart(data=b"%PDF", media_type="application/pdf", title="T", citations=True), "document", id="a document"
    ),
    pytest.param(DocumentPart(url="https://example.org/a.pdf"), "document", id="a document's address"),
    pytest.param(ToolCallPart(id="c1", name="f"), "tool_call", id="a call without arguments"),
    pytest.param(ToolCallPart(id="c1", name="f", arguments='{"a":1.50}'), "tool_call", id="a call part"),
    pytest.param(ToolResultPart(id="c1", content="42"), "tool_result", id="a result in words"),
    pytest.param(ToolResultPart(id="c1", content="no", is_error=True), "tool_result", id="a result that is an error"),
    pytest.param(
        ToolResultPart(id="c1", content=[TextPart("a"), ImagePart(url="u"), DocumentPart(url="v")]),
        "tool_result",
        id="a result in parts",
    ),
    pytest.param(ReasoningPart(text="so", proof="sig==", vendor="anthropic"), "reasoning", id="a reasoning part"),
    pytest.param(ReasoningPart(proof="x", redacted=True, vendor="anthropic"), "reasoning", id="a redacted part"),
    pytest.param(OpaquePart(vendor="anthropic", data="{}", text="t"), "opaque", id="an opaque part"),
]
EVERY_PART: list[Any] = [case.values[0] for case in PARTS]
VALUES: list[Any] = [case.values[0] for case in (*CHUNKS, *PARTS)]
CLASSES: list[type[msgspec.Struct]] = [*get_args(Chunk), *get_args(Part), Message, Tool, Deadlines, Options]


def through_json(value: Any, kind: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value), type=kind)


@pytest.mark.parametrize(
    ("value", "tag", "union"),
    [
        *(pytest.param(*case.values, Chunk, id=f"chunk: {case.id}") for case in CHUNKS),
        *(pytest.param(*case.values, Part, id=f"part: {case.id}") for case in PARTS),
    ],
)
def test_json_keeps_everything(value: msgspec.Struct, tag: str, union: Any) -> None:
    """A chunk or part comes back equal and of its own class, told apart by `type`."""
    again = through_json(value, union)
    assert type(again) is type(value)
    assert again == value
    assert msgspec.json.decode(msgspec.json.encode(value))["type"] == tag


@pytest.mark.parametrize(
    ("union", "cases"),
    [
        pytest.param(Chunk, CHUNKS, id="chunks"),
        pytest.param(Part, PARTS, id="parts"),
    ],
)
def test_every_kind_has_a_case(union: Any, cases: Sequence[Any]) -> None:
    """A new chunk or part is not in the union without a row above, and no two share a tag."""
    tags = {type(case.values[0]): case.values[1] for case in cases}
    assert set(tags) == set(get_args(union))
    assert len(set(tags.values())) == len(tags)


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(Message("user", "hi"), id="text"),
        pytest.param(Message("assistant", []), id="no parts"),
        pytest.param(Message(role="user", content=EVERY_PART), id="every part there is"),
    ],
)
def test_a_history_can_be_stored(message: Message) -> None:
    """A message comes back from JSON equal, with all its parts."""
    assert through_json([message], list[Message]) == [message]


@pytest.mark.parametrize(
    ("chunk", "part"),
    [
        pytest.param(TextChunk("hi"), TextPart("hi"), id="text"),
        pytest.param(
            ReasoningChunk(text="so", proof="x", redacted=True, vendor="v"),
            ReasoningPart(text="so", proof="x", redacted=True, vendor="v"),
            id="reasoning",
        ),
        pytest.param(ToolCallChunk(id="c1", name="f", arguments="{}"), ToolCallPart(id="c1", name="f"), id="tool call"),
        pytest.param(
            OpaqueChunk(vendor="v", data="{}", text="t"), OpaquePart(vendor="v", data="{}", text="t"), id="opaque"
        ),
    ],
)
def test_what_came_out_can_go_back_in(chunk: Chunk, part: Part) -> None:
    """A chunk that belongs into the next turn has the same JSON as its part."""
    assert through_json(chunk, Part) == part
    assert through_json(part, Chunk) == chunk


@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param(b'{"type":"zz"}', "zz", id="an unknown type"),
        pytest.param(b"{}", "type", id="no type"),
        pytest.param(b'{"type":"stop","reason":"tired"}', "tired", id="an unknown stop reason"),
        pytest.param(b'{"type":"text"}', "text", id="no text"),
    ],
)
def test_stored_chunks_are_checked(data: bytes, said: str) -> None:
    """What is not a chunk of ours is refused, by name."""
    with pytest.raises(msgspec.ValidationError, match=said):
        msgspec.json.decode(data, type=Chunk)


@pytest.mark.parametrize(
    "value", [pytest.param(value, id=f"{at} {type(value).__name__}") for at, value in enumerate(VALUES)]
)
def test_nothing_can_be_changed(value: msgspec.Struct) -> None:
    """Every field of every chunk and part is frozen."""
    for name in value.__struct_fields__:
        with pytest.raises(AttributeError):
            setattr(value, name, getattr(value, name))


@pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.__name__) for kind in CLASSES])
def test_many_fields_are_given_by_name(kind: type[msgspec.Struct]) -> None:
    """A struct with more than two fields takes none by position, so that a new field breaks nobody."""
    assert kind.__struct_config__.frozen
    by_position = [field for field in signature(kind).parameters.values() if field.kind is not field.KEYWORD_ONLY]
    assert not by_position or len(kind.__struct_fields__) <= 2


@pytest.mark.parametrize(
    ("data", "usage"),
    [
        pytest.param('{"type":"usage"}', UsageChunk(), id="nothing"),
        pytest.param('{"type":"usage","cost":"0"}', UsageChunk(), id="free, as it was stored before"),
        pytest.param(
            '{"type":"usage","input_tokens":3,"web_searches":0,"cost":"0.0125"}',
            UsageChunk(input_tokens=3, known_cost=Decimal("0.0125")),
            id="a cost, as it was stored before",
        ),
        pytest.param(
            '{"type":"usage","input_tokens":3,"cost":null}',
            UsageChunk(input_tokens=3, unsettled=1),
            id="an unknown cost, as it was stored before",
        ),
        pytest.param(
            '{"type":"usage","known_cost":"2","unsettled":-1}',
            UsageChunk(known_cost=Decimal(2), unsettled=-1),
            id="as it is stored now",
        ),
    ],
)
def test_a_stored_bill_stays_the_same(data: str, usage: UsageChunk) -> None:
    """What was stored by an earlier version costs what it cost then, and is stored again in the new form."""
    read = msgspec.json.decode(data, type=Chunk)
    assert read == usage
    again = msgspec.json.encode(read)
    assert b'"cost"' not in again
    assert through_json(read, Chunk) == usage


@pytest.mark.parametrize("value", [UsageChunk(), UsageChunk(output_tokens=2, unsettled=1)])
def test_fields_of_usage_that_are_0_are_not_stored(value: UsageChunk) -> None:
    """A month of chunks holds what they say, and no zeros."""
    stored = msgspec.json.decode(msgspec.json.encode(value))
    assert stored == {"type": "usage", **{k: v for k, v in msgspec.structs.asdict(value).items() if v}}


@pytest.mark.parametrize(
    ("increments", "known", "cost"),
    [
        pytest.param([(0, 1)], "0", None, id="an answer began"),
        pytest.param([(0, 1), (3, 0)], "3", None, id="and reported something"),
        pytest.param([(0, 1), (3, 0), (2, -1)], "5", "5", id="and ended"),
        pytest.param([(0, 1), (9, -1), (0, 1)], "9", None, id="one ended, another was left early"),
        pytest.param([(0, 1), (9, -1), (0, 1), (0, -1)], "9", "9", id="the other was not billed"),
        pytest.param([(-2, 0)], "-2", "-2", id="a correction"),
    ],
)
def test_a_bill_is_known_or_not(increments: list[tuple[int, int]], known: str, cost: str | None) -> None:
    """`cost` is None as long as a bill is open, and what is sure is known all the same."""
    total = sum((UsageChunk(known_cost=Decimal(dollars), unsettled=opened) for dollars, opened in increments))
    assert isinstance(total, UsageChunk)
    assert total.known_cost == Decimal(known)
    assert total.cost == (None if cost is None else Decimal(cost))


counts = st.integers(-(10**30), 10**30)
wide = st.builds("{}e{}".format, st.integers(-(10**30), 10**30), st.integers(-999, 999)).map(Decimal)
costs = st.decimals(-(10**9), 10**9, places=12) | wide
usages = st.builds(
    UsageChunk,
    input_tokens=counts,
    output_tokens=counts,
    cache_write_tokens=counts,
    cache_read_tokens=counts,
    cache_write_extended_tokens=counts,
    reasoning_tokens=counts,
    web_searches=counts,
    known_cost=costs,
    unsettled=st.integers(-3, 3),
)


@given(usages, usages, usages)
@settings(max_examples=100, deadline=None)
def test_adding_is_associative_and_commutative(a: UsageChunk, b: UsageChunk, c: UsageChunk) -> None:
    """It does not matter in which order increments are added, nor in what groups: turns, calls, months."""
    assert (a + b) + c == a + (b + c)
    assert a + b == b + a


@given(usages)
@settings(max_examples=50, deadline=None)
def test_the_empty_chunk_adds_nothing(usage: UsageChunk) -> None:
    """The empty chunk costs 0 and changes no sum."""
    assert UsageChunk() + usage == usage == usage + UsageChunk()


@given(st.lists(usages, max_size=6))
@settings(max_examples=100, deadline=None)
def test_the_sum_is_the_bill(increments: list[UsageChunk]) -> None:
    """`sum` adds every count by itself; a bill that is open makes the cost unknown, and what is known stays."""
    total = sum(increments, UsageChunk())
    with localcontext(prec=5000):
        for name in UsageChunk.__struct_fields__:
            assert getattr(total, name) == sum(getattr(increment, name) for increment in increments), name
    assert total.cost == (None if total.unsettled > 0 else total.known_cost)
    assert total.prompt_tokens == sum(increment.prompt_tokens for increment in increments)


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        pytest.param(UsageChunk(), 0, id="nothing"),
        pytest.param(
            UsageChunk(input_tokens=1, cache_read_tokens=20, cache_write_tokens=300), 321, id="all of the prompt"
        ),
        pytest.param(
            UsageChunk(cache_write_tokens=300, cache_write_extended_tokens=9), 300, id="extended is part of write"
        ),
        pytest.param(
            UsageChunk(output_tokens=7, reasoning_tokens=5, web_searches=3), 0, id="the answer is not the prompt"
        ),
    ],
)
def test_prompt_tokens(usage: UsageChunk, tokens: int) -> None:
    """The prompt is input, cache reads and cache writes."""
    assert usage.prompt_tokens == tokens


def test_adding_is_deaf_to_the_callers_decimal_context() -> None:
    """A program that computes with three digits does not get a bill of three digits."""
    a, b = UsageChunk(known_cost=Decimal("1000.000001")), UsageChunk(known_cost=Decimal("0.0000004"))
    with localcontext(prec=3):
        assert str((a + b).cost) == "1000.0000014"


@pytest.mark.parametrize("sign", ["", "-"], ids=["a charge", "a correction"])
def test_adding_is_exact_over_any_distance(sign: str) -> None:
    """The smallest of costs is not lost beside the largest, nor found again when that is taken back."""
    huge, tiny = UsageChunk(known_cost=Decimal(f"{sign}1e999")), UsageChunk(known_cost=Decimal(f"{sign}1e-999"))
    back = UsageChunk(known_cost=Decimal("1e999" if sign else "-1e999"))
    assert (huge + tiny).cost == Decimal(f"{sign}1{'0' * 999}.{'0' * 998}1")
    assert (huge + tiny + back).cost == tiny.cost


@pytest.mark.parametrize("other", [1, 0.5, None, "1", TextChunk("a")])
def test_only_usage_adds_to_usage(other: Any) -> None:
    """Adding anything else is an error, not a wrong bill."""
    with pytest.raises(TypeError):
        UsageChunk() + other
    with pytest.raises(TypeError):
        other + UsageChunk()


def test_a_sum_needs_no_start() -> None:
    """`sum` begins with 0, and whoever adds up a month should not have to know that."""
    chunks = [UsageChunk(input_tokens=1, known_cost=Decimal("0.1")), UsageChunk(known_cost=Decimal("0.2"))]
    assert sum(chunks) == sum(chunks, UsageChunk()) == UsageChunk(input_tokens=1, known_cost=Decimal("0.3"))
    with pytest.raises(TypeError):
        1 + chunks[0]
