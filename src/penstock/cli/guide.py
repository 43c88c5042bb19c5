"""`penstock guide`: the manual's pages, which lie in the package as Markdown.

What is printed is for people at a terminal: wide tables become lists, and links the command that prints their page.
"""

from __future__ import annotations

import argparse
import re
import textwrap
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from penstock.cli.commands import Commands
from penstock.core.errors import ConfigError
from penstock.core.validation import near

__all__ = ["add", "page", "run", "topics"]

_INDEX: Final = "index.md"
_LINE: Final = re.compile(r"^- \[([\w-]+)\]\(\1\.md\): (.+)$", re.MULTILINE)
_COMMENT: Final = re.compile(r"^<!--.*?-->\n", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"\[([\w-]+)\]\(\1\.md\)")
_TABLE: Final = re.compile(r"(?:^\|.*\n)+", re.MULTILINE)
_CELL: Final = re.compile(r"(?<!\\)\|")
_WIDTH: Final = 100
"""Columns; a table with a longer row is hard to read at a terminal."""


def add(commands: Commands) -> None:
    """Add the command to those of `penstock`."""
    parser = commands.add_parser("guide", help="the manual: its pages, or one of them")
    parser.add_argument("topic", nargs="?", metavar="TOPIC", help="a page, or a word it is about: caching, ollama")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the page, or without one what pages there are."""
    if arguments.topic is not None:
        print(page(arguments.topic), end="")
        return 0
    found = topics()
    width = max(map(len, found))
    for name, about in found.items():
        print(f"{name:<{width}}  {about}")
    print("\n`penstock guide TOPIC` prints a page.")
    return 0


def topics() -> dict[str, str]:
    """The pages in reading order, each with what it is about."""
    return dict(_LINE.findall(_folder().joinpath(_INDEX).read_text("utf-8")))


def page(topic: str) -> str:
    """The text of the page that a topic names, in full, by its beginning or by its subject. Raises ConfigError."""
    name = _named(topic.lower().removesuffix(".md"), topics())
    text = _COMMENT.sub("", _folder().joinpath(f"{name}.md").read_text("utf-8"))
    return _TABLE.sub(_listed, _LINK.sub(r"`penstock guide \1`", text))


def _named(topic: str, pages: dict[str, str]) -> str:
    if topic in pages:
        return topic
    # `retries` for `retr`; `coming-from-litellm` for `litellm`; `own-server` for `ollama`.
    for found in (
        [name for name in pages if topic and name.startswith(topic)],
        [name for name in pages if topic and any(word.startswith(topic) for word in name.split("-"))],
        [name for name, about in pages.items() if topic and topic in re.findall(r"[\w.]+", about.lower())],
    ):
        if len(found) == 1:
            return found[0]
        if found:
            raise ConfigError(f"{topic!r} may be one of several pages of the guide: {', '.join(found)}")
    words = [word for name in pages for word in (name, *name.split("-"))]
    raise ConfigError(
        f"the guide has no page {topic!r}{near(topic, words) or '; `penstock guide` lists what there is'}"
    )


def _listed(table: re.Match[str]) -> str:
    """A table as it is, or if it is too wide, each row as an entry with its cells below."""
    lines = table[0].splitlines()
    if max(map(len, lines)) <= _WIDTH:
        return table[0]
    head, _, *rows = ([cell.strip().replace("\\|", "|") for cell in _CELL.split(line)[1:-1]] for line in lines)
    entries = []
    for first, *rest in rows:
        if not first:  # it belongs to the row above
            entries.append(_wrapped(f"{rest[0]}: {' '.join(rest[1:])}".rstrip()))
            continue
        cells = zip(head[1:], rest, strict=True)
        said = [cell if name.startswith("what") else f"{name}: {cell}" for name, cell in cells if cell]
        entries.append("\n".join([f"\n{first}", *map(_wrapped, said)]))
    return "\n".join(entries).lstrip("\n") + "\n"


def _wrapped(text: str) -> str:
    return textwrap.fill(text, _WIDTH, initial_indent="    ", subsequent_indent="        ", break_on_hyphens=False)


def _folder() -> Traversable:
    return files("penstock").joinpath("guide")
