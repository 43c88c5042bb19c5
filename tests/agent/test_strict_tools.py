"""Tools that the vendor must keep to their schema: what is sent, and what the function gets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from foreign_signatures import Cat, City, Dog
from penstock import ConfigError, FunctionTool, Tool, tool


@dataclass
class Place:
    """Where."""

    city: str
    zone: int = 0
    tags: list[str] = field(default_factory=list)


def objects(node: Any) -> Iterator[dict[str, Any]]:
    """All schemas of objects inside."""
    if isinstance(node, dict):
        if node.get("type") == "object":
            yield node
        for inner in node.values():
            yield from objects(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from objects(inner)


@tool(strict=True)
def look(what: str, where: Place, most: int = 5, unit: str | None = None, near: Place | None = None) -> str:
    """Look for something."""
    return f"{what} {where.city} {where.zone} {where.tags} {most} {unit} {near}"


def test_a_strict_schema_is_one_that_vendors_take() -> None:
    """Every object is closed and all of it required, and nothing has a default: OpenAI refuses anything else."""
    found = list(objects(look.definition.parameters))
    assert len(found) >= 3
    for node in found:
        assert node["additionalProperties"] is False
        assert node["required"] == list(node["properties"])
    assert "'default':" not in str(look.definition.parameters)
    assert look.definition.strict


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("arguments", "result"),
    [
        pytest.param(
            '{"what":"a","where":{"city":"Ulm","zone":null,"tags":null},"most":null,"unit":null,"near":null}',
            "a Ulm 0 [] 5 None None",
            id="null for what is left out",
        ),
        pytest.param(
            '{"what":"a","where":{"city":"Ulm","zone":3,"tags":["x"]},"most":1,"unit":"m","near":{"city":"B","zone":null}}',
            "a Ulm 3 ['x'] 1 m Place(city='B', zone=0, tags=[])",
            id="what is given",
        ),
        pytest.param('{"what":"a","where":{"city":"Ulm"}}', "a Ulm 0 [] 5 None None", id="left out all the same"),
    ],
)
async def test_the_function_gets_what_was_given(arguments: str, result: str) -> None:
    """Nulls that only stand for what was left out are left out again; it knows its own defaults."""
    answer = await look.run(arguments)
    assert (answer.content, answer.is_error) == (result, False)


@tool(strict=True)
def visit(city: City, pets: list[Cat | Dog] | None = None, file: Path = Path("x")) -> str:
    """Visit it."""
    return f"{city!r} {pets} {file}"


@pytest.mark.anyio
async def test_strict_with_pydantic() -> None:
    """The same rules for the schema, and the same way back."""
    for node in objects(visit.definition.parameters):
        assert (node["additionalProperties"], node["required"]) == (False, list(node["properties"]))
    assert "'default':" not in str(visit.definition.parameters)
    arguments = '{"city":{"name":"Ulm","people":null,"tags":null,"countryCode":"de"},"pets":null,"file":null}'
    answer = await visit.run(arguments)
    assert answer.content == "City(name='Ulm', people=0, tags=[], country='de') None x"


@pytest.mark.anyio
async def test_the_model_is_not_told_of_a_thousand_faults() -> None:
    """The first ten of pydantic's say enough."""
    many = '{"city":{"name":"Ulm","tags":[' + ",".join("1" * 1000) + "]}}"
    said = str((await visit.run(many)).content)
    assert said.count("valid string") == 10
    assert said.endswith("`$.city.tags[9]`; and 990 more")


@pytest.mark.anyio
@pytest.mark.parametrize("arguments", ['{"what":null,"where":{"city":"Ulm"}}', '{"what":', "[]", '{"x": 1e999999999}'])
async def test_what_does_not_fit_is_told_as_ever(arguments: str) -> None:
    """A null for what must be there, and what is no object."""
    answer = await look.run(arguments)
    assert answer.is_error
    assert "The arguments do not fit" in str(answer.content)


@pytest.mark.anyio
async def test_a_definition_by_hand() -> None:
    """The same, with the arguments as they come."""
    schema = {"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "string"}}, "required": ["a"]}
    made = FunctionTool(Tool(name="f", parameters=schema, strict=True), lambda values: str(sorted(values)))
    assert isinstance(made.definition, Tool)
    assert made.definition.parameters["required"] == ["a", "b"]
    assert (await made.run('{"a": 0.1, "b": null}')).content == "['a']"
    plain = FunctionTool(Tool(name="f", parameters=schema), lambda values: str(sorted(values)))
    assert plain.definition == Tool(name="f", parameters=schema)
    assert (await plain.run('{"a": 0.1, "b": "x"}')).content == "['a', 'b']"
    assert (await plain.run('{"a": 0.1, "b": null}')).is_error


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        pytest.param({"type": "object"}, "`$` may be a mapping with any keys", id="any keys"),
        pytest.param({"type": "object", "properties": {"a": {}}}, "`$.a` may be any value at all", id="any value"),
        pytest.param({"type": "object", "anyOf": [{"properties": {}}]}, "several schemas at once", id="several"),
    ],
)
def test_what_cannot_be_strict_is_refused(schema: dict[str, Any], said: str) -> None:
    """When the tool is made, with the place."""
    with pytest.raises(ConfigError, match=r"tool `f` cannot be strict: ") as caught:
        FunctionTool(Tool(name="f", parameters=schema, strict=True), lambda values: "")
    assert said in caught.value.message
    plain = Tool(name="f", parameters=schema)
    assert FunctionTool(plain, lambda values: "").definition is plain
