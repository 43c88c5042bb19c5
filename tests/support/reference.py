"""The reference of all public functions and classes, as web pages: `nox -s docs` builds it with pdoc.

`python tests/support/reference.py FOLDER`. What the pages say comes from the docstrings; the manual is the guide.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Final

import pdoc

MODULES: Final = ("penstock", "penstock.middleware", "penstock.testing")
_LONGEST: Final = 500
"""Characters of a constant's value that are shown; FAULTS has millions."""


class _Long:
    """Stands for a value that is too long to be shown."""

    def __repr__(self) -> str:
        return "..."


def main(folder: Path) -> None:
    """Write the pages."""
    for name in MODULES:
        module = import_module(name)
        for word in module.__all__:
            # Some names come when they are asked for, which pdoc does not do.
            thing = getattr(module, word)
            is_constant = word.isupper() and len(repr(thing)) > _LONGEST
            vars(module)[word] = _Long() if is_constant else thing
    pdoc.render.configure(show_source=False)
    pdoc.pdoc(*MODULES, output_directory=folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
