"""Chat templates: the form of messages that each expects, and its variables."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any, Final

from dynamo_nb.errors import DynamoError, InvalidArgument
from dynamo_nb.llm.text.chats import conversation

PROBES: Final = ("first probe", "second probe")
PROBE_KEY: Final = "probe_key"  # is in a prompt only if the template writes a part as it is
USER: Final[dict[str, Any]] = {"role": "user", "content": "hello"}
TOOL: Final = {"type": "function", "function": {"name": "f", "description": "", "parameters": {"type": "object"}}}
CONTINUED: Final = "THE_MODEL_CONTINUES_HERE "  # its blank is lost where the template trims texts
RESERVED: Final = frozenset(  # what the tokenizer takes by name
    {
        *("conversation", "messages", "tools", "chat_template", "tokenize", "tokenizer_kwargs", "padding"),
        *("truncation", "max_length", "return_tensors", "return_dict", "return_assistant_tokens_mask"),
    }
)
"""Names that variables of a template cannot have."""


def template_text(given: str) -> str:
    """Returns the text of a chat template that is given as a text or as the path of a file.

    Args:
        given: A text has a brace or several lines.

    Raises:
        DynamoError: The file cannot be read.
    """
    if re.search(r"[{}\n]", given):
        return given
    try:
        return Path(given).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise DynamoError(
            f"the chat template cannot be read: {error}",
            where="Processor.chat_template",
            remedy="set it to the text of a Jinja template, or to the absolute path of a file on each machine",
        ) from error


class ChatTemplate:
    """A chat template of a model.

    Args:
        tokenizer: A tokenizer of transformers.
        source: The text of the template.
        has_tools: True if the template is for chats with tools.

    Raises:
        DynamoError: The template is not valid Jinja.
    """

    def __init__(self, tokenizer: Any, source: str, *, has_tools: bool) -> None:
        from jinja2 import TemplateSyntaxError

        self._tokenizer, self._source = tokenizer, source
        self._tools = [TOOL] if has_tools else []
        self._has_developer = '"developer"' in source or "'developer'" in source
        self._takes_parts = cache(self._find_takes_parts)
        try:
            self._render([USER], self._tools, {})
        except TemplateSyntaxError as error:
            raise DynamoError(f"the chat template is not valid: {error}, in line {error.lineno}") from error
        except Exception:  # noqa: S110 - it does not take this message
            pass

    def prompt(
        self, messages: list[dict[str, Any]], tools: list[dict[str, Any]], variables: dict[str, Any] | None = None
    ) -> str:
        """Returns the text of a conversation, up to the point where the model answers.

        Args:
            messages: Messages in the form of OpenAI's API.
            tools: Tools in the form of OpenAI's API.
            variables: Variables of the template. `add_generation_prompt` is False for a text without the beginning of
                an answer, `continue_final_message` is True for a text that ends within the last message.

        Raises:
            InvalidArgument: A message is invalid, the template rejects the messages, or a variable has a reserved name.
        """
        check_variables(variables := dict(variables or {}))
        expected = conversation(messages, takes_parts=self._takes_parts, has_developer=self._has_developer)
        is_continued = variables.pop("continue_final_message", False)
        variables.setdefault("add_generation_prompt", not is_continued)
        if is_continued and variables["add_generation_prompt"]:
            raise InvalidArgument(
                "continue_final_message and add_generation_prompt cannot both be true", where="continue_final_message"
            )
        last = ""
        try:
            if is_continued:
                last = _with_continuation(expected[-1])
            text = self._render(expected, tools, variables)
        except Exception as error:  # a template may raise anything
            raise InvalidArgument(f"the chat template rejected the messages: {error}", where="messages") from error
        return _continued(text, last) if is_continued else text

    def _render(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]], variables: dict[str, Any]) -> str:
        apply = self._tokenizer.apply_chat_template
        return str(apply(messages, chat_template=self._source, tools=tools or None, tokenize=False, **variables))

    def _find_takes_parts(self, role: str) -> bool:
        """True if the template expects the content of a role as a list of parts, and not as a text.

        It is tried, because a loop over parts may have any form in a template, and only some roles may have one. Where
        both are written, parts are expected; but of tools, whose results many templates write in any form, a text.
        """
        if role == "tool" and self._writes(role, " ".join(PROBES)):
            return False
        return self._writes(role, [{"type": "text", "text": text, PROBE_KEY: ""} for text in PROBES])

    def _writes(self, role: str, content: Any) -> bool:
        """True if the template writes the texts of the content, and nothing else of its parts."""
        probe = {"role": role, "content": content}
        others = {"user": [probe], "assistant": [USER, probe], "tool": [USER, probe]}
        try:
            prompt = self._render(others.get(role, [probe, USER]), self._tools, {})
        except Exception:
            return False
        return PROBE_KEY not in prompt and all(text in prompt for text in PROBES)


def check_variables(variables: dict[str, Any]) -> None:
    """Checks the names of variables for a chat template.

    Raises:
        InvalidArgument: A name is reserved.
    """
    for name in sorted(RESERVED.intersection(variables)):
        remedy = "set Processor.chat_template" if name == "chat_template" else "use the field of the request"
        raise InvalidArgument(f"{name!r} is not a variable", where=f"chat_template_kwargs.{name}", remedy=remedy)


# transformers can continue a message too, but its older versions cut at the last place with the same text, which may be
# part of the template: an empty message is continued after its end.


def _with_continuation(message: dict[str, Any]) -> str:
    """Adds the mark to the end of a message. Returns the text before it."""
    content = message["content"]
    if isinstance(content, str):
        message["content"] = content + CONTINUED
        return content
    last = content[-1]["text"] if content else ""
    message["content"] = [*content[:-1], {"type": "text", "text": last + CONTINUED}]
    return str(last)


def _continued(text: str, last: str) -> str:
    """The prompt up to the mark. last: the text before it."""
    end = text.rfind(CONTINUED.strip())
    if end < 0 or last.strip() not in text:
        raise InvalidArgument(
            "the chat template does not write the last message as it is, so it cannot be continued",
            where="continue_final_message",
        )
    return text[:end] if text.startswith(CONTINUED, end) else text[:end].rstrip()
