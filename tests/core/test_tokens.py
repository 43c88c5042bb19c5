"""How many tokens a prompt has: by kind of text, by what was reported, and against what recorded calls were billed."""

from __future__ import annotations

import base64
import random
import struct
import threading
from collections.abc import Sequence
from statistics import median, quantiles
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import count_errors
from counted import counted
from penstock import (
    DocumentPart,
    ImagePart,
    Message,
    OpaquePart,
    Options,
    ReasoningPart,
    TextPart,
    TokenCount,
    Tool,
    ToolCallPart,
    ToolResultPart,
    UsageChunk,
    estimate_tokens,
)
from penstock.core import recent
from penstock.core.prompt_sizes import Sizes
from penstock.core.text_tokens import image_pixels, pdf_pages, text_tokens
from penstock.core.tokens import TokenMemory
from penstock.testing import ScriptedProvider
from penstock.wire.vendors import DIALECTS

NOISE = random.Random(7)
PROSE = "The penstock brings the water to the turbine, and what flows is metered. "
PYTHON = "def meter(flow: float) -> int:\n    return round(flow * 1_000)  # litres a second\n\n\n"
JSON = '{"id": 17, "name": "penstock", "tags": ["water", "steel"], "flow": {"litres": 1250.5, "open": true}}'
# Texts, and the tokens that o200k_base makes of them, measured on 2026-11-30.
TEXTS: dict[str, tuple[str, int]] = {
    "prose": (PROSE * 20, 341),
    "code": (PYTHON * 10, 250),
    "JSON": (JSON * 10, 400),
    "digits": ("".join(NOISE.choices("0123456789", k=1200)), 400),
    "numbers": (" ".join(str(NOISE.randrange(10**6)) for _ in range(200)), 599),
    "base64": (base64.b64encode(NOISE.randbytes(900)).decode(), 814),
    "hexadecimal": (NOISE.randbytes(600).hex(), 709),
    "Chinese": ("水从水库流入管道，推动水轮机发电，然后回到河里。每一升水都要计量。" * 10, 300),
    "Russian": ("Вода течёт из водохранилища по трубе к турбине, и каждый литр измеряется. " * 10, 251),
    "German": ("Das Wasser fließt durch das Druckrohr zur Turbine, und jeder Liter wird gemessen. " * 10, 211),
    "Japanese": ("水は水圧管を通ってタービンに流れ、一リットルごとに計測されます。" * 10, 270),
}


@pytest.mark.parametrize(("text", "true"), TEXTS.values(), ids=TEXTS)
def test_a_text_by_its_kind(text: str, true: int) -> None:
    """Within a third of what OpenAI's tokenizer makes of it; base64 has 2.7 times the tokens that its bytes / 4 say."""
    guess, length = text_tokens(text)
    assert abs(guess - true) <= true / 3, guess
    assert length == len(text.encode())


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height) + b"rest"


IMAGES = {
    "png": png(640, 480),
    "gif": b"GIF89a" + struct.pack("<HH", 640, 480),
    "jpeg": b"\xff\xd8\xff\xe0\0\x04ab\xff\xc0\0\x11\x08" + struct.pack(">HH", 480, 640) + b"rest",
    "webp": b"RIFF----WEBPVP8 " + bytes(10) + struct.pack("<HH", 640, 480),
    "webp, extended": b"RIFF----WEBPVP8X" + bytes(8) + struct.pack("<I", 639)[:3] + struct.pack("<I", 479)[:3],
    "webp, without loss": b"RIFF----WEBPVP8L" + bytes(5) + struct.pack("<I", 639 | 479 << 14) + bytes(9),
}


@pytest.mark.parametrize("data", IMAGES.values(), ids=IMAGES)
def test_an_image_by_its_header(data: bytes) -> None:
    """Of each type that the wires take; half a file says nothing, and breaks nothing."""
    part = ImagePart(data=data, media_type="image/png")
    assert image_pixels(part) == (640, 480)
    for end in range(len(data)):
        image_pixels(ImagePart(data=data[:end], media_type="image/png"))


# What was billed for an image of this size, and by which model; recorded.
BILLED = {
    "half a page": ("gpt-4o-mini", 800, 600, 25_501),
    "a dot": ("gpt-4o-mini", 1, 1, 8_500),
    "a small one": ("gpt-4o", 50, 65, 254),
    "another way to count": ("gpt-5", 50, 50, 207),
    "by pixels": ("claude-sonnet-4-5", 166, 282, 68),
    "a large one": ("claude-3-haiku-20240307", 1191, 1128, 1_561),
    "other pixels": ("mistral-large-2512", 330, 291, 143),
}


@pytest.mark.parametrize(("model", "width", "height", "true"), BILLED.values(), ids=BILLED)
def test_an_image_by_the_model_that_sees_it(model: str, width: int, height: int, true: int) -> None:
    """Within an eighth of what was billed."""
    part = ImagePart(data=png(width, height), media_type="image/png")
    sizes = Sizes(model)
    guess = sizes.of([Message("user", [part])]).guess - sizes.of([Message("user", [])]).guess
    assert abs(guess - true) <= true / 8


def test_a_document_by_its_pages() -> None:
    """As far as they can be seen."""
    data = b"%PDF-1.4 << /Type /Pages /Count 2 >> << /Type /Page >> <</Type/Page/Parent 1 0 R>>"
    assert pdf_pages(DocumentPart(data=data, media_type="application/pdf")) == 2
    assert pdf_pages(DocumentPart(url="https://x")) is None


WORDS = "word " * 100
SIZES: dict[str, tuple[Any, int, int | None]] = {
    "text": (WORDS, 116, 305),
    "texts": ([TextPart(WORDS), TextPart(WORDS)], 229, 595),
    "an image": ([ImagePart(data=png(750, 1000), media_type="image/png")], 1004, 16_400),
    "a large image": ([ImagePart(data=png(9000, 9000), media_type="image/png")], 1604, 16_400),
    "an image somewhere": ([ImagePart(url="https://x")], 644, 16_400),
    "a document somewhere": ([DocumentPart(url="https://x")], 2004, None),
    "a text's document": ([DocumentPart(data=WORDS.encode(), media_type="text/plain")], 116, 305),
    "a tool's result": ([ToolResultPart(id="1", content=WORDS)], 120, 369),
    "its parts": ([ToolResultPart(id="1", content=[TextPart(WORDS)])], 120, 369),
    "a call": ([ToolCallPart(id="1", name="f", arguments='{"a": 1}')], 13, 89),
    "another vendor's reasoning": ([ReasoningPart(text=WORDS, vendor="v"), TextPart("Hi")], 5, 18),
    "reasoning without calls": ([ReasoningPart(text=WORDS, vendor="openai"), TextPart("Hi")], 5, 355),
    "another vendor's block": ([OpaquePart(vendor="v", data="{}", text=WORDS)], 116, 305),
    "a block that only names what is in it": ([OpaquePart(vendor="openai", data='{"file_id": "f"}')], 12, None),
    "nothing": ([], 4, 16),
}


@pytest.mark.parametrize(("content", "guess", "most"), SIZES.values(), ids=SIZES)
def test_the_size_of_a_message(content: Any, guess: int, most: int | None) -> None:
    """Most likely, and at the most."""
    size = Sizes().of([Message("user", content)])
    assert (round(size.guess), None if size.most is None else round(size.most)) == (guess, most)


def test_what_no_provider_takes_is_nothing() -> None:
    """A fair guess, and never an error."""
    memory, wrong = TokenMemory(), None
    cases: Sequence[tuple[Any, Any, Any]] = (
        ("", wrong, None),
        ("", [Message("user", object())], None),  # type: ignore[arg-type]  # it is refused
        ("", [Message("user", [TextPart(None)])], None),  # type: ignore[arg-type]
        ("", [], Options(tools=[object()])),  # type: ignore[list-item]
    )
    for case in cases:
        assert memory.estimate(*case) == 0
        assert memory.upper_bound(*case) is None
        assert memory.lower_bound(*case) == 0
        memory.remember(*case, UsageChunk(input_tokens=5))


ASK = Message("user", "What is in the file?")
CALLED = Message("assistant", [ToolCallPart(id="1", name="read", arguments='{"path": "a.txt"}')])
GIVEN = Message("user", [ToolResultPart(id="1", content=PROSE * 30)])
REPORT = UsageChunk(input_tokens=300, cache_read_tokens=700, output_tokens=60, reasoning_tokens=20)
TOOL = Options(tools=[Tool(name="read", description="Reads a file.")])


def reported(row: str = "anthropic", usage: UsageChunk = REPORT) -> TokenMemory:
    """A memory of one call."""
    memory = TokenMemory("claude-sonnet-4-5", DIALECTS[row])
    memory.remember("Be brief.", [ASK], TOOL, usage)
    return memory


def test_the_same_prompt_has_what_was_reported() -> None:
    """Whoever made it: equal messages are the same."""
    memory = reported()
    again = [Message("user", "What is in the " + "file?")]
    assert memory.estimate("Be brief.", again, TOOL) == 1000
    assert memory.lower_bound("Be brief.", again, TOOL) == 1000
    most = memory.upper_bound("Be brief.", again, TOOL)
    assert most is not None
    assert 1000 <= most < 1100


def test_the_next_prompt_has_that_and_the_answer_and_the_rest() -> None:
    """The answer as it was reported, less its reasoning, which does not come back."""
    memory = reported()
    rest = memory.estimate("Be brief.", [ASK, CALLED, GIVEN], TOOL) - 1000 - 40
    assert 300 < rest < 900
    thought = Message("assistant", [ReasoningPart(text="So", proof="p", vendor="anthropic"), *CALLED.content])
    assert memory.estimate("Be brief.", [ASK, thought, GIVEN], TOOL) == 1000 + 60 + rest, "it does before its calls"
    foreign = Message("assistant", [ReasoningPart(text="So", proof="p", vendor="v"), *CALLED.content])
    assert memory.estimate("Be brief.", [ASK, foreign, GIVEN], TOOL) == 1000 + 40 + rest
    lower = memory.lower_bound("Be brief.", [ASK, CALLED, GIVEN], TOOL)
    upper = memory.upper_bound("Be brief.", [ASK, CALLED, GIVEN], TOOL)
    assert upper is not None
    assert 1000 < lower < 1040 + rest < upper


def test_another_answer_in_its_place_is_measured() -> None:
    """Its count says nothing of that."""
    memory = reported()
    long = Message("assistant", PROSE * 100)
    assert memory.estimate("Be brief.", [ASK, long], TOOL) > 2000


def test_other_tools_or_another_system_prompt_take_the_ratio_alone() -> None:
    """And bounds as of a first call."""
    memory, fresh = reported(), TokenMemory("claude-sonnet-4-5", DIALECTS["anthropic"])
    one, other = (each.estimate("Be verbose.", [ASK], TOOL) for each in (memory, fresh))
    assert other < one <= 2 * other
    assert memory.upper_bound("Be verbose.", [ASK], TOOL) == fresh.upper_bound("Be verbose.", [ASK], TOOL)
    assert memory.lower_bound("", [ASK]) == fresh.lower_bound("", [ASK])


@pytest.mark.parametrize(
    ("options", "usage"),
    [
        pytest.param(TOOL, UsageChunk(output_tokens=3), id="without a prompt"),
        pytest.param(Options(tools=[{"type": "web_search_20250305"}]), REPORT, id="with what was looked up"),
    ],
)
def test_a_report_that_says_nothing_of_the_prompt_is_not_kept(options: Options, usage: UsageChunk) -> None:
    """The estimate stays what it was."""
    memory = TokenMemory("claude-sonnet-4-5", DIALECTS["anthropic"])
    before = memory.estimate("", [ASK], options)
    memory.remember("", [ASK], options, usage)
    assert memory.estimate("", [ASK], options) == before


def test_it_keeps_a_bounded_number_of_beginnings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest, and what is asked for again."""
    monkeypatch.setattr(recent, "_MOST", 10)
    memory = reported()
    for number in range(100):
        memory.remember("", [Message("user", str(number))], None, UsageChunk(input_tokens=number + 500))
        assert memory.estimate("Be brief.", [ASK], TOOL) == 1000
    kept = sum(memory.estimate("", [Message("user", str(number))]) == number + 500 for number in range(100))
    assert 5 <= kept <= 20
    held = memory._reports
    assert len(held._young) <= 10 >= len(held._old)


def test_threads_share_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each reads what it has written itself."""
    monkeypatch.setattr(recent, "_MOST", 500)
    memory = TokenMemory()
    wrong: list[int] = []

    def work(worker: int) -> None:
        for number in range(200):
            history = [Message("user", f"{worker} {number}")]
            memory.remember("", history, None, UsageChunk(input_tokens=number + 99))
            if memory.estimate("", history) != number + 99:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@given(st.lists(st.text(max_size=40), min_size=1, max_size=6), st.integers(1, 6))
def test_a_longer_history_has_no_fewer_tokens(texts: list[str], split: int) -> None:
    """By guess and by bounds; measured at once, or as it grows."""
    history = [Message("user", text) for text in texts]
    grown, whole = TokenMemory(), TokenMemory()
    shorter = history[:split]
    before = [bound("", shorter) for bound in (grown.lower_bound, grown.estimate, grown.upper_bound)]
    after = [bound("", history) for bound in (grown.lower_bound, grown.estimate, grown.upper_bound)]
    assert after == [bound("", history) for bound in (whole.lower_bound, whole.estimate, whole.upper_bound)]
    assert all(a is not None and b is not None and a <= b for a, b in zip(before, after, strict=True))
    assert after[0] <= after[1] <= after[2]  # type: ignore[operator]


def test_the_public_estimate() -> None:
    """Of a usual model, or of a provider's."""
    provider = ScriptedProvider()
    assert estimate_tokens("", [ASK]) == TokenCount(tokens=13, exact=False, source="estimate")
    provider.tokens.remember("", [ASK], None, UsageChunk(input_tokens=77))
    assert estimate_tokens("", [ASK], provider=provider).tokens == 77
    most = estimate_tokens("", [ASK], upper_bound=True)
    assert most is not None
    assert most.tokens > 1000
    assert estimate_tokens("", [ASK], Options(tools=[{"type": "web_search"}]), upper_bound=True) is None


def test_bounds_hold_for_every_recorded_call(corpus: list[dict[str, Any]]) -> None:
    """For first calls, and for those whose history begins with that of another, which was reported."""
    calls = counted(corpus)
    bounded = 0
    for one in calls:
        memory, prompt = one.memory(), (one.system, one.messages, one.options)
        most = memory.upper_bound(*prompt)
        bounded += most is not None
        assert memory.lower_bound(*prompt) <= one.prompt <= (one.prompt if most is None else most), one.id
    assert bounded > 3000
    found = [(one, *count_errors.later(before, one)[1:]) for before, one in count_errors.pairs(calls)]
    for one, most, least in found:
        assert least <= one.prompt <= (one.prompt if most is None else most), one.id
    assert len(found) > 500


def test_later_calls_are_guessed_well(corpus: list[dict[str, Any]]) -> None:
    """Those of more than 500 tokens, with the tools and the system prompt of the call before."""
    errors = [
        abs(count_errors.later(before, one)[0] - one.prompt) / one.prompt
        for before, one in count_errors.pairs(counted(corpus))
        if one.prompt > 500
        and count_errors.is_open(before)
        and count_errors.same_head((one, before, 0))
        and one.memory().upper_bound(one.system, one.messages, one.options) is not None
    ]
    assert len(errors) > 100
    assert median(errors) < 0.015
    assert quantiles(errors, n=10)[-1] < 0.11
