"""Bookkeeping never costs an answer: whatever stands in a field that is not content, text and calls come through."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import pytest

from dialects import calling, chunk, sse
from penstock import (
    Chunk,
    OpaqueChunk,
    ProviderError,
    ReasoningChunk,
    StopChunk,
    StreamInterruptedError,
    TextChunk,
    ToolCallChunk,
    UsageChunk,
)
from penstock.core.dialect import Wire
from penstock.wire.event_json import decode
from reading import attempt, attempt_openai, calls_of, cut, read, read_openai, reasoning_of, stop_of, text_of

ANY: Final[tuple[Any, ...]] = (
    None,
    False,
    True,
    0,
    7,
    -3,
    2**70,
    1.5,
    1e300,
    "",
    "x",
    "7",
    [],
    [1],
    ["x"],
    [[]],
    [{}],
    {},
    {"a": 1},
)
"""Every type of JSON, as a field may hold it."""
RAW: Final = (b"1e999", b'"\\ud800"', b'"\xff"', b"9" * 400, b"NaN", b"-Infinity")
"""What only JSON can say, and what Python's writes although it is none."""

# What is content, what holds it, what tells it apart, or is an error in itself.
CONTENT: Final = {
    *("choices", "delta", "message", "content", "reasoning_content", "reasoning", "tool_calls", "function", "name"),
    *("arguments", "refusal", "text", "thinking", "partial_json", "type", "content_block", "input", "error"),
    *("response", "output", "item", "summary", "id of a call", "base_resp", "delta of an event"),
}
ENDS: Final = {"finish_reason", "native_finish_reason", "stop_reason", "status", "reason", "incomplete_details"}
"""Without one of these an answer may be known to be whole no more."""

USAGE: Final[dict[str, Any]] = {
    "prompt_tokens": 9, "input_tokens": 9, "completion_tokens": 4, "output_tokens": 4, "total_tokens": 13,
    "prompt_tokens_details": {"cached_tokens": 1, "cache_write_tokens": 1, "audio_tokens": 0},
    "input_tokens_details": {"cached_tokens": 1}, "completion_tokens_details": {"reasoning_tokens": 1},
    "output_tokens_details": {"reasoning_tokens": 1, "thinking_tokens": 1}, "cost": 0.1, "cost_in_usd_ticks": 3,
    "is_byok": False, "cost_details": {"upstream_inference_cost": 0.1}, "service_tier": "default",
    "cache_creation_input_tokens": 1, "cache_read_input_tokens": 1, "speed": "standard", "inference_geo": "global",
    "cache_creation": {"ephemeral_1h_input_tokens": 1}, "server_tool_use": {"web_search_requests": 0},
    "iterations": [{"type": "message", "input_tokens": 1, "output_tokens": 1}], "cached_tokens": 1,
    "server_tool_use_details": {"web_search_requests": 0}, "prompt_cache_hit_tokens": 1,
}  # fmt: skip
BESIDE: Final[dict[str, Any]] = {
    "id": "r1", "model": "m", "created": 1, "created_at": 1, "object": "x", "system_fingerprint": "fp", "usage": USAGE,
    "service_tier": "default", "citations": ["u"], "search_results": [{"u": 1}], "x_groq": {"id": "r", "usage": USAGE},
    "provider": "p", "obfuscation": "zz",
}  # fmt: skip
CALL: Final[dict[str, Any]] = {
    "index": 0,
    "id": "c1",
    "type": "function",
    "function": {"name": "f", "arguments": '{"x":1}'},
}
DELTA: Final[dict[str, Any]] = {"role": "assistant", "annotations": [{"u": 1}], "images": [], "audio": None}
CHOICE: Final[dict[str, Any]] = {
    "index": 0,
    "logprobs": {"content": [{"token": "a"}]},
    "usage": None,
    "content_filter_results": {},
}


def chat_events() -> list[dict[str, Any]]:
    return [
        {**BESIDE, "choices": [{**CHOICE, "finish_reason": None, "delta": {**DELTA, "content": "Good "}}]},
        {**BESIDE, "choices": [{**CHOICE, "delta": {"reasoning": "Hm", "reasoning_details": [{"a": 1}]}}]},
        {**BESIDE, "choices": [{**CHOICE, "delta": {"content": "day", "tool_calls": [CALL]}}]},
        {**BESIDE, "choices": [{**CHOICE, "delta": {}, "finish_reason": "stop", "native_finish_reason": "stop"}]},
    ]


def chat_whole() -> dict[str, Any]:
    message = {**DELTA, "content": "Good day", "reasoning": "Hm", "tool_calls": [CALL]}
    return {**BESIDE, "choices": [{**CHOICE, "message": message, "finish_reason": "stop"}]}


BLOCKS: Final[list[dict[str, Any]]] = [
    {"type": "thinking", "thinking": "Hm", "signature": "sig"},
    {"type": "text", "text": "Good day", "citations": None},
    {"type": "tool_use", "id": "c1", "name": "f", "input": {"x": 1}, "caller": {"type": "direct"}},
]


def messages_events() -> list[dict[str, Any]]:
    starts = [{"type": "thinking", "thinking": ""}, {"type": "text", "text": ""}, {**BLOCKS[2], "input": {}}]
    deltas = [
        {"type": "thinking_delta", "thinking": "Hm"},
        {"type": "text_delta", "text": "Good day"},
        {"type": "input_json_delta", "partial_json": '{"x":1}'},
    ]
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**BESIDE, "role": "assistant", "content": []}}
    ]
    for index, (start, delta) in enumerate(zip(starts, deltas, strict=True)):
        events.append({"type": "content_block_start", "index": index, "content_block": start})
        events.append({"type": "content_block_delta", "index": index, "delta": delta})
        events.append({"type": "content_block_stop", "index": index})
    end = {"stop_reason": "tool_use", "stop_sequence": None, "container": {"id": "x", "expires_at": "y"}}
    return [*events, {"type": "message_delta", "delta": end, "usage": USAGE}, {"type": "message_stop"}]


def messages_whole() -> dict[str, Any]:
    return {**BESIDE, "type": "message", "content": BLOCKS, "stop_reason": "tool_use", "stop_sequence": None}


ITEMS: Final[list[dict[str, Any]]] = [
    {"type": "reasoning", "id": "i0", "summary": [{"type": "summary_text", "text": "Hm"}], "encrypted_content": "e"},
    {"type": "message", "id": "i1", "role": "assistant", "status": "completed", "phase": None,
     "content": [{"type": "output_text", "text": "Good day", "annotations": [], "logprobs": []}]},
    {"type": "function_call", "id": "i2", "call_id": "c1", "name": "f", "arguments": '{"x":1}', "status": "completed"},
]  # fmt: skip
RESPONSE: Final[dict[str, Any]] = {
    **BESIDE, "object": "response", "status": "completed", "output": ITEMS, "error": None,
    "incomplete_details": None, "tools": [], "metadata": {},
}  # fmt: skip


def responses_events() -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = [{"type": "response.created", "response": {**RESPONSE, "output": [], "status": "x"}}]
    place = {"item_id": "i1", "output_index": 1, "content_index": 0, "sequence_number": 4, "logprobs": []}
    for index, item in enumerate(ITEMS):
        events.append({"type": "response.output_item.added", "output_index": index, "item": {**item, "content": []}})
        if index == 1:
            events.append({"type": "response.output_text.delta", **place, "delta": "Good "})
            events.append({"type": "response.output_text.delta", **place, "delta": "day"})
            events.append({"type": "response.output_text.done", **place, "text": "Good day"})
        events.append({"type": "response.output_item.done", "output_index": index, "item": item})
    return [*events, {"type": "response.completed", "response": RESPONSE}]


SAMPLES: Final[dict[str, tuple[str, Any]]] = {
    "chat": ("chat", chat_events()),
    "chat, whole": ("chat", chat_whole()),
    "messages": ("messages", messages_events()),
    "messages, whole": ("messages", messages_whole()),
    "responses": ("responses", responses_events()),
    "responses, whole": ("responses", RESPONSE),
}


def written(document: Any) -> bytes:
    """As a stream, or as one document."""
    if isinstance(document, dict):
        return msgspec.json.encode(document) if "QQ" not in str(document) else json.dumps(document).encode()
    return b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in document)


def tried(wire: str, body: bytes) -> tuple[list[Chunk], ProviderError | None]:
    if wire == "messages":
        return attempt([body])
    done = b"data: [DONE]\n\n" if wire == "chat" and body.startswith(b"data") else b""
    return attempt_openai([body + done], "openrouter", "chat" if wire == "chat" else "responses")


def fields(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all fields that are not content."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        here = (*path, key)
        if isinstance(key, str) and key not in CONTENT and not is_structure(here):
            yield here
        yield from fields(inner, here)


def is_structure(path: tuple[Any, ...]) -> bool:
    """What tells pieces apart where nothing else does: an index of a choice, a block or a call, and a call's own id."""
    return path[-1] in ("index", "call_id") or "input" in path or (path[-1] == "id" and "tool_calls" in path)


def put(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(document)
    inner = changed
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return changed


@pytest.mark.parametrize("name", SAMPLES)
def test_no_field_that_is_not_content_costs_the_answer(name: str) -> None:
    """Each with every type of JSON, in streams and in whole documents: text, reasoning and calls are the same."""
    wire, document = SAMPLES[name]
    assert read_all(*tried(wire, written(document))) == ("Good day", "Hm", [("f", {"x": 1})], None)
    number = 0
    for path in fields(document):
        bodies = [written(put(document, path, value)) for value in ANY]
        bodies += [written(put(document, path, "QQ")).replace(b'"QQ"', raw) for raw in RAW]
        for body in bodies:
            number += 1
            chunks, error = tried(wire, body)
            assert (text_of(chunks), reasoning_of(chunks)) == ("Good day", "Hm"), (path, body[:99])
            if error is not None:  # only where it is no longer known that the message is complete
                assert type(error) is StreamInterruptedError or path[-1] in ENDS, (path, error, body)
                assert ENDS & set(map(str, path)), (path, error)
            else:
                assert read_all(chunks, None)[2] == [("f", {"x": 1})], path
                assert isinstance(stop_of(chunks), StopChunk)
    assert number > 500


def read_all(chunks: list[Chunk], error: ProviderError | None) -> tuple[Any, ...]:
    calls = [(call.name, msgspec.json.decode(call.arguments)) for call in calls_of(chunks)]
    return text_of(chunks), reasoning_of(chunks), calls, error


TEXTS = [
    pytest.param({"a": 1}, '{"a": 1}', id="an object, Cloudflare's with a schema"),
    pytest.param(7, "7", id="a number"),
    pytest.param({}, "{}", id="an empty object"),
    pytest.param(None, "", id="null"),
    pytest.param(False, "", id="a truth"),
]


@pytest.mark.parametrize(("content", "text"), TEXTS)
def test_content_of_another_type_is_its_json_text(content: Any, text: str) -> None:
    """Nothing of an answer is lost, in a stream or in a document."""
    whole = {"id": "c", "choices": [{"message": {"content": content}, "finish_reason": "stop"}]}
    for body in (sse(chunk({"content": content}), chunk({}, "stop")), json.dumps(whole).encode()):
        chunks = read_openai([body])
        assert msgspec.json.decode(text_of(chunks) or "null") == msgspec.json.decode(text or "null")
    call = {**CALL, "function": {"name": "f", "arguments": content}}
    if isinstance(content, dict):
        made = calls_of(read_openai([sse(calling(call), chunk({}, "tool_calls"))]))
        assert [msgspec.json.decode(one.arguments) for one in made] == [content]


PARTS = [
    pytest.param(
        [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm"}]}, {"type": "text", "text": "Hi"}],
        [ReasoningChunk(text="Hm"), TextChunk("Hi")],
        id="Databricks",
    ),
    pytest.param([{"type": "reasoning", "text": "Hm"}], [ReasoningChunk(text="Hm")], id="reasoning that is a text"),
    pytest.param([{"type": "refusal", "refusal": "No"}], [TextChunk("No")], id="a refusal"),
    pytest.param([{"text": "Hi"}], [TextChunk("Hi")], id="text without a type"),
    pytest.param(
        [{"type": "quantum", "text": "no"}],
        [OpaqueChunk(vendor="openai", data='{"type":"quantum","text":"no"}')],
        id="an unknown type never becomes text",
    ),
    pytest.param(["Hi", "", " you"], [TextChunk("Hi"), TextChunk(" you")], id="texts by themselves"),
    pytest.param([None, 3, []], [], id="what is no part"),
]


@pytest.mark.parametrize(("parts", "wanted"), PARTS)
def test_parts_of_a_content(parts: list[Any], wanted: list[Chunk]) -> None:
    """In a stream, as in a whole answer."""
    whole = {"id": "c", "choices": [{"message": {"content": parts}, "finish_reason": "stop"}]}
    for body in (sse(chunk({"content": parts}), chunk({}, "stop")), msgspec.json.encode(whole)):
        assert [one for one in read_openai([body])[:-1] if not isinstance(one, UsageChunk)] == wanted


IMAGE: Final = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}}
KEPT = [
    pytest.param([chunk({"content": "", "images": [IMAGE, IMAGE]})], [IMAGE, IMAGE], id="two images"),
    pytest.param([chunk({"images": []}), chunk({"images": "x"}), chunk({"images": [None, 3]})], [], id="no image"),
    pytest.param(
        [
            chunk({"audio": {"id": "s", "transcript": "Hel"}}),
            chunk({"audio": {"data": "AAAA", "transcript": "lo"}}),
            chunk({"audio": {"data": "BBBB", "transcript": None}}),
            chunk({"audio": {"expires_at": 9}}),
        ],
        [{"type": "audio", "audio": {"id": "s", "expires_at": 9, "data": "AAAABBBB", "transcript": "Hello"}}],
        id="sound in pieces",
    ),
    pytest.param([chunk({"audio": 3}), chunk({"audio": None})], [], id="no sound"),
    pytest.param(
        [chunk({"annotations": [{"u": 1}]}), chunk({"annotations": [{"u": 2}]}), chunk({"annotations": None})],
        [{"type": "annotations", "annotations": [{"u": 1}, {"u": 2}]}],
        id="annotations, one after the other",
    ),
    pytest.param(
        [{**chunk({}, "stop"), "citations": ["u", "v"], "search_results": [{"t": 1}]}],
        [{"type": "citations", "citations": ["u", "v"]}, {"type": "search_results", "search_results": [{"t": 1}]}],
        id="what is said again with each event",
    ),
]


@pytest.mark.parametrize(("events", "blocks"), KEPT)
def test_what_is_neither_text_nor_a_call_is_kept(events: list[Any], blocks: list[Any]) -> None:
    """As blocks, never as text, and wherever the bytes are cut."""
    body = sse(chunk({"content": "Hi"}), *events, chunk({}, "stop"))
    chunks = read_openai([body], "openrouter")
    assert [msgspec.json.decode(one.data) for one in chunks if isinstance(one, OpaqueChunk)] == blocks
    assert {one.vendor for one in chunks if isinstance(one, OpaqueChunk)} <= {"openrouter"}
    assert (text_of(chunks), calls_of(chunks)) == ("Hi", [])
    assert read_openai(cut(body, 5), "openrouter") == chunks


TAGGED = [
    pytest.param(["<think>Hm</think>Hi"], "Hm", "Hi", id="in one piece"),
    pytest.param(["<think>\n", "Hm", "\n</think>\n\n", "Hi"], "Hm\n", "Hi", id="each by itself"),
    pytest.param(list("<think>Hm</thi</think>\n  Hi<think>"), "Hm</thi", "  Hi<think>", id="letter by letter"),
    pytest.param(["\n <think>Hm</think>Hi"], "Hm", "Hi", id="after white space"),
    pytest.param(["<think>Hm"], "Hm", "", id="without an end"),
    pytest.param(["<think>Hm</thi"], "Hm</thi", "", id="with half of one"),
    pytest.param(["<think>\n</think>\n\nHi"], "", "Hi", id="without reasoning"),
    pytest.param(["<thi"], "", "<thi", id="half a beginning"),
    pytest.param(["<thi", "s>"], "", "<this>", id="another tag"),
    pytest.param(["Hi <think>Hm</think>"], "", "Hi <think>Hm</think>", id="later in the text"),
    pytest.param(["<think>Hm</think>", "<think>Hi</think>"], "Hm", "<think>Hi</think>", id="twice"),
    pytest.param(["  ", "Hi"], "", "  Hi", id="white space"),
]


@pytest.mark.parametrize(("pieces", "reasoning", "text"), TAGGED)
def test_reasoning_between_tags(pieces: list[str], reasoning: str, text: str) -> None:
    """At the very start, where the row says so; in a stream, in a whole answer, and before a call."""
    events = [chunk({"content": piece}) for piece in pieces]
    whole = {"id": "c", "choices": [{"message": {"content": "".join(pieces)}, "finish_reason": "stop"}]}
    for body in (sse(*events, chunk({}, "stop")), msgspec.json.encode(whole)):
        chunks = read_openai([body], "groq")
        assert (reasoning_of(chunks), text_of(chunks)) == (reasoning, text)
        assert (reasoning_of(read_openai([body])), text_of(read_openai([body]))) == ("", "".join(pieces))
    called = read_openai([sse(*events, calling(CALL), chunk({}, "tool_calls"))], "groq")
    assert (reasoning_of(called), text_of(called)) == (reasoning, text)
    assert isinstance([one for one in called if not isinstance(one, OpaqueChunk | UsageChunk)][-2], ToolCallChunk)


def test_tags_beside_a_field_of_reasoning_are_text() -> None:
    """Whoever has a field for it puts no tags into the text."""
    body = sse(chunk({"reasoning": "Hm"}), chunk({"content": "<think>x</think>"}), chunk({}, "stop"))
    chunks = read_openai([body], "groq")
    assert (reasoning_of(chunks), text_of(chunks)) == ("Hm", "<think>x</think>")


def half(events: list[Any], mark: str = "QQ") -> bytes:
    """Events in which `QQ` and `RR` are the halves of an emoji."""
    return sse(*events).replace(mark.encode(), b"\\ud83d").replace(b"RR", b"\\ude00")


JOINED = [
    pytest.param(["aQQ", "RRb"], "a😀b", id="one after the other"),
    pytest.param(["QQ", "RR"], "😀", id="nothing but halves"),
    pytest.param(["QQ", "", "RR"], "😀", id="with nothing between"),
    pytest.param(["aQQRRb"], "a😀b", id="together"),
    pytest.param(["QQRRQQ", "RRQQ", "RR"], "😀😀😀", id="three"),
    pytest.param(["aQQ", "b"], "a\ufffdb", id="without the second"),
    pytest.param(["a", "RRb"], "a\ufffdb", id="without the first"),
    pytest.param(["aQQ"], "a\ufffd", id="at the end"),
    pytest.param(["aQQ", "QQ", "RR"], "a\ufffd😀", id="two first ones"),
]


@pytest.mark.parametrize(("pieces", "text"), JOINED)
def test_halves_of_an_emoji_in_two_events_are_joined(pieces: list[str], text: str) -> None:
    """In text and in reasoning, on every wire, with other events between."""
    between = {"id": "c", "choices": [{"index": 0, "delta": {"reasoning": "…"}}]}
    for more in ([], [between]):
        events = [event for piece in pieces for event in (chunk({"content": piece}), *more)]
        assert text_of(read_openai([half([*events, chunk({}, "stop")])])) == text
    if not text.endswith("\ufffd"):
        events = [chunk({"reasoning": piece}) for piece in pieces]
        assert reasoning_of(read_openai([half([*events, chunk({}, "stop")])])) == text
        arguments = ['{"x":"', *pieces, '"}']
        events = [calling({**CALL, "function": {"name": "f" if not n else None, "arguments": piece}})
                  for n, piece in enumerate(arguments)]  # fmt: skip
        made = calls_of(read_openai([half([*events, chunk({}, "tool_calls")])]))
        assert [msgspec.json.decode(one.arguments) for one in made] == [{"x": text}]
    for kind, field in (("text_delta", "text"), ("thinking_delta", "thinking")):
        if kind == "thinking_delta" and text.endswith("\ufffd"):
            continue
        deltas = [
            {"type": "content_block_delta", "index": 0, "delta": {"type": kind, field: piece}} for piece in pieces
        ]
        start = {"type": "content_block_start", "index": 0, "content_block": {"type": kind.partition("_")[0]}}
        rest = [{"type": "content_block_stop", "index": 0}, {"type": "message_delta", "delta": {"stop_reason": "x"}}]
        chunks = read([half([start, *deltas, *rest, {"type": "message_stop"}])])
        assert text_of(chunks) + reasoning_of(chunks) == text
    item = {"type": "message", "id": "i", "content": [{"type": "output_text", "text": "".join(pieces)}]}
    deltas = [{"type": "response.output_text.delta", "item_id": "i", "delta": piece} for piece in pieces]
    done = {"type": "response.output_text.done", "item_id": "i", "text": "".join(pieces)}
    last = {"type": "response.completed", "response": {"id": "r", "status": "completed", "output": [item]}}
    assert text_of(read_openai([half([*deltas, done, last])], wire="responses")) == text


REPAIRED = [
    pytest.param(
        [b"Hello wor\xff", b"end"], b"Hello world, the end", "Hello wor\ufffdend", id="repaired in another way"
    ),
    pytest.param([b"Hello", b" world"], b" Hello world", "Hello world", id="an account with more before it"),
    pytest.param([b"Hello"], b"Hello world", "Hello world", id="a fuller account"),
    pytest.param([b"Hello\\n"], b"Hello", "Hello\n", id="a shorter one"),
    pytest.param([], b"Hello", "Hello", id="the only one"),
    pytest.param([b"Bye"], b"Hello world", "Bye", id="another one"),
]


@pytest.mark.parametrize(("pieces", "done", "text"), REPAIRED)
def test_only_what_begins_with_what_was_said_is_a_fuller_account(pieces: list[bytes], done: bytes, text: str) -> None:
    """In the event of a part, of an item, and in the whole response; also with another message behind it."""

    def event(name: bytes, rest: bytes) -> bytes:
        return b'data: {"type":"response.%b",%b}\n\n' % (name, rest)

    item = b'{"type":"message","id":"i","content":[{"type":"output_text","text":"%b"}]}' % done
    other = b'{"type":"message","id":"j","content":[{"type":"output_text","text":" Next."}]}'
    deltas = b"".join(event(b"output_text.delta", b'"item_id":"i","delta":"%b"' % piece) for piece in pieces)
    accounts = (
        event(b"output_text.done", b'"item_id":"i","text":"%b"' % done),
        event(b"output_item.done", b'"output_index":0,"item":' + item),
    )
    added = event(b"output_item.added", b'"output_index":0,"item":{"type":"message","id":"i"}')
    for shown in ((), accounts[:1], accounts[1:], accounts):
        for more in (b"", b"," + other):
            body = added + deltas + b"".join(shown)
            body += event(b"completed", b'"response":{"id":"r","status":"completed","output":[%b%b]}' % (item, more))
            for size in (len(body), 7):
                chunks = read_openai(cut(body, size), wire="responses")
                assert text_of(chunks) == text + (" Next." if more else "")


def test_what_has_been_said_is_not_kept_for_ever() -> None:
    """A stream without end stays small, and what is told of it at its end is still told from where it stopped."""
    piece = "0123456789abcdef" * 1024
    number = 200
    deltas = [{"type": "response.output_text.delta", "item_id": "i", "delta": piece} for _ in range(number)]
    done = {"type": "response.output_text.done", "item_id": "i", "text": piece * number + "!"}
    last = {"type": "response.completed", "response": {"id": "r", "status": "completed", "output": []}}
    body = sse(*deltas, done, last)
    assert text_of(read_openai(cut(body, 50_000), wire="responses")) == piece * number + "!"


class Sample(msgspec.Struct):
    """What the wires' structs are made of."""

    count: int | None = None
    text: str | None = None
    inner: list[Sample | None] | None = None
    needed: int = 0


@pytest.mark.parametrize("value", ANY)
@pytest.mark.parametrize("wire", ["chat", "responses"])
def test_what_is_no_object_is_no_event(value: Any, wire: Wire) -> None:
    """It is an error, or nothing at all."""
    if isinstance(value, dict):
        return
    _, error = attempt_openai([b"data: %b\n\n" % json.dumps(value).encode()], wire=wire)
    assert error is not None


def test_the_fields_beside_a_wrong_one_are_read() -> None:
    """In structs inside lists too; what is missing has its default."""
    data = b'{"count":"x","text":{"a":1},"inner":[{"count":3,"text":[]},7,null,{"count":[],"text":"t"}]}'
    found = decode(msgspec.json.Decoder(Sample), b"", data)
    assert found == Sample(text='{"a":1}', inner=[Sample(count=3, text="[]"), Sample(text="t")])
