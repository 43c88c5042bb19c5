"""Requests on OpenAI's two wires: one history at each vendor, what is refused, and bytes that begin the next turn's."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from penstock import (
    Chunk,
    Collector,
    DocumentPart,
    ImagePart,
    InvalidRequestError,
    Message,
    Model,
    ModelInfo,
    OpaquePart,
    Options,
    Part,
    ReasoningPart,
    Reply,
    TextPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
    UsageChunk,
)
from penstock.core.dialect import Dialect
from penstock.testing import ChatForm, chat_completion, responses_message
from penstock.wire.openai.kept import BLOCKS
from penstock.wire.vendors import DIALECTS, rows_of
from reading import read_openai
from writing import PLAIN, closed, encode

HELLO = Message("user", "hi")
PNG = ImagePart(data=b"\xff\x00", media_type="image/png")
PNG_URL = "data:image/png;base64,/wA="
PDF = DocumentPart(data=b"%PDF", media_type="application/pdf", title="a.pdf")
NOTES = DocumentPart(data="dé".encode(), media_type="text/plain", title="Notes")
CALL = ToolCallPart(id="call_1", name="grep", arguments='{"pattern": "x"}')
OTHER = ToolCallPart(id="call_2", name="now")
ASKED = [HELLO, Message("assistant", [CALL, OTHER])]
WIRES: list[tuple[str, Any]] = [(row.name, wire) for row in rows_of("chat", "responses") for wire in row.wires]
each_wire = pytest.mark.parametrize(("vendor", "wire"), WIRES, ids=[f"{vendor} {wire}" for vendor, wire in WIRES])
EVERYWHERE = [*WIRES, ("anthropic", "messages")]
everywhere = pytest.mark.parametrize(
    ("vendor", "wire"), EVERYWHERE, ids=[f"{vendor} {wire}" for vendor, wire in EVERYWHERE]
)
LAST = {"chat": "messages", "responses": "input", "messages": "messages"}


def sent(messages: Sequence[Message], vendor: str | Dialect = "openai", wire: str = "chat", **more: Any) -> list[Any]:
    """The history as it is sent."""
    turns: list[Any] = msgspec.json.decode(encode(messages, vendor, wire, **more))[LAST[wire]]
    return turns


def tail(body: bytes) -> str:
    """What comes after `"messages":[` or `"input":[`, byte by byte."""
    return re.split(rb'"(?:messages|input)":\[', body, maxsplit=1)[1].removesuffix(b"]}").decode()


# Each part, and the very bytes that it becomes on the chat wire, in a message of its own.
CHAT: list[Any] = [
    pytest.param("user", [TextPart("é")], '{"role":"user","content":"é"}', id="a user's text"),
    pytest.param("assistant", [TextPart(" a\n")], r'{"role":"assistant","content":" a\n"}', id="an answer's text"),
    pytest.param(
        "user",
        [TextPart("a"), PNG, TextPart("b")],
        '{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"PNG_URL"}},'
        '{"type":"text","text":"b"}]}',
        id="text around an image, in order",
    ),
    pytest.param(
        "user",
        [ImagePart(url="https://a/b.png")],
        '{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://a/b.png"}}]}',
        id="an image by url",
    ),
    pytest.param(
        "user",
        [PDF],
        '{"role":"user","content":[{"type":"file","file":{"filename":"a.pdf",'
        '"file_data":"data:application/pdf;base64,JVBERg=="}}]}',
        id="a PDF",
    ),
    pytest.param(
        "user",
        [DocumentPart(data=b"%PDF", media_type="application/pdf")],
        '{"role":"user","content":[{"type":"file","file":{"filename":"document.pdf",'
        '"file_data":"data:application/pdf;base64,JVBERg=="}}]}',
        id="a PDF needs a name",
    ),
    pytest.param("user", [NOTES], '{"role":"user","content":"Notes\\n\\ndé"}', id="a document of plain text is text"),
    pytest.param(
        "assistant",
        [CALL],
        '{"role":"assistant","content":null,"tool_calls":[{"type":"function","id":"call_1",'
        '"function":{"name":"grep","arguments":"{\\"pattern\\": \\"x\\"}"}}]}',
        id="the arguments of a call go back byte by byte",
    ),
    pytest.param(
        "assistant",
        [TextPart("Let me "), TextPart("see."), CALL, OTHER],
        '{"role":"assistant","content":"Let me see.","tool_calls":[{"type":"function","id":"call_1",'
        '"function":{"name":"grep","arguments":"{\\"pattern\\": \\"x\\"}"}},'
        '{"type":"function","id":"call_2","function":{"name":"now","arguments":"{}"}}]}',
        id="text and parallel calls are one message",
    ),
    pytest.param(
        "user",
        [ToolResultPart(id="call_1", content="done")],
        '{"role":"tool","tool_call_id":"call_1","content":"done"}',
        id="a result of text",
    ),
    pytest.param(
        "user",
        [ToolResultPart(id="call_1", content="")],
        '{"role":"tool","tool_call_id":"call_1","content":""}',
        id="a result of nothing",
    ),
    pytest.param(
        "user",
        [ToolResultPart(id="call_1", content="no such file", is_error=True)],
        '{"role":"tool","tool_call_id":"call_1","content":"Error: no such file"}',
        id="a result that is an error says so",
    ),
    pytest.param(
        "user",
        [ToolResultPart(id="call_1", content=[TextPart("a"), NOTES])],
        '{"role":"tool","tool_call_id":"call_1","content":"a\\nNotes\\n\\ndé"}',
        id="a result of several texts",
    ),
    pytest.param(
        "user",
        [TextPart("Look:"), ToolResultPart(id="call_2", content="2"), ToolResultPart(id="call_1", content=[PNG])],
        '{"role":"tool","tool_call_id":"call_2","content":"2"},{"role":"tool","tool_call_id":"call_1","content":""},'
        '{"role":"user","content":[{"type":"text","text":"What the tool call call_1 gave, beside its text:"},'
        '{"type":"image_url","image_url":{"url":"PNG_URL"}},{"type":"text","text":"Look:"}]}',
        id="results come first, their images after them, what the user says last",
    ),
    pytest.param(
        "assistant",
        [OpaquePart(vendor="anthropic", data='{"type":"x"}', text="found it")],
        '{"role":"assistant","content":"found it"}',
        id="a vendor's own block is its text",
    ),
    pytest.param(
        "user",
        [OpaquePart(vendor="anthropic", data='{"type":"x"}', text="found it")],
        '{"role":"user","content":"found it"}',
        id="a user's block as well",
    ),
]
ITEM = '{"type":"web_search_call", "id":"ws_1","action":{"b":1,"a":2}}'
MESSAGE = '{"type":"message","role":"assistant","phase":"final_answer","content":[{"type":"output_text","text":"a"}]}'
RESPONSES: list[Any] = [
    pytest.param("user", [TextPart("é")], '{"role":"user","content":"é"}', id="a user's text"),
    pytest.param(
        "assistant",
        [TextPart("a"), TextPart("b")],
        '{"role":"assistant","content":"a","type":"message"},{"role":"assistant","content":"b","type":"message"}',
        id="an answer's texts",
    ),
    pytest.param(
        "user",
        [TextPart("a"), PNG, ImagePart(url="u")],
        '{"role":"user","content":[{"type":"input_text","text":"a"},'
        '{"type":"input_image","image_url":"PNG_URL","detail":"auto"},'
        '{"type":"input_image","image_url":"u","detail":"auto"}]}',
        id="text and images",
    ),
    pytest.param(
        "user",
        [PDF, DocumentPart(url="https://a/b.pdf"), NOTES],
        '{"role":"user","content":[{"type":"input_file","filename":"a.pdf",'
        '"file_data":"data:application/pdf;base64,JVBERg=="},{"type":"input_file","file_url":"https://a/b.pdf"},'
        '{"type":"input_text","text":"Notes\\n\\ndé"}]}',
        id="documents",
    ),
    pytest.param(
        "assistant",
        [TextPart("Let me see."), CALL, OTHER],
        '{"role":"assistant","content":"Let me see.","type":"message"},'
        '{"type":"function_call","call_id":"call_1","name":"grep","arguments":"{\\"pattern\\": \\"x\\"}"},'
        '{"type":"function_call","call_id":"call_2","name":"now","arguments":"{}"}',
        id="text and calls are items",
    ),
    pytest.param(
        "user",
        [
            ToolResultPart(id="call_1", content="done"),
            TextPart("a"),
            PNG,
            ToolResultPart(id="call_2", content="broken", is_error=True),
            TextPart("b"),
        ],
        '{"type":"function_call_output","call_id":"call_1","output":"done"},'
        '{"role":"user","content":[{"type":"input_text","text":"a"},'
        '{"type":"input_image","image_url":"PNG_URL","detail":"auto"}]},'
        '{"type":"function_call_output","call_id":"call_2","output":"Error: broken"},'
        '{"role":"user","content":"b"}',
        id="results and what is said stand in order",
    ),
    pytest.param(
        "user",
        [ToolResultPart(id="call_1", content=[TextPart("a"), PNG, PDF], is_error=True)],
        '{"type":"function_call_output","call_id":"call_1","output":[{"type":"input_text","text":"Error:"},'
        '{"type":"input_text","text":"a"},{"type":"input_image","image_url":"PNG_URL","detail":"auto"},'
        '{"type":"input_file","filename":"a.pdf","file_data":"data:application/pdf;base64,JVBERg=="}]}',
        id="a result may hold images and documents",
    ),
    *(
        pytest.param(role, [OpaquePart(vendor="openai", data=data)], data, id=f"an own item of the {role}'s")
        for role, data in (("assistant", ITEM), ("assistant", MESSAGE), ("user", '{"type":"item_reference", "id":"x"}'))
    ),
    pytest.param(
        "assistant",
        [OpaquePart(vendor="xai", data=ITEM, text="found it")],
        '{"role":"assistant","content":"found it","type":"message"}',
        id="another vendor's item is its text",
    ),
    pytest.param(
        "assistant",
        [TextPart("a"), *(OpaquePart(vendor="openai", data=f'{{"type":"{kind}"}}') for kind in sorted(BLOCKS))],
        '{"role":"assistant","content":"a","type":"message"}',
        id="what the chat wire keeps is no item",
    ),
    pytest.param(
        "user",
        [OpaquePart(vendor="anthropic", data='{"type":"search_result"}', text="found it")],
        '{"role":"user","content":"found it"}',
        id="what a user shows stays a user's",
    ),
    pytest.param(
        "user",
        [OpaquePart(vendor="anthropic", data='{"type":"search_result"}', text="found it"), TextPart("So?")],
        '{"role":"user","content":[{"type":"input_text","text":"found it"},{"type":"input_text","text":"So?"}]}',
        id="also beside other text",
    ),
]


def asked_before(parts: list[Part]) -> list[Message]:
    """What must stand before them: calls, if they are their results."""
    return ASKED if any(isinstance(part, ToolResultPart) for part in parts) else [HELLO]


@pytest.mark.parametrize(("role", "parts", "written"), CHAT)
def test_each_part_on_the_chat_wire(role: Any, parts: list[Part], written: str) -> None:
    """Parts become these very bytes, in their place."""
    asked = asked_before(parts)
    before, _, _ = tail(encode(closed(asked))).partition(',{"role":"tool"')
    after = tail(encode(closed([*asked, Message(role, parts)])))
    assert after.startswith(f"{before},{written.replace('PNG_URL', PNG_URL)}")


@pytest.mark.parametrize(("role", "parts", "written"), RESPONSES)
def test_each_part_on_the_responses_api(role: Any, parts: list[Part], written: str) -> None:
    """Parts become these very bytes, in their place."""
    asked = asked_before(parts)
    before, _, _ = tail(encode(closed(asked), wire="responses")).partition(',{"type":"function_call_output"')
    after = tail(encode(closed([*asked, Message(role, parts)]), wire="responses"))
    assert after.startswith(f"{before},{written.replace('PNG_URL', PNG_URL)}")


LEFT_OUT: list[Any] = [
    pytest.param("assistant", ReasoningPart(text="hm"), id="nobody's reasoning"),
    pytest.param("assistant", ReasoningPart(text="hm", proof="p", vendor="anthropic"), id="another vendor's"),
    pytest.param("assistant", ReasoningPart(text="hm", vendor="openai"), id="an own one without a proof"),
    pytest.param("assistant", OpaquePart(vendor="anthropic", data="{}"), id="another vendor's block without text"),
    pytest.param("assistant", OpaquePart(vendor="anthropic", data="{}", text=" "), id="another vendor's blank block"),
]


@pytest.mark.parametrize(("role", "part"), LEFT_OUT)
@pytest.mark.parametrize("wire", ["chat", "responses"])
def test_what_cannot_go_back_is_left_out(role: Any, part: Part, wire: str) -> None:
    """Of such a part nothing is sent, and of a message that has nothing else nothing either."""
    with_it, without = Message(role, [part, TextPart("after")]), Message(role, [TextPart("after")])
    assert encode([HELLO, with_it, HELLO], wire=wire) == encode([HELLO, without, HELLO], wire=wire)
    assert encode([HELLO, Message(role, [part]), HELLO], wire=wire) == encode([HELLO, HELLO], wire=wire)


@pytest.mark.parametrize("wire", ["chat", "responses"])
def test_blank_text_of_the_assistants(wire: str) -> None:
    """Alone or before a call it is not sent; where the chat wire joins it with more text, the text is as it came."""
    blank, after = TextPart(" \n\t"), TextPart("after")
    assert encode([HELLO, Message("assistant", [blank]), HELLO], wire=wire) == encode([HELLO, HELLO], wire=wire)
    for kept in ([CALL], [after]):
        joined = [TextPart(" \n\tafter")] if wire == "chat" and after in kept else kept
        for thought in ([], [ReasoningPart(text="hm")]):
            with_it, without = Message("assistant", [blank, *thought, *kept]), Message("assistant", joined)
            assert encode(closed([HELLO, with_it]), wire=wire) == encode(closed([HELLO, without]), wire=wire)


SYSTEMS = {
    "chat": '{"role":"system","content":"be kind"},{"role":"user","content":"hi"}',
    "responses": '{"role":"user","content":"hi"}',
}


@pytest.mark.parametrize("wire", ["chat", "responses"])
def test_the_system_prompt(wire: str) -> None:
    """It is the first message, or has a field of its own; a blank one is not sent."""
    body = encode([HELLO], wire=wire, system="be kind")
    assert tail(body) == SYSTEMS[wire]
    assert msgspec.json.decode(body).get("instructions") == ("be kind" if wire == "responses" else None)
    for blank in ("", " ", " \n\t"):
        assert encode([HELLO], wire=wire, system=blank) == encode([HELLO], wire=wire)


# Reasoning as each vendor wants it back: a text, or a proof, of either wire. The marks are found again below.
ECHOES = {
    **dict.fromkeys(("deepseek", "llamacpp", "moonshot", "novita", "xiaomi", "zai"), "reasoning_content"),
    **dict.fromkeys(("ollama", "vllm"), "reasoning"),
}
THOUGHTS: dict[tuple[str, str], list[ReasoningPart]] = {
    ("anthropic", "messages"): [ReasoningPart(text="«anthropic»", proof="«anthropic messages»", vendor="anthropic")],
    ("openrouter", "chat"): [
        ReasoningPart(
            text="«openrouter»",
            proof='[{"type":"reasoning.text", "text":"«openrouter chat»","index":0},{"type":"reasoning.encrypted"}]',
            vendor="openrouter",
        )
    ],
    ("google", "chat"): [
        ReasoningPart(proof='{"google": {"thought_signature":"«google chat»"}}', vendor="google"),
    ],
    **{
        (vendor, "chat"): [
            ReasoningPart(text=f"«{vendor} ", vendor=vendor),
            ReasoningPart(text="chat»", vendor=vendor),
        ]
        for vendor in ECHOES
    },
    **{
        (vendor, "responses"): [
            ReasoningPart(
                text=f"«{vendor}»",
                proof=f'{{"id":"rs_{vendor}", "type": "reasoning","encrypted_content":"«{vendor} responses»"}}',
                vendor=vendor,
            )
        ]
        for vendor, wire in WIRES
        if wire == "responses"
    },
}
ALL_THOUGHTS = [part for parts in THOUGHTS.values() for part in parts]
STEPS = [
    Message("user", [TextPart("What is in this?"), PNG, NOTES]),
    Message("assistant", [*ALL_THOUGHTS, TextPart("Let me see."), CALL, OTHER]),
    Message(
        "user",
        [ToolResultPart(id="call_1", content="done"), ToolResultPart(id="call_2", content="no", is_error=True)],
    ),
    Message("assistant", [*ALL_THOUGHTS, OpaquePart(vendor="anthropic", data='{"type":"x"}', text="Nothing.")]),
    Message("user", "Thanks."),
]


@everywhere
def test_foreign_reasoning_is_never_sent(vendor: str, wire: str) -> None:
    """Of the thoughts of all vendors only its own go back, those of this wire, and always with the calls."""
    body = encode(STEPS, vendor, wire).decode()
    assert sorted(set(re.findall("«(.*?)»", body)) - {vendor}) == [f"{vendor} {wire}"] * ((vendor, wire) in THOUGHTS)


@each_wire
def test_own_reasoning_goes_back_in_its_place(vendor: str, wire: str) -> None:
    """As a text beside the calls, as details, on the call, or as an item before it; byte by byte what is a proof."""
    turns, body = sent(STEPS, vendor, wire), encode(STEPS, vendor, wire).decode()
    if wire == "responses":
        (proof,) = [part.proof or "" for part in THOUGHTS[vendor, wire]]
        assert f'{proof},{{"role":"assistant","content":"Let me see.","type":"message"}},{{"type":"function' in body
        assert body.count(proof) == 2
        return
    calling, answering = [turn for turn in turns if turn["role"] == "assistant"]
    calls = calling["tool_calls"]
    extra = {"role", "content", "tool_calls"}
    if vendor in ECHOES:
        assert calling[ECHOES[vendor]] == f"«{vendor} chat»"
        assert set(answering) == {"role", "content"}, "where there are no calls it would only cost tokens"
        extra |= {ECHOES[vendor]}
    elif vendor == "openrouter":
        details = (THOUGHTS[vendor, wire][0].proof or "").strip("[]")
        assert body.count(f'"reasoning_details":[{details}]') == 2
        extra |= {"reasoning_details"}
    elif vendor == "google":
        proof = THOUGHTS[vendor, wire][0].proof or ""
        assert f'"extra_content":{proof}}},{{"type":"function","id":"call_2"' in body
        assert [set(call) for call in calls] == [
            {"type", "id", "function", "extra_content"},
            {"type", "id", "function"},
        ]
        assert answering["extra_content"] == msgspec.json.decode(proof)
    assert set(calling) == extra


@pytest.mark.parametrize("vendor", ["deepseek", "llamacpp"])
def test_an_empty_thought_is_sent_where_one_must_be(vendor: str) -> None:
    """DeepSeek refuses a message with calls and without reasoning; also one that another's model made."""
    assert sent(closed(ASKED), vendor)[1]["reasoning_content"] == ""
    assert "reasoning_content" not in sent([HELLO, Message("assistant", "ok"), HELLO], vendor)[1]


@pytest.mark.parametrize("vendor", ["ollama", "vllm"])
def test_no_thought_is_none(vendor: str) -> None:
    """Where the field is not asked for it stays away."""
    assert "reasoning" not in sent(closed(ASKED), vendor)[1]


DUMMY = {"google": {"thought_signature": "skip_thought_signature_validator"}}
SIGNED = '{"google":{"thought_signature":"c2ln"}}'


@pytest.mark.parametrize(
    ("parts", "extras", "of_message"),
    [
        pytest.param([CALL, OTHER], [DUMMY, None], None, id="foreign calls: the first gets the documented dummy"),
        pytest.param([SIGNED, CALL, OTHER], [SIGNED, None], None, id="a signature stands on the call after it"),
        pytest.param([CALL, SIGNED, OTHER], [None, SIGNED], None, id="on the second, then"),
        pytest.param([SIGNED, CALL, SIGNED, OTHER], [SIGNED, SIGNED], None, id="on both"),
        pytest.param([CALL, OTHER, SIGNED], [DUMMY, None], SIGNED, id="after the calls it was the message's"),
        pytest.param([SIGNED, TextPart("a"), CALL], [SIGNED], None, id="text between does not matter"),
        pytest.param([TextPart("a"), SIGNED], None, SIGNED, id="without calls it is the message's"),
        pytest.param([TextPart("a")], None, None, id="and without one there is none"),
    ],
)
def test_signatures_at_google(parts: list[Any], extras: list[Any] | None, of_message: str | None) -> None:
    """Each comes back where it came from; a call without one would be refused."""
    said = [ReasoningPart(proof=part, vendor="google") if isinstance(part, str) else part for part in parts]
    turn = sent(closed([HELLO, Message("assistant", said)]), "google")[1]
    wanted = [msgspec.json.decode(extra) if isinstance(extra, str) else extra for extra in extras or ()]
    assert [call.get("extra_content") for call in turn.get("tool_calls", ())] == wanted
    assert turn.get("extra_content") == (of_message and msgspec.json.decode(of_message))


def test_details_of_several_blocks_are_one_list() -> None:
    """As the API has it: the list stands on the message."""
    proofs = ['[{"type":"reasoning.text","text":"a"}]', '[{"type":"reasoning.encrypted","data":"b"},{"c":1}]']
    parts = [ReasoningPart(proof=proof, vendor="openrouter") for proof in proofs]
    turn = sent([HELLO, Message("assistant", [parts[0], TextPart("t"), parts[1]])], "openrouter")[1]
    assert turn["reasoning_details"] == [one for proof in proofs for one in msgspec.json.decode(proof)]
    assert turn["content"] == "t"


BODIES: list[Any] = [
    pytest.param(
        "openai",
        "chat",
        '{"model":"m-1","stream":true,"stream_options":{"include_usage":true},'
        '"tools":[{"type":"function","function":{"name":"now","parameters":{"type":"object","properties":{}}}}],'
        '"messages":[{"role":"system","content":"be kind"},'
        '{"role":"user","content":[{"type":"text","text":"What is in this?"},'
        '{"type":"image_url","image_url":{"url":"data:image/png;base64,/wA="}},{"type":"text","text":"Notes\\n\\ndé"}]},'
        '{"role":"assistant","content":"Let me see.","tool_calls":[{"type":"function","id":"call_1","function":'
        '{"name":"grep","arguments":"{\\"pattern\\": \\"x\\"}"}},'
        '{"type":"function","id":"call_2","function":{"name":"now","arguments":"{}"}}]},'
        '{"role":"tool","tool_call_id":"call_1","content":"done"},'
        '{"role":"tool","tool_call_id":"call_2","content":"Error: no"},'
        '{"role":"assistant","content":"Nothing."},{"role":"user","content":"Thanks."}]}',
        id="OpenAI's chat",
    ),
    pytest.param(
        "openai",
        "responses",
        '{"model":"m-1","stream":true,"store":false,'
        '"tools":[{"type":"function","name":"now","parameters":{"type":"object","properties":{}},"strict":false}],'
        '"instructions":"be kind","input":[{"role":"user","content":[{"type":"input_text","text":"What is in this?"},'
        '{"type":"input_image","image_url":"data:image/png;base64,/wA=","detail":"auto"},'
        '{"type":"input_text","text":"Notes\\n\\ndé"}]},'
        '{"id":"rs_openai", "type": "reasoning","encrypted_content":"«openai responses»"},'
        '{"role":"assistant","content":"Let me see.","type":"message"},'
        '{"type":"function_call","call_id":"call_1","name":"grep","arguments":"{\\"pattern\\": \\"x\\"}"},'
        '{"type":"function_call","call_id":"call_2","name":"now","arguments":"{}"},'
        '{"type":"function_call_output","call_id":"call_1","output":"done"},'
        '{"type":"function_call_output","call_id":"call_2","output":"Error: no"},'
        '{"id":"rs_openai", "type": "reasoning","encrypted_content":"«openai responses»"},'
        '{"role":"assistant","content":"Nothing.","type":"message"},{"role":"user","content":"Thanks."}]}',
        id="OpenAI's Responses",
    ),
    pytest.param(
        "mistral",
        "chat",
        '{"model":"m-1","stream":true,'
        '"tools":[{"type":"function","function":{"name":"now","parameters":{"type":"object","properties":{}}}}],'
        '"messages":[{"role":"system","content":"be kind"},'
        '{"role":"user","content":[{"type":"text","text":"What is in this?"},'
        '{"type":"image_url","image_url":{"url":"data:image/png;base64,/wA="}},{"type":"text","text":"Notes\\n\\ndé"}]},'
        '{"role":"assistant","content":"Let me see.","tool_calls":[{"type":"function","id":"74196fe72","function":'
        '{"name":"grep","arguments":"{\\"pattern\\": \\"x\\"}"}},'
        '{"type":"function","id":"1b68f83fa","function":{"name":"now","arguments":"{}"}}]},'
        '{"role":"tool","tool_call_id":"74196fe72","content":"done"},'
        '{"role":"tool","tool_call_id":"1b68f83fa","content":"Error: no"},'
        '{"role":"assistant","content":"Nothing."},{"role":"user","content":"Thanks."}]}',
        id="Mistral, whose ids have nine characters",
    ),
    pytest.param(
        "anthropic",
        "messages",
        '{"model":"m-1","max_tokens":32000,"stream":true,'
        '"tools":[{"name":"now","input_schema":{"type":"object","properties":{}}}],'
        '"system":[{"type":"text","text":"be kind"}],'
        '"messages":[{"role":"user","content":[{"type":"text","text":"What is in this?"},'
        '{"type":"image","source":{"type":"base64","media_type":"image/png","data":"/wA="}},'
        '{"type":"document","source":{"type":"text","media_type":"text/plain","data":"dé"},"title":"Notes"}]},'
        '{"role":"assistant","content":['
        '{"type":"thinking","thinking":"«anthropic»","signature":"«anthropic messages»"},'
        '{"type":"text","text":"Let me see."},{"type":"tool_use","id":"call_1","name":"grep","input":{"pattern": "x"}},'
        '{"type":"tool_use","id":"call_2","name":"now","input":{}}]},'
        '{"role":"user","content":[{"type":"tool_result","tool_use_id":"call_1","content":"done"},'
        '{"type":"tool_result","tool_use_id":"call_2","content":"no","is_error":true}]},'
        '{"role":"assistant","content":['
        '{"type":"thinking","thinking":"«anthropic»","signature":"«anthropic messages»"},'
        '{"type":"x"}]},{"role":"user","content":[{"type":"text","text":"Thanks."}]}]}',
        id="Anthropic",
    ),
]


@pytest.mark.parametrize(("vendor", "wire", "body"), BODIES)
def test_one_history_at_several_vendors(vendor: str, wire: str, body: str) -> None:
    """The very bytes."""
    assert encode(STEPS, vendor, wire, system="be kind", options=Options(cache="off", tools=[Tool(name="now")])) == (
        body.encode()
    )


def calls_and_results(turns: list[Any], wire: str) -> tuple[list[str], list[str]]:
    """The ids, as they were sent."""
    if wire == "chat":
        calls = [call["id"] for turn in turns for call in turn.get("tool_calls", ())]
        return calls, [turn["tool_call_id"] for turn in turns if turn["role"] == "tool"]
    if wire == "responses":
        kinds = ("function_call", "function_call_output")
        calls, results = ([turn["call_id"] for turn in turns if turn.get("type") == kind] for kind in kinds)
        return calls, results
    blocks = [block for turn in turns for block in turn["content"]]
    return (
        [block["id"] for block in blocks if block["type"] == "tool_use"],
        [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"],
    )


# What the vendors take; all others take any, and some models look at theirs: Kimi's are `functions.add:0`.
LEGAL = {
    ("anthropic", "messages"): "[a-zA-Z0-9_-]+",
    ("mistral", "chat"): "[a-zA-Z0-9]{9}",
    **{(vendor, "chat"): "[a-zA-Z0-9_-]{1,40}" for vendor in ("openai", "azure")},
    **{(vendor, "responses"): "[a-zA-Z0-9_-]{1,64}" for vendor in ("openai", "azure")},
}


def ids(foreign: Sequence[str], vendor: str, wire: str) -> list[str]:
    """What the calls are sent with, legal as the vendor has it; their results are sent in the opposite order."""
    calls = [ToolCallPart(id=id_, name="f") for id_ in foreign]
    results = [ToolResultPart(id=id_, content="r") for id_ in reversed(foreign)]
    written, back = calls_and_results(
        sent([HELLO, Message("assistant", calls), Message("user", results)], vendor, wire), wire
    )
    assert back == written[::-1]
    for came, id_ in zip(foreign, written, strict=True):
        if (vendor, wire) in LEGAL:
            assert re.fullmatch(LEGAL[vendor, wire], id_)
        elif came and came.isprintable() and foreign.index(came) == 0:
            assert id_ == came
    return written


LONG = "x" * 39
IDS: list[Any] = [
    pytest.param(["a.b", "a:b", "a b", "a_b", "a_b_"], id="what the APIs do not take"),
    pytest.param(["a_b", "a.b"], id="one that another already has"),
    pytest.param(["", "call"], id="none at all"),
    pytest.param(["call", ""], id="none at all, after what stands for it"),
    pytest.param([f"{LONG}.", f"{LONG}:", f"{LONG}_", f"{LONG}/"], id="the longest that differ only in the last place"),
    pytest.param([f"{LONG}xx", f"{LONG}xy", f"{LONG}x."], id="one character too long"),
    pytest.param(["chatcmpl-tool-0123456789abcdef0123456789abcdef", "toolu_01A2b3C4d5E6f7G8h9J0kLmN"], id="real ones"),
    pytest.param(["a" * 10_000, "a" * 10_001], id="very long"),
    pytest.param(["é", "è", "🦜", "\ud800", "\udfff"], id="what is not ASCII, or no text"),
    pytest.param(["123456789", "abcdefghi", "ABCDEFGHI", "12345678"], id="what Mistral takes, and what not"),
]


@pytest.mark.parametrize("foreign", IDS)
def test_ids_of_calls(foreign: list[str]) -> None:
    """Each call keeps an id of its own, a legal one, which its result has too; the same at every time and place."""
    for vendor, wire in EVERYWHERE:
        written = ids(foreign, vendor, wire)
        assert len(set(written)) == len(foreign), (vendor, wire)
        assert ids(foreign[:-1], vendor, wire) == written[:-1], f"{vendor} {wire}: a later one changes none before it"


def test_an_id_that_is_legal_stays() -> None:
    """Whoever made it: the vendor's own cache knows it."""
    assert ids(["call_1", "fc-2", "x" * 40], "openai", "chat") == ["call_1", "fc-2", "x" * 40]
    assert ids(["call_1", "fc_" + "0" * 50], "openai", "responses") == ["call_1", "fc_" + "0" * 50]
    assert ids(["Abc123xyz"], "mistral", "chat") == ["Abc123xyz"]
    for vendor, wire in WIRES:
        if (vendor, wire) not in LEGAL:
            assert ids(["functions.add:0", "x" * 50], vendor, wire) == ["functions.add:0", "x" * 50]


def test_an_id_made_of_another_is_not_taken_twice() -> None:
    """Also when somebody has a call of the very name that would be made."""
    made = ids(["call_1"], "mistral", "chat")[0]
    assert ids([made, "call_1"], "mistral", "chat")[0] == made
    assert len(set(ids([made, "call_1"], "mistral", "chat"))) == 2
    long = "y" * 41
    made = ids([long], "openai", "chat")[0]
    assert len(set(ids([made, long], "openai", "chat"))) == 2


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.text(max_size=50) | st.text("a_.:", max_size=3), min_size=1, max_size=12, unique=True),
    st.sampled_from(EVERYWHERE),
)
def test_any_ids_stay_distinct_and_legal(foreign: list[str], place: tuple[str, str]) -> None:
    """However odd, and however many would be the same."""
    assert len(set(ids(foreign, *place))) == len(foreign)


WRONG: Any = 5
WRONG_ONES: Any = (("x", "str"), ({"type": "text", "text": "x"}, "dict"))
TEXT_BYTES: Any = b"hi"
WRONG_PARTS: list[Any] = [CALL, ReasoningPart(text="hm"), ToolResultPart(id="call_1", content="r")]
REFUSED: list[Any] = [
    pytest.param([], "the history is empty: send at least one user message", id="an empty history"),
    *(
        pytest.param([message], "the history is empty", id=f"nothing left of {id_}")
        for message, id_ in (
            (Message("assistant", " \n"), "a blank answer"),
            (Message("assistant", [ReasoningPart(text="hm")]), "nobody's reasoning"),
            (Message("user", [OpaquePart(vendor="elsewhere", data="{}")]), "a user's block of another vendor"),
        )
    ),
    pytest.param(
        [HELLO, SimpleNamespace(role="system", content="be kind")],
        "messages[1]: the role is 'system', expected user or assistant",
        id="an unknown role of what is no Message",
    ),
    pytest.param([Message("user", "")], "messages[0]: the text is empty", id="an empty text"),
    pytest.param([HELLO, Message("assistant", "")], "messages[1]: the text is empty", id="an empty answer"),
    pytest.param([Message("user", [])], "messages[0] is empty: leave it out", id="a message of no parts"),
    pytest.param(
        [Message("user", [PNG, TextPart("")])], "messages[0].content[1]: the text is empty", id="an empty part"
    ),
    pytest.param(
        [*ASKED, Message("user", [ToolResultPart(id="call_1", content=[TextPart("a"), TextPart("")])])],
        "messages[2].content[0].content[1]: the text is empty",
        id="an empty text in a result",
    ),
    *(
        pytest.param(
            [*ASKED, Message("user", [ToolResultPart(id="call_1", content=[TextPart("a"), *wrong])])],
            f"messages[2].content[0].content[1]: {said}",
            id=f"in a result {said}",
        )
        for wrong, said in (
            (WRONG_PARTS[:1], "a ToolCallPart has no place in a tool result"),
            (WRONG_PARTS[1:2], "a ReasoningPart has no place in a tool result"),
            (WRONG_PARTS[2:], "a ToolResultPart has no place in a tool result"),
            ([ImagePart()], "give either data with its media_type, or a url"),
        )
    ),
    pytest.param(
        [*ASKED, Message("user", [ToolResultPart(id="call_9", content="r")])],
        "messages[2].content[0]: a result for the tool call 'call_9', which no message before it makes",
        id="a result without its call",
    ),
    *(
        pytest.param([Message("user", [part])], f"messages[0].content[0]: {said}", id=id_)
        for part, said, id_ in (
            (
                ImagePart(data=b"", media_type="image/bmp"),
                "an image of type 'image/bmp', expected image/jpeg, image/png, image/gif or image/webp",
                "an image of an unknown type",
            ),
            (ImagePart(data=b""), "an image of type None", "an image without a type"),
            (ImagePart(data=b"", url="u"), "give either data with its media_type, or a url", "an image with both"),
            (
                DocumentPart(data=b"", media_type="text/html"),
                "a document of type 'text/html', expected application/pdf or text/plain",
                "a document of an unknown type",
            ),
            (DocumentPart(), "give either data", "a document with neither"),
            (
                DocumentPart(data=b"", media_type="text/plain", citations=True),
                "no citations on this API; they work with Anthropic",
                "a document to be cited",
            ),
            (CALL, "a ToolCallPart has no place in a message of the user", "a call by the user"),
            (ReasoningPart(text="hm"), "a ReasoningPart has no place in a message of the user", "a user's reasoning"),
            (
                TextPart(TEXT_BYTES),
                "the TextPart holds a value of a wrong type (bytes would be sent as base64)",
                "bytes as a text",
            ),
            (TextPart(WRONG), "the TextPart holds a value of a wrong type", "a number as a text"),
            (ImagePart(data=WRONG, media_type="image/png"), "the ImagePart holds a value", "a number as an image"),
        )
    ),
    *(
        pytest.param(
            [*ASKED, Message("assistant", [part])],
            f"messages[2].content[0]: {said}",
            id=f"by the assistant: {said}",
        )
        for part, said in (
            (PNG, "a ImagePart has no place in a message of the assistant"),
            (PDF, "a DocumentPart has no place in a message of the assistant"),
            (ToolResultPart(id="call_1", content="r"), "a ToolResultPart has no place in a message of the assistant"),
            (TextPart(""), "the text is empty"),
            (ToolCallPart(id=WRONG, name="f"), "the ToolCallPart holds a value of a wrong type"),
            (ToolCallPart(id="c", name=TEXT_BYTES), "the ToolCallPart holds a value of a wrong type"),
            (ToolCallPart(id="c", name="f", arguments=TEXT_BYTES), "the ToolCallPart holds a value of a wrong type"),
        )
    ),
    *(
        pytest.param([*ASKED, Message("user", [part])], f"messages[2].content[0]: {said}", id=id_)
        for part, said, id_ in (
            (
                ToolResultPart(id="call_1", content=TEXT_BYTES),
                "the ToolResultPart holds a value of a wrong type|.content[0]: a int has no place in a tool result",
                "bytes as a result",
            ),
            (ToolResultPart(id="call_1", content=WRONG), "the ToolResultPart holds a value", "a number as a result"),
        )
    ),
    pytest.param([Message("user", "\ud800")], "cannot be written as JSON: 'utf-8' codec", id="half a surrogate pair"),
    pytest.param(
        [HELLO, {"role": "user", "content": "x"}],
        "messages[1] is a dict, expected a Message: write Message('user', ...)",
        id="a dictionary",
    ),
    pytest.param(
        [HELLO, Reply(text="", reasoning="", tool_calls=(), usage=UsageChunk(), stop=None, message=None)],
        "messages[1] is a Reply, expected a Message: append `reply.message`",
        id="a reply",
    ),
    pytest.param("Hi", "messages[0] is a str, expected a Message: write Message('user', ...)", id="a text"),
    pytest.param(
        [Message("user", WRONG)], "messages[0] is a Message that is no Message of text or parts", id="a number"
    ),
    *(
        pytest.param(
            [Message("user", [TextPart("a"), part])],
            f"messages[0].content[1]: a {id_} has no place in a message of the user: write TextPart(...), or another",
            id=f"a {id_} for a part",
        )
        for part, id_ in WRONG_ONES
    ),
]


@pytest.mark.parametrize(("messages", "said"), REFUSED)
def test_a_wrong_history_is_refused_before_sending(messages: Any, said: str) -> None:
    """The message names the place and what is wrong there, at each vendor."""
    for vendor, wire in EVERYWHERE:
        if wire == "messages" and ("citations" in said or "the ImagePart holds" in said):
            continue  # the one can be done there, the other is found by the server
        with pytest.raises(InvalidRequestError) as refused:
            encode(messages, vendor, wire)
        message = refused.value.message.replace("]: .", "].")
        assert any(words in message for words in said.split("|")), (vendor, wire, message)
        assert refused.value.status is None


USER_AFTER_TOOL = "mine takes neither text nor images after a tool's results: wait for the model's answer"
MINE = Dialect(name="mine", wires=["chat"], user_after_tool=False)
RESULT = ToolResultPart(id="call_1", content="r")
REFUSED_BY_VENDOR: list[Any] = [
    *(
        pytest.param(
            MINE,
            "chat",
            closed([HELLO, Message("assistant", [CALL]), *rest]),
            f"messages[{place}]: {USER_AFTER_TOOL}",
            id=id_,
        )
        for rest, place, id_ in (
            ([Message("user", [RESULT]), HELLO], 3, "a user's message after a result"),
            ([Message("user", [RESULT, TextPart("So?")])], 2, "a user's text beside a result"),
            ([Message("user", [ToolResultPart(id="call_1", content=[PNG])])], 2, "an image in a result"),
            ([Message("user", [RESULT]), Message("assistant", " "), HELLO], 4, "only a blank answer between them"),
        )
    ),
    *(
        pytest.param(
            vendor,
            wire,
            [HELLO, Message("user", [TextPart("a"), ImagePart(url="https://a/b.png")])],
            f"messages[1].content[1]: {vendor} fetches no images: give its data",
            id=f"{vendor} {wire}: an image by URL",
        )
        for vendor in ("ollama", "lmstudio")
        for wire in ("chat", "responses")
    ),
    *(
        pytest.param(
            row.name,
            "chat",
            [Message("user", [document])],
            f"messages[0].content[0]: {row.name} takes no documents on the chat wire; send its text",
            id=f"{row.name}: a PDF{' by URL' if document.url else ''}",
        )
        for document in (PDF, DocumentPart(url="https://a/b.pdf"))
        for row in rows_of("chat")
        if row.name not in ("openai", "openrouter", "openai-compatible")
    ),
    pytest.param(
        "openai",
        "chat",
        [Message("user", [DocumentPart(url="https://a/b.pdf")])],
        'messages[0].content[0]: no documents by URL on the chat wire; they work with wire="responses" or as data',
        id="a document by URL on the chat wire",
    ),
    pytest.param(
        Dialect(name="mine", wires=["chat"]),
        "chat",
        [Message("user", [DocumentPart(url="https://a/b.pdf")])],
        "messages[0].content[0]: no documents by URL on the chat wire; they work as data",
        id="where there is no other wire",
    ),
    pytest.param(
        "openai",
        "responses",
        [HELLO, Message("assistant", [OpaquePart(vendor="openai", data="[]")])],
        "messages[1].content[0]: the data is not a JSON object: []",
        id="an own item that is not an object",
    ),
    *(
        pytest.param(
            vendor,
            wire,
            [HELLO, Message("assistant", [ReasoningPart(proof=proof, vendor=vendor), TextPart("a")])],
            f"messages[1].content[0]: the proof is no JSON: {proof}",
            id=f"{vendor} {wire}: a proof that was cut",
        )
        for vendor, wire, proof in (
            ("openrouter", "chat", '[{"type":'),
            ("google", "chat", '{"google":{'),
            ("openai", "responses", '{"type":"reasoning",'),
        )
    ),
    *(
        pytest.param(
            vendor,
            "chat",
            [Message("assistant", THOUGHTS[vendor, "chat"])],
            "the history is empty",
            id=f"{vendor}: a thought",
        )
        for vendor in ("deepseek", "openrouter", "google", "ollama")
    ),
]


@pytest.mark.parametrize(("vendor", "wire", "messages", "said"), REFUSED_BY_VENDOR)
def test_what_a_vendor_does_not_take_is_refused(
    vendor: str | Dialect, wire: str, messages: list[Message], said: str
) -> None:
    """By its row, with the place."""
    with pytest.raises(InvalidRequestError) as refused:
        encode(messages, vendor, wire)
    assert refused.value.message.startswith(said)


@each_wire
@pytest.mark.parametrize("wrap", [False, True], ids=["in a message", "in a result"])
def test_images_are_refused_where_the_model_takes_none(vendor: str, wire: str, wrap: bool) -> None:
    """The message names the model and the place."""
    blind = Model("blind-1", ModelInfo(supports_images=False))
    part = ToolResultPart(id="call_1", content=[PNG]) if wrap else PNG
    shown = Message("user", [TextPart("a"), part] if not wrap else [part])
    history = closed([*ASKED, shown]) if wrap else [HELLO, HELLO, shown]
    assert PNG_URL in encode(history, vendor, wire).decode()
    place = r"messages\[2\].content\[0\].content\[0\]" if wrap else r"messages\[2\].content\[1\]"
    with pytest.raises(InvalidRequestError, match=rf"{place}: blind-1 takes no images"):
        encode(history, vendor, wire, model=blind)


PREFILL = [HELLO, Message("assistant", "{")]
STRICT = Model("m-1", ModelInfo(supports_prefill=False))


@each_wire
def test_prefill(vendor: str, wire: str) -> None:
    """A history that ends with the assistant is refused where the model is known not to take it."""
    assert len(sent(PREFILL, vendor, wire)) == 2
    with pytest.raises(InvalidRequestError, match=r"messages\[1\]: m-1 takes no history that ends with the assistant"):
        encode(PREFILL, vendor, wire, model=STRICT)
    assert encode([HELLO, Message("assistant", [*ALL_THOUGHTS, TextPart("a")]), HELLO], vendor, wire, model=STRICT)


ENDLESS: list[object] = []
ENDLESS.append(ENDLESS)
NOT_JSON = "the request cannot be written as JSON: "


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(Options(extra={"a": object()}), id="an object"),
        pytest.param(Options(extra={"a": {(1, 2): 3}}), id="a key that is no text"),
        pytest.param(Options(extra={"a": ENDLESS}), id="a list in itself"),
        pytest.param(Options(extra={"a": "\ud800"}), id="half a surrogate pair"),
        pytest.param(Options(tools=[Tool(name="f", parameters={"type": "object", "a": ENDLESS})]), id="in itself"),
        pytest.param(Options(tools=[Tool(name="f", description="\ud800")]), id="a description that is no text"),
    ],
)
def test_what_json_cannot_hold_is_refused(options: Options) -> None:
    """It is an error of ours, whatever the encoder raises."""
    for vendor, wire in WIRES:
        with pytest.raises(InvalidRequestError) as refused:
            encode([HELLO], vendor, wire, options=options)
        assert refused.value.message.startswith(NOT_JSON), (vendor, wire)


@everywhere
def test_a_system_prompt_that_is_no_text_is_refused(vendor: str, wire: str) -> None:
    """Nothing would be sent in its place."""
    nothing: Any = None
    with pytest.raises(InvalidRequestError, match="the system prompt is a NoneType, expected text"):
        encode([HELLO], vendor, wire, system=nothing)


# One of each wire, and one that makes its own ids: what else a row says costs nothing with the length.
@pytest.mark.parametrize(
    ("vendor", "wire"), [("openai", "chat"), ("mistral", "chat"), ("openai", "responses"), ("anthropic", "messages")]
)
def test_a_huge_history_is_written(vendor: str, wire: str) -> None:
    """Thousands of turns, a megabyte of text, arguments that nest, an image of a megabyte."""
    deep = '{"a":' * 300 + "{}" + "}" * 300
    history = [
        Message("user", [TextPart("x" * 1_000_000), ImagePart(data=bytes(1_000_000), media_type="image/png")]),
        *(
            message
            for number in range(1000)
            for message in (
                Message("assistant", [ToolCallPart(id=f"call {number}", name="f", arguments=deep)]),
                Message("user", [ToolResultPart(id=f"call {number}", content="r")]),
            )
        ),
    ]
    calls, results = calls_and_results(sent(history, vendor, wire), wire)
    assert len(set(calls)) == 1000
    assert calls == results
    endless = ToolCallPart(id="c", name="f", arguments='{"a":' * 10**5)
    assert b"INVALID_JSON" in encode(
        [HELLO, Message("assistant", [endless]), Message("user", [ToolResultPart(id="c", content="r")])], vendor, wire
    )


TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(lambda text: not text.isspace())
ARGUMENTS = st.sampled_from(["{}", '{"b": 1, "a": [2]}', '{"path":"é\\n"}', ' { "x" : 1e3 } '])
SAID = st.one_of(
    st.builds(TextPart, TEXTS | st.just(" ")),
    st.just(OpaquePart(vendor="openai", data='{"type": "web_search_call"}')),
    st.just(OpaquePart(vendor="anthropic", data='{"type": "server_tool_use"}', text="t")),
)
IMAGES: st.SearchStrategy[Any] = st.just([TextPart("a"), PNG])


@st.composite
def conversations(draw: st.DrawFn) -> list[Message]:
    """A user's question, then rounds of an answer with calls and of their results with what the user adds."""
    history = [Message("user", [TextPart(draw(TEXTS)), PNG] if draw(st.booleans()) else draw(TEXTS))]
    for place in range(draw(st.integers(1, 4))):
        ids = [f"call:{place}/{number}" for number in range(draw(st.integers(0, 3)))]
        calls = [ToolCallPart(id=id_, name="f", arguments=draw(ARGUMENTS)) for id_ in ids]
        contents = TEXTS | IMAGES
        results = [ToolResultPart(id=id_, content=draw(contents), is_error=draw(st.booleans())) for id_ in ids]
        thoughts = draw(st.lists(st.sampled_from(ALL_THOUGHTS), max_size=4))
        said = [*draw(st.lists(SAID, max_size=2)), *([] if ids else [TextPart("a")])]
        asked = [TextPart(draw(TEXTS))] if not ids or draw(st.booleans()) else []
        history += [Message("assistant", [*thoughts, *said, *calls]), Message("user", [*results, *asked])]
    return history


OPTIONS = [
    PLAIN,
    Options(reasoning="high", max_tokens=4096, extra={"x": {"y": 1}, "messages_": 1}),
    Options(tools=[Tool(name="f", description="d")], tool_choice="auto", extra={"metadata": None}),
]


def asks(place: tuple[str, str], options: Options) -> tuple[str, str]:
    """The vendor and the wire, if they take the options."""
    assume(options.reasoning is None or DIALECTS[place[0]].option_fields.get("reasoning", "") is not None)
    return place


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from(WIRES), st.sampled_from(OPTIONS))
def test_the_bytes_of_a_turn_begin_those_of_the_next(
    data: st.DataObject, place: tuple[str, str], options: Options
) -> None:
    """The history is last in the body, so that all before its closing brackets stays; also with raw fields."""
    vendor, wire = asks(place, options)
    history = data.draw(conversations())
    later = encode(history, vendor, wire, system="be kind", options=options)
    assert [*msgspec.json.decode(later)][-1] == LAST[wire]
    for length in range(1, len(history)):
        if closed(history[:length]) != history[:length]:
            continue  # such a history is refused
        turn = encode(history[:length], vendor, wire, system="be kind", options=options)
        assert turn.endswith(b"]}")
        assert later.startswith(turn[:-2])


@settings(max_examples=60, deadline=None)
@given(conversations(), st.sampled_from(WIRES), st.sampled_from(OPTIONS))
def test_the_same_arguments_give_the_same_bytes(
    history: list[Message], place: tuple[str, str], options: Options
) -> None:
    """Encoding twice gives the same, a list is as good as a tuple, and nothing that was given is changed."""
    vendor, wire = asks(place, options)
    before = copy.deepcopy((history, options))
    first = encode(history, vendor, wire, system="be kind", options=options)
    assert (history, options) == before
    as_tuples = tuple(
        Message(message.role, message.content if isinstance(message.content, str) else tuple(message.content))
        for message in history
    )
    assert encode(as_tuples, vendor, wire, system="be kind", options=options) == first


def as_parts(chunks: Sequence[Chunk]) -> list[Part]:
    """The answer as the parts of a message, as users fold it."""
    collector = Collector()
    for chunk in chunks:
        collector.feed(chunk)
    message = collector.reply().message
    assert message is not None
    assert not isinstance(message.content, str)
    return list(message.content)


GREP: dict[str, Any] = {"id": "call_a", "name": "grep", "arguments": '{"pattern": "é"}'}
NOW: dict[str, Any] = {"id": "call_b", "name": "now", "arguments": "{}"}
SPOKEN: dict[str, Any] = {"text": "Let me see. 🦜", "tool_calls": [GREP, NOW]}
DETAILS = [
    {"type": "reasoning.text", "text": "Look", "index": 0},
    {"type": "reasoning.text", "text": " there", "index": 0, "signature": "c2ln"},
    {"type": "reasoning.encrypted", "data": "ZW5j", "index": 1},
]


def answered(vendor: str, wire: str) -> list[Part]:
    """A whole answer with thoughts, text and two calls, as the vendor streams it, folded."""
    if wire == "responses":
        summary = [{"type": "summary_text", "text": "Look there"}]
        calls = [
            {"type": "function_call", **call, "call_id": call["id"], "id": f"fc_{call['id']}"} for call in (GREP, NOW)
        ]
        items: list[Any] = [
            {"type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": "gA"},
            {"type": "message", "id": "msg_1", "content": [{"type": "output_text", "text": SPOKEN["text"]}]},
        ]
        return as_parts(read_openai(responses_message(*items, *calls), vendor, "responses"))
    field = ECHOES.get(vendor, "reasoning_content")
    form = ChatForm(reasoning_field=field)
    if vendor == "google":
        signed = {**GREP, "extra_content": {"google": {"thought_signature": "c2ln"}}}
        body = chat_completion(text=SPOKEN["text"], tool_calls=[signed, NOW], form=ChatForm(whole_calls=True))
    elif vendor == "openrouter":
        head = b'data: {"choices":[{"index":0,"delta":{"reasoning_details":['
        details = [b"%b%b]}}]}\n\n" % (head, msgspec.json.encode(piece)) for piece in DETAILS]
        first, *rest = chat_completion(**SPOKEN)
        body = [first, *details, *rest]
    else:
        body = chat_completion(**SPOKEN, reasoning="Look there", form=form)
    return as_parts(read_openai(body, vendor))


@each_wire
def test_what_comes_goes_back(vendor: str, wire: str) -> None:
    """A streamed answer, folded as in the README and sent again, has lost nothing that the vendor wants."""
    parts = answered(vendor, wire)
    results = [ToolResultPart(id=id_, content=f"r {id_}") for id_ in ("call_a", "call_b")]
    turns = sent([HELLO, Message("assistant", parts), Message("user", results)], vendor, wire)
    if wire == "responses":
        kinds = [turn.get("type", turn.get("role")) for turn in turns[1:]]
        assert kinds == ["reasoning", "message", *["function_call"] * 2, *["function_call_output"] * 2]
        assert turns[1]["encrypted_content"] == "gA"
        assert turns[2]["content"] == SPOKEN["text"]
        assert [(turn["call_id"], turn["name"], turn["arguments"]) for turn in turns[3:5]] == [
            (call["id"], call["name"], call["arguments"]) for call in (GREP, NOW)
        ]
        return
    said = turns[1]
    assert said["content"] == SPOKEN["text"]
    assert [call["function"] for call in said["tool_calls"]] == [
        {"name": call["name"], "arguments": call["arguments"]} for call in (GREP, NOW)
    ]
    calls, back = calls_and_results(turns, "chat")
    assert calls == back
    if vendor != "mistral":
        assert calls == ["call_a", "call_b"]
    if vendor in ECHOES:
        assert said[ECHOES[vendor]] == "Look there"
    if vendor == "google":
        assert said["tool_calls"][0]["extra_content"] == {"google": {"thought_signature": "c2ln"}}
    if vendor == "openrouter":
        assert said["reasoning_details"] == [
            {"type": "reasoning.text", "text": "Look there", "index": 0, "signature": "c2ln"},
            DETAILS[2],
        ]


@each_wire
def test_a_history_begun_elsewhere_goes_on(vendor: str, wire: str) -> None:
    """Text, calls and results come along to any other vendor; the thoughts stay at home."""
    results = [ToolResultPart(id=id_, content=f"r {id_}") for id_ in ("call_a", "call_b")]
    history = [HELLO, Message("assistant", answered(vendor, wire)), Message("user", results)]
    for other, other_wire in EVERYWHERE:
        if other == vendor:
            continue
        body = encode(history, other, other_wire).decode()
        calls, back = calls_and_results(sent(history, other, other_wire), other_wire)
        assert len(set(calls)) == 2
        assert calls == back
        assert SPOKEN["text"] in body
        assert "r call_a" in body
        assert not re.search("Look there|c2ln|ZW5j|gA", body)
