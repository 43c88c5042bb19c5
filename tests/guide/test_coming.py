"""Those who move: their programs and ours print the same, and their histories come along."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import tables
from examples import Block, blocks, run, stand_in

PAGES = ("coming-from-anthropic", "coming-from-openai", "coming-from-litellm")


def sections(page: str) -> dict[str, list[Block]]:
    """The programs of a page, by the heading that they stand under."""
    found = {}
    for section in (tables.GUIDE / f"{page}.md").read_text("utf-8").split("\n## ")[1:]:
        programs = [block for block in blocks(section) if block.language == "python"]
        found[section.partition("\n")[0]] = programs
    return found


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A server in the vendors' place."""
    with stand_in() as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        yield


def printed(block: Block, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """What a program prints."""
    run(block, "a page", monkeypatch)
    return capsys.readouterr().out


@pytest.mark.parametrize("page", PAGES)
def test_both_programs_print_the_same(
    page: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Theirs, where it can be run here, and ours."""
    programs = [block for block in sections(page)["A stream of text"] if block.runs]
    said = {printed(block, monkeypatch, capsys) for block in programs}
    assert len(programs) == {"coming-from-anthropic": 2, "coming-from-openai": 3, "coming-from-litellm": 1}[page]
    (text,) = said
    assert "You said: Hello!" in text


@pytest.mark.parametrize("page", PAGES)
def test_a_history_is_taken_along(
    page: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """To another vendor, or to the same, which asks for nothing to be noted."""
    (program,) = sections(page)["Take your history along"]
    said = printed(program, monkeypatch, capsys)
    assert "You said: And" in said
    assert "Note(" not in said
