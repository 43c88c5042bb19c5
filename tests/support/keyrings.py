"""A keyring in memory, in place of the one of the system."""

from __future__ import annotations

import sys
import threading
from types import ModuleType

import pytest

from patience import PATIENCE

__all__ = ["MemoryKeyring"]


class _KeyringError(Exception):
    """As the package's own, of which all its others are."""


class MemoryKeyring(dict[tuple[str, str], str]):
    """Keys by service and user. What belongs to the service `locked` is refused; `hanging` waits until it is over.

    `broken` raises what the system raised, and no error of the package.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.over = threading.Event()
        package, errors = ModuleType("keyring"), ModuleType("keyring.errors")
        vars(errors).update(KeyringError=_KeyringError)
        vars(package).update(
            errors=errors, get_password=self._get, set_password=self._set, delete_password=self._delete
        )
        monkeypatch.setitem(sys.modules, "keyring", package)
        monkeypatch.setitem(sys.modules, "keyring.errors", errors)

    def _get(self, service: str, user: str) -> str | None:
        self._check(service)
        return self.get((service, user))

    def _set(self, service: str, user: str, key: str) -> None:
        self._check(service)
        if service == "broken":
            raise OSError(f"no bus to send {key!r} on")
        self[service, user] = key

    def _delete(self, service: str, user: str) -> None:
        self._check(service)
        if self.pop((service, user), None) is None:
            raise _KeyringError("no such password")

    def _check(self, service: str) -> None:
        if service == "locked":
            raise _KeyringError("locked")
        if service == "hanging":
            self.over.wait(PATIENCE)
