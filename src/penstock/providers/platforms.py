"""Models that a cloud serves: where they are asked, by which class of the SDK, and with whose identity."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import anyio
import msgspec

from penstock.core.dialect import Dialect
from penstock.core.errors import AuthenticationError, ConfigError, first_line
from penstock.core.keys import FetchedKey, KeySource
from penstock.core.provider_config import Platform, ProviderConfig
from penstock.providers.credentials import BEARER, is_authorized
from penstock.providers.fetching import Credential
from penstock.providers.lent import is_sdk
from penstock.wire.platforms import PlatformRow, address_of, filled, find_platform, variables

if TYPE_CHECKING:
    import httpx2

__all__ = ["Cloud", "find_cloud"]

_CARRIERS: Final = (BEARER, "x-api-key", "api-key")
"""The headers that may carry a key. An SDK's own are left out, and the one that is needed is set for each request."""
_BETWEEN: Final = "|"
"""Stands between the parts of an identity of AWS's, in none of which it occurs."""
_KEPT: Final = 60.0
"""Seconds for which such an identity is used before the library is asked again, which renews it in good time."""
_LARGE: Final = 250_000
"""Bytes of a body that is hashed off the event loop: of fewer the signature takes half a millisecond."""


class Cloud(msgspec.Struct, frozen=True):
    """Where a platform serves a model. secrets: keys that its config no longer holds as text."""

    row: PlatformRow
    platform: Platform
    config: ProviderConfig
    dialect: Dialect
    secrets: list[str]
    signing: Credential | None
    """The identity that requests are signed with, None where they carry a key."""

    def __repr__(self) -> str:
        """The name alone: it stands in frames that a traceback may show."""
        return f"Cloud({self.platform.name})"

    @property
    def path(self) -> str | None:
        """The path that has the model in it; None where the body has it."""
        return None if self.row.path is None else filled(self.row.path, self.platform, self.config.model_id)

    def headers(self) -> dict[str, None]:
        """The headers that the SDK would send of itself, and must not, as each request gets its own key."""
        given = {name.lower() for name, value in self.config.headers.items() if value}
        return {name: None for name in _CARRIERS if name.lower() not in given}

    def client(self, sdk: ModuleType, http_client: httpx2.AsyncClient, theirs: Mapping[str, Any]) -> Any:
        """The SDK's client. theirs: more that it is made with."""
        client: Any = getattr(sdk, self.row.client)(
            base_url=self.config.base_url,
            http_client=http_client,
            max_retries=0,
            **{name: getattr(self.platform, field) for name, field in self.row.arguments.items()},
            **self.row.constants,
            **theirs,
        )
        if self.signing is not None:
            # What the SDKs call with each request before they send it, for signatures above all.
            client._prepare_request = partial(_sign, self.signing, self.row, self.platform)
        return client


def find_cloud(config: ProviderConfig, dialect: Dialect, client: object = None) -> Cloud | None:
    """Where the platform of a config serves its model, None if it names none. Raises ConfigError.

    client: one of the caller's own, which may be an HTTP client only.

    Its config has the platform's address, and a function in place of a key: the one it has, else that of the platform's
    environment variables, else a token of the identity that this process has. At AWS requests are signed instead.
    """
    platform = config.platform
    if platform is None:
        return None
    if is_sdk(client):
        raise ConfigError("`client` is an SDK's, which has an address and a key of its own: leave out `platform`")
    row = find_platform(platform, dialect.name, config.base_url)
    found = (value for name in variables(row, platform) if (value := os.environ.get(name)))
    source: Any = config.api_key or next(found, None)
    secrets = [source] if isinstance(source, str) else []
    if isinstance(source, str):
        source = _giving(source)
    elif source is None and row.identity != "aws":
        source = _Identity(row)
    signs = source is None and not is_authorized(config.headers)
    counts = {} if row.count_path is None else {dialect.wires[0]: filled(row.count_path, platform, config.model_id)}
    return Cloud(
        row,
        platform,
        msgspec.structs.replace(
            config, api_key=source, base_url=config.base_url or address_of(row, platform, config.model_id)
        ),
        msgspec.structs.replace(
            dialect,
            key_header=row.key_header,
            key_variables=row.key_variables if secrets else (),
            needs_key=False,
            wires=row.wires or dialect.wires,
            count_paths=dialect.count_paths if row.path is None else counts,
            batches=dialect.batches if row.has_batches else None,
        ),
        secrets,
        Credential(_Identity(row, platform.profile)) if signs else None,
    )


def _giving(key: str) -> Callable[[], Awaitable[str]]:
    async def given() -> str:
        return key

    return given


class _Identity(KeySource, frozen=True, eq=False):
    """Whoever this process is to a platform, by the search of its library. profile: of AWS's files."""

    row: PlatformRow
    profile: str | None = None

    @property
    def what(self) -> str:
        """See KeySource."""
        return f"the identity of this machine, which {self.row.name} is asked with,"

    @property
    def hint(self) -> str:  # type: ignore[override]
        """See KeySource."""
        return f"Run {_WAYS[self.row.identity]}{_or_a_key(self.row)}."

    def __call__(self) -> FetchedKey:
        """See KeySource. Raises what the library does, and ConfigError where that is missing."""
        try:
            return _ASK[self.row.identity](self)
        except ImportError as error:
            said = f"the platform {self.row.name} asks with this machine's identity, for which {error.name} is missing"
            way = f"pip install 'penstock[{self.row.extra}]'{_or_a_key(self.row)}"
            raise ConfigError(f"{said}: {way}") from error


def _entra(identity: _Identity) -> FetchedKey:
    """A token of Entra's, for whoever this process is: of the environment, the machine or the command line."""
    from azure import identity as library
    from azure.core.exceptions import ClientAuthenticationError

    try:
        with _quiet(library.__name__), library.DefaultAzureCredential() as credential:
            token = credential.get_token(identity.row.audience)
    except ClientAuthenticationError as error:
        raise _nobody(identity.row, error) from error
    return FetchedKey(token.token, ends=token.expires_on)


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Keep a library from logging what its error says as well, unless somebody has given its logger a level."""
    import logging  # here and not above: the library has it anyway

    logger = logging.getLogger(name)
    is_left = logger.level == logging.NOTSET
    if is_left:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        if is_left:
            logger.setLevel(logging.NOTSET)


def _adc(identity: _Identity) -> FetchedKey:
    """A token of Google's, by what it calls application default credentials."""
    from google.auth import default
    from google.auth.exceptions import GoogleAuthError
    from google.auth.transport.requests import Request

    try:
        credentials: Any = default(scopes=[identity.row.audience])[0]
        credentials.refresh(Request())
    except GoogleAuthError as error:
        raise _nobody(identity.row, error) from error
    end = credentials.expiry
    return FetchedKey(credentials.token, ends=None if end is None else end.replace(tzinfo=dt.UTC).timestamp())


def _aws(identity: _Identity) -> FetchedKey:
    """An identity of AWS's, by its own search: the environment, a profile, the machine's role."""
    from botocore.exceptions import BotoCoreError, ProfileNotFound
    from botocore.session import Session

    row = identity.row
    try:
        found = Session(profile=identity.profile).get_credentials()
        frozen = None if found is None else found.get_frozen_credentials()
    except ProfileNotFound as error:
        unknown, place = _nobody(row, error), "AWS_PROFILE" if identity.profile is None else "`platform.profile`"
        unknown.hint = f"Correct {place}, or add that profile to ~/.aws/config."
        raise unknown from error
    except BotoCoreError as error:
        raise _nobody(row, error) from error
    if frozen is None:
        raise _nobody(row)
    return FetchedKey(_BETWEEN.join((frozen.access_key, frozen.secret_key, frozen.token or "")), keep=_KEPT)


_ASK: Final[Mapping[str, Callable[[_Identity], FetchedKey]]] = {"entra": _entra, "adc": _adc, "aws": _aws}
_WAYS: Final = {
    "entra": "`az login`, set AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_CLIENT_SECRET, give the machine an identity",
    "adc": "`gcloud auth application-default login`, set GOOGLE_APPLICATION_CREDENTIALS",
    "aws": "`aws sso login`, set AWS_PROFILE, give the machine a role",
}
_NOBODY: Final = {
    "entra": "no Entra identity was",
    "adc": "no Google credentials were",
    "aws": "no AWS credentials were",
}


async def _sign(credential: Credential, row: PlatformRow, platform: Platform, request: httpx2.Request) -> None:
    """Called by the SDK for each request, before it is sent: what is signed are its own bytes, of a long body too."""
    sign = partial(_signed, await credential.key(), row, platform, request)
    # Only the hash of a large body takes a while; a thread may have to be waited for, behind those of slow tools.
    is_quick = len(await request.aread()) < _LARGE
    request.headers.update(sign() if is_quick else await anyio.to_thread.run_sync(sign, abandon_on_cancel=True))


def _signed(key: str, row: PlatformRow, platform: Platform, request: httpx2.Request) -> dict[str, str]:
    """The headers of a request with its signature, by AWS's version 4."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    access, secret, token = key.split(_BETWEEN)
    # A proxy may take out the first of them, or change it.
    headers = {name: value for name, value in request.headers.items() if name.lower() != "connection"}
    plain = AWSRequest(method=request.method, url=str(request.url), headers=headers, data=request.content)
    SigV4Auth(Credentials(access, secret, token or None), row.audience, platform.region).add_auth(plain)
    return dict(plain.headers.items())


def _nobody(row: PlatformRow, error: Exception | None = None) -> AuthenticationError:
    why = "" if error is None else f" ({first_line(error)})"
    return AuthenticationError(f"{_NOBODY[row.identity]} found on this machine{why}")


def _or_a_key(row: PlatformRow) -> str:
    return f", or set {' or '.join(row.key_variables)}" if row.key_variables else ", or give a token as apiKey"
