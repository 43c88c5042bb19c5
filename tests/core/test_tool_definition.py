"""What is looked at of a tool's definition before it is sent."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest

from penstock import Tool
from penstock.core.tool_definition import definition_mistake


def mistake(schema: Any) -> str | None:
    """Of a tool with a parameter that has this schema."""
    return definition_mistake(Tool(name="f", parameters={"type": "object", "properties": {"a": schema}}))


def nested(times: int, schema: dict[str, Any]) -> dict[str, Any]:
    """So deep."""
    for _ in range(times):
        schema = {"not": schema}
    return schema


def looped(**more: Any) -> dict[str, Any]:
    """A schema that holds itself."""
    schema: dict[str, Any] = {"type": "object", **more}
    schema["properties"] = {"again": schema}
    schema["anyOf"] = [schema, schema]
    return schema


@pytest.mark.parametrize("kind", ["integer", "INTEGER", ["null", "string"], ["null", "String"], None])
@pytest.mark.parametrize(
    "around",
    [
        *({name: {"b": {}}} for name in ("properties", "$defs", "definitions")),
        *({name: {}} for name in ("items", "additionalProperties", "not")),
        *({name: [{}]} for name in ("anyOf", "oneOf", "allOf", "prefixItems")),
    ],
    ids=lambda around: next(iter(around)),
)
def test_a_type_is_looked_at_wherever_one_stands(around: dict[str, Any], kind: object) -> None:
    """One that is known passes, in any case, and one that is not is named."""

    def within(node: Any, inner: dict[str, Any]) -> Any:
        if node == {}:
            return inner
        if isinstance(node, list):
            return [within(each, inner) for each in node]
        return {name: within(value, inner) for name, value in node.items()}

    assert mistake(within(around, {"type": kind})) is None
    said = mistake(within(around, {"type": "strng"}))
    assert said is not None
    assert "has the type 'strng'" in said


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param(looped(), id="one that holds itself"),
        pytest.param(nested(5_000, {"type": "strng"}), id="one deeper than any real one"),
        pytest.param({"enum": ["type", {"type": "strng"}], "default": {"type": "strng"}}, id="values, not schemas"),
        pytest.param({"properties": {"type": {"type": "string"}}, "items": True}, id="a property called type"),
        pytest.param({"properties": [], "items": "x", "anyOf": {}, "$defs": 5}, id="keywords of other forms"),
        pytest.param(MappingProxyType({"type": "string"}), id="a mapping that is no dict"),
    ],
)
def test_what_is_let_be(schema: Any) -> None:
    """Vendors say what they think of it."""
    assert mistake(schema) is None


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param(looped(items={"type": "strng"}), id="within one that holds itself"),
        pytest.param(MappingProxyType({"not": MappingProxyType({"type": "strng"})}), id="within mappings"),
        pytest.param(nested(50, {"type": "strng"}), id="deep"),
    ],
)
def test_a_wrong_type_is_found(schema: Any) -> None:
    """By the long way."""
    assert "has the type 'strng'" in (mistake(schema) or "")
