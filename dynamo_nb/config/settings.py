"""The effective configuration of the services that run, a value: every value in it with its origin."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from dynamo_nb.config.layers import Tree, Value, leaves, plain, tree_data, tree_from
from dynamo_nb.config.yaml_layer import to_yaml
from dynamo_nb.sdk.service_args import ServiceArgs
from dynamo_nb.sdk.service_config import COMMON, SERVICE_ARGS, underscored


@dataclass(frozen=True)
class ServiceSettings:
    """What one service runs with.

    args: the decorator's parameters as configuration leaves them.
    parameters: every parameter of the constructor that has a value, defaults included, as data.
    extras: the keys that the constructor does not take.
    values: all of it as one tree with the keys as they were written, ServiceArgs first.
    """

    name: str
    args: ServiceArgs
    parameters: Mapping[str, Value]
    extras: Mapping[str, Value]
    values: Tree
    _arguments: Mapping[str, Any]

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments for the constructor, as its annotations want them; defaults are left to it."""
        return dict(self._arguments)

    def as_data(self) -> dict[str, Any]:
        """All but the arguments, as plain data with the origins."""
        return {
            "values": tree_data(self.values),
            "parameters": tree_data(dict(self.parameters)),
            "extras": tree_data(dict(self.extras)),
        }

    @classmethod
    def from_data(cls, name: str, data: Mapping[str, Any], arguments: Mapping[str, Any]) -> ServiceSettings:
        values = tree_from(data["values"])
        args = ServiceArgs.model_validate(plain(values[SERVICE_ARGS]))
        return cls(name, args, tree_from(data["parameters"]), tree_from(data["extras"]), values, arguments)

    def origin(self, path: str) -> str:
        """Where the value at `ServiceArgs.workers` or `model_name` comes from; KeyError if there is no such value."""
        for found, value in leaves(self.values):
            if underscored(".".join(found)) == underscored(path):
                return value.origin
        raise KeyError(path)


@dataclass(frozen=True)
class EffectiveConfig:
    """services: those that run, in the order of the graph. written: what the layers above the decorators say."""

    services: Mapping[str, ServiceSettings]
    written: Tree

    def for_workers(self) -> dict[str, dict[str, Any]]:
        """The value of DYNAMO_SERVICE_CONFIG: keys as they were written, with the whole ServiceArgs of what runs.

        Defaults of constructors are absent, so that `as_args` passes on only what somebody wrote.
        """
        sections: dict[str, dict[str, Any]] = {}
        if COMMON in self.written:
            sections[COMMON] = plain(self.written[COMMON])
        for name, settings in self.services.items():
            sections[name] = {SERVICE_ARGS: settings.args.model_dump(exclude_none=True)}
            sections[name] |= {k: v for k, v in plain(self.written.get(name, {})).items() if k != SERVICE_ARGS}
        return sections | {name: plain(node) for name, node in self.written.items() if name not in sections}

    def rows(self) -> list[tuple[str, Any, str]]:
        """(path, value, origin) of every value, in the order of services, then arguments, parameters and the rest."""
        return [
            (".".join((name, *path)), value.value, value.origin)
            for name, settings in self.services.items()
            for path, value in leaves(settings.values)
        ]

    def origins(self) -> dict[str, str]:
        return {path: origin for path, _, origin in self.rows()}

    def as_json(self) -> dict[str, Any]:
        """Every effective value, nested, as JSON data."""
        return {name: plain(settings.values) for name, settings in self.services.items()}

    def as_data(self) -> dict[str, Any]:
        """The whole of it as plain data that JSON holds, origins included."""
        services = {name: settings.as_data() for name, settings in self.services.items()}
        return {"services": services, "written": tree_data(self.written)}

    @classmethod
    def from_data(cls, data: Mapping[str, Any], arguments: Callable[[str], Mapping[str, Any]]) -> EffectiveConfig:
        """What `as_data` was made from. arguments: gives those of a service's constructor, which have no JSON form."""
        services = {n: ServiceSettings.from_data(n, s, arguments(n)) for n, s in data["services"].items()}
        return cls(services, tree_from(data["written"]))

    def to_yaml(self) -> str:
        """YAML that gives the same effective configuration when it is the only file."""
        return to_yaml(self.for_workers())

    def table(self) -> str:
        """The rows as plain text, in three columns."""
        rows = [("value of", "value", "origin")] + [
            (path, _shown(value), origin) for path, value, origin in self.rows()
        ]
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
        lines = [f"{path:<{widths[0]}}  {value:<{widths[1]}}  {origin}".rstrip() for path, value, origin in rows]
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.table()

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        cell = '<t{0} style="text-align:left;padding:1px 14px 1px 0">{1}</t{0}>'
        rows = [
            ("value of", "value", "origin"),
            *((path, _shown(value), origin) for path, value, origin in self.rows()),
        ]
        lines = ("".join(cell.format("d" if n else "h", escape(text)) for text in row) for n, row in enumerate(rows))
        return {"text/plain": self.table(), "text/html": f"<table><tr>{'</tr><tr>'.join(lines)}</tr></table>"}


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
