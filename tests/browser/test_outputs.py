"""Outputs of measurements in JupyterLab: their text alternatives and their sizes."""

import re

from playwright.sync_api import expect

OUTPUTS = """\
from IPython.display import display

from dynamo_nb.control.status import ServiceStatus, WorkerStatus
from dynamo_nb.observe.bench_result import BenchResult
from dynamo_nb.observe.latencies import Latencies
from dynamo_nb.observe.measurement import Percentiles, Second
from dynamo_nb.observe.span import TraceSpan
from dynamo_nb.observe.top import Top
from dynamo_nb.observe.trace import Trace
from dynamo_nb.observe.traffic import Load, Traffic


def call(name, begin, end, *children):
    service = name.partition(".")[0]
    of_both = {"first": None, "items": 0, "bytes_in": 0, "bytes_out": 0, "error": "", "what": "", "stopped": "", "notes": {}, "tries": ()}
    served = TraceSpan(f"{name}{begin}s", name, "server", service, f"{service}[0]", begin, end=end, children=children, **of_both)
    return TraceSpan(f"{name}{begin}", name, "client", service, "", begin, end=end, children=(served,), **of_both)


latencies = Latencies()
for n in range(1000):
    latencies.add(0.01 * 1.005**n)
answered = [Second(100, 0, 0, 0.01, 0.05)] * 4
display(BenchResult("Frontend.generate", "64 at once", 11.0, 1000, 100.0, Percentiles.of(latencies), {},
                    (*answered, *[Second(0, 50)] * 3, *answered)))
reads = [call("Store.read", n / 400, n / 400 + 0.002) for n in range(374)]
display(Trace("t", 0.0, (call("Frontend.generate", 0.0, 1.0, *reads),), None, None))
workers = (WorkerStatus(index=0, id="w", state="ready", started=1000.0),)
services = {f"Service{n}": ServiceStatus(state="ready", desired=1, workers=workers) for n in range(61)}
display(Top.of(services, Traffic({"Service7": Load(rate=5.0, p50=0.01)}), now=2000.0))
"""


def test_measurements_have_text_alternatives_and_fit_a_page(open_hello, lab):
    notebook = open_hello(OUTPUTS)
    notebook.run("def call(")
    assert notebook.errors() == []
    cell = notebook.cell("def call(")
    notebook.show("def call(")
    bench, trace = cell.locator("img").all()
    expect(bench).to_have_attribute(
        "alt", re.compile(r"^Frontend\.generate: 64 at once for 11\.0 s: 1,000 calls .* p99 1\.\d+ s · 0 errors$")
    )
    expect(trace).to_have_attribute("alt", "Frontend.generate took 1.00 s, 2 services, 750 spans")
    top = cell.get_by_role("table", name="Load of each service and worker")
    expect(top).to_contain_text("60 ready and idle: Service0, Service1")
    for output in (bench, trace, top):
        output.scroll_into_view_if_needed()
        assert output.bounding_box()["height"] < 400
    lab.screenshot("measurements", cell)
