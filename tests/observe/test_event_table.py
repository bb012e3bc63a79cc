"""The tables of events and of errors."""

from dynamo_nb.control.events import Event, ServiceError
from dynamo_nb.observe.event_table import Events, ServiceErrors, clock

NOW = 1_700_000_000.0
EVENTS = Events(
    [
        Event(number=1, at=NOW, kind="scaled", text="Backend was scaled from 1 to 2 workers", service="Backend"),
        Event(number=2, at=NOW + 1, kind="worker ended", text="<b> ended", worker="Backend[0]", detail='a "log"'),
    ]
)
ERROR = ServiceError(
    id="1",
    service="Backend",
    endpoint="say",
    kind="ValueError",
    message="no <b>",
    line='cell 3 "Backend", line 4',
    count=1234,
    first=NOW,
    last=NOW + 2,
    traceback="Traceback\nValueError: no <b>\n",
)
CALLED = ServiceError(
    id="2", service="Frontend", endpoint="ask", kind="ValueError", message="", line="f.py:3", raised_by="Backend.say"
)


def test_events_are_lines_in_a_terminal():
    assert str(EVENTS).splitlines() == [
        f"{clock(NOW)}  Backend was scaled from 1 to 2 workers",
        f"{clock(NOW + 1)}  <b> ended",
    ]
    assert str(Events()) == "no events yet"


def test_events_are_a_table_in_a_notebook():
    html = EVENTS._repr_mimebundle_()["text/html"]
    assert html.count("<tr") == 3
    assert "&lt;b&gt; ended" in html
    assert 'title="a &quot;log&quot;"' in html


def test_an_error_shows_its_count_its_times_its_line_and_its_traceback():
    assert str(ServiceErrors([ERROR])).splitlines() == [
        "Backend.say: ValueError: no <b>",
        f"  1,234 times, last {clock(NOW + 2)}, first {clock(NOW)}",
        '  at cell 3 "Backend", line 4',
        "  Traceback",
        "  ValueError: no <b>",
    ]
    html = ServiceErrors([ERROR]).html
    assert "1,234" in html
    assert "<details>" in html
    assert "<b> " not in html.replace("<b>ValueError</b> ", "")


def test_an_error_of_a_called_service_names_it():
    assert "  raised by Backend.say, called at f.py:3" in str(ServiceErrors([CALLED])).splitlines()
    assert "<details>" not in ServiceErrors([CALLED]).html
    assert str(ServiceErrors()) == "no errors"


def test_a_time_of_another_day_has_its_date():
    assert len(clock(NOW, NOW + 10)) == len("14:03:05")
    assert len(clock(NOW, NOW + 2 * 86_400)) == len("2026-01-01 14:03:05")
