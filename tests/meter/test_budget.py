"""Budget: a call begins only if its worst case can be paid, and who is in the way of whom is decided in order."""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import metering
from ledger_places import LedgerPlace
from metering import INFO, ask, booked, cost, whole
from patience import until
from penstock import (
    BudgetExceededError,
    ConfigError,
    Message,
    Model,
    ModelInfo,
    Options,
    ProviderError,
    TokenLimitError,
    run,
    tags,
)
from penstock.core.dialect import Dialect
from penstock.core.tokens import TokenMemory
from penstock.meter import Budget, BudgetOverrun, Ledger, MaxTokensSet, Metered
from penstock.meter.budget import period_of
from penstock.meter.entries import micros, moment
from penstock.middleware import CircuitBreaker, Event, Fallback
from penstock.testing import Hang, ScriptedProvider
from penstock.wire.vendors import DIALECTS
from playing import ASK, HI, OPEN, collect, outcome

pytestmark = pytest.mark.anyio

TOKEN = Decimal("0.000015")
DAY = Budget("5.00", per="day")

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({"limit": 0, "per": "day"}, "`limit` is 0, expected dollars above 0"),
    "negative": ({"limit": "-1", "per": "day"}, "`limit` is '-1', expected dollars above 0"),
    "no number": ({"limit": "five", "per": "day"}, "`limit` is 'five', expected a number of dollars"),
    "not a number": ({"limit": float("nan"), "per": "day"}, "`limit` is nan, expected dollars above 0"),
    "a bool": ({"limit": True, "per": "day"}, "`limit` is True"),
    "an unknown period": ({"limit": 1, "per": "dya"}, "did you mean 'day'?"),
    "an unknown field": ({"limit": 1, "per": "day", "by": "modle"}, "did you mean 'model'?"),
    "a tag without its prefix": ({"limit": 1, "per": "day", "by": "user"}, "did you mean 'tags.user'?"),
    "a tag with a name of 300 bytes": ({"limit": 1, "per": "day", "by": f"tags.{'x' * 300}"}, "`by` is"),
    "a tag without a name": ({"limit": 1, "per": "day", "by": "tags."}, "`by` is 'tags.'"),
    "an unknown zone": ({"limit": 1, "per": "day", "tz": "Europe/Utopia"}, "expected a time zone"),
    "no zone": ({"limit": 1, "per": "day", "tz": 3}, "expected a time zone"),
    "an unknown word": ({"limit": 1, "per": "day", "missing": "ignore"}, "expected share, refuse"),
    "no wait": ({"limit": 1, "per": "day", "max_wait": 0}, "`max_wait` is 0"),
    "nothing held": ({"limit": 1, "per": "day", "unbounded": 0}, "`unbounded` is 0"),
}


@pytest.mark.parametrize("mistake", BAD)
def test_a_mistake_is_told(mistake: str) -> None:
    """By name, with the nearest word."""
    given, said = BAD[mistake]
    with pytest.raises(ConfigError) as caught:
        Budget(**given)
    assert said in caught.value.message


async def test_what_is_no_budget() -> None:
    """Is told before anything is called."""
    async with Ledger() as ledger:
        with pytest.raises(ConfigError, match="`budgets` has a int, expected Budget"):
            Metered(Priced(), ledger, budgets=[5])  # type: ignore[list-item]


PERIODS = {
    "a day": ("day", "UTC", "2026-11-30T12:00Z", "2026-11-30T00:00Z", "2026-12-01T00:00Z"),
    "a day elsewhere": ("day", "Asia/Kolkata", "2026-11-30T20:00Z", "2026-11-30T18:30Z", "2026-12-01T18:30Z"),
    "a day of 25 hours": ("day", "Europe/Amsterdam", "2026-10-25T12:00Z", "2026-10-24T22:00Z", "2026-10-25T23:00Z"),
    "a day of 23 hours": ("day", "Europe/Amsterdam", "2026-03-29T12:00Z", "2026-03-28T23:00Z", "2026-03-29T22:00Z"),
    "a day whose midnight is skipped": (
        "day", "America/Santiago", "2026-09-06T12:00Z", "2026-09-06T04:00Z", "2026-09-07T03:00Z"
    ),
    "an hour": ("hour", "Asia/Kolkata", "2026-11-30T12:00Z", "2026-11-30T11:30Z", "2026-11-30T12:30Z"),
    "an hour that comes twice": (
        "hour", "Europe/Amsterdam", "2026-10-25T01:30Z", "2026-10-25T01:00Z", "2026-10-25T02:00Z"
    ),
    "a month": ("month", "Europe/Amsterdam", "2026-12-31T23:30Z", "2026-12-31T23:00Z", "2027-01-31T23:00Z"),
    "a short month": ("month", "UTC", "2028-02-29T00:00Z", "2028-02-01T00:00Z", "2028-03-01T00:00Z"),
}  # fmt: skip


@pytest.mark.parametrize("period", PERIODS)
def test_a_period_begins_and_ends_where_the_calendar_says(period: str) -> None:
    """Also where the clocks are changed."""
    per, tz, at, begin, end = PERIODS[period]
    found = period_of(per, tz, micros(dt.datetime.fromisoformat(at)))
    assert [each and moment(each) for each in found] == [dt.datetime.fromisoformat(each) for each in (begin, end)]


@given(
    st.integers(1_577_836_800_000_000, 2_051_222_400_000_000),
    st.sampled_from(["UTC", "Europe/Amsterdam", "America/Santiago", "Australia/Lord_Howe", "Africa/Cairo"]),
    st.sampled_from(["hour", "day", "month"]),
)
def test_periods_cover_all_time_once(at: int, tz: str, per: str) -> None:
    """A law: a moment lies in its period, and the period's end begins the next."""
    begin, end = period_of(per, tz, at)
    assert end is not None
    assert begin <= at < end
    if per != "hour":  # where clocks change by half an hour, an hour is cut
        assert period_of(per, tz, end)[0] == end
        assert period_of(per, tz, begin)[0] == begin


class Priced(metering.Priced):
    """A model whose prompts cost nothing, so that a call costs $0.015 at worst: a thousand tokens."""

    def get_model(self) -> Model:
        return Model("m", FREE_PROMPTS)


FREE_PROMPTS = msgspec.structs.replace(
    INFO, input_price=Decimal(0), cache_writes_price=Decimal(0), cache_reads_price=Decimal(0)
)


async def test_it_refuses_what_it_could_not_pay(place: LedgerPlace) -> None:
    """With all that a handler needs to know."""
    budget = Budget("0.05", per="day", by="tags.user", tz="Europe/Amsterdam")
    async with Ledger(place.address, clock=lambda: 1_795_000_000) as ledger:
        leaf = Priced(whole("0.04"), repeat=True)
        provider = Metered(leaf, ledger, budgets=[budget])
        with tags(user="ann"):
            await collect(provider)
            _, error = await outcome(provider)
        assert isinstance(error, BudgetExceededError)
        assert (error.limit, error.spent, error.held, error.bucket) == (
            budget.limit,
            Decimal("0.04"),
            Decimal(0),
            "ann",
        )
        assert error.needed == Decimal("0.015")
        assert error.until == dt.datetime.fromisoformat("2026-11-19T00:00+01:00")
        assert error.message == ("the budget of $0.05 per day of 'ann' has $0.01 left, and the call may cost $0.015")
        assert not error.retryable
        with tags(user="bob"):  # has dollars of his own
            await collect(provider)
        assert len(leaf.calls) == 2
        assert [row.tags["user"] for row in await booked(ledger)] == ["ann", "bob"]
        assert (await ledger.status(budget, "ann")).left == Decimal("0.01")


async def test_a_budget_that_is_overspent_says_so(place: LedgerPlace) -> None:
    """By a call that was billed more than it held."""
    async with Ledger(place.address) as ledger:
        provider = Metered(Priced(whole("0.04"), repeat=True), ledger, budgets=[Budget("0.03", per="total")])
        await collect(provider)
        _, error = await outcome(provider)
    assert isinstance(error, BudgetExceededError)
    assert error.message == "the budget of $0.03 per total is overspent by $0.01, and the call may cost $0.015"


async def test_others_wait_for_what_is_held_in_order(place: LedgerPlace) -> None:
    """Held is not spent: a call that finds the rest held waits until it is settled; no later one overtakes it."""
    budget = Budget("0.05", per="total")  # three worst cases, and some
    gate = anyio.Event()

    class Gated(Priced):
        async def create_message(self, system_prompt: Any, messages: Any, options: Any = None) -> Any:
            async for chunk in super().create_message(system_prompt, messages, options):
                yield chunk
                await gate.wait()

    async with Ledger(place.address) as ledger:
        leaf = Gated(whole("0.001"), repeat=True)
        provider = Metered(leaf, ledger, budgets=[budget])
        begun: list[int] = []

        async def call(number: int) -> None:
            async with provider.stream("", ASK, Options(tags={"number": f"{number}"})) as chunks:
                async for _ in chunks:
                    begun.append(number)  # noqa: PERF401 - it is looked at meanwhile

        async with anyio.create_task_group() as group:
            for number in range(3):
                group.start_soon(call, number)
                await until(partial(begun.count, number))
            for number in range(3, 12):
                group.start_soon(call, number)
                await until(partial(_is_long, ledger, number - 2))
            assert len(leaf.calls) == 3
            gate.set()
        status = await ledger.status(budget)
        rows = await booked(ledger)
    assert [row.tags["number"] for row in rows] == [f"{number}" for number in range(12)]
    assert (status.spent, status.held) == (Decimal("0.012"), Decimal(0))


def _is_long(ledger: Ledger, length: int) -> bool:
    return len(_line(ledger)) == length


def _line(ledger: Ledger) -> Sequence[object]:
    return ledger._writer()._waiting


async def test_who_waits_too_long_is_refused(place: LedgerPlace) -> None:
    """And leaves the line."""
    budget = Budget("0.02", per="total", max_wait=0.05)
    async with Ledger(place.address) as ledger:
        leaf = Priced([OPEN, Hang()], whole("0.001"))
        provider = Metered(leaf, ledger, budgets=[budget])
        holding = provider.create_message("", ASK)
        await anext(holding)
        _, error = await outcome(provider)
        assert isinstance(error, BudgetExceededError)
        assert "$0.02 left, of which $0.015 were held by running calls for 0.05 s" in error.message
        assert error.retryable
        assert "try again" in error.hint
        assert _line(ledger) == []
        await holding.aclose()


async def test_who_has_waited_long_enough_looks_for_dead_processes_first(place: LedgerPlace) -> None:
    """What they held is booked, and whoever it still leaves enough for begins."""
    budget = Budget("0.04", per="total", max_wait=0.05)
    async with Ledger(place.address) as ledger:
        leaf = Priced([OPEN, Hang()], [OPEN, Hang()], whole("0.001"))
        provider = Metered(leaf, ledger, budgets=[budget])
        running = [provider.create_message("", ASK) for _ in range(2)]
        for stream in running:
            await anext(stream)
        place.run("INSERT INTO owners VALUES ('dead', 0)")
        place.run("UPDATE calls SET owner = 'dead', estimated_nano = 1 WHERE id = 1")
        await collect(provider)
        states = [row.state for row in await booked(ledger)]
        for stream in running:
            await stream.aclose()
    assert states == ["lost", "open", "done"]


async def test_who_is_cancelled_leaves_the_line(place: LedgerPlace) -> None:
    """And leaves neither a row nor anything held."""
    budget = Budget("0.02", per="total")
    async with Ledger(place.address) as ledger:
        leaf = Priced([OPEN, Hang()])
        provider = Metered(leaf, ledger, budgets=[budget])
        holding = provider.create_message("", ASK)
        await anext(holding)
        async with anyio.create_task_group() as group:
            group.start_soon(collect, provider)
            await until(partial(_is_long, ledger, 1))
            group.cancel_scope.cancel()
        await until(partial(_is_long, ledger, 0))
        assert (await ledger.status(budget)).held == Decimal("0.015")
        assert len(await booked(ledger)) == len(leaf.calls) == 1
        await holding.aclose()


async def test_a_moment_without_its_file_leaves_nobody_in_the_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waited then is told, and stands in nobody's way afterwards."""
    monkeypatch.setattr("penstock.meter.schema._BUSY", 0.05)
    budget = Budget("0.02", per="total", max_wait=0.05)
    patient = Budget("0.02", per="total")
    async with Ledger(tmp_path / "spend.db") as ledger:
        leaf = Priced(whole("0.001"), repeat=True)
        holding = Metered(leaf, ledger, budgets=[budget]).create_message("", ASK)
        await anext(holding)
        async with anyio.create_task_group() as group:
            group.start_soon(outcome, Metered(leaf, ledger, budgets=[patient]))
            await until(partial(_is_long, ledger, 1))
            other = sqlite3.connect(tmp_path / "spend.db", isolation_level=None)
            other.execute("BEGIN EXCLUSIVE")
            async for _ in holding:
                pass
            await until(lambda: ledger.fault)
            other.execute("ROLLBACK")
            other.close()
        await collect(Metered(leaf, ledger, budgets=[budget]))


async def test_two_budgets_are_reserved_together_or_not_at_all(place: LedgerPlace) -> None:
    """What one of them refuses holds nothing of the other."""
    large, small = Budget(5, per="month"), Budget("0.01", per="call")
    async with Ledger(place.address) as ledger:
        _, error = await outcome(Metered(Priced(whole("0.001")), ledger, budgets=[large, small]))
        assert isinstance(error, BudgetExceededError)
        assert (await ledger.status(large)).held == 0
        assert await booked(ledger) == []


async def test_max_tokens() -> None:
    """Set where there is none; lowered only where that is allowed, and not below what is worth a call."""
    table: list[tuple[int | None, dict[str, Any], int | None]] = [
        (None, {}, 1_000),
        (None, {"max_output": 300}, 300),
        (700, {"max_output": 300}, 700),
        (90_000, {}, None),
        (90_000, {"lower": True}, 66_666),
        (90_000, {"lower": True, "least": 70_000}, None),
    ]
    for asked, settings, sent in table:
        events: list[Event] = []
        async with Ledger() as ledger:
            leaf = Priced(whole("0.001"))
            provider = Metered(leaf, ledger, budgets=[Budget(1, per="day", **settings)], listener=events.append)
            try:
                await ask(provider, "Hi", Options(max_tokens=asked))
            except BudgetExceededError:
                assert sent is None
                continue
        assert leaf.calls[0].options is not None
        assert leaf.calls[0].options.max_tokens == sent
        assert [type(event) for event in events] == ([] if asked == sent else [MaxTokensSet])


async def test_an_overrun_is_booked_as_it_is_billed() -> None:
    """Told, and the next call is refused."""
    events: list[Event] = []
    async with Ledger() as ledger:
        leaf = Priced(whole("4.99"), repeat=True)
        provider = Metered(leaf, ledger, budgets=[DAY], listener=events.append)
        await collect(provider)
        _, error = await outcome(provider)
        assert isinstance(error, BudgetExceededError)
        [overrun] = [event for event in events if isinstance(event, BudgetOverrun)]
        assert overrun.cost == Decimal("4.99")
        assert (await ledger.status(DAY)).spent == Decimal("4.99")


class Unpriced(ScriptedProvider):
    """A model of which nothing is known."""

    def get_model(self) -> Model:
        return Model("m", ModelInfo())


class Searching(metering.Priced):
    """A model at a vendor that bounds its searches."""

    def get_model(self) -> Model:
        return Model("m", msgspec.structs.replace(INFO, web_search_price=Decimal(10)))

    def _new_tokens(self) -> TokenMemory:
        return TokenMemory("m", DIALECTS["anthropic"])


class Endless(metering.Priced):
    """A model at a server of one's own that writes as much as it likes."""

    longest: int | None = None

    def get_model(self) -> Model:
        return Model("m", msgspec.structs.replace(INFO, max_tokens=self.longest))

    def _new_tokens(self) -> TokenMemory:
        return TokenMemory("m", Dialect(name="mine", option_fields={"max_tokens": None}))


class Long(Endless):
    """The same, up to a length that is known."""

    longest = 1_000_000


SEARCH: dict[str, Any] = {"type": "web_search_20250305", "name": "web_search"}


async def test_what_has_no_price_or_no_bound() -> None:
    """Is refused by name, unless the budget says what to do; and then it is booked as it is."""
    table: list[tuple[ScriptedProvider, Options, dict[str, Any], str | None]] = [
        (Unpriced(HI), Options(), {}, "the price of m is not known"),
        (Unpriced(HI), Options(), {"unpriced": "allow"}, None),
        (Unpriced(HI), Options(tools=[SEARCH]), {"unbounded": "0.5"}, "the price of m is not known"),
        (Unpriced(HI), Options(tools=[SEARCH]), {"unpriced": "allow"}, None),
        (Searching(HI), Options(tools=[{**SEARCH, "max_uses": 1}]), {}, None),
        (
            Searching(HI),
            Options(tools=[{**SEARCH, "max_uses": 900}]),
            {},
            r"may cost \$[\d.]+ \(\$[\d.]+ of it the prompt\)",
        ),
        (Searching(HI), Options(tools=[{**SEARCH, "max_uses": 900}]), {"unbounded": "0.5"}, None),
        (Priced(HI), Options(tools=[SEARCH]), {}, "nothing bounds what this call of m may cost"),
        (Priced(HI), Options(tools=[SEARCH]), {"unbounded": "0.5"}, None),
        (Priced(HI), Options(tools=[SEARCH]), {"unbounded": "6"}, r"may cost \$6"),
        (Endless(HI), Options(max_tokens=9, lenient=True), {}, "nothing bounds what this call of m may cost"),
        (Endless(HI), Options(max_tokens=9, lenient=True), {"unbounded": "0.5"}, None),
        (Long(HI), Options(max_tokens=9, lenient=True), {"lower": True}, r"may cost \$1[\d.]+"),
        (Long(HI), Options(), {"max_output": 9}, r"may cost \$1[\d.]+"),
        (Priced(HI), Options(), {"by": "tags.user", "missing": "refuse"}, r"without tags.user; .* Options\(tags"),
        (Priced(HI), Options(), {"by": "tags.user"}, None),
        (Priced(HI), Options(tags={"user": "ann"}), {"by": "tags.user", "missing": "refuse"}, None),
    ]
    for leaf, options, settings, refused in table:
        async with Ledger() as ledger:
            provider = Metered(leaf, ledger, budgets=[Budget(5, per="day", **settings)])
            if refused is None:
                await ask(provider, "Hi", options)
                assert len(await booked(ledger)) == 1
                sent = leaf.calls[0].options
                assert sent is not None
                assert sent.max_tokens == options.max_tokens or not isinstance(leaf, Endless)
                continue
            with pytest.raises(ProviderError, match=refused):
                await ask(provider, "Hi", options)
            assert leaf.calls == []
            assert await booked(ledger) == []


async def test_runs_have_dollars_of_their_own() -> None:
    """The innermost `with run()`; calls without a run share some."""
    budget = Budget("0.03", per="run")
    async with Ledger() as ledger:
        provider = Metered(Priced(whole("0.02"), repeat=True), ledger, budgets=[budget])
        for name in ("a", "b"):
            with run(name):
                await collect(provider)
                assert isinstance((await outcome(provider))[1], BudgetExceededError)
        await collect(provider)
        assert isinstance((await outcome(provider))[1], BudgetExceededError)


async def test_a_run_of_somebodys_is_asked_for_by_both(place: LedgerPlace) -> None:
    """The run's id comes first."""
    budget = Budget("0.05", per="run", by="tags.user")
    async with Ledger(place.address) as ledger:
        with run("nightly"), tags(user="ann"):
            await collect(Metered(Priced(whole("0.02")), ledger, budgets=[budget]))
        assert (await ledger.status(budget, "nightly", "ann")).spent == Decimal("0.02")
        assert (await ledger.status(budget, "nightly", "bob")).spent == 0


async def test_a_budget_counts_what_the_ledger_has_already(place: LedgerPlace) -> None:
    """Whatever provider booked it, and whether there was a budget then."""
    async with Ledger(place.address) as ledger:
        await collect(Metered(Priced(whole("4.99")), ledger))
        assert isinstance((await outcome(Metered(Priced(HI), ledger, budgets=[DAY])))[1], BudgetExceededError)
        await collect(Metered(Priced(whole("0.50")), ledger))
        assert (await ledger.status(DAY)).spent == Decimal("5.49")


async def test_a_day_ends(place: LedgerPlace) -> None:
    """By the ledger's clock; a call belongs to the day on which it began, also if the clock is set back."""
    now = 1_795_000_000.0
    async with Ledger(place.address, clock=lambda: now) as ledger:
        provider = Metered(Priced(whole("4.99"), repeat=True), ledger, budgets=[DAY])
        await collect(provider)
        assert isinstance((await outcome(provider))[1], BudgetExceededError)
        now += 86_400
        await collect(provider)
        now -= 86_400 + 5
        assert isinstance((await outcome(provider))[1], BudgetExceededError)
        assert [total.by["day"] for total in await ledger.totals("day")] == ["2026-11-18", "2026-11-19"]


async def test_no_other_model_is_asked_and_no_breaker_opens() -> None:
    """A budget that is spent is nobody's failure."""
    budget = Budget("0.01", per="day")
    async with Ledger() as ledger:
        other = Priced(HI)
        breaker = CircuitBreaker(Metered(Priced(HI), ledger, budgets=[budget]), failures=1)
        _, error = await outcome(Fallback(breaker, other))
        assert isinstance(error, BudgetExceededError)
        assert other.calls == []
        assert isinstance((await outcome(breaker))[1], BudgetExceededError)


async def test_a_prompt_that_cannot_fit_is_not_sent() -> None:
    """By what the vendor itself has counted of it before."""
    async with Ledger() as ledger:
        leaf = Priced([cost("0.6", input_tokens=199_990), *HI], whole("0.1"))
        provider = Metered(leaf, ledger)
        long = [Message("user", "x" * 500_000)]
        async for _ in provider.create_message("", long):
            pass
        longer = [*long, Message("assistant", "Hi" * 2_000), Message("user", "y" * 5_000)]
        leaf.tokens.remember("", long, Options(), cost("0", input_tokens=200_010))
        with pytest.raises(TokenLimitError) as caught:
            async for _ in provider.create_message("", longer):
                pass
        assert caught.value.limit == INFO.context_window
        assert len(leaf.calls) == 1
