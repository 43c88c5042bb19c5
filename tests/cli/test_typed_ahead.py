"""What is typed while an answer comes."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from select import select

import anyio
import pytest

from penstock.cli import typed_ahead
from penstock.cli.typed_ahead import TypedAhead

pytest.importorskip("pty")


class Typing:
    """A composer that gives what stands in it already, and remembers."""

    def __init__(self) -> None:
        self.remembered: list[str] = []

    async def read(self, text: str = "") -> str | None:
        return f"[{text}]"

    def remember(self, text: str) -> None:
        self.remembered.append(text)


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Where keys are pressed: each `send` comes at once and by itself."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs, theirs.makefile("r", encoding="utf-8") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr(typed_ahead, "arrived", lambda handle: theirs.recv(65_536))
        yield ours


@pytest.mark.parametrize(
    ("pressed", "prompts", "begun"),
    [
        pytest.param(["/help\r", "/cost\r"], ["/help", "/cost"], "", id="lines are prompts of their own"),
        pytest.param(["a", "b", "\r", "c", "\r"], ["ab", "c"], "", id="typed letter by letter"),
        pytest.param(["one\rtwo\r"], ["one\ntwo"], "", id="what is pasted is one"),
        pytest.param(["one\r\ntwo\r\n"], ["one\ntwo"], "", id="as Windows ends lines"),
        pytest.param(["one\r", "tw"], ["one"], "tw", id="what is not ended"),
        pytest.param(["ab\x7fc\r", "wrong\x15right\r"], ["ac", "right"], "", id="what was taken back"),
        pytest.param(["a\x1b[A\x1b[Db\r"], ["ab"], "", id="arrow keys"),
        pytest.param(["one\r", "\x04"], ["one", None], "", id="Ctrl-D"),
        pytest.param(["a\x04\r"], ["a"], "", id="Ctrl-D in a line"),
        pytest.param(["\r", "a\r"], ["", "a"], "", id="Enter alone"),
    ],
)
def test_what_is_typed_comes_next(
    pressed: list[str], prompts: list[str | None], begun: str, keys: socket.socket, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is shown when its turn has come, and remembered."""
    composer = Typing()
    ahead = TypedAhead(composer)
    with ahead.listening():
        for each in pressed:
            keys.send(each.encode())
        while select([sys.stdin], [], [], 0)[0]:
            pass

    async def read() -> list[str | None]:
        return [await ahead.read() for _ in range(len(prompts) + 1)]

    assert anyio.run(read) == [*prompts, f"[{begun}]"]
    said = [text for text in prompts if text is not None]
    assert composer.remembered == said
    assert capsys.readouterr().err == "".join(f"> {text}\n" for text in said).replace("one\ntwo", "one\n. two")


def test_what_waits_can_be_dropped(keys: socket.socket) -> None:
    """It is told whether there was any."""
    ahead = TypedAhead(Typing())
    assert not ahead.forget()
    with ahead.listening():
        keys.send(b"one\rtwo")
        while select([sys.stdin], [], [], 0)[0]:
            pass
    assert ahead.forget()
    assert not ahead.forget()
    assert anyio.run(ahead.read) == "[]"
