"""How far estimates of prompts are from what recorded calls were billed for: `python tests/support/count_errors.py`.

Constants were fitted on the calls whose id's checksum is odd; the tables are of the others, the bounds of all.
"""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from statistics import median, quantiles

import msgspec

from counted import Counted, counted, rows
from penstock import ImagePart, Message, TextPart, ToolCallPart, ToolResultPart


def naive(one: Counted) -> int:
    """A quarter of the bytes, as it was before."""
    return len(msgspec.json.encode((one.system, one.messages, one.options.tools))) // 4


def pairs(calls: Sequence[Counted]) -> Iterator[tuple[Counted, Counted]]:
    """Two calls of one model, the second's history being the first's and more."""
    models = defaultdict(list)
    for one in calls:
        models[one.vendor, one.wire, one.model].append((msgspec.json.encode(one.messages)[:-1], one))
    for group in models.values():
        for start, first in group:
            yield from ((first, one) for text, one in group if len(text) > len(start) and text.startswith(start))


def later(first: Counted, second: Counted) -> tuple[int, int | None, int]:
    """The estimate of the second call and its bounds, after the first was reported."""
    memory = second.memory()
    memory.remember(first.system, first.messages, first.options, first.usage)
    return (
        memory.estimate(second.system, second.messages, second.options),
        memory.upper_bound(second.system, second.messages, second.options),
        memory.lower_bound(second.system, second.messages, second.options),
    )


def kind(one: Counted) -> str:
    """The kind of most of a prompt's text."""
    lengths: Counter[str] = Counter()
    for text in texts(one.messages):
        lengths[kind_of(text)] += len(text)
    lengths["prose"] += len(one.system)
    lengths["tools"] += len(msgspec.json.encode(one.options.tools)) if one.options.tools else 0
    if any(isinstance(part, ImagePart) for message in one.messages for part in message.content):
        return "images"
    return lengths.most_common(1)[0][0]


def texts(messages: Sequence[Message]) -> Iterator[str]:
    """All text that is said, called and given."""
    for message in messages:
        for part in [TextPart(message.content)] if isinstance(message.content, str) else message.content:
            if isinstance(part, TextPart):
                yield part.text
            elif isinstance(part, ToolCallPart):
                yield part.arguments
            elif isinstance(part, ToolResultPart):
                yield from (
                    [part.content]
                    if isinstance(part.content, str)
                    else (each.text for each in part.content if isinstance(each, TextPart))
                )


def kind_of(text: str) -> str:
    """Prose, code, JSON, digits, base64, Chinese, Russian, or the like of one of them."""
    size = max(len(text), 1)
    if sum("\u3000" < char < "\uffff" for char in text) * 5 > size:
        return "CJK"
    if sum("\u0400" <= char < "\u0500" for char in text) * 3 > size:
        return "Cyrillic"
    if text.lstrip()[:1] in ("{", "[") and '"' in text:
        return "JSON"
    if sum(char.isdigit() for char in text) * 3 > size:
        return "digits"
    if size > 60 and max(map(len, text.split()), default=0) > 0.8 * size:
        return "base64"
    marks = sum(char in "{}()[];=<>_" for char in text)
    return "code" if marks * 15 > size else "prose"


def line(name: str, found: Sequence[Sequence[float]]) -> str:
    """Errors before and after, as median and 90th percentile in percent."""
    columns = []
    for errors in zip(*found, strict=True):
        ninety = quantiles(errors, n=10)[-1] if len(errors) > 1 else errors[0]
        columns.append(f"{100 * median(errors):10.1f} {100 * ninety:7.1f}")
    return f"{name:<12}{len(found):6}{''.join(columns)}"


def table(title: str, found: Sequence[tuple[str, int, int, int]]) -> None:
    """The errors of (kind, truth, before, after), by kind."""
    print(f"\n{title}, error in percent\n{'':<12}{'':>6}{'bytes / 4':>18}{'estimate':>18}")
    print(f"{'':<12}{'calls':>6}{'median     90%':>18}{'median     90%':>18}")
    for name in [*sorted({name for name, *_ in found}), "all"]:
        errors = [(abs(a - t) / t, abs(b - t) / t) for k, t, a, b in found if name in (k, "all")]
        if errors:
            print(line(name, errors))


def is_held_out(one: Counted) -> bool:
    """Whether nothing was fitted on it."""
    return not zlib.crc32(one.id.encode()) % 2


def bounds(title: str, found: Sequence[tuple[Counted, int | None, int]]) -> None:
    """How close the bounds come to the truth: the least margins, and how far above in the median."""
    above = sorted((most / one.prompt, one.id, one.prompt) for one, most, _ in found if most is not None)
    below = sorted((least / one.prompt, one.id, one.prompt) for one, _, least in found)
    wide = [ratio for ratio, _, tokens in above if tokens > 500]
    print(f"\n{title}: {len(found)} calls, {len(found) - len(above)} without an upper bound")
    print(f"upper: {sum(each[0] < 1 for each in above)} below the truth, the lowest {above[0][0]:.2f} times")
    print(f"    median {median(each[0] for each in above):.2f} times, of prompts over 500 tokens {median(wide):.2f}")
    print(f"lower: {sum(each[0] > 1 for each in below)} above the truth, the highest {below[-1][0]:.2f} times")
    print(f"    median {median(each[0] for each in below):.2f} times")


def main() -> None:
    """Print it all."""
    calls = counted(rows())
    first: list[tuple[Counted, int, int | None, int]] = []
    for one in calls:
        given, memory = (one.system, one.messages, one.options), one.memory()
        first.append((one, memory.estimate(*given), memory.upper_bound(*given), memory.lower_bound(*given)))
    said = [(kind(one), one.prompt, naive(one), guess) for one, guess, most, _ in first if most and is_held_out(one)]
    table("First calls, of those that nothing was fitted on", said)
    table("The same, over 500 tokens", [each for each in said if each[1] > 500])
    after = [(one, before, *later(before, one)) for before, one in pairs(calls)]
    known = [(one, before, guess) for one, before, guess, most, _ in after if most and is_open(before)]
    for title, wanted in (("Later calls", known), ("Those with the same tools", list(filter(same_head, known)))):
        found = [(kind(one), one.prompt, naive(one), guess) for one, _, guess in wanted]
        table(title, found)
        table(f"{title}, over 500 tokens", [each for each in found if each[1] > 500])
    bounds("Bounds of first calls", [(one, most, least) for one, _, most, least in first])
    bounds("Bounds of later calls", [(one, most, least) for one, _, _, most, least in after])


def is_open(one: Counted) -> bool:
    """Whether the vendor looked nothing up by itself, so that its report is of the prompt alone."""
    return one.memory().upper_bound(one.system, [], one.options) is not None


def same_head(case: tuple[Counted, Counted, int]) -> bool:
    """Whether system prompt and tools are those of the first call."""
    one, before, _ = case
    return one.system == before.system and one.options.tools == before.options.tools


if __name__ == "__main__":
    main()
