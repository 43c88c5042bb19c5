"""`penstock guide`: the manual's pages, which lie in the package as Markdown."""

from __future__ import annotations

import argparse
import re
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


def add(commands: Commands) -> None:
    """Add the command to those of `penstock`."""
    parser = commands.add_parser("guide", help="the manual: its pages, or one of them")
    parser.add_argument(
        "topic", nargs="?", metavar="TOPIC", help="a page, as `caching`; the beginning of its name does"
    )
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
    """The text of a page, named in full or by the beginning of its name or of a word in it. Raises ConfigError."""
    name = _named(topic.lower().removesuffix(".md"), list(topics()))
    text = _COMMENT.sub("", _folder().joinpath(f"{name}.md").read_text("utf-8"))
    return _LINK.sub(r"`penstock guide \1`", text)


def _named(topic: str, names: list[str]) -> str:
    if topic in names:
        return topic
    # `retries` for `retr`; `coming-from-litellm` for `litellm`.
    for found in (
        [name for name in names if topic and name.startswith(topic)],
        [name for name in names if topic and any(word.startswith(topic) for word in name.split("-"))],
    ):
        if len(found) == 1:
            return found[0]
        if found:
            raise ConfigError(f"several pages of the guide begin with {topic!r}: {', '.join(found)}")
    words = [word for name in names for word in (name, *name.split("-"))]
    raise ConfigError(
        f"the guide has no page {topic!r}{near(topic, words) or '; `penstock guide` lists what there is'}"
    )


def _folder() -> Traversable:
    return files("penstock").joinpath("guide")
