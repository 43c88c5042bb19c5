"""What servers of every wire say has failed, to our errors: status first, then codes, then words. Pure.

Sources: https://platform.openai.com/docs/guides/error-codes, https://platform.claude.com/docs/en/api/errors, the types
of both SDKs, read 2026-11-21; the other vendors' forms from recorded answers and from their servers' sources.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
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
from penstock.wire.event_json import UNDECODABLE, decode, json_text, shown
from penstock.wire.phrases import CODES, MODELS_FAULT, matching
from penstock.wire.retry_after import said_in_body

__all__ = ["FORMS", "decode_whole", "holds_error", "request_id_of", "response_error", "stream_error"]

T = TypeVar("T")

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
# What the words may make of an error that the status, or a code, leaves open.
_OPEN: Final[dict[type[ProviderError], tuple[type[ProviderError], ...]]] = {
    InvalidRequestError: (
        AuthenticationError,
        QuotaExceededError,
        TokenLimitError,
        NotFoundError,
        ProviderTimeoutError,
    ),
    NotFoundError: (QuotaExceededError,),
    PermissionDeniedError: (AuthenticationError, QuotaExceededError),
    RateLimitError: (QuotaExceededError, TokenLimitError),
}
# The same of a ServerError behind which nothing stands: an error in a stream that has no code.
_UNSURE: Final = (QuotaExceededError, TokenLimitError)

# What says that a proof of reasoning is another's: Azure's and OpenAI's word, OpenAI's sentence, Anthropic's. The
# samples are in the tests.
_PROOF: Final = (
    r"(?s)invalid_encrypted_content|encrypted content .{0,200}could not be (?:verified|decrypted)|"
    r"[Ii]nvalid `?signature`? in"
)
_PROOF_HINT: Final = (
    "The reasoning in the history was made by another account, resource or server: leave its ReasoningParts out, and "
    "the rest can be sent."
)
_LONGEST: Final = 2000
"""Most characters of what the vendor says: FastAPI's errors quote the request."""


class Form(msgspec.Struct, frozen=True):
    """Where an error stands in a document, an empty path for the document itself, and what its fields are called.

    A document is an error in this form if it has one of the messages, and no code that says that all is well.
    """

    path: tuple[str | int, ...]
    messages: tuple[str, ...]
    code: str
    vendor: str
    sample: str


_USUAL: Final = ("message", "detail", "msg", "error_msg")
FORMS: Final = (
    Form(("error",), _USUAL, "code", "OpenAI, Anthropic and nearly all", '{"error":{"message":"m"}}'),
    Form(("response", "error"), _USUAL, "code", "Responses API", '{"response":{"error":{"message":"m"}}}'),
    Form(("detail", "error"), _USUAL, "code", "FastAPI around another", '{"detail":{"error":{"message":"m"}}}'),
    Form(("choices", 0, "error"), _USUAL, "code", "OpenRouter", '{"choices":[{"error":{"message":"m"}}]}'),
    Form(("x_groq", "error"), _USUAL, "code", "Groq", '{"x_groq":{"error":"m"}}'),
    Form(("errors", 0), _USUAL, "code", "Cloudflare", '{"success":false,"errors":[{"code":7003,"message":"m"}]}'),
    Form(
        ("base_resp",), ("status_msg",), "status_code", "MiniMax", '{"base_resp":{"status_code":1008,"status_msg":"m"}}'
    ),
    Form((), ("error_msg",), "error_code", "Baidu", '{"error_code":17,"error_msg":"m"}'),
    Form(("detail",), _USUAL, "code", "FastAPI", '{"detail":{"msg":"m"}}'),
    Form((), ("message", "detail", "msg"), "code", "Mistral, Z.ai, old vLLM", '{"code":"1113","msg":"m"}'),
)
"""The first that fits counts."""
_WELL: Final = (0, 200, "0", "200", "success", "OK")  # codes of an answer that is none
# Anthropic's first: a gateway before it writes an `x-request-id` of its own.
_REQUEST_IDS: Final = ("request-id", "x-request-id", "x-generation-id", "apim-request-id")
_CONTENT: Final = ("choices", "output", "content")  # what has one of them and a message beside it is no error


class _Said(msgspec.Struct):
    """What an error's body says, in whatever form."""

    message: str = ""
    code: str | None = None
    kind: str | None = None
    number: str = ""  # the code, after the name of the only form in which it means that
    status: int | None = None
    request_id: str | None = None
    details: Mapping[str, Any] = msgspec.field(default_factory=dict)

    @property
    def words(self) -> str:
        return " ".join(filter(None, (self.message, self.code, self.kind)))

    @property
    def word(self) -> type[ProviderError] | None:
        """What the code or the type says that it is."""
        found = (CODES.get(name or "") for name in (self.code, self.kind, self.number))
        return next((kind for kind in found if kind is not None), None)


def response_error(status: int, headers: Mapping[str, str], body: bytes, faults: Collection[str] = ()) -> ProviderError:
    """The error for an answer with a failing HTTP status; what its headers say of `retry_after` is the border's to
    add: it needs a clock. faults: the dialect's `request_faults`.
    """
    said = _parsed(body) or _Said(message=shown(body).strip() or "an empty answer")
    error = _with_status(_refined(_kind_of(status), said, faults, status=status), status)
    error.request_id = request_id_of(headers) or said.request_id
    return error


def request_id_of(headers: Mapping[str, str]) -> str | None:
    """What the vendor's support asks for, by the headers of an answer; None where they have none."""
    return next((headers[name] for name in _REQUEST_IDS if headers.get(name)), None)


def stream_error(data: bytes, faults: Collection[str] = ()) -> ProviderError:
    """The error that an event of a stream, or an answer sent with status 200, stands for."""
    said = _parsed(data)
    if said is None:
        return MalformedResponseError(f"neither an answer nor an error of this API: {shown(data)}")
    word, status = said.word, said.status or 0
    if 400 <= status < 600:  # status first: some servers put it into the code
        error = _refined(_kind_of(status), said, faults, status=status)
    else:
        error = _refined(word or ServerError, said, faults, certain=word is not None)
    error.request_id = said.request_id
    return error


def holds_error(data: bytes) -> bool:
    """Whether a document that came with status 200 is an error in one of the forms."""
    return _parsed(data) is not None


def decode_whole(decoder: msgspec.json.Decoder[T], name: bytes, body: bytes) -> T:
    """An answer that came as one document. Raises MalformedResponseError, or the error that an array stands for."""
    try:
        return decode(decoder, name, body)
    except ProviderError:
        if body[:1] == b"[":  # Google
            raise stream_error(body) from None
        raise


def _parsed(body: bytes) -> _Said | None:
    """None for what is no error in any of the forms."""
    try:
        found = msgspec.json.decode(body.decode("utf-8", "replace"))
    except UNDECODABLE:
        return None
    if isinstance(found, list):  # Google
        found = found[0] if found else None
    if not isinstance(found, dict):
        return None
    for form in FORMS:
        error = _at(found, form.path)
        if isinstance(error, str) and error and form.path[-1:] == ("error",):
            # The code stands beside it: xAI, LM Studio.
            error = {**found, "message": error}
        while isinstance(error, dict) and isinstance(error.get("error"), dict) and form.path:
            error = error["error"]
        if isinstance(error, dict) and error and _says(error, form):
            return _said(error, form, _text(found.get("request_id")))
    return None


def _at(document: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        if isinstance(step, int):
            document = document[step] if isinstance(document, list) and len(document) > step else None
        else:
            document = document.get(step) if isinstance(document, dict) else None
    return document


def _says(error: Mapping[str, Any], form: Form) -> bool:
    if form.path[-1:] == ("error",):
        return True
    if not form.path and any(error.get(name) for name in _CONTENT):
        return False
    code = error.get(form.code)
    well = isinstance(code, str | int) and not isinstance(code, bool) and code in _WELL
    return any(error.get(name) for name in form.messages) and (not well or error.get("object") == "error")


def _said(error: Mapping[str, Any], form: Form, request_id: str | None) -> _Said:
    message = next((error[name] for name in form.messages if error.get(name)), "")
    code, kind = error.get(form.code), error.get("type") or error.get("status")
    details = error.get("details")
    if isinstance(details, dict) and isinstance(details.get("error_code"), str):  # Anthropic
        code = code or details["error_code"]
    names = ("code", "status_code", "status") if form.code == "code" else ()
    status = next((error[name] for name in names if isinstance(error.get(name), int)), None)
    if status is None and isinstance(code, str) and code.isdecimal() and len(code) == 3:
        status = int(code)
    metadata = error.get("metadata")
    if isinstance(metadata, dict) and metadata.get("raw"):  # OpenRouter: what the vendor behind it said
        message = f"{message}: {shown(_text(metadata['raw']) or '', 1000)}"
    own = "" if names else f"{form.path[0] if form.path else form.code} "
    return _Said(
        message=shown(_text(message) or _text(kind) or "no reason given", _LONGEST),
        code=_text(code) if not isinstance(code, int) or not names else None,
        kind=_text(kind),
        number=f"{own}{code}",
        status=status,
        request_id=request_id,
        details=error,
    )


def _text(value: object) -> str | None:
    """Text as it is, anything else as JSON."""
    if value is None or isinstance(value, str):
        return value or None
    return json_text(value)


def _refined(
    kind: type[ProviderError], said: _Said, faults: Collection[str], *, status: int = 0, certain: bool = True
) -> ProviderError:
    """certain: a status or a known word stands behind *kind*, so that words make nothing else of a ServerError."""
    if issubclass(kind, ServerError) or status >= 500:
        if any(fault.lower() in said.message.lower() for fault in faults):
            kind = InvalidRequestError
        elif next(matching(OverloadedError, said.words), None):
            kind = OverloadedError
    if kind is InvalidRequestError and not next(matching(AuthenticationError, said.message), None):
        word = said.word or kind  # a status of 400 can be anything, but for the server's own fault
        kind = kind if word is ServerError else word
    if QuotaExceededError in (CODES.get(said.code or ""), CODES.get(said.kind or "")):
        kind = QuotaExceededError
    for other in _OPEN.get(kind, () if certain or kind is not ServerError else _UNSURE):
        found = next(matching(other, said.words if other is QuotaExceededError else said.message), None)
        # A rate limit may speak of a length, but only what no minute has room for is too long.
        too_large = found is not None and found[0].lower().startswith("request too large")
        if found is not None and (too_large or (kind, other) != (RateLimitError, TokenLimitError)):
            kind = other
            break
    if kind is TokenLimitError or (said.word is TokenLimitError and kind is not QuotaExceededError and status < 500):
        return _overflow(said)
    error = kind(
        said.message,
        code=said.code or said.kind,
        retry_after=said_in_body(said.details, said.message) if kind.retryable else None,
    )
    if said.code in MODELS_FAULT:
        error.retryable, error.hint = True, "The model answered the request badly: try again."
    return error


def _kind_of(status: int) -> type[ProviderError]:
    """The class for a status, which the vendor's words may still refine."""
    return _KINDS.get(status) or (ServerError if status >= 500 else InvalidRequestError)


def _with_status(error: ProviderError, status: int) -> ProviderError:
    """*error* with its status, which makes one kind of invalid request worth a second try, and another's hint."""
    error.status = status
    if status == 409 and type(error) is InvalidRequestError:
        error.retryable = True  # a lock that another request holds; the SDKs try again too
    if type(error) is InvalidRequestError and re.search(_PROOF, f"{error.code} {error.message}"):
        error.hint = _PROOF_HINT
    return error


def _overflow(said: _Said) -> TokenLimitError:
    error = TokenLimitError(said.message, code=said.code or said.kind)
    found = next(matching(TokenLimitError, said.message), None)
    numbers = found.groupdict() if found is not None else {}
    error.tokens = _number(numbers.get("tokens")) or _number(said.details.get("n_prompt_tokens"))  # llama.cpp
    error.limit = _number(numbers.get("limit")) or _number(said.details.get("n_ctx"))
    return error


def _number(value: object) -> int | None:
    parts = str(value).replace(",", "").split(" + ")
    return sum(map(int, parts)) if all(part.isdecimal() and len(part) <= 15 for part in parts) else None
