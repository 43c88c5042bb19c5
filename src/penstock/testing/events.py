"""How the answers of every wire are written: events, pieces of a text, and whole documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from penstock.testing.emulator import ServerReply

__all__ = ["cut", "data_event", "json_reply", "json_text", "named_event"]


def named_event(kind: str, **fields: Any) -> bytes:
    """An event whose name is the type inside: of the Messages and the Responses API."""
    return b"event: %b\n%b" % (kind.encode(), data_event(type=kind, **fields))


def data_event(**fields: Any) -> bytes:
    """An event without a name: of the chat wire."""
    return b"data: %b\n\n" % msgspec.json.encode(fields)


def cut(text: str, piece: int) -> list[str]:
    """*text* in pieces of so many characters; none of an empty one."""
    return [text[start : start + piece] for start in range(0, len(text), piece)]


def json_text(arguments: Any) -> str:
    """A call's arguments as text; a text is left as it is."""
    return arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()


def json_reply(document: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> ServerReply:
    """A reply that is one JSON document; bytes are one already."""
    body = document if isinstance(document, bytes) else msgspec.json.encode(document)
    return ServerReply([body], status, {"content-type": "application/json", **(headers or {})}, whole=True)
