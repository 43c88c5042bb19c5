"""A stand-in for a model: deterministic, on three wires, and it counts and caches as the vendors' servers do.

It repeats what it is asked, calls the tools that the words ask for, fits the schema that is asked for, and thinks if it
is told to: see `penstock.testing.demo.saying`.

Anthropic's cache follows wire rules that matter to a caller: entries are written only at marks, are looked for at most
20 positions back from each, and need a least length. What it does not do is expire.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final, TypeAlias

import msgspec

from penstock.testing.anthropic import anthropic_count, anthropic_error, anthropic_events, anthropic_models
from penstock.testing.demo.asked import asked
from penstock.testing.demo.openai import OpenAIDemo, call_id
from penstock.testing.demo.saying import Said, say, tokens_of
from penstock.testing.emulator import Pause, Request, ServerReply, Step
from penstock.testing.events import json_reply
from penstock.testing.openai import openai_count, openai_models

__all__ = ["DemoModel"]

_Writer: TypeAlias = Callable[[Mapping[str, Any], Said], Iterator[bytes] | bytes]
"""How one endpoint writes an answer to a request's body: as events, or as one document."""
_LOOK_BACK: Final = 20
_UNREADABLE: Final = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What comes of a schema, or a message, that is none: a vendor refuses it."""
_RUNS: Final = ("tool_use", "tool_result")


class DemoModel:
    """A reply for every request to a model; give it to an Emulator. Its caches live as long as it does.

    Paths that end in `/v1/messages` are Anthropic's, in `/chat/completions` and `/responses` OpenAI's: see
    `penstock.testing.demo.openai` for how those are cached. A request without `stream` gets one JSON document. Two more
    count a prompt: `/v1/messages/count_tokens` and `/responses/input_tokens`; `/models` lists it, in
    Anthropic's form to whoever names a version of that API.

    min_cache_tokens: the shortest prefix that it caches. pause: seconds between the pieces of an answer.
    """

    def __init__(self, *, min_cache_tokens: int = 16, pause: float = 0.0) -> None:
        self._min = min_cache_tokens
        self._pause = pause
        self._entries: set[bytes] = set()
        self._openai = openai = OpenAIDemo(min_cache_tokens)
        self._answers: Mapping[str, _Writer] = {
            "/v1/messages": self._messages,
            "/chat/completions": openai.chat,
            "/responses": openai.responses,
        }

    def __call__(self, request: Request) -> ServerReply:
        """Answer one request."""
        path = request.path.partition("?")[0]
        if path.endswith("/v1/messages/count_tokens"):
            return anthropic_count(sum(map(_size, _blocks(msgspec.json.decode(request.body)))))
        if path.endswith("/responses/input_tokens"):
            return openai_count(self._openai.count(msgspec.json.decode(request.body)))
        if path.endswith("/models"):
            theirs = "anthropic-version" in request.headers
            return anthropic_models("demo", path=request.path) if theirs else openai_models("demo")
        answer = next((self._answers[end] for end in self._answers if path.endswith(end)), None)
        if answer is None:
            return anthropic_error(404, "not_found_error", f"no such endpoint: {path}")
        body = msgspec.json.decode(request.body)
        try:
            said = say(asked(body))
        except _UNREADABLE as error:
            why = f"the demo cannot make anything of this request: {type(error).__name__}: {error}"
            return anthropic_error(400, "invalid_request_error", why)
        answered = answer(body, said)
        ids = {"request-id": "req_emulated", "x-request-id": "req_emulated"}
        if isinstance(answered, bytes):
            return json_reply(answered, headers=ids)
        return ServerReply(list(self._paced(answered)), headers={"content-type": "text/event-stream", **ids})

    def _messages(self, body: Mapping[str, Any], said: Said) -> Iterator[bytes] | bytes:
        blocks: list[dict[str, Any]] = []
        if said.thought:
            proof = sha256(said.thought.encode()).hexdigest()
            blocks.append({"type": "thinking", "thinking": said.thought, "signature": proof})
        if said.text or not (blocks or said.calls):
            blocks.append({"type": "text", "text": said.text})
        for number, (name, given) in enumerate(said.calls):
            blocks.append({"type": "tool_use", "id": call_id(body, number), "name": name, "input": given})
        usage, final = self._usage(body), dict[str, Any]({"output_tokens": said.tokens})
        if said.thought:
            final["output_tokens_details"] = {"thinking_tokens": said.thought_tokens}
        reason = "max_tokens" if said.cut else "tool_use" if said.calls else "end_turn"
        if body.get("stream"):
            return anthropic_events(*blocks, usage=usage, final_usage=final, stop_reason=reason, model=body["model"])
        message = {"id": "msg_emulated", "type": "message", "role": "assistant", "model": body["model"]}
        end = {"stop_reason": reason, "stop_sequence": None, "usage": {**usage, **final}}
        return msgspec.json.encode({**message, "content": blocks, **end})

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
            size += tokens_of(encoded)
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


def _size(block: Mapping[str, Any]) -> int:
    """Tokens of a block, marks aside."""
    return tokens_of(msgspec.json.encode({key: value for key, value in block.items() if key != "cache_control"}))
