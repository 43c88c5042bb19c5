"""Messages: a role that is none of the two is refused where it is written, with what to write instead."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import msgspec
import pytest

from penstock import ConfigError, Message

SYSTEM = ": the system prompt is the first argument of create_message"
RESULT = ": a tool's result is a ToolResultPart in a message of the user"


@pytest.mark.parametrize(
    ("role", "instead"),
    [
        ("system", SYSTEM),
        ("developer", SYSTEM),
        ("tool", RESULT),
        ("function", RESULT),
        ("User", ""),
        ("", ""),
        (None, ""),
        (["user"], ""),
    ],
)
def test_another_role_is_refused(role: Any, instead: str) -> None:
    """When the message is made, also of another one."""
    said = f"`role` is {role!r}, expected user or assistant{instead}"
    with pytest.raises(ConfigError) as made:
        Message(role, "Hi")
    with pytest.raises(ConfigError) as replaced:
        msgspec.structs.replace(Message("user", "Hi"), role=role)
    assert str(made.value) == str(replaced.value) == said


@pytest.mark.parametrize("role", ["user", "assistant"])
def test_a_message_can_be_copied(role: Any) -> None:
    """As ever."""
    message = Message(role, "Hi")
    for again in (copy.deepcopy(message), pickle.loads(pickle.dumps(message)), msgspec.structs.replace(message)):
        assert again == message
