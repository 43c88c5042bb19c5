"""Anthropic's Messages API, the request: history and options to bytes. Pure: no I/O, no clock, no SDK.

Source: the API's documentation and the types of the anthropic SDK 2.11, read 2026-11-21.
The fields stand in a fixed order with the messages last, so that the bytes of one turn begin those of the next.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from penstock.errors import InvalidRequestError
from penstock.messages import (
    DocumentPart,
    ImagePart,
    Message,
    OpaquePart,
    Options,
    Part,
    ReasoningPart,
    TextPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
)
from penstock.models import Model
from penstock.wire.anthropic_cache import Block, place_marks
from penstock.wire.anthropic_options import option_fields
from penstock.wire.decoding import is_object, shown

__all__ = ["encode"]

_IMAGES: Final = ("image/jpeg", "image/png", "image/gif", "image/webp")
_FOREIGN: Final = re.compile(r"[^a-zA-Z0-9_-]")  # what the id of a tool call may not hold; other vendors' do
_encode = msgspec.json.Encoder().encode


def encode(system_prompt: str, messages: Sequence[Message], options: Options, model: Model) -> bytes:
    """The body of the request. Raises InvalidRequestError for what the API or this model is known to refuse."""
    if not messages:
        raise InvalidRequestError("the history is empty: send at least one user message")
    body = option_fields(options, model)
    if options.tools:
        body["tools"] = [_tool(tool) for tool in options.tools]
    if system_prompt:
        body["system"] = [{"type": "text", "text": system_prompt}]
    history = _History(model)
    body["messages"] = [block for place, message in enumerate(messages) if (block := history.message(place, message))]
    if messages[-1].role == "assistant" and model.info.supports_prefill is False and not _resumes(messages[-1]):
        raise InvalidRequestError(
            f"messages[{len(messages) - 1}]: {model.id} takes no history that ends with the assistant"
        )
    if options.cache != "off" and "cache_control" not in options.extra:
        own = [tool for tool in body.get("tools", ()) if "input_schema" in tool]
        place_marks(
            own,
            body.get("system", ()),
            body["messages"],
            extended=options.cache == "extended",
            min_tokens=model.info.min_cache_tokens or 0,
        )
    try:
        return _encode(_merged(body, options.extra))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidRequestError(f"the request cannot be written as JSON: {error}") from error


def _tool(tool: Tool | Mapping[str, object]) -> Mapping[str, Any]:
    if not isinstance(tool, Tool):
        return tool
    block: Block = {"name": tool.name, "description": tool.description, "input_schema": tool.parameters}
    if not tool.description:
        del block["description"]
    if tool.strict:
        block["strict"] = True
    return block


def _resumes(message: Message) -> bool:
    # After `pause_turn` the history ends with the server's tools' blocks and is sent as it is: not a prefill.
    return not isinstance(message.content, str) and any(isinstance(part, OpaquePart) for part in message.content)


def _merged(body: Block, extra: Mapping[str, object]) -> Block:
    """*extra* over *body*: objects are merged, all else is replaced. The messages stay last."""
    merged = dict(body)
    for key, value in extra.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    if "messages" in merged:
        merged["messages"] = merged.pop("messages")
    return merged


class _History:
    """Writes the messages of one request and checks them on the way, as each depends on those before it."""

    def __init__(self, model: Model) -> None:
        self._images = model.info.supports_images is not False
        self._model = model
        self._calls: set[str] = set()

    def message(self, place: int, message: Message) -> Block | None:
        """One message; None for an assistant's of which nothing is left to send."""
        where = f"messages[{place}]"
        parts = [TextPart(message.content)] if isinstance(message.content, str) else message.content
        if not parts:
            raise InvalidRequestError(f"{where} is empty: leave it out")
        content = []
        for number, part in enumerate(parts):
            spot = where if isinstance(message.content, str) else f"{where}.content[{number}]"
            write = _WRITERS.get((message.role, type(part)))
            if write is None:
                raise InvalidRequestError(
                    f"{spot}: a {type(part).__name__} has no place in a message of the {message.role}"
                )
            block = write(self, spot, part)
            if block is not None:
                content.append(block)
        return {"role": message.role, "content": content} if content else None

    def _text(self, spot: str, part: TextPart) -> Block:
        if not part.text or part.text.isspace():
            raise InvalidRequestError(f"{spot}: the text is empty; leave it out")
        return {"type": "text", "text": part.text}

    def _said(self, spot: str, part: TextPart) -> Block | None:
        # Models do write blank text, before a tool call say, and the API then refuses to have it back.
        if part.text and part.text.isspace():
            return None
        return self._text(spot, part)

    def _image(self, spot: str, part: ImagePart) -> Block:
        if not self._images:
            raise InvalidRequestError(f"{spot}: {self._model.id} takes no images")
        if _one_source(spot, part) == "data" and part.media_type not in _IMAGES:
            raise InvalidRequestError(
                f"{spot}: an image of type {part.media_type!r}, expected one of {', '.join(_IMAGES)}"
            )
        return {"type": "image", "source": _source(part)}

    def _document(self, spot: str, part: DocumentPart) -> Block:
        source = _source(part)
        if _one_source(spot, part) == "data":
            if part.media_type == "text/plain":
                source = {
                    "type": "text",
                    "media_type": "text/plain",
                    "data": (part.data or b"").decode("utf-8", "replace"),
                }
            elif part.media_type != "application/pdf":
                raise InvalidRequestError(
                    f"{spot}: a document of type {part.media_type!r}, expected application/pdf or text/plain"
                )
        block: Block = {"type": "document", "source": source}
        if part.title is not None:
            block["title"] = part.title
        if part.citations:
            block["citations"] = {"enabled": True}
        return block

    def _call(self, spot: str, part: ToolCallPart) -> Block:
        if not is_object(part.arguments):
            raise InvalidRequestError(
                f"{spot}: the arguments of the call {part.id} are not a JSON object: {shown(part.arguments.encode())}"
            )
        self._calls.add(part.id)
        # The text goes in as it came: the same bytes each turn, or the cache misses.
        arguments = msgspec.Raw(part.arguments.encode())
        return {"type": "tool_use", "id": _FOREIGN.sub("_", part.id), "name": part.name, "input": arguments}

    def _result(self, spot: str, part: ToolResultPart) -> Block:
        if part.id not in self._calls:
            raise InvalidRequestError(
                f"{spot}: a result for the tool call {part.id!r}, which no message before it makes"
            )
        block: Block = {"type": "tool_result", "tool_use_id": _FOREIGN.sub("_", part.id)}
        if isinstance(part.content, str):
            if part.content:
                block["content"] = part.content
        else:
            parts = enumerate(part.content)
            block["content"] = [_WRITERS["user", type(p)](self, f"{spot}.content[{i}]", p) for i, p in parts]
        if part.is_error:
            block["is_error"] = True
        return block

    def _reasoning(self, spot: str, part: ReasoningPart) -> Block | None:
        if part.vendor != "anthropic" or not part.proof:
            return None
        if part.redacted:
            return {"type": "redacted_thinking", "data": part.proof}
        return {"type": "thinking", "thinking": part.text, "signature": part.proof}

    def _opaque(self, spot: str, part: OpaquePart) -> Block | msgspec.Raw | None:
        if part.vendor != "anthropic":
            return self._said(spot, TextPart(part.text)) if part.text else None
        if not is_object(part.data):
            raise InvalidRequestError(f"{spot}: the data is not a JSON object: {shown(part.data.encode())}")
        return msgspec.Raw(part.data.encode())


def _one_source(spot: str, part: ImagePart | DocumentPart) -> str:
    if (part.data is None) == (part.url is None):
        raise InvalidRequestError(f"{spot}: give either data with its media_type, or a url")
    return "url" if part.data is None else "data"


def _source(part: ImagePart | DocumentPart) -> Block:
    if part.data is None:
        return {"type": "url", "url": part.url}
    return {"type": "base64", "media_type": part.media_type, "data": part.data}


_WRITERS: dict[tuple[str, type[Part]], Callable[[_History, str, Any], Any]] = {
    ("user", TextPart): _History._text,
    ("user", ImagePart): _History._image,
    ("user", DocumentPart): _History._document,
    ("user", ToolResultPart): _History._result,
    ("user", OpaquePart): _History._opaque,
    ("assistant", TextPart): _History._said,
    ("assistant", ToolCallPart): _History._call,
    ("assistant", ReasoningPart): _History._reasoning,
    ("assistant", OpaquePart): _History._opaque,
}
