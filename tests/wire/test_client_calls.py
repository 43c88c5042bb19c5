"""Work that waits for the client is a call, whatever the vendor names it, and goes back in the vendor's own form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import pytest

from penstock import (
    Chunk,
    Collector,
    ImagePart,
    InvalidRequestError,
    MalformedResponseError,
    Message,
    OpaqueChunk,
    OpaquePart,
    Options,
    Part,
    TextPart,
    ToolCallChunk,
    ToolCallDeltaChunk,
    ToolCallPart,
    ToolResultPart,
)
from penstock.core.client_calls import CLIENT_CALLS, is_client_tool, tool_name
from penstock.core.cost import Meter
from penstock.testing import anthropic_message, responses_document, responses_message
from penstock.testing.answers import WIRES, WireName, answer
from penstock.testing.events import data_event, named_event
from penstock.wire.answer_reader import AnswerReader, EventDecoder
from penstock.wire.anthropic.answer import AnthropicDecoder
from penstock.wire.errors import response_error
from penstock.wire.openai.chat_answer import ChatDecoder
from penstock.wire.openai.failed_calls import failed_answer, failed_calls
from penstock.wire.openai.responses_answer import ResponsesDecoder
from penstock.wire.vendors import DIALECTS
from reading import DAY, PRICED, calls_of, cut, keeps_the_contract, read, read_openai, stop_of
from writing import encode

SHOT: Final = ImagePart(url="https://x.test/shot.png")
CLICK: Final = {"type": "click", "button": "left", "x": 1, "y": 2}
CHECK: Final = {"id": "sc_1", "code": "malicious_instructions", "message": "Look out."}
PROGRAM: Final = {"type": "program", "caller_id": "pr_1"}


def done(text: str) -> list[dict[str, Any]]:
    """What a shell said, and that it ended well."""
    return [{"stdout": text, "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}]


# An item; the call that it is; what its tool gives; what goes back for the item, where it is another, and its answer.
ITEMS = [
    pytest.param(
        {
            "type": "custom_tool_call",
            "id": "ctc_1",
            "call_id": "c",
            "name": "sh",
            "input": 'echo "é"\n',
            "status": "completed",
        },
        ("sh", {"input": 'echo "é"\n'}),
        [("é", False, {"type": "custom_tool_call_output", "output": "é"})],
        ("id", "status"),
        id="free text",
    ),
    pytest.param(
        {"type": "custom_tool_call", "call_id": "c", "name": "sh", "input": "", "caller": PROGRAM, "namespace": "n"},
        ("sh", {"input": ""}),
        [
            ("no", True, {"type": "custom_tool_call_output", "output": "Error: no", "caller": PROGRAM}),
            (
                [TextPart("a"), SHOT],
                False,
                {
                    "type": "custom_tool_call_output",
                    "output": [
                        {"type": "input_text", "text": "a"},
                        {"type": "input_image", "image_url": SHOT.url, "detail": "auto"},
                    ],
                    "caller": PROGRAM,
                },
            ),
        ],
        (),
        id="empty text, which a program of the vendor's gave",
    ),
    pytest.param(
        {
            "type": "local_shell_call",
            "id": "ls_1",
            "call_id": "c",
            "status": "completed",
            "action": {"type": "exec", "command": ["ls"], "env": {}},
        },
        ("local_shell", {"action": {"type": "exec", "command": ["ls"], "env": {}}}),
        [
            ("a b", False, {"type": "local_shell_call_output", "output": "a b"}),
            ([TextPart("a"), TextPart("b")], True, {"type": "local_shell_call_output", "output": "Error: a\nb"}),
        ],
        (),
        id="a local shell",
    ),
    pytest.param(
        {
            "type": "shell_call",
            "id": "sh_1",
            "call_id": "c",
            "status": "completed",
            "environment": {"type": "local"},
            "action": {"commands": ["ls"], "max_output_length": 9},
        },
        ("shell", {"action": {"commands": ["ls"], "max_output_length": 9}}),
        [
            ("a", False, {"type": "shell_call_output", "output": done("a"), "max_output_length": 9}),
            (
                "no",
                True,
                {
                    "type": "shell_call_output",
                    "output": [{"stdout": "", "stderr": "no", "outcome": {"type": "exit", "exit_code": 1}}],
                    "max_output_length": 9,
                },
            ),
            (
                msgspec.json.encode(
                    [*done("a"), {"stdout": "", "stderr": "", "outcome": {"type": "timeout"}}]
                ).decode(),
                False,
                {
                    "type": "shell_call_output",
                    "output": [*done("a"), {"stdout": "", "stderr": "", "outcome": {"type": "timeout"}}],
                    "max_output_length": 9,
                },
            ),
            ("[1]", False, {"type": "shell_call_output", "output": done("[1]"), "max_output_length": 9}),
        ],
        ("id",),
        id="a shell",
    ),
    pytest.param(
        {
            "type": "apply_patch_call",
            "id": "ap_1",
            "call_id": "c",
            "status": "completed",
            "operation": {"type": "delete_file", "path": "a"},
        },
        ("apply_patch", {"operation": {"type": "delete_file", "path": "a"}}),
        [
            ("Done", False, {"type": "apply_patch_call_output", "status": "completed", "output": "Done"}),
            ("no", True, {"type": "apply_patch_call_output", "status": "failed", "output": "no"}),
        ],
        ("id",),
        id="a patch",
    ),
    pytest.param(
        {
            "type": "computer_call",
            "id": "cu_1",
            "call_id": "c",
            "status": "completed",
            "action": CLICK,
            "pending_safety_checks": [CHECK],
        },
        ("computer", {"action": CLICK, "pending_safety_checks": [CHECK]}),
        [
            (
                [TextPart("Clicked"), SHOT],
                False,
                {
                    "type": "computer_call_output",
                    "output": {"type": "computer_screenshot", "image_url": SHOT.url},
                    "acknowledged_safety_checks": [CHECK],
                },
            ),
            (
                [SHOT],
                True,
                {"type": "computer_call_output", "output": {"type": "computer_screenshot", "image_url": SHOT.url}},
            ),
        ],
        (),
        id="a computer",
    ),
    pytest.param(
        {"type": "mcp_approval_request", "id": "c", "server_label": "dice", "name": "roll", "arguments": '{"n":2}'},
        ("dice", {"server_label": "dice", "name": "roll", "arguments": '{"n":2}'}),
        [
            ("true", False, {"type": "mcp_approval_response", "approve": True}),
            ("false", False, {"type": "mcp_approval_response", "approve": False, "reason": "false"}),
            ("Not run", True, {"type": "mcp_approval_response", "approve": False, "reason": "Not run"}),
            ('{"approve": true}', False, {"type": "mcp_approval_response", "approve": True}),
            ('{"approve": true}', True, {"type": "mcp_approval_response", "approve": False}),
        ],
        (),
        id="an approval",
    ),
]
BY_PROGRAM = pytest.param(
    {
        "type": "function_call",
        "id": "fc_1",
        "call_id": "c",
        "status": "completed",
        "name": "roll",
        "arguments": '{"n":2}',
        "namespace": "dice",
        "caller": PROGRAM,
    },
    ("roll", {"n": 2}),
    [("5", False, {"type": "function_call_output", "output": "5", "caller": PROGRAM})],
    ("id", "status"),
    id="a function in a namespace, which a program of the vendor's called",
)


def folded(chunks: Sequence[Chunk]) -> Message:
    """What goes into the history."""
    collector = Collector()
    for chunk in chunks:
        collector.feed(chunk)
    message = collector.reply().message
    assert message is not None
    return message


def history(said: Message, id_: str, content: Any, *, is_error: bool = False) -> list[Message]:
    """With the result of a call."""
    return [Message("user", "go"), said, Message("user", [ToolResultPart(id=id_, content=content, is_error=is_error)])]


@pytest.mark.parametrize(("item", "call", "results", "left"), [*ITEMS, BY_PROGRAM])
def test_an_item_is_a_call_and_goes_back(
    item: dict[str, Any], call: tuple[str, dict[str, Any]], results: list[Any], left: tuple[str, ...]
) -> None:
    """Streamed and whole, wherever it is cut; the answer is an item of its own kind."""
    name, arguments = call
    body = b"".join(responses_message(item))
    for pieces in ([body], cut(body, 7), [responses_document(item)]):
        chunks = read_openai(pieces, "openai", "responses")
        keeps_the_contract(chunks)
        (made,) = calls_of(chunks)
        assert (made.id, made.name, msgspec.json.decode(made.arguments), made.problem) == ("c", name, arguments, None)
        assert stop_of(chunks).reason == "tool_calls"
        for content, is_error, wanted in results:
            sent = encode(history(folded(chunks), "c", content, is_error=is_error), wire="responses")
            asked, answered = msgspec.json.decode(sent)["input"][1:]
            assert asked == {key: value for key, value in item.items() if key not in left}
            id_field = "approval_request_id" if item["type"] == "mcp_approval_request" else "call_id"
            assert answered == {**wanted, id_field: "c"}


@pytest.mark.parametrize(("item", "call", "results", "left"), [*ITEMS, BY_PROGRAM])
def test_at_another_vendor_it_is_a_call_of_a_function(
    item: dict[str, Any], call: tuple[str, dict[str, Any]], results: list[Any], left: tuple[str, ...]
) -> None:
    """On every wire: nothing of the first vendor's own is sent to it."""
    said = folded(read_openai([responses_document(item)], "openai", "responses"))
    turns = history(said, "c", "done")
    name, arguments = call
    messages = msgspec.json.decode(encode(turns, "anthropic", "messages"))["messages"]
    assert messages[1]["content"] == [{"type": "tool_use", "id": "c", "name": name, "input": arguments}]
    (function,) = msgspec.json.decode(encode(turns, "deepseek", "chat"))["messages"][1]["tool_calls"]
    assert (function["type"], function["function"]["name"]) == ("function", name)
    other = msgspec.json.decode(encode(turns, "openrouter", "responses"))["input"]
    assert [each["type"] for each in other[1:]] == ["function_call", "function_call_output"]
    del results, left


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param("It is broken.", "has to be an image", id="text for a screenshot"),
        pytest.param([TextPart("a")], "has to be an image", id="parts without an image"),
    ],
)
def test_a_computer_answers_with_what_it_shows(content: Any, said: str) -> None:
    """The API has no other answer, so it is refused before it is sent; a failure goes as that of a function."""
    item = ITEMS[5].values[0]
    message = folded(read_openai([responses_document(item)], "openai", "responses"))  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match=said):
        encode(history(message, "c", content), wire="responses")
    sent = msgspec.json.decode(encode(history(message, "c", content, is_error=True), wire="responses"))["input"]
    assert [each["type"] for each in sent[1:]] == ["function_call", "function_call_output"]
    assert {each["call_id"] for each in sent[1:]} == {"c"}


@pytest.mark.parametrize(
    ("item", "vendor"),
    [
        pytest.param(
            {
                "type": "shell_call",
                "call_id": "c",
                "environment": {"type": "container_reference", "container_id": "x"},
                "action": {"commands": ["ls"]},
            },
            "openai",
            id="a shell in the vendor's container",
        ),
        pytest.param(
            {"type": "custom_tool_call", "call_id": "c", "name": "x_search", "input": "{}"},
            "xai",
            id="xAI's own search",
        ),
        pytest.param(
            {"type": "telepathy_call", "call_id": "c", "thought": 1}, "openai", id="a call of an unknown type"
        ),
    ],
)
def test_what_the_vendor_runs_is_no_call(item: dict[str, Any], vendor: str) -> None:
    """It is kept, and goes back as it came."""
    for body in (b"".join(responses_message(item)), responses_document(item)):
        chunks = read_openai([body], vendor, "responses")
        assert calls_of(chunks) == []
        (kept,) = [chunk for chunk in chunks if isinstance(chunk, OpaqueChunk)]
        assert msgspec.json.decode(kept.data).items() >= item.items()
        assert not any(isinstance(chunk, ToolCallDeltaChunk) for chunk in chunks)


@pytest.mark.parametrize("item", [pytest.param(row.values[0], id=row.id) for row in ITEMS if "status" in row.values[0]])  # type: ignore[operator]
def test_one_that_was_cut_is_dropped(item: dict[str, Any]) -> None:
    """The item says so itself, whatever the answer says."""
    cut_off = {**item, "status": "incomplete"}
    for status in ("incomplete", "completed"):
        chunks = read_openai([b"".join(responses_message(cut_off, status=status))], "openai", "responses")
        assert calls_of(chunks) == []
        assert stop_of(chunks).reason == "length"


def test_free_text_comes_as_it_is_written() -> None:
    """The deltas together are the JSON text of the arguments, on both wires and in any pieces."""
    text = 'a "quoted"\n\tline\\ é'
    item = {"type": "custom_tool_call", "id": "ctc", "call_id": "c", "name": "sh", "input": text, "status": "completed"}
    events = [
        named_event("response.output_item.added", output_index=0, item={**item, "input": "", "status": "in_progress"}),
        *(
            named_event("response.custom_tool_call_input.delta", output_index=0, item_id="ctc", delta=letter)
            for letter in text
        ),
        named_event("response.custom_tool_call_input.done", output_index=0, item_id="ctc", input=text),
        named_event("response.output_item.done", output_index=0, item=item),
        named_event("response.completed", response={"id": "r", "status": "completed", "output": [item]}),
    ]
    chat = [
        data_event(id="x", choices=[{"index": 0, "delta": {"tool_calls": [entry]}}])
        for entry in (
            {"index": 0, "id": "c", "type": "custom", "custom": {"name": "sh", "input": ""}},
            *({"index": 0, "custom": {"input": letter}} for letter in text),
        )
    ]
    chat.append(data_event(choices=[{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]))
    for wire, body in (("responses", events), ("chat", [*chat, b"data: [DONE]\n\n"])):
        chunks = read_openai(body, "openai", wire)  # type: ignore[arg-type]
        deltas = [chunk for chunk in chunks if isinstance(chunk, ToolCallDeltaChunk)]
        (call,) = calls_of(chunks)
        assert "".join(delta.arguments for delta in deltas) == call.arguments
        assert len(deltas) > len(text)
        assert msgspec.json.decode(call.arguments) == {"input": text}
        assert (call.extra, call.vendor) == ('{"type":"custom_tool_call"}', "openai")


def chat_document(*calls: dict[str, Any], finish_reason: str = "tool_calls") -> bytes:
    """A whole answer of the chat wire."""
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    return msgspec.json.encode({"id": "x", "object": "chat.completion", "choices": [choice]})


def chat_stream(*calls: dict[str, Any], finish_reason: str = "tool_calls") -> bytes:
    """The same in events, one for each call."""
    events = [data_event(id="x", choices=[{"index": 0, "delta": {"tool_calls": [call]}}]) for call in calls]
    end = data_event(choices=[{"index": 0, "delta": {}, "finish_reason": finish_reason}])
    return b"".join([*events, end, b"data: [DONE]\n\n"])


CUSTOM: Final = {"index": 0, "id": "c", "type": "custom", "custom": {"name": "sh", "input": "ls"}}
FUNCTION: Final = {"index": 1, "id": "f", "type": "function", "function": {"name": "g", "arguments": "{}"}}
QUANTUM: Final = {"index": 0, "id": "q1", "type": "quantum", "quantum": {"state": "both"}}


@pytest.mark.parametrize("form", [chat_stream, chat_document])
def test_custom_tools_on_the_chat_wire(form: Any) -> None:
    """Among functions; cut off by the limit it is dropped, as free text does not show where it ends."""
    chunks = read_openai([form(CUSTOM, FUNCTION)])
    assert [(call.name, call.arguments) for call in calls_of(chunks)] == [("sh", '{"input":"ls"}'), ("g", "{}")]
    turns = [*history(folded(chunks), "c", "a"), Message("user", [ToolResultPart(id="f", content="b")])]
    sent = msgspec.json.decode(encode(turns))["messages"]
    assert sent[1]["tool_calls"][0] == {key: value for key, value in CUSTOM.items() if key != "index"}
    assert sent[2] == {"role": "tool", "tool_call_id": "c", "content": "a"}
    items = msgspec.json.decode(encode(turns, wire="responses"))["input"]
    assert items[1] == {"type": "custom_tool_call", "call_id": "c", "name": "sh", "input": "ls"}
    last = read_openai([form(FUNCTION, {**CUSTOM, "index": 2}, finish_reason="length")])
    assert [call.name for call in calls_of(last)] == ["g"]
    assert stop_of(last).reason == "length"


@pytest.mark.parametrize("form", [chat_stream, chat_document])
@pytest.mark.parametrize("reason", ["tool_calls", "stop", "length"])
def test_an_unknown_kind_of_call_on_the_chat_wire_is_kept(form: Any, reason: str) -> None:
    """It ends no answer, wherever it stands; nothing of it is lost."""
    for calls, names in (((QUANTUM,), []), ((QUANTUM, FUNCTION), ["g"]), ((FUNCTION, {**QUANTUM, "index": 2}), ["g"])):
        chunks = read_openai([form(*calls, finish_reason=reason)])
        assert [call.name for call in calls_of(chunks)] == names
        (kept,) = [chunk for chunk in chunks if isinstance(chunk, OpaqueChunk)]
        assert msgspec.json.decode(kept.data)["quantum"] == {"state": "both"}
        assert stop_of(chunks).reason == ("tool_calls" if names else reason)
        keeps_the_contract(chunks)


def test_an_unknown_kind_of_call_may_come_in_pieces() -> None:
    """Texts go on, objects are merged, and the rest is replaced."""
    pieces = [
        {"index": 0, "id": "q1", "type": "quantum", "quantum": {"state": "bo", "n": 1}},
        {"index": 0, "quantum": {"state": "th", "n": 2}, "late": [1]},
    ]
    (kept,) = [chunk for chunk in read_openai([chat_stream(*pieces)]) if isinstance(chunk, OpaqueChunk)]
    assert msgspec.json.decode(kept.data) == {
        "index": 0, "id": "q1", "type": "quantum", "quantum": {"state": "both", "n": 2}, "late": [1],
    }  # fmt: skip


# Anthropic's.

CALLER: Final = {"type": "code_execution_20260120", "tool_id": "srvtoolu_1"}
BOX: Final = {"id": "container_1", "expires_at": "2026-12-01T00:00:00Z"}
USE: Final = {"type": "tool_use", "id": "t", "name": "f", "input": {"x": 1}}


def with_container(events: Sequence[bytes], container: dict[str, Any] | None) -> bytes:
    """The events, with a container at the end."""
    put = b'"stop_sequence":null,"container":' + msgspec.json.encode(container)
    return b"".join(
        event.replace(b'"stop_sequence":null', put) if b"message_delta" in event else event for event in events
    )


def whole_message(block: dict[str, Any], container: dict[str, Any] | None) -> bytes:
    """The same as one document."""
    fields = {"content": [block], "container": container, "stop_reason": "tool_use", "stop_sequence": None}
    return msgspec.json.encode({"id": "m", "type": "message", "role": "assistant", "model": "c", "usage": {}, **fields})


def begun_with(block: dict[str, Any], container: dict[str, Any] | None) -> bytes:
    """The same in `message_start`, as programs of the vendor's call tools."""
    document = msgspec.json.decode(whole_message(block, container))
    return named_event("message_start", message=document) + named_event("message_stop")


FORMS = [
    pytest.param(
        lambda block, box: with_container(anthropic_message(block, stop_reason="tool_use"), box), id="streamed"
    ),
    pytest.param(whole_message, id="whole"),
    pytest.param(begun_with, id="in message_start"),
]


@pytest.mark.parametrize("form", FORMS)
def test_a_call_of_the_vendors_program_goes_back_with_its_container(form: Any) -> None:
    """Whoever made it, and the container in which the program waits for the result."""
    block = {**USE, "caller": CALLER, "toolset_name": "files"}
    body = form(block, BOX)
    for size in (len(body), 7):
        chunks = read(cut(body, size))
        (call,) = calls_of(chunks)
        assert (call.name, call.arguments, stop_of(chunks).reason) == ("f", '{"x":1}', "tool_calls")
        turns = history(folded(chunks), "t", "done")
        sent = msgspec.json.decode(encode(turns, "anthropic", "messages"))
        assert sent["messages"][1]["content"] == [block]
        assert sent["container"] == "container_1"
        chosen = msgspec.json.decode(
            encode(turns, "anthropic", "messages", options=Options(cache="off", extra={"container": "x"}))
        )
        assert chosen["container"] == "x"
        assert "container" not in msgspec.json.decode(encode(turns, "openai", "chat"))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("container", [None, BOX])
def test_a_call_of_the_model_itself_waits_in_no_container(form: Any, container: dict[str, Any] | None) -> None:
    """It goes back as it was made; a container that nothing waits in is told, and not named again by itself."""
    chunks = read([form({**USE, "caller": {"type": "direct"}}, container)])
    said = folded(chunks)
    assert calls_of(chunks)[0].extra == ""
    sent = msgspec.json.decode(encode(history(said, "t", "done"), "anthropic", "messages"))
    assert sent["messages"][1]["content"] == [USE]
    assert "container" not in sent
    kept = [msgspec.json.decode(part.data) for part in said.content if isinstance(part, OpaquePart)]
    assert kept == ([] if container is None else [{**BOX, "type": "container"}])


@pytest.mark.parametrize("raw", [b"1e999", b"7", b"null", b'"\xff"', b"{}"])
def test_how_an_item_says_that_it_ended_costs_no_call(raw: bytes) -> None:
    """Whatever type that is of, and be it no number that Python has."""
    item = {**ITEMS[0].values[0], "status": "QQ"}  # type: ignore[dict-item]
    (call,) = calls_of(read_openai([responses_document(item).replace(b'"QQ"', raw)], "openai", "responses"))
    assert (call.name, call.problem) == ("sh", None)


def test_a_container_with_a_name_that_is_no_unicode_is_kept() -> None:
    """As a server wrote it, but for what no text can hold."""
    whole = {"id": "m", "type": "message", "content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn"}
    body = msgspec.json.encode({**whole, "container": {"id": "container_1", "QQ": 1}}).replace(b"QQ", b"e\xffp")
    (kept,) = [chunk for chunk in read([body]) if isinstance(chunk, OpaqueChunk)]
    assert msgspec.json.decode(kept.data) == {"id": "container_1", "e\ufffdp": 1, "type": "container"}


def test_a_paused_turn_goes_on_in_its_container() -> None:
    """The history ends with the assistant, and is sent as it is."""
    parts: list[Part] = [
        OpaquePart(vendor="anthropic", data='{"type":"server_tool_use","id":"s","name":"x","input":{}}'),
        OpaquePart(vendor="anthropic", data=msgspec.json.encode({**BOX, "type": "container"}).decode()),
    ]
    sent = msgspec.json.decode(encode([Message("user", "go"), Message("assistant", parts)], "anthropic", "messages"))
    assert sent["container"] == "container_1"
    assert [block["type"] for block in sent["messages"][1]["content"]] == ["server_tool_use"]


# Calls that a vendor refuses itself.

SAID: Final = "Failed to call a function."
FAILED = [
    pytest.param('<function=f>{"x": 1}</function>', [("f", '<function=f>{"x": 1}</function>')], id="Llama's form"),
    pytest.param('{"name": "f", "arguments": {"x": "1"}}', [("f", '{"x":"1"}')], id="an object"),
    pytest.param('[{"name": "f", "parameters": {"x": "1"}}]', [("f", '{"x":"1"}')], id="a list"),
    pytest.param(
        '[{"name": "f", "parameters": {}}, {"name": "g", "parameters": {}}]', [("f", "{}"), ("g", "{}")], id="two"
    ),
    pytest.param('{"name": "f"}', [("f", '{"name": "f"}')], id="without arguments"),
    pytest.param("I think so.", [("unknown", "I think so.")], id="prose"),
]


def refusal(text: str, said: str = SAID) -> bytes:
    """The error that says what failed."""
    error = {"message": said, "type": "invalid_request_error", "code": "tool_use_failed", "failed_generation": text}
    return msgspec.json.encode({"error": error})


@pytest.mark.parametrize(("text", "wanted"), FAILED)
def test_a_refused_call_is_a_call_with_a_problem(text: str, wanted: list[tuple[str, str]]) -> None:
    """As a refusal, in place of the whole answer, and inside a stream in all forms of an error."""
    body = refusal(text)
    event = b"data: " + body + b"\n\n"
    head = data_event(id="x", choices=[{"index": 0, "delta": {"content": "Hm."}}])
    inner = msgspec.json.decode(body)["error"]
    forms = [
        failed_answer(body),
        read_openai([body], "groq"),
        read_openai([head, b"event: error\n" + event], "groq"),
        read_openai([head, event], "groq"),
        read_openai([head, data_event(x_groq={"error": inner})], "groq"),
    ]
    for chunks in forms:
        assert [(call.name, call.arguments) for call in calls_of(chunks)] == wanted
        assert all(SAID in (call.problem or "") for call in calls_of(chunks))
        assert (stop_of(chunks).reason, stop_of(chunks).raw_reason) == ("tool_calls", "tool_use_failed")
        assert len({call.id for call in calls_of(chunks)}) == len(wanted)


def test_the_error_may_name_the_tool() -> None:
    """Where what failed does not."""
    (call,) = failed_calls(refusal("oops", "parameters for tool get_it did not match schema"))
    assert call.name == "get_it"


def test_a_refusal_without_the_text_may_be_tried_again() -> None:
    """There is nothing to show to the model, and the request was good."""
    error = response_error(400, {}, refusal(""))
    assert (type(error), error.retryable, error.code) == (InvalidRequestError, True, "tool_use_failed")
    assert "try again" in error.hint


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(refusal(""), id="without the text"),
        pytest.param(b'{"error":{"code":"rate_limit_exceeded","failed_generation":"x"}}', id="another error"),
        pytest.param(b'{"error":"tool_use_failed"}', id="an error that is a text"),
        pytest.param(b"[1]", id="a list"),
        pytest.param(b"<html>", id="no JSON"),
        pytest.param(b"\xff", id="no text"),
    ],
)
def test_any_other_error_is_none(body: bytes) -> None:
    """It is raised as what it is."""
    assert failed_calls(body) == []
    assert failed_answer(body) == []


# Definitions, and the bound.


@pytest.mark.parametrize(
    ("definition", "name", "own"),
    [
        pytest.param({"type": "bash_20250124", "name": "bash"}, "bash", True, id="Anthropic's shell"),
        pytest.param(
            {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"},
            "str_replace_based_edit_tool",
            True,
            id="its editor",
        ),
        pytest.param(
            {"type": "web_search_20250305", "name": "web_search"}, "web_search", False, id="its search, which it runs"
        ),
        pytest.param({"type": "custom", "name": "sh"}, "sh", True, id="free text"),
        pytest.param({"type": "custom", "custom": {"name": "sh"}}, "sh", True, id="free text on the chat wire"),
        pytest.param({"type": "function", "function": {"name": "f"}}, "f", False, id="a function on the chat wire"),
        pytest.param({"type": "function", "name": "f"}, "f", False, id="a function"),
        pytest.param({"type": "local_shell"}, "local_shell", True, id="a local shell"),
        pytest.param({"type": "computer_use_preview", "display_width": 1}, "computer", True, id="a computer"),
        pytest.param({"type": "mcp", "server_label": "dice"}, "dice", True, id="a server's tools"),
        pytest.param({"type": "web_search"}, None, False, id="a search without a name"),
        pytest.param({}, None, False, id="nothing"),
    ],
)
def test_the_name_of_a_vendors_tool(definition: dict[str, Any], name: str | None, own: bool) -> None:
    """What its calls will be named, and whether the client runs them."""
    assert (tool_name(definition), is_client_tool(definition)) == (name, own)


def test_every_row_can_be_written_back() -> None:
    """The table and the forms of results name the same items."""
    assert {row.values[0]["type"] for row in ITEMS} == set(CLIENT_CALLS)  # type: ignore[index]


@pytest.mark.parametrize(
    ("definition", "wire", "choice"),
    [
        pytest.param({"type": "custom", "name": "sh"}, "responses", {"type": "custom", "name": "sh"}, id="free text"),
        pytest.param(
            {"type": "custom", "custom": {"name": "sh"}},
            "chat",
            {"type": "custom", "custom": {"name": "sh"}},
            id="on the chat wire",
        ),
        pytest.param({"type": "shell"}, "responses", {"type": "shell"}, id="a shell"),
        pytest.param(
            {"type": "mcp", "server_label": "dice"}, "responses", {"type": "mcp", "server_label": "dice"}, id="a server"
        ),
        pytest.param(
            {"type": "function", "name": "f"}, "responses", {"type": "function", "name": "f"}, id="a function"
        ),
    ],
)
def test_a_vendors_tool_can_be_forced(definition: dict[str, Any], wire: str, choice: dict[str, Any]) -> None:
    """By the name of its calls, in the vendor's words."""
    options = Options(cache="off", tools=[definition], tool_choice=tool_name(definition))
    assert msgspec.json.decode(encode([Message("user", "go")], wire=wire, options=options))["tool_choice"] == choice


def decoder_of(wire: WireName, most: int) -> EventDecoder:
    """With that bound."""
    meter = Meter(PRICED, DAY)
    if wire == "messages":
        return AnthropicDecoder(meter, max_arguments=most)
    return (ChatDecoder if wire == "chat" else ResponsesDecoder)(meter, DIALECTS["openai"], max_arguments=most)


@pytest.mark.parametrize("wire", WIRES)
def test_arguments_are_bounded(wire: WireName) -> None:
    """All calls of an answer together; the error names the bound and who can raise it."""
    body = answer(wire, calls=[("f", '{"x":"' + "y" * 40 + '"}')] * 3, piece=9)
    for most, fits in ((100, False), (200, True)):
        reader = AnswerReader(decoder_of(wire, most))
        chunks: list[Chunk] = []
        if fits:
            chunks += [chunk for piece in body for chunk in reader.feed(piece)]
            assert len(calls_of(chunks)) == 3
            continue
        with pytest.raises(MalformedResponseError, match=r"bound of 100 characters: `max_arguments`"):
            chunks += [chunk for piece in body for chunk in reader.feed(piece)]


def test_a_part_without_an_owner_is_a_function() -> None:
    """`extra` goes to nobody but its vendor."""
    part = ToolCallPart(id="c", name="f", arguments="{}", extra='{"caller":{"type":"program"}}', vendor="elsewhere")
    turns = [
        Message("user", "go"),
        Message("assistant", [part]),
        Message("user", [ToolResultPart(id="c", content="a")]),
    ]
    for wire in ("messages", "chat", "responses"):
        assert b"program" not in encode(turns, wire=wire)
    own = ToolCallPart(
        id="c", name="f", arguments='{"a": 1}', extra='{"caller":{"type":"program"},"namespace":"n"}', vendor="openai"
    )
    turns[1] = Message("assistant", [own])
    asked, answered = msgspec.json.decode(encode(turns, wire="responses"))["input"][1:]
    assert asked == {
        "type": "function_call", "call_id": "c", "name": "f", "arguments": '{"a": 1}',
        "caller": {"type": "program"}, "namespace": "n",
    }  # fmt: skip
    assert answered == {
        "type": "function_call_output", "call_id": "c", "output": "a", "caller": {"type": "program"},
    }  # fmt: skip
    assert ToolCallChunk(id="c", name="f", arguments="{}").extra == ""
