"""Values against schemas: jsonschema's verdict, for the keywords that we know."""

from __future__ import annotations

from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.agent.schema.fits import misfit

NAMES = st.sampled_from(["a", "b", "x-1"])
PLAIN_VALUES: list[Any] = [None, True, False, 0, 1, 2, 1.0, 1.5, -3, "", "a", "ab", "abc"]
SCALARS = st.sampled_from(PLAIN_VALUES)
VALUES = [
    *PLAIN_VALUES,
    *([], [1], ["a", 1], [1, "a"], [None, 2, "ab"], [[1], {"a": 1}], [{"a": "a"}, []]),
    *({}, {"a": 1}, {"a": "a", "b": 2}, {"x-1": True}, {"b": None, "x-1": "abc"}, {"a": {"a": 1.5}, "b": [0, "a"]}),
]
SIZES = st.integers(0, 2)
KINDS = st.sampled_from(["object", "array", "string", "boolean", "null", "number", "integer"])
PLAIN: dict[str, st.SearchStrategy[Any]] = {
    "type": KINDS | st.lists(KINDS, min_size=1, max_size=3, unique=True),
    "enum": st.lists(SCALARS, min_size=1, max_size=4),
    "const": SCALARS,
    "required": st.lists(NAMES, max_size=2, unique=True),
    "pattern": st.sampled_from(["^a", "b$", "[0-9]"]),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), st.sampled_from([0, 1, 1.5])),
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"), SIZES),
    "$ref": st.sampled_from(["#/$defs/a", "#/$defs/b~1c"]),
    "format": st.just("email"),
}


def schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Schemas of one level more."""
    several = st.lists(inner, min_size=1, max_size=3)
    deep = {
        "properties": st.dictionaries(NAMES, inner, max_size=3),
        "patternProperties": st.dictionaries(st.sampled_from(["^x-", "b"]), inner, max_size=2),
        "additionalProperties": inner,
        "prefixItems": several,
        "items": inner,
        "allOf": several,
        "anyOf": several,
    }
    return few(PLAIN | deep)


# Keywords that bear on each other.
FAMILIES = [
    ("type", "enum", "const", "$ref", "format", "allOf", "anyOf"),
    ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "pattern"),
    ("type", "prefixItems", "items", "minItems", "maxItems"),
    ("properties", "patternProperties", "additionalProperties", "required", "minProperties", "maxProperties"),
]


def few(keywords: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Schemas with up to four of them: nothing fits many at once."""
    families = [sorted(keywords.keys() & family) for family in FAMILIES]
    chosen = st.sampled_from(families).flatmap(
        lambda each: st.lists(st.sampled_from(each), min_size=1, max_size=4, unique=True)
    )
    return chosen.flatmap(lambda names: st.fixed_dictionaries({name: keywords[name] for name in names}))


SCHEMAS = st.recursive(st.booleans() | few(PLAIN), schemas, max_leaves=6)
TARGETS = st.recursive(
    st.booleans() | st.sampled_from([{"type": "string"}, {"minimum": 1}]),
    lambda inner: st.fixed_dictionaries({"properties": st.dictionaries(NAMES, inner, max_size=2)}),
    max_leaves=3,
)


@settings(max_examples=400)
@given(schemas(SCHEMAS), TARGETS, TARGETS)
def test_the_verdict_is_that_of_jsonschema(schema: dict[str, Any], first: Any, second: Any) -> None:
    """What fits us is exactly what fits there."""
    whole = {**schema, "$defs": {"a": first, "b/c": second}}
    theirs = jsonschema.Draft202012Validator(whole)
    assert [misfit(value, whole) is None for value in VALUES] == [theirs.is_valid(value) for value in VALUES]


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param({"properties": [], "items": [], "required": "a", "enum": "a", "anyOf": {}}, id="other forms"),
        pytest.param({"patternProperties": {"(": False}, "additionalProperties": True}, id="no pattern in Python"),
        pytest.param({"pattern": 3, "minItems": True, "maxProperties": "5", "type": ["thing"]}, id="other types"),
        pytest.param({"type": "date", "not": {}, "format": "email", "$ref": 3}, id="not known"),
        pytest.param({"exclusiveMinimum": True, "patternProperties": []}, id="an older draft"),
        pytest.param({"pattern": "a{99999999999999999999}"}, id="a pattern that is too large"),
        pytest.param({"patternProperties": 5, "properties": {"a": {}}, "additionalProperties": False}, id="a number"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("value", [{"a": 1}, [1], "a", 0])
def test_what_a_schema_says_badly_it_leaves_open(schema: dict[str, Any], value: object) -> None:
    """Vendors take most of them, and it is not the model's fault."""
    assert misfit(value, schema) is None
