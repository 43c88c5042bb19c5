"""Batches until their vendor has them: what may have been created is looked for, and not created again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from penstock.core.errors import ConfigError, ProviderError, RateLimitError
from penstock.core.scope import new_id
from penstock.fleet.batch_booking import Booking
from penstock.fleet.batch_store import BatchStore, Submission
from penstock.fleet.batch_vendor import Vendor, is_certain
from penstock.fleet.jobs import stops_all

__all__ = ["BatchSending"]

_NO_ROOM: Final = 86_400.0
"""Seconds for which a vendor may have no room for a batch."""


class BatchSending:
    """The batches of a journal. file: where what is uploaded lies meanwhile. resubmit: see `batch`."""

    def __init__(
        self,
        vendor: Vendor,
        store: BatchStore,
        booking: Booking,
        file: Path,
        clock: Callable[[], float],
        *,
        resubmit: bool,
    ) -> None:
        self._vendor = vendor
        self._store = store
        self._booking = booking
        self._file = file
        self._clock = clock
        self._resubmit = resubmit
        self.open: dict[str, Submission] = {}
        """By intent, those that have not ended."""
        self.faults: dict[str, ProviderError] = {}
        """By intent, what each of its jobs gets."""
        self.unsure: list[tuple[Submission, str]] = []
        """Those of which it cannot be told whether they were created, and why not."""
        self.checked: set[str] = set()
        """The intents of those that their vendor may still refuse as a whole."""
        self.error: Exception | None = None
        """What ends the run, once the others have ended."""
        self.is_cancelled = False
        """Whether this run only collects: nothing is sent."""
        self._was_cancelled = False
        self._maybe: dict[str, list[str]] = {}  # batches that may be it, until they have ended
        self._free: set[str] = set()  # intents whose batch was refused for the moment
        self._known: set[str] = set()

    @property
    def waiting(self) -> int:
        """Jobs of batches for which there is no room yet."""
        return sum(each.jobs for each in self.open.values() if each.waits is not None and each.batch is None)

    async def recover(self) -> None:
        """Go on where an earlier run has ended."""
        self._file.unlink(missing_ok=True)
        stage = await self._store.cancel_stage()
        self.is_cancelled, self._was_cancelled = stage == "asked", stage == "collected"
        submissions = await self._store.submissions()
        self._known = {each.batch for each in submissions if each.batch is not None}
        for each in submissions:
            if each.state in ("draft", "intent", "uploaded"):
                # Its jobs come again, unless nobody wants them any more.
                await self.drop(each, ConfigError("it was never sent"))
            elif each.state != "collected":
                self.open[each.intent] = each
            if each.state == "creating":
                await self._look(each, again=True)
                await self.decide(each, again=True)

    async def drop(self, submission: Submission, error: Exception) -> None:
        """Forget what was surely not sent, and what is reserved for it."""
        self.open.pop(submission.intent, None)
        calls = {submission.intent, *await self._store.calls(submission.intent)}
        await self._booking.withdraw(calls, submission.since, error)
        await self._store.forget(submission.intent)

    async def forget_cancel(self) -> None:
        """A run is over. The one that follows a cancel has given out what there was; the next sends the rest."""
        if self.is_cancelled or self._was_cancelled:
            await self._store.set_cancel_stage("collected" if self.is_cancelled else None)

    async def send(self, submission: Submission) -> None:
        """Create a batch; what becomes of that is in the journal."""
        if self._was_cancelled:
            logging.getLogger("penstock").warning("jobs that were cancelled, or failed, are sent again, and are billed")
            await self.forget_cancel()
            self._was_cancelled = False
        try:
            if submission.state == "intent":
                submission = await self._upload(submission)
                if submission.intent in self.faults:
                    return
            submission = msgspec.structs.replace(submission, state="creating", at=self._clock())
            await self._save(submission)
            try:
                status = await self._vendor.create(submission, self._file)
            except ProviderError as error:
                await self._refused(submission, error)
            else:
                await self._submitted(submission, status.id)
        finally:
            self._file.unlink(missing_ok=True)

    async def send_more(self) -> None:
        """Send one of those that wait, unless one may still be refused. If nothing more is to be sent, forget them."""
        waiting = [each for each in self.open.values() if each.state in ("intent", "uploaded")]
        waiting = [each for each in waiting if each.intent not in self.faults]
        if self.error is not None:
            for each in waiting:
                await self.drop(each, self.error)
        elif waiting and not self.checked & set(self.open):
            await self.send(waiting[0])

    async def split(self, submission: Submission) -> None:
        """Send the jobs of a batch for which there was no room in two halves, later."""
        half = submission.jobs // 2
        fields = {"state": "intent", "file": None, "batch": None, "waits": submission.waits or self._clock()}
        halves = [
            msgspec.structs.replace(submission, intent=new_id(), jobs=jobs, **fields)
            for jobs in (half, submission.jobs - half)
            if jobs
        ]
        await self._store.split(submission, halves)
        del self.open[submission.intent]
        for each in halves:
            await self._wait(each)

    async def _save(self, submission: Submission) -> None:
        await self._store.save(submission)
        self.open[submission.intent] = submission

    async def _upload(self, submission: Submission) -> Submission:
        await self._store.write(submission, self._vendor.api, self._file)

        async def upload() -> str | None:
            try:
                return await self._vendor.upload(submission, self._file)
            except ProviderError as error:
                if error.retryable or not is_certain(error) or stops_all(error, 1):
                    raise
                self.faults[submission.intent] = error
                return None

        file = await self._vendor.patiently(upload)
        if file is not None:
            submission = msgspec.structs.replace(submission, state="uploaded", file=file)
            await self._save(submission)
        return submission

    async def _submitted(self, submission: Submission, batch: str) -> None:
        self._known.add(batch)
        await self._save(msgspec.structs.replace(submission, state="submitted", batch=batch))

    async def _refused(self, submission: Submission, error: ProviderError) -> None:
        """The creation of a batch has failed, or its answer never came."""
        certain = is_certain(error)
        if certain and stops_all(error, 0):
            self.stop(error)
            await self.drop(submission, error)
        elif certain and not error.retryable:
            self.faults[submission.intent] = error
        else:
            self._vendor.pauses.least = max(self._vendor.pauses.least, error.retry_after or 0.0)
            if certain:
                self._free.add(submission.intent)
            await self._look(submission, again=False)

    def stop(self, error: Exception) -> None:
        """Send nothing more. It is raised when what was sent has ended, which may be tomorrow, and said now."""
        if self.error is None and self.open:
            logging.getLogger("penstock").warning("no more jobs are sent in batches: %s", error)
        self.error = self.error or error

    async def _look(self, submission: Submission, *, again: bool) -> None:
        """Look for a batch that may have been created. again: see `_choose`."""
        try:
            found = [each.id for each in await self._vendor.find(submission, self._known)]
        except ProviderError as error:
            self.stop(error)
            del self.open[submission.intent]  # the next run looks for it
            return
        if found and not self._vendor.api.keeps_intent:
            self._maybe[submission.intent] = found
        else:
            await self._choose(submission, found, again=again)

    async def decide(self, submission: Submission, *, again: bool = False) -> None:
        """Find the one among those that may be it, if there are any and all have ended. again: see `_choose`."""
        if submission.intent not in self._maybe:
            return
        mine = []
        for batch in self._maybe[submission.intent]:
            status = await self._vendor.status(batch)
            if status is None or status.phase != "ended":
                return
            if await self._vendor.is_of(submission, status):
                mine.append(batch)
        del self._maybe[submission.intent]
        await self._choose(submission, mine, again=again)

    async def _choose(self, submission: Submission, found: list[str], *, again: bool) -> None:
        """Say which batch it is; where that cannot be told, that. again: its jobs will be read once more.

        found: those that are it. With `resubmit` the first of several will do, as one is there for certain.
        """
        if len(found) == 1 or (found and self._resubmit):
            await self._submitted(submission, found[0])
        elif not found and submission.intent in self._free:
            await self._wait(submission)
        elif not found and self._resubmit and again:
            del self.open[submission.intent]
            await self._store.forget(submission.intent)
        else:
            del self.open[submission.intent]
            said = f"{' and '.join(found)} may both be it" if found else "none is found that is it"
            self.unsure.append((submission, f"whether the batch of this job was created cannot be told: {said}"))

    async def _wait(self, submission: Submission) -> None:
        """Try again later; not for ever."""
        self._free.discard(submission.intent)
        since = submission.waits or self._clock()
        state = "intent" if submission.file is None else "uploaded"
        await self._save(msgspec.structs.replace(submission, state=state, waits=since))
        if self._clock() - since > _NO_ROOM:
            self.faults[submission.intent] = RateLimitError(
                "the vendor has had no room for this batch for a day: too much of this account waits there"
            )
