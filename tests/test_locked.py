"""The file of locked versions holds all that pyproject.toml asks for, so that nobody forgets `nox -s lock`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from places import ROOT

LINES = (ROOT / "tests" / "constraints.txt").read_text().splitlines()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def asked() -> Iterator[str]:
    yield from PROJECT["build-system"]["requires"]
    yield from PROJECT["project"]["dependencies"]
    for group in (*PROJECT["project"]["optional-dependencies"].values(), *PROJECT["dependency-groups"].values()):
        yield from (each for each in group if isinstance(each, str))


def locked() -> dict[str, list[str]]:
    """The versions of each package: more than one where Pythons differ."""
    found: dict[str, list[str]] = {}
    for line in LINES:
        if "==" in line:
            requirement = Requirement(line.rstrip("\\ "))
            (exact,) = requirement.specifier
            assert exact.operator == "==", line
            found.setdefault(canonicalize_name(requirement.name), []).append(exact.version)
    return found


@pytest.mark.parametrize("requirement", [pytest.param(each, id=each) for each in asked()])
def test_what_is_asked_for_is_locked(requirement: str) -> None:
    """In a version that is allowed."""
    wanted = Requirement(requirement)
    versions = locked()[canonicalize_name(wanted.name)]
    assert all(wanted.specifier.contains(version) for version in versions)


def test_each_has_its_hashes_and_its_sessions() -> None:
    """And nothing says where this machine gets its packages from."""
    kinds = {
        "version": r"[\w.-]+==\S+( ; .*)? \\",
        "hash": r"    --hash=sha256:[0-9a-f]{64}( \\)?",
        "users": r"    # for [a-z, ]+",
    }
    order = ""
    for line in LINES[2:]:
        (kind,) = [kind for kind, form in kinds.items() if re.fullmatch(form, line)]
        order += kind[0]
    assert re.fullmatch("(vh+u)+", order)
    assert all(line.startswith("# ") for line in LINES[:2])


def test_the_lowest_version_of_each_is_said() -> None:
    """By one number, which `nox -s lowest` installs."""
    for requirement in asked():
        assert re.fullmatch(r"[\w.-]+(\[[a-z]+\])?>=[\d.]+", requirement), requirement
