"""Prices every recorded answer whose model the catalogue knows, and lets genai-prices do it too.

`python tests/compare_prices.py` prints how often both say the same and why they do not: how often, our dollars and
theirs in an example. A reason is a rule, of what genai-prices has to be told or cannot know, and counts only if both
sums are then equal to the last digit; else the status is 1. Needs the recorded exchanges beside the checkout.
"""

from __future__ import annotations

import datetime as dt
import gzip
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

sys.path.insert(0, str(Path(__file__).parent / "support"))

from genai_prices import Usage, calc_price, extract_usage

from corpus_openai import documents, output_of
from penstock import Chunk, ModelInfo, ProviderConfig, ProviderError, UsageChunk, format_dollars
from penstock.config.catalog import catalog, known_info
from penstock.core.cost import Meter
from penstock.core.dialect import Dialect, Wire
from penstock.providers.arguments import priced
from penstock.wire.answer_reader import AnswerReader
from penstock.wire.anthropic.answer import AnthropicDecoder
from penstock.wire.vendors import DIALECTS
from places import CORPORA
from reading import DECODERS, usage_of
from recorded_requests import vendor_of

WIRES: Final[dict[str, Wire]] = {"messages": "messages", "completions": "chat", "responses": "responses"}
READERS: Final = {"xai": "x-ai"}  # vendors whose usage genai-prices reads in a way of their own
NAMES: Final = {"xai": "x-ai", "moonshot": "moonshotai", "copilot": "github-copilot"}  # what it calls them
# A quiet hour, a peak hour of DeepSeek's, the same on a Saturday, and a day after the last announced change.
MOMENTS: Final = ("2026-11-24T12:00Z", "2026-11-24T02:00Z", "2026-11-28T02:00Z", "2027-01-04T12:00Z")


class Answer(NamedTuple):
    """One recorded answer, with what is needed to price it."""

    row: dict[str, Any]
    wire: Wire
    dialect: Dialect
    asked: str
    answered: str
    usage: dict[str, Any]  # as the independent parser read it; empty where none is reported

    def info(self, model: str) -> ModelInfo | None:
        """What the catalogue knows of a model."""
        return known_info(self.dialect.name, model, catalog())


class Sum(NamedTuple):
    """Dollars, why they are others than before, and whether more is owed that cannot be known."""

    dollars: Decimal
    reason: str = ""
    is_part: bool = False


def answers() -> Iterator[Answer]:
    """All of status 200."""
    for line in b"".join(gzip.decompress(file.read_bytes()) for file in CORPORA).splitlines():
        row = json.loads(line)
        if (wire := WIRES.get(row["endpoint"].rpartition("/")[2])) and row["status"] == 200:
            asked = (row["request"] or {}).get("model") or row["model"] or ""
            usage = (row["expect"] or {}).get("usage") or (said(row, "x_groq") or {}).get("usage") or {}
            yield Answer(row, wire, DIALECTS[vendor_of(row, wire)], asked, said(row, "model") or asked, usage)


def said(row: dict[str, Any], name: str) -> Any:
    """The last word of the events for this, wherever the wire has it."""
    places = [place for event in documents(row) for place in (event, event.get("response"), event.get("message"))]
    return ([place[name] for place in places if isinstance(place, dict) and place.get(name)] or [None])[-1]


def ours(answer: Answer, at: dt.datetime) -> tuple[UsageChunk, bool]:
    """The bill as what `open_provider` opens would tell it, and whether the answer is whole."""
    config = ProviderConfig(model_id=answer.asked or "unknown", model_info=answer.info(answer.asked))
    model, find_info = priced(config, answer.info, answer.dialect, f"https://{answer.row['host']}")
    meter = Meter(model.info, at, model_id=model.id, find_info=find_info)
    reader = AnswerReader(DECODERS.get(answer.wire, AnthropicDecoder)(meter, answer.dialect))
    body, chunks = answer.row["response_body"].encode(), list[Chunk]()
    with suppress(ProviderError):
        chunks += reader.feed(body)
        chunks += reader.close()
    return usage_of(chunks), reader.done


def price(answer: Answer, model: str, at: dt.datetime, *, usage: Any = None, searches: int = 0, **told: Any) -> Decimal:
    """What genai-prices says. usage: another than the answer's. told: the service tier and the like."""
    vendor, is_messages = answer.dialect.name, answer.wire == "messages"
    reader = READERS.get(vendor, "anthropic" if is_messages else "openai")
    flavor = "default" if is_messages else answer.wire
    counts = extract_usage({"usage": usage or answer.usage}, provider_id=reader, api_flavor=flavor).usage
    counts += Usage(web_searches=searches or None)
    context = {name: word for name, word in told.items() if word}
    vendor = NAMES.get(vendor, vendor)
    found = calc_price(counts, model, provider_id=vendor, genai_request_timestamp=at, price_context=context)
    return Decimal(found.total_price)


def their_model(answer: Answer, at: dt.datetime) -> tuple[str, str]:
    """What genai-prices takes for the model, and why it is not the one that answered."""
    plain = re.sub(r"-\d{4}-\d\d-\d\d$", "", answer.answered)
    for model, reason in (
        (answer.answered, ""),
        (plain, "a dated id that genai-prices does not know has the price of the plain one"),
        (answer.asked, "what answered is known to neither, and has the price of what was asked"),
    ):
        with suppress(LookupError):
            price(answer, model, at)
            return model, reason
    raise LookupError(answer.answered)


def theirs(answer: Answer, info: ModelInfo, at: dt.datetime, *, whole: bool) -> Iterator[Sum]:
    """What genai-prices says by itself, and then with each thing that it is told, or that it cannot be told."""
    usage = answer.usage
    if not usage:
        yield (
            Sum(Decimal(0), "no usage is reported", is_part=True)
            if whole
            else Sum(Decimal(0), "an error, and nothing is billed")
        )
        return
    model, reason = their_model(answer, at)
    yield Sum(price(answer, model, at), reason)
    if answer.dialect.states_cost and "cost_in_usd_ticks" in usage:
        yield Sum(usage["cost_in_usd_ticks"] * Decimal("1e-10"), "the vendor's own statement, which is the bill")
        return
    if info.hours and at.weekday() >= 5:
        at = at.replace(hour=12)
        yield Sum(price(answer, model, at), "no peak on a Saturday or Sunday, which genai-prices does not know")
    told = {"service_tier": said(answer.row, "service_tier"), "speed": usage.get("speed")}
    yield Sum(dollars := price(answer, model, at, **told), "a service tier, which genai-prices has to be told")
    for owed in at_hosts(answer, info, dollars):
        yield owed
        dollars = owed.dollars
    items = output_of(answer.row) if answer.wire == "responses" else []
    searches = sum(map(is_search, items))
    if searches and info.web_search_price is None:
        yield Sum(dollars, "web searches whose price the catalogue does not know", is_part=True)
    elif searches:
        dollars = price(answer, model, at, searches=searches, **told)
        yield Sum(dollars, "web searches, which genai-prices has to be told")
    for part in usage.get("iterations") or ():
        if part["type"] == "compaction":
            dollars += price(answer, model, at, usage=part, **told)
            yield Sum(dollars, "a compaction, which genai-prices does not look at")
        elif part["type"] != "message":
            yield Sum(dollars, f"another model's work ({part['type']})", is_part=True)
    if any(item["type"] in answer.dialect.fee_items for item in items):
        yield Sum(dollars, "a fee that no count shows, for a file search or a program that was run", is_part=True)
    if usage.get("inference_geo") not in (None, "global", "not_available", *info.variants):
        yield Sum(Decimal(0), f"a place without a price ({usage['inference_geo']})", is_part=True)


def at_hosts(answer: Answer, info: ModelInfo, dollars: Decimal) -> Iterator[Sum]:
    """What hosts of open models count and state no price of."""
    cached = (answer.usage.get("prompt_tokens_details") or {}).get("cached_tokens")
    if cached and info.cache_reads_price is None and info.input_price is not None:
        dollars -= cached * info.input_price.scaleb(-6)
        yield Sum(dollars, "tokens from the cache, for which nobody states a price", is_part=True)
    if only_in_total(answer.usage) and not answer.dialect.output_is_rest:
        yield Sum(dollars, "tokens that only the total shows", is_part=True)


def only_in_total(usage: Mapping[str, Any]) -> bool:
    """Whether the total of the chat wire is more than its parts."""
    reasoning = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    parts = usage.get("prompt_tokens", 0) + usage.get("completion_tokens", 0) + reasoning
    return bool(usage.get("prompt_tokens") and usage.get("total_tokens", 0) > parts)


def is_search(item: Mapping[str, Any]) -> bool:
    """Whether an item of the Responses API is a web search; opening a page is none."""
    action = item.get("action")
    kind = action.get("type") if isinstance(action, dict) else None
    return item["type"] == "web_search_call" and kind in (None, "search")


def reason_of(sums: Sequence[Sum]) -> str:
    """All reasons that made a difference."""
    found = [after.reason for before, after in pairwise(sums) if after.is_part or after.dollars != before.dollars]
    return "; ".join(dict.fromkeys(filter(None, (sums[0].reason, *found)))) or "equal"


def main() -> int:
    """The status."""
    found: dict[str, dict[str, str]] = {}
    wrong, others = [], 0
    for answer in answers():
        info = answer.info(answer.answered) or answer.info(answer.asked)
        if info is None or info.input_price is None:
            others += 1
            continue
        for at in map(dt.datetime.fromisoformat, MOMENTS):
            bill, whole = ours(answer, at)
            sums = list(theirs(answer, info, at, whole=whole))
            line = f"{format_dollars(bill):>32} {format_dollars(sums[0].dollars):>14}  {answer.row['id']}"
            found.setdefault(reason_of(sums), {}).setdefault(answer.row["id"], line)
            if (bill.known_cost, bill.cost is None) != (sums[-1].dollars, any(each.is_part for each in sums)):
                wrong.append(f"{line} {answer.answered} at {at}: {reason_of(sums)}; {sums[-1]}")
    print(f"answers {'example: ours':>32} {'genai-prices':>14}  {'id':16}  why they differ, if only at some hours")
    for reason, lines in sorted(found.items(), key=lambda each: -len(each[1])):
        print(f"{len(lines):7} {next(iter(lines.values()))}  {reason}")
    print(f"\n{others} of models without a price in the catalogue; {len(wrong)} without a reason", *wrong, sep="\n")
    return 1 if wrong or not found else 0


if __name__ == "__main__":
    sys.exit(main())
