"""OpenAI's Batch API, and those of its form: what is sent, and what comes back. Pure.

Sources: https://platform.openai.com/docs/guides/batch and the types of the openai SDK 3.57 (`types/batch*`), read
2026-11-30; `token_limit_exceeded` from openai/openai-python#2084.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal

import msgspec

from penstock.core.dialect import Wire
from penstock.core.errors import MalformedResponseError, ProviderError
from penstock.wire.batches import BatchLine, BatchPage, BatchStatus, FileApi, Undone, read_document, whole_body
from penstock.wire.errors import response_error, stream_error

__all__ = ["FileBatches"]

_ENDPOINTS: Final[Mapping[Wire, str]] = {"chat": "/v1/chat/completions", "responses": "/v1/responses"}
_STREAM: Final = ("stream", "stream_options")
_INTENT: Final = "penstock"
"""The name in a batch's metadata under which it has our word for it."""
_ENDED: Final = ("completed", "failed", "expired", "cancelled")
_CHECKED: Final = ("validating",)
_FULL: Final = "token_limit_exceeded"
"""The code of a batch that failed, minutes after it was created, because too many tokens wait already."""
_UNDONE: Final[Mapping[str, Undone]] = {
    "batch_expired": "expired",
    "batch_cancelled": "cancelled",
    "batch_canceled": "cancelled",
}


class _Fault(msgspec.Struct, omit_defaults=True):
    code: str | None = None
    message: str | None = None
    line: int | None = None


class _Faults(msgspec.Struct):
    data: list[_Fault] | None = None


class _Counts(msgspec.Struct):
    total: int = 0


class _Batch(msgspec.Struct):
    id: str
    status: str
    created_at: int
    output_file_id: str | None = None
    error_file_id: str | None = None
    completed_at: int | None = None
    failed_at: int | None = None
    expired_at: int | None = None
    cancelled_at: int | None = None
    request_counts: _Counts | None = None
    metadata: dict[str, Any] | None = None
    errors: _Faults | None = None


class _List(msgspec.Struct):
    data: list[_Batch]
    has_more: bool = False
    last_id: str | None = None


class _File(msgspec.Struct):
    id: str


class _Response(msgspec.Struct):
    status_code: int
    body: msgspec.Raw


class _Line(msgspec.Struct):
    custom_id: str
    response: _Response | None = None
    error: _Fault | None = None


_batch: Final = msgspec.json.Decoder(_Batch)
_list: Final = msgspec.json.Decoder(_List)
_file: Final = msgspec.json.Decoder(_File)
_line: Final = msgspec.json.Decoder(_Line)


class FileBatches(FileApi):
    """Batches of calls over one of OpenAI's wires."""

    path = "/batches"
    files = "/files"
    keeps_intent = True

    def __init__(self, wire: Literal["chat", "responses"]) -> None:
        self._endpoint = _ENDPOINTS[wire]

    def line(self, custom_id: str, body: bytes) -> bytes:
        """See BatchApi."""
        call = whole_body(body, _STREAM)
        return msgspec.json.encode({"custom_id": custom_id, "method": "POST", "url": self._endpoint, "body": call})

    def framed(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """See BatchApi."""
        return (line + b"\n" for line in lines)

    def file_id(self, body: bytes) -> str:
        """See FileApi."""
        return read_document(_file, body, "the uploaded file").id

    def creation(self, intent: str, file: str) -> bytes:
        """See FileApi."""
        return msgspec.json.encode(
            {
                "input_file_id": file,
                "endpoint": self._endpoint,
                "completion_window": "24h",
                "metadata": {_INTENT: intent},
            }
        )

    def status(self, body: bytes) -> BatchStatus:
        """See BatchApi."""
        return self._status(read_document(_batch, body, "the batch"))

    def page(self, body: bytes) -> BatchPage:
        """See BatchApi."""
        found = read_document(_list, body, "the list of batches")
        last = found.last_id or (found.data[-1].id if found.data else None)
        after = self.list_path(after=last) if found.has_more and last else None
        return BatchPage(batches=[self._status(each) for each in found.data], after=after)

    def result(self, line: bytes) -> BatchLine:
        """See BatchApi."""
        found = read_document(_line, line, "a line of results")
        name, response = found.custom_id, found.response
        if response is not None:
            return BatchLine(custom_id=name, document=bytes(response.body), code=response.status_code)
        if found.error is None:
            raise MalformedResponseError("a line of results has neither a response nor an error")
        undone = _UNDONE.get(found.error.code or "")
        if undone is not None:
            return BatchLine(custom_id=name, undone=undone)
        return BatchLine(custom_id=name, error=stream_error(msgspec.json.encode({"error": found.error})))

    def _status(self, batch: _Batch) -> BatchStatus:
        ended = batch.status in _ENDED
        files = [batch.output_file_id, batch.error_file_id] if ended else []
        faults = (batch.errors.data if batch.errors is not None else None) or []
        at = batch.completed_at or batch.failed_at or batch.expired_at or batch.cancelled_at
        return BatchStatus(
            id=batch.id,
            phase="ended" if ended else "checked" if batch.status in _CHECKED else "running",
            word=batch.status,
            created=_moment(batch.created_at),
            ended=_moment(at) if ended and at else None,
            jobs=batch.request_counts.total or None if batch.request_counts is not None else None,
            intent=_text((batch.metadata or {}).get(_INTENT)),
            # null, "" and nothing are one.
            results=[f"{self.files}/{file}/content" for file in files if file],
            fault=_fault(faults) if batch.status == "failed" else None,
            is_full=batch.status == "failed" and any(each.code == _FULL for each in faults),
        )


def _fault(faults: list[_Fault]) -> ProviderError:
    """Of a file that was refused as a whole: what is wrong with it first."""
    first = faults[0] if faults else _Fault(message="the batch failed, and its vendor does not say why")
    error = response_error(400, {}, msgspec.json.encode({"error": first}))
    error.status = None
    return error


def _moment(seconds: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
