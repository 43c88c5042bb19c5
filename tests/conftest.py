"""What all tests share: both event loops, the corpus, and how cassettes are recorded and replayed."""

from __future__ import annotations

import gc
import gzip
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from vcr import VCR

from penstock.testing import scrubbed_cassettes
from penstock.wire.vendors import DIALECTS
from places import CORPORA
from plugin import import_all
from recording import WithAHeader
from transports import OVER_AIOHTTP, over_aiohttp

FOREIGN = ("ANTHROPIC_", "AWS_", "AZURE_", "GOOGLE_", "OPENAI_", "PENSTOCK_MODELS")
KEYS = {variable for row in DIALECTS.values() for variable in row.key_variables}

# A machine that has much else to do is no fault of a test's.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Every async test runs on both, and a third time on asyncio over aiohttp where a network is what it is about."""
    if request.param != OVER_AIOHTTP:
        return str(request.param)
    over_aiohttp(request.getfixturevalue("monkeypatch"))
    return "asyncio"


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test marked `both_transports`, by its module say, has the third leg; `httpx2_only` says why one has not."""
    test = metafunc.definition
    if "anyio_backend" not in metafunc.fixturenames or test.get_closest_marker("httpx2_only"):
        return
    if test.get_closest_marker("both_transports"):
        legs = ["asyncio", "trio", OVER_AIOHTTP]
        test.add_marker(pytest.mark.parametrize("anyio_backend", legs, indirect=True))


@pytest.fixture(scope="session")
def empty_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a test runs that takes no folder of its own; what it writes there is gone with it."""
    return tmp_path_factory.mktemp("empty")


@pytest.fixture(autouse=True)
def _no_key_and_no_file(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, empty_folder: Path
) -> Iterator[None]:
    """No test sees the developer's own keys, models.json or trust store, or a file that another test has written."""
    for name in KEYS | {name for name in os.environ if name.startswith(FOREIGN)}:
        monkeypatch.delenv(name, raising=False)
    own = "tmp_path" in request.fixturenames
    folder = request.getfixturevalue("tmp_path") if own else empty_folder
    monkeypatch.chdir(folder)
    data = Path(f"{folder}-data")  # made only when a test trusts a file
    monkeypatch.setenv("XDG_DATA_HOME", str(data))
    yield
    shutil.rmtree(data, ignore_errors=True)
    for left in empty_folder.iterdir():
        shutil.rmtree(left) if left.is_dir() else left.unlink()


@pytest.fixture(scope="session")
def all_imported() -> None:
    """For tests in which pytest runs in this process; it comes before the fixture `pytester`, which forgets imports."""
    import_all()


def pytest_collection() -> None:
    """Thousands of tests are no garbage, and each look for some would go through them all."""
    gc.disable()


def pytest_collection_finish() -> None:
    """From here on only what the tests make is looked at."""
    gc.collect()
    gc.freeze()
    gc.enable()


vcr_config = scrubbed_cassettes()


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
    gc.collect()
    gc.freeze()  # or every later look for garbage would go through all of it
    return rows
