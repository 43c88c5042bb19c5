"""The command line: what it prints where, what it exits with, and that it ends cleanly."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from models_files import written
from patience import PATIENCE
from penstock import Chunk, StopChunk, TextChunk, UsageChunk
from penstock.cli.main import main

DEMO = "This is Penstock's emulator, not a model, and nothing is billed. You said: "
SUMMARY = re.compile(
    r"^\[.* tokens; (?:would have cost )?(?:≥ )?\$[\d.]+(?: \(1 call unknown\))?; first text [\d.]+ s; [\d.]+ s\]$",
    re.MULTILINE,
)


class Result(msgspec.Struct):
    status: int
    out: str
    err: str


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> Result:
    status = main(arguments)
    captured = capsys.readouterr()
    return Result(status, captured.out, captured.err)


def write(**changes: object) -> None:
    config = {"modelId": "m", "apiKey": "${PENSTOCK_TEST_KEY}", **changes.pop("config", {})}  # type: ignore[dict-item]
    written({"active": "a", "models": {"a": {"provider": "anthropic", "providerConfig": config, **changes}}})


def test_chat_streams_an_answer_and_says_what_it_took(capsys: pytest.CaptureFixture[str]) -> None:
    """The answer alone goes to standard output; that it is the emulator, and the price, go to standard error."""
    result = run(capsys, "chat", "Hello there")
    assert (result.status, result.out) == (0, f"{DEMO}Hello there\n")
    assert "emulator" in result.err
    assert SUMMARY.search(result.err)


def test_a_question_without_quotes_is_told_to_have_some(capsys: pytest.CaptureFixture[str]) -> None:
    """In one line that can be copied."""
    result = run(capsys, "chat", "hello", "there", "-m", "gpt")
    assert (result.status, result.err) == (2, 'penstock: put the question in quotes: penstock chat "hello there"\n')


@pytest.mark.parametrize("number", ["0", "-1", "many"])
def test_an_answer_without_a_token_is_refused(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is asked."""
    with pytest.raises(SystemExit, match="2"):
        main(["chat", "Hi", f"--max-tokens={number}"])
    assert f"{number!r} is not a whole number of 1 or more" in capsys.readouterr().err


def test_a_missing_key_is_told_alone(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was sent, so there is nothing to say of usage and times."""
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    result = run(capsys, "chat", "Hi", "-m", "sonnet")
    assert result.status == 1
    assert result.err.startswith("penstock: there is no API key: set ANTHROPIC_API_KEY")
    assert "no usage" not in result.err


def test_chat_takes_its_prompt_from_standard_input() -> None:
    """As at the end of a pipe."""
    done = subprocess.run(
        [sys.executable, "-m", "penstock", "chat"], input="from a pipe", capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{DEMO}from a pipe\n"


def test_chat_can_print_chunks(capsys: pytest.CaptureFixture[str]) -> None:
    """One a line, as JSON that decodes into the same chunks."""
    result = run(capsys, "chat", "Hello", "--json", "--max-tokens", "3", "--system", "Be brief.")
    decoder = msgspec.json.Decoder(Chunk)
    chunks = [decoder.decode(line) for line in result.out.splitlines()]
    assert "".join(chunk.text for chunk in chunks if isinstance(chunk, TextChunk)) == "This is Penstock's"
    assert sum((chunk for chunk in chunks if isinstance(chunk, UsageChunk)), UsageChunk()).output_tokens == 3
    assert isinstance(chunks[-1], StopChunk)
    assert chunks[-1].reason == "length"


def test_chat_takes_several_turns_at_a_terminal() -> None:
    """The second turn reads what the first wrote to the cache; Ctrl-D ends it."""
    pty = pytest.importorskip("pty")
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "penstock", "chat"],
        stdin=child,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.write(parent, b"Hello, this is the first of several turns of a conversation.\n\nAnd the second.\n\x04")
    out, err = process.communicate(timeout=PATIENCE)
    os.close(parent)
    os.close(child)
    assert process.returncode == 0
    assert "first of several turns" in out
    assert f"{DEMO}And the second." in out
    assert len(SUMMARY.findall(err)) == 2
    assert "cache read" in err


def test_ctrl_c_ends_an_answer_cleanly() -> None:
    """No traceback, status 130, and what was used is still said."""
    prompt = "word " * 300
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "penstock", "chat", prompt],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A test run in the background ignores Ctrl-C, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    assert process.stdout.read(10)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert len(out) < len(prompt)
    assert "Traceback" not in err
    assert SUMMARY.search(err)


def test_a_reader_that_has_had_enough_is_no_error() -> None:
    """As `penstock chat ... | head -c 5`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "penstock", "chat", "word " * 200], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.read(5)
    process.stdout.close()
    assert process.stderr is not None
    errors = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(PATIENCE) == 0
    assert "Traceback" not in errors
    assert "BrokenPipe" not in errors


def test_models_are_listed_with_their_prices(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Those of the file, whose keys need not be set; `--all` adds the catalogue."""
    assert re.search(r"^\*  sonnet +anthropic +claude-sonnet-5-5 +1000000 +2 +10 +2\.5 +4 +0\.1$",
                     run(capsys, "models").out, re.MULTILINE)  # fmt: skip
    write(enabled=False)
    listed = run(capsys, "models")
    assert len(listed.out.splitlines()) == 2
    assert str(tmp_path / "models.json") in listed.err
    assert "claude-opus-5-5" in run(capsys, "models", "--all").out


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """As JSON."""
    assert json.loads(run(capsys, "models", "--schema").out)["$schema"].startswith("https://json-schema.org/")


def test_init_writes_a_file_that_works(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """And does not replace one unless it is told to."""
    assert run(capsys, "init").status == 0
    assert "sonnet" in run(capsys, "models").out
    assert run(capsys, "chat", "Hi").err.startswith(f"penstock: {tmp_path / 'models.json'}, at $.models.sonnet")
    again = run(capsys, "init")
    assert (again.status, "--force" in again.err) == (2, True)
    assert run(capsys, "init", "--force").status == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("{", "not JSON: line 1", id="not JSON"),
        pytest.param('{"active":"b","models":{}}', "`penstock models --all` lists", id="an alias that is not there"),
        pytest.param('{"active":"a","models":{"a":{"provider":"antropic","providerConfig":{"modelId":"m"}}}}',
                     "did you mean 'anthropic'?", id="an unknown provider"),
        pytest.param('{"active":"a","models":{"a":{"provider":"anthropic","enabled":false,"providerConfig":'
                     '{"modelId":"m"}}}}', "disabled", id="a disabled model"),
        pytest.param('{"active":"a","models":{"a":{"provider":"anthropic","providerConfig":{"modelId":"m",'
                     '"apiKey":"${PENSTOCK_TEST_KEY}"}}}}', "PENSTOCK_TEST_KEY is not set", id="a missing variable"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_one_message(text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command line prints it and exits 2, without a traceback."""
    written(text.encode())
    result = run(capsys, "chat", "Hi")
    assert (result.status, result.out) == (2, "")
    assert result.err.startswith(f"penstock: {tmp_path / 'models.json'}")
    assert result.err.count("\n") == 1
    assert said in result.err
    assert "Traceback" not in result.err


def test_a_failed_call_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Status 1, the error and its hint, and what was used."""
    write(config={"baseUrl": "http://127.0.0.1:9"})
    monkeypatch.setenv("PENSTOCK_TEST_KEY", "sk-canary-0123456789")
    result = run(capsys, "chat", "Hi")
    assert result.status == 1
    assert "check baseUrl" in result.err
    assert "no usage was reported" in result.err
    assert "canary" not in result.err
