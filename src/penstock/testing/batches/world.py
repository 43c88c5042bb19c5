"""What the emulated batches of both vendors have in common: how they get on, what becomes of their jobs, and lists."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any, ClassVar, Final, NamedTuple, TypeAlias
from urllib.parse import parse_qsl

import msgspec

from penstock.core.errors import ConfigError
from penstock.core.validation import near
from penstock.testing.batches.failures import BATCH_FAILURES, BatchFailure
from penstock.testing.emulator import Request, ServerReply
from penstock.testing.events import json_reply

__all__ = ["Answered", "BatchApi", "BatchJob", "EmulatedBatch", "Model", "Route", "World"]

Model: TypeAlias = Callable[[Request], ServerReply]
Route: TypeAlias = tuple[str, Callable[[], ServerReply]]
"""What kind of request it is, as in BatchFailure, and what answers it."""
_END: Final = 3
"""The step at which a batch has ended."""
_REFUSALS: Final = {
    "invalid": (400, "invalid_request_error", "this job is not valid"),
    "overloaded": (529, "overloaded_error", "Overloaded"),
}
_COUNTS: Final = {"prompt_tokens": "input_tokens", "completion_tokens": "output_tokens"}
_sorted_json: Final = msgspec.json.Encoder(order="sorted").encode


class BatchJob(NamedTuple):
    """One request of a batch. path: of the endpoint that it is for."""

    custom_id: str
    path: str
    body: Mapping[str, Any]


class Answered(NamedTuple):
    """What has become of a job. outcome: as in BatchFailure; status and document: of its answer, if it has one."""

    job: BatchJob
    outcome: str
    status: int = 0
    document: Any = None


class EmulatedBatch:
    """A batch as its vendor has it. facts: what that says of it beside its state."""

    def __init__(self, batch_id: str, jobs: Sequence[BatchJob], created: float, **facts: Any) -> None:
        self.id, self.jobs, self.created, self.facts = batch_id, jobs, created, facts
        self.looks = 0
        self.cancelled: int | None = None
        """The step at which it was cancelled, None if it was not."""
        self.faults: list[dict[str, Any]] = []
        """What is wrong with it as a whole, as is found after it was made: then none of its jobs is done."""
        self.results: list[Answered] = []


class World:
    """The batches, the model that does their jobs, and what goes wrong."""

    def __init__(
        self, model: Model, failure: str | BatchFailure, clock: Callable[[], float], step: float | None
    ) -> None:
        self.failure = failure
        self.batches: list[EmulatedBatch] = []
        """All that were made, the oldest first."""
        self._model, self._clock, self._step = model, clock, step

    @property
    def failure(self) -> BatchFailure:
        """What goes wrong, set by itself or by its name; how often it has is counted from then."""
        return self._failure

    @failure.setter
    def failure(self, failure: str | BatchFailure) -> None:
        if isinstance(failure, str):
            if failure not in BATCH_FAILURES:
                raise ConfigError(f"there is no failure {failure!r}{near(failure, BATCH_FAILURES)}")
            failure = BATCH_FAILURES[failure]
        self._failure, self._left = failure, failure.times

    def add(self, prefix: str, jobs: Sequence[BatchJob], **facts: Any) -> EmulatedBatch:
        """A new batch."""
        batch = EmulatedBatch(f"{prefix}_{len(self.batches) + 1}", jobs, self._clock(), **facts)
        self.batches.append(batch)
        return batch

    def is_full(self, jobs: int) -> bool:
        """Whether so many more jobs are too many to wait."""
        waiting = sum(len(batch.jobs) for batch in self.batches if not (batch.faults or self.is_over(batch)))
        return waiting + jobs > self.failure.queue

    def step(self, batch: EmulatedBatch) -> int:
        """How far a batch has got."""
        return batch.looks if self._step is None else int((self._clock() - batch.created) / self._step)

    def is_over(self, batch: EmulatedBatch) -> bool:
        """Whether it has ended, of itself or as it was cancelled."""
        step = self.step(batch)
        return step >= _END or (batch.cancelled is not None and step > batch.cancelled)

    def results(self, batch: EmulatedBatch) -> list[Answered]:
        """What has become of its jobs, in another order than they were sent. None before it is over."""
        if not batch.results and not batch.faults and self.is_over(batch):
            jobs = len(batch.jobs)
            done = jobs if batch.cancelled is None else jobs * batch.cancelled // _END
            for number, job in enumerate(batch.jobs):
                outcome = self.failure.outcome(number, jobs) if number < done else "cancelled"
                batch.results.append(self._answered(job, outcome))
            batch.results.sort(key=lambda each: sha256(each.job.custom_id.encode()).digest())
        return batch.results

    def _answered(self, job: BatchJob, outcome: str) -> Answered:
        if outcome in _REFUSALS:
            status, kind, message = _REFUSALS[outcome]
            return Answered(job, outcome, status, {"error": {"type": kind, "message": message}})
        if outcome:
            return Answered(job, outcome)
        reply = self._model(Request("POST", job.path, {}, msgspec.json.encode(job.body)))
        body = b"".join(piece for piece in reply.body if isinstance(piece, bytes))
        return Answered(job, "" if reply.status == 200 else "invalid", reply.status, msgspec.json.decode(body))

    @property
    def submitted(self) -> Counter[str]:
        """How often each `custom_id` came, in batches that were not refused as a whole."""
        return Counter(job.custom_id for batch in self.batches if not batch.faults for job in batch.jobs)

    @property
    def contents(self) -> Counter[bytes]:
        """How often each job came in them, by its body as JSON with sorted names."""
        return Counter(_sorted_json(job.body) for batch in self.batches if not batch.faults for job in batch.jobs)

    @property
    def billed(self) -> Counter[str]:
        """The sums over all that was answered in batches that are over: `jobs`, `input_tokens`, `output_tokens`."""
        usages = [each.document["usage"] for batch in self.batches for each in self.results(batch) if not each.outcome]
        found = Counter({"jobs": len(usages)})
        for usage in usages:
            found.update({_COUNTS.get(name, name): n for name, n in usage.items() if isinstance(n, int)})
        return found


class BatchApi(ABC):
    """One vendor's API for batches."""

    prefix: ClassVar[str]
    """What the ids of its batches begin with."""
    path: ClassVar[re.Pattern[str]]

    def __init__(self, world: World) -> None:
        self._world = world

    @abstractmethod
    def error(self, status: int, message: str) -> ServerReply:
        """A refusal in the API's own form."""

    @abstractmethod
    def create(self, request: Request) -> ServerReply:
        """What comes of the request for a new batch."""

    @abstractmethod
    def document(self, batch: EmulatedBatch) -> Mapping[str, Any]:
        """What it says of a batch."""

    def route(self, request: Request) -> Route | None:
        """How a request is answered; None for one of another API."""
        found = self.path.fullmatch(request.path.partition("?")[0])
        if found is None:
            return None
        name, verb = found.groups()
        if name is None:
            is_new = request.method == "POST"
            return ("create", lambda: self.create(request)) if is_new else ("list", lambda: self._list(request))
        batch = next((each for each in self._world.batches if each.id == name), None)
        if batch is None:
            return "poll", lambda: self.error(404, f"there is no batch {name}")
        return verb or "poll", lambda: self.about(batch, verb)

    def about(self, batch: EmulatedBatch, verb: str | None) -> ServerReply:
        """What is answered to a request for one batch."""
        batch.looks += verb is None
        if verb == "cancel":
            if self._world.is_over(batch) or batch.faults:
                return self.error(400, "a batch that has ended cannot be cancelled")
            batch.cancelled = self._world.step(batch)
        return json_reply(self.document(batch))

    def _list(self, request: Request) -> ServerReply:
        """A page, the newest first: behind one batch, or before one."""
        asked = dict(parse_qsl(request.path.partition("?")[2]))
        found = [each for each in reversed(self._world.batches) if each.id.startswith(self.prefix)]
        ids, limit = [each.id for each in found], int(asked.get("limit", 20))
        after, before = asked.get("after_id") or asked.get("after"), asked.get("before_id")
        if before is None:
            start = 0 if after is None else ids.index(after) + 1
            page, more = found[start : start + limit], start + limit < len(found)
        else:
            end = ids.index(before)
            page, more = found[max(0, end - limit) : end], end > limit
        ends = {"first_id": page[0].id, "last_id": page[-1].id} if page else {"first_id": None, "last_id": None}
        return json_reply({"object": "list", "data": list(map(self.document, page)), "has_more": more, **ends})
