"""What tells exhausted money from a limit that time lifts, on every wire: no wait helps, so it is not retryable. Pure.

Sources, read 2026-11-21: the error pages of each vendor and recorded answers; who says it stands behind each.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from penstock.core.errors import (
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    ProviderError,
    RateLimitError,
    ServerError,
)

__all__ = ["is_quota"]

# Whatever the status says: a gateway makes a 500 or a 403 of them.
_CODES: Final = frozenset({
    "insufficient_quota",  # OpenAI
    "credit_balance_exhausted",
    "billing_hard_limit_reached",
    "organization_spend_limit_exceeded",
    "project_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
    "billing_not_active",
    "billing_error",  # Anthropic
    "enforced_spend_limit_reached",
    "contract_spend_limit_reached",
    "insufficient_user_quota",  # one-api and its like
    "exceeded_current_quota_error",  # Moonshot
})  # fmt: skip
# Google says OpenAI's sentence of every limit for a minute as well, with the time to wait.
_WORDS: Final = (
    r"credit balance is too low|"  # Anthropic, with 400
    r"spend(?:ing)? limit|_spend_limit_reached|"  # Anthropic with 400 and 429, xAI, Fireworks with 412, Mistral
    r"insufficient (?:balance|credits|funds|quota)|"  # DeepSeek 402, OpenRouter 402, Z.ai and MiniMax with 429
    r"used all available credits|"  # xAI, with 403 and 429
    r"requires more credits|key limit exceeded|"  # OpenRouter, with 402 and 403
    r"credits are depleted|"  # Google
    r"exceeded your current quota(?!.*(?:retry in \d|ai\.google\.dev))"  # OpenAI
)
# The statuses that could mean money. Not 401: Perplexity says "Invalid API key or insufficient credits" of a wrong key.
_OPEN: Final = (InvalidRequestError, NotFoundError, PermissionDeniedError, RateLimitError)


def is_quota(kind: type[ProviderError], message: str, codes: Collection[str | None], *, certain: bool = True) -> bool:
    """Whether an error that would be of *kind* is about money. certain: a status or a known word stands behind that."""
    if not _CODES.isdisjoint(codes):
        return True
    if kind not in _OPEN and (certain or kind is not ServerError):
        return False
    words = " ".join((message, *(code for code in codes if code)))
    return re.search(_WORDS, words, re.IGNORECASE | re.DOTALL) is not None
