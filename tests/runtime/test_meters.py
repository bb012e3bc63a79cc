import asyncio
from bisect import bisect_left
from itertools import pairwise
from time import perf_counter

import pytest

from dynamo_nb.errors import DeadlineExceeded, EndpointError, InvalidArgument, NoInstances, NoSuchEndpoint
from dynamo_nb.runtime.meters import BOUNDS, FINE_BOUNDS, Meter, cumulative, total

SOON = 0.1


class Service:
    """Handlers that answer, fail, or wait until the test continues them."""

    def __init__(self):
        self.begun, self.go_on, self.stopped = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def answer(self, args, kwargs, context):
        return args

    async def fail(self, args, kwargs, context):
        raise ValueError("no")

    async def wait(self, args, kwargs, context):
        self.begun.set()
        try:
            await self.go_on.wait()
        finally:
            self.stopped.set()

    async def stream(self, args, kwargs, context):
        for number in range(3):
            yield number

    async def begin(self, args, kwargs, context):
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            self.stopped.set()


@pytest.fixture
async def service(connect, space, plane_options, caller_options):
    service = Service()
    server = await connect(**plane_options)
    caller = await connect(plane=plane_options.get("plane", "direct"), **caller_options)
    names = ("answer", "fail", "wait", "stream", "begin")
    await server.namespace(space).component("C").serve({name: getattr(service, name) for name in names})

    async def client(endpoint):
        return await caller.namespace(space).component("C").endpoint(endpoint).client()

    def measured(endpoint):
        """Returns the counts of the worker and of the caller."""
        path = f"{space}/C/{endpoint}"
        return server.measured()["served"][path], caller.measured()["called"][path]

    service.client, service.measured, service.caller, service.server = client, measured, caller, server
    return service


async def test_both_ends_count_the_same_requests_and_bytes(service):
    client = await service.client("answer")
    for text in ("x", "x" * 1000):
        await client.call([text])
    served, called = service.measured("answer")
    assert served["requests"] == called["requests"] == 2
    assert served["seconds"]["count"] == called["seconds"]["count"] == 2
    assert 0 < served["seconds"]["sum"] < called["seconds"]["sum"]
    assert served["bytes"]["in"] == called["bytes"]["out"] > 1000
    assert served["bytes"]["out"] == called["bytes"]["in"] > 1000
    assert served["errors"] == called["errors"] == served["stopped"] == called["stopped"] == {}


@pytest.mark.parametrize("iterated", [True, False])
async def test_items_of_a_stream_are_counted_and_the_first_is_timed(service, iterated):
    call = (await service.client("stream")).call()
    assert [item async for item in call] if iterated else await call
    for end in service.measured("stream"):
        assert (end["requests"], end["items"], end["in_flight"]) == (1, 3, 0)
        assert end["seconds"]["count"] == end["first_item_seconds"]["count"] == 1
        assert end["first_item_seconds"]["sum"] <= end["seconds"]["sum"]
    served, called = service.measured("stream")
    assert served["bytes"]["out"] == called["bytes"]["in"] > 0


async def test_a_single_answer_has_no_first_item(service):
    await (await service.client("answer")).call()
    for end in service.measured("answer"):
        assert (end["items"], end["first_item_seconds"]["count"]) == (0, 0)


async def test_a_request_is_in_flight_until_it_is_answered(service):
    call = asyncio.ensure_future((await service.client("wait")).call())
    await service.begun.wait()
    assert [end["in_flight"] for end in service.measured("wait")] == [1, 1]
    service.go_on.set()
    await call
    assert [end["in_flight"] for end in service.measured("wait")] == [0, 0]


async def test_errors_are_counted_by_code_and_timed(service):
    client = await service.client("fail")
    with pytest.raises(EndpointError):
        await client.call()
    with pytest.raises(EndpointError):
        await anext(aiter(client.call()))
    for end in service.measured("fail"):
        assert (end["errors"], end["seconds"]["count"], end["in_flight"]) == ({"endpoint": 2}, 2, 0)


@pytest.mark.usefixtures("any_header")
async def test_a_deadline_is_an_error_at_both_ends(service):
    client = await service.client("wait")
    with pytest.raises(DeadlineExceeded):
        await anext(aiter(client.call(headers={"timeout": str(SOON)})))  # which only the worker enforces
    with pytest.raises(DeadlineExceeded):
        await client.call(timeout=0)
    served, called = service.measured("wait")
    assert (served["errors"], served["stopped"]) == ({"deadline": 1}, {})
    assert (called["errors"], called["in_flight"]) == ({"deadline": 2}, 0)


async def test_a_request_that_reaches_no_worker_is_counted_by_the_caller(service, space):
    for endpoint, error in (("nothing", NoSuchEndpoint), ("answer", InvalidArgument)):
        with pytest.raises(error):
            await (await service.client(endpoint)).call([object()])
    with pytest.raises(NoInstances):
        await (await service.client("answer")).call(instance_id=1)
    called = service.caller.measured()["called"]
    assert called[f"{space}/C/nothing"]["errors"] == {"no_such_endpoint": 1}
    assert called[f"{space}/C/answer"]["errors"] == {"invalid_argument": 1, "no_instances": 1}
    assert f"{space}/C/nothing" not in service.server.measured()["served"]


@pytest.mark.parametrize("how", ["closed", "dropped", "cancelled", "cancelled during the stream"])
async def test_a_cancelled_request_is_not_an_error(service, how):
    if how == "cancelled":
        endpoint = "wait"
        call = asyncio.ensure_future((await service.client(endpoint)).call())
        await service.begun.wait()
        call.cancel()
        await asyncio.wait([call])
    else:
        endpoint = "begin"
        items = aiter((await service.client(endpoint)).call())
        await anext(items)
        if how == "closed":
            await items.aclose()
        elif how == "dropped":
            del items
        else:
            waiting = asyncio.ensure_future(anext(items))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
    await service.stopped.wait()
    for end in service.measured(endpoint):
        assert (end["stopped"], end["errors"], end["in_flight"]) == ({"cancelled": 1}, {}, 0)
        assert end["seconds"]["count"] == 0


async def test_a_closed_caller_is_not_an_error_of_the_worker(service):
    items = aiter((await service.client("begin")).call())
    await anext(items)
    await service.caller.close()
    await service.stopped.wait()
    served, _ = service.measured("begin")
    assert (served["stopped"], served["errors"], served["in_flight"]) == ({"caller_gone": 1}, {}, 0)


async def test_blocking_calls_are_counted(service):
    client = await service.client("answer")
    await client.call()
    await asyncio.to_thread(client.call().result)
    served, called = service.measured("answer")
    assert served["requests"] == called["requests"] == 2


async def test_a_request_with_two_attempts_is_counted_once(service, connect, space, plane_options):
    other = await connect(**plane_options)
    await other.namespace(space).component("C").serve({"answer": service.answer})
    client = await service.client("answer")
    await client.wait_for_instances(count=2)
    other.server.draining = True  # it rejects requests, and is still registered
    for _ in range(2):
        await client.call()
    served, called = service.measured("answer")
    assert (served["requests"], called["requests"], called["errors"]) == (2, 2, {})
    assert called["bytes"]["out"] > served["bytes"]["in"]


async def test_an_endpoint_without_calls_has_zero_counts(service, space):
    assert service.server.measured()["served"][f"{space}/C/answer"]["requests"] == 0


@pytest.mark.parametrize(
    ("seconds", "bound"), [(0.00005, "0.0001"), (0.3, "0.5"), (100, "+Inf")], ids=["short", "in the middle", "long"]
)
def test_a_duration_is_counted_up_to_each_bound_above_it(seconds, bound):
    meter = Meter()
    meter.begin()
    meter.end(perf_counter() - seconds)
    reading = meter.read()["seconds"]
    assert next(name for name, count in cumulative(reading["counts"]).items() if count) == bound
    assert reading["sum"] == pytest.approx(seconds, rel=0.9)


def test_the_counted_buckets_divide_those_of_prometheus():
    assert set(BOUNDS) < set(FINE_BOUNDS)
    assert max(high / low for low, high in pairwise(FINE_BOUNDS)) <= 1.03
    assert list(FINE_BOUNDS) == sorted(FINE_BOUNDS)


@pytest.mark.parametrize("bound", BOUNDS)
def test_a_duration_of_exactly_a_bound_is_counted_up_to_it(bound):
    counts = {str(bisect_left(FINE_BOUNDS, bound)): 2}
    assert next(name for name, count in cumulative(counts).items() if count) == str(bound)


def test_readings_are_summed_by_name():
    one, other = Meter(), Meter()
    for meter, code in ((one, "deadline"), (other, "endpoint")):
        meter.end(meter.begin(), code)
    other.begin()
    summed = total([one.read(), other.read()])
    assert (summed["requests"], summed["in_flight"], summed["seconds"]["count"]) == (3, 1, 2)
    assert summed["errors"] == {"deadline": 1, "endpoint": 1}
    assert total([]) == {}
