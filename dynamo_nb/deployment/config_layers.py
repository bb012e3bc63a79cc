"""The configuration that a user passes, as layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dynamo_nb.config.arguments import arguments_layer
from dynamo_nb.config.layers import Layer, mapping_layer
from dynamo_nb.config.yaml_layer import yaml_layer
from dynamo_nb.errors import ConfigError, Problem

Config = str | Path | Mapping[str, Any] | Layer
"""The path of a YAML file, a mapping such as `{"Backend.suffix": "!"}`, or a layer."""


def layers_of(configs: Sequence[Config], words: Sequence[str] = (), where: str = "serve(…)") -> list[Layer]:
    """Returns layers of configuration, lowest first.

    Args:
        configs: Files, mappings and layers. A later one overrides an earlier one.
        words: Configuration from a command line, such as `--Backend.suffix=!`. They override `configs`.
        where: The origin of values in mappings, for messages.

    Raises:
        ConfigError: A file cannot be read, or a value is not a configuration.
    """
    layers = []
    for config in configs:
        if isinstance(config, Layer):
            layers.append(config)
        elif isinstance(config, Mapping):
            layers.append(mapping_layer(config, where))
        elif isinstance(config, str | Path):
            layers.append(yaml_layer(config))
        else:
            problem = Problem(f"{config!r} is not a configuration", origin=where)
            raise ConfigError([problem], remedy="pass a YAML file's path, or a mapping such as {'Backend.suffix': '!'}")
    return [*layers, arguments_layer(words)] if words else layers
