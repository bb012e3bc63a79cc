"""Tool calls in an answer, as models of the Hermes and Qwen families write them."""

from __future__ import annotations

import json
import math
import re
import secrets
from collections.abc import Collection
from typing import Any, Final

import msgspec

from dynamo_nb.llm.messages import Structure, ToolCall

BEGIN: Final = "<tool_call>"
END: Final = "</tool_call>"
_BLANKS: Final = re.compile(r"\s*")
_OUTSIDE_STRINGS: Final = re.compile(r'["{}\[\]]|[^\w\s:,.+-]')  # borders, and what JSON does not have
_IN_STRING: Final = re.compile(r'["\\]')
_FIELDS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class ToolCalls:
    """Removes `<tool_call>{"name": …, "arguments": {…}}</tool_call>` from a text that comes in pieces.

    A call ends where its JSON ends: arguments may contain the marks, and the last mark may be missing. A text after the
    first mark that is not a call stays in the text, with the mark. Blanks before the first call and after calls are no
    text.

    Args:
        most: Further calls are removed and dropped.

    Attributes:
        count: Number of calls so far.
    """

    def __init__(self, most: float = math.inf) -> None:
        self.count, self._most = 0, most
        self._calls: list[ToolCall] = []
        self._held = ""  # text that may be part of a call
        self._shown = ""
        self._blanks: str | None = ""  # since the beginning or the last call; None after other text
        self._state = self._outside
        self._object = _ObjectEnd(0)

    def feed(self, piece: str) -> str:
        """Returns the text that is certainly not part of a call."""
        self._held += piece
        while self._state():
            pass
        return self._take_shown()

    def end(self) -> str:
        """Returns the rest of the text; an unfinished call is text."""
        if self._state == self._after:  # blanks, and a part of the mark
            self._held = ""
        self._show(len(self._held))
        if not self.count:
            self._shown += self._blanks or ""
        return self._take_shown()

    def take(self) -> list[ToolCall]:
        """Returns the calls since the last call of `take`."""
        calls, self._calls = self._calls, []
        return calls

    # The states. Each returns False if it needs more text.

    def _outside(self) -> bool:
        begin = self._held.find(BEGIN)
        if begin < 0:
            lengths = range(len(BEGIN) - 1, 0, -1)
            begin = len(self._held) - next((n for n in lengths if self._held.endswith(BEGIN[:n])), 0)
            self._show(begin)
            return False
        self._show(begin)
        self._object, self._state = _ObjectEnd(len(BEGIN)), self._inside
        return True

    def _inside(self) -> bool:
        end = self._object.find(self._held)
        if end is None:
            return False
        if end and self._store(self._held[len(BEGIN) : end]):
            self._held, self._blanks = self._held[end:], ""
            self._state = self._after
        else:
            self._show(len(BEGIN))
            self._state = self._outside
        return True

    def _after(self) -> bool:
        rest = self._held.lstrip()
        if rest.startswith(END):
            self._held = rest[len(END) :]
        elif END.startswith(rest):
            return False
        self._state = self._outside
        return True

    def _show(self, length: int) -> None:
        """Moves the first characters of the held text to the shown text."""
        text, self._held = self._held[:length], self._held[length:]
        if self._blanks is not None:
            text, self._blanks = self._blanks + text, None
            if not text.strip():
                text, self._blanks = "", text
        self._shown += text

    def _take_shown(self) -> str:
        shown, self._shown = self._shown, ""
        return shown

    def _store(self, text: str) -> bool:
        """Stores a call. Returns False if the object is not a call."""
        try:
            fields = _fields(text)
            name = json.loads(fields["name"])
            if not isinstance(name, str) or not name:
                return False
            name.encode()
            arguments = _arguments(fields.get("arguments") or fields.get("parameters") or "{}")
        except (ValueError, KeyError, RecursionError):
            return False
        if self.count < self._most:
            self._calls.append(ToolCall(f"call_{secrets.token_hex(12)}", name, arguments))
            self.count += 1
        return True


def forced_calls(tools: list[dict[str, Any]], names: Collection[str], *, many: bool) -> Structure:
    """Returns the form of an answer that is nothing but calls.

    Args:
        tools: Tools in the form of OpenAI's API.
        names: Names of the tools that may be called.
        many: False for one call.
    """
    tags = [tag for tool in tools if tool["function"]["name"] in names for tag in _tags(tool["function"])]
    calls = {"type": "tags_with_separator", "tags": tags, "separator": "", "at_least_one": True}
    form = {"type": "structural_tag", "format": {**calls, "stop_after_first": not many}}
    return Structure("structural_tag", json.dumps(form))


def _tags(function: dict[str, Any]) -> list[dict[str, Any]]:
    """The forms of a call, with line breaks at the marks and without."""
    schema = function.get("parameters") if function.get("strict") is not False else None
    content = {"type": "json_schema", "json_schema": schema or {"type": "object"}}
    head = f'{{"name": {json.dumps(function["name"], ensure_ascii=False)}, "arguments": '
    return [
        {"type": "tag", "begin": f"{BEGIN}{blank}{head}", "content": content, "end": f"}}{blank}{END}"}
        for blank in ("\n", "")
    ]


def _fields(text: str) -> dict[str, str]:
    """The JSON texts of the values of an object, as the model wrote them."""
    try:
        return {name: bytes(value).decode() for name, value in _FIELDS.decode(text).items()}
    except msgspec.MsgspecError:  # line breaks in strings, which models write
        return {name: json.dumps(value) for name, value in json.loads(text, strict=False).items()}


def _arguments(text: str) -> str:
    """The arguments as JSON; some models write them as a string with JSON in it."""
    value = json.loads(text)
    if isinstance(value, str) and value.strip():
        try:
            json.loads(value)
        except ValueError:
            return text
        return value
    return text if value else "{}"


class _ObjectEnd:
    """Finds the end of a JSON object in a text that grows.

    Args:
        start: Index from which the object may begin.
    """

    def __init__(self, start: int) -> None:
        self._position, self._depth = start, 0
        self._in_string = False

    def find(self, text: str) -> int | None:
        """Returns the index after the object; 0 if there is no object; None if the text ends before."""
        if not self._depth:
            begin = _BLANKS.match(text, self._position)
            assert begin is not None
            self._position = begin.end()
            if not text.startswith("{", self._position):
                return None if self._position == len(text) else 0
        while True:
            found = (_IN_STRING if self._in_string else _OUTSIDE_STRINGS).search(text, self._position)
            if found is None:
                self._position = len(text)
                return None
            border = found[0]
            if border == "\\" and found.end() == len(text):
                self._position = found.start()
                return None
            self._position = found.end() + (border == "\\" and self._in_string)
            if border == '"':
                self._in_string = not self._in_string
            elif not self._in_string:
                if border not in "{}[]":
                    return 0
                self._depth += 1 if border in "{[" else -1
                if not self._depth:
                    return self._position
