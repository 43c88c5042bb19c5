"""Rows of the layers: what each adds to a chunk that passes through it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Final

from measuring import OURS, WITHOUT, Bar, Bench, Row, Spent, by_turns
from penstock.core.provider import BaseProvider
from penstock.meter import Ledger, Metered
from penstock.middleware import CacheWatch, CircuitBreaker, Concurrency, Event, Fallback, Observe, RateLimit, Retry
from penstock.middleware.observe import listen
from spout import Spout, exhaust

__all__ = ["ROWS"]

CHUNKS: Final = 20_000


def ignore(event: Event) -> None:
    """Listens to nothing."""


def heard(leaf: BaseProvider) -> BaseProvider:
    """As `open_provider` opens it for a listener."""
    listen(leaf, ignore)
    return leaf


LAYERS: Final[dict[str, Callable[[BaseProvider], BaseProvider]]] = {
    "Retry": Retry,
    "Fallback": lambda inner: Fallback(inner, Spout(1)),
    "CircuitBreaker": CircuitBreaker,
    "Concurrency": lambda inner: Concurrency(inner, 5),
    "RateLimit": lambda inner: RateLimit(inner, requests_per_minute=10**9, tokens_per_minute=10**9),
    "Observe": lambda inner: Observe(inner, ignore),
    "a listener": heard,
    "CacheWatch": CacheWatch,
    "Metered": lambda inner: Metered(inner, Ledger()),
}


async def layered(bench: Bench, layer: str) -> Mapping[str, Spent]:
    """A stream through one layer, and without it."""
    works = {
        OURS: lambda: exhaust(LAYERS[layer](Spout(CHUNKS))),
        WITHOUT: lambda: exhaust(Spout(CHUNKS)),
    }
    return await by_turns(works, bench.rounds, CHUNKS)


ROWS: Final = [
    Row(
        f"a chunk through {layer}",
        "µs",
        functools.partial(layered, layer=layer),
        [Bar(0.2, WITHOUT, more=True)],
        page=layer in ("Retry", "Metered"),
    )
    for layer in LAYERS
]
