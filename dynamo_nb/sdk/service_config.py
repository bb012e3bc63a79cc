"""`ServiceConfig`: the configuration of a deployment as its workers read it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Self, TypeVar

from dynamo_nb.errors import ConfigError, Problem

T = TypeVar("T")

VARIABLE = "DYNAMO_SERVICE_CONFIG"
"""Environment variable that carries the configuration to the workers, as JSON."""
COMMON = "Common"
"""The section whose keys a service can subscribe to."""
SUBSCRIPTIONS = "common-configs"
"""The key under which a service lists the keys of Common that it wants."""
SERVICE_ARGS = "ServiceArgs"
"""The key under which a service's decorator is overridden."""

_WITH_NEGATION = frozenset({"enable_prefix_caching", "use_tqdm_on_load", "multi_step_stream_outputs"})
"""Flags of vLLM that are on unless `--no-…` is given, so that False has to be said."""


def underscored(key: str) -> str:
    """The Python name that a key stands for."""
    return key.replace("-", "_")


def config_text() -> str:
    """What DYNAMO_SERVICE_CONFIG says, or nothing."""
    return os.environ.get(VARIABLE, "")


def parsed_config(text: str) -> dict[str, dict[str, Any]]:
    """The value of DYNAMO_SERVICE_CONFIG; ConfigError unless it is a JSON object of objects."""
    if not text.strip():
        return {}
    remedy = f"give {VARIABLE} a JSON object of the form {{service: {{key: value}}}}, or unset it"
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError([Problem(f"{VARIABLE} is not JSON: {error}", origin=VARIABLE)], remedy=remedy) from None
    if not isinstance(data, dict):
        raise ConfigError([Problem(f"{VARIABLE} should be a JSON object", origin=VARIABLE)], remedy=remedy)
    if wrong := [service for service, section in data.items() if not isinstance(section, dict)]:
        raise ConfigError([Problem("should be a JSON object", name, VARIABLE) for name in wrong], remedy=remedy)
    return data


class ServiceConfig(dict[str, dict[str, Any]]):
    """Service name -> its configuration, keys as they were written.

    A section holds the keys of `Common` that the service subscribes to, then its own, which win.
    """

    _latest: ClassVar[tuple[str, ServiceConfig] | None] = None

    def __init__(self, sections: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        sections = sections or {}
        common = sections.get(COMMON, {})
        super().__init__(
            {
                name: with_common(section, common, section.get(SUBSCRIPTIONS) or (), _deep)
                for name, section in sections.items()
            }
        )

    @classmethod
    def get_instance(cls) -> Self:
        """The configuration in DYNAMO_SERVICE_CONFIG, read again whenever the variable has changed.

        Raises ConfigError if the variable holds anything but a JSON object of objects.
        """
        text = config_text()
        if cls._latest is None or cls._latest[0] != text or not isinstance(cls._latest[1], cls):
            cls._latest = (text, cls(parsed_config(text)))
        latest = cls._latest[1]
        assert isinstance(latest, cls)
        return latest

    def require(self, service: str, key: str) -> Any:
        """The value of `key`; ValueError if the configuration has none."""
        if key not in self.get(service, {}):
            raise ValueError(f"{service}.{key} must be specified in configuration")
        return self[service][key]

    def as_args(self, service: str, prefix: str = "") -> list[str]:
        """The service's configuration as command-line arguments, for a library's own parser.

        Keys of Common that the service subscribes to come first. With a prefix only the keys that begin with it, prefix
        removed. True gives `--key`, False nothing (`--no-key` for the flags of vLLM that are on by default), a mapping
        its JSON, a list `--key a b c`; None is left out.
        """
        section = self.get(service, {})
        return [
            argument
            for key, value in section.items()
            if key not in {SERVICE_ARGS, SUBSCRIPTIONS} and key.startswith(prefix)
            for argument in _arguments(key.removeprefix(prefix), value)
        ]


def with_common(
    section: Mapping[str, T], common: Mapping[str, T], names: Iterable[str], merge: Callable[[T, T], T]
) -> dict[str, T]:
    """A section over the keys of Common that it names: those it does not have itself first, in the order named."""
    own = {underscored(key): key for key in section}
    first: dict[str, T] = {}
    over: dict[str, T] = {}
    for key in names:
        if key in common and (mine := own.get(underscored(key))) is not None:
            over[mine] = merge(common[key], section[mine])
        elif key in common:
            first[key] = common[key]
    return first | dict(section) | over


def _deep(low: Any, high: Any) -> Any:
    if not (isinstance(low, dict) and isinstance(high, dict)):
        return high
    return low | {key: _deep(low[key], value) if key in low else value for key, value in high.items()}


def _arguments(key: str, value: Any) -> Iterator[str]:
    if value is None:
        return
    if value is False:
        if underscored(key) in _WITH_NEGATION:
            yield f"--no-{key}"
        return
    yield f"--{key}"
    if value is True:
        return
    yield from (_text(item) for item in (value if isinstance(value, list | tuple) else [value]))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
