"""Which key a server is asked with, and by which row it is spoken to."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from penstock.core.dialect import Dialect, Wire
from penstock.core.errors import ConfigError
from penstock.core.provider_config import ProviderConfig
from penstock.core.validation import near
from penstock.wire.vendors import DIALECTS, completed, rows_of

__all__ = [
    "BEARER",
    "NO_KEY",
    "Credentials",
    "fetched_header",
    "find_credentials",
    "find_row",
    "is_authorized",
    "sdk_headers",
]

BEARER: Final = "Authorization"
"""The header that carries a key behind the word `Bearer`: where a row names no other."""
NO_KEY: Final = "none"
"""What an SDK is given that wants a key where none is needed, or where each request gets its own."""


class Credentials(msgspec.Struct, frozen=True):
    """What a client is made with. missing: that a key is needed, and there is none; empty if all is well."""

    key: str
    headers: Mapping[str, str]
    missing: str

    def __repr__(self) -> str:
        """Nothing: it stands in frames that a traceback may show."""
        return "Credentials(***)"


def find_credentials(config: ProviderConfig, row: Dialect) -> Credentials:
    """The config's key, or that of the row's variables, where the row has it."""
    # With a header of the caller's own for it, as for a token of another kind, no variable is looked at.
    given = {name.lower(): value for name, value in config.headers.items() if value}
    authorized = is_authorized(config.headers)
    fetched = fetched_header(config, row) is not None
    literal = config.api_key if isinstance(config.api_key, str) else None
    key = given.get((row.key_header or "").lower()) or literal
    key = key or (None if authorized or fetched else _first(row.key_variables))
    needs_key = row.needs_key if row.needs_key is not None else bool(row.key_variables)
    own = {row.key_header: key} if key is not None and row.key_header is not None else {}
    missing = ""
    if key is None and needs_key and not authorized and not fetched:
        names = " or ".join(row.key_variables)
        missing = f"there is no API key: {f'set {names}, or ' if names else ''}give one in the config"
    return Credentials(key or NO_KEY, {**own, **config.headers}, missing)


def fetched_header(config: ProviderConfig, row: Dialect) -> str | None:
    """The header that carries a key which is fetched for each request; None where none is.

    As for a key that is text, a header of the caller's own for it stands before it.
    """
    if config.api_key is None or isinstance(config.api_key, str):
        return None
    name = row.key_header or BEARER
    given = any(value and header.lower() == name.lower() for header, value in config.headers.items())
    return None if given else name


def is_authorized(headers: Mapping[str, str]) -> bool:
    """Whether a header of the caller's own stands for the key."""
    return any(value and name.lower() == "authorization" for name, value in headers.items())


def _first(variables: Sequence[str]) -> str | None:
    return next((found for name in variables if (found := os.environ.get(name))), None)


def sdk_headers(variable: str) -> list[str]:
    """The names of the headers that an SDK takes from this environment variable."""
    return [line.partition(":")[0].strip() for line in os.environ.get(variable, "").splitlines() if ":" in line]


def find_row(dialect: str | Dialect, *wires: Wire) -> Dialect:
    """The row of a name, or a user's own made complete. Raises ConfigError for one that speaks none of these wires."""
    rows = {row.name: row for row in rows_of(*wires)}
    if isinstance(dialect, Dialect):
        row = completed(dialect, next(name for name in rows if name.endswith("-compatible")))
        if not set(wires) & set(row.wires):
            raise ConfigError(f"the dialect {row.name!r} has {' and '.join(row.wires)}, expected {' or '.join(wires)}")
        return row
    found = rows.get(str(dialect))
    if found is None:
        hint = "; it speaks another API" if dialect in DIALECTS else near(dialect, rows)
        raise ConfigError(f"unknown dialect {dialect!r}, expected one of: {', '.join(rows)}{hint}")
    return found
