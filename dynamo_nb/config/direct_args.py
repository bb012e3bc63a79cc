"""Fields of ServiceArgs that are written directly in the section of a service: `--Backend.workers=2`."""

from __future__ import annotations

import inspect
from typing import Final

from dynamo_nb.config.layers import Layer, Tree, normalised, origin_in, subtree
from dynamo_nb.config.reads import key_reads
from dynamo_nb.errors import Problem
from dynamo_nb.sdk.definition import ServiceDefinition
from dynamo_nb.sdk.service_config import SERVICE_ARGS, VARIABLE

DIRECT: Final[tuple[str, ...]] = ("workers", "resources", "envs")
"""The fields that may be written directly. Names of the other fields, such as `image`, are usual in user code."""


def in_service_args(definition: ServiceDefinition, layer: Layer) -> tuple[Layer, list[Problem]]:
    """Moves the fields that are written directly in the section of a service under `ServiceArgs`.

    A field stays where it is if the constructor takes it, or if the code of the class reads it.

    Args:
        definition: The service.
        layer: The layer with its section.

    Returns:
        The layer, and a problem for each field that the layer writes in both ways.
    """
    section = subtree(layer.values.get(definition.name)) or {}
    moved = {key: section[key] for key in DIRECT if key in section and not _takes(definition, key)}
    args = subtree(section.get(SERVICE_ARGS))
    if not moved or args is None:
        return layer, []
    problems = []
    for key, node in moved.items():
        if key in args:
            name = f"{definition.name}.{SERVICE_ARGS}.{key}"
            origin = ", ".join(dict.fromkeys([origin_in(node), origin_in(args[key])]))
            problems.append(Problem(f"also written as {name}; keep one of them", f"{definition.name}.{key}", origin))
    rest: Tree = {key: node for key, node in section.items() if key not in moved}
    rest[SERVICE_ARGS] = {**moved, **args}
    return Layer(layer.name, {**layer.values, definition.name: normalised(rest)}, layer.file), problems


def _takes(definition: ServiceDefinition, key: str) -> bool:
    """True if the class uses the key itself: as a parameter, or through ServiceConfig."""
    parameters = definition.parameters
    if key in parameters or any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return True
    reads = key_reads(definition)
    if reads.whole and not reads.only_vllm:
        return True
    return key in reads.texts and (reads.section or VARIABLE in reads.texts)
