"""Anthropic's errors to ours: status first, then the error's type, then its words. Pure.

Source: https://platform.claude.com/docs/en/api/errors and the anthropic SDK 2.11, read 2026-11-21; llama.cpp's
`exceed_context_size_error` and its integer `code` from its server of 2026-10-01.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

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
from penstock.wire.event_json import UNDECODABLE, is_object, shown
from penstock.wire.quota import is_quota
from penstock.wire.retry_after import said_in_body
from penstock.wire.statuses import kind_of, with_status

__all__ = ["response_error", "stream_error"]

# A stream that has begun has no status any more: only the type tells.
_BY_TYPE: dict[str, type[ProviderError]] = {
    "invalid_request_error": InvalidRequestError,
    "authentication_error": AuthenticationError,
    "billing_error": QuotaExceededError,
    "permission_error": PermissionDeniedError,
    "not_found_error": NotFoundError,
    "request_too_large": TokenLimitError,
    "rate_limit_error": RateLimitError,
    "timeout_error": ProviderTimeoutError,
    "overloaded_error": OverloadedError,
    "exceed_context_size_error": TokenLimitError,
}
# Phrases of an overflow: the API's own two, Bedrock's, llama.cpp's. Numbers: tokens asked for, then the limit.
_OVERFLOW: Final = (
    re.compile(r"prompt is too long(?:: (?P<tokens>\d{1,15}) tokens > (?P<limit>\d{1,15}) maximum)?"),
    re.compile(r"exceed context limit: (?P<tokens>\d{1,15} \+ \d{1,15}) > (?P<limit>\d{1,15})"),
    re.compile(r"[Ii]nput is too long for requested model"),
    re.compile(r"\((?P<tokens>\d{1,15}) tokens\) exceeds the available context size \((?P<limit>\d{1,15}) tokens\)"),
)


class _Details(msgspec.Struct):
    error_code: str | None = None


class _Error(msgspec.Struct):
    type: str | None = None
    message: str | None = None
    details: _Details | None = None


class _Body(msgspec.Struct):
    error: _Error
    request_id: str | None = None


_body = msgspec.json.Decoder(_Body)


def response_error(status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
    """The error for an answer with a failing HTTP status; what its headers say of `retry_after` is the border's to
    add: it needs a clock.
    """
    try:
        parsed = _body.decode(body)
    except UNDECODABLE:
        parsed = _Body(_Error(message=shown(body).strip() or "an empty answer"))
    error = with_status(_refined(kind_of(status), parsed.error), status)
    error.request_id = headers.get("request-id") or parsed.request_id
    return error


def stream_error(data: bytes) -> ProviderError:
    """The error that an `error` event, or an error sent with status 200, stands for."""
    try:
        parsed = _body.decode(data)
    except UNDECODABLE:
        if is_object(data.decode("utf-8", "replace")) and b'"error"' in data:
            return ServerError(f"the vendor reports an error: {shown(data)}")
        return MalformedResponseError(f"neither an answer nor an error of this API: {shown(data)}")
    error = _refined(_BY_TYPE.get(parsed.error.type or "", ServerError), parsed.error)
    error.request_id = parsed.request_id
    return error


def _refined(kind: type[ProviderError], said: _Error) -> ProviderError:
    message = said.message or said.type or "no reason given"
    code = said.details.error_code if said.details is not None and said.details.error_code else said.type
    if is_quota(kind, message, {said.type, code}):
        kind = QuotaExceededError
    if kind not in (InvalidRequestError, TokenLimitError):
        return kind(message, code=code, retry_after=said_in_body({}, message) if kind.retryable else None)
    for phrase in _OVERFLOW:
        found = phrase.search(message)
        if found is None:
            continue
        error = TokenLimitError(message, code=code)
        numbers = found.groupdict()
        if numbers.get("tokens"):
            error.tokens = sum(map(int, numbers["tokens"].split(" + ")))
            error.limit = int(numbers["limit"])
        return error
    if said.type == "exceed_context_size_error":
        kind = TokenLimitError
    return kind(message, code=code)
