"""Which connections reach the workers of a deployment, and with which credentials."""

import pytest

from dynamo_nb.errors import ProtocolError
from dynamo_nb.runtime import DistributedRuntime
from dynamo_nb.runtime.connection_settings import ConnectionSettings
from dynamo_nb.sdk.portal import portal

pytestmark = pytest.mark.slow


async def call_remotely(access):
    """Calls Backend.pid as a process on another machine does, which cannot use the worker's Unix socket."""
    runtime = await DistributedRuntime.connect(**vars(access))
    try:
        client = await runtime.namespace("default").component("Backend").endpoint("pid").client()
        [instance, *_] = client.instances
        return await client.call(), instance
    finally:
        await runtime.close()


def test_a_deployment_whose_requests_go_over_nats(program):
    with program.serve("program:Frontend", plane="nats").result() as deployment:
        assert deployment.Frontend.say("hello").result(timeout=30) == "hello"
        _, instance = portal.run(call_remotely(deployment.access), timeout=30)
    assert (instance.socket, instance.port) == (None, None)
    assert instance.subject


def test_a_worker_registers_what_it_is(program):
    with program.serve("program:Frontend").result() as deployment:
        _, instance = portal.run(call_remotely(deployment.access), timeout=30)
        version = deployment.spec.fingerprint("Backend")[:12]
    assert instance.graph == deployment.id
    assert instance.version == version
    assert instance.worker_id.startswith("Backend.")
    assert instance.capacity["gpus"] == []
    assert instance.info["pid"]["output"] == {"type": "integer"}


def test_workers_that_listen_for_other_machines_want_the_secret_and_encrypt(program, certificates, monkeypatch):
    # Another machine: the sockets of this one are none of its business.
    monkeypatch.setattr("dynamo_nb.runtime.pool.HOST_ID", "another machine")
    options = {"worker_host": "127.0.0.1", "secret": "between us", "tls": str(certificates)}
    with program.serve("program:Frontend", **options).result() as deployment:
        access = deployment.access
        pid, instance = portal.run(call_remotely(access), timeout=30)
        assert pid in {worker.pid for worker in deployment.status.services["Backend"].workers}
        assert instance.tls
        for wrong in ({"secret": "guessed"}, {"tls": ""}):
            with pytest.raises(ProtocolError):
                portal.run(call_remotely(ConnectionSettings(**vars(deployment.access) | wrong)), timeout=30)
        assert not any("between us" in file.read_text() for file in deployment.folder.rglob("*.json"))
