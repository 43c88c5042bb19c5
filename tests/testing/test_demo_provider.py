"""`open_provider("demo")`: an ordinary provider without a key."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from penstock import ConfigError, Message, UsageChunk, collect, load_models, open_provider
from penstock.config.factories import GROUP, OWN
from places import unmeasured

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
HELLO = [Message("user", "Hello!")]
SAID = "This is Penstock's emulator, not a model, and nothing is billed. You said: Hello!"


@pytest.mark.parametrize("alias", ["demo", "demo/messages", "demo/chat", "demo/responses"])
async def test_the_demo_answers(alias: str) -> None:
    """On every wire, over HTTP to this machine, as a vendor of its own."""
    async with open_provider(alias) as provider:
        reply = await collect(provider.create_message("", HELLO))
        assert (reply.text, reply.stop_reason) == (SAID, "stop")
        host, port = provider.server
    assert (host, port is None) == ("127.0.0.1", False)
    assert (provider.vendor, provider.get_model().id, provider.alias) == ("demo", "demo", alias)


async def test_all_share_one_server() -> None:
    """Whatever the wire."""
    servers = set()
    for alias in ("demo", "demo/chat", "demo/responses"):
        async with open_provider(alias) as provider:
            await collect(provider.create_message("", HELLO))
            servers.add(provider.server)
    assert len(servers) == 1


async def test_no_proxy_stands_between(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is in this process, and no proxy could reach it."""
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with open_provider("demo") as provider:
        assert (await collect(provider.create_message("", HELLO))).text == SAID


def test_its_prices_are_pretended() -> None:
    """Round ones, which nobody has read anywhere."""
    provider = open_provider("demo/chat")
    info = provider.get_model().info
    assert info.prices_as_of is None
    assert [info.input_price, info.output_price] == [1, 10]
    assert provider.calculate_cost(UsageChunk(input_tokens=1_000_000)) == 1


def models(tmp_path: Path, **config: Any) -> Path:
    path = tmp_path / "models.json"
    entry = {"provider": "demo", "providerConfig": {"modelId": "demo", **config}}
    path.write_bytes(msgspec.json.encode({"active": "mine", "models": {"mine": entry}}))
    return path


@pytest.mark.parametrize("wire", ["messages", "chat", "responses"])
async def test_a_models_file_may_name_it(wire: str, tmp_path: Path) -> None:
    """With a wire."""
    async with open_provider(models=models(tmp_path, wire=wire)) as provider:
        reply = await collect(provider.create_message("", HELLO))
    assert (reply.text, repr(provider).startswith("Demo")) == (SAID, True)


def test_a_file_that_was_found_may_name_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It sends nothing anywhere."""
    models(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert load_models().untrusted is None
    assert open_provider().vendor == "demo"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"modelId": "big"}, "the demo has the models messages, chat, responses, found 'big'"),
        ({"modelId": "chat", "wire": "responses"}, "the demo has the models messages, chat, responses, found 'chat'"),
        ({"baseUrl": "https://a.test"}, "the demo runs in this process: leave out `base_url`"),
    ],
    ids=["another model", "two wires", "an address"],
)
def test_what_it_is_not_is_refused(config: dict[str, Any], said: str, tmp_path: Path) -> None:
    """In one line."""
    with pytest.raises(ConfigError) as caught:
        open_provider(models=models(tmp_path, **config))
    assert str(caught.value) == f"{tmp_path / 'models.json'}, at $.models.mine: {said}"


PROGRAM = """
import os, sys, threading
import anyio
from penstock import Message, collect, open_provider

provider = open_provider(sys.argv[1])

async def main():
    for _ in range(2):
        await collect(provider.create_message("", [Message("user", "Hello!")]))
    await provider.aclose()

def running():
    return [thread.name for thread in threading.enumerate() if thread.name == "penstock-demo"]

print(running())
for backend in ("asyncio", "trio"):
    anyio.run(main, backend=backend)
    print(running())
if child := os.fork():
    assert os.waitpid(child, 0)[1] == 0
else:
    before = provider.server
    anyio.run(main)
    print(running(), provider.server != before)
"""


@pytest.mark.parametrize("alias", ["demo", "demo/chat"])
def test_it_starts_at_the_first_call_and_ends_with_the_program(alias: str) -> None:
    """One thread for all loops, a new one in a forked process; nothing is left to complain at the end."""
    # Python 3.12 warns of any fork in a process with threads.
    command = [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-u", "-c", PROGRAM, alias]
    done = subprocess.run(command, capture_output=True, text=True, env=unmeasured(), check=False)
    assert done.stdout.splitlines() == ["[]", "['penstock-demo']", "['penstock-demo']", "['penstock-demo'] True"]
    assert done.stderr == ""


def test_the_entry_points_are_those_that_are_known_by_name() -> None:
    """What is installed lists them, and what is only checked out finds them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["entry-points"][GROUP] == OWN
