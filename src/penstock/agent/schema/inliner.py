"""A JSON Schema without references: what a class is stands where the class is named. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

__all__ = ["REFS", "Inliner", "pointed", "references"]

REFS: Final = "#/$defs/"
"""What a reference inside of a schema begins with."""

_VALUES: Final = ("default", "enum", "const", "examples")  # keywords that hold values, not schemas
_BY_NAME: Final = ("properties", "patternProperties", "$defs")  # keywords that hold schemas by name
_KINDS: Final = {str: "string", int: "integer"}


class Inliner:
    """Puts each component where it is referred to: models read that better, and some vendors take nothing else.

    A component that holds itself cannot be inlined and stays in `$defs`. Titles are dropped, as they repeat names;
    discriminators too, as they are OpenAPI's and the tags say the same.
    """

    def __init__(self, components: Mapping[str, dict[str, Any]]) -> None:
        self._components = components
        uses = {
            name: {node["$ref"].removeprefix(REFS) for node in references(component)}
            for name, component in components.items()
        }
        self.recursive = {name for name in components if name in _reachable(name, uses)}
        """The components that hold themselves."""
        self._kept: set[str] = set()

    def schema(self, root: dict[str, Any]) -> dict[str, object]:
        """The whole of it, which depends on nothing outside."""
        whole: dict[str, object] = self._expand(root)
        definitions: dict[str, object] = {}
        while missing := sorted(self._kept - definitions.keys()):
            definitions |= {name: self._expand(self._components[name]) for name in missing}
        return whole | {"$defs": definitions} if definitions else whole

    def _expand(self, node: Any) -> Any:
        if isinstance(node, list):
            return [self._expand(item) for item in node]
        if not isinstance(node, dict):
            return node
        reference = node.get("$ref", "").removeprefix(REFS)
        if reference in self.recursive:
            self._kept.add(reference)
        elif reference:
            return self._expand(self._components[reference] | {key: node[key] for key in node if key != "$ref"})
        result: dict[str, Any] = {}
        for key, value in node.items():
            if key in ("title", "discriminator") or (key == "required" and not value):
                continue
            if key in _BY_NAME:
                result[key] = {name: self._expand(item) for name, item in value.items()}
            else:
                result[key] = value if key in _VALUES else self._expand(value)
        kinds = {_KINDS.get(type(value)) for value in result.get("enum", ())}
        if len(kinds) == 1 and None not in kinds:
            result = {"type": kinds.pop()} | result  # msgspec leaves it out, Gemini wants it
        if result.get("type") == "array" and not result.keys() & {"items", "prefixItems"}:
            result["items"] = {}  # OpenAI refuses a list that says nothing of its items
        return result


def references(node: Any) -> Iterator[dict[str, Any]]:
    """Every node that refers to another."""
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            yield from references(item)


def pointed(root: object, path: str) -> Any:
    """What a reference within *root* leads to, as `#/$defs/A`; None if there is none."""
    found: Any = root
    for name in path.split("/")[1:]:
        key = name.replace("~1", "/").replace("~0", "~")
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _reachable(start: str, uses: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    ahead = [start]
    while ahead:
        new = uses[ahead.pop()] - found
        found |= new
        ahead += new
    return found
