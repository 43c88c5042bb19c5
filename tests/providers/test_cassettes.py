"""Recorded exchanges, replayed with the network blocked. `nox -s record` makes the cassettes again.

The same scenarios are recorded from llama.cpp's server, from the emulator, and from the real API wherever a key is set.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from vcr.cassette import Cassette

from agent import agent
from billing import Bill, Books, printed_bill, reported, totals
from cassette_replies import REPLIES
from dialects import SCRIPTS
from penstock import (
    AuthenticationError,
    Chunk,
    ImagePart,
    Message,
    ModelInfo,
    NotFoundError,
    OpaqueChunk,
    OpaquePart,
    Options,
    OverloadedError,
    ProviderError,
    QuotaExceededError,
    RateLimitError,
    ReasoningChunk,
    ReasoningPart,
    TextPart,
    TokenLimitError,
    Tool,
    ToolCallPart,
    ToolResultPart,
    UsageChunk,
    repair,
)
from penstock.meter import Ledger, Metered
from penstock.middleware import Retry
from penstock.testing import DemoModel, Request, ServerReply, anthropic_error, anthropic_message
from places import CASSETTES
from reading import calls_of, reasoning_of, stop_of, text_of, usage_of
from recording import REAL_KEYS, SOURCES, talking_to

pytestmark = pytest.mark.anyio

LLAMA = "llama.cpp", "llama.cpp-chat", "llama.cpp-responses"
OPENAI = "emulator-chat", "emulator-responses"
ALL = *LLAMA, "emulator", *OPENAI, "anthropic", "openai"

WEATHER = Tool(
    name="get_weather",
    description="The weather in a city.",
    parameters={
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"type": "string"}},
        "required": ["city"],
    },
)
TIME = Tool(
    name="get_time",
    description="The time in a time zone, as Europe/Paris.",
    parameters={"type": "object", "properties": {"timezone": {"type": "string"}}, "required": ["timezone"]},
)
PING = Tool(name="ping", description="Takes no arguments.")
WRITE = Tool(
    name="write_file",
    description="Writes a file.",
    parameters={
        "type": "object",
        "properties": {"path": {"type": "string"}, "content": {"type": "string"}},
        "required": ["path", "content"],
    },
)
# One black pixel.
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c6360000000020001"
    "48afa4710000000049454e44ae426082"
)
RULES = "\n".join(f"Rule {number}: answer in one short sentence, and be polite about it." for number in range(1, 61))


class Scenario(NamedTuple):
    """What is asked, where, and what must hold. Each turn is one call.

    replies: what the emulator says over Anthropic's API; for the others see cassette_replies.
    """

    sources: Sequence[str]
    turns: Sequence[Callable[[list[list[Chunk]]], list[Message]]]
    check: Callable[[list[list[Chunk]]], None]
    replies: Sequence[ServerReply | Callable[[Request], ServerReply]] = ()
    options: Options = Options(max_tokens=200)
    system: str = ""
    error: type[ProviderError] | None = None
    key: str | None = None
    model: str | None = None


def ask(*parts: Any) -> Callable[[list[list[Chunk]]], list[Message]]:
    """One user message."""
    return lambda _: [Message("user", parts[0] if isinstance(parts[0], str) else list(parts))]


def then(question: str) -> Callable[[list[list[Chunk]]], list[Message]]:
    """A second turn after the first one's answer."""
    return lambda before: [
        Message("user", "Hello there."),
        Message("assistant", text_of(before[0])),
        Message("user", question),
    ]


def answered(before: list[list[Chunk]]) -> list[Message]:
    """The results of the first turn's tool calls, after its answer with all that it brought."""
    parts: list[Any] = []
    text = reasoning_of(before[0])
    thoughts = [chunk for chunk in before[0] if isinstance(chunk, ReasoningChunk)]
    proofs = [chunk for chunk in thoughts if chunk.proof]
    if not proofs and thoughts and thoughts[-1].vendor:  # the vendor wants the text itself back
        parts.append(ReasoningPart(text=text, vendor=thoughts[-1].vendor))
    for chunk in proofs:
        shown = "" if chunk.redacted else text
        parts.append(ReasoningPart(text=shown, proof=chunk.proof, redacted=chunk.redacted, vendor=chunk.vendor))
    if text := text_of(before[0]):
        parts.append(TextPart(text))
    calls = calls_of(before[0])
    parts += [ToolCallPart(id=call.id, name=call.name, arguments=call.arguments) for call in calls]
    results = [ToolResultPart(id=call.id, content="It is sunny, 21 degrees.") for call in calls]
    return [Message("user", "THINKTOOL: what is the weather in Rome?"), Message("assistant", parts),
            Message("user", results)]  # fmt: skip


def searched(before: list[list[Chunk]]) -> list[Message]:
    """The first turn sent back, cited text and server tool's blocks included."""
    parts = [OpaquePart(vendor=chunk.vendor, data=chunk.data, text=chunk.text)
             for chunk in before[0] if isinstance(chunk, OpaqueChunk)]  # fmt: skip
    return [Message("user", "Search the web: what is a penstock?"), Message("assistant", parts),
            Message("user", "Thanks. And in one word?")]  # fmt: skip


def says(reason: str, *words: str) -> Callable[[list[list[Chunk]]], None]:
    """The last answer has these words and stopped for this reason."""

    def check(answers: list[list[Chunk]]) -> None:
        assert stop_of(answers[-1]).reason == reason
        assert all(word in text_of(answers[-1]) for word in words)
        assert usage_of(answers[-1]).output_tokens > 0

    return check


def calls(*expected: tuple[str, Sequence[str]]) -> Callable[[list[list[Chunk]]], None]:
    """The first answer calls these tools, with arguments of these names."""

    def check(answers: list[list[Chunk]]) -> None:
        made = calls_of(answers[0])
        assert [call.name for call in made] == [name for name, _ in expected]
        for call, (_, names) in zip(made, expected, strict=True):
            assert set(names) <= set(msgspec.json.decode(call.arguments))
        assert stop_of(answers[0]).reason == "tool_calls"
        assert len({call.id for call in made}) == len(made)

    return check


def writes_then_reads(answers: list[list[Chunk]]) -> None:
    first, second = map(usage_of, answers)
    assert first.cache_write_tokens > 0
    assert second.cache_read_tokens >= first.cache_write_tokens
    assert first.cost is not None


def reads_again(answers: list[list[Chunk]]) -> None:
    assert usage_of(answers[1]).cache_read_tokens > 0
    assert usage_of(answers[1]).input_tokens < usage_of(answers[0]).prompt_tokens


def thinks(answers: list[list[Chunk]]) -> None:
    assert reasoning_of(answers[0])
    says("stop")(answers)


def keeps_its_signature(answers: list[list[Chunk]]) -> None:
    proofs = [chunk for chunk in answers[0] if isinstance(chunk, ReasoningChunk) and chunk.proof]
    assert proofs
    assert all(chunk.vendor in ("anthropic", "openai") for chunk in proofs)
    says("stop")(answers)


def writes_exactly(answers: list[list[Chunk]]) -> None:
    calls(("write_file", ["path", "content"]))(answers)
    content = msgspec.json.decode(calls_of(answers[0])[0].arguments)["content"]
    assert '"' in content
    assert "\n" in content


def cites(answers: list[list[Chunk]]) -> None:
    kept = [chunk for chunk in answers[0] if isinstance(chunk, OpaqueChunk)]
    kinds = [msgspec.json.decode(chunk.data)["type"] for chunk in kept]
    assert "server_tool_use" in kinds
    assert "web_search_tool_result" in kinds
    assert usage_of(answers[0]).web_searches > 0
    says("stop")(answers)


def text(words: str, **options: Any) -> ServerReply:
    return ServerReply(anthropic_message({"type": "text", "text": words}, **options))


def use(*tools: tuple[str, dict[str, Any]], before: Sequence[dict[str, Any]] = ()) -> ServerReply:
    blocks = [{"type": "tool_use", "id": f"toolu_{place}", "name": name, "input": arguments}
              for place, (name, arguments) in enumerate(tools)]  # fmt: skip
    return ServerReply(anthropic_message(*before, *blocks, stop_reason="tool_use"))


def nothing(answers: list[list[Chunk]]) -> None:
    assert not answers


CITED = {"type": "text", "text": "A penstock is a pipe.",
         "citations": [{"type": "web_search_result_location", "url": "https://example.com", "cited_text": "a pipe",
                        "encrypted_index": "E", "title": "Penstock"}]}  # fmt: skip
SEARCH: list[dict[str, Any]] = [
    {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "penstock"}},
    {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1",
     "content": [{"type": "web_search_result", "url": "https://example.com", "title": "Penstock",
                  "encrypted_content": "E", "page_age": None}]},
    CITED,
]  # fmt: skip
REDACTED = {"type": "redacted_thinking", "data": "EmwK"}
THOUGHT = {"type": "thinking", "thinking": "Two and two.", "signature": "EqQBCkYIBxgCKkAemulated"}

SCENARIOS = {
    "text": Scenario(ALL, [ask("Hello there.")], says("stop"), [text("Hello! How can I help you today?")]),
    "system prompt": Scenario(ALL, [ask("Hello there.")], says("stop"), [text("Good day.")], system=RULES[:200]),
    "split characters": Scenario(
        ALL, [ask("UNICODE: answer with the word Café, one Chinese character and an emoji.")], says("stop", "é"),
        [text("Café is 漢 and 😀 done.", piece=3)],
    ),
    "thinking": Scenario(LLAMA, [ask("THINK: what is two plus two?")], thinks),
    "thinking with a signature": Scenario(
        ["emulator", "emulator-responses", "anthropic", "openai"], [ask("What is two plus two?")], keeps_its_signature,
        [ServerReply(anthropic_message(THOUGHT, REDACTED, {"type": "text", "text": "4"}))],
        Options(max_tokens=2000, reasoning="low"),
    ),
    "one tool call": Scenario(
        ALL, [ask("TOOL1: use the tool: what is the weather in Paris?")], calls(("get_weather", ["city"])),
        [use(("get_weather", {"city": "Paris"}))], Options(max_tokens=300, tools=[WEATHER, TIME]),
    ),
    "two parallel tool calls": Scenario(
        ALL, [ask("TOOL2: use both tools at once: the weather in Paris and the time there.")],
        calls(("get_weather", ["city"]), ("get_time", ["timezone"])),
        [use(("get_weather", {"city": "Paris"}), ("get_time", {"timezone": "Europe/Paris"}))],
        Options(max_tokens=400, tools=[WEATHER, TIME]),
    ),
    "a call without arguments": Scenario(
        ALL, [ask("NOARGS: call the tool ping.")], calls(("ping", [])), [use(("ping", {}))],
        Options(max_tokens=300, tools=[PING]),
    ),
    "escapes in arguments": Scenario(
        ALL, [ask('ESCAPE: write a file a.txt of two lines, with the word "one" in double quotes in the first.')],
        writes_exactly, [use(("write_file", {"path": "a.txt", "content": 'line "one"\n\tline two é \\ end'}))],
        Options(max_tokens=400, tools=[WRITE]),
    ),
    "thinking, a call and its result": Scenario(
        ALL, [ask("THINKTOOL: what is the weather in Rome?"), answered], says("stop", "21"),
        [use(("get_weather", {"city": "Rome"}), before=[THOUGHT]), text("It is sunny and 21 degrees.")],
        Options(max_tokens=2000, tools=[WEATHER]),
    ),
    # llama.cpp's Responses API calls an answer that was cut off completed.
    "the length limit": Scenario(
        [source for source in ALL if source != "llama.cpp-responses"], [ask("LONG: tell a very long story.")],
        says("length"),
        [text("Once upon a time there was", stop_reason="max_tokens")], Options(max_tokens=16),
    ),
    "cache read": Scenario(
        [*LLAMA, *OPENAI], [ask("Hello there."), then("Hello again.")], reads_again, system=RULES[:600],
    ),
    "cache write, then cache read": Scenario(
        ["emulator", "anthropic"], [ask("Hello there."), then("And now?")], writes_then_reads,
        [DemoModel(min_cache_tokens=512)], Options(max_tokens=100), system=RULES,
    ),
    "cache with the longer lifetime": Scenario(
        ["emulator", "anthropic"], [ask("Hello there."), then("And now?")], writes_then_reads,
        [DemoModel(min_cache_tokens=512)], Options(max_tokens=100, cache="extended"), system=RULES + "\nExtended.",
    ),
    "an image": Scenario(
        ["emulator", *OPENAI, "anthropic", "openai"],
        [ask(ImagePart(data=PNG, media_type="image/png"), TextPart("What colour is this? One word."))], says("stop"),
        [text("Black.")],
    ),
    "a refusal": Scenario(
        ["emulator", *OPENAI], [ask("Refuse.")], says("refusal"), [text("I can", stop_reason="refusal")],
    ),
    "a pause": Scenario(["emulator"], [ask("Pause.")], says("pause"), [text("Let me", stop_reason="pause_turn")]),
    "server tools and citations": Scenario(
        ["emulator", "anthropic"], [ask("Search the web: what is a penstock?"), searched], cites,
        [ServerReply(anthropic_message(*SEARCH, final_usage={"server_tool_use": {"web_search_requests": 1}})),
         text("Pipe.")],
        Options(max_tokens=1000, tools=[{"type": "web_search_20250305", "name": "web_search", "max_uses": 1}]),
    ),
    "a wrong key": Scenario(
        ALL, [ask("Hello there.")], nothing, [anthropic_error(401, "authentication_error", "invalid x-api-key")],
        error=AuthenticationError, key="sk-wrong-key",
    ),
    "a prompt that is too long": Scenario(
        [*LLAMA, "emulator", *OPENAI], [ask("Hello there. " * 600)], nothing,
        [anthropic_error(400, "invalid_request_error", "prompt is too long: 208310 tokens > 200000 maximum")],
        error=TokenLimitError,
    ),
    "an unknown model": Scenario(
        ["emulator", *OPENAI, "anthropic", "openai"], [ask("Hello there.")], nothing,
        [anthropic_error(404, "not_found_error", "model: claude-nobody")],
        Options(max_tokens=20), error=NotFoundError, model="nobody",
    ),
    "a rate limit": Scenario(
        ["emulator", *OPENAI], [ask("Hello there.")], nothing,
        [anthropic_error(429, "rate_limit_error", "slow down", headers={"retry-after": "12"})], error=RateLimitError,
    ),
    "an overload": Scenario(
        ["emulator"], [ask("Hello there.")], nothing, [anthropic_error(529, "overloaded_error", "Overloaded")],
        error=OverloadedError,
    ),
    "an exhausted quota": Scenario(OPENAI, [ask("Hello there.")], nothing, error=QuotaExceededError),
}  # fmt: skip

# One ordinary answer of each vendor that has a form of its own.
DIALECT_SCRIPTS = [
    "deepseek: reasoning, and usage beside the finish reason",
    "xai: reasoning beside the output, a call in one piece",
    "groq: usage in x_groq",
    "openrouter: reasoning twice, and the cost",
    "mistral: a list for content, a whole call",
    "google: two calls without an index",
    "azure: filter results before, between and after",
    "vllm: usage on every event",
    "ollama: the role on every event",
    "together: the end of the sequence",
    "fireworks: usage beside the finish reason",
    "cerebras: all in the last event",
]
# The agent of the README, asked ten times: words upon which llama.cpp's scripted model calls one of its three tools.
# The files that it asks for most are called as below, and what it wants to replace there is called the same.
AGENT = "the agent of the README"
ASKED = [
    "TOOL1",
    "NOARGS",
    "ESCAPE",
    "JSON",
    "NOARGS again",
    "TEXTTOOL",
    "ESCAPE again",
    "JSON again",
    "NOARGS",
    "TOOL1",
]
PRICES = ModelInfo(input_price=Decimal("0.37"), output_price=Decimal("1.49"), cache_reads_price=Decimal("0.013"))
CASES = [
    pytest.param(name, source, id=f"{source}: {name}")
    for name, scenario in SCENARIOS.items()
    for source in scenario.sources
]


@pytest.fixture
def vcr_cassette_dir(request: pytest.FixtureRequest) -> str:
    """A folder for each source."""
    parameters = getattr(request.node, "callspec", None)
    return str(CASSETTES / parameters.params["source"]) if parameters else str(CASSETTES)


@pytest.fixture
def default_cassette_name(request: pytest.FixtureRequest) -> str:
    """One cassette for both event loops."""
    return file_name(request.node.callspec.params["name"])


@pytest.fixture
def recording(record_mode: str, default_cassette_name: str, source: str) -> bool:
    """Whether cassettes are being made. Skips where there is none to replay: only the real API's may be missing."""
    path = CASSETTES / source / f"{default_cassette_name}.yaml"
    if record_mode == "none" and not path.is_file():
        assert source in REAL_KEYS, f"{path} is missing: `nox -s record -- {source}` makes it"
        pytest.skip(f"no cassette of the real API: nobody with a key has run `nox -s record -- {source}` yet")
    return record_mode != "none"


@pytest.fixture
def project() -> Path:
    """The agent's folder, by a name that is always the same: what tools say of it is sent, and stands in cassettes."""
    folder = Path("project")
    folder.mkdir()
    for name in ("nsy", "ptvy"):
        (folder / name).write_text("Here are nsy and ptvy.\n")
    return folder


def file_name(scenario: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", scenario.lower()).strip("-")


@pytest.mark.vcr
@pytest.mark.parametrize(("name", "source"), CASES)
async def test_replay(name: str, source: str, recording: bool, vcr: Cassette) -> None:
    """Each recorded scenario comes out as it must, and its cassette is played to the end."""
    scenario = SCENARIOS[name]
    answers: list[list[Chunk]] = []
    failed: ProviderError | None = None
    replies = list(REPLIES.get(source, {}).get(name, scenario.replies))
    async with talking_to(source, replies, key=scenario.key, model=scenario.model, recording=recording) as provider:
        try:
            for turn in scenario.turns:
                async with provider.stream(scenario.system, turn(answers), scenario.options) as chunks:
                    answers.append([chunk async for chunk in chunks])
        except ProviderError as error:
            failed = error
    if failed is not None and scenario.error is None:
        raise failed
    assert type(failed) is (scenario.error or type(None))
    scenario.check(answers)
    assert recording or vcr.all_played


@pytest.mark.vcr
@pytest.mark.parametrize(("name", "source"), [
    pytest.param(name, "emulator-dialects", id=f"emulator-dialects: {name}") for name in DIALECT_SCRIPTS
])  # fmt: skip
async def test_replay_a_dialect(name: str, source: str, recording: bool, vcr: Cassette) -> None:
    """An answer of each vendor in its own form, through its row, as the table says that it must be read."""
    script = SCRIPTS[f"chat, {name}"]
    reply = ServerReply([script.body])
    asked = [Message("user", f"Hello {script.dialect}.")]
    async with (
        talking_to(source, [reply], recording=recording, dialect=script.dialect) as provider,
        provider.stream("", asked, Options(max_tokens=50)) as stream,
    ):
        chunks = [chunk async for chunk in stream]
    assert text_of(chunks) == script.text
    assert reasoning_of(chunks) == script.reasoning
    assert [(call.name, call.arguments) for call in calls_of(chunks)] == [call[1:] for call in script.calls]
    assert stop_of(chunks).reason == script.reason
    if script.usage is not None:
        usage = usage_of(chunks)
        assert (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens) == script.usage[:3]
    assert recording or vcr.all_played


@pytest.mark.vcr
@pytest.mark.parametrize(("name", "source"), [
    pytest.param(AGENT, source, id=f"{source}: {AGENT}") for source in LLAMA
])  # fmt: skip
async def test_the_agent_of_the_readme(
    name: str, source: str, project: Path, recording: bool, vcr: Cassette, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ten turns with a real server and a real prompt cache; its bill is that of the server's own counts."""
    history: list[Message] = []
    async with talking_to(source, [], recording=recording, info=PRICES) as provider:
        # A server that others use too may hang up before it answers; a replayed one does not.
        books = Books(Retry(provider) if recording else provider)
        await agent(Metered(books, Ledger()), project, history, ASKED)
    assert recording or vcr.all_played
    results = {"list_files": 0, "read_file": 0, "edit_file": 0}
    made = {}
    for part in (part for message in history if not isinstance(message.content, str) for part in message.content):
        if isinstance(part, ToolCallPart):
            made[part.id] = part.name
        elif isinstance(part, ToolResultPart) and not part.is_error:
            results[made[part.id]] += 1
    assert results["list_files"] >= 3
    assert results["edit_file"] >= 1
    assert sum(results.values()) >= 5
    assert repair(history).notes == []
    bill = printed_bill(capsys.readouterr().out)
    total = sum(books.chunks, UsageChunk())
    assert total.cost is not None
    assert bill == Bill(total.prompt_tokens, total.output_tokens, total.cost, bill.saved)
    calls = [reported(response["body"]["string"]) for response in vcr.responses]
    assert total.cache_read_tokens > 0
    assert bill == totals(calls, PRICES)


def test_every_cassette_says_what_it_was_recorded_from() -> None:
    """In its first line; and none is there that no scenario plays."""
    known = {(source, file_name(name)) for name, one in SCENARIOS.items() for source in one.sources}
    known |= {("emulator-dialects", file_name(name)) for name in DIALECT_SCRIPTS}
    known |= {(source, file_name(AGENT)) for source in LLAMA}
    found = sorted(CASSETTES.rglob("*.yaml"))
    assert {(path.parent.name, path.stem) for path in found} <= known
    for path in found:
        first = path.read_text().splitlines()[0]
        assert first.startswith("# Recorded on 20")
        assert SOURCES[path.parent.name].what in first
