"""Usage reports of OpenAI's two wires and of those who speak them: snapshots become increments with disjoint counts.

A prompt's count includes what was read from and written to the cache, and output includes reasoning, wherever a row of
the dialects does not say otherwise. Sources: the types of the openai SDK 3.54, the rows' own, and recorded answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

import msgspec

from penstock.core.chunks import Chunk, UsageChunk
from penstock.core.cost import Meter
from penstock.core.dialect import Dialect
from penstock.wire.usage_report import AnswerUsage, CostReport, first, read_report, stated

__all__ = ["Usage", "UsageState"]

# The words for the ordinary price; Groq says on_demand.
_ORDINARY = ("auto", "default", "standard", "on_demand")


class _WriteLifetimes(msgspec.Struct):
    ttl_12h_tokens: int | None = None


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_write_tokens_details: _WriteLifetimes | None = None
    audio_tokens: int | None = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: int | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None


class _ServerTools(msgspec.Struct):
    web_search_requests: int | None = None


class _WebSearches(msgspec.Struct):
    tool_usage: int | None = None


class Usage(CostReport):
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
    cached_input_tokens: int | None = None  # Inception
    reasoning_tokens: int | None = None  # Together, Inception
    server_tool_use_details: _ServerTools | None = None  # OpenRouter
    web_search_usage: _WebSearches | None = None  # Xiaomi
    service_tier: str | None = None  # Mistral; elsewhere it stands beside the usage


class UsageState(AnswerUsage):
    """What has been reported in one answer until now."""

    def __init__(self, meter: Meter, dialect: Dialect) -> None:
        super().__init__(meter, dialect)
        self._hidden = 0  # tokens that only the total shows
        self.has_fee = _matches(meter.model_id, dialect.fee_models)
        """Something is billed that no count shows."""
        self.tier: str | None = None
        """The service tier that was used; None as long as nobody has said."""

    def answered(self, model: str | None) -> None:
        """The vendor says which model answers."""
        self.has_fee = self.has_fee or _matches(model or "", self._dialect.fee_models)
        super().answered(model)

    def report(
        self,
        raw: msgspec.Raw | bytes,
        tier: str | None = None,
        searches: int = 0,
        *,
        cost: msgspec.Raw | bytes = b"",
    ) -> Iterator[Chunk]:
        """The increment that a `usage` makes, if any.

        tier: the service tier that was used. searches: how many web searches the answer shows. cost: what stands
        beside the usage by that name.
        """
        usage, wrong = read_report(Usage, bytes(raw))
        self.tier = tier or (usage.service_tier if usage is not None else None) or self.tier
        if usage is None and not wrong and not cost:
            return
        usage = usage or Usage()
        if self._dialect.states_cost:
            # What the vendor has once said itself stands, also when a later report leaves it out.
            self._cost = first(stated(usage), stated(Usage(cost=msgspec.Raw(bytes(cost)))), self._cost)
        self.counts.take({**_said(usage), "searches": max(searches, self.counts["searches"])}, wrong)
        if usage.server_tool_use_details is not None:
            self.counts.now["searches"] = usage.server_tool_use_details.web_search_requests or 0
        if usage.web_search_usage is not None:
            self.counts.now["searches"] = usage.web_search_usage.tool_usage or 0
        output, self._hidden = self._output(usage)
        if self.counts.now.keys() <= {"searches"} and self._cost is None:
            return
        increment = self._meter.report(
            self._snapshot(output),
            variant=None if self.tier in _ORDINARY else self.tier,
            reported_cost=self._cost,
            cost_known=not self.has_fee and not (self._hidden and not self._dialect.audio_is_rest),
            others=self._others(),
        )
        if increment is not None:
            yield increment

    def _snapshot(self, output: int) -> UsageChunk:
        counts = self.counts
        prompt = counts["prompt"] + (self._hidden if self._dialect.audio_is_rest else 0)
        # A gateway may count a token as both read and written; it is billed once.
        read = min(counts["read"], prompt)
        written = min(counts["written"], prompt - read)
        if not self._dialect.cache_priced:
            read = written = 0
        return UsageChunk(
            input_tokens=prompt - read - written,
            cache_read_tokens=read,
            cache_write_tokens=written,
            cache_write_extended_tokens=min(counts["extended"], written),
            output_tokens=output,
            reasoning_tokens=min(counts["reasoning"], output),
            web_searches=counts["searches"],
        )

    def _others(self) -> dict[str, int]:
        """Tokens whose price is not that of text."""
        counts = self.counts
        audio = max(counts["audio_input"], self._hidden if self._dialect.audio_is_rest else 0)
        found = {
            "audio_input_price": audio,
            "audio_output_price": counts["audio_output"],
            "image_output_price": counts["image_output"],
        }
        return {name: count for name, count in found.items() if count}

    def _output(self, usage: Usage) -> tuple[int, int]:
        """All tokens that are billed as output, and those of unknown kind that only the total shows."""
        prompt, output, reasoning = (self.counts[name] for name in ("prompt", "output", "reasoning"))
        total = usage.total_tokens
        if not total:
            return output, self._hidden
        rest = max(0, total - prompt - output)
        if rest and (self._dialect.output_is_rest or rest == reasoning):  # xAI, also where others host it
            self.counts.now["output"] = output + rest
            return output + rest, 0
        return output, rest


def _matches(model: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(model, pattern) for pattern in patterns)


def _said(usage: Usage) -> dict[str, int | None]:
    """The counts of one report, by the names of `Counts`."""
    prompt = usage.prompt_tokens_details or usage.input_tokens_details or _PromptDetails()
    output = usage.completion_tokens_details or usage.output_tokens_details or _OutputDetails()
    lifetimes = prompt.cache_write_tokens_details or _WriteLifetimes()
    read = (prompt.cached_tokens, usage.prompt_cache_hit_tokens, usage.cached_tokens, usage.cached_input_tokens)
    return {
        "prompt": first(usage.prompt_tokens, usage.input_tokens),
        "read": first(*read),
        "written": prompt.cache_write_tokens,
        "extended": lifetimes.ttl_12h_tokens,
        "audio_input": prompt.audio_tokens,
        "output": first(usage.completion_tokens, usage.output_tokens),
        "reasoning": first(output.reasoning_tokens, usage.reasoning_tokens),
        "audio_output": output.audio_tokens,
        "image_output": output.image_tokens,
    }
