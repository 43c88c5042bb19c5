"""What the emulator says over OpenAI's two wires in the scenarios of test_cassettes: the same as over Anthropic's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from penstock.testing import (
    DemoModel,
    Request,
    ServerReply,
    chat_completion,
    openai_error,
    responses_message,
)

Replies = Sequence[ServerReply | Callable[[Request], ServerReply]]
Call = tuple[str, Mapping[str, Any]]


def chat(text: str = "", *calls: Call, **more: Any) -> ServerReply:
    """An answer of the chat wire."""
    made = [{"id": f"call_{place}", "name": name, "arguments": given} for place, (name, given) in enumerate(calls)]
    return ServerReply(chat_completion(text=text, tool_calls=made, **more))


def items(text: str = "", *calls: Call, before: Sequence[Mapping[str, Any]] = (), **more: Any) -> ServerReply:
    """An answer of the Responses API."""
    said = [{"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "output_text", "text": text}]}]
    made = [
        {"type": "function_call", "id": f"fc_{place}", "call_id": f"call_{place}", "name": name, "arguments": given}
        for place, (name, given) in enumerate(calls)
    ]
    return ServerReply(responses_message(*before, *(said if text else []), *made, **more))


WEATHER: Call = ("get_weather", {"city": "Paris"})
TIME: Call = ("get_time", {"timezone": "Europe/Paris"})
WRITE: Call = ("write_file", {"path": "a.txt", "content": 'line "one"\n\tline two é \\ end'})
REASONING = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [{"type": "summary_text", "text": "Two and two."}],
    "encrypted_content": "gAAAAemulated",
}
REFUSAL = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "content": [{"type": "refusal", "refusal": "I can't."}],
}
REASONED = {"completion_tokens_details": {"reasoning_tokens": 4}}
ERRORS = {
    "a wrong key": openai_error(401, "Incorrect API key provided: sk-wro*****key.", code="invalid_api_key"),
    "a prompt that is too long": openai_error(
        400, "This model's maximum context length is 8192 tokens. However, your messages resulted in 9412 tokens.",
        code="context_length_exceeded",
    ),
    "an unknown model": openai_error(404, "The model `gpt-nobody` does not exist.", code="model_not_found"),
    "a rate limit": openai_error(
        429, "Rate limit reached", kind="requests", code="rate_limit_exceeded", headers={"retry-after": "12"}
    ),
    "an overload": openai_error(
        503, "The server is overloaded", kind="service_unavailable_error", code="server_is_overloaded"
    ),
    "an exhausted quota": openai_error(
        429, "You exceeded your current quota.", kind="insufficient_quota", code="insufficient_quota"
    ),
}  # fmt: skip

REPLIES: Mapping[str, Mapping[str, Replies]] = {
    "emulator-chat": {
        "text": [chat("Hello! How can I help you today?")],
        "system prompt": [chat("Good day.")],
        "split characters": [chat("Café is 漢 and 😀 done.", piece=3)],
        "one tool call": [chat("", WEATHER)],
        "two parallel tool calls": [chat("", WEATHER, TIME)],
        "a call without arguments": [chat("", ("ping", {}))],
        "escapes in arguments": [chat("", WRITE)],
        "thinking, a call and its result": [chat("", WEATHER), chat("It is sunny and 21 degrees.")],
        "the length limit": [chat("Once upon a time there was", finish_reason="length")],
        "cache read": [DemoModel(min_cache_tokens=128)],
        "an image": [chat("Black.", usage=REASONED)],
        "a refusal": [chat(refusal="I can't.")],
        **{name: [reply] for name, reply in ERRORS.items()},
    },
    "emulator-responses": {
        "text": [items("Hello! How can I help you today?")],
        "system prompt": [items("Good day.")],
        "split characters": [items("Café is 漢 and 😀 done.", piece=3)],
        "thinking with a signature": [items("4", before=[REASONING])],
        "one tool call": [items("", WEATHER)],
        "two parallel tool calls": [items("", WEATHER, TIME)],
        "a call without arguments": [items("", ("ping", {}))],
        "escapes in arguments": [items("", WRITE)],
        "thinking, a call and its result": [
            items("", WEATHER, before=[REASONING]), items("It is sunny and 21 degrees."),
        ],
        "the length limit": [items("Once upon a time there was", status="incomplete")],
        "cache read": [DemoModel(min_cache_tokens=128)],
        "an image": [items("Black.")],
        "a refusal": [ServerReply(responses_message(REFUSAL))],
        **{name: [reply] for name, reply in ERRORS.items()},
    },
}  # fmt: skip
