"""Recorded requests as calls of ours, each with the usage that the vendor has reported for it."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from penstock import ConfigError, Message, Options, Tool, UsageChunk, read_messages
from penstock.core.dialect import Dialect, Wire
from penstock.core.tokens import TokenMemory
from penstock.wire.vendors import DIALECTS
from places import CORPORA
from recorded_requests import HISTORY, vendor_of, whole

WIRES: Final[dict[str, Wire]] = {
    "/v1/messages": "messages",
    "/v1/chat/completions": "chat",
    "/v1/responses": "responses",
}
# What stands in messages and tools, or says only how the answer is chosen or comes.
_KNOWN: Final = (
    "model", "messages", "input", "instructions", "system", "tools", "stream", "stream_options", "temperature", "top_p",
    "top_k", "seed", "random_seed", "stop", "stop_sequences", "max_tokens", "max_completion_tokens",
    "max_output_tokens", "n", "store", "include", "usage", "logprobs", "top_logprobs", "presence_penalty",
    "frequency_penalty", "parallel_tool_calls", "metadata", "user", "tool_choice", "service_tier", "cache_control",
    "reasoning_effort", "anthropic_version", "prompt_cache_key", "background",
)  # fmt: skip
# Texts in place of others that the recorder has taken out, and calls of which something is missing.
_CUT: Final = ("<elided ", "<MASSIVE_TEXT_FOR_PROMPT_CACHING>", "'content': 'placeholder'")
# 1,808 tokens, of 60 words: its reasoning was taken out; and thoughts that went back to Mistral, which we do not send.
_CHANGED: Final = ("22384f6050b7757f", "90972c66ba8d72ec")


class Counted(NamedTuple):
    """A recorded call, and what was billed for it. prompt: tokens of the whole prompt."""

    id: str
    source: tuple[str, str]
    vendor: str
    wire: str
    model: str
    system: str
    messages: list[Message]
    options: Options
    prompt: int
    usage: UsageChunk

    @property
    def row(self) -> Dialect:
        """The vendor's."""
        return DIALECTS[self.vendor]

    def memory(self) -> TokenMemory:
        """An empty one of such a leaf."""
        return TokenMemory(self.model, self.row)


def rows() -> Iterator[dict[str, Any]]:
    """All recorded exchanges."""
    for file in CORPORA:
        with gzip.open(file) as lines:
            for line in lines:
                yield msgspec.json.decode(line)


def counted(found: Iterable[dict[str, Any]]) -> list[Counted]:
    """Those whose request can be said in our messages and was recorded whole, and whose prompt was counted."""
    return [one for row in found if (one := _counted(row)) is not None]


def _counted(row: dict[str, Any]) -> Counted | None:
    wire = WIRES.get(row["endpoint"])
    request, expect = row["request"], row["expect"] or {}
    usage = expect.get("usage")
    if wire is None or not request or not usage or HISTORY[wire] not in request:
        return None
    request = whole(request)
    if row["id"] in _CHANGED or any(mark in str(request) for mark in _CUT):
        return None
    given = usage_of(usage, wire)
    if given.prompt_tokens <= 0:
        return None
    vendor = vendor_of(row, wire)
    try:
        read = read_messages(request, wire=wire, vendor=vendor)
    except ConfigError:
        return None
    model = request.get("model") or row["model"] or ""
    return Counted(
        row["id"], (row["repo"], row["path"]), vendor, wire, model, read.system_prompt, read.messages,
        options_of(request, read.tools), given.prompt_tokens, given,
    )  # fmt: skip


def options_of(request: Mapping[str, Any], tools: Sequence[Tool | Mapping[str, object]]) -> Options:
    """What of a body the prompt's size and the price may hang on; the raw rest is `extra`."""
    most = next(
        (request[name] for name in ("max_tokens", "max_completion_tokens", "max_output_tokens") if request.get(name)),
        None,
    )
    tier = request.get("service_tier")
    choice = request.get("tool_choice")
    given: dict[str, Any] = {"tool_choice": choice} if isinstance(choice, str) else {}
    extra = {name: value for name, value in request.items() if name not in _KNOWN and value is not None}
    thinking, effort = extra.pop("thinking", None) or {}, extra.pop("reasoning", None) or {}
    if thinking.get("type") not in (None, "disabled") or effort.get("effort") not in (None, "none"):
        given["reasoning"] = thinking.get("budget_tokens") or "high"
    return Options(max_tokens=most, tools=tools, service_tier=tier, extra=extra, **given)


def usage_of(usage: Mapping[str, Any], wire: str) -> UsageChunk:
    """The usage that a parser read, in our fields; prompt tokens as input alone where that is all that counts."""
    if wire == "messages":
        written = usage.get("cache_creation_input_tokens") or 0
        return UsageChunk(
            input_tokens=usage.get("input_tokens") or 0,
            cache_write_tokens=written,
            cache_read_tokens=usage.get("cache_read_input_tokens") or 0,
            output_tokens=usage.get("output_tokens") or 0,
            reasoning_tokens=((usage.get("output_tokens_details") or {}).get("thinking_tokens") or 0),
        )
    prompt, answer = ("prompt_tokens", "completion_tokens") if wire == "chat" else ("input_tokens", "output_tokens")
    details = usage.get(f"{answer}_details") or {}
    reasoning = details.get("reasoning_tokens") or usage.get("reasoning_tokens") or 0
    output = usage.get(answer) or 0
    return UsageChunk(
        input_tokens=usage.get(prompt) or 0,
        output_tokens=output if reasoning <= output else output + reasoning,
        reasoning_tokens=reasoning,
    )
