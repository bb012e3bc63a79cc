"""Outcomes of expectations, and the error of a cell whose expectations failed."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from dynamo_nb.errors import DynamoError

LONGEST: Final = 2000  # characters of a value in a message


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """The outcome of one expectation.

    Attributes:
        name: Name of the value, or the source text of its expression.
        passed: True if the expectation is met.
        what: The condition, such as `== 3` or `within 10 % of its baseline`.
        cell: The cell, such as `cell 4`.
        value: The value, as text.
        expected: The expected value, as text; "" if `what` contains it.
        note: More lines, such as a difference or a remedy.
    """

    name: str
    passed: bool
    what: str
    cell: str = ""
    value: str = ""
    expected: str = ""
    note: str = ""

    def __str__(self) -> str:
        lines = [f"{self.name} {self.what}" if self.passed else f"{self.name}: expected {self.what}"]
        if not self.passed:
            lines += _labelled("value", self.value)
            if self.expected:
                lines += _labelled("expected", self.expected)
            if self.value.count("\n") and self.expected.count("\n"):
                lines += ["  difference:", *(f"    {line}" for line in difference(self.expected, self.value))]
            lines += [f"  {line}" for line in self.note.splitlines()]
        return "\n".join(lines)


def _labelled(label: str, text: str) -> list[str]:
    if "\n" not in text:
        return [f"  {label}: {text}"]
    return [f"  {label}:", *(f"    {line}" for line in text.splitlines())]


def shown(value: Any) -> str:
    """Returns a value as text for a message. Never raises."""
    try:
        text = value if isinstance(value, str) and "\n" in value else repr(value)
    except Exception as error:
        text = f"<{type(value).__name__}, whose repr raised {type(error).__name__}>"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text):,} characters)"


def difference(expected: str, value: str) -> list[str]:
    """Returns the lines that differ, with two lines before and after: `-` for the expected text, `+` for the value."""
    lines = list(difflib.unified_diff(expected.splitlines(), value.splitlines(), lineterm="", n=2))[2:]
    return lines[:200] + ([f"… and {len(lines) - 200} more lines"] if len(lines) > 200 else [])


class ExpectationFailed(DynamoError, AssertionError):
    """Expectations of a cell failed.

    Attributes:
        outcomes: The expectations that failed.
    """

    code = "expectation"

    def __init__(self, outcomes: Sequence[Outcome], *, cell: str = "") -> None:
        self.outcomes = tuple(outcomes)
        number = f"{len(self.outcomes)} expectations failed" if len(self.outcomes) != 1 else "an expectation failed"
        details = "\n".join(f"- {outcome}".replace("\n", "\n  ") for outcome in self.outcomes)
        super().__init__(f"{number}\n{details}", where=cell)
