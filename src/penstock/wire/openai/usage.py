"""Usage reports of OpenAI's two wires and of those who speak them: snapshots become increments with disjoint counts.

A prompt's count includes what was read from and written to the cache, and output includes reasoning, wherever a row of
the dialects does not say otherwise. Sources: the types of the openai SDK 3.54, the rows' own, and recorded answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import TypeVar

import msgspec

from penstock.core.chunks import EXACT, Chunk, UsageChunk
from penstock.core.cost import Meter
from penstock.core.dialect import Dialect

__all__ = ["Usage", "UsageState"]

T = TypeVar("T")

# The words for the ordinary price; Groq says on_demand.
_ORDINARY = ("auto", "default", "standard", "on_demand")
_TICK = Decimal("1e-10")  # xAI's unit, in dollars
_LONGEST_COST = 100  # characters, and digits before or after the point; recorded ones have up to 22


class _WriteLifetimes(msgspec.Struct):
    ttl_12h_tokens: int | None = None


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_write_tokens_details: _WriteLifetimes | None = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _ServerTools(msgspec.Struct):
    web_search_requests: int | None = None


class _CostDetails(msgspec.Struct):
    upstream_inference_cost: msgspec.Raw = msgspec.Raw()


class _CostObject(msgspec.Struct):
    total_cost: msgspec.Raw = msgspec.Raw()


class Usage(msgspec.Struct):
    """The `usage` object of either wire; the first names are the chat wire's."""

    prompt_tokens: int | None = None
    input_tokens: int | None = None
    completion_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None
    input_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _OutputDetails | None = None
    output_tokens_details: _OutputDetails | None = None
    prompt_cache_hit_tokens: int | None = None  # DeepSeek, beside the usual place
    cached_tokens: int | None = None  # Moonshot
    server_tool_use_details: _ServerTools | None = None  # OpenRouter
    cost: msgspec.Raw = msgspec.Raw()  # dollars; at Perplexity an object
    cost_in_usd_ticks: int | None = None  # xAI
    is_byok: bool | None = None
    cost_details: _CostDetails | None = None
    service_tier: str | None = None  # Mistral; elsewhere it stands beside the usage


class UsageState:
    """What has been reported in one answer until now."""

    def __init__(self, meter: Meter, dialect: Dialect) -> None:
        self._meter = meter
        self._dialect = dialect
        self._now = UsageChunk()
        self._cost: Decimal | None = None
        self.tier: str | None = None
        """The service tier that was used; None as long as nobody has said."""

    def report(self, usage: Usage | None, tier: str | None = None, searches: int = 0) -> Iterator[Chunk]:
        """The increment that *usage* makes, if any.

        tier: the service tier that was used. searches: how many web searches the answer shows.
        """
        self.tier = tier or (usage.service_tier if usage is not None else None) or self.tier
        if usage is None:
            return
        prompt, output = _first(usage.prompt_tokens, usage.input_tokens), self._output(usage)
        # What the vendor has once said itself stands, also when a later report leaves it out.
        self._cost = cost = _first(_reported_cost(usage), self._cost)
        if prompt is None and output is None and cost is None:
            return
        counts: dict[str, int] = {"web_searches": max(searches, self._now.web_searches)}
        if usage.server_tool_use_details is not None:
            counts["web_searches"] = usage.server_tool_use_details.web_search_requests or 0
        if prompt is not None:
            counts |= self._prompt_side(usage, prompt)
        if output is not None:
            details = usage.completion_tokens_details or usage.output_tokens_details or _OutputDetails()
            counts |= {"output_tokens": output, "reasoning_tokens": min(details.reasoning_tokens or 0, output)}
        self._now = msgspec.structs.replace(self._now, **counts)
        variant = None if self.tier in _ORDINARY else self.tier
        increment = self._meter.report(self._now, variant=variant, reported_cost=cost)
        if increment is not None:
            yield increment

    def _prompt_side(self, usage: Usage, prompt: int) -> dict[str, int]:
        details = usage.prompt_tokens_details or usage.input_tokens_details or _PromptDetails()
        read = max(0, _first(details.cached_tokens, usage.prompt_cache_hit_tokens, usage.cached_tokens) or 0)
        # A gateway may count a token as both; it is billed once.
        written = min(max(0, details.cache_write_tokens or 0), max(0, prompt - read))
        if not self._dialect.cache_priced:
            read = written = 0
        lifetimes = details.cache_write_tokens_details
        extended = lifetimes.ttl_12h_tokens or 0 if lifetimes is not None else 0
        if lifetimes is None and written == self._now.cache_write_tokens:
            extended = self._now.cache_write_extended_tokens  # said before, of the same writes
        return {
            "input_tokens": max(0, prompt - read - written),
            "cache_read_tokens": read,
            "cache_write_tokens": written,
            "cache_write_extended_tokens": extended,
        }

    def _output(self, usage: Usage) -> int | None:
        """All tokens that are billed as output."""
        output, total = _first(usage.completion_tokens, usage.output_tokens), usage.total_tokens
        prompt = _first(usage.prompt_tokens, usage.input_tokens) or 0
        if self._dialect.output_is_rest and total is not None and total >= prompt + (output or 0):
            return total - prompt
        details = usage.completion_tokens_details or usage.output_tokens_details or _OutputDetails()
        reasoning = details.reasoning_tokens or 0
        if output is not None and reasoning and total == prompt + output + reasoning:
            return output + reasoning  # xAI, also where others host it
        return output


def _first(*values: T | None) -> T | None:
    return next((value for value in values if value is not None), None)


def _reported_cost(usage: Usage) -> Decimal | None:
    """What the vendor says the call has cost, in dollars; None when it does not say."""
    if usage.cost_in_usd_ticks:  # 0 where another host runs xAI's models
        return EXACT.multiply(_TICK, usage.cost_in_usd_ticks)
    said = bytes(usage.cost)
    if said.startswith(b"{"):
        said = bytes(msgspec.json.decode(said, type=_CostObject).total_cost)
    cost = _dollars(said)
    if cost is not None and usage.is_byok:
        # With a key of one's own, the vendor behind sends a bill as well.
        if usage.cost_details is None:
            return None
        upstream = _dollars(bytes(usage.cost_details.upstream_inference_cost))
        return None if upstream is None else EXACT.add(cost, upstream)
    return cost


def _dollars(said: bytes) -> Decimal | None:
    """None for what is no sum of money, so that it cannot break the exact arithmetic."""
    if len(said) > _LONGEST_COST:
        return None
    try:
        dollars = Decimal(said.decode("utf-8", "replace").strip('"'))
    except InvalidOperation:
        return None
    return dollars if dollars.is_finite() and abs(dollars.adjusted()) < _LONGEST_COST else None
