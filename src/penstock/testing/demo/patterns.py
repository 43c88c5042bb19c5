"""A text that a regular expression matches, for those that schemas use."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any, Final

__all__ = ["LONGEST", "written_as"]

LONGEST: Final = 10_000
"""Characters of a text that is made up, whatever a schema asks for."""

# Python's own reader of expressions, which has no public name.
_codes: Final[Any] = import_module("re._constants")
_parser: Final[Any] = import_module("re._parser")
_SAMPLES: Final = "a1A-_ .:/@#+,"
_CLASSES: Final = {
    _codes.CATEGORY_DIGIT: "1", _codes.CATEGORY_SPACE: " ", _codes.CATEGORY_WORD: "a",
    _codes.CATEGORY_NOT_DIGIT: "a", _codes.CATEGORY_NOT_SPACE: "a", _codes.CATEGORY_NOT_WORD: "-",
}  # fmt: skip


def written_as(pattern: str) -> str:
    """The text; the least of everything, and the first of alternatives. An empty one for what is no expression."""
    try:
        return _written(_parser.parse(pattern), {})
    except (re.error, OverflowError, RecursionError):
        return ""


def _written(nodes: Any, groups: dict[int, str]) -> str:
    return "".join(_one(code, value, groups) for code, value in nodes)


def _one(code: Any, value: Any, groups: dict[int, str]) -> str:
    if code is _codes.LITERAL:
        return chr(value)
    if code is _codes.ANY:
        return "a"
    if code is _codes.NOT_LITERAL:
        return next(each for each in _SAMPLES if ord(each) != value)
    if code is _codes.IN:
        return _member(value)
    if code in (_codes.MAX_REPEAT, _codes.MIN_REPEAT, _codes.POSSESSIVE_REPEAT):
        least, _, inner = value
        text = _written(inner, groups) if least else ""
        times: int = min(least, LONGEST // max(1, len(text)) + 1)
        return text * times
    if code is _codes.SUBPATTERN:
        groups[value[0]] = _written(value[-1], groups)
        return groups[value[0]]
    if code is _codes.BRANCH:
        return _written(value[1][0], groups)
    if code is _codes.ATOMIC_GROUP:
        return _written(value, groups)
    return groups.get(value, "") if code is _codes.GROUPREF else ""  # the others stand between characters


def _member(choices: Any) -> str:
    """A character that a class has."""
    (code, value), *others = choices
    if code is _codes.NEGATE:
        plain = re.compile("|".join(re.escape(_member([each])) for each in others))
        return next(each for each in _SAMPLES if not plain.fullmatch(each))
    if code is _codes.RANGE:
        return chr(value[0])
    return _CLASSES[value] if code is _codes.CATEGORY else chr(value)
