"""Anthropic's events to chunks: every kind of block, every hazard, wherever the bytes are cut."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock import (
    AuthenticationError,
    Chunk,
    InvalidRequestError,
    MalformedResponseError,
    OpaqueChunk,
    OverloadedError,
    PriceSheet,
    ProviderError,
    ProviderTimeoutError,
    QuotaExceededError,
    RateLimitError,
    ReasoningChunk,
    ServerError,
    StopChunk,
    StreamInterruptedError,
    TextChunk,
    TokenLimitError,
    ToolCallDeltaChunk,
    UsageChunk,
)
from penstock.testing import anthropic_events, anthropic_message
from reading import PRICED, attempt, calls_of, cut, read, reasoning_of, stop_of, text_of, usage_of


def event(name: str, **fields: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode({"type": name, **fields}))


def start(index: int, **block: Any) -> bytes:
    return event("content_block_start", index=index, content_block=block)


def delta(index: int, kind: str, **fields: Any) -> bytes:
    return event("content_block_delta", index=index, delta={"type": kind, **fields})


def stop(index: int) -> bytes:
    return event("content_block_stop", index=index)


def end(reason: str | None = "end_turn", **usage: Any) -> bytes:
    return event("message_delta", delta={"stop_reason": reason}, usage=usage or None) + event("message_stop")


def begin(**usage: Any) -> bytes:
    return event("message_start", message={"id": "msg_1", "model": "m", "usage": usage or None})


TEXT = start(0, type="text", text="") + delta(0, "text_delta", text="Hi") + stop(0)
CITATION = {"type": "char_location", "cited_text": "x", "document_index": 0}


def joined(chunks: list[Chunk]) -> list[Chunk]:
    """Without the deltas and the usage, which have tests of their own."""
    return [chunk for chunk in chunks if not isinstance(chunk, ToolCallDeltaChunk | UsageChunk | StopChunk)]


BLOCKS = [
    pytest.param(TEXT, [TextChunk("Hi")], id="text"),
    pytest.param(
        start(0, type="text", text="He") + delta(0, "text_delta", text="y"),
        [TextChunk("He"), TextChunk("y")],
        id="text in the start of its block",
    ),
    pytest.param(start(0, type="text", text="") + delta(0, "text_delta", text="") + stop(0), [], id="no text at all"),
    pytest.param(
        start(0, type="thinking", thinking="", signature="")
        + delta(0, "thinking_delta", thinking="Hm")
        + delta(0, "signature_delta", signature="Es4=")
        + stop(0),
        [ReasoningChunk(text="Hm"), ReasoningChunk(proof="Es4=", vendor="anthropic")],
        id="thinking with its signature",
    ),
    pytest.param(
        start(0, type="thinking", thinking="", signature="") + delta(0, "signature_delta", signature="Es4=") + stop(0),
        [ReasoningChunk(proof="Es4=", vendor="anthropic")],
        id="thinking that is not shown",
    ),
    pytest.param(
        start(0, type="thinking", thinking="Hm", signature="Es4=") + stop(0),
        [ReasoningChunk(text="Hm"), ReasoningChunk(proof="Es4=", vendor="anthropic")],
        id="thinking in the start of its block",
    ),
    pytest.param(
        start(0, type="redacted_thinking", data="EmwK") + stop(0),
        [ReasoningChunk(proof="EmwK", redacted=True, vendor="anthropic")],
        id="redacted thinking",
    ),
    pytest.param(
        start(0, type="redacted_thinking") + stop(0) + start(1, type="text", text="Hi") + stop(1),
        [TextChunk("Hi")],
        id="redacted thinking without its data",
    ),
    pytest.param(
        start(0, type="server_tool_use", id="s1", name="web_search", input={})
        + delta(0, "input_json_delta", partial_json='{"query":')
        + delta(0, "input_json_delta", partial_json=' "x"}')
        + stop(0),
        [
            OpaqueChunk(
                vendor="anthropic",
                data='{"type":"server_tool_use","id":"s1","name":"web_search","input":{"query": "x"}}',
            )
        ],
        id="a server tool's call gets its input",
    ),
    pytest.param(
        start(0, type="web_search_tool_result", tool_use_id="s1", content=[{"url": "u"}]) + stop(0),
        [
            OpaqueChunk(
                vendor="anthropic",
                data='{"type":"web_search_tool_result","tool_use_id":"s1","content":[{"url":"u"}]}',
            )
        ],
        id="a server tool's result is kept as it came",
    ),
    pytest.param(
        start(0, type="compaction", content=None, encrypted_content=None)
        + delta(0, "compaction_delta", content="short", encrypted_content="E")
        + stop(0),
        [OpaqueChunk(vendor="anthropic", data='{"type":"compaction","content":"short","encrypted_content":"E"}')],
        id="a compaction",
    ),
    pytest.param(
        start(0, type="text", text="", citations=[])
        + delta(0, "citations_delta", citation=CITATION)
        + delta(0, "text_delta", text="It ")
        + delta(0, "text_delta", text="is")
        + stop(0),
        [
            TextChunk("It "),
            TextChunk("is"),
            OpaqueChunk(
                vendor="anthropic",
                data='{"type":"text","text":"It is","citations":[{"type":"char_location","cited_text":"x",'
                '"document_index":0}]}',
                text="It is",
            ),
        ],
        id="cited text is kept whole for the next turn",
    ),
    pytest.param(
        start(0, type="text", text="", citations=[]) + delta(0, "text_delta", text="It") + stop(0),
        [TextChunk("It")],
        id="text that could have been cited and was not",
    ),
    pytest.param(
        start(0, type="hologram", data={"x": 1}) + delta(0, "hologram_delta", light="y") + stop(0) + TEXT,
        [OpaqueChunk(vendor="anthropic", data='{"type":"hologram","data":{"x":1}}'), TextChunk("Hi")],
        id="an unknown block with an unknown delta",
    ),
    pytest.param(
        start(0, type="server_tool_use", id="s", name="n", input={}) + delta(0, "input_json_delta", partial_json='{"q'),
        [],
        id="a server tool's call that was cut off is no finished block",
    ),
    pytest.param(event("weather", sky="blue") + TEXT + event("ping"), [TextChunk("Hi")], id="an unknown event"),
    pytest.param(
        TEXT.replace(b"event: content_block_delta\n", b"").replace(b"event: content_block_start", b"event: message"),
        [TextChunk("Hi")],
        id="events without their name",
    ),
    pytest.param(TEXT.replace(b'"Hi"', b'"\xff"'), [TextChunk("\ufffd")], id="invalid UTF-8"),
    pytest.param(
        TEXT.replace(b'"Hi"', b'"a\\ud83d"'), [TextChunk("a"), TextChunk("\ufffd")], id="half a surrogate pair"
    ),
    pytest.param(TEXT.replace(b'"Hi"', b"null"), [], id="null text"),
    pytest.param(delta(0, "text_delta", text="Hi"), [TextChunk("Hi")], id="a delta without its block"),
    pytest.param(event("content_block_delta", index=0, delta=None) + TEXT, [TextChunk("Hi")], id="a null delta"),
    pytest.param(stop(7) + TEXT, [TextChunk("Hi")], id="the end of a block that never began"),
    pytest.param(
        start(0, type="text", text="", extra=[1], citations=None)
        + delta(0, "text_delta", text="Hi", more={})
        + stop(0),
        [TextChunk("Hi")],
        id="unknown fields",
    ),
]


@pytest.mark.parametrize(("events", "chunks"), BLOCKS)
def test_blocks(events: bytes, chunks: list[Chunk]) -> None:
    """Each kind of block becomes its chunks, in pieces of any size."""
    body = begin(input_tokens=3) + events + end()
    for size in (len(body), 1, 2, 13):
        assert joined(read(cut(body, size))) == chunks


def call(index: int, arguments: str, *, ended: bool = True, id_: str = "") -> bytes:
    pieces = [arguments[place : place + 3] for place in range(0, len(arguments), 3)]
    return (
        start(index, type="tool_use", id=id_ or f"t{index}", name="f", input={})
        + b"".join(delta(index, "input_json_delta", partial_json=piece) for piece in ("", *pieces))
        + (stop(index) if ended else b"")
    )


CALLS = [
    pytest.param(call(0, '{"x": 1}') + end("tool_use"), ['{"x": 1}'], "tool_calls", id="one call, its text untouched"),
    pytest.param(call(0, "") + end("tool_use"), ["{}"], "tool_calls", id="a call without arguments"),
    pytest.param(
        call(0, "") + call(1, '{"a":1}') + end("tool_use"),
        ["{}", '{"a":1}'],
        "tool_calls",
        id="a call without arguments and another",
    ),
    pytest.param(
        call(0, '{"a":1}', ended=False) + call(1, '{"b":2}', ended=False) + stop(0) + stop(1) + end("tool_use"),
        ['{"a":1}', '{"b":2}'],
        "tool_calls",
        id="blocks that all end at the end, as llama.cpp's do",
    ),
    pytest.param(
        call(0, "", ended=False) + call(1, '{"b":2}', ended=False) + end("tool_use"),
        ["{}", '{"b":2}'],
        "tool_calls",
        id="blocks that never end",
    ),
    pytest.param(call(0, '{"a":"x') + end("max_tokens"), [], "length", id="cut off by the limit: never delivered"),
    pytest.param(call(0, "") + end("max_tokens"), [], "length", id="cut off before the first argument"),
    pytest.param(
        call(0, '{"a":1}') + call(1, '{"b":') + end("max_tokens"),
        ['{"a":1}'],
        "length",
        id="the second of two is cut off",
    ),
    pytest.param(call(0, '{"a":1}') + end("max_tokens"), ['{"a":1}'], "tool_calls", id="whole although at the limit"),
    pytest.param(call(0, '{"a":1}') + end("end_turn"), ['{"a":1}'], "tool_calls", id="the vendor's word is another"),
    pytest.param(call(0, '{"a":') + end("refusal"), [], "refusal", id="a refusal inside the arguments"),
    pytest.param(
        start(0, type="tool_use", id="t0", name="f", input={"x": [1]}) + stop(0) + end("tool_use"),
        ['{"x":[1]}'],
        "tool_calls",
        id="the whole call in the start of its block",
    ),
    pytest.param(
        start(0, type="tool_use", id="t0", name="f") + stop(0) + end("tool_use"),
        ["{}"],
        "tool_calls",
        id="no input at all",
    ),
]


@pytest.mark.parametrize(("events", "arguments", "reason"), CALLS)
def test_tool_calls_are_delivered_only_when_whole(events: bytes, arguments: list[str], reason: str) -> None:
    """A call comes once, complete and in order, or not at all."""
    for size in (len(events), 1, 17):
        chunks = read(cut(begin() + events, size))
        assert [made.arguments for made in calls_of(chunks)] == arguments
        assert stop_of(chunks).reason == reason


@pytest.mark.parametrize(
    ("events", "calls"),
    [
        pytest.param(call(0, '{"a":') + end("tool_use"), ['{"a":'], id="the last call"),
        pytest.param(
            call(0, '{"a":') + call(1, "{}") + end("tool_use"), ['{"a":', "{}"], id="a call with another behind it"
        ),
        pytest.param(
            call(0, '{"a":') + TEXT.replace(b'"index":0', b'"index":1') + end("max_tokens"), [], id="cut after a text"
        ),
        pytest.param(call(0, '{"a":') + call(1, "{}") + end("pause_turn"), ["{}"], id="a pause is no end of a call"),
        pytest.param(call(0, '{"a":') + end("a_new_word"), [], id="nor is a word that nobody knows"),
    ],
)
def test_broken_arguments_are_told_after_a_normal_end_only(events: bytes, calls: list[str]) -> None:
    """They wait for the end, as it says whether they are the model's mistake or were cut."""
    chunks = read([begin() + events])
    assert [made.arguments for made in calls_of(chunks)] == calls
    assert [made.problem is None for made in calls_of(chunks)] == [made.arguments == "{}" for made in calls_of(chunks)]


def test_a_call_is_delivered_while_the_rest_still_streams() -> None:
    """A loop can start a whole call before the message ends."""
    chunks, error = attempt([begin() + call(0, '{"a":1}')])
    assert isinstance(error, StreamInterruptedError)
    assert calls_of(chunks)


def test_deltas_show_a_call_as_it_comes() -> None:
    """The first has the name and no arguments; together they are the arguments."""
    deltas = [
        chunk
        for chunk in read([begin() + call(0, '{"x":12}') + end("tool_use")])
        if isinstance(chunk, ToolCallDeltaChunk)
    ]
    assert deltas[0] == ToolCallDeltaChunk(id="t0", name="f", arguments="")
    assert "".join(one.arguments for one in deltas) == '{"x":12}'


STOPS = [
    pytest.param("end_turn", "stop", id="end of turn"),
    pytest.param("stop_sequence", "stop", id="stop sequence"),
    pytest.param("max_tokens", "length", id="limit"),
    pytest.param("model_context_window_exceeded", "length", id="context window"),
    pytest.param("refusal", "refusal", id="refusal"),
    pytest.param("pause_turn", "pause", id="pause"),
    pytest.param("compaction", "pause", id="compaction"),
    pytest.param("sunset", "other", id="a word nobody knows yet"),
    pytest.param(None, "other", id="no word"),
]


@pytest.mark.parametrize(("word", "reason"), STOPS)
def test_stop_reasons(word: str | None, reason: str) -> None:
    """Each word has its reason, and the word is kept."""
    assert stop_of(read([begin() + TEXT + end(word)])) == StopChunk(
        reason=reason,  # type: ignore[arg-type]
        raw_reason=word,
        response_id="msg_1",
        model="m",
    )


def test_the_matched_stop_sequence_is_told() -> None:
    """So that a loop knows which of them it was."""
    body = begin() + event("message_delta", delta={"stop_reason": "stop_sequence", "stop_sequence": "END"})
    assert stop_of(read([body + event("message_stop")])).stop_sequence == "END"


USAGES = [
    pytest.param(
        [{"input_tokens": 10, "output_tokens": 1}, {"output_tokens": 9}],
        (10, 9, 0, 0, 0),
        id="the first output count is a placeholder",
    ),
    pytest.param(
        [
            {"input_tokens": 12, "cache_read_input_tokens": 40, "cache_creation_input_tokens": 9, "output_tokens": 1},
            {"input_tokens": 12, "cache_read_input_tokens": 40, "cache_creation_input_tokens": 9, "output_tokens": 8},
        ],
        (12, 8, 9, 40, 0),
        id="cumulative counts are not added up twice",
    ),
    pytest.param(
        [
            {"input_tokens": 10, "cache_creation_input_tokens": 50},
            {"input_tokens": 30, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 120, "output_tokens": 5},
        ],
        (30, 5, 0, 120, 0),
        id="explicit zeros replace",
    ),
    pytest.param(
        [{"input_tokens": 5000}, {"input_tokens": 1000, "cache_read_input_tokens": 4000, "output_tokens": 1}],
        (1000, 1, 0, 4000, 0),
        id="a gateway's first report held the cache, its last one does not",
    ),
    pytest.param(
        [
            {"input_tokens": 5, "cache_creation_input_tokens": 70, "cache_read_input_tokens": 9},
            {"input_tokens": 84, "output_tokens": 2},
        ],
        (84, 2, 70, 9, 0),
        id="what a later report leaves out stands",
    ),
    pytest.param(
        [
            {"input_tokens": 10, "cache_read_input_tokens": 1000, "output_tokens": 1},
            {"input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 0},
        ],
        (10, 1, 0, 1000, 0),
        id="zeros that cannot be true replace nothing",
    ),
    pytest.param(
        [
            {"input_tokens": 10, "cache_read_input_tokens": 1000, "output_tokens": 1},
            {
                "input_tokens": 300,
                "cache_read_input_tokens": 0,
                "cache_creation_input_tokens": None,
                "output_tokens": 7,
            },
        ],
        (300, 7, 0, 0, 0),
        id="a zero beside other counts is true",
    ),
    pytest.param(
        [
            {
                "input_tokens": 1,
                "cache_creation_input_tokens": 30,
                "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
            },
            {"input_tokens": 1, "cache_creation_input_tokens": 30, "output_tokens": 3},
        ],
        (1, 3, 30, 0, 20),
        id="the split by lifetime stays",
    ),
    pytest.param(
        [
            {"input_tokens": 1, "cache_creation_input_tokens": 30},
            {
                "output_tokens": 3,
                "cache_creation_input_tokens": 30,
                "input_tokens": 1,
                "cache_creation": {"ephemeral_1h_input_tokens": 20},
            },
        ],
        (1, 3, 30, 0, 20),
        id="the split comes in the last event",
    ),
    pytest.param(
        [
            {"input_tokens": 1, "cache_creation_input_tokens": 30, "cache_creation": {"ephemeral_1h_input_tokens": 20}},
            {"input_tokens": 1, "cache_creation_input_tokens": 45, "output_tokens": 3},
        ],
        (1, 3, 45, 0, 20),
        id="what is written beyond the split is short-lived",
    ),
    pytest.param(
        [{"input_tokens": None, "cache_read_input_tokens": None, "cache_creation": None}, {"output_tokens": 4}],
        (0, 4, 0, 0, 0),
        id="nulls",
    ),
    pytest.param([None, None], (0, 0, 0, 0, 0), id="nothing reported"),
    pytest.param(
        [{"input_tokens": -5, "output_tokens": -1}, {"output_tokens": 4}], (0, 4, 0, 0, 0), id="negative counts"
    ),
]


@pytest.mark.parametrize(("reports", "counts"), USAGES)
def test_the_sum_of_the_increments_is_the_last_report(
    reports: list[Mapping[str, Any] | None], counts: tuple[int, ...]
) -> None:
    """A later report replaces an earlier one, and the increments add up to it."""
    first, *rest = reports
    body = event("message_start", message={"id": "m", "usage": first}) + TEXT
    for report in rest:
        body += event("message_delta", delta={"stop_reason": "end_turn"}, usage=report)
    usage = usage_of(read([body + event("message_stop")]))
    assert (
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_write_tokens,
        usage.cache_read_tokens,
        usage.cache_write_extended_tokens,
    ) == counts


def test_a_vendor_that_reports_nothing_leaves_the_bill_open() -> None:
    """Unknown is not zero."""
    assert usage_of(read([begin() + TEXT + end()])) == UsageChunk(unsettled=1)


COSTS = [
    pytest.param({"input_tokens": 1_000_000}, {}, "3", id="input"),
    pytest.param(
        {"cache_creation_input_tokens": 2_000_000, "cache_creation": {"ephemeral_1h_input_tokens": 1_000_000}},
        {},
        "9.75",
        id="writes of both lifetimes",
    ),
    pytest.param(
        {"input_tokens": 1_000_000}, {"server_tool_use": {"web_search_requests": 3}}, "3.03", id="web searches"
    ),
    pytest.param(
        {"input_tokens": 1_000_000, "service_tier": "standard", "inference_geo": "global"},
        {},
        "3",
        id="the standard tier",
    ),
    pytest.param({"input_tokens": 1_000_000, "service_tier": "priority"}, {}, None, id="a tier without a price"),
    pytest.param({"input_tokens": 1_000_000, "speed": "fast"}, {}, "6", id="the fast speed"),
    pytest.param(
        {"input_tokens": 1_000_000, "speed": "fast", "inference_geo": "us"}, {}, "6.6", id="fast in one region"
    ),
    pytest.param(
        {"input_tokens": 0},
        {"iterations": [{"type": "compaction", "input_tokens": 1_000_000}, {"type": "message", "input_tokens": 5}]},
        "3",
        id="a compaction is billed beside the counts",
    ),
    pytest.param(
        {"input_tokens": 1},
        {"iterations": [{"type": "advisor_message", "model": "other"}]},
        None,
        id="another model's work has no known price",
    ),
]


@pytest.mark.parametrize(("first", "last", "dollars"), COSTS)
def test_cost(first: Mapping[str, Any], last: Mapping[str, Any], dollars: str | None) -> None:
    """The sum of the increments' costs is what the call costs, or unknown, but never too little."""
    info = msgspec.structs.replace(
        PRICED,
        variants={"fast": PriceSheet(input_price=Decimal(6)), "fast+us": PriceSheet(input_price=Decimal("6.6"))},
    )
    body = event("message_start", message={"usage": {"input_tokens": 0, **first}})
    body += event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 0, **last})
    body += event("message_stop")
    cost = usage_of(read([body], info)).cost
    assert cost == (None if dollars is None else Decimal(dollars))


ERRORS = [
    pytest.param("overloaded_error", "Overloaded", OverloadedError, True, id="overloaded"),
    pytest.param("api_error", "Internal", ServerError, True, id="server"),
    pytest.param("rate_limit_error", "Slow down", RateLimitError, True, id="rate limit"),
    pytest.param("timeout_error", "Too slow", ProviderTimeoutError, True, id="timeout"),
    pytest.param("invalid_request_error", "No", InvalidRequestError, False, id="invalid"),
    pytest.param(
        "invalid_request_error", "prompt is too long: 9 tokens > 8 maximum", TokenLimitError, False, id="overflow"
    ),
    pytest.param("invalid_request_error", "Your credit balance is too low", QuotaExceededError, False, id="credit"),
    pytest.param("authentication_error", "bad key", AuthenticationError, False, id="authentication"),
    pytest.param("novel_error", "?", ServerError, True, id="unknown"),
]


@pytest.mark.parametrize(("kind", "message", "class_", "retryable"), ERRORS)
def test_errors_inside_a_stream(kind: str, message: str, class_: type[ProviderError], retryable: bool) -> None:
    """The type decides, as there is no status any more; what came before it is delivered first."""
    failure = event("error", error={"type": kind, "message": message}, request_id="req_1")
    for size in (10_000, 5):
        chunks, error = attempt(cut(begin(input_tokens=3) + TEXT + failure + TEXT, size))
        assert type(error) is class_
        assert (error.retryable, error.request_id, error.status) == (retryable, "req_1", None)
        assert text_of(chunks) == "Hi"


BODIES = [
    pytest.param(
        b"<html><body>Bad gateway</body></html>", MalformedResponseError, "web page.*Bad gateway", id="a web page"
    ),
    pytest.param(b"   \n<!doctype html>", MalformedResponseError, "web page", id="a web page after white space"),
    pytest.param(b"", StreamInterruptedError, "empty", id="nothing"),
    pytest.param(b"\n\n", StreamInterruptedError, "empty", id="white space"),
    pytest.param(b": ping\n\n: ping\n\n", StreamInterruptedError, "before", id="only comments"),
    pytest.param(
        b'{"type":"error","error":{"type":"overloaded_error","message":"Busy"}}',
        OverloadedError,
        "Busy",
        id="an error with status 200",
    ),
    pytest.param(b'{"hello": 1}', MalformedResponseError, "hello", id="other JSON"),
    pytest.param(b'[{"a": 1}]', MalformedResponseError, "malformed", id="a JSON array"),
    pytest.param(b'{"type":"message","content":[', MalformedResponseError, "malformed", id="half a JSON document"),
    pytest.param(
        begin() + b"event: content_block_delta\ndata: {oops\n\n",
        MalformedResponseError,
        "content_block_delta.*oops",
        id="an event that is not JSON",
    ),
    pytest.param(begin() + b"data: oops\n\n", MalformedResponseError, "oops", id="an unnamed event that is not JSON"),
    pytest.param(begin() + TEXT, StreamInterruptedError, "before the vendor said", id="no end"),
    pytest.param(
        begin() + TEXT + event("message_delta", delta={"stop_reason": "end_turn"}),
        StreamInterruptedError,
        "before",
        id="a stop reason without the end",
    ),
    pytest.param(
        begin() + TEXT + b'event: message_stop\ndata: {"type":"mess',
        StreamInterruptedError,
        "before",
        id="the last event is cut",
    ),
    pytest.param(
        begin()
        + b"event: x\ndata: "
        + b"[" * 5000
        + b"\n\n"
        + b"event: content_block_delta\ndata: "
        + b"[" * 100_000
        + b"\n\n",
        MalformedResponseError,
        "malformed",
        id="nested without end",
    ),
    pytest.param(
        begin() + b'event: content_block_start\ndata: {"index":0,"block":{"type":"tool_use","id":"t","name":"f"}}\n\n',
        MalformedResponseError,
        "malformed",
        id="a block that begins without itself, and may have been a call",
    ),
]


@pytest.mark.parametrize(("body", "error", "words"), BODIES)
def test_what_is_no_answer_is_an_error(body: bytes, error: type[ProviderError], words: str) -> None:
    """Never an empty success, wherever the bytes are cut."""
    for size in (max(1, len(body)), 3):
        with pytest.raises(error, match=words) as raised:
            read(cut(body, size))
        assert raised.type is error


PIECE = '{"rm":"/tmp/a'
HAZARDS = [
    pytest.param(
        start(0, type="server_tool_use", id="s", name="QQ", input={}).replace(b"QQ", b"\xff") + stop(0),
        [OpaqueChunk],
        id="invalid UTF-8 in a block that is kept",
    ),
    pytest.param(event("content_block_start", index=0, content_block=None) + TEXT, [TextChunk], id="a null block"),
    pytest.param(b"data:\n\n" + TEXT + b"data: \n\n", [TextChunk], id="an empty heartbeat"),
]


@pytest.mark.parametrize(("events", "kinds"), HAZARDS)
def test_hazards_that_are_tolerated(events: bytes, kinds: list[type]) -> None:
    """None of them ends the stream."""
    assert [type(chunk) for chunk in joined(read([begin() + events + end()]))] == kinds


def test_invalid_text_in_what_is_kept_is_replaced_everywhere() -> None:
    """In the delta of a block that is kept, and in an answer that came as one document."""
    compaction = start(0, type="compaction", content=None) + delta(0, "compaction_delta", content="QQ") + stop(0)
    whole = msgspec.json.encode({"type": "message", "content": [{"type": "server_tool_use", "name": "QQ"}]})
    for body in (begin() + compaction + end(), whole):
        kept = [chunk for chunk in read([body.replace(b"QQ", b"\xff")]) if isinstance(chunk, OpaqueChunk)]
        assert [chunk.data.count("\ufffd") for chunk in kept] == [1]


def test_a_piece_of_arguments_is_never_dropped() -> None:
    """Without its index it belongs to the open block; for a block that is not open it is an error."""

    def piece(text: str, index: int | None) -> bytes:
        return event("content_block_delta", index=index, delta={"type": "input_json_delta", "partial_json": text})

    opened = begin() + start(0, type="tool_use", id="t", name="f", input={}) + piece(PIECE, 0)
    whole = read([opened + piece("/b", None) + piece('"}', 0) + stop(0) + end("tool_use")])
    assert [made.arguments for made in calls_of(whole)] == ['{"rm":"/tmp/a/b"}']
    with pytest.raises(MalformedResponseError, match="no open block"):
        read([opened + piece("/b", 1) + piece('"}', 0) + stop(0) + end("tool_use")])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param(
            b'data: {"error": {"type": "overloaded_error", "message": "Busy"}}\n\n', "Busy", id="no name, no type"
        ),
        pytest.param(b'event: error\ndata: {"type": "error", "error": "boom"}\n\n', "boom", id="a text for the error"),
    ],
)
def test_errors_in_other_forms_are_the_vendors_all_the_same(data: bytes, said: str) -> None:
    """A gateway's form of an error is no malformed answer: it may be tried again."""
    _, error = attempt([begin() + TEXT + data])
    assert isinstance(error, OverloadedError | ServerError)
    assert said in str(error)


def test_what_a_compaction_cost_stays_in_the_bill() -> None:
    """Also when a later report does not repeat it; and a nonsense count earns no money."""
    compaction = {"type": "compaction", "input_tokens": 10**6}
    reports: list[dict[str, Any]] = [{"output_tokens": 1, "iterations": [compaction, None]}, {"output_tokens": 2}]
    deltas = (event("message_delta", delta={"stop_reason": "end_turn"}, usage=one) for one in reports)
    body = begin(input_tokens=1) + b"".join(deltas)
    assert usage_of(read([body + event("message_stop")])).cost == 3 + Decimal(3 + 2 * 15) / 10**6
    nonsense = {"iterations": [{"type": "compaction", "input_tokens": -(10**9)}]}
    body = begin() + event("message_delta", delta={"stop_reason": "end_turn"}, usage=nonsense)
    assert usage_of(read([body + event("message_stop")])) == UsageChunk(unsettled=1)


def test_a_swallowed_last_blank_line_loses_nothing() -> None:
    """Some proxies trim it; the last event is whole all the same."""
    body = begin() + TEXT + end()
    assert stop_of(read([body.rstrip(b"\n")])).reason == "stop"


def test_what_follows_the_end_is_not_read() -> None:
    """The terminal event ends the answer."""
    body = begin() + TEXT + end() + TEXT + b"event: content_block_delta\ndata: {oops\n\n"
    assert text_of(read([body])) == "Hi"


def test_a_whole_answer_gives_the_same_chunks_once() -> None:
    """A server that ignores `stream` answers in one document."""
    content = [
        {"type": "thinking", "thinking": "Hm", "signature": "E"},
        {"type": "text", "text": "Hi"},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"x": 1}},
    ]
    body = {
        "type": "message",
        "id": "msg_1",
        "model": "m",
        "content": content,
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 4, "output_tokens": 5},
    }
    chunks = read(cut(msgspec.json.encode(body), 9))
    assert (text_of(chunks), reasoning_of(chunks)) == ("Hi", "Hm")
    assert [made.arguments for made in calls_of(chunks)] == ['{"x":1}']
    assert usage_of(chunks).prompt_tokens == 4
    assert stop_of(chunks).reason == "tool_calls"


BLOCK = st.one_of(
    st.builds(lambda text: {"type": "text", "text": text}, st.text(max_size=30)),
    st.builds(lambda text: {"type": "thinking", "thinking": text, "signature": "E"}, st.text(max_size=30)),
    st.builds(
        lambda value: {"type": "tool_use", "id": "t", "name": "f", "input": {"x": value}},
        st.one_of(st.text(max_size=20), st.integers(), st.lists(st.booleans())),
    ),
)
COUNT = st.integers(0, 10**6)


@settings(max_examples=100, deadline=None)
@given(st.lists(BLOCK, max_size=5), st.data())
def test_cuts_never_matter(blocks: list[dict[str, Any]], data: st.DataObject) -> None:
    """Any message in any pieces gives the same chunks."""
    body = b"".join(anthropic_message(*blocks, piece=4))
    whole = read([body])
    assert text_of(whole) == "".join(block.get("text", "") for block in blocks)
    for size in (1, data.draw(st.integers(2, max(2, len(body))))):
        assert read(cut(body, size)) == whole


@settings(max_examples=100, deadline=None)
@given(first=st.tuples(COUNT, COUNT, COUNT, COUNT), last=st.tuples(COUNT, COUNT, COUNT, COUNT))
def test_the_sum_of_the_usage_chunks_is_the_vendors_final_usage(
    first: tuple[int, int, int, int], last: tuple[int, int, int, int]
) -> None:
    """Whatever the two reports say, up or down."""
    names = "input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens"
    reports = [dict(zip(names, counts, strict=True)) for counts in (first, last)]
    body = b"".join(anthropic_events(usage=reports[0], final_usage=reports[1]))
    usage = usage_of(read([body]))
    last = (*(last if any(last[:3]) else first)[:3], last[3])  # no prompt has no tokens
    assert (usage.input_tokens, usage.cache_write_tokens, usage.cache_read_tokens, usage.output_tokens) == last
    priced = 3 * last[0] + Decimal("3.75") * last[1] + Decimal("0.3") * last[2] + 15 * last[3]
    assert usage.known_cost == priced / 1_000_000
    assert usage.unsettled == int(not any(last[:3]) and last[3] > 0)


@pytest.mark.parametrize("body", [
    pytest.param(b'data: {"id":"c","object":"chat.completion.chunk","choices":[]}\n\n', id="chat completions"),
    pytest.param(b'event: response.created\ndata: {"type":"response.created"}\n\n', id="responses"),
])  # fmt: skip
def test_the_api_of_another_vendor_is_named(body: bytes) -> None:
    """Not an answer that was cut off, which one would ask for again and again."""
    with pytest.raises(MalformedResponseError, match="use OpenAIProvider"):
        read([body])
