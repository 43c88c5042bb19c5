"""From a function's signature and docstring to a tool's definition, and back from arguments to parameters.

msgspec says what JSON a type takes, so that the schema and the validation are the same. Nothing is guessed: what has
no schema is an error that names function and parameter.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any, get_type_hints

import msgspec

from penstock.agent.schema.inliner import REFS, Inliner
from penstock.core.errors import ConfigError
from penstock.core.messages import Tool
from penstock.core.tool_definition import definition_mistake

__all__ = ["Parameters", "check_definition", "explained", "parameters_of"]


def check_definition(tool: Tool) -> None:
    """Raise ConfigError unless *tool* has a name that every vendor takes and an object's schema."""
    mistake = definition_mistake(tool)
    if mistake is not None:
        raise ConfigError(mistake)


class Parameters:
    """What a function takes: as a JSON Schema, and as a decoder of JSON text."""

    def __init__(self, struct: type[msgspec.Struct], schema: dict[str, object]) -> None:
        self.schema = schema
        self._decoder = msgspec.json.Decoder(struct)
        self._names = struct.__struct_fields__

    def decode(self, arguments: str) -> dict[str, object]:
        """The arguments that are given, by name. Raises what msgspec raises."""
        values = self._decoder.decode(arguments)
        return {name: value for name in self._names if (value := getattr(values, name)) is not msgspec.UNSET}


def parameters_of(function: Callable[..., object], name: str, descriptions: Mapping[str, str]) -> Parameters:
    """What *function*, called *name* in errors, takes. Raises ConfigError for a parameter without a schema.

    descriptions: of parameters, by name; one in the annotation (`msgspec.Meta`) wins.
    """
    from penstock.agent.schema.json_schema import default_of, schema_components  # as in `_type`

    fields: list[tuple[str, Any, Any]] = []
    defaults: dict[str, object] = {}
    for parameter in _signature(function, name).parameters.values():
        type_ = _type(function, name, parameter)
        if parameter.default is parameter.empty:
            fields.append((parameter.name, type_, msgspec.NODEFAULT))
            continue
        # What the model leaves out is left out of the call as well: the function knows its defaults.
        fields.append((parameter.name, type_ | msgspec.UnsetType, msgspec.UNSET))
        defaults[parameter.name] = parameter.default
    struct = msgspec.defstruct("Arguments", fields, kw_only=True, forbid_unknown_fields=True)
    (root,), components = schema_components([struct])
    schema = components.pop(root["$ref"].removeprefix(REFS))
    properties = schema["properties"]
    for parameter_name, value in properties.items():
        if parameter_name in descriptions:
            value.setdefault("description", descriptions[parameter_name])
        if parameter_name in defaults:
            value.update(default_of(defaults[parameter_name]))
    return Parameters(struct, Inliner(components).schema(schema))


def explained(function: Callable[..., object]) -> tuple[str, dict[str, str]]:
    """What the docstring says of the function, and of its parameters by name: Google's, NumPy's or Sphinx's style."""
    import docstring_parser  # by those who make tools of functions, and by no other

    # A partial has the docstring of its class.
    text = inspect.getdoc(_written(function) if isinstance(function, partial) else function) or ""
    try:
        parsed = docstring_parser.parse(text)
    except (docstring_parser.ParseError, LookupError, ValueError):  # what is in no style; `: :` is an IndexError to it
        return text, {}
    paragraphs = [parsed.short_description, parsed.long_description]
    described = {param.arg_name: param.description for param in parsed.params if param.description}
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph), described


def _written(function: Callable[..., object]) -> Callable[..., object]:
    """The function that somebody wrote, inside wrappers and partials."""
    inner = inspect.unwrap(function)
    return _written(inner.func) if isinstance(inner, partial) else inner


def _signature(function: Callable[..., object], name: str) -> inspect.Signature:
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigError(f"tool `{name}`: the function yields; a tool returns its result")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"tool `{name}`: Python cannot tell its signature ({error})") from error
    for parameter in signature.parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            bare = parameter.replace(annotation=parameter.empty)
            raise ConfigError(f"tool `{name}`: parameter `{bare}` can be anything; name the parameters one by one")
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise ConfigError(f"tool `{name}`: parameter `{parameter.name}` is positional-only; models give names")
        if parameter.annotation is parameter.empty:
            raise ConfigError(f"tool `{name}`: parameter `{parameter.name}` has no annotation")
    return signature


def _type(function: Callable[..., object], name: str, parameter: inspect.Parameter) -> Any:
    """The parameter's type, of which a schema and a decoder can be made."""
    from penstock.agent.schema.json_schema import schema_components  # by those who make tools, and by no other

    where = f"tool `{name}`: parameter `{parameter.name}`"
    names = getattr(_written(function), "__globals__", {})
    alone = SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
    try:
        (type_,) = get_type_hints(alone, names, include_extras=True).values()
    except (NameError, SyntaxError, TypeError, AttributeError) as error:
        raise ConfigError(f"{where}: its annotation cannot be read ({error})") from error
    if parameter.default is None:
        type_ |= None
    try:
        (schema,), _ = schema_components([type_])
        msgspec.json.Decoder(type_)
    except (TypeError, ValueError, RuntimeError, NameError, AttributeError) as error:
        raise ConfigError(f"{where}: no schema can be made of it: {str(error).rpartition(chr(10))[2]}") from error
    if not schema.keys() & {"type", "enum", "anyOf", "$ref"} or {} in schema.get("anyOf", ()):
        raise ConfigError(f"{where}: its type takes any value; say which")
    return type_
