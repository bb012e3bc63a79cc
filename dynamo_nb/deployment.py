"""`serve()` and the Deployment that it gives: the graph as it runs, in the hands of a person or a program."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import psutil

from dynamo_nb.config.arguments import arguments_layer
from dynamo_nb.config.effective import EffectiveConfig, resolve
from dynamo_nb.config.layers import Layer, env_layer, mapping_layer
from dynamo_nb.config.yaml_layer import yaml_layer
from dynamo_nb.deploy.control import ControlClient, Message
from dynamo_nb.deploy.home import CONTROL, ProcessId
from dynamo_nb.deploy.launch import new_options, start_supervisor
from dynamo_nb.deploy.logs import LogTail
from dynamo_nb.deploy.options import DRAIN_GRACE, METRICS_HOST, METRICS_PORT
from dynamo_nb.deploy.ports import DEFAULT_HOST, DEFAULT_PORT
from dynamo_nb.deploy.pulse import HANG_LIMIT
from dynamo_nb.errors import (
    ConfigError,
    ConnectError,
    DeploymentError,
    DynamoError,
    NoInstances,
    NoSuchService,
    Problem,
    nearest,
)
from dynamo_nb.graph.assemble import assemble
from dynamo_nb.graph.picture import Picture
from dynamo_nb.graph.spec import GraphSpec, ServiceSpec
from dynamo_nb.program import Program, live
from dynamo_nb.runtime.access import Access, Plane
from dynamo_nb.runtime.client import Client, RemoteCall
from dynamo_nb.runtime.distributed import DistributedRuntime
from dynamo_nb.runtime.service_client import Caller, ServiceClient
from dynamo_nb.runtime.tracing import TRACING
from dynamo_nb.sdk.call import Call, Pending, portal
from dynamo_nb.sdk.context import importing
from dynamo_nb.sdk.origin import origin_of
from dynamo_nb.sdk.service import definition_of
from dynamo_nb.source import CodeTree

T = TypeVar("T")
Config = str | Path | Mapping[str, Any] | Layer
_LAST_PORT = 2**16 - 1
NOTEBOOK = "__dynamo_notebook__"
"""Under which the notebook extension stands among a notebook's global names."""


@dataclass(frozen=True)
class Plan:
    """A program with its configuration: everything that a deployment is made from, before anything runs."""

    program: Program
    config: EffectiveConfig
    code: CodeTree
    spec: GraphSpec

    @classmethod
    def of(cls, program: Program, layers: Sequence[Layer], namespace: str | None = None, only: str = "") -> Plan:
        """only: start this one service alone.

        Raises ConfigError or SourceError with every fault that was found, DeploymentError if `only` is not started.
        """
        graph = program.graph
        definitions = [graph.services[name] for name in graph.running]
        known = set(graph.services) | graph.known
        config = resolve(definitions, [env_layer(), *program.layers, *layers], known=known, namespace=namespace)
        code = program.code()
        spec = assemble(graph, config, code, program.name)
        if only:
            if only not in spec.started:
                raise DeploymentError(f"the graph does not start {only}", remedy=nearest(only, spec.started))
            services = {n: s if n == only or not s.enabled else _elsewhere(s) for n, s in spec.services.items()}
            spec = spec.model_copy(update={"services": services})
        return cls(program, config, code, spec)

    def place(self, folder: Path) -> list[str]:
        """The entries of `sys.path` for workers; writes code out under `folder` if it stands nowhere yet."""
        if self.program.root is not None:
            return [str(self.program.root)]
        written = self.code.write(folder / "code" / self.code.digest.removeprefix("sha256:")[:16])
        return [str(written), str(self.program.cwd)]


def _elsewhere(service: ServiceSpec) -> ServiceSpec:
    return service.model_copy(update={"running": False})


@dataclass(frozen=True)
class Recipe:
    """How to make the plan again: after an edit, or with other configuration."""

    program: Callable[[], Program]
    layers: Callable[[], Sequence[Layer]]
    namespace: str | None = None
    only: str = ""

    def plan(self) -> Plan:
        return Plan.of(self.program(), self.layers(), self.namespace, self.only)


def layers_of(configs: Sequence[Config], args: Sequence[str] = (), where: str = "serve(…)") -> list[Layer]:
    """Configuration as people give it, lowest first: YAML files, mappings, and command-line words.

    Raises ConfigError with the place of what cannot be read.
    """
    layers = []
    for config in configs:
        if isinstance(config, Layer):
            layers.append(config)
        elif isinstance(config, Mapping):
            layers.append(mapping_layer(config, where))
        else:
            layers.append(yaml_layer(config))
    return [*layers, arguments_layer(args)] if args else layers


def serve(
    entry: type,
    *configs: Config,
    name: str = "",
    namespace: str | None = None,
    nats: str | None = None,
    nats_credentials: str | Path | None = None,
    nats_tls: str | Path | None = None,
    host: str | None = None,
    secret: str | None = None,
    tls: str | Path | None = None,
    plane: Plane | None = None,
    http_host: str | None = None,
    http_port: int | None = None,
    metrics_host: str | None = None,
    metrics_port: int | None = None,
    detach: bool = False,
    kernels: bool = True,
    grace: float = DRAIN_GRACE,
    hang: float = HANG_LIMIT,
) -> Pending[Deployment]:
    """Serves the graph of `entry`: `deployment = await serve(Frontend, "config.yaml", {"Backend.suffix": "!"})`.

    entry: the service to begin at; with the links of the caller's module or notebook.
    configs: YAML files and mappings (dotted keys nest), a later one over an earlier one.
    name: of the deployment (default: the entry's). namespace: moves the whole graph there.
    nats: URL of a NATS server with JetStream (default: NATS_SERVER, else one of its own).
    nats_credentials: a `.creds` file (NATS_CREDS). nats_tls: a folder with its ca.crt (NATS_TLS).
    host: address on which workers accept calls from other machines (default: this machine only).
    secret: what those must know (DYNAMO_SECRET; default: the token in the URL of NATS).
    tls: a folder with ca.crt, tls.crt and tls.key, to encrypt calls between machines (DYNAMO_TLS).
    plane: "nats" where no direct connection can be made (DYNAMO_PLANE; default: "direct").
    http_host, http_port: for HTTP endpoints (default: DYNAMO_HOST, DYNAMO_PORT, else 127.0.0.1:8000; 0: a free port).
    metrics_host, metrics_port: where Prometheus finds the metrics (default: DYNAMO_METRICS_HOST, DYNAMO_METRICS_PORT,
    else 127.0.0.1 and a free port, which `Deployment.metrics_url` names).
    detach: outlives this process. kernels: workers are Jupyter kernels that one can look into.
    grace: seconds that a worker has to finish the requests it holds before it is stopped.
    hang: seconds that a worker's event loop may be blocked, by a cell in its kernel too, before the worker is replaced;
    0: for ever.

    Await it, or call `.result()` where nothing can be awaited. It returns when every worker is ready; on any error
    nothing is left running. Raises ConfigError or SourceError with every fault, LinkError, PlacementError for too few
    GPUs or a port that is taken, ConnectError if NATS does not answer, StartError if a worker does not become ready.
    """
    frame = sys._getframe(1)
    space = frame.f_globals
    where = f"serve(…), {origin_of(frame)}"
    name_of_entry = definition_of(entry).name
    if module := importing.get():
        remedy = 'put it under `if __name__ == "__main__":`'
        raise DeploymentError(f"importing {module} would serve {name_of_entry} again", where=where, remedy=remedy)
    in_notebook = notebook_state(space)

    def program() -> Program:
        current = space.get(entry.__name__, entry) if in_notebook is not None else entry
        return live(current, space, in_notebook.cells() if in_notebook is not None else None, name)

    def layers() -> list[Layer]:
        cells = in_notebook.config_layers() if in_notebook is not None else []
        return layers_of([*cells, *configs], where=where)

    access = Access.of(
        nats_url=nats, nats_credentials=nats_credentials, nats_tls=nats_tls, secret=secret, plane=plane, tls=tls
    )
    options = serving_options(
        access,
        host=host,
        http_host=http_host,
        http_port=http_port,
        metrics_host=metrics_host,
        metrics_port=metrics_port,
        kernels=kernels,
        grace=grace,
        hang=hang,
    )
    recipe = Recipe(program, layers, namespace)
    return Pending(lambda: on_portal(lambda: start(recipe, options, detach=detach, notebook=in_notebook)))


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

    def mimebundle(self, deployment: Deployment, still: dict[str, str], **kwargs: Any) -> Any:
        """How a deployment shows itself here. still: its forms for where nothing lives."""
        raise NotImplementedError


def notebook_state(space: Mapping[str, Any]) -> Notebook | None:
    """The notebook whose global names are `space`, if the extension is loaded there."""
    state = space.get(NOTEBOOK)
    return state if isinstance(state, Notebook) else None


def serving_options(
    access: Access,
    *,
    host: str | None = None,
    http_host: str | None = None,
    http_port: int | None = None,
    kernels: bool = True,
    grace: float = DRAIN_GRACE,
    hang: float = HANG_LIMIT,
    metrics_host: str | None = None,
    metrics_port: int | None = None,
) -> dict[str, Any]:
    """Options of the supervisor, from what was given or the environment. Raises ConfigError for what is no port."""
    return {
        "access": access,
        "host": host,
        "http_host": http_host or os.environ.get("DYNAMO_HOST") or DEFAULT_HOST,
        "http_port": port_of(http_port, "DYNAMO_PORT", DEFAULT_PORT),
        "metrics_host": metrics_host or os.environ.get("DYNAMO_METRICS_HOST") or METRICS_HOST,
        "metrics_port": port_of(metrics_port, "DYNAMO_METRICS_PORT", METRICS_PORT),
        "kernels": kernels,
        "grace": grace,
        "hang": hang,
    }


def port_of(given: int | None, variable: str, default: int) -> int:
    """A TCP port: the given one, else that of an environment variable. Raises ConfigError if it is none."""
    text = str(given) if given is not None else os.environ.get(variable) or str(default)
    if not text.isdecimal() or int(text) > _LAST_PORT:
        problem = Problem(f"{text} is no port", origin="" if given is not None else variable)
        raise ConfigError([problem], remedy=f"give one from 1 to {_LAST_PORT}, or 0 for a free one")
    return int(text)


INTERRUPTIBLE = 0.2
"""Seconds after which a cell that waits for a deployment notices that it was interrupted."""


async def on_portal(start: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Runs a coroutine on the portal's loop, from any loop: a deployment's own connections live there.

    When it is cancelled it returns after the coroutine has undone what it began.
    """
    here = asyncio.get_running_loop()
    if here is portal.loop:
        return await start()
    ended = asyncio.Event()
    tasks: list[asyncio.Task[T]] = []

    def begin() -> None:
        tasks.append(portal.loop.create_task(start()))
        tasks[0].add_done_callback(lambda _: here.is_closed() or here.call_soon_threadsafe(ended.set))

    def cancel() -> None:
        tasks[0].cancel()

    portal.loop.call_soon_threadsafe(begin)
    try:
        # A signal does not wake the loop of an ipykernel: one that only waits would notice an interrupt at the end.
        waiting = asyncio.ensure_future(ended.wait())
        while not waiting.done():
            await asyncio.wait([waiting], timeout=INTERRUPTIBLE)
    except asyncio.CancelledError:
        portal.loop.call_soon_threadsafe(cancel)
        await ended.wait()
        raise
    return tasks[0].result()


async def start(
    recipe: Recipe, options: dict[str, Any], *, detach: bool = False, notebook: Notebook | None = None
) -> Deployment:
    """Begins a deployment: everything that can be checked is checked before the first process."""
    plan = recipe.plan()
    http = any(service.http for service in plan.spec.started.values())
    chosen = new_options(plan.spec.name, detach=detach, http=http, **options)
    await start_supervisor(chosen)
    deployment = Deployment(Path(chosen.folder), recipe, notebook)
    try:
        await deployment._open()
        # The first call needs a client of NATS: imported while the workers start.
        await asyncio.gather(deployment._apply(plan), asyncio.to_thread(import_module, "nats.aio.client"))
    except BaseException:
        await asyncio.shield(deployment._stop())
        raise
    if notebook is not None:
        notebook.started(deployment)
    return deployment


class Deployment:
    """A GraphSpec being served.

    `deployment.Backend` is a client of that service, the same kind of object that a dependency is, and so is
    `deployment["Backend"]`. Every method that takes time gives a Pending: await it, or call `.result()`. `state` is
    what was last heard from the supervisor.
    """

    def __init__(self, folder: Path, recipe: Recipe, notebook: Notebook | None = None) -> None:
        self.id = folder.name
        self.folder = folder
        self.state: Message = {}
        self.listeners: list[Callable[[Deployment], None]] = []
        self._recipe = recipe
        self._notebook = notebook
        self._plan: Plan | None = None
        self._refused: GraphSpec | str | None = None
        self._control: ControlClient | None = None
        self._supervisor: ProcessId | None = None
        self._runtimes: dict[asyncio.AbstractEventLoop, asyncio.Task[DistributedRuntime]] = {}
        self._clients: dict[tuple[DistributedRuntime, str, str, str], Client] = {}
        self._closing: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()

    # --- on the portal's loop -------------------------------------------------------------------------------------

    async def _open(self) -> None:
        self._control = await ControlClient.connect(self.folder / CONTROL, self._heard)
        self._heard(await self._control.request("watch"))
        with suppress(psutil.NoSuchProcess):
            self._supervisor = ProcessId.of(self.state["pid"])
        self._closing = asyncio.create_task(self._follow_end())

    def _heard(self, state: Message) -> None:
        self.state = state
        for listener in list(self.listeners):
            listener(self)

    async def _follow_end(self) -> None:
        assert self._control is not None
        await self._control.wait_closed()
        await self._control.close()
        for service in self.state.get("services", {}).values():
            service.update(state="stopped" if service["state"] else "", workers=[])
        self._heard({**self.state, "ended": True})
        await self._close_runtimes()

    async def _close_runtimes(self) -> None:
        runtimes, self._runtimes = self._runtimes, {}
        self._clients.clear()

        async def close(task: asyncio.Task[DistributedRuntime]) -> None:
            await (await task).close()

        for loop, task in runtimes.items():
            if loop is portal.loop:
                await close(task)
            elif not loop.is_closed():
                asyncio.run_coroutine_threadsafe(close(task), loop)

    async def _request(self, verb: str, **args: Any) -> Any:
        if self._control is None or self._control.closed:
            raise DeploymentError(f"the deployment {self.id} has stopped", remedy="serve the graph again")
        return await self._control.request(verb, **args)

    async def _apply(self, plan: Plan) -> None:
        path = plan.place(self.folder)
        spec = plan.spec.model_dump()
        self._heard(await self._request("apply", spec=spec, path=path, cwd=str(plan.program.cwd)))
        self._plan = plan

    async def _follow(self, *, again: bool) -> bool:
        assert self._plan is not None
        before, self._refused = self._refused, None
        try:
            plan = self._recipe.plan()
        except DynamoError as error:
            self._refused = str(error)
            if self._refused == before and not again:
                return False
            raise
        wanted = _apart_from_places(plan.spec)
        if wanted == _apart_from_places(self._plan.spec):
            self._plan = plan  # a cell that was run again unchanged: only its number is another
            return False
        if wanted != before or again:
            self._refused = wanted
            await self._apply(plan)
            self._refused = None
            return True
        self._refused = before
        return False

    async def _stop(self) -> None:
        if self._control is None:
            with suppress(ConnectError):
                self._control = await ControlClient.connect(self.folder / CONTROL)
        if self._control is not None and not self._control.closed:
            with suppress(ConnectError):  # it may be about to go by itself
                await self._control.request("stop")
            await self._control.wait_closed()
        if self._closing is not None:
            await self._closing
        if self._supervisor is not None:
            await self._supervisor.ended()

    async def _leave(self) -> None:
        """Closes the connections; what runs goes on."""
        if self._closing is not None:
            self._closing.cancel()
        if self._control is not None:
            await self._control.close()
        await self._close_runtimes()

    # --- what a person uses ---------------------------------------------------------------------------------------

    @property
    def spec(self) -> GraphSpec:
        """What is being served, with the number of workers that services were scaled to."""
        assert self._plan is not None
        spec = self._plan.spec
        # During a change the supervisor may already tell of services that the plan lacks.
        wanted = {n: s["wanted"] for n, s in self.state.get("services", {}).items() if n in spec.services}
        return spec.with_workers(wanted)

    @property
    def config(self) -> EffectiveConfig:
        """The effective configuration, with the origin of every value."""
        assert self._plan is not None
        return self._plan.config

    @property
    def notes(self) -> tuple[str, ...]:
        """What the notebook has and these workers do not: lines about cells that changed a value in place."""
        assert self._plan is not None
        return self._plan.code.notes

    @property
    def ended(self) -> bool:
        return bool(self.state.get("ended"))

    @property
    def urls(self) -> dict[str, str]:
        """Service to the URL of its HTTP endpoints."""
        services = self.state.get("services", {})
        found = {name: [w["url"] for w in s["workers"] if w["url"]] for name, s in services.items()}
        return {name: urls[0] for name, urls in found.items() if urls}

    @property
    def metrics_url(self) -> str:
        """The page of metrics for Prometheus."""
        return str(self.state.get("metrics_url", ""))

    @property
    def picture(self) -> Picture:
        """The graph with the states of its services, to draw."""
        services = self.state.get("services", {})
        return self.spec.picture().with_states({n: (s["state"], _note(s)) for n, s in services.items()})

    def update(self, *configs: Config) -> Pending[Deployment]:
        """Makes the deployment be what the code and the configuration say now, doing the least that reaches it.

        configs: go over those it was served with, and stay. Raises what `serve` does; the deployment is then as it was
        before.
        """
        where = f"update(…), {origin_of(sys._getframe(1))}"

        async def run() -> Deployment:
            added = layers_of(configs, where=where)
            async with self._changing:
                kept = self._recipe.layers
                recipe = replace(self._recipe, layers=lambda: [*kept(), *added]) if configs else self._recipe
                await self._apply(recipe.plan())
                self._recipe = recipe
            return self

        return Pending(lambda: on_portal(run))

    def follow(self, *, again: bool = True) -> Pending[bool]:
        """Does what `update` does if anything has changed; gives whether it had.

        again: also what was tried last, and failed.
        """

        async def run() -> bool:
            async with self._changing:
                return await self._follow(again=again)

        return Pending(lambda: on_portal(run))

    def scale(self, **workers: int) -> Pending[Deployment]:
        """Changes how many workers services have: `await deployment.scale(Backend=4)`.

        Raises DeploymentError for a service that is not running, PlacementError or StartError if more cannot be had;
        the deployment is then as it was before.
        """

        async def run() -> Deployment:
            self._heard(await self._request("scale", workers=workers))
            return self

        return Pending(lambda: on_portal(run))

    def restart(self, service: str | type) -> Pending[Deployment]:
        """Replaces a service's workers by new ones of the same version.

        Raises DeploymentError if it is not running, StartError if a new worker does not become ready; the old ones
        then keep serving.
        """
        name = service if isinstance(service, str) else definition_of(service).name

        async def run() -> Deployment:
            self._heard(await self._request("restart", service=name))
            return self

        return Pending(lambda: on_portal(run))

    def metrics(self) -> Pending[dict[str, Any]]:
        """The numbers of the page as plain data, counted since the deployment began.

        `services`: by name, with `ready` and `wanted` workers, and `workers`: by id and endpoint, the requests that
        each served; those that have ended count together as `ended`. `edges`: source, target and endpoint, with the
        same counts from the caller's side. Rates are differences between two of them.
        """

        async def run() -> dict[str, Any]:
            numbers: dict[str, Any] = await self._request("metrics")
            return numbers

        return Pending(lambda: on_portal(run))

    def stop(self) -> Pending[None]:
        """Drains and stops everything; returns when no process of the deployment is left."""
        return Pending(lambda: on_portal(self._stop))

    def export(self, folder: str | Path) -> Path:
        """Writes the bundle: the code, the GraphSpec and the manifests of exactly what is served.

        Raises BundleError when `folder` is something else than a bundle, or the graph has no form in Kubernetes.
        """
        from dynamo_nb.bundle import export

        assert self._plan is not None
        return export(self.spec, self._plan.code, Path(folder))

    def logs(self, service: str | type, lines: int = 100) -> str:
        """The last lines that each worker of a service printed. Raises DeploymentError if it is not running."""
        name = service if isinstance(service, str) else definition_of(service).name
        if name not in self.spec.started:
            raise DeploymentError(f"{name} is not running here", remedy=nearest(name, self.spec.started))
        with closing(LogTail(self.folder / "logs", name, lines)) as tail:
            return "\n".join(tail.read())

    def __getattr__(self, name: str) -> ServiceClient:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, service: str | type) -> ServiceClient:
        """A client of any service, also of one whose name is no attribute: `deployment["stop"]`.

        Raises NoSuchService.
        """
        name = service if isinstance(service, str) else definition_of(service).name
        plan = self.__dict__.get("_plan")
        if plan is None or name not in plan.spec.started:
            known = plan.spec.started if plan is not None else []
            raise NoSuchService(f"the deployment serves no {name!r}", where=self.id, remedy=nearest(name, known))
        definition = plan.program.graph.services[name]
        namespace = plan.spec.services[name].namespace

        def call_of(endpoint: str) -> Caller:
            async def client() -> Client:
                self._check_workers(name)
                TRACING.notice()  # what a person has configured since the last call
                runtime = await self._runtime()
                key = runtime, namespace, name, endpoint
                if key not in self._clients:  # kept, so that calls take turns among the workers
                    opened = await runtime.namespace(namespace).component(name).endpoint(endpoint).client()
                    self._clients.setdefault(key, opened)
                return self._clients[key]

            def call(args: tuple[Any, ...], kwargs: dict[str, Any], *, receive: Any = None) -> Call[Any]:
                return _Opening(client, args, kwargs, receive)

            return call

        return ServiceClient(name, definition.cls, definition.endpoints, call_of)

    def _check_workers(self, name: str) -> None:
        """Raises NoInstances for a service that is meant to have none, since waiting for one would be in vain."""
        service = self.state["services"].get(name, {})
        if service.get("wanted") == 0 and not service["workers"]:
            remedy = f"give it some: deployment.scale({name}=1), or `dynamo scale {name}=1`"
            raise NoInstances(f"{name} has 0 workers", where=self.id, remedy=remedy)

    async def _runtime(self) -> DistributedRuntime:
        """The connections of the loop that is running: each loop has its own."""
        if self.ended:
            raise DeploymentError(f"the deployment {self.id} has stopped", remedy="serve the graph again")
        loop = asyncio.get_running_loop()
        connecting = self._runtimes.get(loop)
        if connecting is None:
            connecting = asyncio.create_task(DistributedRuntime.connect(**self.state["access"]))
            self._runtimes[loop] = connecting
        try:
            return await asyncio.shield(connecting)
        except ConnectError:
            if self._runtimes.get(loop) is connecting:
                del self._runtimes[loop]  # the next call tries again
            raise

    def __dir__(self) -> list[str]:
        return [*object.__dir__(self), *(self._plan.spec.started if self._plan is not None else [])]

    def __enter__(self) -> Deployment:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop().result()

    async def __aenter__(self) -> Deployment:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def __repr__(self) -> str:
        services = {n: s for n, s in self.state.get("services", {}).items() if s["state"]}
        lines = [f"deployment {self.id}" + (" (stopped)" if self.ended else "")]
        for name, service in services.items():
            ready = sum(w["state"] == "ready" for w in service["workers"])
            url = f"  {self.urls[name]}" if name in self.urls else ""
            lines.append(f"  {name:<20} {service['state']:<9} {ready}/{service['wanted']} workers{url}")
        return "\n".join(lines)

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        from dynamo_nb.graph.draw import mimebundle

        still = {**mimebundle(self.picture), "text/plain": repr(self)}
        return still if self._notebook is None else self._notebook.mimebundle(self, still, **kwargs)


def _apart_from_places(spec: GraphSpec) -> GraphSpec:
    return spec.model_copy(update={"origins": {}})


def _note(service: Mapping[str, Any]) -> str:
    ready = sum(worker["state"] == "ready" for worker in service["workers"])
    return f"{ready} of {service['wanted']} ready" if service["state"] and ready != service["wanted"] else ""


@dataclass(eq=False)
class _Opening(Call[Any]):
    """A call whose client is made when it begins, on the loop that it begins on."""

    client: Callable[[], Awaitable[Client]]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    receive: Callable[[Any], Any] | None

    async def _call(self) -> RemoteCall[Any]:
        return RemoteCall(await self.client(), self.args, self.kwargs, self.options, self.receive)

    async def _answer(self) -> Any:
        return await (await self._call())

    def __await__(self) -> Generator[Any, None, Any]:
        return self._answer().__await__()

    async def _items(self) -> AsyncIterator[Any]:
        items = aiter(await self._call())
        try:
            async for item in items:
                yield item
        finally:
            await items.aclose()

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._items()


__all__ = ["Deployment", "Notebook", "Plan", "Recipe", "layers_of", "serve"]
