"""A deployment in a terminal: its logs are shown until Ctrl-C, which stops it, or leaves what is looked at."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any

from dynamo_nb.cli.terminal import Terminal
from dynamo_nb.errors import DeploymentError


async def serve_here(recipe: Any, options: dict[str, Any], *, detach: bool) -> bool:
    """Serves until it is told to stop; gives False if it did not end in order."""
    from dynamo_nb.control.logs import LogTail
    from dynamo_nb.deployment.serve import start
    from dynamo_nb.sdk.portal import on_portal

    loop = asyncio.get_running_loop()
    stop, at_once = asyncio.Event(), asyncio.Event()

    def signalled() -> None:
        (at_once if stop.is_set() else stop).set()

    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, signalled)
    starting = asyncio.ensure_future(
        on_portal(
            lambda: start(recipe, options, detach=detach, title="terminal", display=partial(Terminal, sys.stdout))
        )
    )
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        await asyncio.wait([starting])
        print("stopped before it was ready", flush=True)
        return False
    deployment = starting.result()
    print("\n".join([repr(deployment), f"metrics at {deployment.metrics_url}", *deployment.warnings]), flush=True)
    if detach:
        here = deployment.id
        print(f"it goes on without this terminal; dynamo attach {here} shows its logs, dynamo stop {here} ends it")
        stopping.cancel()
        await on_portal(deployment._leave)
        return True
    with closing(LogTail(deployment.folder / "logs")) as tail:

        async def show_until(done: Callable[[], bool], *events: asyncio.Future[Any]) -> None:
            while not done():
                for line in tail.read():
                    print(line, flush=True)
                await asyncio.wait(events, timeout=LogTail.PAUSE)
            for line in tail.read():
                print(line, flush=True)

        await show_until(lambda: stop.is_set() or deployment.ended, stopping)
        if not stop.is_set():
            stopping.cancel()
            raise DeploymentError("the deployment was stopped from elsewhere", remedy="`dynamo ps` lists what runs")
        print("draining; once more Ctrl-C stops at once", flush=True)
        drained, hurried = asyncio.ensure_future(deployment.stop()), asyncio.ensure_future(at_once.wait())
        await show_until(lambda: drained.done() or at_once.is_set(), drained, hurried)
        hurried.cancel()
        if not drained.done():  # the supervisor does the rest, as its owner ends here
            drained.cancel()
            await asyncio.wait([drained])
            await on_portal(deployment._leave)
            return False
        drained.result()
        print("stopped", flush=True)
    return True


def watch_here(record: Any) -> None:
    """Shows the logs of somebody's deployment until Ctrl-C, which leaves it running, or until it stops."""
    from dynamo_nb.control.logs import LogTail
    from dynamo_nb.sdk.portal import portal

    print(f"{portal.run(_described(record))}\nCtrl-C leaves it running", flush=True)
    with closing(LogTail(record.folder / "logs")) as tail:
        try:
            while record.alive:
                for line in tail.read():
                    print(line, flush=True)
                time.sleep(LogTail.PAUSE)
        except KeyboardInterrupt:
            print(f"\n{record.id} goes on; dynamo stop {record.id} ends it", flush=True)
        else:
            print(f"{record.id} has stopped", flush=True)


async def _described(record: Any) -> str:
    from dynamo_nb.cli.listing import summary
    from dynamo_nb.control.client import ask_status

    return f"{record.id}: {summary(await ask_status(record.control))}"
