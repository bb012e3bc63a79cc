"""`EffectiveConfig`: the configuration of the services that run, with the origin of every value."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from dynamo_nb.config.layers import Path, Tree, Value, leaves, plain, section_data, subtree, tree_data, tree_from
from dynamo_nb.config.yaml_layer import config_yaml
from dynamo_nb.sdk.service_args import ServiceArgs
from dynamo_nb.sdk.service_config import COMMON, SERVICE_ARGS, underscored
from dynamo_nb.sdk.written import Written


@dataclass(frozen=True)
class ServiceSettings:
    """The effective configuration of one service.

    Attributes:
        name: The name of the service.
        args: The parameters of the decorator, with the configuration applied.
        parameters: The parameters of the constructor that have a value, defaults included.
        extras: The keys that are not parameters of the constructor.
        values: All values as one tree, with the keys as they were written; `ServiceArgs` comes first.
        unread: The keys that nothing reads, each with a remark.
    """

    name: str
    args: ServiceArgs
    parameters: Mapping[str, Value]
    extras: Mapping[str, Value]
    values: Tree
    unread: Mapping[str, str]
    _arguments: Mapping[str, Any]

    def arguments(self) -> dict[str, Any]:
        """The configured keyword arguments of the constructor, converted to the annotated types."""
        return dict(self._arguments)

    def as_data(self) -> dict[str, Any]:
        """Everything but the arguments, as JSON data with the origins."""
        return {
            "values": tree_data(self.values),
            "parameters": tree_data(dict(self.parameters)),
            "extras": tree_data(dict(self.extras)),
            "unread": dict(self.unread),
        }

    @classmethod
    def from_data(cls, name: str, data: Mapping[str, Any], arguments: Mapping[str, Any]) -> ServiceSettings:
        """The settings from the data of `as_data`, and the arguments of the constructor."""
        values = tree_from(data["values"])
        args = ServiceArgs.model_validate(plain(values[SERVICE_ARGS]))
        parameters, extras = tree_from(data["parameters"]), tree_from(data["extras"])
        return cls(name, args, parameters, extras, values, data["unread"], arguments)

    def origin(self, path: str) -> str:
        """The origin of a value.

        Args:
            path: Such as `ServiceArgs.workers` or `model_name`.

        Returns:
            The origin, such as `config.yaml:7`.

        Raises:
            KeyError: There is no such value.
        """
        for found, value in leaves(self.values):
            if underscored(".".join(found)) == underscored(path):
                return value.origin
        raise KeyError(path)


@dataclass(frozen=True)
class EffectiveConfig:
    """The effective configuration of a deployment. A notebook shows it as a table of values and origins.

    Attributes:
        services: The settings of the services that run, in the order of the graph.
        written: The merged layers above the decorators.
        passed_over: A line for every section about a service that the graph lacks.
    """

    services: Mapping[str, ServiceSettings]
    written: Tree
    passed_over: tuple[str, ...] = ()

    def for_workers(self) -> dict[str, dict[str, Any]]:
        """The value of DYNAMO_SERVICE_CONFIG: the written keys, and all ServiceArgs of the services that run.

        Defaults of constructors are absent, so that `as_args` passes on only written values.
        """
        sections: dict[str, dict[str, Any]] = {}
        if COMMON in self.written:
            sections[COMMON] = section_data(self.written[COMMON])
        for name, settings in self.services.items():
            sections[name] = {SERVICE_ARGS: settings.args.model_dump(exclude_none=True)}
            own = {key: node for key, node in (subtree(self.written.get(name)) or {}).items() if key != SERVICE_ARGS}
            sections[name] |= section_data(own)
        return sections | {name: section_data(node) for name, node in self.written.items() if name not in sections}

    def rows(self) -> list[tuple[str, Any, str]]:
        """Returns (path, value, origin) of every value, by service: ServiceArgs, parameters, then other keys."""
        return [(path, value.value, value.origin) for path, value in self._leaves()]

    def _leaves(self) -> Iterator[tuple[str, Value]]:
        for name, settings in self.services.items():
            for path, value in leaves(settings.values):
                yield ".".join((name, *path)), value

    def _shown_rows(self) -> Iterator[tuple[str, str, str]]:
        unread = {f"{name}.{key}": text for name, own in self.services.items() for key, text in own.unread.items()}
        for path, value in self._leaves():
            remarks = (text for key, text in unread.items() if path == key or path.startswith(f"{key}."))
            yield path, _shown(value), " ! ".join([value.origin, *remarks])

    def notes(self) -> list[str]:
        """Returns a line for every section and key that nothing reads, with its origin."""
        unread = [
            f"{name}.{key}: {text} ({origin})"
            for name, settings in self.services.items()
            for key, text in settings.unread.items()
            for origin in dict.fromkeys(v.origin for p, v in leaves(settings.values) if _is_below(p, key))
        ]
        return [*self.passed_over, *unread]

    def origins(self) -> dict[str, str]:
        """Returns the origin of every value, by path."""
        return {path: origin for path, _, origin in self.rows()}

    def as_json(self) -> dict[str, Any]:
        """Returns every value, nested, as JSON data."""
        return {name: plain(settings.values) for name, settings in self.services.items()}

    def as_data(self) -> dict[str, Any]:
        """Everything but the arguments, as JSON data with the origins."""
        services = {name: settings.as_data() for name, settings in self.services.items()}
        return {"services": services, "written": tree_data(self.written), "passed_over": self.passed_over}

    @classmethod
    def from_data(cls, data: Mapping[str, Any], arguments: Callable[[str], Mapping[str, Any]]) -> EffectiveConfig:
        """The configuration from the data of `as_data`. arguments: returns those of a service's constructor."""
        services = {n: ServiceSettings.from_data(n, s, arguments(n)) for n, s in data["services"].items()}
        return cls(services, tree_from(data["written"]), tuple(data["passed_over"]))

    def to_yaml(self) -> str:
        """Returns YAML that, as the only file, results in the same effective configuration."""
        return config_yaml(self.for_workers())

    def table(self) -> str:
        """Returns the rows as a text table with three columns."""
        rows = [("value of", "value", "origin"), *self._shown_rows()]
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
        lines = [f"{path:<{widths[0]}}  {value:<{widths[1]}}  {origin}".rstrip() for path, value, origin in rows]
        return "\n".join([*lines, *self.passed_over])

    def __str__(self) -> str:
        return self.table()

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        cell = '<t{0} style="text-align:left;padding:1px 14px 1px 0">{1}</t{0}>'
        rows = [("value of", "value", "origin"), *self._shown_rows()]
        lines = ("".join(cell.format("d" if n else "h", escape(text)) for text in row) for n, row in enumerate(rows))
        return {
            "text/plain": self.table(),
            "text/html": f'<table aria-label="Configuration"><tr>{"</tr><tr>".join(lines)}</tr></table>',
        }


def _is_below(path: Path, key: str) -> bool:
    return f"{'.'.join(path)}.".startswith(f"{key}.")


def _shown(value: Value) -> str:
    text = value.raw.text if isinstance(value.raw, Written) else json.dumps(value.value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
