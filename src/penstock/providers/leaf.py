"""What the providers of all wires have in common: one transport, one row, one model."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from penstock.core.chunks import Chunk, UsageChunk
from penstock.core.dialect import Dialect, Wire
from penstock.core.entries import ProviderConfig
from penstock.core.errors import ConfigError, ProviderError
from penstock.core.messages import Message, Options
from penstock.core.models import Model
from penstock.core.provider import BaseProvider
from penstock.core.tokens import History, TokenCount, TokenMemory
from penstock.providers.exchange import Exchange, Outgoing
from penstock.providers.hosts import server_of
from penstock.providers.transport import Transport
from penstock.wire.counting import counted, counting_body

__all__ = ["Leaf"]

_MISSING: Final = (404, 405, 501)
"""How a server answers that has no such endpoint."""


class Leaf(BaseProvider):
    """Asks a model over the wire that its class writes and reads."""

    _config: ProviderConfig
    _dialect: Dialect
    _headers: Mapping[str, Any]
    _model: Model
    _transport: Transport
    _wire: Wire

    @abstractmethod
    def _base_url(self) -> str | None:
        """The server's address."""

    @abstractmethod
    def _prepare(self, system_prompt: str, messages: Sequence[Message], options: Options) -> Exchange:
        """The request of a call, and what its answer is read with."""

    def _place(self, path: str) -> str:
        """What is appended to the base URL for a path of the API."""
        return path

    def create_message(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """See BaseProvider."""
        return self._transport.exchange(partial(self._noted, system_prompt, messages, options or Options()))

    def _noted(self, system_prompt: str, messages: Sequence[Message], options: Options) -> Exchange:
        """The request of a call, whose usage is remembered where anybody has asked for tokens."""
        call = self._prepare(system_prompt, messages, options)
        if "_tokens" not in vars(self):
            return call
        # It may be appended to before the answer has ended. One that a meter has looked at already stays as it is.
        asked = messages if isinstance(messages, History) else list(messages)
        return msgspec.structs.replace(
            call, on_usage=lambda usage: self.tokens.remember(system_prompt, asked, options, usage)
        )

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

    def _new_tokens(self) -> TokenMemory:
        memory = TokenMemory(self._model.id, self._dialect)
        memory.is_fed = True
        return memory

    async def request(self, method: str, path: str, body: bytes | None, *, creates: bool = False) -> bytes:
        """The body of the answer to a request that is no call, at most 5 MB of it. Raises a ProviderError.

        method: GET without a body, POST with one. path: of the vendor's API, appended to the base URL.
        creates: whether the server would do it twice if it came twice; then it is never sent once more.
        """
        if method != ("GET" if body is None else "POST"):
            raise ConfigError(f"`method` is {method!r}, expected GET without a body, or POST with one")
        return await self._transport.fetch(lambda: self._plain(path, body, creates=creates), bytes)

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
                if error.status not in _MISSING:
                    raise
                source = f"estimate, as {self.vendor} does not count ({error.status})"
            else:
                self.tokens.remember(system_prompt, messages, given, UsageChunk(input_tokens=tokens))
                return TokenCount(tokens=tokens, exact=True, source=self.vendor)
        tokens = self.tokens.estimate(system_prompt, messages, given)
        return TokenCount(tokens=tokens, exact=False, source=source)

    def _counting(self, path: str, system_prompt: str, messages: Sequence[Message], options: Options) -> Outgoing:
        call = self._prepare(system_prompt, messages, options)
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

    async def aclose(self) -> None:
        """See BaseProvider."""
        await self._transport.aclose()
