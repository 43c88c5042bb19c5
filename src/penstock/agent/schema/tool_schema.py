"""From a function's signature and docstring to a tool's definition, and back from arguments to parameters.

msgspec says what JSON a type takes, so that the schema and the validation are the same. Nothing is guessed: what has
no schema is an error that names function and parameter.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any, get_args, get_type_hints

import msgspec

from penstock.agent.schema.foreign import PydanticType, object_of
from penstock.agent.schema.inliner import REFS, Inliner
from penstock.agent.schema.type_schema import check_type, has_pydantics
from penstock.core.errors import ConfigError
from penstock.core.messages import Tool
from penstock.core.tool_definition import definition_mistake
from penstock.core.validation import near

__all__ = ["Parameters", "as_strict", "check_definition", "docstring_of", "parameters_of"]


def check_definition(tool: Tool) -> None:
    """Raise ConfigError unless *tool* has a name that every vendor takes and an object's schema."""
    mistake = definition_mistake(tool)
    if mistake is not None:
        raise ConfigError(mistake)


def as_strict(tool: Tool) -> Tool:
    """The definition as vendors take it with `strict`: closed objects, all of it required, no defaults.

    What may be left out may be null there. Raises ConfigError for a schema that cannot be said so.
    """
    from penstock.agent.schema.strict_schema import object_schema, strict_schema  # by those who ask for it

    try:
        if object_schema(tool.parameters)[1]:
            raise ConfigError("`$` is several schemas at once, and a strict one is an object's")
        return msgspec.structs.replace(tool, parameters=strict_schema(tool.parameters))
    except ConfigError as error:
        raise ConfigError(f"tool `{tool.name}` cannot be strict: {error.message}") from error


class Parameters(msgspec.Struct, frozen=True):
    """What a function takes: as a JSON Schema, and as decoders of JSON text.

    theirs: what is pydantic's; context: what the caller fills, and whether it has to; both by the parameter's name.
    """

    schema: dict[str, object]
    decoder: msgspec.json.Decoder[msgspec.Struct]
    theirs: Mapping[str, PydanticType]
    context: Mapping[str, bool]

    def decode(self, arguments: str) -> dict[str, object]:
        """The arguments that are given, by name. Raises what msgspec raises."""
        values = msgspec.structs.asdict(self.decoder.decode(arguments))
        given = {name: value for name, value in values.items() if value is not msgspec.UNSET}
        theirs = {name: type_ for name, type_ in self.theirs.items() if name in given}
        return given | {name: type_.decode(bytes(given[name]), f"$.{name}") for name, type_ in theirs.items()}


def parameters_of(
    function: Callable[..., object], name: str, descriptions: Mapping[str, str], hidden: Collection[str]
) -> Parameters:
    """What *function*, called *name* in errors, takes. Raises ConfigError for a parameter without a schema.

    descriptions: of parameters, by name; one in the annotation (`msgspec.Meta`, pydantic's `Field`) wins.
    hidden: names of parameters that the caller fills, of any type.
    """
    from penstock.agent.schema.json_schema import default_of, schema_components  # as in `_type`

    parameters = _signature(function, name, hidden)
    context = {each: parameters.pop(each).default is inspect.Parameter.empty for each in hidden}
    fields: list[tuple[str, Any, Any]] = []
    theirs: dict[str, PydanticType] = {}
    for parameter in parameters.values():
        type_ = _type(function, name, parameter)
        if isinstance(type_, PydanticType):
            theirs[parameter.name] = type_
            type_ = msgspec.Raw
        # What the model leaves out is left out of the call as well: the function knows its defaults.
        if parameter.default is parameter.empty:
            fields.append((parameter.name, type_, msgspec.NODEFAULT))
        else:
            fields.append((parameter.name, type_ | msgspec.UnsetType, msgspec.UNSET))
    struct = msgspec.defstruct("Arguments", fields, kw_only=True, forbid_unknown_fields=True)
    (root,), components = schema_components([struct])
    schema = components.pop(root["$ref"].removeprefix(REFS))
    for each, value in schema["properties"].items():
        if each in theirs:
            value.update(theirs[each].schema)
            components |= theirs[each].components
        # What a class says of itself says less than what the function says of it.
        if each in descriptions and ("description" not in value or (each in theirs and theirs[each].is_class)):
            value["description"] = descriptions[each]
        if parameters[each].default is not inspect.Parameter.empty:
            value.update(default_of(parameters[each].default))
    decoder = msgspec.json.Decoder(struct, dec_hook=object_of)
    return Parameters(Inliner(components).schema(schema), decoder, theirs, context)


def docstring_of(function: Callable[..., object]) -> tuple[str, dict[str, str]]:
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


def _signature(function: Callable[..., object], name: str, hidden: Collection[str]) -> dict[str, inspect.Parameter]:
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigError(f"tool `{name}`: the function yields; a tool returns its result")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"tool `{name}`: Python cannot tell its signature ({error})") from error
    parameters = dict(signature.parameters)
    for each in hidden:
        if each not in parameters:
            raise ConfigError(f"tool `{name}`: it has no parameter `{each}` for the context{near(each, parameters)}")
    for parameter in parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            bare = parameter.replace(annotation=parameter.empty)
            raise ConfigError(f"tool `{name}`: parameter `{bare}` can be anything; name the parameters one by one")
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise ConfigError(f"tool `{name}`: parameter `{parameter.name}` is positional-only; models give names")
        if parameter.annotation is parameter.empty and parameter.name not in hidden:
            hint = "; make the tool of a bound method, `tool(object.method)`" if parameter.name == "self" else ""
            raise ConfigError(f"tool `{name}`: parameter `{parameter.name}` has no annotation{hint}")
    return parameters


def _type(function: Callable[..., object], name: str, parameter: inspect.Parameter) -> Any:
    """The parameter's type, of which a schema and a decoder can be made."""
    where = f"tool `{name}`: parameter `{parameter.name}`"
    names = getattr(_written(function), "__globals__", {})
    alone = SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
    try:
        (type_,) = get_type_hints(alone, names, include_extras=True).values()
    except (NameError, SyntaxError, TypeError, AttributeError) as error:
        raise ConfigError(f"{where}: its annotation cannot be read ({error})") from error
    fields = [each for each in (parameter.default, *get_args(type_)) if type(each).__name__ == "FieldInfo"]
    if any(each is parameter.default or each.alias or not each.is_required() for each in fields):
        raise ConfigError(f"{where}: write `Annotated[..., Field(...)]`, its default behind `=`, and no alias")
    if parameter.default is None:
        type_ |= None
    if has_pydantics(type_):
        return PydanticType(type_, where, f"{parameter.name}.")
    try:
        check_type(type_, where, any_fields=True)
    except ConfigError as error:
        if "does not know the type" not in error.message:
            raise
        supplied = f'if your program supplies it, use @tool(context=("{parameter.name}",))'
        raise ConfigError(f"{error.message}; {supplied}") from error
    return type_
