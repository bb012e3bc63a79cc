"""Tool calls in an answer, as models of the Hermes and Qwen families write them."""

from __future__ import annotations

import json
import math
import secrets
from typing import Any, Final

BEGIN: Final = "<tool_call>"
END: Final = "</tool_call>"


class ToolCalls:
    """Removes `<tool_call>{"name": …, "arguments": {…}}</tool_call>` from a text that comes in pieces.

    A text between the marks that is not a call stays in the text.

    Args:
        most: Further calls are removed and dropped.

    Attributes:
        count: Number of calls so far.
    """

    def __init__(self, most: float = math.inf) -> None:
        self.count, self._most = 0, most
        self._held = ""
        self._calls: list[dict[str, Any]] = []

    def feed(self, piece: str) -> str:
        """Returns the text that is certainly not part of a call."""
        text, shown = self._held + piece, ""
        while (begin := text.find(BEGIN)) >= 0:
            end = text.find(END, begin)
            if end < 0:
                break
            end += len(END)
            shown += text[:begin] + ("" if self._parse(text[begin:end]) else text[begin:end])
            text = text[end:]
        if begin < 0:
            begin = len(text) - next(
                n for n in range(len(BEGIN), -1, -1) if text.endswith(BEGIN[:n]) and n < len(BEGIN)
            )
        self._held = text[begin:]
        return shown + text[:begin]

    def end(self) -> str:
        """Returns the rest of the text; an unfinished call is text."""
        held, self._held = self._held, ""
        return held

    def take(self) -> list[dict[str, Any]]:
        """Returns the calls since the last time, in the form of OpenAI's API."""
        calls, self._calls = self._calls, []
        return calls

    def _parse(self, marked: str) -> bool:
        """Stores a call. Returns False if the text between the marks is not a call."""
        try:
            call = json.loads(marked[len(BEGIN) : -len(END)])
            name, arguments = call["name"], call.get("arguments", {})
        except (ValueError, TypeError, KeyError):
            return False
        if self.count >= self._most:
            return True
        text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        function = {"name": str(name), "arguments": text}
        self._calls.append(
            {"index": self.count, "id": f"call_{secrets.token_hex(12)}", "type": "function", "function": function}
        )
        self.count += 1
        return True
