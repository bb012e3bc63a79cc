"""The browser pages that a graph is known to be in."""

import pytest

from dynamo_nb.notebook.viewers import PRESENCE, Viewers


@pytest.fixture
def clock():
    class Clock:
        now = 1000.0

        def __call__(self):
            return self.now

    return Clock()


def test_a_new_graph_is_in_an_open_page_which_may_not_see_it_yet(clock):
    viewers = Viewers(clock)
    assert (viewers.present, viewers.watching) == (True, False)


def test_a_graph_is_watched_while_any_page_sees_it(clock):
    viewers = Viewers(clock)
    viewers.report("a", visible=True)
    viewers.report("b", visible=True)
    viewers.report("a", visible=False)
    assert viewers.watching
    viewers.report("b", visible=False)
    assert (viewers.present, viewers.watching) == (True, False)


def test_a_closed_page_is_forgotten_and_an_open_one_is_not(clock):
    viewers = Viewers(clock)
    viewers.report("closed", visible=True)
    clock.now += PRESENCE / 2
    viewers.report("open", visible=False)
    clock.now += PRESENCE / 2 + 1
    assert (viewers.present, viewers.watching) == (True, False)
    clock.now += PRESENCE
    assert not viewers.present
    viewers.report("open", visible=True)
    assert viewers.watching


def test_no_page_is_forgotten_while_a_cell_runs_that_delays_its_reports(clock):
    viewers = Viewers(clock)
    viewers.report("a", visible=True)
    for _ in range(5):
        clock.now += PRESENCE * 0.9
        viewers.renew()
        assert viewers.watching
    clock.now += PRESENCE + 1
    assert not viewers.present


def test_a_graph_whose_cell_runs_again_is_in_no_page(clock):
    viewers = Viewers(clock)
    viewers.report("a", visible=True)
    viewers.forget()
    assert (viewers.present, viewers.watching) == (False, False)
