"""What a models.json may say that was only found, and whether its owner has trusted it with more.

An agent runs inside cloned repositories, and a models.json that lies there is somebody else's until its owner says
otherwise. Such a file may name models, prices and limits. Where requests go and which key goes with them it may not
say: whatever is not on the list below needs trust.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from penstock.config.catalog import needs_key, own_url, own_variables
from penstock.config.entries import (
    CircuitBreakerTable,
    ModelEntry,
    ModelsFile,
    OptionsTable,
    RateLimitTable,
    RetryTable,
    StoreTable,
)
from penstock.config.factories import BUILT_IN
from penstock.config.keys import COMMAND, KEYRING, VARIABLE
from penstock.config.trust_store import find, remember
from penstock.core.dialect import SAMPLING, Dialect, without_userinfo
from penstock.core.messages import Deadlines
from penstock.core.models import ModelInfo, PriceChange, PriceHours, Prices, PriceSheet, PriceTier
from penstock.core.provider_config import ProviderConfig

__all__ = ["FREE", "JUDGED", "Judgement", "guarded", "judge", "tamed", "trust", "wanted"]

_PRICES: Final = frozenset(Prices.__struct_fields__)
_SHEET: Final = _PRICES | {"tiers", "hours"}
FREE: Final[Mapping[type, frozenset[str]]] = {
    ModelsFile: frozenset({"active", "models", "schema_url"}),
    ModelEntry: frozenset(
        {"enabled", "provider_config", "options", "retry", "circuit_breaker", "rate_limit", "concurrency", "fallback"}
    ),
    ProviderConfig: frozenset(
        {"model_id", "model_info", "deadlines", "max_connections", "max_event_bytes", "transport"}
    ),
    Deadlines: frozenset({"connect", "first_chunk", "stall", "total"}),
    OptionsTable: frozenset(SAMPLING)
    | {"max_tokens", "stop", "seed", "parallel_tool_calls", "reasoning", "cache", "service_tier", "lenient"},
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
    | {"reasoning_modes", "efforts", "supports_tools", "supports_schema", "supports_documents"}
    | {"display_name", "retires", "replaced_by"}
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

_fields = cache(msgspec.structs.fields)
_SHOWN: Final = 20
"""How many of the things that a file wants are named in an error; `penstock trust --dry-run` prints them all."""
_LONGEST: Final = 100
"""How many characters of a name or a value of the file stand in a message."""
_LONGEST_COMMAND: Final = 1000
"""The same for a command, which has to be read to its end."""


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
        entry = entry.with_config(base_url=None)
    if config.api_key is None and not needs_key(entry.provider):
        entry = entry.with_config(api_key="none")
    return entry


def _asked(struct: msgspec.Struct, path: str, entry: ModelEntry | None) -> Iterator[tuple[str, object]]:
    entry = struct if isinstance(struct, ModelEntry) else entry
    free, judged = FREE.get(type(struct), frozenset()), JUDGED.get(type(struct), frozenset())
    for field in _fields(type(struct)):
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
    if entry.provider not in BUILT_IN:
        return False
    if name == "provider":  # it has an address of its own, or a baseUrl, which is judged by itself
        return True
    config, own = entry.provider_config, own_url(entry.provider)
    if name == "api_key":
        found = VARIABLE.fullmatch(config.api_key) if isinstance(config.api_key, str) else None
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
    if path.endswith((".budgets", ".tools")) and isinstance(value, list | tuple):
        return f"{len(value)} of them"
    if path.endswith((".headers", ".settings", ".extra")) and isinstance(value, Mapping):
        what = "fields" if path.endswith(".extra") else path.rpartition(".")[2]
        return f"the {what} {', '.join(_cut(str(name)) for name in sorted(value))}"
    if path.endswith(".apiKey"):
        text, names = str(value), VARIABLE.findall(str(value))
        other = _cut(text) if text.startswith(KEYRING) else "a literal"
        if text.startswith(COMMAND):
            return _cut(text, _LONGEST_COMMAND)
        return " and ".join(f"${{{_cut(name)}}}" for name in names) or other
    if isinstance(value, StoreTable):
        value = value.url
    if path == "$.store":
        keys = "".join(f", the key of {_cut(name)}" for name in VARIABLE.findall(str(value)))
        return f"{_cut(_address(str(value)))}{keys}"
    if isinstance(value, msgspec.Struct):
        return _quoted(msgspec.to_builtins(value))[:_LONGEST_COMMAND]
    return _cut(_address(str(value)))


def _address(url: str) -> str:
    """A URL without what may be secret in it."""
    return re.sub(r"[?#].*", "?...", str(without_userinfo(url)), flags=re.DOTALL)


def _cut(text: str, most: int = _LONGEST) -> str:
    """Text of the file for a message, quoted and not too long."""
    return _quoted(text if len(text) <= most else f"{text[:most]}...")


def _quoted(value: object) -> str:
    """What stands in the file, which must not look like words of ours: plain words as they are, all else as JSON."""
    if isinstance(value, str) and re.fullmatch(r"[\w$.:/@*?-]+", value, re.ASCII):
        return value
    import json  # for the few who have such a file

    return json.dumps(value)


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
    for field in _fields(kind):
        if field.encode_name not in built:
            continue
        value = built[field.encode_name]
        if field.name not in FREE[kind]:
            bare[field.encode_name] = value
        elif field.type is ProviderConfig:
            bare[field.encode_name] = _bare(value, ProviderConfig)
    return bare


class Judgement(NamedTuple):
    """trusted: the user has trusted the file as it is. refusal: in lines, why nothing of it is opened; None: it may."""

    trusted: bool
    refusal: str | None


def judge(file: Path, plain: ModelsFile) -> Judgement:
    """Whether a file that was found may be opened: it asks for nothing, or is trusted as it is."""
    known, problem = find(file)
    if known is not None and known.digest == guarded(plain):
        return Judgement(trusted=True, refusal=None)
    wants = wanted(plain)
    if not wants:
        return Judgement(trusted=False, refusal=None)
    said = "this file was found and not named, and it asks for:"
    if known is not None:
        said = f"this file has changed since you trusted it on {known.at:%Y-%m-%d}, and it asks for:"
    shown = [f"  {' '.join(path.splitlines())[: 2 * _LONGEST]}: {value}" for path, value in wants.items()]
    if len(shown) > _SHOWN:
        shown[_SHOWN:] = [f"  and {len(shown) - _SHOWN} more"]
    import shlex

    way = f"If you trust whoever wrote it, run `penstock trust {shlex.quote(str(file))}`"
    other = "else name a file of yours with PENSTOCK_MODELS or open_provider(models=...)"
    do = f"{way}, {other}{f' ({problem})' if problem else ''}."
    return Judgement(trusted=False, refusal="\n".join((said, *shown, do)))


def trust(file: Path, plain: ModelsFile) -> None:
    """Trust a file as it is. Raises ConfigError when that cannot be remembered."""
    remember(file, guarded(plain))
