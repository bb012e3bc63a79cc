"""The object that a name of a notebook stands for: the unit that created it, and its kind."""

from __future__ import annotations

import ast
from typing import Literal

from dynamo_nb.source.bindings import Bindings
from dynamo_nb.source.effect_verbs import DISPLAY_PACKAGES
from dynamo_nb.source.interface import Aliases, is_service
from dynamo_nb.source.statements import Unit

Kind = Literal["import", "function", "class", "service", "object", "unknown"]
Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


class Creators:
    """The creators of objects, as a unit sees them when it runs."""

    def __init__(self, bindings: Bindings, known: Aliases) -> None:
        self._bindings, self._known = bindings, known

    def creator(self, name: str, unit: Unit) -> Unit | None:
        """The unit that created the object of a name; None for a name that no cell binds, such as a built-in."""
        found = self._bindings.find(name, unit.position, user=unit)
        return self._bindings.creator(name, found[-1]) if found else None

    def node(self, name: str, unit: Unit) -> ast.stmt | ast.Lambda | None:
        """The statement that created an object; for `name = lambda: …` the lambda."""
        made_by = self.creator(name, unit)
        node = made_by.statement.node if made_by else None
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Lambda):
            return node.value
        return node

    def kind(self, name: str, unit: Unit) -> Kind:
        """The kind of object; "unknown" for a name that no cell binds."""
        made_by = self.creator(name, unit)
        if made_by is None:
            return "unknown"
        if made_by.statement.imports:
            return "import"
        match self.node(name, unit):
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                return "function"
            case ast.ClassDef() as node:
                return "service" if is_service(node, self._known) else "class"
        return "object"

    def package(self, name: str, unit: Unit) -> str:
        """The top-level package that an imported name comes from."""
        node = self.node(name, unit)
        if isinstance(node, ast.ImportFrom):
            return (node.module or "").partition(".")[0]
        return node.names[0].name.partition(".")[0] if isinstance(node, ast.Import) else name

    def displays(self, name: str, unit: Unit) -> bool:
        """True for a name from a package whose calls show, fetch or test something."""
        return self.package(name, unit) in DISPLAY_PACKAGES

    def is_constant(self, name: str, unit: Unit) -> bool:
        """True for a number or text, which cannot change."""
        node = self.node(name, unit)
        return isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Constant)

    def changes_when_read(self, name: str, unit: Unit) -> bool:
        """True for a `defaultdict`, which keeps the keys that it is asked for."""
        match self.node(name, unit):
            case ast.Assign(value=ast.Call(func=made)) | ast.AnnAssign(value=ast.Call(func=made)):
                return (made.attr if isinstance(made, ast.Attribute) else getattr(made, "id", "")) == "defaultdict"
        return False
