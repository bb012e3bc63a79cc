"""What is measured, against whom, and how good it has to be."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

OURS = "dynamo_nb"
DYNAMO = "ai-dynamo-runtime"
RAW = "raw socket"
FASTAPI = "plain FastAPI"
BARE = "bare vLLM"


@dataclass(frozen=True)
class Row:
    """One figure of ours, with that of a peer if it has one.

    figure: its key in what the programs tell. scale: what it is multiplied with to be in `unit`.
    how: what the goal is about: ours divided by the peer's, ours less the peer's, or ours alone.
    better: whether the goal is an upper or a lower bound.
    """

    title: str
    figure: str
    unit: str
    goal: float
    peer: str = ""
    how: Literal["ratio", "difference", "alone"] = "ratio"
    better: Literal["lower", "higher"] = "lower"
    ours: str = OURS
    scale: float = 1.0

    def met(self, value: float) -> bool:
        return value <= self.goal if self.better == "lower" else value >= self.goal

    def compare(self, ours: float, peer: float | None) -> float:
        if self.how == "alone" or peer is None:
            return ours
        return ours / peer if self.how == "ratio" else ours - peer


@dataclass(frozen=True)
class Benchmark:
    """Programs that are run in turns, and the rows that come of them.

    programs: who to file and arguments. is_exact: whether one round is enough, since each has the same figures.
    """

    name: str
    programs: Mapping[str, Sequence[str]]
    rows: Sequence[Row]
    is_exact: bool = False


LOADS = (
    "unrelated prompts",
    "one system prompt",
    "one system prompt, slowly",
    "multi-turn",
    "mixed",
    "bursts",
    "workers added and killed",
    "long answers",
)
ROUTERS = (1, 2, 4)


def routing_programs() -> Iterator[tuple[str, Sequence[str]]]:
    """The programs of `routing_rows`."""
    for load in LOADS:
        for number in ROUTERS:
            for who in ("default", "best other"):
                yield f"{who}, {load}, {number}", ["routing_loads.py", who, load, str(number)]


def routing_rows() -> Iterator[Row]:
    """The default policy under each load against the best of all others, with several numbers of routers."""
    for load in LOADS:
        for number in ROUTERS:
            ours, best = f"default, {load}, {number}", f"best other, {load}, {number}"
            title = f"{load}, {number} router{'s' * (number > 1)}"
            yield Row(f"{title}: first token, median", "median", "ms", 1.1, best, ours=ours, scale=1e3)
            yield Row(f"{title}: first token, 99th percentile", "p99", "ms", 1.1, best, ours=ours, scale=1e3)
            least = "requests of the worker with the fewest, of the mean"
            yield Row(f"{title}: {least}", "least", "times", 0.5, how="alone", better="higher", ours=ours)


BENCHMARKS = (
    Benchmark(
        "calls",
        {OURS: ["calls.py"], DYNAMO: ["peer_dynamo.py", "tcp"], RAW: ["raw_limit.py", "unix"]},
        [
            Row("one call, dict in and out", "call_us", "µs", 0.22, DYNAMO),
            Row("one call, pydantic model in and out", "model_us", "µs", 0.30, DYNAMO),
            Row("64 calls at once", "calls_per_s", "calls/s", 8, DYNAMO, better="higher"),
            Row("one stream", "items_per_s", "items/s", 12, DYNAMO, better="higher"),
            Row("32 streams", "items_per_s_of_32", "items/s", 6, DYNAMO, better="higher"),
            Row("one call, dict in and out", "call_us", "µs", 1.5, RAW),
            Row("64 calls at once", "calls_per_s", "calls/s", 0.6, RAW, better="higher"),
            Row("one stream", "items_per_s", "items/s", 0.5, RAW, better="higher"),
        ],
    ),
    Benchmark(
        "sse",
        {OURS: ["sse.py", "ours"], FASTAPI: ["sse.py", "fastapi"]},
        [Row("64 streams of events, one a token", "tokens_per_s", "tokens/s", 1.0, FASTAPI, better="higher")],
    ),
    Benchmark("routing", dict(routing_programs()), list(routing_rows()), is_exact=True),
    Benchmark(
        "routing",
        {
            "first_token": ["routing.py", "first_token"],
            "blocks": ["routing.py", "blocks"],
            "overlap": ["routing.py", "overlap"],
            "round-robin": ["routing.py", "round-robin"],
        },
        [
            *(
                row
                for policy in ("first_token", "overlap", "blocks")
                for row in (
                    Row(
                        f"median time to the first token, policy {policy}",
                        "first_token_s",
                        "ms",
                        0.5,
                        "round-robin",
                        ours=policy,
                        scale=1e3,
                    ),
                    Row(
                        f"hit rate, of an oracle that knows everything, policy {policy}",
                        "of_oracle",
                        "times",
                        0.95,
                        how="alone",
                        better="higher",
                        ours=policy,
                    ),
                )
            ),
        ],
    ),
    Benchmark(
        "index",
        {
            OURS: ["index.py", "ours"],
            DYNAMO: ["index.py", "peer"],
            "equal": ["index_equal.py"],
            "one holder": ["index_memory.py", "1"],
            "20 holders": ["index_memory.py", "20"],
        },
        [
            Row("the overlap of a prompt of 64 blocks, 16 workers", "find_us", "µs", 1.0, DYNAMO),
            *(
                Row(f"stored blocks of prompts and answers, {how}", figure, "events/s", 5, DYNAMO, better="higher")
                for how, figure in (("applied", "events_per_s"), ("decoded and applied", "decoded_events_per_s"))
            ),
            *(
                Row(f"stored blocks, 64 in each event, {how}", figure, "events/s", 5, DYNAMO, better="higher")
                for how, figure in (("applied", "prompts_per_s"), ("decoded and applied", "decoded_prompts_per_s"))
            ),
            Row("a million random events: different overlaps", "different", "times", 0, how="alone", ours="equal"),
            *(
                Row(
                    f"ten million blocks of 1,000 workers, {what}",
                    "gigabytes",
                    "GB",
                    4,
                    how="alone",
                    ours=who,
                )
                for who, what in (("one holder", "each with one holder"), ("20 holders", "a tenth with 20 holders"))
            ),
        ],
    ),
    Benchmark(
        "vllm",
        {OURS: ["vllm_served.py", "graph", "8"], BARE: ["vllm_served.py", "bare", "8"]},
        [
            Row("a model over HTTP: time to the first token", "first_ms", "ms", 3, BARE, how="difference"),
            Row("16 streams of a model over HTTP", "tokens_per_s", "tokens/s", 0.97, BARE, better="higher"),
        ],
    ),
    Benchmark(
        "tensors",
        {"numpy": ["tensors.py", "numpy"], "torch": ["tensors.py", "torch"], RAW: ["raw_tensor.py"]},
        [
            Row(f"64 MB {kind} tensor as {what}", figure, "MB/s", 0.7, RAW, better="higher", ours=kind, scale=1e-6)
            for kind in ("numpy", "torch")
            for figure, what in (("take", "an argument"), ("give", "an answer"))
        ],
    ),
    Benchmark(
        "notebook",
        {"cell": ["awaited_call.py", "cell"], "script": ["awaited_call.py", "script"]},
        [Row("one call awaited in a cell", "call_us", "µs", 1.3, "script", ours="cell")],
    ),
    Benchmark(
        "load",
        {OURS: ["load_extension.py"]},
        [Row("`%load_ext dynamo_nb`", "milliseconds", "ms", 150, how="alone")],
    ),
    Benchmark(
        "cell",
        {"with": ["service_cell.py", "with"], "without": ["service_cell.py", "without"]},
        [
            Row(
                "a service cell, in a notebook of 35 that shows its graph",
                "milliseconds",
                "ms",
                5,
                "without",
                how="difference",
                ours="with",
            )
        ],
    ),
    Benchmark(
        "meters",
        {OURS: ["metered.py"]},
        [
            Row("one call, counted against not counted", "call", "times", 1.1, how="alone"),
            Row("64 calls at once, counted against not counted", "at_once", "times", 1.1, how="alone"),
        ],
    ),
    Benchmark(
        "instances",
        {"128 instances": ["many_instances.py", "128"], "1 instance": ["many_instances.py", "1"]},
        [Row("one call with 128 instances", "call_us", "µs", 1.1, "1 instance", ours="128 instances")],
    ),
    Benchmark(
        "view",
        {OURS: ["first_view.py"]},
        [Row("a client's first view of 1,000 instances", "seconds", "s", 1.0, how="alone")],
    ),
    Benchmark(
        "graph",
        {
            OURS: ["start_graph.py", "ours"],
            "ray serve": ["start_graph.py", "ray"],
            "ipyparallel": ["start_graph.py", "ipyparallel"],
        },
        [
            Row("three services, serve to first answer", "seconds", "s", 0.3, "ray serve"),
            Row("three services, serve to first answer", "seconds", "s", 0.3, "ipyparallel"),
        ],
    ),
    Benchmark(
        "workers",
        {OURS: ["start_workers.py", "ours"], "jupyter_client": ["start_workers.py", "kernels"]},
        [Row("16 workers ready", "seconds", "s", 0.4, "jupyter_client")],
    ),
    Benchmark(
        "replace",
        {OURS: ["replace_service.py"]},
        [
            Row("a service replaced under 500 calls/s: failed", "failed", "calls", 0, how="alone"),
            Row("a service replaced under 500 calls/s: first new answer", "seconds", "s", 1.0, how="alone"),
        ],
    ),
    Benchmark(
        "memory",
        {"worker": ["idle_memory.py", "worker"], "bare ipykernel": ["idle_memory.py", "kernel"]},
        [
            Row(
                "an idle worker's memory (PSS)",
                "megabytes",
                "MB",
                25,
                "bare ipykernel",
                how="difference",
                ours="worker",
            )
        ],
    ),
    Benchmark(
        "cold",
        {OURS: ["cold_serve.py"]},
        [Row("`dynamo serve` in a terminal to the first answer", "seconds", "s", 4.0, how="alone")],
    ),
    Benchmark(
        "edit",
        {OURS: ["edit_cell.py"]},
        [Row("an edited cell run again, to the new answer", "seconds", "s", 2.0, how="alone")],
    ),
    Benchmark(
        "widget",
        {OURS: ["widget.py"]},
        [
            Row("200 services: the first picture of the widget", "first_s", "ms", 300, how="alone", scale=1e3),
            Row("200 services: an update of states, of the kernel", "state_s", "ms", 30, how="alone", scale=1e3),
            Row("200 services: an update of traffic, of the kernel", "traffic_s", "ms", 30, how="alone", scale=1e3),
            Row("200 services: two updates a second, of a core", "share", "%", 5, how="alone", scale=100),
        ],
    ),
)
