"""What a failing HTTP status stands for, on every wire. Pure."""

from __future__ import annotations

import re
from typing import Final

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

__all__ = ["kind_of", "with_status"]

_KINDS: Final[dict[int, type[ProviderError]]] = {
    401: AuthenticationError,
    402: QuotaExceededError,
    403: PermissionDeniedError,
    404: NotFoundError,
    408: ProviderTimeoutError,
    413: TokenLimitError,
    429: RateLimitError,
    498: OverloadedError,  # Groq: no capacity
    504: ProviderTimeoutError,
    529: OverloadedError,
}


# What says that a proof of reasoning is another's: Azure's and OpenAI's word, OpenAI's sentence, Anthropic's. The
# samples are in the tests.
_PROOF: Final = re.compile(
    r"invalid_encrypted_content|encrypted content .{0,200}could not be (?:verified|decrypted)|"
    r"[Ii]nvalid `?signature`? in",
    re.DOTALL,
)
_PROOF_HINT: Final = (
    "The reasoning in the history was made by another account, resource or server: leave its ReasoningParts out, and "
    "the rest can be sent."
)


def kind_of(status: int) -> type[ProviderError]:
    """The class for a status, which the vendor's words may still refine."""
    return _KINDS.get(status) or (ServerError if status >= 500 else InvalidRequestError)


def with_status(error: ProviderError, status: int) -> ProviderError:
    """*error* with its status, which makes one kind of invalid request worth a second try, and another's hint."""
    error.status = status
    if status == 409 and type(error) is InvalidRequestError:
        error.retryable = True  # a lock that another request holds; the SDKs try again too
    if type(error) is InvalidRequestError and _PROOF.search(f"{error.code} {error.message}"):
        error.hint = _PROOF_HINT
    return error
