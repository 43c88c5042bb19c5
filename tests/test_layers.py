"""The shape of the package: who may import whom, what importing it loads, and what is public."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import penstock
from places import unmeasured

ROOT = Path(penstock.__file__).parent

# The rooms from the ground up: each may use those before it. What lies in a room, the tree itself says.
ROOMS = ("core", "wire", "providers", "middleware", "histories", "agent", "meter", "fleet", "config", "testing", "cli")
# Narrower than "those before it": what is wrapped or read is a BaseProvider, never a wire, an SDK or HTTP.
KNOWS = {
    "wire": {"core"},
    "middleware": {"core"},
    "histories": {"core"},
    "agent": {"core", "middleware", "histories"},
}
# Beside the standard library; a file's own row, its folder's, or its room's.
OUTSIDE = {
    "": set(),
    "core": {"msgspec"},
    "core/closing": {"anyio"},
    "core/waking": {"anyio"},
    "wire": {"msgspec"},
    "providers": {"msgspec", "anyio", "h11", "httpx2", "anthropic", "openai"},
    "providers/aiohttp_pool": {"aiohttp"},
    "providers/aiohttp_transport": {"anyio", "h11", "httpx2", "aiohttp", "yarl"},
    "providers/platforms": {"msgspec", "anyio", "httpx2", "azure", "botocore", "google"},
    "middleware": {"msgspec", "anyio"},
    "histories": {"msgspec"},
    "agent": {"msgspec", "anyio"},
    "agent/alone": {"anyio", "trio"},
    "agent/background": {"sniffio"},
    "agent/mcp/child": {"msgspec", "anyio", "mcp", "mcp_types"},
    "agent/mcp/http": {"msgspec", "anyio", "httpx2", "mcp"},
    "agent/mcp/session": {"msgspec", "anyio", "mcp", "mcp_types", "pydantic"},
    "agent/schema/tool_schema": {"msgspec", "docstring_parser"},
    "agent/schema/partial_json": {"msgspec", "jiter"},
    "agent/schema/foreign": {"msgspec", "pydantic"},
    "meter": {"msgspec", "anyio"},
    "meter/postgres": {"psycopg"},
    "meter/telemetry": {"opentelemetry"},
    "meter/report/charts": {"pygal"},
    "meter/report/page": {"jinja2"},
    "fleet": {"msgspec", "anyio"},
    "fleet/redis_link": {"msgspec", "anyio", "coredis"},
    "config": {"msgspec", "keyring"},
    "config/live": {"msgspec", "anyio"},
    "config/price_update": {"msgspec", "genai_prices"},
    "testing": {"msgspec", "anyio", "h11"},
    "testing/cassettes": {"msgspec", "pytest", "vcr"},
    "testing/pytest_plugin": {"anyio", "pytest"},
    "cli": {"msgspec", "anyio"},
    "cli/batch_progress": {"rich"},
    "cli/composer": {"anyio", "prompt_toolkit"},
    "cli/rendering": {"msgspec", "rich", "markdown_it"},  # rich's own parser
}
# What comes with the package itself; all else in OUTSIDE comes with an extra.
ALWAYS = {
    "anthropic",
    "anyio",
    "docstring_parser",
    "h11",
    "httpx2",
    "jiter",
    "msgspec",
    "openai",
    "pydantic",
    "sniffio",
}
PURE = {"core", "wire"}
IMPURE = {"asyncio", "socket", "time", "os", "threading", "logging"}


def modules(root: Path) -> dict[str, Path]:
    """Every file of the package by its path without the ending: `wire/sse`, `middleware` for a folder's own."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).with_suffix("").as_posix()
        found["" if name == "__init__" else name.removesuffix("/__init__")] = path
    return found


def imports(path: Path) -> set[str]:
    """What a file imports, also inside functions and for types only; `from a import b` counts as both names."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def arrows(root: Path) -> dict[str, set[str]]:
    """Which files of the package each file imports."""
    known = modules(root)
    graph = {}
    for name, path in known.items():
        dotted = {module.replace(".", "/") for module in imports(path)}
        inside = {module.removeprefix("penstock").lstrip("/") for module in dotted if module.startswith("penstock")}
        used = inside & set(known) - {name}
        # `from penstock.cli import main` names the folder too.
        graph[name] = {
            one for one in used if not one or not any(other.rpartition("/")[0] == one for other in used - {one})
        }
    return graph


def room(name: str) -> str:
    """The room in which a file lies; the package's own `__init__` and `__main__` lie in none."""
    return "" if name == "__main__" else name.split("/")[0]


def faults(root: Path) -> Iterator[str]:
    """What is wrong with a tree, a sentence each."""
    graph = arrows(root)
    for name, used in graph.items():
        here = room(name)
        if here and here not in ROOMS:
            yield f"{name} lies in no room: {', '.join(ROOMS)}"
            continue
        for other in sorted(used):
            there = room(other)
            if here and there != here:
                before = {*ROOMS[: ROOMS.index(here)]}
                if there not in KNOWS.get(here, before):
                    yield f"{name} imports {other or 'penstock'}, which it may not know"
    yield from circles(graph)


def circles(graph: dict[str, set[str]]) -> Iterator[str]:
    """Files that import each other, by whatever way round. The package's `__init__` hands on names and is left out."""
    left = {name: used - {""} for name, used in graph.items() if name}
    while free := [name for name, used in left.items() if not used & set(left)]:
        for name in free:
            del left[name]
    if left:
        yield f"a circle: {', '.join(sorted(left))}"


def test_a_file_imports_only_from_rooms_above_its_own_and_in_no_circle() -> None:
    """The whole tree."""
    assert list(faults(ROOT)) == []


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"core/a.py": "import penstock.agent.b", "agent/b.py": ""}, "core/a imports agent/b, which it may not know"),
        (
            {"core/a.py": "def f():\n    from penstock.cli import main", "cli/main.py": ""},
            "core/a imports cli/main, which it may not know",
        ),
        ({"wire/a.py": "from penstock import Reply"}, "wire/a imports penstock, which it may not know"),
        (
            {"agent/a.py": "from penstock.wire.sse import x", "wire/sse.py": ""},
            "agent/a imports wire/sse, which it may not know",
        ),
        (
            {"core/a.py": "import penstock.core.b", "core/b.py": "from penstock.core import a"},
            "a circle: core/a, core/b",
        ),
        ({"tools/a.py": ""}, f"tools/a lies in no room: {', '.join(ROOMS)}"),
        ({"utils.py": ""}, f"utils lies in no room: {', '.join(ROOMS)}"),
        ({"cli/a.py": "import penstock.core.b", "core/b.py": "import json"}, None),
    ],
    ids=["upwards", "upwards in a function", "the public names", "a wire", "a circle", "no room", "the root", "right"],
)
def test_a_wrong_tree_is_found(files: dict[str, str], said: str | None, tmp_path: Path) -> None:
    """The law can fail."""
    for name, text in {"__init__.py": "", **{f"{room}/__init__.py": "" for room in ROOMS}, **files}.items():
        path = tmp_path / "penstock" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert list(faults(tmp_path / "penstock")) == ([] if said is None else [said])


def test_nothing_lies_at_the_root_but_the_public_names() -> None:
    """And `python -m penstock`."""
    assert {path.name for path in ROOT.glob("*.py")} == {"__init__.py", "__main__.py"}


@pytest.mark.parametrize("name", modules(ROOT))
def test_what_a_file_may_know_beside_the_standard_library(name: str) -> None:
    """The wires know no I/O, no event loop and no SDK; only the providers know the SDKs."""
    path = modules(ROOT)[name]
    outside = {module.split(".")[0] for module in imports(path)} - set(sys.stdlib_module_names) - {"penstock"}
    assert outside <= OUTSIDE.get(name, OUTSIDE[room(name)])
    if room(name) in PURE and name != "core/closing":  # which is about event loops
        assert not imports(path) & IMPURE


@pytest.mark.parametrize("name", ["providers/transport", "providers/deadlines", "providers/redaction"])
def test_the_transport_knows_no_sdk(name: str) -> None:
    """Each SDK is known to the provider that is built on it."""
    assert not {"anthropic", "openai"} & {module.split(".")[0] for module in imports(modules(ROOT)[name])}


@pytest.mark.parametrize("asked", ["import penstock; penstock.__version__", "from penstock import *"])
def test_importing_it_loads_no_sdk_and_no_http_client(asked: str) -> None:
    """Nor does asking for its version, or for every name."""
    code = f"import sys; {asked}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {
        "anthropic",
        "openai",
        "httpx",
        "httpx2",
        "httpcore2",
        "pydantic",
        "h11",
        "vcr",
        "trio",
        "keyring",
        "docstring_parser",
        "jiter",
    }
    assert not heavy & {module.split(".")[0] for module in loaded}


def test_to_open_a_provider_loads_no_middleware_and_no_provider_before_one_is_opened() -> None:
    """Nor what only a found file's owner, or a mistake, needs."""
    code = "import sys; from penstock import open_provider; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    loaded = subprocess.run(command, capture_output=True, text=True, env=unmeasured(), check=True).stdout.split()
    unwanted = {"hashlib", "json", "tempfile", "shlex", "importlib.resources"}
    assert [name for name in loaded if name in unwanted or name.startswith(("penstock.m", "penstock.providers"))] == []


def test_every_public_name_is_there_without_any_extra() -> None:
    """What needs one says so when it is called."""
    extra = set().union(*OUTSIDE.values()) - ALWAYS
    packages = ["penstock", *(f"penstock.{room}" for room in ROOMS)]
    code = f"import sys; sys.modules |= dict.fromkeys({sorted(extra)}); "
    code += "; ".join(f"from {name} import *" for name in packages)
    subprocess.run([sys.executable, "-c", code], env=unmeasured(), check=True)


def test_the_public_names_are_the_promised_ones() -> None:
    """They are listed and there; an unknown one is an AttributeError."""
    for name in dir(penstock):
        assert getattr(penstock, name) is not None
    promised = """
        BaseProvider Message TextPart ImagePart DocumentPart ToolCallPart ToolResultPart ReasoningPart OpaquePart
        Tool Options Chunk TextChunk ReasoningChunk ToolCallDeltaChunk ToolCallChunk OpaqueChunk UsageChunk StopChunk
        ModelInfo ProviderConfig ModelsConfig load_models open_provider calculate_cost Deadlines AnthropicProvider
        OpenAIProvider ProviderError
    """
    assert set(promised.split()) <= set(dir(penstock))
    assert not hasattr(penstock, "nonsense")


@pytest.mark.parametrize("name", ["penstock", "penstock.middleware", "penstock.testing"])
def test_what_a_public_package_shows_is_its_public_names(name: str) -> None:
    """And nothing that it needs itself. A name that is asked for stays, and no module has it."""
    package = importlib.import_module(name)
    assert dir(package) == sorted(package.__all__)
    folder = Path(str(package.__file__)).parent
    assert not {path.stem for path in folder.iterdir()} & set(package.__all__)
    for word in package.__all__:
        assert getattr(package, word) is vars(package)[word]


@pytest.mark.parametrize("name", ["penstock", "penstock.testing"])
def test_type_checkers_see_the_names_that_come_when_they_are_asked_for(name: str) -> None:
    """All of them, each in the module where it is found, and each said to be meant for others."""
    package = importlib.import_module(name)
    seen: dict[str, str | None] = {}
    homes = {}
    for node in ast.walk(ast.parse(Path(str(package.__file__)).read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("penstock"):
            seen |= {alias.asname: node.module for alias in node.names if alias.asname == alias.name}
        elif isinstance(node, ast.Dict):
            homes = ast.literal_eval(node)
    assert seen == {word: f"{name}.{home}" for home, words in homes.items() for word in words}
    assert sorted(seen) == sorted(package.__all__)


def test_a_public_package_is_there_for_who_imports_only_the_root() -> None:
    """As `import penstock; penstock.middleware.Retry` has always been."""
    code = "import penstock; print(penstock.middleware.Retry.__name__, penstock.testing.Emulator.__name__)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "Retry Emulator\n"


@pytest.mark.parametrize("name", [name for name in modules(ROOT) if name != "__main__"])
def test_every_module_says_what_is_public(name: str) -> None:
    """Each `__all__` is sorted, complete as to what it names, and documented."""
    module = importlib.import_module(".".join(("penstock", *filter(None, name.split("/")))))
    public = getattr(module, "__all__", [])
    assert list(public) == sorted(public, key=lambda word: (not word.isupper(), not word[0].isupper(), word))
    for word in public:
        thing = getattr(module, word)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert thing.__doc__, f"{name}.{word}"


def test_the_signs_of_drift() -> None:
    """Files under 400 lines; functions under 40, as a sign."""
    for path in ROOT.rglob("*.py"):
        text = path.read_text()
        assert text.count("\n") < 400, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 50, (path, node.name)
