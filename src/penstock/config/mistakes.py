"""Says what is wrong with models.json and where, more exactly than the decoder can."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from functools import cache, reduce
from pathlib import Path
from typing import Any, Final

import msgspec

from penstock.core.errors import ConfigError
from penstock.core.validation import near

__all__ = ["explained", "mistake", "quoted"]

_type_info = cache(msgspec.inspect.type_info)  # 10 ms for a whole models.json
_encode = msgspec.json.Encoder(decimal_format="number").encode
_AT: Final = r" - at `(.*?)`$"
_STEP: Final = r"\.([^.\[\]]+)|\[(\d+)\]|\[(\.\.\.)\]"
_UNKNOWN: Final = r"(?s)unknown field `(.*)`"
_MISSING: Final = r"missing required field `(.*)`"
_REFUSED: Final = r"^`(\w+)` is (.*)"  # by a struct's own check, which knows its Python names only
_NUMBER: Final = r"^Expected `(?:int|float)\b"
_DIGITS: Final = r"-?\d+(?:\.\d+)?"
_LIKE_A_KEY: Final = r"\bsk-|[\w-]{24,}"
_MAY_HOLD_KEY: Final = r"apiKey|headers|settings|\$\.store"


def explained(data: bytes, type_: type[msgspec.Struct], error: Exception) -> tuple[str | None, str]:
    """The path in the document (None when it is no JSON) and what is wrong there, found and expected."""
    import json  # for those who have made one

    try:
        document = json.loads(data, parse_float=Decimal)  # a float could not be written again as it was
    except (ValueError, RecursionError) as broken:
        where = f"line {broken.lineno}, column {broken.colno}" if isinstance(broken, json.JSONDecodeError) else "it"
        return None, f"not JSON: {where}: {getattr(broken, 'msg', broken)}"
    found_at = re.search(_AT, str(error))
    said = re.sub(_AT, "", str(error))
    steps = list(_steps(found_at[1] if found_at else "$"))
    try:
        path, value = _followed(document, steps, type_, error)
    except (LookupError, TypeError, StopIteration):  # a key that stands there twice: of that, only the decoder knows
        return found_at[1] if found_at else "$", said
    unknown = re.search(_UNKNOWN, said)
    if unknown is not None:
        known = _fields(type_, path)
        word = unknown[1]
        return _written(path), f"unknown key {quoted(word)}, expected one of: {', '.join(known)}{near(word, known)}"
    missing = re.search(_MISSING, said)
    if missing is not None and isinstance(value, dict):
        return _written(path), f"the key `{missing[1]}` is missing"
    refused = re.search(_REFUSED, said)
    if refused is not None:
        head, *tail = refused[1].split("_")
        return _written([*path, head + "".join(map(str.title, tail))]), f"found {refused[2]}"
    allowed, numbers = _words(type_, path)
    if allowed and not isinstance(value, int | float | Decimal):
        said = f"expected one of: {', '.join(allowed)}{', or a whole number' * numbers}{near(str(value), allowed)}"
    if isinstance(value, str) and re.search(_NUMBER, said) and re.fullmatch(_DIGITS, value):
        return _written(path), f"{said}: write the number without quotes; found {quoted(value)}"
    if isinstance(value, dict | list) or re.search(_MAY_HOLD_KEY, _written(path)):
        return _written(path), said
    return _written(path), f"{said}; found {quoted(value)}"


def quoted(value: object) -> str:
    """*value* for a message; but not what may be a key that stands in the wrong place."""
    try:
        text = _encode(value).decode()
    except UnicodeEncodeError:  # from a command line that is not UTF-8
        text = ascii(value)
    return "a text that may be a key and is not shown" if re.search(_LIKE_A_KEY, text) else text


def _steps(at: str) -> Iterator[str | int | None]:
    """The steps of the decoder's path; None where it does not say which key of a mapping."""
    for name, number, anything in re.findall(_STEP, at):
        yield None if anything else int(number) if number else name


def _followed(
    document: Any, steps: list[str | int | None], type_: type, error: Exception
) -> tuple[list[str | int], Any]:
    """The path with its unsaid keys found out, and what stands there."""
    path: list[str | int] = []
    value = document
    for step in steps:
        if step is None:
            # Alone, the key that is wrong is wrong in the same way.
            wrong = (key for key in value if _failure(_only(document, path, key), type_) == str(error))
            step = next(wrong, next(iter(value)))
            document = _only(document, path, step)
        path.append(step)
        value = value[step]
    return path, value


def _only(document: Any, path: list[str | int], key: str) -> Any:
    """The document with nothing in the mapping at *path* but *key*. What the decoder came to before that was right."""
    if not path:
        return {key: document[key]}
    head, *rest = path
    inner = _only(document[head], rest, key)
    if isinstance(head, int):
        return [*document[:head], inner]
    return {**document, head: inner}


def _failure(document: Any, type_: type) -> str | None:
    try:
        msgspec.json.decode(_encode(document), type=type_)
    except msgspec.DecodeError as error:
        return str(error)
    return None


def _fields(type_: Any, path: list[str | int]) -> list[str]:
    """The keys that the struct at *path* may have."""
    found = _plain(_type_at(type_, path))
    return [field.encode_name for field in found.fields] if isinstance(found, msgspec.inspect.StructType) else []


def _words(type_: Any, path: list[str | int]) -> tuple[list[str], bool]:
    """The words that may stand at *path*, where only certain ones may, and whether a whole number may, too."""
    found = _type_at(type_, path)
    kinds = found.types if isinstance(found, msgspec.inspect.UnionType) else [found]
    words: list[str] = []
    numbers = False
    for kind in kinds:
        if isinstance(kind, msgspec.inspect.LiteralType):
            words += map(str, kind.values)
        elif isinstance(kind, msgspec.inspect.BoolType):
            words += ["true", "false"]
        elif isinstance(kind, msgspec.inspect.IntType):
            numbers = True
        elif not isinstance(kind, msgspec.inspect.NoneType):
            return [], False
    return (words, numbers) if words != ["true", "false"] else ([], False)


def _type_at(type_: Any, path: list[str | int]) -> Any:
    """The type of what stands at *path*."""
    return reduce(_inner, path, _type_info(type_))


def _inner(found: Any, step: str | int) -> Any:
    found = _plain(found)
    if isinstance(found, msgspec.inspect.StructType):
        return next(field.type for field in found.fields if field.encode_name == step)
    return found.value_type if isinstance(found, msgspec.inspect.DictType) else found.item_type


def _plain(found: Any) -> Any:
    """Without the None of an optional, and without what may stand in place of an object."""
    if isinstance(found, msgspec.inspect.UnionType):
        kinds = [kind for kind in found.types if not isinstance(kind, msgspec.inspect.NoneType)]
        kinds = [kind for kind in kinds if isinstance(kind, msgspec.inspect.StructType)] or kinds
        return kinds[0] if len(kinds) == 1 else found
    return found


def _written(path: list[str | int]) -> str:
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)


def mistake(file: Path | None, where: str | None, said: str, *more: str) -> ConfigError:
    """The error of a place in a file, or of a file, or of neither. more: lines below that."""
    place = ", at ".join(str(part) for part in (file, where) if part is not None)
    text = f"{place}: {said}" if place else said
    # A key of the file may hold a line end.
    error = ConfigError("\n".join(" ".join(line.splitlines()) for line in (text, *more)))
    error.file = file
    error.path = where
    return error
