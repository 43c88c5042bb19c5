"""What the requests of all wires have in common: the walk over the history, and checks that name the place. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final, NoReturn, TypeAlias

import msgspec

from penstock.core.errors import InvalidRequestError
from penstock.core.messages import (
    MEDIA_TYPES,
    DocumentPart,
    ImagePart,
    Message,
    Options,
    Part,
    TextPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
)
from penstock.core.models import Model
from penstock.core.validation import near
from penstock.wire.event_json import is_object, shown

__all__ = [
    "EMPTY",
    "HistoryWriter",
    "Writers",
    "check_cache",
    "check_choice",
    "check_prefill",
    "check_reasoning",
    "check_sampling",
    "check_system",
    "check_tools",
    "given_bytes",
    "merged",
    "refuse",
    "to_json",
]

EMPTY: Final = "the history is empty: send at least one user message"
"Why a history of which nothing can be sent is refused."

Writers: TypeAlias = Mapping[type, Callable[[Any, Any], Any]]
"""For each kind of part a method that makes of it what is sent; None is nothing."""

_REASONING: Final = ("off", "minimal", "low", "medium", "high", "xhigh", "max")
_SAMPLING: Final = ("temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty", "seed")


def _plain(value: object) -> object:
    # A schema may be any Mapping; msgspec knows only dict.
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"Encoding objects of type {type(value).__name__} is unsupported")


to_json = msgspec.json.Encoder(enc_hook=_plain).encode


class _RefusedError(Exception):
    """Why a part cannot be sent; where it stands is added on the way out."""


def refuse(why: str) -> NoReturn:
    """Refuse the part that is being written; the error will name its place."""
    raise _RefusedError(why)


class HistoryWriter:
    """Walks over the messages of one request and checks them on the way, as each depends on those before it.

    A wire's own writer says in `writers` what becomes of each kind of part, for each role, and in `in_results` of those
    in a tool's result. foreign: what the id of a tool call may not hold; other vendors' do.
    """

    writers: ClassVar[Mapping[str, Writers]]
    in_results: ClassVar[Writers]
    foreign: ClassVar[re.Pattern[str]] = re.compile(r"[^a-zA-Z0-9_-]")

    def __init__(self, model: Model) -> None:
        self.model = model
        self._calls: dict[str, str] = {}  # ids of tool calls as they came, and as this API takes them
        self._taken: set[str] = set()
        self.place = 0
        """The number of the message that is being written."""

    def walk(self, messages: Sequence[Message]) -> Iterator[tuple[str, list[Any]]]:
        """The role of each message and what is written for its parts, which may be nothing."""
        empty = True
        for self.place, message in enumerate(messages):
            try:
                content = self._content(message)
            except _RefusedError as refused:
                raise InvalidRequestError(f"messages[{self.place}]{refused}") from None
            except (AttributeError, TypeError):
                kind = type(message).__name__
                raise InvalidRequestError(
                    f"messages[{self.place}] is a {kind} that is no Message of text or parts"
                ) from None
            if content:
                empty = False
                yield message.role, content
        if empty:
            raise InvalidRequestError(EMPTY)

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
        if not isinstance(parts, list | tuple):
            parts = list(parts)
        try:
            return [block for part in parts if (block := writers[type(part)](self, part)) is not None]
        except (_RefusedError, KeyError, TypeError, AttributeError):
            # Once more, and slowly, for the place: most histories have nothing to refuse.
            for number, part in enumerate(parts):
                self._place(number, part, writers)
            raise

    def _place(self, number: int, part: Part, writers: Writers) -> None:
        write = writers.get(type(part))
        if write is None:
            owner = next(
                (f"a message of the {role}" for role in self.writers if self.writers[role] is writers), "a tool result"
            )
            refuse(f".content[{number}]: a {type(part).__name__} has no place in {owner}")
        try:
            write(self, part)
        except (TypeError, AttributeError) as error:
            refuse(f".content[{number}]: the {type(part).__name__} holds a value of a wrong type ({error})")
        except _RefusedError as refused:
            why = str(refused)
            refuse(f".content[{number}]{why}" if why.startswith(".") else f".content[{number}]: {why}")

    def text(self, part: TextPart) -> str:
        """The user's text, which must not be empty."""
        if not part.text or part.text.isspace():
            refuse("the text is empty; leave it out")
        if not isinstance(part.text, str):
            raise TypeError("bytes would be sent as base64")
        return part.text

    def said(self, part: TextPart) -> str | None:
        """The model's text. Models do write blank text, before a tool call say, and the APIs refuse to have it back."""
        return None if part.text.isspace() else self.text(part)

    def call_id(self, part: ToolCallPart) -> str:
        """The id of a call, as this API takes it; its name and its arguments are checked."""
        for value in (part.id, part.name, part.arguments):
            if not isinstance(value, str):
                raise TypeError("id, name and arguments are text")
        if not is_object(part.arguments):
            refuse(f"the arguments of the call {part.id} are not a JSON object: {shown(part.arguments)}")
        known = self._calls.get(part.id)
        if known is not None:
            return known
        attempt = 0
        while (id_ := self.own_id(part.id, attempt)) in self._taken:
            attempt += 1
        self._taken.add(id_)
        self._calls[part.id] = id_
        return id_

    def own_id(self, foreign: str, attempt: int) -> str:
        """What this API could take for the id of a call that some vendor has made; another one at each attempt."""
        return (self.foreign.sub("_", foreign) or "call") + "_" * attempt

    def result_id(self, part: ToolResultPart) -> str:
        """The id of the call that a result belongs to, as this API takes it."""
        id_ = self._calls.get(part.id)
        if id_ is None:
            refuse(f"a result for the tool call {part.id!r}, which no message before it makes")
        return id_

    def may_have_images(self) -> None:
        """Refuse the part if the model is known to take no images."""
        if self.model.info.supports_images is False:
            refuse(f"{self.model.id} takes no images")


def given_bytes(part: ImagePart | DocumentPart) -> bool:
    """Whether a part holds data and not a URL; data must be of a type that the wires take."""
    if (part.data is None) == (part.url is None):
        refuse("give either data with its media_type, or a url")
    media_types = MEDIA_TYPES[type(part)]
    if part.data is not None and part.media_type not in media_types:
        kind = "an image" if isinstance(part, ImagePart) else "a document"
        refuse(f"{kind} of type {part.media_type!r}, expected {', '.join(media_types[:-1])} or {media_types[-1]}")
    return part.data is not None


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


def check_tools(tools: Sequence[Tool | Mapping[str, object]]) -> None:
    """A list of tools, as it is read more than once, and no two of one name."""
    given: Sequence[object] = tools
    if not isinstance(tools, Sequence):
        raise InvalidRequestError(f"option `tools` is a {type(tools).__name__}, expected a list")
    wrong = next((tool for tool in given if not isinstance(tool, Tool | Mapping)), None)
    if wrong is not None:
        raise InvalidRequestError(f"option `tools`: a {type(wrong).__name__}, expected a Tool or a mapping")
    names = _tool_names(tools)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InvalidRequestError(f"option `tools`: two tools are called {twice!r}")


def _tool_names(tools: Sequence[Tool | Mapping[str, object]]) -> list[str]:
    """The names of those that have one; on OpenAI's chat wire it stands in `function`."""
    names = []
    for tool in tools:
        if isinstance(tool, Tool):
            names.append(tool.name)
            continue
        inner = tool.get("function")
        name = (inner if isinstance(inner, Mapping) else tool).get("name")
        if isinstance(name, str):
            names.append(name)
    return names


def check_choice(options: Options, model: Model) -> None:
    """A choice needs tools, and a name among theirs; a model may refuse to be forced."""
    choice = options.tool_choice
    if choice is None and options.parallel_tool_calls is None:
        return
    if not options.tools:
        raise InvalidRequestError("option `tool_choice` or `parallel_tool_calls` is given, but there are no tools")
    if choice in (None, "auto", "none"):
        return
    names = _tool_names(options.tools)
    if choice != "required" and choice not in names:
        hint = near(choice, names) or f"; there are {', '.join(names) or 'none with a name'}"
        raise InvalidRequestError(f"option `tool_choice`: no tool is called {choice!r}{hint}")
    forced, wanted = model.info.supports_forced_tools, options.reasoning
    when = {
        False: "",
        "unless_budget": " with a budget of reasoning" if isinstance(wanted, int) else None,
        "unless_reasoning": ' while it reasons (`reasoning="off"`)' if wanted != "off" else None,
    }.get(forced if forced is not None else True)
    if when is not None:
        raise InvalidRequestError(f"option `tool_choice`: {model.id} cannot be forced to call a tool{when}; use `auto`")


def check_reasoning(options: Options) -> None:
    """An effort is one of the known words."""
    wanted = options.reasoning
    if wanted is None or (isinstance(wanted, int) and not isinstance(wanted, bool)) or wanted in _REASONING:
        return
    known = f"one of {', '.join(_REASONING)}, or a number of tokens"
    raise InvalidRequestError(f"option `reasoning`: {wanted!r}, expected {known}{near(wanted, _REASONING)}")


def check_cache(options: Options) -> None:
    """One of the three words."""
    if options.cache not in ("auto", "extended", "off"):
        raise InvalidRequestError(f"option `cache`: {options.cache!r}, expected auto, extended or off")


def check_sampling(options: Options, model: Model) -> None:
    """Sampling parameters are finite numbers, and only for models that take them."""
    for name in _SAMPLING:
        value = getattr(options, name)
        if value is None:
            continue
        if not isinstance(value, int | float) or (isinstance(value, float) and not math.isfinite(value)):
            raise InvalidRequestError(f"option `{name}`: {shown(str(value))}, expected a finite number")
        takes = model.info.supports_sampling
        if name == "seed":
            continue
        if takes is False or (takes == "unless_reasoning" and options.reasoning not in (None, "off")):
            when = "" if takes is False else " while it reasons"
            raise InvalidRequestError(f"option `{name}`: {model.id} takes no sampling parameters{when}")


def merged(body: Mapping[str, Any], extra: Mapping[str, object], last: str) -> dict[str, Any]:
    """*extra* over *body*: objects are merged, all else is replaced. The history, called *last*, stays last.

    Raises InvalidRequestError for another model: its calls would be booked at the price of this one.
    """
    nested = extra.get("extra_body")
    for name, fields in (("model", extra), ("extra_body.model", nested if isinstance(nested, Mapping) else {})):
        if "model" in fields:
            raise InvalidRequestError(f"option `extra` has `{name}`: open another provider for another model")
    return _merged(body, extra, last)


def _merged(body: Mapping[str, Any], extra: Mapping[str, object], last: str) -> dict[str, Any]:
    both = dict(body)
    for key, value in extra.items():
        old = both.get(key)
        both[key] = _merged(old, value, last) if isinstance(old, dict) and isinstance(value, Mapping) else value
    if last in both:
        both[last] = both.pop(last)
    return both
