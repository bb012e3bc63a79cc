"""The graph widget with 200 services: its first picture in a kernel, and what its updates cost the kernel."""

import time
from statistics import median

from kernel import started_kernel
from place import own_home, tell

from dynamo_nb.drawing.picture import Arrow, Node, Picture
from dynamo_nb.notebook.graph_widget import GraphWidget
from dynamo_nb.observe.traffic import TrafficWindow
from dynamo_nb.runtime.meters import Meter

SERVICES = 200
PER_CELL = 10
UPDATES = 20
IMPORTS = "%load_ext dynamo_nb\nfrom dynamo_nb import depends, dynamo_endpoint, service"
SERVICE = """\
@service(dynamo={{"namespace": "part{group}"}})
class Service{number}:
    {dependencies}

    @dynamo_endpoint()
    async def ask(self, text: str) -> str:
        return text

"""


def callees(number):
    """A tree that widens, with an edge more from every fourth."""
    below = [2 * number + 1, 2 * number + 2] + [number + 7] * (number % 4 == 0)
    return sorted({one for one in below if one < SERVICES})


def written(number):
    dependencies = [f"to{one} = depends('Service{one}')" for one in callees(number)] or ["pass"]
    return SERVICE.format(number=number, group=number % 5, dependencies="\n    ".join(dependencies))


def first_picture(folder):
    """Seconds of the cell that draws."""
    with started_kernel(folder, folder) as kernel:
        kernel.run(IMPORTS, "imports")
        for cell in range(0, SERVICES, PER_CELL):
            kernel.run("".join(map(written, range(cell, cell + PER_CELL))), "services")
        start = time.perf_counter()
        kernel.run("%dynamo graph Service0", "graph")
        return time.perf_counter() - start


def picture(failed):
    names = range(SERVICES)
    return Picture(
        tuple(Node(f"Service{n}", f"part{n % 5}", state="failed" if n == failed else "ready") for n in names),
        tuple(Arrow(f"Service{n}", f"Service{to}", f"to{to}") for n in names for to in callees(n)),
        "Service0",
    )


def numbers(at, meters):
    """Returns the metrics of a deployment with these meters."""

    readings = {name: meter.read() for name, meter in meters.items()}
    return {
        "at": at,
        "services": {
            name: {
                "workers": {f"{name}-w": {"ask": reading}},
                "usage": {f"{name}-w": {"memory": 10**8, "gpu_memory": None}},
            }
            for name, reading in readings.items()
        },
        "edges": [
            {"source": f"Service{n}", "target": f"Service{to}", "endpoint": "ask", **readings[f"Service{to}"]}
            for n in range(SERVICES)
            for to in callees(n)
        ],
    }


def updates():
    """(seconds of an update of states, seconds of an update of traffic), of the process's time."""
    meters = {f"Service{n}": Meter() for n in range(SERVICES)}
    workers = {name: [f"{name}-w"] for name in meters}
    view, window = GraphWidget(picture(None), "bench-1"), TrafficWindow()
    states, traffic = [], []
    for update in range(UPDATES):
        for number, meter in enumerate(meters.values()):
            for _ in range(number % 17):
                meter.end(meter.begin())
        readings, shown = numbers(update / 2, meters), picture(update)
        start = time.process_time()
        view.show_traffic(window.add(readings), workers)
        traffic.append(time.process_time() - start)
        start = time.process_time()
        view.show(shown, "bench-1")
        states.append(time.process_time() - start)
    return median(states), median(traffic)


if __name__ == "__main__":
    with own_home() as folder:
        first = first_picture(folder)
    state, traffic = updates()
    tell({"first_s": first, "state_s": state, "traffic_s": traffic, "share": 2 * traffic})
