"""Spans and metrics of OpenTelemetry for every call, agent and tool of the process.

Nothing that was said is in them, neither a prompt nor an answer, an argument, a result or an error's words, and nothing
switches that on. Spans get their parent explicitly, and none is current while a generator is suspended: only around a
tool, in its own task. So the span that something makes of an HTTP request is not below the call's but beside it.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from penstock.core.chunks import Chunk, UsageChunk
from penstock.core.closing import aclosing
from penstock.core.errors import ConfigError
from penstock.core.messages import Message, Options
from penstock.core.provider import BaseProvider, Send
from penstock.core.scope import EVERYWHERE, Scope
from penstock.meter.telemetry_names import NAMES, VENDORS, Name
from penstock.middleware.events import (
    Abandoned,
    Completed,
    Ended,
    Event,
    Failed,
    FirstChunk,
    RunEnded,
    RunStarted,
    Started,
    ToolEnded,
    ToolStarted,
)
from penstock.middleware.listeners import Telling
from penstock.middleware.observe import observed

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.metrics import Meter, MeterProvider
    from opentelemetry.trace import Span, Tracer, TracerProvider

__all__ = ["instrument"]

Facts = dict[str, Any]
_Measure = Callable[[float, Facts], None]

# Set by those that want nobody inside to trace: OpenTelemetry's own instrumentations, by a key of its API and before by
# a word, and OpenLLMetry's. The conventions have no key yet (semantic-conventions-genai, pull request 475).
_SUPPRESSING: Final = ("suppress_instrumentation", "suppress_language_model_instrumentation")

_end: Callable[[], None] | None = None
"""What ends the telemetry that is on; None for none."""
_tool: ContextVar[tuple[str, Span] | None] = ContextVar("penstock tool span", default=None)
"""The tool that runs in this task: the id of its agent, and its span."""


def instrument(
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    old_names: bool = False,
) -> Callable[[], None]:
    """Trace and measure every request that begins from now on, whoever opened its provider; the result ends that.

    Each request to a vendor is a span `chat MODEL` below the caller's, each try its own; `run_tools` is one too, with
    its requests and its tools below it, and below a tool what that calls. Only a request's span has usage, and its
    exact cost: `penstock.cost`, dollars as text; it is left out while it is not known. Where another instrumentation
    has set a key against nested ones nothing is traced.

    tracer_provider, meter_provider: None for the global ones. old_names: those of opentelemetry-semantic-conventions
    0.66b2 in place of the newer ones. Raises ConfigError where opentelemetry-api is not installed, and while this is on
    already: two would count each call twice.
    """
    global _end
    if _end is not None:
        raise ConfigError("telemetry is on already: first call what `instrument()` has returned")
    try:
        from opentelemetry import metrics, trace
    except ImportError as missing:
        raise ConfigError("OpenTelemetry is not installed: pip install 'penstock[telemetry]'") from missing
    names = {key: each.old if old_names and each.old != "" else each.new for key, each in NAMES.items()}
    tracer = trace.get_tracer("penstock", tracer_provider=tracer_provider)
    meter = metrics.get_meter("penstock", meter_provider=meter_provider)
    watch = _Watch(tracer, meter, {key: name for key, name in names.items() if name is not None})
    remove = EVERYWHERE.add(watch.hear, watch.around)

    def end() -> None:
        global _end
        remove()
        if _end is end:
            _end = None

    _end = end
    return end


class _Agent:
    """A run of tools that has not ended."""

    def __init__(self, span: Span, context: Context, facts: Facts) -> None:
        self.span = span
        self.context = context
        self.facts = facts
        self.tools = 0


class _Watch:
    """Makes the spans of agents and tools, and measures."""

    def __init__(self, tracer: Tracer, meter: Meter, names: Mapping[str, str]) -> None:
        from opentelemetry import context, trace

        self._tracer = tracer
        self._trace = trace
        self._names = names
        self._context = context
        self._suppressing = (*_SUPPRESSING, getattr(context, "_SUPPRESS_INSTRUMENTATION_KEY", ""))
        self._agents: dict[str, _Agent] = {}
        self.measures: dict[str, _Measure] = {}
        """What counts or records, for each metric that there is among these names."""
        made: dict[str, _Measure] = {}
        for key, name in names.items():
            if NAMES[key].unit:
                # Some of the new ones were one.
                self.measures[key] = made[name] = made.get(name) or _made(meter, name, NAMES[key])

    def named(self, **facts: object) -> Facts:
        """The facts that are known, under their names."""
        return {self._names[key]: value for key, value in facts.items() if value is not None and key in self._names}

    def measure(self, key: str, value: float, facts: Facts) -> None:
        """Count or record *value*, if there is such a metric among these names."""
        if key in self.measures:
            self.measures[key](value, facts)

    def asked(self, operation: str, event: Event) -> Facts:
        """What the spans and metrics of a request, or of an agent, have in common."""
        vendor = VENDORS.get(event.vendor, event.vendor)
        return self.named(operation=operation, vendor=vendor or None, model=event.model or None)

    def failed(self, span: Span, error: Exception) -> Facts:
        """Mark *span*; an error is shown by its class alone, as its words may quote the prompt."""
        kind = type(error)
        word = (
            kind.__name__
            if kind.__module__.startswith(("penstock.", "builtins"))
            else f"{kind.__module__}.{kind.__qualname__}"
        )
        span.set_status(self._trace.StatusCode.ERROR, word)
        return self.named(error=word)

    def parent(self, agent: str | None) -> Context | None:
        """What a span that begins now belongs below; None where nothing inside shall be traced."""
        current = self._context.get_current()
        if any(current.get(key) for key in self._suppressing):
            return None
        return self._agents[agent].context if agent in self._agents else current

    def around(
        self, leaf: BaseProvider, send: Send, system_prompt: str, messages: Sequence[Message], options: Options
    ) -> AsyncGenerator[Chunk, None]:
        """Goes around each request to a leaf."""
        call = _Call(self, leaf, send, options)
        return observed(call.send, call.begin, system_prompt, messages, options)

    def request(self, name: str, parent: Context | None, attributes: Facts) -> Span:
        """The span of a request."""
        return self._tracer.start_span(name, parent, self._trace.SpanKind.CLIENT, attributes)

    def hear(self, event: Event) -> None:
        """Told of each run of tools."""
        match event:
            case RunStarted():
                self._begin_agent(event)
            case RunEnded():
                self._end_agent(event)
            case ToolStarted():
                self._begin_tool(event)
            case ToolEnded():
                self._end_tool(event)

    def _begin_agent(self, event: RunStarted) -> None:
        parent = self.parent(None)
        if parent is not None:
            facts = self.asked("invoke_agent", event)
            attributes = {**facts, **self.named(run=event.run)}
            span = self._tracer.start_span("invoke_agent", parent, self._trace.SpanKind.INTERNAL, attributes)
            self._agents[event.call] = _Agent(span, self._trace.set_span_in_context(span, parent), facts)

    def _end_agent(self, event: RunEnded) -> None:
        agent = self._agents.pop(event.call, None)
        if agent is None:
            return
        failed = {} if event.error is None else self.failed(agent.span, event.error)
        agent.span.set_attributes({**failed, **self.named(left=event.state == "left" or None)})
        agent.span.end()
        self.measure("agent_duration", event.time, {**agent.facts, **failed})
        self.measure("agent_calls", event.turns, agent.facts)
        self.measure("agent_tools", agent.tools, agent.facts)

    def _begin_tool(self, event: ToolStarted) -> None:
        agent = self._agents.get(event.call)
        if agent is not None:
            agent.tools += 1
            facts = self.named(operation="execute_tool", tool=event.name, tool_call=event.id)
            name, kind = f"execute_tool {event.name}", self._trace.SpanKind.INTERNAL
            span = self._tracer.start_span(name, agent.context, kind, facts)
            # Current in the task of this tool and in nobody else's; so nobody has to take it back.
            self._context.attach(self._trace.set_span_in_context(span))
            _tool.set((event.call, span))

    def _end_tool(self, event: ToolEnded) -> None:
        running = _tool.get()
        if running is None or running[0] != event.call:
            return  # it is not traced, or was dropped with its loop, and this is not its task
        span = running[1]
        if event.is_error:
            span.set_status(self._trace.StatusCode.ERROR)
        error = "_OTHER" if event.is_error else None
        span.set_attributes(self.named(error=error))
        span.end()
        self.measure("tool_duration", event.seconds, self.named(operation="execute_tool", tool=event.name, error=error))


def _made(meter: Meter, name: str, row: Name) -> _Measure:
    if row.buckets is None:
        return meter.create_counter(name, row.unit).add
    return meter.create_histogram(name, row.unit, explicit_bucket_boundaries_advisory=list(row.buckets)).record


class _Call:
    """One request: its span, from its first event to its last."""

    def __init__(self, watch: _Watch, leaf: BaseProvider, send: Send, options: Options) -> None:
        self._watch = watch
        self._leaf = leaf
        self._send = send
        self._options = options
        self._parent: Context | None = None
        self._span: Span | None = None
        self._facts: Facts = {}

    def begin(self, scope: Scope) -> Telling:
        """What tells of it."""
        self._parent = self._watch.parent(scope.agent)
        return Telling(None, scope, self._leaf, others=() if self._parent is None else (self._hear,))

    def send(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """Its chunks."""
        sent = self._send(system_prompt, messages, options)
        record = self._watch.measures.get("per_chunk")
        return sent if self._span is None or record is None else self._timed(sent, record)

    async def _timed(self, sent: AsyncGenerator[Chunk, None], record: _Measure) -> AsyncGenerator[Chunk, None]:
        """The same, with the seconds that each chunk after the first was waited for; not those of the consumer."""
        is_first = True
        async with aclosing(sent) as chunks:
            asked = time.monotonic()
            async for chunk in chunks:
                if type(chunk) is not UsageChunk:
                    if not is_first:
                        record(time.monotonic() - asked, self._facts)
                    is_first = False
                yield chunk
                asked = time.monotonic()

    def _hear(self, event: Event) -> None:
        match event:
            case Started():
                self._start(event)
            case FirstChunk():
                self._watch.measure("to_first_chunk", event.time, self._facts)
            case Ended() if self._span is not None:
                self._finish(event, self._span)

    def _start(self, event: Started) -> None:
        options, named = self._options, self._watch.named
        self._facts = self._watch.asked("chat", event)
        stop = [options.stop] if isinstance(options.stop, str) else options.stop
        address, port = self._leaf.server
        attributes = {
            **self._facts,
            **named(address=address or None, port=port),
            **named(max_tokens=options.max_tokens, temperature=options.temperature, top_p=options.top_p),
            **named(stop=stop, reasoning=None if options.reasoning is None else str(options.reasoning)),
            **named(call=event.call, attempt=event.attempt, run=event.run),
        }
        self._span = self._watch.request(f"chat {event.model}".rstrip(), self._parent, attributes)

    def _finish(self, event: Ended, span: Span) -> None:
        named = self._watch.named
        failed = self._watch.failed(span, event.error) if isinstance(event, Failed) else {}
        answered = named(answered=event.answered)
        attributes = {
            **failed,
            **answered,
            **named(first_chunk=event.first_chunk, request_id=event.request_id),
            **named(left=isinstance(event, Abandoned) or None),
        }
        if isinstance(event, Completed):
            attributes |= named(response_id=event.stop.response_id, finish_reasons=[event.stop.reason])
        elif failed and event.first_chunk is not None:
            attributes |= named(finish_reasons=["error"])
        self._facts |= answered
        span.set_attributes({**attributes, **self._bill(event.usage)})
        span.end()
        self._watch.measure("duration", event.time, {**self._facts, **failed})

    def _bill(self, usage: UsageChunk) -> Facts:
        """What is said of the usage, which is measured too; nothing of what has not been reported."""
        watch, facts = self._watch, self._facts
        watch.measure("sum_cost", float(usage.known_cost), facts)
        cost = watch.named(cost=None if usage.cost is None else f"{usage.cost:f}")
        if not (usage.prompt_tokens or usage.output_tokens):
            return cost
        watch.measure("input", usage.prompt_tokens, {**facts, **watch.named(token_type="input")})  # noqa: S106
        watch.measure("output", usage.output_tokens, {**facts, **watch.named(token_type="output")})  # noqa: S106
        counts = {
            "input_tokens": usage.prompt_tokens,  # by the convention cached ones are among them
            "output_tokens": usage.output_tokens,
            # A vendor may not report these: none and unknown look the same.
            "cache_read": usage.cache_read_tokens or None,
            "cache_write": usage.cache_write_tokens or None,
            "reasoning_tokens": usage.reasoning_tokens or None,
        }
        for key, count in counts.items():
            watch.measure(f"sum_{key}", count or 0, facts)
        return {**cost, **watch.named(**counts)}
