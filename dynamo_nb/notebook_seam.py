"""What a deployment may know of the notebook that it is served from, where there is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dynamo_nb.config.layers import Layer
from dynamo_nb.observe.display import Display

if TYPE_CHECKING:
    from dynamo_nb.deployment import Deployment

NOTEBOOK = "__dynamo_notebook__"
"""Under which the notebook extension stands among a notebook's global names."""


class Notebook:
    """What the notebook extension tells of the session; none of it exists in a plain script."""

    def cells(self) -> Sequence[Any]:
        """The cells that were run."""
        raise NotImplementedError

    def config_layers(self) -> Sequence[Layer]:
        """The configuration cells, lowest first."""
        raise NotImplementedError

    def started(self, deployment: Deployment) -> None:
        """A deployment of this notebook's services began; it follows the cells from now on."""
        raise NotImplementedError

    def place(self) -> Display:
        """A place under the cell that runs, for something that changes."""
        raise NotImplementedError

    def mimebundle(self, deployment: Deployment, still: dict[str, str], **kwargs: Any) -> Any:
        """How a deployment shows itself here. still: its forms for where nothing lives."""
        raise NotImplementedError


def notebook_state(space: Mapping[str, Any]) -> Notebook | None:
    """The notebook whose global names are `space`, if the extension is loaded there."""
    state = space.get(NOTEBOOK)
    return state if isinstance(state, Notebook) else None
