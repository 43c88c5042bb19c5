"""What goes around no budget: names, rounding, lowered calls, clocks; and what is held is what is booked."""

from __future__ import annotations

import decimal
import random
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal

import anyio
import pytest

import metering
from ledger_places import LedgerPlace
from metering import booked, cost
from patience import until
from penstock import BudgetExceededError, Chunk, Model, ModelInfo, Options, StopChunk, StreamInterruptedError, run
from penstock.core.bounds import worst_case
from penstock.core.scope import in_scope
from penstock.core.tokens import History
from penstock.meter import Budget, Ledger, Metered
from penstock.meter.store import _FAMILIES, Call, Store
from penstock.testing import Hang, ScriptedStep
from playing import ASK, HI, OPEN, SETTLED, collect, outcome

pytestmark = pytest.mark.anyio

WORST = Decimal("0.015")
"""Of a thousand tokens, whose prompt costs nothing."""


class Out(metering.Priced):
    """A model of which only the answer costs something."""

    def get_model(self) -> Model:
        """See BaseProvider."""
        return Model("m", ModelInfo(input_price=Decimal(0), output_price=Decimal(15), max_tokens=1_000))


def whole(dollars: str) -> list[ScriptedStep]:
    """An answer that costs so much."""
    return [OPEN, cost(dollars), SETTLED, *HI]


@pytest.fixture
def narrow() -> Iterator[None]:
    """A program that counts with three digits, and wants to hear of each one that is lost, in all of its threads."""
    contexts = decimal.DefaultContext, decimal.getcontext()
    before = [context.copy() for context in contexts]
    for context in contexts:
        context.prec = 3
        context.traps[decimal.Inexact] = context.traps[decimal.Rounded] = True
    yield
    for context, old in zip(contexts, before, strict=True):
        context.prec, context.traps = old.prec, old.traps


@pytest.mark.usefixtures("narrow")
async def test_the_program_may_round_as_it_likes(place: LedgerPlace) -> None:
    """Sums and what is left of a budget are exact all the same."""
    budget = Budget("123.456789", per="day")
    async with Ledger(place.address) as ledger:
        provider = Metered(Out(whole("0.012345678901234567"), repeat=True), ledger, budgets=[budget])
        await collect(provider)
        await collect(provider)
        [total] = await ledger.totals("model")
        status = await ledger.status(budget)
    assert total.usage.known_cost == status.spent == Decimal("0.024691357802469134")
    assert status.left == Decimal("123.432097642197530866")


@pytest.mark.parametrize(
    "name", ["a\0b", "a\ud800b", random.Random(1).randbytes(5_000).hex()], ids=["NUL", "half", "long"]
)
@pytest.mark.parametrize("per", ["run", "day"])
async def test_no_name_goes_around_a_budget(place: LedgerPlace, name: str, per: str) -> None:
    """What a call is booked on is what it was held for, whatever its run or alias is called."""
    async with Ledger(place.address) as ledger:
        leaf = Out(whole("0.015"), repeat=True)
        leaf.alias = name
        by = None if per == "run" else "alias"
        provider = Metered(leaf, ledger, budgets=[Budget("0.03", per=per, by=by)])  # type: ignore[arg-type]
        with run(name):
            await collect(provider)
            await collect(provider)
            with pytest.raises(BudgetExceededError):
                await collect(provider)


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens", "max_output_tokens", "n", "best_of"])
def test_an_extra_field_that_lengthens_the_answer_leaves_nothing_bounded(field: str) -> None:
    """It would be sent, and `max_tokens` would not bound what is billed."""
    assert worst_case(Out([]), "", ASK, Options(max_tokens=10)) is not None
    assert worst_case(Out([]), "", ASK, Options(max_tokens=10, extra={field: 900})) is None


async def test_an_unknown_bill_is_not_above_what_was_held(place: LedgerPlace) -> None:
    """Where `max_tokens` was lowered, it is the lowered worst case."""
    budget = Budget("0.006", per="day", lower=True, least=10)
    async with Ledger(place.address) as ledger:
        await outcome(Metered(Out([OPEN, StreamInterruptedError("cut")]), ledger, budgets=[budget]))
        assert (await ledger.status(budget)).spent == Decimal("0.006")


async def test_budgets_of_one_family_hold_once(place: LedgerPlace) -> None:
    """They count the same dollars."""
    budgets = [Budget("0.03", per="day"), Budget("1", per="day")]
    async with Ledger(place.address) as ledger, anyio.create_task_group() as group:
        leaf = Out([OPEN, Hang()], repeat=True)
        group.start_soon(collect, Metered(leaf, ledger, budgets=budgets))
        group.start_soon(collect, Metered(leaf, ledger, budgets=budgets))
        await until(lambda: len(leaf.calls) == 2)
        assert (await ledger.status(budgets[0])).held == 2 * WORST
        group.cancel_scope.cancel()


async def test_a_clock_that_was_put_back_keeps_no_dead_process_alive() -> None:
    """Its lease would end a day later."""
    now = 1_800_000_000.0
    ledger = Ledger(clock=lambda: now)
    writer = ledger._writer()
    await ledger.flush()
    writer._opened().execute("INSERT INTO owners VALUES ('dead', ?)", ((now + 86_400) * 1e6,))
    await ledger.recover()
    now += 61
    await ledger.recover()
    assert writer._opened().execute("SELECT count(*) FROM owners WHERE owner = 'dead'").fetchone() == (0,)
    await ledger.aclose()


async def test_a_call_that_is_taken_back_after_it_was_lost_leaves_no_cost() -> None:
    """A process that stood still longer than its lease, and whose call was cancelled before it was sent."""
    budget = Budget(1, per="day")
    async with Ledger() as ledger:
        leaf = Out(whole("0.01"))
        call = Metered(leaf, ledger, budgets=[budget]).planned(leaf, "", History(ASK), *in_scope(Options()))
        await ledger.open(call, 1.0)
        store = ledger._writer()._store
        store._do("UPDATE calls SET owner = 'dead'")
        assert await ledger.recover() == 1
        assert (await ledger.status(budget)).spent == WORST
        store.withdraw(call)
        assert (await ledger.status(budget)).spent == 0


async def test_a_long_line_costs_the_others_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who stands behind one that has to wait is not asked again with each call that ends."""
    tried = 0
    opened = Store.open

    def count_and_open(store: Store, call: Call, age: float, *, last: bool) -> bool:
        nonlocal tried
        tried += 1
        return opened(store, call, age, last=last)

    async with Ledger() as ledger, anyio.create_task_group() as group:
        leaf = Out([OPEN, Hang()], repeat=True)
        tight = Metered(leaf, ledger, budgets=[Budget(WORST, per="total", by="alias")])
        leaf.alias = "tight"
        for _ in range(30):
            group.start_soon(collect, tight)
        await until(lambda: len(ledger._writer()._waiting) == 29)
        monkeypatch.setattr(Store, "open", count_and_open)
        for _ in range(10):
            await collect(Metered(Out(whole("0.01")), ledger))
        group.cancel_scope.cancel()
    assert tried <= 10 + 2 * 10 + 30  # themselves, the first of the line after each transaction, and the end


async def test_all_kinds_of_budgets_are_found_among_many_periods() -> None:
    """None, one, and several with a thousand hours each."""
    async with Ledger() as ledger:
        await ledger.flush()
        connection = ledger._writer()._opened()
        for families in ([], ["a"], ["a", "b", "c"]):
            rows = [(family, hour) for family in families for hour in range(1_000)]
            for row in rows:
                connection.execute("INSERT OR IGNORE INTO periods VALUES (?, ?)", row)
            assert [family for (family,) in connection.execute(_FAMILIES)] == families


@pytest.mark.parametrize("what", [cost("Infinity"), StopChunk(reason="stop", model=5)], ids=["cost", "model"])  # type: ignore[arg-type]
async def test_what_cannot_be_booked_is_booked_as_unknown(place: LedgerPlace, what: Chunk) -> None:
    """It would hold its worst case as long as the process lives."""
    budget = Budget(1, per="day")
    async with Ledger(place.address) as ledger:
        with suppress(Exception):
            await outcome(Metered(Out([OPEN, what]), ledger, budgets=[budget]))
        [row] = await booked(ledger)
        status = await ledger.status(budget)
    assert (row.usage.cost, row.estimated_cost) == (None, WORST)
    assert row.state != "open"
    assert status.spent == WORST
    assert status.held == 0


async def test_what_is_forgotten_is_still_spent(place: LedgerPlace) -> None:
    """As long as its period lasts, also where rows of the future are to be forgotten."""
    budget = Budget(1, per="day")
    async with Ledger(place.address) as ledger:
        await collect(Metered(Out(whole("0.01")), ledger, budgets=[budget]))
        assert await ledger.forget(before="2999-01-01") == 1
        assert (await ledger.status(budget)).spent == Decimal("0.01")
