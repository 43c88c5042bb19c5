"""Tools whose arguments the vendor must keep to the schema: the schema as vendors take it, and the way back. Pure."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec

from penstock.agent.schema.strict_schema import object_schema, strict_schema, without_nulls
from penstock.core.errors import ConfigError
from penstock.core.messages import Tool

__all__ = ["given_arguments", "strict_definition"]

# Exact numbers, for the types that are exact.
_DECODE: Final = msgspec.json.Decoder(float_hook=Decimal).decode
_ENCODE: Final = msgspec.json.Encoder(decimal_format="number").encode


def strict_definition(tool: Tool) -> Tool:
    """The definition as vendors take it with `strict`: closed objects, all of it required, no defaults.

    What may be left out may be null there. Raises ConfigError for a schema that cannot be said so.
    """
    try:
        if object_schema(tool.parameters)[1]:
            raise ConfigError("`$` is several schemas at once, and a strict one is an object's")
        return msgspec.structs.replace(tool, parameters=strict_schema(tool.parameters))
    except ConfigError as error:
        raise ConfigError(f"tool `{tool.name}` cannot be strict: {error.message}") from error


def given_arguments(arguments: str, tool: Tool) -> str:
    """*arguments*, which were made for the strict form of *tool*, without the nulls for what was left out."""
    try:
        given = _DECODE(arguments)
    except (msgspec.DecodeError, UnicodeError, RecursionError, ArithmeticError):
        return arguments  # whoever decodes them for good says what is wrong
    pruned = without_nulls(given, tool.parameters)
    return arguments if pruned == given else _ENCODE(pruned).decode()
