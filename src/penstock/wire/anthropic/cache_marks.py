"""Where Anthropic's cache marks go. Pure.

A mark caches everything up to and including its block, in the order tools, system, messages. There are at most four.
From each mark the server looks for an earlier entry over at most 20 positions, the mark's own included; a run of tool
calls, or of tool results, is one position. A prefix under the model's minimum is silently not cached.
Source: https://platform.claude.com/docs/en/build-with-claude/prompt-caching, read 2026-11-21.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from penstock.core.errors import InvalidRequestError
from penstock.wire.anthropic.blocks import Markable, ToolDefinition, ToolResult, ToolUse, Turn
from penstock.wire.request import to_json

__all__ = ["mark_prompt", "place_marks"]

MAX_MARKS: Final = 4
LOOK_BACK: Final = 20
_SENT: Final = ("tools", "system", "messages")
_ARGUMENTS: Final = ("input", "input_schema")  # of a tool: what is called so in there is no mark


def mark_prompt(
    tools: Sequence[ToolDefinition | Mapping[str, object]],
    system: Sequence[Markable],
    turns: Sequence[Turn],
    extra: Mapping[str, object],
    *,
    marked: Iterable[str],
    extended: bool,
    min_tokens: int,
) -> None:
    """Mark what is sent, as `place_marks` does, beside the marks that the caller has set: in tools and blocks of the
    API's own form, and in *extra*, which replaces what it names. With `cache_control` in it the server places the mark.

    marked: the blocks of the history that may hold marks. Raises InvalidRequestError when the caller has set more than
    there may be.
    """
    if "cache_control" in extra:
        return
    in_tools = [mark for tool in tools if isinstance(tool, Mapping) for mark in _marks(tool)]
    behind = [mark for name in _SENT if name in extra for mark in _marks(extra[name])]
    if "tools" in extra:
        in_tools = []
    if "messages" not in extra:
        behind += [mark for block in marked for mark in _marks(msgspec.json.decode(block))]
    theirs = [*in_tools, *behind]
    if len(theirs) > MAX_MARKS:
        raise InvalidRequestError(
            f"there are {len(theirs)} cache marks in the tools, in blocks of the history and in `extra`, expected "
            f"{MAX_MARKS} at most"
        )
    long_lived = [isinstance(mark, Mapping) and mark.get("ttl") == "1h" for mark in theirs]
    extended = extended and all(long_lived)
    if not extended and any(long_lived[len(in_tools) :]):
        return  # longer lifetimes come first, and ours would stand in front
    place_marks(
        [tool for tool in tools if isinstance(tool, ToolDefinition)] if "tools" not in extra else [],
        system if "system" not in extra else [],
        turns if "messages" not in extra else [],
        extended=extended,
        min_tokens=min_tokens,
        slots=MAX_MARKS - len(theirs),
    )


def _marks(value: object) -> Iterator[object]:
    """The marks in a part of a request, as it is sent."""
    if isinstance(value, Mapping):
        if value.get("cache_control") is not None:
            yield value["cache_control"]
        for name, inner in value.items():
            if name not in _ARGUMENTS:
                yield from _marks(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _marks(inner)


def place_marks(
    tools: Sequence[ToolDefinition],
    system: Sequence[Markable],
    turns: Sequence[Turn],
    *,
    extended: bool,
    min_tokens: int,
    slots: int = MAX_MARKS,
) -> None:
    """Mark, in place, the ends of the tools, of the system prompt and of the last two user turns.

    Two turns, because the request before this one wrote its entry at the end of the turn before the last. Marks left
    over bridge what the look-back cannot reach from there. All have the same lifetime, which keeps the rule that longer
    ones come first. A token is at least one byte, so a request with fewer bytes than *min_tokens* is surely not cached
    and gets no mark, and neither do its tools and system prompt if they alone have fewer; 0 when it is not known.
    slots: how many marks may be set, fewer than four where the caller has set some.
    """
    marks: list[Any] = []
    size = _size(tools, min_tokens)
    if tools and size >= min_tokens and slots == MAX_MARKS:
        marks.append(tools[-1])
    size += _size(system, min_tokens - size)
    if system and size >= min_tokens and slots > 0:
        marks.append(system[-1])
    size += _size((block for turn in turns for block in turn.content), min_tokens - size)
    if size >= min_tokens:
        marks += _in_turns(turns, slots - len(marks))
    for block in marks:
        block.cache_control = {"type": "ephemeral", "ttl": "1h"} if extended else {"type": "ephemeral"}


def _size(blocks: Iterable[object], enough: int) -> int:
    size = 0
    for block in blocks:
        if size >= enough:
            break
        size += len(to_json(block))
    return size


def _in_turns(turns: Sequence[Turn], slots: int) -> list[Markable]:
    ends: list[Markable] = []
    older: list[Markable] = []
    last = 0
    candidate: tuple[int, Markable] | None = None
    for position, block, ends_turn in _backwards(turns):
        if ends_turn and len(ends) < 2:
            ends.append(block)
            last, candidate = position, None
        elif ends:
            if candidate is not None and position - last > LOOK_BACK:
                older.append(candidate[1])
                last = candidate[0]
            candidate = position, block
        if len(ends) == 2 and len(older) >= slots - 2:
            break
    return (ends + older)[: max(0, slots)]


def _backwards(turns: Sequence[Turn]) -> Iterator[tuple[int, Markable, bool]]:
    """The blocks that can be marked, last first: their position, and whether a user turn ends there."""
    position = 0
    run: type | None = None
    after: str | None = None
    ends_turn = False
    for turn in reversed(turns):
        if turn.role != after:
            ends_turn = turn.role == "user"
        after = turn.role
        for block in reversed(turn.content):
            kind = type(block)
            if kind not in (ToolUse, ToolResult) or kind is not run:
                position += 1
            run = kind
            if isinstance(block, Markable):
                yield position, block, ends_turn
                ends_turn = False
