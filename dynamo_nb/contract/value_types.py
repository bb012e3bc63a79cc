"""Types of values, from annotations and expressions in source."""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace

from dynamo_nb.contract.classes import ClassIn
from dynamo_nb.contract.models import Model, model_of

SCALARS = {"str": str, "int": int, "float": float, "bool": bool, "bytes": bytes}
_STREAMS = {"AsyncIterator", "AsyncGenerator", "AsyncIterable"}


@dataclass(frozen=True, eq=False)
class ValueType:
    """The known type of a value.

    Attributes:
        builtin: Its class, if it is a scalar, a list or a dict; None for a model.
        model: Its model.
        item: The type of a list's items, if it is known.
        source: Origin of the value, for messages, such as `the answer of Embedder.embed`.
    """

    builtin: type | None = None
    model: Model | None = None
    item: ValueType | None = None
    source: str = ""

    @property
    def name(self) -> str:
        return self.model.name if self.model is not None else getattr(self.builtin, "__name__", "")

    def of(self, source: str) -> ValueType:
        """Returns this type for a value from another source.

        Args:
            source: See the attribute.
        """
        return replace(self, source=source)


def annotated(node: ast.expr | None, cls: ClassIn) -> ValueType | None:
    """Returns the type of an annotation; None for a type that is not compared.

    Args:
        node: The annotation, or None.
        cls: The class that contains it.
    """
    match node:
        case ast.Constant(value=str() as text):
            try:
                return annotated(ast.parse(text, mode="eval").body, cls)
            except SyntaxError:
                return None
        case ast.BinOp(op=ast.BitOr()):
            sides = [one for one in _alternatives(node) if not _is_none(one)]
            return annotated(sides[0], cls) if len(sides) == 1 else None
        case ast.Subscript(value=base, slice=inner):
            name = _last(base)
            if name == "Optional":
                return annotated(inner, cls)
            if name in {"list", "List"}:
                return ValueType(list, item=annotated(inner, cls))
            return ValueType(dict) if name in {"dict", "Dict"} else None
        case ast.Name() | ast.Attribute():
            found = cls.find(node)
            if found is not None:
                model = model_of(found)
                return ValueType(model=model) if model is not None else None
            name = cls.outside(node).removeprefix("builtins.")
            if name in SCALARS:
                return ValueType(SCALARS[name])
            return {"list": ValueType(list), "dict": ValueType(dict)}.get(name)
    return None


def may_be_none(node: ast.expr | None) -> bool:
    """Returns True if an annotation allows None.

    Args:
        node: The annotation, or None.
    """
    if isinstance(node, ast.Subscript) and _last(node.value) == "Optional":
        return True
    return isinstance(node, ast.BinOp) and any(map(_is_none, _alternatives(node)))


def item_of(node: ast.expr | None) -> ast.expr | None:
    """Returns the annotation of an answer; for a stream, the annotation of one item.

    Args:
        node: The return annotation, or None.
    """
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        try:
            node = ast.parse(node.value, mode="eval").body
        except SyntaxError:
            return None
    if isinstance(node, ast.Subscript) and _last(node.value) in _STREAMS:
        return node.slice.elts[0] if isinstance(node.slice, ast.Tuple) and node.slice.elts else node.slice
    return node


def _alternatives(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return [*_alternatives(node.left), *_alternatives(node.right)]
    return [node]


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def article(name: str) -> str:
    """Returns a name with its indefinite article.

    Args:
        name: The name.
    """
    return f"an {name}" if name[:1].lower() in "aeiou" else f"a {name}"
