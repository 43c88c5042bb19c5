"""`store` in models.json: where the limits of all its models are counted, and what is said of a wrong one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from patience import PATIENCE
from penstock import BaseProvider, ConfigError, Message, Providers, RateLimitError, collect, load_models, open_provider
from penstock.config.entries import ModelsFile
from penstock.config.trust import wanted
from penstock.fleet import RedisStore
from penstock.middleware import Concurrency, RateLimit
from penstock.testing import DemoModel, Emulator
from redis_server import needs_redis, redis_server

pytestmark = pytest.mark.anyio

URL = "redis://:${REDIS_PASSWORD}@127.0.0.1:9/3"


def written(folder: Path, store: object, url: str = "http://127.0.0.1:9", **limits: Any) -> Path:
    """A models.json of two models, with equal limits."""
    path = folder / "models.json"
    limits = limits or {"rateLimit": {"requestsPerMinute": 600}, "concurrency": 2}
    config = {"modelId": "claude-haiku-5-5", "apiKey": "sk-of-the-company", "baseUrl": url}
    one = {"provider": "anthropic", "providerConfig": config, **limits}
    path.write_bytes(
        msgspec.json.encode({"active": "a", "models": {"a": {**one, "fallback": ["b"]}, "b": one}, "store": store})
    )
    return path


def stores(provider: BaseProvider) -> list[RedisStore]:
    """The stores of all its limits."""
    return [each._store for each in provider.nested() if isinstance(each, RateLimit | Concurrency)]  # type: ignore[misc]


@pytest.fixture(autouse=True)
def _password(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that an address cannot hold as it is."""
    monkeypatch.setenv("REDIS_PASSWORD", "pw/of@redis")
    monkeypatch.setenv("REDIS_URL", "rediss://u:pw@h:1/0")


@pytest.mark.parametrize(
    ("store", "url", "shown"),
    [
        (URL, "redis://:pw%2Fof%40redis@127.0.0.1:9/3", "RedisStore('redis://***@127.0.0.1:9/3', on_loss='local')"),
        (
            {"url": URL, "onLoss": "stop"},
            "redis://:pw%2Fof%40redis@127.0.0.1:9/3",
            "RedisStore('redis://***@127.0.0.1:9/3', on_loss='stop')",
        ),
        ("${REDIS_URL}", "rediss://u:pw@h:1/0", "RedisStore('rediss://***@h:1/0', on_loss='local')"),
    ],
    ids=["an address", "a table", "a variable"],
)
async def test_all_limits_of_a_file_have_one_store_which_closes_with_them(
    store: object, url: str, shown: str, tmp_path: Path
) -> None:
    """Those of the models that it falls back on too; a password is written as an address wants it."""
    file = written(tmp_path, store)
    async with open_provider("a", models=file) as provider:
        first, *others = stores(provider)
        assert (len(others), {*others}) == (3, {first})
        assert (first._url, repr(first)) == (url, shown)
    with pytest.raises(ConfigError, match="this store is closed"):
        first.hold("n", 1)
    async with Providers(file) as providers:
        found = {*stores(providers.get("a")), *stores(providers.get("b"))}
        assert len(found) == 1
        assert first not in found
    with pytest.raises(ConfigError, match="this store is closed"):
        found.pop().hold("n", 1)


@needs_redis
async def test_two_programs_with_one_file_share_its_limits(tmp_path: Path) -> None:
    """Each opens its own store; nobody gives it a name."""
    with redis_server(tmp_path) as server:
        async with Emulator(then=DemoModel()) as emulator:
            file = written(tmp_path, server.url, emulator.url, rateLimit={"requestsPerMinute": 1, "maxWait": 1})
            with anyio.fail_after(PATIENCE):
                async with open_provider("b", models=file) as one, open_provider("b", models=file) as other:
                    await collect(one.create_message("", [Message("user", "Hi")]))
                    with pytest.raises(RateLimitError, match="others have used up the limit"):
                        await collect(other.create_message("", [Message("user", "Hi")]))


def test_a_file_whose_models_have_no_limits_opens_no_store(tmp_path: Path) -> None:
    """So it may be wrong."""
    assert stores(open_provider("b", models=written(tmp_path, "http://h", retry={}))) == []


@pytest.mark.parametrize(
    ("store", "said"),
    [
        ("http://pw-literal@h", "`url` is no address of a Redis"),
        ("redis://:${NO_SUCH}@h", "the environment variable NO_SUCH is not set"),
        ({"url": "redis://:pw-literal@h", "onLoss": "ignore"}, "onLoss"),
        ({"onLoss": "stop"}, "the key `url` is missing"),
        (["redis://:pw-literal@h"], "$.store"),
        ("", "$.store"),
    ],
)
def test_a_store_that_is_wrong_is_told_with_its_place(store: object, said: str, tmp_path: Path) -> None:
    """And without what may be a password."""
    with pytest.raises(ConfigError) as raised:
        open_provider("b", models=written(tmp_path, store))
    assert "$.store" in str(raised.value)
    assert said in str(raised.value)
    assert "pw-literal" not in str(raised.value)


@pytest.mark.parametrize("store", ["redis://u:pw-literal@h/0", {"url": "redis://u:pw-literal@h/0"}])
def test_a_password_in_the_file_is_never_shown_but_written_back(store: object, tmp_path: Path) -> None:
    """Nor is the user."""
    file = written(tmp_path, store)
    config = load_models(file)
    shown = f"{config!r}{config.__rich_repr__()}{wanted(config)}{open_provider('b', models=config)!r}"
    assert "redis://***@h/0" in shown
    assert "pw-literal" not in shown
    assert "u:" not in shown.replace("url:", "")
    plain = msgspec.json.decode(file.read_bytes(), type=ModelsFile)
    assert b"pw-literal" in msgspec.json.encode(plain)


def test_a_file_that_was_found_needs_trust_for_its_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names a host, and whose password goes there."""
    written(tmp_path, URL)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"\$\.store: redis://\*+@127\.0\.0\.1:9/3\W+ the key of REDIS_PASSWORD"):
        open_provider("b")
