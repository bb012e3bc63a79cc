"""Spans of traced requests in one process."""

import pytest

from dynamo_nb.runtime import request_scope
from dynamo_nb.runtime.spans import LONGEST_ID, MAX_NOTES, MAX_TRIES, RING, SPANS, TRACED, Ring, Span, new_trace
from dynamo_nb.sdk import trace_note


def span(header="t-p"):
    return Span("n/c/e", "server", header, 0.0)


def test_the_ring_has_the_last_spans():
    ring, spans = Ring(), [span() for _ in range(RING + 10)]
    for one in spans:
        ring.add(one)
    assert [read["id"] for read in ring.read()] == [one.id for one in spans[10:]]


def test_ids_from_a_caller_are_truncated():
    recorded = span(f"{'t' * 10_000}-{'p' * 10_000}")
    assert (len(recorded.trace), len(recorded.parent)) == (LONGEST_ID, LONGEST_ID)


def test_notes_and_attempts_of_one_span_are_limited():
    recorded = span()
    for number in range(MAX_NOTES + 10):
        recorded.note({f"n{number}": number, "n0": "again"})
    for number in range(MAX_TRIES + 10):
        recorded.attempt_failed(f"w{number}", "connect")
    assert len(recorded.notes) == MAX_NOTES
    assert recorded.notes["n0"] == "again"
    assert [one["worker"] for one in recorded.tries] == [f"w{number}" for number in range(MAX_TRIES)]


def test_a_note_is_a_copy():
    recorded, scores = span(), {"a": 1}
    recorded.note({"scores": scores})
    scores["a"] = 2
    assert recorded.read()["notes"] == {"scores": {"a": 1}}


def test_a_note_outside_a_request_is_ignored():
    trace_note(score=1)


@pytest.fixture
async def echo(connect, space, plane_options, caller_options):
    """Creates clients of endpoints. `headers` returns the headers it received and those that its calls carry."""
    server = await connect(**plane_options)

    async def headers(args, kwargs, context):
        return [context.headers, context.carried]

    async def items(args, kwargs, context):
        for number in range(args[0]):
            yield number

    component = server.namespace(space).component("Echo")
    await component.serve({"headers": headers, "items": items})
    caller = await connect(**caller_options)

    async def client(endpoint):
        found = await caller.namespace(space).component("Echo").endpoint(endpoint).client()
        await found.wait_for_instances()
        return found

    return client


async def test_the_header_names_the_parent_span(echo):
    trace = new_trace()
    client = await echo("headers")
    with request_scope({TRACED: trace}):
        sent, carried = await client.call()
    call, served = SPANS.read(trace)
    assert (call["kind"], call["parent"]) == ("client", "")
    assert (served["kind"], served["parent"]) == ("server", call["id"])
    assert sent[TRACED] == f"{trace}-{call['id']}"
    assert carried[TRACED] == f"{trace}-{served['id']}"
    assert call["bytes_out"] > 0 < served["bytes_out"] == call["bytes_in"]


async def test_meters_count_traced_requests_like_others(echo):
    client = await echo("items")
    readings = []
    for headers in ({}, {TRACED: new_trace()}):
        before = client.selection.meter.read()
        with request_scope(headers):
            assert await client.call([3]) == [0, 1, 2]
        after = client.selection.meter.read()
        readings.append([after[name] - before[name] for name in ("requests", "items")])
        readings[-1] += [after[name]["count"] - before[name]["count"] for name in ("seconds", "first_item_seconds")]
        assert after["in_flight"] == 0
    assert readings == [[1, 3, 1, 1]] * 2


async def test_the_span_of_a_closed_stream_is_cancelled(echo):
    trace = new_trace()
    client = await echo("items")
    with request_scope({TRACED: trace}):
        items = aiter(client.call([1_000_000]))
        assert await anext(items) == 0
        await items.aclose()
    call = SPANS.read(trace)[0]
    assert (call["stopped"], call["error"]) == ("cancelled", "")
    assert call["end"] is not None


async def test_the_span_of_an_open_request_has_no_end(echo):
    trace = new_trace()
    client = await echo("items")
    with request_scope({TRACED: trace}):
        items = aiter(client.call([1_000_000]))
        assert await anext(items) == 0
    call = SPANS.read(trace)[0]
    assert call["first"] is not None
    assert call["end"] is None
    await items.aclose()
