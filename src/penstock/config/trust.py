"""What a models.json may say that was only found, and which files their owner has trusted with more.

An agent runs inside cloned repositories, and a models.json that lies there is somebody else's until its owner says
otherwise. Such a file may name models, prices and limits. Where requests go and which key goes with them it may not
say: whatever is not on the list below needs trust.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import re
import shlex
import stat
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from penstock.config.catalog import PROVIDERS, needs_key, own_url, own_variables
from penstock.config.mistakes import mistake
from penstock.config.replacing import replace_file
from penstock.core.dialect import Dialect, without_userinfo
from penstock.core.errors import ConfigError
from penstock.core.messages import Deadlines
from penstock.core.models import (
    CircuitBreakerTable,
    ModelEntry,
    ModelInfo,
    ModelsFile,
    PriceChange,
    PriceHours,
    Prices,
    PriceSheet,
    PriceTier,
    ProviderConfig,
    RateLimitTable,
    RetryTable,
)

__all__ = [
    "FREE",
    "JUDGED",
    "Trusted",
    "forget",
    "guarded",
    "store_path",
    "trust",
    "trusted_files",
    "wanted",
    "without_trust",
]

_PRICES: Final = frozenset(Prices.__struct_fields__)
_SHEET: Final = _PRICES | {"tiers", "hours"}
FREE: Final[Mapping[type, frozenset[str]]] = {
    ModelsFile: frozenset({"active", "models", "schema_url"}),
    ModelEntry: frozenset(
        {"enabled", "provider_config", "retry", "circuit_breaker", "rate_limit", "concurrency", "fallback"}
    ),
    ProviderConfig: frozenset({"model_id", "model_info", "deadlines", "max_connections", "max_event_bytes"}),
    Deadlines: frozenset({"connect", "first_chunk", "stall", "total"}),
    RetryTable: frozenset({"attempts", "max_wait", "base"}),
    CircuitBreakerTable: frozenset({"failures", "window", "pause"}),
    RateLimitTable: frozenset({"requests_per_minute", "tokens_per_minute", "count_cache_reads", "max_wait"}),
    PriceTier: _PRICES | {"above_input_tokens"},
    PriceHours: _PRICES | {"from_time", "to_time", "days"},
    PriceSheet: _SHEET,
    PriceChange: _SHEET | {"from_date", "variants"},
    ModelInfo: _SHEET
    | {"variants", "changes", "prices_as_of", "max_tokens", "context_window", "min_cache_tokens", "supports_images"}
    | {"supports_sampling", "supports_prefill", "supports_forced_tools", "supports_cache_options"}
    | {"reasoning_modes", "efforts"},
}
"""The fields that any file may set. A field that stands neither here nor in JUDGED needs trust."""

JUDGED: Final[Mapping[type, frozenset[str]]] = {
    ModelEntry: frozenset({"provider"}),
    ProviderConfig: frozenset({"api_key", "base_url"}),
}
"""The fields of which some values are free: a provider that is known, its own address or this machine's, and its own
variable. They count towards the digest as soon as anything else of their entry needs trust.
"""

_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_]\w*)\}")
_SHOWN: Final = 5
"""How many of the things that a file wants are named in a message."""


class Trusted(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of a file. digest: of what is guarded in it, by SHA-256. at: when it was trusted, in UTC."""

    digest: str
    at: dt.datetime


class _Store(msgspec.Struct, frozen=True, kw_only=True):
    """The file of all that is trusted, by real path. version: of this form."""

    version: int = 1
    trusted: Mapping[str, Trusted] = msgspec.field(default_factory=dict)


class _Read(NamedTuple):
    """The store, and what is wrong with its file; it counts as empty then."""

    store: _Store
    problem: str | None


def wanted(plain: ModelsFile) -> dict[str, str]:
    """What of a file needs trust: its place in the file, and the value as a message may show it."""
    return {path: _shown(path, value) for path, value in _asked(plain, "$", None)}


def _asked(struct: msgspec.Struct, path: str, entry: ModelEntry | None) -> Iterator[tuple[str, object]]:
    entry = struct if isinstance(struct, ModelEntry) else entry
    free, judged = FREE.get(type(struct), frozenset()), JUDGED.get(type(struct), frozenset())
    for field in msgspec.structs.fields(struct):
        value = getattr(struct, field.name)
        where = f"{path}.{field.encode_name}"
        if field.name in free:
            yield from _asked_inside(value, where, entry)
        elif not _is_default(field, value) and not (field.name in judged and entry and _harmless(field.name, entry)):
            yield where, value


def _asked_inside(value: object, path: str, entry: ModelEntry | None) -> Iterator[tuple[str, object]]:
    if isinstance(value, msgspec.Struct):
        yield from _asked(value, path, entry)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _asked_inside(inner, f"{path}.{key}", entry)
    elif isinstance(value, list | tuple):
        for place, inner in enumerate(value):
            yield from _asked_inside(inner, f"{path}[{place}]", entry)


def _is_default(field: msgspec.structs.FieldInfo, value: object) -> bool:
    if field.default_factory is not msgspec.NODEFAULT:
        return bool(value == field.default_factory())
    return bool(value == field.default)


def _harmless(name: str, entry: ModelEntry) -> bool:
    """Whether the value of a judged field sends nothing anywhere but where the provider's own key belongs."""
    if entry.provider not in PROVIDERS:
        return False
    if name == "provider":  # it has an address of its own, or a baseUrl, which is judged by itself
        return True
    config, own = entry.provider_config, own_url(entry.provider)
    if name == "api_key":
        found = _VARIABLE.fullmatch(config.api_key or "")
        return found is not None and found[1] in own_variables(entry.provider)
    from penstock.providers.hosts import is_loopback, is_within  # imports the HTTP client

    url = config.base_url or ""
    # What listens on this machine may be anybody's: no key goes there.
    return (own is not None and is_within(url, own)) or (not _has_key(entry) and is_loopback(url))


def _has_key(entry: ModelEntry) -> bool:
    """Whether a key would go along: the entry's, one in the environment, or what an SDK finds elsewhere."""
    found = any(os.environ.get(name) for name in own_variables(entry.provider))
    return found or entry.provider_config.api_key is not None or needs_key(entry.provider)


def _shown(path: str, value: object) -> str:
    """A value for a message: an address without its password, the names of variables and headers, and never a key."""
    if isinstance(value, Dialect):
        return f"a dialect of its own ({without_userinfo(value.base_url) or 'no address'})"
    if path.endswith(".headers") and isinstance(value, Mapping):
        return f"the headers {', '.join(sorted(map(str, value)))}"
    if path.endswith(".apiKey"):
        names = _VARIABLE.findall(str(value))
        literal = "an entry of the keyring" if str(value).startswith("keyring:") else "a literal"
        return " and ".join(f"${{{name}}}" for name in names) or literal
    return str(without_userinfo(str(value)))


def guarded(plain: ModelsFile) -> str:
    """The digest of all that is guarded in a file: what needs trust, and where and with which key it would go.

    Prices, limits and names of models have no part in it, so they may change; nor has an entry that needs no trust,
    but for one with an address, as that may need trust as soon as a key is set in the environment.
    """
    entries = {
        alias: _bare(msgspec.to_builtins(entry), ModelEntry)
        for alias, entry in plain.models.items()
        if any(True for _ in _asked(entry, "$", None)) or entry.provider_config.base_url is not None
    }
    rest = {name: value for name, value in _bare(msgspec.to_builtins(plain), ModelsFile).items() if name != "models"}
    text = msgspec.json.encode({"models": entries, **rest}, order="sorted")
    return hashlib.sha256(text).hexdigest()


def _bare(built: dict[str, Any], kind: type) -> dict[str, Any]:
    """An object of the file without its free fields, but with what is left of those that hold others."""
    bare = {}
    for field in msgspec.structs.fields(kind):
        if field.encode_name not in built:
            continue
        value = built[field.encode_name]
        if field.name not in FREE[kind]:
            bare[field.encode_name] = value
        elif field.type is ProviderConfig:
            bare[field.encode_name] = _bare(value, ProviderConfig)
    return bare


def without_trust(file: Path, plain: ModelsFile) -> str | None:
    """Why nothing of a file that was found may be opened: what it asks for, and what to do. None where it may."""
    wants = wanted(plain)
    if not wants:
        return None
    store, problem = _read()
    known = store.trusted.get(_real(file))
    if known is not None and known.digest == guarded(plain):
        return None
    said = "this file was found and not named, and it asks for"
    if known is not None:
        said = f"this file has changed since you trusted it on {known.at:%Y-%m-%d}, and it asks for"
    shown = [f"{path} ({value})" for path, value in list(wants.items())[:_SHOWN]]
    more = f" and {len(wants) - _SHOWN} more" if len(wants) > _SHOWN else ""
    way = f"if you trust whoever wrote it, run `penstock trust {shlex.quote(str(file))}`"
    other = "else name a file of yours with PENSTOCK_MODELS or open_provider(models=...)"
    return f"{said} {', '.join(shown)}{more}; {way}, {other}{f' ({problem})' if problem else ''}"


def trust(file: Path, plain: ModelsFile) -> None:
    """Remember a file by its real path and its digest. Raises ConfigError when the store cannot be written."""
    entry = Trusted(digest=guarded(plain), at=dt.datetime.now(dt.UTC).replace(microsecond=0))
    _write({**_read().store.trusted, _real(file): entry})


def forget(file: Path) -> bool:
    """Trust a file no longer; whether it had been trusted. Raises ConfigError when the store cannot be written."""
    known = dict(_read().store.trusted)
    found = known.pop(_real(file), None)
    if found is not None:
        _write(known)
    return found is not None


def trusted_files() -> tuple[Mapping[str, Trusted], str | None]:
    """All trusted files by their real path, and what is wrong with the store; it counts as empty then."""
    store, problem = _read()
    return store.trusted, problem


def _real(file: Path) -> str:
    return os.path.realpath(file)


def store_path() -> Path:
    """Where trust is remembered: `penstock/trusted.json` in the user's data folder.

    That is XDG_DATA_HOME, where it is set to an absolute path; else %LOCALAPPDATA% on Windows, ~/Library/Application
    Support on macOS, and ~/.local/share elsewhere. Raises ConfigError when there is no home.
    """
    given = os.environ.get("XDG_DATA_HOME", "")
    if sys.platform == "win32":
        given = given or os.environ.get("LOCALAPPDATA", "")
    # The specification says that a relative path is to be ignored; it would lie in whatever folder this is run.
    if given and Path(given).is_absolute():
        return Path(given) / "penstock" / "trusted.json"
    try:
        home = Path.home()
    except RuntimeError as error:
        raise ConfigError(f"there is no home folder to remember trust in ({error}): set XDG_DATA_HOME") from error
    folder = "Library/Application Support" if sys.platform == "darwin" else ".local/share"
    return home / folder / "penstock" / "trusted.json"


def _read() -> _Read:
    try:
        path = store_path()
        with path.open("rb") as stream:
            _check_owner(os.fstat(stream.fileno()))
            return _Read(msgspec.json.decode(stream.read(), type=_Store), None)
    except FileNotFoundError:
        return _Read(_Store(), None)
    except (OSError, ValueError, msgspec.DecodeError, RecursionError) as error:
        problem = f"the trust store {path} counts as empty: {getattr(error, 'strerror', None) or error}"
    except ConfigError as error:
        problem = str(error)
    import logging

    logging.getLogger("penstock").warning("%s", problem)
    return _Read(_Store(), problem)


def _check_owner(status: os.stat_result) -> None:
    """Whoever else can write the store could trust himself."""
    if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
        raise ValueError("others than you can write it")


def _write(trusted: Mapping[str, Trusted]) -> None:
    path = store_path()
    data = msgspec.json.format(msgspec.json.encode(_Store(trusted=trusted), order="sorted"), indent=2) + b"\n"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(path, data, mode=0o600)
    except OSError as error:
        raise mistake(path, None, f"trust cannot be remembered: {error.strerror or error}") from error
