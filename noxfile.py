"""The project's chores. `nox` runs lint, types, tests and package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import nox

nox.options.sessions = ["lint", "types", "tests", "package"]
nox.options.default_venv_backend = "virtualenv"

PROJECT = nox.project.load_toml("pyproject.toml")
GROUPS = {name: nox.project.dependency_groups(PROJECT, name) for name in PROJECT["dependency-groups"]}
RUNTIME: list[str] = PROJECT["project"]["dependencies"]
EXTRAS: list[str] = [each for extra in PROJECT["project"]["optional-dependencies"].values() for each in extra]
BACKEND = [*PROJECT["build-system"]["requires"], *GROUPS["editable"]]
# What the sessions install, all of it in the versions of LOCKED.
NEEDED = {
    "lint": GROUPS["lint"],
    "types": [*GROUPS["types"], *RUNTIME, *EXTRAS, *BACKEND],
    "tests": [*GROUPS["tests"], *RUNTIME, *BACKEND],
    "bench": [*GROUPS["bench"], *RUNTIME, *BACKEND],
    "package": [*GROUPS["package"], *GROUPS["tests"], *RUNTIME, *BACKEND],
    "docs": [*GROUPS["docs"], *RUNTIME, *BACKEND],
    "lock": GROUPS["lock"],
}
LOCKED = Path("tests/constraints.txt")
ABOUT_LOCKED = """\
# The exact versions that the sessions of noxfile.py install, with hashes, for every Python that pyproject.toml allows.
# Made by `nox -s lock`, which writes under each which sessions need it.
"""
# Workers of pytest-xdist: one more than there are processors, as tests wait for clocks and servers as well.
WORKERS = ("-n", str(min((os.cpu_count() or 1) + 1, 8)), "--dist", "worksteal")
# What would fail if a file were missing in the wheel; that the code is right, the session `tests` has shown.
WHEEL = (
    "tests/test_layers.py",
    "tests/test_readme.py",
    "tests/cli/test_chat.py",
    "tests/cli/test_doctor.py",
    "tests/cli/test_models.py",
    "tests/cli/test_spend.py",
    "tests/config",
    "tests/core/test_provider.py",
    "tests/guide/test_guide.py",
    "tests/providers/test_cassettes.py",
    "tests/testing/test_demo_provider.py",
    "tests/testing/test_faults.py",
    "tests/testing/test_pytest_plugin.py",
)
CASSETTES = "tests/providers/test_cassettes.py"
LLAMA = Path("../shared/llamacpp")


def works(python: str) -> bool:
    """Whether this Python is really there: a version manager may offer a name behind which there is nothing."""
    try:
        found = subprocess.run([python, "-c", "import sys, venv"], capture_output=True, check=False)
    except OSError:
        return False
    return found.returncode == 0


def kept(version: str) -> Iterator[Path]:
    """The folders in which version managers keep this Python, though it may not be on PATH: the newest first."""
    data = Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local/share"))
    managers = (
        (os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), f"versions/{version}.*/bin"),
        (os.environ.get("ASDF_DATA_DIR", Path.home() / ".asdf"), f"installs/python/{version}.*/bin"),
        (os.environ.get("MISE_DATA_DIR", data / "mise"), f"installs/python/{version}.*/bin"),
        (os.environ.get("UV_PYTHON_INSTALL_DIR", data / "uv/python"), f"cpython-{version}.*/bin"),
    )
    for root, pattern in managers:
        yield from sorted(Path(root).glob(pattern), key=patch_level, reverse=True)


def patch_level(folder: Path) -> int:
    """The last number of the version in the name of a folder like `versions/3.12.10/bin`."""
    found = re.search(r"\d+\.\d+\.(\d+)", folder.parent.name)
    return int(found[1]) if found else -1


def found_pythons() -> list[str]:
    """The Pythons that pyproject.toml names, as far as they are here: on PATH, or where a version manager keeps them.

    The latter are put on PATH, behind the Python that runs nox. That one is used in any case where it is named.
    """
    own = f"{sys.version_info[0]}.{sys.version_info[1]}"
    found, folders = [], [str(Path(sys.executable).parent)]
    for version in nox.project.python_versions(PROJECT):
        name = f"python{version}"
        if version != own and not works(name):
            folder = next((folder for folder in kept(version) if works(str(folder / name))), None)
            if folder is None:
                continue
            folders.append(str(folder))
        found.append(version)
    os.environ["PATH"] = os.pathsep.join([*folders, os.environ.get("PATH", os.defpath)])
    return found or [own]


PYTHONS = found_pythons()


def locked(name: str) -> str:
    """The lines of LOCKED that a session needs."""
    entries = re.split(r"^(?=[a-zA-Z0-9])", LOCKED.read_text(), flags=re.MULTILINE)
    chosen = [entry for entry in entries if name in re.findall(r"[a-z]+", entry.rpartition("# for ")[2])]
    return "".join(chosen)


def install(session: nox.Session, name: str, *, project: bool = True) -> None:
    """What the session called *name* needs, exactly as it is locked; then the project, built by what is locked too."""
    chosen = Path(session.create_tmp()).resolve() / "locked.txt"
    chosen.write_text(locked(name))
    session.install("--require-hashes", "-r", str(chosen))
    if project:
        session.install("--no-deps", "--no-build-isolation", "-e", ".")


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff, as a linter and as a formatter."""
    install(session, "lint", project=False)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Mypy, strict, over the package, its tests and this file."""
    install(session, "types")
    session.run("mypy")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """All tests, on asyncio and trio, with branch coverage on the first Python. Arguments go to pytest."""
    install(session, "tests")
    if session.python != PYTHONS[0]:
        session.run("pytest", *WORKERS, *session.posargs)
        return
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", *WORKERS, *session.posargs)
    session.run("coverage", "combine")
    if not session.posargs:
        session.run("coverage", "report")


@nox.session
def package(session: nox.Session) -> None:
    """Build the wheel, check its metadata, and run what needs all of it against it, with no `src` on the path."""
    dist = Path(session.create_tmp()).resolve() / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    install(session, "package", project=False)
    session.run("python", "-m", "build", "--no-isolation", "--outdir", str(dist), silent=True)
    session.run("twine", "check", "--strict", *map(str, dist.iterdir()))
    session.install("--force-reinstall", "--no-deps", *map(str, dist.glob("*.whl")))
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
    session.run("pytest", "-q", *WORKERS, *WHEEL)


@nox.session
def lock(session: nox.Session) -> None:
    """Make the locked versions again: the newest there are today, for every Python that pyproject.toml allows."""
    if LOCKED.is_file():
        install(session, "lock", project=False)
    else:
        session.install(*NEEDED["lock"])
    folder = Path(session.create_tmp()).resolve()
    python = PROJECT["project"]["requires-python"].removeprefix(">=")
    options = ("--universal", "--python-version", python, "--no-header", "--no-annotate", "--upgrade", "--quiet")

    def resolved(name: str, needed: Sequence[str], *more: str) -> str:
        asked, answer = folder / f"{name}.in", folder / f"{name}.txt"
        asked.write_text("\n".join(needed))
        answer.unlink(missing_ok=True)
        session.run("uv", "pip", "compile", *options, *more, "--output-file", str(answer), str(asked))
        return answer.read_text()

    everything = resolved("all", [each for needed in NEEDED.values() for each in needed], "--generate-hashes")
    users: dict[str, list[str]] = {}
    for name, needed in NEEDED.items():
        for line in resolved(name, needed, "--constraints", str(folder / "all.txt")).splitlines():
            users.setdefault(line.partition("==")[0], []).append(name)
    entries = re.split(r"^(?=[a-zA-Z0-9])", everything, flags=re.MULTILINE)[1:]
    marked = [f"{entry.rstrip()}\n    # for {', '.join(users[entry.partition('==')[0]])}\n" for entry in entries]
    LOCKED.write_text(ABOUT_LOCKED + "".join(marked))


def lowest_of(requirement: str) -> str:
    """The lowest version that a requirement allows: `msgspec==0.22` for `msgspec>=0.22`."""
    return requirement.replace(">=", "==")


def test_others(session: nox.Session) -> None:
    """The tests and the types on what is installed, whatever that is."""
    session.run("python", "-m", "pip", "list")
    session.run("pytest", *WORKERS, *session.posargs)
    session.run("mypy")


@nox.session(python=PYTHONS[-1])
def newest(session: nox.Session) -> None:
    """Tests and types on the newest releases of everything there are today. Arguments go to pytest."""
    session.install("--upgrade", *GROUPS["types"], *RUNTIME, *EXTRAS)
    session.install("-e", ".")
    test_others(session)


@nox.session(python=PYTHONS[0])
def lowest(session: nox.Session) -> None:
    """Tests and types on the lowest versions that pyproject.toml allows. Arguments go to pytest."""
    session.install(*map(lowest_of, {*GROUPS["types"], *RUNTIME, *EXTRAS, *BACKEND}))
    session.install("--no-deps", "--no-build-isolation", "-e", ".")
    test_others(session)


@nox.session
def bench(session: nox.Session) -> None:
    """Print our figures against the SDKs', measured in one run: `nox -s bench -- [ROWS...] [--peers] [--write]`.

    `nox -s bench -- load` prints what a thousand streams at once take, with what follows as its arguments.
    """
    install(session, "bench")
    if session.posargs[:1] == ["load"]:
        session.run("python", "tests/support/streams_load.py", *session.posargs[1:])
        return
    if "--peers" in session.posargs:
        # Not locked: nothing else needs them, and they may want other versions of what is.
        session.install("litellm>=1.110", "pydantic-ai-slim[anthropic,openai]>=2.68")
    session.run("python", "tests/bench", *session.posargs)


@nox.session
def record(session: nox.Session) -> None:
    """Make the cassettes again: `nox -s record`, or of one server: `nox -s record -- --server llama.cpp`.

    Without an argument: from the emulator, from llama.cpp's server (built first where it is not, which takes some
    minutes; PENSTOCK_LLAMACPP names a folder with one), and from each real API whose key is set. All of a server's
    wires are recorded.
    """
    install(session, "tests")
    keys = {"anthropic": "ANTHROPIC_API_KEY", "openai": "OPENAI_API_KEY"}
    wanted = [name for name in session.posargs if name != "--server"]
    for source in wanted or ["emulator", "llama.cpp", *(name for name in keys if os.environ.get(keys[name]))]:
        if source == "llama.cpp":
            record_llama(session)
        elif source in keys and not os.environ.get(keys[source]):
            session.error(f"{keys[source]} is not set: the real API cannot be recorded without a key")
        else:
            record_from(session, source)
    session.run("pytest", "-q", CASSETTES, "tests/testing/test_scrubbing.py")


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
    install(session, "docs")
    shutil.rmtree("docs", ignore_errors=True)
    session.run("python", "-W", "error", "tests/support/reference.py", "docs")


@nox.session
def mutate(session: nox.Session) -> None:
    """Read a million broken recordings: nothing may come out but chunks and ProviderErrors. Arguments: COUNT, SEED."""
    session.install(*GROUPS["tests"], ".")
    session.run("python", "tests/mutate.py", *session.posargs)


@nox.session
def prices(session: nox.Session) -> None:
    """Compare what all recorded answers cost with what genai-prices says: a difference without a reason is an error."""
    session.install(*GROUPS["tests"], ".")
    session.run("python", "tests/compare_prices.py")


@nox.session(python=PYTHONS[0])
def ray(session: nox.Session) -> None:
    """Run the guide's programs for Ray Data and DBOS, kill them on their way, and count. Arguments: PROMPTS."""
    session.install("dbos>=3.4", "pytest>=9", "ray[data]>=2.60", ".")  # not locked: nothing else needs them
    session.run("python", "tests/ray_recipe.py", *session.posargs)
