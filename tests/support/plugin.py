"""Projects of users, in which pytest runs in a process of its own."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest

# Where the package is installed pytest has found the plugin by itself, and does not take it twice.
PLUGIN = "penstock.testing.pytest_plugin"
INSTALLED = any(found.value == PLUGIN for found in entry_points(group="pytest11", name="penstock"))
LOAD = [] if INSTALLED else ["-p", PLUGIN]


def project(pytester: pytest.Pytester, test: str, *, conftest: str = "", ini: str = "") -> None:
    """A project of one test file, with warnings as errors."""
    pytester.makeini(f"[pytest]\nfilterwarnings = error\n{ini}")
    pytester.makeconftest(conftest)
    pytester.makepyfile(test)


def run_project(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """In a process of its own: pytester forgets what is imported meanwhile, and no SDK is made to be imported twice."""
    return pytester.runpytest_subprocess(*LOAD, "--strict-markers", *arguments)
