"""`penstock keys`: a key goes into the keyring and is seen no more."""

from __future__ import annotations

import getpass
import hashlib
import io
import sys
from pathlib import Path

import msgspec
import pytest

from keyrings import MemoryKeyring
from penstock.cli.main import main
from penstock.config import key_sources

KEY = "sk-typed-0123456789"
PRINT = hashlib.sha256(KEY.encode()).hexdigest()[:8]


class Terminal(io.StringIO):
    """Somebody types."""

    def isatty(self) -> bool:
        """As a terminal says."""
        return True


@pytest.fixture
def keyring(monkeypatch: pytest.MonkeyPatch) -> MemoryKeyring:
    return MemoryKeyring(monkeypatch)


def piped(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def models(**keys: str) -> None:
    """A models.json that is named, with an alias for each key."""
    entries = {
        alias: {"provider": "anthropic", "providerConfig": {"modelId": "m", "apiKey": key}}
        for alias, key in keys.items()
    }
    Path("models.json").write_bytes(msgspec.json.encode({"active": next(iter(keys)), "models": entries}))


@pytest.mark.parametrize("way", ["piped", "typed"])
def test_a_key_is_kept(
    way: str, keyring: MemoryKeyring, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And what models.json has to say for it is printed, with a fingerprint in place of the key."""
    asked: list[str] = []

    def typed(prompt: str, stream: object) -> str:
        asked.append(prompt)
        return f" {KEY} "

    piped(monkeypatch, f"{KEY}\n")
    if way == "typed":
        monkeypatch.setattr(sys, "stdin", Terminal())
        monkeypatch.setattr(getpass, "getpass", typed)
    assert main(["keys", "set", "anthropic"]) == 0
    assert keyring == {("penstock", "anthropic"): KEY}
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        f"The keyring has penstock/anthropic now, with the fingerprint {PRINT}. In models.json write:",
        '  "apiKey": "keyring:penstock/anthropic"',
    ]
    assert (err, asked) == ("", ["Key for anthropic: "] if way == "typed" else [])


def test_a_key_is_forgotten(keyring: MemoryKeyring, capsys: pytest.CaptureFixture[str]) -> None:
    """Once; then there is none to forget."""
    keyring["penstock", "anthropic"] = KEY
    assert main(["keys", "remove", "anthropic"]) == 0
    assert not keyring
    assert main(["keys", "remove", "anthropic"]) == 2
    out, err = capsys.readouterr()
    assert out == "The keyring has no penstock/anthropic any more.\n"
    assert err == "penstock: the keyring has no entry penstock/anthropic\n"


def test_the_keys_that_models_json_names(
    keyring: MemoryKeyring, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By fingerprint, or why there is none. Other kinds of keys are left out."""
    keyring["penstock", "a"] = KEY
    models(mine="keyring:penstock/a", none="keyring:penstock/b", locked="keyring:locked/c", other=KEY)
    monkeypatch.setenv("PENSTOCK_MODELS", "models.json")
    assert main(["keys", "list"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"mine  keyring:penstock/a  {PRINT}",
        "none  keyring:penstock/b  the keyring has no entry for service 'penstock' and user 'b'",
        "locked  keyring:locked/c  the keyring does not answer: locked",
    ]
    models(other=KEY)
    assert main(["keys", "list"]) == 0
    assert capsys.readouterr() == ("", "No model of models.json has its key in the keyring.\n")


def test_a_file_that_was_only_found_has_nothing_asked_of_the_keyring(
    keyring: MemoryKeyring, capsys: pytest.CaptureFixture[str]
) -> None:
    """It may name anybody's secret."""
    models(theirs="keyring:bank/me")
    assert main(["keys", "list"]) == 2
    assert "penstock trust" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "text", "status", "said"),
    [
        pytest.param("a", "", 2, "no key was entered; nothing was stored", id="nothing typed"),
        pytest.param("a", f"{KEY}\nand more\n", 1, "no header can carry", id="two lines"),
        pytest.param(KEY, KEY, 2, "and not the key itself", id="the key in place of the name"),
        pytest.param("x" * 24, KEY, 2, "up to 23 letters", id="what may be a key"),
        pytest.param("a/b", KEY, 2, "up to 23 letters", id="a slash"),
    ],
)
def test_what_is_not_kept(
    name: str,
    text: str,
    status: int,
    said: str,
    keyring: MemoryKeyring,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The key is in no message."""
    piped(monkeypatch, text)
    assert main(["keys", "set", name]) == status
    assert not keyring
    out, err = capsys.readouterr()
    assert said in err
    assert "sk-typed" not in out + err


def test_a_keyring_that_waits_for_a_window(
    keyring: MemoryKeyring, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody sees it: after a minute, here less, the way round it is named."""
    monkeypatch.setattr(key_sources, "_PATIENCE", 0.05)
    with pytest.raises(Exception, match=r"no answer within 0.05 s\n.*PYTHON_KEYRING_BACKEND"):
        key_sources.KeyringEntry("hanging", "me").store(KEY)
    keyring.over.set()


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What to install is said."""
    monkeypatch.setitem(sys.modules, "keyring", None)
    piped(monkeypatch, KEY)
    assert main(["keys", "set", "a"]) == 2
    assert "pip install 'penstock[keyring]'" in capsys.readouterr().err
