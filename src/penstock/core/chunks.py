"""What comes out of `create_message`: frozen structs, told apart by their class, or by `type` in JSON."""

from __future__ import annotations

from decimal import Context, Decimal, Inexact
from typing import Literal, TypeAlias

import msgspec

__all__ = [
    "Chunk",
    "OpaqueChunk",
    "ReasoningChunk",
    "StopChunk",
    "StopReason",
    "TextChunk",
    "ToolCallChunk",
    "ToolCallDeltaChunk",
    "UsageChunk",
]

# Money is never rounded: wide enough for any bill, deaf to the caller's own decimal context, and loud if ever not.
EXACT = Context(prec=5000, traps=[Inexact])

StopReason: TypeAlias = Literal["stop", "length", "tool_calls", "refusal", "pause", "other"]


class TextChunk(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="text"):
    """A piece of visible text, in order. Never empty."""

    text: str


class ReasoningChunk(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="type", tag="reasoning"):
    """A piece of the model's reasoning, in order; a chunk with a proof ends its block of reasoning.

    proof: what the vendor wants back unchanged in the next request (a signature, or encrypted content); None while the
        block goes on. A block can have a proof and no text, when the vendor shows none.
    redacted: the proof is the block's encrypted content itself, not a signature of the text.
    vendor: who wants it back, with its proof or, where there is none, the text itself; empty where nobody does.
    """

    text: str = ""
    proof: str | None = None
    redacted: bool = False
    vendor: str = ""


class ToolCallDeltaChunk(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="type", tag="tool_call_delta"):
    """A piece of a tool call's arguments, for live display only: it may be cut, and the call may never be complete.

    The first of a call comes as soon as its name is known, with empty arguments.
    """

    id: str
    name: str
    arguments: str


class ToolCallChunk(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="type", tag="tool_call"):
    """A whole tool call, once, as soon as it is known to be whole: run it when you like.

    arguments: JSON text of an object, checked; `{}` for a call without arguments.
    """

    id: str
    name: str
    arguments: str


class OpaqueChunk(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="type", tag="opaque"):
    """A finished block that has no neutral form: a server tool's call or result, cited text, a compaction.

    vendor: whose block it is. data: the block as that vendor's JSON text, to be sent back as an OpaquePart.
    text: the part of it that has already come as TextChunks, the last of them; empty when none has. A fold that keeps
        the block drops that text from what it has collected.
    """

    vendor: str
    data: str
    text: str = ""


class UsageChunk(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="type", tag="usage"):
    """An increment of what is billed. Add up all of them, over a call or over a month, and the sum is the bill.

    Counts are tokens and disjoint where they are priced: `input_tokens` excludes cache reads and writes at every
    vendor, `cache_write_tokens` is all writes, `cache_write_extended_tokens` those of them with the longer lifetime
    (1 h at Anthropic, 12 h at OpenAI), `output_tokens` includes reasoning, `reasoning_tokens` is that part of it.
    `web_searches` counts searches that the vendor ran and bills. A correction downwards is a negative increment; no sum
    is negative.

    cost: US dollars, exact, an increment as well; None when a price is not known, and then the sum's is None too.
        The empty chunk costs 0.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_write_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_extended_tokens: int = 0
    reasoning_tokens: int = 0
    web_searches: int = 0
    cost: Decimal | None = Decimal(0)

    @property
    def prompt_tokens(self) -> int:
        """All tokens of the prompt: input, cache reads and cache writes."""
        return self.input_tokens + self.cache_read_tokens + self.cache_write_tokens

    def __add__(self, other: UsageChunk) -> UsageChunk:
        if not isinstance(other, UsageChunk):
            return NotImplemented
        return UsageChunk(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cache_write_tokens=self.cache_write_tokens + other.cache_write_tokens,
            cache_read_tokens=self.cache_read_tokens + other.cache_read_tokens,
            cache_write_extended_tokens=self.cache_write_extended_tokens + other.cache_write_extended_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
            web_searches=self.web_searches + other.web_searches,
            cost=None if self.cost is None or other.cost is None else EXACT.add(self.cost, other.cost),
        )

    def __radd__(self, other: object) -> UsageChunk:
        # `sum(chunks)` begins with 0.
        return self if other == 0 else NotImplemented


class StopChunk(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="type", tag="stop"):
    """The vendor said that the message is complete. Comes exactly once, last.

    reason: `tool_calls` whenever a call was delivered, unless a later one was cut off by the length limit (`length`).
    raw_reason: the vendor's own word, None when it gave none. stop_sequence: the one that matched, None if none did.
    response_id, model: the answer's id and the model that really answered; None when the vendor did not say.
    """

    reason: StopReason
    raw_reason: str | None = None
    stop_sequence: str | None = None
    response_id: str | None = None
    model: str | None = None


Chunk: TypeAlias = (
    TextChunk | ReasoningChunk | ToolCallDeltaChunk | ToolCallChunk | OpaqueChunk | UsageChunk | StopChunk
)
