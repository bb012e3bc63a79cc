"""The parameter `tool_choice` of a chat: which tools an answer may call, and whether it must call one."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from dynamo_nb.llm.api.errors import ApiError

FORMS = (
    "'none', 'auto', 'required', {type: 'function', function: {name}} or "
    "{type: 'allowed_tools', allowed_tools: {mode: 'auto' or 'required', tools}}"
)


class ToolChoice(Struct, frozen=True):
    """The meaning of a `tool_choice`.

    Attributes:
        tools: The tools that the model sees, in the form of OpenAI's API.
        forced: Names of tools, one of which the answer must call; empty if it need not.
        is_named: True if the client named the one tool that the answer calls. It calls it once.
    """

    tools: list[dict[str, Any]]
    forced: tuple[str, ...] = ()
    is_named: bool = False


def tool_choice_of(given: str | dict[str, Any] | None, tools: list[dict[str, Any]]) -> ToolChoice:
    """Returns the meaning of a `tool_choice`.

    Args:
        given: The parameter.
        tools: The tools of the request, which are valid.

    Raises:
        ApiError: The parameter has another form, or names a tool that the request does not have.
    """
    names = tuple(tool["function"]["name"] for tool in tools)
    match given:
        case None | "auto":
            return ToolChoice(tools)
        case "none":
            return ToolChoice([])
        case "required":
            return ToolChoice(tools, _known(names, names))
        case {"type": "function", "function": {"name": str(name)}}:
            return ToolChoice(tools, _known((name,), names), is_named=True)
        case {"type": "allowed_tools", "allowed_tools": {"mode": "auto" | "required" as mode, "tools": list(allowed)}}:
            chosen = _known(tuple(map(_name, allowed)), names)
            visible = [tool for tool in tools if tool["function"]["name"] in chosen]
            return ToolChoice(visible, chosen if mode == "required" else ())
    raise _error(f"expected {FORMS}")


def _name(tool: Any) -> str:
    match tool:
        case {"type": "function", "function": {"name": str(name)}}:
            return name
    raise _error("each of its tools is {type: 'function', function: {name}}")


def _known(chosen: tuple[str, ...], names: tuple[str, ...]) -> tuple[str, ...]:
    if not chosen:
        raise _error("it needs a tool")
    if len(chosen) > len(names) > 0:
        raise _error(f"it has {len(chosen)} tools, and the request {len(names)}")
    if unknown := [name for name in chosen if name not in names]:
        raise _error(f"no tool is called {unknown[0]!r}")
    return chosen


def _error(text: str) -> ApiError:
    return ApiError(f"Invalid 'tool_choice': {text}.", param="tool_choice", code="invalid_value")
