"""How a server that speaks OpenAI's APIs, or Anthropic's, differs from them: data, of which one struct is one server.

A vendor that speaks both has a row for each: what one of its servers wants back, the other does not know.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec

from penstock.core.errors import ConfigError
from penstock.core.messages import Options
from penstock.core.validation import near

__all__ = ["SAMPLING", "Batches", "Dialect", "Wire", "check_base_url", "userinfo", "without_userinfo"]

Wire: TypeAlias = Literal["chat", "responses", "messages"]

# What has no field of its own: those of the history, of the tools, and those that are no part of the body.
_ELSEWHERE: Final = (
    "tools", "tool_choice", "cache", "deadlines", "on_head", "on_resend", "lenient", "on_drop", "extra", "tags", "scope"
)  # fmt: skip
SAMPLING: Final = ("temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty")
"""The options that say how the next word is chosen, and have limits."""

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


class Batches(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True
):
    """What a server takes as a batch, over the API of its wire: OpenAI's Batch, or Anthropic's Message Batches."""

    source: str = ""
    """Where this was read, and when."""
    most_jobs: Annotated[int, msgspec.Meta(ge=1)] = 50_000
    """Jobs of one batch, at the most."""
    most_bytes: Annotated[int, msgspec.Meta(ge=1)] = 200_000_000
    """Bytes of one batch, at the most."""
    wires: Sequence[Wire] = ("chat", "responses")
    """Calls over these may be in one."""


class Dialect(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True
):
    """One vendor, on OpenAI's wires or on Anthropic's. The defaults are OpenAI's own: a row states only differences."""

    name: Annotated[str, msgspec.Meta(min_length=1)] = "openai"
    """The `vendor` on its errors, and on the blocks that go back to it."""
    source: str = ""
    """Where the differences were read, and when."""
    base_url: str | None = None
    """Its usual address; None when there is none, and then each config has to give one."""
    key_variables: Sequence[str] = ("OPENAI_API_KEY",)
    """Environment variables that may hold the key; the first that is set is taken."""
    needs_key: bool | None = None
    """Whether a call without a key is refused. None: it is where `key_variables` names any."""
    key_header: str | None = None
    """The header that carries the key; None for `Authorization: Bearer`."""
    wires: Annotated[Sequence[Wire], msgspec.Meta(min_length=1)] = ("responses", "chat")
    """The APIs it has, its best one first: of OpenAI's `chat` and `responses`, or Anthropic's `messages` alone."""
    stream_usage: bool = True
    """On the chat wire, usage comes in a stream only if `stream_options` asks for it; False where that is refused."""
    option_fields: Mapping[str, str | None] = msgspec.field(default_factory=dict)
    """For each name of Options the field of the body on the chat wire, or on Anthropic's, with dots between objects;
    None where there is none, or where it is ignored without a word. `reasoning` is an effort here, `reasoning_budget` a
    budget of tokens.
    """
    ranges: Mapping[str, tuple[float | None, float | None]] = msgspec.field(default_factory=dict)
    """For each sampling option the least and the most that it may be, None for no limit; what is not named has the
    limits of the wire.
    """
    reasoning_off: Mapping[str, Any] | None = msgspec.field(default_factory=lambda: {"reasoning_effort": "none"})
    """Raw fields of the body on the chat wire, or on Anthropic's, that turn reasoning off; None where it cannot be."""
    effort_thinking: str | None = "adaptive"
    """On Anthropic's wire, the type of `thinking` that goes with an effort of reasoning; None for none."""
    chat_efforts: Sequence[str] | None = ("minimal", "low", "medium", "high", "xhigh")
    """The efforts of reasoning that its chat wire takes; None for any that the model takes."""
    tool_choices: Sequence[Literal["auto", "none", "required", "named"]] = ("auto", "none", "required", "named")
    """What `tool_choice` can be; `named` is a tool's name."""
    required_word: str = "required"
    """Its word for the tool choice `required`."""
    reasoning_echo: (
        Literal["reasoning_content", "reasoning", "reasoning_details", "extra_content", "thinking"] | None
    ) = None
    """What of the reasoning goes back on the chat wire: the text in the field of that name, on every message with
    calls; the vendor's `reasoning_details`; or the `extra_content` of a call. None for nothing. On Anthropic's wire
    what has a signature always does, and with `thinking` what has none as well, its signature empty.
    """
    proofs_bound: bool = False
    """A proof of reasoning can be read only by the host that made it: another of the same vendor does not get it."""
    foreign_extra: Mapping[str, Any] | None = None
    """The `extra_content` that a call gets if another vendor's model made it, where this vendor refuses a call without
    its own; None for none.
    """
    longest_call_id: int | None = 40
    """The longest id of a tool call, 16 to 64 letters, digits, `_` and `-`; on the Responses API always 64. None for
    any id: then ids go back as they came, since some models look at theirs.
    """
    call_id_length: int | None = None
    """The exact length of a tool call's id, 8 to 64 letters and digits; None for any length."""
    user_after_tool: bool = True
    """A user's message may follow a tool's result."""
    image_urls: bool = True
    """Images may be URLs that it fetches."""
    chat_documents: bool = True
    """Takes documents on the chat wire, or on Anthropic's."""
    encrypted_reasoning: bool = False
    """On the Responses API, reasoning comes encrypted only if it is asked for."""
    responses_ignore: Sequence[str] = ()
    """Options that its Responses API ignores without a word; they are refused before sending."""
    server_calls: Sequence[str] = ()
    """Items of its Responses API that it runs itself, though at OpenAI they wait for the client."""
    cache: Literal["options", "top_level", "marks"] | None = "options"
    """What can be asked of its prompt cache: `options` as OpenAI's, a mark at the `top_level` as OpenRouter's, `marks`
    on the blocks as Anthropic's; None for nothing, though it may cache by itself.
    """
    api_version: str = "2023-06-01"
    """On Anthropic's wire, the version of the API that is asked for; the older one with sampling options, as a newer
    one has none.
    """
    recursive_schemas: bool = True
    """The schema of an answer may hold itself."""
    most_unions: int | None = None
    """Places in the schema of an answer where one of several types may stand, null included; None for any number."""
    most_optional: int | None = None
    """Properties in the schema of an answer that are not required; None for any number."""
    catalog_of: str | None = None
    """The provider whose models of the catalogue are this one's as well, at the same prices; None for its own."""
    cache_priced: bool = True
    """The cached tokens that it reports are a part of the prompt, with a price of their own."""
    output_is_rest: bool = False
    """Its count of output tokens leaves out reasoning, so output is counted as the total less the prompt."""
    audio_is_rest: bool = False
    """What the total has beyond prompt and output is sound in the prompt."""
    states_cost: bool = False
    """The dollars that its answers state are the bill. Elsewhere nobody looks at them: a gateway may guess."""
    is_free: bool = False
    """Nothing is billed unless the model has prices, as for a server of one's own."""
    regional_hosts: Sequence[str] = ()
    """Hosts, with `*` for any letters, at which a model's prices are `ModelInfo.regional_factor` times as high."""
    fee_items: Sequence[str] = ("file_search_call", "code_interpreter_call", "image_generation_call")
    """Items of an answer of the Responses API with a fee that no count shows: the cost is unknown then."""
    fee_models: Sequence[str] = ()
    """Models, with `*` for any letters, with a fee that no count shows: their cost is never known."""
    unasked_variants: Sequence[str] = ()
    """Variants of its prices that may apply though the request does not ask for them, as the account's settings say."""
    limited_tools: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Tools that it runs itself as often as a field of theirs allows, priced as web searches: the field by the `type`,
    with `*` for any letters.
    """
    open_models: Sequence[str] = ()
    """Models, with `*` for any letters, that look things up by themselves: nothing bounds what they bill as prompts."""
    own_words: int = 1_000
    """The most tokens that it puts before a prompt by itself, as a system prompt of its own."""
    count_paths: Mapping[Wire, str] = msgspec.field(default_factory=dict)
    """Where it counts the tokens of a prompt for nothing, by wire; what is not named has no such endpoint."""
    batches: Batches | None = None
    """What it takes as a batch, at half the price or so; None where it has no such API, or not in this form."""
    list_paths: Annotated[Sequence[str], msgspec.Meta(min_length=1)] = ("/models",)
    """Where it lists its models, the best first: the next is asked where there is no such path. `/..` leads out of the
    last part of the base URL.
    """
    loaded_path: str | None = None
    """Where it tells of the models that it has loaded; None where its list does so, or nobody."""
    list_price_unit: Decimal | None = None
    """Dollars per million tokens of a price of 1 in its list; None where its list has none that can be read."""
    list_is_whole: bool = True
    """What is not in its list cannot be called; False where calls may name more, such as a deployment of one's own."""
    list_needs_key: bool = True
    """Its list is refused without a good key; False where everybody may read it."""
    key_path: str | None = None
    """Where nothing but a good key is asked for, if everybody may read the list; None for nowhere."""
    says_end: bool = True
    """A stream ends with a finish reason or `[DONE]`; False where a plain end of the stream is an end too."""
    done_alone: bool = False
    """`[DONE]` without a finish reason completes a message of bare text; elsewhere a proxy may say it after a cut."""
    think_tags: bool | None = None
    """On the chat wire, reasoning may stand at the very start of the text, in `<think>` tags; None for no."""
    request_faults: Sequence[str] = ()
    """Texts, in any case, of its errors with a status of 500 and more that are the request's own fault: not retried."""
    says_cut: bool = True
    """An answer of its Responses API that the limit cut off says so; False where it is `completed` all the same, and
    only a call that is not whole shows it.
    """

    @property
    def takes_max_tokens(self) -> bool:
        """Whether the length of an answer can be bounded on each of its APIs."""
        return self.option_fields.get("max_tokens", "") is not None and "max_tokens" not in self.responses_ignore

    def __post_init__(self) -> None:
        check_base_url(self.base_url)
        for name, least in (("longest_call_id", 16), ("call_id_length", 8)):
            # Fewer would not keep the calls of a long history apart; more than the digits of a hash there are not.
            if (length := getattr(self, name)) is not None and not least <= length <= 64:
                raise ConfigError(f"`{name}` is {length}, expected {least} to 64")
        for name, known_options in (("option_fields", _OPTIONS), ("ranges", SAMPLING)):
            for option in getattr(self, name):
                if option not in known_options:
                    known = f"{', '.join(known_options)}{near(option.lower(), known_options)}"
                    raise ConfigError(f"`{name}` is a mapping with {option!r}, expected only: {known}")
        for path in (*self.list_paths, *filter(None, (self.loaded_path, self.key_path))):
            if not path.startswith("/"):  # what looks like an address would get the key
                raise ConfigError(f"`list_paths` and others hold {path!r}, expected a path that begins with /")
        if "messages" in self.wires and len(self.wires) > 1:
            raise ConfigError("`wires` is a list with messages and another, expected messages alone: give two rows")
