"""`penstock keys`: keep API keys in the keyring of the system, and see which are there without seeing them."""

from __future__ import annotations

import argparse
import re
import sys
from typing import Final

import anyio

from penstock.cli.commands import Commands
from penstock.config.keys import KEYRING
from penstock.config.models_file import check_trusted, load_models
from penstock.core.errors import AuthenticationError, ConfigError
from penstock.core.keys import fingerprint

__all__ = ["add", "run"]

_NAME: Final = re.compile(r"(?!sk-)[\w.-]{1,23}", re.ASCII)
"""What is longer, or begins so, may be a key that somebody wrote in the wrong place."""


def add(commands: Commands) -> None:
    """Add it to the command line."""
    parser = commands.add_parser("keys", help="keep API keys in the system's keyring")
    what = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    setting = what.add_parser("set", help="keep a key: you are asked for it, unless standard input is a pipe")
    removing = what.add_parser("remove", help="forget a key")
    for each in (setting, removing):
        each.add_argument("name", help="your name for it, such as the vendor's")
    what.add_parser("list", help="the entries that models.json names, with the fingerprints of their keys")
    for each in (parser, *what.choices.values()):
        vars(each)["color"] = False  # as main does
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """The command; the result is the exit status."""
    if arguments.what == "list":
        return _list()
    from penstock.config.key_sources import SERVICE, keyring_entry

    if not _NAME.fullmatch(arguments.name):
        raise ConfigError(
            "that is no name: expected up to 23 letters, digits, `.`, `_` and `-`, and not the key itself"
        )
    place = f"{SERVICE}/{arguments.name}"
    entry = keyring_entry(place, None, None)
    if arguments.what == "remove":
        if not entry.remove():
            raise ConfigError(f"the keyring has no entry {place}")
        print(f"The keyring has no {place} any more.")
        return 0
    key = _typed(arguments.name)
    entry.store(key)
    print(f"The keyring has {place} now, with the fingerprint {fingerprint(key)}. In models.json write:")
    print(f'  "apiKey": "{KEYRING}{place}"')
    return 0


def _typed(name: str) -> str:
    """The key, from a prompt that does not show it, or from a pipe. It is never an argument, which others could see."""
    from penstock.providers.redaction import Secrets, check_secrets

    if sys.stdin.isatty():
        import getpass

        key = getpass.getpass(f"Key for {name}: ", sys.stderr).strip()
    else:
        key = sys.stdin.read().strip()
    if not key:
        raise ConfigError("no key was entered; nothing was stored")
    check_secrets([key], Secrets())
    return key


def _list() -> int:
    from penstock.config.key_sources import keyring_entry
    from penstock.providers.fetching import Credential

    config = load_models()
    check_trusted(config)
    found = 0
    for alias, entry in config.models.items():
        text = entry.provider_config.api_key
        if not isinstance(text, str) or not text.startswith(KEYRING):
            continue
        try:
            kept = keyring_entry(text.removeprefix(KEYRING), config.source, f"$.models.{alias}")
            shown = fingerprint(anyio.run(Credential(kept).key))
        except AuthenticationError as error:
            shown = error.message
        print(f"{alias}  {text}  {shown}")
        found += 1
    if not found:
        print("No model of models.json has its key in the keyring.", file=sys.stderr)
    return 0
