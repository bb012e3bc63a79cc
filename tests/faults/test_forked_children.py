"""Signals to processes that a handler has forked do not reach the worker, and end those processes."""

import os
import signal

import pytest
from load import until

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")]

BOUND = 30
PROGRAM = """
import asyncio
import multiprocessing
import os
import select
import signal
import threading
from concurrent.futures import ProcessPoolExecutor

from dynamo_nb import async_on_start, dynamo_endpoint, service

FORKS = multiprocessing.get_context("fork")


def double(number):
    return 2 * number


def a_pool():
    with FORKS.Pool(3) as pool:  # its end sends SIGTERM
        pool.map(double, range(10))


def a_terminated_process():
    process = FORKS.Process(target=signal.pause)
    process.start()
    process.terminate()  # perhaps before the child has run a line
    process.join(20)
    assert process.exitcode == -signal.SIGTERM, process.exitcode


def a_bare_fork(signum=signal.SIGTERM):
    child = os.fork()
    if child == 0:
        signal.pause()
        os._exit(0)
    os.kill(child, signum)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signum, status


def a_terminal():
    child, terminal = os.forkpty()
    if child == 0:
        signal.pause()
        os._exit(0)
    os.kill(child, signal.SIGTERM)
    os.waitpid(child, 0)
    os.close(terminal)


def an_executor():
    with ProcessPoolExecutor(2, mp_context=FORKS) as pool:
        assert list(pool.map(double, range(10))) == list(range(0, 20, 2))
        for process in pool._processes.values():
            process.terminate()


def a_fork_with_a_handler_of_its_own():
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
        os.write(writing, b"x")
        while True:  # pause() would miss a signal that comes just before it
            select.select([], [], [], 0.1)
    os.read(reading, 1)
    os.kill(child, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    os.close(reading)
    os.close(writing)


WAYS = {
    function.__name__: function
    for function in (
        a_pool,
        a_terminated_process,
        a_bare_fork,
        a_terminal,
        an_executor,
        a_fork_with_a_handler_of_its_own,
    )
}


@service
class Backend:
    @async_on_start
    async def listen(self):
        self.seen = []
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, self.seen.append, "SIGUSR2")

    @dynamo_endpoint()
    async def fork(self, way: str, thread: bool) -> int:
        for _ in range(5):
            if thread:
                await asyncio.to_thread(WAYS[way])
            else:
                WAYS[way]()
        return os.getpid()

    @dynamo_endpoint()
    async def signal_of_the_service(self) -> list[str]:
        a_bare_fork(signal.SIGUSR2)
        before = list(self.seen)
        os.kill(os.getpid(), signal.SIGUSR2)
        await asyncio.sleep(0)
        while not self.seen:
            await asyncio.sleep(0)
        return [*before, "its own", *self.seen]

    @dynamo_endpoint()
    async def state(self) -> int:
        return os.getpid()
"""
WAYS = [
    "a_pool",
    "a_terminated_process",
    "a_bare_fork",
    "a_terminal",
    "an_executor",
    "a_fork_with_a_handler_of_its_own",
]


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "kernel"])
def served(request, module_project):
    module_project.write("forking.py", PROGRAM)
    with module_project.serve("forking:Backend", kernels=request.param).result() as deployment:
        yield deployment


def worker_of(deployment):
    (worker,) = deployment.status.services["Backend"].workers
    return worker.id, worker.pid, worker.state


@pytest.mark.parametrize("thread", [False, True], ids=["on the loop", "in a thread"])
@pytest.mark.parametrize("way", WAYS)
def test_the_end_of_a_forked_child_does_not_end_the_worker(served, way, thread):
    before = worker_of(served)
    assert before[2] == "ready"

    served.Backend.fork(way, thread).result(timeout=BOUND)
    for _ in range(3):  # a signal would be handled by the loop in between
        assert served.Backend.state().result(timeout=BOUND) == before[1]

    assert worker_of(served) == before


def test_a_signal_handler_of_the_service_hears_its_own_signals_alone(served):
    assert served.Backend.signal_of_the_service().result(timeout=BOUND) == ["its own", "SIGUSR2"]


async def test_sigterm_to_the_worker_itself_still_ends_it(served):
    before = worker_of(served)
    os.kill(before[1], signal.SIGTERM)
    await until(
        lambda: [w for w in served.status.services["Backend"].workers if w.state == "ready" and w.id != before[0]]
    )
