"""Anthropic's usage reports: snapshots, of which a later one replaces an earlier one, become increments.

Source: the API's documentation and the types of the anthropic SDK 2.11, read 2026-11-21, and the recorded streams.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import msgspec

from penstock.core.chunks import EXACT, Chunk, UsageChunk
from penstock.core.cost import Meter

__all__ = ["Usage", "UsageState"]


class _Lifetimes(msgspec.Struct):
    ephemeral_1h_input_tokens: int | None = None


class _OutputDetails(msgspec.Struct):
    thinking_tokens: int | None = None


class _ServerTools(msgspec.Struct):
    web_search_requests: int | None = None


class _Counts(msgspec.Struct):
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


class UsageState:
    """What has been reported in one answer until now."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._now = UsageChunk()
        self._variant: dict[str, str] = {}
        self._iterations: list[_Iteration | None] = []

    def report(self, usage: Usage | None) -> Iterator[Chunk]:
        """The increment that *usage* makes, if any."""
        if usage is None:
            return
        self._now = msgspec.structs.replace(self._now, **self._prompt_side(usage), **_output_side(usage))
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
        increment = self._meter.report(self._now, variant=variant, other_cost=other_cost, cost_known=known)
        if increment is not None:
            yield increment

    def _prompt_side(self, usage: _Counts) -> dict[str, int]:
        """The group of prompt counts is replaced whole by an event that has any of them: gateways leave out zeros.

        The split by lifetime comes in one event, at Anthropic the first and at some gateways the last, and stays.
        What is written beyond it is short-lived: breakpoints that server tools set are.
        """
        prompt = usage.input_tokens, usage.cache_creation_input_tokens, usage.cache_read_input_tokens
        if prompt == (None, None, None) and usage.cache_creation is None:
            return {}
        now = self._now
        read, written = now.cache_read_tokens, now.cache_write_tokens
        fresh = now.input_tokens
        if prompt != (None, None, None):
            fresh, written, read = (count or 0 for count in prompt)
        extended = now.cache_write_extended_tokens
        if usage.cache_creation is not None and usage.cache_creation.ephemeral_1h_input_tokens is not None:
            extended = usage.cache_creation.ephemeral_1h_input_tokens
        return {
            "input_tokens": fresh,
            "cache_write_tokens": written,
            "cache_read_tokens": read,
            "cache_write_extended_tokens": min(extended, written),
        }

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


def _output_side(usage: Usage) -> dict[str, int]:
    counts = {}
    if usage.output_tokens is not None:
        counts["output_tokens"] = usage.output_tokens
    details = usage.output_tokens_details
    if details is not None and details.thinking_tokens is not None:
        counts["reasoning_tokens"] = details.thinking_tokens
    tools = usage.server_tool_use
    if tools is not None and tools.web_search_requests is not None:
        counts["web_searches"] = tools.web_search_requests
    return counts
