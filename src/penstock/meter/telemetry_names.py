"""How OpenTelemetry's GenAI conventions call things: the one table that changes when they do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

__all__ = ["NAMES", "VENDORS", "Name"]

_SECONDS: Final = tuple(0.01 * 2**power for power in range(14))
_TOKENS: Final = tuple(4.0**power for power in range(14))


class Name(msgspec.Struct, frozen=True):
    """How the conventions call one thing."""

    new: str | None
    """In the semantic-conventions-genai, which are in development; None where they have no such thing any more."""
    old: str | None = ""
    """In opentelemetry-semantic-conventions 0.66b2; empty for the same, None where it had no such thing."""
    unit: str = ""
    """Of a metric; an attribute has none."""
    buckets: Sequence[float] | None = None
    """The boundaries of a histogram's; None for a counter."""


# All names, as they were on 2026-11-29; those with `penstock` are our own. The boundaries are those that the
# conventions advise: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/, read 2026-11-30.
NAMES: Final[Mapping[str, Name]] = {
    "operation": Name("gen_ai.operation.name"),
    "vendor": Name("gen_ai.provider.name"),
    "model": Name("gen_ai.request.model"),
    "address": Name("server.address"),
    "port": Name("server.port"),
    "max_tokens": Name("gen_ai.request.max_tokens"),
    "temperature": Name("gen_ai.request.temperature"),
    "top_p": Name("gen_ai.request.top_p"),
    "stop": Name("gen_ai.request.stop_sequences"),
    "reasoning": Name("gen_ai.request.reasoning.level", None),
    "response_id": Name("gen_ai.response.id"),
    "answered": Name("gen_ai.response.model"),
    "finish_reasons": Name("gen_ai.response.finish_reasons"),
    "first_chunk": Name("gen_ai.response.time_to_first_chunk"),
    "error": Name("error.type"),
    "input_tokens": Name("gen_ai.usage.input_tokens"),
    "output_tokens": Name("gen_ai.usage.output_tokens"),
    "cache_read": Name("gen_ai.usage.cache_read.input_tokens"),
    "cache_write": Name("gen_ai.usage.cache_write.input_tokens", "gen_ai.usage.cache_creation.input_tokens"),
    "reasoning_tokens": Name("gen_ai.usage.reasoning.output_tokens"),
    "token_type": Name(None, "gen_ai.token.type"),
    "tool": Name("gen_ai.tool.name"),
    "tool_call": Name("gen_ai.tool.call.id"),
    "cost": Name("penstock.cost"),
    "left": Name("penstock.left"),
    "call": Name("penstock.call"),
    "attempt": Name("penstock.attempt"),
    "run": Name("penstock.run"),
    "request_id": Name("penstock.request_id"),
    "duration": Name("gen_ai.client.inference.duration", "gen_ai.client.operation.duration", "s", _SECONDS),
    "to_first_chunk": Name(
        "gen_ai.client.inference.time_to_first_chunk", "gen_ai.client.operation.time_to_first_chunk", "s", _SECONDS
    ),
    "per_chunk": Name(
        "gen_ai.client.inference.time_per_output_chunk", "gen_ai.client.operation.time_per_output_chunk", "s", _SECONDS
    ),
    "input": Name(
        "gen_ai.client.inference.operation.input_tokens", "gen_ai.client.token.usage", "{token}", _TOKENS
    ),
    "output": Name(
        "gen_ai.client.inference.operation.output_tokens", "gen_ai.client.token.usage", "{token}", _TOKENS
    ),
    "sum_input_tokens": Name("gen_ai.client.inference.usage.input_tokens", None, "{token}"),
    "sum_output_tokens": Name("gen_ai.client.inference.usage.output_tokens", None, "{token}"),
    "sum_cache_read": Name("gen_ai.client.inference.usage.cache_read.input_tokens", None, "{token}"),
    "sum_cache_write": Name("gen_ai.client.inference.usage.cache_write.input_tokens", None, "{token}"),
    "sum_reasoning_tokens": Name("gen_ai.client.inference.usage.reasoning.output_tokens", None, "{token}"),
    "sum_cost": Name("penstock.cost", unit="{USD}"),
    "agent_duration": Name("gen_ai.invoke_agent.duration", unit="s", buckets=_SECONDS),
    "agent_calls": Name("gen_ai.invoke_agent.inference_calls", unit="{call}", buckets=_TOKENS[:6]),
    "agent_tools": Name("gen_ai.invoke_agent.tool_calls", unit="{call}", buckets=_TOKENS[:6]),
    "tool_duration": Name("gen_ai.execute_tool.duration", unit="s", buckets=_SECONDS),
}  # fmt: skip

# Where `gen_ai.provider.name` has another word than our dialects (of 0.66b2, read 2026-11-30).
VENDORS: Final = {"azure": "azure.ai.openai", "google": "gcp.gemini", "mistral": "mistral_ai", "xai": "x_ai"}
