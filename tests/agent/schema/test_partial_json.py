"""JSON that is still coming: what is shown of it is true, and only grows."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from penstock.agent.schema.partial_json import PartialJSON

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
TREES = st.recursive(
    LEAVES | st.text(alphabet='019eE.+-,: \\"\u00e9\N{GRINNING FACE}'),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)
DOCUMENTS = st.lists(TREES, max_size=4) | st.dictionaries(st.text(max_size=5), TREES, max_size=4)


def read(text: str) -> object:
    """What is shown of a text that comes at once."""
    return PartialJSON().feed(text)


def grew(before: Any, after: Any) -> bool:
    """Whether *after* is *before* or more of it: text and what holds other values may go on, nothing else."""
    if type(before) is not type(after):
        return False
    if isinstance(before, str):
        return str(after).startswith(before)
    if isinstance(before, list):
        return len(before) <= len(after) and all(map(grew, before, after))
    if isinstance(before, dict):
        return list(before) == list(after)[: len(before)] and all(grew(before[key], after[key]) for key in before)
    return bool(before == after)


@settings(deadline=None)
@given(DOCUMENTS, st.data())
def test_what_is_shown_only_grows(document: Any, data: st.DataObject) -> None:
    """Any document, in any form, cut anywhere: the beginning of the next, and at last the whole; nothing twice."""
    text = json.dumps(document, ensure_ascii=data.draw(st.booleans()), indent=data.draw(st.sampled_from([None, 1])))
    parser, shown = PartialJSON(), []
    place = 0
    while place < len(text):
        end = data.draw(st.integers(place + 1, min(len(text), place + 6)))
        if (value := parser.feed(text[place:end])) is not UNSET:
            shown.append(value)
        place = end
    assert all(grew(before, after) and before != after for before, after in pairwise(shown))
    assert shown[-1] == document


@settings(deadline=None)
@given(DOCUMENTS)
def test_where_it_is_cut_makes_no_difference(document: Any) -> None:
    """One piece or many: the same value."""
    text = json.dumps(document)
    parser = PartialJSON()
    shown: object = UNSET
    for end, character in enumerate(text, 1):
        if (value := parser.feed(character)) is not UNSET:
            shown = value
        assert shown == read(text[:end])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("{", {}, id="an object begins"),
        pytest.param('{"a', {}, id="a key begins"),
        pytest.param('{"a"', {}, id="a key without a value"),
        pytest.param('{"a":', {}, id="a colon without a value"),
        pytest.param('{"a": "', {"a": ""}, id="a string begins"),
        pytest.param('{"a": "b', {"a": "b"}, id="a string goes on"),
        pytest.param('{"a": "b 12', {"a": "b 12"}, id="a string with a number"),
        pytest.param('{"a": "b, 12', {"a": "b, "}, id="what looks like a number waits for the next piece"),
        pytest.param('{"a": "b, 12"', {"a": "b, 12"}, id="or for the end of its string"),
        pytest.param('{"a": 12', {}, id="a number that may go on"),
        pytest.param('{"a": -1.5e+3', {}, id="a float that may go on"),
        pytest.param('{"a": 12,', {"a": 12}, id="a whole number"),
        pytest.param('{"a": -1.5e3}', {"a": -1500.0}, id="a float"),
        pytest.param('{"a": tru', {}, id="a literal that goes on"),
        pytest.param('{"a": true ', {"a": True}, id="a whole literal"),
        pytest.param('["\\', [""], id="an escape begins"),
        pytest.param('["a\\u00e', ["a"], id="a long escape goes on"),
        pytest.param('["\\ud83d', [""], id="half of a pair"),
        pytest.param('["\\ud83d\\ude0a', ["\N{SMILING FACE WITH SMILING EYES}"], id="a pair"),
        pytest.param('["\\n\\"\\/', ['\n"/'], id="short escapes"),
        pytest.param('[[1, 2], [3, "a', [[1, 2], [3, "a"]], id="lists in a list"),
        pytest.param('{"a": {"b": [{"c": nu', {"a": {"b": [{}]}}, id="deep"),
        pytest.param('{"a": 1} and more', {"a": 1}, id="something after the end"),
    ],
)
def test_what_is_shown(text: str, value: object) -> None:
    """Of text that is cut there."""
    assert read(text) == value


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('{"a": 1]', id="a wrong end"),
        pytest.param("[1}", id="another"),
        pytest.param("[1 2", id="no comma"),
        pytest.param("[1,]", id="a comma too many"),
        pytest.param('{"a": 1,}', id="in an object"),
        pytest.param('{"a" 1', id="no colon"),
        pytest.param("{1: 2}", id="a key that is no string"),
        pytest.param("[01]", id="a leading zero"),
        pytest.param("[NaN]", id="NaN"),
        pytest.param("[truth]", id="a word"),
        pytest.param('["\\x', id="an unknown escape"),
        pytest.param('["\\ude00', id="the second half of a pair"),
        pytest.param('["\\ud83d\\u0041', id="no second half"),
        pytest.param('["\\u00g', id="no hexadecimal digit"),
        pytest.param('["a\nb', id="a line's end in a string"),
        pytest.param("{} {", id="something after the end"),
        pytest.param("'a'", id="another quote"),
        pytest.param(f"[{'9' * 5000}]", id="more digits than Python reads"),
        pytest.param("[" * 201, id="deeper than jiter reads"),
    ],
)
def test_what_is_no_json_is_the_end(text: str) -> None:
    """What was there is what was shown; nothing more is."""
    parser = PartialJSON()
    for character in text:
        parser.feed(character)
    assert [parser.feed(piece) for piece in (' "', 'more"', "]", "}", ' {"a"', ": 1}")] == [UNSET] * 6


def test_each_value_is_its_own() -> None:
    """Who changes one changes no other."""
    parser = PartialJSON()
    before: Any = parser.feed('{"a": [1, 2], "b": [3, ')
    before["a"].clear()
    assert parser.feed('4], "c": "d') == {"a": [1, 2], "b": [3, 4], "c": "d"}


def test_a_short_text_is_read_for_every_piece_and_a_long_one_for_each_part_of_it() -> None:
    """So what is read again in all is linear in the text."""
    parser, shown, size = PartialJSON(), [], 0
    for number in range(100_000):
        piece = f"{number}," if number else "[0,"
        size += len(piece)
        if parser.feed(piece) is not UNSET:
            shown.append((number, size))
    assert [number for number, _ in shown[:1000]] == list(range(1000))
    assert 1000 < len(shown) < 3000
    assert sum(size for _, size in shown) <= 2**23 + 64 * size
    steps = [after / before for (_, before), (_, after) in pairwise(shown[1000:])]
    assert max(steps) < 1 + 1 / 32
