"""Penstock: a lean, typed, streaming-first pipe between an agent loop and a language model, with exact cost.

The names below are the public ones, and each is imported when it is asked for. None of them loads an SDK or an HTTP
client; building a provider does.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penstock.agent.blocking import BlockingProvider as BlockingProvider
    from penstock.agent.blocking import BlockingStream as BlockingStream
    from penstock.agent.blocking import blocking as blocking
    from penstock.agent.caller import PENDING as PENDING
    from penstock.agent.caller import NextTurn as NextTurn
    from penstock.agent.caller import Pending as Pending
    from penstock.agent.caller import ToolResultChunk as ToolResultChunk
    from penstock.agent.collect import Collector as Collector
    from penstock.agent.collect import Reply as Reply
    from penstock.agent.collect import coalesce as coalesce
    from penstock.agent.collect import collect as collect
    from penstock.agent.collect import generate_text as generate_text
    from penstock.agent.collect import text_of as text_of
    from penstock.agent.mcp.tools import McpTool as McpTool
    from penstock.agent.mcp.tools import mcp_tools as mcp_tools
    from penstock.agent.run_tools import LoopChunk as LoopChunk
    from penstock.agent.run_tools import run_tools as run_tools
    from penstock.agent.sse import to_sse as to_sse
    from penstock.agent.stored import dump_reply as dump_reply
    from penstock.agent.stored import load_reply as load_reply
    from penstock.agent.structured import Answer as Answer
    from penstock.agent.structured import Partial as Partial
    from penstock.agent.structured import generate_object as generate_object
    from penstock.agent.structured import stream_object as stream_object
    from penstock.agent.tools import FunctionTool as FunctionTool
    from penstock.agent.tools import ToolResult as ToolResult
    from penstock.agent.tools import tool as tool
    from penstock.config.catalog import catalog as catalog
    from penstock.config.entries import ModelEntry as ModelEntry
    from penstock.config.entries import ModelsConfig as ModelsConfig
    from penstock.config.factories import register_provider as register_provider
    from penstock.config.finding import find_models as find_models
    from penstock.config.live import Availability as Availability
    from penstock.config.live import is_available as is_available
    from penstock.config.live import list_models as list_models
    from penstock.config.models_file import load_models as load_models
    from penstock.config.models_file import save_models as save_models
    from penstock.config.open import open_provider as open_provider
    from penstock.config.providers import Providers as Providers
    from penstock.core.bounds import estimate_cost as estimate_cost
    from penstock.core.chunks import Chunk as Chunk
    from penstock.core.chunks import OpaqueChunk as OpaqueChunk
    from penstock.core.chunks import ReasoningChunk as ReasoningChunk
    from penstock.core.chunks import StopChunk as StopChunk
    from penstock.core.chunks import StopReason as StopReason
    from penstock.core.chunks import TextChunk as TextChunk
    from penstock.core.chunks import ToolCallChunk as ToolCallChunk
    from penstock.core.chunks import ToolCallDeltaChunk as ToolCallDeltaChunk
    from penstock.core.chunks import UsageChunk as UsageChunk
    from penstock.core.cost import calculate_cost as calculate_cost
    from penstock.core.cost import format_dollars as format_dollars
    from penstock.core.dialect import Dialect as Dialect
    from penstock.core.errors import AuthenticationError as AuthenticationError
    from penstock.core.errors import BatchUnsureError as BatchUnsureError
    from penstock.core.errors import BudgetExceededError as BudgetExceededError
    from penstock.core.errors import CircuitOpenError as CircuitOpenError
    from penstock.core.errors import ConfigError as ConfigError
    from penstock.core.errors import ConnectTimeoutError as ConnectTimeoutError
    from penstock.core.errors import FirstChunkTimeoutError as FirstChunkTimeoutError
    from penstock.core.errors import InvalidRequestError as InvalidRequestError
    from penstock.core.errors import LedgerError as LedgerError
    from penstock.core.errors import MalformedResponseError as MalformedResponseError
    from penstock.core.errors import NetworkError as NetworkError
    from penstock.core.errors import NotFoundError as NotFoundError
    from penstock.core.errors import OverloadedError as OverloadedError
    from penstock.core.errors import PermissionDeniedError as PermissionDeniedError
    from penstock.core.errors import ProviderError as ProviderError
    from penstock.core.errors import ProviderTimeoutError as ProviderTimeoutError
    from penstock.core.errors import QuotaExceededError as QuotaExceededError
    from penstock.core.errors import RateLimitError as RateLimitError
    from penstock.core.errors import ServerError as ServerError
    from penstock.core.errors import StallTimeoutError as StallTimeoutError
    from penstock.core.errors import StoreError as StoreError
    from penstock.core.errors import StreamInterruptedError as StreamInterruptedError
    from penstock.core.errors import StructuredOutputError as StructuredOutputError
    from penstock.core.errors import TokenLimitError as TokenLimitError
    from penstock.core.errors import TotalTimeoutError as TotalTimeoutError
    from penstock.core.errors import TurnLimitError as TurnLimitError
    from penstock.core.keys import FetchedKey as FetchedKey
    from penstock.core.messages import Deadlines as Deadlines
    from penstock.core.messages import DocumentPart as DocumentPart
    from penstock.core.messages import ImagePart as ImagePart
    from penstock.core.messages import Message as Message
    from penstock.core.messages import OpaquePart as OpaquePart
    from penstock.core.messages import Options as Options
    from penstock.core.messages import Part as Part
    from penstock.core.messages import ReasoningPart as ReasoningPart
    from penstock.core.messages import ResponseHead as ResponseHead
    from penstock.core.messages import TextPart as TextPart
    from penstock.core.messages import Tool as Tool
    from penstock.core.messages import ToolCallPart as ToolCallPart
    from penstock.core.messages import ToolResultPart as ToolResultPart
    from penstock.core.models import Model as Model
    from penstock.core.models import ModelInfo as ModelInfo
    from penstock.core.models import PriceChange as PriceChange
    from penstock.core.models import PriceHours as PriceHours
    from penstock.core.models import PriceSheet as PriceSheet
    from penstock.core.models import PriceTier as PriceTier
    from penstock.core.provider import BaseProvider as BaseProvider
    from penstock.core.provider_config import Platform as Platform
    from penstock.core.provider_config import ProviderConfig as ProviderConfig
    from penstock.core.scope import run as run
    from penstock.core.scope import tags as tags
    from penstock.core.tokens import TokenCount as TokenCount
    from penstock.core.tokens import estimate_tokens as estimate_tokens
    from penstock.histories import Note as Note
    from penstock.histories import ReadHistory as ReadHistory
    from penstock.histories import Repaired as Repaired
    from penstock.histories import dump_messages as dump_messages
    from penstock.histories import fit as fit
    from penstock.histories import fit_with_summary as fit_with_summary
    from penstock.histories import load_messages as load_messages
    from penstock.histories import read_messages as read_messages
    from penstock.histories import repair as repair
    from penstock.middleware.cache_watch.events import BlockChange as BlockChange
    from penstock.middleware.cache_watch.events import CacheMiss as CacheMiss
    from penstock.middleware.cache_watch.watch import CacheWatch as CacheWatch
    from penstock.middleware.shared import ProviderStatus as ProviderStatus
    from penstock.providers.anthropic import AnthropicProvider as AnthropicProvider
    from penstock.providers.fetching import resolve_key as resolve_key
    from penstock.providers.openai import OpenAIProvider as OpenAIProvider

    __version__: str
else:
    from penstock.core.public_names import import_late

    __all__, _find, __dir__ = import_late(
        __name__,
        {
            "agent.blocking": ("BlockingProvider", "BlockingStream", "blocking"),
            "agent.caller": ("PENDING", "NextTurn", "Pending", "ToolResultChunk"),
            "agent.collect": ("Collector", "Reply", "coalesce", "collect", "generate_text", "text_of"),
            "agent.mcp.tools": ("McpTool", "mcp_tools"),
            "agent.run_tools": ("LoopChunk", "run_tools"),
            "agent.sse": ("to_sse",),
            "agent.stored": ("dump_reply", "load_reply"),
            "agent.structured": ("Answer", "Partial", "generate_object", "stream_object"),
            "agent.tools": ("FunctionTool", "ToolResult", "tool"),
            "config.catalog": ("catalog",),
            "config.entries": ("ModelEntry", "ModelsConfig"),
            "config.finding": ("find_models",),
            "config.live": ("Availability", "is_available", "list_models"),
            "config.factories": ("register_provider",),
            "config.models_file": ("load_models", "save_models"),
            "config.open": ("open_provider",),
            "config.providers": ("Providers",),
            "core.bounds": ("estimate_cost",),
            "core.chunks": (
                "Chunk",
                "OpaqueChunk",
                "ReasoningChunk",
                "StopChunk",
                "StopReason",
                "TextChunk",
                "ToolCallChunk",
                "ToolCallDeltaChunk",
                "UsageChunk",
            ),
            "core.cost": ("calculate_cost", "format_dollars"),
            "core.dialect": ("Dialect",),
            "core.errors": (
                "AuthenticationError",
                "BatchUnsureError",
                "BudgetExceededError",
                "CircuitOpenError",
                "ConfigError",
                "ConnectTimeoutError",
                "FirstChunkTimeoutError",
                "InvalidRequestError",
                "LedgerError",
                "MalformedResponseError",
                "NetworkError",
                "NotFoundError",
                "OverloadedError",
                "PermissionDeniedError",
                "ProviderError",
                "ProviderTimeoutError",
                "QuotaExceededError",
                "RateLimitError",
                "ServerError",
                "StallTimeoutError",
                "StoreError",
                "StreamInterruptedError",
                "StructuredOutputError",
                "TokenLimitError",
                "TotalTimeoutError",
                "TurnLimitError",
            ),
            "core.keys": ("FetchedKey",),
            "core.messages": (
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
            ),
            "core.models": (
                "Model",
                "ModelInfo",
                "PriceChange",
                "PriceHours",
                "PriceSheet",
                "PriceTier",
            ),
            "core.provider": ("BaseProvider",),
            "core.provider_config": ("Platform", "ProviderConfig"),
            "core.scope": ("run", "tags"),
            "core.tokens": ("TokenCount", "estimate_tokens"),
            "histories": (
                "Note",
                "ReadHistory",
                "Repaired",
                "dump_messages",
                "fit",
                "fit_with_summary",
                "load_messages",
                "read_messages",
                "repair",
            ),
            "middleware.cache_watch.events": ("BlockChange", "CacheMiss"),
            "middleware.cache_watch.watch": ("CacheWatch",),
            "middleware.shared": ("ProviderStatus",),
            "providers.anthropic": ("AnthropicProvider",),
            "providers.fetching": ("resolve_key",),
            "providers.openai": ("OpenAIProvider",),
        },
    )

    def __getattr__(name: str) -> object:
        if name == "__version__":
            from importlib.metadata import version

            return version(__name__)
        if name in ("middleware", "testing"):  # public packages, also for those who import only this one
            from importlib import import_module

            return import_module(f"{__name__}.{name}")
        return _find(name)
