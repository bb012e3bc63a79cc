import asyncio

import pytest

from dynamo_nb.errors import DeadlineExceeded, InvalidArgument, NoInstances
from dynamo_nb.runtime import no_request, request_scope

SOON, LATER = 0.1, 60.0


class Services:
    """`Front` calls `Back`, each in a runtime of its own."""

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
    made = Services()
    front, back, caller = await connect(socket_dir=tmp_path), await connect(socket_dir=tmp_path), await connect()
    await back.namespace(space).component("Back").serve({"call": made.back_end, "stream": made.stream})
    await front.namespace(space).component("Front").serve({"call": made.front, "alone": made.front_alone})
    made.back = await front.namespace(space).component("Back").endpoint("call").client()

    async def client(component, endpoint):
        return await caller.namespace(space).component(component).endpoint(endpoint).client()

    made.client, made.runtime = client, caller
    return made


@pytest.mark.parametrize("component", ["Back", "Front"])
async def test_a_deadline_ends_the_call_and_the_work_down_the_line(services, component):
    client = await services.client(component, "call")
    with pytest.raises(DeadlineExceeded, match=f"{component}/call did not answer") as caught:
        await client.call(["wait"], timeout=SOON)
    assert isinstance(caught.value, TimeoutError)
    await services.stopped.wait()
    assert services.seen.is_stopped()


@pytest.mark.usefixtures("any_header")
async def test_the_worker_keeps_the_deadline_by_itself(services):
    client = await services.client("Back", "call")
    items = aiter(client.call(["wait"], headers={"timeout": str(SOON)}))  # of which this end's own clock knows nothing
    with pytest.raises(DeadlineExceeded):
        await anext(items)
    assert services.stopped.is_set()


async def test_a_deadline_ends_a_stream_that_has_begun(services):
    items = aiter((await services.client("Back", "stream")).call(timeout=SOON))
    assert await anext(items) == 1
    with pytest.raises(DeadlineExceeded):
        await anext(items)
    await services.stopped.wait()


async def test_what_is_quick_enough_knows_how_long_it_had(services):
    client = await services.client("Front", "call")
    _, _, remaining = await client.call(timeout=LATER)
    assert 0 < remaining < LATER
    assert (await client.call())[2] is None
    with request_scope(timeout=LATER), request_scope(timeout=2 * LATER):
        assert (await client.call())[2] < LATER


async def test_a_deadline_holds_while_nobody_is_there(services):
    nobody = await services.client("Nobody", "call")
    with pytest.raises(DeadlineExceeded):
        await nobody.call(timeout=SOON)
    with request_scope(timeout=-1), pytest.raises(DeadlineExceeded):
        await nobody.call()
    with pytest.raises(NoInstances):
        await nobody.call(instance_id=1, timeout=LATER)


async def test_a_request_keeps_its_name_and_trace_down_the_line(services):
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


async def test_a_request_without_a_name_is_given_one_that_goes_on(services):
    headers, request_id, _ = await (await services.client("Front", "call")).call()
    assert headers == {"request-id": request_id}
    assert request_id


@pytest.mark.parametrize("headers", [{"x": 1}, {1: "x"}, {"timeout": "5s"}])
async def test_a_header_that_cannot_travel_is_refused_where_it_was_written(connect, space, headers):
    runtime = await connect()
    client = await runtime.namespace(space).component("C").endpoint("e").client()
    with pytest.raises(InvalidArgument, match="header"):
        await client.call(headers=headers)
    with pytest.raises(InvalidArgument, match="header"), request_scope(headers):
        pass
