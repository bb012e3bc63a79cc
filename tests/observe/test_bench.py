"""Loads on real workers, and the values that measure them."""

import asyncio
import json
import threading
import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import pairwise

import pytest
from benched_program import PROGRAM

from dynamo_nb.drawing.svg_elements import text_width
from dynamo_nb.errors import DeploymentError, InvalidArgument
from dynamo_nb.observe.bench_result import BenchResult
from dynamo_nb.observe.latencies import Latencies
from dynamo_nb.observe.measurement import Failure, Percentiles, Second
from dynamo_nb.sdk.portal import portal

BOUND = 30.0


async def until(condition):
    async with asyncio.timeout(BOUND):
        while not condition():  # noqa: ASYNC110 (nothing signals it)
            await asyncio.sleep(0.01)


async def test_the_given_number_of_requests_is_made_and_counted(deployment):
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


async def test_no_more_calls_run_than_the_concurrency(deployment, tmp_path):
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


async def test_errors_are_counted_by_kind_with_an_example(deployment):
    calls = [deployment.Backend.say("bad"), deployment.Backend.hold("/nowhere").using(timeout=0.05)]

    result = await deployment.bench(*calls, requests=6)

    assert result.errors == {
        "ValueError": Failure(3, "no such word"),
        "DeadlineExceeded": Failure(3, result.errors["DeadlineExceeded"].example),
    }
    assert "did not answer before the deadline" in result.errors["DeadlineExceeded"].example
    assert "3 ValueError: no such word" in str(result)


async def test_the_timeout_applies_to_each_call(deployment):
    result = await deployment.bench(deployment.Backend.hold("/nowhere"), requests=2, timeout=0.05)

    assert list(result.errors) == ["DeadlineExceeded"]


async def test_streams_are_read_and_their_items_are_counted(deployment):
    result = await deployment.bench(deployment.Backend.count(20), concurrency=4, requests=30)

    assert (result.calls, result.items) == (30, 600)
    assert result.first_item.count == 30
    assert result.between_items.count == 30 * 19
    assert result.item_rate > 0
    assert "first item" in str(result)


async def test_calls_during_the_warm_up_are_not_counted(deployment):
    before = (await deployment.metrics())["services"]["Backend"]["workers"]

    result = await deployment.bench(deployment.Backend.say("a"), requests=5, warmup=0.2)

    after = (await deployment.metrics())["services"]["Backend"]["workers"]
    made = sum(w["say"]["requests"] for w in after.values()) - sum(
        w["say"]["requests"] for w in before.values() if "say" in w
    )
    assert result.calls == 5
    assert made > 5


async def test_at_a_given_rate_latency_counts_from_the_scheduled_start(deployment, tmp_path):
    gate = tmp_path / "gate"
    run = deployment.bench(deployment.Backend.hold(str(gate)), rate=100, requests=50, concurrency=5).start()
    await until(lambda: run.measured.seconds >= 0.5)
    gate.touch()

    result = await run

    # Half of the calls were scheduled for the first quarter of a second. Only five could start before the gate opened.
    assert result.calls == 50
    assert result.latency.p50 > 0.1
    assert result.late.count == 50
    assert result.late.max > 0.1


async def test_calls_beyond_the_waiting_limit_are_reported(deployment, tmp_path):
    gate = tmp_path / "gate"
    run = deployment.bench(deployment.Backend.hold(str(gate)), rate=100, concurrency=5, duration=0.5).start()
    await until(lambda: run._load._waiting == 5)
    await until(lambda: run.measured.seconds >= 0.5)
    gate.touch()

    result = await run

    assert result.calls == 5
    assert result.unsent == 45
    assert "45 calls could not start" in str(result)


async def test_a_load_in_the_background_runs_until_it_is_stopped(deployment):
    run = deployment.bench(deployment.Backend.say("a"), concurrency=2, duration=1000).start()
    await until(lambda: run.measured.calls > 0)
    assert await asyncio.to_thread(deployment.Backend.say("b").result) == "b"
    assert "running" in repr(run)

    result = await asyncio.to_thread(run.stop)

    assert result.ended == "stopped"
    assert result.calls > 0
    assert await run == result
    assert "ended" in repr(run)


async def test_a_cancelled_load_leaves_no_thread_and_no_connection(deployment):
    run = asyncio.ensure_future(_awaited(deployment.bench(deployment.Backend.say("a"), concurrency=2, duration=1000)))
    await until(lambda: any(thread.name == "dynamo-bench" for thread in threading.enumerate()))
    run.cancel()

    with pytest.raises(asyncio.CancelledError):
        await run

    await until(lambda: not any(thread.name == "dynamo-bench" for thread in threading.enumerate()))
    assert not [loop for loop in deployment._calls.loops if loop.is_closed()]
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


def test_a_load_runs_without_an_event_loop(deployment):
    assert deployment.bench(deployment.Backend.say("a"), requests=3).result().calls == 3


async def test_arguments_that_are_not_calls_of_this_deployment_are_refused(deployment):
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
async def test_a_load_with_an_impossible_option_is_refused(deployment, option):
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


# --- values ------------------------------------------------------------------------------------------------------


def measured_result(scale=1.0):
    latencies = Latencies()
    for number in range(1, 1001):
        latencies.add(scale * 0.001 * (1 + number / 100))
    series = tuple(Second(100 + n, n % 3, 0, 0.005, 0.02 + n / 1000) for n in range(9))
    return BenchResult("A.b", "64 concurrent calls", 9.0, 1000, 1000 / 9 / scale, Percentiles.of(latencies), {}, series)


def test_a_result_is_plain_data():
    data = replace(measured_result(), errors={"ValueError": Failure(2, "no")}).as_dict()

    assert json.loads(json.dumps(data))["errors"] == {"ValueError": {"count": 2, "example": "no"}}
    assert data["latency"]["p99"] > data["latency"]["p50"]


def test_two_results_are_compared_by_their_ratios():
    before, after = measured_result(), measured_result(scale=2.0)

    ratios = (after / before).ratios

    assert ratios["rate"] == pytest.approx(0.5)
    assert ratios["p50"] == pytest.approx(2.0, rel=0.02)
    assert "2.0" in str(after / before)


def test_a_drawing_of_a_result_is_reproducible_and_has_figures_and_errors():
    result = replace(measured_result(), errors={"<Bad>": Failure(7, "a < b")})

    drawn = result._repr_mimebundle_()["image/svg+xml"]

    root = ET.fromstring(drawn)
    words = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert drawn == result._repr_mimebundle_()["image/svg+xml"]
    assert "7 <Bad>: a < b" in words
    assert {"p50", "p99.9", "calls per second", "latency by percentile"} <= set(words)
    assert "prefers-color-scheme:dark" in drawn


@pytest.mark.parametrize("count", [10, 100, 990, 1000, 1010, 20_000, 10**6])
def test_the_marks_of_the_percentile_axis_do_not_overlap(count):
    latencies = Percentiles.of(Latencies({0: count}))

    drawn = replace(measured_result(), latency=latencies)._repr_mimebundle_()["image/svg+xml"]

    texts = list(ET.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text"))
    names = {"0", "50", "90", "99", "99.9", "99.99", "max"}
    last = next(text for text in texts if text.text == "max" and text.get("text-anchor") == "middle")
    marks = sorted((float(t.get("x")), t.text) for t in texts if t.text in names and t.get("y") == last.get("y"))
    assert len(marks) > 2
    for (x0, left), (x1, right) in pairwise(marks):
        assert x1 - x0 > (text_width(left, 11) + text_width(right, 11)) / 2


def test_the_latency_curves_have_a_gap_in_seconds_without_an_answer():
    answered = [Second(9, 0, 0, 0.001, 0.002)] * 4
    result = replace(measured_result(), series=(*answered, *[Second(0, 9)] * 3, *answered), seconds=11.0)

    root = ET.fromstring(result._repr_mimebundle_()["image/svg+xml"])

    bars = [(float(r.get("x")), float(r.get("width"))) for r in root.iter("{http://www.w3.org/2000/svg}rect")]
    begin, end = min(x for x, _ in bars), max(x + width for x, width in bars)
    curves = [c for c in root.iter("{http://www.w3.org/2000/svg}polyline") if c.get("class") in {"p50", "p99"}]
    places = [[float(at.split(",")[0]) for at in curve.get("points").split()] for curve in curves]
    assert len(places) == 4
    assert all(max(place) < begin or min(place) > end for place in places)


@pytest.mark.parametrize(
    ("fastest", "slowest"), [(1e-6, 300.0), (1e-4, 5.0), (0.01, 0.05), (0.0104, 0.0107), (0.2, 59.0), (0.5, 0.6)]
)
def test_the_marks_of_latencies_do_not_overlap(fastest, slowest):
    series = (Second(9, 0, 0, fastest, slowest),) * 5
    latencies = Percentiles(1000, fastest, *[fastest] * 2, *[slowest] * 3, ((0.5, fastest), (1.0, slowest)))

    drawn = replace(measured_result(), series=series, latency=latencies)._repr_mimebundle_()["image/svg+xml"]

    marks = {}
    for text in ET.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text"):
        if text.get("text-anchor") == "end":
            marks.setdefault(text.get("x"), []).append(float(text.get("y")))
    assert marks
    for heights in marks.values():
        assert all(below - above >= 11 for above, below in pairwise(sorted(heights)))


@pytest.mark.parametrize("length", [0, 1, 2, 59, 5000])
def test_a_load_of_any_length_is_drawn(length):
    series = tuple(Second(n % 7, n % 2, 0, *((0.001, 0.002) if n % 7 else (None, None))) for n in range(length))

    drawn = replace(measured_result(), series=series, seconds=float(length))._repr_mimebundle_()["image/svg+xml"]

    ET.fromstring(drawn)
    assert len(drawn) < 40_000


def test_a_load_without_any_answer_is_drawn():
    result = BenchResult("A.b", "one call at a time", 1.0, 0, 0.0, None, {"E": Failure(3, "x")}, (Second(0, 3),))

    assert "3 E: x" in result._repr_mimebundle_()["image/svg+xml"]
    assert "3 errors" in result.line
