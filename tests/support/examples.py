"""The examples of README and guide: blocks of code in Markdown, and how one is run."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import NamedTuple

import pytest
from anyio.from_thread import start_blocking_portal

from penstock.testing import DemoModel, Emulator

_BLOCK = re.compile(r"^(<!-- not run: [^\n]*-->\n)?```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A block of code. line: where it begins in its page. runs: False where the page says that it cannot be run."""

    language: str
    code: str
    line: int
    runs: bool

    @property
    def file(self) -> str | None:
        """The name of the file that it is to be saved as, where its first line says so."""
        found = re.match(r"# (\w+\.py)\n", self.code)
        return found[1] if found else None


def blocks(text: str) -> list[Block]:
    """All of a page's, in order."""
    return [
        Block(found[2], found[3], text[: found.start(2)].count("\n") + 1, found[1] is None)
        for found in _BLOCK.finditer(text)
    ]


@contextmanager
def stand_in() -> Iterator[dict[str, str]]:
    """A server in the place of all vendors, in a thread of its own: the environment that leads to it."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(Emulator(DemoModel())) as emulator:
        yield {
            "ANTHROPIC_API_KEY": "sk-none",
            "ANTHROPIC_BASE_URL": emulator.url,
            "OPENAI_API_KEY": "sk-none",
            "OPENAI_BASE_URL": f"{emulator.url}/v1",
        }


def run(block: Block, page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a block of Python as a program of its own would run, in this process."""
    module = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)
    code = compile("\n" * block.line + block.code, page, "exec", dont_inherit=True)
    exec(code, module.__dict__)
