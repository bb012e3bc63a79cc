"""Chat templates, and the form of messages that each expects."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from dynamo_nb.errors import InvalidArgument
from dynamo_nb.llm.text.chats import conversation

PROBES: Final = ("first probe", "second probe")
PROBE_KEY: Final = "probe_key"  # is in a prompt only if the template writes a part as it is
USER: Final[dict[str, Any]] = {"role": "user", "content": "hello"}
TOOL: Final = {"type": "function", "function": {"name": "f", "description": "", "parameters": {"type": "object"}}}


class ChatTemplate:
    """A chat template of a model.

    Args:
        tokenizer: A tokenizer of transformers.
        source: The text of the template.
        has_tools: True if the template is for chats with tools.
    """

    def __init__(self, tokenizer: Any, source: str, *, has_tools: bool) -> None:
        import jinja2  # noqa: F401 - transformers needs it for templates, and does not require it

        self._tokenizer, self._source = tokenizer, source
        self._tools = [TOOL] if has_tools else []
        self._has_developer = '"developer"' in source or "'developer'" in source
        self._takes_parts = cache(self._find_takes_parts)

    def prompt(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> str:
        """Returns the text of a conversation, up to the point where the model answers.

        Args:
            messages: Messages in the form of OpenAI's API.
            tools: Tools in the form of OpenAI's API.

        Raises:
            InvalidArgument: A message is invalid, or the template rejects the messages.
        """
        expected = conversation(messages, takes_parts=self._takes_parts, has_developer=self._has_developer)
        try:
            return self._render(expected, tools)
        except Exception as error:  # a template may raise anything
            raise InvalidArgument(f"the chat template rejected the messages: {error}", where="messages") from error

    def _render(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> str:
        return str(
            self._tokenizer.apply_chat_template(
                messages, chat_template=self._source, tools=tools or None, tokenize=False, add_generation_prompt=True
            )
        )

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
            prompt = self._render(others.get(role, [probe, USER]), self._tools)
        except Exception:
            return False
        return PROBE_KEY not in prompt and all(text in prompt for text in PROBES)
