"""How many tokens a prompt has, before it is sent: what the vendor has reported of its beginning, and a guess."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal, Protocol, Self, overload

import msgspec

from penstock.core.chunks import UsageChunk
from penstock.core.dialect import Dialect
from penstock.core.messages import (
    Message,
    Options,
    Part,
    ReasoningPart,
    ToolCallPart,
    ToolResultPart,
)
from penstock.core.prompt_sizes import NOTHING, Size, Sizes
from penstock.core.recent import Recent

__all__ = ["History", "TokenCount", "TokenMemory", "estimate_tokens"]

_STEP: Final = 10_000
"""Tokens that are measured at once: a millisecond's work."""
_STEADY: Final = 300
"""Tokens that a report must be longer than for its ratio to count as much as the general one."""
_RATIO: Final = (0.5, 2.0)
"""The least and the most that a conversation's tokens are of the guess."""

_MARGIN: Final = 16
"""Tokens that a vendor may put between the history that it has counted and what came after it."""


class TokenCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many tokens a prompt has: system prompt, tools and history."""

    tokens: int
    exact: bool
    """Whether the vendor has counted them; otherwise it is a guess, or a bound."""
    source: str
    """Where it is from, in a few words."""


class HasTokens(Protocol):
    """A provider."""

    @property
    def tokens(self) -> TokenMemory: ...


class _Report(msgspec.Struct, frozen=True):
    """What the vendor has counted for a history, with the system prompt and the tools of that call, `head`."""

    head: int
    guess: float
    prompt: int
    shown: int
    output: int
    ratio: float


class History(tuple[Message, ...]):
    """A history that nobody changes any more, with a hash of it up to each message. Raises TypeError for another."""

    keys: list[int]

    def __new__(cls, messages: Iterable[Message]) -> Self:
        """Look at each message once."""
        found = super().__new__(cls, messages)
        found.keys = _hashed(found)
        return found


class TokenMemory:
    """What one leaf's vendor has reported, and what of the next prompt follows from that.

    What was reported for the beginning of a history counts, with the tokens of the answer that followed; only the rest
    is guessed, by kind of text and by how far the guess was off in this conversation. No text is kept: beginnings
    are known by their hashes. Threads may share it. model_id: as the vendor spells it. row: the vendor's.
    """

    def __init__(self, model_id: str = "", row: Dialect | None = None) -> None:
        self.model_id = model_id
        self.row = Dialect() if row is None else row
        self.is_fed = False
        """Whether the provider itself remembers each call here."""
        self._measure = Sizes(model_id, self.row)
        self._heads: Recent[Size] = Recent()
        self._sizes: Recent[Size] = Recent()
        self._reports: Recent[_Report] = Recent()

    @property
    def reasoning_reserve(self) -> int:
        """Tokens of reasoning that may be billed beside `max_tokens`."""
        return self._measure.rates.reasoning_reserve

    def measured(self, history: History) -> Iterator[None]:
        """Measure what is not known yet of a long history, in steps of a millisecond, between which others may run."""
        known, found = self._sizes.nearest(history.keys)
        size, step = found or NOTHING, 0.0
        for number in range(known, len(history)):
            new = self._measure.of(history[number : number + 1])
            size, step = size.plus(new), step + new.guess + 10
            if step > _STEP:
                step = 0.0
                self._sizes.put(history.keys[number], size)
                yield

    def estimate(self, system_prompt: str, messages: Sequence[Message], options: Options | None = None) -> int:
        """The likeliest number of tokens; 0 for what no provider will take."""
        try:
            key, head = self._head(system_prompt, options)
            size, place, report = self._history(messages)
            if report is None:
                return max(round(head.guess + size.guess), 0)
            if report.head != key:  # other tools, or another system prompt
                return max(round((head.guess + size.guess) * report.ratio), 0)
            return round(self._from_report(report, size, messages[place:]))
        except (TypeError, ValueError, AttributeError, LookupError, RecursionError):
            return 0

    def upper_bound(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> int | None:
        """A number that the vendor will not count above; None where there is none, as with tools that it runs itself.

        A tokenizer makes no more tokens of a text than it has bytes; what a vendor adds of its own is a fair amount
        more than any has added in what was recorded.
        """
        try:
            key, head = self._head(system_prompt, options)
            size, place, report = self._history(messages)
            if head.most is None or size.most is None:
                return None
            most = head.most + size.most
            if report is not None and report.head == key:
                rest = self._measure.of(messages[place:]).most or 0
                answer = report.output if _answer(messages[place:]) else 0
                most = min(most, report.prompt + rest + answer + _MARGIN)
            return math.ceil(most)
        except (TypeError, ValueError, AttributeError, LookupError, RecursionError):
            return None

    def lower_bound(self, system_prompt: str, messages: Sequence[Message], options: Options | None = None) -> int:
        """A number that the vendor will not count below; 0 for what no provider will take.

        It is what the vendor has counted for the beginning, and a quarter of the guess for the texts of the rest.
        """
        try:
            key, head = self._head(system_prompt, options)
            size, place, report = self._history(messages)
            least = head.least + size.least
            if report is not None and report.head == key and not size.fades:
                least = max(least, report.prompt + self._measure.of(messages[place:]).least)
            return int(least)
        except (TypeError, ValueError, AttributeError, LookupError, RecursionError):
            return 0

    def remember(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None, usage: UsageChunk
    ) -> None:
        """Keep what the vendor has reported of a call: *usage* is its sum. Without a prompt in it, nothing is kept."""
        prompt = usage.prompt_tokens
        if prompt <= 0:
            return
        try:
            key, head = self._head(system_prompt, options)
            size, _, _ = self._history(messages)
        except (TypeError, ValueError, AttributeError, LookupError, RecursionError):
            return
        if head.most is None:  # what the vendor looked up was counted too, each time that it went on
            return
        guess = head.guess + size.guess
        ratio = min(max((prompt + _STEADY) / (guess + _STEADY), _RATIO[0]), _RATIO[1])
        shown = max(usage.output_tokens - usage.reasoning_tokens, 0)
        report = _Report(key, size.guess, prompt, shown, usage.output_tokens, ratio)
        self._reports.put(_keys(messages)[-1] if messages else 0, report)

    def _from_report(self, report: _Report, size: Size, rest: Sequence[Message]) -> float:
        """What was reported, the answer as the vendor has counted it, and the guess of the rest."""
        tokens: float = report.prompt
        guess = size.guess - report.guess
        said = _answer(rest)
        known = self._known(report, said) if said else None
        if known is not None:
            answer = self._measure.of(said).guess
            # Another answer may have been put in its place. Encrypted reasoning does not show its length.
            if known > report.shown or (answer < 3 * (known + 20) and known < 3 * (answer + 20)):
                guess -= answer
                tokens += known + self._measure.rates.message
        return max(tokens + guess * report.ratio, 1.0)

    def _known(self, report: _Report, said: Sequence[Message]) -> int | None:
        """What the vendor's count of an answer says of the messages that it has become; None for nothing.

        Reasoning is read again only while the calls after it are being answered, and only if it goes back.
        """
        kinds = {type(part) for message in said for part in message.parts if self._measure.goes(part)}
        if ReasoningPart in kinds and (ToolCallPart in kinds or self._measure.rates.keeps_reasoning):
            return report.output
        if not report.output:  # the prompt alone was counted
            return None
        # Some report no reasoning although there was some.
        return None if ReasoningPart in kinds and report.shown == report.output else report.shown

    def _history(self, messages: Sequence[Message]) -> tuple[Size, int, _Report | None]:
        """The size of the history, and the last report of its beginning with the number of messages in that."""
        keys = _keys(messages)
        known, found = self._sizes.nearest(keys)
        size = found or NOTHING
        place, report = self._reports.nearest(keys)
        if known < len(keys):
            size = size.plus(self._measure.of(messages[known:]))
            self._sizes.put(keys[-1], size)
        return size, place, report

    def _head(self, system_prompt: str, options: Options | None) -> tuple[int, Size]:
        """What stands before the history: its hash, and its size."""
        given = _DEFAULT if options is None else options
        tools = _encode([*given.tools])  # at once: there may be a thousand
        beside: tuple[object, ...] = (
            (given.response_schema, given.extra) if given.response_schema or given.extra else ()
        )
        schema = _encode(beside).decode() if beside else ""
        key = hash((system_prompt, tools, schema, given.tool_choice, given.reasoning))
        size = self._heads.get(key)
        if size is None:
            each = [_encode(tool).decode() for tool in given.tools]
            size = self._measure.head(system_prompt, each, schema, reasons=given.reasoning not in (None, "off"))
            if not self._measure.is_bounded(given):
                size = msgspec.structs.replace(size, most=None)
            self._heads.put(key, size)
        return key, size


_DEFAULT: Final = Options()


def _plain(value: object) -> object:
    """A schema may be any mapping, and msgspec knows only dict."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"Encoding objects of type {type(value).__name__} is unsupported")


_encode: Final = msgspec.json.Encoder(enc_hook=_plain).encode


def _answer(messages: Sequence[Message]) -> Sequence[Message]:
    """What the model has said first."""
    end = next((place for place, message in enumerate(messages) if message.role != "assistant"), len(messages))
    return messages[:end]


def _keys(messages: Sequence[Message]) -> list[int]:
    return messages.keys if isinstance(messages, History) else _hashed(messages)


def _hashed(messages: Sequence[Message]) -> list[int]:
    """A hash of the history up to each message. A string's own is kept by Python, so this is a matter of numbers."""
    key = 0
    keys = []
    for message in messages:
        content = message.content
        try:
            key = hash((key, message.role, content if type(content) is str else tuple(content)))
        except TypeError:  # a list within a result
            key = hash((key, message.role, *map(_part_key, content)))
        keys.append(key)
    return keys


def _part_key(part: Part | str) -> int:
    if isinstance(part, ToolResultPart) and not isinstance(part.content, str):
        return hash((part.id, part.is_error, *part.content))
    return hash(part)


@overload
def estimate_tokens(
    system_prompt: str,
    messages: Sequence[Message],
    options: Options | None = None,
    *,
    provider: HasTokens | None = None,
    upper_bound: Literal[False] = False,
) -> TokenCount: ...


@overload
def estimate_tokens(
    system_prompt: str,
    messages: Sequence[Message],
    options: Options | None = None,
    *,
    provider: HasTokens | None = None,
    upper_bound: bool,
) -> TokenCount | None: ...


def estimate_tokens(
    system_prompt: str,
    messages: Sequence[Message],
    options: Options | None = None,
    *,
    provider: HasTokens | None = None,
    upper_bound: bool = False,
) -> TokenCount | None:
    """How many tokens a prompt has, by what is known here: nobody is asked.

    provider: whose model will be asked; what it has reported of this conversation counts. None for a usual model.
    upper_bound: a number that the vendor will not count above, for those who reserve; None where there is none, as
        with tools that the vendor runs itself.
    """
    memory = TokenMemory() if provider is None else provider.tokens
    if not upper_bound:
        return TokenCount(tokens=memory.estimate(system_prompt, messages, options), exact=False, source="estimate")
    most = memory.upper_bound(system_prompt, messages, options)
    return None if most is None else TokenCount(tokens=most, exact=False, source="upper bound")
