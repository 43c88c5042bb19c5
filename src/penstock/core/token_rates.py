"""What the models of a family make of a prompt, beside `text_tokens`: data, a row for each family.

Fitted on 2026-11-30 to the prompts that 4,011 recorded calls were billed for.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Final

import msgspec

__all__ = ["Rates", "rates_of"]


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """The tokens of a prompt by its parts."""

    models: Sequence[str] = ("*",)
    """Ids of models in lower case, with `*` for any letters."""
    text: float = 1.1
    """Tokens of a text, for each that OpenAI's newest tokenizer makes of it."""
    start: float = 3
    """Of a prompt, whatever is in it."""
    message: float = 4
    """Of a message, a call and a result, beside what it says."""
    tools: float = 40
    """Of the first tool."""
    tool: float = 10
    """Of each tool."""
    definition: float = 1.2
    """Of a tool's definition, for each that the text of its JSON has."""
    reasoning: float = 0
    """Of a prompt, if reasoning is asked for."""
    keeps_reasoning: bool = False
    """The reasoning of earlier turns is read again, and not only that before the calls that are being answered."""
    reasoning_reserve: int = 0
    """Tokens of reasoning that are billed beside the most tokens of an answer, which are only those that are seen."""
    large_image: int = 1_600
    """Of an image, at the most: larger ones are made smaller. Of others it is one for each 750 pixels."""
    tiles: tuple[int, int] | None = None
    """Of an image, and of each square of 512 pixels in it, where a model counts these; None for others."""
    most_image: int = 16_384
    """Of any image, by any way of sending it."""


_ROWS: Final = (
    # The newest of Anthropic's make more tokens of the same text, and read their reasoning again.
    Rates(
        models=("*claude-opus-4[-.][789]*", "*claude-opus-[5-9]*", "*claude-sonnet-[5-9]*", "*claude-haiku-[5-9]*"),
        text=1.4, message=2, start=6, tools=290, tool=8, definition=2.6, reasoning=28, keeps_reasoning=True,
        large_image=4_784, most_image=5_000,
    ),
    Rates(
        models=("*claude-opus-4[-.][56]*", "*claude-sonnet-4[-.][56]*", "*claude-haiku-4*", "*claude-*-4[.]*"),
        text=1.22, message=2.3, start=5, tools=490, tool=4, definition=1.6, reasoning=28, most_image=5_000,
    ),
    Rates(
        models=("*claude-opus-4*", "*claude-sonnet-4*", "*claude-3[-.]7*"),
        text=1.18, message=2.6, start=5, tools=315, tool=9, definition=1.29, reasoning=28, most_image=5_000,
    ),
    Rates(models=("*claude*",), text=1.12, tools=290, tool=8, definition=1.36, most_image=5_000),
    Rates(models=("*gpt-oss*",), text=1.2, message=7, start=58, tools=8, tool=8, definition=0.67),
    Rates(
        models=("*gpt-4o-mini*",),
        text=1.02, message=5, start=2, tools=12, tool=0, definition=0.68, tiles=(2833, 5667), most_image=50_000,
    ),
    Rates(
        models=("*gpt-4o*", "*gpt-4[.]1", "*gpt-4[.]1-20*", "*gpt-4-*"),
        text=1.02, message=5, start=2, tools=12, tool=0, definition=0.68, tiles=(85, 170), most_image=5_000,
    ),
    Rates(
        models=("*gpt-5", "*gpt-5-20*"),
        text=1.02, message=5, start=2, tools=12, tool=0, definition=0.68, tiles=(70, 140), most_image=5_000,
    ),
    Rates(
        models=("*gpt-*", "*o[134]", "*o[134]-*", "*codex*"),
        text=1.02, message=5, start=2, tools=12, tool=0, definition=0.68, most_image=5_000,
    ),
    Rates(
        models=("*mi[sx]tral*", "*ministral*", "*devstral*", "*codestral*", "*voxtral*", "*pixtral*", "*magistral*"),
        message=3, start=0, tools=8, tool=10, definition=1.25,
    ),
    Rates(models=("*deepseek*",), text=1.12, message=1.2, start=2.3, tools=88, tool=3, definition=1.27),
    Rates(
        models=("*grok-4-fast*", "*grok-4[.]*", "*grok-4-1*"),
        start=130, tools=110, definition=1.6, reasoning_reserve=16_384,
    ),
    Rates(
        models=("*grok-4*", "*grok-code*"),
        text=1.2, start=5, tools=190, tool=7, definition=1.62, reasoning_reserve=16_384,
    ),
    Rates(models=("*grok*",), message=7, tools=110, definition=1.6, reasoning_reserve=16_384),
    Rates(models=("*gemini*",), text=1.0, message=2, start=0, tools=0, tool=-5, definition=0.5),
    Rates(models=("*qwen*", "*qwq*"), text=1.06, message=4.4, start=5, tools=74, tool=11, definition=1.33),
    Rates(models=("*glm*",), text=1.15, tools=100, tool=9, definition=1.16),
    Rates(models=("*kimi*",), text=1.04, start=6, tools=0, tool=9, definition=1.6),
    Rates(models=("*mimo*",), start=240, tools=150, tool=8, definition=1.3),
    Rates(models=("*llama*", "*hermes*"), message=6, start=25, tools=100, tool=7, definition=1.25),
    Rates(),
)  # fmt: skip


@lru_cache(maxsize=1024)
def rates_of(model_id: str) -> Rates:
    """The row of a model's family; the last one's for a model of none."""
    name = model_id.lower()
    return next(row for row in _ROWS if any(fnmatchcase(name, pattern) for pattern in row.models))
