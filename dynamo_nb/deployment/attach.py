"""`attach()`: connects to a running deployment, from the process that serves it or from any other."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from dynamo_nb.control.record import Record, left_running, records
from dynamo_nb.deployment.deployment import Deployment
from dynamo_nb.deployment.start import Notebook, connect, notebook_of
from dynamo_nb.errors import DeploymentError
from dynamo_nb.sdk.portal import Pending, on_portal


def attach(which: str | None = None) -> Pending[Deployment]:
    """Connects to a running deployment, also after a kernel restart.

    Nothing is changed: scaled services stay scaled, and cells that run again unchanged replace no worker. When the
    notebook has defined the entry service again, the deployment follows its cells. A deployment of a file or a bundle
    is read again by `update()`.

    A deployment owned by another process can be attached too, to call and change it. It stops with that process, and
    does not follow the cells of this one.

    Args:
        which: Id of the deployment, the start of the id, or its name. Default: the only running deployment.

    Returns:
        A `Pending` of the deployment.

    Raises:
        DeploymentError: No deployment matches, or several do.
        ConnectError: Its supervisor does not answer.

    Example:
        In a new kernel::

            deployment = await attach()
    """
    notebook = notebook_of(sys._getframe(1).f_globals)
    return Pending(lambda: on_portal(lambda: connect(record_for(notebook, which), notebook)))


def record_for(notebook: Notebook | None, which: str | None) -> Record:
    """Returns the record of a running deployment, as `running_record` does.

    Args:
        notebook: The notebook that attaches, or None. Without `which`, its only running deployment is preferred, also
            one that an earlier kernel left running.
        which: As for `running_record`.

    Raises:
        DeploymentError: No deployment matches, or several match.
    """
    if which is None and notebook is not None:
        here = [deployment.id for deployment in notebook.deployments if not deployment.ended]
        own = [*here, *(record.id for record in left_running(here, notebook.path))]
        which = own[0] if len(own) == 1 else None
    return running_record(which)


def running_record(which: str | None) -> Record:
    """Returns the record of a running deployment.

    Args:
        which: Its id, the beginning of its id, or its name; None if only one is running.

    Raises:
        DeploymentError: None matches, or several do.
    """
    return chosen([record for record in records() if record.alive], which)


def chosen(alive: Sequence[Record], which: str | None) -> Record:
    """Returns the record that a user means, as `running_record` does.

    Args:
        alive: Records of the running deployments.
        which: See `running_record`.

    Raises:
        DeploymentError: None matches, or several do.
    """
    matches: tuple[Callable[[Record], bool], ...] = (
        lambda record: which in (None, record.id),
        lambda record: which == record.name,
        lambda record: bool(which) and record.id.startswith(str(which).lower()),
    )
    found = next(filter(None, ([r for r in alive if match(r)] for match in matches)), [])
    if len(found) == 1:
        return found[0]
    if not found:
        if not alive:
            what = "nothing is being served" if which is None else f"deployment {which!r} not found: nothing is served"
            raise DeploymentError(what, remedy="serve a graph first")
        names = ", ".join(r.id for r in alive)
        raise DeploymentError(f"deployment {which!r} not found", remedy=f"deployments of this user: {names}")
    raise DeploymentError(
        f"several deployments are running: {', '.join(r.id for r in found)}",
        remedy="name one by its id (-d ID, for `scale` and `logs`)",
    )
