"""Configuration on the command line: `--Backend.temperature=0.9`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from dynamo_nb.config.layers import Layer, Tree, holds_texts, merged, placed, sections_of, split_key, tree_of
from dynamo_nb.errors import ConfigError, Problem
from dynamo_nb.sdk.written import read_json


def arguments_layer(argv: Sequence[str]) -> Layer:
    """The layer of `--Service.key=value` and `--Service.key value`. A value is parsed as JSON if possible, else text.

    Dotted keys nest; a number keeps its text; values below `ServiceArgs.envs` stay text. The last of equal keys counts.
    Raises ConfigError with every argument that does not have this form.
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
        return f"{argument!r} does not follow a flag; write configuration as --Service.key=value"
    if len(path) < 2:
        name, value = path[0] or "Service", argument.partition("=")[2] or "VALUE"
        return f"{argument} names no key of {name}; write --{name}.key={value}, or --{name}.workers=2"
    if not all(path):
        return f"{argument} has an empty name between its dots; write --Service.key=value"
    return ""


def is_value(token: str) -> bool:
    """True if a word after a flag is its value. Everything but flags is; -1 is a number."""
    return not token.startswith("-") or not isinstance(_value(token), str)


def _value(text: str) -> Any:
    try:
        return read_json(text, _no_constant)
    except ValueError:
        return text


def _no_constant(name: str) -> NoReturn:
    # NaN and Infinity are not JSON, and may be the name of a model.
    raise ValueError(name)
