"""What the files of the commands share."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Final, TypeAlias

from penstock.config.catalog import own_url
from penstock.config.entries import ModelEntry, ModelsConfig
from penstock.config.models_file import entry_of
from penstock.config.trust import tamed
from penstock.core.chunks import EXACT
from penstock.core.dialect import without_userinfo
from penstock.meter.sums import format_count
from penstock.wire.platforms import address_of, find_platform

if TYPE_CHECKING:
    Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]
else:
    Commands = object

__all__ = ["KEYS", "Commands", "address", "count", "places", "plain", "say_where"]

KEYS: Final = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")
"""The variables that make the packaged default's model one that can be asked."""


# What the SDKs read where the file gives no address.
_ADDRESSES: Final = {"anthropic": "ANTHROPIC_BASE_URL", "openai": "OPENAI_BASE_URL"}


def plain(number: Decimal | None) -> str:
    """A price without an exponent."""
    return "-" if number is None else format(number.normalize(EXACT), "f")


def count(tokens: int | None) -> str:
    """Tokens for a column of a table."""
    return "-" if tokens is None else format_count(tokens)


def say_where(config: ModelsConfig, alias: str | None) -> None:
    """Say on standard error which file and which hosts are used, if these are not the defaults."""
    said = places(config, alias)
    if said:
        print(f"({'; '.join(said)})", file=sys.stderr)


def places(config: ModelsConfig, alias: str | None) -> list[str]:
    """Which file and which hosts are used, as far as these are not the defaults."""
    file = [f"models from {config.source}"] if config.source is not None else []
    hosts = dict.fromkeys(_hosts(config, alias or config.active))
    # A file may give a name that one knows to another vendor's model.
    return [*file, *(f"asking {host}" for host, usual in hosts if file or not usual)]


def _hosts(config: ModelsConfig, alias: str) -> Iterator[tuple[str, bool]]:
    """The addresses of a model and of those that it falls back on, and whether each is the vendor's own."""
    entry = entry_of(config, alias)
    url = address(config, entry)
    if url is not None:
        yield str(without_userinfo(url)), url == own_url(entry.provider)
    for other in entry.fallback:
        yield from _hosts(config, other)


def address(config: ModelsConfig, entry: ModelEntry) -> str | None:
    """The address that a model is asked at, None where its vendor has no usual one and the demo has none yet."""
    found = (tamed(entry) if config.found else entry).provider_config
    if found.platform is not None:
        row = find_platform(found.platform, entry.provider, found.base_url)
        return found.base_url or address_of(row, found.platform, found.model_id)
    return found.base_url or os.environ.get(_ADDRESSES.get(entry.provider, "")) or own_url(entry.provider)
