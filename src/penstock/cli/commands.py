"""What the files of the commands share."""

from __future__ import annotations

import argparse
from decimal import Decimal
from typing import TYPE_CHECKING, Final, TypeAlias

from penstock.config.catalog import ANTHROPIC
from penstock.wire.vendors import DIALECTS

if TYPE_CHECKING:
    Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]
else:
    Commands = object

__all__ = ["KEYS", "Commands", "key_variable", "plain"]

KEYS: Final = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")
"""The variables that make the packaged default's model one that can be asked."""


def key_variable(provider: str) -> str:
    """The environment variable of a provider's key."""
    return KEYS[0] if provider == ANTHROPIC else DIALECTS[provider].key_variables[0]


def plain(number: Decimal | None) -> str:
    """A price without an exponent."""
    return "-" if number is None else format(number.normalize(), "f")
