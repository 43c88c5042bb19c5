"""Which of the tools that are offered the words of a prompt ask for, and with which arguments."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from penstock.testing.demo.asked import Asked, OfferedTool
from penstock.testing.demo.filling import Filler
from penstock.testing.demo.words import LONGEST, Words, stems, stems_of_name

__all__ = ["Call", "calls_for"]

Call = tuple[str, Any]
"""A tool's name and its arguments."""

_BY_NAME: Final = 3
"""How much more a word in a tool's name counts than one in its description."""
_MOST: Final = 8
"""Calls for one prompt, over all turns."""
_SENTENCE: Final = re.compile(r"[.?!;]\s+|\n+|,? then ")
_AND: Final = re.compile(r",? and ")
_EVERY: Final = re.compile(r"\b(?:all|each|every)\b", re.IGNORECASE)
_IN_QUOTES: Final = re.compile(r'"[^"]*"|`[^`]*`')


def calls_for(asked: Asked) -> list[Call]:
    """What to call now; nothing that has been called with the same arguments since the user's words."""
    if asked.choice == "none" or not asked.tools:
        return []
    forced = [tool for tool in asked.tools if tool.name == asked.choice]
    if forced:
        return [_made_up(forced[0], asked.words)]
    wanted: list[Call] = []
    made: list[Call] = [(call.name, call.arguments) for call in asked.calls]
    for part in _parts(asked):
        for call in _Wish(part, asked).calls():
            if call not in made and len(made) < _MOST:
                wanted.append(call)
                made.append(call)
    if not wanted and asked.choice == "required":
        wanted = [_made_up(max(asked.tools, key=lambda tool: _score(tool, stems(asked.words))), asked.words)]
    return wanted if asked.parallel else wanted[:1]


def _made_up(tool: OfferedTool, words: str) -> Call:
    return tool.name, Filler(Words(words), {"type": "object", **tool.schema}, whole=True).fill()


def _score(tool: OfferedTool, wanted: set[str]) -> int:
    by_name = stems_of_name(tool.name)
    about = stems(tool.description).union(*map(stems_of_name, tool.schema.get("properties") or ()))
    return _BY_NAME * len(by_name & wanted) + len((about - by_name) & wanted)


def _parts(asked: Asked) -> Iterator[str]:
    """The sentences, and of one with an `and` the two halves if each says what to do, or to what."""
    for sentence in _SENTENCE.split(asked.words[:LONGEST]):
        part = ""
        for half in _halves(sentence):
            if not part:
                part = half
            elif _stands_alone(part, half, asked.tools):
                yield part
                # What is only a name is for the tool of the half before.
                alone = any(_score(tool, _stems_of_words(half)) for tool in asked.tools)
                part = half if alone else _without_values(part) + " " + half
            else:
                part = f"{part} and {half}"
        if part:
            yield part


def _halves(sentence: str) -> list[str]:
    """Cut at each `and` that does not stand in quotes."""
    held: list[str] = []

    def hold(found: re.Match[str]) -> str:
        held.append(found[0])
        return f"\0{len(held) - 1}\0"

    hidden = _IN_QUOTES.sub(hold, sentence.replace("\0", ""))
    return [re.sub("\0(\\d+)\0", lambda found: held[int(found[1])], half) for half in _AND.split(hidden)]


def _stems_of_words(text: str) -> set[str]:
    """The stems of *text* without what a file's name adds to them."""
    return stems(text) - {"fil"} if Words(text).files else stems(text)


def _stands_alone(part: str, half: str, tools: Sequence[OfferedTool]) -> bool:
    """Whether the half after an `and` is a wish of its own."""
    if any(stems_of_name(tool.name) & _stems_of_words(half) for tool in tools):
        return True
    goal = max(tools, key=lambda tool: _score(tool, stems(part)), default=None)
    return goal is not None and len(goal.schema.get("required") or ()) <= 1 and Words(f"and {half}").offers


def _without_values(part: str) -> str:
    """*part* without what was an argument there."""
    words = Words(part)
    for value in (*words.quoted, *words.files, *words.names, *words.links, *words.numbers):
        part = part.replace(value, "")
    return part


class _Filling(msgspec.Struct):
    """The calls of a tool. missing, used: as of a Filler."""

    tool: OfferedTool
    calls: list[Call] = msgspec.field(default_factory=list)
    missing: Sequence[str] = ()
    used: bool = False


class _Wish:
    """One thing that is asked for, over all turns."""

    def __init__(self, part: str, asked: Asked) -> None:
        self._part = part
        self._wanted = stems(part)
        self._made = [(call.name, call.arguments) for call in asked.calls]
        self._results = [call.result for call in asked.calls if call.result is not None and not call.failed]
        scores = {place: _score(tool, self._wanted) for place, tool in enumerate(asked.tools)}
        self._tools = [
            asked.tools[place] for place in sorted(scores, key=lambda place: -scores[place]) if scores[place]
        ]
        self._scores = {asked.tools[place].name: score for place, score in scores.items()}

    def calls(self) -> Iterator[Call]:
        """The calls of the tool that fits best; if there is too little to call it with, those of one that may help."""
        fillings = [self._filled(tool) for tool in self._tools]
        if not fillings:
            return
        best = self._scores[fillings[0].tool.name]
        goals = [filling for filling in fillings if self._scores[filling.tool.name] == best]
        goal = min(goals, key=lambda filling: len(filling.missing))
        if any(call in self._made for call in goal.calls):
            return
        helpers = [each for each in fillings if not each.missing and any(call not in self._made for call in each.calls)]
        if goal.missing and helpers:
            # One that takes what the words offer helps more than one that takes nothing.
            yield from max(helpers, key=lambda filling: filling.used).calls
        elif not goal.missing or goal.tool.name in self._part or self._is_enough(goal):
            yield from goal.calls

    def _filled(self, tool: OfferedTool) -> _Filling:
        words = Words(self._part)
        own = stems(tool.description) | stems_of_name(tool.name)
        required = tool.schema.get("required") or ()
        words.rest = [word for word in words.rest if not stems(word) & own] if len(required) <= 1 else []
        if not words.files:
            words.files = [file for result in self._results for file in Words(result).files]
        lines = [line.strip() for result in self._results for line in result.splitlines() if line.strip()]
        lines = [line for line in lines if lines.count(line) == 1][:1]
        wanted = min(len(words.files), _MOST) if _EVERY.search(self._part) and words.files else 1
        found = _Filling(tool)
        for _ in range(wanted):
            filler = Filler(words, {"type": "object", **tool.schema}, whole=False, lines=lines)
            call = tool.name, filler.fill()
            found.calls += [call] if call not in found.calls else []
            found.missing, found.used = filler.missing, filler.used
        return found

    def _is_enough(self, filling: _Filling) -> bool:
        """Whether the words name the tool, and something to call it with, or what is missing is no text."""
        named = self._scores[filling.tool.name] >= _BY_NAME
        return named and ("string" not in filling.missing or Words(self._part).offers)
