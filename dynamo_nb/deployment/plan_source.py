"""Sources of plans. A source makes a new plan after an edit, or with other configuration."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, Self

from dynamo_nb.config.layers import Layer
from dynamo_nb.deployment.config_layers import Config, layers_of
from dynamo_nb.deployment.plan import Plan
from dynamo_nb.program import Program, live
from dynamo_nb.source import Cell

Check = Literal["hold", "warn"]
"""Treatment of a new version for which calls of other services would fail: hold it back, or note the calls."""


class NotebookCells(Protocol):
    """The cells of a live notebook, as the notebook extension knows them."""

    def cells(self) -> Sequence[Cell]:
        """Returns the cells that have run, and the one that is running, in this order."""

    @property
    def names(self) -> Mapping[str, Any]:
        """The notebook's global names."""

    @property
    def deleted(self) -> Collection[str]:
        """Ids of the cells that were deleted from the page."""


@dataclass(frozen=True, kw_only=True)
class PlanSource(ABC):
    """Makes the plan of a deployment, as often as needed.

    Subclasses know where the program is: found once (`FixedProgram`), in this process (`LiveProgram`), or restored from
    a snapshot (`RestoredTarget`, `RestoredCells`).

    Attributes:
        configs: Files, mappings and layers of configuration, lowest first. Files are read again for each plan.
        namespace: Namespace of the whole graph; None for the namespaces in the code.
        only: The one service to start; "" for all.
        where: The origin of values in mappings, for messages.
        name: Name of the deployment; "" for the program's.
        check: Treatment of calls that would fail, see `Check`.
    """

    configs: Sequence[Config] = ()
    namespace: str | None = None
    only: str = ""
    where: str = "serve(…)"
    name: str = ""
    check: Check = "hold"

    @abstractmethod
    def program(self) -> Program:
        """Returns the program as it is now. Raises DynamoError if it cannot be read."""

    def follows(self) -> bool:
        """Returns True if this process can see the program, and should redeploy when it changes."""
        return True

    def options(self) -> Mapping[str, Any]:
        """Returns the options of `serve` in the program, by name. A user's options override them."""
        return {}

    def layers(self) -> list[Layer]:
        """Returns the configuration of the user, lowest layer first. Raises ConfigError if a file cannot be read."""
        return layers_of(self.configs, where=self.where)

    def plan(self) -> Plan:
        """Returns the plan as it is now. Raises what `program`, `layers` and `Plan.of` do."""
        program = self.program()
        return Plan.of(program.named(self.name) if self.name else program, self.layers(), self.namespace, self.only)

    def with_layers(self, layers: Sequence[Layer]) -> Self:
        """Returns the same source with more layers, which override the others."""
        return replace(self, configs=(*self.configs, *layers))


@dataclass(frozen=True, kw_only=True)
class FixedProgram(PlanSource):
    """A program that was found once. The files of a module are read again for each plan, the graph is not."""

    found: Program

    def program(self) -> Program:
        return self.found

    def options(self) -> Mapping[str, Any]:
        return self.found.options


@dataclass(frozen=True, kw_only=True)
class LiveProgram(PlanSource):
    """The services of this process: in the cells of a notebook, or in a script or module.

    Attributes:
        entry: The entry's class, when the source was made.
        names: Global names of the notebook, script or module that serves.
        cells: The notebook's cells; None for a script or module.
    """

    entry: type
    names: Mapping[str, Any] = field(repr=False)
    cells: NotebookCells | None = None

    def program(self) -> Program:
        if self.cells is None:
            return live(self.entry, self.names, None, self.name)
        # A cell that ran again has defined the class again.
        return live(self.names.get(self.entry.__name__, self.entry), self.names, self.cells.cells(), self.name)
