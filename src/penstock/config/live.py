"""What a vendor offers now: its list of models joined with what is known here, and whether a model can be called."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

import anyio
import msgspec

from penstock.config.catalog import DATED, catalog, known_info
from penstock.core.cost import prices_at
from penstock.core.errors import (
    AuthenticationError,
    ConfigError,
    InvalidRequestError,
    NetworkError,
    NotFoundError,
    PermissionDeniedError,
    ProviderError,
    ProviderTimeoutError,
)
from penstock.core.keys import FETCH_SECONDS
from penstock.core.messages import Message
from penstock.core.models import PRICE_FIELDS, Model, ModelInfo
from penstock.core.provider import BaseProvider, check_provider
from penstock.core.retirement import retirement_hint
from penstock.middleware.per_loop import PerLoop
from penstock.providers.listing import MISSING, in_time
from penstock.wire.listing import known_fields

if TYPE_CHECKING:
    from penstock.providers.leaf import Leaf

__all__ = ["Availability", "is_available", "list_models", "list_or_catalogue"]

_SECONDS: Final = FETCH_SECONDS + 1
"""A bit longer than a key is waited for: whatever does not give one is named then, and not the vendor."""


class _Kept(msgspec.Struct, frozen=True):
    at: float
    models: Sequence[Model]


_kept: Final[WeakKeyDictionary[BaseProvider, _Kept]] = WeakKeyDictionary()
_lines: Final[WeakKeyDictionary[BaseProvider, PerLoop[anyio.Lock]]] = WeakKeyDictionary()
"""Where those wait who want the list that another task of their loop is asking for."""


async def list_models(
    provider: BaseProvider,
    *,
    ttl: float = 600.0,
    seconds: float = _SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> list[Model]:
    """The models that the provider's vendor lists, each with what is known of it; no call is made.

    What models.json or the packaged catalogue says holds, and the vendor's word fills what they do not know: its limits
    and traits, and its prices where they have none at all. `Model.listed` and `prices_from` tell which is which.
    A vendor that does not answer, or has no list, has the models of the catalogue that are not retired, marked
    `catalogue`, and a warning in the log `penstock` says why; without any the error is raised. So are a wrong key, and
    a list that cannot be read (MalformedResponseError).

    ttl: seconds for which the vendor's answer is kept for this provider; 0 asks anew. seconds: the most that asking may
    take. A provider that falls back on others stands for its first. Raises a ProviderError; a ConfigError for a
    provider without a server of its own.
    """
    found, why = await list_or_catalogue(provider, ttl=ttl, seconds=seconds, clock=clock)
    if why is not None:
        import logging  # for those whose vendor has no list

        said = "%s: no list of its models, so these are the catalogue's: %s"
        logging.getLogger("penstock").warning(said, why.vendor, why.message)
    return found


async def list_or_catalogue(
    provider: BaseProvider,
    *,
    ttl: float = 600.0,
    seconds: float = _SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[list[Model], ProviderError | None]:
    """The same, and why it is the catalogue; None for what the vendor lists."""
    leaf = _leaf(provider)
    if leaf is None:
        raise ConfigError(f"`provider` is {provider!r}, which has no server that could be asked for a list")

    async def listed() -> Sequence[Model]:
        async with _lines.setdefault(leaf, PerLoop(anyio.Lock)).get():
            kept = _kept.get(leaf)
            if kept is None or clock() - kept.at >= ttl:
                found = [_joined(leaf, model) for model in await leaf.list_models()]
                kept = _kept[leaf] = _Kept(clock(), found)
            return kept.models

    try:
        return list(await in_time(listed, seconds, leaf.vendor)), None
    except ProviderError as error:
        # A server of one's own, or a cloud, has what it has, and no catalogue.
        silent = (error.retryable or error.status in MISSING) and not isinstance(error, AuthenticationError)
        own = leaf.dialect.is_free or leaf.platform is not None
        if not silent or own or not (known := _of_the_catalogue(leaf)):
            raise
        return known, error


def _leaf(provider: BaseProvider) -> Leaf | None:
    from penstock.providers.leaf import Leaf  # imports the HTTP client

    leaf = next(check_provider("provider", provider).leaves())
    return leaf if isinstance(leaf, Leaf) else None


def _known(leaf: Leaf, model_id: str) -> ModelInfo | None:
    if model_id == leaf.get_model().id:
        return leaf.get_model().info
    if leaf.find_info is not None:
        return leaf.find_info(model_id)
    if leaf.platform is not None:  # which has prices of its own
        return None
    return known_info(leaf.vendor, model_id, catalog())


def _joined(leaf: Leaf, said: Model) -> Model:
    known = _known(leaf, said.id) or prices_at(ModelInfo(), leaf.dialect, None)
    fields = known_fields(known)
    theirs = said.info
    if any(name in fields for name in PRICE_FIELDS):
        theirs = msgspec.structs.replace(theirs, **{name: getattr(known, name) for name in PRICE_FIELDS})
    info = msgspec.structs.replace(theirs, **fields)
    source = said.prices_from if theirs is said.info else "local"
    return msgspec.structs.replace(said, info=info, prices_from=source)


def _of_the_catalogue(leaf: Leaf) -> list[Model]:
    names = (leaf.vendor, leaf.dialect.catalog_of)
    ids = [entry.provider_config.model_id for entry in catalog().models.values() if entry.provider in names]
    found = {name: _known(leaf, name) or ModelInfo() for name in ids}
    today = dt.datetime.now(dt.UTC).date()
    return [
        Model(name, info, listed="catalogue", prices_from=None if info.input_price is None else "local")
        for name, info in found.items()
        if not info.is_retired(today)
    ]


class Availability(msgspec.Struct, frozen=True, kw_only=True):
    """What could be seen of a model without asking it anything.

    It is true if nothing speaks against the model, which is less than that it answers: see `model_known`.
    """

    reachable: bool | None = None
    """The server answers. None: it was not asked, as there is no key."""
    key_accepted: bool | None = None
    """It takes the key, or needs none. None: nobody could tell."""
    model_known: bool | None = None
    """It has the model, for this key. None: nobody could tell, as it has no list, or none that names all."""
    error: ProviderError | None = None
    """Why not, with its hint; None if all is well."""

    def __bool__(self) -> bool:
        return self.error is None


async def is_available(provider: BaseProvider, *, seconds: float = _SECONDS) -> Availability:
    """Whether the provider's model can be called: reachable, key accepted, model there. No token is generated.

    The vendor is asked to count a prompt where that is free, else for its list, and where everybody may read that also
    for what only a good key is shown. What the vendor says to a call itself may still differ: out of credit, say.
    seconds: the most that it may take. A provider that falls back on others stands for its first; of one that
    others wrote nothing is known. Raises ConfigError, and nothing else.
    """
    leaf = _leaf(provider)
    if leaf is None:
        return Availability()
    try:
        return await in_time(partial(_looked_at, leaf), seconds, leaf.vendor)
    except ConfigError:
        raise
    except ProviderError as error:
        return _refused(error)


async def _looked_at(leaf: Leaf) -> Availability:
    try:
        if (await leaf.count_tokens("", [Message("user", "Hello!")])).exact:
            return Availability(reachable=True, key_accepted=True, model_known=True)
    except (PermissionDeniedError, NotFoundError) as error:  # it names the model, as a list does not
        return Availability(reachable=True, key_accepted=True, model_known=False, error=error)
    except InvalidRequestError:  # a cloud that does not count may say so like this
        pass
    return await _listed(leaf)


async def _listed(leaf: Leaf) -> Availability:
    row, wanted = leaf.dialect, leaf.get_model().id
    key = True if row.list_needs_key else None
    if row.key_path is not None:
        await leaf.read(row.key_path, bytes)
        key = True
    try:
        models = await leaf.list_models()
    except ProviderError as refused:
        if refused.status not in MISSING:
            raise
        return Availability(reachable=True, key_accepted=None if row.key_path is None else key)
    if any(_is_same(wanted, name) for model in models for name in (model.id, *model.aliases)):
        return Availability(reachable=True, key_accepted=key, model_known=True)
    # The name before a suffix may be listed, as of `gpt-oss-120b:fastest` that of the model.
    whole = row.list_is_whole and leaf.platform is None
    if not whole or any(model.id == wanted.rpartition(":")[0] for model in models):
        return Availability(reachable=True, key_accepted=key)
    error = NotFoundError(f"{leaf.vendor} does not list this model", vendor=leaf.vendor, model=wanted)
    today = dt.datetime.now(dt.UTC).date()
    ended = retirement_hint(wanted, leaf.get_model().info, leaf.find_info, today, leaf.platform)
    error.hint = ended or "Check the model's id: `penstock models --live` shows what there is."
    return Availability(reachable=True, key_accepted=key, model_known=False, error=error)


def _is_same(wanted: str, listed: str) -> bool:
    """Whether a list that has one has the other: it may name a model by its day, or by its usual tag."""
    return wanted == listed or wanted in (DATED.sub("", listed), listed.removesuffix(":latest"))


def _refused(error: ProviderError) -> Availability:
    if isinstance(error, NetworkError) or (isinstance(error, ProviderTimeoutError) and error.deadline):
        return Availability(reachable=False, error=error)
    if isinstance(error, AuthenticationError):
        return Availability(reachable=None if error.status is None else True, key_accepted=False, error=error)
    accepted = True if isinstance(error, PermissionDeniedError) else None
    return Availability(reachable=True, key_accepted=accepted, error=error)
