"""`penstock init`: a starter models.json."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from penstock.cli.commands import Commands
from penstock.config.catalog import catalog, own_variables
from penstock.config.entries import ModelEntry, ModelsConfig
from penstock.config.models_file import FILE_NAME, save_models
from penstock.core.errors import ConfigError
from penstock.core.provider_config import ProviderConfig

__all__ = ["add", "run"]


def add(commands: Commands) -> None:
    """Add it to the command line."""
    init = commands.add_parser("init", help="write a starter models.json")
    init.add_argument("path", nargs="?", type=Path, default=Path(FILE_NAME))
    init.add_argument("--force", action="store_true", help="replace one that is there")
    init.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """The command; the result is the exit status."""
    path: Path = arguments.path
    if os.path.lexists(path) and not arguments.force:
        raise ConfigError(f"{path} is there already; --force replaces it")
    entries = catalog().models
    aliases: dict[str, str] = {}  # the first one of each model
    for alias, entry in entries.items():
        if entry.provider_config.model_id != alias and entry.provider_config.model_info is not None:
            aliases.setdefault(entry.provider_config.model_id, alias)
    models = {
        alias: ModelEntry(
            provider=entries[alias].provider,
            provider_config=ProviderConfig(model_id=model_id, api_key=_own_key(entries[alias].provider)),
        )
        for model_id, alias in aliases.items()
    }
    save_models(ModelsConfig(active=catalog().active, models=models), path)
    variables = dict.fromkeys(own_variables(entry.provider)[0] for entry in models.values())
    print(f"Wrote {path} with {', '.join(models)}; the keys come from {', '.join(variables)}.", file=sys.stderr)
    print("With this file, `penstock chat` asks a model, and no emulator.", file=sys.stderr)
    return 0


def _own_key(provider: str) -> str:
    return f"${{{own_variables(provider)[0]}}}"
