"""The words with which an answer ends, on every wire: each is an end, or the name of a failure. Pure.

A word that is in no row means what it says: one that names a failure is that failure, any other is `other`. Sources:
the vendors' references and recorded answers, read 2026-11-21 and 2026-11-29; no recording ends with a failure's word.
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

import msgspec

from penstock.core.chunks import StopReason
from penstock.core.errors import OverloadedError, ProviderError, ProviderTimeoutError, RateLimitError, ServerError

__all__ = ["FINISHES", "Finish", "failure", "meaning", "says_limit", "stop_reason"]

Meaning: TypeAlias = StopReason | type[ProviderError]


class Finish(msgspec.Struct, frozen=True):
    """Words in small letters, which mean the same, and who says them."""

    means: Meaning
    words: tuple[str, ...]
    vendor: str


FINISHES: Final = (
    Finish(
        "stop", ("stop", "end_turn", "stop_sequence", "completed"), "OpenAI, Anthropic, and OpenAI behind OpenRouter"
    ),
    Finish("stop", ("eos", "eos_token", "complete", "finished", "normal"), "Together, vLLM, Cohere, Baidu"),
    Finish("stop", ("load", "unload"), "Ollama"),
    Finish("length", ("length", "max_tokens", "model_context_window_exceeded"), "OpenAI, Anthropic"),
    Finish("length", ("max_output_tokens", "max_completion_tokens"), "Responses, and Google behind gateways"),
    Finish("length", ("model_length", "context_length", "incomplete"), "Mistral, LM Studio, gateways"),
    Finish("tool_calls", ("tool_calls", "tool_call", "tool_use", "function_call"), "OpenAI, Azure, Anthropic"),
    Finish("refusal", ("content_filter", "refusal", "sensitive"), "OpenAI, Anthropic, Z.ai"),
    Finish("refusal", ("safety", "recitation", "blocklist", "prohibited_content", "spii", "language"), "Google"),
    Finish("refusal", ("image_safety", "image_prohibited_content", "image_recitation"), "Google"),
    Finish("pause", ("pause_turn", "compaction"), "Anthropic"),
    Finish(ServerError, ("error", "server_error", "internal_error"), "Mistral, OpenRouter, gateways"),
    Finish(ServerError, ("abort", "aborted", "cancelled", "canceled"), "vLLM"),
    Finish(ServerError, ("network_error", "upstream_error"), "Z.ai, gateways"),
    # A call that the model broke and the vendor threw away, with nothing in its place.
    Finish(ServerError, ("malformed_function_call", "malformed_response", "unexpected_tool_call"), "Google"),
    Finish(ServerError, ("function_call_filter", "too_many_tool_calls", "missing_thought_signature"), "Google"),
    Finish(ProviderTimeoutError, ("timeout", "timed_out", "deadline_exceeded"), "gateways"),
    Finish(RateLimitError, ("rate_limit", "rate_limited", "rate_limit_exceeded"), "gateways"),
    Finish(OverloadedError, ("insufficient_system_resource",), "DeepSeek"),
    Finish(OverloadedError, ("overloaded", "engine_overloaded", "no_capacity"), "Moonshot, gateways"),
)
_MEANINGS: Final[dict[str, Meaning]] = {word: row.means for row in FINISHES for word in row.words}
# What a word that is in no row says, the first that fits. They are tried on words only, never on text.
_SAYS: Final[tuple[tuple[str, Meaning], ...]] = (
    (r"rate_?limit|throttl|too_many_requests", RateLimitError),
    (r"overload|capacity|insufficient_.*resource", OverloadedError),
    (r"time_?d?_?out|deadline", ProviderTimeoutError),
    (r"error|fail|fault|crash|exception|abort|cancel|interrupt|unavailable|disconnect|malformed", ServerError),
)
# An error in an answer that has begun, which is no failure. OpenAI's gpt-audio says it.
_LIMIT: Final = r"(?:max_\w*tokens|output limit).{0,40} (?:was|were|has been|have been) (?:reached|exceeded)"


def meaning(word: str | None) -> Meaning:
    """What *word* says: an end, or the class of the failure that it names."""
    if word is None:
        return "other"
    found = _MEANINGS.get(word)
    return found if found is not None else _read(word)


def _read(word: str) -> Meaning:
    plain = re.sub(r"[\s-]+", "_", word.strip().lower())
    # Some name the filter and what it found: `function_call_filter: MALFORMED_FUNCTION_CALL`.
    for name in (plain, *plain.split(":")):
        if (found := _MEANINGS.get(name.strip("_"))) is not None:
            return found
    return next((means for pattern, means in _SAYS if re.search(pattern, plain)), "other")


def stop_reason(word: str | None) -> StopReason:
    """The end that *word* is; `other` for a failure, which is raised elsewhere."""
    found = meaning(word)
    return found if isinstance(found, str) else "other"


def failure(word: str | None) -> ProviderError | None:
    """The error that *word* names, None if it is an end. It may be tried again."""
    found = meaning(word)
    return None if isinstance(found, str) else found(f"the vendor stopped with the reason {word!r}", code=word)


def says_limit(words: str) -> bool:
    """Whether an error says that the answer has reached the most tokens that it may have."""
    return re.search(_LIMIT, words, re.IGNORECASE) is not None
