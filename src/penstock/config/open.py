"""From an alias of models.json to the provider that it names, with its middleware around it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from penstock.config.catalog import PROVIDERS, catalog
from penstock.config.entries import ModelEntry, ModelsConfig
from penstock.config.factories import is_known, make_provider, unknown
from penstock.config.keys import key_value
from penstock.config.mistakes import mistake
from penstock.config.models_file import (
    check_entry,
    check_fallback,
    check_trusted,
    entry_of,
    ledger_of,
    read_models,
)
from penstock.config.platforms import catalog_info, info_finder
from penstock.config.retiring import warn_of_retirement
from penstock.config.stores import FileStore
from penstock.config.trust import tamed
from penstock.core.dialect import Wire
from penstock.core.errors import ConfigError
from penstock.core.messages import Options
from penstock.core.provider import BaseProvider
from penstock.core.provider_config import Key, Transport
from penstock.wire.vendors import DIALECTS

if TYPE_CHECKING:
    from penstock.meter.ledger import Ledger
    from penstock.middleware.events import Listener
    from penstock.middleware.wrapper import Wrapper
    from penstock.providers.lent import Client

__all__ = [
    "NOTHING",
    "Given",
    "Share",
    "alone",
    "composed",
    "metered",
    "open_provider",
    "resolve",
    "with_options",
]

Share: TypeAlias = Callable[[BaseProvider, object, "Wrapper"], "Wrapper"]
"""What stands around a provider for a table of its entry: the new one that is given, or one that is there already."""


class Given(msgspec.Struct, frozen=True):
    """What a caller gives in place of what an entry says; None for what the entry says."""

    api_key: Key | None = None
    base_url: str | None = None
    wire: Wire | None = None
    client: Client | None = None
    transport: Transport | None = None

    def __repr__(self) -> str:
        """Nothing: it stands in frames that a traceback may show."""
        return "Given(***)"

    @property
    def brings_key(self) -> bool:
        """Whether the client is an SDK's, with a key and a base URL of its own; an HTTP client sends ours."""
        if self.client is None:
            return False
        from penstock.providers.lent import is_sdk  # imports the HTTP client, as a client's owner has

        return is_sdk(self.client)

    @property
    def stays(self) -> bool:
        """Whether a call goes to nobody else: whose key it brings, or whose proxy, would not want that in silence."""
        return self.api_key is not None or self.client is not None

    def check(self) -> None:
        """Raise ConfigError for what cannot be meant. An empty key must not stand for the environment's."""
        if self.api_key == "":
            raise ConfigError("`api_key` is empty, expected a key, or a function that gives one")
        if self.brings_key and (self.api_key, self.base_url) != (None, None):
            raise ConfigError(
                "`client` has a key and a base URL of its own: leave out `api_key` and `base_url`, or give an "
                "httpx2.AsyncClient"
            )


NOTHING: Final = Given()


def open_provider(
    alias: str | None = None,
    *,
    models: ModelsConfig | str | os.PathLike[str] | None = None,
    api_key: Key | None = None,
    base_url: str | None = None,
    wire: Wire | None = None,
    client: Client | None = None,
    transport: Transport | None = None,
    options: Options | None = None,
    listener: Listener | None = None,
) -> BaseProvider:
    """The provider of a model: *alias* in models.json, else in the packaged catalogue; None for the active one.

    What neither knows may be a provider and a model's id, as in `ollama/qwen3:8b` or `openrouter/openai/gpt-oss-120b`.
    `demo` is no model but an emulator in this process, at pretended prices; `demo/chat` and `demo/responses` are the
    same over OpenAI's APIs.

    Each call makes a provider of its own, which shares nothing with those before: no connections, and no limits or
    circuit breakers, so that two of one alias send twice what the file allows. A program that runs for long, or opens a
    provider for each request, uses `Providers`.

    models: a config, or the path of a file; None for what `load_models` finds. Without a `modelInfo` of its own a
    model has that of the catalogue; what the catalogue does not know either is unknown.
    api_key, base_url, wire, transport: in place of what the entry says, for this alias and not for those that it falls
    back on; prices stay those of the entry. client: a client of your own, `httpx2.AsyncClient` or the SDK's
    (`AsyncAnthropic`, `AsyncOpenAI`), which then has its own key, base URL and headers; you close it. With a key or a
    client of yours the `fallback` of the entry is left out, as it would send with another key, or past the client. See
    the page models-by-name.
    options: what each call leaves out, those of the models that it falls back on too.
    listener: called with each event of `penstock.middleware`: of each request, also to the models it falls back on, and
    of what the file has put around them; None for nobody.

    A file with a `ledger` has all calls booked there, and its `budgets` hold; see `penstock.meter`. One with a `store`
    has its limits counted there, for all processes that name it; see the page shared-limits. A model that its vendor
    retires within 30 days, or has retired, is warned of once, in the log `penstock`.

    A file that was found and not named may name models, prices and limits, but not where requests go or with which
    key: then nothing is looked up or sent. `penstock trust` accepts such a file. Raises ConfigError.
    """
    config = read_models(models)
    name = config.active if alias is None else alias
    store = FileStore(config)

    def opened(alias: str, given: Given) -> tuple[BaseProvider, Sequence[str]]:
        entry = resolve(alias, models=config, given=given)
        return alone(config, alias, entry, given.client, listener, store), entry.fallback

    provider = composed(config, name, Given(api_key, base_url, wire, client, transport), opened)
    return with_options(metered(config, store.closed_with(provider)), options)


def resolve(
    alias: str | None = None,
    *,
    models: ModelsConfig | str | os.PathLike[str] | None = None,
    given: Given = NOTHING,
) -> ModelEntry:
    """The entry that *alias* names, complete: with the key's value and with what the catalogue knows of the model.

    given: what stands in place of what the entry says; no key is looked up that it replaces.
    """
    given.check()
    config = read_models(models)
    check_trusted(config)
    name = config.active if alias is None else alias
    entry = entry_of(config, name)
    where = f"$.models.{name}"
    if given.base_url is not None:
        entry = entry.with_config(base_url=given.base_url)
    check_entry(entry, config.source, name)
    if not is_known(entry.provider):
        raise mistake(config.source, f"{where}.provider", unknown(entry.provider))
    if config.found:
        entry = tamed(entry)
        if name in config.models and given.api_key is not None and given.base_url is None:
            _check_found(config, name, entry)
    if not entry.enabled:
        raise mistake(config.source, where, "the model is disabled; found `enabled` false, expected true")
    found = entry.provider_config
    key = None if given.brings_key else found.api_key if given.api_key is None else given.api_key
    if isinstance(key, str) and given.api_key is None:
        key = key_value(key, config.source, f"{where}.providerConfig.apiKey")
    info = found.model_info
    if info is None:
        info = catalog_info(entry.provider, found.model_id, found.platform)
    wire, url = given.wire or found.wire, given.base_url or found.base_url  # which `tamed` may have left out
    transport = found.transport if given.transport is None else given.transport
    if given.transport is None and given.client is None and entry.provider in PROVIDERS:
        _check_installed(transport, config, where)
    return entry.with_config(api_key=key, model_info=info, wire=wire, base_url=url, transport=transport)


def _check_installed(transport: Transport, config: ModelsConfig, where: str) -> None:
    """Raise ConfigError, which names the place in the file, for a transport whose package is not installed."""
    from penstock.providers.environment import check_transport  # for those who open a provider

    try:
        check_transport(transport)
    except ConfigError as error:
        raise mistake(config.source, f"{where}.providerConfig.transport", error.message) from None


def _check_found(config: ModelsConfig, alias: str, entry: ModelEntry) -> None:
    """Raise ConfigError where a file that was only found would send the key of a caller to whom that has not named.

    Whoever gives a key for `sonnet` means Anthropic's, and no server on this machine.
    """
    known = catalog().models.get(alias)
    if entry.provider_config.base_url is not None or (known is not None and known.provider != entry.provider):
        said = "you give a key for this alias, and a file that was found and not named says who gets it"
        way = "name the file, as in open_provider(models=...), or run `penstock trust`"
        raise mistake(config.source, f"$.models.{alias}", f"{said}: {way}")


def composed(
    config: ModelsConfig,
    alias: str,
    given: Given,
    opened: Callable[[str, Given], tuple[BaseProvider, Sequence[str]]],
) -> BaseProvider:
    """What *opened* makes of an alias, and behind it what it makes of those that the alias falls back on.

    A key or a client of the caller's has nothing behind it: that would send with another key, or past the client.

    opened: gives a provider, and the aliases that it falls back on.
    """
    provider, others = opened(alias, given)
    check_fallback(config, alias)
    if not others or given.stays:
        return provider
    from penstock.middleware import Fallback  # here and below: only what is asked for is imported

    return Fallback(provider, *(composed(config, other, NOTHING, opened) for other in others))


def alone(
    config: ModelsConfig,
    alias: str,
    entry: ModelEntry,
    client: Client | None,
    listener: Listener | None,
    store: FileStore,
    share: Share = lambda inner, table, made: made,
) -> BaseProvider:
    """The provider of an alias with its middleware, and nothing that it falls back on."""
    try:
        provider = _bare(config, entry, client)
    except ConfigError as error:
        if entry.provider in PROVIDERS or alias not in config.models:
            raise
        raise mistake(config.source, f"$.models.{alias}", error.message) from error
    provider.alias = alias
    warn_of_retirement(entry, config)
    if listener is not None:
        from penstock.middleware.observe import listen

        listen(provider, listener)
    provider = _wrapped(provider, entry, store, share)
    table = entry.options
    return with_options(provider, None if table is None else Options(**msgspec.structs.asdict(table)))


def with_options(provider: BaseProvider, options: Options | None) -> BaseProvider:
    """The provider, with what each call leaves out."""
    if options is None:
        return provider
    from penstock.middleware import Defaults

    return Defaults(provider, options)


def metered(config: ModelsConfig, provider: BaseProvider, ledger: Ledger | None = None) -> BaseProvider:
    """The provider with the file's ledger and budgets around it, if it has any. ledger: None to open one for it."""
    if config.ledger is None:
        return provider
    from penstock.meter import Budget, Metered

    budgets = [Budget(**msgspec.structs.asdict(table)) for table in config.budgets]
    return Metered(provider, ledger or ledger_of(config), budgets=budgets)


def _bare(config: ModelsConfig, entry: ModelEntry, client: Client | None) -> BaseProvider:
    if entry.provider not in PROVIDERS:
        if client is not None:
            raise ConfigError(f"`client` is given, but the provider {entry.provider!r} makes its own: leave it out")
        return make_provider(entry)
    find_info, dialect = info_finder(entry, config), entry.dialect or entry.provider
    if "messages" in DIALECTS[entry.provider].wires:
        from penstock.providers.anthropic import AnthropicProvider

        return AnthropicProvider(entry.provider_config, dialect, find_info=find_info, client=client)
    from penstock.providers.openai import OpenAIProvider

    return OpenAIProvider(entry.provider_config, dialect, find_info=find_info, client=client)


def _wrapped(provider: BaseProvider, entry: ModelEntry, store: FileStore, share: Share) -> BaseProvider:
    """As penstock.middleware advises: each try counts for the limit, and what Retry repairs for no breaker."""
    if (entry.concurrency, entry.rate_limit, entry.retry, entry.circuit_breaker) == (None, None, None, None):
        return provider
    from penstock.middleware import CircuitBreaker, Concurrency, RateLimit, Retry

    if entry.concurrency is not None:
        provider = share(provider, entry.concurrency, Concurrency(provider, entry.concurrency, store=store.get()))
    if (rate := entry.rate_limit) is not None:
        made = RateLimit(provider, **msgspec.structs.asdict(rate), store=store.get())
        provider = share(provider, rate, made)
    if entry.retry is not None:
        provider = Retry(provider, **msgspec.structs.asdict(entry.retry))
    if (breaker := entry.circuit_breaker) is not None:
        provider = share(provider, breaker, CircuitBreaker(provider, **msgspec.structs.asdict(breaker)))
    return provider
