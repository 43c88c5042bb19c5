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

DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


def read(*pieces: str, end: bool = False) -> object:
    parser = PartialJSON()
    for piece in pieces:
        parser.feed(piece)
    if end:
        parser.close()
    return parser.value()


def grew(before: Any, after: Any) -> bool:
    """Whether *after* is *before* or more of it: text and what holds other values may go on, nothing else."""
    if before is UNSET:
        return True
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
    """Any document, in any form, cut anywhere: the beginning of the next, and at last the whole."""
    text = json.dumps(
        document, ensure_ascii=data.draw(st.booleans()), indent=data.draw(st.sampled_from([None, 1])), sort_keys=False
    )
    parser, shown = PartialJSON(), [UNSET]
    place = 0
    while place < len(text):
        end = data.draw(st.integers(place + 1, min(len(text), place + 6)))
        changes = parser.changes
        parser.feed(text[place:end])
        shown.append(parser.value())  # type: ignore[arg-type]
        assert parser.changes > changes or shown[-1] == shown[-2]
        place = end
    parser.close()
    assert all(grew(before, after) for before, after in pairwise(shown))
    assert grew(shown[-1], document)
    assert parser.value() == document
    assert not parser.broken


@settings(deadline=None)
@given(DOCUMENTS)
def test_where_it_is_cut_makes_no_difference(document: Any) -> None:
    """One piece or many: the same value."""
    text = json.dumps(document)
    for end in range(len(text)):
        assert read(text[:end]) == read(*text[:end])


@settings(deadline=None)
@given(st.text(alphabet='{}[]",:\\u01dDea-.tfn \n') | st.text())
def test_it_takes_no_more_than_python_does(text: str) -> None:
    """What json reads is read like that; whatever else is broken, or not at its end."""
    parser = PartialJSON()
    parser.feed(text)
    parser.close()
    try:
        expected = json.loads(text, parse_constant=lambda word: 1 / 0)
    except (ValueError, ZeroDivisionError):
        return
    if not parser.broken:  # half of a surrogate pair is text for json alone
        assert parser.value() == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("", UNSET, id="nothing"),
        pytest.param(" \n", UNSET, id="blanks"),
        pytest.param("{", {}, id="an object begins"),
        pytest.param('{"a', {}, id="a key begins"),
        pytest.param('{"a"', {}, id="a key without a value"),
        pytest.param('{"a":', {}, id="a colon without a value"),
        pytest.param('{"a": "', {"a": ""}, id="a string begins"),
        pytest.param('{"a": "b', {"a": "b"}, id="a string goes on"),
        pytest.param('{"a": 12', {}, id="a number that may go on"),
        pytest.param('{"a": 12,', {"a": 12}, id="a whole number"),
        pytest.param('{"a": -1.5e3}', {"a": -1500.0}, id="a float"),
        pytest.param('{"a": tru', {}, id="a literal that goes on"),
        pytest.param('{"a": true', {}, id="a literal whose end is not known"),
        pytest.param('{"a": true ', {"a": True}, id="a whole literal"),
        pytest.param('["\\', [""], id="an escape begins"),
        pytest.param('["a\\u00e', ["a"], id="a long escape goes on"),
        pytest.param('["\\ud83d', [""], id="half of a pair"),
        pytest.param('["\\ud83d\\ude00', ["\N{GRINNING FACE}"], id="a pair"),
        pytest.param('["\\n\\"\\/', ['\n"/'], id="short escapes"),
        pytest.param('[[1, 2], [3, "a', [[1, 2], [3, "a"]], id="lists in a list"),
        pytest.param('{"a": {"b": [{"c": nu', {"a": {"b": [{}]}}, id="deep"),
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
    ],
)
def test_what_is_no_json_is_the_end(text: str) -> None:
    """What was there stays; nothing more is read."""
    parser = PartialJSON()
    parser.feed(text)
    before = parser.value()
    assert parser.broken
    parser.feed(' "more"]}')
    assert parser.value() == before


def test_a_value_that_was_given_is_not_changed() -> None:
    """What goes on is a copy; what is finished is shared."""
    parser = PartialJSON()
    parser.feed('{"a": [1, 2], "b": [3, ')
    before: Any = parser.value()
    parser.feed('4], "c": "d')
    after: Any = parser.value()
    assert before == {"a": [1, 2], "b": [3]}
    assert after == {"a": [1, 2], "b": [3, 4], "c": "d"}
    assert after["a"] is before["a"]


def test_the_size_is_what_is_copied() -> None:
    """Items of what is open, and the characters of a string that goes on."""
    parser = PartialJSON()
    parser.feed('{"a": [1, 2, {"x": "y"}], "b": ["abc')
    assert parser.size == 1 + 1 + 1 + 3  # the object, its one finished item, the list, the string
    parser.feed('"]}')
    assert parser.size == 0


def test_deep_nesting_is_no_recursion() -> None:
    """As deep as it comes."""
    depth = 20_000
    parser = PartialJSON()
    parser.feed('{"a":[' * depth)
    value: Any = parser.value()
    for _ in range(depth):
        (value,) = value["a"] or [None]
    assert value is None
    parser.feed("]}" * depth)
    parser.close()
    assert not parser.broken
