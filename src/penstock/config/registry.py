"""models.json: found, read, checked, written; and the provider that an alias of it names."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import msgspec

from penstock.config.mistakes import explained, quoted
from penstock.core.errors import ConfigError
from penstock.core.models import ModelEntry, ModelInfo, ModelsConfig, ModelsFile, ProviderConfig
from penstock.core.provider import BaseProvider
from penstock.core.validation import near
from penstock.middleware import CircuitBreaker, Concurrency, Fallback, RateLimit, Retry
from penstock.providers.anthropic import AnthropicProvider
from penstock.providers.openai import OpenAIProvider
from penstock.wire.vendors import DIALECTS

__all__ = ["catalog", "find_models", "load_models", "models_schema", "open_provider", "resolve", "save_models"]

FILE_NAME: Final = "models.json"
ENVIRONMENT: Final = "PENSTOCK_MODELS"
"""The environment variable that names the file, in place of the search."""

ANTHROPIC: Final = "anthropic"
PROVIDERS: Final = (ANTHROPIC, *DIALECTS)
"""What `provider` can be in models.json."""

_DATED: Final = re.compile(r"[-@]\d{8}$|-\d{4}-\d\d-\d\d$|-latest$")
_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_]\w*)\}")
_encode = msgspec.json.Encoder(decimal_format="number").encode


def find_models(start: Path | None = None) -> Path | None:
    """The workspace's models.json: what PENSTOCK_MODELS names, else the nearest upwards from *start* (the working
    directory); None when there is none. Raises ConfigError when PENSTOCK_MODELS names no file.
    """
    named = os.environ.get(ENVIRONMENT)
    if named:
        path = Path(named).expanduser()
        if not path.is_file():
            raise _error(path, None, f"there is no such file, but {ENVIRONMENT} names it")
        return path
    here = (start or Path.cwd()).resolve()
    return next((path for folder in (here, *here.parents) if (path := folder / FILE_NAME).is_file()), None)


def load_models(path: str | os.PathLike[str] | None = None) -> ModelsConfig:
    """Read and check models.json: *path*, else what `find_models` finds, else the packaged default.

    Raises ConfigError, which names the file, the path in it, what was found and what was expected. Variables such as
    `${ANTHROPIC_API_KEY}` are looked up only when their model is opened.
    """
    file = Path(path) if path is not None else find_models()
    if file is None:
        return catalog()
    try:
        data = file.read_bytes()
    except OSError as error:
        raise _error(file, None, f"cannot be read: {error.strerror or error}") from error
    return _checked(_decoded(file, data), file)


def save_models(config: ModelsConfig, path: str | os.PathLike[str] | None = None) -> Path:
    """Write *config* to *path*, else to the file it came from, and return that. The file is replaced in one step.

    Raises ConfigError when there is neither, or when what would be written could not be read again.
    """
    named = Path(path) if path is not None else config.source
    if named is None:
        raise ConfigError("these models did not come from a file: say where to save them")
    file = named.resolve()  # through a link, not in place of it
    plain = ModelsFile(active=config.active, models=config.models, schema_url=config.schema_url)
    data = msgspec.json.format(_encode(plain), indent=2) + b"\n"
    _checked(_decoded(file, data), file)
    try:
        _replace(file, data)
    except OSError as error:
        raise _error(file, None, f"cannot be written: {error.strerror or error}") from error
    return file


def _replace(file: Path, data: bytes) -> None:
    # A new file stays readable for its owner only, as mkstemp makes it: it may hold a key.
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        if file.exists():
            temporary.chmod(file.stat().st_mode & 0o777)
        temporary.replace(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@cache
def catalog() -> ModelsConfig:
    """The packaged default: the vendors' current models with dated prices and limits."""
    data = files("penstock.config").joinpath(FILE_NAME).read_bytes()
    plain = msgspec.json.decode(data, type=ModelsFile)
    models = {}
    for alias, entry in plain.models.items():
        found = entry.provider_config
        info = found.model_info or _known(entry.provider, found.model_id, plain.models)
        complete = msgspec.structs.replace(found, model_info=info)
        models[alias] = msgspec.structs.replace(entry, provider_config=complete)
    return ModelsConfig(active=plain.active, models=models)


def models_schema() -> dict[str, Any]:
    """The JSON Schema of models.json."""
    text = msgspec.json.encode(msgspec.json.schema(ModelsFile))
    # msgspec describes a Decimal as text, but it reads numbers as well, and numbers are what the file has.
    text = text.replace(b'{"type":"string","format":"decimal"}', b'{"type":"number","minimum":0}')
    schema: dict[str, Any] = msgspec.json.decode(text)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def open_provider(
    alias: str | None = None, *, models: ModelsConfig | str | os.PathLike[str] | None = None
) -> BaseProvider:
    """The provider of a model: *alias* in models.json, else in the packaged catalogue; None for the active one.

    What neither knows may be a provider and a model's id, as in `ollama/qwen3:8b` or `openrouter/openai/gpt-oss-120b`.
    models: a config, or the path of a file; None for what `load_models` finds. Without a `modelInfo` of its own a
    model has that of the catalogue; what the catalogue does not know either is unknown. Raises ConfigError.
    """
    config = models if isinstance(models, ModelsConfig) else load_models(models)
    name = alias or config.active
    entry = resolve(name, models=config)
    _check_fallback(config, name, entry, ())
    return _opened(config, entry)


def _opened(config: ModelsConfig, entry: ModelEntry) -> BaseProvider:
    """The provider with its middleware."""
    provider = _wrapped(_bare(entry), entry)
    if not entry.fallback:
        return provider
    return Fallback(provider, *(_opened(config, resolve(other, models=config)) for other in entry.fallback))


def _bare(entry: ModelEntry) -> BaseProvider:
    if entry.provider == ANTHROPIC:
        return AnthropicProvider(entry.provider_config)
    return OpenAIProvider(entry.provider_config, entry.dialect or entry.provider)


def _wrapped(provider: BaseProvider, entry: ModelEntry) -> BaseProvider:
    """As penstock.middleware advises: each try counts for the limit, and what Retry mends counts for no breaker."""
    if entry.concurrency is not None:
        provider = Concurrency(provider, entry.concurrency)
    if entry.rate_limit is not None:
        provider = RateLimit(provider, **msgspec.structs.asdict(entry.rate_limit))
    if entry.retry is not None:
        provider = Retry(provider, **msgspec.structs.asdict(entry.retry))
    if entry.circuit_breaker is not None:
        provider = CircuitBreaker(provider, **msgspec.structs.asdict(entry.circuit_breaker))
    return provider


def _check_fallback(config: ModelsConfig, alias: str, entry: ModelEntry, before: tuple[str, ...]) -> None:
    """No unknown alias, none twice, and none that leads back."""
    where = f"$.models.{alias}.fallback"
    for place, other in enumerate(entry.fallback):
        if other in (*before, alias):
            way = " -> ".join((*before, alias, other))
            raise _error(config.source, f"{where}[{place}]", f"{quoted(other)} falls back on itself: {way}")
        if other in entry.fallback[:place]:
            raise _error(config.source, f"{where}[{place}]", f"{quoted(other)} stands there twice")
        found = _entry(config, other)
        if found is None:
            raise _unknown(config, other, f"{where}[{place}]")
        if found.fallback:
            _check_fallback(config, other, found, (*before, alias))


def _entry(config: ModelsConfig, name: str) -> ModelEntry | None:
    entry = config.models.get(name) or catalog().models.get(name)
    provider, _, model_id = name.partition("/")
    if entry is None and model_id and provider in PROVIDERS:
        return ModelEntry(provider=provider, provider_config=ProviderConfig(model_id=model_id))
    return entry


def resolve(alias: str | None = None, *, models: ModelsConfig | str | os.PathLike[str] | None = None) -> ModelEntry:
    """The entry that *alias* names, complete: with the key's value and with what the catalogue knows of the model."""
    config = models if isinstance(models, ModelsConfig) else load_models(models)
    name = alias or config.active
    entry = _entry(config, name)
    if entry is None:
        raise _unknown(config, name)
    where = f"$.models.{name}"
    _check_provider(entry, config.source, name)
    if not entry.enabled:
        raise _error(config.source, where, "the model is disabled; found `enabled` false, expected true")
    found = entry.provider_config
    key = None if found.api_key is None else _key(found.api_key, config.source, f"{where}.providerConfig.apiKey")
    info = (
        found.model_info if found.model_info is not None else _known(entry.provider, found.model_id, catalog().models)
    )
    return msgspec.structs.replace(entry, provider_config=msgspec.structs.replace(found, api_key=key, model_info=info))


def _known(provider: str, model_id: str, models: Mapping[str, ModelEntry]) -> ModelInfo | None:
    """What *models* know of a model, also under a dated id: `claude-sonnet-4-5-20250929` is `claude-sonnet-4-5`."""
    plain = _DATED.sub("", model_id)
    for wanted in (model_id, plain, f"{plain}-0", f"{plain}-latest"):
        for entry in models.values():
            found = entry.provider_config
            if entry.provider == provider and found.model_id == wanted and found.model_info is not None:
                return found.model_info
    return None


def _key(text: str, file: Path | None, where: str) -> str:
    """The key that *text* stands for; it is in no message."""
    if text.startswith("keyring:"):
        return _from_keyring(text, file, where)

    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match[1])
        if not found:
            how = "is empty" if found == "" else f"is not set{near(match[1], os.environ)}"
            raise _error(file, where, f"the environment variable {match[1]} {how}")
        return found

    if "${" in _VARIABLE.sub("", text):
        raise _error(file, where, "expected the name of an environment variable between `${` and `}`")
    return _VARIABLE.sub(value, text)


def _from_keyring(text: str, file: Path | None, where: str) -> str:
    try:
        import keyring
        import keyring.errors
    except ImportError:
        raise _error(file, where, "a keyring entry needs the extra: pip install 'penstock[keyring]'") from None
    service, _, user = text.removeprefix("keyring:").partition("/")
    try:
        found = keyring.get_password(service, user)
    except keyring.errors.KeyringError as error:
        raise _error(file, where, f"the keyring does not answer: {error}") from error
    if not found:
        raise _error(file, where, f"the keyring has no entry for service {service!r} and user {user!r}")
    return found


def _decoded(file: Path, data: bytes) -> ModelsFile:
    try:
        return msgspec.json.decode(data.removeprefix(b"\xef\xbb\xbf"), type=ModelsFile)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ArithmeticError) as error:
        where, said = explained(data, ModelsFile, error)
        raise _error(file, where, said) from None  # the decoder's own error may quote a key


def _checked(plain: ModelsFile, file: Path) -> ModelsConfig:
    """What the types cannot say: known providers, and aliases that exist."""
    config = ModelsConfig(active=plain.active, models=plain.models, schema_url=plain.schema_url, source=file)
    for alias, entry in config.models.items():
        _check_provider(entry, file, alias)
        _check_fallback(config, alias, entry, ())
    if config.active not in config.models and config.active not in catalog().models:
        raise _unknown(config, config.active, "$.active")
    return config


def _check_provider(entry: ModelEntry, file: Path | None, alias: str) -> None:
    provider, config, where = entry.provider, entry.provider_config, f"$.models.{alias}"
    if provider not in PROVIDERS:
        said = (
            f"unknown provider {quoted(provider)}, expected one of: {', '.join(PROVIDERS)}{near(provider, PROVIDERS)}"
        )
        raise _error(file, f"{where}.provider", said)
    if entry.dialect is not None and provider != "openai-compatible":
        raise _error(file, f"{where}.dialect", "only the provider openai-compatible takes a dialect of its own")
    row = entry.dialect or DIALECTS.get(provider)
    if config.wire is not None and (row is None or config.wire not in row.wires):
        known = ", ".join(row.wires) if row is not None else "none"
        raise _error(file, f"{where}.providerConfig.wire", f"{provider} has no wire {config.wire!r}, expected {known}")
    if row is not None and row.base_url is None and config.base_url is None:
        raise _error(file, f"{where}.providerConfig.baseUrl", f"{provider} has no usual one: give it, with its /v1")


def _unknown(config: ModelsConfig, alias: str, where: str = "$.models") -> ConfigError:
    names = list(dict.fromkeys((*config.models, *catalog().models)))
    short = [
        name for name in names if (config.models.get(name) or catalog().models[name]).provider_config.model_id != name
    ]
    said = f"no model has the alias {quoted(alias)}, expected one of: {', '.join(short)}, a model of the catalogue, or "
    _, slash, model_id = alias.partition("/")
    likely = [*names, *(f"{provider}/{model_id}" for provider in PROVIDERS if slash)]
    return _error(config.source, where, f"{said}PROVIDER/MODEL-ID{near(alias, likely)}")


def _error(file: Path | None, where: str | None, said: str) -> ConfigError:
    place = ", at ".join(str(part) for part in (file, where) if part is not None)
    error = ConfigError(f"{place}: {said}" if place else said)
    error.file = file
    error.path = where
    return error
