"""What vendors have said goes back to them without loss, and what others have sent them can be said in our messages.

The recorded answers are read here once more, naively, and not by the code that is tested.
"""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import Any, Final, TypeAlias

import msgspec
import pytest

from corpus_openai import BROKEN_CALLS, FAILURES, details_of, messages_of, output_of, untagged
from penstock import ImagePart, Message, OpaquePart, ReasoningPart, TextPart, ToolCallChunk, ToolResultPart
from penstock.agent.collect import Collector, Reply
from penstock.agent.stored import dump_reply, load_reply
from penstock.core.client_calls import CLIENT_CALLS
from penstock.core.dialect import Wire
from penstock.histories import dump_messages, load_messages
from penstock.wire.event_json import is_object
from penstock.wire.vendors import DIALECTS
from places import CORPORA
from reading import read, read_openai
from recorded_requests import HISTORY, compared, has_tools, is_opaque, vendor_of
from strict import faults
from writing import encode

WIRES: Final = {"/v1/messages": "messages", "/v1/chat/completions": "chat", "/v1/responses": "responses"}
Raws: TypeAlias = dict[str, msgspec.Raw]
QUESTION: Final = Message("user", "Begin.")
each_wire = pytest.mark.parametrize("wire", HISTORY)


@pytest.fixture(scope="module")
def corpus() -> list[dict[str, Any]]:
    """The recorded exchanges of both files."""
    rows: list[dict[str, Any]] = []
    for file in CORPORA:
        if not file.is_file():
            pytest.skip(f"the corpus of recorded exchanges is not there: {file}")
        with gzip.open(file) as lines:
            rows += (msgspec.json.decode(_legal(line)) for line in lines)
    return rows


def _legal(line: bytes) -> bytes:
    """A recorded exchange of Mistral's with ids that it could have made, where the recorder has redacted them."""
    if b'"provider": "mistral"' not in line and b'"provider":"mistral"' not in line:
        return line
    return re.sub(rb"call_REDACTED_(\d+)", lambda found: b"redacte%02d" % int(found[1]), line)


def accepted(corpus: list[dict[str, Any]], wire: str) -> list[dict[str, Any]]:
    return [row for row in corpus if WIRES.get(row["endpoint"]) == wire and row["status"] == 200]


def exact(data: bytes | msgspec.Raw) -> Any:
    """JSON whose numbers keep their digits."""
    return json.loads(bytes(data), parse_float=Decimal)


def reply_of(row: dict[str, Any], wire: str) -> Reply:
    """The answer, read and folded."""
    body = [row["response_body"].encode()]
    vendor = vendor_of(row, wire)
    chunks = read(body) if wire == "messages" else read_openai(body, vendor, "chat" if wire == "chat" else "responses")
    collector = Collector()
    for chunk in chunks:
        collector.feed(chunk)
    return collector.reply()


def result_of(call: ToolCallChunk) -> str | list[ImagePart]:
    """What a tool gives: a computer nothing but what it shows."""
    screenshot = ImagePart(data=b"...", media_type="image/png")
    return [screenshot] if '"computer_call"' in call.extra else "done"


def sent_back(row: dict[str, Any], reply: Reply, wire: str) -> list[bytes]:
    """What stands for the answer in the next request to the same vendor, which takes that request."""
    assert load_reply(dump_reply(reply)) == reply, row["id"]
    if reply.message is None:
        return []
    results = [ToolResultPart(id=call.id, content=result_of(call)) for call in reply.tool_calls]
    history = [QUESTION, reply.message, Message("user", results or "Go on.")]
    vendor = vendor_of(row, wire)
    body = encode(history, vendor, wire)
    assert encode(load_messages(dump_messages(history)), vendor, wire) == body, row["id"]
    assert faults(f"{vendor}, {wire}", body, begins=True) == [], row["id"]
    turns = msgspec.json.decode(msgspec.json.decode(body, type=Raws)[HISTORY[wire]], type=list[msgspec.Raw])
    after = max(1, len(results)) if wire != "messages" else 1
    return [bytes(turn) for turn in turns[1:-after]]


# Anthropic's: blocks.

Block: TypeAlias = dict[str, Any]
PIECES: Final = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}


def block_of(raw: bytes) -> Block:
    """Its fields; a tool's input as the text that it is."""
    fields = msgspec.json.decode(raw, type=Raws).items()
    return {name: bytes(value).decode() if name == "input" else exact(value) for name, value in fields}


def blocks_of(row: dict[str, Any]) -> list[Block]:
    """The content of the answer."""
    if not row["sse"]:
        whole = msgspec.json.decode(row["response_body"], type=Raws)
        return [block_of(raw) for raw in msgspec.json.decode(whole["content"], type=list[msgspec.Raw])]
    blocks: dict[int, Block] = {}
    inputs: dict[int, str] = {}
    for line in row["response_body"].splitlines():
        if not line.startswith("data:"):
            continue
        event = msgspec.json.decode(line[5:], type=Raws)
        index = int(bytes(event.get("index", b"0")))
        if "content_block" in event:
            blocks[index] = block_of(event["content_block"])
        elif msgspec.json.decode(event["type"]) == "content_block_delta":
            delta = exact(event["delta"])
            kind = delta.pop("type")
            if kind == "input_json_delta":
                inputs[index] = inputs.get(index, "") + delta["partial_json"]
            elif kind == "citations_delta":
                blocks[index]["citations"] = [*(blocks[index]["citations"] or ()), delta["citation"]]
            elif kind == "compaction_delta":
                blocks[index].update(delta)
            else:
                name = PIECES[kind]
                blocks[index][name] = (blocks[index].get(name) or "") + delta[name]
    for index, text in inputs.items():
        blocks[index]["input"] = text or blocks[index]["input"]
    return [blocks[index] for index in sorted(blocks)]


def is_plain(block: Block) -> bool:
    return block["type"] == "text" and "citations" not in block


def wanted_blocks(blocks: Iterable[Block]) -> list[Block]:
    """What Anthropic wants back: all but blank text and thoughts that nothing follows, and texts without anything
    between them may be one.
    """
    wanted: list[Block] = []
    for block in blocks:
        kept = {name: value for name, value in block.items() if value not in (None, []) or name == "content"}
        if kept.get("caller") == {"type": "direct"}:
            del kept["caller"]
        if wanted and is_plain(kept) and is_plain(wanted[-1]):
            wanted[-1]["text"] += kept["text"]
            continue
        wanted.append(kept)
    said = [block for block in wanted if block["type"] != "text" or block["text"].strip()]
    return without_end(said, "thinking", "redacted_thinking")


def without_end(pieces: list[dict[str, Any]], *thoughts: str) -> list[dict[str, Any]]:
    """What is left without the reasoning at the end, as of an answer that was cut: vendors refuse it."""
    while pieces and pieces[-1]["type"] in thoughts:
        pieces = pieces[:-1]
    return pieces


def messages_given(row: dict[str, Any]) -> list[Any]:
    """The blocks that Anthropic wants back."""
    return wanted_blocks(blocks_of(row))


def messages_sent(turns: list[bytes]) -> list[Any]:
    """The same of what we send."""
    if not turns:
        return []
    (turn,) = turns
    fields = msgspec.json.decode(turn, type=Raws)
    assert bytes(fields["role"]) == b'"assistant"'
    return wanted_blocks(block_of(raw) for raw in msgspec.json.decode(fields["content"], type=list[msgspec.Raw]))


# Chat completions: one message.


def chat_given(row: dict[str, Any]) -> list[Any]:
    """The message as its vendor wants it back, without the fields that are empty."""
    expect, echo = row["expect"], DIALECTS[vendor_of(row, "chat")].reasoning_echo
    calls = [[call["id"], call["name"], call["arguments"]] for call in expect["tool_calls"]]
    if not row["sse"]:  # the parser has written their arguments anew
        (message,) = messages_of(row)
        functions = [call["function"] for call in message.get("tool_calls") or ()]
        for call, function in zip(calls, functions, strict=True):
            call[2] = function["arguments"]
    if "function_call" in expect:  # what came before tool calls
        calls.append(["", expect["function_call"]["name"], expect["function_call"]["arguments"]])
    if calls and expect["stop_reason"] == "length" and not is_object(calls[-1][2]):
        del calls[-1]  # cut off, and dropped
    text = expect["text"] + (expect.get("refusal") or "")
    said: dict[str, Any] = {
        "content": text if text.strip() else None,
        "calls": [[id_, name, arguments.strip() or "{}"] for id_, name, arguments in calls],
    }
    if not text.strip() and not calls:
        return []
    if echo == "reasoning_details":
        said[echo] = details_of(row)
    elif echo == "extra_content":
        pieces = [call for message in messages_of(row) for call in message.get("tool_calls") or ()]
        said[echo] = [
            *(piece["extra_content"] for piece in pieces if "extra_content" in piece),
            *(message["extra_content"] for message in messages_of(row) if "extra_content" in message),
        ]
    elif echo is not None and calls:
        said[echo] = expect["reasoning"]
    return [{name: value for name, value in said.items() if value}]


def chat_sent(turns: list[bytes]) -> list[Any]:
    """The same of what we send."""
    said = [exact(turn) for turn in turns]
    for turn in said:
        assert turn.pop("role") == "assistant"
        calls = turn.pop("tool_calls", ())
        turn["calls"] = [[call["id"], call["function"]["name"], call["function"]["arguments"]] for call in calls]
        extras = [call["extra_content"] for call in calls if "extra_content" in call]
        if "extra_content" in turn:
            extras.append(turn["extra_content"])
        # Two of Google's calls have no signature, and get its word for that.
        turn["extra_content"] = [extra for extra in extras if extra != DIALECTS["google"].foreign_extra]
    return [{name: value for name, value in turn.items() if value} for turn in said]


# The Responses API: items.


def responses_given(row: dict[str, Any]) -> list[Any]:
    """The items that OpenAI wants back: reasoning that is encrypted or shown and that something follows, all else, and
    plain messages without anything between them as one.
    """
    wanted: list[dict[str, Any]] = []
    for item in map(wanted_item, output_of(row)):
        if item["type"] == "reasoning" and not (item.get("encrypted_content") or item.get("content")):
            continue
        if "text" in item and wanted and "text" in wanted[-1]:
            wanted[-1] = {**item, "text": wanted[-1]["text"] + item["text"]}
            continue
        wanted.append(item)
    return without_end([item for item in wanted if item.get("text") != ""], "reasoning")


def wanted_item(item: dict[str, Any]) -> dict[str, Any]:
    """A call by what has to come back, a message by its text if there is no more to it, anything else as it is."""
    row = CLIENT_CALLS.get(item["type"])
    if row is not None:
        wanted = ("type", row.id_field, row.named_by, *row.arguments, *row.beside)
        return {name: item[name] for name in wanted if name in item}
    if item["type"] == "function_call":
        wanted = ("type", "call_id", "name", "arguments", "namespace", "caller")
        return {name: item[name] for name in wanted if item.get(name) is not None}
    if item["type"] != "message" or is_opaque(item):
        return item
    content = item["content"]
    text = (
        content
        if isinstance(content, str)
        else "".join(part.get("text") or part.get("refusal", "") for part in content)
    )
    return {"type": "message", "role": "assistant", "text": text}


def responses_sent(turns: list[bytes]) -> list[Any]:
    """The same of what we send."""
    return [wanted_item(exact(turn)) for turn in turns]


# The law.

GIVEN: Final[dict[str, Callable[[dict[str, Any]], list[Any]]]] = {
    "messages": messages_given,
    "chat": chat_given,
    "responses": responses_given,
}
SENT: Final[dict[str, Callable[[list[bytes]], list[Any]]]] = {
    "messages": messages_sent,
    "chat": chat_sent,
    "responses": responses_sent,
}
# Answers that cannot go back as they came: whose model's arguments are no object, and one that is an error.
NO_OBJECT: Final = (
    *("35664c501f6bdcda", "362c4a0a176f89e2", "3b5a05deb401f72e", "66fdefc3cd1caa75"),
    *("7c66af391f6336ba", "e4a710bb98af917b"),
)
BROKEN: Final = {
    **dict.fromkeys(NO_OBJECT, "the model's arguments are no JSON object"),
    "772a65cc8f234b18": "Groq's `null` for no arguments, which is read as an empty object",
    "4fa97ff6e02d1ec4": "OpenRouter's error with status 200, after the beginning of an answer",
}
# What is not equal, and equal without the field that is named.
EXCEPTIONS: Final = {
    "edb534539678355f": "call_id",  # its recorder has put dots in it
    "24bbfc456ed47496": "calls",  # OpenRouter's answer under OpenAI's address: its id, with a colon, is made OpenAI's
}
REASONING_BY_OTHERS: Final = "3ea9f9ab6979e457"  # stands only in reasoning_details, which the parser does not read


def has_more_than_text(row: dict[str, Any], wire: str) -> bool:
    """Whether an answer holds calls, the vendor's own among them, or reasoning."""
    expect = row["expect"]
    if expect["tool_calls"] or expect["reasoning"] or "function_call" in expect:
        return True
    if wire == "chat":
        return bool(details_of(row))
    plain = "text" if wire == "messages" else "message"
    return any(piece["type"] != plain for piece in (blocks_of(row) if wire == "messages" else output_of(row)))


def kinds_of(pieces: Iterable[dict[str, Any]], wire: str) -> Iterator[str]:
    """What has gone back, to be counted."""
    for piece in pieces:
        if wire == "chat":
            yield from ("calls" for _ in piece.get("calls", ()))
            yield from (name for name in piece if name != "calls")
        elif "citations" in piece:
            yield "text with citations"
        else:
            yield f"{piece['type']} with its phase" if "phase" in piece else piece["type"]


def without(name: str | None, pieces: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in piece.items() if key != name} for piece in pieces]


BACK: Final[dict[str, tuple[int, dict[str, int]]]] = {
    "messages": (
        652,
        {
            "text": 513,
            "text with citations": 126,
            "thinking": 174,
            "redacted_thinking": 9,
            "tool_use": 510,
            "server_tool_use": 97,
            "web_search_tool_result": 59,
            "web_fetch_tool_result": 7,
            "code_execution_tool_result": 2,
            "bash_code_execution_tool_result": 11,
            "text_editor_code_execution_tool_result": 7,
            "tool_search_tool_result": 6,
            "mcp_tool_use": 6,
            "mcp_tool_result": 6,
            "advisor_tool_result": 4,
            "compaction": 4,
            "fallback": 1,
        },
    ),
    "chat": (
        1288,
        {
            "content": 548,
            "calls": 906,
            "reasoning_content": 51,  # DeepSeek's and llama.cpp's, beside calls
            "reasoning": 14,  # Ollama's, also what stood between tags
            "reasoning_details": 296,
            "extra_content": 1,  # Google's, on the message
        },
    ),
    "responses": (
        339,
        {
            "message": 154,
            "message with its phase": 30,
            "reasoning": 95,
            "function_call": 150,
            "custom_tool_call": 1,
            "web_search_call": 46,
            "file_search_call": 4,
            "code_interpreter_call": 7,
            "computer_call": 1,
            "local_shell_call": 1,
            "mcp_list_tools": 6,
            "mcp_call": 4,
            "tool_search_call": 4,
            "tool_search_output": 3,
            "compaction": 1,
        },
    ),
}
"""How many answers, and what of them went back, by wire."""


@each_wire
def test_every_answer_goes_back_without_loss(corpus: list[dict[str, Any]], wire: str) -> None:
    """Bytes to chunks, to a reply, to its message, to the next request: all that holds calls or reasoning."""
    other = (*FAILURES, *BROKEN_CALLS, *BROKEN)
    rows = [row for row in accepted(corpus, wire) if row["id"] not in other and has_more_than_text(row, wire)]
    kinds: Counter[str] = Counter()
    for row in rows:
        reply = reply_of(row, wire)
        keeps_its_texts(row, reply)
        given, sent = GIVEN[wire](row), SENT[wire](sent_back(row, reply, wire))
        if wire == "chat":  # for a call without an id we have made one
            for turn in given:
                reasoning, content = untagged(turn.get("content") or "")
                if reasoning:
                    del turn["content"]
                    turn |= {"reasoning": reasoning} if vendor_of(row, wire) == "ollama" else {}
                    turn |= {"content": content} if content else {}
                for number, call in enumerate(turn.get("calls", ())):
                    call[0] = call[0] or reply.tool_calls[number].id
        assert (given == sent) is (row["id"] not in EXCEPTIONS), row["id"]
        forgiven = EXCEPTIONS.get(row["id"])
        assert without(forgiven, given) == without(forgiven, sent), row["id"]
        kinds.update(kinds_of(sent, wire))
    assert (len(rows), kinds) == BACK[wire]


def keeps_its_texts(row: dict[str, Any], reply: Reply) -> None:
    """The message holds all of the text and of the reasoning, also what no vendor wants back."""
    expect, parts = row["expect"], reply.message.content if reply.message is not None else ()
    said = "".join(part.text for part in parts if isinstance(part, TextPart | OpaquePart))
    thought = "".join(part.text for part in parts if isinstance(part, ReasoningPart))
    tagged, text = untagged(expect["text"]) if WIRES[row["endpoint"]] == "chat" else ("", expect["text"])
    assert said == reply.text == text + (expect.get("refusal") or ""), row["id"]
    if row["id"] != REASONING_BY_OTHERS:
        assert thought == reply.reasoning == tagged + (expect["reasoning"] or ""), row["id"]


BLANK: Final = "different: blank text before a call is not sent"
NOT_RECORDED: Final = "a request without messages, or one that was not recorded"
STORED: Final = "refused: a result for a call that no message makes"

REQUESTS: Final[dict[tuple[str, bool], dict[str, int]]] = {
    ("messages", True): {"equal": 139, BLANK: 1, STORED: 1},  # Anthropic took it in 2024, and does not now
    ("messages", False): {"equal": 816, NOT_RECORDED: 53},
    ("chat", True): {
        "equal": 218,
        BLANK: 10,
        "different: what a result shows beside its text comes after it": 5,  # xAI and Ollama take an image in it
        "different: a result says of which call it is": 7,  # Z.ai takes one that does not
    },
    ("chat", False): {
        "equal": 1996,
        "different: thoughts do not go back": 1,  # Mistral's
        "refused: the history is empty": 3,  # a system prompt and nothing else, or an empty text
        NOT_RECORDED: 45,
    },
    ("responses", True): {
        "equal": 60,
        "different: arguments that were written as JSON twice are sent once": 3,
        STORED: 9,  # OpenAI keeps the call, which its sender has asked for
    },
    ("responses", False): {"equal": 381, NOT_RECORDED: 24},
}
"""By wire, and whether tools are in the history: how many recorded requests are equal, and why the rest is not."""


@each_wire
@pytest.mark.parametrize("tools", [True, False], ids=["with tools", "without tools"])
def test_recorded_requests_can_be_said_in_our_messages(corpus: list[dict[str, Any]], wire: Wire, tools: bool) -> None:
    """What others sent and vendors accepted is what we would send: roles, texts, images, ids, arguments, results,
    reasoning that goes back, blocks and items of the vendor's own, and the definitions of tools.
    """
    rows = [row for row in accepted(corpus, wire) if has_tools(row["request"], wire) is tools]
    assert Counter(compared(row, wire) for row in rows) == REQUESTS[wire, tools]
