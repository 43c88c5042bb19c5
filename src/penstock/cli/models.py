"""`penstock models`: what is configured, and the schema of models.json."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from typing import Any, Final

import msgspec

from penstock.cli.commands import Commands, address, count, plain
from penstock.cli.live import show_live
from penstock.cli.tables import WIDTH, line, lines_of, screen_width
from penstock.cli.terminal import json_line, wrapped
from penstock.config.catalog import catalog, own_url
from penstock.config.entries import ModelEntry, ModelsConfig
from penstock.config.factories import BUILT_IN, OWN, find_factory, package_of
from penstock.config.finding import TRAITS, info_of, row_of
from penstock.config.models_file import load_models, models_schema
from penstock.config.retiring import retirement_of
from penstock.core.dialect import without_userinfo
from penstock.core.errors import ConfigError
from penstock.core.models import ModelInfo
from penstock.core.validation import near
from penstock.wire.listing import known_fields

__all__ = ["add", "run"]

_ALIAS: Final = 26
"""Columns that an alias may have before others give up theirs."""


class _Row(msgspec.Struct, kw_only=True):
    """A model that is listed. host: the address that it is asked at, None where there is none.
    transport: what the config says is to carry the requests. file: the models.json that it stands in, None for the
    catalogue.

    package: what brings its provider, None for what does not come from a package of somebody else's. problem: why no
    such provider can be made, None where nothing is known against it.
    """

    alias: str
    active: bool
    enabled: bool
    provider: str
    model: str
    host: str | None
    transport: str
    file: str | None
    info: ModelInfo
    package: str | None
    problem: str | None

    @property
    def mark(self) -> str:
        """What stands before the alias."""
        return "!" if self.problem else "*" if self.active else "" if self.enabled else "off"

    @property
    def place(self) -> str:
        """The provider, and the host where that is not its own, or the package that it is of."""
        if self.package is not None:
            return f"{self.provider} ({self.package})"
        if self.host is None or self.host == own_url(self.provider):
            return self.provider
        return f"{self.provider}@{self.host.partition('://')[2].rstrip('/')}"


def add(commands: Commands) -> None:
    """Add it to the command line."""
    models = commands.add_parser("models", help="what is configured, with prices in dollars per million tokens")
    which = models.add_mutually_exclusive_group()
    which.add_argument(
        "--all",
        action="store_true",
        help="also list the built-in catalogue (it is the default where there is no models.json)",
    )
    which.add_argument(
        "--live",
        nargs="?",
        const="",
        metavar="PROVIDER",
        help="what a provider, or that of an alias, lists now; that of the active model if none is named",
    )
    models.add_argument("--provider", metavar="NAME", help="only this provider's")
    models.add_argument(
        "--supports", action="append", default=[], choices=TRAITS, help="only models known to take it; may be repeated"
    )
    form = models.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="all that is known of each, with its host, as a JSON array")
    form.add_argument("--schema", action="store_true", help="the JSON Schema of models.json instead")
    form.add_argument(
        "--update",
        action="store_true",
        help="compare the prices of models.json with the installed genai-prices instead; --yes writes what differs",
    )
    models.add_argument("--yes", action="store_true", help="with --update: write it")
    models.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """The command; the result is the exit status."""
    if arguments.update:
        from penstock.cli import price_update  # for those who update

        return price_update.run(write=arguments.yes)
    if arguments.yes:
        raise ConfigError("`--yes` is for `--update`")
    if arguments.schema:
        print(msgspec.json.format(msgspec.json.encode(models_schema()), indent=2).decode())
        return 0
    config = load_models()
    if arguments.live is not None:
        return show_live(config, arguments.live or arguments.provider, arguments.supports, as_json=arguments.json)
    models = {**catalog().models, **config.models} if arguments.all else config.models
    if arguments.provider is not None:
        models = _of_provider(models, arguments.provider)
    rows, unknown = _rows(config, models, arguments.supports)
    if arguments.json:
        print(json_line([_known(row) for row in rows]))
    elif rows:
        print("\n".join(_table(rows)))
    _say_below(config, models, rows, unknown)
    return 0


def _say_below(config: ModelsConfig, models: Mapping[str, ModelEntry], rows: Sequence[_Row], unknown: int) -> None:
    """On standard error where the models are from, and what is wrong with them."""
    said = [str(config.source or "packaged catalogue"), *_legend(rows)]
    if unknown:
        said.append(f"{unknown} not shown, as it is not known of them")
    print(wrapped("; ".join(said)), file=sys.stderr)
    for row in rows:
        if row.problem is not None:
            print(f"{line(row.alias)} cannot be opened: {row.problem}", file=sys.stderr)
        if row.file is not None and (notice := retirement_of(models[row.alias], config)) is not None:
            print(f"{line(row.alias)}: {line(notice)}", file=sys.stderr)
    if config.untrusted is not None:
        print(f"None of these is opened: {config.untrusted}", file=sys.stderr)


def _of_provider(models: Mapping[str, ModelEntry], name: str) -> dict[str, ModelEntry]:
    found = {alias: entry for alias, entry in models.items() if entry.provider == name}
    if not found and name not in BUILT_IN:
        raise ConfigError(f"`--provider` is {name!r}, expected one of: {', '.join(BUILT_IN)}{near(name, BUILT_IN)}")
    return found


def _rows(config: ModelsConfig, models: Mapping[str, ModelEntry], traits: Sequence[str]) -> tuple[list[_Row], int]:
    """The models that have all of these traits, and of how many it is not known."""
    rows: list[_Row] = []
    unknown = 0
    providers = {entry.provider for entry in models.values()}
    made = {provider: (package_of(provider), _problem(config, provider)) for provider in providers}
    for alias, entry in models.items():
        info, row = info_of(entry), row_of(entry)
        found = [TRAITS[trait](info, row) for trait in traits]
        unknown += None in found and False not in found
        if not all(found):
            continue
        package, problem = made[entry.provider]
        shown = _Row(
            alias=alias,
            active=alias == config.active,
            enabled=entry.enabled,
            provider=entry.provider,
            model=entry.provider_config.model_id,
            host=without_userinfo(address(config, entry)),
            transport=entry.provider_config.transport,
            file=str(config.source) if alias in config.models and config.source is not None else None,
            info=info,
            package=package,
            problem=problem,
        )
        rows.append(shown)
    return rows, unknown


def _problem(config: ModelsConfig, provider: str) -> str | None:
    """What a provider's own code says when it is imported, which is not done for a file that nobody trusts."""
    if provider in BUILT_IN or config.untrusted is not None:
        return None
    try:
        with redirect_stdout(sys.stderr):  # its module may print something, which is no part of a table or of JSON
            find_factory(provider)
    except ConfigError as error:
        return str(error)
    return None


def _known(row: _Row) -> dict[str, Any]:
    """A row of the JSON: without what is not known of the model."""
    return {**msgspec.structs.asdict(row), "info": known_fields(row.info)}


def _legend(rows: Sequence[_Row]) -> list[str]:
    said = ["* active", "dollars per million tokens", "read: input from the cache", "-: not known"]
    dates = {row.info.prices_as_of for row in rows if row.info.input_price is not None and row.provider not in OWN}
    known = sorted(date for date in dates if date is not None)
    if known and len(known) == len(dates):
        said.append(f"prices of {known[0]}" + (f" to {known[-1]}" if len(known) > 1 else ""))
    if any(row.problem for row in rows):
        said.append("! cannot be opened")
    return [*said, "the demo's prices are made up"] if any(row.provider in OWN for row in rows) else said


def _table(rows: Sequence[_Row]) -> list[str]:
    names = [
        ["", *(row.mark for row in rows)],
        ["alias", *(line(row.alias) for row in rows)],
        ["provider", *(line(row.place) for row in rows)],
        ["model", *("" if row.model == row.alias else line(row.model) for row in rows)],
    ]
    numbers = [["context", *(count(row.info.context_window) for row in rows)]]
    prices = {"input": "input_price", "output": "output_price", "read": "cache_reads_price"}
    numbers += ([title, *(plain(getattr(row.info, price)) for row in rows)] for title, price in prices.items())
    # An alias is there to be copied, so it is cut last.
    return lines_of(names, numbers, [WIDTH, _ALIAS, 4, 4], screen_width())
