"""The words with which an answer ends: every row, words that nobody knows, and what each does on the three wires."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dialects import calling, chunk, function, sse, usage
from penstock import (
    OverloadedError,
    ProviderError,
    ProviderTimeoutError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
)
from penstock.core.dialect import Dialect
from penstock.wire.finish import FINISHES, Finish, failure, meaning, says_limit, stop_reason
from reading import attempt, attempt_openai, calls_of, read, read_openai, stop_of, text_of, usage_of

CALL = {"index": 0, "id": "a", "type": "function", "function": function("f", '{"x":1}')}
EMPTY = {"index": 0, "id": "a", "type": "function", "function": function("f", "")}
HALF = {"index": 0, "id": "a", "type": "function", "function": function("f", '{"x":"so')}


@pytest.mark.parametrize("row", FINISHES, ids=lambda row: row.vendor)
def test_every_word_means_what_its_row_says(row: Finish) -> None:
    """However it is written."""
    for word in row.words:
        for form in (word, word.upper(), word.title(), word.replace("_", "-"), word.replace("_", " "), f" {word}"):
            assert meaning(form) == row.means
        if isinstance(row.means, str):
            assert (failure(word), stop_reason(word)) == (None, row.means)
        else:
            error = failure(word)
            assert type(error) is row.means
            assert (error.retryable, error.code) == (True, word)
    assert sum(word in other.words for other in FINISHES for word in row.words) == len(row.words)


WORDS = [
    pytest.param("network_failure", ServerError, id="a failure"),
    pytest.param("backend_error_7", ServerError, id="an error with a number"),
    pytest.param("request_aborted_by_host", ServerError, id="an abort"),
    pytest.param("worker-crashed", ServerError, id="a crash"),
    pytest.param("upstream_timeout", ProviderTimeoutError, id="a timeout"),
    pytest.param("model_overloaded", OverloadedError, id="overloaded"),
    pytest.param("over_capacity", OverloadedError, id="capacity"),
    pytest.param("ratelimit", RateLimitError, id="a rate limit"),
    pytest.param("throttled", RateLimitError, id="throttled"),
    pytest.param("function_call_filter: MALFORMED_FUNCTION_CALL", ServerError, id="a filter and what it found"),
    pytest.param("content_filter: hate", "refusal", id="another filter and what it found"),
    pytest.param("sunset", "other", id="a word nobody knows"),
    pytest.param("stopped_by_moonlight", "other", id="two of them"),
    pytest.param("", "other", id="an empty one"),
    pytest.param(None, "other", id="none"),
]


@pytest.mark.parametrize(("word", "means"), WORDS)
def test_a_word_in_no_row_means_what_it_says(word: str | None, means: Any) -> None:
    """One that names a failure is that failure, any other is `other`."""
    assert meaning(word) == means


def message(reason: str | None, *, whole: bool) -> bytes:
    """An answer of Anthropic's wire."""
    text = {"type": "text", "text": "Hi"}
    if whole:
        return msgspec.json.encode({"type": "message", "content": [text], "stop_reason": reason, "usage": {}})
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"usage": {"input_tokens": 3}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
    ]
    return b"".join(b"event: %b\ndata: %b\n\n" % (one["type"].encode(), msgspec.json.encode(one)) for one in events)


FAILING = [
    pytest.param("network_error", ServerError, id="network_error"),
    pytest.param("engine_overloaded", OverloadedError, id="engine_overloaded"),
    pytest.param("rate_limit", RateLimitError, id="rate_limit"),
    pytest.param("some_new_failure", ServerError, id="one that nobody knows"),
]


@pytest.mark.parametrize(("word", "kind"), FAILING)
@pytest.mark.parametrize("place", ["last", "with usage", "before usage", "in a whole answer", "native"])
def test_a_failure_is_never_an_end(word: str, kind: type[ProviderError], place: str) -> None:
    """What came before it is delivered, with what it has cost, wherever that stands."""
    text, end = chunk({"content": "Hi"}), chunk({}, word)
    if place == "native":
        end = chunk({}, "stop")
        end["choices"][0]["native_finish_reason"] = word
    bodies = {
        "last": sse(text, end),
        "native": sse(text, end),
        "with usage": sse(text, chunk({}, word, usage=usage(3, 1))),
        "before usage": sse(text, end, {"choices": [], "usage": usage(3, 1)}),
        "in a whole answer": msgspec.json.encode(
            {"id": "c", "choices": [{"message": {"content": "Hi"}, "finish_reason": word}], "usage": usage(3, 1)}
        ),
    }
    chunks, error = attempt_openai([bodies[place]])
    assert (type(error), text_of(chunks)) == (kind, "Hi")
    assert error is not None
    assert (error.retryable, error.code) == (True, word)
    assert usage_of(chunks).output_tokens == (1 if "usage" in place or "whole" in place else 0)
    chunks, error = attempt([message(word, whole=place == "in a whole answer")])
    assert (type(error), text_of(chunks)) == (kind, "Hi")
    incomplete = {"id": "r", "status": "incomplete", "incomplete_details": {"reason": word}, "output": []}
    body = b"data: %b\n\n" % msgspec.json.encode({"type": "response.incomplete", "response": incomplete})
    assert type(attempt_openai([body], wire="responses")[1]) is kind


NATIVE = [
    pytest.param("tool_calls", "length", HALF, [], "length", "length", id="a call that was cut"),
    pytest.param(
        "tool_calls", "max_output_tokens", EMPTY, [], "length", "max_output_tokens", id="cut before arguments"
    ),
    pytest.param("tool_calls", "MAX_TOKENS", HALF, [], "length", "MAX_TOKENS", id="in another vendor's word"),
    pytest.param("tool_calls", "length", CALL, ["a"], "tool_calls", "length", id="a whole call, and then a cut"),
    pytest.param("tool_calls", "completed", EMPTY, ["a"], "tool_calls", "tool_calls", id="a call without arguments"),
    pytest.param("tool_calls", None, EMPTY, ["a"], "tool_calls", "tool_calls", id="no word of the vendor behind it"),
    pytest.param("tool_calls", "stop", CALL, ["a"], "tool_calls", "tool_calls", id="two words for a normal end"),
    pytest.param("length", "STOP", HALF, [], "length", "length", id="the gateway knows of the cut"),
    pytest.param("stop", "SAFETY", None, [], "refusal", "SAFETY", id="a filter"),
    pytest.param("stop", "sunset", None, [], "stop", "stop", id="a word nobody knows"),
    pytest.param("sunset", "length", None, [], "length", "length", id="the better known of two"),
]


@pytest.mark.parametrize(("finish", "native", "call", "calls", "reason", "raw"), NATIVE)
@pytest.mark.parametrize("whole", [False, True])
def test_the_word_of_the_vendor_behind_a_gateway_tells_of_a_cut(
    finish: str, native: str | None, call: Any, calls: list[str], reason: str, raw: str, whole: bool
) -> None:
    """OpenRouter says `tool_calls` of a call that was cut."""
    delta = {"content": "Hi", "tool_calls": [call] if call else None}
    ending = {"index": 0, "finish_reason": finish, "native_finish_reason": native}
    body = sse(chunk(delta), {"choices": [{"delta": {}, **ending}]})
    if whole:
        body = msgspec.json.encode({"id": "c", "choices": [{"message": delta, **ending}]})
    chunks = read_openai([body], "openrouter")
    assert [made.id for made in calls_of(chunks)] == calls
    assert (stop_of(chunks).reason, stop_of(chunks).raw_reason) == (reason, raw)


SOUND = {"audio": {"id": "s", "expires_at": 1_790_000_000}}
PLAIN = Dialect(name="plain")
ALONE = Dialect(name="alone", done_alone=True)
ENDLESS = Dialect(name="endless", says_end=False)
BARE = [
    pytest.param(PLAIN, {"content": "Hi"}, None, id="text: a proxy says it after a cut"),
    pytest.param(PLAIN, {"tool_calls": [CALL]}, "tool_calls", id="a whole call"),
    pytest.param(PLAIN, {"tool_calls": [EMPTY]}, None, id="a call that may have been cut"),
    pytest.param(PLAIN, {"tool_calls": [HALF]}, None, id="half a call"),
    pytest.param(
        PLAIN, {"tool_calls": [CALL, {**HALF, "index": 1, "id": "b"}]}, None, id="a whole call and half of one"
    ),
    pytest.param(PLAIN, SOUND, "other", id="finished sound"),
    pytest.param(PLAIN, {"audio": {"id": "s", "data": "AAAA"}}, None, id="sound that is not finished"),
    pytest.param(ALONE, {"content": "Hi"}, "other", id="text, where the row says so"),
    pytest.param(ALONE, {"content": ""}, None, id="nothing, where the row says so"),
    pytest.param(ALONE, {"tool_calls": [HALF]}, None, id="half a call, where the row says so"),
    pytest.param(ENDLESS, {"content": "Hi"}, "other", id="text, where the end of the bytes is one too"),
]


@pytest.mark.parametrize(("row", "delta", "reason"), BARE)
def test_done_alone(row: Dialect, delta: dict[str, Any], reason: str | None) -> None:
    """`[DONE]` without a finish reason ends a message only where nothing can be missing."""
    chunks, error = attempt_openai([sse(chunk(delta))], row)
    assert type(error) is (StreamInterruptedError if reason is None else type(None))
    if reason is not None:
        assert (stop_of(chunks).reason, stop_of(chunks).raw_reason) == (reason, None)


NOTHING = [
    pytest.param(
        {"message": {"content": ""}, "finish_reason": None}, usage(3, 0), False, id="no reason, nothing, no token"
    ),
    pytest.param({"message": {"content": None}}, None, False, id="nothing at all"),
    pytest.param({"message": {"content": ""}, "finish_reason": None}, usage(3, 9), True, id="tokens"),
    pytest.param({"message": {"content": "Hi"}, "finish_reason": None}, usage(3, 0), True, id="text"),
    pytest.param({"message": {"content": None, "tool_calls": [CALL]}}, None, True, id="a call"),
    pytest.param({"message": {"content": None, "images": [{"type": "x"}]}}, None, True, id="an image"),
    pytest.param({"message": {"content": ""}, "finish_reason": "stop"}, usage(3, 0), True, id="a reason"),
]


@pytest.mark.parametrize(("choice", "report", "whole"), NOTHING)
def test_an_answer_of_nothing_is_none(choice: dict[str, Any], report: dict[str, Any] | None, whole: bool) -> None:
    """A document has its end in itself; but one that says nothing whatever may be asked for again."""
    _, error = attempt_openai([msgspec.json.encode({"id": "c", "choices": [choice], "usage": report})], "openrouter")
    assert type(error) is (type(None) if whole else StreamInterruptedError)


def test_nothing_is_no_answer_on_the_other_wires_either() -> None:
    """Without a word for the end, content or a token."""
    empty: dict[str, Any] = {
        "type": "message",
        "content": [],
        "stop_reason": None,
        "usage": {"input_tokens": 3, "output_tokens": 0},
    }
    assert type(attempt([msgspec.json.encode(empty)])[1]) is StreamInterruptedError
    assert stop_of(read([msgspec.json.encode({**empty, "stop_reason": "end_turn"})])).reason == "stop"
    assert stop_of(read([msgspec.json.encode({**empty, "usage": {"output_tokens": 2}})])).reason == "other"
    response: dict[str, Any] = {"object": "response", "output": [], "status": None}
    assert type(attempt_openai([msgspec.json.encode(response)], wire="responses")[1]) is StreamInterruptedError
    done = read_openai([msgspec.json.encode({**response, "status": "completed"})], wire="responses")
    assert stop_of(done).reason == "stop"


LIMITS = [
    pytest.param(
        "Could not finish the message because max_tokens or model output limit was reached.", True, id="OpenAI"
    ),
    pytest.param("The max_completion_tokens limit has been reached", True, id="another name of it"),
    pytest.param("max_tokens must be at most 8192", False, id="a limit that was asked for"),
    pytest.param("Rate limit was reached", False, id="another limit"),
]


@pytest.mark.parametrize(("words", "is_limit"), LIMITS)
def test_no_more_room_is_an_end(words: str, is_limit: bool) -> None:
    """In an answer that has begun, on every wire; elsewhere it is the error that it says."""
    assert says_limit(words) is is_limit
    said = {"error": {"message": words, "type": "invalid_request_error"}}
    body = sse(chunk({"content": "Hi"}), said, {"choices": [], "usage": usage(3, 1)})
    chunks, error = attempt_openai([body])
    assert (error is None, text_of(chunks)) == (is_limit, "Hi")
    if is_limit:
        assert (stop_of(chunks).reason, stop_of(chunks).raw_reason) == ("length", None)
        assert usage_of(chunks).output_tokens == 1
    assert attempt_openai([sse(said)])[1] is not None
    error_event = b"event: error\ndata: %b\n\n" % msgspec.json.encode({"type": "error", **said})
    begun, _, _ = message("end_turn", whole=False).partition(b"event: content_block_stop")
    chunks, error = attempt([begun + error_event])
    assert (error is None, text_of(chunks)) == (is_limit, "Hi")
    assert attempt([error_event])[1] is not None
    piece = b'event: response.output_text.delta\ndata: {"delta":"Hi"}\n\n'
    chunks, error = attempt_openai([piece + error_event], wire="responses")
    assert (error is None, text_of(chunks)) == (is_limit, "Hi")
    if is_limit:
        assert (stop_of(chunks).reason, stop_of(chunks).raw_reason) == ("length", "max_output_tokens")
    assert attempt_openai([error_event], wire="responses")[1] is not None


def test_a_vendors_own_form_of_an_error_beside_an_answer() -> None:
    """MiniMax says how it went in every last event, and what went wrong also beside text."""
    end = chunk({}, "stop", usage=usage(3, 1))
    well, ill = ({"base_resp": {"status_code": code, "status_msg": "said"}} for code in (0, 1027))
    assert stop_of(read_openai([sse(chunk({"content": "Hi"}), {**end, **well})])).reason == "stop"
    chunks, error = attempt_openai([sse(chunk({"content": "Hi"}), {**end, **ill})])
    assert (text_of(chunks), usage_of(chunks).output_tokens, str(error)[:4]) == ("Hi", 1, "said")
    assert calls_of(read_openai([sse(calling(CALL), {**end, **well})]))
