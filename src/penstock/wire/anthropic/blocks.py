"""The blocks of a request to Anthropic's Messages API, as structs: half the time of dictionaries for long histories.

The fields stand in the order in which they are sent. Those that can carry a cache mark are Markable.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

__all__ = [
    "Block",
    "Document",
    "Image",
    "Markable",
    "Redacted",
    "Text",
    "Thinking",
    "ToolDefinition",
    "ToolResult",
    "ToolUse",
    "Turn",
]


class Markable(msgspec.Struct, gc=False, omit_defaults=True, tag_field="type"):
    """A block that can carry a cache mark, in a last field `cache_control`.

    The field is repeated in each, as inherited it would come first, and structs made by position are made faster.
    """


class Text(Markable, gc=False, tag="text"):
    """Text of either role, or the system prompt."""

    text: str
    cache_control: Mapping[str, str] | None = None


class Image(Markable, gc=False, tag="image"):
    """source: base64 or url."""

    source: dict[str, Any]
    cache_control: Mapping[str, str] | None = None


class Document(Markable, gc=False, tag="document"):
    """source: base64, text or url."""

    source: dict[str, Any]
    title: str | None = None
    citations: dict[str, bool] | None = None
    cache_control: Mapping[str, str] | None = None


class ToolUse(Markable, gc=False, tag="tool_use"):
    """input: the arguments, byte for byte as they came; other bytes would miss the cache.

    caller, toolset_name: as they came with the call.
    """

    id: str
    name: str
    input: msgspec.Raw
    caller: msgspec.Raw | None = None
    toolset_name: msgspec.Raw | None = None
    cache_control: Mapping[str, str] | None = None


class ToolResult(Markable, gc=False, tag="tool_result"):
    """content: None for none, which the API takes."""

    tool_use_id: str
    content: str | list[Any] | None = None
    is_error: bool = False
    cache_control: Mapping[str, str] | None = None


class Thinking(msgspec.Struct, gc=False, tag_field="type", tag="thinking"):
    """Goes back as it came."""

    thinking: str
    signature: str


class Redacted(msgspec.Struct, gc=False, tag_field="type", tag="redacted_thinking"):
    """Goes back as it came."""

    data: str


class ToolDefinition(msgspec.Struct, gc=False, omit_defaults=True):
    """A client's tool."""

    name: str
    input_schema: Mapping[str, object]
    description: str = ""
    strict: bool = False
    cache_control: Mapping[str, str] | None = None


Block = Markable | Thinking | Redacted | msgspec.Raw


class Turn(msgspec.Struct, gc=False):
    """One message."""

    role: str
    content: list[Block]
