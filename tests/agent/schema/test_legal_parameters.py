"""Schemas of other people's tools: what vendors take stays, what they refuse is made legal or said."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import pytest

from penstock import ConfigError, Tool
from penstock.agent.schema.legal_parameters import legal_parameters
from penstock.core.tool_definition import definition_mistake

TEXT: Final = {"type": "string"}
NODE: Final = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}


def an(**properties: Any) -> dict[str, Any]:
    """The schema of an object."""
    return {"type": "object", "properties": properties}


@pytest.mark.parametrize(
    ("schema", "legal"),
    [
        pytest.param(None, an(), id="none"),
        pytest.param({}, an(), id="empty"),
        pytest.param({"$schema": "x", **an(a=TEXT)}, {"$schema": "x", **an(a=TEXT)}, id="legal"),
        pytest.param({"properties": {"a": TEXT}}, an(a=TEXT), id="no type"),
        pytest.param({"type": ["object", "null"], "properties": None}, an(), id="an object or null"),
        pytest.param({**an(a=TEXT), "required": None}, an(a=TEXT), id="required is null"),
        pytest.param(
            an(a={"type": "object", "required": True, "properties": None}, b={"items": [TEXT]}, c="string")
            | {"properties": None, "anyOf": [an(a={"type": "object", "required": True}, c="string")]},
            {**an(a={"type": "object"}, c={}), "required": []},
            id="keywords in other forms, at every level",
        ),
        pytest.param(
            an(pattern=TEXT, items={"enum": [None]}, required={"default": None, "enum": None}),
            an(pattern=TEXT, items={"enum": [None]}, required={"default": None}),
            id="properties that are called like keywords",
        ),
        pytest.param({**an(), "required": ["a"]}, {**an(a={}), "required": ["a"]}, id="required, not described"),
        pytest.param({"$ref": "#/$defs/A", "$defs": {"A": an(a=TEXT)}}, an(a=TEXT), id="a reference on top"),
        pytest.param(
            an(a={"$ref": "#/definitions/A"}, b={"$ref": "#/$defs/A"})
            | {"definitions": {"A": TEXT}, "$defs": {"A": an()}},
            an(a=TEXT, b=an()),
            id="references of two kinds to one name",
        ),
        pytest.param(an(a=TEXT, b={"$ref": "#/properties/a"}), an(a=TEXT, b=TEXT), id="a reference to a sister"),
        pytest.param(an(definitions={"$ref": "#/$defs/a~1b"}) | {"$defs": {"a/b": TEXT}}, an(definitions=TEXT), id="/"),
        pytest.param(
            {"$ref": "#/$defs/Node", "$defs": {"Node": NODE}}, {**NODE, "$defs": {"Node": NODE}}, id="it holds itself"
        ),
        pytest.param(
            {"anyOf": [{**an(a=TEXT), "required": ["a"]}, an(b=TEXT)]},
            {**an(a=TEXT, b=TEXT), "required": []},
            id="a choice",
        ),
        pytest.param(
            {**an(a=TEXT), "additionalProperties": False, "oneOf": [{"required": ["a"]}, an(b=TEXT)], "not": {}},
            {**an(b=TEXT, a=TEXT), "required": []},
            id="a choice beside properties",
        ),
        pytest.param(
            {"allOf": [{**an(a=TEXT), "required": ["a"]}, {"allOf": [{**an(b=TEXT), "required": ["b"]}]}]},
            {**an(b=TEXT, a=TEXT), "required": ["a", "b"]},
            id="all at once",
        ),
    ],
)
def test_what_can_only_mean_one_thing_is_made_legal(schema: Any, legal: dict[str, Any]) -> None:
    """And what is legal stays, in its order; doing it twice changes nothing."""
    before = msgspec.json.encode(schema)
    made = legal_parameters(schema)
    assert made == legal
    assert definition_mistake(Tool(name="t", description="", parameters=made)) is None
    assert legal_parameters(made) == made
    assert msgspec.json.encode(schema) == before


BOMB: Final = {
    f"a{level}": an(l={"$ref": f"#/$defs/a{level + 1}"}, r={"$ref": f"#/$defs/a{level + 1}"}) for level in range(40)
}


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        pytest.param([], "its schema is a list, expected an object", id="a list"),
        pytest.param({"type": "string"}, "that of a string, expected an object's", id="a text"),
        pytest.param({"anyOf": [TEXT, {"type": "null"}]}, "that of a null or string", id="a choice of no objects"),
        pytest.param(an(a={"$ref": "#/$defs/A"}), "'#/\\$defs/A', where there is none", id="a reference to nothing"),
        pytest.param(an(a={"$ref": "http://x/y"}), "'http://x/y', which lies outside of it", id="elsewhere"),
        pytest.param({"$ref": "#"}, "'#', which is nothing but a reference to itself", id="a circle"),
        pytest.param(
            {**an(a={"$ref": "#/$defs/A"}), "$defs": {"A": {"$ref": "#/$defs/B"}, "B": {"$ref": "#/$defs/A"}}},
            "'#/\\$defs/A', which is nothing but",
            id="a circle of two",
        ),
        pytest.param({**an(a={"$ref": "#/$defs/a0"}), "$defs": {**BOMB, "a40": TEXT}}, "too large", id="a bomb"),
        pytest.param(
            {
                **an(**{f"p{place}": {"$ref": "#/$defs/A"} for place in range(1100)}),
                "$defs": {"A": {"title": "a" * 1000}},
            },
            "too large",
            id="many references to a large one",
        ),
    ],
)
def test_what_cannot_be_made_legal_is_said(schema: Any, said: str) -> None:
    """In one line, to be put behind the tool's name."""
    with pytest.raises(ConfigError, match=f"^[^\n]*{said}[^\n]*$"):
        legal_parameters(schema)
