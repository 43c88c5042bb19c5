"""What an MCP server's tools give, as our results: whatever is in it, nothing of it is lost without a word. Pure."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from penstock.agent.tools import ToolContent, ToolResult
from penstock.core.arguments import whole_text
from penstock.core.messages import MEDIA_TYPES, DocumentPart, ImagePart, TextPart

__all__ = ["tool_result"]


def tool_result(answer: Mapping[str, Any]) -> ToolResult:
    """The result in a server's answer to `tools/call`, as JSON has it.

    Text, images, and resources that are text, images or PDF are parts; all else is said in words. Structured content is
    shown where there is no other: else it says the same again.
    """
    kind = answer.get("resultType", "complete")
    if kind != "complete":  # it wants something from the user, or from a model
        return ToolResult(content=f"The server asks for more (`{kind}`), which is not supported.", is_error=True)
    blocks = answer.get("content")
    parts = [part for block in (blocks if isinstance(blocks, list) else []) for part in _parts(block)]
    failed = answer.get("isError") is True
    content: ToolContent = parts
    if not parts and answer.get("structuredContent") is not None:
        content = msgspec.json.encode(answer["structuredContent"]).decode()
    elif not parts:
        content = "It failed, and did not say why." if failed else ""
    return ToolResult(content=content, is_error=failed)


def _parts(block: Any) -> Iterator[TextPart | ImagePart | DocumentPart]:
    """The parts of a block: one, or none for blank text, which vendors refuse."""
    fields: Mapping[str, Any] = block if isinstance(block, dict) else {}
    kind = fields.get("type")
    resource = fields.get("resource")
    said = fields.get("text")
    if kind == "text" and isinstance(said, str):
        if said.strip():
            yield TextPart(whole_text(said))
    elif kind == "resource" and isinstance(resource, dict):
        yield _resource(resource)
    elif kind == "resource_link":
        words = (fields.get(name) for name in ("name", "uri", "mimeType", "description"))
        yield TextPart(whole_text(f"[link to a resource: {', '.join(str(word) for word in words if word)}]"))
    elif kind in ("image", "audio"):
        yield _file(fields, "data", kind)
    else:
        yield TextPart(whole_text(f"[content of the kind {kind!r}, which is not known]"))


def _resource(fields: Mapping[str, Any]) -> TextPart | ImagePart | DocumentPart:
    uri = str(fields.get("uri", ""))
    text = fields.get("text")
    if not isinstance(text, str):
        return _file(fields, "blob", f"resource {uri}", uri)
    if not text.strip():
        return TextPart(whole_text(f"[resource {uri}: empty]"))
    return DocumentPart(data=whole_text(text).encode(), media_type="text/plain", title=whole_text(uri) or None)


def _file(fields: Mapping[str, Any], name: str, what: str, title: str = "") -> TextPart | ImagePart | DocumentPart:
    """The bytes that are in base64 under *name*, or words about them where no wire takes them."""
    media_type = str(fields.get("mimeType") or "no media type")
    try:
        data = b64decode(fields[name], validate=True)
    except (KeyError, TypeError, ValueError):
        return TextPart(whole_text(f"[{what}, {media_type}: it cannot be read]"))
    if media_type in MEDIA_TYPES[ImagePart]:
        return ImagePart(data=data, media_type=media_type)
    if media_type in MEDIA_TYPES[DocumentPart]:
        return DocumentPart(data=data, media_type=media_type, title=whole_text(title) or None)
    return TextPart(whole_text(f"[{what}, {media_type}, {len(data):,} bytes: it cannot be shown]"))
