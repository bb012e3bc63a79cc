"""In random notebooks a worker's answer is the kernel's, or a note says that they may differ."""

from hypothesis import HealthCheck, given, settings

from tests.source.random_notebooks import live_outcome, notebooks, saved_outcome

few = settings(max_examples=40, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))


@few
@given(notebooks())
def test_a_running_notebook(notebook):
    outcome = live_outcome(notebook[1])
    assert outcome in ("equal", "noted", "refused", "fails"), outcome


@few
@given(notebooks())
def test_a_saved_notebook(notebook):
    outcome = saved_outcome(notebook[0])
    assert outcome in ("equal", "noted", "refused", "fails"), outcome
