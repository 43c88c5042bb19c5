"""How many tokens a prompt may have, before anybody has counted them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from penstock.core.messages import (
    DocumentPart,
    ImagePart,
    Message,
    OpaquePart,
    Options,
    Part,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)

__all__ = ["estimate_tokens"]

_IMAGE: Final = 1_600
"""Tokens of an image or a document, of which the bytes say little: that of one megapixel at (width x height) / 750."""


def estimate_tokens(system_prompt: str, messages: Sequence[Message], options: Options | None) -> int:
    """A guess: a quarter of the prompt's bytes, tools included; 0 for what no provider will take."""
    try:
        size = _bytes(system_prompt) + sum(_size(message.content) for message in messages)
        if options is not None and options.tools:
            size += len(msgspec.json.encode(options.tools))
    except (TypeError, ValueError, AttributeError, LookupError, RecursionError):
        return 0
    return size // 4


def _size(content: str | Sequence[Part]) -> int:
    """Bytes, or what stands for them. A history may have thousands of parts, so each is looked at but once."""
    if isinstance(content, str):
        return _bytes(content)
    size = 0
    for part in content:
        if isinstance(part, TextPart):
            size += _bytes(part.text)
        elif isinstance(part, ToolResultPart):
            size += _size(part.content)
        elif isinstance(part, ToolCallPart):
            size += _bytes(part.name) + _bytes(part.arguments)
        elif isinstance(part, ReasoningPart):
            size += _bytes(part.text) + len(part.proof or "")
        elif isinstance(part, OpaquePart):
            size += _bytes(part.data)
        elif isinstance(part, ImagePart | DocumentPart):
            size += 4 * _IMAGE
    return size


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
