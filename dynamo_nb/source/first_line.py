"""The first line of a cell that says: this cell defines services, and is checked when it has run."""

from __future__ import annotations

import re
from typing import NamedTuple

SERVICE, DIRECTIVE = "%%dynamo_service", "#| dynamo_service"
"""Its two spellings. The second is a comment, so that the cell stays Python for every editor and linter."""

_LINE = re.compile(r"\s*(?:(?P<magic>%%)|#\|\s*)dynamo_service(?:\s+(?P<flags>.*?))?\s*")


class ServiceLine(NamedTuple):
    """at: its place in the cell, from 0. spelling: SERVICE or DIRECTIVE. flags: the rest of the line."""

    at: int
    spelling: str
    flags: str


def service_line(text: str) -> ServiceLine | None:
    """The first line of a cell that is not blank, if it is such a line."""
    index, line = next(((n, line) for n, line in enumerate(lines_of(text)) if line.strip()), (0, ""))
    found = _LINE.fullmatch(line)
    return ServiceLine(index, SERVICE if found["magic"] else DIRECTIVE, found["flags"] or "") if found else None


def lines_of(text: str) -> list[str]:
    """The lines as Python counts them: a form feed ends none, unlike in `str.splitlines`."""
    return text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")
