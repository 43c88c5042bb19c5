"""Anthropic's Messages API, the request: history and options to bytes. Pure: no I/O, no clock, no SDK.

Source: the API's documentation and the types of the anthropic SDK 2.11, read 2026-11-21.
The fields stand in a fixed order with the messages last, so that the bytes of one turn begin those of the next.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NoReturn

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
from penstock.wire.anthropic_blocks import (
    Block,
    Document,
    Image,
    Redacted,
    Text,
    Thinking,
    ToolDefinition,
    ToolResult,
    ToolUse,
    Turn,
    to_json,
)
from penstock.wire.anthropic_cache import MAX_MARKS, place_marks
from penstock.wire.anthropic_options import option_fields
from penstock.wire.decoding import is_object, shown

__all__ = ["encode"]

_IMAGES: Final = ("image/jpeg", "image/png", "image/gif", "image/webp")
_FOREIGN: Final = re.compile(r"[^a-zA-Z0-9_-]")  # what the id of a tool call may not hold; other vendors' do


def encode(system_prompt: str, messages: Sequence[Message], options: Options, model: Model) -> bytes:
    """The body of the request. Raises InvalidRequestError for what the API or this model is known to refuse."""
    body = option_fields(options, model)
    tools = [_tool(tool) for tool in options.tools]
    _distinct(options.tools)
    if tools:
        body["tools"] = tools
    if not isinstance(system_prompt, str):
        raise InvalidRequestError(f"the system prompt is a {type(system_prompt).__name__}, expected text")
    system = [Text(system_prompt)] if system_prompt.strip() else []
    if system:
        body["system"] = system
    body["messages"] = turns = _History(model).turns(messages)
    try:
        if options.cache != "off" and "cache_control" not in options.extra:
            theirs = [tool["cache_control"] for tool in tools if isinstance(tool, dict) and "cache_control" in tool]
            long_lived = all(isinstance(mark, Mapping) and mark.get("ttl") == "1h" for mark in theirs)
            place_marks(
                [tool for tool in tools if isinstance(tool, ToolDefinition)],
                system,
                turns,
                # Longer lifetimes come first, and the tools are in front of all that we mark.
                extended=options.cache == "extended" and long_lived,
                min_tokens=model.info.min_cache_tokens or 0,
                slots=MAX_MARKS - len(theirs),
            )
        return to_json(_merged(body, options.extra))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidRequestError(f"the request cannot be written as JSON: {error}") from error


def _tool(tool: Tool | Mapping[str, object]) -> ToolDefinition | dict[str, object]:
    if isinstance(tool, Tool):
        return ToolDefinition(tool.name, tool.parameters, tool.description, tool.strict)
    return dict(tool)


def _distinct(tools: Sequence[Tool | Mapping[str, object]]) -> None:
    names = [tool.name if isinstance(tool, Tool) else tool.get("name") for tool in tools]
    twice = next((name for name in names if name is not None and names.count(name) > 1), None)
    if twice is not None:
        raise InvalidRequestError(f"option `tools`: two tools are called {twice!r}")


def _merged(body: Mapping[str, Any], extra: Mapping[str, object]) -> dict[str, Any]:
    """*extra* over *body*: objects are merged, all else is replaced. The messages stay last."""
    merged = dict(body)
    for key, value in extra.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    if "messages" in merged:
        merged["messages"] = merged.pop("messages")
    return merged


class _RefusedError(Exception):
    """Why a part cannot be sent; where it stands is added on the way out."""


def _refuse(why: str) -> NoReturn:
    raise _RefusedError(why)


class _History:
    """Writes the messages of one request and checks them on the way, as each depends on those before it."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._calls: dict[str, str] = {}  # ids of tool calls as they came, and as this API takes them
        self._taken: set[str] = set()

    def turns(self, messages: Sequence[Message]) -> list[Turn]:
        """All messages but an assistant's of which nothing is left to send."""
        turns: list[Turn] = []
        for place, message in enumerate(messages):
            try:
                content = self._content(message)
            except _RefusedError as refused:
                raise InvalidRequestError(f"messages[{place}]{refused}") from None
            except (AttributeError, TypeError):
                kind = type(message).__name__
                raise InvalidRequestError(
                    f"messages[{place}] is a {kind} that is no Message of text or parts"
                ) from None
            if content:
                turns.append(Turn(message.role, content))
        if not turns:
            raise InvalidRequestError("the history is empty: send at least one user message")
        last = turns[-1]
        # After `pause_turn` the history ends with the server's tools' blocks and is sent as it is: not a prefill.
        resumes = any(isinstance(block, msgspec.Raw) for block in last.content)
        if last.role == "assistant" and self._model.info.supports_prefill is False and not resumes:
            place = len(messages) - 1
            raise InvalidRequestError(
                f"messages[{place}]: {self._model.id} takes no history that ends with the assistant"
            )
        return turns

    def _content(self, message: Message) -> list[Block]:
        writers = _WRITERS.get(message.role)
        if writers is None:
            _refuse(f": the role is {message.role!r}, expected user or assistant")
        content = message.content
        if isinstance(content, str):
            if content and not content.isspace():
                return [Text(content)]
            if content and message.role == "assistant":
                return []
            _refuse(": the text is empty; leave it out")
        if not content:
            _refuse(" is empty: leave it out")
        return self._parts(content, writers)

    def _parts(self, parts: Sequence[Part], writers: _Writers) -> list[Any]:
        if not isinstance(parts, list | tuple):
            parts = list(parts)
        try:
            return [block for part in parts if (block := writers[type(part)](self, part)) is not None]
        except (_RefusedError, KeyError, TypeError, AttributeError):
            # Once more, and slowly, for the place: most histories have nothing to refuse.
            for number, part in enumerate(parts):
                self._place(number, part, writers)
            raise

    def _place(self, number: int, part: Part, writers: _Writers) -> None:
        write = writers.get(type(part))
        if write is None:
            owner = next(
                (f"a message of the {role}" for role in _WRITERS if _WRITERS[role] is writers), "a tool result"
            )
            _refuse(f".content[{number}]: a {type(part).__name__} has no place in {owner}")
        try:
            write(self, part)
        except (TypeError, AttributeError) as error:
            _refuse(f".content[{number}]: the {type(part).__name__} holds a value of a wrong type ({error})")
        except _RefusedError as refused:
            why = str(refused)
            _refuse(f".content[{number}]{why}" if why.startswith(".") else f".content[{number}]: {why}")

    def _text(self, part: TextPart) -> Block:
        if not part.text or part.text.isspace():
            _refuse("the text is empty; leave it out")
        return Text(part.text)

    def _said(self, part: TextPart) -> Block | None:
        # Models do write blank text, before a tool call say, and the API then refuses to have it back.
        return None if part.text.isspace() else self._text(part)

    def _image(self, part: ImagePart) -> Block:
        if self._model.info.supports_images is False:
            _refuse(f"{self._model.id} takes no images")
        if _has_data(part) and part.media_type not in _IMAGES:
            _refuse(f"an image of type {part.media_type!r}, expected one of {', '.join(_IMAGES)}")
        return Image(_source(part))

    def _document(self, part: DocumentPart) -> Block:
        source: dict[str, Any] = _source(part)
        if _has_data(part):
            if part.media_type == "text/plain":
                text = (part.data or b"").decode("utf-8", "replace")
                source = {"type": "text", "media_type": "text/plain", "data": text}
            elif part.media_type != "application/pdf":
                _refuse(f"a document of type {part.media_type!r}, expected application/pdf or text/plain")
        return Document(source, part.title, {"enabled": True} if part.citations else None)

    def _call(self, part: ToolCallPart) -> Block:
        if not is_object(part.arguments):
            _refuse(f"the arguments of the call {part.id} are not a JSON object: {shown(part.arguments)}")
        id_ = self._calls.get(part.id)
        if id_ is None:
            id_ = self._own_id(part.id)
        return ToolUse(id_, part.name, msgspec.Raw(part.arguments))

    def _own_id(self, foreign: str) -> str:
        id_ = _FOREIGN.sub("_", foreign) or "call"
        while id_ in self._taken:
            id_ += "_"
        self._taken.add(id_)
        self._calls[foreign] = id_
        return id_

    def _result(self, part: ToolResultPart) -> Block:
        id_ = self._calls.get(part.id)
        if id_ is None:
            _refuse(f"a result for the tool call {part.id!r}, which no message before it makes")
        content = part.content
        if not isinstance(content, str):
            content = self._parts(content, _IN_RESULTS)
        return ToolResult(id_, content or None, part.is_error)

    def _reasoning(self, part: ReasoningPart) -> Block | None:
        if part.vendor != "anthropic" or not part.proof:
            return None
        return Redacted(part.proof) if part.redacted else Thinking(part.text, part.proof)

    def _opaque(self, part: OpaquePart) -> Block | None:
        if part.vendor != "anthropic":
            return self._said(TextPart(part.text)) if part.text else None
        if not is_object(part.data):
            _refuse(f"the data is not a JSON object: {shown(part.data)}")
        return msgspec.Raw(part.data)


def _has_data(part: ImagePart | DocumentPart) -> bool:
    if (part.data is None) == (part.url is None):
        _refuse("give either data with its media_type, or a url")
    return part.data is not None


def _source(part: ImagePart | DocumentPart) -> dict[str, Any]:
    if part.data is None:
        return {"type": "url", "url": part.url}
    return {"type": "base64", "media_type": part.media_type, "data": part.data}


_Writers = Mapping[type, Callable[[_History, Any], Any]]

_IN_RESULTS: _Writers = {
    TextPart: _History._text,
    ImagePart: _History._image,
    DocumentPart: _History._document,
}
_WRITERS: Mapping[str, _Writers] = {
    "user": {**_IN_RESULTS, ToolResultPart: _History._result, OpaquePart: _History._opaque},
    "assistant": {
        TextPart: _History._said,
        ToolCallPart: _History._call,
        ReasoningPart: _History._reasoning,
        OpaquePart: _History._opaque,
    },
}
