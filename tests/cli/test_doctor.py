"""`penstock doctor`: what one tiny call shows of a server, and what to do about what does not work."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from examples import stand_in
from penstock import AnthropicProvider, ModelInfo, OpenAIProvider, ProviderConfig, load_models
from penstock.cli.doctor import examine
from penstock.cli.free_checks import key_of, preliminary
from penstock.cli.main import main
from penstock.testing import Cut, Emulator, ServerReply, anthropic_error, chat_completion, chat_document, openai_error

CALL = [{"id": "c", "name": "ping", "arguments": {}}]
PRICED = ModelInfo(input_price=1, output_price=2)  # type: ignore[arg-type]
WELL = ServerReply(chat_completion(text="A short sentence, in pieces.", tool_calls=CALL, model="m"))
ALL = ["reachable", "key accepted", "model known", "answers", "streams", "usage", "terminal event", "tools"]
JSON = {"content-type": "application/json"}
MARKS = {"+": True, "-": False, "?": None}


@pytest.mark.anyio
@pytest.mark.parametrize(("replies", "marks", "said"), [
    pytest.param([WELL], "++++++++", "called ping", id="all is well"),
    pytest.param([ServerReply(chat_completion(text="A sentence only.", model="m"))],
                 "+++++++?", "offered, and not called", id="no call"),
    pytest.param([ServerReply([chat_document(text="At once.", model="m")], headers=JSON)],
                 "++++?++?", "one piece", id="no stream"),
    pytest.param([ServerReply(chat_completion(text="Hi there, you.", tool_calls=CALL, model="another"))], "++?+++++",
                 "asked for m, another answered", id="another model"),
    pytest.param([ServerReply([event for event in WELL.body if b"completion_tokens" not in bytes(event)])],  # type: ignore[arg-type]
                 "+++++-++", "reports none", id="no usage"),
    pytest.param([ServerReply([*WELL.body[:4], Cut()])], "+++-+?-?", "before the message was complete", id="cut off"),
    pytest.param([openai_error(401, "wrong key", code="invalid_api_key")], "+-?-????", "wrong key", id="a wrong key"),
    pytest.param([openai_error(404, "no such model", code="model_not_found")], "+?--????", "no such model",
                 id="an unknown model"),
    pytest.param([openai_error(429, "quota", code="insufficient_quota")], "+??-????", "Top up", id="no money"),
    pytest.param([openai_error(400, "no tools here"), ServerReply(chat_completion(text="Without a tool.", model="m"))],
                 "+++++++-", "no tools here", id="tools are refused"),
])  # fmt: skip
async def test_what_a_call_shows(replies: Sequence[ServerReply], marks: str, said: str) -> None:
    """Each line is told from one call; what does not work says what to do."""
    async with Emulator(*replies) as emulator:
        config = ProviderConfig(model_id="m", base_url=f"{emulator.url}/v1", model_info=PRICED)
        async with OpenAIProvider(config, "openai-compatible") as provider:
            findings = await examine(provider)
    assert [finding.what for finding in findings] == ALL
    assert [finding.works for finding in findings] == [MARKS[mark] for mark in marks], findings
    assert any(said in f"{finding.said} {finding.advice}" for finding in findings), findings
    assert all(finding.advice for finding in findings if finding.works is False)
    assert len(emulator.requests) == len(replies)


def with_usage(**usage: Any) -> ServerReply:
    """All is well, with this report at the end."""
    last = b"data: %b\n\n" % msgspec.json.encode({"choices": [], "usage": usage})
    return ServerReply([last if b"completion_tokens" in bytes(event) else event for event in WELL.body])  # type: ignore[arg-type]


ASKS = "Give the prices in modelInfo of models.json."


@pytest.mark.anyio
@pytest.mark.parametrize(("dialect", "info", "reply", "said", "advice"), [
    pytest.param("openai-compatible", PRICED, with_usage(prompt_tokens=9, completion_tokens=2), "$0.000013", "",
                 id="prices"),
    pytest.param("openai-compatible", ModelInfo(), with_usage(prompt_tokens=9, completion_tokens=2), "price unknown",
                 ASKS, id="no prices"),
    pytest.param("openai-compatible", PRICED, with_usage(prompt_tokens=9), "≥ $0.000009 (1 call unknown)", "",
                 id="prices, and half a report"),
    pytest.param("llamacpp", ModelInfo(), with_usage(prompt_tokens=9, completion_tokens=2), "$0.00", "",
                 id="a server of one's own"),
    pytest.param("openrouter", ModelInfo(), with_usage(prompt_tokens=9, completion_tokens=2, cost=0.5), "$0.50", "",
                 id="the vendor says what it costs"),
])  # fmt: skip
async def test_prices_are_asked_for_where_there_are_none(
    dialect: str, info: ModelInfo, reply: ServerReply, said: str, advice: str
) -> None:
    """And not where the bill is open for another reason."""
    async with Emulator(reply) as emulator:
        config = ProviderConfig(
            model_id="m", api_key="none", base_url=f"{emulator.url}/v1", model_info=info, wire="chat"
        )
        async with OpenAIProvider(config, dialect) as provider:
            (usage,) = [finding for finding in await examine(provider) if finding.what == "usage"]
    assert usage.said.endswith(f" out, {said}")
    assert usage.advice == advice


def test_a_server_that_is_not_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The command prints the table, and its exit status says that something does not work."""
    entry = {"provider": "openai-compatible", "providerConfig": {"modelId": "m", "baseUrl": "http://127.0.0.1:9/v1"}}
    (tmp_path / "models.json").write_bytes(msgspec.json.encode({"active": "here", "models": {"here": entry}}))
    assert main(["doctor", "here"]) == 1
    lines = capsys.readouterr().out.splitlines()
    file = tmp_path / "models.json"
    assert lines[0] == f"models.json     yes  {file}, which was found; it asks for nothing that needs trust"
    assert lines[1] == "key             ?    none is set, and none is needed"
    assert lines[2].startswith("host            NO   no connection to 127.0.0.1:9 (")
    assert "baseUrl" in lines[3]
    assert lines[-1] == "answers         ?    skipped: the host cannot be reached"


@pytest.fixture
def named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Writes a models.json, named by the environment, whose only model is asked at a server of ours."""
    with stand_in() as environment:

        def write(provider: str, **config: Any) -> Path:
            url = environment["ANTHROPIC_BASE_URL" if provider == "anthropic" else "OPENAI_BASE_URL"]
            entry = {"provider": provider, "providerConfig": {"modelId": "m", "baseUrl": url, **config}}
            path = tmp_path / "models.json"
            path.write_bytes(msgspec.json.encode({"active": "a", "models": {"a": entry}}))
            monkeypatch.setenv("PENSTOCK_MODELS", str(path))
            return path

        yield write


def test_a_key_that_is_missing(
    named: Callable[..., Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its variable is named, and one that looks like it; nothing is asked."""
    named("deepseek")
    monkeypatch.setenv("DEEPSEEK_KEY", "k-secret")
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "key             NO   none was found\n" in out
    assert "DEEPSEEK_KEY is set, but nothing reads it. Set DEEPSEEK_API_KEY.\n" in out
    assert "not tried" in out
    assert "k-secret" not in out


def test_what_costs_nothing_comes_first(
    named: Callable[..., Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file, the key's place but never the key, the host, and a prompt that is counted."""
    path = named("anthropic")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-secret")
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    first, second, third, fourth, *rest = out.splitlines()
    assert first == f"models.json     yes  {path}, which was named or is trusted"
    assert second == "key             yes  from ANTHROPIC_API_KEY"
    assert re.fullmatch(r"host            yes  127\.0\.0\.1:\d+ takes connections", third)
    assert re.fullmatch(r"count           yes  counted \d+ prompt tokens \(free\)", fourth)
    assert [line.partition("  ")[0].strip() for line in rest if not line.startswith(" ")] == ALL
    assert "secret" not in out


@pytest.mark.parametrize(
    ("config", "variables", "said"),
    [
        ({"apiKey": "${OURS}"}, {"OURS": "k"}, "from OURS, which models.json names"),
        ({"apiKey": "k"}, {}, "in models.json"),
        ({"apiKey": "keyring:a/b"}, {}, "from the keyring, as models.json says"),
        ({"apiKey": "command: a b"}, {}, "from a command, as models.json says"),
        ({"headers": {"Authorization": "Bearer k"}}, {}, "in a header of models.json"),
        ({}, {"DEEPSEEK_API_KEY": "k"}, "from DEEPSEEK_API_KEY"),
        ({}, {}, "none was found"),
    ],
    ids=["a variable", "the key itself", "a keyring", "a command", "a header", "the vendor's variable", "nowhere"],
)
def test_where_a_key_comes_from(
    config: dict[str, Any], variables: dict[str, str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In words; it is not looked up."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    entry = {"provider": "deepseek", "providerConfig": {"modelId": "m", **config}}
    (tmp_path / "m.json").write_bytes(msgspec.json.encode({"active": "a", "models": {"a": entry}}))
    finding = key_of(load_models(tmp_path / "m.json"), "a")
    assert (finding.said, finding.works) == (said, said != "none was found")


def test_behind_a_proxy_the_host_is_not_judged(
    named: Callable[..., Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the proxy can reach it."""
    named("openai-compatible")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    main(["doctor"])
    assert re.search(r"^host +\?  +127\.0\.0\.1:\d+ is behind the proxy", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.anyio
async def test_a_refused_count_says_why() -> None:
    """Before anything is billed."""
    async with Emulator(then=anthropic_error(401, "authentication_error", "wrong key")) as emulator:
        config = ProviderConfig(model_id="m", api_key="k", base_url=emulator.url)
        async with AnthropicProvider(config) as provider:
            found = await preliminary(load_models(), "demo", provider)
    assert [(each.what, each.works, each.said) for each in found if each.what == "count"] == [
        ("count", False, "wrong key")
    ]


def test_without_a_key_and_a_file_it_says_what_the_demo_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And that it is not a model; the status says that something is missing."""
    monkeypatch.setenv("ANTHROPIC_KEY", "k")
    assert main(["doctor"]) == 1
    out, err = capsys.readouterr()
    assert "an emulator in this program, not a model" in err
    first, second, *rest = out.splitlines()
    assert first == "key             NO   none was found"
    assert (
        second.strip() == "ANTHROPIC_KEY is set, but nothing reads it. Set ANTHROPIC_API_KEY or ANTHROPIC_AUTH_TOKEN."
    )
    assert [line for line in rest if " NO " in line] == []
    assert "would have cost $" in out
    assert main(["doctor", "demo"]) == 0
