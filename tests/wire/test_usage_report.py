"""Usage is bookkeeping: a report of any kind costs no answer, and what is not known is not zero."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock import ModelInfo, TextChunk, UsageChunk
from penstock.core.cost import Meter
from penstock.core.dialect import Dialect, Wire
from penstock.testing import anthropic_events, chat_events, responses_message
from penstock.wire.answer_reader import AnswerReader
from penstock.wire.anthropic.answer import AnthropicDecoder
from penstock.wire.usage_report import Counts, read_report
from penstock.wire.vendors import DIALECTS
from reading import DAY, DECODERS, PRICED, read, read_openai, text_of, usage_of

SAID: Final = [{"type": "message", "content": [{"type": "output_text", "text": "All of it."}]}]
FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "messages": (
        *("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation"),
        *("output_tokens_details", "server_tool_use", "service_tier", "speed", "inference_geo", "iterations"),
    ),
    "chat": (
        *("prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "completion_tokens_details"),
        *("prompt_cache_hit_tokens", "cached_tokens", "server_tool_use_details", "cost", "service_tier"),
    ),
    "responses": ("input_tokens", "output_tokens", "total_tokens", "input_tokens_details", "output_tokens_details"),
}
ANY: Final[list[Any]] = [None, True, -3, 1.5, 10**30, "", "12", "many", [], [1], {}, {"a": 1}, [[[[]]]], {"ttl": {}}]


class Report(msgspec.Struct):
    count: int | None = None
    word: str | None = None
    inner: Inner | None = None


class Inner(msgspec.Struct):
    count: int | None = None
    other: int | None = None


@pytest.mark.parametrize(
    ("raw", "report", "wrong"),
    [
        pytest.param(b"", None, set(), id="nothing"),
        pytest.param(b"null", None, set(), id="null"),
        pytest.param(b'{"count":3,"word":"a"}', Report(count=3, word="a"), set(), id="as it should be"),
        pytest.param(b'{"count":3.0}', Report(count=3), set(), id="a whole number with a point"),
        pytest.param(b'{"count":1e2}', Report(count=100), set(), id="a whole number with an exponent"),
        pytest.param(b'{"count":3.5,"word":"a"}', Report(word="a"), {"count"}, id="half a token"),
        pytest.param(b'{"count":true}', Report(), {"count"}, id="a truth value"),
        pytest.param(b'{"count":"3"}', Report(), {"count"}, id="a text"),
        pytest.param(b'{"count":1e999}', Report(), {"count"}, id="no number"),
        pytest.param(b'{"word":"\xff","count":3}', Report(count=3), {"word"}, id="no text"),
        pytest.param(
            b'{"inner":{"count":"x","other":4}}', Report(inner=Inner(other=4)), {"inner"}, id="inside an object"
        ),
        pytest.param(b'{"inner":[1],"count":2}', Report(count=2), {"inner"}, id="a list for an object"),
        pytest.param(b'"none"', None, {"usage"}, id="a word"),
        pytest.param(b"[3]", None, {"usage"}, id="a list"),
        pytest.param(b"3", None, {"usage"}, id="a number"),
    ],
)
def test_a_report_is_read_field_by_field(raw: bytes, report: Report | None, wrong: set[str]) -> None:
    """What is not what it should be is left out, and known to be."""
    assert read_report(Report, raw) == (report, frozenset(wrong))


CONTENT: Final = None  # in a sequence of reports: something of the answer has come
SEQUENCES: list[Any] = [
    pytest.param([{"prompt": 9, "output": 3}], (9, 3), True, id="and nothing was shown"),
    pytest.param([CONTENT, {"prompt": 9, "output": 3}], (9, 3), True, id="at the end"),
    pytest.param([{"prompt": 9, "output": 1}, CONTENT, {"output": 3}], (9, 3), True, id="one at each end"),
    pytest.param([{"prompt": 9, "output": 1}, CONTENT], (9, 1), False, id="only at the beginning"),
    pytest.param(
        [CONTENT, {"prompt": 9, "output": 3}, {"prompt": 0, "output": 0}], (9, 3), True, id="zeros at the end"
    ),
    pytest.param([CONTENT, {"prompt": 9, "output": 3}, {"prompt": 12, "output": 0}], (12, 3), True, id="output zero"),
    pytest.param([CONTENT, {"prompt": 9, "output": 3}, {"prompt": 0, "output": 5}], (9, 5), True, id="prompt zero"),
    pytest.param(
        [CONTENT, {"prompt": 9, "output": 3}, {"prompt": 7, "output": 2}], (7, 2), True, id="corrections down"
    ),
    pytest.param([CONTENT, {"prompt": 9, "output": 3}, {"prompt": None, "output": None}], (9, 3), True, id="nulls"),
    pytest.param([CONTENT, {"prompt": 0, "output": 0}], (0, 0), False, id="zeros throughout, and something was shown"),
    pytest.param([{"prompt": 0, "output": 0}], (0, 0), True, id="zeros throughout, and nothing was shown"),
    pytest.param([{"prompt": 9, "output": 0}], (9, 0), True, id="a prompt and no answer"),
    pytest.param([{"prompt": 20, "output": 1}, {"output": 0}], (20, 0), True, id="a refusal takes its token back"),
    pytest.param([CONTENT, {"prompt": 9, "output": 0}], (9, 0), False, id="no output, and something was shown"),
    pytest.param([CONTENT, {"prompt": 9}], (9, 0), False, id="no word of the output"),
    pytest.param([CONTENT, {"output": 3}], (0, 3), False, id="no word of the prompt"),
    pytest.param([CONTENT, {"prompt": -5, "output": 3}], (0, 3), False, id="fewer than none"),
    pytest.param([CONTENT, {"prompt": -5, "output": 3}, {"prompt": 5}], (5, 3), True, id="and then as it should be"),
    pytest.param([CONTENT, {"prompt": 0, "read": 8, "output": 3}], (0, 3), True, id="all of it from the cache"),
    pytest.param([], (0, 0), False, id="no report"),
]


@pytest.mark.parametrize(("steps", "counts", "told"), SEQUENCES)
def test_a_later_report_replaces_an_earlier_one(
    steps: list[dict[str, int | None] | None], counts: tuple[int, int], told: bool
) -> None:
    """Field by field, but for zeros that cannot be true; and whether all has been counted is known."""
    found = Counts()
    for step in steps:
        if step is CONTENT:
            found.content = True
        else:
            found.take(step)
    assert (found["prompt"], found["output"]) == counts
    assert found.told == told


def answer(wire: str, usage: Any) -> list[Any]:
    """What is read of an answer with this usage at its end."""
    if wire == "messages":
        body = b"".join(anthropic_events({"type": "text", "text": "All of it."}))
        place = body.rindex(b'"usage":')
        end = body.index(b"}\n\n", place)
        return read([body[:place] + b'"usage":' + msgspec.json.encode(usage) + body[end:]])
    if wire == "chat":
        event = {"choices": [{"index": 0, "delta": {"content": "All of it."}, "finish_reason": "stop"}]}
        last = {"choices": [], "usage": usage}
        body = b"".join(b"data: %b\n\n" % msgspec.json.encode(one) for one in (event, last)) + b"data: [DONE]\n\n"
        return read_openai([body])
    events = list(responses_message(*SAID))
    document = msgspec.json.decode(events[-1].partition(b"data: ")[2])
    document["response"]["usage"] = usage
    events[-1] = b"event: response.completed\ndata: %b\n\n" % msgspec.json.encode(document)
    return read_openai([b"".join(events)], "openai", "responses")


@pytest.mark.parametrize("wire", FIELDS)
@pytest.mark.parametrize("value", ANY, ids=repr)
def test_a_usage_of_any_kind_costs_no_answer(wire: str, value: Any) -> None:
    """The text comes, and the bill is open: none of these is a report."""
    chunks = answer(wire, value)
    assert text_of(chunks) == "All of it."
    assert usage_of(chunks).unsettled == 1


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@given(wire=st.sampled_from(sorted(FIELDS)), data=st.data())
@settings(max_examples=300, deadline=None)
def test_a_field_of_any_kind_costs_no_answer(wire: str, data: st.DataObject) -> None:
    """The text comes, the sum is never negative, and money that is not known is not zero."""
    usage = data.draw(st.dictionaries(st.sampled_from(FIELDS[wire]), json, max_size=5))
    chunks = answer(wire, usage)
    assert text_of(chunks) == "All of it."
    total = usage_of(chunks)
    assert all(value >= 0 for value in msgspec.structs.asdict(total).values())
    if total.cost is not None:
        assert total.prompt_tokens > 0
        assert total.output_tokens > 0


OTHERS: list[Any] = [
    pytest.param("openai", {"prompt_tokens_details": {"audio_tokens": 4}}, False, id="sound in the prompt"),
    pytest.param("openai", {"completion_tokens_details": {"audio_tokens": 4}}, False, id="a voice"),
    pytest.param("openai", {"completion_tokens_details": {"image_tokens": 4}}, False, id="a picture that was made"),
    pytest.param("xai", {"prompt_tokens_details": {"image_tokens": 4}}, True, id="a picture in the prompt is text"),
    pytest.param("openai", {"prompt_tokens_details": {"video_tokens": 4}}, True, id="a film in the prompt is text"),
    pytest.param("openai", {"total_tokens": 99}, False, id="tokens that only the total shows"),
    pytest.param("google", {"total_tokens": 99}, True, id="where they are thoughts"),
    pytest.param("mistral", {"total_tokens": 99}, False, id="where they are sound"),
    pytest.param("openai", {"total_tokens": 14}, True, id="a total that is the sum"),
    pytest.param("openai", {"total_tokens": 3}, True, id="a total that is too low"),
    pytest.param("openrouter", {"total_tokens": 99, "cost": 0.25}, True, id="where the vendor states the cost"),
]


@pytest.mark.parametrize(("vendor", "more", "known"), OTHERS)
def test_tokens_that_are_no_text(vendor: str, more: dict[str, Any], known: bool) -> None:
    """Their price is not that of text: unless somebody has said it, the bill is open."""
    usage = {"prompt_tokens": 10, "completion_tokens": 4, **more}
    event = {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}], "usage": usage}
    body = b"data: %b\n\ndata: [DONE]\n\n" % msgspec.json.encode(event)
    assert (usage_of(read_openai([body], vendor)).cost is not None) == known


def test_sound_has_a_price_of_its_own_where_it_is_said() -> None:
    """Mistral's count of it is only in the total."""
    usage = {"prompt_tokens": 9, "completion_tokens": 201, "total_tokens": 585}
    event = {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}], "usage": usage}
    body = b"data: %b\n\ndata: [DONE]\n\n" % msgspec.json.encode(event)
    info = ModelInfo(input_price=Decimal(1), output_price=Decimal(2), audio_input_price=Decimal(4))
    total = usage_of(read_openai([body], "mistral", info=info))
    assert (total.input_tokens, total.output_tokens) == (384, 201)
    assert total.cost == Decimal(9 + 2 * 201 + 4 * 375) / 10**6


@pytest.mark.parametrize("row", [*DIALECTS.values()], ids=lambda row: row.name)
@pytest.mark.parametrize("dollars", ["0", "0.5", "1000000000"])
def test_a_statement_is_the_bill_where_the_row_says_so(row: Dialect, dollars: str) -> None:
    """Elsewhere it is a gateway's guess, and the user's own prices count; what is called an estimate counts nowhere."""
    guesses = {"estimated_cost": 7, "cost_estimate": 7, "market_cost": 7}
    for wire in row.wires:
        meter = Meter(PRICED, DAY)
        decoder = AnthropicDecoder(meter, row) if wire == "messages" else DECODERS[wire](meter, row)
        reader = AnswerReader(decoder)
        usage: dict[str, Any] = {"cost": float(dollars), **guesses}
        if wire == "chat":
            usage |= {"prompt_tokens": 10, "completion_tokens": 4}
            event = {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}], "usage": usage}
            body = b"data: %b\n\ndata: [DONE]\n\n" % msgspec.json.encode(event)
        elif wire == "responses":
            answered = {"id": "r", "status": "completed", "output": SAID}
            usage |= {"input_tokens": 10, "output_tokens": 4}
            body = msgspec.json.encode({"object": "response", **answered, "usage": usage})
        else:
            usage |= {"input_tokens": 10, "output_tokens": 4}
            said = {"type": "message", "content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn"}
            body = msgspec.json.encode({**said, "usage": usage})
        total = usage_of([*reader.feed(body), *reader.close()])
        assert total.cost == Decimal(dollars if row.states_cost else "0.00009"), wire


FEES: list[Any] = [
    pytest.param("openai", {"model": "gpt-4o-search-preview"}, {}, id="a model that searches"),
    pytest.param("openai", {"model": "gpt-5-search-api-2025-10-14"}, {}, id="another one"),
    pytest.param("groq", {"model": "groq/compound-mini"}, {}, id="several models behind one name"),
    pytest.param(
        "groq", {"model": "openai/gpt-oss-120b"}, {"executed_tools": [{"type": "search"}]}, id="its own tools"
    ),
]


@pytest.mark.parametrize(("vendor", "head", "delta"), FEES)
@pytest.mark.parametrize("wire", ["chat"])
def test_a_fee_that_no_count_shows(vendor: str, head: dict[str, Any], delta: dict[str, Any], wire: Wire) -> None:
    """The tokens are sure, and the fee is not known."""
    usage = {"prompt_tokens": 10, "completion_tokens": 4}
    choice = {"index": 0, "delta": {"content": "Hi", **delta}, "finish_reason": "stop"}
    body = b"data: %b\n\ndata: [DONE]\n\n" % msgspec.json.encode({**head, "choices": [choice], "usage": usage})
    found = usage_of(read_openai([body], vendor, wire))
    assert found == UsageChunk(input_tokens=10, output_tokens=4, known_cost=Decimal("0.00009"), unsettled=1)


def test_calls_of_a_program_were_counted_with_it() -> None:
    """Anthropic reports zeros for an answer that a program's code has made, and they are true."""
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {"x": 1}}
    for caller, open_bills in (({"type": "code_execution_20260120", "tool_id": "s"}, 0), ({"type": "direct"}, 1)):
        body = {
            "type": "message",
            "content": [{**call, "caller": caller}],
            "stop_reason": "tool_use",
            "usage": {"input_tokens": 0, "output_tokens": 0},
        }
        assert usage_of(read([msgspec.json.encode(body)])) == UsageChunk(unsettled=open_bills)


def test_a_stream_with_usage_on_each_event_reads_as_its_last() -> None:
    """And an event whose usage is null is no report."""
    events = list(chat_events(text="Hi there"))
    assert any(isinstance(chunk, TextChunk) for chunk in read_openai([b"".join(events)]))
