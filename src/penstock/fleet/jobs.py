"""What goes into `gather` and `batch`, what comes out, and how far it is."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Sequence
from decimal import Decimal
from typing import Final, TypeAlias

import msgspec

from penstock.agent.collect import Reply
from penstock.core.chunks import UsageChunk
from penstock.core.errors import (
    AuthenticationError,
    BudgetExceededError,
    CircuitOpenError,
    ConfigError,
    LedgerError,
    NotFoundError,
    PermissionDeniedError,
    ProviderError,
    QuotaExceededError,
    StoreError,
)
from penstock.core.messages import Message, Options, Part

__all__ = ["Job", "JobResult", "Jobs", "Progress", "each_job", "stops_all", "total_of"]

_NO_TEXT: Final = re.compile("[\ud800-\udfff]")
"""Halves of surrogate pairs, which nobody can store."""
_FOR_ALL: Final = (
    BudgetExceededError,
    CircuitOpenError,
    ConfigError,
    LedgerError,
    PermissionDeniedError,
    QuotaExceededError,
    StoreError,
)
"""What would come for each of the other jobs too."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One prompt of many."""

    prompt: str | Sequence[Part] | Sequence[Message]
    """Text, the parts of one message, or a history."""
    id: str | None = None
    """The caller's name for it, which no other job has; None for its place among the jobs, from 0."""
    system_prompt: str = ""
    """Empty for none."""
    options: Options | None = None
    """In place of the options of all; None for those."""


class JobResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a job: a reply or an error."""

    job: Job
    """As it was given; for a prompt the Job that it stands for."""
    id: str
    """The job's own, else its place among the jobs of this run, as text."""
    reply: Reply | None
    """None where it failed."""
    error: ProviderError | None
    """None where it has a reply."""
    usage: UsageChunk
    """All that it has cost, its failures in this run and in earlier ones of the same journal too."""
    resumed: bool = False
    """It was in the journal: nothing was sent for it now."""

    @property
    def ok(self) -> bool:
        """Whether it has a reply."""
        return self.reply is not None

    @property
    def cost(self) -> Decimal | None:
        """US dollars, exact; None where more may be billed than is known."""
        return self.usage.cost


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far it is. Counts are jobs."""

    done: int = 0
    """With a reply, the resumed ones among them."""
    failed: int = 0
    """In this run; the next one asks them again."""
    running: int = 0
    """Begun and not ended."""
    waiting: int = 0
    """Of the running ones, those of batches for which their vendor has no room yet."""
    resumed: int = 0
    """Done in an earlier run of this journal."""
    total: int | None = None
    """None where the jobs have no length."""
    seconds: float = 0.0
    """Since the run began."""
    rate: float = 0.0
    """Jobs a second, lately, without the resumed ones."""
    usage: UsageChunk = UsageChunk()
    """The bill of this journal, earlier runs and failures included; without a journal that of this run."""
    unmatched: int = 0
    """Known at the end: answers in the journal that belong to no job of this run, as if a prompt had been changed."""

    @property
    def left(self) -> int | None:
        """Jobs that are neither done nor failed; None where the total is not known."""
        return None if self.total is None else max(0, self.total - self.done - self.failed)

    @property
    def seconds_left(self) -> float | None:
        """At the rate of late; None where that or the total is not known."""
        return None if self.left is None or not self.rate else self.left / self.rate

    @property
    def cost(self) -> Decimal | None:
        """US dollars, exact; None where more may be billed than `usage.known_cost`."""
        return self.usage.cost


Jobs: TypeAlias = Iterable[Job | str] | AsyncIterable[Job | str]
"""Read one by one, when there is room for the next."""


def total_of(jobs: Jobs) -> int | None:
    """How many there are, None where they do not say. Raises ConfigError for what is no jobs at all."""
    if isinstance(jobs, str | bytes | Job) or not isinstance(jobs, Iterable | AsyncIterable):
        raise ConfigError(f"`jobs` is a {type(jobs).__name__}, expected a list, a generator or the like, of jobs")
    try:
        return len(jobs)  # type: ignore[arg-type]
    except TypeError:
        return None


async def each_job(jobs: Jobs) -> AsyncGenerator[tuple[int, Job], None]:
    """Each with its place, from 0; what they come from is closed at the end. Raises ConfigError for what is no job."""
    place = 0
    try:
        if isinstance(jobs, AsyncIterable):
            async for job in jobs:
                yield place, _job(place, job)
                place += 1
        else:
            for job in jobs:
                yield place, _job(place, job)
                place += 1
    finally:
        if (aclose := getattr(jobs, "aclose", None)) is not None:
            await aclose()
        elif (close := getattr(jobs, "close", None)) is not None and hasattr(jobs, "send"):  # not a file of lines
            close()


def stops_all(error: ProviderError, answered: int) -> bool:
    """Whether the other jobs would meet this error too. answered: how many were answered in this run."""
    if isinstance(error, AuthenticationError):
        return not error.retryable  # then the next job is asked with another key
    if isinstance(error, BudgetExceededError) and error.needed is not None and error.limit is not None:
        return error.needed <= error.limit  # else it is this job that is dearer than all of the budget
    if isinstance(error, NotFoundError):
        return not answered  # the model; later it can only be something that one job names
    return isinstance(error, _FOR_ALL)


def _job(place: int, job: object) -> Job:
    if isinstance(job, str):
        return Job(prompt=job)
    if not isinstance(job, Job):
        raise ConfigError(f"job {place} is of type {type(job).__name__}, expected text or Job(...)")
    name: object = job.id
    if name is not None and not (name and isinstance(name, str) and not _NO_TEXT.search(name)):
        raise ConfigError(f"job {place} has the id {name!r}, expected text or None")
    return job
