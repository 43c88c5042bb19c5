"""Providers around a provider: each is built with one, is one, and can be nested in any order.

An order that serves an agent loop in production, from the caller inwards:

    Observe(Fallback(CircuitBreaker(Retry(RateLimit(Concurrency(provider, 20), ...))), CircuitBreaker(...)), listener)

Fallback stands outside the breakers, so that an open one leads on at once; Retry inside them, so that only what it
could not fix counts; RateLimit inside Retry, so that each try is counted.
"""

from penstock.middleware.cache_watch.events import BlockChange, CacheMiss, MissCause
from penstock.middleware.cache_watch.watch import CacheListener, CacheWatch
from penstock.middleware.circuit_breaker import CircuitBreaker
from penstock.middleware.concurrency import Concurrency
from penstock.middleware.defaults import Defaults
from penstock.middleware.event_lines import log_events
from penstock.middleware.events import (
    Abandoned,
    AttemptFailed,
    CircuitClosed,
    CircuitOpened,
    Completed,
    DroppedOption,
    Ended,
    Event,
    Failed,
    FallbackTo,
    FirstChunk,
    HeadersSeen,
    Listener,
    Refused,
    Resent,
    RetryScheduled,
    RunEnded,
    RunStarted,
    Started,
    StoreBack,
    StoreLost,
    ToolEnded,
    ToolStarted,
    TurnStarted,
    UsageReported,
    Waiting,
)
from penstock.middleware.fallback import Fallback
from penstock.middleware.observe import Observe
from penstock.middleware.rate_limit import RateLimit, Remaining
from penstock.middleware.retry import Retry
from penstock.middleware.wrapper import Wrapper, is_visible

__all__ = [
    "Abandoned",
    "AttemptFailed",
    "BlockChange",
    "CacheListener",
    "CacheMiss",
    "CacheWatch",
    "CircuitBreaker",
    "CircuitClosed",
    "CircuitOpened",
    "Completed",
    "Concurrency",
    "Defaults",
    "DroppedOption",
    "Ended",
    "Event",
    "Failed",
    "Fallback",
    "FallbackTo",
    "FirstChunk",
    "HeadersSeen",
    "Listener",
    "MissCause",
    "Observe",
    "RateLimit",
    "Refused",
    "Remaining",
    "Resent",
    "Retry",
    "RetryScheduled",
    "RunEnded",
    "RunStarted",
    "Started",
    "StoreBack",
    "StoreLost",
    "ToolEnded",
    "ToolStarted",
    "TurnStarted",
    "UsageReported",
    "Waiting",
    "Wrapper",
    "is_visible",
    "log_events",
]


def __dir__() -> list[str]:
    return list(__all__)
