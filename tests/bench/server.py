"""The server of the bench: HTTP over bare sockets in a process of its own, with the answers of three wires."""

from __future__ import annotations

import functools
import multiprocessing
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count, cycle, islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, NamedTuple

__all__ = ["ANSWERS", "GPT", "MODEL", "PIECES", "PLANS", "SPAWN", "Plan", "events", "server"]

MODEL: Final = "claude-sonnet-5-5"
GPT: Final = "gpt-6.1-sol"
PIECES: Final = (" the", " quick brown", " fox, having seen", " it all", ", jumps over one", " more lazy dog")
SPAWN: Final = multiprocessing.get_context("spawn")


class Plan(NamedTuple):
    """One way in which the server answers. pause: seconds before it sends so many HTTP chunks at once."""

    deltas: int
    per_chunk: int = 20
    at_once: int = 50
    pause: float = 0


PLANS: Final = {
    # A pause is longer than what the slowest side needs for one HTTP chunk, so that each is read by itself: then the
    # price is mostly that of waking up, which lies below all of them. Read in bulk, it is theirs.
    "one": Plan(150, per_chunk=1, at_once=1, pause=0.002),
    "ones": Plan(3_000, per_chunk=1),
    "twenties": Plan(5_000),
    "small": Plan(20, per_chunk=1),
    "thought": Plan(20, per_chunk=1, pause=0.02),  # as no model answers before it has all of the question
    "least": Plan(1),
    "some": Plan(20_000, per_chunk=1),
    "many": Plan(200_000, per_chunk=1),
    "warm": Plan(50_000),
    "long": Plan(1_000_000),
}


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


ANSWERS: Final[dict[str, Callable[[int], Iterator[bytes]]]] = {
    "anthropic": anthropic_answer,
    "chat": chat_answer,
    "responses": responses_answer,
}


def events(name: str, key: str) -> int:
    """How many an answer has."""
    return sum(1 for _ in ANSWERS[name](PLANS[key].deltas))


def serve(ready: Connection, accepted: Any, files: Sequence[Path]) -> None:
    """Answer every request by the plan that its path names, `/WIRE/PLAN/...`, until killed."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH) if files else None
    if context is not None:
        context.load_cert_chain(*map(str, files))
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        ready.send(listener.getsockname()[1])
        while True:
            connection, _ = listener.accept()
            accepted.value += 1
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=converse, args=(connection, context), daemon=True).start()


def converse(connection: socket.socket, context: ssl.SSLContext | None) -> None:
    """Serve one connection until the client closes it."""
    if context is not None:
        connection = context.wrap_socket(connection, server_side=True)
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    received = connection.makefile("rb")
    while request := received.readline():
        headers = dict(line.lower().split(b": ", 1) for line in iter(received.readline, b"\r\n"))
        received.read(int(headers[b"content-length"]))
        name, key = request.decode().split("/")[1:3]
        plan = PLANS[key]
        connection.sendall(head)
        for block in prepared(name, key) if plan.deltas <= 20_000 else blocks(name, key):
            if plan.pause:
                time.sleep(plan.pause)
            connection.sendall(block)


def blocks(name: str, key: str) -> Iterator[bytes]:
    """What is sent at once, to the end of the body."""
    plan = PLANS[key]
    chunks = http_chunks(ANSWERS[name](plan.deltas), plan.per_chunk)
    while block := b"".join(islice(chunks, plan.at_once)):
        yield block


@functools.cache
def prepared(name: str, key: str) -> tuple[bytes, ...]:
    """The same, made once: the client is not to wait for it."""
    return tuple(blocks(name, key))


def http_chunks(events: Iterator[bytes], per_chunk: int) -> Iterator[bytes]:
    """The body in HTTP chunks, and its end."""
    while block := b"".join(islice(events, per_chunk)):
        yield b"%x\r\n%s\r\n" % (len(block), block)
    yield b"0\r\n\r\n"


@contextmanager
def server(files: Sequence[Path] = ()) -> Iterator[tuple[str, Callable[[], int]]]:
    """The URL of a server in a process of its own, and a function that says how many connections it has accepted.

    files: a certificate and its key, for TLS; none for a plain one.
    """
    here, there = SPAWN.Pipe()
    accepted = SPAWN.Value("i", 0)
    process = SPAWN.Process(target=serve, args=(there, accepted, files), daemon=True)
    process.start()
    try:
        yield f"{'https' if files else 'http'}://127.0.0.1:{here.recv()}", lambda: accepted.value
    finally:
        process.terminate()
        process.join()
