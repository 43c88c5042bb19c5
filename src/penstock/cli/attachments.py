"""What goes to the model with a prompt: files, standard input, options and tools, as the command line names them."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final, get_args

import msgspec

from penstock.agent.tools import FunctionTool, tool, tool_table
from penstock.core.arguments import whole_text
from penstock.core.errors import ConfigError
from penstock.core.messages import DocumentPart, ImagePart, Options, Part, TextPart
from penstock.core.validation import near

__all__ = ["attached", "content_of", "options_of", "part_of", "piped", "tools_of"]

_MOST: Final = 20_000_000
"""Bytes of a file: with base64's third more, and a prompt, what the largest requests of the vendors have room for
(Anthropic: 32 MB, platform.claude.com/docs/en/api/overview, read 2026-11-30).
"""
# By how a file begins: what its name says may be wrong, and then a vendor refuses it.
_KINDS: Final[tuple[tuple[bytes, bytes, type[ImagePart | DocumentPart], str], ...]] = (
    (b"\x89PNG\r\n\x1a\n", b"", ImagePart, "image/png"),
    (b"\xff\xd8\xff", b"", ImagePart, "image/jpeg"),
    (b"GIF8", b"", ImagePart, "image/gif"),
    (b"RIFF", b"WEBP", ImagePart, "image/webp"),
    (b"%PDF-", b"", DocumentPart, "application/pdf"),
)
_SIMPLE: Final = frozenset(Options.__struct_fields__) - {
    "tools", "response_schema", "deadlines", "on_head", "on_resend", "on_drop", "extra", "tags", "scope"
}  # fmt: skip


def attached(file: str) -> Part:
    """A file as a part of a message. Raises ConfigError for one that cannot be read or sent."""
    try:
        with Path(file).open("rb") as stream:
            data = stream.read(_MOST + 1)  # of a device there is no end
    except OSError as error:
        raise ConfigError(f"cannot read {file!r}: {error.strerror or error}") from error
    except ValueError as error:
        raise ConfigError(f"cannot read {file!r}: {error}") from error
    return part_of(data, Path(file).name)


def piped() -> bytes:
    """What standard input holds; nothing if it is a terminal. Reads no more than can be sent."""
    try:
        if sys.stdin is None or sys.stdin.isatty():
            return b""
        handle = sys.stdin.fileno()
    except ValueError:  # no file, as in a notebook
        return b""
    _say_that_it_waits(handle)
    data = b""
    while len(data) <= _MOST and (piece := os.read(handle, 1_000_000)):
        data += piece
    return data


def _say_that_it_waits(handle: int) -> None:
    """As whoever has started this from a program may have left it open, and would wonder."""
    from select import select

    try:
        ready = select([handle], [], [], 2.0)[0]
    except OSError:  # on Windows it waits for sockets only
        return
    if not ready:
        print("(reading standard input: end it with Ctrl-D, or give </dev/null)", file=sys.stderr)


def part_of(data: bytes, name: str) -> Part:
    """What a file holds as a part of a message: text with its name around it. Raises ConfigError for another kind."""
    said = repr(name)
    if len(data) > _MOST:
        raise ConfigError(f"{said} is too large: it has over {_MOST // 1_000_000} MB, the most that can be attached")
    for head, inside, kind, media_type in _KINDS:
        if data.startswith(head) and data.startswith(inside, 8 if inside else 0):
            return kind(data=data, media_type=media_type)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        kinds = "no JPEG, PNG, GIF or WebP image, no PDF and no UTF-8 text"
        raise ConfigError(f"{said} cannot be attached: it is {kinds} ({error.reason})") from None
    if not text.strip() or "\0" in text:
        raise ConfigError(
            f"{said} is {'no text: it has zero bytes' if text.strip() else 'empty'}: it cannot be attached"
        )
    return TextPart(f'<file name="{whole_text(name)}">\n{text.strip()}\n</file>')


def content_of(prompt: str, parts: Sequence[Part]) -> str | list[Part]:
    """A prompt with what it is about before it."""
    return [*parts, *([TextPart(prompt)] if prompt.strip() else [])] if parts else prompt


def options_of(given: Sequence[str], max_tokens: int | None) -> Options:
    """Options of `key=value`. Raises ConfigError, with the nearest name, for what is none."""
    kinds = {field.name: field.type for field in msgspec.structs.fields(Options) if field.name in _SIMPLE}
    found: dict[str, Any] = {} if max_tokens is None else {"max_tokens": max_tokens}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign or name not in kinds:
            what = f"there is no option {name!r}" if sign else f"`-o` is {text!r}, expected KEY=VALUE"
            raise ConfigError(f"{what}; there are: {', '.join(sorted(kinds))}{near(name, kinds)}")
        try:
            found[name] = msgspec.convert(value, kinds[name], strict=False)
        except msgspec.ValidationError as error:
            words = _words(kinds[name])
            said = f"expected one of: {', '.join(words)}{near(value, words)}" if words else error
            raise ConfigError(f"the option `{name}` is {value!r}: {said}") from None
    return Options(**found)


def _words(kind: Any) -> list[str]:
    """The words that a value may be; and that it may be a number, where some are words."""
    arms = [arm for each in get_args(kind) for arm in get_args(each) or [each]]
    words = [arm for arm in arms if isinstance(arm, str)]
    return [*words, "a whole number"] if words and int in arms else words


def tools_of(given: Sequence[str]) -> dict[str, FunctionTool]:
    """The tools of `module:function`, by name. Raises ConfigError for what is not there or cannot be one."""
    if given and "" not in sys.path:
        sys.path.insert(0, "")  # the current folder, as it is for `python -m`
    return tool_table([each for word in given for each in _tools_at(word)])


def _tools_at(word: str) -> list[FunctionTool]:
    module_name, sign, name = word.partition(":")
    if not (module_name and sign and name):
        raise ConfigError(f"`--tools` is {word!r}, expected MODULE:FUNCTION")
    try:
        module = import_module(module_name)
    except (Exception, SystemExit) as error:  # a script's own end
        raise ConfigError(f"the module of `--tools {word}` cannot be imported: {_said(error)}") from error
    found = getattr(module, name, None)
    if found is None:
        raise ConfigError(f"the module {module_name!r} has no {name!r}{near(name, vars(module))}")
    many = list(found) if isinstance(found, list | tuple) else [found]
    return [each if isinstance(each, FunctionTool) else _made(each, word) for each in many]


def _made(function: object, word: str) -> FunctionTool:
    if not inspect.isroutine(function):
        raise ConfigError(f"`--tools {word}` is {type(function).__name__}, expected a function or a list of them")
    return tool(function)


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
