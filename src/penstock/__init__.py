"""Penstock: a lean, typed, streaming-first pipe between an agent loop and a language model, with exact cost.

The names below are the public ones. Importing this loads no SDK and no HTTP client; building a provider does.
"""

from typing import TYPE_CHECKING

from penstock.agent.collect import Collector, Reply, coalesce, collect, generate_text, text_of
from penstock.agent.run_tools import LoopChunk, ToolResultChunk, run_tools
from penstock.agent.structured import Answer, Partial, generate_object, stream_object
from penstock.agent.tools import FunctionTool, ToolResult, tool
from penstock.config.catalog import catalog
from penstock.config.models_file import load_models, save_models
from penstock.config.open import open_provider
from penstock.core.chunks import (
    Chunk,
    OpaqueChunk,
    ReasoningChunk,
    StopChunk,
    StopReason,
    TextChunk,
    ToolCallChunk,
    ToolCallDeltaChunk,
    UsageChunk,
)
from penstock.core.cost import calculate_cost
from penstock.core.dialect import Dialect
from penstock.core.errors import (
    AuthenticationError,
    CircuitOpenError,
    ConfigError,
    ConnectTimeoutError,
    FirstChunkTimeoutError,
    InvalidRequestError,
    MalformedResponseError,
    NetworkError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    ProviderError,
    ProviderTimeoutError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
    StallTimeoutError,
    StreamInterruptedError,
    StructuredOutputError,
    TokenLimitError,
    TotalTimeoutError,
    TurnLimitError,
)
from penstock.core.messages import (
    Deadlines,
    DocumentPart,
    ImagePart,
    Message,
    OpaquePart,
    Options,
    Part,
    ReasoningPart,
    ResponseHead,
    TextPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
)
from penstock.core.models import (
    Model,
    ModelEntry,
    ModelInfo,
    ModelsConfig,
    PriceChange,
    PriceHours,
    PriceSheet,
    PriceTier,
    ProviderConfig,
)
from penstock.core.provider import BaseProvider
from penstock.histories import (
    Note,
    Repaired,
    dump_messages,
    fit,
    fit_with_summary,
    load_messages,
    repair,
)
from penstock.providers.anthropic import AnthropicProvider
from penstock.providers.openai import OpenAIProvider

if TYPE_CHECKING:
    from penstock.middleware import BlockChange, CacheMiss, CacheWatch

    __version__: str

__all__ = [
    "Answer",
    "AnthropicProvider",
    "AuthenticationError",
    "BaseProvider",
    "BlockChange",
    "CacheMiss",
    "CacheWatch",
    "Chunk",
    "CircuitOpenError",
    "Collector",
    "ConfigError",
    "ConnectTimeoutError",
    "Deadlines",
    "Dialect",
    "DocumentPart",
    "FirstChunkTimeoutError",
    "FunctionTool",
    "ImagePart",
    "InvalidRequestError",
    "LoopChunk",
    "MalformedResponseError",
    "Message",
    "Model",
    "ModelEntry",
    "ModelInfo",
    "ModelsConfig",
    "NetworkError",
    "NotFoundError",
    "Note",
    "OpaqueChunk",
    "OpaquePart",
    "OpenAIProvider",
    "Options",
    "OverloadedError",
    "Part",
    "Partial",
    "PermissionDeniedError",
    "PriceChange",
    "PriceHours",
    "PriceSheet",
    "PriceTier",
    "ProviderConfig",
    "ProviderError",
    "ProviderTimeoutError",
    "QuotaExceededError",
    "RateLimitError",
    "ReasoningChunk",
    "ReasoningPart",
    "Repaired",
    "Reply",
    "ResponseHead",
    "ServerError",
    "StallTimeoutError",
    "StopChunk",
    "StopReason",
    "StreamInterruptedError",
    "StructuredOutputError",
    "TextChunk",
    "TextPart",
    "TokenLimitError",
    "Tool",
    "ToolCallChunk",
    "ToolCallDeltaChunk",
    "ToolCallPart",
    "ToolResult",
    "ToolResultChunk",
    "ToolResultPart",
    "TotalTimeoutError",
    "TurnLimitError",
    "UsageChunk",
    "calculate_cost",
    "catalog",
    "coalesce",
    "collect",
    "dump_messages",
    "fit",
    "fit_with_summary",
    "generate_object",
    "generate_text",
    "load_messages",
    "load_models",
    "open_provider",
    "repair",
    "run_tools",
    "save_models",
    "stream_object",
    "text_of",
    "tool",
]


def __getattr__(name: str) -> object:
    # What few ask for, and what would take a fifth of the import's time each.
    if name in ("BlockChange", "CacheMiss", "CacheWatch"):
        import penstock.middleware

        return getattr(penstock.middleware, name)
    if name != "__version__":
        raise AttributeError(f"module 'penstock' has no attribute {name!r}")
    from importlib.metadata import version

    return version("penstock")
