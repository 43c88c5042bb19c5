"""Middleware in models.json: what is built around a model, in which order, and what is said of a wrong table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from penstock import (
    ConfigError,
    Message,
    StreamInterruptedError,
    TextChunk,
    UsageChunk,
    collect,
    load_models,
    open_provider,
)
from penstock.middleware import CircuitBreaker, Concurrency, Ended, Event, Fallback, Observe, RateLimit, Retry
from penstock.middleware.wrapper import Wrapper
from penstock.testing import Emulator, ServerReply, anthropic_error, chat_completion


def entry(**more: Any) -> dict[str, Any]:
    return {"provider": "openai", "providerConfig": {"modelId": "m", "apiKey": "sk-none-at-all"}, **more}


def written(folder: Path, **models: dict[str, Any]) -> Path:
    path = folder / "models.json"
    path.write_bytes(msgspec.json.encode({"active": next(iter(models)), "models": models}))
    return path


def chain(provider: object) -> list[type]:
    """The classes from the outermost to the innermost."""
    kinds: list[type] = []
    while isinstance(provider, Wrapper):
        kinds.append(type(provider))
        provider = provider._inner
    return kinds


def test_the_tables_are_built_around_the_provider_in_one_order(tmp_path: Path) -> None:
    """The breaker counts what Retry could not mend; a permit is innermost, so that nobody waits with one in hand."""
    tables = {
        "concurrency": 4,
        "rateLimit": {"requestsPerMinute": 60},
        "circuitBreaker": {"failures": 3, "pause": 1.5},
        "retry": {"attempts": 2, "maxWait": 5},
        "fallback": ["b", "c"],
    }
    path = written(tmp_path, a=entry(**tables), b=entry(retry={}), c=entry())
    provider = open_provider("a", models=path)
    assert chain(provider) == [Fallback, CircuitBreaker, Retry, RateLimit, Concurrency]
    assert chain(open_provider("b", models=path)) == [Retry]
    assert chain(open_provider("c", models=path)) == []
    assert (provider.alias, open_provider("c", models=path).alias) == ("a", "c")


@pytest.mark.anyio
async def test_a_call_that_is_shown_to_nobody_is_tried_again_after_its_first_text(tmp_path: Path) -> None:
    """The table says what Retry is told."""
    whole = ServerReply(chat_completion(text="Hello"))
    cut = ServerReply(chat_completion(text="Hello")[:2])
    for shown, texts in ((True, None), (False, "Hello")):
        async with Emulator(cut, whole) as emulator:
            config = entry(retry={"shown": shown, "base": 0.001})
            config["providerConfig"]["baseUrl"] = f"{emulator.url}/v1"
            config["providerConfig"]["wire"] = "chat"
            heard: list[Event] = []
            async with Observe(open_provider("a", models=written(tmp_path, a=config)), heard.append) as provider:
                stream = provider.create_message("", [Message("user", "Hi")])
                if texts is None:
                    with pytest.raises(StreamInterruptedError):
                        await collect(stream)
                else:
                    assert (await collect(stream)).text == texts
            assert {event.alias for event in heard} == {"a"}


@pytest.mark.parametrize(("more", "where", "said"), [
    pytest.param({"retry": {"attemps": 2}}, "$.models.a.retry", "did you mean 'attempts'?", id="an unknown key"),
    pytest.param({"retry": {"attempts": 0}}, "$.models.a.retry.attempts", "found 0, expected a whole number of 1",
                 id="no attempt"),
    pytest.param({"retry": {"maxWait": -1}}, "$.models.a.retry.maxWait", "expected a number of seconds above 0",
                 id="a negative wait"),
    pytest.param({"retry": {"attempts": "3"}}, "$.models.a.retry.attempts", "Expected `int`", id="no number"),
    pytest.param({"circuitBreaker": {"pause": 0}}, "$.models.a.circuitBreaker.pause", "seconds above 0", id="no pause"),
    pytest.param({"rateLimit": {}}, "$.models.a.rateLimit", "expected one of them", id="no limit"),
    pytest.param({"rateLimit": {"tokensPerMinute": 0}}, "$.models.a.rateLimit.tokensPerMinute", "1 or more",
                 id="no tokens"),
    pytest.param({"concurrency": 0}, "$.models.a.concurrency", "a whole number of 1 or more", id="no stream"),
    pytest.param({"fallback": ["a"]}, "$.models.a.fallback[0]", '"a" falls back on itself: a -> a', id="itself"),
    pytest.param({"fallback": ["b"]}, "$.models.b.fallback[0]", '"a" falls back on itself: a -> b -> a', id="a ring"),
    pytest.param({"fallback": ["c", "c"]}, "$.models.a.fallback[1]", "twice", id="one twice"),
    pytest.param({"fallback": ["sonet"]}, "$.models.a.fallback[0]", "did you mean 'sonnet'?", id="an unknown alias"),
])  # fmt: skip
def test_a_wrong_table_is_a_config_error(more: dict[str, Any], where: str, said: str, tmp_path: Path) -> None:
    """When the file is read: with the file, the path in it and the nearest valid word."""
    path = written(tmp_path, a=entry(**more), b=entry(fallback=["a"]) if more == {"fallback": ["b"]} else entry(),
                   c=entry())  # fmt: skip
    with pytest.raises(ConfigError) as wrong:
        load_models(path)
    assert wrong.value.file == path
    assert str(wrong.value.path).startswith(where)
    assert said in wrong.value.message


@pytest.mark.anyio
async def test_a_fallback_goes_from_one_vendor_to_another(tmp_path: Path) -> None:
    """The first one is overloaded at each try; the second answers, over another wire."""
    overloaded = anthropic_error(529, "overloaded_error", "Overloaded")
    async with Emulator(overloaded, overloaded, ServerReply(chat_completion(text="Hello!"))) as emulator:
        first = {"provider": "anthropic", "retry": {"attempts": 2, "base": 0.01}, "fallback": ["second"]}
        first["providerConfig"] = {"modelId": "claude-haiku-5-5", "apiKey": "none", "baseUrl": emulator.url}
        second = {"modelId": "m", "baseUrl": f"{emulator.url}/v1"}
        path = written(tmp_path, first=first, second={"provider": "openai-compatible", "providerConfig": second})
        async with (
            open_provider(models=path) as provider,
            provider.stream("", [Message("user", "Hi")]) as stream,
        ):
            chunks = [chunk async for chunk in stream]
    assert "".join(chunk.text for chunk in chunks if isinstance(chunk, TextChunk)) == "Hello!"
    assert [request.path for request in emulator.requests] == ["/v1/messages"] * 2 + ["/v1/chat/completions"]


@pytest.mark.anyio
async def test_a_listener_reaches_all_that_is_configured(tmp_path: Path) -> None:
    """Every request to every model, what Retry and Fallback do, and the ends with their bills."""
    overloaded = anthropic_error(529, "overloaded_error", "Overloaded")
    heard: list[Event] = []
    async with Emulator(overloaded, overloaded, ServerReply(chat_completion(text="Hello!"))) as emulator:
        first = {"provider": "anthropic", "retry": {"attempts": 2, "base": 0.01}, "fallback": ["second"]}
        first["providerConfig"] = {"modelId": "claude-haiku-5-5", "apiKey": "none", "baseUrl": emulator.url}
        second = {"modelId": "m", "baseUrl": f"{emulator.url}/v1"}
        path = written(tmp_path, first=first, second={"provider": "openai-compatible", "providerConfig": second})
        async with open_provider(models=path, listener=heard.append) as provider:
            reply = await collect(provider.create_message("", [Message("user", "Hi")]))
    told = [(event.alias, event.attempt, type(event).__name__) for event in heard]
    assert [each for each in told if each[2] != "UsageReported"] == [
        *(("first", 1, name) for name in ("Started", "HeadersSeen", "Failed", "AttemptFailed")),
        ("first", 2, "RetryScheduled"),
        *(("first", 2, name) for name in ("Started", "HeadersSeen", "Failed", "AttemptFailed")),
        ("second", 2, "FallbackTo"),
        *(("second", 1, name) for name in ("Started", "HeadersSeen", "FirstChunk", "Completed")),
    ]
    assert len({event.call for event in heard}) == 1
    ends = [event for event in heard if isinstance(event, Ended)]
    assert [end.request_id for end in ends] == ["req_emulated", "req_emulated", None]
    assert sum((end.usage for end in ends), UsageChunk()) == reply.usage


def test_what_cannot_listen_is_refused(tmp_path: Path) -> None:
    """When it is opened."""
    listener: Any = "events.log"
    with pytest.raises(ConfigError, match="`listener` is of type str, expected a plain function"):
        open_provider("a", models=written(tmp_path, a=entry()), listener=listener)
