"""The batches of one account: created once, found again, and asked after with patience."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import aclosing, suppress
from itertools import count
from pathlib import Path
from typing import Final, TypeVar

from penstock.core.errors import ConfigError, MalformedResponseError, NotFoundError, OverloadedError, ProviderError
from penstock.core.provider import BaseProvider
from penstock.fleet.batch_store import Submission
from penstock.fleet.jobs import stops_all
from penstock.providers.bodies import Body, form
from penstock.providers.leaf import Leaf
from penstock.wire.anthropic.batches import MessageBatches
from penstock.wire.batches import BatchApi, BatchStatus, FileApi
from penstock.wire.openai.batches import FileBatches
from penstock.wire.vendors import DIALECTS

__all__ = ["Pauses", "Vendor", "find_leaf", "is_certain"]

T = TypeVar("T")

_FIRST: Final = 5.0
_LONGEST: Final = 300.0
"""Seconds between two looks, the first and the longest."""
_GROWS: Final = 1.5
_PATIENCE: Final = 3_600.0
"""Seconds for which nothing but failures may come."""
_GIVEN_UP: Final = (408, 409, 499)
"""What a gateway says that waits no longer, and a server that is at it already."""
_LOOKS: Final = 3
"""How often a list is read that may not have the newest yet."""
_TRIES: Final = 5
"""How often a batch is asked to end, if something fails."""
_SKEW: Final = 600.0
"""Seconds by which two clocks may differ."""
_LINES: Final = 10
"""Lines of results by which it is told whose they are."""
_CREATING: Final = 3_600.0
"""Seconds that the creation of a batch may take."""


def find_leaf(provider: BaseProvider) -> tuple[Leaf, BatchApi]:
    """The one that is asked, and its batch API. Raises ConfigError where there is no such thing."""
    leaves = list(provider.leaves())
    if len(leaves) != 1:
        names = ", ".join(repr(leaf.get_model().id) for leaf in leaves)
        raise ConfigError(f"a batch is for one model, and this provider may ask {names}: give one without Fallback")
    [leaf] = leaves
    if not isinstance(leaf, Leaf):
        raise ConfigError(f"{type(leaf).__name__} has no batches: use `gather`")
    rules, wire = leaf.dialect.batches, leaf.wire
    if rules is None:
        where = leaf.vendor if leaf.platform is None else f"{leaf.vendor} on {leaf.platform}"
        known = ", ".join(row.name for row in DIALECTS.values() if row.batches is not None)
        raise ConfigError(f"{where} has no batches that are known here; {known} have: use `gather`")
    if wire not in rules.wires:
        raise ConfigError(f"`wire` is {wire!r}, and {leaf.vendor} takes batches over {' and '.join(rules.wires)}")
    return leaf, MessageBatches() if wire == "messages" else FileBatches(wire)


def is_certain(error: ProviderError) -> bool:
    """Whether what was to be created surely was not."""
    refused = 400 <= (error.status or 0) < 500 and error.status not in _GIVEN_UP
    return error.unsent or isinstance(error, OverloadedError) or refused


class Pauses:
    """Growing ones. sleep: as anyio's."""

    def __init__(self, sleep: Callable[[float], Awaitable[object]]) -> None:
        self._sleep = sleep
        self._next = _FIRST
        self.least = 0.0
        """Seconds that the vendor asks for."""

    async def wait(self) -> None:
        """Wait for the next."""
        await self._sleep(max(self.least, self._next * random.uniform(0.9, 1.1)))  # noqa: S311 - no secret
        self._next = min(_LONGEST, self._next * _GROWS)
        self.least = 0.0

    def again(self) -> None:
        """Begin with short ones again."""
        self._next = _FIRST


class Vendor:
    """Asks the server of a leaf. clock: seconds."""

    def __init__(
        self, leaf: Leaf, api: BatchApi, sleep: Callable[[float], Awaitable[object]], clock: Callable[[], float]
    ) -> None:
        self.leaf = leaf
        self.api = api
        self.pauses = Pauses(sleep)
        self._clock = clock
        self._failing: float | None = None

    def failed(self, error: ProviderError, *, again: bool = False) -> None:
        """A request that may be made again has failed. Raises the error if that is of no use, or for too long now.

        again: what is asked for was there in an earlier run, and if it is gone it will not come.
        """
        now = self._clock()
        self._failing = now if self._failing is None else self._failing
        if stops_all(error, 1) or (again and isinstance(error, NotFoundError)) or now - self._failing > _PATIENCE:
            raise error
        self.pauses.least = max(self.pauses.least, error.retry_after or 0.0)

    async def patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What it gives, as soon as it does. Raises a ProviderError as `failed` does."""
        while True:
            try:
                found = await ask()
            except ProviderError as error:
                self.failed(error)
            else:
                self._failing = None
                return found
            await self.pauses.wait()

    async def status(self, batch: str, *, again: bool = False) -> BatchStatus | None:
        """How a batch stands; None where that cannot be told now. Raises as `failed` does."""
        try:
            found = await self.leaf.read(f"{self.api.path}/{batch}", self.api.status)
        except ProviderError as error:
            self.failed(error, again=again)
            return None
        self._failing = None
        return found

    async def upload(self, submission: Submission, file: Path) -> str | None:
        """What the uploaded file is called, None where none is needed. One more than is needed costs nothing."""
        api = self.api
        if not isinstance(api, FileApi):
            return None
        body, kind = form({"purpose": "batch"}, "file", f"{submission.intent}.jsonl", file)
        return api.file_id(await self.leaf.upload(api.files, body, kind))

    async def create(self, submission: Submission, file: Path) -> BatchStatus:
        """Create the batch, once. Raises a ProviderError, after which there may be one: see `is_certain`."""
        if isinstance(self.api, FileApi):
            body = self.api.creation(submission.intent, submission.file or "")
            return self.api.status(await self.leaf.upload(self.api.path, body))
        answer = await self.leaf.upload(self.api.path, Body(file), headers=submission.headers)
        return self.api.status(answer)

    async def cancel(self, batches: Iterable[str]) -> int:
        """Ask for the end of batches; how many had not ended. Raises a ProviderError, when all others are done."""
        left, told = list(batches), 0
        for tries in count(1):
            failed = None
            for batch in list(left):
                try:
                    if (await self.leaf.read(f"{self.api.path}/{batch}", self.api.status)).phase != "ended":
                        await self.leaf.request("POST", f"{self.api.path}/{batch}/cancel", b"")
                        told += 1
                except ProviderError as error:
                    failed = error  # perhaps as it has ended just now
                else:
                    left.remove(batch)
            if failed is None:
                break
            if tries == _TRIES or stops_all(failed, 1):
                raise failed
            self.pauses.least = failed.retry_after or 0.0
            await self.pauses.wait()
        return told

    async def find(self, submission: Submission, known: Collection[str]) -> list[BatchStatus]:
        """The batches that may be this one, or surely are, where the vendor keeps our word for it. known: others."""
        for look in range(_LOOKS):
            if look:
                await self.pauses.wait()
            listed = await self._listed(submission.at - _SKEW)
            found = [each for each in listed if each.id not in known and self._may_be(submission, each)]
            if found:
                break
        return found[::-1]  # the oldest first

    def _may_be(self, submission: Submission, status: BatchStatus) -> bool:
        if self.api.keeps_intent:
            return status.intent == submission.intent
        latest = submission.at + _CREATING + _SKEW
        return status.jobs in (None, submission.jobs) and status.created.timestamp() <= latest

    async def is_of(self, submission: Submission, status: BatchStatus) -> bool:
        """Whether a batch that has ended is this one: its results say so, and nothing else does."""

        async def look() -> bool:
            seen = 0
            for path in status.results:
                async with aclosing(self.leaf.lines(path)) as lines:
                    async for line in lines:
                        # One may be damaged, or another's.
                        with suppress(MalformedResponseError):
                            if self.api.result(line).custom_id.startswith(f"{submission.intent}-"):
                                return True
                        seen += 1
                        if seen == _LINES:
                            return False
            return False

        return await self.patiently(look)

    async def _listed(self, since: float) -> list[BatchStatus]:
        """All batches that were created since then, or a little before."""
        found: list[BatchStatus] = []
        path: str | None = self.api.list_path()
        while path is not None:
            here = path
            page = await self.patiently(lambda here=here: self.leaf.read(here, self.api.page))  # type: ignore[misc]
            new = [each for each in page.batches if each.created.timestamp() >= since]
            found += new
            path = page.after if len(new) == len(page.batches) else None
        return found
