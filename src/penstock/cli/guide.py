"""`penstock guide`: the manual's pages, which lie in the package as Markdown.

What is printed is for people at a terminal: wide tables become lists, and links the command that prints their page.
"""

from __future__ import annotations

import argparse
import re
import textwrap
from collections import Counter
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
_CODE: Final = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_HEADING: Final = re.compile(r"^#+ (.+)$", re.MULTILINE)
_WORD: Final = re.compile(r"[^\W_]+(?:\.[^\W_]+)*")
_ENDING: Final = re.compile(r"(?<=\w\w\w)(?:ings?|e[sd]?|s)$")
_IN_LIST: Final = 12
_IN_HEADING: Final = 6
"""How many times in a page's text a word counts that is in its line of the list, or in one of its headings."""
_WIDTH: Final = 100
"""Columns; a table with a longer row is hard to read at a terminal."""


def add(commands: Commands) -> None:
    """Add the command to those of `penstock`."""
    parser = commands.add_parser("guide", help="the manual: its pages, or one of them")
    parser.add_argument("topic", nargs="?", metavar="TOPIC", help="a page, or a word it is about: caching, timeout")
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
    # `retries` for `retr`; `coming-from-litellm` for `litellm`; `own-server` for `ollama`; `messages` for `pdf`.
    for found in (
        [name for name in pages if topic and name.startswith(topic)],
        [name for name in pages if topic and any(word.startswith(topic) for word in name.split("-"))],
        [name for name in pages if _stems(topic) == _stems(name)],
        _about(topic, pages),
    ):
        if len(found) == 1:
            return found[0]
        if found:
            raise ConfigError(f"{topic!r} may be one of several pages of the guide: {', '.join(found)}")
    words = [word for name in pages for word in (name, *name.split("-"))]
    raise ConfigError(
        f"the guide has no page {topic!r}{near(topic, words) or '; `penstock guide` lists what there is'}"
    )


def _about(topic: str, pages: dict[str, str]) -> list[str]:
    """The pages that say all words of *topic*, those that say most of it first; one alone if it says much more."""
    wanted = set(_stems(topic))
    scores = {}
    for name, about in pages.items():
        text = _CODE.sub("", _folder().joinpath(f"{name}.md").read_text("utf-8"))
        said = Counter(_stems(text))
        for weight, place in ((_IN_LIST, about), (_IN_HEADING, " ".join(_HEADING.findall(text)))):
            for stem in set(_stems(place)):
                said[stem] += weight
        if wanted and all(said[stem] for stem in wanted):
            scores[name] = sum(said[stem] for stem in wanted)
    # Pages for those who come from elsewhere say a little of everything.
    scores = {name: score for name, score in scores.items() if not name.startswith("coming-")} or scores
    best, *others = sorted(scores, key=lambda name: -scores[name]) or [""]
    likely = [name for name in others if scores[name] * 2 > scores[best]]
    return [best, *likely[:4]] if best else []


def _stems(text: str) -> list[str]:
    """The words of a text, without the endings that make `price`, `prices` and `pricing` differ."""
    return [_ENDING.sub("", word).replace("y", "i") for word in _WORD.findall(text.lower())]


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
