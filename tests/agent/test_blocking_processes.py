"""Programs without an event loop that are interrupted, forked, or end while something is open."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Final

import pytest

from patience import PATIENCE
from penstock.testing import Hang, ServerReply
from places import unmeasured
from serving import Served, serving
from three_wires import WIRES

WIRE: Final = WIRES[0]
ANSWER: Final = WIRE.answer("Hello there")
SILENT: Final = ServerReply([*ANSWER[: WIRE.begun + 1], Hang()])

_BEGIN: Final = """
import atexit, os, sys, threading, time
from penstock import AnthropicProvider, ConfigError, Message, ProviderConfig, StreamInterruptedError
from penstock import blocking, generate_text

ASK = [Message("user", "Hi")]
provider = AnthropicProvider(ProviderConfig(model_id="m", api_key="no-key-is-needed", base_url=sys.argv[1]))
model = blocking(provider)
"""


def program(served: Served, code: str, *options: str) -> subprocess.Popen[str]:
    """A program that asks *served*, with so many of Python's *options*."""
    return subprocess.Popen(
        [sys.executable, *options, "-c", _BEGIN + code, served.url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=unmeasured(),
        # A test run in the background ignores Ctrl-C, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def said(process: subprocess.Popen[str]) -> tuple[str, str, int]:
    """What it printed, what it complained of, and its status."""
    out, err = process.communicate(timeout=PATIENCE)
    # Building the client takes a moment in which its loop, which nobody else uses, does nothing else.
    complaints = [line for line in err.splitlines() if not line.startswith("Executing <")]
    return out, "\n".join(complaints), process.returncode


ENDS = {
    "what was read, left and kept": """
assert len(list(model.create_message('', ASK))) > 3
for chunk in model.create_message('', ASK): break
chunks = model.create_message('', ASK)
print(next(chunks) is not None)
""",
    "a call when all is over": """
def late():
    model.close()
    try: list(model.create_message('', ASK))
    except ConfigError as error: print('as Python ends' in str(error))
atexit.register(late)
for chunk in model.create_message('', ASK): break
""",
    "a call that is the first when all is over": """
def late():
    try: print(len(list(model.create_message('', ASK))) > 3)
    except ConfigError as error: print('as Python ends' in str(error))
threading.Thread(target=lambda: threading.main_thread().join() or late()).start()
""",
    "a provider that others share": """
from penstock import ModelEntry, ModelsConfig, ProviderConfig, Providers
entry = ModelEntry(provider="anthropic", provider_config=provider._config)
shared = Providers(ModelsConfig(active="a", models={"a": entry}))
print(any(True for chunk in blocking(shared.get()).create_message("", ASK)))
""",
    "a daemon thread that reads": """
begun = threading.Event()
def read():
    for chunk in model.create_message('', ASK): begun.set()
threading.Thread(target=read, daemon=True).start()
print(begun.wait(60))
""",
}


@pytest.mark.parametrize("code", ENDS.values(), ids=ENDS)
def test_a_program_ends_without_a_word(code: str) -> None:
    """However it leaves what is open: no warning, no traceback of a thread, no waiting."""
    with serving(lambda request: ServerReply(ANSWER)) as served:
        assert said(program(served, code, "-X", "dev", "-W", "error")) == ("True\n", "", 0)


WAITS: Final = """
def before_the_first_chunk():
    for chunk in model.create_message("", ASK): pass

def in_a_coroutine():
    blocking(generate_text(provider, "Hi"))

def in_a_stream_that_has_a_name():
    chunks = model.create_message("", ASK)
    for chunk in chunks: pass

for wait in (before_the_first_chunk, in_a_coroutine, in_a_stream_that_has_a_name):
    try:
        wait()
    except KeyboardInterrupt:
        print(wait.__name__, flush=True)
time.sleep(60)
"""


def test_an_interrupt_ends_a_silent_wait() -> None:
    """The connection is closed before the program goes on, within the second that is waited for it."""
    with serving(ServerReply(before=[Hang()]), SILENT, SILENT) as served:
        exchanges = served.emulator.exchanges
        with program(served, WAITS) as process:
            assert process.stdout is not None
            try:
                for number, wait in enumerate(
                    ("before_the_first_chunk", "in_a_coroutine", "in_a_stream_that_has_a_name")
                ):
                    served.until(lambda number=number: len(exchanges) > number)  # type: ignore[misc]
                    process.send_signal(signal.SIGINT)
                    assert process.stdout.readline() == f"{wait}\n"
                    served.until(exchanges[number].hung_up.is_set)
            finally:
                process.kill()


FORKING: Final = """
list(model.create_message('', ASK))
chunks = blocking(provider.create_message('', ASK))
next(chunks)
child = os.fork()
if not child:
    with model:
        assert len(list(model.create_message('', ASK))) > 3
    try: next(chunks)
    except StreamInterruptedError as error: assert "forked" in str(error), error
    else: raise AssertionError
    os._exit(0)
status = os.waitpid(child, 0)[1]
print(status, len(list(chunks)) > 3, len(list(model.create_message('', ASK))) > 3)
"""


def test_a_forked_process_has_a_thread_of_its_own() -> None:
    """Both go on; a stream that was begun before belongs to the parent, which reads it to its end."""
    with serving(lambda request: ServerReply(ANSWER)) as served:
        # Python warns of any fork of a process that has threads, in the child of its connections.
        assert said(program(served, FORKING, "-W", "ignore")) == ("0 True True\n", "", 0)
