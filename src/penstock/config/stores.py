"""The store that a models.json names, for the limits of all its models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.config.entries import ModelsConfig, StoreTable
from penstock.config.keys import address
from penstock.config.mistakes import mistake
from penstock.core.errors import ConfigError
from penstock.core.provider import BaseProvider

if TYPE_CHECKING:
    from penstock.fleet.redis_store import RedisStore

__all__ = ["FileStore"]


class FileStore:
    """The store of a file, made when the first limit asks for it."""

    def __init__(self, config: ModelsConfig) -> None:
        self._config = config
        self._made: RedisStore | None = None

    def get(self) -> RedisStore | None:
        """The store; None where the file names none. Raises ConfigError."""
        if self._made is None and self._config.store is not None:
            self._made = self._make(self._config.store)
        return self._made

    def _make(self, said: str | StoreTable) -> RedisStore:
        from penstock.fleet import RedisStore  # for those who have one

        table, file = StoreTable(url=said) if isinstance(said, str) else said, self._config.source
        url = address(table.url, file, "$.store")
        try:
            return RedisStore(url, on_loss=table.on_loss)
        except ConfigError as error:
            raise mistake(file, "$.store", error.message) from None

    def closed_with(self, provider: BaseProvider) -> BaseProvider:
        """A provider that closes what was made with itself; the same one where the file names none."""
        if self._config.store is None:
            return provider
        from penstock.middleware.owner import Owner

        return Owner(provider, self.aclose)

    async def aclose(self) -> None:
        """Close what was made."""
        if self._made is not None:
            await self._made.aclose()
