"""Chat completions to chunks: every vendor's oddity, every hazard, wherever the bytes are cut."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialects import SCRIPTS, Script, calling, chat, chunk, function, sse, usage
from penstock import (
    Chunk,
    MalformedResponseError,
    ModelInfo,
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
    ToolCallChunk,
    ToolCallDeltaChunk,
    UsageChunk,
)
from penstock.core.dialect import Dialect
from penstock.testing import ChatForm, chat_document, chat_events
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

CHAT = {name: script for name, script in SCRIPTS.items() if script.wire == "chat"}
END = chunk({}, "stop")


@pytest.mark.parametrize("script", CHAT.values(), ids=CHAT)
def test_every_vendors_oddity_is_read_right(script: Script) -> None:
    """Whole, byte by byte and in pieces of seven the chunks are the same, and as the table has them."""
    whole = follows(script, [script.body])
    for size in (1, 7):
        assert follows(script, cut(script.body, size)) == whole


@pytest.mark.parametrize("script", CHAT.values(), ids=CHAT)
def test_what_proxies_make_of_a_stream_changes_nothing(script: Script) -> None:
    """Line ends, pings, unknown events and fields, a last blank line that is missing, rubbish after the end."""
    whole = follows(script, [script.body])
    for name, body in variants(script).items():
        for size in (len(body), 1):
            assert follows(script, cut(body, size)) == whole, name


@pytest.mark.parametrize("script", CHAT.values(), ids=CHAT)
def test_a_cut_never_makes_more_of_an_answer(script: Script) -> None:
    """A cut-off stream says no more than the whole one, and ends well only after a finish reason or `[DONE]`."""
    body = script.body
    places = [place + shift for place in range(len(body)) if body[place : place + 2] == b"\n\n" for shift in (2, 30)]
    for place in places:
        chunks, error = attempt_openai([body[:place]], script.dialect)
        keeps_the_contract(chunks)
        assert script.text.startswith(text_of(chunks))
        assert len(calls_of(chunks)) <= len(script.calls)
        for call, wanted in zip(calls_of(chunks), script.calls, strict=False):
            assert (call.name, call.arguments) == (wanted.name, wanted.arguments)
        if error is None:
            assert b"[DONE]" in body[:place] or re.search(rb'"finish_reason": ?"\w', body[:place])


def pieces_of(chunks: Sequence[Chunk]) -> list[Chunk]:
    """Without what has tests of its own."""
    return [piece for piece in chunks if not isinstance(piece, ToolCallDeltaChunk | UsageChunk | StopChunk)]


def entry(index: int | None, id_: str | None, name: str | None, arguments: Any = None, **more: Any) -> dict[str, Any]:
    """An entry of `tool_calls`; what is None is not there."""
    inner = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    outer = {key: value for key, value in (("index", index), ("id", id_)) if value is not None}
    return {**outer, "type": "function", "function": inner, **more}


CALLS = [
    pytest.param(
        [entry(0, "a", "f", ""), entry(0, None, None, '{"x"'), entry(0, None, None, ":1}")],
        ['f{"x":1}'],
        id="in pieces",
    ),
    pytest.param([entry(0, "a", "f", '{"x":1}')], ['f{"x":1}'], id="whole"),
    pytest.param([entry(0, "a", "f"), entry(0, None, None, "{}")], ["f{}"], id="arguments missing at first"),
    pytest.param([{"index": 0, "id": "a", "function": {"name": "f", "arguments": None}}], ["f{}"], id="arguments null"),
    pytest.param(
        [{"index": 0, "id": "a", "function": None}, entry(0, None, "f", "{}")], ["f{}"], id="the function null at first"
    ),
    pytest.param([None, entry(0, "a", "f", "{}"), None], ["f{}"], id="entries that are null"),
    pytest.param([entry(0, "a", "f", {"x": [1, "é"]})], ['f{"x":[1,"é"]}'], id="arguments as an object"),
    pytest.param([entry(0, "a", "f", {})], ["f{}"], id="arguments as an empty object"),
    pytest.param([entry(0, "a", "f", ' {"x":1}\n')], ['f{"x":1}'], id="white space around them"),
    pytest.param(
        [entry(0, "a", "f", '{"x":1}'), entry(0, None, None, "\n")], ['f{"x":1}'], id="white space after them"
    ),
    pytest.param([{"index": 0, "id": 7, "function": function("f", "{}")}], ["f{}"], id="an id that is a number"),
    pytest.param(
        [entry(0, "a", "get_"), entry(0, None, "weather"), entry(0, None, None, "{}")],
        ["get_weather{}"],
        id="a name in pieces",
    ),
    pytest.param([entry(0, "a", "get"), entry(0, "a", "get_weather", "{}")], ["get_weather{}"], id="a name that grows"),
    pytest.param(
        [entry(0, "a", "f", ""), entry(0, "a", "f", "{"), entry(0, "a", "f", "}")],
        ["f{}"],
        id="id and name on every piece",
    ),
    pytest.param(
        [entry(0, "a", "f", ""), entry(0, "b", None, "{"), entry(0, "c", None, "}")],
        ["f{}"],
        id="another id on every piece, as old vLLM's",
    ),
    pytest.param(
        [entry(0, None, "f", ""), entry(0, None, "f", "{"), entry(0, None, "f", "}")],
        ["f{}"],
        id="the name on every piece, and no id",
    ),
    pytest.param(
        [entry(None, "a", "f", ""), entry(None, "a", None, "{"), entry(None, "a", None, "}")], ["f{}"], id="no index"
    ),
    pytest.param([entry(None, "", "f", ""), entry(None, "", None, "{}")], ["f{}"], id="neither index nor id"),
    pytest.param(
        [entry(0, "a", "f", '{"x":1}'), entry(0, None, None, '{"x":1}')], ['f{"x":1}'], id="all arguments once more"
    ),
    pytest.param(
        [entry(0, "a", "f", '{"x"'), entry(0, None, None, ":1}"), entry(0, "a", "f", '{"x":1}')],
        ['f{"x":1}'],
        id="the whole call once more",
    ),
    pytest.param(
        [entry(0, None, "f", '{"x":1}'), entry(0, None, "f", '{"x":1}')],
        ['f{"x":1}'],
        id="the whole call once more, without an id",
    ),
    pytest.param(
        [entry(0, "a", "f", "{"), entry(0, None, None, "{")], ["f{{"], id="the same piece twice is no repetition"
    ),
    pytest.param([entry(0, "a", "f", "{}"), entry(1, "b", "g", "{}")], ["f{}", "g{}"], id="two"),
    pytest.param([entry(1, "b", "g", "{}"), entry(0, "a", "f", "{}")], ["g{}", "f{}"], id="two, the second first"),
    pytest.param(
        [entry(0, "a", "f", "{"), entry(1, "b", "g", "{"), entry(0, None, None, "}"), entry(1, None, None, "}")],
        ["f{}", "g{}"],
        id="two that interleave",
    ),
    pytest.param(
        [entry(0, "a", "f", ""), entry(1, "b", "g", '{"y":2}')],
        ["f{}", 'g{"y":2}'],
        id="one without arguments, and another",
    ),
    pytest.param([entry(0, "a", "f", "{}"), entry(0, "b", "f", "{}")], ["f{}", "f{}"], id="two on one index"),
    pytest.param(
        [entry(0, None, "f", '{"x":1}'), entry(0, None, "f", '{"x":2}')],
        ['f{"x":1}', 'f{"x":2}'],
        id="two on one index without ids",
    ),
    pytest.param(
        [entry(0, None, "f", '{"x":1}'), entry(0, None, "g", ""), entry(0, None, None, "{}")],
        ['f{"x":1}', "g{}"],
        id="another name on that index",
    ),
    pytest.param(
        [entry(None, None, "f", "{}"), entry(None, None, "f", "{}")], ["f{}", "f{}"], id="two with neither index nor id"
    ),
    pytest.param(
        [entry(None, "a", "f", "{"), entry(None, "b", "g", "{}"), entry(None, "a", None, "}")],
        ["f{}", "g{}"],
        id="no index, and the first goes on after the second",
    ),
    pytest.param([entry(0, "a", "f", "{"), entry(0, None, None, "oops}")], ["f{oops}"], id="broken"),
    pytest.param([entry(0, "a", "f", "{"), entry(1, "b", "g", "{}")], ["f{", "g{}"], id="the first of two is broken"),
    pytest.param([entry(0, "a", None, "{}")], ["unknown{}"], id="no name"),
    pytest.param([entry(0, "a", "f", "{}"), {"index": 1}], ["f{}"], id="an entry that says nothing is no call"),
    pytest.param(
        [entry(0, "a", "f", '{"x":1}'), entry(1, "b", "g", "{}"), entry(0, None, None, ',"y":2}')],
        None,
        id="more for a call that is out",
    ),
]


@pytest.mark.parametrize(("entries", "wanted"), CALLS)
@pytest.mark.parametrize("together", [True, False], ids=["one event", "an event each"])
def test_tool_calls(entries: list[Any], wanted: list[str] | None, together: bool) -> None:
    """Whatever form they have, each comes once and whole, or there is an error that shows it."""
    events = [calling(*entries)] if together else [calling(one) for one in entries]
    body = sse(*events, chunk({}, "tool_calls"))
    for size in (len(body), 11):
        chunks, error = attempt_openai(cut(body, size))
        keeps_the_contract(chunks)
        if wanted is None:
            assert type(error) is MalformedResponseError
            continue
        assert error is None
        assert [call.name + call.arguments for call in calls_of(chunks)] == wanted
        assert len({call.id for call in calls_of(chunks)}) == len(wanted)
        assert stop_of(chunks).reason == "tool_calls"


@pytest.mark.parametrize(("entries", "wanted"), [case for case in CALLS if case.values[1]])
def test_deltas_show_a_call_as_it_comes(entries: list[Any], wanted: list[str]) -> None:
    """The first has the name and no arguments; together they are the arguments, but for white space."""
    chunks = read_openai([sse(*(calling(one) for one in entries), chunk({}, "tool_calls"))])
    deltas = [piece for piece in chunks if isinstance(piece, ToolCallDeltaChunk)]
    for call in calls_of(chunks):
        mine = [delta for delta in deltas if delta.id == call.id]
        assert mine[0].arguments == ""
        assert all(delta.arguments for delta in mine[1:])
        assert call.name.startswith(mine[0].name)
        assert "".join(delta.arguments for delta in mine).strip() in (call.arguments, "")


def test_a_call_is_delivered_as_soon_as_it_is_known_to_be_whole() -> None:
    """When another begins, or with the finish reason, so that it can run while the rest still comes."""
    first, second = calling(entry(0, "a", "f", "{}")), calling(entry(1, "b", "g", "{}"))
    for events, ready in (([first], 0), ([first, second], 1), ([first, second, chunk({}, "tool_calls")], 2)):
        reader = openai_reader()
        chunks = list(reader.feed(sse(*events, done=False)))
        assert len(calls_of(chunks)) == ready
        assert not reader.done


def test_made_up_ids_differ_from_answer_to_answer() -> None:
    """A history with two of them must not mix them up."""
    bodies = [sse(chunk({"tool_calls": [entry(0, "", "f", "{}")]}, "tool_calls", id=id_)) for id_ in ("r1", "r2")]
    ids = [calls_of(read_openai([body]))[0].id for body in bodies]
    assert ids == ["call_r1_0", "call_r2_0"]


def test_a_function_call_beside_tool_calls_is_the_same_one() -> None:
    """A proxy that serves old clients too sends both."""
    delta = {"tool_calls": [entry(0, "a", "f", "{}")], "function_call": function("f", "{}")}
    assert [call.id for call in calls_of(read_openai([sse(chunk(delta, "tool_calls"))]))] == ["a"]


STOPS = [
    pytest.param("stop", "stop", id="stop"),
    pytest.param("STOP", "stop", id="in capitals, as Google's own"),
    pytest.param("eos", "stop", id="Together"),
    pytest.param("COMPLETE", "stop", id="Cohere"),
    pytest.param("end_turn", "stop", id="Anthropic's word"),
    pytest.param("load", "stop", id="Ollama"),
    pytest.param("length", "length", id="length"),
    pytest.param("MAX_TOKENS", "length", id="Google's word"),
    pytest.param("model_length", "length", id="Mistral"),
    pytest.param("tool_calls", "tool_calls", id="calls, and none came"),
    pytest.param("content_filter", "refusal", id="a filter"),
    pytest.param("SAFETY", "refusal", id="Google's filter"),
    pytest.param("refusal", "refusal", id="Anthropic's refusal"),
    pytest.param("sunset", "other", id="a word nobody knows yet"),
]


@pytest.mark.parametrize(("word", "reason"), STOPS)
def test_stop_reasons(word: str | None, reason: str) -> None:
    """Each word has its reason, and the word is kept."""
    wanted = StopChunk(reason=reason, raw_reason=word, response_id="chatcmpl-1", model="m")  # type: ignore[arg-type]
    assert stop_of(read_openai([sse(chunk({"content": "Hi"}), chunk({}, word))])) == wanted


@pytest.mark.parametrize(
    ("word", "more", "error", "code"),
    [
        pytest.param("error", {}, ServerError, "error", id="Mistral, OpenRouter"),
        pytest.param("ERROR", {}, ServerError, "ERROR", id="in capitals"),
        pytest.param("abort", {}, ServerError, "abort", id="vLLM"),
        pytest.param(
            "insufficient_system_resource", {}, OverloadedError, "insufficient_system_resource", id="DeepSeek"
        ),
        pytest.param(
            "error", {"error": {"code": 429, "message": "Slow"}}, RateLimitError, None, id="OpenRouter says why"
        ),
    ],
)
def test_a_finish_reason_that_is_a_failure_is_raised(
    word: str, more: dict[str, Any], error: type[ProviderError], code: str | None
) -> None:
    """What came before it is delivered, and the usage with it."""
    last = chunk({}, word, usage=usage(3, 1))
    last["choices"][0].update(more)
    chunks, raised = attempt_openai([sse(chunk({"content": "Hi"}), last)])
    assert type(raised) is error
    assert (raised.code, raised.retryable) == (code, True)
    assert (text_of(chunks), usage_of(chunks).output_tokens) == ("Hi", 1)


def kept(block: dict[str, Any], vendor: str = "openai") -> OpaqueChunk:
    return OpaqueChunk(vendor=vendor, data=msgspec.json.encode(block).decode())


DELTAS = [
    pytest.param(
        "deepseek",
        {"reasoning_content": "Hm"},
        [ReasoningChunk(text="Hm", vendor="deepseek")],
        id="DeepSeek's reasoning goes back to it",
    ),
    pytest.param("ollama", {"reasoning": "Hm"}, [ReasoningChunk(text="Hm", vendor="ollama")], id="Ollama's too"),
    pytest.param("groq", {"reasoning": "Hm"}, [ReasoningChunk(text="Hm")], id="nobody wants Groq's back"),
    pytest.param(
        "openai-compatible",
        {"reasoning_content": "", "reasoning": "Hm"},
        [ReasoningChunk(text="Hm")],
        id="one of two names is empty",
    ),
    pytest.param(
        "openai",
        {"reasoning": "Hm", "content": "Hi"},
        [ReasoningChunk(text="Hm"), TextChunk("Hi")],
        id="reasoning and text in one event",
    ),
    pytest.param(
        "openai",
        {"content": [{"type": "text", "text": "Hi"}, {"type": "reference", "reference_ids": [1]}]},
        [TextChunk("Hi"), kept({"type": "reference", "reference_ids": [1]})],
        id="a part that is no text",
    ),
    pytest.param(
        "mistral",
        {"content": [{"type": "thinking", "thinking": "Hm"}]},
        [ReasoningChunk(text="Hm")],
        id="thinking that is a text",
    ),
    pytest.param("mistral", {"content": [{"type": "thinking", "thinking": []}]}, [], id="thinking of nothing"),
    pytest.param("mistral", {"content": []}, [], id="no parts"),
    pytest.param("openai", {"content": ""}, [], id="no text"),
    pytest.param("openai", {"content": None, "refusal": "No"}, [TextChunk("No")], id="a refusal"),
    pytest.param(
        "openai",
        {"role": "assistant", "audio": {"id": "x"}, "annotations": [{"a": 1}], "content": "Hi"},
        [
            TextChunk("Hi"),
            kept({"type": "audio", "audio": {"id": "x"}}),
            kept({"type": "annotations", "annotations": [{"a": 1}]}),
        ],
        id="fields of other features",
    ),
    pytest.param(
        "openai",
        {"tool_calls": None, "function_call": None, "extra_content": None, "content": "Hi"},
        [TextChunk("Hi")],
        id="nulls",
    ),
    pytest.param("openai", {"tool_calls": [], "content": "Hi"}, [TextChunk("Hi")], id="no calls"),
    pytest.param(
        "openai",
        {"reasoning_details": [{"type": "reasoning.text", "text": "Hm"}]},
        [ReasoningChunk(text="Hm")],
        id="details of a vendor that wants none back",
    ),
    pytest.param(
        "openai",
        {"reasoning_details": [{"type": "reasoning.summary", "summary": "Hm"}]},
        [ReasoningChunk(text="Hm")],
        id="a summary in the details",
    ),
]


@pytest.mark.parametrize(("dialect", "delta", "wanted"), DELTAS)
def test_deltas(dialect: str, delta: dict[str, Any], wanted: list[Chunk]) -> None:
    """In a stream, as in the message of a whole answer."""
    assert pieces_of(read_openai([sse(chunk(delta), END)], dialect)) == wanted
    document = {"id": "c", "choices": [{"index": 0, "message": delta, "finish_reason": "stop"}]}
    assert pieces_of(read_openai([msgspec.json.encode(document)], dialect)) == wanted


def detail(kind: str, index: int | None, **fields: Any) -> dict[str, Any]:
    return {"type": f"reasoning.{kind}", "format": "anthropic-claude-v1", "index": index, **fields}


DETAILS = [
    pytest.param(
        [[detail("text", 0, text="Le")], [detail("text", 0, text="t us")], [detail("text", 0, signature="Es4=")]],
        [detail("text", 0, text="Let us", signature="Es4=")],
        id="a text in pieces and its signature",
    ),
    pytest.param(
        [[detail("text", 0, text="A", signature=None)], [detail("text", 0, text="", signature="E")]],
        [detail("text", 0, text="A", signature="E")],
        id="a signature that is null at first",
    ),
    pytest.param(
        [[detail("text", 0, text="A", signature="E")], [detail("text", 0, signature=None)]],
        [detail("text", 0, text="A", signature="E")],
        id="null takes nothing back",
    ),
    pytest.param(
        [[detail("text", 0, text="A")], [detail("text", 1, text="B")], [detail("encrypted", 1, data="x")]],
        [detail("text", 0, text="A"), detail("text", 1, text="B"), detail("encrypted", 1, data="x")],
        id="another index or type is another entry",
    ),
    pytest.param(
        [[detail("encrypted", 0, data="x", id="call_1")], [detail("encrypted", 0, data="y", id="call_2")]],
        [detail("encrypted", 0, data="x", id="call_1"), detail("encrypted", 0, data="y", id="call_2")],
        id="Google's signatures of two calls share an index",
    ),
    pytest.param(
        [[detail("summary", None, summary="A")], [detail("summary", None, summary="B")]],
        [detail("summary", None, summary="AB")],
        id="no index",
    ),
]


@pytest.mark.parametrize(("pieces", "wanted"), DETAILS)
def test_openrouters_details_come_as_one_proof_at_the_end(
    pieces: list[list[dict[str, Any]]], wanted: list[dict[str, Any]]
) -> None:
    """Joined as they were before they were cut, after all else but the stop."""
    deltas = [chunk({"content": "", "reasoning_details": piece}) for piece in pieces]
    chunks = read_openai([sse(*deltas, chunk({"content": "Hi"}), END)], "openrouter")
    proof = [piece for piece in chunks if not isinstance(piece, UsageChunk)][-2]
    assert isinstance(proof, ReasoningChunk)
    assert (msgspec.json.decode(proof.proof or ""), proof.vendor, proof.text) == (wanted, "openrouter", "")
    assert sum(isinstance(piece, ReasoningChunk) and piece.proof is not None for piece in chunks) == 1


def test_the_details_of_a_whole_answer_are_not_touched() -> None:
    """They are whole already, so that two alike are two."""
    details = [detail("text", None, text="A"), detail("text", None, text="B")]
    document = {"choices": [{"message": {"content": "Hi", "reasoning_details": details}, "finish_reason": "stop"}]}
    chunks = read_openai([msgspec.json.encode(document)], "openrouter")
    assert reasoning_of(chunks) == "AB"
    (proof,) = [piece.proof for piece in chunks if isinstance(piece, ReasoningChunk) and piece.proof]
    assert msgspec.json.decode(proof) == details


SIGNED = {"google": {"thought_signature": "AbC="}}


def test_googles_signature_stands_right_before_its_call() -> None:
    """As the JSON that has to stand on the call again; a call without one has none, and null is none."""
    calls = [entry(None, "a", "f", "{}", extra_content=SIGNED), entry(None, "b", "g", "{}", extra_content=None)]
    proof = ReasoningChunk(proof='{"google":{"thought_signature":"AbC="}}', vendor="google")
    made = [ToolCallChunk(id="a", name="f", arguments="{}"), ToolCallChunk(id="b", name="g", arguments="{}")]
    body = sse(calling(*calls), END)
    assert pieces_of(read_openai([body], "google")) == [proof, *made]
    assert pieces_of(read_openai([body], "openai-compatible")) == made


def test_googles_signature_of_a_text_comes_last() -> None:
    """It stands in a delta of its own, and belongs to the message."""
    body = sse(chunk({"content": "Hi", "extra_content": None}), chunk({"extra_content": SIGNED}), END)
    proof = ReasoningChunk(proof='{"google":{"thought_signature":"AbC="}}', vendor="google")
    assert pieces_of(read_openai([body], "google")) == [TextChunk("Hi"), proof]
    assert pieces_of(read_openai([body])) == [TextChunk("Hi")]


TIERS = msgspec.structs.replace(
    PRICED, variants={"priority": PriceSheet(input_price=Decimal(6), output_price=Decimal(30))}
)
COUNTS = [
    pytest.param("openai", usage(9, 4), (9, 4, 0, 0, 0, 0), id="plain"),
    pytest.param(
        "openai",
        usage(100, 4, prompt_tokens_details={"cached_tokens": 60, "cache_write_tokens": 30}),
        (10, 4, 60, 30, 0, 0),
        id="read and written are parts of the prompt",
    ),
    pytest.param(
        "openai",
        usage(100, 4, prompt_tokens_details={"cached_tokens": 60, "cache_write_tokens": 60}),
        (0, 4, 60, 40, 0, 0),
        id="a gateway counts a token as read and as written",
    ),
    pytest.param(
        "openai",
        usage(7, 4, prompt_tokens_details={"cached_tokens": 161}),
        (0, 4, 7, 0, 0, 0),
        id="more read than there was",
    ),
    pytest.param(
        "openai",
        usage(
            50,
            4,
            prompt_tokens_details={"cache_write_tokens": 30, "cache_write_tokens_details": {"ttl_12h_tokens": 20}},
        ),
        (20, 4, 0, 30, 20, 0),
        id="writes of both lifetimes",
    ),
    pytest.param(
        "openai",
        usage(9, 4, completion_tokens_details={"reasoning_tokens": 3}),
        (9, 4, 0, 0, 0, 3),
        id="reasoning is a part of the output",
    ),
    pytest.param(
        "openai",
        usage(9, 4, 20, completion_tokens_details={"reasoning_tokens": 7}),
        (9, 11, 0, 0, 0, 7),
        id="reasoning beside the output",
    ),
    pytest.param(
        "openai",
        usage(9, 4, 13, completion_tokens_details={"reasoning_tokens": 7}),
        (9, 4, 0, 0, 0, 4),
        id="more reasoning than output",
    ),
    pytest.param("openai", usage(9, 4, 99), (9, 4, 0, 0, 0, 0), id="a total of something else"),
    pytest.param("google", usage(9, 4, 99), (9, 90, 0, 0, 0, 0), id="Google's output is the rest"),
    pytest.param("google", usage(9, 4, 5), (9, 4, 0, 0, 0, 0), id="unless the total is nonsense"),
    pytest.param("google", {"prompt_tokens": 9, "total_tokens": 12}, (9, 3, 0, 0, 0, 0), id="Google has only thought"),
    pytest.param(
        "deepseek",
        usage(100, 4, prompt_cache_hit_tokens=64, prompt_cache_miss_tokens=36),
        (36, 4, 64, 0, 0, 0),
        id="DeepSeek's own words",
    ),
    pytest.param("openai-compatible", usage(100, 4, cached_tokens=64), (36, 4, 64, 0, 0, 0), id="Moonshot's place"),
    pytest.param(
        "mistral",
        usage(9, 4, prompt_tokens_details={"cached_tokens": 16}, num_cached_tokens=16),
        (0, 4, 9, 0, 0, 0),
        id="Mistral reads in blocks, beyond the prompt even",
    ),
    pytest.param("openai", usage(-5, -1), (0, 0, 0, 0, 0, 0), id="negative counts"),
    pytest.param(
        "openai",
        {"prompt_tokens": 9, "completion_tokens": None, "prompt_tokens_details": None},
        (9, 0, 0, 0, 0, 0),
        id="nulls",
    ),
    pytest.param(
        "openai",
        {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": None}},
        (9, 0, 0, 0, 0, 0),
        id="nulls inside",
    ),
]


@pytest.mark.parametrize(("dialect", "report", "counts"), COUNTS)
def test_counts_are_made_disjoint(dialect: str, report: dict[str, Any], counts: tuple[int, ...]) -> None:
    """Each vendor's way to count, in a stream and in a whole answer, beside the choice or without one."""
    bodies = [
        sse(chunk({"content": "Hi"}), {**chunk({}, "stop"), "usage": report}),
        sse(chunk({"content": "Hi"}), END, {"choices": [], "usage": report}),
        sse(chunk({"content": "Hi"}), END, {"choices": None, "usage": report}),
        sse(chunk({"content": "Hi"}), END, {"choices": [{"index": 1, "delta": {}}], "usage": report}),
        msgspec.json.encode({"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}], "usage": report}),
    ]
    for body in bodies:
        found = usage_of(read_openai([body], dialect))
        assert (
            found.input_tokens,
            found.output_tokens,
            found.cache_read_tokens,
            found.cache_write_tokens,
            found.cache_write_extended_tokens,
            found.reasoning_tokens,
        ) == counts


MILLION = usage(1_000_000, 0)
COSTS = [
    pytest.param({}, {}, "3", id="by the prices"),
    pytest.param({"service_tier": "default"}, {}, "3", id="the ordinary tier"),
    pytest.param({"service_tier": "on_demand"}, {}, "3", id="Groq's ordinary tier"),
    pytest.param({"service_tier": "priority"}, {}, "6", id="priority"),
    pytest.param({"service_tier": "flex"}, {}, None, id="a tier without a price"),
    pytest.param({}, {"service_tier": "priority"}, "6", id="a tier inside the usage"),
    pytest.param({}, {"cost": 0.25}, "0.25", id="the vendor's own cost"),
    pytest.param({}, {"cost": 0}, "0", id="the vendor says it was free"),
    pytest.param({}, {"cost": "0.25"}, "0.25", id="a cost that is a text"),
    pytest.param({}, {"cost": 1e-7}, "0.0000001", id="a small cost"),
    pytest.param({}, {"cost": None}, "3", id="a cost of null"),
    pytest.param({}, {"cost": {"total_cost": 0.5, "request_cost": 0.1}}, "0.5", id="Perplexity's object"),
    pytest.param({}, {"cost": {"sum": 1}}, "3", id="another object"),
    pytest.param({}, {"cost": "free"}, "3", id="a word"),
    pytest.param({}, {"cost": "NaN"}, "3", id="not a number"),
    pytest.param({}, {"cost": "1e999999"}, "3", id="no sum of money"),
    pytest.param({}, {"cost": "1e-999999"}, "3", id="nor this"),
    pytest.param({}, {"cost": "1" * 9000}, "3", id="nor this one"),
    pytest.param({}, {"cost": "0." + "1" * 9000}, "3", id="nor one of so many places"),
    pytest.param({}, {"cost": -1}, None, id="a negative cost is unknown"),
    pytest.param({}, {"cost_in_usd_ticks": 12_345}, "0.0000012345", id="xAI's ticks"),
    pytest.param({}, {"cost_in_usd_ticks": 0}, "3", id="no ticks where another hosts Grok"),
    pytest.param(
        {},
        {"cost": 0.1, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.02}},
        "0.12",
        id="with a key of one's own two bills come",
    ),
    pytest.param(
        {},
        {"cost": 0.1, "is_byok": True, "cost_details": {"upstream_inference_cost": None}},
        "3",
        id="one of which is not known",
    ),
    pytest.param(
        {},
        {"cost": 0.1, "is_byok": False, "cost_details": {"upstream_inference_cost": 9}},
        "0.1",
        id="without one the second is included",
    ),
    pytest.param({}, {"server_tool_use_details": {"web_search_requests": 2}}, "3.02", id="web searches"),
]


@pytest.mark.parametrize(("event", "report", "dollars"), COSTS)
def test_cost(event: dict[str, Any], report: dict[str, Any], dollars: str | None) -> None:
    """Exact, or unknown; and never too little."""
    body = sse(chunk({"content": ""}), END, {"choices": [], "usage": {**MILLION, **report}, **event})
    assert usage_of(read_openai([body], "openrouter", info=TIERS)).cost == (
        None if dollars is None else Decimal(dollars)
    )


def test_the_tier_may_be_said_in_the_first_event_alone() -> None:
    """And in none that has the usage: the price is still that of the tier."""
    body = sse(chunk({"content": ""}, service_tier="priority"), chunk({}, "stop", usage=MILLION))
    assert usage_of(read_openai([body], info=TIERS)).cost == 6


def test_a_vendor_that_reports_nothing_leaves_the_bill_open() -> None:
    """Unknown is not zero."""
    body = sse(
        chunk({"content": "Hi"}, usage=None), chunk({}, "stop", usage={"total_tokens": 5}), {"choices": [], "usage": {}}
    )
    assert usage_of(read_openai([body])) == UsageChunk(unsettled=1)


TOLERATED = [
    pytest.param(b"data: {}\n\n", id="an empty event"),
    pytest.param(b"data:\n\n", id="no data"),
    pytest.param(b"event: ping\ndata: {}\n\n", id="a ping with a name"),
    pytest.param(b'data: {"choices":[null]}\n\n', id="a choice that is null"),
    pytest.param(b'data: {"choices":[{}]}\n\n', id="an empty choice"),
    pytest.param(b'data: {"choices":[{"delta":{"content":null}}],"error":null}\n\n', id="an error that is null"),
    pytest.param(b'data: {"choices":[{"delta":{}}],"error":{}}\n\n', id="an error that is empty"),
    pytest.param(b'data: {"choices":[{"delta":{}}],"error":[]}\n\n', id="an error that is an empty array"),
    pytest.param(
        b'data: {"choices":[{"index":1,"delta":{"content":"no"},"finish_reason":"length"}]}\n\n', id="a second choice"
    ),
    pytest.param(
        b'data: {"choices":[{"delta":null,"finish_reason":""}],"x_groq":{"id":"r"}}\n\n', id="Groq's first event"
    ),
    pytest.param(b'data: {"choices":[{"delta":{"content":""}}],"id":7,"model":null}\n\n', id="an id that is a number"),
    pytest.param(b'data: {"choices":[{"delta":{"content":"","weather":[[[1]]]}}]}\n\n', id="an unknown field"),
    pytest.param(b'data: {"weather":' + b"[" * 500 + b"]" * 500 + b',"choices":[]}\n\n', id="an unknown field, deep"),
    pytest.param(b'data: {"weather":"\xff","choices":[]}\n\n', id="an unknown field that is no text"),
]


@pytest.mark.parametrize("event", TOLERATED)
def test_hazards_that_are_tolerated(event: bytes) -> None:
    """None of them ends the stream, or adds to it."""
    body = event + sse(chunk({"content": "Hi"}))[: -len(b"data: [DONE]\n\n")] + event + sse(END)
    for size in (len(body), 5):
        chunks = read_openai(cut(body, size))
        assert pieces_of(chunks) == [TextChunk("Hi")]
        assert stop_of(chunks).raw_reason == "stop"


def test_a_message_beside_no_delta_is_used_only_where_there_are_no_deltas() -> None:
    """Some servers send whole messages as events; after deltas it is all that has been said already."""
    whole = {"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}
    for events in ([], [chunk({"content": "H"}), chunk({"content": "i"})]):
        for more in ({}, {"delta": None}):
            assert (
                text_of(read_openai([sse(*events, {"id": "c", "model": "m", "choices": [{**whole, **more}]})])) == "Hi"
            )


def test_a_second_choice_may_come_first() -> None:
    """Its index tells, not its place."""
    other = {"index": 1, "delta": {"content": "no"}, "finish_reason": "length"}
    mine = {"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}
    chunks = read_openai([sse({"id": "c", "choices": [other, mine]})])
    assert (text_of(chunks), stop_of(chunks).raw_reason) == ("Hi", "stop")


TEXTS = [
    pytest.param(b'"\xff"', "\ufffd", id="invalid UTF-8"),
    pytest.param(b'"a\xe2\x82"', "a\ufffd", id="half a character"),
    pytest.param(b'"a\\ud83d"', "a\ufffd", id="half a surrogate pair"),
    pytest.param(b'"\\u0000\\n"', "\0\n", id="control characters"),
    pytest.param('"\u2028\x85"'.encode(), "\u2028\x85", id="other line ends"),
    pytest.param(b'"[DONE]"', "[DONE]", id="the word for the end"),
    pytest.param(b'"data: x\\n\\ndata: y"', "data: x\n\ndata: y", id="what looks like events"),
]


@pytest.mark.parametrize(("raw", "text"), TEXTS)
def test_any_text_comes_through(raw: bytes, text: str) -> None:
    """In a stream, in a whole answer, in a call's arguments."""
    body = sse(chunk({"content": "QQ"}), END).replace(b'"QQ"', raw)
    whole = chat_document(text="QQ").replace(b'"QQ"', raw)
    for size in (len(body), 1):
        assert text_of(read_openai(cut(body, size))) == text
    assert text_of(read_openai([whole])) == text
    call = sse(calling(entry(0, "QQ", "f", "{}")), END).replace(b'"QQ"', raw)
    assert [made.id for made in calls_of(read_openai([call]))] == [text]


BROKEN = [
    pytest.param(
        sse(chunk({"content": "Hi"}), b"data: {oops\n\n"),
        MalformedResponseError,
        "oops",
        id="an event that is not JSON",
    ),
    pytest.param(sse(b"data: [1]\n\n"), MalformedResponseError, r"\[1\]", id="an event that is an array"),
    pytest.param(sse(b'data: "Hi"\n\n'), MalformedResponseError, "Hi", id="an event that is a text"),
    pytest.param(
        sse(b"data: " + b"[" * 100_000 + b"\n\n"), MalformedResponseError, "malformed", id="nested without end"
    ),
    pytest.param(sse({"choices": 3}), StreamInterruptedError, "began", id="choices of a wrong type"),
    pytest.param(
        sse(chunk({"tool_calls": [{"index": "x"}]})), StreamInterruptedError, "tool call", id="a call of nothing"
    ),
    pytest.param(
        b'event: response.created\ndata: {"type":"response.created","response":{}}\n\n',
        MalformedResponseError,
        "`wire` to responses",
        id="the other wire",
    ),
    pytest.param(sse(), StreamInterruptedError, "began", id="only [DONE]"),
    pytest.param(
        sse({"choices": [], "usage": usage(3, 0)}), StreamInterruptedError, "began", id="only usage and [DONE]"
    ),
    pytest.param(b"", StreamInterruptedError, "empty", id="nothing"),
    pytest.param(b"\n \n", StreamInterruptedError, "empty", id="white space"),
    pytest.param(b": ping\n\n: ping\n\n", StreamInterruptedError, "before", id="only comments"),
    pytest.param(sse(chunk({"content": "Hi"}), done=False), StreamInterruptedError, "before", id="no end"),
    pytest.param(
        sse(chunk({"content": "Hi"}), done=False) + b"data: [DON",
        StreamInterruptedError,
        "before",
        id="half of the end",
    ),
    pytest.param(
        sse(chunk({"content": "Hi"}), done=False) + b'data: {"choices":[{"finish_reason":"st',
        StreamInterruptedError,
        "before",
        id="half of the last event",
    ),
    pytest.param(b'{"choices":[{"message":{"content":"Hi', MalformedResponseError, "malformed", id="half a document"),
    pytest.param(b'{"hello":1}', MalformedResponseError, "hello", id="other JSON"),
    pytest.param(b'{"choices":[]}', StreamInterruptedError, "empty", id="no choice"),
    pytest.param(b'{"choices":null,"id":null}', StreamInterruptedError, "empty", id="nothing but nulls"),
    pytest.param(b"[]", MalformedResponseError, r"\[\]", id="an empty array"),
    pytest.param(b"<html>Bad gateway</html>", MalformedResponseError, "web page.*Bad gateway", id="a web page"),
    pytest.param(b"Bad gateway", StreamInterruptedError, "before", id="a line of text"),
]


@pytest.mark.parametrize(("body", "kind", "words"), BROKEN)
def test_what_is_no_answer_is_an_error(body: bytes, kind: type[ProviderError], words: str) -> None:
    """Never an empty success, wherever the bytes are cut."""
    for size in (max(1, len(body)), 3):
        with pytest.raises(kind, match=words) as raised:
            read_openai(cut(body, size))
        assert raised.type is kind
        assert len(str(raised.value)) < 700


ERRORS = [
    pytest.param({"error": {"message": "Busy", "type": "server_error", "code": None}}, id="OpenAI"),
    pytest.param({"error": "Busy"}, id="a text"),
    pytest.param({"object": "error", "message": "Busy", "type": "X", "code": 500}, id="the event itself"),
    pytest.param({"object": "error", "message": "Busy"}, id="the event itself, without a code"),
    pytest.param({"detail": "Busy"}, id="FastAPI"),
    pytest.param({"detail": [{"loc": ["body"], "msg": "Busy"}]}, id="FastAPI's list"),
    pytest.param({"message": "Busy", "code": 500}, id="a message and a code"),
    pytest.param({"code": "unavailable", "error": "Busy"}, id="xAI"),
    pytest.param({**chunk({"content": "no"}), "error": {"message": "Busy"}}, id="beside a choice"),
    pytest.param({**chunk({}), "x_groq": {"error": "Busy"}}, id="Groq"),
    pytest.param({"choices": [], "error": {"message": "Busy", "code": 503}}, id="beside no choices"),
    pytest.param({"choices": [{"delta": {}, "error": {"message": "Busy", "code": 502}}]}, id="inside the choice"),
]


@pytest.mark.parametrize("event", ERRORS)
def test_errors_inside_a_stream(event: dict[str, Any]) -> None:
    """Every form of them ends the answer after what came before; `[DONE]` behind it changes nothing."""
    for name in (b"", b"event: error\n"):
        body = sse(chunk({"content": "Hi"}), name, event, chunk({"content": "no"}), END)
        for size in (len(body), 3):
            chunks, error = attempt_openai(cut(body, size))
            assert type(error) is ServerError
            assert "Busy" in error.message
            assert (text_of(chunks), error.status, error.retryable) == ("Hi", None, True)


@pytest.mark.parametrize("says_end", [True, False])
def test_a_vendor_that_never_says_so_ends_with_its_stream(says_end: bool) -> None:
    """Its row tells; half an event is an error there too, and so is nothing."""
    row = Dialect(name="mine", says_end=says_end)
    body = sse(chunk({"content": "Hi"}), done=False)
    chunks, error = attempt_openai([body], row)
    assert (error is None) is not says_end
    assert text_of(chunks) == "Hi"
    assert type(attempt_openai([b": ping\n\n"], row)[1]) is StreamInterruptedError


def test_what_has_no_chunk_yet_counts_as_content() -> None:
    """Or a long call whose name comes late would look like a stall."""
    reader = openai_reader("openrouter")
    for held, event in enumerate(
        (calling(entry(0, "a", None, "{")), chunk({"reasoning_details": [detail("encrypted", 0, data="E")]})), 1
    ):
        assert list(reader.feed(sse(event, done=False))) == []
        assert reader.held == held


def test_nothing_after_the_end_is_looked_at() -> None:
    """Neither in the same bytes nor in later ones."""
    reader = openai_reader()
    chunks = list(reader.feed(sse(chunk({"content": "Hi"}), END) + b"data: {oops\n\n"))
    assert reader.done
    assert [*reader.feed(b"data: {oops\n\n"), *reader.close()] == []
    assert isinstance(chunks[-1], StopChunk)


FORMS = st.builds(
    ChatForm,
    reasoning_field=st.sampled_from(["reasoning_content", "reasoning"]),
    whole_calls=st.booleans(),
    call_ids=st.sampled_from(["first", "every"]),
    call_index=st.sampled_from(["own", "shared", "none"]),
    finish_alone=st.booleans(),
    usage_place=st.sampled_from(["last", "finish", "choice", "x_groq", "every", "none"]),
    done=st.booleans(),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
ARGUMENTS = st.dictionaries(st.text(max_size=5), VALUES, max_size=3)


@settings(max_examples=150, deadline=None)
@given(FORMS, st.text(max_size=30), st.text(max_size=20), st.lists(ARGUMENTS, max_size=3), st.data())
def test_every_form_of_any_answer_gives_it_back(
    form: ChatForm, text: str, reasoning: str, calls: list[dict[str, Any]], data: st.DataObject
) -> None:
    """Whatever is said, however a server forms it and wherever it is cut."""
    wanted = [(f"call_{n}", "f", arguments) for n, arguments in enumerate(calls)]
    made = [{"id": id_, "name": name, "arguments": arguments} for id_, name, arguments in wanted]
    piece = data.draw(st.integers(1, 9))
    body = b"".join(chat_events(text=text, reasoning=reasoning, tool_calls=made, form=form, piece=piece))
    whole = read_openai([body])
    keeps_the_contract(whole)
    assert (text_of(whole), reasoning_of(whole)) == (text, reasoning)
    assert [(call.id, call.name, msgspec.json.decode(call.arguments)) for call in calls_of(whole)] == wanted
    assert usage_of(whole).prompt_tokens == (0 if form.usage_place == "none" else 10)
    assert stop_of(whole).reason == ("tool_calls" if calls else "stop")
    size = data.draw(st.integers(1, 40))
    assert read_openai(cut(body, size)) == whole
    assert read_openai(cut(body.replace(b"\n", b"\r\n"), size)) == whole


COUNT = st.none() | st.integers(1, 10**6)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(COUNT, COUNT, COUNT, COUNT, COUNT), min_size=1, max_size=5))
def test_the_sum_of_the_increments_is_the_last_report(reports: list[tuple[int | None, ...]]) -> None:
    """Up or down, whatever is missing: each field is that of the last report that has it, never below 0 on the way."""
    events = [
        chunk(
            {"content": "x"},
            usage={
                "prompt_tokens": prompt,
                "completion_tokens": completion,
                "prompt_tokens_details": {"cached_tokens": read, "cache_write_tokens": write},
                "completion_tokens_details": {"reasoning_tokens": thought},
            },
        )
        for prompt, completion, read, write, thought in reports
    ]
    chunks = read_openai([sse(*events, END)])
    keeps_the_contract(chunks)
    found = usage_of(chunks)
    prompt, output, read, write, thought = (
        next((one[field] for one in reversed(reports) if one[field] is not None), None) for field in range(5)
    )
    assert found.prompt_tokens == (prompt or 0)
    assert found.cache_read_tokens == min(read or 0, prompt or 0)
    assert found.cache_write_tokens == min(write or 0, found.prompt_tokens - found.cache_read_tokens)
    assert found.output_tokens == (output or 0)
    assert found.reasoning_tokens == min(thought or 0, output or 0)
    assert found.unsettled == int(prompt is None or output is None)
    assert found.known_cost == Decimal(
        3_000_000 * found.input_tokens
        + 15_000_000 * found.output_tokens
        + 3_750_000 * found.cache_write_tokens
        + 300_000 * found.cache_read_tokens
    ).scaleb(-12)


def test_a_model_without_prices_has_no_cost() -> None:
    """None, not 0."""
    assert usage_of(read_openai([chat(text="Hi")], info=ModelInfo())).cost is None


def test_the_api_of_another_vendor_is_named() -> None:
    """Not an answer that was cut off, which one would ask for again and again."""
    with pytest.raises(MalformedResponseError, match="use AnthropicProvider"):
        read_openai([b'event: message_start\ndata: {"type":"message_start","message":{}}\n\n'])


def test_a_plain_end_inside_a_call_is_none() -> None:
    """Where a stream may end without a word, a call without arguments may have been cut off."""
    row = Dialect(name="plain", says_end=False)
    reader = openai_reader(row)
    list(reader.feed(sse(calling(entry(0, "a", "delete_all")), done=False)))
    with pytest.raises(StreamInterruptedError):
        list(reader.close())


@pytest.mark.parametrize("word", ["max_output_tokens", "context_length", "incomplete"])
def test_words_for_the_limit_drop_a_call_that_was_cut(word: str) -> None:
    """As `length` does."""
    chunks = read_openai([sse(calling(entry(0, "a", "delete_all")), chunk({}, word))])
    assert calls_of(chunks) == []


def test_an_error_keeps_the_usage_beside_it() -> None:
    """It is billed, although the answer failed."""
    broken = {"error": {"message": "lost", "code": 502}, "usage": {"prompt_tokens": 7, "completion_tokens": 3}}
    chunks, error = attempt_openai([sse(chunk({"content": "Hi"}), broken, done=False)])
    assert type(error) is ServerError
    assert usage_of(chunks).prompt_tokens == 7


def test_pieces_of_nothing_are_no_content() -> None:
    """Or a stream of them would never run into a deadline."""
    reader = openai_reader("openrouter")
    for event in (chunk({"tool_calls": [None, {}]}), chunk({"reasoning_details": [detail("text", 0)]})):
        assert list(reader.feed(sse(event, done=False))) == []
    assert reader.held == 0


def test_a_cost_that_the_vendor_has_said_stands() -> None:
    """Also when a later report of the same answer leaves it out."""
    first = chunk({"content": "Hi"}, usage={"prompt_tokens": 1, "completion_tokens": 1, "cost": 0.5})
    body = sse(first, chunk({}, "stop", usage={"prompt_tokens": 1, "completion_tokens": 1}))
    chunks = read_openai([body], "openrouter")
    assert usage_of(chunks).cost == Decimal("0.5")
