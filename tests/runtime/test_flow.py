import asyncio

import pytest

from dynamo_nb.runtime.wire import ITEM_COST, WINDOW


class Service:
    """Endless streams that count their items."""

    def __init__(self):
        self.produced, self.stopped = {}, asyncio.Event()

    async def stream(self, args, kwargs, context):
        name, size = args
        self.produced[name] = 0
        try:
            while True:
                self.produced[name] += 1
                yield self.produced[name], "x" * size
        finally:
            self.stopped.set()


@pytest.fixture
async def served(plane_options, caller_options, connect, space):
    service = Service()
    server, runtime = await connect(**plane_options), await connect(**caller_options)
    await server.namespace(space).component("C").serve({"stream": service.stream})
    service.client = await runtime.namespace(space).component("C").endpoint("stream").client()
    return service


async def take(items, count):
    return [(await anext(items))[0] for _ in range(count)]


@pytest.mark.parametrize("size", [10, 100_000])
async def test_a_slow_reader_holds_one_window_and_delays_no_other_stream(served, size):
    window = WINDOW // (size + ITEM_COST) + 1
    slow, fast = aiter(served.client.call(["slow", size])), aiter(served.client.call(["fast", size]))
    await take(slow, 1)
    await take(fast, 5 * window)
    # By now the slow stream has used up its credit, and one item of it was consumed.
    assert served.produced["slow"] == pytest.approx(window, rel=0.03, abs=2)
    assert await take(slow, 5 * window) == list(range(2, 5 * window + 2))
    await slow.aclose()
    await fast.aclose()


async def test_arrived_items_are_returned_without_waiting(served):
    items = aiter(served.client.call(["a", 10]))
    assert not items.arrived
    taken = await take(items, 3)
    while items.arrived:
        with pytest.raises(StopIteration) as item:
            anext(items).send(None)
        taken.append(item.value.value[0])
    taken += await take(items, 1)
    await items.aclose()

    assert taken == list(range(1, len(taken) + 1))
    assert len(taken) > 4


async def test_an_item_larger_than_the_window_arrives(served):
    items = aiter(served.client.call(["large", 2 * WINDOW]))
    assert await take(items, 4) == [1, 2, 3, 4]
    await items.aclose()
    assert served.produced["large"] <= 6


async def test_a_stream_that_waits_for_credit_can_be_cancelled(served):
    items = aiter(served.client.call(["a", 10]))
    await take(items, 1)
    other = aiter(served.client.call(["b", 10]))
    await take(other, 2 * WINDOW // ITEM_COST)
    await items.aclose()
    await served.stopped.wait()
    assert served.produced["a"] <= WINDOW // ITEM_COST
    await other.aclose()
