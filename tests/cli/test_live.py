"""`penstock models --live` and `penstock doctor --all`, of emulated servers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal

from penstock.cli import tables
from penstock.cli.main import main
from penstock.cli.terminal import columns
from penstock.config import factories
from penstock.config.factories import register_provider
from penstock.testing import Emulator, Request, ScriptedProvider, ServerReply, openai_error, openai_models

KEY = "sk-none-0123456789"
LISTED = [
    {"id": "b", "context_length": 131_072, "pricing": {"prompt": "0.0000005", "completion": "0.000002"}},
    {"id": "a\u202eb", "created": 0},
    {"id": "a", "created": 0, "state": "loaded"},
]


@contextmanager
def serving(reply: object) -> Iterator[str]:
    """The address of a server, in a thread of its own, that answers so."""
    emulator = Emulator(then=reply)  # type: ignore[arg-type]
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(emulator):
        yield f"{emulator.url}/v1"


def write(models: dict[str, Any], *, trusted: bool = True) -> None:
    Path("models.json").write_text(json.dumps({"active": next(iter(models)), "models": models}))
    assert not trusted or main(["trust"]) == 0


def entry(url: str, provider: str = "openrouter", **more: Any) -> dict[str, Any]:
    return {"provider": provider, "providerConfig": {"modelId": "b", "baseUrl": url, "apiKey": KEY}, **more}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command in an empty folder: its status and what it wrote."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main(list(arguments))
        return (status, *capsys.readouterr())

    return command


@pytest.mark.parametrize("named", [[], ["openrouter"], ["mine"]], ids=["the active one", "a provider", "an alias"])
def test_what_a_vendor_lists(run: Any, named: list[str]) -> None:
    """Unknown is a dash, a price of the vendor's own is marked, and an id that hides text is not there."""
    with serving(openai_models(*LISTED)) as url:
        write({"mine": entry(url)})
        status, out, err = run("models", "--live", *named)
    assert (status, out) == (0, (
        "model  context  input  output  read  loaded       since\n"
        "a            -      -       -     -     yes           -\n"
        "b         131k   0.5*       2     -       -  2026-11-01\n"
    ))  # fmt: skip
    assert err == (
        f"2 models; as {url} lists them now; dollars per million tokens; read: input from the cache; "
        "*: the price that its list says; -: not known\n"
    )


def test_a_list_as_json_and_by_traits(run: Any) -> None:
    """All that is known, and nothing else."""
    with serving(openai_models({"id": "a", "supports_tools": False}, *LISTED[:1])) as url:
        write({"mine": entry(url)})
        status, out, err = run("models", "--live", "--json", "--supports", "tools")
    [found] = json.loads(out)
    assert (status, found["id"], found["prices_from"], found["info"]["input_price"]) == (0, "b", "vendor", 0.5)
    assert "loaded" not in found
    assert err.startswith("1 of 2 models; ")


@pytest.mark.parametrize(("code", "said", "status"), [(500, "broken", 1), (404, "not here", 0)])
def test_the_catalogue_is_said_to_be_one(run: Any, code: int, said: str, status: int) -> None:
    """Where the vendor does not answer, which is a failure, or has no list."""
    with serving(openai_error(code, said)) as url:
        write({"mine": entry(url, "deepseek")})
        found, out, err = run("models", "--live")
    assert found == status
    assert "deepseek" in out
    assert f"{url} gave no list ({said}), so this is what the catalogue knows" in " ".join(err.split())


def test_a_wrong_key_and_a_wrong_name(run: Any) -> None:
    """One line each, and no key in it."""
    with serving(openai_error(401, f"Incorrect API key: {KEY}", code="invalid_api_key")) as url:
        write({"mine": entry(url)})
        status, out, err = run("models", "--live")
        _, lines, _ = run("doctor", "mine")
        _, table, _ = run("doctor", "--all")
    assert (status, out, KEY in err) == (1, "", False)
    for shown in (err, lines, table):
        assert "Check the API key: $.models.mine.providerConfig.apiKey, in models.json." in shown
    status, out, err = run("models", "--live", "opnai")
    assert (status, out) == (2, "")
    assert err.startswith("penstock: `--live` is 'opnai', expected an alias or one of: ")
    assert err.endswith("did you mean 'openai'?\n")


def test_all_models_of_a_file_are_looked_at(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line each in the order of the file, without a call; what is disabled is left alone."""
    for name in ("MISTRAL_API_KEY", "GROQ_API_KEY"):
        monkeypatch.delenv(name, raising=False)

    def reply(request: Request) -> ServerReply:
        assert request.method == "GET"
        if request.path.startswith("/v1/models"):
            return openai_models("b")
        return openai_error(404, "no such endpoint")

    with serving(reply) as url:
        write({
            "there": entry(url, "groq"),
            "elsewhere": {**entry(url, "groq"), "providerConfig": {**entry(url)["providerConfig"], "modelId": "c"}},
            "open": entry(url, "venice"),
            "listless": entry(f"{url}/x", "groq"),
            "keyless": {"provider": "mistral", "providerConfig": {"modelId": "m", "baseUrl": url}},
            "off": entry(url, "groq", enabled=False),
            "demo": {"provider": "demo", "providerConfig": {"modelId": "demo"}},
        })  # fmt: skip
        status, out, _ = run("doctor", "--all")
    assert status == 1
    aliases = [line.split()[0] for line in out.splitlines() if line[0] != " "]
    assert aliases == ["there", "elsewhere", "open", "listless", "keyless", "demo"]
    for line in (
        r"^there      groq     yes  key: in models\.json; model known$",
        r"^elsewhere  groq     NO   key: in models\.json; groq does not list this model$",
        r"^ {25}Check the model's id: `penstock models --live` shows what there is\.$",
        r"^open       venice   yes  key: in models\.json; model known, but whether the key is good only a call shows$",
        r"^listless   groq     \?    key: in models\.json; reachable, but only a call shows whether it has the model$",
        r"^keyless    mistral  NO   key: none was found; .*MISTRAL_API_KEY",
        r"^demo       demo     yes  the demo; model known$",
    ):
        assert re.search(line, out, re.MULTILINE), (line, out)
    assert KEY not in out


def test_what_cannot_be_opened_or_seen_has_its_line_too(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is not there, and a provider of one's own, of which only a call could tell."""
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    monkeypatch.setattr(factories, "_registered", {})
    register_provider("mine", lambda entry: ScriptedProvider())
    own = {"provider": "mine", "providerConfig": {"modelId": "m"}}
    keyless = entry("http://127.0.0.1:1/v1", "groq")
    keyless["providerConfig"]["apiKey"] = "${NO_SUCH_KEY}"
    write({"own": own, "keyless": keyless})
    status, out, _ = run("doctor", "--all")
    assert status == 1
    assert re.search(
        r"^own      mine  \?    .*; not one of the built-in providers, so only a call shows whether it works$",
        out,
        re.MULTILINE,
    )
    assert re.search(r"^keyless  groq  NO   .*NO_SUCH_KEY", out, re.MULTILINE)


def test_a_file_that_nobody_trusts_is_not_looked_at(run: Any) -> None:
    """No server is asked on its word."""
    write({"mine": entry("http://127.0.0.1:1/v1")}, trusted=False)
    status, out, err = run("doctor", "--all")
    assert (status, out) == (2, "")
    assert "this file was found and not named" in err


def test_a_table_fits_the_terminal(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are cut, numbers never."""
    monkeypatch.setattr(tables, "is_terminal", lambda stream: True)
    monkeypatch.setenv("COLUMNS", "80")
    with serving(openai_models({**LISTED[0], "id": "b" * 100})) as url:
        write({"mine": entry(url)})
        _, out, _ = run("models", "--live")
    assert {columns(line) for line in out.splitlines()} == {80}
    assert "…" in out


def test_a_file_in_which_all_is_well(run: Any) -> None:
    """Has the exit status 0."""
    write({"demo": {"provider": "demo", "providerConfig": {"modelId": "demo"}}})
    assert run("doctor", "--all")[:2] == (0, "demo  demo  yes  the demo; model known\n")


def test_without_a_file_there_is_nothing_to_look_at(run: Any) -> None:
    """The catalogue's models are nobody's."""
    status, out, err = run("doctor", "--all")
    assert (status, out) == (2, "")
    assert err == "penstock: there is no models.json to look at: `penstock init` writes one\n"
