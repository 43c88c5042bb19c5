"""The project's chores. `nox` runs lint, types, tests and package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nox

nox.options.sessions = ["lint", "types", "tests", "package"]
nox.options.default_venv_backend = "virtualenv"

PROJECT = nox.project.load_toml("pyproject.toml")
GROUPS = {name: nox.project.dependency_groups(PROJECT, name) for name in ("tests", "lint", "types")}
# What would fail if a file were missing in the wheel; that the code is right, the session `tests` has shown.
WHEEL = (
    "tests/test_layers.py",
    "tests/test_readme.py",
    "tests/cli",
    "tests/config",
    "tests/core/test_provider.py",
    "tests/guide/test_guide.py",
    "tests/providers/test_cassettes.py",
    "tests/testing",
)
CASSETTES = "tests/providers/test_cassettes.py"
LLAMA = Path("../shared/llamacpp")


def works(version: str) -> bool:
    """Whether this Python is really there: a version manager may offer a name behind which there is nothing."""
    name = f"python{version}"
    try:
        found = subprocess.run([name, "-c", "import sys, venv"], capture_output=True, check=False)
    except OSError:
        return False
    return found.returncode == 0


# The Pythons that pyproject.toml names, as far as they are here; the one that runs nox always is.
CLAIMED = nox.project.python_versions(PROJECT)
PYTHONS = [version for version in CLAIMED if works(version)] or [f"{sys.version_info[0]}.{sys.version_info[1]}"]


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff, as a linter and as a formatter."""
    session.install(*GROUPS["lint"])
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Mypy, strict, over the package, its tests and this file."""
    session.install(*GROUPS["types"], "nox", ".[keyring]")
    session.run("mypy")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """All tests, on asyncio and trio, with branch coverage. Arguments go to pytest."""
    session.install(*GROUPS["tests"], "-e", ".")
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", *session.posargs)
    session.run("coverage", "combine")
    if not session.posargs:
        session.run("coverage", "report")


@nox.session
def package(session: nox.Session) -> None:
    """Build the wheel, check its metadata, and run what needs all of it against it, with no `src` on the path."""
    dist = Path(session.create_tmp()).resolve() / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    session.install("build", "twine", *GROUPS["tests"])
    session.run("python", "-m", "build", "--outdir", str(dist), silent=True)
    session.run("twine", "check", "--strict", *map(str, dist.iterdir()))
    session.install("--force-reinstall", "--no-deps", *map(str, dist.glob("*.whl")))
    session.install(*map(str, dist.glob("*.whl")))
    away = dist.parent / "away"
    shutil.rmtree(away, ignore_errors=True)
    away.mkdir()
    for name in ("tests", "cassettes", "pyproject.toml", "README.md", ".ci", "noxfile.py"):
        source = Path(name)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, away / name)
    session.chdir(away)
    where = session.run("python", "-c", "import penstock; print(penstock.__file__)", silent=True)
    if "site-packages" not in str(where):
        session.error(f"the tests would not see the wheel but {where}")
    session.run(
        "pytest", "-q", *(f"tests/{name}" if Path(f"tests/{name}").is_dir() else f"tests/{name}.py" for name in WHEEL)
    )


@nox.session
def bench(session: nox.Session) -> None:
    """Print our figures against the SDKs', measured in one run."""
    session.install(".")
    session.run("python", "tests/bench.py", *session.posargs)
    session.run("python", "tests/bench_middleware.py")


@nox.session
def record(session: nox.Session) -> None:
    """Make the cassettes again: `nox -s record`, or of one server: `nox -s record -- --server llama.cpp`.

    Without an argument: from the emulator, from llama.cpp's server (built first where it is not, which takes some
    minutes; PENSTOCK_LLAMACPP names a folder with one), and from each real API whose key is set. All of a server's
    wires are recorded.
    """
    session.install(*GROUPS["tests"], "-e", ".")
    keys = {"anthropic": "ANTHROPIC_API_KEY", "openai": "OPENAI_API_KEY"}
    wanted = [name for name in session.posargs if name != "--server"]
    for source in wanted or ["emulator", "llama.cpp", *(name for name in keys if os.environ.get(keys[name]))]:
        if source == "llama.cpp":
            record_llama(session)
        elif source in keys and not os.environ.get(keys[source]):
            session.error(f"{keys[source]} is not set: the real API cannot be recorded without a key")
        else:
            record_from(session, source)
    session.run("pytest", "-q", CASSETTES, "tests/test_scrubbing.py")


def record_from(session: nox.Session, source: str) -> None:
    """One event loop is enough: both replay the same cassette."""
    session.run("pytest", "-q", CASSETTES, "--record-mode=rewrite", "-k", f"asyncio and {source}")


def record_llama(session: nox.Session) -> None:
    """Start the server, record, stop it."""
    if not LLAMA.is_dir():
        session.error(f"{LLAMA} is not there: it builds and serves llama.cpp for recording")
    folder = Path(os.environ.get("PENSTOCK_LLAMACPP", ".nox/llama.cpp")).resolve()
    if not (folder / "tiny-scripted.gguf").is_file():
        session.run("bash", str(LLAMA / "build.sh"), str(folder), external=True)
    server = subprocess.Popen(["bash", str(LLAMA / "serve.sh"), str(folder), "18090"], stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            try:
                urllib.request.urlopen("http://127.0.0.1:18090/health").close()
                break
            except OSError:
                time.sleep(0.1)
        record_from(session, "llama.cpp")
        session.run("pytest", "-q", "tests/providers/test_llamacpp_live.py", env={"PENSTOCK_LLAMACPP_LIVE": "1"})
    finally:
        server.terminate()
        server.wait()


@nox.session
def docs(session: nox.Session) -> None:
    """Build the reference of all public functions and classes into docs/. A warning is an error."""
    session.install(*nox.project.dependency_groups(PROJECT, "docs"), ".")
    shutil.rmtree("docs", ignore_errors=True)
    session.run("python", "-W", "error", "tests/support/reference.py", "docs")


@nox.session
def mutate(session: nox.Session) -> None:
    """Read a million broken recordings: nothing may come out but chunks and ProviderErrors. Arguments: COUNT, SEED."""
    session.install(*GROUPS["tests"], ".")
    session.run("python", "tests/mutate.py", *session.posargs)
