"""The arguments of a service's constructor in its configuration; `ServiceConfig` provides the other keys."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

from dynamo_nb.config.layers import Tree, Value, merged, origin_in, plain, raw, tree_of
from dynamo_nb.config.typed_parts import UnknownKey, unknown_keys, with_texts
from dynamo_nb.errors import ConfigError, Problem
from dynamo_nb.sdk.definition import ServiceDefinition
from dynamo_nb.sdk.field_types import classes_of
from dynamo_nb.sdk.service_config import SERVICE_ARGS, SUBSCRIPTIONS, VARIABLE, ServiceConfig, underscored
from dynamo_nb.sdk.values import MisfitError, Shape, hints_of
from dynamo_nb.sdk.written import Written, text_of, values_of

DEFAULT = "constructor default"
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_MISSING = inspect.Parameter.empty


@dataclass
class ConstructorBinding:
    """The section of a service, bound to the parameters of its constructor.

    written: the key of each parameter, as it was written. trees: the value of each parameter, merged over a default
    that is a mapping. arguments: the values, converted to the annotated types. extras: the keys that are not parameters
    of the constructor. defaults: values of the parameters that are not configured. unknown: the unknown keys within
    values, by parameter.
    """

    written: dict[str, str] = field(default_factory=dict)
    trees: dict[str, Value | Tree] = field(default_factory=dict)
    arguments: dict[str, Any] = field(default_factory=dict)
    extras: Tree = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)
    unknown: dict[str, list[UnknownKey]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def bind_constructor(definition: ServiceDefinition, section: Tree) -> ConstructorBinding:
    """Binds the keys of a section to the parameters of the constructor. `problems` lists the faults."""
    name, parameters = definition.name, definition.parameters
    takes_all = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    named = {key: p for key, p in parameters.items() if p.kind in _NAMED}
    bound = ConstructorBinding()
    for key, node in section.items():
        parameter = underscored(key)
        if key in {SERVICE_ARGS, SUBSCRIPTIONS}:
            continue
        other = next((one for one in (*bound.written.values(), *bound.extras) if underscored(one) == parameter), None)
        if other is not None:
            origin = f"{origin_in(section[other])}, {origin_in(node)}"
            both = f"written as {other!r} and as {key!r}; keep one of them"
            bound.problems.append(Problem(both, f"{name}.{parameter}", origin))
        elif parameter not in named and not takes_all:
            bound.extras[key] = node
        else:
            bound.written[parameter] = key
            bound.trees[parameter] = _over_default(node, named.get(parameter))
    annotations = hints_of(getattr(definition.cls, "__init__"))  # noqa: B009
    rest = next((key for key, p in parameters.items() if p.kind is inspect.Parameter.VAR_KEYWORD), "")
    for parameter, node in bound.trees.items():
        annotation = annotations.get(parameter if parameter in named else rest, _MISSING)
        default = named[parameter].default if parameter in named else _MISSING
        bound.unknown[parameter] = list(unknown_keys(plain(node), annotation))
        try:
            bound.arguments[parameter] = _fitted(raw(node), annotation, default)
        except ValueError as error:
            path = f"{name}.{bound.written[parameter]}"
            bound.problems.append(Problem(str(error), path, origin_in(section[bound.written[parameter]])))
    for parameter, given in parameters.items():
        if given.kind in {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD} or parameter in bound.trees:
            continue
        if given.default is not _MISSING:
            bound.defaults[parameter] = given.default
        else:
            bound.problems.append(Problem(_missing(name, given), f"{name}.{parameter}"))
    return bound


def constructor_arguments(definition: ServiceDefinition, config: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The keyword arguments of a service's constructor in the configuration, converted to the annotated types.

    config: sections by service; by default DYNAMO_SERVICE_CONFIG. Parameters that are not configured are absent. Raises
    ConfigError for a value of a wrong type, and for a required parameter without a value.
    """
    sections = ServiceConfig.get_instance() if config is None else ServiceConfig(config)
    section = tree_of(sections.written_section(definition.name), VARIABLE)
    bound = bind_constructor(definition, section if isinstance(section, dict) else {})
    if bound.problems:
        raise ConfigError(bound.problems)
    return bound.arguments


def _over_default(node: Value | Tree, parameter: inspect.Parameter | None) -> Value | Tree:
    default = parameter.default if parameter is not None else None
    if isinstance(node, dict) and isinstance(default, dict) and default:
        under = tree_of(default, DEFAULT)
        return merged(under, node) if isinstance(under, dict) else node
    return node


def _fitted(value: Any, annotation: Any, default: Any) -> Any:
    if annotation is not _MISSING:
        # `x: str = None` is a common way to write an optional parameter.
        exact = not {Decimal, Fraction}.isdisjoint(classes_of(annotation))
        value = with_texts(value, annotation)
        return None if value is None and default is None else fitted(Shape(annotation).fit, value, exact=exact)
    kind, expected = _simple(default)
    value = text_of(value) if kind == (str,) and _is_scalar(value) else values_of(value)
    if kind and not (isinstance(value, kind) and (bool in kind or not isinstance(value, bool))):
        wrong = f"should be {expected} like its default {default!r}, not {value!r:.80}"
        raise ValueError(f"{wrong}; annotate the parameter to allow other types")
    return value


def fitted(fit: Callable[[Any], Any], value: Any, *, exact: bool = False) -> Any:
    """Fits a value to a type. A number or truth value that does not fit, as for a `str`, is replaced by its text.

    fit: raises MisfitError with the paths of the faulty parts. exact: the type has numbers of any precision, which are
    read from the text.
    """
    data, first = _exactly(value) if exact else values_of(value), None
    while True:
        try:
            return fit(data)
        except MisfitError as error:
            first = first or error
            before = data
            for path in error.paths:
                data = _with_text(data, value, path)
            if data == before:
                raise first from first.__cause__


def _with_text(data: Any, value: Any, path: Sequence[int | str]) -> Any:
    """The data with the text of the scalar at the path. Steps that the data lacks name alternatives of a union."""
    if _is_scalar(data):
        return text_of(value)
    for at, step in enumerate(path):
        if isinstance(data, dict) and step in data:
            return data | {step: _with_text(data[step], value[step], path[at + 1 :])}
        if isinstance(data, list) and isinstance(step, int) and step < len(data):
            return [*data[:step], _with_text(data[step], value[step], path[at + 1 :]), *data[step + 1 :]]
    return data


def _is_scalar(value: Any) -> bool:
    return isinstance(value, Written | bool | int | float | Decimal)


def _exactly(value: Any) -> Any:
    """The values of the data, with a Decimal for each finite number that is not whole."""
    if isinstance(value, dict):
        return {key: _exactly(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_exactly(child) for child in value]
    if isinstance(values_of(value), float):
        with suppress(InvalidOperation):  # such as `.inf`
            return Decimal(text_of(value))
    return values_of(value)


def _simple(default: Any) -> tuple[tuple[type, ...], str]:
    """The types that a parameter without annotation accepts, and their name, from its default; () for all types."""
    if isinstance(default, bool):
        return (bool,), "true or false"
    if type(default) is str:
        return (str,), "text"
    if type(default) in {int, float}:
        return (int, float), "a number"
    return (), ""


def _missing(service: str, parameter: inspect.Parameter) -> str:
    if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
        return f"{parameter.name!r} is a positional-only parameter of the constructor, which configuration cannot set"
    return (
        f"the constructor needs {parameter.name!r}, and no layer sets it; "
        f"set `{parameter.name}:` under `{service}:` in YAML, or --{service}.{parameter.name}=VALUE"
    )
