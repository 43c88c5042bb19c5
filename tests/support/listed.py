"""Lists of models as vendors write them, one model `m` each, and what is said of it there.

The sources are those of penstock.wire.listing. The list of llama.cpp is as its server answers, and what
OpenRouter's looks like aimock 1.43 emulates too.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any, Final

__all__ = ["SHAPES", "TODAY"]

TODAY: Final = dt.date(2026, 11, 30)
DAY = {"prices_as_of": TODAY}
OPENAI = {"id": "m", "object": "model", "created": 1_793_491_200, "owned_by": "o"}
SINCE = {"created": dt.date(2026, 11, 1)}
_HOSTS: Final[dict[str, tuple[str, object, dict[str, Any]]]] = {
    "github models": ("github-models",
        [{"id": "m", "name": "Model M", "capabilities": ["streaming", "tool-calling"],
          "limits": {"max_input_tokens": 1_048_576, "max_output_tokens": 32_768},
          "supported_input_modalities": ["text", "image"]}],
        {"display_name": "Model M", "context_window": 1_048_576, "max_tokens": 32_768, "supports_images": True,
         "supports_tools": True}),
    "copilot": ("copilot",
        {"data": [{"id": "m", "name": "Model M", "capabilities": {
            "supports": {"tool_calls": True, "structured_outputs": True, "vision": False},
            "limits": {"max_context_window_tokens": 128_000, "max_output_tokens": 16_384}}}]},
        {"display_name": "Model M", "context_window": 128_000, "max_tokens": 16_384, "supports_images": False,
         "supports_tools": True, "supports_schema": True}),
    "deepinfra": ("deepinfra",
        {"data": [{**OPENAI, "metadata": {"context_length": 131_072, "max_tokens": 16_384, "pricing": {
            "input_tokens": 0.04, "output_tokens": 0.1, "cache_read_tokens": 0.01}}}]},
        {**SINCE, **DAY, "context_window": 131_072, "max_tokens": 16_384, "input_price": Decimal("0.04"),
         "output_price": Decimal("0.1"), "cache_reads_price": Decimal("0.01")}),
}  # fmt: skip
SHAPES: Final[dict[str, tuple[str, object, dict[str, Any]]]] = {
    "openai": (
        "openai",
        {"object": "list", "data": [{**OPENAI, "shutdown_date": "2027-02-03"}]},
        {**SINCE, "retires": dt.date(2027, 2, 3)},
    ),
    "anthropic": (
        "anthropic",
        {
            "data": [
                {
                    "id": "m",
                    "type": "model",
                    "display_name": "Model M",
                    "created_at": "2026-11-01T00:00:00Z",
                    "lifecycle": "deprecated",
                    "retires_at": "2027-01-22T00:00:00Z",
                    "max_input_tokens": 1_000_000,
                    "max_tokens": 64_000,
                    "capabilities": {
                        "image_input": {"supported": True},
                        "pdf_input": {"supported": False},
                        "structured_outputs": {"supported": True},
                    },
                }
            ]
        },
        {
            **SINCE,
            "display_name": "Model M",
            "retires": dt.date(2027, 1, 22),
            "context_window": 1_000_000,
            "max_tokens": 64_000,
            "supports_images": True,
            "supports_documents": False,
            "supports_schema": True,
        },
    ),
    "anthropic, of a day that nobody knows": (
        "anthropic",
        {"data": [{"id": "m", "created_at": "1970-01-01T00:00:00Z"}]},
        {},
    ),
    "mistral": (
        "mistral",
        {
            "data": [
                {
                    **OPENAI,
                    "name": "m",
                    "capabilities": {"function_calling": True, "vision": False},
                    "aliases": ["m", "m-latest"],
                    "max_context_length": 131_072,
                    "deprecation": "2026-12-31T12:00:00Z",
                    "deprecation_replacement_model": "n",
                }
            ]
        },
        {
            **SINCE,
            "supports_tools": True,
            "supports_images": False,
            "context_window": 131_072,
            "aliases": ["m-latest"],
            "retires": dt.date(2026, 12, 31),
            "replaced_by": "n",
        },
    ),
    "groq": (
        "groq",
        {"data": [{**OPENAI, "active": True, "context_window": 131_072, "max_completion_tokens": 8_192}]},
        {**SINCE, "context_window": 131_072, "max_tokens": 8_192},
    ),
    "openrouter": (
        "openrouter",
        {
            "data": [
                {
                    "id": "m",
                    "name": "Model M",
                    "created": 1_793_491_200,
                    "context_length": 200_000,
                    "architecture": {"input_modalities": ["text", "image", "file"]},
                    "pricing": {
                        "prompt": "0.000003",
                        "completion": "0.000015",
                        "request": "0",
                        "input_cache_read": "0.0000003",
                        "input_cache_write": "0.00000375",
                    },
                    "top_provider": {"context_length": 200_000, "max_completion_tokens": 64_000},
                    "supported_parameters": ["tools", "max_tokens"],
                    "expiration_date": None,
                }
            ]
        },
        {
            **SINCE,
            **DAY,
            "display_name": "Model M",
            "context_window": 200_000,
            "max_tokens": 64_000,
            "supports_images": True,
            "supports_documents": True,
            "supports_tools": True,
            "supports_schema": False,
            "input_price": Decimal(3),
            "output_price": Decimal(15),
            "cache_reads_price": Decimal("0.3"),
            "cache_writes_price": Decimal("3.75"),
        },
    ),
    "openrouter, a price that varies": (
        "openrouter",
        {"data": [{"id": "m", "pricing": {"prompt": "-1", "completion": "-1"}}]},
        {},
    ),
    "openrouter, a fee for each request": (
        "openrouter",
        {"data": [{"id": "m", "pricing": {"prompt": "0.000001", "completion": "0.000001", "request": "0.005"}}]},
        {},
    ),
    "vercel": (
        "vercel",
        {
            "data": [
                {
                    "id": "m",
                    "created": 1_755_815_280,
                    "released": 1_793_491_200,
                    "context_window": 200_000,
                    "max_tokens": 64_000,
                    "tags": ["tool-use", "vision"],
                    "pricing": {"input": "0.000003", "output": "0.000015"},
                }
            ]
        },
        {
            **SINCE,
            **DAY,
            "context_window": 200_000,
            "max_tokens": 64_000,
            "supports_images": True,
            "supports_tools": True,
            "input_price": Decimal(3),
            "output_price": Decimal(15),
        },
    ),
    "vercel, prices by the length of the prompt": (
        "vercel",
        {
            "data": [
                {
                    "id": "m",
                    "pricing": {"input": "0.000003", "output": "0.000015", "input_tiers": [{"cost": "0.000003"}]},
                }
            ]
        },
        {},
    ),
    "together, a bare list": (
        "together",
        [
            {
                **OPENAI,
                "display_name": "Model M",
                "context_length": 2_048,
                "pricing": {"hourly": 0, "input": 0.3, "output": 0.3},
            }
        ],
        {
            **SINCE,
            **DAY,
            "display_name": "Model M",
            "context_window": 2_048,
            "input_price": Decimal("0.3"),
            "output_price": Decimal("0.3"),
        },
    ),
    "together, zeros for what it does not sell by tokens": (
        "together",
        [{"id": "m", "pricing": {"input": 0, "output": 0}}],
        {},
    ),
    "xai": (
        "xai",
        {
            "models": [
                {
                    **OPENAI,
                    "aliases": ["m-latest"],
                    "input_modalities": ["text", "image"],
                    "prompt_text_token_price": 20_000,
                    "cached_prompt_text_token_price": 5_000,
                    "completion_text_token_price": 100_000,
                }
            ]
        },
        {
            **SINCE,
            **DAY,
            "aliases": ["m-latest"],
            "supports_images": True,
            "input_price": Decimal(2),
            "output_price": Decimal(10),
            "cache_reads_price": Decimal("0.5"),
        },
    ),
    "venice": (
        "venice",
        {
            "data": [
                {
                    "id": "m",
                    "model_spec": {
                        "name": "Model M",
                        "availableContextTokens": 131_072,
                        "maxCompletionTokens": 4_096,
                        "offline": False,
                        "capabilities": {
                            "supportsFunctionCalling": True,
                            "supportsVision": False,
                            "supportsResponseSchema": True,
                        },
                        "pricing": {"input": {"usd": 0.15, "diem": 0.15}, "output": {"usd": 0.6, "diem": 0.6}},
                    },
                }
            ]
        },
        {
            **DAY,
            "display_name": "Model M",
            "context_window": 131_072,
            "max_tokens": 4_096,
            "supports_tools": True,
            "supports_images": False,
            "supports_schema": True,
            "input_price": Decimal("0.15"),
            "output_price": Decimal("0.6"),
        },
    ),
    "fireworks": (
        "fireworks",
        {
            "data": [
                {
                    **OPENAI,
                    "supports_chat": True,
                    "supports_image_input": False,
                    "supports_tools": True,
                    "context_length": 131_072,
                }
            ]
        },
        {**SINCE, "supports_images": False, "supports_tools": True, "context_window": 131_072},
    ),
    **_HOSTS,
    "google, whose ids have a prefix": (
        "google",
        {"data": [{"id": "models/m", "object": "model", "display_name": "Model M"}]},
        {"display_name": "Model M"},
    ),
    "vllm": (
        "vllm",
        {"data": [{**OPENAI, "root": "m", "parent": None, "max_model_len": 32_768}]},
        {**SINCE, "context_window": 32_768},
    ),
    "llama.cpp, of 2026-10-01": (
        "llamacpp",
        {
            "models": [{"name": "m", "model": "m"}],
            "object": "list",
            "data": [
                {**OPENAI, "aliases": ["m"], "meta": {"n_ctx": 16_384, "n_ctx_train": 131_072, "n_params": 904_896}}
            ],
        },
        {**SINCE, "context_window": 16_384},
    ),
    "llama.cpp, an older one": (
        "llamacpp",
        {"data": [{**OPENAI, "meta": {"n_ctx_train": 131_072}}]},
        {**SINCE, "context_window": 131_072},
    ),
    "llama.cpp, of itself": (
        "llamacpp",
        {
            "default_generation_settings": {"n_ctx": 16_384},
            "model_alias": "m",
            "model_path": "/m.gguf",
            "modalities": {"vision": True, "audio": False},
        },
        {"context_window": 16_384, "supports_images": True},
    ),
    "llama.cpp, which serves several": (
        "llamacpp",
        {"data": [{**OPENAI, "status": {"value": "unloaded"}}]},
        {**SINCE, "loaded": False},
    ),
    "ollama": (
        "ollama",
        {"models": [{"name": "m", "model": "m", "modified_at": "2026-11-30T15:04:35Z", "size": 1}]},
        {},
    ),
    "ollama, what is loaded": (
        "ollama",
        {"models": [{"model": "m", "size_vram": 1, "context_length": 8_192}]},
        {"context_window": 8_192},
    ),
    "lm studio, v1": (
        "lmstudio",
        {
            "models": [
                {
                    "type": "llm",
                    "key": "m",
                    "display_name": "Model M",
                    "max_context_length": 131_072,
                    "loaded_instances": [{"id": "m", "config": {"context_length": 4_096}}],
                    "capabilities": {"vision": False, "trained_for_tool_use": True},
                }
            ]
        },
        {
            "display_name": "Model M",
            "context_window": 4_096,
            "supports_images": False,
            "supports_tools": True,
            "loaded": True,
        },
    ),
    "lm studio, v0": (
        "lmstudio",
        {"data": [{"id": "m", "type": "vlm", "state": "not-loaded", "max_context_length": 32_768}]},
        {"context_window": 32_768, "loaded": False},
    ),
}
