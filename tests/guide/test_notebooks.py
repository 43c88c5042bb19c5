"""The page on notebooks, run as one; and a kernel that is interrupted, or restarted, in the middle of an answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import nbclient
import nbformat
import pytest
from jupyter_client.manager import start_new_kernel

import tables
from examples import blocks
from patience import PATIENCE
from penstock.testing import Hang, ServerReply
from places import unmeasured
from serving import serving
from three_wires import WIRES

CELLS: Final = [
    block.code for block in blocks((tables.GUIDE / "notebooks.md").read_text("utf-8")) if block.language == "ipython"
]
WIRE: Final = WIRES[0]
BEGUN: Final = ServerReply([*WIRE.answer("Hello there")[: WIRE.begun + 2], Hang()])


def test_the_cells_of_the_page_run() -> None:
    """In a kernel, whose own loop runs; the text comes in pieces."""
    v4: Any = nbformat.v4  # which has no types
    notebook = v4.new_notebook(cells=[v4.new_code_cell(code) for code in CELLS])
    nbclient.NotebookClient(notebook, kernel_name="python3", timeout=int(PATIENCE)).execute(env=unmeasured())
    outputs = [cell.outputs for cell in notebook.cells]
    first, second, third = ("".join(output.text for output in cell) for cell in outputs)
    assert "You said: Tell me a story." in first
    assert second.endswith("stop\n")
    assert third == "<class 'dict'>\n"


_BEGIN: Final = """
from penstock import AnthropicProvider, Message, ProviderConfig, blocking
provider = AnthropicProvider(ProviderConfig(model_id="m", api_key="no-key-is-needed", base_url={url!r}))
ASK = [Message("user", "Hi")]
"""
ASKING: Final = {
    "a plain for": "for chunk in blocking(provider).create_message('', ASK): pass",
    "a top-level await": "async for chunk in provider.create_message('', ASK): pass",
}
STOPPING: Final[dict[str, Callable[[Any], object]]] = {
    "interrupted": lambda kernel: kernel.interrupt_kernel(),
    "restarted": lambda kernel: kernel.restart_kernel(now=True),
}


@pytest.mark.parametrize("stop", STOPPING.values(), ids=STOPPING)
@pytest.mark.parametrize("ask", ASKING.values(), ids=ASKING)
def test_a_kernel_that_is_stopped_closes_the_connection(ask: str, stop: Callable[[Any], object]) -> None:
    """In the middle of an answer; the next cell runs."""
    with serving(BEGUN) as served:
        kernel, client = start_new_kernel(env=unmeasured())
        try:
            # Else a cell that is asked for while this one ends with an error is not run.
            client.execute(_BEGIN.format(url=served.url) + ask, stop_on_error=False)
            served.asked()
            stop(kernel)
            # ipykernel 7.4 sees an interrupt of an `await` when its loop next has something to do, as this question.
            client.wait_for_ready(timeout=PATIENCE)
            served.hung_up()
            assert client.execute("1 + 1", reply=True, timeout=PATIENCE)["content"]["status"] == "ok"
        finally:
            client.stop_channels()
            kernel.shutdown_kernel(now=True)
