"""What `penstock chat` keeps: every conversation in a file of its own, of which damage costs only the line it hits."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock import Message, TextPart, ToolCallPart
from penstock.cli.main import main
from penstock.cli.sessions import Session, Typed, title_of

TURN = (
    '{"at":%d,"model":"demo","system":"s","history":{"version":2,"messages":['
    '{"role":"user","content":"q%d"},{"role":"assistant","content":"a%d"}]}}'
)
LINES = [TURN % (2 * number, number, number) for number in range(3)]
ODD = "a\u2028b\x85"


def kept(text: bytes) -> Session:
    session = Session.new()
    session.path.parent.mkdir(parents=True)
    session.path.write_bytes(text)
    return session


def texts(session: Session) -> list[object]:
    return [message.content for message in session.load().messages]


@pytest.mark.parametrize(
    ("spoil", "left", "damaged"),
    [
        pytest.param(lambda lines: lines, "q0 a0 q1 a1 q2 a2", [], id="a whole one"),
        pytest.param(lambda lines: [lines[0], lines[1][:70], lines[2]], "q0 a0 q2 a2", [2], id="a cut line"),
        pytest.param(lambda lines: [*lines[:2], lines[2][:90]], "q0 a0 q1 a1", [3], id="a broken tail"),
        pytest.param(lambda lines: [lines[0], b"\0" * 4096, lines[2]], "q0 a0 q2 a2", [2], id="a run of zero bytes"),
        pytest.param(lambda lines: [b"\xff\xfe", b"{}", *lines], "q0 a0 q1 a1 q2 a2", [1, 2], id="another's lines"),
        pytest.param(lambda lines: [b"[" * 100_000, lines[0]], "q0 a0", [1], id="a line that is too deep"),
        pytest.param(lambda lines: [lines[0].replace(b"a0", ODD.encode())], f"q0 {ODD}", [], id="only \\n ends a line"),
        pytest.param(lambda lines: [*lines, lines[0]], "q0 a0", [], id="a turn that takes others back"),
        pytest.param(lambda lines: [], "", [], id="an empty file"),
    ],
)  # fmt: skip
def test_what_is_damaged_costs_only_itself(
    spoil: Callable[[list[bytes]], list[bytes]], left: str, damaged: list[int]
) -> None:
    """The rest is there, the file as it was is kept aside, and the next turn can be read again."""
    data = b"\n".join(spoil([line.encode() for line in LINES]))
    session = kept(data)
    found = session.load()
    assert (" ".join(str(message.content) for message in found.messages), found.damaged) == (left, damaged)
    if damaged:
        aside = session.set_aside(found.damaged)
        assert aside.read_bytes() == data
        assert stat.S_IMODE(aside.stat().st_mode) == stat.S_IMODE(session.path.stat().st_mode) == 0o600
    session.append(len(found.messages), [Message("user", "more"), Message("assistant", "said")], model="m", system="")
    again = session.load()
    assert again.damaged == []
    assert " ".join(str(message.content) for message in again.messages) == f"{left} more said".strip()
    assert again.model == "m"


def test_what_was_typed_is_remembered_within_bounds(tmp_path: Path) -> None:
    """The newest thousand, none that was pasted by the page, and nothing of a line that is damaged."""
    typed = Typed.kept()
    for number in range(2_500):
        typed.add(f"prompt {number}\nof two lines")
    typed.add("x" * 10_001)
    typed.add("  ")
    path = Path(f"{tmp_path}-data") / "penstock" / "typed.jsonl"
    path.write_bytes(path.read_bytes() + b"{broken")
    typed.add("last")
    found = typed.load()
    assert (len(found), found[0], found[-1]) == (1_000, "prompt 1501\nof two lines", "last")
    assert len(path.read_bytes().split(b"\n")) == 1_001
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_title_is_the_first_thing_that_was_asked() -> None:
    """In one short line."""
    parts = [TextPart("a\nlong  question " * 9)]
    call = ToolCallPart(id="1", name="f")
    assert (
        title_of([Message("assistant", [call]), Message("user", parts)])
        == "a long question a long question a long q..."
    )
    assert title_of([]) == ""


def test_a_session_goes_on(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """It says which, with the model and the system prompt that it had, unless others are given."""
    assert main(["chat", "--continue", "-m", "demo/chat", "-s", "Be brief.", "One"]) == 0
    assert "(no session is kept here: " in capsys.readouterr().err
    assert main(["chat", "--continue", "Two"]) == 0
    (file,) = (Path(f"{tmp_path}-data") / "penstock" / "sessions").iterdir()
    assert f"(going on with {file.stem}, 2 messages: One)" in capsys.readouterr().err
    session = Session.last()
    assert session is not None
    found = session.load()
    assert (found.model, found.system) == ("demo/chat", "Be brief.")
    assert [message.content for message in found.messages][::2] == ["One", "Two"]
    assert main(["chat", "--continue", "--no-save", "-m", "demo", "-s", "", "Three"]) == 0
    assert "4 messages" in capsys.readouterr().err
    assert session.load() == found


def test_a_damaged_session_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    """The line that is damaged, and where all of it is kept."""
    session = kept(f"{LINES[0]}\n{LINES[1][:50]}\n".encode())
    assert main(["chat", "--continue", "Hi"]) == 0
    said = capsys.readouterr().err
    assert (
        f"{session.path.name} is damaged in line 2; all of it is kept as {session.path.with_suffix('.damaged')}" in said
    )
    assert main(["chat", "--continue", "Hi again"]) == 0
    assert "damaged" not in capsys.readouterr().err
    assert texts(session)[::2] == ["q0", "Hi", "Hi again"]


def test_a_script_leaves_nothing_behind(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Where nobody sits at a terminal, nobody goes on."""
    assert main(["chat", "Hi"]) == 0
    assert not Path(f"{tmp_path}-data").exists()


def test_a_folder_that_cannot_be_written_costs_no_answer(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said, and the answer comes."""
    (tmp_path / "penstock").write_text("a file")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert main(["chat", "--continue", "Hi"]) == 0
    shown = capsys.readouterr()
    assert "You said: Hi" in shown.out
    assert "(this session is not kept any more: " in shown.err


def test_a_session_that_cannot_be_read_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is sent: it would go on without what was said."""
    Session.new().path.mkdir(parents=True)
    assert main(["chat", "--continue", "Hi"]) == 2
    assert capsys.readouterr().err.startswith("penstock: the last session cannot be read: [Errno 21] Is a directory")
