"""The command line: what it prints where, what it exits with, and that it ends cleanly."""

from __future__ import annotations

import base64
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from models_files import written
from patience import PATIENCE
from penstock import Chunk, RateLimitError, StopChunk, TextChunk, UsageChunk
from penstock.cli.main import main
from penstock.testing import ServerReply, anthropic_error, anthropic_message

pytest.importorskip("pty")
from screens import serving

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
    assert result.err.startswith("No API key and no models.json: this is the demo, which sends nothing")
    assert SUMMARY.search(result.err)


def test_a_question_without_quotes_is_told_to_have_some(capsys: pytest.CaptureFixture[str]) -> None:
    """In one line that can be copied."""
    result = run(capsys, "chat", "hello", "there", "-m", "gpt")
    assert (result.status, result.err) == (2, 'penstock: put the question in quotes: penstock chat "hello there"\n')


def test_an_unknown_alias_is_told_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    """And no place in a file that is not there."""
    result = run(capsys, "chat", "Hi", "-m", "gtp")
    assert (result.status, result.out) == (2, "")
    assert result.err.startswith("penstock: no model has the alias \"gtp\"; did you mean 'gpt'?")


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


def test_chat_can_print_chunks(capsys: pytest.CaptureFixture[str]) -> None:
    """One a line, as JSON that decodes into the same chunks."""
    result = run(capsys, "chat", "Hello", "--json", "--max-tokens", "3", "--system", "Be brief.")
    decoder = msgspec.json.Decoder(Chunk)
    chunks = [decoder.decode(line) for line in result.out.splitlines()]
    assert "".join(chunk.text for chunk in chunks if isinstance(chunk, TextChunk)) == "This is Penstock's"
    assert sum((chunk for chunk in chunks if isinstance(chunk, UsageChunk)), UsageChunk()).output_tokens == 3
    assert isinstance(chunks[-1], StopChunk)
    assert chunks[-1].reason == "length"


def test_ctrl_c_ends_an_answer_cleanly() -> None:
    """No traceback, status 130, and what was used is still said."""
    prompt = "word " * 300
    process = subprocess.Popen(
        # Over a wire that reports usage at the start of an answer.
        [sys.executable, "-u", "-m", "penstock", "chat", "-m", "demo", prompt],
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


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["-o", "temprature=1"], "did you mean 'temperature'?", id="an unknown option"),
        pytest.param(["-o", "seed=hot"], "the option `seed` is 'hot': Expected `int | null`", id="a wrong value"),
        pytest.param(["-o", "reasoning=hi"], "is 'hi': expected one of: off, minimal, low, medium, high, xhigh, max",
                     id="a word that is none of those"),
        pytest.param(["-o", "cache=of"], "is 'of': expected one of: auto, extended, off; did you mean 'off'?",
                     id="a word that is nearly one of those"),
        pytest.param(["-o", "reasoning"], "expected KEY=VALUE", id="no value"),
        pytest.param(["-o", "tools=[]"], "there is no option 'tools'", id="no option of simple kind"),
        pytest.param(["-a", "none.png"], "cannot read 'none.png': No such file", id="a file that is not there"),
        pytest.param(["-a", "."], "cannot read '.': Is a directory", id="a folder"),
        pytest.param(["-a", "a.zip"], "'a.zip' cannot be attached: it is no JPEG", id="an unknown kind"),
        pytest.param(["-a", "nul.txt"], "'nul.txt' is no text: it has zero bytes", id="text with zero bytes"),
        pytest.param(["-a", "empty.txt"], "'empty.txt' is empty", id="an empty file"),
        pytest.param(["-a", "/dev/zero"], "'zero' is too large: it has over 20 MB", id="a file without an end"),
        pytest.param(["--tools", "sums"], "expected MODULE:FUNCTION", id="a tool without a name"),
        pytest.param(["--tools", "nowhere:add"], "cannot be imported: ModuleNotFoundError", id="no such module"),
        pytest.param(["--tools", "leaves_us:add"], "cannot be imported: SystemExit: 7", id="a module that is a script"),
        pytest.param(["--tools", "failing:add"], "cannot be imported: ZeroDivisionError", id="a module that fails"),
        pytest.param(["--tools", "json:lods"], "'json' has no 'lods'; did you mean 'loads'?", id="no such function"),
        pytest.param(["--tools", "string:digits"], "is str, expected a function", id="no function"),
        pytest.param(["--tools", "string:capwords"], "capwords", id="a function without annotations"),
    ],
)  # fmt: skip
def test_what_cannot_be_sent_is_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Before anything is sent, with status 2; with `--json` it is a line of JSON too."""
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04\xff")
    (tmp_path / "nul.txt").write_bytes(b"a\0b")
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "failing.py").write_text("1 / 0")
    (tmp_path / "leaves_us.py").write_text("raise SystemExit(7)")
    result = run(capsys, "chat", "Hi", *arguments)
    assert (result.status, result.out) == (2, "")
    assert said in result.err
    assert result.err.count("\n") == 1
    failure = json.loads(run(capsys, "chat", "Hi", "--json", *arguments).out)
    assert (failure["type"], failure["class"]) == ("error", "ConfigError")
    assert said in failure["message"]


PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 8


@pytest.mark.parametrize(
    ("name", "data", "sent"),
    [
        pytest.param("a.txt", "grüße\n".encode(), {"text": '<file name="a.txt">\ngrüße\n</file>'}, id="text"),
        pytest.param("a.jpg", PNG, {"type": "image", "media_type": "image/png"}, id="an image, whatever its name says"),
        pytest.param("a.gif", b"GIF89a..", {"type": "image", "media_type": "image/gif"}, id="a GIF"),
        pytest.param("a.webp", b"RIFF....WEBPVP8 ", {"type": "image", "media_type": "image/webp"}, id="a WebP"),
        pytest.param("a", b"\xff\xd8\xff\xe0", {"type": "image", "media_type": "image/jpeg"}, id="a JPEG"),
        pytest.param("a.pdf", b"%PDF-1.7", {"type": "document", "media_type": "application/pdf"}, id="a PDF"),
    ],
)  # fmt: skip
def test_a_file_goes_before_the_prompt(
    name: str,
    data: bytes,
    sent: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As what it is; standard input too, with the instruction apart from it; and options with it."""
    (tmp_path / name).write_bytes(data)
    (tmp_path / "piped").write_text("piped\n")
    with (
        serving(ServerReply(anthropic_message({"type": "text", "text": "Read."}))) as (server, environment),
        (tmp_path / "piped").open() as standard_input,
        monkeypatch.context() as patch,
    ):
        patch.setattr(sys, "stdin", standard_input)
        for variable, value in environment.items():
            patch.setenv(variable, value)
        result = run(capsys, "chat", "What is it?", "-a", name, "-o", "max_tokens=77")
    assert (result.status, result.out) == (0, "Read.\n")
    body = msgspec.json.decode(server.requests[0].body)
    file, piped, prompt = body["messages"][0]["content"]
    source = file.pop("source", {})
    file |= {"media_type": source["media_type"]} if source else {}
    assert {key: value for key, value in file.items() if key in sent} == sent
    if source:
        assert base64.b64decode(source["data"]) == data
    assert piped["text"] == '<file name="standard input">\npiped\n</file>'
    assert prompt["text"] == "What is it?"
    assert body["max_tokens"] == 77


def test_standard_input_alone_is_the_prompt() -> None:
    """As it is."""
    done = subprocess.run([sys.executable, "-m", "penstock", "chat"], input=b"Hello\n", capture_output=True, check=True)
    assert done.stdout.decode() == f"{DEMO}Hello\n"


def test_standard_input_that_does_not_end_is_said() -> None:
    """Or whoever has left it open in a program would wait and not know for what."""
    process = subprocess.Popen(
        [sys.executable, "-m", "penstock", "chat", "Hi"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stderr is not None
    assert b"reading standard input" in process.stderr.readline()
    out, _ = process.communicate(b"", timeout=PATIENCE)
    assert out.decode() == f"{DEMO}Hi\n"


def test_a_failure_is_a_line_of_json(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """With what a program needs to decide, and the status as without it."""
    error = anthropic_error(429, "rate_limit_error", "Slow down.", headers={"retry-after": "7"})
    with serving(error) as (_, environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        result = run(capsys, "chat", "Hi", "--json")
    assert result.status == 1
    failure = json.loads(result.out)
    assert {**failure, "usage": None} == {
        "type": "error", "class": "RateLimitError", "message": "Slow down.", "status": 429, "code": "rate_limit_error",
        "request_id": "req_emulated", "retryable": True, "retry_after": 7, "hint": RateLimitError.hint, "usage": None,
    }  # fmt: skip
    assert failure["usage"]["known_cost"] == 0


@pytest.mark.parametrize("name", ["ANTHROPIC_KEY", "OPENAI_APIKEY"])
def test_a_variable_that_looks_like_a_misspelt_key_is_said(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the demo answers in place of the model that was meant."""
    monkeypatch.setenv(name, "sk-canary-0123456789")
    err = run(capsys, "chat", "Hi").err
    assert err.startswith(f"({name} is set, and nobody reads it: is it {name.split('_')[0]}_API_KEY?)\n")
    assert "canary" not in err


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
