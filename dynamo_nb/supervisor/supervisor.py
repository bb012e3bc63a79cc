"""The supervisor: one process for each deployment, which keeps running what the deployment's release says.

It owns the embedded NATS server, the workers, their GPUs, ports and logs. Clients talk to it over its control socket.
It stops everything when the owner of the deployment ends, unless the deployment was detached.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from dynamo_nb.control import state_dir
from dynamo_nb.control.channel import Channel
from dynamo_nb.control.framing import Message
from dynamo_nb.control.options import Options
from dynamo_nb.control.processes import ended
from dynamo_nb.control.release import Release
from dynamo_nb.control.status import Status
from dynamo_nb.control.subreaper import adopt_orphans, end_descendants
from dynamo_nb.errors import DeploymentError, DynamoError, summary_of, to_wire
from dynamo_nb.runtime.cancellation import cancel_and_wait
from dynamo_nb.runtime.nats_server import NatsServer
from dynamo_nb.supervisor import forkserver
from dynamo_nb.supervisor.control_server import ControlServer
from dynamo_nb.supervisor.controller import Controller
from dynamo_nb.supervisor.gpu_allocator import GpuAllocator
from dynamo_nb.supervisor.gpus import inventory
from dynamo_nb.supervisor.http_reports import HttpReports
from dynamo_nb.supervisor.journal import Journal
from dynamo_nb.supervisor.log_rotation import keep_small
from dynamo_nb.supervisor.metrics import Metrics
from dynamo_nb.supervisor.metrics_page import MetricsPage
from dynamo_nb.supervisor.nats_keeper import check_reachable, keep_running
from dynamo_nb.supervisor.placement import Placement
from dynamo_nb.supervisor.ports import Ports
from dynamo_nb.supervisor.registry import WorkerRegistry
from dynamo_nb.supervisor.service_errors import ServiceErrors
from dynamo_nb.supervisor.tasks import persist
from dynamo_nb.supervisor.traces import Traces

ORPHAN_GRACE: Final = 1.5
"""Seconds for workers to end after the owner has died: there is no one to receive their answers."""
PAGE_WAIT_LIMIT: Final = 10.0
"""Seconds to wait for the port of the metrics page, within the time for a supervisor to start."""


class Supervisor:
    """Runs one deployment. Everything here runs on one event loop, and each piece of state has one owner.

    Args:
        options: options of the deployment.
        nats: the embedded server; None to use the one of `options.access`.
    """

    def __init__(self, options: Options, nats: NatsServer | None) -> None:
        self.options = options
        self.folder = Path(options.folder)
        self._nats = nats
        self._following: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()
        self._grace = options.grace
        self._reason = ""
        self._errors = ServiceErrors()
        self._page: MetricsPage | None = None
        self._journal = Journal(options)
        self._placement = Placement(
            folder=self.folder,
            access=options.access,
            worker_host=options.worker_host,
            kernels=options.kernels,
            shared=options.shared,
            ports=Ports(options.http_host, options.http_port, required=options.http_port_required),
            gpus=GpuAllocator(
                state_dir.root() / "gpus",
                lambda: inventory(owner=self._journal.client, supervisor=os.getpid()),
                owner=options.owned_by,
            ),
        )
        self._registry = WorkerRegistry(
            self._placement, on_change=self._changed, grace=options.grace, hang=options.hang
        )
        self._events = self._registry.events
        self._controller = Controller(self._registry)
        if nats is not None:
            nats.on_start = self._registry.own_processes.add
            self._registry.own_processes.add(nats.pid or 0)  # it may have been launched already
        self._metrics = Metrics(self._registry, self._errors)
        self._traces = Traces()
        http = HttpReports(self._registry)
        self._control = ControlServer(
            queries={
                "access": self._access,
                "errors": self._recent_errors,
                "events": self._events.read,
                "metrics": self._metrics.read,
                "release": self._release,
                "requests": http.requests,
                "routes": http.routes,
                "trace": self._traces.gather,
            },
            changes={
                "status": self._no_change,
                "apply": self._apply,
                "scale": self._controller.scale,
                "restart": self._controller.restart,
                "detach": self._detach,
                "stop": self._stop,
            },
            status=self.status,
            follow_worker=self._follow_worker,
        )
        self._events.on_event = self._control.publish_event

    async def run(self, report: Callable[[Message], None]) -> None:
        """Runs until the deployment is stopped.

        Args:
            report: called once, with `ready` or with the `error` that kept the supervisor from starting.
        """
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(signum, self._end, f"the supervisor received {signum.name}")
        adopt_orphans()
        nats = self._nats
        keeping = [asyncio.create_task(persist("keeping the fork server", forkserver.keep_running))]
        try:
            try:
                if nats is not None:
                    await nats.start(self.folder / "nats")
                    self._placement.access = replace(self.options.access, nats_url=nats.url)
                    keep_nats = partial(keep_running, nats, self.folder / "nats", self._events)
                    keeping.append(asyncio.create_task(persist("keeping the NATS server", keep_nats)))
                else:
                    await check_reachable(self._placement.access)
                if self.options.worker_host is not None and self.options.access.is_open:
                    remedy = "pass a secret to serve(…), or set DYNAMO_SECRET"
                    print(f"anyone who reaches {self.options.worker_host} can call the workers: {remedy}", flush=True)
                self._page = await self._open_page()
                await self._control.listen(self.folder / state_dir.CONTROL)
                self._journal.write()
            except Exception as error:
                fault = DeploymentError(f"the supervisor could not start: {summary_of(error)}")
                report({"error": to_wire(error if isinstance(error, DynamoError) else fault)})
                return
            owner = f", owned by {self.options.owned_by}" if self.options.owned_by else ""
            self._events.add("started", f"the supervisor started{owner}")
            report({"ready": True})
            self._following = asyncio.create_task(self._follow_owner())
            rotate = partial(keep_small, self.folder)
            keeping.append(asyncio.create_task(persist("the rotation of logs", rotate)))
            await self._ended.wait()
            self._events.add("stopping", f"the deployment is being stopped: {self._reason}")
            self._events.close()
            self._journal.note_stopping()
            await self._controller.stop(self._grace)
            self._following.cancel()
        finally:
            self._control.close()
            if self._page is not None:
                self._page.close()
            await cancel_and_wait(*keeping)
            if nats is not None:
                await nats.stop()
            await end_descendants()  # such as the fork server
            self._placement.close()  # before the record goes: another deployment waits while it is there
            state_dir.remove(self.folder)

    def status(self) -> Status:
        """The status of the deployment now."""
        desired = self._registry.desired
        return Status(
            id=self.folder.name,
            name=self.options.name,
            folder=str(self.folder),
            pid=os.getpid(),
            owner=self._journal.owner,
            clients=tuple(client for client in self._control.clients if client.pid != self._journal.owner),
            release=desired.applied.id if desired is not None else "",
            warnings=self._placement.warnings,
            waiting=self._placement.ending.waiting,
            started=self._journal.started,
            metrics_url=self._page.url if self._page is not None else "",
            entry=desired.spec.entry if desired is not None else "",
            services=self._registry.status(),
            rollout=self._controller.rollout(),
        )

    async def _open_page(self) -> MetricsPage:
        host, port, token = self.options.metrics_host, self.options.metrics_port, self.options.metrics_token
        page = await self._placement.ending.wait(
            lambda _: MetricsPage(host, port, token, self._metrics.read), lambda: None, PAGE_WAIT_LIMIT
        )
        await page.start()
        if page.is_open:
            print(f"anyone who reaches {host} can read the metrics: set DYNAMO_METRICS_TOKEN", flush=True)
        return page

    async def _follow_owner(self) -> None:
        owner = self._journal.owner
        if owner is None:
            return
        await persist("following the owner", lambda: ended(owner))
        self._grace = ORPHAN_GRACE
        self._end("its owner ended")
        await asyncio.sleep(ORPHAN_GRACE)
        self._controller.kill()  # including workers that were draining already, with more time, when the owner died

    async def _recent_errors(self, service: str = "") -> list[dict[str, Any]]:
        await self._metrics.ask_workers()  # they report errors with a pause
        return await self._errors.read(service)

    async def _follow_worker(self, worker_id: str, channel: Channel) -> None:
        worker = next((w for w in self._registry.workers if w.id == worker_id), None)
        if worker is not None:  # else it was given up, and ends when its connection closes
            worker.lifeline.on_errors = self._errors.add
            with self._metrics.following(worker), self._traces.following(worker):
                await worker.follow(channel)

    def _changed(self) -> None:
        pids = [worker.pid for worker in self._registry.workers if worker.pid]
        ports = [*self._placement.ports.held, *([self._page.port] if self._page is not None else [])]
        self._journal.note(pids, ports, self._placement.gpus.held)
        self._control.publish()

    # --- verbs ----------------------------------------------------------------------------------------------------

    async def _access(self) -> dict[str, Any]:
        """The settings to connect to the workers. Not a part of the status, which is displayed and saved."""
        return asdict(self._placement.access)

    async def _release(self) -> dict[str, Any]:
        return self._controller.release.as_data()

    async def _no_change(self) -> None:
        pass

    async def _apply(self, release: dict[str, Any]) -> None:
        await self._controller.apply(Release.from_data(release))

    async def _detach(self) -> None:
        """Lets the deployment outlive its owner."""
        if self._following is not None:
            self._following.cancel()
        self._journal.note_detached()
        self._events.add("detached", "the deployment was detached: it continues after the end of its owner")
        self._control.publish()

    async def _stop(self) -> None:
        """Ends the deployment. The answer comes before the end; the end closes the connection."""
        self._end("a client requested it")

    def _end(self, reason: str) -> None:
        self._reason = self._reason or reason
        self._ended.set()
