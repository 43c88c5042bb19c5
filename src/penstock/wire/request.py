"""What the requests of all wires have in common: the walk over the history, and checks that name the place. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import length_hint
from typing import Any, ClassVar, Final, NoReturn, TypeAlias

import msgspec

from penstock.core.arguments import UNDECODABLE, is_object
from penstock.core.dialect import Dialect
from penstock.core.errors import InvalidRequestError
from penstock.core.messages import (
    MEDIA_TYPES,
    DocumentPart,
    ImagePart,
    Message,
    OpaquePart,
    Part,
    ReasoningPart,
    TextPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
    laid_over,
)
from penstock.core.models import Model
from penstock.core.tool_definition import LONGEST_TOOL_NAME, own_tool_name
from penstock.wire.call_ids import CallIds
from penstock.wire.checks import tool_names
from penstock.wire.event_json import shown

__all__ = [
    "EMPTY",
    "HistoryWriter",
    "Writers",
    "as_text",
    "check_prefill",
    "check_system",
    "given_bytes",
    "merged",
    "refuse",
    "runs",
    "set_field",
    "system_turn",
    "to_json",
]

EMPTY: Final = "the history is empty: send at least one user message"
"Why a history of which nothing can be sent is refused."

Writers: TypeAlias = Mapping[type, Callable[[Any, Any], Any]]
"""For each kind of part the method that makes of it what is sent; None is nothing."""

# The methods of a wire's own writer, by the role and the part that they write; the first are those of a tool's result.
_IN_RESULTS: Final[Mapping[type, str]] = {
    TextPart: "write_text",
    ImagePart: "write_image",
    DocumentPart: "write_document",
}
_WRITERS: Final[Mapping[str, Mapping[type, str]]] = {
    "user": {**_IN_RESULTS, ToolResultPart: "write_result", OpaquePart: "write_shown"},
    "assistant": {
        TextPart: "write_said",
        ToolCallPart: "write_call",
        ReasoningPart: "write_reasoning",
        OpaquePart: "write_opaque",
    },
}


def _plain(value: object) -> object:
    # A schema may be any Mapping; msgspec knows only dict.
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"Encoding objects of type {type(value).__name__} is unsupported")


to_json = msgspec.json.Encoder(enc_hook=_plain).encode


class _Answer(msgspec.Struct):
    """The fields that say which call a block or an item of a vendor's own answers."""

    tool_use_id: str | None = None
    call_id: str | None = None


_answer: Final = msgspec.json.Decoder(_Answer)


class _Turn(msgspec.Struct):
    role: str | None = None
    content: str | list[msgspec.Raw] | None = None


_turn: Final = msgspec.json.Decoder(_Turn)


def system_turn(part: OpaquePart) -> str | list[msgspec.Raw] | None:
    """What a message of the system's within the history says; None if the part is none."""
    try:
        turn = _turn.decode(part.data)
    except UNDECODABLE:
        return None
    return turn.content if turn.role == "system" else None


def runs(pieces: Sequence[Any], kind: type) -> list[tuple[bool, list[Any]]]:
    """The pieces in order, in runs: those of *kind*, and all others."""
    return [(is_kind, list(run)) for is_kind, run in groupby(pieces, lambda piece: type(piece) is kind)]


class _RefusedError(Exception):
    """Why a part cannot be sent; where it stands is added on the way out."""


def refuse(why: str) -> NoReturn:
    """Refuse the part that is being written; the error will name its place."""
    raise _RefusedError(why)


class HistoryWriter:
    """Walks over the messages of one request and checks them on the way, as each depends on those before it.

    A wire's own writer has the methods that write each kind of part. foreign: what the id of a tool call may not hold;
    other vendors' do. thoughts: what reasoning is written as, where the API refuses it with nothing after it.
    longest_name: characters of a tool's name.
    """

    foreign: ClassVar[re.Pattern[str]] = re.compile(r"[^a-zA-Z0-9_-]")
    thoughts: ClassVar[tuple[type, ...]] = ()
    longest_name: ClassVar[int] = LONGEST_TOOL_NAME
    # Of the class: with methods of its own in it each writer would wait for the garbage collector, with all ids.
    writers: ClassVar[Mapping[str, Writers]]
    in_results: ClassVar[Writers]

    def __init_subclass__(cls) -> None:
        """Look the methods up once for all requests."""
        super().__init_subclass__()
        cls.writers = {
            role: {kind: getattr(cls, name) for kind, name in names.items() if hasattr(cls, name)}
            for role, names in _WRITERS.items()
        }
        cls.in_results = {kind: write for kind, write in cls.writers["user"].items() if kind in _IN_RESULTS}

    def __init__(
        self, model: Model, dialect: Dialect, tools: Sequence[Tool | Mapping[str, object]] = (), account: str = ""
    ) -> None:
        """account: whose proofs of reasoning may go back, of those that say whose they are."""
        self.model = model
        self.dialect = dialect
        self._account = account
        self._calls = CallIds()
        self._tools = tools
        self._names: dict[str, str] = {}  # of tools, as they came and as this API takes them
        self.place = 0
        """The number of the message that is being written."""

    def walk(self, messages: Sequence[Message]) -> Iterator[tuple[str, list[Any]]]:
        """The role of each message that anything is written of, and what is.

        An answer may end in its reasoning, as one that was cut off. What nothing follows is left out.
        """
        empty = True
        last_role = ""
        waiting, thoughts = self._calls.waiting, self.thoughts
        held: list[list[Any]] = []  # the assistant's last messages, if they end in reasoning
        for self.place, message in enumerate(messages):
            try:
                role = message.role
                if waiting and role == "assistant" and last_role == "user":
                    self._check_answered()
                content = self._content(message)
            except _RefusedError as error:
                raise InvalidRequestError(f"messages[{self.place}]{error}") from None
            except (AttributeError, TypeError):
                raise InvalidRequestError(f"messages[{self.place}] {_no_message(message)}") from None
            last_role = role
            if not content:
                continue
            if thoughts and role == "assistant" and type(content[-1]) in thoughts:
                held.append(content)
                continue
            if held:
                for earlier in held if role == "assistant" else self._without_end(held):
                    yield "assistant", earlier
                held = []
            empty = False
            yield role, content
        self._check_answered()
        for earlier in self._without_end(held):
            empty = False
            yield "assistant", earlier
        if empty:
            raise InvalidRequestError(EMPTY)

    def _without_end(self, contents: Sequence[list[Any]]) -> list[list[Any]]:
        """What messages in a row hold, without the reasoning at their end."""
        kept = list(contents)
        while kept:
            last = list(kept.pop())
            while last and type(last[-1]) in self.thoughts:
                last.pop()
            if last:
                return [*kept, last]
        return []

    def _check_answered(self) -> None:
        for id_, waiting in self._calls.waiting.items():
            raise InvalidRequestError(
                f"messages[{waiting[0][1]}]: the tool call {id_!r} has no result in the message after it; run_tools "
                "runs it, and repair(messages) gives it a result that says that it has none"
            )

    def _content(self, message: Message) -> list[Any]:
        writers = self.writers.get(message.role)
        if writers is None:
            refuse(f": the role is {message.role!r}, expected user or assistant")
        content = message.content
        if isinstance(content, str):
            if content and not content.isspace():
                return [writers[TextPart](self, TextPart(content))]
            if content and message.role == "assistant":
                return []
            refuse(": the text is empty; leave it out")
        if not content:
            refuse(" is empty: leave it out")
        return self.parts(content, writers)

    def parts(self, parts: Sequence[Part], writers: Writers) -> list[Any]:
        """What is written for *parts*."""
        if type(parts) is not list:
            parts = list(parts)
        rest = iter(parts)
        try:
            return [block for part in rest if (block := writers[type(part)](self, part)) is not None]
        except (_RefusedError, KeyError, TypeError, AttributeError) as error:
            number = len(parts) - length_hint(rest) - 1
            self._refuse_part(number, parts[number], writers, error)

    def _refuse_part(self, number: int, part: object, writers: Writers, error: Exception) -> NoReturn:
        if type(part) not in writers:
            owner = next(
                (f"a message of the {role}" for role in self.writers if self.writers[role] is writers), "a tool result"
            )
            hint = "" if isinstance(part, Part) else ": write TextPart(...), or another part"
            refuse(f".content[{number}]: a {type(part).__name__} has no place in {owner}{hint}")
        why = str(error)
        if not isinstance(error, _RefusedError):
            refuse(f".content[{number}]: the {type(part).__name__} holds a value of a wrong type ({why})")
        refuse(f".content[{number}]{why}" if why.startswith(".") else f".content[{number}]: {why}")

    def text(self, part: TextPart) -> str:
        """The user's text, which must not be empty."""
        text = part.text
        if not text or text.isspace():
            refuse("the text is empty; leave it out")
        if not isinstance(text, str):
            raise TypeError("bytes would be sent as base64")
        return text

    def call_id(self, part: ToolCallPart) -> str:
        """The id of a call, as this API takes it; the types of its fields are checked."""
        for value in (part.id, part.name, part.arguments):
            if not isinstance(value, str):
                raise TypeError("id, name and arguments are text")
        return self._calls.call(part.id, self.place, self.own_id)

    def call_name(self, part: ToolCallPart) -> str:
        """The name of the tool that a call is for, as this API takes it; other vendors take more."""
        name = self._names.get(part.name)
        if name is None:
            name = own_tool_name(part.name, self.longest_name)
            if name != part.name and part.name in tool_names(self._tools):
                name = part.name
            self._names[part.name] = name
        return name

    def own_id(self, foreign: str, attempt: int) -> str:
        """What this API could take for the id of a call that some vendor has made; another one at each attempt."""
        if not attempt and type(foreign) is str and foreign.isidentifier() and foreign.isascii():
            return foreign  # as nearly all are; of a subclass, which is no JSON, `sub` makes a plain one
        id_ = self.foreign.sub("_", foreign) or "call"
        return f"{id_}_{attempt + 1}" if attempt else id_

    def result_id(self, part: ToolResultPart) -> str:
        """The id of the call that a result belongs to, as this API takes it."""
        id_ = self._calls.result(part.id)
        if id_ is None:
            known = self._calls.has(part.id)
            refuse(
                f"a second result for the tool call {part.id!r}"
                if known
                else f"a result for the tool call {part.id!r}, which no message before it makes"
            )
        return id_

    def answered_by(self, part: OpaquePart) -> None:
        """Take note of a block of the vendor's own that is the result of a call, as what its own tools gave."""
        if self._calls.waiting:
            answer = _answer.decode(part.data)
            self._calls.result(answer.tool_use_id or answer.call_id or "")

    def has_image(self, part: ImagePart) -> bool:
        """Whether a part holds the image and not its URL. Refuses what model and server are known not to take."""
        if self.model.info.supports_images is False:
            refuse(f"{self.model.id} takes no images")
        given = given_bytes(part)
        if not given and not self.dialect.image_urls:
            refuse(f"{self.dialect.name} fetches no images: give its data")
        return given

    def is_own(self, part: ReasoningPart) -> bool:
        """Whether the reasoning is this server's, and this account's where no other can read it."""
        return part.vendor == self.dialect.name and part.account in ("", self._account)

    def own_block(self, part: OpaquePart) -> str:
        """The block's JSON text, of this vendor's own."""
        if not is_object(part.data):
            refuse(f"the data is not a JSON object: {shown(part.data)}")
        return part.data


def _no_message(message: object) -> str:
    if isinstance(message, Message):
        return "is a Message that is no Message of text or parts"
    kind = type(message).__name__
    write = "append `reply.message`" if kind == "Reply" else "write Message('user', ...)"
    return f"is a {kind}, expected a Message: {write}"


def given_bytes(part: ImagePart | DocumentPart) -> bool:
    """Whether a part holds data and not a URL; data must be of a type that the wires take."""
    if (part.data is None) == (part.url is None):
        refuse("give either data with its media_type, or a url")
    media_types = MEDIA_TYPES[type(part)]
    if part.data is not None and part.media_type not in media_types:
        kind = "an image" if isinstance(part, ImagePart) else "a document"
        refuse(f"{kind} of type {part.media_type!r}, expected {', '.join(media_types[:-1])} or {media_types[-1]}")
    return part.data is not None


def as_text(part: DocumentPart) -> str:
    """A document of plain text, with its title over it."""
    text = (part.data or b"").decode("utf-8", "replace")
    return f"{part.title}\n\n{text}" if part.title else text


def check_system(system_prompt: str) -> str:
    """The system prompt, empty for none."""
    if not isinstance(system_prompt, str):
        raise InvalidRequestError(f"the system prompt is a {type(system_prompt).__name__}, expected text")
    return "" if system_prompt.isspace() else system_prompt


def check_prefill(model: Model, messages: Sequence[Message], last_role: str) -> None:
    """Refuse a history that ends with the assistant where the model takes none."""
    if last_role == "assistant" and model.info.supports_prefill is False:
        place = len(messages) - 1
        raise InvalidRequestError(f"messages[{place}]: {model.id} takes no history that ends with the assistant")


def set_field(fields: dict[str, Any], path: str, value: object) -> None:
    """Set a field of the body; in the path are dots between objects."""
    *outer, last = path.split(".")
    for name in outer:
        fields = fields.setdefault(name, {})
    fields[last] = value


def merged(body: Mapping[str, Any], extra: Mapping[str, object], last: str) -> dict[str, Any]:
    """*extra* over *body*: objects are merged, all else is replaced. The history, called *last*, stays last.

    Raises InvalidRequestError for another model: its calls would be booked at the price of this one.
    """
    nested = extra.get("extra_body")
    for name, fields in (("model", extra), ("extra_body.model", nested if isinstance(nested, Mapping) else {})):
        if "model" in fields:
            raise InvalidRequestError(f"option `extra` has `{name}`: open another provider for another model")
    return laid_over(body, extra, last)
