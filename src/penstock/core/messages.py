"""What goes into `create_message`: the history, the tools and the options, neutral of any vendor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import msgspec

from penstock.core.errors import ConfigError, InvalidRequestError, ProviderError
from penstock.core.scope import Scope, check_tags
from penstock.core.validation import check_seconds

__all__ = [
    "CHAT_PARTS",
    "MEDIA_TYPES",
    "Deadlines",
    "DocumentPart",
    "ImagePart",
    "Message",
    "OpaquePart",
    "Options",
    "Part",
    "ReasoningPart",
    "ResponseHead",
    "TextPart",
    "Tool",
    "ToolCallPart",
    "ToolResultPart",
    "laid_over",
]


class TextPart(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    """Text."""

    text: str
    """Not empty: vendors refuse an empty one."""


class ImagePart(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="image"):
    """An image: either `data` with its `media_type`, or a `url`."""

    data: bytes | None = None
    """The file's bytes; None when there is a `url`."""
    media_type: str | None = None
    """`image/jpeg`, `image/png`, `image/gif` or `image/webp`; None when there is a `url`."""
    url: str | None = None
    """Where the vendor fetches it; None when there is `data`."""


class DocumentPart(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="document"):
    """A document: either `data` with its `media_type`, or a `url`."""

    data: bytes | None = None
    """The file's bytes; None when there is a `url`."""
    media_type: str | None = None
    """`application/pdf` or `text/plain`; None when there is a `url`."""
    url: str | None = None
    """Where the vendor fetches it; None when there is `data`."""
    title: str | None = None
    """Shown to the model, None for none."""
    citations: bool = False
    """Whether the answer is to cite passages of it."""


MEDIA_TYPES: Mapping[type, tuple[str, ...]] = {
    ImagePart: ("image/jpeg", "image/png", "image/gif", "image/webp"),
    DocumentPart: ("application/pdf", "text/plain"),
}
"""What the data of a part may be: what every wire takes."""


CHAT_PARTS: frozenset[str] = frozenset({"audio_url", "document_url", "file", "input_audio", "video_url"})
"""What a user may show on the chat wire that is no part of ours: the types of such an OpaquePart. Source: the types of
the openai SDK 3.57, vLLM's and Mistral's documentation, and recorded requests; read 2026-11-30.
"""


class ToolCallPart(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="tool_call"):
    """A tool call that the model made."""

    id: str
    """The id that came with the call."""
    name: str
    """The tool's name."""
    arguments: str = "{}"
    """JSON text of an object, best exactly as it came. What is none is sent as `{"INVALID_JSON": text}`."""
    extra: str = ""
    """What the vendor wants back beside the call, as its JSON text, as it came with the call; empty for nothing."""
    vendor: str = ""
    """Who wants `extra` back, and gets the call in its own form; any other vendor gets a call of a function."""


class ToolResultPart(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="tool_result"):
    """What a tool call gave, in the user message that follows it."""

    id: str
    """The id of the call that it answers."""
    content: str | Sequence[TextPart | ImagePart | DocumentPart]
    """What the model gets to see."""
    is_error: bool = False
    """The tool failed, and the content says how."""


class ReasoningPart(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="reasoning"):
    """A whole block of reasoning with its proof.

    It goes back only to the vendor that wants it: a proof, or where the vendor asks for the text, several in order.
    Without a vendor, or at another one, it is left out.
    """

    text: str = ""
    """The words of the block; empty where the vendor shows none."""
    proof: str | None = None
    """The signature or the encrypted content that goes back unchanged; None where there is none."""
    redacted: bool = False
    """The proof is the block's encrypted content itself, not a signature of the text."""
    vendor: str = ""
    """The vendor that needs this block in the next request; empty if none does."""
    account: str = ""
    """The one host of that vendor that can read it, where no other can, as a resource at Azure; empty where any can."""


class OpaquePart(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="opaque"):
    """A vendor's own block, sent back as it came."""

    vendor: str
    """Whose block it is."""
    data: str
    """The block as that vendor's JSON text."""
    text: str = ""
    """What another vendor gets in its place; if it is empty, that vendor gets nothing."""


Part: TypeAlias = TextPart | ImagePart | DocumentPart | ToolCallPart | ToolResultPart | ReasoningPart | OpaquePart


_ROLES: Final = {
    **dict.fromkeys(("system", "developer"), ": the system prompt is the first argument of create_message"),
    **dict.fromkeys(("tool", "function"), ": a tool's result is a ToolResultPart in a message of the user"),
}


class Message(msgspec.Struct, frozen=True):
    """One turn of the history. Raises ConfigError for another role."""

    role: Literal["user", "assistant"]
    """Who speaks. There is no `system`: the system prompt is an argument of its own."""
    content: str | Sequence[Part]
    """Text, or parts in order."""

    def __post_init__(self) -> None:
        if self.role != "user" and self.role != "assistant":
            raise ConfigError(f"`role` is {self.role!r}, expected user or assistant{_ROLES.get(str(self.role), '')}")

    @property
    def parts(self) -> Sequence[Part]:
        """The content as parts: plain text is one TextPart."""
        return (TextPart(self.content),) if isinstance(self.content, str) else self.content


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that the model may call."""

    name: str
    """What the model calls it by."""
    description: str = ""
    """What the tool does and when to use it, for the model."""
    parameters: Mapping[str, object] = msgspec.field(default_factory=lambda: {"type": "object", "properties": {}})
    """The JSON Schema of its arguments, an object's; by default an object without properties."""
    strict: bool = False
    """Whether the vendor must keep the arguments to the schema."""


class Deadlines(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """How long to wait, in seconds.

    The defaults are long because a model may think for minutes without a sign of it; none is infinite. The first call
    of a process imports its SDK before they begin.
    """

    connect: float = 10.0
    """For a free connection, and as long again for opening a new one, what a proxy takes for it included."""
    first_chunk: float = 600.0
    """From sending to the first content."""
    stall: float = 600.0
    """From content to content. Pings are not content; the time that the consumer takes is not counted, all else is."""
    total: float | None = None
    """For the whole call, the consumer's time included; None for no limit. With a limit each read costs some
    microseconds more.
    """

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is None and name == "total":
                continue
            check_seconds(name, value)


class ResponseHead(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an answer before its body."""

    status: int
    """The HTTP status."""
    request_id: str | None = None
    """What the vendor's support asks for, None when the vendor gave none."""
    wait: float | None = None
    """Seconds until every rate limit of which nothing remains is full again, by the vendor's own headers; None when
    the headers name no such limit.
    """
    reused: bool | None = None
    """Whether the connection had been used before; None where that is not seen, as with a `client` of your own."""


class Options(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What one call wants. None leaves it to the vendor; what a wire or a model cannot do is refused, by name,
    unless it is `lenient`.
    """

    max_tokens: int | None = None
    """Most tokens of the answer, reasoning included. None: the model's maximum; if that is unknown, the vendor's
    default.
    """
    temperature: float | None = None
    """How random the choice of words is. None for the vendor's default."""
    top_p: float | None = None
    """Choose among the likeliest words whose probabilities add up to this. None for the vendor's default."""
    top_k: int | None = None
    """Choose among this many of the likeliest words. None for the vendor's default; OpenAI has no such option (read
    2026-11-21).
    """
    presence_penalty: float | None = None
    """Makes words that have occurred less likely. None for the vendor's default."""
    frequency_penalty: float | None = None
    """Makes words less likely the more often they have occurred. None for the vendor's default."""
    stop: str | Sequence[str] | None = None
    """Texts at which the answer ends; None for none. The Responses API has no such option (read 2026-11-21)."""
    seed: int | None = None
    """For answers that can be repeated, as far as the vendor can. None for a random one."""
    tools: Sequence[Tool | Mapping[str, object]] = ()
    """What the model may call: a Tool, or a vendor's own tool as its JSON object."""
    tool_choice: str | None = None
    """`auto`, `none`, `required`, or the name of the tool that must be called. None for the vendor's default."""
    parallel_tool_calls: bool | None = None
    """Whether several calls may come in one answer. None for the vendor's default."""
    reasoning: Literal["off", "minimal", "low", "medium", "high", "xhigh", "max"] | int | None = None
    """An effort, `off`, or a budget in tokens. None for the vendor's default."""
    response_schema: Mapping[str, object] | None = None
    """A JSON Schema that the answer's text must fit; None for free text."""
    cache: Literal["auto", "extended", "off"] = "auto"
    """`auto` marks the prompt for caching with the usual lifetime, `extended` with the longer one, `off` not at all.
    A vendor that caches without being asked still does so.
    """
    user: str | None = None
    """An id of your end user, by which the vendor can tell users apart; no name, no address. None for none."""
    service_tier: str | None = None
    """The vendor's word for how fast and how expensive the call is. None for the vendor's default."""
    deadlines: Deadlines | None = None
    """In place of the provider's deadlines; None for those."""
    on_head: Callable[[ResponseHead], object] | None = None
    """Called with the ResponseHead of each answer as soon as it is there, even of a refusal. An exception in it ends
    the call.
    """
    on_resend: Callable[[ProviderError], object] | None = None
    """Called with the error that it would have been when the request is sent once more, because the server had closed
    the connection that it was sent on. What it raises ends the call.
    """
    lenient: bool = False
    """Whether to leave out what this model cannot take, and say so, in place of refusing the call: sampling options,
    `seed`, `reasoning`, `cache`, `user`, `service_tier`, `parallel_tool_calls`, and more `max_tokens` than it has.
    """
    on_drop: Callable[[InvalidRequestError], object] | None = None
    """Called once in a call for each option that is left out as `lenient` says, with the `InvalidRequestError` that
    would have been raised without it. What it raises ends the call.
    """
    extra: Mapping[str, object] = msgspec.field(default_factory=dict)
    """Raw fields of the request body; objects are merged, all else is replaced. Not `model`: that has prices."""
    tags: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Whom or what the call is booked on, as `{"user": "ann"}`: events have them, and no vendor is told."""
    scope: Scope | None = None
    """Which call this is; for Penstock's own use, and neither compared nor shown."""

    def __post_init__(self) -> None:
        if self.deadlines is not None and not isinstance(self.deadlines, Deadlines):
            raise ConfigError(f"`deadlines` is {self.deadlines!r}, expected Deadlines(...)")
        if self.tags != {}:
            check_tags(self.tags)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Options):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__struct_fields__ if name != "scope")

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """What is not left to the vendor."""
        plain = Options()
        said = ((name, getattr(self, name)) for name in self.__struct_fields__ if name != "scope")
        return f"Options({', '.join(f'{name}={value!r}' for name, value in said if value != getattr(plain, name))})"


def laid_over(body: Mapping[str, Any], extra: Mapping[str, object], last: str = "") -> dict[str, Any]:
    """*extra* over *body*: objects are merged, all else is replaced. What is called *last* is moved to the end."""
    both = dict(body)
    for key, value in extra.items():
        old = both.get(key)
        both[key] = laid_over(old, value, last) if isinstance(old, dict) and isinstance(value, Mapping) else value
    if last in both:
        both[last] = both.pop(last)
    return both
