"""log_events: one line an event, at the right level, with nothing in it that somebody else could write."""

from __future__ import annotations

import logging
from decimal import Decimal
from typing import Any

import pytest

from penstock import (
    InvalidRequestError,
    Message,
    Options,
    ServerError,
    StopChunk,
    TextChunk,
    ToolCallChunk,
    UsageChunk,
    run_tools,
    tool,
)
from penstock.middleware import (
    Abandoned,
    BlockChange,
    CacheMiss,
    CircuitOpened,
    Completed,
    DroppedOption,
    Event,
    Failed,
    HeadersSeen,
    StoreBack,
    StoreLost,
    ToolEnded,
    Waiting,
    log_events,
)
from penstock.middleware.observe import listen
from penstock.testing import ScriptedProvider, ScriptedStep
from playing import HI, NOON

pytestmark = pytest.mark.anyio

BASE: dict[str, Any] = {"call": "c1", "at": NOON, "time": 1.25, "model": "m"}
BILL = UsageChunk(input_tokens=10, cache_read_tokens=90, output_tokens=5, known_cost=Decimal("0.0123"))
SECRET = "my prompt\nis secret"

LINES: list[Any] = [
    pytest.param(
        Completed(**BASE, alias="sonnet", vendor="anthropic", answered="m-1", usage=BILL, first_chunk=0.5,
                  request_id="req_1", stop=StopChunk(reason="stop"), tags={"user": "ann"}, run="night"),
        "INFO",
        "c1 completed sonnet/anthropic/m answered=m-1 run=night time=1.250 first_chunk=0.500 prompt_tokens=100 "
        "output_tokens=5 cost='$0.0123' stop=stop request=req_1 user='ann'",
        id="an end",
    ),
    pytest.param(
        Abandoned(**BASE, usage=BILL + UsageChunk(unsettled=1)),
        "INFO",
        "c1 abandoned m time=1.250 prompt_tokens=100 output_tokens=5 cost='≥ $0.0123 (1 call unknown)'",
        id="a call that is left",
    ),
    pytest.param(
        Failed(**BASE, attempt=2, usage=UsageChunk(),
               error=ServerError(SECRET, status=500, code="bad\nline", retry_after=3)),
        "WARNING",
        "c1 failed m attempt=2 time=1.250 prompt_tokens=0 output_tokens=0 cost='$0.00' error=ServerError status=500 "
        r"code=bad\nline retry_after=3",
        id="an error by its class and not by its words",
    ),
    pytest.param(
        Failed(**BASE, usage=UsageChunk(), error=LookupError(SECRET)),
        "WARNING",
        "c1 failed m time=1.250 prompt_tokens=0 output_tokens=0 cost='$0.00' error=LookupError",
        id="somebody else's error",
    ),
    pytest.param(CircuitOpened(**BASE, seconds=30.0, why=SECRET), "WARNING", "c1 circuit_opened m seconds=30.000",
                 id="a breaker that opens"),
    pytest.param(StoreLost(**BASE, store="redis://h:1/0", why=SECRET, local=True), "WARNING",
                 "c1 store_lost m store=redis://h:1/0 local=True", id="a store that is lost"),
    pytest.param(StoreBack(**BASE, store="redis://h:1/0"), "DEBUG", "c1 store_back m store=redis://h:1/0",
                 id="a store that is back"),
    pytest.param(HeadersSeen(**BASE, status=200, request_id="req_1"), "DEBUG",
                 "c1 headers_seen m status=200 request=req_1", id="a head"),
    pytest.param(DroppedOption(**BASE, option="user", value=SECRET, why=SECRET), "INFO",
                 "c1 dropped_option m option=user", id="an option that is left out"),
    pytest.param(Waiting(**BASE, on="rate_limit"), "DEBUG", "c1 waiting m on=rate_limit", id="a wait"),
    pytest.param(ToolEnded(**BASE, id="t", name="work", is_error=True, seconds=0.5), "DEBUG",
                 "c1 tool_ended m name=work seconds=0.500 is_error=True", id="a tool"),
    pytest.param(
        CacheMiss(**BASE, causes=("changed",), expected_tokens=5, read_tokens=1, missed_tokens=4, cost=None,
                  seconds=9.0, lifetime=None,
                  change=BlockChange(kind="system", what="changed", place="system", before=SECRET)),
        "DEBUG",
        "c1 cache_miss m seconds=9.000 missed_tokens=4",
        id="a miss, without the text that changed",
    ),
    pytest.param(
        Waiting(**BASE, on="concurrency", run="a b\r\n", tags={
            "user\n2026 ERROR": "x\r\ny\u2028z\x1b[31m'; \u202e", "long": "9" * 10_000, "": "",
        }),
        "DEBUG",
        r"c1 waiting m run=a_b\r\n on=concurrency user\n2026_ERROR=" + '"x\\r\\ny\\u2028z\\x1b[31m\'; \\u202e"'
        + f" long='{'9' * 80}…' =''",
        id="hostile tags",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("event", "level", "line"), LINES)
def test_a_line(event: Event, level: str, line: str, caplog: pytest.LogCaptureFixture) -> None:
    """The whole of it."""
    with caplog.at_level(logging.DEBUG):
        log_events()(event)
    assert [(record.name, record.levelname, record.getMessage()) for record in caplog.records] == [
        ("penstock", level, line)
    ]
    assert line.isprintable()


def test_a_logger_and_a_level_of_ones_own(caplog: pytest.LogCaptureFixture) -> None:
    """Below the logger's level nothing is written."""
    listener = log_events(logging.getLogger("mine"), level=logging.DEBUG)
    end = Abandoned(**BASE, usage=BILL)
    with caplog.at_level(logging.DEBUG, logger="mine"):
        listener(end)
    with caplog.at_level(logging.INFO, logger="mine"):
        listener(end)
    assert [(record.name, record.levelname) for record in caplog.records] == [("mine", "DEBUG")]


@tool
def work(secret: str) -> str:
    """Works."""
    return secret


async def test_a_whole_run_is_logged_without_its_contents(caplog: pytest.LogCaptureFixture) -> None:
    """Neither a prompt nor an answer, an argument, a result or an error's words."""
    calls: list[ScriptedStep] = [
        ToolCallChunk(id="t", name="work", arguments='{"secret": "secret"}'),
        StopChunk(reason="tool_calls"),
    ]
    provider = ScriptedProvider(calls, [TextChunk("secret"), *HI], [InvalidRequestError("secret")], model="m")
    listen(provider, log_events())
    with caplog.at_level(logging.DEBUG):
        for _ in range(2):
            try:
                async for _chunk in run_tools(
                    provider, "secret", [Message("user", "secret")], [work], Options(stop="secret")
                ):
                    pass
            except InvalidRequestError:
                break
    assert [record.getMessage().split()[1] for record in caplog.records] == [
        *("run_started", "turn_started", "started", "first_chunk", "completed", "tool_started", "tool_ended"),
        *("turn_started", "started", "first_chunk", "completed", "run_ended"),
        *("run_started", "turn_started", "started", "failed", "run_ended"),
    ]
    assert "secret" not in caplog.text
