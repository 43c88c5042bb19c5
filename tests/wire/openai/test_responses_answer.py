"""The Responses API to chunks: every kind of item, every hazard, whichever events a server leaves out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from itertools import count, repeat
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialects import ASKED, HALF, SAID, SCRIPTS, THOUGHT, Script, responses
from penstock import (
    Chunk,
    InvalidRequestError,
    MalformedResponseError,
    OpaqueChunk,
    OverloadedError,
    PriceSheet,
    ProviderError,
    RateLimitError,
    ReasoningChunk,
    ServerError,
    StopChunk,
    StreamInterruptedError,
    TextChunk,
    TokenLimitError,
    ToolCallChunk,
    ToolCallDeltaChunk,
    UsageChunk,
)
from penstock.testing import responses_document, responses_events
from reading import (
    PRICED,
    attempt_openai,
    calls_of,
    cut,
    follows,
    keeps_the_contract,
    openai_reader,
    read_openai,
    reasoning_of,
    stop_of,
    text_of,
    usage_of,
    variants,
)

RESPONSES = {name: script for name, script in SCRIPTS.items() if script.wire == "responses"}


@pytest.mark.parametrize("script", RESPONSES.values(), ids=RESPONSES)
def test_every_servers_oddity_is_read_right(script: Script) -> None:
    """Whole, byte by byte and in pieces of seven the chunks are the same, and as the table has them."""
    whole = follows(script, [script.body])
    for size in (1, 7):
        assert follows(script, cut(script.body, size)) == whole


@pytest.mark.parametrize("script", RESPONSES.values(), ids=RESPONSES)
def test_what_proxies_make_of_a_stream_changes_nothing(script: Script) -> None:
    """Line ends, pings, unknown events and fields, a last blank line that is missing, rubbish after the end."""
    whole = follows(script, [script.body])
    for name, body in variants(script).items():
        for size in (len(body), 1):
            assert follows(script, cut(body, size)) == whole, name


@pytest.mark.parametrize("script", RESPONSES.values(), ids=RESPONSES)
def test_a_cut_is_always_an_error(script: Script) -> None:
    """A cut-off stream says no more than the whole one, and never ends well."""
    body = script.body
    places = [place + shift for place in range(len(body)) if body[place : place + 2] == b"\n\n" for shift in (2, 60)]
    last = body.rfind(b"data: {")
    for place in places:
        if place > last:
            continue
        chunks, error = attempt_openai([body[:place]], script.dialect, "responses")
        assert error is not None
        keeps_the_contract(chunks)
        assert script.text.startswith(text_of(chunks))
        for call, wanted in zip(calls_of(chunks), script.calls, strict=False):
            assert (call.name, call.arguments) == (wanted.name, wanted.arguments)


def event(name: str, **fields: Any) -> bytes:
    kind = f"response.{name}" if name != "error" else name
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode({"type": kind, **fields}))


def read(body: bytes, dialect: str = "openai") -> list[Chunk]:
    return read_openai([body], dialect, "responses")


def pieces_of(chunks: Iterable[Chunk]) -> list[Chunk]:
    """Without what has tests of its own; text and reasoning joined."""
    joined: list[Chunk] = []
    for piece in chunks:
        last = joined[-1] if joined else None
        if isinstance(piece, TextChunk) and isinstance(last, TextChunk):
            joined[-1] = TextChunk(last.text + piece.text)
        elif isinstance(piece, ReasoningChunk) and isinstance(last, ReasoningChunk) and not (last.proof or piece.proof):
            joined[-1] = ReasoningChunk(text=last.text + piece.text)
        elif not isinstance(piece, ToolCallDeltaChunk | UsageChunk | StopChunk):
            joined.append(piece)
    return joined


def raw(item: Mapping[str, Any], number: int = 0) -> str:
    """The item as the events have it."""
    return msgspec.json.encode(msgspec.json.decode(responses_document(item))["output"][0]).decode()


def message(*parts: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    return {"type": "message", "id": "msg_1", "content": list(parts), **fields}


def text(words: str, **fields: Any) -> dict[str, Any]:
    return {"type": "output_text", "text": words, **fields}


CITED = message(text("It is so.", annotations=[{"type": "url_citation", "url": "u"}]))
FINAL = message(text("Done."), phase="final_answer")
MIXED = message(text("First,"), {"type": "refusal", "refusal": " no."})
SEARCH = {"type": "web_search_call", "id": "ws_1", "action": {"type": "search", "query": "dam"}}
OPEN = {"type": "reasoning", "id": "rs_2", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]}
PLAIN = {"type": "reasoning", "id": "rs_3", "summary": [{"type": "summary_text", "text": "Hm."}]}
TWO = {**PLAIN, "summary": [{"type": "summary_text", "text": "A"}, {"type": "summary_text", "text": "B"}]}
HIDDEN = {"type": "reasoning", "id": "rs_4", "summary": [], "encrypted_content": "gAAAAB"}
COMPACT = {"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAAAC"}
SHELL = {"type": "tool_search_call", "id": "ts_1", "arguments": {"paths": ["a"]}, "content": 3, "name": ["x"]}


def kept(item: Mapping[str, Any], words: str = "") -> OpaqueChunk:
    return OpaqueChunk(vendor="openai", data=raw(item), text=words)


def proof(item: Mapping[str, Any]) -> ReasoningChunk:
    return ReasoningChunk(proof=raw(item), vendor="openai")


ITEMS = [
    pytest.param([SAID], [TextChunk("Good morning")], id="text"),
    pytest.param([message(text("A"), text("B"))], [TextChunk("AB")], id="two parts"),
    pytest.param([message(text(""))], [], id="no text"),
    pytest.param([message()], [], id="no part"),
    pytest.param([CITED], [TextChunk("It is so."), kept(CITED, "It is so.")], id="cited text is kept as well"),
    pytest.param([FINAL], [TextChunk("Done."), kept(FINAL, "Done.")], id="a message with a phase is kept as well"),
    pytest.param([MIXED], [TextChunk("First, no.")], id="text and a refusal"),
    pytest.param([THOUGHT], [ReasoningChunk(text="Greet first."), proof(THOUGHT)], id="reasoning with its proof"),
    pytest.param([HIDDEN], [proof(HIDDEN)], id="reasoning that is not shown"),
    pytest.param([OPEN], [ReasoningChunk(text="Hm."), proof(OPEN)], id="reasoning as it is"),
    pytest.param([PLAIN], [ReasoningChunk(text="Hm.")], id="reasoning without a proof"),
    pytest.param([TWO], [ReasoningChunk(text="AB")], id="a summary of two parts"),
    pytest.param([SEARCH], [kept(SEARCH)], id="a search"),
    pytest.param([COMPACT], [kept(COMPACT)], id="a compaction"),
    pytest.param([SHELL], [kept(SHELL)], id="an item that uses the names for other things"),
    pytest.param(
        [{"type": "hologram", "id": "h", "light": [1]}],
        [kept({"type": "hologram", "id": "h", "light": [1]})],
        id="an unknown item",
    ),
    pytest.param([ASKED], [ToolCallChunk(id="call_a", name="read", arguments='{"row":7}')], id="a call"),
    pytest.param(
        [THOUGHT, SAID, SEARCH, HIDDEN, ASKED, FINAL],
        [
            ReasoningChunk(text="Greet first."),
            proof(THOUGHT),
            TextChunk("Good morning"),
            kept(SEARCH),
            proof(HIDDEN),
            ToolCallChunk(id="call_a", name="read", arguments='{"row":7}'),
            TextChunk("Done."),
            kept(FINAL, "Done."),
        ],
        id="all of them, in order",
    ),
    pytest.param([HIDDEN, HIDDEN], [proof(HIDDEN), proof(HIDDEN)], id="two items of one id, as xAI's"),
]


@pytest.mark.parametrize(("items", "chunks"), ITEMS)
def test_items(items: list[dict[str, Any]], chunks: list[Chunk]) -> None:
    """Each kind of item becomes its chunks, streamed in pieces of any size and whole."""
    streamed = responses(*items, piece=2)
    for size in (len(streamed), 1, 13):
        assert pieces_of(read_openai(cut(streamed, size), "openai", "responses")) == chunks
    assert pieces_of(read(responses_document(*items))) == chunks


LEFT_OUT = [
    r"added",
    r"delta",
    r"(text|refusal|arguments)\.done",
    r"part\.done",
    r"output_item\.done",
    r"created|in_progress",
]


@pytest.mark.parametrize("empty", [False, True], ids=["the output at the end", "no output at the end"])
@pytest.mark.parametrize("names", [True, False], ids=["names", "no names"])
@pytest.mark.parametrize("mask", range(2 ** len(LEFT_OUT)))
def test_whatever_a_server_leaves_out_is_said_once(mask: int, names: bool, empty: bool) -> None:
    """As long as one account of it is left: in pieces, in parts, in items, or in the whole."""
    patterns = [pattern for place, pattern in enumerate(LEFT_OUT) if mask >> place & 1]
    items_are_told = r"output_item\.done" not in patterns or not empty
    if not items_are_told:
        return  # nothing has the name of a call
    body = b""
    for piece in responses_events(THOUGHT, SAID, ASKED, message(text("Bye"), id="msg_2"), piece=3, names=names):
        kind = msgspec.json.decode(piece.split(b"data: ", 1)[1])["type"]
        if kind == "response.completed" and empty:
            piece = re.sub(rb'"output":\[.*\],"parallel', b'"output":[],"parallel', piece)
        if not any(re.search(pattern, kind) for pattern in patterns):
            body += piece
    chunks = read(body)
    keeps_the_contract(chunks)
    assert (text_of(chunks), reasoning_of(chunks)) == ("Good morningBye", "Greet first.")
    assert calls_of(chunks) == [ToolCallChunk(id="call_a", name="read", arguments='{"row":7}')]
    assert [piece.proof is not None for piece in chunks if isinstance(piece, ReasoningChunk)][-1]
    assert stop_of(chunks).reason == "tool_calls"


def test_parts_may_be_all_that_there_is() -> None:
    """Text, refusal and reasoning of several parts, of which one has come in pieces."""
    body = (
        event("reasoning_summary_text.done", text="Hm.")
        + event("reasoning_text.done", text=" So.")
        + event("output_text.done", text="One,")
        + event("output_text.delta", delta=" t")
        + event("output_text.done", text=" two,")
        + event("refusal.done", refusal=" no.")
        + end()
    )
    chunks = read(body)
    assert (text_of(chunks), reasoning_of(chunks)) == ("One, two, no.", "Hm. So.")
    assert stop_of(chunks).reason == "refusal"


@pytest.mark.parametrize("place", range(4))
def test_an_item_that_only_the_end_has_is_said_there(place: int) -> None:
    """And the others are not said again."""
    items: list[Mapping[str, Any]] = [THOUGHT, SAID, ASKED, message(text("Bye"), id="msg_2")]
    *events, last = (msgspec.json.decode(one.split(b"data: ", 1)[1]) for one in responses_events(*items))
    told = [one for one in events if one.get("output_index") != place]
    chunks = read(b"".join(b"data: %b\n\n" % msgspec.json.encode(one) for one in (*told, last)))
    keeps_the_contract(chunks)
    assert sorted(text_of(chunks)) == sorted("Good morningBye")
    assert reasoning_of(chunks) == "Greet first."
    assert [call.id for call in calls_of(chunks)] == ["call_a"]
    assert sum(isinstance(piece, ReasoningChunk) and piece.proof is not None for piece in chunks) == 1


def changed(items: Iterable[Mapping[str, Any]], **fields: Iterator[Any] | None) -> bytes:
    """The stream of these items with other values, or none, for fields of its events."""

    def walk(value: Any) -> Any:
        if isinstance(value, list):
            return [walk(one) for one in value]
        if not isinstance(value, dict):
            return value
        found = {}
        for key, inner in value.items():
            if key not in fields or "object" in value:
                found[key] = walk(inner)
            elif (values := fields[key]) is not None:
                found[key] = next(values)
        return found

    return b"".join(
        b"data: %b\n\n" % msgspec.json.encode(walk(msgspec.json.decode(piece.split(b"data: ", 1)[1])))
        for piece in responses_events(*items, piece=3)
    )


def fresh() -> Iterator[str]:
    return (f"id_{number}" for number in count())


SECOND = {**ASKED, "id": "fc_2", "call_id": "call_b", "name": "list", "arguments": '{"path":"src"}'}
PLACES: list[Any] = [
    pytest.param({"item_id": fresh(), "id": fresh()}, id="other ids in every event, as GitHub's and mistral.rs's"),
    pytest.param({"output_index": repeat(0)}, id="one index for all items, as older LiteLLM's"),
    pytest.param(
        {"output_index": repeat(0), "id": repeat("i"), "item_id": repeat("i")}, id="one index and one id for all"
    ),
    pytest.param({"output_index": None}, id="no index"),
    pytest.param({"output_index": None, "item_id": None}, id="neither index nor the item's id in the pieces"),
    pytest.param({"output_index": None, "id": None}, id="no ids of the items, as older llama.cpp's"),
    pytest.param({"output_index": None, "id": None, "item_id": None}, id="no index and no ids at all"),
    pytest.param({"id": None, "item_id": None}, id="the index alone"),
    pytest.param({"item_id": None, "id": None, "call_id": None}, id="the index alone, and no ids of calls"),
    pytest.param({"call_id": None}, id="no ids of calls"),
    pytest.param({"sequence_number": None, "content_index": None, "summary_index": None}, id="no numbers of parts"),
    pytest.param({"status": None}, id="no status"),
]


@pytest.mark.parametrize("fields", PLACES)
def test_however_items_are_told_apart(fields: dict[str, Iterator[Any] | None]) -> None:
    """Nothing is said twice or mixed up, whichever index or id is missing or wrong."""
    chunks = read(changed([THOUGHT, SAID, ASKED, SECOND], **fields))
    keeps_the_contract(chunks)
    assert (text_of(chunks), reasoning_of(chunks)) == ("Good morning", "Greet first.")
    calls = calls_of(chunks)
    assert [(call.name, call.arguments) for call in calls] == [("read", '{"row":7}'), ("list", '{"path":"src"}')]
    assert len({call.id for call in calls} - {""}) == 2
    if "call_id" not in fields:
        assert [call.id for call in calls] == ["call_a", "call_b"]


CALL_START = event("output_item.added", output_index=0, item={**ASKED, "arguments": ""})


def piece(words: str, **place: Any) -> bytes:
    return event("function_call_arguments.delta", delta=words, **(place or {"output_index": 0, "item_id": "fc_1"}))


def done(item: Mapping[str, Any] | None = None, index: int | None = 0) -> bytes:
    return event("output_item.done", output_index=index, item=ASKED if item is None else item)


def end(status: str = "completed", **fields: Any) -> bytes:
    return event(status, response={"id": "r", "model": "m", "status": status, "output": [], **fields})


CALLS = [
    pytest.param(CALL_START + piece('{"row"') + piece(":7}") + end(), ['{"row":7}'], id="never done"),
    pytest.param(CALL_START + done(), ['{"row":7}'], id="no pieces"),
    pytest.param(done(), ['{"row":7}'], id="only done"),
    pytest.param(piece('{"row"') + piece(":7}") + done(), ['{"row":7}'], id="pieces before its name"),
    pytest.param(
        piece('{"row":7}') + done({**ASKED, "arguments": ""}), ['{"row":7}'], id="pieces before its name, which are all"
    ),
    pytest.param(CALL_START + piece('{"row":8}') + done(), ['{"row":7}'], id="what is done counts"),
    pytest.param(
        CALL_START + event("function_call_arguments.done", output_index=0, arguments='{"row":7}') + end(),
        ['{"row":7}'],
        id="only the arguments are done",
    ),
    pytest.param(CALL_START + piece("") + done({**ASKED, "arguments": ""}), ["{}"], id="no arguments"),
    pytest.param(CALL_START + done({**ASKED, "arguments": {"row": 7}}), ['{"row":7}'], id="arguments as an object"),
    pytest.param(CALL_START + done() + done(), ['{"row":7}'], id="done twice"),
    pytest.param(done({**ASKED, "call_id": None}), ['{"row":7}'], id="no id of its own"),
    pytest.param(done({"type": "function_call", "name": "read", "arguments": "{}"}, None), ["{}"], id="no id at all"),
    pytest.param(
        done({"type": "function_call", "name": "read", "arguments": "{}"}, None) * 2,
        ["{}", "{}"],
        id="two without any id",
    ),
    pytest.param(
        event("output_item.added", item={**ASKED, "call_id": "", "arguments": ""}) + done(),
        ['{"row":7}'],
        id="its own id comes late",
    ),
]


@pytest.mark.parametrize(("events", "arguments"), CALLS)
def test_calls(events: bytes, arguments: list[str]) -> None:
    """A call comes once, complete and under one id, whichever of its events there are."""
    body = events if b"response.completed" in events else events + end()
    for size in (len(body), 7):
        chunks = read_openai(cut(body, size), "openai", "responses")
        keeps_the_contract(chunks)
        assert [call.arguments for call in calls_of(chunks)] == arguments
        assert {call.name for call in calls_of(chunks)} == {"read"}
        assert len({call.id for call in calls_of(chunks)}) == len(arguments)
        assert stop_of(chunks).reason == "tool_calls"


def test_a_call_is_delivered_as_soon_as_its_item_is_done() -> None:
    """A loop can run it while the rest still comes."""
    reader = openai_reader(wire="responses")
    assert not calls_of(list(reader.feed(CALL_START + piece('{"row":7}'))))
    assert calls_of(list(reader.feed(done())))


ENDS = [
    pytest.param(end(), "stop", "completed", id="completed"),
    pytest.param(end(status="completed").replace(b'"status":"completed",', b""), "stop", "completed", id="no status"),
    pytest.param(
        event("completed", response={"status": "in_progress"}), "stop", "completed", id="the status of the beginning"
    ),
    pytest.param(
        event("completed", response={"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}),
        "length",
        "max_output_tokens",
        id="completed and incomplete",
    ),
    pytest.param(
        end("incomplete", incomplete_details={"reason": "max_output_tokens"}),
        "length",
        "max_output_tokens",
        id="the limit",
    ),
    pytest.param(
        end("incomplete", incomplete_details={"reason": "content_filter"}), "refusal", "content_filter", id="the filter"
    ),
    pytest.param(end("incomplete", incomplete_details={"reason": "steered"}), "other", "steered", id="another reason"),
    pytest.param(end("incomplete", incomplete_details=None), "other", "incomplete", id="no reason"),
    pytest.param(event("incomplete", response={"id": "r"}), "other", "incomplete", id="incomplete by its name alone"),
]


@pytest.mark.parametrize(("last", "reason", "word"), ENDS)
def test_stop_reasons(last: bytes, reason: str, word: str) -> None:
    """The event's name counts where the response says something else."""
    stop = stop_of(read(event("output_text.delta", delta="Hi") + last))
    assert (stop.reason, stop.raw_reason) == (reason, word)


def test_the_end_tells_which_answer_it_was() -> None:
    """By the last event, or by the first where that one does not say."""
    first = event("created", response={"id": "r1", "model": "m1"})
    for last, known in ((end(), ("r", "m")), (event("completed", response={}), ("r1", "m1"))):
        stop = stop_of(read(first + last))
        assert (stop.response_id, stop.model) == known


FAILURES = [
    pytest.param(end("failed", error={"code": "server_error", "message": "Busy"}), ServerError, id="failed"),
    pytest.param(
        end("failed", error={"code": "rate_limit_exceeded", "message": "Busy"}), RateLimitError, id="too fast"
    ),
    pytest.param(
        end("failed", error={"code": "invalid_prompt", "message": "Busy"}), InvalidRequestError, id="a bad prompt"
    ),
    pytest.param(
        end("failed", error={"code": "context_length_exceeded", "message": "Busy"}), TokenLimitError, id="too long"
    ),
    pytest.param(
        event("failed", response={"error": {"code": "server_error", "message": "Busy"}}),
        ServerError,
        id="failed by its name alone",
    ),
    pytest.param(
        event("failed", error={"type": "server_error", "message": "Busy"}), ServerError, id="Perplexity: no response"
    ),
    pytest.param(
        event("completed", response={"status": "failed", "error": {"code": "server_error", "message": "Busy"}}),
        ServerError,
        id="completed and failed",
    ),
    pytest.param(event("error", code="server_is_overloaded", message="Busy"), OverloadedError, id="an error event"),
    pytest.param(
        event("error", error={"code": "server_is_overloaded", "message": "Busy"}), OverloadedError, id="with an object"
    ),
    pytest.param(event("error", error={"code": 503, "message": "Busy"}), ServerError, id="whose code is a status"),
    pytest.param(event("error", error=None, code=None, message="Busy"), ServerError, id="without a code"),
    pytest.param(
        event("error", error={"code": 429, "message": "Busy"}).replace(b"error", b"response.error", 2),
        RateLimitError,
        id="OpenRouter: response.error",
    ),
    pytest.param(b'data: {"error":{"code":429,"message":"Busy"}}\n\n', RateLimitError, id="as on the chat wire"),
    pytest.param(b'event: error\ndata: {"error":"Busy"}\n\n', ServerError, id="a text"),
]


@pytest.mark.parametrize(("last", "kind"), FAILURES)
def test_failures(last: bytes, kind: type[ProviderError]) -> None:
    """Raised after what came before, whatever form they have."""
    body = event("output_text.delta", delta="Hi") + last + end()
    for size in (len(body), 3):
        chunks, error = attempt_openai(cut(body, size), "openai", "responses")
        assert type(error) is kind
        assert "Busy" in error.message
        assert (text_of(chunks), error.status) == ("Hi", None)


@pytest.mark.parametrize("status", ["failed", "cancelled", "queued", "in_progress"])
def test_an_end_without_a_reason_is_an_interruption(status: str) -> None:
    """In a whole answer, where only the status tells; it may be tried again."""
    body = msgspec.json.encode({"object": "response", "status": status, "output": [], "error": None})
    with pytest.raises(StreamInterruptedError, match=status) as raised:
        read(body)
    assert raised.value.retryable


def test_a_failure_without_a_word_is_an_interruption() -> None:
    """Its name alone says that it is no complete answer."""
    with pytest.raises(StreamInterruptedError, match="failed"):
        read(event("output_text.delta", delta="Hi") + event("failed", response={"id": "r"}))


def test_a_whole_answer_with_an_error_is_one_whatever_its_status() -> None:
    """And an item of null in it is none."""
    fields = {"object": "response", "output": [None, SAID]}
    error = {"code": "rate_limit_exceeded", "message": "Slow"}
    with pytest.raises(RateLimitError, match="Slow"):
        read(msgspec.json.encode({**fields, "error": error}))
    nothings: list[dict[str, Any] | None] = [{}, None]
    for nothing in nothings:
        assert text_of(read(msgspec.json.encode({**fields, "error": nothing}))) == "Good morning"


def test_a_failed_response_is_billed() -> None:
    """And what it has said is delivered."""
    body = responses(SAID, status="failed", usage={"input_tokens": 6})
    chunks, error = attempt_openai([body], "openai", "responses")
    assert type(error) is ServerError
    assert (text_of(chunks), usage_of(chunks).input_tokens) == ("Good morning", 6)


CUTS = [
    pytest.param([HALF], {"status": "incomplete"}, [], "length", id="inside the only call"),
    pytest.param(
        [ASKED, {**HALF, "id": "fc_2", "call_id": "call_b"}],
        {"status": "incomplete"},
        ["call_a"],
        "length",
        id="inside the second call",
    ),
    pytest.param([{**HALF, "arguments": ""}], {"status": "incomplete"}, [], "length", id="before the arguments"),
    pytest.param(
        [HALF], {"status": "incomplete", "incomplete_reason": "content_filter"}, [], "refusal", id="by a filter"
    ),
    pytest.param([ASKED], {"status": "incomplete"}, ["call_a"], "tool_calls", id="after a whole call"),
    pytest.param([ASKED, SAID], {"status": "incomplete"}, ["call_a"], "tool_calls", id="in the text after a call"),
]


@pytest.mark.parametrize(("items", "options", "calls", "reason"), CUTS)
def test_a_call_that_was_cut_is_never_delivered(
    items: list[dict[str, Any]], options: dict[str, Any], calls: list[str], reason: str
) -> None:
    """Streamed and whole."""
    for body in (responses(*items, **options), responses_document(*items, **options)):
        chunks = read(body)
        assert [call.id for call in calls_of(chunks)] == calls
        assert stop_of(chunks).reason == reason


BROKEN = [
    pytest.param(done() + piece(',"x":1}') + end(), "was whole", id="more for a call that is out"),
    pytest.param(
        b"event: response.output_text.delta\ndata: {oops\n\n",
        "output_text.delta.*oops",
        id="a piece of text that is not JSON",
    ),
    pytest.param(b"data: oops\n\n", "oops", id="an event without a name that is not JSON"),
    pytest.param(b"event: response.completed\ndata: {}\n\n", "response", id="completed without a response"),
    pytest.param(b"event: response.completed\ndata: " + b"[" * 100_000 + b"\n\n", "malformed", id="nested without end"),
    pytest.param(b'{"object":"response","output":[', "malformed", id="half a document"),
    pytest.param(b'{"hello":1}', "hello", id="other JSON"),
    pytest.param(b"[1]", "neither", id="an array"),
    pytest.param(b"<html>Sign in</html>", "web page.*Sign in", id="a web page"),
    pytest.param(
        b'data: {"id":"c","object":"chat.completion.chunk","choices":[]}\n\n', "`wire` to chat", id="the other wire"
    ),
]


@pytest.mark.parametrize(("body", "words"), BROKEN)
def test_what_is_malformed_is_an_error(body: bytes, words: str) -> None:
    """Never half a success, wherever the bytes are cut."""
    for size in (len(body), 3):
        with pytest.raises(MalformedResponseError, match=words) as raised:
            read_openai(cut(body, size), "openai", "responses")
        assert len(str(raised.value)) < 700


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b": ping\n\n", id="only comments"),
        pytest.param(b"data: [DONE]\n\n", id="only [DONE]"),
        pytest.param(event("created", response={"id": "r", "status": "in_progress"}), id="only the beginning"),
        pytest.param(event("output_text.delta", delta="Hi") + end()[:-20], id="half of the last event"),
    ],
)
def test_what_never_ends_is_interrupted(body: bytes) -> None:
    """It may be tried again."""
    with pytest.raises(StreamInterruptedError):
        read(body)


TOLERATED = [
    pytest.param(b"data: {}\n\n", id="an empty event"),
    pytest.param(b"data:\n\n", id="no data"),
    pytest.param(b"event: ping\ndata: ping\n\n", id="a ping that is not JSON"),
    pytest.param(b"event: response.weather\ndata: {oops\n\n", id="an unknown event that is not JSON"),
    pytest.param(b'data: {"type":null}\n\n', id="a type of null"),
    pytest.param(event("output_item.added", output_index=0, item=None), id="an item of null begins"),
    pytest.param(event("output_item.done", output_index=9, item=None), id="an item of null is done"),
    pytest.param(event("output_text.delta", delta=None), id="a piece of null"),
    pytest.param(event("output_text.delta", delta=""), id="an empty piece"),
    pytest.param(event("output_text.done"), id="a part without its text"),
    pytest.param(event("reasoning_text.delta", delta=""), id="an empty piece of reasoning"),
    pytest.param(event("output_text.annotation.added", annotation={"x": [1]}), id="a citation"),
    pytest.param(event("queued", response=None), id="queued"),
    pytest.param(event("web_search_call.searching", item_id="ws"), id="a search goes on"),
    pytest.param(event("mcp_call_arguments.delta", delta={"x": 1}), id="a piece of something else"),
    pytest.param(
        b'event: response.weather\ndata: {"sky":' + b"[" * 5000 + b"]" * 5000 + b"}\n\n", id="an unknown event, deep"
    ),
    pytest.param(b'event: response.weather\ndata: {"type":"\xff"}\n\n', id="an unknown event that is no text"),
    pytest.param(b"data: [DONE]\n\n", id="[DONE] before the end"),
]


@pytest.mark.parametrize("extra", TOLERATED)
def test_hazards_that_are_tolerated(extra: bytes) -> None:
    """None of them ends the stream, or adds to it."""
    body = extra + event("output_text.delta", delta="Hi") + extra + end()
    for size in (len(body), 5):
        assert pieces_of(read_openai(cut(body, size), "openai", "responses")) == [TextChunk("Hi")]


def test_invalid_text_is_replaced_everywhere() -> None:
    """In a piece of text, in what is kept, in a call's arguments."""
    items = [
        {**SEARCH, "action": "QQ"},
        message(text("QQ"), phase="final_answer"),
        {**HIDDEN, "encrypted_content": "QQ"},
    ]
    for body in (responses(*items, {**ASKED, "arguments": '{"x":"QQ"}'}), responses_document(*items)):
        chunks = read(body.replace(b"QQ", b"\xff"))
        assert text_of(chunks) == "\ufffd"
        assert [piece.data.count("\ufffd") for piece in chunks if isinstance(piece, OpaqueChunk)] == [1, 1]
        assert [
            piece.proof.count("\ufffd") for piece in chunks if isinstance(piece, ReasoningChunk) and piece.proof
        ] == [1]
        assert all(call.arguments == '{"x":"\ufffd"}' for call in calls_of(chunks))


SEARCHES = [
    pytest.param([SEARCH], 1, id="one"),
    pytest.param([SEARCH, {**SEARCH, "id": "ws_2"}], 2, id="two"),
    pytest.param([{**SEARCH, "action": {"type": "open_page", "url": "u"}}], 0, id="opening a page is none"),
    pytest.param([{**SEARCH, "action": {"type": "find_in_page"}}], 0, id="nor is looking for something in it"),
    pytest.param([{"type": "web_search_call", "id": "ws"}], 1, id="no action"),
    pytest.param([{**SEARCH, "action": "search"}], 1, id="an action that is a word"),
]


@pytest.mark.parametrize(("items", "number"), SEARCHES)
def test_web_searches_are_counted(items: list[dict[str, Any]], number: int) -> None:
    """They are billed by the piece."""
    for body in (responses(*items), responses_document(*items)):
        found = usage_of(read(body))
        assert found.web_searches == number
        assert found.cost == Decimal(10 * 3 + 10 * 15) / 10**6 + Decimal(number) / 100


TIERS = msgspec.structs.replace(PRICED, variants={"priority": PriceSheet(input_price=Decimal(6))})
COSTS = [
    pytest.param("default", {}, "3", id="the ordinary tier"),
    pytest.param("auto", {}, "3", id="what was asked for"),
    pytest.param(None, {}, "3", id="no word of it"),
    pytest.param("priority", {}, "6", id="priority"),
    pytest.param("flex", {}, None, id="a tier without a price"),
    pytest.param("flex", {"cost": 0.5}, None, id="a cost that is somebody's guess"),
    pytest.param("default", {"cost_in_usd_ticks": 20_000_000}, "3", id="another vendor's ticks"),
    pytest.param("default", {"input_tokens_details": {"cached_tokens": 1_000_000}}, "0.3", id="all from the cache"),
    pytest.param(
        "default",
        {
            "input_tokens_details": {
                "cache_write_tokens": 10**6,
                "cache_write_tokens_details": {"ttl_12h_tokens": 10**6},
            }
        },
        "6",
        id="a write of the longer lifetime",
    ),
]


@pytest.mark.parametrize(("tier", "usage", "dollars"), COSTS)
def test_cost(tier: str | None, usage: dict[str, Any], dollars: str | None) -> None:
    """By the tier that the last event names."""
    counts = {"input_tokens": 1_000_000, "output_tokens": 0, **usage}
    first = event("created", response={"service_tier": "auto"})
    body = first + end(service_tier=tier, usage=counts)
    cost = usage_of(read_openai([body], "openai", "responses", TIERS)).cost
    assert cost == (None if dollars is None else Decimal(dollars))


@pytest.mark.parametrize(
    ("vendor", "usage", "dollars"),
    [
        pytest.param("openrouter", {"cost": 0.5}, "0.5", id="OpenRouter's own cost"),
        pytest.param("vercel", {"cost": 0.5}, "0.5", id="Vercel's"),
        pytest.param("xai", {"cost_in_usd_ticks": 20_000_000}, "0.002", id="xAI's ticks"),
        pytest.param("groq", {"cost": 0.5}, "3", id="one that is not the bill"),
    ],
)
def test_whose_own_cost_is_the_bill(vendor: str, usage: dict[str, Any], dollars: str) -> None:
    """Its row says so; elsewhere the model's prices count."""
    body = end(usage={"input_tokens": 1_000_000, "output_tokens": 0, **usage})
    assert usage_of(read_openai([body], vendor, "responses", TIERS)).cost == Decimal(dollars)


FEES: list[Any] = [
    pytest.param("file_search_call", True, id="a search in files"),
    pytest.param("code_interpreter_call", True, id="a container"),
    pytest.param("image_generation_call", True, id="an image"),
    pytest.param("web_search_call", False, id="a search of the web, which is counted"),
    pytest.param("mcp_call", False, id="another server's tool"),
    pytest.param("weather_call", False, id="nobody knows what"),
]


@pytest.mark.parametrize(("kind", "has_fee"), FEES)
def test_a_fee_that_no_count_shows_leaves_the_bill_open(kind: str, has_fee: bool) -> None:
    """What the tokens cost is sure all the same, and where the vendor states the cost, that is all of it."""
    said = {"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}
    items: list[dict[str, Any]] = [{"type": kind, "id": "i"}, said]
    for body in (responses(*items), responses_document(*items)):
        found = usage_of(read(body))
        assert found.unsettled == int(has_fee)
        assert found.known_cost == Decimal(10 * 3 + 10 * 15) / 10**6 + Decimal(kind == "web_search_call") / 100
        stated = body.replace(b'"usage":{', b'"usage":{"cost":0.5,')
        assert usage_of(read_openai([stated], "openrouter", "responses")).cost == Decimal("0.5")


def test_no_usage_is_unknown_and_not_zero() -> None:
    """Neither null nor empty is a report."""
    reports: list[dict[str, int] | None] = [None, {}]
    for usage in reports:
        assert usage_of(read(end(usage=usage))) == UsageChunk(unsettled=1)


def test_what_has_no_chunk_yet_counts_as_content() -> None:
    """Or a server's own tools would look like a stall."""
    reader = openai_reader(wire="responses")
    quiet = [event("created", response={"id": "r"}), event("in_progress", response={}), b": ping\n\n"]
    assert [list(reader.feed(one)) for one in quiet] == [[], [], []]
    assert reader.held == 0
    for held, one in enumerate(
        [
            done(None, 0)[:0] + event("output_item.added", item=SEARCH),
            event("code_interpreter_call_code.delta", delta="x"),
        ],
        1,
    ):
        assert list(reader.feed(one)) == []
        assert reader.held == held


WORDS = st.text(max_size=20)
ITEM = st.one_of(
    st.builds(lambda words: message(*map(text, words)), st.lists(WORDS, max_size=2)),
    st.builds(lambda words: {**PLAIN, "summary": [{"type": "summary_text", "text": words}]}, WORDS),
    st.builds(lambda words: {**OPEN, "content": [{"type": "reasoning_text", "text": words}]}, WORDS),
    st.builds(lambda words: {**ASKED, "arguments": {"x": words}}, WORDS),
    st.just(SEARCH),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(ITEM, max_size=5), st.booleans(), st.data())
def test_any_answer_is_given_back_wherever_it_is_cut(
    items: list[dict[str, Any]], names: bool, data: st.DataObject
) -> None:
    """In pieces of any size, and as one document: the same text, reasoning, calls and kept items."""
    given_items = [{**item, "id": f"i_{n}", "call_id": f"c_{n}"} for n, item in enumerate(items)]
    body = responses(*given_items, names=names, piece=data.draw(st.integers(1, 9)))
    whole = read(body)
    keeps_the_contract(whole)
    parts = [part for item in given_items for part in (*item.get("content", ()), *item.get("summary", ()))]
    words = {
        kind: "".join(part["text"] for part in parts if (part["type"] == "output_text") is kind)
        for kind in (True, False)
    }
    assert (text_of(whole), reasoning_of(whole)) == (words[True], words[False])
    wanted = [(item["call_id"], item["arguments"]) for item in given_items if item["type"] == "function_call"]
    assert [(call.id, msgspec.json.decode(call.arguments)) for call in calls_of(whole)] == wanted
    assert usage_of(whole).web_searches == sum(item["type"] == "web_search_call" for item in given_items)
    for other in (body, body.replace(b"\n", b"\r\n")):
        assert read_openai(cut(other, data.draw(st.integers(1, 40))), "openai", "responses") == whole
    assert pieces_of(read(responses_document(*given_items))) == pieces_of(whole)


def test_a_cut_that_the_server_does_not_admit() -> None:
    """llama.cpp calls every answer completed: there a last call that is not whole was cut off, and is not delivered."""
    half = {"type": "function_call", "id": "fc", "call_id": "c", "name": "f", "arguments": '{"cit'}
    body = b"".join(responses_events(half))
    (told,) = calls_of(read(body))
    assert told.problem
    chunks = read(body, "llamacpp")
    assert calls_of(chunks) == []
    assert stop_of(chunks).reason == "length"


def test_pieces_of_a_call_that_never_began_are_told_to_the_model() -> None:
    """It names no tool, so it cannot be run."""
    (told,) = calls_of(read(piece('{"row":7}') + end()))
    assert (told.name, told.problem) == ("unknown", "The call names no tool.")


def test_the_api_of_another_vendor_is_named() -> None:
    """Not an answer that was cut off, which one would ask for again and again."""
    with pytest.raises(MalformedResponseError, match="use AnthropicProvider"):
        read(b'event: message_start\ndata: {"type":"message_start","message":{}}\n\n')


@pytest.mark.parametrize("details", [None, {"reason": "max_tokens"}, {"reason": "steered"}])
def test_an_incomplete_answer_has_no_last_call_that_might_be_cut(details: dict[str, str] | None) -> None:
    """Whatever word the vendor has for why."""
    call = {"type": "function_call", "id": "fc", "call_id": "c", "name": "delete_all", "arguments": ""}
    response: dict[str, Any] = {"id": "r", "object": "response", "status": "incomplete", "output": []}
    response["incomplete_details"] = details
    body = event("output_item.added", output_index=0, item=call)
    chunks = read(body + event("incomplete", response=response))
    assert calls_of(chunks) == []
    assert stop_of(chunks).reason in ("length", "other")


def test_what_a_delta_had_too_much_is_not_taken_from_the_next_item() -> None:
    """A line's end, say, that the whole item has not."""
    first, second = message(text("Hello")), message(text("World"))
    body = (
        event("output_item.added", output_index=0, item=message())
        + event("output_text.delta", output_index=0, delta="Hello\n\n")
        + event("output_item.done", output_index=0, item=first)
        + event("output_item.done", output_index=1, item=second)
        + event("completed", response={"id": "r", "object": "response", "status": "completed"})
    )
    assert text_of(read(body)) == "Hello\n\nWorld"
