"""OpenAI's half of the stand-in for a model: its two endpoints over one cache, counted as OpenAI counts.

The cache needs no marks: a prompt reads the longest beginning that it shares with an earlier one, in whole steps of 128
tokens. As before gpt-5.6, what is written is neither reported nor billed. What it does not do is expire.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any, Final

import msgspec

from penstock.testing.demo.saying import TOKEN, Said, tokens_of
from penstock.testing.openai import ChatForm, chat_document, chat_events, responses_document, responses_events

__all__ = ["OpenAIDemo", "call_id"]

_STEP: Final = 128  # tokens


class OpenAIDemo:
    """Writes an answer as a chat completion or a response. min_cache_tokens: the shortest prefix it caches."""

    def __init__(self, min_cache_tokens: int) -> None:
        self._min = min_cache_tokens
        self._prefixes: set[bytes] = set()

    def chat(self, body: Mapping[str, Any], said: Said) -> Iterator[bytes] | bytes:
        """The answer to `POST /chat/completions`: events, or one document if no stream was asked for.

        A stream reports its usage only if `stream_options` asks for it.
        """
        prompt, cached = self._prompt(body["model"], [*(body.get("tools") or ()), *body["messages"]])
        answer: dict[str, Any] = {"model": body["model"], "text": said.text, "reasoning": said.thought}
        answer["tool_calls"] = [
            {"id": call_id(body, number), "name": name, "arguments": given}
            for number, (name, given) in enumerate(said.calls)
        ]
        answer["finish_reason"] = "length" if said.cut else None
        details = {"prompt_tokens_details": {"cached_tokens": cached}}
        if said.thought:
            details["completion_tokens_details"] = {"reasoning_tokens": said.thought_tokens}
        answer["usage"] = {"prompt_tokens": prompt, "completion_tokens": said.tokens, **details}
        if not body.get("stream"):
            return chat_document(**answer)
        asked = (body.get("stream_options") or {}).get("include_usage")
        return chat_events(**answer, form=ChatForm(usage_place="last" if asked else "none"))

    def responses(self, body: Mapping[str, Any], said: Said) -> Iterator[bytes] | bytes:
        """The answer to `POST /responses`: events, or one document."""
        prompt, cached = self._prompt(body["model"], _response_parts(body))
        status = "incomplete" if said.cut else "completed"
        items: list[dict[str, Any]] = []
        if said.thought:
            summary = [{"type": "summary_text", "text": said.thought}]
            items.append({"type": "reasoning", "id": "rs_emulated", "summary": summary})
            if "reasoning.encrypted_content" in (body.get("include") or ()):
                items[0]["encrypted_content"] = sha256(said.thought.encode()).hexdigest()
        if said.text or not (items or said.calls):
            part = {"type": "output_text", "text": said.text}
            items.append({"type": "message", "id": "msg_emulated", "status": status, "content": [part]})
        for number, (name, given) in enumerate(said.calls):
            items.append({"type": "function_call", "call_id": call_id(body, number), "name": name, "arguments": given})
        answer: dict[str, Any] = {"model": body["model"], "status": status}
        details = {"input_tokens_details": {"cached_tokens": cached}}
        if said.thought:
            details["output_tokens_details"] = {"reasoning_tokens": said.thought_tokens}
        answer["usage"] = {"input_tokens": prompt, "output_tokens": said.tokens, **details}
        if not body.get("stream"):
            return responses_document(*items, **answer)
        return responses_events(*items, **answer)

    def count(self, body: Mapping[str, Any]) -> int:
        """How many tokens the prompt of a response would have."""
        return tokens_of(b"".join(map(msgspec.json.encode, _response_parts(body))))

    def _prompt(self, model: str, parts: Iterable[Any]) -> tuple[int, int]:
        """How many tokens the prompt has, and how many of them are read from the cache."""
        prompt = b"".join(map(msgspec.json.encode, parts))
        digest = sha256(model.encode())
        cached = 0
        for end in range(_STEP, len(prompt) // TOKEN + 1, _STEP):
            digest.update(prompt[(end - _STEP) * TOKEN : end * TOKEN])
            if digest.digest() in self._prefixes:
                cached = end
            self._prefixes.add(digest.digest())
        return tokens_of(prompt), cached if cached >= self._min else 0


def call_id(body: Mapping[str, Any], number: int) -> str:
    """The id of an answer's call, which no other call of the history has."""
    history = body["messages"] if "messages" in body else body["input"]
    return f"call_{len(history) if isinstance(history, list) else 1}_{number}"


def _response_parts(body: Mapping[str, Any]) -> list[Any]:
    given = body["input"]
    turns = [given] if isinstance(given, str) else given
    return [*(body.get("tools") or ()), body.get("instructions"), *turns]
