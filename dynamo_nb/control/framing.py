"""Messages of the control socket and of workers' lifelines: JSON objects, one on each line."""

from __future__ import annotations

import json
from typing import Any, Final

MAX_LINE: Final = 64 * 2**20
"""Bytes of one message; a GraphSpec with many schemas is the longest."""

Message = dict[str, Any]


def encode(message: Message) -> bytes:
    """A message as a line. Values that JSON does not have become text."""
    return json.dumps(message, default=str).encode() + b"\n"


def decode(line: bytes | str) -> Message:
    """Reads a line. Raises ValueError if it is not JSON."""
    message: Message = json.loads(line)
    return message
