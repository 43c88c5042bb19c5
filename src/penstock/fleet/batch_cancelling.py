"""The end of batches before their time, by the journal that knows them."""

from __future__ import annotations

import logging
import os
import time

import anyio

from penstock.core.errors import ConfigError
from penstock.core.provider import BaseProvider, check_provider
from penstock.fleet.batch_store import BatchStore
from penstock.fleet.batch_vendor import Vendor, find_leaf
from penstock.fleet.batching import journal_of

__all__ = ["cancel_batches"]


async def cancel_batches(provider: BaseProvider, journal: str | os.PathLike[str]) -> int:
    """Cancel the batches of a journal that have not ended; how many there were, with those not sent yet.

    What is answered already is billed, and yielded by the next `batch` with this journal, which sends nothing: the
    other jobs are errors that say they were cancelled. Only the run after that sends them again, with a warning.
    Raises ConfigError where there is no such journal, and a ProviderError, for one that cannot be cancelled once all
    others are.
    """
    leaf, api = find_leaf(check_provider("provider", provider))
    vendor = Vendor(leaf, api, anyio.sleep, time.time)
    file = journal_of(journal, leaf)
    if file.path is None or not await anyio.Path(file.path).exists():
        raise ConfigError(f"there is no journal {os.fspath(journal)}, so nothing was cancelled")
    async with file as opened:
        store = BatchStore(opened)
        await store.open()
        submissions = await store.submissions()
        before = await store.cancel_stage()
        await store.set_cancel_stage("asked")  # first of all: nobody knows how far whoever dies now has come
        known = {each.batch for each in submissions if each.batch is not None}
        count = sum(each.state in ("draft", "intent", "uploaded") for each in submissions)
        count += await vendor.cancel(each.batch for each in submissions if each.batch and each.state == "submitted")
        for each in submissions:
            if each.state == "creating":
                found = [status.id for status in await vendor.find(each, known) if status.intent == each.intent]
                count += await vendor.cancel(found)
                if not found:
                    logging.getLogger("penstock").warning(
                        "whether a batch of %d jobs runs at %s cannot be told", each.jobs, leaf.vendor
                    )
        if not count:
            await store.set_cancel_stage(before)
    return count
