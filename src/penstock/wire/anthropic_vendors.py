"""The vendors that speak Anthropic's API, one row for each server. A new one is a row here.

The sources are named in each row; all were read on 2026-11-30. "seen" is what recorded answers show.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from penstock.core.dialect import Batches, Dialect, Wire

__all__ = ["ANTHROPIC", "LLAMA_FAULTS", "MESSAGES"]

# llama.cpp answers 500 to these: its server's source, and recorded answers.
LLAMA_FAULTS: Final = (
    "param requires --jinja flag",  # tools, and tool_choice
    "Cannot use both json_schema and grammar",
    "Cannot use tools with stream",
    "Cannot use custom grammar constraints with tools",
    "image input is not supported",
    "audio input is not supported",
    "Context size has been exceeded",
)

_COUNTS: Final[Mapping[Wire, str]] = {"messages": "/v1/messages/count_tokens"}
_LISTS: Final = ("/v1/models?limit=1000",)

ANTHROPIC: Final = Dialect(
    name="anthropic",
    source="https://platform.claude.com/docs/en/api/messages and the types of the anthropic SDK 2.11; streams seen",
    base_url="https://api.anthropic.com",
    key_variables=("ANTHROPIC_API_KEY",),
    wires=("messages",),
    reasoning_off={"thinking": {"type": "disabled"}},
    cache="marks",
    api_version="2026-10-21",
    # "Circular reference detected in schema definitions", "too many parameters with union types (limit: 16)", "too many
    # optional parameters (limit: 24)": https://platform.claude.com/docs/en/build-with-claude/structured-outputs
    recursive_schemas=False,
    most_unions=16,
    most_optional=24,
    # A workspace may have its inference in the US without being asked, at a higher price.
    unasked_variants=("us",),
    limited_tools={"web_search_*": "max_uses"},
    count_paths=_COUNTS,
    batches=Batches(
        source="https://platform.claude.com/docs/en/build-with-claude/batch-processing: 100,000 requests or 256 MB",
        most_jobs=100_000,
        most_bytes=256_000_000,
        wires=("messages",),
    ),
    list_paths=_LISTS,
)
"""Anthropic itself."""

# What servers of Anthropic's wire with models of their own have in common. They cache by themselves and ignore marks.
_NO_SCHEMA: Final = {"response_schema": None, "service_tier": None, "parallel_tool_calls": None}
_messages: Final = partial(
    Dialect,
    wires=("messages",),
    reasoning_off={"thinking": {"type": "disabled"}},
    chat_documents=False,
    cache=None,
    list_paths=_LISTS,
)

MESSAGES: Final = (
    _messages(
        name="deepseek-anthropic",
        source="https://api-docs.deepseek.com/guides/anthropic_api, its table of what is supported and what ignored",
        base_url="https://api.deepseek.com/anthropic",
        key_variables=("DEEPSEEK_API_KEY",),
        key_header="x-api-key",
        option_fields={**_NO_SCHEMA, "top_k": None, "reasoning_budget": None},
        ranges={"temperature": (0, 2)},
        effort_thinking="enabled",
        # "The `content[].thinking` in the thinking mode must be passed back to the API", a 400 of 2026; signed by some
        # of its versions, with the message's id, and unsigned by others.
        reasoning_echo="thinking",
        catalog_of="deepseek",
    ),
    _messages(
        name="kimi-anthropic",
        source="https://platform.moonshot.ai/docs/guide/agent-support and what MoonshotAI/Kimi-K2#129 observed",
        base_url="https://api.moonshot.ai/anthropic",
        key_variables=("MOONSHOT_API_KEY",),
        option_fields={**_NO_SCHEMA, "top_k": None, "reasoning_budget": None},
        # "thinking is enabled but reasoning_content is missing in assistant tool call message", a 400 of 2026.
        reasoning_echo="thinking",
        catalog_of="moonshot",
    ),
    _messages(
        name="minimax-anthropic",
        source="https://platform.minimax.io/docs/api-reference/text-anthropic-api, its table of parameters",
        base_url="https://api.minimax.io/anthropic",
        key_variables=("MINIMAX_API_KEY",),
        # It knows only whether to think: `extra={"thinking": {"type": "adaptive"}}`.
        option_fields={**_NO_SCHEMA, "top_k": None, "stop": None, "reasoning": None, "reasoning_budget": None},
        # All blocks of an answer have to be appended to the history, by the same page.
        reasoning_echo="thinking",
        catalog_of="minimax",
    ),
    _messages(
        name="zai-anthropic",
        source="https://docs.z.ai/devpack/tool/claude and https://docs.z.ai/guides/capabilities/thinking-mode",
        base_url="https://api.z.ai/api/anthropic",
        key_variables=("ZAI_API_KEY",),
        option_fields={**_NO_SCHEMA, "top_k": None, "reasoning": None, "reasoning_budget": None},
        reasoning_echo="thinking",
        catalog_of="zai",
    ),
    _messages(
        name="llamacpp-anthropic",
        source="llama.cpp's tools/server/server-chat.cpp of 2026-09, what it reads of a request",
        base_url="http://localhost:8080",
        key_variables=("LLAMA_API_KEY",),
        needs_key=False,
        is_free=True,
        option_fields={**_NO_SCHEMA, "reasoning": None},
        ranges={"temperature": (0, 2)},
        reasoning_off={"chat_template_kwargs": {"enable_thinking": False}},
        # `none` is taken as `auto` without a word, and a tool's name as `any`.
        tool_choices=("auto", "required"),
        # The template of the model gets it as its reasoning.
        reasoning_echo="thinking",
        request_faults=LLAMA_FAULTS,
        count_paths=_COUNTS,
        list_paths=("/v1/models",),
        loaded_path="/props",
    ),
    # Most of all gateways in front of Anthropic's models, to which marks are worth their money.
    _messages(
        name="anthropic-compatible",
        source="what servers of this API have in common",
        key_variables=(),
        chat_documents=True,
        reasoning_echo="thinking",
        cache="marks",
        recursive_schemas=False,
        most_unions=16,
        most_optional=24,
        count_paths=_COUNTS,
        list_is_whole=False,
    ),
)
