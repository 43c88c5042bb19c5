"""What holds of any history that is read: it is written again byte for byte, and what is wrong has a place."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from histories import histories, legal
from penstock import (
    ConfigError,
    InvalidRequestError,
    Message,
    Options,
    ReadHistory,
    Tool,
    dump_messages,
    load_messages,
    read_messages,
    repair,
)
from penstock.core.dialect import Wire
from penstock.wire.vendors import DIALECTS
from writing import encode

LAWS: Final = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
PLACES: Final[list[tuple[str, Wire]]] = [(row.name, wire) for row in DIALECTS.values() for wire in row.wires]
TOOLS: Final = [Tool(name="get", description="Gets.", parameters={"type": "object", "properties": {}}, strict=True)]


def written(history: list[Message], vendor: str, wire: Wire, system: str) -> bytes | None:
    """The body, None for what the vendor is known to refuse."""
    try:
        return encode(history, vendor, wire, system=system, options=Options(cache="off", tools=TOOLS))
    except InvalidRequestError:
        return None


def reads_back(body: bytes, vendor: str, wire: Wire) -> None:
    """It is read, and written again byte for byte."""
    read = read_messages(body, wire=wire, vendor=vendor)
    options = Options(cache="off", tools=read.tools)
    assert encode(read.messages, vendor, wire, system=read.system_prompt, options=options) == body
    assert {note.kind for note in read.notes} <= {"unknown"}


@LAWS
@given(st.one_of(histories, legal()), st.sampled_from(PLACES), st.sampled_from(["", "Be brief."]))
def test_what_we_write_is_read_and_written_again(history: list[Message], place: tuple[str, Wire], system: str) -> None:
    """Byte for byte, on every wire of every vendor."""
    for messages in (history, repair(history).messages):
        body = written(messages, *place, system)
        if body is not None:
            reads_back(body, *place)


VALUES: Final = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5), st.just("text")
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)
SAMPLES: Final[list[Any]] = [
    {
        "model": "claude",
        "system": [{"type": "text", "text": "S", "cache_control": {"type": "ephemeral"}}],
        "tools": [{"name": "get", "description": "d", "input_schema": {"type": "object", "properties": {}}}],
        "messages": [
            {"role": "user", "content": "Hi"},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "s"},
                    {"type": "redacted_thinking", "data": "d"},
                    {"type": "text", "text": "yes", "citations": [{"type": "char_location"}]},
                    {"type": "server_tool_use", "id": "srv", "name": "web_search", "input": {}},
                    {"type": "tool_use", "id": "a", "name": "get", "input": {"x": 1}, "caller": {"type": "code"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "a",
                        "is_error": True,
                        "content": [
                            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
                        ],
                    },
                    {
                        "type": "document",
                        "source": {"type": "text", "media_type": "text/plain", "data": "t"},
                        "title": "T",
                        "citations": {"enabled": True},
                    },
                ],
            },
            {"role": "system", "content": "Be kind."},
        ],
    },
    {
        "tools": [{"type": "function", "function": {"name": "get", "parameters": {"type": "object"}, "strict": True}}],
        "messages": [
            {"role": "developer", "content": "S"},
            {
                "role": "user",
                "name": "ann",
                "content": [
                    {"type": "text", "text": "Hi"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "high"}},
                    {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf"}},
                    {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
                ],
            },
            {
                "role": "assistant",
                "content": [{"type": "text", "text": "yes"}, {"type": "refusal", "refusal": "no"}],
                "reasoning_details": [{"type": "reasoning.text", "text": "hm"}],
                "thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "s"}],
                "reasoning_content": "hm",
                "audio": {"id": "audio_1", "transcript": "t"},
                "annotations": [{"type": "url_citation"}],
                "tool_calls": [
                    {
                        "id": "a",
                        "type": "function",
                        "function": {"name": "get", "arguments": "{}"},
                        "extra_content": {"google": {"thought_signature": "s"}},
                    },
                    {"id": "b", "type": "custom", "custom": {"name": "grep", "input": "x"}},
                ],
            },
            {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "r"}]},
            {"role": "tool", "content": "r"},
            {"role": "assistant", "function_call": {"name": "get", "arguments": "{}"}},
            {"role": "function", "name": "get", "content": "r"},
            {"role": "system", "content": "Be kind."},
        ],
    },
    {
        "instructions": "S",
        "tools": [{"type": "function", "name": "get", "parameters": {"type": "object"}, "strict": None}],
        "input": [
            {"role": "developer", "content": "S"},
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "Hi"},
                    {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low"},
                    {"type": "input_file", "file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf"},
                ],
            },
            {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "hm"}], "content": None},
            {
                "type": "message",
                "role": "assistant",
                "phase": "final",
                "content": [{"type": "output_text", "text": "yes", "annotations": []}],
            },
            {"type": "function_call", "call_id": "a", "name": "get", "arguments": "{}", "namespace": "n"},
            {"type": "custom_tool_call", "call_id": "b", "name": "grep", "input": "x"},
            {"type": "web_search_call", "id": "ws", "action": {"type": "search"}},
            {"type": "custom_tool_call_output", "call_id": "b", "output": [{"type": "input_text", "text": "r"}]},
            {"type": "function_call_output", "call_id": "a", "output": "r"},
            {"role": "system", "content": [{"type": "input_text", "text": "Be kind."}]},
        ],
    },
]
"""A request of each API, with everything that is read."""


def spots(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of each value within one."""
    if path:
        yield path
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield from spots(inner, (*path, key))


@st.composite
def damaged(draw: st.DrawFn) -> Any:
    """A request with other values in some places, or without what stands there."""
    document = copy.deepcopy(draw(st.sampled_from(SAMPLES)))
    for _ in range(draw(st.integers(1, 3))):
        found = list(spots(document))
        path = draw(st.sampled_from(found)) if found else ()
        inner = document
        for key in path[:-1]:
            inner = inner[key]
        if path and draw(st.booleans()):
            inner[path[-1]] = draw(VALUES)
        elif path:
            del inner[path[-1]]
    return document


PLACE: Final = re.compile(r"(the document|instructions|system|tools|functions|messages|input)(\[\d+\]|\.[\w-]+)*: .+")


def outcome(document: Any, wire: Wire | None = None) -> ReadHistory | str:
    """What is read, or why nothing is."""
    try:
        return read_messages(document, wire=wire)
    except ConfigError as error:
        return error.message if error.path else "no path"


@LAWS
@given(st.one_of(damaged(), VALUES), st.sampled_from([None, "chat", "responses", "messages"]))
def test_any_document_is_read_or_the_place_is_named_where_it_cannot_be(document: Any, wire: Wire | None) -> None:
    """In one line; the same for JSON text and for objects. What is read can be stored."""
    read = outcome(msgspec.json.encode(document), wire)
    if isinstance(read, str):
        assert PLACE.fullmatch(read), read
    else:
        assert load_messages(dump_messages(read.messages)) == read.messages
        assert all(note.place and note.what for note in read.notes)
    if not isinstance(document, str):  # which is JSON text itself
        assert outcome(document, wire) == read


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=20) | st.text(max_size=20))
def test_no_text_that_is_no_json_gets_another_exception(text: bytes | str) -> None:
    """Not even one that is no Unicode."""
    read = outcome(text)
    assert not isinstance(read, str) or PLACE.fullmatch(read)


@pytest.mark.parametrize("sample", SAMPLES, ids=["messages", "chat", "responses"])
def test_what_was_read_can_be_sent_to_others(sample: Any) -> None:
    """But for what they are known to refuse; and it is read again of what was sent."""
    read = read_messages(sample)
    messages = repair(read.messages).messages
    bodies = {place: written(messages, *place, read.system_prompt) for place in PLACES}
    for (vendor, wire), body in bodies.items():
        if body is not None:
            reads_back(body, vendor, wire)
    assert bodies["anthropic" if read.wire == "messages" else "openai", read.wire] is not None
