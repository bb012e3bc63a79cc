"""What a deployment may know of the notebook that it is served from, where there is one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dynamo_nb.deployment.deployment import Deployment
    from dynamo_nb.observe.display import Display

NOTEBOOK = "__dynamo_notebook__"
"""Under which the notebook extension stands among a notebook's global names."""


class Notebook:
    """What the notebook extension tells of the session; none of it exists in a plain script."""

    deployments: list[Deployment]
    """Those that began here or were attached, oldest first."""
    deleted: Collection[str]
    """Ids of the cells that the page no longer has."""

    def cells(self) -> Sequence[Any]:
        """The cells that were run."""
        raise NotImplementedError

    @property
    def title(self) -> str:
        """What people know the notebook by."""
        raise NotImplementedError

    @property
    def names(self) -> Mapping[str, Any]:
        """The notebook's global names."""
        raise NotImplementedError

    def started(self, deployment: Deployment) -> None:
        """A deployment began here, or was attached; it follows the cells from now on."""
        raise NotImplementedError

    def standing(self, entry: str) -> Deployment | None:
        """The deployment of an entry that the running cell made when it ran before, or that was attached."""
        raise NotImplementedError

    def continued(self, deployment: Deployment) -> None:
        """The running cell goes on with it."""
        raise NotImplementedError

    def place(self) -> Display:
        """A place under the cell that runs, for something that changes."""
        raise NotImplementedError

    def show(self, deployment: Deployment) -> None:
        """Displays a deployment as output of the running cell."""
        raise NotImplementedError


def notebook_state(space: Mapping[str, Any]) -> Notebook | None:
    """The notebook whose global names are `space`, if the extension is loaded there."""
    state = space.get(NOTEBOOK)
    return state if isinstance(state, Notebook) else None
