"""The vendor's SDK client as a pipe for bytes; `border` makes its exceptions ours.

The SDK does what it does well: credentials, proxies, TLS, the connection pool, timeouts. The body goes in as bytes that
are already encoded and comes out as bytes that are not decoded yet. It never retries and never follows a redirect, on
which the key would go along.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from penstock.core.chunks import Chunk, UsageChunk
from penstock.core.closing import owe
from penstock.core.dialect import Dialect
from penstock.core.errors import (
    AuthenticationError,
    ConfigError,
    InvalidRequestError,
    ProviderError,
    StreamInterruptedError,
)
from penstock.core.provider_config import ProviderConfig
from penstock.providers.answers import Sink, Source, Whole, close, decoded, refuse
from penstock.providers.arguments import prepared
from penstock.providers.bodies import FORM
from penstock.providers.border import Border
from penstock.providers.clients import Clients
from penstock.providers.deadlines import Watch
from penstock.providers.environment import check_transport
from penstock.providers.exchange import Attempt, Exchange, Outgoing, SDKClient, address, keys_of
from penstock.providers.failures import RefusedError
from penstock.providers.fetching import Credential, RequestKeys, request_keys
from penstock.providers.known_secrets import KnownSecrets
from penstock.providers.lent import Lent
from penstock.providers.redaction import (
    check_secrets,
    config_secrets,
    request_secrets,
    shown_url,
    strip_tracebacks,
    url_secrets,
)
from penstock.providers.sdks import load
from penstock.wire.errors import response_error

if TYPE_CHECKING:
    import httpx2

    from penstock.providers.sending import Sending

__all__ = ["Transport"]

C = TypeVar("C", bound=Outgoing)
R = TypeVar("R")


class Transport:
    """Sends exchanges through an SDK's client, of which there is one for each event loop."""

    start: Callable[[], object] | None = None
    """What starts the server, where that is in this process: then no proxy of the environment stands between."""

    def __init__(
        self,
        sdk: str,
        make_client: Callable[[Any], SDKClient],
        row: Dialect,
        config: ProviderConfig,
        keys: Iterable[str],
        lent: Any = None,
        signing: Credential | None = None,
    ) -> None:
        """sdk: its package. keys: what no error may show, beside what the config holds and the client knows. lent: a
        client of the caller's, see `penstock.providers.lent`. signing: what the client signs requests with.
        """
        if lent is None:
            check_transport(config.transport)
        self._failures: tuple[type[Exception], ...] = (RefusedError,)
        self._caught: tuple[type[Exception], ...] = (ProviderError, *self._failures)
        self._package, self._make_client = sdk, make_client
        self._lent = None if lent is None else Lent(lent, sdk, config.transport)
        self._row, self._config = row, config
        self._carrier = config.transport if lent is None else "httpx2"
        self._secrets = KnownSecrets(config_secrets(config).plus(keys))
        self._keys = RequestKeys(signing, None, self._secrets) if signing else request_keys(config, row, self._secrets)
        self._clients = Clients(self._new_client, lent=lent is not None)
        how = {"lent": lent is not None, "fetched": self._keys is not None}
        self._border = Border(row, config, self._secrets, self._address, **how)

    def shown(self) -> Iterator[str]:
        """What a provider's repr says of its server: nothing of the vendor's own, and no secret."""
        if self._config.base_url is not None:
            yield f"base_url={shown_url(self._config.base_url, self._secrets.now)!r}"
        if self._config.transport != "httpx2":
            yield f"transport={self._carrier!r}"  # which may be another than the config's

    async def exchange(self, prepare: Callable[[], Exchange]) -> AsyncGenerator[Chunk, None]:
        """Prepare the request, send it, and yield the chunks of the answer. Raises a ProviderError."""
        attempt = Attempt[Exchange]()
        source: Source | None = None
        shown = False
        try:
            call, watch, response = await self._begin(attempt, prepare)
            call.tell_head(response.status_code, response.headers, self._secrets.now, attempt.reused)
            if opening := call.meter.open():
                watch.leave()
                yield opening
                watch.come_back()
            source = decoded(response)
            reader, decoder = call.reader, call.reader.decoder
            with watch.following(source):
                while not decoder.done:
                    data = await watch.read(source, may_end=decoder.may_end)
                    held, content = decoder.held, False
                    for chunk in reader.feed(data) if data else reader.close(waited=watch.waited):
                        if type(chunk) is UsageChunk:
                            watch.leave()
                            yield chunk
                            watch.come_back()
                        else:
                            content = shown = True
                            yield chunk
                    if content or decoder.held != held:
                        watch.got_content()
            call.on_usage(call.meter.total)
        except self._caught as theirs:
            data = b""  # it may echo the key, and this frame is on the traceback
            await self._renew(theirs, attempt)
            for chunk in self._failed(theirs, attempt, shown=shown):
                yield chunk
        except GeneratorExit:  # first, as there may be no loop any more to ask for its word
            raise
        except anyio.get_cancelled_exc_class() as cancelled:
            self._border.cleaned(cancelled, attempt.sending)
            strip_tracebacks(cancelled)
            if attempt.call is not None and attempt.is_unanswered:
                owe(cancelled, attempt.call.meter.open())
            raise
        finally:
            ended = attempt.call is not None and attempt.call.reader.done
            await close(self._failures, attempt.response, source, drain=ended)

    async def fetch(self, prepare: Callable[[], Outgoing], read: Callable[[bytes], R]) -> R:
        """What *read* makes of the body, of 5 MB at most, of the answer to what is no call. Raises a ProviderError."""
        async with aclosing(self.plain(prepare, Whole(read))) as found:
            return await anext(found)

    async def plain(self, prepare: Callable[[], Outgoing], sink: Sink[R]) -> AsyncGenerator[R, None]:
        """What *sink* makes of the body of the answer to a request that is no call. Raises a ProviderError."""
        attempt = Attempt[Outgoing]()
        source: Source | None = None
        try:
            _, watch, response = await self._begin(attempt, prepare)
            source = decoded(response)
            with watch.following(source):
                while data := await watch.read(source):
                    watch.got_content()
                    for one in sink.feed(data):
                        yield one
            for one in sink.close():
                yield one
        except self._caught as theirs:
            data, one = b"", None  # they may echo the key, and this frame is on the traceback
            await self._renew(theirs, attempt)
            error = self._border.completed(self._border.ours(theirs, attempt), attempt)
            raise error from error.__cause__
        except GeneratorExit:  # first, as there may be no loop any more to ask for its word
            raise
        except anyio.get_cancelled_exc_class() as cancelled:
            self._border.cleaned(cancelled, attempt.sending)
            strip_tracebacks(cancelled)
            raise
        finally:
            await close(self._failures, attempt.response, source)

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

    def _address(self) -> object:
        """The server's address, None where there is no client yet."""
        return getattr(self._clients.held, "base_url", None)

    @property
    def is_open(self) -> bool:
        """Whether there is a client, in whatever event loop. Any thread may ask."""
        return self._clients.are_open

    async def aclose(self) -> None:
        """Close this event loop's client, or what an ended one of this thread has left; a lent one stays open."""
        await self._clients.aclose()

    async def _load(self) -> None:
        self._border.loaded = loaded = await load(self._package)  # the first call of a process waits for the import
        self._httpx, self._connections, self._omitted = loaded.httpx, loaded.connections, loaded.sdk.Omit()
        self._clients.failures = self._failures = loaded.failures
        self._caught = (ProviderError, *loaded.failures)

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
        self._carrier = self._connections.carrier(self._config)
        hooks = self._learn, partial(refuse, self._failures)
        return self._make_client(self._connections.http_client(self._config, *hooks, direct=self.start is not None))

    async def _learn(self, request: httpx2.Request) -> None:
        """Called by the HTTP client for each request, before it is sent: a token may have been refreshed for it."""
        self._secrets.learn(request_secrets(str(request.url), request.headers))
        if (form := request.headers.get("content-type", "")).startswith(FORM):
            request.headers["content-type"] = form.lower()

    async def _begin(self, attempt: Attempt[C], prepare: Callable[[], C]) -> tuple[C, Watch, httpx2.Response]:
        """Prepare and send a request, and note how far that came: the bill follows from it."""
        if self._border.loaded is None:
            await self._load()
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
                if call.creates or client.is_closed() or not sending.found_closed(self._border.cause(theirs)):
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
        pieces = None if call.long_body is None else call.long_body.pieces(watch.wrote)
        content = pieces or call.body
        key = await self._keys.header(sending) if self._keys else {}
        options = call.sdk_options(self._omitted, self._httpx.Timeout, key)
        try:
            with self._connections.followed(sending):
                # A cloud's client looks at the path, and somebody's own may.
                own = self._config.platform is None and self._lent is None
                path = address(client.base_url, call.path) if own else call.path
                send = client.get if content is None else partial(client.post, content=content)
                send = partial(send, path, stream=True, options=options)
                if self._lent is not None:
                    return await self._lent.answer(send, sending, self._learn)
                # As what it is: a stream of the SDK's would hold itself, and the whole request with it.
                response: httpx2.Response = await send(cast_to=self._httpx.Response)
                return response
        except self._caught:
            raise
        except Exception as error:
            # A header that is no text, say, or one that lies about the body's length: nothing has been sent.
            raise InvalidRequestError(f"the request cannot be built ({type(error).__name__}: {error})") from error
        finally:
            if pieces is not None:
                await pieces.aclose()

    def _failed(self, theirs: Exception, attempt: Attempt[Exchange], *, shown: bool) -> Iterator[Chunk]:
        """The answer that a refusal is; else what the failure changes in the bill, and then the error, raised."""
        cause, call = self._border.cause(theirs), attempt.call
        if call is not None and isinstance(cause, RefusedError):
            call.tell_head(cause.status, cause.headers, self._secrets.now, attempt.reused)
            if answer := call.refused(cause.body):
                yield from answer
                return
        error = self._border.ours(theirs, attempt)
        if isinstance(error, StreamInterruptedError) and not shown:
            error.hint = "Try again."  # there is nothing to discard
        correction = call and call.correction(error, attempt.sending, began=attempt.began, shown=shown)
        if correction:
            yield correction
        self._border.completed(error, attempt)
        raise error from error.__cause__

    async def _renew(self, theirs: Exception, attempt: Attempt[Any]) -> None:
        """Ask for the key anew if it was refused: there may be another by now."""
        cause, watch, sending = self._border.cause(theirs), attempt.watch, attempt.sending
        if isinstance(cause, RefusedError):
            cause = response_error(cause.status, cause.headers, cause.body)
        if self._keys and watch and sending and isinstance(cause, AuthenticationError):
            self._border.cleaned(theirs, sending)  # it hangs on what may cancel this
            strip_tracebacks(theirs)
            with anyio.move_on_after(watch.left):
                await self._keys.renew(sending)

    def _tell_resent(self, attempt: Attempt[Any], theirs: Exception) -> None:
        """The error that it would have been, for whoever wants to hear."""
        if attempt.call is not None and attempt.call.on_resend is not None:
            attempt.call.on_resend(self._border.completed(self._border.ours(theirs, attempt), attempt))
