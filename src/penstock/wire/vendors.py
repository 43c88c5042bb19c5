"""The vendors, one row for each server: those of OpenAI's APIs, with the ones of open_model_vendors, and of Anthropic's
those of anthropic_vendors. Pure data.

The tests' data for each is in tests/support/dialects.py. The sources are named in each row; all were read on
2026-11-21. "seen" is what recorded answers show.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Final

import msgspec

from penstock.core.dialect import Batches, Dialect, Wire
from penstock.wire.anthropic_vendors import ANTHROPIC, LLAMA_FAULTS, MESSAGES
from penstock.wire.open_model_vendors import LOCAL, MAX, NO_USER, OPEN_MODELS, TEMPLATE_OFF, THINKING_OFF, other

__all__ = ["ANTHROPIC", "DIALECTS", "completed", "rows_of"]

_ROWS: Final = (
    ANTHROPIC,
    Dialect(
        source="https://platform.openai.com/docs/api-reference and the types of the openai SDK 3.54",
        base_url="https://api.openai.com/v1",
        # https://developers.openai.com/api/docs/pricing: 10 % more where data stays in a region, since 2026-03-05.
        regional_hosts=("*.api.openai.com",),
        # Each of their calls searches the web, for a fee.
        fee_models=("*-search-preview*", "*-search-api*"),
        open_models=("*-search-preview*", "*-search-api*", "*deep-research*"),
        # `auto`, which is the default, is what the project's settings say.
        unasked_variants=("priority",),
        count_paths={"responses": "/responses/input_tokens"},
        batches=Batches(source="the types of the openai SDK 3.57, BatchCreateParams; read 2026-11-30"),
    ),
    Dialect(
        name="azure",
        source="https://learn.microsoft.com/azure/ai-foundry/openai, the v1 API; streams seen",
        key_variables=("AZURE_OPENAI_API_KEY",),
        key_header="api-key",
        # Another resource answers 400, `invalid_encrypted_content`: BerriAI/litellm#40364.
        proofs_bound=True,
        chat_documents=False,
        think_tags=True,
        # A deployment of its own kind takes them: "Global-Batch" or "Data Zone Batch".
        batches=Batches(
            source="https://learn.microsoft.com/azure/foundry/reference/rest/batches-create-batch; read 2026-11-30"
        ),
        # It lists models that can be deployed, and calls name a deployment.
        list_is_whole=False,
    ),
    other(
        name="deepseek",
        source="https://api-docs.deepseek.com; streams seen",
        base_url="https://api.deepseek.com",
        key_variables=("DEEPSEEK_API_KEY",),
        wires=("chat", "responses"),
        # max_completion_tokens is ignored without a word; response_format json_schema is a 400.
        option_fields={**MAX, **NO_USER, "response_schema": None, "seed": None, "parallel_tool_calls": None},
        reasoning_off=THINKING_OFF,
        # With tools a 400 without it; empty text is enough where there was none.
        reasoning_echo="reasoning_content",
    ),
    other(
        name="xai",
        source="https://docs.x.ai/docs; streams seen: whole calls in one piece, reasoning beside the output count",
        base_url="https://api.x.ai/v1",
        key_variables=("XAI_API_KEY",),
        wires=("chat", "responses"),
        option_fields=MAX,
        encrypted_reasoning=True,
        server_calls=("custom_tool_call",),  # of its own search; seen 2026-11-29
        list_paths=("/language-models", "/models"),
        # "USD cents per 100 million tokens"
        list_price_unit=Decimal("0.0001"),
        states_cost=True,
    ),
    other(
        name="google",
        source="https://ai.google.dev/gemini-api/docs/openai; streams seen: no index of calls, cumulative usage",
        base_url="https://generativelanguage.googleapis.com/v1beta/openai",
        key_variables=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        wires=("chat",),
        option_fields={
            **MAX,
            **NO_USER,
            "reasoning_budget": "extra_body.google.thinking_config.thinking_budget",
            "parallel_tool_calls": None,
        },
        # The signature of a thought stands on its call and has to come back on it.
        reasoning_echo="extra_content",
        # The documented word for a call without one, ai.google.dev/gemini-api/docs/thought-signatures.
        foreign_extra={"google": {"thought_signature": "skip_thought_signature_validator"}},
        output_is_rest=True,
    ),
    other(
        name="mistral",
        # A user's words after a tool's result are taken: 15 recordings of 2026, though refused until 2026-06 by report.
        source="https://docs.mistral.ai/api and the types of mistralai 3.7; streams seen",
        base_url="https://api.mistral.ai/v1",
        key_variables=("MISTRAL_API_KEY",),
        wires=("chat",),
        # A field that it does not know is a 422.
        stream_usage=False,
        option_fields={**LOCAL, "seed": "random_seed", "user": None},
        required_word="any",
        call_id_length=9,
        audio_is_rest=True,
    ),
    other(
        name="groq",
        source="the types of the groq SDK 1.7; streams seen: usage in x_groq",
        base_url="https://api.groq.com/openai/v1",
        key_variables=("GROQ_API_KEY",),
        wires=("chat", "responses"),
        option_fields={"user": "user"},
        # Several models and tools behind one name.
        fee_models=("compound*", "groq/compound*"),
        open_models=("compound*", "groq/compound*"),
        # 200 MB by some of its pages, 100 MB by others.
        batches=Batches(
            source="https://console.groq.com/docs/batch and the types of the groq SDK 1.7; read 2026-11-30",
            most_bytes=100_000_000,
            wires=("chat",),
        ),
        think_tags=True,
    ),
    other(
        name="openrouter",
        source="https://openrouter.ai/docs; streams seen: cost in the usage",
        base_url="https://openrouter.ai/api/v1",
        key_variables=("OPENROUTER_API_KEY",),
        wires=("chat", "responses"),
        option_fields={**LOCAL, "reasoning": "reasoning.effort", "reasoning_budget": "reasoning.max_tokens"},
        reasoning_off={"reasoning": {"enabled": False}},
        reasoning_echo="reasoning_details",
        encrypted_reasoning=True,
        chat_documents=True,
        cache="top_level",
        open_models=("*:online", "openrouter/*", "perplexity/*", "*deep-research*"),
        states_cost=True,
        think_tags=True,
        list_price_unit=Decimal(1_000_000),
        list_needs_key=False,
        key_path="/key",
    ),
    other(
        name="together",
        source="https://docs.together.ai/reference/chat-completions and the types of the together SDK 3.1",
        base_url="https://api.together.xyz/v1",
        key_variables=("TOGETHER_API_KEY",),
        wires=("chat",),
        option_fields={**LOCAL, **NO_USER, "parallel_tool_calls": None},
        reasoning_off={"reasoning": {"enabled": False}},
        list_price_unit=Decimal(1),
    ),
    other(
        name="fireworks",
        source="https://docs.fireworks.ai/api-reference/post-chatcompletions",
        base_url="https://api.fireworks.ai/inference/v1",
        key_variables=("FIREWORKS_API_KEY",),
        wires=("chat", "responses"),
        option_fields=LOCAL,
    ),
    other(
        name="cerebras",
        source="https://inference-docs.cerebras.ai/api-reference/chat-completions; streams seen",
        base_url="https://api.cerebras.ai/v1",
        key_variables=("CEREBRAS_API_KEY",),
        wires=("chat",),
        option_fields={"user": "user", "presence_penalty": None, "frequency_penalty": None},
    ),
    other(
        name="perplexity",
        source="https://docs.perplexity.ai; streams seen: cost in the usage, an object, and reasoning between tags",
        base_url="https://api.perplexity.ai",
        key_variables=("PERPLEXITY_API_KEY", "PPLX_API_KEY"),
        wires=("chat",),
        option_fields={**LOCAL, **NO_USER, "seed": None, "parallel_tool_calls": None},
        states_cost=True,
        think_tags=True,
        open_models=("*",),  # all of them search
    ),
    other(
        name="vercel",
        source="https://vercel.com/docs/ai-gateway; streams seen: cost in the usage",
        base_url="https://ai-gateway.vercel.sh/v1",
        key_variables=("AI_GATEWAY_API_KEY",),
        wires=("chat", "responses"),
        option_fields=LOCAL,
        states_cost=True,
        list_price_unit=Decimal(1_000_000),
        list_needs_key=False,
        key_path="/credits",
    ),
    other(
        name="venice",
        # A system prompt of its own, unless the request says no: 1,560 tokens, seen.
        source="https://docs.venice.ai; answers seen: cost beside the usage",
        own_words=3_000,
        base_url="https://api.venice.ai/api/v1",
        key_variables=("VENICE_API_KEY",),
        wires=("chat",),
        option_fields=LOCAL,
        states_cost=True,
        list_price_unit=Decimal(1),
        list_needs_key=False,
    ),
    other(
        name="inception",
        source="https://docs.inceptionlabs.ai; answers seen: reasoning only in the total",
        base_url="https://api.inceptionlabs.ai/v1",
        key_variables=("INCEPTION_API_KEY",),
        wires=("chat",),
        option_fields={**MAX, "user": None},
        image_urls=False,
        output_is_rest=True,
    ),
    *OPEN_MODELS,
    other(
        name="ollama",
        source="https://docs.ollama.com/api/openai-compatibility; streams seen",
        base_url="http://localhost:11434/v1",
        key_variables=("OLLAMA_API_KEY",),
        needs_key=False,
        is_free=True,
        wires=("chat", "responses"),
        option_fields={**MAX, **NO_USER, "parallel_tool_calls": None},
        # A choice of tools is ignored without a word.
        tool_choices=("auto",),
        reasoning_echo="reasoning",
        image_urls=False,
        think_tags=True,
        # `..` leads out of the /v1 of its OpenAI API.
        list_paths=("/../api/tags", "/models"),
        loaded_path="/../api/ps",
    ),
    other(
        name="vllm",
        source="https://docs.vllm.ai, OpenAI-compatible server, and its source",
        base_url="http://localhost:8000/v1",
        key_variables=("VLLM_API_KEY",),
        needs_key=False,
        is_free=True,
        wires=("chat", "responses"),
        option_fields={"top_k": "top_k", "user": "user", "service_tier": None},
        reasoning_off=TEMPLATE_OFF,
        reasoning_echo="reasoning",
        think_tags=True,
    ),
    other(
        name="llamacpp",
        source="llama.cpp's tools/server, and its server of 2026-10-01 itself",
        base_url="http://localhost:8080/v1",
        key_variables=("LLAMA_API_KEY",),
        needs_key=False,
        is_free=True,
        wires=("chat", "responses"),
        option_fields={**LOCAL, **NO_USER},
        reasoning_off=TEMPLATE_OFF,
        # A tool's name is taken as `auto` without a word.
        tool_choices=("auto", "none", "required"),
        reasoning_echo="reasoning_content",
        responses_ignore=("response_schema",),
        count_paths={"chat": "/chat/completions/input_tokens", "responses": "/responses/input_tokens"},
        request_faults=LLAMA_FAULTS,
        says_cut=False,
        loaded_path="/../props",
        think_tags=True,
    ),
    other(
        name="lmstudio",
        source="https://lmstudio.ai/docs/developer/openai-compat",
        base_url="http://localhost:1234/v1",
        key_variables=("LM_API_TOKEN", "LM_STUDIO_API_KEY"),
        needs_key=False,
        is_free=True,
        wires=("chat", "responses"),
        option_fields={**LOCAL, **NO_USER, "parallel_tool_calls": None},
        image_urls=False,
        list_paths=("/../api/v1/models", "/../api/v0/models", "/models"),
        think_tags=True,
    ),
    other(
        name="openai-compatible",
        source="what servers of this API have in common",
        key_variables=(),
        wires=("chat", "responses"),
        option_fields=LOCAL,
        chat_documents=True,
        think_tags=True,
        list_is_whole=False,  # some take any name
        request_faults=LLAMA_FAULTS,
    ),
    *MESSAGES,
)

DIALECTS: Final[Mapping[str, Dialect]] = MappingProxyType({row.name: row for row in _ROWS})
"""The rows by name."""


def rows_of(*wires: Wire) -> tuple[Dialect, ...]:
    """The rows that speak one of these."""
    return tuple(row for row in DIALECTS.values() if set(wires) & set(row.wires))


def completed(own: Dialect, unknown: str = "openai-compatible") -> Dialect:
    """A user's row: what it leaves as OpenAI has it is that of the row for an unknown server, of OpenAI's API or of
    Anthropic's.

    What it says in so many words counts, also where OpenAI has the same: a list is then another list. Only OpenAI's own
    `cache` and `longest_call_id` cannot be told from nothing said. The fields of options are laid over those of the
    unknown server.
    """
    if DIALECTS.get(own.name) == own:
        return own
    base, plain = DIALECTS[unknown], Dialect()
    given = {
        field: value
        for field in Dialect.__struct_fields__
        if _differs(value := getattr(own, field), getattr(plain, field))
    }
    given["option_fields"] = {**base.option_fields, **own.option_fields}
    return msgspec.structs.replace(base, **given)


def _differs(value: object, default: object) -> bool:
    return value is not default if isinstance(value, list | tuple) else value != default
