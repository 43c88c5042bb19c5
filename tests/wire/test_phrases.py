"""The tables of codes, phrases and forms with which vendors name a failure: every row does what it says."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from penstock import (
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
from penstock.wire.errors import FORMS, Form, holds_error, response_error, stream_error
from penstock.wire.phrases import CODES, PHRASES, Phrase, matching
from penstock.wire.vendors import DIALECTS


def body(message: str = "No.", **fields: Any) -> bytes:
    return msgspec.json.encode({"error": {"message": message, **fields}})


ROWS = [
    pytest.param(kind, phrase, id=f"{kind.__name__} {phrase.sample[:40]}")
    for kind, phrases in PHRASES.items()
    for phrase in phrases
]


@pytest.mark.parametrize(("kind", "phrase"), ROWS)
def test_every_phrase_is_found_in_its_sample(kind: type[ProviderError], phrase: Phrase) -> None:
    """And makes its class of an error that the status leaves open, with whatever stands around it."""
    assert next(matching(kind, f"litellm.BadRequestError: {phrase.sample}\nsee our documentation"), None) is not None
    for sample in (phrase.sample, phrase.sample.upper(), f"x\n{phrase.sample}\ny"):
        status = 503 if kind is OverloadedError else 400
        assert type(response_error(status, {}, body(sample))) is kind
        assert type(stream_error(body(sample, code=status))) is kind


@pytest.mark.parametrize(("kind", "phrase"), ROWS)
@pytest.mark.parametrize("status", [401, 408, 504])
def test_no_phrase_changes_what_the_status_has_settled(kind: type[ProviderError], phrase: Phrase, status: int) -> None:
    """Status first."""
    wanted = kind if status > 499 and kind is OverloadedError else type(response_error(status, {}, body()))
    assert type(response_error(status, {}, body(phrase.sample))) is wanted


@pytest.mark.parametrize("code", CODES)
def test_every_code_is_its_class_where_there_is_no_status(code: str) -> None:
    """As the error's code and as its type; a number only in its own form."""
    form, _, number = code.partition(" ")
    answers = [body(code=code), body(type=code)]
    if form == "base_resp":
        answers = [msgspec.json.encode({"base_resp": {"status_code": int(number), "status_msg": "No."}})]
    elif form == "error_code":
        answers = [msgspec.json.encode({"error_code": int(number), "error_msg": "No."})]
    for answer in answers:
        assert type(stream_error(answer)) is CODES[code]
    if number:
        assert type(stream_error(body(code=int(number)))) is ServerError


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.vendor)
def test_every_form_is_read(form: Form) -> None:
    """Its message is the error's, and what holds it is no answer."""
    data = form.sample.encode()
    assert holds_error(data)
    error = stream_error(data)
    assert (error.message, type(error) in (ServerError, QuotaExceededError)) == ("m", True)
    assert response_error(500, {}, data).message == "m"


FAILURES = [
    pytest.param(
        {"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}, "choices": None},
        QuotaExceededError,
        id="MiniMax: money",
    ),
    pytest.param({"base_resp": {"status_code": 1002, "status_msg": "x"}}, RateLimitError, id="MiniMax: a rate limit"),
    pytest.param({"base_resp": {"status_code": 1004, "status_msg": "x"}}, AuthenticationError, id="MiniMax: a key"),
    pytest.param(
        {"base_resp": {"status_code": 2013, "status_msg": "invalid params, context window exceeds limit"}},
        TokenLimitError,
        id="MiniMax: an overflow",
    ),
    pytest.param({"base_resp": {"status_code": 9999, "status_msg": "x"}}, ServerError, id="MiniMax: a new number"),
    pytest.param(
        {"error_code": 17, "error_msg": "Open api daily request limit reached"}, QuotaExceededError, id="Baidu: a day's"
    ),
    pytest.param({"error_code": 18, "error_msg": "qps limit"}, RateLimitError, id="Baidu: a second's"),
    pytest.param({"error_code": 336000, "error_msg": "internal"}, ServerError, id="Baidu: a number nobody knows"),
    pytest.param({"code": "1113", "msg": "insufficient balance"}, QuotaExceededError, id="Z.ai: money"),
    pytest.param({"code": "1113", "msg": "x"}, QuotaExceededError, id="Z.ai: money, by its number"),
    pytest.param({"code": 1302, "msg": "x"}, RateLimitError, id="Z.ai: a rate limit, as a number"),
    pytest.param({"error": {"code": "1261", "message": "x"}}, TokenLimitError, id="Z.ai: an overflow"),
    pytest.param({"error": {"code": "1211", "message": "x"}}, NotFoundError, id="Z.ai: no such model"),
    pytest.param({"code": 500, "msg": "x", "success": False}, ServerError, id="a status for a code"),
    pytest.param(
        {"success": False, "errors": [{"code": 7003, "message": "x"}], "result": None}, ServerError, id="Cloudflare"
    ),
    pytest.param(
        {"success": False, "errors": [{"message": "model not found"}, {"message": "y"}]}, ServerError, id="two of them"
    ),
    pytest.param(
        {"detail": {"error": {"message": "x", "type": "invalid_request_error"}}}, InvalidRequestError, id="FastAPI's"
    ),
    pytest.param({"detail": {"error": {"error": {"message": "x", "code": 429}}}}, RateLimitError, id="twice wrapped"),
    pytest.param({"detail": {"message": "x", "code": 429}}, RateLimitError, id="FastAPI's without an error"),
    pytest.param({"choices": [{"error": {"message": "x", "code": 502}}]}, ServerError, id="OpenRouter's, in a choice"),
    pytest.param({"error": {"message": "x", "status": "UNAVAILABLE"}}, OverloadedError, id="Google: busy"),
    pytest.param({"error": {"message": "The model is overloaded"}}, OverloadedError, id="busy, in words alone"),
    pytest.param({"error": {"message": "We are at capacity", "code": 502}}, OverloadedError, id="busy, with a status"),
    pytest.param({"error": {"message": "x", "type": "rate_limit"}}, RateLimitError, id="another word for it"),
]


@pytest.mark.parametrize(("document", "kind"), FAILURES)
def test_an_error_under_status_200(document: dict[str, Any], kind: type[ProviderError]) -> None:
    """In whatever form, on whatever wire."""
    error = stream_error(msgspec.json.encode(document))
    assert type(error) is kind
    assert error.status is None


NO_ERRORS = [
    pytest.param({"base_resp": {"status_code": 0, "status_msg": "success"}}, id="MiniMax: all is well"),
    pytest.param({"base_resp": {"status_code": 0, "status_msg": ""}, "choices": []}, id="MiniMax: and no words"),
    pytest.param({"code": 0, "msg": "ok"}, id="Z.ai: all is well"),
    pytest.param({"code": "200", "message": "OK"}, id="as a status"),
    pytest.param({"success": True, "errors": [], "result": {}}, id="Cloudflare: all is well"),
    pytest.param({"choices": [{"message": {"content": "Hi"}}], "message": "x"}, id="an answer with a message"),
    pytest.param({"content": [{"type": "text", "text": "Hi"}], "message": "x"}, id="another wire's"),
    pytest.param({"error": None}, id="null"),
    pytest.param({"error": {}}, id="empty"),
    pytest.param({"error": ""}, id="an empty text"),
    pytest.param({"detail": None, "message": ""}, id="empty words"),
    pytest.param({"error_code": 5}, id="a number without words"),
]


@pytest.mark.parametrize("document", NO_ERRORS)
def test_what_is_no_error(document: dict[str, Any]) -> None:
    """A code that says that all is well, or no words."""
    data = msgspec.json.encode(document)
    assert not holds_error(data)
    assert type(stream_error(data)) is MalformedResponseError


MODELS = [
    pytest.param(400, {"code": "model_decommissioned"}, NotFoundError, id="Groq"),
    pytest.param(400, {"type": "invalid_model", "code": "1500"}, NotFoundError, id="Mistral"),
    pytest.param(400, {"type": "invalid_model"}, NotFoundError, id="Perplexity"),
    pytest.param(400, {"message": "Model Not Exist"}, NotFoundError, id="DeepSeek"),
    pytest.param(400, {"message": "x/y is not a valid model ID"}, NotFoundError, id="OpenRouter"),
    pytest.param(400, {"message": "invalid model ID"}, NotFoundError, id="OpenAI"),
    pytest.param(400, {"message": "Model not found: grok-1"}, NotFoundError, id="xAI"),
    pytest.param(400, {"message": "this model does not support images"}, InvalidRequestError, id="another word of it"),
    pytest.param(400, {"type": "too_many_prompt_tokens"}, TokenLimitError, id="Perplexity's overflow"),
    pytest.param(403, {"message": "please check the api-key you provided"}, AuthenticationError, id="Baseten's key"),
    pytest.param(
        403,
        {"message": "Content violates usage guidelines. Team: 1, API key ID: 2"},
        PermissionDeniedError,
        id="a policy that names a key",
    ),
    pytest.param(400, {"message": "Download multimodal file timed out"}, ProviderTimeoutError, id="Alibaba's download"),
    pytest.param(500, {"message": "Overloaded"}, OverloadedError, id="500 and overloaded"),
    pytest.param(503, {"message": "The model is at capacity right now"}, OverloadedError, id="503 and at capacity"),
    pytest.param(504, {"message": "overloaded"}, OverloadedError, id="504 and overloaded"),
    pytest.param(503, {"type": "overloaded_error"}, OverloadedError, id="in its type alone"),
    pytest.param(429, {"message": "overloaded"}, RateLimitError, id="429 is what it says"),
    pytest.param(400, {"message": "operator is overloaded"}, InvalidRequestError, id="400 is not the server's fault"),
    pytest.param(500, {"message": "rate limit reached"}, ServerError, id="500 that speaks of a rate limit"),
]


@pytest.mark.parametrize(("status", "fields", "kind"), MODELS)
def test_what_other_statuses_hide(status: int, fields: dict[str, Any], kind: type[ProviderError]) -> None:
    """So that a fallback goes on where another model helps, and nothing is repeated in vain."""
    error = response_error(status, {}, body(**fields))
    assert (type(error), error.retryable) == (kind, kind.retryable)


FAULTS = [
    *(pytest.param(text, InvalidRequestError, id=text) for text in DIALECTS["llamacpp"].request_faults[:-1]),
    pytest.param("Context size has been exceeded", TokenLimitError, id="an overflow"),
    pytest.param("Failed to process image", ServerError, id="the server's own"),
]


@pytest.mark.parametrize(("text", "kind"), FAULTS)
@pytest.mark.parametrize("dialect", ["llamacpp", "openai-compatible", "openai"])
def test_a_row_names_what_is_the_requests_own_fault(text: str, kind: type[ProviderError], dialect: str) -> None:
    """With 500, in an answer and in a stream; elsewhere a 500 is the server's."""
    faults = DIALECTS[dialect].request_faults
    kind = kind if faults else ServerError
    answer = body(f"{text.lower()} - hint: try another", code=500, type="server_error")
    for error in (response_error(500, {}, answer, faults), stream_error(answer, faults)):
        assert (type(error), error.retryable) == (kind, kind.retryable)
    assert type(response_error(429, {}, answer, faults)) is RateLimitError
