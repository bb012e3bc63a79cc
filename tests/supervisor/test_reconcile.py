"""The changes from the workers that run to those of a GraphSpec."""

import pytest

from dynamo_nb.graph.spec import EdgeSpec, GraphSpec, ServiceSpec
from dynamo_nb.supervisor.reconcile import Change, Running, changes


def spec(namespace="x", **services):
    """Returns a GraphSpec. services: name to number of workers, or to (workers, suffix)."""
    pairs = {name: s if isinstance(s, tuple) else (s, "") for name, s in services.items()}
    spaces = {name: namespace if name == "Backend" else "x" for name in pairs}
    return GraphSpec(
        name="hello",
        entry="Frontend",
        services={
            n: ServiceSpec(name=n, namespace=spaces[n], target=f"m:{n}", workers=w) for n, (w, _) in pairs.items()
        },
        edges=[EdgeSpec(source="Frontend", attribute="backend", target="Backend", active=False)],
        config={name: {"suffix": suffix} for name, (_, suffix) in pairs.items()},
    )


SERVED = spec(Backend=2, Frontend=1)


@pytest.mark.parametrize(
    ("desired", "expected"),
    [
        (SERVED, []),
        (spec(Backend=3, Frontend=1), [Change("Backend", start=(2,))]),
        (spec(Backend=1, Frontend=1), [Change("Backend", stop=(1,))]),
        (spec(Backend=0, Frontend=1), [Change("Backend", stop=(0, 1))]),
        (spec(Backend=(2, "!"), Frontend=1), [Change("Backend", start=(0, 1), stop=(0, 1))]),
        (spec(Backend=(1, "!"), Frontend=1), [Change("Backend", start=(0,), stop=(0, 1))]),
        (spec(Backend=2), [Change("Frontend", stop=(0,))]),
        (
            spec(namespace="y", Backend=2, Frontend=1),
            [Change("Backend", start=(0, 1), stop=(0, 1)), Change("Frontend", start=(0,), stop=(0,))],
        ),
        (
            spec(Tokeniser=1, Backend=(2, "!"), Frontend=1),
            [Change("Tokeniser", start=(0,)), Change("Backend", start=(0, 1), stop=(0, 1))],
        ),
        (
            spec(Other=1, Frontend=(1, "!")),
            [Change("Backend", stop=(0, 1)), Change("Other", start=(0,)), Change("Frontend", start=(0,), stop=(0,))],
        ),
    ],
)
def test_only_services_that_differ_change(desired, expected):
    running = {
        "Backend": Running(SERVED.fingerprint("Backend"), (0, 1)),
        "Frontend": Running(SERVED.fingerprint("Frontend"), (0,)),
    }

    assert changes(running, desired) == expected


def test_all_services_start_where_none_runs():
    assert changes({}, SERVED) == [Change("Backend", start=(0, 1)), Change("Frontend", start=(0,))]


def test_a_missing_worker_is_started():
    running = {
        "Backend": Running(SERVED.fingerprint("Backend"), (1,)),
        "Frontend": Running(SERVED.fingerprint("Frontend"), (0,)),
    }

    assert changes(running, SERVED) == [Change("Backend", start=(0,))]


def test_workers_that_can_be_reconfigured_are_not_replaced():
    def configured(suffix, workers=2, digest=""):
        services = {
            "Backend": ServiceSpec(
                name="Backend", namespace="x", target="m:Backend", workers=workers, digest=digest, reconfigures=True
            )
        }
        return GraphSpec(name="g", entry="Backend", services=services, edges=[], config={"Backend": {"suffix": suffix}})

    before = configured("a")
    running = {"Backend": Running(before.fingerprint("Backend"), (0, 1), before.identity("Backend"))}

    assert changes(running, configured("b")) == [Change("Backend", reconfigure=(0, 1))]
    assert changes(running, configured("b", 3)) == [Change("Backend", start=(2,), reconfigure=(0, 1))]
    assert changes(running, configured("b", 1)) == [Change("Backend", stop=(1,), reconfigure=(0,))]
    assert changes(running, configured("b", digest="new")) == [Change("Backend", start=(0, 1), stop=(0, 1))]
    assert changes(running, configured("a", 3)) == [Change("Backend", start=(2,))]
