"""Batches against the emulator: a clock that waits for nobody, providers of each form, and deaths at every point."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import anyio.lowlevel
import pytest

from patience import all_but
from penstock import AnthropicProvider, BaseProvider, Dialect, ModelInfo, OpenAIProvider, Options, ProviderConfig
from penstock.core.models import PriceSheet
from penstock.fleet import Job, JobResult, batch
from penstock.fleet.journal import Journal
from penstock.providers.transport import Transport
from penstock.testing import BatchServer

__all__ = ["INFO", "LIMIT", "Clock", "Death", "Deaths", "bill_of", "interrupted", "made", "prompts", "ran"]

INFO: Final = ModelInfo(
    input_price=Decimal(2), output_price=Decimal(10), max_tokens=1_000, context_window=200_000,
    variants={"batch": PriceSheet(input_price=Decimal(1), output_price=Decimal(5))},
)  # fmt: skip
LIMIT: Final = Options(max_tokens=50)


class Clock:
    """Seconds since 1970, which pass while somebody sleeps and at no other time."""

    def __init__(self) -> None:
        self.now = 1.8e9

    def __call__(self) -> float:
        """The time."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Pass them."""
        self.now += seconds
        await anyio.lowlevel.checkpoint()


async def interrupted(seconds: float) -> None:
    """A sleep that somebody cuts short."""
    raise InterruptedError(seconds)


class Death(BaseException):
    """Of the process, in place of a kill: nobody catches it."""


class Deaths:
    """One death at a point, after each transaction of a journal and each piece of an answer; None for none.

    Before them is no other point: it is after the one before.
    """

    def __init__(self, at: int | None = None) -> None:
        self.at = at
        self.met = 0
        """How many points were met."""

    def point(self) -> None:
        """One more is met."""
        self.met += 1
        if self.met == self.at:
            raise Death

    def everywhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Meet all points from now on."""
        run, plain = Journal.run, Transport.plain

        async def dying_run(journal: Journal, do: Callable[..., Any]) -> Any:
            found = await run(journal, do)
            self.point()
            return found

        async def dying_plain(transport: Transport, *args: Any) -> AsyncGenerator[Any, None]:
            async with aclosing(plain(transport, *args)) as items:
                async for item in items:
                    self.point()
                    yield item

        monkeypatch.setattr(Journal, "run", dying_run)
        monkeypatch.setattr(Transport, "plain", dying_plain)


def made(
    form: str, url: str, info: ModelInfo = INFO, *, short: str | None = None, row: Dialect | None = None
) -> BaseProvider:
    """A provider of each form: `messages`, `chat` or `responses`. short: the deadline that is."""
    config = ProviderConfig(
        model_id="m", model_info=info, api_key="k" * 12, base_url=url, deadlines=all_but(short),
        wire=None if form == "messages" else form,  # type: ignore[arg-type]
    )  # fmt: skip
    if form == "messages":
        return AnthropicProvider(config, row or "anthropic")
    return OpenAIProvider(config, row or "openai")


def prompts(count: int = 4) -> list[Job | str]:
    """So many, each unlike the others."""
    return [f"prompt {number}" for number in range(count)]


async def ran(
    provider: BaseProvider, jobs: Sequence[Job | str], journal: Path, clock: Clock, **more: Any
) -> list[JobResult]:
    """All results of one run."""
    settings: dict[str, Any] = {"options": LIMIT, "sleep": clock.sleep, "clock": clock, **more}
    async with aclosing(batch(provider, jobs, journal=journal, **settings)) as results:
        return [result async for result in results]


def bill_of(server: BatchServer) -> Decimal:
    """Dollars that the emulator bills, at the price of batches."""
    tokens = server.billed
    return (tokens["input_tokens"] * Decimal(1) + tokens["output_tokens"] * Decimal(5)) / 1_000_000
