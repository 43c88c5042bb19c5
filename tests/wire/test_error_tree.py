"""Each failing status on each wire: its class, whether to try again and when, and what the user can do."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from penstock import (
    AuthenticationError,
    ConnectTimeoutError,
    FirstChunkTimeoutError,
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    ProviderError,
    ProviderTimeoutError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
    StallTimeoutError,
    TokenLimitError,
    TotalTimeoutError,
    UsageChunk,
)
from penstock.testing import Emulator, Request, ServerReply
from penstock.wire import errors as anthropic_errors
from penstock.wire import errors as openai_errors
from penstock.wire.retry_after import quoted_headers, said_in_headers, said_of_buckets
from three_wires import ASK, WIRES, ThreeWire, each_wire, failure

pytestmark = pytest.mark.anyio

NAMED: dict[int, type[ProviderError]] = {
    401: AuthenticationError,
    402: QuotaExceededError,
    403: PermissionDeniedError,
    404: NotFoundError,
    408: ProviderTimeoutError,
    413: TokenLimitError,
    429: RateLimitError,
    498: OverloadedError,  # Groq's "no capacity"
    504: ProviderTimeoutError,
    529: OverloadedError,
}
RETRYABLE = {408, 409, 429, 498, *range(500, 600)}


async def errors_of(wire: ThreeWire, *replies: ServerReply, **config: Any) -> list[ProviderError]:
    """What calls that get these replies raise."""
    async with Emulator(*replies) as emulator, wire.provider(emulator.url, **config) as provider:
        return [await failure(provider) for _ in replies]


@each_wire
async def test_every_status(wire: ThreeWire) -> None:
    """Through the whole border, each with all that a handler needs."""
    statuses = range(400, 600)
    for status, error in zip(statuses, await errors_of(wire, *(wire.error(s, "No.") for s in statuses)), strict=True):
        general = ServerError if status >= 500 else InvalidRequestError
        kind = NAMED.get(status, general)
        assert type(error) is kind, status
        assert error.retryable is (status in RETRYABLE or kind is OverloadedError), status
        assert (error.status, error.vendor, error.model) == (status, _vendor(wire), "m")
        assert (error.code, error.request_id) == ("some_error", "req_emulated")
        assert error.message == "No." or (status == 407 and "the proxy wants" in error.message)
        assert (error.retry_after, error.usage) == (None, UsageChunk())
        assert error.hint in str(error) != ""
        assert isinstance(error.__cause__, Exception)


def _vendor(wire: ThreeWire) -> str:
    return "anthropic" if wire.name == "anthropic" else "openai"


QUOTAS = [
    pytest.param(400, "Your credit balance is too low to access the Anthropic API.", None, id="Anthropic, 400"),
    pytest.param(429, "This request would exceed the enforced spend limit", None, id="Anthropic, 429"),
    pytest.param(429, "You exceeded your current quota, please check your plan", "insufficient_quota", id="OpenAI"),
    pytest.param(402, "Insufficient Balance", None, id="DeepSeek"),
    pytest.param(403, "Your team has used all available credits or reached its spending limit", None, id="xAI, 403"),
    pytest.param(429, "Your team has used all available credits", None, id="xAI, 429"),
    pytest.param(402, "This request requires more credits, or fewer max_tokens", None, id="OpenRouter, 402"),
    pytest.param(403, "Key limit exceeded (monthly limit)", None, id="OpenRouter, 403"),
    pytest.param(429, "Your prepayment credits are depleted", None, id="Google"),
    pytest.param(412, "Account suspended, possibly due to reaching the monthly spending limit", None, id="Fireworks"),
    pytest.param(429, "Insufficient balance or no resource package. Please recharge.", None, id="Z.ai"),
    pytest.param(500, "no", "insufficient_user_quota", id="a gateway that makes a 500 of it"),
    pytest.param(409, "Your credit balance is too low", None, id="a conflict about money"),
]


@pytest.mark.parametrize(("status", "message", "code"), QUOTAS)
@each_wire
def test_money_is_no_rate_limit(wire: ThreeWire, status: int, message: str, code: str | None) -> None:
    """On every wire, whoever says it: no wait helps."""
    error = wire.response_error(status, {}, _body(wire, message, code))
    assert type(error) is QuotaExceededError
    assert (error.retryable, error.status, error.message) == (False, status, message)


NO_QUOTAS = [
    pytest.param(401, "Invalid API key or insufficient credits.", AuthenticationError, id="Perplexity's wrong key"),
    pytest.param(500, "the store of spend limits failed", ServerError, id="a 500 that speaks of a limit"),
    pytest.param(429, "Rate limit reached for requests", RateLimitError, id="a limit by the minute"),
    pytest.param(
        429,
        "You exceeded your current quota: https://ai.google.dev/gemini-api/docs/rate-limits. Please retry in 37.5s.",
        RateLimitError,
        id="Google's limit by the minute",
    ),
]


@pytest.mark.parametrize(("status", "message", "kind"), NO_QUOTAS)
@each_wire
def test_what_is_not_about_money(wire: ThreeWire, status: int, message: str, kind: type[ProviderError]) -> None:
    """Status first: words count only where the status leaves it open."""
    assert type(wire.response_error(status, {}, _body(wire, message))) is kind


def _body(wire: ThreeWire, message: str, code: str | None = None, **more: Any) -> bytes:
    if wire.name == "anthropic":
        details = {"error_code": code} if code else None
        return msgspec.json.encode({"error": {"type": "some_error", "message": message, "details": details, **more}})
    return msgspec.json.encode({"error": {"type": "some_error", "message": message, "code": code, **more}})


NOW = dt.datetime(2026, 11, 21, 12, 0, tzinfo=dt.UTC)
HEADERS = [
    pytest.param({"retry-after": "7"}, 7, id="seconds"),
    pytest.param({"retry-after": "0.5"}, 0.5, id="part of a second"),
    pytest.param({"retry-after": "0"}, 0, id="at once"),
    pytest.param({"retry-after-ms": "1500", "retry-after": "9"}, 1.5, id="milliseconds win"),
    pytest.param({"retry-after-ms": "x", "retry-after": "9"}, 9, id="milliseconds that are no number"),
    pytest.param({"retry-after": "Sat, 21 Nov 2026 12:01:30 GMT"}, 90, id="a date"),
    pytest.param({"retry-after": "Sat, 21 Nov 2026 11:59:00 GMT"}, 0, id="a date that has been"),
    pytest.param({"retry-after": "Sat, 21 Nov 2026 12:01:30 -0000"}, 90, id="a date without a zone"),
    pytest.param({"retry-after": "Mon, 01 Jan 99999999999999 00:00:00 GMT"}, None, id="a date beyond all calendars"),
    pytest.param({"retry-after": "soon"}, None, id="no number"),
    pytest.param({"retry-after": "-3"}, None, id="a negative number"),
    pytest.param({"retry-after": "inf"}, None, id="for ever"),
    pytest.param({}, None, id="not said"),
]


@pytest.mark.parametrize(("headers", "seconds"), HEADERS)
def test_what_headers_say(headers: Mapping[str, str], seconds: float | None) -> None:
    """In seconds, whatever the form; the clock is an argument."""
    assert said_in_headers(headers, NOW) == seconds


ANTHROPIC = "anthropic-ratelimit-"
BUCKETS = [
    pytest.param(
        429,
        {f"{ANTHROPIC}tokens-remaining": "0", f"{ANTHROPIC}tokens-reset": "2026-11-21T12:00:41Z"},
        41,
        id="Anthropic",
    ),
    pytest.param(
        429,
        {
            f"{ANTHROPIC}requests-remaining": "0",
            f"{ANTHROPIC}requests-reset": "2026-11-21T12:00:05Z",
            f"{ANTHROPIC}input-tokens-remaining": "0",
            f"{ANTHROPIC}input-tokens-reset": "2026-11-21T13:00:20+01:00",
            f"{ANTHROPIC}output-tokens-remaining": "400",
            f"{ANTHROPIC}output-tokens-reset": "2026-11-21T12:30:00Z",
        },
        20,
        id="the longest of those that are empty",
    ),
    pytest.param(
        429,
        {f"{ANTHROPIC}tokens-remaining": "0", f"{ANTHROPIC}tokens-reset": "2026-11-21T11:59:00Z"},
        0,
        id="one that is filled by now",
    ),
    pytest.param(
        429, {f"{ANTHROPIC}tokens-remaining": "0", f"{ANTHROPIC}tokens-reset": "soon"}, None, id="a time that is none"
    ),
    pytest.param(429, {f"{ANTHROPIC}tokens-remaining": "0"}, None, id="no time at all"),
    *(
        pytest.param(
            429, {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": said}, seconds, id=f"OpenAI, {said}"
        )
        for said, seconds in (
            ("1s", 1),
            ("6m0s", 360),
            ("20ms", 0.02),
            ("7.66s", 7.66),
            ("2h3m4s", 7384),
            ("1h", 3600),
            ("500µs", 0.0005),
            ("soon", None),
            ("7", None),
            ("", None),
        )
    ),
    pytest.param(
        429,
        {"x-ratelimit-remaining-requests": "3", "x-ratelimit-reset-requests": "8m"},
        None,
        id="a bucket that is not empty",
    ),
    pytest.param(
        500, {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "8m"}, None, id="at another status"
    ),
    pytest.param(
        529, {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "8m"}, 480, id="at 529 as well"
    ),
]


@pytest.mark.parametrize(("status", "headers", "seconds"), BUCKETS)
def test_what_empty_buckets_say(status: int, headers: Mapping[str, str], seconds: float | None) -> None:
    """Those of which nothing remains, and only where that is why."""
    assert said_of_buckets(status, headers, NOW) == (None if seconds is None else pytest.approx(seconds))


GOOGLE = [
    {"@type": "type.googleapis.com/google.rpc.Help", "links": []},
    {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "37s"},
]
WORDS = [
    pytest.param("Please retry after 6 seconds.", {}, 6, id="Azure"),
    pytest.param("Rate limit reached. Please try again in 7.66s. Visit", {}, 7.66, id="OpenAI"),
    pytest.param("Please try again in 1m26.4s.", {}, 86.4, id="Groq"),
    pytest.param("Please try again in 20ms.", {}, 0.02, id="milliseconds"),
    pytest.param("No.", {"details": GOOGLE}, 37, id="Google's details"),
    pytest.param("Please retry in 37.4s.", {"details": GOOGLE}, 37, id="details win over words"),
    pytest.param("No.", {"details": "soon"}, None, id="details of another kind"),
    pytest.param("No.", {"details": [7, {"retryDelay": 5}, {"retryDelay": "x"}]}, None, id="broken details"),
    pytest.param("Please retry shortly.", {}, None, id="no number"),
]


@pytest.mark.parametrize(("message", "more", "seconds"), WORDS)
def test_what_bodies_say(message: str, more: dict[str, Any], seconds: float | None) -> None:
    """Also inside a stream, where there are no headers."""
    body = _body(WIRES[1], message, **more)
    assert openai_errors.response_error(429, {}, body).retry_after == seconds
    said = _body(WIRES[1], message, "rate_limit_exceeded", **more)
    assert openai_errors.stream_error(said).retry_after == seconds
    assert openai_errors.response_error(400, {}, body).retry_after is None
    if not more:
        error = anthropic_errors.stream_error(
            msgspec.json.encode({"error": {"type": "rate_limit_error", "message": message}})
        )
        assert error.retry_after == seconds


RESETS = [
    pytest.param("0", "1795262400000", 0, id="a time that has been, in milliseconds"),
    pytest.param("0", str(int(NOW.timestamp() * 1000) + 7_200_000), 7200, id="milliseconds since 1970, OpenRouter's"),
    pytest.param("0", str(int(NOW.timestamp()) + 90), 90, id="seconds since 1970, GitHub's"),
    pytest.param("0", "30", 30, id="seconds from now on"),
    pytest.param("0", "soon", None, id="no number"),
    pytest.param("5", "30", None, id="something remains"),
]


@pytest.mark.parametrize(("remaining", "reset", "seconds"), RESETS)
def test_a_bucket_without_a_name(remaining: str, reset: str, seconds: float | None) -> None:
    """In headers of the answer, and in those that an error's body quotes."""
    said = {"X-RateLimit-Limit": "50", "X-RateLimit-Remaining": remaining, "X-RateLimit-Reset": reset}
    body = msgspec.json.encode({"error": {"message": "free-models-per-day", "metadata": {"headers": said}}})
    for headers in ({name.lower(): value for name, value in said.items()}, quoted_headers(body)):
        assert said_of_buckets(429, headers, NOW) == seconds


@pytest.mark.parametrize(
    "body",
    [b"", b"oops", b'{"headers":1}', b'{"error":{"metadata":{"headers":[]}}}', b'{"error":"headers"}', b'["headers"]'],
)
def test_no_headers_are_quoted(body: bytes) -> None:
    """Whatever speaks of headers."""
    assert quoted_headers(body) == {}


@each_wire
async def test_quoted_headers_tell_how_long_to_wait(wire: ThreeWire) -> None:
    """As OpenRouter's do, of a day's limit; the answer's own headers count first."""
    quoted = {"metadata": {"headers": {"Retry-After": 70, "X-Request-Id": "no"}}}
    body = msgspec.json.encode({"error": {"message": "free-models-per-day", "type": "some_error", **quoted}})
    replies = [ServerReply([body], 429, headers, whole=True) for headers in ({}, {"retry-after": "3"})]
    waits = await errors_of(wire, *replies)
    assert [(type(error), error.retry_after) for error in waits] == [(RateLimitError, 70), (RateLimitError, 3)]


@each_wire
async def test_who_says_it_first_counts(wire: ThreeWire) -> None:
    """A header that says it, then the body, then the buckets; and those only where waiting helps."""
    empty = {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "9s"}
    waits = await errors_of(
        wire,
        wire.error(429, "Please retry after 6 seconds", headers={"retry-after": "3", **empty}),
        wire.error(429, "Please retry after 6 seconds", headers=empty),
        wire.error(429, "No.", headers=empty),
        wire.error(429, "Your credit balance is too low", headers=empty),
        wire.error(400, "No.", headers=empty),
    )
    assert [error.retry_after for error in waits] == [3, 6, 9, None, None]


OVERFLOWS = [
    pytest.param(0, "prompt is too long: 208310 tokens > 200000 maximum", {}, id="Anthropic"),
    pytest.param(
        1,
        "This model's maximum context length is 200000 tokens. However, your messages resulted in 208310 tokens",
        {},
        id="OpenAI",
    ),
    pytest.param(
        1, "big", {"type": "exceed_context_size_error", "n_prompt_tokens": 208310, "n_ctx": 200000}, id="llama.cpp"
    ),
]


@pytest.mark.parametrize(("wire", "message", "more"), OVERFLOWS)
def test_an_overflow_has_its_numbers(wire: int, message: str, more: dict[str, Any]) -> None:
    """As attributes, and in the text."""
    error_type = {"type": "invalid_request_error"}
    body = msgspec.json.encode({"error": {"message": message, **error_type, **more}})
    error = WIRES[wire].response_error(400, {}, body)
    assert isinstance(error, TokenLimitError)
    assert (error.tokens, error.limit) == (208310, 200000)
    assert "208310 tokens, limit 200000" in str(error)


KEYS = [
    ("anthropic", "ANTHROPIC_API_KEY"),
    ("openai", "OPENAI_API_KEY"),
    ("azure", "AZURE_OPENAI_API_KEY"),
    ("google", "GEMINI_API_KEY or GOOGLE_API_KEY"),
    ("groq", "GROQ_API_KEY"),
]


@pytest.mark.parametrize(("vendor", "names"), KEYS)
async def test_a_wrong_key_names_the_vendors_variable(vendor: str, names: str) -> None:
    """And not another vendor's."""
    wire = WIRES[0] if vendor == "anthropic" else WIRES[1]
    async with Emulator(wire.error(401, "No.")) as emulator:
        config: dict[str, Any] = {"dialect": vendor} if vendor != "anthropic" else {}
        async with wire.provider(emulator.url, **config) as provider:
            with pytest.raises(AuthenticationError, match=f"Check the API key: {names}, or"):
                await anext(provider.create_message("", ASK))


@each_wire
async def test_each_deadline_is_an_error_of_its_own(wire: ThreeWire) -> None:
    """See test_deadlines for when they come; here, that one `except` catches them all, and a vendor's is none."""
    family = (ConnectTimeoutError, FirstChunkTimeoutError, StallTimeoutError, TotalTimeoutError)
    assert all(issubclass(kind, ProviderTimeoutError) for kind in family)
    assert sorted(str(kind.deadline) for kind in family) == ["connect", "first_chunk", "stall", "total"]
    for error in await errors_of(wire, wire.error(408, "slow"), wire.error(504, "slow")):
        assert type(error) is ProviderTimeoutError
        assert (error.deadline, error.seconds) == (None, None)


@each_wire
async def test_a_redirect_does_not_carry_the_key_away(wire: ThreeWire) -> None:
    """Whatever its status: nothing reaches the other origin, and the error says where it would have gone."""
    statuses = (301, 302, 303, 307, 308)

    async with Emulator(lambda request: ServerReply(wire.answer("Hi"))) as other:

        def redirect(request: Request) -> ServerReply:
            status = statuses[len(emulator.exchanges) - 1]
            return ServerReply([], status, {"location": f"{other.url}/elsewhere"}, whole=True)

        async with Emulator(redirect) as emulator, wire.provider(emulator.url) as provider:
            for _ in statuses:
                with pytest.raises(InvalidRequestError, match=r"redirects to .*elsewhere, which is not followed"):
                    await anext(provider.create_message("", ASK))
        assert not other.requests
        assert len(emulator.requests) == len(statuses)
