"""The program of the page on durable runs: killed as a process is killed, and started again until it is over."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from anyio.from_thread import start_blocking_portal

import stepping
import tables
from examples import blocks, run
from penstock import Message, ToolResultPart, load_messages
from penstock.testing import Emulator, Request, ServerReply, anthropic_message

NOTES = [("a", "milk"), ("b", "eggs"), ("c", "salt")]
(PROGRAM,) = [
    block for block in blocks((tables.GUIDE / "durable-runs.md").read_text("utf-8")) if block.file == "agent.py"
]
POINTS = (12, 13, 10_000)
"""The steps of the event loop at which a process ends, each in the one that was started after the one before."""


def answers(request: Request) -> int:
    """How many the history has that it brings."""
    return sum(message["role"] == "assistant" for message in msgspec.json.decode(request.body)["messages"])


def answer(request: Request) -> ServerReply:
    """Three notes, one more, and the end."""
    turn = answers(request)
    notes = (NOTES, [("d", "salt")], [])[turn]
    calls = [{"type": "tool_use", "id": id_, "name": "note", "input": {"text": text}} for id_, text in notes]
    return ServerReply(
        anthropic_message(
            {"type": "text", "text": f"Turn {turn}. "}, *calls, stop_reason="tool_use" if calls else "end_turn"
        )
    )


def test_the_program_goes_on_wherever_it_was_killed(tmp_path: Path) -> None:
    """No answer that was saved is asked for again, each note is there once, and the end is that of a run in peace."""
    (tmp_path / "agent.py").write_text(PROGRAM.code, "utf-8")
    saved = [0]
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(Emulator(answer)) as emulator:
        environment = {**os.environ, "ANTHROPIC_API_KEY": "sk-none", "ANTHROPIC_BASE_URL": emulator.url}
        for steps in POINTS:
            before = len(emulator.requests)
            command = [sys.executable, stepping.__file__, str(steps), "agent.py", "shopping", "Note four things."]
            ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
            assert ended.returncode in (0, 9), ended.stderr
            assert all(answers(request) >= saved[-1] for request in emulator.requests[before:])
            history, is_over, notes = _kept(tmp_path / "agent.db")
            saved.append(sum(message.role == "assistant" for message in history))
    assert (ended.returncode, is_over, saved[-1]) == (0, True, 3)
    assert sorted(notes) == ["eggs", "milk", "salt", "salt"]
    results = [part.id for message in history for part in message.parts if isinstance(part, ToolResultPart)]
    assert results == ["a", "b", "c", "d"]


def payment(request: Request) -> ServerReply:
    """A bill that is to be paid, and the end."""
    is_first = answers(request) == 0
    call = {"type": "tool_use", "id": "p", "name": "pay", "input": {"euros": 80}}
    text = {"type": "text", "text": "Done."}
    return ServerReply(
        anthropic_message(call if is_first else text, stop_reason="tool_use" if is_first else "end_turn")
    )


def test_the_program_waits_for_a_person_and_pays_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It asks the model nothing until there is an answer; a payment that was cut off is not made again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["agent.py", "bill", "Pay the bill."])
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(Emulator(payment)) as emulator:
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-none")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", emulator.url)
        for _ in range(2):
            _start(monkeypatch)
            assert len(emulator.requests) == 1
        with closing(sqlite3.connect("agent.db")) as database, database:
            assert database.execute("SELECT arguments, answer FROM decisions").fetchall() == [('{"euros":80}', None)]
            database.execute("UPDATE decisions SET answer = 'yes'")
            [waiting] = database.execute("SELECT * FROM runs").fetchall()
        _start(monkeypatch)
        assert _paid() == "paid 80"
        with closing(sqlite3.connect("agent.db")) as database, database:  # as if it had died while it paid
            database.execute("REPLACE INTO runs VALUES (?, ?, ?)", waiting)
            database.execute("UPDATE payments SET state = 'begun'")
        _start(monkeypatch)
        assert _paid().startswith("It may be paid.")
    assert capsys.readouterr().out == "Done.Done."


def _start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program, in this process."""
    run(PROGRAM, "durable-runs.md", monkeypatch)
    sys.modules["__main__"].database.close()


def _paid() -> str:
    """What the tool has said, of a run that is over."""
    history, is_over, _ = _kept(Path("agent.db"))
    [result] = [part for message in history for part in message.parts if isinstance(part, ToolResultPart)]
    assert is_over
    return str(result.content)


def _kept(database: Path) -> tuple[list[Message], bool, list[str]]:
    if not database.exists():
        return [], False, []
    with closing(sqlite3.connect(database)) as connection:
        runs = connection.execute("SELECT history, is_over FROM runs").fetchall()
        notes = [text for (text,) in connection.execute("SELECT text FROM notes")]
    history, is_over = runs[0] if runs else (None, False)
    return load_messages(history) if history else [], bool(is_over), notes
