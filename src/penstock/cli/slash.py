"""What a line that begins with `/` does in a conversation: one row of COMMANDS each."""

from __future__ import annotations

import datetime as dt
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from penstock.cli.attachments import attached
from penstock.cli.conversation import Conversation, counts_of
from penstock.cli.terminal import notice, wrapped
from penstock.core.errors import ConfigError
from penstock.core.messages import Message, Part, TextPart, ToolCallPart
from penstock.core.validation import near
from penstock.histories.serialization import dump_messages

__all__ = ["COMMANDS", "Leave", "obey", "said"]

Content: TypeAlias = str | Sequence[Part]


class Leave(Exception):  # noqa: N818 - it is no error
    """The session is over."""


def said(text: str) -> str | None:
    """What a line says to the model: the line itself, with one slash less if it begins with two; None for a command.

    A path is said as it is, and so are several lines that begin with no command there is.
    """
    if text.startswith("//"):
        return text[1:]
    word = text.split(maxsplit=1)[0]
    if not word.startswith("/") or "/" in word[1:]:
        return text
    return text if "\n" in text.strip() and word[1:] not in COMMANDS else None


async def obey(text: str, conversation: Conversation) -> Content | None:
    """Do what a line says, and give what is to be asked again. Raises Leave, and ConfigError for what it cannot do."""
    name, *rest = text.strip()[1:].split(maxsplit=1) or [""]
    command = COMMANDS.get(name)
    if command is None:
        hint = near(f"/{name}", [f"/{known}" for known in COMMANDS]) or "; /help lists those there are"
        raise ConfigError(f"there is no command /{name}{hint} (// begins a line with a slash)")
    return await command.run("".join(rest), conversation)


async def _help(rest: str, conversation: Conversation) -> None:
    width = max(len(f"{name} {command.takes}") for name, command in COMMANDS.items()) + 1
    for name, command in COMMANDS.items():
        print(wrapped(f"{f'/{name} {command.takes}':<{width}}  {command.does}", indent=width + 2), file=sys.stderr)
    keys = "Enter sends; Alt-Enter begins a new line; Ctrl-C ends an answer; Ctrl-D leaves"
    print(wrapped(f"{keys}; // begins a line with a slash"), file=sys.stderr)


async def _attach(rest: str, conversation: Conversation) -> None:
    conversation.attached.append(attached(os.path.expanduser(rest)))  # noqa: ASYNC240, PTH111
    count = len(conversation.attached)
    notice(f"({count} file{'s' * (count != 1)} will go with what you ask next)")


async def _model(rest: str, conversation: Conversation) -> None:
    if rest:
        await conversation.change_model(rest)
    notice(f"(the model is {conversation.described()})")


async def _system(rest: str, conversation: Conversation) -> None:
    if rest:
        conversation.system = "" if rest in ('""', "''") else rest
    notice(f"(the system prompt is {conversation.system!r})")


async def _save(rest: str, conversation: Conversation) -> None:
    name = rest or f"chat-{dt.datetime.now():%Y%m%d-%H%M%S}.md"  # noqa: DTZ005 - as the clock of whoever looks for it
    path = Path(os.path.expanduser(name))  # noqa: ASYNC240, PTH111
    as_json = path.suffix == ".json"
    data = dump_messages(conversation.history) if as_json else _transcript(conversation.history).encode()
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
    except OSError as error:
        raise ConfigError(f"cannot write {str(path)!r}: {error.strerror}") from error
    notice(f"(saved as {path})")


async def _cost(rest: str, conversation: Conversation) -> None:
    usage = conversation.usage
    cached = f"; {usage.cache_read_tokens / usage.prompt_tokens:.0%} cached" if usage.cache_read_tokens else ""
    turns = f"{conversation.turns} turn{'s' * (conversation.turns != 1)}"
    counts = counts_of(usage, demo=conversation.demo)
    notice(f"({turns}: {counts}{cached})")


async def _retry(rest: str, conversation: Conversation) -> Content:
    content = conversation.take_back()
    if content is None:
        raise ConfigError("there is nothing to ask again")
    return content


async def _quit(rest: str, conversation: Conversation) -> None:
    raise Leave


def _transcript(messages: Sequence[Message]) -> str:
    """The conversation as Markdown: what was said, and which tools were called."""
    turns = []
    for message in messages:
        texts = [
            part.text if isinstance(part, TextPart) else f"`{part.name}({part.arguments})`"
            for part in message.parts
            if isinstance(part, TextPart | ToolCallPart)
        ]
        if texts:
            turns.append(f"## {message.role.title()}\n\n" + "\n\n".join(texts))
    return "\n\n".join(turns) + "\n"


class _Command(NamedTuple):
    """takes: what may follow its name. does: for /help. run: with what follows; the result is to be asked again."""

    takes: str
    does: str
    run: Callable[[str, Conversation], Awaitable[Content | None]]


COMMANDS: Final[Mapping[str, _Command]] = {
    "help": _Command("", "this list", _help),
    "attach": _Command("FILE", "send an image, a PDF or a text with what is asked next", _attach),
    "model": _Command("[ALIAS]", "ask another model from here on, or say which one is asked", _model),
    "system": _Command("[TEXT]", 'change the system prompt ("" for none), or say what it is', _system),
    "save": _Command("[FILE]", "write the conversation to a file: Markdown, or JSON by its name", _save),
    "cost": _Command("", "what this session has cost until now", _cost),
    "retry": _Command("", "take the last turn back and ask again", _retry),
    "quit": _Command("", "leave, as Ctrl-D does", _quit),
}
"""The commands by name."""
