"""Chat Completions, the request: history and options to bytes. Pure: no I/O, no clock, no SDK.

The messages stand last in the body, so that the bytes of one turn begin those of the next.
Sources: https://platform.openai.com/docs/api-reference/chat and the types of the openai SDK 3.54, read 2026-11-21.
"""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

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
from penstock.wire.event_json import UNDECODABLE, shown, type_of
from penstock.wire.openai.options import option_fields
from penstock.wire.request import (
    EMPTY,
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

__all__ = ["OpenAIHistory", "data_url", "encode", "is_reasoning_item"]

_raws = msgspec.json.Decoder(list[msgspec.Raw])
_LONGEST_ID: Final = 40  # characters of an id of ours, where any would do


class _Text(msgspec.Struct, gc=False, tag_field="type", tag="text"):
    text: str


class _Image(msgspec.Struct, gc=False, tag_field="type", tag="image_url"):
    image_url: dict[str, str]


class _File(msgspec.Struct, gc=False, tag_field="type", tag="file"):
    file: dict[str, str]


class _Function(msgspec.Struct, gc=False):
    name: str
    arguments: str


class _Custom(msgspec.Struct, gc=False):
    name: str
    input: str


class _Call(msgspec.Struct, gc=False, omit_defaults=True):
    type: str
    id: str
    function: _Function | None = None
    custom: _Custom | None = None
    extra_content: msgspec.Raw | None = None


class _System(msgspec.Struct, gc=False, tag_field="role", tag="system"):
    content: str


class _User(msgspec.Struct, gc=False, tag_field="role", tag="user"):
    content: str | list[Any]


class _Assistant(msgspec.Struct, gc=False, omit_defaults=True, tag_field="role", tag="assistant"):
    content: str | None
    tool_calls: list[_Call] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[msgspec.Raw] | None = None
    extra_content: msgspec.Raw | None = None


class _Result(msgspec.Struct, gc=False, tag_field="role", tag="tool"):
    tool_call_id: str
    content: str


class _FreeText(msgspec.Struct, forbid_unknown_fields=True):
    input: str


_free = msgspec.json.Decoder(_FreeText)


class _Thought(msgspec.Struct, gc=False):
    """Reasoning that goes back, until it is known where to."""

    text: str
    proof: str


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
    body = option_fields(options, model, dialect, "chat")
    system = check_system(system_prompt)
    history = _History(model, dialect, options.tools, account)
    turns: list[Any] = []
    for role, parts in history.walk(messages):
        if role == "assistant":
            history.say(parts, turns)
        else:
            history.ask(parts, turns)
            history.check_order(turns)
    if not turns:
        raise InvalidRequestError(EMPTY)
    check_prefill(model, messages, "assistant" if type(turns[-1]) is _Assistant else "user")
    body["messages"] = [_System(system), *turns] if system else turns
    try:
        return to_json(merged(body, options.extra, "messages"))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidRequestError(f"the request cannot be written as JSON: {error}") from error


class OpenAIHistory(HistoryWriter):
    """What both of OpenAI's wires write alike. longest_id: characters of a call's id, None if the row says it."""

    longest_id: ClassVar[int | None] = None

    def own_id(self, foreign: str, attempt: int) -> str:
        """The id as it came if the vendor can take it, else one made of it, and always one of a legal length."""
        length, longest = self.dialect.call_id_length, self.dialect.longest_call_id
        if length is not None:
            legal = attempt == 0 and len(foreign) == length and foreign.isascii() and foreign.isalnum()
            return foreign if legal else _digest(foreign, attempt)[:length]
        if longest is None and attempt == 0 and foreign and foreign.isprintable():
            return foreign
        id_, longest = super().own_id(foreign, attempt), self.longest_id or longest or _LONGEST_ID
        return id_ if len(id_) <= longest else f"call_{_digest(foreign, attempt)}"[:longest]

    def image_url(self, part: ImagePart) -> str:
        """The image as a URL, which may hold it."""
        return data_url(part) if self.has_image(part) else part.url or ""


def _user(said: list[Any]) -> _User:
    return _User(said[0].text if len(said) == 1 and type(said[0]) is _Text else said)


def _digest(foreign: str, attempt: int) -> str:
    from hashlib import sha256  # for ids from elsewhere only

    return sha256(f"{foreign}{attempt or ''}".encode("utf-8", "surrogatepass")).hexdigest()


def data_url(part: ImagePart | DocumentPart) -> str:
    """The part's data as a URL."""
    return f"data:{part.media_type};base64,{b2a_base64(part.data or b'', newline=False).decode()}"


def is_reasoning_item(proof: str) -> bool:
    """Whether a proof is the Responses API's."""
    return type_of(proof) == "reasoning"


def _free_text(arguments: str) -> str | None:
    """What a custom tool was given; None for arguments that are no custom tool's."""
    try:
        return _free.decode(arguments).input
    except UNDECODABLE:
        return None


class _History(OpenAIHistory):
    """Writes parts as the pieces of messages, and pieces as messages."""

    def __init__(
        self, model: Model, dialect: Dialect, tools: Sequence[Tool | Mapping[str, object]] = (), account: str = ""
    ) -> None:
        super().__init__(model, dialect, tools, account)
        self._images: list[Any] = []  # of results, which take only text
        self._has_system = False  # whether the system says something after others have spoken

    def ask(self, parts: Sequence[Any], turns: list[Any]) -> None:
        """Add what a user's message is: results first, each a message; then what is said, and the system between."""
        said = self._images
        for part in parts:
            (turns if type(part) is _Result else said).append(part)
        if not said:
            return
        self._images = []
        if not self._has_system:
            turns.append(_user(said))
            return
        for is_system, pieces in runs(said, _System):
            turns += pieces if is_system else (_user(pieces),)

    def say(self, parts: Sequence[Any], turns: list[Any]) -> None:
        """Add the model's message; none if nothing of it can be sent."""
        text = ""
        calls, thoughts = [], []
        for part in parts:
            kind = type(part)
            if kind is _Text:
                text += part.text
            elif kind is _Call:
                calls.append(part)
            else:
                thoughts.append(part)
        has_text = bool(text) and not text.isspace()
        if not has_text and not calls:
            return
        turn = _Assistant(text if has_text else None, calls or None)
        turns.append(turn)
        echo = self.dialect.reasoning_echo
        if echo == "reasoning_details":
            turn.reasoning_details = [raw for thought in thoughts for raw in _raws.decode(thought.proof)] or None
        elif echo == "extra_content":
            self._place_extras(turn, parts)
        elif echo is not None and calls:
            thought_text = "".join(thought.text for thought in thoughts)
            if thought_text or echo == "reasoning_content":
                setattr(turn, echo, thought_text)

    def _place_extras(self, turn: _Assistant, parts: Sequence[Any]) -> None:
        """What stood on a call stands before it in the history; after the last call it was the message's."""
        extra = None
        for part in parts:
            if type(part) is _Thought:
                extra = msgspec.Raw(part.proof)
            elif type(part) is _Call and extra is not None:
                part.extra_content, extra = extra, None
        turn.extra_content = extra
        calls = turn.tool_calls or []
        if self.dialect.foreign_extra is not None and calls and all(call.extra_content is None for call in calls):
            calls[0].extra_content = msgspec.Raw(msgspec.json.encode(self.dialect.foreign_extra))

    def check_order(self, turns: Sequence[Any]) -> None:
        """Some vendors take no user's message after a tool's result."""
        if self.dialect.user_after_tool or len(turns) < 2:
            return
        if type(turns[-1]) is _User and type(turns[-2]) is _Result:
            raise InvalidRequestError(
                f"messages[{self.place}]: {self.dialect.name} takes neither text nor images after a tool's results: "
                "wait for the model's answer"
            )

    def write_text(self, part: TextPart) -> _Text:
        return _Text(self.text(part))

    def write_said(self, part: TextPart) -> _Text:
        # Blank text may be the beginning of a message that goes on after reasoning: it is one text in the end.
        return _Text(part.text if part.text.isspace() else self.text(part))

    def write_image(self, part: ImagePart) -> _Image:
        return _Image({"url": self.image_url(part)})

    def write_document(self, part: DocumentPart) -> _Text | _File:
        if part.citations:
            refuse("no citations on this API; they work with Anthropic")
        has_data = given_bytes(part)
        if has_data and part.media_type == "text/plain":
            return _Text(as_text(part))
        if not self.dialect.chat_documents:
            refuse(f"{self.dialect.name} takes no documents on the chat wire; send its text")
        if not has_data:
            other = 'with wire="responses" or ' if "responses" in self.dialect.wires else ""
            refuse(f"no documents by URL on the chat wire; they work {other}as data")
        return _File({"filename": part.title or "document.pdf", "file_data": data_url(part)})

    def write_call(self, part: ToolCallPart) -> _Call:
        id_, arguments = self.call_id(part), kept_arguments(part.arguments)
        if part.extra and part.vendor == self.dialect.name and type_of(part.extra) == "custom_tool_call":
            given = _free_text(arguments)
            if given is not None:
                return _Call("custom", id_, custom=_Custom(self.call_name(part), given))
        return _Call("function", id_, _Function(self.call_name(part), arguments))

    def write_result(self, part: ToolResultPart) -> _Result:
        id_ = self.result_id(part)
        content = part.content
        if not isinstance(content, str):
            written = self.parts(content, self.in_results)
            content = "\n".join(piece.text for piece in written if type(piece) is _Text)
            images = [piece for piece in written if type(piece) is not _Text]
            if images:
                self._images += [_Text(f"What the tool call {id_} gave, beside its text:"), *images]
        # The API knows no failed result, so its text has to say it.
        return _Result(id_, f"Error: {content}" if part.is_error else content)

    def write_reasoning(self, part: ReasoningPart) -> _Thought | None:
        if not self.is_own(part):
            return None
        echo, proof = self.dialect.reasoning_echo, part.proof or ""
        if echo in ("reasoning_content", "reasoning"):
            return None if proof else _Thought(part.text, "")  # what has a proof is of the other wire
        wanted = {"reasoning_details": "[", "extra_content": "{"}.get(echo or "", "none")
        if not proof.startswith(wanted) or is_reasoning_item(proof):
            return None  # of the other wire
        try:
            _raws.decode(proof if wanted == "[" else f"[{proof}]")
        except UNDECODABLE:
            refuse(f"the proof is no JSON: {shown(proof)}")
        return _Thought(part.text, proof)

    def write_opaque(self, part: OpaquePart) -> _Text | None:
        return _Text(self.text(TextPart(part.text))) if part.text and not part.text.isspace() else None

    def write_shown(self, part: OpaquePart) -> _Text | _System | msgspec.Raw | None:
        """What a user shows, or the system says after others have spoken."""
        if part.vendor == self.dialect.name:
            if type_of(part.data) in CHAT_PARTS:
                return msgspec.Raw(self.own_block(part))
            if isinstance(system := system_turn(part), str) and system:
                self._has_system = True
                return _System(system)
        return self.write_opaque(part)
