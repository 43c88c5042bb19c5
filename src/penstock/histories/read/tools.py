"""Reads the tools of a request, of whichever API: functions as ours, a vendor's own as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from penstock.core.messages import Tool
from penstock.histories.read.parts import Reading, decoded, wrong

__all__ = ["read_tools"]


def read_tools(reading: Reading, tools: Sequence[msgspec.Raw], name: str) -> list[Tool | Mapping[str, object]]:
    """The tools; *name* is the field that holds them."""
    return [_tool(reading, tool, f"{name}[{number}]") for number, tool in enumerate(tools)]


def _tool(reading: Reading, raw: msgspec.Raw, place: str) -> Tool | Mapping[str, object]:
    tool = decoded(reading.fields(raw, place).text, dict[str, Any], place)
    function = tool.get("function", tool)
    is_function = tool.get("type") == "function" or "parameters" in tool
    schema = "parameters" if is_function else "input_schema"
    if tool.get("type", "custom") not in ("function", "custom") or not isinstance(function, dict):
        return tool
    if not function.keys() <= {"type", "name", "description", schema, "strict"} or not (is_function or schema in tool):
        return tool
    given = {name: value for name, value in function.items() if name not in ("type", schema) and value is not None}
    if function.get(schema) is not None:
        given["parameters"] = function[schema]
    try:
        return msgspec.convert(given, Tool)
    except msgspec.ValidationError as error:
        wrong(place, error)
