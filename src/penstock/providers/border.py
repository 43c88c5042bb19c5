"""The one border where what an SDK or the HTTP client raises becomes an error of ours, without a key in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from penstock.core.dialect import Dialect
from penstock.core.errors import (
    AuthenticationError,
    InvalidRequestError,
    MalformedResponseError,
    ProviderError,
    StreamInterruptedError,
)
from penstock.core.provider_config import ProviderConfig
from penstock.providers.deadlines import Watch
from penstock.providers.exchange import Attempt, Exchange
from penstock.providers.failures import RefusedError, hint_at_key, no_answer, pool_full, refusal
from penstock.providers.known_secrets import KnownSecrets
from penstock.providers.redaction import redact, strip_tracebacks
from penstock.wire.errors import request_id_of, response_error

if TYPE_CHECKING:
    from penstock.providers.sending import Sending

__all__ = ["Border"]


class Border:
    """Translates what is raised below, and adds what only the border knows."""

    loaded: Any = None
    """What `sdks.load` gave; None until then, when nothing but a RefusedError or an error of ours is raised below."""

    def __init__(
        self,
        row: Dialect,
        config: ProviderConfig,
        secrets: KnownSecrets,
        base_url: Callable[[], object],
        *,
        lent: bool,
        fetched: bool,
    ) -> None:
        """base_url: the server's address, None where there is no client yet. lent: the client is the caller's, and
        nobody sees how its requests go. fetched: the key is asked for with each request.
        """
        self._row, self._config, self._secrets, self._base_url = row, config, secrets, base_url
        self._lent, self._fetched = lent, fetched

    def cause(self, theirs: Exception) -> BaseException | None:
        """What the SDK has wrapped, or that itself."""
        wrapped = self.loaded is not None and isinstance(theirs, self.loaded.sdk.APIConnectionError)
        return theirs.__cause__ if wrapped else theirs

    def ours(self, theirs: Exception, attempt: Attempt[Any]) -> ProviderError:
        """*theirs* as an error of ours, which it may be already."""
        if isinstance(cause := self.cause(theirs), ProviderError):
            return cause
        ours = self._translated(theirs, attempt.watch, attempt.sending, began=attempt.began)
        ours.__cause__ = theirs
        return ours

    def _translated(
        self, theirs: Exception, watch: Watch | None, sending: Sending | None, *, began: bool
    ) -> ProviderError:
        cause = self.cause(theirs)
        if isinstance(cause, RefusedError):  # of an answer that came by another way, perhaps
            error = response_error(cause.status, cause.headers, cause.body, self._row.request_faults)
            return refusal(error, cause, self._asked(sending))
        sdk, httpx = self.loaded.sdk, self.loaded.httpx
        if isinstance(cause, httpx.PoolTimeout) and watch is not None:
            return pool_full(watch.expired("connect"), None if self._lent else self._config.max_connections)
        if isinstance(cause, httpx.TimeoutException) and watch is not None:
            return watch.expired("connect" if isinstance(cause, httpx.ConnectTimeout) else None)
        said = f"{type(cause).__name__}: {cause}".rstrip(": ")
        if isinstance(cause, httpx.DecodingError):
            return MalformedResponseError(f"the answer's compression is broken ({said})")
        if began:
            return StreamInterruptedError(f"the connection broke before the message was complete ({said})")
        if isinstance(theirs, self.loaded.error) and not isinstance(theirs, sdk.APIError):
            return AuthenticationError(f"the SDK found no usable credentials ({said})")
        if isinstance(cause, httpx.LocalProtocolError | httpx.UnsupportedProtocol):
            return InvalidRequestError(f"the request cannot be sent as it is ({said})")
        return no_answer(self._asked(sending), cause, sending, said)

    def _asked(self, sending: Sending | None) -> str:
        """The server's address, for a message; passwords in it are taken out with the other secrets."""
        server = str(self._base_url() or "the server").rstrip("/")
        return server if sending is None or sending.proxy is None else f"{server} through the proxy {sending.proxy}"

    def completed(self, error: ProviderError, attempt: Attempt[Any]) -> ProviderError:
        """*error* with what only the border knows, and the key taken out of everything that is attached to it."""
        call, sending = attempt.call, attempt.sending
        error.vendor = error.vendor or self._row.name
        error.model = error.model or self._config.model_id
        if attempt.response is not None and error.request_id is None:
            error.request_id = request_id_of(attempt.response.headers)
        if isinstance(error, AuthenticationError):
            hint_at_key(error, sending, () if self._fetched else self._row.key_variables)
        self.cleaned(error, sending)
        if call is not None and call.creates and not self._lent:  # a lent client's requests are not followed
            error.unsent = error.status is None and (sending is None or not sending.whole)
        if isinstance(call, Exchange):
            call.complete(error)
        if call is not None:
            strip_tracebacks(error)
        return error

    def cleaned(self, error: BaseException, sending: Sending | None) -> None:
        """Take the keys out of it, and out of what it was raised from or while."""
        key = None if sending is None else sending.key
        redact(error, self._secrets.now if key is None else self._secrets.now.plus([key.value]))
