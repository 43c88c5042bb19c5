"""The size of what a prompt is made of, in tokens: most likely, at the most, and at the least."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final

import msgspec

from penstock.core.client_calls import is_client_tool
from penstock.core.dialect import Dialect
from penstock.core.messages import (
    DocumentPart,
    ImagePart,
    Message,
    OpaquePart,
    Options,
    Part,
    ReasoningPart,
    TextPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
)
from penstock.core.text_tokens import image_pixels, image_tiles, pdf_pages, text_tokens
from penstock.core.token_rates import rates_of

__all__ = ["NOTHING", "Size", "Sizes"]

_UNSEEN_IMAGE: Final = (800, 600)
"""Pixels of an image of which only the URL is known: with 750 to a token, 640 tokens."""
_PIXELS: Final = 750
"""Pixels of an image for each of its tokens."""
_PAGE: Final = 2_000
"""Tokens of a page of a document."""
# What a vendor may count at the most beside the texts: of a message, of a call or a result, of all tools and of each.
_MOST_MESSAGE: Final = 16
_MOST_CALL: Final = 64
_MOST_TOOLS: Final = 1_000
_MOST_TOOL: Final = 128
_LEAST: Final = 4
"""The guess of a text is at most so many times its tokens."""
# Fields of a request that may bring into the prompt what nobody here can count.
_OPEN: Final = frozenset((
    "mcp_servers", "plugins", "web_search_options", "search_parameters", "previous_response_id", "conversation",
    "prompt", "container", "enable_search", "tools", "functions", "messages", "input", "system", "instructions",
    "context_management", "venice_parameters", "models",
))  # fmt: skip


_CITED: Final = 1_000
"""Tokens of what a vendor says to the model where it is to cite, at the most: 480, seen."""
_ENCRYPTED: Final = 8
"""Bytes of encrypted reasoning for a token of it."""
_NAMES: Final = ("file_id", "_url", '"url"', "tool_reference")
_TOOL: Final = frozenset((
    "type", "name", "description", "parameters", "input_schema", "strict", "function", "custom", "format",
    "cache_control", "eager_input_streaming", "input_examples",
))  # fmt: skip


class Size(msgspec.Struct, frozen=True):
    """The tokens of a part of a prompt: most likely; at the most, None where nothing bounds it; at the least."""

    guess: float
    most: float | None
    least: float = 0.0
    fades: bool = False
    """Something of it may be left out later: vendors do so with reasoning, and with what they have looked up."""

    def plus(self, other: Size) -> Size:
        most = None if self.most is None or other.most is None else self.most + other.most
        return Size(self.guess + other.guess, most, self.least + other.least, self.fades or other.fades)


NOTHING: Final = Size(0.0, 0.0)
"""Of no message."""


class Sizes:
    """Measures for one model of one vendor. model_id: as the vendor spells it. row: the vendor's, None for OpenAI's."""

    def __init__(self, model_id: str = "", row: Dialect | None = None) -> None:
        self.rates = rates_of(model_id)
        self._model_id = model_id
        self._row = Dialect() if row is None else row

    def goes(self, part: Part) -> bool:
        """Whether a part is sent at all."""
        return not isinstance(part, ReasoningPart) or part.vendor == self._row.name

    def head(self, system_prompt: str, tools: Sequence[str], schema: str, *, reasons: bool) -> Size:
        rates = self.rates
        size = Size(rates.start + (rates.reasoning if reasons else 0), self._row.own_words)
        if system_prompt:
            size = size.plus(self._text(system_prompt)).plus(Size(rates.message, _MOST_MESSAGE))
        if schema:
            # It need not be a part of the prompt.
            size = size.plus(msgspec.structs.replace(self._text(schema), least=0.0))
        if tools:
            size = size.plus(Size(rates.tools, _MOST_TOOLS))
        for tool in tools:
            guess, length = text_tokens(tool)
            size = size.plus(Size(guess * rates.definition + rates.tool, length + _MOST_TOOL))
        return size

    def is_bounded(self, options: Options) -> bool:
        if _OPEN & options.extra.keys() or any(fnmatchcase(self._model_id, each) for each in self._row.open_models):
            return False
        return not any(not isinstance(tool, Tool) and _is_open(tool) for tool in options.tools)

    def of(self, messages: Sequence[Message]) -> Size:
        size = NOTHING
        for message in messages:
            size = size.plus(self._content(message.content)).plus(Size(self.rates.message, _MOST_MESSAGE))
        return size

    def _content(self, content: str | Sequence[Part]) -> Size:
        if isinstance(content, str):
            return self._text(content)
        size = NOTHING
        calls = self.rates.keeps_reasoning or any(isinstance(part, ToolCallPart) for part in content)
        for part in content:
            if isinstance(part, ReasoningPart):
                size = size.plus(self._reasoning(part, is_read=calls))
            else:
                size = size.plus(self._part(part))
        return size

    def _part(self, part: Part) -> Size:
        if isinstance(part, TextPart):
            return self._text(part.text)
        beside = Size(self.rates.message, _MOST_CALL)
        if isinstance(part, ToolResultPart):
            return self._content(part.content).plus(beside)
        if isinstance(part, ToolCallPart):
            return self._text(part.name + part.arguments).plus(beside)
        if isinstance(part, OpaquePart):
            return self._opaque(part)
        if isinstance(part, ImagePart):
            return self._image(part)
        return self._document(part) if isinstance(part, DocumentPart) else NOTHING

    def _text(self, text: str) -> Size:
        guess, length = text_tokens(text)
        guess *= self.rates.text
        return Size(guess, min(length, 2 * guess + length / 8 + 2), guess / _LEAST)

    def _reasoning(self, part: ReasoningPart, *, is_read: bool) -> Size:
        """The words, and no proof of them; encrypted ones are a good deal longer than the tokens that they are."""
        if not self.goes(part):
            return NOTHING
        words, _ = text_tokens(part.text)
        length = len(part.proof or "")
        guess = words * self.rates.text if part.text else length / _ENCRYPTED
        return Size(guess if is_read else 0.0, 3 * guess + length, fades=True)

    def _opaque(self, part: OpaquePart) -> Size:
        """A block of the vendor's own; what it only names, as a file, may be of any size."""
        if part.vendor != self._row.name:
            return self._text(part.text)
        size = self._text(part.data)
        if '"citations"' in part.data:
            size = size.plus(Size(0.0, _CITED))
        return Size(size.guess, None if any(name in part.data for name in _NAMES) else size.most, fades=True)

    def _image(self, part: ImagePart) -> Size:
        width, height = image_pixels(part) or _UNSEEN_IMAGE
        rates = self.rates
        if rates.tiles is None:
            return Size(min(width * height / _PIXELS, rates.large_image), rates.most_image)
        whole, each = rates.tiles
        return Size(min(whole + each * image_tiles(width, height), rates.most_image), rates.most_image)

    def _document(self, part: DocumentPart) -> Size:
        if part.media_type == "text/plain" and part.data is not None:
            size = self._text(part.data.decode("utf-8", "replace")).plus(self._text(part.title or ""))
            return size.plus(Size(0.0, _CITED)) if part.citations else size
        return Size((pdf_pages(part) or 1) * _PAGE, None)


def _is_open(tool: Mapping[str, object]) -> bool:
    """Whether it may read on its own what nobody here can count."""
    kind = tool.get("type", "function")
    if kind in ("function", "custom"):
        return not tool.keys() <= _TOOL  # a program of the vendor's may call it, say
    return kind == "mcp" or not is_client_tool(tool)
