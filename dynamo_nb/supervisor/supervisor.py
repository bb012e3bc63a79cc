"""The supervisor: one process for each deployment, which makes what runs be what a GraphSpec says.

It owns the embedded NATS server, the workers, their GPUs, ports and logs. The notebook and the command line talk to it
over its control socket. When its owner dies it stops everything, unless it was detached.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from dynamo_nb.control import state_dir
from dynamo_nb.control.channel import Channel, Message, answer, listen
from dynamo_nb.control.options import Options
from dynamo_nb.control.release import Release
from dynamo_nb.control.status import ClientStatus, Status
from dynamo_nb.control.subreaper import adopt_orphans, kill_descendants
from dynamo_nb.errors import DeploymentError, DynamoError, StartError, to_wire
from dynamo_nb.runtime.cancellation import cancel_and_wait
from dynamo_nb.runtime.connection_settings import Access
from dynamo_nb.runtime.nats_server import NatsServer
from dynamo_nb.supervisor import metrics
from dynamo_nb.supervisor.fleet import FIRST_BACKOFF, HEALTHY_AFTER, ORPHAN_GRACE, Fleet
from dynamo_nb.supervisor.gpus import Allocator
from dynamo_nb.supervisor.log_rotation import keep_small
from dynamo_nb.supervisor.ports import Ports
from dynamo_nb.supervisor.traces import Traces

MAX_NATS_BACKOFF = 5.0
"""Seconds between attempts to start the embedded NATS server again, at most: nothing can begin without it."""


class Supervisor:
    """State has one owner: everything here runs on one event loop, changes of the deployment one after the other.

    nats: the embedded server, None for one of `options.access`.
    """

    def __init__(self, options: Options, nats: NatsServer | None) -> None:
        self.options = options
        self._nats = nats
        self.folder = Path(options.folder)
        self._watchers: dict[Channel, ClientStatus | None] = {}
        self._owner = options.owner
        self._following: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()
        self._grace = options.grace
        self._started = time.time()
        self._journaled: list[int] = []
        self.fleet = Fleet(
            folder=self.folder,
            access=options.access,
            host=options.worker_host,
            kernels=options.kernels,
            grace=options.grace,
            hang=options.hang,
            ports=Ports(options.http_host, options.http_port, asked=options.http_port_asked),
            shared=options.shared,
            gpus=Allocator(state_dir.home() / "gpus"),
            on_change=self._changed,
        )
        if nats is not None:
            nats.on_start = self.fleet.own_processes.add
            self.fleet.own_processes.add(nats.pid or 0)  # it may have been launched
        self.metrics = metrics.Metrics(self.fleet)
        self.traces = Traces()
        self._page: socket.socket | None = None
        self._page_waits = False

    # --- life ----------------------------------------------------------------------------------------------------

    async def run(self, said: Callable[[Message], None]) -> None:
        """Runs until stopped. `said` gets one message: that it is ready, or the error why not."""
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(signum, self._ended.set)
        adopt_orphans()
        nats = self._nats
        server = keeping = None
        try:
            try:
                if nats is not None:
                    await nats.start(self.folder / "nats")
                    self.fleet.access = replace(self.options.access, nats_url=nats.url)
                    keeping = asyncio.create_task(self._keep(nats))
                else:
                    await _reach(self.fleet.access)
                if self.options.worker_host is not None and self.options.access.is_open:
                    remedy = "give serve(…) a secret, or set DYNAMO_SECRET"
                    print(f"anybody who reaches {self.options.worker_host} may call the workers: {remedy}", flush=True)
                self._page = metrics.listening(self.options.metrics_host, self.options.metrics_port)
                server = await listen(self.folder / state_dir.CONTROL, self._accept)
                self._journal()
            except Exception as error:
                ours = DeploymentError(f"the supervisor could not start: {type(error).__name__}: {error}")
                said({"error": to_wire(error if isinstance(error, DynamoError) else ours)})
                return
            said({"ready": True})
            self._following = asyncio.create_task(self._follow_owner())
            logs = asyncio.create_task(keep_small(self.folder / "logs"))
            await self._ended.wait()
            await self.fleet.stop(self._grace)
            self._following.cancel()
            logs.cancel()
        finally:
            if server is not None:
                server.close()
            if self._page is not None:
                loop.remove_reader(self._page)
            if keeping is not None:
                await cancel_and_wait(keeping)
            if nats is not None:
                await nats.stop()
            kill_descendants(os.getpid())  # the process that workers were forked from
            state_dir.remove(self.folder)

    async def _keep(self, nats: NatsServer) -> None:
        """Starts NATS again whenever it ends. Its clients return by themselves, and workers register anew."""
        loop = asyncio.get_running_loop()
        since, pause = loop.time(), 0.0
        while True:
            await nats.ended()
            if loop.time() - since > HEALTHY_AFTER:
                pause = 0.0
            if not pause:
                print("the embedded NATS server has ended: starting it again", flush=True)
            await asyncio.sleep(pause)
            first, pause = not pause, min(max(FIRST_BACKOFF, 2 * pause), MAX_NATS_BACKOFF)
            try:
                await nats.start(self.folder / "nats")
            except (StartError, OSError) as error:  # its port was taken, perhaps, and will be free again
                if first:
                    print(error, flush=True)
            since = loop.time()

    async def _follow_owner(self) -> None:
        if self._owner is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            await state_dir.ProcessId.of(self._owner).ended()
        self._grace = ORPHAN_GRACE
        self._ended.set()
        await asyncio.sleep(ORPHAN_GRACE)
        self.fleet.kill()  # also what was already draining, for longer, when the owner died

    def _journal(self) -> None:
        """Writes down every process, for `dynamo clean` after a crash."""
        processes = []
        for pid in self._journaled:
            with contextlib.suppress(Exception):
                processes.append(state_dir.ProcessId.of(pid))
        owner = None
        if self._owner is not None:
            with contextlib.suppress(Exception):
                owner = state_dir.ProcessId.of(self._owner)
        state_dir.Record(
            id=self.folder.name,
            name=self.options.name,
            folder=self.folder,
            supervisor=state_dir.ProcessId.of(os.getpid()),
            owner=owner,
            owned_by=self.options.owned_by if owner is not None else "",
            started=self._started,
            processes=tuple(processes),
        ).write()

    # --- the control socket ---------------------------------------------------------------------------------------

    async def _accept(self, channel: Channel) -> None:
        verbs: dict[str, Callable[..., Awaitable[Any]]] = {
            "status": self._nothing,
            "apply": self._apply,
            "metrics": self.metrics.gather,
            "release": self._nothing,
            "trace": self.traces.gather,
            "scale": self.fleet.scale,
            "restart": self.fleet.restart,
            "stop": self._stop,
            "detach": self._detach,
        }
        tasks: dict[int, asyncio.Task[None]] = {}

        def ended(number: int, task: asyncio.Task[None]) -> None:
            tasks.pop(number, None)
            if task.cancelled():
                channel.send({"id": number, "error": to_wire(DeploymentError("it was taken back"))})

        try:
            async for message in channel:
                if "worker" in message:
                    worker = next((w for w in self.fleet.workers if w.id == message["worker"]), None)
                    if worker is None:
                        return  # it was given up; the closed connection is its end
                    with self.metrics.following(worker), self.traces.following(worker):
                        await worker.follow(channel)
                elif message.get("verb") == "watch":
                    client = message["args"].get("client")
                    self._watchers[channel] = ClientStatus(**client) if client else None
                    channel.send({"id": message["id"], "result": self._status()})
                elif message.get("verb") == "access":  # apart from the status, which is shown and saved
                    channel.send({"id": message["id"], "result": asdict(self.fleet.access)})
                elif message.get("verb") == "cancel":
                    if (running := tasks.get(message["args"]["request"])) is not None:
                        running.cancel()
                else:
                    verb = verbs.get(message.get("verb", ""), _unknown_verb)
                    told = {"metrics": self.metrics.numbers, "release": self.fleet.applied}.get(
                        message.get("verb", ""), self._status
                    )
                    task = asyncio.create_task(answer(channel, message, verb, told))
                    tasks[message["id"]] = task
                    task.add_done_callback(partial(ended, message["id"]))
        finally:
            self._watchers.pop(channel, None)
            # A client that goes away in the middle of an apply takes its wish back.
            for task in tasks.values():
                task.cancel()

    def _changed(self) -> None:
        pids = [worker.pid for worker in self.fleet.workers if worker.pid]
        if pids != self._journaled:
            self._journaled = pids
            self._journal()
        if self._watchers:
            event = {"event": self._status()}
            for channel in self._watchers:
                channel.send(event)

    def _status(self) -> Message:
        spec = self.fleet.spec
        return Status(
            id=self.folder.name,
            name=self.options.name,
            folder=str(self.folder),
            pid=os.getpid(),
            owner=self._owner,
            clients=tuple(client for client in self._watchers.values() if client and client.pid != self._owner),
            release=self.fleet.release_id,
            warnings=tuple(self.fleet.ports.remarks),
            started=self._started,
            metrics_url=metrics.address(self._page) if self._page is not None else "",
            entry=spec.entry if spec else "",
            services=self.fleet.status(),
            rollout=self.fleet.rollout(),
        ).as_data()

    async def _nothing(self) -> None:
        """Only reports."""

    async def _detach(self) -> None:
        """Lets the deployment outlive its owner."""
        if self._following is not None:
            self._following.cancel()
        self._owner = None
        self._journal()
        self._changed()

    async def _apply(self, release: dict[str, Any]) -> None:
        await self.fleet.apply(Release.from_data(release))
        if self._page is not None and not self._page_waits:
            # What serves the page is imported when somebody asks for it, and never while a deployment starts.
            self._page_waits = True
            loop = asyncio.get_running_loop()
            loop.add_reader(self._page, self._serve_page, self._page, loop)

    def _serve_page(self, page: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        loop.remove_reader(page)

        async def gathered() -> Message:
            await self.metrics.gather()
            return self.metrics.numbers()

        def serve() -> None:
            from dynamo_nb.supervisor.prometheus import serve_page

            serve_page(page, lambda: asyncio.run_coroutine_threadsafe(gathered(), loop).result())

        threading.Thread(target=serve, name="dynamo-metrics", daemon=True).start()

    async def _stop(self) -> None:
        """Ends the deployment; the answer comes before the end, the closed connection is the end."""
        self._ended.set()


async def _unknown_verb(**_: Any) -> None:
    raise DeploymentError("the supervisor does not know this request", remedy="use the same version of dynamo_nb")


async def _reach(access: Access) -> None:
    """Raises ConnectError within 5 seconds if NATS does not answer."""
    from dynamo_nb.runtime.distributed_runtime import DistributedRuntime

    runtime = await DistributedRuntime.connect(**vars(access))
    await runtime.close()
