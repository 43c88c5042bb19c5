"""Asks a vendor for its list of models: page after page, within bounds."""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeAlias, TypeVar

import anyio

from penstock.core.dialect import Dialect
from penstock.core.errors import AuthenticationError, MalformedResponseError, ProviderError, TotalTimeoutError
from penstock.core.models import Model
from penstock.wire.listing import MOST, Page, merged, read_list

__all__ = ["MISSING", "Get", "fetch_list", "in_time"]

MISSING: Final = (404, 405, 501)
"""How a server answers that has no such endpoint."""

T = TypeVar("T")
Get: TypeAlias = Callable[[str, Callable[[bytes], Page]], Awaitable[Page]]
"""What is made of the answer to a GET of a path. Raises a ProviderError."""


async def fetch_list(get: Get, row: Dialect) -> list[Model]:
    """The models that the server of *row* lists, and which of them it has loaded, if it says so.

    Raises a ProviderError.
    """
    read = partial(read_list, unit=row.list_price_unit, today=dt.datetime.now(dt.UTC).date())
    *others, last = row.list_paths
    for path in others:
        try:
            return await _with_loaded(get, row, read, await _pages(get, path, read))
        except ProviderError as error:
            if error.status not in MISSING:
                raise
    return await _with_loaded(get, row, read, await _pages(get, last, read))


async def in_time(call: Callable[[], Awaitable[T]], seconds: float, vendor: str) -> T:
    """What *call* returns, at a second try if its key had expired and there is another now.

    Raises TotalTimeoutError after so many seconds, whatever deadlines each request has.
    """
    with anyio.move_on_after(seconds):
        try:
            return await call()
        except AuthenticationError as refused:
            if not refused.retryable:
                raise
        return await call()
    error = TotalTimeoutError(f"no complete answer within {seconds:g} s", vendor=vendor)
    error.seconds, error.hint = seconds, "Try again; if it stays so, check baseUrl and network."
    raise error


async def _pages(get: Get, path: str, read: Callable[[bytes], Page]) -> list[Model]:
    from urllib.parse import quote  # here and not above: `import penstock` needs none of it

    found: dict[str, Model] = {}
    after: str | None = None
    while True:
        more = "" if after is None else f"{'&' if '?' in path else '?'}after_id={quote(after, safe='')}"
        page = await get(path + more, read)
        before = len(found)
        found.update((model.id, model) for model in page.models)
        if len(found) > MOST:
            raise MalformedResponseError(f"the list of models has more than {MOST}")
        if page.after is None:
            return list(found.values())
        if len(found) == before:
            raise MalformedResponseError("the list of models never ends: a page has only models of earlier ones")
        after = page.after


async def _with_loaded(get: Get, row: Dialect, read: Callable[[bytes], Page], models: list[Model]) -> list[Model]:
    if row.loaded_path is None:
        return models
    try:
        loaded = await get(row.loaded_path, read)
    except ProviderError:
        return models  # an older server, or one that tells nobody: then it is not known
    return merged(models, loaded.models)
