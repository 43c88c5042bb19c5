"""The words with which vendors name a failure, on every wire: codes, and phrases where the code says too little. Pure.

A row of PHRASES is how it is said, who says it, and a sample; a test matches each with its sample. They
are compiled when they are first needed, which in most programs is never. Sources: the error pages of each vendor, their
servers' sources and recorded answers, read 2026-11-21 and 2026-11-29.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from penstock.core.errors import (
    AuthenticationError,
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    ProviderError,
    ProviderTimeoutError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
    TokenLimitError,
)

__all__ = ["CODES", "MODELS_FAULT", "PHRASES", "Phrase", "matching"]

# The request is good, and the model answered it badly: another try may go well. Groq.
MODELS_FAULT: Final = frozenset({"tool_use_failed"})
CODES: Final[dict[str, type[ProviderError]]] = {
    **dict.fromkeys(("invalid_request_error", "invalid_prompt", "bio_policy"), InvalidRequestError),
    **dict.fromkeys(("misalignment_policy_violation", "content_filter"), InvalidRequestError),
    **dict.fromkeys(("content_policy_violation", "tool_use_failed", "INVALID_ARGUMENT"), InvalidRequestError),
    **dict.fromkeys(("base_resp 1026", "base_resp 1027", "base_resp 2013"), InvalidRequestError),  # MiniMax
    **dict.fromkeys(("invalid_api_key", "authentication_error", "UNAUTHENTICATED"), AuthenticationError),
    **dict.fromkeys(("base_resp 1004", "base_resp 2049"), AuthenticationError),
    **dict.fromkeys(("error_code 110", "error_code 111"), AuthenticationError),  # Baidu
    **dict.fromkeys(("permission_error", "PERMISSION_DENIED", "error_code 6"), PermissionDeniedError),
    **dict.fromkeys(("model_not_found", "not_found_error", "NOT_FOUND"), NotFoundError),
    "model_decommissioned": NotFoundError,  # Groq, with 400
    "invalid_model": NotFoundError,  # Mistral and Perplexity, with 400
    "1211": NotFoundError,  # Z.ai, and the other numbers of four digits
    **dict.fromkeys(("rate_limit_exceeded", "rate_limit_error", "rate_limit", "slow_down"), RateLimitError),
    **dict.fromkeys(("requests", "tokens", "RESOURCE_EXHAUSTED"), RateLimitError),
    **dict.fromkeys(("1302", "1303", "error_code 4", "error_code 18"), RateLimitError),
    **dict.fromkeys(("base_resp 1002", "base_resp 1039", "base_resp 1041"), RateLimitError),
    **dict.fromkeys(("overloaded_error", "server_is_overloaded", "service_unavailable_error"), OverloadedError),
    **dict.fromkeys(("unavailable_error", "UNAVAILABLE", "engine_overloaded"), OverloadedError),
    **dict.fromkeys(("engine_overloaded_error", "no_capacity", "1305"), OverloadedError),  # Moonshot; Z.ai
    "insufficient_system_resource": OverloadedError,  # DeepSeek
    **dict.fromkeys(("timeout_error", "timeout", "DEADLINE_EXCEEDED", "base_resp 1001"), ProviderTimeoutError),
    **dict.fromkeys(("server_error", "internal_server_error", "upstream_error", "INTERNAL"), ServerError),
    "InternalServerError": ServerError,  # vLLM
    **dict.fromkeys(("network_error", "base_resp 1000", "base_resp 1013"), ServerError),
    **dict.fromkeys(("context_length_exceeded", "exceed_context_size_error"), TokenLimitError),  # OpenAI; llama.cpp
    **dict.fromkeys(("request_too_large", "too_many_prompt_tokens", "1261"), TokenLimitError),  # Anthropic; Perplexity
    "error_code 336103": TokenLimitError,
    # Money. Whatever the status says, as a gateway makes a 500 or a 403 of it.
    **dict.fromkeys(
        ("insufficient_quota", "credit_balance_exhausted", "billing_hard_limit_reached"), QuotaExceededError
    ),
    **dict.fromkeys(("organization_spend_limit_exceeded", "project_spend_limit_exceeded"), QuotaExceededError),
    **dict.fromkeys(("organization_usage_limit_exceeded", "billing_not_active"), QuotaExceededError),
    **dict.fromkeys(("billing_error", "enforced_spend_limit_reached"), QuotaExceededError),  # Anthropic
    "contract_spend_limit_reached": QuotaExceededError,
    "insufficient_user_quota": QuotaExceededError,  # one-api and its like
    "exceeded_current_quota_error": QuotaExceededError,  # Moonshot
    **dict.fromkeys(("1113", "1304", "1308", "base_resp 1008", "base_resp 2056"), QuotaExceededError),
    **dict.fromkeys(("error_code 17", "error_code 19"), QuotaExceededError),  # a day's, and the whole
}
"""A vendor's code or type for a failure. With a form's name before it, a number means this only in that form."""


class Phrase(msgspec.Struct, frozen=True):
    """A regular expression that, ignoring case, tells a failure by its words. Its groups are numbers of tokens."""

    pattern: str
    vendor: str
    sample: str


# Tokens of the request, and what the model takes.
_N: Final = r"(?P<tokens>[\d,]{1,15}(?: \+ \d{1,15})?)"
_MAX: Final = r"(?P<limit>[\d,]{1,15})"

PHRASES: Final[Mapping[type[ProviderError], tuple[Phrase, ...]]] = {
    AuthenticationError: (
        # xAI and Google answer 400 to a wrong key, Baseten 403.
        Phrase(
            r"(?:incorrect|invalid) api[ -]key|api key (?:not valid|not found|expired)|check the api-key",
            "xAI, Google, Baseten",
            "API key not valid. Please pass a valid API key.",
        ),
        # https://docs.aws.amazon.com/bedrock/latest/APIReference/CommonErrors.html: ExpiredTokenException
        Phrase(
            r"(?:security|bearer) token (?:included in the request is|has) expired",
            "AWS, with 403",
            "The security token included in the request is expired",
        ),
    ),
    QuotaExceededError: (
        # Google says OpenAI's sentence of every limit for a minute as well, with the time to wait.
        Phrase(
            r"exceeded your current quota(?!.*(?:retry in \d|ai\.google\.dev))",
            "OpenAI",
            "You exceeded your current quota, please check your plan and billing details.",
        ),
        Phrase("credit balance is too low", "Anthropic, with 400", "Your credit balance is too low to"),
        Phrase(
            "spend(?:ing)? limit|_spend_limit_reached",
            "Anthropic with 400 and 429, xAI, Fireworks with 412, Mistral",
            "either used all available credits or reached its monthly spending limit.",
        ),
        Phrase(
            "insufficient (?:balance|credits|funds|quota)",
            "DeepSeek 402, OpenRouter 402, Z.ai and MiniMax with 429 or 200",
            "Insufficient balance or no resource package. Please recharge.",
        ),
        Phrase("used all available credits", "xAI, with 403 and 429", "has used all available credits"),
        Phrase(
            "requires more credits|key limit exceeded",
            "OpenRouter, with 402 and 403",
            "This request requires more credits, or fewer max_tokens.",
        ),
        Phrase("credits are depleted", "Google", "Your prepayment credits are depleted."),
    ),
    TokenLimitError: (
        Phrase(
            rf"request too large for .*?limit {_MAX}, requested {_N}|request too large for ",
            "OpenAI, Groq: more tokens than a minute allows; no wait makes it fit",
            "Request too large for gpt-6 on tokens per min (TPM): Limit 30,000, Requested 49,152.",
        ),
        # Whoever gives numbers comes first, as most say one of the other phrases too.
        Phrase(
            rf"maximum context length (?:is|of) {_MAX} tokens.{{0,200}}?for a total of (?:at least )?{_N}",
            "vLLM",
            "maximum context length is 8 tokens. You requested 6 output tokens, for a total of at least 9 tokens.",
        ),
        Phrase(
            rf"maximum context length (?:is|of) {_MAX} tokens.{{0,80}}?(?:in|requested|has)(?: about)? {_N} (?:input )?"
            "tokens",
            "OpenAI, DeepSeek, OpenRouter, older vLLM, LiteLLM on every wire",
            "This model's maximum context length is 8192 tokens. However, your messages resulted in 9417 tokens.",
        ),
        Phrase(
            rf"configured limit of {_MAX} tokens.{{0,80}}?resulted in {_N} tokens",
            "OpenAI, gpt-5 and later",
            "Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 294118 tokens.",
        ),
        Phrase(
            rf"\({_N} tokens\) exceeds the available context size \({_MAX} tokens\)",
            "llama.cpp",
            "request (9412 tokens) exceeds the available context size (8192 tokens), try increasing it",
        ),
        Phrase(
            rf"maximum prompt length is {_MAX} but the request contains {_N} tokens",
            "xAI",
            "This model's maximum prompt length is 131072 but the request contains 625077 tokens.",
        ),
        Phrase(
            rf"input token count \({_N}\) exceeds the maximum number of tokens allowed \({_MAX}\)",
            "Google",
            "The input token count (1200001) exceeds the maximum number of tokens allowed (1048576).",
        ),
        Phrase(
            rf"prompt contains {_N} tokens.{{0,80}}?too large for model with {_MAX} maximum context",
            "Mistral",
            "Prompt contains 140000 tokens and 0 draft tokens, too large for model with 131072 maximum context length",
        ),
        Phrase(
            rf"current length is {_N} while limit is {_MAX}",
            "Cerebras",
            "Current length is 9000 while limit is 8192",
        ),
        Phrase(
            rf"input \({_N} tokens\) is longer than the model's context length \({_MAX} tokens\)",
            "SGLang, Together",
            "The input (140000 tokens) is longer than the model's context length (131072 tokens).",
        ),
        Phrase(
            rf"\(length {_N}\) is longer than the maximum model length of {_MAX}",
            "vLLM",
            "The decoder prompt (length 40000) is longer than the maximum model length of 32768.",
        ),
        Phrase(
            rf"exceeded model token limit: {_MAX} \(requested: {_N}\)",
            "Moonshot",
            "Your request exceeded model token limit: 262144 (requested: 300000)",
        ),
        Phrase(
            rf"token count of {_N} exceeds the limit of {_MAX}",
            "GitHub",
            "prompt token count of 130000 exceeds the limit of 128000",
        ),
        Phrase(
            rf"prompt is too long: {_N} tokens > {_MAX} maximum",
            "Anthropic",
            "prompt is too long: 210000 tokens > 200000 maximum",
        ),
        Phrase(
            rf"exceed context limit: {_N} > {_MAX}",
            "Anthropic",
            "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000",
        ),
        Phrase(
            rf"range of input length should be \[\d{{1,15}}, {_MAX}\]",
            "Alibaba",
            "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 202752]",
        ),
        Phrase(
            r"maximum context length|model's maximum context limit|longer than the model's context length",
            "OpenAI and those who say it after it",
            "This model's maximum context length is exceeded",
        ),
        Phrase(
            r"reduce the length of the (?:messages|prompt)|exceeds the context window|exceed the configured limit",
            "OpenAI, Groq",
            "Your input exceeds the context window of this model.",
        ),
        Phrase(
            r"string too long\. expected a string with maximum length \d{7}",
            "OpenAI: one item of more than 10 MB",
            "string too long. Expected a string with maximum length 10485760",
        ),
        Phrase(
            r"exceeds the available context size|context size has been exceeded",
            "llama.cpp, with 400 and 500",
            "Context size has been exceeded.",
        ),
        Phrase(
            r"exceeds the maximum number of tokens allowed|maximum prompt length is|exceeded model token limit",
            "Google, xAI, Moonshot",
            "The input exceeds the maximum number of tokens allowed.",
        ),
        Phrase(
            r"(?:prompt|input) is too long|too many total text bytes|exceed context limit",
            "Anthropic, Bedrock",
            "Input is too long for requested model.",
        ),
        Phrase(
            r"too large for model with .{0,20}maximum context",
            "Mistral",
            "too large for model with 8192 maximum context length",
        ),
        Phrase(
            r"`inputs` tokens \+ `max_new_tokens` must be",
            "Together",
            "`inputs` tokens + `max_new_tokens` must be <= 4097.",
        ),
        Phrase(
            r"greater than the context length|context (?:the )?overflows",
            "LM Studio",
            "The number of tokens to keep from the initial prompt is greater than the context length.",
        ),
        Phrase("prompt exceeds max length", "Z.ai", "Prompt exceeds max length"),
        Phrase(
            r"prompt too long; exceeded (?:max )?context length",
            "Ollama",
            "prompt too long; exceeded max context length by 1203 tokens",
        ),
        Phrase(
            r"exceeds? max message tokens",
            "Volcengine",
            "Total tokens of image and text exceed max message tokens",
        ),
        Phrase("context window exceeds limit", "MiniMax", "invalid params, context window exceeds limit"),
        Phrase(
            "ContextWindowExceededError",
            "LiteLLM, whatever is behind it",
            "litellm.ContextWindowExceededError: AnthropicError",
        ),
    ),
    NotFoundError: (
        Phrase("model not exist", "DeepSeek, with 400", "Model Not Exist"),
        Phrase(
            "supported api model names are .{1,500}but you passed",
            "DeepSeek, with 400",
            "The supported API model names are deepseek-v4-pro or deepseek-v4-flash, but you passed deepseek-v9.",
        ),
        Phrase(
            "not a valid model id|invalid model id",
            "OpenRouter, OpenAI, with 400",
            "bad/model is not a valid model ID",
        ),
        Phrase(
            r"invalid model(?: name passed in model=| ')|unknown model\b|model identifier is invalid",
            "Perplexity, LiteLLM, MiniMax, Bedrock, with 400",
            "Invalid model 'sonar-9'. Permitted models can be found in the documentation",
        ),
        Phrase("model not found", "xAI, with 400", "Model not found: grok-0"),
    ),
    ProviderTimeoutError: (
        Phrase(
            "multimodal file timed out",
            "Alibaba, with 400: it may come through the next time",
            "<400> InternalError.Algo.InvalidParameter: Download multimodal file timed out",
        ),
    ),
    OverloadedError: (
        Phrase(
            r"overloaded|(?:at|over|no) capacity",
            "Anthropic, Google, OpenAI, Groq, with any 5xx or inside a stream",
            "The model is overloaded. Please try again later.",
        ),
    ),
}
"""By what they mean; of the phrases that mean one thing the best comes first."""


def matching(kind: type[ProviderError], words: str) -> Iterator[re.Match[str]]:
    """Where *words* say what *kind* is, the best row first."""
    for phrase in PHRASES[kind]:
        if found := re.search(phrase.pattern, words, re.IGNORECASE | re.DOTALL):
            yield found
