"""Where URLs lead, and whether two lead to the same place, as the HTTP client itself reads them."""

from __future__ import annotations

from penstock.core.dialect import without_userinfo
from penstock.core.errors import ConfigError

__all__ = ["check_path", "host_of", "is_at", "is_loopback", "is_same_place", "server_of"]


def is_same_place(url: str, own: str) -> bool:
    """Whether *url* has the scheme, host, port and path of *own*, but for a slash at the end.

    False for what the HTTP client cannot read, and for a URL with a user, a query or a fragment.
    """
    found = _parsed(url)
    return found is not None and found == _parsed(own)


def is_at(url: str, own: str) -> bool:
    """Whether *url* has the scheme, host and port of *own*, wherever below. False for what cannot be read."""
    found, wanted = _parsed(url), _parsed(own)
    return found is not None and wanted is not None and found[:3] == wanted[:3]


def is_loopback(url: str) -> bool:
    """Whether *url* leads to this machine: `localhost`, 127.0.0.0/8 or ::1. No name is looked up."""
    from ipaddress import ip_address  # here and not above: for those who trust a file

    found = _parsed(url)
    if found is None:
        return False
    try:
        address = ip_address(found[1])
    except ValueError:
        return found[1] == "localhost"
    # Not `is_loopback` of version 6: newer Pythons say that of ::ffff:127.0.0.1 too.
    return str(address) == "::1" or (address.version == 4 and address.is_loopback)


def server_of(url: str | None) -> tuple[str, int | None]:
    """Host and port of *url*; an empty host for none, and for what the HTTP client cannot read."""
    found = _parsed(url) if url is not None else None
    return ("", None) if found is None else found[1:3]


def host_of(url: str | None) -> str:
    """The same as one text."""
    host, port = server_of(url)
    return host if port is None else f"{host}:{port}"


def check_path(base_url: str | None, *paths: str) -> None:
    """Raise ConfigError for a base URL that has already what is appended to it, or its version twice."""
    path = (base_url or "").rstrip("/")
    shown = without_userinfo(base_url)
    for appended in paths:
        if path.endswith(appended):
            raise ConfigError(f"`base_url` is {shown!r}, and {appended} is appended to it: leave that out")
    if path.endswith("/v1/v1"):
        raise ConfigError(f"`base_url` is {shown!r}, in which /v1 stands twice")


def _parsed(url: str) -> tuple[str, str, int | None, str] | None:
    """Scheme, host, port and path."""
    import httpx2  # here and not above: `import penstock` loads no HTTP client

    try:
        parsed = httpx2.URL(url)
        path = parsed.raw_path.decode("ascii")
        # Names are decoded only here, and that may fail too: of a name in Punycode, with an error of its own.
        host = parsed.host
    except (httpx2.InvalidURL, ValueError):
        return None
    if parsed.userinfo or parsed.query or parsed.fragment or "%" in path:
        return None
    return parsed.scheme, host, parsed.port, path.rstrip("/")
