"""Models at a platform in models.json: their price is the platform's by region, never the vendor's own."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from models_files import written
from penstock import ConfigError, ModelsConfig, Platform, UsageChunk, calculate_cost, load_models, open_provider
from penstock.cli.commands import places
from penstock.cli.free_checks import key_of
from penstock.config.catalog import catalog, known_info, undated
from penstock.config.platforms import catalog_info, platform_prices
from penstock.config.retiring import retirement_of
from penstock.core.cost import Meter
from penstock.wire.platforms import PLATFORMS, sold_model

BEDROCK: dict[str, Any] = {"name": "bedrock", "region": "eu-central-1"}
VERTEX: dict[str, Any] = {"name": "vertex", "project": "p"}
GOOGLE: dict[str, Any] = {"name": "google-cloud", "project": "p"}
AWS: dict[str, Any] = {"name": "aws", "region": "eu-west-1", "workspace": "w"}


def file_of(model_id: str, *, provider: str = "anthropic", **config: Any) -> ModelsConfig:
    """A models.json with this one model."""
    entry = {"provider": provider, "providerConfig": {"modelId": model_id, **config}}
    return load_models(written({"active": "mine", "models": {"mine": entry}}))


def opened(provider: str, model_id: str, platform: dict[str, Any], **config: Any) -> Any:
    """The provider that such a file opens."""
    config = {"apiKey": "key-canary-0123456789", "platform": platform, **config}
    return open_provider(models=file_of(model_id, provider=provider, **config))


@pytest.mark.parametrize(("provider", "model_id", "platform", "price"), [
    pytest.param("anthropic", "global.anthropic.claude-sonnet-5-5", BEDROCK, "2", id="Bedrock, anywhere"),
    pytest.param("anthropic", "eu.anthropic.claude-sonnet-5-5", BEDROCK, "2.2", id="Bedrock, in Europe"),
    pytest.param("anthropic", "anthropic.claude-sonnet-5-5", BEDROCK, "2.2", id="Bedrock, in its region"),
    pytest.param("anthropic", "us.anthropic.claude-haiku-4-5-20251001-v1:0", BEDROCK, "1.1", id="a dated id"),
    pytest.param("anthropic", "arn:aws:bedrock:us-east-1:1:inference-profile/global.anthropic.claude-opus-5",
                 BEDROCK, "5", id="an ARN"),
    pytest.param("anthropic", "arn:aws:bedrock:us-east-1:1:application-inference-profile/x", BEDROCK, None,
                 id="one's own ARN"),
    pytest.param("anthropic", "anthropic.claude-opus-4-1-20250805-v1:0", BEDROCK, "15", id="before regions cost more"),
    pytest.param("anthropic", "anthropic.claude-mythos-preview", BEDROCK, None, id="a model that nobody priced there"),
    pytest.param("openai", "openai.gpt-6.1-sol", BEDROCK, "2.2", id="GPT on Bedrock"),
    pytest.param("openai", "global.openai.gpt-6.1-sol", BEDROCK, "2", id="GPT on Bedrock, anywhere"),
    pytest.param("anthropic", "claude-sonnet-5-5", {**VERTEX, "region": "global"}, "2", id="Vertex, anywhere"),
    pytest.param("anthropic", "claude-sonnet-5-5", {**VERTEX, "region": "eu"}, "2.2", id="Vertex, in Europe"),
    pytest.param("anthropic", "claude-sonnet-4-5@20250929", {**VERTEX, "region": "us-east5"}, "3.3",
                 id="Vertex, a dated id"),
    pytest.param("anthropic", "claude-sonnet-5", {**VERTEX, "region": "us-east5"}, None, id="Vertex, not in the list"),
    pytest.param("openai", "gpt-6.1-sol", {**VERTEX, "region": "global"}, None, id="GPT on Vertex"),
    pytest.param("google", "google/gemini-3.8-flash", {**VERTEX, "region": "global"}, None, id="Gemini on Vertex"),
    pytest.param("anthropic", "claude-sonnet-5-5", AWS, "2", id="AWS bills list prices wherever the host is"),
    pytest.param("anthropic", "claude-sonnet-5-5", {"name": "foundry", "resource": "r"}, "2", id="Foundry as well"),
    pytest.param("anthropic", "claude-haiku-4-5", {"name": "foundry", "resource": "r", "region": "us"}, None,
                 id="a data zone"),
    pytest.param("anthropic", "my-deployment", {"name": "foundry", "resource": "r"}, None,
                 id="a deployment of another name"),
    pytest.param("anthropic", "claude-sonnet-5-5", {**GOOGLE, "region": "global", "workspace": "w"}, None,
                 id="Google Cloud, whose prices nobody states"),
    pytest.param("azure", "gpt-6.1-sol", {"name": "azure", "resource": "r"}, None, id="Azure"),
])  # fmt: skip
def test_the_price_of_a_model_at_a_platform(
    provider: str, model_id: str, platform: dict[str, Any], price: str | None
) -> None:
    """By platform, by what its id or its region says of where it runs, and by the model; None where nobody knows."""
    info = opened(provider, model_id, platform).get_model().info
    assert info.input_price == (None if price is None else Decimal(price))
    assert (info.output_price is None) == (price is None)
    assert info.regional_factor is None


def test_limits_and_traits_are_the_models_own() -> None:
    """They are the same wherever it runs; nothing of the vendor's own prices is left, of whatever kind."""
    info = catalog_info("anthropic", "eu.anthropic.claude-sonnet-5-5", Platform(**BEDROCK))
    direct = known_info("anthropic", "claude-sonnet-5-5", catalog())
    assert info is not None
    assert direct is not None
    assert (info.context_window, info.max_tokens, info.efforts) == (
        direct.context_window,
        direct.max_tokens,
        direct.efforts,
    )
    assert (info.variants, info.changes, info.web_search_price) == ({}, (), None)
    unpriced = catalog_info("anthropic", "anthropic.claude-mythos-preview", Platform(**BEDROCK))
    assert unpriced is not None
    assert unpriced.context_window is not None
    assert (unpriced.input_price, unpriced.variants, unpriced.prices_as_of) == (None, {}, None)


def test_a_data_zone_costs_what_the_vendor_takes_in_one_country() -> None:
    """Where the catalogue knows that: a tenth more."""
    zone = catalog_info("anthropic", "claude-fable-5-1", Platform(name="foundry", resource="r", region="us"))
    assert zone is not None
    assert (zone.input_price, zone.output_price) == (Decimal(11), Decimal(55))


def test_the_entrys_own_prices_count_before_all() -> None:
    """As for any model, and for no other: what is known of a model at one platform says nothing of it elsewhere."""
    own = {"inputPrice": 7, "outputPrice": 9}
    provider = opened("anthropic", "anthropic.claude-sonnet-5-5", BEDROCK, modelInfo=own)
    assert provider.get_model().info.input_price == 7
    assert provider.find_info("claude-sonnet-5-5") is None
    models = file_of("claude-sonnet-5-5", platform=BEDROCK, modelInfo=own)
    assert known_info("anthropic", "claude-sonnet-5-5", models) is None
    assert known_info("anthropic", "claude-sonnet-5-5", models, Platform(**BEDROCK)) is not None


def test_a_model_that_answers_under_its_plain_name_keeps_its_place() -> None:
    """The answer does not say where it ran; what was asked for does."""
    for asked, price in (
        ("global.anthropic.claude-sonnet-5-5", "0.000002"),
        ("eu.anthropic.claude-sonnet-5-5", "0.0000022"),
    ):
        provider = opened("anthropic", asked, BEDROCK)
        day = platform_prices()["bedrock"].prices_as_of
        meter = Meter(provider.get_model().info, day, model_id=asked, find_info=provider.find_info)
        meter.answered("claude-sonnet-5-5")
        assert meter.price(UsageChunk(input_tokens=1), None) == Decimal(price)


@pytest.mark.parametrize("asked", ["global.anthropic.claude-sonnet-5-5", "eu.anthropic.claude-sonnet-5-5"])
def test_a_name_that_says_where_it_runs_is_believed(asked: str) -> None:
    """As a list has them: whatever the provider itself asks for."""
    find = opened("anthropic", asked, BEDROCK).find_info
    prices = {
        "global.anthropic.claude-opus-5-5": "4",
        "us.anthropic.claude-opus-5-5": "4.4",
        "anthropic.claude-opus-5-5": "4.4",
    }
    assert {name: find(name).input_price for name in prices} == {name: Decimal(price) for name, price in prices.items()}


SIZES = [(1_000, 500, 0, 0), (300_000, 0, 20_000, 10_000)]
"""Tokens of a call: its prompt, its answer, and what of the prompt was read from a cache and written to one."""


def priced_by_genai(platform: str) -> Iterator[tuple[str, str, Platform]]:
    """The models of genai-prices that a platform sells of these makers, as it names them, with maker and place."""
    data = pytest.importorskip("genai_prices.data")
    for provider in data.providers:
        for model in provider.models:
            if provider.id == "aws" and platform == "bedrock":
                bare = model.id.removeprefix("regional.")
                maker = bare.removeprefix("global.").partition(".")[0]
                if maker in ("anthropic", "openai") and "gpt-oss" not in bare:
                    yield maker, bare, Platform(**BEDROCK)
            elif provider.id == "google" and platform == "vertex" and model.id.startswith("claude"):
                name = {"claude-4-opus": "claude-opus-4", "claude-4-sonnet": "claude-sonnet-4"}.get(model.id, model.id)
                yield "anthropic", name, Platform(**VERTEX, region="global")


@pytest.mark.parametrize("name", platform_prices())
def test_the_prices_are_those_of_genai_prices(name: str) -> None:
    """Each model's, in both classes of regions, for short calls and for long ones."""
    genai = pytest.importorskip("genai_prices")
    day = dt.datetime.combine(platform_prices()[name].prices_as_of, dt.time(12), dt.UTC)
    compared = set()
    for maker, model_id, platform in priced_by_genai(name):
        info = catalog_info(maker, model_id, platform)
        assert info is not None, model_id
        for prompt, answer, read, wrote in SIZES:
            usage = genai.Usage(
                input_tokens=prompt, output_tokens=answer, cache_read_tokens=read, cache_write_tokens=wrote
            )
            provider = "aws" if name == "bedrock" else "google"
            theirs = genai.calc_price(usage, model_id, provider_id=provider, genai_request_timestamp=day)
            ours = UsageChunk(
                input_tokens=prompt - read - wrote,
                output_tokens=answer,
                cache_read_tokens=read,
                cache_write_tokens=wrote,
            )
            cost = calculate_cost(ours, info, on=day)
            # What has no price is counted there as ordinary input, which is a guess.
            assert cost == theirs.total_price or (cost is None and wrote), model_id
        compared.add(sold_model(PLATFORMS[name, "anthropic"], platform, model_id).id)
    known = {undated(each)[1] for each in compared}
    # Of the one left over the source says in the row of the model before it that it costs the same.
    assert set(platform_prices()[name].models) - known <= ({"claude-opus-4-1"} if name == "vertex" else set())


@pytest.mark.parametrize(
    ("model_id", "config", "said"),
    [
        pytest.param("claude-opus-4-5", {}, "claude-opus-4-5 retired on 2027-01-22", id="at its vendor"),
        pytest.param("anthropic.claude-opus-4-5", {"platform": BEDROCK}, None, id="where it is still sold"),
        pytest.param(
            "anthropic.claude-opus-4-5",
            {"platform": BEDROCK, "modelInfo": {"retires": {"direct": "2027-01-22", "bedrock": "2027-02-01"}}},
            "anthropic.claude-opus-4-5 retired on 2027-02-01",
            id="on the day of the platform",
        ),
    ],
)
def test_a_model_that_its_vendor_has_retired(model_id: str, config: dict[str, Any], said: str | None) -> None:
    """Elsewhere it may be sold: only a day that is that platform's is told."""
    models = file_of(model_id, **config)
    notice = retirement_of(models.models["mine"], models, dt.date(2027, 2, 10))
    assert notice == said if said is None else str(notice).startswith(said)


@pytest.mark.parametrize(
    ("platform", "said"),
    [
        ({"name": "bedrock"}, "bedrock without `region`"),
        ({"name": "bedrock-runtime", "region": "eu-central-1"}, "name `bedrock`"),
        ({"name": "foundry", "resource": "evil.example/"}, "platform.resource: found 'evil.example/'"),
        ({"name": "bedrock", "region": "eu-central-1", "zone": "a"}, "zone"),
    ],
)
def test_a_wrong_platform_is_told_by_its_place_in_the_file(platform: dict[str, str], said: str) -> None:
    """When the file is read."""
    with pytest.raises(ConfigError) as raised:
        opened("anthropic", "m", platform)
    assert "$.models.mine.providerConfig.platform" in str(raised.value)
    assert said in str(raised.value)


def test_a_model_that_leads_out_of_the_path_is_told_by_its_place() -> None:
    """When the file is read, and not by each command that shows an address."""
    platform = {"name": "azure-deployments", "resource": "r", "apiVersion": "x"}
    with pytest.raises(ConfigError, match=r"\$\.models\.mine\.providerConfig\.platform: `model_id` is '\.\.'"):
        opened("azure", "..", platform)


def test_the_command_line_says_which_host_is_asked() -> None:
    """The platform's, and an address of one's own in its place."""
    for more, host in (
        ({}, "https://bedrock-mantle.eu-central-1.api.aws/anthropic"),
        ({"baseUrl": "https://x"}, "https://x"),
    ):
        assert places(file_of("m", platform=BEDROCK, **more), None)[1] == f"asking {host}"


@pytest.mark.parametrize(
    ("variables", "said", "works"),
    [
        ({"AWS_BEARER_TOKEN_BEDROCK": "k"}, "from AWS_BEARER_TOKEN_BEDROCK", True),
        ({"ANTHROPIC_API_KEY": "k"}, "none is set: the identity of this machine asks", None),
    ],
)
def test_doctor_says_who_asks(
    variables: dict[str, str], said: str, works: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The vendor's own key is for the vendor alone."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    finding = key_of(file_of("m", platform=BEDROCK), "mine")
    assert (finding.said, finding.works) == (said, works)
