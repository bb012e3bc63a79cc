"""Drawings of traces."""

import re
from xml.etree import ElementTree as ET

import pytest

from dynamo_nb.errors import WorkerLost
from dynamo_nb.observe.span import TraceSpan, Try
from dynamo_nb.observe.trace import Trace
from dynamo_nb.observe.waterfall_svg import svg as draw


def span(name, kind, begin, end, *children, service="", worker="", **more):
    given = {"first": None, "items": 0, "bytes_in": 0, "bytes_out": 0, "error": "", "what": "", "stopped": ""}
    given |= {"notes": {}, "tries": ()} | more
    number = f"{name}-{kind}-{begin}"
    return TraceSpan(
        id=number,
        name=name,
        kind=kind,
        service=service,
        worker=worker,
        begin=begin,
        end=end,
        children=children,
        **given,
    )


def call(name, begin, end, *children, worker=None, **more):
    service = name.partition(".")[0]
    served = span(
        name,
        "server",
        begin + 0.001,
        end - 0.001,
        *children,
        service=service,
        worker=worker or f"{service}.0.1",
        **more,
    )
    of_caller = {key: more[key] for key in ("first", "items", "error", "what") if key in more}
    return span(name, "client", begin, end, served, **of_caller)


def trace(*roots, error=None, answer=None):
    return Trace("t", 0.0, roots, error, answer)


def svg(drawn):
    return draw(drawn.waterfall)


ROUTED = trace(
    call(
        "Frontend.generate",
        0,
        0.04,
        call("Router.pick", 0.004, 0.01, notes={"chosen": "Backend.1", "scores": {"a": 0.5}, "overlap": 1 / 3}),
        call("Backend.generate", 0.012, 0.036, first=0.02, items=5),
        first=0.022,
        items=5,
    )
)
FAILED = trace(
    call(
        "Frontend.say",
        0,
        0.04,
        span(
            "Backend.say",
            "client",
            0.01,
            0.03,
            error="worker_lost",
            what="it went away",
            tries=(Try("Backend.0.1", 0.01, 0.02, "worker_lost"), Try("Backend.1.2", 0.02, None, "")),
        ),
        error="worker_lost",
        what="it went away",
    ),
    error=WorkerLost("it went away"),
)
OPEN = trace(call("Frontend.say", 0, 0.01, span("Backend.wait", "client", 0.002, None)))
ORPHAN = trace(
    span("Frontend.say", "client", 0, 0.01, error="worker_lost"), span("Backend.say", "server", 0.002, 0.005)
)
MANY = trace(call("Frontend.fan", 0, 1, *(call(f"Backend.number{n}", 0.01 * n, 0.01 * n + 0.02) for n in range(49))))


def test_text_of_a_routed_stream():
    assert str(ROUTED).splitlines() == [
        "Frontend.generate took 40.0 ms, 3 services, 6 spans",
        "                    0                                40.0 ms",
        "Frontend.generate   ░█████████████████████◆████████████████░ 40.0 ms · 5 items · Frontend.0.1",
        "├─ Router.pick          ░████░                               6.00 ms · Router.0.1",
        '                    chosen=Backend.1, scores={"a": 0.5}, overlap=0.333333',
        "└─ Backend.generate             ░███████◆██████████████░     24.0 ms · 5 items · Backend.0.1",
    ]


def test_text_of_a_call_that_failed_on_every_worker():
    assert str(FAILED).splitlines() == [
        "Frontend.say failed after 40.0 ms, 1 service, 3 spans",
        "               0                                40.0 ms",
        "Frontend.say   ░██████████████████████████████████████░ 40.0 ms · ✗ worker_lost · Frontend.0.1",
        "└─ Backend.say           ✗✗✗✗✗✗✗✗✗✗░░░░░░░░░░           20.0 ms · ✗ worker_lost · Backend.1.2",
        "               Backend.0.1 did not answer: worker_lost after 10.0 ms",
        "               ✗ it went away",
    ]


def test_a_span_without_an_end_is_drawn_open():
    assert str(OPEN).splitlines()[-1].split(maxsplit=2)[-1].endswith("→ has not ended")
    assert "stroke-dasharray" in svg(OPEN)


def test_a_span_that_lost_its_parent_is_drawn_by_itself():
    assert [line.split()[0] for line in str(ORPHAN).splitlines()[2:]] == ["Frontend.say", "Backend.say"]


@pytest.mark.parametrize("drawn", [ROUTED, FAILED, OPEN, ORPHAN, MANY])
def test_the_svg_is_xml_with_a_row_for_each_call_within_its_card(drawn):
    assert svg(drawn) == svg(drawn)
    root = ET.fromstring(svg(drawn))
    width, height = float(root.get("width")), float(root.get("height"))
    rows = [group for group in root.iter() if group.get("data-span")]
    served = {one.id for s in drawn.spans for one in s.children if s.kind == "client" and one.kind == "server"}
    assert [row.get("data-span") for row in rows] == [one.id for one in drawn.spans if one.id not in served]
    for rect in root.iter("{http://www.w3.org/2000/svg}rect"):
        assert float(rect.get("x")) >= 0
        assert float(rect.get("x")) + float(rect.get("width")) <= width
        assert float(rect.get("y")) + float(rect.get("height")) <= height


def test_failed_calls_are_red_and_failed_attempts_are_marked():
    rows = [g for g in ET.fromstring(svg(FAILED)).iter() if g.get("data-span")]
    assert [row.get("class").split()[-1] for row in rows] == ["failed", "failed"]
    assert [e.get("class") for e in rows[1]].count("lost") == 1
    assert not re.search("failed", "".join(row.get("class") for row in ET.fromstring(svg(ROUTED)) if row.get("class")))


def test_the_first_item_of_a_stream_is_marked():
    assert svg(ROUTED).count('class="first"') == 2
    assert svg(MANY).count('class="first"') == 0


def test_long_and_odd_names_and_notes_stay_within_the_drawing():
    odd = trace(call("Frontend." + "long" * 50, 0, 1, notes={"<&>": "]]>\x00" + "x" * 900}))
    root = ET.fromstring(svg(odd))
    shown = [e.text for e in root.iter("{http://www.w3.org/2000/svg}text")]
    assert all(len(text) < 200 for text in shown[1:])
    assert max(map(len, str(odd).splitlines())) < 420


def test_calls_that_repeat_in_a_long_trace_are_one_row_but_for_the_first_the_slowest_and_the_failed():
    calls = [
        call(
            "Retriever.get",
            n / 100,
            n / 100 + (0.009 if n == 70 else 0.003),
            call("Store.read", n / 100, n / 100 + 0.002),
        )
        for n in range(100)
    ]
    calls[50] = call("Retriever.get", 0.5, 0.503, error="WorkerLost", what="gone")
    long = trace(call("Gateway.ask", 0, 1, *calls, call("Model.write", 0.99, 1)))
    rows = long.waterfall.rows
    folded = [row for row in rows if row.folded]
    assert [row.whole.name for row in rows if row.depth == 1] == [
        *["Retriever.get"] * 5,
        "Model.write",
        "Retriever.get",
    ]
    assert [(row.summary, len(row.folded)) for row in folded] == [("95 more, 3.00 ms to 3.00 ms", 95)]
    assert "✗ WorkerLost" in str(long)
    assert "9.00 ms" in str(long)
    assert long.waterfall.title.endswith("spans")
    assert str(len(long.spans)) in long.waterfall.title
    assert len(str(long).splitlines()) < 20
    ET.fromstring(svg(long))


def test_a_short_trace_shows_every_call():
    short = trace(call("Gateway.ask", 0, 1, *[call("Retriever.get", n / 100, n / 100 + 0.003) for n in range(50)]))
    assert len(short.waterfall.rows) == 51


def test_a_notebook_shows_an_image_with_a_text_alternative_or_svg_or_text():
    bundle = ROUTED._repr_mimebundle_()
    html = bundle.pop("text/html")
    assert bundle == {"text/plain": str(ROUTED), "image/svg+xml": svg(ROUTED)}
    assert f'alt="{ROUTED.waterfall.title}"' in html


def test_the_value_of_a_failed_trace_is_its_error():
    with pytest.raises(WorkerLost):
        _ = FAILED.value
