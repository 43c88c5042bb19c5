"""The table of clouds: their addresses are the SDKs' own, and what names none of them is told in one line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from penstock import ConfigError, Platform
from penstock.wire.platforms import PLATFORMS, SoldModel, address_of, find_platform, sold_model

KEY = "key-canary-0123456789"
ARN = "arn:aws:bedrock:us-east-1"
MANTLE = Platform(name="bedrock", region="eu-central-1")


def sdk_addresses() -> Iterator[tuple[Platform, str, str]]:
    """Platforms with the vendor, and the base URL that the SDK's own client makes of the same fields."""
    import anthropic
    import httpx2
    import openai
    from openai.providers import bedrock, vertex

    http: dict[str, Any] = {
        "http_client": httpx2.AsyncClient(transport=httpx2.MockTransport(lambda _: httpx2.Response(500)))
    }
    key: dict[str, Any] = {"api_key": KEY, **http}
    clients: list[tuple[Platform, str, Any]] = [
        (Platform(name="foundry", resource="r"), "anthropic", anthropic.AsyncAnthropicFoundry(resource="r", **key)),
        (MANTLE, "anthropic", anthropic.AsyncAnthropicBedrockMantle(aws_region="eu-central-1", **key)),
        (
            Platform(name="aws", region="eu-west-1", workspace="w"),
            "anthropic",
            anthropic.AsyncAnthropicAWS(aws_region="eu-west-1", workspace_id="w", **key),
        ),
        (
            Platform(name="google-cloud", project="p", region="global", workspace="w"),
            "anthropic",
            anthropic.AsyncAnthropicGoogleCloud(project="p", workspace_id="w", skip_auth=True, **http),
        ),
        *(
            (
                Platform(name="vertex", project="p", region=region),
                "anthropic",
                anthropic.AsyncAnthropicVertex(region=region, project_id="p", access_token=KEY, **http),
            )
            for region in ("us-east5", "global", "us", "eu")
        ),
        (
            Platform(name="azure-deployments", resource="r", api_version="x"),
            "azure",
            openai.AsyncAzureOpenAI(
                azure_endpoint="https://r.openai.azure.com", azure_deployment="model-x", api_version="x", **key
            ),
        ),
        (MANTLE, "openai", openai.AsyncOpenAI(provider=bedrock(region="eu-central-1", api_key=KEY), **http)),
        *(
            (
                Platform(name="vertex", project="p", region=region),
                "openai",
                openai.AsyncOpenAI(provider=vertex(project="p", location=region, token_provider=lambda: KEY), **http),
            )
            for region in ("us-east5", "global")
        ),
    ]
    for platform, provider, client in clients:
        yield platform, provider, str(client.base_url)


def test_the_addresses_are_the_sdks_own() -> None:
    """For the same fields, where an SDK makes one of them."""
    for platform, provider, url in sdk_addresses():
        assert address_of(find_platform(platform, provider), platform, "model-x") == url.rstrip("/")


@pytest.mark.parametrize(
    ("fields", "provider", "said"),
    [
        ({"name": "bedrok", "region": "us-east-1"}, "anthropic", "did you mean 'bedrock'?"),
        ({"name": "bedrock-runtime", "region": "us-east-1"}, "anthropic", "which are not read: name `bedrock`"),
        ({"name": "foundry", "resource": "r"}, "openai", "serves openai: bedrock, vertex; it serves anthropic"),
        ({"name": "bedrock", "region": "us-east-1"}, "mistral", "no platform serves mistral"),
        ({"name": "bedrock"}, "anthropic", "bedrock without `region`"),
        ({"name": "aws", "region": "us-east-1"}, "anthropic", "aws without `workspace`"),
        ({"name": "bedrock", "region": "us-east-1", "project": "p"}, "anthropic", "`project`, which it has no use for"),
        ({"name": "bedrock", "region": "x.evil.example/"}, "anthropic", "`region` is 'x.evil.example/'"),
        ({"name": "bedrock", "region": "us-east-1\n"}, "anthropic", "`region` is"),
        ({"name": "bedrock", "region": "us-east-1\u212a"}, "anthropic", "`region` is"),
        ({"name": "bedrock", "region": ""}, "anthropic", "`region` is ''"),
        ({"name": "foundry", "resource": "evil.example#"}, "anthropic", "`resource` is 'evil.example#'"),
        ({"name": "vertex", "region": "us-east5", "project": "../../evil"}, "anthropic", "`project` is '../../evil'"),
        ({"name": "aws", "region": "us-east-1", "workspace": "a/b"}, "anthropic", "`workspace` is 'a/b'"),
        ({"name": "azure-deployments", "resource": "r", "api_version": "1&x=2"}, "azure", "`api_version` is '1&x=2'"),
    ],
)  # fmt: skip
def test_what_names_no_place(fields: dict[str, str], provider: str, said: str) -> None:
    """One line that says what to write, before anything is sent; nothing in a field gets out of its part of the URL."""
    with pytest.raises(ConfigError) as raised:
        find_platform(Platform(**fields), provider)
    assert said in str(raised.value)


@pytest.mark.parametrize("model_id", ["..", "."])
def test_a_model_leads_nowhere_else(model_id: str) -> None:
    """An HTTP client takes two dots in a path for the way up."""
    platform = Platform(name="azure-deployments", resource="r", api_version="x")
    with pytest.raises(ConfigError, match=r"^`model_id` is '\.+', expected the name of a model or a deployment$"):
        address_of(find_platform(platform, "azure"), platform, model_id)


def test_an_address_of_ones_own_needs_no_resource() -> None:
    """A private endpoint, say, or another cloud of Azure's; what stands in a path is needed all the same."""
    assert find_platform(Platform(name="foundry"), "anthropic", "https://claude.internal").name == "foundry"
    with pytest.raises(ConfigError, match="vertex without `region`"):
        find_platform(Platform(name="vertex", project="p"), "anthropic", "https://claude.internal")


def test_the_rows_say_where_they_come_from() -> None:
    """Each names its class of the SDK, and what it takes exists."""
    import anthropic
    import openai

    for row in PLATFORMS.values():
        assert len(row.source) > 15
        assert hasattr(anthropic if row.provider == "anthropic" else openai, row.client)
        assert {*row.needs, *row.takes, *row.arguments.values()} <= set(Platform.__struct_fields__)


@pytest.mark.parametrize(
    ("platform", "model_id", "plain", "everywhere"),
    [
        ("bedrock", "anthropic.claude-sonnet-5-5", "claude-sonnet-5-5", False),
        ("bedrock", "us.anthropic.claude-opus-4-6-v1", "claude-opus-4-6", False),
        ("bedrock", "eu.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5-20250929", False),
        ("bedrock", "global.anthropic.claude-haiku-4-5-20251001-v1:0", "claude-haiku-4-5-20251001", True),
        ("bedrock", f"{ARN}:123456789012:inference-profile/global.anthropic.claude-opus-5", "claude-opus-5", True),
        ("bedrock", f"{ARN}::foundation-model/anthropic.claude-opus-5", "claude-opus-5", False),
        ("bedrock", "claude-opus-5", "claude-opus-5", False),
        ("bedrock", "x.anthropic.claude-opus-5", "x.anthropic.claude-opus-5", False),
        ("vertex", "claude-sonnet-4-5@20250929", "claude-sonnet-4-5@20250929", False),
        ("foundry", "claude-opus-5", "claude-opus-5", True),
    ],
)  # fmt: skip
def test_what_a_platforms_id_names(platform: str, model_id: str, plain: str, everywhere: bool) -> None:
    """The vendor's own id, and whether the model may run anywhere, which costs less."""
    row = PLATFORMS[platform, "anthropic"]
    region = None if platform == "foundry" else "us-east5"
    assert sold_model(row, Platform(name=platform, region=region), model_id) == SoldModel(plain, everywhere)
