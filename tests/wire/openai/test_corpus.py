"""The recorded exchanges with everyone who speaks OpenAI's two APIs, against what an independent parser read from each.

That parser says all in the vendor's own words; each rule that leads from them to ours is a line of this file.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from typing import Any, Final

import msgspec
import pytest

from corpus_openai import BROKEN_CALLS, FAILURES, details_of, documents, output_of, untagged
from penstock import (
    AuthenticationError,
    InvalidRequestError,
    NotFoundError,
    OpaqueChunk,
    PermissionDeniedError,
    ProviderError,
    ProviderTimeoutError,
    QuotaExceededError,
    RateLimitError,
    ReasoningChunk,
    ServerError,
    StopChunk,
    StreamInterruptedError,
    TokenLimitError,
    ToolCallChunk,
    UsageChunk,
    calculate_cost,
)
from penstock.core.client_calls import CLIENT_CALLS
from penstock.core.dialect import Wire
from penstock.wire.errors import response_error
from penstock.wire.vendors import DIALECTS
from places import ROOT
from reading import (
    DAY,
    PRICED,
    attempt_openai,
    calls_of,
    cut,
    openai_reader,
    read_openai,
    reasoning_of,
    stop_of,
    text_of,
    usage_of,
)

GUIDE: Final = ROOT / "src/penstock/guide"
ENDPOINTS: Final[dict[str, Wire]] = {"/v1/chat/completions": "chat", "/v1/responses": "responses"}

# Where the parser is wrong, or reads what we read elsewhere.
EXCEPTIONS: Final = {
    "3ea9f9ab6979e457": "reasoning that stands only in reasoning_details, which the parser does not read",
}


def recorded(corpus: list[dict[str, Any]], wire: Wire, *, sse: bool) -> list[dict[str, Any]]:
    """The answers with status 200."""
    rows = [row for row in corpus if ENDPOINTS.get(row["endpoint"]) == wire and row["status"] == 200]
    return [row for row in rows if row["sse"] is sse]


def answers(corpus: list[dict[str, Any]], wire: Wire, *, sse: bool) -> list[dict[str, Any]]:
    """Those of them that are answers."""
    return [row for row in recorded(corpus, wire, sse=sse) if row["id"] not in (*FAILURES, *BROKEN_CALLS)]


# Vendors that the corpus has among the others.
HOSTS: Final = {
    "ai-gateway.vercel.sh": "vercel",
    "api.inceptionlabs.ai": "inception",
    "api.z.ai": "zai",
    "models.github.ai": "github-models",
    "router.huggingface.co": "huggingface",
}


def dialect_of(row: dict[str, Any]) -> str:
    name = HOSTS.get(row["host"], row["provider"])
    return name if name in DIALECTS else "openai-compatible"


def reported(row: dict[str, Any]) -> dict[str, Any]:
    """The vendor's last word on usage; the parser looked for it beside the choices only."""
    events = [event.get("response", event) for event in documents(row)]
    usages = [event.get("usage") or (event.get("x_groq") or {}).get("usage") for event in events]
    last: dict[str, Any] = ([usage for usage in usages if usage] or [{}])[-1]
    assert row["expect"]["usage"] is None or row["expect"]["usage"].keys() == last.keys()
    return last


def counts(usage: dict[str, Any], row: dict[str, Any]) -> UsageChunk:
    """The vendor's counts made disjoint."""
    prompt = usage.get("prompt_tokens", usage.get("input_tokens")) or 0
    output = usage.get("completion_tokens", usage.get("output_tokens")) or 0
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    outputs = usage.get("completion_tokens_details") or usage.get("output_tokens_details") or {}
    reasoning = outputs.get("reasoning_tokens") or usage.get("reasoning_tokens") or 0  # Together's
    # DeepSeek's older answers, and Inception's.
    read = details.get("cached_tokens") or usage.get("prompt_cache_hit_tokens") or usage.get("cached_input_tokens") or 0
    read, written = min(read, prompt), details.get("cache_write_tokens") or 0  # Grok on Azure: more read than there was
    total = usage.get("total_tokens", 0)
    if dialect_of(row) in ("google", "inception"):  # their reasoning is only in the total
        output = total - prompt
    elif reasoning and total == prompt + output + reasoning:  # xAI counts it beside the output
        output += reasoning
    return UsageChunk(
        input_tokens=max(0, prompt - read - written),
        cache_read_tokens=read,
        cache_write_tokens=max(0, min(written, prompt - read)),
        output_tokens=max(0, output),  # a53b6220966ebfcd says -9
        reasoning_tokens=max(0, min(reasoning, output)),  # at resellers there is more of it than of the whole
        web_searches=searches(usage, row),
    )


def searches(usage: dict[str, Any], row: dict[str, Any]) -> int:
    """What is billed by the search; opening a page is not."""
    if ENDPOINTS[row["endpoint"]] == "chat":
        details = usage.get("server_tool_use_details") or {}
        xiaomi = usage.get("web_search_usage") or {}
        return details.get("web_search_requests") or xiaomi.get("tool_usage") or 0
    actions = [item.get("action") for item in output_of(row) if item["type"] == "web_search_call"]
    return sum(not isinstance(action, dict) or action.get("type", "search") == "search" for action in actions)


def reported_cost(row: dict[str, Any]) -> Decimal | None:
    """Dollars as the vendor has them, None where it says nothing or where its word is not the bill."""
    usage = reported(row)
    if not DIALECTS[dialect_of(row)].states_cost:
        return None
    if usage.get("cost_in_usd_ticks"):
        return Decimal(usage["cost_in_usd_ticks"]) * Decimal("1e-10")
    beside = [event["cost"] for event in documents(row) if event.get("cost") is not None]  # Venice
    cost = usage.get("cost", beside[-1] if beside else None)
    if isinstance(cost, dict):  # Perplexity, Venice
        cost = cost.get("total_cost", cost.get("usd"))
    if cost is not None and usage.get("is_byok"):
        cost += usage["cost_details"]["upstream_inference_cost"]
    return None if cost is None else Decimal(cost)


AGENTIC: Final = re.compile(r'"model": ?"[^"]*(?:compound|-search-preview)|"executed_tools":')
FEES: Final = ("file_search_call", "code_interpreter_call", "image_generation_call")


def is_unknown(row: dict[str, Any]) -> bool:
    """Whether nobody can tell what the answer costs: tokens or fees of no known price, or counts that are not there."""
    usage, expect = reported(row), row["expect"]
    if reported_cost(row) is not None:
        return False
    prompt = usage.get("prompt_tokens", usage.get("input_tokens"))
    output = usage.get("completion_tokens", usage.get("output_tokens"))
    if not prompt or output is None or min(prompt, output) < 0:
        return True
    answered = expect["text"] or expect["reasoning"] or expect["tool_calls"]
    details = [value for name, value in usage.items() if name.endswith("_details") and isinstance(value, dict)]
    prompts = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    other = sum(detail.get("audio_tokens") or 0 for detail in details)
    other += sum(detail.get("image_tokens") or 0 for detail in details if detail is not prompts)
    hidden = usage.get("total_tokens", 0) - counts(usage, row).prompt_tokens - counts(usage, row).output_tokens
    items = [item["type"] for item in output_of(row)] if ENDPOINTS[row["endpoint"]] == "responses" else []
    agentic = AGENTIC.search(row["response_body"]) is not None
    return bool((answered and not output) or other or hidden > 0 or agentic or set(items) & {*FEES})


def called(calls: list[tuple[str, str, str]], *, own_ids: bool) -> list[tuple[str, str, Any]]:
    """Tool calls to be compared. own_ids: the vendor gave none, so we make them up."""
    return [("" if own_ids else id_, name, meant(arguments)) for id_, name, arguments in calls]


def meant(arguments: str) -> Any:
    """What the text is; the text itself if it is none: the model's mistake."""
    try:
        return msgspec.json.decode(arguments or "{}") or {}  # Groq's `null` is nothing
    except msgspec.DecodeError:
        return arguments


def found(row: dict[str, Any], size: int) -> dict[str, Any]:
    """What we read."""
    body = row["response_body"].encode()
    chunks = read_openai(cut(body, size), dialect_of(row), ENDPOINTS[row["endpoint"]])
    usage = usage_of(chunks)
    calls, stop = calls_of(chunks), stop_of(chunks)
    assert (stop.reason == "tool_calls") == bool(calls)
    assert len({call.id for call in calls} - {""}) == len(calls)
    return {
        "text": text_of(chunks),
        "reasoning": reasoning_of(chunks),
        "calls": called([(call.id, call.name, call.arguments) for call in calls], own_ids=has_no_ids(row)),
        "stop": stop.raw_reason,
        "usage": usage if usage.cost is not None else None,
    }


def has_no_ids(row: dict[str, Any]) -> bool:
    """Google's calls may have empty ids, and a function call of old has none."""
    return "function_call" in row["expect"] or any(not call["id"] for call in row["expect"]["tool_calls"])


# Work that waits for the client and is no function: the parser passed over it, or read its free text as JSON.
CLIENT_WORK: Final = {
    "d4da551d6044e321": [("call_aGiFQkRWSWAIsMQ19fKqxUgb", "code_exec", '{"input":"print(\\"hello world\\")"}')],
    "0b6323c50c9f657e": [("call_ls_001", "local_shell", '{"action":{"type":"exec","command":["ls","-la"]}}')],
    "edb534539678355f": [
        (
            "call_zw3...",
            "computer",
            '{"action":{"type":"click","button":"left","x":156,"y":50},"pending_safety_checks":[]}',
        )
    ],
}


def expected(row: dict[str, Any]) -> dict[str, Any]:
    """What the parser read, in our words."""
    expect = row["expect"]
    calls = [(call["id"], call["name"], call["arguments"]) for call in expect["tool_calls"]]
    if "function_call" in expect:  # what came before tool calls
        calls.append(("", expect["function_call"]["name"], expect["function_call"]["arguments"]))
    calls = CLIENT_WORK.get(row["id"], calls)
    stop = ending_of(row)
    if stop in ("length", "max_output_tokens") and calls and not is_object(calls[-1][2]):
        del calls[-1]  # the limit has cut it off, though it may parse: without arguments
    usage = counts(reported(row), row)
    cost = reported_cost(row)
    if cost is None and tier_of(row) in (None, "auto", "default", "standard", "on_demand"):
        cost = calculate_cost(usage, PRICED, on=DAY)  # the prices know no other tier
    reasoning, text = untagged(expect["text"]) if ENDPOINTS[row["endpoint"]] == "chat" else ("", expect["text"])
    return {
        "text": text + (expect.get("refusal") or ""),
        "reasoning": reasoning + (expect["reasoning"] or ""),
        "calls": called(calls, own_ids=has_no_ids(row)),
        "stop": stop,
        "usage": None if cost is None or is_unknown(row) else msgspec.structs.replace(usage, known_cost=cost),
    }


def ending_of(row: dict[str, Any]) -> str | None:
    """The word for the end; where a gateway says two, the one that tells of a limit."""
    stop: str | None = row["expect"]["stop_reason"]
    if stop == "incomplete":
        incomplete: str | None = row["expect"]["incomplete_reason"]
        return incomplete or stop
    choices = [choice for event in documents(row) for choice in event.get("choices") or []]
    native: list[str] = [choice["native_finish_reason"] for choice in choices if choice.get("native_finish_reason")]
    limit = [word for word in native if word in ("length", "max_output_tokens")]
    return limit[-1] if stop == "tool_calls" and limit else stop


def tier_of(row: dict[str, Any]) -> str | None:
    """The service tier that the answer names last."""
    events = [event.get("response", event) for event in documents(row)]
    tiers = [(event.get("usage") or {}).get("service_tier") or event.get("service_tier") for event in events]
    last: str | None = ([tier for tier in tiers if tier] or [None])[-1]
    return last


def is_object(arguments: str) -> bool:
    """Whether a call's arguments are the JSON text of an object."""
    try:
        return isinstance(msgspec.json.decode(arguments), dict)
    except msgspec.DecodeError:
        return False


def check(row: dict[str, Any], *sizes: int) -> None:
    for size in sizes:
        mine, theirs = found(row, size), expected(row)
        if row["id"] == "3ea9f9ab6979e457":
            assert mine.pop("reasoning").startswith("**Finding Ruby version**")
            assert theirs.pop("reasoning") == ""
        assert mine == theirs, (row["id"], size, EXCEPTIONS.get(row["id"]))


def test_the_guide_says_how_many_there_are(corpus: list[dict[str, Any]]) -> None:
    """Of each vendor, in the table of its page, so that it says what a row was tested with."""
    claude = [row for row in corpus if row["endpoint"] == "/v1/messages"]
    counted = Counter(dialect_of(row) for row in corpus if row["endpoint"] in ENDPOINTS)
    counted["anthropic"] += len(claude)
    lines = re.findall(r"^\| `([a-z-]+)`.* \| ([\d-]+) \|$", (GUIDE / "vendors.md").read_text(), re.MULTILINE)
    assert {name: number.replace("-", "0") for name, number in lines} == {name: str(counted[name]) for name in DIALECTS}


@pytest.mark.parametrize(("wire", "number"), [("chat", 1017), ("responses", 195)])
def test_every_stream_reads_as_the_independent_parser_read_it(
    corpus: list[dict[str, Any]], wire: Wire, number: int
) -> None:
    """Text, reasoning, calls, usage, cost and finish reason of all streams, whole and in small pieces."""
    assert len(recorded(corpus, wire, sse=True)) == number
    for row in answers(corpus, wire, sse=True):
        size = len(row["response_body"].encode())
        check(row, size, 7 if size < 5_000 else 61 if size < 50_000 else 997)


@pytest.mark.parametrize(("wire", "number"), [("chat", 1268), ("responses", 282)])
def test_every_whole_answer_reads_the_same_way(corpus: list[dict[str, Any]], wire: Wire, number: int) -> None:
    """An answer in one JSON document gives the same chunks, so that a server may ignore `stream`."""
    assert len(recorded(corpus, wire, sse=False)) == number
    for row in answers(corpus, wire, sse=False):
        check(row, len(row["response_body"].encode()))


def test_every_cost_that_a_vendor_reports_is_the_cost(corpus: list[dict[str, Any]]) -> None:
    """To the last digit, of all that report one; and no price is needed for it."""
    number = 0
    for row in corpus:
        if ENDPOINTS.get(row["endpoint"]) is None or row["status"] != 200 or row["id"] in (*FAILURES, *BROKEN_CALLS):
            continue
        cost = reported_cost(row)
        if cost is not None:
            number += 1
            body = row["response_body"].encode()
            assert usage_of(read_openai([body], dialect_of(row), ENDPOINTS[row["endpoint"]])).cost == cost, row["id"]
    assert number == 495


def test_every_failure_with_status_200_has_its_class(corpus: list[dict[str, Any]]) -> None:
    """Inside a stream, in place of the whole answer, or no answer at all; in pieces of any size."""
    rows = [row for row in corpus if row["id"] in FAILURES]
    assert len(rows) == len(FAILURES)
    for row in rows:
        body = row["response_body"].encode()
        for size in (len(body), 61, 7):
            _, error = attempt_openai(cut(body, size), dialect_of(row), ENDPOINTS[row["endpoint"]])
            assert type(error) is FAILURES[row["id"]], (row["id"], size)
            assert error.status is None


def test_every_error_that_is_a_call_comes_as_one(corpus: list[dict[str, Any]]) -> None:
    """With what the model wrote, so that it can be told."""
    rows = [row for row in corpus if row["id"] in BROKEN_CALLS]
    assert len(rows) == len(BROKEN_CALLS)
    for row in rows:
        body = row["response_body"].encode()
        for size in (len(body), 61, 7):
            chunks = read_openai(cut(body, size), "groq")
            (call,) = calls_of(chunks)
            name, arguments, why = BROKEN_CALLS[row["id"]]
            assert (call.name, json.loads(call.arguments)) == (name, arguments)
            assert why in (call.problem or "")
            assert (stop_of(chunks).reason, stop_of(chunks).raw_reason) == ("tool_calls", "tool_use_failed")
            assert reasoning_of(chunks) == (row["expect"]["reasoning"] or "")


def ends(row: dict[str, Any]) -> int:
    """Where the first thing stands that says the message is complete."""
    body: str = row["response_body"]
    last = ("data: [DONE]", '"type":"response.completed"', '"type":"response.incomplete"', "output limit was reached")
    places = [body.find(word) for word in last]
    for line in re.finditer(r"^data:\s*(\{.*)$", body, re.MULTILINE):
        choices = json.loads(line[1]).get("choices") or [{}]
        if choices[0].get("finish_reason"):
            places.append(line.start())
            break
    return min(found for found in places if found >= 0)


@pytest.mark.parametrize("wire", ["chat", "responses"])
def test_every_cut_off_stream_is_an_error(corpus: list[dict[str, Any]], wire: Wire) -> None:
    """Without a finish reason and `[DONE]`, or without its last event, no recorded stream ends normally."""
    for row in answers(corpus, wire, sse=True):
        body = row["response_body"][: ends(row)].encode()
        with pytest.raises(ProviderError):
            read_openai([body], dialect_of(row), wire)


def argument_events(row: dict[str, Any], wire: Wire) -> Iterator[bool]:
    """For each event, whether a piece of the last call's arguments is in it."""
    for event in documents(row):
        if wire == "responses":
            yield event.get("type") == "response.function_call_arguments.delta" and bool(event["delta"].strip())
            continue
        deltas = [choice.get("delta") or {} for choice in event.get("choices") or []]
        pieces = [piece for delta in deltas for piece in delta.get("tool_calls") or []]
        yield any((piece["function"].get("arguments") or "").strip() for piece in pieces)


@pytest.mark.parametrize(("wire", "number"), [("chat", 363), ("responses", 54)])
def test_no_cut_inside_a_call_delivers_it(corpus: list[dict[str, Any]], wire: Wire, number: int) -> None:
    """Before the last piece of its arguments is there, the last call of a stream is never out."""
    checked = 0
    for row in answers(corpus, wire, sse=True):
        has_piece = list(argument_events(row, wire))
        if True not in has_piece:
            continue
        checked += 1
        last = len(has_piece) - 1 - has_piece[::-1].index(True)
        reader = openai_reader(dialect_of(row), wire)
        calls: list[ToolCallChunk] = []
        for number_, event in enumerate(documents(row)):
            if number_ == last:
                break
            data = json.dumps(event, default=float).encode()
            calls += (chunk for chunk in reader.feed(b"data: " + data + b"\n\n") if isinstance(chunk, ToolCallChunk))
        with suppress(StreamInterruptedError):  # not where a finish reason came before the last call
            calls += (chunk for chunk in reader.close() if isinstance(chunk, ToolCallChunk))
        assert len(calls) < len(row["expect"]["tool_calls"]), row["id"]
    assert checked == number


def test_what_has_no_neutral_form_comes_back_as_it_was(corpus: list[dict[str, Any]]) -> None:
    """Items of the Responses API: all but plain messages and calls, in their order."""
    number = 0
    for row in (row for sse in (True, False) for row in answers(corpus, "responses", sse=sse)):
        chunks = read_openai([row["response_body"].encode()], dialect_of(row), "responses")
        kept = [chunk.data for chunk in chunks if isinstance(chunk, OpaqueChunk)]
        proofs = [chunk.proof for chunk in chunks if isinstance(chunk, ReasoningChunk) and chunk.proof]
        items = output_of(row)
        assert [json.loads(data, parse_float=Decimal) for data in kept] == [item for item in items if is_opaque(item)]
        thoughts = [item for item in items if item["type"] == "reasoning"]
        assert [json.loads(proof, parse_float=Decimal) for proof in proofs] == [
            item for item in thoughts if item.get("encrypted_content") or item.get("content")
        ]
        number += len(kept) + len(proofs)
    assert number == 283


def is_opaque(item: dict[str, Any]) -> bool:
    if item["type"] == "message":  # with a phase, or with citations
        return item.get("phase") is not None or any(part.get("annotations") for part in item["content"])
    return item["type"] not in ("reasoning", "function_call", *CLIENT_CALLS)


def test_reasoning_details_come_back_as_one_list(corpus: list[dict[str, Any]]) -> None:
    """Of all that have them."""
    number = 0
    for row in (row for sse in (True, False) for row in answers(corpus, "chat", sse=sse)):
        details = details_of(row)
        if not details or row["provider"] != "openrouter":
            continue
        chunks = read_openai([row["response_body"].encode()], "openrouter")
        (proof,) = [chunk for chunk in chunks if isinstance(chunk, ReasoningChunk) and chunk.proof]
        assert json.loads(proof.proof or "") == details, row["id"]
        assert proof.vendor == "openrouter"
        assert all(isinstance(chunk, OpaqueChunk | StopChunk) for chunk in chunks[chunks.index(proof) + 1 :])
        number += 1
    assert number == 304


ERRORS: Final[dict[int, type[ProviderError]]] = {
    400: InvalidRequestError,
    401: AuthenticationError,
    402: QuotaExceededError,
    403: PermissionDeniedError,
    404: NotFoundError,
    408: ProviderTimeoutError,
    413: TokenLimitError,
    422: InvalidRequestError,
    429: RateLimitError,
    500: ServerError,
    502: ServerError,
    503: ServerError,
}
# Answers that are something else than their status says, with the numbers that they give.
OTHERS: Final[dict[str, tuple[type[ProviderError], int | None, int | None]]] = {
    "4525f43c1cd12109": (TokenLimitError, 2500021, 200000),  # OpenRouter
    "dc85328b761e20da": (TokenLimitError, 2500021, 200000),
    "60390e21061c114d": (TokenLimitError, 625077, 131072),  # xAI
    "f93b59f72defa5bb": (TokenLimitError, 625078, 131072),
    "c61aab16482e024c": (TokenLimitError, 1250019, 65536),  # DeepSeek
    "df7b2a654060b63a": (TokenLimitError, 1250025, 1048565),
    "d7fa1de839ecd84e": (TokenLimitError, None, None),  # OpenAI on /responses
    "5ec2a0382847026e": (AuthenticationError, None, None),  # xAI
    "0f9c6a914d556f72": (NotFoundError, None, None),  # OpenAI on /responses: model_not_found
    "16648e8f1ba8f511": (InvalidRequestError, None, None),  # other, 500: Cannot use tools with stream
    "10ec712cf4a7afe2": (InvalidRequestError, None, None),  # llamacpp, 500: tools param requires --jinja flag
    "114e3c23773971a0": (NotFoundError, None, None),  # openrouter, 400: bad/model is not a valid model ID
    "12f71985e5e1052b": (NotFoundError, None, None),  # deepseek, 400: Model Not Exist
    "24452edcb1cf82c8": (
        NotFoundError,
        None,
        None,
    ),  # huggingface, 400: The requested model 'bad model' does not exist.
    "29706dc2c615da2c": (
        ProviderTimeoutError,
        None,
        None,
    ),  # alibaba, 400: <400> InternalError.Algo.InvalidParameter: Download
    "397996f123cee48b": (TokenLimitError, None, None),  # llamacpp, 500: Context size has been exceeded.
    "58f93c0d1342a6e5": (
        NotFoundError,
        None,
        None,
    ),  # openai, 400: The requested model 'gpt-nonexistent-model-for-error
    "7b16a0d81a353632": (NotFoundError, None, None),  # groq, 400: The model `qwen-qwq-32b` has been decommissioned and
    "80eb078546bb53db": (
        NotFoundError,
        None,
        None,
    ),  # openai, 400: The requested model 'gpt-nonexistent-model-for-ident
    "80f4d86b08b41a47": (
        ProviderTimeoutError,
        None,
        None,
    ),  # alibaba, 400: <400> InternalError.Algo.InvalidParameter: Download
    "823277397c9051ee": (
        NotFoundError,
        None,
        None,
    ),  # deepseek, 400: The supported API model names are deepseek-v4-pro or
    "8974eb02b5c6cd94": (NotFoundError, None, None),  # groq, 400: The model `mistral-saba-24b` has been decommissioned
    "8c24ee36c57e682c": (AuthenticationError, None, None),  # baseten, 403: please check the api-key you provided
    "a15d8d715de1f2d5": (NotFoundError, None, None),  # groq, 400: The model `llama3-70b-8192` has been decommissioned
    "acf255259e360f93": (InvalidRequestError, None, None),  # llamacpp, 500: Cannot use both json_schema and grammar
    "aed3de17a5b14dc3": (NotFoundError, None, None),  # openai, 400: The requested model 'o1-mini' is not supported with
    "bb8a895fc80f90a6": (
        NotFoundError,
        None,
        None,
    ),  # openai, 400: The requested model 'gpt-4o-mini-nonexistent-rig-tes
    "df81f2b85098653f": (
        NotFoundError,
        None,
        None,
    ),  # perplexity, 400: Invalid model 'bad model'. Permitted models can be f
}


@pytest.mark.parametrize(("wire", "number"), [("chat", 159), ("responses", 18)])
def test_every_error_has_its_class(corpus: list[dict[str, Any]], wire: Wire, number: int) -> None:
    """Status first, then codes, then words: all error answers."""
    rows = [row for row in corpus if ENDPOINTS.get(row["endpoint"]) == wire and row["status"] != 200]
    assert len(rows) == number
    for row in rows:
        headers = row["response_headers"] or {}
        faults = DIALECTS[dialect_of(row)].request_faults
        error = response_error(row["status"], headers, row["response_body"].encode(), faults)
        kind, tokens, limit = OTHERS.get(row["id"], (ERRORS[row["status"]], None, None))
        assert type(error) is kind, row["id"]
        assert error.status == row["status"]
        assert error.request_id == headers.get("x-request-id", error.request_id)
        if isinstance(error, TokenLimitError):
            assert (error.tokens, error.limit) == (tokens, limit), row["id"]
