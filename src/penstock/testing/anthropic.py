"""Anthropic's answers, written out: the bytes that a script for the emulator is made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from penstock.testing.emulator import ServerReply
from penstock.testing.events import cut, json_reply, json_text, named_event

__all__ = ["anthropic_count", "anthropic_error", "anthropic_events", "anthropic_message", "anthropic_models"]

_DELTAS = {"text": ("text_delta", "text"), "thinking": ("thinking_delta", "thinking")}


def anthropic_events(
    *blocks: Mapping[str, Any],
    usage: Mapping[str, Any] | None = None,
    final_usage: Mapping[str, Any] | None = None,
    stop_reason: str = "end_turn",
    model: str = "claude-sonnet-5-5",
    piece: int = 8,
) -> Iterator[bytes]:
    """The events of a streamed message with these content blocks, one piece of bytes each.

    usage: of `message_start`, final_usage: of `message_delta`, each laid over an ordinary one.
    piece: characters of a delta.
    """
    first = {"input_tokens": 10, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 1}
    message: dict[str, Any] = {
        "id": "msg_emulated",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
    }
    message |= {"stop_reason": None, "stop_sequence": None, "usage": {**first, **(usage or {})}}
    yield named_event("message_start", message=message)
    for index, block in enumerate(blocks):
        yield from _block_events(index, block, piece)
    delta = {"stop_reason": stop_reason, "stop_sequence": None}
    yield named_event("message_delta", delta=delta, usage={"output_tokens": 10, **(final_usage or {})})
    yield named_event("message_stop")


def anthropic_message(*blocks: Mapping[str, Any], **options: Any) -> Sequence[bytes]:
    """The same as a body for a ServerReply; the options are those of `anthropic_events`."""
    return list(anthropic_events(*blocks, **options))


def anthropic_error(
    status: int, kind: str, message: str, *, headers: Mapping[str, str] | None = None, code: str | None = None
) -> ServerReply:
    """An answer with a failing status, in the API's own form. kind: as `rate_limit_error`. code: as `error_code`."""
    error: dict[str, Any] = {"type": kind, "message": message}
    if code is not None:
        error["details"] = {"error_code": code}
    document = {"type": "error", "error": error, "request_id": "req_emulated"}
    return json_reply(document, status, {"request-id": "req_emulated", **(headers or {})})


def anthropic_count(tokens: int) -> ServerReply:
    """The answer to a request that only counts its prompt."""
    return json_reply({"input_tokens": tokens})


def anthropic_models(*ids: str, path: str = "/v1/models") -> ServerReply:
    """The page of the list of these models that a request of *path* asks for, by its `limit` and its `after_id`."""
    asked = dict(parse_qsl(path.partition("?")[2]))
    start = ids.index(asked["after_id"]) + 1 if "after_id" in asked else 0
    page = ids[start : start + int(asked.get("limit", 20))]
    models = [
        {"type": "model", "id": each, "display_name": each.title(), "created_at": "2026-11-01T00:00:00Z"}
        for each in page
    ]
    ends = {"first_id": page[0], "last_id": page[-1]} if page else {"first_id": None, "last_id": None}
    return json_reply({"data": models, "has_more": start + len(page) < len(ids), **ends})


def _block_events(index: int, block: Mapping[str, Any], piece: int) -> Iterator[bytes]:
    kind = block["type"]
    start = dict(block)
    deltas: list[dict[str, Any]] = []
    if kind in _DELTAS:
        delta, field = _DELTAS[kind]
        deltas += ({"type": delta, field: text} for text in cut(block[field], piece))
        start[field] = ""
        for citation in start.pop("citations", ()):
            deltas.append({"type": "citations_delta", "citation": citation})
            start["citations"] = []
        if "signature" in block:
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
            start["signature"] = ""
    elif "input" in block:
        parts = ("", *cut(json_text(block["input"]), piece))
        deltas += ({"type": "input_json_delta", "partial_json": part} for part in parts)
        start["input"] = {}
    yield named_event("content_block_start", index=index, content_block=start)
    for delta_fields in deltas:
        yield named_event("content_block_delta", index=index, delta=delta_fields)
    yield named_event("content_block_stop", index=index)
