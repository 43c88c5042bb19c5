"""`penstock trust`: let a models.json that was found say where requests go and with which key."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from penstock.cli.commands import Commands
from penstock.config.models_file import FILE_NAME, find_models_file, read_models_file
from penstock.config.trust import trust, wanted
from penstock.config.trust_store import forget, trusted_files
from penstock.core.errors import ConfigError

__all__ = ["add", "run"]


def add(commands: Commands) -> None:
    """Add it to the command line."""
    parser = commands.add_parser("trust", help="let a models.json in a folder choose servers and keys")
    parser.add_argument("path", nargs="?", type=Path, help="the file or its folder; without it, the one that is found")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--list", action="store_true", help="print the files that are trusted")
    what.add_argument("--forget", action="store_true", help="trust the file no longer")
    what.add_argument("--dry-run", action="store_true", help="only print what the file asks for")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """The command; the result is the exit status."""
    if arguments.list:
        return _list()
    file = _named(arguments.path)
    if arguments.forget:
        known = forget(file)
        print(f"{file} is not trusted any more." if known else f"{file} was not trusted.")
        return 0
    plain = read_models_file(file)
    wants = wanted(plain)
    if not arguments.dry_run:
        trust(file, plain)
    if not wants:
        print(f"{file} asks for nothing that needs trust.")
        return 0
    print(f"{file} {'asks for' if arguments.dry_run else 'is trusted with'}:")
    for path, value in wants.items():
        print(f"  {path}: {value}")
    if arguments.dry_run:
        return 0
    print("Prices and limits may change; if any of the above does, the file must be trusted again.")
    return 0


def _list() -> int:
    for path, entry in sorted(trusted_files().items()):
        print(f"{path}  since {entry.at:%Y-%m-%d %H:%M} UTC")
    return 0


def _named(path: Path | None) -> Path:
    """The file that is meant, which need not be there any more."""
    found = find_models_file() if path is None else path
    if found is None:
        raise ConfigError(f"there is no {FILE_NAME} in this folder or above it: name the file to trust")
    return (found / FILE_NAME if os.path.isdir(found) else found).absolute()  # noqa: PTH112 - False without rights
