"""The endpoints of a service, read from the source of its class."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from inspect import Parameter

from dynamo_nb.contract.classes import ClassIn
from dynamo_nb.source.interface import ENDPOINTS, decorator_name, yields

Function = ast.FunctionDef | ast.AsyncFunctionDef
_BASES = frozenset(
    {
        "abc.ABC",
        "builtins.object",
        "typing.Generic",
        "dynamo_nb.AbstractService",
        "dynamo.sdk.AbstractService",
        "dynamo.sdk.lib.dependency.AbstractService",
    }
)
"""Base classes in installed packages that have no endpoints."""
_PLAIN = ast.FunctionDef | ast.AsyncFunctionDef | ast.AnnAssign | ast.Assign | ast.Expr | ast.Pass | ast.ClassDef


@dataclass(frozen=True, eq=False)
class EndpointIn:
    """An endpoint in the source of a class.

    Attributes:
        owner: The class that defines it.
        node: The method.
        decorator: The decorator that makes it an endpoint.
    """

    owner: ClassIn
    node: Function
    decorator: ast.expr

    @property
    def attribute(self) -> str:
        return self.node.name

    @cached_property
    def stream(self) -> bool:
        return yields(self.node)

    def _option(self, name: str) -> ast.expr | None:
        keywords = self.decorator.keywords if isinstance(self.decorator, ast.Call) else []
        return next((one.value for one in keywords if one.arg == name), None)

    @property
    def name(self) -> str | None:
        """The name that callers use; None if it is not a literal."""
        if isinstance(self.decorator, ast.Call) and self.decorator.args:
            given: ast.expr | None = self.decorator.args[0]
        else:
            given = self._option("name")
        if given is None or (isinstance(given, ast.Constant) and given.value is None):
            return self.attribute
        return given.value if isinstance(given, ast.Constant) and isinstance(given.value, str) else None

    @property
    def served(self) -> bool:
        """False if certainly only HTTP clients can call it."""
        if decorator_name(self.decorator, self.owner.aliases) in {"api", "dynamo_api"}:
            return False
        transports = self._option("transports")
        return transports is None or "DEFAULT" in ast.unparse(transports) or "HTTP" not in ast.unparse(transports)

    @property
    def readable(self) -> bool:
        """False if another decorator may change its parameters."""
        return len(self.node.decorator_list) == 1

    @cached_property
    def signature(self) -> inspect.Signature | None:
        """The parameters without `self`. Their annotations are AST nodes."""
        return signature_of(self.node)


def signature_of(node: Function) -> inspect.Signature | None:
    """Returns the signature of a method without `self`; None for a method without parameters.

    Args:
        node: The method.
    """
    args = node.args
    named = [*args.posonlyargs, *args.args]
    if not named:
        return None
    first_default = len(named) - len(args.defaults)
    parameters = []
    for index, arg in enumerate(named[1:], start=1):
        kind = Parameter.POSITIONAL_ONLY if index < len(args.posonlyargs) else Parameter.POSITIONAL_OR_KEYWORD
        default = args.defaults[index - first_default] if index >= first_default else Parameter.empty
        parameters.append(Parameter(arg.arg, kind, default=default, annotation=arg.annotation))
    if args.vararg:
        parameters.append(Parameter(args.vararg.arg, Parameter.VAR_POSITIONAL))
    for arg, given in zip(args.kwonlyargs, args.kw_defaults, strict=True):
        default = Parameter.empty if given is None else given
        parameters.append(Parameter(arg.arg, Parameter.KEYWORD_ONLY, default=default, annotation=arg.annotation))
    if args.kwarg:
        parameters.append(Parameter(args.kwarg.arg, Parameter.VAR_KEYWORD))
    return inspect.Signature(parameters)


class Endpoints:
    """The endpoints of a service.

    Args:
        cls: The class of the service.

    Attributes:
        known: The endpoints, by attribute and by name.
        complete: True if the service certainly has no other endpoints.
        methods: The names of its other methods.
    """

    def __init__(self, cls: ClassIn) -> None:
        self.known: dict[str, EndpointIn] = {}
        self.methods: set[str] = set()
        self.complete = cls.roots <= _BASES
        for one in reversed(list(cls.lineage())):
            self._add(one)
            self.complete &= not one.node.keywords and all(
                decorator_name(decorator, one.aliases) == "service" for decorator in one.node.decorator_list
            )

    def _add(self, cls: ClassIn) -> None:
        for node in cls.node.body:
            if not isinstance(node, _PLAIN) or _may_make_endpoint(node, cls):
                self.complete = False
            if not isinstance(node, Function):
                continue
            self.known = {key: known for key, known in self.known.items() if known.attribute != node.name}
            self.methods.discard(node.name)
            found = _endpoint(node, cls)
            if found is None:
                self.methods.add(node.name)
                self.complete &= node.name not in {"__getattr__", "__getattribute__", "__init_subclass__"}
                continue
            self.known[found.attribute] = found
            if found.name is None:
                self.complete = False
            else:
                self.known[found.name] = found

    def __iter__(self) -> Iterator[EndpointIn]:
        return iter(dict.fromkeys(self.known.values()))


def _endpoint(node: Function, cls: ClassIn) -> EndpointIn | None:
    decorators = [one for one in node.decorator_list if decorator_name(one, cls.aliases) in ENDPOINTS]
    return EndpointIn(cls, node, decorators[0]) if decorators else None


def _may_make_endpoint(node: ast.stmt, cls: ClassIn) -> bool:
    """True for `name = dynamo_endpoint()(function)`."""
    if not isinstance(node, ast.Assign | ast.AnnAssign):
        return False
    parts = ast.walk(node.value) if node.value is not None else ()
    return any(
        isinstance(one, ast.Name | ast.Attribute) and decorator_name(one, cls.aliases) in ENDPOINTS for one in parts
    )
