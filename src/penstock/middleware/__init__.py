"""Providers around a provider: each is built with one, is one, and can be nested in any order.

An order that serves an agent loop in production, from the caller inwards:

    Observe(Fallback(CircuitBreaker(Retry(RateLimit(Concurrency(provider, 20), ...))), CircuitBreaker(...)), listener)

Fallback stands outside the breakers, so that an open one leads on at once; Retry inside them, so that only what it
could not fix counts; RateLimit inside Retry, so that each try is counted.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penstock.middleware.cache_watch.events import BlockChange as BlockChange
    from penstock.middleware.cache_watch.events import CacheMiss as CacheMiss
    from penstock.middleware.cache_watch.events import MissCause as MissCause
    from penstock.middleware.cache_watch.watch import CacheListener as CacheListener
    from penstock.middleware.cache_watch.watch import CacheWatch as CacheWatch
    from penstock.middleware.circuit_breaker import CircuitBreaker as CircuitBreaker
    from penstock.middleware.concurrency import Concurrency as Concurrency
    from penstock.middleware.defaults import Defaults as Defaults
    from penstock.middleware.event_lines import log_events as log_events
    from penstock.middleware.events import Abandoned as Abandoned
    from penstock.middleware.events import AttemptFailed as AttemptFailed
    from penstock.middleware.events import CircuitClosed as CircuitClosed
    from penstock.middleware.events import CircuitOpened as CircuitOpened
    from penstock.middleware.events import Completed as Completed
    from penstock.middleware.events import DroppedOption as DroppedOption
    from penstock.middleware.events import Ended as Ended
    from penstock.middleware.events import Event as Event
    from penstock.middleware.events import Failed as Failed
    from penstock.middleware.events import FallbackTo as FallbackTo
    from penstock.middleware.events import FirstChunk as FirstChunk
    from penstock.middleware.events import HeadersSeen as HeadersSeen
    from penstock.middleware.events import Listener as Listener
    from penstock.middleware.events import Refused as Refused
    from penstock.middleware.events import Resent as Resent
    from penstock.middleware.events import RetryScheduled as RetryScheduled
    from penstock.middleware.events import RunEnded as RunEnded
    from penstock.middleware.events import RunStarted as RunStarted
    from penstock.middleware.events import Started as Started
    from penstock.middleware.events import StoreBack as StoreBack
    from penstock.middleware.events import StoreLost as StoreLost
    from penstock.middleware.events import ToolEnded as ToolEnded
    from penstock.middleware.events import ToolStarted as ToolStarted
    from penstock.middleware.events import TurnStarted as TurnStarted
    from penstock.middleware.events import UsageReported as UsageReported
    from penstock.middleware.events import Waiting as Waiting
    from penstock.middleware.fallback import Fallback as Fallback
    from penstock.middleware.observe import Observe as Observe
    from penstock.middleware.rate_limit import RateLimit as RateLimit
    from penstock.middleware.rate_limit import Remaining as Remaining
    from penstock.middleware.retry import Retry as Retry
    from penstock.middleware.wrapper import Wrapper as Wrapper
    from penstock.middleware.wrapper import is_visible as is_visible
else:
    from penstock.core.public_names import import_late

    __all__, __getattr__, __dir__ = import_late(
        __name__,
        {
            "cache_watch.events": ("BlockChange", "CacheMiss", "MissCause"),
            "cache_watch.watch": ("CacheListener", "CacheWatch"),
            "circuit_breaker": ("CircuitBreaker",),
            "concurrency": ("Concurrency",),
            "defaults": ("Defaults",),
            "event_lines": ("log_events",),
            "events": (
                "Abandoned",
                "AttemptFailed",
                "CircuitClosed",
                "CircuitOpened",
                "Completed",
                "DroppedOption",
                "Ended",
                "Event",
                "Failed",
                "FallbackTo",
                "FirstChunk",
                "HeadersSeen",
                "Listener",
                "Refused",
                "Resent",
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
            ),
            "fallback": ("Fallback",),
            "observe": ("Observe",),
            "rate_limit": ("RateLimit", "Remaining"),
            "retry": ("Retry",),
            "wrapper": ("Wrapper", "is_visible"),
        },
    )
