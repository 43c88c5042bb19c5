"""`penstock doctor`: what one tiny call shows of a server, and what to do about what does not work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from penstock import ModelInfo, OpenAIProvider, ProviderConfig
from penstock.cli.doctor import examine
from penstock.cli.main import main
from penstock.testing import Cut, Emulator, ServerReply, chat_completion, chat_document, openai_error

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
    assert lines[0].startswith("reachable       NO   no answer from http://127.0.0.1:9/v1")
    assert "check baseUrl" in lines[1]


def test_a_key_that_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    """Its variable is named, and nothing is asked."""
    assert main(["doctor", "deepseek"]) == 1
    out = capsys.readouterr().out
    assert "not tried" in out
    assert "DEEPSEEK_API_KEY" in out
