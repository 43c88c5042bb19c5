"""`penstock chat`: ask a model, and see its answer stream in."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any, Final

import anyio

from penstock.cli.attachments import attached, content_of, options_of, part_of, piped, tools_of
from penstock.cli.commands import KEYS, Commands, places, say_where
from penstock.cli.composer import composer_for, session_terminal
from penstock.cli.conversation import Conversation, interruptible
from penstock.cli.sessions import Session, Typed, title_of
from penstock.cli.slash import Leave, obey, said
from penstock.cli.terminal import failure_fields, is_terminal, json_line, notice, wrapped
from penstock.cli.typed_ahead import TypedAhead
from penstock.config.catalog import catalog
from penstock.config.entries import ModelsConfig
from penstock.config.keys import misspelt_keys
from penstock.config.models_file import load_models
from penstock.config.open import resolve
from penstock.config.platforms import variables_of
from penstock.core.errors import ConfigError, ProviderError
from penstock.core.messages import Options, Part
from penstock.core.tokens import estimate_tokens
from penstock.wire.vendors import DIALECTS

__all__ = ["add", "run"]

_DEMO: Final = "demo/responses"
"""Over the wire whose SDK is imported in half the time: it is most of what the first word waits for."""


def add(commands: Commands) -> None:
    """Add it to the command line."""
    chat = commands.add_parser("chat", help="ask a model and see the answer stream in, with its tokens and its price")
    chat.add_argument("prompt", nargs="*", help="without it: standard input, or several turns at a terminal")
    chat.add_argument("-m", "--model", metavar="ALIAS", help="of models.json or of the catalogue; or PROVIDER/MODEL-ID")
    chat.add_argument("-s", "--system", metavar="TEXT", help="the system prompt")
    chat.add_argument("-a", "--attach", metavar="FILE", action="append", default=[], help="an image, a PDF or a text")
    chat.add_argument("-o", "--option", metavar="KEY=VALUE", action="append", default=[], help="as reasoning=high")
    chat.add_argument("--max-tokens", type=_count, help="most tokens of the answer")
    chat.add_argument(
        "--tools",
        metavar="MODULE:FUNCTION",
        action="append",
        default=[],
        help="a function that the model may call; it runs at once, without asking you",
    )
    chat.add_argument("-c", "--continue", dest="resume", action="store_true", help="go on where the last session ended")
    chat.add_argument("--no-save", action="store_true", help="keep neither the session nor what is typed")
    chat.add_argument("--json", action="store_true", help="one chunk a line, as JSON, and so are failures")
    chat.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """The command; the result is the exit status."""
    try:
        _run(arguments)
    except ProviderError as error:
        if arguments.json:
            print(json_line(_failure(error)), flush=True)
        raise
    return 0


def _run(arguments: argparse.Namespace) -> None:
    if len(arguments.prompt) > 1:
        raise ConfigError(f'put the question in quotes: penstock chat "{" ".join(arguments.prompt)}"')
    models = load_models()
    conversation = Conversation(
        arguments.model or _default(models),
        models=models,
        options=options_of(arguments.option, arguments.max_tokens),
        tools=tools_of(arguments.tools),
        json=arguments.json,
    )
    parts = conversation.attached
    parts += map(attached, arguments.attach)
    data = piped()
    if data and (arguments.prompt or parts):
        parts.append(part_of(data, "standard input"))
    elif data:
        arguments.prompt = [_text_of(data)]
    talking = is_terminal(sys.stdin) and not arguments.prompt
    if not (talking or parts or (arguments.prompt and arguments.prompt[0].strip())):
        raise ConfigError("there is no prompt: give one as an argument or on standard input")
    _begin(conversation, arguments, talking=talking)
    if talking:
        anyio.run(_talk, conversation, arguments)
    else:
        anyio.run(
            _ask_once, conversation, content_of(arguments.prompt[0] if arguments.prompt else "", parts), arguments.began
        )


def _default(models: ModelsConfig) -> str:
    """The active model; the demo where there is neither a file nor a key."""
    is_there = models.source is not None or any(map(os.environ.get, KEYS))
    return models.active if is_there else _DEMO


def _begin(conversation: Conversation, arguments: argparse.Namespace, *, talking: bool) -> None:
    """Say what is continued, who is asked and what is odd, before anything is sent."""
    _open_session(conversation, arguments)
    if arguments.system is not None:
        conversation.system = arguments.system
    models, model = conversation.models, conversation.model
    resolve(model, models=models)
    for line in _odd(conversation):
        notice(f"({line})")
    if conversation.demo:
        notice(_about_demo(arguments.model))
    if conversation.tools:
        notice(f"({_tools_said(conversation)})")
    if talking:
        file = [] if models.source is not None else ["packaged catalogue"]
        parts = [conversation.described(), *([] if conversation.demo else [*file, *places(models, model)])]
        notice("; ".join([*parts, "/help helps, Ctrl-D leaves"]))
    elif not conversation.demo:
        say_where(models, model)


def _open_session(conversation: Conversation, arguments: argparse.Namespace) -> None:
    """Go on with the last session if that is wanted, and keep this one if somebody may want to go on with it."""
    try:
        session = Session.last() if arguments.resume else None
        if session is not None:
            _resume(conversation, session, arguments)
        elif arguments.resume:
            notice("(no session is kept here: one-shot questions without a terminal are not; this is a new one)")
        if not arguments.no_save and (arguments.resume or any(map(is_terminal, (sys.stdin, sys.stdout, sys.stderr)))):
            conversation.session = session or Session.new()
    except (OSError, ConfigError) as error:
        if arguments.resume:
            raise ConfigError(f"the last session cannot be read: {error}") from error
        notice(f"(this session is not kept: {error})")


def _resume(conversation: Conversation, session: Session, arguments: argparse.Namespace) -> None:
    found = session.load()
    if found.damaged:
        aside = session.set_aside(found.damaged)
        lines = ", ".join(map(str, found.damaged))
        notice(f"({session.path.name} is damaged in line {lines}; all of it is kept as {aside})")
    conversation.history = found.messages
    conversation.model = arguments.model or found.model or conversation.model
    conversation.system = found.system
    count = len(found.messages)
    notice(f"(going on with {session.path.stem}, {count} messages: {title_of(found.messages)})")


async def _ask_once(conversation: Conversation, content: str | Sequence[Part], began: float) -> None:
    async with aclosing(conversation):
        await conversation.ask(content, began)


async def _talk(conversation: Conversation, arguments: argparse.Namespace) -> None:
    """Turn after turn. What fails is said, and the conversation goes on."""
    # At a prompt Ctrl-C ends the line and in an answer the answer; asyncio's own handler would end the session.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with session_terminal():
        async with aclosing(conversation):
            prompts = TypedAhead(composer_for(_typed(arguments)))
            while True:
                print(file=sys.stderr)
                try:
                    text = await prompts.read()
                except KeyboardInterrupt:
                    notice("(Ctrl-D or /quit leaves)")
                    continue
                if text is None:
                    return
                if not text.strip():
                    continue
                try:
                    message = said(text)
                    if message is None:
                        content = await obey(text, conversation)
                    else:
                        content, conversation.attached = content_of(message, conversation.attached), []
                    if content is not None:
                        await _ask(conversation, content, prompts)
                except Leave:
                    return
                except ProviderError as error:
                    _tell(error, json=arguments.json)
                except KeyboardInterrupt:  # just before an answer or after it, or twice
                    _say_interrupted(conversation, prompts)


async def _ask(conversation: Conversation, content: str | Sequence[Part], prompts: TypedAhead) -> None:
    with interruptible() as scope, prompts.listening():
        await conversation.ask(content)
    if scope.cancelled_caught:
        _say_interrupted(conversation, prompts)


def _say_interrupted(conversation: Conversation, prompts: TypedAhead) -> None:
    stays = " before the first word" if conversation.is_unanswered else ": what was said stays"
    notice(f"(interrupted{stays}{'; what was typed meanwhile is dropped' * prompts.forget()})")


def _typed(arguments: argparse.Namespace) -> Typed:
    try:
        return Typed(None) if arguments.no_save else Typed.kept()
    except ConfigError:  # without a home folder; that has been said of the session
        return Typed(None)


def _tell(error: ProviderError, *, json: bool) -> None:
    if json:
        print(json_line(_failure(error)), flush=True)
    print(wrapped(f"penstock: {error}"), file=sys.stderr)


def _failure(error: ProviderError) -> dict[str, Any]:
    """A failure for a line of JSON."""
    return {
        "type": "error",
        **failure_fields(error),
        "retry_after": error.retry_after,
        "hint": error.hint,
        "usage": error.usage,
    }


def _count(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return number


def _text_of(data: bytes) -> str:
    try:
        return data.decode().rstrip("\n")
    except UnicodeDecodeError as error:
        raise ConfigError(f"standard input is not UTF-8: {error}") from None


def _tools_said(conversation: Conversation) -> str:
    """What the tools are, and what they cost in every call."""
    definitions = [each.definition for each in conversation.tools.values()]
    with_them = estimate_tokens("", [], Options(tools=definitions)).tokens
    tokens = with_them - estimate_tokens("", []).tokens
    count = f"{len(definitions)} tool{'s' * (len(definitions) != 1)}"
    return f"{count}: {', '.join(conversation.tools)}; about {tokens} tokens in every call"


def _odd(conversation: Conversation) -> list[str]:
    """What is odd where the key of the model should be; in the demo, where any should."""
    entry = conversation.entry
    names = None if conversation.demo else variables_of(entry) if entry.provider_config.api_key is None else ()
    odd = misspelt_keys().items()
    return [
        f"{name} is set, and nobody reads it: is it {right}?" for name, right in odd if names is None or right in names
    ]


def _about_demo(model: str | None) -> str:
    """What the demo is, and how to ask a real model. model: None where nobody chose the demo."""
    what = "this is the demo, which sends nothing and bills nothing."
    if model is not None:
        return what.capitalize()
    for alias, entry in catalog().models.items():
        row = DIALECTS.get(entry.provider)
        found = next((name for name in (row.key_variables if row else ()) if os.environ.get(name)), None)
        if found is not None:
            return f"No {KEYS[0]} and no models.json: {what} {found} is set: `-m {alias}` asks a real model."
    return f"No API key and no models.json: {what} To ask a real model, set {KEYS[0]} or choose one with -m."
