"""The recorded exchanges with the real Messages API, against what an independent parser read from each."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from penstock import (
    AuthenticationError,
    InvalidRequestError,
    NotFoundError,
    ProviderError,
    QuotaExceededError,
    RateLimitError,
    TokenLimitError,
)
from penstock.wire.errors import response_error
from reading import calls_of, cut, read, reasoning_of, stop_of, text_of, usage_of

ERRORS: dict[int, type[ProviderError]] = {
    400: InvalidRequestError,
    401: AuthenticationError,
    404: NotFoundError,
    429: RateLimitError,
}
# Answers with status 400 that are something else.
OTHERS: dict[str, type[ProviderError]] = {
    "6a200642e42572e2": TokenLimitError,  # "prompt is too long: 3333404 tokens > 200000 maximum"
    "1277d6b3a151fc3c": QuotaExceededError,  # "Your credit balance is too low"
    "61db64985c2f9d6f": QuotaExceededError,
}


def messages(corpus: list[dict[str, Any]], *, ok: bool) -> list[dict[str, Any]]:
    return [row for row in corpus if row["endpoint"] == "/v1/messages" and (row["status"] == 200) is ok]


def found(body: bytes, size: int) -> dict[str, Any]:
    chunks = read(cut(body, size))
    usage = usage_of(chunks)
    return {
        "text": text_of(chunks),
        "reasoning": reasoning_of(chunks),
        "tool_calls": [(call.id, call.name, msgspec.json.decode(call.arguments)) for call in calls_of(chunks)],
        "stop_reason": stop_of(chunks).raw_reason,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "ephemeral_1h_input_tokens": usage.cache_write_extended_tokens,
        "thinking_tokens": usage.reasoning_tokens,
        "web_search_requests": usage.web_searches,
    }


def expected(row: dict[str, Any]) -> dict[str, Any]:
    expect = row["expect"]
    usage = expect["usage"] or {}
    inner = {
        "ephemeral_1h_input_tokens": usage.get("cache_creation"),
        "thinking_tokens": usage.get("output_tokens_details"),
        "web_search_requests": usage.get("server_tool_use"),
    }
    outer = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    return {
        "text": expect["text"],
        "reasoning": expect["reasoning"],
        "tool_calls": [
            (call["id"], call["name"], msgspec.json.decode(call["arguments"] or "{}")) for call in expect["tool_calls"]
        ],
        "stop_reason": expect["stop_reason"],
        **{name: usage.get(name) or 0 for name in outer},
        **{name: (group or {}).get(name) or 0 for name, group in inner.items()},
    }


def test_every_stream_reads_as_the_independent_parser_read_it(corpus: list[dict[str, Any]]) -> None:
    """Text, reasoning, tool calls, usage and stop reason of all streams, whole and in small pieces."""
    rows = [row for row in messages(corpus, ok=True) if row["sse"]]
    assert len(rows) == 390
    for row in rows:
        body = row["response_body"].encode()
        for size in (len(body), 61, 7) if len(body) < 200_000 else (len(body), 997):
            assert found(body, size) == expected(row), (row["id"], size)


def test_every_whole_answer_reads_the_same_way(corpus: list[dict[str, Any]]) -> None:
    """An answer in one JSON document gives the same chunks, so that a server may ignore `stream`."""
    rows = [row for row in messages(corpus, ok=True) if not row["sse"]]
    assert len(rows) == 620
    for row in rows:
        body = row["response_body"].encode()
        assert found(body, len(body)) == expected(row), row["id"]


def test_every_cut_off_stream_is_an_error(corpus: list[dict[str, Any]]) -> None:
    """Without its last event no recorded stream ends normally."""
    for row in messages(corpus, ok=True):
        if row["sse"]:
            body = row["response_body"].encode()
            with pytest.raises(ProviderError):
                read([body[: body.rindex(b"event: message_stop")]])


def test_every_error_has_its_class(corpus: list[dict[str, Any]]) -> None:
    """Status first, then words: all error answers of the endpoint."""
    rows = messages(corpus, ok=False)
    assert len(rows) == 47
    for row in rows:
        error = response_error(row["status"], row["response_headers"] or {}, row["response_body"].encode())
        kind = OTHERS.get(row["id"], ERRORS[row["status"]])
        assert type(error) is kind, row["id"]
        assert error.status == row["status"]
        if '"request_id":"' in row["response_body"].replace(" ", ""):
            assert error.request_id
        if kind is TokenLimitError:
            assert isinstance(error, TokenLimitError)
            assert (error.tokens, error.limit) == (3333404, 200000)
