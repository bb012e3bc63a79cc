"""The values in one method: dependencies, calls of endpoints, and values of a known type."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from dynamo_nb.contract.classes import ClassIn, nodes_of
from dynamo_nb.contract.endpoints import EndpointIn, Endpoints, Function
from dynamo_nb.contract.models import model_of
from dynamo_nb.contract.value_types import SCALARS, ValueType, annotated, item_of, may_be_none

_DEEPEST = 40
"""Limit of the steps from name to name."""


@dataclass(frozen=True)
class Target:
    """The service that a dependency is connected to.

    Attributes:
        service: Its name.
        endpoints: Its endpoints.
        local: True if it runs in the caller's process. The caller can then call all of its methods.
    """

    service: str
    endpoints: Endpoints
    local: bool


class EndpointUse(NamedTuple):
    """A use of an endpoint, such as `self.backend.generate`. name: the attribute that is read from the target."""

    target: Target
    name: str

    @property
    def endpoint(self) -> EndpointIn | None:
        return self.target.endpoints.known.get(self.name)

    @property
    def path(self) -> str:
        return f"{self.target.service}.{self.name}"


class MethodValues:
    """The values in a method. Only names that the method binds exactly once are followed.

    Args:
        method: The method.
        owner: The class that defines it.
        dependencies: The targets of the dependencies, by attribute.
        endpoint: True for an endpoint, whose arguments are converted to its annotations.
    """

    def __init__(self, method: Function, owner: ClassIn, dependencies: Mapping[str, Target], *, endpoint: bool) -> None:
        self.owner, self._dependencies = owner, dependencies
        args = method.args
        named = [*args.posonlyargs, *args.args]
        self._self = named[0].arg if named else ""
        self._bound: Counter[str] = Counter()
        self._values: dict[str, ast.expr] = {}
        self._items: dict[str, ast.expr] = {}
        self._parameters = {arg.arg: arg.annotation for arg in [*named[1:], *args.kwonlyargs]} if endpoint else {}
        for node in nodes_of(method):
            self._bind(node)
        self._types: dict[int, ValueType | None] = {}

    def _bind(self, node: ast.AST) -> None:
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()) | ast.arg(arg=name):
                self._bound[name] += 1
            case ast.Global(names=names) | ast.Nonlocal(names=names):
                self._bound.update([*names, *names])
            case ast.ExceptHandler(name=str() as name) | ast.MatchAs(name=str() as name):
                self._bound[name] += 1
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                self._bound[name] += 1
            case ast.alias():
                self._bound[(node.asname or node.name).partition(".")[0]] += 1
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                self._values[name] = value
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                self._values[name] = value
            case ast.NamedExpr(target=ast.Name(id=name), value=value):
                self._values[name] = value
            case ast.For(target=ast.Name(id=name), iter=items) | ast.AsyncFor(target=ast.Name(id=name), iter=items):
                self._items[name] = items
            case ast.comprehension(target=ast.Name(id=name), iter=items):
                self._items[name] = items

    def _once(self, name: str) -> bool:
        return self._bound[name] == 1

    def value_of(self, node: ast.expr) -> ast.expr:
        """Returns the expression that a name is bound to, or the expression itself.

        Args:
            node: A name or another expression.
        """
        for _ in range(_DEEPEST):
            if not (isinstance(node, ast.Name) and self._once(node.id) and node.id in self._values):
                break
            node = self._values[node.id]
        return node

    def attribute_of_self(self, node: ast.expr) -> str:
        """Returns the attribute in `self.attribute`; "" for other expressions.

        Args:
            node: The expression.
        """
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and self._once(node.value.id):
            return node.attr if node.value.id == self._self else ""
        return ""

    def use(self, node: ast.expr) -> EndpointUse | None:
        """Returns the use of an endpoint; None for other expressions.

        Args:
            node: The expression.
        """
        node = self.value_of(node)
        if isinstance(node, ast.Attribute):
            target = self._dependencies.get(self.attribute_of_self(self.value_of(node.value)))
            if target is not None:
                return EndpointUse(target, node.attr)
        return None

    def call(self, node: ast.expr) -> EndpointUse | None:
        """Returns the endpoint that an expression calls, also with `.using(…)`; None for other expressions.

        Args:
            node: The expression.
        """
        node = self.value_of(node)
        if not isinstance(node, ast.Call):
            return None
        if isinstance(node.func, ast.Attribute) and node.func.attr == "using":
            return self.call(node.func.value)
        return self.use(node.func)

    # --- types

    def type_of(self, node: ast.expr) -> ValueType | None:
        """Returns the type of an expression; None if it is not known.

        Args:
            node: The expression.
        """
        if id(node) in self._types:
            return self._types[id(node)]
        self._types[id(node)] = None  # for a name that is bound to itself
        self._types[id(node)] = found = self._type_of(node)
        return found

    def _type_of(self, node: ast.expr) -> ValueType | None:
        match node:
            case ast.Name(id=name):
                return self._type_of_name(name)
            case ast.Await(value=value):
                return self._answer(value)
            case ast.Call(func=ast.Attribute(attr="result", value=value)):
                return self._answer(value)
            case ast.Call(func=ast.Name() | ast.Attribute() as func):
                found = None if self._is_local(func) else self.owner.find(func)
                model = model_of(found) if found is not None else None
                return ValueType(model=model, source=f"a {model.name}") if model is not None else None
            case ast.Attribute(value=value, attr=name):
                outer = self.type_of(value)
                field = outer.model.fields.get(name) if outer is not None and outer.model is not None else None
                if outer is None or field is None or may_be_none(field.annotation):
                    return None
                inner = annotated(field.annotation, field.owner)
                return inner.of(f"{outer.name}.{name}") if inner is not None else None
            case ast.Subscript(value=value, slice=index) if not isinstance(index, ast.Slice):
                outer = self.type_of(value)
                return outer.item.of(f"an item of {outer.source}") if outer is not None and outer.item else None
            case ast.Constant(value=value) if type(value) in SCALARS.values():
                return ValueType(type(value), source=repr(value))
        return None

    def _is_local(self, node: ast.expr) -> bool:
        while isinstance(node, ast.Attribute):
            node = node.value
        return isinstance(node, ast.Name) and self._bound[node.id] > 0

    def _type_of_name(self, name: str) -> ValueType | None:
        if not self._once(name):
            return None
        if name in self._parameters:
            annotation = self._parameters[name]
            found = None if may_be_none(annotation) else annotated(annotation, self.owner)
            return found.of(f"the argument {name!r}") if found is not None else None
        if name in self._values:
            return self.type_of(self._values[name])
        return self._item(self._items[name]) if name in self._items else None

    def _answer(self, node: ast.expr) -> ValueType | None:
        """The type of the result of `await` for a call."""
        use = self.call(node)
        endpoint = use.endpoint if use is not None else None
        if use is None or endpoint is None or not endpoint.readable:
            return None
        source, item = f"the answer of {use.path}", _output(endpoint)
        if endpoint.stream:
            return ValueType(list, item=item, source=f"{source} (a stream)")
        return item.of(source) if item is not None else None

    def _item(self, node: ast.expr) -> ValueType | None:
        """The type of the items of an iteration."""
        use = self.call(node)
        if use is not None and use.endpoint is not None and use.endpoint.readable:
            item = _output(use.endpoint)
            source = f"an item of {use.path}" if use.endpoint.stream else f"the answer of {use.path}"
            return item.of(source) if item is not None else None
        found = self.type_of(node)
        return found.item.of(f"an item of {found.source}") if found is not None and found.item else None


def _output(endpoint: EndpointIn) -> ValueType | None:
    annotation = item_of(endpoint.node.returns)
    return None if may_be_none(annotation) else annotated(annotation, endpoint.owner)


def methods_of(cls: ClassIn) -> Iterator[tuple[Function, ClassIn]]:
    """Yields the methods of a class and of its bases in the tree, without overridden, static and class methods.

    Args:
        cls: The class.

    Yields:
        Each method, and the class that defines it.
    """
    seen: set[str] = set()
    for one in cls.lineage():
        for node in one.node.body:
            if not isinstance(node, Function) or node.name in seen:
                continue
            seen.add(node.name)
            if not any(getattr(d, "id", "") in {"staticmethod", "classmethod"} for d in node.decorator_list):
                yield node, one
