"""What the demo model answers, before it is written in the form of a wire: thoughts, text and calls, cut at a limit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from penstock.testing.demo.asked import Asked, CalledBefore
from penstock.testing.demo.attachments import described
from penstock.testing.demo.calling import Call, calls_for
from penstock.testing.demo.filling import Filler
from penstock.testing.demo.words import Words

__all__ = ["TOKEN", "Said", "say", "tokens_of"]

TOKEN: Final = 4
"""Bytes of JSON."""

_WHO: Final = "This is Penstock's emulator, not a model, and nothing is billed."
_SHOWN: Final = 400
"""Characters of a result that are repeated."""
_WORD: Final = re.compile(r"(?<= )")
_JSON: Final = re.compile(r".{1,4}", re.DOTALL)
"""Tokens: a word with the blank after it, and four characters of JSON."""


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """An answer. thought: empty if it was not asked to think. tokens: of all of it, thought_tokens of the first part.

    cut: the limit was reached, so that this is not all of it; a call is whole or not there.
    """

    thought: str
    text: str
    calls: Sequence[Call]
    tokens: int
    thought_tokens: int
    cut: bool


def say(asked: Asked) -> Said:
    """The answer; the same for the same request."""
    calls = calls_for(asked)
    text, is_json = ("", False) if calls else _text(asked)
    thought = _thought(asked, calls) if asked.thinks else ""
    thoughts = _WORD.split(thought) if thought else []
    words = _JSON.findall(text) if is_json else _WORD.split(text) if text else []
    left = len(thoughts) + len(words) + sum(map(_size, calls)) if asked.limit is None else asked.limit
    kept, said = thoughts[:left], words[: max(0, left - len(thoughts))]
    tokens = len(kept) + len(said)
    called: list[Call] = []
    for call in calls:
        if tokens + _size(call) > left:
            break
        tokens += _size(call)
        called.append(call)
    cut = (len(kept), len(said), len(called)) != (len(thoughts), len(words), len(calls))
    return Said(
        thought="".join(kept).rstrip(" "),
        text="".join(said).rstrip(" ") if len(said) < len(words) and not is_json else "".join(said),
        calls=called,
        tokens=tokens,
        thought_tokens=len(kept),
        cut=cut,
    )


def tokens_of(data: bytes) -> int:
    """How many tokens JSON has."""
    return -(-len(data) // TOKEN)


def _size(call: Call) -> int:
    return tokens_of(msgspec.json.encode(call))


def _text(asked: Asked) -> tuple[str, bool]:
    """The text, and whether it is JSON that was asked for."""
    if asked.schema is not None:
        results = [call.result or "" for call in asked.calls]
        value = Filler(Words(" ".join((asked.words, *results))), asked.schema, whole=True).fill()
        return msgspec.json.encode(value).decode(), True
    said = [_WHO]
    if asked.attachments:
        said.append(f"You attached {' and '.join(map(described, asked.attachments))}.")
    if asked.calls:
        said.append("\n".join(map(_told, asked.calls)))
    elif asked.words or not asked.attachments:
        said.append(f"You said: {asked.words or 'nothing'}")
    return " ".join(said), False


def _told(call: CalledBefore) -> str:
    if call.result is None:
        return f"Nothing came back from {call.name}."
    result = call.result.strip()
    result = result if len(result) <= _SHOWN else f"{result[:_SHOWN]}…"
    return f"{call.name} {'failed' if call.failed else 'answered'}: {result}"


def _thought(asked: Asked, calls: Sequence[Call]) -> str:
    does = "repeat what I have been told"
    if calls:
        does = f"call {' and '.join(name for name, _ in calls)}"
    elif asked.schema is not None:
        does = "fill the schema with what the words offer"
    words = asked.words if len(asked.words) <= _SHOWN else f"{asked.words[:_SHOWN]}…"
    return f"I am asked: {words or 'nothing'} I do not think, I am an emulator. So I {does}."
