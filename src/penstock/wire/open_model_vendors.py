"""The vendors of open models, one row for each server of OpenAI's APIs: their makers, hosts and gateways. Pure data.

The sources are named in each row; all were read on 2026-11-30. "seen" is what recorded answers show, and what stands in
a row that says "not checked" is from memory.
"""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import Final

from penstock.core.dialect import Dialect

__all__ = ["LOCAL", "MAX", "NO_USER", "OPEN_MODELS", "TEMPLATE_OFF", "THINKING_OFF", "other"]

MAX: Final = {"max_tokens": "max_tokens", "user": "user"}
"""What nearly all but OpenAI call the most tokens of an answer, and the user."""
LOCAL: Final = {**MAX, "top_k": "top_k"}
"""Servers that sample themselves take this as well."""
NO_USER: Final = {"user": None, "service_tier": None}
"""Servers that take neither of these."""
_BARE: Final = {
    **NO_USER,
    **dict.fromkeys(("response_schema", "seed", "presence_penalty", "frequency_penalty", "parallel_tool_calls")),
}
"""Nor any of these."""
THINKING_OFF: Final = {"thinking": {"type": "disabled"}}
"""How reasoning is turned off where the vendor has a field for that."""
TEMPLATE_OFF: Final = {"chat_template_kwargs": {"enable_thinking": False}}
"""How it is where the model's own template decides."""

other = partial(Dialect, chat_efforts=None, longest_call_id=None, chat_documents=False, cache=None)
"""What no API but OpenAI's has: limits of its efforts and ids, documents on the chat wire, a cache that can be told."""

_MAKERS: Final = (
    other(
        name="moonshot",
        source="https://platform.moonshot.ai/docs/api/chat, its OpenAPI description; litellm 1.110; images not checked",
        base_url="https://api.moonshot.ai/v1",
        key_variables=("MOONSHOT_API_KEY",),
        wires=("chat",),
        option_fields={"service_tier": None},
        ranges={"temperature": (0, 1)},
        reasoning_off=THINKING_OFF,
        # https://platform.moonshot.ai/docs/guide/migrating-from-openai-to-kimi: a forced call is not supported.
        tool_choices=("auto", "none"),
        # "thinking is enabled but reasoning_content is missing in assistant tool call message", a 400 of 2026.
        reasoning_echo="reasoning_content",
        image_urls=False,
    ),
    other(
        name="zai",
        source="https://docs.z.ai/guides/capabilities/thinking-mode, litellm 1.110; streams seen: calls in one piece",
        base_url="https://api.z.ai/api/paas/v4",
        key_variables=("ZAI_API_KEY",),
        wires=("chat",),
        option_fields={**MAX, **_BARE},
        ranges={"temperature": (0, 1)},
        reasoning_off=THINKING_OFF,
        tool_choices=("auto",),
        reasoning_echo="reasoning_content",
    ),
    other(
        name="alibaba",
        # A forced call with reasoning is a 400, seen; without it, it works.
        source="https://help.aliyun.com/en/model-studio/deep-thinking; streams seen; what it ignores not checked",
        base_url="https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        key_variables=("DASHSCOPE_API_KEY",),
        wires=("chat",),
        option_fields={**LOCAL, **NO_USER, "frequency_penalty": None, "reasoning_budget": "thinking_budget"},
        reasoning_off={"enable_thinking": False},
    ),
    other(
        name="minimax",
        source="https://platform.minimaxi.com/docs/api-reference/text-openai-api and litellm 1.110",
        base_url="https://api.minimax.io/v1",
        key_variables=("MINIMAX_API_KEY",),
        wires=("chat", "responses"),
        option_fields={**_BARE, "reasoning": None},
        ranges={"temperature": (0, 1)},
        reasoning_off=THINKING_OFF,
        tool_choices=("auto",),
        think_tags=True,
    ),
    other(
        name="xiaomi",
        source="https://platform.xiaomimimo.com/docs; streams seen: usage comes unasked; tool choices not checked",
        base_url="https://api.xiaomimimo.com/v1",
        key_variables=("MIMO_API_KEY",),
        wires=("chat",),
        stream_usage=False,
        option_fields={**NO_USER, "response_schema": None, "parallel_tool_calls": None, "seed": None},
        reasoning_off=THINKING_OFF,
        tool_choices=("auto",),
        reasoning_echo="reasoning_content",
    ),
)

_HOSTS: Final = (
    other(
        name="sambanova",
        source="https://docs.sambanova.ai/docs/en/features/openai-compatibility, the pages of its APIs, litellm 1.110",
        base_url="https://api.sambanova.ai/v1",
        key_variables=("SAMBANOVA_API_KEY",),
        wires=("chat", "responses"),
        option_fields={**LOCAL, **NO_USER, "seed": None, "presence_penalty": None, "frequency_penalty": None},
        reasoning_off=None,
        think_tags=True,
        list_needs_key=False,
    ),
    other(
        name="nvidia",
        # Behind it is vLLM, so what is said to that is said to this.
        source="https://docs.nvidia.com/nim/large-language-models, its reference of the API; reasoning not checked",
        base_url="https://integrate.api.nvidia.com/v1",
        key_variables=("NVIDIA_API_KEY",),
        wires=("chat",),
        option_fields={**MAX, **NO_USER},
        reasoning_off=TEMPLATE_OFF,
        think_tags=True,
        list_needs_key=False,
    ),
    other(
        name="baseten",
        source="https://docs.baseten.co/inference/model-apis/overview and litellm 1.110; streams seen",
        base_url="https://inference.baseten.co/v1",
        key_variables=("BASETEN_API_KEY",),
        wires=("chat",),
        option_fields={**MAX, "service_tier": None},
        reasoning_off={"chat_template_args": {"enable_thinking": False}},
    ),
    other(
        name="deepinfra",
        source="https://deepinfra.com/docs/advanced/openai_api, its page on function calling, litellm 1.110",
        base_url="https://api.deepinfra.com/v1/openai",
        key_variables=("DEEPINFRA_API_KEY", "DEEPINFRA_TOKEN"),
        wires=("chat",),
        option_fields={**MAX, **NO_USER, "seed": None, "parallel_tool_calls": None},
        tool_choices=("auto", "none"),
        think_tags=True,
        list_price_unit=Decimal(1),
        list_needs_key=False,
    ),
    other(
        name="novita",
        source="https://novita.ai/docs/guides/llm-interleaved-thinking, and of models; a stream seen at a gateway",
        base_url="https://api.novita.ai/openai",
        key_variables=("NOVITA_API_KEY",),
        wires=("chat",),
        option_fields={**LOCAL, **NO_USER, "parallel_tool_calls": None},
        reasoning_off={"enable_thinking": False},
        reasoning_echo="reasoning_content",
        think_tags=True,
        list_needs_key=False,
    ),
    other(
        name="nebius",
        source="https://docs.tokenfactory.nebius.com/api-reference/introduction; what differs not checked",
        base_url="https://api.tokenfactory.nebius.com/v1",
        key_variables=("NEBIUS_API_KEY",),
        wires=("chat",),
        option_fields={**LOCAL, "service_tier": None},
        reasoning_off=None,
        think_tags=True,
    ),
    other(
        name="cloudflare",
        # The address holds the account: https://api.cloudflare.com/client/v4/accounts/ACCOUNT/ai/v1
        source="https://developers.cloudflare.com/workers-ai/configuration/open-ai-compatibility; the rest not checked",
        key_variables=("CLOUDFLARE_API_TOKEN", "CLOUDFLARE_API_KEY"),
        wires=("chat", "responses"),
        option_fields={**LOCAL, **NO_USER, "parallel_tool_calls": None},
        reasoning_off=None,
        think_tags=True,
    ),
)

_GATEWAYS: Final = (
    other(
        name="huggingface",
        # Who answers is chosen for each request, or by a suffix of the model's name: each is as it is.
        source="https://huggingface.co/docs/inference-providers; streams seen, of eight hosts behind it",
        base_url="https://router.huggingface.co/v1",
        key_variables=("HF_TOKEN",),
        wires=("chat", "responses"),
        option_fields={**MAX, **NO_USER},
        reasoning_off=None,
        think_tags=True,
        list_is_whole=False,  # nor the names with a suffix
        list_needs_key=False,
    ),
    other(
        name="github-models",
        source="https://docs.github.com/en/rest/models/inference; answers seen",
        base_url="https://models.github.ai/inference",
        key_variables=("GITHUB_TOKEN",),
        wires=("chat",),
        option_fields={**MAX, **NO_USER, "parallel_tool_calls": None},
        tool_choices=("auto", "none", "required"),
        think_tags=True,
        # https://docs.github.com/en/rest/models/catalog
        list_paths=("/../catalog/models",),
    ),
    other(
        name="copilot",
        # GitHub documents no such API: a token of half an hour, headers that name an editor, terms that may forbid it.
        source="https://docs.getbifrost.ai/providers/supported-providers/github-copilot; answers seen",
        base_url="https://api.githubcopilot.com",
        key_variables=("GITHUB_COPILOT_API_KEY",),
        wires=("chat", "responses"),
        option_fields={**MAX, **NO_USER},
        encrypted_reasoning=True,
    ),
)

OPEN_MODELS: Final = (*_MAKERS, *_HOSTS, *_GATEWAYS)
"""The rows."""
