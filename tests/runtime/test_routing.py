import asyncio
from collections import Counter

import pytest

from dynamo_nb.errors import WorkerLost
from dynamo_nb.runtime import Affinity, LeastLoaded, circuit_breaker
from dynamo_nb.runtime.circuit_breaker import FAILURES, CircuitBreaker
from dynamo_nb.runtime.instance import Instance

ENDPOINT = {"namespace": "n", "component": "C", "endpoints": ("e",), "lease": 3.0}
INSTANCES = [Instance(instance_id=1000 + i, worker_id=str(i), **ENDPOINT) for i in range(10)]


class Request:
    def __init__(self, key=None, load=()):
        self.key, self.load = key, dict(load)

    def in_flight(self, instance):
        return self.load.get(instance.instance_id, 0)


def test_a_key_keeps_its_instance():
    policy, keys = Affinity(), [f"session {i}" for i in range(2000)]
    chosen = {key: policy.pick(INSTANCES, Request(key)) for key in keys}
    assert {key: policy.pick(INSTANCES[::-1], Request(key)) for key in keys} == chosen
    assert min(Counter(instance.worker_id for instance in chosen.values()).values()) > 100  # of 200 each
    fewer = INSTANCES[1:]
    moved = {key for key in keys if policy.pick(fewer, Request(key)) != chosen[key]}
    assert moved == {key for key in keys if chosen[key] == INSTANCES[0]}
    assert len({policy.pick(INSTANCES, Request()).worker_id for _ in range(200)}) > 1


def test_least_loaded_chooses_the_less_loaded_of_two():
    policy = LeastLoaded()
    load = {instance.instance_id: 5 for instance in INSTANCES[:5]}
    picks = Counter(policy.pick(INSTANCES, Request(load=load)) in INSTANCES[:5] for _ in range(1000))
    assert picks[True] < 400  # two random instances are both loaded in 2 of 9 cases
    assert policy.pick(INSTANCES[:1], Request()) is INSTANCES[0]
    busy = {instance.instance_id: 1 for instance in INSTANCES[1:]}
    assert all(policy.pick(INSTANCES[:2], Request(load=busy)) is INSTANCES[0] for _ in range(50))


async def test_least_loaded_counts_the_requests_in_flight(start_worker, connect, space):
    start_worker()
    start_worker()
    runtime = await connect()
    component = runtime.namespace(space).component("Echo")
    endless, pid = await component.endpoint("endless").client(), await component.endpoint("pid").client(LeastLoaded())
    ids = await pid.wait_for_instances(count=2)
    streams = [aiter(endless.call(instance_id=ids[0])) for _ in range(3)]
    [busy] = {await anext(items) for items in streams}
    assert busy not in {await pid.call() for _ in range(20)}
    for items in streams:
        await items.aclose()


async def test_calls_with_the_same_key_reach_the_same_worker(start_worker, connect, space):
    for _ in range(3):
        start_worker()
    client = await (await connect()).namespace(space).component("Echo").endpoint("pid").client()
    await client.wait_for_instances(count=3)
    by_key = [{await client.call(key=str(key)) for _ in range(5)} for key in range(20)]
    assert [len(pids) for pids in by_key] == [1] * 20
    assert len(set.union(*by_key)) > 1


@pytest.mark.parametrize("endpoint", ["once", "repeated"])
async def test_a_request_to_a_once_endpoint_is_not_sent_again(endpoint, connect, space, tmp_path):
    done = asyncio.Queue()
    servers = [await connect(socket_dir=tmp_path) for _ in range(2)]

    def handler(server):
        async def handle(args, kwargs, context):
            done.put_nowait(server)
            if done.qsize() == 1:
                [connection] = server.server.connections
                connection.abort()
                await asyncio.Event().wait()
            return "done"

        return handle

    for server in servers:
        component = server.namespace(space).component("C")
        await component.serve({"once": handler(server), "repeated": handler(server)}, once=["once"])
    client = await (await connect()).namespace(space).component("C").endpoint(endpoint).client()
    await client.wait_for_instances(count=2)
    if endpoint == "once":
        with pytest.raises(WorkerLost):
            await client.call()
        assert done.qsize() == 1
    else:
        assert await client.call() == "done"
        assert done.qsize() == 2


async def test_a_rejected_request_to_a_once_endpoint_is_sent_again(connect, space, tmp_path):
    servers = [await connect(socket_dir=tmp_path) for _ in range(2)]

    async def answer(args, kwargs, context):
        return "done"

    for server in servers:
        await server.namespace(space).component("C").serve({"once": answer}, once=["once"])
    client = await (await connect()).namespace(space).component("C").endpoint("once").client()
    await client.wait_for_instances(count=2)
    await servers[0].server.drain()
    assert [await client.call() for _ in range(4)] == ["done"] * 4


class Clock:
    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr(circuit_breaker.time, "monotonic", lambda: self.now)


def test_an_unreachable_instance_is_skipped_for_longer_and_longer(monkeypatch):
    clock, breaker, [bad, good] = Clock(monkeypatch), CircuitBreaker(), INSTANCES[:2]
    for _ in range(FAILURES):
        assert breaker.admitted([bad, good]) == [bad, good]
        breaker.started(bad)
        breaker.failed(bad)
    pauses = []
    for _ in range(10):
        start = clock.now
        while breaker.admitted([bad, good]) == [good]:
            clock.now += 0.25
        pauses.append(clock.now - start)
        breaker.started(bad)
        assert breaker.admitted([bad, good]) == [good]  # one attempt at a time
        breaker.failed(bad)
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30]
    assert breaker.admitted([bad]) == [bad]
    breaker.succeeded(bad)
    assert not breaker.failures
    assert breaker.admitted([bad, good]) == [bad, good]


async def test_calls_skip_a_registered_instance_that_cannot_be_reached(connect, space, tmp_path, monkeypatch):
    monkeypatch.setattr(circuit_breaker, "FIRST_PAUSE", circuit_breaker.LONGEST_PAUSE)
    server, unreachable, runtime = await connect(socket_dir=tmp_path), await connect(), await connect()

    async def answer(args, kwargs, context):
        return "done"

    await server.namespace(space).component("C").serve({"e": answer})
    await unreachable.namespace(space).component("C").serve({"e": answer})
    await unreachable.server.close()
    client = await runtime.namespace(space).component("C").endpoint("e").client()
    for _ in range(FAILURES):
        await client.wait_for_instances(count=2)  # its heartbeats arrive, so that it is added repeatedly
        assert [await client.call() for _ in range(2)] == ["done"] * 2
        [registration] = unreachable.discovery._registrations
        while len(client.instances) < 2:
            registration.renew()
            await client.wait_for_change()
    assert runtime.connections.breaker.failures[unreachable.instance_id][0] == FAILURES
    assert [await client.call() for _ in range(10)] == ["done"] * 10
    assert len(client.instances) == 2
