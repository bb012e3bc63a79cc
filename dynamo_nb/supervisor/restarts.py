"""The restart policy: a new worker takes the slot of one that ended by itself, after a pause that doubles."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from dynamo_nb.control.events import EventKind
from dynamo_nb.errors import DynamoError, PlacementError, StartError, summary_of
from dynamo_nb.runtime.cancellation import cancel_and_wait
from dynamo_nb.supervisor.registry import WorkerRegistry
from dynamo_nb.supervisor.worker_process import WorkerProcess

FIRST_PAUSE, MAX_PAUSE = 0.1, 30.0
"""Seconds before a worker is started again; doubled after each crash in a row."""
STABLE_AFTER: Final = 3.0
"""Seconds of taking requests after which an exit is unrelated to the worker's start, and begins a new row."""
CRASH_LOOP: Final = 2
"""Crashes in a row from which on they are not logged one by one."""


def pause_after(crashes: int) -> float:
    """Seconds to wait after this many crashes in a row."""
    return min(FIRST_PAUSE * 2.0 ** min(crashes - 1, 10), MAX_PAUSE)


class Restarts:
    """Restarts the lost workers of a registry, side by side. A change of the deployment does not hold them up.

    Args:
        registry: registry of the workers.
    """

    def __init__(self, registry: WorkerRegistry) -> None:
        self._registry = registry
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, lost: WorkerProcess) -> None:
        """Restarts a worker until a new one is stable, or its slot is not desired any more."""
        task = asyncio.create_task(self._restart(lost))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def cancel(self) -> None:
        """Ends all restarts. Workers that have begun to start are left as they are."""
        await cancel_and_wait(*self._tasks)

    async def _restart(self, lost: WorkerProcess) -> None:
        registry, restarts = self._registry, lost.restarts
        crashes = 0 if lost.served >= STABLE_AFTER else lost.crashes
        while True:
            crashes += 1
            restarts += 1
            _log(lost, crashes)
            if crashes == CRASH_LOOP and lost.error is not None:
                text = f"{lost.title} is in a crash loop: it is restarted every {MAX_PAUSE:g} s or sooner"
                _note(registry, "crash loop", text, lost, detail=str(lost.error))
            await asyncio.sleep(pause_after(crashes))
            try:
                worker = await self._start_successor(lost, restarts)
            except Exception as error:  # such as a full disk, or no room for a process: the next attempt may succeed
                lost.error = _start_error(lost, error)
                continue
            if worker is None:
                return
            worker.crashes = crashes
            if crashes >= CRASH_LOOP:
                worker.crash = lost.error
            try:
                await worker.begin()
                await worker.serve()
            except Exception as error:
                if worker.live:
                    worker.fail(_start_error(worker, error))
                await worker.stop(0)
            else:
                break
            lost = worker
        if worker.crash is None:
            _note(registry, "worker restarted", f"{worker.title} was restarted and takes requests", worker)
        if registry.outdated(worker):
            worker.fail(StartError(f"{worker.title} started with a configuration that was changed meanwhile"))
        with suppress(TimeoutError):
            async with asyncio.timeout(STABLE_AFTER):
                await worker.gone.wait()
            return
        if worker.crash is not None:
            print(f"{worker.title} takes requests again after {crashes} restarts", flush=True)
            _note(registry, "worker restarted", f"{worker.title} takes requests again after {crashes} restarts", worker)
            worker.crash = None
            registry.on_change()

    async def _start_successor(self, lost: WorkerProcess, restarts: int) -> WorkerProcess | None:
        """Starts another worker, where it needs the GPUs of the lost one when that has ended.

        Returns:
            The worker; None if a change has replaced the lost one, or its slot is not desired any more.
        """
        registry = self._registry
        while True:
            desired = registry.state_of(lost)
            if lost not in registry.lost or desired is None or not registry.vacant(lost):
                return None
            try:
                worker = registry.place(desired.release, lost.slot, role=lost.role, prefer=lost.gpus, restarts=restarts)
            except PlacementError:
                if lost.gone.is_set():
                    raise
                await lost.gone.wait()
            else:
                await registry.start(worker)
                return worker


def _start_error(worker: WorkerProcess, error: Exception) -> DynamoError:
    if isinstance(error, DynamoError):
        return error
    return StartError(f"{worker.title} could not be started again: {summary_of(error)}")


def _note(registry: WorkerRegistry, kind: EventKind, text: str, worker: WorkerProcess, detail: str = "") -> None:
    registry.events.add(kind, text, service=worker.service, worker=worker.title, detail=detail)


def _log(lost: WorkerProcess, crashes: int) -> None:
    """Logs why a worker is replaced, with the last lines of its log; of a crash loop only the beginning."""
    if lost.error is None and not lost.terminated:
        return  # stopped for its GPUs
    if lost.error is None:
        print(f"{lost.title} received SIGTERM and finishes its requests: another one takes its place", flush=True)
    elif crashes < CRASH_LOOP:
        print(f"{lost.error}\nrestarting {lost.title}", flush=True)
    elif crashes == CRASH_LOOP:
        print(
            f"{lost.error}\n{lost.title} is in a crash loop: it is restarted every {MAX_PAUSE:g} s or sooner. "
            f"The next message follows when it has taken requests for {STABLE_AFTER:g} s.",
            flush=True,
        )
