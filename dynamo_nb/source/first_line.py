"""The first line that marks a cell of services: `%%dynamo_service` or `#| dynamo_service`, with flags."""

from __future__ import annotations

import re
from typing import NamedTuple

SERVICE, DIRECTIVE = "%%dynamo_service", "#| dynamo_service"
"""The two forms of the line. The second is a comment, so that editors and linters read the cell as Python."""

_LINE = re.compile(r"\s*(?:(?P<magic>%%)|#\|\s*)dynamo_service(?:\s+(?P<flags>.*?))?\s*")


class ServiceLine(NamedTuple):
    """at: index of the line in the cell. spelling: SERVICE or DIRECTIVE. flags: the rest of the line."""

    at: int
    spelling: str
    flags: str


def service_line(text: str) -> ServiceLine | None:
    """The first line of a cell that is not blank, if it marks a cell of services; else None."""
    index, line = next(((n, line) for n, line in enumerate(lines_of(text)) if line.strip()), (0, ""))
    found = _LINE.fullmatch(line)
    return ServiceLine(index, SERVICE if found["magic"] else DIRECTIVE, found["flags"] or "") if found else None


def lines_of(text: str) -> list[str]:
    """The lines as Python counts them. `str.splitlines` also splits at form feeds."""
    return text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")
