"""A plausible value for a JSON schema: what a form begins with, and what a message shows of how to write a payload."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_DEEPEST: Final = 6
"""Levels of a schema that is followed: one that contains itself has no end."""
_OF_TYPE: Final = {"integer": 1, "number": 1.0, "boolean": True, "null": None}


def example(schema: Mapping[str, Any]) -> Any:
    """A value that fits the schema. Given defaults and examples are taken; what is not required is left out."""
    return _value(schema, schema, "text", 0)


def _value(schema: Mapping[str, Any], whole: Mapping[str, Any], name: str, depth: int) -> Any:
    for key in ("default", "const"):
        if key in schema:
            return schema[key]
    for key in ("examples", "enum"):
        if schema.get(key):
            return schema[key][0]
    if depth > _DEEPEST:
        return None
    if "$ref" in schema:
        return _value(_referred(schema["$ref"], whole), whole, name, depth + 1)
    for key in ("anyOf", "oneOf", "allOf"):
        if schema.get(key):
            return _value(schema[key][0], whole, name, depth + 1)
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = kind[0]
    if kind == "object" or "properties" in schema:
        properties = schema.get("properties", {})
        # `$defs` of one parameter stand in its own schema.
        return {
            key: _value(properties[key], properties[key] if "$defs" in properties[key] else whole, key, depth + 1)
            for key in schema.get("required", ())
            if key in properties
        }
    if kind == "array":
        items = schema.get("prefixItems") or [schema.get("items", {})]
        return [_value(one, whole, name, depth + 1) for one in items]
    if kind in {"integer", "number"}:
        least = schema.get("minimum", schema.get("exclusiveMinimum"))
        value = _OF_TYPE[kind] if least is None else least + ("exclusiveMinimum" in schema)
        return min(value, schema.get("maximum", value))
    if kind in _OF_TYPE:
        return _OF_TYPE[kind]
    text = "hello" if name in {"text", "prompt", "content"} else name
    return text.ljust(schema.get("minLength", 0), ".")[: schema.get("maxLength")]


def _referred(path: str, whole: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Any = whole
    for part in path.removeprefix("#/").split("/"):
        found = found.get(part, {})
    return found  # type: ignore[no-any-return]
