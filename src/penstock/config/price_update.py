"""Prices and windows of a models.json's models, compared with those that the installed genai-prices knows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from penstock.config.catalog import own_url
from penstock.config.entries import ModelEntry, ModelsConfig
from penstock.core.dialect import without_userinfo
from penstock.core.errors import ConfigError
from penstock.core.models import ModelInfo, PriceChange, PriceHours, Prices, PriceSheet, PriceTier

__all__ = ["Difference", "PriceUpdate", "price_update"]

_OURS: Final = {
    "input_mtok": "input_price",
    "output_mtok": "output_price",
    "cache_write_mtok": "cache_writes_price",
    "cache_write_1h_mtok": "cache_writes_extended_price",
    "cache_read_mtok": "cache_reads_price",
    "web_searches_kcount": "web_search_price",
}
"""What a price of genai-prices is called here. It knows more of them, for what no ModelInfo can say."""
_OF_A_MODEL: Final = {
    "input_audio_mtok": "audio_input_price",
    "output_audio_mtok": "audio_output_price",
    "output_image_mtok": "image_output_price",
}
"""Those that stand in a ModelInfo alone, the same in each tier and variant."""


class Difference(msgspec.Struct, frozen=True):
    """A price or a window that differs at the source."""

    alias: str
    """The entry of models.json."""
    field: str
    """Where it stands in the entry's modelInfo, as `tiers[272000].inputPrice`."""
    old: Decimal | int | None
    """What the entry has, None for nothing."""
    new: Decimal | int | None
    """What the source has."""


class PriceUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """What an update would change."""

    source: str
    """The package and its version."""
    priced: int
    """How many entries have prices of their own."""
    compared: int
    """How many of these the source knows."""
    differences: tuple[Difference, ...]
    """All of them, in the order of the file."""
    left_alone: Mapping[str, str]
    """By alias, why an entry with prices was not compared; or, of one that differs, which prices were not."""
    models: ModelsConfig
    """The models with what the source has, to be saved."""


def price_update(config: ModelsConfig, today: dt.date | None = None) -> PriceUpdate:
    """Compare the entries of *config* that have prices with the installed genai-prices. Nothing is asked of a network.

    Only prices with a `pricesAsOf` are compared: those without are the user's own. today: None for the UTC date of now.
    Raises ConfigError if the extra is missing.
    """
    source = _source()
    today = today or dt.datetime.now(dt.UTC).date()
    models = dict(config.models)
    differences: list[Difference] = []
    left_alone: dict[str, str] = {}
    priced = compared = 0
    for alias, entry in config.models.items():
        old = entry.provider_config.model_info
        if old is None or not any(getattr(old, name) is not None for name in Prices.__struct_fields__):
            continue  # its prices are the catalogue's, which is updated with this package
        priced += 1
        found = _found(entry, old)
        if isinstance(found, str):
            left_alone[alias] = f"not compared: {found}"
            continue
        compared += 1
        new = _refreshed(old, found, today)
        if not (changed := [Difference(alias, *each) for each in _differences(old, new)]):
            continue
        differences += changed
        if rest := _not_compared(new, found, today):
            left_alone[alias] = rest
        models[alias] = entry.with_config(model_info=msgspec.structs.replace(new, prices_as_of=today))
    return PriceUpdate(
        source=source,
        priced=priced,
        compared=compared,
        differences=tuple(differences),
        left_alone=left_alone,
        models=msgspec.structs.replace(config, models=models),
    )


def _source() -> str:
    try:
        import genai_prices
    except ImportError as missing:
        raise ConfigError("prices are updated from genai-prices: pip install 'penstock[prices]'") from missing
    return f"genai-prices {genai_prices.__version__}"


def _found(entry: ModelEntry, info: ModelInfo) -> Any:
    """The model as genai-prices has it, by the address that it is asked at; else why it is not compared."""
    from genai_prices import Usage, calc_price

    config = entry.provider_config
    if config.platform is not None:
        return f"genai-prices has no prices for the platform {config.platform.name}"
    if info.prices_as_of is None:
        return "it has no `pricesAsOf`, so its prices are your own"
    if (url := config.base_url or own_url(entry.provider)) is None:
        return f"{entry.provider} has no address of its own"
    try:
        found = calc_price(Usage(), config.model_id, provider_api_url=url)
    except LookupError:
        return f"genai-prices has no prices for {config.model_id} at {without_userinfo(url)}"
    if not any(found.model is model for model in found.provider.models):
        return f"genai-prices has its prices only for another vendor than that at {without_userinfo(url)}"
    return found.model


def _refreshed(info: ModelInfo, source: Any, today: dt.date) -> ModelInfo:
    """The model's prices of *today* and those announced, as the source has them; what it does not have is kept."""
    kept = info.prices_on(today)
    later = {change.from_date: change for change in info.changes if change.from_date > today}
    constraints = [each.constraint for each in (*_conditions(source), *(source.price_variants or ()))]
    days = {each.start_date for each in constraints if hasattr(each, "start_date")} | later.keys()
    changes = tuple(
        PriceChange(
            from_date=day,
            variants=_variants(source, later.get(day, kept).variants, day),
            **_sheet(source, later.get(day, kept), day),
        )
        for day in sorted(days)
        if day > today and (day in later or _differ(source, today, day))
    )
    usual = vars(source.get_prices(_moment(source, today)))
    return msgspec.structs.replace(
        info,
        **_sheet(source, kept, today),
        **{ours: _price(usual[theirs], -1) for theirs, ours in _OF_A_MODEL.items() if theirs in usual},
        variants=_variants(source, kept.variants, today),
        changes=changes,
        # A window that is known stays: many of the source's are rounded.
        context_window=info.context_window or source.context_window,
    )


def _conditions(source: Any) -> list[Any]:
    return source.prices if isinstance(source.prices, list) else []


def _windows(source: Any) -> list[Any]:
    """The hours of the day that have prices of their own."""
    return [each.constraint for each in _conditions(source) if hasattr(each.constraint, "start_time")]


def _differ(source: Any, day: dt.date, other: dt.date) -> bool:
    """Whether the prices of two days do."""
    first, second = (source.get_prices(_moment(source, each)) for each in (day, other))
    return bool(first != second)


def _moment(source: Any, day: dt.date) -> dt.datetime:
    """A time of the day at which the usual prices hold; midnight if there is none."""
    windows = _windows(source)
    times = (dt.time(tzinfo=dt.UTC), *(each.end_time for each in windows))
    moments = [dt.datetime.combine(day, each) for each in times]
    return next((each for each in moments if not any(window.active(each) for window in windows)), moments[0])


def _sheet(source: Any, kept: PriceSheet, day: dt.date, context: dict[str, str] | None = None) -> dict[str, Any]:
    """The fields of a PriceSheet on that day; *kept* has what the source has not."""
    usual = source.get_prices(_moment(source, day), context)
    hours: list[PriceHours] = []
    for window in _windows(source) if context is None else ():
        prices = source.get_prices(dt.datetime.combine(day, window.start_time), context)
        start, end = (each.replace(tzinfo=None) for each in (window.start_time, window.end_time))
        same = [each for each in kept.hours if (each.from_time, each.to_time) == (start, end)]
        # The source does not know days of the week.
        hours += (msgspec.structs.replace(each, **_prices(prices, each, -1)) for each in same)
        if not same:
            hours.append(PriceHours(from_time=start, to_time=end, **_prices(prices, None, -1)))
    tiers = [_tier(usual, kept, start) for start in _starts(usual)]
    return {**_prices(usual, kept, -1), "tiers": tiers or kept.tiers, "hours": hours or kept.hours}


def _variants(source: Any, kept: Mapping[str, PriceSheet], day: dt.date) -> dict[str, PriceSheet]:
    """The variants that the entry has; the words by which the source knows them are looked up."""
    contexts = {word: each.when for each in source.price_variants or () for word in each.when.values()}
    return {
        name: PriceSheet(**_sheet(source, sheet, day, contexts[name])) if name in contexts else sheet
        for name, sheet in kept.items()
    }


def _starts(prices: Any) -> list[int]:
    """The prompts, in tokens, beyond which other prices hold."""
    return sorted({tier.start for price in vars(prices).values() for tier in getattr(price, "tiers", ())})


def _tier(prices: Any, kept: PriceSheet, start: int) -> PriceTier:
    before = next((tier for tier in kept.tiers or () if tier.above_input_tokens == start), None)
    return PriceTier(above_input_tokens=start, **_prices(prices, before, start))


def _prices(prices: Any, kept: Prices | None, start: int) -> dict[str, Any]:
    """Prices of a prompt of more than *start* tokens, by our names."""
    found = {} if kept is None else {name: getattr(kept, name) for name in Prices.__struct_fields__}
    theirs = vars(prices)
    return found | {ours: _price(theirs[name], start) for name, ours in _OURS.items() if theirs.get(name) is not None}


def _price(price: Any, start: int) -> Decimal:
    """A price of a prompt of more than *start* tokens."""
    reached = [tier.price for tier in getattr(price, "tiers", ()) if tier.start <= start]
    found: Decimal = reached[-1] if reached else getattr(price, "base", price)
    return found


def _not_compared(info: ModelInfo, source: Any, today: dt.date) -> str:
    """Which prices of the entry the source does not have, and which of its own an entry cannot have."""
    usual = source.get_prices(_moment(source, today))
    theirs = vars(usual)
    names = {each.name: each.encode_name for each in msgspec.structs.fields(Prices)}
    ours = [names[field] for name, field in _OURS.items() if name not in theirs and getattr(info, field) is not None]
    words = {word for each in source.price_variants or () for word in each.when.values()}
    ours += [f"variants.{name}" for name in info.variants if name not in words]
    ours += ["tiers"] if info.tiers and not _starts(usual) else []
    ours += ["hours"] if info.hours and not _windows(source) else []
    rest = [name for name in theirs if name not in _OURS and name not in _OF_A_MODEL]
    said = (("not at the source", ours), ("only at the source", rest))
    return "; ".join(f"{what}: {', '.join(which)}" for what, which in said if which)


def _differences(old: ModelInfo, new: ModelInfo) -> Iterator[tuple[str, Any, Any]]:
    before, after = (dict(_flat(msgspec.to_builtins(info, builtin_types=(Decimal,)))) for info in (old, new))
    for field in dict.fromkeys((*before, *after)):
        if before.get(field) != after.get(field):
            yield field, before.get(field), after.get(field)


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Each leaf with its path; what stands in a list is named by where it begins."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list | tuple) and value and isinstance(value[0], dict):
        for each in value:
            start = each.get("aboveInputTokens", each.get("from"))
            rest = {
                name: inner for name, inner in each.items() if name not in ("aboveInputTokens", "from", "to", "days")
            }
            yield from _flat(rest, f"{path}[{start}]")
    else:
        yield path, value
