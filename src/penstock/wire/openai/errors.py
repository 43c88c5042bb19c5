"""Errors of OpenAI's two wires, and of those who speak them, to ours: status first, then codes, then words. Pure.

Sources: https://platform.openai.com/docs/guides/error-codes and the types of the openai SDK 3.54, read 2026-11-21; the
other vendors' forms and words from recorded answers and from their servers' sources, as named at each.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec

from penstock.core.errors import (
    AuthenticationError,
    InvalidRequestError,
    MalformedResponseError,
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
from penstock.wire.event_json import UNDECODABLE, decode, shown
from penstock.wire.quota import is_quota
from penstock.wire.retry_after import said_in_body
from penstock.wire.statuses import kind_of, with_status

__all__ = ["decode_whole", "response_error", "stream_error"]

T = TypeVar("T")

_NO_CAPACITY: Final = 498  # Groq
# A stream that has begun has no status any more, only words; some servers repeat the status as the code.
_BY_WORD: dict[str, type[ProviderError]] = {
    "invalid_request_error": InvalidRequestError,
    "invalid_prompt": InvalidRequestError,
    "bio_policy": InvalidRequestError,
    "misalignment_policy_violation": InvalidRequestError,
    "content_filter": InvalidRequestError,
    "content_policy_violation": InvalidRequestError,
    "tool_use_failed": InvalidRequestError,
    "invalid_api_key": AuthenticationError,
    "authentication_error": AuthenticationError,
    "permission_error": PermissionDeniedError,
    "model_not_found": NotFoundError,
    "not_found_error": NotFoundError,
    "rate_limit_exceeded": RateLimitError,
    "rate_limit_error": RateLimitError,
    "requests": RateLimitError,
    "tokens": RateLimitError,
    "overloaded_error": OverloadedError,
    "server_is_overloaded": OverloadedError,
    "service_unavailable_error": OverloadedError,
    "unavailable_error": OverloadedError,
    "slow_down": RateLimitError,
    "timeout_error": ProviderTimeoutError,
    "server_error": ServerError,
    "internal_server_error": ServerError,
    "InternalServerError": ServerError,  # vLLM
}
# Phrases, as regular expressions; they are compiled when they are first needed, which in most programs is never.
_FLAGS: Final = re.IGNORECASE | re.DOTALL
# xAI and Google answer 400 to a wrong key.
_WRONG_KEY: Final = r"(?:incorrect|invalid) api key|api key (?:not valid|not found|expired)"
# The request is good, and the model answered it badly: another try may go well. Groq.
_MODELS_FAULT: Final = frozenset({"tool_use_failed"})
_OVERFLOW_CODES: Final = frozenset({"context_length_exceeded", "exceed_context_size_error"})
# Who says it stands behind each. Numbers: tokens of the request, then what the model takes.
_N: Final = r"(?P<tokens>[\d,]{1,15})"
_MAX: Final = r"(?P<limit>[\d,]{1,15})"
# Whoever gives numbers comes first, as most say one of the other phrases too.
_OVERFLOW: Final = (
    rf"maximum context length (?:is|of) {_MAX} tokens.{{0,200}}?for a total of (?:at least )?{_N}",  # vLLM
    # OpenAI, DeepSeek, OpenRouter; older vLLM
    rf"maximum context length (?:is|of) {_MAX} tokens.{{0,80}}?(?:in|requested|has)(?: about)? {_N} (?:input )?tokens",
    rf"configured limit of {_MAX} tokens.{{0,80}}?resulted in {_N} tokens",  # OpenAI, gpt-5 and later
    rf"request \({_N} tokens\) exceeds the available context size \({_MAX} tokens\)",  # llama.cpp
    rf"maximum prompt length is {_MAX} but the request contains {_N} tokens",  # xAI
    rf"input token count \({_N}\) exceeds the maximum number of tokens allowed \({_MAX}\)",  # Google
    rf"prompt contains {_N} tokens.{{0,80}}?too large for model with {_MAX} maximum context",  # Mistral
    rf"current length is {_N} while limit is {_MAX}",  # Cerebras
    rf"input \({_N} tokens\) is longer than the model's context length \({_MAX} tokens\)",  # SGLang, Together
    rf"\(length {_N}\) is longer than the maximum model length of {_MAX}",  # vLLM
    rf"exceeded model token limit: {_MAX} \(requested: {_N}\)",  # Moonshot
    rf"token count of {_N} exceeds the limit of {_MAX}",  # GitHub
    rf"prompt is too long: {_N} tokens > {_MAX} maximum",  # Anthropic, behind a gateway
    r"maximum context length|model's maximum context limit|longer than the model's context length",
    r"reduce the length of the (?:messages|prompt)|exceeds the context window",  # OpenAI, Groq; Responses
    r"input tokens exceed the configured limit",  # OpenAI
    r"string too long\. expected a string with maximum length \d{7}",  # OpenAI: one item of more than 10 MB
    r"exceeds the available context size|exceeds the maximum number of tokens allowed|maximum prompt length is",
    r"prompt is too long|input is too long|too large for model with .{0,20}maximum context|exceed context limit",
    r"`inputs` tokens \+ `max_new_tokens` must be|exceeded model token limit",  # Together; Moonshot
    r"greater than the context length|context (?:the )?overflows",  # LM Studio
)
# OpenAI, Groq: one request of more tokens than a minute allows; no wait makes it fit.
_TOO_LARGE: Final = rf"request too large for .*?limit {_MAX}, requested {_N}|request too large for "


_LONGEST: Final = 2000
"""Most characters of what the vendor says: FastAPI's errors quote the request."""


class _Said(msgspec.Struct):
    """What an error's body says, in whatever form."""

    message: str = ""
    code: str | None = None
    kind: str | None = None
    status: int | None = None
    request_id: str | None = None
    details: Mapping[str, Any] = msgspec.field(default_factory=dict)


def response_error(status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
    """The error for an answer with a failing HTTP status; what its headers say of `retry_after` is the border's to
    add: it needs a clock.
    """
    said = _parsed(body) or _Said(message=shown(body).strip() or "an empty answer")
    error = with_status(_refined(_kind_of(status), said, certain=True), status)
    names = ("x-request-id", "request-id", "x-generation-id", "apim-request-id")
    error.request_id = next((headers[name] for name in names if headers.get(name)), said.request_id)
    return error


def _kind_of(status: int) -> type[ProviderError]:
    return OverloadedError if status == _NO_CAPACITY else kind_of(status)


def stream_error(data: bytes) -> ProviderError:
    """The error that an event of a stream, or an answer sent with status 200, stands for."""
    said = _parsed(data)
    if said is None:
        return MalformedResponseError(f"neither an answer nor an error of this API: {shown(data)}")
    word, status = _by_word(said), said.status or 0
    kind = word or ServerError
    if 400 <= status < 600:
        # Status first: some servers put it into the code.
        kind = _kind_of(status)
    error = _refined(kind, said, certain=word is not None or status >= 400)
    error.request_id = said.request_id
    return error


def decode_whole(decoder: msgspec.json.Decoder[T], name: bytes, body: bytes) -> T:
    """An answer that came as one document. Raises MalformedResponseError, or the error that an array stands for."""
    try:
        return decode(decoder, name, body)
    except ProviderError:
        if body[:1] == b"[":  # Google
            raise stream_error(body) from None
        raise


def _parsed(body: bytes) -> _Said | None:
    """None for what is no error. Forms: `error` an object or a text, an array of one, `detail`, `message`."""
    try:
        found = msgspec.json.decode(body.decode("utf-8", "replace"))
    except UNDECODABLE:
        return None
    if isinstance(found, list):  # Google
        found = found[0] if found else None
    if not isinstance(found, dict):
        return None
    inner = found.get("error")
    if isinstance(found.get("response"), dict) and not inner:  # response.failed
        inner = found["response"].get("error")
    if isinstance(inner, dict):
        outer, found = found, inner
        request_id = _text(outer.get("request_id"))
    elif isinstance(inner, str):  # xAI, LM Studio: the code beside it
        found = {**found, "message": inner}
        request_id = None
    elif not any(found.get(name) for name in ("detail", "message")) or found.get("choices"):
        return None
    else:
        request_id = _text(found.get("request_id"))
    return _said(found, request_id)


def _said(error: Mapping[str, Any], request_id: str | None) -> _Said:
    message = next((error[name] for name in ("message", "detail", "msg") if error.get(name)), "")
    code, kind = error.get("code"), error.get("type") or error.get("status")
    status = next((error[name] for name in ("code", "status_code", "status") if isinstance(error.get(name), int)), None)
    if status is None and isinstance(code, str) and code.isdecimal() and len(code) == 3:
        status = int(code)
    metadata = error.get("metadata")
    if isinstance(metadata, dict) and metadata.get("raw"):  # OpenRouter: what the vendor behind it said
        message = f"{message}: {shown(_text(metadata['raw']) or '', 1000)}"
    return _Said(
        message=shown(_text(message) or _text(kind) or "no reason given", _LONGEST),
        code=_text(code) if not isinstance(code, int) else None,
        kind=_text(kind),
        status=status,
        request_id=request_id,
        details=error,
    )


def _text(value: object) -> str | None:
    """Text as it is, anything else as JSON."""
    if value is None or isinstance(value, str):
        return value or None
    return msgspec.json.encode(value).decode()


def _refined(kind: type[ProviderError], said: _Said, *, certain: bool) -> ProviderError:
    """certain: a status or a known word stands behind *kind*, so that words make nothing else of a ServerError."""
    message, code, codes = said.message, said.code or said.kind, {said.code, said.kind}
    if kind is InvalidRequestError:
        if re.search(_WRONG_KEY, message, _FLAGS):
            return AuthenticationError(message, code=code)
        word = _by_word(said) or kind  # a status of 400 can be anything, but for the server's own fault
        kind = kind if word is ServerError else word
    open_kinds = (InvalidRequestError, RateLimitError, *(() if certain else (ServerError,)))
    if is_quota(kind, message, codes, certain=certain):
        return QuotaExceededError(message, code=code)
    phrases = (_TOO_LARGE,) if kind is RateLimitError else (_TOO_LARGE, *_OVERFLOW)
    found = next((match for phrase in phrases if (match := re.search(phrase, message, _FLAGS))), None)
    if kind is not TokenLimitError and not codes & _OVERFLOW_CODES and not (found and kind in open_kinds):
        wait = said_in_body(said.details, message) if kind.retryable else None
        other = kind(message, code=code, retry_after=wait)
        if codes & _MODELS_FAULT:
            other.retryable, other.hint = True, "The model answered the request badly: try again."
        return other
    error = TokenLimitError(message, code=code)
    numbers = found.groupdict() if found is not None else {}
    error.tokens = _number(numbers.get("tokens")) or _number(said.details.get("n_prompt_tokens"))  # llama.cpp
    error.limit = _number(numbers.get("limit")) or _number(said.details.get("n_ctx"))
    return error


def _by_word(said: _Said) -> type[ProviderError] | None:
    return _BY_WORD.get(said.code or "") or _BY_WORD.get(said.kind or "")


def _number(value: object) -> int | None:
    digits = str(value).replace(",", "")
    return int(digits) if digits.isdecimal() and len(digits) <= 15 else None
