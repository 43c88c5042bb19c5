"""The shape of models.json: its entries, and what builds their middleware. In JSON the keys are camelCase."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import msgspec

from penstock.core.dialect import Dialect, without_userinfo
from penstock.core.errors import ConfigError
from penstock.core.provider_config import Form, Platform, ProviderConfig
from penstock.core.validation import check_count, check_seconds

__all__ = [
    "BudgetTable",
    "CircuitBreakerTable",
    "ModelEntry",
    "ModelsConfig",
    "ModelsFile",
    "OptionsTable",
    "RateLimitTable",
    "RetryTable",
    "StoreTable",
]


class _Table(Form, frozen=True, kw_only=True):
    """A table of models.json that builds a middleware. Its defaults are the middleware's own."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is None or isinstance(value, bool):
                continue
            (check_seconds if name in _SECONDS else check_count)(name, value)


_SECONDS: Final = ("max_wait", "base", "window", "pause")


class RetryTable(_Table, frozen=True, kw_only=True):
    """What penstock.middleware.Retry is built with."""

    attempts: int = 3
    """The most tries, the first one included."""
    max_wait: float = 60.0
    """The longest pause, in seconds; an error that asks for a longer one is raised at once."""
    base: float = 0.5
    """The longest pause before the second try, in seconds; it doubles with each try."""
    shown: bool = True
    """Whether somebody is shown the text as it comes; if not, a call is tried again after its first text too."""


class CircuitBreakerTable(_Table, frozen=True, kw_only=True):
    """What penstock.middleware.CircuitBreaker is built with."""

    failures: int = 5
    """How many failures within `window` open the circuit."""
    window: float = 60.0
    """In seconds."""
    pause: float = 30.0
    """Seconds until one call is let through as a trial."""


class RateLimitTable(_Table, frozen=True, kw_only=True):
    """What penstock.middleware.RateLimit is built with. One of the two limits has to be given."""

    requests_per_minute: int | None = None
    """Requests over any minute; None for no such limit."""
    tokens_per_minute: int | None = None
    """Tokens of prompts and answers over any minute; None for no such limit."""
    count_cache_reads: bool = True
    """Whether tokens read from a cache count: at OpenAI they do, at Anthropic they do not (read 2026-11-21)."""
    max_wait: float = 60.0
    """The longest `retry_after` that is waited out, in seconds; with a longer one calls fail at once. With a `store`
    the longest that a call waits for anything.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.requests_per_minute is None and self.tokens_per_minute is None:
            raise ConfigError("`requests_per_minute` is not given and tokensPerMinute neither, expected one of them")


class OptionsTable(Form, frozen=True, kw_only=True):
    """What penstock.middleware.Defaults is built with: options of each call that says nothing else, as in `Options`."""

    max_tokens: int | None = None
    """Most tokens of the answer."""
    temperature: float | None = None
    """How random the choice of words is."""
    top_p: float | None = None
    """Choose among the likeliest words whose probabilities add up to this."""
    top_k: int | None = None
    """Choose among this many of the likeliest words."""
    presence_penalty: float | None = None
    """Makes words that have occurred less likely."""
    frequency_penalty: float | None = None
    """Makes words less likely the more often they have occurred."""
    stop: str | Sequence[str] | None = None
    """Texts at which the answer ends."""
    seed: int | None = None
    """For answers that can be repeated."""
    tools: Sequence[Mapping[str, Any]] = ()
    """The vendor's own tools, as its JSON objects."""
    parallel_tool_calls: bool | None = None
    """Whether several calls may come in one answer; it counts for calls that have tools."""
    reasoning: Literal["off", "minimal", "low", "medium", "high", "xhigh", "max"] | int | None = None
    """An effort, `off`, or a budget in tokens."""
    cache: Literal["auto", "extended", "off"] = "auto"
    """Whether the prompt is marked for caching, and for how long."""
    user: str | None = None
    """An id of your end user."""
    service_tier: str | None = None
    """The vendor's word for how fast and how expensive the call is."""
    lenient: bool = False
    """Whether to leave out what this model cannot take, in place of refusing the call."""
    extra: Mapping[str, Any] = msgspec.field(default_factory=dict)
    """Raw fields of the request body; those of the call are laid over them."""


class BudgetTable(_Table, frozen=True, kw_only=True):
    """What penstock.meter.Budget is built with."""

    limit: Decimal
    """US dollars that may be spent in a period."""
    per: Literal["call", "run", "hour", "day", "month", "total"]
    """The period."""
    by: str | None = None
    """Gives each value its own dollars: `alias`, `vendor`, `model`, or a tag as `tags.user`. None: all share them."""
    tz: str = "UTC"
    """The zone in which a day begins, as `Europe/Amsterdam`."""
    missing: Literal["share", "refuse"] = "share"
    """Whether calls without that tag, or without a run, share dollars of their own, or are refused."""
    max_wait: float = 60.0
    """Seconds to wait, at most, for dollars that other calls hold."""
    max_output: int = 16_384
    """Tokens of an answer, at most, of a call that sets no `max_tokens`."""
    lower: bool = False
    """Whether the `max_tokens` of a call may be lowered to what is left."""
    least: int = 1_024
    """Tokens below which nothing is lowered, on top of a budget of reasoning."""
    unbounded: Decimal | None = None
    """US dollars to hold for a call whose cost has no bound; None: it is refused."""
    unpriced: Literal["refuse", "allow"] = "refuse"
    """What becomes of a call whose price is not known."""

    def __post_init__(self) -> None:
        """What is wrong is said when the file is read, by Budget itself."""


class ModelEntry(Form, frozen=True, kw_only=True):
    """One alias of models.json."""

    provider: str
    """The name of a vendor's row, or of a provider that a package or the program brings."""
    provider_config: ProviderConfig
    """The model, its key, its server."""
    settings: Mapping[str, Any] = msgspec.field(default_factory=dict)
    """What a provider that a package or the program brings wants to know beside it; that says what. Others take none.
    """
    dialect: Dialect | None = None
    """How a server differs that Penstock does not know; only with the providers `openai-compatible` and
    `anthropic-compatible`, whose row holds for what it leaves out. None for the provider's own row.
    """
    enabled: bool = True
    """Whether the alias can be opened."""
    options: OptionsTable | None = None
    """What a call gets that does not say it; None for nothing. It is the outermost."""
    retry: RetryTable | None = None
    """Tries again what may succeed later; None for never."""
    circuit_breaker: CircuitBreakerTable | None = None
    """Stops asking after too many failures; None for never. It is around `retry`."""
    rate_limit: RateLimitTable | None = None
    """Requests and tokens a minute; None for no limit. It is inside `retry`."""
    concurrency: int | None = None
    """The most streams at the same time; None for no limit. It is the innermost."""
    fallback: Sequence[str] = ()
    """Aliases to ask in turn if this one fails, each with its own middleware."""

    def __post_init__(self) -> None:
        if self.concurrency is not None:
            check_count("concurrency", self.concurrency)

    @property
    def place(self) -> tuple[str, Platform | None]:
        """The model's id, and where it is asked: None for its vendor."""
        return self.provider_config.model_id, self.provider_config.platform

    def with_config(self, **changes: Any) -> Self:
        """The same entry with these fields of its `provider_config` changed."""
        return msgspec.structs.replace(self, provider_config=msgspec.structs.replace(self.provider_config, **changes))

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """All fields, but of the settings only the names: what they hold may be secret."""
        return [(name, sorted(value) if name == "settings" else value) for name, value in super().__rich_repr__()]


class StoreTable(Form, frozen=True, kw_only=True):
    """What penstock.fleet.RedisStore is built with."""

    url: Annotated[str, msgspec.Meta(min_length=1)]
    """The Redis, as `redis://:${REDIS_PASSWORD}@host/0`."""
    on_loss: Literal["local", "stop"] = "local"
    """What a process does while Redis does not answer: go on with its share, or refuse."""

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """All fields; of the address neither user nor password."""
        return [("url", without_userinfo(self.url)), ("on_loss", self.on_loss)]


class ModelsFile(Form, frozen=True, kw_only=True, dict=True):
    """models.json as it is written."""

    active: str
    """The alias that is used when none is named."""
    models: Mapping[str, ModelEntry]
    """The models by alias."""
    ledger: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    """Where all calls are booked: a file, from this file's folder on, or postgresql://...; None for nowhere."""
    budgets: Sequence[BudgetTable] = ()
    """What all calls that are opened from this file may cost; they need a `ledger`."""
    store: Annotated[str, msgspec.Meta(min_length=1)] | StoreTable | None = None
    """Where `rateLimit` and `concurrency` of all models are counted for many processes; None for each by itself. A text
    is the `url` of such a table.
    """
    schema_url: str | None = msgspec.field(name="$schema", default=None)
    """Where an editor finds the JSON Schema, None for nowhere. In JSON it is called `$schema`."""

    @cached_property
    def by_model(self) -> Mapping[tuple[str, Platform | None], Sequence[ModelEntry]]:
        """The entries of each model, by its id and where it is asked, in the order of the file."""
        found: dict[tuple[str, Platform | None], list[ModelEntry]] = {}
        for entry in self.models.values():
            found.setdefault(entry.place, []).append(entry)
        return found

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """All fields, but of an address neither user nor password."""
        ledger = None if self.ledger is None else str(without_userinfo(self.ledger)).partition("?")[0]
        store = without_userinfo(self.store) if isinstance(self.store, str) else self.store
        shown = {"ledger": ledger, "store": store}
        return [(name, shown.get(name, value)) for name, value in super().__rich_repr__()]


class ModelsConfig(ModelsFile, frozen=True, kw_only=True):
    """A models.json that has been read."""

    source: Path | None = None
    """The file it was read from, None for the packaged catalogue; it is not written back."""
    found: bool = False
    """Whether the file was found by the search, and neither named nor trusted; not written back. Its entries are then
    opened with less: an address in the environment holds, and a local server gets no key that the file does not name.
    """
    untrusted: str | None = None
    """Why `open_provider` opens nothing of it: the file was found and not named, and asks for more than such a file may
    that nobody has trusted. None where it may be opened; not written back.
    """
