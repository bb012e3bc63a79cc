"""The analysis of a statement, compared with `symtable` of Python."""

import ast
import asyncio
import symtable
from pathlib import Path

import pytest

from dynamo_nb.source.analysis import Use, analyse


def globals_of(table):
    known = table.get_type() == "module"
    names = {one.get_name() for one in table.get_symbols() if one.is_referenced() and (known or one.is_global())}
    return names.union(*(globals_of(child) for child in table.get_children()))


@pytest.mark.parametrize("path", sorted(Path(asyncio.__file__).parent.glob("*.py")), ids=lambda path: path.stem)
def test_the_analysis_finds_every_global_that_symtable_finds(path):
    lines = path.read_text().splitlines()
    for node in ast.parse("\n".join(lines)).body:
        start = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", ()))])
        text = "\n".join(lines[start - 1 : node.end_lineno])
        names = analyse(node)
        missed = globals_of(symtable.symtable(text, path.name, "exec")) - {use.name for use in names.uses} - names.binds
        assert not missed, text


def test_how_a_name_is_used():
    found = analyse(ast.parse("class F(Base):\n    b = depends(B)\n    def f(self, c: C): D.link(c)").body[0])
    assert found.uses == (
        Use("Base", 1, later=False, how="base"),
        Use("depends", 2, later=False, how=""),
        Use("B", 2, later=False, how="depends("),
        Use("C", 3, later=False, how="annotation"),
        Use("D", 3, later=True, how=".link"),
    )
