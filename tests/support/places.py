"""Where things lie beside the tests, and the environment of what must not be measured."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
CASSETTES: Final = ROOT / "cassettes"
SHARED: Final = ROOT.parent / "shared"
CORPORA: Final = tuple(SHARED / "corpus" / f"{name}.jsonl.gz" for name in ("exchanges", "exchanges-2"))


def unmeasured() -> dict[str, str]:
    """The environment for a process in which coverage does not run: it imports modules and writes files of its own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
