"""What a request asks for, on whichever of the three wires it came: one form for all, so that the answer is one too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

__all__ = ["Asked", "CalledBefore", "OfferedTool", "asked"]

_LIMITS: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_RESULTS: Final = ("tool_result", "function_call_output")
_CALLS: Final = ("tool_use", "function_call")
_TEXTS: Final = ("text", "input_text", "output_text")
_FAILED: Final = "Error: "
"""How the wires that have no field for it say that a tool has failed."""


class OfferedTool(msgspec.Struct, frozen=True):
    """A tool that may be called. schema: of its arguments."""

    name: str
    description: str
    schema: Mapping[str, Any]


class CalledBefore(msgspec.Struct):
    """A call since the user's last words. result: None while there is none."""

    name: str
    arguments: Any
    result: str | None = None
    failed: bool = False


class Asked(msgspec.Struct, kw_only=True):
    """One request. words: the user's last ones. attachments: the parts beside them that are no text.

    calls: since those words. choice: `auto`, `none`, `required` or a tool's name. schema: what the answer's text must
    fit; None for free text. limit: of tokens, None for none.
    """

    words: str = ""
    attachments: list[Mapping[str, Any]] = msgspec.field(default_factory=list)
    calls: list[CalledBefore] = msgspec.field(default_factory=list)
    tools: Sequence[OfferedTool] = ()
    choice: str = "auto"
    parallel: bool = True
    thinks: bool = False
    schema: Mapping[str, Any] | None = None
    limit: int | None = None


def asked(body: Mapping[str, Any]) -> Asked:
    """What *body* asks for."""
    choice = body.get("tool_choice") or "auto"
    found = Asked(
        tools=[tool for each in body.get("tools") or () if (tool := _tool(each)) is not None],
        choice=choice if isinstance(choice, str) else _choice(choice),
        parallel=body.get("parallel_tool_calls") is not False and not _inside(choice, "disable_parallel_tool_use"),
        thinks=_thinks(body),
        schema=_schema(body),
        limit=next((body[name] for name in _LIMITS if body.get(name) is not None), None),
    )
    given = body["messages"] if "messages" in body else body.get("input") or ()
    said = [{"role": "user", "content": given}] if isinstance(given, str) else given
    calls: dict[Any, CalledBefore] = {}
    for message in said:
        _read(found, message, calls)
    return found


def _read(found: Asked, message: Mapping[str, Any], calls: dict[Any, CalledBefore]) -> None:
    """Take in one message, or one item of the Responses API."""
    new = True  # the first of the user's parts ends what was said before
    for part in _parts(message):
        kind = part.get("type")
        if kind in _CALLS:
            key = part.get("call_id") or part.get("id")
            function = part.get("function") or part
            call = CalledBefore(function.get("name", ""), _arguments(function))
            calls[key] = call
            found.calls.append(call)
        elif kind in _RESULTS:
            key = part.get("tool_use_id") or part.get("call_id")
            call = calls.get(key) or CalledBefore("a tool", {})
            if call not in found.calls:
                found.calls.append(call)
            content = part.get("content", part.get("output"))
            text = content if isinstance(content, str) else " ".join(map(_text, content or ()))
            call.result = text.removeprefix(_FAILED)
            call.failed = bool(part.get("is_error")) or text.startswith(_FAILED)
        elif message.get("role") == "user":
            if new:
                found.words, found.attachments, found.calls, new = "", [], [], False
            if kind in _TEXTS:
                found.words = _text(part)
            else:
                found.attachments.append(part)


def _parts(message: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A message's parts; the calls and results that stand elsewhere as if they were parts too."""
    if message.get("type") in (*_CALLS, *_RESULTS):
        yield message
        return
    content = message.get("content") or ()
    if message.get("role") == "tool":
        yield {"type": _RESULTS[0], "tool_use_id": message.get("tool_call_id"), "content": content}
        return
    yield from ({"type": _TEXTS[0], "text": content},) if isinstance(content, str) else content
    for call in message.get("tool_calls") or ():
        yield {**call, "type": _CALLS[0]}


def _text(part: Mapping[str, Any]) -> str:
    return str(part.get("text") or part.get("type") or "")


def _arguments(call: Mapping[str, Any]) -> Any:
    given = call.get("input", call.get("arguments"))
    try:
        return msgspec.json.decode(given) if isinstance(given, str) else given
    except msgspec.DecodeError:
        return given


def _tool(given: Mapping[str, Any]) -> OfferedTool | None:
    """None for a tool that the vendor runs itself."""
    function = given.get("function") or given
    schema = function.get("input_schema") or function.get("parameters") or {}
    kind = given.get("type") or "custom"
    if "name" not in function or not (schema or kind in ("custom", "function")):
        return None
    return OfferedTool(function["name"], function.get("description") or "", schema)


def _choice(given: Mapping[str, Any]) -> str:
    name = given.get("name") or (given.get("function") or {}).get("name")
    return str(name or {"any": "required"}.get(given["type"], given["type"]))


def _thinks(body: Mapping[str, Any]) -> bool:
    thinking = _inside(body.get("thinking"), "type") or "disabled"
    effort = body.get("reasoning_effort") or _inside(body.get("reasoning"), "effort") or "none"
    return thinking != "disabled" or effort != "none"


def _schema(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    found = _inside(body.get("output_config"), "format") or _inside(body.get("text"), "format")
    found = found or body.get("response_format") or {}
    if found.get("type") == "json_object":
        return {"type": "object"}
    schema: Mapping[str, Any] | None = (found.get("json_schema") or found).get("schema")
    return schema


def _inside(given: object, name: str) -> Any:
    return given.get(name) if isinstance(given, Mapping) else None
