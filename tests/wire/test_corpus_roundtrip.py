"""What vendors have said goes back to them without loss, and what others have sent them can be said in our messages.

The recorded answers are read here once more, naively, and not by the code that is tested.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import Any, Final, TypeAlias

import msgspec
import pytest

from corpus_openai import BROKEN_CALLS, FAILURES, details_of, messages_of, output_of
from penstock import ImagePart, Message, OpaquePart, ReasoningPart, TextPart, ToolCallChunk, ToolResultPart
from penstock.agent.collect import Collector, Reply
from penstock.core.client_calls import CLIENT_CALLS
from penstock.histories import dump_messages, load_messages
from penstock.wire.vendors import DIALECTS
from reading import read, read_openai
from recorded_requests import HISTORY, compared, has_tools, is_opaque, vendor_of
from strict import faults
from writing import encode

WIRES: Final = {"/v1/messages": "messages", "/v1/chat/completions": "chat", "/v1/responses": "responses"}
Raws: TypeAlias = dict[str, msgspec.Raw]
QUESTION: Final = Message("user", "Begin.")
each_wire = pytest.mark.parametrize("wire", HISTORY)


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
    assert reply.message is not None
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
                blocks[index]["citations"].append(delta["citation"])
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
    """What Anthropic wants back: all but blank text, and texts without anything between them may be one."""
    wanted: list[Block] = []
    for block in blocks:
        kept = {name: value for name, value in block.items() if value not in (None, []) or name == "content"}
        if kept.get("caller") == {"type": "direct"}:
            del kept["caller"]
        if wanted and is_plain(kept) and is_plain(wanted[-1]):
            wanted[-1]["text"] += kept["text"]
            continue
        wanted.append(kept)
    return [block for block in wanted if block["type"] != "text" or block["text"].strip()]


def messages_given(row: dict[str, Any]) -> list[Any]:
    """The blocks that Anthropic wants back."""
    return wanted_blocks(blocks_of(row))


def messages_sent(turns: list[bytes]) -> list[Any]:
    """The same of what we send."""
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
    """The items that OpenAI wants back: reasoning that is encrypted or shown, and all else."""
    return [
        item
        for item in map(wanted_item, output_of(row))
        if item["type"] != "reasoning" or item.get("encrypted_content") or item.get("content")
    ]


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
    text = content if isinstance(content, str) else "".join(part.get("text") or part["refusal"] for part in content)
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
        421,
        {
            "text": 385,
            "text with citations": 104,
            "thinking": 91,
            "redacted_thinking": 8,
            "tool_use": 351,
            "server_tool_use": 80,
            "web_search_tool_result": 48,
            "web_fetch_tool_result": 1,
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
        359,
        {
            "content": 134,
            "calls": 364,
            "reasoning_content": 4,  # DeepSeek's, beside calls
            "reasoning": 8,  # Ollama's
            "reasoning_details": 40,
            "extra_content": 1,  # Google's, on the message
        },
    ),
    "responses": (
        147,
        {
            "message": 71,
            "message with its phase": 13,
            "reasoning": 73,
            "function_call": 73,
            "custom_tool_call": 1,
            "web_search_call": 30,
            "file_search_call": 4,
            "code_interpreter_call": 6,
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
    other = (*FAILURES, *BROKEN_CALLS)
    rows = [row for row in accepted(corpus, wire) if row["id"] not in other and has_more_than_text(row, wire)]
    kinds: Counter[str] = Counter()
    for row in rows:
        reply = reply_of(row, wire)
        keeps_its_texts(row, reply)
        given, sent = GIVEN[wire](row), SENT[wire](sent_back(row, reply, wire))
        if wire == "chat":  # for a call without an id we have made one
            for turn in given:
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
    assert said == reply.text == expect["text"] + (expect.get("refusal") or ""), row["id"]
    if row["id"] != REASONING_BY_OTHERS:
        assert thought == reply.reasoning == (expect["reasoning"] or ""), row["id"]


BLANK: Final = "different: blank text before a call is not sent"
NOT_RECORDED: Final = "a request without messages, or one that was not recorded"
SYSTEM: Final = "a system prompt that is not one text at the beginning"
SYSTEM_INSIDE: Final = "a message of the system's within the history"
FILE: Final = "a file by an id, or of another type than PDF"

REQUESTS: Final[dict[tuple[str, bool], dict[str, int]]] = {
    ("messages", True): {
        "equal": 108,
        SYSTEM_INSIDE: 4,
        BLANK: 1,
        "refused: a result for a call that no message makes": 1,  # Anthropic took it in 2024, and does not now
    },
    ("messages", False): {"equal": 544, SYSTEM_INSIDE: 2, NOT_RECORDED: 28},
    ("chat", True): {
        "equal": 111,
        SYSTEM: 1,
        FILE: 1,
        "a part of the type document_url": 1,
        BLANK: 3,
        "different: what a result shows beside its text comes after it": 5,  # xAI and Ollama take an image in it
        "refused: the dialect has no user's message after a result": 1,  # Mistral took it in 2026
    },
    ("chat", False): {
        "equal": 561,
        SYSTEM: 4,
        FILE: 4,
        "a part of the type input_audio": 3,
        "an answer of other parts than text": 1,  # Mistral's thinking
        "refused: the history is empty": 2,  # a system prompt and nothing else
        "refused: the text is empty": 1,
        NOT_RECORDED: 10,
    },
    ("responses", True): {
        "equal": 44,
        "different: arguments that were written as JSON twice are sent once": 3,
    },
    ("responses", False): {"equal": 174, NOT_RECORDED: 2},
}
"""By wire, and whether tools are in the history: how many recorded requests are equal, and why the rest is not."""


@each_wire
@pytest.mark.parametrize("tools", [True, False], ids=["with tools", "without tools"])
def test_recorded_requests_can_be_said_in_our_messages(corpus: list[dict[str, Any]], wire: str, tools: bool) -> None:
    """What others sent and vendors accepted is what we would send: roles, texts, images, ids, arguments, results,
    reasoning that goes back, blocks and items of the vendor's own, and the definitions of tools.
    """
    rows = [row for row in accepted(corpus, wire) if has_tools(row["request"], wire) is tools]
    assert Counter(compared(row, wire) for row in rows) == REQUESTS[wire, tools]
