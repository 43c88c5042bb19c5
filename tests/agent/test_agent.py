"""The agent of the README: ten turns on each wire that read and edit files, and a bill that is right to the last digit.

Its cassettes, of llama.cpp's server, are played in test_cassettes.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import anyio
import msgspec
import pytest

import penstock
from agent import agent
from billing import Bill, Books, printed_bill, reported, totals
from penstock import BaseProvider, Message, ModelInfo, ToolResultPart, UsageChunk, catalog, repair
from penstock.meter import Ledger, Metered
from penstock.testing import (
    DemoModel,
    Emulator,
    Request,
    ServerReply,
    anthropic_message,
    chat_completion,
    responses_message,
)
from places import ROOT
from three_wires import ThreeWire, each_wire

pytestmark = pytest.mark.anyio

FOLDER = Path("project")
BEFORE: Final = {
    "plan.md": "# Plan\n\nShip in Mai.\n",
    "todo.txt": "buy milk\nwrite tests\n",
    "src/app.py": 'print("helo")\n',
}
AFTER: Final = {
    "plan.md": "# Plan\n\nShip in May.\n",
    "todo.txt": "[x] buy milk\n[x] write tests\n",
    "src/app.py": 'log("hello")\n',
}
SECRET: Final = "nobody may read this"

Call: TypeAlias = tuple[str, dict[str, str]]


def edit(path: str, old: str, new: str) -> Call:
    return "edit_file", {"path": path, "old": old, "new": new}


def look(path: str) -> Call:
    return "read_file", {"path": path}


LIST: Final[Call] = ("list_files", {})
# Ten turns. What the model says, by the number of results that it has seen since it was asked: calls, or a text with
# the last result in it.
TURNS: Final[Sequence[tuple[str, Mapping[int, str | list[Call]]]]] = [
    ("What is here?", {0: [LIST], 1: "There are {}."}),
    ("What does the plan say?", {0: [look("plan.md")], 1: "It says: {}"}),
    ("It is called May.", {0: [edit("plan.md", "Mai", "May")], 1: "{}"}),
    ("Mend src/app.py.", {0: [look("src/app.py")], 1: [edit("src/app.py", "helo", "hello")], 2: "Mended."}),
    # Two edits of one file at the same time: neither may be lost.
    ("I have done both.", {0: [edit("todo.txt", "buy", "[x] buy"), edit("todo.txt", "write", "[x] write")], 2: "Yes."}),
    ("Juni is June.", {0: [edit("plan.md", "Juni", "June")], 1: [look("plan.md")], 2: "There is no Juni in {}"}),
    ("Read ../secret.txt.", {0: [look("../secret.txt")], 1: [look(str(Path("/etc/passwd")))], 2: "I cannot: {}"}),
    ("Thank you.", {0: "You are welcome."}),
    ("Read all.", {0: [look(path) for path in BEFORE], 3: "The last one is {}"}),
    ("Log it.", {0: [edit("src/app.py", "print", "log")], 1: [edit("src/app.py", "l", "L")], 2: "Logged: {}"}),
]
REQUESTS: Final = [request for request, _ in TURNS]
MODELS: Final = {"anthropic": "claude-sonnet-5-5", "chat": "gpt-6.1-sol", "responses": "gpt-6.1-sol"}


class ScriptedModel:
    """Follows TURNS on all three wires, with the tokens and the cache of a DemoModel."""

    def __init__(self) -> None:
        self._demo = DemoModel()
        self.sent: list[bytes] = []
        """The answers."""

    def __call__(self, request: Request) -> ServerReply:
        body = msgspec.json.decode(request.body)
        asked, results = history_of(body)
        said = TURNS[asked - 1][1][len(results)]
        calls = [] if isinstance(said, str) else said
        text = said.format(results[-1] if results else "") if isinstance(said, str) else ""
        # Asked for a document and not for a stream, the other model says what this prompt was worth.
        whole = self._demo(msgspec.structs.replace(request, body=msgspec.json.encode({**body, "stream": False})))
        (document,) = (step for step in whole.body if isinstance(step, bytes))
        usage = msgspec.json.decode(document)["usage"]
        name = "completion_tokens" if "completion_tokens" in usage else "output_tokens"
        before = usage.get("total_tokens", 0) - usage[name]
        usage[name] = 7 + len(f"{text}{calls}") // 4
        if before > 0:
            usage["total_tokens"] = before + usage[name]
        ids = [f"call_{asked}_{len(results)}_{place}" for place in range(len(calls))]
        made = list(zip(ids, calls, strict=True))
        events = WRITERS[request.path.partition("?")[0].rpartition("/")[2]](text, made, usage)
        self.sent.append(b"".join(events))
        return ServerReply(events)


def history_of(body: Mapping[str, Any]) -> tuple[int, list[str]]:
    """How often the user has asked, and the results of tools since the last time."""
    asked, results = 0, list[str]()
    for message in body["messages"] if "messages" in body else body["input"]:
        parts = message.get("content")
        found = [part for part in parts if part["type"] == "tool_result"] if isinstance(parts, list) else []
        if message.get("role") == "tool" or message.get("type") == "function_call_output" or found:
            results += [plain(each.get("output") or each["content"]) for each in found or [message]]
        elif message.get("role") == "user":
            asked += 1
            results = []
    return asked, results


def plain(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


Made: TypeAlias = Sequence[tuple[str, Call]]


def _messages(text: str, made: Made, usage: Mapping[str, Any]) -> Sequence[bytes]:
    blocks: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
    blocks += ({"type": "tool_use", "id": key, "name": name, "input": given} for key, (name, given) in made)
    final = {"output_tokens": usage["output_tokens"]}
    reason = "tool_use" if made else "end_turn"
    return anthropic_message(*blocks, usage={**usage, "output_tokens": 1}, final_usage=final, stop_reason=reason)


def _chat(text: str, made: Made, usage: Mapping[str, Any]) -> Sequence[bytes]:
    calls = [{"id": key, "name": name, "arguments": given} for key, (name, given) in made]
    return chat_completion(text=text, tool_calls=calls, usage=usage)


def _responses(text: str, made: Made, usage: Mapping[str, Any]) -> Sequence[bytes]:
    items: list[dict[str, Any]] = []
    if text:
        items.append({"type": "message", "content": [{"type": "output_text", "text": text}]})
    items += (
        {"type": "function_call", "call_id": key, "name": name, "arguments": given} for key, (name, given) in made
    )
    return responses_message(*items, usage=usage)


WRITERS: Final = {"messages": _messages, "completions": _chat, "responses": _responses}


def lay_out(folder: Path) -> None:
    """The files as they are before, and one beside the folder that is nobody's business."""
    for name, text in BEFORE.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    (folder.resolve().parent / "secret.txt").write_text(SECRET, "utf-8")


def files_in(folder: Path) -> dict[str, str]:
    return {name: (folder / name).read_text("utf-8") for name in BEFORE}


def known(model: str) -> ModelInfo:
    info = catalog().models[model].provider_config.model_info
    assert info is not None
    return info


def provider_of(wire: ThreeWire, url: str) -> BaseProvider:
    where = url if wire.name == "anthropic" else f"{url}/v1"
    return wire.provider(where, model_id=MODELS[wire.name], model_info=known(MODELS[wire.name]))


@each_wire
async def test_ten_turns_that_read_and_edit_files(wire: ThreeWire, capsys: pytest.CaptureFixture[str]) -> None:
    """The files are as they must be, the history is legal, and the bill is that of the server's own books."""
    lay_out(FOLDER)
    model = ScriptedModel()
    history: list[Message] = []
    async with Emulator(model) as emulator:
        books = Books(provider_of(wire, emulator.url))
        await agent(Metered(books, Ledger()), FOLDER, history, REQUESTS)
        sent = b"".join(request.body for request in emulator.requests)
    output = capsys.readouterr().out
    assert files_in(FOLDER) == AFTER
    assert SECRET.encode() not in sent
    assert "It says: # Plan" in output
    assert repair(history).notes == []
    assert [message.role for message in history] == ["user", "assistant"] * (len(history) // 2)
    parts = [part for message in history if not isinstance(message.content, str) for part in message.content]
    failed = [part.content for part in parts if isinstance(part, ToolResultPart) and part.is_error]
    assert failed[0] == "ValueError: the old text stands in the file 0 times"
    assert all("is not in the subpath of" in str(each) for each in failed[1:3])
    assert failed[3] == "ValueError: the old text stands in the file 3 times"
    assert len(failed) == 4

    bill = printed_bill(output)
    total = sum(books.chunks, UsageChunk())
    assert total.cost is not None
    assert bill == Bill(total.prompt_tokens, total.output_tokens, total.cost, bill.saved)
    calls = [reported(answer) for answer in model.sent]
    assert len(calls) == 23
    assert total.cache_read_tokens > total.input_tokens
    assert bill == totals(calls, known(MODELS[wire.name]))


async def test_it_runs_as_it_stands_in_the_readme(tmp_path: Path, anyio_backend: str) -> None:
    """As a script, in a folder, with what is asked on its command line; a models.json names a model `demo`."""
    if anyio_backend != "asyncio":
        pytest.skip("the script chooses its loop itself")
    folder = tmp_path / "project"
    lay_out(folder)
    model = ScriptedModel()
    async with Emulator(model) as emulator:
        config = {"modelId": "claude-sonnet-5-5", "apiKey": "sk-none", "baseUrl": emulator.url}
        models = {"active": "demo", "models": {"demo": {"provider": "anthropic", "providerConfig": config}}}
        (tmp_path / "models.json").write_bytes(msgspec.json.encode(models))
        environment = {"PENSTOCK_MODELS": str(tmp_path / "models.json"), "HOME": str(tmp_path)}
        environment["PYTHONPATH"] = str(Path(penstock.__file__).parent.parent)  # the one that is tested
        command = [sys.executable, "-W", "error", str(ROOT / "tests" / "support" / "agent.py"), *REQUESTS]
        done = await anyio.run_process(command, env=environment, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert "Warning" not in done.stderr.decode()  # what its tools have raised is logged there
    assert files_in(folder) == AFTER
    calls = [reported(answer) for answer in model.sent]
    bill = totals(calls, known("claude-sonnet-5-5"))
    assert printed_bill(done.stdout.decode()) == bill
    async with Ledger(tmp_path / "spend.db") as ledger:
        [total] = await ledger.totals()
    assert (total.calls, total.usage.cost) == (len(calls), bill.cost)


def test_the_readme_has_this_agent_in_some_forty_lines() -> None:
    """The same text in both places."""
    text = (ROOT / "tests" / "support" / "agent.py").read_text()
    assert f"```python\n{text}```\n" in (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 42
