"""What a model wrote, decoded as it must have meant it, or in words why it does not fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec

__all__ = ["decoded", "explained"]

T = TypeVar("T")

_MOST_FAULTS: Final = 10  # of one value that the model is told
_LONGEST: Final = 1000  # characters of a fault: a validator may quote all of the value


def decoded(decode: Callable[[str], T], text: str, schema: Mapping[str, object], *, nulls: bool) -> T:
    """What *decode* makes of the JSON text, or of what its author must have meant; raises what *decode* raises.

    nulls: whether it was made for the strict form of the schema, in which null is for what is left out.
    """
    try:
        return decode(text)
    except (msgspec.DecodeError, ValueError, ArithmeticError, RecursionError):
        from penstock.agent.schema.strict_schema import meant  # by those whose models do not keep to it

        fixed = meant(text, schema, nulls=nulls)
        if fixed is None:
            raise
        return decode(fixed)


def explained(error: Any, path: str = "$") -> str:
    """What does not fit, in one line with the path, which is what *path* says where the error knows none."""
    if hasattr(error, "error_count"):  # pydantic's, with a list of all that is wrong
        faults = error.errors(include_url=False, include_input=False, include_context=False)
        listed = [f"{each['msg']} - at `{path}{_path(each['loc'])}`" for each in faults]
        more = [f"and {len(listed) - _MOST_FAULTS} more"] if len(listed) > _MOST_FAULTS else []
        return " ".join("; ".join([*listed[:_MOST_FAULTS], *more]).split())
    # jsonschema's errors have both; their text is a page.
    said = str(getattr(error, "message", error)).strip().partition("\n")[0] or type(error).__name__
    path = getattr(error, "json_path", path)
    if len(said) > _LONGEST:
        said = f"{said[: _LONGEST // 2]} … {said[-_LONGEST // 2 :]}"
    return said if " - at `" in said else f"{said} - at `{path}`"


def _path(places: tuple[str | int, ...]) -> str:
    return "".join(f"[{place}]" if isinstance(place, int) else f".{place}" for place in places)
