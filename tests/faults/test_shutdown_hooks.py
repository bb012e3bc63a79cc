"""Stopping a worker: every shutdown hook runs, and the connections are closed, whatever an earlier step raised."""

import asyncio
import sys

import pytest

from dynamo_nb import async_on_shutdown, on_shutdown
from dynamo_nb.worker.worker import Worker


class NoText(Exception):
    """An error that cannot write its message."""

    def __str__(self):
        raise RuntimeError("no text")


async def await_own_cancelled_task(_service):
    task = asyncio.ensure_future(asyncio.Event().wait())
    await asyncio.sleep(0)
    task.cancel()
    await task


async def cancel_every_task(_service):
    for task in asyncio.all_tasks():
        task.cancel()


async def cancel_every_task_and_wait(_service):
    for task in asyncio.all_tasks():
        task.cancel()
    await asyncio.sleep(0)


async def time_out(_service):
    async with asyncio.timeout(0):
        await asyncio.Event().wait()


async def raise_from_a_group(_service):
    async with asyncio.TaskGroup() as group:
        group.create_task(raising(ValueError("of a group"))(None))


def close_the_log(_service):
    class Closed:
        def write(self, _text):
            raise OSError(28, "No space left on device")

    sys.stderr = Closed()
    raise ValueError("that cannot be logged")


def raising(error):
    async def hook(_service):
        raise error

    return hook


def raising_at_once(error):
    def hook(_service):
        raise error

    return hook


ERRORS = [
    ValueError("wrong"),
    asyncio.CancelledError(),
    SystemExit(3),
    KeyboardInterrupt(),
    GeneratorExit(),
    TimeoutError(),
    StopAsyncIteration(),
    BaseExceptionGroup("several", [KeyboardInterrupt()]),
    NoText(),
]
HOOKS = {
    hook.__name__: hook
    for hook in [
        await_own_cancelled_task,
        cancel_every_task,
        cancel_every_task_and_wait,
        time_out,
        raise_from_a_group,
        close_the_log,
    ]
}
HOOKS |= {f"async {type(error).__name__}": raising(error) for error in ERRORS}
HOOKS |= {f"plain {type(error).__name__}": raising_at_once(error) for error in ERRORS}


class Connections:
    """Stands where a worker has its connections, and notes what is called."""

    def __init__(self, ran, drain=None):
        self._ran, self._drain = ran, drain

    async def drain(self):
        self._ran.append("drain")
        if self._drain is not None:
            await self._drain(None)

    async def close(self):
        await asyncio.sleep(0)
        self._ran.append("close")


def stop(service, connections):
    worker = Worker(None)
    worker.service, worker.runtime = service, connections
    ended = []

    async def run():
        await worker.stop(10.0)
        await asyncio.sleep(0)  # the task itself goes on, and is not cancelled
        ended.append(True)

    asyncio.run(run())
    assert ended


@pytest.mark.parametrize("hook", HOOKS.values(), ids=HOOKS)
def test_later_shutdown_hooks_run_and_the_connections_are_closed(monkeypatch, hook):
    monkeypatch.setattr(sys, "stderr", sys.stderr)  # restored afterwards
    ran = []

    class Service:
        first = on_shutdown(hook)

        @async_on_shutdown
        async def second(self):
            await asyncio.sleep(0)
            ran.append("second")

        @on_shutdown
        def third(self):
            ran.append("third")

    stop(Service(), Connections(ran))
    assert ran == ["drain", "second", "third", "close"]


@pytest.mark.parametrize("error", [asyncio.CancelledError(), ValueError("wrong"), TimeoutError()], ids=repr)
def test_shutdown_hooks_run_although_requests_cannot_be_finished(error):
    ran = []

    class Service:
        @on_shutdown
        def only(self):
            ran.append("hook")

    stop(Service(), Connections(ran, raising(error)))
    assert ran == ["drain", "hook", "close"]
