"""models.json: found, read, checked, written."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any, Final

import msgspec

from penstock.config.catalog import PROVIDERS, catalog
from penstock.config.entries import ModelEntry, ModelsConfig, ModelsFile
from penstock.config.factories import BUILT_IN, is_known
from penstock.config.keys import address
from penstock.config.mistakes import explained, mistake, quoted
from penstock.config.replacing import replace_file
from penstock.core.errors import ConfigError
from penstock.core.provider_config import ProviderConfig
from penstock.core.validation import near
from penstock.wire.platforms import address_of, find_platform
from penstock.wire.vendors import DIALECTS, completed

__all__ = [
    "FILE_NAME",
    "check_entry",
    "check_fallback",
    "check_trusted",
    "entry_of",
    "find_models_file",
    "ledger_of",
    "load_models",
    "models_schema",
    "read_models",
    "read_models_file",
    "save_models",
]

FILE_NAME: Final = "models.json"
ENVIRONMENT: Final = "PENSTOCK_MODELS"
"""The environment variable that names the file, in place of the search."""

_MOST_FALLBACKS: Final = 100
"""How many models an alias may fall back on, each counted as often as it is reached, as it is opened so often."""

_COMPATIBLE: Final = "-compatible"
"""How the providers end that take a user's own dialect."""

# What has no form in JSON, as a key that is a function, is refused with its place when it is read again.
_encode = msgspec.json.Encoder(decimal_format="number", enc_hook=lambda value: {}).encode


def find_models_file(start: Path | None = None) -> Path | None:
    """The workspace's models.json: what PENSTOCK_MODELS names, else the nearest upwards from *start* (the working
    directory); None when there is none. A file of that name in somebody else's form is passed over, with a word in the
    log. Raises ConfigError when PENSTOCK_MODELS names no file.
    """
    named = os.environ.get(ENVIRONMENT)
    if named:
        path = Path(named).expanduser()
        if not path.is_file():
            raise mistake(path, None, f"there is no such file, but {ENVIRONMENT} names it")
        return path
    try:
        here = (start or Path.cwd()).resolve()
    except OSError as error:
        raise mistake(None, None, f"the working directory cannot be read: {error.strerror or error}") from error
    return next((path for folder in (here, *here.parents) if _is_ours(path := folder / FILE_NAME)), None)


def _is_ours(path: Path) -> bool:
    """Whether a file is there and is meant for Penstock. One that is broken may be: reading it is then an error."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return False
    except OSError:  # not there, or in a folder that whoever runs this cannot look into
        return False
    try:
        data = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError:
        return True
    if _has_our_form(data):
        return True
    import logging  # for the few who have such a file

    logging.getLogger("penstock").info("%s is passed over: it is not in Penstock's form", path)
    return False


def _has_our_form(data: bytes) -> bool:
    try:
        document = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return True  # whose it is nobody can tell: its owner hears of it
    if not isinstance(document, dict):
        return False
    models = document.get("models", {})
    entries = list(models.values()) if isinstance(models, dict) else []
    like_ours = any(isinstance(entry, dict) and "providerConfig" in entry for entry in entries)
    return like_ours or (isinstance(document.get("active"), str) and isinstance(models, dict))


def ledger_of(config: ModelsConfig) -> Path | str:
    """The ledger that a models.json names: a file, from its folder on, or a server's address with its variables filled
    in. Raises ConfigError if it names none.
    """
    if config.ledger is None:
        raise mistake(config.source, "$.ledger", 'there is no ledger: name a file, as "ledger": "spend.db"')
    text = address(config.ledger, config.source, "$.ledger") if "${" in config.ledger else config.ledger
    if "://" in text:
        from penstock.meter.place import place_of  # for those who have a server

        try:
            place_of(text)
        except ConfigError as error:
            raise mistake(config.source, "$.ledger", error.message) from None
        return text
    return (Path() if config.source is None else config.source.parent) / Path(text).expanduser()


def load_models(path: str | os.PathLike[str] | None = None) -> ModelsConfig:
    """Read and check models.json: *path*, else what `find_models_file` finds, else the packaged default.

    A file that is named, by *path* or by PENSTOCK_MODELS, is the caller's. One that was only found may be somebody
    else's: what it must not say is in the config's `untrusted`, and `open_provider` then opens nothing of it.
    Raises ConfigError, which names the file, the path in it, what was found and what was expected. Variables such as
    `${ANTHROPIC_API_KEY}` are looked up only when their model is opened.
    """
    if path is not None and not isinstance(path, str | os.PathLike):
        raise ConfigError(f"the models are of type {type(path).__name__}, expected a path or a ModelsConfig")
    file = Path(path) if path is not None else find_models_file()
    if file is None:
        return catalog()
    plain = read_models_file(file)
    config = _checked(plain, file)
    if path is not None or os.environ.get(ENVIRONMENT):
        return config
    from penstock.config.trust import judge  # for those who have a file that was found

    trusted, refusal = judge(file, plain)
    return msgspec.structs.replace(config, found=not trusted, untrusted=refusal)


def read_models(models: ModelsConfig | str | os.PathLike[str] | None) -> ModelsConfig:
    """*models*, read where it is a path or nothing."""
    return models if isinstance(models, ModelsConfig) else load_models(models)


def check_trusted(config: ModelsConfig) -> None:
    """Raise ConfigError for a file that was found and asks for more than such a file may: nothing of it is used."""
    if config.untrusted is not None:
        raise mistake(config.source, None, *config.untrusted.split("\n"))


def read_models_file(file: Path) -> ModelsFile:
    """A models.json as it is written, checked against its form. Raises ConfigError."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise mistake(file, None, f"cannot be read: {error.strerror or error}") from error
    return _decoded(file, data)


def save_models(config: ModelsConfig, path: str | os.PathLike[str] | None = None) -> Path:
    """Write *config* to *path*, else to the file it came from, and return that. The file is replaced in one step.

    The file is trusted from then on, unless *config* came from one that is not. Raises ConfigError when there is
    neither, or when what would be written could not be read again.
    """
    named = Path(path) if path is not None else config.source
    if named is None:
        raise ConfigError("these models did not come from a file: say where to save them")
    file = named.resolve()  # through a link, not in place of it
    plain = ModelsFile(**_written(config))
    data = msgspec.json.format(_encode(plain), indent=2) + b"\n"
    written = _decoded(file, data)
    _checked(written, file)
    try:
        replace_file(file, data)
    except OSError as error:
        raise mistake(file, None, f"cannot be written: {error.strerror or error}") from error
    if config.untrusted is None:
        _trust(file, written)
    return file


def _trust(file: Path, plain: ModelsFile) -> None:
    """As well as it can be: without a store, whoever finds the file is asked for trust."""
    from penstock.config.trust import trust

    try:
        trust(file, plain)
    except ConfigError as error:
        import logging

        logging.getLogger("penstock").warning("%s is written, but %s", file, error)


def models_schema() -> dict[str, Any]:
    """The JSON Schema of models.json."""
    text = msgspec.json.encode(msgspec.json.schema(ModelsFile))
    # msgspec describes a Decimal as text, but it reads numbers as well, and numbers are what the file has.
    text = text.replace(b'{"type":"string","format":"decimal"}', b'{"type":"number","minimum":0}')
    schema: dict[str, Any] = msgspec.json.decode(text)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _decoded(file: Path, data: bytes) -> ModelsFile:
    try:
        return msgspec.json.decode(data.removeprefix(b"\xef\xbb\xbf"), type=ModelsFile)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ArithmeticError) as error:
        where, said = explained(data, ModelsFile, error)
        raise mistake(file, where, said) from None  # the decoder's own error may quote a key


def _written(config: ModelsFile) -> dict[str, Any]:
    """The fields that are written to a file."""
    return {name: getattr(config, name) for name in ModelsFile.__struct_fields__}


def _checked(plain: ModelsFile, file: Path) -> ModelsConfig:
    """What the types cannot say: known providers, and aliases that exist."""
    config = ModelsConfig(**_written(plain), source=file)
    for alias, entry in config.models.items():
        check_entry(entry, file, alias)
        check_fallback(config, alias)
    if config.budgets and config.ledger is None:
        raise mistake(file, "$.budgets", 'budgets need a ledger: name a file, as "ledger": "spend.db"')
    for place, table in enumerate(config.budgets):
        from penstock.meter.budget import Budget  # for those who have one

        try:
            Budget(**msgspec.structs.asdict(table))
        except ConfigError as error:
            raise mistake(file, f"$.budgets[{place}]", str(error)) from None
    if config.active not in config.models and config.active not in catalog().models:
        raise _unknown_alias(config, config.active, "$.active")
    return config


def check_entry(entry: ModelEntry, file: Path | None, alias: str) -> None:
    """A provider with a wire that it has and an address. Raises ConfigError.

    Whether there is a provider that is not built in is asked when it is opened: a file serves its other models too
    where a package is missing.
    """
    provider, config, where = entry.provider, entry.provider_config, f"$.models.{alias}"
    if entry.settings and provider in BUILT_IN:
        said = f"{provider} takes none: they are for providers that are not built in"
        raise mistake(file, f"{where}.settings", said)
    if entry.dialect is not None and not provider.endswith(_COMPATIBLE):
        said = "only the providers openai-compatible and anthropic-compatible take a dialect of their own"
        raise mistake(file, f"{where}.dialect", said)
    if provider not in PROVIDERS:
        return
    row = DIALECTS[provider]
    if entry.dialect is not None:
        row = completed(entry.dialect, provider)
        if not set(row.wires) <= set(DIALECTS[provider].wires):
            wires = ", ".join(DIALECTS[provider].wires)
            raise mistake(file, f"{where}.dialect.wires", f"{provider} has {wires}, found {', '.join(row.wires)}")
    if config.wire is not None and config.wire not in row.wires:
        wires = ", ".join(row.wires)
        raise mistake(file, f"{where}.providerConfig.wire", f"{provider} has no wire {config.wire!r}, expected {wires}")
    if config.platform is not None:
        try:
            address_of(find_platform(config.platform, row.name, config.base_url), config.platform, config.model_id)
        except ConfigError as error:
            raise mistake(file, f"{where}.providerConfig.platform", str(error)) from None
    elif row.base_url is None and config.base_url is None:
        with_version = "" if "messages" in row.wires else ", with its /v1"
        raise mistake(file, f"{where}.providerConfig.baseUrl", f"{provider} has no usual one: give it{with_version}")


def check_fallback(config: ModelsConfig, alias: str) -> None:
    """No unknown alias, none twice, none that leads back, and not more models than anybody waits for."""
    waiting: list[tuple[str, tuple[str, ...]]] = [(alias, (alias,))]
    seen = 0
    while waiting:
        name, before = waiting.pop()
        where = f"$.models.{name}.fallback"
        fallback = entry_of(config, name, where).fallback
        for place, other in enumerate(fallback):
            if other in before:
                way = " -> ".join((*before, other))
                raise mistake(config.source, f"{where}[{place}]", f"{quoted(other)} falls back on itself: {way}")
            if other in fallback[:place]:
                raise mistake(config.source, f"{where}[{place}]", f"{quoted(other)} stands there twice")
            entry_of(config, other, f"{where}[{place}]")
            waiting.append((other, (*before, other)))
        seen += len(fallback)
        if seen > _MOST_FALLBACKS:
            raise mistake(config.source, where, f"{quoted(alias)} falls back on more than {_MOST_FALLBACKS} models")


def entry_of(config: ModelsConfig, alias: str, where: str | None = None) -> ModelEntry:
    """The entry of an alias, the file's before the catalogue's; or one made up for `PROVIDER/MODEL-ID`.

    where: the place in the file that names it; None for one that is asked for, whose provider has to be there. Raises
    ConfigError for one that nobody knows.
    """
    entry = config.models.get(alias) or catalog().models.get(alias)
    if entry is not None:
        return entry
    provider, _, model_id = alias.partition("/")
    if not model_id or (where is None and not is_known(provider)):
        raise _unknown_alias(config, alias, where)
    return ModelEntry(provider=provider, provider_config=ProviderConfig(model_id=model_id))


def _unknown_alias(config: ModelsConfig, alias: str, where: str | None) -> ConfigError:
    """The error for an alias that nobody knows, with what to write instead."""
    provider, slash, model_id = alias.partition("/")
    said = f"no model has the alias {quoted(alias)}"
    is_asked = where is None
    if is_asked and config.source is not None:
        where = "$.models"
    if not alias and is_asked:
        return mistake(config.source, where, f"{said}: leave it out for the active model")
    if provider in PROVIDERS and not model_id:
        why = "the model is missing after the slash" if slash else f"{provider} is a provider"
        return mistake(config.source, where, f"{said}: {why}, write {provider}/MODEL-ID")
    names = list(dict.fromkeys((*config.models, *catalog().models)))
    likely = [*names, *(f"{provider}/{model_id}" for provider in PROVIDERS if slash)]
    there = "`penstock models --all` lists them, and PROVIDER/MODEL-ID names any model"
    return mistake(config.source, where, f"{said}{near(alias, likely)}; {there}")
