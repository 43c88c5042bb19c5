"""What comes of batches that have ended: each job's result, booked, written and given out once."""

from __future__ import annotations

import copy
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Final

from penstock.agent.collect import collect
from penstock.core.chunks import UsageChunk
from penstock.core.errors import BatchUnsureError, MalformedResponseError, ProviderError
from penstock.fleet.batch_booking import BATCH, Booked, Booking
from penstock.fleet.batch_store import BatchStore, End, Place, Submission
from penstock.fleet.batch_vendor import Vendor
from penstock.fleet.jobs import Job, JobResult
from penstock.wire.batches import BatchLine, BatchStatus

__all__ = ["BatchResults", "not_done"]

_TOGETHER: Final = 200
"""Results that are written in one transaction."""
_FREE: Final = UsageChunk()
_UNKNOWN: Final = UsageChunk(unsettled=1)
_UNDONE: Final = ("expired", "cancelled")
"""Of a batch with such a word, jobs without a result were not done."""
_MISSING: Final = "the results of the batch have no answer to this job that can be read: it is billed, most likely"


class BatchResults:
    """Reads what vendors give, in whatever order, with holes, twice, or cut in the middle."""

    def __init__(self, vendor: Vendor, store: BatchStore, booking: Booking) -> None:
        self._vendor = vendor
        self._store = store
        self._booking = booking
        self._damaged: set[str] = set()  # intents of batches that have something which cannot be read

    async def collect(self, submission: Submission, status: BatchStatus) -> AsyncGenerator[JobResult, None]:
        """All results of a batch that has ended; then the jobs of which there are none."""
        rows = await self._rows(submission)
        for path in status.results:
            async with aclosing(self._read(path, submission, status, rows)) as results:
                async for result in results:
                    yield result
        is_undone = status.word in _UNDONE and submission.intent not in self._damaged
        missing = self.unsure(submission, _MISSING)
        async with aclosing(self.fail(submission, not_done(status.word)) if is_undone else missing) as results:
            async for result in results:
                yield result

    async def fail(
        self, submission: Submission, error: ProviderError, usage: UsageChunk = _FREE
    ) -> AsyncGenerator[JobResult, None]:
        """Give each job of a batch that has not ended an error. usage: what each has cost."""
        rows = await self._rows(submission)
        while places := await self._store.left(submission.intent):
            for result in await self._write([End(place, None, copy.copy(error), usage) for place in places], rows):
                yield result

    def gone(self, submission: Submission, error: ProviderError) -> AsyncGenerator[JobResult, None]:
        """The jobs of a batch of which its vendor knows nothing any more: they are unsure."""
        return self.unsure(submission, f"the batch, or its results, is not there any more ({error.message})")

    async def give_up(self, submission: Submission) -> None:
        """Write that the jobs that have not ended are billed, nobody knows how much: they are new again."""
        async for _ in self.fail(submission, BatchUnsureError(_MISSING), _UNKNOWN):
            pass

    async def unsure(self, submission: Submission, why: str) -> AsyncGenerator[JobResult, None]:
        """The jobs that have not ended, and may be billed. Nothing is written of that: they stay with their batch."""
        after = -1
        while places := await self._store.left(submission.intent, after):
            after = places[-1].place
            for place in places:
                if place.job is not None:
                    end = End(place, None, self._ours(BatchUnsureError(why)), _UNKNOWN)
                    yield _result(place.job, end, _UNKNOWN)

    async def _read(
        self, path: str, submission: Submission, status: BatchStatus, rows: Mapping[str, list[Booked]]
    ) -> AsyncGenerator[JobResult, None]:
        """One file of results, from its beginning again where it was cut off: what is written is passed over."""
        odd = Counter[str]()
        while True:
            seen, lines = set[int](), dict[int, BatchLine]()
            odd.clear()
            try:
                async with aclosing(self._vendor.leaf.lines(path)) as found:
                    async for line in found:
                        self._sort(line, submission, seen, lines, odd)
                        if len(lines) == _TOGETHER:
                            for result in await self._answers(submission, status, rows, lines):
                                yield result
                            lines.clear()
            except ProviderError as error:
                self._vendor.failed(error, again=submission.state == "read")
            else:
                break
            await self._vendor.pauses.wait()
        for result in await self._answers(submission, status, rows, lines):
            yield result
        for what, count in odd.items():
            logging.getLogger("penstock").warning("batch %s has %d lines %s", status.id, count, what)

    def _sort(
        self, line: bytes, submission: Submission, seen: set[int], lines: dict[int, BatchLine], odd: Counter[str]
    ) -> None:
        """Put a line where it belongs; the first of a job counts."""
        try:
            found = self._vendor.api.result(line)
        except MalformedResponseError:
            odd["that cannot be read"] += 1
            self._damaged.add(submission.intent)
            return
        intent, _, number = found.custom_id.partition("-")
        if intent != submission.intent or not (number.isascii() and number.isdecimal() and len(number) < 10):
            odd["of other jobs"] += 1
        elif int(number) in seen:
            odd["that came before"] += 1
        else:
            seen.add(int(number))
            lines[int(number)] = found

    async def _answers(
        self,
        submission: Submission,
        status: BatchStatus,
        rows: Mapping[str, list[Booked]],
        lines: Mapping[int, BatchLine],
    ) -> list[JobResult]:
        """What these lines say, booked and written; of those that are written already nothing."""
        places = await self._store.places(submission.intent, list(lines)) if lines else []
        ends = [await self._end(place, lines[place.place], status) for place in places]
        known = [end for end in ends if end.error is None or not end.usage.unsettled]
        if len(known) < len(ends):  # an answer came, most likely, and it cannot be read
            self._damaged.add(submission.intent)
        return await self._write(known, rows)

    async def _end(self, place: Place, line: BatchLine, status: BatchStatus) -> End:
        error = line.error or (None if line.undone is None else not_done(line.undone))
        if error is not None:
            return End(place, None, self._ours(error), error.usage)
        # Vendors do not say which day's price counts: it is that of the work, which ends with the batch.
        at = status.ended or status.created
        answer = self._vendor.leaf.read_answer(line.document, status=line.code, variant=BATCH, at=at)
        try:
            reply = await collect(answer)
        except ProviderError as failed:
            return End(place, None, failed, failed.usage)
        return End(place, reply, None, reply.usage)

    async def _write(self, ends: Sequence[End], rows: Mapping[str, list[Booked]]) -> list[JobResult]:
        """Book how jobs have ended, and then write it: whoever dies between books it once more, which is the same."""
        for place, reply, error, usage in ends:
            self._booking.settle(rows.get(place.call, ()), usage, reply, error)
        await self._booking.flush()
        pairs = zip(ends, await self._store.finish(ends), strict=True)
        return [_result(end.place.job, end, spent) for end, spent in pairs if end.place.job is not None]

    async def _rows(self, submission: Submission) -> Mapping[str, list[Booked]]:
        return await self._booking.find(await self._store.calls(submission.intent), submission.since)

    def _ours(self, error: ProviderError) -> ProviderError:
        error.vendor, error.model = self._vendor.leaf.vendor, self._vendor.leaf.get_model().id
        return error


def _result(job: Job, end: End, usage: UsageChunk) -> JobResult:
    """usage: what it has cost in all runs."""
    return JobResult(job=job, id=end.place.id or "", reply=end.reply, error=end.error, usage=usage)


def not_done(why: str) -> ProviderError:
    """What a job gets that its batch ended without. why: `cancelled` or `expired`."""
    what = "was cancelled" if why == "cancelled" else "expired"
    error = ProviderError(f"the batch {what} before this job was done, which costs nothing")
    error.retryable = True
    error.hint = "Run it again with the same journal: only what has no answer is sent again."
    return error
