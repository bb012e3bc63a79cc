"""Loads on real workers, and what is said of them."""

import asyncio
import json
import threading
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from benched_program import PROGRAM

from dynamo_nb.errors import DeploymentError, InvalidArgument
from dynamo_nb.observe.bench import BenchResult, Failure, Percentiles, Second
from dynamo_nb.observe.latencies import Latencies
from dynamo_nb.sdk.portal import portal

BOUND = 30.0


async def until(condition):
    async with asyncio.timeout(BOUND):
        while not condition():  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.01)


async def test_so_many_requests_are_made_and_counted(deployment):
    result = await deployment.bench(deployment.Backend.say("a"), concurrency=8, requests=500)

    assert (result.calls, result.failed, result.ended) == (500, 0, "")
    assert result.latency.count == 500
    assert (
        0 < result.latency.p50 <= result.latency.p90 <= result.latency.p99 <= result.latency.p999 <= result.latency.max
    )
    assert sum(second.answered for second in result.series) == 500
    assert result.rate == pytest.approx(500 / result.seconds)
    assert (result.items, result.first_item) == (0, None)


async def test_a_duration_ends_a_load(deployment):
    result = await deployment.bench(deployment.Backend.say("a"), concurrency=4, duration=0.3)

    assert result.seconds == pytest.approx(0.3)
    assert result.calls > 0
    assert result.progress == 1.0


async def test_calls_are_made_at_once_and_no_more_than_asked(deployment, tmp_path):
    gates = [str(tmp_path / f"gate{n}") for n in range(4)]
    run = deployment.bench(*(deployment.Backend.hold(gate) for gate in gates), concurrency=3, requests=4).start()

    await until(lambda: sum((tmp_path / f"gate{n}.held").exists() for n in range(4)) == 3)
    assert not (tmp_path / "gate3.held").exists()
    for gate in gates:
        (tmp_path / gate).touch()

    assert (await run).calls == 4


async def test_calls_take_turns(deployment):
    calls = [deployment.Backend.say("a"), deployment.Backend.say("bad")]

    result = await deployment.bench(*calls, requests=10)

    assert (result.calls, result.failed) == (5, 5)


async def test_errors_are_told_by_kind_with_an_example(deployment):
    calls = [deployment.Backend.say("bad"), deployment.Backend.hold("/nowhere").using(timeout=0.05)]

    result = await deployment.bench(*calls, requests=6)

    assert result.errors == {
        "ValueError": Failure(3, "no such word"),
        "DeadlineExceeded": Failure(3, result.errors["DeadlineExceeded"].example),
    }
    assert "did not answer before the deadline" in result.errors["DeadlineExceeded"].example
    assert "3 of ValueError: no such word" in str(result)


async def test_a_timeout_holds_for_each_call(deployment):
    result = await deployment.bench(deployment.Backend.hold("/nowhere"), requests=2, timeout=0.05)

    assert list(result.errors) == ["DeadlineExceeded"]


async def test_streams_are_read_and_their_items_counted(deployment):
    result = await deployment.bench(deployment.Backend.count(20), concurrency=4, requests=30)

    assert (result.calls, result.items) == (30, 600)
    assert result.first_item.count == 30
    assert result.between_items.count == 30 * 19
    assert result.item_rate > 0
    assert "to the first item" in str(result)


async def test_what_is_made_while_it_warms_up_is_not_counted(deployment):
    before = (await deployment.metrics())["services"]["Backend"]["workers"]

    result = await deployment.bench(deployment.Backend.say("a"), requests=5, warmup=0.2)

    after = (await deployment.metrics())["services"]["Backend"]["workers"]
    made = sum(w["say"]["requests"] for w in after.values()) - sum(
        w["say"]["requests"] for w in before.values() if "say" in w
    )
    assert result.calls == 5
    assert made > 5


async def test_with_a_rate_latency_counts_from_the_moment_that_a_call_was_meant_for(deployment, tmp_path):
    gate = tmp_path / "gate"
    run = deployment.bench(deployment.Backend.hold(str(gate)), rate=100, requests=50, concurrency=5).start()
    await until(lambda: run.measured.seconds >= 0.5)
    gate.touch()

    result = await run

    # Half of them were meant for the first quarter of a second, and nothing but five was answered before the gate.
    assert result.calls == 50
    assert result.latency.p50 > 0.1
    assert result.late.count == 50
    assert result.late.max > 0.1


async def test_calls_that_find_no_room_to_wait_are_told(deployment, tmp_path):
    gate = tmp_path / "gate"
    run = deployment.bench(deployment.Backend.hold(str(gate)), rate=100, concurrency=5, duration=0.5).start()
    await until(lambda: run._load._waiting == 5)
    await until(lambda: run.measured.seconds >= 0.5)
    gate.touch()

    result = await run

    assert result.calls == 5
    assert result.unsent == 45
    assert "45 calls never began" in str(result)


async def test_a_load_that_was_started_goes_on_beside_everything_and_ends_when_told(deployment):
    run = deployment.bench(deployment.Backend.say("a"), concurrency=2, duration=1000).start()
    await until(lambda: run.measured.calls > 0)
    assert await asyncio.to_thread(deployment.Backend.say("b").result) == "b"
    assert "running" in repr(run)

    result = await asyncio.to_thread(run.stop)

    assert result.ended == "stopped"
    assert result.calls > 0
    assert await run == result
    assert "ended" in repr(run)


async def test_a_load_that_is_cancelled_leaves_no_thread_and_no_connection(deployment):
    run = asyncio.ensure_future(_awaited(deployment.bench(deployment.Backend.say("a"), concurrency=2, duration=1000)))
    await until(lambda: any(thread.name == "dynamo-bench" for thread in threading.enumerate()))
    run.cancel()

    with pytest.raises(asyncio.CancelledError):
        await run

    await until(lambda: not any(thread.name == "dynamo-bench" for thread in threading.enumerate()))
    assert not [loop for loop in deployment._runtimes if loop.is_closed()]
    assert await asyncio.to_thread(deployment.Backend.say("b").result) == "b"


async def _awaited(run):
    return await run


async def test_services_are_replaced_under_load_without_an_error(deployment):
    run = deployment.bench(deployment.Frontend.say("a"), concurrency=8, duration=1000).start()
    await until(lambda: run.measured.calls > 100)
    await deployment.restart("Backend")
    await deployment.restart("Frontend")
    replaced = run.measured.calls
    await until(lambda: run.measured.calls > replaced + 100)

    result = await asyncio.to_thread(run.stop)

    assert result.errors == {}


def test_a_load_needs_no_loop(deployment):
    assert deployment.bench(deployment.Backend.say("a"), requests=3).result().calls == 3


async def test_what_is_no_call_of_this_deployment_is_refused(deployment):
    for wrong in ([], [deployment.Backend.say], ["Backend.say"]):
        with pytest.raises(InvalidArgument, match="bench takes calls"):
            deployment.bench(*wrong)


@pytest.mark.parametrize(
    "option",
    [
        {"concurrency": 0},
        {"concurrency": 10**9},
        {"concurrency": 1.5},
        {"requests": 1.5},
        {"rate": -1},
        {"duration": float("nan")},
        {"warmup": -1},
    ],
)
async def test_a_load_that_cannot_be_is_refused(deployment, option):
    with pytest.raises(InvalidArgument, match=next(iter(option))):
        deployment.bench(deployment.Backend.say("a"), **option)


def test_a_load_ends_with_its_deployment(program_of_its_own):
    deployment = program_of_its_own
    run = deployment.bench(deployment.Backend.say("a"), duration=1000).start()
    portal.run(until(lambda: run.measured.calls > 0), BOUND)

    deployment.stop().result()

    result = run.result(BOUND)
    assert "has stopped" in result.ended
    assert result.calls > 0
    with pytest.raises(DeploymentError, match="has stopped"):
        deployment.bench(deployment.Backend.say("a")).result()


@pytest.fixture
def program_of_its_own(project):
    project.write("own.py", PROGRAM)
    return project.serve("own:Frontend").result()


# --- the value ---------------------------------------------------------------------------------------------------


def made(scale=1.0):
    measured = Latencies()
    for number in range(1, 1001):
        measured.add(scale * 0.001 * (1 + number / 100))
    series = tuple(Second(100 + n, n % 3, 0, 0.005, 0.02 + n / 1000) for n in range(9))
    return BenchResult("A.b", "64 at once", 9.0, 1000, 1000 / 9 / scale, Percentiles.of(measured), {}, series)


def test_a_result_is_plain_data():
    said = replace(made(), errors={"ValueError": Failure(2, "no")}).as_dict()

    assert json.loads(json.dumps(said))["errors"] == {"ValueError": {"count": 2, "example": "no"}}
    assert said["latency"]["p99"] > said["latency"]["p50"]


def test_two_results_are_compared_by_their_ratios():
    before, after = made(), made(scale=2.0)

    ratios = (after / before).ratios

    assert ratios["rate"] == pytest.approx(0.5)
    assert ratios["p50"] == pytest.approx(2.0, rel=0.02)
    assert ratios == after.compared_to(before).ratios
    assert "2.0" in str(after / before)


def test_a_result_is_drawn_the_same_each_time_with_its_figures_and_its_errors():
    result = replace(made(), errors={"<Bad>": Failure(7, "a < b")})

    drawn = result._repr_mimebundle_()["image/svg+xml"]

    root = ET.fromstring(drawn)
    words = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert drawn == result._repr_mimebundle_()["image/svg+xml"]
    assert "7 of <Bad>: a < b" in words
    assert {"p50", "p99.9", "calls a second", "latency by percentile"} <= set(words)
    assert "prefers-color-scheme:dark" in drawn


@pytest.mark.parametrize("length", [0, 1, 2, 59, 5000])
def test_a_load_of_any_length_is_drawn(length):
    series = tuple(Second(n % 7, n % 2, 0, *((0.001, 0.002) if n % 7 else (None, None))) for n in range(length))

    drawn = replace(made(), series=series, seconds=float(length))._repr_mimebundle_()["image/svg+xml"]

    ET.fromstring(drawn)
    assert len(drawn) < 40_000


def test_a_load_that_was_never_answered_is_drawn():
    result = BenchResult("A.b", "one call after the other", 1.0, 0, 0.0, None, {"E": Failure(3, "x")}, (Second(0, 3),))

    assert "3 of E: x" in result._repr_mimebundle_()["image/svg+xml"]
    assert "3 errors" in result.line
