"""Outputs of long operations: benchmarks, and slow starts of services."""

import pytest

GRAPH = """\
import asyncio
from pathlib import Path


@service
class Backend:
    def __init__(self, gate: str = ""):
        self.gate = gate

    @async_on_start
    async def load(self):
        if not self.gate:
            return
        print("reading weights", flush=True)
        while not Path(self.gate).exists():
            await asyncio.sleep(0.02)

    @dynamo_endpoint()
    async def say(self, text: str) -> str:
        return text

    @dynamo_endpoint()
    async def log(self, gate: str) -> None:
        print("logged", Path(gate).name, flush=True)
        Path(gate).touch()
"""
UNTIL = """\
import time


def until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
"""


@pytest.fixture(scope="module")
def served(shared_kernel):
    shared_kernel.load()
    for text in (GRAPH, UNTIL, "deployment = await serve(Backend, http_port=0, kernels=False)"):
        ran = shared_kernel.run(text, cell_id="graph" if text is GRAPH else None)
        assert ran.ok, ran.error
    return shared_kernel


def test_a_benchmark_shows_progress_in_one_output_and_returns_its_result(served):
    ran = served.run("""%dynamo bench backend.say --payload '"a"' -c 4 --duration 1.2""")

    assert ran.ok, ran.error
    progress, result = ran.shown
    assert progress["text/plain"].startswith("[")
    assert "<progress" in progress["text/html"]
    assert 1 < len(ran.updates) < 10
    assert "<progress" not in ran.updates[-1]["text/html"]
    assert "Backend.say: 4 concurrent calls for 1.2 s" in ran.updates[-1]["text/plain"]
    assert "<svg" in result["image/svg+xml"]
    assert "p99.9" in result["text/plain"]


@pytest.mark.parametrize(
    "code",
    [
        "result = await deployment.bench(deployment.Backend.say('a'), requests=20)",
        "result = deployment.bench(deployment.Backend.say('a'), requests=20).result()",
        """result = %dynamo bench Backend.say -p '"a"' --requests 20""",
    ],
)
def test_the_result_of_a_benchmark_is_a_value(served, code):
    assert served.run(code).ok
    assert served.run("result.calls, result.errors, (result / result).ratios['rate']").shown[0]["text/plain"] == (
        "(20, {}, 1.0)"
    )


def test_a_benchmark_in_the_background_continues_while_a_cell_is_edited(served):
    started = served.run("""running = %dynamo bench backend.say --payload '"a"' -c 4 --duration 1000 --background""")
    assert started.ok, started.error
    assert served.run("until(lambda: running.measured.calls > 100)").ok

    edited = served.run(GRAPH.replace("return text", "return text.upper()"), cell_id="graph")
    assert "replaced Backend" in edited.text, edited.error
    assert served.run("before = running.measured.calls; until(lambda: running.measured.calls > before + 100)").ok

    ended = served.run("result = running.stop()")
    assert ended.ok, ended.error
    assert served.run("result.errors, result.ended").shown[0]["text/plain"] == "({}, 'stopped')"


def test_no_call_fails_while_a_service_is_edited_twenty_times(served):
    command = """running = %dynamo bench backend.say --payload '"a"' --rate 500 --duration 600 --background"""
    assert served.run(command).ok
    for edit in range(20):
        ran = served.run(GRAPH.replace("return text", f"return text + '{edit}'"), cell_id="graph")
        assert ran.ok, ran.error
        assert "replaced Backend" in ran.text
    ran = served.run("result = running.stop()\nresult.errors, result.calls > 100, await deployment.Backend.say('a')")
    assert ran.ok, ran.error
    assert ran.shown[-1]["text/plain"] == "({}, True, 'a19')"
    assert served.run(GRAPH, cell_id="graph").ok


def test_the_result_of_a_benchmark_that_ended_between_cells_is_sent_with_the_next_cell(served):
    started = served.run("""running = %dynamo bench backend.say --payload '"a"' --requests 5 --background""")
    assert started.ok, started.error
    ran, after = served.run("running.result(); 1"), served.run("1")

    sent = [*started.shown, *started.updates, *ran.updates, *after.updates]
    seen = [bundle for bundle in sent if "image/svg+xml" in bundle]
    assert "5 calls" in seen[-1]["text/plain"]


@pytest.mark.parametrize(
    "code",
    [
        "await deployment.bench(deployment.Backend.say('a'), deployment.Backend.log({gate!r}), duration=1000)",
        "deployment.bench(deployment.Backend.say('a'), deployment.Backend.log({gate!r}), duration=1000).result()",
    ],
)
def test_an_interrupt_ends_a_benchmark_shows_its_result_and_keeps_the_deployment(served, tmp_path, code):
    gate = tmp_path / "gate"

    ran = served.interrupted_at(gate, code.format(gate=str(gate)))

    assert ran.name == "KeyboardInterrupt"
    assert "dynamo_nb/" not in ran.error
    assert "interrupted" in ran.updates[-1]["text/plain"]
    assert "<svg" in ran.updates[-1]["image/svg+xml"]
    assert served.run("await deployment.Backend.say('still')").ok


def test_an_interrupt_ends_the_wait_for_a_background_benchmark_and_not_the_benchmark(served, tmp_path):
    gate = tmp_path / "gate"
    assert served.run("running = deployment.bench(deployment.Backend.say('a'), duration=1000).start()").ok

    ran = served.interrupted_at(gate, f"asyncio.get_running_loop().call_soon(Path({str(gate)!r}).touch)\nawait running")

    assert ran.name == "KeyboardInterrupt"
    assert served.run("before = running.measured.calls; until(lambda: running.measured.calls > before)").ok
    assert served.run("running.stop().ended").shown[0]["text/plain"] == "'stopped'"


def test_a_missing_payload_is_an_error_with_an_example(served):
    ran = served.run("%dynamo bench backend.say")

    assert not ran.ok
    assert """--payload '{"text": "hello"}'""" in ran.error


def test_a_slow_start_shows_the_last_log_line_and_then_one_summary_line(served, tmp_path):
    gate = tmp_path / "gate"
    config = f'{{"Backend.gate": {str(gate)!r}}}'
    request = served._ask(f"slow = await serve(Backend, {config}, http_port=0, kernels=False)")
    first = served.client.get_iopub_msg(timeout=60)
    while first["msg_type"] != "display_data":
        first = served.client.get_iopub_msg(timeout=60)
    gate.touch()

    ran = served._ran(request)

    assert ran.ok, ran.error
    shown = first["content"]["data"]
    assert shown["text/plain"].split()[:3] == ["Backend", "starting", "0/1"]
    assert shown["text/plain"].endswith("reading weights")
    assert "<td>reading weights</td>" in shown["text/html"]
    assert ran.updates[-1]["text/plain"].startswith("ready in ")
    assert ran.updates[-1]["text/plain"].endswith(": Backend 1")
    assert served.run("await slow.stop()").ok


def test_a_quick_start_shows_nothing(served):
    ran = served.run("quick = await serve(Backend, http_port=0, kernels=False)")

    assert ran.ok, ran.error
    assert ran.shown == []
    assert served.run("await quick.stop()").ok
