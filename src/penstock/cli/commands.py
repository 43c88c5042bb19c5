"""What the files of the commands share."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Final, TypeAlias

from penstock.config.catalog import find_entry, own_url
from penstock.config.trust import tamed
from penstock.core.chunks import EXACT
from penstock.core.dialect import without_userinfo
from penstock.core.models import ModelEntry, ModelsConfig

if TYPE_CHECKING:
    Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]
else:
    Commands = object

__all__ = ["KEYS", "Commands", "plain", "say_where"]

KEYS: Final = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")
"""The variables that make the packaged default's model one that can be asked."""


# What the SDKs read where the file gives no address.
_ADDRESSES: Final = {"anthropic": "ANTHROPIC_BASE_URL", "openai": "OPENAI_BASE_URL"}


def plain(number: Decimal | None) -> str:
    """A price without an exponent."""
    return "-" if number is None else format(number.normalize(EXACT), "f")


def say_where(config: ModelsConfig, alias: str | None) -> None:
    """Say on standard error which file and which hosts are used, if these are not the defaults."""
    file = [f"models from {config.source}"] if config.source is not None else []
    hosts = dict.fromkeys(_hosts(config, alias or config.active))
    # A file may give a name that one knows to another vendor's model.
    said = [*file, *(f"asking {host}" for host, usual in hosts if file or not usual)]
    if said:
        print(f"({'; '.join(said)})", file=sys.stderr)


def _hosts(config: ModelsConfig, alias: str) -> Iterator[tuple[str, bool]]:
    """The addresses of a model and of those that it falls back on, and whether each is the vendor's own."""
    entry = find_entry(config, alias)
    if entry is None:
        return
    own = own_url(entry.provider)
    url = _address(tamed(entry) if config.found else entry) or own
    if url is not None:
        yield str(without_userinfo(url)), url == own
    for other in entry.fallback:
        yield from _hosts(config, other)


def _address(entry: ModelEntry) -> str | None:
    variable = _ADDRESSES.get(entry.provider)
    return entry.provider_config.base_url or (os.environ.get(variable) if variable is not None else None)
