"""A stand-in for a model: it repeats what it is asked, and it counts and caches as Anthropic's servers do.

The cache follows wire rules that matter to a caller: entries are written only at marks, are looked for at most 20
positions back from each, and need a least length. What it does not do is expire.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, Final

import msgspec

from penstock.testing.anthropic import anthropic_error, anthropic_events
from penstock.testing.emulator import Pause, Reply, Request, Step

__all__ = ["DemoModel"]

_LOOK_BACK: Final = 20
_RUNS: Final = ("tool_use", "tool_result")


class DemoModel:
    """A reply for every request to `/v1/messages`; give it to an Emulator. Its cache lives as long as it does.

    min_cache_tokens: the shortest prefix that it caches. pause: seconds between the words of an answer.
    """

    def __init__(self, *, min_cache_tokens: int = 16, pause: float = 0.0) -> None:
        self._min = min_cache_tokens
        self._pause = pause
        self._entries: set[bytes] = set()

    def __call__(self, request: Request) -> Reply:
        """Answer one request."""
        if request.path != "/v1/messages":
            return anthropic_error(404, "not_found_error", f"no such endpoint: {request.path}")
        body = msgspec.json.decode(request.body)
        words = f"This is Penstock's emulator, not a model, and nothing is billed. You said: {_asked(body)}".split(" ")
        text = " ".join(words[: body["max_tokens"]])
        cut = len(words) > body["max_tokens"]
        events = anthropic_events(
            {"type": "text", "text": text},
            usage=self._usage(body),
            final_usage={"output_tokens": min(len(words), body["max_tokens"])},
            stop_reason="max_tokens" if cut else "end_turn",
            model=body["model"],
        )
        return Reply(list(self._paced(events)))

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
    yield from body.get("system", ())
    for message in body["messages"]:
        for number, block in enumerate(message["content"]):
            yield {**block, "role": message["role"]} if number == 0 else dict(block)


def _asked(body: Mapping[str, Any]) -> str:
    last = body["messages"][-1]["content"][-1]
    return str(last.get("text") or last.get("content") or last["type"])
