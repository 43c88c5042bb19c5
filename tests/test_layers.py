"""The shape of the package: who may import whom, what importing it loads, and what is public."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import penstock

# A file imports only from lower levels; within a level, from the files named before it.
LEVELS = [
    ["chunks", "errors", "checking", "messages", "dialect", "models", "cost", "provider"],
    [
        "wire",
        "wire.decoding",
        "wire.quota",
        "wire.retry_after",
        "wire.sse",
        "wire.reader",
        "wire.request",
        "wire.anthropic_blocks",
        "wire.statuses",
        "wire.anthropic_errors",
        "wire.anthropic_usage",
        "wire.anthropic_messages",
        "wire.anthropic_options",
        "wire.anthropic_cache",
        "wire.anthropic_request",
        "wire.dialects",
        "wire.openai_errors",
        "wire.openai_usage",
        "wire.openai_calls",
        "wire.openai_chat",
        "wire.openai_responses",
        "wire.openai_options",
        "wire.openai_chat_request",
        "wire.openai_responses_request",
    ],
    ["deadlines", "redaction", "transport", "providers", "providers.anthropic", "providers.openai"],
    [
        "middleware.checking",
        "middleware.events",
        "middleware.telling",
        "middleware.wrapper",
        "middleware.loops",
        "middleware.window",
        "middleware.estimate",
        "middleware.retry",
        "middleware.fallback",
        "middleware.circuit_breaker",
        "middleware.concurrency",
        "middleware.rate_limit",
        "middleware.observe",
        "middleware.cache_blocks",
        "middleware.cache_memory",
        "middleware.cache_events",
        "middleware.cache_watch",
        "middleware",
        "collect",
        "type_schema",
        "tool_schema",
        "tools",
        "run_tools",
        "strict_schema",
        "partial_json",
        "answer_type",
        "structured",
        "histories.clean",
        "histories.repair",
        "histories.fit",
        "histories.stored",
        "histories",
    ],
    [
        "config_check",
        "registry",
        "testing.emulator",
        "testing.anthropic",
        "testing.openai",
        "testing.demo_openai",
        "testing.demo",
        "testing.scripted",
        "testing.answers",
        "testing.variants",
        "testing.fault",
        "testing.oddities",
        "testing.faults",
        "testing",
    ],
    ["doctor", "cli", "__main__", "testing.pytest_plugin"],
]
ORDER = [f"penstock.{name}" for level in LEVELS for name in level]
STDLIB_AND = {
    "level 0": {"msgspec"},
    "wire": {"msgspec"},
    "transport": {"msgspec", "anyio", "httpx2"},
    "providers": {"anthropic", "openai"},
    "middleware": {"msgspec", "anyio"},
    "loop": {"msgspec", "anyio"},
    "tool_schema": {"msgspec", "docstring_parser"},
    "registry": {"msgspec", "keyring"},
    "testing": {"msgspec", "anyio", "h11"},
    "cli": {"msgspec", "anyio"},
    "plugin": {"anyio", "pytest"},
}
GROUPS = {
    "deadlines": "transport",
    "redaction": "transport",
    "tools": "loop",
    "run_tools": "loop",
    "config_check": "registry",
    "__main__": "cli",
    "doctor": "cli",
    "testing.pytest_plugin": "plugin",
}
ROOT = Path(penstock.__file__).parent


def imports(name: str) -> set[str]:
    """What a module imports, also inside functions and for types only."""
    path = ROOT.joinpath(*name.split(".")[1:])
    source = path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"
    found: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def test_every_module_has_its_level() -> None:
    """A new module must be placed before it can be used."""
    found = {module.name for module in pkgutil.walk_packages(penstock.__path__, "penstock.")}
    assert found == set(ORDER)


@pytest.mark.parametrize("name", ORDER)
def test_a_file_imports_only_from_lower_levels(name: str) -> None:
    """Nothing from above, nothing from its own level that comes later."""
    lower = set(ORDER[: ORDER.index(name)])
    ours = {module for module in imports(name) if module.split(".")[0] == "penstock"}
    assert ours <= lower


@pytest.mark.parametrize("name", [f"penstock.{name}" for name in LEVELS[3]])
def test_what_is_built_on_the_stream_knows_only_the_contract(name: str) -> None:
    """Never a wire, an SDK or HTTP: what is wrapped or read is a BaseProvider, whichever."""
    known = {f"penstock.{known}" for level in (LEVELS[0], LEVELS[3]) for known in level}
    assert {module for module in imports(name) if module.split(".")[0] == "penstock"} <= known


@pytest.mark.parametrize("name", ORDER)
def test_what_a_file_may_know_beside_the_standard_library(name: str) -> None:
    """The wires know no I/O, no event loop and no SDK; only the providers know the SDKs."""
    short = name.removeprefix("penstock.")
    part = short.split(".")[0]
    group = GROUPS.get(short) or GROUPS.get(part, part)
    allowed = STDLIB_AND.get(group, STDLIB_AND["level 0"])
    outside = {module.split(".")[0] for module in imports(name)} - set(sys.stdlib_module_names) - {"penstock"}
    assert outside <= allowed
    if group == "wire" or short in LEVELS[0]:
        assert not imports(name) & {"asyncio", "socket", "time", "os", "threading", "logging"}


def test_importing_it_loads_no_sdk_and_no_http_client() -> None:
    """Nor does asking for its version."""
    code = "import sys, penstock; penstock.__version__; print(*sys.modules)"
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
    }
    assert not heavy & {module.split(".")[0] for module in loaded}


def test_the_public_names_are_the_promised_ones() -> None:
    """They are listed, sorted and there; an unknown one is an AttributeError."""
    assert penstock.__all__ == sorted(penstock.__all__)
    for name in penstock.__all__:
        assert getattr(penstock, name) is not None
    promised = """
        BaseProvider Message TextPart ImagePart DocumentPart ToolCallPart ToolResultPart ReasoningPart OpaquePart
        Tool Options Chunk TextChunk ReasoningChunk ToolCallDeltaChunk ToolCallChunk OpaqueChunk UsageChunk StopChunk
        ModelInfo ProviderConfig ModelsConfig load_models open_provider calculate_cost Deadlines AnthropicProvider
        OpenAIProvider ProviderError
    """
    assert set(promised.split()) <= set(penstock.__all__)
    assert not hasattr(penstock, "nonsense")


@pytest.mark.parametrize("name", [name for name in ORDER if not name.endswith("__main__")])
def test_every_module_says_what_is_public(name: str) -> None:
    """Each `__all__` is sorted, complete as to what it names, and documented."""
    module = importlib.import_module(name)
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
