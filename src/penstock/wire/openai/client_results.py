"""What the client gives for work that is no function, as the items that the Responses API takes. Pure.

A result is text or parts for whoever made it; each kind of item wants it in a form of its own. Text that is JSON of
that form already goes as it is, so a function may say all that the vendor can be told.
Source: the types of the openai SDK 3.54. Those of `local_shell_call_output` have `id`, but clients that use the tool
send `call_id`, and so does this. Read 2026-11-30; no real API has been asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from penstock.core.client_calls import CLIENT_CALLS, ClientCall
from penstock.core.messages import ImagePart, TextPart, ToolCallPart, ToolResultPart
from penstock.wire.event_json import UNDECODABLE, shown
from penstock.wire.request import refuse

__all__ = ["OwnCall"]

_fields = msgspec.json.Decoder(dict[str, Any])
_YES: Final = ("true", "yes")


class OwnCall:
    """A call that goes back in the vendor's own form, and its result with it."""

    def __init__(self, part: ToolCallPart, arguments: str, id_: str) -> None:
        """arguments: the JSON text of an object. id_: as the API takes it."""
        self.beside = _decoded(part.extra)
        self.row: ClientCall | None = CLIENT_CALLS.get(str(self.beside.get("type")))
        self._name, self._id = part.name, id_
        self._arguments = arguments
        self._item: dict[str, Any] = {}
        self._fields: Mapping[str, Any] = _fields.decode(arguments) if self.row is not None else {}

    def item(self) -> dict[str, Any]:
        """The call."""
        row = self.row
        if row is None:
            self._item = {**self._function(), **self.beside}
        else:
            named = {row.named_by: self._name} if row.named_by else {}
            self._item = {"type": row.item, row.id_field: self._id, **named, **self._fields, **self.beside}
        return self._item

    def _function_output(self, output: Any) -> dict[str, Any]:
        return {"type": "function_call_output", "call_id": self._id, "output": output}

    def _function(self) -> dict[str, Any]:
        return {"type": "function_call", "call_id": self._id, "name": self._name, "arguments": self._arguments}

    def result(self, part: ToolResultPart, output: Any, image_url: Callable[[ImagePart], str]) -> dict[str, Any]:
        """What answers it. output: the result as a function's would be sent."""
        caller = {"caller": self.beside["caller"]} if "caller" in self.beside else {}
        if self.row is None:
            return {**self._function_output(output), **caller}
        fields = _RESULTS[self.row.item](self, part, output, image_url)
        return {"type": self.row.output, **fields, **caller}

    def _plain(self, part: ToolResultPart, output: Any, image_url: Callable[[ImagePart], str]) -> dict[str, Any]:
        return {"call_id": self._id, "output": output}

    def _text(self, part: ToolResultPart, output: Any, image_url: Callable[[ImagePart], str]) -> dict[str, Any]:
        return {"call_id": self._id, "output": _said(part, errors=True)}

    def _shell(self, part: ToolResultPart, output: Any, image_url: Callable[[ImagePart], str]) -> dict[str, Any]:
        said = _said(part)
        given = _decoded(said, [])
        given = [given] if isinstance(given, dict) and given else given
        if not given or any(not isinstance(each, dict) or "outcome" not in each for each in given):
            out, err = ("", said) if part.is_error else (said, "")
            given = [{"stdout": out, "stderr": err, "outcome": {"type": "exit", "exit_code": int(part.is_error)}}]
        action = self._fields.get("action")
        most = action.get("max_output_length") if isinstance(action, dict) else None
        return {"call_id": self._id, "output": given, **({} if most is None else {"max_output_length": most})}

    def _patch(self, part: ToolResultPart, output: Any, image_url: Callable[[ImagePart], str]) -> dict[str, Any]:
        status = "failed" if part.is_error else "completed"
        return {"call_id": self._id, "status": status, "output": _said(part)}

    def _screenshot(self, part: ToolResultPart, output: Any, image_url: Callable[[ImagePart], str]) -> dict[str, Any]:
        parts = [] if isinstance(part.content, str) else part.content
        image = next((each for each in reversed(parts) if isinstance(each, ImagePart)), None)
        if image is None and part.is_error:
            # Of a screen that cannot be shown the API has no word: the two go as another vendor would get them.
            self._item.clear()
            self._item |= self._function()
            return self._function_output(output)
        if image is None:
            refuse(f"the result of a {self.row and self.row.item} has to be an image, a screenshot: {_said(part)!r}")
        answer = {"call_id": self._id, "output": {"type": "computer_screenshot", "image_url": image_url(image)}}
        checks = self._fields.get("pending_safety_checks")
        # Whoever runs the call has seen them: they are among its arguments.
        return {**answer, "acknowledged_safety_checks": checks} if checks and not part.is_error else answer

    def _approval(self, part: ToolResultPart, output: Any, image_url: Callable[[ImagePart], str]) -> dict[str, Any]:
        said = _said(part).strip()
        given = _decoded(said)
        if "approve" in given:
            yes, reason = given["approve"] is True, given.get("reason")
        else:
            yes, reason = said.lower() in _YES, said
        yes = yes and not part.is_error
        why = {"reason": reason} if reason and not yes else {}
        return {"approval_request_id": self._id, "approve": yes, **why}


_RESULTS: Final = {
    "custom_tool_call": OwnCall._plain,
    "local_shell_call": OwnCall._text,
    "shell_call": OwnCall._shell,
    "apply_patch_call": OwnCall._patch,
    "computer_call": OwnCall._screenshot,
    "mcp_approval_request": OwnCall._approval,
}


def _decoded(text: str, empty: Any = None) -> Any:
    """The JSON object, or where *empty* says so the JSON value, that a text is; *empty* for any other text."""
    try:
        return _fields.decode(text) if empty is None else msgspec.json.decode(text)
    except UNDECODABLE:
        return {} if empty is None else empty


def _said(part: ToolResultPart, *, errors: bool = False) -> str:
    """The text of a result; what is none cannot be sent."""
    if isinstance(part.content, str):
        text = part.content
    else:
        other = next((each for each in part.content if not isinstance(each, TextPart | ImagePart)), None)
        if other is not None:
            refuse(f"the result of this call has to be text, not a {type(other).__name__}: {shown(part.id)}")
        text = "\n".join(each.text for each in part.content if isinstance(each, TextPart))
    return f"Error: {text}" if errors and part.is_error else text
