"""What configuration gives to a service's constructor, and what it leaves for `ServiceConfig`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dynamo_nb.config.layers import Tree, Value, merged, origin_in, plain, tree_of
from dynamo_nb.errors import ConfigError, Problem
from dynamo_nb.sdk.definition import ServiceDefinition
from dynamo_nb.sdk.service_config import SERVICE_ARGS, SUBSCRIPTIONS, VARIABLE, ServiceConfig, underscored
from dynamo_nb.sdk.values import Shape, hints_of

DEFAULT = "constructor default"
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_MISSING = inspect.Parameter.empty


@dataclass
class Constructor:
    """One service's section of the configuration, dealt out.

    written: constructor parameter -> the key that gives it, as it was written.
    trees: constructor parameter -> what configuration says, over a default that is a mapping.
    arguments: the same as the annotations want it. extras: the keys that the constructor does not take.
    defaults: the parameters that configuration does not set and that have a default.
    """

    written: dict[str, str] = field(default_factory=dict)
    trees: dict[str, Value | Tree] = field(default_factory=dict)
    arguments: dict[str, Any] = field(default_factory=dict)
    extras: Tree = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def deal(definition: ServiceDefinition, section: Tree) -> Constructor:
    """Deals the keys of a section (without those that are not the constructor's) to the constructor's parameters."""
    name, parameters = definition.name, definition.parameters
    takes_all = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    named = {key: p for key, p in parameters.items() if p.kind in _NAMED}
    dealt = Constructor()
    for key, node in section.items():
        parameter = underscored(key)
        if key in {SERVICE_ARGS, SUBSCRIPTIONS}:
            continue
        if parameter not in named and not takes_all:
            dealt.extras[key] = node
        elif (other := dealt.written.get(parameter)) is not None:
            origin = f"{origin_in(section[other])}, {origin_in(node)}"
            both = f"given as {other!r} and as {key!r}; keep one spelling"
            dealt.problems.append(Problem(both, f"{name}.{parameter}", origin))
        else:
            dealt.written[parameter] = key
            dealt.trees[parameter] = _over_default(node, named.get(parameter))
    annotations = hints_of(getattr(definition.cls, "__init__"))  # noqa: B009
    rest = next((key for key, p in parameters.items() if p.kind is inspect.Parameter.VAR_KEYWORD), "")
    for parameter, node in dealt.trees.items():
        annotation = annotations.get(parameter if parameter in named else rest, _MISSING)
        default = named[parameter].default if parameter in named else _MISSING
        try:
            dealt.arguments[parameter] = _fitted(plain(node), annotation, default)
        except ValueError as error:
            path = f"{name}.{dealt.written[parameter]}"
            dealt.problems.append(Problem(str(error), path, origin_in(section[dealt.written[parameter]])))
    for parameter, given in parameters.items():
        if given.kind in {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD} or parameter in dealt.trees:
            continue
        if given.default is not _MISSING:
            dealt.defaults[parameter] = given.default
        else:
            dealt.problems.append(Problem(_missing(name, given), f"{name}.{parameter}"))
    return dealt


def constructor_arguments(definition: ServiceDefinition, config: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The keyword arguments that configuration gives to the constructor, as its annotations want them.

    config: service name -> section, by default what DYNAMO_SERVICE_CONFIG says. Parameters left at their default are
    absent. Raises ConfigError for a value of the wrong type and for a required parameter without one.
    """
    sections = ServiceConfig.get_instance() if config is None else ServiceConfig(config)
    section = tree_of(sections.get(definition.name, {}), VARIABLE)
    dealt = deal(definition, section if isinstance(section, dict) else {})
    if dealt.problems:
        raise ConfigError(dealt.problems)
    return dealt.arguments


def _over_default(node: Value | Tree, parameter: inspect.Parameter | None) -> Value | Tree:
    default = parameter.default if parameter is not None else None
    if isinstance(node, dict) and isinstance(default, dict) and default:
        under = tree_of(default, DEFAULT)
        return merged(under, node) if isinstance(under, dict) else node
    return node


def _fitted(value: Any, annotation: Any, default: Any) -> Any:
    if annotation is not _MISSING:
        # `x: str = None` is what people write for an optional one.
        return None if value is None and default is None else Shape(annotation).fit(value)
    kind, expected = _simple(default)
    if kind and not (isinstance(value, kind) and (bool in kind or not isinstance(value, bool))):
        wrong = f"should be {expected} like its default {default!r}, not {value!r:.80}"
        raise ValueError(f"{wrong}; annotate the parameter to allow other types")
    return value


def _simple(default: Any) -> tuple[tuple[type, ...], str]:
    """The types that a parameter without annotation accepts, judged by its default; none means all."""
    if isinstance(default, bool):
        return (bool,), "true or false"
    if type(default) is str:
        return (str,), "text"
    if type(default) in {int, float}:
        return (int, float), "a number"
    return (), ""


def _missing(service: str, parameter: inspect.Parameter) -> str:
    if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
        return f"the constructor takes {parameter.name!r} by position only, so configuration cannot give it"
    return (
        f"the constructor needs {parameter.name!r}, and no layer gives it; "
        f"give `{parameter.name}:` under `{service}:` in YAML, or --{service}.{parameter.name}=VALUE"
    )
