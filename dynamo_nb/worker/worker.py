"""A worker: builds one service, serves it and stops it.

It imports the service's module, builds the object with its dependencies, runs its start hooks, and only then registers
its endpoints. The same worker runs in a Jupyter kernel and in a plain process.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import socket
import sys
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dynamo_nb.config.constructor import constructor_arguments
from dynamo_nb.control.events import ServiceError
from dynamo_nb.errors import DynamoError, readable, summary_of, traceback_of
from dynamo_nb.runtime.distributed_runtime import DistributedRuntime
from dynamo_nb.runtime.http import application, endpoint_routes, http_endpoints
from dynamo_nb.runtime.http_routes import HttpRoutes
from dynamo_nb.runtime.http_traffic import HttpTraffic
from dynamo_nb.runtime.meters import Reading
from dynamo_nb.runtime.recorded_errors import ERRORS, RecordedError
from dynamo_nb.runtime.routing import POLICIES, Policy
from dynamo_nb.runtime.service_client import ServiceClient
from dynamo_nb.runtime.spans import SPANS, parts_of
from dynamo_nb.runtime.tracing import TRACING
from dynamo_nb.sdk.call import PolicyName
from dynamo_nb.sdk.context import EndpointName, dynamo_context, import_services
from dynamo_nb.sdk.definition import ServiceDefinition, definition_of, is_service
from dynamo_nb.sdk.dependency import Dependency, dependencies_of
from dynamo_nb.sdk.endpoint import Endpoint
from dynamo_nb.sdk.hooks import hooks_of, run_hook, run_hooks
from dynamo_nb.sdk.service_config import VARIABLE, ServiceConfig
from dynamo_nb.worker.launch import Assignment
from dynamo_nb.worker.unlinked import unlinked_error

if TYPE_CHECKING:
    from dynamo_nb.runtime.http_server import HttpServer

logger = logging.getLogger(__name__)

HOOK_TIME: Final = 2.0
"""Seconds of a worker's grace, at most half of it, that are kept for the shutdown hooks, after HTTP requests."""
LONGEST_RESULT: Final = 200
"""Characters of a liveness hook's result that are reported."""
_OWN_VARIABLES: Final = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", VARIABLE)
"""Environment variables that a deployment sets for each worker."""
LIVENESS_LIMIT: Final = 10.0
"""Seconds for one liveness hook; an engine that has to answer through its own queue may take some."""


def load(target: str) -> ServiceDefinition:
    """Imports `module:Class`. A module cannot change the environment variables of the deployment."""
    module, _, name = target.partition(":")
    before = {variable: os.environ.get(variable) for variable in _OWN_VARIABLES}
    try:
        return definition_of(getattr(import_services(module), name))
    finally:
        for variable, value in before.items():
            if (changed := os.environ.get(variable)) != value:
                _set_back(module, variable, changed, value)


def _set_back(module: str, variable: str, changed: str | None, value: str | None) -> None:
    os.environ.pop(variable, None)
    if value is not None:
        os.environ[variable] = value
    print(
        f"importing {module} set {variable}={changed}; the worker keeps {value!r}, which the deployment set", flush=True
    )


def _declared(dependency: Dependency, name: str, owner: type) -> ServiceDefinition | None:
    """The service of this name that a dependency declares; one that it names by a string is in its owner's module."""
    candidates = [dependency.target]
    if isinstance(dependency.target, str):
        candidates = [value for base in owner.__mro__ for value in vars(sys.modules[base.__module__]).values()]
    definitions = (definition_of(value) for value in candidates if isinstance(value, type) and is_service(value))
    return next((definition for definition in definitions if definition.name == name), None)


class Worker:
    """One worker: `prepare`, `serve` and `stop`, in this order.

    Args:
        assignment: service to run.
        listener: socket from which it accepts HTTP connections; None without HTTP endpoints.

    Attributes:
        assignment: service to run.
        service: the object; None before `prepare` has built it.
        runtime: its connections; None before `prepare`.
    """

    def __init__(self, assignment: Assignment, listener: socket.socket | None = None) -> None:
        self.assignment = assignment
        self._listener = listener
        self.service: Any = None
        self.runtime: DistributedRuntime | None = None
        self._locals: list[Any] = []
        self._names: dict[str, str] = {}  # component's address -> service name
        self._http: HttpServer | None = None
        self._traffic: HttpTraffic | None = None
        self._definition: ServiceDefinition | None = None
        self._stopped = False

    async def prepare(self) -> None:
        """Builds the service and runs its start hooks. Raises what the service raises."""
        own = self.assignment
        TRACING.configure(own.service, own.worker_id)
        self.runtime = await DistributedRuntime.connect(
            **vars(own.access),
            socket_dir=Path(own.socket_dir) if own.socket_dir else None,
            host=own.host,
            graph=own.graph,
            shared=own.shared,
            own=own.own,
            version=own.version,
            capacity=own.capacity,
            worker_id=own.worker_id,
        )
        self.runtime.server.timeout = own.timeout
        definition = self._definition = load(own.targets[own.service])
        namespace, name = definition.cls.dynamo_address()  # type: ignore[attr-defined]
        identity = self.runtime.instance_id
        dynamo_context.update(
            runtime=self.runtime,
            component=self.runtime.namespace(namespace).component(name),
            endpoints=[EndpointName(e.name, identity) for e in definition.endpoints.values() if e.served],
            namespace=namespace,
            worker_id=own.worker_id,
            instance_id=identity,
            folder=Path(own.folder) if own.folder else None,
        )
        self._names[f"{namespace}/{name}"] = own.service
        self.service = await self._build(definition)
        TRACING.detect()  # the service may have configured OpenTelemetry itself

    async def _build(self, definition: ServiceDefinition) -> Any:
        cls: Any = definition.cls
        service = cls.__new__(cls)
        for attribute, name in self.assignment.bindings.get(definition.name, {}).items():
            dependency = dependencies_of(cls)[attribute]
            service.__dict__[attribute] = None if name is None else await self._connect(name, dependency, cls)
        try:
            service.__init__(**constructor_arguments(definition, ServiceConfig.get_instance()))
            await run_hooks(service, "start")
        except AttributeError as error:
            if (unlinked := unlinked_error(error)) is not None:
                raise unlinked from None
            raise
        return service

    async def _connect(self, name: str, dependency: Dependency, owner: type) -> Any:
        """The value of a dependency: a client, or the service itself if it is not `enabled`."""
        if not self.assignment.enabled.get(name, True):
            local = await self._build(load(self.assignment.targets[name]))
            self._locals.append(local)
            return local
        # The declared class may be an interface only: the imports of the service itself need not be installed here.
        definition = _declared(dependency, name, owner) or load(self.assignment.targets[name])
        assert self.runtime is not None
        self._names["/".join(definition.cls.dynamo_address())] = name  # type: ignore[attr-defined]
        return await connect_service(self.runtime, definition, dependency.policy)

    async def serve(self) -> str:
        """Registers the endpoints and opens the HTTP port. Returns its URL; "" without HTTP endpoints."""
        assert self._definition is not None
        assert self.runtime is not None
        endpoints = self._definition.endpoints
        url = ""
        answers_http = bool(http_endpoints(endpoints)) or self._definition.app is not None
        if self.assignment.http is not None and self._listener is not None and answers_http:
            from dynamo_nb.runtime.http_server import HttpServer  # slow to import, for workers without HTTP endpoints

            host, port = self.assignment.http
            component = "/".join(self._definition.cls.dynamo_address())  # type: ignore[attr-defined]
            meters = self.runtime.server.meters
            app = application(self.service, endpoints, self._definition.app, component, meters, unlinked_error)
            own = self.assignment
            self._traffic = HttpTraffic(HttpRoutes(app), component, endpoint_routes(endpoints))
            self._http = HttpServer(app, self._listener, own.keep_alive, own.timeout, self._traffic)
            await self._http.start()
            url = f"http://{host}:{port}"
        namespace, name = self._definition.cls.dynamo_address()  # type: ignore[attr-defined]
        handlers = {e.name: self._handler(e) for e in endpoints.values() if e.served}
        if handlers:
            once = [e.name for e in endpoints.values() if e.served and not e.retry]
            contracts = {e.name: e.contract() for e in endpoints.values() if e.served}
            await self.runtime.namespace(namespace).component(name).serve(handlers, contracts, once=once)
        return url

    def _handler(self, endpoint: Endpoint) -> Any:
        def handle(args: Sequence[Any], kwargs: dict[str, Any], _context: Any) -> Any:
            return endpoint.start(self.service, args, kwargs)

        if not endpoint.output.plain:
            handle.pack = endpoint.output.pack  # type: ignore[attr-defined]
        handle.explain = unlinked_error  # type: ignore[attr-defined]
        handle.__qualname__ = f"{self.assignment.service}.{endpoint.attribute}"  # used in errors
        return handle

    async def reconfigure(self, config: str, version: str) -> None:
        """Changes the configuration of the running service.

        Args:
            config: the text of DYNAMO_SERVICE_CONFIG.
            version: version that its instances register from then on.

        Raises:
            BaseException: what a `reconfigure` hook raised; the configuration stays as it was.
        """
        assert self._definition is not None
        assert self.runtime is not None
        before, os.environ[VARIABLE] = os.environ.get(VARIABLE, ""), config
        try:
            section = ServiceConfig.get_instance().get(self.assignment.service, {})
            for hook in hooks_of(type(self.service), "reconfigure"):
                await run_hook(self.service, hook, section)
        except BaseException:
            os.environ[VARIABLE] = before
            raise
        self.runtime.version = version
        namespace, name = self._definition.cls.dynamo_address()  # type: ignore[attr-defined]
        if self.runtime.discovery.registration(namespace, name) is not None:
            await self.runtime.namespace(namespace).component(name).serve({})

    @property
    def is_lost(self) -> bool:
        """True if callers lose sight of it, because somebody has cancelled its heartbeats."""
        return self.runtime is not None and self.runtime.discovery.is_lost

    @property
    def has_liveness(self) -> bool:
        return any(hooks_of(type(service), "liveness") for service in self._built_services())

    async def liveness_fault(self) -> str:
        """Runs the liveness hooks. Returns the first fault: one returned false, raised, or took too long; else ""."""
        for service in self._built_services():
            for hook in hooks_of(type(service), "liveness"):
                name = f"{type(service).__name__}.{hook}"
                try:
                    async with asyncio.timeout(LIVENESS_LIMIT) as bound:
                        answer = await run_hook(service, hook)
                        if not answer:
                            return f"{name} returned {readable(repr(answer), LONGEST_RESULT)}"
                except BaseException as error:
                    if (task := asyncio.current_task()) is not None and task.cancelling():
                        raise  # the worker ends
                    if bound.expired():
                        return f"{name} did not answer within {LIVENESS_LIMIT:g} s"
                    return f"{name} raised {summary_of(error)}"
        return ""

    def _built_services(self) -> list[Any]:
        """The service, and those that run in this process because they are not `enabled`."""
        return [service for service in [self.service, *reversed(self._locals)] if service is not None]

    def measured(self) -> Reading:
        """Returns the counts of `served` and `called` requests by service and endpoint, and by HTTP route.

        Any thread may call it.
        """
        counted: Reading = {"served": {}, "called": {}}
        for direction, readings in (self.runtime.measured() if self.runtime is not None else {}).items():
            for path, reading in readings.items():
                component, _, endpoint = path.rpartition("/")
                service = self._names.get(component, component)
                counted[direction].setdefault(service, {})[endpoint] = reading
        if self._traffic is not None:
            counted["routes"] = self._traffic.read()
            counted["served"].setdefault(self.assignment.service, {}).update(self._traffic.read_own())
        return counted

    async def routes(self) -> dict[str, Any] | None:
        """Returns the routes of the HTTP application with examples, see `HttpRoutes.load`; None without HTTP."""
        if self._traffic is None or self._definition is None:
            return None
        described = await asyncio.to_thread(self._traffic.routes.load)
        examples = endpoint_routes(self._definition.endpoints)
        routes = []
        for route in described["routes"]:
            endpoint = examples.get(f"{route['method']} {route['path']}")
            if endpoint is not None and (example := await self._example(endpoint)) is not None:
                route = {**route, "example": example}  # noqa: PLW2901
            routes.append(route)
        return {**described, "routes": routes}

    async def _example(self, endpoint: Endpoint) -> Any:
        try:
            example = endpoint.example(self.service) if callable(endpoint.example) else endpoint.example
            return await example if inspect.isawaitable(example) else example
        except Exception:  # from the user's function; the route is shown without an example
            logger.warning("the example of %s cannot be created", endpoint.where, exc_info=True)
            return None

    def http_requests(self, after: int) -> list[dict[str, Any]]:
        """Returns the latest requests over HTTP with numbers greater than `after`. Any thread may call it."""
        return self._traffic.latest(after) if self._traffic is not None else []

    def raised(self) -> list[ServiceError]:
        """Returns the errors of endpoints since the last call."""
        return [self._named(error) for error in ERRORS.take()]

    def _named(self, error: RecordedError) -> ServiceError:
        namespace, component, endpoint = error.path.split("/", 2)
        own = self.assignment.service
        return ServiceError(
            id=error.id,
            service=self._names.get(f"{namespace}/{component}", component) if component else own,
            endpoint=endpoint,
            kind=error.kind,
            message=error.message,
            line=error.line,
            raised_by=error.raised_by,
            count=error.new,
            first=error.first,
            last=error.last,
            traceback=error.traceback,
        )

    def spans(self, trace: str | None = None) -> list[dict[str, Any]]:
        """The spans of a trace, or of all traces, in this process; their paths have service names. From any thread."""
        return [{**span, "path": self._name_of(span["path"])} for span in SPANS.read(trace)]

    def _name_of(self, path: str) -> str:
        """`Service/endpoint` for a path, whose component may have another name than the service."""
        component, endpoint = parts_of(path)
        return f"{self._names.get(component, component)}/{endpoint}"

    async def stop(self, grace: float | None = None) -> None:
        """Takes no new requests, finishes those in flight, runs the shutdown hooks and closes the connections.

        A second call does nothing.

        Args:
            grace: seconds after which the process is killed; HTTP requests are cancelled earlier. None for no limit.
        """
        if self._stopped:
            return
        self._stopped = True
        # Side by side: while an HTTP request goes on, other services must not send new ones.
        await _run_guarded(asyncio.gather(*(_run_guarded(step) for step in self._draining(grace))))
        for service in self._built_services():
            for hook in hooks_of(type(service), "shutdown"):
                await _run_guarded(run_hook(service, hook))
        if self.runtime is not None:
            with suppress(DynamoError, asyncio.TimeoutError):
                await self.runtime.close()
        await TRACING.flush()

    def _draining(self, grace: float | None) -> list[Awaitable[Any]]:
        steps: list[Awaitable[Any]] = []
        if self._http is not None:
            steps.append(self._http.stop(max(grace - HOOK_TIME, grace / 2) if grace is not None else None))
        if self.runtime is not None:
            steps.append(self.runtime.drain())
        return steps


async def _run_guarded(step: Awaitable[Any]) -> None:
    """Runs one step of stopping. What it raises is logged, and the steps after it still run.

    That includes CancelledError: a hook that awaits its own cancelled task raises it, and a hook that cancels all
    tasks of the event loop cancels the one that stops the worker.
    """
    try:
        await step
    except BaseException as error:
        with suppress(Exception):  # the log cannot be written, such as on a full disk
            print(traceback_of(error, error.__traceback__), file=sys.stderr, end="")
    task = asyncio.current_task()
    while task is not None and task.cancelling():
        with suppress(asyncio.CancelledError):  # not delivered yet
            await asyncio.sleep(0)
        task.uncancel()


async def connect_service(
    runtime: DistributedRuntime, definition: ServiceDefinition, policy: PolicyName | Policy | None = None
) -> ServiceClient:
    """A client of a service in another worker. It shares the connections of the runtime's other clients."""
    namespace, name = definition.cls.dynamo_address()  # type: ignore[attr-defined]
    component = runtime.namespace(namespace).component(name)
    clients = {
        e.name: await component.endpoint(e.name).client(
            POLICIES[policy]() if isinstance(policy, str) else policy, e.contract()
        )
        for e in definition.endpoints.values()
        if e.served
    }
    return ServiceClient(definition.name, definition.cls, definition.endpoints, clients.__getitem__)
