"""Projects of users, in which pytest runs."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from importlib.metadata import entry_points

import pytest

import penstock

# Where the package is installed pytest has found the plugin by itself, and does not take it twice.
PLUGIN = "penstock.testing.pytest_plugin"
INSTALLED = any(found.value == PLUGIN for found in entry_points(group="pytest11", name="penstock"))
LOAD = [] if INSTALLED else ["-p", PLUGIN]


def project(pytester: pytest.Pytester, test: str, *, conftest: str = "", ini: str = "") -> None:
    """A project of one test file, with warnings as errors."""
    pytester.makeini(f"[pytest]\nfilterwarnings = error\n{ini}")
    pytester.makeconftest(conftest)
    pytester.makepyfile(test)


def import_all() -> None:
    """pytester forgets what is imported while a test runs, and neither SDKs nor classes of ours may be there twice."""
    for module in ("anthropic", "httpcore2", "openai", "trio", "vcr.patch", "vcr.stubs.httpx_stubs"):
        import_module(module)
    for found in pkgutil.walk_packages(penstock.__path__, "penstock."):
        if not found.name.endswith("__main__"):
            import_module(found.name)


def run_project(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """In this process, in a test that uses `all_imported`: a new one would take seconds to import the same."""
    return pytester.runpytest_inprocess(*LOAD, "--strict-markers", *arguments)


def run_bare_project(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """In a process of its own, where nothing has been imported."""
    return pytester.runpytest_subprocess(*LOAD, "--strict-markers", *arguments)
