"""What a broken event is told as: the same under every version of msgspec."""

from __future__ import annotations

import msgspec
import pytest

from penstock import MalformedResponseError
from penstock.wire.event_json import decode

TEXT = msgspec.json.Decoder(dict[str, str])


@pytest.mark.parametrize(
    ("data", "why"),
    [
        pytest.param(b'{"a": "\xff", ', "'utf-8' codec can't decode byte 0xff in position 7", id="not UTF-8, and cut"),
        pytest.param(
            b'{"a": "\xed\xa0\x80"]',
            "'utf-8' codec can't decode byte 0xed in position 7",
            id="a surrogate, and no JSON",
        ),
        pytest.param(b'{"UTF-8": 5}', "Expected `str`, got `int`", id="something else"),
        pytest.param(b'{"a": "b"', "Input data was truncated", id="cut"),
    ],
)
def test_why_an_event_is_malformed(data: bytes, why: str) -> None:
    """Text that is no UTF-8 is told by its place in the event."""
    with pytest.raises(MalformedResponseError) as raised:
        decode(TEXT, b"delta", data)
    assert f"the event `delta` is malformed ({why}" in str(raised.value)


def test_text_that_is_not_utf8_is_mended() -> None:
    """Where that is all that is wrong."""
    assert decode(TEXT, b"delta", b'{"a": "b\xff"}') == {"a": "b\ufffd"}
