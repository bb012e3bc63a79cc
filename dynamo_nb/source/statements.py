"""The top-level statements of cells, as typed, with the names that they bind and use.

IPython lines (`%magic`, `!shell`) become Python in place, so that every other line keeps its number and its text.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from dynamo_nb.source.analysis import analyse
from dynamo_nb.source.cells import Cell
from dynamo_nb.source.first_line import lines_of, service_line
from dynamo_nb.source.names import Names

_PARSED_CELLS = 2048
"""Cached cells: ten times the cells of a long notebook, each edited a few times."""


@dataclass(frozen=True, eq=False)
class Import:
    """An import statement with several names. Each name is a Statement, so that a module imports only what it uses.

    text: of the whole import. count: of its names.
    """

    text: str
    count: int


@dataclass(frozen=True, eq=False)
class Statement:
    """A top-level statement, or one name of an import.

    line, end_line: in the cell, from 1, decorators included. imports: the whole import, for one name of it.
    """

    text: str
    line: int
    end_line: int
    node: ast.stmt
    names: Names
    imports: Import | None = None

    @property
    def star(self) -> str:
        """The module of `from module import *`, else ""."""
        node = self.node
        return (node.module or "") if isinstance(node, ast.ImportFrom) and node.names[0].name == "*" else ""

    @property
    def root_import(self) -> bool:
        """`import a` or `import a.b`: both bind `a`, and each adds to the other."""
        return isinstance(self.node, ast.Import) and self.node.names[0].asname is None


@dataclass(frozen=True)
class Parsed:
    """The statements of a cell, or the `fault` for which it has none.

    lost: the statements in a skipped cell. future: the features of its `from __future__ import`.
    """

    statements: tuple[Statement, ...] = ()
    lost: tuple[Statement, ...] = ()
    future: frozenset[str] = frozenset()
    fault: str = ""


@dataclass(frozen=True, eq=False)
class Unit:
    """A statement of a cell that ran: the unit of which modules are made.

    position: in the order of execution. interface: True for the generated interface of a service's class.
    """

    statement: Statement
    cell: Cell
    position: int
    interface: bool = False

    @property
    def names(self) -> Names:
        return self.statement.names

    def location(self, line: int = 0) -> str:
        """The cell and a line of it, by default the first line of the statement."""
        return f"{self.cell.label}, line {line or self.statement.line}"


@dataclass
class History:
    """The units of the cells that ran, in order of execution.

    lost: units of cells that failed or were skipped, each with the reason. broken: cells that could not be parsed.
    future: features of `from __future__ import`, each with the position from which it holds: IPython compiles a cell
    with the features of the cells before it.
    """

    units: list[Unit] = field(default_factory=list)
    lost: list[tuple[Unit, str]] = field(default_factory=list)
    broken: list[tuple[Cell, str]] = field(default_factory=list)
    future: list[tuple[int, str]] = field(default_factory=list)

    @classmethod
    def of(cls, cells: Sequence[Cell]) -> History:
        history = cls()
        for cell in cells:
            history._add(cell)
        return history

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
    """The statements of a cell; none for a cell with another magic than %%dynamo_service."""
    lines = lines_of(text)
    first = next((index for index, line in enumerate(lines) if line.strip()), 0)
    header = service_line(text)
    magic = None if header else re.match(r"%%(\w+)", lines[first])
    if header or magic:
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
    """The first line of a statement, decorators included."""
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(decorator.lineno for decorator in decorators)])


def ipython_to_python(source: str) -> str:
    """Converts the IPython lines of a cell (`%magic`, `!shell`, `help?`, prompts) to Python, line by line.

    `transform_cell` of IPython joins continued lines and drops leading empty ones, so later lines would move.
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
