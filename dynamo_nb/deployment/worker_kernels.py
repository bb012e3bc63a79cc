"""The kernels of workers: `Backend[0]` names one, and other Jupyter clients can connect to it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from dynamo_nb.control.status import ServiceStatus
from dynamo_nb.errors import DeploymentError, suggestion

_TARGET = re.compile(r"(?P<service>[^\[\]\s]+)(\[(?P<index>\d+|\*)\])?")


@dataclass(frozen=True)
class WorkerKernel:
    """The kernel of one worker.

    Attributes:
        name: `Backend[0]`.
        worker_id: Id of the worker.
        connection_file: For Jupyter clients.
    """

    name: str
    worker_id: str
    connection_file: str

    @property
    def command(self) -> str:
        """The command that connects a terminal."""
        return f"jupyter console --existing {self.connection_file}"

    def instructions(self) -> str:
        """Returns a text that says how other clients connect.

        JupyterLab lists kernels of other servers since jupyter_server 2.8. VS Code and notebooks use the URL of such a
        JupyterLab.
        """
        folder = Path(self.connection_file).parent
        lab = f"--ServerApp.allow_external_kernels=True --ServerApp.external_connection_dir={folder}"
        rows = [
            ("in a notebook", f"%%dynamo_exec {self.name}"),
            ("in a terminal", self.command),
            ("in a window", f"jupyter qtconsole --existing {self.connection_file}"),
            ("in JupyterLab", f"jupyter lab {lab}"),
            ("", "then select it as the kernel of a notebook; in VS Code: Existing Jupyter Server, and its URL"),
            ("in Python", "from jupyter_client import BlockingKernelClient"),
            ("", f"client = BlockingKernelClient(connection_file={self.connection_file!r})"),
            ("", "client.load_connection_file(); client.start_channels()"),
        ]
        lines = [f"  {where:<14}  {what}" for where, what in rows]
        head = f"{self.name} is a Jupyter kernel that shares its event loop with the service, which is `self` there."
        leave = "Leave a terminal with Ctrl-D: `exit` shuts down the kernel, and the worker with it."
        return "\n".join([head, *lines, leave])


def parse_worker(target: str) -> tuple[str, str]:
    """Returns (service, index) of `Backend[0]` or `Backend[*]`; `Backend` is the first worker.

    Raises DeploymentError for another text.
    """
    match = _TARGET.fullmatch(target.strip())
    if match is None:
        raise DeploymentError(f"{target!r} is not a worker", remedy="write Backend[0], or Backend[*] for all of them")
    return match["service"], match["index"] or "0"


def find_kernels(services: Mapping[str, ServiceStatus], target: str) -> list[WorkerKernel]:
    """Returns the kernels that a target names.

    Args:
        services: The status of the services.
        target: `Backend[0]`, `Backend[*]`, or `Backend` for the first worker.

    Raises:
        DeploymentError: The worker was not found, or it is not a kernel.
    """
    service, index = parse_worker(target)
    if service not in services:
        raise DeploymentError(f"the deployment has no service {service!r}", remedy=suggestion(service, services))
    workers = services[service].ready_workers
    found = [w for w in workers if index in {"*", str(w.index)}]
    if not found:
        ready = ", ".join(f"{service}[{w.index}]" for w in workers) or "none"
        raise DeploymentError(f"no ready worker {service}[{index}]", remedy=f"ready workers: {ready}")
    if not all(worker.connection_file for worker in found):
        raise DeploymentError(f"the workers of {service} are not kernels", remedy="serve with kernels=True")
    return [WorkerKernel(f"{service}[{w.index}]", w.id, w.connection_file) for w in found]


def kernel_names(services: Mapping[str, ServiceStatus]) -> Iterable[str]:
    """Returns all targets of `find_kernels`: `Backend[0]`, and `Backend[*]` for several workers."""
    for name, service in services.items():
        yield from (f"{name}[{worker.index}]" for worker in service.ready_workers)
        if service.ready > 1:
            yield f"{name}[*]"


def open_console(kernels: Sequence[WorkerKernel], *, terminal: bool) -> NoReturn:
    """Replaces this process by `jupyter console` on a worker.

    Args:
        kernels: Exactly one.
        terminal: True if verbs run in a terminal, False in a notebook.

    Raises:
        DeploymentError: There are several kernels, no terminal, or no jupyter-console.
    """
    first, *others = kernels
    if others:
        what, remedy = "a terminal connects to one worker only", f"name it: {first.name}"
    elif not terminal or not sys.stdin.isatty():
        what, remedy = "this is not a terminal", f"open a terminal, and run: {first.command}"
    elif find_spec("jupyter_console") is None:
        what, remedy = "jupyter-console is not installed", "install it with: pip install jupyter-console"
    else:
        os.execv(sys.executable, [sys.executable, "-m", "jupyter_console", "--existing", first.connection_file])  # noqa: S606
    raise DeploymentError(what, where=first.name, remedy=remedy)
