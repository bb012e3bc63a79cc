"""The parts of a statement that run with it, and the objects that they concern."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

from dynamo_nb.source.effect_verbs import MAY_RETURN_ARGUMENT, PURE

_OWN_VARIABLE = re.compile(r"DYNAMO_\w+|DYN_\w+|(CUDA|NVIDIA)_VISIBLE_DEVICES|CUDA_DEVICE_ORDER|NATS_SERVER")
"""Environment variables that a deployment sets in its workers."""
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def held(node: ast.stmt) -> frozenset[str]:
    """The names whose objects a statement may keep: later changes of such an object are changes of what keeps it."""
    found: set[str] = set()
    for part in running_parts(node):
        match part:
            case ast.Call() if getattr(part.func, "id", "") not in PURE:
                values: Iterable[ast.expr | None] = [*part.args, *(keyword.value for keyword in part.keywords)]
            case ast.List() | ast.Tuple() | ast.Set():
                values = part.elts
            case ast.Dict():
                values = part.values
            case ast.Assign() | ast.AnnAssign() | ast.NamedExpr():
                values = [part.value]
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                values = [*part.args.defaults, *part.args.kw_defaults]
            case ast.ClassDef():
                values = part.bases
            case _:
                continue
        found |= {name for value in values if value is not None for name in roots_of(value)}
    return frozenset(found)


def running_parts(node: ast.AST) -> Iterator[ast.AST]:
    """The parts of a statement that run with it: not the bodies of functions."""
    yield node
    if isinstance(node, _SCOPES):
        parts: Iterable[ast.AST | None] = [*node.args.defaults, *node.args.kw_defaults]
        parts = [*getattr(node, "decorator_list", []), *parts]
    else:
        parts = ast.iter_child_nodes(node)
    for part in parts:
        if part is not None:
            yield from running_parts(part)


def roots_of(node: ast.expr, *, called: bool = False) -> set[str]:
    """The names that an expression is reached from. called: also through a call, as in `logging.getLogger("x")`."""
    match node:
        case ast.Name():
            return {node.id}
        case ast.Attribute() | ast.Subscript() | ast.Starred():
            return roots_of(node.value, called=called)
        case ast.Call(func=ast.Attribute() as method):
            may_be = [*node.args, *(one.value for one in node.keywords)] if method.attr in MAY_RETURN_ARGUMENT else []
            return roots_of(method.value, called=called).union(*(roots_of(one, called=called) for one in may_be))
        case ast.Call(func=ast.Name(id="type" | "vars"), args=[of]):
            return roots_of(of, called=called)
        case ast.Call() if called:
            return roots_of(node.func, called=called)
        case ast.Tuple() | ast.List() | ast.Set():
            return set[str]().union(*(roots_of(one, called=called) for one in node.elts))
        case ast.Dict():
            return set[str]().union(*(roots_of(one, called=called) for one in node.values))
        case ast.IfExp():
            return roots_of(node.body, called=called) | roots_of(node.orelse, called=called)
        case ast.BoolOp():
            return set[str]().union(*(roots_of(one, called=called) for one in node.values))
        case ast.NamedExpr():
            return roots_of(node.value, called=called)
    return set()


def is_main_block(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and any(isinstance(n, ast.Name) and n.id == "__name__" for n in ast.walk(node.test))


def sets_own_variable(node: ast.stmt) -> bool:
    """True if a statement names an environment variable that a deployment sets in its workers."""
    if not any(isinstance(one, ast.Attribute) and one.attr in ("environ", "putenv") for one in ast.walk(node)):
        return False
    texts = [one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    return any(_OWN_VARIABLE.fullmatch(text) for text in texts)
