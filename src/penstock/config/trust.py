"""What a models.json may say that was only found, and which files their owner has trusted with more.

An agent runs inside cloned repositories, and a models.json that lies there is somebody else's until its owner says
otherwise. Such a file may name models, prices and limits. Where requests go and which key goes with them it may not
say: whatever is not on the list below needs trust.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import msgspec

from penstock.config.catalog import PROVIDERS, needs_key, own_url, own_variables
from penstock.config.factories import OWN
from penstock.config.keys import VARIABLE
from penstock.config.mistakes import mistake
from penstock.config.replacing import replace_file
from penstock.core.dialect import Dialect, without_userinfo
from penstock.core.entries import (
    CircuitBreakerTable,
    ModelEntry,
    ModelsFile,
    ProviderConfig,
    RateLimitTable,
    RetryTable,
)
from penstock.core.errors import ConfigError
from penstock.core.messages import Deadlines
from penstock.core.models import ModelInfo, PriceChange, PriceHours, Prices, PriceSheet, PriceTier

__all__ = [
    "FREE",
    "JUDGED",
    "Judgement",
    "Trusted",
    "forget",
    "guarded",
    "judge",
    "store_path",
    "tamed",
    "trust",
    "trusted_files",
    "wanted",
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
    RetryTable: frozenset({"attempts", "max_wait", "base", "shown"}),
    CircuitBreakerTable: frozenset({"failures", "window", "pause"}),
    RateLimitTable: frozenset({"requests_per_minute", "tokens_per_minute", "count_cache_reads", "max_wait"}),
    PriceTier: _PRICES | {"above_input_tokens"},
    PriceHours: _PRICES | {"from_time", "to_time", "days"},
    PriceSheet: _SHEET,
    PriceChange: _SHEET | {"from_date", "variants"},
    ModelInfo: _SHEET
    | {"variants", "changes", "prices_as_of", "max_tokens", "context_window", "min_cache_tokens", "supports_images"}
    | {"supports_sampling", "supports_prefill", "supports_forced_tools", "supports_cache_options"}
    | {"reasoning_modes", "efforts"}
    | {"audio_input_price", "audio_output_price", "image_output_price", "regional_factor"},
}
"""The fields that any file may set. A field that stands neither here nor in JUDGED needs trust."""

JUDGED: Final[Mapping[type, frozenset[str]]] = {
    ModelEntry: frozenset({"provider"}),
    ProviderConfig: frozenset({"api_key", "base_url"}),
}
"""The fields of which some values are free: a provider that is known, its own address or this machine's, and its own
variable. They count towards the digest as soon as anything else of their entry needs trust.
"""

_SHOWN: Final = 20
"""How many of the things that a file wants are named in an error; `penstock trust --dry-run` prints them all."""
_LONGEST: Final = 100
"""How many characters of a name or a value of the file stand in a message."""


class Trusted(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of a file. digest: of what is guarded in it, by SHA-256. at: when it was trusted, in UTC."""

    digest: str
    at: dt.datetime


class _Store(msgspec.Struct, frozen=True, kw_only=True):
    """The file of all that is trusted, by real path. version: of this form."""

    version: Literal[1] = 1
    trusted: Mapping[str, Trusted] = msgspec.field(default_factory=dict)


def wanted(plain: ModelsFile) -> dict[str, str]:
    """What of a file needs trust: its place in the file, and the value, as a message may show them."""
    return {path: _shown(path, value) for path, value in _asked(plain, "$", None)}


def tamed(entry: ModelEntry) -> ModelEntry:
    """An entry of a file that was only found, so that the last say is its user's environment's.

    The provider's own address is left out: one in the environment then still holds. A server on this machine gets no
    key that the file does not name: what listens there may be anybody's.
    """
    config, own = entry.provider_config, own_url(entry.provider)
    if config.base_url is not None and own is not None and _is_same_place(config.base_url, own):
        config = msgspec.structs.replace(config, base_url=None)
    if config.api_key is None and not needs_key(entry.provider):
        config = msgspec.structs.replace(config, api_key="none")
    return msgspec.structs.replace(entry, provider_config=config)


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
            yield from _asked_inside(inner, f"{path}.{_quoted(str(key))}", entry)
    elif isinstance(value, list | tuple):
        for place, inner in enumerate(value):
            yield from _asked_inside(inner, f"{path}[{place}]", entry)


def _is_default(field: msgspec.structs.FieldInfo, value: object) -> bool:
    if field.default_factory is not msgspec.NODEFAULT:
        return bool(value == field.default_factory())
    return bool(value == field.default)


def _harmless(name: str, entry: ModelEntry) -> bool:
    """Whether the value of a judged field sends nothing anywhere but where the provider's own key belongs."""
    if entry.provider not in PROVIDERS and entry.provider not in OWN:
        return False
    if name == "provider":  # it has an address of its own, or a baseUrl, which is judged by itself
        return True
    config, own = entry.provider_config, own_url(entry.provider)
    if name == "api_key":
        found = VARIABLE.fullmatch(config.api_key or "")
        return found is not None and found[1] in own_variables(entry.provider)
    url = config.base_url or ""
    if own is not None and _is_same_place(url, own):
        return True
    from penstock.providers.hosts import is_loopback  # imports the HTTP client

    return config.api_key is None and not needs_key(entry.provider) and is_loopback(url)


def _is_same_place(url: str, own: str) -> bool:
    from penstock.providers.hosts import is_same_place  # imports the HTTP client

    return url == own or is_same_place(url, own)


def _shown(path: str, value: object) -> str:
    """A value for a message: an address without password and query, names of variables and headers, never a key."""
    if isinstance(value, Dialect):
        variables = "".join(f", the key of {_cut(name)}" for name in value.key_variables)
        return f"a dialect with {_cut(_address(value.base_url)) if value.base_url else 'no address'}{variables}"
    if path.endswith(".budgets") and isinstance(value, list | tuple):
        return f"{len(value)} of them"
    if path.endswith(".headers") and isinstance(value, Mapping):
        return f"the headers {', '.join(_cut(str(name)) for name in sorted(value))}"
    if path.endswith(".apiKey"):
        names = VARIABLE.findall(str(value))
        other = _cut(str(value)) if str(value).startswith("keyring:") else "a literal"
        return " and ".join(f"${{{_cut(name)}}}" for name in names) or other
    return _cut(_address(str(value)))


def _address(url: str) -> str:
    """A URL without what may be secret in it."""
    return re.sub(r"[?#].*", "?...", str(without_userinfo(url)), flags=re.DOTALL)


def _cut(text: str) -> str:
    """Text of the file for a message, quoted and not too long."""
    return _quoted(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}...")


def _quoted(text: str) -> str:
    """Text of the file, which must not look like words of ours: plain words as they are, all else as JSON."""
    if re.fullmatch(r"[\w$.:/@*?-]+", text, re.ASCII):
        return text
    import json  # here and below: for the few who have such a file

    return json.dumps(text)


def guarded(plain: ModelsFile) -> str:
    """The digest of all that is guarded in a file: what needs trust, and where and with which key it would go.

    Prices, limits and names of models have no part in it, so they may change. Nor has an entry with which trust makes
    no difference.
    """
    entries = {
        alias: _bare(msgspec.to_builtins(entry), ModelEntry)
        for alias, entry in plain.models.items()
        if any(True for _ in _asked(entry, "$", None)) or tamed(entry) != entry
    }
    rest = {name: value for name, value in _bare(msgspec.to_builtins(plain), ModelsFile).items() if name != "models"}
    import hashlib

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


class Judgement(NamedTuple):
    """trusted: the user has trusted the file as it is. refusal: why nothing of it may be opened, None where it may."""

    trusted: bool
    refusal: str | None


def judge(file: Path, plain: ModelsFile) -> Judgement:
    """Whether a file that was found may be opened: it asks for nothing, or is trusted as it is."""
    store, problem = _read()
    known = store.trusted.get(_real(file))
    if known is not None and known.digest == guarded(plain):
        return Judgement(trusted=True, refusal=None)
    wants = wanted(plain)
    if not wants:
        return Judgement(trusted=False, refusal=None)
    said = "this file was found and not named, and it asks for"
    if known is not None:
        said = f"this file has changed since you trusted it on {known.at:%Y-%m-%d}, and it asks for"
    shown = [f"{path[: 2 * _LONGEST]} ({value})" for path, value in list(wants.items())[:_SHOWN]]
    more = f" and {len(wants) - _SHOWN} more" if len(wants) > _SHOWN else ""
    import shlex

    way = f"if you trust whoever wrote it, run `penstock trust {shlex.quote(str(file))}`"
    other = "else name a file of yours with PENSTOCK_MODELS or open_provider(models=...)"
    refusal = f"{said} {', '.join(shown)}{more}; {way}, {other}{f' ({problem})' if problem else ''}"
    return Judgement(trusted=False, refusal=refusal)


def trust(file: Path, plain: ModelsFile) -> None:
    """Remember a file by its real path and its digest. Raises ConfigError when the store cannot be written.

    A store that is damaged is kept beside the new one, as `trusted.json.damaged`.
    """
    with _locked() as path:
        store, problem = _read()
        if problem is not None and path.exists():
            path.replace(path.with_name(f"{path.name}.damaged"))
        entry = Trusted(digest=guarded(plain), at=dt.datetime.now(dt.UTC).replace(microsecond=0))
        _write(path, {**store.trusted, _real(file): entry})


def forget(file: Path) -> bool:
    """Trust a file no longer; whether it had been trusted. Raises ConfigError for a store that is damaged."""
    with _locked() as path:
        known = dict(trusted_files())
        found = known.pop(_real(file), None)
        if found is not None:
            _write(path, known)
    return found is not None


def trusted_files() -> Mapping[str, Trusted]:
    """All trusted files by their real path. Raises ConfigError for a store that is damaged."""
    store, problem = _read()
    if problem is not None:
        raise ConfigError(problem)
    return store.trusted


def _real(file: Path) -> str:
    # A name that is no Unicode is no text of JSON either.
    return os.fsencode(os.path.realpath(file)).decode("utf-8", "backslashreplace")


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
    if not home.is_absolute():
        raise ConfigError(
            f"the home folder {str(home)!r} is not absolute, so trust is not remembered: set XDG_DATA_HOME"
        )
    folder = "Library/Application Support" if sys.platform == "darwin" else ".local/share"
    return home / folder / "penstock" / "trusted.json"


def _read() -> tuple[_Store, str | None]:
    """The store, and what is wrong with its file: then it counts as empty."""
    try:
        path = store_path()
        for one in (path.parent, path):
            _check_owner(one.stat())
        return msgspec.json.decode(path.read_bytes(), type=_Store), None
    except FileNotFoundError:
        return _Store(), None
    except ConfigError as error:
        return _Store(), str(error)
    except (OSError, ValueError, msgspec.DecodeError, RecursionError) as error:
        return _Store(), f"the trust store {path} counts as empty: {getattr(error, 'strerror', None) or error}"


def _check_owner(status: os.stat_result) -> None:
    """Whoever else can write the store could trust himself. A checkout of git has no file that others cannot read."""
    if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & (stat.S_IRWXG | stat.S_IRWXO)):
        raise ValueError("others than you can read or write it")


@contextmanager
def _locked() -> Iterator[Path]:
    """The path of the store, for one process at a time, so that none undoes what another has written."""
    path = store_path()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _lock(path.parent):
            yield path
    except OSError as error:
        raise mistake(path, None, f"trust cannot be remembered: {error.strerror or error}") from error


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    try:
        import fcntl
    except ImportError:  # on Windows, where a folder cannot be locked
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _write(path: Path, trusted: Mapping[str, Trusted]) -> None:
    data = msgspec.json.format(msgspec.json.encode(_Store(trusted=trusted), order="sorted"), indent=2) + b"\n"
    replace_file(path, data, mode=0o600)
