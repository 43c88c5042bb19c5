"""Work that waits for the client without being a call of a function: what vendors call it, and how it is one of ours.

One row for each kind. The arguments of such a call are an object of the fields named here, so a call can be written
back in the vendor's own form; at another vendor it is a call of a function of that name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

__all__ = ["CLIENT_CALLS", "FUNCTION_BESIDE", "ClientCall", "client_call_of", "is_client_tool", "tool_name"]


class ClientCall(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of work, by the names of OpenAI's Responses API."""

    item: str
    """The type of the item that asks for it."""
    output: str
    """The type of the item that answers it."""
    definitions: tuple[str, ...]
    """The types of the tools that lead to it."""
    name: str = ""
    """What the call's tool is named; empty where `named_by` tells."""
    named_by: str = ""
    """The field of item and definition that names the tool; empty where the row does."""
    arguments: tuple[str, ...]
    """The fields of the item that are the arguments."""
    beside: tuple[str, ...] = ()
    """The fields that go back with it beside the arguments."""
    id_field: str = "call_id"
    """The field that the answer has to name."""


# Source: the types of the openai SDK 3.54, and recorded answers of four of the kinds; read 2026-11-30. `caller` is the
# program of the vendor's that made the call. Ids of items go back only where the types want them.
_ROWS: Final = (
    ClientCall(  # free text, also under a grammar; on the chat wire it is `{"type": "custom", "custom": {...}}`
        item="custom_tool_call",
        output="custom_tool_call_output",
        definitions=("custom",),
        named_by="name",
        arguments=("input",),
        beside=("caller", "namespace"),
    ),
    ClientCall(
        item="local_shell_call",
        output="local_shell_call_output",
        definitions=("local_shell",),
        name="local_shell",
        arguments=("action",),
        beside=("id", "status"),
    ),
    ClientCall(
        item="shell_call",
        output="shell_call_output",
        definitions=("shell",),
        name="shell",
        arguments=("action",),
        beside=("caller", "environment", "status"),
    ),
    ClientCall(
        item="apply_patch_call",
        output="apply_patch_call_output",
        definitions=("apply_patch",),
        name="apply_patch",
        arguments=("operation",),
        beside=("caller", "status"),
    ),
    ClientCall(
        item="computer_call",
        output="computer_call_output",
        definitions=("computer", "computer_use_preview"),
        name="computer",
        arguments=("action", "actions", "pending_safety_checks"),
        beside=("id", "status"),
    ),
    ClientCall(  # a server's tool may run only when the client has said yes: the call is named after the server
        item="mcp_approval_request",
        output="mcp_approval_response",
        definitions=("mcp",),
        named_by="server_label",
        arguments=("server_label", "name", "arguments"),
        id_field="id",
    ),
)
CLIENT_CALLS: Final[Mapping[str, ClientCall]] = {row.item: row for row in _ROWS}
"""The rows by the type of the item."""
FUNCTION_BESIDE: Final = ("caller", "namespace")
"""The fields of a call of a function that go back with it."""
_BY_DEFINITION: Final = {kind: row for row in _ROWS for kind in row.definitions}
# Tools that Anthropic defines and the client runs; the type ends with a date. Their calls are calls of a function, with
# the definition's name. Source: the types of the anthropic SDK 2.11, read 2026-11-30.
_DATED: Final = ("bash_", "text_editor_", "memory_", "computer_")


def client_call_of(definition: Mapping[str, object]) -> ClientCall | None:
    """The row of a vendor's own tool; None for one whose calls are calls of a function, or which the vendor runs."""
    return _BY_DEFINITION.get(str(definition.get("type")))


def is_client_tool(definition: Mapping[str, object]) -> bool:
    """Whether a tool is the vendor's own by its definition, and the client's by its work."""
    kind = str(definition.get("type"))
    return kind in _BY_DEFINITION or (kind.startswith(_DATED) and kind[-8:].isdecimal())


def tool_name(definition: Mapping[str, object]) -> str | None:
    """The name in the calls of a vendor's own tool; None if nothing tells it."""
    inner = next((each for key in ("function", "custom") if isinstance(each := definition.get(key), Mapping)), None)
    row = client_call_of(definition)
    name = (definition if inner is None else inner).get((row and row.named_by) or "name")
    return name if isinstance(name, str) and name else (row.name or None) if row is not None else None
