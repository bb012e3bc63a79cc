"""How a Deployment shows itself: live in a notebook, as text and SVG where nothing lives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dynamo_nb.graph.draw import mimebundle

if TYPE_CHECKING:
    from dynamo_nb.deployment import Deployment


def bundle_of(deployment: Deployment, **kwargs: Any) -> Any:
    """The MIME bundle; a widget only where a page may be looking."""
    from dynamo_nb.notebook import current

    session = current()
    if session is None or not session.on_page:
        return {**mimebundle(deployment.picture), "text/plain": repr(deployment)}
    data, metadata = session.view(deployment)._repr_mimebundle_(**kwargs)
    return {**data, "text/plain": repr(deployment)}, metadata
