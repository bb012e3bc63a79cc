"""Arguments of calls, compared with signatures and types."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Sequence
from inspect import Parameter

from dynamo_nb.contract.method_values import MethodValues
from dynamo_nb.contract.models import PYDANTIC, Model
from dynamo_nb.contract.value_types import SCALARS, ValueType, article
from dynamo_nb.sdk.values import Shape

_BY_POSITION = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


def argument_fault(call: ast.Call, signature: inspect.Signature) -> str:
    """Returns the mismatches of arguments and a signature as a phrase; "" if they may match.

    Args:
        call: The call.
        signature: The signature of the called method.
    """
    return " and ".join(_argument_faults(call, signature))


def _argument_faults(call: ast.Call, signature: inspect.Signature) -> Iterator[str]:
    parameters = list(signature.parameters.values())
    kinds = {one.kind for one in parameters}
    stars = any(isinstance(one, ast.Starred) for one in call.args)
    more = any(one.arg is None for one in call.keywords)
    positional = [one for one in parameters if one.kind in _BY_POSITION]
    taken = {one.name for one in positional[: len(call.args)]}
    given = {one.arg for one in call.keywords if one.arg}
    if not stars and len(call.args) > len(positional) and Parameter.VAR_POSITIONAL not in kinds:
        named = [one.name for one in parameters if one.kind is Parameter.KEYWORD_ONLY]
        takes = f"this version takes {len(positional) or 'none'}" + (
            f" and {', '.join(named)} by name" if named else ""
        )
        given_count = f"{len(call.args)} argument{'s' if len(call.args) > 1 else ''}"
        yield f"with {given_count} by position: {takes}"
        return
    known = {one.name for one in parameters if one.kind in {Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY}}
    if Parameter.VAR_KEYWORD not in kinds:
        for name in sorted(given - known):
            yield f"with {name!r}, which this version does not take"
    if not stars:
        for name in sorted(given & taken):
            yield f"with {name!r} both by position and by name, as this version orders its arguments"
    missing = [
        one.name
        for one in parameters
        if one.default is Parameter.empty
        and one.kind not in {Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD}
        and one.name not in taken | given
    ]
    if missing and not stars and not more:
        yield f"without {' and '.join(map(repr, missing))}, which this version requires"


def bound_arguments(call: ast.Call, signature: inspect.Signature) -> Iterator[tuple[Parameter, ast.expr]]:
    """Yields each explicit argument with its parameter.

    Args:
        call: The call.
        signature: The signature of the called method.
    """
    positional = [one for one in signature.parameters.values() if one.kind in _BY_POSITION]
    for parameter, value in zip(positional, call.args, strict=False):
        if isinstance(value, ast.Starred):
            return
        yield parameter, value
    for keyword in call.keywords:
        if keyword.arg and keyword.arg in signature.parameters:
            yield signature.parameters[keyword.arg], keyword.value


def value_fault(node: ast.expr, expected: ValueType, values: MethodValues) -> str:
    """Returns the mismatch of a value and a type as a phrase; "" if the value may fit.

    Args:
        node: The value.
        expected: The type.
        values: The values of the method that contains the node.
    """
    node = values.value_of(node)
    if isinstance(node, ast.Constant):
        return _constant_fault(node, expected)
    if isinstance(node, ast.Dict) and expected.model is not None:
        keys = [key.value for key in node.keys if isinstance(key, ast.Constant)]
        return _fields_fault(keys, expected.model) if len(keys) == len(node.keys) else ""
    found = values.type_of(node)
    if found is None:
        return ""
    if expected.model is not None:
        if found.model is not None:
            return _model_fault(found.model, expected.model)
        # A string may be JSON.
        return f"{found.source} is {article(found.name)}" if found.builtin in {int, float, bool, list} else ""
    if found.model is not None:
        fits = expected.builtin in {dict, list}
        return "" if fits else f"{found.source} is {article(found.name)}"
    different = (found.builtin in {list, dict}) != (expected.builtin in {list, dict})
    return f"{found.source} is {article(found.name)}" if different else ""


def _constant_fault(node: ast.Constant, expected: ValueType) -> str:
    value = node.value
    if type(value) not in SCALARS.values() or expected.model is not None:
        return ""
    try:
        Shape(expected.builtin).fit(value)
    except ValueError:
        return f"{value!r} is {article(type(value).__name__)}"
    return ""


def _model_fault(found: Model, expected: Model) -> str:
    same = [one.node for one in found.cls.lineage()]
    if expected.cls.node in same or not found.readable or not found.constructible:
        return ""
    return _fields_fault(list(found.fields), expected, f"{found.name} has no ")


def _fields_fault(given: Sequence[object], expected: Model, missing_phrase: str = "it has no ") -> str:
    if not expected.constructible:
        return ""
    for field in expected.fields.values():
        if field.required and field.name not in given:
            return f"{missing_phrase}{field.name!r}, which {expected.name} requires in this version"
    unknown = [name for name in given if name not in expected.fields]
    if unknown and expected.kind == PYDANTIC and expected.forbids:
        return f"{expected.name} has no {unknown[0]!r} in this version"
    return ""
