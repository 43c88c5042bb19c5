"""`Providers`: one provider for each alias, what they share and what never meets, and when they are closed."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
import msgspec
import pytest

from leftovers import nothing_left
from metering import booked
from patience import drain_patiently, until
from penstock import (
    BaseProvider,
    ConfigError,
    Message,
    ModelsConfig,
    Options,
    ProviderError,
    Providers,
    ProviderStatus,
    collect,
)
from penstock.core.keys import fingerprint
from penstock.meter import Ledger
from penstock.middleware import Concurrency, Event, RateLimit, Started
from penstock.testing import DemoModel, Emulator, Hang, ServerReply, anthropic_error, anthropic_message
from playing import Clock
from serving import serving

pytestmark = pytest.mark.anyio

ASK: Final = [Message("user", "Hi")]
KEY: Final = "sk-of-the-company"
HANGS: Final = ServerReply([b"event: ping\ndata: {}\n\n", Hang()])
RATE: Final = {"requestsPerMinute": 600}
ANSWERS: Final = partial(Emulator, then=DemoModel())


def entry(url: str = "http://127.0.0.1:9", model: str = "claude-haiku-5-5", **more: Any) -> dict[str, Any]:
    """An entry of models.json."""
    config = {"modelId": model, "apiKey": more.pop("key", KEY), "baseUrl": url}
    return {"provider": "anthropic", "providerConfig": config, **more}


def models(**entries: dict[str, Any]) -> ModelsConfig:
    """The config of a file with these, of which the first is active."""
    return msgspec.convert({"active": next(iter(entries)), "models": entries}, ModelsConfig)


def asks(provider: BaseProvider, **options: Any) -> Any:
    """A call, to be awaited."""
    return collect(provider.create_message("", ASK, Options(**options)))


def inside(provider: BaseProvider, kind: type[Any]) -> list[Any]:
    """The middlewares of one kind that calls may go through."""
    return [each for each in provider.nested() if isinstance(each, kind)]


def status(providers: Providers) -> dict[str, ProviderStatus]:
    """How they are, by alias."""
    return {each.alias: each for each in providers}


async def test_an_alias_is_one_provider_also_behind_another() -> None:
    """Asked for by name, as the active one, and as what others fall back on."""
    config = models(a=entry(), b=entry(fallback=["a"]), c=entry(fallback=["b", "a"]))
    async with Providers(config) as providers:
        a = providers.get("a")
        assert providers.get() is a is providers.get("a")
        assert providers.get("b") is providers.get("b")
        leaves = {alias: list(providers.get(alias).leaves()) for alias in "abc"}
        assert leaves["b"][1] is leaves["c"][2] is leaves["c"][3] is leaves["a"][0]
        assert [each.alias for each in providers] == ["a", "b", "c"]


@pytest.mark.parametrize(("first", "second", "shared"), [
    pytest.param(entry(), entry(model="claude-sonnet-5-5"), True, id="another model"),
    pytest.param(entry(key="${PENSTOCK_KEY}"), entry(), True, id="one key, written in two ways"),
    pytest.param(entry(key=None), entry(), True, id="one key, that of the environment"),
    pytest.param(entry(), entry(key="sk-of-another"), False, id="another key"),
    pytest.param(entry(), entry("http://127.0.0.1:10"), False, id="another host"),
])  # fmt: skip
async def test_limits_belong_to_a_host_and_a_key(
    first: dict[str, Any], second: dict[str, Any], shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hold of one RateLimit is one of the other's, where both ask one host with one key and have equal tables."""
    for name in ("PENSTOCK_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, KEY)
    config = models(a={**first, "rateLimit": RATE}, b={**second, "rateLimit": RATE})
    async with Providers(config) as providers:
        a, b = providers.get("a"), providers.get("b")
        inside(a, RateLimit)[0].hold(30)
        assert (inside(b, RateLimit)[0].remaining().held > 0) is shared


@pytest.mark.parametrize(("tables", "shared"), [
    pytest.param({"rateLimit": RATE}, True, id="equal tables"),
    pytest.param({"rateLimit": {"requestsPerMinute": 60}}, False, id="tables that differ"),
    pytest.param({"rateLimit": {"requestsPerMinute": 600, "maxWait": 5}}, False, id="in any field"),
    pytest.param({}, None, id="none of its own"),
])  # fmt: skip
async def test_only_equal_tables_are_shared(tables: dict[str, Any], shared: bool | None) -> None:
    """Each keeps what its own table says."""
    async with Providers(models(a=entry(rateLimit=RATE), b=entry(**tables))) as providers:
        inside(providers.get("a"), RateLimit)[0].hold(30)
        found = inside(providers.get("b"), RateLimit)
        assert [each.remaining().held > 0 for each in found] == ([] if shared is None else [shared])


async def test_a_breaker_is_that_of_a_model() -> None:
    """A key that is refused opens it for both aliases of the model, and not for the other model that they fall to."""
    refused = anthropic_error(401, "authentication_error", "no such key")
    async with Emulator(refused, then=DemoModel()) as emulator:
        tables: dict[str, Any] = {"circuitBreaker": {}}
        small = entry(emulator.url, "claude-sonnet-5-5", **tables)
        a = entry(emulator.url, fallback=["small"], **tables)
        async with Providers(models(a=a, b=entry(emulator.url, **tables), small=small)) as providers:
            providers.get("b")
            assert (await asks(providers.get("a"))).text
            found = {alias: each.circuit for alias, each in status(providers).items()}
            assert found == {"a": "open", "b": "open", "small": "closed"}


async def test_places_are_counted_together_and_each_says_who_waits() -> None:
    """Of three calls through two aliases with two places, one waits."""
    async with Emulator(then=HANGS) as emulator:
        config = models(a=entry(emulator.url, concurrency=2), b=entry(emulator.url, concurrency=2), c=entry())
        async with Providers(config) as providers, anyio.create_task_group() as group:
            for alias in "aab":
                group.start_soon(asks, providers.get(alias))
            await until(lambda: len(emulator.exchanges) == 2 and sum(each.waiting for each in providers) == 1)
            assert inside(providers.get("a"), Concurrency)[0].running == 2
            assert sum(each.running for each in providers) == 2
            assert status(Providers(config)) == {}
            group.cancel_scope.cancel()
        assert [(each.running, each.waiting, each.state) for each in providers] == [(0, 0, "closed")] * 2


GIVEN: Final[dict[str, Callable[[str], dict[str, Any]]]] = {
    "a key": lambda url: {"api_key": "sk-of-a-customer"},
    "a function that gives a key": lambda url: {"api_key": one_key},
    "an address": lambda url: {"base_url": url.replace("127.0.0.1", "localhost")},
}


def one_key() -> str:
    """As from a vault."""
    return "sk-from-a-vault"


@pytest.mark.parametrize("name", GIVEN)
async def test_what_a_caller_gives_makes_a_provider_of_its_own(name: str) -> None:
    """The same for the same; other requests go with the entry's key, over other connections; prices are the entry's."""
    async with ANSWERS() as emulator:
        config = models(a=entry(emulator.url, fallback=["b"]), b=entry(emulator.url))
        async with Providers(config) as providers:
            plain, given = providers.get("a"), providers.get("a", **GIVEN[name](emulator.url))
            assert given is providers.get("a", **GIVEN[name](emulator.url)) is not plain
            behind = [] if "api_key" in GIVEN[name](emulator.url) else list(plain.leaves())[1:]
            assert list(given.leaves())[1:] == behind, "what it falls back on is the same, or with a key nothing"
            replies = [await asks(each) for each in (plain, given, plain)]
            assert len({reply.cost for reply in replies}) == 1
            assert None not in {reply.cost for reply in replies}
            assert [exchange.connection for exchange in emulator.exchanges] == [1, 2, 1]
        sent = [request.headers["authorization"] for request in emulator.requests]
        assert sent[0] == sent[2] == f"Bearer {KEY}"
        assert sent[1] == "Bearer " + {"a key": "sk-of-a-customer", "an address": KEY}.get(name, "sk-from-a-vault")


@pytest.mark.parametrize(("of_file", "given", "known"), [
    pytest.param(KEY, {}, True, id="the entry's key"),
    pytest.param("${PENSTOCK_KEY}", {}, True, id="of a variable"),
    pytest.param(None, {}, True, id="of the vendor's variable"),
    pytest.param("sk-of-another", {"api_key": KEY}, True, id="a caller's"),
    pytest.param(KEY, {"api_key": one_key}, False, id="a function"),
    pytest.param("command: echo sk", {}, False, id="a program"),
])  # fmt: skip
async def test_the_key_of_a_provider_is_told_by_its_fingerprint(
    of_file: str | None, given: dict[str, Any], known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that those of several customers can be told apart."""
    for name in ("PENSTOCK_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, KEY)
    async with Providers(models(a=entry(key=of_file))) as providers:
        providers.get("a", **given)
        assert [each.key for each in providers] == [fingerprint(KEY) if known else None]


async def test_no_key_is_shown() -> None:
    """In nothing that is kept of it: not by the providers, not by what they are found by."""
    async with Providers(models(a=entry(rateLimit=RATE))) as providers:
        provider = providers.get("a", api_key="sk-of-a-customer")
        shown = f"{vars(providers)!r} {provider!r} {dict(providers._limits)!r} {list(providers)!r}"
    assert "sk-of" not in shown


async def test_options_make_no_provider_of_their_own() -> None:
    """They fill in what a call leaves out, and share all else."""
    async with ANSWERS() as emulator, Providers(models(a=entry(emulator.url))) as providers:
        lower = providers.get("a", options=Options(max_tokens=7))
        await asks(lower)
        await asks(lower, max_tokens=9)
        await asks(providers.get("a"))
        sent = [msgspec.json.decode(request.body)["max_tokens"] for request in emulator.requests]
        assert sent[:2] == [7, 9]
        assert sent[2] not in sent[:2]
        assert (emulator.connections, len(list(providers))) == (1, 1)


async def test_closing_what_is_given_out_closes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until all are closed; then a call says so, and nothing is left."""
    drain_patiently(monkeypatch)
    async with nothing_left(), ANSWERS() as emulator:
        async with Providers(models(a=entry(emulator.url))) as providers:
            for _ in range(3):
                async with providers.get("a") as provider:
                    await asks(provider)
            assert emulator.connections == 1
        for call in (asks(provider), provider.count_tokens("", ASK)):
            with pytest.raises(ConfigError, match="these Providers are closed"):
                await call
        with pytest.raises(ConfigError, match="these Providers are closed"):
            providers.get("b/c")
        await until(lambda: not emulator.open_connections)


async def test_who_waits_when_all_is_closed_is_not_sent() -> None:
    """It would open a connection that nobody closes."""
    said = list[str]()

    async def ask_and_fail(provider: BaseProvider) -> None:
        with pytest.raises(ProviderError) as error:
            await asks(provider)
        said.append(type(error.value).__name__)

    async with nothing_left(), Emulator(then=HANGS) as emulator, anyio.create_task_group() as group:
        providers = Providers(models(a=entry(emulator.url, concurrency=1)))
        for _ in range(2):
            group.start_soon(ask_and_fail, providers.get())
        await until(lambda: emulator.exchanges and next(iter(providers)).waiting)
        await providers.aclose()
        await until(lambda: len(said) == 2)
        # The one that runs may not have seen the beginning of its answer yet.
        assert sorted(said) in (["ConfigError", "StreamInterruptedError"], ["ConfigError", "NetworkError"])
        assert len(emulator.exchanges) == 1


async def test_the_idle_are_closed_and_those_that_stream_never() -> None:
    """By the next call; the next of their own opens a connection again, with the limits that they had."""
    clock = Clock()
    async with ANSWERS() as emulator:
        config = models(a=entry(emulator.url, rateLimit=RATE), b=entry(emulator.url), c=entry(emulator.url))
        async with Providers(config, ttl=60, clock=clock) as providers:
            a, b = providers.get("a"), providers.get("b")
            await asks(a)
            stream = b.create_message("", ASK)
            await anext(stream)
            left = inside(a, RateLimit)[0].remaining().requests
            clock.now += 61
            await asks(providers.get("c"))
            assert {alias: each.state for alias, each in status(providers).items()} == {
                "a": "closed", "b": "open", "c": "open",
            }  # fmt: skip
            assert [chunk async for chunk in stream]
            assert providers.get("a") is a
            assert inside(a, RateLimit)[0].remaining().requests == left
            clock.now += 59
            await asks(a)
            assert {each.state for each in providers} == {"open"}, "who has just streamed is not idle"


async def test_what_comes_back_in_time_is_not_closed() -> None:
    """Marked, as nobody had used it, and then used first: not by its own call, and not by the next of another."""
    clock = Clock()
    async with ANSWERS() as emulator:
        config = models(a=entry(emulator.url), b=entry(emulator.url))
        async with Providers(config, ttl=60, clock=clock) as providers:
            a = providers.get("a")
            await asks(a)
            clock.now += 61
            b = providers.get("b")
            for provider in (a, b, a):
                await asks(provider)
            assert [exchange.connection for exchange in emulator.exchanges] == [1, 1, 2, 1]


async def test_what_one_customer_used_is_dropped_in_time() -> None:
    """A provider with a key of its own, after an hour; those of the file stay."""
    clock = Clock()
    async with ANSWERS() as emulator, Providers(models(a=entry(emulator.url)), ttl=60, clock=clock) as providers:
        await asks(providers.get())
        for number in range(5):
            held = providers.get(api_key=f"sk-of-customer-{number}")
            await asks(held)
        for _ in range(2):
            clock.now += 3601
            await asks(providers.get())
        assert [each.alias for each in providers] == ["a"]
        await asks(held)
        await asks(providers.get())
        await until(lambda: emulator.open_connections == 1)


async def test_a_get_looks_for_the_idle_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at each call, as of thousands of customers one is due at any moment, and each look goes through them all."""
    clock, looks, look = Clock(), list[float](), Providers._look

    def counted(providers: Providers, now: float, ttl: float) -> None:
        looks.append(now)
        look(providers, now, ttl)

    monkeypatch.setattr(Providers, "_look", counted)
    async with Providers(models(a=entry()), ttl=60, clock=clock) as providers:
        for number in range(240):
            clock.now += 1
            providers.get(api_key=f"sk-of-customer-{number}")
    assert 3 <= len(looks) <= 40


async def test_who_is_forgotten_begins_anew() -> None:
    """Also behind others; streams that run go on to their end, and the account's limit goes on with them."""
    async with ANSWERS() as emulator:
        config = models(a=entry(emulator.url, rateLimit=RATE), b=entry(emulator.url, fallback=["a"]))
        async with Providers(config) as providers:
            a, b = providers.get("a"), providers.get("b")
            stream = b.create_message("", ASK)
            await anext(stream)
            await providers.forget("a")
            await providers.forget("b")
            await providers.forget("nobody")
            assert list(providers) == []
            again = providers.get("b")
            assert again is not b
            assert list(again.leaves())[1] is next(iter(providers.get("a").leaves())) is not next(iter(a.leaves()))
            inside(a, RateLimit)[0].hold(30)
            assert inside(again, RateLimit)[0].remaining().held > 0
            assert [chunk async for chunk in stream]
            await asks(again)
            await until(lambda: emulator.open_connections == 1)


async def test_a_listener_hears_all_and_a_ledger_has_each_once(tmp_path: Path) -> None:
    """Also what goes to the model behind."""
    busy = anthropic_error(529, "overloaded_error", "busy")
    heard: list[Event] = []
    async with Emulator(busy, then=DemoModel()) as emulator:
        file = tmp_path / "models.json"
        entries = {"a": entry(emulator.url, fallback=["b"]), "b": entry(emulator.url)}
        file.write_bytes(msgspec.json.encode({"active": "a", "models": entries, "ledger": "spend.db"}))
        async with Providers(file, listener=heard.append) as providers:
            for alias in "ab":
                async with providers.get(alias) as provider:
                    await asks(provider)
    assert [event.alias for event in heard if isinstance(event, Started)] == ["a", "b", "b"]
    async with Ledger(tmp_path / "spend.db") as ledger:
        assert [row.alias for row in await booked(ledger)] == ["a", "b", "b"]


async def test_each_event_loop_has_its_own_connections() -> None:
    """What is forgotten here is closed there by the next call there."""
    async with ANSWERS() as emulator, Providers(models(a=entry(emulator.url), b=entry(emulator.url))) as providers:
        go, done = threading.Event(), threading.Event()

        async def elsewhere() -> None:
            await asks(providers.get("a"))
            done.set()
            await anyio.to_thread.run_sync(go.wait)
            before = emulator.open_connections
            await asks(providers.get("b"))
            await until(lambda: emulator.open_connections == before)
            await providers.forget("b")

        async with anyio.create_task_group() as group:
            group.start_soon(anyio.to_thread.run_sync, partial(anyio.run, elsewhere))
            await anyio.to_thread.run_sync(done.wait)
            await asks(providers.get("a"))
            assert emulator.open_connections == 2
            await providers.forget("a")
            await until(lambda: emulator.open_connections == 1)
            go.set()
        await until(lambda: not emulator.open_connections)


# What their own loops have not closed is left to the garbage collector, which warns of it.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_a_loop_has_left_is_closed_by_a_later_one_of_its_thread(anyio_backend: str) -> None:
    """As in a web server that starts a loop for each request, and brings a key of each customer."""
    clock = Clock()
    answer = ServerReply(anthropic_message({"type": "text", "text": "Hello!"}))
    with serving(*[answer] * 7) as served:
        providers = Providers(models(a=entry(served.url)), ttl=60, clock=clock)
        for number in range(5):
            anyio.run(asks, providers.get(api_key=f"sk-of-customer-{number}"), backend=anyio_backend)
        clock.now += 61
        anyio.run(asks, providers.get(), backend=anyio_backend)
        assert [each.state for each in providers].count("open") == 1
        anyio.run(providers.aclose, backend=anyio_backend)
        gc.collect()
        served.until(lambda: not served.emulator.open_connections)


def test_threads_that_ask_at_once_get_one() -> None:
    """Though each of them comes first."""
    providers = Providers(models(a=entry(fallback=["b"]), b=entry()))
    got, begin = list[BaseProvider](), threading.Barrier(8)

    def ask() -> None:
        begin.wait()
        got.append(providers.get("a"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, got))) == 1


@pytest.mark.parametrize(("arguments", "said"), [
    pytest.param({"models": 5}, "the models are of type int", id="no models"),
    pytest.param({"ttl": 0}, "`ttl` is 0, expected a number of seconds above 0", id="no time"),
    pytest.param({"ttl": "5"}, "`ttl` is '5'", id="a time in quotes"),
    pytest.param({"listener": "log"}, "`listener` is of type str", id="no listener"),
])  # fmt: skip
def test_wrong_arguments_are_told_at_once(arguments: dict[str, Any], said: str) -> None:
    """As they are made."""
    with pytest.raises(ConfigError, match=said):
        Providers(**{"models": models(a=entry()), **arguments})


async def test_an_alias_that_cannot_be_opened_is_told_each_time() -> None:
    """And once the reason is gone it can."""
    async with Providers(models(a=entry(key="${PENSTOCK_LATE}", fallback=["b"]), b=entry())) as providers:
        for alias in ("a", "nobody", "a"):
            with pytest.raises(ConfigError):
                providers.get(alias)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PENSTOCK_LATE", KEY)
            assert providers.get("a") is providers.get("a")


async def test_a_storm_of_requests_through_one_alias() -> None:
    """As in a web server, with a `get` for each, half of them by way of another alias, whose own server is not there:
    the limit holds as one, no connection is beyond it, and none is left.
    """
    most = {"running": 0, "open": 0}
    answer = ServerReply(anthropic_message({"type": "text", "text": "Hello!"}))
    async with nothing_left(), Emulator(then=answer) as emulator:
        config = models(a=entry(emulator.url, concurrency=8), b=entry(concurrency=8, fallback=["a"]))
        async with Providers(config, ttl=60) as providers:

            async def handle(number: int) -> None:
                async with providers.get("ab"[number % 2]) as provider, provider.stream("", ASK) as stream:
                    async for _ in stream:
                        most["running"] = max(most["running"], next(iter(providers)).running)
                        most["open"] = max(most["open"], emulator.open_connections)

            async with anyio.create_task_group() as group:
                for number in range(100):
                    group.start_soon(handle, number)
            assert [(each.running, each.waiting) for each in providers] == [(0, 0)] * 2
    assert most == {"running": 8, "open": 8}
    assert len(emulator.requests) == 100
