"""What all wires refuse of the options before sending, by name. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from penstock.core.client_calls import tool_name
from penstock.core.dialect import SAMPLING, Dialect
from penstock.core.errors import InvalidRequestError
from penstock.core.messages import Options, Tool
from penstock.core.models import Model
from penstock.core.tool_definition import LONGEST_TOOL_NAME, definition_mistake
from penstock.core.validation import near
from penstock.wire.event_json import shown

__all__ = ["DROPPED", "check_max_tokens", "check_options", "tool_names", "unsupported"]

_REASONING: Final = ("off", "minimal", "low", "medium", "high", "xhigh", "max")
_REFS: Final = "#/$defs/"
_LEFT: Final = Options()
DROPPED: Final[Mapping[str, object]] = {
    name: getattr(_LEFT, name)
    for name in (*SAMPLING, "seed", "max_tokens", "reasoning", "parallel_tool_calls", "cache", "user", "service_tier")
}
"""What `Options.lenient` may leave out, and what then stands in its place. These say how an answer is made; what says
what it is (tools and their choice, its schema, where it stops, the history) is refused as ever.
"""
_HINT: Final = "Leave it out, or set `Options(lenient=True)` to have it left out for the models that cannot take it."


def unsupported(option: str, why: str) -> InvalidRequestError:
    """The refusal of what another model, wire or vendor may take; a mistake anywhere is a plain InvalidRequestError."""
    error = InvalidRequestError(f"option `{option}`: {why}")
    error.option = option
    if option in DROPPED:
        error.hint = _HINT
    return error


def check_max_tokens(given: int, model: Model, least: int, what: str = "") -> None:
    """Raise InvalidRequestError for a number that the model cannot write. what: the least one does, if that is odd."""
    most = model.info.max_tokens
    if given >= least and (most is None or given <= most):
        return
    why = f"{given}, expected {least}{what} to {most or 'as many as the model can'}"
    # None at all would be as many as the model likes: only what asks for too many can be left out.
    raise unsupported("max_tokens", why) if given >= least else InvalidRequestError(f"option `max_tokens`: {why}")


def check_options(
    options: Options,
    model: Model,
    dialect: Dialect,
    ranges: Mapping[str, Sequence[float | None]],
    longest_name: int = LONGEST_TOOL_NAME,
) -> None:
    """Raise InvalidRequestError for what is refused whatever it would become.

    ranges: the least and the most that an option may be, None for no limit, where the row says nothing else.
    longest_name: characters of a tool's name.
    """
    if options.cache not in ("auto", "extended", "off"):
        raise InvalidRequestError(f"option `cache`: {options.cache!r}, expected auto, extended or off")
    _check_reasoning(options)
    _check_sampling(options, model, {**ranges, **dialect.ranges})
    _check_tools(options.tools, longest_name)
    _check_choice(options, model, dialect)
    if options.response_schema is not None:
        _check_schema(options.response_schema, dialect)


def _check_tools(tools: Sequence[Tool | Mapping[str, object]], longest_name: int) -> None:
    """A list of tools, as it is read more than once, no two of one name, and each of ours as vendors take it."""
    given: Sequence[object] = tools
    if not isinstance(tools, Sequence):
        raise InvalidRequestError(f"option `tools` is a {type(tools).__name__}, expected a list")
    wrong = next((tool for tool in given if not isinstance(tool, Tool | Mapping)), None)
    if wrong is not None:
        raise InvalidRequestError(f"option `tools`: a {type(wrong).__name__}, expected a Tool or a mapping")
    for tool in tools:
        mistake = definition_mistake(tool, longest_name) if isinstance(tool, Tool) else None
        if mistake is not None:
            raise InvalidRequestError(f"option `tools`: {mistake}")
    names = tool_names(tools)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidRequestError(f"option `tools`: two tools are called {twice!r}")


def tool_names(tools: Sequence[Tool | Mapping[str, object]]) -> list[str]:
    """The names of those that have one."""
    named = (tool.name if isinstance(tool, Tool) else tool_name(tool) for tool in tools)
    return [name for name in named if name is not None]


def _check_choice(options: Options, model: Model, dialect: Dialect) -> None:
    """A choice needs tools, and a name among theirs; a model may refuse to be forced, a server ignore it."""
    choice = options.tool_choice
    if choice is None and options.parallel_tool_calls is None:
        return
    if not options.tools:
        raise InvalidRequestError("option `tool_choice` or `parallel_tool_calls` is given, but there are no tools")
    kind = choice if choice in (None, "auto", "none", "required") else "named"
    names = tool_names(options.tools)
    if kind == "named" and choice not in names:
        hint = near(choice, names) or f"; there are {', '.join(names) or 'none with a name'}"
        raise InvalidRequestError(f"option `tool_choice`: no tool is called {choice!r}{hint}")
    forced, wanted = model.info.supports_forced_tools, options.reasoning
    when = {
        False: "",
        "unless_budget": " with a budget of reasoning" if isinstance(wanted, int) else None,
        "unless_reasoning": ' while it reasons (`reasoning="off"`)' if wanted != "off" else None,
    }.get(forced if forced is not None else True)
    if kind in ("required", "named") and when is not None:
        raise unsupported("tool_choice", f"{model.id} cannot be forced to call a tool{when}; use `auto`")
    if kind is not None and kind not in dialect.tool_choices:
        taken = ", ".join(dialect.tool_choices)
        raise unsupported("tool_choice", f"{dialect.name} would ignore {choice!r}; it takes {taken}")


def _check_reasoning(options: Options) -> None:
    """An effort is one of the known words, and a budget is one."""
    wanted = options.reasoning
    if wanted is None or wanted in _REASONING:
        return
    if isinstance(wanted, int) and not isinstance(wanted, bool):
        if wanted < 1:
            raise InvalidRequestError(f"option `reasoning`: {wanted}, expected an effort, `off`, or a number of tokens")
        return
    known = f"one of {', '.join(_REASONING)}, or a number of tokens"
    raise InvalidRequestError(f"option `reasoning`: {wanted!r}, expected {known}{near(wanted, _REASONING)}")


def _check_sampling(options: Options, model: Model, ranges: Mapping[str, Sequence[float | None]]) -> None:
    """Sampling parameters are finite numbers within their limits, and only for models that take them."""
    for name in (*SAMPLING, "seed"):
        value = getattr(options, name)
        if value is None:
            continue
        if not isinstance(value, int | float) or (isinstance(value, float) and not math.isfinite(value)):
            raise InvalidRequestError(f"option `{name}`: {shown(str(value))}, expected a finite number")
        if name == "seed":
            continue
        least, most = ranges.get(name, (None, None))
        if (least is not None and value < least) or (most is not None and value > most):
            limits = f"{least} or more" if most is None else f"{least} to {most}"
            raise unsupported(name, f"{value}, expected {limits}")
        takes = model.info.supports_sampling
        if takes is False or (takes == "unless_reasoning" and options.reasoning not in (None, "off")):
            when = "" if takes is False else " while it reasons"
            raise unsupported(name, f"{model.id} takes no sampling parameters{when}")


def _check_schema(schema: Mapping[str, object], dialect: Dialect) -> None:
    """A schema that the vendor can make a grammar of."""
    if not dialect.recursive_schemas and _is_recursive(schema):
        raise unsupported("response_schema", f"it holds itself, and {dialect.name} takes no such schema; ask by a tool")
    for most, count, what in (
        (dialect.most_unions, _unions, "places where one of several types may stand, null included"),
        (dialect.most_optional, _optional, "properties that are not required"),
    ):
        found = 0 if most is None else sum(map(count, _nodes(schema)))
        if most is not None and found > most:
            raise unsupported(
                "response_schema", f"it has {found} {what}, and {dialect.name} takes {most}; ask by a tool"
            )


def _unions(node: Mapping[str, Any]) -> int:
    branches = node.get("anyOf")
    return isinstance(node.get("type"), list | tuple) or (isinstance(branches, list | tuple) and len(branches) > 1)


def _optional(node: Mapping[str, Any]) -> int:
    properties, required = node.get("properties"), node.get("required", ())
    if not isinstance(properties, Mapping) or not isinstance(required, list | tuple):
        return 0
    return sum(name not in required for name in properties)


def _nodes(node: object, inside: frozenset[int] = frozenset()) -> Iterator[Mapping[str, Any]]:
    """All objects of a schema, those included that hold schemas by name. inside: by identity, against endless ones."""
    if id(node) in inside:
        return
    if isinstance(node, Mapping):
        yield node
        for value in node.values():
            if isinstance(value, Mapping | list | tuple):
                yield from _nodes(value, inside | {id(node)})
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _nodes(value, inside | {id(node)})


def _is_recursive(schema: Mapping[str, object]) -> bool:
    definitions: Any = schema.get("$defs", {})
    uses = {
        name: {str(each["$ref"]).removeprefix(_REFS) for each in _nodes(definition) if "$ref" in each}
        for name, definition in definitions.items()
    }
    for name in uses:
        ahead = [name]
        reached: set[str] = set()
        while ahead:
            new = uses.get(ahead.pop(), set()) - reached
            if name in new:
                return True
            reached |= new
            ahead += new
    return any(each.get("$ref") == "#" for each in _nodes(schema))
