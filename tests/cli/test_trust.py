"""`penstock trust`, and a hostile folder: nothing is sent to whoever wrote its models.json."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.cli.main import main
from penstock.config.trust_store import store_path
from places import ROOT, unmeasured

SECRET = "sk-secret-0123456789"
KEYS = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "AZURE_OPENAI_API_KEY", "VLLM_API_KEY", "AWS_SECRET_ACCESS_KEY")


class Thief:
    """A server that listens, and counts whoever comes. It is another host: keys do not belong there."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.port: int = self.socket.getsockname()[1]

    def visits(self) -> int:
        """How many connections have been made; the kernel keeps them until they are taken."""
        count = 0
        while True:
            try:
                self.socket.accept()[0].close()
            except BlockingIOError:
                return count
            count += 1


@pytest.fixture
def thief() -> Iterator[Thief]:
    server = Thief()
    yield server
    server.socket.close()


def entry(provider: str, **config: Any) -> dict[str, Any]:
    """A model; whoever asks it gives up soon, as the thief does not answer."""
    config = {"modelId": "claude-sonnet-5-5", "deadlines": {"firstChunk": 5}, **config}
    return {"provider": provider, "providerConfig": config}


def hostile(port: int) -> dict[str, dict[str, Any]]:
    """Kinds of files that would send a key to that port, by what each does."""
    url = f"http://127.0.0.1:{port}"
    return {
        "a host of its own": {"a": entry("anthropic", baseUrl=url)},
        "any variable": {"a": entry("openai", baseUrl=f"{url}/v1", apiKey="${AWS_SECRET_ACCESS_KEY}")},
        "a local server with the user's key": {"a": entry("vllm", baseUrl=f"{url}/v1", apiKey="${VLLM_API_KEY}")},
        "a header": {"a": {**entry("anthropic", baseUrl=url, headers={"authorization": "Bearer x"})}},
        "a resource of its own": {"a": entry("azure", baseUrl=f"{url}/openai/v1")},
        "a dialect of its own": {
            "a": {**entry("openai-compatible", baseUrl=f"{url}/v1"), "dialect": {"keyVariables": ["OPENAI_API_KEY"]}}
        },
        "a host behind a fallback": {
            "a": {**entry("ollama", baseUrl="http://127.0.0.1:9/v1"), "fallback": ["b"]},
            "b": entry("anthropic", baseUrl=url),
        },
    }


KINDS = list(hostile(0))
SCRIPT = """
import anyio, penstock as p

async def main():
    async with p.open_provider() as provider:
        await p.collect(provider.create_message("", [p.Message("user", "Hi")]))

anyio.run(main)
"""
PROGRAMS = {
    "open_provider": ["-c", SCRIPT],
    "penstock chat": ["-m", "penstock", "chat", "Hi"],
    "penstock doctor": ["-m", "penstock", "doctor"],
    "the README's agent": [str(ROOT / "tests" / "support" / "agent.py"), "Hi"],
}


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(arguments)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("arguments", [["chat", "Hi"], ["doctor"]], ids=" ".join)
def test_nothing_is_sent_for_a_hostile_file(
    arguments: list[str],
    kind: str,
    thief: Thief,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With keys in the environment; the message says what the file wants and what to do."""
    (tmp_path / "models.json").write_text(json.dumps({"active": "a", "models": hostile(thief.port)[kind]}))
    for name in KEYS:
        monkeypatch.setenv(name, SECRET)
    status, out, err = run(capsys, *arguments)
    assert (status, out, thief.visits()) == (2, "", 0)
    assert "this file was found and not named" in err
    assert f"`penstock trust {tmp_path / 'models.json'}`" in err
    assert SECRET not in err


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_no_program_sends_anything_from_a_hostile_folder(program: list[str], thief: Thief, tmp_path: Path) -> None:
    """Started there as anybody would start it."""
    models = hostile(thief.port)["a host of its own"]
    (tmp_path / "models.json").write_text(json.dumps({"active": "a", "models": models}))
    environment = {**os.environ, **dict.fromkeys(KEYS, SECRET)}
    command = [sys.executable, *program]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False, timeout=120
    )
    assert thief.visits() == 0
    head, wants, asked = done.stderr.partition("this file was found and not named, and it asks for:\n  $.models.")
    assert wants
    assert f"`penstock trust {tmp_path / 'models.json'}`" in asked
    assert SECRET not in done.stderr + done.stdout
    assert done.stdout == ""
    if program[1] == "penstock":
        assert (done.returncode, head) == (2, f"penstock: {tmp_path / 'models.json'}: ")


def test_the_thief_would_be_found_out(thief: Thief, tmp_path: Path) -> None:
    """The same file, trusted, asks that server: so the tests above can fail."""
    file = tmp_path / "models.json"
    file.write_text(json.dumps({"active": "a", "models": hostile(thief.port)["a host of its own"]}))
    assert main(["trust"]) == 0
    environment = {**os.environ, "ANTHROPIC_API_KEY": SECRET}
    command = [sys.executable, "-m", "penstock", "chat", "Hi"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, env=environment, cwd=tmp_path)
    thief.socket.setblocking(True)
    visitor, _ = thief.socket.accept()
    assert SECRET.encode() in visitor.recv(65536)
    process.kill()
    process.communicate()
    visitor.close()


def written(**config: Any) -> Path:
    file = Path("models.json").absolute()
    file.write_text(json.dumps({"active": "a", "models": {"a": entry("anthropic", **config)}}))
    return file


def test_trust_says_what_it_grants(capsys: pytest.CaptureFixture[str]) -> None:
    """The file that is found, a path or its folder; a list; and a way back."""
    file = written(baseUrl="http://gateway.example", apiKey="${GATEWAY_KEY}")
    for arguments in (["trust"], ["trust", "models.json"], ["trust", "."], ["trust", str(file)]):
        status, out, err = run(capsys, *arguments)
        assert (status, err) == (0, "")
        assert out.splitlines()[:3] == [
            f"{file} is trusted with:",
            "  $.models.a.providerConfig.apiKey: ${GATEWAY_KEY}",
            "  $.models.a.providerConfig.baseUrl: http://gateway.example",
        ]
    listed = run(capsys, "trust", "--list")
    assert listed[0] == 0
    assert listed[1].startswith(f"{file}  since 20")
    assert run(capsys, "trust", "--forget") == (0, f"{file} is not trusted any more.\n", "")
    assert run(capsys, "trust", "--forget") == (0, f"{file} was not trusted.\n", "")
    assert run(capsys, "trust", "--list") == (0, "", "")


def test_what_a_file_asks_for_can_be_read_first(capsys: pytest.CaptureFixture[str]) -> None:
    """All of it, and nothing is trusted."""
    file = written(baseUrl="http://gateway.example", apiKey="${GATEWAY_KEY}")
    status, out, _ = run(capsys, "trust", "--dry-run")
    assert (status, out.splitlines()[0]) == (0, f"{file} asks for:")
    assert "  $.models.a.providerConfig.apiKey: ${GATEWAY_KEY}" in out.splitlines()
    assert run(capsys, "trust", "--list") == (0, "", "")


def test_a_file_that_asks_for_nothing_needs_no_trust(capsys: pytest.CaptureFixture[str]) -> None:
    """It may be given all the same: a local server then gets the key of the environment, as of a named file."""
    file = written()
    assert run(capsys, "trust", "--dry-run") == (0, f"{file} asks for nothing that needs trust.\n", "")
    assert not store_path().exists()
    assert run(capsys, "trust") == (0, f"{file} asks for nothing that needs trust.\n", "")
    assert run(capsys, "trust", "--list")[1].startswith(f"{file}  since")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["trust"], "there is no models.json in this folder or above it"),
        (["trust", "nowhere"], "cannot be read: No such file"),
        (["trust", "."], "models.json: cannot be read: No such file"),
    ],
    ids=["none to be found", "not there", "a folder without one"],
)
def test_what_cannot_be_trusted(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, and status 2."""
    status, out, err = run(capsys, *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert said in err


def test_a_damaged_store_and_one_that_cannot_be_written(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said in one line; trusting a file again makes a new store."""
    written(baseUrl="http://gateway.example")
    assert run(capsys, "trust")[0] == 0
    store_path().write_text("{")
    status, out, err = run(capsys, "trust", "--list")
    assert (status, out) == (2, "")
    assert f"penstock: the trust store {store_path()} counts as empty" in err
    assert run(capsys, "trust")[0] == 0
    assert run(capsys, "trust", "--list")[0] == 0
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "models.json"))
    status, out, err = run(capsys, "trust")
    assert (status, out) == (2, "")
    assert "trust cannot be remembered" in err


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="there are no such users here")
def test_a_folder_without_rights(tmp_path: Path) -> None:
    """As a user who may not look into it: one line, status 2, no traceback; and the search passes over it."""
    closed = tmp_path / "closed"
    (closed / "inside").mkdir(parents=True)
    (closed / "models.json").write_text("{}")
    script = (
        "import os, sys\n"
        "os.chdir(sys.argv[1] + '/inside')\n"
        "os.chmod(sys.argv[1], 0)\n"
        "from penstock.cli.main import main\n"
        "main(['trust', '--list'])  # loads all modules, which may lie where only root can read\n"
        "if os.geteuid() == 0: os.setresuid(65534, 65534, 65534)\n"
        "print(main(['trust', sys.argv[1] + '/models.json']), main(['trust']))"
    )
    command = [sys.executable, "-c", script, str(closed)]
    environment = {**unmeasured(), "XDG_DATA_HOME": str(tmp_path / "data")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    closed.chmod(0o700)
    assert "Traceback" not in done.stderr
    assert done.stdout == "2 2\n"
    assert "cannot be read: Permission denied" in done.stderr.splitlines()[0]
    assert len(done.stderr.splitlines()) == 2


def test_the_command_line_names_file_and_host_that_are_not_the_defaults(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, thief: Thief
) -> None:
    """On standard error; also an address that the environment gives, and never a password in it."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", SECRET)
    port = thief.port
    thief.socket.close()  # nobody listens, so that the call ends at once
    url = f"http://me:password-1234@127.0.0.1:{port}"
    file = written(baseUrl=url)
    assert run(capsys, "trust")[0] == 0
    for command in (["chat", "Hi"], ["doctor"]):
        err = run(capsys, *command)[2]
        assert f"(models from {file}; asking http://***@127.0.0.1:{port})\n" in err
        assert "password-1234" not in err
    file.unlink()
    monkeypatch.setenv("ANTHROPIC_BASE_URL", f"http://127.0.0.1:{port}")
    assert f"(asking http://127.0.0.1:{port})\n" in run(capsys, "chat", "Hi")[2]
