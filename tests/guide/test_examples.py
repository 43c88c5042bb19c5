"""Every example of README and guide runs without a key, and shows what its page says.

Each block of Python is run as a program of its own, in an empty folder, in an environment without a key. All run in
this process: to start Python and load an SDK for each would take minutes. tests/test_readme.py starts the README's.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

import tables
from examples import Block, blocks, run, stand_in
from penstock.config import factories
from places import ROOT

# What tests/guide/test_coming.py runs, program by program.
MOVING: Final = ("coming-from-anthropic", "coming-from-litellm", "coming-from-openai")
PAGES: Final = {path.stem: path.read_text("utf-8") for path in (ROOT / "README.md", *sorted(tables.GUIDE.glob("*.md")))}
PYTHON: Final = {
    name: [block for block in blocks(text) if block.language == "python"]
    for name, text in PAGES.items()
    if name not in MOVING
}  # fmt: skip
WHO: Final = r"This is Penstock's emulator, not a model, and nothing is billed\. "
HELLO: Final = WHO + r"You said: Hello!\n"
STOPPED: Final = HELLO + r"stop: 14 tokens, \$0\.000\d+\n"
ANYTHING: Final = r"(?s:.*)"
REPORT: Final = next(" ".join(block.code.split()) for block in blocks(PAGES["caching"]) if block.language == "text")
"""Of a missed cache, as the page shows it."""

# What each block of a page prints, in order: a regular expression for all of it.
SHOWS: Final[Mapping[str, list[str]]] = {
    "README": [
        STOPPED,
        HELLO[:-2],
        (rf"\n> What is in this folder\?\n{WHO}list_files answered: \[\]\n"
        r"\d+ tokens in, \d+ out: \$0\.000\d+; caching saved -?\$0\.000\d+\n"),
    ],
    "agents": [
        (r"\n\[get_weather: Sunny, 21 degrees celsius, in Paris\.\]\n"
        rf"{WHO}get_weather answered: Sunny, 21 degrees celsius, in Paris\.\n4 messages, \$0\.000\d+\n"),
        r"Not run: it was not approved\.\nI may not\.\n",
        rf"{WHO}roll answered: 4\n\$0\.000\d+ of \$5\.00\n",
    ],
    "budgets": [rf"{HELLO}\$4\.999\d+ left\n"],
    "caching": [rf"{re.escape(REPORT)}\ncaching has saved \$0\.0002736\n"],
    "chunks": [
        STOPPED,
        (rf"{WHO}You said: Tell me two things\.{WHO}\nYou said: Tell me two things\.\n"
        rf"{WHO}You said: Tell me two things\. stop 17 0\.000\d+\n{HELLO}"),
    ],
    "connections": [r"stopped at ≥ \$0\.000\d+ \(1 call unknown\)\n", ""],
    "deadlines": [HELLO],
    "durable-runs": [r"look a\.txt\n(read .* is empty\n)*"],
    "errors": [rf"UsageChunk\(unsettled=1\)\n{ANYTHING}StopChunk\(reason='stop'{ANYTHING}model='demo'\)\n"],
    "events": [r"demo: \$0\.000\d+, \d+\.\d+ of \d+\.\d+ s, req_emulated\n", "", ""],
    "histories": [r"missing_result messages\[1\]\.content\[0\] the call 'call_1' got a result that says .*\n",
                  r"messages\[1\] 'name' is left out: Penstock has no equivalent\n", r"4 0\.000\d+\n"],
    "keys": [HELLO],
    "ledger": [(r"\{'day': '[\d-]+', 'model': 'demo', 'tags\.user': 'ann'\} 1 \$0\.000\d+ and about \$0 more\n"
               r"[\d-]+ [\d:.+]+ done 0\.000\d+ \d+\.\d+\n")],
    "live-models": [r"demo 1000000 1 live\n", r"ready\nTrue True True\n", r"(?:sonnet 1000000\n|[\w.-]+ \d+\n)+"],
    "many-prompts": [rf"(?:\d+ {WHO}You said: Name a river of country \d+\. 0\.000\d+\n){{20}}", r"\s*"],
    "messages": [rf"{WHO}You attached an image \(at https://example\.org/dam\.png, .*\)\. You said: What is this\?\n",
                 r'\{"model":"demo",.*"max_output_tokens":1000,.*\}\ntop_k 40 is left out: the Responses API of .*\n'],
    "models-by-name": [
        rf"{HELLO}demo open 0 0\n",
        r"True False\n\('localhost', 8080\)\n",
        r"AnthropicProvider\('claude-haiku-5-5'\)\nclosed: False\n",
    ],
    "models-json": [r".*/models\.json 0\.1\n"],
    "money": [
        r"12 tokens in, 14 out: \$0\.000\d+\n",
        (r"TokenCount\(tokens=(\d+), exact=True, source='demo'\)\nTokenCount\(tokens=\1, exact=False, source='.*'\)\n"
        r"0\.005021\n0\.0050\d+\n"),
    ],
    "notebooks": [
        WHO + r"You said: Tell me a story\.",
        r"The connection is closed here\.\n",
        rf"\d+ tokens\n{WHO}add answered: 5{WHO}You said: Say hello\.\n",
    ],
    "own-server": ["", "", ""],
    "platforms": [r"bedrock-mantle\.eu-central-1\.api\.aws\n"],
    "recording": [r"(?:half an answer: Reply\(.*\)\n){5,}"],
    "retries": [(rf"Started\(.*\n(?:AttemptFailed\(.*\nRetryScheduled\(.*\n){{2}}AttemptFailed\({ANYTHING}"
                rf"TextChunk\(text='Hello!'\)\n{ANYTHING}StopChunk\(reason='stop'{ANYTHING}")],
    "structured-answers": [(r"City\(name='Paris', people=2100000, sights=\['Louvre'\]\) 2 9 0\n(?:\{'name': .*\}\n)+"
                           r"City\(name='Paris', people=2100000, sights=\['Louvre'\]\)\n"),
                          r"Trip\(city='.+', nights=\d+\)\n"],
    "telemetry": [""],
    "testing": ["", rf"{ANYTHING}TextChunk\(text='Hello th'\)\nhalf an answer: the connection broke {ANYTHING}",
                r"0 answered\n1 answered\n\[1, 1\] 2\n",
                (r"an error event after three pieces: OverloadedError, retry after None\n"
                r"429 with retry-after: 3600: RateLimitError, retry after 3600\.0\n"
                r"CRLF cut in the middle: 'Hello there, world!'\n")],
    "tools": [
        r"\{'type': 'object'.*\} search\n",
        "",
        rf"{ANYTHING}ToolResultChunk\({ANYTHING}a book{ANYTHING}\)\n{ANYTHING}StopChunk\(reason='stop'{ANYTHING}",
        "",
        "",
    ],
    "vendors": [rf"{WHO}You said: What is a penstock\? [1-9]\d*\n{WHO}You said: Say it in five words\. [1-9]\d*\n", ""],
    "vendors-tools": [r"bash\n"],
    "your-own-provider": [WHO + r"You said: Write to \[address\]\n"],
    "web": [r"b':\\n\\n'\nb'event: text\\ndata: .*This is .*\n" + ANYTHING + r"b'event: end\\ndata: .*\n"],
}  # fmt: skip

# What does not run alone, and why: what a page saves as a file, and what needs a package of somebody else's.
NOT_ALONE: Final[Mapping[str, str]] = {
    "batches/cancel.py": "it asks a vendor: tests/fleet/test_batch.py asks the emulator so",
    "batches/rivers.py": "it takes a vendor minutes: tests/fleet/test_batch.py asks the emulator so",
    "beyond-one-machine/agent.py": "DBOS is not a part of the package: `nox -s ray` runs and kills it",
    "beyond-one-machine/ask.py": "Ray is not a part of the package: `nox -s ray` runs and kills it",
    "many-prompts/bar.py": "tqdm is not a part of the package",
    "many-prompts/to_jsonl.py": "it reads a file: tests/cli/test_batch.py gives it one",
    "durable-runs/agent.py": "test_durable_program kills it and runs it again",
    "mcp/agent.py": "test_guide runs it with its server",
    "mcp/server.py": "test_guide runs it with its agent",
    "recording/conftest.py": "test_guide runs pytest on it",
    "recording/test_recorded.py": "test_guide runs pytest on it",
    "shared-limits/shared.py": "test_redis_store runs it with a Redis",
    "telemetry/": "the SDK of OpenTelemetry is not a part of the package",
    "testing/test_my_loop.py": "test_guide runs pytest on it",
    "testing/without_key.py": "test_guide runs it",
    "web/models_app.py": "a server, which waits for requests",
    "web/app.py": "a server, which waits for requests",
    "your-own-provider/ask.py": "test_own_provider runs it with the package",
    "your-own-provider/penstock_faq.py": "test_own_provider makes a package of it",
    "your-own-provider/test_penstock_faq.py": "test_own_provider runs it",
}
# Pages that are about vendors: their servers are the emulator, as `without_key.py` of the page on testing does it.
OF_VENDORS: Final = ("keys", "vendors")
ALONE: Final = {name: [block for block in found if block.runs and block.file is None] for name, found in PYTHON.items()}


@pytest.fixture(scope="module")
def vendors() -> Iterator[dict[str, str]]:
    """One server in the place of all of them."""
    with stand_in() as environment:
        yield environment


@pytest.fixture
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without a key, without a file, in an empty folder."""
    for name in os.environ:
        if name.endswith(("_API_KEY", "_BASE_URL", "_TOKEN")) or name.startswith("PENSTOCK_"):
            monkeypatch.delenv(name)
    for folder in ("home", "work"):
        (tmp_path / folder).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(sys, "argv", ["example.py"])
    monkeypatch.setattr(factories, "_registered", {})


CASES: Final[list[Any]] = [
    pytest.param(name, block, said, id=f"{name}:{block.line}")
    for name, found in ALONE.items()
    for block, said in zip(found, SHOWS.get(name, [""] * len(found)), strict=False)
]


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize(("name", "block", "said"), CASES)
def test_an_example_shows_what_its_page_says(
    name: str,
    block: Block,
    said: str,
    vendors: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As it is copied from there, without a key but on pages that are about vendors."""
    for variable, value in vendors.items() if name in OF_VENDORS else ():
        monkeypatch.setenv(variable, value)
    run(block, f"{name}.md", monkeypatch)
    assert re.fullmatch(said, capsys.readouterr().out)


@pytest.mark.parametrize("name", [name for name, found in ALONE.items() if found])
def test_what_an_example_prints_is_in_the_table(name: str) -> None:
    """Whatever prints has a row in SHOWS."""
    shown = SHOWS.get(name, [])
    assert len(shown) == len(ALONE[name]) or not any("print" in block.code for block in ALONE[name])


def test_no_example_is_left_out_without_a_reason() -> None:
    """NOT_ALONE has one for each that does not run here; they are Python at least."""
    others = {
        f"{name}/{block.file or ''}": block
        for name, found in PYTHON.items()
        for block in found
        if block not in ALONE[name]
    }
    assert others.keys() == NOT_ALONE.keys()
    for place, block in others.items():
        compile(block.code, place, "exec", dont_inherit=True)
