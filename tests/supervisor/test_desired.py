"""What a deployment should run, after releases were applied and services were scaled."""

import pytest

from dynamo_nb.control.release import Release
from dynamo_nb.errors import DeploymentError, PlacementError
from dynamo_nb.graph.spec import GraphSpec, ServiceSpec
from dynamo_nb.supervisor.desired import MAX_WORKERS, Desired, Slot


def release(**workers):
    services = {n: ServiceSpec(name=n, namespace="x", target=f"m:{n}", workers=w) for n, w in workers.items()}
    return Release(GraphSpec(name="g", entry="Backend", services=services, edges=[]))


def counts(desired):
    return {name: service.workers for name, service in desired.spec.started.items()}


def test_the_numbers_of_a_release_are_desired():
    assert counts(Desired(release(Backend=2, Frontend=1))) == {"Backend": 2, "Frontend": 1}


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        pytest.param({"Backend": 2}, {"Backend": 5}, id="the same number of workers"),
        pytest.param({"Backend": 3}, {"Backend": 3}, id="another number of workers"),
        pytest.param({"Frontend": 1}, {"Frontend": 1}, id="without the service"),
        pytest.param({"Backend": 2, "Frontend": 1}, {"Backend": 5, "Frontend": 1}, id="with another service"),
    ],
)
def test_a_service_stays_scaled_until_a_release_changes_its_number_of_workers(later, expected):
    scaled = Desired(release(Backend=2)).scale({"Backend": 5})
    assert counts(scaled.apply(release(**later))) == expected


def test_a_service_that_was_scaled_and_removed_comes_back_as_its_release_says():
    gone = Desired(release(Backend=2)).scale({"Backend": 5}).apply(release(Frontend=1))
    assert counts(gone.apply(release(Backend=2))) == {"Backend": 2}


def test_scaling_keeps_what_was_scaled_before_and_the_applied_release():
    applied = release(Backend=2, Frontend=1)
    desired = Desired(applied).scale({"Backend": 3}).scale({"Frontend": 0})

    assert counts(desired) == {"Backend": 3, "Frontend": 0}
    assert desired.applied is applied
    assert desired.release.id == applied.id
    assert desired.release.spec.services["Backend"].workers == 3
    assert [desired.has(Slot("Backend", index)) for index in (2, 3)] == [True, False]
    assert not desired.has(Slot("Frontend", 0))
    assert not desired.has(Slot("Other", 0))


@pytest.mark.parametrize("count", [-1, 1.5, "2", True, None])
def test_what_is_not_a_number_of_workers_is_refused(count):
    with pytest.raises(DeploymentError, match="Backend cannot have"):
        Desired(release(Backend=1)).scale({"Backend": count})


def test_more_workers_than_a_machine_holds_are_refused():
    with pytest.raises(PlacementError, match="cannot have 1,001 workers on this machine"):
        Desired(release(Backend=MAX_WORKERS + 1))
