"""The platforms side by side, each with the APIs that it has, for what must hold on each of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import pytest

from penstock import AnthropicProvider, BaseProvider, OpenAIProvider, Platform, ProviderConfig
from penstock.core.dialect import Wire
from penstock.testing import Request
from reading import PRICED

__all__ = ["CASES", "IDENTITY", "KEY", "TOKEN", "Case", "carried", "each_case"]

KEY: Final = "key-canary-0123456789"
TOKEN: Final = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJjYW5hcnkifQ.signature-canary"
IDENTITY: Final = {
    "AWS_ACCESS_KEY_ID": "AKIACANARY0123456789",
    "AWS_SECRET_ACCESS_KEY": "secret/canary+0123456789",
    "AWS_SESSION_TOKEN": "session/canary+0123456789==",
}


class Case(NamedTuple):
    """A platform with one of a vendor's APIs. under: what stands before the path. key: the header that carries one."""

    platform: Platform
    provider: str
    wire: Wire
    path: str
    key: str = "authorization"
    also: Mapping[str, str] = {}

    def provider_at(self, url: str, **config: Any) -> BaseProvider:
        """One that asks the server at *url*."""
        settings: dict[str, Any] = {"model_id": "model-x", "model_info": PRICED, "platform": self.platform}
        made = AnthropicProvider if self.wire == "messages" else OpenAIProvider
        return made(ProviderConfig(base_url=url, wire=self.wire, **(settings | config)), self.provider)


GOOGLE: Final[dict[str, Any]] = {"name": "vertex", "project": "my-project", "region": "us-east5"}
MANTLE: Final = Platform(name="bedrock", region="eu-central-1")
CASES: Final = {
    "Foundry": Case(Platform(name="foundry", resource="mine"), "anthropic", "messages", "/v1/messages", "x-api-key"),
    "Bedrock": Case(MANTLE, "anthropic", "messages", "/v1/messages"),
    "Claude on AWS": Case(
        Platform(name="aws", region="eu-west-1", workspace="wrkspc_1"),
        "anthropic",
        "messages",
        "/v1/messages",
        "x-api-key",
        {"anthropic-workspace-id": "wrkspc_1"},
    ),
    "Claude on Google Cloud": Case(
        Platform(name="google-cloud", project="my-project", region="global", workspace="wrkspc_1"),
        "anthropic",
        "messages",
        "/v1/messages",
    ),
    "Claude on Vertex": Case(
        Platform(**GOOGLE),
        "anthropic",
        "messages",
        "/projects/my-project/locations/us-east5/publishers/anthropic/models/model-x:streamRawPredict",
    ),
    "Azure": Case(Platform(name="azure", resource="mine"), "azure", "responses", "/responses", "api-key"),
    "Azure, chat": Case(Platform(name="azure", resource="mine"), "azure", "chat", "/chat/completions", "api-key"),
    "Azure's deployments": Case(
        Platform(name="azure-deployments", resource="mine", api_version="2025-04-01-preview"),
        "azure",
        "chat",
        "/chat/completions?api-version=2025-04-01-preview",
        "api-key",
    ),
    "GPT on Bedrock": Case(MANTLE, "openai", "responses", "/responses"),
    "GPT on Vertex": Case(Platform(**GOOGLE), "openai", "responses", "/responses"),
    "Gemini on Vertex": Case(Platform(**GOOGLE), "google", "chat", "/chat/completions"),
}
each_case: Final = pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])
CARRIERS: Final = ("authorization", "x-api-key", "api-key")


def carried(request: Request) -> dict[str, str]:
    """The headers of a request that carry a key."""
    return {name: value for name, value in request.headers.items() if name in CARRIERS}
