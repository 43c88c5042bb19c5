"""OpenAI's half of the stand-in for a model: its two endpoints over one cache, counted as OpenAI counts.

The cache needs no marks: a prompt reads the longest beginning that it shares with an earlier one, in whole steps of 128
tokens. As before gpt-5.6, what is written is neither reported nor billed. What it does not do is expire.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

import msgspec

from penstock.testing.openai import ChatForm, chat_document, chat_events, responses_document, responses_events

__all__ = ["OpenAIDemo"]

_STEP: Final = 128  # tokens
_TOKEN: Final = 4  # bytes of the prompt as JSON


class OpenAIDemo:
    """Writes an answer's words as a chat completion or a response. min_cache_tokens: the shortest prefix it caches."""

    def __init__(self, min_cache_tokens: int) -> None:
        self._min = min_cache_tokens
        self._prefixes: set[bytes] = set()

    def chat(self, body: Mapping[str, Any], words: Sequence[str], *, cut: bool) -> Iterator[bytes] | bytes:
        """The answer to `POST /chat/completions`: events, or one document if no stream was asked for.

        A stream reports its usage only if `stream_options` asks for it. cut: the words are not all of the answer.
        """
        prompt, cached = self._prompt(body["model"], [*(body.get("tools") or ()), *body["messages"]])
        answer: dict[str, Any] = {"model": body["model"], "text": " ".join(words)}
        answer["finish_reason"] = "length" if cut else "stop"
        details = {"prompt_tokens_details": {"cached_tokens": cached}}
        answer["usage"] = {"prompt_tokens": prompt, "completion_tokens": len(words), **details}
        if not body.get("stream"):
            return chat_document(**answer)
        asked = (body.get("stream_options") or {}).get("include_usage")
        return chat_events(**answer, form=ChatForm(usage_place="last" if asked else "none"))

    def responses(self, body: Mapping[str, Any], words: Sequence[str], *, cut: bool) -> Iterator[bytes] | bytes:
        """The answer to `POST /responses`: events, or one document. cut: the words are not all of the answer."""
        given = body["input"]
        turns = [given] if isinstance(given, str) else given
        parts = [*(body.get("tools") or ()), body.get("instructions"), *turns]
        prompt, cached = self._prompt(body["model"], parts)
        status = "incomplete" if cut else "completed"
        said = {"type": "output_text", "text": " ".join(words)}
        message = {"type": "message", "id": "msg_emulated", "status": status, "content": [said]}
        answer: dict[str, Any] = {"model": body["model"], "status": status}
        details = {"input_tokens_details": {"cached_tokens": cached}}
        answer["usage"] = {"input_tokens": prompt, "output_tokens": len(words), **details}
        if not body.get("stream"):
            return responses_document(message, **answer)
        return responses_events(message, **answer)

    def _prompt(self, model: str, parts: Iterable[Any]) -> tuple[int, int]:
        """How many tokens the prompt has, and how many of them are read from the cache."""
        prompt = b"".join(map(msgspec.json.encode, parts))
        digest = sha256(model.encode())
        cached = 0
        for end in range(_STEP, len(prompt) // _TOKEN + 1, _STEP):
            digest.update(prompt[(end - _STEP) * _TOKEN : end * _TOKEN])
            if digest.digest() in self._prefixes:
                cached = end
            self._prefixes.add(digest.digest())
        return -(-len(prompt) // _TOKEN), cached if cached >= self._min else 0
