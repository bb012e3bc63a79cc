"""An example value for a JSON schema, for the forms of the graph widget and for the errors of missing payloads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_FORMATS: Final = {
    "date": "2025-01-31",
    "date-time": "2025-01-31T12:00:00Z",
    "time": "12:00:00",
    "duration": "PT1S",
    "email": "user@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "127.0.0.1",
    "ipv6": "::1",
    "binary": "",
}
_TEXTS: Final = {
    "role": "user",
    "prompt": "Hello",
    "content": "Hello",
    "text": "hello",
    "name": "name",
    "url": "https://example.com/",
}
"""Examples by name of the parameter."""


def example(schema: Mapping[str, Any], name: str = "") -> Any:
    """Returns a value that the schema allows, the same for the same schema; None for a schema without a type.

    An object has its required properties, and those with an example of their own.

    Args:
        schema: a JSON schema.
        name: name of the parameter.
    """
    return _value(schema, {}, name, ())


def _value(schema: Any, defs: Mapping[str, Any], name: str, within: tuple[str, ...]) -> Any:
    """within: the definitions around this value, since a model may contain itself."""
    if not isinstance(schema, Mapping):  # `true` is a schema too
        return None
    defs = schema.get("$defs", defs)  # the schema of a parameter has its own definitions
    if "$ref" in schema:
        inner = _definition(schema)
        return _value(defs.get(inner, {}), defs, name, (*within, inner)) if inner not in within else {}
    if schema.get("examples"):
        return schema["examples"][0]
    for keyword in ("const", "default"):
        if keyword in schema:
            return schema[keyword]
    if schema.get("enum"):
        return schema["enum"][0]
    for choice in ("anyOf", "oneOf"):
        if schema.get(choice):
            return _value(_best(schema[choice], within), defs, name, within)
    if schema.get("allOf"):
        parts = [_value(part, defs, name, within) for part in schema["allOf"]]
        merged = {key: value for part in parts if isinstance(part, dict) for key, value in part.items()}
        return merged or parts[0]
    kind = schema.get("type", "object" if "properties" in schema else "")
    kind = next((k for k in kind if k != "null"), "null") if isinstance(kind, list) else kind
    if kind == "object":
        return _object(schema, defs, within)
    if kind == "array":
        return _array(schema, defs, name, within)
    if kind == "string":
        return _text(schema, name)
    if kind in {"integer", "number"}:
        return _number(schema, whole=kind == "integer")
    return True if kind == "boolean" else None


def _definition(schema: Any) -> str:
    return str(schema.get("$ref", "")).rpartition("/")[2] if isinstance(schema, Mapping) else ""


def _best(choices: Any, within: tuple[str, ...]) -> Any:
    """The first alternative that is not null and does not contain itself, else null, else the first."""
    finite = [c for c in choices if _definition(c) not in within]
    not_null = [c for c in finite if not (isinstance(c, Mapping) and c.get("type") == "null")]
    return (not_null or finite or choices)[0]


def _object(schema: Mapping[str, Any], defs: Mapping[str, Any], within: tuple[str, ...]) -> dict[str, Any]:
    properties, required = schema.get("properties", {}), schema.get("required", ())
    value = {
        key: _value(inner, defs, key, within)
        for key, inner in properties.items()
        if key in required or (isinstance(inner, Mapping) and inner.get("examples"))
    }
    others = schema.get("additionalProperties")
    if not properties and isinstance(others, Mapping) and schema.get("minProperties"):
        value["key"] = _value(others, defs, "key", within)
    return value


def _array(schema: Mapping[str, Any], defs: Mapping[str, Any], name: str, within: tuple[str, ...]) -> list[Any]:
    first = [_value(inner, defs, name, within) for inner in schema.get("prefixItems", ())]
    if "items" not in schema or schema["items"] is False:
        return first
    count = 0 if _definition(schema["items"]) in within else 1
    least = max(schema.get("minItems", 0), min(count, schema.get("maxItems", count)))
    singular = name.removesuffix("s")
    return first + [_value(schema["items"], defs, singular, within) for _ in range(least - len(first))]


def _text(schema: Mapping[str, Any], name: str) -> str:
    text = _FORMATS.get(schema.get("format", "")) or _TEXTS.get(name, "text")
    if len(text) < schema.get("minLength", 0):
        text = text.ljust(schema["minLength"], text[-1:] or "x")
    return text[: schema["maxLength"]] if "maxLength" in schema else text


def _number(schema: Mapping[str, Any], *, whole: bool) -> float:
    """1 if the schema allows it, else an allowed number next to a bound."""
    step = schema.get("multipleOf") or 1
    low, high = schema.get("minimum"), schema.get("maximum")
    over, under = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if over is not None:
        inside = (over + min(high if high is not None else under or over + 2, over + 2)) / 2
        low = over + 1 if whole or (under is None and high is None) else inside
    if under is not None:
        high = under - 1 if whole else (low if low is not None else under - 1)
    number: float = 1
    if low is not None:
        number = max(number, low)
    if high is not None:
        number = min(number, high)
    if schema.get("multipleOf"):
        number = -(-number // step) * step
    return int(number) if whole else number
