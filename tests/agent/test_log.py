"""What the program's owner is told: by whom it is heard."""

from __future__ import annotations

import logging

import pytest

from penstock.agent.log import warn
from penstock.agent.tools import report_failure


def test_a_terminal_shows_lines_and_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no logging is set up, before a tool has failed and after it."""
    shown: list[str] = []

    class Terminal(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            shown.append(self.format(record))

    monkeypatch.setattr(logging, "lastResort", Terminal())
    monkeypatch.setattr(
        logging.getLogger(), "handlers", []
    )  # here and in no fixture, as pytest puts its own there anew
    monkeypatch.setattr(logging.getLogger("penstock"), "handlers", [])
    warn("%d lines were skipped", 1)
    assert report_failure("search", ValueError("no network")) == "ValueError: no network"
    warn("%d lines were skipped", 2)
    assert shown == ["1 lines were skipped", "2 lines were skipped"]


def test_who_has_set_up_logging_gets_the_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """With the line that it belongs to."""
    report_failure("search", ValueError("no network"))
    (record,) = caplog.records
    assert (record.getMessage(), record.levelname, record.exc_info is not None) == (
        "tool `search` failed",
        "WARNING",
        True,
    )
