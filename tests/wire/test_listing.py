"""What vendors' lists say of their models, shape by shape, and what is no such list."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listed import SHAPES, TODAY
from penstock import ConfigError, Dialect, MalformedResponseError, Model
from penstock.wire.listing import MOST, known_fields, merged, read_list
from penstock.wire.vendors import DIALECTS


def read(body: object, vendor: str = "openai") -> list[Model]:
    """The models of a document, as the row of that vendor reads it."""
    return read_list(json.dumps(body).encode(), DIALECTS[vendor].list_price_unit, TODAY).models


def known(model: Model) -> dict[str, Any]:
    return {
        **known_fields(model.info),
        **{
            name: value
            for name in ("created", "loaded", "aliases")
            if (value := getattr(model, name)) not in (None, [], ())
        },
    }


@pytest.mark.parametrize(("vendor", "body", "said"), SHAPES.values(), ids=SHAPES)
def test_each_list_is_read(vendor: str, body: object, said: dict[str, Any]) -> None:
    """What it says, at the units of its row, and nothing that it does not say."""
    [model] = read(body, vendor)
    assert (model.id, model.listed) == ("m", "live")
    assert known(model) == said
    assert model.prices_from == ("vendor" if "input_price" in said else None)


@pytest.mark.parametrize(("vendor", "body"), [shape[:2] for shape in SHAPES.values()], ids=SHAPES)
def test_prices_are_read_only_where_the_unit_is_known(vendor: str, body: object) -> None:
    """A price per token that is taken for one per million would be a million times too low."""
    assert all(model.info.input_price is None for model in read(body, "openai"))


@pytest.mark.parametrize(("body", "said"), [
    pytest.param(b"", "no JSON", id="nothing at all"),
    pytest.param(b"<!doctype html><title>Sign in</title>", "a web page", id="a web page"),
    pytest.param(b'{"data": [', "no JSON", id="cut off"),
    pytest.param(b"\xff\xfe", "no JSON", id="no text"),
    pytest.param(b"[" * 100_000, "no JSON", id="too deep"),
    pytest.param(b'"m"', "of type str, expected an object or a list", id="a text"),
    pytest.param(b"null", "of type NoneType", id="null"),
    pytest.param(b"{}", "an object with nothing, expected a list as `data` or `models`", id="an empty object"),
    pytest.param(b'{"error": {"message": "no"}}', "an object with 'error', expected", id="an error with status 200"),
    pytest.param(b'{"data": "m"}', "an object with 'data', expected a list", id="a text for a list"),
    pytest.param(b'{"data": [{"object": "model"}]}', "1 entries, none of which has an id", id="no ids"),
    pytest.param(b'[1, "m", null]', "3 entries, none of which has an id", id="no objects"),
    pytest.param(b'[{"id": "\\u001b]0;owned\\u0007"}]', "an id that can be printed", id="an id for a terminal to obey"),
    pytest.param(json.dumps([{"id": "m" * 301}]).encode(), "none of which has an id", id="an id as long as a page"),
    pytest.param(json.dumps({"data": [], "has_more": True, "last_id": "m" * 301}).encode(), "last_id", id="long"),
    pytest.param(b'{"data": [], "has_more": true, "last_id": ""}', "`last_id` cannot be asked for", id="empty"),
    pytest.param(json.dumps([{"id": "m"}] * (MOST + 1)).encode(), "10001 models, expected at most", id="too many"),
])  # fmt: skip
def test_what_is_no_list_is_named(body: bytes, said: str) -> None:
    """By what was found; the hint says where to look."""
    with pytest.raises(MalformedResponseError) as caught:
        read_list(body, None, TODAY)
    assert said in caught.value.message
    assert "baseUrl" in caught.value.hint


@pytest.mark.parametrize("body", [{"object": "list", "data": []}, {"data": None}, []], ids=str)
def test_a_server_without_a_model_lists_none(body: object) -> None:
    """Which is no mistake: none has been pulled yet."""
    assert read(body) == []


@pytest.mark.parametrize("gone", [{"archived": True}, {"active": False}, {"lifecycle": "retired"},
                                  {"model_spec": {"offline": True}}], ids=str)  # fmt: skip
def test_what_is_listed_only_as_gone_is_left_out(gone: dict[str, Any]) -> None:
    """Nobody can call it."""
    assert [model.id for model in read([{"id": "m"}, {"id": "old", **gone}])] == ["m"]


@pytest.mark.parametrize(
    "field",
    [
        {"context_length": "8192"},
        {"context_length": True},
        {"context_length": -1},
        {"context_length": 2**70},
        {"created": "yesterday"},
        {"created": 1e300},
        {"created": []},
        {"name": 7},
        {"aliases": "m"},
        {"aliases": [None, {"a": 1}, "\x1b[2J", "m" * 301]},
        {"capabilities": [[]]},
        {"pricing": []},
        {"pricing": {"input": "a", "output": {}}},
        {"pricing": {"input": "nan", "output": "inf"}},
        {"pricing": {"input": "1e999999", "output": 1}},
        {"loaded_instances": {"0": 1}},
        {"architecture": {"input_modalities": 1}},
        {"display_name": "\x1b[2J"},
        {"model_spec": None},
        {"meta": [1]},
    ],
    ids=str,
)
def test_a_field_of_a_wrong_type_is_unknown(field: dict[str, Any]) -> None:
    """And the model is there all the same."""
    [model] = read([{"id": "m", **field}], "together")
    assert (model.id, known(model)) == ("m", {})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "data",
                    "models",
                    "id",
                    "pricing",
                    "input",
                    "output",
                    "created",
                    "capabilities",
                    "aliases",
                    "meta",
                    "last_id",
                    "has_more",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150)
@given(json_values)
def test_any_document_is_a_list_or_named(body: object) -> None:
    """Nothing else is ever raised, whatever a server sends."""
    try:
        models = read(body, "openrouter")
    except MalformedResponseError:
        return
    assert all(model.id.isprintable() for model in models)


@pytest.mark.parametrize("number", ["1e999999999", "-1e999999999", "1e-999999999"])
def test_no_number_is_written_out(number: str) -> None:
    """Of a few characters can be made one that fills the memory."""
    body = f'[{{"id": "m", "created": {number}, "expiration_date": {number}}}]'
    [model] = read_list(body.encode(), None, TODAY).models
    assert known(model) == {}


def test_a_page_names_the_next() -> None:
    """As Anthropic's do, by its last id."""
    body = {"data": [{"id": "a"}], "has_more": True, "last_id": "a"}
    assert read_list(json.dumps(body).encode(), None, TODAY).after == "a"
    assert read_list(json.dumps({**body, "has_more": False}).encode(), None, TODAY).after is None


def test_what_is_loaded_is_found_by_its_id() -> None:
    """With what the server says of it there: how long a prompt may be in memory, say. All others are not loaded."""
    models = read([{"id": "a", "context_length": 131_072}, {"id": "b", "context_length": 131_072}])
    loaded = read({"models": [{"model": "b", "context_length": 8_192}]})
    found = merged(models, loaded)
    assert [(model.id, model.loaded, model.info.context_window) for model in found] == [
        ("a", False, 131_072),
        ("b", True, 8_192),
    ]


def test_a_server_of_one_model_may_call_it_by_its_file() -> None:
    """llama.cpp without an alias does."""
    props = {"model_path": "/models/m.gguf", "model_alias": "m.gguf", "default_generation_settings": {"n_ctx": 4_096}}
    [model] = merged(read([{"id": "m"}]), read(props))
    assert (model.id, model.loaded, model.info.context_window) == ("m", True, 4_096)


@pytest.mark.parametrize("path", ["http://example.org/models", "models", ""])
def test_a_path_of_a_row_is_no_address(path: str) -> None:
    """Which would get the key."""
    with pytest.raises(ConfigError, match="expected a path that begins with /"):
        Dialect(name="mine", list_paths=[path])
