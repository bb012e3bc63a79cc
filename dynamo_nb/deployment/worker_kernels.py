"""A worker's kernel, for whoever wants to look inside: `Backend[0]`."""

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
class Insight:
    """A worker's kernel. name: `Backend[0]`. connection_file: for any Jupyter client."""

    name: str
    worker_id: str
    connection_file: str

    @property
    def command(self) -> str:
        """What attaches a terminal."""
        return f"jupyter console --existing {self.connection_file}"

    def ways(self) -> str:
        """How other clients attach, as text.

        JupyterLab shows kernels that its server did not start from jupyter_server 2.8 on. VS Code and notebooks reach
        such a server by its URL.
        """
        folder = Path(self.connection_file).parent
        lab = f"--ServerApp.allow_external_kernels=True --ServerApp.external_connection_dir={folder}"
        ways = [
            ("in a notebook", f"%%dynamo_exec {self.name}"),
            ("in a terminal", self.command),
            ("in a window", f"jupyter qtconsole --existing {self.connection_file}"),
            ("in JupyterLab", f"jupyter lab {lab}"),
            ("", "then choose it as the kernel of a notebook; in VS Code: Existing Jupyter Server, and its URL"),
            ("in Python", "from jupyter_client import BlockingKernelClient"),
            ("", f"client = BlockingKernelClient(connection_file={self.connection_file!r})"),
            ("", "client.load_connection_file(); client.start_channels()"),
        ]
        lines = [f"  {where:<14}  {what}" for where, what in ways]
        head = f"{self.name} is a Jupyter kernel that shares its event loop with the service, which is `self` there."
        leave = "Leave a terminal with Ctrl-D: `exit` tells the kernel to end, and the worker with it."
        return "\n".join([head, *lines, leave])


def parse(target: str) -> tuple[str, str]:
    """(service, index) of `Backend[0]`, `Backend[*]` or `Backend`, which is the first. Raises DeploymentError."""
    match = _TARGET.fullmatch(target.strip())
    if match is None:
        raise DeploymentError(f"{target!r} names no worker", remedy="write Backend[0], or Backend[*] for all of them")
    return match["service"], match["index"] or "0"


def insights(services: Mapping[str, ServiceStatus], target: str) -> list[Insight]:
    """The kernels that a target names. services: as the supervisor reports them.

    Raises DeploymentError for a worker that is not there, or is no kernel.
    """
    service, index = parse(target)
    if service not in services:
        raise DeploymentError(
            f"nothing is served here that has a service {service}", remedy=suggestion(service, services)
        )
    workers = services[service].ready_workers
    found = [w for w in workers if index in {"*", str(w.index)}]
    if not found:
        there = ", ".join(f"{service}[{w.index}]" for w in workers) or "none"
        raise DeploymentError(f"there is no worker {service}[{index}] that serves", remedy=f"there are: {there}")
    if not all(worker.connection_file for worker in found):
        raise DeploymentError(f"the workers of {service} are no kernels", remedy="serve with kernels=True")
    return [Insight(f"{service}[{w.index}]", w.id, w.connection_file) for w in found]


def open_console(found: Sequence[Insight], *, terminal: bool) -> NoReturn:
    """Makes this process be `jupyter console` on one worker. Raises DeploymentError where that cannot be."""
    first, *others = found
    if others:
        what, remedy = "a terminal attaches to one worker", f"name it: {first.name}"
    elif not terminal or not sys.stdin.isatty():
        what, remedy = "there is no terminal here to attach", f"open one, and run: {first.command}"
    elif find_spec("jupyter_console") is None:
        what, remedy = "jupyter-console is not installed here", "install it with: pip install jupyter-console"
    else:
        os.execv(sys.executable, [sys.executable, "-m", "jupyter_console", "--existing", first.connection_file])  # noqa: S606
    raise DeploymentError(what, where=first.name, remedy=remedy)


def names_of(services: Mapping[str, ServiceStatus]) -> Iterable[str]:
    """Every target that `insights` takes now: `Backend[0]`, and `Backend[*]` where there are several."""
    for name, service in services.items():
        yield from (f"{name}[{worker.index}]" for worker in service.ready_workers)
        if service.ready > 1:
            yield f"{name}[*]"
