"""The table of vendors, a user's own row in models.json, and how a vendor's name opens a provider."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

import penstock
from models_files import fits, written
from penstock import (
    AnthropicProvider,
    AuthenticationError,
    ConfigError,
    Message,
    ModelEntry,
    ModelsConfig,
    OpenAIProvider,
    Options,
    ProviderConfig,
    load_models,
    open_provider,
    save_models,
)
from penstock.config.catalog import PROVIDERS, catalog
from penstock.config.models_file import models_schema
from penstock.config.open import resolve
from penstock.core.dialect import Dialect, Wire
from penstock.testing import Emulator, Request, ServerReply, chat_completion, responses_message
from penstock.wire.vendors import DIALECTS, completed, rows_of

OPENAI = rows_of("chat", "responses")
MESSAGES = rows_of("messages")
ROWS = [pytest.param(row, id=row.name) for row in OPENAI]
each_row = pytest.mark.parametrize("row", ROWS)
OWN = "openai-compatible"
LOCAL = ("ollama", "vllm", "llamacpp", "lmstudio", OWN)


@each_row
def test_each_row_says_where_it_comes_from(row: Dialect) -> None:
    """Its name, what was read, its wires, its address or none, its key or that it needs none."""
    assert DIALECTS[row.name] is row
    assert re.fullmatch("[a-z]+(-[a-z]+)?", row.name)
    assert len(row.source) > 15
    assert row.wires
    assert len(set(row.wires)) == len(row.wires)
    assert set(row.wires) <= set(get_args(Wire))
    local = row.name in LOCAL
    if row.base_url is None:
        assert row.name in ("azure", "cloudflare", OWN)
    else:
        assert row.base_url.startswith("http://localhost:" if local else "https://")
        assert not row.base_url.endswith("/")
    assert all(re.fullmatch("[A-Z_]+", name) for name in row.key_variables)
    assert bool(row.key_variables) != (row.name == OWN)
    assert (row.needs_key is False) == (local and row.name != OWN)


def test_no_two_rows_are_of_one_vendor() -> None:
    """Not in name, nor in address, nor in a key: what is sent to one vendor is for that one."""
    rows = OPENAI
    for values in ([row.name for row in rows], [name for row in rows for name in row.key_variables]):
        assert len(set(values)) == len(values)
    addresses = [row.base_url for row in rows if row.base_url is not None]
    assert len(set(addresses)) == len(addresses)


def test_the_vendors_are_the_promised_ones() -> None:
    """Those of the design, in models.json beside Anthropic."""
    promised = """
        openai openrouter xai mistral deepseek groq google ollama vllm llamacpp lmstudio together fireworks cerebras
        azure perplexity vercel venice inception openai-compatible moonshot zai alibaba minimax xiaomi sambanova nvidia
        huggingface github-models baseten deepinfra novita nebius cloudflare copilot
    """
    assert set(promised.split()) == {row.name for row in OPENAI}
    promised = """
        anthropic deepseek-anthropic kimi-anthropic minimax-anthropic zai-anthropic llamacpp-anthropic
        anthropic-compatible
    """
    assert set(promised.split()) == {row.name for row in MESSAGES}
    assert set(PROVIDERS) == set(DIALECTS)


# ../shared/wire.md, D0, 2026-11-21: address, variable, the field of max_tokens, whether usage is asked for.
FACTS: dict[str, tuple[str | None, str | None, str, bool]] = {
    "openai": ("https://api.openai.com/v1", "OPENAI_API_KEY", "max_completion_tokens", True),
    "azure": (None, "AZURE_OPENAI_API_KEY", "max_completion_tokens", True),
    "deepseek": ("https://api.deepseek.com", "DEEPSEEK_API_KEY", "max_tokens", True),
    "xai": ("https://api.x.ai/v1", "XAI_API_KEY", "max_tokens", True),
    "groq": ("https://api.groq.com/openai/v1", "GROQ_API_KEY", "max_completion_tokens", True),
    "openrouter": ("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", "max_tokens", True),
    "mistral": ("https://api.mistral.ai/v1", "MISTRAL_API_KEY", "max_tokens", False),
    "google": ("https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY", "max_tokens", True),
    "ollama": ("http://localhost:11434/v1", "OLLAMA_API_KEY", "max_tokens", True),
    "vllm": ("http://localhost:8000/v1", "VLLM_API_KEY", "max_completion_tokens", True),
    "llamacpp": ("http://localhost:8080/v1", "LLAMA_API_KEY", "max_tokens", True),
    "lmstudio": ("http://localhost:1234/v1", "LM_API_TOKEN", "max_tokens", True),
    "together": ("https://api.together.xyz/v1", "TOGETHER_API_KEY", "max_tokens", True),
    "fireworks": ("https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY", "max_tokens", True),
    "cerebras": ("https://api.cerebras.ai/v1", "CEREBRAS_API_KEY", "max_completion_tokens", True),
    # Read on 2026-11-29 in their documentation; each says something of money in its own way.
    "perplexity": ("https://api.perplexity.ai", "PERPLEXITY_API_KEY", "max_tokens", True),
    "vercel": ("https://ai-gateway.vercel.sh/v1", "AI_GATEWAY_API_KEY", "max_tokens", True),
    "venice": ("https://api.venice.ai/api/v1", "VENICE_API_KEY", "max_tokens", True),
    "inception": ("https://api.inceptionlabs.ai/v1", "INCEPTION_API_KEY", "max_tokens", True),
    # Read on 2026-11-30: in documentation, in recorded answers, or where each row says.
    "moonshot": ("https://api.moonshot.ai/v1", "MOONSHOT_API_KEY", "max_completion_tokens", True),
    "zai": ("https://api.z.ai/api/paas/v4", "ZAI_API_KEY", "max_tokens", True),
    "alibaba": ("https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "DASHSCOPE_API_KEY", "max_tokens", True),
    "minimax": ("https://api.minimax.io/v1", "MINIMAX_API_KEY", "max_completion_tokens", True),
    "xiaomi": ("https://api.xiaomimimo.com/v1", "MIMO_API_KEY", "max_completion_tokens", False),
    "sambanova": ("https://api.sambanova.ai/v1", "SAMBANOVA_API_KEY", "max_tokens", True),
    "nvidia": ("https://integrate.api.nvidia.com/v1", "NVIDIA_API_KEY", "max_tokens", True),
    "baseten": ("https://inference.baseten.co/v1", "BASETEN_API_KEY", "max_tokens", True),
    "deepinfra": ("https://api.deepinfra.com/v1/openai", "DEEPINFRA_API_KEY", "max_tokens", True),
    "novita": ("https://api.novita.ai/openai", "NOVITA_API_KEY", "max_tokens", True),
    "nebius": ("https://api.tokenfactory.nebius.com/v1", "NEBIUS_API_KEY", "max_tokens", True),
    "cloudflare": (None, "CLOUDFLARE_API_TOKEN", "max_tokens", True),
    "huggingface": ("https://router.huggingface.co/v1", "HF_TOKEN", "max_tokens", True),
    "github-models": ("https://models.github.ai/inference", "GITHUB_TOKEN", "max_tokens", True),
    "copilot": ("https://api.githubcopilot.com", "GITHUB_COPILOT_API_KEY", "max_tokens", True),
    OWN: (None, None, "max_tokens", True),
}


@each_row
def test_the_facts_of_each_row(row: Dialect) -> None:
    """As they were found out, beside the table that uses them."""
    field = row.option_fields.get("max_tokens", "max_completion_tokens")
    first = next(iter(row.key_variables), None)
    assert (row.base_url, first, field, row.stream_usage) == FACTS[row.name]


def test_the_table_cannot_be_changed() -> None:
    """Nobody can make one program's vendor another's."""
    table: Any = DIALECTS
    with pytest.raises(TypeError):
        table["openai"] = Dialect()
    row: Any = DIALECTS["openai"]
    with pytest.raises(AttributeError):
        row.base_url = "http://elsewhere"


BASE = DIALECTS[OWN]


@pytest.mark.parametrize(
    ("own", "differs"),
    [
        pytest.param(Dialect(), {}, id="nothing said is an unknown server"),
        pytest.param(Dialect(name="mine"), {"name": "mine"}, id="a name"),
        pytest.param(Dialect(base_url="http://a/v1"), {"base_url": "http://a/v1"}, id="an address"),
        pytest.param(Dialect(stream_usage=False), {"stream_usage": False}, id="what differs from both"),
        pytest.param(Dialect(needs_key=True), {"needs_key": True}, id="a key is needed"),
        pytest.param(Dialect(key_variables=["MY_KEY"]), {"key_variables": ["MY_KEY"]}, id="the variable of its key"),
        pytest.param(
            Dialect(key_variables=["OPENAI_API_KEY"]), {"key_variables": ["OPENAI_API_KEY"]}, id="OpenAI's, on purpose"
        ),
        pytest.param(Dialect(wires=["responses", "chat"]), {"wires": ["responses", "chat"]}, id="OpenAI's own order"),
        pytest.param(
            Dialect(chat_efforts=["minimal", "low", "medium", "high", "xhigh"]),
            {"chat_efforts": ["minimal", "low", "medium", "high", "xhigh"]},
            id="OpenAI's own efforts",
        ),
        pytest.param(
            Dialect(option_fields={"seed": "random_seed", "top_k": None}),
            {"option_fields": {"max_tokens": "max_tokens", "user": "user", "seed": "random_seed", "top_k": None}},
            id="fields are laid over those of the unknown server",
        ),
        pytest.param(Dialect(reasoning_off=None), {"reasoning_off": None}, id="no way to turn reasoning off"),
        pytest.param(Dialect(call_id_length=9), {"call_id_length": 9}, id="ids of a length"),
        pytest.param(Dialect(cache="top_level"), {"cache": "top_level"}, id="a cache to be marked"),
    ],
)
def test_a_users_row_is_completed(own: Dialect, differs: dict[str, Any]) -> None:
    """What it leaves out is as at a server of which nothing is known; what it says counts, also where OpenAI has it."""
    row = completed(own)
    assert row == msgspec.structs.replace(BASE, **differs)
    assert completed(row) == row, "once is enough"
    again = completed(msgspec.json.decode(msgspec.json.encode(own), type=Dialect))
    assert msgspec.to_builtins(again) == msgspec.to_builtins(row), "written down and read again it is the same"


@each_row
def test_a_row_of_the_table_is_complete_already(row: Dialect) -> None:
    """Given as it is, it stays what it is: its key, its wires, its name."""
    assert completed(row) is row
    config = ProviderConfig(model_id="m", base_url="http://127.0.0.1:9/v1")
    by_name, by_row = OpenAIProvider(config, row.name), OpenAIProvider(config, row)
    assert by_name._dialect is by_row._dialect is row


def own_entry(dialect: object, **config: object) -> dict[str, object]:
    entry = {"provider": OWN, "providerConfig": {"modelId": "m", **config}, "dialect": dialect}
    return {"active": "mine", "models": {"mine": entry}}


def test_a_row_of_ones_own_in_models_json() -> None:
    """It is read, fits the schema, opens its provider with what it says, and is written back as it was."""
    dialect = {
        "name": "mine",
        "baseUrl": "http://127.0.0.1:9/v1",
        "keyVariables": ["MY_KEY"],
        "wires": ["responses", "chat"],
        "optionFields": {"top_k": None, "reasoning_budget": "thinking.budget"},
        "reasoningOff": {"thinking": {"type": "off"}},
        "toolChoices": ["auto"],
        "chatEfforts": None,
    }
    document = own_entry(dialect)
    file = written(document)
    schema = models_schema()
    assert fits(document, schema, schema["$defs"])
    provider = open_provider()
    assert isinstance(provider, OpenAIProvider)
    row = provider._dialect
    assert (row.name, row.wires, row.needs_key, row.cache) == ("mine", ["responses", "chat"], None, None)
    assert row.option_fields == {"max_tokens": "max_tokens", "user": "user", **dialect["optionFields"]}  # type: ignore[dict-item]
    assert provider._wire == "responses"
    save_models(load_models(file))
    assert json.loads(file.read_bytes())["models"]["mine"]["dialect"]["optionFields"] == dialect["optionFields"]
    again = open_provider()
    assert isinstance(again, OpenAIProvider)
    assert (again._dialect.option_fields, again._wire) == (row.option_fields, "responses")


HERE = "$.models.mine"
WRONG_ROWS: list[Any] = [
    pytest.param(
        {"baseURL": "x"}, f"{HERE}.dialect", ['unknown key "baseURL"', "mean 'baseUrl'?"], id="a key in capitals"
    ),
    pytest.param(
        {"base_url": "x"}, f"{HERE}.dialect", ['unknown key "base_url"', "mean 'baseUrl'?"], id="Python's name"
    ),
    pytest.param({"keyVariable": "x"}, f"{HERE}.dialect", ["mean 'keyVariables'?"], id="one for several"),
    pytest.param(
        {"xyzzy": 1}, f"{HERE}.dialect", ["unknown key", "expected one of: name, source, baseUrl"], id="no key"
    ),
    pytest.param({"wires": []}, f"{HERE}.dialect.wires", ["length >= 1"], id="no wire"),
    pytest.param(
        {"wires": ["chta"]},
        f"{HERE}.dialect.wires[0]",
        ["one of: chat, messages, responses", "mean 'chat'?"],
        id="a wire",
    ),
    pytest.param(
        {"toolChoices": ["always"]},
        f"{HERE}.dialect.toolChoices[0]",
        ["expected one of: auto, named, none"],
        id="a choice",
    ),
    pytest.param({"cache": "toplevel"}, f"{HERE}.dialect.cache", ["did you mean 'top_level'?"], id="a cache"),
    pytest.param({"reasoningEcho": "text"}, f"{HERE}.dialect.reasoningEcho", ["reasoning_content"], id="an echo"),
    pytest.param({"name": ""}, f"{HERE}.dialect.name", ["length >= 1"], id="no name"),
    pytest.param({"needsKey": "yes"}, f"{HERE}.dialect.needsKey", ["`bool | null`"], id="a word for a truth"),
    pytest.param(
        {"baseUrl": "localhost:8000"}, f"{HERE}.dialect.baseUrl", ["localhost:8000", "begins with http://"], id="no URL"
    ),
    pytest.param(
        {"callIdLength": 3}, f"{HERE}.dialect.callIdLength", ["found 3, expected 8 to 64"], id="too short ids"
    ),
    pytest.param(
        {"callIdLength": 65}, f"{HERE}.dialect.callIdLength", ["found 65, expected 8 to 64"], id="too long ids"
    ),
    pytest.param({"longestCallId": 5}, f"{HERE}.dialect.longestCallId", ["found 5, expected 16 to 64"], id="no room"),
    *(
        pytest.param(
            {"optionFields": {name: "x"}},
            f"{HERE}.dialect.optionFields",
            [f"a mapping with '{name}', expected only: max_tokens, temperature", f"did you mean '{near}'?"],
            id=f"an option that is none: {name}",
        )
        for name, near in (("topK", "top_k"), ("maxTokens", "max_tokens"), ("reasoning_budgets", "reasoning_budget"))
    ),
    *(
        pytest.param(
            {"optionFields": {name: "x"}}, f"{HERE}.dialect.optionFields", [f"with '{name}'"], id=f"no field of {name}"
        )
        for name in ("tools", "tool_choice", "cache", "deadlines", "extra")
    ),
    pytest.param({"optionFields": {"top_k": 5}}, f"{HERE}.dialect.optionFields.top_k", ["`str | null`"], id="a number"),
]


@pytest.mark.parametrize(("dialect", "path", "said"), WRONG_ROWS)
def test_a_wrong_row_is_explained(dialect: dict[str, Any], path: str, said: list[str]) -> None:
    """With file, place, what was found, what was expected and the nearest."""
    file = written(own_entry(dialect, baseUrl="http://127.0.0.1:9"))
    with pytest.raises(ConfigError) as caught:
        load_models()
    assert (caught.value.file, caught.value.path) == (file, path)
    assert [words for words in said if words not in str(caught.value)] == []


@pytest.mark.parametrize("provider", [name for name in PROVIDERS if not name.endswith("-compatible")])
def test_only_the_unknown_server_has_a_row_of_ones_own(provider: str) -> None:
    """For a vendor of the table it would be a second truth."""
    document = own_entry({"name": "mine"}, baseUrl="http://127.0.0.1:9")
    document["models"]["mine"]["provider"] = provider  # type: ignore[index]
    file = written(document)
    with pytest.raises(ConfigError, match="only the providers openai-compatible and anthropic") as caught:
        load_models()
    assert (caught.value.file, caught.value.path) == (file, f"{HERE}.dialect")


@pytest.mark.parametrize(
    ("dialect", "said"),
    [
        pytest.param("opnai", "unknown dialect 'opnai', expected one of: openai, azure, deepseek", id="the known ones"),
        pytest.param("open-ai", "; did you mean 'openai'?", id="and the nearest"),
        pytest.param("anthropic", "; it speaks another API", id="Anthropic has a provider of its own"),
        pytest.param(None, "unknown dialect None", id="none at all"),
    ],
)
def test_an_unknown_vendor_is_refused(dialect: Any, said: str) -> None:
    """A ConfigError with the list of the known ones."""
    with pytest.raises(ConfigError) as caught:
        OpenAIProvider(ProviderConfig(model_id="m"), dialect)
    assert said in caught.value.message
    assert all(row.name in caught.value.message for row in OPENAI)


@each_row
def test_an_unknown_wire_is_refused(row: Dialect) -> None:
    """With those that the vendor has, in Python as in models.json."""
    wrong: Any = "chta"
    config = ProviderConfig(model_id="m", wire=wrong, base_url="http://127.0.0.1:9")
    with pytest.raises(ConfigError) as caught:
        OpenAIProvider(config, row.name)
    said = f"`wire` is 'chta', but {row.name} has {' and '.join(row.wires)}; did you mean 'chat'?"
    assert caught.value.message == said
    for wire in set(get_args(Wire)) - set(row.wires):
        document = own_entry(None, wire=wire, baseUrl="http://127.0.0.1:9")
        document["models"]["mine"] |= {"provider": row.name}  # type: ignore[index]
        file = written(document)
        with pytest.raises(ConfigError, match=f"{row.name} has no wire '{wire}', expected {row.wires[0]}") as caught:
            load_models()
        assert (caught.value.file, caught.value.path) == (file, f"{HERE}.providerConfig.wire")


def test_a_wire_that_the_own_row_does_not_have_is_refused() -> None:
    """The row that counts is the user's."""
    written(own_entry({"wires": ["chat"]}, wire="responses", baseUrl="http://127.0.0.1:9"))
    with pytest.raises(ConfigError, match="openai-compatible has no wire 'responses', expected chat"):
        load_models()


@pytest.mark.parametrize("vendor", ["azure", OWN])
def test_without_an_address_it_is_refused(vendor: str) -> None:
    """Where there is no usual one; in models.json with its place."""
    with pytest.raises(ConfigError, match=f"`base_url` is not set, and {vendor} has no usual one"):
        OpenAIProvider(ProviderConfig(model_id="m"), vendor)
    file = written({"active": "mine", "models": {"mine": {"provider": vendor, "providerConfig": {"modelId": "m"}}}})
    with pytest.raises(ConfigError, match=f"{vendor} has no usual one: give it, with its /v1") as caught:
        load_models()
    assert (caught.value.file, caught.value.path) == (file, f"{HERE}.providerConfig.baseUrl")
    with pytest.raises(ConfigError, match="has no usual one"):
        open_provider(f"{vendor}/my-model")


OPENED: list[Any] = [
    pytest.param("gpt", "openai", "responses", "gpt-6.1-sol", id="an alias"),
    pytest.param("deepseek", "deepseek", "chat", "deepseek-flash", id="a vendor's name"),
    pytest.param("grok", "xai", "chat", "grok-4.7", id="another alias"),
    pytest.param("gpt-5.4-mini", "openai", "responses", "gpt-5.4-mini", id="a model of the catalogue"),
    pytest.param("ollama/qwen3:8b", "ollama", "chat", "qwen3:8b", id="a vendor and a model"),
    pytest.param("openrouter/openai/gpt-oss-120b", "openrouter", "chat", "openai/gpt-oss-120b", id="with more slashes"),
    pytest.param("vllm/Qwen/Qwen3-8B", "vllm", "chat", "Qwen/Qwen3-8B", id="as Hugging Face writes them"),
    pytest.param("openai/gpt-5.4", "openai", "responses", "gpt-5.4", id="a known model in the long form"),
]


@pytest.mark.parametrize(("name", "vendor", "wire", "model_id"), OPENED)
def test_a_name_opens_its_model(name: str, vendor: str, wire: str, model_id: str) -> None:
    """Without any file, by an alias of the catalogue or as VENDOR/MODEL; what the catalogue knows is known."""
    provider = open_provider(name)
    assert isinstance(provider, OpenAIProvider)
    assert (provider._dialect.name, provider._wire, provider.get_model().id) == (vendor, wire, model_id)
    by_id = catalog().models.get(model_id)
    known = by_id is not None and by_id.provider == vendor
    assert (provider.get_model().info.input_price is not None) == (known or DIALECTS[vendor].is_free)


def test_a_vendor_and_a_model_of_anthropic() -> None:
    """The other provider opens in the same way."""
    provider = open_provider("anthropic/claude-opus-5-5")
    assert isinstance(provider, AnthropicProvider)
    assert provider.get_model().info == catalog().models["claude-opus-5-5"].provider_config.model_info


@pytest.mark.parametrize(
    ("name", "said"),
    [
        pytest.param("olama/qwen3:8b", "did you mean 'ollama/qwen3:8b'?", id="a vendor nearly right"),
        pytest.param("deepsek", "did you mean 'deepseek'?", id="an alias nearly right"),
        pytest.param("gpt-5.5-prp", "did you mean 'gpt-5.5-pro'?", id="a model nearly right"),
        pytest.param("ollama/", "the model is missing after the slash, write ollama/MODEL-ID", id="no model"),
        pytest.param("vllm", "vllm is a provider, write vllm/MODEL-ID", id="a vendor alone"),
        pytest.param("GPT-Mini", "did you mean 'gpt-mini'?", id="capital letters"),
        pytest.param("", "leave it out for the active model", id="an empty word"),
        pytest.param("/qwen3", "and PROVIDER/MODEL-ID names any model", id="no vendor"),
        pytest.param("nobody/qwen3", "and PROVIDER/MODEL-ID names any model", id="nobody's model"),
    ],
)
def test_a_name_that_opens_nothing(name: str, said: str) -> None:
    """Says what would."""
    with pytest.raises(ConfigError) as caught:
        open_provider(name)
    assert said in caught.value.message
    assert f'no model has the alias "{name}"' in caught.value.message


def test_a_name_of_the_file_comes_first() -> None:
    """An alias may look like a vendor and a model."""
    config = ProviderConfig(model_id="m", base_url="http://127.0.0.1:9")
    entry = ModelEntry(provider="llamacpp", provider_config=config)
    models = ModelsConfig(active="ollama/qwen3:8b", models={"ollama/qwen3:8b": entry})
    assert resolve("ollama/qwen3:8b", models=models) == entry
    assert resolve(models=models).provider == "llamacpp"


SECRET = "sk-canary-0123456789abcdef"
ASK = [Message("user", "Hi")]
# Headers and variables that mean something to OpenAI's SDK, and must not to anybody but OpenAI.
OPENAIS: Mapping[str, str] = {
    "OPENAI_API_KEY": "sk-openai-0123456789abcdef",
    "OPENAI_ADMIN_KEY": "sk-admin-0123456789abcdef",
    "OPENAI_ORG_ID": "org-mine",
    "OPENAI_PROJECT_ID": "proj-mine",
    "OPENAI_WEBHOOK_SECRET": "whsec-mine",
    "OPENAI_CUSTOM_HEADERS": "X-Team: core\nX-Other: b\nAuthorization: Bearer sk-custom-0123456789",
    "OPENAI_BASE_URL": "http://127.0.0.1:9/never",
}


def answer(request: Request) -> ServerReply:
    said = {"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}
    return ServerReply(chat_completion(text="Hi") if "chat" in request.path else responses_message(said))


async def asked(vendor: str | Dialect, **config: Any) -> Request:
    """The request that a provider of this vendor makes."""
    async with Emulator(answer) as emulator:
        settings: dict[str, Any] = {"model_id": "m", "base_url": emulator.url, **config}
        provider = OpenAIProvider(ProviderConfig(**settings), vendor)
        async with provider, provider.stream("", ASK, Options(cache="off")) as chunks:
            assert [chunk async for chunk in chunks]
    (request,) = emulator.requests
    return request


def carried(request: Request) -> dict[str, str]:
    """The headers that say who asks."""
    known = ("authorization", "api-key", "openai-organization", "openai-project", "x-team", "x-other")
    return {name: value for name, value in request.headers.items() if name in known}


@pytest.mark.anyio
@each_row
async def test_the_key_is_found_in_the_rows_variable(row: Dialect, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first that is set, an empty one is none, the config's comes before all; and it goes where the row says."""

    def header(key: str) -> dict[str, str]:
        return {row.key_header: key} if row.key_header else {"authorization": f"Bearer {key}"}

    assert carried(await asked(row.name, api_key=SECRET)) == header(SECRET)
    for number, variable in enumerate(row.key_variables):
        for other in row.key_variables[:number]:
            monkeypatch.setenv(other, "")
        monkeypatch.setenv(variable, f"{SECRET}-{number}")
        assert carried(await asked(row.name)) == header(f"{SECRET}-{number}")
        assert carried(await asked(row.name, api_key=SECRET)) == header(SECRET)


@pytest.mark.anyio
@each_row
async def test_a_missing_key_is_named(row: Dialect) -> None:
    """Before anything is sent; a server of one's own needs none."""
    if row.name in LOCAL:
        assert carried(await asked(row.name)) == {"authorization": "Bearer none"}
        return
    async with Emulator(answer) as emulator:
        provider = OpenAIProvider(ProviderConfig(model_id="m", base_url=emulator.url), row.name)
        with pytest.raises(AuthenticationError) as caught:
            await anext(provider.create_message("", ASK))
    names = " or ".join(row.key_variables)
    assert caught.value.message == f"there is no API key: set {names}, or give one in the config"
    assert (caught.value.vendor, caught.value.status) == (row.name, None)
    assert not emulator.requests


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("own", "said"),
    [
        pytest.param(Dialect(key_variables=["MY_KEY"]), "set MY_KEY, or give one in the config", id="a named variable"),
        pytest.param(Dialect(needs_key=True), "there is no API key: give one in the config", id="needed, not named"),
        pytest.param(Dialect(key_variables=["MY_KEY"], needs_key=False), None, id="named, not needed"),
        pytest.param(Dialect(), None, id="neither"),
    ],
)
async def test_the_key_of_a_users_row(own: Dialect, said: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who names a variable wants it set, unless the row says otherwise. OpenAI's own is never sent elsewhere."""
    monkeypatch.setenv("OPENAI_API_KEY", OPENAIS["OPENAI_API_KEY"])
    if said is None:
        assert carried(await asked(own)) == {"authorization": "Bearer none"}
    else:
        with pytest.raises(AuthenticationError, match=said):
            await asked(own)
    monkeypatch.setenv("MY_KEY", SECRET)
    if own.key_variables == ["MY_KEY"]:
        assert carried(await asked(own)) == {"authorization": f"Bearer {SECRET}"}


@pytest.mark.anyio
@each_row
async def test_what_openais_variables_say_is_for_openai(row: Dialect, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its organization, project, headers and address go to nobody else."""
    for name, value in OPENAIS.items():
        monkeypatch.setenv(name, value)
    request = await asked(row.name, api_key=SECRET)
    sent = carried(request)
    if row.name == "openai":
        theirs = {"openai-organization": "org-mine", "openai-project": "proj-mine", "x-team": "core", "x-other": "b"}
        assert sent == {"authorization": f"Bearer {SECRET}", **theirs}
    else:
        assert sent == ({row.key_header: SECRET} if row.key_header else {"authorization": f"Bearer {SECRET}"})
        leaked = [
            value
            for value in (*request.headers.values(), request.body.decode())
            if "mine" in value or "openai-0" in value
        ]
        assert leaked == []


@pytest.mark.anyio
async def test_the_address_in_openais_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts for OpenAI, after the config's own, and not at all for others."""
    config = ProviderConfig(model_id="m", api_key=SECRET)
    async with Emulator(answer) as emulator, Emulator(answer) as elsewhere:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{emulator.url}/v9")
        for vendor in ("openai", Dialect(name="mine", base_url=f"{elsewhere.url}/v1")):
            provider = OpenAIProvider(config, vendor)
            async with provider, provider.stream("", ASK) as chunks:
                assert [chunk async for chunk in chunks]
        assert [request.path for request in emulator.requests] == ["/v9/responses"]
        assert [request.path for request in elsewhere.requests] == ["/v1/chat/completions"]
        assert (await asked("openai", api_key=SECRET)).path == "/responses"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("vendor", "headers", "sent"),
    [
        pytest.param(
            "deepseek", {"Authorization": "Bearer t"}, {"authorization": "Bearer t"}, id="a token of one's own"
        ),
        pytest.param("deepseek", {"authorization": "Bearer t"}, {"authorization": "Bearer t"}, id="in small letters"),
        pytest.param("openai", {"authorization": "Bearer t"}, {"authorization": "Bearer t"}, id="at OpenAI"),
        pytest.param("azure", {"authorization": "Bearer t"}, {"authorization": "Bearer t"}, id="Azure by a token"),
        pytest.param("azure", {"API-Key": "k"}, {"api-key": "k"}, id="Azure by a key in the headers"),
        pytest.param("deepseek", {"X-Team": "core"}, None, id="another header is no key"),
        pytest.param("deepseek", {"Authorization": ""}, None, id="an empty one is none"),
        pytest.param("deepseek", {"api-key": "k"}, None, id="Azure's is nothing to others"),
    ],
)
async def test_a_header_may_stand_for_the_key(
    vendor: str, headers: dict[str, str], sent: dict[str, str] | None
) -> None:
    """Then none is looked for, and none is sent beside it."""
    if sent is None:
        with pytest.raises(AuthenticationError, match="there is no API key"):
            await asked(vendor, headers=headers)
        return
    assert carried(await asked(vendor, headers=headers)) == sent


@pytest.mark.anyio
async def test_a_variable_is_not_sent_beside_a_header(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two credentials would be one too many: the one that was said in so many words counts."""
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", SECRET)
    assert carried(await asked("azure", headers={"authorization": "Bearer t"})) == {"authorization": "Bearer t"}
    assert carried(await asked("azure", headers={"api-key": "k"})) == {"api-key": "k"}
    monkeypatch.setenv("DEEPSEEK_API_KEY", SECRET)
    assert carried(await asked("deepseek", headers={"authorization": "Bearer t"})) == {"authorization": "Bearer t"}


SOURCE = Path(penstock.__file__).parent
# Where a vendor is named in the code, outside the table, and why. `openai` stands in the names of wires and of an SDK.
NAMED = {
    "core/token_rates.py": {"deepseek"},  # a table too, of families of models
    "meter/telemetry_names.py": {"azure", "google", "mistral", "openai", "xai"},  # a table of other people's words
    "core/dialect.py": {"openai"},  # the defaults are its own
    "providers/openai.py": {"openai"},  # the default, and two headers of its SDK
    "providers/known_secrets.py": {"openai"},  # its SDK's logger
    "cli/commands.py": {"openai"},  # the variable of its SDK
    "config/models_file.py": {OWN, "anthropic-compatible"},  # the only providers with a row of one's own
    # Where a thing works.
    "wire/openai/options.py": {"openai", "alibaba", "google", "mistral", "openrouter", "vllm", "llamacpp"},
    "wire/anthropic/options.py": {"openai", "google", "mistral"},
    "histories/read/messages.py": {"openai"},  # whose an API is, where nobody says it
    "histories/read/chat.py": {"google", "openrouter"},  # a table too, of fields that one vendor alone has
    "__init__.py": {"openai"},  # a module's name
    "testing/__init__.py": {"openai"},  # the same
}


def texts(tree: ast.Module) -> Iterator[str]:
    """The texts in the code that are no docstrings."""
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes) and id(node) not in prose:
            yield node.value if isinstance(node.value, str) else node.value.decode("latin-1")


def test_no_vendor_is_named_outside_the_table() -> None:
    """What is peculiar to one stands in its row; elsewhere the code asks the row."""
    names = "|".join(set(DIALECTS) - {"anthropic"})  # that is an SDK, a module and a wire too
    vendor = re.compile(rf"(?<![\w-])(?:{names})(?![\w-])")
    for path in SOURCE.rglob("*.py"):
        where = path.relative_to(SOURCE).as_posix()
        tables = ("vendors", "anthropic_vendors", "open_model_vendors", "platforms", "phrases")
        if where in [f"wire/{table}.py" for table in tables]:
            continue
        found = {name for text in texts(ast.parse(path.read_text())) for name in vendor.findall(text)}
        assert found == NAMED.get(where, set()), where
