"""The guide's tables, made from the docstrings: `python tests/support/tables.py` writes them into the pages.

A page says which table it wants by a pair of comments, and what lies between them is made here:

    <!-- fields of Options -->
    <!-- end -->

`fields of` is a table of one class's fields, inherited ones included; `classes of core.chunks` one of all classes of a
module, each with its own fields; `classes of core.messages/Part` of those whose names end so. A field's
documentation is the string that follows it.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Final, NamedTuple

import penstock
from penstock import ProviderError
from penstock.core.provider_config import Form

GUIDE: Final = Path(penstock.__file__).parent / "guide"
HOMES: Final = (
    "core.chunks",
    "config.entries",
    "core.provider_config",
    "core.messages",
    "core.models",
    "core.dialect",
    "core.errors",
    "middleware.events",
    "middleware.cache_watch.events",
    "middleware.shared",
    "meter.entries",
    "fleet.jobs",
)
ONLY_READ: Final = ("BlockChange", "CacheMiss", "Entry", "JobResult", "Progress", "ProviderStatus")
"""What the package makes, and nobody else."""
_PYTHON: Final = re.compile(r"`([a-z]+(?:_[a-z]+)+|None|True|False|\(\)|Deadlines\(\))`")
_PLACE: Final = re.compile(r"(<!-- (fields|classes) of ([\w./]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


class Field(NamedTuple):
    """One field as the source has it. default: as it is written, None for none. said: empty where nothing is."""

    name: str
    default: str | None
    said: str


def module_of(name: str) -> ModuleType:
    """The module of one of the classes that the guide has tables of."""
    return next(module for home in HOMES if hasattr(module := import_module(f"penstock.{home}"), name))


def classes(home: str) -> Iterator[type]:
    """The public classes of a module, in the order of the source."""
    module = import_module(f"penstock.{home}")
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.ClassDef) and node.name in module.__all__:
            yield getattr(module, node.name)


def own_fields(cls: type) -> list[Field]:
    """What a class itself declares, in its body or in its `__init__`, without what begins with an underscore."""
    (tree,) = ast.parse(inspect.getsource(cls)).body
    assert isinstance(tree, ast.ClassDef)
    found = list(_declared(tree.body))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            found += _declared(node.body)
    return [field for field in found if not field.name.startswith("_")]


def _declared(body: list[ast.stmt]) -> Iterator[Field]:
    for node, following in zip(body, [*body[1:], None], strict=True):
        target: ast.expr
        if isinstance(node, ast.AnnAssign):
            target = node.target
        elif isinstance(node, ast.Assign):
            target = node.targets[0]
        else:
            continue
        said = ""
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            said = inspect.cleandoc(str(following.value.value)).replace("\n", " ")
        name = ast.unparse(target).removeprefix("self.")
        yield Field(name, None if node.value is None else ast.unparse(node.value), said)


def fields(cls: type) -> list[Field]:
    """The class's fields after those it inherits; where a class sets another default only, what its base says holds."""
    found: dict[str, Field] = {}
    for each in reversed([base for base in cls.__mro__ if base.__module__.startswith("penstock.")]):
        for field in own_fields(each):
            before = found.get(field.name)
            found[field.name] = field if before is None or field.said else field._replace(said=before.said)
    return list(found.values())


def _default(field: Field) -> str:
    if field.default is None:
        return "required"
    factory = re.search(r"default_factory=(?:lambda: )?(.*)\)$", field.default)
    renamed = re.search(r"default=([^,()]+)\)$", field.default)
    value = factory[1] if factory else renamed[1] if renamed else field.default
    if field.default.startswith("msgspec.field(") and not factory and not renamed:
        return "required"
    return f"`{value.replace('dict', '{}') if value == 'dict' else value.replace(chr(39), chr(34))}`"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def table_of_fields(cls: type) -> str:
    """Name, default, and what its documentation says; the defaults of what one only reads say nothing."""
    if issubclass(cls, ProviderError) or cls.__name__ in ONLY_READ:
        head = "attribute" if issubclass(cls, ProviderError) else "field"
        return _table([head, "what it is"], [[f"`{each.name}`", each.said] for each in fields(cls)])
    rows = [[f"`{each.name}`", _default(each), each.said] for each in fields(cls)]
    if issubclass(cls, Form):
        rows = [
            [*(_PYTHON.sub(_as_in_json, cell) for cell in cells), re.sub(r"\bNone\b", "`null`", said)]
            for *cells, said in rows
        ]
    return _table(["field", "default", "what it is"], rows)


def _as_in_json(found: re.Match[str]) -> str:
    """As models.json takes it: it refuses Python's names and values."""
    head, *tail = found[1].split("_")
    value = {"None": "null", "True": "true", "False": "false", "()": "[]", "Deadlines()": "{}"}.get(found[1])
    return f"`{value or head + ''.join(map(str.title, tail))}`"


def table_of_classes(home: str) -> str:
    """Each class with the first paragraph of its documentation, and below it its own fields; of errors, whether to try
    again.
    """
    module, _, ending = home.partition("/")
    errors = home == "core.errors"
    rows = []
    for cls in (each for each in classes(module) if each.__name__.endswith(ending)):
        said = inspect.cleandoc(cls.__doc__ or "").split("\n\n")[0].replace("\n", " ")
        retryable = ["yes" if getattr(cls, "retryable", False) else "no"] if errors else []
        rows.append([f"`{cls.__name__}`", "", said, *retryable])
        own = own_fields(cls) if cls is not ProviderError else []
        rows += [["", f"`{each.name}`", each.said, *([""] if errors else [])] for each in own if each.said]
    return _table(["class", "field", "what it is", *(["retryable"] if errors else [])], rows)


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join([_row(*head), "|" + "---|" * len(head), *(_row(*row) for row in rows)])


def filled(page: str) -> str:
    """The page with its tables as the docstrings have them."""

    def made(found: re.Match[str]) -> str:
        _, kind, what, _, _ = found.groups()
        table = table_of_fields(getattr(module_of(what), what)) if kind == "fields" else table_of_classes(what)
        return f"{found[1]}{table}\n{found[5]}"

    return _PLACE.sub(made, page)


def wanted() -> set[tuple[str, str]]:
    """Which tables the pages have: kind and name."""
    return {
        (kind, name) for page in GUIDE.glob("*.md") for _, kind, name, _, _ in _PLACE.findall(page.read_text("utf-8"))
    }


def main() -> None:
    """Write them."""
    for page in sorted(GUIDE.glob("*.md")):
        text = page.read_text("utf-8")
        if (new := filled(text)) != text:
            page.write_text(new, "utf-8")
            print(f"wrote the tables of {page.name}")


if __name__ == "__main__":
    main()
