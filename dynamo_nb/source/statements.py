"""Units: the top-level statements of cells, as typed, with the names they bind and need.

Lines that only IPython understands become Python in place, so that every other line keeps its number and its text.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from dynamo_nb.source.cells import Cell
from dynamo_nb.source.first_line import lines_of, service_line
from dynamo_nb.source.scope import Names, analyse

# Ten times the cells of a long notebook, each edited a few times.
_PARSED_CELLS = 2048


@dataclass(frozen=True, eq=False)
class Import:
    """The import statement that a unit is one name of: a module takes the names it needs, not the whole line."""

    text: str
    count: int


@dataclass(frozen=True, eq=False)
class Statement:
    """A top-level statement, or one name of an import. Lines count from 1 in the cell, decorators included."""

    text: str
    line: int
    end_line: int
    node: ast.stmt
    names: Names
    imports: Import | None = None

    @property
    def star(self) -> str:
        """The module that `from module import *` names, else ""."""
        node = self.node
        return (node.module or "") if isinstance(node, ast.ImportFrom) and node.names[0].name == "*" else ""

    @property
    def root_import(self) -> bool:
        """`import a` or `import a.b`: both bind `a`, and each adds to the other."""
        return isinstance(self.node, ast.Import) and self.node.names[0].asname is None


@dataclass(frozen=True)
class Parsed:
    """A cell's statements; or `fault`, why there are none, and the statements that a skipped cell would have had."""

    statements: tuple[Statement, ...] = ()
    lost: tuple[Statement, ...] = ()
    future: frozenset[str] = frozenset()
    fault: str = ""


@dataclass(frozen=True, eq=False)
class Unit:
    """A statement of a cell that ran. position: its place in the order of execution."""

    statement: Statement
    cell: Cell
    position: int
    interface: bool = False

    @property
    def names(self) -> Names:
        return self.statement.names

    def place(self, line: int = 0) -> str:
        return f"{self.cell.label}, line {line or self.statement.line}"


@dataclass
class Units:
    """The units of cells in order of execution, and what those cells did not give."""

    units: list[Unit] = field(default_factory=list)
    lost: list[tuple[Unit, str]] = field(default_factory=list)
    broken: list[tuple[Cell, str]] = field(default_factory=list)
    # Future features hold from their cell on, since IPython compiles each cell with those of the cells before it.
    future: list[tuple[int, str]] = field(default_factory=list)

    @classmethod
    def of(cls, cells: Sequence[Cell]) -> Units:
        found = cls()
        for cell in cells:
            found._add(cell)
        return found

    def _add(self, cell: Cell) -> None:
        parsed = parse(cell.text)
        self.future += [(len(self.units), feature) for feature in sorted(parsed.future)]
        for statement in parsed.statements:
            unit = Unit(statement, cell, len(self.units))
            if cell.failed_at is None or statement.end_line < cell.failed_at:
                self.units.append(unit)
            else:
                failure = f"failed at line {cell.failed_at}" if cell.failed_at else "failed"
                self.lost.append((unit, f"{cell.label}, which {failure}"))
        self.lost += [(Unit(lost, cell, -1), f"{cell.label}, which {parsed.fault}") for lost in parsed.lost]
        if parsed.fault and not parsed.lost:
            self.broken.append((cell, parsed.fault))


@lru_cache(maxsize=_PARSED_CELLS)
def parse(text: str) -> Parsed:
    """The statements of a cell. A cell of another magic than %%dynamo_service gives none."""
    lines = lines_of(text)
    first = next((index for index, line in enumerate(lines) if line.strip()), 0)
    ours = service_line(text)
    magic = None if ours else re.match(r"%%(\w+)", lines[first])
    if ours or magic:
        lines[first] = ""
    try:
        if magic:
            return Parsed(lost=_statements(lines).statements, fault=f"is a %%{magic[1]} cell")
        return _statements(lines)
    except (SyntaxError, ValueError) as error:  # ValueError: a null byte
        if magic:
            return Parsed(fault=f"is a %%{magic[1]} cell")
        line = f" in line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        return Parsed(fault=f"has a syntax error{line}")


def _statements(lines: list[str]) -> Parsed:
    source = "\n".join(lines) + "\n"
    try:
        tree = ast.parse(source)
    except SyntaxError:
        source = ipython_to_python(source)
        tree, lines = ast.parse(source), lines_of(source)
    statements: list[Statement] = []
    future: set[str] = set()
    for index, node in enumerate(tree.body):
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            future.update(alias.name for alias in node.names)
        else:
            around = [other for other in tree.body[max(index - 1, 0) : index + 2] if other is not node]
            statements += _statement(node, lines, source, around)
    return Parsed(tuple(statements), future=frozenset(future))


def _statement(node: ast.stmt, lines: list[str], source: str, around: list[ast.stmt]) -> list[Statement]:
    start, end = first_line(node), node.end_lineno or node.lineno
    if any(first_line(other) <= end and (other.end_lineno or 0) >= start for other in around):
        text = ast.get_source_segment(source, node) or ast.unparse(node)  # `a = 1; b = 2`
    else:
        top = start - 1
        while top > 0 and lines[top - 1].startswith("#"):
            top -= 1
        text = "\n".join(lines[top:end]).rstrip().removesuffix(";")
    if not isinstance(node, ast.Import | ast.ImportFrom):
        return [Statement(text, start, end, node, analyse(node))]
    whole = Import(text, len(node.names))
    parts: list[Statement] = []
    for alias in node.names:
        part: ast.stmt = (
            ast.Import([alias]) if isinstance(node, ast.Import) else ast.ImportFrom(node.module, [alias], node.level)
        )
        ast.copy_location(part, node)
        parts.append(Statement(ast.unparse(part), start, end, part, analyse(part), whole))
    return parts


def first_line(node: ast.stmt) -> int:
    """The line where a statement begins: that of its first decorator, if it has one."""
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(decorator.lineno for decorator in decorators)])


def ipython_to_python(source: str) -> str:
    """The cell with its IPython lines (`%magic`, `!shell`, `help?`, prompts) as Python, line for line.

    IPython's own `transform_cell` joins continued lines and drops leading empty ones, which moves all that follow.
    """
    from IPython.core import inputtransformer2 as ipython

    lines = source.splitlines(keepends=True)
    for clean in (ipython.leading_indent, ipython.classic_prompt, ipython.ipython_prompt):
        lines = clean(lines)
    kinds = ipython.TransformerManager().token_transformers
    for _ in range(len(lines)):
        found = sorted(
            filter(None, (kind.find(ipython.make_tokens_by_line(lines)) for kind in kinds)),
            key=lambda transformer: transformer.sortby(),
        )
        for transformer in found:
            try:
                changed = transformer.transform(lines)
            except SyntaxError:
                continue
            after = transformer.start_line + 1
            lines = [*changed[:after], *["\n"] * (len(lines) - len(changed)), *changed[after:]]
            break
        else:
            break
    return "".join(lines)
