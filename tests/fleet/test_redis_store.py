"""RedisStore against a Redis of the test's own: what goes wrong there, what a process does meanwhile, and after."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import penstock
from examples import blocks, run
from patience import PATIENCE
from penstock import ConfigError, StoreError
from penstock.fleet import RedisStore, redis_link, redis_places, redis_rate
from penstock.middleware import StoreBack, StoreLost
from penstock.middleware.limit_store import Limits, Verdict
from redis_server import RedisServer, free_port, needs_redis, redis_server

pytestmark = [needs_redis, pytest.mark.anyio]

TOKENS = Limits(None, 1000)
KEPT: list[object] = []
"""Places that are held."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that only this test has."""
    with redis_server(tmp_path) as found:
        yield found


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Left alone for a short while; a busy machine is given time for its answers."""
    KEPT.clear()
    monkeypatch.setattr(redis_link, "_AWAY", 0.2)
    monkeypatch.setattr(redis_link, "_SETTLING", 0.0)
    monkeypatch.setattr(redis_link, "_PATIENCE", 5.0)
    monkeypatch.setattr(redis_rate, "_LOOK", 0.05)


async def until(holds: Callable[[], Awaitable[object]]) -> None:
    """Wait for what other processes bring about."""
    with anyio.fail_after(PATIENCE):
        while not await holds():  # noqa: ASYNC110 - nobody tells of it
            await anyio.sleep(0.01)


async def has(store: RedisStore, tokens: int) -> bool:
    """Whether so many are charged."""
    return await spent(store) == tokens


async def gets_place(store: RedisStore, limit: int) -> bool:
    """Whether one is free; then it is taken, and kept."""
    KEPT.append((await store.take("n", limit, 0.0)).ticket)
    return KEPT[-1] is not None


async def charged(store: RedisStore, tokens: int = 100, name: str = "n") -> Verdict:
    """One call's charge."""
    return await store.charge(name, TOKENS, tokens, 0.0)


async def spent(store: RedisStore, name: str = "n") -> int:
    """What Redis has of a name, asked by way of another process."""
    await store.charge(name, TOKENS, 0, 0.0)
    left = store.left(name, TOKENS)[0].tokens
    return 1000 - (left or 0)


async def test_processes_share_a_limit(server: RedisServer) -> None:
    """Each store is a process here: it has its own thread, connection and name."""
    async with RedisStore(server.url) as one, RedisStore(server.url) as other:
        assert (await charged(one, 600)).ticket is not None
        refused = await charged(other, 600)
        assert refused.ticket is None
        assert 59 < refused.seconds <= 61
        assert (await charged(other, 400)).ticket is not None
        assert (await charged(other, 600, "another name")).ticket is not None


async def test_what_a_call_used_in_truth_is_known_to_all(server: RedisServer) -> None:
    """Less is given back, more is charged, however often it is told."""
    async with RedisStore(server.url) as one, RedisStore(server.url) as other:
        ticket = (await charged(one, 600)).ticket
        for truth in (100, 250, 700):
            one.correct(ticket, truth)
            await until(partial(has, other, truth))


async def test_a_pause_holds_for_all(server: RedisServer) -> None:
    """The vendor told one of them; a shorter one does not end a longer one."""
    async with RedisStore(server.url) as one, RedisStore(server.url) as other:
        one.hold("n", 40)
        one.hold("n", 20)

        async def held() -> bool:
            return 30 < (await charged(other)).held <= 40

        await until(held)
        assert 30 < one.left("n", TOKENS)[1] <= 40


async def test_who_leaves_while_it_is_asked_is_charged_with_nothing(server: RedisServer) -> None:
    """And has no place."""
    async with RedisStore(server.url) as one, RedisStore(server.url) as other:
        for _ in range(5):
            for run in (lambda: one.charge("n", TOKENS, 1000, 0.0), lambda: one.take("n", 1, 0.0)):
                async with anyio.create_task_group() as group:
                    group.start_soon(run)
                    await anyio.lowlevel.checkpoint()
                    group.cancel_scope.cancel()

        async def got() -> bool:
            return (await charged(other, 1000)).ticket is not None

        await until(got)
        await until(lambda: gets_place(other, 1))


async def test_places_are_shared_and_given_back(server: RedisServer) -> None:
    """At once, when a stream ends, and when a store is closed."""
    async with RedisStore(server.url) as other:
        async with RedisStore(server.url) as one:
            first = (await one.take("n", 2, 0.0)).ticket
            assert await gets_place(one, 2)
            assert (await other.take("n", 2, 0.0)).ticket is None
            one.give_back(first)
            await until(lambda: gets_place(other, 2))
        assert await gets_place(other, 2)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_place_lives_as_long_as_its_stream_and_not_much_longer(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is renewed before its lease ends; of a process that is dead it is not."""
    monkeypatch.setattr(redis_places.Places, "lease", 0.6)
    monkeypatch.setattr(redis_places.Places, "renewal", 0.1)
    async with RedisStore(server.url) as one, RedisStore(server.url) as other:
        assert await gets_place(one, 1)
        end = time.monotonic() + 0.8
        while time.monotonic() < end:
            assert (await other.take("n", 1, 0.0)).ticket is None
            await anyio.sleep(0.05)
        monkeypatch.setattr(redis_places.Places, "_begin_renewal", lambda self: None)  # it dies
        await until(lambda: gets_place(other, 1))


Break = Callable[[RedisServer], object]
FAULTS: list[tuple[str, Break, str]] = [
    ("it is not there", lambda server: server.stop(), "Connect"),
    ("it is slow", lambda server: server.say("CLIENT", "PAUSE", "1500"), "no answer within"),
    ("it is a replica", lambda server: server.say("REPLICAOF", "127.0.0.1", "1"), "read only"),
    ("it wants a password", lambda server: server.say("CONFIG", "SET", "requirepass", "pw-of-redis"), "uth"),
    ("it is full", lambda server: server.say("CONFIG", "SET", "maxmemory", "1"), "maxmemory"),
    ("somebody else's keys", lambda server: server.say("SET", "penstock:1:{rate:n}", "x"), "wrong kind of value"),
]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize(("fault", "said"), [pytest.param(*rest, id=name) for name, *rest in FAULTS])
async def test_a_redis_that_fails_at_the_start_is_told_by_its_own_error(
    server: RedisServer, fault: Break, said: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows how many processes there are, so nothing is sent; said once, whatever is asked."""
    monkeypatch.setattr(redis_link, "_AWAY", 60.0)
    monkeypatch.setattr(redis_link, "_PATIENCE", 0.2)
    caplog.set_level(logging.WARNING, "penstock")
    fault(server)
    async with RedisStore(server.url.replace("//", "//:pw-that-is-wrong@", 1)) as store:
        for _ in range(20):
            with pytest.raises(StoreError, match=said) as raised:
                await charged(store)
            assert "this process has never reached the store, so it does not know its share" in raised.value.message
        assert "pw-" not in f"{raised.value}{caplog.text}{store!r}{store.news()}"
        assert 50 < (raised.value.retry_after or 0) <= 60
        with pytest.raises(StoreError):
            await store.take("n", 1, 0.0)
    (told,) = [record.getMessage() for record in caplog.records if record.name == "penstock"]
    assert told.endswith("; calls are refused, asking again every 60 s")


@pytest.mark.parametrize("anyio_backend", ["trio"])
@pytest.mark.parametrize(("fault", "said"), [pytest.param(*rest, id=name) for name, *rest in FAULTS])
async def test_a_process_goes_on_with_its_share(
    server: RedisServer, fault: Break, said: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """There were two, so half of the limit, what it has charged before included; and half of the places."""
    async with RedisStore(server.url) as one, RedisStore(server.url) as other:
        await charged(other, 100)
        await gets_place(other, 4)
        assert (await charged(one, 300)).ticket is not None
        assert await gets_place(one, 4)
        monkeypatch.setattr(redis_link, "_AWAY", 60.0)
        monkeypatch.setattr(redis_link, "_PATIENCE", 0.2)
        fault(server)
        if said == "uth":  # whoever is connected already is asked for none
            server.say("CLIENT", "KILL", "TYPE", "normal", password="pw-of-redis")
        found = [(await charged(one, 100)).ticket is not None for _ in range(4)]
        assert found == [True, True, False, False]
        places = [await gets_place(one, 4) for _ in range(3)]
        assert places == [True, False, False]
        (kind, facts), *more = one.news()
        assert (kind, facts["local"], more) == (StoreLost, True, [])
    assert "; going on with 1/2 of each limit, asking again every 60 s" in caplog.text


async def test_of_what_the_fleet_had_just_spent_a_process_takes_its_share_as_it_becomes_free(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else all would send their shares at once, on top of a minute that is full."""
    async with RedisStore(server.url) as one, RedisStore(server.url) as other:
        await charged(other, 900)
        await charged(one, 100)
        server.stop()
        found = await charged(one, 100)
        assert (found.ticket, found.held) == (None, 0.0)
        assert found.seconds <= 0.25, "Redis may be back by then"
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + 11)
        assert (await charged(one, 100)).ticket is None
        monkeypatch.setattr(time, "monotonic", lambda: now + 13)
        assert (await charged(one, 100)).ticket is not None, "200 of 1000 are free, of which this one has half"


async def test_stop_means_that_nothing_is_sent(server: RedisServer) -> None:
    """Also where it is known how many there are; and it goes on when Redis is back."""
    async with RedisStore(server.url, on_loss="stop") as store:
        await charged(store)
        server.stop()
        with pytest.raises(StoreError) as raised:
            await charged(store)
        assert raised.value.retryable
        assert 0 < (raised.value.retry_after or 0) <= 0.2
        server.start()

        async def is_back() -> bool:
            with suppress(StoreError):
                return (await charged(store)).ticket is not None
            return False

        await until(is_back)


@pytest.mark.parametrize("settings", [(), ("--appendonly", "yes")], ids=["without its data", "with its data"])
async def test_what_was_charged_is_not_lost_with_redis(
    tmp_path: Path, settings: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """Neither what it has forgotten, nor what was sent while it was away, each of it once."""
    with redis_server(tmp_path, *settings) as server:
        async with RedisStore(server.url) as one, RedisStore(server.url) as other:
            await charged(other, 10)
            ticket = (await charged(one, 200)).ticket
            one.correct(ticket, 150)
            await until(lambda: has(other, 160))
            server.stop()
            alone = (await charged(one, 100)).ticket
            one.correct(alone, 40)
            server.start()
            await until(lambda: has(one, 200))
            await until(lambda: has(other, 200))
            assert [kind for kind, _ in one.news()] == [StoreLost, StoreBack]
    assert (
        f"the store redis://127.0.0.1:{server.port} is back" + ("" if settings else " without its data") in caplog.text
    )


async def test_a_process_that_asks_for_nothing_tells_too_what_was_forgotten(server: RedisServer) -> None:
    """Else others would send what it has used up."""
    async with RedisStore(server.url) as one, RedisStore(server.url) as other:
        await charged(one, 700)
        server.say("FLUSHALL")
        await until(lambda: has(other, 700))


async def test_after_a_restart_nobody_sends_before_all_could_tell(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they have used up. Whoever is new has nothing to tell."""
    monkeypatch.setattr(redis_link, "_SETTLING", 1000.0)
    async with RedisStore(server.url) as one, RedisStore(server.url) as new:
        assert (await charged(one)).ticket is not None
        server.stop()
        server.start()

        async def waits() -> bool:
            return (await charged(one, 1)).seconds > 900

        await until(waits)
        assert (await charged(new, 1)).ticket is None


CURES: list[tuple[str, Break]] = [
    ("it forgets its scripts", lambda server: server.say("SCRIPT", "FLUSH")),
    ("it closes the connection", lambda server: server.say("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")),
    ("it starts again", lambda server: server.restart()),
]


@pytest.mark.parametrize("fault", [pytest.param(fault, id=name) for name, fault in CURES])
async def test_what_can_be_mended_at_once_is_not_told(
    server: RedisServer, fault: Break, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is charged as if nothing had been."""
    monkeypatch.setattr(redis_rate, "_LOOK", PATIENCE)  # a look while it starts would find it lost
    async with RedisStore(server.url) as store:
        await charged(store)
        fault(server)
        assert (await charged(store)).ticket is not None
        assert await spent(store) == 200
        assert store.news() == []


async def test_where_redis_does_not_say_the_time_this_machine_does(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With one warning."""
    with redis_server(tmp_path, "--rename-command", "TIME", "") as server:
        async with RedisStore(server.url) as store:
            for _ in range(5):
                assert (await charged(store, 200)).ticket is not None
            assert (await charged(store, 200)).ticket is None
    assert [record.message for record in caplog.records if "this machine's clock" in record.message] != []
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1


async def test_different_numbers_for_one_name_are_told_once_and_the_smaller_holds(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """For all."""
    async with RedisStore(server.url) as one, RedisStore(server.url) as other:
        await one.charge("n", Limits(None, 300), 100, 0.0)
        for _ in range(3):
            await charged(other, 100)
            await other.take("p", 5, 0.0)
        assert (await charged(other, 100)).ticket is None
        await one.take("p", 7, 0.0)
    said = "limit %s: with those of others it is %s, and this process says %s: the smaller numbers hold"
    told = [record.getMessage() for record in caplog.records]
    assert told == [said % ("n", (None, 300), (None, 1000)), said % ("p", 5, 7)]


async def test_many_event_loops_and_threads_have_one_connection(server: RedisServer) -> None:
    """One after the other, and at once; of either kind."""
    store = RedisStore(server.url)
    tickets: list[object] = []

    async def ask() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(4):

                async def once() -> None:
                    tickets.append((await charged(store, 10)).ticket)

                group.start_soon(once)

    async with anyio.create_task_group() as group:
        for backend in ("asyncio", "trio") * 3:
            group.start_soon(anyio.to_thread.run_sync, partial(anyio.run, ask, backend=backend))
        await ask()
    assert len(tickets) == 28
    assert None not in tickets
    assert await spent(store) == 280
    assert server.say("CLIENT", "LIST").count("\nid=") == 2, "and the one that asks"
    await store.aclose()
    await store.aclose()
    with pytest.raises(ConfigError, match="this store is closed"):
        await charged(store)


async def test_a_call_that_waits_for_redis_when_the_store_is_closed_ends(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And does not hang."""
    monkeypatch.setattr(redis_link, "_PATIENCE", 0.2)
    store = RedisStore(server.url, on_loss="stop")
    await charged(store)
    server.say("CLIENT", "PAUSE", "3000")
    failed: list[BaseException] = []

    async def ask() -> None:
        try:
            await charged(store)
        except (ConfigError, StoreError) as error:
            failed.append(error)

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await anyio.sleep(0.05)
            await store.aclose()
    assert len(failed) == 1


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_cluster_is_found_by_any_of_its_nodes(tmp_path: Path) -> None:
    """Redis waits for two seconds before a node of a cluster takes anything."""
    ports = [str(free_port()) for _ in range(2)]  # between the nodes
    settings = "--cluster-enabled", "yes", "--cluster-port"
    folders = tmp_path / "one", tmp_path / "other"
    for folder in folders:
        folder.mkdir()
    with (
        redis_server(folders[0], *settings, ports[0]) as one,
        redis_server(folders[1], *settings, ports[1]) as other,
    ):
        for node, slots in ((one, "0 8191"), (other, "8192 16383")):
            node.say("CLUSTER", "ADDSLOTSRANGE", *slots.split())
        one.say("CLUSTER", "MEET", "127.0.0.1", str(other.port), ports[1])

        async def is_up() -> bool:
            return all("cluster_state:ok" in node.say("CLUSTER", "INFO") for node in (one, other))

        await until(is_up)
        async with RedisStore(one.url) as store:
            for name in ("a", "b", "c", "d"):  # some of them lie on the other
                assert (await charged(store, 100, name)).ticket is not None
                assert await spent(store, name) == 100
            assert store.news() == []
        kept = [node.say("KEYS", "*").count("{rate:") // 3 for node in (one, other)]
        assert min(kept) > 0


async def test_a_process_that_was_forked_counts_for_itself(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a connection of its own, and without what its parent has charged."""
    async with RedisStore(server.url) as store:
        await charged(store, 300)
        parent = store._link
        assert parent is not None
        monkeypatch.setattr(os, "getpid", lambda: -1)
        await charged(store, 200)
        assert await spent(store) == 500
        parent.stop()  # whose thread is not in the child


def test_the_example_of_the_guide(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the Redis of this test."""
    page = Path(penstock.__file__).parent / "guide" / "shared-limits.md"
    example = next(block for block in blocks(page.read_text("utf-8")) if block.language == "python")
    run(example._replace(code=example.code.replace("redis://127.0.0.1", server.url)), page.name, monkeypatch)
    assert capsys.readouterr().out.strip()
    assert "{places:" in server.say("KEYS", "*")


@pytest.mark.parametrize(
    ("url", "more", "said"),
    [
        ("http://127.0.0.1", {}, "`url` is no address of a Redis, expected redis://"),
        ("redis://", {}, "`url` is no address"),
        ("redis://h:notaport", {}, "`url` is no address"),
        ("redis://h/users", {}, "`url` is no address"),
        (None, {}, "`url` is no address"),
        ("redis://h", {"prefix": "a{b"}, "`prefix` is 'a{b', expected a text without braces"),
        ("redis://h", {"prefix": ""}, "`prefix` is ''"),
        ("redis://h", {"on_loss": "ignore"}, "`on_loss` is 'ignore', expected 'local' or 'stop'"),
    ],
)
def test_what_makes_no_sense_is_refused_when_it_is_made(url: Any, more: dict[str, Any], said: str) -> None:
    """By name, and no address is shown."""
    with pytest.raises(ConfigError) as raised:
        RedisStore(url, **more)
    assert said in str(raised.value)


async def test_a_charge_that_nobody_heard_of_hides_no_other(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is made although the answer came too late; what is sent next, alone, is told to Redis all the same."""
    monkeypatch.setattr(redis_link, "_PATIENCE", 0.2)
    async with RedisStore(server.url) as one, RedisStore(server.url) as other:
        await charged(other, 0)
        ticket = (await charged(one, 450)).ticket
        server.say("CLIENT", "PAUSE", "600")
        assert (await charged(one, 60)).ticket is None, "its share is 500"
        one.correct(ticket, 0)
        assert (await charged(one, 200)).ticket is not None
        await until(lambda: has_at_least(other, 200))


async def has_at_least(store: RedisStore, tokens: int) -> bool:
    """Whether so many are charged, or more."""
    with suppress(StoreError):
        return await spent(store) >= tokens
    return False


@pytest.mark.parametrize("sizes", [(1000, 400), (400, 1000)], ids=["the larger first", "the smaller first"])
async def test_the_smaller_of_two_sizes_in_one_process_holds(server: RedisServer, sizes: tuple[int, int]) -> None:
    """Of a rate, and of places."""
    async with RedisStore(server.url) as store:
        for size in sizes:
            await store.charge("n", Limits(None, size), 0, 0.0)
            await store.take("m", size // 100, 0.0)
        found = [(await store.charge("n", Limits(None, size), 300, 0.0)).ticket for size in sizes * 2]
        assert [each is not None for each in found] == [True, False, False, False]
        taken = [await store.take("m", size // 100, 0.0) for size in sizes * 4]
        assert sum(each.ticket is not None for each in taken) == 4


@pytest.mark.parametrize("seconds", [1e16, float("inf")])
async def test_a_pause_without_an_end_is_no_fault_of_redis(server: RedisServer, seconds: float) -> None:
    """It holds."""
    async with RedisStore(server.url) as store:
        store.hold("n", seconds)

        async def is_held() -> bool:
            return (await charged(store)).held > 10**8

        await until(is_held)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_stream_that_outlives_its_loop_frees_its_place(server: RedisServer) -> None:
    """Nobody closes it."""
    async with RedisStore(server.url) as one, RedisStore(server.url) as other:
        held = [await one.take("n", 1, 0.0)]
        assert (await other.take("n", 1, 0.0)).ticket is None
        held.clear()
        await until(lambda: gets_place(other, 1))
