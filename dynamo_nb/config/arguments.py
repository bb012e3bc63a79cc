"""Configuration on the command line: `--Backend.temperature=0.9`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NoReturn

from dynamo_nb.config.layers import Layer, Tree, holds_texts, merged, placed, sections_of, split_key, tree_of
from dynamo_nb.errors import ConfigError, Problem


def arguments_layer(argv: Sequence[str]) -> Layer:
    """A layer from `--Service.key=value` and `--Service.key value`; a value is JSON if it can be, else text.

    Dotted keys nest; what stands below `ServiceArgs.envs` stays text. The last of two equal keys wins. Raises
    ConfigError with every argument that is not of this form.
    """
    values: Tree = {}
    problems = []
    rest = list(argv)
    while rest:
        argument = rest.pop(0)
        flag, equals, text = argument.partition("=")
        path = split_key(flag.removeprefix("--"))
        if fault := _fault(argument, flag, path):
            problems.append(Problem(fault, origin=flag))
            if "=" not in argument and rest and is_value(rest[0]):
                rest.pop(0)
            continue
        if not equals:
            if not (rest and is_value(rest[0])):
                missing = f"{flag} has no value; write {flag}=VALUE, for a switch {flag}=true"
                problems.append(Problem(missing, origin=flag))
                continue
            text = rest.pop(0)
        value = text if holds_texts(path) and len(path) > 3 else _value(text)
        values = merged(values, placed(path, tree_of(value, flag)))
    if problems:
        raise ConfigError(problems)
    return sections_of("command line", values)


def _fault(argument: str, flag: str, path: tuple[str, ...]) -> str:
    if not flag.startswith("--"):
        return f"{argument!r} belongs to no flag; configuration is written --Service.key=value"
    if len(path) < 2:
        name, value = path[0] or "Service", argument.partition("=")[2] or "VALUE"
        return f"{argument} names no key of {name}; write --{name}.key={value}, or --{name}.ServiceArgs.workers=2"
    if not all(path):
        return f"{argument} has an empty name between its dots; write --Service.key=value"
    return ""


def is_value(token: str) -> bool:
    """Whether a word after a flag is its value: anything that is not a flag itself; -1 is a number."""
    return not token.startswith("-") or not isinstance(_value(token), str)


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except ValueError:
        return text


def _no_constant(name: str) -> NoReturn:
    # NaN and Infinity are no JSON; a model may be called so.
    raise ValueError(name)
