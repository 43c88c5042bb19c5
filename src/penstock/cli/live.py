"""`penstock models --live`: what a vendor lists now."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import anyio
import msgspec

from penstock.cli.commands import address, count, plain
from penstock.cli.free_checks import advised, key_hint
from penstock.cli.tables import line, lines_of, screen_width
from penstock.cli.terminal import json_line, wrapped
from penstock.config.catalog import catalog
from penstock.config.entries import ModelsConfig
from penstock.config.factories import BUILT_IN
from penstock.config.finding import TRAITS, row_of
from penstock.config.live import list_or_catalogue
from penstock.config.models_file import entry_of
from penstock.config.open import open_provider
from penstock.core.dialect import without_userinfo
from penstock.core.errors import ConfigError, ProviderError
from penstock.core.models import Model
from penstock.core.validation import near
from penstock.providers.listing import MISSING
from penstock.wire.listing import known_fields

__all__ = ["show_live"]


def show_live(config: ModelsConfig, name: str | None, traits: Sequence[str], *, as_json: bool) -> int:
    """Print what the provider *name* lists, None for that of the active model.

    The result is the exit status: 1 if it did not answer, so that the catalogue stands in for its list. Raises a
    ProviderError.
    """
    alias = _alias(config, name)
    entry = entry_of(config, alias)

    async def asked() -> tuple[list[Model], ProviderError | None]:
        async with open_provider(alias, models=config) as provider:
            return await list_or_catalogue(provider)

    try:
        found, why = anyio.run(asked)
    except ProviderError as error:
        error.hint = advised(error, key_hint(config, alias))
        raise
    row = row_of(entry)
    fit = [model for model in found if all(TRAITS[trait](model.info, row) for trait in traits)]
    models = sorted(fit, key=lambda model: model.id)
    if as_json:
        print(json_line([_known(model) for model in models]))
    elif models:
        print("\n".join(_table(models)))
    host = without_userinfo(address(config, entry)) or entry.provider
    number = f"{len(models)} of {len(found)}" if traits else str(len(found))
    said = [f"{number} model{'s' * (len(found) != 1)}", *_legend(models, host, why)]
    print(wrapped("; ".join(said)), file=sys.stderr)
    return 0 if why is None or why.status in MISSING else 1


def _alias(config: ModelsConfig, name: str | None) -> str:
    """What opens the provider *name*: an alias of that name, else the first one of that provider, else any model."""
    if name is None:
        return config.active
    every = {**config.models, **catalog().models}
    if name in config.models:
        return name
    if name not in BUILT_IN and all(entry.provider != name for entry in every.values()):
        known = f"{', '.join(BUILT_IN)}{near(name, BUILT_IN)}"
        raise ConfigError(f"`--live` is {name!r}, expected an alias or one of: {known}")
    return next((alias for alias, entry in every.items() if entry.provider == name), f"{name}/any")


def _known(model: Model) -> dict[str, Any]:
    known = {name: value for name, value in msgspec.structs.asdict(model).items() if value not in (None, [], ())}
    return {**known, "info": known_fields(model.info)}


def _legend(models: Sequence[Model], host: str, why: ProviderError | None) -> list[str]:
    if why is None:
        where = f"as {host} lists them now"
    else:
        where = f"{host} gave no list ({line(why.message)}), so this is what the catalogue knows"
    theirs = ["*: the price that its list says"] if any(model.prices_from == "vendor" for model in models) else []
    return [where, "dollars per million tokens", "read: input from the cache", *theirs, "-: not known"]


def _table(models: Sequence[Model]) -> list[str]:
    names = ["model", *(line(model.id) for model in models)]
    loaded = {True: "yes", False: "no", None: "-"}
    numbers = [
        ["context", *(count(model.info.context_window) for model in models)],
        ["input", *(f"{plain(model.info.input_price)}{'*' * (model.prices_from == 'vendor')}" for model in models)],
        ["output", *(plain(model.info.output_price) for model in models)],
        ["read", *(plain(model.info.cache_reads_price) for model in models)],
        ["loaded", *(loaded[model.loaded] for model in models)],
        ["since", *(str(model.created or "-") for model in models)],
    ]
    return lines_of([names], numbers, [8], screen_width())
