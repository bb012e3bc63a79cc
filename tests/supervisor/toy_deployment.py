"""Deployments without processes: graphs of toy services, and workers whose steps are logged and can fail or hang.

A worker's name is its service, its index, and a mark for each predecessor in its slot: `B0'` takes over from `B0`.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from dynamo_nb.control.release import Release
from dynamo_nb.errors import StartError
from dynamo_nb.graph.spec import EdgeSpec, EndpointSpec, GraphSpec, ServiceSpec
from dynamo_nb.supervisor.worker_process import WorkerProcess


@dataclass
class Hang:
    """A step that hangs. reached: set when it begins. released: it goes on."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)


def toy_workers(log, faults, hangs):
    """A class of workers without a process. Their steps are logged; the listed ones fail or hang.

    faults: steps that fail, with the class of the error if it is a dict.
    """
    slots = Counter()

    class ToyWorker(WorkerProcess):
        def __post_init__(self):
            super().__post_init__()
            self.name = f"{self.slot.service}{self.slot.index}" + "'" * slots[self.slot]
            slots[self.slot] += 1

        async def step(self, verb, state=None):
            log.append((verb, self.name))
            await asyncio.sleep(0)  # lets the other workers do the same step
            if f"{verb} {self.name}" in faults:
                error = faults[f"{verb} {self.name}"] if isinstance(faults, dict) else StartError
                raise error(f"{self.name} cannot {verb}")
            if (hang := hangs.get(f"{verb} {self.name}")) is not None:
                hang.reached.set()
                waits = [asyncio.ensure_future(event.wait()) for event in (self.gone, hang.released)]
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                for wait in waits:
                    wait.cancel()
            if self.gone.is_set() and verb != "stop":
                raise StartError(f"{self.name} has ended")
            if state is not None:
                self._change(state)

        async def start(self):
            self.process = self
            await self.step("start")

        async def begin(self):
            await self.step("build", "prepared")

        async def serve(self):
            await self.step("serve", "ready")
            self.instance_id = self.name

        async def reconfigure(self, config, fingerprint):
            await self.step("reconfigure")
            self.fingerprint = fingerprint

        async def stop(self, grace):
            if not self.gone.is_set():
                self._change("draining")
                await self.step("stop")
                self.end("stopped")

        def kill(self):
            log.append(("kill", self.name))
            asyncio.get_running_loop().call_soon(self.end, "failed")

        def fail(self, error):
            self.error = error
            self.kill()

        def end(self, state):
            if not self.gone.is_set():
                self.state = state
                self.gone.set()
                self.on_change(self)

        @property
        def pid(self):
            return 0

    return ToyWorker


@dataclass(frozen=True)
class S:
    """A service of the graph."""

    workers: int = 1
    code: str = ""
    gpu: float = 0
    needs: str = ""
    limit: int = 0
    """Configuration; see `reconfigures`."""
    reconfigures: bool = False
    http: bool = False
    port: int | None = None
    """Configuration too."""


def release(**services):
    """services: dependencies before dependants."""
    endpoint = EndpointSpec(name="page", stream=False, transports=["http"])
    return Release(
        GraphSpec(
            name="toy",
            entry=list(services)[-1] if services else "",
            services={
                name: ServiceSpec(
                    name=name,
                    namespace="x",
                    target=f"toy:{name}",
                    digest=s.code,
                    workers=s.workers,
                    gpu=s.gpu,
                    endpoints=[endpoint] if s.http else [],
                    reconfigures=s.reconfigures,
                )
                for name, s in services.items()
            },
            edges=[
                EdgeSpec(source=name, attribute=target.lower(), target=target, active=True)
                for name, s in services.items()
                for target in s.needs
            ],
            config={name: {"limit": s.limit, "port": s.port} for name, s in services.items()},
        )
    )


def serving(controller):
    """The workers that take requests."""
    return " ".join(worker.name for worker in controller.registry.workers if worker.state == "ready")


async def until(controller, condition):
    """Waits until a condition is true that only changes of workers make true."""
    changed = asyncio.Event()
    controller.registry.on_change = changed.set
    async with asyncio.timeout(5):
        while not condition():
            await changed.wait()
            changed.clear()
