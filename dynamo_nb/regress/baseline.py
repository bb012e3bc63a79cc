"""Baseline files: the expected values of a notebook, in a YAML file in the same folder.

    answer:
    - value: hello
    - parameters: {model: large}
      value: good day
    ttft_p50_ms:
    - machine: x86_64, 2 CPUs
      value: 12.5

Only the lines of changed names are written again. All other lines stay, with their comments.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from dynamo_nb.errors import BaselineError
from dynamo_nb.regress.change import Change, Key

SUFFIX: Final = ".baseline.yaml"
_HEAD: Final = "# Baselines of {notebook}. Written by `dynamo test --update`; review changes as you review code.\n"
_FIELDS: Final = {"value", "parameters", "machine"}
_Entries = list[tuple[Key, Any]]


def baseline_path(notebook: Path) -> Path:
    """Returns the path of a notebook's baseline file."""
    return notebook.with_name(notebook.stem + SUFFIX)


class Baselines:
    """The baselines of one notebook. The file is read once.

    Args:
        path: The file. A missing file has no baselines.

    Raises:
        BaselineError: The file is not a baseline file. It is not changed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._load()

    def _load(self) -> None:
        path = self.path
        try:
            self._text = path.read_text(encoding="utf-8") if path.exists() else ""
            node = yaml.compose(self._text, Loader=yaml.SafeLoader)
            data = yaml.safe_load(self._text)
        except (yaml.YAMLError, ValueError) as error:
            raise BaselineError(f"the baseline file is not YAML: {error}", where=str(path), remedy=_REMEDY) from None
        if data is None:  # nothing but comments
            node, data = None, {}
        if not isinstance(data, dict):
            raise BaselineError("a baseline file maps names to lists of entries", where=str(path), remedy=_REMEDY)
        self._entries: dict[str, _Entries] = {}
        self._lines: dict[str, int] = {}
        for name_node, _ in [] if node is None else node.value:
            name, line = name_node.value, name_node.start_mark.line
            if name in self._lines:
                raise BaselineError(f"the name {name!r} occurs twice", where=f"{path}:{line + 1}", remedy=_REMEDY)
            self._lines[name] = line
        for name, entries in data.items():
            self._entries[str(name)] = list(self._read(str(name), entries))

    def _read(self, name: str, entries: Any) -> Iterable[tuple[Key, Any]]:
        where, seen = f"{self.path}:{self._lines[name] + 1}", list[Key]()
        for entry in entries if isinstance(entries, list) else [None]:
            if not isinstance(entry, dict) or "value" not in entry or not entry.keys() <= _FIELDS:
                known = ", ".join(sorted(_FIELDS))
                raise BaselineError(f"{name!r} is not a list of entries with {known}", where=where, remedy=_REMEDY)
            parameters, machine = entry.get("parameters", {}), entry.get("machine", "")
            if not isinstance(parameters, dict) or not isinstance(machine, str):
                raise BaselineError(
                    f"the parameters of {name!r} are not a mapping, or its machine is not a string",
                    where=where,
                    remedy=_REMEDY,
                )
            key = Key({str(parameter): value for parameter, value in parameters.items()}, machine)
            if key in seen:
                raise BaselineError(f"{name!r} has two entries for the same runs: {key}", where=where, remedy=_REMEDY)
            seen.append(key)
            yield key, entry["value"]

    @property
    def names(self) -> list[str]:
        """The names of all values."""
        return list(self._entries)

    def find(self, name: str, key: Key) -> Any:
        """Returns a baseline, or MISSING.

        Args:
            name: Name of the value.
            key: The runs that the baseline is for.
        """
        return next((value for found, value in self._entries.get(name, ()) if found == key), MISSING)

    def unused(self, used: Mapping[str, Iterable[Key]], parameters: Mapping[str, Any], machine: str) -> list[Change]:
        """Returns a `trim` for each baseline with the run's own key that no expectation used.

        Args:
            used: The keys that the run's expectations used, by name.
            parameters: The parameters of the run.
            machine: Class of the machine.
        """
        own = (Key(dict(parameters)), Key(dict(parameters), machine))
        return [
            Change("trim", name, key, before=value)
            for name, entries in self._entries.items()
            for key, value in entries
            if key in own and key not in used.get(name, ())
        ]

    def apply(self, changes: Iterable[Change]) -> None:
        """Writes the file with these changes, all or none.

        Args:
            changes: The changes.

        Raises:
            BaselineError: A value cannot be written as YAML.
        """
        entries = {name: list(found) for name, found in self._entries.items()}
        changed = set()
        for change in changes:
            others = [(key, value) for key, value in entries.get(change.name, []) if key != change.key]
            if change.category != "trim":
                check_plain(change.after, f"{change.name!r}")
                at = next(
                    (n for n, (key, _) in enumerate(entries.get(change.name, [])) if key == change.key), len(others)
                )
                others.insert(at, (change.key, change.after))
            entries[change.name] = others
            changed.add(change.name)
        text = self._written(entries, changed)
        if not text.strip():
            self.path.unlink(missing_ok=True)
        elif text != self._text:
            beside = self.path.with_name(f".{self.path.name}.new")
            beside.write_text(text, encoding="utf-8")
            beside.replace(self.path)
        self._load()

    def _written(self, entries: Mapping[str, _Entries], changed: set[str]) -> str:
        lines = self._text.splitlines(keepends=True)
        starts = sorted(self._lines.values())
        first = starts[0] if starts else len(lines)
        text = (
            "".join(lines[:first])
            if self._text
            else _HEAD.format(notebook=self.path.name.removesuffix(SUFFIX) + ".ipynb")
        )
        kept = False
        for name, found in entries.items():
            if not found:
                continue
            kept = True
            if name in changed or name not in self._lines:
                text += _yaml_of(name, found)
            else:
                start = self._lines[name]
                end = next((line for line in starts if line > start), len(lines))
                part = "".join(lines[start:end])
                text += part if part.endswith("\n") else part + "\n"
        return text if kept else ""


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()
"""The result of `Baselines.find` for a value without a baseline."""

_REMEDY: Final = "correct the file, or delete it and run `dynamo test --update create`"


def check_plain(value: Any, where: str) -> None:
    """Checks that YAML reads a value back equal.

    Args:
        value: The value.
        where: The name of the value, for the error.

    Raises:
        BaselineError: The value has a NaN or an infinity, another type than YAML's own, or a key that is not a string.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise BaselineError(f"{value} cannot be a baseline", where=where, remedy="check the measurement")
    if isinstance(value, dict):
        for key, item in value.items():
            if type(key) is not str:
                raise BaselineError(f"the key {key!r} is not a string", where=where, remedy="use strings as keys")
            check_plain(item, f"{where}.{key}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            check_plain(item, f"{where}[{number}]")
    elif value is not None and type(value) not in {str, int, float, bool}:
        raise BaselineError(
            f"a value of type {type(value).__name__} cannot be a baseline",
            where=where,
            remedy="use strings, numbers, lists and dicts",
        )


class _Dumper(yaml.SafeDumper):
    pass


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


def _short(dumper: yaml.SafeDumper, items: list[Any]) -> yaml.SequenceNode:
    """Writes a list of numbers and short strings on one line if it fits."""
    flat = all(isinstance(item, int | float) or (isinstance(item, str) and len(item) < 40) for item in items)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=flat)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(list, _short)


def _yaml_of(name: str, entries: _Entries) -> str:
    rows = []
    for key, value in sorted(entries, key=lambda entry: str(entry[0])):
        row: dict[str, Any] = {}
        if key.parameters:
            row["parameters"] = key.parameters
        if key.machine:
            row["machine"] = key.machine
        rows.append(row | {"value": value})
    text: str = yaml.dump({name: rows}, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return text
