import asyncio

import pytest

from dynamo_nb.errors import DeadlineExceeded, InvalidArgument, NoInstances
from dynamo_nb.runtime import no_request, request_scope

SOON, LATER = 0.1, 60.0


class Services:
    """`Front` calls `Back`, each in its own runtime."""

    def __init__(self):
        self.back = None
        self.stopped = asyncio.Event()
        self.seen = None

    async def front(self, args, kwargs, context):
        return await self.back.call(args)

    async def front_alone(self, args, kwargs, context):
        with no_request():
            return await self.back.call(args)

    async def back_end(self, args, kwargs, context):
        self.seen = context
        if args == ["wait"]:
            try:
                await asyncio.Event().wait()
            finally:
                self.stopped.set()
        return context.headers, context.request_id, context.remaining()

    async def stream(self, args, kwargs, context):
        self.seen = context
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            self.stopped.set()


@pytest.fixture
async def services(connect, space, tmp_path):
    services = Services()
    front, back, caller = await connect(socket_dir=tmp_path), await connect(socket_dir=tmp_path), await connect()
    await back.namespace(space).component("Back").serve({"call": services.back_end, "stream": services.stream})
    await front.namespace(space).component("Front").serve({"call": services.front, "alone": services.front_alone})
    services.back = await front.namespace(space).component("Back").endpoint("call").client()

    async def client(component, endpoint):
        return await caller.namespace(space).component(component).endpoint(endpoint).client()

    services.client, services.runtime = client, caller
    return services


@pytest.mark.parametrize("component", ["Back", "Front"])
async def test_a_deadline_ends_the_call_and_all_calls_below_it(services, component):
    client = await services.client(component, "call")
    with pytest.raises(DeadlineExceeded, match=f"{component}/call did not answer") as caught:
        await client.call(["wait"], timeout=SOON)
    assert isinstance(caught.value, TimeoutError)
    await services.stopped.wait()
    assert services.seen.is_stopped()


@pytest.mark.usefixtures("any_header")
async def test_the_worker_enforces_the_deadline_by_itself(services):
    client = await services.client("Back", "call")
    items = aiter(client.call(["wait"], headers={"timeout": str(SOON)}))  # which this end does not enforce
    with pytest.raises(DeadlineExceeded):
        await anext(items)
    assert services.stopped.is_set()


async def test_a_deadline_ends_a_stream_after_its_first_item(services):
    items = aiter((await services.client("Back", "stream")).call(timeout=SOON))
    assert await anext(items) == 1
    with pytest.raises(DeadlineExceeded):
        await anext(items)
    await services.stopped.wait()


async def test_a_handler_knows_the_remaining_time(services):
    client = await services.client("Front", "call")
    _, _, remaining = await client.call(timeout=LATER)
    assert 0 < remaining < LATER
    assert (await client.call())[2] is None
    with request_scope(timeout=LATER), request_scope(timeout=2 * LATER):
        assert (await client.call())[2] < LATER


async def test_a_deadline_ends_a_call_without_instances(services):
    missing = await services.client("Missing", "call")
    with pytest.raises(DeadlineExceeded):
        await missing.call(timeout=SOON)
    with request_scope(timeout=-1), pytest.raises(DeadlineExceeded):
        await missing.call()
    with pytest.raises(NoInstances):
        await missing.call(instance_id=1, timeout=LATER)


async def test_calls_carry_the_request_id_and_the_trace(services):
    client = await services.client("Front", "call")
    trace = {"request-id": "r-1", "traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01"}
    headers, request_id, _ = await client.call(headers=trace | {"mine": "alone"})
    assert (headers, request_id) == (trace, "r-1")
    with request_scope({"request-id": "r-2"}):
        assert (await client.call())[1] == "r-2"
    alone = await services.client("Front", "alone")
    headers, request_id, remaining = await alone.call(headers=trace, timeout=LATER)
    assert (headers, remaining) == ({}, None)
    assert request_id != "r-1"


async def test_a_request_without_an_id_gets_one_that_calls_carry(services):
    headers, request_id, _ = await (await services.client("Front", "call")).call()
    assert headers == {"request-id": request_id}
    assert request_id


@pytest.mark.parametrize("headers", [{"x": 1}, {1: "x"}, {"timeout": "5s"}])
async def test_an_invalid_header_is_an_error_of_the_caller(connect, space, headers):
    runtime = await connect()
    client = await runtime.namespace(space).component("C").endpoint("e").client()
    with pytest.raises(InvalidArgument, match="header"):
        await client.call(headers=headers)
    with pytest.raises(InvalidArgument, match="header"), request_scope(headers):
        pass
