"""The configuration and the options of the cell in a saved notebook that serves a graph.

The cell is `serve(Frontend, CONFIG, …)` or `%dynamo serve Frontend -f config.yaml …`. No cell runs. Values that are
known only when cells run are left out, and listed in a note.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from dynamo_nb.config.arguments import arguments_layer
from dynamo_nb.config.command_words import split_words
from dynamo_nb.config.layers import Layer, Tree, Value, mapping_layer
from dynamo_nb.config.yaml_layer import yaml_layer
from dynamo_nb.errors import ConfigError, Problem
from dynamo_nb.program.saved_values import SavedValues, Unread
from dynamo_nb.source import Cell
from dynamo_nb.source.statements import parse

_SERVE: Final = "serve"
_PACKAGE: Final = "dynamo_nb"
_WRITEFILE: Final = re.compile(r"%%writefile\s+(?P<append>-a\s+)?(?P<path>\S+)\s*")
_SWITCHES: Final = ("--dry-run", "--detach", "--kernels", "--no-kernels")
"""Options of the verb that take no value."""
_SHORT: Final = {"host": "http_host", "port": "http_port", "f": "file"}
_PORTS: Final = ("http_port", "metrics_port")
_SECONDS: Final = ("grace", "hang")


@dataclass(frozen=True)
class Serving:
    """A call in a saved notebook that serves a graph.

    Attributes:
        where: Its origin: `serve(…), cell 8, line 2`.
        layers: The configuration in its arguments, lowest layer first.
        options: The other arguments of `serve`, by name.
        variable: The name to which the deployment is assigned; "" for none.
        notes: Lines about values that cannot be read, and about other calls that serve the graph.
    """

    where: str
    layers: Sequence[Layer] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    variable: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Words:
    """Configuration on the line of a magic."""

    words: tuple[str, ...]


@dataclass(frozen=True)
class _Call:
    """A call with the values of its arguments. in_block: True inside a function, a loop or another block."""

    entry: str
    where: str
    configs: Sequence[Any]
    options: Mapping[str, Any]
    variable: str
    in_block: bool

    @property
    def is_dry_run(self) -> bool:
        return bool(self.options.get("dry_run"))


def serving_of(cells: Sequence[Cell], entry: str, folder: Path) -> Serving | None:
    """Returns the last call in a notebook that serves an entry; None if there is none.

    Args:
        cells: The cells, in order of execution.
        entry: Name of the entry's class.
        folder: The folder of the notebook. Paths of files are relative to it.

    Raises:
        ConfigError: A file of the configuration cannot be read, or a value is not a configuration.
    """
    values = SavedValues(folder)
    calls = [call for call in _calls(cells, values) if call.entry == entry]
    plain = [call for call in calls if not call.in_block]
    if not plain:
        blocks = [f"{call.where}: not read, because it is inside a block of code" for call in calls[-1:]]
        return Serving(calls[-1].where, notes=tuple(blocks)) if calls else None
    call = next((call for call in reversed(plain) if not call.is_dry_run), plain[-1])
    earlier = [other.where for other in plain if other is not call and not other.is_dry_run]
    serving = _read(call, values)
    passed_over = [f"{', '.join(earlier)}: ignored, because {call.where} serves {entry} too"] if earlier else []
    return replace(serving, notes=(*serving.notes, *passed_over))


def variable_of(cells: Sequence[Cell], entry: str) -> str:
    """Returns the variable of the last call that serves an entry; "" if there is none.

    Args:
        cells: The cells, in order of execution.
        entry: Name of the entry's class.
    """
    calls = [call for call in _calls(cells, SavedValues(Path())) if call.entry == entry and call.variable]
    return calls[-1].variable if calls else ""


def _read(call: _Call, values: SavedValues) -> Serving:
    layers: list[Layer] = []
    unread: list[str] = []
    for config in call.configs:
        if isinstance(config, _Words):
            layer = arguments_layer(config.words)
            layers.append(Layer(call.where, _with_origins(layer.values, call.where)))
        elif isinstance(config, str | Path):
            layers.append(_file_layer(config, call, values))
        elif isinstance(config, Mapping):
            known, missing = _separated(config)
            unread += missing
            layers.append(mapping_layer(known, call.where))
        else:
            unread.append(config.text if isinstance(config, Unread) else repr(config))
    options, missing = _separated({k: v for k, v in call.options.items() if v is not None})
    unread += missing
    what = f"{call.where}: not read, because it is known only when cells run: {', '.join(unread)}"
    return Serving(call.where, layers, options, call.variable, (what,) if unread else ())


def _file_layer(path: str | Path, call: _Call, values: SavedValues) -> Layer:
    name, text = str(path), values.written_text(path)
    try:
        return yaml_layer(values.resolved(path), name) if text is None else yaml_layer(text, name)
    except ConfigError as error:
        problems = [Problem(one.message, one.path, f"{one.origin}, {call.where}") for one in error.problems]
        raise ConfigError(problems, remedy=error.remedy) from None


def _with_origins(tree: Tree, where: str) -> Tree:
    """The values, with the cell added to their origins."""
    return {
        key: Value(node.raw, f"{node.origin}, {where}") if isinstance(node, Value) else _with_origins(node, where)
        for key, node in tree.items()
    }


def _separated(mapping: Mapping[Any, Any], path: str = "") -> tuple[dict[Any, Any], list[str]]:
    """The known values, and a text such as `Backend.k = pick()` for each unknown value."""
    known: dict[Any, Any] = {}
    unread: list[str] = []
    for key, value in mapping.items():
        if isinstance(value, Unread):
            unread.append(f"{path}{key} = {value.text}" if value.text else f"{path}{key}")
        elif isinstance(value, Mapping) and value:
            known[key], missing = _separated(value, f"{path}{key}.")
            unread += missing
            if missing and not known[key]:
                del known[key]
        else:
            known[key] = value
    return known, unread


# --- the calls of a notebook


def _calls(cells: Sequence[Cell], values: SavedValues) -> Iterator[_Call]:
    names, modules = {_SERVE}, {_PACKAGE}
    for cell in cells:
        if (written := _written_file(cell.text)) is not None:
            values.write_file(*written)
            continue
        for statement in parse(cell.text).statements:
            node = statement.node
            if isinstance(node, ast.ImportFrom) and node.module == _PACKAGE:
                names |= {alias.asname for alias in node.names if alias.name == _SERVE and alias.asname}
            elif isinstance(node, ast.Import):
                modules |= {alias.asname for alias in node.names if alias.name == _PACKAGE and alias.asname}
            yield from _calls_in(node, cell, values, names, modules)
            values.run(node)


def _calls_in(
    statement: ast.stmt, cell: Cell, values: SavedValues, names: set[str], modules: set[str]
) -> Iterator[_Call]:
    plain = isinstance(statement, ast.Expr | ast.Assign | ast.AnnAssign | ast.Return)
    heads: list[ast.AST] = [statement]
    if isinstance(statement, ast.With | ast.AsyncWith):  # `async with await serve(…) as deployment`
        heads = [item.context_expr for item in statement.items]
        plain = True
    variable = _target(statement)
    for head in heads:
        for node in ast.walk(head):
            if not isinstance(node, ast.Call):
                continue
            where = f"{cell.label}, line {node.lineno}"
            is_plain = plain and not any(isinstance(one, ast.Lambda) for one in ast.walk(head))
            if _is_serve(node.func, names, modules) and node.args:
                yield _Call(
                    values.entry(node.args[0]),
                    f"serve(…), {where}",
                    [*_positional(node.args[1:], values)],
                    _keywords(node.keywords, values),
                    variable,
                    not is_plain,
                )
            elif (line := _magic_line(node)) is not None and (call := _line_call(line, where, variable)) is not None:
                yield replace(call, in_block=not is_plain)


def _is_serve(function: ast.expr, names: set[str], modules: set[str]) -> bool:
    match function:
        case ast.Name(id=name):
            return name in names
        case ast.Attribute(value=ast.Name(id=module), attr=attribute):
            return attribute == _SERVE and module in modules
    return False


def _target(statement: ast.stmt) -> str:
    match statement:
        case ast.Assign(targets=[ast.Name(id=name), *_]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name
        case (
            ast.With(items=[ast.withitem(optional_vars=ast.Name(id=name))])
            | ast.AsyncWith(items=[ast.withitem(optional_vars=ast.Name(id=name))])
        ):
            return name
    return ""


def _positional(nodes: Sequence[ast.expr], values: SavedValues) -> Iterator[Any]:
    for node in nodes:
        if isinstance(node, ast.Starred):
            several = values.value(node.value)
            yield from several if isinstance(several, list | tuple) else [Unread(ast.unparse(node))]
        else:
            yield values.value(node)


def _keywords(keywords: Sequence[ast.keyword], values: SavedValues) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for keyword in keywords:
        value = values.value(keyword.value)
        if keyword.arg is not None:
            found[keyword.arg] = value
        else:
            found |= value if isinstance(value, dict) else {f"**{ast.unparse(keyword.value)}": Unread("")}
    return found


def _written_file(text: str) -> tuple[str, str] | None:
    """The path and the text of a `%%writefile` cell."""
    header, _, body = text.lstrip("\n").partition("\n")
    found = _WRITEFILE.fullmatch(header)
    return (found["path"].strip("\"'"), f"{body}\n") if found and not found["append"] else None


# --- `%dynamo serve`


def _magic_line(call: ast.Call) -> str | None:
    """The words after `%dynamo`, from the Python code that IPython generates for the line."""
    match call:
        case ast.Call(
            func=ast.Attribute(attr="run_line_magic"),
            args=[ast.Constant(value="dynamo"), ast.Constant(value=str(line))],
        ):
            return line
    return None


def _line_call(line: str, where: str, variable: str) -> _Call | None:
    with suppress(ValueError):
        words, config = split_words(shlex.split(line))
        if words[:1] == [_SERVE]:
            return _verb_call(words[1:], config, f"%dynamo serve, {where}", variable)
    return None


def _verb_call(words: Sequence[str], config: Sequence[str], where: str, variable: str) -> _Call:
    rest, files, targets = [*words], [], []
    options: dict[str, Any] = {}
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            targets.append(word)
            continue
        flag, equals, value = word.partition("=")
        if word in _SWITCHES:
            options[flag.lstrip("-").removeprefix("no-").replace("-", "_")] = not word.startswith("--no-")
            continue
        name = flag.lstrip("-").replace("-", "_")
        name = _SHORT.get(name, name)
        text = value if equals else rest.pop(0) if rest else ""
        if name == "file":
            files.append(text)
        else:
            options[name] = _option(name, text)
    configs = [*files, *([_Words(tuple(config))] if config else [])]
    return _Call(targets[0] if targets else "", where, configs, options, variable, in_block=False)


def _option(name: str, text: str) -> Any:
    with suppress(ValueError):
        return int(text) if name in _PORTS else float(text) if name in _SECONDS else text
    return text
