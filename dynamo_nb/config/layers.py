"""Layers of configuration: nested values, each with its origin.

A tree maps a key to a `Value` or to another tree. A list is one value, and so is an empty mapping. Layers are merged
key by key at every level; the higher layer overrides the lower one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from dynamo_nb.errors import ConfigError, Problem
from dynamo_nb.sdk.service_args import envs_by_name
from dynamo_nb.sdk.service_config import (
    SERVICE_ARGS,
    VARIABLE,
    config_text,
    parsed_config,
    separated,
    texts_joined,
)
from dynamo_nb.sdk.written import Written, texts_in, values_of, with_texts

_TEXTS = {"envs", "labels"}
"""Fields of ServiceArgs with texts as values, and with keys that may contain dots."""


@dataclass(frozen=True)
class Value:
    """A value and its origin: `config.yaml:7`, `--Backend.temperature`, `@service, cell 4, line 3`.

    raw: the value, with a Written for each scalar whose text is not that of its value.
    """

    raw: Any
    origin: str

    @property
    def value(self) -> Any:
        return values_of(self.raw)


Tree: TypeAlias = "dict[str, Value | Tree]"
Path: TypeAlias = tuple[str, ...]


@dataclass(frozen=True)
class Layer:
    """One source of configuration. values: by service. file: the path to read it again, if it is a file."""

    name: str
    values: Tree
    file: str = ""


def holds_texts(path: Path) -> bool:
    """True if all values below `path` are texts, even numbers: `Backend.ServiceArgs.envs`."""
    return len(path) >= 3 and path[1] == SERVICE_ARGS and path[2] in _TEXTS


def split_key(key: str) -> Path:
    """The path of a key such as `Backend.ServiceArgs.workers`. Dots in the name of a label do not split it."""
    path = tuple(key.split("."))
    return (*path[:3], ".".join(path[3:])) if holds_texts(path) and len(path) > 3 else path


def is_empty(node: Value | Tree) -> bool:
    return isinstance(node, Value) and isinstance(node.value, Mapping) and not node.value


def subtree(node: Value | Tree | None) -> Tree | None:
    """The contents of a section; {} for a section without contents in YAML (None). None if it is not a section."""
    if isinstance(node, Value):
        return None if node.value is not None and not is_empty(node) else {}
    return {} if node is None else node


def merged(low: Tree, high: Tree) -> Tree:
    """Merges two trees: `high` overrides `low` key by key. Keys stay in the order in which they were first written."""
    return low | {key: overlaid(low[key], node) if key in low else node for key, node in high.items()}


def overlaid(low: Value | Tree, high: Value | Tree) -> Value | Tree:
    """Merges two nodes: `high` overrides `low`, except that an empty mapping does not remove anything."""
    if isinstance(low, dict) and isinstance(high, dict):
        return merged(low, high)
    return low if isinstance(low, dict) and is_empty(high) else high


def placed(path: Path, node: Value | Tree) -> Tree:
    """A tree with only `node`, at `path`."""
    for key in reversed(path):
        node = {key: node}
    assert isinstance(node, dict)
    return node


def plain(node: Value | Tree) -> Any:
    """The values without origins, as new nested dicts."""
    return node.value if isinstance(node, Value) else {key: plain(child) for key, child in node.items()}


def raw(node: Value | Tree) -> Any:
    """The values without origins, with their texts."""
    return node.raw if isinstance(node, Value) else {key: raw(child) for key, child in node.items()}


def leaves(node: Value | Tree, path: Path = ()) -> Iterator[tuple[Path, Value]]:
    """The values in a tree, each with its path."""
    if isinstance(node, Value):
        yield path, node
    else:
        for key, child in node.items():
            yield from leaves(child, (*path, key))


def origin_in(node: Value | Tree, path: Path = ()) -> str:
    """The origin of the node at `path`, or at its longest existing part. For a subtree, the origins of its leaves."""
    for step in path:
        if isinstance(node, Value) or step not in node:
            break
        node = node[step]
    return ", ".join(dict.fromkeys(value.origin for _, value in leaves(node)))


def tree_of(value: Any, origin: str) -> Value | Tree:
    """Plain data as a tree; every value gets this origin."""
    if isinstance(value, Mapping) and value:
        return {str(key): tree_of(child, origin) for key, child in value.items()}
    return Value(value, origin)


def tree_data(node: Value | Tree) -> Any:
    """The tree as JSON data: a value becomes a list of itself, its origin and its texts, if it has any."""
    if isinstance(node, Value):
        texts = texts_in(node.raw)
        return [node.value, node.origin] if texts is None else [node.value, node.origin, texts]
    return {key: tree_data(child) for key, child in node.items()}


def tree_from(data: Any) -> Any:
    """The tree from the data of `tree_data`."""
    if isinstance(data, list):
        return Value(with_texts(data[0], data[2]) if len(data) > 2 else data[0], data[1])
    return {key: tree_from(child) for key, child in data.items()}


def section_data(section: Value | Tree) -> Any:
    """A section as JSON data, with the texts of its values under `as-written`."""
    return separated(raw(section))


def layer_data(layer: Layer) -> dict[str, Any]:
    """The layer as JSON data: its values, or the file to read them from."""
    return {"name": layer.name, **({"file": layer.file} if layer.file else {"values": tree_data(layer.values)})}


def sections_of(name: str, values: Tree) -> Layer:
    """The layer with these values, and with `envs` as mappings. Raises ConfigError if a section is not a mapping."""
    problems = [
        Problem("should be a mapping of keys to values", service, origin_in(node))
        for service, node in values.items()
        if subtree(node) is None
    ]
    if problems:
        raise ConfigError(problems)
    return Layer(name, {service: normalised(node) for service, node in values.items()})


def normalised(section: Value | Tree) -> Value | Tree:
    """A section with `envs` as a mapping, so that layers merge. Empty fields of ServiceArgs (None) are removed."""
    if not isinstance(section, dict) or SERVICE_ARGS not in section:
        return section
    args = subtree(section[SERVICE_ARGS])
    if args is None:
        return section
    args = {key: node for key, node in args.items() if not (isinstance(node, Value) and node.value is None)}
    if isinstance(envs := args.get("envs"), Value):
        args["envs"] = tree_of(envs_by_name(envs.raw), envs.origin)
    for key in _TEXTS & args.keys():
        args[key] = _as_texts(args[key])
    return {**section, SERVICE_ARGS: args or Value({}, origin_in(section[SERVICE_ARGS]))}


def _as_texts(node: Value | Tree) -> Value | Tree:
    """The node with the texts of its numbers and truth values, where they are known."""
    if isinstance(node, Value):
        return Value(node.raw.text, node.origin) if isinstance(node.raw, Written) else node
    return {key: _as_texts(child) for key, child in node.items()}


def mapping_layer(mapping: Mapping[str, Any], origin: str) -> Layer:
    """A layer of Python values. `{"Backend.suffix": "!"}` and `{"Backend": {"suffix": "!"}}` are the same.

    Dots nest in the names of services and of their keys, not deeper. Raises ConfigError for a value without a JSON
    form, since the configuration is sent to workers as JSON.
    """
    from pydantic_core import PydanticSerializationError, to_jsonable_python

    values: Tree = {}
    problems = []
    for top, section in mapping.items():
        below = section if "." not in str(top) and isinstance(section, Mapping) and section else {"": section}
        for key, value in below.items():
            path = split_key(f"{top}.{key}" if key != "" else str(top))
            try:
                data = to_jsonable_python(value, inf_nan_mode="constants")
            except PydanticSerializationError:
                problems.append(Problem(f"a {type(value).__name__} has no JSON form", ".".join(path), origin))
            else:
                if changed := _changed_by_json(value):
                    what = f"a {changed} is not read back equal from its JSON form"
                    problems.append(Problem(what, ".".join(path), origin))
                values = merged(values, placed(path, tree_of(data, origin)))
    if problems:
        raise ConfigError(problems, remedy="use text, numbers, true or false, lists and mappings, as in a YAML file")
    return sections_of(origin, values)


def _changed_by_json(value: Any) -> str:
    """The first type in a value that is another value when it is read from its JSON form; "" if there is none.

    Such as a model with aliases or validators, whose worker would validate it again, and a secret, which is hidden.
    """
    from pydantic import PydanticSchemaGenerationError, TypeAdapter, ValidationError
    from pydantic_core import to_json

    if value is None or isinstance(value, (bool, int, float, str)):
        return ""
    if isinstance(value, Mapping):
        return next(filter(None, map(_changed_by_json, value.values())), "")
    if isinstance(value, (list, tuple, set, frozenset)):
        return next(filter(None, map(_changed_by_json, value)), "")
    try:
        same = TypeAdapter(type(value)).validate_json(to_json(value)) == value
    except PydanticSchemaGenerationError:  # its class does not say how it is read; the worker's annotation may
        return ""
    except ValidationError:
        same = False
    return "" if same else type(value).__name__


def env_layer() -> Layer:
    """The layer of DYNAMO_SERVICE_CONFIG. Raises ConfigError if it is not a JSON object of objects."""
    sections = {name: texts_joined(section) for name, section in parsed_config(config_text()).items()}
    values = tree_of(sections, VARIABLE)
    return sections_of(VARIABLE, values if isinstance(values, dict) else {})
