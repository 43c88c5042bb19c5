"""Errors that are a call: some vendors refuse what their own model wrote, and show it. Pure.

The model has to hear of it, as it does of any other call that cannot be run; so the error becomes that call.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from penstock.core.arguments import UNNAMED
from penstock.core.chunks import Chunk, StopChunk, ToolCallChunk
from penstock.wire.event_json import UNDECODABLE, shown

__all__ = ["FAILED", "failed_answer", "failed_calls"]

# Groq: https://console.groq.com/docs/tool-use, and seven recorded errors, four inside a stream; read 2026-11-30.
FAILED: Final = "tool_use_failed"
"""The error's code."""
_TEXT: Final = "failed_generation"
# Where no JSON names the tool: Llama's own form, and the words of the error.
_NAMED: Final = (r"<function[=/ ]+([\w.-]+)", r"for tool [`'\"]?([\w.-]+)", r"tool [`'\"]([\w.-]+)")
_LONGEST: Final = 1000  # characters of what the vendor says


def failed_answer(body: bytes) -> list[Chunk]:
    """The answer that a refusal stands for, as it were by its status; nothing for any other error."""
    calls = failed_calls(body)
    return [*calls, StopChunk(reason="tool_calls", raw_reason=FAILED)] if calls else []


def failed_calls(body: bytes) -> list[ToolCallChunk]:
    """The calls that an error stands for; none for any other error."""
    try:
        document = msgspec.json.decode(body.decode("utf-8", "replace"))
    except UNDECODABLE:
        return []
    error = document.get("error") if isinstance(document, dict) else None
    if not isinstance(error, dict) or error.get("code") != FAILED:
        return []
    text = error.get(_TEXT)
    if not isinstance(text, str) or not text.strip():
        return []
    said = shown(str(error.get("message") or "no reason given"), _LONGEST)
    from hashlib import sha256  # here and not above: for an answer that is rare

    digest = sha256(body).hexdigest()[:16]
    return [
        ToolCallChunk(
            id=f"call_{digest}_{number}", name=name, arguments=arguments, problem=f"The call was refused: {said}"
        )
        for number, (name, arguments) in enumerate(_written(text, said))
    ]


def _written(text: str, said: str) -> Iterator[tuple[str, str]]:
    """Name and arguments of each call in the text; of one with all the text for arguments, if the form is unknown."""
    try:
        found = msgspec.json.decode(text)
    except UNDECODABLE:
        found = None
    entries: list[Any] = found if isinstance(found, list) else [found]
    if entries and all(isinstance(entry, dict) and isinstance(entry.get("name"), str) for entry in entries):
        for entry in entries:
            arguments = entry.get("arguments", entry.get("parameters"))
            yield entry["name"], msgspec.json.encode(arguments).decode() if isinstance(arguments, dict) else text
        return
    named = (match for where in (text, said) for form in _NAMED if (match := re.search(form, where)))
    first = next(named, None)
    yield first[1] if first is not None else UNNAMED, text
