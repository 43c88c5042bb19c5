"""Where things lie beside the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
CASSETTES: Final = ROOT / "cassettes"
SHARED: Final = ROOT.parent / "shared"
CORPORA: Final = tuple(SHARED / "corpus" / f"{name}.jsonl.gz" for name in ("exchanges", "exchanges-2"))
