"""Names and results of MCP servers' tools: laws that need no server."""

from __future__ import annotations

from base64 import b64encode
from typing import Any, Final

import pytest

from penstock import DocumentPart, ImagePart, TextPart, ToolResult
from penstock.agent.mcp.results import tool_result
from penstock.agent.mcp.tools import _name, _shown
from penstock.core.tool_definition import own_tool_name

DATA: Final = b64encode(b"data").decode()


def resource(**fields: object) -> dict[str, Any]:
    """A resource that is embedded."""
    return {"type": "resource", "resource": {"uri": "file:///a", **fields}}


@pytest.mark.parametrize(
    ("block", "part"),
    [
        pytest.param({"type": "text", "text": "a"}, TextPart("a"), id="text"),
        pytest.param({"type": "text", "text": "a\ud800"}, TextPart("a\ufffd"), id="half of a pair"),
        pytest.param({"type": "text", "text": " "}, None, id="blank text, which vendors refuse"),
        pytest.param(
            {"type": "image", "data": DATA, "mimeType": "image/webp"},
            ImagePart(data=b"data", media_type="image/webp"),
            id="an image",
        ),
        pytest.param(
            {"type": "image", "data": DATA, "mimeType": "image/svg+xml"},
            TextPart("[image, image/svg+xml, 4 bytes: it cannot be shown]"),
            id="an image that no wire takes",
        ),
        pytest.param(
            {"type": "image", "data": "?", "mimeType": "image/png"},
            TextPart("[image, image/png: it cannot be read]"),
            id="an image that is none",
        ),
        pytest.param(
            {"type": "audio", "data": DATA}, TextPart("[audio, no media type, 4 bytes: it cannot be shown]"), id="audio"
        ),
        pytest.param(
            resource(text="inside", mimeType="text/x-python"),
            DocumentPart(data=b"inside", media_type="text/plain", title="file:///a"),
            id="a resource that is text",
        ),
        pytest.param(resource(text=""), TextPart("[resource file:///a: empty]"), id="an empty resource"),
        pytest.param(
            resource(blob=DATA, mimeType="application/pdf"),
            DocumentPart(data=b"data", media_type="application/pdf", title="file:///a"),
            id="a PDF",
        ),
        pytest.param(
            resource(blob=DATA, mimeType="image/png"), ImagePart(data=b"data", media_type="image/png"), id="a picture"
        ),
        pytest.param(
            resource(blob=DATA),
            TextPart("[resource file:///a, no media type, 4 bytes: it cannot be shown]"),
            id="bytes",
        ),
        pytest.param(
            {"type": "resource_link", "uri": "file:///a", "name": "A", "mimeType": "text/plain"},
            TextPart("[link to a resource: A, file:///a, text/plain]"),
            id="a link",
        ),
        pytest.param(
            {"type": "text"}, TextPart("[content of the kind 'text', which is not known]"), id="no text in it"
        ),
        pytest.param("text", TextPart("[content of the kind None, which is not known]"), id="no object"),
    ],
)
def test_each_block_becomes_a_part_or_words(block: Any, part: object) -> None:
    """Nothing is lost without a word."""
    expected = [] if part is None else [part]
    assert tool_result({"content": [block]}).content == (expected or "")


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        ({}, ToolResult(content="")),
        ({"content": None, "structuredContent": {"a": [1]}}, ToolResult(content='{"a":[1]}')),
        (
            {"content": [{"type": "text", "text": "1"}], "structuredContent": {"a": 1}},
            ToolResult(content=[TextPart("1")]),
        ),
        ({"isError": True}, ToolResult(content="It failed, and did not say why.", is_error=True)),
        (
            {"content": [{"type": "text", "text": "why"}], "isError": True},
            ToolResult(content=[TextPart("why")], is_error=True),
        ),
        ({"isError": "no"}, ToolResult(content="")),
    ],
)
def test_an_answer_becomes_a_result(answer: dict[str, Any], result: ToolResult) -> None:
    """Structured content is shown where there is no other."""
    assert tool_result(answer) == result


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("add", "add", id="its own"),
        pytest.param("a" * 64, "a" * 64, id="as long as may be"),
        pytest.param("files.read", "files_read_ed7c1784", id="cleaned"),
        pytest.param("files/read", "files_read_76dcc820", id="cleaned to the same"),
        pytest.param("a" * 65, f"{'a' * 55}_16981fb6", id="cut"),
        pytest.param("", "unknown_4ad28e4a", id="empty"),
        pytest.param("日本", "___3773d19b", id="no letter of ours"),
        pytest.param("\ud800", "__4c2c04ce", id="half of a pair"),
    ],
)
def test_a_name_is_the_tools_own_or_made_of_it_with_a_mark(name: str, expected: str) -> None:
    """Always the same, on any machine."""
    assert _name("", name, "server") == expected


def test_names_depend_on_server_and_tool_alone() -> None:
    """So that a permission means the same tool after a restart; a prefix counts for the length."""
    made = {_name("", name, server) for name in ("a b", "a.b", "a/b") for server in ("one", "two")}
    assert len(made) == 6
    long = [_name("prefix_", "a" * size, "server") for size in range(50, 200)]
    assert len(set(long)) == 150
    assert all(own_tool_name(name) == name for name in (*long, *made))


@pytest.mark.parametrize(
    ("command", "url", "shown"),
    [
        (["/usr/bin/python", "server.py", "--key", "sk-1"], None, "python server.py"),
        (["npx", "-y", "@scope/server"], None, "npx"),
        (["postgres-server", "postgresql://me:secret@host/db"], None, "postgres-server postgresql://***@host/db"),
        (None, "https://me:secret@host/mcp?key=1#a", "https://***@host/mcp"),
    ],
)
def test_what_is_shown_of_a_server_holds_no_secret(command: list[str] | None, url: str | None, shown: str) -> None:
    """As far as anybody can know one."""
    assert _shown(command, url) == shown
