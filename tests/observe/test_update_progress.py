"""The progress of a first start, of an update and of scaling."""

import pytest

from dynamo_nb.control.status import RolloutStatus, ServiceStatus, Status, WorkerStatus
from dynamo_nb.observe.progress import bundle, progress


def workers(*states, first=0, old=""):
    return tuple(
        WorkerStatus(id=f"Backend.{i}{old}", index=i, state=state, pid=1, started=90.0)
        for i, state in enumerate(states, first)
    )


NONE = ServiceStatus(state="starting", desired=2)
TWO = ServiceStatus(state="ready", desired=2, workers=workers("ready", "ready", old=".0"))
ONE = ServiceStatus(state="ready", desired=1, workers=workers("ready", old=".0"))
LOG = {"Backend.1": "loading 40 %"}
ROWS = {
    "first start": (NONE, workers("starting", "starting"), {}, ("starting", "")),
    "first start with a log": (NONE, workers("starting", "starting"), LOG, ("starting", "loading 40 %")),
    "update": (TWO, workers("starting", "starting"), {}, ("updating", "2 old serve, 0 of 2 new ready")),
    "update, one ready": (TWO, workers("ready", "starting"), {}, ("updating", "2 old serve, 1 of 2 new ready")),
    "update of one worker": (ONE, workers("starting"), {}, ("updating", "1 old serves, 0 of 1 new ready")),
    "update with a log": (
        TWO,
        workers("prepared", "starting"),
        LOG,
        ("updating", "2 old serve, 0 of 2 new ready; loading 40 %"),
    ),
    "update that fails": (TWO, workers("failed", "starting"), {}, ("failed", "")),
    "scaling up": (TWO, workers("starting", "starting", first=2), {}, ("starting", "")),
}


@pytest.mark.parametrize(("service", "new", "lines", "expected"), ROWS.values(), ids=ROWS)
def test_a_line_says_who_serves_meanwhile(service, new, lines, expected):
    rollout = {"Backend": RolloutStatus(desired=len(new), workers=new)}
    (found,) = progress(Status(services={"Backend": service}, rollout=rollout), lines, now=100.0)
    assert (found.state, found.line) == expected
    assert expected[1] in bundle([found])["text/plain"]
