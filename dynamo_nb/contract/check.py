"""Mismatches between the calls of services and the endpoints and message models of the called services."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from dynamo_nb.contract.arguments import argument_fault, bound_arguments, value_fault
from dynamo_nb.contract.classes import ClassIn, ClassTree, nodes_of
from dynamo_nb.contract.endpoints import Endpoints, Function
from dynamo_nb.contract.method_values import EndpointUse, MethodValues, Target, methods_of
from dynamo_nb.contract.models import PYDANTIC, Model
from dynamo_nb.contract.value_types import ValueType, annotated, article, item_of, may_be_none
from dynamo_nb.source.code_tree import CodeTree

_CATCHING = {
    *("AttributeError", "TypeError", "ValueError", "Exception", "BaseException", "ValidationError"),
    *("DynamoError", "RequestError", "NoSuchEndpoint", "InvalidArgument", "EndpointError"),
}
"""Exceptions whose handler may handle another version of the called service."""

_MOST_KNOWN = 64
_WITHOUT: set[tuple[object, ...]] = set()
"""Code and edges without a mismatch. Each cell makes a plan, and most cells change neither code nor edges."""


@dataclass(frozen=True)
class Mismatch:
    """A call that fails, or a value that its caller does not expect.

    Attributes:
        message: One sentence. It does not change when a cell runs again.
        service: The service whose code is at fault now.
        origin: Cell or file and line.
        certain: False for a value that is ignored without an error.
    """

    message: str
    service: str = field(compare=False)
    origin: str = field(default="", compare=False)
    certain: bool = field(default=True, compare=False)

    def __str__(self) -> str:
        return f"{self.message}  ({self.origin})" if self.origin else self.message


@dataclass(frozen=True)
class ServiceEdges:
    """The dependencies of a graph.

    Attributes:
        targets: The service that a dependency is connected to, or None, by service and attribute.
        local: The services that run in the processes of their callers.
    """

    targets: Mapping[str, Mapping[str, str | None]]
    local: Collection[str] = ()


def mismatches(code: CodeTree, edges: ServiceEdges) -> tuple[Mismatch, ...]:
    """Compares the calls of services with the endpoints and message models of the same code.

    Args:
        code: The modules of the services.
        edges: Their dependencies.

    Returns:
        The mismatches, each once, in the order of services and lines.

    Example:
        A call without an argument that the endpoint requires::

            Retriever calls Embedder.embed without 'model', which this version requires  (cell 4, line 7)
    """
    dependencies = tuple((name, *sorted(map(str, one.items()))) for name, one in edges.targets.items())
    key = code.digest, dependencies, frozenset(edges.local)
    if key in _WITHOUT:
        return ()
    tree = ClassTree(code)
    endpoints: dict[str, Endpoints] = {}
    found: dict[Mismatch, None] = {}
    for service, attributes in edges.targets.items():
        cls = tree.target(service)
        if cls is None:
            continue
        targets = {}
        for attribute, name in attributes.items():
            target = tree.target(name) if name is not None else None
            if name is not None and target is not None:
                endpoints.setdefault(name, Endpoints(target))
                targets[attribute] = Target(name, endpoints[name], name in edges.local)
        for mismatch in _of_service(service, cls, targets):
            found.setdefault(mismatch)
    if not found:  # a mismatch has the number of its cell, which changes when the cell runs again
        if len(_WITHOUT) > _MOST_KNOWN:
            _WITHOUT.clear()
        _WITHOUT.add(key)
    return tuple(found)


def untested_uses(code: CodeTree, service: str, attribute: str) -> dict[str, str]:
    """Returns the endpoints that a service calls through a dependency without a test of the link.

    Args:
        code: The modules of the services.
        service: The service.
        attribute: The attribute of the dependency.

    Returns:
        The origin of one call, by endpoint; empty if the code uses the attribute in another way, such as
        `if self.backend:`.
    """
    cls = ClassTree(code).target(service)
    uses: dict[str, str] = {}
    for method, owner in methods_of(cls) if cls is not None else ():
        values = MethodValues(method, owner, {}, endpoint=False)
        read = {id(node.value): node for node in nodes_of(method) if isinstance(node, ast.Attribute)}
        for node in nodes_of(method):
            if isinstance(node, ast.expr) and values.attribute_of_self(node) == attribute:
                if id(node) not in read:
                    return {}
                uses.setdefault(read[id(node)].attr, owner.location(node))
    return uses


def _of_service(service: str, cls: ClassIn, targets: Mapping[str, Target]) -> Iterator[Mismatch]:
    changed = {
        node.attr
        for one in cls.lineage()
        for node in nodes_of(one.node)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del)
    }
    targets = {name: target for name, target in targets.items() if name not in changed}
    own = Endpoints(cls)
    for method, owner in methods_of(cls):
        endpoint = own.known.get(method.name)
        is_endpoint = endpoint is not None and endpoint.node is method and endpoint.readable
        values = MethodValues(method, owner, targets, endpoint=is_endpoint)
        yield from _Method(service, method, owner, values, is_endpoint).mismatches()


class _Method:
    """The mismatches in one method."""

    def __init__(self, service: str, method: Function, owner: ClassIn, values: MethodValues, endpoint: bool) -> None:
        self.service, self.method, self.owner, self.values = service, method, owner, values
        self.endpoint = endpoint
        self._guarded = _guarded(method)
        asked = [node for node in nodes_of(method) if isinstance(node, ast.Call)]
        self._asks = any(getattr(node.func, "id", "") in {"hasattr", "getattr", "isinstance"} for node in asked)
        self._called = {id(node.func): node for node in asked}

    def mismatches(self) -> Iterator[Mismatch]:
        for node in nodes_of(self.method):
            origin = partial(self.owner.location, node)
            for message in self._of(node):
                if not self._asks and id(node) not in self._guarded:
                    yield Mismatch(f"{self.service} {message}", self.service, origin())
            if isinstance(node, ast.Call) and (ignored := self._ignored(node)):
                yield Mismatch(f"{self.service} {ignored}", self.service, origin(), certain=False)

    def _of(self, node: ast.AST) -> Iterator[str]:
        match node:
            case ast.Attribute(ctx=ast.Load()):
                use = self.values.use(node)
                if use is not None:
                    yield from self._endpoint(use, self._called.get(id(node)))
                elif (found := self.values.type_of(node.value)) is not None:
                    yield from _read(node.attr, found)
            case ast.Call(func=ast.Name() as func) if (use := self.values.use(func)) is not None:
                yield from self._endpoint(use, node)
            case ast.Call(func=ast.Name() | ast.Attribute()):
                yield from self._construction(node)
            case ast.Return(value=ast.expr() as value) | ast.Yield(value=ast.expr() as value):
                yield from self._answer(value)

    def _endpoint(self, use: EndpointUse, call: ast.Call | None) -> Iterator[str]:
        endpoint, target = use.endpoint, use.target
        if endpoint is None:
            if not target.local and target.endpoints.complete and not use.name.startswith("_"):
                others = dict.fromkeys(one.attribute for one in target.endpoints)
                known = f"; it has {', '.join(others)}" if others else ""
                plain = use.name in target.endpoints.methods
                what = "is not an endpoint in this version" if plain else "this version does not have"
                yield f"calls {use.path}, which {what}{known}"
            return
        if not endpoint.served and not target.local:
            yield f"calls {use.path}, which this version serves over HTTP only"
            return
        if call is None or not endpoint.readable or endpoint.signature is None:
            return
        if fault := argument_fault(call, endpoint.signature):
            yield f"calls {use.path} {fault}"
            return
        for parameter, value in bound_arguments(call, endpoint.signature):
            expected = None if may_be_none(parameter.annotation) else annotated(parameter.annotation, endpoint.owner)
            if expected is not None and (fault := value_fault(value, expected, self.values)):
                yield f"calls {use.path} with {parameter.name!r}, {article(expected.name)} in this version: {fault}"

    def _created(self, call: ast.Call) -> Model | None:
        """The message model that a call creates; None if the signature of its constructor is not known."""
        found = self.values.type_of(call) if isinstance(call.func, ast.Name | ast.Attribute) else None
        model = found.model if found is not None and found.source == f"a {found.name}" else None
        return model if model is not None and model.constructible else None

    def _construction(self, call: ast.Call) -> Iterator[str]:
        model = self._created(call)
        fault = argument_fault(call, model.signature) if model is not None and model.signature is not None else ""
        if model is not None and fault:
            yield f"creates {article(model.name)} {fault}"

    def _ignored(self, call: ast.Call) -> str:
        """A note about an argument that a pydantic model ignores, because it has no such field."""
        model = self._created(call)
        if model is None or model.kind != PYDANTIC or model.forbids or [*self._construction(call)]:
            return ""
        unknown = [one.arg for one in call.keywords if one.arg and one.arg not in model.fields]
        return f"creates {article(model.name)} with {unknown[0]!r}, which this version ignores" if unknown else ""

    def _answer(self, value: ast.expr) -> Iterator[str]:
        """A mismatch of the return annotation and an answer of another service that is returned or yielded."""
        if not self.endpoint:
            return
        annotation = item_of(self.method.returns)
        expected = None if may_be_none(annotation) else annotated(annotation, self.owner)
        if expected is None or isinstance(value, ast.Constant | ast.Dict):
            return
        if fault := value_fault(value, expected, self.values):
            yield f"returns {article(expected.name)} from {self.method.name}, and {fault} in this version"


def _read(name: str, found: ValueType) -> Iterator[str]:
    if found.model is not None:
        if found.model.readable and name not in found.model.attributes:
            yield f"reads {found.model.name}.{name}, which this version does not have"
    elif found.builtin is not None and not hasattr(found.builtin, name):
        yield f"reads {name!r} of {found.source}, which is {article(found.name)} in this version"


def _guarded(method: Function) -> set[int]:
    """The ids of the nodes in each `try` that may handle another version of a service."""
    found: set[int] = set()
    for node in nodes_of(method):
        if isinstance(node, ast.Try | ast.TryStar) and any(map(_catches, node.handlers)):
            found |= {id(part) for statement in node.body for part in ast.walk(statement)}
        elif isinstance(node, ast.With | ast.AsyncWith) and "suppress" in ast.unparse(node.items[0].context_expr):
            found |= {id(part) for part in ast.walk(node)}
    return found


def _catches(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    names = {
        part.attr if isinstance(part, ast.Attribute) else getattr(part, "id", "") for part in ast.walk(handler.type)
    }
    return bool(names & _CATCHING)
