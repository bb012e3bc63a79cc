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


async def wait_until(client, condition):
    while not condition(client.instance_ids()):
        await client.wait_for_change()


@pytest.fixture
def client_of(connect, space):
    async def client(endpoint, **options):
        return await (await connect(**options)).namespace(space).component("Echo").endpoint(endpoint).client()

    return client


async def test_a_worker_killed_during_a_stream_is_lost(start_worker, client_of):
    process, client = start_worker(), await client_of("endless")
    await client.wait_for_instances()
    items = aiter(client.call())
    assert await anext(items) == process.pid
    process.kill()
    with pytest.raises(WorkerLost, match="before its answer was complete"):
        await anext(items)
    assert client.instance_ids() == []  # at once, not at the end of its lease


async def test_a_request_without_an_answer_is_sent_to_another_worker(start_worker, client_of, tmp_path):
    processes = [start_worker(), start_worker()]
    client = await client_of("die_once")
    await client.wait_for_instances(count=2)
    survivor = await client.call([str(tmp_path / "died")])
    assert survivor in [process.pid for process in processes]
    assert len(client.instance_ids()) == 1


async def test_a_request_that_kills_its_worker_does_not_reach_all_workers(start_worker, client_of):
    for _ in range(4):
        start_worker()
    client = await client_of("die")
    await client.wait_for_instances(count=4)
    with pytest.raises(WorkerLost):
        await client.call()
    assert len(client.instance_ids()) == 1


async def test_a_call_of_one_instance_is_not_sent_to_another(start_worker, client_of, tmp_path):
    start_worker()
    start_worker()
    client = await client_of("die_once")
    [first, _] = await client.wait_for_instances(count=2)
    with pytest.raises(WorkerLost):
        await client.call([str(tmp_path / "died")], instance_id=first)
    with pytest.raises(NoInstances, match=str(first)):
        await client.call([str(tmp_path / "died")], instance_id=first)


async def test_after_a_refused_connection_another_worker_is_tried(start_worker, client_of):
    # A client without a connection notices a dead worker only when it connects.
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


async def test_a_silent_worker_is_removed_after_its_lease_and_returns(start_worker, client_of):
    process, client = start_worker(lease=0.6), await client_of("pid", lease=0.6)
    await client.wait_for_instances()
    assert await client.call() == process.pid
    registered, changes = client.instance_ids(), client.selection.watch.version
    os.kill(process.pid, signal.SIGSTOP)
    await wait_until(client, lambda ids: not ids)
    with pytest.raises(NoInstances):
        await client.call()
    os.kill(process.pid, signal.SIGCONT)
    await client.wait_for_instances()
    assert await client.call() == process.pid
    assert client.instance_ids() == registered
    assert client.selection.watch.version == changes + 2  # removed once, added once


async def test_round_robin_alternates_and_random_reaches_all(start_worker, client_of):
    pids = {start_worker().pid, start_worker().pid}
    client = await client_of("pid")
    ids = await client.wait_for_instances(count=2)
    assert {await client.call(), await client.call()} == pids
    assert (await anext(await client.direct(None, ids[1]))).data() in pids
    assert {(await anext(await client.random(None))).data() for _ in range(40)} == pids


class Nats:
    """An external NATS server, which keeps its port when it is restarted."""

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
def external_nats(tmp_path):
    nats = Nats(tmp_path)
    nats.start()
    yield nats
    with contextlib.suppress(ValueError):
        nats.kill()


async def test_requests_continue_without_nats_and_workers_register_with_an_empty_one(
    external_nats, start_worker, client_of
):
    process = start_worker(lease=0.6, url=external_nats.url)
    client = await client_of("pid", url=external_nats.url, lease=0.6)
    await client.wait_for_instances()
    await (await client_of("ready", url=external_nats.url)).call()
    watch = client.selection.watch
    external_nats.kill()
    # Leases are checked several times without NATS; no silent worker is removed.
    extended, extend = asyncio.Queue(), watch.extend

    def observed():
        extend()
        extended.put_nowait(None)

    watch.extend = observed
    for _ in range(2):
        await extended.get()
    assert await client.call() == process.pid
    external_nats.start()
    newcomer = await client_of("pid", url=external_nats.url, lease=0.6)
    await newcomer.wait_for_instances()
    assert await newcomer.call() == process.pid
    assert await client.call() == process.pid


async def test_instances_with_different_leases_share_a_bucket(external_nats, start_worker, client_of):
    pids = {start_worker(lease=0.6, url=external_nats.url).pid, start_worker(lease=5, url=external_nats.url).pid}
    client = await client_of("pid", url=external_nats.url)
    await client.wait_for_instances(count=2)
    assert {await client.call(), await client.call()} == pids
