"""Cost as tables: tiers, variants, announced changes; and the meter's laws over any sequence of snapshots."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal, Inexact, localcontext
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from penstock import ConfigError, ModelInfo, PriceChange, PriceSheet, PriceTier, UsageChunk, calculate_cost
from penstock.core.cost import Meter
from penstock.core.models import Prices

MILLION = 10**6
DAY = dt.date(2026, 11, 21)


def prices(text: str) -> dict[str, Any]:
    """Prices in the order input, output, cache write, extended, cache read, search; `-` is not known."""
    return {
        name: Decimal(price)
        for name, price in zip(Prices.__struct_fields__, text.split(), strict=False)
        if price != "-"
    }


PLAIN = ModelInfo(**prices("2 10 2.5 4 0.1 10"))
TIERED = ModelInfo(
    **prices("1 10 2 3 0.5"),
    tiers=[
        PriceTier(**prices("7 70"), above_input_tokens=400_000),
        PriceTier(**prices("5 50 6 8 0.7"), above_input_tokens=200_000),
    ],
    variants={
        "flat": PriceSheet(**prices("3 30")),
        "even": PriceSheet(**prices("3 30"), tiers=[]),
        "fast": PriceSheet(**prices("2 20"), tiers=[PriceTier(**prices("10 100"), above_input_tokens=200_000)]),
    },
)
DATED = ModelInfo(
    **prices("1 10"),
    variants={"fast": PriceSheet(**prices("2 20"))},
    changes=[
        PriceChange(from_date=dt.date(2028, 1, 1), **prices("7 70"), variants={"slow": PriceSheet(**prices("1 1"))}),
        PriceChange(
            from_date=dt.date(2027, 1, 1),
            **prices("4"),
            tiers=[PriceTier(**prices("6"), above_input_tokens=200_000)],
            variants={"batch": PriceSheet(**prices("3"))},
        ),
    ],
)


def used(text: str) -> UsageChunk:
    """Usage in the order of the prices; `cache_write_tokens` is all writes, the extended ones included."""
    count = dict(
        zip(("input", "output", "write", "extended", "read", "searches"), map(int, text.split()), strict=False)
    )
    return UsageChunk(
        input_tokens=count.get("input", 0),
        output_tokens=count.get("output", 0),
        cache_write_tokens=count.get("write", 0),
        cache_write_extended_tokens=count.get("extended", 0),
        cache_read_tokens=count.get("read", 0),
        web_searches=count.get("searches", 0),
    )


@pytest.mark.parametrize(
    ("usage", "info", "dollars"),
    [
        pytest.param("0", PLAIN, "0", id="nothing costs nothing"),
        pytest.param("0", ModelInfo(), "0", id="nothing costs nothing, whatever the prices"),
        pytest.param("1000000", PLAIN, "2", id="input is per million"),
        pytest.param("0 1000000", PLAIN, "10", id="output is per million"),
        pytest.param("0 0 1000000", PLAIN, "2.5", id="a write"),
        pytest.param("0 0 1000000 1000000", PLAIN, "4", id="an extended write"),
        pytest.param("0 0 1000000 400000", PLAIN, "3.1", id="extended writes are part of the writes"),
        pytest.param("0 0 0 0 1000000", PLAIN, "0.1", id="a read"),
        pytest.param("0 0 0 0 0 1000", PLAIN, "10", id="searches are per thousand"),
        pytest.param("1 1 1 1 1 1", PLAIN, "0.0100161", id="one of each"),
        pytest.param("1", ModelInfo(**prices("0")), "0", id="free is a price"),
        pytest.param("5", ModelInfo(**prices("1")), "0.000005", id="what is not used needs no price"),
        pytest.param("5", ModelInfo(**prices("- 1 1 1 1 1")), None, id="input without a price"),
        pytest.param("0 5", ModelInfo(**prices("1 - 1 1 1 1")), None, id="output without a price"),
        pytest.param("0 0 5", ModelInfo(**prices("1 1 - 1 1 1")), None, id="a write without a price"),
        pytest.param("0 0 5 5", ModelInfo(**prices("1 1 - 1 1 1")), "0.000005", id="only extended writes"),
        pytest.param("0 0 5 4", ModelInfo(**prices("1 1 1 - 1 1")), None, id="an extended write without a price"),
        pytest.param("0 0 0 0 5", ModelInfo(**prices("1 1 1 1 - 1")), None, id="a read without a price"),
        pytest.param("0 0 0 0 0 5", ModelInfo(**prices("1 1 1 1 1 -")), None, id="a search without a price"),
        pytest.param("3", ModelInfo(**prices("0.0000000000000000001")), "3E-25", id="tiny prices are exact"),
        pytest.param("3", ModelInfo(**prices("1e999")), f"3{'0' * 993}", id="a huge price is exact"),
        pytest.param(
            "3 7",
            ModelInfo(**prices("1e999 1e-999")),
            f"3{'0' * 993}.{'0' * 1004}7",
            id="huge and tiny prices together",
        ),
        pytest.param(f"{10**60 + 1}", PLAIN, f"2{'0' * 54}.000002", id="huge counts are exact"),
    ],
)
def test_each_bucket_has_its_price(usage: str, info: ModelInfo, dollars: str | None) -> None:
    """A bucket costs its count times its price; a used bucket without a price makes the cost unknown, never 0."""
    cost = calculate_cost(used(usage), info, on=DAY)
    assert cost == (None if dollars is None else Decimal(dollars))


def test_reasoning_is_not_billed_twice() -> None:
    """Reasoning tokens are part of the output tokens."""
    assert calculate_cost(UsageChunk(output_tokens=MILLION, reasoning_tokens=MILLION), PLAIN) == 10


@pytest.mark.parametrize(
    ("usage", "variant", "dollars"),
    [
        pytest.param("200000 1000000", None, "10.2", id="at the border it is still the low price"),
        pytest.param("200001 1000000", None, "51.000005", id="one above, all tokens have the high price"),
        pytest.param("400000 0", None, "2", id="at the next border"),
        pytest.param("400001 0", None, "2.800007", id="one above the next: the highest reached counts"),
        pytest.param("100000 0 50000 0 50000", None, "0.225", id="writes and reads are counted, to the border"),
        pytest.param("100000 0 50001 0 50000", None, "0.835006", id="writes and reads are counted, above it"),
        pytest.param("0 0 200001 200001", None, "1.600008", id="extended writes are counted once"),
        pytest.param("200000 9000000", None, "90.2", id="output is not part of the prompt"),
        pytest.param("400001 0 1", None, None, id="a tier stands alone: what it does not state is not known"),
        pytest.param("200000 0", "fast", "0.4", id="a variant below its own tier"),
        pytest.param("200001 0", "fast", "2.00001", id="a variant in its own tier"),
        pytest.param("200000 0", "flat", "0.6", id="a variant without known tiers below the border"),
        pytest.param("200001 0", "flat", None, id="a variant without known tiers above it"),
        pytest.param("200001 0", "even", "0.600003", id="a variant known to have no tiers"),
        pytest.param("1", "other", None, id="a variant nobody knows"),
        pytest.param("0", "other", None, id="a variant nobody knows, with nothing used"),
    ],
)
def test_tiers_are_cliffs(usage: str, variant: str | None, dollars: str | None) -> None:
    """The tier follows the prompt tokens of the whole call and prices all of its tokens."""
    cost = calculate_cost(used(usage), TIERED, variant=variant, on=DAY)
    assert cost == (None if dollars is None else Decimal(dollars))


@pytest.mark.parametrize(
    ("day", "usage", "variant", "dollars"),
    [
        pytest.param("2026-12-31", "1000000 1000000", None, "11", id="the day before"),
        pytest.param("2027-01-01", "100000", None, "0.4", id="the day itself"),
        pytest.param("2027-01-01", "100000 1", None, None, id="a change stands alone: what it does not state"),
        pytest.param("2027-12-31", "300000", None, "1.8", id="a change has tiers of its own"),
        pytest.param("2028-01-01", "1000000 1000000", None, "77", id="the latest that is due counts"),
        pytest.param("9999-12-31", "300000", None, "2.1", id="the end of days"),
        pytest.param("2026-12-31", "1000000", "fast", "2", id="a variant before the change"),
        pytest.param("2027-01-01", "1000000", "fast", None, id="a variant that the change does not state"),
        pytest.param("2026-12-31", "1000000", "batch", None, id="a variant that only the change states"),
        pytest.param("2027-01-01", "200000", "batch", "0.6", id="a variant of the change"),
        pytest.param("2027-01-01", "200001", "batch", None, id="a variant of the change, above the change's tier"),
        pytest.param("2028-01-01", "1000000", "slow", "1", id="a variant of the later change"),
    ],
)
def test_announced_prices_begin_on_their_day(day: str, usage: str, variant: str | None, dollars: str | None) -> None:
    """The change that is due on the call's UTC date prices all of it, and nothing is taken over from before."""
    cost = calculate_cost(used(usage), DATED, variant=variant, on=dt.date.fromisoformat(day))
    assert cost == (None if dollars is None else Decimal(dollars))


def test_without_a_date_it_is_today() -> None:
    """Who gives no date gets the prices of today: one change is long past, the other far off."""
    changes = [PriceChange(from_date=dt.date(year, 1, 1), input_price=Decimal(year)) for year in (2001, 9999)]
    assert calculate_cost(UsageChunk(input_tokens=MILLION), ModelInfo(changes=changes)) == 2001


@pytest.mark.parametrize(
    ("given_price", "stored"),
    [
        pytest.param(3, "3", id="an int"),
        pytest.param(0.1, "0.1", id="a float as it prints"),
        pytest.param(1e-7, "1E-7", id="a small float"),
        pytest.param("0.10", "0.10", id="a text"),
        pytest.param(Decimal("2.50"), "2.50", id="a decimal"),
    ],
)
def test_prices_in_python_are_exact(given_price: Any, stored: str) -> None:
    """A price given in Python is the decimal that was written, in any decimal context."""
    with localcontext(prec=1):
        price = Prices(input_price=given_price).input_price
    assert isinstance(price, Decimal)
    assert str(price) == stored


@pytest.mark.parametrize("kind", [Prices, PriceSheet, ModelInfo], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    "price",
    [
        pytest.param(-1, id="negative"),
        pytest.param("-0.0000001", id="slightly negative"),
        pytest.param(float("nan"), id="not a number"),
        pytest.param(Decimal("sNaN"), id="a signalling nan"),
        pytest.param(float("inf"), id="infinite"),
        pytest.param("two", id="a word"),
        pytest.param("", id="empty"),
        pytest.param(True, id="a truth value"),
        pytest.param([2], id="a list"),
    ],
)
def test_nonsense_is_not_a_price(kind: type[Prices], price: Any) -> None:
    """What is not a number of 0 or more is refused by the name of its field."""
    with pytest.raises(ConfigError, match=r"`output_price` is .*, expected a"):
        kind(output_price=price)


counts = st.integers(0, 10**20)
known = st.decimals(0, 10**6, places=9)
any_price = known | st.builds("{}e{}".format, st.integers(0, 10**30), st.integers(-999, 999)).map(Decimal)
usages = st.builds(
    UsageChunk,
    input_tokens=counts,
    output_tokens=counts,
    cache_write_tokens=st.integers(10**10, 10**20),
    cache_write_extended_tokens=st.integers(0, 10**10),
    cache_read_tokens=counts,
    web_searches=counts,
)


@given(usages, st.lists(any_price, min_size=6, max_size=6), st.integers(1, 5))
@settings(max_examples=100, deadline=None)
def test_cost_is_exact(usage: UsageChunk, price: list[Decimal], digits: int) -> None:
    """The cost equals the same sum in fractions, even in a program whose decimals have one digit and trap rounding."""
    info = ModelInfo(**prices(" ".join(map(str, price))))
    with localcontext(prec=digits) as context:
        context.traps[Inexact] = True
        cost = calculate_cost(usage, info)
    assert cost is not None
    per_million = (
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_write_tokens - usage.cache_write_extended_tokens,
        usage.cache_write_extended_tokens,
        usage.cache_read_tokens,
        usage.web_searches * 1000,
    )
    assert Fraction(cost) == sum(Fraction(one) * count / MILLION for one, count in zip(price, per_million, strict=True))


FULL = ModelInfo(
    **prices("1 5 1.25 2 0.1 10"),
    tiers=[PriceTier(**prices("2.5 11 3.125 5 0.25 10"), above_input_tokens=1000)],
    variants={
        "fast": PriceSheet(
            **prices("2 10 2.5 4 0.2 10"), tiers=[PriceTier(**prices("5 22 6.25 10 0.5 10"), above_input_tokens=1000)]
        )
    },
)
reported = st.integers(-3, 700) | st.integers(0, 10**30)
snapshots = st.builds(
    UsageChunk,
    input_tokens=reported,
    output_tokens=reported,
    cache_write_tokens=reported,
    cache_write_extended_tokens=reported,
    cache_read_tokens=reported,
    reasoning_tokens=reported,
    web_searches=reported,
    cost=st.none() | known,
)
reports = st.lists(st.tuples(snapshots, st.sampled_from([None, "fast"])), min_size=1, max_size=6)


def sane(snapshot: UsageChunk, cost: Decimal | None) -> UsageChunk:
    """What a meter is to believe of a snapshot."""
    believed = {name: max(getattr(snapshot, name), 0) for name in UsageChunk.__struct_fields__ if name != "cost"}
    believed["cache_write_extended_tokens"] = min(
        believed["cache_write_extended_tokens"], believed["cache_write_tokens"]
    )
    return UsageChunk(**believed, cost=cost)


def assert_never_negative(total: UsageChunk) -> None:
    for name in total.__struct_fields__:
        value = getattr(total, name)
        assert value is None or value >= 0, name


@given(reports)
@example([(UsageChunk(input_tokens=1000), None), (UsageChunk(input_tokens=1001), "fast"), (UsageChunk(), None)])
@settings(max_examples=200, deadline=None)
def test_increments_add_up_to_the_last_snapshot(sequence: list[tuple[UsageChunk, str | None]]) -> None:
    """Whatever is reported, the increments' sum is the last sane snapshot at its own price, and was never negative."""
    meter, total = Meter(FULL, DAY), UsageChunk()
    for snapshot, variant in sequence:
        total += meter.report(snapshot, variant=variant) or UsageChunk()
        price = calculate_cost(total, FULL, variant=variant, on=DAY)
        assert price is not None
        assert total == meter.total == sane(snapshot, price)
        assert_never_negative(total)
        assert meter.report(snapshot, variant=variant) is None, "the same snapshot again changes nothing"


@given(reports, st.lists(known, min_size=6, max_size=6))
@settings(max_examples=50, deadline=None)
def test_a_reported_cost_wins(sequence: list[tuple[UsageChunk, str | None]], dollars: list[Decimal]) -> None:
    """The vendor's own figure, cumulative like the counts, is the bill, also where no price is known."""
    meter, total = Meter(ModelInfo(), DAY), UsageChunk()
    for (snapshot, variant), cost in zip(sequence, dollars, strict=False):
        total += meter.report(snapshot, variant=variant, reported_cost=cost) or UsageChunk()
        assert total == meter.total == sane(snapshot, cost)
        assert_never_negative(total)


@given(reports, reports)
@settings(max_examples=50, deadline=None)
def test_once_unknown_the_cost_stays_unknown(
    before: list[tuple[UsageChunk, str | None]], after: list[tuple[UsageChunk, str | None]]
) -> None:
    """After a report without a price no later one makes the sum known again, and the counts go on all the same."""
    meter, total = Meter(FULL, DAY), UsageChunk()
    for snapshot, variant in [*before, (UsageChunk(input_tokens=1), "unheard of"), *after]:
        total += meter.report(snapshot, variant=variant) or UsageChunk()
        assert total == meter.total == sane(snapshot, total.cost)
    assert total.cost is None


@pytest.mark.parametrize(
    ("calls", "increments"),
    [
        pytest.param([("0", {})], [None], id="zeros are no news"),
        pytest.param([("1000000", {})], [("1000000", "2")], id="the first report is its own increment"),
        pytest.param(
            [("1000000 1", {}), ("1000000 1000001", {})],
            [("1000000 1", "2.00001"), ("0 1000000", "10")],
            id="the second is the difference",
        ),
        pytest.param(
            [("3000000", {}), ("1000000", {})], [("3000000", "6"), ("-2000000", "-4")], id="a correction downwards"
        ),
        pytest.param([("1000000", {}), ("1000000", {})], [("1000000", "2"), None], id="nothing new is no increment"),
        pytest.param([("1000000", {"other_cost": Decimal("0.5")})], [("1000000", "2.5")], id="other costs are added"),
        pytest.param([("0", {"other_cost": Decimal("0.5")})], [("0", "0.5")], id="other costs alone"),
        pytest.param(
            [("1000000", {}), ("1000000", {"cost_known": False}), ("1000000", {})],
            [("1000000", "2"), ("0", None), None],
            id="something was billed that no price is known for",
        ),
        pytest.param(
            [("1", {"cost_known": False, "reported_cost": Decimal(3)})], [("1", "3")], id="the vendor's cost is known"
        ),
        pytest.param(
            [("1000000", {"reported_cost": Decimal(3)}), ("1000000", {})],
            [("1000000", "3"), ("0", "-1")],
            id="without the vendor's cost the prices count again",
        ),
        *(
            pytest.param(
                [("1000000", {"reported_cost": Decimal(cost)}), ("2000000", {"reported_cost": Decimal(3)})],
                [("1000000", None), ("1000000", None)],
                id=f"a cost that is none: {cost}",
            )
            for cost in ("-1", "-1e-9", "NaN", "sNaN", "-NaN", "Infinity", "-Infinity")
        ),
        pytest.param(
            [("1000000", {}), ("1000000", {"reported_cost": Decimal(-1), "other_cost": Decimal(1)}), ("1000000", {})],
            [("1000000", "2"), ("0", None), None],
            id="a cost that is none, after a known one",
        ),
        pytest.param([("1000000", {"reported_cost": Decimal(0)})], [("1000000", "0")], id="free is a cost"),
        pytest.param([("1", {"variant": "fast"})], [("1", None)], id="a variant without a price"),
        pytest.param([("0 0 5 9", {})], [("0 0 5 5", "0.00002")], id="no more extended writes than writes"),
        pytest.param([("-5 -5 -5 -5 -5 -5", {})], [None], id="negative counts are none"),
    ],
)
def test_a_meter_reports_increments(
    calls: list[tuple[str, dict[str, Any]]], increments: list[tuple[str, str | None] | None]
) -> None:
    """Each report gives what is new since the last, or None."""
    meter = Meter(PLAIN, DAY)
    found = [meter.report(used(usage), **keywords) for usage, keywords in calls]
    assert found == [
        None if new is None else msgspec.structs.replace(used(new[0]), cost=None if new[1] is None else Decimal(new[1]))
        for new in increments
    ]


def test_crossing_a_cliff_prices_what_came_before() -> None:
    """An increment that lifts the prompt over a cliff also carries the rise of what was reported below it."""
    meter = Meter(TIERED, DAY)
    first = meter.report(UsageChunk(input_tokens=200_000))
    second = meter.report(UsageChunk(input_tokens=200_001))
    assert first is not None
    assert second is not None
    assert (first.cost, second.cost) == (Decimal("0.2"), Decimal("0.800005"))


def test_a_meter_bills_the_day_on_which_the_call_began() -> None:
    """A call that runs past midnight has the prices of its first day."""
    usage = UsageChunk(input_tokens=MILLION)
    assert Meter(DATED, dt.date(2026, 12, 31)).price(usage, None) == 1
    assert Meter(DATED, dt.date(2028, 1, 1)).price(usage, None) == 7
