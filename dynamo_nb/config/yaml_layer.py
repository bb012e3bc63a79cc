"""Configuration in YAML: a file or the text of a cell, as a layer in which every value has its line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from dynamo_nb.config.layers import Layer, Path, Tree, Value, holds_texts, sections_of, tree_from
from dynamo_nb.errors import ConfigError, Problem
from dynamo_nb.sdk.service_config import texts_joined
from dynamo_nb.sdk.written import Written, written

_PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "seq", "map")}
_STR, _BOOL, _INT, _FLOAT, _TIMESTAMP, _NULL, _MERGE = (
    f"tag:yaml.org,2002:{name}" for name in ("str", "bool", "int", "float", "timestamp", "null", "merge")
)
# YAML 1.1 requires a dot and a sign in floats, so PyYAML reads `1e-5` as text.
_EXPONENT = re.compile(r"[-+]?(?:\d[\d_]*\.?\d*|\.\d+)[eE][-+]?\d+")


class _Loader(yaml.SafeLoader):
    """Loads YAML with the types of JSON: a date stays text."""


class _Dumper(yaml.SafeDumper):
    """Quotes exactly those texts that `_Loader` would not read as text."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def _text(dumper: _Dumper, text: str) -> Node:
    # PyYAML turns the rare line breaks of Unicode into spaces, unless they are escaped.
    return dumper.represent_scalar(_STR, text, style='"' if any(c in text for c in "\x85\u2028\u2029") else None)


def _as_written(dumper: _Dumper, scalar: Written) -> Node:
    tag = _BOOL if isinstance(scalar.value, bool) else _INT if isinstance(scalar.value, int) else _FLOAT
    return dumper.represent_scalar(tag, scalar.text)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(Written, _as_written)
for _kind in (_Loader, _Dumper):
    _kind.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    _kind.add_implicit_resolver(_FLOAT, re.compile(rf"^(?:{_EXPONENT.pattern})$"), list("-+.0123456789"))


def to_yaml(data: Any) -> str:
    """The YAML of plain data, in which a Written has its text. `yaml_layer` and `from_yaml` read the same from it."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False)


def config_yaml(sections: Mapping[str, Mapping[str, Any]]) -> str:
    """The YAML of sections in the form of DYNAMO_SERVICE_CONFIG, in which every value has the text that was written."""
    return to_yaml({name: texts_joined(section) for name, section in sections.items()})


def from_yaml(text: str) -> Any:
    """The data that `to_yaml` wrote. Raises yaml.YAMLError."""
    return yaml.load(text, Loader=_Loader)  # noqa: S506 (a SafeLoader)


def yaml_layer(source: str | FilePath, name: str | None = None) -> Layer:
    """A layer from a YAML file, or from a text: a `str` is a text if it has a line break or if `name` is given.

    Origins are `name:line`; the name of a file is its path as written. Raises ConfigError for a file that cannot be
    read, invalid YAML (with line, column and reason), a repeated key, and data that is not services with keys.
    """
    if isinstance(source, FilePath) or (name is None and "\n" not in source):
        name = name or str(source)
        try:
            text = FilePath(source).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            remedy = f"check the path {FilePath(source).absolute()}"
            raise ConfigError([Problem(f"cannot read {name}: {reason}", origin=name)], remedy=remedy) from None
        return replace(_Reader(name).layer(text), file=str(FilePath(source).absolute()))
    return _Reader(name or "YAML").layer(source)


def layer_from(data: Mapping[str, Any]) -> Layer:
    """The layer from the data of `layer_data`. A file is read again; raises ConfigError as `yaml_layer` does."""
    if "file" in data:
        return yaml_layer(FilePath(data["file"]), data["name"])
    return Layer(data["name"], tree_from(data["values"]))


class _Reader:
    """Reads one document and collects its faults in `problems`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.problems: list[Problem] = []
        self.open: list[Node] = []

    def layer(self, text: str) -> Layer:
        try:
            self.loader = _Loader(text)
            root = self.loader.get_single_node()
            values = self._sections(root)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "its end"
            reason = ", ".join(part for part in (error.context, error.problem) if part)
            origin = f"{self.name}:{mark.line + 1}" if mark else self.name
            raise ConfigError([Problem(f"not valid YAML at {place}: {reason}", origin=origin)]) from None
        except yaml.YAMLError as error:
            raise ConfigError([Problem(f"not valid YAML: {error}", origin=self.name)]) from None
        if self.problems:
            raise ConfigError(self.problems)
        return sections_of(self.name, values)

    def _sections(self, root: Node | None) -> Tree:
        if root is None or (isinstance(root, ScalarNode) and root.tag == _NULL):
            return {}
        if not isinstance(root, MappingNode):
            self._fault("the top level should be a mapping of service names", (), root)
            return {}
        tree = self._tree(root, (), self._line(root))
        return tree if isinstance(tree, dict) else {}

    def _tree(self, node: Node, path: Path, origin: str) -> Value | Tree:
        if not isinstance(node, MappingNode) or node.tag not in _PLAIN_TAGS:
            return Value(self._data(node, path), origin)
        if not node.value:
            return Value({}, origin)
        return {key: self._tree(child, (*path, key), line) for key, child, line in self._items(node, path)}

    def _data(self, node: Node, path: Path) -> Any:
        if node.tag not in _PLAIN_TAGS:
            self._fault(f"a value of type {node.tag.rpartition(':')[2]} has no JSON form", path, node)
            return None
        if isinstance(node, MappingNode):
            return {key: self._data(child, (*path, key)) for key, child, _ in self._items(node, path)}
        if isinstance(node, SequenceNode):
            return [self._data(child, path) for child in self._inside(node, node.value)]
        if holds_texts(path) and isinstance(node, ScalarNode) and not (node.tag == _NULL and node.value):
            return node.value
        if node.tag == _FLOAT and _EXPONENT.fullmatch(node.value):
            return written(float(node.value.replace("_", "")), node.value)
        return written(self.loader.construct_object(node), node.value)

    def _items(self, node: MappingNode, path: Path) -> Iterator[tuple[str, Node, str]]:
        """The keys as written, each with its value and line. Keys from `<<` are included; own keys override them."""
        self._check_keys(node, path)
        if self.problems:
            return
        children = self._merged(node, path, ())
        for key, (child, line) in self._inside(node, children.items()):
            yield key, child, line

    def _merged(self, node: MappingNode, path: Path, within: tuple[Node, ...]) -> dict[str, tuple[Node, str]]:
        """The node's own keys merged over those from `<<`, of which the first mapping has priority.

        PyYAML's own merging is not used: version 6.0.4 loses the keys that an aliased mapping had overridden.
        """
        own: dict[str, tuple[Node, str]] = {}
        under: dict[str, tuple[Node, str]] = {}
        for key, child in node.value:
            if key.tag != _MERGE:
                own[key.value] = (child, self._line(key))
                continue
            for source in child.value if isinstance(child, SequenceNode) else [child]:
                if not isinstance(source, MappingNode):
                    self._fault("`<<` takes a mapping, or a list of mappings", path, source)
                elif source is node or source in within:
                    self._fault("an alias that contains itself", path, source)
                else:
                    under = self._merged(source, path, (*within, node)) | under
        return under | own

    def _check_keys(self, node: MappingNode, path: Path) -> None:
        seen: dict[str, Node] = {}
        for key, _ in node.value:
            if not isinstance(key, ScalarNode):
                self._fault("a key should be a word", path, key)
            elif key.tag != _MERGE and (first := seen.setdefault(key.value, key)) is not key:
                self._fault(f"repeated key, first in line {first.start_mark.line + 1}", (*path, key.value), key)

    def _inside(self, node: Node, children: Any) -> Iterator[Any]:
        if node in self.open:
            self._fault("an alias that contains itself", (), node)
            return
        self.open.append(node)
        yield from children
        self.open.pop()

    def _line(self, node: Node) -> str:
        return f"{self.name}:{node.start_mark.line + 1}"

    def _fault(self, message: str, path: Path, node: Node) -> None:
        self.problems.append(Problem(message, ".".join(path), self._line(node)))
