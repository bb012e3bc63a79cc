"""Messages of a chat in the form that chat templates expect."""

from __future__ import annotations

import json
from typing import Any

from dynamo_nb.errors import InvalidArgument


def characters(value: Any) -> int:
    """Returns the number of characters in a message or another value, at any depth."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(len(key) + characters(part) for key, part in value.items())
    return sum(map(characters, value)) if isinstance(value, list) else 0


def plain(message: dict[str, Any], index: int) -> dict[str, Any]:
    """Returns a message with a single text as its content, as chat templates expect.

    Args:
        message: Message in the form of OpenAI's API.
        index: Its number, for the error.

    Raises:
        InvalidArgument: The content has a part that is not text.
    """
    if isinstance(calls := message.get("tool_calls"), list):
        message = {**message, "tool_calls": [_with_arguments(call) for call in calls]}
    content = message.get("content")
    if not isinstance(content, list):
        return message
    texts = []
    for part in content:
        if not isinstance(part, dict) or part.get("type") != "text":
            kind = part.get("type") if isinstance(part, dict) else type(part).__name__
            raise InvalidArgument(
                f"content of type {kind} is not supported; the model reads only text",
                where=f"messages[{index}].content",
            )
        texts.append(str(part.get("text", "")))
    return {**message, "content": "".join(texts)}


def _with_arguments(call: Any) -> Any:
    """A tool call with its arguments as a value, as chat templates expect; OpenAI's API has them as JSON text."""
    try:
        function = call["function"]
        return {**call, "function": {**function, "arguments": json.loads(function["arguments"] or "{}")}}
    except (KeyError, TypeError, ValueError, RecursionError):  # not JSON: leave it to the template
        return call
