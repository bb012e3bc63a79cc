"""A service cell run again in a notebook of 30 plain cells and five services, nothing being served.

with: the extension is loaded and the graph is shown live. without: the same cells with nothing of it. In one process,
so that only what IPython and the extension do is measured; the processor's time of the median run of a cell.
"""

import statistics
import sys
import time

from place import own_home, tell

PLAIN, SERVICES, RUNS = 30, 5, 40
IMPORTS = "from dynamo_nb import depends, dynamo_endpoint, service"


def service_cell(n):
    edge = f"    below = depends(S{n - 1})\n" if n else ""
    return f"@service\nclass S{n}:\n{edge}\n    @dynamo_endpoint()\n    async def say(self, text: str) -> str:\n        return text"


def run(how):
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    config = Config()
    config.HistoryManager.hist_file = ":memory:"
    shell = InteractiveShell.instance(config=config)
    shell.get_parent = lambda: {"metadata": {"cellId": "cell"}}  # as in a kernel that a page asks

    def cell(text, cell_id):
        result = shell.run_cell(text, store_history=True, cell_id=cell_id)
        result.raise_error()

    if how == "with":
        cell("%load_ext dynamo_nb", "load")
    cell(IMPORTS, "imports")
    for n in range(PLAIN):
        cell(f"def helper{n}(x):\n    return x + {n}", f"plain{n}")
    for n in range(SERVICES):
        cell(service_cell(n), f"service{n}")
    if how == "with":
        cell(f"_drawn = %dynamo graph S{SERVICES - 1}", "graph")
    times = []
    for _ in range(RUNS):
        for n in range(SERVICES):
            start = time.process_time()
            cell(service_cell(n), f"service{n}")
            times.append(time.process_time() - start)
    return statistics.median(times) * 1e3


if __name__ == "__main__":
    with own_home():
        tell({"milliseconds": run(sys.argv[1])})
