"""A release: the GraphSpec that a supervisor serves and the place of its code, as the control socket carries it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any

from dynamo_nb.graph.spec import GraphSpec


@dataclass(frozen=True)
class Release:
    """A GraphSpec and the path of its code.

    A client makes a release and applies it. Other clients read the served release from the supervisor.

    Attributes:
        spec: the graph to serve. Services may have been scaled since.
        path: folders that workers put before their own `sys.path`.
        cwd: working directory of the workers.
        id: unique; `Status.release` names the release that is served by it.
        snapshot: the client's plain data, from which another client restores the plan. The supervisor does not read it.
    """

    spec: GraphSpec
    path: tuple[str, ...] = ()
    cwd: str = "."
    id: str = field(default_factory=lambda: token_hex(8))
    snapshot: Mapping[str, Any] = field(default_factory=dict)

    def as_data(self) -> dict[str, Any]:
        """Plain data that JSON holds."""
        return {
            "spec": self.spec.model_dump(),
            "path": list(self.path),
            "cwd": self.cwd,
            "id": self.id,
            "snapshot": dict(self.snapshot),
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Release:
        """Reads what `as_data` returned."""
        spec = GraphSpec.model_validate(data["spec"])
        return cls(**{**data, "spec": spec, "path": tuple(data["path"])})
