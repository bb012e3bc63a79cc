"""The configuration in cells: the flags of service cells, and `%%dynamo_config` cells. Live and saved alike."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NoReturn

from dynamo_nb.errors import DefinitionError
from dynamo_nb.sdk.service_config import SERVICE_ARGS
from dynamo_nb.source.cells import Cell
from dynamo_nb.source.first_line import SERVICE, ServiceLine, service_line
from dynamo_nb.source.services import services_in

if TYPE_CHECKING:
    from dynamo_nb.config.layers import Layer  # imported late, with YAML: `%load_ext` should not wait for them

CONFIG = "%%dynamo_config"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise DefinitionError(f"{self.prog}: {message}", remedy=self.format_usage().strip())


def service_parser(spelling: str = SERVICE) -> argparse.ArgumentParser:
    """The parser for the flags of a `%%dynamo_service` or `#| dynamo_service` line."""
    what = "Defines services and checks that workers can import them."
    parser = _Parser(prog=spelling, add_help=False, description=what)
    parser.add_argument("--workers", type=int, help="number of workers of each service of this cell")
    parser.add_argument("--gpu", type=float, help="GPUs of each worker")
    parser.add_argument("--cpu", help="cores of each worker, such as 500m")
    parser.add_argument("--memory", help="memory of each worker, such as 20Gi")
    parser.add_argument("--namespace", help="namespace of the services of this cell")
    return parser


def header_of(text: str, word: str) -> str | None:
    """The rest of the first line that is not blank, if it starts with `word`; else None."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    start, _, rest = first.strip().partition(" ")
    return rest if start == word else None


def config_layers(cells: Iterable[Cell]) -> list[Layer]:
    """The layers in cells, lowest first: the flags of service cells, then `%%dynamo_config` cells.

    Raises ConfigError or DefinitionError with the cell and line of the fault.
    """
    flags: list[Layer] = []
    files: list[Layer] = []
    for cell in cells:
        if (line := service_line(cell.text)) is not None:
            flags += flag_layers(cell, line)
        elif header_of(cell.text, CONFIG) is not None:
            files.append(config_layer(cell.text, cell.label))
    return [*flags, *files]


def config_layer(text: str, label: str) -> Layer:
    """The layer of one `%%dynamo_config` cell. Raises ConfigError with the line in the cell."""
    from dynamo_nb.config.yaml_layer import yaml_layer

    return yaml_layer(text.replace(CONFIG, "#", 1).rstrip(), label)


def flag_layers(cell: Cell, line: ServiceLine) -> list[Layer]:
    """The layers with the flags of one service cell; none if it has no flags."""
    from dynamo_nb.config.layers import mapping_layer

    given = flags_of(line)
    resources = {key: given[key] for key in ("gpu", "cpu", "memory") if given[key] is not None}
    args: dict[str, object] = {}
    if given["workers"] is not None:
        args["workers"] = given["workers"]
    if resources:
        args["resources"] = resources
    if given["namespace"] is not None:
        args["dynamo"] = {"namespace": given["namespace"]}
    if not args:
        return []
    services = services_in([cell]).values()
    return [mapping_layer({name: {SERVICE_ARGS: args} for name in services}, f"{line.spelling}, {cell.label}")]


def flags_of(line: ServiceLine) -> dict[str, Any]:
    """The flags of a service cell, by name. Raises DefinitionError for unknown flags and invalid values."""
    try:
        return vars(service_parser(line.spelling).parse_args(shlex.split(line.flags)))
    except ValueError as error:
        raise DefinitionError(f"{line.spelling}: {error}", remedy="close the quotation") from None
