"""The language of docstrings: the first line names a thing, and does not begin with a relative clause."""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "dynamo_nb"
RELATIVE = re.compile(r"(What|Where|Whether|How|Why|While|Who|Those)\b")


def relative_clauses(text):
    """First lines of docstrings that begin with a relative clause. Docstrings of constants and attributes count too."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            line = node.value.value.strip().partition("\n")[0]
            if RELATIVE.match(line):
                yield f"line {node.lineno}: {line}"


def test_no_docstring_begins_with_a_relative_clause():
    found = [
        f"{path.relative_to(PACKAGE)}, {line}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for line in relative_clauses(path.read_text())
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ('"""What a module is for."""', 1),
        ('def is_open():\n    """Whether it is open."""', 1),
        ('LIMIT = 3\n"""How many there may be."""', 1),
        ('"""The purpose. What follows is a second sentence."""', 0),
        ('"""Whole numbers."""', 0),
    ],
)
def test_a_relative_clause_is_found_at_the_start_of_a_docstring(text, count):
    assert len(list(relative_clauses(text))) == count
