"""Traced requests of a real deployment, over both planes."""

import asyncio
import os
import signal

import pytest
from deployed_program import pids, until, workers

from dynamo_nb.control.client import ask
from dynamo_nb.control.state_dir import CONTROL
from dynamo_nb.errors import DeadlineExceeded, EndpointError, InvalidArgument, NoInstances, WorkerLost
from dynamo_nb.runtime import request_scope
from dynamo_nb.runtime.spans import LONGEST_NOTE, SPANS, TRACED
from dynamo_nb.sdk.portal import portal

pytestmark = pytest.mark.slow

SHORT = 0.2  # seconds, for a request that is never answered

PROGRAM = """
import asyncio
import os
from pathlib import Path

from dynamo_nb import depends, dynamo_endpoint, service, trace_note
from dynamo_nb.runtime import no_request
from dynamo_nb.runtime.spans import SPANS


@service(workers=2)
class Backend:
    @dynamo_endpoint()
    async def say(self, text: str) -> str:
        trace_note(length=len(text), scores={"a": 0.5, "b": [1, 2]}, long="x" * 5000, odd=object)
        if text == "fail":
            raise ValueError("I cannot say this")
        return text

    @dynamo_endpoint()
    async def words(self, text: str):
        for word in text.split():
            await asyncio.sleep(0.002)
            yield word

    @dynamo_endpoint()
    async def die_once(self, mark: str) -> str:
        if not Path(mark).exists():
            Path(mark).touch()
            os._exit(1)
        return "alive"

    @dynamo_endpoint()
    async def die(self, text: str):
        yield text
        await asyncio.sleep(0.01)
        os._exit(1)

    @dynamo_endpoint()
    async def wait(self) -> None:
        await asyncio.Event().wait()

    @dynamo_endpoint()
    async def span_count(self) -> int:
        return len(SPANS.read())


@service
class Middle:
    backend = depends(Backend)

    @dynamo_endpoint()
    async def say(self, text: str) -> str:
        return await self.backend.say(text)

    @dynamo_endpoint()
    async def words(self, text: str):
        async for word in self.backend.words(text):
            yield word

    @dynamo_endpoint()
    async def die(self, text: str):
        async for word in self.backend.die(text):
            yield word

    @dynamo_endpoint()
    async def die_once(self, mark: str) -> str:
        return await self.backend.die_once(mark)

    @dynamo_endpoint()
    async def twice(self, text: str) -> list[str]:
        return await asyncio.gather(self.backend.say(text), self.backend.say(text))

    @dynamo_endpoint()
    async def alone(self, text: str) -> str:
        with no_request():
            trace_note(outside=True)
            return await self.backend.say(text)


@service
class Frontend:
    middle = depends(Middle)

    @dynamo_endpoint()
    async def say(self, text: str) -> str:
        return await self.middle.say(text)

    @dynamo_endpoint()
    async def words(self, text: str):
        async for word in self.middle.words(text):
            yield word
"""


@pytest.fixture(scope="module", params=["direct", "nats"])
def deployment(request, module_project):
    module_project.write("program.py", PROGRAM)
    with module_project.serve("program:Frontend", plane=request.param).result() as deployment:
        yield deployment


def tree(span):
    return [span.kind, span.name, span.service, *map(tree, span.children)]


def chain(endpoint):
    names = [f"{service}.{endpoint}" for service in ("Frontend", "Middle", "Backend")]
    children = []
    for name, caller in zip(reversed(names), ("Middle", "Frontend", ""), strict=True):
        children = [["client", name, caller, ["server", name, name.partition(".")[0], *children]]]
    return children[0]


@pytest.mark.parametrize(("endpoint", "text", "value"), [("say", "x", "x"), ("words", "a b", ["a", "b"])])
def test_a_request_over_three_services_is_one_tree(deployment, endpoint, text, value):
    trace = deployment.trace(getattr(deployment.Frontend, endpoint)(text)).result()
    assert trace.value == value
    assert len(trace.roots) == 1
    assert tree(trace.root) == chain(endpoint)
    backend = trace.spans[-1]
    assert backend.worker in {worker.id for worker in workers(deployment).values()}
    assert [attempt.worker for attempt in trace.spans[-2].tries] == [backend.worker]
    assert trace.spans[0].worker == ""


async def test_a_trace_can_be_awaited(project):
    project.write("program.py", PROGRAM)
    async with await project.serve("program:Frontend") as deployment:
        trace = await deployment.trace(deployment.Frontend.words("one two"))
    assert trace.value == ["one", "two"]
    assert tree(trace.root) == chain("words")


@pytest.mark.parametrize("call", ["say", "words"])
def test_a_span_lies_within_its_parent(deployment, call):
    trace = deployment.trace(getattr(deployment.Frontend, call)("one two three")).result()

    def check(span):
        assert 0 <= span.begin < span.end
        for child in span.children:
            assert span.begin < child.begin < child.end < span.end
            check(child)

    check(trace.root)
    assert trace.root.begin == 0
    assert trace.duration == trace.root.end


def test_a_stream_has_the_time_of_its_first_item_and_the_number_of_items(deployment):
    trace = deployment.trace(deployment.Frontend.words("one two three")).result()
    assert {span.items for span in trace.spans} == {3}
    firsts = [span.first for span in trace.spans]
    assert firsts == sorted(firsts, reverse=True)  # the item passes from the backend to the frontend
    for span in trace.spans:
        assert span.begin < span.first < span.end
        assert span.bytes_out > 0


def test_an_answer_has_no_first_item(deployment):
    trace = deployment.trace(deployment.Frontend.say("x")).result()
    assert {(span.first, span.items) for span in trace.spans} == {(None, 0)}


def test_an_error_is_on_every_span_that_it_passed(deployment):
    trace = deployment.trace(deployment.Frontend.say("fail")).result()
    with pytest.raises(EndpointError, match="I cannot say this"):
        _ = trace.value
    assert {(span.error, span.what) for span in trace.spans} == {("endpoint", "ValueError: I cannot say this")}
    assert tree(trace.root) == chain("say")


def test_notes_of_a_handler_are_on_its_span(deployment):
    trace = deployment.trace(deployment.Frontend.say("four")).result()
    *others, backend = trace.spans
    notes = dict(backend.notes)
    assert notes.pop("long") == "x" * (LONGEST_NOTE - 1) + "…"
    assert notes == {"length": 4, "scores": {"a": 0.5, "b": [1, 2]}, "odd": "<class 'object'>"}
    assert not any(span.notes for span in others)


def test_concurrent_calls_have_one_parent(deployment):
    trace = deployment.trace(deployment.Middle.twice("x")).result()
    (served,) = trace.root.children
    assert [child.name for child in served.children] == ["Backend.say"] * 2
    assert len({child.children[0].worker for child in served.children}) == 2


def test_concurrent_traces_do_not_mix(deployment):
    async def both():
        calls = deployment.Frontend.say("x"), deployment.Frontend.words("a b")
        return await asyncio.gather(*map(deployment.trace, calls))

    one, other = portal.run(both())
    assert tree(one.root) == chain("say")
    assert tree(other.root) == chain("words")
    assert one.id != other.id


def test_a_request_that_is_not_traced_leaves_no_span(deployment):
    for index in (0, 1):
        instance = int(workers(deployment)[index].instance_id)
        count = deployment.Backend.span_count().using(instance_id=instance)
        before, here = count.result(), SPANS.read()
        deployment.Frontend.say("x").result()
        deployment.Backend.say("x").using(instance_id=instance).result()
        assert count.result() == before
        assert SPANS.read() == here


def test_calls_outside_of_the_request_are_not_part_of_its_trace(deployment):
    trace = deployment.trace(deployment.Middle.alone("x")).result()
    assert [span.name for span in trace.spans] == ["Middle.alone"] * 2
    assert not trace.spans[-1].notes


def test_a_call_that_times_out_is_in_the_trace_with_what_it_started(deployment):
    trace = deployment.trace(deployment.Backend.wait().using(timeout=SHORT)).result()
    assert isinstance(trace.error, DeadlineExceeded)
    call, served = trace.spans
    assert call.error == "deadline"
    assert call.duration > SHORT / 2  # the two ends read different clocks
    assert served.name == "Backend.wait"


def test_a_call_that_cannot_begin_raises_its_error(deployment):
    deployment.scale(Backend=0).result()
    with pytest.raises(NoInstances, match="0 workers"):
        deployment.trace(deployment.Backend.say("x")).result()
    deployment.scale(Backend=2).result()


def test_a_value_that_is_not_a_call_is_rejected(deployment):
    with pytest.raises(InvalidArgument, match="only a call of a running service"):
        deployment.trace("x").result()


def test_a_worker_that_does_not_answer_is_left_out(deployment):
    (frontend,) = pids(deployment, "Frontend")
    os.kill(frontend, signal.SIGSTOP)
    try:
        trace = deployment.trace(deployment.Middle.say("x")).result()
    finally:
        os.kill(frontend, signal.SIGCONT)
    assert [span.service for span in trace.spans] == ["", "Middle", "Middle", "Backend"]


def test_the_spans_of_a_replaced_worker_stay_in_the_trace(deployment):
    number = "f" * 32
    with request_scope({TRACED: number}):
        deployment.Frontend.say("x").result()
    deployment.restart("Backend").result()
    spans = portal.run(ask(deployment.folder / CONTROL, "trace", trace=number))
    assert sorted(span["service"] for span in spans) == ["Backend", "Frontend", "Frontend", "Middle", "Middle"]


def test_a_call_that_another_worker_answered_shows_the_failed_attempt(deployment, tmp_path):
    trace = deployment.trace(deployment.Middle.die_once(str(tmp_path / "mark"))).result()
    assert trace.value == "alive"
    _, _, call, served = trace.spans
    lost, answered = call.tries
    assert (lost.error, answered.error) == ("worker_lost", "")
    assert lost.begin < lost.end <= answered.begin < served.begin
    assert lost.worker != answered.worker == served.worker
    assert call.error == ""
    assert f"{lost.worker} did not answer: worker_lost" in str(trace)
    until(lambda: len(workers(deployment)) == 2)


def test_a_worker_that_dies_during_a_stream_leaves_the_spans_of_its_callers(deployment):
    trace = deployment.trace(deployment.Middle.die("x")).result()
    assert isinstance(trace.error, WorkerLost)
    root, middle, call = trace.spans
    assert (call.name, call.error, call.items) == ("Backend.die", "worker_lost", 1)
    assert root.error == middle.error == "worker_lost"
    until(lambda: len(workers(deployment)) == 2)
