"""Telemetry: spans nested as the calls are, metrics that add up to the bill, and nothing that was said."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import anyio
import msgspec
import pytest

from leaving import (
    by_a_break,
    by_a_timeout,
    by_aclose,
    by_an_error,
    by_an_exception_in_the_loop,
    by_cancelling,
    by_completing,
    by_dropping_it,
)
from penstock import (
    AnthropicProvider,
    BaseProvider,
    ConfigError,
    Message,
    ModelInfo,
    Options,
    ProviderConfig,
    RateLimitError,
    ServerError,
    StopChunk,
    TextChunk,
    ToolCallChunk,
    UsageChunk,
    run_tools,
    tool,
)
from penstock.core.scope import EVERYWHERE
from penstock.meter.telemetry import instrument
from penstock.meter.telemetry_names import NAMES
from penstock.middleware import Event, Fallback, Observe, Retry
from penstock.testing import (
    Emulator,
    Hang,
    ScriptedProvider,
    ScriptedStep,
    ServerReply,
    anthropic_error,
    anthropic_message,
)
from places import unmeasured
from playing import ASK, HI, Clock, collect, outcome, used

pytest.importorskip("opentelemetry.sdk", reason="opentelemetry-sdk is not installed")

from opentelemetry import baggage, context, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

pytestmark = pytest.mark.anyio

BILL = UsageChunk(
    input_tokens=10, cache_read_tokens=80, cache_write_tokens=10, output_tokens=7, reasoning_tokens=3,
    known_cost=Decimal("0.0012300"),
)  # fmt: skip
STOP = StopChunk(reason="stop", response_id="msg_1", model="m-2026")
INFO = ModelInfo(input_price=Decimal(3), output_price=Decimal(15))
WELL: list[ScriptedStep] = [BILL, TextChunk("secret"), TextChunk("secret"), STOP]


class Vendor(ScriptedProvider):
    """One with a name."""

    vendor = "xai"


class Traced:
    """What has been exported."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        self._metrics = InMemoryMetricReader()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self.meters = MeterProvider([self._metrics])
        self.tracer = self.tracers.get_tracer("the program")

    @property
    def spans(self) -> list[Any]:
        """In the order in which they began."""
        return sorted(self._spans.get_finished_spans(), key=lambda span: span.start_time)

    def tree(self) -> list[str]:
        """`parent > name` of each span, in the order in which they began."""
        names = {span.context.span_id: span.name for span in self.spans}
        return [
            f"{names.get(span.parent.span_id, 'lost') if span.parent else ''} > {span.name}".lstrip()
            for span in self.spans
        ]

    def points(self) -> dict[str, list[Any]]:
        """Those of each metric."""
        data = self._metrics.get_metrics_data()
        scopes = [scope for resource in (data.resource_metrics if data else ()) for scope in resource.scope_metrics]
        return {metric.name: list(metric.data.data_points) for scope in scopes for metric in scope.metrics}

    def metrics(self) -> dict[str, float]:
        """The sum of each metric."""
        return {
            name: sum(point.value if hasattr(point, "value") else point.sum for point in points)
            for name, points in self.points().items()
        }

    @contextlib.contextmanager
    def on(self, **more: Any) -> Iterator[None]:
        end = instrument(tracer_provider=self.tracers, meter_provider=self.meters, **more)
        try:
            yield
        finally:
            end()


@pytest.fixture
def traced(caplog: pytest.LogCaptureFixture) -> Iterator[Traced]:
    """Telemetry that is on; nothing may be logged, as OpenTelemetry does where a context is left elsewhere."""
    found = Traced()
    with found.on():
        yield found
    faults = [
        each for each in caplog.get_records("call") if each.name.startswith("opentelemetry") or "listener" in each.msg
    ]
    assert faults == []
    assert context.get_current() == {}


async def test_a_call_is_a_span_below_the_callers(traced: Traced) -> None:
    """With what was asked, what answered and what it costs, and with nothing that was said."""
    options = Options(max_tokens=50, temperature=0.5, top_p=0.9, stop="END", reasoning="high", tags={"user": "ann"})
    with traced.tracer.start_as_current_span("request"):
        async with Vendor(WELL, model="m").stream("secret", [Message("user", "secret")], options) as stream:
            async for _ in stream:
                pass
    assert traced.tree() == ["> request", "request > chat m"]
    span = traced.spans[1]
    assert span.kind is SpanKind.CLIENT
    assert span.status.status_code is StatusCode.UNSET
    attributes = dict(span.attributes)
    assert len(attributes.pop("penstock.call")) == 16
    assert attributes.pop("gen_ai.response.time_to_first_chunk") > 0
    assert attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "x_ai",
        "gen_ai.request.model": "m",
        "gen_ai.request.max_tokens": 50,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.top_p": 0.9,
        "gen_ai.request.stop_sequences": ("END",),
        "gen_ai.request.reasoning.level": "high",
        "gen_ai.response.id": "msg_1",
        "gen_ai.response.model": "m-2026",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 7,
        "gen_ai.usage.cache_read.input_tokens": 80,
        "gen_ai.usage.cache_write.input_tokens": 10,
        "gen_ai.usage.reasoning.output_tokens": 3,
        "penstock.cost": "0.0012300",
        "penstock.attempt": 1,
    }
    assert "secret" not in span.to_json()


async def test_the_metrics_add_up(traced: Traced) -> None:
    """The table of the conventions, and our dollars."""
    for _ in range(2):
        await collect(Vendor(WELL, model="m"))
    measured = traced.metrics()
    seconds = {name for name in measured if NAMES_BY[name] == "s"}
    assert seconds == {
        "gen_ai.client.inference.duration",
        "gen_ai.client.inference.time_to_first_chunk",
        "gen_ai.client.inference.time_per_output_chunk",
    }
    assert all(measured[name] > 0 for name in seconds)
    assert {name: value for name, value in measured.items() if name not in seconds} == {
        "gen_ai.client.inference.operation.input_tokens": 200,
        "gen_ai.client.inference.operation.output_tokens": 14,
        "gen_ai.client.inference.usage.input_tokens": 200,
        "gen_ai.client.inference.usage.output_tokens": 14,
        "gen_ai.client.inference.usage.cache_read.input_tokens": 160,
        "gen_ai.client.inference.usage.cache_write.input_tokens": 20,
        "gen_ai.client.inference.usage.reasoning.output_tokens": 6,
        "penstock.cost": pytest.approx(0.00246),
    }
    (duration,) = traced.points()["gen_ai.client.inference.duration"]
    assert duration.count == 2
    assert duration.explicit_bounds[0] == 0.01
    assert dict(duration.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "x_ai",
        "gen_ai.request.model": "m",
        "gen_ai.response.model": "m-2026",
    }
    (chunks,) = traced.points()["gen_ai.client.inference.time_per_output_chunk"]
    assert chunks.count == 2 * 2  # of three chunks the second and the third


NAMES_BY = {name: row.unit for row in NAMES.values() for name in (row.new, row.old) if name}


async def test_the_old_names(caplog: pytest.LogCaptureFixture) -> None:
    """Those that released conventions have, and none beside them but our own."""
    traced = Traced()
    with traced.on(old_names=True):
        await collect(Vendor(WELL, model="m"))
    attributes = traced.spans[0].attributes
    assert attributes["gen_ai.usage.cache_creation.input_tokens"] == 10
    assert "gen_ai.usage.cache_write.input_tokens" not in attributes
    assert {name for name in traced.metrics() if not name.startswith("penstock.")} == {
        "gen_ai.client.operation.duration",
        "gen_ai.client.operation.time_to_first_chunk",
        "gen_ai.client.operation.time_per_output_chunk",
        "gen_ai.client.token.usage",
    }
    points = traced.points()["gen_ai.client.token.usage"]
    assert {point.attributes["gen_ai.token.type"]: point.sum for point in points} == {"input": 100, "output": 7}
    assert caplog.records == []


def ignore(event: Event) -> None:
    """Listens to nothing."""


LEFT: list[Any] = [used(5), TextChunk("H"), Hang()]
WAYS: list[Any] = [
    pytest.param(by_completing, WELL, {"gen_ai.response.finish_reasons": ("stop",)}, id="it ends"),
    pytest.param(
        by_an_error, [used(5), RateLimitError("secret")], {"error.type": "RateLimitError"}, id="it is refused"
    ),
    pytest.param(
        by_an_error, [used(5), TextChunk("H"), ServerError("secret")],
        {"error.type": "ServerError", "gen_ai.response.finish_reasons": ("error",)}, id="it breaks",
    ),
    pytest.param(by_a_break, LEFT, {"penstock.left": True}, id="break"),
    pytest.param(by_aclose, LEFT, {"penstock.left": True}, id="aclose"),
    pytest.param(by_an_exception_in_the_loop, LEFT, {"penstock.left": True}, id="an exception in the loop"),
    pytest.param(by_a_timeout, LEFT, {"penstock.left": True}, id="timeout"),
    pytest.param(by_cancelling, LEFT, {"penstock.left": True}, id="cancelled"),
    pytest.param(by_dropping_it, LEFT, {"penstock.left": True}, id="garbage collection"),
]  # fmt: skip


# Dropping a generator without closing it is what trio warns of; that is the point here.
@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")
@pytest.mark.parametrize(
    "wrap", [lambda inner: inner, lambda inner: Observe(Retry(inner, attempts=1), ignore)], ids=["bare", "nested"]
)
@pytest.mark.parametrize(("leave", "script", "said"), WAYS)
async def test_a_span_ends_on_every_way_out(
    leave: Callable[[BaseProvider], Awaitable[None]], script: Any, said: dict[str, Any], wrap: Any, traced: Traced
) -> None:
    """Once, with the usage until then; a span of the caller's own stays the current one all the while."""
    with traced.tracer.start_as_current_span("request") as request:
        await leave(wrap(ScriptedProvider(script, model="m", repeat=True)))
        assert trace.get_current_span() is request
    assert traced.tree() == ["> request", "request > chat m"]
    attributes = traced.spans[1].attributes
    told = ("error.type", "gen_ai.response.finish_reasons", "penstock.left")
    assert {name: attributes[name] for name in told if name in attributes} == said
    assert (traced.spans[1].status.status_code is StatusCode.ERROR) == ("error.type" in said)
    assert attributes["gen_ai.usage.input_tokens"] in (5, 100)
    assert traced.points()["gen_ai.client.inference.duration"][0].count == 1
    assert "secret" not in "".join(span.to_json() for span in traced.spans)


async def test_the_callers_span_is_never_ours(traced: Traced) -> None:
    """Between two chunks the current span is the reader's, whoever else reads at the same time."""

    async def reader(name: str) -> None:
        with traced.tracer.start_as_current_span(name) as own:
            async with ScriptedProvider(WELL, model="m").stream("", ASK) as stream:
                async for _ in stream:
                    assert trace.get_current_span() is own

    async with anyio.create_task_group() as group:
        for name in ("a", "b"):
            group.start_soon(reader, name)
    assert sorted(traced.tree()) == ["> a", "> b", "a > chat m", "b > chat m"]


async def test_each_try_is_a_span(traced: Traced) -> None:
    """Beside each other; the sum of all is the bill."""
    clock = Clock()
    busy = ScriptedProvider([used(5), ServerError("busy", request_id="req_1")], repeat=True, model="a")
    provider = Fallback(Retry(busy, attempts=2, sleep=clock.sleep), ScriptedProvider(WELL, model="b"))
    await collect(provider)
    assert traced.tree() == ["> chat a", "> chat a", "> chat b"]
    tries = [dict(span.attributes) for span in traced.spans]
    assert [each["penstock.attempt"] for each in tries] == [1, 2, 1]
    assert len({each["penstock.call"] for each in tries}) == 1
    assert [each.get("penstock.request_id") for each in tries] == ["req_1", "req_1", None]
    assert sum(Decimal(each["penstock.cost"]) for each in tries) == 2 * used(5).known_cost + BILL.known_cost


async def test_what_is_not_known_is_not_said(traced: Traced) -> None:
    """Neither as a zero nor as a price."""
    await outcome(ScriptedProvider([ServerError("busy")], model="m"))
    await collect(ScriptedProvider([UsageChunk(output_tokens=2, unsettled=1), *HI], model="m"))
    refused, unpriced = (span.attributes for span in traced.spans)
    assert not [name for name in refused if name.startswith("gen_ai.usage")]
    assert unpriced["gen_ai.usage.output_tokens"] == 2
    assert "penstock.cost" not in unpriced


def calls(*names: str) -> list[ScriptedStep]:
    made: list[ScriptedStep] = [
        ToolCallChunk(id=f"id {name}", name=name, arguments='{"x": "secret"}') for name in names
    ]
    return [used(1), *made, StopChunk(reason="tool_calls")]


async def test_an_agent_and_all_below_it(traced: Traced) -> None:
    """Its requests and its tools are below it; below a tool what that calls, an agent of its own too."""

    @tool
    async def ask(x: str) -> str:
        """Asks another."""
        await collect(ScriptedProvider(WELL, model="other"))
        with traced.tracer.start_as_current_span("own"):
            await anyio.lowlevel.checkpoint()
        return x

    @tool
    async def delegate(x: str) -> str:
        """Runs an agent."""
        async for _ in run_tools(ScriptedProvider(calls("ask"), HI, model="inner"), x, list(ASK), [ask]):
            pass
        return x

    @tool
    def broken(x: str) -> str:
        """Breaks, in a thread."""
        assert baggage.get_baggage("from") == "caller"
        raise LookupError(x)

    outer = ScriptedProvider(calls("delegate"), calls("broken"), HI, model="outer")
    with traced.tracer.start_as_current_span("request") as request:
        token = context.attach(baggage.set_baggage("from", "caller"))
        async for _ in run_tools(outer, "secret", [Message("user", "secret")], [delegate, broken]):
            assert trace.get_current_span() is request
        context.detach(token)
    assert traced.tree() == [
        "> request",
        "request > invoke_agent",
        "invoke_agent > chat outer",
        "invoke_agent > execute_tool delegate",
        "execute_tool delegate > invoke_agent",
        "invoke_agent > chat inner",
        "invoke_agent > execute_tool ask",
        "execute_tool ask > chat other",
        "execute_tool ask > own",
        "invoke_agent > chat inner",
        "invoke_agent > chat outer",
        "invoke_agent > execute_tool broken",
        "invoke_agent > chat outer",
    ]
    agents = [span for span in traced.spans if span.name == "invoke_agent"]
    assert not [
        name for agent in agents for name in agent.attributes if name.startswith(("gen_ai.usage", "penstock.c"))
    ]
    assert dict(agents[0].attributes) == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.request.model": "outer",
        "penstock.run": agents[0].attributes["penstock.run"],
    }
    failed = next(span for span in traced.spans if span.name == "execute_tool broken")
    assert failed.status.status_code is StatusCode.ERROR
    assert dict(failed.attributes) == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "broken",
        "gen_ai.tool.call.id": "id broken",
        "error.type": "_OTHER",
    }
    assert "secret" not in "".join(span.to_json() for span in traced.spans)
    measured = traced.metrics()
    assert measured["gen_ai.invoke_agent.inference_calls"] == 3 + 2
    assert measured["gen_ai.invoke_agent.tool_calls"] == 2 + 1
    assert traced.points()["gen_ai.execute_tool.duration"][0].explicit_bounds[0] == 0.01


async def test_two_agents_of_one_run(traced: Traced) -> None:
    """A run that the program names does not mix them up."""
    from penstock import run

    @tool
    async def work(x: str) -> str:
        """Works."""
        await anyio.wait_all_tasks_blocked()
        return x

    async def agent(model: str) -> None:
        async for _ in run_tools(ScriptedProvider(calls("work"), HI, model=model), "", list(ASK), [work]):
            pass

    with run("nightly"):
        async with anyio.create_task_group() as group:
            for model in ("a", "b"):
                group.start_soon(agent, model)
    by_id = {span.context.span_id: span for span in traced.spans}
    requests = [span for span in traced.spans if span.name.startswith("chat")]
    assert len(requests) == 4
    for span in requests:
        above = by_id[span.parent.span_id].attributes
        assert (above["gen_ai.request.model"], above["penstock.run"]) == (span.name.split()[1], "nightly")


@tool
async def hang(x: str) -> str:
    """Never ends."""
    await anyio.sleep_forever()
    return x


async def test_an_agent_that_is_left_or_fails(traced: Traced) -> None:
    """All its spans end."""

    async def read(provider: BaseProvider) -> None:
        async for _ in run_tools(provider, "", list(ASK), [hang]):
            pass

    async with anyio.create_task_group() as group:
        group.start_soon(read, ScriptedProvider(calls("hang"), model="m"))
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    with pytest.raises(ServerError):
        await read(ScriptedProvider([ServerError("secret")], model="m"))
    stream = run_tools(ScriptedProvider([TextChunk("H"), Hang()], model="m"), "", list(ASK), [hang])
    await anext(stream)
    await stream.aclose()
    agents = [span for span in traced.spans if span.name == "invoke_agent"]
    told = ("error.type", "penstock.left")
    assert [{name: agent.attributes[name] for name in told if name in agent.attributes} for agent in agents] == [
        {"penstock.left": True},
        {"error.type": "ServerError"},
        {"penstock.left": True},
    ]
    assert len(traced.spans) == 3 + 3 + 1
    assert "secret" not in "".join(span.to_json() for span in traced.spans)


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(context._SUPPRESS_INSTRUMENTATION_KEY, id="OpenTelemetry's"),
        "suppress_instrumentation",
        "suppress_language_model_instrumentation",
    ],
)
async def test_it_steps_back(key: str, traced: Traced) -> None:
    """Where another instrumentation traces the call already."""

    @tool
    async def work(x: str) -> str:
        """Works."""
        return x

    token = context.attach(context.set_value(key, True))
    try:
        async for _ in run_tools(ScriptedProvider(calls("work"), WELL, model="m"), "", list(ASK), [work]):
            pass
    finally:
        context.detach(token)
    assert traced.spans == []
    assert traced.metrics() == {}
    await collect(ScriptedProvider(WELL, model="m"))
    assert traced.tree() == ["> chat m"]


async def test_a_tool_that_turns_it_off_inside_leaves_the_one_around_it_alone(traced: Traced) -> None:
    """An agent that is not traced does not end the span of the tool that it runs in."""

    @tool
    async def work(x: str) -> str:
        """Works."""
        return x

    @tool
    async def quiet(x: str) -> str:
        """Runs an agent that nobody shall see."""
        token = context.attach(context.set_value("suppress_instrumentation", True))
        async for _ in run_tools(ScriptedProvider(calls("work"), HI, model="inner"), "", list(ASK), [work]):
            pass
        context.detach(token)
        return x

    async for _ in run_tools(ScriptedProvider(calls("quiet"), HI, model="m"), "", list(ASK), [quiet]):
        pass
    assert traced.tree() == [
        "> invoke_agent",
        "invoke_agent > chat m",
        "invoke_agent > execute_tool quiet",
        "invoke_agent > chat m",
    ]


async def test_on_once_and_off_again() -> None:
    """Twice would count everything twice; a call that began before the end is still told of."""
    traced = Traced()
    end = instrument(tracer_provider=traced.tracers, meter_provider=traced.meters)
    with pytest.raises(ConfigError, match="telemetry is on already"):
        instrument()
    async with ScriptedProvider(WELL, model="m").stream("", ASK) as stream:
        await anext(stream)
        end()
        end()
        async for _ in stream:
            pass
    await collect(ScriptedProvider(WELL, model="m"))
    assert traced.tree() == ["> chat m"]
    again = instrument()
    end()
    with pytest.raises(ConfigError, match="telemetry is on already"):
        instrument()
    again()
    assert (EVERYWHERE.listeners, EVERYWHERE.around) == ((), ())


async def test_without_an_sdk_nothing_breaks() -> None:
    """The API alone makes spans that nobody sees."""
    end = instrument()
    try:
        assert await collect(ScriptedProvider(HI, model="m")) == HI
    finally:
        end()


class Broken:
    """Raises where a span is started."""

    def get_tracer(self, *args: Any, **kwargs: Any) -> Any:
        return self

    def start_span(self, *args: Any) -> None:
        raise LookupError("a bug in a tracer")


async def test_a_tracer_that_fails_breaks_no_call(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, as with any listener."""
    broken: Any = Broken()
    end = instrument(tracer_provider=broken)
    try:
        assert await collect(ScriptedProvider(HI, model="m")) == HI
    finally:
        end()
    assert [record.getMessage() for record in caplog.records] == ["a listener failed at Started"]


async def test_over_a_real_provider(traced: Traced) -> None:
    """Refused, tried again, and left early; the request ids are the vendor's."""
    config = ProviderConfig(model_id="claude-x", api_key="sk-canary-123456", model_info=INFO)
    busy = anthropic_error(529, "overloaded_error", "busy")
    answer = ServerReply(anthropic_message({"type": "text", "text": "Hello there, you"}))
    async with Emulator(busy, answer, answer) as emulator:
        provider = AnthropicProvider(msgspec.structs.replace(config, base_url=emulator.url))
        async with Retry(provider, base=0.001) as retry:
            await collect(retry)
            await by_a_break(retry)
    assert traced.tree() == ["> chat claude-x"] * 3
    refused, whole, left = (dict(span.attributes) for span in traced.spans)
    assert {each["gen_ai.provider.name"] for each in (refused, whole, left)} == {"anthropic"}
    place = urlsplit(emulator.url)
    assert {(each["server.address"], each["server.port"]) for each in (refused, whole, left)} == {
        (place.hostname, place.port)
    }
    assert (refused["error.type"], refused["penstock.request_id"]) == ("OverloadedError", "req_emulated")
    assert (whole["gen_ai.response.id"], Decimal(whole["penstock.cost"])) == ("msg_emulated", Decimal("0.00018"))
    assert left["penstock.left"] is True
    assert "penstock.cost" not in left
    assert "canary" not in "".join(span.to_json() for span in traced.spans)


def test_it_is_loaded_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """By who turns it on; who has not installed it is told what to install."""
    code = "import sys, penstock.meter.telemetry; print([name for name in sys.modules if 'opentelemetry' in name])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True, env=unmeasured()) == "[]\n"
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ConfigError, match=r"pip install 'penstock\[telemetry\]'"):
        instrument()
    assert EVERYWHERE.around == ()
