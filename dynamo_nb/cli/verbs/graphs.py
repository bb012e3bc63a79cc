"""Verbs for a graph that is named by a target: serve, config, graph, export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dynamo_nb.cli.options import DeploymentOption, Files, Name, Namespace, Target, WorkingDir
from dynamo_nb.cli.verb_table import host_of, invocation, verb
from dynamo_nb.control.options import DRAIN_GRACE, HANG_LIMIT
from dynamo_nb.errors import TargetError

if TYPE_CHECKING:
    from dynamo_nb.cli.host import VerbHost
    from dynamo_nb.deployment.plan import Plan
    from dynamo_nb.deployment.plan_source import PlanSource
    from dynamo_nb.deployment.serve_options import ServeOptions


def _plan_source(
    context: typer.Context,
    target: str,
    files: list[str] | None = None,
    working_dir: Path | None = None,
    namespace: str | None = None,
) -> PlanSource:
    call = invocation(context)
    return call.host.plan_source(
        target, files=files or (), config_words=call.config_words, working_dir=working_dir, namespace=namespace
    )


@verb(
    ("serve {target}", "configured by the code alone"),
    ("serve {target} -f config.yaml --Backend.workers=2", "a file, and one value that overrides it"),
    ("serve {target} --dry-run", "show what would run, and on which GPUs"),
    ("serve bundle/ --detach", "an exported bundle, in the background"),
)
def serve(
    context: typer.Context,
    target: Target,
    file: Files = None,
    working_dir: WorkingDir = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="show configuration, graph and placement, and start nothing")
    ] = False,
    service_name: Annotated[str, typer.Option("--service-name", help="start only this service")] = "",
    http_host: Annotated[
        str | None,
        typer.Option(
            "--http-host",
            "--host",
            help="address of the HTTP endpoints, --host is the same (default: DYNAMO_HOST, else 127.0.0.1)",
        ),
    ] = None,
    http_port: Annotated[
        int | None,
        typer.Option(
            "--http-port",
            "--port",
            help="first HTTP port, 0 for any free port, --port is the same (default: DYNAMO_PORT, else 8000)",
        ),
    ] = None,
    nats: Annotated[
        str | None, typer.Option(help="URL of a NATS server (default: NATS_SERVER, else a new server)")
    ] = None,
    nats_credentials: Annotated[
        str | None, typer.Option(help="credentials file (.creds) for the NATS server (default: NATS_CREDS)")
    ] = None,
    nats_tls: Annotated[
        str | None, typer.Option(help="folder with the ca.crt of the NATS server (default: NATS_TLS)")
    ] = None,
    worker_host: Annotated[
        str | None,
        typer.Option(help="address on which workers accept calls from other machines with the same DYNAMO_SECRET"),
    ] = None,
    tls: Annotated[
        str | None,
        typer.Option(help="folder with ca.crt, tls.crt and tls.key, to encrypt those calls (default: DYNAMO_TLS)"),
    ] = None,
    plane: Annotated[
        str | None, typer.Option(help="how calls travel: direct or nats (default: DYNAMO_PLANE, else direct)")
    ] = None,
    namespace: Namespace = None,
    name: Name = "",
    metrics_host: Annotated[
        str | None, typer.Option(help="address of the metrics page (default: DYNAMO_METRICS_HOST, else 127.0.0.1)")
    ] = None,
    metrics_port: Annotated[
        int | None, typer.Option(help="port of the metrics page (default: DYNAMO_METRICS_PORT, else any free port)")
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="return when it is ready, and keep it running in the background")
    ] = False,
    kernels: Annotated[
        bool, typer.Option("--kernels/--no-kernels", help="run each worker as a Jupyter kernel that can be inspected")
    ] = True,
    grace: Annotated[
        float, typer.Option(help="seconds that a worker has to finish its requests before it is stopped")
    ] = DRAIN_GRACE,
    hang: Annotated[
        float,
        typer.Option(help="seconds that a worker's event loop may block before the worker is replaced, 0 for no limit"),
    ] = HANG_LIMIT,
    check: Annotated[
        Literal["hold", "warn"],
        typer.Option(help="hold: hold back a new version that does not fit the services that call it; warn: note it"),
    ] = "hold",
) -> Any:
    """Serve a graph. Ctrl-C drains and stops it."""
    from dataclasses import replace

    from dynamo_nb.deployment.serve_options import ServeOptions

    source = replace(_plan_source(context, target, file, working_dir, namespace), only=service_name, name=name)
    options = ServeOptions(
        nats=nats,
        nats_credentials=nats_credentials,
        nats_tls=nats_tls,
        worker_host=worker_host,
        tls=tls,
        plane=plane,
        http_host=http_host,
        http_port=http_port,
        metrics_host=metrics_host,
        metrics_port=metrics_port,
        detach=detach,
        kernels=kernels,
        grace=grace,
        hang=hang,
    )
    given = {option for option in context.params if _is_given(context, option)}
    checks = [check, *([] if "check" in given else [source.options().get("check")])]
    source = replace(source, check="warn" if "warn" in checks else "hold")
    options = options.over(source.options(), given)
    if dry_run:
        _dry_run(host_of(context), source.plan(), options)
        return None
    return host_of(context).serve(source, options)


def _is_given(context: typer.Context, option: str) -> bool:
    """True if the user has set an option, False if it has its default."""
    source = context.get_parameter_source(option)
    return source is not None and source.name != "DEFAULT"


def _dry_run(host: VerbHost, plan: Plan, options: ServeOptions) -> None:
    """Shows a plan. Raises the last error for which it cannot be served, after it has shown the others."""
    from dynamo_nb.deployment.dry_run import problems, report

    host.show(report(plan, options))
    found = problems(plan, options)
    for error in found[:-1]:
        host.show(error)
    if found:
        raise found[-1]


@verb(
    ("config {target}", "each value with its origin"),
    ("config {target} -f config.yaml --json", "values only"),
    ("config", "the configuration of the running deployment"),
)
def config(
    context: typer.Context,
    target: Annotated[
        str, typer.Argument(help="as for `serve`; without a target, the running deployment is shown")
    ] = "",
    file: Files = None,
    working_dir: WorkingDir = None,
    namespace: Namespace = None,
    deployment: DeploymentOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="print only the values, as JSON")] = False,
) -> None:
    """Show the effective configuration and the origin of each value."""
    host = host_of(context)
    if target:
        plan = _plan_source(context, target, file, working_dir, namespace).plan()
        effective, notes = plan.config, plan.program.notes
    else:
        effective, notes = host.deployment(deployment).config, ()
    host.show(json.dumps(effective.as_json(), indent=2, default=str) if as_json else effective)
    for note in notes if not as_json else ():
        host.show(note)


@verb(
    ("graph {target}", "draw it"),
    ("graph {target} --format svg -o graph.svg", "write it to a file"),
)
def graph(
    context: typer.Context,
    target: Annotated[str, typer.Argument(help="the target to draw")] = "",
    working_dir: WorkingDir = None,
    form: Annotated[Literal["text", "svg", "dot"], typer.Option("--format", help="output format")] = "text",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="write to this file")] = None,
    schema: Annotated[bool, typer.Option("--schema", help="print the JSON schema of a GraphSpec")] = False,
) -> Any:
    """Draw a graph as text, SVG or DOT."""
    host = host_of(context)
    if schema:
        from dynamo_nb.graph import GraphSpec

        host.show(json.dumps(GraphSpec.model_json_schema(), indent=2))
        return None
    if not target:
        raise TargetError("the target is missing", remedy=f"{host.prefix} graph {host.example_target}")
    program = _plan_source(context, target, working_dir=working_dir).program()
    drawn = str(program.graph) if form == "text" else program.graph.svg if form == "svg" else program.graph.dot.source
    if output is not None:
        output.write_text(drawn, encoding="utf-8")
    elif form == "text":
        return host.draw(target, program.graph)
    else:
        host.show(drawn)
    return None


@verb(("export {target} bundle/", "code, configuration and manifests"))
def export(
    context: typer.Context,
    target: Annotated[
        str, typer.Argument(help="the target; in a notebook, pass only a folder to export the running deployment")
    ],
    folder: Annotated[Path | None, typer.Argument(help="the folder to write")] = None,
    file: Files = None,
    working_dir: WorkingDir = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="the folder to write")] = None,
    namespace: Namespace = None,
    name: Name = "",
) -> None:
    """Export a graph as a bundle: its code, its configuration and Kubernetes manifests."""
    host = host_of(context)
    where = folder or output
    if where is None:
        written = host.export_served(Path(target))
    else:
        from dataclasses import replace

        from dynamo_nb.bundle import export as export_bundle

        plan = replace(_plan_source(context, target, file, working_dir, namespace), name=name).plan()
        written = export_bundle(plan.spec, plan.code, where, host.show)
        for note in plan.notes:
            host.show(note)
    host.show(f"wrote {written}")
