"""`dynamo`: one table of verbs, at a shell and, as `%dynamo VERB …`, in a notebook."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import typer

from dynamo_nb.cli.examples import with_examples
from dynamo_nb.cli.foreground import serve_here
from dynamo_nb.cli.listing import deployments, in_columns, summary
from dynamo_nb.cli.terminal import Terminal
from dynamo_nb.control.options import DRAIN_GRACE
from dynamo_nb.control.status import Status
from dynamo_nb.errors import DeploymentError, DynamoError, TargetError, suggestion
from dynamo_nb.observe.display import Display
from dynamo_nb.supervisor.health_check import HANG_LIMIT

# Newer versions of typer have a click of their own, older ones use the package: this is the class of either.
_UsageError: Any = typer.BadParameter.__bases__[0]
_INTERRUPTED = 130
_HOME = "\x1b[H\x1b[J"
"""Clears a terminal."""

app = typer.Typer(
    name="dynamo",
    help="Serve, inspect and ship inference graphs. A TARGET is module:Service, path/file.py:Service, "
    "notebook.ipynb:Service or a bundle's folder. Configuration is set with --Service.key=value.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Target = Annotated[str, typer.Argument(help="module:Service, file.py:Service, notebook.ipynb:Service, bundle folder")]
Files = Annotated[
    list[str] | None, typer.Option("-f", "--file", help="YAML configuration; may be repeated, later ones win")
]
WorkingDir = Annotated[Path | None, typer.Option("--working-dir", help="folder to find the target in")]
NamespaceOption = Annotated[str | None, typer.Option("--namespace", help="move the whole graph to this namespace")]
Which = Annotated[str | None, typer.Option("-d", "--deployment", help="id or name, if several run")]


@dataclass
class Console:
    """Where a verb is used from. A notebook gives its own services, deployments and ways to show things.

    words: the configuration given as --Service.key=value, kept apart from the options of the verb.
    prefix: what stands before a verb there. target: an example of one. terminal: whether it is one.
    """

    prefix: ClassVar[str] = "dynamo"
    target: ClassVar[str] = "hello.py:Frontend"
    terminal: ClassVar[bool] = True
    words: Sequence[str] = field(default=())

    def recipe(self, target: str, files: Sequence[str], working_dir: Path | None, namespace: str | None) -> Any:
        from dynamo_nb.deployment.plan import Recipe, layers_of
        from dynamo_nb.program.program import find

        layers = layers_of(files, self.words)
        program = find(target, working_dir)
        return Recipe(lambda: program, lambda: layers, namespace)

    def show(self, value: Any) -> None:
        print(value, flush=True)

    def place(self) -> Display:
        """Where something is shown that changes."""
        return Terminal()

    def until_interrupted(self) -> AbstractContextManager[None]:
        """Within, an interrupt is how a person ends what would go on for ever."""
        return nullcontext()

    def draw(self, target: str, graph: Any) -> Any:  # noqa: ARG002
        """Shows the graph of a target as text."""
        self.show(graph)

    def serve(self, recipe: Any, options: dict[str, Any], detach: bool) -> Any:
        if not asyncio.run(serve_here(recipe, options, detach=detach)):
            raise KeyboardInterrupt
        return None

    def bench(self, which: str | None, target: str, payload: str | None, shape: Any, *, background: bool) -> Any:
        """Puts a load on an endpoint; gives the result, or the load that goes on."""
        from dynamo_nb.observe.request import Request

        served = self.deployment(which)
        load = served.bench(*(one.call() for one in Request.parse_all(served, target, payload)), **vars(shape))
        run = load.on(self.place, line=not self.terminal)  # a terminal gets the whole result below it
        return run.start() if background else run.result()

    def record(self, which: str | None) -> Any:
        """The deployment that a verb is about."""
        from dynamo_nb.deployment.attach import chosen

        return chosen(which)

    def attach(self, which: str | None) -> Any:
        """Shows the logs of a deployment until Ctrl-C."""
        from dynamo_nb.cli.foreground import watch_here

        return watch_here(self.record(which))

    def deployment(self, which: str | None) -> Any:
        """The Deployment that a verb calls."""
        from dynamo_nb.deployment.attach import take_up
        from dynamo_nb.sdk.portal import portal

        return portal.run(take_up(self.record(which)))

    def give(self, value: Any) -> Any:
        """Shows what a verb came to."""
        self.show(value)

    def top(self, record: Any, *, once: bool) -> None:
        """Shows tables of what a deployment does, until it ends or Ctrl-C."""
        from dynamo_nb.observe.top import follow

        async def show() -> None:
            live = sys.stdout.isatty() and not once
            async for table in follow(record.control):
                self.show(f"{_HOME}{table}" if live else table)
                if not live:
                    return

        with suppress(KeyboardInterrupt):
            asyncio.run(show())

    def export(self, target: str, recipe: Callable[[], Any], folder: Path) -> Path:  # noqa: ARG002
        from dynamo_nb.bundle import export

        plan = recipe().plan()
        return export(plan.spec, plan.code, folder)


def _console(context: typer.Context) -> Console:
    return context.find_root().obj  # type: ignore[no-any-return]


# --- verbs -------------------------------------------------------------------------------------------------------


@app.command()
def serve(
    context: typer.Context,
    target: Target,
    file: Files = None,
    working_dir: WorkingDir = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show what would run, and start nothing")] = False,
    service_name: Annotated[str, typer.Option("--service-name", help="start this one service only")] = "",
    host: Annotated[str | None, typer.Option(help="address of HTTP endpoints [DYNAMO_HOST, 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="first HTTP port, 0 for a free one [DYNAMO_PORT, 8000]")] = None,
    nats: Annotated[str | None, typer.Option(help="URL of a NATS server [NATS_SERVER, else one of its own]")] = None,
    nats_credentials: Annotated[str | None, typer.Option(help="a .creds file for it [NATS_CREDS]")] = None,
    nats_tls: Annotated[str | None, typer.Option(help="a folder with its ca.crt [NATS_TLS]")] = None,
    worker_host: Annotated[
        str | None, typer.Option(help="address on which other machines can call workers; they must know DYNAMO_SECRET")
    ] = None,
    tls: Annotated[
        str | None, typer.Option(help="a folder with ca.crt, tls.crt, tls.key, to encrypt those calls [DYNAMO_TLS]")
    ] = None,
    plane: Annotated[str | None, typer.Option(help="nats: calls go over NATS [DYNAMO_PLANE, direct]")] = None,
    namespace: NamespaceOption = None,
    metrics_host: Annotated[
        str | None, typer.Option(help="address of metrics [DYNAMO_METRICS_HOST, 127.0.0.1]")
    ] = None,
    metrics_port: Annotated[int | None, typer.Option(help="port of metrics [DYNAMO_METRICS_PORT, a free one]")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="return, and leave it running")] = False,
    kernels: Annotated[bool, typer.Option("--kernels/--no-kernels", help="workers are Jupyter kernels")] = True,
    grace: Annotated[float, typer.Option(help="seconds for a worker to finish what it holds")] = DRAIN_GRACE,
    hang: Annotated[
        float, typer.Option(help="seconds that a worker's event loop may be blocked, 0: for ever")
    ] = HANG_LIMIT,
) -> Any:
    """Serve a graph; Ctrl-C drains and stops it."""
    from dataclasses import replace

    from dynamo_nb.deployment.serve import serving_options
    from dynamo_nb.runtime.connection_settings import Access

    console = _console(context)
    recipe = replace(console.recipe(target, file or [], working_dir, namespace), only=service_name)
    if dry_run:
        console.show(_dry_run(recipe.plan()))
        return None
    access = Access.of(nats_url=nats, nats_credentials=nats_credentials, nats_tls=nats_tls, plane=plane, tls=tls)
    options = serving_options(
        access,
        host=worker_host,
        http_host=host,
        http_port=port,
        metrics_host=metrics_host,
        metrics_port=metrics_port,
        kernels=kernels,
        grace=grace,
        hang=hang,
    )
    return console.serve(recipe, options, detach)


@app.command()
def config(
    context: typer.Context,
    target: Annotated[str, typer.Argument(help="as of `serve`; without one, what is being served")] = "",
    file: Files = None,
    working_dir: WorkingDir = None,
    namespace: NamespaceOption = None,
    deployment: Which = None,
    as_json: Annotated[bool, typer.Option("--json", help="values only, as JSON")] = False,
) -> None:
    """Show the effective configuration and where each value comes from."""
    console = _console(context)
    if target:
        effective = console.recipe(target, file or [], working_dir, namespace).plan().config
    else:
        effective = console.deployment(deployment).config
    console.show(json.dumps(effective.as_json(), indent=2, default=str) if as_json else effective)


@app.command()
def graph(
    context: typer.Context,
    target: Annotated[str, typer.Argument(help="what to draw")] = "",
    working_dir: WorkingDir = None,
    form: Annotated[Literal["text", "svg", "dot"], typer.Option("--format")] = "text",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="write to a file")] = None,
    schema: Annotated[bool, typer.Option("--schema", help="the JSON schema of a GraphSpec")] = False,
) -> Any:
    """Draw a graph: as text, SVG or DOT."""
    console = _console(context)
    if schema:
        from dynamo_nb.graph import GraphSpec

        console.show(json.dumps(GraphSpec.model_json_schema(), indent=2))
        return None
    if not target:
        raise TargetError("what should be drawn?", remedy=f"{console.prefix} graph {console.target}")
    program = console.recipe(target, [], working_dir, None).program()
    drawn = str(program.graph) if form == "text" else program.graph.svg if form == "svg" else program.graph.dot.source
    if output is not None:
        output.write_text(drawn, encoding="utf-8")
    elif form == "text":
        return console.draw(target, program.graph)
    else:
        console.show(drawn)
    return None


@app.command()
def export(
    context: typer.Context,
    target: Annotated[str, typer.Argument(help="what to export; in a notebook the folder may stand alone")],
    folder: Annotated[Path | None, typer.Argument(help="where to")] = None,
    file: Files = None,
    working_dir: WorkingDir = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="where to")] = None,
    namespace: NamespaceOption = None,
) -> None:
    """Write a bundle: code, configuration and manifests that run the same graph elsewhere."""
    console = _console(context)
    where = folder or output

    def recipe() -> Any:
        if where is None:
            raise TargetError("where should the bundle go?", remedy="dynamo export module:Service bundle/")
        return console.recipe(target, file or [], working_dir, namespace)

    written = console.export(target, recipe, where or Path(target))
    console.show(f"wrote {written}")


@app.command()
def ps(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="as JSON")] = False,
) -> None:
    """List the deployments of this user on this machine."""
    from dynamo_nb.sdk.portal import portal

    found = portal.run(deployments())
    _console(context).show(json.dumps(found, indent=2) if as_json else in_columns(found))


@app.command()
def attach(
    context: typer.Context,
    which: Annotated[str | None, typer.Argument(help="id or name, if several run")] = None,
) -> Any:
    """Follow a deployment that runs; Ctrl-C leaves it running. In a notebook: take it up again."""
    return _console(context).attach(which)


@app.command()
def detach(
    context: typer.Context,
    which: Annotated[str | None, typer.Argument(help="id or name, if several run")] = None,
) -> None:
    """Let a deployment outlive the notebook or terminal that serves it."""
    console = _console(context)
    record = console.record(which)
    _ask(record, "detach")
    console.show(f"{record.id} goes on until `dynamo stop {record.id}`; `dynamo attach {record.id}` finds it again")


@app.command()
def stop(
    context: typer.Context,
    which: Annotated[str | None, typer.Argument(help="id or name, if several run")] = None,
) -> None:
    """Drain and stop a deployment."""
    console = _console(context)
    record = console.record(which)
    _ask(record, "stop", wait=True)
    console.show(f"stopped {record.id}")


@app.command()
def scale(
    context: typer.Context,
    workers: Annotated[list[str], typer.Argument(help="Service=number, …")],
    deployment: Which = None,
) -> None:
    """Change how many workers services have: dynamo scale Backend=4."""
    console = _console(context)
    counts = {}
    for word in workers:
        name, _, count = word.partition("=")
        try:
            counts[name] = int(count)
        except ValueError:
            raise DeploymentError(f"{word!r} is no Service=number", remedy="write it as Backend=4") from None
    record = console.record(deployment)
    console.show(summary(_change(console, record, "scale", workers=counts)))


@app.command()
def logs(
    context: typer.Context,
    service: Annotated[str | None, typer.Argument(help="this service only")] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="go on as lines come")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", help="how many of the last lines of each worker")] = 100,
    grep: Annotated[str, typer.Option(help="of these, the lines that match this regular expression")] = "",
    deployment: Which = None,
) -> None:
    """Show what workers printed, each line with its worker."""
    from dynamo_nb.control.logs import LogTail

    console = _console(context)
    record = console.record(deployment)
    known = set(_status(record).services)
    if service is not None and service not in known:
        raise DeploymentError(f"{record.id} has no service {service!r}", remedy=suggestion(service, known))
    pattern = _pattern(grep)
    with closing(LogTail(record.folder / "logs", service, lines)) as tail, console.until_interrupted():
        while True:
            going_on = follow and record.alive
            if found := [line for line in tail.read() if pattern.search(line)]:
                console.show("\n".join(found))  # at once: each message to a page costs as much as all of them
            if not going_on:
                return
            time.sleep(LogTail.PAUSE)


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise DynamoError(f"--grep {text!r} is no regular expression: {error}", remedy="escape it with \\") from None


@app.command()
def bench(
    context: typer.Context,
    target: Annotated[str, typer.Argument(help="frontend.generate")],
    payload: Annotated[
        str | None,
        typer.Option("-p", "--payload", help="JSON: arguments by name, or the one argument; @file.json, @lines.jsonl"),
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option("-c", "--concurrency", help="callers at once; with --rate, how many calls may wait [1; 1000]"),
    ] = None,
    rate: Annotated[float | None, typer.Option(help="calls a second, whatever comes of the earlier ones")] = None,
    duration: Annotated[float | None, typer.Option(help="seconds [10]")] = None,
    requests: Annotated[int | None, typer.Option("-n", "--requests", help="how many calls, instead of seconds")] = None,
    warmup: Annotated[float, typer.Option(help="seconds before, which are not counted")] = 0.0,
    timeout: Annotated[float | None, typer.Option(help="seconds for each call")] = None,
    background: Annotated[bool, typer.Option("--background", help="in a notebook: go on meanwhile")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the result as JSON")] = False,
    deployment: Which = None,
) -> Any:
    """Put a load on an endpoint and measure: dynamo bench frontend.generate --concurrency 64 --payload '"hello"'."""
    from dynamo_nb.observe.load_generator import LoadShape

    shape = LoadShape(concurrency, rate, duration, requests, warmup, timeout)
    console = _console(context)
    if background and console.terminal:
        raise DynamoError("--background is for notebooks", remedy="end the line with your shell's `&`")
    result = console.bench(deployment, target, payload, shape, background=background)
    if as_json and not background:
        console.show(json.dumps(result.as_dict()))
        return None
    return console.give(result)


@app.command("console")
def console_of(
    context: typer.Context,
    worker: Annotated[str, typer.Argument(help="Backend[0]; Backend is its first worker, Backend[*] all of them")],
    deployment: Which = None,
    attach: Annotated[bool, typer.Option("--open", help="attach this terminal; needs jupyter-console")] = False,
) -> None:
    """Tell how to attach a terminal, JupyterLab or a program to the kernel of a live worker."""
    from dynamo_nb.deployment.worker_kernels import insights, open_console

    console = _console(context)
    services = _status(console.record(deployment)).services
    found = insights(services, worker)
    if attach:
        open_console(found, terminal=console.terminal)
    else:
        console.show("\n\n".join(insight.ways() for insight in found))


@app.command("help")
def help_of(context: typer.Context, verb: Annotated[str | None, typer.Argument(help="serve, logs, …")] = None) -> None:
    """Show what a verb does, its options and examples."""
    root = context.find_root()
    commands: Any = root.command
    if verb is None:
        _console(context).show(root.get_help())
        return
    if verb not in commands.commands:
        raise DynamoError(f"dynamo has no verb {verb!r}", remedy=suggestion(verb, commands.commands))
    command = commands.commands[verb]
    _console(context).show(command.get_help(typer.Context(command, info_name=verb, parent=root)))


@app.command()
def trace(
    context: typer.Context,
    target: Annotated[str, typer.Argument(help="Service.endpoint")],
    payload: Annotated[
        str | None, typer.Option(help="""its arguments in JSON: '{"text": "hi"}', or @file.json""")
    ] = None,
    deployment: Which = None,
) -> Any:
    """Make one call and show where its time went: a waterfall of the calls across services."""
    from dynamo_nb.observe.request import Request

    console = _console(context)
    served = console.deployment(deployment)
    return console.give(served.trace(Request.parse(served, target, payload).call()).result())


@app.command()
def top(
    context: typer.Context,
    deployment: Which = None,
    once: Annotated[bool, typer.Option("--once", help="one table, of the last half second")] = False,
) -> None:
    """Show what passes through each service and worker, live: rates, latencies, errors, memory."""
    console = _console(context)
    console.top(console.record(deployment), once=once)


@app.command()
def clean(context: typer.Context) -> None:
    """Remove what a crash left behind: processes and folders of deployments whose supervisor is gone."""
    from dynamo_nb.control.cleanup import clear_remains

    console = _console(context)
    for line in clear_remains() or ["nothing is left behind"]:
        console.show(line)


# --- how they are done -------------------------------------------------------------------------------------------


def _dry_run(plan: Any) -> str:
    from dynamo_nb.supervisor.gpus import inventory

    need = sum(s.gpu * s.workers for s in plan.spec.started.values())
    placement = [
        f"  {name}: {s.workers} workers" + (f", {s.gpu:g} GPU each" if s.gpu else "")
        for name, s in plan.spec.started.items()
    ]
    gpus = ", ".join(g.id + (f" (busy: {g.busy})" if g.busy else "") for g in inventory()) or "none"
    return "\n".join(
        [
            "Service Configuration:",
            json.dumps(plan.config.as_json(), indent=2, default=str),
            "",
            "Origins:",
            plan.config.table(),
            "",
            "Graph:",
            str(plan.program.graph),
            "",
            f"Placement: {need:g} GPU needed; on this machine: {gpus}",
            *placement,
        ]
    )


def _ask(record: Any, verb: str, *, wait: bool = False, **args: Any) -> Any:
    """One request to a supervisor. wait: until it has gone."""
    from dynamo_nb.control.client import ask
    from dynamo_nb.sdk.portal import portal

    async def answer() -> Any:
        result = await ask(record.control, verb, **args)
        if wait:
            await record.supervisor.ended()
        return result

    return portal.run(answer())


def _status(record: Any) -> Status:
    from dynamo_nb.control.client import ask_status
    from dynamo_nb.sdk.portal import portal

    return portal.run(ask_status(record.control))


def _change(console: Console, record: Any, verb: str, **args: Any) -> Status:
    """One request that may take long; how far it has come is shown meanwhile."""
    from dynamo_nb.control.client import ControlClient
    from dynamo_nb.observe.progress import ProgressShown
    from dynamo_nb.sdk.portal import portal

    async def answer() -> Status:
        latest: list[Status] = []
        client = await ControlClient.connect(record.control, latest.append)
        try:
            latest.append(await client.watch())
            async with ProgressShown(lambda: latest[-1], record.folder / "logs", console.place):
                return await client.change(verb, **args)
        finally:
            await client.close()

    return portal.run(answer())


def split_words(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """(arguments of the verb, words of configuration). The latter: `--Service.key value` or `--Service.key=value`."""
    verb, words, rest = [], [], list(argv)
    while rest:
        token = rest.pop(0)
        key = token.removeprefix("--").partition("=")[0]
        if not token.startswith("--") or not ("." in key or key[:1].isupper()):
            verb.append(token)
            continue
        words.append(token)
        if "=" not in token and rest and _is_value(rest[0]):
            words.append(rest.pop(0))
    return verb, words


def _is_value(word: str) -> bool:
    from dynamo_nb.config.arguments import is_value

    return is_value(word)


def run(argv: Sequence[str], console: Console) -> Any:
    """Runs one command line. Raises DynamoError, also for a command line that cannot be understood."""
    verb, console.words = split_words(argv)
    command: Any = typer.main.get_command(app)
    with_examples(command.commands, console.prefix, console.target)
    if verb and not verb[0].startswith("-") and verb[0] not in command.commands:
        raise DynamoError(f"dynamo has no verb {verb[0]!r}", remedy=suggestion(verb[0], command.commands))
    try:
        shown = command.main(args=verb or ["--help"], prog_name=console.prefix, standalone_mode=False, obj=console)
    except _UsageError as error:
        context = getattr(error, "ctx", None)
        usage = context.get_usage() if context is not None else "dynamo --help"
        raise DynamoError(error.format_message(), remedy=usage) from None
    except typer.Abort:
        shown = _INTERRUPTED
    if shown == _INTERRUPTED:  # what Ctrl-C becomes on its way
        raise KeyboardInterrupt
    if isinstance(shown, int):  # what typer answers itself, `--help` for one, gives an exit status
        if shown:
            raise DynamoError(f"dynamo ended with status {shown}", remedy="see what it printed")
        return None
    return shown


def main() -> None:
    """The console script."""
    try:
        run(sys.argv[1:], Console())
    except DynamoError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
