"""A terminal gets printable text, line ends and tabs, whoever wrote the rest; a pipe gets all of it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import anyio
import pytest

from penstock.cli.terminal import PrintableStream, json_line, printable, safe_terminal
from penstock.testing import Emulator, ServerReply, anthropic_error, anthropic_message

pytest.importorskip("pty")
import pty

from screens import OUR_OWN

ESCAPES = {
    "a window title": "\x1b]0;owned\x07",
    "the clipboard": "\x1b]52;c;b3duZWQ=\x07",
    "a colour": "\x1b[31m",
    "one byte for two": "\x9b31m",
    "a bell": "\a",
    "back over what was said": "\b\b\b",
    "back to the beginning of the line": "\rY",
    "deleted": "\x7f",
    "a direction": "\u202egnp.exe",
    "an invisible mark": "\ufeff\u2060",
    "hidden tags": "\U000e0041\U000e007f",
    "half of a character": "\ud800",
    "a blank that cannot be seen": "a\u200b\u3164b",
}
PLAIN = {
    "letters": "Hello, wörld!",
    "lines and tabs": "a\tb\n\n  c\n",
    "Arabic and Hebrew with their marks": "\u200fשלום\u200e سلام\u200cها",
    "a family of emoji": "👨\u200d👩\u200d👧\ufe0f",
    "spaces of all widths": "a\u00a0b\u202fc\u3000d",
    "private letters": "\ue0b0",
}


@pytest.mark.parametrize("text", ESCAPES.values(), ids=ESCAPES)
def test_what_a_terminal_would_obey_is_replaced(text: str) -> None:
    """Wherever it is cut, nothing of it gets through."""
    for size in range(1, len(text) + 1):
        shown = "".join(printable(text[place : place + size]) for place in range(0, len(text), size))
        assert not [character for character in shown if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl")]
        assert not {"\u200b", "\u3164"} & set(shown)
        assert "\ufffd" in shown


@pytest.mark.parametrize("text", PLAIN.values(), ids=PLAIN)
def test_what_can_be_read_is_left_alone(text: str) -> None:
    """In every script."""
    assert printable(text) == text


def test_line_ends_of_other_systems_are_line_ends() -> None:
    """Two characters are one."""
    assert printable("a\r\nb") == "a\nb"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_end_in_two_pieces_is_one() -> None:
    """As a stream of text cuts it."""
    stream = PrintableStream(out := io.StringIO())
    for piece in ("a\r", "\nb\r", "c\r\n"):
        assert stream.write(piece) == len(piece)
    assert out.getvalue() == "a\nb\ufffdc\n"


@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_a_stream_that_the_shell_has_closed_is_no_error(closed: str) -> None:
    """There is nothing to write to."""
    command = f"{sys.executable} -m penstock models {closed}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


def test_an_encoding_that_cannot_write_it_is_no_error() -> None:
    """As a terminal of another age, and an alias that is no Unicode."""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "penstock", "chat"]
    alias = os.fsdecode(b"x\x9b31m\xff")
    done = subprocess.run([*command, "-m", alias, "Hi"], capture_output=True, env=environment, check=False)
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
    done = subprocess.run([*command, "é"], capture_output=True, env=environment, check=False)
    assert (done.returncode, b"\\xe9" in done.stdout) == (0, True)


def test_everything_that_is_written_goes_through_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard output and standard error, as far as each is a terminal; and afterwards all is as before."""
    out, err = Terminal(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    with safe_terminal():
        print("a\x1b[1mb")
        sys.stdout.writelines(["\x07", "c\n"])
        print("d\x1b", file=sys.stderr)
        assert isinstance(sys.stdout, PrintableStream)
        assert sys.stdout.isatty()
    assert out.getvalue() == "a\ufffd[1mb\n\ufffdc\n"
    assert err.getvalue() == "d\x1b\n"
    assert [sys.stdout, sys.stderr] == [out, err]


def test_json_for_a_terminal_is_the_same_document(monkeypatch: pytest.MonkeyPatch) -> None:
    """Escaped, where a pipe gets it as it is."""
    document = {"text": "a\x9b\u202e\x7f\U000e0041é"}
    assert json_line(document) == json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    monkeypatch.setattr(sys, "stdout", Terminal())
    with safe_terminal():
        line = json_line(document)
        assert json.loads(line) == document
        assert printable(line) == line


HOSTILE = "Hi\x1b]0;owned\x07\x9b2Jthere"


@pytest.mark.parametrize("said", ["the model", "the server"])
@pytest.mark.anyio
async def test_the_command_line_at_a_terminal(said: str, tmp_path: Path, anyio_backend: str) -> None:
    """A model's text and a server's error lose their escape sequences there, and keep them in a pipe."""
    if anyio_backend != "asyncio":
        pytest.skip("the command chooses its loop itself")
    answer: Any = ServerReply(anthropic_message({"type": "text", "text": HOSTILE}))
    if said == "the server":
        answer = anthropic_error(400, "invalid_request_error", HOSTILE)
    async with Emulator(then=answer) as emulator:
        environment = {**os.environ, "ANTHROPIC_API_KEY": "sk-none", "ANTHROPIC_BASE_URL": emulator.url}
        command = [sys.executable, "-m", "penstock", "chat", "Hi"]

        def at_a_terminal() -> bytes:
            parent, child = pty.openpty()
            process = subprocess.Popen(command, stdin=child, stdout=child, stderr=child, env=environment)
            os.close(child)
            shown = b""
            try:
                while piece := os.read(parent, 65536):
                    shown += piece
            except OSError:  # its end, on Linux
                pass
            process.wait()
            os.close(parent)
            return shown

        shown = (await anyio.to_thread.run_sync(at_a_terminal)).decode()
        piped = await anyio.run_process(command, env=environment, check=False)
    assert "owned" in shown
    assert "there" in shown
    assert not {"\x1b", "\x07", "\x9b"} & set(OUR_OWN.sub("", shown))
    if said == "the model":
        assert piped.stdout.decode() == f"{HOSTILE}\n"
