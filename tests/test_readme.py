"""What the README says is true: its code runs, its commands are the ones that are tested, its JSON is read."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import penstock
from penstock import load_models
from penstock.testing import DemoModel, Emulator
from penstock.wire.vendors import DIALECTS
from places import ROOT

README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.mark.anyio
@pytest.mark.parametrize("number", range(len(blocks("python"))))
async def test_the_code_runs(number: int, monkeypatch: pytest.MonkeyPatch, anyio_backend: str) -> None:
    """Each example, as it stands, against the emulator."""
    import anyio

    if anyio_backend != "asyncio":
        pytest.skip("the examples choose their loop themselves")
    async with Emulator(DemoModel()) as emulator:
        environment = {"ANTHROPIC_API_KEY": "sk-none", "ANTHROPIC_BASE_URL": emulator.url, "PATH": ""}
        environment |= {"OPENAI_API_KEY": "sk-none", "OPENAI_BASE_URL": f"{emulator.url}/v1"}
        command = [sys.executable, "-W", "error", "-c", blocks("python")[number]]
        done = await anyio.run_process(command, env=environment, check=False)
    assert (done.returncode, done.stderr.decode()) == (0, "")


@pytest.mark.parametrize(
    ("number", "aliases"), [(0, {"main"}), (1, {"sonnet", "mine", "ours"})], ids=["middleware", "models"]
)
def test_models_json_is_read(number: int, aliases: set[str], tmp_path: Path) -> None:
    """The example files are good ones."""
    path = tmp_path / "models.json"
    path.write_text(blocks("json")[number])
    assert load_models().source == path
    assert set(load_models().models) == aliases
    assert len(blocks("json")) == 2


def test_the_test_of_a_loop_is_green(tmp_path: Path) -> None:
    """As it stands, with the fixture that the package brings, on some of the faults."""
    (example,) = [block for block in blocks("python") if "penstock_fault)" in block]
    (tmp_path / "test_my_loop.py").write_text(example)
    (tmp_path / "pytest.ini").write_text("[pytest]\nanyio_mode = auto\naddopts = -p no:cacheprovider\n")
    command = [sys.executable, "-m", "pytest", "-q", "-k", "asyncio and (401 or CRLF or clean)"]
    if not any(entry.name == "penstock" for entry in entry_points(group="pytest11")):
        command += ["-p", "penstock.testing.pytest_plugin"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout
    assert re.search(r"[1-9]\d* passed", done.stdout), done.stdout


def test_ci_runs_the_readmes_test_command() -> None:
    """The second command of the README and nothing else."""
    _, test = blocks("sh")
    assert test.strip() in (ROOT / ".ci" / "run").read_text()


def test_the_first_command_prints_an_answer_and_a_cost(tmp_path: Path) -> None:
    """As a newcomer sees it, once it is installed."""
    first, _ = blocks("sh")
    _, command = first.strip().split(" && ")
    program, *arguments = command.replace('"', "").split(" ", 2)
    assert program == "penstock"
    done = subprocess.run(
        [sys.executable, "-m", "penstock", *arguments], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert "You said: What is a penstock?" in done.stdout
    assert re.search(r"\[\d+ in, \d+ out tokens; \$0\.\d+; first text \d\.\d+ s; \d\.\d+ s\]", done.stderr)


def test_the_tables_name_what_there_is() -> None:
    """Every chunk and every error of the package stands in the README."""
    for name in dir(penstock):
        if name.endswith(("Chunk", "Error")) and name != "Chunk":
            assert f"`{name}`" in README or f"`{name}`s" in README, name


def test_the_table_of_vendors_is_that_of_the_rows() -> None:
    """Name, key and wires of each."""
    for row in DIALECTS.values():
        (line,) = [line for line in README.splitlines() if line.startswith("| ") and f"`{row.name}`" in line]
        assert ", ".join(row.wires) in line
        assert "none is needed" in line or all(f"`{name}`" in line for name in row.key_variables)
        assert ("none is needed" in line) is not row.needs_key
