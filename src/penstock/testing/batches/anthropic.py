"""Anthropic's Message Batches, as a server has them.

Source: the types of the anthropic SDK 2.14, `types/messages/*batch*`, read 2026-11-30.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from penstock.testing.anthropic import anthropic_error
from penstock.testing.batches.world import Answered, BatchApi, BatchJob, EmulatedBatch
from penstock.testing.emulator import Request, ServerReply
from penstock.testing.events import json_reply

__all__ = ["MessageBatchesApi"]

_CUSTOM_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_ENDS: Final = {
    "": "succeeded",
    "invalid": "errored",
    "overloaded": "errored",
    "expired": "expired",
    "cancelled": "canceled",
}
_KINDS: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}


class MessageBatchesApi(BatchApi):
    """See BatchApi."""

    prefix = "msgbatch"
    path = re.compile(r".*/messages/batches(?:/([^/]+))?(?:/(cancel|results))?")

    def error(self, status: int, message: str) -> ServerReply:
        """See BatchApi."""
        return anthropic_error(status, _KINDS.get(status, "api_error"), message)

    def create(self, request: Request) -> ServerReply:
        """See BatchApi."""
        try:
            given = msgspec.json.decode(request.body)["requests"]
            jobs = [BatchJob(each["custom_id"], "/v1/messages", each["params"]) for each in given]
        except (msgspec.DecodeError, LookupError, TypeError) as error:
            return self.error(400, f"requests: {type(error).__name__}: {error}")
        ids = {job.custom_id for job in jobs}
        if not jobs or len(ids) < len(jobs) or not all(map(_CUSTOM_ID.fullmatch, ids)):
            return self.error(400, "requests: expected at least one, each with a `custom_id` of its own")
        if self._world.is_full(len(jobs)):
            return self.error(429, "too many batch requests wait to be processed")
        return json_reply(self.document(self._world.add(self.prefix, jobs, host=request.headers["host"])))

    def about(self, batch: EmulatedBatch, verb: str | None) -> ServerReply:
        """See BatchApi."""
        if verb != "results":
            return super().about(batch, verb)
        if not (found := self._world.results(batch)):
            return self.error(404, "the results are not there yet")
        lines = self._world.failure.lines(list(map(_line, found)))
        return ServerReply([line + b"\n" for line in lines], headers={"content-type": "application/x-jsonl"})

    def document(self, batch: EmulatedBatch) -> Mapping[str, Any]:
        """See BatchApi."""
        found, when = self._world.results(batch), datetime.fromtimestamp(batch.created, UTC)
        counts = Counter(_ENDS[each.outcome] for each in found)
        url = f"http://{batch.facts['host']}/v1/messages/batches/{batch.id}/results"
        return {
            "id": batch.id,
            "type": "message_batch",
            "processing_status": "ended" if found else "in_progress" if batch.cancelled is None else "canceling",
            "request_counts": {
                "processing": 0 if found else len(batch.jobs),
                **{end: counts[end] for end in _ENDS.values()},
            },
            "created_at": when,
            "expires_at": when + timedelta(hours=24),
            "ended_at": when + timedelta(hours=1) if found else None,
            "cancel_initiated_at": None if batch.cancelled is None else when,
            "archived_at": None,
            "results_url": url if found else None,
        }


def _line(answered: Answered) -> bytes:
    end, document = _ENDS[answered.outcome], answered.document
    result: dict[str, Any] = {"type": end}
    if end == "succeeded":
        result["message"] = {**document, "usage": {**document["usage"], "service_tier": "batch"}}
    elif end == "errored":
        result["error"] = {"type": "error", "request_id": "req_emulated", "error": document["error"]}
    return msgspec.json.encode({"custom_id": answered.job.custom_id, "result": result})
