"""A dry run: what `serve` or a worker would refuse, found without starting a process."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from dynamo_nb.config.constructor import constructor_arguments
from dynamo_nb.control import state_dir
from dynamo_nb.control.options import Options
from dynamo_nb.control.release import Release
from dynamo_nb.deployment.plan import Plan
from dynamo_nb.deployment.serve_options import ServeOptions
from dynamo_nb.drawing.text import text
from dynamo_nb.errors import ConfigError, DynamoError, PlacementError, Problem, summary_of
from dynamo_nb.graph.spec import GraphSpec
from dynamo_nb.sdk.service_config import VARIABLE
from dynamo_nb.supervisor.desired import Desired
from dynamo_nb.supervisor.ending_deployments import ending_holders
from dynamo_nb.supervisor.gpu_allocator import GpuAllocator
from dynamo_nb.supervisor.gpus import inventory
from dynamo_nb.supervisor.metrics_page import MetricsPage
from dynamo_nb.supervisor.ports import Ports, configured_port

_SECRETS: Final = ("secret", "metrics_token")
CHECK: Final = "dynamo_check_config"
"""A class method that a service may have. It is called with the arguments of the constructor, and raises a DynamoError
for what a worker would refuse."""


def report(plan: Plan, options: ServeOptions) -> str:
    """Describes configuration, options of the program, graph and placement.

    Args:
        plan: The plan.
        options: The options in force.
    """
    spec = plan.spec
    needed = sum(service.gpu * service.workers for service in spec.started.values())
    found = inventory(os.getpid())
    gpus = ", ".join(gpu.id + (f" (busy: {gpu.busy})" if gpu.busy else "") for gpu in found.gpus) or "none"
    return "\n".join(
        [
            "Service Configuration:",
            json.dumps(plan.config.as_json(), indent=2, default=str),
            "",
            "Origins:",
            plan.config.table(),
            *plan.program.notes,
            *(f"note: {mismatch}" for mismatch in plan.mismatches),
            "",
            *_options_of(plan, options),
            "Graph:",
            text(spec.picture()),
            "",
            f"Placement: {needed:g} GPU needed; on this machine: {gpus}"
            + (f" ({found.reason})" if found.reason else ""),
            *(f"  {warning}" for warning in dict.fromkeys(gpu.warning for gpu in found.gpus if gpu.warning)),
            *(
                f"  {name}: {service.workers} workers" + (f", {service.gpu:g} GPU each" if service.gpu else "")
                for name, service in spec.started.items()
            ),
        ]
    )


def _options_of(plan: Plan, options: ServeOptions) -> list[str]:
    """The options of the program that the user did not override, with their origin."""
    program = plan.program
    in_force = {"name": plan.spec.name, "namespace": plan.namespace, **vars(options)}
    shown = {
        name: "…" if name in _SECRETS else value
        for name, value in program.options.items()
        if name in in_force and in_force[name] == value
    }
    lines = [f"  {name}: {value}  {program.options_origin}" for name, value in shown.items()]
    return ["Options:", *lines, ""] if lines else []


def problems(plan: Plan, options: ServeOptions) -> list[DynamoError]:
    """Returns the errors for which `serve` would fail with these options, as far as they can be found without it."""
    found: list[DynamoError] = []

    def note(check: Callable[[], object]) -> None:
        try:
            check()
        except PlacementError as error:
            if not ending_holders():  # else `serve` waits
                found.append(error)
        except DynamoError as error:
            found.append(error)

    note(lambda: Desired(Release(plan.spec)))
    note(lambda: _reserve_ports(plan.spec, options.resolve()))
    note(lambda: _listen_for_others(options.worker_host))
    if not found:  # such as a million workers
        note(lambda: _allocate_gpus(plan.spec))
    for name, service in plan.spec.services.items():
        if service.running and (service.workers or not service.enabled):
            note(partial(_check_service, plan, name))
    return found


def _reserve_ports(spec: GraphSpec, options: Options) -> None:
    ports = Ports(options.http_host, options.http_port, required=options.http_port_required)
    try:
        for name, service in spec.started.items():
            if service.http:
                ports.reserve(name, configured_port(spec.config, name))
    finally:
        ports.close()
    MetricsPage(options.metrics_host, options.metrics_port, options.metrics_token, _no_metrics).close()


def _listen_for_others(host: str | None) -> None:
    """Opens a port on which workers would listen for other machines, if they should. Raises PlacementError."""
    if host is None:
        return
    try:
        socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        raise PlacementError(
            f"workers cannot listen on {host}: {error.strerror or error}",
            where="--worker-host",
            remedy="use an address of this machine, or 0.0.0.0 for all of them",
        ) from None


async def _no_metrics() -> dict[str, Any]:
    return {}


def _allocate_gpus(spec: GraphSpec) -> None:
    gpus = GpuAllocator(state_dir.root() / "gpus", partial(inventory, os.getpid()))
    try:
        for name, service in spec.started.items():
            for index in range(service.workers):
                gpus.take(f"{name}.{index}", service.gpu)
    finally:
        gpus.close()


def _check_service(plan: Plan, name: str) -> None:
    definition = plan.program.graph.services[name]
    if (check := getattr(definition.cls, CHECK, None)) is None:
        return
    with _configuration(plan.spec):
        arguments = constructor_arguments(definition)
        try:
            check(**arguments)
        except DynamoError:
            raise
        except SystemExit as error:
            fault = Problem(f"its parser exits with {error.code!r}; its message is printed above", name)
            raise ConfigError([fault]) from None
        except Exception as error:
            # The service may need what only a worker has, such as its dependencies.
            print(f"{name}: the configuration could not be checked: {summary_of(error)}")


@contextmanager
def _configuration(spec: GraphSpec) -> Iterator[None]:
    """Sets the configuration that a worker would have."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = json.dumps(spec.config)
    try:
        yield
    finally:
        os.environ.pop(VARIABLE, None)
        if before is not None:
            os.environ[VARIABLE] = before
