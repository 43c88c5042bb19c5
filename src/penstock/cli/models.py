"""`penstock models`: what is configured, and the schema of models.json."""

from __future__ import annotations

import argparse
import sys

import msgspec

from penstock.cli.commands import Commands, plain
from penstock.config.catalog import catalog
from penstock.config.models_file import load_models, models_schema
from penstock.config.open import resolve
from penstock.core.models import ModelEntry, ModelInfo, ModelsConfig

__all__ = ["add", "run"]


def add(commands: Commands) -> None:
    """Add it to the command line."""
    models = commands.add_parser("models", help="what is configured, with prices in dollars per million tokens")
    models.add_argument("--all", action="store_true", help="the packaged catalogue too")
    models.add_argument("--schema", action="store_true", help="the JSON Schema of models.json instead")
    models.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """The command; the result is the exit status."""
    if arguments.schema:
        print(msgspec.json.format(msgspec.json.encode(models_schema()), indent=2).decode())
        return 0
    config = load_models()
    models = {**catalog().models, **config.models} if arguments.all else config.models
    rows: list[tuple[str, ...]] = [
        ("", "alias", "provider", "model", "context", "input", "output", "write", "write 1h", "read")
    ]
    for alias, entry in models.items():
        info = _info(config, entry)
        prices = (
            info.input_price,
            info.output_price,
            info.cache_writes_price,
            info.cache_writes_extended_price,
            info.cache_reads_price,
        )
        mark = "*" if alias == config.active else "" if entry.enabled else "off"
        window = str(info.context_window or "-")
        rows.append((mark, alias, entry.provider, entry.provider_config.model_id, window, *map(plain, prices)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print(f"{config.source or 'packaged catalogue'}; * active; dollars per million tokens", file=sys.stderr)
    return 0


def _info(config: ModelsConfig, entry: ModelEntry) -> ModelInfo:
    # Without its key, so that models can be listed where their variables are not set.
    bare = msgspec.structs.replace(entry.provider_config, api_key=None)
    shown = msgspec.structs.replace(entry, provider_config=bare, enabled=True)
    found = resolve("shown", models=ModelsConfig(active="shown", models={"shown": shown}, source=config.source))
    return found.provider_config.model_info or ModelInfo()
