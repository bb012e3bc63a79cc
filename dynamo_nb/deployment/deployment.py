"""A Deployment: the graph as it runs, in the hands of a person or a program."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Sequence
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import psutil

from dynamo_nb.config.effective import EffectiveConfig
from dynamo_nb.control.client import ControlClient
from dynamo_nb.control.logs import LogTail
from dynamo_nb.control.release import Release
from dynamo_nb.control.state_dir import CONTROL, ProcessId
from dynamo_nb.control.status import ClientStatus, ServiceStatus, Status
from dynamo_nb.deployment.notebook_seam import Notebook
from dynamo_nb.deployment.plan import Config, Plan, Recipe, layers_of
from dynamo_nb.deployment.snapshot import memo, plan_of, recipe_of
from dynamo_nb.drawing.picture import Picture
from dynamo_nb.errors import (
    ConnectError,
    DeploymentError,
    DynamoError,
    InvalidArgument,
    NoInstances,
    NoSuchService,
    suggestion,
)
from dynamo_nb.graph.graph import Graph
from dynamo_nb.graph.spec import GraphSpec
from dynamo_nb.observe.display import Display, Nowhere
from dynamo_nb.observe.progress import ProgressReport
from dynamo_nb.runtime.client import Client
from dynamo_nb.runtime.connection_settings import Access
from dynamo_nb.runtime.distributed_runtime import DistributedRuntime
from dynamo_nb.runtime.remote_call import RemoteCall
from dynamo_nb.runtime.service_client import Caller, ServiceClient
from dynamo_nb.runtime.tracing import TRACING
from dynamo_nb.sdk.call import Call
from dynamo_nb.sdk.definition import definition_of
from dynamo_nb.sdk.origin import origin_of
from dynamo_nb.sdk.portal import Pending, on_portal, portal

if TYPE_CHECKING:
    from dynamo_nb.observe.bench_run import BenchRun
    from dynamo_nb.observe.trace import Trace

T = TypeVar("T")

OPEN: set[Deployment] = set()
"""Those that this process is connected to, whether or not a name of the program still holds them."""


class Deployment:
    """A GraphSpec being served.

    `deployment.Backend` is a client of that service, the same kind of object that a dependency is, and so is
    `deployment["Backend"]`. Every method that takes time gives a Pending: await it, or call `.result()`. `status` is
    what the supervisor reported last. `served_with`: the options that `serve` was given here, None if it was not.
    """

    def __init__(self, folder: Path, recipe: Recipe | None = None, notebook: Notebook | None = None) -> None:
        self.id = folder.name
        self.folder = folder
        self.status = Status(id=folder.name, folder=str(folder))
        self.listeners: list[Callable[[Deployment], None]] = []
        self.served_with: tuple[Any, ...] | None = None
        self.display: Callable[[], Display] = notebook.place if notebook is not None else Nowhere
        self._recipe = recipe
        self._notebook = notebook
        self._plan: Plan | None = None
        self._plan_id = ""
        self._asked: dict[str, Plan] = {}
        self._own: GraphSpec | None = None  # what this client made of it last, whatever others do
        self._learning: asyncio.Task[None] | None = None
        self._refused: GraphSpec | str | None = None
        self._access = Access()
        self._control: ControlClient | None = None
        self._supervisor: ProcessId | None = None
        self._runtimes: dict[asyncio.AbstractEventLoop, asyncio.Task[DistributedRuntime]] = {}
        self._clients: dict[tuple[DistributedRuntime, str, str, str], Client] = {}
        self._closing: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()

    # --- on the portal's loop -------------------------------------------------------------------------------------

    async def _open(self) -> None:
        OPEN.add(self)
        self._control = await ControlClient.connect(self.folder / CONTROL, self._heard)
        title = self._notebook.title if self._notebook is not None else ""
        self._heard(await self._control.watch(ClientStatus.here(title)))
        self._access = Access(**await self._control.request("access"))
        with suppress(psutil.NoSuchProcess):
            self._supervisor = ProcessId.of(self.status.pid)
        self._closing = asyncio.create_task(self._follow_end())

    async def _learn(self) -> None:
        """Finds out what another client has made of the deployment, or what was made of it before this one came."""
        release = Release.from_data(await self._request("release"))
        plan = plan_of(self.folder, release.spec, release.snapshot)
        self._serves(plan, release.id)
        if self._recipe is None:
            self._own = plan.spec
            self._recipe = recipe_of(plan, release.snapshot, self._notebook)

    async def _learn_anew(self) -> None:
        with suppress(DynamoError):  # it may have stopped since
            await self._learn()
            self._heard(self.status)

    def _serves(self, plan: Plan, plan_id: str) -> None:
        self._plan, self._plan_id, self._asked = plan, plan_id, {}
        for connecting in self._runtimes.values():
            if connecting.done() and not connecting.cancelled() and not connecting.exception():
                connecting.result().own = _components(plan.spec)

    def _heard(self, status: Status) -> None:
        self.status = status
        plan_id = status.release
        if plan_id in self._asked:
            # Also where whoever asked for it was interrupted, and does not know that it came to pass.
            self._own = self._asked[plan_id].spec
            self._serves(self._asked[plan_id], plan_id)
        elif plan_id != self._plan_id and self._plan is not None and not self.ended:
            self._learning = asyncio.ensure_future(self._learn_anew())
        for listener in list(self.listeners):
            listener(self)

    async def _follow_end(self) -> None:
        assert self._control is not None
        await self._control.wait_closed()
        await self._control.close()
        self._heard(self.status.stopped())
        await self._close_runtimes()
        OPEN.discard(self)

    async def _close_runtimes(self) -> None:
        runtimes, self._runtimes = self._runtimes, {}
        self._clients.clear()

        async def close(task: asyncio.Task[DistributedRuntime]) -> None:
            with suppress(DynamoError):  # it may never have been connected
                await (await task).close()

        for loop, task in runtimes.items():
            if loop is portal.loop:
                await close(task)
            elif not loop.is_closed():
                asyncio.run_coroutine_threadsafe(close(task), loop)

    def _connected(self) -> ControlClient:
        if self._control is None or self._control.closed:
            raise DeploymentError(f"the deployment {self.id} has stopped", remedy="serve the graph again")
        return self._control

    async def _request(self, verb: str, **args: Any) -> Any:
        return await self._connected().request(verb, **args)

    async def _change(self, verb: str, **args: Any) -> None:
        """A request that may take as long as models take to load; how far it has come is shown meanwhile."""
        async with ProgressReport(lambda: self.status, self.folder / "logs", self.display):
            self._heard(await self._connected().change(verb, **args))

    async def _apply(self, plan: Plan) -> None:
        path = tuple(plan.place(self.folder))
        release = Release(plan.spec, path, str(plan.program.cwd), snapshot=memo(plan))
        self._asked[release.id] = plan
        await self._change("apply", release=release.as_data())

    async def _become(self, recipe: Recipe, plan: Plan) -> None:
        """Makes it what another recipe says, which it follows from now on."""
        async with self._changing:
            await self._apply(plan)
            self._recipe = recipe

    async def _follow(self, *, again: bool) -> bool:
        assert self._plan is not None
        assert self._recipe is not None
        # What another process has its life with follows that one's cells; who looks on can `update` it.
        if not self._recipe.follows() or self.status.owner not in {None, os.getpid()}:
            return False
        before, self._refused = self._refused, None
        try:
            plan = self._recipe.plan()
        except DynamoError as error:
            self._refused = str(error)
            if self._refused == before and not again:
                return False
            raise
        wanted = _apart_from_places(plan.spec)
        if wanted == _apart_from_places(self._own or plan.spec):
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
        OPEN.discard(self)
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
        desired = {name: s.desired for name, s in self.status.services.items() if name in spec.services}
        return spec.with_workers(desired)

    @property
    def graph(self) -> Graph:
        """The services and the edges between them, also those that are not active."""
        assert self._plan is not None
        return self._plan.program.graph

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
    def owned(self) -> bool:
        """Whether it stops when the process that it shares its life with ends; else it was detached."""
        return self.status.owner is not None

    @property
    def warnings(self) -> list[str]:
        """Warnings, such as HTTP listening on another port than the default."""
        return list(self.status.warnings)

    @property
    def ended(self) -> bool:
        return self.status.ended

    @property
    def urls(self) -> dict[str, str]:
        """Service name to the URL of its HTTP endpoints."""
        return self.status.urls

    @property
    def metrics_url(self) -> str:
        """The page of metrics for Prometheus."""
        return self.status.metrics_url

    @property
    def picture(self) -> Picture:
        """The graph with the states of its services, to draw."""
        services = self.status.services
        return self.spec.picture().with_states({name: (s.state, _note(s)) for name, s in services.items()})

    def update(self, *configs: Config) -> Pending[Deployment]:
        """Makes the deployment be what the code and the configuration say now, doing the least that reaches it.

        configs: go over those it was served with, and stay. Raises what `serve` does; the deployment is then as it was
        before.
        """
        where = f"update(…), {origin_of(sys._getframe(1))}"

        async def run() -> Deployment:
            added = layers_of(configs, where=where)
            assert self._recipe is not None
            async with self._changing:
                recipe = replace(self._recipe, added=(*self._recipe.added, *added))
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
            await self._change("scale", workers=workers)
            return self

        return Pending(lambda: on_portal(run))

    def restart(self, service: str | type) -> Pending[Deployment]:
        """Replaces a service's workers by new ones of the same version.

        Raises DeploymentError if it is not running, StartError if a new worker does not become ready; the old ones
        then keep serving.
        """
        name = service if isinstance(service, str) else definition_of(service).name

        async def run() -> Deployment:
            await self._change("restart", service=name)
            return self

        return Pending(lambda: on_portal(run))

    def metrics(self) -> Pending[dict[str, Any]]:
        """The numbers of the page as plain data, counted since the deployment began.

        `services`: by name, with `ready` and `desired` workers, and `workers`: by id and endpoint, the requests that
        each served; those that have ended count together as `ended`. `usage`: bytes of memory of each worker with all
        that it started. `edges`: source, target and endpoint, with the same counts from the caller's side. Rates are
        differences between two of them, over the seconds between their `at`.
        """

        async def run() -> dict[str, Any]:
            numbers: dict[str, Any] = await self._request("metrics")
            return numbers

        return Pending(lambda: on_portal(run))

    def detach(self) -> Pending[Deployment]:
        """Lets it outlive the process that serves it; `attach` or `dynamo ps` finds it again."""

        async def run() -> Deployment:
            self._heard(await self._connected().change("detach"))
            return self

        return Pending(lambda: on_portal(run))

    def trace(self, call: Call[Any]) -> Pending[Trace]:
        """Makes a call, and shows where its time went: `await deployment.trace(deployment.Frontend.generate("hello"))`.

        Gives a Trace, shown as a waterfall of the calls across services. An error of the call is part of it.
        """

        async def gather(trace: str) -> Any:
            return await on_portal(lambda: self._request("trace", trace=trace))

        async def run() -> Trace:
            from dynamo_nb.observe.trace import trace_call

            return await trace_call(call, gather)

        return Pending(run)

    def bench(
        self,
        *calls: Call[Any],
        concurrency: int | None = None,
        rate: float | None = None,
        duration: float | None = None,
        requests: int | None = None,
        warmup: float = 0.0,
        timeout: float | None = None,
    ) -> BenchRun:
        """Makes these calls again and again, in turn, and measures: `await deployment.bench(deployment.A.b("x"))`.

        concurrency: callers at once, each of which asks again when it has its answer. rate: calls a second instead,
        whatever comes of the earlier ones; at most `concurrency` of them wait at once, and latency counts from the
        moment that each was meant for. duration: seconds (10). requests: how many calls instead. warmup: seconds before
        that are not counted. timeout: seconds for each call.

        The load is made by a thread of its own. `.start()` begins it in the background, where cells can be changed
        meanwhile. Raises InvalidArgument for what is no call of this deployment.
        """
        from dynamo_nb.observe.bench_run import BenchRun
        from dynamo_nb.observe.load_generator import LoadGenerator
        from dynamo_nb.observe.load_shape import LoadShape

        shape = LoadShape(concurrency, rate, duration, requests, warmup, timeout)
        opening = [call for call in calls if isinstance(call, _Opening)]
        if not opening or len(opening) < len(calls):
            remedy = "write deployment.bench(deployment.Service.endpoint(…), concurrency=64)"
            raise InvalidArgument("bench takes calls of this deployment", remedy=remedy)

        @asynccontextmanager
        async def opened() -> AsyncIterator[Sequence[Call[Any]]]:
            await self._runtime()
            try:
                yield calls
            finally:
                await self._release()

        load = LoadGenerator(opening[0].name, opened, shape, stream=opening[0].stream)
        return BenchRun(load, self.display)

    async def _release(self) -> None:
        """Closes the connections of the loop that runs: it ends."""
        if (connecting := self._runtimes.pop(asyncio.get_running_loop(), None)) is not None:
            runtime = await connecting
            for key in list(self._clients):
                if key[0] is runtime:
                    del self._clients[key]
            await runtime.close()

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
            raise DeploymentError(f"{name} is not running here", remedy=suggestion(name, self.spec.started))
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
            raise NoSuchService(f"the deployment serves no {name!r}", where=self.id, remedy=suggestion(name, known))
        definition = plan.program.graph.services[name]
        namespace = plan.spec.services[name].namespace

        def call_of(endpoint: str) -> Caller:
            stream = definition.endpoints[endpoint].stream

            async def client() -> Client:
                self._check_workers(name)
                TRACING.detect()  # what a person has configured since the last call
                runtime = await self._runtime()
                key = runtime, namespace, name, endpoint
                if key not in self._clients:  # kept, so that calls take turns among the workers
                    opened = await runtime.namespace(namespace).component(name).endpoint(endpoint).client()
                    self._clients.setdefault(key, opened)
                return self._clients[key]

            def call(args: tuple[Any, ...], kwargs: dict[str, Any], *, receive: Any = None) -> Call[Any]:
                return _Opening(client, args, kwargs, receive, f"{name}.{endpoint}", stream)

            return call

        return ServiceClient(name, definition.cls, definition.endpoints, call_of)

    def _check_workers(self, name: str) -> None:
        """Raises NoInstances for a service that is meant to have none, since waiting for one would be in vain."""
        service = self.status.services.get(name)
        if service is not None and service.desired == 0 and not service.workers:
            remedy = f"give it some: deployment.scale({name}=1), or `dynamo scale {name}=1`"
            raise NoInstances(f"{name} has 0 workers", where=self.id, remedy=remedy)

    async def _runtime(self) -> DistributedRuntime:
        """The connections of the loop that is running: each loop has its own."""
        if self.ended:
            raise DeploymentError(f"the deployment {self.id} has stopped", remedy="serve the graph again")
        loop = asyncio.get_running_loop()
        connecting = self._runtimes.get(loop)
        if connecting is None:
            own = _components(self.spec)
            connecting = asyncio.create_task(DistributedRuntime.connect(**vars(self._access), graph=self.id, own=own))
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
        lines = [f"deployment {self.id}" + (" (stopped)" if self.ended else "")]
        for name, service in self.status.started_services.items():
            url = f"  {service.url}" if service.url else ""
            lines.append(f"  {name:<20} {service.state:<9} {service.readiness} workers{url}")
        return "\n".join(lines)

    def _ipython_display_(self) -> None:
        if self._notebook is None:
            raise NotImplementedError  # the forms below are shown
        self._notebook.show(self)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        from dynamo_nb.drawing.mimebundle import mimebundle

        return {**mimebundle(self.picture), "text/plain": repr(self)}


def _components(spec: GraphSpec) -> frozenset[str]:
    """The components of which the deployment has workers."""
    return frozenset(f"{service.namespace}/{service.name}" for service in spec.started.values())


def _apart_from_places(spec: GraphSpec) -> GraphSpec:
    return spec.model_copy(update={"origins": {}})


def _note(service: ServiceStatus) -> str:
    """`1 of 2 ready`; "" where all desired workers are."""
    partly = service.started and service.state != "stopped" and service.ready != service.desired
    return f"{service.ready} of {service.desired} ready" if partly else ""


@dataclass(eq=False, repr=False)
class _Opening(Call[Any]):
    """A call whose client is made when it begins, on the loop that it begins on. name: `Backend.generate`."""

    client: Callable[[], Awaitable[Client]]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    receive: Callable[[Any], Any] | None
    name: str
    stream: bool

    async def _call(self) -> RemoteCall[Any]:
        return RemoteCall((await self.client()).selection, self.args, self.kwargs, self.options, self.receive)

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
