"""Words that readers stumbled over stay out of everything that people read."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import penstock
from places import ROOT

PACKAGE: Final = Path(penstock.__file__).parent
# Each with what to write instead. "mend" is a verb that few use today; "amend" and "recommend" are other words.
WORDS: Final = {
    r"\bhangs? on\b|\bhung on\b": "depends on",
    r"second set of books": "compare with",
    r"\bputs? (?:them|it|this|that|\w+|) ?off\b": "resets, delays",
    r"buckets that are empty": "limits that are used up",
    r"the one that fills last": "until all of them are available",
    r"\blets? go of\b": "evicted, dropped",
    r"\bmend(?:s|ed|ing)?\b": "fix, repair, correct",
    r"\bsay `python": "run",
    r"\bis complete for text\b": "need to handle two kinds of chunk only",
    r"\bwhat the others use\b": "name it",
    r"would be\s+wrong again": "trying again does not help",
    r"\bneeds nothing\b": "you do nothing",
    r"\bstands? alone\b": "state all; nothing else is used",
    r"nothing is taken over": "is not taken from",
    r"knows? of anything global": "nothing is shared",
}


def hits(text: str) -> Iterator[str]:
    """What is found in a text, with line breaks as blanks."""
    plain = re.sub(r"\s+", " ", text)
    for pattern, instead in WORDS.items():
        for found in re.finditer(pattern, plain, re.IGNORECASE):
            around = plain[max(0, found.start() - 30) : found.end() + 30]
            yield f"…{around}…: write {instead!r}"


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """All text that a file of the package holds: docstrings, messages, hints, help."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


@pytest.mark.parametrize(
    "path",
    [
        *sorted((PACKAGE / "guide").glob("*.md")),
        *(path for name in ("README.md", "CHANGELOG.md") if (path := ROOT / name).is_file()),
    ],
    ids=lambda path: path.name,
)
def test_the_manual_is_in_plain_words(path: Path) -> None:
    """README, changelog and every page."""
    assert list(hits(path.read_text("utf-8"))) == []


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_what_the_package_says_is_in_plain_words(path: Path) -> None:
    """Every docstring, message, hint and line of help."""
    assert [f"line {line}: {hit}" for line, text in strings(path) for hit in hits(text)] == []


@pytest.mark.parametrize(
    "text", ["prices hang on the hour", "each of them\nstands alone", "Mend the typos", "only content puts them off"]
)
def test_they_are_found(text: str) -> None:
    """Over a line's end too, and whatever the case."""
    assert list(hits(text))


def test_ordinary_words_are_not() -> None:
    """What only looks like one of them."""
    assert list(hits("we recommend an amendment; put it there; turned off; a change on its own")) == []
