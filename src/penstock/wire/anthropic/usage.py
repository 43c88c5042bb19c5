"""Anthropic's usage reports: snapshots, of which a later one replaces an earlier one, become increments.

Source: the API's documentation and the types of the anthropic SDK 2.11, read 2026-11-21, and the recorded streams.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import msgspec

from penstock.core.chunks import EXACT, Chunk, UsageChunk
from penstock.core.cost import Meter
from penstock.core.dialect import Dialect
from penstock.wire.event_json import type_of
from penstock.wire.usage_report import AnswerUsage, CostReport, first, read_report, stated

__all__ = ["Usage", "UsageState"]


class _Lifetimes(msgspec.Struct):
    ephemeral_1h_input_tokens: int | None = None


class _OutputDetails(msgspec.Struct):
    thinking_tokens: int | None = None


class _ServerTools(msgspec.Struct):
    web_search_requests: int | None = None


class _Counts(CostReport):
    input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation: _Lifetimes | None = None
    output_tokens: int | None = None


class _Iteration(_Counts):
    type: str | None = None
    model: str | None = None


class Usage(_Counts):
    """The `usage` object of `message_start`, of `message_delta` and of a whole message."""

    output_tokens_details: _OutputDetails | None = None
    server_tool_use: _ServerTools | None = None
    service_tier: str | None = None
    speed: str | None = None
    inference_geo: str | None = None
    iterations: list[_Iteration | None] | None = None


class UsageState(AnswerUsage):
    """What has been reported in one answer until now."""

    def __init__(self, meter: Meter, dialect: Dialect) -> None:
        super().__init__(meter, dialect)
        self._variant: dict[str, str] = {}
        self._iterations: list[_Iteration | None] = []

    def note_block(self, kind: str, caller: bytes) -> None:
        """A block has begun. What a program has called was counted with it, and what servers bring is no output."""
        if kind.endswith(("thinking", "tool_use")) and type_of(caller) in ("", "direct"):
            self.counts.content = True

    def report(self, raw: msgspec.Raw | bytes) -> Iterator[Chunk]:
        """The increment that a `usage` makes, if any."""
        usage, wrong = read_report(Usage, bytes(raw))
        if usage is None and not wrong:
            return
        usage = usage or Usage()
        self.counts.take(_said(usage), wrong)
        if self._dialect.states_cost:
            self._cost = first(stated(usage), self._cost)
        # `standard`, `global` and `not_available` are the ordinary price.
        for name in ("service_tier", "speed", "inference_geo"):
            word = getattr(usage, name)
            if word is not None:
                self._variant[name] = word
        special = sorted(set(self._variant.values()) - {"standard", "global", "not_available"})
        variant = "+".join(special) or None
        if usage.iterations is not None:
            self._iterations = usage.iterations
        other_cost, known = self._hidden(variant)
        increment = self._meter.report(
            self._snapshot(), variant=variant, reported_cost=self._cost, other_cost=other_cost, cost_known=known
        )
        if increment is not None:
            yield increment

    def _snapshot(self) -> UsageChunk:
        """The split of writes by lifetime comes in one event, at Anthropic the first and at some gateways the last.

        What is written beyond it is short-lived: breakpoints that server tools set are.
        """
        counts = self.counts
        return UsageChunk(
            input_tokens=counts["prompt"],
            output_tokens=counts["output"],
            cache_write_tokens=counts["written"],
            cache_read_tokens=counts["read"],
            cache_write_extended_tokens=min(counts["extended"], counts["written"]),
            reasoning_tokens=counts["reasoning"],
            web_searches=counts["searches"],
        )

    def _hidden(self, variant: str | None) -> tuple[Decimal, bool]:
        """Dollars for what is billed but is in no count, and whether they are known.

        A compaction is billed beside the counts, at this model's price. An advisor or a fallback is another model's
        work, whose price this one does not know.
        """
        total = Decimal(0)
        for part in self._iterations:
            if part is None or part.type == "message":
                continue
            if part.type != "compaction" or part.model is not None:
                return total, False
            lifetimes = part.cache_creation or _Lifetimes()
            cost = self._meter.price(
                UsageChunk(
                    input_tokens=part.input_tokens or 0,
                    output_tokens=part.output_tokens or 0,
                    cache_write_tokens=part.cache_creation_input_tokens or 0,
                    cache_read_tokens=part.cache_read_input_tokens or 0,
                    cache_write_extended_tokens=lifetimes.ephemeral_1h_input_tokens or 0,
                ),
                variant,
            )
            if cost is None:
                return total, False
            total = EXACT.add(total, cost)
        return total, True


def _said(usage: Usage) -> dict[str, int | None]:
    """The counts of one report, by the names of `Counts`."""
    return {
        "prompt": usage.input_tokens,
        "read": usage.cache_read_input_tokens,
        "written": usage.cache_creation_input_tokens,
        "extended": (usage.cache_creation or _Lifetimes()).ephemeral_1h_input_tokens,
        "output": usage.output_tokens,
        "reasoning": (usage.output_tokens_details or _OutputDetails()).thinking_tokens,
        "searches": (usage.server_tool_use or _ServerTools()).web_search_requests,
    }
