"""In random notebooks a worker's answer is the kernel's, or a note says that they may differ."""

import pytest
from hypothesis import HealthCheck, given, settings

from tests.source.random_notebooks import PRELUDE, SERVICE, notebooks, outcome

few = settings(max_examples=40, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
SERVED = [
    "xs.append(n)",
    "ys = d.get('xs', xs)\nys.append(5)",
    "@tool\ndef k(): return m",
    "(lambda q: q.append(n))(xs)\nbox.add(xs)",
    "class Low(Base):\n    pass",
    "exec('n = 7')\ntype(box).shared = n",
    SERVICE.format("n, xs, ys, d, box, Base.kinds, getattr(Box, 'shared', 0)"),
]


@few
@given(notebooks())
def test_a_running_notebook_and_its_bundle(notebook):
    found = outcome("live", notebook[1])
    assert found.partition(":")[0] in ("equal", "noted", "refused", "fails"), found


@few
@given(notebooks())
def test_a_saved_notebook_and_its_bundle(notebook):
    found = outcome("saved", notebook[0])
    assert found.partition(":")[0] in ("equal", "noted", "refused", "fails"), found


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["live", "saved"])
def test_workers_of_a_notebook_and_of_its_bundle(kind, dynamo_home):
    texts = [PRELUDE, *SERVED]
    cells = [(f"c{number}", text) for number, text in enumerate(texts)] if kind == "live" else texts
    assert outcome(kind, cells, served=True) == "equal"
