"""What the packaged catalogue says of its models beside their prices: when they retire, and what people call them."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import msgspec
import pytest

from penstock import ModelEntry, ModelInfo, ModelsConfig, ProviderConfig, catalog
from penstock.config.catalog import known_info
from penstock.wire.vendors import DIALECTS

MODELS = {alias: entry for alias, entry in catalog().models.items() if alias == entry.provider_config.model_id}


def info_of(alias: str) -> ModelInfo:
    info = MODELS[alias].provider_config.model_info
    assert info is not None
    return info


# The lists in the anthropic SDK 2.14 and in the openai SDK 3.57, and for what neither has
# https://developers.openai.com/api/docs/deprecations and https://platform.claude.com/docs/en/about-claude/model-deprecations;
# read 2026-11-30.
RETIRES = {
    "claude-3-5-haiku-latest": "2026-02-19",
    "claude-3-7-sonnet-latest": "2026-02-19",
    "claude-opus-4-0": "2026-06-15 for claude-opus-4-8",
    "claude-sonnet-4-0": "2026-06-15 for claude-sonnet-4-6",
    "claude-mythos-preview": "2026-06-30",
    "claude-opus-4-1": "2026-08-05",
    "gpt-4o-2024-05-13": "2026-10-23 for gpt-5.6-sol",
    "claude-sonnet-4-5": "2026-11-30",
    "gpt-5": "2026-12-11 for gpt-6.1-sol",
    "gpt-5-mini": "2026-12-11 for gpt-6.1-terra",
    "gpt-5-nano": "2026-12-11 for gpt-6-luna",
    "gpt-5-pro": "2026-12-11",
    "o3": "2026-12-11 for gpt-5.6-sol",
    "o3-pro": "2026-12-11",
    "gpt-4.1": "2027-01-14 for gpt-6-luna",
    "gpt-4.1-mini": "2027-01-14 for gpt-6-luna",
    "gpt-4o": "2027-01-14 for gpt-6-luna",
    "gpt-4o-mini": "2027-01-14 for gpt-6-luna",
    "claude-opus-4-5": "2027-01-22",
    "gpt-5.1": "2027-04-01",
    "gpt-5.3-codex": "2027-04-01",
    "gpt-5.4-nano": "2027-04-01",
}


def test_what_retires_says_so() -> None:
    """At its vendor, with what that names in its place; and nothing else does."""
    found = {
        alias: f"{day} for {info.replaced_by}" if info.replaced_by else str(day)
        for alias in MODELS
        if (info := MODELS[alias].provider_config.model_info) is not None and (day := info.retirement()) is not None
    }
    assert found == RETIRES


@pytest.mark.parametrize(
    ("alias", "platform", "day"),
    [
        pytest.param("claude-sonnet-4-5", "bedrock", "2027-04-08", id="later on Bedrock"),
        pytest.param("claude-sonnet-4-5", "foundry", "2026-11-30", id="on the same day at Azure"),
        pytest.param("claude-opus-4-5", "bedrock", None, id="not known of Bedrock"),
        pytest.param("gpt-4o", "azure", None, id="a cloud has days of its own"),
    ],
)
def test_clouds_retire_on_other_days(alias: str, platform: str, day: str | None) -> None:
    """What the vendor no longer answers for may still be sold there."""
    assert info_of(alias).retirement(platform) == (None if day is None else dt.date.fromisoformat(day))


def test_a_successor_is_a_model_of_the_same_vendor() -> None:
    """One that the catalogue knows and that does not retire before."""
    for alias, entry in MODELS.items():
        info = entry.provider_config.model_info
        if info is not None and info.replaced_by is not None:
            found = known_info(entry.provider, info.replaced_by, catalog())
            assert found is not None, alias
            assert found.retirement() is None, alias


def test_the_exact_id_is_found_before_one_without_its_day() -> None:
    """In the file before a shorter one of the entry that asks, which comes before the file's own of the same id."""

    def entry(model_id: str, price: int) -> ModelEntry:
        info = ModelInfo(input_price=Decimal(price))
        return ModelEntry(provider="anthropic", provider_config=ProviderConfig(model_id=model_id, model_info=info))

    file = ModelsConfig(active="a", models={"a": entry("m", 1), "b": entry("m-20261130", 2), "c": entry("m", 3)})
    asking = entry("m", 4)

    def price(model_id: str, first: ModelEntry | None = None, provider: str = "anthropic") -> Decimal | None:
        info = known_info(provider, model_id, file, first=first)
        return None if info is None else info.input_price

    found = [
        price("m"),
        price("m-20261130", asking),
        price("m", asking),
        price("m-20251130", asking),
        price("n", asking),
    ]
    assert found == [1, 2, 4, 4, None]
    assert price("m", provider="openai") is None
    other = msgspec.structs.replace(file, models={"a": asking})
    assert known_info("anthropic", "m", other) == asking.provider_config.model_info
    assert asking.with_config(model_id="n").place == ("n", None)


def test_each_model_has_a_name_for_people() -> None:
    """No two of one vendor have the same."""
    names = [
        (entry.provider, info_of(alias).display_name)
        for alias, entry in MODELS.items()
        if entry.provider_config.model_info is not None and entry.provider != "demo"
    ]
    assert all(name for _, name in names)
    assert len(set(names)) == len(names)


def test_no_alias_leads_to_what_is_retired() -> None:
    """The short names are what people type."""
    for alias, entry in catalog().models.items():
        info = entry.provider_config.model_info
        if alias not in MODELS and info is not None:
            assert info.retirement() is None, alias


def test_a_model_that_fits_schemas_is_one_whose_vendor_takes_them() -> None:
    """What the row refuses no model can have."""
    for alias, entry in MODELS.items():
        info = entry.provider_config.model_info
        if info is not None and info.supports_schema:
            assert DIALECTS[entry.provider].option_fields.get("response_schema", "") is not None, alias
