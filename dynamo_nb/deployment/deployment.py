"""`Deployment`: a graph that is being served, as a person or a program uses it.

Length: one public class; most lines are its reference for users.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Coroutine, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from dynamo_nb.config.effective import EffectiveConfig
from dynamo_nb.control.logs import LogTail
from dynamo_nb.control.status import Status
from dynamo_nb.deployment.config_layers import Config, layers_of
from dynamo_nb.deployment.follower import Follower
from dynamo_nb.deployment.http_calls import HttpCalls
from dynamo_nb.deployment.loop_calls import LoopCall, LoopCalls
from dynamo_nb.deployment.plan_source import Check, PlanSource
from dynamo_nb.deployment.supervisor_connection import SupervisorConnection
from dynamo_nb.drawing.picture import Picture
from dynamo_nb.errors import DeploymentError, InvalidArgument, suggestion
from dynamo_nb.graph.graph import Graph
from dynamo_nb.graph.spec import GraphSpec
from dynamo_nb.observe.display import Display
from dynamo_nb.observe.event_table import Events, ServiceErrors
from dynamo_nb.observe.http_call import HttpCall
from dynamo_nb.program import Source
from dynamo_nb.runtime.connection_settings import ConnectionSettings
from dynamo_nb.runtime.service_client import ServiceClient
from dynamo_nb.sdk.call import Call
from dynamo_nb.sdk.definition import definition_of
from dynamo_nb.sdk.origin import origin_of
from dynamo_nb.sdk.portal import Pending, on_portal

if TYPE_CHECKING:
    from dynamo_nb.observe.bench_run import BenchRun
    from dynamo_nb.observe.route import Routes
    from dynamo_nb.observe.trace import Trace


T = TypeVar("T")
_UNSERVED: Final = "edited, not served"


class NotebookDisplay(Protocol):
    """The page of a notebook."""

    def show(self, deployment: Deployment, /) -> None:
        """Displays a deployment as output of the running cell."""


class Deployment:
    """A graph that is being served. `serve` and `attach` return one.

    `deployment.Backend` is a client of that service, the same kind of object as a dependency in a worker. A service
    with the name of a method is reached as `deployment["stop"]`. Methods that take time return a `Pending`: await it,
    or call `.result()`. A deployment is also a context manager, sync and async, that stops it at the end.

    Attributes:
        id: Unique on this machine; `attach` and `dynamo` find the deployment by it.
        folder: The state directory, with logs and code.
        listeners: Functions that are called with the deployment after each new status, on a background thread.
        served_with: Digest of the options of `serve`, to recognise equal options; None if they are not known.
        served_as: For an attached deployment, the variable in its serving cell; "" if it is not known.

    Example:
        Serve, call, scale and stop::

            deployment = await serve(Frontend)
            await deployment.Frontend.generate("hello world")
            await deployment.scale(Backend=4)
            await deployment.stop()
    """

    def __init__(
        self, connection: SupervisorConnection, source: PlanSource, notebook: NotebookDisplay | None = None
    ) -> None:
        """connection: open, and with a plan. source: where further plans come from. notebook: shows the deployment."""
        self.id = connection.id
        self.folder = connection.folder
        self.listeners: list[Callable[[Deployment], None]] = []
        self.served_with: str | None = None
        self.served_as = ""
        self.follower = Follower(connection, source)
        self._connection = connection
        self._calls = LoopCalls(connection)
        self._http = HttpCalls(connection)
        self._notebook = notebook
        self._failed_edits: frozenset[str] = frozenset()
        connection.on_status.append(self._notify)

    def _notify(self) -> None:
        for listener in list(self.listeners):
            listener(self)

    # --- what is served --------------------------------------------------------------------------------------------

    @property
    def status(self) -> Status:
        """The last status that the supervisor reported: services, their workers and states."""
        return self._connection.status

    @property
    def ended(self) -> bool:
        """True if the deployment has stopped."""
        return self.status.ended

    @property
    def connected(self) -> bool:
        """True if this process is connected to the supervisor."""
        return self._connection.connected

    @property
    def owned(self) -> bool:
        """True if the deployment stops when its owner exits, False if it was detached."""
        return self.status.owner is not None

    @property
    def spec(self) -> GraphSpec:
        """The GraphSpec that is served, with the current numbers of workers."""
        spec = self._connection.plan.spec
        # During a change the supervisor may report services that this plan lacks.
        desired = {name: s.desired for name, s in self.status.services.items() if name in spec.services}
        return spec.with_workers(desired)

    @property
    def graph(self) -> Graph:
        """The services and their edges, including edges that are not active."""
        return self._connection.plan.program.graph

    @property
    def config(self) -> EffectiveConfig:
        """The effective configuration, with the origin of each value."""
        return self._connection.plan.config

    @property
    def edited(self) -> frozenset[str]:
        """Services whose last edit failed or was interrupted. Their old version serves until an edit succeeds."""
        return self._failed_edits | self.follower.unserved

    def note_failed_edits(self, services: Collection[str]) -> None:
        """Sets the services whose cells failed.

        Args:
            services: Their names.
        """
        self._failed_edits = frozenset(services) & self.spec.started.keys()

    @property
    def program_source(self) -> Source:
        """The source of the program that is served, as plain data."""
        return self._connection.plan.program.source

    @property
    def notes(self) -> tuple[str, ...]:
        """Differences between the notebook and its workers, and keys of the configuration that nothing reads."""
        return self._connection.plan.notes

    @property
    def warnings(self) -> list[str]:
        """Warnings, such as HTTP listening on another port than the default."""
        return list(self.status.warnings)

    @property
    def events(self) -> Events:
        """The events of the deployment, oldest first: starts and ends of workers, changes, failures.

        They are displayed as a table, and remain after the end of the deployment.

        Example:
            The workers that ended by themselves::

                [event for event in deployment.events if event.kind == "worker ended"]
        """
        return Events(self._connection.events)

    @property
    def urls(self) -> dict[str, str]:
        """URL of the HTTP endpoints, by service."""
        return self.status.urls

    @property
    def metrics_url(self) -> str:
        """URL of the metrics for Prometheus."""
        return self.status.metrics_url

    @property
    def access(self) -> ConnectionSettings:
        """The settings to connect to NATS and the workers with a runtime of your own.

        Example:
            Connect to the same NATS server::

                runtime = await DistributedRuntime.connect(**vars(deployment.access))
        """
        return self._connection.access

    @property
    def picture(self) -> Picture:
        """The graph with the states of its services, to be drawn."""
        status = self.status
        states = {
            name: (
                status.state_of(name),
                ", ".join(filter(None, (self._note(name), _UNSERVED * (name in self.edited)))),
            )
            for name in status.services or self.spec.started
        }
        return self.spec.picture().with_states(states)

    def _note(self, name: str) -> str:
        """`1 of 2 ready`, or the progress of an update; "" if all desired workers are ready."""
        if updating := self.status.updating(name):
            return updating
        ready, desired = self.status.readiness_of(name)
        return (
            "" if ready == desired or self.status.state_of(name) in {"", "stopped"} else f"{ready} of {desired} ready"
        )

    # --- changes ---------------------------------------------------------------------------------------------------

    def update(self, *configs: Config, check: Check | None = None) -> Pending[Deployment]:
        """Applies the current code and configuration. Only services that have changed get new workers.

        Args:
            *configs: YAML files and mappings that override the earlier ones, also in later updates.
            check: "hold" to hold back a version for which calls of other services would fail, "warn" to replace
                services in any case. Default: the `check` of `serve`.

        Returns:
            A `Pending` of this deployment.

        Raises:
            ContractError: Calls between the services would fail. The old version keeps serving.
            DynamoError: As for `serve`. The old version keeps serving.

        Example:
            Change one value::

                await deployment.update({"Backend.suffix": "?"})
        """
        where = f"update(…), {origin_of(sys._getframe(1))}"
        return self._change(lambda: self.follower.update(layers_of(configs, where=where), check))

    def follow(self, *, again: bool = True) -> Pending[bool]:
        """Applies the changes of cells and files, if there are any. The notebook calls it after each cell.

        Args:
            again: Also try a change that failed the last time.

        Returns:
            A `Pending` of True if something was changed.

        Raises:
            ContractError: Calls between the services would fail. The old version keeps serving.
            DynamoError: As for `serve`. The old version keeps serving.
        """
        return self._pending(lambda: self.follower.follow(retry=again))

    def scale(self, **workers: int) -> Pending[Deployment]:
        """Sets the number of workers of services.

        Args:
            **workers: Number of workers, by service.

        Returns:
            A `Pending` of this deployment.

        Raises:
            DeploymentError: A service is not running.
            PlacementError: There are too few GPUs. Nothing has changed.
            StartError: A worker did not become ready. Nothing has changed.

        Example:
            Four workers of one service::

                await deployment.scale(Backend=4)
        """
        return self._change(lambda: self._connection.change("scale", workers=workers))

    def restart(self, service: str | type) -> Pending[Deployment]:
        """Replaces the workers of a service by new ones of the same version.

        Args:
            service: The service, or its name.

        Returns:
            A `Pending` of this deployment.

        Raises:
            DeploymentError: The service is not running.
            StartError: A new worker did not become ready. The old ones keep serving.
        """
        name = _name_of(service)
        return self._change(lambda: self._connection.change("restart", service=name))

    def detach(self) -> Pending[Deployment]:
        """Keeps the deployment running after its owner exits. `attach` and `dynamo ps` find it.

        Returns:
            A `Pending` of this deployment.
        """
        return self._change(self._connection.detach)

    def disconnect(self) -> Pending[None]:
        """Closes the connections of this process. The deployment keeps running, as long as its owner does."""

        async def run() -> None:
            await self._connection.close()
            await self._calls.close()
            self._notify()

        return self._pending(run)

    def stop(self) -> Pending[None]:
        """Drains and stops all workers. Done when no process of the deployment is left."""
        return self._pending(self._connection.stop)

    def _change(self, work: Callable[[], Coroutine[Any, Any, None]]) -> Pending[Deployment]:
        async def run() -> Deployment:
            await work()
            return self

        return self._pending(run)

    def _pending(self, work: Callable[[], Coroutine[Any, Any, T]]) -> Pending[T]:
        """Work of this deployment, on the portal's loop. A forked process gets an error at once."""

        async def run() -> T:
            self._connection.check_process()
            return await work()

        return Pending(lambda: on_portal(run))

    # --- observation -----------------------------------------------------------------------------------------------

    def metrics(self) -> Pending[dict[str, Any]]:
        """Returns the counters of `metrics_url` as plain data, since the start of the deployment.

        Returns:
            A `Pending` of a dict. A rate is the difference of two results, over the seconds between their `at`.

            - at: Seconds.
            - services: By name, with `ready` and `desired` workers, and `workers`: the served requests by worker id and
              endpoint. Workers that have ended count together as `ended`.
            - usage: Bytes of memory, percent of a core and seconds of CPU by worker, with all its child processes.
            - routes: Within a service, the requests of each HTTP route by worker, with their `statuses` (`2xx`).
            - edges: Source, target and endpoint, with the counts of the caller.
        """
        return self._pending(lambda: self._connection.request("metrics"))

    def routes(self, service: str | type | None = None) -> Pending[Routes]:
        """Returns the HTTP routes of the services, each with a `curl` line of an example request.

        Args:
            service: The service, or its name; None for all services that answer over HTTP.

        Returns:
            A `Pending` of the routes, displayed as a table. Routes of your own application are included.

        Raises:
            DeploymentError: The service does not answer over HTTP.
        """

        async def run() -> Routes:
            from dynamo_nb.observe.route import Routes

            return Routes([route for name in names for route in await self._http.routes(name)])

        names = list(self.urls) if service is None else [_name_of(service)]
        return self._pending(run)

    def http(self, target: str, payload: Any = None, *, headers: Mapping[str, str] | None = None) -> HttpCall:
        """Returns a request over HTTP as a call, for `await`, `async for`, `bench` and `trace`.

        Args:
            target: Method and path, such as `POST /generate`. If several services answer over HTTP, with the service:
                `Frontend POST /generate`.
            payload: Plain data to send as JSON, or as the query of a GET; or bytes.
            headers: Headers of the request.

        Returns:
            A call. Its answer is decoded JSON or text. The events of an SSE stream, the lines of newline-delimited
            JSON and the parts of a chunked text are the items of a stream.

        Raises:
            InvalidArgument: The target is not a route, or the payload cannot be encoded.
            NoSuchService: No such service answers over HTTP.

        Example:
            A request, and a load of it::

                await deployment.http("POST /generate", {"text": "hello"})
                await deployment.bench(deployment.http("POST /generate", {"text": "hello"}), concurrency=64)
        """
        return self._http.call(target, payload, headers or {})

    def errors(self, service: str | type = "") -> Pending[ServiceErrors]:
        """Returns the last distinct errors of endpoints, with counts, times and tracebacks.

        Errors of clients, such as invalid arguments and cancelled requests, are not included. An error of a called
        service is also counted at the caller, without a traceback.

        Args:
            service: The service, or its name; all services by default.

        Returns:
            A `Pending` of a tuple of `ServiceError`, the latest first, displayed as a table.

        Raises:
            DeploymentError: The service is not running.

        Example:
            The traceback of the last error::

                print((await deployment.errors("Backend"))[0].traceback)
        """

        async def run() -> ServiceErrors:
            name = _name_of(service)
            if name and name not in self.spec.started:
                raise DeploymentError(f"{name} is not running here", remedy=suggestion(name, self.spec.started))
            return ServiceErrors(await self._connection.errors(name))

        return self._pending(run)

    def trace(self, call: Call[Any]) -> Pending[Trace]:
        """Makes one call and records where its time goes.

        Args:
            call: A call of a service of this deployment, or a request from `http`, without `await`.

        Returns:
            A `Pending` of a Trace, displayed as a waterfall of the calls across services. It contains the error of a
            call that failed.

        Raises:
            InvalidArgument: The argument is not a call of a worker.

        Example:
            Trace a request::

                await deployment.trace(deployment.Frontend.generate("hello"))
        """

        async def gather(trace: str) -> Any:
            return await on_portal(lambda: self._connection.request("trace", trace=trace))

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
        """Repeats calls in turn, and measures latency and throughput. A thread of its own creates the load.

        Args:
            *calls: Calls of services of this deployment, or requests from `http`, without `await`.
            concurrency: Number of callers; each starts its next call when it has its answer. With `rate`: how many
                calls may wait for their answers at once.
            rate: Calls per second, started whether or not earlier ones were answered. Latency counts from the time at
                which a call was due.
            duration: Seconds; 10 by default.
            requests: Number of calls, instead of a duration.
            warmup: Seconds before, which are not counted.
            timeout: Seconds for each call.

        Returns:
            A run: await it for the result, or call `.start()` to run it in the background while cells change.

        Raises:
            InvalidArgument: An argument is not a call of this deployment.

        Example:
            Sixty-four callers for ten seconds::

                await deployment.bench(deployment.Frontend.generate("hello"), concurrency=64)
        """
        from dynamo_nb.observe.bench_run import BenchRun
        from dynamo_nb.observe.load_generator import LoadGenerator
        from dynamo_nb.observe.load_shape import LoadShape

        shape = LoadShape(concurrency, rate, duration, requests, warmup, timeout)
        over_http = [call for call in calls if isinstance(call, HttpCall)]
        if over_http and len(over_http) == len(calls):
            load = LoadGenerator(over_http[0].name, lambda: self._http.kept(over_http), shape, stream=True)
            return BenchRun(load, self.display)
        own = [call for call in calls if isinstance(call, LoopCall)]
        if not own or len(own) < len(calls):
            remedy = "write deployment.bench(deployment.Service.endpoint(…), concurrency=64)"
            raise InvalidArgument("bench takes calls of this deployment", remedy=remedy)
        load = LoadGenerator(own[0].name, lambda: self._calls.on_temporary_loop(own), shape, stream=own[0].stream)
        return BenchRun(load, self.display)

    def logs(self, service: str | type, lines: int = 100) -> str:
        """Returns the last log lines of the workers of a service.

        Args:
            service: The service, or its name.
            lines: Number of lines of each worker.

        Raises:
            DeploymentError: The service is not running.
        """
        name = _name_of(service)
        if name not in self.spec.started:
            raise DeploymentError(f"{name} is not running here", remedy=suggestion(name, self.spec.started))
        with closing(LogTail(self.folder / "logs", name, lines)) as tail:
            return "\n".join(tail.read())

    def export(self, folder: str | Path) -> Path:
        """Writes a bundle with the code, the GraphSpec and the Kubernetes manifests of what is served.

        Args:
            folder: Folder of the bundle. An earlier bundle there is replaced.

        Returns:
            The folder.

        Raises:
            BundleError: The folder contains something else, or the graph cannot be expressed in Kubernetes.
        """
        from dynamo_nb.bundle import export

        return export(self.spec, self._connection.plan.code, Path(folder))

    # --- services --------------------------------------------------------------------------------------------------

    def __getattr__(self, name: str) -> ServiceClient:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, service: str | type) -> ServiceClient:
        """Returns the client of a service. Raises NoSuchService."""
        return self._calls.service(_name_of(service))

    def __dir__(self) -> list[str]:
        return [*object.__dir__(self), *self._connection.plan.spec.started]

    # --- Python and IPython ----------------------------------------------------------------------------------------

    def __enter__(self) -> Deployment:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop().result()

    async def __aenter__(self) -> Deployment:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def display(self) -> Display:
        """Returns a new display, where the progress of changes and loads is shown."""
        return self._connection.display()

    def __repr__(self) -> str:
        lines = [f"deployment {self.id}" + (" (stopped)" if self.ended else "")]
        for name, service in self.status.started_services.items():
            url = f"  {service.url}" if service.url else ""
            lines.append(f"  {name:<20} {self.status.state_of(name):<9} {service.readiness} workers{url}")
        return "\n".join(lines)

    def _ipython_display_(self) -> None:
        if self._notebook is None:
            raise NotImplementedError  # IPython then uses the MIME bundle
        self._notebook.show(self)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        from dynamo_nb.drawing.mimebundle import mimebundle

        return {**mimebundle(self.picture), "text/plain": repr(self)}


def _name_of(service: str | type) -> str:
    return service if isinstance(service, str) else definition_of(service).name
