"""The page on the web: its server and its page, in a real browser."""

from __future__ import annotations

import asyncio
import html
import re
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

import tables
from browsing import visit
from examples import blocks
from penstock.testing import DemoModel, Hang, ServerReply
from serving import Served, serving
from three_wires import KEY, WIRES
from web import uvicorn_serving

BLOCKS: Final = blocks((tables.GUIDE / "web.md").read_text("utf-8"))
SAYING: Final = ServerReply([*WIRES[0].answer("Hello there")[: WIRES[0].begun + 2], Hang()])
# The page presses its own button, and is not all there before it shows something and another button is pressed.
_PRESS: Final = """
<script>
new MutationObserver(() => {
  if (!out.textContent.includes(%r)) return;
  document.querySelector(%r).click();
  fetch("/seen", { method: "POST" });
}).observe(out, { childList: true, characterData: true, subtree: true });
form.requestSubmit();
</script>
<script src="/all"></script>
"""


def shown(served: Served, until: str, folder: Path, monkeypatch: pytest.MonkeyPatch, *, then: str = "title") -> str:
    """What the page of the guide shows a browser, in which *then* is clicked once it has shown *until*.

    The demo's place is taken by another model, as the page says.
    """
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    monkeypatch.setenv("ANTHROPIC_BASE_URL", served.url)
    page = next(block.code for block in BLOCKS if block.language == "html")
    (folder / "page.html").write_text(page + _PRESS % (until, then))
    module = ModuleType("app")
    code = next(block.code for block in BLOCKS if block.file == "app.py")
    exec(code.replace('open_provider("demo")', 'open_provider("sonnet")'), module.__dict__)
    with uvicorn_serving(watched(module.app)) as port:
        seen = visit(f"http://127.0.0.1:{port}/", folder)
    found = re.search("<pre>(.*?)</pre>", seen.document, re.DOTALL)
    assert found is not None
    return html.unescape(found[1])


def test_a_model_may_be_named_in_the_path() -> None:
    """One of those that the program offers, and no other."""
    module = ModuleType("models_app")
    exec(next(block.code for block in BLOCKS if block.file == "models_app.py"), module.__dict__)
    with uvicorn_serving(module.app) as port:
        got = {}
        for model in ("demo", "opus"):
            url = f"http://127.0.0.1:{port}/chat/{model}"
            answer = httpx2.post(url, json={"question": "Hello!"}, trust_env=False)
            got[model] = (answer.status_code, answer.text.endswith('event: end\ndata: {"type":"end"}\n\n'))
    assert got == {"demo": (200, True), "opus": (404, False)}


def watched(app: Any) -> Starlette:
    """The same, and two addresses for the page: one is not answered before the other is asked."""
    seen = asyncio.Event()

    async def say(request: Request) -> Response:
        seen.set()
        return Response()

    async def wait(request: Request) -> Response:
        await seen.wait()
        return Response(media_type="text/javascript")

    routes = [Route("/seen", say, methods=["POST"]), Route("/all", wait), Mount("/", app)]
    return Starlette(routes=routes, lifespan=app.router.lifespan_context)


def test_the_page_shows_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To its end, in Chromium."""
    with serving(DemoModel()) as served:
        assert shown(served, "[end]", tmp_path, monkeypatch).endswith("You said: Hello!\n[end]")


def test_the_stop_button_of_the_page_stops_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of an answer."""
    with serving(SAYING) as served:
        said = shown(served, "Hell", tmp_path, monkeypatch, then="[type=button]")
        assert re.fullmatch(r"Hell(o th)?(\n\[.*aborted.*\])?", said)
        served.hung_up()


def test_the_page_shows_that_it_went_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In words for whoever looks at it."""
    with serving(WIRES[0].error(429, "slow down, org-secret")) as served:
        said = shown(served, "[", tmp_path, monkeypatch)
        assert said == "\n[The vendor asks to slow down (HTTP 429).]"
