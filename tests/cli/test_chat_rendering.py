"""How an answer looks at a terminal: Markdown that is printed once, and nothing that a terminal would obey."""

from __future__ import annotations

import asyncio
import io
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patience import PATIENCE
from penstock import TextChunk
from penstock.cli.rendering import Rendered
from penstock.testing import Pause, ServerReply, anthropic_events, anthropic_message

pytest.importorskip("pty")
from screens import OUR_OWN, Screen, serving

DOCUMENT = """# Pipes

A *penstock* is a **pipe** with `code` and <b>no markup</b>.
A second line, 漢字 and 🌊.

- one
- two
  - three with [a link](https://example.org/x)

1. first
2. second

```python
def f(x):

    return x + 1
```

| head | drop |
|---:|---|
| 10 m | 1 bar |

> quoted
> twice

---

The end.
"""
SHOWN = """Pipes

A penstock is a pipe with code and <b>no markup</b>.
A second line, 漢字 and 🌊.

 • one
 • two
    • three with a link (https://example.org/x)

 1 first
 2 second

 def f(x):

     return x + 1

 head  drop
 ───────────
 10 m  1 bar

▌ quoted
▌ twice

--------------------

The end.
"""


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def drawn(pieces: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """All that a terminal of 80 columns shows when each of the pieces is drawn as soon as it comes."""
    monkeypatch.setattr(sys, "stdout", out := Terminal())

    async def draw() -> None:
        output = Rendered()
        for piece in pieces:
            output.show(TextChunk(piece))
            output._draw()
        output.close()

    asyncio.run(draw())
    screen = pyte.HistoryScreen(80, 24, history=1_000, ratio=1.0)
    pyte.Stream(screen).feed(out.getvalue().replace("\n", "\r\n"))
    left = ["".join(line[place].data for place in range(80)) for line in screen.history.top]
    return "\n".join(line.rstrip() for line in [*left, *screen.display]).rstrip() + "\n"


def test_markdown_is_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    """HTML is text, lines stay lines, and a link shows where it leads."""
    shown = drawn([DOCUMENT], monkeypatch)
    assert re.sub("-{20,}", "-" * 20, shown) == SHOWN


@pytest.mark.parametrize("text", [">" * 300 + " deep", "".join("  " * level + "- deep\n" for level in range(40))])
def test_what_stands_too_deep_to_be_rendered_is_shown_as_it_came(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parser leaves it out, and so could hide what a model says."""
    assert drawn([text], monkeypatch).count("deep") == text.count("deep")


@pytest.mark.parametrize("size", [1, 3, 7, 50])
def test_cuts_never_matter(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is on the screen in the end, and above it, is what one piece would have left there."""
    pieces = [DOCUMENT[place : place + size] for place in range(0, len(DOCUMENT), size)]
    assert drawn(pieces, monkeypatch) == drawn([DOCUMENT], monkeypatch)


@given(
    st.lists(st.sampled_from(DOCUMENT.split("\n\n")), max_size=6), st.lists(st.integers(1, 40), min_size=1, max_size=9)
)
def test_nor_does_what_stands_beside_what(blocks: list[str], sizes: list[int]) -> None:
    """In any order, and in pieces of any sizes."""
    text = "\n\n".join(blocks)
    pieces: list[str] = []
    left = text
    while left:
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(left[:size])
        left = left[size:]
    with pytest.MonkeyPatch.context() as patch:
        assert drawn(pieces, patch) == drawn([text] if text else [], patch)


def said(text: str) -> ServerReply:
    """An answer that takes a while, so that much of it is drawn before it ends."""
    return ServerReply(
        [step for event in anthropic_message({"type": "text", "text": text}) for step in (event, Pause(0.002))]
    )


@pytest.mark.parametrize("columns", [80, 20])
def test_a_long_answer_is_there_once(columns: int) -> None:
    """Also what has left the screen at the top, in a block that is higher than the screen."""
    words = [f"word{number}" for number in range(150)]
    code = "\n".join(f"{word}()" for word in words)
    bullets = "\n".join(f"- {word}" for word in words)
    text = f"{' '.join(words)}\n\n{bullets}\n\n```\n{code}\n```\n\nThe end."
    with (
        serving(said(text)) as (_, environment),
        Screen("chat", "Go", columns=columns, lines=10, environment=environment) as s,
    ):
        s.until("The end.")
        assert s.end() == 0
        found = re.findall(r"word\d+\b", s.text)
    assert found == words * 3


@pytest.mark.parametrize(
    ("environment", "styles"),
    [
        pytest.param({}, {"1", "3", "2", "22", "0", "36"}, id="a terminal"),
        pytest.param({"NO_COLOR": "1"}, {"1", "3", "2", "22", "0"}, id="without colours"),
        pytest.param({"TERM": "dumb"}, set(), id="that knows no sequences"),
        pytest.param({"PYTHONIOENCODING": "latin-1"}, {"2", "22"}, id="that is not UTF-8"),
    ],
)
def test_what_a_terminal_can_do_is_what_it_gets(environment: dict[str, str], styles: set[str]) -> None:
    """And no more."""
    with (
        serving(said("**bold** *slanted* `code` 漢")) as (_, server),
        Screen("chat", "Go", environment={**server, **environment}) as s,
    ):
        s.until("first text")
        assert s.end() == 0
        found = re.findall(rb"\x1b\[([0-9;]*)m", s.sent)
        seen = {part for style in found for part in style.decode().split(";")}
        assert seen - {"40", "97", "37"} == styles
        assert ("bold slanted" in s.text) == ("1" in styles)
        assert ("\\u6f22" in s.text) == ("PYTHONIOENCODING" in environment)


def test_without_rich_text_is_as_it_came() -> None:
    """Nothing of it is lost."""
    with (
        serving(said(DOCUMENT)) as (_, environment),
        Screen("chat", "Go", without=["rich"], lines=50, environment=environment) as s,
    ):
        s.until("The end.", "first text")
        for line in DOCUMENT.splitlines():
            assert line in s.text


HOSTILE = (
    "Hi \x1b]0;owned\x07 \x9b2J &#27;[2J &#x9b;2J &#x202e;gnp \u202egnp\n\n```\n\x1b[31mred\n```\n\n[x](http://a/&#7;b)"
)


@pytest.mark.parametrize("size", [1, 100])
def test_nothing_gets_through_that_a_terminal_would_obey(size: int) -> None:
    """As it is, cut in two, or written as an entity of Markdown; in text, in reasoning, in a tool's name."""
    blocks = [{"type": "thinking", "thinking": HOSTILE, "signature": "s"}, {"type": "text", "text": HOSTILE}]
    with (
        serving(ServerReply(list(anthropic_events(*blocks, piece=size)))) as (_, environment),
        Screen("chat", "Go", environment=environment) as s,
    ):
        s.until("first text")
        assert s.end() == 0
        left = OUR_OWN.sub("", s.sent.decode())
    assert "owned" in left
    assert "\ufffd[31mred" in left
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(left)


def test_a_pipe_gets_the_answer_alone_and_unchanged(tmp_path: Path) -> None:
    """What is said beside it is for whoever sits at the terminal."""
    blocks = [{"type": "thinking", "thinking": "Let me see.", "signature": "s"}, {"type": "text", "text": DOCUMENT}]
    with (
        serving(ServerReply(anthropic_message(*blocks))) as (_, environment),
        Screen("chat", "Go", into=tmp_path / "out", environment=environment) as s,
    ):
        s.until("Let me see.", "first text")
        assert s.end() == 0
    assert (tmp_path / "out").read_text() == f"{DOCUMENT}\n"


@pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux, which breaks lines anew when it becomes narrower")
def test_a_terminal_that_becomes_narrower_shows_all_of_it_once(tmp_path: Path) -> None:
    """While a paragraph is live: its lines are broken into more of them, and all go when it is drawn anew.

    The screen is full, as it mostly is: what tmux moves out of one that is not, nobody can take back.
    """
    words = [f"word{number}" for number in range(60)]
    before = [f"before{number}" for number in range(20)]
    text = "\n\n".join([*before, " ".join(words)])
    whole = list(anthropic_events({"type": "text", "text": text}))
    hold = len(whole) - 12
    socket = f"penstock-{tmp_path.name}-{time.time_ns()}"

    def tmux(*arguments: str) -> str:
        return subprocess.run(
            ["tmux", "-L", socket, "-f", "/dev/null", *arguments], capture_output=True, text=True, check=True
        ).stdout

    def until(text: str) -> str:
        end = time.monotonic() + PATIENCE
        while text not in (shown := tmux("capture-pane", "-p", "-S", "-")):
            assert time.monotonic() < end, shown
        return shown

    with serving(ServerReply([*whole[:hold], Pause(3.0), *whole[hold:]])) as (_, environment):
        settings = [f"{name}={value}" for name, value in {**environment, "LC_ALL": "C.UTF-8"}.items()]
        command = ["env", *settings, sys.executable, "-m", "penstock", "chat", "Go"]
        tmux("new-session", "-d", "-x", "80", "-y", "24", " ".join(command) + "; sleep 1000")
        try:
            until("word45")
            tmux("resize-window", "-x", "35", "-y", "24")
            shown = until("s]")
        finally:
            tmux("kill-server")
    # Where tmux breaks a line, it breaks words.
    assert re.findall(r"word\d+(?=word|\[)", "".join(shown.split())) == words
    assert re.findall(r"before\d+", shown) == before
