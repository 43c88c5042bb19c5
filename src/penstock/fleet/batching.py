"""Many prompts at half the price: the batch APIs of vendors, with a journal from which any process can go on.

What is about to happen is in the journal before it happens: a batch that may have been created is looked for, and never
created again by itself. Nothing runs beside the generator, so that leaving it leaves nothing but what the vendor has.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Final, NamedTuple

import anyio
import msgspec

from penstock.agent.collect import history_of
from penstock.core.chunks import UsageChunk
from penstock.core.closing import Stream
from penstock.core.dialect import Batches
from penstock.core.errors import BatchUnsureError, ConfigError, InvalidRequestError, NotFoundError, ProviderError
from penstock.core.messages import Message, Options
from penstock.core.provider import BaseProvider, check_provider
from penstock.core.scope import new_id
from penstock.fleet.batch_booking import BATCH, Booking
from penstock.fleet.batch_results import BatchResults, not_done
from penstock.fleet.batch_sending import BatchSending
from penstock.fleet.batch_store import BatchStore, Fresh, Submission
from penstock.fleet.batch_vendor import Vendor, find_leaf
from penstock.fleet.jobs import Job, JobResult, Jobs, Progress, each_job, total_of
from penstock.fleet.journal import Journal, check_options, key_of_request
from penstock.fleet.tally import Tally
from penstock.middleware.defaults import Defaults
from penstock.providers.leaf import Leaf

__all__ = ["batch", "journal_of"]

_TOGETHER: Final = 200
"""Jobs that are written in one transaction."""
_AHEAD: Final = 8_000_000
"""Bytes of jobs that are held until they are written, or a job more."""
_AROUND: Final = 256
"""Bytes that a job's line has beside its body, at the most, with what stands between lines."""


def batch(
    provider: BaseProvider,
    jobs: Jobs,
    *,
    journal: str | os.PathLike[str],
    options: Options | None = None,
    progress: Callable[[Progress], object] | None = None,
    resubmit: bool = False,
    sleep: Callable[[float], Awaitable[object]] = anyio.sleep,
    clock: Callable[[], float] = time.time,
) -> AsyncGenerator[JobResult, None]:
    """Have many prompts answered within a day, mostly at half the price, and yield what becomes of each.

    provider: of one model, of a vendor that has batches; what is around it but Defaults and Metered has no part in it.
    jobs: Jobs or prompts, of any iterable or async iterable, each with `max_tokens`. It is read once, to its end, and
        what was read is kept in the journal.
    journal: a file. The next run with it yields results again, goes on with the batches that the vendor has, and
        sends what failed once more.
    options: of the jobs that have none.
    progress: called when something has changed, ten times a second at most, and at the end.
    resubmit: whether jobs are sent anew that an earlier run could not tell the end of: BatchUnsureError.

    Leaving the generator leaves its batches with the vendor: see `cancel_batches`. A job that fails is a result with an
    `error`. What would fail for all ends the run as in `gather`; batches that were created then are collected before,
    if they can be. Raises ConfigError for a provider without batches, and for a job without `max_tokens`.
    """
    leaf, api = find_leaf(check_provider("provider", provider))
    vendor = Vendor(leaf, api, sleep, clock)
    run = _Run(provider, jobs, journal, options, progress, vendor, clock, resubmit=resubmit)
    return Stream(run.results(), lambda: run.usage)


class _Ready(NamedTuple):
    """A job that can be sent."""

    fresh: Fresh
    messages: list[Message]
    options: Options

    @property
    def size(self) -> int:
        """Bytes of its line, at the most."""
        return len(self.fresh.body) + _AROUND


class _Draft:
    """A batch that is being filled. jobs, size: how many it has and their bytes, with those that are held."""

    def __init__(self, submission: Submission) -> None:
        self.submission = submission
        self.jobs = self.size = 0
        self.held: list[_Ready] = []


class _Run:
    """One run."""

    def __init__(
        self,
        provider: BaseProvider,
        jobs: Jobs,
        journal: str | os.PathLike[str],
        options: Options | None,
        progress: Callable[[Progress], object] | None,
        vendor: Vendor,
        clock: Callable[[], float],
        *,
        resubmit: bool,
    ) -> None:
        self._provider = provider
        self._leaf = vendor.leaf
        self._rules = vendor.leaf.dialect.batches or Batches()
        self._vendor = vendor
        self._tally = Tally(total_of(jobs), progress)
        self._jobs = jobs
        self._options = options
        self._clock = clock
        self._resubmit = resubmit
        self._journal = journal_of(journal, vendor.leaf)
        path = self._journal.path or Path()
        self._store = BatchStore(self._journal)
        self._booking = Booking(provider, self._leaf)
        file = path.with_name(f"{path.name}.upload")
        self._sending = BatchSending(vendor, self._store, self._booking, file, clock, resubmit=resubmit)
        self._results = BatchResults(vendor, self._store, self._booking)
        self._unsure_usage = UsageChunk()
        self._drafts: dict[bytes, _Draft] = {}  # by their headers
        check_options(provider, options)

    @property
    def usage(self) -> UsageChunk:
        """See Progress."""
        return self._journal.usage + self._unsure_usage

    async def results(self) -> AsyncGenerator[JobResult, None]:
        """The generator."""
        async with self._journal:
            await self._store.open()
            try:
                await self._sending.recover()
                if self._resubmit:
                    await self._give_up()
                for part in (self._read, self._work, self._unsure):
                    async with aclosing(part()) as results:
                        async for result in results:
                            self._tally.running -= not result.resumed and part != self._read
                            if isinstance(result.error, BatchUnsureError):
                                self._unsure_usage += result.usage
                            self._tally.count(result)
                            self._tell()
                            yield result
                await self._end()
            except ProviderError as error:
                error.progress = self._tally.now()
                raise

    def _tell(self) -> None:
        self._tally.usage = self.usage
        self._tally.waiting = self._sending.waiting
        self._tally.tell()

    async def _end(self) -> None:
        error = self._sending.error
        if error is None:
            await self._sending.forget_cancel()
        unmatched = 0 if error else await self._journal.unmatched() + await self._store.strangers()
        self._tally.usage = self.usage
        self._tally.end(self._journal.path, unmatched)
        if error is not None:
            raise error

    async def _read(self) -> AsyncGenerator[JobResult, None]:
        """Read all jobs; what is known of them already, or cannot be sent."""
        try:
            async with aclosing(each_job(self._jobs)) as jobs:
                async for place, job in jobs:
                    result = await self._take(place, job)
                    if result is not None:
                        yield result
                    if self._sending.error is not None:
                        break
            for draft in list(self._drafts.values()):
                if self._sending.error is None:
                    await self._close(draft)
        except Exception as error:  # noqa: BLE001 - it is raised when what was sent has ended
            self._sending.stop(error)
        for draft in self._drafts.values():  # of which nothing is sent
            await self._sending.drop(draft.submission, self._sending.error or ConfigError("it was never sent"))

    async def _take(self, place: int, job: Job) -> JobResult | None:
        """Put a job into a batch. Its result, if it has one already. Raises what ends the run."""
        name = str(place) if job.id is None else job.id
        options = self._options if job.options is None else job.options
        try:
            messages = history_of(job.prompt)
            body = self._provider.request_body(job.system_prompt, messages, options)
            filled = options or Options()
            for each in self._provider.nested():
                if isinstance(each, Defaults):
                    filled = each.filled(filled) or filled
            headers = self._leaf.call_headers(job.system_prompt, messages, filled)
            base = key_of_request(self._provider, body, job.id)
            if len(body) + _AROUND > self._rules.most_bytes:
                most = f"{self._leaf.vendor} takes {self._rules.most_bytes} in a batch"
                raise InvalidRequestError(f"the job has {len(body)} bytes, and {most}")
        except ProviderError as error:
            return JobResult(job=job, id=name, reply=None, error=error, usage=UsageChunk())
        if filled.max_tokens is None:
            why = "without which nobody can say what a batch may cost"
            raise ConfigError(f"job {name} has no `max_tokens` (on the command line --max-tokens N), {why}")
        met, has_batch = await self._store.ask(base, place, name, job)
        if met.reply is not None:
            return JobResult(job=job, id=name, reply=met.reply, error=None, usage=met.usage, resumed=True)
        if not has_batch and self._sending.is_cancelled:
            return JobResult(job=job, id=name, reply=None, error=not_done("cancelled"), usage=met.usage)
        self._tally.running += 1
        if not has_batch:
            await self._put(_Ready(Fresh(met.key, job, body), messages, filled), headers)
        return None

    async def _put(self, ready: _Ready, headers: Mapping[str, str]) -> None:
        """Put a job into the batch of its headers, which is sent when it is full."""
        kind = msgspec.json.encode(headers, order="sorted")
        draft = self._drafts.get(kind)
        rules = self._rules
        if draft and (draft.jobs == rules.most_jobs or draft.size + ready.size > rules.most_bytes):
            await self._close(draft)
            draft = None
        if draft is None:
            intent = Submission(intent=new_id(), state="draft", jobs=0, since=self._clock(), headers=headers)
            await self._store.save(intent)
            draft = self._drafts[kind] = _Draft(intent)
        draft.held.append(ready)
        draft.jobs += 1
        draft.size += ready.size
        if len(draft.held) == _TOGETHER or sum(each.size for each in draft.held) > _AHEAD:
            await self._write(draft)

    async def _write(self, draft: _Draft) -> None:
        """Write the jobs that are held, and reserve what they may cost."""
        held, draft.held = draft.held, []
        first = draft.jobs - len(held)
        calls = []
        for place, each in enumerate(held, start=first):
            name = f"{draft.submission.intent}-{place}"
            calls += await self._booking.plan(name, each.fresh.job.system_prompt, each.messages, each.options)
        await self._store.add(draft.submission.intent, first, [each.fresh for each in held])
        await self._booking.open(calls)

    async def _close(self, draft: _Draft) -> None:
        """Send a batch that is full, or the last."""
        await self._write(draft)
        submission = msgspec.structs.replace(draft.submission, state="intent", jobs=draft.jobs)
        del self._drafts[msgspec.json.encode(submission.headers, order="sorted")]
        await self._store.save(submission)
        self._sending.open[submission.intent] = submission
        await self._sending.send(submission)

    async def _give_up(self) -> None:
        """Look for missing answers once more. What is missing still is sent anew, as soon as its jobs are read."""
        for each in [each for each in self._sending.open.values() if each.state == "read"]:
            async for _ in self._look_after(each):
                pass  # nobody has asked for any yet
            if self._sending.error is None and each.intent not in self._sending.open:
                await self._results.give_up(each)
                await self._store.save(msgspec.structs.replace(each, state="collected"))

    async def _work(self) -> AsyncGenerator[JobResult, None]:
        """Wait for all batches, and read what comes of them."""
        sending = self._sending
        while sending.open:
            before = set(sending.open)
            await sending.send_more()
            for submission in list(sending.open.values()):
                async with aclosing(self._look_after(submission)) as results:
                    async for result in results:
                        yield result
            self._tell()
            if before <= set(sending.open) or sending.waiting:
                await self._vendor.pauses.wait()
            else:
                self._vendor.pauses.again()

    async def _look_after(self, submission: Submission) -> AsyncGenerator[JobResult, None]:
        """One batch, once; the results if it has ended. An error that stays does not keep the others from theirs."""
        try:
            async with aclosing(self._looked_at(submission)) as results:
                async for result in results:
                    yield result
        except ProviderError as error:
            if not isinstance(error, NotFoundError) or submission.batch is None:
                self._sending.stop(error)
                self._sending.open.pop(submission.intent, None)  # the next run looks again
                return
            async with aclosing(self._results.gone(submission, error)) as results:
                async for result in results:
                    yield result
            await self._collected(submission)

    async def _looked_at(self, submission: Submission) -> AsyncGenerator[JobResult, None]:
        sending, intent = self._sending, submission.intent
        if intent in sending.faults:
            results = self._results.fail(submission, sending.faults[intent])
        elif submission.state == "creating":
            await sending.decide(submission)
            return
        else:
            if submission.batch is None:
                return
            status = await self._vendor.status(submission.batch, again=submission.state == "read")
            if status is None:
                return
            (sending.checked.add if status.phase == "checked" else sending.checked.discard)(intent)
            if status.is_full:
                await sending.split(submission)
            if status.phase != "ended" or status.is_full:
                return
            if status.fault is not None:
                results = self._results.fail(submission, status.fault)
            else:
                results = self._results.collect(submission, status)
        async with aclosing(results):
            async for result in results:
                yield result
        await self._collected(submission)

    async def _collected(self, submission: Submission) -> None:
        state = "read" if await self._store.left(submission.intent) else "collected"
        await self._store.save(msgspec.structs.replace(submission, state=state))
        del self._sending.open[submission.intent]

    async def _unsure(self) -> AsyncGenerator[JobResult, None]:
        for submission, why in self._sending.unsure:
            async with aclosing(self._results.unsure(submission, why)) as results:
                async for result in results:
                    yield result


def journal_of(path: str | os.PathLike[str], leaf: Leaf) -> Journal:
    """The file of a leaf's batches, not opened yet. Raises ConfigError where none is named."""
    journal = Journal(path, kind=BATCH, vendor=leaf.vendor, model=leaf.get_model().id)
    if journal.path is None:
        raise ConfigError("`journal` is None, expected the path of a file: batches outlive this process")
    return journal
