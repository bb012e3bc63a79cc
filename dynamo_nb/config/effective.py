"""`resolve`: merges layers into the effective configuration and reports every fault in them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from difflib import SequenceMatcher, get_close_matches
from typing import Any, cast

from pydantic import ValidationError
from pydantic_core import to_jsonable_python

from dynamo_nb.config.constructor import DEFAULT, ConstructorBinding, bind_constructor, fitted
from dynamo_nb.config.direct_args import DIRECT, in_service_args
from dynamo_nb.config.layers import (
    Layer,
    Path,
    Tree,
    Value,
    leaves,
    merged,
    origin_in,
    overlaid,
    placed,
    plain,
    raw,
    subtree,
    tree_of,
)
from dynamo_nb.config.reads import key_reads
from dynamo_nb.config.settings import EffectiveConfig, ServiceSettings
from dynamo_nb.config.typed_parts import written_path
from dynamo_nb.errors import ConfigError, Problem, nearest_name, suggestion
from dynamo_nb.sdk.definition import ServiceDefinition
from dynamo_nb.sdk.service_args import ServiceArgs, TrafficArgs, faults_of
from dynamo_nb.sdk.service_config import COMMON, SERVICE_ARGS, SUBSCRIPTIONS, VARIABLE, underscored, with_common
from dynamo_nb.sdk.values import MisfitError

__all__ = ["EffectiveConfig", "ServiceSettings", "resolve"]

_NEAR = 0.8
"""Similarity (difflib ratio) from which a key counts as a misspelling of a parameter."""
_MISPLACED = {*DIRECT, "dynamo"}
"""Fields of ServiceArgs that users write by mistake in Common, or directly in a section that does not take them."""


def resolve(
    definitions: Sequence[ServiceDefinition],
    layers: Sequence[Layer],
    *,
    known: Collection[str] = (),
    namespace: str | None = None,
) -> EffectiveConfig:
    """Merges layers into the effective configuration of the services that run.

    Args:
        definitions: The services that run.
        layers: From lowest to highest. Constructor defaults, decorators and `Common` are lower than all of them.
        known: Names of other services that the layers may contain.
        namespace: The value of `--namespace`, which overrides all layers.

    Returns:
        The effective configuration.

    Raises:
        ConfigError: With every fault: unknown services (in files, only if they look misspelt), unknown or wrong
            ServiceArgs, fields of ServiceArgs that one layer writes twice, constructor arguments that are missing or
            of a wrong type, keys that look like misspelt parameters, unknown keys of `Common`.
    """
    services = list(dict.fromkeys([*(d.name for d in definitions), *known]))
    problems, passed_over = _unknown_services(layers, {*services, COMMON})
    written: Tree = {}
    for given in layers:
        layer = given
        for definition in definitions:
            layer, twice = in_service_args(definition, layer)
            problems += twice
        written = merged(
            written, {n: subtree(node) or {} for n, node in layer.values.items() if n in {*services, COMMON}}
        )
    if namespace is not None:
        for name in services:
            path = (name, SERVICE_ARGS, "dynamo", "namespace")
            written = merged(written, placed(path, Value(namespace, "--namespace")))
    unused, unused_remarks = _unused_common(definitions, layers, written)
    problems += unused
    settings = {d.name: _Service(d, written, problems).settings() for d in definitions}
    if problems:
        raise ConfigError(problems)
    found = {name: settled for name, settled in settings.items() if settled is not None}
    return EffectiveConfig(found, written, (*passed_over, *unused_remarks))


def _unused_common(
    definitions: Sequence[ServiceDefinition], layers: Sequence[Layer], written: Tree
) -> tuple[list[Problem], list[str]]:
    """The keys of Common to which no service subscribes: those on the command line, and a remark for each other one."""
    sections = [subtree(node) or {} for layer in layers for node in layer.values.values()]
    lists = [plain(section[SUBSCRIPTIONS]) for section in sections if SUBSCRIPTIONS in section]
    used = {name for names in lists if isinstance(names, list) for name in names}
    unused = {key: node for key, node in (subtree(written.get(COMMON)) or {}).items() if key not in used}
    if not unused or any(reads.whole or COMMON in reads.texts for reads in map(key_reads, definitions)):
        return [], []
    problems, remarks = [], []
    for key, node in unused.items():
        origin, message = origin_in(node), f"no service lists it in its `{SUBSCRIPTIONS}`"
        if origin.startswith("--"):
            problems.append(Problem(message, f"{COMMON}.{key}", origin))
        else:
            remarks.append(f"{COMMON}.{key}: {message} ({origin})")
    return problems, remarks


def _unknown_services(layers: Sequence[Layer], known: set[str]) -> tuple[list[Problem], list[str]]:
    """The sections about services that the graph lacks: the faulty ones, and a remark for each other one.

    A file, or the environment, may be about more than this graph. A section is passed over there, unless its name looks
    like a misspelt one.
    """
    problems, remarks = [], []
    for layer in layers:
        for name, node in layer.values.items():
            if name in known:
                continue
            origin = next(leaves(node))[1].origin
            if (layer.file or layer.name == VARIABLE) and not _misspelt(name, known):
                remarks.append(f"{name}: the graph has no such service, and the section is passed over ({origin})")
            else:
                problems.append(Problem(f"unknown service {name!r}: {suggestion(name, known)}", name, origin))
    return problems, remarks


def _misspelt(name: str, known: set[str]) -> bool:
    """True if a name is another spelling of a known one. A word or a number more makes another name."""

    def is_near(other: str) -> bool:
        word, other = name.lower(), other.lower()
        alike = SequenceMatcher(None, word, other).ratio() >= _NEAR and abs(len(word) - len(other)) <= 1
        return alike and [c for c in word if c.isdigit()] == [c for c in other if c.isdigit()]

    return any(map(is_near, known))


class _Service:
    """The settings of one service. Adds their faults to `problems`."""

    def __init__(self, definition: ServiceDefinition, written: Tree, problems: list[Problem]) -> None:
        self.definition, self.problems = definition, problems
        self.own = subtree(written.get(definition.name)) or {}
        self.common = subtree(written.get(COMMON)) or {}

    def settings(self) -> ServiceSettings | None:
        section = with_common(self.own, self.common, self._subscriptions(), overlaid)
        found = self._service_args(section.get(SERVICE_ARGS))
        bound = bind_constructor(self.definition, section)
        self.problems += bound.problems
        problems, unread = _unread_keys(self.definition, bound)
        unknown, within = _unknown_fields(self.definition, bound)
        self.problems += [*problems, *unknown]
        if found is None:
            return None
        args, args_tree = found
        faulty, remarks = _unread_args(args_tree)
        for path in faulty:
            self._fault(remarks[f"{SERVICE_ARGS}.{path}"], (SERVICE_ARGS, path), f"--{self.definition.name}.{path}")
        parameters = self._parameters(bound)
        return ServiceSettings(
            name=self.definition.name,
            args=args,
            parameters={key: _whole(node) for key, node in parameters.items()},
            extras={key: _whole(node) for key, node in bound.extras.items()},
            values={SERVICE_ARGS: args_tree}
            | {bound.written.get(key, key): node for key, node in parameters.items()}
            | bound.extras,
            unread=unread | within | remarks,
            _arguments=bound.arguments,
        )

    def _fault(self, message: str, path: Path, origin: str) -> None:
        self.problems.append(Problem(message, ".".join((self.definition.name, *path)), origin))

    def _subscriptions(self) -> list[str]:
        node = self.own.get(SUBSCRIPTIONS)
        if node is None:
            return []
        names = plain(node)
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            self._fault("should be a list of keys of Common", (SUBSCRIPTIONS,), origin_in(node))
            return []
        for name in names:
            if name not in self.common:
                message = f"Common has no key {name!r}: {suggestion(name, self.common)}"
                self._fault(message, (SUBSCRIPTIONS,), origin_in(node))
        return names

    def _service_args(self, node: Value | Tree | None) -> tuple[ServiceArgs, Tree] | None:
        given = subtree(node)
        if given is None:
            assert node is not None
            self._fault(f"should be a mapping, not {plain(node)!r:.80}", (SERVICE_ARGS,), origin_in(node))
            return None
        decorator = tree_of(dict(self.definition.args), f"@service, {self.definition.origin}")
        tree = merged(decorator if isinstance(decorator, dict) else {}, given)
        try:
            args = fitted(_args_of, raw(tree))
        except MisfitError as error:
            for path, message in faults_of(cast("ValidationError", error.__cause__)):
                self._fault(message, (SERVICE_ARGS, *path), origin_in(tree, path))
            return None
        origins = {path: value.origin for path, value in leaves(tree)}
        shown: Tree = {}
        for path, value in leaves(tree_of(args.model_dump(exclude_none=True), "default")):
            if value.value != {}:
                shown = merged(shown, placed(path, Value(value.value, origins.get(path, "default"))))
        return args, shown

    def _parameters(self, bound: ConstructorBinding) -> Tree:
        """The parameters with a value: those of the constructor in its order, then those for its `**kwargs`."""
        parameters: Tree = {}
        for key in self.definition.parameters:
            if key in bound.trees:
                parameters[key] = bound.trees[key]
            elif key in bound.defaults:
                default = to_jsonable_python(bound.defaults[key], inf_nan_mode="constants", fallback=repr)
                parameters[key] = tree_of(default, DEFAULT)
        return parameters | bound.trees


def _args_of(data: Any) -> ServiceArgs:
    try:
        return ServiceArgs.model_validate(data)
    except ValidationError as error:
        raise MisfitError(str(error), [fault["loc"] for fault in error.errors(include_url=False)]) from error


def _whole(node: Value | Tree) -> Value:
    return Value(raw(node), origin_in(node))


def _unread_keys(definition: ServiceDefinition, bound: ConstructorBinding) -> tuple[list[Problem], dict[str, str]]:
    """The keys that nothing reads: the faulty ones, and a remark for each other one.

    A key is faulty if it looks like a misspelt parameter, or if it is written on the command line for a class that does
    not read its section.
    """
    problems: list[Problem] = []
    remarks: dict[str, str] = {}
    if not bound.extras:
        return problems, remarks
    reads = key_reads(definition)
    unset = [key for key in definition.parameters if key not in bound.trees and key != "self"]
    sections = {"serviceargs": SERVICE_ARGS, "common_configs": SUBSCRIPTIONS}
    for key, node in bound.extras.items():
        intended = ""
        if reads.section and underscored(key) in reads.texts:
            continue
        if close := get_close_matches(underscored(key).lower(), sections, n=1, cutoff=_NEAR):
            intended = sections[close[0]]
        elif reads.whole:
            continue
        elif close := get_close_matches(underscored(key), unset, n=1, cutoff=_NEAR):
            intended = close[0]
        elif key in _MISPLACED:
            intended = f"{SERVICE_ARGS}.{key}"
        near = intended or nearest_name(underscored(key), definition.parameters)
        message = f"nothing in {definition.name} reads {key!r}" + (f": did you mean {near!r}?" if near else "")
        if intended or (not reads.section and origin_in(node).startswith("--")):
            problems.append(Problem(message, f"{definition.name}.{key}", origin_in(node)))
        else:
            remarks[key] = message
    return problems, remarks


def _unknown_fields(definition: ServiceDefinition, bound: ConstructorBinding) -> tuple[list[Problem], dict[str, str]]:
    """The problems and remarks about unknown keys within parameters, by the rule of `_unread_keys`."""
    problems: list[Problem] = []
    remarks: dict[str, str] = {}
    for parameter, found in bound.unknown.items():
        for one in found:
            key = str(one.path[-1])
            path = ".".join(map(str, (bound.written[parameter], *one.path)))
            shown = ".".join((bound.written[parameter], *written_path(one.path)))
            origin = origin_in(bound.trees[parameter], written_path(one.path))
            close = get_close_matches(key, one.unset, n=1, cutoff=_NEAR)
            near = close[0] if close else nearest_name(key, one.known)
            message = f"{one.types} has no field {key!r}" + (f": did you mean {near!r}?" if near else "")
            if close or origin.startswith("--"):
                problems.append(Problem(message, f"{definition.name}.{path}", origin))
            else:
                remarks[shown] = "; ".join(filter(None, [remarks.get(shown), message]))
    return problems, remarks


def _unread_args(args: Tree) -> tuple[list[str], dict[str, str]]:
    """The keys of `traffic` that nothing reads: those on the command line, and a remark for each of them."""
    known = TrafficArgs.model_fields
    unread = {key: node for key, node in (subtree(args.get("traffic")) or {}).items() if key not in known}
    found = {".".join(path): value.origin for path, value in leaves(unread, ("traffic",))}
    remarks = {}
    for path in found:
        near = nearest_name(path.split(".")[1], known)
        hint = f": did you mean {near!r}?" if near else ""
        remarks[f"{SERVICE_ARGS}.{path}"] = f"{path!r} has no effect: nothing reads it{hint}"
    return [path for path, origin in found.items() if origin.startswith("--")], remarks
