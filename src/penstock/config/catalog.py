"""The packaged catalogue: the vendors' current models with their limits and dated prices."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from penstock.config.entries import ModelEntry, ModelsConfig, ModelsFile
from penstock.core.dialect import Dialect
from penstock.core.models import ModelInfo
from penstock.core.provider_config import Platform
from penstock.wire.vendors import DIALECTS

__all__ = ["DATED", "PROVIDERS", "catalog", "known_info", "needs_key", "own_url", "own_variables", "undated"]

PROVIDERS: Final = tuple(DIALECTS)
"""What `provider` can be in models.json."""

DATED: Final = re.compile(r"[-@]\d{8}$|-\d{4}-\d\d-\d\d$|-latest$")
"""What an id has at its end that names one day of a model, or its latest."""


def own_url(provider: str) -> str | None:
    """The usual address of a provider; None where each user has one of his own."""
    return _row(provider).base_url


def own_variables(provider: str) -> Sequence[str]:
    """The environment variables that may hold a provider's key; empty for servers that need none."""
    return _row(provider).key_variables


def needs_key(provider: str) -> bool:
    """Whether a provider is always asked with a key; local servers are asked with one where it is given."""
    row = _row(provider)
    return row.needs_key if row.needs_key is not None else bool(row.key_variables)


def _row(provider: str) -> Dialect:
    """The row of a provider; of one that has none, one that says nothing of it."""
    return DIALECTS.get(provider) or Dialect(name=provider, key_variables=())


@cache
def catalog() -> ModelsConfig:
    """The packaged default: the vendors' current models with dated prices and limits."""
    data = Path(__file__).with_name("models.json").read_bytes()
    plain = msgspec.json.decode(data, type=ModelsFile)
    models = {}
    for alias, entry in plain.models.items():
        found = entry.provider_config
        info = found.model_info or known_info(entry.provider, found.model_id, plain)
        models[alias] = entry.with_config(model_info=info)
    return ModelsConfig(active=plain.active, models=models)


def undated(model_id: str) -> Sequence[str]:
    """The ids under which a model may be known: `claude-sonnet-4-5-20250929` is `claude-sonnet-4-5` as well."""
    plain = DATED.sub("", model_id)
    return model_id, plain, f"{plain}-0", f"{plain}-latest"


def known_info(
    provider: str,
    model_id: str,
    config: ModelsFile,
    platform: Platform | None = None,
    *,
    first: ModelEntry | None = None,
) -> ModelInfo | None:
    """What *config* knows of a model at this platform, also under a dated id. first: an entry that is asked before."""
    row = DIALECTS.get(provider)
    providers = (provider, row.catalog_of if row is not None else None)
    for wanted in undated(model_id):
        place = wanted, platform
        own = [first] if first is not None and first.place == place else []
        for entry in [*own, *config.by_model.get(place, ())]:
            if entry.provider in providers and (info := entry.provider_config.model_info) is not None:
                return info
    return None
