"""External NATS: a cluster of three servers, credentials, TLS."""

import asyncio
import json
import socket
import subprocess
import time

import pytest

from dynamo_nb.errors import ConnectError
from dynamo_nb.runtime import DistributedRuntime
from dynamo_nb.runtime.nats_server import find_binary


def free_ports(count):
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


class Server:
    """One NATS server with its own configuration."""

    def __init__(self, folder, name, port, more=""):
        self.config, self.url, self.name = folder / f"{name}.conf", f"nats://127.0.0.1:{port}", name
        self.config.write_text(
            f'server_name: {name}\nlisten: "127.0.0.1:{port}"\njetstream {{ store_dir: {json.dumps(str(folder / name))} }}\n{more}'
        )
        self.process = None

    def start(self):
        self.process = subprocess.Popen([find_binary(), "-c", self.config], stderr=subprocess.PIPE)
        while b"Listening for client" not in self.process.stderr.readline():
            assert self.process.poll() is None

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stderr.close()
            self.process = None


@pytest.fixture
def servers():
    """Starts servers, and ends them after the test."""
    started = []

    def start(*servers):
        for server in servers:
            server.start()
            started.append(server)

    yield start
    for server in started:
        server.kill()


async def connect_to(url, **options):
    """Connects a runtime as soon as the server runs."""
    for _ in range(40):
        try:
            return await DistributedRuntime.connect(url, **options)
        except ConnectError as error:
            last = error
    raise last


async def serve_with(runtime, space, handlers):
    """Serves as soon as the cluster has a leader."""
    for _ in range(20):
        try:
            return await runtime.namespace(space).component("C").serve(handlers)
        except ConnectError as error:
            last = error
    raise last


async def heartbeats(runtime, worker, count):
    """Waits for the next heartbeats of a worker."""
    received, left = asyncio.Event(), [count]

    async def receive(_message):
        left[0] -= 1
        if not left[0]:
            received.set()

    [registration] = worker.discovery._registrations
    await runtime.nats.subscribe(f"$KV.dynamo_instances.{registration.instance.key}", cb=receive)
    await received.wait()


async def answer(args, kwargs, context):
    return "answered"


@pytest.mark.slow
@pytest.mark.parametrize("which", ["leader", "follower", "the worker's own"])
async def test_calls_continue_without_one_of_three_servers(servers, which, tmp_path, space, figures):
    clients, routes = free_ports(3), free_ports(3)
    urls = ", ".join(f"nats://127.0.0.1:{port}" for port in routes)
    cluster = [
        Server(
            tmp_path, f"s{i}", clients[i], f'cluster {{ name: c, listen: "127.0.0.1:{routes[i]}", routes: [{urls}] }}\n'
        )
        for i in range(3)
    ]
    servers(*cluster)
    url = ",".join(server.url for server in cluster)
    worker = await connect_to(url, socket_dir=tmp_path / "sockets", lease=1.0)
    await serve_with(worker, space, {"answer": answer})
    runtime = await connect_to(url, lease=1.0)
    client = await runtime.namespace(space).component("C").endpoint("answer").client()
    assert await client.call() == "answered"
    leader = (await runtime.nats.jetstream().stream_info("KV_dynamo_instances")).cluster.leader
    own = next(
        server.name for server in cluster if server.url.rpartition(":")[2] == str(worker.nats.connected_url.port)
    )
    victim = {"leader": leader, "the worker's own": own, "follower": next(s.name for s in cluster if s.name != leader)}[
        which
    ]
    calling, failed, times = True, [], []

    async def load():
        while calling:
            start = time.monotonic()
            try:
                await client.call()
            except Exception as error:
                failed.append(error)
            times.append(time.monotonic() - start)
            await asyncio.sleep(0.001)

    task = asyncio.create_task(load())
    next(server for server in cluster if server.name == victim).kill()
    killed = time.monotonic()
    newcomer = await connect_to(url, lease=1.0)
    new_client = await newcomer.namespace(space).component("C").endpoint("answer").client()
    await new_client.wait_for_instances(timeout=30)
    assert await new_client.call() == "answered"
    # Heartbeats written after the loss keep the worker's entry.
    await heartbeats(newcomer, worker, 3)
    back = time.monotonic() - killed
    calling = False
    await task
    figures(
        calls=len(times), failed=len(failed), longest_ms=round(1e3 * max(times), 1), heartbeats_again_s=round(back, 2)
    )
    assert failed == []
    assert client.instance_ids() == new_client.instance_ids() == [worker.instance_id]
    for each in (newcomer, runtime, worker):
        await each.close()


async def test_a_server_with_credentials_accepts_them_and_refuses_others(servers, tmp_path, space):
    [port] = free_ports(1)
    servers(Server(tmp_path, "s", port, "authorization { users: [ { user: a, password: b } ] }\n"))
    runtime = await connect_to(f"nats://a:b@127.0.0.1:{port}")
    await serve_with(runtime, space, {"answer": answer})
    await runtime.close()
    with pytest.raises(ConnectError) as caught:
        await DistributedRuntime.connect(f"nats://a:wrong@127.0.0.1:{port}")
    assert "wrong" not in str(caught.value)


async def test_a_server_with_tls_is_reached_with_its_authority_only(servers, tmp_path, certificates, space):
    [port] = free_ports(1)
    files = {f"{name}_file": str(certificates / file) for name, file in (("cert", "tls.crt"), ("key", "tls.key"))}
    servers(Server(tmp_path, "s", port, f"tls {json.dumps(files)}\n"))
    runtime = await connect_to(f"tls://127.0.0.1:{port}", nats_tls=str(certificates))
    await serve_with(runtime, space, {"answer": answer})
    client = await runtime.namespace(space).component("C").endpoint("answer").client()
    assert await client.call() == "answered"
    await runtime.close()
    with pytest.raises(ConnectError):
        await DistributedRuntime.connect(f"tls://127.0.0.1:{port}")
