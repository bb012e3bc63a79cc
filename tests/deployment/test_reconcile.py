"""What has to change to get from what runs to what is asked for."""

import pytest

from dynamo_nb.graph.spec import EdgeSpec, GraphSpec, ServiceSpec
from dynamo_nb.supervisor.reconcile import Change, Running, changes


def spec(namespace="x", **services):
    """A GraphSpec; each service is given as its number of workers, or as (workers, suffix)."""
    given = {name: s if isinstance(s, tuple) else (s, "") for name, s in services.items()}
    spaces = {name: namespace if name == "Backend" else "x" for name in given}
    return GraphSpec(
        name="hello",
        entry="Frontend",
        services={
            n: ServiceSpec(name=n, namespace=spaces[n], target=f"m:{n}", workers=w) for n, (w, _) in given.items()
        },
        edges=[EdgeSpec(source="Frontend", attribute="backend", target="Backend", active=False)],
        config={name: {"suffix": suffix} for name, (_, suffix) in given.items()},
    )


SERVED = spec(Backend=2, Frontend=1)


@pytest.mark.parametrize(
    ("wanted", "expected"),
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
def test_only_what_differs_changes(wanted, expected):
    running = {
        "Backend": Running(SERVED.fingerprint("Backend"), (0, 1)),
        "Frontend": Running(SERVED.fingerprint("Frontend"), (0,)),
    }

    assert changes(running, wanted) == expected


def test_everything_starts_where_nothing_runs():
    assert changes({}, SERVED) == [Change("Backend", start=(0, 1)), Change("Frontend", start=(0,))]


def test_a_worker_that_is_missing_is_started():
    running = {
        "Backend": Running(SERVED.fingerprint("Backend"), (1,)),
        "Frontend": Running(SERVED.fingerprint("Frontend"), (0,)),
    }

    assert changes(running, SERVED) == [Change("Backend", start=(0,))]


def test_other_configuration_goes_to_the_workers_that_can_take_it():
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
