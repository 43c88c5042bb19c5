"""The emulated batch APIs, as the vendors' own clients see them, and what goes wrong there by choice."""

from __future__ import annotations

import io
import ssl
from collections import Counter

import anthropic
import httpx2
import msgspec
import openai
import pytest

from patience import PATIENCE, SHORT
from penstock import ConfigError
from penstock.testing import BATCH_FAILURES, BatchServer, DemoModel, Emulator

pytestmark = pytest.mark.anyio

JOBS = 20
CHAT = "/v1/chat/completions"
IDS = {f"job-{number}" for number in range(JOBS)}


TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # without authorities, which take a tenth of a second to load


def said(number: int) -> str:
    return f"Say {number}"


def plain(timeout: float) -> httpx2.AsyncClient:
    """A client for what is not encrypted."""
    return httpx2.AsyncClient(verify=TLS, timeout=timeout)


async def by_anthropic(url: str, *, cancels: bool = False, timeout: float = PATIENCE) -> Counter[str]:
    """What became of the jobs, by Anthropic's words."""
    http = plain(timeout)
    async with anthropic.AsyncAnthropic(api_key="k" * 20, base_url=url, max_retries=0, http_client=http) as client:
        batches = client.messages.batches
        made = await batches.create(
            requests=[
                {
                    "custom_id": name,
                    "params": {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": said(number)}]},
                }
                for number, name in enumerate(sorted(IDS))
            ]
        )
        assert (made.processing_status, made.request_counts.processing) == ("in_progress", JOBS)
        if cancels:
            await batches.retrieve(made.id)
            assert (await batches.cancel(made.id)).processing_status == "canceling"
        while (batch := await batches.retrieve(made.id)).processing_status != "ended":
            assert batch.results_url is None
        assert (await batches.list(limit=1)).data[0].id == made.id
        lines = [line async for line in await batches.results(made.id)]
    assert [line.custom_id for line in lines] != sorted(IDS), "in another order"
    for line in lines:
        if line.result.type == "succeeded":
            assert line.result.message.usage.service_tier == "batch"
    assert sum(batch.request_counts.model_dump().values()) == JOBS
    return Counter(line.result.type for line in lines)


async def by_openai(
    url: str, endpoint: str = CHAT, *, cancels: bool = False, timeout: float = PATIENCE
) -> Counter[str]:
    """What became of the jobs, and of the batch, by OpenAI's words."""
    field = "input" if endpoint.endswith("responses") else "messages"
    http = plain(timeout)
    async with openai.AsyncOpenAI(api_key="k" * 20, base_url=f"{url}/v1", max_retries=0, http_client=http) as client:
        lines = b""
        for number, name in enumerate(sorted(IDS)):
            body = {"model": "m", field: [{"role": "user", "content": said(number)}]}
            lines += msgspec.json.encode({"custom_id": name, "method": "POST", "url": endpoint, "body": body}) + b"\n"
        file = await client.files.create(file=("b.jsonl", io.BytesIO(lines)), purpose="batch")
        assert file.bytes == len(lines)
        made = await client.batches.create(
            input_file_id=file.id,
            endpoint=endpoint,  # type: ignore[arg-type]
            completion_window="24h",
            metadata={"is": "mine"},
        )
        assert (made.status, made.metadata) == ("validating", {"is": "mine"})
        if cancels:
            await client.batches.retrieve(made.id)
            assert (await client.batches.cancel(made.id)).status == "cancelling"
        while (batch := await client.batches.retrieve(made.id)).status in ("in_progress", "validating", "finalizing"):
            assert not batch.output_file_id
        assert (await client.batches.list(limit=1)).data[0].id == made.id
        found: Counter[str] = Counter([batch.status])
        for file_id in (batch.output_file_id, batch.error_file_id):
            content = (await client.files.content(file_id)).content if file_id else b""
            for line in map(msgspec.json.decode, content.splitlines()):
                found[line["error"]["code"] if line["error"] else str(line["response"]["status_code"])] += 1
        found.update(each.code or "" for each in (batch.errors.data if batch.errors else None) or ())
    return found


async def test_the_clients_of_the_vendors() -> None:
    """Each job is answered once, by the model behind it."""
    server = BatchServer(DemoModel())
    async with Emulator(server) as emulator:
        assert await by_anthropic(emulator.url) == {"succeeded": JOBS}
        assert await by_openai(emulator.url) == {"completed": 1, "200": JOBS}
        assert await by_openai(emulator.url, "/v1/responses") == {"completed": 1, "200": JOBS}
    assert server.submitted == dict.fromkeys(IDS, 3)
    assert set(server.contents.values()) == {1}
    assert server.billed["jobs"] == 3 * JOBS
    assert server.billed["output_tokens"] > 0


async def test_cancelling() -> None:
    """What had been done until then is billed."""
    server = BatchServer()
    async with Emulator(server) as emulator:
        assert await by_anthropic(emulator.url, cancels=True) == {"succeeded": JOBS // 3, "canceled": JOBS - JOBS // 3}
        found = await by_openai(emulator.url, cancels=True)
        assert found == {"cancelled": 1, "200": JOBS // 3, "batch_cancelled": JOBS - JOBS // 3}
    assert server.billed["jobs"] == 2 * (JOBS // 3)


REFUSED, BROKEN, SILENT = "InternalServerError", "APIConnectionError", "APITimeoutError"
CUT, DAMAGED = "RemoteProtocolError", "JSONDecodeError"
ALL = ({"succeeded": JOBS}, {"completed": 1, "200": JOBS})
Outcome = str | dict[str, int]
# Of each failure: what a client that never tries again meets, of Anthropic's and of OpenAI's API, and how many batches
# there are then. Some are of one API only.
PLAYED: dict[str, tuple[Outcome, Outcome, int]] = {
    "a wrong key": ("AuthenticationError", "AuthenticationError", 0),
    "the upload's answer is cut": (ALL[0], BROKEN, 1),
    "the upload is refused once": (ALL[0], REFUSED, 1),
    "made, and the answer is cut": (BROKEN, BROKEN, 2),
    "made, and the connection breaks": (BROKEN, BROKEN, 2),
    "made, and no answer comes": (SILENT, SILENT, 2),
    "made, and a 500 comes": (REFUSED, REFUSED, 2),
    "not made, and a 500 comes": (REFUSED, REFUSED, 0),
    "not made, and the connection breaks": (BROKEN, BROKEN, 0),
    "too many requests to make it": ("RateLimitError", "RateLimitError", 0),
    "looking at it is refused for a while": ("OverloadedError", REFUSED, 2),
    "looking at it breaks for a while": (BROKEN, BROKEN, 2),
    "too many jobs wait": ("RateLimitError", {"failed": 1, "token_limit_exceeded": 1}, 1),
    "some jobs fail": ({"succeeded": 18, "errored": 2}, {"completed": 1, "200": 18, "400": 1, "529": 1}, 2),
    "all jobs fail": ({"errored": JOBS}, {"completed": 1, "400": JOBS}, 2),
    "all jobs fail, and a file's id is empty": ({"errored": JOBS}, {"completed": 1, "400": JOBS}, 2),
    "all jobs fail, and a file's id is left out": ({"errored": JOBS}, {"completed": 1, "400": JOBS}, 2),
    "expired half-way": ({"succeeded": 10, "expired": 10}, {"expired": 1, "200": 10, "batch_expired": 10}, 2),
    "cancelled half-way": ({"succeeded": 10, "canceled": 10}, {"cancelled": 1, "200": 10, "batch_cancelled": 10}, 2),
    "expired before a job was done": ({"expired": JOBS}, {"expired": 1, "batch_expired": JOBS}, 2),
    "the list has not heard of the newest": ("IndexError", "IndexError", 2),
    "the list does not answer": (SILENT, SILENT, 2),
    "the list is refused": (REFUSED, REFUSED, 2),
    "results come later": ("NotFoundError", "NotFoundError", 2),
    "results are cut in the middle of a line": (CUT, BROKEN, 2),
    "results stall": ("ReadTimeout", SILENT, 2),
    "a line comes twice": ({"succeeded": JOBS + 1}, {"completed": 1, "200": JOBS + 1}, 2),
    "a line is missing": ({"succeeded": JOBS - 1}, {"completed": 1, "200": JOBS - 1}, 2),
    "a line is nobody's": ({"succeeded": JOBS + 1}, {"completed": 1, "200": JOBS + 1}, 2),
    "a line is damaged": (DAMAGED, "DecodeError", 2),
    "no results at all": ({}, {"completed": 1}, 2),
}


def test_every_failure_is_played() -> None:
    """Below."""
    assert PLAYED.keys() == BATCH_FAILURES.keys()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize(("name", "outcomes"), PLAYED.items(), ids=PLAYED)
async def test_what_goes_wrong(name: str, outcomes: tuple[Outcome, Outcome, int]) -> None:
    """At both vendors, each time anew."""
    server = BatchServer(failure=name)
    *expected, made = outcomes
    async with Emulator(server) as emulator:
        for play, outcome in zip((by_anthropic, by_openai), expected, strict=True):
            server.failure = name
            found: Outcome
            try:
                found = dict(await play(emulator.url, timeout=SHORT if "Timeout" in str(outcome) else PATIENCE))
            except Exception as error:  # noqa: BLE001 - whichever the client raises is compared
                found = type(error).__name__
            assert found == outcome
    assert len(server.batches) == made


def test_an_unknown_failure_is_refused() -> None:
    """With the one that was meant."""
    with pytest.raises(ConfigError, match="a line is missing"):
        BatchServer(failure="a line is mising")


async def test_batches_get_on_by_a_clock_that_a_test_owns() -> None:
    """However often they are looked at."""
    now = [1_790_000_000.0]
    server = BatchServer(clock=lambda: now[0], step=60)
    async with (
        Emulator(server) as emulator,
        anthropic.AsyncAnthropic(api_key="k" * 20, base_url=emulator.url, max_retries=0) as client,
    ):
        body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
        ids = [(await client.messages.batches.create(requests=[{"custom_id": "a", "params": body}])).id for _ in "abc"]  # type: ignore[typeddict-item]
        for seconds, state in ((0, "in_progress"), (179, "in_progress"), (1, "ended")):
            now[0] += seconds
            for _ in range(4):
                assert (await client.messages.batches.retrieve(ids[0])).processing_status == state
        listed = client.messages.batches.list
        pages = [await listed(limit=2), await listed(limit=2, after_id=ids[1]), await listed(limit=1, before_id=ids[0])]
        assert [[each.id for each in page.data] for page in pages] == [ids[:0:-1], ids[:1], ids[1:2]]
        assert [page.has_more for page in pages] == [True, False, True]
        twice = [{"custom_id": "a", "params": body}] * 2
        with pytest.raises(anthropic.BadRequestError, match="of its own"):
            await client.messages.batches.create(requests=twice)  # type: ignore[arg-type]
    assert server.submitted == {"a": 3}
