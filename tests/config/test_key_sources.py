"""Keys of models.json that are fetched when they are needed: from the keyring, or from a program that prints one."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keyrings import MemoryKeyring
from models_files import CONFIG, at, edited, written
from penstock import AuthenticationError, ConfigError, Message, Providers, collect, open_provider
from penstock.config import key_sources
from penstock.config.open import resolve
from penstock.core.keys import FetchedKey
from penstock.providers.fetching import Credential
from penstock.testing import Emulator, ServerReply, anthropic_message

SECRET = "sk-printed-0123456789"
END = 1_764_518_400.0  # 2025-11-30T16:00:00Z


def source(entry: str) -> Callable[[], Any]:
    """What fetches the key of a models.json with this `apiKey`."""
    found = resolve(models=written(edited(f"{CONFIG}.apiKey", entry))).provider_config.api_key
    assert callable(found)
    return found


@pytest.mark.parametrize("name", ["x", "x/", "/x", "", "/"])
def test_an_entry_of_the_keyring_has_a_service_and_a_user(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said when the model is opened."""
    MemoryKeyring(monkeypatch)
    with pytest.raises(ConfigError, match="expected `keyring:SERVICE/USER`") as caught:
        source(f"keyring:{name}")
    assert caught.value.path == at(f"{CONFIG}.apiKey")


@pytest.mark.parametrize(
    ("entry", "program"),
    [
        pytest.param("penstock/mine", "penstock keys set mine", id="of ours"),
        pytest.param("a team/me", "keyring set 'a team' me", id="of another program"),
    ],
)
@pytest.mark.anyio
async def test_a_missing_entry_says_how_to_make_it(entry: str, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not how to unlock the keyring."""
    MemoryKeyring(monkeypatch)
    with pytest.raises(AuthenticationError) as caught:
        await Credential(source(f"keyring:{entry}")).key()
    assert caught.value.hint.startswith(f"Run `{program}`, or ")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        pytest.param("a team/me/x", None, id="service and user are parted at the first slash"),
        pytest.param("a team/you", "no entry for service 'a team' and user 'you'", id="no such entry"),
        pytest.param("locked/me", "the keyring does not answer: locked", id="it is locked"),
    ],
)
def test_a_key_may_be_in_the_keyring(entry: str, said: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked for when it is needed and no sooner."""
    MemoryKeyring(monkeypatch)["a team", "me/x"] = SECRET
    found = source(f"keyring:{entry}")
    if said is None:
        assert found() == FetchedKey(SECRET, keep=300)
        return
    with pytest.raises(AuthenticationError, match=said):
        found()


def test_a_keyring_needs_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is said when the model is opened."""
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(ConfigError, match=r"pip install 'penstock\[keyring\]'") as caught:
        source("keyring:a/b")
    assert caught.value.path == at(f"{CONFIG}.apiKey")


def test_a_keyring_that_breaks_has_stored_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its system raises; the key is in no message."""
    MemoryKeyring(monkeypatch)
    with pytest.raises(AuthenticationError, match=r"user 'me' was not changed: no bus to send '\*\*\*' on"):
        key_sources.KeyringEntry("broken", "me").store(SECRET)


PRINTED = {
    "the key alone": (f"echo {SECRET}", FetchedKey(SECRET, keep=300)),
    "spaces and lines around it": (f"printf '\\n  {SECRET}\\r\\n\\n'", FetchedKey(SECRET, keep=300)),
    "a word with a space is one argument": (f"printf %s 'key {SECRET}'", FetchedKey(f"key {SECRET}", keep=300)),
    "no shell reads it": ("echo $HOME;ls", FetchedKey("$HOME;ls", keep=300)),
    "with its end": (
        f"""echo '{{"status": {{"token": "{SECRET}", "expirationTimestamp": "2025-11-30T16:00:00Z"}}}}'""",
        FetchedKey(SECRET, END, 300),
    ),
    "as an ExecCredential": (
        f"""echo '{{"apiVersion": "v1", "kind": "ExecCredential", "status": {{"token": "{SECRET}"}}}}'""",
        FetchedKey(SECRET, None, 300),
    ),
    "what it says beside is not the key": (
        f"""sh -c 'echo careful >&2; echo {SECRET}'""",
        FetchedKey(SECRET, keep=300),
    ),
    "nothing to read": (f"""sh -c 'cat; echo {SECRET}'""", FetchedKey(SECRET, keep=300)),
}


@pytest.mark.parametrize(("command", "key"), PRINTED.values(), ids=PRINTED)
def test_a_program_may_print_the_key(command: str, key: FetchedKey) -> None:
    """Alone, or with its end as kubectl's plugins do."""
    assert source(f"command: {command}")() == key


FAILING = {
    "nothing": ("true", "the command `true` for the API key printed nothing"),
    "two lines": (f"printf 'a\\n{SECRET}\\n'", "printed 2 lines, expected one"),
    "a failure": (
        "sh -c 'echo first >&2; printf \"\\033[31mlog in\\033[0m\\a first\\n\\n\" >&2; exit 3'",
        "the command `sh ...` for the API key ended with status 3: log in first",
    ),
    "a failure that says nothing": ("false", "ended with status 1"),
    "a failure that says the key": (
        f"sh -c 'echo {SECRET}; echo no {SECRET} >&2; exit 1'",
        "ended with status 1: no ***",
    ),
    "a failure that says the key of its JSON": (
        f"""sh -c 'echo "{{\\"token\\": \\"{SECRET}\\"}}"; echo no {SECRET} >&2; exit 1'""",
        "ended with status 1: no ***",
    ),
    "no end of printing": ("yes", "the command `yes` for the API key printed more than 65,536 bytes"),
    "no end of complaining": ("sh -c 'yes >&2'", "printed more than 65,536 bytes"),
    "JSON of another form": (
        f"""echo '{{"token": "{SECRET}"}}'""",
        "printed JSON of another form (Object missing required field `status`)",
    ),
    "JSON whose end has no zone": (
        f"""echo '{{"status": {{"token": "{SECRET}", "expirationTimestamp": "2025-11-30T16:00:00"}}}}'""",
        "printed JSON of another form (Expected `datetime` with a timezone",
    ),
    "no such program": ("penstock-has-no-such-program x", "cannot be run: No such file or directory"),
}


@pytest.mark.parametrize(("command", "said"), FAILING.values(), ids=FAILING)
def test_a_program_that_gives_no_key_is_named(command: str, said: str) -> None:
    """With what it said last; the key is in no message."""
    with pytest.raises(AuthenticationError) as caught:
        source(f"command: {command}")()
    assert said in str(caught.value)
    assert SECRET not in repr(caught.value)


def test_a_program_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """After ten seconds, here less."""
    monkeypatch.setattr(key_sources, "FETCH_SECONDS", 0.05)
    with pytest.raises(AuthenticationError, match=r"the command `sleep ...` for the API key gave none within 0.05 s"):
        source("command: sleep 60")()


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        pytest.param("command:", "expected a program and its arguments after `command:`", id="no program"),
        pytest.param("command: ''", "expected a program and its arguments after `command:`", id="an empty one"),
        pytest.param("command: echo 'x", "the command cannot be read: No closing quotation", id="an open quotation"),
    ],
)
def test_what_is_no_command(entry: str, said: str) -> None:
    """It is said when the model is opened."""
    with pytest.raises(ConfigError, match=said) as caught:
        source(entry)
    assert caught.value.path == at(f"{CONFIG}.apiKey")


def test_a_program_that_is_named_with_a_slash_lies_beside_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in the folder where somebody happens to run: that may be a stranger's."""
    program = tmp_path / "mine" / "print-key"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho {SECRET}\n")
    program.chmod(0o700)
    file = program.with_name("models.json")
    file.write_bytes(edited(f"{CONFIG}.apiKey", "command: ./print-key"))
    monkeypatch.chdir(tmp_path)
    found = resolve(models=file).provider_config.api_key
    assert callable(found)
    assert found() == FetchedKey(SECRET, keep=300)


def test_nothing_runs_when_a_model_is_opened(tmp_path: Path) -> None:
    """Nor is anything of the command in what is printed of the provider."""
    provider = open_provider(models=written(edited(f"{CONFIG}.apiKey", f"command: touch {tmp_path / SECRET}")))
    assert SECRET not in repr(provider)
    assert not (tmp_path / SECRET).exists()


@pytest.mark.anyio
async def test_a_program_is_run_once_for_all_that_name_it(tmp_path: Path) -> None:
    """By the first call, for two models and three requests; when it fails, the call does, and says what to do."""
    printing = f"command: sh -c 'echo >>{tmp_path}/runs; echo {SECRET}'"
    answer = ServerReply(anthropic_message({"type": "text", "text": "Hello"}))
    async with Emulator(answer, answer, answer) as emulator:
        keys = {"one": printing, "other": printing, "bad": "command: false"}
        models = {
            alias: {"provider": "anthropic", "providerConfig": {"modelId": "m", "apiKey": key, "baseUrl": emulator.url}}
            for alias, key in keys.items()
        }
        file = written(json.dumps({"active": "one", "models": models}).encode())
        async with Providers(file) as providers:
            for alias in ("one", "one", "other"):
                await collect(providers.get(alias).create_message("", [Message("user", "Hi")]))
            with pytest.raises(
                AuthenticationError, match=r"`false` .* ended with status 1 \(model m\)\nRun it in a term"
            ):
                await collect(providers.get("bad").create_message("", [Message("user", "Hi")]))
    assert [request.headers["authorization"] for request in emulator.requests] == [f"Bearer {SECRET}"] * 3
    assert (tmp_path / "runs").read_text() == "\n"
