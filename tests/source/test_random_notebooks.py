"""In random notebooks a worker's answer is the kernel's, or a note says that they may differ."""

from hypothesis import HealthCheck, given, settings

from tests.source.random_notebooks import notebooks, outcome

few = settings(max_examples=40, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))


@few
@given(notebooks())
def test_a_running_notebook_and_its_bundle(notebook):
    found = outcome("live", notebook[1])
    assert found in ("equal", "noted", "refused", "fails"), found


@few
@given(notebooks())
def test_a_saved_notebook_and_its_bundle(notebook):
    found = outcome("saved", notebook[0])
    assert found in ("equal", "noted", "refused", "fails"), found
