"""What the environment has for the network: proxies, certificates, a transport's package. What is wrong is named."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, Literal

from penstock.core.dialect import without_userinfo
from penstock.core.errors import ConfigError

if TYPE_CHECKING:
    import ssl

__all__ = ["check_transport", "proxies", "said_once", "tls_context"]

_SCHEMES: Final = ("http", "https", "socks5", "socks5h")
_BRACKETS: Final = r"^\[([^\[\]]+)\](/\d+)?$"
_HINT: Final = "Correct the environment variable, or unset it."
_SAID: Final[set[str]] = set()
"""The reasons that `said_once` has told in this process."""
_WHY: Final = {
    "loop": "aiohttp needs asyncio, and this is trio: requests go over httpx2, as if transport were not set",
    "proxy": "requests to {host} go through the proxy of the environment, so over httpx2: "
    'transport="aiohttp" has no effect for them',
    "client": 'a `client` of your own carries its requests itself: transport="aiohttp" has no effect for them',
}


def proxies() -> dict[str, str | None]:
    """Patterns of URLs, as the HTTP client has them, with the proxy for each; None for none. Raises ConfigError."""
    from urllib.request import getproxies  # a third of what `import penstock` would cost

    said = getproxies()
    found: dict[str, str | None] = {
        f"{kind}://": _proxy(said[kind], kind) for kind in ("http", "https", "all") if said.get(kind)
    }
    if not found:
        return {}
    direct = [host.strip() for host in said.get("no", "").split(",") if host.strip()]
    return {} if "*" in direct else found | {_pattern(host): None for host in direct}


def _proxy(url: str, kind: str) -> str:
    import httpx2  # here and not above: `import penstock` loads no HTTP client

    name = next((name for name in (f"{kind}_proxy", f"{kind.upper()}_PROXY") if os.environ.get(name)), f"{kind} proxy")
    given, url = url, url if "://" in url else f"http://{url}"
    said = without_userinfo(url) or ""
    shown = f"{name} is {said if url == given else said.removeprefix('http://')!r}"
    try:
        parsed = httpx2.URL(url)
    except (httpx2.InvalidURL, ValueError):
        raise _mistake(f"{shown}, expected the URL of a proxy, as http://HOST:PORT") from None
    if parsed.scheme not in _SCHEMES or not parsed.host:
        raise _mistake(f"{shown}, expected the URL of a proxy: one of {', '.join(_SCHEMES)}, then ://HOST:PORT")
    if parsed.scheme.startswith("socks") and find_spec("socksio") is None:
        raise _mistake(f"{shown}, and for such a proxy the package socksio is not installed")
    return url


def _pattern(host: str) -> str:
    """The pattern for an entry of NO_PROXY: a name with all below it, an address, or a network."""
    from ipaddress import ip_network

    import httpx2  # here and not above: `import penstock` loads no HTTP client

    bare = re.sub(_BRACKETS, r"\1\2", host)
    try:
        version = ip_network(bare, strict=False).version
    except ValueError:
        # The HTTP client has no pattern for all below a name that is not of ASCII.
        foreign = not host.isascii() or "xn--" in host.lower()
        exact = foreign or host.startswith(("[", "*.")) or host.lower() == "localhost"
        pattern = host if "://" in host else f"all://{'' if exact else '*'}{host}"
    else:
        address, slash, bits = bare.partition("/")
        pattern = f"all://[{address}]{slash}{bits}" if version == 6 else f"all://{bare}"
    try:
        _ = httpx2.URL(pattern).host  # as the client reads it
    except (httpx2.InvalidURL, ValueError) as error:
        raise _mistake(f"NO_PROXY holds {host!r}, expected hosts, addresses or networks ({error})") from None
    return pattern


def check_transport(name: str) -> None:
    """Raise ConfigError for one whose package is not installed."""
    if name == "aiohttp" and find_spec(name) is None:
        raise ConfigError("`transport` is 'aiohttp', which is not installed: pip install 'penstock[aiohttp]'")


def said_once(why: Literal["loop", "proxy", "client"], host: str = "") -> None:
    """Log that requests do not go over aiohttp, although the config says so, once a process for each reason."""
    import logging  # here and not above: `import penstock` does without

    if why not in _SAID:
        _SAID.add(why)
        logging.getLogger("penstock").warning(_WHY[why].format(host=host))


def tls_context() -> ssl.SSLContext:
    """The certificates that are trusted: one for the process, as reading them takes most of what a client costs.

    Raises ConfigError when SSL_CERT_FILE or SSL_CERT_DIR names what is not there or holds none.
    """
    from pathlib import Path  # here and not above: for those who ask a server

    file, folder = os.environ.get("SSL_CERT_FILE") or None, os.environ.get("SSL_CERT_DIR") or None
    try:
        changed = Path(file).stat().st_mtime_ns if file is not None else 0
    except OSError as error:
        raise _mistake(f"SSL_CERT_FILE is {file!r}, which cannot be read ({error.strerror})") from None
    if file is None and folder is not None and not any(map(os.path.isdir, folder.split(os.pathsep))):
        raise _mistake(f"SSL_CERT_DIR is {folder!r}, and there is no such folder")
    return _context(file, folder, changed)


@lru_cache(maxsize=4)
def _context(file: str | None, folder: str | None, changed: int) -> ssl.SSLContext:
    """The arguments are what it depends on; the HTTP client reads the environment itself."""
    import httpx2  # here and not above: `import penstock` loads no HTTP client

    try:
        return httpx2.create_ssl_context()
    except OSError as error:  # an SSLError is one
        name = "SSL_CERT_FILE" if file is not None else "SSL_CERT_DIR"
        raise _mistake(f"{name} is {file or folder!r}, which holds no certificates ({error})") from None


def _mistake(said: str) -> ConfigError:
    error = ConfigError(f"the environment variable {said}")
    error.hint = _HINT
    return error
