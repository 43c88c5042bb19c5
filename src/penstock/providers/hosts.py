"""Whether two URLs lead to the same place, as the HTTP client itself reads them."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Address, ip_address
from typing import Final

__all__ = ["is_loopback", "is_same_place"]

_LOOPBACK: Final = IPv4Network("127.0.0.0/8")


def is_same_place(url: str, own: str) -> bool:
    """Whether *url* has the scheme, host, port and path of *own*, but for a slash at the end.

    False for what the HTTP client cannot read, and for a URL with a user, a query or a fragment.
    """
    found = _parsed(url)
    return found is not None and found == _parsed(own)


def is_loopback(url: str) -> bool:
    """Whether *url* leads to this machine: `localhost`, 127.0.0.0/8 or ::1. No name is looked up."""
    found = _parsed(url)
    if found is None:
        return False
    try:
        address = ip_address(found[1])
    except ValueError:
        return found[1] == "localhost"
    return address == IPv6Address("::1") or (address.version == 4 and address in _LOOPBACK)


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
