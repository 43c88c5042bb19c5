"""Chat Completions, the events of an answer: the fields that are read of them, content apart from bookkeeping."""

from __future__ import annotations

import msgspec

from penstock.wire.finish import meaning, stop_reason

__all__ = ["ChatEvent", "Choice", "Delta", "Groq", "Head", "Part", "is_report", "true_word"]


class Delta(msgspec.Struct, gc=False):
    """Of an event, or the message of a whole answer."""

    content: str | list[msgspec.Raw] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[msgspec.Raw] | None = None
    refusal: str | None = None
    reasoning_details: list[msgspec.Raw] | None = None
    function_call: msgspec.Raw = msgspec.Raw()
    extra_content: msgspec.Raw = msgspec.Raw()
    executed_tools: msgspec.Raw = msgspec.Raw()  # Groq's own, for a fee
    audio: msgspec.Raw = msgspec.Raw()
    images: msgspec.Raw = msgspec.Raw()
    annotations: msgspec.Raw = msgspec.Raw()


class Choice(msgspec.Struct, gc=False):
    """One of the answers; only one is asked for."""

    index: int | None = None
    delta: Delta | None = None
    message: Delta | None = None
    finish_reason: str | None = None
    native_finish_reason: str | None = None  # what the vendor behind OpenRouter said
    usage: msgspec.Raw = msgspec.Raw()  # Moonshot
    error: msgspec.Raw = msgspec.Raw()  # OpenRouter


class Groq(msgspec.Struct):
    """Groq's own place for usage and errors."""

    usage: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


class ChatEvent(msgspec.Struct, gc=False):
    """One event, or a whole answer."""

    choices: list[Choice | None] | None = None
    usage: msgspec.Raw = msgspec.Raw()
    cost: msgspec.Raw = msgspec.Raw()  # Venice
    service_tier: str | None = None
    error: msgspec.Raw = msgspec.Raw()
    x_groq: Groq | None = None
    base_resp: msgspec.Raw = msgspec.Raw()  # MiniMax
    citations: msgspec.Raw = msgspec.Raw()  # Perplexity, as the next
    search_results: msgspec.Raw = msgspec.Raw()


class Head(msgspec.Struct):
    """Which answer it is; read only until it is known."""

    id: str | int | None = None
    model: str | None = None
    service_tier: str | None = None  # on the first event perhaps, and on no other


class Part(msgspec.Struct):
    """Of a content that is a list: Mistral's and Databricks'."""

    type: str | None = None
    text: str | None = None
    refusal: str | None = None
    thinking: str | list[msgspec.Raw] | None = None
    summary: list[msgspec.Raw] | None = None


def is_report(usage: msgspec.Raw) -> bool:
    """Whether there is one at all."""
    return len(usage) > len(b"null") and bytes(usage).startswith(b"{")


def true_word(choice: Choice) -> str | None:
    """The word that tells the truth: a gateway may call a cut call `tool_calls`, and a broken one `stop`."""
    reason, native = choice.finish_reason, choice.native_finish_reason
    if not reason or not native or native == reason or stop_reason(reason) not in ("stop", "tool_calls", "other"):
        return reason
    return native if meaning(native) not in ("stop", "tool_calls", "other", "pause") else reason
