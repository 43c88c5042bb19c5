"""How a server that speaks OpenAI's APIs differs from OpenAI: data, of which one struct is one vendor."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec

from penstock.core.errors import ConfigError
from penstock.core.messages import Options
from penstock.core.validation import near

__all__ = ["Dialect", "Wire", "check_base_url", "userinfo", "without_userinfo"]

Wire: TypeAlias = Literal["chat", "responses"]

# What has no field of its own: those of the history, of the tools, and those that are no part of the body.
_ELSEWHERE: Final = ("tools", "tool_choice", "cache", "deadlines", "extra")
_OPTIONS: Final = (*(name for name in Options.__struct_fields__ if name not in _ELSEWHERE), "reasoning_budget")


# Up to the last @, if a password holds a / that should have been escaped: what is no port begins one.
_USERINFO: Final = re.compile(r"(?<=//)([^/?#]*|[^/?#]*:(?!\d*(?:[/?#]|$)).*)@")
_PORT: Final = re.compile(r"^https?://[^/?#]*:(\d+)(?:[/?#]|$)")


def check_base_url(url: str | None) -> None:
    """Raise ConfigError for what is no URL of HTTP."""
    if url is not None and not str(url).startswith(("http://", "https://")):
        raise ConfigError(f"`base_url` is {without_userinfo(url)!r}, expected one that begins with http:// or https://")
    port = _PORT.search(str(url)) if url is not None else None
    if port is not None and not 0 < int(port[1][:9]) < 65536:
        raise ConfigError(f"`base_url` has the port {port[1]}, expected 1 to 65535")


def userinfo(url: object) -> str:
    """What stands before the host of *url*: `user:password`, or nothing."""
    found = _USERINFO.search(url) if isinstance(url, str) else None
    return found[1] if found is not None else ""


def without_userinfo(url: str | None) -> str | None:
    """*url* with `***` for the user and the password before its host."""
    return _USERINFO.sub("***@", url, count=1) if isinstance(url, str) else url


class Dialect(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True
):
    """One vendor. The defaults are OpenAI's own, so a row states only differences."""

    name: Annotated[str, msgspec.Meta(min_length=1)] = "openai"
    """What stands as `vendor` on errors and on what goes back to it."""
    source: str = ""
    """Where the differences were read, and when."""
    base_url: str | None = None
    """Its usual address; None when there is none, and then each config has to give one."""
    key_variables: Sequence[str] = ("OPENAI_API_KEY",)
    """Environment variables that may hold the key; the first that is set is taken."""
    needs_key: bool | None = None
    """Whether a call without a key is refused; None if there is a variable for it."""
    key_header: str | None = None
    """The header that carries the key; None for `Authorization: Bearer`."""
    wires: Annotated[Sequence[Wire], msgspec.Meta(min_length=1)] = ("responses", "chat")
    """The APIs it has, its best one first."""
    stream_usage: bool = True
    """On the chat wire, usage comes in a stream only if `stream_options` asks for it; False where that is refused."""
    option_fields: Mapping[str, str | None] = msgspec.field(default_factory=dict)
    """For each name of Options the field of the chat wire's body, with dots between objects; None where there is none.
    `reasoning` is an effort here, `reasoning_budget` a budget of tokens.
    """
    reasoning_off: Mapping[str, Any] | None = msgspec.field(default_factory=lambda: {"reasoning_effort": "none"})
    """Raw fields of the chat wire's body that turn reasoning off; None where it cannot be turned off."""
    chat_efforts: Sequence[str] | None = ("minimal", "low", "medium", "high", "xhigh")
    """The efforts of reasoning that its chat wire takes; None for any that the model takes."""
    tool_choices: Sequence[Literal["auto", "none", "required", "named"]] = ("auto", "none", "required", "named")
    """What `tool_choice` can be; `named` is a tool's name."""
    required_word: str = "required"
    """Its word for the tool choice `required`."""
    reasoning_echo: Literal["reasoning_content", "reasoning", "reasoning_details", "extra_content"] | None = None
    """What of the reasoning goes back on the chat wire: the text in the field of that name, on every message with
    calls; the vendor's `reasoning_details`; or the `extra_content` of a call. None for nothing.
    """
    foreign_extra: Mapping[str, Any] | None = None
    """The `extra_content` for a call that another vendor's model made; None for none."""
    longest_call_id: int | None = 40
    """Ids of tool calls have at most so many letters, digits, `_` and `-`: 16 to 64, and on the Responses API 64. None
    for any id: then ids go back as they came, since some models look at theirs.
    """
    call_id_length: int | None = None
    """Ids of tool calls have exactly so many letters and digits, 8 to 64; None for any number."""
    user_after_tool: bool = True
    """A user's message may follow a tool's result."""
    image_urls: bool = True
    """Images may be URLs that it fetches."""
    chat_documents: bool = True
    """Takes documents on the chat wire."""
    encrypted_reasoning: bool = False
    """On the Responses API, reasoning comes encrypted only if it is asked for."""
    responses_ignore: Sequence[str] = ()
    """Options that its Responses API ignores without a word; they are refused before sending."""
    server_calls: Sequence[str] = ()
    """Items of its Responses API that it runs itself, though at OpenAI they wait for the client."""
    cache: Literal["options", "top_level"] | None = "options"
    """What can be asked of its prompt cache: `options` as OpenAI's, a mark at the `top_level` as OpenRouter's; None for
    nothing, though it may cache by itself.
    """
    cache_priced: bool = True
    """The cached tokens that it reports are a part of the prompt, with a price of their own."""
    output_is_rest: bool = False
    """Output is what the total has beyond the prompt, as reasoning is in no other count."""
    says_end: bool = True
    """A stream ends with a finish reason or `[DONE]`; False where a plain end of the stream is an end too."""
    says_cut: bool = True
    """An answer of its Responses API that the limit cut off says so; False where it is `completed` all the same, and
    only a call that is not whole shows it.
    """

    def __post_init__(self) -> None:
        check_base_url(self.base_url)
        for name, least in (("longest_call_id", 16), ("call_id_length", 8)):
            # Fewer would not keep the calls of a long history apart; more than the digits of a hash there are not.
            if (length := getattr(self, name)) is not None and not least <= length <= 64:
                raise ConfigError(f"`{name}` is {length}, expected {least} to 64")
        for option in self.option_fields:
            if option not in _OPTIONS:
                known = f"{', '.join(_OPTIONS)}{near(option.lower(), _OPTIONS)}"
                raise ConfigError(f"`option_fields` is a mapping with {option!r}, expected only: {known}")
