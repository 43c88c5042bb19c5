"""Files to read models.json from: one that is right, and what each edit makes of it."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from penstock import ConfigError
from penstock.config.models_file import read_models_file
from penstock.config.trust import trust

KEY = "sk-ant-api03-literal-0123456789"
CONFIG = "models.mine.providerConfig"
INFO = f"{CONFIG}.modelInfo"
TIER = {"aboveInputTokens": 200000, "inputPrice": 4}
PEAK = {"from": "01:00:00", "to": "04:00:00", "inputPrice": 5}
OTHER = {"provider": "anthropic", "providerConfig": {"modelId": "claude-haiku-5-5"}}
DOCUMENT: dict[str, Any] = {
    "active": "mine",
    "models": {
        "other": OTHER,
        "mine": {
            "enabled": True,
            "provider": "anthropic",
            "providerConfig": {
                "modelId": "my-model",
                "apiKey": KEY,
                "headers": {"x-team": "a", "x-key": KEY},
                "deadlines": {"connect": 5},
                "modelInfo": {
                    "inputPrice": 2,
                    "tiers": [TIER, {"aboveInputTokens": 400000}],
                    "hours": [PEAK, {"from": "23:30:00", "to": "00:30:00"}],
                    "variants": {"batch": {"inputPrice": 1}, "fast": {"inputPrice": 4, "tiers": [TIER]}},
                    "changes": [
                        {"from": "2027-01-01", "inputPrice": 3},
                        {"from": "2028-01-01", "tiers": [TIER], "variants": {"batch": {}, "fast": {"inputPrice": 8}}},
                    ],
                    "pricesAsOf": "2026-11-21",
                    "maxTokens": 1000,
                    "supportsImages": True,
                    "supportsSampling": "unless_reasoning",
                    "supportsForcedTools": "unless_budget",
                    "supportsCacheOptions": True,
                    "efforts": ["low", "high"],
                },
            },
        },
    },
}
GONE = object()


def at(where: str) -> str:
    """The path that errors write for a place such as `models.mine.providerConfig.modelInfo.tiers.1`."""
    return "$" + "".join(f"[{step}]" if step.isdigit() else f".{step}" for step in where.split(".") if step)


def edited(where: str, value: object) -> bytes:
    """The document with another value at one place, or with nothing there."""
    document = json.loads(json.dumps(DOCUMENT))
    *steps, last = (int(step) if step.isdigit() else step for step in where.split("."))
    inner: Any = document
    for step in steps:
        inner = inner[step]
    if value is GONE:
        del inner[last]
    else:
        inner[last] = value
    return json.dumps(document).encode()


def written(data: bytes | object) -> Path:
    """A models.json in the working directory, which is the test's own, trusted if it can be read."""
    file = Path.cwd() / "models.json"
    file.write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())
    with suppress(ConfigError):
        trust(file, read_models_file(file))
    return file


def fits(value: Any, schema: dict[str, Any], defs: dict[str, Any]) -> bool:
    """Whether a JSON Schema of the few keywords that ours uses accepts a value."""
    assert set(schema) <= {
        *("$schema", "$ref", "$defs", "title", "description", "default", "type", "properties", "required"),
        *("additionalProperties", "anyOf", "enum", "items", "minimum", "minLength", "minItems", "format"),
    }
    if "$ref" in schema:
        return fits(value, defs[schema["$ref"].removeprefix("#/$defs/")], defs)
    if "anyOf" in schema:
        return any(fits(value, one, defs) for one in schema["anyOf"])
    if "enum" in schema:
        return value in schema["enum"]
    kind = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    if kind.get(type(value), "null") not in (schema["type"], "integer" if schema["type"] == "number" else ""):
        return False
    if isinstance(value, dict):
        known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
        rest = [one for key, one in value.items() if key not in known]
        return (
            set(schema.get("required", ())) <= set(value)
            and all(fits(value[key], one, defs) for key, one in known.items() if key in value)
            and (not rest if others is False else others is True or all(fits(one, others, defs) for one in rest))
        )
    if isinstance(value, list):
        return len(value) >= schema.get("minItems", 0) and all(fits(one, schema["items"], defs) for one in value)
    if schema.get("format") == "date":
        return len(value) == 10 and value[4::3] == "--"
    if isinstance(value, str):
        return bool(len(value) >= schema.get("minLength", 0))
    return "minimum" not in schema or bool(value >= schema["minimum"])
