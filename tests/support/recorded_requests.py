"""Recorded requests of the three wires, said in our messages and written again: what is equal, and why the rest is not.

Where a wire has several ways to say one thing, `normal` makes one of them: a string is a list of one text, and nothing
is a mark for the cache, or a field that says what holds without it. A block of Anthropic's or an item of the Responses
API for which there is no other form is opaque: so are files by their ids, and what only these two vendors show.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from penstock import ConfigError, InvalidRequestError, Options, ReadHistory, read_messages
from penstock.core.dialect import Wire
from penstock.wire.vendors import DIALECTS
from writing import encode

HISTORY: Final[dict[str, str]] = {"messages": "messages", "chat": "messages", "responses": "input"}
"""The field of the history, by wire."""

REFUSALS: Final = {
    "the history is empty": "refused: the history is empty",
    "the text is empty": "refused: the text is empty",
    " is empty: leave it out": "refused: a message of no parts",
    "which no message before it makes": "refused: a result for a call that no message makes",
}
_DIRECT: Final = {"type": "direct"}


def vendor_of(row: dict[str, Any], wire: str) -> str:
    """The name of the row's dialect; one that is not known is like any other server."""
    if wire == "messages":
        return "anthropic"
    known = DIALECTS.get(row["provider"])
    return known.name if known is not None and wire in known.wires else "openai-compatible"


def has_tools(request: dict[str, Any] | None, wire: str) -> bool:
    """Whether its history holds calls or results of tools, the vendor's own among them."""
    turns = (request or {}).get(HISTORY[wire]) or ()
    if isinstance(turns, str):
        return False
    if wire == "chat":
        return any(turn["role"] in ("tool", "function") or _calls_of(turn) for turn in turns)
    if wire == "responses":
        return any(turn.get("type", "").endswith(("_call", "_output")) for turn in turns)
    blocks = [block for turn in turns for block in turn["content"] if isinstance(block, dict)]
    return any(block["type"].endswith(("tool_use", "tool_result")) for block in blocks)


def _calls_of(turn: dict[str, Any]) -> bool:
    return bool(turn.get("tool_calls") or turn.get("function_call"))


def compared(row: dict[str, Any], wire: Wire) -> str:
    """`equal` if a recorded request, said in messages of ours and written again, is the same; else why not."""
    if not row["request"] or HISTORY[wire] not in row["request"]:
        return "a request without messages, or one that was not recorded"
    request = whole(row["request"])
    vendor = vendor_of(row, wire)
    try:
        read = read_request(request, wire, vendor)
        options = Options(cache="off", tools=read.tools)
        body = encode(read.messages, vendor, wire, system=read.system_prompt, options=options)
    except ConfigError as unread:
        return re.sub(r"\[\d+\]", "[]", unread.message)
    except InvalidRequestError as refused:
        return next(why for words, why in REFUSALS.items() if words in refused.message)
    again = msgspec.json.decode(body)
    for said, change in _CHANGES.items():
        if _normal(change(request), vendor, wire) == _normal(again, vendor, wire):
            return said
    raise AssertionError(row["id"])


def read_request(request: dict[str, Any], wire: Wire, vendor: str) -> ReadHistory:
    """A recorded request, read; which API it is of is found, or two of them would have written the same."""
    read = read_messages(request, wire=wire, vendor=vendor)
    found = read_messages(request, vendor=vendor)
    assert found.wire == wire or (found.wire == "chat" and found.messages == read.messages), request
    return read


def _normal(body: dict[str, Any], vendor: str, wire: str) -> dict[str, Any]:
    return normal_blocks(body) if wire == "messages" else normal(body, DIALECTS[vendor].reasoning_echo)


_ELIDED: Final = re.compile(
    r"((?:data:[a-z/]+;base64,)?(?:[A-Za-z0-9+/]{4})+)[A-Za-z0-9+/]{0,3}\.\.\.<elided \d+ chars>"
)


def whole(value: Any) -> Any:
    """The same with data that the recorder has cut as if it ended there, so that it is data."""
    if isinstance(value, dict):
        return {name: whole(inner) for name, inner in value.items()}
    if isinstance(value, str):
        cut = _ELIDED.fullmatch(value)
        return value if cut is None else cut[1]
    return [whole(inner) for inner in value] if isinstance(value, list) else value


def _unblank(request: dict[str, Any]) -> dict[str, Any]:
    """Without blank text of the model's."""
    turns = []
    for turn in request.get("messages") or ():
        content = turn.get("content")
        if turn["role"] == "assistant" and isinstance(content, str) and not content.strip():
            content = None
        elif turn["role"] == "assistant" and isinstance(content, list):
            content = [block for block in content if block["type"] != "text" or block["text"].strip()]
        turns.append({**turn, "content": content})
    return {**request, "messages": turns}


def _beside(request: dict[str, Any]) -> dict[str, Any]:
    """With what a result shows beside its text in a user's message after it."""
    turns = []
    for turn in request.get("messages") or ():
        content = turn.get("content")
        if turn["role"] != "tool" or isinstance(content, str):
            turns.append(turn)
            continue
        shown = [part for part in content if part["type"] != "text"]
        why = {"type": "text", "text": f"What the tool call {turn.get('tool_call_id')} gave, beside its text:"}
        turns.append({**turn, "content": [part for part in content if part["type"] == "text"]})
        turns += [{"role": "user", "content": [why, *shown]}] if shown else []
    return {**request, "messages": turns}


def _thoughtless(request: dict[str, Any]) -> dict[str, Any]:
    """Without thoughts among the words of an answer."""
    turns = [
        {**turn, "content": [part for part in turn["content"] if part["type"] != "thinking"]}
        if turn["role"] == "assistant" and isinstance(turn.get("content"), list)
        else turn
        for turn in request.get("messages") or ()
    ]
    return {**request, "messages": turns}


def _once(request: dict[str, Any]) -> dict[str, Any]:
    """With the objects that arguments mean which hold them as a text."""
    items = [
        {**item, "arguments": msgspec.json.decode(item["arguments"])}
        if item.get("type") == "function_call" and item["arguments"].startswith('"')
        else item
        for item in request.get("input") or ()
    ]
    return {**request, "input": items} if "input" in request else request


def _paired(request: dict[str, Any]) -> dict[str, Any]:
    """With results that say of which call they are, where they stand in the order of the calls."""
    turns, waiting = [], []
    for turn in request.get("messages") or ():
        if turn["role"] == "assistant":
            waiting = [call["id"] for call in turn.get("tool_calls") or ()]
        turns.append({"tool_call_id": waiting.pop(0), **turn} if turn["role"] == "tool" else turn)
    return {**request, "messages": turns}


_CHANGES: Final[dict[str, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    "equal": lambda request: request,
    "different: blank text before a call is not sent": _unblank,
    "different: what a result shows beside its text comes after it": _beside,
    "different: thoughts do not go back": _thoughtless,
    "different: a result says of which call it is": lambda request: _unblank(_paired(request)),
    "different: arguments that were written as JSON twice are sent once": _once,
}


# Anthropic's.


def _blocks(content: str | list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _unmarked(value: Any) -> Any:
    """The same without any mark for the cache."""
    if isinstance(value, dict):
        return {name: _unmarked(inner) for name, inner in value.items() if name != "cache_control"}
    return [_unmarked(inner) for inner in value] if isinstance(value, list) else value


def normal_block(block: dict[str, Any]) -> dict[str, Any]:
    """A block without what says nothing."""
    kept = {name: value for name, value in block.items() if value not in (None, False, [], _DIRECT)}
    if kept.get("citations") == {"enabled": False}:
        del kept["citations"]
    if kept["type"] == "tool_result":
        kept["content"] = [
            normal_block(piece) for piece in _blocks(kept.get("content") or []) if piece.get("text") != ""
        ]
    return kept


def normal_blocks(body: dict[str, Any]) -> dict[str, Any]:
    """A body of Anthropic's without the differences that mean nothing."""
    turns = [[turn["role"], *map(normal_block, _blocks(turn["content"]))] for turn in _unmarked(body["messages"])]
    return {"system": system_of(body.get("system")), "turns": turns, "tools": tools_of(body)}


# OpenAI's.


def is_opaque(message: dict[str, Any]) -> bool:
    """Whether an answer's message has more to it than its text: a phase, or citations."""
    content = message.get("content")
    return "phase" in message or (isinstance(content, list) and any(part.get("annotations") for part in content))


def text_of_parts(content: Any, between: str = "") -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return between.join(part.get("text") or part.get("refusal") or str(part.get("thinking") or "") for part in content)


def system_of(content: Any) -> str:
    return text_of_parts(content, "\n\n")


def tools_of(body: dict[str, Any]) -> list[Any]:
    """Functions of whichever API by what they say; a vendor's own tools as they are."""
    functions = [{"type": "function", "function": function} for function in body.get("functions") or ()]
    return [_tool_of(_unmarked(tool)) for tool in body.get("tools") or functions]


def _tool_of(tool: dict[str, Any]) -> Any:
    function = dict(tool.get("function", tool))
    schema = function.pop("parameters", None) or function.pop("input_schema", None)
    if tool.get("type") not in ("function", "custom", None) or (schema is None and tool.get("type") != "function"):
        return tool
    said = {name: value for name, value in function.items() if value not in (None, False, "") and name != "type"}
    return {**said, "schema": schema or {"type": "object", "properties": {}}}


def _shown(content: Any) -> list[Any]:
    """What a user or a tool shows, by what it says."""
    return [_part(part) for part in _blocks(content)]


def _part(part: dict[str, Any]) -> Any:
    kind = part["type"]
    if kind in ("text", "input_text"):
        return part["text"]
    if kind in ("image_url", "input_image") and "image_url" in part:
        return part["image_url"]["url"] if isinstance(part["image_url"], dict) else part["image_url"]
    file = part.get("file", part)
    if kind in ("file", "input_file") and file.get("file_data", "").startswith("data:application/pdf"):
        return [file.get("filename") or "document.pdf", file["file_data"]]
    return part


def _said(item: dict[str, Any]) -> list[tuple[str, dict[str, str]]] | None:
    """The calls of an answer's message, None if it is opaque."""
    if is_opaque(item):
        return None
    return [(call["id"], call["function"]) for call in item.get("tool_calls") or ()]


def normal(body: dict[str, Any], echo: str | None) -> dict[str, Any]:
    """A body of either wire without the differences that mean nothing. echo: the field of reasoning that goes back."""
    turns: list[Any] = []
    system = [body["instructions"]] if body.get("instructions") else []
    begun = False
    given: Any = body.get("messages", body.get("input"))
    items: list[dict[str, Any]] = [{"role": "user", "content": given}] if isinstance(given, str) else given
    for item in items:
        role, content = item.get("role"), item.get("content")
        is_system = role in ("system", "developer") and item.get("type", "message") == "message"
        begun = begun or not is_system
        if is_system and not begun:
            system.append(system_of(content))
        elif is_system:
            turns.append(["system", system_of(content)])
        elif role == "user":
            turns += [[role, *_shown(content)]] if content else []
        elif role == "tool":
            turns.append([role, item.get("tool_call_id"), *_shown(content)])
        elif role == "assistant" and (functions := _said(item)) is not None:
            calls = [[id_, function["name"], function["arguments"]] for id_, function in functions]
            thought = item.get(echo or "") if calls or echo == "reasoning_details" else None
            if text_of_parts(content) or calls:
                turns.append([role, text_of_parts(content), *calls, thought or None])
        elif item["type"] == "function_call":
            turns.append([item["call_id"], item["name"], item["arguments"], item.get("namespace")])
        elif item["type"] == "function_call_output":
            turns.append([item["call_id"], *_shown(item["output"])])
        else:
            turns.append(item)
    return {"system": "\n\n".join(system), "turns": turns, "tools": tools_of(body)}
