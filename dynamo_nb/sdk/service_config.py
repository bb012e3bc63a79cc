"""`ServiceConfig`: the configuration of a deployment, as workers read it."""

from __future__ import annotations

import json
import os
import sys
from argparse import Action, ArgumentParser
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, ClassVar, Self, TypeVar

from dynamo_nb.errors import ConfigError, Problem
from dynamo_nb.sdk.written import read_json, text_of, texts_in, values_of, with_texts

T = TypeVar("T")

VARIABLE = "DYNAMO_SERVICE_CONFIG"
"""Environment variable that carries the configuration to the workers, as JSON."""
COMMON = "Common"
"""The section with keys that services can subscribe to."""
SUBSCRIPTIONS = "common-configs"
"""The key that lists the keys of Common to which a service subscribes."""
SERVICE_ARGS = "ServiceArgs"
"""The key that overrides the parameters of the decorator."""
AS_WRITTEN = "as-written"
"""The key with the texts of values such as `1.10`, where the values are JSON. ServiceConfig takes it out."""


def underscored(key: str) -> str:
    """The Python name of a key."""
    return key.replace("-", "_")


def config_text() -> str:
    """The text in DYNAMO_SERVICE_CONFIG; empty if it is not set."""
    return os.environ.get(VARIABLE, "")


def parsed_config(text: str) -> dict[str, dict[str, Any]]:
    """The data in DYNAMO_SERVICE_CONFIG, with its texts. Raises ConfigError if it is not a JSON object of objects."""
    if not text.strip():
        return {}
    remedy = f"set {VARIABLE} to a JSON object of the form {{service: {{key: value}}}}, or unset it"
    try:
        data = read_json(text)
    except json.JSONDecodeError as error:
        raise ConfigError([Problem(f"{VARIABLE} is not JSON: {error}", origin=VARIABLE)], remedy=remedy) from None
    if not isinstance(data, dict):
        raise ConfigError([Problem(f"{VARIABLE} should be a JSON object", origin=VARIABLE)], remedy=remedy)
    if wrong := [service for service, section in data.items() if not isinstance(section, dict)]:
        raise ConfigError([Problem("should be a JSON object", name, VARIABLE) for name in wrong], remedy=remedy)
    return data


def separated(section: Any) -> Any:
    """A section as JSON data: the values, and their texts under `as-written` if there are any."""
    texts = texts_in(section)
    return values_of(section) if texts is None else {**values_of(section), AS_WRITTEN: texts}


def texts_joined(section: Mapping[str, Any]) -> dict[str, Any]:
    """The section with its texts, from the data of `separated`."""
    data = {key: value for key, value in section.items() if key != AS_WRITTEN}
    joined: dict[str, Any] = with_texts(data, section.get(AS_WRITTEN))
    return joined


class ServiceConfig(dict[str, dict[str, Any]]):
    """The configuration of a deployment: a dict from service names to their sections. Keys are as they were written.

    A section starts with the keys of `Common` that the service subscribes to. Its own keys override them.

    Example:
        In a service::

            config = ServiceConfig.get_instance()
            name = config.get("Backend", {}).get("model_name", "gpt2")
            key = config.require("Backend", "api_key")
    """

    _latest: ClassVar[tuple[str, ServiceConfig] | None] = None

    def __init__(self, sections: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        joined = {name: texts_joined(section) for name, section in (sections or {}).items()}
        common = joined.get(COMMON, {})
        self._written = {
            name: with_common(section, common, section.get(SUBSCRIPTIONS) or (), _deep)
            for name, section in joined.items()
        }
        super().__init__(values_of(self._written))

    def written_section(self, service: str) -> dict[str, Any]:
        """Returns a section in which numbers and truth values have the text in which they were written (`Written`).

        Args:
            service: The name of the service.
        """
        before = self._written.get(service, {})
        return {
            key: before[key] if key in before and values_of(before[key]) == value else value
            for key, value in self.get(service, {}).items()
        }

    @classmethod
    def get_instance(cls) -> Self:
        """Returns the configuration in the environment variable `DYNAMO_SERVICE_CONFIG`, which is set in workers.

        Returns:
            The current configuration. The variable is read again after it has changed.

        Raises:
            ConfigError: The variable is not a JSON object of objects.
        """
        text = config_text()
        if cls._latest is None or cls._latest[0] != text or not isinstance(cls._latest[1], cls):
            cls._latest = (text, cls(parsed_config(text)))
        latest = cls._latest[1]
        assert isinstance(latest, cls)
        return latest

    @classmethod
    def get_parsed_config(cls, service: str) -> dict[str, Any]:
        """Returns the section of a service, with the keys of `Common` that it subscribes to; {} without a section.

        Args:
            service: The name of the service.

        Returns:
            A new dict.
        """
        return dict(cls.get_instance().get(service, {}))

    def require(self, service: str, key: str) -> Any:
        """Returns a value that must be configured.

        Args:
            service: The name of the service.
            key: The key, as it was written.

        Returns:
            The value.

        Raises:
            ValueError: The configuration has no such key.
        """
        if key not in self.get(service, {}):
            raise ValueError(f"{service}.{key} must be specified in configuration")
        return self[service][key]

    def as_args(self, service: str, prefix: str = "", parser: ArgumentParser | None = None) -> list[str]:
        """Returns the configuration of a service as command-line arguments, for the parser of a library.

        `ServiceArgs` and `common-configs` are left out. The keys of `Common` that the service subscribes to come first.

        Args:
            service: The name of the service.
            prefix: Only keys that start with this prefix are used; the prefix is removed.
            parser: The parser that will read the arguments. Its options decide about True and False: False becomes
                `--no-key` for a switch that has this form, and `--key false` for an option with a value. By default
                vLLM's parser, if the process has imported `vllm.engine.arg_utils`.

        Returns:
            The arguments. True becomes `--key`, a list `--key a b c`, a mapping its JSON text. None is left out, and
            so is False for a switch that cannot be turned off, or that the parser does not know.

        Example:
            With `lib_size: 4` and `lib_fast: true` in the section::

                config.as_args("Backend", prefix="lib_")  # ["--size", "4", "--fast"]
        """
        section = self.written_section(service)
        parser = parser or _vllm_parser()
        options = {} if parser is None else parser._option_string_actions
        return [
            argument
            for key, value in section.items()
            if key not in {SERVICE_ARGS, SUBSCRIPTIONS} and key.startswith(prefix)
            for argument in _arguments(key.removeprefix(prefix), value, options)
        ]


def with_common(
    section: Mapping[str, T], common: Mapping[str, T], names: Iterable[str], merge: Callable[[T, T], T]
) -> dict[str, T]:
    """A section with the keys of Common in `names`. Keys that the section lacks come first, in the order of `names`."""
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


def _vllm_parser() -> ArgumentParser | None:
    """The parser of vLLM's engine, in a program that uses it."""
    module = sys.modules.get("vllm.engine.arg_utils")
    return None if module is None else _parser_of(module.AsyncEngineArgs)


@cache
def _parser_of(arguments: Any) -> ArgumentParser:
    parser = ArgumentParser(add_help=False)
    arguments.add_cli_args(parser)
    return parser


def _arguments(key: str, value: Any, options: Mapping[str, Action]) -> Iterator[str]:
    if value is None:
        return
    if isinstance(values_of(value), bool):
        yield from _switch(key, value, options)
        return
    yield f"--{key}"
    yield from (text_of(item) for item in (value if isinstance(value, list | tuple) else [value]))


def _switch(key: str, value: Any, options: Mapping[str, Action]) -> list[str]:
    """The arguments for True or False. Keys may have underscores where the parser's options have hyphens.

    vLLM's parser reads `option.field` as a field of the JSON object that the option takes.
    """
    option, dot, _ = key.partition(".")
    spellings = (option, option.replace("_", "-"), underscored(option))
    if dot and any(f"--{name}" in options for name in spellings):
        return [f"--{key}", json.dumps(values_of(value))]
    known = next((name for name in spellings if f"--{name}" in options), None)
    action = None if known is None else options[f"--{known}"]
    if action is not None and action.nargs not in {0, "?"}:
        return [f"--{key}", text_of(value)]
    if values_of(value):
        return [f"--{key}"]
    if action is None:
        return []
    opposites = [f"--no-{known}", f"--{str(known).removeprefix('no-')}"]
    return [option for option in opposites if option != f"--{known}" and options.get(option) is action]
