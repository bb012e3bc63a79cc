"""Latencies on the live page and in `top`, compared with those that a load measures."""

import pytest

from dynamo_nb.observe.traffic import TrafficWindow

pytestmark = [pytest.mark.slow, pytest.mark.alone]

PROGRAM = """
import asyncio
from dynamo_nb import dynamo_endpoint, service

@service
class Sleeper:
    @dynamo_endpoint()
    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
"""
CALLS = 40


@pytest.mark.parametrize("seconds", [0.002, 0.03, 0.107, 0.241, 1.0, 8.0])
def test_live_percentiles_agree_with_those_of_a_load(project, seconds):
    project.write("sleeper.py", PROGRAM)
    with project.serve("sleeper.py:Sleeper").result() as deployment:
        deployment.Sleeper.sleep(0.0).result()  # connects
        window = TrafficWindow(span=60)
        window.add(deployment.metrics().result())
        load = deployment.bench(deployment.Sleeper.sleep(seconds), concurrency=4, requests=CALLS if seconds < 1 else 8)
        measured = load.result().latency
        live = window.add(deployment.metrics().result()).services["Sleeper"]
    # The load measures at the caller, the page in the worker: the way between them takes up to some milliseconds.
    assert live.p50 == pytest.approx(measured.p50, rel=0.05, abs=0.003)
    assert live.p99 == pytest.approx(measured.p99, rel=0.05, abs=0.02)
