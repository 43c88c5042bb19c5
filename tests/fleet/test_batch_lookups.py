"""Batches that cannot be found or read, where something else goes wrong too: nothing twice, nothing that never ends."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any, Final

import pytest

from batching import LIMIT, Clock, Death, Deaths, interrupted, made, prompts, ran
from penstock import (
    AuthenticationError,
    BatchUnsureError,
    Dialect,
    InvalidRequestError,
    ProviderError,
    ServerError,
)
from penstock.core.dialect import Batches
from penstock.fleet import JobResult, batch, batching, cancel_batches
from penstock.testing import BATCH_FAILURES, BatchFailure, BatchServer, Emulator, Request, ServerReply, openai_error

pytestmark = pytest.mark.anyio
FORMS: Final = ("messages", "chat")
EACH: Final = [("messages", "trio"), ("chat", "asyncio")]
NEVER: Final = BATCH_FAILURES["the list has not heard of the newest"]


class Both:
    """Plays one failure until a request for the list comes, or results are read, and then the other."""

    def __init__(self, server: BatchServer, then: BatchFailure) -> None:
        self.server = server
        self.then = then

    def __call__(self, request: Request) -> ServerReply:
        """Answer one request."""
        if request.method == "GET" and self.server.failure is not self.then:
            self.server.failure = self.then
        return self.server(request)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("status", "error"), [(500, ServerError), (401, AuthenticationError)])
async def test_a_list_that_is_refused_ends_the_run(
    form: str, status: int, error: type[ProviderError], tmp_path: Path
) -> None:
    """After an hour at the latest; the next one finds the batch."""
    clock = Clock()
    server = BatchServer(failure="made, and a 500 comes", clock=clock)
    script = Both(server, BatchFailure(on="list", status=status))
    async with Emulator(script) as emulator, made(form, emulator.url) as provider:
        for count in (4, 5):
            with pytest.raises(error):
                await ran(provider, prompts(count), tmp_path / "j.db", clock)
            assert len(server.batches) == 1  # no other is sent
        script.then = BatchFailure()
        results = await ran(provider, prompts(), tmp_path / "j.db", clock)
    assert [result.ok for result in results] == [True] * 4
    assert set(server.contents.values()) == {1}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("status", [408, 409, 499, 500, 504])
async def test_a_gateway_that_gave_up_may_have_made_it(form: str, status: int, tmp_path: Path) -> None:
    """Where the list never says so, that is unsure."""
    clock = Clock()
    server = BatchServer(failure=BatchFailure(on="create", status=status, times=1), clock=clock)
    async with Emulator(Both(server, NEVER)) as emulator, made(form, emulator.url) as provider:
        results = await ran(provider, prompts(), tmp_path / "j.db", clock)
    assert {type(result.error) for result in results} == {BatchUnsureError}
    assert set(server.contents.values()) == {1}


@pytest.mark.parametrize("name", ["a line is damaged", "a line is nobody's"])
async def test_whose_results_they_are_is_told_by_more_than_the_first_line(name: str, tmp_path: Path) -> None:
    """At Anthropic, where nothing else tells it."""
    clock = Clock()
    server = BatchServer(failure="made, and the answer is cut", clock=clock)
    async with Emulator(Both(server, BATCH_FAILURES[name])) as emulator, made("messages", emulator.url) as provider:
        results = await ran(provider, prompts(), tmp_path / "j.db", clock)
    assert sum(result.ok for result in results) == 4 - (name == "a line is damaged")
    assert set(server.contents.values()) == {1}


class First:
    """Refuses requests that fit, as `GET .*batch_1$`, with a status. times: how often."""

    def __init__(self, server: BatchServer, request: str, status: int, times: int = 1_000) -> None:
        self.server = server
        self.request = re.compile(request)
        self.status = status
        self.times = times

    def __call__(self, request: Request) -> ServerReply:
        """Answer one request."""
        if self.times and self.request.search(f"{request.method} {request.path}"):
            self.times -= 1
            return openai_error(self.status, "played")
        return self.server(request)


def row() -> Dialect:
    """Of a vendor that takes two jobs in a batch."""
    return Dialect(batches=Batches(most_jobs=2, wires=FORMS))


async def read(
    first: First, form: str, journal: Path, clock: Clock, **more: Any
) -> tuple[list[JobResult], Exception | None]:
    """What becomes of six jobs in three batches, and the error that ends the run."""
    settings: dict[str, Any] = {"options": LIMIT, "sleep": clock.sleep, "clock": clock, **more}
    results: list[JobResult] = []
    async with Emulator(first) as emulator, made(form, emulator.url, row=row()) as provider:
        try:
            async for result in batch(provider, prompts(6), journal=journal, **settings):
                results.append(result)  # noqa: PERF401 - what came before an error counts
        except ProviderError as error:
            return results, error
    return results, None


ITSELF: Final = r"GET .*batch_1$"
RESULTS: Final = r"GET .*(batch_1/results|batch_1-.*/content)"
CANCEL: Final = r"POST .*batch_1/cancel"


@pytest.mark.parametrize(("form", "anyio_backend"), EACH)
@pytest.mark.parametrize("path", [ITSELF, RESULTS])
async def test_a_batch_that_is_not_there_any_more_ends_its_jobs_alone(form: str, path: str, tmp_path: Path) -> None:
    """Nobody knows what they have cost; each run looks once more, at once, and only one that may sends them again."""
    clock = Clock()
    first = First(BatchServer(clock=clock), path, 404)
    for patience in (4_000, 0):
        began = clock.now
        results, error = await read(first, form, tmp_path / "j", clock)
        assert clock.now - began <= patience
        assert error is None
        assert Counter(type(each.error) for each in results) == {type(None): 4, BatchUnsureError: 2}
        assert all(each.ok or "is not there any more" in str(each.error) for each in results)
        assert all(each.ok or each.cost is None for each in results)
    first.status = 401
    results, error = await read(first, form, tmp_path / "j", clock, resubmit=True)
    assert isinstance(error, AuthenticationError)  # which says nothing about the batch
    assert max(first.server.contents.values()) == 1
    first.status = 404
    results, error = await read(first, form, tmp_path / "j", clock, resubmit=True)
    assert (error, [each.ok for each in results]) == (None, [True] * 6)


@pytest.mark.parametrize(("form", "anyio_backend"), EACH)
@pytest.mark.parametrize("path", [ITSELF, RESULTS])
@pytest.mark.parametrize("status", [403, 500])
async def test_a_batch_that_cannot_be_read_leaves_the_others_theirs(
    form: str, path: str, status: int, tmp_path: Path
) -> None:
    """The next run reads it."""
    clock = Clock()
    first = First(BatchServer(clock=clock), path, status)
    results, error = await read(first, form, tmp_path / "j", clock)
    assert isinstance(error, ProviderError)
    assert (error.status, [each.ok for each in results]) == (status, [True] * 4)
    first.times = 0
    results, error = await read(first, form, tmp_path / "j", clock)
    assert (error, [each.ok for each in results]) == (None, [True] * 6)
    assert set(first.server.contents.values()) == {1}


async def test_a_file_that_is_refused_ends_its_jobs(tmp_path: Path) -> None:
    """At once, and not after an hour of trying."""
    clock = Clock()
    server = BatchServer(failure=BatchFailure(on="upload", status=400, works=False), clock=clock)
    async with Emulator(server) as emulator, made("chat", emulator.url) as provider:
        before = clock.now
        results = await ran(provider, prompts(), tmp_path / "j", clock)
        assert clock.now == before
        assert {type(each.error) for each in results} == {InvalidRequestError}
        server.failure = BatchFailure()
        assert all(each.ok for each in await ran(provider, prompts(), tmp_path / "j", clock))


@pytest.mark.parametrize(("form", "anyio_backend"), EACH)
async def test_what_was_never_sent_is_sent_only_if_it_is_asked_for_again(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the process died before: somebody has seen that the prompts were wrong."""
    deaths = Deaths()
    deaths.everywhere(monkeypatch)
    for at in range(1, 50):
        clock = Clock()
        server = BatchServer(clock=clock)
        async with Emulator(server) as emulator, made(form, emulator.url) as provider:
            deaths.at, deaths.met = at, 0
            with pytest.raises(Death):
                await ran(provider, ["wrong"], tmp_path / f"{at}", clock)
            deaths.at = None
            if server.batches:
                break
            results = await ran(provider, ["right"], tmp_path / f"{at}", clock)
        assert [each.ok for each in results] == [True]
        assert sum(server.contents.values()) == 1


@pytest.mark.parametrize(
    ("request_", "status", "times"),
    [
        pytest.param(ITSELF, 529, 1, id="it cannot be looked at just then"),
        pytest.param(CANCEL, 500, 1, id="the vendor fails"),
        pytest.param(CANCEL, 400, 1, id="the vendor says that it has ended"),
        pytest.param(CANCEL, 500, 1_000, id="the vendor fails for long"),
    ],
)
@pytest.mark.parametrize(("form", "anyio_backend"), EACH)
async def test_a_batch_that_is_hard_to_cancel_does_not_keep_the_others(
    form: str, request_: str, status: int, times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked to end again, and said if it cannot be."""
    clock = Clock()
    monkeypatch.setattr(batching, "anyio", clock)
    server = BatchServer(clock=clock, step=600)
    with pytest.raises(InterruptedError):
        await read(First(server, request_, status, 0), form, tmp_path / "j", clock, sleep=interrupted)
    first = First(server, request_, status, times)
    async with Emulator(first) as emulator, made(form, emulator.url, row=row()) as provider:
        if times == 1:
            assert await cancel_batches(provider, tmp_path / "j") == 3
        else:
            with pytest.raises(ServerError):
                await cancel_batches(provider, tmp_path / "j")
    assert [each.cancelled is None for each in server.batches] == [times > 1, False, False]
