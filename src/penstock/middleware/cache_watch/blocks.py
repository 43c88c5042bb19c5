"""A prompt as a chain of blocks, in the order in which caches read it: tools, system prompt, options, messages.

A block is a tool, the system prompt, the options that caches depend on, or a part of a message. It is known by a hash
of 64 bits, seeded anew in each process. Python keeps the hash of a text with the text, so that what was sent before
costs next to nothing; nothing here goes by the identity of an object, which may be changed in place or used again.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import msgspec

from penstock.core.messages import (
    DocumentPart,
    ImagePart,
    Message,
    OpaquePart,
    Options,
    Part,
    ReasoningPart,
    TextPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
)
from penstock.core.tokens import History

__all__ = ["Block", "BlockKind", "Chain", "common"]

BlockKind: TypeAlias = Literal["tool", "system", "options", "message"]

_HEAD_TEXT: Final = 20_000
"""Characters of a tool or a system prompt that are kept, to show what changed."""
_PART_TEXT: Final = 300
"""Characters of a part that are kept: a history has thousands."""
_IMAGE: Final = 6_400
"""What an image counts in characters, of which its bytes say little: 1,600 tokens."""
_OPTIONS: Final = ("tool_choice", "parallel_tool_calls", "reasoning", "response_schema", "service_tier", "extra")


def _plain(value: object) -> object:
    # A schema may be any Mapping; msgspec knows only dict.
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} is no JSON")


_to_json = msgspec.json.Encoder(enc_hook=_plain).encode


class Block(msgspec.Struct, frozen=True, gc=False):
    """What is kept of a block. text: its beginning. size: characters of all of it. opaque: a vendor's own."""

    text: str
    size: int
    opaque: bool = False


class Chain:
    """The hashes of a prompt's blocks. Raises TypeError, ValueError or AttributeError for what no provider takes.

    hashes: of all blocks. start: how many stand before the messages.
    """

    def __init__(
        self, system_prompt: str, messages: Sequence[Message], options: Options, known: Iterable[Chain] = ()
    ) -> None:
        """known: others, of which the one with the longest beginning of the same messages lends its hashes."""
        self._tools = [_to_json(tool) for tool in options.tools]
        self._system = system_prompt
        chosen = {name: value for name in _OPTIONS if (value := getattr(options, name))}
        self._options = _to_json(chosen) if chosen else b""
        self._messages: Sequence[Message] = messages
        self.hashes = array("q", [hash((0, tool)) for tool in self._tools])
        self.hashes.append(hash((1, system_prompt)))
        self.hashes.append(hash((2, self._options)))
        self.start = len(self.hashes)
        self._names = [_name(tool) for tool in options.tools]
        # Each message is looked at once, for a hash of all until there; block by block only those that are new.
        self._keys = array("q", (messages if isinstance(messages, History) else History(messages)).keys)
        self._firsts = array("q")  # of each message, how many blocks of messages stand before it
        self._lend(known)
        for message in messages[len(self._firsts) :]:
            self._firsts.append(len(self.hashes) - self.start)
            self._add(message)

    def _lend(self, known: Iterable[Chain]) -> None:
        """Take over what another has of the messages with which both begin."""
        shared, lender = 0, self
        for each in known:
            if (length := _shared(each._keys, self._keys)) > shared:
                shared, lender = length, each
        if shared:
            end = lender._firsts[shared] if shared < len(lender._firsts) else len(lender.hashes) - lender.start
            self._firsts = lender._firsts[:shared]
            self.hashes += lender.hashes[lender.start : lender.start + end]

    def _add(self, message: Message) -> None:
        add, content = self.hashes.append, message.content
        # The first part of a message is another block than the same part further on: there a message begins.
        tag, later = (3, 5) if message.role == "user" else (4, 6)
        for part in (content,) if isinstance(content, str) else content:
            if isinstance(part, ToolResultPart):
                add(_hash_result(tag, part))
            else:
                add(hash((tag, part.text if isinstance(part, TextPart) else part)))
            tag = later

    def blocks(self, first: int) -> list[Block]:
        """What is to be kept of the blocks from the number *first* on. Once: then the messages are dropped."""
        head = [*(tool.decode() for tool in self._tools), self._system, self._options.decode()]
        kept = [Block(text[:_HEAD_TEXT], len(text)) for text in head[first:]]
        number = max(first, self.start)
        while number < len(self.hashes):
            message, position = self._find(number)
            parts = self._messages[message].parts[position:]
            kept += [_block(part) for part in parts]
            number += len(parts)
        self._messages, self._tools, self._system = (), [], ""
        return kept

    def kind(self, number: int) -> BlockKind:
        """What a block is."""
        if number >= self.start:
            return "message"
        if number == self.start - 1:
            return "options"
        return "system" if number == self.start - 2 else "tool"

    def place(self, number: int) -> str:
        """Where a block stands: `tools[2] (get_weather)`, `system`, `options`, `messages[7].content[0]`."""
        kind = self.kind(number)
        if kind == "tool":
            return f"tools[{number}]" + (f" ({self._names[number]})" if self._names[number] else "")
        if kind == "message":
            message, position = self._find(number)
            return f"messages[{message}].content[{position}]"
        return kind

    def _find(self, number: int) -> tuple[int, int]:
        message = bisect_right(self._firsts, number - self.start) - 1
        return message, number - self.start - self._firsts[message]


def common(one: array[int], other: array[int]) -> int:
    """How many numbers both begin with."""
    low, high = 0, min(len(one), len(other))
    if one[:high] == other[:high]:
        return high
    while low + 1 < high:
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low


def _shared(one: array[int], other: array[int]) -> int:
    """How many messages both begin with, by the hashes of all until each: one that is the same says all."""
    return bisect_left(range(min(len(one), len(other))), True, key=lambda place: one[place] != other[place])


def _hash_result(tag: int, part: ToolResultPart) -> int:
    content = part.content
    return hash((tag, part.id, part.is_error, content if isinstance(content, str) else tuple(content)))


def _name(tool: Tool | Mapping[str, object]) -> str:
    if isinstance(tool, Tool):
        return tool.name
    inner = tool.get("function")
    return str((inner if isinstance(inner, Mapping) else tool).get("name") or "")


def _block(part: Part) -> Block:
    text = _text(part)
    size = _IMAGE if isinstance(part, ImagePart | DocumentPart) else len(text)
    return Block(text[:_PART_TEXT], size, isinstance(part, OpaquePart))


def _text(part: Any) -> str:
    if isinstance(part, TextPart):
        return part.text
    if isinstance(part, ToolCallPart):
        return f"{part.id}: {part.name}({part.arguments}){part.extra}"
    if isinstance(part, ToolResultPart):
        content = part.content if isinstance(part.content, str) else "\n".join(map(_text, part.content))
        return f"{part.id}: {content}"
    if isinstance(part, ReasoningPart):
        return f"{part.text}{part.proof or ''}"
    if isinstance(part, OpaquePart):
        return part.data
    return part.url or f"{part.media_type}, {len(part.data or b'')} bytes"
