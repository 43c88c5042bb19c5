"""From an alias of models.json to the provider that it names, with its middleware around it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from penstock.config.catalog import PROVIDERS, catalog, known_info
from penstock.config.factories import find_factory
from penstock.config.keys import key_value
from penstock.config.mistakes import mistake
from penstock.config.models_file import check_entry, check_fallback, entry_of, ledger_path, load_models
from penstock.config.trust import tamed
from penstock.core.entries import ModelEntry, ModelsConfig
from penstock.core.models import ModelInfo
from penstock.core.provider import BaseProvider
from penstock.wire.vendors import DIALECTS

if TYPE_CHECKING:
    from penstock.middleware.events import Event

__all__ = ["open_provider", "resolve"]


def open_provider(
    alias: str | None = None,
    *,
    models: ModelsConfig | str | os.PathLike[str] | None = None,
    listener: Callable[[Event], object] | None = None,
) -> BaseProvider:
    """The provider of a model: *alias* in models.json, else in the packaged catalogue; None for the active one.

    What neither knows may be a provider and a model's id, as in `ollama/qwen3:8b` or `openrouter/openai/gpt-oss-120b`.
    `demo` is no model but an emulator in this process, at pretended prices; `demo/chat` and `demo/responses` are the
    same over OpenAI's APIs.
    models: a config, or the path of a file; None for what `load_models` finds. Without a `modelInfo` of its own a
    model has that of the catalogue; what the catalogue does not know either is unknown.
    listener: called with each event of `penstock.middleware`: of each request, also to the models it falls back on, and
    of what the file has put around them; None for nobody.

    A file with a `ledger` has all calls booked there, and its `budgets` hold; see `penstock.meter`.

    A file that was found and not named may name models, prices and limits, but not where requests go or with which
    key: then nothing is looked up or sent. `penstock trust` accepts such a file. Raises ConfigError.
    """
    config = models if isinstance(models, ModelsConfig) else load_models(models)
    name = config.active if alias is None else alias
    entry = resolve(name, models=config)
    check_fallback(config, name)
    return _metered(config, _opened(config, name, entry, listener))


def resolve(alias: str | None = None, *, models: ModelsConfig | str | os.PathLike[str] | None = None) -> ModelEntry:
    """The entry that *alias* names, complete: with the key's value and with what the catalogue knows of the model."""
    config = models if isinstance(models, ModelsConfig) else load_models(models)
    if config.untrusted is not None:
        raise mistake(config.source, None, config.untrusted)
    name = config.active if alias is None else alias
    entry = entry_of(config, name)
    where = f"$.models.{name}"
    check_entry(entry, config.source, name)
    if config.found:
        entry = tamed(entry)
    if not entry.enabled:
        raise mistake(config.source, where, "the model is disabled; found `enabled` false, expected true")
    found = entry.provider_config
    key = None if found.api_key is None else key_value(found.api_key, config.source, f"{where}.providerConfig.apiKey")
    info = found.model_info
    if info is None:
        info = known_info(entry.provider, found.model_id, catalog().models)
    return msgspec.structs.replace(entry, provider_config=msgspec.structs.replace(found, api_key=key, model_info=info))


def _metered(config: ModelsConfig, provider: BaseProvider) -> BaseProvider:
    """The provider with the file's ledger and budgets around it, if it has any."""
    if config.ledger is None:
        return provider
    from penstock.meter import Budget, Metered

    budgets = [Budget(**msgspec.structs.asdict(table)) for table in config.budgets]
    return Metered(provider, ledger_path(config), budgets=budgets)


def _opened(
    config: ModelsConfig, alias: str, entry: ModelEntry, listener: Callable[[Event], object] | None
) -> BaseProvider:
    """The provider with its middleware."""
    provider = _bare(config, entry)
    provider.alias = alias
    if listener is not None:
        from penstock.middleware.observe import listen  # here and below: only what is asked for is imported

        listen(provider, listener)
    provider = _wrapped(provider, entry)
    if not entry.fallback:
        return provider
    from penstock.middleware import Fallback

    others = (_opened(config, other, resolve(other, models=config), listener) for other in entry.fallback)
    return Fallback(provider, *others)


def _bare(config: ModelsConfig, entry: ModelEntry) -> BaseProvider:
    def find_info(model_id: str) -> ModelInfo | None:
        """Of the model that answers: what this entry or the file knows, else the catalogue unless it has prices."""
        own = known_info(entry.provider, model_id, {"": entry, **config.models})
        if own is None and entry.provider_config.model_info == asked:
            own = known_info(entry.provider, model_id, catalog().models)
        return own

    if entry.provider not in PROVIDERS:
        return find_factory(entry.provider)(entry)
    asked = known_info(entry.provider, entry.provider_config.model_id, catalog().models)
    dialect = entry.dialect or entry.provider
    if "messages" in DIALECTS[entry.provider].wires:
        from penstock.providers.anthropic import AnthropicProvider

        return AnthropicProvider(entry.provider_config, dialect, find_info=find_info)
    from penstock.providers.openai import OpenAIProvider

    return OpenAIProvider(entry.provider_config, dialect, find_info=find_info)


def _wrapped(provider: BaseProvider, entry: ModelEntry) -> BaseProvider:
    """As penstock.middleware advises: each try counts for the limit, and what Retry repairs for no breaker."""
    if (entry.concurrency, entry.rate_limit, entry.retry, entry.circuit_breaker) == (None, None, None, None):
        return provider
    from penstock.middleware import CircuitBreaker, Concurrency, RateLimit, Retry

    if entry.concurrency is not None:
        provider = Concurrency(provider, entry.concurrency)
    if entry.rate_limit is not None:
        provider = RateLimit(provider, **msgspec.structs.asdict(entry.rate_limit))
    if entry.retry is not None:
        provider = Retry(provider, **msgspec.structs.asdict(entry.retry))
    if entry.circuit_breaker is not None:
        provider = CircuitBreaker(provider, **msgspec.structs.asdict(entry.circuit_breaker))
    return provider
