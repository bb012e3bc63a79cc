"""In random notebooks a worker's answer is the kernel's, or a note says that they may differ."""

import pytest
from hypothesis import HealthCheck, given, settings

from tests.source.random_notebooks import PRELUDE, SERVICE, notebooks, outcome

same = settings(derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
SERVED = [
    "xs.append(n)",
    "ys = d.get('xs', xs)\nys.append(5)",
    "@tool\ndef k(): return m",
    "(lambda q: q.append(n))(xs)\nbox.add(xs)",
    "class Low(Base):\n    pass",
    "exec('n = 7')\ntype(box).shared = n",
    SERVICE.format("n, xs, ys, d, box, Base.kinds, getattr(Box, 'shared', 0)"),
]


@pytest.mark.parametrize("kind", ["live", "saved"])
@settings(same, max_examples=40)
@given(notebook=notebooks())
def test_a_notebook(kind, notebook):
    found = outcome(kind, notebook[1] if kind == "live" else notebook[0])
    assert found.partition(":")[0] in ("equal", "noted", "refused", "fails"), found


@pytest.mark.parametrize("kind", ["live", "saved"])
@settings(same, max_examples=3)
@given(notebook=notebooks())
def test_a_bundle_of_a_notebook(kind, notebook):
    found = outcome(kind, notebook[1] if kind == "live" else notebook[0], bundled=True)
    assert found.partition(":")[0] in ("equal", "noted", "refused", "fails"), found


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["live", "saved"])
def test_workers_of_a_notebook_and_of_its_bundle(kind, dynamo_home):
    texts = [PRELUDE, *SERVED]
    cells = [(f"c{number}", text) for number, text in enumerate(texts)] if kind == "live" else texts
    assert outcome(kind, cells, served=True) == "equal"
