"""Prints the table of the speed budget: `python tests/bench.py`. It exits with 0 whatever the times are.

A number means little without the one beside it: both sides are measured in the same run, by turns, and each counts
with the best of its rounds. CPU is that of this process alone; the server, which speaks HTTP over bare sockets, is
another one. All of it is asyncio on Linux, and takes a few minutes.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import gc
import multiprocessing
import os
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from decimal import Decimal
from itertools import count, cycle, islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

import msgspec

from penstock.core.cost import Meter
from penstock.core.dialect import Wire
from penstock.core.messages import Message, Options, ReasoningPart, TextPart, ToolCallPart, ToolResultPart
from penstock.core.models import Model, ModelInfo
from penstock.core.provider_config import ProviderConfig
from penstock.providers.anthropic import AnthropicProvider
from penstock.providers.openai import OpenAIProvider
from penstock.wire.answer_reader import AnswerReader
from penstock.wire.anthropic import request as anthropic_request
from penstock.wire.anthropic.answer import AnthropicDecoder
from penstock.wire.openai import chat_request, responses_request
from penstock.wire.openai.chat_answer import ChatDecoder
from penstock.wire.openai.responses_answer import ResponsesDecoder
from penstock.wire.vendors import DIALECTS

MODEL: Final = "claude-sonnet-5-5"
GPT: Final = "gpt-6.1-sol"
OPENAI: Final = DIALECTS["openai"]
KEY: Final = "no-key-is-needed"
SYSTEM: Final = "You are a careful assistant."
QUESTION: Final = (Message("user", "Tell me a story."),)
INFO: Final = ModelInfo(input_price=Decimal(2), output_price=Decimal(10), cache_reads_price=Decimal("0.2"))
PIECES: Final = (" the", " quick brown", " fox, having seen", " it all", ", jumps over one", " more lazy dog")
SPAWN: Final = multiprocessing.get_context("spawn")

Call: TypeAlias = Callable[[], Awaitable[AsyncIterator[object]]]
"""Asks once, and gives what comes: chunks, or an SDK's events."""
Side: TypeAlias = Callable[[str, Sequence[Message]], AbstractAsyncContextManager[Call]]
"""Makes calls with a history to the server at a URL, and closes its client in the end."""


class Plan(NamedTuple):
    """One way in which the server answers. pause: seconds before it sends so many HTTP chunks at once."""

    what: str
    deltas: int
    per_chunk: int = 20
    at_once: int = 50
    pause: float = 0


PLANS: Final = {
    # A pause is longer than what the slower side needs for one HTTP chunk, so that each is read by itself: then the
    # price is mostly that of waking up, which lies below both sides. Read in bulk, it is theirs.
    "one": Plan("one event per HTTP chunk, each read alone", 2_000, per_chunk=1, at_once=1, pause=0.001),
    "ones": Plan("one event per HTTP chunk, read in bulk", 10_000, per_chunk=1),
    "twenty": Plan("twenty events per HTTP chunk, each read alone", 4_000, at_once=1, pause=0.004),
    "twenties": Plan("twenty events per HTTP chunk, read in bulk", 20_000),
    "least": Plan("call to socket, 2,000 messages", 1),
    "some": Plan("20,000 events, one per HTTP chunk", 20_000, per_chunk=1),
    "many": Plan("200,000 events, one per HTTP chunk; 20,000", 200_000, per_chunk=1),
    "warm": Plan("warm-up", 50_000),
    "long": Plan("growth of RSS, 1,000,000 events", 1_000_000),
}


class Row(NamedTuple):
    """One line of the table. bar: most that the ratio may be, or *ours* where there is nothing to compare it with."""

    what: str
    ours: float
    theirs: float | None
    unit: str
    bar: float
    fault: str = ""

    def __str__(self) -> str:
        scale = {"µs": 1e6, "ms": 1e3, "MB": 1.0}[self.unit]
        ours, theirs, ratio, bar = f"{self.ours * scale:.2f} {self.unit}", "", "", f"<= {self.bar:g}"
        measured = self.ours
        if self.theirs is not None:
            measured = self.ours / self.theirs
            theirs, ratio = f"{self.theirs * scale:.2f} {self.unit}", f"{measured:.3f}"
        met = "ok" if measured <= self.bar and not self.fault else "MISSED"
        return f"{self.what:<60}{ours:>12}{theirs:>12}{ratio:>8}{bar:>10}  {met}  {self.fault}".rstrip()


class Contender(NamedTuple):
    """One wire: our provider and the SDK that lies underneath it. The bars are those of their ratios, by plan."""

    answer: Callable[[int], Iterator[bytes]]
    ours: Side
    theirs: Side
    reader: Callable[[], AnswerReader]
    bars: dict[str, float]


def anthropic_answer(deltas: int) -> Iterator[bytes]:
    """The events of an answer, as the API writes them."""

    def event(name: str, rest: str) -> bytes:
        return f'event: {name}\ndata: {{"type":"{name}"{rest}}}\n\n'.encode()

    usage = '"usage":{"input_tokens":90,"cache_creation_input_tokens":0,"cache_read_input_tokens":1200,"output_tokens":'
    head = f'"id":"msg_01","type":"message","role":"assistant","model":"{MODEL}","content":[],"stop_reason":null'
    yield event("message_start", f',"message":{{{head},"stop_sequence":null,{usage}1,"service_tier":"standard"}}}}')
    yield event("content_block_start", ',"index":0,"content_block":{"type":"text","text":""}')
    yield event("ping", "")
    for text in islice(cycle(PIECES), deltas):
        yield event("content_block_delta", f',"index":0,"delta":{{"type":"text_delta","text":"{text}"}}')
    yield event("content_block_stop", ',"index":0')
    yield event("message_delta", f',"delta":{{"stop_reason":"end_turn","stop_sequence":null}},{usage}{deltas}}}')
    yield event("message_stop", "")


@asynccontextmanager
async def anthropic_ours(url: str, history: Sequence[Message]) -> AsyncIterator[Call]:
    """The provider."""
    config = ProviderConfig(model_id=MODEL, api_key=KEY, base_url=url, model_info=INFO)
    async with AnthropicProvider(config) as provider:

        async def call() -> AsyncIterator[object]:
            return provider.create_message(SYSTEM, history)

        yield call


@asynccontextmanager
async def anthropic_theirs(url: str, history: Sequence[Message]) -> AsyncIterator[Call]:
    """The SDK's typed stream."""
    import anthropic  # here and not above: the server's process does without it

    body = msgspec.json.decode(anthropic_request.encode(SYSTEM, history, Options(cache="off"), Model(MODEL, INFO)))
    for message, written in zip(history, body["messages"], strict=True):
        if isinstance(message.content, str):
            written["content"] = message.content
    async with anthropic.AsyncAnthropic(api_key=KEY, base_url=url, max_retries=0) as client:

        async def call() -> AsyncIterator[object]:
            ask = client.messages.create
            return await ask(model=MODEL, max_tokens=8192, system=SYSTEM, messages=body["messages"], stream=True)

        yield call


def chat_answer(deltas: int) -> Iterator[bytes]:
    """The events of a chat completion, as the API writes them."""
    head = f'data: {{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1790000000,"model":"{GPT}"'
    head += ',"service_tier":"default","system_fingerprint":"fp_1","choices":['

    def event(delta: str, finish: str = "null") -> bytes:
        choice = f'{{"index":0,"delta":{{{delta}}},"logprobs":null,"finish_reason":{finish}}}'
        return f'{head}{choice}],"usage":null,"obfuscation":"x9Qf3"}}\n\n'.encode()

    yield event('"role":"assistant","content":"","refusal":null')
    for text in islice(cycle(PIECES), deltas):
        yield event(f'"content":"{text}"')
    yield event("", '"stop"')
    counts = f'"prompt_tokens":1290,"completion_tokens":{deltas},"total_tokens":{1290 + deltas}'
    yield f'{head}],"usage":{{{counts},"prompt_tokens_details":{{"cached_tokens":1200}}}}}}\n\n'.encode()
    yield b"data: [DONE]\n\n"


def responses_answer(deltas: int) -> Iterator[bytes]:
    """The events of a response, as the API writes them."""
    numbers = count()

    def event(name: str, rest: str) -> bytes:
        return f'event: {name}\ndata: {{"type":"{name}",{rest},"sequence_number":{next(numbers)}}}\n\n'.encode()

    response = f'"id":"resp_1","object":"response","created_at":1790000000,"model":"{GPT}","error":null'
    response += ',"incomplete_details":null,"parallel_tool_calls":true,"tool_choice":"auto","tools":[]'
    message = '"id":"msg_1","type":"message","role":"assistant"'
    place = '"item_id":"msg_1","output_index":0,"content_index":0'
    yield event("response.created", f'"response":{{{response},"status":"in_progress","output":[],"usage":null}}')
    yield event(
        "response.output_item.added", f'"output_index":0,"item":{{{message},"status":"in_progress","content":[]}}'
    )
    yield event("response.content_part.added", f'{place},"part":{{"type":"output_text","text":"","annotations":[]}}')
    said = []
    for text in islice(cycle(PIECES), deltas):
        yield event("response.output_text.delta", f'{place},"delta":"{text}","logprobs":[],"obfuscation":"x9Qf3"')
        said.append(text)
    part = f'{{"type":"output_text","text":"{"".join(said)}","annotations":[]}}'
    item = f'{{{message},"status":"completed","content":[{part}]}}'
    yield event("response.output_item.done", f'"output_index":0,"item":{item}')
    counts = f'"input_tokens":1290,"output_tokens":{deltas},"total_tokens":{1290 + deltas}'
    usage = (
        f'{{{counts},"input_tokens_details":{{"cached_tokens":1200}},"output_tokens_details":{{"reasoning_tokens":0}}}}'
    )
    yield event(
        "response.completed", f'"response":{{{response},"status":"completed","output":[{item}],"usage":{usage}}}'
    )


def openai_ours(wire: Wire) -> Side:
    """The provider, with one of its wires."""

    @asynccontextmanager
    async def ours(url: str, history: Sequence[Message]) -> AsyncIterator[Call]:
        config = ProviderConfig(model_id=GPT, api_key=KEY, base_url=url, model_info=INFO, wire=wire)
        async with OpenAIProvider(config) as provider:

            async def call() -> AsyncIterator[object]:
                return provider.create_message(SYSTEM, history)

            yield call

    return ours


@asynccontextmanager
async def chat_theirs(url: str, history: Sequence[Message]) -> AsyncIterator[Call]:
    """The SDK's typed stream of chat completions."""
    import openai  # here and not above: the server's process does without it

    body = msgspec.json.decode(chat_request.encode(SYSTEM, history, Options(), Model(GPT, INFO), OPENAI))
    async with openai.AsyncOpenAI(api_key=KEY, base_url=url, max_retries=0) as client:

        async def call() -> AsyncIterator[object]:
            ask = client.chat.completions.create
            return await ask(model=GPT, messages=body["messages"], stream=True, stream_options={"include_usage": True})

        yield call


@asynccontextmanager
async def responses_theirs(url: str, history: Sequence[Message]) -> AsyncIterator[Call]:
    """The SDK's typed stream of a response."""
    import openai  # here and not above: the server's process does without it

    body = msgspec.json.decode(responses_request.encode(SYSTEM, history, Options(), Model(GPT, INFO), OPENAI))
    async with openai.AsyncOpenAI(api_key=KEY, base_url=url, max_retries=0) as client:

        async def call() -> AsyncIterator[object]:
            ask = client.responses.create
            return await ask(model=GPT, instructions=SYSTEM, input=body["input"], stream=True, store=False)

        yield call


CONTENDERS: Final = {
    "anthropic": Contender(
        answer=anthropic_answer,
        ours=anthropic_ours,
        theirs=anthropic_theirs,
        reader=lambda: AnswerReader(AnthropicDecoder(Meter(INFO, dt.date(2026, 11, 21)))),
        bars={"one": 0.5, "ones": 0.5, "twenty": 0.15, "twenties": 0.15, "least": 0.25},
    ),
    "chat": Contender(
        answer=chat_answer,
        ours=openai_ours("chat"),
        theirs=chat_theirs,
        reader=lambda: AnswerReader(ChatDecoder(Meter(INFO, dt.date(2026, 11, 21)), OPENAI)),
        bars={"one": 0.12, "ones": 0.12, "twenty": 0.04, "twenties": 0.04, "least": 0.01},
    ),
    "responses": Contender(
        answer=responses_answer,
        ours=openai_ours("responses"),
        theirs=responses_theirs,
        reader=lambda: AnswerReader(ResponsesDecoder(Meter(INFO, dt.date(2026, 11, 21)), OPENAI)),
        bars={"one": 0.16, "ones": 0.16, "twenty": 0.05, "twenties": 0.05, "least": 0.01},
    ),
}


def serve(ready: Connection) -> None:
    """Answer every request by the plan that its path names, `/CONTENDER/PLAN/...`, until killed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ready.send(listener.getsockname()[1])
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=converse, args=(connection,), daemon=True).start()


def converse(connection: socket.socket) -> None:
    """Serve one connection until the client closes it."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    received = connection.makefile("rb")
    while request := received.readline():
        headers = dict(line.lower().split(b": ", 1) for line in iter(received.readline, b"\r\n"))
        received.read(int(headers[b"content-length"]))
        name, key = request.decode().split("/")[1:3]
        plan = PLANS[key]
        connection.sendall(head)
        chunks = http_chunks(CONTENDERS[name].answer(plan.deltas), plan.per_chunk)
        while block := b"".join(islice(chunks, plan.at_once)):
            if plan.pause:
                time.sleep(plan.pause)
            connection.sendall(block)


def http_chunks(events: Iterator[bytes], per_chunk: int) -> Iterator[bytes]:
    """The body in HTTP chunks, and its end."""
    while block := b"".join(islice(events, per_chunk)):
        yield b"%x\r\n%s\r\n" % (len(block), block)
    yield b"0\r\n\r\n"


@contextmanager
def server() -> Iterator[str]:
    """The URL of a server in a process of its own."""
    here, there = SPAWN.Pipe()
    process = SPAWN.Process(target=serve, args=(there,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{here.recv()}"
    finally:
        process.terminate()
        process.join()


async def ask(call: Call, least: int, *, whole: bool = True) -> tuple[float, int]:
    """CPU seconds of one call, or until its answer begins, and how often this process had to wait meanwhile."""
    gc.collect()
    waits = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
    began = time.process_time()
    chunks = 0
    first = 0.0
    async for _ in await call():
        first = first or time.process_time()
        chunks += 1
    seconds = (time.process_time() if whole else first) - began
    waits = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - waits
    if chunks < least:
        raise RuntimeError(f"{chunks} chunks came, expected {least} or more: this measures something else")
    return seconds, waits


async def duel(
    name: str, key: str, url: str, history: Sequence[Message], *, whole: bool = True
) -> tuple[float, float, int]:
    """The least CPU seconds of ours and of theirs, and the least number of waits of either."""
    side, least, url = CONTENDERS[name], PLANS[key].deltas, f"{url}/{name}/{key}"
    async with side.ours(url, history) as ours, side.theirs(url, history) as theirs:
        rounds = [(*await ask(ours, least, whole=whole), *await ask(theirs, least, whole=whole)) for _ in range(15)]
    our_cpu, our_waits, their_cpu, their_waits = zip(*rounds, strict=True)
    return min(our_cpu), min(their_cpu), min(*our_waits, *their_waits)


async def streaming(name: str, key: str, url: str) -> Row:
    """CPU for each event. Where each HTTP chunk is to be read alone, there must be a wait for each."""
    side, plan = CONTENDERS[name], PLANS[key]
    ours, theirs, waits = await duel(name, key, url, QUESTION)
    events = sum(1 for _ in side.answer(plan.deltas))
    chunks = events // plan.per_chunk
    fault = f"only {waits} waits for {chunks} HTTP chunks" if plan.pause and waits < 0.95 * chunks else ""
    return Row(f"{name}: {plan.what}", ours / events, theirs / events, "µs", side.bars[key], fault)


async def sending(name: str, url: str) -> Row:
    """CPU from the call until the first event of the answer is there: the server begins it when it has read it all."""
    ours, theirs, _ = await duel(
        name, "least", url, mixed_history(2_000, "anthropic" if name == "anthropic" else "openai"), whole=False
    )
    return Row(f"{name}: {PLANS['least'].what}", ours, theirs, "ms", CONTENDERS[name].bars["least"])


async def lengthening(name: str, url: str) -> Row:
    """CPU for each event of a long stream, against that of one a tenth as long: a cost that grows shows here."""
    best: dict[str, float] = {}
    for _ in range(3):
        for key in ("some", "many"):
            async with CONTENDERS[name].ours(f"{url}/{name}/{key}", QUESTION) as call:
                seconds, _ = await ask(call, PLANS[key].deltas)
            best[key] = min(best.get(key, float("inf")), seconds / PLANS[key].deltas)
    return Row(f"{name}: {PLANS['many'].what}", best["many"], best["some"], "µs", 1.2)


def mixed_history(size: int, vendor: str) -> list[Message]:
    """An agent's history: questions, reasoning with its proof, tool calls and their results, answers. About 0.9 MB."""
    history = []
    for place in range(0, size, 4):
        text = f"{place}:{''.join(PIECES) * 10}"
        call = ToolCallPart(id=f"toolu_{place:020}", name="read_file", arguments=f'{{"path":"{place}.py","lines":200}}')
        item = {"type": "reasoning", "id": f"rs_{place}", "summary": [], "encrypted_content": "gAAAAABn" * 60}
        thoughts = [
            ReasoningPart(text=text[:240], proof="EqQBCkYIBxgC" * 30, vendor="anthropic"),
            ReasoningPart(proof=msgspec.json.encode(item).decode(), vendor="openai"),
        ]
        history += [
            Message("user", text[:180]),
            Message("assistant", [thoughts[vendor == "openai"], TextPart(text[:100]), call]),
            Message("user", [ToolResultPart(id=call.id, content=text[:430])]),
            Message("assistant", [TextPart(text[:130])]),
        ]
    return [*history[: size - 1], Message("user", "And now?")]


def decoding(name: str) -> Row:
    """Bytes to chunks, without any I/O, against the least that a reader of JSON events could do."""
    body = b"".join(CONTENDERS[name].answer(5_000))
    pieces = [body[start : start + 16384] for start in range(0, len(body), 16384)]

    def ours() -> None:
        reader = CONTENDERS[name].reader()
        for piece in pieces:
            for _ in reader.feed(piece):
                pass

    def untyped() -> None:
        for block in body.split(b"\n\n"):
            if block and block != b"data: [DONE]":
                msgspec.json.decode(block[block.index(b"data: ") + 6 :])

    def seconds(work: Callable[[], None]) -> float:
        gc.collect()
        began = time.process_time()
        work()
        return time.process_time() - began

    best = [min(column) for column in zip(*((seconds(ours), seconds(untyped)) for _ in range(20)), strict=True)]
    return Row(f"{name}: decoder alone, 5,000 events; untyped msgspec", best[0], best[1], "ms", 1.5)


def remembering(name: str, url: str) -> Row:
    """Growth over one long stream in a fresh process: in this one it could hide in memory that was freed before."""
    with ProcessPoolExecutor(1, mp_context=SPAWN) as pool:
        grown = pool.submit(growth, name, url).result()
    return Row(f"{name}: {PLANS['long'].what}", grown, None, "MB", 5)


def growth(name: str, url: str) -> float:
    """Most megabytes that this process held during the long stream above what it held after a warm-up."""

    def resident() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    async def most(key: str) -> float:
        peak, left = 0.0, PLANS[key].deltas
        async with CONTENDERS[name].ours(f"{url}/{name}/{key}", QUESTION) as call:
            async for _ in await call():
                left -= 1
                if left % 10_000 == 0:
                    peak = max(peak, resident())
        return peak if left <= 0 else float("inf")

    asyncio.run(most("warm"))
    gc.collect()
    before = resident()
    return asyncio.run(most("long")) - before


def importing() -> Iterator[Row]:
    """In fresh interpreters, whose own start does not count, with all bytecode compiled before.

    The names come when they are asked for, so beside the import alone stands what a program asks for, and all of them.
    """
    bars = {
        "import penstock": 2.0,
        "from penstock import AnthropicProvider, run_tools, tool": 2.0,
        "from penstock import *": 2.5,
    }

    def fresh(statement: str, cache: str) -> tuple[float, str]:
        heavy = "{'aiohttp', 'anthropic', 'httpcore2', 'httpx', 'httpx2', 'openai', 'pydantic'}"
        code = (
            f"import sys, time; began = time.process_time(); {statement}; "
            f"print(time.process_time() - began, *sorted({heavy} & sys.modules.keys()))"
        )
        # An environment may forbid bytecode, and the cost would then be that of the compiler.
        env = {**os.environ, "PYTHONPYCACHEPREFIX": cache, "PYTHONDONTWRITEBYTECODE": ""}
        said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=env).stdout
        seconds, _, loaded = said.strip().partition(" ")
        return float(seconds), loaded

    with tempfile.TemporaryDirectory() as cache:
        rounds = [[fresh(statement, cache) for statement in ("import msgspec, anyio", *bars)] for _ in range(15)]
    (theirs, _), *ours = map(min, zip(*rounds, strict=True))
    for (statement, bar), (seconds, loaded) in zip(bars.items(), ours, strict=True):
        yield Row(statement, seconds, theirs, "ms", bar, f"loads {loaded}" if loaded else "")


async def main() -> None:
    """Print the rows in the order of the budget, each when it is known; with `linear` only those of the length."""
    print(f"{'CPU (a stream: for each event)':<60}{'ours':>12}{'theirs':>12}{'ratio':>8}{'bar':>10}")
    with server() as url:
        for name in CONTENDERS:
            print(await lengthening(name, url), flush=True)
        if "linear" in sys.argv:
            return
        for name in CONTENDERS:
            for key in ("one", "ones", "twenty", "twenties"):
                print(await streaming(name, key, url), flush=True)
            print(decoding(name))
            print(await sending(name, url))
            print(remembering(name, url), flush=True)
    for row in importing():
        print(row)


if __name__ == "__main__":
    asyncio.run(main())
