import asyncio
import contextlib
import os
import signal
import socket
import subprocess

import pytest

from dynamo_nb.errors import NoInstances, WorkerLost
from dynamo_nb.runtime.nats_server import find_binary

pytestmark = pytest.mark.slow


async def gather_until(client, condition):
    while not condition(client.instance_ids()):
        await client.wait_for_change()


@pytest.fixture
def client_of(connect, space):
    async def client(endpoint, **options):
        return await (await connect(**options)).namespace(space).component("Echo").endpoint(endpoint).client()

    return client


async def test_a_worker_killed_in_mid_stream_is_lost(start_worker, client_of):
    process, client = start_worker(), await client_of("endless")
    await client.wait_for_instances()
    items = aiter(client.call())
    assert await anext(items) == process.pid
    process.kill()
    with pytest.raises(WorkerLost, match="before its answer was complete"):
        await anext(items)
    assert client.instance_ids() == []  # at once, not when its lease ends


async def test_a_request_is_given_to_another_worker_when_nothing_was_answered(start_worker, client_of, tmp_path):
    processes = [start_worker(), start_worker()]
    client = await client_of("die_once")
    await client.wait_for_instances(count=2)
    survivor = await client.call([str(tmp_path / "died")])
    assert survivor in [process.pid for process in processes]
    assert len(client.instance_ids()) == 1


async def test_a_request_that_kills_its_worker_does_not_go_round_them_all(start_worker, client_of):
    for _ in range(4):
        start_worker()
    client = await client_of("die")
    await client.wait_for_instances(count=4)
    with pytest.raises(WorkerLost):
        await client.call()
    assert len(client.instance_ids()) == 1


async def test_a_direct_call_goes_nowhere_else(start_worker, client_of, tmp_path):
    start_worker()
    start_worker()
    client = await client_of("die_once")
    [first, _] = await client.wait_for_instances(count=2)
    with pytest.raises(WorkerLost):
        await client.call([str(tmp_path / "died")], instance_id=first)
    with pytest.raises(NoInstances, match=str(first)):
        await client.call([str(tmp_path / "died")], instance_id=first)


async def test_a_refused_connection_is_tried_elsewhere(start_worker, client_of, gone):
    # A client that never connected learns of a dead worker by being refused.
    dead, alive = start_worker(lease=60), start_worker(lease=60)
    client = await client_of("pid", lease=60)
    await client.wait_for_instances(count=2)
    dead.kill()
    dead.wait()
    assert await asyncio.gather(*(client.call() for _ in range(10))) == [alive.pid] * 10
    alive.kill()
    alive.wait()
    with pytest.raises((NoInstances, WorkerLost)):
        await client.call()


async def test_a_silent_worker_leaves_when_its_lease_ends_and_comes_back(start_worker, client_of):
    process, client = start_worker(lease=0.6), await client_of("pid", lease=0.6)
    await client.wait_for_instances()
    assert await client.call() == process.pid
    registered, changes = client.instance_ids(), client.selection.watch.version
    os.kill(process.pid, signal.SIGSTOP)
    await gather_until(client, lambda ids: not ids)
    with pytest.raises(NoInstances):
        await client.call()
    os.kill(process.pid, signal.SIGCONT)
    await client.wait_for_instances()
    assert await client.call() == process.pid
    assert client.instance_ids() == registered
    assert client.selection.watch.version == changes + 2  # it went once, and came back once


async def test_round_robin_takes_turns_and_random_takes_any(start_worker, client_of):
    pids = {start_worker().pid, start_worker().pid}
    client = await client_of("pid")
    ids = await client.wait_for_instances(count=2)
    assert {await client.call(), await client.call()} == pids
    assert (await anext(await client.direct(None, ids[1]))).data() in pids
    assert {(await anext(await client.random(None))).data() for _ in range(40)} == pids


class Nats:
    """A NATS server of somebody else's, on a port that stays the same when it is started again."""

    def __init__(self, folder):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.folder, self.url, self.count = folder, f"nats://127.0.0.1:{self.port}", 0

    def start(self):
        self.count += 1
        store = str(self.folder / f"store{self.count}")
        command = [find_binary(), "-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", store]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE)
        for line in self.process.stderr:
            if b"Server is ready" in line:
                return

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stderr.close()


@pytest.fixture
def own_nats(tmp_path):
    nats = Nats(tmp_path)
    nats.start()
    yield nats
    with contextlib.suppress(ValueError):
        nats.kill()


async def test_requests_go_on_without_nats_and_workers_return_to_an_empty_one(own_nats, start_worker, client_of):
    process = start_worker(lease=0.6, url=own_nats.url)
    client = await client_of("pid", url=own_nats.url, lease=0.6)
    await client.wait_for_instances()
    await (await client_of("ready", url=own_nats.url)).call()
    watch = client.selection.watch
    own_nats.kill()
    # Several looks at the deadlines pass while NATS is away; nobody is taken out for its silence.
    extended, extend = asyncio.Queue(), watch.extend

    def noted():
        extend()
        extended.put_nowait(None)

    watch.extend = noted
    for _ in range(2):
        await extended.get()
    assert await client.call() == process.pid
    own_nats.start()
    newcomer = await client_of("pid", url=own_nats.url, lease=0.6)
    await newcomer.wait_for_instances()
    assert await newcomer.call() == process.pid
    assert await client.call() == process.pid


async def test_instances_with_different_leases_share_a_bucket(own_nats, start_worker, client_of):
    pids = {start_worker(lease=0.6, url=own_nats.url).pid, start_worker(lease=5, url=own_nats.url).pid}
    client = await client_of("pid", url=own_nats.url)
    await client.wait_for_instances(count=2)
    assert {await client.call(), await client.call()} == pids
