"""Messages of a chat in the form that chat templates want."""

from __future__ import annotations

import json
from typing import Any

from dynamo_nb.errors import InvalidArgument


def characters(value: Any) -> int:
    """How many stand in a message, or whatever it is, at any depth."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(len(key) + characters(part) for key, part in value.items())
    return sum(map(characters, value)) if isinstance(value, list) else 0


def plain(message: dict[str, Any], index: int) -> dict[str, Any]:
    """A message whose content is one text, as chat templates want it."""
    if isinstance(calls := message.get("tool_calls"), list):
        message = {**message, "tool_calls": [_read(call) for call in calls]}
    content = message.get("content")
    if not isinstance(content, list):
        return message
    texts = []
    for part in content:
        if not isinstance(part, dict) or part.get("type") != "text":
            kind = part.get("type") if isinstance(part, dict) else type(part).__name__
            raise InvalidArgument(f"the model reads text, not {kind}", where=f"messages[{index}].content")
        texts.append(str(part.get("text", "")))
    return {**message, "content": "".join(texts)}


def _read(call: Any) -> Any:
    """A call of a tool with its arguments as chat templates want them, which OpenAI's API has as JSON text."""
    try:
        function = call["function"]
        return {**call, "function": {**function, "arguments": json.loads(function["arguments"] or "{}")}}
    except (KeyError, TypeError, ValueError, RecursionError):  # no JSON to read: the template may know what to do
        return call
