"""Finds models by what they take and cost, in one's own file and in the packaged catalogue."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Final, TypeAlias

from penstock.config.catalog import catalog
from penstock.config.entries import ModelEntry, ModelsConfig
from penstock.config.factories import OWN
from penstock.config.models_file import read_models
from penstock.config.platforms import catalog_info
from penstock.core.dialect import Dialect
from penstock.core.models import ModelInfo
from penstock.wire.vendors import DIALECTS, completed

__all__ = ["TRAITS", "find_models", "info_of", "platform_of", "row_of"]


_Trait: TypeAlias = Callable[[ModelInfo, Dialect | None], object]


def _reasons(info: ModelInfo, _row: Dialect | None) -> bool | None:
    known = info.reasoning_modes is not None or info.efforts is not None
    return bool(info.reasoning_modes or info.efforts) if known else None


def _told(field: str, by_row: Callable[[Dialect], bool | None] = lambda row: None) -> _Trait:
    """What a *field* of the model says, else what its vendor's row does."""

    def trait(info: ModelInfo, row: Dialect | None) -> object:
        own: object = getattr(info, field)
        return by_row(row) if own is None and row is not None else own

    return trait


TRAITS: Final[Mapping[str, _Trait]] = {
    "images": _told("supports_images"),
    "documents": _told("supports_documents", lambda row: row.chat_documents or row.wires[0] == "responses"),
    "tools": _told("supports_tools", lambda row: bool(row.tool_choices)),
    "forced-tools": _told("supports_forced_tools"),
    "schemas": _told("supports_schema", lambda row: row.option_fields.get("response_schema", "") is not None),
    "reasoning": _reasons,
    "cache": lambda info, row: None if info.cache_reads_price is None else True,
    "sampling": _told("supports_sampling"),
}
"""What a model may take, and how it is known: of the model itself, else of its vendor; None where it is not."""


def info_of(entry: ModelEntry) -> ModelInfo:
    """What is known of an entry's model: by itself, else by the catalogue."""
    found = entry.provider_config
    return found.model_info or catalog_info(entry.provider, found.model_id, found.platform) or ModelInfo()


def platform_of(entry: ModelEntry) -> str | None:
    """The cloud that an entry's model is asked at, None for its vendor."""
    platform = entry.provider_config.platform
    return None if platform is None else platform.name


def row_of(entry: ModelEntry) -> Dialect | None:
    """The row of an entry's server, None for a provider without one."""
    return DIALECTS.get(entry.provider) if entry.dialect is None else completed(entry.dialect, entry.provider)


def find_models(
    models: ModelsConfig | str | os.PathLike[str] | None = None,
    *,
    provider: str | None = None,
    supports_images: bool | None = None,
    supports_documents: bool | None = None,
    supports_tools: bool | None = None,
    supports_schema: bool | None = None,
    supports_reasoning: bool | None = None,
    min_context_window: int | None = None,
    max_input_price: Decimal | float | str | None = None,
    max_output_price: Decimal | float | str | None = None,
    today: dt.date | None = None,
) -> dict[str, ModelEntry]:
    """The models of the file and of the packaged catalogue that are known to be so, by alias, each with what is known.

    models: a config, or the path of a file; None for what `load_models` finds. An alias of the file hides that of the
    catalogue, and what is disabled is left out. Whatever is given must be known of a model: one of which nobody knows
    whether it takes images is found neither with `supports_images=True` nor with False. Prices are dollars per million
    tokens, the plain ones, and one that is the limit itself is found. Models that have retired by *today* (None for the
    day it is, in UTC) are left out, and so is the demo, unless `provider="demo"` asks for it. An alias that is found
    can be given to `open_provider`. Raises ConfigError for a file that is wrong, and for a price that is none.
    """
    config = read_models(models)
    wanted = {
        "images": supports_images,
        "documents": supports_documents,
        "tools": supports_tools,
        "schemas": supports_schema,
        "reasoning": supports_reasoning,
    }
    given = ModelInfo(input_price=max_input_price, output_price=max_output_price)  # type: ignore[arg-type]
    most = {name: limit for name in ("input_price", "output_price") if (limit := getattr(given, name)) is not None}
    day = dt.datetime.now(dt.UTC).date() if today is None else today

    def fits(entry: ModelEntry, info: ModelInfo) -> bool:
        traits = [(TRAITS[name](info, row_of(entry)), want) for name, want in wanted.items() if want is not None]
        return (
            entry.enabled
            and (entry.provider == provider or (provider is None and entry.provider not in OWN))
            and not info.is_retired(day, platform_of(entry))
            and all(trait is not None and bool(trait) == want for trait, want in traits)
            and (min_context_window is None or (info.context_window or 0) >= min_context_window)
            and all((price := getattr(info, name)) is not None and price <= limit for name, limit in most.items())
        )

    every = {**catalog().models, **config.models}
    known = ((alias, entry, info_of(entry)) for alias, entry in every.items())
    return {alias: entry.with_config(model_info=info) for alias, entry, info in known if fits(entry, info)}
