"""Public names of a package that are imported when somebody asks for them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module

__all__ = ["import_late"]


def import_late(
    package: str, homes: Mapping[str, Sequence[str]]
) -> tuple[list[str], Callable[[str], object], Callable[[], list[str]]]:
    """A package's `__all__`, `__getattr__` and `__dir__`. homes: the names that each module below *package* gives."""
    home = {name: module for module, names in homes.items() for name in names}
    public = sorted(home, key=lambda name: (not name.isupper(), not name[0].isupper(), name))

    def find(name: str) -> object:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = getattr(import_module(f"{package}.{home[name]}"), name)
        setattr(sys.modules[package], name, found)  # it is asked for once, and then as fast as any
        return found

    return public, find, lambda: list(public)
