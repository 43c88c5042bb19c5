"""What is known of a model at a platform: its own prices there, never those of the vendor itself."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from penstock.config.catalog import catalog, known_info, own_variables, undated
from penstock.config.entries import ModelEntry, ModelsFile
from penstock.core.cost import multiplied
from penstock.core.models import PRICE_FIELDS, FindInfo, ModelInfo
from penstock.core.provider_config import Platform
from penstock.wire.platforms import PLATFORMS, PlatformRow, sold_model, variables

__all__ = ["PlatformPrices", "catalog_info", "info_finder", "platform_prices", "variables_of"]

_DOMESTIC: Final = "us"
"""The variant of a vendor's list prices for a model that runs in one country only."""


class PlatformPrices(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What a platform takes, from platforms.json. source: where it was read, on the day `prices_as_of`.

    models: by the vendor's own id without a date. The prices are those of a model that may run anywhere; elsewhere they
    are `regional_factor` times as high, where that is known.
    """

    source: str
    prices_as_of: dt.date
    models: Mapping[str, ModelInfo]


@cache
def platform_prices() -> Mapping[str, PlatformPrices]:
    """The packaged prices, by the platform's name."""
    data = Path(__file__).with_name("platforms.json").read_bytes()
    return msgspec.json.decode(data, type=dict[str, PlatformPrices])


def catalog_info(provider: str, model_id: str, platform: Platform | None = None, asked: str = "") -> ModelInfo | None:
    """What the catalogue knows of a model, None for nothing; at a platform with that platform's prices, or none at all.

    Limits and traits are the model's own wherever it runs. asked: the id that the model was asked by, if it answers
    under its plain name; it says where it runs.
    """
    if platform is None:
        return known_info(provider, model_id, catalog())
    row = PLATFORMS.get((platform.name, provider))
    if row is None:  # as is said where the provider is built
        return None
    sold = sold_model(row, platform, model_id)
    place = sold_model(row, platform, asked) if asked and sold.id == model_id else sold
    direct = known_info(provider, sold.id, catalog())
    prices = direct if row.at_list_price else _own_prices(row, sold.id)
    if prices is not None and not place.everywhere:
        prices = _domestic(prices) if row.at_list_price else multiplied(prices, prices.regional_factor or Decimal(1))
    if direct is None and prices is None:
        return None
    sheet = {name: getattr(prices or ModelInfo(), name) for name in PRICE_FIELDS}
    return msgspec.structs.replace(direct or ModelInfo(), **{**sheet, "regional_factor": None})


def info_finder(entry: ModelEntry, config: ModelsFile) -> FindInfo:
    """What is known of other models of an entry's vendor, by id: by the entry or its file, else, unless the entry
    has prices of its own, by the catalogue.
    """
    found = entry.provider_config
    plain = found.model_info in (None, catalog_info(entry.provider, found.model_id, found.platform))

    def find_info(model_id: str) -> ModelInfo | None:
        own = known_info(entry.provider, model_id, config, found.platform, first=entry)
        if own is None and plain:
            own = catalog_info(entry.provider, model_id, found.platform, found.model_id)
        return own

    return find_info


def variables_of(entry: ModelEntry) -> Sequence[str]:
    """The environment variables that may hold the key for an entry: those of its platform, else its provider's."""
    platform = entry.provider_config.platform
    row = None if platform is None else PLATFORMS.get((platform.name, entry.provider))
    return own_variables(entry.provider) if platform is None or row is None else variables(row, platform)


def _domestic(direct: ModelInfo) -> ModelInfo | None:
    """A vendor's list prices for a model that runs in one country only; None where they are not known."""
    domestic = direct.variants.get(_DOMESTIC)
    if domestic is None:
        return None
    return ModelInfo(**msgspec.structs.asdict(domestic), prices_as_of=direct.prices_as_of)


def _own_prices(row: PlatformRow, model_id: str) -> ModelInfo | None:
    """Those that the platform states for a model that may run anywhere; None where they are not known."""
    known = platform_prices().get(row.name)
    if known is None:
        return None
    found = next((info for name in undated(model_id) if (info := known.models.get(name))), None)
    return None if found is None else msgspec.structs.replace(found, prices_as_of=known.prices_as_of)
