"""Verbs that look into running workers: logs, errors, events, routes, top, console."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from dynamo_nb.cli.options import DeploymentOption
from dynamo_nb.cli.supervisor_requests import request, status_of
from dynamo_nb.cli.verb_table import host_of, verb
from dynamo_nb.errors import DeploymentError, suggestion


@verb(
    ("logs", "the last lines of every worker"),
    ("logs Backend -n 20", "fewer lines, of one service"),
    ("logs Backend -f", "and new lines as they come"),
    ("logs Backend[0] --times", "of one worker, each line with its time"),
    ("logs -f --grep error", "matching lines only"),
    ("logs --level info --access", "warnings, errors and lines of level info, with the requests over HTTP"),
)
def logs(
    context: typer.Context,
    service: Annotated[
        str | None, typer.Argument(help="show only this service, or one worker of it, such as Backend[0]")
    ] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="keep showing new lines")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", help="number of last lines of each worker")] = 100,
    grep: Annotated[str, typer.Option(help="show only lines that match this regular expression")] = "",
    level: Annotated[
        str, typer.Option(help="show only lines of this level and above: debug, info, warning, error")
    ] = "",
    times: Annotated[bool, typer.Option("-t", "--times", help="show the time of each line")] = False,
    access: Annotated[bool, typer.Option("--access", help="show the requests over HTTP too")] = False,
    deployment: DeploymentOption = None,
) -> None:
    """Show what workers printed, each line with its worker."""
    from dynamo_nb.control.log_lines import LogFilter
    from dynamo_nb.observe.log_reader import LogRequest

    host = host_of(context)
    record = host.record(deployment)
    shown = LogFilter.of(service, level, grep)
    known = status_of(record).services
    if shown.service and shown.service not in known:
        raise DeploymentError(f"{record.id} has no service {shown.service!r}", remedy=suggestion(shown.service, known))
    host.logs(record, LogRequest(shown, lines, access, follow), times=times)


@verb(
    ("errors", "of every service"),
    ("errors Backend", "of one service"),
    ("errors --json", "for programs"),
)
def errors(
    context: typer.Context,
    service: Annotated[str | None, typer.Argument(help="show only this service")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print as JSON")] = False,
    deployment: DeploymentOption = None,
) -> None:
    """Show the last distinct errors that endpoints ended with: counts, times, tracebacks."""
    from dynamo_nb.control.events import errors_from
    from dynamo_nb.observe.event_table import ServiceErrors

    host = host_of(context)
    record = host.record(deployment)
    if service is not None and service not in (known := status_of(record).started_services):
        raise DeploymentError(f"{record.id} has no service {service!r}", remedy=suggestion(service, known))
    found = request(record, "errors", service=service or "")
    host.show(json.dumps(found, indent=2) if as_json else ServiceErrors(errors_from(found)))


@verb(
    ("events", "starts, ends, changes and failures, with times"),
    ("events -n 10", "the last ten"),
    ("events -f", "and new ones as they happen"),
    ("events --json", "for programs"),
)
def events(
    context: typer.Context,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="keep showing new events, in a terminal")] = False,
    number: Annotated[int, typer.Option("-n", "--number", help="number of last events")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="print as JSON")] = False,
    deployment: DeploymentOption = None,
) -> None:
    """Show the events of a deployment: restarts, crashes, changes, links, failures."""
    from dynamo_nb.control.events import events_from
    from dynamo_nb.observe.event_table import Events

    host = host_of(context)
    record = host.record(deployment)
    if follow:
        host.follow_events(record, number)
        return
    found = request(record, "events")[-number:] if number > 0 else []
    host.show(json.dumps(found, indent=2) if as_json else Events(events_from(found)))


@verb(("routes", "all HTTP routes"), ("routes Frontend", "those of one service"))
def routes(
    context: typer.Context,
    service: Annotated[str | None, typer.Argument(help="show only this service")] = None,
    deployment: DeploymentOption = None,
) -> None:
    """Show the HTTP routes of a running deployment, each with a curl line that works."""
    host = host_of(context)
    host.show(host.deployment(deployment).routes(service).result())


@verb(("top", "live"), ("top --once", "one table"))
def top(
    context: typer.Context,
    deployment: DeploymentOption = None,
    once: Annotated[bool, typer.Option("--once", help="show one table, measured over half a second")] = False,
) -> None:
    """Show the live load of each service and worker: rates, latencies, errors, CPU, memory, restarts."""
    host = host_of(context)
    host.top(host.record(deployment), once=once)


@verb(
    ("console Backend[0]", "how to attach to the first worker of Backend"),
    ("console Backend[0] --open", "attach this terminal"),
)
def console(
    context: typer.Context,
    worker: Annotated[
        str, typer.Argument(help="Backend[0] for the first worker, Backend[*] for all; Backend means Backend[0]")
    ],
    deployment: DeploymentOption = None,
    attach: Annotated[bool, typer.Option("--open", help="attach this terminal; needs jupyter-console")] = False,
) -> None:
    """Show how to attach a terminal, JupyterLab or a program to the kernel of a running worker."""
    from dynamo_nb.deployment.worker_kernels import find_kernels, open_console

    host = host_of(context)
    kernels = find_kernels(status_of(host.record(deployment)).services, worker)
    if attach:
        open_console(kernels, terminal=host.is_terminal)
    else:
        host.show("\n\n".join(kernel.instructions() for kernel in kernels))
