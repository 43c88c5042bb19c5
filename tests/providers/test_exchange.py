"""What an SDK is told of a request."""

from __future__ import annotations

import httpx2
import pytest

from penstock.providers.exchange import address

BASES = [
    "http://host",
    "https://host:81/v1/",
    "https://ann:p%40ss@host/a b",
    "http://[::1]:9/v1%2Fx/",
    "http://host/v1/?key=a",
    "http://bücher.example/ü/",
]
PATHS = [
    "/v1/messages",
    "models/a b?x=1&y=%2F",
    "/a:b",
    "//x/../y",
    "",
    "?x=1",
    "/m'\"<>|^`{}",
    "https://host:81/v1/z?a=b",
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("base", BASES)
def test_an_address_is_what_the_http_client_makes_of_base_and_path(base: str, path: str) -> None:
    """The SDKs do the same, each by itself. Twice, as it is remembered."""
    client = httpx2.AsyncClient(base_url=base)
    expected = client.build_request("POST", path).url
    for _ in range(2):
        found = httpx2.URL(address(client.base_url, path))
        assert (found, found.raw_path, found.userinfo) == (expected, expected.raw_path, expected.userinfo)
