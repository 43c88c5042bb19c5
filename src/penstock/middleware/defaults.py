"""Fills in what a call leaves to the vendor."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Final

import msgspec

from penstock.core.chunks import Chunk
from penstock.core.errors import ConfigError
from penstock.core.messages import Message, Options, laid_over
from penstock.core.provider import BaseProvider
from penstock.core.tokens import TokenCount
from penstock.middleware.wrapper import Wrapper

__all__ = ["Defaults"]

_PLAIN: Final = Options()
_LAID: Final = ("extra", "tags")
"""These are laid over those of the defaults."""
_OF_TOOLS: Final = ("tool_choice", "parallel_tool_calls")
"""These are refused without tools."""


class Defaults(Wrapper):
    """Takes from *options* what a call leaves: each field that has the value it has in `Options()`.

    That is None for most, `"auto"` for `cache`, False for `lenient` and no tools at all; so a call cannot go back to
    these. `extra` and `tags` of the call are laid over those of *options*, and objects in `extra` are merged.
    `tool_choice` and `parallel_tool_calls` are taken only for a call that has tools. One inside another
    fills in what is left then.
    """

    def __init__(self, inner: BaseProvider, options: Options) -> None:
        if not isinstance(options, Options):
            raise ConfigError(f"`options` is of type {type(options).__name__}, expected Options(...)")
        self._options = options
        names = (name for name in Options.__struct_fields__ if name not in (*_LAID, "scope"))
        self._given = {name: value for name in names if (value := getattr(options, name)) != getattr(_PLAIN, name)}
        # Their names alone: `extra` and a vendor's tools may hold keys.
        super().__init__(inner, options=[*self._given, *(name for name in _LAID if getattr(options, name))])

    def create_message(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """See BaseProvider."""
        return self._inner.create_message(system_prompt, messages, self.filled(options))

    async def count_tokens(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> TokenCount:
        """See BaseProvider."""
        return await self._inner.count_tokens(system_prompt, messages, self.filled(options))

    def request_body(self, system_prompt: str, messages: Sequence[Message], options: Options | None = None) -> bytes:
        """See BaseProvider."""
        return self._inner.request_body(system_prompt, messages, self.filled(options))

    def filled(self, options: Options | None) -> Options | None:
        """*options*, with the defaults where they say nothing."""
        if options is None:
            options = _PLAIN
        elif not isinstance(options, Options):
            return options  # what is inside says what is wrong
        left: dict[str, Any] = {
            name: value for name, value in self._given.items() if _is_left(name, getattr(options, name))
        }
        if not (left.get("tools") or options.tools):
            for name in _OF_TOOLS:
                left.pop(name, None)
        if self._options.extra and isinstance(options.extra, Mapping):
            left["extra"] = laid_over(self._options.extra, options.extra)
        if self._options.tags:
            left["tags"] = {**self._options.tags, **options.tags}
        return msgspec.structs.replace(options, **left)


def _is_left(name: str, value: object) -> bool:
    return not value if name == "tools" else value == getattr(_PLAIN, name)
