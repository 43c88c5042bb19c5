"""Histories of others, read: what each API's words become, which API it is, what is noted, and what is refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Final

import anthropic.types as theirs
import msgspec
import pytest
from openai.types.chat import ChatCompletionMessage
from openai.types.responses import ResponseOutputItem
from pydantic import TypeAdapter

from penstock import (
    ConfigError,
    DocumentPart,
    ImagePart,
    Message,
    OpaquePart,
    Part,
    ReasoningPart,
    TextPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
    read_messages,
)
from penstock.core.dialect import Wire
from penstock.histories.read.chat import PROOFS
from penstock.wire.vendors import DIALECTS
from writing import encode

HI: Final = {"role": "user", "content": "Hi"}
PNG: Final = "data:image/png;base64,AAAA"
PDF: Final = "data:application/pdf;base64,AAAA"
DATA: Final = b"\0\0\0"


def opaque(vendor: str, data: Any, text: str = "") -> OpaquePart:
    return OpaquePart(vendor=vendor, data=msgspec.json.encode(data).decode(), text=text)


def source(**fields: str) -> dict[str, str]:
    return {"type": "base64", "media_type": "image/png", "data": "AAAA", **fields}


# Of what follows a user's "Hi".

BLOCKS: Final = [
    pytest.param("user", {"type": "text", "text": "a"}, TextPart("a"), id="text"),
    pytest.param(
        "user", {"type": "image", "source": source()}, ImagePart(data=DATA, media_type="image/png"), id="image"
    ),
    pytest.param(
        "user", {"type": "image", "source": {"type": "url", "url": "https://x"}}, ImagePart(url="https://x"), id="URL"
    ),
    pytest.param(
        "user",
        {"type": "document", "source": source(media_type="application/pdf"), "title": "T", "citations": None},
        DocumentPart(data=DATA, media_type="application/pdf", title="T"),
        id="document",
    ),
    pytest.param(
        "user",
        {
            "type": "document",
            "source": source(type="text", media_type="text/plain", data="ö"),
            "citations": {"enabled": True},
        },
        DocumentPart(data="ö".encode(), media_type="text/plain", citations=True),
        id="a document of text that is to be cited",
    ),
    *(
        pytest.param("user", block, opaque("anthropic", block), id=why)
        for why, block in {
            "a file by its id": {"type": "image", "source": {"type": "file", "file_id": "f"}},
            "a document with a context": {"type": "document", "source": source(), "context": "c"},
            "an image of a type of the vendor's": {"type": "image", "source": source(media_type="image/heic")},
            "a block of an unknown type": {"type": "hologram", "x": 1.50},
        }.items()
    ),
    pytest.param(
        "assistant",
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        ReasoningPart(text="hm", proof="s", vendor="anthropic"),
        id="thinking",
    ),
    pytest.param(
        "assistant",
        {"type": "redacted_thinking", "data": "d"},
        ReasoningPart(proof="d", redacted=True, vendor="anthropic"),
        id="redacted thinking",
    ),
    pytest.param(
        "assistant",
        {"type": "text", "text": "a", "citations": [{"type": "c"}]},
        opaque("anthropic", {"type": "text", "text": "a", "citations": [{"type": "c"}]}, "a"),
        id="text with citations",
    ),
    pytest.param(
        "assistant",
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        opaque("anthropic", {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}),
        id="a tool of the server's",
    ),
    pytest.param(
        "assistant",
        {"type": "tool_use", "id": "a", "name": "get", "input": {"x": 1}, "caller": {"type": "direct"}},
        ToolCallPart(id="a", name="get", arguments='{"x":1}'),
        id="a call",
    ),
    pytest.param(
        "assistant",
        {"type": "tool_use", "id": "a", "name": "get", "input": {}, "caller": {"type": "code"}, "toolset_name": "t"},
        ToolCallPart(id="a", name="get", extra='{"caller":{"type":"code"},"toolset_name":"t"}', vendor="anthropic"),
        id="a program's call of a family's tool",
    ),
]


@pytest.mark.parametrize(("role", "block", "part"), BLOCKS)
def test_a_block_is_read(role: Any, block: dict[str, Any], part: Part) -> None:
    """As the part that says the same, or as it came."""
    read = read_messages([HI, {"role": role, "content": [block]}], wire="messages")
    expected = Message(role, part.text if isinstance(part, TextPart) else [part])
    assert (read.messages, read.notes) == ([Message("user", "Hi"), expected], [])


CALLS: Final = [{"id": id_, "type": "function", "function": {"name": id_, "arguments": "{}"}} for id_ in ("a", "b")]
MADE: Final = [ToolCallPart(id=id_, name=id_) for id_ in ("a", "b")]

TURNS: Final = [
    pytest.param(
        "messages",
        [
            {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "a", "input": {}}]},
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "a", "content": "no", "is_error": True},
                    {"type": "tool_result", "tool_use_id": "b", "content": [{"type": "image", "source": source()}]},
                    {"type": "tool_result", "tool_use_id": "c"},
                ],
            },
        ],
        [
            Message("assistant", [MADE[0]]),
            Message(
                "user",
                [
                    ToolResultPart(id="a", content="no", is_error=True),
                    ToolResultPart(id="b", content=[ImagePart(data=DATA, media_type="image/png")]),
                    ToolResultPart(id="c", content=""),
                ],
            ),
        ],
        id="results, of an error, of an image and of nothing",
    ),
    pytest.param(
        "messages",
        [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": [{"type": "x"}]}]}],
        [
            Message(
                "user", [opaque("anthropic", {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "x"}]})]
            )
        ],
        id="a result that holds what only the vendor knows",
    ),
    pytest.param(
        "messages",
        [{"role": "system", "content": [{"type": "text", "text": "Be kind."}]}],
        [Message("user", [opaque("anthropic", {"role": "system", "content": "Be kind."}, "Be kind.")])],
        id="the system within",
    ),
    pytest.param(
        "messages",
        [{"role": "system", "content": [{"type": "tool_addition", "tool": {}}, {"type": "text", "text": "a"}]}],
        [
            Message(
                "user",
                [
                    opaque(
                        "anthropic",
                        {
                            "role": "system",
                            "content": [{"type": "tool_addition", "tool": {}}, {"type": "text", "text": "a"}],
                        },
                        "a",
                    )
                ],
            )
        ],
        id="the system within, which adds a tool",
    ),
    pytest.param(
        "chat",
        [
            {"role": "assistant", "content": None, "tool_calls": CALLS},
            {"role": "tool", "tool_call_id": "b", "content": "2"},
            {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "1"}]},
        ],
        [
            Message("assistant", MADE),
            Message("user", [ToolResultPart(id="b", content="2"), ToolResultPart(id="a", content=[TextPart("1")])]),
        ],
        id="parallel calls, whose results are one message",
    ),
    pytest.param(
        "chat",
        [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "a"},
                    {"type": "image_url", "image_url": {"url": PNG}},
                    {"type": "image_url", "image_url": "https://x"},
                    {"type": "file", "file": {"file_data": PDF, "filename": "a.pdf"}},
                    {"type": "file", "file": {"file_id": "f"}},
                    {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
                ],
            }
        ],
        [
            Message(
                "user",
                [
                    TextPart("a"),
                    ImagePart(data=DATA, media_type="image/png"),
                    ImagePart(url="https://x"),
                    DocumentPart(data=DATA, media_type="application/pdf", title="a.pdf"),
                    opaque("openai", {"type": "file", "file": {"file_id": "f"}}),
                    opaque("openai", {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}),
                ],
            )
        ],
        id="what a user shows on the chat wire",
    ),
    pytest.param(
        "chat",
        [
            {
                "role": "assistant",
                "content": [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "no"}],
                "reasoning": "hm",
                "reasoning_details": [{"type": "reasoning.text", "text": "hm"}],
                "audio": {"id": "s", "transcript": "t"},
            }
        ],
        [
            Message(
                "assistant",
                [
                    ReasoningPart(text="hm", proof='[{"type":"reasoning.text","text":"hm"}]', vendor="openrouter"),
                    TextPart("a"),
                    TextPart("no"),
                    opaque("openai", {"type": "audio", "audio": {"id": "s", "transcript": "t"}}, "t"),
                ],
            )
        ],
        id="details of reasoning, a refusal and sound",
    ),
    pytest.param(
        "chat",
        [
            {
                "role": "assistant",
                "tool_calls": [{**CALLS[0], "extra_content": {"google": {"thought_signature": "s"}}}, CALLS[1]],
                "extra_content": {"google": {"thought_signature": "t"}},
            }
        ],
        [
            Message(
                "assistant",
                [
                    ReasoningPart(proof='{"google":{"thought_signature":"s"}}', vendor="google"),
                    *MADE,
                    ReasoningPart(proof='{"google":{"thought_signature":"t"}}', vendor="google"),
                ],
            )
        ],
        id="signatures of calls, and of the message",
    ),
    pytest.param(
        "chat",
        [
            {
                "role": "assistant",
                "content": "a",
                "reasoning_content": "hm",
                "thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "s"}],
            }
        ],
        [Message("assistant", [ReasoningPart(text="hm", proof="s", vendor="anthropic"), TextPart("a")])],
        id="litellm's blocks of thinking",
    ),
    pytest.param(
        "chat",
        [
            {
                "role": "assistant",
                "tool_calls": [{"id": "a", "type": "custom", "custom": {"name": "sh", "input": "ls"}}],
            },
            {"role": "system", "content": "Be kind."},
        ],
        [
            Message(
                "assistant",
                [
                    ToolCallPart(
                        id="a",
                        name="sh",
                        arguments='{"input":"ls"}',
                        extra='{"type":"custom_tool_call"}',
                        vendor="openai",
                    )
                ],
            ),
            Message("user", [opaque("openai", {"role": "system", "content": "Be kind."}, "Be kind.")]),
        ],
        id="a call with free text, and the system within",
    ),
    pytest.param(
        "responses",
        [
            {"type": "reasoning", "id": "r", "summary": [{"text": "hm"}], "encrypted_content": "e", "status": None},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a"}]},
            {"type": "function_call", "call_id": "a", "name": "a", "arguments": "{}", "id": "f", "status": "completed"},
            {"type": "custom_tool_call", "call_id": "c", "name": "sh", "input": "ls"},
            {"type": "function_call_output", "call_id": "a", "output": "1"},
            {"type": "custom_tool_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "2"}]},
            {"role": "developer", "content": "Be kind."},
        ],
        [
            Message(
                "assistant",
                [
                    ReasoningPart(
                        text="hm",
                        proof='{"type":"reasoning","id":"r","summary":[{"text":"hm"}],"encrypted_content":"e","status":null}',
                        vendor="openai",
                    ),
                    TextPart("a"),
                    MADE[0],
                    ToolCallPart(
                        id="c",
                        name="sh",
                        arguments='{"input":"ls"}',
                        extra='{"type":"custom_tool_call"}',
                        vendor="openai",
                    ),
                ],
            ),
            Message("user", [ToolResultPart(id="a", content="1"), ToolResultPart(id="c", content=[TextPart("2")])]),
            Message("user", [opaque("openai", {"role": "system", "content": "Be kind."}, "Be kind.")]),
        ],
        id="the items of an answer are one message",
    ),
    pytest.param(
        "responses",
        [
            {"role": "user", "content": [{"type": "input_file", "file_url": "https://x"}]},
            {"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "input_file", "file_id": "f"}]},
            {
                "type": "message",
                "role": "assistant",
                "phase": "final",
                "content": [{"type": "output_text", "text": "a"}],
            },
            {"type": "web_search_call", "id": "w"},
            {"type": "mcp_approval_response", "approval_request_id": "m", "approve": True},
        ],
        [
            Message("user", [DocumentPart(url="https://x")]),
            Message(
                "user",
                [
                    opaque(
                        "openai",
                        {
                            "role": "user",
                            "content": [{"type": "input_text", "text": "a"}, {"type": "input_file", "file_id": "f"}],
                        },
                        "a",
                    )
                ],
            ),
            Message(
                "assistant",
                [
                    opaque(
                        "openai",
                        {
                            "type": "message",
                            "role": "assistant",
                            "phase": "final",
                            "content": [{"type": "output_text", "text": "a"}],
                        },
                        "a",
                    ),
                    opaque("openai", {"type": "web_search_call", "id": "w"}),
                ],
            ),
            Message(
                "user",
                [opaque("openai", {"type": "mcp_approval_response", "approval_request_id": "m", "approve": True})],
            ),
        ],
        id="items that go back as they came",
    ),
]


@pytest.mark.parametrize(("wire", "turns", "messages"), TURNS)
def test_messages_are_read(wire: Wire, turns: list[Any], messages: list[Message]) -> None:
    """After a user's word, as that API has them; nothing has to be noted."""
    read = read_messages([HI, *turns], wire=wire)
    assert read.messages[1:] == messages
    assert read.notes == []


SCHEMA: Final = {"type": "object", "properties": {"x": {"type": "integer"}}}
GET: Final = Tool(name="get", description="Gets.", parameters=SCHEMA)
FIELDS: Final = {"name": "get", "description": "Gets."}
SEARCH: Final = {"type": "web_search_20250305", "name": "web_search"}

BODIES: Final = [
    pytest.param(
        {
            "system": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
            "tools": [{**FIELDS, "input_schema": SCHEMA}, SEARCH],
            "messages": [HI],
        },
        ("messages", "a\n\nb", [GET, SEARCH]),
        id="a system prompt of several texts, and a tool of the server's",
    ),
    pytest.param(
        {
            "messages": [{"role": "system", "content": "a"}, {"role": "developer", "content": "b"}, HI],
            "tools": [{"type": "function", "function": {**FIELDS, "parameters": SCHEMA, "strict": True}}],
        },
        ("chat", "a\n\nb", [msgspec.structs.replace(GET, strict=True)]),
        id="several messages of the system's at the beginning",
    ),
    pytest.param(
        {"messages": [HI], "functions": [{**FIELDS, "parameters": SCHEMA}]},
        ("chat", "", [GET]),
        id="functions, as tools were called",
    ),
    pytest.param(
        {
            "instructions": "a",
            "input": "Hi",
            "tools": [
                {"type": "function", **FIELDS, "parameters": SCHEMA, "strict": None},
                {"type": "function", "name": "now", "parameters": None},
                {"type": "custom", "name": "sh"},
            ],
        },
        ("responses", "a", [GET, Tool(name="now"), {"type": "custom", "name": "sh"}]),
        id="instructions, a text alone, and a tool of free text",
    ),
]


@pytest.mark.parametrize(("body", "expected"), BODIES)
def test_a_request_is_read(body: dict[str, Any], expected: Any) -> None:
    """Its system prompt apart, and its tools; as objects, as text and as bytes."""
    text = msgspec.json.encode(body)
    for form in (body, text, text.decode()):
        read = read_messages(form)
        assert (read.wire, read.system_prompt, read.tools) == expected
        assert read.messages == [Message("user", "Hi")]


FOUND: Final[list[tuple[Wire, Any]]] = [
    ("messages", {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "a", "input": {}}]}),
    ("messages", {"role": "assistant", "content": [{"type": "thinking", "thinking": "a", "signature": "s"}]}),
    ("messages", {"role": "user", "content": [{"type": "image", "source": source()}]}),
    ("messages", {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a"}]}),
    ("chat", {"role": "assistant", "content": [{"type": "thinking", "thinking": [{"type": "text", "text": "a"}]}]}),
    ("chat", {"role": "assistant", "tool_calls": CALLS}),
    ("chat", {"role": "user", "content": [{"type": "image_url", "image_url": PNG}]}),
    ("chat", {"role": "system", "content": "a"}),
    ("chat", {"role": "assistant", "content": "a"}),  # anybody's
    ("responses", {"type": "function_call", "call_id": "a", "name": "a", "arguments": "{}"}),
    ("responses", {"role": "user", "content": [{"type": "input_text", "text": "a"}]}),
    ("responses", {"type": "item_reference", "id": "a"}),
]


@pytest.mark.parametrize(("wire", "turn"), FOUND)
def test_which_api_it_is_can_be_seen(wire: Wire, turn: Any) -> None:
    """From a message alone."""
    assert read_messages([turn]).wire == wire


THOUGHT: Final = {"type": "thinking", "thinking": "hm", "signature": "s"}
NOTED: Final = [
    pytest.param(
        [{"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]}],
        ("cache_mark", "messages[0].content[0]", "its mark for the cache was left out: Options(cache=...) sets them"),
        id="a mark for the cache",
    ),
    pytest.param(
        [{"role": "user", "content": "a", "name": "ann"}],
        ("field", "messages[0]", "'name' is left out: Penstock has no equivalent"),
        id="a name",
    ),
    pytest.param(
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": PNG, "detail": "high"}}]}],
        ("field", "messages[0].content[0].image_url", "'detail' is left out: Penstock has no equivalent"),
        id="the detail of an image",
    ),
    pytest.param(
        [HI, {"role": "assistant", "content": ""}],
        ("empty", "messages[1]", "an empty message was left out"),
        id="an empty message",
    ),
    pytest.param(
        [{"role": "assistant", "content": "a", "reasoning_content": "hm"}],
        ("reasoning", "messages[0]", "whose reasoning it is cannot be seen, so it goes back to nobody: say `vendor`"),
        id="reasoning of nobody knows whom",
    ),
    pytest.param(
        [HI, {"role": "assistant", "tool_calls": CALLS}, {"role": "tool", "name": "b", "content": "r"}],
        ("call_id", "messages[2]", "the result does not say of which call it is, and was taken for 'b'"),
        id="a result that does not say of which call it is",
    ),
    pytest.param(
        [HI, {"role": "assistant", "function_call": {"name": "get", "arguments": "{}"}}],
        ("call_id", "messages[1].function_call", "the call has no id, and got 'call_1'"),
        id="a call of a function, as tools were called",
    ),
    pytest.param(
        {"input": "Hi", "previous_response_id": "resp_1"},
        ("stored", "previous_response_id", "a part of the history is kept at the vendor, and is not here"),
        id="a history that the vendor keeps",
    ),
    pytest.param(
        {"input": [{"type": "hologram"}]},
        ("unknown", "input[0]", "an item of the type 'hologram' is not known, and goes back as it came"),
        id="an item of an unknown type",
    ),
    pytest.param(
        {"system": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "messages": [HI]},
        ("system", "system", "the texts of the system prompt became one, with an empty line between them"),
        id="a system prompt of several texts",
    ),
    pytest.param(
        {"input": "Hi", "system": "Be brief."},
        ("field", "system", "left out: this API has no such field"),
        id="a system prompt of another API",
    ),
    pytest.param(
        {"system": "a", "messages": [HI, {"role": "system", "content": "b", "name": "c"}]},
        ("field", "messages[1]", "'name' is left out: Penstock has no equivalent"),
        id="the name of a system's message",
    ),
    pytest.param(
        [HI, {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "b", "title": "c"}}]}],
        ("field", "messages[1].tool_calls[0].function", "'title' is left out: Penstock has no equivalent"),
        id="what more a call has",
    ),
    pytest.param(
        [HI, {"role": "assistant", "thinking_blocks": [THOUGHT], "reasoning": "hm", "reasoning_details": [THOUGHT]}],
        ("reasoning", "messages[1]", "left out, as `thinking_blocks` go before: reasoning_details"),
        id="reasoning in two forms",
    ),
]


@pytest.mark.parametrize(("document", "note"), NOTED)
def test_what_is_not_taken_as_it_is_is_noted(document: Any, note: tuple[str, str, str]) -> None:
    """With its place, once."""
    (found,) = read_messages(document).notes
    assert (found.kind, found.place, found.what) == note


def test_what_stands_beside_thoughts_is_taken_as_it_is() -> None:
    """And a document with more to it than ours has is kept as it came."""
    read = read_messages([HI, {"role": "assistant", "thinking_blocks": [THOUGHT, {"type": "text", "text": "a"}]}])
    assert read.messages[1].content[1] == TextPart("a")
    source = {"type": "text", "media_type": "text/plain", "data": "t"}
    for more in ({"source": {**source, "page": 3}}, {"source": source, "citations": {"enabled": True, "pages": True}}):
        part = read_messages([{"role": "user", "content": [{"type": "document", **more}]}]).messages[0].content[0]
        assert isinstance(part, OpaquePart)
        assert msgspec.json.decode(part.data) == {"type": "document", **more}


WRONG: Final = [
    pytest.param(7, "the document: Expected `array`, got `int`", id="a number"),
    pytest.param("{", "the document: Input data was truncated", id="JSON that is cut"),
    pytest.param(
        b'["\xff"]',
        "the document: 'utf-8' codec can't decode byte 0xff in position 2: invalid start byte",
        id="no Unicode",
    ),
    pytest.param(
        {"contents": []},
        "the document: it has neither `messages` nor `input`, but 'contents': give the body of a request",
        id="another API",
    ),
    pytest.param(
        {"version": 2, "messages": []},
        "the document: `dump_messages` has written it: `load_messages` reads it",
        id="our own form",
    ),
    pytest.param(
        [{"role": "model"}],
        "messages[0].role: it is 'model', expected system, developer, user, assistant, tool or function",
        id="another role",
    ),
    pytest.param([{"type": "human", "content": "a"}], "messages[0]: it has no `role`", id="no role"),
    pytest.param([HI, "Hi"], "messages[1]: Expected `object`, got `str`", id="no message"),
    pytest.param(
        [{"role": "user", "content": [{"type": "document", "source": source(), "citations": {"enabled": None}}]}],
        "messages[0].content[0].citations: Expected `bool`, got `null`",
        id="a null among citations",
    ),
    pytest.param(
        [HI, {"role": "user", "content": 7}], "messages[1].content: Expected `array`, got `int`", id="no content"
    ),
    pytest.param(
        [{"role": "user", "content": [{"text": "a"}]}],
        "messages[0].content[0]: it has no `type`",
        id="a part without a type",
    ),
    pytest.param(
        [{"role": "user", "content": [{"type": "text", "text": 7}]}],
        "messages[0].content[0].text: Expected `str`, got `int`",
        id="a text that is none",
    ),
    pytest.param(
        [HI, {"role": "user", "content": [{"type": "image_url", "image_url": PNG}, {"type": "hologram"}]}],
        "messages[1].content[1]: a part of the type 'hologram' has no form here",
        id="a part of an unknown type, on the chat wire",
    ),
    pytest.param(
        [HI, {"role": "tool", "content": "r"}],
        "messages[1]: a result that does not say of which call it is, and no call waits for one",
        id="a result of no call",
    ),
    pytest.param(
        [{"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "b", "input": 7}]}],
        "messages[0].content[0].input: the arguments are no object",
        id="arguments that are no object",
    ),
    pytest.param(
        {"input": [{"type": "function_call", "name": "a"}]},
        "input[0]: Object missing required field `call_id`",
        id="a call without its id",
    ),
    pytest.param(
        {"messages": [HI], "tools": [{"type": "function", "function": {"name": 7}}]},
        "tools[0].name: Expected `str`, got `int`",
        id="a tool whose name is none",
    ),
    pytest.param(
        {"messages": [HI], "system": [{"type": "image"}]},
        "system[0]: a system prompt of the type 'image' has no form here, only of text",
        id="a system prompt of images",
    ),
    pytest.param(
        [HI, {"role": "user", "content": object()}],
        "messages[1]: a object has no place in a history",
        id="an object of another kind",
    ),
]


@pytest.mark.parametrize(("document", "said"), WRONG)
def test_what_cannot_be_read_is_named_with_its_place(document: Any, said: str) -> None:
    """In one line, and as `path`."""
    with pytest.raises(ConfigError) as refused:
        read_messages(document)
    assert str(refused.value) == said
    assert refused.value.path == f"$.{said.partition(':')[0]}"


def test_a_wire_that_there_is_not() -> None:
    """It is named with those that there are."""
    wire: Any = "chats"
    with pytest.raises(
        ConfigError, match=r"`wire` is 'chats', expected chat, responses, messages; did you mean 'chat'\?"
    ):
        read_messages([HI], wire=wire)


def test_the_vendor_can_be_said() -> None:
    """Then reasoning goes back to it."""
    turns = [HI, {"role": "assistant", "reasoning_content": "hm", "tool_calls": CALLS[:1]}]
    read = read_messages([*turns, {"role": "tool", "tool_call_id": "a", "content": "r"}], vendor="deepseek")
    assert read.notes == []
    assert b'"reasoning_content":"hm"' in encode(read.messages, "deepseek", "chat")


def test_whose_a_proof_is_the_vendors_rows_say_too() -> None:
    """Each field that tells it is one vendor's alone."""
    for field in ("reasoning_details", "extra_content"):
        assert [PROOFS[field]] == [row.name for row in DIALECTS.values() if row.reasoning_echo == field]
    assert DIALECTS[PROOFS["thinking_blocks"]].wires == ("messages",)


# The SDKs' own objects, as programs append them.


def test_the_objects_of_anthropics_sdk() -> None:
    """`response.content`, between dictionaries."""
    content = [
        theirs.ThinkingBlock(type="thinking", thinking="hm", signature="s"),
        theirs.TextBlock(type="text", text="a", citations=None),
        theirs.ToolUseBlock(type="tool_use", id="a", name="a", input={"x": 1}),
    ]
    read = read_messages({"system": "S", "messages": (HI, {"role": "assistant", "content": content})})
    assert read.messages[1].content == [
        ReasoningPart(text="hm", proof="s", vendor="anthropic"),
        TextPart("a"),
        ToolCallPart(id="a", name="a", arguments='{"x":1}'),
    ]
    assert read.notes == []


def test_the_objects_of_openais_sdk() -> None:
    """`choices[0].message`, and `response.output`."""
    message = ChatCompletionMessage.model_validate(
        {"role": "assistant", "content": None, "refusal": None, "annotations": [], "tool_calls": CALLS}
    )
    assert read_messages([HI, message]).messages[1] == Message("assistant", MADE)
    items: list[Any] = [
        {"id": "r", "summary": [], "type": "reasoning", "encrypted_content": "e"},
        {"type": "function_call", "id": "f", "call_id": "a", "name": "a", "arguments": "{}", "status": "completed"},
    ]
    output = [TypeAdapter[Any](ResponseOutputItem).validate_python(item) for item in items]
    read = read_messages([HI, *output])
    assert read.wire == "responses"
    thought = ReasoningPart(proof=msgspec.json.encode(items[0]).decode(), vendor="openai")
    assert (read.messages[1], read.notes) == (Message("assistant", [thought, MADE[0]]), [])


def test_any_object_that_can_be_dumped() -> None:
    """litellm's messages, say."""
    dumped = SimpleNamespace(model_dump=lambda **how: {"role": "assistant", "content": "a"})
    assert read_messages([HI, dumped]).messages == [Message("user", "Hi"), Message("assistant", "a")]
