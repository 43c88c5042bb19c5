"""The transports that a provider can have, for tests that must hold on each of them."""

from __future__ import annotations

from typing import Final

import msgspec
import pytest

from penstock.providers.transport import Transport

__all__ = ["OVER_AIOHTTP", "over_aiohttp"]

OVER_AIOHTTP: Final = "asyncio over aiohttp"


def over_aiohttp(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every provider have that transport, as if its config said so: the tests make them in many ways."""
    plain = Transport._made

    def made(self: Transport) -> object:
        self._config = msgspec.structs.replace(self._config, transport="aiohttp")
        return plain(self)

    monkeypatch.setattr(Transport, "_made", made)
