"""Every form and phrase of an error that servers of OpenAI's two wires have: status first, then codes, then words."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
from penstock.wire.errors import response_error, stream_error


def body(message: Any = "No.", **fields: Any) -> bytes:
    """OpenAI's own form."""
    return msgspec.json.encode({"error": {"message": message, "type": None, "param": None, "code": None, **fields}})


STATUSES = [
    pytest.param(400, InvalidRequestError, False, id="400"),
    pytest.param(401, AuthenticationError, False, id="401"),
    pytest.param(402, QuotaExceededError, False, id="402"),
    pytest.param(403, PermissionDeniedError, False, id="403"),
    pytest.param(404, NotFoundError, False, id="404"),
    pytest.param(405, InvalidRequestError, False, id="405"),
    pytest.param(408, ProviderTimeoutError, True, id="408"),
    pytest.param(409, InvalidRequestError, True, id="409"),
    pytest.param(413, TokenLimitError, False, id="413"),
    pytest.param(422, InvalidRequestError, False, id="422"),
    pytest.param(429, RateLimitError, True, id="429"),
    pytest.param(498, OverloadedError, True, id="498, Groq's"),
    pytest.param(500, ServerError, True, id="500"),
    pytest.param(502, ServerError, True, id="502"),
    pytest.param(503, ServerError, True, id="503"),
    pytest.param(504, ProviderTimeoutError, True, id="504"),
    pytest.param(524, ServerError, True, id="524, Cloudflare's"),
    pytest.param(529, OverloadedError, True, id="529"),
    pytest.param(307, InvalidRequestError, False, id="307"),
]
FORMS = [
    pytest.param(body("Said so"), None, id="OpenAI"),
    pytest.param(body("Said so", code="x"), "x", id="with a code"),
    pytest.param(body("Said so", type="x"), "x", id="with a type"),
    pytest.param(body("Said so", code="x", type="y"), "x", id="with both"),
    pytest.param(body("Said so", code=1234, type="y"), "y", id="with a number for a code"),
    pytest.param(b'{"error":"Said so"}', None, id="a text"),
    pytest.param(b'{"code":"x","error":"Said so"}', "x", id="xAI"),
    pytest.param(b'[{"error":{"code":999,"message":"Said so","status":"X"}}]', "X", id="Google"),
    pytest.param(b'{"object":"error","message":"Said so","type":"X","param":null,"code":999}', "X", id="older vLLM"),
    pytest.param(b'{"object":"error","message":"Said so","type":"X","code":"3051"}', "3051", id="Mistral"),
    pytest.param(b'{"object":"error","message":{"detail":[{"msg":"Said so"}]},"type":"X"}', "X", id="Mistral's object"),
    pytest.param(b'{"detail":"Said so"}', None, id="FastAPI"),
    pytest.param(b'{"detail":[{"loc":["body"],"msg":"Said so"}]}', None, id="FastAPI's list"),
    pytest.param(b'{"message":"Said so","request_id":"r"}', None, id="a message"),
    pytest.param(b'{"error":{"msg":"Said so"}}', None, id="another name of it"),
    pytest.param(b"\xef\xbb\xbfSaid so", None, id="plain text"),
    pytest.param(b"<html><body>Said so</body></html>", None, id="a web page"),
    pytest.param(b'{"status":"x","title":"Said so"}', None, id="another document"),
    pytest.param(b'{"error":{"message":"Said so \xff"}}', None, id="text that is none"),
    pytest.param(b'{"error":{"message":"Said so', None, id="half a document"),
]


@pytest.mark.parametrize(("status", "kind", "retryable"), STATUSES)
@pytest.mark.parametrize(("answer", "code"), FORMS)
def test_the_status_decides_and_every_form_is_read(
    status: int, kind: type[ProviderError], retryable: bool, answer: bytes, code: str | None
) -> None:
    """What the vendor said is in the message, its word in the code."""
    error = response_error(status, {"x-request-id": "req_1"}, answer)
    assert type(error) is kind
    assert (error.status, error.code, error.retryable, error.request_id) == (status, code, retryable, "req_1")
    assert "Said so" in error.message


@pytest.mark.parametrize(
    "answer", [b"", b"  \n", b"null", b"[]", b"{}", b"0", b"[" * 100_000, b'{"error":{}}', b"\xff"]
)
def test_an_answer_that_says_nothing_has_its_status(answer: bytes) -> None:
    """It is an error all the same, with some message."""
    error = response_error(503, {}, answer)
    assert type(error) is ServerError
    assert error.message
    assert error.request_id is None


@pytest.mark.parametrize(
    "answer", [b"<p>" + b"x" * 9000, b"y" * 9000, b'{"a":"' + b"z" * 9000 + b'"}', "é".encode() * 9000]
)
def test_no_more_than_200_characters_of_a_raw_body_are_shown(answer: bytes) -> None:
    """It may be a page, or echo the request."""
    assert len(response_error(500, {}, answer).message) == 201
    assert len(stream_error(answer).message) < 300


def test_a_reason_is_shown_up_to_2000_characters() -> None:
    """Some quote the whole request."""
    for answer in (body("x" * 9000), msgspec.json.encode({"detail": [{"input": "x" * 9000}]})):
        for error in (response_error(422, {}, answer), stream_error(answer)):
            assert len(error.message) == 2001


REQUEST_IDS = [
    pytest.param({"x-request-id": "a"}, b"{}", "a", id="OpenAI"),
    pytest.param({"request-id": "b"}, b"{}", "b", id="Anthropic"),
    pytest.param({"x-request-id": "a", "request-id": "b"}, b"{}", "b", id="Anthropic behind a gateway with its own"),
    pytest.param({"x-generation-id": "c"}, b"{}", "c", id="OpenRouter"),
    pytest.param({"apim-request-id": "d"}, b"{}", "d", id="Azure"),
    pytest.param({}, b'{"error":{"message":"x"},"request_id":"e"}', "e", id="beside the error"),
    pytest.param({}, b'{"message":"x","request_id":"f"}', "f", id="Mistral"),
    pytest.param({}, b"{}", None, id="none"),
]


@pytest.mark.parametrize(("headers", "answer", "wanted"), REQUEST_IDS)
def test_request_ids(headers: dict[str, str], answer: bytes, wanted: str | None) -> None:
    """What the vendor's support asks for."""
    assert response_error(500, headers, answer).request_id == wanted


CODES = [
    pytest.param(429, "insufficient_quota", QuotaExceededError, id="quota"),
    pytest.param(429, "credit_balance_exhausted", QuotaExceededError, id="credit"),
    pytest.param(429, "billing_hard_limit_reached", QuotaExceededError, id="a hard limit"),
    pytest.param(429, "organization_spend_limit_exceeded", QuotaExceededError, id="a spend limit"),
    pytest.param(429, "project_spend_limit_exceeded", QuotaExceededError, id="a project's spend limit"),
    pytest.param(429, "organization_usage_limit_exceeded", QuotaExceededError, id="a usage limit"),
    pytest.param(403, "insufficient_user_quota", QuotaExceededError, id="one-api"),
    pytest.param(400, "billing_hard_limit_reached", QuotaExceededError, id="a hard limit with 400"),
    pytest.param(429, "rate_limit_exceeded", RateLimitError, id="a rate limit"),
    pytest.param(429, "slow_down", RateLimitError, id="slow down"),
    pytest.param(400, "context_length_exceeded", TokenLimitError, id="overflow"),
    pytest.param(400, "exceed_context_size_error", TokenLimitError, id="llama.cpp's overflow"),
    pytest.param(413, "rate_limit_exceeded", TokenLimitError, id="Groq: more than a minute allows"),
    pytest.param(400, "model_not_found", NotFoundError, id="no such model, with 400"),
    pytest.param(400, "invalid_api_key", AuthenticationError, id="a wrong key, with 400"),
    pytest.param(400, "rate_limit_exceeded", RateLimitError, id="a rate limit, with 400"),
    pytest.param(400, "server_error", InvalidRequestError, id="a status of 400 is not the server's fault"),
    pytest.param(400, "tool_use_failed", InvalidRequestError, id="Groq: a broken call"),
    pytest.param(400, "content_filter", InvalidRequestError, id="Azure's filter"),
    pytest.param(400, "unsupported_parameter", InvalidRequestError, id="a parameter"),
    pytest.param(404, "DeploymentNotFound", NotFoundError, id="Azure: no deployment"),
    pytest.param(429, "429", RateLimitError, id="Azure: a status for a code"),
    pytest.param(503, "server_is_overloaded", OverloadedError, id="a 503 that names what it is"),
    pytest.param(500, "rate_limit_exceeded", ServerError, id="the status first"),
]


@pytest.mark.parametrize(("status", "code", "kind"), CODES)
def test_codes(status: int, code: str, kind: type[ProviderError]) -> None:
    """As the error's code, and as its type."""
    for answer in (body("No.", code=code), body("No.", type=code)):
        error = response_error(status, {}, answer)
        assert type(error) is kind
        assert error.code == code


WORDS = [
    pytest.param(
        429,
        "You exceeded your current quota, please check your plan and billing details. For more information "
        "on this error, read the docs: https://platform.openai.com/docs/guides/error-codes",
        QuotaExceededError,
        id="OpenAI: quota",
    ),
    pytest.param(
        429,
        "You exceeded your current quota, please check your plan and billing details. For more information "
        "on this error, head to: https://ai.google.dev/gemini-api/docs/rate-limits. \n* Quota exceeded for "
        "metric: generate_content_free_tier_requests, limit: 15\nPlease retry in 25.4s.",
        RateLimitError,
        id="Google: a minute's limit in the same words",
    ),
    pytest.param(
        429, "You exceeded your current quota.\nPlease retry in 37.2s.", RateLimitError, id="the same through a gateway"
    ),
    pytest.param(429, "Your prepayment credits are depleted.", QuotaExceededError, id="Google: money"),
    pytest.param(
        429,
        "Rate limit reached for gpt-6 in organization org-x on tokens per min (TPM): Limit 30000, Used "
        "29000, Requested 2000. Please try again in 2s.",
        RateLimitError,
        id="OpenAI: a rate limit",
    ),
    pytest.param(
        429,
        "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day",
        RateLimitError,
        id="OpenRouter: a day's limit",
    ),
    pytest.param(
        403,
        "Your team 1 has either used all available credits or reached its monthly spending limit.",
        QuotaExceededError,
        id="xAI",
    ),
    pytest.param(403, "Key limit exceeded (total limit).", QuotaExceededError, id="OpenRouter: the key's limit"),
    pytest.param(402, "Insufficient Balance", QuotaExceededError, id="DeepSeek"),
    pytest.param(
        402, "This request requires more credits, or fewer max_tokens.", QuotaExceededError, id="OpenRouter: credits"
    ),
    pytest.param(
        400, "Your credit balance is too low to access the API.", QuotaExceededError, id="Anthropic behind a gateway"
    ),
    pytest.param(403, "Country, region, or territory not supported", PermissionDeniedError, id="a region"),
    pytest.param(403, "Your input exceeds the context window", PermissionDeniedError, id="a moderation that quotes"),
    pytest.param(401, "Invalid API key or insufficient credits.", AuthenticationError, id="the status first: 401"),
    pytest.param(
        500, "Rate limit reached, you exceeded your current quota", ServerError, id="the status first: 500 and a quota"
    ),
    pytest.param(
        500, "This model's maximum context length is 8 tokens", ServerError, id="the status first: 500 and an overflow"
    ),
    pytest.param(404, "The model `x` has been deprecated", NotFoundError, id="a model that is gone"),
    pytest.param(
        400,
        "Incorrect API key provided. You can obtain an API key from https://console.x.ai.",
        AuthenticationError,
        id="xAI: a wrong key",
    ),
    pytest.param(400, "API key not valid. Please pass a valid API key.", AuthenticationError, id="Google: a wrong key"),
    pytest.param(400, "API Key not found. Please pass a valid API key.", AuthenticationError, id="Google: no such key"),
    pytest.param(400, "API key expired. Please renew the API key.", AuthenticationError, id="Google: an old key"),
    pytest.param(
        400,
        "Invalid 'user': string too long. Expected a string with maximum length 64, but got a string with "
        "length 90 instead.",
        InvalidRequestError,
        id="a name that is too long",
    ),
    pytest.param(
        400,
        "Invalid 'messages[1].tool_calls[0].id': string too long. Expected a string with maximum length "
        "40, but got a string with length 53 instead.",
        InvalidRequestError,
        id="an id that is too long",
    ),
    pytest.param(
        400,
        "Invalid 'messages[1].content': string too long. Expected a string with maximum length 10485760, "
        "but got a string with length 10485761 instead.",
        TokenLimitError,
        id="a text that is too long",
    ),
    pytest.param(
        429,
        "Too many tokens in flight. The maximum context length is 8 tokens.",
        RateLimitError,
        id="a rate limit that speaks of a length",
    ),
]


@pytest.mark.parametrize(("status", "message", "kind"), WORDS)
def test_words_count_only_where_the_status_leaves_it_open(status: int, message: str, kind: type[ProviderError]) -> None:
    """Money, keys and lengths are spoken of in many places."""
    for answer in (body(message), msgspec.json.encode({"error": message})):
        assert type(response_error(status, {}, answer)) is kind


# What servers say when there are too many tokens; tokens of the request, and what the model takes.
OVERFLOWS = [
    pytest.param(
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 9417 tokens. "
        "Please reduce the length of the messages.",
        9417,
        8192,
        id="OpenAI",
    ),
    pytest.param(
        "This model's maximum context length is 8192 tokens. However, you requested 9224 tokens (1224 in the "
        "messages, 8000 in the completion). Please reduce the length of the messages or completion.",
        9224,
        8192,
        id="OpenAI, vLLM, DeepSeek",
    ),
    pytest.param(
        "Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 294118 tokens. "
        "Please reduce the length of the messages.",
        294118,
        272000,
        id="OpenAI from gpt-5 on",
    ),
    pytest.param(
        "Your input exceeds the context window of this model. Please adjust your input and try again.",
        None,
        None,
        id="Responses",
    ),
    pytest.param(
        "This model's maximum prompt length is 131072 but the request contains 625077 tokens.", 625077, 131072, id="xAI"
    ),
    pytest.param(
        "The input token count (1200001) exceeds the maximum number of tokens allowed (1048576).",
        1200001,
        1048576,
        id="Google",
    ),
    pytest.param(
        "Prompt contains 140000 tokens and 0 draft tokens, too large for model with 131072 maximum context length",
        140000,
        131072,
        id="Mistral",
    ),
    pytest.param(
        "request (9412 tokens) exceeds the available context size (8192 tokens), try increasing it",
        9412,
        8192,
        id="llama.cpp",
    ),
    pytest.param(
        "the request exceeds the available context size. try increasing the context size",
        None,
        None,
        id="older llama.cpp",
    ),
    pytest.param(
        "Please reduce the length of the messages or completion. Current length is 9000 while limit is 8192",
        9000,
        8192,
        id="Cerebras",
    ),
    pytest.param("Please reduce the length of the messages or completion.", None, None, id="Groq"),
    pytest.param(
        "'max_tokens' or 'max_completion_tokens' is too large: 2000. This model's maximum context length is "
        "4096 tokens and your request has 2104 input tokens (2000 > 4096 - 2104).",
        2104,
        4096,
        id="vLLM",
    ),
    pytest.param(
        "This model's maximum context length is 32768 tokens. However, you requested 32000 output tokens and "
        "your prompt contains at least 769 input tokens, for a total of at least 32769 tokens. Please reduce "
        "the length of the input prompt or the number of requested output tokens.",
        32769,
        32768,
        id="newer vLLM",
    ),
    pytest.param(
        "The decoder prompt (length 40000) is longer than the maximum model length of 32768.",
        40000,
        32768,
        id="vLLM's engine",
    ),
    pytest.param(
        "The input (140000 tokens) is longer than the model's context length (131072 tokens).",
        140000,
        131072,
        id="SGLang, Together",
    ),
    pytest.param(
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4097. Given: 4000 `inputs` "
        "tokens and 512 `max_new_tokens`",
        None,
        None,
        id="Together",
    ),
    pytest.param(
        "This endpoint's maximum context length is 200000 tokens. However, you requested about 2,500,021 tokens "
        "(2500021 of text input).",
        2500021,
        200000,
        id="OpenRouter",
    ),
    pytest.param(
        "Invalid request: Your request exceeded model token limit: 262144 (requested: 300000)",
        300000,
        262144,
        id="Moonshot",
    ),
    pytest.param("prompt token count of 130000 exceeds the limit of 128000", 130000, 128000, id="GitHub"),
    pytest.param("prompt is too long: 210000 tokens > 200000 maximum", 210000, 200000, id="Anthropic behind a gateway"),
    pytest.param("Input is too long for requested model.", None, None, id="Bedrock behind a gateway"),
    pytest.param(
        "The number of tokens to keep from the initial prompt is greater than the context length.",
        None,
        None,
        id="LM Studio",
    ),
    pytest.param(
        "Trying to keep the first 4472 tokens when context the overflows. However, the model is loaded with "
        "context length of only 4096 tokens, which is not enough.",
        None,
        None,
        id="LM Studio again",
    ),
]


@pytest.mark.parametrize(("message", "tokens", "limit"), OVERFLOWS)
def test_every_overflow_is_one_with_its_numbers(message: str, tokens: int | None, limit: int | None) -> None:
    """In every form, also behind a gateway that quotes it, and inside a stream."""
    raw = msgspec.json.encode({"error": {"message": message, "code": 400}}).decode()
    quoted = body("Provider returned error", code=400, metadata={"raw": raw, "provider_name": "x"})
    for answer in (
        body(message),
        msgspec.json.encode({"code": "x", "error": message}),
        b"[%b]" % body(message),
        quoted,
    ):
        for error in (response_error(400, {}, answer), response_error(413, {}, answer), stream_error(answer)):
            assert isinstance(error, TokenLimitError)
            assert (error.tokens, error.limit, error.retryable) == (tokens, limit, False)


def test_an_overflow_may_have_its_numbers_beside_the_words() -> None:
    """llama.cpp's has them twice."""
    said = {"code": 400, "type": "exceed_context_size_error", "n_prompt_tokens": 9412, "n_ctx": 8192}
    for message in ("too long", "the request exceeds the available context size"):
        error = response_error(400, {}, body(message, **said))
        assert isinstance(error, TokenLimitError)
        assert (error.tokens, error.limit) == (9412, 8192)


TOO_LARGE = "Request too large for gpt-6 in organization org-x on tokens per min (TPM): Limit 30,000, Requested 49,152."


@pytest.mark.parametrize(("status", "code"), [(429, "rate_limit_exceeded"), (413, "rate_limit_exceeded"), (429, None)])
def test_a_request_of_more_than_a_minutes_tokens_never_fits(status: int, code: str | None) -> None:
    """OpenAI says so with 429, Groq with 413: no wait helps."""
    error = response_error(status, {}, body(TOO_LARGE, type="tokens", code=code))
    assert isinstance(error, TokenLimitError)
    assert (error.tokens, error.limit, error.retryable) == (49152, 30000, False)


def test_what_the_vendor_behind_a_gateway_said_is_shown() -> None:
    """OpenRouter's own message says nothing; of the other's, at most 1,000 characters."""
    for raw in ("upstream is busy", {"error": "upstream is busy"}):
        answer = body("Provider returned error", code=429, metadata={"raw": raw})
        assert "upstream is busy" in response_error(429, {}, answer).message
    answer = body("Provider returned error", metadata={"raw": "x" * 9000})
    assert len(response_error(429, {}, answer).message) < 1100


STREAMED = [
    pytest.param({"type": "server_error"}, ServerError, id="server_error"),
    pytest.param(
        {"type": "server_error", "message": "you exceeded your current quota"},
        ServerError,
        id="which speaks of a quota",
    ),
    pytest.param({"type": "rate_limit_error"}, RateLimitError, id="a rate limit by its type"),
    pytest.param({"type": "requests", "code": "rate_limit_exceeded"}, RateLimitError, id="a rate limit by its code"),
    pytest.param({"type": "tokens"}, RateLimitError, id="tokens"),
    pytest.param({"code": "insufficient_quota"}, QuotaExceededError, id="quota"),
    pytest.param({"code": "server_is_overloaded"}, OverloadedError, id="overloaded"),
    pytest.param({"type": "overloaded_error"}, OverloadedError, id="Anthropic's word"),
    pytest.param({"code": "context_length_exceeded"}, TokenLimitError, id="overflow"),
    pytest.param({"type": "invalid_request_error"}, InvalidRequestError, id="a bad request"),
    pytest.param(
        {"type": "invalid_request_error", "message": "Incorrect API key provided"},
        AuthenticationError,
        id="which is a wrong key",
    ),
    pytest.param(
        {"type": "invalid_request_error", "message": "maximum context length"},
        TokenLimitError,
        id="which is an overflow",
    ),
    pytest.param({"code": "invalid_prompt"}, InvalidRequestError, id="a bad prompt"),
    pytest.param({"code": "bio_policy"}, InvalidRequestError, id="a policy"),
    pytest.param({"type": "authentication_error"}, AuthenticationError, id="a wrong key"),
    pytest.param({"code": "model_not_found"}, NotFoundError, id="no such model"),
    pytest.param({"type": "timeout_error"}, ProviderTimeoutError, id="a timeout"),
    pytest.param({"code": 400}, InvalidRequestError, id="a status for a code: 400"),
    pytest.param({"code": 401}, AuthenticationError, id="a status for a code: 401"),
    pytest.param({"code": 402}, QuotaExceededError, id="a status for a code: 402"),
    pytest.param({"code": 429}, RateLimitError, id="a status for a code: 429"),
    pytest.param({"code": "429"}, RateLimitError, id="as a text"),
    pytest.param({"status": 429}, RateLimitError, id="as the status"),
    pytest.param({"code": None, "status_code": 408}, ProviderTimeoutError, id="as the status code, Groq's"),
    pytest.param(
        {"code": 500, "message": "rate limit, quota exceeded"}, ServerError, id="500 that speaks of a rate limit"
    ),
    pytest.param({"code": 500, "message": "maximum context length"}, ServerError, id="500 that speaks of a length"),
    pytest.param({"code": 502, "type": "rate_limit_error"}, ServerError, id="the status before the type"),
    pytest.param({"code": 529}, OverloadedError, id="529"),
    pytest.param({"code": 1234}, ServerError, id="a number that is no status"),
    pytest.param({"code": 200}, ServerError, id="a status that is none of an error"),
    pytest.param({"code": True}, ServerError, id="a code that is a truth"),
    pytest.param({"code": {"x": 1}}, ServerError, id="a code that is an object"),
    pytest.param({"type": "novel_error"}, ServerError, id="a word nobody knows yet"),
    pytest.param({"message": "insufficient credits"}, QuotaExceededError, id="money, by its words alone"),
    pytest.param({"message": "exceeds the context window"}, TokenLimitError, id="an overflow, by its words alone"),
    pytest.param({"message": None}, ServerError, id="nothing"),
]


@pytest.mark.parametrize(("fields", "kind"), STREAMED)
def test_errors_inside_a_stream(fields: dict[str, Any], kind: type[ProviderError]) -> None:
    """Without a status the code tells, which may be a status, then the type, then the words; and it has no status."""
    fields = {"message": "No.", **fields}
    answers = [
        {"error": fields},
        {"object": "error", **fields},
        {"type": "response.failed", "response": {"status": "failed", "error": fields}},
        {"type": "error", "error": fields},
        [{"error": fields}],
    ]
    for answer in answers:
        if fields["message"] is None and answer.get("object") if isinstance(answer, dict) else False:
            continue  # nothing says that it is an error but its name
        error = stream_error(msgspec.json.encode(answer))
        assert type(error) is kind, answer
        assert error.status is None
        assert error.retryable is kind.retryable


@pytest.mark.parametrize(
    "data", [b"", b"oops", b"{}", b"[]", b"[3]", b"3", b'"x"', b'{"choices":[],"message":""}', b"{" * 9999]
)
def test_what_is_no_error_either_is_malformed(data: bytes) -> None:
    """It shows what came."""
    assert type(stream_error(data)) is MalformedResponseError


def test_errors_survive_pickle_and_copy() -> None:
    """With all that was found in them."""
    error = response_error(400, {"x-request-id": "r"}, body(TOO_LARGE, code="context_length_exceeded"))
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (type(other), vars(other), str(other)) == (type(error), vars(error), str(error))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "message", "code", "type", "status", "detail", "metadata", "raw"]), inner
        )
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(JSON.map(msgspec.json.encode), st.binary(max_size=60)), st.integers(300, 599))
def test_whatever_comes_is_an_error_of_ours(answer: bytes, status: int) -> None:
    """No form of an answer breaks the reading of it."""
    error = response_error(status, {}, answer)
    assert error.status == status
    assert isinstance(error.message, str)
    assert isinstance(stream_error(answer), ProviderError)
    assert str(error)
