"""An SDK is imported by the first call, once, while the event loop goes on; and a fork does not find it half done."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import anyio
import anyio.lowlevel
import pytest

from patience import PATIENCE, until
from penstock import AnthropicProvider, ConfigError, Message, OpenAIProvider, ProviderConfig
from penstock.providers import sdks
from penstock.providers.sdks import load

pytestmark = pytest.mark.anyio

NAME = "slow_sdk"
# It waits in the middle, for a test that has to see that.
SOURCE = """
from slow_sdk_state import state

state.begun += 1
assert state.go.wait(60)
if state.faults:
    raise state.faults.pop()
class OpenAIError(Exception): ...
"""


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """An SDK whose import waits for `go`, and raises what there is of `faults`. begun: how often it was imported."""
    found = SimpleNamespace(begun=0, go=threading.Event(), faults=[])
    beside = ModuleType("slow_sdk_state")
    vars(beside)["state"] = found
    monkeypatch.setitem(sys.modules, beside.__name__, beside)
    (tmp_path / f"{NAME}.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    yield found
    found.go.set()
    for thread in threading.enumerate():
        if thread.name.endswith(NAME):
            thread.join(PATIENCE)
    sdks._imports.pop(NAME, None)
    sys.modules.pop(NAME, None)


async def test_the_loop_goes_on_and_all_wait_for_one_import(state: SimpleNamespace) -> None:
    """Those of another event loop too. One that is cancelled leaves, and the others are served."""
    found: list[object] = []

    async def wait() -> None:
        found.append((await load(NAME)).sdk)

    other = threading.Thread(target=anyio.run, args=(wait,))
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            tasks.start_soon(wait)
            with anyio.move_on_after(0):
                await wait()
            await until(lambda: state.begun)
            other.start()
            assert found == []
            state.go.set()
        await until(lambda: not other.is_alive())
    assert found == [sys.modules[NAME]] * 3
    assert state.begun == 1


async def test_who_needs_another_sdk_waits_for_that_one_too(state: SimpleNamespace) -> None:
    """Packages that both need would be imported by two threads, each of which holds what the other waits for."""
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(load, NAME)
            await until(lambda: state.begun)
            tasks.start_soon(load, "openai")
            await until(lambda: "openai" in sdks._imports)
            for _ in range(5):
                await anyio.lowlevel.checkpoint()
            state.go.set()
    assert (await load("openai")).sdk.__name__ == "openai"


@pytest.mark.parametrize("fault", [ImportError("no such file"), RecursionError("too deep"), SystemExit(3)])
async def test_an_import_that_fails_says_why_to_all_and_is_tried_again(
    fault: BaseException, state: SimpleNamespace
) -> None:
    """By the next call, as it may be there by then."""
    state.faults = [fault]
    said: list[str] = []

    async def fail() -> None:
        with pytest.raises(ConfigError) as caught:
            await load(NAME)
        assert caught.value.__cause__ is fault
        said.append(str(caught.value))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fail)
        tasks.start_soon(fail)
        await until(lambda: state.begun)
        state.go.set()
    assert said == [f"the package {NAME} cannot be imported ({type(fault).__name__}: {fault})"] * 2
    assert (await load(NAME)).sdk is sys.modules[NAME]


async def test_what_the_program_imports_the_other_way_round_is_imported_again(state: SimpleNamespace) -> None:
    """Of two threads that wait for each other's modules Python lets one have a half of them."""
    state.faults = [ImportError("cannot import name 'X' from partially initialized module 'slow_sdk.types'")]
    state.go.set()
    assert (await load(NAME)).sdk is sys.modules[NAME]
    assert state.begun == 2


async def test_where_no_thread_begins_it_is_imported_in_place(
    state: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As at the end of Python, or where the system has none left."""

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    state.go.set()
    monkeypatch.setattr(threading.Thread, "start", start)
    assert (await load(NAME)).sdk is sys.modules[NAME]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_fork_waits_for_the_import(state: SimpleNamespace) -> None:
    """The child has it whole; without that it would wait for a thread that it does not have."""
    sdks._begun(NAME)
    os.register_at_fork(before=state.go.set)  # the last one is called first
    child = os.fork()
    if child == 0:
        os._exit(0 if sdks._imports[NAME].outcome.done() and anyio.run(load, NAME).sdk is sys.modules[NAME] else 1)
    assert os.waitpid(child, 0)[1] == 0


FIRST = """
import asyncio, sys
from penstock import AnthropicProvider, ConfigError, Message, OpenAIProvider, ProviderConfig

HEAVY = {"anthropic", "openai", "httpx2", "pydantic"}
config = ProviderConfig(model_id="m", api_key="no-key-is-needed", base_url="http://127.0.0.1:9/v1")
providers = [AnthropicProvider(config), OpenAIProvider(config)]
print(HEAVY & sys.modules.keys())

async def main():
    asking = asyncio.ensure_future(anext(providers[1].create_message("", [Message("user", "hi")])))
    await asyncio.sleep(0)
    asking.cancel()

asyncio.run(main())
"""


def test_to_build_providers_imports_nothing_and_a_process_may_end_during_the_first_call() -> None:
    """Its end waits for the import, as compiled code that is cut off in a thread may take the process down."""
    ran = subprocess.run([sys.executable, "-c", FIRST], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "set()\n", "")


@pytest.mark.parametrize("kind", [AnthropicProvider, OpenAIProvider])
async def test_a_call_says_why_its_sdk_is_not_there(
    kind: type[AnthropicProvider | OpenAIProvider], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call anew, with what its provider is called."""
    name = kind.__name__.removesuffix("Provider").lower()
    monkeypatch.setattr(sdks, "_imports", {})
    monkeypatch.setitem(sys.modules, name, None)
    provider = kind(ProviderConfig(model_id="m", api_key="no-key-is-needed"))
    for _ in range(2):
        with pytest.raises(ConfigError, match=f"the package {name} cannot be imported") as caught:
            await anext(provider.create_message("", [Message("user", "hi")]))
        assert caught.value.vendor == name
    await provider.aclose()
