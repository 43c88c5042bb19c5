"""The clouds that serve a vendor's models, one row for each API that a cloud has. Pure data.

Sources: the clients of the anthropic SDK 2.14 and of the openai SDK 3.57, read 2026-11-30; more stands in the rows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, Literal

import msgspec

from penstock.core.dialect import Wire
from penstock.core.errors import ConfigError
from penstock.core.provider_config import Platform
from penstock.core.validation import near

__all__ = ["PLATFORMS", "PlatformRow", "SoldModel", "address_of", "filled", "find_platform", "sold_model", "variables"]


class PlatformRow(msgspec.Struct, frozen=True, kw_only=True):
    """A cloud as it serves the models of one vendor. Templates have the fields of Platform in braces."""

    name: str
    """What it is called in models.json."""
    provider: str
    """The vendor's row whose API it speaks."""
    source: str
    """Where this was read, beside the SDK."""
    url: str
    """A template of the base URL."""
    hosts: Mapping[str, str] = msgspec.field(default_factory=dict)
    """What stands for `{host}`, by region; "" for all others."""
    needs: Sequence[str]
    """The fields of Platform that have to be given."""
    takes: Sequence[str] = ()
    """Those that may be."""
    key_variables: Sequence[str] = ()
    """Environment variables that may hold a key; the first that is set is taken."""
    identity: Literal["entra", "aws", "adc"]
    """What asks where there is no key: a token of Entra's, a signature of AWS's, or a token of Google's."""
    extra: str
    """The extra of Penstock that brings the library for it."""
    audience: str = ""
    """What a token of that identity is asked for; at AWS the service that is signed for."""
    client: str
    """The class of the SDK."""
    arguments: Mapping[str, str] = msgspec.field(default_factory=dict)
    """What the class is made with, each of a field of Platform."""
    constants: Mapping[str, Any]
    """What keeps the class from a search for keys of its own: each request gets its key by itself."""
    wires: Sequence[Wire] | None = None
    """The APIs that it has of the vendor's; None for all."""
    key_header: str | None = None
    """The header that carries a key; None for `Authorization: Bearer`, which carries a token always."""
    path: str | None = None
    """A template of the path that has the model in it; None where the body has it."""
    count_path: str | None = None
    """The same for counting a prompt's tokens, where there is a `path`."""
    prefixed: bool = False
    """Models are named with their maker in front, and before that the geography that they run in, as `eu.`."""
    has_batches: bool = False
    """It takes batches as the vendor itself does."""
    at_list_price: bool = False
    """It bills what the vendor itself does."""


_DOCS: Final = "https://platform.claude.com/docs/en/build-with-claude"
_KEY: Final = {"api_key": "none"}
_SKIP: Final = {"skip_auth": True}
_PLACE: Final = "projects/{project}/locations/{region}"
_VERTEX: Final = {
    "": "https://{region}-aiplatform.googleapis.com",
    "global": "https://aiplatform.googleapis.com",
    "us": "https://aiplatform.us.rep.googleapis.com",
    "eu": "https://aiplatform.eu.rep.googleapis.com",
}

_azure: Final = partial(PlatformRow, identity="entra", extra="azure", needs=("resource",))
_aws: Final = partial(PlatformRow, identity="aws", extra="bedrock", takes=("profile",))
_google: Final = partial(
    PlatformRow,
    identity="adc",
    extra="vertex",
    audience="https://www.googleapis.com/auth/cloud-platform",
    needs=("project", "region"),
)
_mantle: Final = partial(
    _aws,
    name="bedrock",
    needs=("region",),
    key_variables=("AWS_BEARER_TOKEN_BEDROCK",),
    audience="bedrock-mantle",
    prefixed=True,
)
_vertex: Final = partial(_google, name="vertex", hosts=_VERTEX)

_ROWS: Final = (
    _azure(
        name="foundry",
        provider="anthropic",
        # "Anthropic rates your token usage in USD at standard per-model, per-feature rates":
        # https://platform.claude.com/docs/en/about-claude/pricing#claude-in-microsoft-foundry-pricing
        source=f"{_DOCS}/claude-in-microsoft-foundry, read 2026-11-30",
        url="https://{resource}.services.ai.azure.com/anthropic",
        takes=("region",),
        key_variables=("ANTHROPIC_FOUNDRY_API_KEY",),
        audience="https://ai.azure.com/.default",
        client="AsyncAnthropicFoundry",
        constants=_KEY,
        key_header="x-api-key",
        at_list_price=True,
    ),
    _mantle(
        provider="anthropic",
        source=f"{_DOCS}/claude-in-amazon-bedrock, the endpoint that is called Mantle; read 2026-11-30",
        url="https://bedrock-mantle.{region}.api.aws/anthropic",
        client="AsyncAnthropicBedrockMantle",
        constants=_SKIP,
        arguments={"aws_region": "region"},
    ),
    _aws(
        name="aws",
        provider="anthropic",
        # The same words: https://docs.aws.amazon.com/claude-platform/latest/userguide/billing.html
        source=f"{_DOCS}/claude-platform-on-aws, read 2026-11-30",
        url="https://aws-external-anthropic.{region}.api.aws",
        needs=("region", "workspace"),
        key_variables=("ANTHROPIC_AWS_API_KEY",),
        audience="aws-external-anthropic",
        client="AsyncAnthropicAWS",
        constants=_SKIP,
        arguments={"aws_region": "region", "workspace_id": "workspace"},
        key_header="x-api-key",
        at_list_price=True,
    ),
    _google(
        name="google-cloud",
        provider="anthropic",
        source=f"{_DOCS}/claude-models-on-google-cloud/anthropic-managed, read 2026-11-30; no word of its prices",
        url=f"https://claude.googleapis.com/v1/{_PLACE}/workspaces/{{workspace}}/invoke",
        needs=("project", "region", "workspace"),
        client="AsyncAnthropicGoogleCloud",
        constants=_SKIP,
        arguments={"project": "project", "location": "region", "workspace_id": "workspace"},
    ),
    _vertex(
        provider="anthropic",
        source=f"{_DOCS}/claude-models-on-google-cloud/google-managed, read 2026-11-30",
        url="{host}/v1",
        client="AsyncAnthropicVertex",
        constants={"access_token": "none"},
        arguments={"project_id": "project", "region": "region"},
        path=f"/{_PLACE}/publishers/anthropic/models/{{model}}:streamRawPredict",
        count_path=f"/{_PLACE}/publishers/anthropic/models/count-tokens:rawPredict",
    ),
    _azure(
        name="azure",
        provider="azure",
        source="https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle, the v1 API; read 2026-11-30",
        url="https://{resource}.openai.azure.com/openai/v1",
        has_batches=True,
        key_variables=("AZURE_OPENAI_API_KEY",),
        audience="https://cognitiveservices.azure.com/.default",
        client="AsyncOpenAI",
        constants=_KEY,
        key_header="api-key",
    ),
    _azure(
        name="azure-deployments",
        provider="azure",
        source="the same page, the dated versions of the API; a deployment is asked for by its path",
        url="https://{resource}.openai.azure.com/openai/deployments/{model}",
        needs=("resource", "api_version"),
        key_variables=("AZURE_OPENAI_API_KEY",),
        audience="https://cognitiveservices.azure.com/.default",
        client="AsyncAzureOpenAI",
        constants=_KEY,
        arguments={"api_version": "api_version"},
        key_header="api-key",
        wires=("chat",),
    ),
    _mantle(
        provider="openai",
        source="https://docs.aws.amazon.com/bedrock/latest/userguide/bedrock-mantle.html, and openai.providers.bedrock",
        url="https://bedrock-mantle.{region}.api.aws/openai/v1",
        client="AsyncOpenAI",
        constants=_KEY,
    ),
    _vertex(
        provider="openai",
        source="openai.providers.vertex",
        url=f"{{host}}/v1/{_PLACE}/publishers/openai/v1",
        client="AsyncOpenAI",
        constants=_KEY,
    ),
    _vertex(
        provider="google",
        source="https://cloud.google.com/vertex-ai/generative-ai/docs/migrate/openai/overview; from memory",
        url=f"{{host}}/v1/{_PLACE}/endpoints/openapi",
        client="AsyncOpenAI",
        constants=_KEY,
    ),
)

PLATFORMS: Final[Mapping[tuple[str, str], PlatformRow]] = {(row.name, row.provider): row for row in _ROWS}
"""The rows by the platform's name and the vendor's."""

_NOT_BUILT: Final = {
    "bedrock-runtime": "the old endpoint of Bedrock answers in frames of its own, which are not read: name `bedrock`",
}
_FIELDS: Final = tuple(name for name in Platform.__struct_fields__ if name != "name")


def find_platform(platform: Platform, provider: str, base_url: str | None = None) -> PlatformRow:
    """The row of a platform for a vendor's models.

    base_url: an address of one's own, which needs no field that is only a part of the host. Raises ConfigError for a
    platform that does not serve that vendor, for a field that is missing, and for one that it has no use for.
    """
    row = PLATFORMS.get((platform.name, provider))
    if row is None:
        raise ConfigError(_unknown(platform.name, provider))
    given = [name for name in _FIELDS if getattr(platform, name) is not None]
    for name in row.needs:
        if name not in given and not (base_url is not None and name == "resource"):
            raise ConfigError(f"`platform` is {row.name} without `{name}`, expected {', '.join(row.needs)}")
    for name in given:
        if name not in (*row.needs, *row.takes):
            known = ", ".join((*row.needs, *row.takes))
            raise ConfigError(f"`platform` is {row.name} with `{name}`, which it has no use for, expected {known}")
    return row


def _unknown(name: str, provider: str) -> str:
    if name in _NOT_BUILT:
        return f"`platform` is {name}: {_NOT_BUILT[name]}"
    here = [row.name for row in _ROWS if row.provider == provider]
    elsewhere = [row.provider for row in _ROWS if row.name == name]
    if not here:
        return f"`platform` is {name!r}, but no platform serves {provider}: leave it out"
    hint = f"; it serves {', '.join(elsewhere)}" if elsewhere else near(name, here)
    return f"`platform` is {name!r}, expected one that serves {provider}: {', '.join(here)}{hint}"


def address_of(row: PlatformRow, platform: Platform, model_id: str) -> str:
    """The base URL of a platform."""
    host = row.hosts.get(platform.region or "", row.hosts.get("", ""))
    return filled(row.url.replace("{host}", host), platform, model_id)


def filled(template: str, platform: Platform, model_id: str) -> str:
    """A template with the platform's fields and the model, which may hold what would end a path's segment.

    Raises ConfigError for a model that would lead up in the path.
    """
    if "{model}" in template and not model_id.strip("."):
        raise ConfigError(f"`model_id` is {model_id!r}, expected the name of a model or a deployment")
    from urllib.parse import quote  # here and not above: for those who ask a platform

    fields = {name: getattr(platform, name) for name in _FIELDS}
    return template.format(model=quote(model_id, safe=":@"), **fields)


def variables(row: PlatformRow, platform: Platform) -> Sequence[str]:
    """The environment variables that may hold a key; none where a profile is named, which is to sign."""
    return row.key_variables if platform.profile is None else ()


class SoldModel(msgspec.Struct, frozen=True):
    """A model as a platform names it. id: its vendor's own. everywhere: it may run in any region of the world."""

    id: str
    everywhere: bool


# Geographies of profiles, by genai-prices 0.2.3; `global` runs wherever there is room.
_PREFIX: Final = r"^(?:(global|us|eu|apac|jp|au|in|ca|us-gov)\.)?(?:anthropic|openai)\."
_SUFFIX: Final = r"-v\d+(?::\d+)?$"
_ARN: Final = r"^arn:[^:]*:bedrock:[^:]*:[^:]*:(?:inference-profile|foundation-model)/"


def sold_model(row: PlatformRow, platform: Platform, model_id: str) -> SoldModel:
    """What *model_id* names: `us.anthropic.claude-sonnet-4-5-20250929-v1:0` is claude-sonnet-4-5-20250929 in the US."""
    if row.at_list_price:  # a region that has to be given is where the host is; models run anywhere
        return SoldModel(model_id, "region" in row.needs or platform.region in (None, "global"))
    if not row.prefixed:
        return SoldModel(model_id, platform.region == "global")
    plain = re.sub(_ARN, "", model_id)
    found = re.match(_PREFIX, plain)
    bare = plain if found is None else plain[found.end() :]
    return SoldModel(re.sub(_SUFFIX, "", bare), found is not None and found[1] == "global")
