"""Verbs for running deployments: ps, attach, detach, stop, scale, restart, clean."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from dynamo_nb.cli.deployment_list import deployments, in_columns, summary
from dynamo_nb.cli.options import DeploymentArgument, DeploymentOption
from dynamo_nb.cli.supervisor_requests import change, request, status_of
from dynamo_nb.cli.verb_table import host_of, verb
from dynamo_nb.errors import DeploymentError, suggestion


@verb(("ps", "all deployments of this user"), ("ps --json", "for programs"))
def ps(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="print as JSON")] = False,
) -> None:
    """List the deployments of this user on this machine."""
    from dynamo_nb.sdk.portal import portal

    found = portal.run(deployments())
    host_of(context).show(json.dumps(found, indent=2) if as_json else in_columns(found))


@verb(("attach", "the only running deployment"), ("attach frontend-1a2b3c4d", "one of several"))
def attach(context: typer.Context, which: DeploymentArgument = None, deployment: DeploymentOption = None) -> Any:
    """Show the logs of a running deployment; Ctrl-C leaves it running. In a notebook: return the deployment."""
    return host_of(context).attach(_only_one(which, deployment))


@verb(("detach", "the only running deployment"))
def detach(context: typer.Context, which: DeploymentArgument = None, deployment: DeploymentOption = None) -> None:
    """Keep a deployment running after the notebook or terminal that serves it ends."""
    host = host_of(context)
    record = host.record(_only_one(which, deployment))
    request(record, "detach")
    id_ = record.id
    host.show(f"{id_} is detached; `dynamo attach {id_}` connects to it, `dynamo stop {id_}` stops it")


@verb(("stop", "the only running deployment"), ("stop frontend-1a2b3c4d", "one of several"))
def stop(context: typer.Context, which: DeploymentArgument = None, deployment: DeploymentOption = None) -> None:
    """Drain and stop a deployment."""
    host = host_of(context)
    record = host.record(_only_one(which, deployment))
    request(record, "stop", wait_for_end=True)
    host.show(f"stopped {record.id}")


@verb(("scale Backend=4", "four workers"), ("scale Backend=0 Router=2", "several services at once"))
def scale(
    context: typer.Context,
    workers: Annotated[list[str], typer.Argument(help="Service=number, for one or more services")],
    deployment: DeploymentOption = None,
) -> None:
    """Set the number of workers of services, as in `dynamo scale Backend=4`."""
    host = host_of(context)
    counts = {}
    for word in workers:
        name, _, count = word.partition("=")
        try:
            counts[name] = int(count)
        except ValueError:
            what = f"{word!r} does not say how many workers"
            raise DeploymentError(what, remedy=f"{name or 'Backend'}=4 means four workers") from None
    host.show(summary(change(host.record(deployment), "scale", host.display, workers=counts)))


@verb(("restart Backend", "after a change outside of its code"), ("restart Backend Router", "one after the other"))
def restart(
    context: typer.Context,
    services: Annotated[list[str], typer.Argument(help="one or more services")],
    deployment: DeploymentOption = None,
) -> None:
    """Replace the workers of services by new ones with the same code and configuration."""
    host = host_of(context)
    record = host.record(deployment)
    known = status_of(record).started_services
    for name in services:
        if name not in known:
            raise DeploymentError(f"{record.id} has no service {name!r}", remedy=suggestion(name, known))
    for name in services:
        status = change(record, "restart", host.display, service=name)
    host.show(summary(status))


def _only_one(argument: str | None, option: str | None) -> str | None:
    """The deployment that is named by an argument or by `-d`."""
    if argument is not None and option is not None:
        raise DeploymentError("the deployment is named twice", remedy="name it once, as an argument or with -d")
    return option if argument is None else argument


@verb(("clean", "after a crash"))
def clean(context: typer.Context) -> None:
    """Remove what crashed deployments left behind: processes and folders without a supervisor."""
    from dynamo_nb.control.cleanup import clean_up

    for line in clean_up() or ["nothing to clean up"]:
        host_of(context).show(line)
