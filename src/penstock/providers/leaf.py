"""What the providers of all wires have in common: one transport, one row, one model."""

from __future__ import annotations

import datetime as dt
from abc import abstractmethod
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Final, TypeVar

import msgspec

from penstock.core.chunks import Chunk, UsageChunk
from penstock.core.cost import Meter
from penstock.core.dialect import Dialect, Wire
from penstock.core.errors import ConfigError, InvalidRequestError, ProviderError
from penstock.core.keys import fingerprint
from penstock.core.messages import Message, Options
from penstock.core.models import FindInfo, Model
from penstock.core.provider import BaseProvider
from penstock.core.provider_config import ProviderConfig
from penstock.core.tokens import History, TokenCount, TokenMemory
from penstock.providers.answers import Lines
from penstock.providers.arguments import check_config, prepared
from penstock.providers.bodies import Body
from penstock.providers.credentials import BEARER, NO_KEY, find_credentials, find_row, is_authorized
from penstock.providers.exchange import Exchange, Outgoing
from penstock.providers.hosts import is_at, server_of
from penstock.providers.lent import is_sdk, lent_config
from penstock.providers.listing import MISSING, fetch_list
from penstock.providers.platforms import Cloud, find_cloud
from penstock.providers.redaction import shown_config
from penstock.providers.transport import Transport
from penstock.wire.answer_reader import AnswerReader, EventDecoder
from penstock.wire.checks import DROPPED
from penstock.wire.counting import counted, counting_body
from penstock.wire.sse import MAX_EVENT

__all__ = ["Leaf"]

R = TypeVar("R")

_REMEMBERED: Final = 1_000
"""How many drops of calls are remembered, so that the next try of the same call does not tell of them again."""


class Leaf(BaseProvider):
    """Asks a model over the wire that its class writes and reads."""

    _cloud: Cloud | None
    _config: ProviderConfig
    _dialect: Dialect
    _find_info: FindInfo | None
    _headers: dict[str, Any]
    _model: Model
    _transport: Transport
    _refused: Callable[[bytes], Sequence[Chunk]] = staticmethod(lambda body: ())
    _wire: Wire

    @abstractmethod
    def _base_url(self) -> str | None:
        """The server's address."""

    @abstractmethod
    def _decoder(self, meter: Meter) -> EventDecoder:
        """What reads an answer."""

    @abstractmethod
    def _prepare(self, system_prompt: str, messages: Sequence[Message], options: Options) -> Exchange:
        """The request of a call, and what its answer is read with."""

    def _settle(
        self, config: ProviderConfig, dialect: str | Dialect, client: object, sdk: tuple[str, str], *wires: Wire
    ) -> None:
        """Find the row, and the cloud if the config names one. sdk: the SDK and its class. Raises ConfigError."""
        check_config(config)
        config = lent_config(config, client, *sdk)
        row = find_row(dialect, *wires)
        self._cloud = cloud = find_cloud(config, row, client)
        self._config, self._dialect = (config, row) if cloud is None else (cloud.config, cloud.dialect)

    def _left_out(self, client: object) -> dict[str, None]:
        """The headers that the SDK would send of itself, and must not.

        It takes only from the request itself that there is to be no such header.
        """
        if self._cloud is not None:
            return self._cloud.headers()
        own = self._dialect.key_header is not None and not is_authorized(self._config.headers)
        return {BEARER: None} if own and not is_sdk(client) else {}

    def _connected(self, sdk: str, make_client: Callable[[Any], Any], keys: Sequence[str], client: object) -> Transport:
        """The transport, through the cloud if there is one. keys: what no error may show, beside what the cloud has."""
        cloud = self._cloud
        secrets, signing = ([], None) if cloud is None else (cloud.secrets, cloud.signing)
        return Transport(sdk, make_client, self._dialect, self._config, [*keys, *secrets], client, signing)

    def _place(self, path: str) -> str:
        """What is appended to the base URL for a path of the API."""
        return path

    def _exchange(
        self, path: str, body: bytes | None, headers: Mapping[str, Any], options: Options, meter: Meter | None = None
    ) -> Exchange:
        """The request of a call, or what reads an answer that has come. meter: None for one of this moment."""
        meter = meter or self._meter(dt.datetime.now(dt.UTC))
        return Exchange(
            path=self._place(path),
            body=body,
            headers=headers,
            deadlines=options.deadlines or self._config.deadlines,
            on_head=options.on_head,
            on_resend=options.on_resend,
            reader=AnswerReader(self._decoder(meter), self._config.max_event_bytes or MAX_EVENT),
            meter=meter,
            platform=self.platform,
            refused=self._refused,
        )

    def _meter(self, on: dt.date, variant: str | None = None) -> Meter:
        model = self._model
        return Meter(model.info, on, model_id=model.id, find_info=self._find_info, variant=variant)

    def create_message(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """See BaseProvider."""
        return self._transport.exchange(partial(self._noted, system_prompt, messages, options or Options()))

    def _noted(self, system_prompt: str, messages: Sequence[Message], options: Options) -> Exchange:
        """The request of a call, whose usage is remembered where anybody has asked for tokens."""
        call = self._taken(system_prompt, messages, options, self._tell_dropped)
        if "_tokens" not in vars(self):
            return call
        # It may be appended to before the answer has ended. One that a meter has looked at already stays as it is.
        asked = messages if isinstance(messages, History) else list(messages)
        return msgspec.structs.replace(
            call, on_usage=lambda usage: self.tokens.remember(system_prompt, asked, options, usage)
        )

    def _taken(
        self,
        system_prompt: str,
        messages: Sequence[Message],
        options: Options,
        tell: Callable[[Options, InvalidRequestError], object] = lambda options, error: None,
    ) -> Exchange:
        """The request of a call. If it is lenient, what is refused of its options and may be left out is.

        tell: called for each of these with the error that it would have been.
        """
        while True:
            try:
                return self._prepare(system_prompt, messages, options)
            except InvalidRequestError as error:
                name = error.option or ""
                if name not in DROPPED or not options.lenient or getattr(options, name) == DROPPED[name]:
                    raise
                tell(options, error)
            options = msgspec.structs.replace(options, **{name: DROPPED[name]})

    def _tell_dropped(self, options: Options, error: InvalidRequestError) -> None:
        """Tell who listens of an option that is left out, once in a call; where nobody does, log it once."""
        # What has no scope has no Retry around it, and comes once.
        call = object() if options.scope is None else options.scope.call
        key = (None if options.on_drop is None else call, error.option)
        told: set[object] = vars(self).setdefault("_told", set())
        if key in told:
            return
        if len(told) >= _REMEMBERED:
            told.clear()
        told.add(key)
        error.vendor, error.model = self.vendor, self._model.id
        if options.on_drop is not None:
            options.on_drop(error)
            return
        import logging  # for those who drop without listening

        logging.getLogger("penstock").warning("left out for %s: %s", self._model.id, error.message)

    def request_body(self, system_prompt: str, messages: Sequence[Message], options: Options | None = None) -> bytes:
        """See BaseProvider."""
        return prepared(partial(self._taken, system_prompt, messages, options or Options())).body or b""

    @property
    def platform(self) -> str | None:
        """The cloud that is asked, None for the vendor itself."""
        return None if self._config.platform is None else self._config.platform.name

    @property
    def config(self) -> ProviderConfig:
        """See BaseProvider."""
        return shown_config(self._config)

    def _repr_parts(self) -> Iterator[str]:
        yield from super()._repr_parts()
        yield from self._repr_own()
        yield from self._transport.shown()

    def _repr_own(self) -> Iterator[str]:
        """What repr shows of the class's own settings."""
        yield f"dialect={self._dialect.name!r}"

    def get_model(self) -> Model:
        """See BaseProvider."""
        return self._model

    @property
    def vendor(self) -> str:
        """See BaseProvider."""
        return self._dialect.name

    @property
    def server(self) -> tuple[str, int | None]:
        """See BaseProvider."""
        return server_of(self._base_url())

    @property
    def account(self) -> str:
        """See BaseProvider."""
        key = find_credentials(self._config, self._dialect).key
        return "" if key == NO_KEY else fingerprint(key)

    def _new_tokens(self) -> TokenMemory:
        memory = TokenMemory(self._model.id, self._dialect)
        memory.is_fed = True
        return memory

    async def request(self, method: str, path: str, body: bytes | None, *, creates: bool = False) -> bytes:
        """The body of the answer to a request that is no call, at most 5 MB of it. Raises a ProviderError.

        method: GET without a body, POST with one, which may be empty. path: of the vendor's API, appended to the base
        URL.
        creates: whether the server would do it twice if it came twice; then it is never sent once more.
        """
        if method != ("GET" if body is None else "POST"):
            raise ConfigError(f"`method` is {method!r}, expected GET without a body, or POST with one")
        return await self._transport.fetch(lambda: self._plain(path, body, creates=creates), bytes)

    def call_headers(self, system_prompt: str, messages: Sequence[Message], options: Options) -> dict[str, str]:
        """The headers of a call that choose the version of the API, which all calls of a batch have in common."""
        return {}

    async def upload(
        self,
        path: str,
        body: bytes | Body,
        content_type: str = "application/json",
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> bytes:
        """The body of the answer to a POST that creates something, and is never sent once more. Raises a ProviderError.

        body: of a Body no more than a piece is held, but where AWS's signature needs it whole. The deadline
        `first_chunk` begins anew with each piece. After an error without a status nobody knows whether it was created.
        """
        long = Body(body) if isinstance(body, bytes) else body
        sent = {**self._headers, **headers, "Content-Type": content_type}
        plain = self._plain(path, None, creates=True)
        call = msgspec.structs.replace(plain, long_body=long, headers=sent)
        return await self._transport.fetch(lambda: call, bytes)

    def lines(self, path: str) -> AsyncGenerator[bytes, None]:
        """The lines of the body of the answer to a GET, however many. Raises a ProviderError; close it.

        Blank ones are left out, and one of more than 64 MB is a MalformedResponseError. path: as for `request`, or the
        address that the server has named: of another host only its path counts, as the key goes to nobody else.
        """
        url = self._base_url()
        if "://" in path and (url is None or not is_at(path, url)):
            from urllib.parse import urlsplit  # here and not above: few servers name an address

            parts = urlsplit(path)
            path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        return self._transport.plain(lambda: self._plain(path, None, creates=False), Lines())

    def read_answer(
        self, document: bytes, *, status: int = 200, variant: str | None = None, at: dt.date | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """The chunks of an answer that came by another way, as one JSON document. Raises the ProviderError of a call.

        status: that it came with. variant: what is billed beside what it says of its service tier, as `batch`; None for
        nothing. at: the day whose prices count, None for now.
        """
        meter = self._meter(at or dt.datetime.now(dt.UTC), variant)
        return self._transport.read(lambda: self._exchange("", None, {}, Options(), meter), status, document)

    async def list_models(self) -> list[Model]:
        """What the server lists, and nothing else: `penstock.list_models` adds what is known here. No call is made.

        Raises a ProviderError, also where the server has no list.
        """
        return await fetch_list(self.read, self._dialect)

    async def read(self, path: str, read: Callable[[bytes], R]) -> R:
        """What *read* makes of the body of the answer to a GET, within its error border. Raises a ProviderError."""
        return await self._transport.fetch(lambda: self._plain(path, None, creates=False), read)

    @property
    def find_info(self) -> FindInfo | None:
        """What is known of another model of the same vendor by its id; None where nobody has said how to find it."""
        return self._find_info

    @property
    def wire(self) -> Wire:
        """The API over which it is called."""
        return self._wire

    @property
    def dialect(self) -> Dialect:
        """The row of its server."""
        return self._dialect

    async def count_tokens(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> TokenCount:
        """See BaseProvider."""
        path, given = self._dialect.count_paths.get(self._wire), options or Options()
        source = "estimate"
        if path is not None:
            try:
                prepare = partial(self._counting, path, system_prompt, messages, given)
                tokens = await self._transport.fetch(prepare, counted)
            except ProviderError as error:
                if error.status not in MISSING:
                    raise
                source = f"estimate, as {self.vendor} does not count ({error.status})"
            else:
                self.tokens.remember(system_prompt, messages, given, UsageChunk(input_tokens=tokens))
                return TokenCount(tokens=tokens, exact=True, source=self.vendor)
        tokens = self.tokens.estimate(system_prompt, messages, given)
        return TokenCount(tokens=tokens, exact=False, source=source)

    def _counting(self, path: str, system_prompt: str, messages: Sequence[Message], options: Options) -> Outgoing:
        call = self._taken(system_prompt, messages, options)
        plain = self._plain(path, counting_body(call.body or b"", self._wire), creates=False)
        return msgspec.structs.replace(plain, headers=call.headers, deadlines=call.deadlines)

    def _plain(self, path: str, body: bytes | None, *, creates: bool) -> Outgoing:
        return Outgoing(
            path=self._place(path),
            body=body,
            headers=self._headers,
            deadlines=self._config.deadlines,
            creates=creates,
        )

    @property
    def is_open(self) -> bool:
        """See BaseProvider."""
        return self._transport.is_open

    async def aclose(self) -> None:
        """See BaseProvider."""
        await self._transport.aclose()
