"""Says what is wrong with a JSON file and where, more exactly than the decoder can."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, Final

import msgspec

__all__ = ["explained"]

_AT: Final = re.compile(r" - at `(.*?)`$")
_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]|\[(\.\.\.)\]")
_UNKNOWN: Final = re.compile(r"unknown field `(.*)`")
_REFUSED: Final = re.compile(r"^`(\w+)` is (.*)")  # by a struct's own check, which knows its Python names only
_SECRET: Final = re.compile(r"apiKey|headers")


def explained(data: bytes, type_: type[msgspec.Struct], error: Exception) -> tuple[str | None, str]:
    """The path in the document (None when it is no JSON) and what is wrong there, found and expected."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as broken:
        where = f"line {broken.lineno}, column {broken.colno}" if isinstance(broken, json.JSONDecodeError) else "it"
        return None, f"not JSON: {where}: {getattr(broken, 'msg', broken)}"
    found_at = _AT.search(str(error))
    said = _AT.sub("", str(error))
    steps = list(_steps(found_at[1] if found_at else "$"))
    path, value = _followed(document, steps, type_)
    unknown = _UNKNOWN.search(said)
    if unknown is not None:
        known = _fields(type_, path)
        near = get_close_matches(unknown[1], known, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return _written(path), f"unknown key {unknown[1]!r}, expected one of: {', '.join(known)}{hint}"
    refused = _REFUSED.search(said)
    if refused is not None:
        head, *tail = refused[1].split("_")
        return _written([*path, head + "".join(map(str.title, tail))]), f"found {refused[2]}"
    if isinstance(value, dict | list) or _SECRET.search(_written(path)):
        return _written(path), said
    return _written(path), f"{said}; found {json.dumps(value)}"


def _steps(at: str) -> Iterator[str | int | None]:
    """The steps of the decoder's path; None where it does not say which key of a mapping."""
    for name, number, anything in _STEP.findall(at):
        yield None if anything else int(number) if number else name


def _followed(document: Any, steps: list[str | int | None], type_: type) -> tuple[list[str | int], Any]:
    """The path with its unsaid keys found out: the one that is wrong is wrong alone too."""
    path: list[str | int] = []
    value = document
    for step in steps:
        if step is None:
            step = next((key for key in value if not _decodes(_only(document, path, key), type_)), next(iter(value)))
        path.append(step)
        value = value[step]
    return path, value


def _only(document: Any, path: list[str | int], key: str) -> Any:
    """The document with nothing in the mapping at *path* but *key*, and elsewhere with nothing that path passes by."""
    if not path:
        return {key: document[key]}
    head, *rest = path
    inner = _only(document[head], rest, key)
    if isinstance(document, list):
        return [inner]
    return {**document, head: inner}


def _decodes(document: Any, type_: type) -> bool:
    try:
        msgspec.json.decode(json.dumps(document), type=type_)
    except msgspec.ValidationError:
        return False
    return True


def _fields(type_: Any, path: list[str | int]) -> list[str]:
    """The keys that the struct at *path* may have."""
    found = msgspec.inspect.type_info(type_)
    for step in path:
        found = _inner(found, step)
    found = _plain(found)
    return [field.encode_name for field in found.fields] if isinstance(found, msgspec.inspect.StructType) else []


def _inner(found: Any, step: str | int) -> Any:
    found = _plain(found)
    if isinstance(found, msgspec.inspect.StructType):
        return next(field.type for field in found.fields if field.encode_name == step)
    return found.value_type if isinstance(found, msgspec.inspect.DictType) else found.item_type


def _plain(found: Any) -> Any:
    """Without the None of an optional."""
    if isinstance(found, msgspec.inspect.UnionType):
        return next(kind for kind in found.types if not isinstance(kind, msgspec.inspect.NoneType))
    return found


def _written(path: list[str | int]) -> str:
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
