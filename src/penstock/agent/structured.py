"""Structured answers: a value of a Python type, in whichever of three ways the provider can give it.

A vendor's own schema mode is asked for first; where the provider refuses that before it is sent, a tool that must be
called; where it refuses that too, plain JSON, in the prompt. What does not fit goes back to the model with the reason.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from decimal import Decimal
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar, get_args, overload

import msgspec

from penstock.agent.collect import Collector, Reply, history_of
from penstock.agent.schema.answer_type import AnswerType, MisfitError, objects_in
from penstock.agent.schema.tool_schema import check_definition
from penstock.core.chunks import Chunk, StopChunk, TextChunk, ToolCallDeltaChunk, UsageChunk
from penstock.core.closing import Stream
from penstock.core.errors import ConfigError, InvalidRequestError, ProviderError, StructuredOutputError
from penstock.core.messages import Message, Options, Part, Tool, ToolResultPart
from penstock.core.provider import BaseProvider, check_provider

__all__ = ["Answer", "Mode", "Partial", "generate_object", "stream_object"]

T = TypeVar("T")

Mode: TypeAlias = Literal["schema", "tool", "text"]
"""`schema`: the vendor's own way; `tool`: a tool that must be called; `text`: JSON that the prompt asks for."""

_MODES: Final[tuple[Mode, ...]] = get_args(Mode)
_NAMED: Final = {"schema": "option `response_schema`", "tool": "option `tool_choice`"}
_MOST_PAUSES: Final = 50  # as many as run_tools takes turns
_ASKED: Final = (
    "Answer with one JSON object and nothing else, neither prose nor a code fence. It must fit this JSON Schema:"
)
_HINTS: Final = {
    "length": "Raise max_tokens, or ask for less: the answer was cut off.",
    "refusal": "The model declines; ask in another way, or ask another model.",
}


class Answer(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A value of the type that was asked for.

    usage: of all attempts. replies: one for each call of the model, the last one being the answer.
    mode: the way in which it was asked for.
    """

    value: T
    usage: UsageChunk
    replies: tuple[Reply, ...]
    mode: Mode

    @property
    def cost(self) -> Decimal | None:
        """US dollars for all attempts, exact; None when a price is not known."""
        return self.usage.cost

    @property
    def attempts(self) -> int:
        """How often the model was called."""
        return len(self.replies)


class Partial(msgspec.Struct, frozen=True, kw_only=True):
    """What there is of the answer, as plain JSON values, not validated.

    A string may be the beginning of one; numbers, literals and keys are whole. attempt: 1 for the first; with the next
    one it begins again, as what came did not fit.
    """

    value: object
    attempt: int


@overload
async def generate_object(
    provider: BaseProvider,
    type_: type[T],
    prompt: str | Sequence[Part] | Sequence[Message],
    /,
    *,
    system_prompt: str = "",
    options: Options | None = None,
    repairs: int = 2,
    name: str = "answer",
    mode: Mode | None = None,
) -> Answer[T]: ...


@overload
async def generate_object(
    provider: BaseProvider,
    type_: object,  # a union, a Literal, ... is no `type` to type checkers
    prompt: str | Sequence[Part] | Sequence[Message],
    /,
    *,
    system_prompt: str = "",
    options: Options | None = None,
    repairs: int = 2,
    name: str = "answer",
    mode: Mode | None = None,
) -> Answer[Any]: ...


async def generate_object(
    provider: BaseProvider,
    type_: Any,
    prompt: str | Sequence[Part] | Sequence[Message],
    /,
    *,
    system_prompt: str = "",
    options: Options | None = None,
    repairs: int = 2,
    name: str = "answer",
    mode: Mode | None = None,
) -> Answer[Any]:
    """Ask for a value of a type: any that msgspec decodes, or pydantic, as one of its models or a list of them.

    prompt: text, the parts of one message, or the history, which is left as it is.
    options: without tools of one's own, as nothing runs them here; a vendor's may be there.
    repairs: how many answers that do not fit are sent back with the reason.
    name: of the tool, which the model sees where one is used.
    mode: one way only; None tries each until the provider takes one. A refusal before sending costs nothing.

    Raises StructuredOutputError when the last answer does not fit either, and at once when an answer was cut off or
    refused. Any ProviderError that gets out has the `usage` of all attempts, and the `partial` Reply of the last.
    Raises ConfigError for a type without a schema, with the field.
    """
    asking = _Asking(provider, type_, prompt, system_prompt, options, repairs, name, mode)
    async with aclosing(asking.run(partials=False)) as steps:
        async for step in steps:
            if isinstance(step, Answer):
                return step
    raise AssertionError("unreachable: it ends with an Answer or an error")


@overload
def stream_object(
    provider: BaseProvider,
    type_: type[T],
    prompt: str | Sequence[Part] | Sequence[Message],
    /,
    *,
    system_prompt: str = "",
    options: Options | None = None,
    repairs: int = 2,
    name: str = "answer",
    mode: Mode | None = None,
) -> AsyncGenerator[Partial | Answer[T], None]: ...


@overload
def stream_object(
    provider: BaseProvider,
    type_: object,
    prompt: str | Sequence[Part] | Sequence[Message],
    /,
    *,
    system_prompt: str = "",
    options: Options | None = None,
    repairs: int = 2,
    name: str = "answer",
    mode: Mode | None = None,
) -> AsyncGenerator[Partial | Answer[Any], None]: ...


def stream_object(
    provider: BaseProvider,
    type_: Any,
    prompt: str | Sequence[Part] | Sequence[Message],
    /,
    *,
    system_prompt: str = "",
    options: Options | None = None,
    repairs: int = 2,
    name: str = "answer",
    mode: Mode | None = None,
) -> AsyncGenerator[Partial | Answer[Any], None]:
    """Like `generate_object`, but yields a Partial whenever there is more to see, and at the end the Answer.

    Each Partial reads the text from its beginning, so when it is long (from some ten thousand characters on) fewer are
    yielded: one for each 64th part of it that has come, which keeps the whole linear. ConfigError is raised at once.
    """
    asking = _Asking(provider, type_, prompt, system_prompt, options, repairs, name, mode)
    return Stream(asking.run(partials=True), asking.spent)


class _Asking:
    """One question, through all of its attempts."""

    def __init__(
        self,
        provider: BaseProvider,
        type_: Any,
        prompt: str | Sequence[Part] | Sequence[Message],
        system_prompt: str,
        options: Options | None,
        repairs: int,
        name: str,
        mode: Mode | None,
    ) -> None:
        self._options = _checked(options, repairs, mode)
        self._provider = check_provider("provider", provider)
        self._system_prompt = system_prompt
        self._messages = history_of(prompt)
        self._repairs = repairs
        self._type = AnswerType(type_)
        description = str(self._type.schema.get("description", "")) or "Give the answer."
        self._tool = Tool(name=name, description=description, parameters=self._type.schema)
        check_definition(self._tool)
        self._modes = list(_MODES if mode is None else (mode,))
        self._strict: dict[str, object] | None = None
        if "schema" in self._modes:
            try:
                self._strict = self._type.strict()
            except ConfigError:  # a tool's schema need not be strict
                if mode is not None:
                    raise
                del self._modes[0]
        self._replies: list[Reply] = []
        self._coming: Collector | None = None  # of the answer that is being read

    def spent(self) -> UsageChunk:
        """The usage of all answers until now."""
        return self._usage() + (UsageChunk() if self._coming is None else self._coming.reply().usage)

    async def run(self, *, partials: bool) -> AsyncGenerator[Partial | Answer[Any], None]:
        """Ask until there is an answer that fits."""
        misfits = pauses = 0
        while True:
            tool = self._tool.name if self._modes[0] == "tool" else None
            view = _View(len(self._replies) + 1, tool, self._type.wrapped) if partials else None
            collector = self._coming = Collector()
            try:
                async with aclosing(self._ask()) as stream:
                    async for chunk in stream:
                        collector.feed(chunk)
                        if view is not None and (partial := view.feed(chunk)) is not None:
                            yield partial
                stop = collector.close()
            except ProviderError as error:
                if self._refused(error):
                    continue
                self._usage_of(error, collector.reply())
                raise
            reply = collector.reply()
            self._coming = None
            self._replies.append(reply)
            if stop.reason == "pause" and pauses < _MOST_PAUSES and reply.message is not None:
                pauses += 1
                self._messages.append(reply.message)
                continue
            self._check_stop(stop)
            try:
                value = self._value(reply)
            except MisfitError as error:
                misfits += 1
                if misfits > self._repairs:
                    raise self._failed("misfit", f"the answer does not fit: {error}") from error
                self._repair(reply, error)
                continue
            yield Answer(value=value, usage=self._usage(), replies=tuple(self._replies), mode=self._modes[0])
            return

    def _ask(self) -> AsyncGenerator[Chunk, None]:
        mode, system_prompt, options = self._modes[0], self._system_prompt, self._options
        if mode == "schema":
            options = msgspec.structs.replace(options, response_schema=self._strict)
        elif mode == "tool":
            options = msgspec.structs.replace(options, tools=[self._tool, *options.tools], tool_choice=self._tool.name)
        else:
            schema = msgspec.json.encode(self._type.schema).decode()
            system_prompt = f"{system_prompt}\n\n{_ASKED}\n{schema}".lstrip()
        return self._provider.create_message(system_prompt, list(self._messages), options)

    def _refused(self, error: ProviderError) -> bool:
        """Whether the provider cannot do it in this way; then the next one is on."""
        mode = self._modes[0]
        if not isinstance(error, InvalidRequestError):
            return False
        if error.status is None and len(self._modes) > 1 and _NAMED[mode] in error.message:
            del self._modes[0]
            return True
        return False

    def _value(self, reply: Reply) -> Any:
        """What the answer says. Raises MisfitError."""
        call = next((call for call in reply.tool_calls if call.name == self._tool.name), None)
        # A vendor may refuse what its model wrote and show it: whether it fits we see ourselves.
        if call is not None and call.problem is not None and not call.arguments.startswith("{"):
            raise MisfitError(call.problem)
        if call is not None:
            return self._type.decode(call.arguments)
        found = list(objects_in(reply.text))
        # Servers that ignore a choice of tools answer with text, which is as good.
        if self._modes[0] == "tool" and not found:
            raise MisfitError(f"the tool `{self._tool.name}` was not called")
        if not reply.text.strip():
            raise MisfitError("there is no text in it")
        return self._type.decode_one(found or [reply.text.strip()])

    def _repair(self, reply: Reply, error: MisfitError) -> None:
        said = f"The answer does not fit: {error}. Give the whole answer again, corrected."
        if reply.message is not None:
            self._messages.append(reply.message)
        results = [ToolResultPart(id=call.id, content=said, is_error=True) for call in reply.tool_calls]
        self._messages.append(Message("user", results or said))

    def _check_stop(self, stop: StopChunk) -> None:
        if stop.reason == "length":
            raise self._failed("length", "the answer was cut off by max_tokens before it was whole")
        if stop.reason == "refusal":
            raise self._failed("refusal", "the model refused to answer")

    def _usage(self) -> UsageChunk:
        return sum((reply.usage for reply in self._replies), UsageChunk())

    def _failed(self, reason: str, message: str) -> StructuredOutputError:
        attempts = len(self._replies)
        error = StructuredOutputError(f"{message} (attempt {attempts})", usage=self._usage())
        error.model = self._provider.get_model().id or None
        error.partial = self._replies[-1]
        error.reason = reason
        error.hint = _HINTS.get(reason, error.hint)
        return error

    def _usage_of(self, error: ProviderError, reply: Reply) -> None:
        error.partial = reply
        error.usage = self._usage() + error.usage
        if isinstance(error, InvalidRequestError) and error.status is not None:
            error.hint = _schema_hint(error, self._modes[0])


class _View:
    """What can be seen of one attempt while it comes."""

    def __init__(self, attempt: int, tool: str | None, wrapped: bool) -> None:
        from penstock.agent.schema.partial_json import PartialJSON  # it reads with jiter, for those who look

        self._attempt = attempt
        self._tool = tool
        self._wrapped = wrapped
        self._call: str | None = None  # the id of the call that is read
        self._json = PartialJSON()
        self._begun = False

    def feed(self, chunk: Chunk) -> Partial | None:
        """What there is to see after *chunk*; None when there is nothing new."""
        text = self._piece(chunk)
        if not self._begun:  # a code fence, or prose, may come first
            _, brace, rest = text.partition("{")
            self._begun, text = bool(brace), brace + rest
        value: Any = self._json.feed(text) if text else msgspec.UNSET
        if self._wrapped and value is not msgspec.UNSET:
            value = value.get("value", msgspec.UNSET)
        return None if value is msgspec.UNSET else Partial(value=value, attempt=self._attempt)

    def _piece(self, chunk: Chunk) -> str:
        if self._tool is None:
            return chunk.text if isinstance(chunk, TextChunk) else ""
        if not isinstance(chunk, ToolCallDeltaChunk) or chunk.name != self._tool:
            return ""
        self._call = self._call or chunk.id
        return chunk.arguments if chunk.id == self._call else ""


def _checked(options: Options | None, repairs: int, mode: Mode | None) -> Options:
    options = Options() if options is None else options
    if repairs < 0:
        raise ConfigError(f"`repairs` is {repairs!r}, expected 0 or more")
    if mode is not None and mode not in _MODES:
        raise ConfigError(f"`mode` is {mode!r}, expected one of {', '.join(_MODES)}")
    for name in ("response_schema", "tool_choice"):
        if getattr(options, name) is not None:
            raise ConfigError(f"option `{name}` is set, and the type that is asked for says what stands there")
    mine = next((tool.name for tool in options.tools if isinstance(tool, Tool)), None)
    if mine is not None:
        raise ConfigError(f"nothing runs the tool {mine!r} of the options: let run_tools do that first")
    return options


def _schema_hint(error: InvalidRequestError, mode: Mode) -> str:
    said = error.message.lower()
    words = ("schema", "response_format", "output_config", "text.format", "tool_choice", "parameters")
    if mode == "text" or not any(word in said for word in words):
        return ""
    others = " or ".join(f'mode="{other}"' for other in _MODES[_MODES.index(mode) + 1 :])
    return f"If the vendor takes no such schema, ask with {others}."
