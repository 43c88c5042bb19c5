"""One answer, one error and one keep-alive in the form of each wire: what the faults are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias, get_args

from penstock.testing.anthropic import anthropic_error, anthropic_message
from penstock.testing.emulator import ServerReply
from penstock.testing.events import data_event, named_event
from penstock.testing.openai import chat_completion, openai_error, responses_message

__all__ = [
    "ARGUMENTS_DELTA",
    "ERROR_EVENT",
    "PING",
    "TEXT_DELTA",
    "WIRES",
    "CalledTool",
    "WireName",
    "answer",
    "error_answer",
    "until",
]

WireName: TypeAlias = Literal["messages", "chat", "responses"]
"""Anthropic's Messages API, OpenAI's Chat Completions and its Responses API."""
WIRES: Final[tuple[WireName, ...]] = get_args(WireName)

CalledTool: TypeAlias = tuple[str, str]
"""A tool's name, and the arguments as JSON text."""

# What only the events have in them that bring a piece of text, or a piece of a call's arguments.
TEXT_DELTA: Final[Mapping[WireName, bytes]] = {
    "messages": b'"text_delta"',
    "chat": b'"delta":{"content":',
    "responses": b'"response.output_text.delta"',
}
ARGUMENTS_DELTA: Final[Mapping[WireName, bytes]] = {
    "messages": b'"input_json_delta"',
    "chat": b'"function":{"arguments":',
    "responses": b'"response.function_call_arguments.delta"',
}
_REASONS: Final[Mapping[WireName, Mapping[str, str]]] = {
    "messages": {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"},
    "chat": {"stop": "stop", "length": "length", "tool_calls": "tool_calls"},
    "responses": {"stop": "completed", "length": "incomplete", "tool_calls": "completed"},
}
# Of a failing status: Anthropic's type; OpenAI's type and code. https://platform.claude.com/docs/en/api/errors and
# https://platform.openai.com/docs/guides/error-codes, read 2026-11-21.
_WORDS: Final[Mapping[int, tuple[str, str, str | None]]] = {
    400: ("invalid_request_error", "invalid_request_error", None),
    401: ("authentication_error", "invalid_request_error", "invalid_api_key"),
    402: ("billing_error", "billing_error", None),
    403: ("permission_error", "permission_error", None),
    404: ("not_found_error", "invalid_request_error", "model_not_found"),
    413: ("request_too_large", "invalid_request_error", None),
    429: ("rate_limit_error", "requests", "rate_limit_exceeded"),
    500: ("api_error", "server_error", None),
    529: ("overloaded_error", "overloaded_error", None),
}


_SAID: Final = "The server is overloaded."
ERROR_EVENT: Final[Mapping[WireName, bytes]] = {
    "messages": named_event("error", error={"type": "overloaded_error", "message": _SAID}),
    "chat": data_event(error={"type": "service_unavailable_error", "code": "server_is_overloaded", "message": _SAID}),
    "responses": named_event("error", code="server_is_overloaded", message=_SAID, param=None),
}
PING: Final[Mapping[WireName, bytes]] = {
    "messages": named_event("ping"),
    "chat": b": keep-alive\n\n",
    "responses": b": keep-alive\n\n",
}


def answer(
    wire: WireName,
    text: str = "",
    calls: Sequence[CalledTool] = (),
    *,
    reason: Literal["stop", "length", "tool_calls"] | None = None,
    piece: int = 4,
) -> list[bytes]:
    """The events of an answer of ten input and ten output tokens.

    reason: why it ends, None for the ordinary one. piece: characters of a delta.
    """
    word = _REASONS[wire][reason or ("tool_calls" if calls else "stop")]
    blocks: list[dict[str, Any]] = []
    if wire == "chat":
        tools = [
            {"id": f"call_{number}", "name": name, "arguments": given} for number, (name, given) in enumerate(calls)
        ]
        return list(chat_completion(text=text, tool_calls=tools, finish_reason=word, piece=piece))
    if wire == "messages":
        blocks += ({"type": "text", "text": text} for _ in range(bool(text)))
        for number, (name, given) in enumerate(calls):
            blocks.append({"type": "tool_use", "id": f"call_{number}", "name": name, "input": given})
        return list(anthropic_message(*blocks, stop_reason=word, piece=piece))
    if text:
        blocks.append({"type": "message", "content": [{"type": "output_text", "text": text}]})
    for number, (name, given) in enumerate(calls):
        call = {"type": "function_call", "call_id": f"call_{number}", "name": name, "arguments": given}
        blocks.append({**call, "status": word})
    return list(responses_message(*blocks, status=word, piece=piece))


def error_answer(
    wire: WireName,
    status: int,
    message: str,
    *,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> ServerReply:
    """An answer with a failing status. code: the vendor's word for it, None for the ordinary one."""
    anthropic_type, openai_type, openai_code = _WORDS[status]
    if wire == "messages":
        return anthropic_error(status, anthropic_type, message, code=code, headers=headers)
    return openai_error(status, message, kind=openai_type, code=code or openai_code, headers=headers)


def until(events: Sequence[bytes], mark: bytes, count: int) -> list[bytes]:
    """The events up to the one that is number *count* of those with *mark* in them."""
    places = [place for place, event in enumerate(events) if mark in event]
    return list(events[: places[count - 1] + 1])
