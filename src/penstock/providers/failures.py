"""What a failure below the wire is called, and whether the same request may succeed later."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from penstock.core.errors import AuthenticationError, NetworkError, ProviderError, ProviderTimeoutError
from penstock.wire.retry_after import quoted_headers, said_in_headers, said_of_buckets

if TYPE_CHECKING:
    from penstock.providers.sending import Sending

__all__ = ["RefusedError", "hint_at_key", "no_answer", "pool_full", "refusal"]

_CERTIFICATE_HINT: Final = "Check baseUrl, the clock, and whether SSL_CERT_FILE must name a company's own certificates."
_CLIENT_HINT: Final = "If the server requires a client certificate, check the one that your `client` sends."
_PROXY_HINT: Final = "Check HTTP_PROXY, HTTPS_PROXY and ALL_PROXY, with user and password where the proxy wants them."
_RENEWED: Final = "There is another key in its place by now: send again, or put Retry around the provider."
"""For a key that has ended."""
_WAITING: Final = ("408", "429")
"""What a proxy may answer other than its failing (5xx) that is different later."""


class RefusedError(Exception):
    """An answer with a failing status: the beginning of its body, as far as that came. Never seen by a caller."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        super().__init__(f"status {status}")
        self.status = status
        self.headers = headers
        self.body = body


def no_answer(asked: str, cause: BaseException | None, sending: Sending | None, said: str) -> NetworkError:
    """The error for a server that did not answer.

    asked: its address. cause: the HTTP client's error; *said* is what that says. sending: how far the request came.
    """
    import ssl  # here and not above: `import penstock` loads no HTTP client, and nothing that is as large

    import httpx2

    from penstock.providers.sending import caused_by, hung_up

    hint = NetworkError.hint
    if sending is not None and sending.begun and hung_up(cause):
        if math.isinf(sending.age):  # of a client that is the caller's, nobody sees when it sends, nor over what
            said, hint = f"the server closed the connection without an answer; {said}", _CLIENT_HINT
        else:
            kept = ", which had been used before," if sending.reused else ""
            said = f"the connection{kept} was closed {sending.age:.1f} s after the request was sent; {said}"
    untrusted = caused_by(cause, ssl.SSLCertVerificationError)
    if untrusted is not None and str(untrusted) not in said:  # on trio it lies deeper
        said = f"{said}: {untrusted}"
    if isinstance(cause, httpx2.ConnectError) and caused_by(cause, ConnectionRefusedError):
        said = "connection refused"  # of several addresses, by one of them
    error = NetworkError(f"no answer from {asked} ({said})")
    error.hint = hint
    if untrusted is not None:
        error.retryable, error.hint = False, _CERTIFICATE_HINT
    elif isinstance(cause, httpx2.ProxyError):
        # Its words begin with the status of the proxy's answer, if it gave one.
        status = str(cause)[:3]
        error.retryable = not status.startswith("4") or status in _WAITING
        error.hint = _PROXY_HINT
    elif isinstance(cause, httpx2.InvalidURL):
        error.retryable = False
    return error


def hint_at_key(error: AuthenticationError, sending: Sending | None, variables: Sequence[str]) -> None:
    """Say what to do about a key that was refused. variables: where it is looked for; none where it was fetched."""
    if sending is not None and sending.renewed:
        error.retryable, error.hint = True, _RENEWED
    elif variables:
        error.hint = f"Check the API key: {' or '.join(variables)}, or apiKey in models.json."


def pool_full(error: ProviderTimeoutError, most: int | None) -> ProviderTimeoutError:
    """The error of the deadline `connect`, for a call that found all *most* connections in use.

    most: None for those of a client that is the caller's.
    """
    limit = "the client given as `client` has no more" if most is None else f"`max_connections` is {most}"
    why = f"{limit}, and the deadline `connect` {error.seconds:g} s"
    error.args = (f"not sent: all connections of this provider were in use ({why})",)
    error.hint = "Run fewer streams at once, as Concurrency does, or give the ProviderConfig more max_connections."
    return error


def refusal(error: ProviderError, refused: RefusedError, asked: str) -> ProviderError:
    """The wire's *error* for a failing status, with what only the head of the answer says. asked: the address."""
    if refused.status == 404:
        error.hint = f"{error.hint} What was asked begins with {asked}."
    if refused.status == 407:
        error.args = (f"the proxy wants a user and a password; asked was {asked}",)
        error.hint = _PROXY_HINT
    place = refused.headers.get("location")
    if 300 <= refused.status < 400 and place:
        error.args = (f"the server redirects to {place}, which is not followed: the key would go along",)
    now = dt.datetime.now(dt.UTC)
    headers = {**quoted_headers(refused.body), **refused.headers}
    said = said_in_headers(headers, now)
    error.retry_after = error.retry_after if said is None else said
    if error.retry_after is None and error.retryable:
        error.retry_after = said_of_buckets(refused.status, headers, now)
    refused.headers, refused.body = {}, b""  # it hangs on the error that the caller sees, and may echo the key
    return error
