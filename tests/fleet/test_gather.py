"""Many prompts: what comes out, what is in the journal, and what is left running."""

from __future__ import annotations

import gc
import logging
import math
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from gathering import PRICE, Answering, Death, read
from patience import until
from penstock import (
    AnthropicProvider,
    AuthenticationError,
    BudgetExceededError,
    CircuitOpenError,
    ConfigError,
    InvalidRequestError,
    LedgerError,
    Message,
    NetworkError,
    NotFoundError,
    Options,
    PermissionDeniedError,
    ProviderConfig,
    QuotaExceededError,
    ServerError,
    StoreError,
    StreamInterruptedError,
    TokenLimitError,
    UsageChunk,
)
from penstock.fleet import Job, JobResult, Progress, gather
from penstock.fleet.tally import Tally
from penstock.testing import Emulator, ServerReply, anthropic_message
from playing import Clock

pytestmark = pytest.mark.anyio
TEN = [f"prompt {number}" for number in range(10)]


def texts(results: list[JobResult]) -> list[str]:
    """What was answered, in the order of the jobs."""
    return [result.reply.text for result in sorted(results, key=lambda each: int(each.id)) if result.reply is not None]


async def one_by_one(prompts: list[str]) -> AsyncGenerator[str, None]:
    """As an async iterable."""
    for prompt in prompts:
        await anyio.lowlevel.checkpoint()
        yield prompt


class Counting(AsyncIterator[str]):
    """An async iterator that is no generator."""

    def __init__(self) -> None:
        self._left = list(reversed(TEN))

    async def __anext__(self) -> str:
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop()


@pytest.mark.parametrize(
    "jobs",
    [
        pytest.param(lambda: TEN, id="a list of prompts"),
        pytest.param(lambda: [Job(prompt=each) for each in TEN], id="a list of jobs"),
        pytest.param(lambda: [Job(prompt=[Message("user", each)]) for each in TEN], id="histories"),
        pytest.param(lambda: iter(TEN), id="an iterator"),
        pytest.param(lambda: dict.fromkeys(TEN), id="a dict"),
        pytest.param(lambda: one_by_one(TEN), id="an async generator"),
        pytest.param(Counting, id="an async iterator"),
    ],
)
@pytest.mark.parametrize("journal", [None, "jobs.db"])
async def test_jobs_of_any_iterable_are_answered_each_once(
    tmp_path: Path, jobs: Callable[[], Any], journal: str | None
) -> None:
    """And never more of them at once than may be."""
    provider = Answering()
    results, error = await read(provider, jobs(), concurrency=3, journal=journal)
    assert (texts(results), error) == (TEN, None)
    assert sorted(provider.asked) == TEN
    assert provider.most <= 3
    assert all(result.ok and result.cost == PRICE and not result.resumed for result in results)
    assert not provider.running


@pytest.mark.parametrize("prompts", [[], ["one"], TEN])
async def test_no_jobs_give_no_results_and_few_are_no_trouble(prompts: list[str]) -> None:
    """With more places than jobs."""
    results, error = await read(Answering(), prompts, concurrency=1000)
    assert (texts(results), error) == (prompts, None)


async def test_jobs_are_read_no_further_ahead_than_twice_what_may_run() -> None:
    """Of a million prompts as few are in memory as of ten, however slow the reader is."""
    read_until = 0

    def endless() -> Iterator[str]:
        nonlocal read_until
        while True:
            read_until += 1
            yield f"prompt {read_until}"

    async with aclosing(gather(Answering(), endless(), concurrency=4)) as results:
        for taken in range(5):
            await anext(results)
            await anyio.wait_all_tasks_blocked()
            assert read_until - taken <= 2 * 4 + 1


FAILURES = [ServerError("busy"), TokenLimitError("too long"), InvalidRequestError("no"), NetworkError("gone")]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("journal", [None, "jobs.db"])
async def test_a_job_that_fails_is_a_value_and_the_others_go_on(
    tmp_path: Path, failure: Exception, journal: str | None
) -> None:
    """What it cost is in the bill."""
    told: list[Progress] = []
    provider = Answering({"prompt 3": failure})
    results, error = await read(provider, TEN, journal=journal, progress=told.append)
    (failed,) = (result for result in results if not result.ok)
    assert error is None
    assert type(failed.error) is type(failure)
    assert (failed.id, failed.reply, failed.cost) == ("3", None, PRICE)
    assert texts(results) == [each for each in TEN if each != "prompt 3"]
    assert (told[-1].done, told[-1].failed, told[-1].running, told[-1].left) == (9, 1, 0, 0)
    assert told[-1].cost == 10 * PRICE


def _with(error: Any, **more: Any) -> Any:
    for name, value in more.items():
        setattr(error, name, value)
    return error


@pytest.mark.parametrize(
    ("failure", "stops"),
    [
        pytest.param(AuthenticationError("no"), True, id="a wrong key stops all"),
        pytest.param(
            _with(AuthenticationError("no"), retryable=True), False, id="a key that was renewed stops nothing"
        ),
        pytest.param(PermissionDeniedError("no"), True, id="a key that may not stops all"),
        pytest.param(QuotaExceededError("no"), True, id="an empty account stops all"),
        pytest.param(BudgetExceededError("no"), True, id="a budget that is used up stops all"),
        pytest.param(
            _with(BudgetExceededError("no"), needed=Decimal(2), limit=Decimal(1)),
            False,
            id="a job that is dearer than all of a budget stops nothing",
        ),
        pytest.param(
            _with(BudgetExceededError("no"), needed=Decimal(1), limit=Decimal(2)),
            True,
            id="a job that the rest of a budget does not pay stops all",
        ),
        pytest.param(LedgerError("no"), True, id="a ledger that cannot be written stops all"),
        pytest.param(_with(LedgerError("no"), retryable=True), True, id="also one that may be back later"),
        pytest.param(StoreError("no"), True, id="a store of limits that is away stops all"),
        pytest.param(CircuitOpenError("no"), True, id="a breaker that stays open stops all"),
        pytest.param(ConfigError("no"), True, id="a provider that is made wrongly stops all"),
        pytest.param(RuntimeError("no"), True, id="an error that is none of ours stops all"),
        pytest.param(NotFoundError("no"), False, id="a thing that is missing after the first answer stops nothing"),
    ],
)
async def test_what_would_come_for_every_job_ends_the_run(tmp_path: Path, failure: Exception, stops: bool) -> None:
    """What has begun is done and yielded first, and the next run does the rest."""
    told: list[Progress] = []
    provider = Answering({"prompt 3": failure})
    results, error = await read(provider, TEN, concurrency=2, journal="jobs.db", progress=told.append)
    if not stops:
        assert (len(results), error) == (10, None)
        return
    assert type(error) is type(failure)
    assert getattr(error, "progress", told[-1]) == told[-1]
    assert set(provider.asked) - {result.job.prompt for result in results} == {"prompt 3"}
    assert len(provider.asked) < len(TEN)
    assert told[-1].failed == 0
    again = Answering()
    results, error = await read(again, TEN, journal="jobs.db")
    assert (texts(results), error) == (TEN, None)
    assert sorted(again.asked) == [each for each in TEN if each == "prompt 3" or each not in provider.asked]


async def test_a_model_that_is_not_there_ends_the_run_at_the_first_answer() -> None:
    """A hundred thousand refusals help nobody."""
    provider = Answering(dict.fromkeys(TEN, NotFoundError("no such model")))
    results, error = await read(provider, TEN, concurrency=2)
    assert (results, type(error)) == ([], NotFoundError)
    assert len(provider.asked) <= 2


async def test_what_the_jobs_raise_comes_after_what_has_begun() -> None:
    """And what they come from is closed."""
    closed = False

    def broken() -> Iterator[str]:
        nonlocal closed
        try:
            yield from TEN[:5]
            raise LookupError("no more rows")
        finally:
            closed = True

    results, error = await read(Answering(), broken(), concurrency=3)
    assert (texts(results), type(error), closed) == (TEN[:5], LookupError, True)


async def test_an_error_ends_a_run_whose_jobs_are_awaited() -> None:
    """A queue that gives nothing for hours does not hold it up."""
    left: list[str] = []

    async def waiting() -> AsyncGenerator[str, None]:
        try:
            yield "prompt 3"
            await anyio.sleep(math.inf)
        finally:
            left.append("closed")

    _, error = await read(Answering({"prompt 3": QuotaExceededError("no")}), waiting())
    assert (type(error), left) == (QuotaExceededError, ["closed"])


WRONG: list[Any] = [
    pytest.param({"jobs": "a prompt"}, "`jobs` is a str", id="one prompt"),
    pytest.param({"jobs": 3}, "`jobs` is a int", id="a number of jobs"),
    pytest.param({"jobs": Job(prompt="x")}, "`jobs` is a Job", id="one job"),
    pytest.param({"jobs": [3, "a"]}, "job 0 is of type int", id="a number among the jobs"),
    pytest.param({"jobs": [Job(prompt="a", id="")]}, "job 0 has the id ''", id="an empty id"),
    pytest.param(
        {"jobs": [Job(prompt="a", id="\ud800")]}, "job 0 has the id '\\ud800'", id="an id that is half a character"
    ),
    pytest.param({"concurrency": 0}, "`concurrency` is 0", id="none at once"),
    pytest.param({"provider": "sk-secret"}, "`provider` is of type str", id="a key in place of the provider"),
    pytest.param({"journal": ""}, "`journal` is ''", id="a journal without a name"),
    pytest.param({"progress": 3}, "`progress` is no plain function", id="progress that is no function"),
    pytest.param({"options": {"max_tokens": 3}}, "`options` is of type dict", id="options that are none"),
]


@pytest.mark.parametrize(("change", "said"), WRONG)
async def test_what_is_wrong_is_said_before_anything_is_sent(change: dict[str, Any], said: str) -> None:
    """In a line, without a key."""
    asked: dict[str, Any] = {"provider": AnthropicProvider(ProviderConfig(model_id="m", api_key="k"))}
    asked |= {"jobs": TEN[:0]} | change
    with pytest.raises((ConfigError, InvalidRequestError)) as caught:
        await anext(gather(asked.pop("provider"), asked.pop("jobs"), **asked))
    assert said in caught.value.message
    assert "\n" not in caught.value.message
    assert "secret" not in str(caught.value)


async def test_a_job_that_cannot_be_encoded_is_a_value_and_the_others_go_on() -> None:
    """On a wire, where its content is looked at; with and without a journal."""
    wrong: Any = [Message("user", [3])]  # type: ignore[list-item]
    jobs = ["a", Job(prompt=wrong), Job(prompt=b"bytes"), Job(prompt="b", options=Options(top_k=-1)), "c"]  # type: ignore[arg-type]
    async with Emulator(then=ServerReply(anthropic_message({"type": "text", "text": "Hi"}))) as emulator:
        provider = AnthropicProvider(ProviderConfig(model_id="m", api_key="k", base_url=emulator.url))
        async with provider:
            for journal in (None, "jobs.db"):
                results, error = await read(provider, jobs, journal=journal)
                assert error is None
                failed = {result.id: result.error for result in results if not result.ok}
                assert sorted(failed) == ["1", "2", "3"]
                assert all(isinstance(each, ConfigError | InvalidRequestError) for each in failed.values())
        assert len(emulator.exchanges) == 2 * 2


async def test_a_second_run_asks_nothing_for_what_is_done_and_again_for_what_failed(tmp_path: Path) -> None:
    """The bill is that of both runs."""
    told: list[Progress] = []
    provider = Answering({"prompt 3": ServerError("busy")})
    await read(provider, TEN, journal="jobs.db")
    again = Answering()
    results, _ = await read(again, reversed(TEN), journal="jobs.db", progress=told.append)
    assert again.asked == ["prompt 3"]
    assert [each.resumed for each in results].count(True) == 9
    assert {each.job.prompt: each.cost for each in results} == dict.fromkeys(TEN, PRICE) | {"prompt 3": 2 * PRICE}
    assert (told[-1].done, told[-1].resumed, told[-1].cost) == (10, 9, 11 * PRICE)
    assert told[0].cost == 10 * PRICE


async def test_equal_jobs_are_each_their_own(tmp_path: Path) -> None:
    """Two of three were answered, and the third is asked."""
    await read(Answering(), ["same", "same"], journal="jobs.db")
    provider = Answering()
    results, _ = await read(provider, ["same", "same", "same"], journal="jobs.db")
    assert (len(results), provider.asked) == (3, ["same"])


CHANGES = [
    pytest.param({"prompt": "another"}, id="another prompt"),
    pytest.param({"id": "b"}, id="another id"),
    pytest.param({"id": None}, id="no id"),
    pytest.param({"system_prompt": "Be brief."}, id="another system prompt"),
    pytest.param({"options": Options(max_tokens=9)}, id="another option"),
]


@pytest.mark.parametrize("change", CHANGES)
async def test_a_job_that_was_changed_is_another_and_that_is_said(
    tmp_path: Path, change: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody may pay anew without knowing."""
    told: list[Progress] = []
    first: dict[str, Any] = {"prompt": "one", "id": "a"}
    await read(Answering(), [Job(**first)], journal="jobs.db")
    provider = Answering()
    with caplog.at_level(logging.WARNING, "penstock"):
        await read(provider, [Job(**(first | change))], journal="jobs.db", progress=told.append)
    assert len(provider.asked) == told[-1].unmatched == 1
    assert "jobs.db has 1 jobs that this run did not have" in caplog.text


async def test_an_option_that_is_not_sent_makes_no_other_job(tmp_path: Path) -> None:
    """Who is booked, and what is done with the answer's head."""
    await read(Answering(), TEN, journal="jobs.db")
    provider = Answering()
    await read(provider, TEN, journal="jobs.db", options=Options(tags={"user": "ann"}, on_head=print))
    assert provider.asked == []


@pytest.mark.parametrize("journal", [None, "jobs.db"])
async def test_two_jobs_with_one_id_are_refused_before_the_second_is_sent(tmp_path: Path, journal: str | None) -> None:
    """Neither gets the other's answer."""
    jobs = [Job(prompt="one", id="a"), Job(prompt="two", id="b"), Job(prompt="three", id="a"), "four"]
    provider = Answering()
    results, error = await read(provider, jobs, concurrency=1, journal=journal)
    assert str(error) == "jobs 0 and 2 have the same id 'a', and are not the same"
    assert provider.asked == ["one", "two"]
    assert [result.id for result in results] == ["a", "b"]


async def by_break(results: AsyncGenerator[JobResult, None]) -> None:
    async with aclosing(results):
        async for _ in results:
            break


async def by_another_task(results: AsyncGenerator[JobResult, None]) -> None:
    async def wait() -> None:
        with pytest.raises(StreamInterruptedError):
            await anext(results)

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        await results.aclose()


async def by_cancelling(results: AsyncGenerator[JobResult, None]) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(anext, results)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()


async def by_dropping(results: AsyncGenerator[JobResult, None]) -> None:
    del results


WAYS = [by_break, by_another_task, by_cancelling, by_dropping]


@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")  # trio warns of what is dropped
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__.replace("_", " "))
async def test_whoever_leaves_stops_all_that_was_begun(tmp_path: Path, way: Callable[..., Any]) -> None:
    """What had cost something by then is in the journal's bill, as not settled."""
    provider = Answering(hanging=TEN[2:])
    results = gather(provider, TEN, concurrency=4, journal="jobs.db")
    await anext(results)
    if way is not by_break:
        await anext(results)
    await until(lambda: provider.silent == set(TEN[2:6]))
    await way(results)
    del results
    gc.collect()
    await until(lambda: not provider.running and not Path("jobs.db-wal").exists())
    again = Answering()
    told: list[Progress] = []
    answered, _ = await read(again, TEN, journal="jobs.db", progress=told.append)
    assert texts(answered) == TEN
    assert sorted(again.asked) == TEN[2:]
    assert (told[-1].usage.unsettled, told[-1].usage.known_cost) == (4, 10 * PRICE)


async def test_a_run_that_dies_anywhere_does_nothing_again_that_was_done(tmp_path: Path) -> None:
    """Three hundred prompts, killed over and over at another point: what was yielded is never asked again, what was
    open is, and of what is not known to be done there is never more than could run.
    """
    prompts = [f"prompt {number}" for number in range(300)]
    journal = Path("jobs.db")
    done = set[str]()
    for number in range(24):
        death = Death(journal, ("begin", "text", "stop", "yield")[number % 4], 5 + number)
        provider = Answering(at=death)
        shown = set[str]()
        async with aclosing(gather(provider, prompts, concurrency=8, journal=journal)) as results:
            async for result in results:
                if death.left is not None:
                    break
                shown.add(str(result.job.prompt))
                death("yield", "")
        assert done.isdisjoint(provider.asked)
        death.leave()
        done = in_journal(journal)
        assert shown <= done
        assert len(death.begun - done) <= 8
    provider = Answering()
    told: list[Progress] = []
    results_, error = await read(provider, prompts, journal=journal, progress=told.append)
    assert (texts(results_), error) == (prompts, None)
    assert set(provider.asked) == set(prompts) - done
    assert told[-1].cost == 300 * PRICE


def in_journal(path: Path) -> set[str]:
    """The prompts whose answers it holds."""
    with sqlite3.connect(path) as db:
        rows = db.execute("SELECT reply ->> '$.reply.text' FROM finished WHERE reply IS NOT NULL").fetchall()
    db.close()
    return {text for (text,) in rows}


def test_progress_is_told_ten_times_a_second_at_most_and_at_the_end() -> None:
    """With the rate of late, and what is left of the time."""
    told: list[Progress] = []
    clock = Clock()
    tally = Tally(1000, told.append, clock)
    for number in range(400):
        clock.now += 0.01
        tally.count(JobResult(job=Job(prompt=""), id=str(number), reply=None, error=None, usage=UsageChunk()))
        tally.tell()
    assert 30 < len(told) <= 40
    assert told[-1].rate == pytest.approx(100, rel=0.1)
    assert told[-1].seconds_left == pytest.approx(6, rel=0.1)
    tally.tell(tally.now(unmatched=3))
    assert (told[-1].failed, told[-1].left, told[-1].unmatched) == (400, 600, 3)


async def test_progress_that_fails_is_logged_once_and_breaks_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever looks on must not lose what is paid."""

    def broken(now: Progress) -> None:
        raise LookupError("no screen")

    results, error = await read(Answering(), TEN, progress=broken)
    assert (texts(results), error) == (TEN, None)
    assert caplog.text.count("`progress` failed, and is not called again") == 1
