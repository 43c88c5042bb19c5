"""`penstock models`: what is configured, and the schema of models.json."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from penstock.cli.commands import Commands, address, plain
from penstock.cli.tables import WIDTH, fitted, line, lines_of
from penstock.cli.terminal import columns, is_terminal, json_line, wrapped
from penstock.config.catalog import PROVIDERS, catalog, known_info, own_url
from penstock.config.factories import OWN
from penstock.config.models_file import load_models, models_schema
from penstock.core.dialect import Dialect, without_userinfo
from penstock.core.entries import ModelEntry, ModelsConfig
from penstock.core.errors import ConfigError
from penstock.core.models import ModelInfo
from penstock.core.validation import near
from penstock.meter.sums import format_count
from penstock.wire.vendors import DIALECTS, completed

__all__ = ["add", "run"]

_ALIAS: Final = 26
"""Columns that an alias may have before others give up theirs."""


def _reasons(info: ModelInfo, _row: Dialect | None) -> bool | None:
    known = info.reasoning_modes is not None or info.efforts is not None
    return bool(info.reasoning_modes or info.efforts) if known else None


# What `--supports` may ask for, and how it is known; None where it is not.
_TRAITS: Final[Mapping[str, Callable[[ModelInfo, Dialect | None], object]]] = {
    "images": lambda info, row: info.supports_images,
    "documents": lambda info, row: None if row is None else row.chat_documents or row.wires[0] == "responses",
    "tools": lambda info, row: None if row is None else bool(row.tool_choices),
    "forced-tools": lambda info, row: info.supports_forced_tools,
    "schemas": lambda info, row: None if row is None else row.option_fields.get("response_schema", "") is not None,
    "reasoning": _reasons,
    "cache": lambda info, row: None if info.cache_reads_price is None else True,
    "sampling": lambda info, row: info.supports_sampling,
}


class _Row(msgspec.Struct):
    """A model that is listed. host: the address that it is asked at, None where there is none."""

    alias: str
    active: bool
    enabled: bool
    provider: str
    model: str
    host: str | None
    file: str | None
    info: ModelInfo

    @property
    def place(self) -> str:
        """The provider, and the host where that is not its own."""
        if self.host is None or self.host == own_url(self.provider):
            return self.provider
        return f"{self.provider}@{self.host.partition('://')[2].rstrip('/')}"


def add(commands: Commands) -> None:
    """Add it to the command line."""
    models = commands.add_parser("models", help="what is configured, with prices in dollars per million tokens")
    models.add_argument(
        "--all",
        action="store_true",
        help="also list the built-in catalogue (it is the default where there is no models.json)",
    )
    models.add_argument("--provider", metavar="NAME", help="only this provider's")
    models.add_argument(
        "--supports", action="append", default=[], choices=_TRAITS, help="only those of which this is known; again: all"
    )
    form = models.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="all that is known of each, with its host, as a JSON array")
    form.add_argument("--schema", action="store_true", help="the JSON Schema of models.json instead")
    models.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """The command; the result is the exit status."""
    if arguments.schema:
        print(msgspec.json.format(msgspec.json.encode(models_schema()), indent=2).decode())
        return 0
    config = load_models()
    models = {**catalog().models, **config.models} if arguments.all else config.models
    if arguments.provider is not None:
        models = _of_provider(models, arguments.provider)
    rows, unknown = _rows(config, models, arguments.supports)
    if arguments.json:
        print(json_line([_known(row) for row in rows]))
    elif rows:
        print("\n".join(_table(rows)))
    said = [str(config.source or "packaged catalogue"), *_legend(rows)]
    if unknown:
        said.append(f"{unknown} not shown, as it is not known of them")
    print(wrapped("; ".join(said)), file=sys.stderr)
    if config.untrusted is not None:
        print(f"None of these is opened: {config.untrusted}", file=sys.stderr)
    return 0


def _of_provider(models: Mapping[str, ModelEntry], name: str) -> dict[str, ModelEntry]:
    found = {alias: entry for alias, entry in models.items() if entry.provider == name}
    known = (*PROVIDERS, *OWN)
    if not found and name not in known:
        raise ConfigError(f"`--provider` is {name!r}, expected one of: {', '.join(known)}{near(name, known)}")
    return found


def _rows(config: ModelsConfig, models: Mapping[str, ModelEntry], traits: Sequence[str]) -> tuple[list[_Row], int]:
    """The models that have all of these traits, and of how many it is not known."""
    rows: list[_Row] = []
    unknown = 0
    for alias, entry in models.items():
        model_id = entry.provider_config.model_id
        info = entry.provider_config.model_info or known_info(entry.provider, model_id, catalog().models) or ModelInfo()
        row = DIALECTS.get(entry.provider) if entry.dialect is None else completed(entry.dialect, entry.provider)
        found = [_TRAITS[trait](info, row) for trait in traits]
        unknown += None in found and all(each is None or each for each in found)
        if all(found):
            file = str(config.source) if alias in config.models and config.source is not None else None
            host = without_userinfo(address(config, entry))
            rows.append(_Row(alias, alias == config.active, entry.enabled, entry.provider, model_id, host, file, info))
    return rows, unknown


def _known(row: _Row) -> dict[str, Any]:
    """A row of the JSON: without what is not known of the model."""
    info = msgspec.structs.asdict(row.info)
    known = {name: value for name, value in info.items() if value not in (None, (), {})}
    return {**msgspec.structs.asdict(row), "info": known}


def _legend(rows: Sequence[_Row]) -> list[str]:
    said = ["* active", "dollars per million tokens", "read: input from the cache", "-: not known"]
    dates = {row.info.prices_as_of for row in rows if row.info.input_price is not None and row.provider not in OWN}
    if len(dates) == 1 and None not in dates:
        said.append(f"prices of {dates.pop()}")
    return [*said, "the demo's prices are made up"] if any(row.provider in OWN for row in rows) else said


def _table(rows: Sequence[_Row]) -> list[str]:
    names = [
        ["", *("*" if row.active else "" if row.enabled else "off" for row in rows)],
        ["alias", *(line(row.alias) for row in rows)],
        ["provider", *(line(row.place) for row in rows)],
        ["model", *("" if row.model == row.alias else line(row.model) for row in rows)],
    ]
    numbers = [["context", *(_count(row.info.context_window) for row in rows)]]
    prices = {"input": "input_price", "output": "output_price", "read": "cache_reads_price"}
    numbers += ([title, *(plain(getattr(row.info, price)) for row in rows)] for title, price in prices.items())
    widths = [max(map(columns, column)) for column in names]
    if is_terminal(sys.stdout):
        width = max(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)
        room = width - sum(max(map(len, column)) + 2 for column in numbers) - 2 * (len(names) - 1)
        # An alias is there to be copied, so it is cut last.
        widths = fitted(widths, [widths[0], min(widths[1], _ALIAS), 4, 4], room)
    return lines_of(names, widths, numbers)


def _count(tokens: int | None) -> str:
    return "-" if tokens is None else format_count(tokens)
