"""What RateLimit and Concurrency need of a store that counts for many processes. `penstock.fleet` has one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, TypeAlias

from penstock.core.errors import ConfigError
from penstock.core.provider import BaseProvider
from penstock.middleware.events import Event

__all__ = ["LimitStore", "Limits", "News", "Verdict", "account_name", "check_store"]

News: TypeAlias = tuple[type[Event], Mapping[str, object]]
"""An event's class, and its fields beside those that all events have."""


class Limits(NamedTuple):
    """How much a minute; None for no such limit."""

    requests: int | None
    tokens: int | None


class Verdict(NamedTuple):
    """What a store says to a call that wants to be sent."""

    ticket: object | None
    """Stands for what was charged, or for a place; None: not yet."""
    seconds: float = 0.0
    """Until there may be room; 0 with a ticket."""
    held: float = 0.0
    """What is left of a pause that the vendor asked for, in seconds."""


class LimitStore(Protocol):
    """Counts by name what all processes send that share it. What it does is done in any event loop and any thread."""

    async def charge(self, name: str, limits: Limits, tokens: int, waited: float) -> Verdict:
        """Charge one request and *tokens*, if there is room. waited: seconds that the call has waited already.

        A call that is cancelled here is charged with nothing. Raises StoreError where nothing may be sent.
        """

    def correct(self, ticket: object, tokens: int) -> None:
        """It was *tokens* in truth: less is given back, more is charged now. Returns at once."""

    def hold(self, name: str, seconds: float) -> None:
        """Let nobody send for so many seconds; the later of two ends holds. Returns at once."""

    def left(self, name: str, limits: Limits) -> tuple[Limits, float]:
        """What may be sent at once, and for how many seconds nothing may be, by the store's last answer."""

    async def take(self, name: str, limit: int, waited: float) -> Verdict:
        """A place among *limit*, if one is free. As `charge`; the ticket is kept alive until it is given back."""

    def give_back(self, ticket: object) -> None:
        """Free a place. Returns at once."""

    def news(self) -> Sequence[News]:
        """What has happened to the store since somebody asked, to be told to whoever listens; mostly nothing."""

    async def aclose(self) -> None:
        """Close what it holds. Safe to call twice."""


def check_store(store: LimitStore | None, name: str | None) -> LimitStore | None:
    """*store*, or ConfigError for what is none, or for a name without one."""
    given: object = name
    if given is not None and not (isinstance(given, str) and given):
        raise ConfigError(f"`name` is {given!r}, expected a text of one character or more, or None")
    if store is None and name is not None:
        raise ConfigError("`name` says what is counted as one in a store: give `store` too")
    if store is not None and not (hasattr(store, "charge") and hasattr(store, "take")):
        raise ConfigError(f"`store` is of type {type(store).__name__}, expected a store, as RedisStore(url)")
    return store


def account_name(provider: BaseProvider, kind: str) -> str:
    """What a provider's limit is called that has no name: its host, the key's fingerprint, and the numbers in *kind*.

    So processes with one account and equal numbers share it.
    """
    host, port = provider.server
    server = host or provider.alias or provider.get_model().id
    return ":".join(filter(None, (server if port is None else f"{server}:{port}", provider.account, kind)))
