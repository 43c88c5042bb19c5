"""What comes out of `create_message`: frozen structs, told apart by their class, or by `type` in JSON."""

from __future__ import annotations

from decimal import Context, Decimal, Inexact
from typing import Final, Literal, TypeAlias

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
_NONE: Final = Decimal(0)

StopReason: TypeAlias = Literal["stop", "length", "tool_calls", "refusal", "pause", "pending", "other"]


class TextChunk(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="text"):
    """A piece of visible text, in order."""

    text: str
    """Never empty."""


class ReasoningChunk(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="type", tag="reasoning"):
    """A piece of the model's reasoning, in order; a chunk with a proof ends its block of reasoning."""

    text: str = ""
    """The words. Empty in a chunk that brings only the proof: some vendors show no words."""
    proof: str | None = None
    """What the vendor wants back unchanged in the next request: a signature, or encrypted content. None while the block
    goes on.
    """
    redacted: bool = False
    """The proof is the block's encrypted content itself, not a signature of the text."""
    vendor: str = ""
    """The vendor that needs this block in the next request; empty if none does."""
    account: str = ""
    """The one host of that vendor that can read it, where no other can; empty where any can."""


class ToolCallDeltaChunk(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="type", tag="tool_call_delta"):
    """A piece of a tool call's arguments, for live display only: it may be cut, and the call may never be complete.

    The first of a call comes as soon as its name is known, with empty arguments.
    """

    id: str
    """The call's id, the same in all of its pieces."""
    name: str
    """The tool's name."""
    arguments: str
    """The next piece of the arguments' JSON text; empty in the first one of a call."""


class ToolCallChunk(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="type", tag="tool_call"):
    """A whole tool call, once, as soon as it is known to be whole: run it when you like."""

    id: str
    """What the result must name, so that the model can tell calls apart."""
    name: str
    """The tool's name, as the model wrote it."""
    arguments: str
    """JSON text of an object, checked; `{}` for a call without arguments. With a `problem`, the text as it came."""
    problem: str | None = None
    """Why the arguments cannot be used, in one sentence for the model; None when they can. Do not run such a call: tell
    the model, as `run_tools` does. In a history such arguments are `{"INVALID_JSON": text}`.
    """
    extra: str = ""
    """What the vendor wants back beside id, name and arguments, as its JSON text: who made the call (`caller`), and
    what it is where it is no function. Empty for nothing.
    """
    vendor: str = ""
    """Who wants `extra` back; empty where nobody does."""


class OpaqueChunk(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="type", tag="opaque"):
    """A finished block that has no neutral form: a server tool's call or result, cited text, an image, a compaction."""

    vendor: str
    """Whose block it is."""
    data: str
    """The block as that vendor's JSON text, to be sent back as an OpaquePart."""
    text: str = ""
    """The part of the block that has already come as TextChunks, the last of them; empty when none has. Code
    that keeps the block must drop this text from what it has collected.
    """


class UsageChunk(
    msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="type", tag="usage",
    omit_defaults=True, repr_omit_defaults=True,
):  # fmt: skip
    """An increment of what is billed. Add up all of them, over a call or over a month, and the sum is the bill.

    Counts are tokens, and no token is counted in two fields that have a price of their own. A correction downwards is a
    negative increment; no sum is negative. In JSON, fields that are 0 are left out.
    """

    input_tokens: int = 0
    """Tokens of the prompt at the ordinary price, without cache reads and writes, at every vendor."""
    output_tokens: int = 0
    """Tokens of the answer, reasoning included."""
    cache_write_tokens: int = 0
    """Tokens of the prompt that were written to the cache, with whatever lifetime."""
    cache_read_tokens: int = 0
    """Tokens of the prompt that were read from the cache."""
    cache_write_extended_tokens: int = 0
    """The part of `cache_write_tokens` with the longer lifetime: 1 h at Anthropic, 12 h at OpenAI (read 2026-11-21)."""
    reasoning_tokens: int = 0
    """The part of `output_tokens` that is reasoning."""
    web_searches: int = 0
    """Web searches that the vendor ran and bills; a count, not tokens."""
    known_cost: Decimal = _NONE
    """US dollars that are sure to be billed, exact."""
    unsettled: int = 0
    """How many calls may be billed more than `known_cost` says. An answer begins with an increment of 1, and takes it
    back at its end when all that is billed is known.
    """
    _stored_cost: Decimal | None = msgspec.field(name="cost", default=_NONE)

    def __post_init__(self) -> None:
        # Chunks that were stored before there was `known_cost` had a `cost`, null where a price was not known.
        stored = self._stored_cost
        if stored is _NONE:
            return
        msgspec.structs.force_setattr(self, "_stored_cost", _NONE)
        if stored is None:
            msgspec.structs.force_setattr(self, "unsettled", self.unsettled + 1)
        else:
            msgspec.structs.force_setattr(self, "known_cost", EXACT.add(self.known_cost, stored))

    @property
    def cost(self) -> Decimal | None:
        """US dollars, exact; None where more may be billed than `known_cost`, as a price or a count is not known.

        Who adds up the cost of each chunk, and leaves out None, has the bill of every answer that ended.
        """
        return None if self.unsettled > 0 else self.known_cost

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
            known_cost=EXACT.add(self.known_cost, other.known_cost),
            unsettled=self.unsettled + other.unsettled,
        )

    def __radd__(self, other: object) -> UsageChunk:
        # `sum(chunks)` begins with 0.
        return self if other == 0 else NotImplemented


class StopChunk(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="type", tag="stop"):
    """The vendor said that the message is complete. Comes exactly once, last."""

    reason: StopReason
    """`stop`, `length`, `tool_calls`, `refusal`, `pause` or `other`. It is `tool_calls` whenever a call was delivered,
    unless a later one was cut off by the length limit (`length`). `pending` comes from `run_tools` alone: its run ends
    with calls that nobody has approved or refused yet.
    """
    raw_reason: str | None = None
    """The vendor's own word, None when it gave none."""
    stop_sequence: str | None = None
    """The stop sequence that matched, None if none did."""
    response_id: str | None = None
    """The answer's id, None when the vendor gave none."""
    model: str | None = None
    """The model that really answered, None when the vendor did not say."""


Chunk: TypeAlias = (
    TextChunk | ReasoningChunk | ToolCallDeltaChunk | ToolCallChunk | OpaqueChunk | UsageChunk | StopChunk
)
