"""Looking inside a live worker: cells that run in its kernel, with `self` bound to the service, and are shown here.

A worker's kernel shares its event loop with the service: requests pass while a cell awaits, and not while it blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import Empty
from typing import Any

from dynamo_nb.deployment.deployment import Deployment
from dynamo_nb.deployment.worker_kernels import Insight, insights, parse
from dynamo_nb.errors import CellError, DeploymentError, suggestion

GREETING = 10.0
"""Seconds for a worker's kernel to answer at first: its loop may be busy with a request that blocks."""
_LOOK = 0.2
"""Seconds between two looks at whether the worker still lives."""


def find(deployments: Sequence[Deployment], target: str) -> tuple[Deployment, list[Insight]]:
    """The workers that `Backend[0]`, `Backend[*]` or `Backend` (the first one) names, and whose they are.

    Raises DeploymentError for a worker that is not there, or is no kernel.
    """
    service, _ = parse(target)
    deployments = [deployment for deployment in deployments if not deployment.ended]
    served = [deployment for deployment in deployments if service in deployment.spec.started]
    if not served:
        known = {name for deployment in deployments for name in deployment.spec.started}
        what = f"nothing is served here that has a service {service}" if known else "nothing is being served here"
        raise DeploymentError(what, remedy=suggestion(service, known) if known else "serve a graph first")
    return served[-1], insights(served[-1].status.services, target)


def run_inside(deployment: Deployment, insights: Sequence[Insight], code: str) -> None:
    """Runs a cell in these workers at the same time, and shows what each of them shows, in their order.

    Raises CellError with the first error after all of them have ended; the workers go on serving.
    """
    with _connected(insights) as clients:
        asked = [client.execute(code, store_history=False, allow_stdin=False) for client in clients]
        errors = []
        for insight, client, request in zip(insights, clients, asked, strict=True):
            if len(insights) > 1:
                print(f"{insight.name}:")
            if (error := _shown(deployment, insight, client, request)) is not None:
                errors.append(error)
    if errors:
        raise errors[0]


@contextmanager
def _connected(insights: Sequence[Insight]) -> Iterator[list[Any]]:
    from jupyter_client.blocking.client import BlockingKernelClient

    clients = []
    try:
        for insight in insights:
            client = BlockingKernelClient()
            client.load_connection_file(insight.connection_file)
            clients.append(client)
            client.start_channels()
        for insight, client in zip(insights, clients, strict=True):
            try:
                client.wait_for_ready(timeout=GREETING)
            except RuntimeError:
                raise DeploymentError(
                    f"the kernel of {insight.name} did not answer within {GREETING:g} s",
                    where=insight.connection_file,
                    remedy="a request or a cell blocks its event loop; `%dynamo logs` may show which",
                ) from None
        yield clients
    finally:
        for client in clients:
            client.stop_channels()


def _shown(deployment: Deployment, insight: Insight, client: Any, request: str) -> CellError | None:
    """Shows the outputs of one request as they come; gives the error that it ended with."""
    from IPython.display import display

    error = None
    while True:
        try:
            message = client.get_iopub_msg(timeout=_LOOK)
        except Empty:
            _check_alive(deployment, insight)
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
            error = CellError(what, where=insight.name, traceback="\n".join(content["traceback"]))


def _check_alive(deployment: Deployment, insight: Insight) -> None:
    service = insight.name.partition("[")[0]
    found = deployment.status.services.get(service)
    if found is None or all(worker.id != insight.worker_id for worker in found.workers):
        raise DeploymentError(f"{insight.name} ended while the cell ran", remedy=f"`%dynamo logs {service}` shows why")
