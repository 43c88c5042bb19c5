"""OpenAI's Responses API, the request: history and options to bytes. Pure: no I/O, no clock, no SDK.

The input stands last in the body, so that the bytes of one turn begin those of the next. Nothing is kept at the vendor:
the reasoning goes back in its encrypted form, in its place.
Sources: https://platform.openai.com/docs/api-reference/responses and the types of the openai SDK 3.54, read 2026-11-21;
that items may come back without their ids, from recorded requests that were accepted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from penstock.core.arguments import kept_arguments
from penstock.core.dialect import Dialect
from penstock.core.errors import InvalidRequestError
from penstock.core.messages import (
    CHAT_PARTS,
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
from penstock.wire.event_json import is_object, shown, type_of
from penstock.wire.openai.chat_request import OpenAIHistory, data_url, is_reasoning_item
from penstock.wire.openai.client_results import OwnCall
from penstock.wire.openai.kept import BLOCKS
from penstock.wire.openai.options import option_fields
from penstock.wire.request import as_text, check_prefill, check_system, given_bytes, merged, refuse, to_json

__all__ = ["encode"]


class _Text(msgspec.Struct, gc=False, tag_field="type", tag="input_text"):
    text: str


class _Image(msgspec.Struct, gc=False, tag_field="type", tag="input_image"):
    image_url: str
    detail: str = "auto"


class _File(msgspec.Struct, gc=False, omit_defaults=True, tag_field="type", tag="input_file"):
    filename: str | None = None
    file_data: str | None = None
    file_url: str | None = None


class _User(msgspec.Struct, gc=False, tag_field="role", tag="user"):
    content: str | list[Any]


class _Assistant(msgspec.Struct, gc=False, tag_field="role", tag="assistant"):
    content: str
    type: str = "message"  # llama.cpp wants it said


class _Call(msgspec.Struct, gc=False, tag_field="type", tag="function_call"):
    call_id: str
    name: str
    arguments: str


class _Result(msgspec.Struct, gc=False, tag_field="type", tag="function_call_output"):
    call_id: str
    output: str | list[Any]


class _Thought(msgspec.Struct, gc=False):
    """An item of reasoning, which is refused with nothing after it."""

    item: msgspec.Raw


_OTHERS = BLOCKS | CHAT_PARTS  # of the other wire
_SAID = (_Text, _Image, _File)


def encode(
    system_prompt: str,
    messages: Sequence[Message],
    options: Options,
    model: Model,
    dialect: Dialect,
    account: str = "",
) -> bytes:
    """The body of the request. Raises InvalidRequestError for what the API, vendor or model is known to refuse.

    account: whose proofs of reasoning may go back, of those that say whose they are.
    """
    body = option_fields(options, model, dialect, "responses")
    system = check_system(system_prompt)
    if system:
        body["instructions"] = system
    items: list[Any] = []
    role = ""
    for role, parts in _History(model, dialect, options.tools, account).walk(messages):
        if role == "user":
            _ask(parts, items)
        else:
            items.extend(part.item if type(part) is _Thought else part for part in parts)
    if not isinstance(items[-1], msgspec.Raw):
        check_prefill(model, messages, role)
    body["input"] = items
    try:
        return to_json(merged(body, options.extra, "input"))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidRequestError(f"the request cannot be written as JSON: {error}") from error


def _ask(parts: Sequence[Any], items: list[Any]) -> None:
    """Add a user's items: what stands together in a message, in order with the rest. A text alone is its content."""
    message: _User | None = None
    for part in parts:
        if type(part) not in _SAID:
            items.append(part)
            message = None
        elif message is None:
            message = _User(part.text if type(part) is _Text else [part])
            items.append(message)
        elif isinstance(message.content, str):
            message.content = [_Text(message.content), part]
        else:
            message.content.append(part)


class _History(OpenAIHistory):
    """Writes parts as items, and a user's words and images as parts of one."""

    longest_id = 64
    thoughts = (_Thought,)

    def __init__(
        self, model: Model, dialect: Dialect, tools: Sequence[Tool | Mapping[str, object]], account: str
    ) -> None:
        super().__init__(model, dialect, tools, account)
        self._own: dict[str, OwnCall] = {}  # the calls in the vendor's own form, by the id that is sent

    def write_text(self, part: TextPart) -> _Text:
        return _Text(self.text(part))

    def write_said(self, part: TextPart) -> _Assistant | None:
        # Models do write blank text, before a tool call say, and the API refuses to have it back.
        return None if part.text.isspace() else _Assistant(self.text(part))

    def write_image(self, part: ImagePart) -> _Image:
        return _Image(self.image_url(part))

    def write_document(self, part: DocumentPart) -> _Text | _File:
        if part.citations:
            refuse("no citations on this API; they work with Anthropic")
        if not given_bytes(part):
            return _File(file_url=part.url)
        if part.media_type == "text/plain":
            return _Text(as_text(part))
        return _File(part.title or "document.pdf", data_url(part))

    def write_call(self, part: ToolCallPart) -> _Call | dict[str, Any]:
        id_, arguments = self.call_id(part), kept_arguments(part.arguments)
        if not part.extra or part.vendor != self.dialect.name:
            return _Call(id_, self.call_name(part), arguments)
        own = self._own[id_] = OwnCall(part, arguments, id_)
        return own.item()

    def write_result(self, part: ToolResultPart) -> _Result | dict[str, Any]:
        id_ = self.result_id(part)
        content: Any = part.content
        if not isinstance(content, str):
            content = self.parts(content, self.in_results)
            if part.is_error:
                content = [_Text("Error:"), *content]
        elif part.is_error:
            content = f"Error: {content}"  # the API knows no failed result, so its text has to say it
        own = self._own.get(id_)
        return _Result(id_, content) if own is None else own.result(part, content, self.image_url)

    def write_reasoning(self, part: ReasoningPart) -> _Thought | None:
        if not part.proof or not self.is_own(part):
            return None
        if is_reasoning_item(part.proof):
            return _Thought(msgspec.Raw(part.proof))
        if part.proof.startswith("{") and not is_object(part.proof):
            refuse(f"the proof is no JSON: {shown(part.proof)}")
        return None  # it is of the other wire

    def write_shown(self, part: OpaquePart) -> msgspec.Raw | _Text | None:
        """What a user shows."""
        said = self.write_opaque(part)
        if isinstance(said, msgspec.Raw):
            self.answered_by(part)
        return _Text(said.content) if isinstance(said, _Assistant) else said

    def write_opaque(self, part: OpaquePart) -> msgspec.Raw | _Assistant | None:
        if part.vendor != self.dialect.name or type_of(part.data) in _OTHERS:
            return self.write_said(TextPart(part.text)) if part.text else None
        return msgspec.Raw(self.own_block(part))
