"""A stand-in for a model: it repeats what it is asked, and it counts and caches as the vendors' servers do.

Anthropic's cache follows wire rules that matter to a caller: entries are written only at marks, are looked for at most
20 positions back from each, and need a least length. What it does not do is expire.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final, Protocol

import msgspec

from penstock.testing.anthropic import anthropic_error, anthropic_events
from penstock.testing.demo.openai import OpenAIDemo
from penstock.testing.emulator import Pause, Request, ServerReply, Step

__all__ = ["DemoModel"]

_LOOK_BACK: Final = 20
_RUNS: Final = ("tool_use", "tool_result")
_LIMITS: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens")


class _Answer(Protocol):
    """How one endpoint writes an answer: as events, or as one document. cut: the words are not all of it."""

    def __call__(self, body: Mapping[str, Any], words: Sequence[str], *, cut: bool) -> Iterator[bytes] | bytes: ...


class DemoModel:
    """A reply for every request to a model; give it to an Emulator. Its caches live as long as it does.

    Paths that end in `/v1/messages` are Anthropic's, in `/chat/completions` and `/responses` OpenAI's: see
    `penstock.testing.demo.openai` for how those are cached. A request without `stream` gets one JSON document.

    min_cache_tokens: the shortest prefix that it caches. pause: seconds between the words of an answer.
    """

    def __init__(self, *, min_cache_tokens: int = 16, pause: float = 0.0) -> None:
        self._min = min_cache_tokens
        self._pause = pause
        self._entries: set[bytes] = set()
        openai = OpenAIDemo(min_cache_tokens)
        self._answers: Mapping[str, _Answer] = {
            "/v1/messages": self._messages,
            "/chat/completions": openai.chat,
            "/responses": openai.responses,
        }

    def __call__(self, request: Request) -> ServerReply:
        """Answer one request."""
        path = request.path.partition("?")[0]
        answer = next((self._answers[end] for end in self._answers if path.endswith(end)), None)
        if answer is None:
            return anthropic_error(404, "not_found_error", f"no such endpoint: {path}")
        body = msgspec.json.decode(request.body)
        words = f"This is Penstock's emulator, not a model, and nothing is billed. You said: {_asked(body)}".split(" ")
        limit = next((body[name] for name in _LIMITS if body.get(name) is not None), len(words))
        answered = answer(body, words[:limit], cut=len(words) > limit)
        if isinstance(answered, bytes):
            return ServerReply([answered], headers={"content-type": "application/json"}, whole=True)
        return ServerReply(list(self._paced(answered)))

    def _messages(self, body: Mapping[str, Any], words: Sequence[str], *, cut: bool) -> Iterator[bytes] | bytes:
        block = {"type": "text", "text": " ".join(words)}
        usage, final = self._usage(body), {"output_tokens": len(words)}
        reason = "max_tokens" if cut else "end_turn"
        if body.get("stream"):
            return anthropic_events(block, usage=usage, final_usage=final, stop_reason=reason, model=body["model"])
        message = {"id": "msg_emulated", "type": "message", "role": "assistant", "model": body["model"]}
        end = {"stop_reason": reason, "stop_sequence": None, "usage": {**usage, **final}}
        return msgspec.json.encode({**message, "content": [block], **end})

    def _paced(self, events: Iterator[bytes]) -> Iterator[Step]:
        for event in events:
            yield event
            if self._pause:
                yield Pause(self._pause)

    def _usage(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The prompt side: what is read up to the longest entry found, written up to the last mark, and the rest."""
        size = read = written = position = 0
        run = None
        digest = sha256()
        seen: list[tuple[int, int, bytes]] = []  # of each block: position, tokens and hash up to its end
        new: set[bytes] = set()
        extended = False
        for block in _blocks(body):
            kind = block.get("type")
            position += kind not in _RUNS or kind != run
            run = kind
            mark = block.pop("cache_control", None)
            encoded = msgspec.json.encode(block)
            size += -(-len(encoded) // 4)
            digest.update(encoded)
            seen.append((position, size, digest.digest()))
            if mark is None or size < self._min:
                continue
            extended = mark.get("ttl") == "1h"
            near = [end for place, end, key in seen if position - place < _LOOK_BACK and key in self._entries]
            read = max((read, *near))
            written = size
            new.add(digest.digest())
        self._entries |= new
        written = max(0, written - read)
        lifetimes = {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0}
        lifetimes[f"ephemeral_{'1h' if extended else '5m'}_input_tokens"] = written
        return {
            "input_tokens": size - read - written,
            "cache_read_input_tokens": read,
            "cache_creation_input_tokens": written,
            "cache_creation": lifetimes,
        }


def _blocks(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield from body.get("tools", ())
    yield from _content(body.get("system", ()))
    for message in body["messages"]:
        for number, block in enumerate(_content(message["content"])):
            yield {**block, "role": message["role"]} if number == 0 else dict(block)


def _content(given: str | Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    return [{"type": "text", "text": given}] if isinstance(given, str) else given


def _asked(body: Mapping[str, Any]) -> str:
    """The last text of the last turn: `messages`, or the Responses API's `input`."""
    said: Any = body.get("messages") or body.get("input")
    while isinstance(said, list | dict):
        if isinstance(said, list):
            said = said[-1] if said else ""
        else:
            said = said.get("text") or said.get("content") or said.get("output") or said.get("type")
    return str(said or "nothing")
