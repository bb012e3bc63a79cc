"""The top-level classes of a CodeTree, found by name from any of its modules."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from dynamo_nb.source.code_tree import CodeTree, Module
from dynamo_nb.source.interface import Aliases, aliases_of_imports
from dynamo_nb.source.source_map import locate

_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class _Names:
    """The top-level names of a module.

    Attributes:
        classes: Classes that are defined exactly once.
        imports: Imported names, each with its module and its name there; "" for the module itself.
        aliases: Other names of imported decorators.
    """

    classes: Mapping[str, ast.ClassDef]
    imports: Mapping[str, tuple[str, str]]
    aliases: Aliases


@dataclass(frozen=True, eq=False)
class ClassIn:
    """A class, and the module that defines it.

    Attributes:
        node: The class.
        module: Its module.
        tree: Finds other classes by name.
    """

    node: ast.ClassDef
    module: Module
    tree: ClassTree

    @property
    def name(self) -> str:
        return self.node.name

    @property
    def aliases(self) -> Aliases:
        return self.tree.names_of(self.module.name).aliases

    def find(self, node: ast.expr) -> ClassIn | None:
        """The class that an expression in this class names; None if it is not in the tree."""
        return self.tree.find(self.module.name, node)

    def outside(self, node: ast.expr) -> str:
        """The dotted name of an import from outside the tree, such as `pydantic.BaseModel`; "" for anything else."""
        return self.tree.outside(self.module.name, node)

    @cached_property
    def bases(self) -> tuple[list[ClassIn], list[str]]:
        """The base classes in the tree, and the names of other base classes; "" for one without a readable name."""
        inside, outside = [], []
        for base in self.node.bases:
            plain = base.value if isinstance(base, ast.Subscript) else base
            if (found := self.find(plain)) is not None:
                inside.append(found)
            else:
                outside.append(self.outside(plain))
        return inside, outside

    def lineage(self) -> Iterator[ClassIn]:
        """The class and its bases in the tree, the class itself first."""
        seen: list[ast.ClassDef] = []
        pending = [self]
        while pending:
            one = pending.pop(0)
            if one.node not in seen:
                seen.append(one.node)
                yield one
                pending += one.bases[0]

    @cached_property
    def roots(self) -> frozenset[str]:
        """The names of all base classes outside the tree."""
        return frozenset(name for one in self.lineage() for name in one.bases[1])

    def location(self, node: ast.AST) -> str:
        """The cell and line, or file and line, of a node."""
        line = getattr(node, "lineno", 0)
        return locate(self.module.source_map, line) or f"{self.module.path}:{line}"


@dataclass(eq=False)
class ClassTree:
    """Finds classes by name.

    Args:
        code: The modules.
    """

    code: CodeTree
    _found: dict[tuple[str, str], ClassIn] = field(default_factory=dict)

    @cached_property
    def _modules(self) -> dict[str, Module]:
        return {module.name: module for module in self.code.modules}

    def names_of(self, module: str) -> _Names:
        found = self._modules.get(module)
        if found is None:
            return _Names({}, {}, frozenset())
        return _names(found.text, module, is_package=found.path.endswith("__init__.py"))

    def target(self, service: str) -> ClassIn | None:
        """Returns the class of a service; None if it is in an installed package.

        Args:
            service: Name of the service.
        """
        module, _, name = self.code.targets.get(service, "").partition(":")
        return self._class(module, name, 0)

    def _class(self, module: str, name: str, depth: int) -> ClassIn | None:
        if module not in self._modules or depth > len(self._modules):
            return None
        names = self.names_of(module)
        if name in names.classes:
            key = module, name
            if key not in self._found:
                self._found[key] = ClassIn(names.classes[name], self._modules[module], self)
            return self._found[key]
        if name in names.imports:
            home, original = names.imports[name]
            return self._class(home, original, depth + 1)
        return None

    def find(self, module: str, node: ast.expr) -> ClassIn | None:
        """Returns the class that an expression names; None if it is not in the tree.

        Args:
            module: Name of the module that contains the expression.
            node: The expression.
        """
        home, name = self._path(module, node)
        return self._class(home, name, 0) if name else None

    def outside(self, module: str, node: ast.expr) -> str:
        """Returns the dotted name of an import from outside the tree; "" for anything else.

        Args:
            module: Name of the module that contains the expression.
            node: The expression.
        """
        home, name = self._path(module, node)
        names = self.names_of(home)
        if home in self._modules and name in names.imports:
            home, name = names.imports[name]
        elif home in self._modules and (name in names.classes or home != module):
            return ""
        elif home in self._modules:
            return f"builtins.{name}" if hasattr(builtins, name) else ""
        return f"{home}.{name}" if name else home

    def _path(self, module: str, node: ast.expr) -> tuple[str, str]:
        """The module, and the name in it, of an expression such as `messages.Request`."""
        if isinstance(node, ast.Name):
            return module, node.id
        if isinstance(node, ast.Attribute):
            parts = []
            value: ast.expr = node
            while isinstance(value, ast.Attribute):
                parts.append(value.attr)
                value = value.value
            imports = self.names_of(module).imports
            if isinstance(value, ast.Name) and value.id in imports:
                home, name = imports[value.id]
                prefix = f"{home}.{name}" if name else home
                return ".".join([prefix, *reversed(parts[1:])]), parts[0]
        return module, ""


@lru_cache(maxsize=8192)
def nodes_of(node: ast.AST) -> tuple[ast.AST, ...]:
    """Returns a node of a class and its descendants, in the order of `ast.walk`.

    Args:
        node: The node. Each class is parsed once, so a node can be a key of the cache.
    """
    return tuple(ast.walk(node))


@lru_cache(maxsize=2048)
def _names(text: str, name: str, *, is_package: bool) -> _Names:
    try:
        body = ast.parse(text).body
    except SyntaxError:
        return _Names({}, {}, frozenset())
    bound: dict[str, int] = {}
    classes: dict[str, ast.ClassDef] = {}
    imports: dict[str, tuple[str, str]] = {}
    package = name.split(".") if is_package else name.split(".")[:-1]
    for node in _top_level(body):
        if isinstance(node, ast.ClassDef):
            classes[node.name] = node
            bound[node.name] = bound.get(node.name, 0) + 1
        elif isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name if alias.asname else alias.name.partition(".")[0]
                imports[alias.asname or top] = top, ""
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            home = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                imports[alias.asname or alias.name] = home, alias.name
        elif isinstance(node, _Function):
            bound[node.name] = bound.get(node.name, 0) + 1
        else:
            for part in ast.walk(node):
                if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                    bound[part.id] = bound.get(part.id, 0) + 1
    once = {cls: node for cls, node in classes.items() if bound[cls] == 1 and cls not in imports}
    imports = {known: source for known, source in imports.items() if known not in bound}
    return _Names(once, imports, aliases_of_imports(body))


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a module, including those in `if` and `try` blocks."""
    for node in body:
        if isinstance(node, ast.If):
            yield from _top_level([*node.body, *node.orelse])
        elif isinstance(node, ast.Try):
            handlers = [one for handler in node.handlers for one in handler.body]
            yield from _top_level([*node.body, *handlers, *node.orelse, *node.finalbody])
        else:
            yield node
