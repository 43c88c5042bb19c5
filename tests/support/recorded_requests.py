"""Recorded requests of the three wires, said in our messages and written again: what is equal, and why the rest is not.

Where a wire has several ways to say one thing, `normal` makes one of them: a string is a list of one text, and nothing
is a mark for the cache, or a field that says what holds without it. A block of Anthropic's or an item of the Responses
API for which there is no other form is opaque: so are files by their ids, and what only these two vendors show.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from penstock import (
    DocumentPart,
    ImagePart,
    InvalidRequestError,
    Message,
    OpaquePart,
    Options,
    Part,
    ReasoningPart,
    TextPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
)
from penstock.wire.vendors import DIALECTS
from writing import encode

HISTORY: Final = {"messages": "messages", "chat": "messages", "responses": "input"}
"""The field of the history, by wire."""

REFUSALS: Final = {
    "the history is empty": "refused: the history is empty",
    "the text is empty": "refused: the text is empty",
    " is empty: leave it out": "refused: a message of no parts",
    "which no message before it makes": "refused: a result for a call that no message makes",
}
_SYSTEM: Final = "a system prompt that is not one text at the beginning"
_DIRECT: Final = {"type": "direct"}


class InexpressibleError(Exception):
    """Why a recorded request cannot be said in messages of ours."""


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


def compared(row: dict[str, Any], wire: str) -> str:
    """`equal` if a recorded request, said in messages of ours and written again, is the same; else why not."""
    if not row["request"] or HISTORY[wire] not in row["request"]:
        return "a request without messages, or one that was not recorded"
    request = _whole(row["request"])
    vendor = vendor_of(row, wire)
    try:
        system, history = _CONVERTERS[wire](request, vendor)
        options = Options(cache="off", tools=tools_of(request))
        again = msgspec.json.decode(encode(history, vendor, wire, system=system, options=options))
    except InexpressibleError as why:
        return str(why)
    except InvalidRequestError as refused:
        return next(why for words, why in REFUSALS.items() if words in refused.message)
    for said, change in _CHANGES.items():
        if _normal(change(request), vendor, wire) == _normal(again, vendor, wire):
            return said
    raise AssertionError(row["id"])


def _normal(body: dict[str, Any], vendor: str, wire: str) -> dict[str, Any]:
    return normal_blocks(body) if wire == "messages" else normal(body, DIALECTS[vendor].reasoning_echo)


_ELIDED: Final = re.compile(
    r"((?:data:[a-z/]+;base64,)?(?:[A-Za-z0-9+/]{4})+)[A-Za-z0-9+/]{0,3}\.\.\.<elided \d+ chars>"
)


def _whole(value: Any) -> Any:
    """The same with data that the recorder has cut as if it ended there, so that it is data."""
    if isinstance(value, dict):
        return {name: _whole(inner) for name, inner in value.items()}
    if isinstance(value, str):
        cut = _ELIDED.fullmatch(value)
        return value if cut is None else cut[1]
    return [_whole(inner) for inner in value] if isinstance(value, list) else value


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
        why = {"type": "text", "text": f"What the tool call {turn['tool_call_id']} gave, beside its text:"}
        turns.append({**turn, "content": [part for part in content if part["type"] == "text"]})
        turns += [{"role": "user", "content": [why, *shown]}] if shown else []
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


_CHANGES: Final[dict[str, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    "equal": lambda request: request,
    "different: blank text before a call is not sent": _unblank,
    "different: what a result shows beside its text comes after it": _beside,
    "different: arguments that were written as JSON twice are sent once": _once,
}


# Anthropic's.


def from_messages(request: dict[str, Any], vendor: str) -> tuple[str, list[Message]]:
    """The system prompt and the messages that say the same."""
    history = []
    for turn in _unmarked(request["messages"]):
        if turn["role"] == "system":
            raise InexpressibleError("a message of the system's within the history")
        said = turn["role"] == "assistant"
        history.append(Message(turn["role"], [_part(block, vendor, said=said) for block in _blocks(turn["content"])]))
    return system_of(request.get("system")), history


def _part(block: dict[str, Any], vendor: str, *, said: bool) -> Part:
    """The part that says the same as a block, which is opaque where there is no other."""
    kind, fields = block["type"], block.keys()
    if kind == "thinking":
        return ReasoningPart(text=block["thinking"], proof=block["signature"], vendor="anthropic")
    if kind == "redacted_thinking":
        return ReasoningPart(proof=block["data"], redacted=True, vendor="anthropic")
    if kind == "tool_use":
        arguments = msgspec.json.encode(block["input"]).decode()
        beside = {} if block.get("caller", _DIRECT) == _DIRECT else {"caller": block["caller"]}
        extra = msgspec.json.encode(beside).decode() if beside else ""
        return ToolCallPart(id=block["id"], name=block["name"], arguments=arguments, extra=extra, vendor=vendor)
    if kind == "tool_result" and fields <= {"type", "tool_use_id", "content", "is_error"}:
        content = block.get("content") or ""
        shown = content if isinstance(content, str) else [_shown(piece) for piece in content]
        if isinstance(shown, str) or None not in shown:
            given: Any = shown
            return ToolResultPart(id=block["tool_use_id"], content=given, is_error=bool(block.get("is_error")))
    part = _shown(block)
    if part is None or (said and not isinstance(part, TextPart)):
        return OpaquePart(vendor="anthropic", data=msgspec.json.encode(block).decode(), text=block.get("text") or "")
    return part


def _shown(block: dict[str, Any]) -> TextPart | ImagePart | DocumentPart | None:
    """What both a user and a tool's result may show; None for a block without a form of ours."""
    kind, source = block["type"], block.get("source") or {}
    if kind == "text":
        return None if block.get("citations") else TextPart(block["text"])
    if kind not in ("image", "document") or source.get("type") not in ("base64", "text", "url"):
        return None
    if block.keys() - {"type", "source", "title", "citations"}:
        return None
    given: dict[str, Any] = {"url": source["url"]} if "url" in source else {"media_type": source["media_type"]}
    if "data" in source:
        given["data"] = source["data"].encode() if source["type"] == "text" else whole(source["data"])
    if kind == "image":
        return ImagePart(**given)
    citations = (block.get("citations") or {}).get("enabled", False)
    return DocumentPart(**given, title=block.get("title"), citations=citations)


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


def image_of(url: str) -> ImagePart:
    found = re.fullmatch(r"data:(image/[a-z]+);base64,(.*)", url, re.DOTALL)
    if found is None:
        return ImagePart(url=url)
    return ImagePart(data=whole(found[2]), media_type=found[1])


def user_parts(content: Any, texts: Sequence[str]) -> list[Part]:
    """What a user says, on either wire; *texts* are the types of text."""
    if isinstance(content, str):
        return [TextPart(content)]
    parts: list[Part] = []
    for part in content:
        kind = part["type"]
        if kind in texts:
            parts.append(TextPart(part["text"]))
        elif kind in ("image_url", "input_image") and "image_url" in part:
            url = part["image_url"]
            parts.append(image_of(url if isinstance(url, str) else url["url"]))
        elif kind in ("file", "input_file"):
            parts.append(document_of(part.get("file", part)))
        else:
            raise InexpressibleError(f"a part of the type {kind}")
    return parts


def document_of(file: dict[str, Any]) -> DocumentPart:
    if "file_url" in file:
        return DocumentPart(url=file["file_url"])
    found = re.fullmatch(r"data:(application/pdf);base64,(.*)", file.get("file_data", ""), re.DOTALL)
    if found is None:
        raise InexpressibleError("a file by an id, or of another type than PDF")
    return DocumentPart(data=whole(found[2]), media_type=found[1], title=file.get("filename"))


def whole(data: str) -> bytes:
    try:
        return b64decode(data, validate=True)
    except ValueError:
        raise InexpressibleError("data that the recorder has cut") from None


def text_of_parts(content: Any) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if any(part["type"] not in ("text", "output_text", "refusal") for part in content):
        raise InexpressibleError("an answer of other parts than text")
    return "".join(part.get("text") or part.get("refusal") or "" for part in content)


def system_of(content: Any) -> str:
    return text_of_parts([{**part, "type": "text"} for part in content] if isinstance(content, list) else content)


def from_chat(request: dict[str, Any], vendor: str) -> tuple[str, list[Message]]:
    """The system prompt and the messages that say the same."""
    system, history = "", []
    echo = DIALECTS[vendor].reasoning_echo
    for place, turn in enumerate(request["messages"]):
        role, content = turn["role"], turn.get("content")
        if role in ("system", "developer"):
            if place:
                raise InexpressibleError("a system prompt that is not one text at the beginning")
            system = system_of(content)
        elif role == "user":
            history.append(Message("user", user_parts(content, ("text",))))
        elif role == "tool" and "tool_call_id" not in turn:
            raise InexpressibleError("a result that does not say of which call it is")
        elif role == "tool":
            shown: Any = content if isinstance(content, str) else user_parts(content, ("text",))
            history.append(Message("user", [ToolResultPart(id=turn["tool_call_id"], content=shown)]))
        elif role == "assistant" and not turn.get("function_call"):
            parts: list[Part] = []
            if echo in ("reasoning_content", "reasoning") and turn.get(echo):
                parts.append(ReasoningPart(text=turn[echo], vendor=vendor))
            elif echo == "reasoning_details" and turn.get(echo):
                proof = msgspec.json.encode(turn[echo]).decode()
                parts.append(ReasoningPart(proof=proof, vendor=vendor))
            text = text_of_parts(content)
            parts += [TextPart(text)] if text else []
            for call in turn.get("tool_calls") or ():
                function = call["function"]
                parts.append(ToolCallPart(id=call["id"], name=function["name"], arguments=function["arguments"]))
            history += [Message("assistant", parts)] if parts else []
        else:
            raise InexpressibleError("the calls of functions that came before tools")
    return system, history


def _opaque(item: dict[str, Any], vendor: str) -> OpaquePart:
    return OpaquePart(vendor=vendor, data=msgspec.json.encode(item).decode())


def is_opaque(message: dict[str, Any]) -> bool:
    """Whether an answer's message has more to it than its text: a phase, or citations."""
    content = message.get("content")
    return "phase" in message or (isinstance(content, list) and any(part.get("annotations") for part in content))


def from_responses(request: dict[str, Any], vendor: str) -> tuple[str, list[Message]]:
    """The same for the Responses API; items without a neutral form are opaque parts, as they come."""
    system, history = request.get("instructions") or "", []
    given = request["input"]
    for place, item in enumerate([{"role": "user", "content": given}] if isinstance(given, str) else given):
        role, kind, content = item.get("role"), item.get("type", "message"), item.get("content")
        if kind == "message" and role in ("system", "developer"):
            if place or system:
                history.append(Message("user", [_opaque(item, vendor)]))
            else:
                system = system_of(content)
        elif kind == "message" and role == "user":
            try:
                history.append(Message("user", user_parts(content, ("input_text",))))
            except InexpressibleError:
                history.append(Message("user", [_opaque(item, vendor)]))
        elif kind == "message" and not is_opaque(item):
            text = text_of_parts(content)
            history.append(Message("assistant", [TextPart(text)] if text else []))
        elif kind == "function_call":
            call: Part = ToolCallPart(id=item["call_id"], name=item["name"], arguments=item["arguments"])
            history.append(Message("assistant", [call]))
        elif kind == "function_call_output":
            output = item["output"]
            result: Any = output if isinstance(output, str) else user_parts(output, ("input_text",))
            history.append(Message("user", [ToolResultPart(id=item["call_id"], content=result)]))
        else:
            part: Part = _opaque(item, vendor)
            if kind == "reasoning":
                part = ReasoningPart(proof=msgspec.json.encode(item).decode(), vendor=vendor)
            history.append(Message("user" if kind.endswith("_output") else "assistant", [part]))
    return system, history


def tools_of(request: dict[str, Any]) -> list[Any]:
    """Tools of ours where they are functions."""
    return [_tool_of(_unmarked(tool)) for tool in request.get("tools") or ()]


def _tool_of(tool: dict[str, Any]) -> Any:
    function = tool.get("function", tool)
    schema = "parameters" if tool.get("type") == "function" else "input_schema"
    if tool.get("type", "custom") not in ("function", "custom") or (schema == "input_schema" and schema not in tool):
        return tool
    if not function.keys() <= {"type", "name", "description", schema, "strict"}:
        return tool
    given = {name: value for name, value in function.items() if name not in ("type", schema) and value is not None}
    if function.get(schema) is not None:
        given["parameters"] = function[schema]
    return Tool(**given)


def _parts_or_item(item: dict[str, Any]) -> list[Any]:
    try:
        return list(user_parts(item["content"], ("text", "input_text")))
    except InexpressibleError:
        return [item]


def _said(item: dict[str, Any]) -> list[tuple[str, dict[str, str]]] | None:
    """The calls of an answer's message, None if it is opaque."""
    if is_opaque(item):
        return None
    return [(call["id"], call["function"]) for call in item.get("tool_calls") or ()]


def normal(body: dict[str, Any], echo: str | None) -> dict[str, Any]:
    """A body of either wire without the differences that mean nothing. echo: the field of reasoning that goes back."""
    turns: list[Any] = []
    system = body.get("instructions") or ""
    given: Any = body.get("messages", body.get("input"))
    items: list[dict[str, Any]] = [{"role": "user", "content": given}] if isinstance(given, str) else given
    for item in items:
        role, content = item.get("role"), item.get("content")
        if role in ("system", "developer"):
            if turns or system:
                turns.append(item)
            else:
                system = system_of(content)
        elif role == "user":
            turns.append([role, *_parts_or_item(item)])
        elif role == "tool":
            turns.append([role, item["tool_call_id"], *user_parts(content, ("text",))])
        elif role == "assistant" and (functions := _said(item)) is not None:
            calls = [[id_, function["name"], function["arguments"]] for id_, function in functions]
            thought = item.get(echo or "") if calls or echo == "reasoning_details" else None
            if text_of_parts(content) or calls:
                turns.append([role, text_of_parts(content), *calls, thought or None])
        elif item["type"] == "function_call":
            turns.append([item["call_id"], item["name"], item["arguments"]])
        elif item["type"] == "function_call_output":
            turns.append([item["call_id"], *user_parts(item["output"], ("input_text",))])
        else:
            turns.append(item)
    return {"system": system, "turns": turns, "tools": tools_of(body)}


_CONVERTERS: Final = {"messages": from_messages, "chat": from_chat, "responses": from_responses}
