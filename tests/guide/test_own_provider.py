"""The package of the page on a provider of one's own: checked, built, installed and used as the page says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

import tables
from examples import blocks
from penstock.testing import CONTRACT
from places import unmeasured

PAGE: Final = blocks((tables.GUIDE / "your-own-provider.md").read_text("utf-8"))
FILES: Final = {block.file: block.code for block in PAGE if block.file is not None}
NAMES: Final = {"toml": "pyproject.toml", "json": "models.json"}
# What the user does then: the page's program, and a look at what is there.
USE: Final = """
import runpy, sys
from penstock.cli.main import main
runpy.run_path("ask.py", run_name="__main__")
sys.exit(main(["models"]))
"""


def python(*arguments: str, folder: Path, **environment: str) -> str:
    """What Python prints there."""
    found = {**unmeasured(), "PENSTOCK_MODELS": "models.json", **environment}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=found, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stdout + done.stderr
    return done.stdout


def test_the_package_is_built_installed_and_used(tmp_path: Path) -> None:
    """From the page's files alone, with no index."""
    for block in PAGE:
        name = block.file or NAMES.get(block.language)
        if name is not None:
            (tmp_path / name).write_text(block.code)
    alone = ("--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--no-cache-dir")
    python("-m", "pip", "install", "--quiet", *alone, "--target", "lib", ".", folder=tmp_path)
    for name in FILES.keys() - {"ask.py"}:
        (tmp_path / name).unlink()  # so that what is imported is what is installed
    path = os.pathsep.join(filter(None, (str(tmp_path / "lib"), os.environ.get("PYTHONPATH"))))
    said = python("-c", USE, folder=tmp_path, PYTHONPATH=path).splitlines()
    assert said[0] == "From 9 to 5. 0.000012"
    assert said[2].split() == ["*", "shop", "faq", "(penstock-faq)", "-", "1", "2", "-"]


@pytest.mark.anyio
@pytest.mark.parametrize("point", CONTRACT)
async def test_it_keeps_the_contract(point: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the page's own test."""
    for name in ("penstock_faq", "test_penstock_faq"):
        module = ModuleType(name)
        monkeypatch.setitem(sys.modules, name, module)
        exec(FILES[f"{name}.py"], module.__dict__)
    await module.test_contract(point)
