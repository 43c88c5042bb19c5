"""Prices compared with genai-prices: the whole catalogue's, and what becomes of an entry of models.json."""

from __future__ import annotations

import datetime as dt
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from penstock import ConfigError, ModelsConfig, catalog
from penstock.config.price_update import PriceUpdate, price_update

theirs: Any = pytest.importorskip("genai_prices.types")
snapshots: Any = pytest.importorskip("genai_prices.data_snapshot")

READ = dt.date(2026, 11, 30)
"""The day on which the catalogue's prices were compared last."""

GPT_4 = "gpt-4.1 gpt-4.1-mini gpt-4o gpt-4o-2024-05-13 gpt-4o-mini"
GEMINI = (
    "gemini google gemini-4-argon gemini-3.8-flash gemini-3.7-flash gemini-3.6-flash gemini-3.5-flash "
    "gemini-3.5-flash-lite gemini-3.1-pro-preview gemini-3.1-flash-lite gemini-3-flash-preview gemini-2.5-pro "
    "gemini-2.5-flash gemini-2.5-flash-lite"
)
DIFFER = {
    ("openai", "webSearchPrice"): (GPT_4, "these have two tools for it, at two prices, and answers do not say which"),
    ("google", "webSearchPrice"): (GEMINI, "there is no search on Google's chat wire"),
    ("google", "audioInputPrice"): (
        "gemini-3.1-flash-lite gemini-3-flash-preview gemini-2.5-flash gemini-2.5-flash-lite",
        "sound that is read from the cache has one more price, which no entry can have: better unknown than too little",
    ),
}
"""By vendor and price, the models whose price is another one in genai-prices, and why."""
NOT_COMPARED = "claude-mythos-5-1 claude-mythos-5 claude-mythos-preview demo"


def test_every_price_of_the_catalogue_is_that_of_genai_prices() -> None:
    """But for those of the table: one that is new there, or gone, fails."""
    found = price_update(catalog(), READ)
    differ = defaultdict(set)
    for each in found.differences:
        vendor = catalog().models[each.alias].provider
        differ[vendor, each.field.rpartition(".")[2]].add(each.alias)
        assert each.old is None, "the catalogue says less, and nothing else"
    assert differ == {key: set(aliases.split()) for key, (aliases, _) in DIFFER.items()}
    same = {alias for alias in found.left_alone if not any(each.alias == alias for each in found.differences)}
    assert same == set(NOT_COMPARED.split())


HOST = "https://source.test/v1"
UTC = dt.UTC


def price(*dollars: str) -> Any:
    """Input, output, and reads from the cache."""
    return theirs.ModelPrice(
        **dict(zip(("input_mtok", "output_mtok", "cache_read_mtok"), map(Decimal, dollars), strict=False))
    )


def tiered(below: str, above: str) -> Any:
    return theirs.TieredPrices(base=Decimal(below), tiers=[theirs.Tier(start=1000, price=Decimal(above))])


def at_hours(start: int, end: int) -> Any:
    return theirs.TimeOfDateConstraint(dt.time(start, tzinfo=UTC), dt.time(end, tzinfo=UTC))


def compared(
    info: Mapping[str, Any], source: Any = None, variants: Any = None, window: int | None = None, **config: Any
) -> PriceUpdate:
    """An entry with this modelInfo against a source that knows the model `m` at HOST. config: of its providerConfig."""
    known = theirs.ModelInfo("m", theirs.ClauseEquals("m"), context_window=window, prices=source or price("1", "2"))
    known.price_variants = variants
    other = theirs.Provider(
        "other",
        "Other",
        "https://other",
        models=[theirs.ModelInfo("elsewhere", theirs.ClauseEquals("elsewhere"), prices=price("1"))],
    )
    host = theirs.Provider("host", "Host", "https://source", models=[known], fallback_model_providers=["other"])
    snapshots.set_custom_snapshot(snapshots.DataSnapshot([host, other], from_auto_update=False))
    dated = {"pricesAsOf": "2026-01-01", **info}
    settings = {"modelId": "m", "baseUrl": HOST, "modelInfo": dated, **config}
    entry = {"provider": "openai-compatible", "providerConfig": settings}
    document = {"active": "mine", "models": {"mine": entry}}
    return price_update(msgspec.convert(document, ModelsConfig), READ)


@pytest.fixture(autouse=True)
def _own_data() -> Iterator[None]:
    """Each test begins and ends with the package's data."""
    yield
    snapshots.set_custom_snapshot(None)


PLAIN = {"inputPrice": 1, "outputPrice": 2}
FLEX = [
    theirs.PriceVariant({"service_tier": "flex"}, price("0.5", "1")),
    theirs.PriceVariant({"speed": "fast"}, price("2", "4")),
]
LATER = theirs.ConditionalPrice(theirs.StartDateConstraint(dt.date(2027, 1, 1)), prices=price("3", "6"))
CASES: list[Any] = [
    pytest.param(PLAIN, {}, {}, id="the same"),
    pytest.param({"inputPrice": 1.0, "outputPrice": "2.00"}, {}, {}, id="the same, written otherwise"),
    pytest.param({"inputPrice": 1.1}, {}, {"inputPrice": ("1.1", "1"), "outputPrice": (None, "2")}, id="a new price"),
    pytest.param(
        PLAIN,
        {"source": price("0.1", "2", "0.01")},
        {"inputPrice": ("1", "0.1"), "cacheReadsPrice": (None, "0.01")},
        id="exact decimals",
    ),
    pytest.param({**PLAIN, "cacheReadsPrice": 9}, {}, {}, id="a price that the source does not have is kept"),
    pytest.param(PLAIN, {"window": 5}, {"contextWindow": (None, 5)}, id="a window that was not known"),
    pytest.param({**PLAIN, "contextWindow": 7}, {"window": 5}, {}, id="a window that is known stays"),
    pytest.param(
        {**PLAIN, "tiers": [{"aboveInputTokens": 1000, "inputPrice": 5, "outputPrice": 2}]},
        {"source": theirs.ModelPrice(input_mtok=tiered("1", "4"), output_mtok=Decimal(2))},
        {"tiers[1000].inputPrice": ("5", "4")},
        id="long prompts: a new price of one",
    ),
    pytest.param(
        PLAIN,
        {"source": theirs.ModelPrice(input_mtok=tiered("1", "4"), output_mtok=tiered("2", "8"))},
        {"tiers[1000].inputPrice": (None, "4"), "tiers[1000].outputPrice": (None, "8")},
        id="long prompts: prices of their own are new",
    ),
    pytest.param(
        {**PLAIN, "variants": {"flex": PLAIN, "us": PLAIN}},
        {"variants": FLEX},
        {"variants.flex.inputPrice": ("1", "0.5"), "variants.flex.outputPrice": ("2", "1")},
        id="variants: what the entry has, by the source's word; no others",
    ),
    pytest.param(
        PLAIN,
        {"source": [theirs.ConditionalPrice(prices=price("1", "2")), LATER]},
        {"changes[2027-01-01].inputPrice": (None, "3"), "changes[2027-01-01].outputPrice": (None, "6")},
        id="an announced change",
    ),
    pytest.param(
        {**PLAIN, "changes": [{"from": "2027-01-01", "inputPrice": 3, "outputPrice": 5}]},
        {"source": [theirs.ConditionalPrice(prices=price("1", "2")), LATER]},
        {"changes[2027-01-01].outputPrice": ("5", "6")},
        id="an announced change that is known",
    ),
    pytest.param(
        {"inputPrice": 9, "outputPrice": 9, "changes": [{"from": "2026-06-01", **PLAIN}]},
        {},
        {
            "inputPrice": ("9", "1"),
            "outputPrice": ("9", "2"),
            "changes[2026-06-01].inputPrice": ("1", None),
            "changes[2026-06-01].outputPrice": ("2", None),
        },
        id="a change that has come is the price",
    ),
    pytest.param(
        {
            **PLAIN,
            "hours": [{"from": "01:00:00", "to": "04:00:00", "days": ["mon"], "inputPrice": 2, "outputPrice": 4}],
        },
        {
            "source": [
                theirs.ConditionalPrice(prices=price("1", "2")),
                theirs.ConditionalPrice(at_hours(1, 4), prices=price("3", "4")),
            ]
        },
        {"hours[01:00:00].inputPrice": ("2", "3")},
        id="hours: a new price; their days stay",
    ),
    pytest.param(
        PLAIN,
        {
            "source": [
                theirs.ConditionalPrice(prices=price("1", "2")),
                theirs.ConditionalPrice(at_hours(22, 2), prices=price("3", "2")),
            ]
        },
        {"hours[22:00:00].inputPrice": (None, "3"), "hours[22:00:00].outputPrice": (None, "2")},
        id="hours over midnight are new",
    ),
    pytest.param(
        PLAIN,
        {"source": theirs.ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(2), input_audio_mtok=Decimal(6))},
        {"audioInputPrice": (None, "6")},
        id="sound",
    ),
]


@pytest.mark.parametrize(("info", "source", "differ"), CASES)
def test_what_differs(info: dict[str, Any], source: dict[str, Any], differ: dict[str, Any]) -> None:
    """Each price is named with what it was and is; a second time nothing differs, and the rest is as it was."""
    found = compared(info, **source)
    assert {each.field: (each.old, each.new) for each in found.differences} == {
        field: tuple(Decimal(value) if isinstance(value, str) else value for value in values)
        for field, values in differ.items()
    }
    new = found.models.models["mine"].provider_config.model_info
    assert new is not None
    assert str(new.prices_as_of) == ("2026-11-30" if differ else "2026-01-01")
    assert price_update(found.models, READ).differences == ()


def test_days_of_the_week_are_kept() -> None:
    """The source knows none; weekdays and weekends keep a row each."""
    span = {"from": "01:00:00", "to": "04:00:00", "outputPrice": 4}
    hours = [{**span, "days": ["mon"], "inputPrice": 2}, {**span, "days": ["sat"], "inputPrice": 1}]
    source = [
        theirs.ConditionalPrice(prices=price("1", "2")),
        theirs.ConditionalPrice(at_hours(1, 4), prices=price("3", "4")),
    ]
    new = compared({**PLAIN, "hours": hours}, source).models.models["mine"].provider_config.model_info
    assert new is not None
    assert [(*(each.days or ()), each.input_price) for each in new.hours] == [("mon", Decimal(3)), ("sat", Decimal(3))]


LEFT: list[Any] = [
    pytest.param(
        {**PLAIN, "pricesAsOf": None},
        {},
        "not compared: it has no `pricesAsOf`, so its prices are your own",
        id="undated",
    ),
    pytest.param(
        PLAIN,
        {"modelId": "n"},
        "not compared: genai-prices has no prices for n at https://source.test/v1",
        id="another model",
    ),
    pytest.param(
        PLAIN,
        {"baseUrl": "http://10.0.0.1"},
        "not compared: genai-prices has no prices for m at http://10.0.0.1",
        id="another host",
    ),
    pytest.param(
        PLAIN,
        {"modelId": "elsewhere"},
        "not compared: genai-prices has its prices only for another vendor than that at https://source.test/v1",
        id="another vendor's",
    ),
    pytest.param(
        PLAIN,
        {"baseUrl": None},
        "not compared: openai-compatible has no address of its own",
        id="an entry without an address",
    ),
    pytest.param(
        {"inputPrice": 9},
        {"platform": {"name": "bedrock", "region": "eu-central-1"}},
        "not compared: genai-prices has no prices for the platform bedrock",
        id="a cloud's prices, which are not the vendor's",
    ),
    pytest.param(
        {"inputPrice": 9, "cacheReadsPrice": 1, "variants": {"us": PLAIN}},
        {},
        "not at the source: cacheReadsPrice, variants.us",
        id="prices that the source does not have",
    ),
    pytest.param(
        {
            "inputPrice": 9,
            "tiers": [{"aboveInputTokens": 5, "inputPrice": 9}],
            "hours": [{"from": "01:00:00", "to": "02:00:00", "inputPrice": 9}],
        },
        {},
        "not at the source: tiers, hours",
        id="lengths and hours that the source does not tell apart",
    ),
    pytest.param(
        PLAIN,
        {"source": theirs.ModelPrice(input_mtok=Decimal(3), requests_kcount=Decimal(5))},
        "not at the source: outputPrice; only at the source: requests_kcount",
        id="prices that no entry can have",
    ),
]


@pytest.mark.parametrize(("info", "more", "why"), LEFT)
def test_what_is_left_alone(info: dict[str, Any], more: dict[str, Any], why: str) -> None:
    """An entry that is not compared says why, and one that differs what of it was not."""
    assert compared(info, **more).left_alone == {"mine": why}


def test_an_entry_without_prices_is_the_catalogues() -> None:
    """There is nothing in it to be updated, and nothing is said."""
    found = compared({"contextWindow": 5, "pricesAsOf": None})
    assert (found.differences, found.left_alone) == ((), {})


def test_without_the_package_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line."""
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    with pytest.raises(ConfigError, match=r"pip install 'penstock\[prices\]'$"):
        price_update(catalog())
