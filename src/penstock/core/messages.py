"""What goes into `create_message`: the history, the tools and the options, neutral of any vendor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, TypeAlias

import msgspec

from penstock.core.errors import ConfigError
from penstock.core.validation import check_seconds

__all__ = [
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
]


class TextPart(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    """Text. Not empty: vendors refuse an empty one."""

    text: str


class ImagePart(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="image"):
    """An image: either `data` with its `media_type` (as `image/png`), or a `url` that the vendor fetches."""

    data: bytes | None = None
    media_type: str | None = None
    url: str | None = None


class DocumentPart(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="document"):
    """A document: either `data` with its `media_type` (`application/pdf`, `text/plain`), or a `url`.

    title: shown to the model, None for none. citations: whether the answer is to cite passages of it.
    """

    data: bytes | None = None
    media_type: str | None = None
    url: str | None = None
    title: str | None = None
    citations: bool = False


MEDIA_TYPES: Mapping[type, tuple[str, ...]] = {
    ImagePart: ("image/jpeg", "image/png", "image/gif", "image/webp"),
    DocumentPart: ("application/pdf", "text/plain"),
}
"""What the data of a part may be: what every wire takes."""


class ToolCallPart(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="tool_call"):
    """A tool call that the model made. arguments: JSON text of an object, best exactly as it came."""

    id: str
    name: str
    arguments: str = "{}"


class ToolResultPart(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="tool_result"):
    """What a tool call gave, in the user message that follows it. is_error: it failed, and the content says how."""

    id: str
    content: str | Sequence[TextPart | ImagePart | DocumentPart]
    is_error: bool = False


class ReasoningPart(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="reasoning"):
    """A whole block of reasoning with its proof; the fields are those of ReasoningChunk.

    It goes back only to the vendor that wants it: a proof, or where the vendor asks for the text, several in order.
    Without a vendor, or at another one, it is left out.
    """

    text: str = ""
    proof: str | None = None
    redacted: bool = False
    vendor: str = ""


class OpaquePart(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="opaque"):
    """A vendor's own block, sent back as it came; the fields are those of OpaqueChunk.

    At another vendor its `text` is sent in its place, and nothing if it has none.
    """

    vendor: str
    data: str
    text: str = ""


Part: TypeAlias = TextPart | ImagePart | DocumentPart | ToolCallPart | ToolResultPart | ReasoningPart | OpaquePart


_ROLES: Final = {
    **dict.fromkeys(("system", "developer"), ": the system prompt is the first argument of create_message"),
    **dict.fromkeys(("tool", "function"), ": a tool's result is a ToolResultPart in a message of the user"),
}


class Message(msgspec.Struct, frozen=True):
    """One turn of the history. content: text, or parts in order. Raises ConfigError for another role."""

    role: Literal["user", "assistant"]
    content: str | Sequence[Part]

    def __post_init__(self) -> None:
        if self.role != "user" and self.role != "assistant":
            raise ConfigError(f"`role` is {self.role!r}, expected user or assistant{_ROLES.get(str(self.role), '')}")


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that the model may call. parameters: the JSON Schema of its arguments, an object's.

    strict: whether the vendor must keep the arguments to the schema.
    """

    name: str
    description: str = ""
    parameters: Mapping[str, object] = msgspec.field(default_factory=lambda: {"type": "object", "properties": {}})
    strict: bool = False


class Deadlines(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """How long to wait, in seconds.

    connect: for the connection. first_chunk: from sending to the first content. stall: from content to content; pings
    do not count as content, and neither does the time that the consumer takes. total: for the whole call, the
    consumer's time included; None for no limit. When `total` is set each read costs some microseconds more.

    The defaults are long because a model may think for minutes without a sign of it; none is infinite.
    """

    connect: float = 10.0
    first_chunk: float = 600.0
    stall: float = 600.0
    total: float | None = None

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is None and name == "total":
                continue
            check_seconds(name, value)


class ResponseHead(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an answer before its body.

    status: of HTTP. request_id: what the vendor's support asks for, None when it gave none. wait: seconds until each
    rate limit is filled of which the vendor says that nothing remains; None when it says so of none.
    """

    status: int
    request_id: str | None = None
    wait: float | None = None


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What one call wants. None leaves it to the vendor; what a wire or a model cannot do is refused, by name.

    max_tokens: most tokens of the answer, reasoning included; None for the most that the model can, or for what the
        vendor takes then.
    temperature, top_p, top_k, presence_penalty, frequency_penalty, seed: sampling.
    stop: texts at which the answer ends. tools: Tool, or a vendor's own tool as its JSON object.
    tool_choice: `auto`, `none`, `required`, or the name of the tool that must be called.
    parallel_tool_calls: whether several calls may come in one answer.
    reasoning: an effort, `off`, or a budget in tokens.
    response_schema: a JSON Schema that the answer's text must fit.
    cache: `auto` marks the prompt for caching with the usual lifetime, `extended` with the longer one, `off` not at
        all (where a vendor caches without being asked, it still does).
    user: an opaque id of the end user. service_tier: the vendor's word for how fast and how dear.
    deadlines: in place of the provider's. on_head: is called with the ResponseHead of each answer as soon as it is
        there, also of a refusal; what it raises ends the call.
    extra: raw fields of the request body; objects are merged, the rest replaced.
    """

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    stop: str | Sequence[str] | None = None
    seed: int | None = None
    tools: Sequence[Tool | Mapping[str, object]] = ()
    tool_choice: str | None = None
    parallel_tool_calls: bool | None = None
    reasoning: Literal["off", "minimal", "low", "medium", "high", "xhigh", "max"] | int | None = None
    response_schema: Mapping[str, object] | None = None
    cache: Literal["auto", "extended", "off"] = "auto"
    user: str | None = None
    service_tier: str | None = None
    deadlines: Deadlines | None = None
    on_head: Callable[[ResponseHead], object] | None = None
    extra: Mapping[str, object] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.deadlines is not None and not isinstance(self.deadlines, Deadlines):
            raise ConfigError(f"`deadlines` is {self.deadlines!r}, expected Deadlines(...)")
