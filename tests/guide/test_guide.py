"""What the guide says is true: its code runs, its files are read, its commands exist, its tables are up to date."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import penstock
import tables
from examples import Block, blocks, stand_in
from penstock import load_models
from penstock.cli import main
from penstock.cli.guide import topics
from penstock.config.catalog import catalog
from penstock.wire.vendors import DIALECTS
from plugin import run_project

pytest_plugins = ["pytester"]

PAGES = {path.stem: path.read_text("utf-8") for path in sorted(tables.GUIDE.glob("*.md"))}


def found(language: str) -> list[object]:
    """All blocks of a language, as parameters of a test."""
    return [
        pytest.param(name, block, id=f"{name}:{block.line}")
        for name, text in PAGES.items()
        for block in blocks(text)
        if block.language == language
    ]


@pytest.fixture(scope="module")
def demo() -> Iterator[dict[str, str]]:
    """One server for all examples."""
    with stand_in() as environment:
        yield environment


@pytest.fixture
def environment(demo: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys, and the stand-in in the vendors' place."""
    for name, value in demo.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(("name", "block"), found("json"))
def test_the_models_files_are_read(name: str, block: Block, tmp_path: Path) -> None:
    """Every block of JSON is a models.json."""
    path = tmp_path / "models.json"
    path.write_text(block.code)
    assert load_models(path).models, name


@pytest.mark.parametrize(("name", "block"), found("sh"))
def test_the_commands_exist(name: str, block: Block) -> None:
    """What begins with `penstock` is parsed as the command line parses it."""
    for line in block.code.splitlines():
        program, *arguments = shlex.split(line)
        assert program in ("penstock", "pip", "pytest", "nox"), (name, line)
        if program == "penstock":
            main._parser().parse_args(arguments)


def saved(page: str, folder: Path) -> None:
    """Save a page's files and its settings for pytest."""
    for block in blocks(PAGES[page]):
        if block.file is not None:
            (folder / block.file).write_text(block.code)
        elif block.language == "toml":
            tomllib.loads(block.code)
            (folder / "pyproject.toml").write_text(block.code)


def passes(pytester: pytest.Pytester, *arguments: str) -> None:
    """The tests in pytester's folder, as a user has them, are green; and there are some."""
    outcomes = run_project(pytester, "-p", "no:cacheprovider", *arguments).parseoutcomes()
    assert outcomes["passed"]
    assert not {"failed", "errors", "warnings"} & set(outcomes)


@pytest.mark.usefixtures("all_imported")
def test_the_tests_of_the_page_on_testing_are_green(pytester: pytest.Pytester) -> None:
    """With the settings that the page gives; a loop on some of the faults."""
    saved("testing", pytester.path)
    passes(pytester, "test_my_loop.py", "-k", "asyncio and (401 or CRLF or clean)")


def test_an_agent_uses_an_mcp_server(tmp_path: Path) -> None:
    """Without a key, and it prints what the page shows."""
    saved("mcp", tmp_path)
    shown = next(block.code for block in blocks(PAGES["mcp"]) if block.language == "text")
    command = [sys.executable, "agent.py"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=os.environ, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(shown)


@pytest.mark.parametrize("page", ["vendors"])
def test_the_examples_run_without_a_key(page: str, tmp_path: Path) -> None:
    """As the page on testing says: of Anthropic's API, and of OpenAI's too."""
    saved("testing", tmp_path)
    example = next(block for block in blocks(PAGES[page]) if block.language == "python")
    (tmp_path / "example.py").write_text(example.code)
    command = [sys.executable, "without_key.py", "example.py"]
    bare = {name: value for name, value in os.environ.items() if not name.endswith(("_API_KEY", "_BASE_URL"))}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=bare, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "You said:" in done.stdout


@pytest.mark.usefixtures("all_imported", "environment")
def test_a_test_is_recorded_and_replayed(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """The replay has no network, and the file no key."""
    saved("recording", pytester.path)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-very-secret")
    passes(pytester, "--record-mode=once", "test_recorded.py", "-k", "asyncio")
    (cassette,) = pytester.path.rglob("*.yaml")
    assert "secret" not in cassette.read_text()
    monkeypatch.setenv("ANTHROPIC_API_KEY", "none")
    passes(pytester, "--block-network", "test_recorded.py", "-k", "asyncio")


def test_each_page_stands_in_the_index() -> None:
    """And is short, begins with its title, and links only to pages that there are."""
    assert set(topics()) == set(PAGES) - {"index"}
    for name, text in PAGES.items():
        assert text.count("\n") <= 200, name
        assert text.startswith("# "), name
        for shown, link in re.findall(r"\[([^\]]+)\]\(([^)]+)\)", text):
            if link.startswith("https:"):
                continue
            assert link == f"{shown}.md", (name, link)
            assert shown in PAGES, (name, link)


def test_the_tables_are_made_from_the_docstrings() -> None:
    """`python tests/support/tables.py` writes them."""
    for name, text in PAGES.items():
        assert tables.filled(text) == text, f"{name}.md differs: run python tests/support/tables.py"
    wanted = {("fields", name) for name in ("Options", "ModelInfo", "Dialect", "CacheMiss", "ProviderError")}
    wanted |= {("classes", home) for home in ("core.chunks", "core.errors", "middleware.events")}
    assert wanted <= tables.wanted()


def test_every_field_is_documented() -> None:
    """Of all classes of the modules that the tables are made from."""
    for home in tables.HOMES:
        for cls in tables.classes(home):
            assert [field.name for field in tables.fields(cls) if not field.said] == [], cls


def test_the_guide_names_what_there_is() -> None:
    """Every chunk, every error and every function of the package."""
    said = "\n".join(PAGES.values())
    assert [name for name in dir(penstock) if not re.search(rf"\b{name}\b", said)] == []


def test_the_table_of_vendors_is_that_of_the_rows() -> None:
    """Name, key and wires of each, whether it needs an address, and how many models of it have a price."""
    for row in DIALECTS.values():
        (line,) = [line for line in PAGES["vendors"].splitlines() if line.startswith(f"| `{row.name}`")]
        assert line.startswith(f"| `{row.name}` {'* ' if row.base_url is None else ''}| ")
        priced = {
            entry.provider_config.model_id
            for entry in catalog().models.values()
            if entry.provider in (row.name, row.catalog_of)
            and (info := entry.provider_config.model_info) is not None
            and info.input_price is not None
        }
        assert f"| {', '.join(row.wires)} | {len(priced) or '-'} | " in line
        assert "none is needed" in line or all(f"`{name}`" in line for name in row.key_variables)
        assert ("none is needed" in line) is not row.needs_key


def test_the_command_lists_the_pages(capsys: pytest.CaptureFixture[str]) -> None:
    """One line each, in reading order."""
    assert main.main(["guide"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[: len(topics())]] == list(topics())
    assert all(len(line) < 110 for line in lines)


@pytest.mark.parametrize("topic", ["caching", "cach", "CACHING", "caching.md"])
def test_a_page_is_printed(topic: str, capsys: pytest.CaptureFixture[str]) -> None:
    """By its name or the beginning of it, without the marks that only the tables need."""
    assert main.main(["guide", topic]) == 0
    said = capsys.readouterr().out
    assert said.startswith("# Caching")
    assert "<!--" not in said
    assert "\x1b" not in said
    assert "`penstock guide retries`" in said or "](" not in said


@pytest.mark.parametrize(
    ("word", "title"),
    [
        ("litellm", "# Coming from litellm"),
        ("retry", "# Retry, fallback"),
        ("ollama", "# Your own server"),
        ("budget", "# Budgets"),
        ("spans", "# Telemetry"),
        ("timeouts", "# Deadlines"),
        ("proxies", "# Connections"),
        ("images", "# Messages"),
        ("cost", "# Money"),
        ("timeout", "# Deadlines"),
        ("approve", "# Agents"),
        ("cassettes", "# Recording"),
        ("vcr", "# Recording"),
        ("mock", "# Testing"),
        ("pdf", "# Messages"),
        ("pydantic", "# Structured answers"),
        ("history", "# Histories"),
        ("trust", "# Security"),
        ("rate limits", "# Retry, fallback"),
        ("jupyter", "# Scripts, notebooks"),
        ("synchronous", "# Scripts, notebooks"),
        ("fastapi", "# On the web"),
        ("browser", "# On the web"),
        ("production", "# A fleet in production"),
        ("scale", "# A fleet in production"),
        ("deploy", "# A fleet in production"),
    ],
)
def test_a_word_that_a_page_is_about_is_enough(word: str, title: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Of its name, of its line in the list, or of its headings and its text, in the singular or the plural."""
    assert main.main(["guide", word]) == 0
    assert capsys.readouterr().out.startswith(title)


@pytest.mark.parametrize("name", [name for name in PAGES if name != "index"])
def test_a_page_fits_a_terminal(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Its prose and its tables; code is as wide as it is."""
    assert main.main(["guide", name]) == 0
    prose = re.sub(r"^```.*?^```$", "", capsys.readouterr().out, flags=re.MULTILINE | re.DOTALL)
    assert [line for line in prose.splitlines() if len(line) > 110] == []


@pytest.mark.parametrize(
    ("topic", "said"),
    [
        ("cahing", "the guide has no page 'cahing'; did you mean 'caching'?"),
        ("agnet", "the guide has no page 'agnet'; did you mean 'agents'?"),
        ("zzz", "the guide has no page 'zzz'; `penstock guide` lists what there is"),
        ("", "the guide has no page ''; `penstock guide` lists what there is"),
        ("../index", "the guide has no page '../index'; `penstock guide` lists what there is"),
        (
            "m",
            "'m' may be one of several pages of the guide: "
            + ", ".join(("messages", "mcp", "many-prompts", "money", "models-json", "models-by-name", "model-info")),
        ),
        (
            "coming",
            "'coming' may be one of several pages of the guide: "
            + ", ".join(f"coming-from-{name}" for name in ("anthropic", "openai", "litellm")),
        ),
        ("prices", "'prices' may be one of several pages of the guide: model-info, money, models-json"),
        ("unicorn", "the guide has no page 'unicorn'; `penstock guide` lists what there is"),
        ("\x1b[2J", "the guide has no page '\\x1b[2j'; `penstock guide` lists what there is"),
    ],
)
def test_an_unknown_topic_names_the_nearest(topic: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In one line on standard error."""
    assert main.main(["guide", topic]) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"penstock: {said}\n")
