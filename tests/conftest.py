"""What all tests share: both event loops, the corpus, and how cassettes are recorded and replayed."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from vcr import VCR

from penstock.wire.vendors import DIALECTS
from places import CORPORA
from recording import WithAHeader
from scrubbing import VCR_CONFIG


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Every async test runs on both."""
    return str(request.param)


@pytest.fixture(autouse=True)
def _no_key_and_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the developer's own keys, models.json or trust store."""
    named = {variable for row in DIALECTS.values() for variable in row.key_variables}
    for name in (
        *named,
        *(name for name in os.environ if name.startswith(("ANTHROPIC_", "OPENAI_", "PENSTOCK_MODELS"))),
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    # Nor what he trusts; the folder is made only when something is.
    monkeypatch.setenv("XDG_DATA_HOME", f"{tmp_path}-data")


@pytest.fixture(scope="session")
def vcr_config() -> dict[str, Any]:
    """How cassettes are matched, and what they may hold."""
    return VCR_CONFIG


def pytest_recording_configure(config: pytest.Config, vcr: VCR) -> None:
    """Called by pytest-recording."""
    vcr.register_serializer("yaml", WithAHeader)


@pytest.fixture(scope="session")
def corpus() -> list[dict[str, Any]]:
    """The recorded exchanges beside the checkout; a test that needs them skips where they are not."""
    rows: list[dict[str, Any]] = []
    for file in CORPORA:
        if not file.is_file():
            pytest.skip(f"the corpus of recorded exchanges is not there: {file}")
        with gzip.open(file) as lines:
            rows += ({**msgspec.json.decode(line), "file": file.name} for line in lines)
    return rows
