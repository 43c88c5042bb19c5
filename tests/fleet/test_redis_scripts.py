"""What the scripts promise, in Redis itself, by a clock that the test turns: never above, and nearly all of it used."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from penstock.fleet.redis_scripts import CELLS, PLACES, RATE, State
from redis_server import RedisServer, needs_redis, redis_server

pytestmark = needs_redis

MINUTE = 60_000


class Direct:
    """Runs scripts over one connection, without the client whose business they are."""

    def __init__(self, server: RedisServer, script: str) -> None:
        self._server = server
        self._script = script
        self.now = 1_764_000_000_123
        self.known: dict[str, int] = {}

    def __call__(self, me: str, limits: tuple[int, int], **said: Any) -> list[int]:
        """The script's answer to a process that knows what it has charged, and all that it knows."""
        rate = {"window": MINUTE, "seq": self.known.get(me, 0), "upto": self.known.get(me, 0), "fix": [], "post": []}
        given = {"me": me, "now": self.now, "limits": limits, "hold": 0, "settle": 0, "waited": 0, **rate, **said}
        keys = "{t}", "{t}:who", "{t}:first"
        found = self._server.say("EVAL", self._script, "3", *keys, msgspec.json.encode(given).decode())
        assert found.startswith("*"), found
        answer = [int(line[1:]) for line in found.split("\r\n")[1:] if line]
        if answer[0] != State.APART:
            self.known[me] = answer[1]
        return answer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One for all."""
    with redis_server(tmp_path_factory.mktemp("redis")) as found:
        yield found


@pytest.fixture
def rate(server: RedisServer) -> Direct:
    """Rates in an empty Redis."""
    server.say("FLUSHALL")
    return Direct(server, RATE)


@pytest.fixture
def places(server: RedisServer) -> Direct:
    """Places in an empty Redis."""
    server.say("FLUSHALL")
    return Direct(server, PLACES)


@pytest.mark.parametrize("seed", range(3))
def test_no_window_has_more_than_the_limit_and_nine_tenths_are_used(rate: Direct, seed: int) -> None:
    """Six processes that ask whenever they may, wherever the minute begins, with more charged than it was in truth."""
    chance, limit = random.Random(seed), 50_000
    sent: list[tuple[int, int]] = []
    ready = {f"p{number}": rate.now + chance.randrange(1000) for number in range(6)}
    end = rate.now + 3 * MINUTE
    while (me := min(ready, key=lambda one: ready[one])) and ready[me] < end:
        rate.now = max(rate.now, ready[me])
        tokens = chance.randrange(100, 3000)
        answer = rate(me, (-1, limit), ask=tokens)
        if answer[0] == State.DONE:
            less = chance.randrange(100)
            rate(me, (-1, limit), fix=[[answer[3], less]])
            sent.append((rate.now, tokens - less))
        ready[me] = rate.now + min(answer[4], 1000) + chance.randrange(1, 100)

    def within(at: int) -> int:
        return sum(tokens for time, tokens in sent if at - MINUTE < time <= at)

    assert max(within(at) for at, _ in sent) <= limit
    looks = range(end - 2 * MINUTE, end, 500)
    assert sum(map(within, looks)) / len(looks) >= 0.9 * limit


@pytest.mark.parametrize(
    ("age", "counts"),
    [(0, True), (59_999, True), (MINUTE + MINUTE // CELLS, False)],
    ids=["now", "a moment before it is a minute old", "a cell after it is a minute old"],
)
def test_what_was_charged_counts_for_a_minute_and_a_cell_at_most(rate: Direct, age: int, counts: bool) -> None:
    """So no minute has more than the limit, wherever it begins within a cell."""
    assert rate("a", (-1, 100), ask=100)[0] == State.DONE
    rate.now += age
    assert (rate("b", (-1, 100), ask=1)[0] == State.WAIT) is counts


def test_it_says_how_long_to_wait(rate: Direct) -> None:
    """To the millisecond, if nobody else comes."""
    rate("a", (-1, 100), ask=60)
    rate.now += 10_000
    rate("a", (-1, 100), ask=40)
    wait = rate("b", (-1, 100), ask=50)[4]
    rate.now += wait - 1
    assert rate("b", (-1, 100), ask=50)[0] == State.WAIT
    rate.now += 1
    assert rate("b", (-1, 100), ask=50)[0] == State.DONE


def test_requests_and_tokens_are_charged_together_or_not_at_all(rate: Direct) -> None:
    """Whichever of them is full."""
    assert rate("a", (1, 100), ask=10)[0] == State.DONE
    assert rate("a", (1, 100), ask=10)[0] == State.WAIT
    assert rate("b", (2, 15), ask=10)[0] == State.WAIT
    assert rate("c", (1, 1000), ask=0)[9:] == [1, 10]


def test_more_than_the_limit_needs_an_empty_minute(rate: Direct) -> None:
    """As in one process: the estimate may be wrong, and to wait for ever helps nobody."""
    assert rate("a", (-1, 100), ask=5000)[0] == State.DONE
    assert rate("b", (-1, 100), ask=5000)[0] == State.WAIT


def test_a_pause_holds_all_and_the_later_end_wins(rate: Direct) -> None:
    """Whoever was told of it."""
    rate("a", (-1, 100), hold=30_000)
    rate("b", (-1, 100), hold=10_000)
    answer = rate("c", (-1, 100), ask=1)
    assert (answer[0], answer[4], answer[5]) == (State.WAIT, 30_000, 30_000)
    rate.now += 30_000
    assert rate("c", (-1, 100), ask=1)[0] == State.DONE


def test_the_smaller_limit_holds_as_long_as_its_process_is_there(rate: Direct) -> None:
    """A minute and a cell after it was last heard of it is not."""
    rate("a", (-1, 50), ask=10)
    assert rate("b", (7, 100), ask=60)[0] == State.WAIT
    assert rate("b", (7, 100))[6:9] == [2, 7, 50]
    rate.now += 61_000
    assert rate("b", (7, 100), ask=60)[6:9] == [1, 7, 100]


def test_who_has_waited_longer_is_not_overtaken(rate: Direct) -> None:
    """A big one in one process by the small ones of the others; until it asks no more."""
    rate("a", (-1, 100), ask=60)
    assert rate("big", (-1, 100), ask=90, waited=5000)[0] == State.WAIT
    assert rate("small", (-1, 100), ask=20, waited=100)[0] == State.WAIT
    assert rate("older", (-1, 100), ask=20, waited=9000)[0] == State.DONE
    rate.now += 61_000
    assert rate("big", (-1, 100), ask=90, waited=9000)[0] == State.DONE


def test_what_the_store_has_forgotten_is_told_before_anything_is_charged(rate: Direct) -> None:
    """It says how many charges of a process it knows, and those that come after are charged with their age."""
    rate.known["a"] = 3
    assert rate("a", (-1, 100), ask=50)[:2] == [State.APART, 0]
    rate.known["a"] = 0
    post = [[59_000, 1, 20], [1_000, 1, 40]]
    answer = rate("a", (-1, 100), ask=50, post=post, upto=3)
    assert (answer[0], answer[1], answer[10]) == (State.WAIT, 3, 60)
    rate.now += 3_000
    assert rate("a", (-1, 100), ask=50)[10] == 90


def test_nobody_sends_while_others_may_have_something_to_tell(rate: Direct) -> None:
    """After a restart."""
    rate("a", (-1, 100), settle=6000)
    assert rate("b", (-1, 100), ask=1)[4] == 6000


def test_a_correction_of_a_cell_that_is_gone_gives_nothing_back(rate: Direct) -> None:
    """Nor does it make one."""
    cell = rate("a", (-1, 100), ask=50)[3]
    rate.now += 30_000
    rate("a", (-1, 100))
    rate.now += 31_000
    assert rate("a", (-1, 100), fix=[[cell, 50]])[10] == 0


def test_places_are_as_many_as_the_limit(places: Direct) -> None:
    """One is free when it is given back, or when its lease has ended; one that is kept is taken anew even then."""
    lease: dict[str, Any] = {"lease": 30_000, "keep": [], "free": []}
    assert places("a", (2, -1), take="a1", **lease)[0] == State.DONE
    assert places("b", (2, -1), take="b1", **lease)[0] == State.DONE
    assert places("c", (2, -1), take="c1", **lease)[0] == State.WAIT
    places("a", (2, -1), **{**lease, "free": ["a1"]})
    assert places("c", (2, -1), take="c1", **lease)[0] == State.DONE
    places.now += 10_000
    places("b", (2, -1), **{**lease, "keep": ["b1"]})
    places.now += 20_000
    assert places("a", (2, -1), take="a2", **lease)[0] == State.DONE, "c is dead"
    places.now += 60_000
    assert places("b", (2, -1), **{**lease, "keep": ["b1", "b2", "b3"]})[9] == 3, "a stream is never cut"


def test_everything_a_script_keeps_ends_by_itself(rate: Direct, server: RedisServer) -> None:
    """Nothing is left of a fleet that is gone."""
    rate("a", (-1, 100), ask=100)
    rate("b", (-1, 100), ask=100)
    for key in ("{t}", "{t}:who", "{t}:first"):
        assert 0 < int(server.say("PTTL", key)[1:]) <= MINUTE + MINUTE // CELLS + 1000
