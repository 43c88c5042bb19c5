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

from penstock import (
    ConfigError,
    Dialect,
    ModelInfo,
    PriceChange,
    PriceSheet,
    PriceTier,
    UsageChunk,
    calculate_cost,
    format_dollars,
)
from penstock.core.cost import Meter, prices_at
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
    known_cost=known,
)
reports = st.lists(st.tuples(snapshots, st.sampled_from([None, "fast"])), min_size=1, max_size=6)


COUNTS = [name for name in UsageChunk.__struct_fields__ if "cost" not in name and name != "unsettled"]


def sane(snapshot: UsageChunk, cost: Decimal) -> UsageChunk:
    """What a meter is to believe of a snapshot."""
    believed = {name: max(getattr(snapshot, name), 0) for name in COUNTS}
    believed["cache_write_extended_tokens"] = min(
        believed["cache_write_extended_tokens"], believed["cache_write_tokens"]
    )
    return UsageChunk(**believed, known_cost=cost)


def assert_never_negative(total: UsageChunk) -> None:
    for name in total.__struct_fields__:
        value = getattr(total, name)
        assert value >= 0, name


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


@given(reports, st.booleans(), st.booleans(), st.booleans())
@settings(max_examples=100, deadline=None)
def test_a_bill_is_open_from_the_first_increment_to_the_last(
    sequence: list[tuple[UsageChunk, str | None]], opened: bool, priced: bool, told: bool
) -> None:
    """Until it is settled a bill is open, and then it is known if the last report has a price and tells all counts.

    That is so whatever was reported before, and whether the call was opened here or its events were read alone.
    """
    meter, total = Meter(FULL, DAY), UsageChunk()
    if opened:
        total += meter.open() or UsageChunk()
        assert total == UsageChunk(unsettled=1)
    for place, (snapshot, variant) in enumerate(sequence, 1):
        word = variant if priced or place < len(sequence) else "unheard of"
        total += meter.report(snapshot, variant=word) or UsageChunk()
        assert total.unsettled == int(opened)
    settled = meter.settle(told=told)
    assert settled is None or msgspec.structs.replace(settled, unsettled=0) == UsageChunk()
    total += settled or UsageChunk()
    assert total == meter.total
    nothing = not priced and all(getattr(sane(sequence[-1][0], Decimal(0)), name) == 0 for name in COUNTS)
    assert total.unsettled == int(not told or not (priced or nothing) or (not priced))
    assert meter.settle(told=told) is None, "it is told once"


@given(reports)
@settings(max_examples=50, deadline=None)
def test_what_costs_nothing_has_no_open_bill(sequence: list[tuple[UsageChunk, str | None]]) -> None:
    """Where tokens are free, no call owes anything, however it ends; a search is another matter."""
    meter, total = Meter(ModelInfo(input_price=Decimal(0), output_price=Decimal(0)), DAY), UsageChunk()
    assert meter.open() is None
    for snapshot, _ in sequence:
        total += meter.report(snapshot) or UsageChunk()
        assert total.cost == 0
    total += meter.settle(told=False) or UsageChunk()
    assert total.cost == (None if total.web_searches else 0)


def test_a_call_that_is_not_billed_takes_its_bill_back() -> None:
    """A vendor that says no before anything came is owed nothing."""
    meter = Meter(PLAIN, DAY)
    assert meter.open() == UsageChunk(unsettled=1)
    assert meter.cancel() == UsageChunk(unsettled=-1)
    assert meter.cancel() is None
    assert meter.total == UsageChunk()


OTHERS = ModelInfo(**prices("1 10 - - 0.1"), audio_input_price=Decimal(40), image_output_price=Decimal(30))


@pytest.mark.parametrize(
    ("info", "usage", "others", "known", "complete"),
    [
        pytest.param(PLAIN, "1000 500", {"audio_input_price": 900}, "0.0052", False, id="sound that has no price"),
        pytest.param(PLAIN, "1000", {"audio_input_price": 0}, "0.002", True, id="no sound"),
        pytest.param(OTHERS, "1000 500", {"audio_input_price": 900}, "0.0411", True, id="sound with a price"),
        pytest.param(OTHERS, "0 500", {"image_output_price": 400}, "0.013", True, id="an image with a price"),
        pytest.param(OTHERS, "0 500", {"audio_output_price": 400}, "0.001", False, id="a voice without one"),
        pytest.param(OTHERS, "10 0 0 0 90", {"audio_input_price": 50}, "0.000409", True, id="the rest was cached"),
        pytest.param(
            ModelInfo(
                **prices("1 10"), audio_input_price=Decimal(40), variants={"batch": PriceSheet(**prices("0.5 5"))}
            ),
            "100",
            {"audio_input_price": 100, "variant": "batch"},
            "0",
            False,
            id="nobody knows what sound costs in a batch",
        ),
    ],
)
def test_tokens_of_another_price(
    info: ModelInfo, usage: str, others: dict[str, Any], known: str, complete: bool
) -> None:
    """Tokens that are no text are billed at their own price, and what is sure is known where that is not."""
    meter = Meter(info, DAY)
    variant = others.get("variant")
    counted = {name: count for name, count in others.items() if name != "variant"}
    meter.report(used(usage), variant=variant, others=counted)
    meter.settle()
    assert meter.total.known_cost == Decimal(known)
    assert meter.total.unsettled == int(not complete)


@pytest.mark.parametrize(
    ("answered", "cost"),
    [
        pytest.param("asked", "1", id="the one that was asked"),
        pytest.param("dearer", "5", id="another that is known"),
        pytest.param("nobody", "1", id="another that nobody knows"),
    ],
)
def test_the_model_that_answered_is_paid(answered: str, cost: str) -> None:
    """Where the vendor lets another model answer, its own price counts, from the first report on."""
    known = {"asked": ModelInfo(input_price=Decimal(9)), "dearer": ModelInfo(input_price=Decimal(5))}
    meter = Meter(ModelInfo(input_price=Decimal(1)), DAY, model_id="asked", find_info=known.get)
    first = meter.report(UsageChunk(input_tokens=MILLION))
    meter.answered(answered)
    again = meter.report(UsageChunk(input_tokens=MILLION))
    assert first is not None
    assert first.known_cost + (again or UsageChunk()).known_cost == Decimal(cost) == meter.total.known_cost


ROW = Dialect(regional_hosts=("*.api.example",))
LOCAL = Dialect(is_free=True)
REGIONAL = ModelInfo(
    **prices("1 10 - - 0.1 10"),
    audio_input_price=Decimal(20),
    regional_factor=Decimal("1.1"),
    tiers=[PriceTier(**prices("2 20 - - 0.2 10"), above_input_tokens=100)],
    variants={"flex": PriceSheet(**prices("0.5 5"))},
    changes=[PriceChange(from_date=dt.date(2027, 1, 1), **prices("3 30"))],
)


@pytest.mark.parametrize(
    ("url", "times"),
    [
        pytest.param("https://eu.api.example/v1", "1.1", id="a regional host"),
        pytest.param("https://EU.API.EXAMPLE:443/v1", "1.1", id="in capitals"),
        pytest.param("https://api.example/v1", "1", id="the usual host"),
        pytest.param("https://eu.api.example.evil/v1", "1", id="a host that looks like one"),
        pytest.param("https://proxy.test/eu.api.example", "1", id="a path that looks like one"),
        pytest.param(None, "1", id="no address"),
    ],
)
def test_a_regional_host_has_its_own_prices(url: str | None, times: str) -> None:
    """There every token costs its factor more, in each tier, variant and change; a search does not."""
    here = prices_at(REGIONAL, ROW, url)
    factor = Decimal(times)
    for usage, variant, on, cost in (
        ("10 10 0 0 10", None, DAY, "0.000111"),
        ("100 0 0 0 1", None, DAY, "0.0002002"),
        ("10 10", "flex", DAY, "0.000055"),
        ("10 10", None, dt.date(2027, 2, 1), "0.00033"),
    ):
        assert calculate_cost(used(usage), here, variant=variant, on=on) == Decimal(cost) * factor, (usage, variant)
    assert here.audio_input_price == 20 * factor
    assert here.web_search_price == 10
    assert prices_at(PLAIN, ROW, url) == PLAIN, "a model whose prices are the same everywhere"


@pytest.mark.parametrize(
    ("info", "cost"),
    [
        pytest.param(ModelInfo(), "0", id="no prices"),
        pytest.param(ModelInfo(input_price=Decimal(0), output_price=Decimal(0)), "0", id="prices of 0"),
        pytest.param(ModelInfo(input_price=Decimal(1)), None, id="a price is a price, and another is not known"),
        pytest.param(PLAIN, "0.0000121", id="prices of one's own"),
    ],
)
def test_a_server_of_ones_own_costs_nothing(info: ModelInfo, cost: str | None) -> None:
    """Its row says so; who has prices for it all the same is charged them."""
    found = calculate_cost(used("1 1 0 0 1"), prices_at(info, LOCAL, None))
    assert found == (None if cost is None else Decimal(cost))


@pytest.mark.parametrize(
    ("money", "said"),
    [
        pytest.param(None, "unknown", id="a price that is not known"),
        pytest.param(Decimal(0), "$0.00", id="nothing"),
        pytest.param(Decimal("0E-9"), "$0.00", id="nothing, in scientific notation"),
        pytest.param(Decimal("5E-8"), "$0.00000005", id="very little"),
        pytest.param(Decimal("1E+3"), "$1000.00", id="a power of ten"),
        pytest.param(Decimal("0.0098"), "$0.0098", id="less than a cent"),
        pytest.param(Decimal("0.009800"), "$0.0098", id="without the zeros of arithmetic"),
        pytest.param(Decimal("12.5"), "$12.50", id="two digits at least"),
        pytest.param(Decimal("-0.2"), "-$0.20", id="a correction"),
        pytest.param(Decimal("123456789012345678901234567890.1"), "$123456789012345678901234567890.10", id="exact"),
        pytest.param(UsageChunk(known_cost=Decimal("0.03")), "$0.03", id="a bill"),
        pytest.param(UsageChunk(known_cost=Decimal("9.99"), unsettled=1), "≥ $9.99 (1 call unknown)", id="an open one"),
        pytest.param(UsageChunk(unsettled=12), "≥ $0.00 (12 calls unknown)", id="only open ones"),
        pytest.param(UsageChunk(known_cost=Decimal("0.1"), unsettled=-1), "$0.10", id="the increment that settles"),
    ],
)
def test_dollars_are_written_for_people(money: Any, said: str) -> None:
    """Every digit, never in scientific notation, never None, deaf to the caller's decimal context."""
    with localcontext(prec=3):
        assert format_dollars(money) == said


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
            [("1000000", "2"), None, None],
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
        pytest.param(
            [("1000000", {"variant": "fast"}), ("1000000", {"reported_cost": Decimal(3)})],
            [("1000000", "0"), ("0", "3")],
            id="a cost that was unknown becomes known",
        ),
        *(
            pytest.param(
                [("1000000", {"reported_cost": Decimal(cost)}), ("2000000", {"reported_cost": Decimal(5)})],
                [("1000000", "2"), ("1000000", "3")],
                id=f"a cost that is none: {cost}",
            )
            for cost in ("-1", "-1e-9", "NaN", "sNaN", "-NaN", "Infinity", "-Infinity")
        ),
        pytest.param([("1000000", {"reported_cost": Decimal(0)})], [("1000000", "0")], id="free is a cost"),
        pytest.param([("1", {"variant": "fast"})], [("1", "0")], id="a variant without a price"),
        pytest.param([("0 0 5 9", {})], [("0 0 5 5", "0.00002")], id="no more extended writes than writes"),
        pytest.param([("-5 -5 -5 -5 -5 -5", {})], [None], id="negative counts are none"),
    ],
)
def test_a_meter_reports_increments(
    calls: list[tuple[str, dict[str, Any]]], increments: list[tuple[str, str] | None]
) -> None:
    """Each report gives what is new since the last, or None."""
    meter = Meter(PLAIN, DAY)
    found = [meter.report(used(usage), **keywords) for usage, keywords in calls]
    assert found == [
        None if new is None else msgspec.structs.replace(used(new[0]), known_cost=Decimal(new[1])) for new in increments
    ]


@pytest.mark.parametrize(
    ("calls", "known"),
    [
        pytest.param([{}], True, id="every count has a price"),
        pytest.param([{"cost_known": False}], False, id="something else was billed"),
        pytest.param([{"cost_known": False}, {}], True, id="the last report counts"),
        pytest.param([{}, {"variant": "fast"}], False, id="the last report has no price"),
        pytest.param([{"variant": "fast"}, {"reported_cost": Decimal(0)}], True, id="the vendor's own figure"),
        pytest.param([{"reported_cost": Decimal("NaN")}], False, id="no figure"),
        pytest.param([], False, id="nothing was reported"),
    ],
)
def test_what_a_meter_knows_at_the_end(calls: list[dict[str, Any]], known: bool) -> None:
    """The last report decides whether the bill is known."""
    meter = Meter(PLAIN, DAY)
    for keywords in calls:
        meter.report(used("5"), **keywords)
    meter.settle()
    assert (meter.total.cost is not None) == known


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
