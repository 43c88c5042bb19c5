"""Variables of the environment that look like a key and are read by nobody."""

from __future__ import annotations

import os

import pytest

from penstock.config.keys import misspelt_keys


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        pytest.param({"ANTHROPIC_KEY": "k"}, {"ANTHROPIC_KEY": "ANTHROPIC_API_KEY"}, id="a word is missing"),
        pytest.param({"ANTHROPIC_TOKEN": "k"}, {"ANTHROPIC_TOKEN": "ANTHROPIC_API_KEY"}, id="another word"),
        pytest.param({"ANTHROPIC_APIKEY": "k"}, {"ANTHROPIC_APIKEY": "ANTHROPIC_API_KEY"}, id="one word"),
        pytest.param({"ANTHROPIC_API_KEYS": "k"}, {"ANTHROPIC_API_KEYS": "ANTHROPIC_API_KEY"}, id="several"),
        pytest.param({"ANTROPIC_API_KEY": "k"}, {"ANTROPIC_API_KEY": "ANTHROPIC_API_KEY"}, id="a letter is missing"),
        pytest.param({"OPEN_AI_KEY": "k"}, {"OPEN_AI_KEY": "OPENAI_API_KEY"}, id="the vendor in two words"),
        pytest.param({"openai_api_key": "k"}, {"openai_api_key": "OPENAI_API_KEY"}, id="small letters"),
        pytest.param({"MISTRAL_KEY": "k", "XAI_KEY": "k"}, {"MISTRAL_KEY": "MISTRAL_API_KEY", "XAI_KEY": "XAI_API_KEY"},
                     id="two of them"),
        pytest.param({"ANTHROPIC_API_KEY": "k", "ANTHROPIC_KEY": "k"}, {}, id="the right one is there too"),
        pytest.param({"ANTHROPIC_AUTH_TOKEN": "k", "ANTHROPIC_KEY": "k"}, {}, id="the other right one is"),
        pytest.param({"GOOGLE_API_KEY": "k"}, {}, id="a vendor's second variable"),
        pytest.param({"ANTHROPIC_KEY": ""}, {}, id="an empty one"),
        pytest.param({"OPENAI_ADMIN_KEY": "k", "GITHUB_TOKEN": "k", "HF_TOKEN": "k"}, {}, id="keys of other things"),
        pytest.param({"ANTHROPIC_MODEL": "m", "OPENAI_BASE_URL": "u", "KEY": "k"}, {}, id="no keys of a vendor"),
    ],
)  # fmt: skip
def test_what_looks_like_a_key_is_named(
    variables: dict[str, str], found: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the variable that was meant, and only while that one is not set."""
    for name in os.environ:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert misspelt_keys() == found
