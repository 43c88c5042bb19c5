"""A history made to fit: the oldest turns are dropped, or handed to somebody who sums them up.

A turn begins with what a user says and ends before the next; its rounds are the answers, each with the results of its
calls. Whole turns are dropped first, then the oldest rounds of the turns that are kept, as one turn of an agent may be
longer than the window. No cut parts a call from its result, and what is left begins with a user's words.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Final, TypeAlias

from penstock.core.errors import ConfigError, TokenLimitError
from penstock.core.messages import Message, ReasoningPart, TextPart, ToolCallPart, ToolResultPart

if TYPE_CHECKING:
    from penstock.core.prompt_sizes import Sizes

__all__ = ["Count", "Summarise", "fit", "fit_with_summary"]

Count: TypeAlias = Callable[[Message], int]
"""How many tokens a message has."""

Summarise: TypeAlias = Callable[[list[Message]], str | Awaitable[str]]
"""Sums up the messages that are dropped."""

_SUMMARY: Final = "Summary of the conversation until here:\n\n"


def count_message(message: Message) -> int:
    """A guess by kind of text; an image counts by its size, and a document by its pages."""
    return math.ceil(_sizes().of([message]).guess)


@cache
def _sizes() -> Sizes:
    from penstock.core.prompt_sizes import Sizes  # with it come all middlewares, which few need

    return Sizes()


def fit(
    messages: Sequence[Message],
    tokens: int,
    *,
    count: Count = count_message,
    keep_last: int = 1,
    keep_proofs: bool = False,
) -> list[Message]:
    """The newest part of the history that has at most *tokens* tokens; all of it if it fits.

    Whatever is dropped changes the beginning of the history, so the next call reads nothing of it from a cache: drop
    much and seldom (once `sum(map(count, messages))` is over the limit, fit to half of it), and go on with what is
    returned.

    tokens: room for the messages alone; leave some for tools, system prompt and answer.
    count: how many tokens a message has; by default a guess, see `count_message`.
    keep_last: how many of the newest turns are kept. Of each at least the question and the last round are.
    keep_proofs: whether reasoning keeps its proof when something before it was dropped. By default the parts with one
        are left out then: newer models bind it to all that came before, and refuse the rest. Older Claudes with a
        budget of reasoning want it while a turn's tools run.

    Raises TokenLimitError with `tokens` and `limit` when what must be kept does not fit.
    """
    _check(tokens, keep_last)
    sizes = [count(message) for message in messages]
    if sum(sizes) <= tokens:
        return list(messages)
    kept, _ = _Cut(messages, sizes).to(tokens, keep_last)
    return _chosen(messages, kept, keep_proofs=keep_proofs)


async def fit_with_summary(
    messages: Sequence[Message],
    tokens: int,
    summarise: Summarise,
    *,
    summary_tokens: int = 1_000,
    count: Count = count_message,
    keep_last: int = 1,
    keep_proofs: bool = False,
) -> list[Message]:
    """As `fit`, with the text that *summarise* makes of what was dropped, in the place where it stood.

    That is in front of the first user's words; where only rounds of a turn were dropped, behind its question. If
    nothing has to be dropped, nobody is asked. When the next fit drops that turn, its summary is summed up with it.

    summarise: a function, sync or async, of the dropped messages. What it raises gets out, and nothing is lost. Blank
        text leaves no summary. summary_tokens: how many of *tokens* are left free for it.

    Raises TokenLimitError also when the summary is too long to fit.
    """
    _check(tokens, keep_last)
    if not 0 <= summary_tokens < tokens:
        raise ConfigError(f"`summary_tokens` is {summary_tokens!r}, expected fewer than the {tokens} tokens to fit")
    sizes = [count(message) for message in messages]
    if sum(sizes) <= tokens:
        return list(messages)
    kept, behind = _Cut(messages, sizes).to(tokens - summary_tokens, keep_last)
    chosen = set(kept)
    text = summarise([message for place, message in enumerate(messages) if place not in chosen])
    if inspect.isawaitable(text):
        text = await text
    rest = _chosen(messages, kept, keep_proofs=keep_proofs)
    if text.strip():
        rest = _with_summary(rest, TextPart(_SUMMARY + text), behind=behind)
    _check_size(sum(map(count, rest)), tokens)
    return rest


class _Cut:
    """Where a history may be cut. sizes: the tokens of each message."""

    def __init__(self, messages: Sequence[Message], sizes: Sequence[int]) -> None:
        self._sizes = sizes
        asks = [message.role == "user" and not _has_results(message) for message in messages]
        whole = _whole(messages)
        self._turns = [place for place in whole if asks[place] and not (place and asks[place - 1])]
        self._rounds = [
            place for place in whole if messages[place].role == "assistant" and messages[place - 1].role == "user"
        ]

    def to(self, tokens: int, keep_last: int) -> tuple[list[int], bool]:
        """The places that are kept, and whether the first of the dropped stood behind a question that is kept."""
        if not self._turns:
            _check_size(sum(self._sizes), tokens)
            return list(range(len(self._sizes))), False
        last = self._turns[-keep_last:][0]
        size = sum(self._sizes)
        start = 0
        for turn in self._turns:
            if size <= tokens or turn > last:
                break
            size -= sum(self._sizes[start:turn])
            start = turn
        kept = range(start, len(self._sizes))
        gone: set[int] = set()
        for first, end in zip(self._turns, [*self._turns[1:], len(self._sizes)], strict=True):
            if size <= tokens or first < start:
                continue
            rounds = [place for place in self._rounds if first < place < end]
            for place, following in pairwise(rounds):
                if size <= tokens:
                    break
                size -= sum(self._sizes[place:following])
                gone.update(range(place, following))
        _check_size(size, tokens)
        return [place for place in kept if place not in gone], start == 0 and bool(gone)


def _whole(messages: Sequence[Message]) -> list[int]:
    """The places before which the history may be cut: all calls before them have their results before them."""
    made: dict[str, int] = {}  # where each call was made last
    reach = [len(messages)] * len(messages)
    for place, message in enumerate(messages):
        for part in message.parts:
            if isinstance(part, ToolCallPart):
                made[part.id] = place
            elif isinstance(part, ToolResultPart) and part.id in made:
                reach[place] = min(reach[place], made[part.id])
    earliest = len(messages)
    cuts = []
    for place in range(len(messages) - 1, -1, -1):
        earliest = min(earliest, reach[place])
        if earliest >= place:
            cuts.append(place)
    return cuts[::-1]


def _has_results(message: Message) -> bool:
    return any(isinstance(part, ToolResultPart) for part in message.parts)


def _chosen(messages: Sequence[Message], kept: Sequence[int], *, keep_proofs: bool) -> list[Message]:
    """The messages at these places. Proofs behind a gap are left out, and messages of nothing else too."""
    chosen: list[Message] = []
    for number, place in enumerate(kept):
        message = messages[place]
        if place != number and not keep_proofs:
            rest = [part for part in message.parts if not (isinstance(part, ReasoningPart) and part.proof)]
            if len(rest) < len(message.parts):
                if not rest:
                    continue
                message = Message(message.role, rest)
        chosen.append(message)
    return chosen


def _with_summary(messages: list[Message], summary: TextPart, *, behind: bool) -> list[Message]:
    place = 0
    if behind:  # the first answer's number, less one
        place = next(number for number, message in enumerate(messages) if message.role == "assistant") - 1
    first = messages[place]
    joined = [*first.parts, summary] if behind else [summary, *first.parts]
    return [*messages[:place], Message("user", joined), *messages[place + 1 :]]


def _check(tokens: int, keep_last: int) -> None:
    given: Sequence[tuple[str, object]] = (("tokens", tokens), ("keep_last", keep_last))
    for name, value in given:
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigError(f"`{name}` is {value!r}, expected a whole number of 1 or more")


def _check_size(size: int, tokens: int) -> None:
    if size > tokens:
        error = TokenLimitError(f"what must be kept of the history has {size} tokens, and {tokens} are free")
        error.tokens, error.limit = size, tokens
        raise error
