"""Runs cells in the kernels of workers, where `self` is the service object, and shows the outputs here.

A worker's kernel shares the event loop with the service: while a cell blocks, no requests are processed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import Empty
from typing import Any, Final

from dynamo_nb.deployment.deployment import Deployment
from dynamo_nb.deployment.worker_kernels import WorkerKernel, find_kernels, parse_worker
from dynamo_nb.errors import CellError, DeploymentError, suggestion

CONNECT_TIMEOUT: Final = 10.0
"""Seconds that a worker's kernel has to answer at first: a request may be blocking its event loop."""
_ALIVE_INTERVAL: Final = 0.2
"""Seconds between two checks that the worker is alive."""


def find(deployments: Sequence[Deployment], target: str) -> tuple[Deployment, list[WorkerKernel]]:
    """Finds the workers that a target names.

    Args:
        deployments: Deployments to search; the last one that serves the service is taken.
        target: `Backend[0]`, `Backend[*]`, or `Backend` for the first worker.

    Returns:
        The deployment, and the kernels of the workers.

    Raises:
        DeploymentError: The worker was not found, or it is not a kernel.
    """
    service, _ = parse_worker(target)
    running = [deployment for deployment in deployments if not deployment.ended]
    found = [deployment for deployment in running if service in deployment.spec.started]
    if not found:
        known = {name for deployment in running for name in deployment.spec.started}
        what = f"this notebook serves no service {service!r}" if known else "nothing is being served here"
        raise DeploymentError(what, remedy=suggestion(service, known) if known else "serve a graph first")
    return found[-1], find_kernels(found[-1].status.services, target)


def exec_in_workers(deployment: Deployment, kernels: Sequence[WorkerKernel], code: str) -> None:
    """Runs a cell in several workers at the same time, and shows their outputs one worker after another.

    Args:
        deployment: The deployment of the workers.
        kernels: The kernels of the workers.
        code: The cell.

    Raises:
        CellError: The first error of the cell, after it has ended in all workers. The workers continue to serve.
        DeploymentError: A kernel does not answer, or its worker has ended.
    """
    with _connected(kernels) as clients:
        requests = [client.execute(code, store_history=False, allow_stdin=False) for client in clients]
        errors = []
        for kernel, client, request in zip(kernels, clients, requests, strict=True):
            if len(kernels) > 1:
                print(f"{kernel.name}:")
            if (error := _show_outputs(deployment, kernel, client, request)) is not None:
                errors.append(error)
    if errors:
        raise errors[0]


@contextmanager
def _connected(kernels: Sequence[WorkerKernel]) -> Iterator[list[Any]]:
    from jupyter_client.blocking.client import BlockingKernelClient

    clients = []
    try:
        for kernel in kernels:
            client = BlockingKernelClient()
            client.load_connection_file(kernel.connection_file)
            clients.append(client)
            client.start_channels()
        for kernel, client in zip(kernels, clients, strict=True):
            try:
                client.wait_for_ready(timeout=CONNECT_TIMEOUT)
            except RuntimeError:
                raise DeploymentError(
                    f"the kernel of {kernel.name} did not answer within {CONNECT_TIMEOUT:g} s",
                    where=kernel.connection_file,
                    remedy="a request or a cell blocks its event loop; `%dynamo logs` may show which",
                ) from None
        yield clients
    finally:
        for client in clients:
            client.stop_channels()


def _show_outputs(deployment: Deployment, kernel: WorkerKernel, client: Any, request: str) -> CellError | None:
    """Shows the outputs of one request as they arrive. Returns the error that ended it, if there is one."""
    from IPython.display import display

    error = None
    while True:
        try:
            message = client.get_iopub_msg(timeout=_ALIVE_INTERVAL)
        except Empty:
            _check_alive(deployment, kernel)
            continue
        if message["parent_header"].get("msg_id") != request:
            continue
        kind, content = message["msg_type"], message["content"]
        if kind == "status" and content["execution_state"] == "idle":
            return error
        if kind == "stream":
            print(content["text"], end="")
        elif kind in {"display_data", "execute_result"}:
            display(content["data"], metadata=content["metadata"], raw=True)
        elif kind == "error":
            what = f"{content['ename']}: {content['evalue']}"
            error = CellError(what, where=kernel.name, traceback="\n".join(content["traceback"]))


def _check_alive(deployment: Deployment, kernel: WorkerKernel) -> None:
    service = kernel.name.partition("[")[0]
    found = deployment.status.services.get(service)
    if found is None or all(worker.id != kernel.worker_id for worker in found.workers):
        raise DeploymentError(f"{kernel.name} ended while the cell ran", remedy=f"`%dynamo logs {service}` shows why")
