"""`penstock batch`: what a line may be, what comes out, and what a second run makes of the first."""

from __future__ import annotations

import io
import json
import signal
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from examples import blocks
from examples import run as run_block
from gathering import Answering
from penstock import (
    AuthenticationError,
    BaseProvider,
    ImagePart,
    Message,
    Options,
    ServerError,
    TextPart,
    Tool,
    UsageChunk,
    open_provider,
)
from penstock.cli import batch, batch_progress
from penstock.cli.batch_lines import Lines
from penstock.cli.batch_progress import progress_bar
from penstock.cli.main import main
from penstock.cli.terminal import PrintableStream
from penstock.fleet import Job, Progress, batching
from penstock.fleet.journal import Journal
from penstock.testing import BATCH_FAILURES, BatchFailure, BatchServer
from screens import serving

IN, OUT = Path("in.jsonl"), Path("out.jsonl")
TEN = [f"prompt {number}" for number in range(10)]
HI = [{"role": "user", "content": "Hi"}]


@pytest.fixture
def answering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answering:
    """What the command asks, and ten prompts for it."""
    provider = Answering()
    monkeypatch.setattr(batch, "open_provider", lambda alias, models: provider)
    write(*TEN)
    return provider


def write(*lines: object) -> None:
    """Lines of JSON, in the file of prompts."""
    IN.write_text("".join(f"{json.dumps(line)}\n" for line in lines), "utf-8")


def run(*more: str, file: str = "in.jsonl") -> int:
    """The command's exit status."""
    return main(["batch", file, "--out", "out.jsonl", *more])


def answers() -> list[dict[str, Any]]:
    """What is in the file of answers, each once."""
    found = [json.loads(line) for line in OUT.read_text("utf-8").splitlines()]
    assert len({each["id"] for each in found}) == len(found)
    return sorted(found, key=lambda each: str(each["id"]))


BODY = {"model": "theirs", "max_tokens": 9, "stop_sequences": ["."], "system": "Be brief.", "messages": HI}
CHAT = {"messages": [{"role": "system", "content": "Be brief."}, *HI], "max_completion_tokens": 9, "stream": False}
TOOL = {"name": "look", "description": "", "input_schema": {"type": "object"}}
URL = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
THEIRS = Job(
    prompt=[Message("user", "Hi")], id="a", system_prompt="Be brief.", options=Options(max_tokens=9, stop=["."])
)
LINES: list[Any] = [
    pytest.param("Hi", Job(prompt="Hi", options=Options()), id="a prompt in quotes"),
    pytest.param({"id": "a", "prompt": "Hi"}, Job(prompt="Hi", id="a", options=Options()), id="a prompt with an id"),
    pytest.param({"id": None, "prompt": "Hi"}, Job(prompt="Hi", options=Options()), id="a null id is none"),
    pytest.param(
        {"prompt": "Hi", "system_prompt": "Be brief.", "options": {"max_tokens": 5, "tags": {"user": "ann"}}},
        Job(prompt="Hi", system_prompt="Be brief.", options=Options(max_tokens=5, tags={"user": "ann"})),
        id="with a system prompt and options",
    ),
    pytest.param(
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}, URL]}]},
        Job(prompt=[Message("user", [TextPart("Hi"), ImagePart(url="https://example.com/a.png")])], options=Options()),
        id="with an image, as Chat Completions has it",
    ),
    pytest.param({"custom_id": "a", "params": BODY}, THEIRS, id="a line of Anthropic's batch API"),
    pytest.param(
        {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": CHAT},
        Job(prompt=[Message("user", "Hi")], id="a", system_prompt="Be brief.", options=Options(max_tokens=9)),
        id="a line of OpenAI's",
    ),
    pytest.param(
        {"custom_id": "a", "body": {"input": "Hi", "instructions": "Be brief.", "max_output_tokens": 9}},
        Job(prompt=[Message("user", "Hi")], id="a", system_prompt="Be brief.", options=Options(max_tokens=9)),
        id="a line of OpenAI's for responses",
    ),
    pytest.param(
        {"custom_id": "a", "params": {"messages": HI, "tools": [TOOL]}},
        Job(
            prompt=[Message("user", "Hi")],
            id="a",
            options=Options(tools=[Tool(name="look", parameters={"type": "object"})]),
        ),
        id="with tools",
    ),
]


@pytest.mark.parametrize(("line", "job"), LINES)
def test_a_line_is_a_job(tmp_path: Path, line: object, job: Job) -> None:
    """In our form or the vendors'."""
    write(line)
    assert list(Lines("in.jsonl", Options()).jobs()) == [job]


def test_options_of_the_command_hold_where_a_line_says_nothing(tmp_path: Path) -> None:
    """One by one."""
    write("Hi", {"prompt": "Hi", "options": {"max_tokens": 5}})
    found = [job.options for job in Lines("in.jsonl", Options(max_tokens=9, top_k=3)).jobs()]
    assert found == [Options(max_tokens=9, top_k=3), Options(max_tokens=5, top_k=3)]


def test_marks_and_blank_lines_are_passed_over(tmp_path: Path) -> None:
    """A byte order mark, and lines as Windows ends them."""
    IN.write_bytes(b'\xef\xbb\xbf"one"\r\n\r\n  \n"two"')
    assert [job.prompt for job in Lines("in.jsonl", Options()).jobs()] == ["one", "two"]


WRONG: list[Any] = [
    pytest.param(b'{"prompt": "cut o', "it is cut off, or no JSON: Input data was truncated", id="one that is cut"),
    pytest.param(b"What is this?", "it is cut off, or no JSON", id="a prompt without quotes"),
    pytest.param(b'"\xff"', "'utf-8' codec can't decode byte 0xff", id="one that is no UTF-8"),
    pytest.param(b"[1]", "expected a prompt in quotes, or an object", id="a list"),
    pytest.param(b"{}", "expected either `prompt` or `messages`", id="nothing to ask"),
    pytest.param(b'{"prompt": "a", "messages": []}', "expected either `prompt` or `messages`", id="both"),
    pytest.param(b'{"promt": "a"}', "`promt` is not a field; there are: id, messages", id="a wrong field"),
    pytest.param(b'{"prompt": 3}', "`prompt` is of type int, expected text", id="a number as the prompt"),
    pytest.param(b'{"prompt": ""}', "`prompt` is empty", id="an empty prompt"),
    pytest.param(b'""', "the prompt is empty", id="nothing between quotes"),
    pytest.param(b'{"prompt": "a", "id": 3}', "`id` is of type int, expected text", id="a number as the id"),
    pytest.param(b'{"prompt": "a", "options": 3}', "`options`: Expected `object`", id="options that are none"),
    pytest.param(
        b'{"prompt": "a", "options": {"max_token": 3}}',
        "there is no option 'max_token' here; did you mean 'max_tokens'?",
        id="a wrong option",
    ),
    pytest.param(
        b'{"prompt": "a", "options": {"max_tokens": "3"}}', "Expected `int | null`, got `str`", id="a word for a number"
    ),
    pytest.param(b'{"messages": "Hi"}', "`messages` is of type str, expected a list", id="a text as messages"),
    pytest.param(b'{"custom_id": "a"}', "expected an object as `params` or `body`", id="no body"),
    pytest.param(
        b'{"params": {"messages": [], "thinking": {}}}',
        "`thinking` is not a field that can be said to every vendor",
        id="what one vendor alone knows",
    ),
]


@pytest.mark.parametrize(("line", "said"), WRONG)
def test_a_line_that_is_no_job_is_named_before_anything_is_sent(
    answering: Answering, line: bytes, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With its number, and with status 2."""
    IN.write_bytes(b'"one"\n\n' + line)
    assert run() == 2
    error = capsys.readouterr().err
    assert "line 3 of in.jsonl" in error
    assert said in error
    assert answering.asked == []
    assert not OUT.exists()


def test_ten_bad_lines_are_named_at_once(answering: Answering, capsys: pytest.CaptureFixture[str]) -> None:
    """And how many more there are."""
    IN.write_bytes(b'"one"\n' + b"what\n" * 22)
    assert run() == 2
    said = capsys.readouterr().err.splitlines()
    assert [each.partition(" of ")[0] for each in said] == [
        "penstock: line 2", *(f"line {number}" for number in range(3, 12)), "and 12 more"
    ]  # fmt: skip
    assert answering.asked == []


def test_an_id_of_two_jobs_is_named_by_their_lines(answering: Answering, capsys: pytest.CaptureFixture[str]) -> None:
    """Before the first is paid; a line that comes twice is asked twice."""
    write(*[{"id": "x", "prompt": "a"}] * 2, {"id": "x", "prompt": "b"})
    assert run() == 2
    assert "line 3 of in.jsonl: the id 'x' is that of line 1 too, which is another job" in capsys.readouterr().err
    assert answering.asked == []


def test_a_table_is_no_file_of_lines(answering: Answering, capsys: pytest.CaptureFixture[str]) -> None:
    """It says where that is shown."""
    Path("p.csv").write_text("id,prompt\n1,Hi\n")
    assert run(file="p.csv") == 2
    assert "p.csv is not JSON Lines; for CSV see `penstock guide many-prompts`" in capsys.readouterr().err


def test_the_guides_program_makes_lines_of_a_table(
    answering: Answering, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which the command reads."""
    page = resources.files("penstock").joinpath("guide/many-prompts.md").read_text("utf-8")
    [program] = [block for block in blocks(page) if block.file == "to_jsonl.py"]
    monkeypatch.setattr(sys, "stdin", io.StringIO('id,prompt\n1,"Hi, ""you"""\n'))
    run_block(program, "many-prompts.md", monkeypatch)
    IN.write_text(capsys.readouterr().out)
    assert [job.prompt for job in Lines("in.jsonl", Options()).jobs()] == ['Hi, "you"']


def test_each_line_is_answered_and_the_bill_is_said(answering: Answering, capsys: pytest.CaptureFixture[str]) -> None:
    """The estimate comes first; standard output stays empty."""
    assert run() == 0
    said = capsys.readouterr()
    assert [each["text"] for each in answers()] == TEN
    assert answers()[0] == {
        "id": "0", "text": "prompt 0", "stop": "stop", "usage": {"output_tokens": 1}, "cost": "0.25", "error": None,
    }  # fmt: skip
    assert said.out == ""
    assert "(10 prompts, about " in said.err
    assert said.err.endswith("[10 answered; $2.50]\n")


def test_no_prompts_give_an_empty_file(answering: Answering) -> None:
    """And no error."""
    IN.write_bytes(b"")
    assert run() == 0
    assert OUT.read_bytes() == b""


def test_what_failed_is_a_line_too_and_the_next_run_replaces_it(
    answering: Answering, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 1, then 0; nothing that was answered is asked again."""
    answering.failing["prompt 3"] = ServerError("busy", status=503)
    assert run() == 1
    failed = answers()[3]
    assert (failed["text"], failed["cost"]) == (None, "0.25")
    assert (failed["error"]["class"], failed["error"]["status"]) == ("ServerError", 503)
    assert "9 answered; 1 failed; $2.50" in capsys.readouterr().err
    answering.failing.clear()
    answering.asked.clear()
    assert run() == 0
    assert answering.asked == ["prompt 3"]
    assert [each["text"] for each in answers()] == TEN
    assert "10 answered; 9 of them in an earlier run; $2.75" in capsys.readouterr().err


@pytest.mark.parametrize("left", [0, 1, 100, 500, 10_000])
def test_a_kill_between_journal_and_file_costs_nothing(answering: Answering, left: int) -> None:
    """Whatever part of the file was written, the next run makes it whole."""
    run()
    OUT.write_bytes(OUT.read_bytes()[:left])
    answering.asked.clear()
    assert run() == 0
    assert answering.asked == []
    assert [each["text"] for each in answers()] == TEN


def _lost() -> None:
    run()
    Path("out.jsonl.journal").unlink()


@pytest.mark.parametrize(
    ("before", "more", "said"),
    [
        pytest.param(_lost, (), "its journal out.jsonl.journal is not", id="answers whose journal is gone"),
        pytest.param(run, ("--journal", "in.jsonl"), "are to be three files", id="one file as prompts and journal"),
        pytest.param(run, ("--cancel",), "`--cancel` goes with --half-price", id="a cancel of nothing"),
        pytest.param(run, ("--resubmit",), "`--resubmit` goes with --half-price", id="nothing is unsure elsewhere"),
        pytest.param(run, ("--concurrency", "0"), "`concurrency` is 0", id="none at once"),
        pytest.param(run, ("-o", "tempo=3"), "there is no option 'tempo'", id="a wrong option"),
    ],
)
def test_what_is_wrong_leaves_the_answers_alone(
    answering: Answering,
    before: Callable[[], object],
    more: tuple[str, ...],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """They are paid."""
    before()
    was = OUT.read_bytes()
    answering.asked.clear()
    assert run(*more) == 2
    assert said in capsys.readouterr().err
    assert OUT.read_bytes() == was
    assert answering.asked == []


def test_a_journal_in_use_leaves_the_answers_alone(answering: Answering, capsys: pytest.CaptureFixture[str]) -> None:
    """Another process may be writing them."""
    run()
    was = OUT.read_bytes()

    async def twice() -> int:
        async with Journal("out.jsonl.journal", kind="gather", vendor="", model="answering"):
            return await anyio.to_thread.run_sync(run)

    assert anyio.run(twice) == 2
    assert "is in use by this process" in capsys.readouterr().err
    assert OUT.read_bytes() == was


def test_a_run_that_stops_early_leaves_the_answers_alone(answering: Answering) -> None:
    """They are in the journal, but whoever reads the file has paid for them too."""
    run()
    was = OUT.read_bytes()
    answering.failing["new"] = AuthenticationError("no")
    write("new", *TEN)
    assert run("--concurrency", "1") == 1
    assert OUT.read_bytes() == was
    answering.failing.clear()
    assert run() == 0
    assert {each["text"] for each in answers()} == {"new", *TEN}
    assert not list(Path().glob("*.new"))


def test_prompts_may_come_through_a_pipe(answering: Answering, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no estimate then."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(IN.read_bytes())))
    assert run(file="-") == 0
    assert [each["text"] for each in answers()] == TEN


def test_a_file_that_is_not_there_is_said(answering: Answering, capsys: pytest.CaptureFixture[str]) -> None:
    """With what the system says."""
    assert run(file="none.jsonl") == 2
    assert "cannot read 'none.jsonl': No such file or directory" in capsys.readouterr().err


@pytest.fixture
def heard() -> Iterator[None]:
    """Ctrl-C is heard, though whoever started the tests in the background has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
def test_ctrl_c_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 130; what was answered is not asked again."""

    def press(point: str, prompt: str) -> None:
        if (point, prompt) == ("stop", "prompt 5"):
            signal.raise_signal(signal.SIGINT)

    provider = Answering(at=press)
    monkeypatch.setattr(batch, "open_provider", lambda alias, models: provider)
    write(*TEN)
    assert run("--concurrency", "1") == 130
    assert "The same command goes on where this one was" in capsys.readouterr().err
    assert not provider.running
    assert [each["text"] for each in answers()] == TEN[:5]
    provider.asked.clear()
    monkeypatch.setattr(provider, "_at", lambda point, prompt: None)
    assert run() == 0
    assert set(provider.asked) <= set(TEN[5:])  # the one that had its answer may be in the journal
    assert [each["text"] for each in answers()] == TEN


def test_another_model_in_a_vendors_file_is_said(answering: Answering, capsys: pytest.CaptureFixture[str]) -> None:
    """It is the command that chooses."""
    write({"custom_id": "a", "params": BODY})
    assert run() == 0
    assert "(the lines name theirs; answering is asked)" in capsys.readouterr().err


@pytest.fixture
def vendor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BatchServer]:
    """One that takes batches, whom nobody waits for, and ten prompts for it."""
    server = BatchServer()
    monkeypatch.setattr(batching, "batch", partial(batching.batch, sleep=no_sleep))
    with serving(server) as (emulator, _):

        def opened(alias: str | None, models: object) -> BaseProvider:
            return open_provider("haiku", api_key="k", base_url=emulator.url)

        monkeypatch.setattr(batch, "open_provider", opened)
        write(*TEN)
        yield server


async def no_sleep(seconds: float) -> None:
    """In a test no time passes."""
    await anyio.lowlevel.checkpoint()


def test_a_file_may_be_answered_at_half_the_price(vendor: BatchServer, capsys: pytest.CaptureFixture[str]) -> None:
    """And is collected once: a second run asks for nothing."""
    assert run("--half-price", "--max-tokens", "50") == 0
    first = answers()
    assert "(10 prompts, about 110 tokens, $0.0000055 before the answers)" in capsys.readouterr().err
    assert [each["text"].partition("You said: ")[2] for each in first] == TEN
    assert sum(Decimal(each["cost"]) for each in first) > 0
    assert run("--half-price", "--max-tokens", "50") == 0
    assert answers() == first
    assert "10 answered; 10 of them in an earlier run" in capsys.readouterr().err


def test_what_is_unsure_is_sent_again_only_with_a_word_for_it(
    vendor: BatchServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """What that may cost is said before."""
    half = ("--half-price", "--max-tokens", "50")
    spoil = BATCH_FAILURES["a line is missing"].lines
    vendor.failure = BatchFailure(lines=lambda lines: spoil(lines) if len(lines) == 10 else lines)
    for _ in range(2):
        assert run(*half) == 1
        said = " ".join(capsys.readouterr().err.split())
        assert "9 answered" in said
        assert "1 of those that failed may have been answered: with --resubmit they are sent again" in said
        assert "at the most about $0.000013 may be billed twice" in said
        assert len(vendor.batches) == 1
    assert run(*half, "--resubmit") == 0
    assert len(answers()) == 10
    assert len(vendor.batches) == 2
    assert "1 call unknown" in capsys.readouterr().err


def test_jobs_without_a_limit_are_refused_at_half_the_price(
    vendor: BatchServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a batch that cannot be stopped would have no bound."""
    assert run("--half-price") == 2
    assert "--max-tokens N" in capsys.readouterr().err


@pytest.mark.usefixtures("heard")
def test_ctrl_c_says_what_goes_on_and_how_to_cancel_it(
    vendor: BatchServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is submitted twice, and the cancel ends what runs."""

    async def press(seconds: float) -> None:
        signal.raise_signal(signal.SIGINT)
        await anyio.lowlevel.checkpoint()

    with monkeypatch.context() as patch:
        patch.setattr(batching, "batch", partial(batching.batch, sleep=press))
        assert run("--half-price", "--max-tokens", "50") == 130
    said = capsys.readouterr().err
    assert "go on at the vendor" in said
    assert "with --cancel it cancels them" in said
    assert run("--half-price", "--cancel") == 0
    assert "(1 batch told to stop. Run once without --cancel" in capsys.readouterr().err
    assert run("--half-price", "--max-tokens", "50") == 1
    failures = [each["error"]["message"] for each in answers() if each["error"]]
    assert {each.partition(" before")[0] for each in failures} == {"the batch was cancelled"}
    assert len(vendor.batches) == 1
    assert run("--half-price", "--cancel") == 0
    assert "no batch of this journal was running, so nothing was cancelled" in capsys.readouterr().err


def test_a_cancel_by_a_journal_that_is_not_there_is_said(
    vendor: BatchServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """And makes none."""
    assert run("--half-price", "--cancel", "--journal", "typo.db") == 2
    assert "there is no journal" in capsys.readouterr().err
    assert not Path("typo.db").exists()


NOW = Progress(done=90, failed=10, total=1000, rate=3.0, usage=UsageChunk(known_cost=Decimal("1.5")))


@pytest.mark.parametrize(
    ("term", "said"),
    [
        pytest.param("dumb", "\r100/1,000  10 failed  3/s  $1.50  0:05:00 left", id="a line at a plain terminal"),
        pytest.param("xterm", "100/1000", id="a bar where rich is"),
    ],
)
def test_a_terminal_sees_how_far_it_is(term: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On standard error."""
    shown = io.StringIO()
    monkeypatch.setattr(shown, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", PrintableStream(shown))
    monkeypatch.setenv("TERM", term)
    with progress_bar(1000) as show:
        show(NOW)
    assert said in shown.getvalue()


def test_a_line_is_as_wide_as_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is written over the one before, however long that was."""
    shown = io.StringIO()
    monkeypatch.setattr(shown, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", PrintableStream(shown))
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(batch_progress, "width_of", lambda terminal: 20)
    with progress_bar(1000) as show:
        show(NOW)
        show(Progress(total=1000))
    assert [len(line) for line in shown.getvalue().rstrip("\n").split("\r")] == [0, 19, 19]


def test_a_pipe_sees_nothing_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Logs stay short."""
    with progress_bar(1000) as show:
        show(NOW)
    assert capsys.readouterr().err == ""
