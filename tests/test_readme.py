"""What the README says is true: its code runs, its commands are the ones that are tested, its contents are right."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.cli.guide import topics
from places import ROOT

README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_the_code_runs(number: int, tmp_path: Path) -> None:
    """Each example as a program, as it stands, in an empty folder and without a key."""
    command = [sys.executable, "-W", "error", "-c", blocks("python")[number]]
    environment = {"PATH": "", "HOME": str(tmp_path / "home")}  # where the agent has its ledger
    if "PYTHONPATH" in os.environ:
        environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
    for folder in (tmp_path / "home", tmp_path / "work"):
        folder.mkdir()
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path / "work", check=False)
    assert (done.returncode, done.stderr) == (0, "")


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
    assert re.search(
        r"\[\d+ in, \d+ out tokens; would have cost \$0\.\d+; first text \d\.\d+ s; \d\.\d+ s\]", done.stderr
    )


def test_its_contents_are_those_of_the_guide() -> None:
    """The pages in the index's order and words, and links that lead somewhere in a checkout."""
    pages = re.findall(r"^- \[([\w-]+)\]\(src/penstock/guide/\1\.md\): (.+)$", README, re.MULTILINE)
    assert dict(pages) == topics()
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", README):
        assert link.startswith("src/penstock/guide/"), link
        assert link.rpartition("/")[2].removesuffix(".md") in topics(), link


def test_it_is_short() -> None:
    """What is longer belongs into the guide."""
    assert README.count("\n") <= 250
