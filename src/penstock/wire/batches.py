"""What the batch APIs of all wires have in common: a batch as its vendor tells of it, and one line of its results.

Pure: what goes over the wire is made and read here and in the wires' own `batches`, and `penstock.fleet` sends it.
"""

from __future__ import annotations

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar, Final, Literal, TypeAlias, TypeVar
from urllib.parse import urlencode

import msgspec

from penstock.core.errors import MalformedResponseError, ProviderError
from penstock.wire.event_json import UNDECODABLE, shown

__all__ = [
    "BatchApi",
    "BatchLine",
    "BatchPage",
    "BatchStatus",
    "FileApi",
    "Undone",
    "read_document",
    "whole_body",
]

T = TypeVar("T", bound=msgspec.Struct)

Undone: TypeAlias = Literal["expired", "cancelled"]


class BatchStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A batch as its vendor tells of it now."""

    id: str
    phase: Literal["checked", "running", "ended"]
    """`checked` while it may still be refused as a whole, `ended` when nothing of it will change any more."""
    word: str
    """The vendor's own word for that."""
    created: dt.datetime
    ended: dt.datetime | None = None
    jobs: int | None = None
    """How many it has; None where that is not said, or not yet."""
    intent: str | None = None
    """What we have called it; None where its vendor keeps nothing with a batch."""
    results: Sequence[str] = ()
    """Paths of its results, once it has ended; there may be none at all."""
    fault: ProviderError | None = None
    """Why it was refused as a whole: none of its jobs was done."""
    is_full: bool = False
    """It was refused only because too much waits already: smaller ones, later, will be taken."""


class BatchPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a list of batches, the newest first."""

    batches: Sequence[BatchStatus]
    after: str | None
    """The path of the next page, None after the last."""


class BatchLine(msgspec.Struct, frozen=True, kw_only=True):
    """One job's result: a document, an error, or neither, where it was not done."""

    custom_id: str
    document: bytes = b""
    """What the call would have been answered with, without a stream."""
    code: int = 200
    """The HTTP status that it would have had."""
    error: ProviderError | None = None
    undone: Undone | None = None
    """Why it was not done. That costs nothing."""


class BatchApi(ABC):
    """One form of batch API, in which a batch is created with its jobs in the body."""

    path: ClassVar[str]
    """Where its batches lie, below the base URL."""
    keeps_intent: ClassVar[bool] = False
    """A batch can be found again by what we have called it; else only by its time and size, and by its results."""

    @abstractmethod
    def line(self, custom_id: str, body: bytes) -> bytes:
        """One job. custom_id: of 64 letters, digits, `_` and `-` at the most. body: of the call, as for a stream."""

    @abstractmethod
    def framed(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """The pieces of what is sent with all jobs."""

    @abstractmethod
    def status(self, body: bytes) -> BatchStatus:
        """What a batch's document says. Raises MalformedResponseError."""

    def list_path(self, **after: str) -> str:
        """The path of a page of the list of batches. after: none for the first, else what the API calls its place."""
        return f"{self.path}?{urlencode({'limit': 100, **after})}"

    @abstractmethod
    def page(self, body: bytes) -> BatchPage:
        """What the list says. Raises MalformedResponseError."""

    @abstractmethod
    def result(self, line: bytes) -> BatchLine:
        """What a line of results says. Raises MalformedResponseError for one that is damaged."""


class FileApi(BatchApi):
    """The form in which the jobs are uploaded as a file, which a batch names."""

    files: ClassVar[str]
    """Where its files lie, below the base URL."""

    @abstractmethod
    def file_id(self, body: bytes) -> str:
        """What an uploaded file is called. Raises MalformedResponseError."""

    @abstractmethod
    def creation(self, intent: str, file: str) -> bytes:
        """The body that creates a batch of a file."""


_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def whole_body(body: bytes, without: Sequence[str]) -> Mapping[str, msgspec.Raw]:
    """The fields of a call's body, without those that ask for a stream."""
    return {name: value for name, value in _fields.decode(body).items() if name not in without}


def read_document(decoder: msgspec.json.Decoder[T], body: bytes, what: str) -> T:
    """A document of a batch API. Raises MalformedResponseError."""
    try:
        return decoder.decode(body)
    except UNDECODABLE as error:
        raise MalformedResponseError(f"{what} cannot be read ({error}): {shown(body)}") from error
