"""The vendor's SDK client as a pipe for bytes, and the one border where its exceptions become ours.

The SDK does what it does well: credentials, proxies, TLS, the connection pool, timeouts. The body goes in as bytes that
are already encoded and comes out as bytes that are not decoded yet. It never retries and never follows a redirect, on
which the key would go along.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from penstock.core.chunks import Chunk, UsageChunk
from penstock.core.closing import owe
from penstock.core.dialect import Dialect
from penstock.core.errors import (
    AuthenticationError,
    ConfigError,
    InvalidRequestError,
    MalformedResponseError,
    ProviderError,
    StreamInterruptedError,
)
from penstock.core.provider_config import ProviderConfig
from penstock.providers.answers import Sink, Whole, close, decoded, head_of, refuse
from penstock.providers.arguments import prepared
from penstock.providers.bodies import FORM
from penstock.providers.clients import Clients
from penstock.providers.deadlines import Watch
from penstock.providers.exchange import Attempt, Exchange, Outgoing, SDKClient, keys_of
from penstock.providers.failures import RefusedError, no_answer, pool_full, refusal
from penstock.providers.fetching import RENEWED, Credential, RequestKeys, request_keys
from penstock.providers.known_secrets import KnownSecrets
from penstock.providers.lent import Lent
from penstock.providers.redaction import (
    check_secrets,
    config_secrets,
    redact,
    request_secrets,
    shown_url,
    strip_tracebacks,
    url_secrets,
)
from penstock.wire.errors import request_id_of, response_error

if TYPE_CHECKING:
    import httpx2

    from penstock.providers.connections import Sending

__all__ = ["Transport"]

C = TypeVar("C", bound=Outgoing)
R = TypeVar("R")


class Transport:
    """Sends exchanges through an SDK's client, of which there is one for each event loop."""

    start: Callable[[], object] | None = None
    """What starts the server, where that is in this process: then no proxy of the environment stands between."""

    def __init__(
        self,
        sdk: ModuleType,
        make_client: Callable[[Any], SDKClient],
        row: Dialect,
        config: ProviderConfig,
        keys: Iterable[str],
        lent: Any = None,
        signing: Credential | None = None,
    ) -> None:
        """keys: what no error may show, beside what the config holds; what only the client knows is added.

        lent: a client of the caller's, see `penstock.providers.lent`. signing: what the client signs requests with.
        """
        import httpx2  # here and not above: `import penstock` loads no HTTP client

        from penstock.providers import connections

        self._httpx = httpx2
        self._connections = connections
        self._sdk = sdk
        failure: type[Exception] = getattr(sdk, "AnthropicError", None) or sdk.OpenAIError
        self._sdk_error = failure
        self._make_client = make_client
        self._lent = None if lent is None else Lent(lent, sdk)
        self._row = row
        self._config = config
        self._secrets = KnownSecrets(config_secrets(config).plus(keys))
        self._keys = RequestKeys(signing, None, self._secrets) if signing else request_keys(config, row, self._secrets)
        self._failures = (RefusedError, httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL, failure, OSError)
        self._clients = Clients(self._new_client, self._failures, lent=lent is not None)

    def shown(self) -> Iterator[str]:
        """What a provider's repr says of its server: nothing of the vendor's own, and no secret."""
        if self._config.base_url is not None:
            yield f"base_url={shown_url(self._config.base_url, self._secrets.now)!r}"

    async def exchange(self, prepare: Callable[[], Exchange]) -> AsyncGenerator[Chunk, None]:
        """Prepare the request, send it, and yield the chunks of the answer. Raises a ProviderError."""
        attempt = Attempt[Exchange]()
        body: AsyncGenerator[bytes, None] | None = None
        shown = False
        try:
            call, watch, response = await self._begin(attempt, prepare)
            self._tell(call, response.status_code, response.headers)
            if opening := call.meter.open():
                watch.leave()
                yield opening
                watch.come_back()
            body = decoded(response)
            while not call.reader.done:
                data = await watch.read(body, may_end=call.reader.may_end)
                held, content = call.reader.held, False
                for chunk in call.reader.close(waited=watch.waited) if data is None else call.reader.feed(data):
                    if type(chunk) is UsageChunk:
                        watch.leave()
                        yield chunk
                        watch.come_back()
                    else:
                        content = shown = True
                        yield chunk
                if content or call.reader.held != held:
                    watch.got_content()
            call.on_usage(call.meter.total)
        except (ProviderError, *self._failures) as theirs:
            data = None  # it may echo the key, and this frame is on the traceback
            await self._renew(theirs, attempt)
            for chunk in self._failed(theirs, attempt, shown=shown):
                yield chunk
        except GeneratorExit:  # first, as there may be no loop any more to ask for its word
            raise
        except anyio.get_cancelled_exc_class() as cancelled:
            strip_tracebacks(cancelled)
            if attempt.call is not None and attempt.is_unanswered:
                owe(cancelled, attempt.call.meter.open())
            raise
        finally:
            ended = attempt.call is not None and attempt.call.reader.done
            await close(self._failures, attempt.response, body, drain=ended)

    async def fetch(self, prepare: Callable[[], Outgoing], read: Callable[[bytes], R]) -> R:
        """What *read* makes of the body of the answer to a request that is no call. Raises a ProviderError.

        A body of more than 5 MB is a MalformedResponseError.
        """
        async with aclosing(self.plain(prepare, Whole(read))) as found:
            return await anext(found)

    async def plain(self, prepare: Callable[[], Outgoing], sink: Sink[R]) -> AsyncGenerator[R, None]:
        """What *sink* makes of the body of the answer to a request that is no call. Raises a ProviderError."""
        attempt = Attempt[Outgoing]()
        body: AsyncGenerator[bytes, None] | None = None
        try:
            _, watch, response = await self._begin(attempt, prepare)
            body = decoded(response)
            while (data := await watch.read(body)) is not None:
                watch.got_content()
                for one in sink.feed(data):
                    yield one
            for one in sink.close():
                yield one
        except (ProviderError, *self._failures) as theirs:
            data = one = None  # they may echo the key, and this frame is on the traceback
            await self._renew(theirs, attempt)
            error = self._completed(self._ours(theirs, attempt), attempt)
            raise error from error.__cause__
        except GeneratorExit:  # first, as there may be no loop any more to ask for its word
            raise
        except anyio.get_cancelled_exc_class() as cancelled:
            strip_tracebacks(cancelled)
            raise
        finally:
            await close(self._failures, attempt.response, body)

    async def read(self, prepare: Callable[[], Exchange], status: int, document: bytes) -> AsyncGenerator[Chunk, None]:
        """The chunks of an answer that came by another way, as one document. Raises the ProviderError of a call."""
        attempt = Attempt[Exchange]()
        shown = False
        try:
            attempt.call = call = prepared(prepare)
            attempt.began = 200 <= status < 300
            if not attempt.began:
                raise RefusedError(status, {}, document)
            if opening := call.meter.open():
                yield opening
            for chunk in call.reader.read_whole(document):
                shown = shown or type(chunk) is not UsageChunk
                yield chunk
        except (ProviderError, RefusedError) as theirs:
            for chunk in self._failed(theirs, attempt, shown=shown):
                yield chunk

    @property
    def is_open(self) -> bool:
        """Whether there is a client, in whatever event loop. Any thread may ask."""
        return self._clients.are_open

    async def aclose(self) -> None:
        """Close this event loop's client, or what an ended one of this thread has left; a lent one stays open."""
        await self._clients.aclose()

    def _new_client(self) -> SDKClient:
        from urllib.request import getproxies  # a third of what `import penstock` would cost

        self._secrets.give(url_secrets(*getproxies().values()))
        try:
            client = self._made()
        except (ImportError, TypeError, ValueError, AttributeError, OSError, self._httpx.InvalidURL) as error:
            if isinstance(error, ProviderError):
                raise
            # Wrong again at every try.
            raise ConfigError(f"the HTTP client cannot be made ({type(error).__name__}: {error})") from error
        self._secrets.give(keys_of(client))
        return client

    def _made(self) -> SDKClient:
        if self.start is not None:
            self.start()
        if self._lent is not None:
            self._secrets.give(self._lent.secrets())
            return self._lent.taken(self._make_client)
        hooks = self._learn, partial(refuse, self._failures)
        most = self._config.max_connections
        return self._make_client(self._connections.http_client(most, *hooks, direct=self.start is not None))

    async def _learn(self, request: httpx2.Request) -> None:
        """Called by the HTTP client for each request, before it is sent: a token may have been refreshed for it."""
        self._secrets.learn(request_secrets(str(request.url), request.headers))
        if (form := request.headers.get("content-type", "")).startswith(FORM):
            request.headers["content-type"] = form.lower()

    async def _begin(self, attempt: Attempt[C], prepare: Callable[[], C]) -> tuple[C, Watch, httpx2.Response]:
        """Prepare and send a request, and note how far that came: the bill follows from it."""
        attempt.call = call = prepared(prepare)
        attempt.watch = watch = Watch(call.deadlines)
        attempt.sending = sending = self._connections.Sending(call.deadlines.connect)
        attempt.response = response = await self._send(attempt, call, watch, sending)
        attempt.began = True
        return call, watch, response

    async def _send(self, attempt: Attempt[Any], call: Outgoing, watch: Watch, sending: Sending) -> httpx2.Response:
        if self._lent is not None:
            self._lent.check()
        client = await self._clients.get()
        check_secrets(keys_of(client), self._secrets.now)
        found: Exception | None = None
        with watch.sending():
            try:
                response = await self._post(client, call, watch, sending)
            except self._failures as theirs:
                if call.creates or client.is_closed() or not sending.found_closed(self._cause(theirs)):
                    raise
                found = theirs
            if found is not None:
                self._tell_resent(attempt, found)
                sending.begin(again=True)
                response = await self._post(client, call, watch, sending)
        # httpx2 reads this once, when the body is first asked for.
        response.request.extensions["timeout"]["read"] = watch.body_timeout()
        return response

    async def _post(self, client: SDKClient, call: Outgoing, watch: Watch, sending: Sending) -> httpx2.Response:
        limits, long = call.deadlines, call.long_body
        pieces = None if long is None else long.pieces(watch.wrote)
        sized = {} if long is None else {"Content-Length": str(long.size)}
        content = pieces or call.body
        options = {
            "headers": {**call.headers, **sized, **(await self._keys.header(sending) if self._keys else {})},
            "timeout": self._httpx.Timeout(limits.first_chunk, connect=limits.connect, pool=limits.connect),
            "follow_redirects": False,
            "max_retries": 0,
        }
        stream_cls = self._sdk.AsyncStream[Any]
        try:
            with self._connections.followed(sending):
                send = client.get if content is None else partial(client.post, content=content)
                send = partial(send, call.path, cast_to=object, stream=True, stream_cls=stream_cls, options=options)
                stream = await (send() if self._lent is None else self._lent.answer(send, sending, self._learn))
        except (ProviderError, *self._failures):
            raise
        except Exception as error:
            # A header that is no text, say, or one that lies about the body's length: nothing has been sent.
            raise InvalidRequestError(f"the request cannot be built ({type(error).__name__}: {error})") from error
        finally:
            if pieces is not None:
                await pieces.aclose()
        response: httpx2.Response = stream.response
        return response

    def _tell(self, call: Outgoing, status: int, headers: Mapping[str, str]) -> None:
        if call.on_head is not None:
            call.on_head(head_of(status, headers, self._secrets.now))

    def _failed(self, theirs: Exception, attempt: Attempt[Exchange], *, shown: bool) -> Iterator[Chunk]:
        """The answer that a refusal is; else what the failure changes in the bill, and then the error, raised."""
        cause, call = self._cause(theirs), attempt.call
        if call is not None and isinstance(cause, RefusedError):
            self._tell(call, cause.status, cause.headers)
            if answer := call.refused(cause.body):
                yield from answer
                return
        error = self._ours(theirs, attempt)
        if call is not None and (
            correction := call.correction(error, attempt.sending, began=attempt.began, shown=shown)
        ):
            yield correction
        self._completed(error, attempt)
        raise error from error.__cause__

    async def _renew(self, theirs: Exception, attempt: Attempt[Any]) -> None:
        """Ask for the key anew if it was refused: there may be another by now."""
        cause, watch, sending = self._cause(theirs), attempt.watch, attempt.sending
        if isinstance(cause, RefusedError):
            cause = response_error(cause.status, cause.headers, cause.body)
        if self._keys and watch and sending and isinstance(cause, AuthenticationError):
            with anyio.move_on_after(watch.left):
                await self._keys.renew(sending)

    def _tell_resent(self, attempt: Attempt[Any], theirs: Exception) -> None:
        """The error that it would have been, for whoever wants to hear."""
        if attempt.call is not None and attempt.call.on_resend is not None:
            attempt.call.on_resend(self._completed(self._ours(theirs, attempt), attempt))

    def _cause(self, theirs: Exception) -> BaseException | None:
        """What the SDK has wrapped, or that itself."""
        return theirs.__cause__ if isinstance(theirs, self._sdk.APIConnectionError) else theirs

    def _ours(self, theirs: Exception, attempt: Attempt[Any]) -> ProviderError:
        """*theirs* as an error of ours, which it may be already."""
        if isinstance(cause := self._cause(theirs), ProviderError):
            return cause
        ours = self._translated(theirs, attempt.watch, attempt.sending, began=attempt.began)
        ours.__cause__ = theirs
        return ours

    def _translated(
        self, theirs: Exception, watch: Watch | None, sending: Sending | None, *, began: bool
    ) -> ProviderError:
        sdk, httpx, cause = self._sdk, self._httpx, self._cause(theirs)
        if isinstance(cause, RefusedError):
            error = response_error(cause.status, cause.headers, cause.body, self._row.request_faults)
            return refusal(error, cause, self._asked(sending))
        if isinstance(cause, httpx.PoolTimeout) and watch is not None:
            return pool_full(watch.expired("connect"), None if self._lent else self._config.max_connections)
        if isinstance(cause, httpx.TimeoutException) and watch is not None:
            return watch.expired("connect" if isinstance(cause, httpx.ConnectTimeout) else None)
        said = f"{type(cause).__name__}: {cause}".rstrip(": ")
        if isinstance(cause, httpx.DecodingError):
            return MalformedResponseError(f"the answer's compression is broken ({said})")
        if began:
            return StreamInterruptedError(f"the connection broke before the message was complete ({said})")
        if isinstance(theirs, self._sdk_error) and not isinstance(theirs, sdk.APIError):
            return AuthenticationError(f"the SDK found no usable credentials ({said})")
        if isinstance(cause, httpx.LocalProtocolError | httpx.UnsupportedProtocol):
            return InvalidRequestError(f"the request cannot be sent as it is ({said})")
        return no_answer(self._asked(sending), cause, sending, said)

    def _asked(self, sending: Sending | None = None) -> str:
        """The server's address, for a message; passwords in it are taken out with the other secrets."""
        server = str(getattr(self._clients.held, "base_url", None) or "the server").rstrip("/")
        return server if sending is None or sending.proxy is None else f"{server} through the proxy {sending.proxy}"

    def _completed(self, error: ProviderError, attempt: Attempt[Any]) -> ProviderError:
        """*error* with what only the border knows, and the key taken out of everything that is attached to it."""
        call, sending = attempt.call, attempt.sending
        error.vendor = error.vendor or self._row.name
        error.model = error.model or self._config.model_id
        if attempt.response is not None and error.request_id is None:
            error.request_id = request_id_of(attempt.response.headers)
        if isinstance(error, AuthenticationError) and sending is not None and sending.renewed:
            error.retryable, error.hint = True, RENEWED
        elif isinstance(error, AuthenticationError) and self._row.key_variables and self._keys is None:
            error.hint = f"Check the API key: {' or '.join(self._row.key_variables)}, or apiKey in models.json."
        key = None if sending is None else sending.key
        redact(error, self._secrets.now if key is None else self._secrets.now.plus([key.value]))
        if call is not None and call.creates and self._lent is None:  # a lent client's requests are not followed
            error.unsent = error.status is None and (sending is None or not sending.whole)
        if isinstance(call, Exchange):
            call.complete(error)
        if call is not None:
            strip_tracebacks(error)
        return error
