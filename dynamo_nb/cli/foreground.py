"""Deployments in the foreground of a terminal: the logs of the workers until Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

from dynamo_nb.cli.supervisor_requests import status_of
from dynamo_nb.cli.terminal_display import TerminalDisplay
from dynamo_nb.errors import DeploymentError

if TYPE_CHECKING:
    from dynamo_nb.control.record import Record
    from dynamo_nb.deployment.deployment import Deployment
    from dynamo_nb.deployment.plan_source import PlanSource
    from dynamo_nb.deployment.serve_options import ServeOptions


async def serve_in_foreground(source: PlanSource, options: ServeOptions) -> bool:
    """Serves a graph until SIGINT or SIGTERM. The first signal drains the deployment, a second one stops it at once.

    Args:
        source: Source of the plans of the graph.
        options: Options of the deployment. With `detach`: return when the deployment is ready, and keep it running.

    Returns:
        False if it was stopped before it was ready, or before it was drained.

    Raises:
        DynamoError: It did not start, or another process stopped it.
    """
    from dynamo_nb.deployment.start import start
    from dynamo_nb.sdk.portal import on_portal

    loop = asyncio.get_running_loop()
    stop, stop_at_once = asyncio.Event(), asyncio.Event()

    def on_signal() -> None:
        (stop_at_once if stop.is_set() else stop).set()

    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, on_signal)
    display = partial(TerminalDisplay, sys.stdout)
    starting = asyncio.ensure_future(on_portal(lambda: start(source, options, title="terminal", display=display)))
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        await asyncio.wait([starting])
        print("stopped before it was ready", flush=True)
        return False
    deployment = starting.result()
    lines = [repr(deployment), f"metrics at {deployment.metrics_url}", *deployment.notes, *deployment.warnings]
    print("\n".join(lines), flush=True)
    if not options.detach:
        return await _show_logs(deployment, stopping, stop_at_once)
    id_ = deployment.id
    print(f"running in the background: `dynamo attach {id_}` shows its logs, `dynamo stop {id_}` stops it")
    stopping.cancel()
    await deployment.disconnect()
    return True


async def _show_logs(deployment: Deployment, stopping: asyncio.Future[Any], stop_at_once: asyncio.Event) -> bool:
    """Prints the logs until `stopping` is done and the deployment is drained. Returns False if it was not drained."""
    from dynamo_nb.control.logs import LogTail

    with closing(LogTail(deployment.folder / "logs")) as tail:

        async def print_until(done: Callable[[], bool], *events: asyncio.Future[Any]) -> None:
            while not done():
                for line in tail.read():
                    print(line, flush=True)
                await asyncio.wait(events, timeout=LogTail.PAUSE)
            for line in tail.read():
                print(line, flush=True)

        await print_until(lambda: stopping.done() or deployment.ended, stopping)
        if not stopping.done():
            stopping.cancel()
            raise DeploymentError("the deployment was stopped by another process", remedy="`dynamo ps` shows what runs")
        print("draining; press Ctrl-C again to stop immediately", flush=True)
        drained, second_signal = asyncio.ensure_future(deployment.stop()), asyncio.ensure_future(stop_at_once.wait())
        await print_until(lambda: drained.done() or stop_at_once.is_set(), drained, second_signal)
        second_signal.cancel()
        if not drained.done():  # the supervisor stops the workers, since its owner ends here
            drained.cancel()
            await asyncio.wait([drained])
            await deployment.disconnect()
            return False
        drained.result()
        print("stopped", flush=True)
    return True


def follow_logs(record: Record) -> None:
    """Prints the logs of a running deployment until it stops, or until Ctrl-C, which leaves it running.

    Raises:
        ConnectError: Its supervisor does not answer.
    """
    from dynamo_nb.cli.deployment_list import summary
    from dynamo_nb.control.logs import LogTail

    print(f"{record.id}: {summary(status_of(record))}\nCtrl-C leaves it running", flush=True)
    with closing(LogTail(record.folder / "logs")) as tail:
        try:
            while record.alive:
                for line in tail.read():
                    print(line, flush=True)
                time.sleep(LogTail.PAUSE)
        except KeyboardInterrupt:
            print(f"\n{record.id} keeps running; `dynamo stop {record.id}` stops it", flush=True)
        else:
            print(f"{record.id} has stopped", flush=True)
