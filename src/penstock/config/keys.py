"""The key that an entry of models.json stands for: a literal, a variable, a keyring's entry, a program's output."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from penstock.config.mistakes import mistake
from penstock.core.provider_config import Key
from penstock.core.validation import near
from penstock.wire.vendors import DIALECTS

__all__ = ["COMMAND", "KEYRING", "VARIABLE", "address", "key_value", "misspelt_keys"]

KEYRING: Final = "keyring:"
"""What stands before an entry of the keyring, SERVICE/USER."""
COMMAND: Final = "command:"
"""What stands before a program and its arguments."""

VARIABLE: Final = re.compile(r"\$\{([A-Za-z_]\w*)\}")
"""An environment variable in a key."""
_BARE: Final = r"\$[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+"
# The words for a key at the end of a variable's name.
_KEY_WORDS: Final = r"(?:_?(?:API|AUTH|SECRET|ACCESS))?_?(?:KEY|TOKEN)S?$"


def key_value(text: str, file: Path | None, where: str) -> Key:
    """The key that *text* stands for, which is in no message, or what fetches it when it is needed."""
    if text.startswith((KEYRING, COMMAND)):
        from penstock.config.key_sources import command, keyring_entry  # for those who have such an entry

        kind, _, rest = text.partition(":")
        return (command if kind == "command" else keyring_entry)(rest, file, where)
    return _filled(text, file, where)


def address(text: str, file: Path | None, where: str) -> str:
    """A server's address with its variables filled in, each as a part of it: a password may hold any character.

    A variable that is all of it is the whole address.
    """
    from urllib.parse import quote  # for those who have one

    return _filled(text, file, where, str if VARIABLE.fullmatch(text) else lambda value: quote(value, safe=""))


def _filled(text: str, file: Path | None, where: str, written: Callable[[str], str] = str) -> str:
    if re.fullmatch(_BARE, text):
        raise mistake(file, where, f"a variable is written in braces: `${{{text[1:]}}}`")

    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match[1])
        if not found:
            how = "is empty" if found == "" else f"is not set{near(match[1], os.environ)}"
            raise mistake(file, where, f"the environment variable {match[1]} {how}")
        return written(found)

    if "${" in VARIABLE.sub("", text):
        raise mistake(file, where, "expected the name of an environment variable between `${` and `}`")
    return VARIABLE.sub(value, text)


def misspelt_keys() -> dict[str, str]:
    """Variables of the environment that nobody reads but that look like a vendor's key, each with the right name.

    A vendor whose own variable is set has none. Values are not looked at, but for being there.
    """
    from difflib import get_close_matches

    rows = [row.key_variables for row in DIALECTS.values() if row.key_variables]
    read = {name for names in rows for name in names} | {"ANTHROPIC_AUTH_TOKEN"}
    missing = {_vendor(names[0]): names[0] for names in rows if not any(map(os.environ.get, names))}
    if os.environ.get("ANTHROPIC_AUTH_TOKEN"):
        missing.pop("ANTHROPIC", None)
    found = {}
    for name, value in os.environ.items():
        vendor = _vendor(name)
        if not value or name in read or vendor == name.upper().replace("_", ""):
            continue
        if near_ones := get_close_matches(vendor, missing, 1, cutoff=0.85):
            found[name] = missing[near_ones[0]]
    return found


def _vendor(variable: str) -> str:
    """What is left of a variable's name without the words for a key: all of it where there are none."""
    return re.sub(_KEY_WORDS, "", variable.upper()).replace("_", "")
