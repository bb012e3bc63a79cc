"""`attach()`: from a deployment that runs to a Deployment, in the process that served it or in any other one."""

from __future__ import annotations

import sys

from dynamo_nb.control.state_dir import Record, records
from dynamo_nb.deployment.deployment import Deployment
from dynamo_nb.deployment.notebook_seam import Notebook, notebook_state
from dynamo_nb.errors import DeploymentError
from dynamo_nb.sdk.portal import Pending, on_portal


def attach(which: str | None = None) -> Pending[Deployment]:
    """Takes up a deployment that runs: `deployment = await attach()`, also after the kernel was restarted.

    which: its id, or its name; none where only one runs. It is as it was, scaled services and all: cells that have not
    been run again change nothing. Once the notebook defines the entry service again the deployment follows its cells,
    and what they say as before stays as it is. One that was served from a file or a bundle is read again by `update()`.

    One that shares its life with another living process can be attached too, to look at it, to call and to change it;
    it ends with that process, and follows no cells of this one.

    Raises DeploymentError if nothing runs, or several do, ConnectError if its supervisor does not answer.
    """
    notebook = notebook_state(sys._getframe(1).f_globals)
    return Pending(lambda: on_portal(lambda: take_up(chosen(which), notebook)))


async def take_up(record: Record, notebook: Notebook | None = None) -> Deployment:
    """The deployment of a record; in a notebook one of its own from now on."""
    for known in notebook.deployments if notebook is not None else ():
        if known.id == record.id and not known.ended:
            return known
    deployment = Deployment(record.folder, notebook=notebook)
    try:
        await deployment._open()
        await deployment._learn()
    except BaseException:
        await deployment._leave()
        raise
    if notebook is not None:
        notebook.started(deployment)
    return deployment


def chosen(which: str | None) -> Record:
    """The living deployment with this id, or this name; without either the only one. Raises DeploymentError."""
    alive = [record for record in records() if record.alive]
    found = [r for r in alive if which is None or which == r.id] or [r for r in alive if which == r.name]
    if len(found) == 1:
        return found[0]
    if not found:
        if not alive:
            what = (
                "nothing is being served" if which is None else f"there is no deployment {which!r}: nothing is served"
            )
            raise DeploymentError(what, remedy="serve a graph first")
        names = ", ".join(r.id for r in alive)
        raise DeploymentError(f"there is no deployment {which!r}", remedy=f"deployments of this user: {names}")
    raise DeploymentError(
        f"several deployments run: {', '.join(r.id for r in found)}",
        remedy="name one by its id (-d ID, for `scale` and `logs`)",
    )
