"""What vendors refuse in a history, from wire.md A2, B1, C1 and D2: `faults` says what is wrong with a body."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

import msgspec

from penstock.core.dialect import Dialect
from penstock.wire.vendors import DIALECTS

_ID = re.compile(r"[a-zA-Z0-9_-]+")


def faults(wire: str, body: bytes, *, begins: bool) -> list[str]:
    """All that the vendor would refuse; *wire* as in `mistral, chat`. begins: something of the first turn was sent."""
    request = msgspec.json.decode(body)
    vendor, _, api = wire.partition(", ")
    if "messages" in DIALECTS[vendor].wires:
        return [*_anthropic(request["messages"], begins=begins)]
    if api == "responses":
        return [*_responses(request["input"], DIALECTS[vendor])]
    return [*_chat(request["messages"], DIALECTS[vendor])]


def _anthropic(messages: list[dict[str, Any]], *, begins: bool) -> Iterator[str]:
    # The server joins messages of one role.
    turns = [(role, [block for each in run for block in each["content"]]) for role, run in _by_role(messages)]
    if begins and turns[0][0] != "user":
        yield "it begins with the assistant"
    seen: set[str] = set()
    waiting: list[str] = []
    for role, blocks in turns:
        results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        if sorted(results) != sorted(waiting):
            yield f"`tool_use` ids {waiting} and `tool_result` ids {results}"
        if [block["type"] for block in blocks[: len(results)]] != ["tool_result"] * len(results):
            yield "tool_results must come before other blocks"
        waiting = [block["id"] for block in blocks if block["type"] == "tool_use"]
        yield from _calls([(block["id"], block["name"]) for block in blocks if block["type"] == "tool_use"], seen, 128)
        if role == "assistant" and blocks[-1]["type"] in ("thinking", "redacted_thinking"):
            yield "the final block cannot be thinking"
        inner = [piece for block in blocks for piece in _pieces(block)]
        if any(not piece["text"].strip() for piece in [*blocks, *inner] if piece["type"] == "text"):
            yield "text content blocks must contain non-whitespace text"
        if any(not isinstance(block["input"], dict) for block in blocks if block["type"] == "tool_use"):
            yield "an input that is no object"
    if waiting:
        yield f"`tool_use` ids without `tool_result`: {waiting}"


def _pieces(block: Mapping[str, Any]) -> list[dict[str, Any]]:
    content = block.get("content")
    return content if isinstance(content, list) else []


def _by_role(messages: list[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for role, run in groupby(messages, key=lambda message: str(message["role"])):
        yield role, list(run)


def _calls(calls: list[tuple[str, str]], seen: set[str], longest_name: int, *, any_id: bool = False) -> Iterator[str]:
    for id_, name in calls:
        if id_ in seen:
            yield f"the id {id_} is not unique"
        if not (any_id or _ID.fullmatch(id_)) or not _ID.fullmatch(name) or len(name) > longest_name:
            yield f"the id {id_} or the name {name} is not legal"
        seen.add(id_)


def _chat(messages: list[dict[str, Any]], row: Dialect) -> Iterator[str]:
    any_id = row.longest_call_id is None
    seen: set[str] = set()
    waiting: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            if message["tool_call_id"] not in waiting:
                yield "a tool message that answers no call, or a second one"
            else:
                waiting.remove(message["tool_call_id"])
            continue
        if waiting:
            yield f"tool calls that are not answered before the next message: {waiting}"
        made = message.get("tool_calls") or []
        waiting = [call["id"] for call in made]
        yield from _calls([(call["id"], call["function"]["name"]) for call in made], seen, 64, any_id=any_id)
        if row.call_id_length is not None and any(len(id_) != row.call_id_length for id_ in waiting):
            yield f"an id that has not its exact length: {waiting}"
        if row.longest_call_id is not None and any(len(id_) > row.longest_call_id for id_ in waiting):
            yield f"an id of an illegal length: {waiting}"
        if any(not isinstance(msgspec.json.decode(call["function"]["arguments"]), dict) for call in made):
            yield "arguments that are no object"
        if not message["content"] and not made:
            yield "a message of nothing"
    if waiting:
        yield f"tool calls that are not answered: {waiting}"


def _responses(items: list[dict[str, Any]], row: Dialect) -> Iterator[str]:
    seen: set[str] = set()
    waiting: list[str] = []
    for item, following in zip(items, [*items[1:], {}], strict=True):
        kind = item.get("type")
        if kind == "function_call":
            yield from _calls([(item["call_id"], item["name"])], seen, 64, any_id=row.longest_call_id is None)
            waiting.append(item["call_id"])
        elif kind == "function_call_output":
            if item["call_id"] not in waiting:
                yield f"No tool call found for function call output with call_id {item['call_id']}."
            else:
                waiting.remove(item["call_id"])
        elif kind == "reasoning" and (not following or following.get("role") == "user"):
            yield "Item of type 'reasoning' was provided without its required following item."
    if waiting:
        yield f"No tool output found for function call {waiting}."
