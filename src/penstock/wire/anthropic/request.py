"""Anthropic's Messages API, the request: history and options to bytes. Pure: no I/O, no clock, no SDK.

Source: the API's documentation and the types of the anthropic SDK 2.11, read 2026-11-21.
The fields stand in a fixed order with the messages last, so that the bytes of one turn begin those of the next.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from penstock.core.arguments import kept_arguments
from penstock.core.dialect import Dialect
from penstock.core.errors import InvalidRequestError
from penstock.core.messages import (
    DocumentPart,
    ImagePart,
    Message,
    OpaquePart,
    Options,
    ReasoningPart,
    TextPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
)
from penstock.core.models import Model
from penstock.wire.anthropic.blocks import (
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
)
from penstock.wire.anthropic.cache_marks import mark_prompt
from penstock.wire.anthropic.events import CONTAINER
from penstock.wire.anthropic.options import LONGEST_NAME, option_fields
from penstock.wire.event_json import UNDECODABLE, shown
from penstock.wire.request import (
    HistoryWriter,
    as_text,
    check_prefill,
    check_system,
    given_bytes,
    merged,
    refuse,
    runs,
    system_turn,
    to_json,
)
from penstock.wire.vendors import ANTHROPIC

__all__ = ["encode", "versioned"]

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
# What a cloud calls the version that still has sampling options.
_VERSIONS = {"2023-06-01": "vertex-2023-10-16"}


def versioned(body: bytes, version: str, model: str | None = None) -> bytes:
    """A request's body with the version in it that otherwise stands in a header, and with that model or with none.

    So a cloud wants it that has the model in its path.
    """
    fields = {name: value for name, value in _fields.decode(body).items() if name != "model"}
    own: dict[str, object] = {"anthropic_version": _VERSIONS.get(version, version)}
    return msgspec.json.encode({**own, **({} if model is None else {"model": model}), **fields})


def encode(
    system_prompt: str,
    messages: Sequence[Message],
    options: Options,
    model: Model,
    dialect: Dialect = ANTHROPIC,
    account: str = "",
) -> bytes:
    """The body of the request. Raises InvalidRequestError for what the API or this model is known to refuse.

    account: whose proofs of reasoning may go back, of those that say whose they are.
    """
    body = option_fields(options, model, dialect)
    tools = [_tool(tool) for tool in options.tools]
    if tools:
        body["tools"] = tools
    system_text = check_system(system_prompt)
    system = [Text(system_text)] if system_text else []
    if system:
        body["system"] = system
    history = _History(model, dialect, options.tools, account)
    turns: list[Turn] = []
    for role, content in history.walk(messages):
        if role == "user" and (history.has_system or (len(content) > 1 and type(content[0]) is not ToolResult)):
            turns += _apart(content)
        else:
            turns.append(Turn(role, content))
    # After `pause_turn` the history ends with the server's tools' blocks and is sent as it is: not a prefill.
    if not any(isinstance(block, msgspec.Raw) for block in turns[-1].content):
        check_prefill(model, messages, turns[-1].role)
    _without_blank_end(turns[-1])
    container = _awaited_container(messages, dialect.name)
    if container is not None:
        body["container"] = container
    body["messages"] = turns
    try:
        if dialect.cache == "marks" and options.cache != "off":
            mark_prompt(
                tools,
                system,
                turns,
                options.extra,
                marked=history.marked,
                extended=options.cache == "extended",
                min_tokens=model.info.min_cache_tokens or 0,
            )
        return to_json(merged(body, options.extra, "messages"))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidRequestError(f"the request cannot be written as JSON: {error}") from error


def _apart(content: Sequence[Block | Turn]) -> Iterator[Turn]:
    """A user's message in order, and what the system says in its midst as messages of their own."""
    for is_turn, blocks in runs(content, Turn):
        if is_turn:
            yield from blocks
            continue
        if type(blocks[0]) is not ToolResult:
            # "tool_result blocks must come before other blocks"
            blocks.sort(key=lambda block: type(block) is not ToolResult)
        yield Turn("user", blocks)


def _without_blank_end(turn: Turn) -> None:
    """Without the blanks at the end of words that the model is to continue: "cannot end with trailing whitespace"."""
    last = turn.content[-1]
    if turn.role == "assistant" and type(last) is Text:
        last.text = last.text.rstrip()


def _tool(tool: Tool | Mapping[str, object]) -> ToolDefinition | dict[str, object]:
    if isinstance(tool, Tool):
        return ToolDefinition(tool.name, tool.parameters, tool.description, tool.strict)
    return dict(tool)


class _History(HistoryWriter):
    """Writes parts as blocks."""

    thoughts = (Thinking, Redacted)
    longest_name = LONGEST_NAME

    def __init__(
        self, model: Model, dialect: Dialect, tools: Sequence[Tool | Mapping[str, object]], account: str
    ) -> None:
        super().__init__(model, dialect, tools, account)
        self.has_system = False  # whether the system says something after others have spoken
        self.marked: list[str] = []  # blocks of the vendor's own form that may hold cache marks

    def write_text(self, part: TextPart) -> Block:
        return Text(self.text(part))

    def write_said(self, part: TextPart) -> Block | None:
        # Models do write blank text, before a tool call say, and the API refuses to have it back.
        return None if part.text.isspace() else Text(self.text(part))

    def write_image(self, part: ImagePart) -> Block:
        self.has_image(part)
        return Image(_source(part))

    def write_document(self, part: DocumentPart) -> Block:
        source = _source(part)
        if not self.dialect.chat_documents:
            if part.citations or not given_bytes(part) or part.media_type != "text/plain":
                refuse(f"{self.dialect.name} takes no documents; send its text")
            return Text(as_text(part))
        if given_bytes(part) and part.media_type == "text/plain":
            text = (part.data or b"").decode("utf-8", "replace")
            source = {"type": "text", "media_type": "text/plain", "data": text}
        return Document(source, part.title, {"enabled": True} if part.citations else None)

    def write_call(self, part: ToolCallPart) -> Block:
        block = ToolUse(self.call_id(part), self.call_name(part), msgspec.Raw(kept_arguments(part.arguments)))
        if part.extra and part.vendor == self.dialect.name:
            block.caller, block.toolset_name = _beside(part)
        return block

    def write_result(self, part: ToolResultPart) -> Block:
        id_ = self.result_id(part)
        content = part.content
        if not isinstance(content, str):
            content = self.parts(content, self.in_results)
        return ToolResult(id_, content or None, part.is_error)

    def write_reasoning(self, part: ReasoningPart) -> Block | None:
        if not self.is_own(part):
            return None
        if part.proof:
            return Redacted(part.proof) if part.redacted else Thinking(part.text, part.proof)
        # Anthropic signs all; who does not may want it back all the same.
        wanted = self.dialect.reasoning_echo == "thinking" or part.account
        return Thinking(part.text, "") if part.text and wanted else None

    def write_shown(self, part: OpaquePart) -> Block | Turn | None:
        """What a user shows, or the system says after others have spoken."""
        system = system_turn(part) if part.vendor == self.dialect.name else None
        if system:
            self.has_system = True
            return Turn("system", [Text(system)] if isinstance(system, str) else list(system))
        block = self.write_opaque(part)
        if isinstance(block, msgspec.Raw):
            self.answered_by(part)
        return block

    def write_opaque(self, part: OpaquePart) -> Block | None:
        if part.vendor != self.dialect.name:
            return self.write_said(TextPart(part.text)) if part.text else None
        data = self.own_block(part)
        if _container_in(part):
            return None
        if "cache_control" in data:
            self.marked.append(data)
        return msgspec.Raw(data)


class _Container(msgspec.Struct):
    type: str | None = None
    id: str | None = None


class _Beside(msgspec.Struct):
    caller: msgspec.Raw = msgspec.Raw()
    toolset_name: msgspec.Raw = msgspec.Raw()


_container = msgspec.json.Decoder(_Container)
_extra = msgspec.json.Decoder(_Beside)


def _beside(part: ToolCallPart) -> tuple[msgspec.Raw | None, msgspec.Raw | None]:
    try:
        found = _extra.decode(part.extra)
    except UNDECODABLE:
        refuse(f"the `extra` of the call {part.id} is not a JSON object: {shown(part.extra)}")
    return found.caller or None, found.toolset_name or None


def _container_in(part: OpaquePart) -> str | None:
    """The id of the container, if that is what the part holds."""
    try:
        found = _container.decode(part.data) if CONTAINER in part.data[-200:] else _Container()
    except UNDECODABLE:
        return None
    return found.id if found.type == CONTAINER else None


def _awaited_container(messages: Sequence[Message], vendor: str) -> str | None:
    """The container in which a program of the vendor's waits for the client, or for the turn to go on.

    Any other is not named again by itself: after some minutes the vendor forgets it, and then refuses to hear of it.
    """
    place = next((place for place in range(len(messages) - 1, -1, -1) if messages[place].role == "assistant"), None)
    parts = [] if place is None or isinstance(messages[place].content, str) else list(messages[place].content)
    calls = [part for part in parts if isinstance(part, ToolCallPart) and part.extra and part.vendor == vendor]
    if place != len(messages) - 1 and all(_beside(call)[0] is None for call in calls):
        return None
    held = (_container_in(part) for part in parts if isinstance(part, OpaquePart) and part.vendor == vendor)
    return next((id_ for id_ in held if id_ is not None), None)


def _source(part: ImagePart | DocumentPart) -> dict[str, Any]:
    if part.data is None:
        return {"type": "url", "url": part.url}
    return {"type": "base64", "media_type": part.media_type, "data": part.data}
