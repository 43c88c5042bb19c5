"""Anthropic's Message Batches: what is sent, and what comes back. Pure.

Sources: https://platform.claude.com/docs/en/build-with-claude/batch-processing and the types of the anthropic SDK 2.14
(`types/messages/message_batch*`), read 2026-11-30.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from penstock.core.errors import MalformedResponseError
from penstock.wire.batches import BatchApi, BatchLine, BatchPage, BatchStatus, Undone, read_document, whole_body
from penstock.wire.errors import stream_error

__all__ = ["MessageBatches"]

_UNDONE: Final[Mapping[str, Undone]] = {"expired": "expired", "canceled": "cancelled"}


class _Counts(msgspec.Struct):
    processing: int = 0
    succeeded: int = 0
    errored: int = 0
    canceled: int = 0
    expired: int = 0


class _Batch(msgspec.Struct):
    id: str
    processing_status: str
    created_at: dt.datetime
    ended_at: dt.datetime | None = None
    request_counts: _Counts = msgspec.field(default_factory=_Counts)


class _List(msgspec.Struct):
    data: list[_Batch]
    has_more: bool = False
    last_id: str | None = None


class _Result(msgspec.Struct):
    type: str
    message: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


class _Line(msgspec.Struct):
    custom_id: str
    result: _Result


_batch: Final = msgspec.json.Decoder(_Batch)
_list: Final = msgspec.json.Decoder(_List)
_line: Final = msgspec.json.Decoder(_Line)


class MessageBatches(BatchApi):
    """The Message Batches of one account. Nothing of ours is kept with a batch but the `custom_id` of each job."""

    path = "/v1/messages/batches"

    def line(self, custom_id: str, body: bytes) -> bytes:
        """See BatchApi."""
        return msgspec.json.encode({"custom_id": custom_id, "params": whole_body(body, ("stream",))})

    def framed(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """See BatchApi."""
        before = b'{"requests":['
        for line in lines:
            yield before + line
            before = b","
        yield b"]}"

    def status(self, body: bytes) -> BatchStatus:
        """See BatchApi."""
        return self._status(read_document(_batch, body, "the batch"))

    def page(self, body: bytes) -> BatchPage:
        """See BatchApi."""
        found = read_document(_list, body, "the list of batches")
        after = self.list_path(after_id=found.last_id) if found.has_more and found.last_id else None
        return BatchPage(batches=[self._status(each) for each in found.data], after=after)

    def result(self, line: bytes) -> BatchLine:
        """See BatchApi."""
        found = read_document(_line, line, "a line of results")
        kind, name = found.result.type, found.custom_id
        if kind == "succeeded" and found.result.message:
            return BatchLine(custom_id=name, document=bytes(found.result.message))
        if kind == "errored" and found.result.error:
            return BatchLine(custom_id=name, error=stream_error(bytes(found.result.error)))
        if kind in _UNDONE:
            return BatchLine(custom_id=name, undone=_UNDONE[kind])
        raise MalformedResponseError(f"a line of results is of the unknown type {kind!r}")

    def _status(self, batch: _Batch) -> BatchStatus:
        ended = batch.processing_status == "ended"
        counts = batch.request_counts
        return BatchStatus(
            id=batch.id,
            phase="ended" if ended else "running",
            word=batch.processing_status,
            created=batch.created_at,
            ended=batch.ended_at,
            jobs=sum(msgspec.structs.astuple(counts)) or None,
            # By its path and not by its `results_url`, which is an address: the key goes to no other host.
            results=[f"{self.path}/{batch.id}/results"] if ended else (),
        )
