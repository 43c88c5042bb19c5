"""`penstock models --update`: the prices of models.json, and what the installed genai-prices says."""

from __future__ import annotations

import sys
from decimal import Decimal

from penstock.cli.commands import plain
from penstock.cli.tables import line, lines_of
from penstock.cli.terminal import wrapped
from penstock.config.models_file import load_models, save_models
from penstock.config.price_update import Difference, price_update
from penstock.core.errors import ConfigError

__all__ = ["run"]


def run(*, write: bool) -> int:
    """Show what differs, and write it if told to; the status is 1 where something differs and is not written."""
    config = load_models()
    if config.source is None:
        raise ConfigError(
            "there is no models.json to update: the catalogue comes with this package and is updated with it"
        )
    found = price_update(config)
    if found.differences:
        print("\n".join(_table(found.differences)))
    for alias, why in found.left_alone.items():
        print(wrapped(f"{line(alias)}: {why}"), file=sys.stderr)
    count = len(found.differences)
    differences = f", {count or 'no'} {'difference' if count == 1 else 'differences'}" if found.compared else ""
    said = f"{found.source}: {found.compared} of {found.priced} compared{differences}; {config.source}"
    if count and write:
        save_models(found.models)
    how = "" if not count else " is written" if write else " is not changed; `--yes` writes it"
    print(wrapped(f"{said}{how}"), file=sys.stderr)
    return 1 if count and not write else 0


def _table(differences: tuple[Difference, ...]) -> list[str]:
    names = [
        ["model", *(line(each.alias) for each in differences)],
        ["field", *(line(each.field) for each in differences)],
    ]
    numbers = [
        ["old", *(_number(each.old) for each in differences)],
        ["new", *(_number(each.new) for each in differences)],
    ]
    return lines_of(names, numbers)


def _number(value: Decimal | int | None) -> str:
    return plain(value) if value is None or isinstance(value, Decimal) else str(value)
