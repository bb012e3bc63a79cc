"""Chat templates: the form of messages that each expects, and its variables."""

from __future__ import annotations

import logging
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from dynamo_nb.errors import DynamoError, InvalidArgument
from dynamo_nb.llm.text.chats import Message, conversation, read_messages

PROBES: Final = ("first probe", "second probe")
PROBE_KEY: Final = "probe_key"  # is in a prompt only if the template writes a part as it is
USER: Final[dict[str, Any]] = {"role": "user", "content": "hello"}
TOOL: Final = {"type": "function", "function": {"name": "f", "description": "", "parameters": {"type": "object"}}}
MAX_ROLES: Final = 32  # roles whose form is cached; clients can send any number
MAX_UNREAD: Final = 256  # names that a log reports
UNREPORTED: Final = ("add_generation_prompt", "enable_thinking")  # clients do not give them by these names
CONTINUED: Final = "THE_MODEL_CONTINUES_HERE "  # its blank is lost where the template trims texts
RESERVED: Final = frozenset(  # what the tokenizer takes by name
    {
        *("conversation", "messages", "tools", "chat_template", "tokenize", "tokenizer_kwargs", "padding"),
        *("truncation", "max_length", "return_tensors", "return_dict", "return_assistant_tokens_mask"),
    }
)
"""Names that variables of a template cannot have."""

_log = logging.getLogger(__name__)


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
        self._unread: set[str] = set()
        self._form = lru_cache(MAX_ROLES)(self._find_form)
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
            InvalidArgument: A message is invalid, the template rejects the messages or passes over those of a role, or
                a variable has a reserved name.
        """
        check_variables(variables := dict(variables or {}))
        read, expected = conversation(
            read_messages(messages),
            takes_parts=lambda role: self._form(role) == "parts",
            has_developer=self._has_developer,
        )
        is_continued = variables.pop("continue_final_message", False)
        variables.setdefault("add_generation_prompt", not is_continued)
        if is_continued and variables["add_generation_prompt"]:
            raise InvalidArgument(
                "continue_final_message and add_generation_prompt cannot both be true", where="continue_final_message"
            )
        self._report_unread([*variables, *(["tools"] if tools else [])])
        last = ""
        try:
            if is_continued:
                last = _with_continuation(expected[-1])
            text = self._render(expected, tools, variables)
        except Exception as error:  # a template may raise anything
            raise InvalidArgument(f"the chat template rejected the messages: {error}", where="messages") from error
        self._check_written(read, text)
        return _continued(text, last) if is_continued else text

    def _report_unread(self, names: list[str]) -> None:
        """Reports in the log what requests give to a template that does not read it, each name once."""
        for name in names:
            is_known = name in UNREPORTED or name in self._unread or len(self._unread) == MAX_UNREAD
            if not is_known and not re.search(rf"\b{re.escape(name)}\b", self._source):
                self._unread.add(name)
                _log.warning("the chat template does not read %.100r, which requests have", name)

    def _check_written(self, messages: list[Message], text: str) -> None:
        """Raises InvalidArgument for messages of roles that the template passes over without an error."""
        written = ""
        for role in {message.role for message in messages if not self._form(message.role)}:
            written = written or text.casefold()
            if any(
                part.strip().casefold() not in written for one in messages if one.role == role for part in one.texts
            ):
                raise InvalidArgument(
                    f"the chat template does not write messages of the role {role!r}",
                    where="messages",
                    remedy="use another role, or set Processor.chat_template",
                )

    def _render(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]], variables: dict[str, Any]) -> str:
        apply = self._tokenizer.apply_chat_template
        return str(apply(messages, chat_template=self._source, tools=tools or None, tokenize=False, **variables))

    def _find_form(self, role: str) -> str:
        """The content that the template expects of a role: "parts", "text", or "" if it seems to pass over the role.

        It is tried, because a loop over parts may have any form in a template, and only some roles may have one. Where
        both are written, parts are expected; but of tools, whose results many templates write in any form, a text.
        """
        forms = {
            "parts": [{"type": "text", "text": text, PROBE_KEY: ""} for text in PROBES],
            "text": " ".join(PROBES),
        }
        order = ("text", "parts") if role == "tool" else ("parts", "text")
        return next((form for form in order if self._writes(role, forms[form])), "")

    def _writes(self, role: str, content: Any) -> bool:
        """True if the template writes the texts of the content, and nothing else of its parts."""
        probe = {"role": role, "content": content}
        others = {"user": [probe], "assistant": [USER, probe], "tool": [USER, probe]}
        try:
            prompt = self._render(others.get(role, [probe, USER]), self._tools, {}).casefold()
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
