"""OpenAI's Batch API and the files that it needs, as a server has them.

Source: the types of the openai SDK 3.57, `types/batch*` and `types/file_object.py`, read 2026-11-30.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from penstock.testing.batches.world import Answered, BatchApi, BatchJob, EmulatedBatch, Route, World
from penstock.testing.emulator import Request, ServerReply
from penstock.testing.events import json_reply
from penstock.testing.openai import openai_error

__all__ = ["FileBatchesApi", "read_form"]

_FILE: Final = re.compile(r".*/files(?:/([^/]+)/content)?")
_NAME: Final = re.compile(rb'name="([^"]*)"')
_STATES: Final = ("validating", "in_progress", "finalizing")
_UNDONE: Final = {
    "expired": "This request could not be executed before the completion window expired.",
    "cancelled": "This request was cancelled before it was executed.",
}


class FileBatchesApi(BatchApi):
    """See BatchApi."""

    prefix = "batch"
    path = re.compile(r".*/batches(?:/([^/]+))?(?:/(cancel))?")

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._files: dict[str, bytes] = {}

    def route(self, request: Request) -> Route | None:
        """See BatchApi."""
        if (found := _FILE.fullmatch(request.path)) is None:
            return super().route(request)
        name = found[1]
        return ("upload", lambda: self._upload(request)) if name is None else ("results", lambda: self._content(name))

    def error(self, status: int, message: str) -> ServerReply:
        """See BatchApi."""
        return openai_error(status, message, kind="invalid_request_error" if status < 429 else "server_error")

    def _upload(self, request: Request) -> ServerReply:
        fields = read_form(request)
        if fields.get("purpose") != b"batch" or "file" not in fields:
            return self.error(400, "expected a form with the purpose `batch` and a file")
        name = f"file-{len(self._files) + 1}"
        self._files[name] = fields["file"]
        facts = {"object": "file", "filename": "batch.jsonl", "purpose": "batch", "status": "processed"}
        return json_reply({"id": name, "bytes": len(fields["file"]), "created_at": 1_790_000_000, **facts})

    def _content(self, name: str) -> ServerReply:
        if name not in self._files:
            return self.error(404, f"there is no file {name}")
        pieces = self._files[name].splitlines(keepends=True)
        return ServerReply(pieces, headers={"content-type": "application/octet-stream"})

    def create(self, request: Request) -> ServerReply:
        """See BatchApi."""
        asked = msgspec.json.decode(request.body)
        name, endpoint = asked["input_file_id"], asked["endpoint"]
        if name not in self._files or asked["completion_window"] != "24h":
            return self.error(400, "expected the id of a file, and a window of 24h")
        jobs, faults = _jobs(self._files[name], endpoint)
        if self._world.is_full(len(jobs)):
            message = "Enqueued token limit reached for this model in this organization."
            faults.append({"code": "token_limit_exceeded", "message": message, "line": None})
        facts = {"endpoint": endpoint, "input_file_id": name, "metadata": asked.get("metadata")}
        batch = self._world.add(self.prefix, jobs, **facts)
        batch.faults = faults
        return json_reply(self.document(batch))

    def document(self, batch: EmulatedBatch) -> Mapping[str, Any]:
        """See BatchApi."""
        state, created, done = self._state(batch), int(batch.created), self._world.results(batch)
        right, wrong = ([each for each in done if bool(each.outcome) == failed] for failed in (False, True))
        files = {"output_file_id": right, "error_file_id": wrong}
        return {
            "id": batch.id,
            "object": "batch",
            "completion_window": "24h",
            "created_at": created,
            "expires_at": created + 86_400,
            "status": state,
            f"{state}_at": created + 60 * self._world.step(batch),
            "errors": {"object": "list", "data": batch.faults} if state == "failed" else None,
            "request_counts": {"total": len(batch.jobs), "completed": len(right), "failed": len(wrong)},
            **batch.facts,
            **self._world.failure.no_file,
            **{name: self._file(f"{batch.id}-{name}", found) for name, found in files.items() if found},
        }

    def _state(self, batch: EmulatedBatch) -> str:
        over, step = self._world.is_over(batch), self._world.step(batch)
        if batch.faults:  # which takes it a while to see
            return "failed" if step > 1 else _STATES[0]
        if batch.cancelled is not None:
            return "cancelled" if over else "cancelling"
        return self._world.failure.ends if over else _STATES[step]

    def _file(self, name: str, done: list[Answered]) -> str:
        if name not in self._files:
            self._files[name] = b"".join(line + b"\n" for line in self._world.failure.lines(list(map(_line, done))))
        return name


def read_form(request: Request) -> dict[str, bytes]:
    """The fields of a form."""
    border = request.headers["content-type"].partition("boundary=")[2].strip('"').encode()
    parts = [part.partition(b"\r\n\r\n") for part in request.body.split(b"--" + border)[1:-1]]
    named = [(_NAME.search(head), content.removesuffix(b"\r\n")) for head, _, content in parts]
    return {name[1].decode(): content for name, content in named if name is not None}


def _jobs(content: bytes, endpoint: str) -> tuple[list[BatchJob], list[dict[str, Any]]]:
    """The jobs of a file, and what is wrong with it."""
    jobs: dict[str, BatchJob] = {}
    faults: list[dict[str, Any]] = []
    for number, line in enumerate(content.splitlines(), 1):
        try:
            found = msgspec.json.decode(line)
            job = BatchJob(found["custom_id"], found["url"], found["body"])
        except (msgspec.DecodeError, LookupError, TypeError):
            faults.append({"code": "invalid_json_line", "message": "This line is no request.", "line": number})
            continue
        if job.path != endpoint:
            faults.append({"code": "mismatched_endpoint", "message": "This is for another endpoint.", "line": number})
        if job.custom_id in jobs:
            faults.append({"code": "duplicate_custom_id", "message": "This id stands there twice.", "line": number})
        jobs[job.custom_id] = job
    if not content:
        faults.append({"code": "empty_file", "message": "The file is empty.", "line": None})
    return list(jobs.values()), faults


def _line(answered: Answered) -> bytes:
    name = answered.job.custom_id
    line: dict[str, Any] = {"id": f"batch_req_{name}", "custom_id": name, "response": None, "error": None}
    if answered.outcome in _UNDONE:
        line["error"] = {"code": f"batch_{answered.outcome}", "message": _UNDONE[answered.outcome]}
    else:
        body = answered.document
        line["response"] = {"status_code": answered.status, "request_id": "req_emulated", "body": body}
    return msgspec.json.encode(line)
