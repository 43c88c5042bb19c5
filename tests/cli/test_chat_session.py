"""`penstock chat` at a terminal, driven by keys: with the extra `chat`, without it, and without readline too."""

from __future__ import annotations

import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from penstock.testing import Hang, Pause, Request, ServerReply, anthropic_error, anthropic_events, anthropic_message

pytest.importorskip("pty")
from screens import CTRL_C, CTRL_D, ENTER, UP, Screen, serving

EXTRA: Sequence[str] = ()
PLAIN = ("prompt_toolkit", "rich")
BARE = ("prompt_toolkit", "rich", "readline")
everywhere = pytest.mark.parametrize("without", [EXTRA, PLAIN, BARE], ids=["extra", "readline", "neither"])
edited = pytest.mark.parametrize("without", [EXTRA, PLAIN], ids=["extra", "readline"])


TOOLS = """
def add(a: int, b: int) -> int:
    return a + b

def broken() -> None:
    raise ValueError("no")

both = [add, broken]
"""


def said(text: str, **options: Any) -> ServerReply:
    return ServerReply(anthropic_message({"type": "text", "text": text}, **options))


def slow(text: str) -> ServerReply:
    """An answer that comes and comes, and never ends."""
    events = list(anthropic_events({"type": "text", "text": text}))
    return ServerReply([*events[:-3], Hang()])


def asked(request: Request) -> list[Any]:
    """The roles and texts of a request's messages."""

    def text(content: Any) -> str:
        return content if isinstance(content, str) else "|".join(part.get("text", part["type"]) for part in content)

    return [(each["role"], text(each["content"])) for each in msgspec.json.decode(request.body)["messages"]]


def last(request: Request) -> str:
    return str(asked(request)[-1][1])


@everywhere
def test_a_line_of_any_length_is_one_prompt(without: Sequence[str]) -> None:
    """The kernel's own line editing would cut it at 4,095 bytes and say nothing."""
    line = "a long line of words " * 500
    with serving(said("Read.")) as (server, environment), Screen("chat", without=without, environment=environment) as s:
        s.at_prompt()
        s.type(line)
        s.ask("end", "Read.")
    assert [last(request) for request in server.requests] == [f"{line}end"]


PASTED = {
    "line feeds": "one\ntwo\nthree\r",
    "as Windows ends lines": "one\r\ntwo\r\nthree\r\n",
    "as Enter ends them": "one\rtwo\rthree\r",
    "with the terminal's marks": "\x1b[200~one\rtwo\rthree\x1b[201~\r",
}


@everywhere
def test_lines_that_are_pasted_are_one_prompt(without: Sequence[str]) -> None:
    """Not a billed call each, in a terminal that marks what is pasted and in one that does not; all in one session.

    What has no line end at its end waits for Enter: it may be gone over first. And all go over one connection.
    """
    replies = [said(f"Read {name}.") for name in PASTED]
    with (
        serving(*replies, said("At last.")) as (server, environment),
        Screen("chat", without=without, environment=environment) as s,
    ):
        for name, pasted in PASTED.items():
            s.at_prompt()
            s.type(pasted)
            s.until(f"Read {name}.")
        s.at_prompt()
        s.type("one\rhalf")
        s.until("half")
        s.ask(" and more", "At last.")
        s.type(CTRL_D)
        assert s.end() == 0
        assert server.connections == 1
    sent = dict(zip([*PASTED, "waits"], map(last, server.requests), strict=True))
    assert sent == {**dict.fromkeys(PASTED, "one\ntwo\nthree"), "waits": "one\nhalf and more"}


@edited
def test_arrow_keys_edit_and_bring_back_what_was_typed_even_days_ago(without: Sequence[str], tmp_path: Path) -> None:
    """In the file that keeps it nobody else can look."""
    replies = [said("First."), said("Second."), said("Third.")]
    with serving(*replies) as (server, environment):
        with Screen("chat", without=without, environment=environment) as s:
            s.at_prompt()
            s.ask("helo\x1b[Dl", "First.")
            s.type(UP)
            s.ask("!", "Second.")
        with Screen("chat", without=without, environment=environment) as s:
            s.at_prompt()
            s.type(UP)
            s.ask("!", "Third.")
    assert [last(request) for request in server.requests] == ["hello", "hello!", "hello!!"]
    data = Path(f"{tmp_path}-data") / "penstock"
    assert stat.S_IMODE((data / "typed.jsonl").stat().st_mode) == 0o600
    assert {stat.S_IMODE(path.stat().st_mode) for path in (data / "sessions").iterdir()} == {0o600}


@edited
def test_alt_enter_begins_a_new_line(without: Sequence[str]) -> None:
    """And Enter sends both."""
    with serving(said("Read.")) as (server, environment), Screen("chat", without=without, environment=environment) as s:
        s.at_prompt()
        s.ask("one\x1b\rtwo", "Read.")
    assert [last(request) for request in server.requests] == ["one\ntwo"]


def test_without_readline_what_was_typed_can_be_taken_back() -> None:
    """A letter or a line; keys that would need more do nothing, and are not sent."""
    with serving(said("Read.")) as (server, environment), Screen("chat", without=BARE, environment=environment) as s:
        s.at_prompt()
        s.type("wrong\x15")
        s.type("go漢\x7f")
        s.ask(f"o{UP}d", "Read.")
        assert "> good" in s.text
    assert [last(request) for request in server.requests] == ["good"]


@everywhere
def test_ctrl_c_ends_the_answer_and_keeps_what_was_said(without: Sequence[str]) -> None:
    """The connection to the vendor is closed, the session goes on, and the model knows what it has said."""
    with serving(slow("Half of an answer"), said("The rest.")) as (server, environment):
        with Screen("chat", without=without, environment=environment) as s:
            s.at_prompt()
            s.type(f"Go{ENTER}")
            s.until("Half of an answer")
            s.type(CTRL_C)
            s.until("interrupted")
            s.at_prompt()
            s.ask("Go on", "The rest.")
            s.type(CTRL_D)
            assert s.end() == 0
            assert "1 call unknown" in s.text
        assert server.exchanges[0].hung_up.is_set()
    assert asked(server.requests[1]) == [("user", "Go"), ("assistant", "Half of an answer"), ("user", "Go on")]


@everywhere
def test_what_is_typed_during_an_answer_is_the_next_prompt(without: Sequence[str]) -> None:
    """Whole, and it does not disturb the answer; a command acts, and what is not ended can be gone over."""
    line = "x" * 6_000

    def slowly(text: str) -> ServerReply:
        events = anthropic_message({"type": "text", "text": text})
        return ServerReply([step for event in events for step in (event, Pause(0.1))])

    replies = [slowly("Slowly said."), said("Read."), slowly("Slowly again."), said("At last.")]
    with (
        serving(*replies) as (server, environment),
        Screen("chat", without=without, environment=environment) as s,
    ):
        s.at_prompt()
        s.type(f"Go{ENTER}")
        s.until("Slowly")
        s.type(f"{line}{ENTER}")
        s.until("Slowly said.", "Read.")
        s.at_prompt()
        s.type(f"Go on{ENTER}")
        s.until("Slowly a")
        s.type(f"/cost{ENTER}")
        s.until("> /cost", "(3 turns: ")
        s.type("an")
        s.until("> an")
        s.ask("d now", "At last.")
    assert [last(request) for request in server.requests] == ["Go", line, "Go on", "and now"]


IMPORTED = """
import os, signal, sys
sys.path = [place for place in sys.path if place not in ("", os.getcwd())]
del sys.modules["anthropic"]
signal.raise_signal(signal.SIGINT)
signal.raise_signal(signal.SIGINT)
import anthropic
"""


@everywhere
def test_ctrl_c_while_the_first_answer_is_prepared_ends_only_that(without: Sequence[str], tmp_path: Path) -> None:
    """While the vendor's SDK is imported: nothing is sent, and the question can be asked again."""
    (tmp_path / "anthropic.py").write_text(IMPORTED)
    with (
        serving(said("Here.")) as (server, environment),
        Screen("chat", without=without, environment=environment) as s,
    ):
        s.at_prompt()
        s.ask("Go", "(interrupted before the first word)")
        s.ask("/retry", "Here.")
        s.type(CTRL_D)
        assert s.end() == 0
    assert [last(request) for request in server.requests] == ["Go"]


def test_ctrl_c_before_the_first_word_drops_what_is_typed() -> None:
    """Whoever wants no answer wants none to the next question either."""
    with (
        serving(ServerReply([Hang()]), said("Here.")) as (server, environment),
        Screen("chat", environment=environment) as s,
    ):
        s.at_prompt()
        s.type(f"Go{ENTER}")
        s.until_there(lambda: server.requests)
        s.type(f"And then{ENTER}")
        s.type(CTRL_C)
        s.until("(interrupted before the first word")
        s.at_prompt()
        s.ask("/retry", "Here.")
    assert [last(request) for request in server.requests] == ["Go", "Go"]


@everywhere
def test_ctrl_c_at_a_prompt_says_how_to_leave(without: Sequence[str]) -> None:
    """And Ctrl-D leaves, with status 0 and a terminal as it was."""
    with Screen("chat", without=without) as s:
        s.at_prompt()
        s.insist(CTRL_C, "(Ctrl-D or /quit leaves)")
        s.at_prompt()
        s.type(CTRL_D)
        assert s.end() == 0
        assert s.is_as_it_was()
        assert "Traceback" not in s.text


def test_the_commands(tmp_path: Path) -> None:
    """Each does what /help says of it; and the banner says who is asked, by which file, and how to leave."""
    replies = [said("Wrong."), said("Right."), said("From haiku.")]
    with serving(*replies) as (server, environment), Screen("chat", environment=environment, columns=120) as s:
        s.at_prompt()
        assert f"asking {server.url}; /help helps, Ctrl-D leaves" in s.text
        assert "claude-sonnet-5-5 (sonnet); packaged catalogue; asking" in s.text
        s.ask("/help", "/retry", "take the last turn back", "Ctrl-D leaves")
        s.ask("/system \x1b[200~Be\nbrief.\x1b[201~", "the system prompt is 'Be\\nbrief.'")
        s.ask("Hi", "Wrong.")
        s.ask("/retry", "Right.")
        s.ask("/model haiku", "(the model is claude-haiku-5-5")
        s.ask('/system ""', "the system prompt is ''")
        s.ask("And you?", "From haiku.")
        s.ask("/cost", "(3 turns: 30 in, 30 out tokens; $")
        s.ask("/save said.md", "(saved as said.md)")
        s.ask("/save said.md", "cannot write 'said.md': File exists")
        s.ask("/save said.json", "(saved as said.json)")
        s.ask("/modle gpt", "there is no command /modle; did you mean '/model'?")
        s.ask("/model nonsense", "penstock: ", "nonsense")
        s.type(f"/quit{ENTER}")
        assert s.end() == 0
    first, second, third = server.requests
    assert asked(first) == asked(second) == [("user", "Hi")]
    assert rb"Be\nbrief." in second.body
    assert rb"Be\nbrief." not in third.body
    assert msgspec.json.decode(third.body)["model"].startswith("claude-haiku")
    assert asked(third) == [("user", "Hi"), ("assistant", "Right."), ("user", "And you?")]
    assert (tmp_path / "said.md").read_text() == (
        "## User\n\nHi\n\n## Assistant\n\nRight.\n\n## User\n\nAnd you?\n\n## Assistant\n\nFrom haiku.\n"
    )
    assert len(msgspec.json.decode((tmp_path / "said.json").read_bytes())["messages"]) == 4
    assert stat.S_IMODE((tmp_path / "said.md").stat().st_mode) == 0o600


def test_files_go_with_what_is_asked_next(tmp_path: Path) -> None:
    """And with nothing after that."""
    (tmp_path / "plan.txt").write_text("Dig.")
    with serving(then=said("Read.")) as (server, environment), Screen("chat", environment=environment) as s:
        s.at_prompt()
        s.ask("/attach none.txt", "cannot read 'none.txt': No such file or directory")
        s.ask("/attach plan.txt", "(1 file will go with what you ask next)")
        s.ask("/attach plan.txt", "(2 files will go with what you ask next)")
        s.ask("Do they agree?", "Read.")
        s.ask("Why?", "Read.")
    file = '<file name="plan.txt">\nDig.\n</file>'
    assert [last(request) for request in server.requests] == [f"{file}|{file}|Do they agree?", "Why?"]


def test_what_is_said_is_broken_between_words() -> None:
    """In a narrow terminal; a row of /help goes on where its text begins."""
    with Screen("chat", columns=44) as s:
        s.at_prompt()
        s.ask("/help", "Ctrl-D leaves")
        words = s.text.split()
        assert {"/help", "leaves", "ANTHROPIC_API_KEY", "conversation", "Alt-Enter"} <= set(words)
        assert "\n/save [FILE]    write the conversation to a\n                file: Markdown, or JSON by" in s.text


def test_a_question_at_a_terminal_can_be_gone_on_with() -> None:
    """As a conversation can."""
    with Screen("chat", "Hi") as s:
        assert s.end() == 0
    with Screen("chat", "-c", "And?") as s:
        assert s.end() == 0
        assert "(going on with " in s.text
        assert "2 messages: Hi)" in s.text


def test_a_prompt_may_begin_with_a_slash() -> None:
    """If it is no command: a path, two slashes, several lines."""
    sent = {
        "/etc/hosts, what is it?": "/etc/hosts, what is it?",
        "//help is a command": "/help is a command",
        "\x1b[200~/* a\ncomment */\x1b[201~": "/* a\ncomment */",
    }
    replies = [said("Read.") for _ in sent]
    with serving(*replies) as (server, environment), Screen("chat", environment=environment) as s:
        s.at_prompt()
        for typed in sent:
            s.ask(typed, "Read.")
    assert [last(request) for request in server.requests] == list(sent.values())


def test_a_failed_turn_is_said_and_can_be_asked_again() -> None:
    """The session goes on, and what had no answer is not in the history."""
    replies = [anthropic_error(500, "api_error", "Sorry."), said("Now."), said("Bye.")]
    with serving(*replies) as (server, environment), Screen("chat", environment=environment) as s:
        s.at_prompt()
        s.ask("Hi", "penstock: Sorry.")
        s.ask("/retry", "Now.")
        s.ask("Thanks", "Bye.")
    assert [asked(request) for request in server.requests] == [
        [("user", "Hi")],
        [("user", "Hi")],
        [("user", "Hi"), ("assistant", "Now."), ("user", "Thanks")],
    ]


@everywhere
def test_tools_are_run_and_shown_in_a_line(without: Sequence[str], tmp_path: Path) -> None:
    """With what they cost in every call; the model gets the result."""
    (tmp_path / "sums.py").write_text(TOOLS)
    calls: list[dict[str, Any]] = [
        {"type": "thinking", "thinking": "I need a sum.", "signature": "s"},
        {"type": "tool_use", "id": "t1", "name": "add", "input": {"a": 2, "b": 3}},
        {"type": "tool_use", "id": "t2", "name": "broken", "input": {}},
    ]
    replies = [ServerReply(anthropic_message(*calls, stop_reason="tool_use")), said("It is 5.")]
    with (
        serving(*replies) as (server, environment),
        Screen("chat", "--tools", "sums:both", without=without, environment=environment) as s,
    ):
        s.at_prompt()
        s.ask("2 + 3?", "It is 5.")
        assert re.search(r"\(2 tools: add, broken; about \d+ tokens in every call\)", s.text)
        lines = s.text.split("\n")
        place = lines.index("I need a sum.")
        assert lines[place + 1 : place + 4] == [
            'add({"a":2,"b":3}) -> 5', "broken({}) failed ValueError: no", "It is 5."
        ]  # fmt: skip
        for dimmed in ("I need a sum", 'add({"a"'):
            assert f"\x1b[2m{dimmed}" in s.sent.decode() or f"\x1b[2m{dimmed[:8]}" in s.sent.decode()
        assert "\x1b[2mIt is" not in s.sent.decode()
    results = msgspec.json.decode(server.requests[1].body)["messages"][-1]["content"]
    assert [result["type"] for result in results] == ["tool_result"] * 2
