"""Batches: nothing submitted twice, nothing lost, half the price, whatever goes wrong and wherever the process dies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import anyio
import msgspec
import pytest

from batching import INFO, LIMIT, Clock, Death, Deaths, bill_of, interrupted, made, prompts, ran
from penstock import (
    AnthropicProvider,
    AuthenticationError,
    BaseProvider,
    BatchUnsureError,
    BudgetExceededError,
    ConfigError,
    Dialect,
    ImagePart,
    InvalidRequestError,
    Message,
    OpenAIProvider,
    Options,
    ProviderConfig,
    RateLimitError,
    TextPart,
    open_provider,
)
from penstock.core.dialect import Batches
from penstock.core.provider_config import Platform
from penstock.fleet import Job, Progress, batch, batch_sending, cancel_batches, tally
from penstock.meter import Budget, Ledger, Metered
from penstock.middleware import Defaults, Fallback
from penstock.testing import (
    BATCH_FAILURES,
    BatchFailure,
    BatchServer,
    Emulator,
    Request,
    ScriptedProvider,
    ServerReply,
    openai_error,
)
from penstock.testing.events import json_reply

pytestmark = pytest.mark.anyio
# On one event loop each: nothing here runs beside the generator.
by_form = pytest.mark.parametrize(
    ("form", "anyio_backend"), [("messages", "trio"), ("chat", "asyncio"), ("responses", "trio")]
)
# By failure: how many of ten jobs are answered, what the others are, and jobs whose bill is not known. Of two where the
# forms differ the first is Anthropic's.
ENDS: dict[str, tuple[int, str, int]] = dict.fromkeys(BATCH_FAILURES, (10, "", 0)) | {
    "not made, and a 500 comes": (0, "BatchUnsureError", 10),
    "not made, and the connection breaks": (0, "BatchUnsureError", 10),
    "some jobs fail": (9, "InvalidRequestError", 0),
    "all jobs fail": (0, "InvalidRequestError", 0),
    "all jobs fail, and a file's id is empty": (0, "InvalidRequestError", 0),
    "all jobs fail, and a file's id is left out": (0, "InvalidRequestError", 0),
    "expired half-way": (5, "ProviderError", 0),
    "cancelled half-way": (5, "ProviderError", 0),
    "expired before a job was done": (0, "ProviderError", 0),
    "a line is missing": (9, "BatchUnsureError", 1),
    "a line is damaged": (9, "BatchUnsureError", 1),
    "no results at all": (0, "BatchUnsureError", 10),
    "a wrong key": (0, "", 0),
}
SAID = {
    "a line comes twice": "1 lines that came before",
    "a line is nobody's": "1 lines of other jobs",
    "a line is damaged": "1 lines that cannot be read",
}


@pytest.mark.parametrize(("form", "anyio_backend"), [("messages", "trio"), ("chat", "asyncio")])
async def test_wherever_the_process_dies_nothing_is_submitted_twice_and_the_bill_is_exact(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be told is unsure, and stays reserved; all else is answered by the next run."""
    deaths = Deaths()
    deaths.everywhere(monkeypatch)
    unsure = 0
    for at in range(1, 1_000):
        clock = Clock()
        server = BatchServer(clock=clock)
        journal = tmp_path / f"{at}.db"
        died = False
        budget = Budget("1.00", per="day")
        async with (
            Emulator(server) as emulator,
            Ledger(clock=clock) as ledger,
            Metered(made(form, emulator.url), ledger, budgets=[budget]) as provider,
        ):
            deaths.at, deaths.met = at, 0
            try:
                await ran(provider, prompts(), journal, clock)
            except Death:
                died = True
            deaths.at = None
            results = await ran(provider, prompts(), journal, clock)
            spent = (await ledger.totals())[0]
            status = await ledger.status(budget)
        assert max(server.contents.values(), default=0) <= 1, at
        assert {result.id for result in results} == {"0", "1", "2", "3"}, at
        lost = [result for result in results if isinstance(result.error, BatchUnsureError)]
        assert sum(result.ok for result in results) + len(lost) == 4, (at, results)
        known = sum((result.usage.known_cost for result in results), Decimal(0))
        assert known == spent.usage.known_cost == (Decimal(0) if lost else bill_of(server)), at
        assert (spent.usage.unsettled, status.held == 0) == (len(lost), not lost), at
        unsure += bool(lost)
        if not died:
            break
    assert unsure == 1  # after the word that it is being created, and before the request


@pytest.mark.parametrize("failure", BATCH_FAILURES)
@pytest.mark.parametrize(("form", "anyio_backend"), [("messages", "asyncio"), ("chat", "trio")])
async def test_whatever_goes_wrong_each_job_has_one_end(
    form: str, failure: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is submitted twice, the bill is that of the vendor, and what is odd is said once."""
    monkeypatch.setattr(batch_sending, "_NO_ROOM", 3_600.0)
    clock = Clock()
    server = BatchServer(failure=failure, clock=clock)
    short = {"made, and no answer comes": "first_chunk", "results stall": "stall"}.get(failure)
    async with Emulator(server) as emulator, made(form, emulator.url, short=short) as provider:
        if failure == "a wrong key":
            with pytest.raises(AuthenticationError, match="emulator"):
                await ran(provider, prompts(10), tmp_path / "j", clock)
            return
        results = await ran(provider, prompts(10), tmp_path / "j", clock)
    ok, error, unsettled = ENDS[failure]
    if (failure, form) == ("too many jobs wait", "messages"):
        ok, error = 0, "RateLimitError"  # no file is small enough, for an hour
    assert max(server.contents.values(), default=0) <= 1
    assert sorted(int(result.id) for result in results) == list(range(10))
    assert Counter(type(each.error).__name__ for each in results if each.error) == ({error: 10 - ok} if error else {})
    assert sum(result.usage.unsettled for result in results) == unsettled
    if not unsettled:
        assert sum((result.usage.known_cost for result in results), Decimal(0)) == bill_of(server)
    said = [record.getMessage() for record in caplog.records if record.name == "penstock"]
    assert len(said) == (failure in SAID)
    assert SAID.get(failure, "") in "".join(said)


@by_form
async def test_answers_cost_what_batches_cost_and_are_kept(form: str, tmp_path: Path) -> None:
    """The next run gives them again, asks for nothing, and books nothing; the order of the jobs is no matter."""
    clock, seen = Clock(), list[Progress]()
    server = BatchServer(clock=clock)
    async with Emulator(server) as emulator, made(form, emulator.url) as provider:
        first = await ran(provider, prompts(5), tmp_path / "j", clock)
        asked = len(emulator.exchanges)
        again = await ran(provider, prompts(5)[::-1], tmp_path / "j", clock, progress=seen.append)
        assert len(emulator.exchanges) == asked
    assert {each.usage.cost for each in first} == {bill_of(server) / 5}
    texts = {each.job.prompt: each.reply and each.reply.text for each in first}
    assert {each.job.prompt: each.reply and each.reply.text for each in again} == texts
    assert len(texts) == 5
    assert all(each.resumed and each.cost == first[0].cost for each in again)
    assert (seen[-1].resumed, seen[-1].cost) == (5, bill_of(server))


@by_form
async def test_a_price_that_is_not_known_is_never_the_full_one(form: str, tmp_path: Path) -> None:
    """Nor nothing."""
    clock = Clock()
    info = msgspec.structs.replace(INFO, variants={})
    async with Emulator(BatchServer(clock=clock)) as emulator, made(form, emulator.url, info) as provider:
        [result] = await ran(provider, prompts(1), tmp_path / "j", clock)
    assert result.ok
    assert result.cost is None
    assert result.usage.known_cost == 0
    assert result.usage.output_tokens > 0


async def test_files_have_the_size_that_is_allowed(tmp_path: Path) -> None:
    """By jobs and by bytes; a job that is too large for any is a result of its own."""
    clock = Clock()
    server = BatchServer(clock=clock)
    rules = Batches(most_jobs=3, most_bytes=2_000)
    jobs = [*prompts(7), "long " * 100, "longer " * 100, "too long " * 1_000]
    async with Emulator(server) as emulator:
        config = ProviderConfig(model_id="m", model_info=INFO, api_key="k" * 12, base_url=emulator.url)
        async with OpenAIProvider(config, Dialect(batches=rules)) as provider:
            results = await ran(provider, jobs, tmp_path / "j", clock)
    assert [len(each.jobs) for each in server.batches] == [3, 3, 2, 1]
    assert all(len(form) < 2_000 + 1_000 for form in (each.body for each in emulator.requests if "/files" in each.path))
    assert {each.id: type(each.error) for each in results if each.error} == {"9": InvalidRequestError}


async def test_calls_of_other_versions_of_the_api_are_in_other_batches(tmp_path: Path) -> None:
    """All calls of one have the headers of the request that creates it."""
    clock = Clock()
    server = BatchServer(clock=clock)
    warm = Options(max_tokens=50, temperature=0.5)
    jobs = [Job(prompt="a"), Job(prompt="b", options=warm), Job(prompt="c"), Job(prompt="d", options=warm)]
    async with Emulator(server) as emulator, made("messages", emulator.url) as provider:
        results = await ran(provider, jobs, tmp_path / "j", clock)
        made_with = [each for each in emulator.requests if each.method == "POST"]
    assert all(each.ok for each in results)
    assert [len(each.jobs) for each in server.batches] == [2, 2]
    assert [each.headers["anthropic-version"] for each in made_with] == ["2026-10-21", "2023-06-01"]
    assert [each.job.options for each in sorted(results, key=lambda each: each.id)] == [None, warm, None, warm]


@by_form
async def test_what_is_unsure_is_sent_again_only_if_that_is_wanted(form: str, tmp_path: Path) -> None:
    """The next run looks once more, and finds it if it is there by then."""
    clock = Clock()
    server = BatchServer(clock=clock, failure="not made, and a 500 comes")
    async with Emulator(server) as emulator, made(form, emulator.url) as provider:
        for _ in range(2):
            results = await ran(provider, prompts(), tmp_path / "j", clock)
            assert {type(each.error) for each in results} == {BatchUnsureError}
            assert all(each.cost is None for each in results)
        assert not server.batches
        results = await ran(provider, prompts(), tmp_path / "j", clock, resubmit=True)
    assert all(each.ok for each in results)
    assert max(server.contents.values()) == 1


def cut_document(lines: list[bytes]) -> list[bytes]:
    """The first answer is there, and says nothing that can be read."""
    [line, *rest] = map(msgspec.json.decode, lines)
    document = line["result"]["message"] if "result" in line else line["response"]["body"]
    document.clear()
    return [msgspec.json.encode(each) for each in (line, *rest)]


def expired_half_way(number: int, jobs: int) -> str:
    """What becomes of a job."""
    return "expired" if number >= jobs // 2 else ""


HOLES = {
    "a line is missing": BATCH_FAILURES["a line is missing"].lines,
    "a line is damaged": BATCH_FAILURES["a line is damaged"].lines,
    "a document is damaged": cut_document,
}


@pytest.mark.parametrize("hole", HOLES)
@pytest.mark.parametrize(  # files of the emulator stay as they are
    ("form", "anyio_backend", "later"),
    [
        pytest.param("messages", "asyncio", True, id="messages, and it is there later"),
        pytest.param("messages", "trio", False, id="messages"),
        pytest.param("chat", "asyncio", False, id="chat"),
    ],
)
async def test_an_answer_that_cannot_be_read_is_paid_again_only_if_that_is_wanted(
    form: str, hole: str, later: bool, tmp_path: Path
) -> None:
    """Each run reads the results once more first; what is unsure stays booked at its estimate."""
    clock, seen = Clock(), list[Progress]()
    spoil = HOLES[hole]
    failure = BatchFailure(lines=lambda lines: spoil(lines) if len(lines) == 4 else lines)
    server = BatchServer(clock=clock, failure=failure)
    async with (
        Emulator(server) as emulator,
        Ledger(clock=clock) as ledger,
        Metered(made(form, emulator.url), ledger) as provider,
    ):
        for _ in range(2):
            results = await ran(provider, prompts(), tmp_path / "j", clock, progress=seen.append)
            [lost] = [each for each in results if isinstance(each.error, BatchUnsureError)]
            assert (lost.cost, seen[-1].cost) == (None, None)
            assert "resubmit=True" in str(lost.error)
        assert max(server.contents.values()) == 1
        if later:
            server.failure = BatchFailure()
        results = await ran(provider, prompts(), tmp_path / "j", clock, resubmit=True)
        [total] = await ledger.totals()
    assert all(each.ok for each in results)
    [again] = [each for each in results if each.job.prompt == lost.job.prompt]
    assert max(server.contents.values()) == (1 if later else 2)
    assert (again.cost is None, total.usage.unsettled) == ((False, 0) if later else (True, 1))
    assert total.calls == (4 if later else 5)


@pytest.mark.parametrize(("form", "files"), [("messages", 1), ("chat", 2)])
async def test_what_is_damaged_did_not_expire(form: str, files: int, tmp_path: Path) -> None:
    """Though others of the batch did. A line of each file is damaged."""
    clock = Clock()
    failure = BatchFailure(outcome=expired_half_way, ends="expired", lines=HOLES["a line is damaged"])
    async with Emulator(BatchServer(clock=clock, failure=failure)) as emulator, made(form, emulator.url) as provider:
        results = await ran(provider, prompts(), tmp_path / "j", clock)
    assert sum(isinstance(each.error, BatchUnsureError) for each in results) == files


class Vague:
    """A server that makes each batch *times* times, says 500 to that, and lists none while it hides them."""

    def __init__(self, server: BatchServer, *, times: int = 1, hides: bool = False) -> None:
        self.server = server
        self.times = times
        self.hides = hides

    def __call__(self, request: Request) -> ServerReply:
        """Answer one request."""
        path = request.path.partition("?")[0]
        if not path.endswith("/batches"):
            return self.server(request)
        if request.method == "GET":
            return json_reply({"data": [], "has_more": False}) if self.hides else self.server(request)
        for _ in range(self.times):
            self.server(request)
        return openai_error(500, "played")


@by_form
async def test_a_batch_that_is_listed_late_is_found_by_the_next_run(form: str, tmp_path: Path) -> None:
    """And nothing is sent anew, though it is allowed."""
    clock = Clock()
    vague = Vague(BatchServer(clock=clock), hides=True)
    async with Emulator(vague) as emulator, made(form, emulator.url) as provider:
        results = await ran(provider, prompts(), tmp_path / "j", clock)
        assert {type(each.error) for each in results} == {BatchUnsureError}
        vague.hides = False
        results = await ran(provider, prompts(), tmp_path / "j", clock, resubmit=True)
    # Whose they are only results say at Anthropic: until they can be read it is not sent anew.
    assert all(each.ok for each in results)
    assert len(vague.server.batches) == 1


@by_form
async def test_of_two_that_are_it_none_is_taken(form: str, tmp_path: Path) -> None:
    """Unless its caller says so: then the first is, as one is there for certain."""
    clock = Clock()
    vague = Vague(BatchServer(clock=clock), times=2)
    async with Emulator(vague) as emulator, made(form, emulator.url) as provider:
        results = await ran(provider, prompts(), tmp_path / "j", clock)
        assert {type(each.error) for each in results} == {BatchUnsureError}
        assert "_1 and " in str(results[0].error)
        results = await ran(provider, prompts(), tmp_path / "j", clock, resubmit=True)
    assert all(each.ok for each in results)
    assert len(vague.server.batches) == 2


@by_form
async def test_another_batch_of_the_same_size_and_time_is_not_taken_for_it(form: str, tmp_path: Path) -> None:
    """Two journals of one account: each has its own."""
    clock = Clock()
    server = BatchServer(clock=clock)
    async with Emulator(server) as emulator, made(form, emulator.url) as provider:
        others = [f"other {number}" for number in range(4)]
        await ran(provider, others, tmp_path / "other", clock)
        server.failure = "not made, and the connection breaks"
        results = await ran(provider, prompts(), tmp_path / "j", clock)
        assert {type(each.error) for each in results} == {BatchUnsureError}
        server.failure = BatchFailure()
        results = await ran(provider, prompts(), tmp_path / "j", clock, resubmit=True)
    assert all(each.ok for each in results)
    assert max(server.contents.values()) == 1


async def test_when_there_is_no_room_it_waits_and_sends_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is told as waiting, and is no error."""
    monkeypatch.setattr(tally, "_OFTEN", 0.0)
    clock, seen = Clock(), list[Progress]()
    server = BatchServer(failure="too many jobs wait", clock=clock)
    async with Emulator(server) as emulator, made("chat", emulator.url) as provider:
        results = await ran(provider, prompts(8), tmp_path / "j", clock, progress=seen.append)
    assert all(each.ok for each in results)
    assert max(each.waiting for each in seen) == 8
    assert seen[-1].waiting == seen[-1].running == 0
    assert max(len(each.jobs) for each in server.batches if not each.faults) == 4


async def test_no_room_for_long_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each job, which the next run sends again."""
    monkeypatch.setattr(batch_sending, "_NO_ROOM", 60.0)
    clock = Clock()
    server = BatchServer(failure=BatchFailure(queue=0), clock=clock)
    async with Emulator(server) as emulator, made("chat", emulator.url) as provider:
        results = await ran(provider, prompts(2), tmp_path / "j", clock)
        assert {type(each.error) for each in results} == {RateLimitError}
        server.failure = BatchFailure()
        assert all(each.ok for each in await ran(provider, prompts(2), tmp_path / "j", clock))


@by_form
async def test_a_reader_that_leaves_leaves_the_batches(form: str, tmp_path: Path) -> None:
    """The next run reads on where that one has left, and books each answer once."""
    clock = Clock()
    server = BatchServer(clock=clock)
    async with (
        Emulator(server) as emulator,
        Ledger(clock=clock) as ledger,
        Metered(made(form, emulator.url), ledger) as provider,
    ):
        results = batch(provider, prompts(), journal=tmp_path / "j", options=LIMIT, sleep=clock.sleep, clock=clock)
        first = await anext(results)
        await results.aclose()
        rest = await ran(provider, prompts(), tmp_path / "j", clock)
        [total] = await ledger.totals()
    assert first.ok
    assert Counter(each.resumed for each in rest) == {True: 4}  # what was written together with the first
    assert len(server.batches) == 1
    assert (total.calls, total.usage.cost) == (4, bill_of(server))


@by_form
async def test_batches_are_cancelled(form: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What was answered until then is given out by the next run, and billed; the rest is sent anew by the one after."""
    clock = Clock()
    server = BatchServer(clock=clock, step=600)
    async with Emulator(server) as emulator, made(form, emulator.url) as provider:
        with pytest.raises(InterruptedError):
            await ran(provider, prompts(6), tmp_path / "j", clock, sleep=interrupted)
        clock.now += 700
        assert await cancel_batches(provider, tmp_path / "j") == 1
        clock.now += 700
        assert await cancel_batches(provider, tmp_path / "j") == 0
        results = await ran(provider, prompts(6), tmp_path / "j", clock)
        assert Counter(str(each.error).split(" before")[0] for each in results) == {
            "None": 2, "the batch was cancelled": 4
        }  # fmt: skip
        assert all(each.error is None or each.error.retryable for each in results)
        assert sum(server.contents.values()) == 6
        assert all(each.ok for each in await ran(provider, prompts(6), tmp_path / "j", clock))
    assert "jobs that were cancelled, or failed, are sent again" in caplog.text
    assert max(server.contents.values()) == 2


async def test_the_run_after_a_cancel_sends_nothing(tmp_path: Path) -> None:
    """Neither what was never read, nor what waits for room; the one after that does."""
    clock = Clock()
    server = BatchServer(clock=clock)
    async with Emulator(server) as emulator, made("chat", emulator.url) as provider:
        with pytest.raises(InterruptedError):
            await ran(provider, prompts(3), tmp_path / "j", clock, sleep=interrupted)
        assert await cancel_batches(provider, tmp_path / "j") == 1
        for _ in range(2):  # one that is left in its middle does not count
            results = batch(provider, prompts(6), journal=tmp_path / "j", options=LIMIT)
            assert not (await anext(results)).ok
            await results.aclose()
        ends = await ran(provider, prompts(6), tmp_path / "j", clock)
        assert {str(each.error).split(" before")[0] for each in ends} == {"None", "the batch was cancelled"}
        assert not any(each.ok for each in ends if int(each.id) > 2)
        assert sum(server.contents.values()) == 3
        assert all(each.ok for each in await ran(provider, prompts(6), tmp_path / "j", clock))
    assert max(server.contents.values()) == 2


def test_a_cancel_needs_a_journal(tmp_path: Path) -> None:
    """And makes none."""
    with pytest.raises(ConfigError, match=r"there is no journal .*typo, so nothing was cancelled"):
        anyio.run(cancel_batches, made("chat", "http://127.0.0.1:9"), tmp_path / "typo")
    assert not list(tmp_path.iterdir())


@by_form
async def test_a_budget_refuses_before_anything_is_sent(form: str, tmp_path: Path) -> None:
    """Whole batches, at their own price; what was reserved for those that are not sent is given back."""
    clock = Clock()
    server = BatchServer(clock=clock)
    async with Emulator(server) as emulator, Ledger(clock=clock) as ledger:
        budget = Budget("0.006", per="day")
        async with Metered(made(form, emulator.url), ledger, budgets=[budget]) as provider:
            with pytest.raises(BudgetExceededError) as caught:
                await ran(provider, prompts(10), tmp_path / "j", clock)
            assert (await ledger.status(budget)).left == Decimal("0.006")
            assert not server.batches
            results = await ran(provider, prompts(3), tmp_path / "j", clock)
            status = await ledger.status(budget)
    assert isinstance(caught.value.progress, Progress)
    assert all(each.ok for each in results)
    assert (status.spent, status.held) == (bill_of(server), Decimal(0))


async def test_a_budget_does_without_prices_only_if_it_may(tmp_path: Path) -> None:
    """Those of batches; the ordinary ones say nothing of what they cost."""
    clock = Clock()
    server = BatchServer(clock=clock)
    info = msgspec.structs.replace(INFO, variants={})
    async with Emulator(server) as emulator, Ledger(clock=clock) as ledger:
        strict, free = (Budget("1", per="day", unpriced=each) for each in ("refuse", "allow"))
        async with Metered(made("chat", emulator.url, info), ledger, budgets=[strict]) as provider:
            with pytest.raises(ConfigError, match="the price of m is not known"):
                await ran(provider, prompts(), tmp_path / "j", clock)
        async with Metered(made("chat", emulator.url, info), ledger, budgets=[free]) as provider:
            assert all(each.ok for each in await ran(provider, prompts(), tmp_path / "j", clock))


WRONG: dict[str, tuple[Callable[[], BaseProvider], str]] = {
    "two models": (
        lambda: Fallback(made("chat", "http://127.0.0.1:9"), made("messages", "http://127.0.0.1:9")),
        "may ask 'm', 'm': give one without",
    ),
    "no provider of ours": (lambda: ScriptedProvider([]), "ScriptedProvider has no batches: use `gather`"),
    "a vendor without": (
        lambda: OpenAIProvider(ProviderConfig(model_id="m", api_key="k" * 12), "deepseek"),
        "deepseek has no batches that are known here; anthropic, openai, azure, groq have",
    ),
    "the demo": (lambda: open_provider("demo"), "demo has no batches that are known here"),
    "a server of one's own": (
        lambda: OpenAIProvider(ProviderConfig(model_id="m", base_url="http://127.0.0.1:9/v1"), "openai-compatible"),
        "openai-compatible has no batches",
    ),
    "a cloud": (
        lambda: AnthropicProvider(
            ProviderConfig(model_id="m", api_key="k" * 12, platform=Platform(name="foundry", resource="r"))
        ),
        "anthropic on foundry has no batches",
    ),
    "an API that takes none": (
        lambda: OpenAIProvider(ProviderConfig(model_id="m", api_key="k" * 12, wire="responses"), "groq"),
        "`wire` is 'responses', and groq takes batches over chat",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_who_has_no_batches_is_refused_by_name(case: str, tmp_path: Path) -> None:
    """Before anything is done."""
    make, said = WRONG[case]
    with pytest.raises(ConfigError, match=said):
        batch(make(), prompts(), journal=tmp_path / "j")
    assert not (tmp_path / "j").exists()


async def test_each_job_has_a_limit(tmp_path: Path) -> None:
    """Its own, that of all, or a default around the provider."""
    clock = Clock()
    server = BatchServer(clock=clock)
    async with Emulator(server) as emulator, made("chat", emulator.url) as provider:
        jobs = [Job(prompt="a", id="first"), Job(prompt="b", id="second", options=Options())]
        with pytest.raises(ConfigError, match="job second has no `max_tokens`"):
            await ran(provider, jobs, tmp_path / "j", clock)
        assert not server.batches
        results = await ran(Defaults(provider, LIMIT), jobs, tmp_path / "j", clock, options=None)
    assert all(each.ok for each in results)


async def test_what_cannot_be_sent_is_an_error_of_that_job(tmp_path: Path) -> None:
    """The others are asked, and each comes back as it was given."""
    clock = Clock()
    parts = [TextPart("in parts")]
    history = [Message("user", "a"), Message("assistant", "b"), Message("user", "c")]
    jobs = [
        Job(prompt=parts, id="parts", system_prompt="Be brief."),
        Job(prompt=history, id="history"),
        Job(prompt=[Message("user", [ImagePart(media_type="image/tiff", data=b"x")])], id="wrong"),
        Job(prompt="too hot", id="hot", options=Options(max_tokens=9, temperature=9)),
        Job(prompt="odd", id="odd", options={"max_tokens": 9}),  # type: ignore[arg-type]
    ]
    async with Emulator(BatchServer(clock=clock)) as emulator, made("messages", emulator.url) as provider:
        results = {each.id: each for each in await ran(provider, jobs, tmp_path / "j", clock)}
    assert {each.id: each.job for each in results.values()} == {job.id: job for job in jobs}
    assert [name for name, each in results.items() if not each.ok] == ["wrong", "hot", "odd"]


async def test_what_the_jobs_raise_comes_when_the_rest_has_ended(tmp_path: Path) -> None:
    """Files that were full are read to their end; what was not sent is not booked."""

    def broken() -> Iterator[str]:
        yield from map(str, prompts(3))
        raise OSError("no more jobs")

    clock = Clock()
    server = BatchServer(clock=clock)
    async with Emulator(server) as emulator, Ledger(clock=clock) as ledger:
        config = ProviderConfig(model_id="m", model_info=INFO, api_key="k" * 12, base_url=emulator.url)
        leaf = OpenAIProvider(config, Dialect(batches=Batches(most_jobs=2)))
        async with Metered(leaf, ledger) as provider:
            results = batch(provider, broken(), journal=tmp_path / "j", options=LIMIT, sleep=clock.sleep, clock=clock)
            got = [await anext(results) for _ in range(2)]
            with pytest.raises(OSError, match="no more jobs"):
                await anext(results)
            totals = {total.by["state"]: total.usage.known_cost for total in await ledger.totals("state")}
    assert [each.ok for each in got] == [True, True]
    assert totals == {"done": bill_of(server)}


async def test_jobs_that_this_run_does_not_have_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """They are collected all the same, as they are billed."""
    clock, seen = Clock(), list[Progress]()
    async with Emulator(BatchServer(clock=clock)) as emulator, made("chat", emulator.url) as provider:
        with pytest.raises(InterruptedError):
            await ran(provider, prompts(3), tmp_path / "j", clock, sleep=interrupted)
        assert not await ran(provider, [], tmp_path / "j", clock, progress=seen.append)
        assert "has 3 jobs that this run did not have" in caplog.text
        assert seen[-1].cost
        assert all(each.resumed for each in await ran(provider, prompts(3), tmp_path / "j", clock))
