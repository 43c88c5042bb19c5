"""The key that an entry of models.json stands for: a literal, an environment variable, a keyring's entry."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from penstock.config.mistakes import mistake
from penstock.core.validation import near

__all__ = ["VARIABLE", "key_value"]

VARIABLE: Final = re.compile(r"\$\{([A-Za-z_]\w*)\}")
"""An environment variable in a key."""
_BARE: Final = re.compile(r"\$[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+")


def key_value(text: str, file: Path | None, where: str) -> str:
    """The key that *text* stands for; it is in no message."""
    if text.startswith("keyring:"):
        return _from_keyring(text, file, where)

    if _BARE.fullmatch(text):
        raise mistake(file, where, f"a variable is written in braces: `${{{text[1:]}}}`")

    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match[1])
        if not found:
            how = "is empty" if found == "" else f"is not set{near(match[1], os.environ)}"
            raise mistake(file, where, f"the environment variable {match[1]} {how}")
        return found

    if "${" in VARIABLE.sub("", text):
        raise mistake(file, where, "expected the name of an environment variable between `${` and `}`")
    return VARIABLE.sub(value, text)


def _from_keyring(text: str, file: Path | None, where: str) -> str:
    try:
        import keyring
        import keyring.errors
    except ImportError:
        raise mistake(file, where, "a keyring entry needs the extra: pip install 'penstock[keyring]'") from None
    service, _, user = text.removeprefix("keyring:").partition("/")
    try:
        found = keyring.get_password(service, user)
    except keyring.errors.KeyringError as error:
        raise mistake(file, where, f"the keyring does not answer: {error}") from error
    if not found:
        raise mistake(file, where, f"the keyring has no entry for service {service!r} and user {user!r}")
    return found
