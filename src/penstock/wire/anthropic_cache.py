"""Where Anthropic's cache marks go. Pure.

A mark caches everything up to and including its block, in the order tools, system, messages. There are at most four.
From each mark the server looks for an earlier entry over at most 20 positions, the mark's own included; a run of tool
calls, or of tool results, is one position. A prefix under the model's minimum is silently not cached.
Source: https://platform.claude.com/docs/en/build-with-claude/prompt-caching, read 2026-11-21.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, TypeAlias

import msgspec

__all__ = ["Block", "place_marks"]

Block: TypeAlias = dict[str, Any]

MAX_MARKS: Final = 4
LOOK_BACK: Final = 20
_RUNS: Final = ("tool_use", "tool_result")
_MARKABLE: Final = ("text", "image", "document", "tool_use", "tool_result", "search_result")


def place_marks(
    tools: Sequence[Block], system: Sequence[Block], messages: Sequence[Block], *, extended: bool, min_tokens: int
) -> None:
    """Mark, in place, the ends of the tools, of the system prompt and of the last two user turns.

    Two turns, because the request before this one wrote its entry at the end of the turn before the last. Marks left
    over go further back, so that an older entry is still found when the calls in between failed. All have the same
    lifetime, which keeps the rule that longer ones come first. A token is at least one byte, so a prefix with fewer
    bytes than *min_tokens* is surely not cached and not marked; 0 when the minimum is not known.
    """
    marks: list[Block] = []
    size = _size(tools, min_tokens)
    if tools and size >= min_tokens:
        marks.append(tools[-1])
    size += _size(system, min_tokens - size)
    if system and size >= min_tokens:
        marks.append(system[-1])
    blocks = (block for message in messages for block in message["content"])
    size += _size(blocks, min_tokens - size)
    if size >= min_tokens:
        marks += _in_messages(messages, MAX_MARKS - len(marks))
    for block in marks:
        block["cache_control"] = {"type": "ephemeral", "ttl": "1h"} if extended else {"type": "ephemeral"}


def _size(blocks: Iterable[object], enough: int) -> int:
    size = 0
    for block in blocks:
        if size >= enough:
            break
        size += len(msgspec.json.encode(block))
    return size


def _in_messages(messages: Sequence[Block], slots: int) -> list[Block]:
    turns: list[Block] = []
    older: list[Block] = []
    last = 0
    candidate: tuple[int, Block] | None = None
    for position, block, ends_turn in _backwards(messages):
        if ends_turn and len(turns) < 2:
            turns.append(block)
            last, candidate = position, None
        elif turns:
            if candidate is not None and position - last > LOOK_BACK:
                older.append(candidate[1])
                last = candidate[0]
            candidate = position, block
        if len(turns) == 2 and len(older) >= slots - 2:
            break
    return turns + older[: slots - 2]


def _backwards(messages: Sequence[Block]) -> Iterator[tuple[int, Block, bool]]:
    """The blocks that can be marked, last first: their position, and whether a user turn ends there."""
    position = 0
    run: str | None = None
    after: str | None = None
    for message in reversed(messages):
        ends_turn = message["role"] == "user" and after != "user"
        after = message["role"]
        for block in reversed(message["content"]):
            kind = block["type"] if isinstance(block, dict) else None
            if kind not in _RUNS or kind != run:
                position += 1
            run = kind
            if kind in _MARKABLE:
                yield position, block, ends_turn
                ends_turn = False
