"""Messages of OpenAI's API: the known keys that a chat template may read, whatever else a client sent."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct

from dynamo_nb.errors import InvalidArgument

WITHOUT_CONTENT: Final = ("assistant", "tool", "function")  # roles whose messages may have no content
TEXT_PARTS: Final = {  # types of content parts, and their key with the text
    "text": "text",
    "input_text": "text",
    "output_text": "text",
    "refusal": "refusal",
    "thinking": "thinking",
}
KEYS: Final[dict[str, dict[str, type]]] = {  # further keys by role; "" for every role
    "": {"name": str, "task": str},
    "tool": {"tool_call_id": str},
    "developer": {"tools": list},
}
THOUGHTS: Final = ("reasoning", "reasoning_content")  # templates know one name or the other

_log = logging.getLogger(__name__)


class Message(Struct, frozen=True):
    """A message of a chat.

    Attributes:
        role: Its role.
        texts: The text of each part of its content.
        extra: Its other known keys; none of them is null.
    """

    role: str
    texts: list[str]
    extra: dict[str, Any] = {}


def characters(value: Any) -> int:
    """Returns the number of characters in a message or another value, at any depth."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(len(key) + characters(part) for key, part in value.items())
    return sum(map(characters, value)) if isinstance(value, list) else 0


def read_messages(messages: list[dict[str, Any]]) -> list[Message]:
    """Returns the messages of a chat without what templates do not know.

    Args:
        messages: Messages in the form of OpenAI's API.

    Raises:
        InvalidArgument: A message is not in this form, or has content that is not text. The error names the part.
    """
    return [_message(message, f"messages[{index}]") for index, message in enumerate(messages)]


def conversation(
    messages: list[Message], *, takes_parts: Callable[[str], bool], has_developer: bool
) -> tuple[list[Message], list[dict[str, Any]]]:
    """Returns messages as a chat template gets them, and the form in which it gets them.

    Args:
        messages: The messages of a chat.
        takes_parts: True for a role if the template expects its content as a list of parts, and not as a text.
        has_developer: False to write messages of developers as messages of the system, joined at the beginning.
    """
    if not has_developer and any(message.role == "developer" for message in messages):
        messages = _with_one_system_message(messages)
    return messages, [_as_expected(message, takes_parts=takes_parts) for message in messages]


def _message(message: Any, where: str) -> Message:
    if not isinstance(message, dict):
        raise InvalidArgument(f"a message must be an object, not {type(message).__name__}", where=where)
    role = message.get("role")
    if not isinstance(role, str) or not role:
        raise InvalidArgument("a message needs a role, such as 'user'", where=f"{where}.role")
    extra = {
        key: _of_type(kind, message[key], f"{where}.{key}")
        for key, kind in (KEYS[""] | KEYS.get(role, {})).items()
        if message.get(key) is not None
    }
    thought = next((text for key in THOUGHTS if isinstance(text := message.get(key), str)), None)
    if role == "assistant" and thought is not None:
        extra |= dict.fromkeys(THOUGHTS, thought)
    calls: Any = None
    if role == "assistant" and (calls := message.get("tool_calls")) is not None and calls != []:
        extra["tool_calls"] = _calls(calls, f"{where}.tool_calls")
    if message.get("function_call") is not None:
        raise InvalidArgument("'function_call' is not supported; use tool_calls", where=f"{where}.function_call")
    return Message(role, _texts(message.get("content"), f"{where}.content", is_optional=role in WITHOUT_CONTENT), extra)


def _of_type(kind: type, value: Any, where: str) -> Any:
    if not isinstance(value, kind):
        raise InvalidArgument(f"expected a {kind.__name__}, not a {type(value).__name__}", where=where)
    return value


def _texts(content: Any, where: str, *, is_optional: bool) -> list[str]:
    if isinstance(content, str):
        return [content]
    if isinstance(content, list):
        texts = [_text(part, f"{where}[{index}]") for index, part in enumerate(content)]
        return [text for text in texts if text is not None]
    if content is not None:
        raise InvalidArgument("expected a text or a list of parts", where=where)
    if not is_optional:
        raise InvalidArgument("Missing required content", where=where)
    return []


def _text(part: Any, where: str) -> str | None:
    """The text of a part; None for one that is null, such as a refusal that was not made."""
    if isinstance(part, str):
        return part
    kind = part.get("type") if isinstance(part, dict) else type(part).__name__
    if not isinstance(part, dict) or not isinstance(kind, str) or kind not in TEXT_PARTS:
        raise InvalidArgument(f"content of type {kind!r}: only text is supported", where=where)
    text = part.get(TEXT_PARTS[kind])
    if text is not None and not isinstance(text, str):
        raise InvalidArgument(f"the text is a {type(text).__name__}: only text is supported", where=where)
    return text


def _calls(calls: Any, where: str) -> list[dict[str, Any]]:
    if not isinstance(calls, list):
        raise InvalidArgument("expected a list of tool calls", where=where)
    read = []
    for index, call in enumerate(calls):
        function = call.get("function") if isinstance(call, dict) else None
        if (
            not isinstance(function, dict)
            or not isinstance(function.get("name"), str)
            or call.get("type") not in (None, "function")
        ):
            raise InvalidArgument("expected {type: 'function', function: {name, arguments}}", where=f"{where}[{index}]")
        name = call.get("id")
        identity = {} if name is None else {"id": _of_type(str, name, f"{where}[{index}].id")}
        function = {"name": function["name"], "arguments": function.get("arguments")}
        read.append({**identity, "type": "function", "function": function})
    return read


def _with_one_system_message(messages: list[Message]) -> list[Message]:
    """The messages with those of developers as messages of the system. Several of these become the first message."""
    systems = [
        Message("system", message.texts, {key: value for key, value in message.extra.items() if key != "tools"})
        for message in messages
        if message.role in ("system", "developer")
    ]
    others = [message for message in messages if message.role not in ("system", "developer")]
    if len(systems) > 1 or messages[0].role not in ("system", "developer"):
        texts = [_joined(message.texts) for message in systems]
        systems = [Message("system", ["\n\n".join(filter(None, texts))])]
    return [*systems, *others]


def _as_expected(message: Message, *, takes_parts: Callable[[str], bool]) -> dict[str, Any]:
    if takes_parts(message.role):
        content: Any = [{"type": "text", "text": text} for text in message.texts]
    else:
        content = _joined(message.texts)
    expected = {"role": message.role, "content": content, **message.extra}
    if calls := message.extra.get("tool_calls"):
        expected["tool_calls"] = [_with_arguments(call) for call in calls]
    return expected


def _joined(texts: list[str]) -> str:
    return "\n".join(filter(None, texts))


def _with_arguments(call: dict[str, Any]) -> dict[str, Any]:
    """A tool call with its arguments as an object, as templates expect; OpenAI's API has them as JSON text.

    What is not an object becomes an empty one: the model wrote it, and the client sends it in every later request.
    """
    function = call["function"]
    arguments = function["arguments"] or {}
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            arguments = None
    if not isinstance(arguments, dict):
        _log.warning(
            "the arguments of an earlier call of %.100r are not a JSON object: they are left out", function["name"]
        )
        arguments = {}
    return {**call, "function": {**function, "arguments": arguments}}
