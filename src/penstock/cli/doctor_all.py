"""`penstock doctor --all`: every model of the file, as far as that costs nothing."""

from __future__ import annotations

from typing import Final

import anyio
import msgspec

from penstock.cli.free_checks import MARKS, advised, key_hint, key_of
from penstock.cli.tables import line, lines_of
from penstock.cli.terminal import columns
from penstock.config.entries import ModelsConfig
from penstock.config.factories import OWN
from penstock.config.live import Availability, is_available
from penstock.config.models_file import check_trusted
from penstock.config.open import open_provider
from penstock.core.errors import ConfigError

__all__ = ["examine_all", "show_all"]

_AT_ONCE: Final = 8


class _Look(msgspec.Struct):
    """One line of the table. works: None where it cannot be told."""

    alias: str
    provider: str
    works: bool | None
    said: str
    advice: str = ""


async def examine_all(config: ModelsConfig) -> list[_Look]:
    """A line for each enabled alias of the file, in its order; at most 8 models are looked at at a time."""
    limiter = anyio.CapacityLimiter(_AT_ONCE)
    found: dict[str, _Look] = {}

    async def look(alias: str) -> None:
        async with limiter:
            found[alias] = await _look(config, alias)

    aliases = [alias for alias, entry in config.models.items() if entry.enabled]
    async with anyio.create_task_group() as group:
        for alias in aliases:
            group.start_soon(look, alias)
    return [found[alias] for alias in aliases]


async def _look(config: ModelsConfig, alias: str) -> _Look:
    vendor = config.models[alias].provider
    try:
        key = "the demo" if vendor in OWN else f"key: {key_of(config, alias).said}"
        async with open_provider(alias, models=config) as provider:
            seen = await is_available(provider)
    except ConfigError as error:
        return _Look(alias, vendor, works=False, said=error.message)
    except Exception as error:  # noqa: BLE001 - what a provider of others raises is a line too, and no others' end
        # Its words may hold a key that only its own code knows.
        said, advice = f"its own code raised {type(error).__name__}", f"`penstock doctor {alias}` shows where."
        return _Look(alias, vendor, works=False, said=said, advice=advice)
    if seen.error is not None:
        advice = advised(seen.error, key_hint(config, alias))
        return _Look(alias, vendor, works=False, said=f"{key}; {seen.error.message}", advice=advice)
    return _Look(alias, vendor, works=True if seen.model_known else None, said=f"{key}; {_seen(seen)}")


def _seen(seen: Availability) -> str:
    """What was seen, in a few words."""
    if seen.reachable is None:
        return "not one of the built-in providers, so only a call shows whether it works"
    if seen.model_known is None:
        return "reachable, but only a call shows whether it has the model"
    return "model known" if seen.key_accepted else "model known, but whether the key is good only a call shows"


def show_all(config: ModelsConfig) -> int:
    """Print a line for each, and what to do about what does not work; the result is the exit status."""
    check_trusted(config)
    if config.source is None:
        raise ConfigError("there is no models.json to look at: `penstock init` writes one")
    looks = anyio.run(examine_all, config)
    said = [line(look.said) for look in looks]
    heads = [[line(look.alias), look.provider, f"{MARKS[look.works]:<3}"] for look in looks]
    rows = lines_of([*zip(*heads, strict=True), said])
    for row, text, look in zip(rows, said, looks, strict=True):
        print(row)
        if look.advice:
            print(f"{'':<{columns(row) - columns(text)}}{line(look.advice)}")
    return 1 if any(look.works is False for look in looks) else 0
