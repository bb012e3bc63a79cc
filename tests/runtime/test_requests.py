import asyncio
import dataclasses
import enum
import threading
from pathlib import Path

import pydantic
import pytest

from dynamo_nb.errors import (
    ConfigError,
    EndpointError,
    InvalidArgument,
    NoInstances,
    NoSuchEndpoint,
    Problem,
    WorkerLost,
)
from dynamo_nb.runtime.call_errors import to_dynamo_error
from dynamo_nb.runtime.wire import MAX_FRAME
from dynamo_nb.sdk.portal import portal


async def add(args, kwargs, context):
    return args[0] + kwargs.get("more", 0)


async def count(args, kwargs, context):
    for i in range(args[0]):
        yield i


async def echo(args, kwargs, context):
    return args


async def fail(args, kwargs, context):
    def deep():
        raise KeyError("the user's mistake")

    deep()


async def fail_late(args, kwargs, context):
    yield 1
    raise ValueError("after one")


async def fail_as_ours(args, kwargs, context):
    raise ConfigError([Problem("wrong", "services.A", "a.yaml:3")], remedy="mend it")


async def lose(args, kwargs, context):
    raise WorkerLost("a worker further down", where="there")


async def headers(args, kwargs, context):
    return context.headers, context.request_id, context.instance_id, context.is_stopped()


async def unsendable(args, kwargs, context):
    return object()


async def leak_cancellation(args, kwargs, context):
    raise asyncio.CancelledError


async def returns_stream(args, kwargs, context):
    return count(args, kwargs, context)


HANDLERS = {
    handler.__name__: handler
    for handler in (add, count, echo, fail, fail_late, fail_as_ours, lose, headers, unsendable, returns_stream)
} | {"leak": leak_cancellation}


@pytest.fixture
async def plane(plane_options, caller_options, connect, space):
    """Serves HANDLERS. Returns a function that creates another runtime's client of one of them."""
    server = await connect(**plane_options)
    await server.namespace(space).component("C").serve(HANDLERS, {"add": {"doc": "adds"}})
    runtime = await connect(plane=plane_options.get("plane", "direct"), **caller_options)

    async def client(name):
        return await runtime.namespace(space).component("C").endpoint(name).client()

    client.server, client.runtime, client.kind = server, runtime, next(iter(plane_options))
    return client


async def test_a_call_returns_the_answer(plane):
    client = await plane("add")
    assert await client.call([1], {"more": 2}) == 3
    [instance] = client.instances
    assert instance.info == {"add": {"doc": "adds"}}
    assert bool(instance.socket) == (plane.kind == "socket_dir")
    assert bool(instance.port) == (plane.kind in {"host", "tls"})
    assert bool(instance.subject) == (plane.kind == "plane")


async def test_a_stream_is_iterated_or_awaited_as_a_list(plane):
    client = await plane("count")
    assert [i async for i in client.call([1000])] == list(range(1000))
    assert await client.call([3]) == [0, 1, 2]
    assert await client.call([0]) == []


async def test_an_answer_can_be_iterated_as_one_item(plane):
    assert [item async for item in (await plane("add")).call([1])] == [1]
    assert [item async for item in (await plane("returns_stream")).call([2])] == [0, 1]


async def test_many_calls_share_one_connection(plane):
    client = await plane("add")
    assert await asyncio.gather(*(client.call([i]) for i in range(200))) == list(range(200))
    assert len(plane.server.server.connections) == 1


async def test_a_large_argument_arrives_unchanged(plane):
    data = bytes(range(256)) * 80_000
    assert (await (await plane("echo")).call([data]))[0] == data


async def test_models_enums_and_paths_arrive_as_plain_data(plane):
    class Model(pydantic.BaseModel):
        x: int = 1
        path: Path = Path("/a")

    class Colour(enum.Enum):
        RED = "red"

    @dataclasses.dataclass
    class Data:
        tags: set[str]

    answer = await (await plane("echo")).call([Model(), {"deep": [Model()]}, Colour.RED, Data({"a"}), Path("/b")])
    model = {"x": 1, "path": "/a"}
    assert answer == [model, {"deep": [model]}, "red", {"tags": ["a"]}, "/b"]


async def test_the_error_of_an_exception_has_the_users_lines(plane):
    with pytest.raises(EndpointError, match="the user's mistake") as caught:
        await (await plane("fail")).call()
    assert caught.value.kind == "KeyError"
    assert "in deep" in caught.value.traceback
    assert "dynamo_nb/runtime" not in caught.value.traceback


async def test_items_before_an_error_arrive(plane):
    items = aiter((await plane("fail_late")).call())
    assert await anext(items) == 1
    with pytest.raises(EndpointError, match="after one"):
        await anext(items)


async def test_errors_of_the_package_keep_their_type(plane):
    with pytest.raises(ConfigError, match="wrong") as caught:
        await (await plane("fail_as_ours")).call()
    assert caught.value.problems == (Problem("wrong", "services.A", "a.yaml:3"),)
    with pytest.raises(WorkerLost, match="further down"):
        await (await plane("lose")).call()


async def test_a_value_that_cannot_be_sent_is_an_error_of_its_sender(plane):
    client = await plane("echo")
    with pytest.raises(InvalidArgument, match="object"):
        await client.call([object()])
    with pytest.raises(InvalidArgument, match="bytes, and one message may have at most"):
        await client.call([b"x" * MAX_FRAME])
    with pytest.raises(EndpointError, match="the answer cannot be sent"):
        await (await plane("unsendable")).call()
    assert await client.call([1]) == [1]


async def test_a_handler_that_raises_a_cancellation_is_an_error(plane):
    with pytest.raises(EndpointError, match="Cancelled"):
        await (await plane("leak")).call()


async def test_a_handler_knows_its_request(plane):
    client = await plane("headers")
    seen, request_id, instance_id, stopped = await client.call(headers={"request-id": "r1", "k": "v"})
    assert (seen, request_id, stopped) == ({"request-id": "r1", "k": "v"}, "r1", False)
    assert instance_id == plane.server.instance_id
    assert (await client.call())[1] != (await client.call())[1]


async def test_the_error_of_an_unknown_endpoint_names_the_nearest(plane):
    with pytest.raises(NoSuchEndpoint, match="did you mean 'count'"):
        await (await plane("cuont")).call([1])


async def test_a_registered_endpoint_without_a_handler_is_an_error(plane, space):
    client = await plane("count")
    del plane.server.server.handlers[f"{space}/C/count"]
    with pytest.raises(NoSuchEndpoint, match="no endpoint 'count'"):
        await client.call([1])


@pytest.mark.usefixtures("short_wait")
async def test_the_error_without_instances_has_the_address_and_no_credential(connect, space, nats_url):
    client = await (await connect()).namespace(space).component("Missing").endpoint("generate").client()
    with pytest.raises(NoInstances) as caught:
        await client.call()
    text = str(caught.value)
    assert f"dynamo://{space}/Missing/generate" in text
    assert nats_url.partition("@")[2] in text
    assert nats_url not in text
    with pytest.raises(NoInstances, match="0 of 2 instances"):
        await client.wait_for_instances(timeout=0.01, count=2)


async def test_the_methods_of_upstreams_api_work(connect, space):
    server, runtime = await connect(), await connect()

    async def generate(request):
        for word in request["text"].split():
            yield word

    async def with_context(request, context):
        return request, context.instance_id

    component = server.namespace(space).component("C")
    serving = [
        asyncio.create_task(component.endpoint("generate").serve_endpoint(generate)),
        asyncio.create_task(component.endpoint("with_context").serve_endpoint(with_context)),
    ]
    client = await runtime.namespace(space).component("C").endpoint("generate").client()
    assert await client.wait_for_instances() == [server.instance_id]
    for send in (client.generate, client.random, client.round_robin):
        assert [item.data() async for item in await send({"text": "a b"})] == ["a", "b"]
    direct = await client.direct({"text": "c"}, server.instance_id)
    assert [item.data() async for item in direct] == ["c"]
    other = await runtime.endpoint(f"dynamo://{space}/C/with_context").client()
    await other.wait_for_instances()
    assert [item.data() async for item in await other.generate(1)] == [[1, server.instance_id]]
    await server.close()
    await asyncio.gather(*serving)


async def test_result_works_while_the_clients_loop_is_blocked(plane):
    client = await plane("add")
    ready, release = threading.Event(), threading.Event()

    async def serve_in_thread():
        # This test blocks the loop of `plane`, so the call needs a worker on another loop.
        from dynamo_nb.runtime import DistributedRuntime

        runtime = await DistributedRuntime.connect(**vars(plane.server.access))
        await runtime.namespace("blocked").component(plane.server.worker_id).serve({"add": add})
        ready.set()
        await asyncio.to_thread(release.wait)
        await runtime.close()

    thread = threading.Thread(target=asyncio.run, args=(serve_in_thread(),))
    thread.start()
    try:
        ready.wait()
        component = plane.runtime.namespace("blocked").component(plane.server.worker_id)
        client = await component.endpoint("add").client()
        assert client.call([1], {"more": 1}).result(timeout=20) == 2  # blocks this loop
    finally:
        release.set()
        await asyncio.to_thread(thread.join)


async def test_a_call_can_be_awaited_and_iterated_on_another_loop(plane):
    adder, counter = await plane("add"), await plane("count")

    async def calls():
        return await adder.call([5]), [i async for i in counter.call([3])]

    assert await asyncio.to_thread(asyncio.run, calls()) == (5, [0, 1, 2])
    on_portal = asyncio.run_coroutine_threadsafe(calls(), portal.loop)
    assert await asyncio.wrap_future(on_portal) == (5, [0, 1, 2])


class NoMessage(Exception):
    def __str__(self):
        raise ValueError("no message")


def test_an_exception_whose_message_raises_is_still_answered():
    def handler():
        """The handler of the error."""

    error = to_dynamo_error(NoMessage(), handler)
    assert error.what == "NoMessage: (no message: its __str__ raised ValueError)"
    assert "exception str() failed" in error.traceback
